"""The team of threads: counts, concurrency, forks, interrupts."""

from __future__ import annotations

import multiprocessing
import os
import threading

import numpy as np
import pytest

import kernels
from kernels.threads import available_cores, barrier, barrier_state, run, share


def test_the_count_is_set_restored_and_bounded_by_the_machine():
    before = kernels.get_num_threads()
    with kernels.threads(3):
        assert kernels.get_num_threads() == 3
        with pytest.raises(KeyError), kernels.threads(2):
            raise KeyError
        assert kernels.get_num_threads() == 3
    assert kernels.get_num_threads() == before
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def test_affinity_and_environment_set_the_count(python):
    code = "import kernels; print(kernels.get_num_threads())"
    assert python(code, env={"FASTMLP_NUM_THREADS": "7"}).stdout == "7\n"
    pinned = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n" + code
    assert python(pinned, env={"FASTMLP_NUM_THREADS": ""}).stdout == "1\n"
    wrong = python(code, env={"FASTMLP_NUM_THREADS": "many"})
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


def test_python_threads_at_once_get_the_serial_bits():
    X, W = product()
    expected = kernels.linear_forward(X, W).tobytes()
    wrong = []

    def work():
        for _ in range(50):
            if kernels.linear_forward(X, W).tobytes() != expected:
                wrong.append(1)

    with kernels.threads(3):
        workers = [threading.Thread(target=work) for _ in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert not wrong


def _child(queue):
    queue.put(kernels.linear_forward(*product()).tobytes())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_computes_the_parents_bits():
    with kernels.threads(2):
        expected = kernels.linear_forward(*product()).tobytes()
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        children = [context.Process(target=_child, args=(queue,)) for _ in range(2)]
        for child in children:
            child.start()
        results = [queue.get(timeout=60) for _ in children]
        for child in children:
            child.join(60)
            assert child.exitcode == 0
    assert results == [expected, expected]


def test_parts_meet_at_the_barrier():
    """Each part writes, meets, reads what the others wrote; many rounds, more parts than cores."""
    parts, rounds = 4, 300
    state, board = barrier_state(), np.zeros((rounds, parts), np.int64)
    seen = np.zeros((rounds, parts), np.int64)

    def work(part, parts):
        for k in range(rounds):
            board[k, part] = 1
            barrier(state, k + 1, parts)
            seen[k, part] = board[k].sum()

    with kernels.threads(parts):
        run(work, parts, state=state)
    assert (seen == parts).all()


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_error_in_one_part_frees_the_others_and_reaches_the_caller(failing):
    state = barrier_state()

    def work(part, parts):
        if part == failing:
            raise ZeroDivisionError
        barrier(state, 1, parts)

    with kernels.threads(3):
        with pytest.raises(ZeroDivisionError):
            run(work, 3, state=state)
        run(lambda part, parts: None, 3)  # and the team is ready for the next call


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
