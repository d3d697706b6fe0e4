"""What a start waits for: modules that a warm process does not import."""

from __future__ import annotations

import numpy as np
import pytest

# What only compiling, downloading, a mistyped option, or a run over several seeds needs.
_RARELY = ("scipy.linalg", "numba.np.linalg", "http.client", "urllib.request", "ssl", "difflib", "statistics")

_IMPORTED = """
import sys
from fastmlp.{verb} import main
assert main(sys.argv[1:]) == 0
print([name for name in {names!r} if name in sys.modules], file=sys.stderr)
"""


@pytest.fixture(scope="module")
def run_of_images(tmp_path_factory):
    """(images.npz, the directory of a run on it); every kernel that the run calls is in the cache."""
    from fastmlp.train import main

    place = tmp_path_factory.mktemp("startup")
    rng = np.random.default_rng(0)
    data = {"X": rng.integers(0, 256, (300, 8, 8)).astype(np.uint8), "y": rng.integers(0, 3, 300)}
    np.savez(place / "images.npz", **data)
    assert main(["--data", str(place / "images.npz"), "--epochs", "1", "--out", str(place / "run"), "-q"]) == 0
    return place / "images.npz", place / "run"


def imported(python, verb, *arguments, names=_RARELY):
    """Those of ``names`` that the command has imported when it ends."""
    result = python("-c", _IMPORTED.format(verb=verb, names=names), *map(str, arguments))
    assert result.returncode == 0, result.stderr
    return result.stderr.splitlines()[-1]


def test_a_warm_run_imports_only_what_it_needs(python, run_of_images, tmp_path):
    data, _ = run_of_images
    arguments = ("--data", data, "--epochs", "1", "--out", tmp_path / "run", "-q")
    imported(python, "train", *arguments)  # its own cache may lack what the fixture's process had compiled already
    assert imported(python, "train", *arguments) == "[]"


def test_a_warm_evaluation_imports_only_what_it_needs(python, run_of_images):
    data, run = run_of_images
    imported(python, "evaluate", run / "model.npz", "--data", data)
    assert imported(python, "evaluate", run / "model.npz", "--data", data) == "[]"
