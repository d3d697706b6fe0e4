"""How training images are distorted: the strengths behind ``--augment`` (``kernels.distort`` does the work)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from ..backend import ops
from ..config import TrainConfig
from ..data import Dataset, is_sparse
from ..errors import InputError
from ..images.framing import border_value

_ROTATION = math.radians(15)
_SCALE = _SHEAR = 0.15
_SHIFT = 0.07  # of the longer side: 2 of 28 pixels
_ELASTIC, _SIGMA = 34 / 28, 4 / 28  # of the longer side: Simard, Steinkraus and Platt's 34 and 4 of 28 pixels

Distort = Callable[..., np.ndarray]


def distortion(config: TrainConfig, data: Dataset) -> Distort | None:
    """f(X, rows, epoch=...) -> distorted copies, uint8 [R, inputs], of X[rows].

    Pixels from outside of an image get the training images' border value. None for ``--augment none``. InputError
    unless the samples are uint8 images.
    """
    if config.augment == "none":
        return None
    shape = data.image_shape
    if shape is None or is_sparse(data.X) or data.X.dtype != np.uint8:  # type: ignore[union-attr]
        raise InputError(f"--augment {config.augment}: {data.source} holds no images of 8-bit pixels")
    side, strength, fill = max(shape), config.augment_strength, border_value(data.X, shape)
    elastic = _ELASTIC * side * strength if config.augment == "elastic" else 0.0
    return partial(
        ops(config.backend).distort, shape=shape, seed=config.seed % 2**32, rotation=_ROTATION * strength,
        scale=_SCALE * strength, shear=_SHEAR * strength, shift=_SHIFT * side * strength, elastic=elastic,
        sigma=_SIGMA * side, fill=fill,
    )  # fmt: skip
