"""The works that are compared: data, network and rows in a step, the same for ours and every peer.

Legend: ``N`` samples, ``I`` inputs, ``O`` outputs; ``layers`` is a list of (W [I, O], b [O]), float32.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

ENTRIES = 100  # of a wide sparse row


@dataclass(frozen=True)
class Work:
    """Train a ReLU network of ``sizes`` on scale * X, ``batch`` rows a step, by SGD or, with momentum, Nesterov's."""

    name: str
    X: Any  # uint8 or float32 [N, I], or kernels.CSR
    y: np.ndarray
    sizes: tuple[int, ...]
    batch: int
    scale: float = 1.0
    momentum: float = 0.0

    def __str__(self) -> str:
        return f"{self.name}, {'-'.join(map(str, self.sizes))}, batch {self.batch}"

    @property
    def is_sparse(self) -> bool:
        return not isinstance(self.X, np.ndarray)

    @cached_property
    def floats(self) -> np.ndarray:
        """scale * X in float32, made once, as the peers' users would pass it."""
        return self.X if self.X.dtype == np.float32 else self.X * np.float32(self.scale)

    def initial_layers(self, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
        """He's normal weights, and biases of zero."""
        rng = np.random.default_rng(seed)
        shapes = zip(self.sizes, self.sizes[1:])
        return [((2 / I) ** 0.5 * rng.standard_normal((I, O), np.float32), np.zeros(O, np.float32)) for I, O in shapes]

    @property
    def flop(self) -> float:
        """A step's operations without zeros, two a multiply-add: products for outputs, weights, inputs past layer 1."""
        X, H = self.X, self.sizes[1]
        entries = len(X.indices) / len(self.y) if self.is_sparse else np.count_nonzero(X[:1000]) / len(X[:1000])
        rest = sum(6 * i * o for i, o in zip(self.sizes[1:], self.sizes[2:]))
        return self.batch * (4 * entries * H + rest)


def images() -> Any:
    """MNIST if it is on this machine, else synthetic digits: a Dataset whose name says which."""
    from fastmlp.data import load
    from fastmlp.data.mnist import local_mnist
    from fastmlp.data.synthetic import load_synthetic

    if (found := local_mnist()) is not None:
        return replace(found, name="MNIST")
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "mnist"
    if beside.is_dir():
        return replace(load(str(beside)), name="MNIST")
    return replace(load_synthetic(n=5000, n_test=1000), name="synthetic digits")  # as many as MNIST's


def pixels(data: Any, hidden: tuple[int, ...] = (256,), batch: int = 128) -> Work:
    return Work(data.name, data.X, data.y, (data.X.shape[1], *hidden, 10), batch, 1 / 255)


def table(N: int = 25_000, I: int = 100) -> Work:
    """Standardised features without a zero, in five classes."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, I), np.float32)
    y = (X[:, :40] @ rng.standard_normal((40, 5), np.float32)).argmax(1)
    return Work(f"table {N:,} x {I}", X, y, (I, 256, 5), 128)


def wide(N: int = 20_000, I: int = 100_000) -> Work:
    """Rows of 100 words out of many, as text has them, in twenty classes."""
    from kernels import CSR  # here, as peers' whole processes import this module, too

    rng = np.random.default_rng(0)
    indices = np.sort(rng.integers(0, I, (N, ENTRIES)), axis=1)
    indices += np.arange(ENTRIES)  # no column twice in a row
    I += ENTRIES
    X = CSR(np.arange(N + 1) * ENTRIES, indices.ravel(), rng.random(N * ENTRIES, np.float32), (N, I))
    return Work(f"CSR {N:,} x {I:,}", X, rng.integers(0, 20, N), (I, 256, 20), 128)


def shuffled_rows(work: Work, steps: int) -> Iterator[np.ndarray]:
    """Without end: the rows of ``steps`` steps, from one shuffled epoch after another, without each one's remainder."""
    rng, N = np.random.default_rng(0), len(work.y)
    while True:
        order = rng.permutation(N)
        for start in range(0, N - steps * work.batch + 1, steps * work.batch):
            yield order[start : start + steps * work.batch]


# -- the recipe for accuracy: the trainer's own, on equal terms for all ------------------------------------------------

PEAK_RATE = 0.12
_PIECES = 30  # of an epoch, with one rate each: so no library pays for a new rate in every step


def recipe(data: Any) -> Work:
    """784-256-10 on pixels scaled to RMS one, with Nesterov momentum."""
    return replace(pixels(data), scale=3 / 255, momentum=0.9)


def one_cycle(work: Work, epochs: int) -> np.ndarray:
    """Rates [epochs, steps]: up to the peak in 15 % of the run, then down to 0, in pieces (Smith and Topin 2018)."""
    steps = len(work.y) // work.batch
    piece = max(1, steps // _PIECES)
    at = (np.arange(epochs * steps) // piece * piece + 0.5) / (epochs * steps)
    return (PEAK_RATE * np.minimum(at / 0.15, (1 - at) / 0.85).clip(0, 1)).reshape(epochs, steps)


def test_accuracy(peer: Any, data: Any) -> float:
    X = peer.inputs(data.X_test)
    return float((np.asarray(peer.predict(X)).argmax(1) == data.y_test).mean())
