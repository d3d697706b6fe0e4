"""A scikit-learn transformer: rows normalised by a kernel of its own on the team, then random ReLU features."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

import kernels
from kernels import simd

_TINY = 1e-5  # of a variance


@kernels.kernel
def _normalise(part, parts, X, Y):
    """Y = (X - mean) / sqrt(variance + _TINY), row by row."""
    lanes, columns = simd.lanes(X), X.shape[1]
    for r in range(part * len(X) // parts, (part + 1) * len(X) // parts):
        row, total = r * columns, simd.zeros(X)
        for i in range(0, columns, lanes):
            total = total + simd.load_masked(X, row + i, columns - i)
        mean = simd.broadcast(X, simd.reduce_add(total) / columns)
        total = simd.zeros(X)
        for i in range(0, columns, lanes):
            centred = simd.load_masked(X, row + i, columns - i) - mean
            centred = simd.select(simd.leading(X, columns - i), centred, simd.zeros(X))
            total = simd.fma(centred, centred, total)
        scale = simd.broadcast(X, 1 / np.sqrt(simd.reduce_add(total) / columns + _TINY))
        for i in range(0, columns, lanes):
            simd.store_masked(Y, row + i, (simd.load_masked(X, row + i, columns - i) - mean) * scale, columns - i)


class NormedFeatures(TransformerMixin, BaseEstimator):
    """max(layer norm of X @ W, 0), W drawn from a normal distribution."""

    def __init__(self, n_components=100, random_state=None):
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X, y=None):
        X = validate_data(self, X, dtype=np.float64)
        W = check_random_state(self.random_state).standard_normal((X.shape[1], self.n_components))
        self.W_ = W * X.shape[1] ** -0.5
        return self

    def transform(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        normed = np.empty_like(X)
        kernels.parallel(_normalise, min(len(X), 32), X, normed)
        return kernels.linear_relu_forward(normed, self.W_)


def check():
    X = np.random.default_rng(0).standard_normal((203, 37))
    made = NormedFeatures(50, random_state=1).fit(X)
    normed = (X - X.mean(1, keepdims=True)) / np.sqrt(X.var(1, keepdims=True) + _TINY)
    np.testing.assert_allclose(made.transform(X), np.maximum(normed @ made.W_, 0), rtol=0, atol=1e-13)
    with kernels.threads(1):
        alone = made.transform(X)
    assert alone.tobytes() == made.transform(X).tobytes()


def check_once():
    """What scikit-learn asks of its transformers."""
    from sklearn.utils.estimator_checks import check_estimator

    check_estimator(NormedFeatures(5, random_state=0))
