"""Writes samples in each file format, for the tests and for the benchmark of the readers."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fastmlp.formats import CSV, PICTURES, TRAINING, Format

# The formats of numbers that can be read here.
WRITTEN = [each for each in TRAINING if each is not PICTURES and (each.package is None or find_spec(each.package))]


def write(form: Format, path: Path, X: np.ndarray, y: np.ndarray, columns: list[str] | None = None) -> Path:
    """Write samples X [N, I] and labels y [N] to ``path``; a table has the column ``label`` first, then ``columns``."""
    if form.name == ".npz":
        with open(path, "wb") as file:
            np.savez(file, X=X, y=y)
        return path
    if form.name == "Parquet":
        import pyarrow
        import pyarrow.parquet

        arrays = [y, *X.T]
        names = ["label", *(columns or [f"p{k}" for k in range(X.shape[1])])]
        pyarrow.parquet.write_table(pyarrow.table([pyarrow.array(array) for array in arrays], names), path)
        return path
    if form is CSV:
        names = columns or [f"p{k}" for k in range(X.shape[1])]
        lines = [",".join(map(str, [label, *row])) for label, row in zip(y.tolist(), X.tolist())]
        lines.insert(0, ",".join(["label", *names]))
    else:
        assert form.name == "svmlight", f"{__file__} does not write {form.name} yet"
        lines = [
            f"{label} " + " ".join(f"{k + 1}:{row[k]}" for k in np.flatnonzero(row).tolist())
            for label, row in zip(y.tolist(), X)
        ]
    content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path
