"""``fastmlp.fit`` of a data set, or of arrays, data frames and SciPy's sparse matrices; ``train`` drives every run."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from . import log
from .arrays import dataset_of
from .backend import kernels
from .config import OPTIONS, TrainConfig, configure, unknown_option
from .data import Dataset
from .data.labels import listed, places
from .errors import InputError, Interrupted, as_parameters
from .log import Say
from .paths import as_path
from .screen import Screen, in_notebook
from .training.checkpoint import read_checkpoint, take_over
from .training.loop import Observer, Progress, Result, Run, on_threads
from .training.parallel import World
from .training.plan import completed, plan

P = ParamSpec("P")
R = TypeVar("R")

_NOT_GIVEN: Any = object()
_INSTEAD = {
    "out": "checkpoint= keeps the run, and result.model.save(path) the model",
    **dict.fromkeys(
        ("test", "label_column", "weight_column", "offline"), "fastmlp.load takes it, and fit what that has read"
    ),
}
_OPTIONS = {"preset", *OPTIONS} - {"data"}


def _telling_what_is_given(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, which gets _NOT_GIVEN for each option that was not given, so that a preset may decide it.

    Its signature has the defaults, and its documentation what the command line's help says of each option.
    """
    names = inspect.signature(function).parameters
    options = [name for name in names if name in _OPTIONS]
    said = {item.name: item.metadata["help"] for item in fields(TrainConfig) if "help" in item.metadata}
    lines = (f"    {name}: {as_parameters(said[name])}" for name in options if name in said)
    function.__doc__ = f"{(function.__doc__ or '').rstrip()}\n\n    Options:\n\n" + "\n".join(lines) + "\n"

    @functools.wraps(function)
    def called(*args: P.args, **keywords: P.kwargs) -> R:
        for name in sorted(keywords.keys() - names):
            if name in _INSTEAD:
                raise InputError(f"{name} is of the commands; in Python {_INSTEAD[name]}")
            raise unknown_option(name, names)
        return function(*args, **{**dict.fromkeys(options, _NOT_GIVEN), **keywords})

    return called


@_telling_what_is_given
def fit(
    data: Any,
    y: Any = None,
    *,
    X_test: Any = None,
    y_test: Any = None,
    sample_weight: Any = None,
    preset: str | None = None,
    val_fraction: float = 0.1,
    column: str | tuple[str, ...] | None = None,
    drop: str | tuple[str, ...] | None = None,
    memory: int | None = None,
    standardize: str = "auto",
    task: str = "auto",
    networks: int | None = None,
    hidden: int | tuple[int, ...] = (256,),
    activation: str | tuple[str, ...] = "relu",
    bias: bool = True,
    init_from: str | None = None,
    dtype: str = "float32",
    precision: str = "float32",
    loss: str | None = None,
    batch_size: int | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    optimizer: str = "momentum",
    lr: float | None = None,
    layer_rates: tuple[float, ...] | None = None,
    momentum: float = 0.9,
    nesterov: bool = True,
    schedule: str = "onecycle",
    warmup: float | None = None,
    step_epochs: int | None = None,
    step_factor: float = 0.1,
    clip_norm: float | None = None,
    average: float | None = None,
    weight_decay: float | None = None,
    dropout: float | None = None,
    label_smoothing: float = 0.0,
    class_weight: str | Mapping[Any, float] | Sequence[float] | None = None,
    augment: str = "none",
    augment_strength: float = 1.0,
    validation: float | None = None,
    patience: int | None = None,
    monitor: str = "validation_loss",
    seed: int = 0,
    threads: int | None = None,
    backend: str = "numba",
    input: str = "auto",
    sync_every: int = 1,
    checkpoint_seconds: float = 10.0,
    init: str = "he",
    sampling: str = "epoch",
    mean: bool = True,
    scale: float | None = None,
    epsilon: float = 0.0,
    report_steps: int | None = None,
    evaluate_every: int = 1,
    config: TrainConfig | None = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    world: World | None = None,
) -> Result:
    """Train a network: ``fit(X, y, hidden=(256,), epochs=5, ...)``, or ``fit(data, ...)`` of a ``Dataset``.

    ``data`` is a ``Dataset`` (see ``fastmlp.load``), or X [N, inputs]: an array of numbers (uint8 and float64 as they
    are, others as float32; images may have more dimensions), a data frame (pandas', Polars', Arrow's) or a dict of
    arrays, whose columns the model knows by name then, and which may hold text, dates and gaps, or a SciPy sparse
    matrix. ``y`` [N] are text, booleans, classes, or numbers to predict: ``task`` says what, or is found out as on the
    command line, and doubts are said. It is tested on ``X_test`` and ``y_test``, or else on a seeded ``val_fraction``
    of the samples. ``sample_weight`` [N] is what each sample counts in training (0: it is left out; a test counts each
    once), and ``class_weight`` may be a dict, by class, of what its samples count.

    The options are those of the command line, whose --help explains them; ``config`` has them all together. A
    ``preset`` is seed or record. The run's state is kept in the file ``checkpoint``, if given, every
    ``checkpoint_seconds``, when it is interrupted and at its end; with ``resume`` it goes on from there, to the bits of
    a run that never stopped, or begins where there is none. In a ``world`` (see ``parallel``) all ranks call alike.

    ``observer`` has the callbacks: it is told of every report, and may stop the run; without one the logger ``fastmlp``
    gets what there is to say (warnings) and a line an epoch (INFO). ``progress`` shows a bar, on a terminal or in a
    notebook; None does in a notebook, where there is no ``observer``.

    Returns the model, the reports and the measurements. ``result.model.predict`` gives labels as they are in y.
    InputError for data that cannot be used, impossible options and a checkpoint of another run; RunError when the loss
    stops being finite; Interrupted, with ``result`` set to what there is, when ``observer.stop`` says so.
    """
    given = {name: value for name, value in locals().items() if name in _OPTIONS and value is not _NOT_GIVEN}
    by_class = given.pop("class_weight") if isinstance(class_weight, Mapping) else None
    if isinstance(y, TrainConfig):
        y, config = None, y
    for name, value, kind in (("config", config, TrainConfig), ("observer", observer, Observer)):
        if not isinstance(value, (kind, type(None))):
            raise InputError(f"{name} is of the type {type(value).__name__}; it must be a fastmlp.{kind.__name__}")
    if config is None:
        config = configure(**given)
    elif given:
        known = {name: value for name, value in vars(config).items() if name != "given"}
        config = replace(configure(**{**known, **given}), given=(*config.given, *given))
    if progress is None:
        progress = observer is None and in_notebook()
    observer = observer or Observer(say=log.warn, report=_log)
    if isinstance(data, Dataset):
        for name, value in (("y", y), ("X_test", X_test), ("y_test", y_test), ("sample_weight", sample_weight)):
            if value is not None:
                raise InputError(f"{name} goes with arrays; a Dataset has its own")
    else:
        data = dataset_of(data, y, X_test, y_test, sample_weight, config, observer.say)
    if by_class is not None:
        config = replace(config, class_weight=_in_order(by_class, data.classes, observer.say))
    shown = _with_bar(observer) if progress else observer
    return train(data, config, observer=shown, checkpoint=checkpoint, resume=resume, world=world)


