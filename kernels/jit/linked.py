"""Invalidates users' functions in Numba's own cache (``cache=True``) when code of this package in them has changed.

Numba's cache checks the user's file only, but intrinsics and pieces are compiled into the function that calls them. So
each puts a ``Linked`` into the compiled function, which Numba pickles with it. If the package's code has changed,
unpickling raises an OSError, which Numba takes for a missing file, and compiles the function again.
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
    """A mark in a compiled function that contains the vocabulary, or one piece."""

    def __init__(self, function: FunctionType | None = None) -> None:
        self.place = ("", "") if function is None else (function.__module__, function.__qualname__)

    def __hash__(self) -> int:
        return hash(self.place)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Linked) and other.place == self.place

    def __call__(self) -> None:
        """Do nothing: Numba calls this after it has loaded the function."""

    def __reduce__(self) -> Any:
        return _unchanged, (*self.place, _digest(*self.place))


VOCABULARY = Linked()


def is_piece(function: FunctionType) -> None:
    """Register a piece, which users' functions may contain."""
    _pieces[function.__module__, function.__qualname__] = function


@cache
def _digest(module: str, name: str) -> str:
    text = kernel_text(_pieces[module, name]) if module else vocabulary_text()
    return hashlib.sha256(text.encode()).hexdigest()


def _unchanged(module: str, name: str, digest: str) -> Linked:
    """The unpickled ``Linked``, or an OSError if the code that it stands for has changed."""
    try:
        if module:
            import_module(module)
        same = _digest(module, name) == digest
    except (ImportError, KeyError):  # it no longer exists
        same = False
    if not same:
        raise OSError(f"{name or 'kernels'} has changed since this was compiled")
    return Linked(_pieces[module, name]) if module else VOCABULARY
