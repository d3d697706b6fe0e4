"""Run in a process of its own: every op on memory that ends, or starts, at a page that may not be touched.

A read or write one element outside an argument, or outside the scratch that ops write on, is a segmentation fault here,
which the parent sees; a write on the other side changes a canary. Inputs are whole, read-only, strided or unaligned by
turns, outputs and scratch hold NaN, and the results must be the bits of one thread on ordinary memory, the inputs
unchanged. Prints the number of calls made.

    python guarded.py SEED CALLS
"""

import contextlib
import copy
import ctypes
import inspect
import itertools
import mmap
import sys
import threading
from unittest.mock import patch

import numpy as np

import kernels
from kernels import CSR, Network, mlp, ops
from kernels.tuning import BLOCK_COLUMNS, GROUP_ROWS, SWAPPED_DEPTH

from op_cases import OPS

PAGE = mmap.PAGESIZE
CANARY = 0xA5
SIDES = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 31, 33, 40, 65]
# Above the sizes from which on ops use the team and a prediction rearranges the first layer, or weights are in several
# blocks, or an input gradient swaps its operands and has a second block of terms.
LARGE = [(520, 60, 97), (9, 530, BLOCK_COLUMNS + 14), (63, 3 * GROUP_ROWS + 1, SWAPPED_DEPTH + 3)]
_mprotect = ctypes.CDLL(None, use_errno=True).mprotect
_keep: list[tuple[mmap.mmap, np.ndarray, int, int]] = []


