"""The options of a training run, from which the command line, config.toml and checkpoints derive.

The signature of ``fit`` names each once more, for editors and type checkers.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from . import __version__
from .errors import InputError, not_one_of, similar
from .formats import COLUMN_KINDS, TRAINING, kinds_of, suffixes
from .paths import as_path
from .presets import PRESETS, table_options

BUILT_IN = ("mnist", "synthetic")  # data sets by name
# The kernels' update rules with their default peak rates, and the activations: named here again, as --help must not
# wait for Numba.
RULES = {"sgd": 0.4, "momentum": 0.12, "adam": 0.005, "adamw": 0.005, "lion": 0.0005}
ACTIVATIONS = (
    "relu", "identity", "logistic", "tanh", "gelu", "gelu_tanh", "silu", "mish", "elu", "selu", "leaky_relu",
    "softplus",
)  # fmt: skip
# The losses of each task, the default first, with the most parameters that each may have behind a colon.
LOSSES = {
    "classification": {"softmax_cross_entropy": 0, "focal": 1},
    "regression": {"squared_error": 0, "absolute_error": 0, "huber": 1, "quantile": 99, "poisson": 0, "gamma": 0},
}
_ALL_LOSSES = {name: most for losses in LOSSES.values() for name, most in losses.items()}
METRICS = {"classification": ("loss", "accuracy"), "regression": ("loss", "rmse", "mae", "r2")}
"""The metrics of each task on held-out samples."""
HIGHER_IS_BETTER = ("accuracy", "r2")
TASKS = {"classification": "classes", "regression": "numbers to predict"}
WIDEST = 10_000_000  # a layer
_LEAST_STEPS, _LEAST_EPOCHS = 1000, 4  # of a run whose length is not given
_MOST_REPORTS = 20  # likewise
# Gradients of a squared error are unbounded: without clipping, three of four tables diverged for some seeds.
_CLIP_NUMBERS = 1.0
_LONGEST_TOML = 1 << 20  # bytes: 10,000 class weights are a tenth of it
# A key of ten parts or more, which no option has: tomllib's time and memory are quadratic in the number of parts.
_DOTTED_KEY = re.compile(rb"""(\.\s*([\w-]+|"[^"]*"|'[^']*')\s*){9}""")


def monitors(task: str) -> list[str]:
    """The metrics that ``--patience`` may watch."""
    train = [name for name in METRICS[task] if name in ("loss", "accuracy")]  # others would take a pass of their own
    return [f"validation_{name}" for name in METRICS[task]] + [f"train_{name}" for name in train]


# Limits of numbers: (in words, whether a number is within).
_FRACTION = "between 0 and 1", lambda value: 0 < value < 1
_PART = "at least 0 and below 1", lambda value: 0 <= value < 1
_POSITIVE = "positive and finite", lambda value: 0 < value < math.inf
_NOT_NEGATIVE = "at least 0 and finite", lambda value: 0 <= value < math.inf
_STRENGTH = "from 0 to 100", lambda value: 0 <= value <= 100  # stronger distortion leaves little of an image
_DECAY = "above 0 and at most 1", lambda value: 0 < value <= 1
_WHOLE = "an integer of at least 0", lambda value: value >= 0
_COUNT = "an integer of at least 1", lambda value: value >= 1
_THREADS = "an integer from 1 to 1024", lambda value: 1 <= value <= 1024


def _option(default: Any, help: str, **more: Any) -> Any:
    return field(default=default, metadata={"help": help, **more})


def _by_data(help: str, **more: Any) -> Any:
    """An option that is None until ``TrainConfig.completed`` chooses what is not given."""
    return _option(None, help, by_data=True, **more)


