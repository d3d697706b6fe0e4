"""Compares the speed with a recorded baseline: the ratio to NumPy's time, and the instructions of a call.

python bench/compare.py [--quick] [--record] [--baseline FILE]

Each kind of processor, by LLVM's name, has a baseline of its own, as results/baseline_znver4.json. The ratio to NumPy
is measured in turns in one run, so that whatever slows the machine cancels; callgrind counts the instructions of the
hot kernels where valgrind is installed, the same number every time. The exit code is 1 beyond the thresholds; --quick
measures roughly and never fails.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import counted
import numba
import numpy as np

from fastmlp.cli import Parser, command, say
from fastmlp.doctor import _cpu_name
from fastmlp.errors import InputError, RunError
from kernels.jit.numba_private import target

import claims
from claims import Session
from interleave import QUICK, Effort, interleave, spread

BASELINE = Path(__file__).with_name("results") / f"baseline_{target()[0]}.json"
NUMPY = "NumPy float32"
EFFORT = Effort(rounds=9)

# Valgrind runs AVX2 at most; these are the features of Haswell, the first CPU to have it.
AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+64bit,+avx,+avx2,+bmi,+bmi2,+cmov,+cx16,+cx8,+f16c,+fma,+fxsr,+lzcnt,+mmx,+movbe,+popcnt,"
    "+sahf,+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3",
    "FASTMLP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0",
}  # fmt: skip


# By kind: a title, and the largest accepted change as a factor of the baseline's value, above 1 where less is better.
MEASURES = {
    # In four runs on a busy machine the ratio of one network was between 3.0 and 4.3, a fifth to either side.
    "ratios": ("times faster than NumPy", 0.7),
    # Two runs differed by 0.35 % where a call is mostly Python, by 0.03 % where it is mostly the kernel.
    "instructions": ("instructions a call (AVX2, one thread)", 1.02),
}


def ratios(effort: Effort = EFFORT) -> dict[str, Any]:
    """{"where": the machine and versions, "values": {work: median over the rounds of NumPy's time over ours}}."""
    session = Session((claims.OURS, "numpy"), effort, say=say)
    values = {}

    def add(what: str, calls: Any) -> None:
        seconds = interleave({name: calls[name] for name in (claims.OURS, NUMPY)}, effort)
        values[what] = spread([b / a for a, b in zip(*seconds.values())])["median"]

    for which in ("small", "large", "table"):
        work, steps = claims.training_work(session, which)
        say(f"training steps: {work}")
        add(f"a step of {work}", claims.training_calls(session, work, steps))
    for samples in (1, 10_000):
        say(f"prediction: {samples:,} at a time")
        add(f"logits of {samples:,}", claims.prediction_calls(session, samples))
    return {"where": f"{_cpu_name()}, {session.threads} threads, NumPy {np.__version__}", "values": values}


def instructions() -> dict[str, Any] | None:
    """The same for the instructions of a call of each hot kernel; None without valgrind."""
    if shutil.which("valgrind") is None:
        say("valgrind is not installed: instructions are not counted")
        return None
    say("counting instructions, a minute or two")
    counting = [sys.executable, counted.__file__]
    environment = {**os.environ, **AVX2, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    with tempfile.TemporaryDirectory() as scratch:
        options = f"--callgrind-out-file={scratch}/dump", f"--dump-before={counted.MARKER}"
        callgrind = ["valgrind", "--tool=callgrind", *options]
        for prefix in ([], callgrind):  # the first compiles
            result = subprocess.run([*prefix, *counting], capture_output=True, text=True, env=environment)
            if result.returncode:
                raise RunError(
                    f"{(prefix or counting)[0]} ended with exit code {result.returncode}: {result.stderr[-300:]}"
                )
        dumps = sorted(Path(scratch).glob("dump.*"), key=lambda path: int(path.suffix[1:]))
        totals = [int(dump.read_text().rpartition("totals: ")[2].split()[0]) for dump in dumps]
    values = per_call(totals)
    where = f"numba {numba.__version__}, llvmlite {claims.versions()['llvmlite']}"
    return {"where": where, "values": values}


def per_call(totals: Sequence[int]) -> dict[str, float]:
    """Instructions of a call, from the totals between markers: for each kernel, before it, of n calls, of 2 n calls."""
    once, twice = totals[1::3], totals[2::3]
    return {name: (b - a) / counted.CALLS for name, a, b in zip(counted.names(), once, twice, strict=True)}


def verdict(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[str], list[str]]:
    """(the table's lines, the names worse than accepted); values recorded elsewhere are shown but not judged."""
    lines, failing = [], []
    for kind, (title, worst) in MEASURES.items():
        if kind not in new:
            continue
        recorded, now = old.get(kind, {"where": "nowhere", "values": {}}), new[kind]
        judged = recorded["where"] == now["where"]
        note = "" if judged else f"; not judged: recorded {recorded['where']}, now {now['where']}"
        lines += [f"{title}; {worst:g} of the baseline is accepted{note}"]
        lines += [f"  {'':60s}{'baseline':>12s}{'now':>12s}{'change':>9s}"]
        for name in {**recorded["values"], **now["values"]}:
            a, b = recorded["values"].get(name), now["values"].get(name)
            change = f"{b / a - 1:+9.1%}" if a and b else f"{'':9s}"
            bad = judged and a is not None and (b is None or (b > a * worst if worst > 1 else b < a * worst))
            lines.append(f"  {name:60s}{_figure(a):>12s}{_figure(b):>12s}{change}{'  WORSE' * bad}")
            failing += [name] * bad
    return lines, failing


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 1000 else f"{value:,.0f}"


@command("compare")
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        "compare", __doc__ or "", "python bench/compare.py --record", usage="python bench/compare.py [options]"
    )
    parser.add_argument(
        "--quick", action="store_true", help="less exact and sooner done; exit code 0 whatever it finds"
    )
    parser.add_argument("--record", action="store_true", help="store what is measured as the baseline")
    parser.add_argument("--baseline", type=Path, default=BASELINE, metavar="FILE", help=f"default {BASELINE.name}")
    options = parser.parse_args(argv)
    old = {}
    if options.baseline.exists():
        old = json.loads(options.baseline.read_text())
    elif not (options.record or options.quick):
        raise InputError(f"{options.baseline}: no such file; --record makes it")
    effort = QUICK if options.quick else EFFORT
    new = {kind: found for kind, found in (("ratios", ratios(effort)), ("instructions", instructions())) if found}
    lines, worse = verdict(old, new)
    print(*lines, sep="\n")
    if options.record:
        options.baseline.write_text(json.dumps({**old, **new}, indent=1) + "\n")
        say(f"recorded in {options.baseline}")
        return 0
    if worse and not options.quick:
        raise RunError(f"slower than the baseline: {'; '.join(worse)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
