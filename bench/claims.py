"""Measures the README's claims: ``fastmlp bench`` runs all of it, ``pytest bench --benchmark-only`` shares parts.

A sample is a dictionary of claim, work, peer, unit, median, q1, q3, rounds and further figures.
Every claim is a function of a Session that yields samples.
"""

import contextlib
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import kernels
from fastmlp.doctor import _cpu_name
from fastmlp.errors import RunError
from fastmlp.screen import duration

import workloads
from interleave import FULL as FULL
from interleave import QUICK as QUICK
from interleave import Effort, interleave, spread
from peers import MODULES, Peer, distance, find
from workloads import Work

LR = 0.05
ALWAYS = ("fastmlp", "notebook", "numpy")
OURS = "fastmlp"
TARGETS = {0.97: 1, 0.98: 3}  # accuracy: epochs of the recipe that reach it
PARTS = {
    "training small": 20.0, "training large": 12.0, "training table": 12.0, "training wide": 12.0, "accuracy 97%": 8.0,
    "accuracy 98%": 16.0, "prediction 1": 5.0, "prediction 10,000": 7.0, "processes": 25.0, "roofline": 5.0,
}  # fmt: skip
"""The parts of the measurement, in order, and each one's share of the time."""
# The allowed distance of two trained networks, relative to how far training moved them; tests are stricter.
AGREEMENT = 1e-3
BANDWIDTH_BYTES = 1 << 28  # more than caches hold

Sample = dict[str, Any]


@dataclass
class Session:
    """Which peers to measure, for how long, and where to report progress."""

    families: Sequence[str]
    effort: Effort
    cold: bool = False
    say: Callable[[str], None] = lambda line: None
    skipped: dict[str, str] = field(default_factory=dict)
    threads: int = field(default_factory=kernels.get_num_threads)
    started: float = field(default_factory=time.monotonic)
    parts: list[str] = field(default_factory=lambda: list(PARTS))  # still to be measured
    until: float = math.inf  # when the current part is to end, on the monotonic clock

    def __post_init__(self) -> None:
        self.makes, self.skipped = find(self.families)

    def begin(self, part: str, what: str) -> None:
        """Report that a part begins, and give it its share of the time that is left."""
        to_come = self.parts[self.parts.index(part) :]
        left = max(0.0, 60 * self.effort.minutes - (time.monotonic() - self.started))
        self.until = time.monotonic() + left * PARTS[part] / sum(PARTS[each] for each in to_come)
        self.parts = to_come[1:]
        self.say(f"[{len(PARTS) - len(self.parts)}/{len(PARTS)}, at most {duration(left)} left] {what}")

    def no_time_for(self, label: str, what: str) -> bool:
        """Whether the part's time is over for a peer, which is then reported as skipped; never for fastmlp."""
        if label == OURS or time.monotonic() < self.until:
            return False
        self.skipped[f"{label}, {what}"] = "no time was left for it; --against names fewer libraries"
        return True

    @cached_property
    def data(self) -> Any:
        data = workloads.images()
        if self.effort.tiny:
            return replace(data, X=data.X[:500], y=data.y[:500], X_test=data.X_test[:100], y_test=data.y_test[:100])
        return data

    def prepared(self, makes: Iterable[type[Peer]], what: str, prepare: Callable[[type[Peer]], Any]) -> dict[str, Any]:
        """By label, what ``prepare`` returns for peers that time allows; one that raises is skipped, but for ours."""
        found = {}
        for make in makes:
            if self.no_time_for(make.label, what):
                continue
            try:
                found[make.label] = prepare(make)
            except Exception as error:  # whatever a library raises
                if make.label == OURS:
                    raise
                name = "" if isinstance(error, RunError) else f"{type(error).__name__}: "
                self.skipped[f"{make.label}, {what}"] = name + " ".join(str(error).split())[:200]
        return found

    @property
    def has_mnist(self) -> bool:
        return bool(self.data.name == "MNIST")


# -- training steps ----------------------------------------------------------------------------------------------------

