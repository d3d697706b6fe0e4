"""Times the steps of "Writing a kernel" on the page of the kernels, in turns, by running the page's own code.

    python bench/own_kernel.py

writes results/own_kernel.json; ``python bench/pages.py`` puts it on the page.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from claims import circumstances
from interleave import FULL, Effort, interleave, spread
from pages import RESULTS, ROOT

CHAPTER = "## Writing a kernel"


def steps() -> dict[str, Callable[[], None]]:
    """The calls that the chapter compares, by their titles in its table; runs the chapter's code blocks first."""
    text = (ROOT / "kernels" / "README.md").read_text(encoding="utf-8").partition(CHAPTER)[2].partition("\n## ")[0]
    blocks = re.findall(r"^```python\n((?s:.*?))^```$", text, re.M)
    page: dict[str, Any] = {"__name__": "kernels_page"}
    exec("import numpy as np, kernels\nfrom kernels import simd\n" + "\n".join(blocks), page)
    data = [page[name] for name in ("X", "gain", "shift", "Y")]
    return {
        "NumPy": lambda: page["in_numpy"](*data),
        "loops, one thread": lambda: page["in_loops"](0, 1, *data),
        "vectors, one thread": lambda: page["in_vectors"](0, 1, *data),
        "vectors, on the team": lambda: page["on_the_team"](*data),
    }


def record(effort: Effort = FULL) -> dict[str, Any]:
    seconds = {title: spread(each) for title, each in interleave(steps(), effort).items()}
    return circumstances("python bench/own_kernel.py", effort) | {"seconds": seconds}


if __name__ == "__main__":
    (RESULTS / "own_kernel.json").write_text(json.dumps(record(), indent=1) + "\n")
