"""The store of compiled kernels on disk.

Numba's own cache keys on one source file and keeps one index file per function: it misses an edit in a kernel that the
function calls, and two processes can claim one slot. Here the directory's name is a digest of the environment, a file's
key is a digest of all else that its machine code depends on (see ``dependencies``), and each (function, signature) has
its own file, written atomically and verified by checksum before it is unpickled.

Unpickling can run any code, and a checksum is no signature: so a directory is refused if other users can write to it or
to one above it, and so is a file that they can write to.

A wheel may contain compiled kernels (``.ci/hatch_build.py``) for a few ``LEVELS`` of processors. They lie beside the
package's code, are trusted as much, and are loaded where the user's directory has none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import stat
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import IO

import llvmlite
import numba
import numpy as np

from ..folders import cache_root
from .dependencies import vocabulary_now, vocabulary_text
from .numba_private import config, target

try:  # Windows has no fcntl: there processes may compile the same kernel twice, which only costs time.
    import fcntl
except ImportError:  # pragma: no cover
    fcntl = None  # type: ignore[assignment]

_SUFFIX = ".kernel"
_DIGEST_BYTES = 32
_DIGITS = 12
_NAME_LENGTH = 100  # of a file, before its digest
_LOCK_PATIENCE_SECONDS = 60.0
_DAY_SECONDS = 24 * 3600.0
_STALE_SECONDS = 30 * _DAY_SECONDS

# Numba's settings that do not change our machine code. Any other setting counts as one that does.
_HARMLESS_SETTINGS = (
    "ALWAYS_WARN_UNINIT_VAR", "ANNOTATE", "CACHE_*", "CAPTURED_ERRORS", "CHROME_TRACE", "COLOR_SCHEME", "CUDA_*",
    "DEBUG", "DEBUG_ARRAY_OPT", "DEBUG_ARRAY_OPT_STATS", "DEBUG_CACHE", "DEBUG_FRONTEND", "DEBUG_INLINE_CLOSURE",
    "DEBUG_JIT", "DEBUG_PRINT_*", "DEBUG_TYPEINFER", "DEVELOPER_MODE", "DIFF_IR", "DISABLE_CUDA", "DISABLE_JIT",
    "DISABLE_PERFORMANCE_WARNINGS", "DISABLE_TYPEINFER_FAIL_CACHE", "DUMP_*", "ENABLE_CUDASIM", "ENABLE_PROFILING",
    "ENABLE_SYS_MONITORING", "FORCE_CUDA_CC", "FULL_TRACEBACKS", "FUNCTION_CACHE_SIZE", "GDB_BINARY", "HIGHLIGHT_DUMPS",
    "HTML", "JIT_COVERAGE", "LLVM_PASS_TIMINGS", "NRT_STATS", "NUMBA_*NUM_THREADS", "PARALLEL_DIAGNOSTICS",
    "RUNNING_UNDER_PROFILER", "SHOW_HELP", "THREADING_LAYER*", "TRACE", "_*",
)  # fmt: skip
_OF_CPU = ("CPU_NAME", "CPU_FEATURES")

_AVX2 = (
    "+avx,+avx2,+bmi,+bmi2,+cmov,+cx16,+cx8,+f16c,+fma,+fxsr,+lzcnt,+mmx,+movbe,+popcnt,+sahf,+sse,+sse2,+sse3,+sse4.1,"
    "+sse4.2,+ssse3,+xsave"
)
_AVX512 = f"{_AVX2},+avx512bw,+avx512cd,+avx512dq,+avx512f,+avx512vl"
ZEN4 = "znver4"  # the one with tile sizes of its own in ``tuning``
LEVELS = {
    "x86-64-v4": _AVX512,
    ZEN4: f"{_AVX512},+avx512bitalg,+avx512ifma,+avx512vbmi,+avx512vbmi2,+avx512vnni,+avx512vpopcntdq,+gfni,+sse4a",
    "x86-64-v3": _AVX2,
}
"""Processors for which a wheel can contain kernels: LLVM's names, and the features that their code may use."""
PREBUILT = Path(__file__).absolute().parent.parent / "prebuilt"
"""The directory of a wheel's kernels, with a directory for each level."""


def can_run(level: str) -> bool:
    """Whether this process's CPU can run code for this level."""
    return set(LEVELS[level].split(",")) <= set(target()[1].split(","))


def _fits(level: str) -> bool:
    """Whether kernels for this level can stand in for this process's own: vectors and tiles have the same sizes."""
    cpu, features = target()
    same_registers = ("+avx512f" in LEVELS[level]) == ("+avx512f" in features)
    return can_run(level) and same_registers and (level == ZEN4) == (cpu == ZEN4)


