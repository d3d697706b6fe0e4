"""One frozen description of a training run; the command line and ``fit`` take their options from its fields."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field, fields, replace
from typing import Any

from .errors import InputError


def _option(default: Any, help: str, **more: Any) -> Any:
    return field(default=default, metadata={"help": help, **more})


@dataclass(frozen=True)
class TrainConfig:
    """What to train on what; fields without help text belong to presets and have no flag of their own."""

    data: str = _option(
        "mnist",
        "mnist, synthetic, a directory of IDX files, or a .csv[.gz] or .npz file",
        metavar="SPEC",
    )
    test: str | None = _option(None, "held-out file of the same format; without it a split of --data", metavar="PATH")
    val_fraction: float = _option(0.1, "part of --data held out where there is no test set", metavar="F")
    label_column: str | None = _option(
        None, "name of a CSV's label column; else 'label', else the first", metavar="NAME"
    )
    offline: bool = _option(False, "do not download MNIST")
    backend: str = _option("numba", "fast kernels, or the NumPy definition of them", choices=("numba", "reference"))
    input: str = _option(
        "auto",
        "how the first layer reads its input: every number, or the non-zeros (auto: by the density measured)",
        choices=("auto", "dense", "sparse"),
    )
    hidden: tuple[int, ...] = _option((256,), "widths of the hidden layers, 0 for none", metavar="N[,N...]")
    bias: bool = _option(True, "do not give the layers biases")
    batch_size: int = _option(128, "samples a step", metavar="N", least=1)
    epochs: int | None = _option(None, "passes over the training data (default 4)", metavar="N", least=1)
    steps: int | None = _option(None, "stop after this many steps instead", metavar="N", least=1)
    optimizer: str = _option("momentum", "update rule", choices=("sgd", "momentum", "adam", "adamw"))
    lr: float | None = _option(
        None, "peak learning rate (default 0.4 sgd, 0.12 momentum, 0.005 adam and adamw)", metavar="X"
    )
    momentum: float = _option(0.9, "of the momentum optimizer", metavar="X")
    nesterov: bool = _option(True, "momentum without Nesterov's look-ahead")
    schedule: str = _option("onecycle", "of the learning rate over the run", choices=("constant", "cosine", "onecycle"))
    weight_decay: float = _option(0.0, "L2 penalty on weights; adamw: decoupled", metavar="X")
    seed: int = _option(0, "of initial weights, shuffling and splits", metavar="N", least=0)
    threads: int | None = _option(
        None, "threads (default: the cores this process may use)", metavar="N", least=1, most=1024
    )
    dtype: str = _option("float32", "of all arithmetic", choices=("float32", "float64"))
    out: str | None = _option(None, "directory for the model and metrics (default runs/NAME)", metavar="DIR")

    init: str = "he"  # "he": normal of variance 2 / inputs; "uniform": in [-0.5, 0.5)
    sampling: str = "epoch"  # "epoch": shuffled passes; "draw": each batch distinct rows at random
    mean: bool = True  # the gradient of the batch's mean loss, else of its sum
    scale: float | None = None  # of the inputs; None: 1 / RMS of the training inputs
    epsilon: float = 0.0  # loss -log(p + epsilon)
    report_steps: int | None = None  # a report every so many steps; None: every epoch
    evaluate_every: int = 1  # a test every so many reports

    def __post_init__(self) -> None:
        for item in fields(self):
            value = _typed(item.name.replace("_", "-"), getattr(self, item.name), str(item.type))
            object.__setattr__(self, item.name, value)
            _check(item.name.replace("_", "-"), value, item.metadata)
        if self.epochs is not None and self.steps is not None:
            raise InputError("--epochs and --steps exclude each other; give one")
        if any(not 1 <= width <= _WIDEST for width in self.hidden):
            raise InputError(f"--hidden is {self.hidden}; every width must be at least 1 and at most {_WIDEST:,}")
        if not 0 < self.val_fraction < 1:
            raise InputError(f"--val-fraction is {self.val_fraction}; it must be between 0 and 1")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise InputError(f"--lr is {self.lr}; it must be positive and finite")
        if not 0 <= self.momentum < 1:
            raise InputError(f"--momentum is {self.momentum}; it must be at least 0 and below 1")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"--weight-decay is {self.weight_decay}; it must be at least 0 and finite")

    @property
    def peak_lr(self) -> float:
        defaults = {"sgd": 0.4, "momentum": 0.12, "adam": 0.005, "adamw": 0.005}
        return defaults[self.optimizer] if self.lr is None else self.lr


_WIDEST = 10_000_000


def _typed(name: str, value: Any, kind: str) -> Any:
    """``value`` in the field's type; whole floats are integers. InputError for another type."""
    wanted = kind.removesuffix(" | None")
    if value is None and wanted != kind:
        return None
    try:
        if wanted == "tuple[int, ...]":
            return tuple(operator.index(width) for width in value)
        if wanted == "int" and not isinstance(value, bool):
            return int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)
        if wanted == "float" and not isinstance(value, (bool, str)):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    if wanted in ("bool", "str") and type(value).__name__ == wanted:
        return value
    described = {"tuple[int, ...]": "widths such as (256, 128)", "int": "an integer", "float": "a number"}
    raise InputError(f"--{name} is {value!r}; it must be {described.get(wanted, wanted)}")


def _check(name: str, value: Any, metadata: Any) -> None:
    choices, least, most = (metadata.get(key) for key in ("choices", "least", "most"))
    if choices and value not in choices:
        raise InputError(f"--{name} is {value!r}; it must be one of {', '.join(choices)}")
    if least is None or value is None:
        return
    if value < least or (most is not None and value > most):
        wanted = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"--{name} is {value!r}; it must be an integer {wanted}")


# The notebook this project began with, exactly.
SEED_RECIPE: dict[str, Any] = {
    "hidden": (256,),
    "bias": False,
    "batch_size": 128,
    "steps": 100_000,
    "optimizer": "sgd",
    "lr": 1e-3,
    "schedule": "constant",
    "dtype": "float64",
    "init": "uniform",
    "sampling": "draw",
    "mean": False,
    "scale": 1 / 255,
    "epsilon": 1e-10,
    "report_steps": 1000,
    "evaluate_every": 10,
}

PRESETS: dict[str, dict[str, Any]] = {"seed": SEED_RECIPE}


def configure(preset: str | None = None, **options: Any) -> TrainConfig:
    """A TrainConfig from a preset and the options that override it. InputError for what cannot be."""
    if preset is not None and preset not in PRESETS:
        raise InputError(f"--preset is {preset!r}; it must be one of {', '.join(PRESETS)}")
    known = {item.name for item in fields(TrainConfig)}
    if unknown := sorted(set(options) - known):
        raise InputError(f"unknown option {unknown[0]!r}; the options are {', '.join(sorted(known))}")
    recipe = dict(PRESETS[preset]) if preset else {}
    if options.get("epochs") is not None:
        recipe.pop("steps", None)
    if "hidden" in options:
        hidden = options["hidden"]
        options["hidden"] = tuple(hidden) if hasattr(hidden, "__iter__") else (hidden,)
    return replace(TrainConfig(), **{**recipe, **options})
