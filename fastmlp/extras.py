"""Optional dependencies, and how to install them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from .errors import InputError

_ROOT = Path(__file__).resolve().parent.parent


def optional(module: str, sentence: str) -> Any:
    """A module of an optional package. InputError with ``sentence``, which says what to install, when it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(f"{sentence} ({error})") from None


def to_install(extra: str) -> str:
    """The command that installs the extra: from the clone that runs, which an index may have another package for."""
    if not (_ROOT / "pyproject.toml").is_file():
        return f"pip install 'fastmlp[{extra}]'"
    return f"pip install -e '{'.' if Path.cwd() == _ROOT else _ROOT}[{extra}]'"