def train(
    data: Dataset,
    config: TrainConfig,
    *,
    observer: Observer | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    world: World | None = None,
) -> Result:
    """Train as ``config`` says: one network, or several of a table. ``fit`` says what it takes, returns and raises.

    Rank 0 reads and writes the checkpoint.
    """
    observer, world = observer or Observer(), world or World()
    config, path = completed(config, data, world.size), None if checkpoint is None else as_path(checkpoint)
    if path is not None and path.is_dir():
        raise InputError(
            f"checkpoint is {str(checkpoint)!r}, a directory; it must be a file, such as checkpoint.npz in it"
        )
    with ExitStack() as during:
        during.enter_context(on_threads(world.threads if config.threads is None else config.threads))
        found, before = None, kernels.jit.compile_seconds
        with world.together():
            if config.networks:
                from .tables.fit import TableRun  # here: a network of its own does without

                run: Any = TableRun(data, config, observer, path)
            else:
                run = Run(plan(data, config, observer.chosen), observer, world, path)
                during.callback(run.batches.close)
            if resume and path is not None and world.rank == 0:
                found = read_checkpoint(path, observer.say)
        if len(set(world.gather(run.digest))) > 1:
            raise InputError(f"{data.source}: is not the same data on all ranks")
        found = world.gather(found)[0]
        if found is not None:
            take_over(run, found, data.source)
        run.warm_up()
        compile_seconds = kernels.jit.compile_seconds - before
        with world.together():
            observer.started(run.history, run.finished)
        try:
            run.train()
        except Interrupted as interruption:
            if run.model is not None:
                interruption.result = Result(run.model, run.config, run.history)
            raise
        return Result(run.model, run.config, run.history, run.summary(compile_seconds))


def _in_order(weights: Mapping[Any, float], classes: tuple[str, ...], say: Say) -> str:
    """The weights by class as the option has them: in the classes' order, 1 for a class without."""
    if not classes:
        raise InputError("class_weight goes with classes; y has numbers to predict")
    labels = [label if isinstance(label, float) else str(label) for label in weights]
    named = dict(zip(places(labels, classes, say), weights.items()))  # 1.0 names the class 1
    if -1 in named:
        raise InputError(f"class_weight names {str(named[-1][0])!r}; the classes are {listed(classes)}")
    return ",".join(str(named.get(k, ("", 1))[1]) for k in range(len(classes)))


def _log(report: Any) -> None:
    if hasattr(report, "network"):  # one of several
        log.inform(f"network {report.network}: validation loss {report.validation_loss:.4f}, {report.headline}")
        return
    tested = "" if report.test_loss is None else f", test {report.headline('test')}"
    log.inform(f"epoch {report.epoch:.4g}: train loss {report.train_loss:.4f}{tested}")


def _with_bar(observer: Observer) -> Observer:
    """The observer, behind a progress bar."""
    screen = Screen(0)

    def progressed(progress: Progress) -> None:
        screen.progress(progress)
        observer.progress(progress)

    def reported(report: Any) -> None:
        screen.report(report)
        observer.report(report)

    return replace(observer, progress=progressed, report=reported)
