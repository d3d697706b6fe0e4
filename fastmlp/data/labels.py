"""Class names and class indices, or the numbers to predict, out of labels that are integers, other numbers or text."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..log import Say, warn
from .values import is_code, written_number

MAX_CLASSES = 10_000
_HALF_PAIR = re.compile("[\ud800-\udfff]")  # as names of files have that are not in the system's encoding
_FEW = 20  # distinct numbers may be classes in any file
_FEW_DECIMALS = 4
_ROWS_A_CLASS = 20  # so many rows for each distinct number make classes of more of them, 5 of a few with decimals
_BLOCK = 1 << 16  # labels looked at together


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of N rows as a file has them: ``values`` are distinct, integers ``codes`` [N] say which is whose."""

    values: list[int] | list[float] | list[str]
    codes: np.ndarray

    def first_row(self, code: int) -> int:
        """The first row whose label is ``values[code]``."""
        return int((self.codes == code).argmax())


def distinct(labels: np.ndarray | Iterable[str]) -> Labels:
    """The Labels of an array of numbers [N], or of texts; whole numbers become integers."""
    if isinstance(labels, np.ndarray):
        if labels.dtype.kind == "f":
            labels = labels.astype(np.float64, copy=False)
            whole = (np.floor(labels) == labels) & (abs(labels) < 2**63)  # no infinity, nor NaN
            labels = labels.astype(np.int64) if whole.all() else labels
        integers = labels.dtype.kind != "f"
        low, high = (int(f(labels)) if integers and labels.size else 0 for f in (np.min, np.max))
        if not integers or high - low >= MAX_CLASSES or high >= 2**63:
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


def counts_of(codes: np.ndarray, classes: int) -> np.ndarray:
    """How many samples each class has; ``np.bincount`` takes eight bytes a label."""
    counts = np.zeros(classes, np.int64)
    for start in range(0, len(codes), _BLOCK):
        counts += np.bincount(codes[start : start + _BLOCK], minlength=classes)
    return counts


def as_given(values: Any) -> np.ndarray:
    """An array of the values, text of NumPy's StringDType as objects; those of a list are objects where NumPy would
    make text of a NaN or a number beside text."""
    # Of an Arrow dictionary in chunks NumPy makes other values where there are gaps.
    array = np.asarray(values.combine_chunks() if hasattr(values, "combine_chunks") else values)
    if array.dtype.kind == "U" and isinstance(values, (list, tuple)):
        return np.array(values, object)
    return array.astype(object) if array.dtype.kind == "T" else array


