"""Writes every figure on the pages, from the files of results.

    python bench/pages.py

replaces the text between ``<!-- NAME -->`` and ``<!-- end -->`` on each page; a test checks that they are up to date.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any

import tables
from claims import OURS, in_unit

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / place / "README.md" for place in (".", "fastmlp", "kernels", "bench", "tests")]
RESULTS = ROOT / "bench" / "results"
SOLVED = 0.001  # a table with a lower error or loss counts as solved
PEERS = ("JAX", "PyTorch", "NumPy", "scikit-learn", "ONNX Runtime")
FEW = {  # the works on the first page, with their titles there
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
    """The machine and the date of a measurement."""
    return f"{found['machine']['cpu']}, {found['machine']['threads']} threads, {found['date'][:10]}"


def provenance(found: Result) -> str:
    """The machine, its peaks, the versions and the date of a measurement."""
    machine, versions = found["machine"], found["versions"]
    packages = ("python", "numpy", "numba", "torch", "jax", "scikit-learn", "onnxruntime")
    with_versions = ", ".join(f"{name} {versions[name]}" for name in packages if name in versions)
    return (
        f"{machine['cpu']}, {machine['threads']} threads, multiply-add peak {machine['peak_gflops']:.0f} GFLOP/s, "
        f"{machine['bandwidth_gbs']:.0f} GB/s; {with_versions}; {found['date'][:10]}"
    )


def works(found: Result) -> dict[tuple[str, str], dict[str, Any]]:
    """Of each work our sample, and each peer's fastest."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for sample in found["samples"]:
        if sample["claim"] != "roofline":
            row = best.setdefault((sample["claim"], sample["work"]), {})
            name = next((peer for peer in PEERS if sample["peer"].startswith(peer)), sample["peer"])
            if name not in row or sample["median"] < row[name]["median"]:
                row[name] = sample
    return best


def table(found: Result, titles: dict[tuple[str, str], str]) -> str:
    lines, rows = head("", ["fastmlp", *(f"{peer}, times" for peer in PEERS)]), works(found)
    for work, title in titles.items():
        ours = rows[work][OURS]
        cells = [f"{rows[work][peer]['median'] / ours['median']:.1f}" if peer in rows[work] else "" for peer in PEERS]
        lines.append(line(title, [in_unit(ours["median"], ours["unit"]), *cells]))
    return "\n".join(lines)


def speed() -> str:
    """The table of the first page: a few works on one machine."""
    found = result("result")
    titles = {work: FEW[work[1]] for work in works(found) if work[1] in FEW}
    said = f"How many times as long as fastmlp each takes in its fastest form; {where(found)}."
    return f"{table(found, titles)}\n\n{said}"


def machines() -> str:
    """A table of all works for each machine."""
    parts = []
    for path in sorted(RESULTS.glob("result*.json")):
        found = json.loads(path.read_text())
        titles = {work: HEADINGS.get(work[0], "") + work[1] for work in works(found)}
        parts.append(f"`{path.name}`: {provenance(found)}.\n\n{table(found, titles)}")
    return "\n\n".join(parts)


Means = dict[str, dict[str, list[float]]]


def on_every_table() -> tuple[list[str], Counter[str], Means]:
    """(methods, the number of splits of each table, each method's mean over them by measure and table).

    Splits without results of all methods are left out.
    """
    records = [record for record in table_records() if record["method"] not in tables.ON_SOME]
    methods = [method for method in tables.METHODS if any(record["method"] == method for record in records)]
    done = Counter((record["table"], record["seed"]) for record in records)
    records = [record for record in records if done[record["table"], record["seed"]] == len(methods)]
    splits = Counter(record["table"] for record in records if record["method"] == methods[0])
    means: Means = {}
    for table, measure in product(sorted(splits), (*tables.MEASURES, *tables.SECONDS)):
        if found := [record for record in records if record["table"] == table and measure in record]:
            by_method = ([record[measure] for record in found if record["method"] == method] for method in methods)
            means.setdefault(measure, {})[table] = [*map(fmean, by_method)]
    return methods, splits, means


def table_records() -> list[Result]:
    return [record for record in json.loads((RESULTS / "tables.json").read_text()) if record["part"] == "test"]


def over_the_best(rows: Sequence[list[float]]) -> list[float]:
    """For each method the geometric mean over tables of its value relative to the best method's; [] without tables.

    Tables that some method solves are left out: ratios of tiny errors mean nothing.
    """
    return [*map(geometric_mean, zip(*([value / min(row) for value in row] for row in rows if min(row) > SOLVED)))]


def ranks(rows: Sequence[list[float]]) -> list[float]:
    """The mean rank of each method."""
    each = [[sum(other < value for other in row) + (row.count(value) + 1) / 2 for value in row] for row in rows]
    return [*map(fmean, zip(*each))]


def line(title: str, cells: Sequence[str]) -> str:
    return f"| {title}".rstrip() + " | " + " | ".join(cells) + " |"


def head(title: str, cells: Sequence[str]) -> list[str]:
    return [line(title, cells), "| --- |" + " ---: |" * len(cells)]


