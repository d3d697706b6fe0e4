"""Distorted copies of images: random affine maps, and elastic distortion on top of them.

Pixel p of the new image, measured from the centre, is the old image at M p + shift + u(p), bilinearly interpolated;
outside it is a fixed value. M rotates, scales and shears. The displacement u is that of Simard, Steinkraus and Platt
2003: uniform noise smoothed by a Gaussian of ``sigma`` pixels and scaled by ``elastic``. Smoothing is linear, and a few
waves on each axis hold nearly all the smoothed noise, so it is drawn in their basis: a tenth of the numbers and work.

Image r is a function of (seed, epoch, r), whatever the batches and threads. All functions here are raw.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .bundles import Matrix, after
from .dropout_mask import hash32
from .gemm import gemm_in_place
from .intrinsics import flat
from .jit import kernel, piece
from .team import share

_ENERGY = 0.999  # the share of the field's variance that the waves must hold
_FIRST_NOISE = 6  # the index of the first noise draw, behind angle, two scales, shear, two shifts


class Strengths(NamedTuple):
    """The largest distortions: an angle in radians, two ratios, and two distances in pixels. See ``ops.distort``."""

    rotation: float
    scale: float
    shear: float
    shift: float
    elastic: float


@lru_cache(maxsize=8)
def waves(length: int, sigma: float) -> np.ndarray:
    """[length, r]: A with A A^T close to the covariance of white noise along an axis after Gaussian smoothing.

    That is C[i, j] = exp(-(i - j)^2 / (4 sigma^2)) / (2 sqrt(pi) sigma); A holds its leading eigenvectors, each times
    the root of its eigenvalue.
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
def _sample(P, y, x, corner, out, o):
    """out[o + p] = the image at row y[p], column x[p], interpolated; P [h + 2, w + 2] is the image with a border.

    Two loops: LLVM vectorises the first, but not the second, which gathers. Overwrites y and x.
    """
    h, w = P.shape[0] - 2, P.shape[1] - 2
    for p in range(h * w):
        down, right = min(max(y[p], -1.0), np.float64(h)), min(max(x[p], -1.0), np.float64(w))
        top, left = min(np.floor(down), h - 1.0), min(np.floor(right), w - 1.0)
        y[p], x[p] = down - top, right - left
        corner[p] = np.int64((top + 1.0) * (w + 2.0) + (left + 1.0))
    flat_P, one, row = flat(P), np.uintp(1), np.uintp(w + 2)
    for p in range(h * w):
        k = np.uintp(corner[p])
        above = flat_P[k] + x[p] * (flat_P[k + one] - flat_P[k])
        below = flat_P[k + row] + x[p] * (flat_P[k + row + one] - flat_P[k + row])
        out[o + p] = np.uint8(above + y[p] * (below - above) + 0.5)


class Field(NamedTuple):
    """``waves`` along the axes, A [h, r] and B [s, w]; ``grid`` [2, h * w], each pixel's y and x from the centre."""

    A: np.ndarray
    B: np.ndarray
    grid: np.ndarray


class Canvas(NamedTuple):
    """Scratch memory; each array has one more dimension, of parts, before those given."""

    images: np.ndarray  # [h + 2, w + 2], filled with the value outside of images
    noise: np.ndarray  # [r, s]
    products: np.ndarray  # [r, w]
    displacements: np.ndarray  # [2, h * w] zeros
    places: np.ndarray  # [2, h * w]
    corners: np.ndarray  # [h * w], int64


@piece
def _displace(key, strength, field, noise, products, displacements):
    """displacements[axis] = A @ noise @ B for both axes, with noise drawn from ``key``."""
    (h, r), (s, w), k = field.A.shape, field.B.shape, _FIRST_NOISE
    A, B = Matrix(flat(field.A), r, 1), Matrix(flat(field.B), w, 1)
    Z, M = Matrix(flat(noise), s, 1), Matrix(flat(products), w, 1)
    for axis in range(2):
        for i in range(r):
            for j in range(s):
                noise[i, j] = strength * _draw(key, k)
                k += 1
        gemm_in_place(r, w, s, Z, B, M, False)
        gemm_in_place(h, w, r, A, M, Matrix(after(flat(displacements), axis * h * w), w, 1), False)


@kernel
def distort(part, parts, X, rows, seed, epoch, strengths, field, canvas, out):
    """out[i] = a distorted copy of X[rows[i]], for this part's i; X and out uint8 [., h * w]."""
    u = np.uint32
    lo, hi = share(part, parts, rows.size)
    image, U, h, w = canvas.images[part], canvas.displacements[part], field.A.shape[0], field.B.shape[1]
    ys, xs, grid = canvas.places[part, 0], canvas.places[part, 1], field.grid
    stream = hash32(u(hash32(u(seed)) + u(epoch)))
    for i in range(lo, hi):
        row = rows[i]
        key = hash32(u(stream + u(row)))
        for r in range(h):
            for c in range(w):
                image[r + 1, c + 1] = X[row, r * w + c]
        angle, shear = strengths.rotation * _draw(key, 0), strengths.shear * _draw(key, 3)
        tall, wide = 1 + strengths.scale * _draw(key, 1), 1 + strengths.scale * _draw(key, 2)
        down, right = strengths.shift * _draw(key, 4), strengths.shift * _draw(key, 5)
        cosine, sine = math.cos(angle), math.sin(angle)
        yy, yx = cosine * tall, cosine * shear - sine * wide
        xy, xx = sine * tall, sine * shear + cosine * wide
        if strengths.elastic > 0:
            _displace(key, strengths.elastic, field, canvas.noise[part], canvas.products[part], U)
        from_y, from_x = 0.5 * (h - 1) + down, 0.5 * (w - 1) + right
        for p in range(h * w):
            ys[p] = from_y + yy * grid[0, p] + yx * grid[1, p] + U[0, p]
            xs[p] = from_x + xy * grid[0, p] + xx * grid[1, p] + U[1, p]
        _sample(image, ys, xs, canvas.corners[part], flat(out), i * h * w)


def field_and_canvas(h: int, w: int, sigma: float, fill: int, parts: int) -> tuple[Field, Canvas]:
    """The waves and the scratch that ``distort`` needs for h x w images with ``fill`` outside."""
    A, B = waves(h, sigma), np.ascontiguousarray(waves(w, sigma).T)
    r, s = A.shape[1], B.shape[0]
    grid = np.indices((h, w)).reshape(2, -1) - 0.5 * np.array([[h - 1], [w - 1]])
    shapes = ((r, s), (r, w), (2, h * w), (2, h * w))
    images, corners = np.full((parts, h + 2, w + 2), float(fill)), np.zeros((parts, h * w), np.int64)
    arrays = (images, *(np.zeros((parts, *shape)) for shape in shapes), corners)
    return Field(A, B, grid), Canvas(*arrays)
