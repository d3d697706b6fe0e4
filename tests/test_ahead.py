"""Compiling ahead in worker processes: who may, what comes of it, and what becomes of the workers."""

import contextlib
import itertools
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import kernels
from kernels import jit
from kernels.jit import store, workers

from op_cases import OPS  # and all kernels

AHEAD = """
import os, sys, threading
import numpy as np, kernels
from kernels.jit import store, workers

workers._LARGE = 0
workers.available_cores = lambda: 2
workers._free_memory = lambda: 1 << 40
started, written = [], []
write, init = store().write, workers._Worker.__init__

def note(path, payload):
    written.append(path.name.split("-")[0])
    write(path, payload)

def begin(self):
    init(self)
    started.append(self.process.pid)
    print(self.process.pid, flush=True)

store().write, workers._Worker.__init__ = note, begin
Z = np.random.default_rng(0).standard_normal((5, 7))
"""

SOFTMAX = """
assert (abs(kernels.softmax(Z) - kernels.reference.softmax(Z)) < 1e-15).all()
"""


def run(python, code, cache, **options):
    result = python("-W", "ignore", "-c", AHEAD + code, env={"FASTMLP_CACHE": str(cache)}, **options)
    return result


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_workers_compile_all_kernels_and_entries_and_the_process_nothing(python, cache, tmp_path):
    """They find each other's machine code by its symbol, or the process would compile it again; its bits are equal."""
    shown = f"{SOFTMAX}print(kernels.softmax(Z).tobytes().hex())\n"
    there = run(
        python, shown + "assert len(started) == 2 and not workers._team.broken\nassert not written, written", cache
    )
    assert any(path.name.startswith("losses.softmax-") for path in cache.glob("kernels/*/*.kernel"))
    result = run(python, SOFTMAX + "assert not started and not written", cache)
    assert result.stderr == ""
    here = run(python, f"workers._team.broken = True{shown}assert not started and written", tmp_path / "here")
    assert there.stdout.split()[2:] == here.stdout.split()


def test_warmups_have_workers_compile_at_once_what_each_op_needs_and_nothing_is_left_to_compile(python, cache):
    code = """
from functools import partial
from kernels import jit
rounds, compile_all = [], workers.compile_all
def note(tasks):
    rounds.append({workers._dispatcher_of(task).name for task in tasks})
    compile_all(tasks)
workers.compile_all = note
assert kernels.cache_info()[1:] == (0, 0, 0)
jit.compile_for([partial(kernels.warmup, op, dtypes="float64") for op in ("softmax", "dropout")])
assert rounds == [{"kernels.losses.launch(softmax)", "kernels.dropout_mask.launch(dropout)"}], rounds
assert len(started) == 2 and not workers._team.broken and not written, written
before, info = jit.compile_seconds, kernels.cache_info()
kernels.dropout(Z, 0.5, seed=1)
assert jit.compile_seconds == before and kernels.cache_info() == info
kept = list(info.folder.glob("*.kernel"))
assert info[1:] == (len(kept), sum(path.stat().st_size for path in kept), len({path.name[:-24] for path in kept})), info
"""
    run(python, code + SOFTMAX + "assert jit.compile_seconds == before", cache)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"ops": ["softmax", "soft"]}, ValueError, "ops has 'soft'; each must be one of adam_update, "),
        ({"ops": "softmax", "dtypes": ["float16"]}, TypeError, "dtypes has float16; each must be float32 or float64"),
        ({"activations": ["swish"]}, ValueError, "activations has 'swish'; each must be one of relu, "),
        ({"losses": ["mse"]}, ValueError, "losses has 'mse'; each must be one of softmax_cross_entropy, "),
        ({"rules": ["adam"]}, TypeError, "rules has 'adam'; each must be a rule, as kernels.adam()"),
    ],
)
def test_warmup_names_what_there_is_not(options, error, words):
    with pytest.raises(error, match=re.escape(words)):
        kernels.warmup(**options)


def test_warmup_takes_one_where_it_takes_several():
    kernels.warmup("softmax", dtypes=np.dtype("float32"), rules=kernels.sgd())


