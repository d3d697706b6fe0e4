"""Reading data: ``load(spec)`` finds the reader, every reader returns a ``Dataset``. Nothing here imports kernels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from ..errors import InputError
from .csv import read_csv
from .dataset import Dataset, class_names, split
from .idx import load_idx
from .mnist import load_mnist
from .npz import load_npz
from .synthetic import load_synthetic, synthetic_digits

__all__ = ["Dataset", "load", "synthetic_digits"]


def load(
    spec: str = "mnist",
    *,
    test: str | None = None,
    val_fraction: float = 0.1,
    label_column: str | None = None,
    seed: int = 0,
    offline: bool = False,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> Dataset:
    """The data set that ``spec`` names: ``mnist``, ``synthetic``, a directory of IDX files, a .csv[.gz] or a .npz.

    ``test`` is a held-out file of the same format; without one, and where the format has no test set of its own, a
    seeded ``val_fraction`` of the rows is held out. ``say`` takes the lines for the user. InputError for what cannot
    be read.
    """
    if spec in ("mnist", "synthetic"):
        if test is not None:
            raise InputError(f"--test {test}: goes with --data FILE; {spec} has a test set of its own")
        return load_synthetic(seed=0) if spec == "synthetic" else load_mnist(offline, val_fraction, seed, say)
    path = Path(spec)
    try:
        return _load_path(path, test, val_fraction, label_column, seed)
    except OSError as error:
        raise InputError(f"{spec}: cannot be read ({error.strerror or error})") from None


def _load_path(path: Path, test: str | None, val_fraction: float, label_column: str | None, seed: int) -> Dataset:
    """The data set in a file or directory."""
    if not path.exists():
        raise InputError(f"{path}: no such file or directory (data sets by name: mnist, synthetic)")
    held_out = None if test is None else Path(test)
    if path.is_dir():
        if held_out is not None:
            raise InputError(f"--test {test}: a directory of IDX files has a test set of its own")
        return load_idx(path, path.resolve().name, val_fraction, seed)
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        X, y = read_csv(path, label_column)
        classes = class_names(y, str(path))
        stem = path.name[: name.index(".csv")]
        if held_out is None:
            return Dataset(stem, *split(X, y, val_fraction, seed, str(path)), classes, str(path))
        return Dataset(stem, X, y, *read_csv(held_out, label_column), classes, str(path))
    if name.endswith(".npz"):
        return load_npz(path, held_out, val_fraction, seed)
    raise InputError(f"{path}: unknown format; it must be a directory of IDX files, a .csv, .csv.gz or .npz file")
