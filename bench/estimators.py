"""The estimators beside scikit-learn's, with the same parameters: seconds to fit, and scores over seeds.

    python bench/estimators.py

writes results/estimators.json, from which ``pages.py`` fills the page. It takes five minutes, most of them
scikit-learn's; leave the machine alone meanwhile.
"""

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.datasets import load_digits, make_classification, make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as Theirs
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier, MLPRegressor

import workloads
from interleave import spread

SEEDS = 5
PAUSE_SECONDS = 0.3  # a BLAS keeps its threads spinning for a tenth of a second


def digits():
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def standardised_table(n):
    """n samples of 100 features, in five classes."""
    X, y = make_classification(n, 100, n_informative=40, n_redundant=20, n_classes=5, class_sep=1.5, random_state=0)
    return StandardScaler().fit_transform(X), y


def words(n, columns):
    """n texts in ten classes as TF-IDF-like rows: 100 words each, by Zipf's law; a fifth depends on the class."""
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


def standardised_friedman(n, columns):
    """n samples of Friedman's function of five of ``columns`` features; features and y are standardised."""
    X, y = make_friedman1(n, columns, noise=1.0, random_state=0)
    return StandardScaler().fit_transform(X), (y - y.mean()) / y.std()


def images(n: int) -> tuple[np.ndarray, np.ndarray]:
    data = workloads.images()
    return data.X[:n].astype(np.float32) / 255, data.y[:n]


def numbers_of_words(n, columns):
    X, classes = words(n, columns)
    return X, (classes - classes.mean()) / classes.std()


CASES: dict[str, tuple[Callable[..., tuple[Any, np.ndarray]], tuple[int, ...], dict[str, Any]]] = {
    "digits 1,797 x 64, 100 epochs": (digits, (), {"max_iter": 100}),
    "images 60,000 x 784, float32, 10 epochs": (images, (60_000,), {"max_iter": 10}),
    "images 60,000 x 784, float32, 256 units, 10 epochs":
        (images, (60_000,), {"max_iter": 10, "hidden_layer_sizes": (256,)}),
    "table 25,000 x 100, 20 epochs": (standardised_table, (25_000,), {"max_iter": 20}),
    "CSR 10,000 x 20,000, float32, 5 epochs": (words, (10_000, 20_000), {"max_iter": 5}),
    # As wide as 20 newsgroups are.
    "CSR 10,000 x 130,000, float32, 5 epochs": (words, (10_000, 130_000), {"max_iter": 5}),
    "a number: Friedman's function 25,000 x 10, 20 epochs": (standardised_friedman, (25_000, 10), {"max_iter": 20}),
    "a number: Friedman's function 25,000 x 100, 20 epochs": (standardised_friedman, (25_000, 100), {"max_iter": 20}),
    "a number: CSR 10,000 x 20,000, float32, 5 epochs": (numbers_of_words, (10_000, 20_000), {"max_iter": 5}),
}  # fmt: skip
"""By title: the function for samples and targets, its numbers of rows and columns, and the estimators' parameters."""
MOST_TINY = 300, 1000  # the most rows and columns in tests


def race(case: str, *, tiny: bool = False, seeds: int = SEEDS) -> dict[str, Any]:
    """Fit both in turn, one seed a round; returns seconds, and scores on a fifth of the samples (accuracy, or R²)."""
    make, sizes, options = CASES[case]
    if tiny:
        sizes, options = tuple(map(min, sizes, MOST_TINY)), {**options, "max_iter": 2}
    X, X_test, y, y_test = train_test_split(*make(*sizes), test_size=0.2, random_state=0)
    pair = (MLPRegressor, TheirRegressor) if y.dtype.kind == "f" else (MLPClassifier, Theirs)
    seconds: tuple[list[float], list[float]] = [], []
    scores: tuple[list[float], list[float]] = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        pair[0](**{**options, "max_iter": 1}).fit(X, y)  # loads the kernels
        for seed in range(seeds):
            for kind, taken, scored in zip(pair, seconds, scores):
                time.sleep(0 if tiny else PAUSE_SECONDS)
                start = time.perf_counter()
                model = kind(random_state=seed, **options).fit(X, y)
                taken.append(time.perf_counter() - start)
                scored.append(float(model.score(X_test, y_test)))
    names = ("fastmlp", "scikit-learn")
    return {
        "case": case, "seconds": {name: spread(taken) for name, taken in zip(names, seconds)},
        "score": {name: statistics.fmean(scored) for name, scored in zip(names, scores)},
    }  # fmt: skip


def record() -> dict[str, Any]:
    from claims import circumstances

    found = []
    for k, case in enumerate(CASES):
        print(f"[{k + 1}/{len(CASES)}] {case}", file=sys.stderr, flush=True)
        found.append(race(case))
    return circumstances("python bench/estimators.py") | {"seeds": SEEDS, "cases": found}


if __name__ == "__main__":
    from pages import RESULTS

    result = record()
    (RESULTS / "estimators.json").write_text(json.dumps(result, indent=1) + "\n")
