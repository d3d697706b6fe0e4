"""The two ways a command ends badly: each is one line on stderr and an exit code, never a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(Exception):
    """The user's input cannot be used; the message names it, says what it is and what it must be. Exit code 2."""


class RunError(Exception):
    """The run itself failed: it diverged, or the disk is full. Exit code 1."""


class Interrupted(Exception):
    """Ctrl-C, after what was being computed is whole. Exit code 130."""


@contextmanager
def about(source: object) -> Iterator[None]:
    """What is refused inside is said of ``source``."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
