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
import math
import os
import sys
import threading
import time
from functools import cache as memoized
from functools import lru_cache
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
from .jit import Kernel, entry, from_source, kernel, piece
from .jit.cache import warn
from .tuning import SERIAL_ELEMENTS

# -- the barrier ---------------------------------------------------------------------------------------------------

# On free cores, threads arrive within about a microsecond of each other; much longer spinning starves other threads
# (lock-step phases under a spinning runtime went from 0.3 to 10 ms a step).
_SPINS = 2000


@piece
def wait_for(counters, k, least):
    """Wait until other threads have raised counters[k] to ``least``: spin briefly, then yield the core."""
    spins = 0
    while atomic_load(counters, k) < least:
        spins += 1
        if spins > _SPINS:
            yield_core()


def barrier_state() -> np.ndarray:
    """The counters of ``barrier`` and ``last_barrier``, for one run."""
    return np.zeros(3, np.int64)


@piece
def barrier(state, parts):
    """Wait until all ``parts`` have arrived here as often as this one."""
    if parts > 1:
        rounds = atomic_add(state, 0, 1) // parts
        wait_for(state, 0, (rounds + 1) * parts)


@piece
def last_barrier(state, parts):
    """A barrier after which the state is as new: the next run may have another number of parts."""
    turn = atomic_load(state, 2)
    if atomic_add(state, 1, 1) == parts - 1:
        state[0] = state[1] = 0
        atomic_store(state, 2, turn + 1)
    wait_for(state, 2, turn + 1)


@piece
def share(part, parts, n):
    """The half-open range of 0..n-1 that belongs to ``part``: contiguous, equal to within one."""
    return part * n // parts, (part + 1) * n // parts


# -- the team ------------------------------------------------------------------------------------------------------

# The mailbox, each group on a cache line of its own: the next claim (parts << 32 | next part); the number of parts
# done; the job's two addresses and the caller's core; whether the process is ending.
_CLAIM, _DONE, _CODE, _DATA, _CORE, _ENDING = 0, 8, 16, 17, 18, 24
_MAILBOX = 32

_MASK_WORDS = 16  # of an affinity mask for 1,024 cores

_IDLE_YIELDS = 4000  # about 2 ms: longer than Python takes between two calls in a loop


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
        """Move this thread off ``core``, if it may run elsewhere, and leave it free to return; ``mask`` is scratch.

        The scheduler wakes a thread on its waker's core and can leave both there for a tenth of a second, as each
        yields to the other; two threads were then slower than one.
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
    """Claim and run parts until none is left; a helper passes its ``mask``, to move off the caller's core."""
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
    """Run parts as they are posted; return after ``_IDLE_YIELDS`` yields without any."""
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
    """Post a job in the mailbox, run parts of it, and wait until all are done; a single part is not posted."""
    if parts == 1:
        job_call(code, 0, 1, data)
        return
    mail[_CODE], mail[_DATA] = code, data
    mail[_DONE] = 0
    mail[_CORE] = _core()
    atomic_store(mail, _CLAIM, parts << 32)
    _work(mail, mail[:0])
    wait_for(mail, _DONE, parts)


@piece
def _lead(mail, parts, job):
    """Run a ``job_entry``; returns its outcome."""
    code, data = job
    _run_parts(mail, parts, code, data)
    return job_outcome(data)


@memoized
def launcher(function: Any) -> Any:
    """An entry that runs ``function(part, parts, *args)`` for all parts, with the threads that serve the mailbox."""
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
        self.callers: dict[int, object] = {}  # whoever has the team, under the key 0
        self.mail = np.zeros(_MAILBOX, np.int64)
        # ``with`` releases a plain lock whenever a signal handler raises. A Condition's methods are Python: there it
        # can raise between taking the lock and the block that releases it, and the other threads then waited for ever.
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []
        self._sleeping = 0
        self.calling, self.caller = False, 0  # whether a Python thread has the team, and which

    def gather(self, size: int) -> int:
        """Wake ``size`` threads, or as many as can start, for as long as ``calling`` holds; returns their number."""
        if self.mail[_ENDING]:
            return 0
        while len(self._threads) < size:
            thread = threading.Thread(target=self._live, name=f"kernels-{len(self._threads) + 1}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # a limit of the process, its user or its container
                if error.__context__ is not None:  # no limit: a signal handler raised before ``start`` held its lock
                    raise
                warn(f"{error}; running on {len(self._threads) + 1} of {size + 1} threads")
                break
            self._threads.append(thread)  # once it runs: an interrupt before leaves a thread too many, never too few
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
        """Make the threads leave compiled code, which is unmapped at exit."""
        self.mail[_ENDING] = 1
        with self._lock:
            self._wake.notify_all()


_team = _Team()


def _forget_team() -> None:
    """In a forked child, where the team's threads do not exist, begin a new team."""
    global _team
    _team = _Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_team)
atexit.register(lambda: _team.end())


def parts_of_pass(elements: int) -> int:
    """Parts for a pass over so many elements."""
    return get_num_threads() if elements > SERIAL_ELEMENTS else 1


