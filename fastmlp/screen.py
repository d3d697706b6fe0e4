"""The display of a run's progress, a line of the terminal or a notebook's display, and the handling of Ctrl-C."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .cli import ERASE, overwrites, printable, say, write_stderr

if TYPE_CHECKING:
    from .training.loop import Progress

_SECONDS_BETWEEN = 0.1  # two progress lines
_WIDEST_BAR = 20
_COLUMNS = 80  # if stderr is no terminal, or its width is not known
_FREE_COLUMNS = 3


@contextlib.contextmanager
def hushed(quiet: bool) -> Iterator[None]:
    """Silence the logger's warnings meanwhile, such as that kernels are compiled, if ``quiet``."""
    import logging  # not for --help

    logger = logging.getLogger("fastmlp")
    before = logger.level
    logger.setLevel(logging.ERROR if quiet else before)
    try:
        yield
    finally:
        logger.setLevel(before)


class Line:
    """A line that is overwritten: the terminal's last, or the display of a notebook's cell; none elsewhere."""

    def __init__(self) -> None:
        self.notebook = in_notebook()
        self.live = self.notebook or overwrites()
        self._display: Any = None

    def show(self, text: str) -> None:
        if not self.notebook:
            write_stderr(f"{ERASE}{text}")
        elif self._display is not None:
            self._display.update({"text/plain": text}, raw=True)
        elif text:
            self._display = sys.modules["IPython"].display.display({"text/plain": text}, raw=True, display_id=True)


def in_notebook() -> bool:
    """Whether Python runs for a notebook (Jupyter, Colab, an editor's), where overwriting a line does not work."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class Screen:
    """Prints lines for a person on stderr, no longer than the terminal is wide: none at ``level`` -1, more at level 1.

    The result goes to stdout, unless that is reserved for JSON (``as_json``).
    """

    def __init__(self, level: int, as_json: bool = False) -> None:
        self.level, self.as_json = level, as_json
        self._line, self._reported = Line(), ""
        self.live = self._line.live and level >= 0
        self.patient = False  # whether Ctrl-C waits for the end of a step
        self._shown = 0.0
        self._interrupted = False

    def line(self, text: str) -> None:
        if self.level >= 0:
            self.clear()
            say(text)

    def conclude(self, text: str) -> None:
        """The result for a person."""
        if self.as_json:
            self.line(text)
        else:
            self.clear()
            print(printable(text), flush=True)

    def clear(self) -> None:
        """Erase the progress line, and the ^C that a terminal prints into it."""
        if self.live:
            self._line.show(self._reported)

    def chosen(self, input: str, density: float) -> None:
        if self.level > 0:
            self.line(f"input {input}: {density:.0%} of the numbers are not zero")

    def progress(self, progress: Progress) -> None:
        if not self.live or time.monotonic() - self._shown < _SECONDS_BETWEEN:
            return
        self._shown = time.monotonic()
        room = self._room()
        text = _fitted(
            [
                (0, f"step {progress.step}/{progress.total}"),
                (3, f"loss {progress.loss:.4f}"),
                *([] if progress.accuracy is None else [(2, f"{progress.accuracy:.1%}")]),
                (4, f"{progress.samples_per_second:,.0f} samples/s"),
                (1, f"{duration(progress.seconds_left)} left"),
            ],
            room - 6,  # a bar of four at least
        )
        size = min(_WIDEST_BAR, room - len(text) - 2)
        shown = f"{bar(progress.step / progress.total, size)}  {text}"
        self._line.show("\n".join(filter(None, (self._reported, shown))))

    def report(self, report: Any) -> None:
        if not hasattr(report, "lr"):
            self._network(report)
            return
        parts = [(0, f"epoch {report.epoch:3.4g}")]
        for name, rank in (("train", 3), ("validation", 1), ("test", 1)):
            if (loss := getattr(report, f"{name}_loss")) is not None:
                headline = report.headline(name)
                parts += [(rank, f"{name} {headline}")] if headline else []
                parts.append((rank + 1, f"loss {loss:.4f}" if headline else f"{name} loss {loss:.4f}"))
        if self.level > 0:
            parts += [
                (4, f"step {report.step}"),
                (5, f"lr {report.lr:.3g}"),
                (6, f"{report.samples_per_second:,.0f} samples/s"),
            ]
        text = _fitted([*parts, (2, duration(report.seconds))], self._room())
        if self._line.notebook:  # the last report stands above the bar
            self._reported = text
            self.clear()
        else:
            self.line(text)

    def _network(self, report: Any) -> None:
        """Report one of several networks."""
        parts = [
            (0, f"network {report.network}"),
            (1, f"validation {report.headline}"),
            (3, f"loss {report.validation_loss:.4f}"),
            (4, f"epoch {report.epoch} of {report.epochs}"),
            (2, duration(report.seconds)),
        ]
        self.line(_fitted(parts, self._room()))

    def _room(self) -> int:
        """The columns for a line, less a few: some terminals wrap in the last, and Ctrl-C prints ^C behind the line."""
        with contextlib.suppress(OSError):
            if self.live and not self._line.notebook:
                columns = os.get_terminal_size(sys.stderr.fileno()).columns
                return (columns or _COLUMNS) - _FREE_COLUMNS  # 0: it does not know
        return _COLUMNS - _FREE_COLUMNS

    def interrupt(self, *_: Any) -> None:
        """Handle Ctrl-C; the second does not wait for the end of a step."""
        if self._interrupted or not self.patient:
            raise KeyboardInterrupt
        self._interrupted = True

    def stopped(self) -> bool:
        return self._interrupted


def bar(part: float, size: int) -> str:
    """A bar of ``size`` characters, a ``part`` of them full."""
    full, empty = "━╌"
    try:
        "━╌".encode(sys.stderr.encoding or "ascii")
    except (UnicodeError, LookupError):
        full, empty = "#-"
    done = round(size * part)
    return full * done + empty * (size - done)


def _fitted(parts: Sequence[tuple[int, str]], room: int) -> str:
    """The parts in their order; those of the highest numbers are dropped until the text fits into ``room``."""
    kept = list(parts)
    while len(text := "  ".join(part for _, part in kept)) > room and len(kept) > 1:
        kept.remove(max(kept, key=lambda part: part[0]))
    return text


def duration(seconds: float) -> str:
    """0.43 s, 12 s, 3:05 or 2 h 07."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = math.ceil(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60}:{whole % 60:02d}" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d}"
