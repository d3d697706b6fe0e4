"""What every reader returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError

MAX_CLASSES = 10_000


def require_finite(X: np.ndarray, what: str) -> None:
    """InputError that names the first row of X [N, I] with a NaN or an infinity."""
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        row = int(np.flatnonzero(~np.isfinite(X).all(1))[0])
        raise InputError(f"{what}, row {row}: holds a NaN or an infinity; all values must be finite")


@dataclass(frozen=True)
class Dataset:
    """Samples in rows: X [N, I] uint8 or float32/float64, y [N] class indices 0 .. len(classes)-1, and a test set alike.

    ``source`` says what was read, in words, for the one line that the command prints about it.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        for part, X, y in (("training", self.X, self.y), ("test", self.X_test, self.y_test)):
            if len(X) == 0:
                raise InputError(f"{self.source}: the {part} set is empty; it must hold at least one sample")
            if len(X) != len(y):
                raise InputError(f"{self.source}: {len(X)} {part} samples but {len(y)} labels; there must be as many")
            low, high = int(y.min()), int(y.max())
            if low < 0 or high >= len(self.classes):
                raise InputError(
                    f"{self.source}: {part} label {low if low < 0 else high} is out of range; "
                    f"it must be from 0 to {len(self.classes) - 1}"
                )
            require_finite(X, f"{self.source}: {part} set")
        if self.X.shape[1] == 0:
            raise InputError(f"{self.source}: the samples have no features; they must have at least one")
        if self.X.shape[1] != self.X_test.shape[1]:
            raise InputError(
                f"{self.source}: the test set has {self.X_test.shape[1]} features, the training set {self.X.shape[1]}; "
                "they must be equal"
            )

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, {len(self.X)} + {len(self.X_test)} samples of {self.X.shape[1]} {self.X.dtype} "
            f"features, {len(self.classes)} classes)"
        )


def class_names(y: np.ndarray, source: str) -> tuple[str, ...]:
    """'0', '1', ... for the labels in y; InputError when they make no sense as classes."""
    if len(y) and (int(y.min()) < 0 or int(y.max()) >= MAX_CLASSES):
        bad = int(y.min()) if int(y.min()) < 0 else int(y.max())
        raise InputError(f"{source}: label {bad} is out of range; it must be from 0 to {MAX_CLASSES - 1}")
    return tuple(str(k) for k in range(max(2, int(y.max()) + 1 if len(y) else 2)))


def split(
    X: np.ndarray, y: np.ndarray, fraction: float, seed: int, source: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(X, y, X_test, y_test): a seeded random ``fraction`` of the rows held out."""
    held_out = round(len(X) * fraction)
    if not 0 < held_out < len(X):
        raise InputError(f"{source}: {len(X)} samples cannot be split with --val-fraction {fraction}; give --test")
    order = np.random.default_rng([seed, 0x5EED]).permutation(len(X))
    test, train = np.sort(order[:held_out]), np.sort(order[held_out:])
    return X[train], y[train], X[test], y[test]
