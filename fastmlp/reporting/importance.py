"""How much a model relies on each input: the rise of its loss when the input's values are shuffled."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data import Frame, Sparse
from ..models.model import Model
from ..tables.columns import Columns
from ..tables.kinds import Date, Number
from ..tables.model import TableModel
from ..tables.texts import as_dates, as_numbers, texts_of

_ROWS = 2000
_SHUFFLES = 5
_FEW_ROWS = 500
_VALUES = 5
_NUMBERS = 5e8  # numbers that predictions read in all, which takes seconds


class Importance(NamedTuple):
    """The mean ``rise`` of the loss above ``loss`` for each of ``columns``, and its ``deviation`` over the shuffles."""

    columns: np.ndarray
    rise: np.ndarray
    deviation: np.ndarray
    loss: float

    def __str__(self) -> str:
        """A line a column, the most important first."""
        width = max(map(len, map(str, self.columns)), default=0)
        order = np.argsort(-self.rise, kind="stable").tolist()
        lines = [f"{self.columns[k]!s:<{width}}  {self.rise[k]:7.4f} ± {self.deviation[k]:.4f}" for k in order]
        return "\n".join([f"rise of the loss, {self.loss:.4f}, when a column is shuffled", *lines])


def permutation_importance(model: Model, X: Any, y: np.ndarray) -> Importance:
    """The rise of the mean loss on samples X [N, inputs], y [N] when a column's values are shuffled among the rows.

    A shuffle loses what the column says of its row, and nothing else (Breiman 2001, section 10; Fisher, Rudin and
    Dominici 2019). A column the model ignores changes nothing, however large its weights; columns that say the same
    replace each other. To take seconds, evenly spaced rows are taken of many, and of very many columns those with the
    largest weights. The same model and samples give the same numbers. For a table's model, the columns are the table's.
    """
    if isinstance(model, TableModel):
        chosen = rows_looked_at(len(y), 1)
        rows = y[chosen]
        return columns_importance(
            model.columns, model.table(X[chosen]), lambda inputs: model.loss_of(inputs, rows), [*model.columns.used]
        )
    inputs = X.shape[1]
    chosen = rows_looked_at(len(X), 20 * _SHUFFLES * inputs)
    y, sample = y[chosen], X[chosen]
    values = sample.toarray() if isinstance(sample, Sparse) else sample
    columns = _heaviest(model, values, max(20, int(_NUMBERS / (_SHUFFLES * len(chosen) * inputs))))
    shuffled = values.copy()

    def loss(column: int, order: np.ndarray) -> float:
        shuffled[:, column] = values[order, column]
        found = model.measure(shuffled, y)["loss"]
        shuffled[:, column] = values[:, column]
        return found

    return rises(columns, len(chosen), model.measure(values, y)["loss"], loss)


def columns_importance(
    columns: Columns, table: Frame, loss: Callable[[Any], float], names: Sequence[Hashable]
) -> Importance:
    """``permutation_importance`` of the table's columns ``names``; ``loss`` takes inputs that ``columns`` made.

    The rise of a dropped column is 0.
    """
    entries, rows = [*columns.entries(table)], len(table)
    places = {name: k for k, name in enumerate(columns.used)}

    def shuffled(name: Any, order: np.ndarray) -> float:
        if (place := places.get(name)) is None:
            return whole
        index, values = entries[place]
        dealt = index[:, order], values[:, order]
        return loss(columns.matrix([*entries[:place], dealt, *entries[place + 1 :]], rows))

    asked = np.empty(len(names), object)
    asked[:] = names
    whole = loss(columns.matrix(entries, rows))
    return rises(asked, rows, whole, shuffled)


def dependence(model: TableModel, X: Any, names: Sequence[Hashable]) -> Iterator[tuple[Hashable, str, np.ndarray]]:
    """(column, value, mean prediction) of a few values that each of the columns has in the samples X.

    The mean is that of the classes' probabilities, or of the numbers predicted, if all samples had that value, and kept
    their others (partial dependence, Friedman 2001, section 8.2). Of many rows 500 evenly spaced ones are taken.
    """
    rows = np.linspace(0, len(X) - 1, min(len(X), _FEW_ROWS)).astype(np.int64)
    table, kinds = model.table(X[rows]).columns, model.columns.used
    predict = model.predict_proba if model.target is None else model.predict
    for name in names:
        values = table[name]
        for row in _typical(kinds[name], values):
            shown = f"{values[row]:.6g}" if values.dtype.kind == "f" else str(values[row])
            shown = "no value" if texts_of(values[[row]])[0] == [None] else shown
            yield name, shown, predict(Frame({**table, name: np.repeat(values[[row]], len(rows))})).mean(0)


def _typical(kind: Any, values: np.ndarray) -> list[int]:
    """Rows with a category's commonest values, or five quantiles of numbers or dates, in order; then one with none."""
    if isinstance(kind, (Number, Date)):
        ordered = as_numbers(values) if isinstance(kind, Number) else as_dates(values, kind.day_first)
        known = np.flatnonzero(~np.isnan(ordered))
        places = (np.linspace(0.05, 0.95, _VALUES) * (len(known) - 1)).astype(np.int64)
        rows = known[np.argsort(ordered[known], kind="stable")][places[: len(known)]]
        return [*rows[np.unique(ordered[rows], return_index=True)[1]], *np.flatnonzero(np.isnan(ordered))[:1]]
    texts, codes = texts_of(values)
    _, first, counts = np.unique(codes, return_index=True, return_counts=True)
    found = first[np.argsort(-counts, kind="stable")]
    gap = np.array([texts[code] is None for code in codes[found]], bool)
    return [*found[~gap][:_VALUES], *found[gap][:1]]


def rows_looked_at(rows: int, numbers: float) -> np.ndarray:
    """Evenly spaced rows, as many as may be predicted from if each takes ``numbers`` numbers."""
    return np.linspace(0, rows - 1, int(min(_ROWS, max(100, _NUMBERS / numbers), rows))).astype(np.int64)


def rises(columns: np.ndarray, rows: int, loss: float, shuffled: Callable[[Any, np.ndarray], float]) -> Importance:
    """The rises above ``loss`` of ``shuffled(column, order)``, the loss with the column's values in that order."""
    rng = np.random.default_rng(0)
    orders = [rng.permutation(rows) for _ in range(_SHUFFLES)]  # the same for every column
    risen = np.array([[shuffled(column, order) - loss for order in orders] for column in columns])
    return Importance(columns, risen.mean(1), risen.std(1, ddof=1), loss)


def _heaviest(model: Model, X: np.ndarray, most: int) -> np.ndarray:
    """The columns of X, at most ``most``: those with the largest weights times deviation in the first layer."""
    if X.shape[1] <= most:
        return np.arange(X.shape[1])
    W = model.network.layers[0][0] if model.std is None else model.network.layers[0][0] / model.std[:, None]
    moved = np.linalg.norm(W, axis=1) * X.std(0)
    return np.sort(np.argsort(-moved, kind="stable")[:most])
