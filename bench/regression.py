"""R² on tables, beside scikit-learn's MLPRegressor at equal parameters behind the same StandardScaler.

``python bench/regression.py airfoil concrete`` takes names of regression tables in the tables.json of ``$FASTMLP_TABLES``
(../shared/data/tables), by default the four with fewer than 5,000 rows. Text becomes one-hot, missing numbers become the
training part's median, and the target is standardised, for both. Splits and seeds 0 to 4 are those of the tables' README.
"""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import pandas as pd
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

import fastmlp

from tables import TABLES, read, split

SEEDS = range(5)
SMALL = 5000  # rows


def scores(X: pd.DataFrame, y: np.ndarray, seed: int) -> list[float]:
    """R² of fastmlp's regressor and of scikit-learn's."""
    train, test = split(len(y), seed, "test")
    scaler = StandardScaler().fit(X.fillna(X.iloc[train].median()).iloc[train])
    filled = scaler.transform(X.fillna(X.iloc[train].median()))
    y = (y - y[train].mean()) / y[train].std()
    return [
        make(random_state=seed).fit(filled[train], y[train]).score(filled[test], y[test])
        for make in (fastmlp.MLPRegressor, MLPRegressor)
    ]


def main(names: list[str]) -> None:
    warnings.filterwarnings("ignore")  # from runs that did not converge
    print(f"{'':12s} fastmlp  sklearn  largest difference over {len(SEEDS)} seeds")
    for about in json.loads((TABLES / "tables.json").read_text()):
        if about["task"] != "regression" or about["name"] not in (names or [about["name"]]):
            continue
        if names or about["rows"] < SMALL:
            X, y = read(about)
            found = np.array([scores(pd.get_dummies(X, dtype=float), y, seed) for seed in SEEDS])
            ours, theirs = found.mean(0)
            print(
                f"{about['name']:12s} {ours:7.4f}  {theirs:7.4f}  {np.abs(found[:, 0] - found[:, 1]).max():.5f}",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
