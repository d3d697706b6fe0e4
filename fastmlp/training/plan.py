"""``plan`` decides, before anything is trained, what becomes of the data, and returns all that the loop trains on."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..backend import kernels
from ..config import (
    LOSSES,
    OF_ANY_NETWORK,
    OF_ONE_NETWORK,
    TASKS,
    WIDEST,
    TrainConfig,
    loss_and_parameters,
    monitors,
)  # fmt: skip
from ..data import Dataset, Frame, OnDisk, divide, is_sparse
from ..data.dataset import balanced, of_mean_one
from ..data.values import feature
from ..errors import InputError, RunError
from ..models.loading import load_model
from ..models.model import Model
from ..models.target import Target, target_of
from ..tables.recipe import NETWORKS, recipe_for
from .augment import Distort, distortion
from .batches import Window
from .scaling import (
    Scaling,
    column_scaling,
    entries_per_row,
    input_scale,
    require_differences,
    row_blocks,
    row_sample,
    scaling_about_mean,
    share_a_scale,
    standardised,
)

_BLOCK = 1 << 17  # labels in a block
_ROW_BYTES = 64  # of a sample's labels, weights and row numbers in two windows
_PATIENCE_VALIDATION = 0.1
_CROSS_ENTROPY = next(iter(LOSSES["classification"]))
# Several networks learn numeric tables from so many rows on: an eighth of fewer is too little to choose the best epoch.
# One network was better on five splits of iris (120 rows, 94.0 to 92.7 %) and wine (142, 99.4 to 98.3 %), and worse on
# breast_cancer (455).
_FEWEST_ROWS = 300
_MOST_NUMBERS = 10_000_000  # of a table that several networks learn by default: its inputs take 64 bytes a number


@dataclass(frozen=True, eq=False)
class Plan:
    """All that a run trains on.

    ``config`` is completed. ``data`` are the training samples as they were read. ``X`` are the samples as the network
    takes them: an array, or ``kernels.CSR`` if ``input`` is "sparse" and not "dense"; but as they were read if there is
    a ``distort``, and None if they stay on disk and ``load`` reads windows of at most ``window_rows``. ``y`` are class
    indices, or numbers in the network's units (see ``target``). ``weights`` have the mean 1, as the rate is that of
    samples that count 1. ``test`` is (X, y) as the model takes them, ``validation`` (X, y, weights). ``start`` is the
    model of --init-from, whose scaling and target units the run takes over. ``for_kernels`` gives samples, as read or
    distorted, the form that the network takes.
    """

    config: TrainConfig
    data: Dataset
    digest: int
    scaling: Scaling
    input: str
    distort: Distort | None
    X: Any
    y: np.ndarray
    target: Target | None
    weights: np.ndarray | None
    test: tuple[Any, np.ndarray]
    validation: tuple[Any, np.ndarray, np.ndarray | None] | None
    window_rows: int | None
    start: Model | None
    for_kernels: Callable[[Any], Any]

    @property
    def loss(self) -> str | None:
        """The loss as --loss names it; None for the cross-entropy of classes."""
        return None if self.config.loss == _CROSS_ENTROPY else self.config.loss

    def load(self, window: Window) -> Window:
        """The window with its samples, labels and weights.

        Samples on disk are read in the order of the file, and prepared by one thread, as training goes on meanwhile.
        """
        if self.X is not None:
            return replace(window, X=self.X, y=self.y, weights=self.weights)
        order = np.argsort(window.rows)
        wanted = window.rows[order]
        try:
            with kernels.threads(1):
                X = self.data.X[wanted] if self.distort else self.for_kernels(self.data.X[wanted])
        except ValueError as error:
            raise RunError(f"{self.data.source}: was changed while it was being read ({error})") from None
        rows = np.empty_like(order)
        rows[order] = np.arange(len(order))
        taken = None if self.weights is None else self.weights[wanted]
        return replace(window, rows=rows, X=X, y=_targets_for_kernels(self.y[wanted]), weights=taken)


def plan(
    data: Dataset, config: TrainConfig, chosen: Callable[[str, float], None] = lambda input, density: None
) -> Plan:
    """Choose and prepare the training, test and validation samples for a run of one network.

    ``chosen`` is told "dense" or "sparse", and the density, before the work begins. InputError for options that do not
    fit the data.
    """
    checksum = digest(data.X, data.y)
    config = completed(replace(config, networks=0), data)
    _require_fitting(config, data)
    if config.precision == "bfloat16" and not kernels.bfloat16.is_available():
        raise InputError(
            "--precision is bfloat16; this process cannot use AMX, which Intel's Xeons have from Sapphire Rapids on, "
            "under Linux: give --precision float32"
        )
    if config.input != "sparse":
        data = _dense_enough(data)
    data, validation = _held_out(data, config)
    require_differences(data.X, data.source)
    start = None if config.init_from is None else _start_of(config.init_from, config, data)
    scaling = _scaling(data, config) if start is None else _scaling_of(start, data)
    input = _input(data, config, scaling.density)
    distort = distortion(config, data)
    sparse, raw = input == "sparse", distort is not None
    data, window_rows = _within_memory(
        data, config, _window_bytes(data.X, config.dtype, scaling, sparse=sparse, raw=raw)
    )
    chosen(input, scaling.density)

    for_kernels = partial(_for_kernels, scaling=scaling, dtype=config.dtype, source=data.source, sparse=sparse)
    X: Any = None
    if not isinstance(data.X, OnDisk):
        X = data.X if raw else for_kernels(data.X)
        X = X.dictionary_encode() if sparse and not raw else X
    target = None
    if data.task == "regression":
        target = (start and start.target) or target_of(data.y, str(config.loss), data.sample_weight, data.source)
        for y in (data.y_test, data.y if validation is None else validation[1]):
            target.require(y, data.source)
    return Plan(
        config, data, checksum, scaling, input, distort, X,
        y=data.y if target is None else target.encoded(data.y, config.dtype),
        target=target,
        weights=_of_mean_one(config, data),
        test=(for_kernels(data.X_test, source=f"{data.source}: test set"), data.y_test),
        validation=validation and (for_kernels(validation[0]), *validation[1:]),
        window_rows=window_rows,
        start=start,
        for_kernels=for_kernels,
    )  # fmt: skip


def completed(config: TrainConfig, data: Dataset, ranks: int = 1) -> TrainConfig:
    """``config`` with all defaults that depend on the data; idempotent. InputError for too many features, and for
    options that do not fit the data."""
    if data.X.shape[1] > WIDEST:
        raise InputError(f"{data.source}: has {data.X.shape[1]} features; at most {WIDEST:,} are possible")
    if config.average is not None and ranks > 1:
        raise InputError(f"--average runs in one process, not on {ranks} ranks; run it without mpiexec")
    config = replace(config, networks=_networks(config, data, ranks))
    if config.networks:
        return _completed_for_several(config, data)
    return config.completed(len(data.X), table=is_table(data), regression=data.task == "regression")


def _networks(config: TrainConfig, data: Dataset, ranks: int) -> int:
    """How many networks learn the table; 0 for one network. InputError where --networks does not fit the data."""
    frame, asked = isinstance(data.X, Frame), config.networks
    has = f"{data.source} has text, dates or gaps, or --column"
    if frame and asked == 0:
        raise InputError(f"--networks 0: one network takes numbers only; {has}: leave it out")
    if frame and ranks > 1:
        raise InputError(f"--data: {ranks} ranks take numbers only; {has}: run it without mpiexec")
    if asked is None:
        chosen = config.said((*OF_ANY_NETWORK, *OF_ONE_NETWORK))
        fits = isinstance(data.X, np.ndarray) and len(data.X) >= _FEWEST_ROWS and data.X.size <= _MOST_NUMBERS
        return NETWORKS if frame or (fits and not chosen and ranks == 1 and is_table(data)) else 0
    if asked and (ranks > 1 or data.image_shape is not None or not isinstance(data.X, (Frame, np.ndarray))):
        kind = "a table in memory" if ranks == 1 else "one process"
        raise InputError(f"--networks {asked}: goes with {kind}; leave it out for {data.source}")
    return asked


def one_network(config: TrainConfig, data: Dataset) -> TrainConfig:
    """The options for --find-lr, which tries one network. InputError for a table that several networks learn."""
    if isinstance(data.X, Frame) or config.networks:
        raise InputError(
            f"--find-lr tries one network; {data.source} is a table that several learn: --lr tries another rate"
        )
    return replace(config, networks=0)


def _completed_for_several(config: TrainConfig, data: Dataset) -> TrainConfig:
    """The completed options for several networks. InputError for options that only one network takes."""
    _require_fitting(config, data)
    if wrong := config.said(OF_ONE_NETWORK):
        option = ("no-bias" if wrong[0] == "bias" else wrong[0]).replace("_", "-")
        several = f"{data.source} is a table that {config.networks} networks learn"
        remedy = "leave it out, or --networks 0 trains one"
        if isinstance(data.X, Frame):
            remedy = "leave it out (one network takes numbers alone, without text, dates and gaps)"
        raise InputError(f"--{option}: goes with one network; {several}: {remedy}")
    hidden = config.hidden if config.said(["hidden"]) else (128, 128)
    if len({*hidden}) != 1:
        raise InputError(
            f"--hidden {','.join(map(str, hidden)) or 0}: the layers of a table's networks have one width; "
            "such as 128,128"
        )
    if config.said(["activation"]) and not isinstance(config.activation, str):
        raise InputError(
            f"--activation {','.join(config.activation)}: the layers of a table's networks have one; such as gelu"
        )
    recipe = recipe_for(
        len(data.X), classes=len(data.classes), learning_rate=config.lr, batch_size=config.batch_size,
        epochs=config.epochs, dropout=config.dropout,
    )  # fmt: skip
    return replace(
        config, hidden=hidden, activation=config.activation if config.said(["activation"]) else recipe.activation,
        batch_size=recipe.batch_size, epochs=recipe.epochs,
        lr=recipe.learning_rate, dropout=recipe.dropout, given=(*config.given, "hidden", "activation"),
    )  # fmt: skip


def _require_fitting(config: TrainConfig, data: Dataset) -> None:
    """InputError for options of the other task."""
    has = TASKS[data.task]
    other = "regression" if data.task == "classification" else "classification"
    if config.task == other:
        raise InputError(f"{data.source}: has {has}; --task must be auto or {data.task}")
    name = "" if config.loss is None else loss_and_parameters(config.loss)[0]
    if name in LOSSES[other]:
        raise InputError(
            f"--loss {config.loss}: is of {TASKS[other]}; {data.source} has {has} "
            f"(--loss {', '.join(LOSSES[data.task])}; or --task {other})"
        )
    if config.patience is not None and config.monitor not in monitors(data.task):
        raise InputError(
            f"--monitor {config.monitor}: goes with {TASKS[other]}; "
            f"of {has} it is one of {', '.join(monitors(data.task))}"
        )
    if data.task == "classification":
        if name and name != _CROSS_ENTROPY and (config.label_smoothing or config.epsilon):
            raise InputError(
                f"--label-smoothing {config.label_smoothing}: goes with --loss {_CROSS_ENTROPY}, not with {config.loss}"
            )
        return
    for name, neutral in (("label_smoothing", 0), ("class_weight", None), ("epsilon", 0)):
        if (value := getattr(config, name)) != neutral:
            raise InputError(
                f"--{name.replace('_', '-')} {value}: goes with classes; {data.source} has numbers to predict"
            )


def _start_of(path: str, config: TrainConfig, data: Dataset) -> Model:
    """The model to begin with. InputError unless its layers, classes, columns and loss are those of the run."""
    model = load_model(path)
    if type(model) is not Model:
        raise InputError(
            f"--init-from {path}: is of several networks of a table; it must be of one network (--networks 0)"
        )
    outputs = model.network.sizes[-1:]  # which the classes and the loss determine
    for what, have, want, remedy in (
        ("layers", model.network.sizes, (data.X.shape[1], *config.hidden, *outputs), "--hidden and --data"),
        ("activation", model.network.activation, config.activation, "--activation"),
        ("biases", model.network.bias, config.bias, "--no-bias"),
        ("classes", model.classes, data.classes, "--data"),
        ("columns", model.columns, data.columns, "--data"),
        ("loss", model.target and model.target.loss, config.loss if data.task == "regression" else None, "--loss"),
    ):
        if have != want:
            raise InputError(f"--init-from {path}: its {what} are {have}, this run's {want}; see {remedy}")
    return model


def _scaling_of(model: Model, data: Dataset) -> Scaling:
    """The scaling of a model's inputs, with the density of these data."""
    sample = row_sample(data.X)
    _, density = input_scale(sample if model.mean is None or is_sparse(sample) else sample - model.mean)
    return Scaling(model.scale, density, model.mean, model.std)


