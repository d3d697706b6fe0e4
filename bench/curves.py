"""How a training step's cost grows: with the non-zeros of the input, the hidden width, and the batch.

python bench/curves.py [PICTURE.png]

Prints the medians, and a straight line's fit to each; with Matplotlib it draws them. 784-256-10, batch 128, 19 % of the inputs
not zero, SGD, float32, one of these varied at a time; the points are visited in turn, round after round.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np

import kernels

ROUNDS = 15
STEPS = 40
NETWORK = {"density": 0.19, "hidden": 256, "batch": 128}
CURVES = {
    "density": (0.02, 0.05, 0.1, 0.2, 0.3, 0.4),
    "hidden": (64, 128, 256, 512, 1024),
    "batch": (32, 64, 128, 256, 512, 1024),
}
UNITS = {"density": "part of the inputs that are not zero", "hidden": "hidden units", "batch": "samples a step"}


def step_call(density, hidden, batch):
    """A call that trains STEPS steps."""
    rng = np.random.default_rng(0)
    samples = 4 * batch
    X = np.where(rng.random((samples, 784)) < density, rng.integers(1, 256, (samples, 784)), 0).astype(np.uint8)
    X, y = kernels.csr(X), rng.integers(0, 10, samples)
    network = kernels.Network((784, hidden, 10))
    for W, _ in network.layers:
        W[...] = rng.standard_normal(W.shape) * (2 / len(W)) ** 0.5
    rows = np.concatenate([rng.permutation(samples) for _ in range(STEPS // 4)])
    lr = np.full(STEPS, 1e-3)
    return lambda: kernels.mlp_train_steps(X, y, rows, batch, network, rule=kernels.sgd(), lr=lr, scale=1 / 255)


def measure():
    """{curve: [(x, milliseconds a step)]}, medians over rounds."""
    points = {(curve, x): step_call(**{**NETWORK, curve: x}) for curve, xs in CURVES.items() for x in xs}
    times = {point: [] for point in points}
    for _ in range(ROUNDS + 1):
        for point, call in points.items():
            start = time.perf_counter()
            call()
            times[point].append(time.perf_counter() - start)
    medians = {point: 1000 * statistics.median(seconds[1:]) / STEPS for point, seconds in times.items()}
    return {curve: [(x, medians[curve, x]) for x in xs] for curve, xs in CURVES.items()}


def fit(points):
    """(slope, intercept, R²) of the least squares line."""
    x, y = map(np.array, zip(*points))
    slope, intercept = np.polyfit(x, y, 1)
    return slope, intercept, 1 - np.var(y - slope * x - intercept) / np.var(y)


def draw(curves, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.8), layout="constrained")
    for ax, (curve, points) in zip(figure.subplots(1, len(curves)), curves.items()):
        x, y = zip(*points)
        slope, intercept, _ = fit(points)
        ax.plot(x, y, "o", color="#0072B2")
        ax.plot([0, x[-1]], [intercept, intercept + slope * x[-1]], "-", color="#999999", linewidth=1, zorder=0)
        ax.set(xlabel=UNITS[curve], xlim=(0, None), ylim=(0, None))
        ax.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("ms a step")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    curves = measure()
    for curve, points in curves.items():
        slope, intercept, r2 = fit(points)
        listed = ", ".join(f"{x:g}: {ms:.3f}" for x, ms in points)
        print(f"{curve}: {listed} ms; line {intercept:.3f} + {slope:.3g} x, R² {r2:.3f}")
    if len(sys.argv) > 1:
        draw(curves, sys.argv[1])
