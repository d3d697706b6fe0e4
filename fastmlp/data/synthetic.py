"""Built-in digits: pen strokes with random slant, bend, thickness and noise, so that the program runs on any machine.

Each class has a few ways of being written, each a set of smooth strokes through control points in the unit square (x to
the right, y down). A sample picks one, moves its control points, bends the plane with two slow waves, applies an affine
map, and draws the strokes as a blurred line into 28 x 28 pixels. All is drawn for a whole block of samples at once.
"""

from __future__ import annotations

import numpy as np

from .cached import cached
from .dataset import Dataset

SIDE = 28
_POINTS = 96  # dots a digit is drawn with
_BLOCK = 2000
_BLUR_RADIUS = 3
_VERSION = 1  # of the images: one more whenever other images are drawn

_Stroke = tuple[tuple[float, float], ...]
_STROKES: dict[int, list[list[_Stroke]]] = {
    0: [
        [((0.52, 0.10), (0.28, 0.25), (0.24, 0.55), (0.38, 0.88), (0.62, 0.86), (0.77, 0.55),
          (0.70, 0.22), (0.50, 0.10))],
        [((0.60, 0.12), (0.35, 0.20), (0.28, 0.60), (0.48, 0.90), (0.72, 0.65), (0.70, 0.28), (0.45, 0.14))],
    ],
    1: [
        [((0.55, 0.10), (0.51, 0.50), (0.47, 0.92))],
        [((0.34, 0.28), (0.53, 0.10), (0.52, 0.50), (0.51, 0.92))],
        [((0.36, 0.27), (0.53, 0.10), (0.52, 0.90)), ((0.32, 0.91), (0.72, 0.90))],
    ],
    2: [
        [((0.26, 0.28), (0.40, 0.11), (0.66, 0.15), (0.70, 0.36), (0.48, 0.64), (0.24, 0.88)),
         ((0.24, 0.88), (0.78, 0.86))],
        [((0.28, 0.24), (0.52, 0.10), (0.72, 0.28), (0.52, 0.60), (0.27, 0.86), (0.30, 0.70),
          (0.48, 0.76), (0.80, 0.88))],
    ],
    3: [
        [((0.27, 0.17), (0.52, 0.10), (0.70, 0.24), (0.62, 0.42), (0.42, 0.48)),
         ((0.42, 0.48), (0.70, 0.54), (0.72, 0.76), (0.50, 0.91), (0.24, 0.82))],
        [((0.26, 0.13), (0.70, 0.13), (0.46, 0.42)),
         ((0.46, 0.42), (0.74, 0.58), (0.66, 0.84), (0.42, 0.90), (0.25, 0.80))],
    ],
    4: [
        [((0.58, 0.10), (0.38, 0.38), (0.22, 0.62)), ((0.22, 0.62), (0.80, 0.60)), ((0.62, 0.36), (0.60, 0.92))],
        [((0.28, 0.12), (0.25, 0.48), (0.46, 0.56), (0.70, 0.48)), ((0.72, 0.10), (0.68, 0.92))],
    ],
    5: [
        [((0.72, 0.12), (0.36, 0.13)), ((0.36, 0.13), (0.31, 0.44)),
         ((0.31, 0.44), (0.52, 0.38), (0.72, 0.56), (0.66, 0.80), (0.46, 0.90), (0.25, 0.82))],
        [((0.74, 0.14), (0.42, 0.16), (0.34, 0.42), (0.58, 0.50), (0.66, 0.72), (0.48, 0.88), (0.26, 0.86))],
    ],
    6: [
        [((0.62, 0.10), (0.40, 0.30), (0.28, 0.62), (0.38, 0.87), (0.60, 0.88), (0.70, 0.70),
          (0.56, 0.55), (0.32, 0.66))],
        [((0.52, 0.09), (0.34, 0.40), (0.32, 0.78), (0.54, 0.90), (0.66, 0.72), (0.50, 0.60), (0.34, 0.74))],
    ],
    7: [
        [((0.24, 0.15), (0.76, 0.13)), ((0.76, 0.13), (0.58, 0.48), (0.45, 0.92))],
        [((0.24, 0.16), (0.74, 0.14)), ((0.74, 0.14), (0.56, 0.50), (0.46, 0.92)), ((0.36, 0.52), (0.70, 0.50))],
    ],
    8: [
        [((0.64, 0.18), (0.44, 0.10), (0.32, 0.28), (0.52, 0.48), (0.72, 0.70), (0.50, 0.91), (0.29, 0.72),
          (0.50, 0.48), (0.69, 0.28), (0.60, 0.14))],
        [((0.50, 0.10), (0.33, 0.28), (0.50, 0.46), (0.67, 0.28), (0.50, 0.10)),
         ((0.50, 0.46), (0.28, 0.70), (0.50, 0.91), (0.72, 0.70), (0.50, 0.46))],
    ],
    9: [
        [((0.70, 0.26), (0.48, 0.11), (0.30, 0.30), (0.46, 0.48), (0.68, 0.34)),
         ((0.70, 0.24), (0.67, 0.60), (0.55, 0.92))],
        [((0.66, 0.22), (0.42, 0.14), (0.32, 0.36), (0.54, 0.46), (0.69, 0.24), (0.66, 0.62), (0.40, 0.90))],
    ],
}  # fmt: skip


