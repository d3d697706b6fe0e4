"""How many threads kernels use. Nothing here imports Numba."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import numpy as np


def _cgroup_cpus() -> float:
    """The CPU quota of this process's control group (v2, else v1), in cores; infinite without one."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):  # the quota may be "max", or -1
            quota, period = map(int, " ".join(Path("/sys/fs/cgroup", name).read_text() for name in files).split())
            if quota > 0:
                return quota / period
    return math.inf


def available_cores() -> int:
    """Cores this process may use: those of its affinity mask, at most the control group's quota rounded up."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:  # pragma: no cover
        cores = os.cpu_count() or 1
    return math.ceil(min(cores, _cgroup_cpus()))


MAX_THREADS = 1024


def _checked_count(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= MAX_THREADS:
        raise ValueError(f"the number of threads must be an integer from 1 to {MAX_THREADS}, not {n!r}")
    return int(n)


def _default_count() -> int:
    text = os.environ.get("FASTMLP_NUM_THREADS")
    if not text:
        told = [os.environ.get(name, "").split(",")[0].strip() for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")]
        return min([available_cores(), *(int(n) for n in told if n.isdecimal() and int(n) > 0)])
    try:
        return _checked_count(int(text))
    except ValueError:
        raise ValueError(f"FASTMLP_NUM_THREADS must be an integer from 1 to {MAX_THREADS}, not {text!r}") from None


_count: int | None = None
_override: ContextVar[int | None] = ContextVar("threads", default=None)


def get_num_threads() -> int:
    """Threads that kernels use: as set, else ``$FASTMLP_NUM_THREADS``, else the cores this process may use.

    ``$OMP_NUM_THREADS`` and ``$NUMBA_NUM_THREADS``, which joblib and Dask set in workers, limit the number of cores.
    """
    global _count
    if (local := _override.get()) is not None:
        return local
    if _count is None:
        _count = _default_count()
    return _count


def set_num_threads(n: int) -> None:
    """Let kernels use ``n`` threads from now on, in all Python threads of this process; results do not depend on ``n``.

    ``n`` may exceed the number of cores. Unlike Numba's function of this name it sets the whole process, not the
    calling thread; ``with kernels.threads(n):`` sets that one, for a block. A forked child inherits the setting, a
    spawned one does not. Raises ValueError unless n is an integer from 1 to 1024.
    """
    global _count
    _count = _checked_count(n)


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """``with threads(n):`` kernels called inside, by this Python thread, use ``n`` threads."""
    token = _override.set(_checked_count(n))
    try:
        yield
    finally:
        _override.reset(token)
