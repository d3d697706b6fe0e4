"""A trained network with all that predicting needs, and its file."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from .backend import CSR, Network, ops
from .data.dataset import require_finite
from .data.npz import read_npz
from .errors import InputError, RunError
from .paths import atomic_write

_FORMAT = "fastmlp-model"
_VERSION = 1
_ROWS = 4096  # predicted at a time, so that memory does not grow with the data


def _join(blocks: list[np.ndarray], none: np.ndarray) -> np.ndarray:
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate(blocks) if blocks else none


class Model:
    """A multilayer perceptron: ReLU between layers, softmax over ``classes`` at the end, inputs times ``scale``."""

    def __init__(self, network: Network, scale: float, classes: tuple[str, ...], backend: str = "numba") -> None:
        self.network, self.scale, self.classes, self.backend = network, scale, classes, backend

    def __repr__(self) -> str:
        return f"Model({'-'.join(map(str, self.network.sizes))}, {self.network.dtype})"

    def _blocks(self, X: Any) -> Any:
        """The logits of X, block by block."""
        fast, sparse = ops(self.backend), isinstance(X, CSR)
        X = X if sparse else np.asarray(X)
        if len(X.shape) != 2 or X.shape[1] != self.network.sizes[0]:
            raise InputError(f"X has shape {X.shape}; this model takes (N, {self.network.sizes[0]})")
        if X.dtype.kind not in "fiub":
            raise InputError(f"X has dtype {X.dtype}; this model takes numbers")
        require_finite(X.values[:, None] if sparse else X, "X")
        if sparse:
            yield fast.mlp_forward(X, self.network, scale=self.scale)
            return
        for start in range(0, len(X), _ROWS):
            yield fast.mlp_forward(X[start : start + _ROWS], self.network, scale=self.scale)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities [N, classes] for samples X [N, inputs] (uint8, float or CSR). A row's do not depend on the others."""
        blocks = [ops(self.backend).softmax(logits) for logits in self._blocks(X)]
        return _join(blocks, np.empty((0, len(self.classes)), self.network.dtype))

    def predict(self, X: Any) -> np.ndarray:
        """Class indices [N], int64, for samples X [N, inputs]: the first largest logit."""
        blocks = [logits.argmax(1) for logits in self._blocks(X)]
        return _join(blocks, np.empty(0, np.int64))

    def evaluate(self, X: Any, y: Any) -> tuple[float, float]:
        """(mean cross-entropy, accuracy) on samples X [N, inputs] with class indices y [N]."""
        loss, correct, done = 0.0, 0, 0
        for logits in self._blocks(X):
            part, hits, _ = ops(self.backend).softmax_cross_entropy(logits, y[done : done + len(logits)])
            loss, correct, done = loss + part, correct + hits, done + len(logits)
        return loss / done, correct / done

    def weights_sha256(self) -> str:
        """SHA-256 over the bytes of W and b, layer by layer, little-endian."""
        digest = hashlib.sha256()
        for W, b in self.network.layers:
            for array in (W, b) if b is not None else (W,):
                digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write an .npz: ``meta`` (JSON as bytes) and W0, b0, W1, ...; whole or not at all. RunError when it cannot be."""
        meta = {"format": _FORMAT, "version": _VERSION, "scale": self.scale, "classes": list(self.classes)}
        arrays: dict[str, Any] = {"meta": np.frombuffer(json.dumps(meta).encode(), np.uint8)}
        for k, (W, b) in enumerate(self.network.layers):
            arrays[f"W{k}"] = W
            if b is not None:
                arrays[f"b{k}"] = b
        try:
            with atomic_write(Path(path)) as file:
                np.savez(file, **arrays)
        except OSError as error:
            raise RunError(f"{path}: the model cannot be written ({error.strerror or error})") from None


def load_model(path: str | Path) -> Model:
    """A model that ``Model.save`` wrote. InputError for any other file."""
    arrays = read_npz(Path(path))
    try:
        meta = json.loads(arrays["meta"].tobytes())
        if meta["format"] != _FORMAT:
            raise KeyError("format")
        version, scale, classes = meta["version"], float(meta["scale"]), tuple(map(str, meta["classes"]))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise InputError(f"{path}: not a fastmlp model") from None
    if version != _VERSION:
        raise InputError(f"{path}: model format {version}; this version reads {_VERSION}")
    if not 0 < scale < math.inf:
        raise InputError(f"{path}: the input scale is {scale}; it must be positive and finite")
    weights = [arrays[name] for name in (f"W{k}" for k in range(len(arrays))) if name in arrays]
    bias = "b0" in arrays
    return Model(_network(weights, arrays, bias, len(classes), str(path)), scale, classes)


def _network(weights: list[np.ndarray], arrays: dict[str, np.ndarray], bias: bool, classes: int, path: str) -> Network:
    if not weights or any(W.ndim != 2 or 0 in W.shape or W.dtype != weights[0].dtype for W in weights):
        raise InputError(f"{path}: the weights of a model must be matrices of one dtype")
    sizes = [weights[0].shape[0]] + [W.shape[1] for W in weights]
    if weights[0].dtype not in (np.float32, np.float64):
        raise InputError(f"{path}: the weights have dtype {weights[0].dtype}; it must be float32 or float64")
    if sizes[-1] != classes or any(W.shape[0] != size for W, size in zip(weights, sizes)):
        raise InputError(f"{path}: layers {[W.shape for W in weights]} do not lead to {classes} classes")
    network = Network(sizes, bias=bias, dtype=weights[0].dtype)
    for k, (W, b) in enumerate(network.layers):
        W[...] = weights[k]
        if b is not None:
            saved = arrays.get(f"b{k}")
            if saved is None or saved.shape != b.shape or saved.dtype != b.dtype:
                raise InputError(
                    f"{path}: b{k} is missing or of another shape; it must be {b.dtype} of shape {b.shape}"
                )
            b[...] = saved
    if not np.isfinite(network.params).all():
        raise InputError(f"{path}: the weights are not all finite")
    return network
