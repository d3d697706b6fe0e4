"""The pictures of a run: functions from arrays to Matplotlib figures in one style. Importing this needs Matplotlib.

Figures are as wide as a telephone's screen (5 inches, 360 points), so that their letters can be read there. Names of
classes and features may be any text; long ones are cut.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ..paths import atomic_write, writing

# svg() replaces these three by the colours of the page's theme.
_INK, _MUTED, _GRID = "#24292f", "#656d76", "#d0d7de"
# Okabe and Ito 2008: told apart with every kind of colour vision.
_BLUE, _GREEN, _VERMILLION = "#0072b2", "#009e73", "#d55e00"

_CSS_PIXELS = 112  # for an inch, so that letters are as large as the page's text
PERCENT = "\N{NARROW NO-BREAK SPACE}%"

STYLE: Any = {
    "figure.dpi": 200,
    "figure.figsize": (5, 5),
    "font.size": 10.5,
    "text.color": _INK,
    "text.parse_math": False,  # a class may be called $5
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "image.interpolation": "none",
    "svg.hashsalt": "fastmlp",  # the same picture is the same file
}
_SERIES = {  # by colour, mark and dash, so that grey prints can be read too
    "train": {"color": _BLUE, "marker": "", "linestyle": "--"},
    "validation": {"color": _GREEN, "marker": "s", "linestyle": "-"},
    "test": {"color": _VERMILLION, "marker": "o", "linestyle": "-"},
}
_ERRORS = LinearSegmentedColormap.from_list("errors", ["#fbe3d0", "#f0a06a", _VERMILLION, "#8f3b00"])
_SIGNED = LinearSegmentedColormap.from_list("signed", ["#004a75", _BLUE, "#ffffff", _VERMILLION, "#8f3b00"])

_MOST_POINTS = 5000
MOST_NUMBERED = 30  # classes of a confusion matrix with numbers in its cells
MOST_CLASSES = 60  # of any confusion matrix: with more, names would be too small to read
MOST_BARS = 40
MOST_FEATURES = 20
MOST_UNITS = 64
SHEET_COLUMNS = 8  # images in a row


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """The style of figures that are made or drawn inside, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the page has the name in full
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


@_style()
def write_png(figure: Figure, path: Path) -> None:
    """Write the picture on white. RunError when it cannot be written."""
    with writing(path), atomic_write(path) as file:
        figure.savefig(file, format="png", metadata={"Software": None})


@_style()
def svg(figure: Figure) -> str:
    """An <svg> element for an HTML page, in the page's text colour and its custom properties --muted and --grid."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # ids must be unique in a page of several pictures
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    width = round(figure.get_figwidth() * _CSS_PIXELS)
    # The picture shrinks to the width of the screen, but not below half its size: then it is scrolled.
    size = f'width="{width}" style="min-width: {width // 2}px"'
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', rf'<svg {size} viewBox="\1">', text, count=1)
    for colour, themed in ((_INK, "currentColor"), (_MUTED, "var(--muted)"), (_GRID, "var(--grid)")):
        text = text.replace(colour, themed)
    return text


def percent(part: int, whole: int) -> str:
    """The share in percent, with decimals by the size of ``whole``; 100 % is shown for all samples only."""
    decimals = 2 if whole >= 5000 else 1 if whole >= 200 else 0
    text = f"{100 * part / whole:.{decimals}f}"
    if part < whole and float(text) == 100:
        text = f">{100 - 10**-decimals:.{decimals}f}"
    return f"{text}{PERCENT}"


def short(name: str, most: int) -> str:
    """``name`` on one line of at most ``most`` characters."""
    name = " ".join(name.split())
    end = most // 3  # names often differ in their last letters only
    return name if len(name) <= most else f"{name[: most - end - 1]}…{name[-end:]}"


# -- parts ----------------------------------------------------------------------------------------------------------


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high > 0, two to eight of them where high >= 5 low."""
    decades = math.log10(high / low)
    digits = (1, 2, 5) if decades < 1.7 else (1, 3) if decades < 2.7 else (1,)
    every = math.ceil(decades / 7)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1, every)
    return [tick for power in powers for digit in digits if low <= (tick := float(f"{digit}e{power}")) <= high]


