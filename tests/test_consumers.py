"""Libraries that depend on ``kernels`` (tests/consumers), each installed from wheels into an environment of its own."""

import os
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_jit import read_only

ROOT = Path(__file__).resolve().parent.parent
CONSUMERS = ROOT / "tests" / "consumers"
NEEDS = {
    "normed_features": ("sklearn", "scipy", "joblib", "threadpoolctl"),
    "torch_linear": ("torch",),
    "row_statistics": (),
}

pytestmark = pytest.mark.nightly

FORK = """
import os
check()
children = []
for _ in range(2):
    child = os.fork()
    if not child:
        try:
            getattr(sys.modules[check.__module__], "check_forked", check)()
        finally:
            os._exit(sys.exc_info()[0] is not None)
    children.append(child)
check()
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
"""


class Environment:
    """A virtual environment with one of the consumers, fastmlp, and what both need from where this process has it."""

    def __init__(self, name: str, place: Path) -> None:
        self.name, self.place = name, place
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place / "env")], check=True)
        for project in (ROOT, CONSUMERS / name):
            subprocess.run(
                [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)],
                cwd=project, check=True, capture_output=True,
            )  # fmt: skip
        paths = {"base": str(place / "env"), "platbase": str(place / "env")}
        self.site = Path(sysconfig.get_path("purelib", vars=paths))
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(self.site),
             *map(str, place.glob("*.whl"))],
            check=True,
        )  # fmt: skip
        found = (find_spec(package) for package in ("numpy", "numba", "llvmlite", *NEEDS[name]))
        dependencies = dict.fromkeys(str(Path(spec.origin).parent.parent) for spec in found if spec is not None)
        (self.site / "dependencies.pth").write_text("\n".join(dependencies) + "\n")

    def run(self, code: str, **variables: str) -> list[str]:
        """What a new process prints that has imported the consumer, on either stream."""
        start = f"""
import logging, sys, warnings
logging.disable(logging.WARNING)  # that kernels are compiled
warnings.filterwarnings("ignore", \
"This process .* is multi-threaded, use of fork")  # of Python 3.12, whatever threads do
warnings.filterwarnings("ignore", \
"Cannot cache compiled function")  # of Numba, of what calls kernels by their addresses
import kernels
from {self.name} import check, check_once
assert kernels.__file__.startswith({str(self.site)!r}), kernels.__file__
"""
        kept = ("FASTMLP_CACHE", "NUMBA_CACHE_DIR", "PYTHONPATH")
        env = {name: value for name, value in os.environ.items() if name not in kept}
        env |= {"FASTMLP_CACHE": str(self.place / "cache"), **variables}
        python = self.place / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
        result = subprocess.run(
            [str(python), "-c", start + code], env=env, cwd=self.place, capture_output=True, text=True, timeout=600
        )
        assert result.returncode == 0, result.stderr
        return (result.stdout + result.stderr).splitlines()


@pytest.fixture(scope="module", params=NEEDS)
def consumer(request, tmp_path_factory):
    for package in ("hatchling", "pip", *NEEDS[request.param]):
        pytest.importorskip(package)
    made = Environment(request.param, tmp_path_factory.mktemp(request.param))
    made.run("check()\ncheck_once()")
    return made


def test_a_second_process_compiles_no_kernel(consumer):
    assert consumer.run("check()\nassert kernels.jit.compile_seconds == 0, kernels.jit.compile_seconds") == []


def test_what_numba_keeps_of_functions_on_top_of_ours_is_used(consumer):
    if consumer.name != "row_statistics":
        pytest.skip("not on Numba")
    assert consumer.run("check()\ncheck_once()") == ["total 1 0", "dot 1 0", "totals 1 0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_the_children_of_a_process_that_has_imported_and_called_it_compute_the_same(consumer):
    """As workers of a web server that loads the application first. Numba's own parallel loops ask for another layer."""
    assert consumer.run(FORK, NUMBA_THREADING_LAYER="workqueue") == []


@pytest.mark.skipif(os.name == "nt", reason="this system has no such permissions")
def test_it_runs_from_a_cache_that_can_only_be_read(consumer):
    (directory,) = (consumer.place / "cache").glob("kernels/*")
    with read_only(directory):
        assert consumer.run("check()\nassert kernels.jit.compile_seconds == 0") == []