TRAINING: dict[str, Callable[[Session], tuple[Work, int]]] = {
    "small": lambda s: (workloads.pixels(s.data), 64),
    "large": lambda s: (workloads.pixels(s.data, (1024, 1024), 256), 8),
    "table": lambda s: (workloads.table(), 64),
    "wide": lambda s: (workloads.wide(), 8),
}
_TINY: dict[str, Callable[[Session], tuple[Work, int]]] = {
    "small": lambda s: (workloads.pixels(s.data, (16,), 16), 2),
    "large": lambda s: (workloads.pixels(s.data, (16, 16), 16), 2),
    "table": lambda s: (replace(workloads.table(200, 50), batch=16), 2),
    "wide": lambda s: (replace(workloads.wide(200, 3000), batch=16), 2),
}


def training_work(session: Session, which: str) -> tuple[Work, int]:
    """(the work, the number of steps in a call)."""
    return (_TINY if session.effort.tiny else TRAINING)[which](session)


def trainers(session: Session, work: Work) -> list[type[Peer]]:
    """The peers that can do this work; those that compile for half a minute only for one network."""
    patient = session.effort.patient and len(work.sizes) == 3 and work.X.dtype == np.uint8
    return [make for make in session.makes if make.can_train(work) and (patient or not make.slow_to_compile)]


def training_calls(session: Session, work: Work, steps: int) -> dict[str, Callable[[], None]]:
    """For each peer a call that trains ``steps`` steps, with shuffle and gather; peers doing other work are skipped."""
    rates, initial = np.full(steps, LR), work.initial_layers()
    trained: list[Any] = []  # ours first

    def call(make: Any) -> Callable[[], None]:
        peer, rows = make(work, session.threads), workloads.shuffled_rows(work, steps)
        peer.load(initial)
        peer.steps(next(rows), rates)
        trained.append(peer.layers())
        if make.same_steps and not (apart := distance(trained[-1], trained[0], initial)) < AGREEMENT:
            raise RunError(f"does other work than fastmlp: its weights are {apart:.1g} of the way apart")
        return lambda: peer.steps(next(rows), rates)

    return session.prepared(trainers(session, work), str(work), call)


def training(session: Session) -> Iterator[Sample]:
    for which in TRAINING:
        work, steps = training_work(session, which)
        session.begin(f"training {which}", f"training steps: {work}")
        calls = training_calls(session, work, steps)
        for label, seconds in interleave(calls, session.effort, session.until).items():
            each = [value / steps for value in seconds]
            sample = {"claim": "training", "work": str(work), "peer": label, "unit": "s", **spread(each)}
            yield sample | {"gflops": work.flop / sample["median"] / 1e9}


# -- time to accuracy --------------------------------------------------------------------------------------------------


def accuracy(session: Session) -> Iterator[Sample]:
    """The trainer's recipe on equal terms: the same weights, rows and rates for each seed; compiled beforehand."""
    if not session.has_mnist:
        session.skipped["time to accuracy"] = "MNIST is not on this machine (fastmlp train downloads it)"
        return
    work, data = workloads.recipe(session.data), session.data
    makes = [m for m in trainers(session, work) if m.predicts and m.label != "fastmlp, dense" and not m.slow_to_compile]

    def compiled(make: Any) -> Any:
        peer = make(work, session.threads)
        peer.load(work.initial_layers())
        peer.epoch(np.random.default_rng(0), workloads.one_cycle(work, 1)[0])
        workloads.test_accuracy(peer, data)
        return peer

    peers: dict[str, Any] = {}
    for target, epochs in TARGETS.items():
        session.begin(f"accuracy {target:.0%}", f"time to {target:.0%} of test accuracy")
        peers = peers or session.prepared(makes, "time to accuracy", compiled)
        rates = workloads.one_cycle(work, epochs)
        seconds: dict[str, list[float]] = {label: [] for label in peers}
        reached: dict[str, list[float]] = {label: [] for label in peers}
        for seed in range(session.effort.seeds):
            if seed and time.monotonic() > session.until:
                break
            for label, peer in peers.items():
                peer.load(work.initial_layers(seed))
                rng = np.random.default_rng(seed)
                time.sleep(session.effort.pause_seconds)
                start = time.perf_counter()
                for k in range(epochs):
                    peer.epoch(rng, rates[k])
                seconds[label].append(time.perf_counter() - start)
                reached[label].append(workloads.test_accuracy(peer, data))
        what = f"{target:.0%} of MNIST, 784-256-10, {epochs} epoch{'s' * (epochs > 1)}"
        ours = float(np.median(reached[OURS]))
        for label in peers:
            median = float(np.median(reached[label]))
            if abs(median - ours) > 0.5 / len(data.y_test) ** 0.5:  # an accuracy's standard error is no larger
                session.skipped[f"{label}, {what}"] = f"reaches {median:.2%} where fastmlp reaches {ours:.2%}"
                continue
            yield {
                "claim": "accuracy", "work": what, "peer": label, "unit": "s", **spread(seconds[label]),
                "accuracy": median, "target": target, "reached": sum(a >= target for a in reached[label]),
            }  # fmt: skip


