"""``python -m fastmlp.evaluate``: test a saved model."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence

from .cli import Parser, add_options, load_data, run_command
from .errors import InputError, RunError

_OPTIONS = ("data", "test", "val_fraction", "label_column", "seed", "offline")


def _command(argv: Sequence[str] | None) -> int:
    parser = Parser(
        "evaluate",
        "Test a model on the test set of --data (or the file --test, or the same seeded split as in training).",
        "python -m fastmlp.evaluate runs/mnist/model.npz --data mnist",
    )
    parser.add_argument("model", metavar="MODEL", help="a model.npz that fastmlp train wrote")
    add_options(parser, _OPTIONS)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    options = vars(parser.parse_args(argv))
    path, as_json = options.pop("model"), options.pop("json")
    from .config import configure
    from .model import load_model

    config = configure(**options)
    model = load_model(path)
    data = load_data(config)
    if data.X_test.shape[1] != model.network.sizes[0]:
        raise InputError(f"{path}: takes {model.network.sizes[0]} features; {config.data} has {data.X_test.shape[1]}")
    if int(data.y_test.max()) >= len(model.classes):
        raise InputError(
            f"{path}: knows {len(model.classes)} classes; {config.data} has label {int(data.y_test.max())}"
        )
    loss, accuracy = model.evaluate(data.X_test, data.y_test)
    if not math.isfinite(loss):
        raise RunError(f"{path}: the loss on {config.data} is not finite; its values are too large for this model")
    if as_json:
        print(json.dumps({"test_accuracy": accuracy, "test_loss": loss, "samples": len(data.X_test)}))
    else:
        print(f"test accuracy {accuracy:.2%}, loss {loss:.4f}, on {len(data.X_test):,} samples of {data.name}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed, 2 bad input, 130 Ctrl-C."""
    return run_command("evaluate", _command, argv)


if __name__ == "__main__":
    sys.exit(main())