def _software() -> str:
    """A digest of what the code of all kernels depends on, except the CPU: versions, flags and vocabulary."""
    settings = {
        name: repr(getattr(config, name))
        for name in sorted(vars(config))
        if name.isupper() and not any(fnmatchcase(name, pattern) for pattern in (*_HARMLESS_SETTINGS, *_OF_CPU))
    }
    facts = (
        EXTENSION_SUFFIXES[0],  # of Python's version and system
        platform.machine(),
        numba.__version__,
        llvmlite.__version__,
        np.__version__.split(".")[:2],  # Numba distinguishes no more
        settings,
        vocabulary_text(),
    )
    return _digest(facts)


def _digest(facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:_DIGITS]


def environment() -> str:
    """A stamp of what the code of all kernels depends on: ``_software``, a digest of the CPU, and the CPU's name."""
    return _stamp(_software(), *target())


def _stamp(software: str, cpu: str, features: str) -> str:
    return f"{software}{_digest((cpu, features))}-{re.sub('[^A-Za-z0-9_.+-]', '', cpu)}"


class Store:
    """The directory of compiled kernels for this environment; None if it is unusable.

    A directory that is read-only or on a full disk is still read. ``prebuilt`` is the directory of a wheel's kernels.
    """

    def __init__(self) -> None:
        self._depth = threading.local()
        self.locking = self.keeping = True
        self.waiting = False  # for another process that compiles
        self.began_empty = True  # there were no kernels yet
        self._swept = False
        self.vocabulary = vocabulary_now()
        self.directory: Path | None = None
        self.stamp = environment()
        self.software = self.stamp[:_DIGITS]
        fit = (PREBUILT / _stamp(self.software, level, LEVELS[level]) for level in LEVELS if _fits(level))
        self.prebuilt = next((directory for directory in fit if directory.is_dir()), None)
        try:
            directory = cache_root().absolute() / "kernels" / self.stamp
            for place in (*reversed(directory.parents), directory):
                if not place.is_dir():
                    place.mkdir(mode=0o700, exist_ok=True)  # another process may be first
            if not os.access(directory, os.R_OK | os.X_OK):
                raise PermissionError(f"{directory} is not readable")
            if os.name != "nt" and (others := _others_place(directory)):
                raise PermissionError(f"others can write to {others}, and what is in it would be run")
            self.directory, self.began_empty = directory, next(directory.glob(f"*{_SUFFIX}"), None) is None
        except OSError as error:
            warn(f"kernels are compiled anew in each process: no usable cache directory ({error})")

    def of_other_cpus(self) -> dict[Path, str]:
        """Directories of the same software for other CPUs, with the CPU's name."""
        if self.directory is None:
            return {}
        alike = self.directory.parent.glob(f"{self.software}*")
        return {place: place.name[2 * _DIGITS + 1 :] for place in alike if place != self.directory}

    def path(self, name: str, depends_on: str) -> Path | None:
        """The file of the kernel with this name and this text of dependencies: where it is, or will be written."""
        key = hashlib.sha256(depends_on.encode()).hexdigest()[:16]
        file = f"{re.sub('[^A-Za-z0-9_.]', '_', name)[-_NAME_LENGTH:]}-{key}{_SUFFIX}"
        own = None if self.directory is None else self.directory / file
        if self.prebuilt is None or (own is not None and own.exists()):
            return own
        brought = self.prebuilt / file
        return brought if brought.exists() else own

    def read(self, path: Path) -> bytes | None:
        """The payload, or None if there is none to be trusted; a damaged file in the user's directory is removed."""
        brought = path.parent == self.prebuilt
        try:
            with open(path, "rb", opener=_open_without_waiting) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise OSError(f"{path} is not a file")
                if not brought and os.name != "nt" and _others_can_write(status):
                    raise PermissionError(f"others can write to {path}, and what is in it would be run")
                if not brought and time.time() - status.st_mtime > _DAY_SECONDS:
                    with contextlib.suppress(OSError):  # a read-only cache
                        os.utime(path)  # marks it as used: see _remove_stale
                content = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            warn(f"a file in the kernel cache cannot be read ({error}); compiling anew")
            return None
        payload = content[_DIGEST_BYTES:]
        if content[:_DIGEST_BYTES] == _checksum(path, payload):
            return payload
        if brought:
            warn(f"damaged file in the fastmlp package: {path}; compiling anew")
            return None
        warn(f"damaged file in the kernel cache removed: {path}; compiling anew")
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def write(self, path: Path, payload: bytes) -> None:
        """Write the payload to the file of this name in the user's directory."""
        if self.directory is None or not self.keeping:
            return
        path = self.directory / path.name
        temporary = None
        try:
            if not self._swept:
                self._swept = True
                _remove_stale(path.parent.parent)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
                temporary = file.name
                file.write(_checksum(path, payload) + payload)
            os.replace(temporary, path)
        except OSError as error:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                if isinstance(error, PermissionError) and path.exists():
                    return  # Windows: another process reads the file, having compiled the same meanwhile
            self.keeping = False
            warn(f"compiled kernels are not kept: cannot write the cache ({error})")

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the directory's lock, so that of many processes with an empty cache one compiles and the others load.

        Nested calls, for kernels called by kernels, do not lock again. Files are written atomically anyway: a process
        that does not get the lock in time goes on without it from then on.
        """
        depth = getattr(self._depth, "value", 0)
        self._depth.value = depth + 1
        handle = None
        try:
            if depth == 0 and self.locking and self.directory is not None and fcntl is not None:
                handle = self._locked_file(self.directory / "lock")
            yield
        finally:
            self._depth.value = depth
            if handle is not None:
                handle.close()

    def _locked_file(self, path: Path) -> IO[bytes] | None:
        deadline = time.monotonic() + _LOCK_PATIENCE_SECONDS
        try:
            handle = open(path, "wb")  # noqa: SIM115 (open as long as it is locked)
        except OSError:
            self.locking = False
            return None
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.waiting = False
                return handle
            except BlockingIOError:
                if time.monotonic() < deadline:
                    self.waiting = True
                    time.sleep(0.02)
                    continue
            except OSError:  # a file system without locks
                pass
            handle.close()
            self.locking = self.waiting = False
            return None


def _checksum(path: Path, payload: bytes) -> bytes:
    return hashlib.sha256(b"\0".join((path.parent.name.encode(), path.name.encode(), payload))).digest()


def _open_without_waiting(path: str, flags: int) -> int:
    """Open as ``open`` does, but without waiting for a writer where the path is a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _others_can_write(status: os.stat_result) -> bool:
    """Whether anybody but this user and root can write to it."""
    return status.st_uid not in (0, os.geteuid()) or bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _others_place(path: Path, leads_on: bool = False) -> Path | None:
    """The first of ``path`` and the directories above it, links included, that other users could fill or replace.

    Above ``path``, a directory that others may write to is accepted if it has the sticky bit, as /tmp: there they can
    replace only their own files. Links are followed one by one; ``leads_on`` says that ``path`` is the target of a link
    above the cache.
    """
    for place in (*reversed(path.parents), path):
        status = place.lstat()
        if stat.S_ISLNK(status.st_mode):  # a link's mode has no effect, only its owner counts
            if status.st_uid not in (0, os.geteuid()):
                return place
            if found := _others_place(place.parent / os.readlink(place), leads_on or place != path):
                return found
        elif _others_can_write(status):
            on_the_way = (leads_on or place != path) and status.st_uid in (0, os.geteuid())
            if not (on_the_way and (status.st_mode & stat.S_ISVTX or _only_my_group_can_write(status))):
                return place
    return None


