"""``python -m fastmlp.train``: train a multilayer perceptron."""

from __future__ import annotations

import gc
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, fields, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cli import Parser, add_options, command, load_data, say
from .config import BUILT_IN, PRESETS, TrainConfig, configure, outputs_of, read_toml
from .errors import InputError, Interrupted, RunError
from .extras import to_install
from .paths import CHECKPOINT, MODEL, PREVIOUS, SEED, as_path, atomic_write, writing
from .screen import Screen, duration, hush
from .training.parallel import World, joined

if TYPE_CHECKING:
    from .data import Dataset
    from .tables.columns import Columns

CONFIG, METRICS = "config.toml", "metrics.jsonl"
_MOST_SEEDS = 1000
_HEADLINES = {"accuracy": "accuracy", "rmse": "RMSE"}  # of several seeds


class _Files:
    """What a run leaves in its directory, but for the checkpoints, which ``fit`` writes."""

    def __init__(self, directory: Path, resume: bool) -> None:
        self.directory, self.begun = directory, resume
        self.model, self.checkpoint = directory / MODEL, directory / CHECKPOINT

    def begin(self, config: TrainConfig) -> None:
        """A new run in this directory: its configuration, and nothing left of the one before it but its model."""
        self.begun = True
        for name in (CONFIG, CHECKPOINT, PREVIOUS):  # in this order: never one run's options beside another's state
            (self.directory / name).unlink(missing_ok=True)
        self.write(CONFIG, config.to_toml())

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        with writing(path), atomic_write(path) as file:  # of half a config.toml the rest would be the defaults
            file.write(text.encode(errors="replace"))

    def started(self, history: list[Any]) -> None:
        """The metrics so far: those of a run that goes on, else none."""
        self.write(METRICS, "".join(json.dumps(asdict(report)) + "\n" for report in history))

    def report(self, report: Any) -> None:
        """One line more; whole in the file before the next step."""
        path = self.directory / METRICS
        with writing(path), open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(report)) + "\n")


def _output_directory(path: str) -> Path:
    directory = as_path(path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / ".fastmlp-write-test"
        probe.touch()
        probe.unlink(missing_ok=True)  # another process may have probed too
    except OSError as error:
        raise InputError(f"--out {path}: not a directory that can be written to ({error.strerror})") from None
    return directory


def parser() -> Parser:
    made = Parser(
        "train",
        "Train a multilayer perceptron on a CPU. With no options: MNIST, to 98 % test accuracy.",
        "python -m fastmlp.train --data digits.csv.gz --hidden 512,256 --epochs 10 --out runs/digits",
        "fastmlp train [options]",
    )
    made.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        help="seed: the recipe of the original notebook, exactly; record: MNIST to 99.5 %% or so, in minutes",
    )
    made.add_argument(
        "--config", metavar="FILE", help="options from a TOML file, such as a run's config.toml; flags win"
    )
    made.add_argument(
        "--resume",
        metavar="DIR",
        help="go on with the run in DIR, to the same bits; more --epochs or --steps train longer, --data says where its data "
        "are now",
    )
    made.add_argument(
        "--seeds", type=int, metavar="N", help="train N times, with --seed, --seed + 1, ...: mean and deviation"
    )
    made.add_argument(
        "--find-lr", action="store_true", help="do not train: find a peak learning rate, and plot the test"
    )
    add_options(made)
    made.add_argument("--json", action="store_true", help="stdout is one JSON object of measurements, and nothing else")
    made.add_argument("-q", "--quiet", action="store_true", help="no progress, only errors and the result")
    made.add_argument(
        "-v", "--verbose", action="store_true", help="also where the data came from, what was chosen, learning rates"
    )
    return made


