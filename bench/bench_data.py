"""Reading 50,000 rows of 20 numbers in each format; and an MNIST-sized CSV: parsed, cached, and as the notebook does it."""

import csv
import time

import numpy as np
import pytest

from fastmlp.data import csv as reader
from fastmlp.formats import Query

from written import WRITTEN, write


def the_notebooks_way(path):
    """Lists of floats, row by row, then an array."""
    with open(path, newline="") as file:
        rows = csv.reader(file)
        next(rows)
        table = [[float(field) for field in row] for row in rows]
    table = np.array(table)
    return table[:, 1:], table[:, 0]


def ours(path):
    samples, _ = reader.read(path, Query())
    return samples.X, samples.labels.codes


@pytest.fixture
def digits_csv(tmp_path, images, benchmark, monkeypatch):
    _, X, y = images
    n = 60_000 if not benchmark.disabled else 300
    monkeypatch.setenv("FASTMLP_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "digits.csv"
    with open(path, "w") as file:
        file.write("label," + ",".join(f"pixel{k}" for k in range(X.shape[1])) + "\n")
        for label, row in zip(y[:n], X[:n]):
            file.write(f"{label}," + ",".join(map(str, row.tolist())) + "\n")
    return path


def test_csv(digits_csv, benchmark):
    benchmark.group = "a CSV of 60,000 digits"
    seconds = {}
    for name, read in (("parsed", ours), ("cached", ours), ("notebook", the_notebooks_way)):
        start = time.perf_counter()
        X, y = read(digits_csv)
        seconds[name] = time.perf_counter() - start
        assert X.sum(dtype=np.float64) > 0
        del X, y
    benchmark.extra_info.update({"seconds": seconds, "times_faster": seconds["notebook"] / seconds["parsed"]})
    if not benchmark.disabled:
        print({name: round(value, 2) for name, value in seconds.items()})
    benchmark.pedantic(ours, args=(digits_csv,), rounds=3)


@pytest.mark.parametrize("form", WRITTEN, ids=lambda form: form.name)
def test_reading(form, benchmark, tmp_path):
    benchmark.group = "50,000 rows of 20 numbers"
    n = 50_000 if not benchmark.disabled else 50
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n, 20)).astype(np.float32).round(4), np.arange(n) % 3
    path = write(form, tmp_path / f"a{form.suffixes[0]}", X, y)
    samples, _ = benchmark(form.reader.read, path, Query(cached=False))
    assert len(samples.X) == n