def is_table(data: Dataset) -> bool:
    """Whether the samples are a table: no images, and not mostly zeros whose columns share a scale."""
    if data.image_shape is not None or isinstance(data.X, Frame):
        return data.image_shape is None
    sample = row_sample(data.X)
    return input_scale(sample)[1] > kernels.tuning.SPARSE_DENSITY or not share_a_scale(sample)


def _held_out(data: Dataset, config: TrainConfig) -> tuple[Dataset, tuple[Any, np.ndarray, np.ndarray | None] | None]:
    """(the training samples without the validation samples, a seeded part of them; (X, y, weights) of these)."""
    fraction = config.validation
    if fraction is None:
        fraction = _PATIENCE_VALIDATION if config.patience is not None else 0.0
    if config.patience is not None and config.monitor.startswith("validation") and not fraction:
        raise InputError(f"--patience watches {config.monitor}; --validation must be above 0")
    if not fraction:
        return data, None
    count = round(len(data.X) * fraction)
    if not 0 < count < len(data.X):
        raise InputError(f"{len(data.X)} training samples cannot be split with --validation {fraction}")
    order = np.random.default_rng([config.seed, 0xFA11]).permutation(len(data.X))
    rows, kept = np.sort(order[:count]), np.sort(order[count:])
    weights = of_held_out = data.sample_weight
    if weights is not None:
        weights, of_held_out = weights[kept], weights[rows]
    X, held_out = divide(data.X, kept, rows)
    watched = held_out, _targets_for_kernels(data.y[rows]), of_held_out
    return replace(data, X=X, y=data.y[kept], sample_weight=weights), watched