def _resumed(directory: str, options: dict[str, Any]) -> TrainConfig:
    """The configuration of the run in ``directory``, which ``options`` may make longer, and say where its data are now."""
    path = as_path(directory) / CONFIG
    run = read_toml(path) if path.exists() else {}
    longer = () if run.get("networks") else ("epochs", "steps")  # several networks stop by themselves
    if other := sorted(set(options) - {"threads", *longer, "data", "test"}):
        raise InputError(f"--{other[0].replace('_', '-')} cannot be changed by --resume: the run would not be the same")
    if not run:
        raise InputError(f"--resume {directory}: no run to go on with (it has no {CONFIG})")
    if {"epochs", "steps"} & set(options):
        run = {name: value for name, value in run.items() if name not in ("epochs", "steps")}
    return configure(**(run | options | {"out": directory}))


@command("train", on_ranks=True)
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed, 2 bad input, 130 Ctrl-C."""
    with joined() as world:
        return _run(argv, world)


def _run(argv: Sequence[str] | None, world: World) -> int:
    options = vars(parser().parse_args(argv))
    preset, file, resume, seeds = (options.pop(name) for name in ("preset", "config", "resume", "seeds"))
    finding = options.pop("find_lr")
    screen = Screen(options.pop("verbose") - options.pop("quiet"), options.pop("json"))
    hush(screen.level < 0)
    chosen = [name for name, given in (("--resume", resume), ("--seeds", seeds), ("--find-lr", finding)) if given]
    if len(chosen) > 1:
        raise InputError(f"{chosen[0]} and {chosen[1]} exclude each other; give one")
    if seeds is not None and not 1 <= seeds <= _MOST_SEEDS:
        raise InputError(f"--seeds is {seeds}; it must be an integer from 1 to {_MOST_SEEDS}")
    if resume and (preset or file):
        raise InputError("--resume takes the options of the run; --preset and --config cannot be given with it")
    if finding and world.size > 1:
        raise InputError(f"--find-lr runs in one process, not on {world.size} ranks; run it without mpiexec")
    with world.together():
        if resume:
            config = _resumed(resume, options)
        else:
            config = configure(preset, **((read_toml(file) if file else {}) | options))

    from . import backend  # noqa: F401 (what keeps the kernels from running is said first)

    try:
        with _loading_kernels() if config.backend == "numba" and world.size == 1 else nullcontext():
            data, load_seconds = _load(config, world)
    except InputError as error:
        if not resume or config.data in BUILT_IN or as_path(config.data).exists():
            raise
        raise InputError(f"{error}; --data says where the data of the run are now") from None

    from .training.plan import completed, one_network

    out = config.out or f"runs/{data.name}"
    configs = [replace(config, out=out)]
    if seeds:
        configs = [replace(config, seed=config.seed + k, out=f"{out}/{SEED}{config.seed + k}") for k in range(seeds)]
    with world.together():
        for each in configs if world.rank == 0 else ():
            _output_directory(str(each.out))
    with world.together():
        if finding:
            config = one_network(config, data)
        whole = completed(config, data, world.size)
    outputs = len(data.classes) or outputs_of(config.loss)
    inputs = f"{data.X.shape[1]} columns" if whole.networks else f"network {data.X.shape[1]}"
    sizes = "-".join(map(str, (*whole.hidden, outputs)))
    inputs += f"; {whole.networks} networks of {sizes}" if whole.networks else f"-{sizes}"
    screen.line(f"{data.name}: {len(data.X):,} training and {len(data.X_test):,} test samples; {inputs}")
    if screen.level > 0:
        given = _changed(config, TrainConfig()) or "all as by default"
        screen.line(f"read from {data.source} in {load_seconds:.2f} s; options: {given}")
    before = signal.signal(signal.SIGINT, screen.interrupt)
    try:
        if finding:
            return _find_lr(data, config, screen, as_path(out))
        summaries = []
        for each in configs:
            if each.seed != config.seed and config.data not in BUILT_IN:  # else the seed splits it
                data, load_seconds = _load(each, world)
            summaries.append(_train(data, each, screen, load_seconds, bool(resume), world))
    finally:
        screen.clear()
        signal.signal(signal.SIGINT, before)
    summary = summaries[0]
    if seeds:
        summary = _over_seeds(summaries)
        (name, value, deviation), *_ = (
            (name, summary[f"test_{name}"], summary[f"test_{name}_std"])
            for name in _HEADLINES
            if f"test_{name}" in summary
        )
        shown = f"{value:.2%} ± {deviation:.2%}" if name == "accuracy" else f"{value:.4g} ± {deviation:.4g}"
        screen.conclude(
            f"test {_HEADLINES[name]} {shown} (mean and standard deviation of {seeds} seeds); models in {out}"
        )
    if screen.as_json:
        print(json.dumps(summary, allow_nan=False))
    return 0


@contextmanager
def _loading_kernels() -> Iterator[None]:
    """Meanwhile import the modules that train, Numba above all, and start the workers where nothing is compiled yet.

    Without the search for garbage, of which imports make none: 30 ms.
    """

    def load() -> None:
        from .backend import kernels

        with suppress(Exception):  # which the import meets again, where it is asked for
            kernels.jit.ahead.expect_work()
            for module in ("kernels.ops", "fastmlp.fitting"):
                import_module(module)

    thread, collecting = threading.Thread(target=load), gc.isenabled()
    gc.disable()
    with suppress(RuntimeError):  # no more threads are allowed
        thread.start()
    try:
        yield
    finally:
        if thread.ident is not None:
            thread.join()
        if collecting:
            gc.enable()


def _load(config: TrainConfig, world: World) -> tuple[Dataset, float]:
    """(the run's data, the seconds that it took)."""
    start = time.perf_counter()
    with world.together():
        data = load_data(config)
    return data, time.perf_counter() - start


def _changed(config: TrainConfig, default: TrainConfig) -> str:
    """The options that are not as in ``default``."""
    options = {item.name: getattr(config, item.name) for item in fields(config) if "help" in item.metadata}
    changed = []
    for name, value in options.items():
        if value != getattr(default, name):
            values = (
                value if name in ("column", "drop") else [",".join(map(str, value))] if name == "hidden" else [value]
            )
            changed += [f"--{name.replace('_', '-')} {each}" for each in values]
    return ", ".join(changed)


def _train(
    data: Dataset, config: TrainConfig, screen: Screen, load_seconds: float, resume: bool, world: World
) -> dict[str, Any]:
    """One run: its files, its line on stdout, and its summary."""
    from .backend import kernels
    from .data.labels import scored_classes
    from .fitting import train
    from .models.target import scored
    from .training.loop import Observer
    from .training.plan import completed

    asked, config = config, completed(config, data, world.size)
    if config.dropout and asked.dropout is None and not config.networks:
        screen.line(f"chosen for a table of {len(data.X):,} samples: {_changed(config, asked)}")
    files, first = _Files(as_path(str(config.out)), resume), world.rank == 0

    def columns(found: Columns) -> None:
        lines = str(found).splitlines() if screen.level > 0 else [found.summary, *found.doubtful]
        for line in lines:
            screen.line(line)

    def started(history: list[Any], finished: bool) -> None:
        """Nothing has been written before: what is refused leaves the run that was there."""
        if first and not resume:
            if files.model.exists():
                screen.line(f"the run that was in {config.out} is replaced; --out keeps both")
            files.begin(config)
        if first:
            files.started(history)
        if first and resume:  # not before the checkpoint is known to be of these data
            files.write(CONFIG, config.to_toml())
        if resume:
            done = f"after step {history[-1].step if history else 0}"
            longer = "more --epochs or --steps train longer"
            if config.networks:
                done, longer = f"with {len(history)} of {config.networks} networks", "--out trains anew"
            screen.line(f"the run is finished, {done}; {longer}" if finished else f"going on {done}")
        screen.patient = True

    def report(report: Any) -> None:
        if first:
            files.report(report)
        screen.report(report)

    observer = Observer(say, screen.chosen, started, screen.progress, report, screen.stopped, columns)
    try:
        result = train(data, config, observer=observer, checkpoint=files.checkpoint, resume=resume, world=world)
    except Interrupted:
        if not files.checkpoint.exists():
            raise Interrupted(f" before a network was finished; --resume {config.out} begins anew") from None
        raise Interrupted(f"; the run so far is in {files.checkpoint}, and --resume {config.out} goes on") from None
    except RunError as error:
        ours = files.begun and files.checkpoint.exists()
        kept = f"; the last finite state is in {files.checkpoint}" if ours else ""
        raise RunError(f"{error}{kept}") from None
    finally:
        screen.patient = False
    with world.together():
        if first:
            result.model.save(files.model)
    summary = result.summary | {"ranks": world.size, "load_seconds": load_seconds, "peak_gflops": None}
    if screen.as_json and config.backend == "numba" and world.size == 1:
        with kernels.threads(summary["threads"]):
            summary["peak_gflops"] = kernels.peak_gflops(config.dtype)
    if screen.level > 0:
        team = (
            f"{summary['threads']} threads"
            if world.size == 1
            else f"{world.size} ranks of {summary['threads']} threads"
        )
        screen.line(
            f"{summary['ms_per_step']:.3f} ms a step, {summary['samples_per_second']:,.0f} samples/s, "
            f"{summary['gflops']:.0f} GFLOP/s, {team}"
        )
    best = "" if summary["best_epoch"] is None else f" (the weights of epoch {summary['best_epoch']:g})"
    if config.networks:
        best = ""
    if "test_accuracy" in summary:
        tested = scored_classes(summary["test_accuracy"], data.y_test, data.classes)
    else:
        tested = f"{scored(summary['test_rmse'], summary['test_r2'])}, MAE {summary['test_mae']:.4g}"
    screen.conclude(
        f"test {tested}{best} after {duration(summary['train_seconds'])} of training; model in {files.model}"
    )
    if first and result.model.framing is not None:
        screen.line(f"draw digits for it: python -m fastmlp.export {files.model} page.html")
    if first and config.networks:
        screen.line(f"next: python -m fastmlp.predict {config.out} FILE, python -m fastmlp.report {config.out}")
    return summary


def _over_seeds(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """Means and standard deviations over the runs, and the runs."""
    import statistics

    summary: dict[str, Any] = {"seeds": len(summaries)}
    keys = ("test_accuracy", "test_rmse", "test_mae", "test_r2", "test_loss", "train_loss", "train_seconds")
    for key in (key for key in keys if key in summaries[0]):
        values = [run[key] for run in summaries]
        summary |= {key: statistics.fmean(values), f"{key}_std": statistics.stdev(values) if len(values) > 1 else 0.0}
    return summary | {"runs": summaries}


def _find_lr(data: Dataset, config: TrainConfig, screen: Screen, directory: Path) -> int:
    """``--find-lr``: the suggestion on stdout, the curve in DIR/lr.png where Matplotlib is installed."""
    from .training.find_lr import find_lr
    from .training.loop import Observer

    screen.patient = True
    result = find_lr(data, config, Observer(screen.line, screen.chosen, stop=screen.stopped))
    where = directory / "lr.png"
    try:
        from .reporting.plots import lr_range_figure, write_png

        write_png(lr_range_figure(result.rates.tolist(), result.losses.tolist(), result.suggestion), where)
        drawn = f"; the curve is in {where}"
    except ImportError:
        drawn = f"; {to_install('plot')} to see the curve"
    screen.conclude(f"suggested --lr {result.suggestion:.2g} for --optimizer {config.optimizer}{drawn}")
    if screen.as_json:
        curve = {
            "rates": result.rates.tolist(),
            "losses": result.losses.tolist(),
            "trials": [vars(t) for t in result.trials],
        }
        print(json.dumps({"suggestion": result.suggestion, **curve}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
