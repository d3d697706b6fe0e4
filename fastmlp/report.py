"""``python -m fastmlp.report``: pictures of a training run, and one HTML page with all of them."""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from .cli import Parser, command, say
from .config import TrainConfig, configure, read_toml
from .errors import InputError, RunError, about
from .extras import to_install
from .paths import MODEL, as_path, model_file, runs_of_seeds

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from .data import Dataset
    from .model import Model
    from .table_model import TableModel

_SHOWN = 20  # of the errors that the model is surest of
_VALUES = 12  # features of each of them
_NUMBERS = {"epoch", "step", "lr", "seconds"} | {
    f"{part}_{what}" for part in ("train", "validation", "test") for what in ("loss", "accuracy", "rmse", "mae", "r2")
}
_DECILES = 10


_LARGEST = 1e30  # what is more, a diverged loss, has no place on an axis


class Section(NamedTuple):
    """A part of the page: words, and a picture with the text that stands for it, a table, or both."""

    title: str
    words: str
    name: str = ""  # of the picture's file, without .png
    figure: Figure | None = None
    alt: str = ""
    table: list[tuple[Any, ...]] | None = None  # the first row is its head


class Link(NamedTuple):
    """A cell of a table that leads to another page."""

    text: str
    target: str


@dataclass(frozen=True)
class Tested:
    """A model's answers on a test set: samples as it takes them, class indices y and predicted [N], the probability of each
    answer, wrong rows.

    The rows in ``wrong`` begin with the one whose answer the model was surest of.
    """

    data: Dataset
    X: Any
    y: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray
    wrong: np.ndarray
    loss: float

    @property
    def scores(self) -> dict[str, float]:
        return {"accuracy": 1 - self.wrong.size / self.y.size, "loss": self.loss}


@dataclass(frozen=True)
class TestedNumbers:
    """A model's predictions on a test set: samples as it takes them, numbers y and predicted [N], and what was measured.

    The rows in ``worst`` begin with the one that it was furthest off on.
    """

    data: Dataset
    X: Any
    y: np.ndarray
    predicted: np.ndarray
    worst: np.ndarray
    scores: dict[str, float]


# -- what a run left -----------------------------------------------------------------------------------------------


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The numbers of each report in a metrics.jsonl, but for those that are not finite.

    A damaged line is an InputError with its number; a last line without its end is still being written and not read.
    """
    from .data.files import read_file

    lines = read_file(path).split(b"\n")
    history: list[dict[str, float]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise TypeError
            history.append({"epoch": number} | _numbers(row, f"{path}: line {number}"))
        except (TypeError, ValueError, RecursionError):
            if number < len(lines):
                raise InputError(f"{path}: line {number} is damaged; it must be a JSON object") from None
    return history


def _numbers(row: dict[str, Any], where: str) -> dict[str, float]:
    numbers = {}
    for name in _NUMBERS & row.keys():
        value = row[name]
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise InputError(f"{where}: {name} is {str(value)[:20]!r}; it must be a number or null")
        if value is not None and abs(value) < _LARGEST:  # false of NaN too
            numbers[name] = float(value)
    return numbers


def _config(directory: Path, data: str | None) -> tuple[TrainConfig, dict[str, Any]]:
    """The run's options, on other data if so wished, and those in its config.toml as they stand there."""
    path = directory / "config.toml"
    if not path.exists():
        if data is None:
            raise InputError(f"{path}: no such file; without it --data must say what to test on")
        return configure(data=data), {}
    settings = read_toml(path)
    config = configure(**settings)
    return config if data is None else replace(config, data=data, test=None), settings


def _test(model: Model, data: Dataset, path: Path) -> Tested | TestedNumbers:
    import numpy as np

    from .evaluate import model_inputs, model_labels

    X, y = model_inputs(data, model, str(path)), model_labels(data, model, str(path))
    difference = model.unlike_training(X)
    with about(data.source), np.errstate(over="ignore", invalid="ignore"):  # refused below
        measured = model.measure(X, y)
    if not all(map(math.isfinite, measured.values())):
        raise RunError(f"{path}: the loss on {data.source} is not finite; its values are too large for this model")
    if difference is not None:
        say(f"{data.source}: {difference}")
    if model.target is not None:
        predicted = model.target.central(model.predict(X))
        worst = np.argsort(-np.abs(predicted - y), kind="stable")
        return TestedNumbers(data, X, y, predicted, worst, measured)
    predicted = model.class_indices(X)
    probability = model.predict_proba(X)[np.arange(len(y)), predicted]
    wrong = np.flatnonzero(predicted != y)
    wrong = wrong[np.argsort(-probability[wrong], kind="stable")]
    return Tested(data, X, y, predicted, probability, wrong, measured["loss"])


