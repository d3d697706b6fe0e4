"""The pages are true: every code block runs as it stands, top to bottom, and every file and figure on them is there."""

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

from fastmlp import config
from kernels.lessons.__main__ import measure

import claims
import interleave
import pages

ROOT = Path(__file__).resolve().parent.parent
TEXTS = {page: page.read_text(encoding="utf-8") for page in pages.PAGES}
# (language, text) of each.
BLOCKS = {page: re.findall(r"^```(.*)\n((?s:.*?))^```$", text, re.M) for page, text in TEXTS.items()}
README = TEXTS[ROOT / "README.md"]
CI = (ROOT / ".ci" / "run").read_text()
OPTIONAL = {"report": "matplotlib", "digits.onnx": "onnx", "photo.png": "PIL"}  # what they need beside fastmlp
SHORTER = {
    "fastmlp.bench": ["--against", ""],
    "bench/compare.py": ["--record", "--baseline", "baseline.json"],
    "kernels.lessons": ["0"],  # test_lessons.py has it without
}
LEAST = (1, 0, 0, 1, False, 5, True)  # an Effort: the smallest work there is, once


def commands(block: str) -> list[list[str]]:
    """The words of each command of a block of shell lines."""
    return [shlex.split(part, comments=True) for line in block.splitlines() for part in line.split("&&")]


@pytest.fixture
def clone(tmp_path, monkeypatch, digits):
    """The working directory: bench/, a small MNIST, and files to train on and predict. Measurements are short."""
    (tmp_path / "bench").symlink_to(ROOT / "bench")
    (tmp_path / "mnist").mkdir()
    for part, X, y in (("train", digits.X[:300], digits.y[:300]), ("t10k", digits.X_test, digits.y_test)):
        for kind, array in (("images-idx3", X.reshape(-1, 28, 28)), ("labels-idx1", y.astype(np.uint8))):
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (tmp_path / "mnist" / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
    np.savetxt(tmp_path / "digits.csv", digits.X_test[:20], "%d", ",")
    flowers = [f"{5 + k % 7},{3 + k % 5},{('setosa', 'virginica')[k % 7 > 3]}" for k in range(70)]
    (tmp_path / "table.csv").write_text("\n".join(["length,width,species", *flowers]) + "\n")
    (tmp_path / "new.csv").write_text("id,length,width\n1,5,3\n2,11,4\n")
    flats = [f"flat {k},{('02139', '', '10115')[k % 3]},{50 + k % 9},{900 + 10 * (k % 9) + k}.5" for k in range(60)]
    (tmp_path / "flats.csv").write_text("\n".join(["name,zip,area,rent", *flats]) + "\n")
    (tmp_path / "new-flats.csv").write_text("name,area,zip\na,51,10115\nb,,99999\n")
    if find_spec("PIL") is not None:
        from PIL import Image

        page = np.full((60, 60), 255, np.uint8)
        page[16:44, 16:44] -= digits.X_test[0].reshape(28, 28)
        Image.fromarray(page).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTMLP_DATA", str(tmp_path / "mnist"))
    monkeypatch.setenv("PATH", "")  # valgrind's instructions take minutes
    monkeypatch.setattr(interleave.Effort.__new__, "__defaults__", LEAST)
    monkeypatch.setattr(measure, "__defaults__", (1, 1))
    monkeypatch.setattr(claims, "FULL", interleave.Effort())


def exit_code(words: list[str], monkeypatch) -> int:
    """Run a command of the README; what this does not know fails."""
    program, *rest = words
    assert program in ("python", "python3", ".venv/bin/python"), words
    if rest[:2] in (["-m", "venv"], ["-m", "pip"], ["-m", "pytest"]):
        return 0  # this is pytest, and .ci/run does the rest: see below
    what, *arguments = rest[rest[0] == "-m" :]
    arguments += SHORTER.get(what, [])
    if what.startswith(("fastmlp.", "kernels.")):
        module = import_module(what)
        code = (module if hasattr(module, "main") else import_module(f"{what}.__main__")).main(arguments) or 0
        needs = {package for word, package in OPTIONAL.items() if word in (what.rpartition(".")[2], *arguments)}
        return 0 if code == 2 and any(find_spec(package) is None for package in needs) else code
    monkeypatch.setattr(sys, "argv", [what, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(what, run_name="__main__")
    return end.value.code


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # what the libraries warn of that are measured and exported to is not ours
@pytest.mark.parametrize("block", [text for blocks in BLOCKS.values() for language, text in blocks if language == "sh"])
def test_every_line_of_every_shell_block_runs_in_order(block, clone, monkeypatch):
    for words in filter(None, commands(block)):
        assert exit_code(words, monkeypatch) == 0, words


PYTHON = {
    page.parent.name: [text for language, text in blocks if language == "python"] for page, blocks in BLOCKS.items()
}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, blocks in PYTHON.items() if blocks])
def test_every_python_block_runs_after_those_before_it(python, page, here):
    blocks = PYTHON[page]
    for word, package in (("sklearn", "sklearn"), ("Table", "sklearn"), ("onnxruntime", "onnxruntime")):
        if find_spec(package) is None:
            blocks = [block for block in blocks if word not in block]
    python("\n".join(blocks), env={"FASTMLP_DATA": ""})


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.parent.name)
def test_no_block_is_of_a_kind_that_nothing_runs(page):
    assert {language for language, _ in BLOCKS[page]} <= {"sh", "python", ""}
    assert TEXTS[page].count("```") == 2 * len(BLOCKS[page])


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.parent.name)
def test_every_figure_is_what_the_files_of_results_say(page):
    assert TEXTS[page] == pages.filled(TEXTS[page])


