"""The state of a run, from which it goes on to the same bits: a model's file (see ``tensor_file``) with additions.

These are the tensors ``state`` (the optimizer's), ``losses`` (since the last report) and, where a run has them, the
parameters ``best`` and ``average``, all flat; and in ``meta`` ``config`` (every option) and ``run`` (the position).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..config import OF_ANY_NETWORK, OF_ONE_NETWORK, TrainConfig
from ..errors import InputError, about
from ..models.loading import model_from
from ..models.model import Model
from ..models.tensor_file import Tensors, read_tensors, write_tensors
from ..paths import previous


@dataclass
class Checkpoint:
    """A run's model, options, position (``run``) and the tensors beside the model's."""

    model: Model
    config: dict[str, Any]
    run: dict[str, Any]
    tensors: Tensors


def write_checkpoint(run: Any, position: dict[str, Any], tensors: Tensors) -> None:
    """Write the state of a ``run`` atomically to its path, and keep the previous one beside it.

    ``position`` and ``tensors`` are what ``run.resume`` takes over beside the model and the reports. RunError when the
    file cannot be written.
    """
    meta, model = run.model.contents()
    history = [asdict(report) for report in run.history]
    meta |= {"config": asdict(run.config), "run": {**position, "history": history, "digest": run.digest}}
    write_tensors(run.path, meta, model | tensors, keep=previous(run.path))


def read_checkpoint(path: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The checkpoint at ``path``; None if there is none. InputError when the files there are no checkpoints.

    The previous checkpoint replaces a damaged or missing one, and ``say`` gets a line about it.
    """
    failure = None
    for candidate in (path, previous(path)):
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


def take_over(run: Any, checkpoint: Checkpoint, source: str) -> None:
    """Let a ``run`` on the data ``source`` take over the state in the checkpoint of its file.

    InputError where that is of a run on other data, or with other options of training, or of a version that made other
    inputs of the data, or where its state is incomplete. A run of one network may become longer.
    """
    if checkpoint.run.get("digest") != run.digest:
        raise InputError(f"{run.path}: is of a run on other data than {source}")
    config = run.config
    free = {"report_steps", "evaluate_every", *(() if config.networks else ("epochs", "steps", "precision"))}
    fixed = {*OF_ANY_NETWORK, *OF_ONE_NETWORK, "networks", "column", "class_weight", "seed"} - free
    try:
        with about(run.path):
            theirs = TrainConfig(**checkpoint.config)
            for name in (item.name for item in fields(config) if item.name in fixed):
                then, now = (each.peak_lr if name == "lr" else getattr(each, name) for each in (theirs, config))
                if name in checkpoint.config and then != now:  # an older version had fewer
                    option = f"--{name.replace('_', '-')}"
                    raise InputError(
                        f"is of a run with {option} {then}, which cannot go on with {now}; a new run takes another file"
                    )
        run.resume(checkpoint)
        if _inputs(run.model) != _inputs(checkpoint.model):
            raise InputError(
                f"{run.path}: is of a version that made other inputs of these data; a new run takes another file"
            )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise InputError(f"{run.path}: the state of the run in it is incomplete; the file is damaged") from None


def _inputs(model: Model) -> Any:
    """What ``model`` makes of samples before its network, and of the network's outputs, to six digits."""
    meta, tensors = model.contents()
    learnt = [column["learnt"] for column in meta.get("table", ())]
    moments = [tensors[name].tolist() for name in ("mean", "std", "target_mean", "target_std") if name in tensors]
    return json.loads(json.dumps([meta["scale"], learnt, moments]), parse_float=lambda text: f"{float(text):.6g}")