# -- sections ------------------------------------------------------------------------------------------------------


def _curves(history: list[dict[str, float]], config: TrainConfig) -> Section:
    from . import plots

    if not history:
        return Section("Learning curves", "No epoch has ended yet.")
    last, sentences = history[-1], []
    for name in ("train", "validation", "test"):
        losses, rates = (plots.series(history, f"{name}_{what}") for what in ("loss", "accuracy"))
        parts = [f"loss {losses[1][-1]:.3g}"] if losses[1].size else []
        parts += [f"error rate {_rate(1 - rates[1][-1])}{plots.PERCENT}"] if rates[1].size else []
        for what, label in (("rmse", "RMSE"), ("r2", "R²")):
            values = plots.series(history, f"{name}_{what}")[1]
            parts += [f"{label} {values[-1]:.4g}"] if values.size else []
        if parts and name != "train" and losses[1].size and losses[1].argmin() < losses[1].size - 1:
            parts.append(f"lowest loss {losses[1].min():.3g} at epoch {losses[0][losses[1].argmin()]:.6g}")
        if parts:
            sentences.append(f"{name} {', '.join(parts)}")
    words = f"After epoch {last['epoch']:.6g}: {'; '.join(sentences) or 'nothing was measured'}."
    if "train_loss" in last:
        words += " The train figures are means over the epoch, while the weights were changing."
    second = "RMSE" if any("test_rmse" in row or "validation_rmse" in row for row in history) else "error rate"
    alt = f"Line chart of loss, {second} and learning rate against epochs. {words}"
    return Section(
        "Learning curves",
        words,
        "learning-curves",
        plots.learning_curves(history, _rates(history, config), config.loss),
        alt,
    )


