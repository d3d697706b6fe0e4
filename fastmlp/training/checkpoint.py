"""The state of a run on disk: enough to go on to the same bits. The file is a model's (see ``tensor_file``) with more in it.

Beside the model: tensors ``state`` (the optimizer's, flat), ``losses`` (of the steps since the last report) and flat parameters
where a run has them, ``best`` (where it watches for them) and ``average``; in ``meta`` ``config`` (every option) and ``run``
(where it stands).
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
from ..paths import CHECKPOINT as NAME
from ..paths import PREVIOUS

__all__ = ["NAME", "PREVIOUS", "Checkpoint", "read_checkpoint", "write_checkpoint"]


@dataclass
class Checkpoint:
    """A run's model, options, position (``run``) and the tensors beside the model's."""

    model: Model
    config: dict[str, Any]
    run: dict[str, Any]
    tensors: Tensors


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write it atomically; the one before is kept beside it until the next. RunError when it cannot be written."""
    meta, tensors = checkpoint.model.contents()
    meta |= {"config": checkpoint.config, "run": checkpoint.run}
    write_tensors(path, meta, tensors | checkpoint.tensors, keep=path.with_name(PREVIOUS))


def read_checkpoint(path: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint at ``path``, or the one before it, with a line about why; None where there is neither.

    The one before takes the place of a damaged one. InputError when there are files but none is a checkpoint.
    """
    failure = None
    for candidate in (path, path.with_name(PREVIOUS)):
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
            with contextlib.suppress(OSError):  # else the next save would keep the damaged one, and not this
                candidate.replace(path)
        return Checkpoint(model, meta["config"], meta["run"], tensors)
    if failure is not None:
        raise failure
    return None
