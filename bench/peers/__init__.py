"""One file a peer: the same work, as that peer's own experts would write it, behind one interface.

A class with a ``label`` is a peer. A new module gets a line in ``MODULES``, and tests and benchmarks follow.
"""

import contextlib
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

import numpy as np

MODULES = {
    "fastmlp": "ours",
    "notebook": "notebook",
    "numpy": "numpy_mlp",
    "torch": "torch_mlp",
    "jax": "jax_mlp",
    "sklearn": "sklearn_mlp",
    "tensorflow": "tensorflow_mlp",
    "keras": "keras_mlp",
    "onnxruntime": "onnx_mlp",
    "litert": "litert_mlp",
}


class Peer:
    """A library that does a work. ``Peer(work, threads)`` puts data where the library wants it, and trains nothing yet.

    ``trains`` are the inputs that ``steps`` takes, dense or sparse or both; ``predicts`` says whether there is
    ``predict``. A peer has these methods, too:

        load(layers)          starts anew from copies of these weights, without momentum
        layers()              the weights as NumPy arrays
        steps(rows, rates)    trains on X[rows], work.batch rows a step at the rate rates[step]; returns when it is done
        predict(X)            logits, up to a constant for each row, of what ``inputs`` returned
    """

    label: str
    trains: tuple[str, ...] = ("dense",)
    predicts = True
    slow_to_compile = False  # takes half a minute
    same_steps = True  # trains on the given rows, to the same weights as the others

    def __init__(self, work: Any, threads: int) -> None:
        self.work, self.threads = work, threads

    @classmethod
    def can_train(cls, work: Any) -> bool:
        return ("sparse" if work.is_sparse else "dense") in cls.trains

    def epoch(self, rng: np.random.Generator, rates: np.ndarray) -> None:
        """All rows once, shuffled, without the last short batch."""
        self.steps(rng.permutation(len(self.work.y))[: len(rates) * self.work.batch], rates)

    def inputs(self, X: np.ndarray) -> np.ndarray:
        """What ``predict`` takes, made from raw samples beforehand."""
        return X if X.dtype == np.float32 else X * np.float32(self.work.scale)


def find(families: Iterable[str]) -> tuple[list[type[Peer]], dict[str, str]]:
    """(the classes of installed peers, the reason why each other family is skipped)."""
    found: list[type[Peer]] = []
    skipped = {}
    for family in families:
        try:
            module = import_module(f"peers.{MODULES[family]}")
        except ImportError as error:
            skipped[family] = f"not installed ({error})"
        else:
            kinds = (each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Peer))
            found += [kind for kind in kinds if "label" in vars(kind)]
    return found, skipped


def op_peers() -> dict[str, Any]:
    """The modules whose ``call`` does an op as others do: with NumPy and, where installed, PyTorch."""
    found = {"NumPy": import_module("peers.numpy_ops")}
    with contextlib.suppress(ImportError):
        found["PyTorch"] = import_module("peers.torch_ops")
    return found


def batches(rows: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    return (rows[start : start + batch] for start in range(0, len(rows), batch))


def distance(layers: Any, others: Any, initial: Any) -> float:
    """The distance of two trained networks, relative to how far the second has moved from the start."""
    apart = sum(float(np.square(a - b).sum()) for pair, other in zip(layers, others) for a, b in zip(pair, other))
    moved = sum(float(np.square(a - b).sum()) for pair, other in zip(others, initial) for a, b in zip(pair, other))
    return float((apart / moved) ** 0.5)