def _only_my_group_can_write(status: os.stat_result) -> bool:
    """Whether the group is this user's private one, as many systems make for each user; root has none."""
    import grp
    import pwd

    if status.st_mode & stat.S_IWOTH or os.geteuid() == 0:
        return False
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    return (user.pw_gid, user.pw_name) == (group.gr_gid, group.gr_name) and set(group.gr_mem) <= {user.pw_name}


def _remove_stale(root: Path) -> None:
    """Remove files that no process has read or written for a month: of other versions, and of changed kernels."""
    oldest = time.time() - _STALE_SECONDS
    for directory in root.iterdir():
        with contextlib.suppress(OSError):
            just_made = directory.stat().st_mtime > oldest
            for file in directory.iterdir():
                if file.stat().st_mtime < oldest:
                    file.unlink()
            if not just_made:
                directory.rmdir()  # fails unless it is empty


_warned = False


def warn(message: str) -> None:
    """Warn in one line, at most once in a process: a fault of one file is usually one of many."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(f"fastmlp kernels: {message}", RuntimeWarning, stacklevel=3)


_store: Store | None = None


def store() -> Store:
    """The store of this process; a new one after a vocabulary module was reloaded."""
    global _store
    if _store is None or _store.vocabulary != vocabulary_now():
        _store = Store()
    return _store
