"""Decimal numbers out of text, whole arrays at a time: what the CSV and the svmlight readers are fast by.

Eight digits become an integer by three multiplications of a 64-bit word (Lemire, "Number parsing at a gigabyte per
second", 2021). An integer to 2**53 and a power of ten to 10**22 are exact in float64, so dividing one by the other
rounds once, correctly (Clinger, "How to read floating point numbers accurately", 1990); larger integers take a second
step. All else goes through float().
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

CHUNK_BYTES = 1 << 20  # parsed at a time: numbers of six digits at 142 MB/s; 1 << 18 gave 117, 1 << 23 83
_PADDING = 16  # bytes before the first field, so that looking back from its end stays inside
_POINT, _MINUS, _NEWLINE, _ZERO = b".-\n0"
_MOST_DIGITS = 19  # that fit in 64 bits
_ROUNDING, _LARGEST_EXACT = 2.0**-24, 2.0**24  # of float32: relative, and of integers
_POWERS = 10 ** np.arange(_MOST_DIGITS + 1, dtype=np.uint64)


@dataclass(frozen=True, eq=False)
class Fields:
    """The fields data[start[k]:end[k]] of a text; the separator after each is ``kind[k]``.

    A field is ``plain`` if it is only digits, before and after its point at ``dot`` (``end`` where there is none), and
    a minus in front where it is ``negative``.
    """

    data: np.ndarray
    start: np.ndarray
    end: np.ndarray
    kind: np.ndarray
    dot: np.ndarray
    negative: np.ndarray
    plain: np.ndarray

    def __len__(self) -> int:
        return len(self.end)

    def texts(self, which: np.ndarray) -> list[bytes]:
        """The texts of some fields."""
        content = self.data.tobytes()
        return [content[a:b] for a, b in zip(self.start[which].tolist(), self.end[which].tolist())]


def chunks(body: bytes, size: int) -> Iterator[np.ndarray]:
    """``body`` in pieces of whole lines, of about ``size`` bytes; the last ends in a newline, too."""
    data = np.frombuffer(body, np.uint8)
    start = 0
    while start < len(data):
        stop = body.find(b"\n", min(start + size, len(data)) - 1) + 1
        yield data[start:stop] if stop else np.append(data[start:], np.uint8(_NEWLINE))
        start = stop or len(data)


def split_fields(chunk: np.ndarray, separators: bytes) -> Fields:
    """The fields of a chunk (uint8, the last byte a separator), empty ones too."""
    data = np.concatenate((np.zeros(_PADDING, np.uint8), chunk))
    marks = np.flatnonzero(chunk - np.uint8(_ZERO) > 9) + _PADDING  # all but digits
    signs = data[marks]
    separates = np.zeros(256, bool)
    separates[list(separators)] = True
    ends = np.flatnonzero(separates[signs])  # among the marks
    inside = np.diff(ends, prepend=-1) - 1
    end = marks[ends]
    start = np.concatenate(([_PADDING], end[:-1] + 1))
    dotted = (inside > 0) & (signs[ends - 1] == _POINT)
    negative = (inside > dotted) & (data[start] == _MINUS)
    dot = np.where(dotted, marks[ends - 1], end)
    digits = end - start - inside
    plain = (inside == dotted.astype(np.int64) + negative) & (digits > 0) & (digits <= _MOST_DIGITS)
    return Fields(data, start, end, signs[ends], dot, negative, plain)


def decimals(fields: Fields, wanted: np.ndarray, said: Mapping[bytes, float] | None = None) -> np.ndarray | None:
    """float64 [N]: the numbers that the ``wanted`` (bool [N]) fields say, in digits or as ``said`` has it.

    None when one of them says no finite number.
    """
    words = np.ndarray((len(fields.data) - 7,), "<u8", fields.data, strides=(1,))  # eight bytes from each byte on
    places = np.maximum(fields.end - fields.dot - 1, 0)
    whole = _integer(words, fields.dot, fields.dot - fields.start - fields.negative)
    shift = np.where(fields.plain, places, 0)
    mantissa = whole * _POWERS[shift] + _integer(words, fields.end, places)
    values = mantissa / _POWERS[shift].astype(np.float64)
    sure = mantissa <= 2**53
    if (far := np.flatnonzero(fields.plain & ~sure)).size:
        values[far], sure[far] = _long_quotient(mantissa[far], _POWERS[shift[far]].astype(np.float64))
    np.negative(values, out=values, where=fields.negative)
    odd = np.flatnonzero(wanted & ~(fields.plain & sure))
    if odd.size:
        texts = fields.texts(odd)
        try:
            values[odd] = [float(text) if said is None else float(said.get(text, text)) for text in texts]
        except ValueError:
            return None
        if not np.isfinite(values[odd]).all() or b"_" in b"".join(texts):  # Python's own 1_000
            return None
    return values


def _long_quotient(mantissa: np.ndarray, power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(float64 nearest to mantissa / power, where that is sure): the quotient's remainder says how to correct it.

    quotient * power is taken exactly, as a sum of two (Dekker, "A floating-point technique for extending the available
    precision", 1971). The correction is off by a few parts in 2**53: sure is what more of it would not change.
    """
    high = mantissa.astype(np.float64)
    low = (mantissa - high.astype(np.uint64)).view(np.int64).astype(np.float64)
    quotient = high / power
    product = quotient * power
    (a, b), (c, d) = _halves(quotient), _halves(power)
    remainder = (high - product) - (((a * c - product) + a * d + b * c) + b * d) + low
    correction = remainder / power
    nearest = quotient + correction
    less, more = (quotient + correction * (1 + part * 2.0**-49) for part in (-1, 1))
    return nearest, (less == nearest) & (more == nearest)


