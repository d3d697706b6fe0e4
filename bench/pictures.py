"""Draws the README's pictures from a file that ``fastmlp bench --json`` recorded.

python bench/pictures.py [RESULT.json]

writes step.png, which the first page shows, training.png, accuracy.png and roofline.png into the directory of that file
(default bench/results/result.json), and there tables.png, of what bench/tables.py recorded.
"""

import io
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from PIL import Image

import tables
from claims import OURS, Sample, in_unit
from pages import PEERS, Result, on_every_table, over_the_best, where, works

RESULT = Path(__file__).with_name("results") / "result.json"
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#a3a3a3"
# Inches: of a picture opened by itself, and of one on a page, whose letters must stay legible on a telephone.
WIDTH, NARROW = 8.0, 3.6
DOTS = 1200  # a picture's width in pixels
BAR = 0.27  # inches a row
HALF = 0.36  # the thickness of one of two bars, in rows
COLORS = 32  # in the file: three, and their shades at edges


def by_work(result: Result, claim: str) -> dict[str, list[Sample]]:
    """The samples of a claim by work, each sorted from the fastest."""
    works: dict[str, list[Sample]] = {}
    for sample in result["samples"]:
        if sample["claim"] == claim:
            works.setdefault(sample["work"], []).append(sample)
    return {work: sorted(samples, key=lambda s: s["median"]) for work, samples in works.items()}


def bars(ax: Axes, samples: list[Sample], title: str = "", room: float = 1.42, ours: str = OURS) -> None:
    """A bar per sample with a line for its quartiles, its time and ratio to ours; the axis is ``room`` bars wide."""
    least = next(sample["median"] for sample in samples if sample["peer"] == ours)
    medians = np.array([sample["median"] for sample in samples])
    rows = np.arange(len(samples))
    colors = [BLUE if sample["peer"] == ours else GREY for sample in samples]
    ax.barh(rows, medians, 0.72, color=colors)
    ends = np.array([(sample["q1"], sample["q3"]) for sample in samples]).T
    ax.hlines(rows, *ends, color="black", linewidth=1.2)
    widest = max(ends[1].max(), medians.max())
    for row, sample in enumerate(samples):
        text = in_unit(sample["median"], sample["unit"])
        if sample["peer"] != ours:
            ratio = sample["median"] / least
            text += f"  ({ratio:.1f}×)" if ratio < 100 else f"  ({ratio:.0f}×)"
        ax.text(max(sample["q3"], sample["median"]) + 0.02 * widest, row, text, va="center", fontsize=8)
    ax.set_yticks(rows, [sample["peer"] for sample in samples], fontsize=8)
    for label, sample in zip(ax.get_yticklabels(), samples):
        label.set_fontweight("bold" if sample["peer"] == ours else "normal")
    ax.set(xlim=(0, room * widest), xticks=[])
    ax.set_title(title, fontsize=9, loc="left")
    ax.tick_params(length=0)
    ax.spines[["top", "right", "bottom"]].set_visible(False)


def longest(works: dict[str, list[Sample]]) -> list[int]:
    """The most bars of a panel in each row of two panels."""
    counts = [len(samples) for samples in works.values()]
    return [max(counts[k : k + 2]) for k in range(0, len(counts), 2)]


