"""A model as one HTML page to draw on, page.html with the model written into it: no server, no network, no library."""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import kernels
from ..data.synthetic import SIDE, synthetic_digits
from ..errors import InputError
from ..images import digits, ink
from ..images.prepare import in_range, pixel_range
from ..models.loading import model_from

if TYPE_CHECKING:
    from ..models.model import Model

_PROBES = 200  # digits on which rounded weights are tried
_MOST_CHANGE = 0.005  # of a probability, by rounding the weights


def page(model: Model, path: str) -> bytes:
    """The page's bytes, with float16 weights if that changes no probability of drawn digits by more than _MOST_CHANGE,
    else float32. InputError, which names ``path``, for a model whose inputs are not drawings."""
    if model.framing is None or model.image_shape is None:
        raise InputError(
            f"{path}: a page to draw on needs a model that was trained on images of drawings, light on black with the "
            "digit in the middle, such as MNIST's"
        )
    dtype = "float16" if _fits_float16(model) else "float32"
    sizes = "-".join(map(str, model.network.sizes))
    black, white = pixel_range(model)
    contrast = (white - black) / 255
    multiplier, offset = np.array([contrast * model.scale]), np.array([black * model.scale])
    if model.mean is not None and model.std is not None:
        multiplier, offset = contrast / model.std, (black - model.mean) / model.std
    described: dict[str, Any] = {
        "classes": model.classes,
        "shape": model.image_shape,
        "box": model.framing.box,
        "busiest": model.framing.busiest,
        "about": f"A network of {sizes} ({model.parameters:,} weights), trained with fastmlp.",
        "constants": {name: value for name, value in (vars(digits) | vars(ink)).items() if name.isupper()},
        "dtype": dtype,
        "multiplier": _base64(multiplier, "float32"),
        "offset": _base64(offset, "float32"),
        "layers": [
            {
                "inputs": len(W),
                "W": _base64(W, dtype),
                "b": _base64(np.zeros(W.shape[1]) if b is None else b, "float32"),
            }
            for W, b in model.network.layers
        ],
    }
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    activations = ", ".join(kernels.ACTIVATIONS[name].javascript for name in model.network.activations)
    # A class named </script> must not end the script.
    text = json.dumps(described).replace("<", "\\u003c")
    return template.replace("/*ACTIVATIONS*/[]", f"[{activations}]").replace("/*MODEL*/null", text).encode()


def _base64(array: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<")).tobytes()).decode("ascii")


def _fits_float16(model: Model) -> bool:
    """Whether rounding the weights to float16 changes no probability of drawn digits by more than _MOST_CHANGE."""
    assert model.framing is not None
    assert model.image_shape is not None
    meta, tensors = model.contents()
    for name in [name for name in tensors if name.startswith("W")]:
        if np.abs(tensors[name]).max() > np.finfo(np.float16).max:
            return False
        tensors[name] = tensors[name].astype(np.float16).astype(model.network.dtype)
    X, _ = synthetic_digits(_PROBES)
    drawn = [digits.frame(image, model.image_shape, model.framing.box) for image in X.reshape(-1, SIDE, SIDE) / 255]
    rows = in_range(np.stack(drawn).reshape(len(drawn), -1), model)
    change = model_from(meta, tensors, "the rounded model").predict_proba(rows) - model.predict_proba(rows)
    return bool(np.abs(change).max() <= _MOST_CHANGE)
