"""Threads, forks, pools and signals while kernels run. Each scene is a process of its own: a hang fails its test."""

import os

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

# What every scene begins with. SIGALRM ends a process that hangs, even inside compiled code, and its children too.
COMMON = """
import functools, logging, os, signal, sys, threading, warnings
import numpy as np
import fastmlp, kernels

LIMIT = 200
logging.disable(logging.WARNING)  # that kernels are compiled


def limit():
    if hasattr(signal, "alarm"):
        signal.alarm(LIMIT)


limit()
warnings.filterwarnings("ignore", ".*multi-threaded.*fork")
kernels.set_num_threads(3)
rng = np.random.default_rng(0)
X, y = rng.integers(0, 256, (600, 100)).astype(np.uint8), rng.integers(0, 5, 600)
DATA = fastmlp.Dataset("random", X, y, X[:200], y[:200], tuple("abcde"), "random numbers")
OPTIONS = {"epochs": 2, "hidden": (200, 150), "dropout": 0.1, "checkpoint_seconds": 0}


@functools.cache
def shared():
    return fastmlp.fit(DATA, seed=99, **OPTIONS).model


def trained(seed):
    return fastmlp.fit(DATA, seed=seed, **OPTIONS).model.weights_sha256()


def predicted(_=None):
    return shared().predict_proba(DATA.X).tobytes()


def everything(_=None):
    return [trained(1), predicted()]


def in_threads(_=None):
    return on_threads(everything, everything)


def on_threads(*jobs):
    '''The results of the jobs, each on a thread of its own, all at once.'''
    results, together = [None] * len(jobs), threading.Barrier(len(jobs))

    def work(k):
        together.wait()
        results[k] = jobs[k]()

    workers = [threading.Thread(target=work, args=(k,)) for k in range(len(jobs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return results


def own_cache():
    '''For kernels of the scene's own: compiled each time.'''
    os.environ["FASTMLP_CACHE"], kernels.jit.cache._store = os.getcwd(), None


def child_ends_well(child):
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.fixture
def scene(python, tmp_path):
    """Run ``code`` after the common part, from a file so that pools can import it; it must end well and say nothing."""

    def run(code, *arguments, **env):
        file = tmp_path / "scene.py"
        indented = "".join(f"    {line}\n" for line in code.strip().splitlines())
        file.write_text(f"{COMMON}\n\nif __name__ == '__main__':\n{indented}")
        result = python("-X", "faulthandler", str(file), *arguments, env=env, timeout=400)
        assert (result.stdout, result.stderr) == ("", "")

    return run


THREADS = """
import ctypes, time
import numba
from numba import njit, prange
from kernels import raw

expected, answer = [trained(seed) for seed in range(4)], predicted()
try:
    numba.threading_layer()
    raise AssertionError("the kernels use Numba's threads")
except ValueError:  # it has not been started
    pass

@njit(parallel=True)
def softmax(blocks):
    for i in prange(len(blocks)):
        raw.softmax(0, 1, blocks[i], blocks[i])

logits = rng.standard_normal((40, 30, 20))
probabilities = kernels.softmax(logits.reshape(1200, 20)).tobytes()

def in_user_code():
    for _ in range(20):
        blocks = logits.copy()
        softmax(blocks)
        assert blocks.tobytes() == probabilities
    return numba.threading_layer()

in_user_code()
begun = []

def until_interrupted():
    try:
        while True:
            begun.append(1)
            trained(7)
    except KeyboardInterrupt:
        pass

def interrupt():
    for _ in range(5):
        victim = threading.Thread(target=until_interrupted)
        victim.start()
        while not begun:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.05))
        while victim.is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(victim.ident), ctypes.py_object(KeyboardInterrupt)
            )
            victim.join(0.2)
        begun.clear()

threading.excepthook = lambda arguments: None  # a second interruption may come when the first is caught
for _ in range(2):
    results = on_threads(
        *[lambda seed=seed: trained(seed) for seed in range(4)], *[lambda: [predicted() for _ in range(10)]] * 4,
        in_user_code, interrupt,
    )
    assert results[:4] == expected
    assert results[4:8] == [[answer] * 10] * 4
    assert results[8] == "workqueue"
assert [trained(seed) for seed in range(4)] == expected
team = kernels.team._team
assert not team.callers and not team.calling
"""


@pytest.mark.slow
def test_threads_that_train_predict_and_are_interrupted_get_the_serial_bits(scene):
    """Beside user code on Numba's workqueue, which aborts a process where two threads enter it."""
    scene(THREADS, NUMBA_THREADING_LAYER="workqueue")


