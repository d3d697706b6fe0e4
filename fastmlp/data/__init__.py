"""Reading data: ``load(spec)`` finds the reader, every reader returns a ``Dataset``. Nothing here imports kernels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from ..errors import InputError
from .csv import load_csv
from .dataset import Dataset
from .directory import load_directory
from .mnist import load_mnist
from .npz import load_npz
from .ondisk import OnDisk, divide, is_sparse
from .sparse import Sparse
from .svmlight import SUFFIXES, load_svmlight
from .synthetic import load_synthetic, synthetic_digits

__all__ = ["Dataset", "OnDisk", "Sparse", "divide", "is_sparse", "load", "synthetic_digits"]

_CSV = (".csv", ".csv.gz")
_SVMLIGHT = tuple(f"{kind}{gz}" for kind in SUFFIXES for gz in ("", ".gz"))
_OTHERS = {".npz": load_npz, **dict.fromkeys(_SVMLIGHT, load_svmlight)}


def load(
    spec: str = "mnist",
    *,
    test: str | None = None,
    val_fraction: float = 0.1,
    label_column: str | int | None = None,
    weight_column: str | int | None = None,
    seed: int = 0,
    offline: bool = False,
    memory: int | None = None,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> Dataset:
    """The data set that ``spec`` names: ``mnist``, ``synthetic``, a .csv, .npz or svmlight file, or a directory (see
    ``load_directory``).

    ``test`` is a held-out file of the same format; without one, and where the format has no test set of its own, a
    seeded ``val_fraction`` of the rows is held out. ``label_column`` and ``weight_column`` are columns of a CSV, by name or
    number (from 1, or from -1, the last, down): the labels, else known by their name or guessed, and what each training row
    counts. With ``memory`` the training samples in a
    directory stay on disk, and ``fit`` has about so many MB of them in memory. ``say`` takes the lines for the user.
    InputError for what cannot be read.
    """
    named = {"label_column": label_column, "weight_column": weight_column}
    columns = {option: None if column is None else str(column) for option, column in named.items()}
    if spec in ("mnist", "synthetic"):
        _refuse(columns, spec)
        if test is not None:
            raise InputError(f"--test {test}: goes with --data FILE; {spec} has a test set of its own")
        if memory is not None:
            raise InputError(f"--memory {memory}: goes with --data DIRECTORY; {spec} fits in memory")
        return load_synthetic(seed=0) if spec == "synthetic" else load_mnist(offline, val_fraction, seed, say)
    path = Path(spec)
    try:
        if path.is_dir():
            if test is not None:
                raise InputError(f"--test {test}: a directory has a test set of its own, if any; its files named test*")
            return load_directory(path, path.resolve().name, val_fraction, seed, columns, memory, say)
        if memory is not None and path.exists():
            raise InputError(
                f"--memory {memory}: {path} is one file, which is read whole; split it into files in a directory, or write "
                "X.npy and y.npy"
            )
        return _load_path(path, test, val_fraction, seed, columns, say)
    except OSError as error:
        raise InputError(f"{spec}: cannot be read ({error.strerror or error})") from None
    except MemoryError:
        advice = "; --memory trains on data that stay on disk" if path.is_dir() else ""
        raise InputError(f"{spec}: too large for this machine's memory{advice}") from None


def _load_path(
    path: Path,
    test: str | None,
    val_fraction: float,
    seed: int,
    columns: dict[str, str | None],
    say: Callable[[str], None],
) -> Dataset:
    """The data set in a file."""
    if not path.exists():
        raise InputError(f"{path}: no such file or directory (data sets by name: mnist, synthetic)")
    held_out = None if test is None else Path(test)
    suffix = next((suffix for suffix in (*_CSV, *_OTHERS) if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise InputError(f"{path}: unknown format; it must be a directory or a {', '.join((*_CSV, *_OTHERS))} file")
    name = path.name[: -len(suffix)]
    if suffix in _CSV:
        return load_csv(path, name, held_out, val_fraction, seed, **columns, say=say)
    _refuse(columns, f"{path}")
    return _OTHERS[suffix](path, name, held_out, val_fraction, seed)


def _refuse(columns: dict[str, str | None], spec: str) -> None:
    """InputError for names of columns where there are none."""
    for option, name in columns.items():
        if name is not None:
            raise InputError(f"--{option.replace('_', '-')} {name}: names a column of a CSV; {spec} is none")
