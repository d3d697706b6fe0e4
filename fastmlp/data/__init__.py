"""Reading data: ``load(spec)`` finds the reader, every reader returns a ``Dataset``. Nothing here imports kernels."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path

from ..config import BUILT_IN
from ..errors import InputError, similar
from ..formats import TRAINING, Features, Query, kinds_of, stem
from ..log import Say, warn
from .dataset import Dataset, assemble, split_rows
from .directory import innermost, is_of_images, load_directory, refuse_columns
from .files import readable
from .frame import Frame
from .mnist import load_mnist
from .ondisk import OnDisk, divide, is_sparse
from .recognise import format_of
from .sparse import Sparse
from .svmlight import say_contradiction, say_guess
from .synthetic import load_synthetic, synthetic_digits

__all__ = [
    "Dataset", "Frame", "OnDisk", "Sparse", "divide", "format_of", "is_sparse", "load", "split_rows",
    "synthetic_digits",
]  # fmt: skip


def load(
    spec: str = "mnist",
    *,
    test: str | None = None,
    val_fraction: float | None = 0.1,
    label_column: str | int | None = None,
    weight_column: str | int | None = None,
    seed: int = 0,
    offline: bool = False,
    memory: int | None = None,
    task: str = "auto",
    column: str | tuple[str, ...] | None = None,
    drop: str | tuple[str, ...] | None = None,
    known: Features | None = None,
    say: Say = warn,
) -> Dataset:
    """The data set that ``spec`` names: ``mnist``, ``synthetic``, a file of a format in ``fastmlp.formats``, or a
    directory (see ``load_directory``). ``-`` is a file on stdin.

    ``test`` is a held-out file; without one, and where the format has no test set of its own, a seeded ``val_fraction``
    of the rows is held out, or, where that is None, all rows are both sets. ``label_column`` and ``weight_column`` are
    columns of a table, by name or number (from 1, or from -1, the last, down): the labels, else known by their name or
    guessed, and what each training row counts. With ``memory`` the training samples in a directory stay on disk, and
    ``fit`` has about so many MB of them in memory. ``task`` says what the labels are: "classification" takes them for
    classes, "regression" for numbers to predict, "auto" text and few integers for classes; it says its doubts.
    ``column`` are what columns are said to be, as in "zip=category"; those in ``drop`` are left out. ``known`` is what
    a model that is to be tested on the data knows of its inputs. ``say`` takes the lines for the user. InputError for
    what cannot be read.
    """
    if not isinstance(spec, (str, PathLike)):
        raise InputError(
            f"load reads files, not {type(spec).__name__}; fastmlp.fit takes arrays and data frames as they are"
        )
    column, drop = ((names,) if isinstance(names, str) else names for names in (column, drop))
    label, weight = (None if column is None else str(column) for column in (label_column, weight_column))
    kinds = kinds_of(column or ())
    dropped = (*(drop or ()), *(name for name, kind in kinds.items() if kind == "drop"))
    said = tuple(name for name, kind in kinds.items() if kind != "drop")
    query = Query(label, weight, known=known or Features(), task=task, drop=dropped, said=said, say=say)
    if spec in ("mnist", "synthetic"):
        refuse_columns(query, spec)
        if test is not None:
            raise InputError(f"--test {test}: goes with --data FILE; {spec} has a test set of its own")
        if memory is not None:
            raise InputError(f"--memory {memory}: goes with --data DIRECTORY; {spec} fits in memory")
        if task == "regression":
            raise InputError(f"--task regression: the labels of {spec} are digits, which are classes")
        return load_synthetic(seed=0) if spec == "synthetic" else load_mnist(offline, val_fraction, seed, say)
    path = readable(spec)
    try:
        if path.is_dir() and not is_of_images(path):
            if test is not None:
                raise InputError(f"--test {test}: a directory has a test set of its own, if any: the files named so")
            data = load_directory(innermost(path), path.resolve().name, val_fraction, seed, query, memory)
        elif memory is not None and path.exists():
            what = "a directory of images" if path.is_dir() else "one file"
            raise InputError(
                f"--memory {memory}: {path} is {what}, which is read whole; "
                "split it into files in a directory, or write X.npy and y.npy"
            )
        else:
            data = _load_path(path, test, val_fraction, seed, query)
    except OSError as error:
        raise InputError(f"{error.filename or spec}: cannot be read ({error.strerror or error})") from None
    except MemoryError:
        advice = "; --memory trains on data that stay on disk" if path.is_dir() else ""
        raise InputError(f"{spec}: too large for this machine's memory{advice}") from None
    if query.known.index_base is None:
        say_guess(data.index_base, spec, say)
    if test is not None:
        say_contradiction(data, spec, test, say)
    return data


def _load_path(path: Path, test: str | None, val_fraction: float | None, seed: int, query: Query) -> Dataset:
    """The data set in a file, or in a directory of images."""
    if not path.exists():
        meant = similar(str(path), BUILT_IN)
        raise InputError(f"{path}: no such file or directory ({meant}data sets by name: {', '.join(BUILT_IN)})")
    form = format_of(path, TRAINING)
    if not form.has_columns:
        refuse_columns(query, f"{path}")
    samples, held_out = form.reader.read(path, query)
    if test is not None:
        learnt = query.known
        if learnt.width is None:
            learnt = Features(
                samples.X.shape[1], samples.columns, label=samples.label, image_shape=samples.image_shape,
                frame="must" if isinstance(samples.X, Frame) else "may",
            )  # fmt: skip
        tested, own = readable(test), held_out
        held_out, _ = format_of(tested, TRAINING).reader.read(tested, replace(query, known=learnt, testing=True))
    name = path.resolve().name if path.is_dir() else stem(path)
    dataset = assemble(name, samples, held_out, val_fraction, seed, query)
    if test is not None and own is not None:
        query.say(f"{path}: its own test set is not used; {test} is")
    return dataset