def _scaling(data: Dataset, config: TrainConfig) -> Scaling:
    """Each column's mean and deviation in a table, where mostly-zero columns keep their zeros; one mean and one
    deviation for light images; else one factor.

    ``--standardize yes`` standardises images' columns, too, and centres mostly-zero columns unless they are sparse.
    """
    measured, density = input_scale(row_sample(data.X))
    if config.standardize == "yes" or (config.standardize == "auto" and config.scale is None and is_table(data)):
        keep = is_sparse(data.X) or config.input == "sparse" or config.standardize == "auto"
        return column_scaling(data.X, kernels.tuning.SPARSE_DENSITY, keep_zeros=keep, source=data.source)
    if config.standardize == "auto" and config.scale is None and data.image_shape is not None:
        about_mean = scaling_about_mean(row_sample(data.X))
        if about_mean is not None:
            return about_mean
    scale = measured if config.scale is None else config.scale
    if not 0 < scale < float(np.finfo(config.dtype).max):
        raise InputError(
            f"{data.source}: is multiplied by {scale:.0e}, which must be within the range of {config.dtype}; "
            "it is too small or too large"
        )
    return Scaling(scale, density)


def _input(data: Dataset, config: TrainConfig, density: float) -> str:
    """How the first layer reads its input: "dense" or "sparse"."""
    input = config.input
    if input == "auto":
        input = "sparse" if density <= kernels.tuning.SPARSE_DENSITY else "dense"
    if config.backend == "reference":
        input = "dense"
    if input == "dense" and is_sparse(data.X):
        raise InputError(f"{data.source}: is sparse; --input must be auto or sparse, and --backend numba")
    return input


