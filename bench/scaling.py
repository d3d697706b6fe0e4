"""Training steps against batch, width, depth, density and threads, beside what a model of the machine says of them.

python bench/scaling.py measure     # four minutes, on a machine with nothing else to do: bench/results/scaling.json
python bench/scaling.py             # prediction beside measurement, for more cores and, after scaling_mpi.py, for nodes
python bench/scaling.py draw        # the same as pictures: bench/results/scaling.png and nodes.png

The rates of the model (``step_model``) are measured in the same rounds as the steps, each by itself. One number is taken from
steps, those of the first curve on one thread; the others are held out.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import kernels
from fastmlp.cli import Parser, optional, run_command, say
from fastmlp.errors import InputError
from kernels import simd, sparse
from kernels.jit import kernel
from kernels.memory import aligned_zeros
from kernels.team import barrier, barrier_state, run, share

import claims
import scaling_nodes
import workloads
from interleave import Effort, interleave, spread
from step_model import PANEL, ROW_BYTES, TERMS, Machine, Rates, Step, predict, seconds

RESULTS = Path(__file__).with_name("results")
FULL = Effort(rounds=7, block_seconds=0.08, pause_seconds=0)
QUICK = Effort(rounds=3, block_seconds=0.02, pause_seconds=0)
SAMPLES = 8192
BASE: dict[str, Any] = {"batch": 128, "hidden": (256,), "density": 0.19}
CURVES: dict[str, tuple[str, Sequence[Any]]] = {  # what it is called, and what varies
    "batch": ("batch", (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)),
    "hidden units": ("hidden", [(H,) for H in (64, 128, 256, 512, 1024, 2048)]),
    "hidden layers of 256": ("hidden", [(256,) * depth for depth in (1, 2, 3, 4)]),
    "density": ("density", (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)),
}
STREAM_BYTES = (1 << 14, 1 << 17, 1 << 19, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28)
PANEL_ROWS = (100, 784, 3000, 8000, 32000, 400_000)  # of 256 bytes
PANEL_BATCH, PANEL_ENTRIES = 128, 150  # rows, and entries in each
CORES = (8, 32, 128)


# -- what is measured: steps -------------------------------------------------------------------------------------------


def step_of(hidden: tuple[int, ...] = (256,), batch: int = 128, density: float | None = 0.19) -> Step:
    """A step on 784 inputs; ``density`` None multiplies them all. As many a call as take about 20 ms."""
    step = Step((784, *hidden, 10), batch, None if density is None else 784 * density)
    first = 784 if density is None else 784 * density
    flop = batch * (4 * first * hidden[0] + 6 * sum(I * O for I, O in step.layers[1:]))
    return replace(step, per_call=int(np.clip(2e9 / flop, 4, 200)))


WIDE = Step((100_100, 256, 20), 128, workloads.ENTRIES, 20)
WORKS = {
    "784-256-10, batch 128": step_of(),
    "784-1024-1024-10, batch 256": step_of((1024, 1024), 256),
    "784-1024-1024-10, batch 4096": step_of((1024, 1024), 4096),
    "CSR 100,100 wide, 256 hidden, batch 128": WIDE,
}


@dataclass(frozen=True)
class Point:
    curve: str
    x: float
    threads: int
    step: Step


def points(threads: int) -> Iterator[Point]:
    """Every curve on the zeros skipped and on all inputs, with one thread and with all; the works with every number."""
    for curve, (name, values) in CURVES.items():
        for value in values:
            x = value if name != "hidden" else value[0] if curve == "hidden units" else len(value)
            for density in (value if name == "density" else BASE["density"], None):
                step = step_of(**BASE | {name: value} | {"density": density})
                if density is not None or curve != "density" or value in (0.1, 1.0):
                    yield from (Point(curve, x, count, step) for count in (1, threads))
    for work, step in WORKS.items():
        yield from (Point(work, count, count, step) for count in range(1, threads + 1))


def step_call(point: Point) -> Callable[[], Any]:
    step, rng, scale = point.step, np.random.default_rng(0), 1.0
    X: Any
    if step is WIDE:
        wide = workloads.wide(SAMPLES)
        X, y = wide.X, wide.y
    else:
        density = BASE["density"] if step.entries is None else step.entries / 784
        X = np.where(rng.random((SAMPLES, 784)) < density, rng.integers(1, 256, (SAMPLES, 784)), 0).astype(np.uint8)
        X, y, scale = X if step.entries is None else kernels.csr(X), rng.integers(0, 10, SAMPLES), 1 / 255
    network = kernels.Network(step.sizes)
    for W, _ in network.layers:
        W[...] = rng.standard_normal(W.shape) * (2 / len(W)) ** 0.5
    rows, lr = np.resize(rng.permutation(SAMPLES), step.per_call * step.batch), np.full(step.per_call, 1e-4)
    return with_threads(
        point.threads, kernels.mlp_train_steps, X, y, rows, step.batch, network, rule=kernels.sgd(), lr=lr, scale=scale
    )


def with_threads(count: int, function: Callable[..., Any], *args: Any, **options: Any) -> Callable[[], None]:
    def call() -> None:
        with kernels.threads(count):
            function(*args, **options)

    return call


# -- what is measured: the machine -------------------------------------------------------------------------------------


@kernel
def _exchange(part, parts, meeting, rounds, shift, X):
    """Each part adds to its share of X, in the next round to the next part's where ``shift`` is 1; then all meet.

    Kept on disk by its name, as the package's kernels are, but under a digest of the package alone: changed, it needs another.
    """
    lanes = simd.lanes(X)
    for r in range(rounds):
        lo, hi = share((part + r * shift) % parts, parts, X.size // lanes)
        for i in range(lo * lanes, hi * lanes, lanes):
            simd.store(X, i, simd.load(X, i) + simd.broadcast(X, 1.0))
        barrier(meeting, r + 1, parts)


def ones(*shape: int) -> np.ndarray:
    """On cache lines, as a network's weights are; written to, for memory that was not is one page of zeros."""
    array = aligned_zeros(math.prod(shape), np.dtype(np.float32)).reshape(shape)
    array[...] = 1
    return array


