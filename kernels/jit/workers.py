"""Compilation in worker processes, as many as there are cores.

A process that needs a large kernel that is not in the store sends its name and argument types to a worker. The worker
compiles it without the kernels that it calls: it declares these by their symbols, which are the same in every process,
and requests them, to be compiled by any free worker. Workers write to the store and run no kernels. In the end the
process loads all kernels from the store and compiles missing ones itself, as it does without workers.

A worker is ``python -c``, which reads tasks from its standard input and ends with it: so it needs no importable
``__main__``, and does not outlive the process that it works for. It also ends after a while without tasks.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import heapq
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..cores import available_cores
from .cache import store
from .dependencies import kernel_text
from .numba_private import global_compiler_lock, load_registries

working = False
"""Whether this process is a worker."""
dispatchers: dict[str, Any] = {}
"""The dispatchers of kernels and entries by name."""

NOWHERE = ctypes.cast(ctypes.pythonapi.Py_IncRef, ctypes.c_void_p).value or 1  # for symbols that are never called

_MOST_WORKERS = 8
_ROOM = 1 << 30  # bytes of free memory for each worker, which takes 250 MB
_LARGE = 60_000  # characters of a kernel's text, callees included, that take a second or two to compile
_IDLE_SECONDS = 10.0
_answers: Any = None  # a worker's pipe to the process that it works for

Task = tuple[Any, tuple[Any, ...]]  # (a kernel's name, or an entry's (maker, function); argument types)


def _dispatcher_of(task: Task) -> Any:
    if isinstance(task[0], str):
        return dispatchers[task[0]]
    maker, function = task[0]
    return maker(function)


def _size(task: Task) -> int:
    return len(kernel_text(_dispatcher_of(task).py_func))


def is_large(text: str) -> bool:
    """Whether a kernel with this text is worth the half second in which workers start, or they are started anyway."""
    return _missing.tasks is not None or len(text) > _LARGE


def _free_memory() -> int:
    """Free memory in bytes: the least of the system's and of this control group's."""
    free = [_ROOM * _MOST_WORKERS]
    with contextlib.suppress(OSError):
        for kilobytes in re.findall(r"MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text()):
            free.append(1024 * int(kilobytes))
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):
            most, now = (int((Path("/sys/fs/cgroup") / name).read_text()) for name in (limit, used))
            free.append(most - now)
    return min(free)


def worker_count() -> int:
    """How many workers this process may have; 0 where they cannot, or should not, be started."""
    directory, python = store().directory, Path(sys.executable or "").name
    if (
        working
        or _team.broken
        or os.environ.get("FASTMLP_COMPILE_WORKERS") == "0"
        or directory is None
        or not (store().keeping and os.access(directory, os.W_OK))
        or getattr(sys, "frozen", False)
        or not python.lower().startswith("python")
        or multiprocessing.current_process().daemon
    ):
        return 0
    count = min(available_cores(), _MOST_WORKERS, _free_memory() // _ROOM)
    return count if count > 1 else 0


class _Worker:
    def __init__(self) -> None:
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from kernels import ops, peak; "  # all kernels
            f"from kernels.jit import workers; workers.serve({store().stamp!r})"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def compile(self, task: Task) -> Iterator[Task]:
        """Have it compile a kernel; yields the tasks that it requests. Raises if the worker has ended."""
        pickle.dump(task, self.process.stdin)  # type: ignore[arg-type]
        self.process.stdin.flush()  # type: ignore[union-attr]
        while (said := pickle.load(self.process.stdout)) is not None:  # type: ignore[arg-type]
            yield said

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.close()


class _Tasks:
    """A queue of kernels to compile, each once, the largest, callees included, first."""

    def __init__(self, first: Iterable[Task]) -> None:
        self._changed = threading.Condition()
        self._known: set[Task] = set()
        self._waiting: list[tuple[int, int, Task]] = []  # a heap
        self._running = 0
        for task in first:
            self.add(task)

    def add(self, task: Task) -> None:
        with self._changed:
            if task not in self._known:
                self._known.add(task)
                heapq.heappush(self._waiting, (-_size(task), len(self._known), task))
                self._changed.notify()

    def take(self) -> Task | None:
        """The next task, after waiting for one; None when all are done."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._running)
            if not self._waiting:
                return None
            self._running += 1
            return heapq.heappop(self._waiting)[-1]

    def done(self) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()