def _dense_enough(data: Dataset) -> Dataset:
    """The data set with sparse samples made dense, where too few numbers are zeros for skipping them to pay."""
    X = data.X
    if not is_sparse(X) or entries_per_row(X) <= kernels.tuning.SPARSE_DENSITY * X.shape[1]:
        return data
    dense = replace(X, spelt_out=True) if isinstance(X, OnDisk) else kernels.csr(X).toarray()
    return replace(data, X=dense, X_test=kernels.csr(data.X_test).toarray())


def _window_bytes(X: Any, dtype: str, scaling: Scaling, *, sparse: bool, raw: bool) -> float:
    """Bytes that a sample takes while one window is trained on and the next is read and prepared.

    The next may be in memory in three forms: as it is read, in the network's ``dtype`` (standardised or not), and
    without zeros (``sparse``); the one trained on only in the last form. Samples to be distorted stay ``raw``.
    """
    inputs, kept = X.shape[1], X.dtype.itemsize
    if isinstance(X, np.ndarray):
        forms = [float(inputs * kept)]
    else:
        forms = [X.row_bytes if isinstance(X, OnDisk) else entries_per_row(X) * (kept + X.indices.itemsize) + 8]
    if not raw and (scaling.mean is not None or (not is_sparse(X) and X.dtype not in (np.uint8, np.dtype(dtype)))):
        kept = np.dtype(dtype).itemsize
        forms.append(forms[0] if is_sparse(X) else float(inputs * kept))
    if sparse and not raw:
        forms.append(scaling.density * inputs * (kept + (2 if inputs <= 2**16 else 4)) + 8)
    return sum(forms) + forms[-1] + _ROW_BYTES


