"""Class names and class indices, out of labels that are integers, other numbers or text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError

MAX_CLASSES = 10_000
_BLOCK = 1 << 16  # labels looked at together


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of N rows as a file has them: ``values`` are distinct, the integers ``codes`` [N] say which is whose."""

    values: list[int] | list[str]
    codes: np.ndarray


def distinct(labels: np.ndarray | Iterable[str]) -> Labels:
    """The Labels that an integer array [N] or texts make."""
    if isinstance(labels, np.ndarray):
        low, high = (int(f(labels)) if labels.size else 0 for f in (np.min, np.max))
        if high - low >= MAX_CLASSES or high >= 2**63:
            values, codes = np.unique(labels, return_inverse=True)
            return Labels(values.tolist(), codes.astype(np.int64))
        found, codes = np.zeros(high - low + 1, bool), np.empty(len(labels), np.int16)
        for start in range(0, len(labels), _BLOCK):  # where np.unique takes 40 bytes a label
            codes[start : start + _BLOCK] = labels[start : start + _BLOCK].astype(np.int64) - low
            found[codes[start : start + _BLOCK]] = True
        return Labels((np.flatnonzero(found) + low).tolist(), (np.cumsum(found) - 1).astype(np.int16)[codes])
    index: dict[str, int] = {}
    codes = np.fromiter((index.setdefault(text, len(index)) for text in labels), np.int64)
    return Labels(list(index), codes)


def listed(names: Sequence[str]) -> str:
    """The first few names, for a message: in one line, whatever they are."""
    return ", ".join(" ".join(name.split())[:40] for name in names[:5]) + (", ..." if len(names) > 5 else "")


def class_indices(
    labels: Labels, source: str, classes: tuple[str, ...] | None = None, *, small: bool = False
) -> tuple[np.ndarray, tuple[str, ...]]:
    """(y int64 [N], classes): indices into ``classes``, or, where none are given, into the classes that the labels make.

    With ``small`` y has the smallest type that will do.
    Integers from 0 to 9999 make '0', '1', ... to the largest, at least two; any other labels make what they say, sorted
    as numbers if all of them are numbers, else as text. InputError for labels that make no sense as classes, and for one
    that is none of ``classes``.
    """
    if classes is None:
        classes = _classes(labels, source)
    as_numbers = all(_number(name) is not None for name in classes)
    index = {name: k for k, name in enumerate(classes)}
    names = [_name(value, as_numbers) for value in labels.values]
    unknown = next((name for name in names if name not in index), None)
    if unknown is not None:
        raise InputError(
            f"{source}: label {unknown[:40]!r} is none of the training set's {len(classes):,} classes ({listed(classes)})"
        )
    dtype = np.min_scalar_type(len(classes) - 1) if small else np.int64
    return np.array([index[name] for name in names], dtype)[labels.codes], classes


def _classes(labels: Labels, source: str) -> tuple[str, ...]:
    numbers = [_number(value) for value in labels.values]
    if all(isinstance(number, int) and 0 <= number < MAX_CLASSES for number in numbers):
        largest = max((number for number in numbers if number is not None), default=0)
        return tuple(map(str, range(max(2, int(largest) + 1))))
    if "" in labels.values:
        row = int(np.flatnonzero(labels.codes == labels.values.index("")).min())  # type: ignore[arg-type]
        raise InputError(f"{source}: the label of row {row} is empty; every row must have one")
    if None in numbers:
        classes = sorted(map(str, labels.values))
    else:
        classes = [_name(number, True) for number in sorted(number for number in set(numbers) if number is not None)]
    if len(classes) > MAX_CLASSES:
        raise InputError(
            f"{source}: {len(classes):,} distinct labels, {listed(classes)}; there can be {MAX_CLASSES:,} classes at most "
            "(is this the label column?)"
        )
    if len(classes) < 2:
        raise InputError(f"{source}: all labels are {classes[0][:40]!r}; there must be at least two classes")
    return tuple(classes)


def _name(value: int | float | str, as_number: bool) -> str:
    """The class that a label names: 1, '1' and '1.0' name the same where all classes are numbers."""
    number = _number(value) if as_number else None
    return str(value if number is None else number)


def _number(value: int | float | str) -> int | float | None:
    """The finite number that a label is, an int if it is whole; None for text (so is Python's own 1_000)."""
    if isinstance(value, str):
        try:
            return None if "_" in value else int(value)  # of any length, exactly
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return None
    if isinstance(value, int):
        return value
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else value
