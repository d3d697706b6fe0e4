"""How to install optional dependencies."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def to_install(extra: str) -> str:
    """The command that installs the extra: from the clone that runs, which an index may have another package for."""
    if not (_ROOT / "pyproject.toml").is_file():
        return f"pip install 'fastmlp[{extra}]'"
    return f"pip install -e '{'.' if Path.cwd() == _ROOT else _ROOT}[{extra}]'"
