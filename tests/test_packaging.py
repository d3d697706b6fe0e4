"""The shape of the project: who imports whom, the name `kernels`, what is in the wheel."""

import ast
import inspect
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

import fastmlp
import kernels

ROOT = Path(__file__).resolve().parent.parent


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def imports(path: Path) -> set[str]:
    """Top-level packages that a file imports absolutely, and how deep its relative imports reach."""
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(f"{'.' * node.level}{node.module.split('.')[0]}")
    return found


def sources(package):
    """The lessons are written as users write."""
    return [path for path in sorted((ROOT / package).rglob("*.py")) if path.parent.name != "lessons"]


@pytest.mark.parametrize("path", sources("kernels"), ids=lambda path: path.name)
def test_kernels_imports_only_numpy_numba_and_itself_relatively(path):
    outside = {name for name in imports(path) if not name.startswith(".")} - set(sys.stdlib_module_names)
    assert outside <= {"numpy", "numba", "llvmlite"}


@pytest.mark.parametrize("path", sources("fastmlp"), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_backend_imports_kernels_and_readers_nothing_of_it(path):
    names = imports(path)
    assert ("kernels" in names) == (path.name == "backend.py")
    if path.parent.name == "data":
        assert "..backend" not in names
    outside = {name for name in names if not name.startswith(".")} - set(sys.stdlib_module_names)
    extras = {
        "plots.py": {"matplotlib"}, "sections.py": {"matplotlib"}, "estimator": {"scipy", "sklearn"},
        "frames.py": {"narwhals"}, "parquet.py": {"pyarrow"},
    }  # fmt: skip
    assert outside <= {"numpy", "kernels"} | extras.get(path.name, set()) | extras.get(path.parent.name, set())


def test_what_fastmlp_uses_of_kernels_is_there_before_anything_else_has_loaded_it():
    """A submodule is an attribute of its package only once somebody has imported it."""
    every = [node for path in sources("fastmlp") for node in nodes(path)]
    attributes = [node for node in every if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    used = {node.attr for node in attributes if node.value.id == "kernels" and not node.attr.startswith("__")}
    assert len(used) > 20
    assert used <= {*kernels._HOME, *kernels._MODULES}


def test_the_top_level_holds_what_a_reader_expects():
    """No run, and no table, of somebody who tried a command there."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no clone, or git is not installed")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip(f"git does not list the files: {listed.stderr.strip()}")
    expected = {".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"}
    assert {line.split("/")[0] for line in listed.stdout.splitlines()} <= expected | {
        "bench",
        "fastmlp",
        "kernels",
        "tests",
    }


@pytest.mark.parametrize("package", ["kernels", "fastmlp"])
def test_no_module_imports_one_that_imports_it_in_turn(package):
    """Not even in a function; but types may be named both ways."""
    modules = {path.relative_to(ROOT).with_suffix("").parts: path for path in sources(package)}
    graph = {}
    for module, path in modules.items():
        blocks = (node for node in nodes(path) if isinstance(node, ast.If))
        of_types = {node for block in blocks if "TYPE_CHECKING" in ast.unparse(block.test) for node in block.body}
        graph[module] = found = set()
        for node in nodes(path):
            if isinstance(node, ast.ImportFrom) and node.level and node not in of_types:
                base = module[: -node.level] + tuple(node.module.split(".") if node.module else ())
                for name in (alias.name for alias in node.names):
                    places = ((*base, name), (*base, name, "__init__"), base, (*base, "__init__"))
                    found.add(next(place for place in places if place in modules))
    TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_no_name_is_both_a_module_and_something_that_kernels_offers():
    """The import of the module would hide the function, or the function the module."""
    modules = {module.name for module in pkgutil.iter_modules(kernels.__path__)}
    offered = {name for name in kernels.__all__ if not inspect.ismodule(getattr(kernels, name))}
    assert not modules & offered
    assert len(modules) > 15


def test_tab_and_help_show_everything_public_before_scikit_learn_is_imported(python):
    pytest.importorskip("sklearn")
    python("""
import sys, fastmlp
assert set(fastmlp.__all__) == set(fastmlp._HOME) == {name for name in dir(fastmlp) if not name.startswith("_")}
assert not {"sklearn", "numba"} & set(sys.modules)
import pydoc
shown = pydoc.plain(pydoc.render_doc(fastmlp))
assert all(name in shown for name in fastmlp.__all__)
from fastmlp import *
assert MLPClassifier is fastmlp.MLPClassifier and fit is fastmlp.fit
""")
    python("""
import sys
sys.modules["sklearn"] = None  # as where it is not installed
from fastmlp import *
import fastmlp
assert fit is fastmlp.fit and "MLPClassifier" not in dir()
""")


def test_an_extra_is_installed_from_the_clone_that_runs(monkeypatch, tmp_path):
    from fastmlp import extras

    monkeypatch.chdir(tmp_path)
    assert extras.to_install("plot") == f"pip install -e '{ROOT}[plot]'"
    monkeypatch.chdir(ROOT)
    assert extras.to_install("plot") == "pip install -e '.[plot]'"
    monkeypatch.setattr(extras, "_ROOT", tmp_path)  # as where the package lies in site-packages
    assert extras.to_install("plot") == "pip install 'fastmlp[plot]'"


def test_a_typed_consumer_uses_every_public_name(tmp_path):
    """mypy checks the module, where the project's code is checked."""
    pytest.importorskip("sklearn")
    import consumer

    assert set(fastmlp.__all__) <= vars(consumer).keys()
    assert consumer.use(tmp_path)["reports"] == 2


def test_nothing_is_compiled_but_under_the_compile_policy():
    def names(path):
        return {getattr(node, "id", getattr(node, "attr", None)) for node in nodes(path)}

    users = [path.name for path in sources("kernels") if {"njit", "prange"} & names(path)]
    assert users == ["losses.py"]  # the policy makes its dispatchers itself; a loss of a user is the user's


def test_versions_agree_and_stay_out_of_hugging_faces_range():
    declared = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.M).group(1)
    assert declared == fastmlp.__version__ == kernels.__fastmlp__ == kernels.__version__
    major, minor = map(int, declared.split(".")[:2])
    assert not (major == 0 and 15 <= minor <= 19)


def test_a_foreign_kernels_package_is_named_in_one_line(python, tmp_path):
    foreign = tmp_path / "kernels"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("def get_kernel(name): ...\n")
    import numpy as np

    np.savez(tmp_path / "tiny.npz", X=np.zeros((20, 3), np.uint8), y=np.arange(20) % 2)
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n"
        "from fastmlp.train import main; sys.exit(main(['--data', 'tiny.npz', '-q']))"
    )
    result = python(code, code=2)
    assert result.stderr.count("\n") == 1
    assert f"found another package at {foreign / '__init__.py'}" in result.stderr
    assert "pip uninstall kernels" in result.stderr


