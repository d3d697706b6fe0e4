"""``python -m fastmlp.warmup``: compile ahead what the commands will call, so that no run waits for it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .cli import Parser, run_command, say
from .config import TrainConfig
from .errors import RunError


def warm_up(dtype: str) -> None:
    """Compile, or load, all kernels that training, evaluation and prediction in ``dtype`` call with their defaults."""
    from .backend import kernels
    from .optimizers import rule

    kernels.peak_gflops(dtype)
    kernels.warmup(
        ("mlp_train_steps", "mlp_gradient", "mlp_update", "mlp_forward", "loss_gradient", "softmax", "distort"),
        dtypes=(dtype,), losses=("softmax_cross_entropy", "squared_error"), rules=(rule(TrainConfig(weight_decay=0.0)),),
    )  # fmt: skip


def parser() -> Parser:
    made = Parser(
        "warmup",
        "Compile all kernels that the commands call, half a minute's work, and keep them in the cache: once for each\n"
        "version, as when an image of a container is made.",
        "python -m fastmlp.warmup --dtype float64",
    )
    made.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="of the runs to come (default float32)"
    )
    return made


def _command(argv: Sequence[str] | None) -> int:
    options = parser().parse_args(argv)
    from .backend import kernels

    folder, before, *_ = kernels.cache_info()
    if folder is None:
        raise RunError("there is no cache directory to keep compiled kernels in; set FASTMLP_CACHE to one")
    say("compiling for every kind of data, dense and sparse")
    warm_up(options.dtype)
    if not kernels.jit.store().keeping:
        raise RunError(f"{folder}: what was compiled could not all be kept")
    made = kernels.cache_info().files - before
    print(f"{made} functions compiled in {kernels.jit.compile_seconds:.1f} s, {before} were there before; in {folder}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed, 2 bad input, 130 Ctrl-C."""
    return run_command("warmup", _command, argv)


if __name__ == "__main__":
    sys.exit(main())
