"""``python -m fastmlp.train``: train a multilayer perceptron."""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, fields, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cli import Parser, add_options, command, load_data, on_ctrl_c, say, shell_word
from .config import BUILT_IN, PRESETS, TrainConfig, configure, outputs_of, read_toml
from .errors import InputError, Interrupted, RunError
from .extras import to_install
from .paths import (
    CHECKPOINT,
    CONFIG,
    MODEL,
    REPORTS,
    SEED,
    alone_in,
    as_path,
    atomic_write,
    previous,
    remove_report,
    runs_of_seeds,
    writing,
)
from .screen import Screen, duration, hushed
from .training.parallel import World, joined

if TYPE_CHECKING:
    from .data import Dataset
    from .tables.columns import Columns

_MOST_SEEDS = 1000
_HEADLINES = {"accuracy": "accuracy", "rmse": "RMSE"}  # of several seeds


class _Recorded:
    """A run that is kept in its directory, and told to the user. Rank 0 alone ``writes``; ``fit`` keeps checkpoints."""

    def __init__(self, data: Dataset, config: TrainConfig, screen: Screen, resume: bool, world: World) -> None:
        from .training.plan import completed

        self.data, self.screen, self.resume, self.world = data, screen, resume, world
        self.config = completed(config, data, world.size)
        if self.config.dropout and config.dropout is None and not self.config.networks:
            screen.line(f"chosen for a table of {len(data.X):,} samples: {_changed(self.config, config)}")
        self.directory, self.writes = as_path(str(config.out)), world.rank == 0
        self.model, self.checkpoint = self.directory / MODEL, self.directory / CHECKPOINT
        self.begun = resume  # whether a checkpoint in the directory is of this run

    def train(self, load_seconds: float) -> dict[str, Any]:
        """Train, save the model, and say how good it is; returns the summary."""
        from .fitting import train
        from .training.loop import Observer

        screen = self.screen
        observer = Observer(
            say, screen.chosen, self.started, screen.progress, self.report, screen.stopped, self.columns
        )
        try:
            result = train(
                self.data, self.config, observer=observer, checkpoint=self.checkpoint, resume=self.resume,
                world=self.world,
            )  # fmt: skip
        except Interrupted:
            again = f"--resume {shell_word(self.directory)}"
            if not self.checkpoint.exists():
                raise Interrupted(f", before a network was finished; {again} begins anew") from None
            raise Interrupted(f"; the run so far is in {self.checkpoint}, and {again} goes on") from None
        except RunError as error:
            ours = self.begun and self.checkpoint.exists()
            kept = f"; the last finite state is in {self.checkpoint}" if ours else ""
            raise RunError(f"{error}{kept}") from None
        finally:
            screen.patient = False
        with self.world.together():
            if self.writes:
                result.model.save(self.model)
        summary = self._summary(result.summary, load_seconds)
        if self.writes and result.model.framing is not None:
            screen.line(f"draw digits for it: python -m fastmlp.export {shell_word(self.model)} page.html")
        elif self.writes:
            out = shell_word(self.directory)
            screen.line(f"next: python -m fastmlp.predict {out} FILE")
            screen.line(f"  or: python -m fastmlp.report {out}")
        return summary

    def _summary(self, summary: dict[str, Any], load_seconds: float) -> dict[str, Any]:
        """The summary with this command's own measurements, which are said in a line."""
        from .backend import kernels
        from .data.labels import scored_classes
        from .models.target import scored

        ranks, screen = self.world.size, self.screen
        summary |= {"ranks": ranks, "load_seconds": load_seconds, "peak_gflops": None}
        if screen.as_json and self.config.backend == "numba" and ranks == 1:
            with kernels.threads(summary["threads"]):
                summary["peak_gflops"] = kernels.peak_gflops(self.config.dtype)
        if screen.level > 0:
            team = f"{summary['threads']} threads" if ranks == 1 else f"{ranks} ranks of {summary['threads']} threads"
            screen.line(
                f"{summary['ms_per_step']:.3f} ms a step, {summary['samples_per_second']:,.0f} samples/s, "
                f"{summary['gflops']:.0f} GFLOP/s, {team}"
            )
        best = ""
        if summary["best_epoch"] is not None and not self.config.networks:
            best = f" (the weights of epoch {summary['best_epoch']:g})"
        if "test_accuracy" in summary:
            tested = scored_classes(summary["test_accuracy"], self.data.y_test, self.data.classes)
        else:
            tested = scored(summary["test_rmse"], summary["test_r2"], summary["test_mae"])
        screen.conclude(
            f"test {tested}{best} after {duration(summary['train_seconds'])} of training; model in {self.model}"
        )
        return summary

    # -- callbacks -----------------------------------------------------------------------------------------------------

    def columns(self, found: Columns) -> None:
        for line in str(found).splitlines() if self.screen.level > 0 else [found.summary, *found.doubtful]:
            self.screen.line(line)

    def started(self, history: list[Any], finished: bool) -> None:
        """Nothing has been written before: a run that is refused leaves the run that was there."""
        if self.writes and not self.resume:
            if self.model.exists():
                self.screen.line(f"the run that was in {self.config.out} is replaced; another --out keeps both")
            self.begun = True
            # In this order: never one run's options beside another's state.
            for path in (self.directory / CONFIG, self.checkpoint, previous(self.checkpoint)):
                path.unlink(missing_ok=True)
            remove_report(self.directory / "report")
            self._write(CONFIG, self.config.to_toml())
        if self.writes:
            self._write(REPORTS, "".join(json.dumps(asdict(report)) + "\n" for report in history))
        if self.writes and self.resume:  # last: where the disk is full the run that was there keeps its options
            self._write(CONFIG, self.config.to_toml())
        if self.resume:
            done = f"after step {history[-1].step if history else 0}"
            longer = "more --epochs or --steps train longer"
            if self.config.networks:
                done, longer = f"with {len(history)} of {self.config.networks} networks", "--out trains anew"
            self.screen.line(f"the run is finished, {done}; {longer}" if finished else f"going on {done}")
        self.screen.patient = True

    def report(self, report: Any) -> None:
        """Append a line to the metrics, whole in the file before the next step."""
        if self.writes:
            path = self.directory / REPORTS
            with writing(path), open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(report)) + "\n")
        self.screen.report(report)

    def _write(self, name: str, text: str) -> None:
        path = self.directory / name
        with writing(path), atomic_write(path) as file:  # half a config.toml would mean defaults for the rest
            file.write(text.encode(errors="surrogateescape"))  # the names of files as they are


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
        "python -m fastmlp.train --data customers.csv --label-column churned --out runs/customers",
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
        help="go on with the run in DIR, to the same bits; more --epochs or --steps train longer, --data says where "
        "its data are now, --precision float32 does without AMX",
    )
    made.add_argument(
        "--seeds", type=int, metavar="N", help="train N times, with --seed, --seed + 1, ...: mean and deviation"
    )
    made.add_argument(
        "--find-lr",
        action="store_true",
        help="do not train: try learning rates in short runs, suggest the best and plot them",
    )
    add_options(made)
    made.add_argument("--json", action="store_true", help="stdout is one JSON object of measurements, and nothing else")
    made.add_argument("-q", "--quiet", action="store_true", help="no progress, only errors and the result")
    made.add_argument(
        "-v", "--verbose", action="store_true", help="also where the data came from, what was chosen, learning rates"
    )
    return made


