"""Reads a run's ``metrics.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..data.files import read_file
from ..errors import InputError

_NUMBERS = {"epoch", "step", "lr", "seconds"} | {
    f"{part}_{what}" for part in ("train", "validation", "test") for what in ("loss", "accuracy", "rmse", "mae", "r2")
}
_LARGEST = 1e30  # larger values are of a run that diverged, and would spoil an axis


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The finite numbers of each report. InputError for a damaged line."""
    return [{"epoch": number} | _numbers(row, f"{path}: line {number}") for number, row in _rows(path)]


def read_network_losses(path: Path) -> dict[int, list[float]]:
    """{network: its validation losses after each epoch} of a table's run. InputError for a damaged line."""
    found: dict[int, list[float]] = {}
    for number, row in _rows(path):
        try:
            found[int(row["network"])] = [float(value) for value in row["validation_losses"]]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise InputError(f"{path}: line {number} is not of a network of a table; the file is damaged") from None
    return dict(sorted(found.items()))  # whichever thread was first


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number of the line, its report). An unfinished last line is being written, and left out."""
    lines = read_file(path).split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield number, row
        elif number < len(lines):
            raise InputError(f"{path}: line {number} is damaged; it must be a JSON object")


def _numbers(row: dict[str, Any], where: str) -> dict[str, float]:
    numbers = {}
    for name in _NUMBERS & row.keys():
        value = row[name]
        if value is not None and type(value) not in (int, float):
            raise InputError(f"{where}: {name} is {str(value)[:20]!r}; it must be a number or null")
        if value is not None and abs(value) < _LARGEST:  # False for NaN
            numbers[name] = float(value)
    return numbers
