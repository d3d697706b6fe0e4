"""The errors that end a command with one line on stderr and an exit code, never a traceback."""

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class InputError(Exception):
    """The user's input cannot be used; the message names it, says what it is and what it must be. Exit code 2."""


class RunError(Exception):
    """The run itself failed: it diverged, or the disk is full. Exit code 1."""


class Interrupted(Exception):
    """Ctrl-C, or an observer's ``stop``, after what was being computed is whole. Exit code 130."""

    result: Any = None  # of ``fit``: the ``Result`` so far


@contextmanager
def restated(caught: type[Exception], raised: type[Exception], before: str = "") -> Iterator[None]:
    """Turn an error into one of another kind, with words ``before`` its own."""
    try:
        yield
    except caught as error:
        raise raised(f"{before}{error}") from None


@contextmanager
def about(source: object) -> Iterator[None]:
    """Prefix an InputError, of whatever class, with its ``source``."""
    try:
        yield
    except InputError as error:
        error.args = (f"{source}: {error}",)
        raise


def as_parameters(line: str) -> str:
    """The line with options such as --label-column and --no-bias as parameters: label_column and bias."""
    return re.sub(r"(?<![\w-])--(?:no-)?([a-z]+(?:-[a-z]+)*)", lambda option: option[1].replace("-", "_"), line)


def in_python(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, with errors that name parameters instead of the command line's options."""

    @functools.wraps(function)
    def called(*args: P.args, **keywords: P.kwargs) -> R:
        try:
            return function(*args, **keywords)
        except (InputError, RunError) as error:
            error.args = (as_parameters(str(error)),)
            raise

    return called


_ELSEWHERE = {
    "alpha": "weight_decay", "early_stopping": "patience", "hidden_layer_sizes": "hidden", "layers": "hidden",
    "learning_rate": "lr", "learning_rate_init": "lr", "linear": "identity", "mae": "absolute_error",
    "max_iter": "epochs", "mse": "squared_error", "n_iter_no_change": "patience", "n_jobs": "threads",
    "random_state": "seed", "sigmoid": "logistic", "solver": "optimizer", "swish": "silu", "target": "label_column",
    "test_size": "val_fraction",
}  # fmt: skip
"""Names of options in other libraries, and here."""


def _plain(option: str) -> str:
    """'--weight-decay' -> 'weight_decay'."""
    return option.lstrip("-").replace("-", "_")


def similar(word: str, known: Iterable[str]) -> str:
    """ "did you mean ...? " if a ``known`` word is similar to ``word``, or its name here; else an empty text."""
    import difflib

    word, names = word.partition("=")[0].lower(), [*known]
    here = _ELSEWHERE.get(_plain(word))
    close = [name for name in names if _plain(name) == here] or difflib.get_close_matches(word, names, 1)
    return f"did you mean {close[0]}? " if close else ""


def not_one_of(name: str, value: object, known: Iterable[str]) -> str:
    """The sentence that refuses ``value``."""
    return f"{name} is {value!r:.60}; {similar(str(value), known)}it must be one of {', '.join(known)}"
