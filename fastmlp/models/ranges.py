"""What range the training inputs had, and whether others are in another: pixels of 0..1 for a network that has seen 0..255.

Ordinary samples are never called so, however few, skewed, or of one class. Of images, whose values are bounded, the largest and
the smallest decide. A table is in another range where half of its columns, or of those of several values, have

- their median outside all training values (of few rows: far outside), or
- of 20 rows and more, another distance between the first and the last tenth than in training, a tenth or ten times, or
- another least value, where a tenth of the training rows have the same,

and where nine tenths of 20 rows and more are beyond all training values in any column.

Of 19 public tables, half of the rows to train on, none of 30,400 random sets of 1 to 1,000 of the others were called so, nor
the rows of any class that was trained on, nor MNIST's digits one by one or class by class. Standardised columns where raw
ones were trained on were noticed in 17 of 19, raw for standardised in 16; the others' columns are about standardised as they
come.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_SAMPLE_ROWS, _SAMPLE = 1000, 1 << 18  # rows, and numbers, that the quantiles are of
_MOST_COLUMNS = 4096  # of more, all numbers are taken together
_FEW_ROWS, _FEW_IMAGES = 20, 10
_RATIO = 10  # of spreads: samples of 20 from heavy-tailed columns differ by a factor of three
_DARK = 50  # the darkest photographs have a fiftieth of the range


def _values(X: Any) -> np.ndarray:
    """The numbers of X as a matrix; of sparse rows those that are not zero, as a column."""
    values = X if isinstance(X, np.ndarray) else X.data[X.data != 0][:, None]
    return values.view(np.uint8) if values.dtype == bool else values


def _filled(values: np.ndarray) -> np.ndarray:
    """Those of many columns that are not zero, as one column: whether a file spells its zeros out says nothing of a range."""
    return values[values != 0][:, None]


def _spread(values: np.ndarray) -> np.ndarray:
    """[2, columns]: the values that a tenth is below, and that a tenth is above, of evenly spaced rows."""
    rows = min(_SAMPLE_ROWS, max(_FEW_ROWS, _SAMPLE // values.shape[1]))
    sample = np.sort(values[:: max(1, len(values) // rows)], axis=0)
    return sample[[len(sample) // 10, len(sample) - 1 - len(sample) // 10]].astype(np.float64)


def input_ranges(X: Any, *, is_image: bool) -> np.ndarray | None:
    """float64 [4, columns], of each column, or in [4, 1] of all numbers: least, first tenth, last tenth, greatest.

    Of samples on disk those of evenly spaced rows. None where there is no number.
    """
    values = _values(X if isinstance(X, np.ndarray) or hasattr(X, "indptr") else X[:: max(1, len(X) // _SAMPLE_ROWS)])
    if is_image:
        values = values.reshape(-1, 1)
    elif hasattr(X, "indptr") or values.shape[1] > _MOST_COLUMNS:
        values = _filled(values)
    if not values.size:
        return None
    low, high = values.min(0, keepdims=True), values.max(0, keepdims=True)
    first, last = _spread(values)
    return np.concatenate((low, first[None], last[None], high)).astype(np.float64)


@np.errstate(over="ignore", invalid="ignore")  # of numbers at the end of float64's range
def difference(X: Any, ranges: np.ndarray, *, is_image: bool, columns: tuple[str, ...] | None = None) -> str | None:
    """In words how the range of X differs from that in training; None where it does not."""
    values, rows = _values(X), len(X)
    if ranges.shape[1] == 1 and is_image:
        values = values.reshape(-1, 1)
    elif ranges.shape[1] == 1 and (hasattr(X, "indptr") or X.shape[1] > 1):
        values = _filled(values)
    if not values.size or values.shape[1] != ranges.shape[1]:
        return None
    least, first, last, greatest = ranges
    width, lacking, beyond = greatest - least, np.zeros(least.shape, bool), np.zeros(least.shape, bool)
    low, high = values.min(0).astype(np.float64), values.max(0).astype(np.float64)
    if is_image:
        inside = (low > least + width / 10) & (high < greatest - width / 10) if rows >= _FEW_IMAGES else False
        other = (low < least - width) | (high > greatest + width) | (high - low < width / _DARK) | inside
    else:
        middle = np.median(values, axis=0)
        margin = width / (2 * len(values))
        other = (middle < least - margin) | (middle > greatest + margin)
        if len(values) >= _FEW_ROWS:
            most = _spread(values)
            now, then = np.ptp(most, axis=0), last - first
            beyond = (width > 0) & ((most[1] < least) | (most[0] > greatest))
            other |= (now > 0) & (then > 0) & ((now * _RATIO < then) | (now > then * _RATIO))
            lacking = (first == least) & (np.abs(low - least) > width / 1000)  # the zeros that many rows had
    varying = width > 0
    several = varying & (first < last) & ((least < first) | (last < greatest))  # not two values, nor one and exceptions
    for found, among in (((other | lacking) & varying, varying), (other & several, several), (beyond, beyond)):
        count, all_of_them = int(np.count_nonzero(found)), int(np.count_nonzero(among))
        if count >= max(min(2, all_of_them), 1, all_of_them / 2):
            break
    else:
        return None
    k = int(np.flatnonzero(found)[0])
    where = "inputs are"
    if len(width) > 1:
        name = repr(columns[k][:40]) if columns else str(k + 1)
        where = f"{count} of {len(width)} columns are in another range than in training: column {name} is"
    return f"{where} from {low[k]:.5g} to {high[k]:.5g}; in training from {least[k]:.5g} to {greatest[k]:.5g}"
