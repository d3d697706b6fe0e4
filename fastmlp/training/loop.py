"""The training loop: batches of row numbers in, an epoch's report out."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import Network, kernels, ops, threads
from ..config import HIGHER_IS_BETTER, METRICS, TrainConfig
from ..errors import Interrupted, RunError
from ..images.framing import border_lightness, framing_of
from ..models.model import Model
from ..models.ranges import input_ranges
from ..models.target import kernel_of, scored
from .batches import Batches
from .checkpoint import Checkpoint, write_checkpoint
from .optimizers import learning_rates, rule
from .parallel import World
from .plan import Plan

_CHUNK_SECONDS = 0.05  # of compiled steps in one call: Ctrl-C and the progress line wait for its end
_READING_SECONDS = 0.01  # the same while a thread reads ahead and occupies a core
_STEPS_KEPT = 10_000  # of whose durations the median is taken
_WARM_ROWS = 8192  # enough for every kernel to use the threads
_CHECKPOINT_SHARE = 20  # a checkpoint that took s seconds is followed by 20 s without one: 5 % of the time at most


@dataclass(frozen=True, kw_only=True)
class Report:
    """A line of metrics.jsonl. Training figures are means over the steps since the last report; validation and test
    figures are measured after these steps, and null without such a set.

    ``train_loss`` includes sample weights and label smoothing. ``lr`` is the last step's rate, ``seconds`` the time in
    training steps so far.
    """

    epoch: float
    step: int
    train_loss: float
    validation_loss: float | None
    test_loss: float | None
    lr: float
    seconds: float
    samples_per_second: float

    def headline(self, part: str) -> str:
        """The main score on a part of the data, for a person; of numbers there is none on the training samples."""
        if (accuracy := getattr(self, f"{part}_accuracy", None)) is not None:
            return f"{accuracy:.2%}"
        return "" if part == "train" else scored(getattr(self, f"{part}_rmse"), getattr(self, f"{part}_r2"))


@dataclass(frozen=True, kw_only=True)
class EpochReport(Report):
    """The report of a run that learns classes. The training accuracy is that of distorted images with units dropped,
    where the run has these."""

    train_accuracy: float
    validation_accuracy: float | None
    test_accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class NumbersReport(Report):
    """The report of a run that predicts numbers. Losses are in the network's units (see ``target.Target``), RMSE and
    MAE in those of the numbers."""

    validation_rmse: float | None
    validation_mae: float | None
    validation_r2: float | None
    test_rmse: float | None
    test_mae: float | None
    test_r2: float | None


_REPORTS: dict[str, type[Report]] = {"classification": EpochReport, "regression": NumbersReport}


@dataclass
class Result:
    """A finished run: the model, the reports, and the measurements of the command line's ``--json``."""

    model: Model
    config: TrainConfig
    history: list[Any] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        what, measured = self.model.described.removeprefix("network "), self.summary
        if not measured:
            return f"Result({what}, interrupted after {len(self.history)} reports)"
        if "test_accuracy" in measured:
            tested = f"accuracy {measured['test_accuracy']:.2%}"
        else:
            tested = scored(measured["test_rmse"], measured["test_r2"])
        trained = f"{measured['steps']:,} steps in {measured['train_seconds']:.3g} s"
        return f"Result({what}, {trained}: test {tested}, loss {measured['test_loss']:.4g})"


@dataclass(frozen=True)
class Progress:
    """Progress within an epoch: means over its steps so far, and the seconds left at this rate."""

    step: int
    total: int
    loss: float
    accuracy: float | None  # of classes
    samples_per_second: float
    seconds_left: float


@dataclass
class Observer:
    """Callbacks of the training loop, which asks ``stop`` about every 50 ms.

    For a table, ``columns`` gets its ``Columns``, and ``report`` a ``tables.fit.NetworkReport`` for each network.
    """

    say: Callable[[str], None] = lambda line: None
    chosen: Callable[[str, float], None] = lambda input, density: None
    started: Callable[[list[Any], bool], None] = lambda history, finished: None
    progress: Callable[[Progress], None] = lambda progress: None
    report: Callable[[Any], None] = lambda report: None
    stop: Callable[[], bool] = lambda: False
    columns: Callable[[Any], None] = lambda columns: None


