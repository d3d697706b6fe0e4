"""Reads fields of tables as people write them: numbers, dates, gaps."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

BOOLEANS = dict.fromkeys(("true", "True", "TRUE"), 1.0) | dict.fromkeys(("false", "False", "FALSE"), 0.0)
# In lower case: words for no and yes.
WORDS = {
    word: k for pair in ("false true", "0 1", "no yes", "n y", "f t", "off on") for k, word in enumerate(pair.split())
}
# In lower case. A label may be one of the second: + and - are classes.
MISSING = ("", "?", "na", "n/a", "nan", "-nan", "nat", "<na>", "#n/a", "#na", "null", "none", "nil", r"\n")
MARKS = (
    "-", "--", "---", "\u2013", "\u2014", ".", "#div/0!", "#name?", "#null!", "#num!", "#ref!", "#value!", "1.#ind",
    "-1.#ind", "1.#qnan", "(null)", "[null]", "n.a.", "missing", "not available", "0000-00-00", "0000-00-00 00:00:00",
)  # fmt: skip
GAPS = frozenset((*MISSING, *MARKS))
MERGED = 2**53  # of integers that are larger, such as ids, several are one float64
_FEW_ODD = 0.05  # of the fields of a column, or of its different ones: mistakes rather than categories
_FEW_WORDS = 4  # that say why there is no number
_MOST_UNITS = 3  # kg and g, say; of more they are parts of names
# Of a number that says that there is none: its share and number of rows, how far it is from the others in their range,
# and how many different others there are, each at least.
_OFTEN, _FEWEST, _FAR, _FEWEST_OTHERS = 0.01, 5, 0.1, 10
_MANY = 20  # different numbers or dates beside which a few texts are no categories

# What each pattern of a number is made of, here, in ``dialect`` and in ``header``. The patterns serve for text and for
# its bytes: they hold no sets of characters that are several bytes.
CURRENCIES = "$€£¥₹₩₽₺₱₫฿"
MONEY = (
    rf"(?:[A-Z]{{0,2}}(?:{'|'.join(map(re.escape, CURRENCIES))})"
    r"|(?:USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|SEK|NOK|DKK|PLN|BRL|Rs\.?)(?![A-Za-z]))"
)
BLANK = "(?: |'|’|\u00a0|\u2003|\u2007|\u2009|\u202f)"  # between groups of digits, and between a number and its unit
EXPONENT = r"(?:[eE][+-]?\d+)?"


def grouped(mark: str, next_mark: str = "") -> str:
    """The pattern of digits in groups of three, as thousands are written, with such marks between."""
    return rf"\d{{1,3}}{mark}\d{{3}}(?:{next_mark or mark}\d{{3}})*"


_NUMBER = re.compile(
    rf"[+-]?(?:\d+|{grouped('[.,]')})(?:[.,]\d*)?(?:[dD][+-]?\d+|{EXPONENT})"
)  # of any country, or of Fortran
# With a unit or a mark such as *, before or behind it; SAP's minus; ± 0.5 and × 10^3; €1.5M.
_MARKED_NUMBER = re.compile(
    rf"([<>≤≥~≈]?|{MONEY}) ?[+-]?\d[\d.,'\s]*"
    r"(?:([^\W\d_][²³/\w]*\.?|[^\w\s/:-][^\W\d_]?|-|\[\d\]|\(\d\)|)|(±|[×x*·] ?10(?:\^|(?=[-+]))) ?[-+]?[\d.,]+)"
)
_MARKED = re.compile(
    rf"(?P<open>\()?(?P<first>{MONEY})? ?(?P<sign>[-+−])?(?P<before>{MONEY})? ?"
    rf"(?P<whole>\d*|{grouped(f'(?P<between>,|{BLANK})', '(?P=between)')}|\d\d?(?:,\d\d)+,\d{{3}})"  # lakhs, too
    rf"(?P<decimals>\.\d*)?\s?(?P<after>%|{MONEY})?(?(open)\))"
)
_DURATION = re.compile(  # 1:02:03.5, the minutes and seconds 2:03.5, or a time of day
    r"(?:(?P<days>-?\d+) days?,? ?\+?|(?P<sign>[-+−]))?"
    r"(?:(?P<hours>\d+):(?P<minutes>[0-5]\d)(?::(?P<seconds>[0-5]\d(?:\.\d*)?)|(?P<part>\.\d+))?)?"
    r"(?: ?(?P<half>[ap])\.?m\.?)?",
    re.IGNORECASE,
)

_SHORT_TIME, _LAP = re.compile(r"[-+−]?\d+:\d\d"), re.compile(r"[-+−]?\d+:\d\d\.\d+")

_MONTH = (
    "(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?)"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY = r"0?[1-9]|[12]\d|3[01]"
_CENTURY = r"(?P<year>1[5-9]\d\d|20\d\d)"
_DATES = [
    rf"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{{0,6}},? )?{day}"
    r"(?:(?:[t:]|,? +)(?P<hour>\d\d?(?=:)|\d\d):?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,]\d*)?)?"
    r"(?: ?(?P<half>[ap])\.?m\.?)? ?(?P<zone>z|(?:utc|gmt)?[+-](?:\d\d(?::?\d\d)?|\d)|utc|gmt)?"
    r"(?: ?(?:[a-z]{3,4}|\[[\w/+-]+\]))?)?"  # CET: as the clocks there say
    for day in (
        r"(?P<year>\d{4})(?P<mark>[-/.:])(?P<month>\d\d?)(?P=mark)(?P<day>\d\d?)",
        r"(?P<one>\d\d?)(?P<mark>[-/.])(?P<other>\d\d?)(?P=mark)(?P<year>\d{4})",
        rf"(?P<one>{_DAY})(?P<mark>[-/])(?P<other>{_DAY})(?P=mark)(?P<year>\d\d)",
        rf"(?=\d\d\.\d\d\.)(?P<one>{_DAY})(?P<mark>\.)(?P<other>{_DAY})\.(?P<year>\d\d)",
        rf"(?P<day>\d\d?)(?:st|nd|rd|th)?[-./ ]*{_MONTH}[-./, ]*(?P<year>\d{{4}}|\d\d)",
        rf"{_MONTH}[-. ]*(?P<day>\d\d?)(?:st|nd|rd|th)?,? +(?P<year>\d{{4}})",
        rf"{_MONTH}[-., ]*(?P<year>\d{{4}})",
        rf"{_CENTURY}-(?P<month>0[1-9]|1[0-2])",  # 1970-71 is a season
        rf"{_CENTURY}(?P<month>\d\d)(?P<day>\d\d)",
    )
]  # fmt: skip


@cache
def _date_patterns() -> list[re.Pattern[str]]:
    """Compiled when the first date may be met: that takes as long as all else that is imported for pixels."""
    return [re.compile(text, re.IGNORECASE) for text in _DATES]


def is_gap(text: str) -> bool:
    """Whether a feature's field says that its value is missing."""
    return text.lower() in GAPS