def _smooth(control: np.ndarray, count: int) -> np.ndarray:
    """Weights [count, K] of K control points at ``count`` places along their Catmull-Rom spline."""
    K = len(control)
    position = np.linspace(0, K - 1, count)
    segment = np.minimum(position.astype(int), K - 2)
    u = (position - segment)[:, None]
    basis = 0.5 * np.concatenate(
        (-u + 2 * u**2 - u**3, 2 - 5 * u**2 + 3 * u**3, u + 4 * u**2 - 3 * u**3, -(u**2) + u**3), axis=1
    )
    weights = np.zeros((count, K))
    for k, offset in enumerate((-1, 0, 1, 2)):
        np.add.at(weights, (np.arange(count), np.clip(segment + offset, 0, K - 1)), basis[:, k])
    return weights


def _template(strokes: list[_Stroke]) -> tuple[np.ndarray, np.ndarray]:
    """(control points [K, 2], weights [POINTS, K]): the dots of a digit as a linear map of its control points."""
    points = [np.array(stroke) for stroke in strokes]
    lengths = np.array([np.linalg.norm(np.diff(p, axis=0), axis=1).sum() for p in points])
    counts = np.maximum(2, np.floor(_POINTS * lengths / lengths.sum())).astype(int)
    counts[np.argmax(counts)] += _POINTS - counts.sum()
    weights = np.zeros((_POINTS, sum(map(len, points))))
    row = column = 0
    for p, count in zip(points, counts):
        weights[row : row + count, column : column + len(p)] = _smooth(p, count)
        row, column = row + count, column + len(p)
    return np.concatenate(points), weights


def _dots(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The places of each sample's dots, [N, POINTS, 2] in pixels."""
    dots = np.empty((len(labels), _POINTS, 2))
    for digit, ways in _STROKES.items():
        rows = np.flatnonzero(labels == digit)
        way = rng.integers(len(ways), size=len(rows))
        for k, strokes in enumerate(ways):
            mine = rows[way == k]
            control, weights = _template(strokes)
            moved = control + rng.normal(0, 0.030, (len(mine), *control.shape))
            dots[mine] = np.einsum("pk,nkc->npc", weights, moved)
    dots -= 0.5
    for _ in range(2):  # slow waves across the plane: an elastic distortion
        direction = rng.normal(0, 3.2, (len(labels), 1, 2))
        phase = rng.uniform(0, 2 * np.pi, (len(labels), 1))
        shift = rng.normal(0, 0.030, (len(labels), 1, 2))
        dots += shift * np.sin((dots * direction).sum(-1) + phase)[..., None]
    angle = rng.normal(0, 0.13, len(labels))
    slant = rng.normal(0.10, 0.22, len(labels))
    width, height = rng.uniform(0.68, 1.10, len(labels)), rng.uniform(0.84, 1.08, len(labels))
    x, y = dots[..., 0] * width[:, None], dots[..., 1] * height[:, None]
    x = x - slant[:, None] * y
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    centre = rng.normal(0, 0.9, (len(labels), 2))
    side = SIDE * 0.74
    pixels = np.stack((x * c - y * s, x * s + y * c), -1) * side + centre[:, None, :] + (SIDE - 1) / 2
    return np.clip(pixels, 0, SIDE - 1.001)


def _draw(dots: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blurred dots as images, uint8 [N, 784]."""
    N = len(dots)
    corner = dots.astype(int)
    part = dots - corner
    ink = np.zeros(N * SIDE * SIDE)
    base = (np.arange(N)[:, None] * SIDE + corner[..., 1]) * SIDE + corner[..., 0]
    for dy in (0, 1):
        for dx in (0, 1):
            share = np.abs(1 - dx - part[..., 0]) * np.abs(1 - dy - part[..., 1])
            ink += np.bincount((base + dy * SIDE + dx).ravel(), share.ravel(), minlength=len(ink))
    image = ink.reshape(N, SIDE, SIDE)
    thickness = rng.uniform(0.55, 1.15, (N, 1, 1))
    reach = range(-_BLUR_RADIUS, _BLUR_RADIUS + 1)
    for axis in (1, 2):
        padded = np.pad(image, [(0, 0)] + [(_BLUR_RADIUS,) * 2 if axis == a else (0, 0) for a in (1, 2)])
        shifted = [padded.take(range(_BLUR_RADIUS + step, _BLUR_RADIUS + step + SIDE), axis) for step in reach]
        image = np.sum([np.exp(-0.5 * (step / thickness) ** 2) * part for step, part in zip(reach, shifted)], axis=0)
    image = image / np.quantile(image.reshape(N, -1), 0.90, axis=1)[:, None, None]
    image = np.clip(rng.uniform(0.95, 1.45, (N, 1, 1)) * image - 0.22, 0, 1)
    noise = rng.normal(0, 0.10, image.shape)  # on the ink only, as paper is white
    return np.round(np.clip(image + noise * (image > 0), 0, 1) * 255).astype(np.uint8).reshape(N, -1)


def synthetic_digits(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(X uint8 [n, 784], y int64 [n]): n handwriting-like digits, the same for the same seed."""
    rng = np.random.default_rng([seed, 28])
    y = rng.integers(10, size=n)
    blocks = [_draw(_dots(y[k : k + _BLOCK], rng), rng) for k in range(0, n, _BLOCK)]
    return np.concatenate(blocks) if blocks else np.empty((0, SIDE * SIDE), np.uint8), y


def load_synthetic(seed: int = 0, n: int = 20_000, n_test: int = 5_000) -> Dataset:
    """The built-in data set, drawn once (5 seconds) and kept in the cache."""
    key = f"synthetic digits {_VERSION}: {n + n_test} of seed {seed}".encode()
    X, y = cached("synthetic", key, lambda: dict(zip("Xy", synthetic_digits(n + n_test, seed)))).values()
    classes = tuple(map(str, range(10)))
    return Dataset("synthetic", X[:n], y[:n], X[n:], y[n:], classes, "synthetic digits", image_shape=(SIDE, SIDE))