def guarded(array: np.ndarray, at_end: bool) -> np.ndarray:
    """A copy of ``array`` whose last or first byte touches a forbidden page; canaries on the other side."""
    pages = -(-array.nbytes // PAGE) + 1
    memory = mmap.mmap(-1, (pages + 1) * PAGE)
    raw = np.frombuffer(memory, np.uint8)
    start = pages * PAGE - array.nbytes if at_end else PAGE
    raw[:start] = CANARY
    raw[start + array.nbytes :] = CANARY
    view = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    _keep.append((memory, raw, start, array.nbytes))
    _allow(_keep[-1], at_end, 0)
    return view


def _allow(kept: tuple[mmap.mmap, np.ndarray, int, int], at_end: bool, access: int) -> None:
    raw = kept[1]
    if _mprotect(ctypes.c_void_p(raw.ctypes.data + (len(raw) - PAGE if at_end else 0)), PAGE, access) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")


def check_canaries_and_free(at_end: bool) -> None:
    for kept in _keep:
        _, raw, start, size = kept
        rest = raw[:start] if at_end else raw[start + size :]
        assert (rest == CANARY).all(), "a canary was overwritten"
        _allow(kept, at_end, mmap.PROT_READ | mmap.PROT_WRITE)
        del raw
    _keep.clear()


def whole(array, at_end):
    return guarded(array, at_end)


def read_only(array, at_end):
    array = guarded(array, at_end)
    array.flags.writeable = False
    return array


def every_second(array, at_end):
    return guarded(np.repeat(array, 2, axis=-1), at_end)[..., ::2]


def unaligned(array, at_end):
    raw = guarded(np.zeros(array.nbytes + 1, np.uint8), at_end)
    view = np.ndarray(array.shape, array.dtype, raw, 0 if at_end else 1)  # an odd address, as a page's is even
    view[...] = array
    return view


def guard(value, at_end, disguise=whole):
    """``value`` with its arrays on guarded memory; ``disguise`` is how an input comes."""
    if isinstance(value, Network):
        value.params, value.state = guarded(value.params, at_end), guarded(value.state, at_end)
    elif isinstance(value, CSR):
        for name in ("indptr", "indices", "values"):
            object.__setattr__(value, name, read_only(getattr(value, name), at_end))
    elif isinstance(value, np.ndarray) and value.size:
        return disguise(value, at_end)
    return value


def contents(value) -> list[bytes]:
    """The bytes of all arrays and numbers in ``value``."""
    if isinstance(value, Network):
        return contents((value.params, value.state))
    if isinstance(value, CSR):
        return contents(value.arrays)
    if isinstance(value, (tuple, list)):
        return [item for part in value for item in contents(part)]
    return [] if value is None else [np.asarray(value).tobytes()]


@contextlib.contextmanager
def guarded_scratch(at_end):
    """The scratch that ops ask for, from which nothing may be read that they did not write there."""

    def scratch(size, dtype):
        return guarded(np.full(size, np.nan, dtype), at_end)

    def zeros(size, dtype):
        return guarded(np.zeros(size, dtype), at_end)

    with contextlib.ExitStack() as patches:
        for module in (ops, mlp):
            patches.enter_context(patch.object(module, "scratch", scratch))
        patches.enter_context(patch.object(mlp, "aligned_zeros", zeros))
        patches.enter_context(patch.object(mlp, "_kept", threading.local()))
        yield


def outputs(op, result):
    """Arrays of NaN, or 77, for what the op can be told to write its results to."""
    arrays = [a for a in (result if isinstance(result, tuple) else (result,)) if isinstance(a, np.ndarray)]
    names = [name for name in inspect.signature(op.fast).parameters if name.startswith("out")]
    return {name: np.full_like(a, np.nan if a.dtype.kind == "f" else 77) for name, a in zip(names, arrays)}


def check(op, args, kwargs, at_end, rng) -> None:
    """One call on ordinary memory, one on guarded memory."""
    plain, keywords = copy.deepcopy((args, kwargs))
    with kernels.threads(1):
        result = op.fast(*plain, **keywords)
    given = outputs(op, result)
    states = [name for name in ("state", "bias_state", "average") if name in kwargs]
    expected = contents([result, [plain[k] for k in op.writes], [keywords[name] for name in states]])

    disguises = rng.choice([whole, read_only, every_second, unaligned], len(args) + len(kwargs))
    args = [guard(a, at_end, whole if k in op.writes else disguises[k]) for k, a in enumerate(args)]
    for (name, value), disguise in zip(kwargs.items(), disguises[len(args) :]):
        kwargs[name] = guard(value, at_end, whole if name in states else disguise)
    inputs = [a for k, a in enumerate(args) if k not in op.writes], [v for k, v in kwargs.items() if k not in states]
    before = contents([*inputs[0], *(v for v in inputs[1] if isinstance(v, np.ndarray))])
    given = {name: guarded(array, at_end) for name, array in given.items()}
    with kernels.threads(int(rng.integers(1, 5))), guarded_scratch(at_end):
        result = op.fast(*args, **kwargs, **given)
    returned = result if isinstance(result, tuple) else (result,)
    assert all(any(array is each for each in returned) for array in given.values()), "an output was not returned"
    after = contents([*inputs[0], *(v for v in inputs[1] if isinstance(v, np.ndarray))])
    assert before == after, "an input was changed"
    written = contents([result, [args[k] for k in op.writes], [kwargs[name] for name in states]])
    assert written == expected, "another result than on ordinary memory"
    check_canaries_and_free(at_end)


def main(seed: int, wanted: int) -> int:
    rng = np.random.default_rng(seed)
    calls = 0
    for op in itertools.cycle(OPS):
        shape = tuple(int(n) for n in (rng.choice(LARGE) if rng.random() < 0.02 else rng.choice(SIDES, 3)))
        dtype, at_end = np.dtype(rng.choice(["float32", "float64"])), bool(rng.integers(2))
        for args, kwargs in op.cases(rng, shape, dtype):
            try:
                check(op, args, kwargs, at_end, rng)
            except AssertionError as error:
                raise AssertionError(f"{op.name}, {shape}, {dtype}, at_end={at_end}: {error}") from None
            calls += 1
        if calls >= wanted:
            return calls


if __name__ == "__main__":
    print(main(int(sys.argv[1]), int(sys.argv[2])))
