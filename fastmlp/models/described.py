"""Descriptions of a model's inputs and outputs for the users of its file: as JSON, and in words."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..images.prepare import pixel_range
from .model import Model

_MOST_NAMED = 100  # columns or classes in a sentence


def described(model: Model) -> dict[str, str]:
    """Properties of a model's inputs and outputs, each as JSON: classes or loss, image_shape, columns, range, polarity.

    ``range`` is [black, white] of images, else [least, greatest] of each column, or of all numbers.
    """
    meta, _ = model.contents()
    keys = ("classes" if model.target is None else "loss", "image_shape", "columns")
    known = {key: meta[key] for key in keys if meta[key] is not None}
    if model.image_shape is not None:
        known["range"] = list(pixel_range(model))
        known["polarity"] = "dark on light" if model.light_border else "light on dark"
    elif model.ranges is not None:
        columns = model.ranges[[0, -1]].T.tolist()
        known["range"] = columns if len(columns) > 1 else columns[0]
    return {key: json.dumps(value) for key, value in known.items()}


def in_words(model: Model, *, uint8: bool = False) -> str:
    """A few sentences on the inputs X, and on the classes or the predicted numbers."""
    inputs = model.network.sizes[0]
    if model.image_shape is not None:
        rows, columns = model.image_shape
        black, white = (0, 255) if uint8 else pixel_range(model)
        shape = f"uint8 [N, {rows}, {columns}]" if uint8 else f"float32 [N, {inputs}], row by row"
        words = f"X are grey images of {rows} x {columns} pixels: {shape}, black {black:g}, white {white:g}, "
        words += "dark on a light ground." if model.light_border else "light on a dark ground."
        if model.framing is not None:
            words += f" The ink's longer side is {model.framing.box:g} pixels, its centre of mass in the middle."
    else:
        words = f"X are the {inputs} features of a table as they come: float32 [N, {inputs}]"
        words += f", in the order {_listed(model.columns)}." if model.columns else "."
        if model.ranges is not None:
            low, high = model.ranges[0].tolist(), model.ranges[-1].tolist()
            pairs = [f"{least:.5g} to {greatest:.5g}" for least, greatest in zip(low, high)]
            words += f" In training they were from {_listed(pairs)}."
    if model.target is None:
        return f"{words} Classes: {_listed(model.classes)}."
    return f"{words} The prediction is a number, in the units of the training data, learnt by {model.target.loss}."


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown}, ... ({len(names):,} in all)"
