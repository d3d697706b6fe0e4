"""``python -m fastmlp.predict``: classes and probabilities of new samples."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .cli import Parser, run_command
from .errors import InputError

if TYPE_CHECKING:
    import numpy as np


def _samples(path: Path, features: int, label_column: str | None) -> np.ndarray:
    """X of an IDX file of images, a .npz with X or x_test, or a CSV with or without the label column."""
    from .data.csv import read_pixels
    from .data.idx import read_idx
    from .data.npz import read_npz

    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        return read_pixels(path, features, label_column)
    if name.endswith(".npz"):
        arrays = read_npz(path)
        found = next((arrays[key] for key in ("X", "x", "X_test", "x_test") if key in arrays), None)
        if found is None:
            raise InputError(f"{path}: holds {', '.join(arrays) or 'nothing'}; it must hold X or X_test")
        if found.ndim < 2:
            raise InputError(f"{path}: X has shape {found.shape}; it must be (N, ...)")
        return found.reshape(len(found), math.prod(found.shape[1:]))
    images = read_idx(path)
    return images.reshape(len(images), math.prod(images.shape[1:]))


def _command(argv: Sequence[str] | None) -> int:
    parser = Parser(
        "predict",
        "Print the class of each sample, one a line; with --proba its probabilities too, as CSV.",
        "python -m fastmlp.predict runs/mnist/model.npz digits.csv --proba",
    )
    parser.add_argument("model", metavar="MODEL", help="a model.npz that fastmlp train wrote")
    parser.add_argument(
        "input", metavar="FILE", help="samples: .csv[.gz] (a label column is ignored), .npz, or IDX images"
    )
    parser.add_argument("--proba", action="store_true", help="a CSV with a header: class, then a column for each class")
    parser.add_argument("--label-column", metavar="NAME", help="the column of a CSV to leave out (default label)")
    options = parser.parse_args(argv)
    from .model import load_model

    model = load_model(options.model)
    X = _samples(Path(options.input), model.network.sizes[0], options.label_column)
    if X.shape[1] != model.network.sizes[0]:
        raise InputError(f"{options.input}: has {X.shape[1]} features; {options.model} takes {model.network.sizes[0]}")
    if not options.proba:
        sys.stdout.writelines(f"{model.classes[k]}\n" for k in model.predict(X))
        return 0
    P = model.predict_proba(X)
    print(",".join(("class", *model.classes)))
    for row in P:
        print(",".join((model.classes[row.argmax()], *(f"{p:.6g}" for p in row))))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed, 2 bad input, 130 Ctrl-C."""
    return run_command("predict", _command, argv)


if __name__ == "__main__":
    sys.exit(main())