def _rates(history: list[dict[str, float]], config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """(epochs, rates) of every step, as the run's options say; or, where the reports say otherwise, as in a run that was made
    longer later, those of the reports.
    """
    import numpy as np

    from . import plots
    from .optimizers import learning_rates

    reported = plots.series(history, "lr")
    steps = np.array([row["step"] for row in history if "lr" in row and "step" in row], np.int64)
    if not len(steps) or len(steps) != len(reported[0]) or steps.min() < 1:
        return reported
    per_epoch = max(1, round(steps[-1] / reported[0][-1]))
    total = config.total_steps(per_epoch)
    if steps.max() > total:
        return reported
    rates = learning_rates(config, 0, int(steps.max()), total, per_epoch)
    if not np.allclose(rates[steps - 1], reported[1], rtol=1e-6, atol=0):
        return reported
    return np.arange(1, len(rates) + 1) / per_epoch, rates


def _rate(error: float) -> str:
    return f"{100 * error:.2g}" if error < 0.1 else f"{100 * error:.1f}"


def _confusion(test: Tested, names: tuple[str, ...]) -> Section:
    import numpy as np

    from . import plots

    K, wrong = len(names), test.wrong
    pairs, times = np.unique(K * test.y[wrong] + test.predicted[wrong], return_counts=True)
    most = np.argsort(-times, kind="stable")[:3]
    listed = [f"{names[pairs[k] // K]} as {names[pairs[k] % K]} ({times[k]:,}×)" for k in most]
    words = "Every test sample is classified correctly."
    if wrong.size:
        words = f"Misclassified: {wrong.size:,} of {test.y.size:,} test samples, most often {', '.join(listed)}."
    errors = np.bincount(test.y[wrong], minlength=K) + np.bincount(test.predicted[wrong], minlength=K)
    shown = np.sort(np.argsort(-errors, kind="stable")[: plots.MOST_CLASSES])
    if len(shown) < K:
        words += f" Shown are the {len(shown)} of {K:,} classes with the most errors."
    place = np.full(K, -1)
    place[shown] = np.arange(len(shown))
    inside = (place[test.y] >= 0) & (place[test.predicted] >= 0)
    cells = len(shown) * place[test.y[inside]] + place[test.predicted[inside]]
    counts = np.bincount(cells, minlength=len(shown) ** 2).reshape(len(shown), len(shown))
    figure = plots.confusion_figure(counts, [names[k] for k in shown])
    alt = f"Matrix of counts, true classes in rows, predicted classes in columns, errors coloured. {words}"
    return Section("Confusion matrix", words, "confusion", figure, alt)


def _places(data: Dataset, rows: np.ndarray, config: TrainConfig, model: Model) -> tuple[str, list[Any], str]:
    """(what kind of place ``rows`` of the test set have, the place of each, a sentence about them)."""
    from .formats import TRAINING, Query, format_of

    path = None if data.tested is None else as_path(data.tested.path)
    if data.tested is None or path is None or (path.is_dir() and data.tested.files is None):
        return "row", rows.tolist(), "Rows of the test set count from 0."
    stand = data.tested.rows[rows].tolist()
    if (files := data.tested.files) is not None:
        return "file", [files[row] for row in stand], f"Files are those in {path.name}."
    form = format_of(path, TRAINING)
    if not form.is_text:
        return "row", stand, f"Rows are those of {path.name}, counted from 0."
    label, weight = (None if column is None else str(column) for column in (config.label_column, config.weight_column))
    query = Query(label, weight, model.features)
    return "line", form.lines(path, stand, query), f"Lines are those of {path.name}."


def _network_losses(path: Path) -> dict[int, list[float]]:
    """The validation losses after each epoch that a metrics.jsonl has of each network of a table. InputError for a bad line."""
    from .data.files import read_file

    found: dict[int, list[float]] = {}
    for number, line in enumerate(read_file(path).splitlines(), 1):
        try:
            row = json.loads(line)
            found[int(row["network"])] = [float(value) for value in row["validation_losses"]]
        except (KeyError, TypeError, ValueError, RecursionError):
            raise InputError(f"{path}: line {number} is not of a network of a table; the file is damaged") from None
    return found


def _network_curves(losses: dict[int, list[float]]) -> Section:
    from . import plots

    title = "Learning curves"
    if not losses:
        return Section(title, "No network is trained yet.")
    best = {network: values.index(min(values)) + 1 for network, values in losses.items()}
    words = (
        f"The loss of each of the {len(losses)} networks on the part of the training rows that it was not trained on; each was "
        f"kept as it was after its lowest, which came after epoch {min(best.values())} to {max(best.values())}."
    )
    figure = plots.network_curves(losses)
    return Section(title, words, "learning-curves", figure, f"Line chart, a line a network. {words}")


def _columns(model: TableModel) -> Section:
    """What became of each column."""
    table: list[tuple[Any, ...]] = [("column", "is", "inputs", "")]
    table += [(column.name, column.kind, f"{column.inputs:,}", column.about) for column in model.columns.columns]
    used = len(model.columns.used)
    words = f"What the {len(table) - 1:,} columns become: {model.columns.inputs:,} inputs, of {used:,} of them."
    return Section("Columns", words, table=table)


def _feature_names(model: Model) -> Sequence[str]:
    return model.columns or [f"feature {k + 1}" for k in range(model.network.sizes[0])]


def _predicted_and_true(test: TestedNumbers) -> Section:
    from . import plots
    from .target import scored

    words = (
        f"{scored(test.scores['rmse'], test.scores['r2'])} on {len(test.y):,} test samples; on the line a prediction would be "
        "right."
    )
    figure = plots.predicted_and_true(test.y, test.predicted)
    return Section("Predicted against true", words, "predicted", figure, f"Scatter plot. {words}")


def _residuals(test: TestedNumbers) -> Section:
    import numpy as np

    from . import plots

    residuals = test.predicted - test.y
    low, middle, high = np.quantile(residuals, [0.1, 0.5, 0.9]).tolist()
    words = (
        f"What was predicted too much, or, below zero, too little: for half of the test samples less than {middle:.4g}, for "
        f"eight of ten from {low:.4g} to {high:.4g}."
    )
    return Section("Residuals", words, "residuals", plots.residuals(residuals), f"Histogram. {words}")


def _deciles(test: TestedNumbers) -> Section:
    """The errors of the least true numbers, the next, ..., the greatest."""
    import numpy as np

    from . import plots

    order = np.argsort(test.y, kind="stable")
    parts = [part for part in np.array_split(order, _DECILES) if part.size]
    errors = np.array([np.sqrt(np.square(test.predicted[part] - test.y[part]).mean()) for part in parts])
    ranges = [f"{test.y[part[0]]:.4g} to {test.y[part[-1]]:.4g}" for part in parts]
    bias = [f"{(test.predicted[part] - test.y[part]).mean():.4g}" for part in parts]
    worst = int(errors.argmax())
    words = (
        f"The root mean squared error of each tenth of the test samples, in the order of the true numbers: it is largest, "
        f"{errors[worst]:.4g}, for those from {ranges[worst]}."
    )
    table: list[tuple[Any, ...]] = [("true number", "samples", "RMSE", "mean residual")]
    table += zip(ranges, [len(part) for part in parts], [f"{error:.4g}" for error in errors], bias)
    figure = plots.error_bars(ranges, errors)
    return Section("Error by decile", words, "deciles", figure, f"Bar chart. {words}", table)


def _largest_errors(test: TestedNumbers, model: Model, config: TrainConfig, columns: list[Any]) -> Section:
    """The table has the values of ``columns``, the first few, where the samples are no images."""
    rows = test.worst[:_SHOWN]
    place, places, said = _places(test.data, rows, config, model)
    table: list[tuple[Any, ...]] = [(place, "true", "predicted", "residual")]
    table += [
        (where, f"{y:.6g}", f"{p:.6g}", f"{p - y:.4g}")
        for where, y, p in zip(places, test.y[rows].tolist(), test.predicted[rows].tolist())
    ]
    words = f"The {len(rows)} test samples that the model was furthest off on. {said}"
    if model.image_shape is None:
        table, which = _with_values(table, test.X, rows, model, columns)
        words += which
    return Section("Largest errors", words, table=table)


def _with_values(
    table: list[tuple[Any, ...]], X: Any, rows: np.ndarray, model: Model, columns: list[Any]
) -> tuple[list[tuple[Any, ...]], str]:
    """(the table with the values of the first few ``columns`` of the rows of X, a sentence that says so)."""
    from .data import Frame

    shown = columns[:_VALUES]
    head, *body = table
    if isinstance(X, Frame):
        values = [X.columns[name][rows].tolist() for name in shown]
        table = [(*head, *shown), *((*row, *sample) for row, sample in zip(body, zip(*values)))]
    else:
        samples = X[rows].toarray() if hasattr(X, "indptr") else X[rows]
        features = _feature_names(model)
        table = [(*head, *(features[k] for k in shown))]
        table += [(*row, *(f"{value:.6g}" for value in sample[shown].tolist())) for row, sample in zip(body, samples)]
    which = "" if len(shown) == X.shape[1] else f"the {len(shown)} of {X.shape[1]:,} that matter most to the model, "
    return table, f" To the right are the values of the features: {which}the most important first."


def _confident_errors(test: Tested, model: Model, config: TrainConfig, columns: list[Any]) -> Section:
    """The table has the values of ``columns``, the first few, where the samples are no images."""
    from . import plots

    title, rows = "Most confident errors", test.wrong[:_SHOWN]
    if not rows.size:
        return Section(title, "Every test sample is classified correctly.")
    true, answers = ([model.classes[k] for k in part[rows]] for part in (test.y, test.predicted))
    sure = [_sure(float(p)) for p in test.probability[rows]]
    place, places, said = _places(test.data, rows, config, model)
    table: list[tuple[Any, ...]] = [(place, "true class", "predicted", "probability")]
    table += zip(places, true, answers, sure)
    of = f"{len(rows)} of {test.wrong.size:,}" if len(rows) < test.wrong.size else f"All {len(rows)}"
    words = f"{of} misclassified test samples, those first where the model gave the wrong class the highest probability. {said}"
    X = test.X
    if model.image_shape is None or hasattr(X, "indptr"):
        table, which = _with_values(table, X, rows, model, columns)
        return Section(title, words + which, table=table)
    names = [(plots.short(t, 11), plots.short(p, 11)) for t, p in zip(true, answers)]
    joint = " → " if max(len(t) + len(p) for t, p in names) <= 8 else " →\n"
    titles = [f"{t}{joint}{p}\n{s}" for (t, p), s in zip(names, sure)]
    figure = plots.contact_sheet(_pixels(X[rows]).reshape(-1, *model.image_shape), titles)
    alt = "Images with true class, predicted class and its probability: " + "; ".join(
        f"{t} as {p}, {s}" for t, p, s in zip(true, answers, sure)
    )
    words += " Over each image: true class → predicted class, and the probability of the predicted."
    return Section(title, words, "confident-errors", figure, alt, table)


def _sure(probability: float) -> str:
    from .plots import PERCENT

    return (">99.9" if probability > 0.9995 else f"{100 * probability:.1f}") + PERCENT


def _pixels(X: np.ndarray) -> np.ndarray:
    """X as uint8: as it is, or from its least to its greatest value."""
    import numpy as np

    if X.dtype == np.uint8:
        return X
    low, high = float(X.min()), float(X.max())
    return np.round(255 * ((X - low) / (high - low or 1))).astype(np.uint8)


def _recall(test: Tested, names: tuple[str, ...]) -> Section:
    import numpy as np

    from . import plots

    total = np.bincount(test.y, minlength=len(names))
    found = np.bincount(test.y[test.predicted == test.y], minlength=len(names))
    tested = np.flatnonzero(total)
    recall = found[tested] / total[tested]
    words = "Recall is the share of a class's test samples that the model finds: from " + " to ".join(
        f"{plots.percent(found[k], total[k])} of {names[k]}" for k in tested[[recall.argmin(), recall.argmax()]]
    )
    words += "; the longer the bar, the more was missed."
    if (absent := len(names) - len(tested)) > 0:
        words += f" {absent:,} of {len(names):,} classes have no test samples."
    if len(tested) > plots.MOST_BARS:
        words += f" Shown are the {plots.MOST_BARS} lowest."
    figure = plots.recall_bars([names[k] for k in tested], found[tested], total[tested])
    return Section("Recall by class", words, "recall", figure, f"Bar chart, lowest recall first. {words}")


def _distorted(config: TrainConfig, data: Dataset) -> list[Section]:
    """What the network is trained on: the first images, and under each what two epochs make of it."""
    import numpy as np

    from . import plots
    from .augment import distortion

    distort = distortion(config, data)
    if distort is None or data.image_shape is None or not isinstance(data.X, np.ndarray):
        return []
    rows = np.arange(min(plots.SHEET_COLUMNS, len(data.X)))
    images = np.concatenate([data.X[rows], *(distort(rows, epoch) for epoch in range(4))])
    words = f"Training images, and what --augment {config.augment} makes of them in the first four epochs."
    figure = plots.contact_sheet(images.reshape(-1, *data.image_shape))
    return [Section("Augmentation", words, "augmentation", figure, words)]


def _weights(model: Model) -> Section:
    from . import plots

    assert model.image_shape is not None
    W, _ = model.network.layers[0]
    units = W.shape[1]
    kind = "output" if len(model.network.layers) == 1 else "hidden"
    shown = f"all {units:,}" if units <= plots.MOST_UNITS else f"the {plots.MOST_UNITS} of {units:,}"
    words = f"The weights of {shown} {kind} units, largest norm first, each as an image of the inputs it looks at."
    figure = plots.weight_images(W, model.image_shape)
    alt = f"{words} Blue is negative, white 0, orange positive."
    return Section("First-layer weights", words, "weights", figure, alt)


def _importance(test: Tested | TestedNumbers, model: Model) -> tuple[Section, list[Any]]:
    """And the columns in the order of their importance."""
    import numpy as np

    from . import plots
    from .importance import permutation_importance
    from .table_model import TableModel

    found = permutation_importance(model, test.X, test.y)
    order, inputs = np.argsort(-found.rise, kind="stable"), model.features.width
    words = (
        f"By how much the mean loss, {found.loss:.3g}, rises when a feature's values are dealt out anew among the test "
        "samples, so that they say nothing of their rows: the mean of five times ± the standard deviation. Of features that "
        "say the same each alone matters little."
    )
    if len(found.columns) < inputs:
        words += f" Looked at were the {len(found.columns):,} of {inputs:,} features that move the first layer most."
    if len(found.columns) > plots.MOST_FEATURES:
        words += f" Shown are the first {plots.MOST_FEATURES} of {len(found.columns):,}."
    columns = found.columns[order]
    names = columns.tolist()
    if not isinstance(model, TableModel):
        features = _feature_names(model)
        names = [features[k] for k in names]
    figure = plots.importance_bars(names, found.rise[order], found.deviation[order])
    section = Section("Importance of the features", words, "importance", figure, f"Bar chart, largest first. {words}")
    return section, columns.tolist()


# -- the page ------------------------------------------------------------------------------------------------------

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --page: #fff; --ink: #24292f; --muted: #656d76; --grid: #d0d7de;
  --link: #0969da }}
@media (prefers-color-scheme: dark) {{
  :root {{ --page: #0d1117; --ink: #e6edf3; --muted: #9198a1; --grid: #3d444d; --link: #4493f8 }}
}}
body {{ max-width: 78rem; margin: 0 auto; padding: 1rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }}
main {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(35rem, 100%), 1fr)); gap: 0 3rem;
  grid-auto-flow: dense }}