def is_missing(text: str) -> bool:
    """Whether a field of any column does: of labels - and + are classes."""
    return text.lower() in MISSING


def number(text: str) -> float | None:
    """float(text), but for Python's own 1_000."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def written_number(text: str) -> float | None:
    """``number``, and numbers as people write them: 12.5 % (0.125), $1,250, 1'250.00, (3.20) for -3.20, 12:30 in days.

    None where a comma may stand before decimals: 1,250.
    """
    if (plain := number(text)) is not None:
        return plain
    if not any(map(str.isdigit, text)):
        return None
    if found := _DURATION.fullmatch(text):
        days, hours, minutes, seconds, part = (
            float(found[k] or 0) for k in ("days", "hours", "minutes", "seconds", "part")
        )
        if found["half"]:
            hours = hours % 12 + 12 * (found["half"].lower() == "p")
        time = ((seconds / 60 + minutes + part) / 60 + hours) / 24
        time = time / 60 if found["part"] else time
        return days + (-time if found["sign"] in ("-", "−") else time)
    if (found := _MARKED.fullmatch(text)) is None:
        return None
    whole, between, decimals = found["whole"], found["between"], found["decimals"] or ""
    money = found["first"] or found["before"] or ""
    sure = decimals or whole.count(",") > 1 or (money.endswith((*"$£¥₩",)) and money != "R$")
    if between == "," and not sure:
        return None
    size = float("".join(filter(str.isdigit, whole)) + decimals)
    signed = -size if found["open"] or found["sign"] in ("-", "−") else size
    return signed / 100 if found["after"] == "%" else signed


def is_number_of_some_country(text: str) -> bool:
    """Whether the text is a number in the notation of any country, such as 1,250 or 1.250,00."""
    return number(text) is not None or bool(_NUMBER.fullmatch(text.strip(f" %{CURRENCIES}")))


def feature(text: str) -> float | None:
    """The number in a feature's field; True is 1 and False is 0, as pandas and R write columns of zeros and ones."""
    return BOOLEANS[text] if text in BOOLEANS else written_number(text)


