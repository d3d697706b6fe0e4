"""The estimators against scikit-learn's, with the same parameters: seconds to fit, and scores over seeds."""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

import scipy.sparse
from sklearn.datasets import load_digits, make_classification, make_friedman1
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as Theirs
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier, MLPRegressor

SEEDS = 5
POINTS = 0.3  # of accuracy, or hundredths of R², that the means over the seeds may lie apart
_PAUSE_SECONDS = 0.3  # a BLAS keeps its threads spinning for a tenth of a second

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def digits():
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def standardised_table(n):
    """n samples of 100 features, in five classes."""
    X, y = make_classification(n, 100, n_informative=40, n_redundant=20, n_classes=5, class_sep=1.5, random_state=0)
    return StandardScaler().fit_transform(X), y


def words(n, columns):
    """n texts in ten classes as TF-IDF-like rows: 100 words each, frequent as in Zipf's law, a fifth by the class."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, n)
    ranks = np.minimum(columns * rng.random((n, 100)) ** 3, columns - 1).astype(np.int64)
    own = (ranks * 10 + y[:, None]) % columns
    ranks = np.where(rng.random(ranks.shape) < 0.2, own, ranks)
    counts = scipy.sparse.coo_array((np.ones(ranks.size), (np.repeat(np.arange(n), 100), ranks.ravel())), (n, columns))
    X = counts.tocsr()
    X.data *= np.log(n / (1 + np.bincount(X.indices, minlength=columns)))[X.indices] + 1
    norms = np.sqrt(X.multiply(X).sum(axis=1))
    return scipy.sparse.csr_array(X.multiply(1 / norms[:, None]), dtype=np.float32), y


@pytest.fixture
def race(benchmark, capsys):
    """``race(what, X, y, **options)``: fit both in turn, a seed a round, and print ratios and scores (100 R² of numbers)."""

    def run(what, X, y, **options):
        benchmark.group = "estimator"
        seeds = 1 if benchmark.disabled else SEEDS
        if benchmark.disabled:
            options["max_iter"] = 2
        X, X_test, y, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
        mine, other = (MLPRegressor, TheirRegressor) if y.dtype.kind == "f" else (MLPClassifier, Theirs)
        seconds, scores = {}, {}
        mine(**{**options, "max_iter": 1}).fit(X, y)  # loads the kernels
        for seed in range(seeds):
            for make in (mine, other):
                time.sleep(0 if benchmark.disabled else _PAUSE_SECONDS)
                start = time.perf_counter()
                model = make(random_state=seed, **options).fit(X, y)
                seconds.setdefault(make, []).append(time.perf_counter() - start)
                scores.setdefault(make, []).append(100 * model.score(X_test, y_test))
        benchmark.pedantic(mine(random_state=0, **options).fit, (X, y))
        if benchmark.disabled:
            return
        ours, theirs = (statistics.median(seconds[make]) for make in (mine, other))
        ratios = [b / a for a, b in zip(seconds[mine], seconds[other])]
        means = [statistics.mean(scores[make]) for make in (mine, other)]
        benchmark.extra_info.update({"seconds": [ours, theirs], "accuracy": means})
        with capsys.disabled():
            print(
                f"\n{what}: {ours:.2f} s, scikit-learn {theirs:.2f} s, {theirs / ours:.1f} times faster "
                f"({min(ratios):.1f} to {max(ratios):.1f}); score {means[0]:.2f} %, scikit-learn {means[1]:.2f} %, "
                f"over {seeds} seeds"
            )
        assert abs(means[0] - means[1]) <= POINTS

    return run


def test_fit_on_digits(race):
    race("digits 1,797 x 64, 100 epochs", *digits(), max_iter=100)


@pytest.mark.parametrize("hidden", [(100,), (256,)], ids=str)
def test_fit_on_images(race, images, benchmark, hidden):
    name, X, y = images
    n = 500 if benchmark.disabled else len(y)
    X = X[:n].astype(np.float32) / 255
    race(
        f"{name} {n:,} x {X.shape[1]}, float32, hidden {hidden}, 10 epochs",
        X,
        y[:n],
        hidden_layer_sizes=hidden,
        max_iter=10,
    )


def test_fit_on_a_dense_table(race, benchmark):
    n = 500 if benchmark.disabled else 25_000
    race(f"standardised table {n:,} x 100, 20 epochs", *standardised_table(n), max_iter=20)


@pytest.mark.parametrize("columns", [20_000, 130_000])  # the second is what 20 newsgroups have
def test_fit_on_sparse_text(race, benchmark, columns):
    n, columns = (300, 1000) if benchmark.disabled else (10_000, columns)
    race(f"CSR {n:,} x {columns:,}, float32, 5 epochs", *words(n, columns), max_iter=5)


def standardised_friedman(n, columns):
    """n samples of Friedman's function of five features among ``columns``, all of them, and y, of unit deviation."""
    X, y = make_friedman1(n, columns, noise=1.0, random_state=0)
    return StandardScaler().fit_transform(X), (y - y.mean()) / y.std()


@pytest.mark.parametrize("columns", [10, 100])
def test_fit_numbers_of_a_dense_table(race, benchmark, columns):
    n = 500 if benchmark.disabled else 25_000
    race(f"Friedman's function {n:,} x {columns}, 20 epochs", *standardised_friedman(n, columns), max_iter=20)


def test_fit_numbers_of_sparse_text(race, benchmark):
    n, columns = (300, 1000) if benchmark.disabled else (10_000, 20_000)
    X, classes = words(n, columns)
    y = (classes - classes.mean()) / classes.std()
    race(f"CSR {n:,} x {columns:,}, float32, a number, 5 epochs", X, y, max_iter=5)