def run(function: Any, parts: int, *args: Any) -> None:
    """Call the kernel ``function(part, parts, *args)`` for every part and return when all are done.

    ``parts`` is limited to the number of threads.
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
        # Neither a lock nor a call: a signal handler may raise after any call, and the team would stay busy for ever.
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
    """(a kernel whose runners claim parts of ``function`` one by one, how many arguments follow part and parts)."""
    if not isinstance(function, Kernel):
        raise TypeError(f"kernel is {function!r}; it must be a function under @kernels.kernel")
    if len(inspect.signature(function.py_func).parameters) < 2:
        raise TypeError(f"kernel {function.py_func.__qualname__} must take part and parts first")
    names = list(inspect.signature(function.py_func).parameters)[2:]
    source = _CLAIM_PARTS.format(arguments=", ".join(names))
    claim = from_source(source, "claim_parts", function, _atomic_add=atomic_add)
    claim.__qualname__ = f"claim_parts({function.py_func.__qualname__})"
    return kernel(claim), len(names)


def parallel(kernel: Any, parts: int, *args: Any) -> None:
    """Call ``kernel(part, parts, *args)`` for part 0, 1, ..., ``parts`` - 1 on the team, and return when all are done.

    ``kernel`` is a function under ``@kernels.kernel``. There may be more parts than threads: a free thread takes the
    next one. If parts compute outputs of their own, or sums added up afterwards in the parts' order, the bits do not
    depend on the number of threads (``kernels.set_num_threads``). Parts must not wait for each other. Of calls from
    several Python threads, and of nested calls, one has the team and the others run their parts themselves. If parts
    raise, one of their exceptions is raised when all have ended, and some parts may not have run. Raises TypeError for
    an object that is not a kernel or a wrong number of arguments, ValueError unless ``parts`` is a positive integer.
    """
    claim, count = _claiming(kernel)
    if isinstance(parts, bool) or not isinstance(parts, (int, np.integer)) or parts < 1:
        raise ValueError(f"parts is {parts!r}; it must be a positive integer")
    if len(args) != count:
        raise TypeError(f"{kernel.py_func.__qualname__} takes {count} arguments after part and parts, not {len(args)}")
    run(claim, int(parts), np.zeros(1, np.int64), int(parts), *args)


# -- beside other processes ----------------------------------------------------------------------------------------

# Where other processes want the cores, each barrier may wait for one of their time slices: beside a busy process on
# each of two cores, steps of 0.23 ms took 7.7 ms, and 0.8 ms on one thread.
_MEASURABLE = 0.002  # seconds: the CPU time of a shorter run says too little
_SHORT_OF = 0.25  # missing cores that mean competition: without it, even waiting threads keep their cores busy
_PAUSE, _LONGEST_PAUSE = 0.1, 30.0  # seconds until the whole team is tried again: doubled as long as that fails


class _Backoff:
    """The reduced number of threads, until when it holds, and how long the next reduction will."""

    limit, until, pause = MAX_THREADS, 0.0, _PAUSE


def team_size() -> int:
    """``get_num_threads()``, or fewer for a while after others wanted the cores: see ``run_in_step``."""
    return get_num_threads() if time.monotonic() >= _Backoff.until else min(get_num_threads(), _Backoff.limit)


def run_in_step(function: Any, parts: int, *args: Any) -> float | None:
    """``run`` a kernel with many barriers; if the team did not get its cores, ``team_size`` is halved for a while.

    Returns the seconds that it took, or None where it was compiled or loaded meanwhile.
    """
    compiled, start, used = bool(launcher(function).overloads), time.monotonic(), time.process_time()
    run(function, parts, *args)
    end = time.monotonic()
    if not compiled:
        return None
    if parts > 1 and end - start >= _MEASURABLE:
        missing = parts * (end - start) - (time.process_time() - used)
        if missing > _SHORT_OF * (end - start):
            _Backoff.limit, _Backoff.until = parts // 2, end + _Backoff.pause
            _Backoff.pause = min(2 * _Backoff.pause, _LONGEST_PAUSE)
        elif parts == get_num_threads():
            _Backoff.pause = _PAUSE
    return end - start


class Pace:
    """How long a step takes on the team and on one thread, so that the faster of them takes the next steps.

    Threads that share a short step spend it at barriers, and on weights that another core has just written. Emerald
    Rapids, time on two threads over that on one: 784-256-10 with 8 and 16 rows 1.4, 1.2; 300-300-1 with 8, 16, 32 1.3,
    1.1, 0.9; 30-256-256-2 with 16, 32, 64 1.1, 0.9, 0.8.
    """

    def __init__(self) -> None:
        self.seconds: dict[int, float] = {}  # a step's, by the number of threads
        self.pause = 1.0  # seconds until the slower is timed again: doubled each time
        self.again = time.monotonic() + self.pause

    def threads(self, team: int) -> int:
        """``team`` or 1: which is not timed yet, the faster, or now and then the slower."""
        if untimed := [count for count in (team, 1) if count not in self.seconds]:
            return untimed[0]
        fast, slow = sorted((team, 1), key=self.seconds.__getitem__)
        if (now := time.monotonic()) < self.again:
            return fast
        self.again, self.pause = now + self.pause, min(2 * self.pause, _LONGEST_PAUSE)
        return slow

    def note(self, threads: int, steps: int, seconds: float) -> None:
        """Steps on so many threads took so many seconds. Of a slow run, which another process may have interrupted, a
        tenth more than before counts."""
        self.seconds[threads] = min(seconds / steps, 1.1 * self.seconds.get(threads, math.inf))


@lru_cache(maxsize=256)
def pace_of(*kind: Any) -> Pace:
    """The ``Pace`` of steps of this kind."""
    return Pace()