def truth(text: str) -> int | None:
    """1 for a word that means yes, 0 for one that means no, else None."""
    return WORDS.get(text.lower())


def is_code(text: str) -> bool:
    """Whether the text is digits that would lose zeros as a number: 02139."""
    return text[:1] == "0" and len(text) > 1 and text.isdecimal()


def are_codes(counts: Mapping[str, int]) -> bool:
    """Whether numbers, as {text: count}, are codes: most have as many digits as one that begins with 0, as 02139 does.

    A single 01 among 5000 and 12.5 is a number.
    """
    lengths = {len(text) for text in counts if is_code(text)}
    fitting = sum(count for text, count in counts.items() if text.isdigit() and len(text) in lengths)
    return bool(lengths) and 2 * fitting >= sum(counts.values())


# -- dates -------------------------------------------------------------------------------------------------------------


def written_date(text: str) -> re.Match[str] | None:
    """The parts of what looks like a date, with or without a time."""
    return next((found for pattern in _date_patterns() if (found := pattern.fullmatch(text))), None)


def day_first(texts: list[str]) -> bool | None:
    """Whether the day stands before the month in dates such as 31.01.2024 and 01/31/2024; None where there are none.

    With points it does. Else a number above 12 tells it, or a 1 in all of several dates, which is a month's first day.
    ValueError where nothing does, and where the first number may be the year, as in 24-01-31.
    """
    found = [match for text in texts if (match := written_date(text)) and "one" in match.re.groupindex]
    if not found:
        return None
    pairs = [(int(match["one"]), int(match["other"])) for match in found]
    first, second = ({*numbers} for numbers in zip(*pairs))
    years = {_year(match["year"]) for match in found if match["mark"] == "-" and len(match["year"]) == 2}
    year_first = len(first) < len(years) and max(second) <= 12 and {year - 2000 for year in years} <= {*range(1, 32)}
    if not year_first:
        if max(first) > 12 or all(match["mark"] == "." for match in found):
            return True
        if max(second) > 12 or (second == {1} != first):
            return False
        if first == {1} != second:
            return True
    (one, other), last = pairs[0], found[0]["year"]
    year, month, day = (_year(str(one)), other, int(last)) if year_first else (_year(last), one, other)
    raise ValueError(
        f"holds dates such as {found[0].string[:40]!r}, of which either number "
        f"may be the {'year' if year_first else 'month'}; "
        f"it must have them as {year}-{month:02}-{day:02}, or be left out"
    )


def _year(text: str) -> int:
    """A year of two digits as POSIX has it."""
    return int(text) + (len(text) == 2) * (1900 if int(text) > 68 else 2000)


def date(text: str, first: bool | None) -> np.datetime64:
    """datetime64[s] of a date; one with a zone in UTC. ValueError for anything else.

    Where a number may be the day's or the month's, the day's is the ``first``.
    """
    if found := written_date(text):
        part = {"month": "1", "day": "1", "one": "", "other": "", "name": ""} | found.groupdict(default="")
        if part["one"]:
            part["day"], part["month"] = (part["one"], part["other"])[:: 1 if first else -1]
        if part["name"]:
            part["month"] = str(1 + _MONTHS.index(part["name"][:3].lower()))
        year, hour, zone = _year(part["year"]), int(part["hour"] or 0), part["zone"].lower().lstrip("utcgm")
        if part["half"]:
            hour = hour % 12 + 12 * (part["half"].lower() == "p")
        # Minutes from UTC.
        east = int(zone[:3]) * 60 + int(zone[0] + (zone[3:].lstrip(":") or "0")) if zone[:1] in ("+", "-") else 0
        try:
            return np.datetime64(
                f"{year:04}-{part['month']:0>2}-{part['day']:0>2}T{hour:02}:{part['minute'] or '00'}:"
                f"{part['second'] or '00'}", "s",
            ) - np.timedelta64(east, "m")  # fmt: skip
        except ValueError:  # the 31st of February
            pass
    raise ValueError(f"holds {text[:40]!r}, which is no date such as 2024-01-31 or 2024-01-31 12:30")