def _numbers(unit: str, digits: int) -> FuncFormatter:
    return FuncFormatter(lambda value, _: f"{100 * value:.{digits}g}{PERCENT}" if unit else f"{value:.{digits}g}")


def _magnitudes(ax: Axes, values: np.ndarray, unit: str = "") -> None:
    """Set the y axis of values >= 0 in ``unit`` (% or none): logarithmic for a wide span, with room for zeros below."""
    positive = values[values > values.max(initial=0) * 1e-9]  # smaller values count as zeros
    if positive.size and positive.max() >= 4 * positive.min():
        low, high = positive.min() / 1.15, positive.max() * 1.15
        ticks = _ticks(low, high)
        if positive.size == values.size:
            ax.set_yscale("log")
            ax.set_ylim(low, high)
        else:
            ax.set_yscale("symlog", linthresh=low, linscale=0.3)
            ax.set_ylim(0, high)
            ticks = [0.0, *ticks]
        ax.yaxis.set_major_locator(FixedLocator(ticks))
        ax.yaxis.set_minor_locator(NullLocator())
    else:
        ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_formatter(_numbers(unit, 6))


def _panel(height: float, x: str, y: str = "", grid: Any = "y", title: str = "") -> tuple[Figure, Axes]:
    """A figure of one panel with the axes' labels, a title and lines across."""
    figure = Figure(layout="constrained", figsize=(5, height))
    ax = figure.subplots()
    ax.set(xlabel=x, ylabel=y, title=title)
    ax.grid(axis=grid)
    return figure, ax


def _bare(ax: Axes) -> None:
    """No spines, no tick marks."""
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


# -- pictures ------------------------------------------------------------------------------------------------------


