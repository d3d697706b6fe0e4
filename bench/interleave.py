"""Timing in turns: every round has a block for each call, so that whatever slows the machine slows all of them."""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Effort(NamedTuple):
    """How long to measure. The pause is needed: a BLAS keeps threads spinning for a tenth of a second after a call."""

    rounds: int = 7
    block_seconds: float = 0.1
    pause_seconds: float = 0.3
    seeds: int = 3
    patient: bool = True  # include peers that compile for half a minute
    minutes: float = 5  # for all measurements and peers together
    tiny: bool = False  # the smallest works, for tests


FULL, QUICK = Effort(), Effort(rounds=3, block_seconds=0.03, seeds=1, patient=False, minutes=2)


def spread(values: list[float]) -> dict[str, Any]:
    """Median, quartiles and number of the values."""
    q1, median, q3 = statistics.quantiles(values, method="inclusive") if len(values) > 1 else values * 3
    return {"median": median, "q1": q1, "q3": q3, "rounds": len(values)}


def interleave(
    calls: Mapping[str, Callable[[], Any]], effort: Effort, until: float = math.inf
) -> dict[str, list[float]]:
    """Seconds of each call in each round: the median of a block, which follows a pause and an untimed call.

    No round but the first begins after ``until`` on the monotonic clock.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for k in range(effort.rounds):
        if k and time.monotonic() > until:
            break
        for name, call in calls.items():
            time.sleep(effort.pause_seconds)
            call()
            block, stop = [], time.perf_counter() + effort.block_seconds
            while not block or time.perf_counter() < stop:
                start = time.perf_counter()
                call()
                block.append(time.perf_counter() - start)
            seconds[name].append(statistics.median(block))
    return seconds
