"""Scaling of the inputs: by one factor, or each column by its own mean and deviation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Sparse, is_sparse
from ..errors import InputError

_SAMPLE_ROWS = 1000  # for the scale of the inputs
_BLOCK = 1 << 17  # numbers in a block: 1 MB of float64
# Columns share a scale if their sizes are within this factor of the median: MNIST's reach 1.4, tables' often thousands.
_ALIKE = 3.0
_RAREST = 0.01  # columns that are not zero in a smaller part of the rows are ignored when scales are compared
_COMMON = 0.1  # so are columns of small numbers that are not zero in a smaller part: their sizes scatter


@dataclass(frozen=True)
class Scaling:
    """Inputs become scale * x, or (x - mean) / std if both ``mean`` and ``std`` (float64 [inputs]) are given.

    ``density`` is the part of the scaled numbers that are not zero.
    """

    scale: float
    density: float
    mean: np.ndarray | None = None
    std: Any = None


def row_sample(X: Any) -> Any:
    """About 1,000 evenly spaced rows of X."""
    return X[:: max(1, len(X) // _SAMPLE_ROWS)]


def row_blocks(X: Any) -> list[slice]:
    """Blocks of rows, the same whether X is in memory or on disk, so that sums over them have the same bits."""
    size = max(1, int(_BLOCK // max(1.0, entries_per_row(X))))
    return [slice(start, start + size) for start in range(0, len(X), size)]


def require_differences(X: Any, source: str) -> None:
    """InputError where all rows of X are the same."""
    if len(X) < 2:
        return
    low, high = np.full((2, X.shape[1]), [[math.inf], [-math.inf]])
    for rows in row_blocks(X):  # nearly always the first is enough
        with np.errstate(over="ignore", invalid="ignore"):  # of squares
            *_, least, most = _sums(X[rows])
        low, high = np.minimum(low, least), np.maximum(high, most)
        if (low < high).any():
            return
    raise InputError(f"{source}: every column has one value only; there is nothing to learn from")


def entries_per_row(X: Any) -> float:
    """The mean count of numbers stored for a row of X."""
    if not is_sparse(X):
        return float(X.shape[1])
    return X.data.size / len(X) if isinstance(X, Sparse) else float(X.entries)


def input_scale(sample: Any) -> tuple[float, float]:
    """(1 / RMS, density of non-zeros) of a sample. Unlike centring, scaling keeps zeros."""
    values = sample if isinstance(sample, np.ndarray) else sample.data
    size = max(1, math.prod(sample.shape))
    largest = float(np.abs(values).max(initial=0))
    density = float(np.count_nonzero(values) / size)
    if largest == 0:
        return 1.0, density
    rms = largest * float(np.square(values / largest, dtype=np.float64).sum() / size) ** 0.5  # no square overflows
    return 1 / rms if rms else math.inf, density


def scaling_about_mean(sample: Any) -> Scaling | None:
    """One mean and one deviation for all pixels of images [N, pixels] if the mean exceeds the deviation; else None.

    That is so for photographs and ink on white paper. Without centring, they move all weights of a unit together: at
    the usual rates ReLUs die, and a thousand pictures of ink on paper are told apart no better than by chance.
    """
    if is_sparse(sample) or not sample.size:
        return None
    mean, deviation = float(sample.mean(dtype=np.float64)), float(sample.std(dtype=np.float64))
    if not 0 < deviation < abs(mean):
        return None
    means, deviations = np.full((2, sample.shape[1]), [[mean], [deviation]])
    return Scaling(1.0, 1.0, means, deviations)


def share_a_scale(sample: Any) -> bool:
    """Whether the columns have about the same size, as pixels and word weights do.

    A column's size is the RMS of its non-zero numbers. Columns of zeros and one other number each are indicators of a
    table, and do not share a scale.
    """
    largest = float(np.abs(sample.data if is_sparse(sample) else sample).max(initial=0))
    if largest == 0:
        return True
    count, total, squares, _, _ = _sums(sample, 1 / largest)
    often = count >= max(1.0, _RAREST * len(sample))
    if not often.any():
        return True
    if squares[~often].max(initial=0) > squares[often].sum():  # a rare column that alone would make the scale
        return False
    count, total, squares = count[often], total[often], squares[often]
    varies = count * squares > np.square(total) * (1 + 1e-9)
    sizes = np.sqrt(squares / count)
    typical = np.median(sizes)
    drowned = (_ALIKE * sizes < typical) & (count >= _COMMON * len(sample))
    return bool(sizes.max() <= _ALIKE * typical and not drowned.any() and 2 * np.count_nonzero(varies) >= len(varies))


def _sums(block: Any, factor: float = 1.0) -> tuple[np.ndarray, ...]:
    """For each column of factor * block: (count of non-zero numbers, sum, sum of squares, minimum, maximum)."""
    if not is_sparse(block):
        block = block if factor == 1 else block * factor
        squares = np.square(block, dtype=np.float64).sum(0)
        return np.count_nonzero(block, 0), block.sum(0, dtype=np.float64), squares, block.min(0), block.max(0)
    width, values = block.shape[1], block.data * factor if factor != 1 else block.data.astype(np.float64)
    count = np.bincount(block.indices[values != 0], minlength=width)
    low, high = np.where(np.bincount(block.indices, minlength=width) < len(block), 0, [[math.inf], [-math.inf]])
    np.minimum.at(low, block.indices, values)
    np.maximum.at(high, block.indices, values)
    sums = (np.bincount(block.indices, weights, minlength=width) for weights in (values, np.square(values)))
    return count, *sums, low, high


def column_scaling(X: Any, most_density: float, *, keep_zeros: bool, source: str) -> Scaling:
    """Each column of X becomes (x - mean) / std, where std is the root mean square of x - mean over all rows.

    With ``keep_zeros`` the mean of columns that are mostly zeros (density at most ``most_density``) is taken as 0, so
    that their zeros stay and are skipped; if too few zeros would stay, all columns are centred. A column with fewer
    than one non-zero number in a hundred gets the std that it would have with one in a hundred, as its few numbers
    would become huge otherwise. A constant column has a std of 1.
    """
    blocks, n = row_blocks(X), len(X)
    count, mean, raw = np.zeros((3, X.shape[1]))
    low, high = np.full((2, X.shape[1]), [[math.inf], [-math.inf]])
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        for rows in blocks:
            block_count, total, squares, least, most = _sums(X[rows])
            count += block_count
            mean += total
            raw += squares
            low, high = np.minimum(low, least), np.maximum(high, most)
        mean /= n
        centred = np.ones(len(count), bool)
        density = 1.0
        if keep_zeros:
            kept = count <= most_density * n
            filled = float(np.where(kept, count / n, 1).mean())
            if is_sparse(X) or filled <= most_density:
                centred, density = ~kept, filled
        mean[~centred] = 0
        around = np.where(centred, 0, raw)
        if centred.any():
            for rows in blocks:
                around[centred] += _squares_about(X[rows], mean)[centred]
        std = np.sqrt(around / np.where(centred, n, np.minimum(n, count / _RAREST).clip(1)))
    same = low == high
    centred &= same
    mean[centred], std[same] = low[centred], 1  # exactly, so that constant columns become 0
    wrong = np.flatnonzero(~(np.isfinite(mean) & np.isfinite(std) & (std > 0)))
    if wrong.size:
        k = wrong[0]
        raise InputError(
            f"{source}: feature {k + 1}, from {low[k]:.3g} to {high[k]:.3g}, is too large or too small to standardise; "
            "scale it by a power of ten"
        )
    return Scaling(1.0, density, mean, std)


def _squares_about(block: Any, mean: np.ndarray) -> np.ndarray:
    """For each column, the sum of (x - mean)^2 over the rows."""
    if not is_sparse(block):
        squares: np.ndarray = np.square(block - mean).sum(0)
        return squares
    stored = np.bincount(block.indices, minlength=len(mean))
    weights = np.square(block.data - mean[block.indices])
    return np.bincount(block.indices, weights, minlength=len(mean)) + (len(block) - stored) * np.square(mean)


def standardised(X: Any, mean: np.ndarray, std: np.ndarray, dtype: Any) -> Any:
    """(X - mean) / std in ``dtype``, computed in float64: Sparse if X is, else an array.

    In a Sparse X columns with mean 0 keep their zeros; in other columns all numbers are stored.
    """
    if is_sparse(X):
        return _standardised_entries(X, mean, std, dtype)
    Y = np.empty(X.shape, dtype)
    for rows in row_blocks(X):  # no second copy in float64
        with np.errstate(over="ignore"):  # the caller refuses infinities
            Y[rows] = (X[rows] - mean) / std
    return Y


def _standardised_entries(X: Sparse, mean: np.ndarray, std: np.ndarray, dtype: Any) -> Sparse:
    n, inputs = X.shape
    centred, moves = np.flatnonzero(mean), mean[X.indices] != 0
    kept = (X.data[~moves] / std[X.indices[~moves]]).astype(dtype)
    if not centred.size:
        return Sparse(X.indptr, X.indices, kept, X.shape)
    row = np.repeat(np.arange(n), np.diff(X.indptr))
    columns = np.zeros((n, len(centred)))
    np.add.at(columns, (row[moves], np.searchsorted(centred, X.indices[moves])), X.data[moves])
    columns = (columns - mean[centred]) / std[centred]
    row = np.concatenate((row[~moves], np.repeat(np.arange(n), len(centred))))
    indices = np.concatenate((X.indices[~moves], np.tile(centred.astype(X.indices.dtype), n)))
    values = np.concatenate((kept, columns.astype(dtype).reshape(-1)))
    order = np.lexsort((indices, row))
    indptr = np.concatenate(([0], np.cumsum(np.bincount(row, minlength=n))))
    return Sparse(indptr, indices[order], values[order], (n, inputs))
