"""The tests have power: each of the seeded bugs, put into a copy of the kernels, makes them fail.

python -m pytest tests/test_mutants.py --nightly
"""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from seeded import BUGS, Bug, NoPlaceError, seed

ROOT = Path(__file__).resolve().parent.parent
TESTS = [f"tests/test_{name}.py" for name in ("subnormal", "numbers", "ops", "gate", "sparse")]


@pytest.mark.parametrize("name", BUGS)
def test_a_seeded_bug_has_its_place(name):
    path, source = seed(BUGS[name], ROOT / "kernels")
    compile(source, path, "exec")


PACKAGE = """
class Rule:
    def step(self, x):
        return fma(x[0], 2, y=1) - x[1]
def step(a, b):
    for i in range(0, a - 1, 2):
        b += i
    return a - 1
"""


@pytest.mark.parametrize(
    ("bug", "line"),
    [
        (Bug("Rule.step", "fma(a, ...) - b", "b - fma(...)"), "return x[1] - fma(2, y=1)"),
        (Bug("Rule.step", "u[0]", "u[1]"), "return fma(x[1], 2, y=1) - x[1]"),
        (Bug("Rule.step", "fma(p, q, y=r)", "fma(q, p)"), "return fma(2, x[0]) - x[1]"),
    ],
)
def test_a_bug_is_seeded_whatever_the_variables_are_called(bug, line, tmp_path):
    (tmp_path / "rules.py").write_text(PACKAGE)
    path, source = seed(bug, tmp_path)
    changed = set(source.split("\n")) - set(ast.unparse(ast.parse(PACKAGE)).split("\n"))
    assert (path.name, [text.strip() for text in changed]) == ("rules.py", [line])


@pytest.mark.parametrize(
    ("bug", "message"),
    [
        (Bug("steps", "a", "b"), "steps is defined in no file"),
        (Bug("step", "a", "b"), "step is defined in rules.py, rules.py"),
        (Bug("Rule.step", "a * b", "a"), r"Rule.step in rules.py has no a \* b"),
        (Bug("Rule.step", "a - b", "a", nth=1), "Rule.step in rules.py has no a - b"),
        (Bug("Rule.step", "fma(...)", "fma(other)"), r"rules.py knows no other"),
        (Bug("Rule.step", "a[0]", "a[0]"), "is the same"),
    ],
)
def test_a_bug_without_a_place_is_to_be_described_anew(bug, message, tmp_path):
    (tmp_path / "rules.py").write_text(PACKAGE)
    with pytest.raises(NoPlaceError, match=f"{message}.*: describe this bug anew"):
        seed(bug, tmp_path)


def run_tests(place: Path) -> tuple[int, ElementTree.Element | None]:
    """Exit code of the kernels' tests in ``place``, and the report of the first that did not pass, which ends them."""
    environment = {**os.environ, "PYTHONPATH": str(place), "FASTMLP_CACHE": str(place / "cache")}
    options = ["-x", "-q", "-p", "no:cacheprovider", "-o", "junit_family=xunit1", "--junitxml", "report.xml"]
    command = [sys.executable, "-m", "pytest", *options, *TESTS]
    code = subprocess.run(command, cwd=place, env=environment, capture_output=True, timeout=1800).returncode
    cases = ElementTree.parse(place / "report.xml").iter("testcase") if code >= 0 else ()
    return code, next(
        (case for case in cases if case.find("failure") is not None or case.find("error") is not None), None
    )


@pytest.fixture(scope="session")
def sound(tmp_path_factory):
    """A copy of the kernels and their tests, which pass; and the compiled kernels, of which most serve a mutant too."""
    place = tmp_path_factory.mktemp("sound")
    for folder in ("kernels", "tests"):
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", place)
    code, case = run_tests(place)
    assert code == 0, case is not None and ElementTree.tostring(case, "unicode")[-3000:]
    return place


@pytest.mark.nightly
@pytest.mark.parametrize("name", BUGS)
def test_a_seeded_bug_is_caught(name, sound, tmp_path):
    """By an assertion, or the end of the process where it read or wrote: code that does not compile catches nothing."""
    place = tmp_path / "mutant"
    shutil.copytree(sound, place, ignore=shutil.ignore_patterns("__pycache__", "report.xml"))
    path, source = seed(BUGS[name], place / "kernels")
    path.write_text(source, encoding="utf-8")
    code, case = run_tests(place)
    if code < 0:
        print(f"{name}: the process was ended by signal {-code}")
        return
    assert code == 1, f"pytest ended with {code}"
    assert case is not None
    failure = case.find("failure")
    assert failure is not None, ElementTree.tostring(case, "unicode")[-3000:]
    asserted = failure.get("message", "").startswith(("AssertionError", "assert ", "Failed: DID NOT RAISE"))
    assert asserted, failure.text[-3000:]
    assert "numba.core.errors" not in failure.text, failure.text[-3000:]
    print(f"{name}: {case.get('classname')}.{case.get('name')}")