def test_the_first_page_is_short_and_no_page_has_a_wall_of_words():
    assert len(re.sub(r"<!-- \w+ -->(?s:.*?)<!-- end -->", "", README).split()) <= 700
    for text in (*TEXTS.values(), (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")):
        prose = re.sub(r"^(```(?s:.*?)^```|\|.*)$", "", text, flags=re.M)
        assert [part[:60] for part in re.split(r"\n\n|\n- ", prose) if len(part.split()) > 80] == []


def test_the_first_block_is_two_commands_and_ci_runs_the_second():
    (*_, train), (*_, test) = (line.split(" && ") for line in BLOCKS[ROOT / "README.md"][0][1].splitlines())
    assert train.endswith("python -m fastmlp.train")
    assert test.endswith("python -m pytest")
    assert "README.md" in CI


def test_ci_installs_every_extra_that_the_pages_name():
    text = "".join(TEXTS.values())
    extras = {name for names in re.findall(r"(?:fastmlp|'\.)\[([\w,]+)\]", text) for name in names.split(",")}
    assert extras >= {"test", "plot", "peers", "mpi", "sklearn", "images"}
    assert extras <= tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
    installed = {
        name for names in re.findall(r"'\.\[([\w,]+)\]'", README.split("```")[1] + CI) for name in names.split(",")
    }
    assert extras - installed <= {"peers"}  # gigabytes of other libraries


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.parent.name)
def test_every_file_that_a_page_shows_or_lists_is_there(page):
    shown = [link or source for link, source in re.findall(r'\]\(([^)#]+)|src="([^"]+)"', TEXTS[page])]
    for text in (text for language, text in BLOCKS[page] if language == ""):
        shown += re.findall(r"(?<![\w/])[\w/]+\.py\b", text)
    assert [name for name in shown if not (page.parent / name).exists()] == []
    assert shown or page.parent.name in ("tests", "fastmlp")


def test_the_page_and_the_regressor_name_all_that_options_choose_from():
    regressor = (ROOT / "fastmlp" / "estimator" / "regressor.py").read_text()
    assert {*config.LOSSES["regression"]} <= {*re.findall(r"\w+", regressor)}
    page = {*re.findall(r"\w+", TEXTS[ROOT / "fastmlp" / "README.md"])}
    assert {*config.LOSSES["regression"], *config.ACTIVATIONS, *config.RULES} <= page


@pytest.mark.parametrize("folder", ["kernels", "fastmlp", "bench"])
def test_a_page_lists_the_files_beside_it(folder):
    listed = set(re.findall(r"`(\w+\.py)`", TEXTS[ROOT / folder / "README.md"].partition("## The files")[2]))
    files = {path.name for path in (ROOT / folder).glob("*.py") if not path.name.startswith("bench_")}
    assert files - listed <= {"__init__.py", "__main__.py", "conftest.py"}
    assert listed <= {path.name for path in (ROOT / folder).rglob("*.py")}
