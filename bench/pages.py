"""Every figure on the pages, from the files of results.

    python bench/pages.py

fills what is between ``<!-- NAME -->`` and ``<!-- end -->`` on each page; the tests look whether the pages are as this would
leave them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from claims import OURS, in_unit

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / page
    for page in ("README.md", "fastmlp/README.md", "kernels/README.md", "bench/README.md", "tests/README.md")
]
RESULTS = ROOT / "bench" / "results"
PEERS = ("JAX", "PyTorch", "NumPy", "scikit-learn", "ONNX Runtime")
FEW = {  # the works of the first page, by what they are called there
    "MNIST, 784-256-10, batch 128": "a step on MNIST, 784-256-10",
    "table 25,000 x 100, 100-256-5, batch 128": "a step on a table, 100-256-5",
    "MNIST, 784-1024-1024-10, batch 256": "a step of 784-1024-1024-10",
    "CSR 20,000 x 100,100, 100100-256-20, batch 128": "a step on sparse text, 100,100 columns",
    "98% of MNIST, 784-256-10, 3 epochs": "training to 98 % of MNIST's test images",
    "784-256-10, 10,000 samples a call": "prediction of 10,000 images",
}
HEADINGS = {"prediction": "logits, ", "peak memory": "memory to "}

Result = dict[str, Any]


def result(name: str) -> Result:
    return json.loads((RESULTS / f"{name}.json").read_text())


def where(found: Result) -> str:
    machine, versions = found["machine"], found["versions"]
    packages = ("python", "numpy", "numba", "torch", "jax", "scikit-learn", "onnxruntime")
    with_versions = ", ".join(f"{name} {versions[name]}" for name in packages if name in versions)
    return (
        f"{machine['cpu']}, {machine['threads']} threads, multiply-add peak {machine['peak_gflops']:.0f} GFLOP/s, "
        f"{machine['bandwidth_gbs']:.0f} GB/s; {with_versions}; {found['date'][:10]}"
    )


def works(found: Result) -> dict[tuple[str, str], dict[str, Any]]:
    """Our sample of each work, and the best of each peer's."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for sample in found["samples"]:
        if sample["claim"] != "roofline":
            row = best.setdefault((sample["claim"], sample["work"]), {})
            name = next((peer for peer in PEERS if sample["peer"].startswith(peer)), sample["peer"])
            if name not in row or sample["median"] < row[name]["median"]:
                row[name] = sample
    return best


def table(found: Result, titles: dict[tuple[str, str], str]) -> str:
    lines = [
        "| | fastmlp | " + " | ".join(f"{peer}, times" for peer in PEERS) + " |",
        "| --- |" + " ---: |" * (1 + len(PEERS)),
    ]
    rows = works(found)
    for work, title in titles.items():
        ours = rows[work][OURS]
        cells = [f"{rows[work][peer]['median'] / ours['median']:.1f}" if peer in rows[work] else "" for peer in PEERS]
        lines.append(f"| {title} | {in_unit(ours['median'], ours['unit'])} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def speed() -> str:
    """The first page's: few rows of one machine."""
    found = result("result")
    titles = {work: FEW[work[1]] for work in works(found) if work[1] in FEW}
    machine = f"{found['machine']['cpu']}, {found['machine']['threads']} threads, {found['date'][:10]}"
    return f"{table(found, titles)}\n\nHow many times as long as fastmlp each takes in its fastest form; {machine}."


def machines() -> str:
    """All rows of every machine."""
    parts = []
    for path in sorted(RESULTS.glob("result*.json")):
        found = json.loads(path.read_text())
        titles = {work: HEADINGS.get(work[0], "") + work[1] for work in works(found)}
        parts.append(f"`{path.name}`: {where(found)}.\n\n{table(found, titles)}")
    return "\n\n".join(parts)


FIGURES: dict[str, Callable[[], str]] = {"speed": speed, "machines": machines}


def filled(text: str) -> str:
    """A page with its figures as they are in the files of results."""
    return re.sub(
        r"(<!-- (\w+) -->\n)(?s:.*?)(<!-- end -->)", lambda found: f"{found[1]}{FIGURES[found[2]]()}\n{found[3]}", text
    )


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
