"""A run on a table: its columns are learnt, then networks on parts of its rows (see ``ensemble``)."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..backend import kernels
from ..config import TrainConfig
from ..data import Dataset, Sparse
from ..data.dataset import of_mean_one
from ..data.frame import as_frame
from ..data.labels import listed
from ..errors import InputError, Interrupted, RunError, about, similar
from ..formats import DROP, kinds_of
from ..models.target import Target, number_scores, target_of
from ..training.checkpoint import Checkpoint, write_checkpoint
from ..training.loop import Observer, Progress, training_cost
from ..training.plan import digest, sample_weights
from .columns import Columns
from .ensemble import Member, Rows, folds, input_scale, mean_probabilities, train
from .model import TableModel
from .recipe import FEW_ROWS, LEAST_STEPS, Recipe, recipe_for

_SEED = 0x7AB1E


@dataclass(frozen=True)
class NetworkReport:
    """A trained network of a table; a line of metrics.jsonl.

    The network is kept as it was after ``epoch`` of its ``epochs``, that of the lowest of the ``validation_losses`` on
    the training rows held out from it. ``seconds`` counts from the beginning of the training.
    """

    network: int
    epoch: int
    epochs: int
    step: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float | None
    validation_rmse: float | None
    validation_losses: list[float]
    seconds: float

    @property
    def headline(self) -> str:
        """The main score on the held-out rows, for a person."""
        if self.validation_accuracy is not None:
            return f"{self.validation_accuracy:.2%}"
        return f"RMSE {self.validation_rmse:.4g}"


@dataclass(frozen=True, eq=False)
class _Plan:
    """All that a run trains on: ``columns``, ``rows`` of their inputs, and for each network its part (numbers of rows
    to train on, rows held out) and a seed."""

    columns: Columns
    rows: Rows
    scale: float
    target: Target | None
    recipe: Recipe
    parts: list[tuple[np.ndarray, Rows]]
    seeds: list[int]

    @property
    def density(self) -> float:
        X = self.rows.X
        return float(X.data.size / max(1, len(X) * X.shape[1])) if isinstance(X, Sparse) else 1.0


def _kinds(data: Dataset, said: tuple[str, ...]) -> dict[str, str]:
    """{column: kind} as the user says; columns without names go by number. InputError for one that is not there."""
    kinds = {}
    for name, kind in kinds_of(said).items():
        if kind == DROP:  # the reader has left it out
            continue
        key = name if name in data.names or data.columns else f"column {name}"
        if key not in data.names:
            known = f"{similar(name, data.names)}the columns are {listed(data.names)}"
            raise InputError(f"--column names no column {name!r}; {known}")
        kinds[key] = kind
    return kinds


def _plan_of(data: Dataset, config: TrainConfig, say: Any) -> _Plan:
    X, y, weights = as_frame(data.X, data.columns, data.label), data.y, sample_weights(config, data)
    if weights is not None and not weights.all():  # rows of weight 0 are left out
        kept = np.flatnonzero(weights)
        X, y, weights = X[kept], y[kept], weights[kept]
    rows = len(y)
    if rows < 2:
        raise InputError(f"{data.source}: {rows} training rows; a table is learnt from at least two")
    if data.classes and rows > 2 and np.bincount(y).max() == 1:
        raise InputError(
            f"{data.source}: {len(data.classes):,} classes in {rows:,} rows, no class twice; it must have more rows, "
            "another --label-column or, if it is a quantity, --task regression"
        )
    if rows < FEW_ROWS:
        say(f"{data.source}: {rows} rows are too few to learn a table from: do not rely on this model")
    with about(data.source):
        columns = Columns.learn(X, _kinds(data, config.column or ()), drop_empty=True)
        inputs = columns.encode(X)
    with about(f"{data.source}, test rows"):  # what is wrong with them is said before networks are trained
        tested = as_frame(data.X_test, data.columns, data.label).only(columns.used)
        for _ in columns.entries(columns.with_dates(tested)):
            pass
    target = None
    if not data.classes:
        target = target_of(y, "squared_error", weights, data.source)
        target.require(data.y_test, data.source)
    encoded = y.astype(np.int64) if target is None else target.encoded(y, np.float32)
    samples = Rows(inputs, encoded, of_mean_one(weights))
    width, depth = config.hidden[0], len(config.hidden)
    recipe = recipe_for(
        rows, classes=len(data.classes), width=width, depth=depth, activation=str(config.activation),
        learning_rate=config.lr, batch_size=config.batch_size, epochs=config.epochs, dropout=config.dropout,
    )  # fmt: skip
    count = config.networks or 1
    seed, *seeds = np.random.default_rng([config.seed, _SEED]).integers(2**31, size=1 + count).tolist()
    parts = [(kept, samples.take(out)) for kept, out in islice(cycle(folds(encoded, count, seed)), count)]
    return _Plan(columns, samples, input_scale(inputs, width), target, recipe, parts, seeds)


class TableRun:
    """The state of a run of several networks: the trained ones, their reports, and the file that keeps them.

    A run that is resumed trains the others, to the same bits.
    """

    def __init__(self, data: Dataset, config: TrainConfig, observer: Observer, path: Path | None) -> None:
        self.data, self.config, self.observer, self.path = data, config, observer, path
        self.plan = plan = _plan_of(data, config, observer.say)
        observer.columns(plan.columns)
        self.members: dict[int, Any] = {}  # trained networks by number
        self.history: list[NetworkReport] = []
        self.seconds = 0.0  # of earlier runs
        self.digest = digest(as_frame(data.X, data.columns, data.label).only(plan.columns.used), data.y)
        self._lock = threading.Lock()
        self._epochs = dict.fromkeys(range(len(plan.parts)), 0)
        self._losses: dict[int, float] = {}
        self._saved = time.monotonic()
        self._start = time.perf_counter()

    @property
    def model(self) -> TableModel | None:
        """The model of the networks trained so far; None without any."""
        if not self.members:
            return None
        data = self.data
        own = {"digest": self.digest, "val_fraction": self.config.val_fraction, "seed": self.config.seed}
        return TableModel(
            [self.members[k] for k in sorted(self.members)], self.plan.scale, data.classes, self.plan.columns,
            named=data.columns is not None, label=data.label, trained_on=own, target=self.plan.target,
            label_kind=data.label_kind,
        )  # fmt: skip

    @property
    def finished(self) -> bool:
        """Whether all networks are trained."""
        return len(self.members) == len(self.plan.parts)

    # -- callbacks of the training threads ---------------------------------------------------------------------------

    def _epoch_ended(self, network: int, epoch: int, loss: float) -> None:
        with self._lock:
            self._epochs[network], self._losses[network] = epoch, loss
            rows = len(self.plan.parts[0][0])
            each = self.plan.recipe.steps(rows)
            done, most = sum(self._epochs.values()), self.plan.recipe.epochs * len(self.plan.parts)
            seconds = time.perf_counter() - self._start
            rate = done * rows / seconds
            mean = sum(self._losses.values()) / len(self._losses)
            left = seconds / done * (most - done)
            self.observer.progress(Progress(done * each, most * each, mean, None, rate, left))

    def _network_ended(self, network: int, member: Member) -> None:
        if not member.best_epoch:
            return
        with self._lock:
            self.members[network] = member.network
            self._epochs[network] = self.plan.recipe.epochs
            report = self._report(network, member)
            self.history.append(report)
            self.observer.report(report)
            if time.monotonic() - self._saved >= self.config.checkpoint_seconds:
                self.save()

    def _report(self, network: int, member: Member) -> NetworkReport:
        rows, held_out = self.plan.parts[network]
        accuracy = rmse = None
        if self.plan.target is None:
            accuracy = float((member.held_out.argmax(1) == held_out.targets).mean())
        else:
            predicted, true = (self.plan.target.numbers(Z) for Z in (member.held_out, held_out.targets))
            rmse = number_scores(true, predicted)["rmse"]
        best, epochs = member.best_epoch, len(member.losses)
        return NetworkReport(
            1 + network, best, epochs, epochs * self.plan.recipe.steps(len(rows)), member.train_losses[best - 1],
            member.losses[best - 1], accuracy, rmse, member.losses, self.seconds + time.perf_counter() - self._start,
        )  # fmt: skip

    # -- the file ----------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint of the trained networks."""
        if self.path is not None and self.members:
            write_checkpoint(self, {"networks": sorted(self.members)}, {})
        self._saved = time.monotonic()

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint's networks: see ``checkpoint.take_over``."""
        run, model = checkpoint.run, cast(TableModel, checkpoint.model)
        self.members = dict(zip(map(int, run["networks"]), model.networks, strict=True))
        self.history = [NetworkReport(**report) for report in run["history"]]
        if not {*self.members} <= {*range(len(self.plan.parts))} or len(self.history) != len(self.members):
            raise ValueError("networks")
        self.seconds = max((report.seconds for report in self.history), default=0.0)

    # -- training ----------------------------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Compile, or load from the cache, every kernel that the run will call."""
        plan, few = self.plan, self.plan.recipe.batch_size * LEAST_STEPS
        train(
            replace(plan.recipe, epochs=1), plan.scale, plan.rows,
            [(rows[:few], held_out) for rows, held_out in plan.parts[:1]], plan.seeds[:1],
        )  # fmt: skip
        if plan.target is None:
            mean_probabilities([np.zeros((1, plan.recipe.outputs), np.float32)])

    def train(self) -> None:
        """Train the networks that are left."""
        plan, left = self.plan, [k for k in range(len(self.plan.parts)) if k not in self.members]
        self._start = time.perf_counter()
        if left:
            train(
                plan.recipe, plan.scale, plan.rows,
                [plan.parts[k] for k in left], [plan.seeds[k] for k in left],
                epoch_ended=lambda k, epoch, loss: self._epoch_ended(left[k], epoch, loss),
                network_ended=lambda k, member: self._network_ended(left[k], member), stop=self.observer.stop,
            )  # fmt: skip
        self.save()
        self.seconds += time.perf_counter() - self._start
        if not self.finished:
            if self.observer.stop():
                raise Interrupted
            raise RunError(f"diverged: a loss is not finite; try a lower --lr than {plan.recipe.learning_rate:g}")

    def summary(self, compile_seconds: float) -> dict[str, Any]:
        """The measurements of ``--json``: means over the networks, and what all of them did together."""
        model, history, plan = cast(TableModel, self.model), self.history, self.plan
        tested = model.measure(self.data.X_test, self.data.y_test)
        steps = sum(report.step for report in history)
        samples = sum(report.epochs * len(plan.parts[report.network - 1][0]) for report in history)
        threads = min(kernels.get_num_threads(), len(plan.parts))
        watched = "validation_accuracy" if plan.target is None else "validation_rmse"
        mean = {
            name: float(np.mean([getattr(report, name) for report in history]))
            for name in ("train_loss", "validation_loss", watched, "epochs")
        }
        return {
            **{f"test_{name}": value for name, value in tested.items()},
            **mean,
            "best_epoch": float(np.mean([report.epoch for report in history])),
            "steps": steps,
            "networks": len(model.networks),
            "input": "sparse" if isinstance(plan.rows.X, Sparse) else "dense",
            "density": plan.density,
            **training_cost(
                model, self.config, plan.density, samples=samples, seconds=self.seconds,
                step_seconds=self.seconds * threads / steps, compile_seconds=compile_seconds,
            ),
        }  # fmt: skip
