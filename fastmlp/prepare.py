"""From a data set to what the loop reads: the scale of the inputs, held-out samples, weights."""

from __future__ import annotations

import math
import zlib
from dataclasses import replace
from typing import Any

import numpy as np

from .backend import kernels
from .batches import Window
from .config import TrainConfig
from .data import Dataset, OnDisk, divide, is_sparse
from .errors import InputError, RunError
from .model import Model

_SAMPLE_ROWS = 1000  # looked at for the scale of the inputs
_BLOCK = 1 << 17  # numbers looked at together: 1 MB of float64
_ROW_BYTES = 64  # of a sample in two windows: its label, weight and places, and what they are drawn with


def dense_enough(data: Dataset) -> Dataset:
    """The data set with its sparse samples spelt out, where so few numbers are zeros that skipping them does not pay."""
    X = data.X
    if not is_sparse(X) or _entries(X) <= kernels.tuning.SPARSE_DENSITY * X.shape[1]:
        return data
    dense = replace(X, spelt_out=True) if isinstance(X, OnDisk) else kernels.csr(X).toarray()
    return replace(data, X=dense, X_test=kernels.csr(data.X_test).toarray())


def _entries(X: Any) -> float:
    """Stored entries of a row of a sparse X, on average."""
    return X.entries if isinstance(X, OnDisk) else X.data.size / len(X)


