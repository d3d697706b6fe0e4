"""A library of functions, in the ways that Numba has: kept, parallel, with signatures, in classes, with objects."""

import numpy as np
from numba import float64, int64, njit, objmode, prange
from numba.experimental import jitclass

import kernels
from kernels import raw, simd


@njit(cache=True)
def total(x):
    """The sum of x, float32 or float64."""
    lanes, sums = simd.lanes(x), simd.zeros(x)
    for i in range(0, x.size, lanes):
        sums = sums + simd.load_masked(x, i, x.size - i)
    return simd.reduce_add(sums)


@njit("float64(float64[::1], float64[::1])", cache=True)
def dot(x, y):
    lanes, sums = simd.lanes(x), simd.zeros(x)
    for i in range(0, x.size, lanes):
        sums = simd.fma(simd.load_masked(x, i, x.size - i), simd.load_masked(y, i, x.size - i), sums)
    return simd.reduce_add(sums)


@njit(cache=True, parallel=True)
def totals(X, out):
    for r in prange(len(X)):
        out[r] = total(X[r])


@kernels.kernel
def entropy(P):
    """Of the first row of P, in bits."""
    bits = 0.0
    for p in P[0]:
        bits -= p * np.log2(p)
    return bits


@njit(parallel=True)
def probabilities(Z, P):
    """softmax of Z by a kernel, which Numba does not keep."""
    for part in prange(4):
        raw.softmax(part, 4, Z, P)
    return entropy(P)


@jitclass([("count", int64), ("sum", float64)])
class Mean:
    def __init__(self):
        self.count, self.sum = 0, 0.0

    def add(self, x):
        self.count += x.size
        self.sum += total(x)

    def value(self):
        return self.sum / self.count


@njit
def features(X, W):
    """X W by a public op, between compiled code."""
    with objmode(Y="float64[:, ::1]"):
        Y = kernels.linear_forward(X, W)
    return Y + 1


def check():
    X = np.random.default_rng(0).standard_normal((9, 131))
    out, P, mean = np.empty(9), np.empty_like(X), Mean()
    totals(X, out)
    np.testing.assert_allclose(out, X.sum(1), rtol=0, atol=1e-12)
    assert abs(dot(X[0], X[1]) - X[0] @ X[1]) < 1e-12
    bits = probabilities(X, P)
    np.testing.assert_allclose(P, kernels.softmax(X), rtol=0, atol=1e-15)
    assert abs(bits + (P[0] * np.log2(P[0])).sum()) < 1e-12
    for row in X:
        mean.add(row)
    assert abs(mean.value() - X.mean()) < 1e-14
    np.testing.assert_allclose(features(X, X.T.copy()), X @ X.T + 1, rtol=0, atol=1e-11)


def check_once():
    """What Numba keeps comes out of its cache from the second process on."""
    for function in (total, dot, totals):
        print(function.__name__, sum(function.stats.cache_hits.values()), sum(function.stats.cache_misses.values()))
