"""Ranges of inputs: notices samples in another range than in training, such as pixels of 0..1 instead of 0..255.

Ordinary samples must never be noticed, however few, skewed or of one class. For images, whose values are bounded,
minimum and maximum decide. A table is noticed if in half of its columns, or half of those with more than two values,

- the median is outside of all training values (with few rows: far outside), or
- with 20 rows or more, the distance between the first and the last tenth is a tenth or ten times that in training, or
- the minimum differs, where it was the value of a tenth of the training rows;

or if, with 20 rows or more, nine tenths of any column are beyond all training values, or both the mean of and the
distance between the first and the last tenth are 30 times as large or as small, as in another unit (of a column around
zero the distance alone); or if a number beyond all training values comes often and seems to say that there is none.

Measured on 19 public tables, half of the rows to train on: none of 30,400 random sets of 1 to 1,000 other rows were
noticed, nor the rows of any class, nor MNIST's digits one by one or class by class. Standardised columns in place of
raw ones were noticed in 17 tables, raw ones in place of standardised in 16; the other tables' columns are about
standardised as they come. Other units were measured apart: none of 845 sets of rows in their own unit, and 278 of 560
in another, 211 without that rule.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.values import shown, stand_in

_SAMPLE_ROWS, _SAMPLE = 1000, 1 << 18  # rows, and numbers, from which quantiles are taken
_MOST_COLUMNS = 4096  # with more columns, all numbers are taken as one column
_FEW_ROWS, _FEW_IMAGES = 20, 10
_OTHER_UNIT = 30  # times: 60 are seconds of minutes, and few values differ by a factor of two from their like
_RATIO = 10  # between spreads; samples of 20 from heavy-tailed columns differ by a factor of three
_DARK = 50  # the darkest photographs use a fiftieth of the range


def _values(X: Any) -> np.ndarray:
    """The numbers of X as a matrix; the non-zero numbers of sparse rows as one column."""
    values = X if isinstance(X, np.ndarray) else X.data[X.data != 0][:, None]
    return values.view(np.uint8) if values.dtype == bool else values


def _filled(values: np.ndarray) -> np.ndarray:
    """The non-zero numbers as one column, so that dense and sparse files of the same numbers have the same range."""
    return values[values != 0][:, None]


def _spread(values: np.ndarray) -> np.ndarray:
    """The 0.1 and 0.9 quantiles of each column, [2, columns], of evenly spaced rows."""
    rows = min(_SAMPLE_ROWS, max(_FEW_ROWS, _SAMPLE // values.shape[1]))
    sample = np.sort(values[:: max(1, len(values) // rows)], axis=0)
    return sample[[len(sample) // 10, len(sample) - 1 - len(sample) // 10]].astype(np.float64)


def input_ranges(X: Any, *, is_image: bool) -> np.ndarray | None:
    """(minimum, 0.1 quantile, 0.9 quantile, maximum) of each column, float64 [4, columns], or of all numbers, [4, 1].

    From samples on disk evenly spaced rows are taken. None where there is no number.
    """
    values = _values(X if isinstance(X, np.ndarray) or hasattr(X, "indptr") else X[:: max(1, len(X) // _SAMPLE_ROWS)])
    if is_image:
        values = values.reshape(-1, 1)
    elif values.shape[1] > _MOST_COLUMNS:
        values = _filled(values)
    if not values.size:
        return None
    low, high = values.min(0, keepdims=True), values.max(0, keepdims=True)
    first, last = _spread(values)
    return np.concatenate((low, first[None], last[None], high)).astype(np.float64)


def in_another_unit(middle: Any, spread: Any) -> Any:
    """Whether middle and spread of numbers, divided by those in training, are both many times as large or as small."""
    least, most = np.minimum(middle, spread), np.maximum(middle, spread)
    return (least > _OTHER_UNIT) | ((least > 0) & (most < 1 / _OTHER_UNIT))


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # of numbers at the end of float64's range
def difference(X: Any, ranges: np.ndarray, *, is_image: bool, columns: tuple[str, ...] | None = None) -> str | None:
    """In words how the range of X differs from that in training, if it does."""
    values, rows = _values(X), len(X)
    if ranges.shape[1] == 1 and is_image:
        values = values.reshape(-1, 1)
    elif ranges.shape[1] == 1 and X.shape[1] > 1:
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
            around_zero = np.abs(first + last) < then  # where the middle says nothing of the unit
            unit = in_another_unit(np.where(around_zero, now / then, most.sum(0) / (first + last)), now / then)
            beyond = (width > 0) & ((most[1] < least) | (most[0] > greatest) | ((least < first) & unit))
            other |= (now > 0) & (then > 0) & ((now * _RATIO < then) | (now > then * _RATIO))
            lacking = (first == least) & (np.abs(low - least) > width / 1000)  # such as zeros that many rows had
    varying = width > 0
    # Columns of two values, or of one value and exceptions, do not count.
    several = varying & (first < last) & ((least < first) | (last < greatest))
    for found, among in (((other | lacking) & varying, varying), (other & several, several), (beyond, beyond)):
        count, all_of_them = int(np.count_nonzero(found)), int(np.count_nonzero(among))
        if count >= max(min(2, all_of_them), 1, all_of_them / 2):
            k = int(np.flatnonzero(found)[0])
            where = f"{count} of {len(width)} columns are in another range than in training: " * (len(width) > 1)
            what = f"from {low[k]:.5g} to {high[k]:.5g}"
            break
    else:
        new = (low < least - width / 100) | (high > greatest + width / 100)
        for k in np.flatnonzero(new).tolist() if values.dtype.kind == "f" and not is_image else ():
            value = stand_in(values[:, k])
            if value is not None and not least[k] <= value <= greatest[k]:
                break
        else:
            return None
        share = np.mean(values[:, k] == value)
        where, what = "", f"{shown(value)} in {share:.1%} of rows, as if it said that there is none"
    name = f"column {repr(columns[k][:40]) if columns else k + 1} is" if len(width) > 1 else "inputs are"
    return f"{where}{name} {what}; in training from {least[k]:.5g} to {greatest[k]:.5g}"
