"""The team of threads: counts, concurrency, forks, interrupts."""

import os
import re
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numba.core.event import Listener, install_listener

import kernels
from kernels import team
from kernels.cores import MAX_THREADS, available_cores
from kernels.intrinsics import atomic_add, atomic_load, yield_core
from kernels.jit import kernel
from kernels.team import _core, _step_aside, barrier, barrier_state, run, share


def test_the_count_is_set_restored_and_bounded_by_the_machine():
    before = kernels.get_num_threads()
    with kernels.threads(3):
        assert kernels.get_num_threads() == 3
        with pytest.raises(KeyError), kernels.threads(2):
            raise KeyError
        assert kernels.get_num_threads() == 3
    assert kernels.get_num_threads() == before
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def test_the_count_inside_a_with_block_is_that_threads_own():
    before = kernels.get_num_threads()
    inside, outside = threading.Event(), threading.Event()

    def other():
        with kernels.threads(1):
            inside.set()
            outside.wait(30)

    worker = threading.Thread(target=other)
    worker.start()
    inside.wait(30)
    assert kernels.get_num_threads() == before
    with kernels.threads(5):
        outside.set()
        worker.join()
        assert kernels.get_num_threads() == 5
    assert kernels.get_num_threads() == before


INTERRUPTED = """
import random, signal, sys
import numpy as np, kernels
class Stop(Exception): ...
def stop(*_): raise Stop
signal.signal(signal.SIGALRM, stop)
kernels.set_num_threads(3)
rng = np.random.default_rng(0)
X, W = rng.standard_normal((400, 300)), rng.standard_normal((300, 150))
expected = kernels.linear_forward(X, W)
random.seed(int(sys.argv[1]))
interrupted = 0
for _ in range(300):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(5e-6, 1e-3))
        for _ in range(50): kernels.linear_forward(X, W)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Stop:
        interrupted += 1
    out = np.full_like(expected, np.nan)
    kernels.linear_forward(X, W, out=out)
    assert (out == expected).all()
assert interrupted > 100, interrupted
"""


@pytest.mark.skipif(not hasattr(__import__("signal"), "setitimer"), reason="this system has no interval timers")
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in (1, 2))])
def test_exceptions_from_signal_handlers_leave_the_team_in_order(python, tmp_path, seed):
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    python(str(tmp_path / "interrupted.py"), str(seed), timeout=120)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_a_containers_quota_limits_the_cores(files, cores, monkeypatch):
    def read(path):
        name = str(path).removeprefix("/sys/fs/cgroup/")
        if name not in files:
            raise FileNotFoundError(name)
        return files[name]

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    assert available_cores() == cores


def test_affinity_and_environment_set_the_count(python):
    code = "import kernels; print(kernels.get_num_threads())"
    assert python(code, env={"FASTMLP_NUM_THREADS": "7", "OMP_NUM_THREADS": "1"}).stdout == "7\n"
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        assert python(code, env={"FASTMLP_NUM_THREADS": "", name: "1,4"}).stdout == "1\n"
    pinned = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n" + code
    assert python(pinned, env={"FASTMLP_NUM_THREADS": ""}).stdout == "1\n"
    wrong = python(code, code=1, env={"FASTMLP_NUM_THREADS": "many"})
    assert wrong.stderr.strip().endswith("FASTMLP_NUM_THREADS must be an integer from 1 to 1024, not 'many'")


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shares_cover_everything_once(parts):
    for n in (0, 1, 5, 128):
        ranges = [share(part, parts, n) for part in range(parts)]
        assert [i for lo, hi in ranges for i in range(lo, hi)] == list(range(n))
        assert max(hi - lo for lo, hi in ranges) - min(hi - lo for lo, hi in ranges) <= 1


def product():
    rng = np.random.default_rng(3)
    return rng.standard_normal((256, 200)), rng.standard_normal((200, 150))


@kernel
def meet(part, parts, state, board, seen):
    """Each part writes, meets the others, and reads what they wrote, round after round."""
    for k in range(len(board)):
        board[k, part] = 1
        barrier(state, parts)
        seen[k, part] = board[k].sum()


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_meet_at_the_barrier(parts):
    """Also with more parts than cores."""
    board, seen = np.zeros((300, parts), np.int64), np.zeros((300, parts), np.int64)
    with kernels.threads(parts):
        run(meet, parts, barrier_state(), board, seen)
    assert (seen == parts).all()


@kernel
def count(part, parts, calls):
    calls[part] += 1


def test_every_part_runs_once_each_time_also_after_a_rest():
    calls = np.zeros(5, np.int64)
    with kernels.threads(5):
        for k in range(1, 200):
            run(count, 5, calls)
            assert (calls == k).all()
            if k % 50 == 0:  # the team falls asleep and has to be woken
                until(lambda: team._team._sleeping == len(team._team._threads) >= 4)
    with kernels.threads(3):
        run(count, 5, calls)
    assert (calls - k).tolist() == [1, 1, 1, 0, 0]  # no more parts than threads


def until(reached):
    deadline = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@kernel
