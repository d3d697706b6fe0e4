"""The state of a run on disk, from which it goes on to the same bits: a model's file (see ``tensor_file``) with additions.

These are the tensors ``state`` (the optimizer's), ``losses`` (of the steps since the last report) and, where a run has them,
the parameters ``best`` and ``average``, all flat; and in ``meta`` ``config`` (every option) and ``run`` (the position).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..models.loading import model_from
from ..models.model import Model
from ..models.tensor_file import Tensors, read_tensors, write_tensors


@dataclass
class Checkpoint:
    """A run's model, options, position (``run``) and the tensors beside the model's."""

    model: Model
    config: dict[str, Any]
    run: dict[str, Any]
    tensors: Tensors


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write it atomically and keep the previous one beside it. RunError when it cannot be written."""
    meta, tensors = checkpoint.model.contents()
    meta |= {"config": checkpoint.config, "run": checkpoint.run}
    write_tensors(path, meta, tensors | checkpoint.tensors, keep=_before(path))


def _before(path: Path) -> Path:
    """Where the checkpoint before the one at ``path`` is kept: of checkpoint.npz, ``paths.PREVIOUS``."""
    return path.with_stem(f"{path.stem}-previous")


def read_checkpoint(path: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The checkpoint at ``path``; None if there is none. InputError when the files there are no checkpoints.

    The previous checkpoint replaces a damaged or missing one, and ``say`` gets a line about it.
    """
    failure = None
    for candidate in (path, _before(path)):
        if not candidate.exists():
            continue
        try:
            meta, tensors = read_tensors(candidate)
            model = model_from(meta, tensors, str(candidate))
            if not isinstance(meta.get("config"), dict) or not isinstance(meta.get("run"), dict):
                raise InputError(f"{candidate}: a model, not a checkpoint")
        except InputError as error:
            failure = failure or error
            continue
        if failure is not None:
            say(f"{failure}; going on from {candidate.name}")
            with contextlib.suppress(OSError):  # else the next save would keep the damaged one as the previous
                candidate.replace(path)
        return Checkpoint(model, meta["config"], meta["run"], tensors)
    if failure is not None:
        raise failure
    return None
