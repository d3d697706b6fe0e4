"""Where files are kept between runs, and how they are written so that they are whole or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

CHECKPOINT, PREVIOUS = "checkpoint.npz", "checkpoint-previous.npz"  # in a run's directory


def cache_dir(kind: str) -> Path:
    """``$FASTMLP_CACHE``, else the user's cache directory with ``fastmlp`` appended; below it ``kind``."""
    if explicit := os.environ.get("FASTMLP_CACHE"):
        return Path(explicit) / kind
    if os.name == "nt":  # pragma: no cover
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "fastmlp" / kind
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    except RuntimeError:  # a user without a home directory
        home = Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"
    return home / "fastmlp" / kind


def remove_leftovers(path: Path) -> None:
    """Delete what a process that was killed in ``atomic_write`` left beside ``path``."""
    for temporary in path.parent.glob(f".{path.name}-*.tmp"):
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def atomic_write(path: Path, *, keep: Path | None = None) -> Iterator[IO[bytes]]:
    """A binary file that takes ``path``'s place, flushed to disk, when the block ends well; else nothing is left.

    With ``keep`` the file that was there goes by that name from then on: at every instant one of the two is whole.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's 0600 is for secrets
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if hasattr(os, "O_DIRECTORY"):
        with contextlib.suppress(OSError):
            directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
