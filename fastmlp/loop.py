"""The training loop: batches of row numbers in, an epoch's report out."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .backend import Network, kernels, ops
from .batches import Batches
from .config import TrainConfig, configure
from .data import Dataset
from .errors import InputError, Interrupted, RunError
from .model import Model
from .optimizers import learning_rates, rule

_CHUNK_SECONDS = 0.05  # of compiled steps at a time: what Ctrl-C and the progress line wait for
_SAMPLE_ROWS = 4096  # enough to know the inputs' RMS and density by
_DEFAULT_EPOCHS = 4


@dataclass(frozen=True)
class EpochReport:
    """Where the run stands: means over the steps since the last report; the test where one was made."""

    epoch: float
    step: int
    train_loss: float
    train_accuracy: float
    test_loss: float | None
    test_accuracy: float | None
    seconds: float
    samples_per_second: float


@dataclass
class Result:
    """A finished run: the model, the reports, and the measurements of the command line's ``--json``."""

    model: Model
    config: TrainConfig
    history: list[EpochReport] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass
class Observer:
    """What the loop tells whoever watches; each may be replaced."""

    chosen: Callable[[str, float], None] = lambda input, density: None
    compiling: Callable[[], None] = lambda: None
    progress: Callable[[int, int, float, float], None] = lambda step, total, loss, samples_per_second: None
    report: Callable[[EpochReport], None] = lambda report: None
    stop: Callable[[], bool] = lambda: False


