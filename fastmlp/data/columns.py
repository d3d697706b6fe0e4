"""Finds the label column of a table: by its name, or by the values of the first and the last column."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from ..errors import InputError
from .frame import Frame
from .labels import Labels, distinct, quantity
from .values import MERGED, feature, is_gap, is_missing, kind_of, number, written_date, written_number

# In lower case, without blanks and marks: names of label columns anywhere in a header, others at its ends only, and
# names of row numbers.
_ANYWHERE, _AT_AN_END, _ROW_NUMBERS = (
    frozenset(words.split())
    for words in (
        """label labels class classes target targets outcome species diagnosis survived classlabel targetlabel classname
        labelname targetclass classid labelid ytrue groundtruth isspam isfraud churn exited attrition attritionflag
        defaultpaymentnextmonth""",
        """y category type group kind status result results response output quality variety digit digits letter
        character symbol emotion sentiment spam fraud income rings activity grade cls classe clase klasse etiqueta
        objetivo ziel lable""",
        """index row rowname rownames rownumber rownum no nr lfdnr numero número sno slno serialno seq record obs
        observation""",
    )
)
_ID = re.compile(r"(?:^|[\W_])(?:id|ID|Id)(?:$|[ ._-]+[^\W\d_])|[a-z](?:Id|ID)$|^Id[A-Z]")
_MANY_NAMES = 20  # different texts; of more than this, and half of the rows, it is names or notes
_MEASURED = 30  # more different integers are measurements rather than classes, as are those that hardly occur again
_OFTEN = 3
_LOOKED_AT = 30  # columns, for text
_MIXED = "numbers and text"
_NEARLY_ALL = 10  # columns that are numbered through for each that is not
_FIRST_ROWS = (10, 100, None)
_FEW_SPELLINGS = 4  # of zeros and ones: 0, 0.0, 1 and 1.0
_FEWEST_OF_A_CLASS = 5  # rows: two columns of fewer may be alike by chance
REMEDY = "--label-column takes its name or number (-1: the last)"


def is_index(name: str) -> bool:
    """Whether a first column of that name is a data frame's index, as pandas writes and reads it, perhaps again."""
    return not name.strip() or re.fullmatch(r"unnamed01*", _word(name)) is not None


def are_row_numbers(labels: Labels) -> bool:
    """Whether a column of n rows holds each of 0 to n - 1, or of 1 to n, once, as row numbers do."""
    rows, values = len(labels.codes), {*map(str, labels.values)}
    return 1 < rows == len(values) and any(values == {*map(str, range(start, start + rows))} for start in (0, 1))


def identifies(name: str, labels: Labels) -> bool:
    """Whether a first column of that name says which row is which: its integers are all different and called so."""
    if is_id(name):
        return 1 < len(labels.codes) == len(labels.values) and all(str(value).isdigit() for value in labels.values)
    return says_which_row(name) and are_row_numbers(labels)


def is_id(name: str) -> bool:
    """Whether a column of that name tells things apart: id, user_id, UserID, id_cliente, IdProduit."""
    return bool(_ID.search(name.strip()))


def merges_ids(name: str, numbers: np.ndarray) -> bool:
    """Whether a column of that name holds ids so large that several of them are one float64."""
    return bool(abs(numbers).max(initial=0) >= MERGED) and is_id(name)


def says_which_row(name: str) -> bool:
    """Whether a column of that name may hold numbers of rows."""
    word = _word(name)
    return name.strip() == "#" or is_id(name) or word in _ROW_NUMBERS or word.endswith("id")


def is_known(name: str, *, at_an_end: bool = False) -> bool:
    """Whether a column of that name holds labels anywhere in a header, or perhaps ``at_an_end``."""
    return _word(name) in _ANYWHERE or (at_an_end and _word(name) in _AT_AN_END)