def _halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x as a sum of two numbers of 26 bits, whose products are exact."""
    scaled = x * (2.0**27 + 1)
    high = scaled - (scaled - x)
    return high, x - high


def _integer(words: np.ndarray, end: np.ndarray, length: np.ndarray) -> np.ndarray:
    """uint64 [N]: the last ``length`` digits before ``end``, at most 24 of them."""
    value = _eight(words, end, length)
    for digits in (8, 16):
        far = np.flatnonzero(length > digits)
        if far.size:
            value[far] += np.uint64(10**digits) * _eight(words, end[far] - digits, length[far] - digits)
    return value


def _eight(words: np.ndarray, end: np.ndarray, length: np.ndarray) -> np.ndarray:
    """uint64 [N]: the last ``length`` digits before ``end``, but at most eight."""
    word = words[end - 8] & np.uint64(0x0F0F0F0F0F0F0F0F)
    before = (64 - 8 * np.clip(length, 0, 8)).astype(np.uint64)  # bits of what stands before the digits
    word = (word >> before) << before
    word = word * np.uint64(10) + (word >> np.uint64(8))  # pairs of digits
    mask = np.uint64(0x000000FF000000FF)
    low = (word & mask) * np.uint64(0x000F424000000064)  # 100 + (1000000 << 32)
    high = ((word >> np.uint64(16)) & mask) * np.uint64(0x0000271000000001)  # 1 + (10000 << 32)
    return (low + high) >> np.uint64(32)


def as_single(X: np.ndarray) -> np.ndarray:
    """Numbers [N, I] or [N] as float32, or as float64 where that loses something.

    So it does where a number leaves its range (becomes infinite, or 0 without being it), and in columns far from zero:
    what rounding moves is not to be more than a thousandth of what sets a column's numbers apart.
    """
    with np.errstate(over="ignore", under="ignore"):
        single = X.astype(np.float32)
    if X.dtype.kind == "f" and X.dtype.itemsize < 8:
        return single
    fits = bool(np.isfinite(single).all() and ((single == 0) == (X == 0)).all())
    if fits and X.ndim == 1:  # of a sparse matrix, whose columns are not looked at one by one
        fits = bool((single == X)[np.abs(single) >= _LARGEST_EXACT].all())
    elif fits and X.size:
        low, high = X.min(0).astype(np.float64), X.max(0).astype(np.float64)
        fits = bool((np.maximum(-low, high) * _ROUNDING <= (high - low) / 1000)[low < high].all())
    return single if fits else np.ascontiguousarray(X, np.float64)
