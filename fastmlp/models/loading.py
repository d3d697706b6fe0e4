"""Models read from their files, and from checkpoints. Nothing in a file is trusted."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import Network, kernels
from ..config import LOSSES, TASKS
from ..errors import InputError, restated
from ..formats import LabelColumn
from ..images.framing import Framing
from ..paths import model_file
from .model import LABELS, Model
from .target import Target, kernel_of
from .tensor_file import Tensors, read_tensors

if TYPE_CHECKING:
    from ..tables.model import TableModel


def load_model(path: str | Path) -> Model:
    """The model in a file of ``Model.save``, a checkpoint or a run's directory. InputError for anything else."""
    file = model_file(path)
    return model_from(*read_tensors(file), str(file))


def model_from(meta: dict[str, Any], tensors: Tensors, path: str) -> Model:
    """The model of ``Model.contents``, which a checkpoint adds to; ``path`` is for the errors."""
    if "table" in meta:
        return _table_model(meta, tensors, path)
    try:
        common = _common(meta)
        shape, columns = meta["image_shape"], meta["columns"]
        image_shape = None if shape is None else (int(shape[0]), int(shape[1]))
        columns = None if columns is None else tuple(map(str, columns))
        index_base = meta.get("index_base")  # not in files of earlier versions
        if not (index_base is None or (type(index_base) is int and index_base in (0, 1))):
            raise ValueError("index_base")
        activation = meta.get("activation", "relu")
        for name in [activation] if isinstance(activation, str) else activation:
            kernels.ACTIVATIONS[name]
        light_border = meta.get("light_border", False)
        if not isinstance(light_border, bool):
            raise ValueError("light_border")
        framing = meta.get("framing")
        framing = None if framing is None or image_shape is None else Framing(**framing).checked(image_shape)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        raise InputError(f"{path}: not a fastmlp model") from None
    if not 0 < (scale := common["scale"]) < math.inf:
        raise InputError(f"{path}: the input scale is {scale}; it must be positive and finite")
    target = _target(meta, tensors, path)
    network = _network(tensors, common["classes"], target, activation, path)
    inputs = network.sizes[0]
    pixels = image_shape and math.prod(min(max(side, 0), 10**9) for side in image_shape)
    for what, count in (("columns", columns and len(columns)), ("image", pixels)):
        if count is not None and count != inputs:
            raise InputError(f"{path}: {what} of {count} features for a network of {inputs} inputs")
    standard: dict[str, Any] = {}
    if "mean" in tensors or "std" in tensors:
        standard = {name: _vector(tensors, name, np.dtype(np.float64), inputs, path) for name in ("mean", "std")}
        if not (standard["std"] > 0).all():
            raise InputError(f"{path}: std is not positive everywhere")
    ranges = tensors.get("ranges")
    if ranges is not None and (
        ranges.dtype != np.float64 or ranges.shape not in ((4, 1), (4, inputs)) or not np.isfinite(ranges).all()
    ):
        raise InputError(f"{path}: ranges are not 4 finite float64 numbers for each input")
    return Model(
        network, **common, **standard, image_shape=image_shape, columns=columns, index_base=index_base, ranges=ranges,
        framing=framing, light_border=light_border, target=target, loss=meta.get("loss"),
    )  # fmt: skip


def _common(meta: dict[str, Any]) -> dict[str, Any]:
    """What ``Model._common_contents`` writes, as arguments. TypeError, ValueError or KeyError where it is wrong."""
    scale, classes = float(meta["scale"]), tuple(map(str, meta["classes"]))
    trained_on = meta.get("trained_on")
    if trained_on is not None:
        kinds: dict[str, Any] = {"digest": int, "seed": int, "val_fraction": float}
        trained_on = {name: kind(trained_on[name]) for name, kind in kinds.items()}
        if not (trained_on["seed"] >= 0 and 0 < trained_on["val_fraction"] < 1):
            raise ValueError("trained_on")
    label_kind = meta.get("label_kind")
    if label_kind is not None:
        [LABELS[label_kind](name) for name in classes]
    label = meta.get("label")
    if label is not None:
        name, place = label
        label = LabelColumn(None if name is None else str(name), int(place))
    return {"scale": scale, "classes": classes, "label": label, "trained_on": trained_on, "label_kind": label_kind}


