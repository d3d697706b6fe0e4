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
from pictures import keep, narrow


def record() -> dict[str, Any]:
    seconds = {title: spread(each) for title, each in measure(list(range(len(LESSONS))), rounds=15).items()}
    return circumstances("python bench/lessons.py") | {"seconds": seconds, "product_gflops": product_speed()}


def draw(found: dict[str, Any]) -> Figure:
    samples = [
        {"peer": f"{k}  {title}" if title in LESSONS.values() else title, "unit": "s", **seconds}
        for k, (title, seconds) in enumerate(found["seconds"].items())
    ]
    return narrow(samples, "A step of 784-256-10, lesson by lesson", where(found), LIBRARY)


if __name__ == "__main__":
    found = record()
    (RESULTS / "lessons.json").write_text(json.dumps(found, indent=1) + "\n")
    keep(draw(found), RESULTS / "lessons.png")
