"""Times the three products of a linear layer at nine shapes, beside NumPy's BLAS and PyTorch.

    python bench/products.py

writes results/products_<processor>.json; ``python bench/pages.py`` puts it on the page. It takes three minutes.
"""

import json
from typing import Any

import numpy as np

import kernels
from kernels.jit.numba_private import target

from claims import circumstances
from interleave import FULL, Effort, interleave, spread
from pages import RESULTS
from peers import op_peers

EFFORT = FULL._replace(rounds=5, block_seconds=0.05)
SHAPES = [
    (1, 784, 256), (8, 784, 256), (128, 784, 256), (128, 256, 10), (256, 784, 1024), (256, 1024, 1024),
    (1024, 1024, 1024), (10_000, 784, 256), (128, 4096, 4096),
]  # fmt: skip
"""Samples, inputs, outputs."""


def arguments(shape: tuple[int, int, int]) -> dict[str, tuple[np.ndarray, ...]]:
    """The arguments of each product."""
    B, I, O = shape
    rng = np.random.default_rng(0)
    X, W, b, dY = (rng.standard_normal(size, np.float32) for size in ((B, I), (I, O), O, (B, O)))
    return {"linear_forward": (X, W, b), "linear_backward_input": (dY, W), "linear_backward_weight": (X, dY)}


def record(effort: Effort = EFFORT, shapes: list[tuple[int, int, int]] = SHAPES) -> dict[str, Any]:
    found = []
    for shape in shapes:
        for name, args in arguments(shape).items():
            calls = {"fastmlp": lambda name=name, args=args: getattr(kernels, name)(*args)}
            calls |= {peer: ops.call(name, args, {}) for peer, ops in op_peers().items()}
            seconds = {peer: spread(each) for peer, each in interleave(calls, effort).items()}
            found.append({"op": name, "shape": shape, "seconds": seconds})
    return circumstances("python bench/products.py", effort) | {"products": found}


if __name__ == "__main__":
    (RESULTS / f"products_{target()[0]}.json").write_text(json.dumps(record(), indent=1) + "\n")