def _initialise(network: Network, config: TrainConfig, rng: np.random.Generator) -> None:
    """He, Zhang, Ren and Sun 2015: normal with variance 2 / inputs; or the notebook's uniform. Biases stay zero."""
    for W, _ in network.layers:
        if config.init == "uniform":
            W[...] = rng.uniform(-0.5, 0.5, W.shape)
        else:
            W[...] = rng.standard_normal(W.shape) * (2 / W.shape[0]) ** 0.5


class Run:
    """The state of one run, the same on all ranks of its world."""

    def __init__(self, plan: Plan, observer: Observer, world: World | None = None, path: Path | None = None) -> None:
        config, data = plan.config, plan.data
        self.plan, self.config, self.digest, self.path = plan, config, plan.digest, path
        self.observer, self.world = observer, world or World()
        self.rule = rule(config)
        # The kernels' loss; None for the cross-entropy of classes, whose labels may be smoothed.
        self.loss = None if plan.loss is None else kernel_of(plan.loss)
        self.task, target = data.task, plan.target
        outputs = len(data.classes) if target is None else target.outputs
        network = self._network((data.X.shape[1], *config.hidden, outputs))
        weights_rng, batches_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(config.seed).spawn(2))
        if plan.start is None:
            _initialise(network, config, weights_rng)
        else:
            network.params[...] = plan.start.network.params
        self.final = network  # holds the weights that are tested and kept: the last step's, or an average
        self.averaging: dict[str, Any] = {}  # the kernels' options
        if config.average is not None:
            self.final = self._network(network.sizes, slots=0)
            self.final.params[...] = network.params
            decay = None if config.average == 1 else config.average
            self.averaging = {"average": self.final.params, "average_decay": decay}
        self.model = Model(
            network, plan.scaling.scale, data.classes, config.backend, image_shape=data.image_shape,
            columns=data.columns, index_base=data.index_base, label=data.label,
            framing=framing_of(data.X, data.image_shape),
            trained_on={"digest": self.digest, "val_fraction": config.val_fraction, "seed": config.seed},
            light_border=(border_lightness(data.X, data.image_shape) or 0.0) > 0.5,
            ranges=input_ranges(data.X, is_image=data.image_shape is not None), target=target,
            mean=plan.scaling.mean, std=plan.scaling.std, label_kind=data.label_kind, loss=plan.loss,
        )  # fmt: skip
        if line := copy(self.model).unlike_training(data.X_test):  # the model itself has yet to warn who predicts
            observer.say(f"test set: {line}")
        if plan.start is not None and (line := plan.start.unlike_training(data.X_test)):  # whose units are kept
            observer.say(f"{config.init_from}: {line}")
        self.batches = Batches(len(data.X), config.batch_size, config.sampling, batches_rng, plan.window_rows)
        sparse, dropout = plan.input == "sparse", config.dropout > 0
        if config.precision == "bfloat16" and not kernels.mlp.rounds(
            self.model.network, self.batches.batch_size, sparse=sparse, dropout=dropout
        ):
            observer.say("--precision bfloat16 changes nothing: all layers are too narrow, and stay in float32")
        self.total = config.total_steps(self.batches.steps_per_epoch)
        self.batches.fill_with(plan.load, until=None if plan.X is not None else self.total)
        self.rates: Callable[[int, int], np.ndarray] = lambda start, stop: learning_rates(
            config, start, stop, self.total, self.batches.steps_per_epoch
        )
        self.report_every = config.report_steps or self.batches.steps_per_epoch
        self.history: list[Report] = []
        self.best_params: np.ndarray | None = None  # those of the best report, where the run has a patience
        self.step = self.samples = self.interval_samples = self.interval_correct = 0
        self.seconds = self.interval_seconds = 0.0
        self.losses: list[float] = []  # of the steps since the last report
        self.step_seconds: deque[float] = deque(maxlen=_STEPS_KEPT)
        self._save_at = time.monotonic() + config.checkpoint_seconds
        self._chunk = 1
        # A chunk ends where all ranks have the same weights.
        self._multiple = config.sync_every if self.world.size > 1 else 1

    def _network(self, sizes: Sequence[int], slots: int | None = None) -> Network:
        """A network of zeros with the run's options; by default with the update rule's state slots."""
        config, target = self.config, self.plan.target
        slots = self.rule.slots if slots is None else slots
        return Network(
            sizes, bias=config.bias, dtype=config.dtype, slots=slots, activation=config.activation,
            output="softmax" if target is None else target.kernel.output, layer_rates=config.layer_rates,
            precision=config.precision,
        )  # fmt: skip

    def warm_up(self) -> None:
        """Compile, or load from the cache, every kernel that the run will call."""
        plan, config = self.plan, self.config
        if config.backend == "reference":
            return
        inputs, outputs = plan.data.X.shape[1], self.model.network.sizes[-1]
        # Sparse kernels differ where a row's number in the batch needs more than a byte, and dense ones where a network
        # is small. This one is wide enough for the threads to share a step, unless it is small, and no wider.
        most, small = kernels.sparse.BYTE_ROWS, kernels.tuning.SMALL_UNITS
        batch = most if self.batches.batch_size <= most * self.world.size else most + 1
        width = 1 + kernels.tuning.SERIAL_FLOP // (batch * (4 * inputs + 6 * outputs))
        in_blocks = kernels.mlp.takes_blocks(self.model.network, self.batches.batch_size)
        width = min(width, small) if in_blocks else max(width, small + 1)
        network = Network(
            (inputs, width, *(1,) * (len(config.hidden) - 1), outputs), dtype=config.dtype, slots=self.rule.slots,
            activation=config.activation, output=self.model.network.output, precision=config.precision,
        )  # fmt: skip
        window = self.batches.window(self.step)
        X, y = window.X, window.y
        if plan.distort:
            X, y = plan.for_kernels(plan.distort(X, np.arange(min(128, len(y))))), y[:128]
        rows = np.zeros(batch, np.int64)
        average = None if config.average is None else network.params.copy()
        calls: list[Callable[[], Any]] = [
            partial(
                kernels.mlp_train_steps, X, y, rows, batch, network, rule=self.rule, lr=[0.0], clip=clip,
                loss=self.loss, average=average, dropout=config.dropout,
            )
            for clip in ({config.clip_norm} if self.world.size == 1 else {None, config.clip_norm})
        ]  # fmt: skip
        if self.world.size > 1:
            calls.append(partial(kernels.mlp_update, network, np.zeros_like(network.params), rule=self.rule, lr=0.0))
        X, y = plan.test
        if not isinstance(X, kernels.CSR):
            X, y = X[:_WARM_ROWS], y[:_WARM_ROWS]
        model = Model(network, 1.0, plan.data.classes, target=plan.target, loss=plan.loss)
        calls.append(partial(model.measure, X, y))
        kernels.jit.compile_for(calls)

    def advance(self, limit: int) -> None:
        """Train one chunk of at most ``limit`` steps."""
        config, step = self.config, self.step
        chunk = -(-self._chunk // self._multiple) * self._multiple
        start = time.perf_counter()
        window = self.batches.window(step)
        count = min(limit, chunk, window.stop - step)
        rows, size = self.batches.rows(step, count), self.batches.batch_size
        samples, lengths = len(rows), np.full(count, size)
        lengths[-1] = samples - (count - 1) * size
        rows = self.world.share(rows, lengths)
        X, y, weights = window.X, window.y, window.weights
        if self.plan.distort and len(rows):
            X, y = self.plan.for_kernels(self.plan.distort(X, rows, epoch=window.number)), y[rows]
            weights, rows = None if weights is None else weights[rows], np.arange(len(rows))
        reading = self.batches.reading  # the reader needs a core: every barrier would wait for a thread that shares it
        with kernels.threads(max(1, kernels.get_num_threads() - reading)):
            losses, correct = self.world.train_steps(
                ops(config.backend), X, y, rows, lengths, self.model.network, size=size, sync_every=config.sync_every,
                rule=self.rule, lr=self.rates(step, step + count), t=step + 1, clip=config.clip_norm,
                scale=self.model.scale, sample_weight=weights, mean=config.mean, epsilon=config.epsilon,
                label_smoothing=config.label_smoothing, dropout=config.dropout, seed=config.seed % 2**32,
                loss=self.loss, **self.averaging,
            )  # fmt: skip
        seconds = max(self.world.gather(time.perf_counter() - start))
        self.step += count
        self.samples += samples
        self.interval_samples += samples
        self.seconds += seconds
        self.interval_seconds += seconds
        self.interval_correct += int(correct.sum())
        self.losses += losses.tolist()
        self.step_seconds.extend([seconds / count] * count)
        wanted = _READING_SECONDS if self.batches.reading else _CHUNK_SECONDS
        self._chunk = max(1, min(2 * self._chunk, int(wanted * count / seconds)))
        if not np.isfinite(losses).all():
            bad = step + int(np.flatnonzero(~np.isfinite(losses))[0]) + 1
            raise self.divergence(f"at step {bad}: the loss")

    @property
    def finished(self) -> bool:
        """Whether all steps have been taken, or no more progress is expected."""
        patience = self.config.patience
        return self.step >= self.total or (patience is not None and len(self.history) - self._best > patience)

    @property
    def _best(self) -> int:
        """The number, from 0, of the first report with the best of the monitored metric; 0 without reports."""
        choose = np.argmax if self.config.monitor.endswith(HIGHER_IS_BETTER) else np.argmin
        return int(choose([getattr(report, self.config.monitor) for report in self.history] or [0]))

    def train(self) -> None:
        """Take the steps that are left; the model then has the weights to keep."""
        try:
            while not self.finished:
                report = self.until_report()
                with self.world.together():
                    self.observer.report(report)
                if not self.finished:
                    self.stop_or_save()
        except Interrupted:
            self.save()
            raise
        self.save()
        self.model.network.params[...] = self.final.params if self.best_params is None else self.best_params

    def until_report(self) -> Report:
        """Train to the next report and make it."""
        goal = min((self.step // self.report_every + 1) * self.report_every, self.total)
        while self.step < goal:
            self.advance(goal - self.step)
            rate = self.interval_samples / self.interval_seconds
            left = self.seconds / self.step * (self.total - self.step)
            loss = sum(self.losses) / self.interval_samples
            self.observer.progress(Progress(self.step, self.total, loss, self._accuracy(), rate, left))
            if self.step < goal:
                self.stop_or_save()
        ends = self.step == self.total or (self.step // self.report_every) % self.config.evaluate_every == 0
        measured: dict[str, Any] = {
            "epoch": self.step / self.batches.steps_per_epoch,
            "step": self.step,
            "train_loss": math.fsum(self.losses) / self.interval_samples,  # however the steps were cut into chunks
            **self._tested(self.plan.validation, "validation"),
            **self._tested(self.plan.test if ends else None, "test"),
            "lr": float(self.rates(self.step - 1, self.step)[0]),
            "seconds": self.seconds,
            "samples_per_second": self.interval_samples / self.interval_seconds,
        }
        if self.task == "classification":
            measured["train_accuracy"] = self._accuracy()
        report = _REPORTS[self.task](**measured)
        self.interval_samples = self.interval_correct = 0
        self.interval_seconds, self.losses = 0.0, []
        report = self.world.gather(report)[0]  # all ranks must decide alike, but different CPUs round differently
        self.history.append(report)
        if self.config.patience is not None and self._best == len(self.history) - 1:
            self.best_params = self.final.params.copy()
        return report

    def _accuracy(self) -> float | None:
        """The training accuracy since the last report; None for numbers."""
        return self.interval_correct / self.interval_samples if self.task == "classification" else None

    def _tested(self, held_out: tuple[Any, ...] | None, name: str) -> dict[str, float | None]:
        """{name}_loss, {name}_accuracy, ... on prepared samples; None for each without samples."""
        if held_out is None:
            return dict.fromkeys(f"{name}_{metric}" for metric in METRICS[self.task])
        model = self.model
        final = Model(self.final, model.scale, model.classes, self.config.backend, target=model.target, loss=model.loss)
        tested = final.measure(*held_out)
        if not all(map(math.isfinite, tested.values())):
            raise self.divergence(f"after step {self.step}: the {name} loss")
        return {f"{name}_{metric}": value for metric, value in tested.items()}

    def divergence(self, what: str) -> RunError:
        """The error of a run in which ``what`` is infinite or NaN."""
        cure = f"a lower --lr than {self.config.peak_lr:g}"
        if self.config.weight_decay:
            cure += f" or a lower --weight-decay than {self.config.weight_decay:g}"
        return RunError(f"diverged {what} is not finite; try {cure}")

    def stop_or_save(self) -> None:
        """Interrupted, on all ranks, where any rank's observer wants to stop; else a checkpoint when one is due."""
        if any(self.world.gather(self.observer.stop())):
            raise Interrupted
        if any(self.world.gather(time.monotonic() >= self._save_at)):
            self.save()

    def save(self) -> None:
        """Write a checkpoint, if the run has a path. RunError where a weight is not finite."""
        if self.path is None:
            return
        start = time.monotonic()
        if not np.isfinite(self.model.network.params).all():
            raise self.divergence(f"after step {self.step}: a weight")
        position = {
            "step": self.step,
            "samples": self.samples,
            "seconds": self.seconds,
            "interval": [self.interval_samples, self.interval_correct, self.interval_seconds],
            "batches": self.batches.state(self.step),
        }
        tensors = {"state": self.model.network.state, "losses": np.array(self.losses)}
        if self.best_params is not None:
            tensors["best"] = self.best_params
        if self.config.average is not None:
            tensors["average"] = self.final.params
        with self.world.together():
            if self.world.rank == 0:
                write_checkpoint(self, position, tensors)
        end, pause = time.monotonic(), self.config.checkpoint_seconds
        self._save_at = end + (max(pause, _CHECKPOINT_SHARE * (end - start)) if pause else 0)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on where ``checkpoint`` was made: see ``checkpoint.take_over``."""
        run, tensors, network = checkpoint.run, checkpoint.tensors, self.model.network
        network.params[...] = checkpoint.model.network.params
        network.state[...] = tensors["state"]
        if self.config.average is not None:
            self.final.params[...] = tensors["average"]
        self.step, self.samples, self.seconds = int(run["step"]), int(run["samples"]), float(run["seconds"])
        self.interval_samples, self.interval_correct, self.interval_seconds = run["interval"]
        self.losses = tensors["losses"].tolist()
        self.history = [_REPORTS[self.task](**report) for report in run["history"]]
        self.best_params = tensors.get("best")
        self.batches.resume(run["batches"])

    def summary(self, compile_seconds: float) -> dict[str, Any]:
        """The measurements of ``--json``, except those that the command adds."""
        last, plan = self.history[-1], self.plan
        if self.best_params is None:
            tested = {name: value for name, value in asdict(last).items() if name.startswith(("test", "validation"))}
        else:
            tested = self._tested(plan.test, "test") | self._tested(plan.validation, "validation")
        density = plan.scaling.density if plan.input == "sparse" else 1.0
        if isinstance(plan.X, kernels.CSR):
            density = plan.X.indices.size / math.prod(plan.X.shape)
        steps = self.step_seconds or [self.seconds / self.step]  # none where a finished run was resumed
        return {
            **tested,
            "train_loss": last.train_loss,
            "best_epoch": None if self.best_params is None else self.history[self._best].epoch,
            "epochs": self.step / self.batches.steps_per_epoch,
            "steps": self.step,
            "input": plan.input,
            "density": plan.scaling.density,
            **training_cost(
                self.model, self.config, density, samples=self.samples, seconds=self.seconds,
                step_seconds=float(np.median(steps)), compile_seconds=compile_seconds,
            ),
        }  # fmt: skip


def training_cost(
    model: Model, config: TrainConfig, density: float, *, samples: int, seconds: float, step_seconds: float,
    compile_seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """The part of a summary that says what training took, if the first layer multiplies a ``density`` of its inputs."""
    inputs, hidden = model.network.sizes[:2]
    flop_per_sample = model.network.flop_per_sample - 4 * hidden * inputs * (1 - density)
    return {
        "samples": samples,
        "train_seconds": seconds,
        "ms_per_step": 1000 * step_seconds,
        "samples_per_second": samples / seconds,
        "compile_seconds": compile_seconds,
        "gflops": samples / seconds * flop_per_sample / 1e9,
        "threads": kernels.get_num_threads(),
        "seed": config.seed,
        "backend": config.backend,
        "dtype": config.dtype,
        "precision": config.precision,
        "weights_sha256": model.weights_sha256(),
    }


@contextlib.contextmanager
def on_threads(count: int | None) -> Iterator[None]:
    """Use ``count`` threads if given, and silence NumPy's overflow warnings: the run itself reports infinite losses."""
    with threads(count), np.errstate(over="ignore", invalid="ignore"):
        yield