def panels(result: Result, figure: FigureBase, claim: str, title: str) -> None:
    """A panel of bars for each work of a claim, each with its own scale."""
    works = by_work(result, claim)
    most = longest(works)
    axes = figure.subplots(len(most), 2, squeeze=False, height_ratios=most).ravel()
    for k, (work, samples) in enumerate(works.items()):
        bars(axes[k], samples, work.replace(", ", "\n", 1))
        axes[k].set_ylim(most[k // 2] - 0.5, -0.5)  # equally thick bars in both panels of a row
    for ax in axes[len(works) :]:
        ax.remove()
    figure.suptitle(f"{title}: less is better ({where(result)})", fontsize=11, x=0.01, ha="left", fontweight="bold")


def narrow(samples: list[Sample], title: str, below: str, ours: str = OURS) -> Figure:
    """A picture of one panel of bars, the first on top, for a page."""
    figure = Figure(figsize=(NARROW, 0.8 + BAR * len(samples)), layout="constrained", facecolor="white")
    ax = figure.subplots()
    bars(ax, samples, room=1.9, ours=ours)
    ax.invert_yaxis()
    figure.suptitle(title, fontsize=10, x=0.01, ha="left", fontweight="bold")
    figure.supxlabel(below, fontsize=8)
    return figure


def step(result: Result) -> Figure:
    """The first training work, with the fastest form of each library."""
    (_, work), fastest = next((work, row) for work, row in works(result).items() if work[0] == "training")
    samples = [sample | {"peer": name} for name, sample in fastest.items() if name in (OURS, *PEERS)]
    samples.sort(key=lambda sample: sample["median"])
    return narrow(samples, "One training step: less is better", f"{work}\n{where(result)}")


def roofline(result: Result, figure: FigureBase) -> None:
    """GFLOP/s against floating-point operations a byte, under the measured peak and bandwidth."""
    (samples,) = by_work(result, "roofline").values()
    (work,) = by_work(result, "roofline")
    peak, bandwidth = result["machine"]["peak_gflops"], result["machine"]["bandwidth_gbs"]
    ax = figure.subplots()
    intensity = np.geomspace(0.05, 400, 200)
    ax.loglog(intensity, np.minimum(peak, bandwidth * intensity), color=GREY, linewidth=2, zorder=1)
    ax.text(400, 1.06 * peak, f"peak {peak:.0f} GFLOP/s", ha="right", va="bottom", fontsize=8)
    knee = peak / bandwidth
    at = (knee / 3, peak / 3)
    ax.annotate(f"memory {bandwidth:.0f} GB/s", at, (-6, 4), textcoords="offset points", ha="right", fontsize=8)
    for kind, color, offset in (
        ("forward", BLUE, (0, -14)),
        ("backward and update", ORANGE, (0, 7)),
        ("", "black", (-9, -3)),
    ):
        chosen = [s for s in samples if s["peer"].partition(", ")[0] == kind or (not kind and ", " not in s["peer"])]
        points = [(sample["flop_per_byte"], sample["gflops"]) for sample in chosen]
        ax.plot(*zip(*points), "o", color=color, markersize=6, label=kind)
        for sample, point in zip(chosen, points):
            name = sample["peer"].rpartition(", ")[2]
            across = "center" if kind else "right"
            ax.annotate(name, point, offset, textcoords="offset points", fontsize=8, color=color, ha=across)
    ax.legend(handles=ax.lines[1:3], fontsize=8, frameon=False, loc="lower right")
    ax.set_xlabel("floating-point operations a byte of memory", fontsize=9)
    ax.set_ylabel("GFLOP/s", fontsize=9)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")
    ax.set_xlim(0.05, 400)
    ax.tick_params(labelsize=8)
    ax.grid(alpha=0.25, linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)
    title = f"Our kernels on a layer of {work} ({where(result)})"
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", fontweight="bold")


def of_tables() -> Figure:
    """A panel for each measure with two bars a method: on tables that no default was chosen on, and, paler, others."""
    methods, _, means = on_every_table()
    figure = Figure(figsize=(NARROW, 6.0), layout="constrained", facecolor="white")
    axes = figure.subplots(len(tables.MEASURES), 1)
    for ax, (measure, title) in zip(axes, tables.MEASURES.items()):
        groups = [
            {name: row for name, row in means.get(measure, {}).items() if (name in tables.CHOSEN_ON) == chosen}
            for chosen in (False, True)
        ]
        widest = max(value for rows in groups for value in over_the_best([*rows.values()]))
        for rows, offset, alpha in zip(groups, (-HALF / 2, HALF / 2), (1.0, 0.45)):
            for at, (method, value) in enumerate(zip(methods, over_the_best([*rows.values()]))):
                ours = method == "fastmlp"
                ax.barh(at + offset, value - 1, HALF, left=1, color=BLUE if ours else GREY, alpha=alpha, linewidth=0)
                ax.text(value + 0.02 * (widest - 1), at + offset, f"{value:.2f}", va="center", fontsize=7)
        ax.axvline(1, color="black", linewidth=0.8)
        ax.set(xlim=(1, 1 + 1.2 * (widest - 1)), xticks=[], ylim=(len(methods) - 0.5, -0.5))
        ax.set_title(title, fontsize=9, loc="left")
        ax.set_yticks(range(len(methods)), [method.replace("_", " ") for method in methods], fontsize=8)
        ax.tick_params(length=0)
        ax.spines[["top", "right", "bottom", "left"]].set_visible(False)
        ax.get_yticklabels()[methods.index("fastmlp")].set_fontweight("bold")
    title = "How many times the best method's:\ngeometric mean over tables, less is better"
    figure.suptitle(title, fontsize=10, x=0.01, ha="left", fontweight="bold")
    figure.supxlabel("dark: tables that no default was chosen on; pale: the others", fontsize=8)
    return figure


PICTURES: dict[str, Callable[[Result, FigureBase], None]] = {
    "training": partial(panels, claim="training", title="One training step"),
    "accuracy": partial(panels, claim="accuracy", title="Seconds of training to an accuracy"),
    "roofline": roofline,
}


def height(works: dict[str, list[Sample]], claim: str) -> float:
    """Inches that the picture of a claim needs."""
    return 4.5 if claim == "roofline" else 0.35 + sum(0.55 + BAR * most for most in longest(works))


def save(result: Result, path: str | Path, claims: tuple[str, ...] = tuple(PICTURES)) -> None:
    """Save the pictures of these claims, one below the other, as a PNG."""
    heights = {claim: height(works, claim) for claim in claims if (works := by_work(result, claim))}
    figure = Figure(figsize=(WIDTH, sum(heights.values())), layout="constrained", facecolor="white")
    parts = figure.subfigures(len(heights), height_ratios=list(heights.values()), squeeze=False).ravel()
    for part, claim in zip(parts, heights):
        PICTURES[claim](result, part)
    keep(figure, path)


def keep(figure: Figure, path: str | Path) -> None:
    """Save the figure as a small PNG."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DOTS / figure.get_figwidth(), format="png")
    Image.open(drawn).convert("RGB").quantize(COLORS).save(path, "PNG", optimize=True)


if __name__ == "__main__":
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULT
    recorded = json.loads(source.read_text())
    for claim in PICTURES:
        save(recorded, source.with_name(f"{claim}.png"), (claim,))
    keep(step(recorded), source.with_name("step.png"))
    keep(of_tables(), source.with_name("tables.png"))
