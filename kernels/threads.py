"""How work is run on the cores: a team of Python threads inside kernels that have released the GIL.

A kernel that can be split takes ``(part, parts, ...)`` first and computes its share of the *outputs*; each output
is computed whole, in an order fixed by the code, so the bits do not depend on ``parts``. ``run`` gives part 0 to the
caller and the others to the team. Why not Numba's ``prange``: its workqueue layer aborts the process when two Python
threads enter it, GNU OpenMP kills a forked child and spins when a core is taken away, and ``parallel=True`` doubles
the compile time. A team of threads works the same on every installation.

When the team is busy (a nested call, or a second Python thread), the call runs alone on its own thread: the same
bits, no waiting, no deadlock. A forked child makes a new team at its first call.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .intrinsics import atomic_add, atomic_load, yield_core
from .jit import kernel

# -- how many threads --------------------------------------------------------------------------------------------


def _cgroup_cpus() -> float:
    """The CPU quota of this process's control group in cores (v2, then v1); infinite without one."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            return int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text()
        period = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text()
        if int(quota) > 0:
            return int(quota) / int(period)
    return float("inf")


def available_cores() -> int:
    """Cores this process may use: the affinity mask, and no more than the control group's quota rounded up."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:  # pragma: no cover
        cores = os.cpu_count() or 1
    quota = _cgroup_cpus()
    return cores if quota == float("inf") else max(1, min(cores, int(-(-quota // 1))))


MAX_THREADS = 1024


def _checked_count(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= MAX_THREADS:
        raise ValueError(f"the number of threads must be an integer from 1 to {MAX_THREADS}, not {n!r}")
    return int(n)


def _default_count() -> int:
    text = os.environ.get("FASTMLP_NUM_THREADS")
    if not text:
        return available_cores()
    try:
        return _checked_count(int(text))
    except ValueError:
        raise ValueError(f"FASTMLP_NUM_THREADS must be an integer from 1 to {MAX_THREADS}, not {text!r}") from None


_count: int | None = None


def get_num_threads() -> int:
    """Threads that kernels use: as set, else ``$FASTMLP_NUM_THREADS``, else the cores this process may use."""
    global _count
    if _count is None:
        _count = _default_count()
    return _count


def set_num_threads(n: int) -> None:
    """Let kernels use ``n`` threads, more than there are cores if you like; results do not depend on it."""
    global _count
    _count = _checked_count(n)


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """``with threads(n):`` kernels inside use ``n`` threads."""
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)


# -- the barrier ---------------------------------------------------------------------------------------------------


# Two arrivals on free cores meet within about a microsecond; spinning on much longer starves whatever
# else wants the core (lock-step phases under a spinning runtime went from 0.3 to 10 ms a step).
_SPINS = 2000
_ARRIVED, _ABORTED = 0, 8  # on cache lines of their own


def barrier_state() -> np.ndarray:
    """What ``barrier`` counts in: one a run."""
    return np.zeros(16, np.int64)


def _abort(state: np.ndarray | None) -> None:
    if state is not None:
        state[_ABORTED] = 1


@kernel
def barrier(state, round_number, parts):
    """Wait until all ``parts`` have arrived ``round_number`` times (1, 2, ...): spin briefly, then yield the core.

    Returns at once when the run was aborted, so that no part waits for one that never comes.
    """
    if parts == 1:
        return
    atomic_add(state, _ARRIVED, 1)
    spins = 0
    while atomic_load(state, _ARRIVED) < round_number * parts and atomic_load(state, _ABORTED) == 0:
        spins += 1
        if spins > _SPINS:
            yield_core()


# -- the team ------------------------------------------------------------------------------------------------------


class _Team:
    """Idle threads that wait for parts of a call."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._inboxes: list[queue.SimpleQueue[tuple[Any, ...]]] = []
        self._done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def _work(self, inbox: queue.SimpleQueue[tuple[Any, ...]]) -> None:
        while True:
            function, part, parts, args, state = inbox.get()
            try:
                function(part, parts, *args)
                self._done.put(None)
            except BaseException as error:
                _abort(state)
                self._done.put(error)
            del function, args, state  # an idle thread must not keep the caller's arrays alive

    def run(self, function: Callable[..., Any], parts: int, args: tuple[Any, ...], state: np.ndarray | None) -> None:
        while len(self._inboxes) < parts - 1:
            inbox: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
            name = f"kernels-{len(self._inboxes) + 1}"
            threading.Thread(target=self._work, args=(inbox,), name=name, daemon=True).start()
            self._inboxes.append(inbox)
        started = 0
        failure: BaseException | None = None
        try:
            for part in range(1, parts):
                self._inboxes[part - 1].put((function, part, parts, args, state))
                started = part
            function(0, parts, *args)
        except BaseException as error:
            failure = error
            _abort(state)
        while started:  # also after Ctrl-C: nobody may still be writing to the caller's arrays when this returns
            try:
                failure = self._done.get() or failure
                started -= 1
            except KeyboardInterrupt as interrupt:
                failure = interrupt
        if failure is not None:
            raise failure


_team = _Team()


def _forget_team() -> None:
    """In a forked child the team's threads do not exist."""
    global _team
    _team = _Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_team)


def run(function: Callable[..., Any], parts: int, *args: Any, state: np.ndarray | None = None) -> None:
    """Call ``function(part, parts, *args)`` for every part, on as many threads, and return when all have.

    ``parts`` is cut to the number of threads. ``state`` is the ``barrier_state()`` among ``args``, when the parts
    meet: it lets the others leave when one part fails.
    """
    team = _team
    parts = min(parts, get_num_threads())
    if parts > 1 and team.lock.acquire(blocking=False):
        try:
            team.run(function, parts, args, state)
        finally:
            team.lock.release()
    else:
        function(0, 1, *args)


@kernel
def share(part, parts, n):
    """The half-open range of 0..n-1 that belongs to ``part``: contiguous, equal to within one."""
    return part * n // parts, (part + 1) * n // parts
