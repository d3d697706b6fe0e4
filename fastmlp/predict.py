"""``python -m fastmlp.predict``: classes and probabilities of new samples."""

from __future__ import annotations

import json
import math
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from glob import glob
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .cli import Parser, command, say
from .errors import InputError, RunError, about
from .formats import FORMATS, IMAGE, PICTURES, Format, Query, suffixes
from .paths import as_path

if TYPE_CHECKING:
    import numpy as np

    from .images.prepare import Picture, Seen
    from .models.model import Model

_SURE = 0.6  # a lower probability is said: 1 % of MNIST's test digits have one, and 11 % of letters and crosses
_LINES = 5  # of doubtful images; of more their number


class _Read(NamedTuple):
    """A file's name, its samples as the model takes them, what is seen if it is an image, and the kept columns."""

    name: str
    X: Any
    seen: Seen | None
    kept: Mapping[str, list[str]] = {}


def _files(given: Sequence[str]) -> list[tuple[str, Path]]:
    """(name, path) of the files that the user named: a pattern that no shell has spelt out, as in Windows', stands for
    those it fits."""
    from .data.files import readable

    files: list[tuple[str, Path]] = []
    for name in given:
        path = readable(name)
        if not path.exists() and (fitting := sorted(glob(str(path), recursive=True))):
            files += [(found, Path(found)) for found in fitting]
        else:
            files.append((name, path))
    return files


def _seen(pictures: Sequence[Picture], model: Model, options: Namespace) -> list[Seen]:
    """The inputs made of each image."""
    from .images.prepare import pixel_range, read_images, write_seen

    if model.image_shape is None:
        raise InputError(f"{pictures[0].name}: is an image; the inputs of this model are not known to be one")
    seen = read_images(
        pictures, model.image_shape, None if options.as_is else model.framing,
        invert=options.invert, light_border=model.light_border, advised=True, say=say,
    )  # fmt: skip
    if options.show:
        write_seen(as_path(options.show), [one.name for one in pictures], seen, model.image_shape)
    black, white = pixel_range(model)
    if (black, white) != (0, 255):
        say(f"pixels of 0 to 255 are put between {black:.5g} and {white:.5g}, which the model was trained on")
    return seen


def _print_lines(model: Model, files: Sequence[_Read], rows: Sequence[Any]) -> None:
    """A class or a number a line, or several numbers with commas between; behind the file's name and a tab where there
    are several files. A class stays on one line, whatever is in its name; numbers are to the last bit."""
    names = [" ".join(name.splitlines()) for name in model.classes]
    for file, found in zip(files, rows):
        head = f"{file.name}\t" if len(files) > 1 else ""
        told = _told(model, names, found)
        sys.stdout.writelines(f"{head}{line}\n" for line in told)


def _print_table(model: Model, files: Sequence[_Read], rows: Sequence[Any], proba: bool) -> None:
    """CSV with a header: the file where there are several, the columns that are kept, the class or the numbers
    predicted, and with ``proba`` the probabilities of the classes to the last bit."""
    from .data.header import told_apart

    several, kept = len(files) > 1, [*files[0].kept]
    outputs = model.network.sizes[-1]
    predicted = ["class", *model.classes[: outputs if proba else 0]]
    if model.target is not None:
        predicted = ["prediction"] if outputs == 1 else [f"quantile {q:g}" for q in model.target.kernel.quantiles]
    made = [*["file"] * several, *predicted]
    header = told_apart([*made, *kept])  # so that class is what is predicted, though a column or a class is called so
    print(",".join(_quoted([*header[:several], *header[len(made) :], *header[several : len(made)]])))
    names = _quoted(model.classes)
    for file, found in zip(files, rows):
        told = _told(model, names, found, proba)
        head = _quoted([file.name] * several)
        columns = [_quoted(texts) for texts in file.kept.values()]
        heads = zip(*columns) if columns else repeat(())
        sys.stdout.writelines(",".join((*head, *fields, line)) + "\n" for fields, line in zip(heads, told))


def _told(model: Model, names: Sequence[str], found: Any, proba: bool = False) -> Iterator[str]:
    """For each row of what ``_predictions`` ``found``: its numbers, or its class and, with ``proba``, probabilities."""
    if model.target is not None:
        return _written(found, model)
    chosen = (names[k] for k in found[0].tolist())
    return map(",".join, zip(chosen, _written(found[1], model))) if proba else chosen


def _written(numbers: np.ndarray, model: Model) -> Iterator[str]:
    """Each row of numbers [N] or [N, outputs], to the last bit of the network's dtype, with commas between."""
    rows, digits = numbers if numbers.ndim == 2 else numbers[:, None], 9 if model.network.dtype == "float32" else 17
    if model.target is not None:  # numbers near 1e9 with a deviation of 3 have eight digits before their last bits
        digits += int(math.log10(max(1, *abs(model.target.mean / model.target.std).tolist())))
    # One format a row: 100,000 rows of 10 take 0.4 s, through csv.writer 0.7 to 1.0.
    form = ",".join([f"%.{min(digits, 17)}g"] * rows.shape[1])
    return (form % tuple(row) for row in rows.tolist())


def _print_json(model: Model, files: Sequence[_Read], rows: Sequence[Any], proba: bool) -> None:
    """An object with one for each file: its rows' numbers, or classes and, with ``proba``, the probabilities of all;
    and the columns that are kept."""
    found: list[dict[str, Any]] = []
    for file, row in zip(files, rows):
        if model.target is not None:
            told = {"predictions": row.tolist()}
        else:
            chosen, P = row
            told = {"predictions": [model.classes[k] for k in chosen.tolist()]}
            told |= {"probabilities": P.tolist()} if proba else {}
        found.append({"file": file.name} | told | ({"kept": file.kept} if file.kept else {}))
    print(json.dumps({"classes": [*model.classes], "files": found}, allow_nan=False))


