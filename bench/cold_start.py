"""Simulates how long the first run would compile on CORES cores, from CPU times on a machine that may have fewer.

CORES workers compile here, on the cores there are. For each kernel the script records the worker's CPU time and when it
requested others; the schedule is then simulated with a core for each worker. That ignores that more cores share caches
and memory, and clock lower. On a busy machine idle workers end, and there are more than three rounds. Linux only.

python bench/cold_start.py CORES [options of train]
"""

import heapq
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")


class Compiled(NamedTuple):
    size: int
    seconds: float
    asked: list[tuple[float, Any]]  # (seconds since its start, the requested task)


def cpu_seconds(process: int) -> float:
    with open(f"/proc/{process}/stat") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS


def finished(first: list[Any], compiled: dict[Any, Compiled], free: list[float], now: float) -> float:
    """When workers, each ``free`` from its time on, have compiled the first tasks and all tasks that these request."""
    known, waiting, end = set(first), [], now
    asked = [(now, number, task) for number, task in enumerate(first)]
    heapq.heapify(free)
    while asked or waiting:
        now = max(free[0], now if waiting else asked[0][0])
        while asked and asked[0][0] <= now:
            _, number, task = heapq.heappop(asked)
            heapq.heappush(waiting, (-compiled[task].size, number, task))
        *_, task = heapq.heappop(waiting)
        for after, other in compiled[task].asked:
            if other not in known:
                known.add(other)
                heapq.heappush(asked, (now + after, len(known), other))
        done = now + compiled[task].seconds
        heapq.heapreplace(free, done)
        end = max(end, done)
    return end


def main(cores: int, options: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.environ["FASTMLP_CACHE"] = f"{directory}/cache"
        os.environ.setdefault("FASTMLP_DATA", f"{directory}/data")
        from fastmlp.train import main as train
        from kernels import jit
        from kernels.jit import workers

        compiled: dict[Any, Compiled] = {}
        # (tasks, this process's CPU seconds then, and when they were done).
        rounds: list[tuple[list[Any], float, float]] = []
        started: dict[int, float] = {}
        compile_one, compile_round, returned = workers._Worker.compile, workers._Team.compile, [0.0]

        def note_one(worker: Any, task: Any) -> Iterator[Any]:
            process, asked = worker.process.pid, []
            before = cpu_seconds(process)
            started.setdefault(process, before)
            for other in compile_one(worker, task):
                asked.append((cpu_seconds(process) - before, other))
                yield other
            compiled[task] = Compiled(workers._size(task), cpu_seconds(process) - before, asked)

        def note_round(team: Any, tasks: Any) -> None:
            first, before = [task for *_, task in tasks._waiting], time.process_time()
            compile_round(team, tasks)
            rounds.append((first, before, time.process_time()))

        workers._Worker.compile, workers._Team.compile, workers.available_cores = note_one, note_round, lambda: cores
        arguments = ["--epochs", "1", "-q", "--out", f"{directory}/run", *options]
        compile_for = jit.compile_for

        def note_end(calls: Any) -> None:
            compile_for(calls)
            returned[0] = time.process_time()

        jit.compile_for = note_end
        if train(arguments):
            return
        free, now = sorted(started.values()), 0.0  # a worker's start counts in full
        for k, (first, _, done) in enumerate(rounds):
            now = finished(first, compiled, free, now)
            now += (rounds[k + 1][1] if k + 1 < len(rounds) else returned[0]) - done
        work = sum(each.seconds for each in compiled.values())
        print(
            f"{len(compiled)} kernels, {work:.1f} s of work, {len(rounds)} rounds; on {cores} cores "
            f"{now:.1f} s of compiling"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
