"""Accuracy and time on everyday tables, beside gradient boosting and scikit-learn's MLP.

``python bench/tables.py german concrete --methods fastmlp,catboost --seeds 2`` takes names from the tables.json of
``$FASTMLP_TABLES`` (../shared/data/tables), by default all, and skips methods that are not installed (extras: tables,
table_peers; pytabkit for RealMLP-TD-S). Splits are those of the tables' README. ``--part validation`` fits on the
training part without its last fifth and tests on that fifth: all defaults of ours were chosen so, on the tables in
``CHOSEN_ON``. Results go to results/tables.json and replace those of the same table, method, part and seed; ``python
bench/pages.py`` makes the tables of README.md from it, ``python bench/pictures.py`` the picture.

``error`` is the share of wrong classes, ``log_loss`` the mean log-loss, ``nrmse`` the root mean squared error divided
by the target's standard deviation, all on the tested part.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

TABLES = Path(os.environ.get("FASTMLP_TABLES", "../shared/data/tables"))
RESULTS = Path(__file__).with_name("results") / "tables.json"
CHOSEN_ON = ("adult", "letter", "german", "phoneme", "california", "airfoil", "concrete")
MEASURES = {"error": "error", "log_loss": "log-loss", "nrmse": "nRMSE"}
SECONDS = {"fit_seconds": "fit", "predict_seconds": "predict the test part"}
ON_SOME = ("realmlp_td_s",)  # methods that take too long for all tables
THREADS = 2
# Of boosting: at most, and until it stops without progress on the training part's last fifth.
ROUNDS, PATIENCE = 2000, 100

Fitted = Callable[["pd.DataFrame"], np.ndarray]
Fit = Callable[["pd.DataFrame", np.ndarray, bool, int], Fitted]


def ours(X: pd.DataFrame, y: np.ndarray, classes: bool, seed: int) -> Fitted:
    import fastmlp

    columns = {name: "category" for name in X if X[name].dtype == "category"}
    if classes:
        return fastmlp.TableClassifier(columns=columns, random_state=seed).fit(X, y).predict_proba
    return fastmlp.TableRegressor(columns=columns, random_state=seed).fit(X, y).predict


def parts(X: pd.DataFrame, y: np.ndarray) -> tuple[Any, Any, Any, Any]:
    """(X, y) to train on and (X, y) to stop by."""
    end = int(0.8 * len(y))
    return X[:end], y[:end], X[end:], y[end:]


def lightgbm(X: pd.DataFrame, y: np.ndarray, classes: bool, seed: int) -> Fitted:
    import lightgbm

    make = lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor
    model = make(
        n_estimators=ROUNDS, learning_rate=0.05, subsample=0.8, subsample_freq=1, colsample_bytree=0.8, n_jobs=THREADS,
        random_state=seed, verbose=-1,
    )  # fmt: skip
    train, target, held_out, its = parts(X, y)
    model.fit(train, target, eval_set=[(held_out, its)], callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)])
    return model.predict_proba if classes else model.predict


def xgboost(X: pd.DataFrame, y: np.ndarray, classes: bool, seed: int) -> Fitted:
    import xgboost

    make = xgboost.XGBClassifier if classes else xgboost.XGBRegressor
    model = make(
        n_estimators=ROUNDS, learning_rate=0.05, subsample=0.8, colsample_bytree=0.8, early_stopping_rounds=PATIENCE,
        enable_categorical=True, n_jobs=THREADS, random_state=seed,
    )  # fmt: skip
    train, target, held_out, its = parts(X, y)
    model.fit(train, target, eval_set=[(held_out, its)], verbose=False)
    return model.predict_proba if classes else model.predict


def catboost(X: pd.DataFrame, y: np.ndarray, classes: bool, seed: int) -> Fitted:
    import catboost

    categories = [name for name in X if X[name].dtype == "category"]

    def readable(X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(**{name: X[name].astype(object).where(X[name].notna(), "NA") for name in categories})

    make = catboost.CatBoostClassifier if classes else catboost.CatBoostRegressor
    model = make(
        cat_features=categories, thread_count=THREADS, random_seed=seed, verbose=False, allow_writing_files=False,
        early_stopping_rounds=PATIENCE,
    )  # fmt: skip
    train, target, held_out, its = parts(readable(X), y)
    model.fit(train, target, eval_set=(held_out, its))
    return lambda X: model.predict_proba(readable(X)) if classes else model.predict(readable(X))


def hist_gradient_boosting(X: pd.DataFrame, y: np.ndarray, classes: bool, seed: int) -> Fitted:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    make = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    model = make(
        learning_rate=0.05, max_iter=1000, early_stopping=True, validation_fraction=0.2, n_iter_no_change=50,
        random_state=seed
    ).fit(X, y)  # fmt: skip
    return model.predict_proba if classes else model.predict


def scikit_learn_mlp(X: pd.DataFrame, y: np.ndarray, classes: bool, seed: int) -> Fitted:
    from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    readable = make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
            make_column_selector(dtype_include=np.number),
        ),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), make_column_selector(dtype_exclude=np.number)),
    )
    options = {"early_stopping": True, "random_state": seed, "max_iter": 500}
    if classes:
        return make_pipeline(readable, MLPClassifier(**options)).fit(X, y).predict_proba
    network = TransformedTargetRegressor(MLPRegressor(**options), transformer=StandardScaler())
    return make_pipeline(readable, network).fit(X, y).predict


def realmlp_td_s(X: pd.DataFrame, y: np.ndarray, classes: bool, seed: int) -> Fitted:
    """RealMLP-TD-S in PyTorch, by its authors; it takes no missing numbers."""
    import pytabkit

    make = pytabkit.RealMLP_TD_S_Classifier if classes else pytabkit.RealMLP_TD_S_Regressor
    medians = X.median(numeric_only=True)
    categories = [name for name in X if X[name].dtype == "category"]
    model = make(device="cpu", n_threads=THREADS, random_state=seed)
    model.fit(X.fillna(medians), y, cat_col_names=categories)
    predict = model.predict_proba if classes else model.predict
    return lambda X: np.asarray(predict(X.fillna(medians)))


METHODS: dict[str, tuple[str, Fit]] = {  # by name: the package that it needs, the function
    "fastmlp": ("fastmlp", ours),
    "catboost": ("catboost", catboost),
    "lightgbm": ("lightgbm", lightgbm),
    "xgboost": ("xgboost", xgboost),
    "hist_gradient_boosting": ("sklearn", hist_gradient_boosting),
    "scikit_learn_mlp": ("sklearn", scikit_learn_mlp),
    "realmlp_td_s": ("pytabkit", realmlp_td_s),
}


def read(about: dict[str, Any]) -> tuple[pd.DataFrame, np.ndarray]:
    """(columns, target: class numbers by sorted label, or floats); text is of pandas' dtype category."""
    import pandas as pd

    frame = pd.read_csv(TABLES / f"{about['name']}.csv.gz").drop(columns=about["drop"])
    y = frame.pop(about["target"])
    categories = [f"{name}_{frame.columns.get_loc(name)}" for name in about["categorical"]]
    # LightGBM wants unique names of letters, digits and underscores.
    frame.columns = frame.columns.str.replace(r"\W", "_", regex=True) + [f"_{k}" for k in range(frame.shape[1])]
    text = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name]) or name in categories]
    frame = frame.astype(dict.fromkeys(categories, str)).astype(dict.fromkeys(text, "category"))
    if about["task"] == "classification":
        return frame, np.unique(y.astype(str), return_inverse=True)[1]
    return frame, y.to_numpy(float)


