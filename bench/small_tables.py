"""Accuracy on tables with default options, beside scikit-learn's MLPClassifier and LogisticRegression behind a StandardScaler.

``python bench/small_tables.py iris wine some/directory/*.csv``: names of scikit-learn's data sets, or CSVs with a header and
the label last. Text becomes one-hot, gaps the training part's median. Five splits of 80 to 20, as in the issue.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp

SEEDS = range(5)
Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def table(spec: str) -> tuple[pd.DataFrame, np.ndarray]:
    """(columns, labels as numbers from 0 on) of a data set's name or a CSV."""
    if hasattr(datasets, f"load_{spec}"):
        data = getattr(datasets, f"load_{spec}")()
        return pd.DataFrame(data.data), data.target
    frame = pd.read_csv(spec)
    return pd.get_dummies(frame.iloc[:, :-1], dtype=float), pd.factorize(frame.iloc[:, -1])[0]


def split(X: pd.DataFrame, y: np.ndarray, seed: int) -> Split:
    """(X, y, X_test, y_test): the first 80 % of a seeded permutation, and the rest."""
    order = np.random.RandomState(seed).permutation(len(y))
    train, test = np.split(order, [int(0.8 * len(y))])
    X = X.fillna(X.iloc[train].median())
    return X.to_numpy(float)[train], y[train], X.to_numpy(float)[test], y[test]


def ours(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray, seed: int) -> float:
    classes = tuple(map(str, range(max(y.max(), y_test.max()) + 1)))
    data = fastmlp.Dataset("table", X, y, X_test, y_test, classes, "memory")
    accuracy: float = fastmlp.fit(data, seed=seed).summary["test_accuracy"]
    return accuracy


def peers(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray, seed: int) -> tuple[float, float]:
    made = MLPClassifier(random_state=seed), LogisticRegression(max_iter=1000)
    mlp, logistic = (make_pipeline(StandardScaler(), each).fit(X, y).score(X_test, y_test) for each in made)
    return mlp, logistic


def main(specs: list[str]) -> None:
    warnings.filterwarnings("ignore")  # of peers that want more iterations
    print(f"{'':16s} fastmlp      MLP logistic  ours - better")
    means = []
    for spec in specs:
        X, y = table(spec)
        splits = [split(X, y, seed) for seed in SEEDS]
        rows = [(ours(*parts, seed), *peers(*parts, seed)) for seed, parts in zip(SEEDS, splits)]
        means.append(100 * np.mean(rows, axis=0))
        a, b, c = means[-1]
        name = Path(spec).name.partition(".")[0]
        print(f"{name:16s} {a:7.2f}  {b:7.2f}  {c:7.2f}  {a - max(b, c):+7.2f}", flush=True)
    a, b, c = np.mean(means, axis=0)
    print(f"{'mean':16s} {a:7.2f}  {b:7.2f}  {c:7.2f}")


if __name__ == "__main__":
    main(sys.argv[1:] or ["iris", "wine", "breast_cancer", "digits"])
