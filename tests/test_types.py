"""What type checkers and editors see of ``kernels``: consumers' modules are accepted and mistakes in them are found."""

import ast
import importlib.util
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kernels
from kernels import raw, simd

ROOT = Path(__file__).parents[1]

# A mistake is marked for mypy, and for pyright, which knows the mark: one that was not found would be an unused mark.
CONSUMER = """
import numpy as np
import numpy.typing as npt

import kernels
from kernels import raw, simd

F32 = npt.NDArray[np.float32]


def on_vectors(a: float, X: F32, Y: F32) -> None:
    lanes: int = simd.lanes(Y)
    y: simd.Vector = simd.zeros(Y)
    for i in range(0, X.size, lanes):
        y = simd.load(Y, i)
        y += a * simd.load(X, i) - 1
        y = simd.select((y < 0) & ~(y != y) | simd.at_least(y, 1.0), -y, simd.fma(y, 2.0, abs(y)))
        simd.store(Y, i, simd.maximum(simd.exp(y), 0.0))
    k: simd.Vector = simd.load_as(np.int32, Y, 0)
    simd.store_as(Y, 0, simd.gather(X, (k & 7) << 1))
    simd.scatter_masked(Y, simd.iota(k) + 1, round(+y), mask=simd.less(y[0], simd.bitcast(y, k)))
    found: bool = simd.any(y > 3)
    tile: simd.Tile = simd.maximum(simd.tile_zeros(Y, 2, 1) * y + 1.0, y)
    simd.lanes()  # type: ignore[call-arg]
    simd.load(X, "0")  # type: ignore[arg-type]
    simd.select(y, y, y)  # type: ignore[arg-type]
    y @ y  # type: ignore[operator]


def with_ops(X: F32, W: F32, b: F32, labels: npt.NDArray[np.int64]) -> F32:
    Y: F32 = np.empty((len(X), W.shape[1]), np.float32)
    scratch = raw.linear_scratch(1, X, W)
    raw.linear_relu_forward(part=0, parts=1, X=X, W=W, b=None, out=Y, scratch=scratch, scale=0.5)
    raw.update(0, 1, W, W, None, kernels.sgd(), 0.1)
    raw.linear_relu_forward(0, 1, X, W)  # type: ignore[call-arg]
    raw.softmax(0, 1, Y, out="Y")  # type: ignore[arg-type]
    network = kernels.Network((4, 3, 2), slots=1)
    losses, correct = kernels.mlp_train_steps(X, labels, labels, 2, network, rule=kernels.momentum(), lr=[0.1])
    loss, right, dZ = kernels.softmax_cross_entropy(kernels.mlp_forward(X, network), labels)
    total: float = loss + right
    with kernels.threads(1):
        kernels.linear_backward_update(X, dZ, W, b, rule=kernels.adam(), lr=1e-3)
    kernels.softmax()  # type: ignore[call-arg]
    kernels.softmax(Y).nothing  # type: ignore[attr-defined]
    return Y


"""


@pytest.fixture
def consumer(tmp_path):
    """A module that uses these, and refers to every public name."""
    everything = [f"{module}.{name}" for module in ("kernels", "raw", "simd") for name in eval(module).__all__]
    file = tmp_path / "consumer.py"
    file.write_text(CONSUMER + "EVERYTHING = [\n" + "".join(f"    {name},\n" for name in everything) + "]\n")
    return file


def check(*command, cwd):
    env = {**os.environ, "MYPYPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, env=env, cwd=cwd, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_mypy_accepts_a_consumers_module_and_finds_its_mistakes(consumer):
    """With mypy's strictest options, and none of this project's."""
    pytest.importorskip("mypy")
    cache = ROOT / ".mypy_cache" / "consumers"
    check("mypy", "--strict", "--follow-imports=silent", f"--cache-dir={cache}", consumer.name, cwd=consumer.parent)


def test_pyright_accepts_a_consumers_module_and_finds_its_mistakes(consumer):
    if importlib.util.find_spec("pyright") is None:
        pytest.skip("pyright is not installed")
    options = {"extraPaths": [str(ROOT)], "reportUnnecessaryTypeIgnoreComment": True}
    (consumer.parent / "pyrightconfig.json").write_text(json.dumps(options))
    check("pyright", "--pythonpath", sys.executable, consumer.name, cwd=consumer.parent)


def parameters(function):
    """Names of the parameters of a function of ``simd``, as compiled code calls it."""
    definition = getattr(function, "_defn", None)
    if definition is not None:
        return list(inspect.signature(definition.__wrapped__).parameters)[1:]  # without the typing context
    return list(inspect.signature(getattr(function, "py_func", function)).parameters)


def test_the_stubs_of_simd_have_its_names_parameters_and_docstrings():
    stubs = ast.parse((ROOT / "kernels" / "simd" / "__init__.pyi").read_text())
    names, told = set(), {}
    for node in stubs.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            names.add(node.name)
            told[node.name] = told.get(node.name) or ast.get_docstring(node)
            if isinstance(node, ast.FunctionDef):
                assert [arg.arg for arg in node.args.args] == parameters(getattr(simd, node.name)), node.name
    assert {name for name in names if not name.startswith("_")} == set(simd.__all__)
    for name, doc in told.items():
        assert doc == inspect.cleandoc(getattr(simd, name).__doc__), name


def test_every_public_function_has_a_docstring_and_typed_parameters():
    functions = [getattr(raw, name) for name in raw.__all__ if name.islower() and name != "exchange_control"]
    functions += [getattr(kernels, name) for name in kernels.__all__ if inspect.isfunction(getattr(kernels, name))]
    for function in functions:
        signature = inspect.signature(function)
        assert function.__doc__, function
        assert signature.return_annotation is not inspect.Signature.empty, function
        for parameter in signature.parameters.values():
            assert parameter.annotation is not parameter.empty, (function, parameter)
