"""Distorted copies of images: random affine maps, and elastic distortion on top of them.

The pixel at p of a new image, measured from the centre, is the old one at M p + shift + u(p), bilinearly interpolated, zero
outside. M rotates, scales and shears. The displacement u is that of Simard, Steinkraus and Platt 2003, uniform noise
smoothed by a Gaussian of ``sigma`` pixels and scaled by ``elastic``. Smoothing is linear, and nearly all of the smoothed noise
is a few waves along each axis, so the noise is drawn in their basis: a tenth of the numbers and of the arithmetic.

Image r is a function of (seed, epoch, r): nothing depends on batches or threads. All functions here are raw.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .dropout import hash32
from .jit import kernel, piece
from .threads import share

_ENERGY = 0.999  # of the field that the waves must hold
_FIRST_NOISE = 6  # draws before it: angle, two scales, shear, two shifts


class Strengths(NamedTuple):
    """How far at most: angle in radians, parts of 1, parts of 1, pixels; and ``elastic`` in pixels. See ``ops.distort``."""

    rotation: float
    scale: float
    shear: float
    shift: float
    elastic: float


@lru_cache(maxsize=8)
def waves(length: int, sigma: float) -> np.ndarray:
    """[length, r]: A with A A^T close to the covariance of white noise along an axis after Gaussian smoothing.

    That is C[i, j] = exp(-(i - j)^2 / (4 sigma^2)) / (2 sqrt(pi) sigma); A holds its leading eigenvectors, each times the
    root of its eigenvalue.
    """
    distance = np.arange(length)[:, None] - np.arange(length)
    values, vectors = np.linalg.eigh(np.exp(-(distance**2) / (4 * sigma**2)) / (2 * math.sqrt(math.pi) * sigma))
    values, vectors = values[::-1].clip(0), vectors[:, ::-1]
    count = int(np.searchsorted(np.cumsum(values), _ENERGY * values.sum())) + 1
    vectors = vectors * np.where(vectors[0] < 0, -1, 1)  # the sign is the eigensolver's whim
    return np.ascontiguousarray(vectors[:, :count] * np.sqrt(values[:count]))


@piece
def _draw(key, k):
    """The k-th of an image's random numbers, uniform in [-1, 1)."""
    u = np.uint32
    return np.float64(hash32(u(u(key) + u(k)))) * 2.0**-31 - 1


@piece
def _displacement(elastic, A, B, Z, T, U):
    """U [h, w] = elastic * A Z B, with A [h, r], Z [r, s], B [s, w]; T [s] is scratch."""
    for i in range(A.shape[0]):
        for c in range(Z.shape[1]):
            total = 0.0
            for r in range(Z.shape[0]):
                total += A[i, r] * Z[r, c]
            T[c] = elastic * total
        for j in range(U.shape[1]):
            U[i, j] = 0.0
        for c in range(Z.shape[1]):
            for j in range(U.shape[1]):
                U[i, j] += T[c] * B[c, j]


@piece
def _sample(P, y, x):
    """The image in P [h + 2, w + 2], which has a border of zeros, at row y and column x, between its pixels."""
    h, w = P.shape[0] - 2, P.shape[1] - 2
    y, x = min(max(y, -1.0), np.float64(h)), min(max(x, -1.0), np.float64(w))
    top, left = min(math.floor(y), h - 1), min(math.floor(x), w - 1)
    dy, dx = y - top, x - left
    above = P[top + 1, left + 1] + dx * (P[top + 1, left + 2] - P[top + 1, left + 1])
    below = P[top + 2, left + 1] + dx * (P[top + 2, left + 2] - P[top + 2, left + 1])
    return above + dy * (below - above)


@kernel
def distort(part, parts, X, rows, seed, epoch, strengths, A, B, images, Z, T, fields, out):
    """out[i] = a distorted copy of X[rows[i]], for this part's i; X and out uint8 [., h * w].

    A [h, r] and B [s, w] are ``waves`` along the axes. Scratch for each part: images [h + 2, w + 2] zeros, Z [2, r, s], T [s],
    fields [2, h, w].
    """
    u = np.uint32
    lo, hi = share(part, parts, rows.size)
    P, U, h, w = images[part], fields[part], A.shape[0], B.shape[1]
    stream = hash32(u(hash32(u(seed)) + u(epoch)))
    for i in range(lo, hi):
        row = rows[i]
        key = hash32(u(stream + u(row)))
        for r in range(h):
            for c in range(w):
                P[r + 1, c + 1] = X[row, r * w + c]
        angle, shear = strengths.rotation * _draw(key, 0), strengths.shear * _draw(key, 3)
        tall, wide = 1 + strengths.scale * _draw(key, 1), 1 + strengths.scale * _draw(key, 2)
        down, right = strengths.shift * _draw(key, 4), strengths.shift * _draw(key, 5)
        cosine, sine = math.cos(angle), math.sin(angle)
        yy, yx = cosine * tall, cosine * shear - sine * wide
        xy, xx = sine * tall, sine * shear + cosine * wide
        if strengths.elastic > 0:
            k = _FIRST_NOISE
            for axis in range(2):
                for r in range(Z.shape[2]):
                    for c in range(Z.shape[3]):
                        Z[part, axis, r, c] = _draw(key, k)
                        k += 1
                _displacement(strengths.elastic, A, B, Z[part, axis], T[part], U[axis])
        for r in range(h):
            y = r - 0.5 * (h - 1)
            for c in range(w):
                x = c - 0.5 * (w - 1)
                from_y = 0.5 * (h - 1) + down + yy * y + yx * x + U[0, r, c]
                from_x = 0.5 * (w - 1) + right + xy * y + xx * x + U[1, r, c]
                out[i, r * w + c] = np.uint8(_sample(P, from_y, from_x) + 0.5)


def distort_arguments(h: int, w: int, sigma: float, parts: int) -> tuple[np.ndarray, ...]:
    """A, B and the scratch of ``distort``."""
    A, B = waves(h, sigma), np.ascontiguousarray(waves(w, sigma).T)
    r, s = A.shape[1], B.shape[0]
    scratch = ((h + 2, w + 2), (2, r, s), (s,), (2, h, w))
    return A, B, *(np.zeros((parts, *shape)) for shape in scratch)