EIGHT_AND_EIGHT = """
import numba

numba.config.THREADING_LAYER = "workqueue"  # as the environment's would be; but kernels are compiled anew under that
dense, SEEDS = DATA.X, range(8)
for kind, X in ("dense", dense), ("sparse", kernels.csr(dense)):
    def trained_on(seed):
        return fastmlp.fit(DATA, seed=seed, input=kind, **OPTIONS).model.weights_sha256()

    def answers():
        return shared().predict_proba(X).tobytes(), shared().predict(X).tobytes()

    with kernels.threads(1):
        expected, answer = [trained_on(seed) for seed in SEEDS], answers()
    results = on_threads(
        *[lambda seed=seed: trained_on(seed) for seed in SEEDS], *[lambda: {answers() for _ in range(20)}] * 8
    )
    assert results == expected + [{answer}] * 8, kind
"""


@pytest.mark.slow
def test_eight_threads_that_train_and_eight_that_predict_get_the_bits_of_one_thread_alone(scene):
    """Eight networks, and a ninth that all read; a process in which two threads entered the workqueue would abort."""
    scene(EIGHT_AND_EIGHT)


COMING_AND_GOING = """
import gc, tracemalloc
import kernels.memory

A, B = rng.standard_normal((64, 200)), rng.standard_normal((200, 150))
expected = kernels.linear_forward(A, B).tobytes()

def work():
    assert kernels.linear_forward(A, B).tobytes() == expected

def come_and_go(n):
    for _ in range(n // 4):
        on_threads(*[work] * 4)
    gc.collect()

come_and_go(100)
system_threads = lambda: len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") \
else threading.active_count()
before = system_threads()
tracemalloc.start()
come_and_go(20)
held = tracemalloc.get_traced_memory()[0]
come_and_go(1000)
more = tracemalloc.get_traced_memory()[0] - held
assert more < 1000 * 100, more  # the scratch of a thread alone is a thousand times as much
assert system_threads() <= before
"""


@pytest.mark.slow
def test_a_thousand_threads_that_come_and_go_leave_nothing(scene):
    scene(COMING_AND_GOING)


POOLS = """
expected, method = [everything()] * 2, sys.argv[1]
if method == "loky":
    import joblib
    results = joblib.Parallel(n_jobs=2)(joblib.delayed(in_threads)() for _ in range(2))
else:
    import multiprocessing
    with multiprocessing.get_context(method).Pool(2, limit) as pool:
        results = pool.map(in_threads, range(2), 1)
assert results == [expected] * 2
"""


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("fork", marks=needs_fork),
        pytest.param("forkserver", marks=[needs_fork, pytest.mark.nightly]),
        pytest.param("spawn", marks=pytest.mark.slow),
        pytest.param("loky", marks=pytest.mark.nightly),
    ],
)
def test_thread_pools_in_process_pools_train_and_predict_as_their_parent_does(scene, method):
    """Also in children of a process whose team of threads is awake."""
    if method == "loky":
        pytest.importorskip("joblib")
    scene(POOLS, method)


FORKS = """
expected, stop, under_way = everything(), threading.Event(), threading.Event()

def train_on():
    while not stop.is_set():
        under_way.set()
        trained(3)

worker = threading.Thread(target=train_on)
worker.start()
under_way.wait()
for _ in range(10):
    child = os.fork()
    if child == 0:
        limit()
        os._exit(everything() != expected)
    child_ends_well(child)
stop.set()
worker.join()
assert everything() == expected
"""


@needs_fork
@pytest.mark.slow
def test_a_fork_while_another_thread_is_inside_a_kernel(scene):
    scene(FORKS)


FORK_WHILE_COMPILING = """
from kernels import jit
from kernels.jit import kernel

own_cache()

@kernel
def first(x):
    return x + 1

@kernel
def second(x):
    return 2 * x

compiling, forking = threading.Event(), threading.Event()

def begin_compiling():
    compiling.set()
    forking.wait()

jit._begin_compiling = begin_compiling
os.register_at_fork(before=forking.set)  # called before what was registered earlier
worker = threading.Thread(target=first, args=(1,))
worker.start()
compiling.wait()
child = os.fork()
if child == 0:
    limit()
    os._exit(second(2) != 4)
child_ends_well(child)
worker.join()
"""


