"""The key of compiled code: whatever the code depends on changes it, and nothing else does."""

import compileall
import json
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numba import types

from kernels.jit import dependencies, kernel, overload, piece

ROOT = Path(__file__).resolve().parent.parent

# Prints, for each place given, the keys of all kernels that are loaded from there.
KEYS = """
import hashlib, importlib, json, sys
sys.dont_write_bytecode = True

def keys(place):
    for name in [name for name in sys.modules if name.split(".")[0] == "kernels"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    sys.path.insert(0, place)
    import kernels.ops, kernels.peak, kernels.raw
    sys.path.remove(place)
    assert kernels.__file__.startswith(place)
    from kernels.jit import cache, dependencies, workers
    with dependencies.texts_kept():
        texts = {name: dependencies.kernel_text(each.py_func) for name, each in workers.dispatchers.items()}
    return {
        "environment": cache.environment(),
        **{name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()},
    }

print(json.dumps([keys(place) for place in sys.argv[1:]]))
"""

# name: (file, edits of its text, the keys that change: none, those of the kernels with such names, or all)
EDITS = {
    "the definition in NumPy": ("reference.py", [("import numpy as np\n", "import numpy as np\n\nX = 1\n")], []),
    "a docstring of an op": ("ops.py", [('"""Y = scale * X @ W + b.', '"""Y = X @ W + b, scaled.')], []),
    "the code of an op": ("ops.py", [("_STRONGEST = 1e6", "_STRONGEST = 2e6")], []),
    "a message": ("checks.py", [("it must be a real number type", "it has to be a real number type")], []),
    "docstrings and comments of kernels": (
        "gemm.py", [('"""dY = 0 where Y', '"""Zero where Y'), ("@kernel\n", "# A comment.\n\n@kernel\n")], []
    ),
    "a docstring, a comment and lines in the vocabulary": (
        "simd/codegen.py", [('"""One bit a lane:', '"""Bits:'), ("class Vector", "# A comment.\n\n\nclass Vector")], []
    ),
    "the head of a module of the vocabulary": ("intrinsics.py", [('"""Intrinsics that', '"""All intrinsics that')], []),
    "a constant": ("tuning.py", [("BLOCK_BYTES = 2**18", "BLOCK_BYTES = 2**17")], ["gemm.gemm", "step.train_steps"]),
    "a kernel": ("gemm.py", [("converted.size else FLOAT_ROWS", "converted.size else 512")], ["gemm.linear_forward"]),
    "an overload": ("gemm.py", [("read(X), lo * X", "read(X), (lo + 1) * X")], ["gemm.linear_forward"]),
    "a piece of another module": ("team.py", [("return part * n // parts,", "return n // parts,")], ["update.update"]),
    "a rule that a kernel refers to": (
        "update.py", [("return lr, weight_decay\n", "return lr, 0.0\n")], ["raw.linear_backward_weight"]
    ),
    "an intrinsic": (
        "intrinsics.py", [('load_atomic(place, "acquire", 8)', 'load_atomic(place, "seq_cst", 8)')], None
    ),
    "vectors": ("simd/vectors.py", [('"add", _of_builder("fadd")', '"add", _of_builder("fsub")')], None),
    "options": ("jit/__init__.py", [('"error_model": "numpy"', '"error_model": "python"')], None),
    "what Numba is made to do": ("jit/numba_private.py", [("= fndesc.argtypes, ()", "= fndesc.argtypes, []")], None),
}  # fmt: skip


def copy_of_kernels(place, file=None, edits=()):
    # With the bytecode of files that are not edited: it is told by their times and sizes.
    shutil.copytree(ROOT / "kernels", place / "kernels")
    if file is not None:
        text = source = (place / "kernels" / file).read_text()
        for right, wrong in edits:
            assert right in text, f"{file} has no {right!r}"
            text = text.replace(right, wrong)
        assert text != source
        (place / "kernels" / file).write_text(text)
    return place