def _resumed(directory: str, options: dict[str, Any]) -> TrainConfig:
    """The configuration of the run in ``directory``; ``options`` may make it longer and say where its data are now."""
    path = as_path(directory) / CONFIG
    run = read_toml(path) if path.exists() else {}
    # Several networks stop by themselves; AMX, which bfloat16 needs, may be on another machine only.
    free = () if run.get("networks") else ("epochs", "steps", "precision")
    if other := sorted(set(options) - {"threads", *free, "data", "test"}):
        raise InputError(f"--{other[0].replace('_', '-')} cannot be changed by --resume: the run would not be the same")
    if not run and (runs := runs_of_seeds(path.parent)):
        raise InputError(f"--resume {directory}: holds {len(runs)} runs of --seeds; name one, such as {runs[0]}")
    if not run:
        raise InputError(f"--resume {directory}: no run to go on with (it has no {CONFIG})")
    if {"epochs", "steps"} & set(options):
        run = {name: value for name, value in run.items() if name not in ("epochs", "steps")}
    return configure(**(run | options | {"out": directory}))


@command("train", on_ranks=True)
def main(argv: Sequence[str] | None = None) -> int:
    with joined() as world, ExitStack() as held:
        return _train(argv, world, held)


def _configuration(
    options: dict[str, Any], resume: str | None, seeds: int | None, finding: bool, ranks: int
) -> TrainConfig:
    """The configuration of the run. InputError for arguments that do not go together."""
    preset, file = options.pop("preset"), options.pop("config")
    chosen = [name for name, given in (("--resume", resume), ("--seeds", seeds), ("--find-lr", finding)) if given]
    if len(chosen) > 1:
        raise InputError(f"{chosen[0]} and {chosen[1]} exclude each other; give one")
    if seeds is not None and not 1 <= seeds <= _MOST_SEEDS:
        raise InputError(f"--seeds is {seeds}; it must be an integer from 1 to {_MOST_SEEDS}")
    if resume and (preset or file):
        raise InputError("--resume takes the options of the run; --preset and --config cannot be given with it")
    if finding and ranks > 1:
        raise InputError(f"--find-lr runs in one process, not on {ranks} ranks; run it without mpiexec")
    if resume:
        return _resumed(resume, options)
    in_file = read_toml(file) if file else {}
    try:
        return configure(preset, **(in_file | options))
    except InputError as error:
        option = str(error).partition(" ")[0].strip("-:").replace("-", "_")
        raise InputError(f"{file}: {error}" if option in in_file.keys() - options else str(error)) from None


