"""``python -m fastmlp.predict``: classes and probabilities of new samples."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cli import Parser, run_command, say
from .errors import InputError, RunError, about
from .formats import FORMATS, IMAGE, Query, format_of, suffixes
from .paths import as_path

if TYPE_CHECKING:
    import numpy as np

    from .model import Model


def _samples(path: Path, model: Model, label_column: str | None) -> Any:
    """X of a file of any format, with or without labels."""
    return format_of(path).features(path, Query(label_column, known=model.features, say=say))


def _pixels(paths: list[Path], model: Model, invert: bool) -> np.ndarray:
    """X [N, inputs] of image files, in the range that the model was trained on."""
    import numpy as np

    from .images import read_images

    if model.image_shape is None:
        raise InputError(f"{paths[0]}: is an image; the inputs of this model are not known to be one")
    X = read_images(paths, model.image_shape, invert=invert, say=say)
    if model.ranges is None:  # a model of an earlier version
        typical = 1 / model.scale  # the root mean square of the training inputs
        if model.mean is not None and model.std is not None:
            typical = float(np.sqrt(np.mean(np.square(model.mean) + np.square(model.std))))
        black, white = (0.0, 1.0 if typical <= 1 else 255.0)
    else:
        black, white = float(model.ranges[0].min()), float(model.ranges[3].max())
    if black >= 0:
        black, white = 0.0, 1.0 if white <= 1 else max(white, 255.0)
    if (black, white) == (0, 255):
        return X
    say(f"pixels of 0 to 255 are put between {black:.5g} and {white:.5g}, which the model was trained on")
    return np.float32((white - black) / 255) * X + np.float32(black)


def _print_classes(model: Model, files: Sequence[str], rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """A class a line; behind the file's name and a tab where there are several."""
    for file, (chosen, _) in zip(files, rows):
        head = f"{file}\t" if len(files) > 1 else ""
        sys.stdout.writelines(f"{head}{model.classes[k]}\n" for k in chosen.tolist())


def _print_table(model: Model, files: Sequence[str], rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """CSV with a header: the file where there are several, class, and the classes' probabilities to the last bit."""
    several = len(files) > 1
    digits = 9 if model.network.dtype == "float32" else 17
    numbers = ",".join([f"%.{digits}g"] * len(model.classes)) + "\n"
    print(",".join(_quoted((["file"] if several else []) + ["class", *model.classes])))
    names = _quoted(model.classes)
    for file, (chosen, P) in zip(_quoted(files), rows):
        head = f"{file}," if several else ""
        # One format a row: 100,000 rows of 10 take 0.4 s, through csv.writer 0.7 to 1.0.
        sys.stdout.writelines(f"{head}{names[k]},{numbers % tuple(row)}" for k, row in zip(chosen.tolist(), P.tolist()))


def _quoted(fields: Sequence[str]) -> list[str]:
    """Each as a field of a CSV."""
    quoted = []
    for field in fields:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow([field])
        quoted.append(line.getvalue())
    return quoted


def _predictions(paths: list[Path], model: Model, label_column: str | None, invert: bool) -> Iterator[Any]:
    """(class indices [N], probabilities [N, classes]) of each file, after all have been read."""
    import numpy as np

    pictures = [path for path in paths if format_of(path) is IMAGE]
    pixels = dict(zip(pictures, _pixels(pictures, model, invert))) if pictures else {}
    samples = [pixels[path][None] if path in pixels else _samples(path, model, label_column) for path in paths]
    for path, X in zip(paths, samples):
        if X.shape[1] != model.network.sizes[0]:
            raise InputError(f"{path}: has {X.shape[1]} features; the model takes {model.network.sizes[0]}")
    for path, X in zip(paths, samples):
        difference = model.unlike_training(X)
        with about(path), np.errstate(over="ignore", invalid="ignore"):  # refused below
            P = model.predict_proba(X)
        if P.size and not P.min() >= 0:  # NaN
            raise RunError(f"{path}: the probabilities are not finite; its values are too large for this model")
        if difference is not None:
            say(f"{path}: {difference}")
        yield model.predict(X), P


def _command(argv: Sequence[str] | None) -> int:
    parser = Parser(
        "predict",
        "Print the class of each sample, one a line; with --proba its probabilities too, as CSV.",
        "python -m fastmlp.predict runs/mnist/model.npz digits.csv --proba",
    )
    parser.add_argument("model", metavar="MODEL", help="a model.npz that fastmlp train wrote, or its run's directory")
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help=f"samples: {suffixes(FORMATS)} (labels are ignored); with several files each line begins with the file's name",
    )
    parser.add_argument("--proba", action="store_true", help="a CSV with a header: class, then a column for each class")
    parser.add_argument("--invert", action="store_true", help="images are dark ink on light paper")
    parser.add_argument(
        "--label-column",
        metavar="NAME|N",
        help="the column of a CSV to leave out, by name or number (default: where the training file had its labels)",
    )
    options = parser.parse_args(argv)
    from .model import load_model

    model = load_model(options.model)
    paths = [as_path(file) for file in options.files]
    rows = list(_predictions(paths, model, options.label_column, options.invert))
    (_print_table if options.proba else _print_classes)(model, options.files, rows)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed, 2 bad input, 130 Ctrl-C."""
    return run_command("predict", _command, argv)


if __name__ == "__main__":
    sys.exit(main())
