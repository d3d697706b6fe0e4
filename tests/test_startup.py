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


WAITED = """
import logging
from kernels import jit

@jit.kernel
def double(x):
    return 2 * x

{setup}
jit._PATIENCE_SECONDS = {patience}
assert double(2) == 4 and double(2.0) == 4
"""


@pytest.mark.parametrize(
    ("patience", "setup", "said"),
    [
        (1e9, "", ""),
        (-1, "", "compiling kernels for this kind of network and data, usually for 5 to 20 s; they are {}\n"),
        (-1, "logging.getLogger('fastmlp').setLevel(logging.ERROR)", ""),
        (-1, "logging.basicConfig(filename='log')", ""),
    ],
)
def test_who_waits_long_for_compilation_is_told_once(python, tmp_path, patience, setup, said):
    """Two kinds of arguments are compiled for."""
    (tmp_path / "file").touch()
    for kept, cache in ("kept for the next time", tmp_path / "cache"), ("not kept", tmp_path / "file"):
        code = WAITED.format(setup=setup, patience=patience)
        result = python("-W", "ignore", "-c", code, env={"FASTMLP_CACHE": str(cache)})
        assert (result.returncode, result.stderr) == (0, said.format(kept))
    assert ("filename" in setup) == ((tmp_path / "log").exists() and "compiling" in (tmp_path / "log").read_text())


@pytest.mark.parametrize("quiet", [True, False])
def test_a_quiet_run_does_not_say_that_it_compiles(quiet):
    import logging

    from fastmlp.screen import Screen

    Screen(-1 if quiet else 0)
    assert logging.getLogger("fastmlp").isEnabledFor(logging.WARNING) is not quiet