@dataclass(frozen=True)
class TrainConfig:
    """The options of a run. Fields without help text belong to presets, and have no flag.

    In a field's metadata, ``group`` begins a section of ``--help``.
    """

    data: str = _option(
        "mnist",
        f"mnist, synthetic, a {suffixes(TRAINING)} file (.gz too), text as .txt or .data, or a directory of such "
        "files, of IDX files, of X.npy and y.npy, or of images in a directory for each class (also as .zip)",
        metavar="SPEC",
        group="data",
    )
    test: str | None = _option(None, "held-out file; without it a split of --data", metavar="PATH")
    val_fraction: float = _option(
        0.1, "part of --data held out where there is no test set", metavar="F", within=_FRACTION
    )
    label_column: str | int | None = _option(
        None,
        "a table's label column, by name or number, -1 the last (default: known by its name, or by what it holds)",
        metavar="NAME|N",
    )
    weight_column: str | int | None = _option(
        None,
        "a table's column of sample weights, by name or number: they count in training, and 0 leaves a row out; "
        "a test counts each row once",
        metavar="NAME|N",
    )
    column: tuple[str, ...] | None = _option(
        None,
        f"what a table's column is, where its values do not say it, such as zip=category: {', '.join(COLUMN_KINDS)}",
        metavar="NAME=KIND",
    )
    drop: tuple[str, ...] | None = _option(None, "leave out a table's column", metavar="NAME|N")
    memory: int | None = _option(
        None,
        "leave the training samples of a directory on disk, and keep about so many MB of them in memory (default all)",
        metavar="MB",
        within=_COUNT,
    )
    offline: bool = _option(False, "do not download MNIST")
    standardize: str = _option(
        "auto",
        "give features mean 0 and variance 1 by the training set; where most are zeros they stay "
        "(auto: tables, not images)",
        choices=("auto", "yes", "no"),
    )
    task: str = _option(
        "auto",
        "what the labels are: classes, or numbers to predict "
        "(auto: text and few integers are classes, and doubts are said)",
        choices=("auto", "classification", "regression"),
    )
    networks: int | None = _option(
        None,
        "train so many networks on a table, each without a part of the rows that chooses its best epoch, and average "
        "what they predict; 0: one network, as the other options say (default 8; 0 for few rows of numbers alone, and "
        "where options of one network are given)",
        within=_WHOLE,
        group="network",
    )
    hidden: tuple[int, ...] = _option(
        (256,), "widths of the hidden layers, 0 for none (several --networks: 128,128)", metavar="N[,N...]"
    )
    activation: str | tuple[str, ...] = _option(
        "relu",
        "of the hidden layers, or a list such as gelu,tanh, one for each (several --networks: gelu)",
        choices=ACTIVATIONS,
    )
    bias: bool = _option(True, "give the layers biases")
    init_from: str | None = _option(
        None, "begin with the weights of this model, of the same layers and classes", metavar="MODEL"
    )
    dtype: str = _option("float32", "of all arithmetic", choices=("float32", "float64"))
    precision: str = _option(
        "float32",
        "of the factors in a training step's products; bfloat16: 8 bits, about twice as fast for wide layers, on "
        "Intel's processors with AMX",
        choices=("float32", "bfloat16"),
    )
    loss: str = _by_data(
        f"for classes: {', '.join(LOSSES['classification'])}; for numbers to predict, which are standardised: "
        f"{', '.join(LOSSES['regression'])}; with parameters such as focal:2, huber:0.5, quantile:0.1,0.5,0.9 "
        "(default: the first)",
        metavar="NAME",
        group="optimisation",
    )
    batch_size: int = _by_data("samples in a step (default 128; fewer for a small table)", within=_COUNT)
    epochs: int | None = _option(
        None,
        "passes over the training data (default 4, or as many as make 1,000 steps; for one network of a table "
        "2,000 to 10,000 steps, with rate, weight decay and dropout by its size)",
        within=_COUNT,
    )
    steps: int | None = _option(None, "stop after this many steps instead", within=_COUNT)
    optimizer: str = _option("momentum", "update rule", choices=tuple(RULES))
    lr: float | None = _option(
        None,
        f"peak learning rate (default {', '.join(f'{rate:g} {name}' for name, rate in RULES.items())})",
        within=_POSITIVE,
    )
    layer_rates: tuple[float, ...] | None = _option(
        None, "what the rate is multiplied by for each layer, such as 0.1,1; 0: it stays as it is", metavar="X[,X...]"
    )
    momentum: float = _option(0.9, "of the momentum optimizer", within=_PART)
    nesterov: bool = _option(True, "look ahead, as Nesterov's momentum does")
    schedule: str = _option(
        "onecycle", "of the learning rate over the run", choices=("constant", "cosine", "onecycle", "step")
    )
    warmup: float | None = _option(
        None, "part of the run in which the rate rises (default 0, onecycle 0.15)", metavar="F", within=_PART
    )
    step_epochs: int | None = _option(
        None, "epochs between the falls of the step schedule (default a third of the run)", within=_COUNT
    )
    step_factor: float = _option(0.1, "of each fall of the step schedule", within=_POSITIVE)
    clip_norm: float = _by_data(
        "scale gradients of a larger norm down to this (default not at all; where numbers are predicted 1)",
        within=_POSITIVE,
    )
    average: float | None = _option(
        None,
        "test and keep an average of the weights, w += (1 - X) (weights - w) after every step, such as 0.999 "
        "(1: their mean)",
        within=_DECAY,
    )
    weight_decay: float = _by_data(
        "L2 penalty on weights; adamw: decoupled (default 0; for a table by its size)",
        group="regularisation",
        within=_NOT_NEGATIVE,
    )
    dropout: float = _by_data(
        "part of the hidden units left out at each step (default 0; for a table by its size)", metavar="P", within=_PART
    )
    label_smoothing: float = _option(0.0, "part of each target spread over all classes", within=_PART)
    class_weight: str | None = _option(
        None,
        "balanced (samples / classes / samples of the class, each counted by its weight), or a number for each class",
        metavar="W[,W...]",
    )
    augment: str = _option("none", "distort training images anew every epoch", choices=("none", "affine", "elastic"))
    augment_strength: float = _option(1.0, "how far, 1 being 15 degrees, 15 %, 7 % of the side", within=_STRENGTH)
    validation: float | None = _option(
        None,
        "part of the training samples held out to watch (default 0, with --patience 0.1)",
        metavar="F",
        within=_PART,
        group="early stopping",
    )
    patience: int | None = _option(
        None, "stop after so many epochs without a better --monitor, and keep the best weights", within=_COUNT
    )
    monitor: str = _option(
        "validation_loss",
        "what --patience watches: for classes loss or accuracy, for numbers loss, RMSE, MAE or R² "
        "(none of the test set, which would no longer be one)",
        choices=tuple(dict.fromkeys(name for task in METRICS for name in monitors(task))),
    )
    seed: int = _option(
        0, "of initial weights, shuffling, splits, dropout and augmentation", within=_WHOLE, group="the run"
    )
    threads: int | None = _option(None, "threads (default: the cores this process may use)", within=_THREADS)
    backend: str = _option("numba", "fast kernels, or the NumPy definition of them", choices=("numba", "reference"))
    input: str = _option(
        "auto",
        "how the first layer reads its input: every number, or the non-zeros (auto: by the density measured)",
        choices=("auto", "dense", "sparse"),
    )
    sync_every: int = _option(
        1,
        "steps between averages of the ranks' weights under mpiexec (1: each step on the whole batch)",
        metavar="K",
        within=_COUNT,
    )
    out: str | None = _option(
        None, "directory for model, checkpoints, metrics and config (default runs/NAME)", metavar="DIR"
    )
    checkpoint_seconds: float = _option(
        10.0, "seconds between checkpoints, and one at the end", metavar="S", within=_NOT_NEGATIVE
    )

    init: str = "he"  # "he": normal of variance 2 / inputs; "uniform": in [-0.5, 0.5)
    sampling: str = "epoch"  # "epoch": shuffled passes; "draw": each batch distinct rows at random
    mean: bool = True  # the gradient of the batch's mean loss, else of its sum
    # Of the inputs; None: 1 / RMS of the training inputs.
    scale: float | None = field(default=None, metadata={"within": _POSITIVE})
    epsilon: float = field(default=0.0, metadata={"within": _NOT_NEGATIVE})  # loss -log(p + epsilon)
    report_steps: int | None = None  # a report every so many steps; None: every epoch
    evaluate_every: int = 1  # a test every so many reports
    # The options that the user gave, including those with their default value.
    given: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None and item.metadata.get("by_data"):
                continue
            value = _typed(item.name.replace("_", "-"), value, str(item.type))
            object.__setattr__(self, item.name, value)
            _check(item.name.replace("_", "-"), value, item.metadata)
        if self.epochs is not None and self.steps is not None:
            raise InputError("--epochs and --steps exclude each other; give one")
        if not isinstance(self.activation, str):
            if len(self.activation) != len(self.hidden):
                raise InputError(
                    f"--activation has {len(self.activation)} names; it must have {len(self.hidden)}, one for each "
                    "layer of --hidden, or be one name"
                )
            if len(set(self.activation)) == 1:
                object.__setattr__(self, "activation", self.activation[0])
        if any(not 1 <= width <= WIDEST for width in self.hidden):
            raise InputError(f"--hidden is {self.hidden!r:.60}; every width must be at least 1 and at most {WIDEST:,}")
        if self.layer_rates is not None:
            layers, right = len(self.hidden) + 1, all(0 <= rate < math.inf for rate in self.layer_rates)
            if len(self.layer_rates) != layers or not right:
                raise InputError(
                    f"--layer-rates is {','.join(f'{rate:g}' for rate in self.layer_rates)[:60]}; it must be "
                    f"{layers} numbers of at least 0, one for each layer"
                )
        kinds_of(self.column or ())
        if self.loss is not None:
            loss_and_parameters(self.loss)
        if self.class_weight not in (None, "balanced"):
            self.class_weights(None)
        if self.precision == "bfloat16" and (self.dtype != "float32" or self.backend == "reference"):
            raise InputError("--precision bfloat16: goes with --dtype float32 and --backend numba, their defaults")
        if self.sync_every > 1 and not self.mean:
            raise InputError(f"--sync-every is {self.sync_every}; it must be 1 where steps are sums (--preset seed)")

    def said(self, names: Sequence[str]) -> list[str]:
        """The options among ``names`` that the user gave."""
        return [name for name in names if name in self.given or getattr(self, name) != getattr(TrainConfig, name)]

    @property
    def peak_lr(self) -> float:
        return RULES[self.optimizer] if self.lr is None else self.lr

    def completed(self, samples: int, *, table: bool, regression: bool = False) -> TrainConfig:
        """The options with defaults for so many training samples, of a table or not; options that were given stay.

        Without ``epochs`` and ``steps``, a table gets its ``table_options``, and other data at least 1,000 steps.
        """
        recipe: dict[str, Any] = {"batch_size": 128, "weight_decay": 0.0, "dropout": 0.0}
        if regression:
            recipe |= {"loss": "squared_error", "clip_norm": _CLIP_NUMBERS}
        free, least = self.epochs is None and self.steps is None, _LEAST_STEPS
        if free and table:
            tuned = table_options(samples, numbers=regression)
            least = tuned.pop("steps")
            if self.optimizer != "momentum":  # for which these were chosen
                del tuned["lr"], tuned["weight_decay"]
            recipe |= tuned
        config = replace(self, **{name: value for name, value in recipe.items() if getattr(self, name) is None})
        if free:
            per_epoch = -(-samples // min(samples, config.batch_size))
            epochs = max(_LEAST_EPOCHS, -(-least // per_epoch))
            config = replace(config, epochs=epochs)
            if epochs > _MOST_REPORTS and self.report_steps is None and self.patience is None:
                config = replace(config, report_steps=-(-epochs // _MOST_REPORTS) * per_epoch)
        return config

    def total_steps(self, steps_per_epoch: int) -> int:
        return self.steps or (self.epochs or _LEAST_EPOCHS) * steps_per_epoch

    def class_weights(self, classes: int | None) -> tuple[float, ...]:
        """``class_weight`` as numbers. InputError unless there are ``classes`` of them, not negative and not all 0."""
        weights = _numbers(str(self.class_weight))
        if not all(0 <= w < math.inf for w in weights) or not any(weights):
            wanted = "balanced or numbers such as 1,2.5,1"
            raise InputError(f"--class-weight is {self.class_weight!r:.60}; it must be {wanted}")
        if classes is not None and len(weights) != classes:
            raise InputError(f"--class-weight has {len(weights)} numbers; there are {classes} classes")
        return weights

    def to_toml(self) -> str:
        """The run as a TOML file that repeats it in any directory, without --out; its keys are the flags' names."""
        paths: dict[str, Any] = {
            name: str(as_path(value).resolve())
            for name in ("data", "test")
            if (value := getattr(self, name)) is not None
        }
        if self.data in BUILT_IN:
            del paths["data"]
        explicit = replace(self, lr=self.peak_lr, **paths)
        left_out = {"out", "given", *(OF_ONE_NETWORK if self.networks else ())}
        lines = [f"# fastmlp {__version__}\n"]
        lines += (
            f"{name.replace('_', '-')} = {json.dumps(value, ensure_ascii=False)}\n".replace("\x7f", "\\u007f")
            for name, value in asdict(explicit).items()
            if value is not None and name not in left_out
        )
        return "".join(lines)


OPTIONS = {item.name for item in fields(TrainConfig)} - {"given"}


def read_toml(path: str | Path) -> dict[str, Any]:
    """The options in a TOML file, by field name. InputError for an unreadable file and for keys that are no options."""
    import tomllib

    try:
        path = as_path(path)
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is a pipe or device, or a directory; it must be a file")
        with open(path, "rb") as file:
            content = file.read(_LONGEST_TOML + 1)
        if len(content) > _LONGEST_TOML:
            raise InputError(f"{path}: holds more than {_LONGEST_TOML:,} bytes; options do not take as many")
        if _DOTTED_KEY.search(content):
            raise RecursionError
        text = content.decode(errors="surrogateescape")  # names of files may be no UTF-8
        options = {key.replace("-", "_"): value for key, value in tomllib.loads(text).items()}
        repr(options)  # ValueError for integers that are too long for a message
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, or not TOML
        raise InputError(f"{path}: not valid TOML ({str(error) or 'nested too deeply'})") from None
    for key in options:
        if key not in OPTIONS:
            advice = f"{similar(key, OPTIONS)}--help lists them".replace("_", "-")
            raise InputError(f"{path}: {key[:40].replace('_', '-')!r} is no option of train ({advice})")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def _numbers(text: str) -> tuple[float, ...]:
    """'0.1,1' -> (0.1, 1.0); (NaN,), which no option takes, for anything else."""
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        return (math.nan,)


def loss_and_parameters(loss: str) -> tuple[str, tuple[float, ...]]:
    """'huber:0.5' -> ('huber', (0.5,)). InputError for anything else."""
    name, _, text = loss.partition(":")
    parameters = _numbers(text) if text else ()
    if name not in _ALL_LOSSES:
        raise InputError(not_one_of("--loss", loss, _ALL_LOSSES))
    wrong = len(parameters) > _ALL_LOSSES[name] or any(a >= b for a, b in pairwise(parameters))
    if wrong or not all(0 < p < (1 if name == "quantile" else math.inf) for p in parameters):
        raise InputError(
            f"--loss is {loss!r:.60}; parameters are such as focal:2 and huber:0.5, a positive number, and "
            "quantile:0.1,0.5,0.9, rising from above 0 to below 1"
        )
    return name, parameters


def outputs_of(loss: str | None) -> int:
    """The number of outputs for each number that is learnt by ``loss``."""
    return max(1, len(loss_and_parameters(loss)[1])) if loss and loss.startswith("quantile") else 1


def _typed(name: str, value: Any, kind: str) -> Any:
    """``value`` in the field's type; whole floats are integers. InputError for another type."""
    wanted = kind.removesuffix(" | None")
    if value is None and wanted != kind:
        return None
    try:
        if wanted == "str | tuple[str, ...]" and (names := value.split(",") if isinstance(value, str) else [*value]):
            return names[0] if isinstance(value, str) and len(names) == 1 else tuple(names)
        if wanted == "tuple[int, ...]":
            return tuple(operator.index(width) for width in value)
        if wanted == "tuple[float, ...]":
            return tuple(float(rate) for rate in value)
        if wanted == "tuple[str, ...]":
            texts = (value,) if isinstance(value, str) else tuple(value)
            if all(isinstance(text, str) for text in texts):
                return texts
        if wanted == "int" and not isinstance(value, bool):
            return int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)
        if wanted == "float" and not isinstance(value, (bool, str)):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    if wanted == "str | int" and isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    if wanted in ("bool", "str") and type(value).__name__ == wanted:
        return value
    described = {
        "int": "an integer", "float": "a number", "str": "a name", "bool": "True or False",
        "str | int": "a name or a number", "tuple[int, ...]": "widths such as (256, 128)",
        "tuple[float, ...]": "numbers such as (0.1, 1)", "tuple[str, ...]": "a name or names",
        "str | tuple[str, ...]": "a name or names",
    }  # fmt: skip
    raise InputError(f"--{name} is {value!r:.60}; it must be {described.get(wanted, wanted)}")


def _check(name: str, value: Any, metadata: Any) -> None:
    """InputError for a value outside of the field's choices or limits."""
    choices, within = metadata.get("choices"), metadata.get("within")
    if within is not None and value is not None and not within[1](value):
        raise InputError(f"--{name} is {value!r:.60}; it must be {within[0]}")
    for each in (value if isinstance(value, tuple) else (value,)) if choices else ():
        if each not in choices:
            raise InputError(not_one_of(f"--{name}", each, choices))


# Options of the network and its training that any network takes, also each of a table's; then those of the data and the
# run. All others are of one network: a new option is, unless it is named here.
OF_ANY_NETWORK = ("hidden", "activation", "batch_size", "epochs", "lr", "dropout")
_OF_ANY_RUN = (
    "data", "test", "val_fraction", "label_column", "weight_column", "column", "drop", "offline", "task", "networks",
    "class_weight", "seed", "threads", "out", "checkpoint_seconds", "given",
)  # fmt: skip
OF_ONE_NETWORK = tuple(item.name for item in fields(TrainConfig) if item.name not in (*OF_ANY_NETWORK, *_OF_ANY_RUN))


def unknown_option(name: str, known: Iterable[str]) -> InputError:
    return InputError(f"unknown option {name!r}; {similar(name, known)}the options are {', '.join(sorted(known))}")


def _is_list(value: Any) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, str)


def configure(preset: str | None = None, **options: Any) -> TrainConfig:
    """A TrainConfig from a preset and options that override it. InputError for impossible ones."""
    if preset is not None and preset not in PRESETS:
        raise InputError(not_one_of("--preset", preset, PRESETS))
    if unknown := sorted(options.keys() - OPTIONS):
        raise unknown_option(unknown[0], OPTIONS)
    recipe = dict(PRESETS[preset]) if preset else {}
    if options.get("epochs") is not None:
        recipe.pop("steps", None)
    if "hidden" in options:
        hidden = options["hidden"]
        options["hidden"] = tuple(hidden) if _is_list(hidden) else () if hidden == 0 else (hidden,)
    if _is_list(options.get("class_weight")):  # a number for each class
        options["class_weight"] = ",".join(map(str, options["class_weight"]))
    said = {**recipe, **options}
    given = tuple(sorted(name for name, value in said.items() if value is not None))
    return replace(TrainConfig(), given=given, **said)