def split(rows: int, seed: int, part: str) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.RandomState(seed).permutation(rows)
    train, test = np.split(order, [int(0.8 * rows)])
    return (train, test) if part == "test" else tuple(np.split(train, [int(0.8 * len(train))]))


def measured(X: pd.DataFrame, y: np.ndarray, classes: bool, fit: Fit, seed: int, part: str) -> dict[str, float]:
    train, test = split(len(y), seed, part)
    start = time.perf_counter()
    predict = fit(X.iloc[train], y[train], classes, seed)
    fitted = time.perf_counter()
    found = np.asarray(predict(X.iloc[test]), np.float64)
    times = {"fit_seconds": fitted - start, "predict_seconds": time.perf_counter() - fitted}
    if not classes:
        return {"nrmse": float(np.sqrt(np.mean((found - y[test]) ** 2)) / y[test].std()), **times}
    known = np.unique(y[train])  # some class may occur in the test part only
    P = np.zeros((len(test), y.max() + 1))
    P[:, known if found.shape[1] == len(known) else slice(found.shape[1])] = found
    likelihoods = np.clip(P[np.arange(len(test)), y[test]], 1e-7, 1)
    return {"error": float((P.argmax(1) != y[test]).mean()), "log_loss": float(-np.log(likelihoods).mean()), **times}


def keep(record: dict[str, Any], path: Path) -> None:
    key = ("part", "table", "method", "seed")
    records = json.loads(path.read_text()) if path.exists() else []
    records = [old for old in records if any(old[name] != record[name] for name in key)] + [record]
    records.sort(key=lambda each: tuple(each[name] for name in key))
    path.write_text("[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy and time on tables.")
    parser.add_argument("tables", nargs="*", help="names (default: all)")
    parser.add_argument("--methods", default=",".join(METHODS), help="by commas (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="splits (default: %(default)s)")
    parser.add_argument("--part", choices=("test", "validation"), default="test")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # from peers that did not converge
    for about in json.loads((TABLES / "tables.json").read_text()):
        if options.tables and about["name"] not in options.tables:
            continue
        X, y = read(about)
        for method in options.methods.split(","):
            package, fit = METHODS[method]
            if find_spec(package) is None:
                continue
            for seed in range(options.seeds):
                found = measured(X, y, about["task"] == "classification", fit, seed, options.part)
                found = {name: float(f"{value:.5g}") for name, value in found.items()}
                keep(
                    {"part": options.part, "table": about["name"], "method": method, "seed": seed, **found}, options.out
                )
                figures = "  ".join(f"{name} {value:.4f}" for name, value in found.items())
                print(f"{about['name']:10s} {method:22s} {seed}  {figures}", flush=True)


if __name__ == "__main__":
    main()