def typed(values: list[Any], name: str) -> np.ndarray:
    """Python objects as an array of booleans, numbers or bytes, or of text as objects. ValueError for other types.

    Members of an Enum that are text become that text; NumPy would take what ``str`` says of them, and cut it.
    """
    kinds = {type(value) for value in values}
    if all(issubclass(kind, str) for kind in kinds):
        return np.array([*map(str.__str__, values)], object)
    array = np.array(values)
    if kinds <= {bytes} or (array.ndim == 1 and array.dtype.kind in ("iu" if kinds <= {int} else "biufmM")):
        return array
    if kinds <= {int}:
        raise ValueError(f"{name} holds integers of more than 64 bits; give them as text")
    try:
        return np.array([float(value) for value in values])
    except (TypeError, ValueError):
        types = "several types" if len(kinds) > 1 else "another type"
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"{name} holds values of {types} ({names}); they must be all text or all numbers") from None


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first few names, for a message: in one line, whatever they are."""
    return ", ".join(" ".join(name.split())[:40] for name in names[:most]) + (", ..." if len(names) > most else "")


def task_of(labels: Labels, source: str, asked: str, say: Say) -> str:
    """The task, "classification" or "regression", for labels. If not ``asked`` it is guessed, and doubts are said.

    Text is classes, and so are few integers for so many rows (see ``quantity``); other numbers are predicted as such.
    """
    if asked != "auto":
        return asked
    why = quantity(labels)
    if why is not None:
        say(f"{source}: the labels are {why}, and predicted as numbers (--task classification makes classes of them)")
        return "regression"
    numbers = {_number(value) for value in labels.values}
    fewest = _FEW_DECIMALS if any(isinstance(number, float) for number in numbers) else _FEW
    if len(numbers) > fewest and None not in numbers:
        say(
            f"{source}: the labels are {len(numbers):,} numbers, taken for classes (--task regression predicts numbers)"
        )
    return "classification"


def as_numbers(labels: Labels, source: str) -> np.ndarray:
    """The numbers float64 [N] that labels are or say as people write them. InputError for other text and infinities."""
    numbers = [_quantity(value) for value in labels.values]
    if None in numbers:
        wrong = numbers.index(None)
        raise InputError(
            f"{source}: the label of row {labels.first_row(wrong)} (counted from 0) is "
            f"{str(labels.values[wrong])[:40]!r}; with --task regression it must be a finite number"
        )
    if not numbers:
        raise InputError(f"{source}: is empty; it must hold at least one sample")
    return np.array(numbers, np.float64)[labels.codes]


def _quantity(value: int | float | str) -> int | float | None:
    """``_number``, also of what people write, 12.5 % or $1,250."""
    found = _number(value)
    if found is None and isinstance(value, str):
        found = written_number(value)
    try:
        return found if found is None or math.isfinite(found) else None
    except OverflowError:  # an integer beyond the range of float64
        return None


def class_indices(
    labels: Labels,
    source: str,
    classes: tuple[str, ...] | None = None,
    *,
    small: bool = False,
    testing: bool = False,
    say: Say = warn,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """(y int64 [N], classes): indices into ``classes``, or, if none are given, into the classes that the labels make.

    With ``small`` y has the smallest type that will do. ``testing`` a model, labels need not make sense as classes.
    Classes are the labels that occur, sorted as numbers if all of them are numbers, else as text; whole numbers are
    written as integers, but for codes such as 02139. InputError for labels that are no classes, or none of ``classes``.
    """
    new = classes is None
    if classes is None:
        classes = _classes(labels, source, testing)
    indices = places(labels.values, classes, say)
    if -1 in indices:
        unknown = str(labels.values[indices.index(-1)])
        raise InputError(
            f"{source}: label {unknown[:40]!r} is none of the training set's "
            f"{len(classes):,} classes ({listed(classes)})"
        )
    if new and isinstance(labels.values[0], str) and len({*indices}) < len(indices):
        other = next(k for k, index in enumerate(indices) if index in indices[:k])
        first = indices.index(indices[other])
        say(f"{source}: the labels {labels.values[first]!r:.42} and {labels.values[other]!r:.42} are one class")
    dtype = np.min_scalar_type(len(classes) - 1) if small else np.int64
    return np.array(indices, dtype)[labels.codes], classes


def places(labels: Sequence[int | float | str], classes: Sequence[str], say: Say = warn) -> list[int]:
    """Which of the ``classes`` each label names, -1 for none.

    Where all are numbers they are so however they are written. Text may be in another case or have a point at its end,
    as in UCI's adult.test, or have its accents apart, as in macOS' names of directories, which is told to ``say``.
    """
    as_numbers = all(_number(name) is not None for name in classes)
    index = {_name(name, as_numbers): k for k, name in enumerate(classes)}
    alike = {plain(name): k for k, name in enumerate(classes)}
    if len(alike) < len(classes):
        alike = {}
    found = [index.get(_name(label, as_numbers), -1) for label in labels]
    for row, label in enumerate(labels):
        if found[row] < 0 <= (k := alike.get(plain(label), -1)):
            found[row] = k
            say(f"the label {str(label)[:40]!r} is taken for {classes[k][:40]!r}")
    return found


def plain(name: int | float | str) -> str:
    """A label without what does not tell two apart: case, a point at its end, how Unicode spells its accents."""
    return unicodedata.normalize("NFC", str(name)).casefold().rstrip(" .")


def _classes(labels: Labels, source: str, testing: bool) -> tuple[str, ...]:
    numbers = [_number(value) for value in labels.values]
    if "" in labels.values:
        row = labels.first_row(labels.values.index(""))  # type: ignore[arg-type]
        raise InputError(f"{source}: the label of row {row} (counted from 0) is empty; every row must have one")
    for k, value in enumerate(labels.values):
        if _HALF_PAIR.search(str(value)):
            row = labels.first_row(k)
            raise InputError(
                f"{source}: the label of row {row} (counted from 0) is {value!r:.60}, which is not Unicode"
            )
    if None in numbers:
        classes = sorted(map(str, labels.values))
        if not testing:
            _require_repetition(labels, numbers, source)
    else:
        named = {number: str(number) for number in sorted(number for number in numbers if number is not None)}
        if len(named) == len(numbers):  # 02139 is said as it was given, unless it is 2139, too
            codes = {text: number for text, number in zip(map(str, labels.values), numbers) if is_code(text)}
            named |= {number: text for text, number in codes.items() if number is not None}
        classes = list(named.values())
    if len(classes) > MAX_CLASSES:
        raise InputError(
            f"{source}: {len(classes):,} distinct labels, {listed(classes)}; "
            f"there can be {MAX_CLASSES:,} classes at most "
            "(is this the label column? or, of numbers, --task regression)"
        )
    if not classes:
        raise InputError(f"{source}: is empty; it must hold at least one sample")
    if len(classes) < 2 and not testing:
        raise InputError(f"{source}: all labels are {classes[0][:40]!r}; there must be at least two classes")
    return tuple(classes)


def _require_repetition(labels: Labels, numbers: Sequence[int | float | None], source: str) -> None:
    """InputError if labels, some of them text, occur less than twice on average: then they are names or quantities."""
    rows = len(labels.codes)
    if len(numbers) <= _FEW or 2 * len(numbers) <= rows:
        return
    k = numbers.index(None)
    row, text = labels.first_row(k), str(labels.values[k])[:40]
    if 2 * (len(numbers) - numbers.count(None)) > len(numbers):
        raise InputError(
            f"{source}: the label of row {row} (counted from 0) is {text!r}, where most are numbers; "
            "it must be a finite number"
        )
    raise InputError(
        f"{source}: the labels are {len(numbers):,} different texts in {rows:,} rows, such as {text!r}, "
        "which are no classes; give another --label-column, or write quantities as plain numbers"
    )


def quantity(labels: Labels) -> str | None:
    """Why labels that are all numbers are no classes, such as '214 different numbers in 442 rows'; or None.

    More than a few decimals are a quantity, and so are very many integers for so many rows, unless they are numbered
    through and each occurs again. Few integers are classes where they occur twice on the mean, or count from 0 or 1.
    """
    numbers = [_number(value) for value in labels.values]
    found = {number for number in numbers if number is not None}
    if None in numbers or len(found) <= _FEW_DECIMALS:
        return None
    if len(found) > MAX_CLASSES:
        return f"{len(found):,} different numbers"
    rows, decimals = len(labels.codes), [number for number in found if isinstance(number, float)]
    if decimals:
        if len(found) <= _FEW and len(found) * 5 <= rows:
            return None
        return f"{len(found):,} different numbers with decimals, such as {min(decimals):g}, in {rows:,} rows"
    counts = np.bincount(labels.codes, minlength=len(numbers))
    through = max(found) - min(found) + 1 == len(found)
    counted = through and counts.min() > 1
    few = len(found) <= _FEW and (2 * len(found) <= rows or (through and min(found) in (0, 1)))
    if few or len(found) * _ROWS_A_CLASS <= rows or counted:
        return None
    return f"{len(found):,} different numbers in {rows:,} rows"


def different(labels: Labels) -> int:
    """How many different labels there are: 1 and 1.0 are one."""
    return len({_name(value, True) for value in labels.values})


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


def majority(y: np.ndarray, classes: Sequence[str]) -> tuple[str, int] | None:
    """The class that more than half of samples y [N] have, and how many: who always answers it is right on so many."""
    counts = np.bincount(y, minlength=1)
    k = int(counts.argmax())
    return (classes[k], int(counts[k])) if 2 * counts[k] > len(y) else None


def scored_classes(accuracy: float, y: np.ndarray, classes: Sequence[str]) -> str:
    """The accuracy for a person, beside that of always answering the same where that is above a half."""
    most = majority(y, classes)
    always = "" if most is None else f" (always {most[0][:40]!r}: {most[1] / len(y):.2%})"
    return f"accuracy {accuracy:.2%}{always}"
