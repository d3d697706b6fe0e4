"""Run in a process of its own: every op on memory that ends, or starts, at a page that may not be touched.

A read or write one element outside an argument is a segmentation fault here, which the parent sees; a write on the other
side of an output changes a canary. Prints the number of calls made.

    python guarded.py SEED CALLS
"""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np

import kernels
from kernels import CSR, Network
from kernels.registry import OPS

PAGE = mmap.PAGESIZE
CANARY = 0xA5
_mprotect = ctypes.CDLL(None, use_errno=True).mprotect
_keep: list[tuple[mmap.mmap, np.ndarray, int, int]] = []


def guarded(array: np.ndarray, at_end: bool) -> np.ndarray:
    """A copy of ``array`` that touches a forbidden page with its last byte, or its first; canaries on the other side."""
    pages = -(-array.nbytes // PAGE) + 1
    memory = mmap.mmap(-1, (pages + 1) * PAGE)
    raw = np.frombuffer(memory, np.uint8)
    address = raw.ctypes.data
    forbidden = address + pages * PAGE if at_end else address
    raw[:] = CANARY
    start = pages * PAGE - array.nbytes if at_end else PAGE
    view = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    if _mprotect(ctypes.c_void_p(forbidden), PAGE, 0) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    _keep.append((memory, raw, start, array.nbytes))
    return view


def check_canaries_and_free(at_end: bool) -> None:
    for _, raw, start, size in _keep:
        pages = len(raw) // PAGE - 1
        rest = raw[:start] if at_end else raw[start + size : (pages + 1) * PAGE]
        assert (rest == CANARY).all(), "a canary was overwritten"
        address = raw.ctypes.data + (pages * PAGE if at_end else 0)
        _mprotect(ctypes.c_void_p(address), PAGE, mmap.PROT_READ | mmap.PROT_WRITE)
        del raw
    _keep.clear()


def guard(value, at_end):
    if isinstance(value, Network):
        value.params, value.state = guarded(value.params, at_end), guarded(value.state, at_end)
        return value
    if isinstance(value, CSR):
        for name in ("indptr", "indices", "values"):
            object.__setattr__(value, name, guarded(getattr(value, name), at_end))
        return value
    return guarded(value, at_end) if isinstance(value, np.ndarray) and value.size else value


def main(seed: int, wanted: int) -> int:
    rng = np.random.default_rng(seed)
    calls = 0
    while calls < wanted:
        shape = tuple(int(n) for n in rng.choice([1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 31, 33, 40, 65], 3))
        dtype = np.dtype(rng.choice(["float32", "float64"]))
        at_end = bool(rng.integers(2))
        op = OPS[int(rng.integers(len(OPS)))]
        with kernels.threads(int(rng.integers(1, 5))):
            for args, kwargs in op.cases(rng, shape, dtype):
                expected = None
                if "scale" in kwargs and op.name == "linear_forward":
                    expected = op.fast(*args, **kwargs)
                args = tuple(guard(a, at_end) for a in args)
                kwargs = {name: guard(value, at_end) for name, value in kwargs.items()}
                inputs = [a.tobytes() for k, a in enumerate(args) if isinstance(a, np.ndarray) and k not in op.writes]
                if expected is not None:
                    kwargs["out"] = guarded(np.full_like(expected, np.nan), at_end)
                result = op.fast(*args, **kwargs)
                if expected is not None:
                    assert result.tobytes() == expected.tobytes()
                after = [a.tobytes() for k, a in enumerate(args) if isinstance(a, np.ndarray) and k not in op.writes]
                assert inputs == after, "an input was changed"
                check_canaries_and_free(at_end)
                calls += 1
    return calls


if __name__ == "__main__":
    print(main(int(sys.argv[1]), int(sys.argv[2])))
