"""From a data set to what the loop reads: the scale of the inputs, held-out samples, weights."""

from __future__ import annotations

import math
import zlib
from dataclasses import replace
from typing import Any

import numpy as np

from .backend import kernels
from .config import TrainConfig
from .data import Dataset
from .errors import InputError

_SAMPLE_ROWS = 1000  # looked at for the scale of the inputs


def take_rows(X: Any, rows: np.ndarray) -> Any:
    """X[rows] of a dense or sparse X."""
    return X[rows] if isinstance(X, np.ndarray) else X.take(rows)


def dense_enough(data: Dataset) -> Dataset:
    """The data set with its sparse samples spelt out, where so few numbers are zeros that skipping them does not pay."""
    X = data.X
    if isinstance(X, np.ndarray) or X.data.size <= kernels.tuning.SPARSE_DENSITY * math.prod(X.shape):
        return data
    return replace(data, X=kernels.csr(X).toarray(), X_test=kernels.csr(data.X_test).toarray())


def input_scale(X: Any) -> tuple[float, float]:
    """(1 / RMS, density of non-zeros) of evenly spaced rows of X. Scaling keeps the zeros zero, which centring would not."""
    sample = take_rows(X, np.arange(0, len(X), max(1, len(X) // _SAMPLE_ROWS)))
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
    X, wanted, dense = data.X, config.standardize, density > kernels.tuning.SPARSE_DENSITY
    if not isinstance(X, np.ndarray):
        if wanted == "yes":
            raise InputError(f"{data.source}: is sparse; --standardize must be auto or no (means would fill the zeros)")
        return {}
    table = X.dtype.kind == "f" and data.image_shape is None and dense and config.scale is None
    if wanted == "no" or (wanted == "auto" and not table):
        return {}
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        mean, std = X.mean(0, dtype=np.float64), X.std(0, dtype=np.float64)
    same = X.max(0) == X.min(0)
    mean[same], std[same] = X[0, same], 1  # exactly: the rounding of a mean and a std is not to be divided by another
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and std.all()):
        raise InputError(f"{data.source}: features too large or too small to standardise")
    return {"mean": mean, "std": std}


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
    rest = replace(data, X=take_rows(data.X, kept), y=data.y[kept], sample_weight=weights)
    return rest, take_rows(data.X, rows), data.y[rows]


def digest(data: Dataset) -> int:
    """CRC-32 of the labels and of evenly spaced samples: tells one data set from another."""
    sample = take_rows(data.X, np.arange(0, len(data.X), max(1, len(data.X) // _SAMPLE_ROWS)))
    arrays = (sample,) if isinstance(sample, np.ndarray) else (sample.indptr, sample.indices, sample.data)
    crc = 0
    for array in (data.y, *arrays):
        crc = zlib.crc32(np.ascontiguousarray(array).data, crc)
    return crc
