"""``python -m fastmlp.warmup``: compile ahead what the commands will call, so that no run waits for it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .cli import Parser, run_command, say
from .config import TrainConfig
from .errors import RunError

if TYPE_CHECKING:
    from .data import Dataset

# Enough samples and classes that every kernel is handed to the threads, whose launchers are compiled too: see tuning.py.
_SAMPLES, _CLASSES = 1024, 100
_IMAGE = (8, 8)
_WIDE = 2**16 + 1  # features whose numbers take 32 bits


def _tiny(kind: str, features: int = 64, *, sparse: bool = False) -> Dataset:
    """Data of that dtype and width, one in eight not zero; images where they are pixels."""
    import numpy as np

    from .data import Dataset, Sparse

    columns = np.arange(0, features, features // 8)
    y = np.arange(_SAMPLES) % _CLASSES
    if sparse:
        entries = np.tile(columns, _SAMPLES)
        indptr = np.arange(_SAMPLES + 1) * len(columns)
        X: np.ndarray | Sparse = Sparse(indptr, entries, np.ones(len(entries), kind), (_SAMPLES, features))
    else:
        X = np.zeros((_SAMPLES, features), kind)
        X[:, columns] = 1
    shape = _IMAGE if kind == "uint8" else None
    return Dataset("warmup", X, y, X, y, tuple(map(str, range(_CLASSES))), "warmup", shape)


def warm_up(dtype: str) -> None:
    """Compile, or load, all kernels that training, evaluation and prediction in ``dtype`` call: by calling them."""
    from .backend import kernels
    from .loop import fit

    kernels.peak_gflops(dtype)
    pixels, numbers = _tiny("uint8"), _tiny(dtype)
    y = numbers.y.astype(float)
    for what, data, reading, batch in (
        ("pixels", pixels, "dense", 128),
        ("pixels, most of them zero", pixels, "sparse", 128),
        ("pixels, most of them zero, in large batches", pixels, "sparse", 512),
        ("numbers", numbers, "dense", 128),
        ("numbers, most of them zero", numbers, "sparse", 128),
        ("numbers to predict", replace(numbers, y=y, y_test=y, classes=()), "dense", 128),
        ("svmlight files", _tiny("float32", sparse=True), "sparse", 128),
        ("svmlight files of many features", _tiny("float32", _WIDE, sparse=True), "sparse", 128),
    ):
        say(f"compiling for {what}")
        clip: dict[str, Any] = {"clip_norm": 1.0} if data is pixels and batch == 128 else {}
        config = TrainConfig(
            steps=2, hidden=(8,), batch_size=batch, dtype=dtype, input=reading, standardize="no",
            augment="elastic" if data is pixels else "none", **clip,
        )  # fmt: skip
        model = fit(data, config).model
        predict = model.predict_proba if data.classes else model.predict
        predict(data.X_test)
        predict(data.X_test[:1])  # on one thread


def parser() -> Parser:
    made = Parser(
        "warmup",
        "Compile all kernels that the commands call, half a minute's work, and keep them in the cache: once for each\n"
        "version, as when an image of a container is made.",
        "python -m fastmlp.warmup --dtype float64",
    )
    made.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="of the runs to come (default float32)"
    )
    return made


def _command(argv: Sequence[str] | None) -> int:
    options = parser().parse_args(argv)
    from .backend import kernels

    directory = kernels.jit.store().directory
    if directory is None:
        raise RunError("there is no cache directory to keep compiled kernels in; set FASTMLP_CACHE to one")
    before = set(directory.glob("*.kernel"))
    warm_up(options.dtype)
    if not kernels.jit.store().keeping:
        raise RunError(f"{directory}: what was compiled could not all be kept")
    made = set(directory.glob("*.kernel")) - before
    print(
        f"{len(made)} functions compiled in {kernels.jit.compile_seconds:.1f} s, {len(before)} were there before; "
        f"in {directory}"
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed, 2 bad input, 130 Ctrl-C."""
    return run_command("warmup", _command, argv)


if __name__ == "__main__":
    sys.exit(main())