@pytest.fixture
def warmed(monkeypatch):
    """The calls that a warmup compiles kernels for: (op, kind of the first argument, arguments, arguments by name)."""

    def kind(X):
        if isinstance(X, kernels.CSR):
            return X.dtype.name, "few" if X.indices.dtype == np.uint16 else "many"  # columns
        return getattr(X, "params", X).dtype.name, "dense"

    def warm(ops=None, **options):
        calls = []
        monkeypatch.setattr(jit, "compile_for", calls.extend)
        kernels.warmup(ops, **options)
        for call in calls:
            if not isinstance(call, partial):
                call = partial(getattr(type(call.__self__), call.__name__), call.__self__)
            yield call.func.__name__, kind(call.args[0]), call.args, call.keywords

    return warm


def test_warmup_has_every_op_compiled_for_its_inputs_losses_and_rules(warmed):
    losses, rules = ("huber", "squared_error"), (kernels.sgd(), kernels.adam())
    found = list(warmed(losses=losses, rules=rules))
    assert {op for op, *_ in found} == {op.name for op in OPS} | {"csr", "dictionary_encode"}
    kinds = {kind for op, kind, *_ in found if op == "linear_forward"}
    assert kinds == set(itertools.product(("float32", "uint8"), ("dense", "few")))
    assert {args[2] for op, _, args, _ in found if op == "loss_gradient"} == {*losses}
    updates = [(args, named) for op, _, args, named in found if op == "linear_backward_update"]
    assert {named["rule"] for _, named in updates} == {*rules}
    for (*_, W, b), named in updates:
        for state, array in ((named["state"], W), (named["bias_state"], b)):
            assert state.shape == (named["rule"].slots, *array.shape)
    dense = {kind for _, kind, *_ in warmed("linear_forward", sparse=False)}
    assert dense == {("float32", "dense"), ("uint8", "dense")}
    assert {op for op, *_ in warmed("linear_forward")} == {"linear_forward"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_warmup_has_networks_compiled_for_every_kind_of_samples(warmed, dtype):
    """And for a single row, for dropout and for large batches, where these have kernels of their own."""
    found = list(warmed(("mlp_forward", "mlp_gradient", "mlp_train_steps"), dtypes=dtype, large_batches=True))
    sparse = set(itertools.product(("uint8", "float32", dtype), ("few", "many")))
    dense = {(dtype, "dense"), ("uint8", "dense")}
    forward = [(kind, args[0].shape[0]) for op, kind, args, _ in found if op == "mlp_forward"]
    assert {kind for kind, _ in forward} == dense | sparse
    assert {kind for kind, rows in forward if rows == 1} == dense
    for op in ("mlp_gradient", "mlp_train_steps"):
        steps = {(kind, len(args[2]), named["dropout"]) for name, kind, args, named in found if name == op}
        assert steps == set(itertools.product(dense | sparse, (256, 257), (0.0,))) | set(
            itertools.product(dense, (256, 257), (0.5,))
        )
    conversions = [(op, kind) for op, (kind, _), *_ in found if op in ("csr", "dictionary_encode")]
    assert {*conversions} == set(itertools.product(("csr", "dictionary_encode"), ("uint8", "float32", dtype)))


def test_warmup_has_networks_compiled_for_every_activation_with_every_loss_and_rule(warmed):
    functions = ("relu", "gelu"), ("softmax_cross_entropy", "squared_error"), (kernels.sgd(), kernels.adam())
    every, found = set(itertools.product(*functions)), defaultdict(set)
    options = dict(zip(("activations", "losses", "rules"), functions))
    for op, kind, args, named in warmed(("mlp_gradient", "mlp_update", "mlp_train_steps"), sparse=False, **options):
        network = next(each for each in args if isinstance(each, kernels.Network))
        loss, rule = named.get("loss"), named.get("rule")
        found[op].add((network.activation, loss, rule))
        assert kind[1] == "dense"
        if loss is not None:
            assert len(args[2]) == 256
            assert network.output == kernels.LOSSES[loss].output
            assert (args[1].ndim == 1) == (network.output == "softmax")  # targets
        if rule is not None:
            assert network.slots == rule.slots
            assert (named.get("average") is None) == (op == "mlp_update")  # which have kernels of their own
            assert (named.get("clip") is None) == (op == "mlp_train_steps")
    assert found["mlp_train_steps"] == every
    assert found["mlp_gradient"] == {(activation, loss, None) for activation, loss, _ in every}
    assert found["mlp_update"] == {(activation, None, rule) for activation, _, rule in every}


@pytest.mark.parametrize("when", ["before it compiles", "while it compiles"])
def test_a_killed_worker_costs_only_time(python, cache, when):
    code = f"""
compile = workers._Worker.compile
def kill(self, task):
    answers = compile(self, task)
    {"next(answers)" if when == "while it compiles" else ""}
    self.process.kill()
    yield from answers
workers._Worker.compile = kill
{SOFTMAX}
assert workers._team.broken and "losses.softmax" in written, written
"""
    run(python, code, cache)


def test_what_a_worker_cannot_compile_is_compiled_where_it_is_needed(python, cache):
    """It does not know the kernels of a user's own script, nor end for that."""
    code = """
from kernels import jit
@jit.kernel
def double(x):
    return 2 * x
args = (jit.numba_private.types.float64,)
workers.compile_ahead((double.name, args))
assert len(started) == 2 and not workers._team.broken
assert double(2.0) == 4
"""
    run(python, code + SOFTMAX + "assert len(started) == 2", cache)


def test_of_two_processes_that_start_at_once_one_has_the_kernels_compiled(cache):
    env = {**os.environ, "FASTMLP_CACHE": str(cache)}
    command = [sys.executable, "-W", "ignore", "-c", AHEAD + SOFTMAX + "print(len(written))"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(len(lines) for lines in outputs) == [1, 3]  # two workers' numbers, and how many kernels were written
    assert sorted(lines[-1] for lines in outputs) == ["0", "0"]


@pytest.mark.skipif(os.name == "nt", reason="this system has no such limit")
def test_on_a_full_disk_the_process_compiles_for_itself(python, cache):
    limit = "import resource, signal\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))\n"
    run(python, limit + SOFTMAX + "assert not store().keeping and workers.worker_count() == 0", cache)
    assert not list(cache.glob("kernels/*/*.kernel"))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("ending", ["killed", "interrupted"])
def test_no_worker_outlives_its_process(cache, ending):
    env = {**os.environ, "FASTMLP_CACHE": str(cache)}
    process = subprocess.Popen(
        [sys.executable, "-c", AHEAD + SOFTMAX],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
        start_new_session=True,
    )
    workers = [int(process.stdout.readline()) for _ in range(2)]
    process.kill() if ending == "killed" else os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) != 0
    process.stdout.close()
    deadline = time.monotonic() + 60
    while any(map(_lives, workers)):
        assert time.monotonic() < deadline, "a worker is still there"
        time.sleep(0.05)


def _lives(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_who_starts_no_workers(monkeypatch):
    monkeypatch.setattr(workers, "available_cores", lambda: 4)
    monkeypatch.setattr(workers, "_free_memory", lambda: 3 * workers._ROOM)
    assert workers.worker_count() == 3
    monkeypatch.setattr(workers, "_free_memory", lambda: 100 * workers._ROOM)
    assert workers.worker_count() == 4

    for place, name, value in (
        (workers, "available_cores", lambda: 1),
        (workers, "_free_memory", lambda: workers._ROOM),
        (workers._team, "broken", True),
        (workers, "working", True),
        (store(), "directory", None),
        (store(), "keeping", False),
        (sys, "frozen", True),
        (sys, "executable", "/usr/bin/uwsgi"),
        (sys, "executable", None),
        (multiprocessing.current_process(), "_config", {"daemon": True}),
    ):
        with monkeypatch.context() as context:
            context.setattr(place, name, value, raising=False)
            assert workers.worker_count() == 0, name
    with monkeypatch.context() as context:
        context.setenv("FASTMLP_COMPILE_WORKERS", "0")
        assert workers.worker_count() == 0
    assert workers.worker_count() == 4


def test_what_a_kernel_returns_is_seen_in_its_code():
    from kernels.jit import _returns_nothing

    def sometimes(x):
        if x:
            return 1

    def whichever(x):
        return x or None

    def never(x):
        if x:
            return
        x += 1

    assert [_returns_nothing(function) for function in (sometimes, whichever, never)] == [False, False, True]
    assert _returns_nothing(workers.dispatchers["kernels.losses.softmax"].py_func)
    assert not _returns_nothing(workers.dispatchers["kernels.losses.totals"].py_func)
