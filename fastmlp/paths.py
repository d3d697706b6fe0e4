"""Paths of runs and of the cache, and atomic writing of files."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from .errors import InputError, RunError
from .log import warn

try:  # Windows has no fcntl; there a file that is being written cannot be deleted.
    import fcntl
except ImportError:  # pragma: no cover
    fcntl = None  # type: ignore[assignment]

# In a run's directory.
MODEL, CHECKPOINT, CONFIG, REPORTS = "model.npz", "checkpoint.npz", "config.toml", "metrics.jsonl"
SEED = "seed-"  # and its number: the directory of one of several runs
PICTURES = (  # of a report, each a .png
    "learning-curves", "confusion", "confident-errors", "recall", "predicted", "residuals", "deciles", "importance",
    "weights", "augmentation", "seeds",
)  # fmt: skip


def as_path(given: str | Path) -> Path:
    """The path that a user gave, with ``~`` expanded, which shells do only at the beginning of a word."""
    if not isinstance(given, (str, os.PathLike)):
        raise InputError(f"a path is of the type {type(given).__name__}; it must be text or a pathlib.Path")
    text = os.fspath(given)
    if not text:
        raise InputError("a path is empty; a variable of the shell may not be set")
    if "://" in text:
        raise InputError(f"{text}: is an address; download it, and give the file's path")
    return Path(os.path.expanduser(text))


def model_file(given: str | Path) -> Path:
    """The file of a model, given that or its run's directory: there the newer of model and checkpoint.

    A run that has saved nothing yet may have the model of the run before it in its directory, which is said. InputError
    for a directory without either.
    """
    path = as_path(given)
    if not path.is_dir():
        return path
    found = _saved(path)
    if not found and (runs := runs_of_seeds(path)):
        raise InputError(f"{path}: holds {len(runs)} runs of --seeds; name one of them, such as {runs[0]}")
    if not found:
        raise InputError(
            f"{path}: holds neither {MODEL} nor {CHECKPOINT}; it must be the --out directory of fastmlp train"
        )
    newest, config = max(found, key=lambda file: file.stat().st_mtime), path / CONFIG
    if len(found) == 1 and config.exists() and config.stat().st_mtime > newest.stat().st_mtime:
        warn(f"{newest}: is older than {CONFIG}; it may be of a run before that, which has not finished")
    return newest


def _saved(run: Path) -> list[Path]:
    """The files in a run's directory that hold its model."""
    return [file for name in (MODEL, CHECKPOINT) if (file := run / name).exists()]


def runs_of_seeds(directory: Path) -> list[Path]:
    """The directories that ``train --seeds`` made in ``directory``, by their seeds; none if that is a run itself."""
    if _saved(directory):
        return []
    runs = [run for run in directory.glob(f"{SEED}*") if run.name.removeprefix(SEED).isdigit() and _saved(run)]
    return sorted(runs, key=lambda run: int(run.name.removeprefix(SEED)))


def previous(checkpoint: Path) -> Path:
    """Where the checkpoint before the one at ``checkpoint`` is kept."""
    return checkpoint.with_stem(f"{checkpoint.stem}-previous")


def remove_report(directory: Path) -> None:
    """Delete the report in ``directory``, if there is one; other files stay."""
    page = directory / "report.html"
    if not page.exists():
        return
    for path in (*(directory / f"{name}.png" for name in PICTURES), page):
        with contextlib.suppress(OSError):
            path.unlink()
    with contextlib.suppress(OSError):  # it holds other files
        directory.rmdir()


@contextlib.contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """InputError where another process is in this block with the same directory."""
    with contextlib.ExitStack() as until_done:
        try:
            until_done.enter_context(_locked(directory))
        except BlockingIOError:
            raise InputError(
                f"{directory}: another run is writing there; wait for its end, or give --out another directory"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield


def cache_dir(kind: str) -> Path:
    """The part of the cache for one kind of file."""
    from .backend import folders  # not for --help

    return folders.cache_root() / kind


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock a file or directory. BlockingIOError when it is locked already, OSError where there are no locks."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def remove_leftovers(path: Path) -> None:
    """Delete the temporary files of killed processes beside ``path``, but not those that are being written."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}-*.tmp"):
        with contextlib.suppress(OSError), _locked(temporary):
            temporary.unlink()


def keep_newest(files: Iterable[Path], count: int) -> None:
    """Delete all of the files but the ``count`` newest."""
    dated = []
    for file in files:
        with contextlib.suppress(FileNotFoundError):  # another process does the same
            dated.append((file.stat().st_mtime, file))
    for _, old in sorted(dated, reverse=True)[count:]:
        with contextlib.suppress(OSError):  # Windows does not delete what another process reads
            old.unlink()


def _begin_file(path: Path, until_renamed: contextlib.ExitStack) -> tuple[Path, IO[bytes]]:
    """A new file beside ``path``, open and locked, so that no other process takes it for a leftover."""
    while True:
        temporary = path.parent / f".{path.name}-{os.urandom(4).hex()}.tmp"
        file = open(temporary, "xb")  # noqa: SIM115 (it is closed by who asked)
        try:
            until_renamed.enter_context(_locked(temporary))
        except (FileNotFoundError, BlockingIOError):  # another process did so before it was locked
            file.close()
            continue
        except OSError:  # a file system without locks
            pass
        return temporary, file


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """RunError where the system does not let the block write ``path``."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror or error})") from None


@contextlib.contextmanager
def atomic_write(path: Path, *, keep: Path | None = None) -> Iterator[IO[bytes]]:
    """A binary file that, if the block succeeds, is flushed to disk and replaces ``path``; else it is deleted.

    An existing file is renamed to ``keep``, if given: at every instant one of the two is whole. The next write of the
    same file deletes what a killed process left.
    """
    remove_leftovers(path)
    with contextlib.ExitStack() as until_renamed:
        temporary, file = _begin_file(path, until_renamed)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
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