def _have_marks(texts: list[str]) -> bool:
    """Whether the texts are numbers with one thing, or few, before or behind: letters only if there are many texts."""
    marks = {found.groups("") if (found := _MARKED_NUMBER.fullmatch(text)) else ("", "", "") for text in texts}
    letters = any(text[-1].isalpha() for text in texts)  # 12A is a name
    return len(marks) <= _MOST_UNITS and ("", "", "") not in marks and (len(texts) > _MANY or not letters)


def _unit(text: str) -> str:
    """What a number is written in, if anything: %, a currency, or : for a time."""
    if number(text) is not None:
        return ""
    return ":" if ":" in text or "day" in text else re.sub(r"[\d\s.,'’()+−-]+", "", text)


def _odd_number(numbers: Mapping[str, float]) -> str | None:
    """The first text of an infinity, or in another unit than the one before, as 15 or $3 after 12 %. A 0 is in any
    unit, and prices go without a currency. Hours and minutes seem to be minutes and seconds beside 1:30.5 and, if they
    are a day or more, beside 1:02:03."""
    units: dict[str, str] = {}
    times = [text for text in numbers if ":" in text]
    short, laps = ([text for text in times if pattern.fullmatch(text)] for pattern in (_SHORT_TIME, _LAP))
    if wrong := [text for text in short if laps or (abs(numbers[text]) >= 1 and len(short) < len(times))]:
        return wrong[0]
    for text, value in numbers.items():
        if math.isinf(value):
            return text
        if value:
            units.setdefault(_unit(text), text)
    if not {":", "%"} & units.keys():
        units.pop("", None)
    return [*units.values(), None, None][1]


def stand_in(numbers: np.ndarray) -> float | None:
    """The one of a column's numbers [n] that seems to say that there is none, as -200 and 9999 do: it comes often, far
    below all others, none of which is negative, or far from them and of nines alone, as -99.9."""
    numbers = numbers.astype(np.float64)  # bytes have no infinity
    for value in (float(numbers.min(initial=np.inf)), float(numbers.max(initial=-np.inf))):
        nines = abs(value) > 9 and {*shown(value)} <= {*"-.9"}
        if not (nines or (value.is_integer() and value < 0)):
            continue
        others = numbers[numbers != value]
        few = len(numbers) - len(others) < max(_FEWEST, _OFTEN * len(numbers))
        if few or len(np.unique(others)) < _FEWEST_OTHERS:
            continue
        if (nines or others.min() >= 0) and np.abs(others - value).min() > _FAR * np.ptp(others):
            return value
    return None


def shown(value: float) -> str:
    """A number as a file may have it: 9999999, not 1e+07; -99.9 though it was read in single precision."""
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:g}"


# -- columns -----------------------------------------------------------------------------------------------------------


def kind_of(counts: Mapping[str, int]) -> tuple[str, str | None, dict[str, Any]]:
    """("number", "date" or "category", an odd text, what each number or date is read as) of a column, as {text: count}.

    Texts are odd if they are few among numbers or dates. So are infinities, numbers whose comma may stand before
    decimals, those in another unit, and many with units or marks that are not known (12.5 kg).
    """
    texts = [text for text in counts if not is_gap(text)]
    for kind, of_it in (("number", written_number), ("date", written_date)):
        read: dict[str, Any] = {text: of_it(text) for text in texts}
        odd = [text for text in texts if read[text] is None]
        if not odd:
            return kind, _odd_number(read) if kind == "number" else None, read
        if kind == "number" and (all(map(is_number_of_some_country, odd)) or (len(texts) > _MANY and _have_marks(odd))):
            return kind, odd[0], read
        others, rows = len(texts) - len(odd), sum(counts[text] for text in odd)
        few = rows <= max(1, (sum(counts[text] for text in texts) - rows) * _FEW_ODD)
        if others and (few or (others > _MANY and len(odd) <= max(_FEW_WORDS, others * _FEW_ODD))):
            return kind, odd[0], read
    return "category", None, {}