def _train(argv: Sequence[str] | None, world: World, held: ExitStack) -> int:
    """``held`` has the directories of the runs until their end, and what is set back then."""
    options = vars(parser().parse_args(argv))
    resume, seeds, finding = (options.pop(name) for name in ("resume", "seeds", "find_lr"))
    screen = Screen(options.pop("verbose") - options.pop("quiet"), options.pop("json"))
    held.enter_context(hushed(screen.level < 0))
    held.callback(gc.unfreeze)  # see ``_loading_kernels``: what a program had then could never be freed
    with world.together():
        config = _configuration(options, resume, seeds, finding, world.size)

    from . import backend  # noqa: F401 (a broken installation is reported first)

    try:
        with _loading_kernels() if config.backend == "numba" and world.size == 1 else nullcontext():
            data, load_seconds = _load(config, world)
    except InputError as error:
        if not resume or config.data in BUILT_IN or as_path(config.data).exists():
            raise
        raise InputError(f"{error}; --data says where the data of the run are now") from None

    from .training.plan import one_network

    out = config.out or f"runs/{data.name}"
    configs = [replace(config, out=out)]
    if seeds:
        configs = [replace(config, seed=config.seed + k, out=f"{out}/{SEED}{config.seed + k}") for k in range(seeds)]
    with world.together():
        for each in configs if world.rank == 0 else ():
            held.enter_context(alone_in(_output_directory(str(each.out))))
        if seeds and (as_path(out) / MODEL).exists():
            screen.line(
                f"{out} holds a run of its own, which evaluate and predict take; name {configs[0].out} for one of these"
            )
    with world.together():
        if finding:
            config = one_network(config, data)
        _announce(data, config, load_seconds, screen, world)
    held.enter_context(on_ctrl_c(screen.interrupt))
    held.callback(screen.clear)
    if finding:
        return _find_lr(data, config, screen, as_path(out))
    summaries = []
    for each in configs:
        if each.seed != config.seed and config.data not in BUILT_IN:  # the seed also splits a file
            data, load_seconds = _load(each, world)
        summaries.append(_Recorded(data, each, screen, bool(resume), world).train(load_seconds))
    summary = _over_seeds(summaries, out, screen) if seeds else summaries[0]
    if screen.as_json:
        print(json.dumps(summary, allow_nan=False))
    return 0