def as_zip(place):
    return Path(shutil.make_archive(str(place), "zip", place))


def as_bytecode(place):
    compileall.compile_dir(place, quiet=2, legacy=True)
    for source in place.rglob("*.py"):
        source.unlink()
    return place


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """{name of an edit, or a form: {kernel: key}}"""
    root = tmp_path_factory.mktemp("copies")
    places = {"as it is": copy_of_kernels(root / "as it is")}
    places |= {name: copy_of_kernels(root / name, file, edits) for name, (file, edits, _) in EDITS.items()}
    for form, make in {"zip": as_zip, "bytecode alone": as_bytecode}.items():
        places[form] = make(copy_of_kernels(root / form))
        places[f"edited {form}"] = make(copy_of_kernels(root / f"edited {form}", *EDITS["a kernel"][:2]))
    command = [sys.executable, "-c", KEYS, *map(str, places.values())]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return dict(zip(places, json.loads(result.stdout)))


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_the_keys_of_what_depends_on_it(keys, name):
    before, after = keys["as it is"], keys[name]
    assert len(before) > 30
    changed = {kernel for kernel in before if after[kernel] != before[kernel]}
    expected = EDITS[name][2]
    if expected is None:
        assert "environment" in changed
    else:
        assert "environment" not in changed
        missing = {short for short in expected if not any(kernel.endswith(f".{short}") for kernel in changed)}
        assert not missing
        assert len(changed) < len(before) - 5
        assert bool(changed) == bool(expected)


@pytest.mark.parametrize("form", ["zip", "bytecode alone"])
def test_a_package_without_sources_has_the_keys_of_its_code(keys, form):
    assert keys[form] == keys["as it is"]
    assert keys[f"edited {form}"] == keys["a kernel"]


# The right sum is 2; an edited package says twice that. An upgrade may come between the import and the first call.
SUM = """
import logging, os, sys
import numpy as np
logging.disable(logging.WARNING)  # that kernels are compiled
from kernels.losses import totals
if len(sys.argv) > 1:
    os.replace(*sys.argv[1:])
print(totals(np.ones(2), np.ones(2, np.int64), 2)[0])
"""
TWICE = "losses.py", [("loss += losses[i]", "loss += 2 * losses[i]")]


@pytest.fixture
def total(python, tmp_path):
    def run(place, *replaced):
        env = {"PYTHONPATH": str(place), "FASTMLP_CACHE": str(tmp_path / "cache")}
        result = python("-c", SUM, *map(str, replaced), env=env, all_lines=True)
        assert result.stderr == ""
        return float(result.stdout)

    return run


@pytest.mark.parametrize("make", [as_zip, as_bytecode])
def test_an_upgrade_of_a_package_without_sources_runs_the_new_code(tmp_path, total, make):
    old, new = make(copy_of_kernels(tmp_path / "old")), make(copy_of_kernels(tmp_path / "new", *TWICE))
    assert (total(old), total(new), total(old)) == (2.0, 4.0, 2.0)


def test_what_was_loaded_before_an_upgrade_is_not_kept_for_what_the_upgrade_brought(tmp_path, total):
    old, new = copy_of_kernels(tmp_path / "old"), copy_of_kernels(tmp_path / "new", *TWICE)
    assert total(old, new / "kernels" / TWICE[0], old / "kernels" / TWICE[0]) == 2.0
    assert total(old) == 4.0


def test_a_key_follows_a_constant_that_is_set_before_the_kernel_is_compiled(monkeypatch):
    from kernels import gemm

    with dependencies.texts_kept():
        before = dependencies.kernel_text(gemm.gemm.py_func)
    monkeypatch.setattr(gemm, "PACK_ROWS", gemm.PACK_ROWS + 1)
    assert dependencies.kernel_text(gemm.gemm.py_func) != before


