"""The time of a step, lesson by lesson: measured, recorded, and drawn for the page of the kernels.

python bench/lessons.py

writes results/lessons.json and results/lessons.png.
"""

import json
from typing import Any

from matplotlib.figure import Figure

from kernels.lessons.__main__ import LESSONS, LIBRARY, measure, product_speed

from claims import circumstances
from interleave import spread
from pages import RESULTS, where
from pictures import BLUE, GREY, NARROW, keep


def record() -> dict[str, Any]:
    seconds = {title: spread(each) for title, each in measure(list(range(len(LESSONS))), rounds=15).items()}
    return circumstances("python bench/lessons.py") | {"seconds": seconds, "product_gflops": product_speed()}


def draw(found: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(NARROW, 2.6), layout="constrained", facecolor="white")
    ax = figure.subplots()
    titles = list(found["seconds"])
    times = [1e3 * found["seconds"][title]["median"] for title in titles]
    ax.barh(range(len(times)), times, 0.72, color=[BLUE if title == LIBRARY else GREY for title in titles])
    for row, milliseconds in enumerate(times):
        ax.text(milliseconds + 0.03 * max(times), row, f"{milliseconds:.2f} ms", va="center", fontsize=8)
    ax.set_yticks(
        range(len(titles)),
        [f"{k}  {title}" if title in LESSONS.values() else title for k, title in enumerate(titles)],
        fontsize=8,
    )
    ax.set(xlim=(0, 1.5 * max(times)), xticks=[], ylim=(len(times) - 0.5, -0.5))
    ax.tick_params(length=0)
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    figure.suptitle("A step of 784-256-10, lesson by lesson", fontsize=10, x=0.01, ha="left", fontweight="bold")
    figure.supxlabel(where(found), fontsize=8)
    return figure


if __name__ == "__main__":
    found = record()
    (RESULTS / "lessons.json").write_text(json.dumps(found, indent=1) + "\n")
    keep(draw(found), RESULTS / "lessons.png")
