"""How work is run on the cores: a team of threads that wait for work inside compiled code, without the GIL.

A kernel that can be split takes ``(part, parts, ...)`` first and computes its share of the *outputs*; each output
is computed whole, in an order fixed by the code, so the bits depend neither on ``parts`` nor on who takes which.
``run`` posts the parts; the caller and the team claim them one by one until none is left.

Why not Numba's ``prange``: its workqueue layer aborts the process when two Python threads enter it, GNU OpenMP kills
a forked child and spins when a core is taken away, and ``parallel=True`` doubles the compile time. Why not a pool of
Python threads that wait on a lock: handing over goes through the GIL and the scheduler, which puts the woken thread on
the waker's core and leaves it there for milliseconds.

An idle thread spins for microseconds, then offers its core to others for about two milliseconds, then sleeps. When the
team is busy (a second Python thread), a call runs all its parts itself: the same bits, no waiting, no deadlock. A
forked child makes a new team at its first call.
"""

from __future__ import annotations

import atexit
import inspect
import os
import sys
import threading
import time
from functools import cache as memoized
from typing import Any

import numpy as np
from numba import types

from .cores import MAX_THREADS, get_num_threads
from .intrinsics import (
    atomic_add,
    atomic_load,
    atomic_replace,
    atomic_store,
    job_call,
    job_entry,
    job_outcome,
    yield_core,
)
from .jit import Kernel, entry, kernel, piece, written
from .jit.cache import warn

# -- the barrier ---------------------------------------------------------------------------------------------------

# Two arrivals on free cores meet within about a microsecond; spinning on much longer starves whatever
# else wants the core (lock-step phases under a spinning runtime went from 0.3 to 10 ms a step).
_SPINS = 2000


def barrier_state() -> np.ndarray:
    """What ``barrier`` counts in, one a run; behind it what ``meet`` does."""
    return np.zeros(3, np.int64)


@piece
def barrier(state, round_number, parts):
    """Wait until all ``parts`` have arrived ``round_number`` times (1, 2, ...): spin briefly, then yield the core."""
    if parts == 1:
        return
    atomic_add(state, 0, 1)
    spins = 0
    while atomic_load(state, 0) < round_number * parts:
        spins += 1
        if spins > _SPINS:
            yield_core()


@piece
def meet(state, parts):
    """Wait until all ``parts`` are here, however often they have met; ``barrier`` counts from one again then."""
    turn, spins = atomic_load(state, 2), 0
    if atomic_add(state, 1, 1) == parts - 1:
        state[0] = state[1] = 0
        atomic_store(state, 2, turn + 1)
    while atomic_load(state, 2) == turn:
        spins += 1
        if spins > _SPINS:
            yield_core()


@piece
def share(part, parts, n):
    """The half-open range of 0..n-1 that belongs to ``part``: contiguous, equal to within one."""
    return part * n // parts, (part + 1) * n // parts


# -- the team ------------------------------------------------------------------------------------------------------

# The mailbox: on cache lines of their own what is left to claim (parts << 32 | next part) and how many parts are done; the
# job's two addresses and the caller's core; whether the process is ending.
_CLAIM, _DONE, _CODE, _DATA, _CORE, _ENDING = 0, 8, 16, 17, 18, 24
_MAILBOX = 32

_MASK_WORDS = 16  # of a set of 1,024 cores

_IDLE_YIELDS = 4000  # about 2 ms: longer than what Python does between two calls of a loop


if sys.platform == "linux":
    _getcpu = types.ExternalFunction("sched_getcpu", types.int32())
    _affinity = types.int32(types.int32, types.intp, types.voidptr)
    _getaffinity = types.ExternalFunction("sched_getaffinity", _affinity)
    _setaffinity = types.ExternalFunction("sched_setaffinity", _affinity)

    @piece
    def _core():
        """The core this thread is on."""
        return np.int64(_getcpu())

    @piece
    def _step_aside(core, mask):
        """Go to another core than ``core``, if this thread may, and be free to come back; ``mask`` is scratch.

        The scheduler wakes a thread on its waker's core and can leave both there for a tenth of a second, since each
        gives way to the other; two threads were then slower than one.
        """
        size = mask.size * mask.itemsize
        if _getcpu() != core or _getaffinity(0, size, mask.ctypes) < 0:
            return
        bit = np.int64(1) << (core & 63)
        mask[core >> 6] ^= bit
        _setaffinity(0, size, mask.ctypes)  # refused where that leaves no core
        mask[core >> 6] ^= bit
        _setaffinity(0, size, mask.ctypes)

else:  # pragma: no cover

    @piece
    def _core():
        return np.int64(-1)

    @piece
    def _step_aside(core, mask):
        return


