"""Reads a run's ``metrics.jsonl``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..data.files import read_file
from ..errors import InputError

_NUMBERS = {"epoch", "step", "lr", "seconds"} | {
    f"{part}_{what}" for part in ("train", "validation", "test") for what in ("loss", "accuracy", "rmse", "mae", "r2")
}
_LARGEST = 1e30  # larger values are of a run that diverged, and would spoil an axis


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The finite numbers of each report. InputError for a damaged line, except an unfinished last one: it is being written."""
    lines = read_file(path).split(b"\n")
    history: list[dict[str, float]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise TypeError
            history.append({"epoch": number} | _numbers(row, f"{path}: line {number}"))
        except (TypeError, ValueError, RecursionError):
            if number < len(lines):
                raise InputError(f"{path}: line {number} is damaged; it must be a JSON object") from None
    return history


def _numbers(row: dict[str, Any], where: str) -> dict[str, float]:
    numbers = {}
    for name in _NUMBERS & row.keys():
        value = row[name]
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise InputError(f"{where}: {name} is {str(value)[:20]!r}; it must be a number or null")
        if value is not None and abs(value) < _LARGEST:  # False for NaN
            numbers[name] = float(value)
    return numbers


def read_network_losses(path: Path) -> dict[int, list[float]]:
    """{network: its validation losses after each epoch} of a table's run. InputError for a damaged line."""
    found: dict[int, list[float]] = {}
    for number, line in enumerate(read_file(path).splitlines(), 1):
        try:
            row = json.loads(line)
            found[int(row["network"])] = [float(value) for value in row["validation_losses"]]
        except (KeyError, TypeError, ValueError, RecursionError):
            raise InputError(f"{path}: line {number} is not of a network of a table; the file is damaged") from None
    return found
