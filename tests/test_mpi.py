"""Data-parallel training: N ranks give one process's numbers, and end together, with one line, whatever ends one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp import train
from fastmlp.__main__ import VERBS
from fastmlp.__main__ import main as dispatch
from fastmlp.training.parallel import World

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 240  # seconds: a rank that waits for one that has gone fails the test
OPTIONS = [
    "--hidden", "16", "--batch-size", "64", "--dtype", "float64", "--checkpoint-seconds", "0", "--data", "digits.npz",
]  # fmt: skip


@pytest.fixture
def ranks(tmp_path):
    """Start ``python *arguments`` on n ranks in an empty directory that holds digits.npz; returns the process."""
    pytest.importorskip("mpi4py", reason="needs mpi4py (the extra mpi)")
    beside = Path(sys.executable).parent
    mpiexec = shutil.which("mpiexec", path=os.pathsep.join([str(beside), os.environ.get("PATH", "")]))
    if mpiexec is None or "HYDRA" not in subprocess.run([mpiexec, "--version"], capture_output=True, text=True).stdout:
        pytest.skip("needs MPICH's mpiexec (its wheel has it); others wrap each exit in lines of their own")
    started = []

    def start(n, *arguments):
        process = subprocess.Popen(
            [mpiexec, "-n", str(n), sys.executable, *arguments], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "FASTMLP_NUM_THREADS": ""},
        )  # fmt: skip
        started.append(process)
        return process

    data = small_digits()
    np.savez(tmp_path / "digits.npz", X=data.X, y=data.y, X_test=data.X_test, y_test=data.y_test)
    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()  # mpiexec takes its ranks with it
        process.communicate()


def small_digits():
    """333 = 5 * 64 + 13 = 4 * 83 + 1 digits: the last batch of an epoch is short."""
    from fastmlp.data.synthetic import load_synthetic

    return load_synthetic(seed=1, n=333, n_test=50)


def finished(process):
    """(exit code, stdout, lines of stderr)."""
    out, error = process.communicate(timeout=LONGEST)
    return process.returncode, out, error.splitlines()


def on_ranks(ranks, n, code):
    """What ``code`` prints on rank 0 of n."""
    status, out, error = finished(ranks(n, "-c", textwrap.dedent(code)))
    assert status == 0, "\n".join(error)
    return out


# On every rank: the run of all ranks beside the same run in this process alone.
SAME_AS_ONE = """
import json, sys
import numpy as np
import fastmlp
from fastmlp.config import configure
from fastmlp.training.parallel import joined
from tests.test_mpi import CASES, small_digits

data, worst = small_digits(), {}
with joined() as world:
    for name, options in CASES.items():
        options = {"hidden": (16, 8), "epochs": 3, "dtype": "float64", "batch_size": 64} | options
        alone = fastmlp.fit(data, **options)
        first, again = (fastmlp.fit(data, world=world, **options) for _ in range(2))
        hashes = world.gather(first.summary["weights_sha256"]) + [again.summary["weights_sha256"]]
        assert len(set(hashes)) == 1, f"{name}: the ranks or two runs differ"
        assert first.summary["threads"] == 1
        pairs = [(first.model.network.params, alone.model.network.params)]
        for one, other in zip(first.history, alone.history, strict=True):
            fields = ("train_loss", "train_accuracy", "validation_loss", "test_loss", "test_accuracy")
            pairs += [(getattr(one, field) or 0, getattr(other, field) or 0) for field in fields]
        for key in ("steps", "samples", "best_epoch"):
            assert first.summary[key] == alone.summary[key], (name, key)
        worst[name] = max(float(np.abs(a - b).max()) for a, b in pairs)
