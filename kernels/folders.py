"""The folder in which compiled code and fastmlp's other caches are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """``$FASTMLP_CACHE``, else the user's cache directory with ``fastmlp`` appended."""
    if explicit := os.environ.get("FASTMLP_CACHE"):
        return Path(os.path.expanduser(explicit))
    if os.name == "nt":  # pragma: no cover
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "fastmlp"
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    except RuntimeError:  # a user without a home directory
        import tempfile

        home = Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"
    return home / "fastmlp"
