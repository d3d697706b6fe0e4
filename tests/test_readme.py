"""The README is true: every code block runs as it stands, top to bottom, and every file it names is there."""

from __future__ import annotations

import re
import runpy
import shlex
import struct
import sys
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import claims
import interleave

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(.*)\n((?s:.*?))^```$", README, re.M)  # (language, text)
CI = (ROOT / ".ci" / "run").read_text()
OPTIONAL = {"fastmlp.report": "matplotlib", "fastmlp.export": "onnx"}  # what they need beside fastmlp
SHORTER = {"fastmlp.bench": ["--against", ""], "bench/compare.py": ["--record", "--baseline", "baseline.json"]}
LEAST = (1, 0, 0, 1, False, True)  # an Effort: the smallest work there is, once


def commands(block: str) -> list[list[str]]:
    """The words of each command of a block of shell lines."""
    return [shlex.split(part, comments=True) for line in block.splitlines() for part in line.split("&&")]


@pytest.fixture
def clone(tmp_path, monkeypatch, digits):
    """The working directory: bench/, a small MNIST, and digits.csv to predict. Measurements are short."""
    (tmp_path / "bench").symlink_to(ROOT / "bench")
    (tmp_path / "mnist").mkdir()
    for part, X, y in (("train", digits.X[:300], digits.y[:300]), ("t10k", digits.X_test, digits.y_test)):
        for kind, array in (("images-idx3", X.reshape(-1, 28, 28)), ("labels-idx1", y.astype(np.uint8))):
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (tmp_path / "mnist" / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
    np.savetxt(tmp_path / "digits.csv", digits.X_test[:20], "%d", ",")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTMLP_DATA", str(tmp_path / "mnist"))
    monkeypatch.setenv("PATH", "")  # valgrind's instructions take minutes
    monkeypatch.setattr(interleave.Effort.__new__, "__defaults__", LEAST)
    monkeypatch.setattr(claims, "FULL", interleave.Effort())


def exit_code(words: list[str], monkeypatch) -> int:
    """Run a command of the README; what this does not know fails."""
    program, *rest = words
    assert program in ("python", "python3", ".venv/bin/python"), words
    if rest[:2] in (["-m", "venv"], ["-m", "pip"], ["-m", "pytest"]):
        return 0  # this is pytest, and .ci/run does the rest: see below
    what, *arguments = rest[rest[0] == "-m" :]
    arguments += SHORTER.get(what, [])
    if what.startswith("fastmlp."):
        code = import_module(what).main(arguments)
        return 0 if what in OPTIONAL and find_spec(OPTIONAL[what]) is None and code == 2 else code
    monkeypatch.setattr(sys, "argv", [what, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(what, run_name="__main__")
    return end.value.code


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # what the libraries warn of that are measured and exported to is not ours
@pytest.mark.parametrize("block", [text for language, text in BLOCKS if language == "sh"])
def test_every_line_of_every_shell_block_runs_in_order(block, clone, monkeypatch):
    for words in filter(None, commands(block)):
        assert exit_code(words, monkeypatch) == 0, words


@pytest.mark.slow
def test_every_python_block_runs_after_those_before_it(python):
    blocks = [text for language, text in BLOCKS if language == "python"]
    if find_spec("sklearn") is None:
        blocks = [block for block in blocks if "sklearn" not in block]
    result = python("\n".join(blocks), env={"FASTMLP_DATA": ""})
    assert result.returncode == 0, result.stderr


def test_no_block_is_of_a_kind_that_nothing_runs():
    assert {language for language, _ in BLOCKS} == {"sh", "python", ""}
    assert README.count("```") == 2 * len(BLOCKS)


def test_the_first_block_is_two_commands_and_ci_runs_the_second():
    (*_, train), (*_, test) = (line.split(" && ") for line in BLOCKS[0][1].splitlines())
    assert train.endswith("python -m fastmlp.train")
    assert test.endswith("python -m pytest")
    assert "README.md" in CI


def test_ci_installs_every_extra_that_the_readme_names():
    extras = {name for names in re.findall(r"(?:fastmlp|'\.)\[([\w,]+)\]", README) for name in names.split(",")}
    assert extras >= {"test", "plot", "peers", "mpi", "sklearn"}
    assert extras <= tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
    installed = {
        name for names in re.findall(r"'\.\[([\w,]+)\]'", README.split("```")[1] + CI) for name in names.split(",")
    }
    assert extras - installed <= {"peers"}  # gigabytes of other libraries


def test_every_file_that_the_readme_shows_or_lists_is_there():
    shown = re.findall(r"\]\(([^)#]+)\)", README)
    directory = ""
    for line in next(text for language, text in BLOCKS if language == "").splitlines():
        if found := re.match(r"(\w+/)", line):
            directory = found[1]
        shown += [directory + name for name in re.findall(r"(?<![\w/])[\w/]+\.py\b", line)]
    assert len(shown) > 40
    assert [name for name in shown if not (ROOT / name).exists()] == []
