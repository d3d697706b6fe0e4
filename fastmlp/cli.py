"""Common to all commands: one-line errors, exit codes, and flags made from TrainConfig."""

from __future__ import annotations

import argparse
import atexit
import codecs
import contextlib
import functools
import gc
import io
import os
import re
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__
from .config import TrainConfig, read_toml
from .errors import InputError, Interrupted, RunError, not_one_of, similar
from .paths import CONFIG
from .training.parallel import launched

if TYPE_CHECKING:
    from .data import Dataset


_Main = Callable[..., int]
ERASE = "\r\x1b[K"  # the last line of a terminal


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def __init__(self, verb: str, description: str, example: str, usage: str | None = None) -> None:
        super().__init__(
            prog=f"fastmlp {verb}",
            usage=usage,
            description=description,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"fastmlp {__version__}")

    def add_json(self) -> None:
        self.add_argument("--json", action="store_true", help="print one JSON object instead")

    def error(self, message: str) -> NoReturn:
        if typed := re.fullmatch(r"argument (\S+): invalid (int|float) value: (.*)", message):
            raise InputError(
                f"{typed[1]} is {typed[3]}; it must be {'an integer' if typed[2] == 'int' else 'a number'}"
            )
        flags = [flag for action in self._actions for flag in action.option_strings]
        unknown = message.removeprefix("unrecognized arguments: ").split()[0] if "unrecognized" in message else ""
        unknown = re.sub("^[\u2013\u2014]", "--", unknown)  # as word processors write two hyphens
        named = f"did you mean --data {unknown}? " if unknown[:1] not in ("", "-") and "--data" in flags else ""
        raise InputError(f"{message} ({named or similar(unknown, flags)}--help lists the options)")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value, or the first part of a list, that is none of the choices, as ``TrainConfig`` does."""
        choices: Any = action.choices
        for part in str(value).split(",") if choices is not None else ():
            if part not in choices:
                raise InputError(not_one_of("".join(action.option_strings[:1]) or str(action.metavar), part, choices))


class _Last(argparse.Action):
    """Stores a value, and says so if it replaces an earlier one."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        if hasattr(namespace, self.dest):
            say(f"{option_string} is given twice; the last counts: {values} (a directory holds several files)")
        setattr(namespace, self.dest, values)


def say(line: str) -> None:
    """One line for the user, on stderr: stdout is for results.

    What came through a pipe has the name stdin, not that of its copy (see ``data.files.readable``).
    """
    write_stderr(printable(re.sub(r"\S*/fastmlp-\w{8}/(?=stdin\b)", "", line)) + "\n")


def write_stderr(text: str) -> None:
    """What fails once nobody reads stderr any more, or its disk is full, is left out: the work goes on."""
    if sys.stderr is None:  # in a program with windows
        return
    try:
        sys.stderr.write(text)  # a program's stream may have no flush; Python's own flushes at each line and return
    except (OSError, ValueError):  # ValueError: a program has closed it
        _lead_nowhere(sys.stderr)


def _lead_nowhere(stream: Any) -> None:
    """Let a standard stream that fails lead nowhere: what is in its buffer would fail again at exit."""
    if stream in (sys.__stdout__, sys.__stderr__):  # a program's own may have no descriptor, or need it again
        with contextlib.suppress(ValueError):  # closed
            try:
                stream.flush()
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def overwrites() -> bool:
    """Whether stderr is a terminal that can write over its last line."""
    with contextlib.suppress(ValueError):  # closed
        return getattr(sys.stderr, "isatty", bool)() and os.environ.get("TERM") != "dumb"  # a program's may lack isatty
    return False


@functools.cache
def _say_once(line: str) -> None:
    say(line)


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    """The error handler of stdout: what its encoding lacks is escaped, which is said once."""
    if (encoding := sys.stdout.encoding.lower()) != "utf-8":
        _say_once(
            f"stdout is in {encoding}, which lacks some characters; they are escaped (PYTHONIOENCODING=utf-8: not)"
        )
    return codecs.backslashreplace_errors(error)


codecs.register_error("fastmlp.escaped", _escaped)


def shell_word(path: str | Path) -> str:
    """The path as a part of a command that may be copied."""
    if os.name == "nt":
        import subprocess

        return subprocess.list2cmdline([str(path)])
    return shlex.quote(str(path))


def run_command(
    verb: str, command: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None, *, on_ranks: bool = False
) -> int:
    """Run ``command``; its errors become one line on stderr and an exit code, its warnings one line each.

    Without ``on_ranks`` it is refused where a launcher started several of it: all would write the same files.
    """
    atexit.unregister(gc.freeze)  # of a command before this one
    atexit.register(gc.freeze)  # the last search for garbage in all that Numba has made took a fifth of a warm run
    warnings.showwarning = lambda message, *_, **__: say(one_line(message))
    if sys.stderr is None:  # closed by the caller
        sys.stderr = open(os.devnull, "w", errors="backslashreplace")  # noqa: SIM115 (for as long as the process lives)
    ranks, rank = (1, 0) if on_ranks else launched()
    if rank:
        return 2  # rank 0 says why
    try:
        if ranks > 1:
            raise InputError(f"runs in one process, not on {ranks} ranks; run it without mpiexec")
        if getattr(sys.stdout, "closed", sys.stdout is None):
            raise RunError("stdout is closed; there is nowhere to write the result")
        if isinstance(sys.stdout, io.TextIOWrapper):  # names of files and classes that its encoding lacks
            sys.stdout.reconfigure(errors="fastmlp.escaped")
        code = command(argv)
        sys.stdout.flush()
        return code
    except (KeyboardInterrupt, Interrupted) as interruption:
        if overwrites():
            write_stderr(ERASE)  # the ^C that the terminal prints
        say(f"fastmlp {verb}: interrupted{one_line(interruption)}")
        return 128 + signal.SIGINT
    except (InputError, RunError, MemoryError, OSError) as error:
        if isinstance(error, OSError):  # of stdout, perhaps
            _lead_nowhere(sys.stdout)
        if not isinstance(error, BrokenPipeError):  # the reader of our output has gone
            say(f"fastmlp {verb}: {'out of memory' if isinstance(error, MemoryError) else one_line(error)}")
        return 2 if isinstance(error, InputError) else 1


