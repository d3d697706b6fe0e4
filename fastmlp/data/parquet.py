"""Parquet, through pyarrow: the table as text for ``csv``, so that labels, numbers, dates and gaps are found alike."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..extras import optional, to_install
from ..formats import Query
from . import csv
from .dataset import Samples
from .files import read_file, require_size


def read(path: Path, query: Query) -> tuple[Samples, None]:
    """As ``csv.read``."""
    return csv.read(path, replace(query, headed=True), _as_text(path, query))


def features(path: Path, query: Query) -> Any:
    """As ``csv.features``."""
    query = replace(query, headed=True, labelled=False)
    return csv.features(path, query, _as_text(path, query))


def fields(path: Path, columns: Sequence[str], query: Query) -> dict[str, list[str]]:
    """As ``csv.fields``."""
    query = replace(query, headed=True, labelled=False)
    return csv.fields(path, columns, query, _as_text(path, query, columns))


def _as_text(path: Path, query: Query, kept: Sequence[str] = ()) -> bytes:
    """The table as CSV. Lists, bytes and the like are refused; columns of them that nobody asks for are empty."""
    needed = f"{path}: a Parquet file needs pyarrow; {to_install('parquet')}"
    for module in ("pyarrow.compute", "pyarrow.csv", "pyarrow.parquet", "pyarrow"):
        pyarrow = optional(module, needed)
    content = read_file(path)
    try:
        table = pyarrow.parquet.ParquetFile(io.BytesIO(content)).read()  # read_table refuses two columns of one name
        table = table.select(_in_order(table))
        known = query.known.columns
        unread = {*query.drop} if known is None else {*table.column_names} - {*known}
        columns = []
        for name, column in zip(table.column_names, table.columns):
            plain = _plain(column, pyarrow)
            if plain is None and (name in kept or name not in unread):
                must = "it must hold numbers, text or dates, or be left out (train --drop)"
                raise InputError(f"{path}: column {name[:40]!r} holds {str(column.type)[:40]}; {must}")
            columns.append(pyarrow.nulls(len(table)) if plain is None else plain)
        if columns and not query.labelled and all(column.null_count for column in columns):
            columns[0] = columns[0].cast(pyarrow.string()).fill_null("NA")  # no row is a blank line, which is none
        stream = io.BytesIO()
        pyarrow.csv.write_csv(pyarrow.table(columns, table.column_names), stream)
    except (pyarrow.ArrowException, OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: is no Parquet table of numbers, text and dates ({str(error)[:200]})") from None
    text = stream.getvalue()
    require_size(len(text), path)
    return text


def _in_order(table: Any) -> list[int]:
    """The columns as pandas' to_csv writes them: its index, at the end in Parquet, comes first, if it has a name."""
    index, names = (table.schema.pandas_metadata or {}).get("index_columns", []), table.column_names
    named = [k for k, name in enumerate(names) if name in index and not name.startswith("__index_level_")]
    return named + [k for k, name in enumerate(names) if name not in index]


def _plain(column: Any, pyarrow: Any) -> Any:
    """As pandas writes it in text: without dictionaries, in UTC, True for true, durations in days; None for lists,
    bytes that are no text and the like."""
    kind = column.type
    if isinstance(kind, pyarrow.BaseExtensionType):
        column, kind = column.cast(kind.storage_type), kind.storage_type
    if pyarrow.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pyarrow.types.is_nested(kind):
        return None
    if "binary" in str(kind) or str(kind) == "string_view":  # as Polars writes text
        with suppress(pyarrow.ArrowException):
            return column.cast(pyarrow.string())
        return None
    if pyarrow.types.is_boolean(kind):
        return pyarrow.compute.if_else(column, "True", "False")
    if pyarrow.types.is_duration(kind):
        a_day = 86_400 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
        return pyarrow.compute.divide(column.cast(pyarrow.int64()).cast(pyarrow.float64(), safe=False), float(a_day))
    if pyarrow.types.is_timestamp(kind) and kind.tz is not None:
        return column.cast(pyarrow.timestamp("s", "UTC"), safe=False).cast(pyarrow.timestamp("s"))
    return column
