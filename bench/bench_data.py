"""Reading rows of 20 numbers in each format; and a CSV of digits: parsed, from the cache, and as in the notebook."""

import csv
from functools import partial

import numpy as np

from fastmlp.formats import CSV, Query

from written import WRITTEN, write


def the_notebooks_way(path):
    """Lists of floats, row by row, then an array."""
    with open(path, newline="") as file:
        rows = csv.reader(file)
        next(rows)
        table = [[float(field) for field in row] for row in rows]
    table = np.array(table)
    return table[:, 1:], table[:, 0]


def test_reading_digits(compare, images, benchmark, tmp_path, monkeypatch):
    _, X, y = images
    n = 300 if benchmark.disabled else 5_000
    monkeypatch.setenv("FASTMLP_CACHE", str(tmp_path / "cache"))
    path = write(CSV, tmp_path / "digits.csv", X[:n], y[:n])
    parsed, cached = (partial(CSV.reader.read, path, Query(cached=cached)) for cached in (False, True))
    peers = {"from the cache": cached, "the notebook": partial(the_notebooks_way, path)}
    compare("reading", f"a CSV of {n:,} digits", parsed, peers)


def test_reading_each_format(compare, benchmark, tmp_path):
    n = 50 if benchmark.disabled else 50_000
    rng, calls = np.random.default_rng(0), {}
    X, y = rng.standard_normal((n, 20)).astype(np.float32).round(4), np.arange(n) % 3
    for form in WRITTEN:
        path = write(form, tmp_path / f"a{form.suffixes[0]}", X, y)
        calls[form.name] = partial(form.reader.read, path, Query(cached=False))
    compare("reading", f"{n:,} rows of 20 numbers, {CSV.name}", calls.pop(CSV.name), calls)
