"""Run in a process of its own: the same work many times, and what the process then holds more than before.

Prints, a line for each work, the least resident bytes, file descriptors and threads in the last quarter of the calls
less the least in the second. What a process holds goes up and down by megabytes with the allocator's own room, stacks
and workspaces; what each call loses raises the least of it too. A work is the name of an op, shapes, fits, or run,
whose COUNT is in seconds.

    python soak.py COUNT WORK...
"""

import ctypes
import gc
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import fastmlp
import kernels
from fastmlp.data.synthetic import load_synthetic
from fastmlp.errors import Interrupted
from fastmlp.training.loop import Observer

from op_cases import OPS


def holdings() -> np.ndarray:
    """Resident bytes, without what the allocator has free, then file descriptors and threads."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return np.array([resident, len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))])


def growth(work, kinds: int, count: int) -> np.ndarray:
    """What ``work`` leaves from the second to the last quarter of ``count`` calls, once all ``kinds`` are loaded."""
    for k in range(kinds):
        work(k)
    gc.collect()
    gc.freeze()  # what there is already need not be searched at each reading
    quarter = count // 4
    readings: list[list[np.ndarray]] = [[], [], [], []]
    for k in range(4 * quarter):
        work(k)
        if k % (quarter // 10) == 0:
            readings[k // quarter].append(holdings())
    return np.min(readings[3], axis=0) - np.min(readings[1], axis=0)


def one_op(name):
    """Every case of the op by turns, on one to four threads by turns."""
    (op,) = (op for op in OPS if op.name == name)
    rng = np.random.default_rng(0)
    cases = [case for dtype in ("float32", "float64") for case in op.cases(rng, (60, 50, 40), np.dtype(dtype))]

    def work(k):
        args, kwargs = cases[k % len(cases)]
        with kernels.threads(1 + k % 4):
            op.fast(*args, **kwargs)

    return work, len(cases)


def shapes():
    """Another shape, network, number of threads and, every time, Python thread: workspaces are kept by thread."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(1, 120, (20, 3))

    def call(k):
        B, I, O = drawn[k % len(drawn)]
        X, y = (rng.random((B, I)) < 0.3).astype(np.uint8), rng.integers(0, O, B)
        network = kernels.Network((I, 1 + k % 7, O), dtype=("float32", "float64")[k % 2])
        with kernels.threads(1 + k % 8):
            kernels.mlp_train_steps(X, y, np.arange(B), 16, network, rule=kernels.sgd(), lr=np.full(-(-B // 16), 0.1))
            kernels.mlp_forward(kernels.csr(X), network, scale=1 / (1 + k))

    def work(k):
        call(k)
        thread = threading.Thread(target=call, args=(k,))
        thread.start()
        thread.join()

    return work, 2  # dtypes


def fits():
    """A run, its model saved, loaded and dropped."""
    data, folder = load_synthetic(seed=1, n=300, n_test=50), tempfile.mkdtemp()

    def work(k):
        model = fastmlp.fit(data, epochs=2, hidden=(32,), seed=k, threads=1 + k % 4, dropout=0.1 * (k % 2)).model
        path = Path(folder, "model.npz")
        model.save(path)
        assert fastmlp.load_model(path).predict(data.X_test).tobytes() == model.predict(data.X_test).tobytes()
        path.unlink()

    return work, 4


def long_run(seconds: int) -> np.ndarray:
    """One run of so many seconds, read ten times a quarter; few reports, as each is kept."""
    data = load_synthetic(seed=1, n=1500, n_test=500)
    start, readings = time.monotonic(), []

    def stop():
        if time.monotonic() - start > seconds * len(readings) / 40:
            readings.append(holdings())
        return len(readings) == 40

    try:
        fastmlp.fit(data, steps=10**9, report_steps=10_000, lr=0.01, schedule="constant", observer=Observer(stop=stop))
    except Interrupted:
        return np.min(readings[-10:], axis=0) - np.min(readings[10:20], axis=0)
    raise AssertionError("the run ended by itself")


if __name__ == "__main__":
    count = int(sys.argv[1])
    for what in sys.argv[2:]:
        if what == "run":
            print(*long_run(count))
        else:
            made = {"shapes": shapes, "fits": fits}[what]() if what in ("shapes", "fits") else one_op(what)
            print(*growth(*made, count))