def input_scale(X: np.ndarray) -> tuple[float, float]:
    """(1 / RMS, density of non-zeros) of evenly spaced rows of X. Scaling keeps the zeros zero, which centring would not."""
    sample = X[:: max(1, len(X) // _SAMPLE_ROWS)]
    largest = float(np.abs(sample).max(initial=0))
    density = float(np.count_nonzero(sample) / max(1, sample.size))
    if largest == 0:
        return 1.0, density
    rms = largest * float(np.mean(np.square(sample / largest, dtype=np.float64))) ** 0.5  # no square overflows
    if rms == 0 or not 0 < 1 / rms < math.inf:
        raise InputError(f"the inputs are about {rms:.0e} in size; their scale must be within the range of {X.dtype}")
    return 1 / rms, density


def _initialise(network: Network, config: TrainConfig, rng: np.random.Generator) -> None:
    """He, Zhang, Ren and Sun 2015: normal with variance 2 / inputs; or the notebook's uniform. Biases stay zero."""
    for W, _ in network.layers:
        if config.init == "uniform":
            W[...] = rng.uniform(-0.5, 0.5, W.shape)
        else:
            W[...] = rng.standard_normal(W.shape) * (2 / W.shape[0]) ** 0.5


class _Run:
    """The state of one run."""

    def __init__(self, data: Dataset, config: TrainConfig, observer: Observer) -> None:
        self.config, self.observer = config, observer
        if data.X.dtype != np.uint8 and data.X.dtype != config.dtype:
            with np.errstate(over="ignore"):  # once, not at every call; Dataset refuses what overflows
                data = replace(data, X=data.X.astype(config.dtype), X_test=data.X_test.astype(config.dtype))
        self.data = data
        measured, self.density = input_scale(data.X)
        self.input = config.input
        if config.input == "auto":
            self.input = "sparse" if self.density <= kernels.tuning.SPARSE_DENSITY else "dense"
        if config.backend == "reference":
            self.input = "dense"
        self.X: Any = data.X
        self.X_test: Any = data.X_test
        self.rule = rule(config)
        sizes = (data.X.shape[1], *config.hidden, len(data.classes))
        network = Network(sizes, bias=config.bias, dtype=config.dtype, slots=self.rule.slots)
        weights_rng, batches_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(config.seed).spawn(2))
        _initialise(network, config, weights_rng)
        scale = measured if config.scale is None else config.scale
        self.model = Model(network, scale, data.classes, config.backend)
        self.batches = Batches(len(data.X), config.batch_size, config.sampling, batches_rng)
        self.total = config.steps or (config.epochs or _DEFAULT_EPOCHS) * self.batches.steps_per_epoch
        self.step = 0
        self.samples = 0
        self.seconds = 0.0
        self.step_seconds: list[float] = []
        self._chunk = 1

    def warm_up(self) -> float:
        """Compile, or load, all that the run will call, on two samples, and take sparse inputs apart.

        Returns the seconds spent compiling.
        """
        if self.config.backend == "reference":
            return 0.0
        jit = kernels.jit
        before, jit.on_compile = jit.compile_seconds, self.observer.compiling
        if self.input == "sparse":
            self.X, self.X_test = kernels.csr(self.X), kernels.csr(self.X_test)
        network = Network((self.data.X.shape[1], 2, 2), dtype=self.config.dtype, slots=self.rule.slots)
        few = self.data.X[:2]
        X, y = kernels.csr(few) if self.input == "sparse" else few, np.zeros(len(few), np.int64)
        kernels.mlp_train_steps(X, y, np.zeros(1, np.int64), 1, network, rule=self.rule, lr=[0.0])
        Model(network, 1.0, ("0", "1")).evaluate(X, y)
        jit.on_compile = None
        return jit.compile_seconds - before

    def advance(self, limit: int) -> tuple[list[float], int]:
        """Train one chunk of at most ``limit`` steps; returns (losses of the steps, correct)."""
        count = min(limit, self._chunk, self.batches.left_in_epoch(self.step))
        start = time.perf_counter()
        rows = self.batches.rows(self.step, count)
        losses, correct = ops(self.config.backend).mlp_train_steps(
            self.X, self.data.y, rows, self.batches.batch_size, self.model.network, rule=self.rule,
            lr=learning_rates(self.config, self.step, self.step + count, self.total), t=self.step + 1,
            scale=self.model.scale, mean=self.config.mean, epsilon=self.config.epsilon,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        self.step += count
        self.samples += len(rows)
        self.seconds += seconds
        self.step_seconds += [seconds / count] * count
        self._chunk = max(1, min(2 * self._chunk, int(_CHUNK_SECONDS * count / seconds)))
        if not np.isfinite(losses).all():
            bad = self.step - count + int(np.flatnonzero(~np.isfinite(losses))[0]) + 1
            raise self.divergence(f"at step {bad}: the loss")
        return losses.tolist(), int(correct.sum())

    def until_report(self) -> EpochReport:
        """Train to the next report and make it."""
        interval = self.config.report_steps or self.batches.steps_per_epoch
        goal = min((self.step // interval + 1) * interval, self.total)
        losses: list[float] = []
        loss, correct, samples, seconds = 0.0, 0, self.samples, self.seconds
        while self.step < goal:
            part, hits = self.advance(goal - self.step)
            losses += part
            loss, correct = loss + sum(part), correct + hits
            done, spent = self.samples - samples, self.seconds - seconds
            self.observer.progress(self.step, self.total, loss / done, done / spent)
            if self.observer.stop():
                raise Interrupted
        done, spent = self.samples - samples, self.seconds - seconds
        tested: tuple[float | None, float | None] = (None, None)
        if self.step == self.total or (self.step // interval) % self.config.evaluate_every == 0:
            tested = self.model.evaluate(self.X_test, self.data.y_test)
            if not math.isfinite(tested[0] or 0.0):
                raise self.divergence(f"after step {self.step}: the test loss")
        epoch = self.step / self.batches.steps_per_epoch
        loss = math.fsum(losses)  # however the steps were cut into chunks
        return EpochReport(epoch, self.step, loss / done, correct / done, *tested, self.seconds, done / spent)

    def divergence(self, what: str) -> RunError:
        """The error of a run whose numbers have left the finite."""
        cure = f"a lower --lr than {self.config.peak_lr:g}"
        if self.config.weight_decay:
            cure += f" or a lower --weight-decay than {self.config.weight_decay:g}"
        return RunError(f"diverged {what} is not finite; try {cure}")

    def _flop_per_sample(self) -> float:
        """The floating-point operations done: what the first layer skips does not count."""
        flop = self.model.network.flop_per_sample
        if self.input == "sparse":
            inputs, hidden = self.model.network.sizes[:2]
            return flop - 4 * hidden * (inputs - self.X.indices.size / self.X.shape[0])
        return flop

    def summary(self, last: EpochReport, compile_seconds: float) -> dict[str, Any]:
        """The measurements of ``--json``, but for those that the command line makes."""
        rate = self.samples / self.seconds
        return {
            "test_accuracy": last.test_accuracy,
            "test_loss": last.test_loss,
            "train_loss": last.train_loss,
            "epochs": self.step / self.batches.steps_per_epoch,
            "steps": self.step,
            "samples": self.samples,
            "train_seconds": self.seconds,
            "ms_per_step": 1000 * statistics.median(self.step_seconds),
            "samples_per_second": rate,
            "compile_seconds": compile_seconds,
            "gflops": rate * self._flop_per_sample() / 1e9,
            "input": self.input,
            "density": self.density,
            "threads": kernels.get_num_threads(),
            "seed": self.config.seed,
            "backend": self.config.backend,
            "dtype": self.config.dtype,
            "weights_sha256": self.model.weights_sha256(),
        }


def fit(
    data: Dataset, config: TrainConfig | None = None, *, observer: Observer | None = None, **options: Any
) -> Result:
    """Train a network on ``data``: ``fit(data, hidden=(256,), epochs=5, ...)``, the options of the command line.

    Returns the model, the reports and the measurements. InputError for impossible options; RunError when the loss stops
    being finite; Interrupted, with ``result`` set to what there is, when ``observer.stop`` says so.
    """
    config = configure(**options) if config is None else config
    observer = observer or Observer()
    threads = contextlib.nullcontext() if config.threads is None else kernels.threads(config.threads)
    with threads:
        run = _Run(data, config, observer)
        result = Result(run.model, config)
        observer.chosen(run.input, run.density)
        compile_seconds = run.warm_up()
        try:
            while run.step < run.total:
                report = run.until_report()
                result.history.append(report)
                observer.report(report)
        except Interrupted as interruption:
            interruption.result = result  # type: ignore[attr-defined]
            raise
        result.summary = run.summary(result.history[-1], compile_seconds)
    return result
