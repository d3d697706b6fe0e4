"""The ONNX graph of one network, from unscaled samples to classes and probabilities, or numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import kernels
from ..images.prepare import pixel_range
from ..models.described import described, in_words
from ..models.model import Model
from ..models.target import Target
from .graph import End, Graph, most_probable


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
    node, constant, dtype = graph.node, graph.constant, network.dtype
    Y, taken = "X", ("X", "float32", ["N", network.sizes[0]])
    if uint8:
        assert model.image_shape is not None
        labels = np.array(model.classes, object) if labels is None and model.classes else labels
        taken = ("X", "uint8", ["N", *model.image_shape])
        Y = node("Flatten", [graph.cast(Y, "float32")])
        black, white = pixel_range(model)
        if (black, white) != (0, 255):
            Y = node("Mul", [Y, constant("contrast", np.float32((white - black) / 255))])
            Y = node("Add", [Y, constant("black", np.float32(black))])
    if dtype == "float64" or model.mean is not None:
        Y = graph.cast(Y, "float64")
    if model.mean is not None:
        Y = node("Div", [node("Sub", [Y, constant("mean", model.mean)]), constant("std", model.std)])
        Y = graph.cast(Y, dtype)
    for k, (W, b) in enumerate(network.layers):
        if k == 0:
            W = (W.astype("float64") * model.scale).astype(dtype)
        else:
            Y = kernels.ACTIVATIONS[network.activations[k - 1]].onnx(node, constant, Y, dtype)
        Y = node("Gemm", [Y, constant(f"W{k}", W), *([] if b is None else [constant(f"b{k}", b)])])
    if model.target is not None:
        made = [("prediction", dtype, _numbers(node, constant, Y, model.target, dtype))]
    else:
        made = _classes(graph, Y, model, labels)
    return graph.model([taken], made, in_words(model, uint8=uint8), described(model))


def _numbers(node: Any, constant: Any, Z: str, target: Target, dtype: np.dtype) -> list[Any]:
    """Add nodes from the network's outputs to "prediction"; returns its shape."""
    T, each = len(target.mean), int(target.kernel.each)
    Y = node("Exp", [Z]) if target.kernel.output == "exponential" else Z
    if each > 1:  # sort each target's quantiles
        Y = node("Reshape", [Y, constant("apart", np.array([-1, T, each]))])
        node("TopK", [Y, constant("all", np.array([each]))], ["sorted", "order"], axis=-1, largest=0)
        Y = node("Reshape", ["sorted", constant("together", np.array([-1, T * each]))])
    mean, std = (np.repeat(values, each).astype(dtype) for values in (target.mean, target.std))
    Y = node("Mul", [Y, constant("target_std", std)])
    if T * each > 1:
        node("Add", [Y, constant("target_mean", mean)], "prediction")
        return ["N", T * each]
    Y = node("Add", [Y, constant("target_mean", mean)])
    node("Squeeze", [Y, constant("column", np.array([1]))], "prediction")
    return ["N"]


def _classes(graph: Graph, Y: str, model: Model, labels: np.ndarray | None) -> list[End]:
    """Add nodes from the network's outputs to classes and probabilities."""
    network, dtype, outputs = model.network, model.network.dtype, model.network.sizes[-1]
    node, constant, classes = graph.node, graph.constant, len(model.classes)
    if network.output == "softmax" or classes == 1:  # a single class has probability 1
        P = node("Softmax", [Y], "probabilities", axis=-1)
    elif outputs == classes:
        P = node("Sigmoid", [Y], "probabilities")
    else:  # the output is of the second of two classes
        yes = node("Sigmoid", [Y])
        no = node("Sub", [constant("one", np.ones((1, 1), dtype)), yes])
        P = node("Concat", [no, yes], "probabilities", axis=-1)
    probabilities: End = ("probabilities", dtype, ["N", classes])
    if labels is None:
        node("ArgMax", [Y], "class", axis=-1, keepdims=0)
        return [("class", "int64", ["N"]), probabilities]
    if network.output == "logistic" and outputs == classes > 1:
        graph.cast(node("Greater", [P, constant("half", np.array(0.5, dtype))]), "int64", "label")
        return [("label", "int64", ["N", classes]), probabilities]
    return [most_probable(graph, P, labels), probabilities]