def end_late(part, parts, state, calls):
    barrier(state, parts)
    for _ in range(1000 * part):
        yield_core()
    calls[part] += 1


def test_a_call_ends_when_its_last_part_has_ended():
    for _ in range(20):  # the caller mostly has the first
        calls = np.zeros(3, np.int64)
        with kernels.threads(3):
            run(end_late, 3, barrier_state(), calls)
        assert (calls == 1).all()


@kernel
def step_aside(mask, cores):
    """The cores that this thread is on before and after it leaves the one it is on."""
    cores[0] = _core()
    _step_aside(cores[0], mask)
    cores[1] = _core()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not tell a thread its cores")
def test_a_thread_that_leaves_the_callers_core_may_return():
    allowed, mask, cores = os.sched_getaffinity(0), np.zeros(16, np.int64), np.zeros(2, np.int64)
    left = 0
    for _ in range(20):
        step_aside(mask, cores)
        left += cores[0] != cores[1]
        assert os.sched_getaffinity(0) == allowed
    assert left > 10 or len(allowed) == 1


def test_a_thread_that_is_called_when_it_is_about_to_sleep_stays_awake():
    """Or it would miss the call: nobody wakes a thread that does not sleep yet."""
    with kernels.threads(3):
        run(count, 3, np.zeros(3, np.int64))  # there is a team
    team._team.gather(2)
    until(lambda: team._team._sleeping == 0)
    with team._team._lock:
        team._team.calling = False
        time.sleep(0.1)  # in which they come to the lock
        team._team.calling = True
    time.sleep(0.1)
    assert team._team._sleeping == 0
    team._team.calling = False


def test_the_team_sleeps_while_a_kernel_is_compiled(empty_cache):
    """Which takes seconds: awake, it would offer its cores in vain, to nobody, at full load. Then it is woken again."""

    @kernel
    def gather(part, parts, here, met):
        atomic_add(here, 0, 1)
        for _ in range(1_000_000):
            if atomic_load(here, 0) == parts:
                met[part] = 1
                return
            yield_core()

    asleep = []

    class Watch(Listener):
        def on_start(self, event):
            deadline = time.monotonic() + 10
            while team._team._sleeping < 2 and time.monotonic() < deadline:
                time.sleep(0.001)
            asleep.append(team._team._sleeping)

        def on_end(self, event): ...

    met = np.zeros(3, np.int64)
    with kernels.threads(3):
        run(count, 3, np.zeros(3, np.int64))  # there is a team
        with install_listener("numba:compile", Watch()):
            run(gather, 3, np.zeros(1, np.int64), met)
    assert asleep
    assert min(asleep) >= 2
    assert (met == 1).all()
    team._team.calling, team._team.caller = True, 0  # another Python thread has the team
    run(gather, 1, np.zeros(1, np.int64), np.zeros(1, np.int32))
    assert (team._team.calling, team._team.caller) == (True, 0)
    team._team.calling = False


def test_a_busy_core_slows_and_does_not_stop_the_team(busy_cores, empty_cache):
    """As many spinning processes as cores: a collapse would be the scheduler's slice at each of 300 meetings.

    How long they take tells that on an idle machine alone; that a waiting part yields its core is in the machine code.
    """
    test_parts_meet_at_the_barrier(2)
    anew = kernel(meet.py_func)  # what is loaded from a cache has no text
    for signature in meet.overloads:
        anew.compile(signature)
        assert re.search(rf"call i32 @{yield_core.symbol}\(", anew.inspect_llvm(signature))


def test_the_process_ends_while_the_team_is_awake(python):
    """Five of them, where they can be forked: what all load is loaded once."""
    code = """
import logging, os, numpy as np, kernels
logging.disable(logging.WARNING)  # that kernels are compiled
X, W = np.ones((256, 200)), np.ones((200, 150))
with kernels.threads(1):  # there is no team yet
    kernels.linear_forward(X, W)
for _ in range(4):
    child = os.fork() if hasattr(os, "fork") else 0
    if child == 0:
        break
    assert os.waitpid(child, 0)[1] == 0
kernels.set_num_threads(3)
for _ in range(50):
    kernels.linear_forward(X, W)
"""
    assert python("-W", "ignore", "-c", code).stderr == ""  # Python warns of a fork beside any thread


def test_idle_threads_do_not_keep_arrays_alive():
    import gc
    import weakref

    X, W = product()
    with kernels.threads(2):
        Y = kernels.linear_forward(X, W)
    alive = weakref.ref(Y)
    del Y
    gc.collect()
    assert alive() is None