@piece
def _work(mail, mask):
    """Claim and run parts until none is left to claim; with a ``mask``, to help another thread, not on its core."""
    while True:
        claim = atomic_load(mail, _CLAIM)
        part, parts = claim & 0xFFFFFFFF, claim >> 32
        if part >= parts:
            return
        # The job cannot end, nor its addresses change, while a claimed part is not done.
        if atomic_replace(mail, _CLAIM, claim, claim + 1):
            if mask.size:
                _step_aside(mail[_CORE], mask)
            job_call(mail[_CODE], part, parts, mail[_DATA])
            atomic_add(mail, _DONE, 1)


@kernel
def _serve(mail, mask):
    """Work whenever there is some; return after ``_IDLE_YIELDS`` offers of the core with nothing to do."""
    idle = 0
    while idle < _SPINS + _IDLE_YIELDS and atomic_load(mail, _ENDING) == 0:
        claim = atomic_load(mail, _CLAIM)
        if (claim & 0xFFFFFFFF) < (claim >> 32):
            _work(mail, mask)
            idle = 0
        else:
            idle += 1
            if idle > _SPINS:
                yield_core()


@kernel
def _run_parts(mail, parts, code, data):
    """Post the parts of a job in the mailbox, work, and wait until all are done; a single part is nobody else's."""
    if parts == 1:
        job_call(code, 0, 1, data)
        return
    mail[_CODE], mail[_DATA] = code, data
    mail[_DONE] = 0
    mail[_CORE] = _core()
    atomic_store(mail, _CLAIM, parts << 32)
    _work(mail, mail[:0])
    spins = 0
    while atomic_load(mail, _DONE) < parts:
        spins += 1
        if spins > _SPINS:
            yield_core()


@piece
def _lead(mail, parts, job):
    """Run a ``job_entry``; what it came to."""
    code, data = job
    _run_parts(mail, parts, code, data)
    return job_outcome(data)


@memoized
def launcher(function: Any) -> Any:
    """A kernel that runs ``function(part, parts, *args)`` for all parts, with whoever serves the mailbox."""
    work = "_lead(_mail, _parts, _job_entry(_function, ({arguments})))"
    made = entry(launcher, "launch", "_mail, _parts, ", work, function, skip=2, _job_entry=job_entry, _lead=_lead)
    compile_it = made.compile

    def compile_while_the_team_rests(sig: Any) -> Any:
        team = _team
        if not team.calling or team.caller != threading.get_ident():
            return compile_it(sig)
        team.calling = False
        try:
            return compile_it(sig)
        finally:
            team.gather(0)

    made.compile = compile_while_the_team_rests
    return made


class _Team:
    """A mailbox and the threads that serve it."""

    def __init__(self) -> None:
        self.callers: dict[int, object] = {}  # one at most
        self.mail = np.zeros(_MAILBOX, np.int64)
        # ``with`` takes a lock without an instant at which it is held and would not be released; a Condition, whose
        # methods are Python, has one, and the threads that a signal handler's exception locked out never met again.
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []
        self._sleeping = 0
        self.calling, self.caller = False, 0  # whether a thread needs the team, and which

    def gather(self, size: int) -> int:
        """Have ``size`` threads awake as long as ``calling``, or as many as there can be; how many that is."""
        if self.mail[_ENDING]:
            return 0
        while len(self._threads) < size:
            thread = threading.Thread(target=self._live, name=f"kernels-{len(self._threads) + 1}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the process, its user or its container may have no more
                if error.__context__ is not None:  # or a signal handler raised, and a lock was not yet held
                    raise
                warn(f"{error}; running on {len(self._threads) + 1} of {size + 1} threads")
                break
            self._threads.append(thread)  # after it runs: an interrupt in between leaves one too many, never too few
        with self._lock:
            self.calling, self.caller = True, threading.get_ident()
            if self._sleeping:
                self._wake.notify_all()
        return min(size, len(self._threads))

    def _live(self) -> None:
        mask = np.zeros(_MASK_WORDS, np.int64)
        while not self.mail[_ENDING]:
            _serve(self.mail, mask)
            with self._lock:
                if not self.calling and not self.mail[_ENDING]:
                    self._sleeping += 1
                    self._wake.wait()
                    self._sleeping -= 1

    def end(self) -> None:
        """Let the threads leave compiled code: at exit it is unmapped."""
        self.mail[_ENDING] = 1
        with self._lock:
            self._wake.notify_all()


_team = _Team()


def _forget_team() -> None:
    """In a forked child the team's threads do not exist."""
    global _team
    _team = _Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_team)
atexit.register(lambda: _team.end())