print(json.dumps(worst))
"""
CASES = {
    "momentum": {},
    "shares of unequal size, and empty ones": {"batch_size": 110, "input": "dense"},  # 333 = 3 * 110 + 3
    "fewer rows than ranks": {"batch_size": 2, "epochs": None, "steps": 20},
    "distorted images, a last batch of one": {"batch_size": 83, "augment": "affine"},
    "weighted": {"class_weight": "balanced", "label_smoothing": 0.1, "optimizer": "adamw", "weight_decay": 0.01},
    "clipped": {"clip_norm": 0.3, "optimizer": "adam", "lr": 0.01},
    "early stopping": {"patience": 2, "epochs": 12, "lr": 0.3, "schedule": "constant"},
    "sums, drawn": {"mean": False, "sampling": "draw", "optimizer": "sgd", "lr": 1e-3, "bias": False, "epsilon": 1e-10},
    "sums, clipped": {"mean": False, "clip_norm": 0.3},
    "dropout": {"dropout": 0.3},
    "the reference": {"backend": "reference", "dropout": 0.1},
}


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 4])
def test_ranks_give_the_numbers_of_one_process_and_the_same_bits_again(ranks, n):
    """In float64 sums in another order move the last of 16 digits, and these few steps not ten million times that."""
    worst = json.loads(on_ranks(ranks, n, SAME_AS_ONE))
    assert worst.keys() == CASES.keys()
    assert max(worst.values()) < 1e-9, worst


# The definition of local SGD, with each rank's own dropout masks, in one process, beside what the ranks compute.
LOCAL = """
import numpy as np
import fastmlp
from fastmlp.training import loop
from fastmlp.backend import kernels
from fastmlp.training.parallel import joined
from tests.test_mpi import small_digits

data, rule, rates = small_digits(), kernels.momentum(0.9), np.linspace(0.1, 0.02, 7)
lengths = np.array([47, 47, 47, 47, 47, 47, 2])  # 7 = 3 + 3 + 1 = 4 + 3 steps; the last batch has no row for rank 2
rows = np.random.default_rng(3).permutation(len(data.X))[: lengths.sum()]
ends = np.cumsum([0, *lengths])

def network():
    made = kernels.Network((784, 16, 10), dtype="float64", slots=rule.slots)
    for W, _ in made.layers:
        W[...] = np.random.default_rng(5).standard_normal(W.shape) * 0.05
    return made

with joined() as world:
    mine, start = world.share(rows, lengths), network()
    for K, mean, clip in ((3, True, 1.0), (4, False, 10.0)):
        common = {"scale": 1 / 255, "dropout": 0.3, "mean": mean, "clip": clip}
        ours = network()
        world.train_steps(kernels, data.X, data.y, mine, lengths, ours, size=47, sync_every=K, rule=rule, lr=rates, t=4,
                          seed=9, **common)
        expected = network()
        for step in range(0, 7, K):
            batches = [rows[ends[s] : ends[s + 1]] for s in range(step, min(step + K, 7))]
            shares = [[np.array_split(batch, world.size)[rank] for batch in batches] for rank in range(world.size)]
            n, copies = sum(map(len, batches)), []
            for rank, share in enumerate(shares):
                copy = network()
                copy.params[...], copy.state[...] = expected.params, expected.state
                for s, few in enumerate(share):
                    if len(few):
                        kernels.mlp_train_steps(data.X, data.y, few, len(few), copy, rule=rule,
                                                lr=rates[step + s : step + s + 1], \
t=4 + step + s, seed=9 + rank, **common)
                copies.append((copy, sum(map(len, share)) / n))
            expected.params[...] = sum(copy.params * weight for copy, weight in copies)
            expected.state[...] = sum(copy.state * weight for copy, weight in copies)
        assert np.abs(ours.params - expected.params).max() < 1e-12
        assert np.abs(ours.state - expected.state).max() < 1e-12
        assert np.abs(expected.params - start.params).max() > 1e-3
    hashes = []
    for loop._CHUNK_SECONDS in (10, 1e-9):  # as many steps at a time as there are; and as few
        hashes += world.gather(fastmlp.fit(data, epochs=3, world=world, sync_every=4).summary["weights_sha256"])
    assert len(set(hashes)) == 1, hashes
"""


@pytest.mark.slow
def test_local_steps_then_the_average_weighted_by_rows_and_dropout_of_each_ranks_own(ranks):
    on_ranks(ranks, 3, LOCAL)


# As `python -m fastmlp.train`, but that rank 1 comes to harm in the step after the 20th.
HARMED = """
import os, signal, sys
from fastmlp import train
from fastmlp.training import loop

advance = loop.Run.advance
def harmed(run, limit):
    if run.world.rank == 1 and run.step >= 20:
        {harm}
    advance(run, min(limit, 4))
