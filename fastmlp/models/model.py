"""A trained network: its predictions, its scores, and the contents of its file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import KW_ONLY, asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import labels_given
from ..backend import Network, kernels, ops, quick_ops
from ..data import Sparse
from ..data.dataset import require_finite, sparse_rows
from ..data.labels import as_numbers, class_indices
from ..data.npz import as_labels
from ..errors import InputError, in_python
from ..formats import Features, LabelColumn
from ..frames import as_floats, column_names, is_masked, named_columns
from ..images.framing import Framing, border_lightness
from ..log import warn_caller
from ..paths import as_path
from ..training.scaling import standardised
from .ranges import difference
from .target import Target, central, kernel_of, number_scores
from .tensor_file import Tensors, write_tensors

_RANGE_CHECKS = 16  # calls whose inputs are compared with the training range, which takes longer than a prediction
# What makes a label of each kind of a class's name.
LABELS: dict[str, Any] = {
    "bool": lambda name: name == "True", "int": int, "float": float, "bytes": str.encode, "str": str,
}  # fmt: skip
_FEWEST_TO_COMPARE = 20  # images that are no drawings on black
_GREY = 0.15  # of the range of their pixels: as far from the middle of it their border may be of any kind
_ROWS = 4096  # predicted at a time, so that memory does not grow with the data


def _is_integer(name: str) -> bool:
    """Whether the name is that of one int64 alone: 7, but neither 007 nor 7.0."""
    return name.removeprefix("-").isdecimal() and len(name) < 19 and str(int(name)) == name


@lru_cache(16)
def _labels(kind: str | None, classes: tuple[str, ...]) -> np.ndarray:
    kind = kind or ("int" if all(map(_is_integer, classes)) else "str")
    labels = np.array([LABELS[kind](name) for name in classes])
    labels.flags.writeable = False
    return labels


def _join(blocks: list[np.ndarray]) -> np.ndarray:
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


@dataclass(eq=False, repr=False)
class Model:
    """A trained multilayer perceptron that predicts ``classes``, or numbers, for which ``target`` has the units.

    ``loss`` is the minimised loss as --loss names it, or None for the cross-entropy of classes.

    The network's inputs are scale * x, or (x - mean) / std if ``mean`` and ``std`` [inputs] are given. These are
    float64: features far from zero would lose their differences in float32. A column whose zeros were kept has mean 0.

    The other fields are None where unknown. ``image_shape`` is (rows, columns) of images, ``columns`` the features'
    names, ``index_base`` the first index, 0 or 1, of svmlight files, ``label`` the place of the labels in the training
    table, ``framing`` the placement of drawings in images, ``light_border`` whether images are dark on light.
    ``ranges`` are those of training inputs (see ``ranges.input_ranges``); predicting warns once of inputs in another
    range. ``trained_on`` has the ``digest`` of the training samples, the ``val_fraction`` and ``seed`` of their split.

    A row's prediction does not depend on the rows beside it, to the last bit. There is one exception: a process that
    has not loaded the compiled kernels, which takes longer than predicting a few dense rows, computes these in NumPy.
    Their probabilities equal the kernels' to rounding.
    """

    network: Network
    scale: float
    classes: tuple[str, ...]
    backend: str = "numba"
    _: KW_ONLY
    mean: np.ndarray | None = None
    std: np.ndarray | None = None
    image_shape: tuple[int, int] | None = None
    columns: tuple[str, ...] | None = None
    index_base: int | None = None
    label: LabelColumn | None = None
    trained_on: dict[str, Any] | None = None
    ranges: np.ndarray | None = None
    framing: Framing | None = None
    light_border: bool = False
    target: Target | None = None
    label_kind: str | None = None
    loss: str | None = None

    def __post_init__(self) -> None:
        if self.target is not None:
            self.loss = self.target.loss
        self._checks_left = _RANGE_CHECKS

    def __repr__(self) -> str:
        return f"Model({'-'.join(map(str, self.network.sizes))}, {self.network.dtype})"

    @property
    def described(self) -> str:
        """The layers as text."""
        return f"network {'-'.join(map(str, self.network.sizes))}"

    @property
    def parameters(self) -> int:
        """How many there are, without the padding between layers."""
        return sum(values.size for layer in self.network.layers for values in layer if values is not None)

    @property
    def features(self) -> Features:
        """The inputs' properties that readers of files need."""
        return Features(
            self.network.sizes[0], self.columns, self.index_base, self.label,
            self.image_shape, self.framing, self.light_border, classes=tuple(self.classes),
        )  # fmt: skip

    @property
    def task(self) -> str:
        """classification or regression."""
        return "classification" if self.target is None else "regression"

    def _matrix(self, X: Any) -> np.ndarray:
        """X as an ndarray, images as rows; columns of a data frame (pandas, Polars, Arrow) go by name if the model
        knows names."""
        if (names := column_names(X)) is not None:
            return named_columns(X, self.columns or names)
        if is_masked(X):
            raise InputError("X has masked values; this model was trained on numbers without gaps")
        array = as_floats(np.asarray(X))
        return array.reshape(len(array), math.prod(array.shape[1:])) if array.ndim > 2 else array

    def standardise(self, X: Any) -> Any:
        """(X - mean) / std in the network's dtype, if the model has a mean; else X unchanged."""
        if self.mean is None or self.std is None:
            return X
        return standardised(X, self.mean, self.std, self.network.dtype)

    def unlike_training(self, X: Any) -> str | None:
        """In words how X (ndarray [N, inputs] or sparse rows) differs from the training inputs, if it does: in its
        range, or as ink on paper does from light ink on black."""
        self._checks_left = 0  # a caller of this needs no warning later
        if self.ranges is None:
            return None
        line = difference(X, self.ranges, is_image=self.image_shape is not None, columns=self.columns)
        if line is None and (light := border_lightness(X, self.image_shape)) is not None:
            margin = 0.0 if self.framing is not None else _GREY if len(X) >= _FEWEST_TO_COMPARE else 1.0
            if (light - 0.5) * (-1 if self.light_border else 1) > margin:
                now, then = ("light on dark", "dark on light")[:: 1 if self.light_border else -1]
                return f"the images are {now}; in training they were {then} (subtract them from white)"
        return line

    def _check_range(self, X: Any) -> None:
        """Among the first calls, warn once of inputs in another range than in training."""
        if self._checks_left:
            left = self._checks_left - 1
            if (line := self.unlike_training(X)) is None:
                self._checks_left = left
            else:
                warn_caller(line)

    def _blocks(self, X: Any, quick: bool = False) -> Any:
        """Yield (ops, logits) for each block of X, at least one. Warns of inputs in another range than in training.

        With ``quick`` the ops may be ``quick_ops``. Then a block is a single row, as the order in which BLAS sums may
        depend on the number of rows.
        """
        X = sparse_rows(X, "X") if hasattr(X, "tocsr") else X
        fast, sparse, size = ops(self.backend), hasattr(X, "indptr"), _ROWS
        X = X if sparse else self._matrix(X)
        if len(X.shape) != 2 or X.shape[1] != self.network.sizes[0]:
            images = ""
            if self.image_shape is not None:
                sides = " x ".join(map(str, self.image_shape))
                images = f": grey images of {sides} pixels (the command predict reads image files)"
            raise InputError(f"X has shape {X.shape}; this model takes (N, {self.network.sizes[0]}){images}")
        if X.dtype.kind not in "fiub":
            raise InputError(f"X has dtype {X.dtype}; this model takes numbers")
        if sparse:
            given, X = X, X if isinstance(X, kernels.CSR) else kernels.csr(X)
            require_finite(X.stored[:, None], "X")
            self._in_dtype(X.stored)
            if given is not X:
                self._check_range(given)
            if self.mean is None:
                yield fast, fast.mlp_forward(X, self.network, scale=self.scale)
                return
            if np.count_nonzero(self.mean) <= kernels.tuning.SPARSE_DENSITY * len(self.mean):
                stored = X.values if X.dictionary is None else X.dictionary[X.values]
                entries = self.standardise(Sparse(X.indptr, X.indices, stored, X.shape))
                self._in_dtype(entries.data)
                yield fast, fast.mlp_forward(kernels.csr(entries), self.network)
                return
            X = X.toarray(self.network.dtype)  # centring leaves few zeros
        else:
            require_finite(X, "X")
            self._check_range(X)
            if quick and self.backend == "numba":
                fast = quick_ops(self.backend, self.network.params.size, len(X))
                size = _ROWS if fast is ops(self.backend) else 1
        for start in range(0, max(len(X), 1), size):
            rows = self._in_dtype(self.standardise(X[start : start + size]))
            yield fast, fast.mlp_forward(rows, self.network, scale=self.scale)

    def _in_dtype(self, values: np.ndarray) -> np.ndarray:
        """Finite values in the network's dtype. InputError for values beyond its range, which could give any class."""
        if values.dtype.kind != "f" or (values.dtype == self.network.dtype and self.mean is None):
            return values
        with np.errstate(over="ignore"):  # refused here
            narrow = values.astype(self.network.dtype, copy=False)
        if not np.isfinite(narrow).all():
            raise InputError(f"X holds values beyond the range of {narrow.dtype}, in which this model computes")
        return narrow

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities [N, classes] of samples X [N, inputs] (numbers, CSR, or a data frame whose columns go by name).

        A row's probabilities do not depend on other rows. InputError for a model that predicts numbers.
        """
        if self.target is not None:
            raise InputError("this model predicts numbers; it has no probabilities")
        return _join([fast.softmax(logits) for fast, logits in self._blocks(X, quick=True)])

    def predictor(self) -> Callable[[Any], np.ndarray]:
        """A function like ``predict_proba`` (``predict`` for numbers), prepared for one row at a time.

        For a row [1, inputs] in the network's dtype or uint8 it takes 1 to 3 microseconds, with the same bits and
        errors; but it does not check the row's range. Several threads may call it. It uses the current weights. Of a
        model of tables it is ``predict_proba`` (``predict``) itself; a dict of lists is faster there than a data frame.
        """
        whole = self.predict_proba if self.target is None else self.predict
        if self.backend != "numba":
            return whole
        of_classes, standard = self.target is None, self.mean is not None
        few = kernels.Predictor(self.network, scale=self.scale, probabilities=of_classes)
        shape = (1, self.network.sizes[0])

        def predict(X: Any) -> np.ndarray:
            if standard and (type(X) is not np.ndarray or X.shape != shape or X.dtype.kind not in "fu"):
                return whole(X)
            made = few.row(self.standardise(X) if standard else X)
            if made is None:
                return whole(X)
            return made if self.target is None else self.target.numbers(made)

        return predict

    def predict(self, X: Any) -> np.ndarray:
        """Predictions for samples X as ``predict_proba`` takes them.

        These are numbers, float64 [N] or [N, outputs], for a model of numbers, else labels [N] of ``labels``: the class
        is the one of the first largest logit.
        """
        if self.target is not None:
            return self.target.numbers(_join([logits for _, logits in self._blocks(X, quick=True)]))
        return self.labels[self.class_indices(X)]

    def class_indices(self, X: Any) -> np.ndarray:
        """Indices into ``classes`` [N], int64, for X as ``predict_proba`` takes it: the first largest logit."""
        return _join([logits.argmax(1) for _, logits in self._blocks(X, quick=True)])

    @property
    def labels(self) -> np.ndarray:
        """The classes' labels in their own type for a model trained on arrays, else integers if all are, or text."""
        return _labels(self.label_kind, self.classes)

    @in_python
    def evaluate(self, X: Any, y: Any) -> tuple[float, float]:
        """(mean loss, accuracy) on X [N, inputs] with y [N], labels as ``predict`` gives them, or text, or indices of
        classes of text; (mean loss, R²) for numbers. A ``Dataset`` has indices: ``labels[data.y_test]``.
        """
        y = labels_given("y", y, warn_caller)
        if y.ndim != 1:
            raise InputError(f"y has shape {y.shape}; it must be (N,)")
        if self.target is not None:
            if y.dtype.kind not in "iuf":
                y = as_numbers(as_labels(y, "y"), "y")
            require_finite(y[:, None], "y")
        elif self.label_kind is not None or y.dtype.kind not in "iu" or self.labels.dtype.kind == "i":
            try:
                y, _ = class_indices(as_labels(y, "y"), "y", self.classes)
            except InputError as error:
                if y.dtype.kind in "iu" and ((y >= 0) & (y < len(self.classes))).all():
                    raise InputError(f"{error}; labels[y] are those of indices, which a Dataset has") from None
                raise
        measured = self.measure(X, y)
        return measured["loss"], measured["accuracy" if self.target is None else "r2"]

    def measure(self, X: Any, y: Any, weights: np.ndarray | None = None) -> dict[str, float]:
        """loss and accuracy on X [N, inputs] with class indices y [N], or loss, rmse, mae and r2 with numbers y.

        The loss is the mean of the minimised loss over the samples, in the network's units. ``weights`` [N] is what
        each sample counts.
        """
        loss, correct, done = 0.0, 0.0, 0
        kernel, target = None if self.loss is None else kernel_of(self.loss), self.target
        labels = y if target is None else target.encoded(np.asarray(y), self.network.dtype)
        numbers = []
        for fast, Z in self._blocks(X):
            block = slice(done, done + len(Z))
            of_block, weight = labels[block], None if weights is None else weights[block]
            if len(of_block) != len(Z) or not len(Z):  # which is refused below, once the rows are counted
                done = block.stop
                continue
            if kernel is None:
                part, hits, _ = fast.softmax_cross_entropy(Z, of_block, sample_weight=weight)
            else:
                part, hits, _ = fast.loss_gradient(Z, of_block, kernel, sample_weight=weight)
            if weight is not None and target is None:
                hits = weight[Z.argmax(1) == of_block].sum()
            loss, correct, done = loss + part, correct + hits, block.stop
            if target is not None:
                numbers.append(target.numbers(Z))
        if done != len(y) or not done:
            raise InputError(f"X has {done} rows, and y {len(y)}; they must have as many, and one at least")
        total = done if weights is None else float(weights.sum())
        if target is None:
            return {"loss": loss / total, "accuracy": float(correct / total)}
        return {"loss": loss / total, **number_scores(y, central(np.concatenate(numbers), target.kernel), weights)}

    def folded_layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(W, b) of each layer, float64 copies, with scale, mean and std folded into the first layer."""
        layers = []
        for W, b in self.network.layers:
            layers.append((W.astype(np.float64), np.zeros(W.shape[1]) if b is None else b.astype(np.float64)))
        W, b = layers[0]
        W *= self.scale
        if self.mean is not None and self.std is not None:
            W /= self.std[:, None]
            b -= self.mean @ W
        return layers

    def weights_sha256(self) -> str:
        """SHA-256 over the bytes of W and b, layer by layer, little-endian."""
        digest = hashlib.sha256()
        for W, b in self.network.layers:
            for array in (W, b) if b is not None else (W,):
                digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def contents(self) -> tuple[dict[str, Any], Tensors]:
        """(meta, tensors) of the file: scale, classes, activation, ...; W0, b0, W1, ..., mean, std, ranges, ..."""
        meta, tensors = self._common_contents()
        meta |= {
            "image_shape": self.image_shape,
            "columns": self.columns,
            "index_base": self.index_base,
            "framing": None if self.framing is None else asdict(self.framing),
            "light_border": self.light_border,
        }
        known: dict[str, Any] = {}
        for k, (W, b) in enumerate(self.network.layers):
            known |= {f"W{k}": W, f"b{k}": b}
        known |= {"mean": self.mean, "std": self.std, "ranges": self.ranges}
        return meta, tensors | {name: array for name, array in known.items() if array is not None}

    def _common_contents(self) -> tuple[dict[str, Any], Tensors]:
        """The contents that models of one network and of several have alike."""
        meta = {
            "scale": self.scale,
            "classes": self.classes,
            "activation": self.network.activation,
            "label": self.label,
            "trained_on": self.trained_on,
            "label_kind": self.label_kind,
            **({} if self.loss is None else {"loss": self.loss}),
        }
        target = self.target
        return meta, {} if target is None else {"target_mean": target.mean, "target_std": target.std}

    def save(self, path: str | Path) -> None:
        """Write the model to an .npz; whole or not at all. RunError when it cannot be."""
        write_tensors(as_path(path), *self.contents())
