"""How each network of a table is trained.

The recipe is that of RealMLP-TD-S (Holzmueller, Grinsztajn and Steinwart 2024), of which each part was measured anew
here (bench/README.md). Under Adam, its neural-tangent parametrisation is a choice of rates and first weights: W is
drawn from N(0, 1 / inputs) with the rate lr / sqrt(inputs), b from N(0, 1) with a rate of about lr / 10, and the last
layer begins at 0. Here all hidden layers have H units, and inputs are scaled so that the squares of a row sum to H,
too, on average. (For I inputs of about 1 the factor would be sqrt(H / I); but of categories nearly all inputs are 0,
and the sum is far smaller than I.) So one rate, lr / sqrt(H), fits all layers and roughly the biases, and one
deviation, 1 / sqrt(H), fits every W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import Network, kernels

_BATCH, _MANY_ROWS = 64, 10_000  # rows in a step; twice as many from so many rows on
_DECAY = 0.2  # AdamW's weight decay in a step of _BATCH rows
_CYCLES = 4  # of the rate
LEAST_STEPS = 8  # in an epoch, however few the rows are
_EPOCHS, _ROWS_SEEN = 128, 2_000_000  # the most of each network
NETWORKS = 8  # by default
FEW_ROWS = 50  # of fewer rows it is said that they are too few


@dataclass(frozen=True)
class Recipe:
    """How each network is trained."""

    outputs: int
    width: int
    depth: int
    activation: str
    output: str
    loss: str
    learning_rate: float
    batch_size: int
    epochs: int
    dropout: float

    def batch(self, rows: int) -> int:
        """The rows in a step of a network that is trained on ``rows``."""
        return min(self.batch_size, -(-rows // LEAST_STEPS))

    def steps(self, rows: int) -> int:
        """The steps in an epoch of ``rows``."""
        return -(-rows // self.batch(rows))

    def network(self, inputs: int, slots: int = 0) -> Network:
        sizes = (inputs, *(self.width,) * self.depth, self.outputs)
        return Network(sizes, slots=slots, activation=self.activation, output=self.output)

    def draw_weights(self, network: Network, rng: np.random.Generator) -> None:
        """Draw the first weights of a network of zeros."""
        for W, b in network.layers[:-1]:
            W[...] = rng.standard_normal(W.shape) / self.width**0.5
            b[...] = rng.standard_normal(b.shape)  # type: ignore[index, union-attr]

    def rule(self, batch: int) -> Any:
        """AdamW; the weight decay is the share of a Gaussian prior in a step, so it falls with the batch."""
        return kernels.adamw(0.9, 0.95, weight_decay=_DECAY * _BATCH / batch)

    @property
    def cycles(self) -> list[int]:
        """Epochs that end the rate's cycles, each about twice as long as the one before: 1, 3, 7, 15 of 15 parts."""
        parts = 2**_CYCLES - 1
        return sorted({max(1, round(self.epochs * (2**c - 1) / parts)) for c in range(1, _CYCLES + 1)})

    def rates(self, steps: int) -> np.ndarray:
        """The rate of each step [epochs * steps]: it rises from 0 and falls to 0 in each cycle.

        With t from 0 to 1 over a cycle, it is (1 - cos(2 pi log2(1 + t))) / 2 times the full rate: RealMLP's coslog4.
        """
        cycles = [np.log2(1 + np.arange(n * steps) / (n * steps)) for n in np.diff([0, *self.cycles])]
        part = 0.5 * (1 - np.cos(2 * np.pi * np.concatenate(cycles)))
        return part * self.learning_rate / self.width**0.5


def recipe_for(
    rows: int, *, classes: int, width: int = 128, depth: int = 2, activation: str = "gelu",
    learning_rate: float | None = None, batch_size: int | None = None, epochs: int | None = None,
    dropout: float | None = None,
) -> Recipe:  # fmt: skip
    """The recipe for ``rows`` of so many ``classes``, 0 for numbers to predict; defaults replace None.

    The rate is proportional to the root of the batch, since a step of Adam is the gradient over its noise (Malladi and
    others 2022).
    """
    if classes:
        output, loss, rate, dropped = "softmax", "softmax_cross_entropy", 0.04, 0.1
    else:
        output, loss, rate, dropped = "identity", "squared_error", 0.07, 0.0
    batch_size = batch_size or (2 * _BATCH if rows >= _MANY_ROWS else _BATCH)
    rate = rate * (batch_size / _BATCH) ** 0.5 if learning_rate is None else learning_rate
    epochs = epochs or max(1, min(_EPOCHS, _ROWS_SEEN // rows))
    dropped = dropped if dropout is None else dropout
    return Recipe(classes or 1, width, depth, activation, output, loss, rate, batch_size, epochs, dropped)
