"""The model of a table: columns, and networks on parts of its rows whose predictions are averaged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..backend import Network, ops
from ..data import Frame, Sparse
from ..errors import InputError
from ..formats import DROP, NUMBER, Features
from ..frames import read_table
from ..models.model import Model
from ..models.tensor_file import Tensors
from .columns import Columns
from .ensemble import mean_probabilities, outputs_by_rows, outputs_of


class TableModel(Model):
    """Networks for the inputs that ``columns`` make of a table; their probabilities, or numbers, are averaged.

    The methods of ``Model`` get the logarithms of the mean probabilities, or the mean outputs, as if they were the
    outputs of one network. Samples are a ``Frame``, a data frame, a dict of arrays, or an array. Columns go by name in
    any order, and others are ignored; without names (``named``) they go by their place.
    """

    def __init__(
        self, networks: Sequence[Network], scale: float, classes: tuple[str, ...], columns: Columns, *, named: bool,
        **known: Any,
    ) -> None:  # fmt: skip
        """``known`` are further fields of ``Model``: label, trained_on, target and label_kind."""
        super().__init__(networks[0], scale, classes, **known)
        self.networks, self.columns, self.named = list(networks), columns, named

    columns: Columns  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"TableModel({len(self.columns.columns)} columns, {self.described})"

    @property
    def described(self) -> str:
        return f"{len(self.networks)} networks {'-'.join(map(str, self.network.sizes))}"

    @property
    def parameters(self) -> int:
        return len(self.networks) * super().parameters

    @property
    def features(self) -> Features:
        names = [str(name) for name in self.columns.used]
        texts = any(column.kind not in (NUMBER, DROP) for column in self.columns.columns)
        return Features(
            len(names) if self.named else len(self.columns.columns), tuple(names) if self.named else None,
            label=self.label, frame="must" if texts else "may",
            unused=tuple(str(column.name) for column in self.columns.columns if column.learnt is None),
            classes=tuple(self.classes),
        )  # fmt: skip

    def table(self, X: Any) -> Frame:
        """The columns of X that were learnt from. InputError that names the missing ones."""
        if (self.named or isinstance(X, Frame)) and (found := self.columns.by_name(X, "X")) is not None:
            return found
        table, names = read_table(X.toarray() if isinstance(X, Sparse) else X), self.columns.names  # by their place
        if len(table.columns) != len(names):
            raise InputError(f"X has {len(table.columns)} columns; this model takes {len(names)}")
        return Frame(dict(zip(names, table.columns.values()))).only(self.columns.used)

    def _blocks(self, X: Any, quick: bool = False) -> Iterator[tuple[Any, np.ndarray]]:
        table = self.table(X)
        self._check_range(table)
        for Z in outputs_by_rows(self.columns, self.networks, table, self.scale):
            yield ops(self.backend), self._together(Z)

    def _together(self, Z: list[np.ndarray]) -> np.ndarray:
        """The outputs, float32 [N, outputs], that stand for those of all networks."""
        if self.target is not None:
            mean: np.ndarray = np.stack(Z).mean(0, dtype=np.float64).astype(np.float32)
            return mean
        P = mean_probabilities(Z).astype(np.float32)
        logits: np.ndarray = np.log(np.maximum(P, np.finfo(np.float32).tiny))
        return logits

    def loss_of(self, inputs: Any, y: np.ndarray) -> float:
        """The mean loss for inputs that ``columns`` made, and class indices or numbers y [N]."""
        Z, fast = self._together(outputs_of(self.networks, inputs, self.scale)), ops(self.backend)
        if self.target is None:
            total = fast.softmax_cross_entropy(Z, y)[0]
        else:
            total = fast.loss_gradient(Z, self.target.encoded(y, Z.dtype), self.target.kernel)[0]
        return float(total) / len(y)

    def predictor(self) -> Callable[[Any], np.ndarray]:
        return self.predict_proba if self.target is None else self.predict

    def unlike_training(self, X: Any) -> str | None:
        self._checks_left = 0
        return self.columns.unlike(self.table(X))

    def folded_layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        raise InputError(f"a model of a table is {self.described} and its columns; it has no single layers")

    def weights_sha256(self) -> str:
        each = [Model(network, self.scale, self.classes).weights_sha256() for network in self.networks]
        return hashlib.sha256("".join(each).encode()).hexdigest()

    def contents(self) -> tuple[dict[str, Any], Tensors]:
        meta, tensors = self._common_contents()
        for k, layers in enumerate(zip(*(network.layers for network in self.networks))):
            W, b = zip(*layers)
            tensors |= {f"W{k}": np.stack(W), f"b{k}": np.stack(b)}
        return {**meta, "table": self.columns.described(), "named": self.named}, tensors
