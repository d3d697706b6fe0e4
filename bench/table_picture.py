"""Draws the picture of the tables' page, from the file that bench/tables.py recorded.

python bench/table_picture.py

writes results/tables.png.
"""

from __future__ import annotations

from matplotlib.figure import Figure

import tables
from pages import RESULTS, on_every_table, over_the_best
from pictures import BLUE, GREY, NARROW, keep

HALF = 0.36  # the thickness of a bar, in rows


def draw() -> Figure:
    """A panel for each measure with two bars for each method: on tables that no default was chosen on, and, paler, others."""
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


if __name__ == "__main__":
    keep(draw(), RESULTS / "tables.png")