def test_named_tuples_with_other_fields_are_other_types():
    """Code finds a value by its field's place, which Numba's name of the type does not tell."""
    first, second = namedtuple("Pair", "a b"), namedtuple("Pair", "b a")
    one, other = (types.NamedTuple((types.float64, types.float64), kind) for kind in (first, second))
    assert str(one) == str(other)
    assert dependencies.type_text(one) != dependencies.type_text(other)
    nested = [dependencies.type_text(types.Tuple((kind, types.intp))) for kind in (one, other)]
    assert nested[0] != nested[1]


def in_the_package(code, **names):
    """The function ``f`` of the code, as if a module of kernels defined it."""
    module = ModuleType(f"{kernel.__module__.partition('.')[0]}.made_up")
    vars(module).update(names)
    exec(code, vars(module))
    return module.f


def text(code, **names):
    return dependencies.kernel_text(in_the_package(code, **names))


def stub(x): ...


stub.__module__ = "kernels.made_up"


@overload(stub)
def _stub_overload(x):
    return lambda x: x


REFERS = "def f(x): return x * thing"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0), (1, True), ("a", "b"), (np.float32(1), np.float64(1)), ((1, 2), (2, 1)),
        (np.dtype("f4"), np.dtype("f8")),
        (namedtuple("P", "a b"), namedtuple("P", "b a")), (namedtuple("P", "a b")(1, 2), namedtuple("P", "b a")(1, 2)),
        (np.exp, np.log), (np, len), (np.zeros(2), np.ones(2)), (np.zeros(2), np.zeros((1, 2))),
        (types.float32, types.float64), (0.0, -0.0),
    ],
)  # fmt: skip
def test_different_things_that_a_kernel_refers_to_make_different_keys(one, other):
    assert text(REFERS, thing=one) != text(REFERS, thing=other)
    assert text(REFERS, thing=one) == text(REFERS, thing=one)


def test_what_the_functions_it_calls_refer_to_is_in_a_kernels_key():
    def calling(constant, make):
        callee = make(in_the_package("def f(x): return x + thing", thing=constant))
        return text("def f(x): return g(x)", g=make(in_the_package("def f(x): return g(x)", g=callee)))

    for make in (kernel, piece):
        assert calling(1, make) != calling(2, make)


def test_a_kernel_that_calls_itself_has_a_key():
    made = kernel(in_the_package("def f(x): return f(x)"))
    made.py_func.__globals__["f"] = made
    assert dependencies.kernel_text(made.py_func)


@pytest.mark.parametrize(
    "thing",
    [
        [1], {"a": 1}, np.array([None]), object(), in_the_package("def f(x): return x"),
        type("Own", (), {"__module__": "kernels.made_up"}),
    ],
    ids=["list", "dict", "array", "object", "function", "class"],
)  # fmt: skip
def test_a_kernel_may_not_refer_to_what_its_key_cannot_tell(thing):
    with pytest.raises(TypeError, match="kernel f refers to thing, .*; it may refer to numbers"):
        text(REFERS, thing=thing)


def test_the_code_of_an_overload_is_in_the_key():
    assert "<lambda>" in text("def f(x): return stub(x)", stub=stub)


def test_a_key_has_neither_docstring_nor_lines_but_all_else():
    plain, documented = ('def f(x):\n    """One."""\n    return x', '\n\ndef f(x):\n    """Two."""\n\n    return x')
    assert text(plain) == text(documented)
    assert text(plain) != text(plain.replace("return x", "return 'One.'"))
    assert text("def f(x): return 'a'") != text("def f(x): return 'b'")
    assert text("def f(x): return [y + 'a' for y in x]") != text("def f(x): return [y + 'b' for y in x]")
    assert text("def f(x): return (lambda: 'a')()") != text("def f(x): return (lambda: 'b')()")
    assert text("def f(x, y=1): return x") != text("def f(x, y=2): return x")
    assert text("def f(x): return x in {1, 2}") != text("def f(x): return x in {1, 3}")