section {{ min-width: 0 }}
section.all {{ grid-column: 1 / -1 }}
h1, h2 {{ line-height: 1.2; margin: 2rem 0 .5rem }}
h1 {{ margin-top: .5rem }}
p {{ max-width: 42rem; margin: .5rem 0 1rem }}
.wide {{ overflow-x: auto }}
svg {{ display: block; max-width: 100%; height: auto }}
.columns {{ columns: 20rem; column-gap: 3rem }}
.columns .wide {{ overflow: visible }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
th, td {{ padding: .2rem 1rem .2rem 0; border-bottom: 1px solid var(--grid); text-align: left; vertical-align: top }}
th, td {{ overflow-wrap: normal }}
th {{ font-weight: 600 }}
.columns th {{ white-space: nowrap }}
.columns td {{ overflow-wrap: anywhere }}
a {{ color: var(--link); white-space: nowrap }}
summary {{ margin: .75rem 0; color: var(--muted); cursor: pointer }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{words}</p>
<main>
{body}
</main>
</body>
</html>
"""


def _table(rows: list[tuple[Any, ...]], *, head: bool) -> str:
    """An HTML table; its first row, or else its first column, is in bold."""
    lines = []
    for number, row in enumerate(rows):
        tags = ["th" if (number == 0 if head else column == 0) else "td" for column in range(len(row))]
        lines.append("".join(f"<{tag}>{_cell(cell)}</{tag}>" for tag, cell in zip(tags, row)))
    return '<div class="wide"><table>' + "".join(f"<tr>{line}</tr>\n" for line in lines) + "</table></div>"


def _cell(cell: Any) -> str:
    if isinstance(cell, Link):
        return f'<a href="{escape(quote(cell.target))}">{escape(cell.text)}</a>'
    return escape(str(cell))


def _html(title: str, words: str, sections: list[Section], settings: dict[str, Any]) -> str:
    from . import plots

    parts = []
    for section in sections:
        all_columns = ' class="all"' if section.table is not None and section.figure is None else ""
        parts += [f"<section{all_columns}>", f"<h2>{escape(section.title)}</h2>", f"<p>{escape(section.words)}</p>"]
        if section.figure is not None:
            label = f'<svg role="img" aria-label="{escape(section.alt)}" '
            parts.append(f'<div class="wide">{plots.svg(section.figure).replace("<svg ", label, 1)}</div>')
        if section.table is not None:
            table = _table(section.table, head=True)
            parts.append(f"<details><summary>As a table</summary>{table}</details>" if section.figure else table)
        parts.append("</section>")
    parts.append('<section class="all">\n<h2>Settings</h2>')
    rows = [(name.replace("_", "-"), _plain(value)) for name, value in settings.items()]
    settings_table = f'<div class="columns">{_table(rows, head=False)}</div>'
    parts.append(settings_table if rows else "<p>The run has no config.toml.</p>")
    parts.append("</section>")
    return _PAGE.format(title=escape(title), words=escape(words), body="\n".join(parts))


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _summary(test: Tested | TestedNumbers, model: Model, path: Path, history: list[dict[str, float]]) -> str:
    from . import plots
    from .table_model import TableModel
    from .target import scored

    verbs = ("classify", "predict") if isinstance(model, TableModel) else ("classifies", "predicts")
    words = f"The {model.described} ({model.parameters:,} parameters) "
    samples = f"the {test.y.size:,} test samples of {test.data.name}"
    if isinstance(test, Tested):
        right = test.y.size - test.wrong.size
        words += (
            f"{verbs[0]} {plots.percent(right, test.y.size)} of {samples} correctly; the mean loss is {test.loss:.3g}."
        )
    else:
        words += f"{verbs[1]} the numbers of {samples} with {scored(test.scores['rmse'], test.scores['r2'])}, "
        words += f"MAE {test.scores['mae']:.4g}; the mean loss is {test.scores['loss']:.3g}."
    if history and isinstance(model, TableModel):
        words += f" They were trained in {max(row.get('seconds', 0.0) for row in history):,.1f} s."
    elif history:
        last = history[-1]
        steps = f" ({last['step']:,.0f} steps)" if "step" in last else ""
        seconds = f" in {last['seconds']:,.1f} s" if "seconds" in last else ""
        words += f" It was trained for {last['epoch']:.6g} epoch{'s' * (last['epoch'] != 1)}{steps}{seconds}."
    if path.name != MODEL:
        words += f" This is {path.name}: the run was stopped, or goes on."
    return words


def draw_report(directory: str | Path, *, data: str | None = None, out: str | Path | None = None) -> list[Path]:
    """Draw the run in ``directory``, or that of a model's file, tested on its own data or ``data``, into ``out`` (default:
    report in it).

    Of a directory of several runs, which ``train --seeds`` leaves, each is drawn, and a page that leads to them. Returns the
    paths written: the pictures of each run, then its report.html. InputError for what cannot be read or does not fit; RunError
    for what cannot be written.
    """
    try:
        from . import plots  # noqa: F401
    except ImportError as error:
        raise InputError(f"report needs matplotlib; {to_install('plot')} ({error})") from None
    run = as_path(directory)
    if not run.exists():
        raise InputError(
            f"{run}: no such directory; it must be the --out directory of fastmlp train, or the model in it"
        )
    directory = _directory_of(run)
    target = directory / "report" if out is None else as_path(out)
    runs = runs_of_seeds(directory)
    if not runs or run != directory:
        return _draw_run(run, data, target)[0]
    written, rows = [], []
    for run in runs:
        files, test, history = _draw_run(run, data, run / "report" if out is None else target / run.name)
        written += files
        rows.append((run, os.path.relpath(files[-1], target), test, history))
    settings = {name: value for name, value in _config(runs[0], data)[1].items() if name != "seed"}
    return written + _write(target, directory.resolve().name, *_over_seeds(rows), settings)


def _directory_of(run: Path) -> Path:
    """The directory of a run that is named by it or by its model."""
    return run if run.is_dir() else run.parent


def _over_seeds(
    runs: list[tuple[Path, str, Tested | TestedNumbers, list[dict[str, float]]]],
) -> tuple[str, list[Section]]:
    """(what several runs reach together, the page's sections), of each its directory, its page, its test and its reports."""
    from . import plots

    scores = [test.scores for _, _, test, _ in runs]
    spread = {}
    for name in scores[0]:
        values = [each[name] for each in scores]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        shown = _score(name, deviation) if name == "accuracy" else f"{deviation:.2g}"
        spread[name] = f"{_score(name, statistics.fmean(values))} ± {shown}"
    said = ", ".join(f"{_SCORES[name]} {text}" for name, text in spread.items())
    tested = runs[0][2]
    words = (
        f"{len(runs)} runs that differ in their seed, on {tested.y.size:,} test samples of {tested.data.name}: {said} (mean "
        "and standard deviation over the runs)."
    )
    head = ("run", *(_SCORES[name] for name in spread), "epochs", "seconds")
    table: list[tuple[Any, ...]] = [head]
    for (run, page, _, history), each in zip(runs, scores):
        last = history[-1] if history else {}
        table.append((
            Link(run.name, page), *(_score(name, each[name]) for name in spread), f"{last.get('epoch', 0):.6g}",
            f"{last.get('seconds', 0):,.1f}",
        ))  # fmt: skip
    sections = [Section("Every run", "Each leads to its own report.", table=table)]
    if not any({"test_accuracy", "test_rmse"} & row.keys() for *_, history in runs for row in history):  # of a table
        return words, sections
    curves = plots.curves_of_seeds([history for *_, history in runs])
    alt = f"Line chart of the test error of {len(runs)} runs against epochs. {words}"
    how = "How far the runs are apart while they learn."
    return words, [*sections, Section("Learning curves", how, "seeds", curves, alt)]


_SCORES = {"accuracy": "accuracy", "rmse": "RMSE", "mae": "MAE", "r2": "R²", "loss": "loss"}


def _score(name: str, value: float) -> str:
    return f"{value:.2%}" if name == "accuracy" else f"{value:.4g}"


def _write(target: Path, title: str, words: str, sections: list[Section], settings: dict[str, Any]) -> list[Path]:
    """Write the pictures, and the page with all of them, into ``target``; their paths."""
    from . import plots
    from .paths import atomic_write

    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {target}: cannot be made a directory ({error.strerror})") from None
    written = []
    for section in sections:
        if section.figure is not None:
            written.append(target / f"{section.name}.png")
            plots.write_png(section.figure, written[-1])
    page = _html(title, words, sections, settings)
    written.append(target / "report.html")
    try:
        with atomic_write(written[-1]) as file:
            file.write(page.encode())
    except OSError as error:
        raise RunError(f"{written[-1]}: cannot be written ({error.strerror or error})") from None
    return written


def _draw_run(
    run: Path, data: str | None, target: Path
) -> tuple[list[Path], Tested | TestedNumbers, list[dict[str, float]]]:
    """(the paths written, its test, its reports) of one run."""
    from .evaluate import load_to_test
    from .model import load_model
    from .table_model import TableModel

    path, directory = model_file(run), _directory_of(run)
    config, settings = _config(directory, data)
    metrics = directory / "metrics.jsonl"
    history = read_metrics(metrics)
    model = load_model(path)
    dataset = load_to_test(config, model, whole=data is not None, recorded=data is None)
    test = _test(model, dataset, path)
    inputs, columns = (_weights(model), []) if model.image_shape is not None else _importance(test, model)
    if isinstance(test, Tested):
        answers = [
            _confusion(test, model.classes), _confident_errors(test, model, config, columns), _recall(test, model.classes)
        ]  # fmt: skip
    else:
        answers = [
            _predicted_and_true(test), _residuals(test), _deciles(test), _largest_errors(test, model, config, columns)
        ]  # fmt: skip
    if isinstance(model, TableModel):
        sections = [_network_curves(_network_losses(metrics)), *answers, inputs, _columns(model)]
    else:
        sections = [_curves(history, config), *answers, inputs, *_distorted(config, dataset)]
    written = _write(target, directory.resolve().name, _summary(test, model, path, history), sections, settings)
    return written, test, history


def parser() -> Parser:
    made = Parser(
        "report",
        "Draw a training run, finished or not: PNG pictures and one HTML page, report.html. Prints their paths.",
        "python -m fastmlp.report runs/mnist",
    )
    made.add_argument(
        "run", metavar="DIR", help="the --out directory of fastmlp train, with or without --seeds, or the model in it"
    )
    made.add_argument("--data", metavar="SPEC", help="data to test on (default: the run's own)")
    made.add_argument("--out", metavar="DIR2", help="where to write (default DIR/report)")
    made.add_json()
    return made


@command("report")
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 failed, 2 bad input, 130 Ctrl-C."""
    options = parser().parse_args(argv)
    files = draw_report(options.run, data=options.data, out=options.out)
    print(json.dumps({"files": [*map(str, files)]}) if options.json else "\n".join(map(str, files)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
