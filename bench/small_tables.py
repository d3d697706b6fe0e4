"""Accuracy on tables with defaults, beside scikit-learn's MLPClassifier and LogisticRegression behind a StandardScaler.

``python bench/small_tables.py iris waveform some/directory/*.csv`` takes names of scikit-learn's data sets, the
waveforms of Breiman et al. (1984), and CSVs with a header and the label in the last column. ``TableClassifier`` gets
the table unchanged; for the others, text becomes one-hot, and missing numbers become the training part's median. Five
splits, 80 to 20.
"""

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

from tables import split

SEEDS = range(5)
METHODS = ("TableClassifier", "fit", "MLP", "logistic")


def waveform(rows: int = 5000) -> tuple[pd.DataFrame, np.ndarray]:
    """Three classes, each a random mix of two of three triangles, with noise (Breiman et al. 1984, section 2.6.2)."""
    rng = np.random.RandomState(0)
    triangles = np.maximum(6 - np.abs(np.arange(1, 22) - np.array([[11], [15], [7]])), 0)
    y, u = rng.randint(0, 3, rows), rng.rand(rows, 1)
    first, second = np.array([[0, 1], [0, 2], [1, 2]])[y].T
    X = u * triangles[first] + (1 - u) * triangles[second] + rng.standard_normal((rows, 21))
    return pd.DataFrame(X).add_prefix("x"), y


def table(spec: str) -> tuple[pd.DataFrame, np.ndarray]:
    """(columns, labels as numbers from 0 on) of a data set's name or a CSV."""
    if spec == "waveform":
        return waveform()
    if hasattr(datasets, f"load_{spec}"):
        data = getattr(datasets, f"load_{spec}")()
        return pd.DataFrame(data.data), data.target
    frame = pd.read_csv(spec)
    return frame.iloc[:, :-1], pd.factorize(frame.iloc[:, -1], sort=True)[0]


def accuracies(X: pd.DataFrame, y: np.ndarray, seed: int) -> list[float]:
    """The accuracy of each of ``METHODS``, trained on the first 80 % of a seeded permutation, on the rest."""
    train, test = split(len(y), seed, "test")
    estimator = fastmlp.TableClassifier(random_state=seed).fit(X.iloc[train], y[train])
    numbers = pd.get_dummies(X, dtype=float)
    N = numbers.fillna(numbers.iloc[train].median()).to_numpy(float)
    classes = tuple(map(str, range(y.max() + 1)))
    data = fastmlp.Dataset("table", N[train], y[train], N[test], y[test], classes, "memory")
    peers = MLPClassifier(random_state=seed), LogisticRegression(max_iter=1000)
    return [
        estimator.score(X.iloc[test], y[test]),
        fastmlp.fit(data, seed=seed).summary["test_accuracy"],
        *(make_pipeline(StandardScaler(), peer).fit(N[train], y[train]).score(N[test], y[test]) for peer in peers),
    ]


def main(specs: list[str]) -> None:
    warnings.filterwarnings("ignore")  # from peers that did not converge
    print(f"{'':16s}" + "".join(f"{name:>16s}" for name in METHODS) + "   TableClassifier - better peer")
    means = []
    for spec in specs:
        X, y = table(spec)
        means.append(100 * np.mean([accuracies(X, y, seed) for seed in SEEDS], axis=0))
        cells = "".join(f"{value:16.2f}" for value in means[-1])
        print(f"{Path(spec).stem:16s}{cells}{means[-1][0] - max(means[-1][2:]):+16.2f}", flush=True)
    print(f"{'mean':16s}" + "".join(f"{value:16.2f}" for value in np.mean(means, axis=0)))


if __name__ == "__main__":
    main(sys.argv[1:] or ["iris", "wine", "breast_cancer", "digits", "waveform"])