def input_scale(X: Any) -> tuple[float, float]:
    """(1 / RMS, density of non-zeros) of evenly spaced rows of X. Scaling keeps the zeros zero, which centring would not."""
    sample = X[:: max(1, len(X) // _SAMPLE_ROWS)]
    values = sample if isinstance(sample, np.ndarray) else sample.data
    size = max(1, math.prod(sample.shape))
    largest = float(np.abs(values).max(initial=0))
    density = float(np.count_nonzero(values) / size)
    if largest == 0:
        return 1.0, density
    rms = largest * float(np.square(values / largest, dtype=np.float64).sum() / size) ** 0.5  # no square overflows
    return 1 / rms if rms else math.inf, density


def standard_statistics(data: Dataset, config: TrainConfig, density: float) -> dict[str, np.ndarray]:
    """``mean`` and ``std`` [inputs] of the training samples, float64, where they are to be standardised; else nothing.

    A feature that never varies has a std of 1.
    """
    X: Any = data.X
    wanted, dense = config.standardize, density > kernels.tuning.SPARSE_DENSITY
    if is_sparse(X):
        if wanted == "yes":
            raise InputError(f"{data.source}: is sparse; --standardize must be auto or no (means would fill the zeros)")
        return {}
    table = X.dtype.kind == "f" and data.image_shape is None and dense and config.scale is None
    if wanted == "no" or (wanted == "auto" and not table):
        return {}
    blocks = row_blocks(X)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        mean, squares = np.zeros((2, X.shape[1]))
        for rows in blocks:
            mean += X[rows].sum(0, dtype=np.float64)
        mean /= len(X)
        low = high = X[:1][0]
        for block in (X[rows] for rows in blocks):
            squares += np.square(block - mean).sum(0)
            low, high = np.minimum(low, block.min(0)), np.maximum(high, block.max(0))
        std = np.sqrt(squares / len(X))
    same = low == high
    mean[same], std[same] = low[same], 1  # exactly: the rounding of a mean and a std is not to be divided by another
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and std.all()):
        raise InputError(f"{data.source}: features too large or too small to standardise")
    return {"mean": mean, "std": std}


def row_blocks(X: Any) -> list[slice]:
    """The rows of a dense X in blocks, the same whether it is in memory or on disk: so are sums over them, to the bit."""
    size = max(1, _BLOCK // X.shape[1])
    return [slice(start, start + size) for start in range(0, len(X), size)]


def window_bytes(X: Any, dtype: str, density: float, *, standard: bool, sparse: bool) -> float:
    """What a sample of X takes in memory where one window is trained on while the next is read and prepared.

    Of the next there may be three forms at once: as it is read, in the network's ``dtype`` or standardised, and without the
    zeros (``sparse``); of the one trained on there is the last.
    """
    inputs, kept = X.shape[1], X.dtype.itemsize
    if isinstance(X, np.ndarray):
        forms = [float(inputs * kept)]
    else:
        forms = [X.row_bytes if isinstance(X, OnDisk) else _entries(X) * (kept + X.indices.itemsize) + 8]
    if not is_sparse(X) and (standard or X.dtype not in (np.uint8, np.dtype(dtype))):
        kept = np.dtype(dtype).itemsize
        forms.append(inputs * kept)
    if sparse:
        forms.append(density * inputs * (kept + (2 if inputs <= 2**16 else 4)) + 8)
    return sum(forms) + forms[-1] + _ROW_BYTES


def within_memory(data: Dataset, config: TrainConfig, bytes_each: float) -> tuple[Dataset, int | None]:
    """(the data, in memory if they fit, the rows that a window may have), of samples that take ``bytes_each`` in windows.

    Samples that are in memory anyway take the same order as on disk where ``config.memory`` says so.
    """
    memory = data.X.memory if config.memory is None and isinstance(data.X, OnDisk) else config.memory
    if memory is None:
        return data, None
    batch = min(config.batch_size, len(data.X))
    most = int(memory * 2**20 / bytes_each) // batch * batch
    if most == 0:
        raise InputError(
            f"--memory {memory}: is too little for two batches of {batch:,} samples of {data.source}; it must be at least "
            f"{math.ceil(bytes_each * batch / 2**20):,}"
        )
    if isinstance(data.X, OnDisk):
        if most >= len(data.X):
            return replace(data, X=data.X.read(), y=data.y.astype(np.int64)), None
        if config.sampling == "draw":
            raise InputError(f"--memory {memory}: batches drawn from all samples (--preset seed) need them in memory")
    return data, most


def prepared(X: Any, model: Model, source: str) -> Any:
    """X in the dtype that the kernels take: once, not at every call. InputError for values beyond its range."""
    dtype = model.network.dtype
    if not isinstance(X, np.ndarray) or (X.dtype == np.uint8 and model.mean is None):
        return X
    Y = X if X.dtype == dtype and model.mean is None else np.empty(X.shape, dtype)
    for rows in row_blocks(X):
        if Y is not X:
            with np.errstate(over="ignore"):  # refused below
                Y[rows] = model.standardise(X[rows])
        if not np.isfinite(Y[rows]).all():
            raise InputError(f"{source}: holds values beyond the range of {dtype}")
    return Y


def load_window(window: Window, data: Dataset, weights: np.ndarray | None, model: Model, sparse: bool) -> Window:
    """The window with its samples, read in the order of the file and prepared, their labels and weights.

    On one thread: it is called beside the training.
    """
    order = np.argsort(window.rows)
    wanted = window.rows[order]
    X = prepared(data.X[wanted], model, data.source)
    if sparse:
        with kernels.threads(1):
            try:
                X = kernels.csr(X)
            except ValueError as error:
                raise RunError(f"{data.source}: was changed while it was being read ({error})") from None
    rows = np.empty_like(order)
    rows[order] = np.arange(len(order))
    taken = None if weights is None else weights[wanted]
    return replace(window, rows=rows, X=X, y=data.y[wanted].astype(np.int64), weights=taken)


def sample_weights(config: TrainConfig, data: Dataset) -> np.ndarray | None:
    """The samples' own weights times those of their classes, float64 [N]; None where all are 1."""
    if config.class_weight is None:
        return data.sample_weight
    if config.class_weight == "balanced":
        counts = np.bincount(data.y, minlength=len(data.classes))
        weights = len(data.y) / (len(counts) * np.maximum(counts, 1))
    else:
        weights = np.array(config.class_weights(len(data.classes)))
    return weights[data.y] * (1.0 if data.sample_weight is None else data.sample_weight)


def hold_out(data: Dataset, fraction: float, seed: int) -> tuple[Dataset, Any, np.ndarray]:
    """(the data without it, X, y) of a seeded ``fraction`` of the training samples."""
    count = round(len(data.X) * fraction)
    if not 0 < count < len(data.X):
        raise InputError(f"{len(data.X)} training samples cannot be split with --validation {fraction}")
    order = np.random.default_rng([seed, 0xFA11]).permutation(len(data.X))
    rows, kept = np.sort(order[:count]), np.sort(order[count:])
    weights = None if data.sample_weight is None else data.sample_weight[kept]
    X, held_out = divide(data.X, kept, rows)
    return replace(data, X=X, y=data.y[kept], sample_weight=weights), held_out, data.y[rows].astype(np.int64)


def digest(data: Dataset, rows: np.ndarray | None = None) -> int:
    """CRC-32 of the labels and of evenly spaced samples, of all or of some ``rows``: tells one data set from another."""
    X, y = data.X, data.y if rows is None else data.y[rows]
    step = max(1, len(y) // _SAMPLE_ROWS)
    sample = X[::step] if rows is None else X[rows[::step]]
    arrays = (sample,) if isinstance(sample, np.ndarray) else (sample.indptr, sample.indices, sample.data)
    crc = 0
    for start in range(0, len(y), _BLOCK):  # in one type, whichever few bytes they are kept in
        crc = zlib.crc32(y[start : start + _BLOCK].astype(np.int64).data, crc)
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array).data, crc)
    return crc