def on_tables() -> str:
    """Each method's mean over the splits of each table; and summaries of all tables, and of those not chosen on."""
    methods, splits, means = on_every_table()
    names = [method.replace("_", " ") for method in methods]
    parts = []
    for measure, title in tables.MEASURES.items():
        rows = means.get(measure, {})
        lines = head(f"{title} (splits)", names)
        lines += [line(f"{name} ({splits[name]})", [f"{value:.4f}" for value in row]) for name, row in rows.items()]
        for among, some in (
            ("all", [*rows.values()]),
            ("not chosen on", [row for name, row in rows.items() if name not in tables.CHOSEN_ON]),
        ):
            if over := over_the_best(some):
                lines.append(line(f"geometric mean over the best, {among}", [f"{value:.3f}" for value in over]))
                lines.append(line(f"mean rank, {among}", [f"{value:.1f}" for value in ranks(some)]))
        parts.append("\n".join(lines))
    lines = head("seconds, sum over the tables", names)
    for measure, title in tables.SECONDS.items():
        lines.append(line(title, [f"{sum(column):.3g}" for column in zip(*means[measure].values())]))
    return "\n\n".join([*parts, "\n".join(lines), *on_some_tables()])


def on_some_tables() -> list[str]:
    """Split by split, ours and each method that was tried on some tables only."""
    by = {(record["table"], record["seed"], record["method"]): record for record in table_records()}
    parts = []
    for method in tables.ON_SOME:
        name = method.replace("_", " ")
        lines = head("table, split", ["measure", "fastmlp", name, "fit, s: fastmlp", name])
        rows = [key[:2] for key in by if key[2] == method and (*key[:2], "fastmlp") in by]
        for table, seed in rows:
            ours, theirs = (by[table, seed, each] for each in ("fastmlp", method))
            for measure in [measure for measure in tables.MEASURES if measure in ours]:
                cells = [tables.MEASURES[measure], *(f"{each[measure]:.4f}" for each in (ours, theirs))]
                seconds = [f"{each['fit_seconds']:.3g}" if "fit_seconds" in each else "" for each in (ours, theirs)]
                lines.append(line(f"{table}, {seed}", [*cells, *seconds]))
        if rows:
            parts.append("\n".join(lines))
    return parts


def own_kernel() -> str:
    """The times of the chapter on writing a kernel."""
    found = result("own_kernel")
    seconds = {title: sample["median"] for title, sample in found["seconds"].items()}
    slowest = max(seconds.values())
    lines = [f"| {title} | {1e3 * each:.2f} ms | {slowest / each:.1f} |" for title, each in seconds.items()]
    return "\n".join([f"| 4,096 x 768, float32; {where(found)} | | times faster |", "| --- | ---: | ---: |", *lines])


def on_estimators() -> str:
    """Seconds to fit of our estimators and of scikit-learn's, their ratio, and both scores."""
    found = result("estimators")
    lines = head("", ["fastmlp, s", "scikit-learn, s", "times", "score", "scikit-learn's"])
    for row in found["cases"]:
        ours, theirs = (each["median"] for each in row["seconds"].values())
        scores = (f"{score:.4f}" for score in row["score"].values())
        lines.append(line(row["case"], [f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.1f}", *scores]))
    note = f"Medians of {found['seeds']} seeds, in turn; `estimators.json`: {provenance(found)}."
    return "\n".join([*lines, "", note])


def on_products() -> str:
    """For each machine, how many times as long as ours the peers' products take."""
    parts = []
    for path in sorted(RESULTS.glob("products_*.json")):
        found = json.loads(path.read_text())
        by_shape: dict[str, dict[str, list[float]]] = {}
        for row in found["products"]:
            ours, *theirs = (each["median"] for each in row["seconds"].values())
            by_shape.setdefault("x".join(map(str, row["shape"])), {})[row["op"]] = [each / ours for each in theirs]
        peers = [peer for peer in found["products"][0]["seconds"] if peer != OURS]
        ratios = [each for ops in by_shape.values() for each in ops.values()]
        lines = head(f"samples x inputs x outputs: {' / '.join(peers)}, times", [*next(iter(by_shape.values()))])
        lines += [
            line(shape, [" / ".join(f"{x:.2f}" for x in each) for each in ops.values()])
            for shape, ops in by_shape.items()
        ]
        means = (f"{peer} {geometric_mean(each):.2f}" for peer, each in zip(peers, zip(*ratios)))
        note = f"Geometric means: {', '.join(means)}. `{path.name}`: {provenance(found)}."
        parts.append("\n".join([*lines, "", note]))
    return "\n\n".join(parts)


def in_bfloat16() -> str:
    """Milliseconds of a step in float32 and bfloat16, ours and PyTorch's."""
    parts = []
    for path in sorted(RESULTS.glob("bfloat16_*.json")):
        found = json.loads(path.read_text())
        lines = head("a step", [f"{peer}, ms" for peer in found["steps"][0]["seconds"]])
        for row in found["steps"]:
            lines.append(line(row["work"], [f"{1e3 * each['median']:.2f}" for each in row["seconds"].values()]))
        parts.append("\n".join([*lines, "", f"`{path.name}`: {provenance(found)}."]))
    return "\n\n".join(parts)


FIGURES: dict[str, Callable[[], str]] = {
    "speed": speed,
    "machines": machines,
    "tables": on_tables,
    "own_kernel": own_kernel,
    "estimators": on_estimators,
    "products": on_products,
    "bfloat16": in_bfloat16,
}


def filled(text: str) -> str:
    """A page's text with its figures filled in from the files of results."""
    return re.sub(
        r"(<!-- (\w+) -->\n)(?s:.*?)(<!-- end -->)", lambda found: f"{found[1]}{FIGURES[found[2]]()}\n{found[3]}", text
    )


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