# -- prediction --------------------------------------------------------------------------------------------------------


def prediction_calls(session: Session, samples: int) -> dict[str, Callable[[], Any]]:
    """For each peer a call that returns the logits of ``samples`` test images; peers with other logits are skipped."""
    work = workloads.pixels(session.data)
    X = np.resize(session.data.X_test, (samples, work.sizes[0]))
    work = replace(work, X=work.X[: work.batch], y=work.y[: work.batch])
    found: list[np.ndarray] = []  # ours first

    def call(make: Any) -> Callable[[], Any]:
        peer = make(work, session.threads)
        peer.load(work.initial_layers())
        inputs = peer.inputs(X)
        logits = np.asarray(peer.predict(inputs))
        found.append(logits - logits.max(axis=1, keepdims=True))
        if not np.allclose(found[-1], found[0], rtol=1e-3, atol=1e-3):
            raise RunError("predicts other logits than fastmlp")
        return lambda: peer.predict(inputs)

    makes = [make for make in session.makes if make.predicts and make.label != "fastmlp, dense"]
    return session.prepared(makes, "prediction", call)


def prediction(session: Session) -> Iterator[Sample]:
    for samples in (1, 50 if session.effort.tiny else 10_000):
        session.begin(f"prediction {1 if samples == 1 else 10_000:,}", f"prediction: {samples:,} at a time")
        what = f"784-256-10, {samples:,} sample{'s' * (samples > 1)} a call"
        for label, seconds in interleave(prediction_calls(session, samples), session.effort, session.until).items():
            yield {"claim": "prediction", "work": what, "peer": label, "unit": "s", **spread(seconds)}


# -- whole processes ---------------------------------------------------------------------------------------------------


def run_process(command: Sequence[str], environment: dict[str, str]) -> tuple[float, int | None, float]:
    """(seconds, peak bytes or None, the accuracy that it prints last). Raises RunError if the process fails."""
    launcher = [sys.executable, str(Path(__file__).with_name("launch.py")), *command]
    result = subprocess.run(launcher, capture_output=True, text=True, env={**os.environ, **environment}, check=True)
    known, last = json.loads(result.stdout), (result.stderr.strip().splitlines() or ["no message"])[-1]
    if known["code"]:
        raise RunError(f"{' '.join(command[1:3])} ended with exit code {known['code']}: {last}")
    ours = last.startswith("test accuracy ")
    return known["seconds"], known["peak"], float(last.split()[2].rstrip("%")) / 100 if ours else float(last)


