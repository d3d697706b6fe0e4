"""The ONNX graph of one network, from unscaled samples to classes and probabilities, or numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import kernels
from ..images.prepare import pixel_range
from ..models.described import described, in_words
from ..models.model import Model
from ..models.target import Target
from .graph import End, Graph, Value, most_probable


def onnx_model(model: Model, labels: np.ndarray | None = None, *, uint8: bool = False) -> Any:
    """An onnx.ModelProto from "X" float32 [N, inputs] to "class" int64 [N], an index, and "probabilities" [N, classes].

    For a model of numbers the output is "prediction" [N], or [N, outputs] if there are several. With the classes'
    ``labels`` (numbers or text) the first output is "label" [N], or for several logistic outputs int64 [N, classes] of
    zeros and ones. With ``uint8`` X are pixels uint8 [N, rows, columns] of 0 to 255, as image files hold them, and the
    labels are the names of the classes.

    The graph computes in the network's dtype. The scale is folded into the first layer. Mean and std are nodes of their
    own, in double: folded in float32 their terms would cancel, which changes probabilities by 5e-5 for features of 2000
    +- 10, and by 4e-3 for 100,000 +- 10.
    """
    network, graph = model.network, Graph()
    dtype, Y, shape = network.dtype, Value(graph, "X", "uint8" if uint8 else "float32"), ["N", network.sizes[0]]
    taken: End = (Y.name, Y.dtype, shape)
    if uint8:
        assert model.image_shape is not None
        labels = np.array(model.classes, object) if labels is None and model.classes else labels
        shape[1:] = model.image_shape
        Y = Y.cast("float32").made_by("Flatten")
        black, white = pixel_range(model)
        if (black, white) != (0, 255):
            Y = Y * ((white - black) / 255) + black
    if dtype == "float64" or model.mean is not None:
        Y = Y.cast("float64")
    if model.mean is not None and model.std is not None:
        Y = ((Y - graph.constant(model.mean, "mean")) / graph.constant(model.std, "std")).cast(dtype)
    for k, (W, b) in enumerate(network.layers):
        if k == 0:
            W = (W.astype("float64") * model.scale).astype(dtype)
        else:
            Y = kernels.ACTIVATIONS[network.activations[k - 1]].onnx(Y)
        Y = Y.made_by("Gemm", graph.constant(W, f"W{k}"), *([] if b is None else [graph.constant(b, f"b{k}")]))
    if model.target is not None:
        made = [("prediction", dtype, _numbers(Y, model.target))]
    else:
        made = _classes(Y, model, labels)
    return graph.model([taken], made, in_words(model, uint8=uint8), described(model))


def _numbers(Y: Value, target: Target) -> list[Any]:
    """Add nodes from the network's outputs to "prediction"; returns its shape."""
    T, each = len(target.mean), int(target.kernel.each)
    if target.kernel.output == "exponential":
        Y = Y.made_by("Exp")
    if each > 1:  # sort each target's quantiles
        apart = Y.made_by("Reshape", np.array([-1, T, each]))
        Y = apart.made_by("TopK", np.array([each]), axis=-1, largest=0).made_by("Reshape", np.array([-1, T * each]))
    mean, std = (
        Y.graph.constant(np.repeat(values, each).astype(Y.dtype), name)
        for name, values in (("target_mean", target.mean), ("target_std", target.std))
    )
    Y = Y * std
    if T * each > 1:
        Y.made_by("Add", mean, output="prediction")
        return ["N", T * each]
    (Y + mean).made_by("Squeeze", np.array([1]), output="prediction")
    return ["N"]


def _classes(Y: Value, model: Model, labels: np.ndarray | None) -> list[End]:
    """Add nodes from the network's outputs to classes and probabilities."""
    network, outputs, classes = model.network, model.network.sizes[-1], len(model.classes)
    if network.output == "softmax" or classes == 1:  # a single class has probability 1
        P = Y.made_by("Softmax", output="probabilities", axis=-1)
    elif outputs == classes:
        P = Y.made_by("Sigmoid", output="probabilities")
    else:  # the output is of the second of two classes
        yes = Y.made_by("Sigmoid")
        P = (1 - yes).made_by("Concat", yes, output="probabilities", axis=-1)
    probabilities: End = (P.name, P.dtype, ["N", classes])
    if labels is None:
        Y.made_by("ArgMax", output="class", axis=-1, keepdims=0)
        return [("class", "int64", ["N"]), probabilities]
    if network.output == "logistic" and outputs == classes > 1:
        P.made_by("Greater", 0.5).cast("int64", "label")
        return [("label", "int64", ["N", classes]), probabilities]
    return [most_probable(P, labels), probabilities]
