"""``python -m fastmlp.train``: train a multilayer perceptron."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cli import Parser, add_options, load_data, run_command, say
from .config import PRESETS, TrainConfig, configure
from .errors import InputError, Interrupted, RunError

if TYPE_CHECKING:
    from .loop import EpochReport, Result


def _parse(argv: Sequence[str] | None) -> tuple[TrainConfig, bool, int]:
    parser = Parser(
        "train",
        "Train a multilayer perceptron on a CPU. With no options: MNIST, to 98 % test accuracy.",
        "python -m fastmlp.train --data digits.csv.gz --hidden 512,256 --epochs 10 --out runs/digits",
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), help="seed: the recipe of the original notebook, exactly")
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="last line on stdout: one JSON object of measurements")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only errors and the result")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="also where the data came from and what was chosen"
    )
    options = vars(parser.parse_args(argv))
    preset, as_json = options.pop("preset"), options.pop("json")
    level = -1 if options.pop("quiet") else 0
    level += options.pop("verbose")
    return configure(preset, **options), as_json, level


class _Screen:
    """Progress on stderr: one line that moves on a terminal, plain lines elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.live = sys.stderr.isatty() and not quiet
        self._shown = 0.0
        self._interrupted = False

    def line(self, text: str) -> None:
        if not self.quiet:
            self._clear()
            say(text)

    def _clear(self) -> None:
        if self.live:
            print("\r\x1b[K", end="", file=sys.stderr)

    def chosen(self, input: str, density: float) -> None:
        self.line(f"input {input}: {density:.0%} of the numbers are not zero")

    def compiling(self) -> None:
        self.line("compiling kernels (once; kept for the next run)")

    def progress(self, step: int, total: int, loss: float, samples_per_second: float) -> None:
        if self.live and time.monotonic() - self._shown > 0.1:
            self._shown = time.monotonic()
            done = step / total
            bar = "━" * round(24 * done) + "╌" * (24 - round(24 * done))
            text = f"\r\x1b[K{bar} step {step}/{total}  loss {loss:.4f}  {samples_per_second:,.0f} samples/s"
            print(text, end="", file=sys.stderr, flush=True)

    def report(self, report: EpochReport) -> None:
        tested = "" if report.test_accuracy is None else f"   test {report.test_loss:.4f}  {report.test_accuracy:7.2%}"
        self.line(
            f"epoch {report.epoch:6.2f}  step {report.step:6d}   train {report.train_loss:.4f}  {report.train_accuracy:7.2%}"
            f"{tested}   {report.seconds:6.2f} s  {report.samples_per_second:,.0f} samples/s"
        )

    def interrupt(self, *_: Any) -> None:
        if self._interrupted:  # the second Ctrl-C does not wait for the step to end
            raise KeyboardInterrupt
        self._interrupted = True

    def stopped(self) -> bool:
        return self._interrupted


def _output_directory(path: str) -> Path:
    directory = Path(path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / ".fastmlp-write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"--out {path}: not a directory that can be written to ({error.strerror})") from None
    return directory


def _save(result: Result, directory: Path) -> Path:
    path = directory / "model.npz"
    result.model.save(path)
    try:
        with open(directory / "metrics.jsonl", "w") as file:
            for report in result.history:
                file.write(json.dumps(vars(report)) + "\n")
    except OSError as error:
        raise RunError(f"{directory}/metrics.jsonl cannot be written ({error.strerror})") from None
    return path


def _command(argv: Sequence[str] | None) -> int:
    config, as_json, level = _parse(argv)

    screen = _Screen(quiet=level < 0)
    start = time.perf_counter()
    data = load_data(config)
    load_seconds = time.perf_counter() - start
    directory = _output_directory(config.out or f"runs/{data.name}")

    from .backend import kernels  # Numba, half a second: after bad input has been turned away
    from .loop import Observer, fit

    sizes = "-".join(str(n) for n in (data.X.shape[1], *config.hidden, len(data.classes)))
    screen.line(f"{data.name}: {len(data.X):,} training and {len(data.X_test):,} test samples; network {sizes}")
    if level > 0:
        screen.line(f"read from {data.source} in {load_seconds:.2f} s; {config}")
    observer = Observer(screen.chosen, screen.compiling, screen.progress, screen.report, screen.stopped)
    before = signal.signal(signal.SIGINT, screen.interrupt)
    try:
        result = fit(data, config, observer=observer)
    except Interrupted as interruption:
        path = _save(interruption.result, directory)  # type: ignore[attr-defined]
        raise Interrupted(f"; the model so far is in {path}") from None
    finally:
        signal.signal(signal.SIGINT, before)
    path = _save(result, directory)
    summary = result.summary | {"load_seconds": load_seconds, "peak_gflops": None}
    if config.backend == "numba":
        with kernels.threads(result.summary["threads"]):
            summary["peak_gflops"] = kernels.peak_gflops(config.dtype)
    peak = "" if summary["peak_gflops"] is None else f" of {summary['peak_gflops']:.0f} peak"
    print(
        f"test accuracy {summary['test_accuracy']:.2%} after {summary['train_seconds']:.2f} s of training "
        f"({summary['ms_per_step']:.3f} ms a step, {summary['samples_per_second']:,.0f} samples/s, "
        f"{summary['gflops']:.0f} GFLOP/s{peak}, {summary['threads']} threads); model in {path}"
    )
    if as_json:
        print(json.dumps(summary, allow_nan=False))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed, 2 bad input, 130 Ctrl-C."""
    return run_command("train", _command, argv)


if __name__ == "__main__":
    sys.exit(main())