def _target(meta: dict[str, Any], tensors: Tensors, path: str) -> Target | None:
    """The target of a model of numbers; None for a model of classes."""
    loss = meta.get("loss")
    of_numbers = loss is not None and (not meta.get("classes") or "target_mean" in tensors)
    task, kernel = "regression" if of_numbers else "classification", None
    with suppress(InputError, ValueError):
        kernel = None if loss is None else kernel_of(str(loss))
    if loss is not None and (kernel is None or kernel.name not in LOSSES[task]):
        raise InputError(f"{path}: the loss is {str(loss)[:40]!r}, which is none for {TASKS[task]}")
    if not of_numbers:
        return None
    T = len(tensors["target_mean"]) if "target_mean" in tensors and tensors["target_mean"].ndim == 1 else 0
    mean, std = (_vector(tensors, name, np.dtype(np.float64), T, path) for name in ("target_mean", "target_std"))
    if T == 0 or not (std > 0).all():
        raise InputError(f"{path}: target_std is not positive everywhere")
    return Target(str(loss), mean, std)


def _vector(tensors: Tensors, name: str, dtype: np.dtype, length: int, path: str) -> np.ndarray:
    saved = tensors.get(name)
    if saved is None or saved.shape != (length,) or saved.dtype != dtype or not np.isfinite(saved).all():
        raise InputError(f"{path}: {name} is missing or not of {length} finite {dtype} numbers")
    return saved


def _network(
    tensors: Tensors, classes: tuple[str, ...], target: Target | None, activation: str | list[str], path: str
) -> Network:
    """The network of W0, b0, W1, ..., with outputs for the classes or the target."""
    kind, outputs = ("softmax", len(classes)) if target is None else (target.kernel.output, target.outputs)
    weights = [tensors[name] for name in (f"W{k}" for k in range(len(tensors))) if name in tensors]
    if not weights or any(W.ndim != 2 or 0 in W.shape or W.dtype != weights[0].dtype for W in weights):
        raise InputError(f"{path}: the weights of a model must be matrices of one dtype")
    sizes = [weights[0].shape[0]] + [W.shape[1] for W in weights]
    if weights[0].dtype not in (np.float32, np.float64):
        raise InputError(f"{path}: the weights have dtype {weights[0].dtype}; it must be float32 or float64")
    if sizes[-1] != outputs or any(W.shape[0] != size for W, size in zip(weights, sizes)):
        what = "classes" if kind == "softmax" else "numbers"
        raise InputError(f"{path}: layers {[W.shape for W in weights]} do not lead to {outputs} {what}")
    with restated(ValueError, InputError, f"{path}: "):  # for another number of activations than of hidden layers
        network = Network(sizes, bias="b0" in tensors, dtype=weights[0].dtype, activation=activation, output=kind)
    for k, (W, b) in enumerate(network.layers):
        W[...] = weights[k]
        if b is not None:
            b[...] = _vector(tensors, f"b{k}", network.dtype, len(b), path)
    if not np.isfinite(network.params).all():
        raise InputError(f"{path}: the weights are not all finite")
    return network


def _table_model(meta: dict[str, Any], tensors: Tensors, path: str) -> TableModel:
    """The model of ``TableModel.contents``, which a checkpoint adds to; ``path`` is for the errors.

    The networks are of W0 [networks, I, O], b0 [networks, O], W1, ...
    """
    from ..tables.columns import Columns  # here: to load any other model would take a tenth longer
    from ..tables.model import TableModel

    target = _target(meta, tensors, path)
    try:
        columns, common, named = Columns.of(meta["table"]), _common(meta), meta["named"]
        layers = {name: stack for name, stack in tensors.items() if re.fullmatch(r"[Wb]\d+", name)}
        if {(len(stack), stack.dtype) for stack in layers.values()} != {
            (count := len(layers["b0"]), np.dtype(np.float32))
        }:
            raise ValueError("layers")
        each = ({name: stack[k] for name, stack in layers.items()} for k in range(count))
        networks = [_network(own, common["classes"], target, meta["activation"], path) for own in each]
        if networks[0].sizes[0] != columns.inputs or not 0 < common["scale"] < math.inf or type(named) is not bool:
            raise ValueError("inputs")
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError, InputError):
        raise InputError(f"{path}: not a fastmlp model of a table, or a damaged one") from None
    return TableModel(networks, columns=columns, named=named, target=target, **common)