def _word(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def named(names: Sequence[str], candidates: Sequence[int]) -> int | None:
    """The one of the ``candidates``, columns in order, whose name says it holds labels. InputError if several do."""
    words = {k: _word(names[k]) for k in candidates}
    exact = [k for k in candidates if names[k].lower() == "label"]
    first, last = candidates[0], candidates[-1]
    ends = [k for k in (last, first) if words[k] in _ANYWHERE]
    found = exact or ends[:1] or [k for k in candidates if words[k] in _ANYWHERE]
    found = found or sorted({k for k in (first, last) if words[k] in _AT_AN_END})
    found = found or [k for k in candidates if words[k] == "y" and "x" not in words.values()]  # beside x it is a place
    if len(found) > 1:
        which = " or ".join(repr(names[k][:40]) for k in found[:2])
        raise InputError(f"{which} may be the label column; {REMEDY}")
    return found[0] if found else None


def apart(names: Sequence[str], candidates: Sequence[int]) -> Sequence[int]:
    """Those of the ``candidates`` that are not numbered through as nearly all are, pixel0, pixel1, ..., or 900, 902,
    ...: the first or last alone, or few. Else all."""
    stems = {k: re.sub(r"[\d.]+$", "", names[k]) for k in candidates}
    stem = Counter(stems.values()).most_common(1)[0][0]
    rest = [k for k in candidates if stems[k] != stem or names[k] == stem]
    numbered = len(candidates) - len(rest)
    alone = len(rest) == 1 and rest[0] in (candidates[0], candidates[-1]) and numbered > 2
    return rest if rest and (alone or numbered >= _NEARLY_ALL * len(rest)) else candidates


def guessed(names: Sequence[str] | None, candidates: Sequence[int], values: Callable[[int], Labels], task: str) -> int:
    """The label column, first or last of ``candidates``, by their ``values``. InputError if it is neither or unclear.

    Where there is a header (``names``) or text in between, classes are usually last; else neither place is usual.
    Numbers to predict are looked for where ``task`` says so, or where neither end has classes; usually they are last.
    """
    if names is not None and len(candidates) > 1 and names[candidates[-1]].lower() == "id":
        candidates = candidates[:-1]
    if len(candidates) == 1:
        return candidates[0]
    columns = (candidates[0], candidates[-1])
    first, last = map(values, columns)
    doubts = [doubt(first), doubt(last)]

    def described(end: int) -> str:
        column, labels = columns[end], (first, last)[end]
        what = f"column {column + 1}" if names is None else repr(names[column][:40])
        return f"the {('first', 'last')[end]}, {what} ({doubts[end] or f'{len(labels.values):,} values'})"

    text = [is_text(labels) for labels in (first, last)]
    if names is not None and doubts[1] == _MIXED and len(last.values) <= _MANY_NAMES and task != "regression":
        return columns[1]  # stages 1, 2a and 2b
    # Without a header, text beside a number at an end may be the labels, as behind the number of a patient.
    ends = (candidates[1], candidates[-2]) if names is None and None not in doubts else ()
    beside = [values(k) for k in ends if k not in columns]
    unsure = any(is_text(labels) and doubt(labels) is None for labels in beside)
    if task == "regression" or (task == "auto" and None not in doubts and not unsure):
        for end in (1, 0):
            if not text[end] and len((first, last)[end].values) > 1:
                return columns[end]
    if None not in doubts:
        raise InputError(f"no column looks like labels: {described(0)}, or {described(1)}; {REMEDY}")
    choice = None
    # Text between the ends is a feature: then so may be text at the first end, and the labels are the last as usual.
    usual = (names is not None and (doubts[1] is None or not text[1])) or (text[0] and not text[1])
    text_between = usual and any(is_text(values(k)) for k in candidates[1:-1][:_LOOKED_AT])
    if doubts[0] is not None or text_between:
        choice = 1
    elif doubts[1] is not None:
        choice = 0 if text[0] or (names is None and _numbered(first)) else None
    elif text[0] != text[1]:  # text is no feature; but integers beside decimals may be labels, too
        choice = 1 if text[1] else 0 if names is None and not _has_decimals(values(candidates[-2])) else None
    elif names is not None:
        choice = 1
    elif not text[0]:
        choice = _fewer(first, last)
    if choice is None:
        numbers = "; --task regression predicts the last" if doubts[1] and not text[1] and len(last.values) > 1 else ""
        raise InputError(
            f"it is not clear which column holds the labels: {described(0)}, or {described(1)}; {REMEDY}{numbers}"
        )
    return columns[choice]


def doubt(labels: Labels) -> str | None:
    """Why a column's values are probably no labels, or None."""
    present, rows = _present(labels), len(labels.codes)
    different, texts = len(present), sum(number(text) is None for text in present)
    if different < 2:
        return "one value only"
    if 0 < texts < different:
        return _MIXED
    if texts:
        if different > _MANY_NAMES and different * 2 > rows:
            return f"{different:,} different texts in {rows:,} rows"
        return f"{different:,} dates or times" if all(map(_is_time, present)) else None
    if _has_decimals(labels):
        return f"{different:,} different numbers with decimals"
    return quantity(labels)


def are_numbers(labels: Labels, task: str) -> bool:
    """Whether a column holds numbers to predict, not classes, as ``task`` says or, where it is auto, they look."""
    looks_so = len(labels.values) > 1 and not is_text(labels) and quantity(labels) is not None
    return task == "regression" or (task == "auto" and looks_so)


def copies(column: np.ndarray, labels: Labels) -> bool:
    """Whether a column says the labels themselves: each of few values goes with one label, and the other way round, or
    the numbers are the same but for their unit."""
    for rows in _FIRST_ROWS:  # of nearly all columns some are enough
        pairs = {*zip(map(str, column[:rows].tolist()), labels.codes[:rows].tolist())}
        if not len(pairs) == len({value for value, _ in pairs}) == len({code for _, code in pairs}):
            return False
    if np.bincount(labels.codes).min() >= _FEWEST_OF_A_CLASS:
        return True
    numbers = [(written_number(value), written_number(str(labels.values[code]))) for value, code in pairs]
    if len(pairs) < _MANY_NAMES or any(None in pair for pair in numbers):
        return False
    centred = np.array(numbers, np.float64) - np.mean(numbers, 0)  # type: ignore[arg-type]
    centred /= abs(centred).max(0, initial=np.finfo(np.float64).tiny)  # squares of 1e200 and 1e-200 are no numbers
    squares = centred.T @ centred
    return bool(squares[0, 1] ** 2 > squares[0, 0] * squares[1, 1] * (1 - 2e-9))


def one_hot(table: Frame, place: int, labels: Labels) -> list[str]:
    """The columns next to the labels, which stand at ``place``, that with them have a single 1 in each row, as classes
    in columns of their own; else none."""
    columns = [*table.columns.items()]
    for beside in (columns[:place][::-1], columns[place:]):
        ones, found = _ones(labels), list[str]()
        for name, column in beside:
            if ones is None or ones.all() or column.dtype.kind not in "biufO":
                break
            more = _ones(distinct(column.tolist() if column.dtype == object else column))
            if more is None or (ones & more).any():
                break
            ones, found = ones | more, [*found, str(name)]
        if ones is not None and ones.all() and len(found) > 1:
            return [name for name in map(str, table.columns) if name in found]
    return []


def _ones(labels: Labels) -> np.ndarray | None:
    """Which rows have a 1, where all have 0 or 1; else None."""
    numbers = [feature(str(value)) for value in labels.values[:_FEW_SPELLINGS]]
    few = len(numbers) == len(labels.values) and {*numbers} <= {0, 1}
    return np.array(numbers)[labels.codes] == 1 if few else None


def as_plain_numbers(labels: Labels) -> Labels:
    """Labels with many different numbers as people write them, $1,250 or 12 %, in digits; other labels unchanged."""
    numbers = {text: written_number(text) for text in map(str, labels.values)}
    unlike = len(numbers) <= _MANY_NAMES or None in numbers.values() or not is_text(labels)
    if unlike or kind_of(dict.fromkeys(numbers, 1))[:2] != ("number", None):
        return labels
    return Labels([*map(str, numbers.values())], labels.codes)


def _odd_label(labels: Labels) -> int | None:
    """The code of a label that is missing, or is no number, where the others are numbers; or None.

    Numbers beside a few texts are classes only where they are few, too.
    """
    texts = [*map(str, labels.values)]
    gaps = [k for k, text in enumerate(texts) if is_gap(text) or abs(number(text) or 0) == np.inf]
    numbers = sum(number(text) is not None for k, text in enumerate(texts) if k not in gaps)
    if numbers and gaps and numbers + len(gaps) == len(texts):
        return gaps[0]
    if len(texts) <= _MANY_NAMES or (numbers and numbers <= _MANY_NAMES):
        return None
    kind, text, _ = kind_of(dict(zip(texts, np.bincount(labels.codes, minlength=len(texts)).tolist())))
    return texts.index(text) if text is not None and kind == "number" else None


def checked(
    labels: Labels, task: str, place: Callable[[int], str] = "row {} (counted from 0)".format
) -> tuple[Labels, tuple[str, ...]]:
    """(the labels, numbers in digits; what the user is told of them). ``place`` says where a row stands.

    InputError for a label that is missing, or is no number, where the others are numbers.
    """
    labels = as_plain_numbers(labels)
    wrong = _odd_label(labels)
    if wrong is not None and ((gap := is_gap(text := str(labels.values[wrong]))) or task != "classification"):
        rows = np.flatnonzero(labels.codes == wrong)
        what, remedy = ("is missing", "") if gap else ("is no number", "mend it, or --task classification, or ")
        where = f" in {rows.size:,} of {len(labels.codes):,} rows" if rows.size > 1 else ""
        if not gap and not any(number(str(value)) is not None for value in labels.values):
            raise InputError(
                f"the label of {place(rows[0])} is {text[:40]!r}, and others are written so; labels must be "
                "plain numbers, without commas, units and marks, or --task classification"
            )
        raise InputError(
            f"the label of {place(rows[0])} is {text[:40]!r}, the others are numbers; it {what}{where}: "
            f"{remedy}leave such rows out"
        )
    if are_numbers(labels, task):
        return labels, ()
    gaps = [k for k, value in enumerate(labels.values) if value != "" and is_missing(str(value))]
    if len(gaps) == len(labels.values):
        return labels, ()
    notes = [
        f"{labels.values[k]!r}, the label of {np.count_nonzero(labels.codes == k):,} rows, is a class like others; "
        "leave them out if it is none"
        for k in gaps
    ]
    return labels, tuple(notes)


def _is_time(text: str) -> bool:
    """Whether the text is a date or a time of day."""
    return written_date(text) is not None or (":" in text and written_number(text) is not None)


def _has_decimals(labels: Labels) -> bool:
    numbers = map(number, _present(labels))
    return any(value is not None and not value.is_integer() for value in numbers)


def is_text(labels: Labels) -> bool:
    return any(number(text) is None for text in _present(labels))


def _present(labels: Labels) -> list[str]:
    """The distinct values without gaps."""
    return [text for text in map(str, labels.values) if not is_missing(text)]


def _numbered(labels: Labels) -> bool:
    """Whether integers, counted in their smallest step, leave out less than half: 0 to 9, -1 and 1, 10, 20, 30."""
    numbers = sorted({float(text) for text in _present(labels)})
    step = min((high - low for low, high in pairwise(numbers)), default=1.0)
    return numbers[-1] - numbers[0] < 2 * len(numbers) * step


def _fewer(first: Labels, last: Labels) -> int | None:
    """Which of two columns of integers, 0 or 1, has classes where the other clearly has measurements; or None."""
    for end, labels, others in ((0, first, last), (1, last, first)):
        many = len(others.values) > _MEASURED or np.bincount(others.codes).min() < _OFTEN
        scattered = len(others.values) >= 3 * len(labels.values) or not _numbered(others)
        if _numbered(labels) and many and scattered:
            return end
    return None