loop.Run.advance = harmed
sys.exit(train.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_run_whose_rank_was_killed_goes_on_with_any_number_of_ranks(ranks, tmp_path):
    whole = fastmlp.fit(small_digits(), hidden=(16,), batch_size=64, dtype="float64", epochs=8).model.network.params
    code = HARMED.format(harm="os.kill(os.getpid(), signal.SIGKILL)")
    status, _, _ = finished(ranks(3, "-c", code, *OPTIONS, "--epochs", "8", "--out", "run"))
    assert status != 0
    assert not (tmp_path / "run" / "model.npz").exists()
    for n in (1, 2, 3):
        shutil.copytree(tmp_path / "run", tmp_path / f"run{n}")
        resume = ["--resume", str(tmp_path / f"run{n}")]
        if n == 1:
            assert train.main([*resume, "-q"]) == 0
        else:
            status, out, lines = finished(ranks(n, "-m", "fastmlp.train", *resume))
            assert status == 0, lines
            assert out.count("test accuracy") == 1
            assert sum("going on after step" in line for line in lines) == 1
        went_on = [json.loads(line) for line in (tmp_path / f"run{n}" / "metrics.jsonl").read_text().splitlines()]
        assert [report["step"] for report in went_on] == [6 * epoch for epoch in range(1, 9)]
        params = fastmlp.load_model(tmp_path / f"run{n}" / "model.npz").network.params
        np.testing.assert_allclose(params, whole, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_an_error_of_one_rank_alone_ends_the_job_in_one_line(ranks, tmp_path):
    code = HARMED.format(harm="raise ValueError('a broken rank')")
    status, out, lines = finished(ranks(2, "-c", code, *OPTIONS, "-q", "--epochs", "100", "--out", "run"))
    assert (status, out) == (1, "")
    assert [line for line in lines if "fastmlp" in line] == ["fastmlp: rank 1 of 2: ValueError('a broken rank')"]
    assert not any("Traceback" in line for line in lines)
    assert (tmp_path / "run" / "checkpoint.npz").exists()


@pytest.mark.slow
def test_ctrl_c_saves_once_and_ends_all_ranks_with_130(ranks, tmp_path):
    process = ranks(2, "-m", "fastmlp.train", *OPTIONS, "--epochs", "1000000", "--out", "run")
    for line in process.stderr:
        if line.startswith("epoch"):
            break
    process.send_signal(signal.SIGINT)
    status, out, lines = finished(process)
    assert status == 130
    assert "test accuracy" not in out  # mpiexec speaks there, too
    assert [line for line in lines if "interrupted" in line] == [
        "fastmlp train: interrupted; the run so far is in run/checkpoint.npz, and --resume run goes on"
    ]
    assert (tmp_path / "run" / "checkpoint.npz").exists()


# Commands that fail, one after the other on the same ranks; what a run alone says in one line, so do they.
FAILING = """
import json, sys
from fastmlp import train
from fastmlp.__main__ import VERBS
from fastmlp.__main__ import main as dispatch
from fastmlp.training.parallel import joined

with joined() as world:
    pass
for arguments in json.loads(sys.argv[1]):
    codes = world.gather(train.main(arguments))
    assert len(set(codes)) == 1
    print(codes[0], flush=True)
"""


@pytest.mark.slow
def test_what_fails_on_all_ranks_or_on_rank_0_is_one_line_and_the_exit_code_of_a_run_alone(ranks, tmp_path):
    for directory in ("file/metrics.jsonl", "unsaved/model.npz"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "no-directory").touch()
    short = [*OPTIONS, "-q", "--epochs", "1"]
    cases = [
        (["--data", "missing.csv"], 2, "missing.csv"),
        (["--hiden", "3"], 2, "--hiden"),
        ([*short, "--out", "no-directory/run"], 2, "--out no-directory/run"),  # rank 0 alone meets this
        ([*short, "--out", "file"], 1, "metrics.jsonl: cannot be written"),  # and this
        ([*short, "--out", "unsaved"], 1, "model.npz: cannot be written"),  # and this
        ([*short, "--out", "diverged", "--lr", "1e200"], 1, "diverged"),
        ([*short, "--find-lr"], 2, "--find-lr runs in one process, not on 2 ranks"),
        ([*OPTIONS, "--preset", "seed", "--steps", "3", "--sync-every", "2"], 2, "--sync-every is 2"),
        (["--resume", "nowhere"], 2, "--resume nowhere"),
    ]
    status, out, lines = finished(ranks(2, "-c", FAILING, json.dumps([arguments for arguments, *_ in cases])))
    assert (status, out.split()) == (0, [str(code) for _, code, _ in cases]), lines
    assert len(lines) == len(cases)
    for line, (_, _, said) in zip(lines, cases):
        assert line.startswith("fastmlp train: ")
        assert said in line


# Each rank in a directory of its own, as on machines that share no disk.
APART = """
import os, sys
from fastmlp import train

os.chdir(sys.argv[1] + os.environ["PMI_RANK"])
sys.exit(train.main(sys.argv[2:]))
"""


@pytest.mark.slow
def test_rank_0_alone_writes_and_the_ranks_must_have_read_the_same(ranks, tmp_path):
    for directory in ("rank0", "rank1", "other0"):
        (tmp_path / directory).mkdir()
        shutil.copy(tmp_path / "digits.npz", tmp_path / directory)
    (tmp_path / "other1").mkdir()
    with np.load(tmp_path / "digits.npz") as data:
        np.savez(tmp_path / "other1" / "digits.npz", **{**data, "y": data["y"][::-1]})
    command = [*OPTIONS, "-q", "--epochs", "2", "--out", "run", "--json"]
    status, out, lines = finished(ranks(2, "-c", APART, "rank", *command))
    assert (status, lines) == (0, [])
    assert json.loads(out)["ranks"] == 2  # one object: of two there would be extra data
    assert {path.name for path in (tmp_path / "rank0" / "run").iterdir()} >= {
        "model.npz",
        "config.toml",
        "metrics.jsonl",
    }
    assert [path.name for path in (tmp_path / "rank1").iterdir()] == ["digits.npz"]
    status, out, lines = finished(ranks(2, "-c", APART, "other", *command))
    assert (status, out) == (2, "")
    assert [line.endswith("is not the same data on all ranks") for line in lines] == [True]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("fastmlp.train", "--data", "missing.csv"), ("fastmlp.predict", "model.npz", "x.csv")]
)
def test_the_exit_code_of_mpiexec_is_the_commands(ranks, command):
    status, out, lines = finished(ranks(3, "-m", *command))
    assert (status, out, len(lines)) == (2, "", 1)


