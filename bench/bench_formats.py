"""Reading 50,000 rows of 20 numbers in each format, without the cache."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.formats import Query

from written import WRITTEN, write


@pytest.mark.parametrize("form", WRITTEN, ids=lambda form: form.name)
def test_reading(form, benchmark, tmp_path):
    benchmark.group = "50,000 rows of 20 numbers"
    n = 50_000 if not benchmark.disabled else 50
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n, 20)).astype(np.float32).round(4), np.arange(n) % 3
    path = write(form, tmp_path / f"a{form.suffixes[0]}", X, y)
    samples, _ = benchmark(form.reader.read, path, Query(cached=False))
    assert len(samples.X) == n