def processes(session: Session) -> Iterator[Sample]:
    """Whole processes, timed from outside: import, read MNIST, train an epoch, test."""
    if not session.has_mnist:
        session.skipped["whole process"] = "MNIST is not on this machine (fastmlp train downloads it)"
        return
    root, source = Path(__file__).resolve().parent.parent, str(Path(session.data.source).resolve())
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))}
    with tempfile.TemporaryDirectory() as scratch:
        options = ["--epochs", "1", "-q", "--data", source, "--out", scratch]
        train = [sys.executable, "-m", "fastmlp.train", *options]
        commands = {OURS: train}
        for make in trainers(session, workloads.recipe(session.data)):
            family = next(f for f, module in MODULES.items() if make.__module__ == f"peers.{module}")
            if make.predicts and family != OURS:
                script = str(Path(__file__).with_name("whole.py"))
                commands.setdefault(make.label, [sys.executable, script, family, source, str(session.threads)])
        runs: dict[str, list[tuple[float, int | None, float]]] = {label: [] for label in commands}
        if session.cold:
            session.say("whole process, kernels not compiled yet")
            with tempfile.TemporaryDirectory() as cache:
                cold = run_process(train, {**environment, "FASTMLP_CACHE": cache, "FASTMLP_DATA": source})
            runs["fastmlp, first time"] = [cold]
        session.begin("processes", "whole process: import, read MNIST, one epoch, test")
        run_process(train, environment)  # compiles the kernels
        for k in range(session.effort.seeds):
            for label, command in commands.items():
                late = time.monotonic() > session.until if k else session.no_time_for(label, "whole process")
                if not late:
                    runs[label].append(run_process(command, environment))
    for claim, unit, k in (("whole process", "s", 0), ("peak memory", "bytes", 1)):
        for label, results in runs.items():
            values = [result[k] for result in results]
            if values and None not in values:
                known = {"work": "import, read MNIST, 1 epoch of 784-256-10, test", "peer": label}
                reached = float(np.median([result[2] for result in results]))
                yield {"claim": claim, "unit": unit, **known, **spread(values), "accuracy": reached}


# -- the roofline ------------------------------------------------------------------------------------------------------