@needs_fork
def test_a_fork_while_another_thread_compiles(scene):
    """The child compiles too: it must not wait for a lock that a thread of its parent holds."""
    scene(FORK_WHILE_COMPILING)


FIRST_CALLS = """
import importlib.abc, sys
import numpy as np, kernels
from kernels.jit import global_compiler_lock

outside = []

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if not (global_compiler_lock.is_locked() or kernels._importing._is_owned()):
            outside.append(name)

sys.meta_path.insert(0, Watch())
X, y, network = np.ones((4, 5), np.uint8), np.zeros(4, int), kernels.Network((5, 3, 2))
kernels.linear_forward(kernels.csr(X), np.ones((5, 3)))
kernels.softmax_cross_entropy(np.ones((4, 5)), y)
kernels.mlp_train_steps(X, y, range(4), 4, network, rule=kernels.sgd(), lr=[0.1])
print(outside)
"""


def test_first_calls_import_nothing_but_under_a_lock(python):
    """A child that is forked while another thread imports a module can never import it. A fork waits for both locks."""
    assert python(FIRST_CALLS).stdout == "[]\n"


FORK_WHILE_IMPORTING = """
import os, sys, threading, time
import {imports}

class Slow:
    def find_spec(self, name, path, target=None):
        if name == "{slow}":
            importing.set()
            time.sleep(0.5)

def use():
    fastmlp.load_model, kernels.softmax

importing = threading.Event()
sys.meta_path.insert(0, Slow())
thread = threading.Thread(target=use, daemon=True)
thread.start()
importing.wait()
child = os.fork()
if child == 0:
    use()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("imports", "slow"),
    [
        ("fastmlp, kernels", "fastmlp.models.model"),
        ("fastmlp, kernels", "fastmlp.backend"),
        ("kernels, logging, fastmlp", "numba"),
        ("fastmlp, logging, kernels", "numba"),
        ("kernels, logging, fastmlp", "kernels.jit"),
    ],
)
def test_a_child_forked_while_another_thread_imports_can_import(python, imports, slow):
    """The importing thread takes the locks of both packages and of logging, which a fork takes, too."""
    script = FORK_WHILE_IMPORTING.format(imports=imports, slow=slow)
    result = python(script, timeout=30)
    assert (result.stdout, result.stderr) == ("7\n", "")


SIGNALS = """
import dis, time
from kernels.team import barrier, barrier_state, run

own_cache()
A, B = rng.standard_normal((64, 200)), rng.standard_normal((200, 150))
CHECKED = {"CALL", "CALL_KW", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD", "POP_JUMP_BACKWARD_IF_TRUE"}

class Signal(Exception):
    pass

sys.unraisablehook = lambda arguments: None  # of one in a callback of the garbage collector, which goes nowhere

def raised_at(k, call):
    '''Call, and raise at the k-th place where the interpreter would run a signal's handler. Whether there is one.'''
    places, last = 0, {}

    def trace(frame, event, _):
        nonlocal places
        frame.f_trace_opcodes = True
        if event == "opcode":
            if last.get(frame) in CHECKED:
                places += 1
                if places == k:
                    raise Signal
            last[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
        return trace

    sys.settrace(trace)
    try:
        call()
    except Signal:
        return True
    except RuntimeError as error:  # the standard library's, starting a thread: it releases a lock that it no longer has
        if not isinstance(error.__context__, Signal):
            raise
        return True
    finally:
        sys.settrace(None)
    return places >= k  # one in a callback of the garbage collector ends nothing

parts = 3
seen = np.zeros(parts, np.int64)

@kernels.jit.kernel
def meet(part, parts, state, seen):
    barrier(state, parts)
    seen[part] += 1

def call():
    run(meet, parts, barrier_state(), seen)

def asleep():
    team = kernels.team._team
    return team._sleeping == len(team._threads)

for fresh in (False, True):
    k = 1
    while True:
        if fresh:
            kernels.team._team.end()
            kernels.team._forget_team()
        else:
            call()
            while not asleep():
                time.sleep(0.001)
        if not raised_at(k, call):
            break
        team = kernels.team._team
        assert not team.callers and not team.calling, k
        before = seen.sum()
        call()  # three parts that meet: without the others it would never end
        assert seen.sum() == before + parts, k
        k += 1
    assert k > 15, k
"""


@pytest.mark.slow
def test_an_exception_of_a_signal_handler_at_any_instant_leaves_the_team_able_to_meet(scene):
    scene(SIGNALS)