def _announce(data: Dataset, config: TrainConfig, load_seconds: float, screen: Screen, world: World) -> None:
    """Say what is trained on what. InputError for options that do not fit the data."""
    from .training.plan import completed

    whole = completed(config, data, world.size)
    sizes = "-".join(map(str, (*whole.hidden, len(data.classes) or outputs_of(config.loss))))
    inputs = data.X.shape[1]
    network = f"network {inputs}-{sizes}"
    if whole.networks:
        network = f"{inputs} columns; {whole.networks} networks of {sizes}"
    screen.line(f"{data.name}: {len(data.X):,} training and {len(data.X_test):,} test samples; {network}")
    if screen.level > 0:
        given = _changed(config, TrainConfig()) or "all as by default"
        screen.line(f"read from {data.source} in {load_seconds:.2f} s; options: {given}")


@contextmanager
def _loading_kernels() -> Iterator[None]:
    """Meanwhile import the modules that train, Numba above all, and start the workers where nothing is compiled yet.

    Without the search for garbage, of which imports make none: 30 ms.
    """

    def load() -> None:
        from .backend import kernels

        with suppress(Exception):  # which the import meets again, where it is asked for
            kernels.jit.workers.expect_work()
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
            gc.freeze()  # else the first search looks through all that was imported
            gc.enable()


def _load(config: TrainConfig, world: World) -> tuple[Dataset, float]:
    """(the run's data, the seconds that it took)."""
    start = time.perf_counter()
    with world.together():
        data = load_data(config)
    return data, time.perf_counter() - start


def _changed(config: TrainConfig, default: TrainConfig) -> str:
    """The options that are not as in ``default``, as they are given."""
    changed = []
    for item in fields(config):
        value, option = getattr(config, item.name), item.name.replace("_", "-")
        if "help" not in item.metadata or value == getattr(default, item.name):
            continue
        if isinstance(value, bool):
            changed.append(f"--{option}" if value else f"--no-{option}")
        elif item.name in ("column", "drop"):
            changed += [f"--{option} {each}" for each in value]
        else:
            listed = ",".join(map(str, value)) or "0" if isinstance(value, tuple) else value
            changed.append(f"--{option} {listed}")
    return ", ".join(changed)


def _over_seeds(summaries: list[dict[str, Any]], out: str, screen: Screen) -> dict[str, Any]:
    """Means and standard deviations over the runs, which are said in a line, and the runs."""
    import statistics

    summary: dict[str, Any] = {"seeds": len(summaries)}
    keys = ("test_accuracy", "test_rmse", "test_mae", "test_r2", "test_loss", "train_loss", "train_seconds")
    for key in (key for key in keys if key in summaries[0]):
        values = [run[key] for run in summaries]
        summary |= {key: statistics.fmean(values), f"{key}_std": statistics.stdev(values) if len(values) > 1 else 0.0}
    name = next(name for name in _HEADLINES if f"test_{name}" in summary)
    form = ".2%" if name == "accuracy" else ".4g"
    shown = f"{summary[f'test_{name}']:{form}} ± {summary[f'test_{name}_std']:{form}}"
    screen.conclude(
        f"test {_HEADLINES[name]} {shown} (mean and standard deviation of {len(summaries)} seeds); models in {out}"
    )
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

        write_png(lr_range_figure(result.rates, result.losses, result.suggestion), where)
        drawn = f"; the curve is in {where}"
    except ImportError:
        drawn = f"; {to_install('plot')} to see the curve"
    screen.conclude(f"suggested --lr {result.suggestion:.2g} for --optimizer {config.optimizer}{drawn}")
    if screen.as_json:
        curve = {"rates": result.rates.tolist(), "losses": result.losses.tolist()}
        trials = [vars(trial) for trial in result.trials]
        print(json.dumps({"suggestion": result.suggestion, **curve, "trials": trials}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
