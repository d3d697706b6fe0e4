"""The dialects of tables in text: separators, decimal points, comments and blank lines.

pandas, R, Excel and the UCI repository each write their own. ``read_dialect`` finds which one a file is in and rewrites
it, where it must, to the one that the parsers take: UTF-8 lines of as many fields each, one separator between two.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from ..errors import InputError
from .labels import listed
from .recognise import refuse_foreign
from .values import (
    BLANK,
    EXPONENT,
    MONEY,
    feature,
    grouped,
    is_gap,
    is_missing,
    is_number_of_some_country,
    number,
    written_date,
)

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space"}  # the first of equals
_SAMPLE_BYTES = 1 << 16  # of the first lines, looked at to recognise the dialect; at least two lines
_SAMPLE_FIELDS = 1000  # of a line
_MOST_LINES_OF_A_ROW = 100
_FEWEST_ROWS = 10  # of text alone, of which none has what the first line has: then that is a header
_OPEN_QUOTE = re.compile(rb'(?:^|[,;\t| ]) *"(?:[^"]|"")*$')  # as a field begins, not 12" for inches
_COMMENT = (b"#", b"%")
_EMPTY_LINES = re.compile(rb'(?:(?:[ \t,;|]|"")*\n)+')
_SEPARATOR_LINE = re.compile(rb'"?sep=([,;|\t ])"?[ \t]*\n', re.IGNORECASE)  # Excel's own
_BLANKS = re.compile(rb'("[^"\n]*")|[ \t]+')
_MARKS = re.compile(r"[;\t|]")  # in a field, they hint at another separator
_SEPARATES = re.compile(r"[,;\t|]")
# Between the header and the rows, as SQL Server, psql and Markdown draw it; -- alone, or between commas, is a gap.
_RULE = re.compile(rb"([^\n]*\n)(?=[^\n]*(?:---|--[+|]))[-+|:=,;\t ]+\n")
_LONE_TAB = re.compile(rb"\S\t(?=\S)")  # where blanks separate, tabs stand among others
_SINGLE_QUOTED = re.compile(rb"'(?<![^\n,;\t| ]')([^'\n]*)'(?=[ \t]*(?:[\n,;|]|$))")  # fields, as Weka writes them
# ="20.20", as Excel is made to keep text as it stands.
_FORMULA = re.compile(rb'(?<![^\n,;\t|])(?:="([^"\n]*)"|"=""([^"\n]*)""")(?=[\n,;\t|]|$)')
_MONEY = f"(?:%|{MONEY})"
_GROUPED, _WITH_COMMA = grouped(r"\."), rf"(?:{grouped(BLANK)}|\d*),\d+{EXPONENT}"
_GROUPED_WITH_COMMA, _MILLIONS = rf"{_GROUPED},\d+", rf"{_GROUPED}\.\d{{3}}"
_THOUSANDS = re.compile(rf"(?!0){grouped(',')}".encode())
_WORD = re.compile(rb"[A-Za-z\x80-\xff]+")


@dataclass(frozen=True)
class Table:
    """``rows`` are the file's lines without comments, the first of them ``fields``; its number in the file is ``line``.

    ``below`` are the fields of some lines after it, ``start`` is where these begin in ``rows``. ``comment`` are names
    in a comment line above, as np.savetxt writes its header. ``notes`` tell the user how the lines were written.
    """

    rows: bytes
    fields: list[str]
    below: list[list[str]]
    start: int
    delimiter: str
    line: int
    comment: list[str] | None = None
    notes: tuple[str, ...] = ()


def read_dialect(text: bytes) -> Table:
    """The table in ``text``, whose lines end in newlines. InputError or csv.Error for what is no text or no table."""
    text, notes = _in_utf8(text)
    rows = without_blank_lines(text)
    above = text.count(b"\n") - rows.count(b"\n")
    if rows.endswith((b"\n\n", b"\x1a")):
        rows = rows.rstrip(b"\n\x1a")
    last_line = above + rows.count(b"\n") + 1  # of what has no newline in it: the end of the text stays where it is

    def line_of(rest: bytes) -> int:
        return last_line - rest.count(b"\n")

    rows = _in_double_quotes(rows)
    said_mark = _SEPARATOR_LINE.match(rows)
    if said_mark is not None:
        rows = without_blank_lines(rows[said_mark.end() :])
    if not rows:
        raise InputError("no rows")
    comments, rest = _leading_comments(rows)
    rest = _RULE.sub(rb"\1\n", rest, count=1) if _RULE.match(rest) else rest
    lines = _first_lines(rest) or _first_lines(rows)
    delimiter = _delimiter(lines, line_of(rest)) if said_mark is None else said_mark[1].decode()
    split = splitter(delimiter)
    if titles := _titles(_without_notes_below([*map(split, lines)])):
        said = [words for line in lines[:titles] if (words := " ".join(filter(None, split(line))))]
        notes.append(f"what stands above the table is left out: {listed(said)}")
        for _ in said:
            rest = without_blank_lines(rest.partition(b"\n")[2])
        lines = lines[titles:]
    rest, width, title = _after_comments(rest, rows, comments, lines, split)
    line = line_of(rest)
    rest = _without_comments(rest, split, width)
    if delimiter == " ":
        rest = _single_spaces(rest)
    rest = _without_empty_ends(rest, delimiter, split)
    if (with_points := _with_points(rest, delimiter)) is not rest:
        notes.append("commas are read as decimal points")
    rest, repeats = _without_repeats(with_points, split)
    if repeats:
        notes.append(f"the header comes again, {repeats:,} times, as where files are joined; those lines are left out")
    fields, *below = map(split, _first_lines(rest))
    below = [row for row in below if row != fields or _numbers(row)]  # a header again says nothing of rows
    return Table(rest, fields, below, _end(rest, 0) + 1, delimiter, line, title, tuple(notes))


