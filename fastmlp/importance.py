"""How much a model relies on each of its inputs: by how much its loss rises when that input says nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .data import Sparse
from .model import Model

_ROWS = 2000
_SHUFFLES = 5
_NUMBERS = 5e8  # that are predicted from, in all: seconds, of however many inputs


class Importance(NamedTuple):
    """Of each of ``columns`` the mean ``rise`` of the loss above ``loss``, and its ``deviation`` over the shuffles."""

    columns: np.ndarray
    rise: np.ndarray
    deviation: np.ndarray
    loss: float


def permutation_importance(model: Model, X: np.ndarray | Sparse, y: np.ndarray) -> Importance:
    """The rise of the mean loss on samples X [N, inputs], y [N] when a column's values are dealt out anew among the rows.

    What the column says of its row is lost then, and nothing else is (Breiman 2001, section 10; Fisher, Rudin and Dominici
    2019). A column that the model ignores changes nothing, however large its weights; columns that say the same stand in for
    each other. Of many rows evenly spaced ones are taken, and of very many columns those of the largest weights, so that
    it takes seconds. The same model and samples give the same numbers.
    """
    inputs = X.shape[1]
    rows = int(min(_ROWS, max(100, _NUMBERS / (20 * _SHUFFLES * inputs)), len(X)))
    chosen = np.linspace(0, len(X) - 1, rows).astype(np.int64)
    y, sample = y[chosen], X[chosen]
    values = sample.toarray() if isinstance(sample, Sparse) else sample
    columns = _heaviest(model, values, max(20, int(_NUMBERS / (_SHUFFLES * rows * inputs))))
    loss, *_ = model.evaluate(values, y)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(rows) for _ in range(_SHUFFLES)]  # the same for every column
    rises = np.empty((len(columns), _SHUFFLES))
    shuffled = values.copy()
    for k, column in enumerate(columns):
        for number, order in enumerate(orders):
            shuffled[:, column] = values[order, column]
            rises[k, number] = model.evaluate(shuffled, y)[0] - loss
        shuffled[:, column] = values[:, column]
    return Importance(columns, rises.mean(1), rises.std(1, ddof=1), loss)


def _heaviest(model: Model, X: np.ndarray, most: int) -> np.ndarray:
    """The columns of X, or, of more than ``most``, those that move the first layer most: by weights times deviation."""
    if X.shape[1] <= most:
        return np.arange(X.shape[1])
    W = model.network.layers[0][0] if model.std is None else model.network.layers[0][0] / model.std[:, None]
    moved = np.linalg.norm(W, axis=1) * X.std(0)
    return np.sort(np.argsort(-moved, kind="stable")[:most])