@pytest.mark.parametrize("verb", sorted(VERBS.keys() - {"train"}))
def test_a_command_that_is_not_for_ranks_is_refused_by_rank_0_alone(verb, monkeypatch, capsys):
    monkeypatch.setenv("PMI_SIZE", "3")
    for rank, said in (0, f"fastmlp {verb}: runs in one process, not on 3 ranks; run it without mpiexec\n"), (2, ""):
        monkeypatch.setenv("PMI_RANK", str(rank))
        assert dispatch([verb, "runs/model.npz"]) == 2
        assert capsys.readouterr() == ("", said)


@pytest.mark.slow
def test_ranks_of_another_mpi_than_mpi4pys_are_refused(ranks, python):
    """They would be so many runs of one rank each, in the same directory. ``ranks``: for its reasons to skip."""
    env = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}
    done = python("-m", "fastmlp.train", "--data", "synthetic", code=2, env=env)
    *_, line = done.stderr.splitlines()  # after mpi4py's own warning
    assert line.startswith("fastmlp train: 2 ranks were started, mpi4py sees 1")


@pytest.mark.parametrize(("size", "rank"), [("PMI_SIZE", "PMI_RANK"), ("SLURM_STEP_NUM_TASKS", "PMIX_RANK")])
def test_without_mpi4py_ranks_are_refused_in_a_line_that_says_what_to_install(size, rank, monkeypatch, capsys):
    monkeypatch.setenv(size, "2")
    monkeypatch.setenv(rank, "0")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert train.main(["--data", "synthetic"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("fastmlp train: 2 ranks need mpi4py; pip install ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("names", [{"PMI_SIZE": "1", "PMI_RANK": "0"}, {"SLURM_STEP_NUM_TASKS": "4"}, {}])
def test_one_rank_needs_no_mpi4py(names, monkeypatch):
    """Nor do the tasks of an srun that speaks no MPI: each is a process of its own."""
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    from fastmlp.training.parallel import joined

    with joined() as world:
        assert type(world) is World
