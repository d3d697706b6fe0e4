"""``python -m fastmlp.evaluate``: test a saved model."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .cli import DATA_OPTIONS, Parser, add_options, command, load_data, one_line, printable, run_options, say
from .errors import InputError, RunError, about
from .paths import model_file

if TYPE_CHECKING:
    import numpy as np

    from .config import TrainConfig
    from .data import Dataset
    from .models.model import Model

_LISTED = 30  # classes in the table; of more, the worst
_WORST = 10
_CONFUSION = 100  # classes that a matrix of counts is given for


def load_to_test(config: TrainConfig, model: Model, *, whole: bool, recorded: bool) -> Dataset:
    """The data of ``config``, read as ``model`` takes them.

    With ``whole`` all rows of a file without a test part are tested. If it is the file that the model was trained on,
    only the rows that the run held out are tested. ``recorded`` says that the data are named by the run's own options.
    The choice, and a change of the data since the training, are said on stderr.
    """
    try:
        data = load_data(config, known=model.features, task=model.task, **({"val_fraction": None} if whole else {}))
    except InputError as error:  # a relative path, or the file has moved
        raise InputError(f"{error}; --data says where else the data is" if recorded else str(error)) from None
    from .data import Frame, split_rows
    from .training.plan import digest

    if (own := model.trained_on) is None:
        return data
    learnt = data.X
    if isinstance(learnt, Frame):  # of columns without names the unused are read, too
        learnt = learnt.only([name for name in learnt.columns if name not in model.features.unused])
    same = digest(learnt, data.y) == own["digest"]
    if recorded and not same:
        say(
            f"{config.data}: is not what the model was trained on, or has changed since; "
            "it may be tested on learnt samples"
        )
    if not whole or data.X is not data.X_test:
        return data
    if same:
        say(f"{config.data}: is all that the model was trained on; new samples may be harder")
    elif 0 < round(len(data.y) * own["val_fraction"]) < len(data.y):
        train, test = split_rows(len(data.y), own["val_fraction"], own["seed"], data.source)
        if digest(learnt, data.y, train) == own["digest"]:
            say(
                f"{config.data}: is what the model was trained on; "
                f"it is tested on the {len(test):,} samples held out then"
            )
            origin = data.tested and replace(data.tested, rows=test)
            return replace(data, X_test=data.X[test], y_test=data.y[test], tested=origin)
    return data


def model_inputs(data: Dataset, model: Model, path: str) -> Any:
    """The test set's samples as the model takes them; ``path`` is the model's, for the error.

    Columns go by name if both have names. A sparse test set may be narrower, if its last features do not occur in it.
    InputError for other features.
    """
    from .data import Frame, Sparse

    X, columns, inputs = data.X_test, model.features.columns, model.features.width
    if data.tested is not None and data.tested.files is not None:
        import numpy as np

        from .images.prepare import in_range

        X = in_range(np.asarray(X), model)
    if isinstance(X, Sparse):
        if X.shape[1] < inputs:
            return replace(X, shape=(len(X), inputs))
    elif columns is not None and data.columns not in (None, columns) and not isinstance(X, Frame):
        places = {name: k for k, name in enumerate(data.columns or ())}
        if missing := [name for name in columns if name not in places]:
            raise InputError(f"{data.source}: has no column {missing[0]!r}, which {path} takes")
        return X[:, [places[name] for name in columns]]
    if X.shape[1] != inputs:
        raise InputError(f"{path}: takes {inputs} features; {data.source} has {X.shape[1]}")
    return X


def model_labels(data: Dataset, model: Model, path: str) -> np.ndarray:
    """The test set's labels [N] as indices of the model's classes, or its numbers; ``path`` is the model's, for errors.

    InputError for a class that the model does not know, and for numbers for which its loss is not defined.
    """
    if model.target is not None:
        model.target.require(data.y_test, data.source)
        return data.y_test
    import numpy as np

    from .data.labels import listed, places

    y = np.array(places(data.classes, model.classes, say))[data.y_test]
    if (y < 0).any():
        unknown = data.classes[data.y_test[np.argmax(y < 0)]]
        raise InputError(
            f"{data.source}: has class {unknown[:40]!r}, which is none of the {len(model.classes):,} that {path} knows "
            f"({listed(model.classes)})"
        )
    return y


def measured(model: Model, data: Dataset, path: str, source: str) -> tuple[Any, np.ndarray, dict[str, float]]:
    """(X, y, their ``Model.measure``) of the test set, for the model of the file ``path``; ``source`` names the data.

    RunError for a score that is not finite. Inputs in another range than in training are said on stderr.
    """
    import numpy as np

    X, y = model_inputs(data, model, path), model_labels(data, model, path)
    with about(source), np.errstate(over="ignore", invalid="ignore"):  # refused below
        difference = model.unlike_training(X)
        scores = model.measure(X, y)
    if not all(map(math.isfinite, scores.values())):
        raise RunError(f"{path}: the loss on {source} is not finite; its values are too large for this model")
    if difference is not None:
        say(f"{source}: {difference}")
    return X, y, scores


def class_scores(y: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """class, samples, precision, recall and f1 of each class; None where it would be 0 / 0."""
    import numpy as np

    K = len(classes)
    samples, chosen, hits = (np.bincount(k, minlength=K).tolist() for k in (y, predicted, y[y == predicted]))
    return [
        {
            "class": name,
            "samples": n,
            "precision": h / c if c else None,
            "recall": h / n if n else None,
            "f1": 2 * h / (n + c) if n + c else None,
        }
        for name, n, c, h in zip(classes, samples, chosen, hits)
    ]


def _table(scores: list[dict[str, Any]]) -> list[str]:
    """The scores as aligned lines, in the order of the classes; of many classes the worst, by F1."""
    lines = []
    if len(scores) > _LISTED:
        scores = sorted((s for s in scores if s["f1"] is not None), key=lambda s: s["f1"])[:_WORST]
        lines.append(f"the {len(scores)} classes of the lowest F1:")
    names = [printable(one_line(score["class"])) for score in scores]
    width = max(map(len, ["class", *names]))
    lines.append(f"{'class':{width}s} samples precision  recall      F1")
    for name, score in zip(names, scores):
        shares = ("-" if score[key] is None else f"{score[key]:.2%}" for key in ("precision", "recall", "f1"))
        shown = " ".join(f"{share:>{size}s}" for share, size in zip(shares, (9, 7, 7)))
        lines.append(f"{name:{width}s} {score['samples']:7d} {shown}")
    return lines


def parser() -> Parser:
    made = Parser(
        "evaluate",
        "Test a model: on the test set of the run that MODEL lies in or, with --data, of other data. Labels are "
        "matched\nto the model's classes by name. Precision is the share of a class's answers that are right, recall "
        "the share of\nits samples that are found, F1 their harmonic mean. Of numbers RMSE is the root of the mean "
        "squared error, MAE the\nmean absolute error, R² the share of the variance that is predicted. The loss is what "
        "training made small.",
        "python -m fastmlp.evaluate runs/mnist/model.npz --data mnist",
    )
    made.add_argument("model", metavar="MODEL", help="a model.npz that fastmlp train wrote, or its run's directory")
    add_options(made, DATA_OPTIONS, default="as in the run")
    made.add_json()
    return made


@command("evaluate")
def main(argv: Sequence[str] | None = None) -> int:
    options = vars(parser().parse_args(argv))
    path, as_json = options.pop("model"), options.pop("json")
    import numpy as np

    from .config import configure
    from .data.labels import scored_classes
    from .models.loading import load_model
    from .models.target import scored

    file = model_file(path)
    path, run = str(file), run_options(file.parent)
    model = load_model(file)
    given = set(options)
    if "data" not in run | options:
        raise InputError(f"{path}: lies in no run's directory; --data says what to test it on")
    whole = not {"test", "val_fraction"} & given and "data" in given
    if "data" not in options:
        options = run | options
    elif model.label is None and "label_column" in run:  # a model of earlier versions does not know
        options = {"label_column": run["label_column"]} | options
    config = configure(**options)
    recorded = "data" in run and not given & ({*DATA_OPTIONS} - {"val_fraction", "seed"})  # which split the run's data
    data = load_to_test(config, model, whole=whole, recorded=recorded)
    X, y, scores = measured(model, data, path, config.data)
    result: dict[str, Any] = {f"test_{name}": value for name, value in scores.items()}
    result |= {"samples": len(y), "data": data.name}
    on = f"loss {scores['loss']:.4f}, on {len(y):,} {'test ' * (data.X is not data.X_test)}samples of {data.name}"
    if model.target is not None:
        lines = [f"test {scored(scores['rmse'], scores['r2'], scores['mae'])}, {on}"]
    else:
        predicted = model.class_indices(X)
        of_classes = result["classes"] = class_scores(y, predicted, model.classes)
        if (K := len(model.classes)) <= _CONFUSION:
            result["confusion"] = np.bincount(K * y + predicted, minlength=K * K).reshape(K, K).tolist()
        lines = [f"test {scored_classes(scores['accuracy'], y, model.classes)}, {on}", *_table(of_classes)]
    print(json.dumps(result, allow_nan=False) if as_json else "\n".join(map(printable, lines)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
