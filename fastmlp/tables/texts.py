"""The values of a table's column as text, numbers or dates, and which of these they are."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Mapping
from operator import itemgetter
from typing import Any

import numpy as np

from ..data.values import BOOLEANS, are_codes, date, day_first, feature, is_gap, kind_of
from ..formats import CATEGORY, DATE, NUMBER
from ..frames import Categories

_WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))\.0+")  # an integer as floats and sums of money are written
_MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d)[ T]00:00:00(?:\.0+)?")  # a day as times are written


def texts_of(values: np.ndarray) -> tuple[list[str | None], np.ndarray]:
    """(the distinct values as text, None for a gap; the number of each row's value among them, integers [n]).

    An integer becomes the same text whether it came as an integer, a float, a decimal, text or bytes; so do True and
    False, a day with or without the time 00:00, and text in each of Unicode's spellings. ValueError for lists,
    dictionaries and the like.
    """
    if values.dtype.kind in "iufb":
        different, codes = np.unique(values, return_inverse=True)
        short = different.dtype.kind == "f" and different.itemsize < 8  # 0.1, not 0.10000000149011612
        listed = (different.astype(str) if short else different).tolist()
    elif isinstance(values, Categories) and values.numbers is not None:
        there = np.bincount(values.numbers, minlength=len(values.different)) > 0
        listed = [value for value, is_there in zip(values.different, there) if is_there]
        codes = (np.cumsum(there) - 1)[values.numbers]
    else:
        rows = (values.astype("datetime64[s]").astype(str) if values.dtype.kind == "M" else values).tolist()
        try:
            listed, codes = _numbered(rows)
        except TypeError:  # of the values that are no keys
            held = next(type(row).__name__ for row in rows if not isinstance(row, Hashable))
            raise ValueError(
                f"holds values of the type {held}; each must be a number, a text or a date: give what is in them "
                "columns of their own"
            ) from None
    return [*map(_text_of, listed)], codes.reshape(len(values))


def _text_of(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")  # different bytes stay so
    if isinstance(value, str):
        text = str.__str__(value).strip()  # of a member of an Enum str() says another
    else:
        text = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
    if "00:00:00" in text and (midnight := _MIDNIGHT.fullmatch(text)):
        text = midnight[1]
    if is_gap(text):
        return None
    if text in BOOLEANS:
        return str(BOOLEANS[text] > 0)
    return whole[1] if (whole := _WHOLE.fullmatch(text)) else unicodedata.normalize("NFC", text)


def _numbered(rows: list[Any]) -> tuple[list[Any], np.ndarray]:
    """(the distinct values in the order of their first rows, the number of each row's value)."""
    numbers: defaultdict[Any, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    # 10,000 rows take 129 us, where np.fromiter takes 198 of map's integers: threads share the time of Python itself.
    codes = itemgetter(*rows)(numbers) if len(rows) > 1 else [numbers[row] for row in rows]
    few = len(numbers) <= 256
    return list(numbers), np.frombuffer(bytes(codes), np.uint8) if few else np.fromiter(codes, np.int64, len(rows))


def counts_of(values: np.ndarray) -> dict[str, int]:
    """{text: its number of rows}, without gaps."""
    texts, codes = texts_of(values)
    counts: dict[str, int] = {}
    for text, count in zip(texts, np.bincount(codes, minlength=len(texts)).tolist()):
        if text is not None:
            counts[text] = counts.get(text, 0) + count
    return counts


def as_numbers(values: np.ndarray) -> np.ndarray:
    """float64 [n], NaN for gaps, durations in days. ValueError for a value that is no finite number."""
    if values.dtype.kind == "m":
        if np.datetime_data(values.dtype)[0] in ("Y", "M"):  # of as many days as on the mean
            values = values.astype("timedelta64[s]")
        return values / np.timedelta64(1, "D")
    if values.dtype.kind in "iufb":
        return _finite(values.astype(np.float64))
    texts, codes = texts_of(values)
    numbers = [np.nan if text is None else feature(text) for text in texts]
    if None in numbers:
        raise ValueError(f"holds {str(texts[numbers.index(None)])[:40]!r}, which is no number")
    return _finite(np.array(numbers, np.float64))[codes]


def _finite(numbers: np.ndarray) -> np.ndarray:
    """The numbers. ValueError where one is infinite."""
    if np.isinf(numbers).any():
        raise ValueError(
            f"holds {numbers[np.isinf(numbers)][0]}, which is not finite; where there is no number leave a gap"
        )
    return numbers


def as_dates(values: np.ndarray, first: bool | None = None) -> np.ndarray:
    """datetime64[s] [n], NaT for gaps, dates with a zone in UTC. ValueError for a value that is no date.

    ``first`` says whether the day stands before the month, where either number may be the day; None: all values decide.
    """
    if values.dtype.kind == "M":
        return values.astype("datetime64[s]")
    texts, codes = texts_of(values)
    first = day_first([text for text in texts if text is not None]) if first is None else first
    gap = np.datetime64("NaT", "s")
    dates = [gap if text is None else date(text, first) for text in texts]
    return np.array(dates, "datetime64[s]")[codes]


def guessed(values: np.ndarray, counts: Mapping[str, int]) -> str:
    """A column's kind, by its type or its texts' ``counts``. ValueError for numbers or dates and a few other texts."""
    kinds = {"i": NUMBER, "u": NUMBER, "f": NUMBER, "m": NUMBER, "M": DATE, "b": CATEGORY}
    said: Any = values.dtype.metadata or {}
    known: str | None = said.get("kind", kinds.get(values.dtype.kind))
    if known is not None:
        return known
    kind, odd, _ = kind_of(counts)
    if odd is not None:
        cure = "mend it, or say that it is a category"
        raise ValueError(f"holds {odd[:40]!r}, which is no {kind} as its others are; {cure}")
    return CATEGORY if kind == NUMBER and are_codes(counts) else kind