def _after_comments(
    rest: bytes,
    rows: bytes,
    comments: list[tuple[bytes, int]],
    lines: list[bytes],
    split: Callable[[bytes], list[str]],
) -> tuple[bytes, int, list[str] | None]:
    """(the ``rest`` of the rows, with those before it that began as comments do; their width; names in a comment)."""
    width = max(len(fields) for fields in map(split, lines[1:] or lines))
    row = max(map(split, lines[-_FEWEST_ROWS:]), key=_numbers) if comments else []  # the last ones may have gaps
    while comments and (not rest or _are_alike(split(comments[-1][0]), row)):
        rest = rows[comments.pop()[1] :]  # a row with such a label
    above = split(comments[-1][0].lstrip(b"#% \t")) if comments else []
    return rest, width, above if len(above) == width and not _numbers(above) else None


def _in_double_quotes(rows: bytes) -> bytes:
    """The rows with double quotes in place of single ones and of Excel's formulas."""
    if b"'" in rows and b'"' not in rows:
        rows = _SINGLE_QUOTED.sub(rb'"\1"', rows)
    return _FORMULA.sub(rb'"\1\2"', rows) if b'="' in rows else rows


def _without_repeats(rows: bytes, split: Callable[[bytes], list[str]]) -> tuple[bytes, int]:
    """(the rows with blank lines where the header comes again, how often it does).

    The first line is one where a column below it is all numbers, or where nothing in it is in other rows.
    """
    end = _end(rows, 0)
    head = rows[:end]
    if b"\n" + rows[: end + 1] not in rows or _numbers(names := split(head)):
        return rows, 0
    below = [row for row in map(split, _first_lines(rows)[1:]) if row != names]
    columns = [(name, [row[k] for row in below if len(row) == len(names)]) for k, name in enumerate(names)]
    over_text = [column for name, column in columns if feature(name) is None]  # not over True
    numbers = any(len(column) == len(below) and None not in map(feature, column) for column in over_text)
    alone = len(below) >= _FEWEST_ROWS and len(names) > 1 and not any(name in column for name, column in columns)
    if not (numbers or alone):
        return rows, 0
    lines = rows[end:].split(b"\n")
    return head + b"\n".join(b"" if line == head else line for line in lines), lines.count(head)


def _in_utf8(text: bytes) -> tuple[bytes, list[str]]:
    """(``text`` in UTF-8, what to say if some was not). InputError for what is no text."""
    refuse_foreign(text[:_SAMPLE_BYTES])
    if b"\0" in text[: _SAMPLE_BYTES * 16]:
        raise InputError("not text (byte 0x00)")
    if text.isascii():
        return text, []
    try:
        text.decode()
        return text, []
    except UnicodeDecodeError as error:
        start = error.start
    line = text.count(b"\n", 0, start) + 1
    word = next(found for found in _WORD.finditer(text, text.rfind(b"\n", 0, start) + 1) if found.end() > start)
    try:
        read, sample = map(_of_windows, (text, word[0]))
    except UnicodeDecodeError:
        raise InputError(f"line {line}: not text in UTF-8 (byte 0x{text[start]:02x}); save it as UTF-8") from None
    return read.encode(), [f"line {line} is not in UTF-8 but, it seems, in Windows-1252: {sample[:40]!r}"]


def _of_windows(text: bytes) -> str:
    """The text with characters of Windows-1252, which Excel writes, for the bytes that are none in UTF-8."""
    escaped = text.decode(errors="surrogateescape")
    return re.sub("[\udc80-\udcff]", lambda found: found[0].encode(errors="surrogateescape").decode("cp1252"), escaped)


def without_blank_lines(text: bytes) -> bytes:
    """The text without lines of nothing but separators in front."""
    match = _EMPTY_LINES.match(text)
    return text[match.end() :] if match else text


