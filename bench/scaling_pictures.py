"""The pictures of scaling.py: what was measured as dots, what the models say as lines; drawn from what was recorded."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from PIL import Image

import scaling_nodes as on
from pictures import BLUE, DPI, GREY, ORANGE, WIDTH, where
from scaling import CORES, CURVES, WORKS, bounds, is_held_out, machine_of, step_in
from step_model import seconds

GREEN = "#009e73"


def dots(ax: Axes, x: Any, y: Any, color: str, filled: bool = True, label: str | None = None) -> None:
    ax.plot(x, y, "o", color=color, markerfacecolor=color if filled else "white", markersize=4, label=label)


def plain(axis: Any, ticks: Any) -> None:
    """Ticks at these numbers of a logarithmic axis, as they are."""
    axis.set(major_locator=FixedLocator(list(ticks)), minor_locator=NullLocator(), major_formatter="{x:g}")


def diagonal(ax: Axes) -> None:
    """Where prediction and measurement agree, and where within 25 %; in milliseconds."""
    ends = np.array([0.8, 1.25]) * ax.get_xlim()
    ax.plot(ends, ends, color=GREY, linewidth=1, zorder=0)
    ax.fill_between(ends, 0.8 * ends, 1.25 * ends, color=GREY, alpha=0.2, linewidth=0, label="within 25 %")
    ax.set(xscale="log", yscale="log", xlabel="ms a step, measured", ylabel="ms a step, model")


def scaling(result: dict[str, Any], figure: Figure) -> str:
    """Samples a second on each curve; the works on more cores; every step, predicted and measured."""
    machine, axes, steps = machine_of(result), figure.subplots(2, 3).ravel(), result["steps"]
    most = result["machine"]["threads"]
    for ax, curve in zip(axes, CURVES):
        for color, dense in ((BLUE, False), (ORANGE, True)):
            for count in (1, most):
                of = [s for s in steps if (s["curve"], s["threads"], s["entries"] is None) == (curve, count, dense)]
                model = [s["batch"] / seconds(machine, step_in(s), count) for s in of]
                ax.plot([s["x"] for s in of], model, ":" if count == 1 else "-", color=color, linewidth=1)
                dots(ax, [s["x"] for s in of], [s["batch"] / s["median"] for s in of], color, count > 1)
        ax.set(xlabel=curve, yscale="log")
        if curve in ("batch", "hidden units"):
            ticks = sorted({s["x"] for s in steps if s["curve"] == curve})
            ax.set_xscale("log")
            plain(ax.xaxis, ticks[:: 1 + len(ticks) // 6])
    for ax in (axes[0], axes[3]):
        ax.set_ylabel("samples a second")
    for color, text, y in ((BLUE, "zeros skipped", 0.93), (ORANGE, "all inputs", 0.86)):
        axes[1].text(0.97, y, text, color=color, fontsize=7, ha="right", transform=axes[1].transAxes)
    axes[1].text(0.03, 0.05, f"filled, solid: {most} threads\nelse 1 thread", fontsize=7, transform=axes[1].transAxes)

    ax, cores = axes[4], np.unique(np.geomspace(1, CORES[-1], 60).round().astype(int))
    for color, (work, step) in zip((BLUE, ORANGE, "black", GREEN), WORKS.items()):
        speed = [[seconds(m, step, 1) / seconds(m, step, int(n)) for n in cores] for m in (machine, *bounds(machine))]
        ax.plot(cores, speed[0], color=color, linewidth=1.2, label=work)
        ax.fill_between(cores, *speed[1:], color=color, alpha=0.12, linewidth=0)
        of = [s for s in steps if s["curve"] == work]
        dots(ax, [s["x"] for s in of], [of[0]["median"] / s["median"] for s in of], color)
    ax.plot(cores, cores, ":", color=GREY, linewidth=1)
    ax.set(
        xscale="log", yscale="log", ylim=(0.3, 3000), xlabel=f"threads (beyond {most} predicted)", ylabel="times one"
    )
    plain(ax.xaxis, (1, 2, *CORES))
    plain(ax.yaxis, (1, 2, *CORES))
    ax.legend(fontsize=6, frameon=False, loc="upper left", handlelength=1)

    ax = axes[5]
    for held, label in ((True, "held out"), (False, "calibration")):
        of = [s for s in steps if is_held_out(s) == held]
        model = [1e3 * seconds(machine, step_in(s), s["threads"]) for s in of]
        dots(ax, [1e3 * s["median"] for s in of], model, BLUE, held, label)
    diagonal(ax)
    ax.legend(fontsize=7, frameon=False, loc="upper left")
    return f"Steps of 784-256-10, batch 128, and what they become ({where(result)})"


def nodes(result: dict[str, Any], figure: Figure) -> str:
    """What was measured, above; speed-up over nodes below."""
    (sums, steps, trained), below = figure.subplots(2, 3)
    link, add, machine = on.here(result), on.add_seconds(result), result["machine"]
    for ranks, found in result["ranks"].items():
        over = ", oversubscribed" * (int(ranks) > machine["cores"])
        of, two = found["sums"], ranks == "2"
        dots(sums, [s["bytes"] for s in of], [1e3 * s["median"] for s in of], BLUE, two, f"{ranks} ranks here{over}")
        of = [] if over else found["training"]  # ranks that wait for each other's time slices are not in the model
        model = [1e3 * on.trained_seconds(result, link, run, int(ranks)) for run in of]
        dots(trained, [1e3 * run["median"] for run in of], model, BLUE, two, f"{ranks} ranks here{over}")
    diagonal(trained)
    x = np.geomspace(4 << 10, 32 << 20, 50)
    for to, ranks, style, color in (
        (link, 2, "-", BLUE),
        (on.LINKS[0], 64, "--", "black"),
        (on.LINKS[1], 64, "-", "black"),
    ):
        times = [1e3 * on.sum_seconds(to, ranks, size, add) for size in x]
        sums.plot(x, times, style, color=color, linewidth=1, label=f"model: {ranks} ranks, {to.name}")
    sums.set(xscale="log", yscale="log", ylim=(None, 2000), xlabel="bytes summed", ylabel="ms")
    for sizes, color in ((on.SMALL, BLUE), (on.LARGE, ORANGE)):
        for kind, text in (("fused", ""), ("stored", ", gradient stored")):
            of = [s for s in result["ranks"]["2"]["steps"] if (s["kind"], tuple(s["sizes"])) == (kind, sizes)]
            name = "-".join(map(str, sizes)) + text
            dots(steps, [s["rows"] for s in of], [1e3 * s["median"] for s in of], color, kind == "fused", name)
    steps.set(xscale="log", yscale="log", ylim=(None, 2e4), xlabel="rows on a rank of one thread", ylabel="ms a step")
    for ax, work in zip(below, on.WORKS):
        for every, color in zip(on.EVERY, (BLUE, ORANGE, "black")):
            for to, style in zip(on.LINKS, ("--", "-")):
                faster = [to._replace(message=to.message * k, byte=to.byte * k) for k in (1, 0.5, 2)]
                speed = [[on.speedup(result, each, work, n, every) for n in on.NODES] for each in faster]
                ax.plot(
                    on.NODES,
                    speed[0],
                    style,
                    color=color,
                    linewidth=1,
                    label=f"sum every {every}" if style == "-" else None,
                )
                ax.fill_between(on.NODES, *speed[1:], color=color, alpha=0.1, linewidth=0)
        ax.plot(on.NODES, on.NODES, ":", color=GREY, linewidth=1)
        ax.set(xscale="log", yscale="log", xlabel="nodes", ylabel="times one node", ylim=(0.5, 100))
        ax.set_title(on.title(work), fontsize=7, loc="left")
        plain(ax.xaxis, on.NODES)
        plain(ax.yaxis, on.NODES)
    below[1].text(0.97, 0.05, "dashed 25 GbE\nsolid InfiniBand", fontsize=7, ha="right", transform=below[1].transAxes)
    for ax, place in ((sums, "upper left"), (steps, "upper left"), (trained, "upper left"), (below[2], "lower right")):
        ax.legend(fontsize=6, frameon=False, loc=place)
    return f"Ranks of one thread: measured above, nodes predicted below ({machine['cpu']}, {result['date'][:10]})"


def save(draw: Callable[[dict[str, Any], Figure], str], result: dict[str, Any], path: Path) -> None:
    """As a PNG on white, as wide as the README's others."""
    figure, drawn = Figure(figsize=(WIDTH, 5.6), layout="constrained", facecolor="white"), io.BytesIO()
    heading = draw(result, figure)
    figure.suptitle(heading, fontsize=10, x=0.01, ha="left", fontweight="bold")
    for ax in figure.axes:
        ax.tick_params(labelsize=7, which="both")
        ax.xaxis.label.set_size(8)
        ax.yaxis.label.set_size(8)
        ax.grid(alpha=0.25, linewidth=0.5)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(drawn, dpi=DPI, format="png")
    Image.open(drawn).convert("RGB").quantize(64).save(path, "PNG", optimize=True)
