"""How the images of a training set are framed: what a drawing must be made to look like for a model of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .digits import busyness

_LOOKED_AT = 1000  # images looked at
_INK = 0.04  # of an image's brightest pixel: darker pixels are background
_BUSY = 0.5  # of the digits' longer side: drawings are allowed at least this busyness


@dataclass(frozen=True)
class Framing:
    """Images of light ink on black. The longer side of the ink is ``box`` pixels on average and ``most`` at most; its
    centre of mass at most ``off_centre`` pixels from the middle, index (rows / 2, columns / 2). MNIST has 20, 20 and 1.

    An image whose ``busyness`` exceeds ``busiest``, if given, is a scribble; for MNIST this is 18.
    """

    box: float
    most: float
    off_centre: float
    busiest: float | None = None

    def checked(self, shape: tuple[int, int]) -> Framing:
        """The same with floats. ValueError where images of ``shape`` cannot be framed so."""
        box, most, off_centre = float(self.box), float(self.most), float(self.off_centre)
        busiest = None if self.busiest is None else float(self.busiest)
        if not (0 < box <= most <= max(shape) and 0 <= off_centre <= max(shape) and (busiest is None or busiest > 0)):
            raise ValueError("framing")
        return Framing(box, most, off_centre, busiest)

    def fits(self, image: np.ndarray) -> bool:
        """Whether ``image`` [rows, columns] is framed so already."""
        found = placed(image[None])
        return bool(len(found) and found[0, 0] <= self.most and found[0, 1] <= self.off_centre)


def placed(images: np.ndarray) -> np.ndarray:
    """(longer side of the ink, distance of its centre of mass from the middle) of each image that is not black."""
    images = images[images.max((1, 2)) > 0].astype(np.float64)
    ink = images / images.max((1, 2), keepdims=True) >= _INK
    sides, distances = [], []
    for axis in (1, 2):
        mass, there = images.sum(axis), ink.any(axis)
        sides.append(there.shape[1] - there.argmax(1) - there[:, ::-1].argmax(1))
        distances.append(np.abs(mass @ np.arange(mass.shape[1]) / mass.sum(1) - mass.shape[1] // 2))
    return np.stack([np.max(sides, 0), np.max(distances, 0)], 1)


def framing_of(X: Any, shape: tuple[int, int] | None) -> Framing | None:
    """The framing of the images X [N, rows * columns], or None unless all are drawings on black, clear of the border
    and centred."""
    if shape is None or hasattr(X, "indptr") or min(shape) < 8:
        return None
    images = _sample(X, shape)
    found = placed(images) if images.min() == 0 else np.empty((0, 2))
    if not len(found):
        return None
    box, (most, off_centre) = float(np.median(found[:, 0])), found.max(0).tolist()
    if box > 0.9 * max(shape) or off_centre > 0.2 * min(shape):
        return None
    scale = 255 / images.max()
    return Framing(box, most, off_centre + 0.5, max(1.5 * int(busyness(scale * images).max()), _BUSY * box))


def border_lightness(X: Any, shape: tuple[int, int] | None) -> float | None:
    """Where the median border of images X [N, rows * columns] lies between their darkest pixel, 0, and lightest, 1.

    None where there are no images, or all pixels are the same.
    """
    if shape is None or hasattr(X, "indptr") or not len(X):
        return None
    images = _sample(X, shape)
    low, high = float(images.min()), float(images.max())
    return (float(np.median(border_means(images))) - low) / (high - low) if low < high else None


def border_value(X: Any, shape: tuple[int, int]) -> int:
    """The median border pixel of the images X [N, rows * columns]: the colour of their background."""
    return int(np.median(_border(_sample(X, shape))))


def border_means(images: np.ndarray) -> np.ndarray:
    """The mean border pixel of each image [rows, columns] of ``images``."""
    return _border(images).mean(1, dtype=np.float64)


def _sample(X: Any, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(X[:: -(-len(X) // _LOOKED_AT)]).reshape(-1, *shape)


def _border(images: np.ndarray) -> np.ndarray:
    """The pixels in the first and last row and column of each image."""
    border = np.ones(images.shape[1:], bool)
    border[1:-1, 1:-1] = False
    return images[:, border]
