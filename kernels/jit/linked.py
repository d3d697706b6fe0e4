"""Ours in what Numba keeps of others' code (``cache=True``), which its own stamps do not see: they are of the user's file.

Intrinsics and pieces are compiled into the function that calls them, and would stay in it as they were whatever an upgrade
brings. So Numba finds one of these objects in the compiled function, pickles it with it, and unpickles it when it loads the
function: where ours is no longer what it was, that raises an OSError, which Numba takes for a file that is gone, and
compiles anew.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import import_module
from types import FunctionType
from typing import Any

from .dependencies import kernel_text, vocabulary_text

_pieces: dict[tuple[str, str], FunctionType] = {}


class Linked:
    """The vocabulary, or one piece, in a compiled function."""

    def __init__(self, function: FunctionType | None = None) -> None:
        self.place = ("", "") if function is None else (function.__module__, function.__qualname__)

    def __hash__(self) -> int:
        return hash(self.place)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Linked) and other.place == self.place

    def __call__(self) -> None:
        """Nothing: Numba calls it when the function has been loaded."""

    def __reduce__(self) -> Any:
        return _unchanged, (*self.place, _digest(*self.place))


VOCABULARY = Linked()


def is_piece(function: FunctionType) -> None:
    """Remember a piece, which others may have compiled into theirs."""
    _pieces[function.__module__, function.__qualname__] = function


@cache
def _digest(module: str, name: str) -> str:
    text = kernel_text(_pieces[module, name]) if module else vocabulary_text()
    return hashlib.sha256(text.encode()).hexdigest()


def _unchanged(module: str, name: str, digest: str) -> Linked:
    """The object that was pickled, if what it stands for is what it was."""
    try:
        if module:
            import_module(module)
        same = _digest(module, name) == digest
    except (ImportError, KeyError):  # it is no more
        same = False
    if not same:
        raise OSError(f"{name or 'kernels'} has changed since this was compiled")
    return Linked(_pieces[module, name]) if module else VOCABULARY