def run(function: Any, parts: int, *args: Any) -> None:
    """Call the kernel ``function(part, parts, *args)`` for every part and return when all are done.

    ``parts`` is cut to the number of threads.
    """
    team = _team
    launch = launcher(function)
    if parts == 1 or (parts := min(parts, get_num_threads())) == 1:
        launch(team.mail, 1, *args)
        return
    caller = object()
    try:
        if team.callers.setdefault(0, caller) is not caller:
            launch(team.mail, 1, *args)
            return
        launch(team.mail, 1 + team.gather(parts - 1), *args)
    finally:
        # Not a lock, nor a call: after any call a signal handler may raise, and the team would be busy for good.
        if team.callers == {0: caller}:
            team.calling = False
            del team.callers[0]


_CLAIM_PARTS = """
def claim_parts(_runner, _runners, _next, _count, {arguments}):
    while True:
        _part = _atomic_add(_next, 0, 1)
        if _part >= _count:
            return
        _function(_part, _count, {arguments})
"""


@memoized
def _claiming(function: Any) -> tuple[Any, int]:
    """A kernel of which each runner claims parts of ``function`` one by one; and how many arguments come with a part."""
    if not isinstance(function, Kernel):
        raise TypeError(f"kernel is {function!r}; it must be a function under @kernels.kernel")
    if len(inspect.signature(function.py_func).parameters) < 2:
        raise TypeError(f"kernel {function.py_func.__qualname__} must take part and parts first")
    names = list(inspect.signature(function.py_func).parameters)[2:]
    source = _CLAIM_PARTS.format(arguments=", ".join(names))
    claim = written(source, "claim_parts", function, _atomic_add=atomic_add)
    claim.__qualname__ = f"claim_parts({function.py_func.__qualname__})"
    return kernel(claim), len(names)


def parallel(kernel: Any, parts: int, *args: Any) -> None:
    """Call ``kernel(part, parts, *args)`` for part 0, 1, ..., ``parts`` - 1 on the team, and return when all are done.

    ``kernel`` is a function under ``@kernels.kernel``. There may be more parts than threads: who is free takes the next. As a
    part never depends on who takes it, nor on how many threads there are (``kernels.set_num_threads``), a kernel whose parts
    compute outputs of their own, or sums that are added up afterwards in the order of the parts, has the same bits on any
    number of threads. Parts must not wait for each other. From several Python threads, and from a call inside a call, one has
    the team and the others run their parts themselves. What a part raises is raised here when all are done, of several
    one; some parts may then be left out. Raises TypeError for what is not a kernel and for another number of
    arguments, ValueError for ``parts`` that are not a positive integer.
    """
    claim, count = _claiming(kernel)
    if isinstance(parts, bool) or not isinstance(parts, (int, np.integer)) or parts < 1:
        raise ValueError(f"parts is {parts!r}; it must be a positive integer")
    if len(args) != count:
        raise TypeError(f"{kernel.py_func.__qualname__} takes {count} arguments after part and parts, not {len(args)}")
    run(claim, int(parts), np.zeros(1, np.int64), int(parts), *args)


# -- in company of other processes ---------------------------------------------------------------------------------

# Threads that meet in every step wait, where others want their cores, for a time slice of theirs at each meeting: beside a busy
# process on each of two cores, steps of 0.23 ms took 7.7 ms, and 0.8 ms on one thread.
_MEASURABLE = 0.002  # seconds of a run, from which on its CPU time tells something
_SHORT_OF = 0.25  # cores that the team did not get, and should have: an idle member spins, or offers its core to nobody
_PAUSE, _LONGEST_PAUSE = 0.1, 30.0  # seconds until the whole team is tried again: doubled as long as that fails


class _Backoff:
    """How many threads found room, until when; and for how long the next time."""

    limit, until, pause = MAX_THREADS, 0.0, _PAUSE


def team_size() -> int:
    """``get_num_threads()``, or for a while fewer, where the cores were wanted by others: see ``run_in_step``."""
    return get_num_threads() if time.monotonic() >= _Backoff.until else min(get_num_threads(), _Backoff.limit)


def run_in_step(function: Any, parts: int, *args: Any) -> None:
    """``run`` a kernel whose parts meet often; when the team did not get its cores, ``team_size`` is halved for a while."""
    compiled, start, used = bool(launcher(function).overloads), time.monotonic(), time.process_time()
    run(function, parts, *args)
    end = time.monotonic()
    if parts == 1 or not compiled or end - start < _MEASURABLE:
        return
    missing = parts * (end - start) - (time.process_time() - used)
    if missing > _SHORT_OF * (end - start):
        _Backoff.limit, _Backoff.until = parts // 2, end + _Backoff.pause
        _Backoff.pause = min(2 * _Backoff.pause, _LONGEST_PAUSE)
    elif parts == get_num_threads():
        _Backoff.pause = _PAUSE