def exchange(parts: int, rounds: int, size: int = 0, shift: int = 0) -> Callable[[], None]:
    X = ones(size // 4)
    return lambda: run(_exchange, parts, barrier_state(), rounds, shift, X)


def some_rows(n: int, entries: int, I: int) -> sparse.CSR:
    columns = np.sort(np.random.default_rng(0).integers(0, I, (n, entries)), axis=1)
    return sparse.CSR(np.arange(n + 1) * entries, columns.ravel(), np.ones(n * entries, np.uint8), (n, I))


def panels_forward(I: int, entries: int, panels: int = 0) -> Callable[[], None]:
    """Rows with so many non-zeros in I columns, times a packed panel; or times so many that lie side by side."""
    n, H, none = PANEL_BATCH, PANEL * max(panels, 1), np.zeros(0, np.float32)
    batches = -(-4 * I // (n * entries))  # in turn: what one reads is not to stay where the next finds it
    X, W, Y = some_rows(batches * n, entries, I), ones(I * H), ones(n * H)
    rows = itertools.cycle(np.arange(batches * n).reshape(batches, n))
    table, ends = sparse.value_table(X.dtype, 1.0, W.dtype), np.zeros(n, np.int64)

    def call() -> None:
        batch = next(rows)
        for p in range(max(panels, 1)):
            sparse.first_layer_forward(
                p, batch, *X.arrays, table, I, W, 0, panels == 0, I, H, none, 0, True, Y, 0, Y, 0, ends, 0
            )

    return call


def to_columns(n: int, entries: int, I: int) -> tuple[Callable[[], None], tuple[Any, ...]]:
    """A call that sorts rows to columns, and what it makes."""
    X = some_rows(n, entries, I)
    made = np.empty((1, I + 2), np.int32), *sparse.entry_arrays(X.values.shape, n, X.dtype)
    return lambda: sparse.to_columns(0, 0, n, np.arange(n), *X.arrays, *made, 0), made


def panel_update() -> Callable[[], None]:
    """A packed panel of 784 columns stepped by 16 rows with 150 entries."""
    transpose, made = to_columns(16, 150, 784)
    transpose()
    W, dY, D, none = ones(784 * PANEL), ones(16 * PANEL), ones(17 * PANEL), np.zeros(0, np.float32)
    columns, table = np.arange(784, dtype=np.uint16), sparse.value_table(np.dtype(np.uint8), 1.0, W.dtype)
    last = (kernels.sgd(), 0.0, 1, W, 0, True, 784, PANEL, none, 0, D, 0, none, 0, none, 0)
    return lambda: sparse.first_layer_update(0, columns, *made, table, 16, dY, 0, *last)


def rate_calls(threads: int) -> dict[str, Callable[[], None]]:
    """Calls whose times are the model's rates: see ``rates``."""
    starts, columns = np.zeros((1, 100_002), np.int32), np.empty(100_000, np.int32)
    labels = np.zeros(4096, int)
    calls = {
        "tile": with_threads(1, kernels.linear_forward, ones(256, 256), ones(256, 256)),
        "pack": with_threads(1, kernels.linear_backward_input, ones(8, 1024), ones(1024, 1024)),
        "softmax": with_threads(1, kernels.softmax_cross_entropy, ones(4096, 10), labels),
        "visit": panels_forward(100, 1),
        "update": panel_update(),
        "transpose": to_columns(128, 150, 784)[0],
        "column": to_columns(128, 1, 100_000)[0],
        "scan": lambda: sparse.columns_to_step(0, 1, False, starts, columns),
        "meeting": exchange(2, 1000),
        "memory": exchange(threads, 10, STREAM_BYTES[-1]),
    }
    calls |= {f"handover {shift}": exchange(2, 100, 1 << 18, shift) for shift in (0, 1)}
    calls |= {f"stream {size}": exchange(1, 10, size) for size in STREAM_BYTES}
    calls |= {f"gather {I}": panels_forward(I, PANEL_ENTRIES) for I in PANEL_ROWS}
    return calls | {f"far {I}": panels_forward(I // 4, PANEL_ENTRIES, 4) for I in PANEL_ROWS}


def rates(taken: dict[str, float], threads: int) -> Rates:
    """The model's rates, from the seconds that ``rate_calls`` took."""
    entries = PANEL_BATCH * PANEL_ENTRIES
    gather = tuple((ROW_BYTES * I, 1e9 * taken[f"gather {I}"] / entries) for I in PANEL_ROWS)
    tile, near = 2e-9 * 256**3 / taken["tile"], gather[0][1]
    transpose = 1e9 * taken["transpose"] / entries
    return Rates(
        tile_gflops=tile,
        pack_ns=1e9 * taken["pack"] / 1024**2 - 2 * 8 / tile,
        gather_ns=gather,
        far_ns=tuple((ROW_BYTES * I, 1e9 * taken[f"far {I}"] / (4 * entries)) for I in PANEL_ROWS),
        visit_ns=1e9 * taken["visit"] / PANEL_BATCH - near,
        turn_ns=(1e9 * taken["update"] - 16 * 150 * near) / 784,
        stream_gbs=tuple((size, 20e-9 * size / taken[f"stream {size}"]) for size in STREAM_BYTES),
        transpose_ns=transpose,
        column_ns=(1e9 * taken["column"] - 128 * transpose) / 100_000,
        scan_ns=1e9 * taken["scan"] / 100_000,
        softmax_ns=1e9 * taken["softmax"] / (4096 * 10),
        meeting_us=1e3 * taken["meeting"],
        handover_gbs=100e-9 * (1 << 17) / max(taken["handover 1"] - taken["handover 0"], 1e-7),
        memory_gbs=20e-9 * STREAM_BYTES[-1] / taken["memory"],
        cores=threads,
    )


# -- the record --------------------------------------------------------------------------------------------------------


def measure(effort: Effort, command: str) -> dict[str, Any]:
    """Rates and steps in turn, round after round."""
    threads = kernels.get_num_threads()
    if threads < 2:
        raise InputError("this process may use 1 core; the cost of threads is measured on 2 at least")
    of_rates, taken = rate_calls(threads), list(points(threads))
    say(f"{len(of_rates)} rates, {len(taken)} steps, {effort.rounds} rounds of each; leave the machine alone meanwhile")
    calls = of_rates | {f"step {i}": step_call(point) for i, point in enumerate(taken)}
    times = interleave(calls, effort)
    steps = [
        {
            "curve": point.curve, "x": point.x, "threads": point.threads, **vars(point.step),
            **spread([value / point.step.per_call for value in times[f"step {i}"]]),
        }
        for i, point in enumerate(taken)
    ]  # fmt: skip
    return {
        "machine": claims.machine(effort), "versions": claims.versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "command": command, "effort": effort._asdict(),
        "rates": {name: spread(times[name]) for name in of_rates}, "steps": steps,
    }  # fmt: skip


def read(path: Path, script: str = "bench/scaling.py measure") -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {script} makes it") from None
    except ValueError as error:
        raise InputError(f"{path} is not what {script} writes ({error})") from None


def step_in(sample: dict[str, Any]) -> Step:
    return Step(tuple(sample["sizes"]), sample["batch"], sample["entries"], sample["per_call"])


def error_of(machine: Machine, sample: dict[str, Any]) -> float:
    """Prediction over measurement, less one."""
    return seconds(machine, step_in(sample), sample["threads"]) / sample["median"] - 1


def is_held_out(sample: dict[str, Any]) -> bool:
    return sample["threads"] > 1 or sample["curve"] != next(iter(CURVES))


def machine_of(result: dict[str, Any]) -> Machine:
    medians = {name: sample["median"] for name, sample in result["rates"].items()}
    machine = Machine(rates(medians, result["machine"]["threads"]))
    ratios = [1 + error_of(machine, sample) for sample in result["steps"] if not is_held_out(sample)]
    return replace(machine, whole=1 / statistics.median(ratios))


def bounds(machine: Machine) -> tuple[Machine, Machine]:
    """What is assumed of more cores, at its best and at its worst."""
    best = replace(machine, meeting=0.0, far_handover=1.0, socket_gbs=460.8)
    return best, replace(machine, meeting=3.0, far_handover=10.0, socket_gbs=230.0, clock=0.75)


def fewest_threads(machine: Machine, step: Step, cores: int) -> int:
    """That come within 5 % of the fastest."""
    times = {n: seconds(machine, step, n) for n in range(1, cores + 1)}
    return next(n for n, value in times.items() if value <= 1.05 * min(times.values()))


def table(result: dict[str, Any]) -> Iterator[str]:
    """Measured, predicted, and for more cores."""
    machine, where, ms = machine_of(result), result["machine"], lambda value: claims.in_unit(value, "s")
    yield f"{where['cpu']}, {where['threads']} threads, {result['date'][:10]}"
    for name, value in vars(machine.rates).items():
        curve = value if isinstance(value, tuple) else ()
        yield f"  {name:15s}" + (", ".join(f"{x >> 10} KB {y:.3g}" for x, y in curve) or f"{value:.3g}")
    yield f"\n{'one step':42s}{'threads':>8s}{'measured':>11s}{'model':>11s}{'off':>6s}   % of it: {', '.join(TERMS)}"
    for sample in result["steps"]:
        terms = predict(machine, step_in(sample), sample["threads"])
        total, off = sum(terms.values()), error_of(machine, sample)
        name = sample["curve"] if sample["curve"] in WORKS else f"{sample['curve']} {sample['x']:g}"
        name += ", all inputs" * (sample["entries"] is None)
        shares = " ".join(f"{100 * value / total:3.0f}" for value in terms.values())
        yield f"{name:42s}{sample['threads']:8d}{ms(sample['median']):>11s}{ms(total):>11s}{off:+6.0%}   {shares}"
    yield f"a step takes {machine.whole:.2f} times its pieces (median of the {next(iter(CURVES))} curve on one thread)"
    for count in sorted({sample["threads"] for sample in result["steps"]}):
        held = [abs(error_of(machine, s)) for s in result["steps"] if s["threads"] == count and is_held_out(s)]
        off, worst = statistics.median(held or [0]), max(held, default=0)
        yield f"{len(held)} steps held out, threads {count}: the model is off by {off:.0%} (median), {worst:.0%} (worst)"
    yield "\nmore such cores, predicted (with the assumptions at their best and worst), and the fewest threads within 5 %"
    for work, step in WORKS.items():
        for cores in CORES:
            low, high = (ms(seconds(m, step, cores)) for m in bounds(machine))
            few = fewest_threads(machine, step, cores)
            all_, best = ms(seconds(machine, step, cores)), ms(seconds(machine, step, few))
            yield f"{work:42s}{cores:4d} threads {all_} ({low} to {high}); {few} threads {best}"


def _command(argv: Sequence[str] | None) -> int:
    usage = "python bench/scaling.py [measure | table | draw] [options]"
    parser = Parser("scaling", __doc__ or "", "python bench/scaling.py measure", usage=usage)
    parser.add_argument("verb", nargs="?", choices=("measure", "table", "draw"), default="table", help="default table")
    parser.add_argument("--quick", action="store_true", help="three short rounds")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="default bench/results")
    options = parser.parse_args(argv)
    path, of_nodes = options.results / "scaling.json", options.results / "nodes.json"
    if options.verb == "measure":
        result = measure(QUICK if options.quick else FULL, "bench/scaling.py measure" + " --quick" * options.quick)
        path.write_text(json.dumps(result) + "\n")
    found = {path: read(path)} | ({of_nodes: read(of_nodes, "bench/scaling_mpi.py")} if of_nodes.exists() else {})
    if options.verb == "draw":
        pictures = optional("scaling_pictures", "the pictures need Matplotlib; pip install 'fastmlp[plot]'")
        for source, result in found.items():
            pictures.save(getattr(pictures, source.stem), result, source.with_suffix(".png"))
        return 0
    for source, result in found.items():
        print(*(table if source == path else scaling_nodes.table)(result), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_command("scaling", _command, None))