def _leading_comments(rows: bytes) -> tuple[list[tuple[bytes, int]], bytes]:
    """(the lines at the beginning that begin as comments do, each with where it starts; what follows)."""
    comments, rest = [], rows
    while rest.startswith(_COMMENT):
        line, _, below = rest.partition(b"\n")
        comments.append((line, len(rows) - len(rest)))
        rest = without_blank_lines(below)
    return comments, rest


def _first_lines(rows: bytes) -> list[bytes]:
    """The first lines that are not blank, at least two if there are so many."""
    lines: list[bytes] = []
    start = 0
    while start < len(rows) and (len(lines) < 2 or start < _SAMPLE_BYTES):
        end = _end(rows, start)
        if line := rows[start:end].strip(b" \r"):
            lines.append(line)
        start = end + 1
    return lines


def _end(rows: bytes, start: int) -> int:
    """Where the line that begins at ``start`` ends, which may have newlines in quotes, as Excel writes them."""
    first = end = rows.find(b"\n", start)
    for _ in range(_MOST_LINES_OF_A_ROW):
        if end < 0 or rows.count(b'"', start, end) % 2 == 0 or not _OPEN_QUOTE.search(rows[start:end]):
            break
        end = rows.find(b"\n", end + 1)
    else:
        end = first
    return len(rows) if end < 0 else end


def splitter(delimiter: str) -> Callable[[bytes], list[str]]:
    """A function that splits a line into fields. It raises csv.Error for an impossible line."""

    def split(line: bytes) -> list[str]:
        text = line.decode("utf-8", "replace")
        if delimiter == " ":
            text = text.replace("\t", " ").strip()
        fields = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True), [])
        return [field.strip() for field in fields]

    return split


def _delimiter(lines: list[bytes], first: int) -> str:
    """The separator that makes rows of one length; of several one that makes the first line as long, then the one that
    leaves the most numbers and dates and the fewest fields of text, then few empty fields, then many fields."""
    scores: dict[str, tuple[bool, bool, int, int, int]] = {}
    failure = None
    for mark in SEPARATORS:
        split = splitter(mark)
        try:
            table = [split(line)[:_SAMPLE_FIELDS] for line in lines]
            table = _without_notes_below(table)
            titles = _titles(table)
            table = table[titles:]
        except csv.Error as error:  # a long line is one long field to the marks that it lacks
            failure = error
            continue
        fields = [field for row in table for field in row if not is_missing(field)]
        numbers = [*map(is_number_of_some_country, fields)]
        count = sum(numbers) + sum(" " in field and written_date(field) is not None for field in fields)
        if mark == " ":  # which text may hold, while it seldom holds others without one
            mixed = sum(len(_SEPARATES.findall(field)) for field, known in zip(fields, numbers) if not known)
            mixed += sum(len(_LONE_TAB.findall(line)) for line in lines)
        else:
            mixed = sum(bool(_MARKS.search(field)) for field in fields)
        lengths = [*map(len, table)]
        # Else what stands in a single column's name, or in its values, is no separator: Years Experience, 28,5.
        if min(lengths[0], max(lengths[1:], default=2)) > 1:
            alike = (
                len(set(lengths[1:])) < 2 and lengths[0] in (lengths[-1], max(2, lengths[-1] - 1)) and lengths[-1] > 1
            )
            whole = not titles and lengths[0] == lengths[-1]
            empty = sum(lengths) - len(fields)
            scores[mark] = (alike, whole, 2 * count - len(fields) - mixed, -empty, sum(lengths))
    if failure is not None and not scores:
        raise InputError(f"line {first}: {failure}")
    return max(scores, key=lambda mark: scores[mark], default="\t")


def _without_notes_below(table: list[list[str]]) -> list[list[str]]:
    """The rows without the last few that have less than half the fields, as lines of text below a table do."""
    width = max(map(len, table))
    end = next(k for k in range(len(table), 0, -1) if 2 * len(table[k - 1]) >= width)
    return table[:end] if 2 * end > len(table) else table


def _titles(table: list[list[str]]) -> int:
    """The number of titles: top rows of one field of text, or, above a header of text that no row has, with fewer
    fields than gaps, such as Date and 2024-01-31. The rows below are all of one length, at least 3."""
    width = len(table[-1])
    top = next((k for k, row in enumerate(table) if 2 * sum(map(bool, row)) >= width), 0)
    again = any(name in column for name, column in zip(table[top], zip(*table[top + 1 :])))
    named = all(table[top]) and not _numbers(table[top]) and not again
    plain = 2 * top < len(table) and all(sum(map(bool, row)) < 2 and not _numbers(row) for row in table[:top])
    even = width > 2 and all(len(row) == width for row in table[top:])
    return top if even and (plain or (named and top < len(table) - 1)) else 0


