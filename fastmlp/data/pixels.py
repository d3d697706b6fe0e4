"""Recognises tables whose rows are images."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

_SMALLEST = 64  # pixels
_ROWS = 1000  # looked at
_ALIKE = 0.7  # neighbours differ by at most so much of what distant numbers do: digits 0.2 to 0.5, counts above 0.8
_PIXEL = re.compile(r"(pixel|px)[ _.]?\d+([_.x]\d+)?|\d+x\d+", re.IGNORECASE)


def square_image(X: np.ndarray, names: Sequence[str] | None) -> tuple[int, int] | None:
    """(side, side) where the rows of X [N, side * side] are images: bytes, at least 64, and evidence that they are.

    Either the columns are named as pixels are (pixel0, pixel_0_1, 1x1), or numbers beside and below each other are more
    alike than those half a row apart, as in no other kind of table.
    """
    side = math.isqrt(X.shape[1])
    if X.dtype != np.uint8 or side * side != X.shape[1] or X.shape[1] < _SMALLEST:
        return None
    if names is not None and all(_PIXEL.fullmatch(name) for name in names):
        return side, side
    sample = X[:: max(1, len(X) // _ROWS)].astype(np.int16)
    beside, apart, below = (float(np.abs(sample[:, k:] - sample[:, :-k]).mean()) for k in (1, side // 2, side))
    return (side, side) if max(beside, below) < _ALIKE * apart else None