def test_a_team_that_does_not_get_its_cores_is_halved_for_a_while(monkeypatch):
    """Clocks of our own: each run takes two seconds, in which every part but the ``taken`` ones has a core."""
    clock, taken = SimpleNamespace(wall=0.0, cpu=0.0), 0.0

    def run(function, parts):
        clock.wall += 2
        clock.cpu += 2 * (parts - taken)

    crowd = SimpleNamespace(limit=MAX_THREADS, until=0.0, pause=team._PAUSE)
    times = SimpleNamespace(monotonic=lambda: clock.wall, process_time=lambda: clock.cpu)
    launchers = defaultdict(
        lambda: SimpleNamespace(overloads={}), kernel=SimpleNamespace(overloads={"its types": None})
    )
    changes = {"run": run, "time": times, "_Backoff": crowd, "launcher": launchers.__getitem__, "_MEASURABLE": 0.002}
    for name, value in changes.items():
        monkeypatch.setattr(team, name, value)
    sizes, pauses = [], []
    with kernels.threads(4):
        for taken in (0.0, 0.2, 0.5, 0.5, 0.0):
            sizes.append(team.team_size())
            team.run_in_step("kernel", sizes[-1])
            pauses.append(team._Backoff.pause / team._PAUSE)
            if taken > 0.25:
                assert team.team_size() == max(1, sizes[-1] // 2)
                clock.wall += team._Backoff.pause  # longer than the pause before
        assert sizes == [4, 4, 4, 4, 4]  # the whole team is tried again
        assert pauses == [1, 1, 2, 4, 1]
        taken = 0.5
        for size in (4, 2, 1, 1):
            assert team.team_size() == size
            clock.wall -= 2  # no time passes
            team.run_in_step("kernel", size)
        for _ in range(10):
            team.run_in_step("kernel", 4)
        assert team._Backoff.pause == team._LONGEST_PAUSE
        team._Backoff.limit = 3
        assert team.run_in_step("another kernel, which is still to be compiled", 4) is None
        taken = 0.0
        assert team.run_in_step("kernel", 2) == 2  # seconds, which tell nothing about four
        monkeypatch.setattr(team, "_MEASURABLE", 3)
        taken = 0.5
        team.run_in_step("kernel", 4)
        assert (team._Backoff.limit, team._Backoff.pause) == (3, team._LONGEST_PAUSE)
        with kernels.threads(2):
            assert team.team_size() == 2


def test_short_steps_take_the_faster_of_the_team_and_one_thread(monkeypatch):
    """A clock of our own; the slower is timed again seldom, and wins where it has become the faster."""
    now, seconds, taken = 100.0, {4: 1.5e-4, 1: 1e-4}, []
    monkeypatch.setattr(team, "time", SimpleNamespace(monotonic=lambda: now))
    pace = team.Pace()
    for call in range(4000):
        if call == 2000:
            seconds[1] = 3e-4  # as when another process takes that core
        threads = pace.threads(4)
        taken.append(threads)
        steps = 500 // threads
        pace.note(threads, steps, steps * seconds[threads] * (10 if call == 1000 else 1))  # a single slow run
        now += 500 * seconds[threads]
    assert taken[:2] == [4, 1]
    assert taken[2:2000].count(4) == 8  # after 1, 2, 4, 8, 16, 32, 62 and 92 of the 100 seconds
    assert taken[2000:2004] == [1] * 4
    assert taken[2010:].count(1) == 5  # every 30 of the next 150 seconds
    assert team.pace_of((5, 3), 8) is team.pace_of((5, 3), 8) is not team.pace_of((5, 3), 16)


NO_THREADS = """
import sys, threading
import numpy as np, kernels
from kernels.team import barrier, barrier_state, run
kernels.set_num_threads(4)
left = int(sys.argv[1])
start = threading.Thread.start

def few(thread):
    global left
    if not left:
        raise RuntimeError("can't start new thread")  # as under a limit of processes
    left -= 1
    start(thread)

rng = np.random.default_rng(0)
X, y = rng.integers(0, 256, (256, 784)).astype(np.uint8), rng.integers(0, 10, 256)

def trained():
    network = kernels.Network((784, 64, 10))
    network.params[:] = np.random.default_rng(1).standard_normal(network.params.size)
    kernels.mlp_train_steps(X, y, np.arange(256), 128, network, rule=kernels.sgd(), lr=[1e-4] * 2)
    return network.params.tobytes()

threading.Thread.start = few
first = trained(), trained()
threading.Thread.start = start
assert first == (trained(),) * 2
assert kernels.team._team.gather(3) == 3  # the next call finds them
kernels.team._team.calling = False
"""


@pytest.mark.parametrize("left", [0, 1])
def test_without_more_threads_those_there_are_give_the_same_bits(python, left):
    result = python("-c", NO_THREADS, str(left))
    warning = f"can't start new thread; running on {left + 1} of 4 threads"
    assert result.stderr.count("RuntimeWarning") == result.stderr.count(warning) == 1


def test_kernels_run_when_the_team_has_ended(python):
    """At exit, in a function that was registered before kernels were imported: what meets would wait for ever."""
    code = "import atexit\ndef late():\n    exec(compile(CODE, 'late', 'exec'), globals())\natexit.register(late)\n"
    training = NO_THREADS.rpartition("threading.Thread.start = start")[0]
    code += f"import sys; sys.argv[1:] = ['9']\nCODE = {training!r}\nimport kernels.team"
    assert python(code, timeout=100).stderr == ""
