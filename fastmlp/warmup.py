"""``python -m fastmlp.warmup``: compile ahead what the commands will call, so that no run waits for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial

from .cli import Parser, command, say
from .config import RULES, TrainConfig
from .errors import RunError


def warm_up(dtype: str, optimizer: str) -> None:
    """Compile, or load, all kernels that training, evaluation and prediction call, with the other options' defaults."""
    from .backend import kernels
    from .training.optimizers import rule

    kernels.jit.workers.expect_work()
    rules = (rule(TrainConfig(optimizer=optimizer, weight_decay=0.0)),)
    warmup = partial(kernels.warmup, dtypes=dtype, rules=rules)
    clipped, losses = ("mlp_gradient", "mlp_update", "loss_gradient"), ("softmax_cross_entropy", "squared_error")
    say("compiling for classes and numbers to predict, on dense and sparse data")
    kernels.jit.compile_for(
        [
            partial(warmup, ("mlp_train_steps", "mlp_forward", "loss_gradient", "softmax", "distort")),
            partial(warmup, clipped, losses=losses, sparse=False),  # as gradients of numbers are by default
            partial(kernels.peak_gflops, dtype),
        ]
    )


def parser() -> Parser:
    made = Parser(
        "warmup",
        "Compile all kernels that the commands call, 10 to 30 seconds' work, and keep them in the cache: once for "
        "each\nversion, as when an image of a container is made.",
        "python -m fastmlp.warmup --dtype float64",
    )
    made.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="of the runs to come (default float32)"
    )
    made.add_argument("--optimizer", choices=tuple(RULES), default="momentum", help="likewise (default momentum)")
    made.add_json()
    return made


@command("warmup")
def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    from .backend import kernels

    folder, before, *_ = kernels.cache_info()
    if folder is None:
        raise RunError("there is no cache directory to keep compiled kernels in; set FASTMLP_CACHE to one")
    warm_up(options.dtype, options.optimizer)
    if not kernels.jit.store().keeping:
        raise RunError(f"{folder}: what was compiled could not all be kept")
    made = kernels.cache_info().files - before
    seconds, wheel = kernels.jit.compile_seconds, kernels.jit.store().prebuilt
    brought = 0 if wheel is None else len(list(wheel.glob("*.kernel")))
    if options.json:
        found = {"compiled": made, "seconds": seconds, "before": before, "brought": brought, "folder": str(folder)}
        print(json.dumps(found))
    else:
        came = f", {brought} came with fastmlp" if brought else ""
        print(f"{made} functions compiled in {seconds:.1f} s, {before} were there before{came}; in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
