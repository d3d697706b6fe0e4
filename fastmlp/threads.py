"""Work on several threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def mapped(pool: Executor, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """``pool.map(work, items)``, or the same on this thread if no more are allowed."""
    items = [*items]
    try:
        return pool.map(work, items)
    except RuntimeError:  # no more threads; errors of ``work`` come with its results
        return map(work, items)
