"""Calls for which tests have kernels compiled at once: see ``compiled_at_once`` in conftest.py."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from op_cases import Op


def calls_of(
    op: Op, *dtypes: str, shapes: Sequence[tuple[int, int, int]] = ((8, 32, 16), (300, 7, 20))
) -> Iterator[Callable[[], object]]:
    """A call of each kind that an op's kernels are compiled for, by default also in blocks of samples."""
    for dtype, shape in itertools.product(dtypes, shapes):
        for args, kwargs in op.cases(np.random.default_rng(0), shape, np.dtype(dtype)):
            yield partial(op.fast, *args, **kwargs)