def command(verb: str, *, on_ranks: bool = False) -> Callable[[_Main], _Main]:
    """Turns a function into a command's ``main``: see ``run_command``."""

    def decorate(work: _Main) -> _Main:
        @functools.wraps(work)
        def main(argv: Sequence[str] | None = None) -> int:
            # The caller, if it is a program, shows its warnings in its own way, and may handle Ctrl-C.
            ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
            with warnings.catch_warnings(), on_ctrl_c(_interrupt) if ours else contextlib.nullcontext():
                return run_command(verb, work, argv, on_ranks=on_ranks)

        main.__doc__ = "Run the command; returns its exit code: 0 done, 1 failed, 2 bad input, 130 Ctrl-C."
        return main

    return decorate


@contextlib.contextmanager
def on_ctrl_c(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Handle Ctrl-C by ``handler``, where this is the thread that may: Python's main one."""
    able = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, handler) if able else None
    try:
        yield
    finally:
        if able:
            signal.signal(signal.SIGINT, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Handle Ctrl-C, but not amid an import that the command makes.

    It may leave Python's lock of imports held, for which another thread waits; NumPy turns it into an ImportError.
    """
    while frame is not None and frame.f_code is not run_command.__code__:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            threading.Timer(0.05, _signal_main, (number,)).start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _signal_main(number: int) -> None:
    if hasattr(signal, "pthread_kill"):  # else what it waits for would go on
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:  # Windows
        signal.raise_signal(number)


def one_line(message: object) -> str:
    """The message with a blank for each run of blanks and line ends."""
    return " ".join(str(message).split())


def printable(text: str) -> str:
    """The text without control characters, which files' names or content may have."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _list_of(kind: Callable[[str], Any], what: str) -> Callable[[str], tuple[Any, ...]]:
    """A parser of lists such as '256,128'; a single 0 means that there are no widths."""

    def read(text: str) -> tuple[Any, ...]:
        try:
            return () if (text, kind) == ("0", int) else tuple(map(kind, text.split(",")))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of {what}") from None

    return read


def load_data(config: TrainConfig, **others: Any) -> Dataset:
    """The data set of a command's options; ``others`` are further arguments of ``load``, or replace options."""
    from . import data as readers  # NumPy: not for --help

    arguments = {name: getattr(config, name) for name in (*DATA_OPTIONS, "task") if name != "data"}
    return readers.load(config.data, **{**arguments, "say": say, **others})


DATA_OPTIONS = (
    "data", "test", "val_fraction", "label_column", "weight_column", "column", "drop", "seed", "offline", "memory"
)  # fmt: skip


def run_options(directory: Path) -> dict[str, Any]:
    """The options that chose the data of the run in ``directory``, from its config.toml; {} where there is none."""
    path = directory / CONFIG
    options = read_toml(path) if path.exists() else {}
    return {name: options[name] for name in DATA_OPTIONS if name in options}


_TYPES: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "str | int": str,
    "str | tuple[str, ...]": str,
    "tuple[int, ...]": _list_of(int, "widths such as 256 or 256,128"),
    "tuple[float, ...]": _list_of(float, "numbers such as 0.1,1"),
}


def add_options(
    parser: argparse.ArgumentParser, names: Sequence[str] | None = None, default: str | None = None
) -> None:
    """Add a flag for each field of TrainConfig with help text, or for those in ``names``; ``default`` replaces the
    defaults in the help."""
    section: Any = parser
    for item in fields(TrainConfig):
        if names is None and "group" in item.metadata:
            section = parser.add_argument_group(item.metadata["group"])
        if "help" in item.metadata and (names is None or item.name in names):
            _add_option(section, item, default)


def _add_option(parser: Any, item: Field[Any], said: str | None) -> None:
    meta, kind, default = item.metadata, str(item.type), item.default
    flag, options = f"--{item.name.replace('_', '-')}", {"dest": item.name, "default": argparse.SUPPRESS}
    text = meta["help"].replace("%", "%%")
    if kind == "bool":
        flag, action, text = (
            (f"--no-{flag[2:]}", "store_false", f"do not {text}") if default is True else (flag, "store_true", text)
        )
        parser.add_argument(flag, action=action, help=text, **options)
    elif kind == "tuple[str, ...] | None":
        parser.add_argument(flag, action="append", metavar=meta["metavar"], help=f"{text} (again for each)", **options)
    else:
        if default not in (None, MISSING):
            text += f" (default {said or (','.join(map(str, default)) if isinstance(default, tuple) else default)})"
        store: Any = _Last if item.name == "data" else "store"
        kind, choices = kind.removesuffix(" | None"), meta.get("choices")
        metavar = meta.get("metavar", None if choices else {"int": "N", "float": "X"}.get(kind))
        parser.add_argument(
            flag, action=store, type=_TYPES[kind], choices=choices, metavar=metavar, help=text, **options
        )
