"""The sections of a run's report: each has words, and a picture or a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ..config import TrainConfig
from ..data import Dataset, Frame, format_of
from ..evaluate import measured
from ..formats import TRAINING, Query
from ..models.model import Model
from ..models.target import central, scored
from ..paths import as_path
from ..tables.model import TableModel
from ..training.augment import distortion
from ..training.metrics import read_metrics, read_network_losses
from ..training.optimizers import learning_rates
from . import plots
from .importance import dependence, permutation_importance

_SHOWN = 20  # errors
_VALUES = 12  # features of each error
_LONGEST_VALUE = 40  # characters
_EXPLAINED = 5  # features whose effects are shown
_MOST_CLASSES = 6  # classes that they are shown on
_DECILES = 10


class Section(NamedTuple):
    """A part of the page: words with a picture, a table, or both."""

    title: str
    words: str
    name: str = ""  # of the picture's file, without .png
    figure: Figure | None = None
    alt: str = ""
    table: list[tuple[Any, ...]] | None = None  # the first row is its head


@dataclass(frozen=True)
class Tested:
    """A model on a test set: samples as it takes them, class indices or numbers y and predicted [N], and the scores.

    ``errors`` are rows, the worst first: of classes those that are wrong, by the ``probability`` [N] of the answer; of
    numbers all rows, by the size of the error.
    """

    data: Dataset
    X: Any
    y: np.ndarray
    predicted: np.ndarray
    errors: np.ndarray
    scores: dict[str, float]
    probability: np.ndarray | None = None  # of classes


def test_model(model: Model, data: Dataset, path: Path) -> Tested:
    """The model of the file ``path`` on the test set."""
    X, y, scores = measured(model, data, str(path), data.source)
    if model.target is not None:
        predicted = central(model.predict(X), model.target.kernel)
        return Tested(data, X, y, predicted, np.argsort(-np.abs(predicted - y), kind="stable"), scores)
    predicted = model.class_indices(X)
    probability = model.predict_proba(X)[np.arange(len(y)), predicted]
    wrong = np.flatnonzero(predicted != y)
    wrong = wrong[np.argsort(-probability[wrong], kind="stable")]
    return Tested(data, X, y, predicted, wrong, scores, probability)


def _curves(history: list[dict[str, float]], config: TrainConfig) -> Section:
    if not history:
        return Section("Learning curves", "No epoch has ended yet.")
    last, sentences = history[-1], []
    for name in ("train", "validation", "test"):
        losses, rates = (plots.series(history, f"{name}_{what}") for what in ("loss", "accuracy"))
        parts = [f"loss {losses[1][-1]:.3g}"] if losses[1].size else []
        if rates[1].size:
            error = 1 - rates[1][-1]
            parts.append(f"error rate {100 * error:{'.2g' if error < 0.1 else '.1f'}}{plots.PERCENT}")
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
    figure = plots.learning_curves(history, _rates(history, config), config.loss)
    return Section("Learning curves", words, "learning-curves", figure, alt)


def _rates(history: list[dict[str, float]], config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """(epochs, rates) of every step by the run's options; those of the reports where the options contradict them, as in
    a run that was made longer later.
    """
    reported = plots.series(history, "lr")
    steps = np.array([row["step"] for row in history if "lr" in row and "step" in row], np.int64)
    if len(steps) and len(steps) == len(reported[0]) and steps.min() >= 1:
        per_epoch, count = max(1, round(steps[-1] / reported[0][-1])), int(steps.max())
        if count <= (total := config.total_steps(per_epoch)):
            rates = learning_rates(config, 0, count, total, per_epoch)
            if np.allclose(rates[steps - 1], reported[1], rtol=1e-6, atol=0):
                return np.arange(1, count + 1) / per_epoch, rates
    return reported


def _confusion(test: Tested, names: tuple[str, ...]) -> Section:
    K, wrong = len(names), test.errors
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
    """(kind of place: row, line or file; the place of each of ``rows`` of the test set; a sentence about them)."""
    tested = data.tested
    if tested is None or (as_path(tested.path).is_dir() and tested.files is None):
        return "row", rows.tolist(), "Rows of the test set count from 0."
    path, stand = as_path(tested.path), tested.rows[rows].tolist()
    if tested.files is not None:
        return "file", [tested.files[row] for row in stand], f"Files are those in {path.name}."
    form = format_of(path, TRAINING)
    if not form.is_text:
        return "row", stand, f"Rows are those of {path.name}, counted from 0."
    label, weight = (None if column is None else str(column) for column in (config.label_column, config.weight_column))
    query = Query(label, weight, model.features)
    return "line", form.reader.lines(path, stand, query), f"Lines are those of {path.name}."


def _network_curves(losses: dict[int, list[float]]) -> Section:
    title = "Learning curves"
    if not losses:
        return Section(title, "No network is trained yet.")
    best = {network: values.index(min(values)) + 1 for network, values in losses.items()}
    words = (
        f"The loss of each of the {len(losses)} networks on the part of the training rows that it was not trained on; "
        "each was kept as it was after its lowest, which came after epoch "
        f"{min(best.values())} to {max(best.values())}."
    )
    figure = plots.network_curves(losses)
    return Section(title, words, "learning-curves", figure, f"Line chart, a line a network. {words}")


def _columns(model: TableModel) -> Section:
    """A table of the columns, their kinds and inputs."""
    table: list[tuple[Any, ...]] = [("column", "is", "inputs", "")]
    table += [(column.name, column.kind, f"{column.inputs:,}", column.about) for column in model.columns.columns]
    used = len(model.columns.used)
    words = f"What the {len(table) - 1:,} columns become: {model.columns.inputs:,} inputs, of {used:,} of them."
    return Section("Columns", words, table=table)


def _feature_names(model: Model) -> Sequence[str]:
    return model.columns or [f"feature {k + 1}" for k in range(model.network.sizes[0])]


def _predicted_and_true(test: Tested) -> Section:
    words = (
        f"{scored(test.scores['rmse'], test.scores['r2'])} on {len(test.y):,} test samples; on the line a prediction "
        "would be right. RMSE is the root of the mean squared error, in the unit of the numbers; R² is 1 where all is "
        "right, and 0 where the mean of the true numbers would do as well."
    )
    figure = plots.predicted_and_true(test.y, test.predicted)
    return Section("Predicted against true", words, "predicted", figure, f"Scatter plot. {words}")


def _residuals(test: Tested) -> Section:
    residuals = test.predicted - test.y
    half, most = np.quantile(np.abs(residuals), [0.5, 0.9]).tolist()
    words = (
        f"Predicted minus true. Half of the predictions are off by {half:.4g} at most, nine of ten by {most:.4g}; "
        f"on the mean they are {abs(residuals.mean()):.4g} too {'high' if residuals.mean() > 0 else 'low'}."
    )
    return Section("Residuals", words, "residuals", plots.residuals(residuals), f"Histogram. {words}")


def _deciles(test: Tested) -> Section:
    """The errors by tenths of the true numbers, in their order; of few samples by larger parts."""
    order = np.argsort(test.y, kind="stable")
    parts = np.array_split(order, min(_DECILES, -(-len(order) // _DECILES)))
    errors = np.array([np.sqrt(np.square(test.predicted[part] - test.y[part]).mean()) for part in parts])
    ranges = [f"{test.y[part[0]]:.4g} to {test.y[part[-1]]:.4g}" for part in parts]
    bias = [f"{(test.predicted[part] - test.y[part]).mean():.4g}" for part in parts]
    worst = int(errors.argmax())
    words = (
        f"The root mean squared error of each of {len(parts)} parts of the test samples, in the order of the true "
        f"numbers: it is largest, {errors[worst]:.4g}, for those from {ranges[worst]}. "
        "Where the features do not tell all, low numbers are predicted too high and high ones too low on the mean, "
        "however good the model is."
    )
    table: list[tuple[Any, ...]] = [("true number", "samples", "RMSE", "mean residual")]
    table += zip(ranges, [len(part) for part in parts], [f"{error:.4g}" for error in errors], bias)
    figure = plots.error_bars(ranges, errors)
    return Section("Error by true number", words, "deciles", figure, f"Bar chart. {words}", table)


def _largest_errors(test: Tested, model: Model, config: TrainConfig, columns: list[Any]) -> Section:
    rows = test.errors[:_SHOWN]
    place, places, said = _places(test.data, rows, config, model)
    table: list[tuple[Any, ...]] = [(place, "true", "predicted", "residual")]
    table += [
        (where, f"{y:.6g}", f"{p:.6g}", f"{p - y:.4g}")
        for where, y, p in zip(places, test.y[rows].tolist(), test.predicted[rows].tolist())
    ]
    table, which = _with_values(table, test.X, rows, model, columns)
    words = f"The {len(rows)} test samples that the model was furthest off on. {said}{which}"
    return Section("Largest errors", words, table=table)


def _with_values(
    table: list[tuple[Any, ...]], X: Any, rows: np.ndarray, model: Model, columns: list[Any]
) -> tuple[list[tuple[Any, ...]], str]:
    """(the table with values of the first few ``columns`` of X's rows, a sentence about them); images add nothing."""
    if not columns:
        return table, ""
    shown = columns[:_VALUES]
    head, *body = table
    if isinstance(X, Frame):
        values = [
            [plots.short(str(value), _LONGEST_VALUE) for value in X.columns[name][rows].tolist()] for name in shown
        ]
        table = [(*head, *shown), *((*row, *sample) for row, sample in zip(body, zip(*values)))]
    else:
        samples = X[rows].toarray() if hasattr(X, "indptr") else X[rows]
        features = _feature_names(model)
        table = [(*head, *(features[k] for k in shown))]
        table += [(*row, *(f"{value:.6g}" for value in sample[shown].tolist())) for row, sample in zip(body, samples)]
    which = "" if len(shown) == X.shape[1] else f"the {len(shown)} of {X.shape[1]:,} that matter most to the model, "
    return table, f" To the right are the values of the features: {which}the most important first."


def _confident_errors(test: Tested, model: Model, config: TrainConfig, columns: list[Any]) -> Section:
    title, rows = "Most confident errors", test.errors[:_SHOWN]
    if not rows.size:
        return Section(title, "Every test sample is classified correctly.")
    true, answers = ([model.classes[k] for k in part[rows]] for part in (test.y, test.predicted))
    assert test.probability is not None
    sure = [(">99.9" if p > 0.9995 else f"{100 * p:.1f}") + plots.PERCENT for p in test.probability[rows].tolist()]
    place, places, said = _places(test.data, rows, config, model)
    table: list[tuple[Any, ...]] = [(place, "true class", "predicted", "probability")]
    table += zip(places, true, answers, sure)
    of = f"{len(rows)} of {test.errors.size:,}" if len(rows) < test.errors.size else f"All {len(rows)}"
    words = (
        f"{of} misclassified test samples, those first where the model gave the wrong class "
        f"the highest probability. {said}"
    )
    table, which = _with_values(table, test.X, rows, model, columns)
    words += which
    if model.image_shape is None or hasattr(test.X, "indptr"):
        return Section(title, words, table=table)
    names = [(plots.short(t, 11), plots.short(p, 11)) for t, p in zip(true, answers)]
    joint = " → " if max(len(t) + len(p) for t, p in names) <= 8 else " →\n"
    titles = [f"{t}{joint}{p}\n{s}" for (t, p), s in zip(names, sure)]
    figure = plots.contact_sheet(_pixels(test.X[rows]).reshape(-1, *model.image_shape), titles)
    alt = "Images with true class, predicted class and its probability: " + "; ".join(
        f"{t} as {p}, {s}" for t, p, s in zip(true, answers, sure)
    )
    words += " Over each image: true class → predicted class, and the probability that the model gave it."
    return Section(title, words, "confident-errors", figure, alt, table)


def _pixels(X: np.ndarray) -> np.ndarray:
    """X as uint8, scaled from its range if it is not uint8."""
    if X.dtype == np.uint8:
        return X
    low, high = float(X.min()), float(X.max())
    return np.round(255 * ((X - low) / (high - low or 1))).astype(np.uint8)


def _recall(test: Tested, names: tuple[str, ...]) -> Section:
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


def _ranking(test: Tested, names: tuple[str, ...]) -> list[Section]:
    """Of two classes: the test samples by the probability of the second, in tenths; of few samples in larger parts."""
    if len(names) != 2 or test.probability is None or not test.y.any():
        return []
    chance = np.where(test.predicted == 1, test.probability, 1 - test.probability)
    parts = np.array_split(np.argsort(-chance, kind="stable"), min(_DECILES, -(-len(chance) // _DECILES)))
    found, (name, total) = [int(test.y[part].sum()) for part in parts], (plots.short(names[1], 20), int(test.y.sum()))
    words = (
        f"The test samples by P({name}), the probability that the model gives to {name}, in {len(parts)} parts, "
        f"the highest first. Of the first part {plots.percent(found[0], len(parts[0]))} are {name} ({found[0]:,} of "
        f"all {total:,}), of all samples {plots.percent(total, len(chance))}. Where the mean of P({name}) is far from "
        f"the share that is {name}, trust the order of the samples, not the probability."
    )
    table: list[tuple[Any, ...]] = [(f"P({name}) from", "mean", "samples", f"are {name}", "so far")]
    for part, here, so_far in zip(parts, found, np.cumsum(found).tolist()):
        least, mean = (f"{100 * value:.1f}{plots.PERCENT}" for value in (chance[part[-1]], chance[part].mean()))
        table.append((least, mean, len(part), f"{here:,} ({plots.percent(here, len(part))})", f"{so_far:,}"))
    return [Section("Ranking", words, table=table)]


def _distorted(config: TrainConfig, data: Dataset) -> list[Section]:
    """The first training images, and distorted copies of them."""
    distort = distortion(config, data)
    if distort is None or data.image_shape is None or not isinstance(data.X, np.ndarray):
        return []
    rows = np.arange(min(plots.SHEET_COLUMNS, len(data.X)))
    images = np.concatenate([data.X[rows], *(distort(data.X, rows, epoch=epoch) for epoch in range(4))])
    words = f"Training images, and what --augment {config.augment} makes of them in the first four epochs."
    figure = plots.contact_sheet(images.reshape(-1, *data.image_shape))
    return [Section("Augmentation", words, "augmentation", figure, words)]


def _weights(model: Model) -> Section:
    assert model.image_shape is not None
    W, _ = model.network.layers[0]
    units = W.shape[1]
    kind = "output" if len(model.network.layers) == 1 else "hidden"
    shown = f"all {units:,}" if units <= plots.MOST_UNITS else f"the {plots.MOST_UNITS} largest of {units:,}"
    words = f"Each image has the weights from the pixels to one of the {kind} units: {shown}, by their norm."
    figure = plots.weight_images(W, model.image_shape)
    alt = f"{words} Blue is negative, white 0, orange positive."
    return Section("First-layer weights", words, "weights", figure, alt)


def _importance(test: Tested, model: Model) -> tuple[Section, list[Any]]:
    """(the section, the columns in the order of their importance)."""
    found = permutation_importance(model, test.X, test.y)
    order, inputs = np.argsort(-found.rise, kind="stable"), model.features.width
    words = (
        f"How much the mean loss, {found.loss:.3g}, rises when the values of one feature are shuffled among the test "
        "samples (2,000 of them at most), so that they say nothing about them: the mean of five shuffles ± the "
        "standard deviation. Where two features say the same, each alone matters little."
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


def _effects(test: Tested, model: TableModel, columns: list[Any]) -> Section:
    """What the first few of the columns, the most important first, do to the predictions."""
    names, columns = model.classes, columns[:_EXPLAINED]
    told = range(1, 2) if len(names) == 2 else range(min(len(names), _MOST_CLASSES))
    head = [f"mean P({plots.short(names[k], _LONGEST_VALUE)})" for k in told] or ["mean prediction"]
    table: list[tuple[Any, ...]] = [("feature", "value", *head)]
    last = None
    for name, value, mean in dependence(model, test.X, columns):
        shown = [f"{100 * mean[k]:.1f}{plots.PERCENT}" for k in told] or [f"{mean:.4g}"]
        table.append(("" if name == last else name, plots.short(value, _LONGEST_VALUE), *shown))
        last = name
    words = (
        "What the model predicts on the mean if all test samples (500 of them at most) had this value of the feature, "
        f"and kept their others. Of the {len(columns)} features that matter most the commonest values are shown, or "
        "five quantiles of numbers and dates, and no value where some samples have none. An effect on the "
        "prediction need not be a cause."
    )
    return Section("Effects of the features", words, table=table)


def sections_of(model: Model, test: Tested, config: TrainConfig, data: Dataset, metrics: Path) -> list[Section]:
    """The sections of a run: how it learnt, what it predicts, what its inputs do."""
    inputs, columns = (_weights(model), []) if model.image_shape is not None else _importance(test, model)
    if test.probability is not None:
        answers = [
            _confusion(test, model.classes), _confident_errors(test, model, config, columns),
            _recall(test, model.classes), *_ranking(test, model.classes),
        ]  # fmt: skip
    else:
        answers = [
            _predicted_and_true(test), _residuals(test), _deciles(test), _largest_errors(test, model, config, columns)
        ]  # fmt: skip
    if isinstance(model, TableModel):
        curves = _network_curves(read_network_losses(metrics))
        return [*answers, inputs, _effects(test, model, columns), _columns(model), curves]
    return [_curves(read_metrics(metrics), config), *answers, inputs, *_distorted(config, data)]