def _numbers(fields: list[str]) -> int:
    return sum(number(field) is not None for field in fields)


def _are_alike(fields: list[str], row: list[str]) -> bool:
    """Whether fields, the first of which may be a label, are numbers or gaps where those of a row are numbers."""
    pairs = [one for one, other in zip(fields[1:], row[1:]) if number(other) is not None]
    return len(fields) == len(row) and bool(pairs) and all(number(one) is not None or is_gap(one) for one in pairs)


def _without_comments(rows: bytes, split: Callable[[bytes], list[str]], width: int) -> bytes:
    """The rows with blank lines in place of comments, unless these have as many fields as a row."""
    # One byte is found ten times faster than two.
    if not any(mark in rows and b"\n" + mark in rows for mark in _COMMENT):
        return rows
    lines, start = list[bytes](), 0
    while start < len(rows):  # a line that begins within quotes is no comment
        line = kept = rows[start : _end(rows, start)]
        if line.startswith(_COMMENT) and len(split(line)) != width:
            line, kept = line.partition(b"\n")[0], b""
        lines.append(kept)
        start += len(line) + 1
    return b"\n".join(lines)


def _single_spaces(rows: bytes) -> bytes:
    """Every run of blanks outside quotes as one space, and none at the ends of lines."""
    if b'"' not in rows:
        return b"\n".join(b" ".join(line.split()) for line in rows.split(b"\n"))
    return b"\n".join(_BLANKS.sub(lambda match: match[1] or b" ", line).strip() for line in rows.split(b"\n"))


def _without_empty_ends(rows: bytes, delimiter: str, split: Callable[[bytes], list[str]]) -> bytes:
    """The rows without a separator at the end, where the header alone has one, or all have and no name is behind it."""
    end = delimiter.encode()
    while True:
        first, *more = _first_lines(rows)[:2]
        if more and first.endswith(end) and len(split(first)) == len(split(more[0])) + 1:
            return first[: -len(end)] + rows[_end(rows, 0) :]
        if not more or not more[0].endswith(end) or len(first) <= 1:
            return rows
        head_line, body = b"", rows
        if not first.endswith(end):
            head, row = split(first), split(more[0])
            if len(row) != len(head) + 1 or _numbers(head) == len(head):
                return rows
            head_line, body = first + b"\n", rows[_end(rows, 0) + 1 :]
        body = body.rstrip(b"\n") + b"\n"
        if re.search(rb"[^\n%s]\n" % re.escape(end), body):  # a line without one, but for blank lines
            return rows
        rows = head_line + body.replace(end + b"\n", b"\n")


def _with_points(rows: bytes, delimiter: str) -> bytes:
    """The rows with decimal points in place of decimal commas, as in 1,5 or 1.250,5 or 12,5 %.

    That is sure where no number has a point before decimals, and not all can be thousands. Between semicolons commas
    are decimals: those are there for that reason. The point of 850.300 groups thousands beside 1.250,5 or 1.234.567.
    """
    quote, between = (' *"', rows[:_SAMPLE_BYTES]) if delimiter == "," else ("", rows)  # in quotes there are few
    if not re.search(rb'"[^",\n]*,\d' if delimiter == "," else rb",\d", between):
        return rows
    mark = re.escape(delimiter)
    before = rf'((?:^|(?<={mark})){quote}[ "]*(?:{_MONEY}{BLANK}?)??[+-]?)'
    behind = rf'(?={BLANK}??{_MONEY}??{quote}[ "]*(?:{mark}|$))'

    def numbers(*patterns: str) -> re.Pattern[bytes]:
        return re.compile(f"{before}({'|'.join(patterns)}){behind}".encode(), re.MULTILINE)

    found = islice(numbers(_WITH_COMMA, _GROUPED_WITH_COMMA).finditer(between), _SAMPLE_FIELDS)
    commas = [each[2] for each in found]
    both = b"." in rows and commas and numbers(_GROUPED_WITH_COMMA, _MILLIONS).search(rows) is not None
    sure = both or (commas and (delimiter == ";" or not all(map(_THOUSANDS.fullmatch, commas))))
    not_grouped = rf"(?!{_GROUPED}[^.\d])" if both else ""
    point = rf'(?:^|(?<={mark}))[ "]*[+-]?{not_grouped}\d*\.\d+{EXPONENT}[ "]*(?:{mark}|$)'.encode()
    if not sure or (b"." in rows and re.search(point, rows, re.MULTILINE)):
        return rows
    if delimiter != "," and not both and not re.search(rb",(?!\d)", rows):  # ten times as fast
        return rows.replace(b",", b".")
    with_commas = numbers(rf"{_GROUPED}(?:,\d*)?", _WITH_COMMA)
    return with_commas.sub(lambda each: each[1] + each[2].replace(b".", b"").replace(b",", b"."), rows)