def bandwidth_gbs(threads: int, size: int = BANDWIDTH_BYTES) -> float:
    """GB/s of memory read and written by X += Y on all threads: best of 7. (A copy reads what it overwrites, too.)"""
    X, Y = np.ones(size // 4, np.float32), np.ones(size // 4, np.float32)
    pairs = list(zip(np.array_split(X, threads), np.array_split(Y, threads)))
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(7):
            start = time.perf_counter()
            list(pool.map(lambda pair: np.add(*pair, out=pair[0]), pairs))
            best = max(best, 3 * X.nbytes / (time.perf_counter() - start))
    return best / 1e9


def roofline(session: Session) -> Iterator[Sample]:
    """Our kernels on a layer larger than the caches: floating-point operations, bytes moved, and time.

    Bytes count each operand once for each time it must be read or written: the least that can move.
    """
    width = 256 if session.effort.tiny else 4096
    session.begin("roofline", f"kernels on a layer of {width} x {width}")
    rng = np.random.default_rng(0)
    W, dW, M, V = (rng.random((width, width), np.float32) for _ in range(4))
    sgd_rule = kernels.sgd()
    calls: dict[str, tuple[float, float, Callable[[], Any]]] = {
        "SGD update": (2 * W.size, 3 * W.nbytes, lambda: kernels.sgd_update(W, dW, 0.0)),
        "Adam update": (12 * W.size, 7 * W.nbytes, lambda: kernels.adam_update(W, dW, M, V, 1, 0.0)),
    }
    for B in (1, 8, 64, 512):
        X, Y = rng.random((B, width), np.float32), rng.random((B, width), np.float32)
        flop, moved = 2 * B * W.size, W.nbytes + X.nbytes + Y.nbytes
        calls[f"forward, batch {B}"] = flop, moved, lambda X=X, Y=Y: kernels.linear_forward(X, W, out=Y)
        calls[f"backward and update, batch {B}"] = (
            flop, moved + W.nbytes,
            lambda X=X, Y=Y: kernels.linear_backward_update(X, Y, W, rule=sgd_rule, lr=0.0),
        )  # fmt: skip
    for name, (flop, moved, call) in calls.items():
        (seconds,) = interleave({name: call}, session.effort._replace(pause_seconds=0), session.until).values()
        sample = {"claim": "roofline", "work": f"{width} x {width}", "peer": name, "unit": "s", **spread(seconds)}
        yield sample | {"gflops": flop / sample["median"] / 1e9, "flop_per_byte": flop / moved}


# -- all -------------------------------------------------------------------------------------------------------------

CLAIMS = (training, accuracy, prediction, processes, roofline)
PACKAGES = (
    "fastmlp", "numpy", "numba", "llvmlite", "torch", "jax", "scikit-learn", "tensorflow", "tensorflow-cpu", "keras",
    "onnxruntime", "ai-edge-litert",
)  # fmt: skip


def versions() -> dict[str, str]:
    installed = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            installed[package] = metadata.version(package)
    return installed


def machine(effort: Effort) -> dict[str, Any]:
    threads = kernels.get_num_threads()
    return {
        "cpu": _cpu_name(), "system": f"{platform.system()} {platform.machine()}", "threads": threads,
        "register_bytes": kernels.simd.REGISTER_BYTES, "peak_gflops": kernels.peak_gflops(),
        "bandwidth_gbs": bandwidth_gbs(threads, BANDWIDTH_BYTES >> 8 * effort.tiny),
    }  # fmt: skip


def circumstances(command: str, effort: Effort = FULL) -> dict[str, Any]:
    """What every record of a measurement begins with: the machine, the versions, the date and the command."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"machine": machine(effort), "versions": versions(), "date": now, "command": command}


def measure(session: Session, command: str) -> dict[str, Any]:
    """The record of all claims: machine, versions, date, command, samples, and what was skipped and why."""
    session.say(
        f"measuring on {session.threads} threads, in {session.effort.minutes:g} minutes or less and what the slowest "
        "peer's last call takes; leave the machine alone meanwhile"
    )
    samples = [sample for claim in CLAIMS for sample in claim(session)]
    found = {"effort": session.effort._asdict(), "samples": samples, "skipped": session.skipped}
    return circumstances(command, session.effort) | found


HEADINGS = {
    "training": "one training step",
    "accuracy": "training until",
    "prediction": "logits, from Python",
    "whole process": "whole process",
    "peak memory": "peak memory of it",
    "roofline": "our kernels on a layer of",
}


def in_unit(value: float, unit: str) -> str:
    """The value in a readable unit: 1.23 ms, 245 MB."""
    scales = [(1e6, "MB")] if unit == "bytes" else [(1.0, "s"), (1e-3, "ms"), (1e-6, "us")]
    scale, name = next((pair for pair in scales if value >= pair[0]), scales[-1])
    return f"{value / scale:.3g} {name}" if value / scale < 1000 else f"{value / scale:.0f} {name}"


def table(result: dict[str, Any]) -> Iterator[str]:
    """The result as lines of text."""
    where = result["machine"]
    yield f"{where['cpu']}, {where['threads']} threads; {', '.join(f'{k} {v}' for k, v in result['versions'].items())}"
    yield (
        f"multiply-add peak {where['peak_gflops']:.0f} GFLOP/s (float32), memory {where['bandwidth_gbs']:.0f} GB/s; "
        f"medians of rounds in turn, quartiles in brackets"
    )
    heading = None
    for sample in result["samples"]:
        if heading != (heading := f"{HEADINGS[sample['claim']]}: {sample['work']}"):
            yield f"\n{heading}"
            ours = sample["median"]
        low, high = (in_unit(sample[q], sample["unit"]) for q in ("q1", "q3"))
        line = f"  {sample['peer']:28s}{in_unit(sample['median'], sample['unit']):>10s}  {f'({low} to {high})':24s}"
        yield (line + "  ".join(remarks(sample, sample["median"] / ours))).rstrip()
    if result["skipped"]:
        yield ""
        yield from (f"left out: {name}: {reason}" for name, reason in result["skipped"].items())


def remarks(sample: Sample, ratio: float) -> Iterator[str]:
    """The remarks that follow a sample's time."""
    if sample["claim"] == "roofline":
        yield f"{sample['gflops']:6.1f} GFLOP/s, {sample['gflops'] / sample['flop_per_byte']:5.1f} GB/s"
        return
    yield "" if sample["peer"] == OURS else f"{ratio:5.2f} times ours"
    if "accuracy" in sample:
        yield f"{sample['accuracy']:.2%}"
    if sample.get("reached", sample["rounds"]) < sample["rounds"]:
        yield f"reached in {sample['reached']} of {sample['rounds']} runs"
    if sample["peer"] == OURS and "gflops" in sample:
        yield f"{sample['gflops']:.3g} GFLOP/s on the non-zeros"
