"""Calls for which tests have kernels compiled at once: see ``compiled_at_once`` in conftest.py."""

import itertools
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np

from op_cases import Op


def calls_of(
    op: Op, *dtypes: str, shapes: Sequence[tuple[int, int, int]] = ((8, 32, 16), (300, 7, 20))
) -> list[Callable[[], object]]:
    """A call of each kind that an op's kernels are compiled for, by default also in blocks of samples."""
    return [call for dtype, shape in itertools.product(dtypes, shapes) for call in _calls(op, dtype, shape)]


@cache  # so that what several tests call is called once
def _calls(op: Op, dtype: str, shape: tuple[int, int, int]) -> list[Callable[[], object]]:
    cases = op.cases(np.random.default_rng(0), shape, np.dtype(dtype))
    return [partial(op.fast, *args, **kwargs) for args, kwargs in cases]