class _Team:
    """The workers of this process."""

    def __init__(self) -> None:
        self.workers: list[_Worker] = []
        self.broken = False  # a worker was killed or could not be started, as the next one would be

    def start(self) -> None:
        """Start as many workers as are allowed."""
        for worker in [worker for worker in self.workers if worker.process.poll() is not None]:  # ended idle
            worker.close()
            self.workers.remove(worker)
        with contextlib.suppress(OSError):  # no more processes are allowed
            while len(self.workers) < worker_count():
                self.workers.append(_Worker())

    def compile(self, tasks: _Tasks) -> None:
        self.start()
        threads = [threading.Thread(target=self._drive, args=(worker, tasks), daemon=True) for worker in self.workers]
        try:
            with contextlib.suppress(RuntimeError):  # no more threads are allowed
                for thread in threads:
                    thread.start()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        except BaseException:  # interrupted
            self.end()
            raise

    def _drive(self, worker: _Worker, tasks: _Tasks) -> None:
        try:
            while (task := tasks.take()) is not None:
                try:
                    for asked in worker.compile(task):
                        tasks.add(asked)
                finally:
                    tasks.done()
        except Exception:  # it was killed, or ran out of memory: its task is compiled in this process
            worker.end()
            self.broken = worker.process.returncode != 0  # 0: it had just ended for want of tasks

    def end(self) -> None:
        for worker in self.workers:
            worker.end()
        self.workers = []

    def forget(self) -> None:
        """In a forked child: close the pipes to the parent's workers, so that they still see the parent's end."""
        for worker in self.workers:
            worker.close()
            worker.process.returncode = 0
        self.workers = []


_team = _Team()
atexit.register(_team.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_team.forget)


def expect_work() -> None:
    """If the store is empty, start the workers: they import their modules while the process reads its data."""
    if (
        worker_count()
        and store().prebuilt is None
        and next(store().directory.glob("*.kernel"), None) is None  # type: ignore[union-attr]
    ):  # fmt: skip
        _team.start()


def compile_ahead(task: Task) -> None:
    """Have workers, if there may be any, compile a kernel and its callees into the store."""
    if _missing.tasks is not None:
        _missing.tasks.append(task)
        raise _KernelIsMissing
    if worker_count():
        _team.compile(_Tasks([task]))


class _KernelIsMissing(BaseException):
    """Ends a call at a large kernel that is not in the store: see ``large_kernels``."""


class _MissingInThread(threading.local):
    tasks: list[Task] | None = None


_missing = _MissingInThread()


def large_kernels(calls: Sequence[Callable[[], Any]]) -> tuple[list[Task], list[Callable[[], Any]]]:
    """Make the calls; returns the large kernels that are not in the store, and the calls that ended at one.

    Calls may be nested: a call of this function ends with all kernels at which its own calls ended. Without workers no
    call is made.
    """
    tasks: list[Task] = []
    if not worker_count():
        return tasks, list(calls)
    ended = []
    outer, _missing.tasks = _missing.tasks, tasks
    try:
        for call in calls:
            try:
                call()
            except _KernelIsMissing:
                ended.append(call)
    finally:
        _missing.tasks = outer
    if outer is not None and ended:
        outer.extend(tasks)
        raise _KernelIsMissing
    return tasks, ended


def compile_all(tasks: Iterable[Task]) -> None:
    """Have workers compile kernels and all their callees into the store."""
    _team.compile(_Tasks(tasks))


# -- in a worker -----------------------------------------------------------------------------------------------------


def serve(stamp: str) -> None:
    """Compile the tasks that come on the standard input, until its end or until none has come for a while.

    ``stamp`` is that of the requesting process's store: a worker with another stamp is of no use and ends.
    """
    global working, _answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker ends with the process that it works for
    gc.disable()  # a tenth of the time
    working, _answers = True, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    load_registries()
    if store().stamp != stamp:
        return
    store().locking = False  # the requesting process holds the lock
    while True:
        rest = threading.Timer(_IDLE_SECONDS, os._exit, (0,))
        rest.daemon = True
        rest.start()
        try:
            task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        rest.cancel()
        with contextlib.suppress(Exception):  # the requesting process will raise it, too
            _compile_alone(task)
        answer(None)


def _compile_alone(task: Task) -> None:
    """Compile a kernel or an entry into the store, without the kernels that it calls."""
    dispatcher, (_, args) = _dispatcher_of(task), task
    dispatcher.overloads.pop(args, None)  # a mere declaration, perhaps
    with global_compiler_lock:
        dispatcher.compile_once(args)


def answer(what: Task | None) -> None:
    """Request a kernel, or report with None that the task is done."""
    pickle.dump(what, _answers)
    _answers.flush()