def _quoted(fields: Sequence[str]) -> list[str]:
    """Each as a field of a CSV."""
    quoted = (f.replace('"', '""') for f in fields)
    return [f'"{q}"' if not {*f}.isdisjoint(',"\r\n') else f for f, q in zip(fields, quoted)]


def _read(files: list[tuple[str, Path]], model: Model, options: Namespace) -> Iterator[_Read]:
    """Each file, and each image of those in a directory or a .zip."""
    from .data import format_of
    from .images.prepare import Picture, in_range, picture

    with ExitStack() as opened:
        wanted: list[tuple[str, Path, Format] | Picture] = []
        for name, path in files:
            form = format_of(path)
            if options.keep and not form.has_columns:
                column = options.keep[0]
                raise InputError(f"--keep {column}: {path} has no columns; it must be a table, or leave --keep out")
            if form is PICTURES:
                from .data.pictures import found

                wanted += opened.enter_context(found(path))
            else:
                wanted.append(picture(path) if form is IMAGE else (name, path, form))
        pictures = [one for one in wanted if isinstance(one, Picture)]
        if options.show and not pictures:
            raise InputError("--show writes what the network sees of images; there is none among the files")
        images = iter(_seen(pictures, model, options) if pictures else ())
        query = Query(options.label_column, known=model.features, say=say)
        for one in wanted:
            if isinstance(one, Picture):
                seen = next(images)
                yield _Read(one.name, in_range(seen.digits, model), seen)
            else:
                name, path, form = one
                X = form.reader.features(path, query)
                kept = form.reader.fields(path, options.keep, query) if options.keep else {}
                yield _Read(name, X, None, kept)


def _predictions(samples: list[_Read], model: Model) -> Iterator[Any]:
    """(class indices [N], probabilities [N, classes]) of each file, or numbers [N], after all have been read."""
    import numpy as np

    from .images.prepare import probabilities

    doubtful = []
    for name, X, *_ in samples:
        if X.shape[1] != model.features.width:
            raise InputError(f"{name}: has {X.shape[1]} features; the model takes {model.features.width}")
    for name, X, seen, _ in samples:
        with about(name), np.errstate(over="ignore", invalid="ignore"):  # refused below
            difference = model.unlike_training(X)
            if model.target is not None:
                P = model.predict(X)
            else:
                P = model.predict_proba(X) if seen is None else probabilities(model, seen)
        if not np.isfinite(P).all():
            what = "probabilities" if model.target is None else "predictions"
            raise RunError(f"{name}: the {what} are not finite; its values are too large for this model")
        if difference is not None and seen is None:  # of an image it is said already
            say(f"{name}: {difference}")
        if model.target is not None:
            yield P
            continue
        if seen is not None:
            for row in (row for row in P if row.max() < _SURE):
                second, first = row.argsort()[-2:].tolist()
                likely = ", ".join(f"{model.classes[k]} with {row[k]:.0%}" for k in (first, second))
                doubtful.append(f"{name}: doubtful: {likely}")
        yield P.argmax(1) if seen is not None and seen.prepared else model.class_indices(X), P
    for line in doubtful if len(doubtful) <= _LINES else [f"{len(doubtful):,} images are doubtful; --proba says how"]:
        say(line)


def parser() -> Parser:
    made = Parser(
        "predict",
        "Print the class of each sample, or the number predicted for it, one a line in the order of the file;\n"
        "with --proba or --keep as CSV.",
        "python -m fastmlp.predict runs/customers new.csv --keep customer_id --proba > predictions.csv",
    )
    made.add_argument("model", metavar="MODEL", help="a model.npz that fastmlp train wrote, or its run's directory")
    made.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help=f"samples: {suffixes(FORMATS)} (labels are ignored), a directory of images, or - for stdin; with several "
        "files each line begins with the file's name",
    )
    made.add_argument("--proba", action="store_true", help="a CSV with a header: class, then a column for each class")
    made.add_argument(
        "--keep",
        metavar="NAME|N",
        action="append",
        default=[],
        help="a CSV with a header: this column of the table, such as an id, before the prediction (again for each)",
    )
    made.add_json()
    made.add_argument(
        "--invert",
        action="store_true",
        help="exchange light and dark: the ink of the images is light and in training was dark, or the other way round "
        "(found out for digits)",
    )
    made.add_argument(
        "--as-is", action="store_true",
        help="do not look for digits in images to scale and centre them as in training: only make them grey and resize",
    )  # fmt: skip
    made.add_argument(
        "--show", metavar="PATH", help="write the images as the network sees them: a .png, or a directory"
    )
    made.add_argument(
        "--label-column",
        metavar="NAME|N",
        help="the column of a CSV to leave out, by name or number (default: where the training file had its labels)",
    )
    return made


@command("predict")
def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    from .models.loading import load_model

    model = load_model(options.model)
    if options.proba and model.target is not None:
        raise InputError(
            f"--proba: {options.model} predicts numbers, which have no probabilities; leave it out "
            "(fastmlp train --loss quantile:0.05,0.95 makes a model that predicts an interval)"
        )
    samples = list(_read(_files(options.files), model, options))
    rows = list(_predictions(samples, model))
    if options.json:
        _print_json(model, samples, rows, options.proba)
    elif options.proba or options.keep:
        _print_table(model, samples, rows, options.proba)
    else:
        _print_lines(model, samples, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