def series(history: Sequence[Mapping[str, float]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """(epochs, values) of a quantity, from the reports that have it."""
    points = [(row["epoch"], row[name]) for row in history if name in row]
    return np.array([epoch for epoch, _ in points]), np.array([value for _, value in points])


@_style()
def network_curves(losses: Mapping[int, Sequence[float]]) -> Figure:
    """The losses of several networks against epochs, with the lowest of each marked."""
    figure, ax = _panel(3.2, "epoch", title="Loss on the network's held-out rows")
    for values in losses.values():
        best = min(range(len(values)), key=lambda k: values[k])
        (line,) = ax.plot(range(1, len(values) + 1), values, linewidth=1, clip_on=False)
        ax.plot([best + 1], [values[best]], marker="o", markersize=4, color=line.get_color(), clip_on=False, zorder=4)
    _magnitudes(ax, np.concatenate([np.asarray(values) for values in losses.values()]), "")
    ax.margins(x=0.02)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    return figure


@_style()
def learning_curves(
    history: Sequence[Mapping[str, float]], rates: tuple[np.ndarray, np.ndarray] | None = None, loss: str | None = None
) -> Figure:
    """Loss and error rate, or RMSE, of train, validation and test against epochs, and below them the learning rate.

    ``history`` has a mapping for each report: epoch and, if measured, train_loss, test_accuracy, lr, ... ``rates`` are
    (epochs, rates), by default those of the reports. ``loss`` is the name of the minimised loss.
    """
    rates = series(history, "lr") if rates is None else rates
    rows = 3 if rates[0].size else 2
    figure = Figure(layout="constrained", figsize=(5, 6 if rows == 3 else 4.9))
    axes = figure.subplots(rows, 1, sharex=True, height_ratios=[3, 3, 1.2][:rows])
    numbers = any("test_rmse" in row or "validation_rmse" in row for row in history)
    drawn_below = ("rmse", "RMSE") if numbers else ("accuracy", "Error rate")
    minimised = loss or ("" if numbers else "mean cross-entropy, nats")
    for ax, (what, title) in zip(axes, (("loss", f"Loss ({minimised})" if minimised else "Loss"), drawn_below)):
        drawn = [np.zeros(0)]
        for name, look in _SERIES.items():
            epochs, values = series(history, f"{name}_{what}")
            if not epochs.size:
                continue
            values = 1 - values if what == "accuracy" else values
            few = epochs.size <= 30
            style = {**look, "marker": (look["marker"] or ("." if epochs.size == 1 else "")) if few else ""}
            ax.plot(epochs, values, label=name, clip_on=False, zorder=3, **style)
            drawn.append(values)
        _magnitudes(ax, np.concatenate(drawn), "%" if what == "accuracy" else "")
        ax.set_title(title)
        ax.grid(axis="y")
    if rows == 3:
        axes[2].plot(*rates, color=_INK, linewidth=1.2, marker="." if rates[0].size == 1 else "", clip_on=False)
        axes[2].set_title("Learning rate")
        axes[2].set_ylim(0, float(rates[1].max()) or 1)
        axes[2].set_yticks([0, axes[2].get_ylim()[1] / 2, axes[2].get_ylim()[1]])
        axes[2].grid(axis="y")
        axes[2].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
    axes[-1].set_xlabel("epoch")
    axes[-1].margins(x=0.02)
    axes[-1].xaxis.set_major_locator(MaxNLocator(8, integer=history[-1]["epoch"] >= 2))
    lines = {line.get_label(): line for ax in axes[:2] for line in ax.lines}
    figure.legend([*lines.values()], [*lines], loc="outside upper left", ncols=3, handlelength=2.2, borderpad=0.3)
    return figure


@_style()
def curves_of_seeds(histories: Sequence[Sequence[Mapping[str, float]]]) -> Figure:
    """The test error rate, or RMSE, against epochs: a thin line for each run with some, and the mean where all have."""
    numbers = any("test_rmse" in row for history in histories for row in history)
    what, title = ("rmse", "RMSE") if numbers else ("accuracy", "Error rate")
    figure, ax = _panel(3.2, "epoch", title=f"{title} on the test set")
    curves = [series(history, f"test_{what}") for history in histories]
    curves = [(epochs, values if numbers else 1 - values) for epochs, values in curves if epochs.size]
    for k, (epochs, values) in enumerate(curves):
        look: dict[str, Any] = {"color": _BLUE, "linewidth": 1, "alpha": 0.6, "label": None if k else "one run"}
        ax.plot(epochs, values, marker="." if epochs.size == 1 else "", **look)
    shared = min(epochs.size for epochs, _ in curves)
    if all((epochs[:shared] == curves[0][0][:shared]).all() for epochs, _ in curves):
        mean = np.mean([values[:shared] for _, values in curves], axis=0)
        ax.plot(curves[0][0][:shared], mean, color=_VERMILLION, label="mean", marker="o" if shared == 1 else "")
    _magnitudes(ax, np.concatenate([values for _, values in curves]), "" if numbers else "%")
    ax.legend(loc="best")
    return figure


@_style()
def confusion_figure(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """The matrix counts [true, predicted] of ``names``: errors coloured, correct counts in grey digits."""
    K = len(names)
    errors = np.where(np.eye(K, dtype=bool), 0, counts)
    most = max(1, int(errors.max(initial=0)))
    labels = [short(name, 14) for name in names]
    room = 0.4 + 0.075 * max(map(len, labels))  # inches, for the names
    side = room + float(np.clip(0.42 * K, 2, 8))
    figure = Figure(layout="constrained", figsize=(side, side))
    ax = figure.subplots()
    _bare(ax)
    cell = 72 * (side - room) / K  # points
    image = ax.imshow(np.ma.masked_equal(errors, 0), cmap=_ERRORS, norm=PowerNorm(0.7, 0, most))
    size = min(10.5, 0.75 * cell)
    turned = 0.65 * size * max(map(len, labels)) > cell
    ax.set_xticks(range(K), labels, fontsize=size, rotation=90 if turned else 0)
    ax.set_yticks(range(K), labels, fontsize=size)
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.tick_params(colors=_INK)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    for line in np.arange(K + 1) - 0.5:
        ax.axhline(line, color=_GRID, linewidth=0.6, zorder=0)
        ax.axvline(line, color=_GRID, linewidth=0.6, zorder=0)
    if K > MOST_NUMBERED:
        ax.plot(np.arange(K), np.arange(K), "s", color=_GRID, markersize=0.5 * cell, zorder=1)
        bar = figure.colorbar(image, ax=ax, orientation="horizontal", shrink=0.5, aspect=40, pad=0.02)
        bar.outline.set_visible(False)
        bar.locator = MaxNLocator(5, integer=True)
        bar.set_label("samples misclassified")
        return figure
    for true, predicted in np.argwhere(counts > 0):
        count, right = int(counts[true, predicted]), true == predicted
        colour = _MUTED if right else "white" if count > 0.66 * most else "black"
        size = min(10.5, cell / (0.7 * len(str(count)) + 0.3))
        ax.text(predicted, true, str(count), color=colour, ha="center", va="center", fontsize=size)
    return figure


def _sheet(images: np.ndarray, columns: int, titles: Sequence[str] | None, foot: float = 0, **look: Any) -> Figure:
    """Images [n >= 1, h, w] in rows of ``columns``, with ``titles`` above each and ``foot`` inches free below all."""
    n, h, w = images.shape
    gap, edge = 0.08, 0.03  # inches, as all lengths here
    width = (5 - 2 * edge - gap * (columns - 1)) / columns
    height = width * h / w
    caption = max(0.08 + 0.17 * len(title.splitlines()) for title in titles) if titles else 0.0
    columns = min(n, columns)
    across = 5 if foot else columns * (width + gap) - gap + 2 * edge
    down = -(-n // columns) * (height + gap + caption) - gap + 2 * edge + foot
    figure = Figure(figsize=(across, down))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    for k, image in enumerate(images):
        left, top = k % columns * (width + gap), k // columns * (height + gap + caption) + caption
        ax.imshow(image, extent=(left, left + width, top + height, top), **look)
        ax.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=_GRID, linewidth=0.6))
        if titles:
            ax.text(left, top - 0.05, titles[k], va="bottom", linespacing=1.15, fontsize=9.5)
    ax.set(xlim=(-edge, across - edge), ylim=(down - edge, -edge), aspect="auto")
    return figure


@_style()
def contact_sheet(images: np.ndarray, titles: Sequence[str] | None = None) -> Figure:
    """Grey images [n >= 1, h, w] uint8 in rows of five with ``titles`` of one to three lines, else of SHEET_COLUMNS.

    If most pixels are 0, they are paper and drawn white; otherwise 0 is black.
    """
    paper = np.median(images) == 0
    return _sheet(images, 5 if titles else SHEET_COLUMNS, titles, cmap="gray_r" if paper else "gray", vmin=0, vmax=255)


@_style()
def weight_images(W: np.ndarray, image_shape: tuple[int, int]) -> Figure:
    """The columns of W [inputs, units] with the largest norms as images, on one scale with white at 0."""
    largest = np.argsort(-np.linalg.norm(W, axis=0), kind="stable")[:MOST_UNITS]
    images = W[:, largest].T.reshape(-1, *image_shape)
    most = float(np.quantile(np.abs(images), 0.995)) or 1.0  # a few outliers would leave all others pale
    figure = _sheet(images, SHEET_COLUMNS, None, foot=0.62, cmap=_SIGNED, vmin=-most, vmax=most)
    height = figure.get_figheight()
    scale = figure.add_axes((0.2, 0.44 / height, 0.6, 0.1 / height))
    bar = figure.colorbar(figure.axes[0].images[0], cax=scale, orientation="horizontal", ticks=[-most, 0, most])
    bar.ax.set_xticklabels([f"≤ −{most:.2g}", "0", f"≥ {most:.2g}"])
    bar.set_label("weight", labelpad=1)
    bar.outline.set_visible(False)
    return figure


def _bars(
    names: Sequence[str], lengths: np.ndarray, labels: Sequence[str], heads: tuple[str, str], colour: str,
    unit: str = "", deviations: np.ndarray | None = None,
) -> Figure:  # fmt: skip
    """Horizontal bars, names to the left, ``labels`` to the right, ``heads`` above both, on a scale in ``unit`` (% or
    none). Thin lines show the ``deviations`` of the bars' ends.
    """
    figure, ax = _panel(0.7 + 0.25 * len(names), "", grid="x", title=heads[0])
    rows = np.arange(len(names))
    ends = lengths if deviations is None else lengths + deviations
    ax.barh(rows, lengths, height=0.68, color=colour)
    if deviations is not None:
        ax.hlines(rows, np.maximum(lengths - deviations, 0), ends, color=_INK, linewidth=0.8)
    ax.set_xlim(0, float(ends.max()) or 1)
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(_numbers(unit, 4))
    right = ax.twinx()
    right.set_title(heads[1], loc="right", ha="left")
    for side, texts in ((ax, [short(name, 24) for name in names]), (right, labels)):
        _bare(side)
        side.set_ylim(len(names) - 0.5, -0.5)
        side.set_yticks(rows, texts)
        side.tick_params(axis="y", colors=_INK)
    return figure


@_style()
def predicted_and_true(y: np.ndarray, predicted: np.ndarray) -> Figure:
    """Predicted against true numbers y [N], evenly spaced ones of many, and the line where they are equal."""
    figure, ax = _panel(5, "true", "predicted", "both")
    chosen = np.linspace(0, len(y) - 1, min(len(y), _MOST_POINTS)).astype(np.int64)
    ends = [float(min(y.min(), predicted.min())), float(max(y.max(), predicted.max()))]
    ax.plot(ends, ends, color=_MUTED, linewidth=1)
    ax.scatter(y[chosen], predicted[chosen], s=9, color=_BLUE, alpha=0.5, linewidths=0, zorder=3, rasterized=True)
    return figure


@_style()
def residuals(values: np.ndarray) -> Figure:
    """A histogram of predicted minus true numbers, clipped at the quantiles 0.001 and 0.999."""
    figure, ax = _panel(3, "predicted - true", "samples")
    low, high = np.quantile(values, [0.001, 0.999])
    ax.hist(np.clip(values, low, high), bins=min(60, max(8, round(len(values) ** 0.5))), color=_BLUE)
    ax.axvline(0, color=_INK, linewidth=1)
    return figure


@_style()
def error_bars(names: Sequence[str], errors: np.ndarray) -> Figure:
    """A bar for each root mean squared error, in the order of ``names``."""
    labels = [f"{error:.4g}" for error in errors]
    return _bars(names, errors, labels, ("RMSE, by the true number", ""), _VERMILLION)


@_style()
def recall_bars(names: Sequence[str], found: np.ndarray, total: np.ndarray) -> Figure:
    """Bars of the share that was missed, with the recall ``found`` / ``total`` of each class, the lowest first.

    Bars of high recalls would all look alike. Every total is at least 1.
    """
    worst = np.argsort(found / total, kind="stable")[:MOST_BARS]
    labels = [f"{percent(found[k], total[k])}   {total[k] - found[k]:,} of {total[k]:,} missed" for k in worst]
    return _bars(
        [names[k] for k in worst], 1 - found[worst] / total[worst], labels, ("share missed", "recall"), _VERMILLION, "%"
    )


@_style()
def importance_bars(names: Sequence[str], rises: np.ndarray, deviations: np.ndarray) -> Figure:
    """Bars of the first MOST_FEATURES ``rises``; the bar of a negative one has length 0."""
    names, rises, deviations = names[:MOST_FEATURES], rises[:MOST_FEATURES], deviations[:MOST_FEATURES]
    decimals = max(0, 2 - math.floor(math.log10(float(np.abs(rises).max()) or 1)))  # three digits of the largest
    rounded = np.round(rises, decimals) + 0.0  # there is no -0.00
    labels = [f"{rise:.{decimals}f} ± {deviation:.{decimals}f}" for rise, deviation in zip(rounded, deviations)]
    return _bars(names, np.maximum(rises, 0), labels, ("rise of the loss", ""), _BLUE, deviations=deviations)


@_style()
def lr_range_figure(rates: np.ndarray, losses: np.ndarray, suggestion: float) -> Figure:
    """The smoothed loss of a learning rate range test, which falls somewhere, against the rate > 0, with the suggested
    rate marked. What lies far above the first tenth, where the test diverged, is cut off.
    """
    figure, ax = _panel(3.4, "learning rate", "training loss, smoothed")
    low, first = losses.min(), losses[: max(1, losses.size // 10)].max()
    ax.plot(rates, np.minimum(losses, 10 * abs(first)), color=_BLUE)
    ax.set_ylim(low - 0.1 * (first - low), first + 0.25 * (first - low))
    ax.set_xscale("log")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("e-0", "e-")))
    ax.axvline(suggestion, color=_VERMILLION, linestyle="--", linewidth=1.2)
    ax.annotate(
        f"suggested {suggestion:.2g}", (suggestion, 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
        textcoords="offset points", ha="center", color=_VERMILLION,
    )  # fmt: skip
    return figure