def _within_memory(data: Dataset, config: TrainConfig, bytes_each: float) -> tuple[Dataset, int | None]:
    """(the data, read if they fit in memory; the most rows of a window), if a sample takes ``bytes_each`` in windows.

    If ``config.memory`` is given, samples in memory are trained on in the same order as they would be from disk.
    """
    memory = data.X.memory if config.memory is None and isinstance(data.X, OnDisk) else config.memory
    if memory is None:
        return data, None
    batch = min(config.batch_size, len(data.X))
    most = int(memory * 2**20 / bytes_each) // batch * batch
    if most == 0:
        raise InputError(
            f"--memory {memory}: is too little for two batches of {batch:,} samples of {data.source}; "
            f"it must be at least {math.ceil(bytes_each * batch / 2**20):,}"
        )
    if isinstance(data.X, OnDisk):
        if most >= len(data.X):
            return replace(data, X=data.X.read(), y=_targets_for_kernels(data.y)), None
        if config.sampling == "draw":
            raise InputError(f"--memory {memory}: batches drawn from all samples (--preset seed) need them in memory")
    return data, most


def _for_kernels(X: Any, scaling: Scaling, dtype: str, source: str, *, sparse: bool) -> Any:
    """X in the form that the kernels read without conversion. InputError for values beyond the range of ``dtype``."""
    with np.errstate(over="ignore"):  # refused below
        if scaling.mean is not None:
            X = standardised(X, scaling.mean, scaling.std, dtype)
        elif isinstance(X, np.ndarray) and X.dtype != np.uint8:
            X = X.astype(dtype, copy=False)
    values = X.data[:, None] if is_sparse(X) else X
    if values.dtype == dtype and not all(np.isfinite(values[rows]).all() for rows in row_blocks(values)):
        raise InputError(f"{source}: holds values beyond the range of {dtype}")
    return kernels.csr(X) if sparse else X


def sample_weights(config: TrainConfig, data: Dataset) -> np.ndarray | None:
    """The samples' weights times their classes' weights, float64 [N]; None where all are 1."""
    if config.class_weight is None:
        return data.sample_weight
    if config.class_weight == "balanced":
        weights = balanced(data.y, data.sample_weight, len(data.classes))
    else:
        weights = np.array(config.class_weights(len(data.classes)))
    return weights[data.y] * (1.0 if data.sample_weight is None else data.sample_weight)


def _of_mean_one(config: TrainConfig, data: Dataset) -> np.ndarray | None:
    """``sample_weights`` of mean 1."""
    weights = sample_weights(config, data)
    mean_is_one = config.class_weight == "balanced" and data.sample_weight is None  # but for rounding
    return weights if mean_is_one else of_mean_one(weights)


def _targets_for_kernels(y: np.ndarray) -> np.ndarray:
    """Class indices as int64; numbers to predict unchanged."""
    return y if y.dtype.kind == "f" else y.astype(np.int64)


def digest(X: Any, y: np.ndarray, rows: np.ndarray | None = None) -> int:
    """CRC-32 of y and of evenly spaced samples of X, of all or some ``rows``, to tell data sets apart."""
    y = y if rows is None else y[rows]
    sample: Any = row_sample(X) if rows is None else X[row_sample(rows)]
    if isinstance(sample, Frame):
        arrays = tuple(map(_as_text, sample.columns.values()))
    else:
        arrays = (sample,) if isinstance(sample, np.ndarray) else (sample.indptr, sample.indices, sample.data)
    crc = 0
    for start in range(0, len(y), _BLOCK):  # in one type, however narrow they are kept
        crc = zlib.crc32(np.ascontiguousarray(_targets_for_kernels(y[start : start + _BLOCK])).data, crc)
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array).data, crc)
    return crc


def _as_text(values: np.ndarray) -> np.ndarray:
    """The bytes of a column's values, the same whether numbers came as text, such as $1,250, float32 or float64."""
    with np.errstate(over="ignore"):
        numbers = ((text, feature(text)) for text in map(str, values.tolist()))
        texts = [text if x is None else repr(float(np.float32(x))) for text, x in numbers]
    return np.frombuffer("\n".join(texts).encode(), np.uint8)