def build(place, **env):
    pytest.importorskip("hatchling")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)],
        cwd=ROOT, check=True, capture_output=True, env=os.environ | env,
    )  # fmt: skip
    (wheel,) = place.glob("fastmlp-*.whl")
    return wheel


def test_the_wheel_holds_both_packages(tmp_path):
    wheel = build(tmp_path)
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "kernels/gemm.py",
        "kernels/py.typed",
        "fastmlp/data/csv.py",
        "fastmlp/exporting/page.html",
        "fastmlp/reporting/report.html",
        "fastmlp/py.typed",
    ):
        assert wanted in names
    assert not [name for name in names if name.startswith(("tests", "bench", "kernels/prebuilt"))]


ESTIMATORS = """
import numpy as np
from fastmlp.estimator import MLPClassifier, MLPRegressor

X = np.random.default_rng(0).standard_normal((300, 30))
for classes in 2, 3:
    MLPClassifier(max_iter=1).fit(X, np.arange(300) % classes).predict_proba(X)
MLPRegressor(max_iter=1).fit(X, X[:, 0]).predict(X)
"""


@pytest.mark.nightly
def test_a_wheel_that_brings_kernels_compiles_nothing_in_its_first_run(python, tmp_path, mnist_dir):
    """Installed alone, with an empty cache; and it trains to the same bits."""
    wheel = build(tmp_path, HATCH_BUILD_HOOK_ENABLE_CUSTOM="true")
    assert "none-any" not in wheel.name
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")

    def train(place, cache):
        env = {"PYTHONPATH": str(place), "FASTMLP_CACHE": str(cache)}
        result = python("-m", "fastmlp.train", "--data", str(mnist_dir), "--epochs", "1", "--json", env=env)
        return json.loads(result.stdout)["weights_sha256"]

    assert train(tmp_path / "installed", tmp_path / "empty") == train(ROOT, tmp_path / "filled")
    if find_spec("sklearn"):
        env = {"PYTHONPATH": str(tmp_path / "installed"), "FASTMLP_CACHE": str(tmp_path / "empty")}
        python("-W", "ignore", "-c", ESTIMATORS, env=env)
    assert not list((tmp_path / "empty").rglob("*.kernel"))
    assert list((tmp_path / "filled").rglob("*.kernel"))
