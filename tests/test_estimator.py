"""fastmlp.MLPClassifier and MLPRegressor: scikit-learn's checks and own tests, the same numbers, and what is added."""

import copy
import doctest
import importlib.util
import inspect
import io
import itertools
import os
import pickle
import re
import signal
import sys
import threading
import time
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.9")  # with whose class ours, which needs 1.6, is compared number by number

import joblib
import scipy.sparse
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, log_loss, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier as Theirs
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastmlp
import fastmlp.estimator.classifier
import fastmlp.estimator.regressor
import kernels
from fastmlp import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# -- scikit-learn's checks -------------------------------------------------------------------------------------------


@parametrize_with_checks(
    [make(max_iter=100, solver=solver) for make in (MLPClassifier, MLPRegressor) for solver in ("adam", "lbfgs")]
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


# -- scikit-learn's own tests of its class, on ours ------------------------------------------------------------------

# What does not apply, and why.
_NOT_OURS = {"test_gradient": "calls the private _loss_grad_lbfgs; the gradient is tested in test_gradients.py"}


def _their_tests():
    """The tests of scikit-learn's own module for its MLPs, on ours; {name: function}."""
    spec = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    if spec is None:  # a distribution without tests
        return {}
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for ours in (MLPClassifier, MLPRegressor):
            patch.setattr(f"sklearn.neural_network.{ours.__name__}", ours)
        spec.loader.exec_module(module)
    for ours in (MLPClassifier, MLPRegressor):
        assert getattr(module, ours.__name__) is ours  # whatever it imports it from
    return {name: function for name, function in vars(module).items() if name.startswith("test_")}


_THEIRS = _their_tests()


@pytest.fixture
def global_random_seed():
    """Of theirs."""
    return 42


class TestTheirOwn:
    """Filled below."""


for _name, _function in _THEIRS.items():
    if _name not in _NOT_OURS:
        setattr(TestTheirOwn, _name, staticmethod(_function))


def test_every_exception_to_their_tests_exists():
    assert set(_NOT_OURS) <= set(_THEIRS) or not _THEIRS


# -- the same numbers ------------------------------------------------------------------------------------------------

LABELS = np.array(["ant", "bee", "cow"])


@pytest.fixture(scope="module")
def table():
    """330 samples, 12 features of mean 0 and deviation 1: X, and y of three classes that overlap."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((330, 12))
    scores = np.tanh(X @ rng.standard_normal((12, 6))) @ rng.standard_normal((6, 3)) + rng.standard_normal((330, 3))
    return X, LABELS[scores.argmax(1)]


def targets(kind, y):
    """y as it is, of two classes, multilabel, or as a number or three of about unit size."""
    if kind == "binary":
        return y == "bee"
    if kind in ("number", "three numbers"):
        Y = np.searchsorted(LABELS, y)[:, None] - [0, 1, 2] + np.sin(np.arange(len(y)))[:, None]
        return Y if kind == "three numbers" else Y[:, 0]
    return (y[:, None] == LABELS[:2]) | (np.arange(len(y)) % 7 == 0)[:, None] if kind == "multilabel" else y


SAME = {
    "sgd": {"solver": "sgd"},
    "momentum 0": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.05},
    "momentum 1": {"solver": "sgd", "momentum": 1.0},
    "classical momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.2, "power_t": 0.3},
    "adaptive": {
        "solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1, "learning_rate_init": 0.05,
    },
    "adam": {},
    "other betas and epsilon": {"epsilon": 1e-3, "beta_1": 0.5, "beta_2": 0.9},
    "alpha": {"solver": "sgd", "alpha": 3.0, "learning_rate_init": 0.01},
    "a short last batch": {"solver": "sgd", "batch_size": 32, "alpha": 0.5},
    "a penalty larger than the loss": {"alpha": 10.0, "batch_size": 10, "learning_rate_init": 0.02},
    "whole batch": {"solver": "sgd", "batch_size": 330},
    "in order": {"solver": "sgd", "shuffle": False},
    "early stopping": {
        "solver": "sgd", "early_stopping": True, "n_iter_no_change": 3, "tol": 0.5, "learning_rate_init": 0.02,
    },
    "identity": {"solver": "sgd", "activation": "identity"},
    "logistic": {"solver": "sgd", "activation": "logistic"},
    "tanh": {"solver": "sgd", "activation": "tanh", "hidden_layer_sizes": (9, 7)},
    "no hidden layer": {"solver": "sgd", "hidden_layer_sizes": ()},
    "three hidden layers": {"solver": "sgd", "hidden_layer_sizes": [8, 7, 6]},
    "lbfgs": {"solver": "lbfgs", "max_iter": 15},
    "lbfgs, tanh": {"solver": "lbfgs", "max_iter": 15, "activation": "tanh", "alpha": 0.1},
}  # fmt: skip


CLASSIFIERS, REGRESSORS = (MLPClassifier, Theirs), (MLPRegressor, TheirRegressor)


def pair(y):
    """Our class and theirs for such targets."""
    return REGRESSORS if np.asarray(y).dtype.kind == "f" else CLASSIFIERS


def both(options, X, y, **fit_options):
    """Ours and theirs, fitted alike."""
    options = {"hidden_layer_sizes": 16, "max_iter": 12, "random_state": 3, **options}
    return [make(**options).fit(X, y, **fit_options) for make in pair(y)]


def known_classes(model, classes=LABELS):
    """What ``partial_fit`` takes beside the data."""
    return {"classes": classes} if is_classifier(model) else {}


def assert_same_network(ours, theirs):
    """Rounding errors of 1e-16 a step grow; at 1e-9 after some dozens of steps, any other difference would show."""
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


LOSSES = {
    "poisson": {"loss": "poisson"},
    "poisson, sgd": {"loss": "poisson", "solver": "sgd", "batch_size": 32},
    "poisson, lbfgs": {"loss": "poisson", "solver": "lbfgs", "max_iter": 15},
    "poisson, early stopping": {"loss": "poisson", "early_stopping": True, "learning_rate_init": 0.01},
}


@pytest.mark.parametrize("kind", ["number", "three numbers"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("options", LOSSES.values(), ids=LOSSES)
def test_the_poisson_loss_is_that_of_scikit_learn(table, options, kind, weighted):
    X, y = table[0], np.maximum(0, np.floor(2 * targets(kind, table[1])))
    weights = np.random.default_rng(1).integers(0, 4, len(y)).astype(float) if weighted else None
    options = {"alpha": 0.0, **options} if weighted else options
    ours, theirs = both(options, X, y, sample_weight=weights)
    assert_same_network(ours, theirs)
    assert ours.out_activation_ == theirs.out_activation_ == "exp"
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-9)
    if ours.solver != "lbfgs":
        assert_same_scores(ours, theirs)


def assert_same_scores(ours, theirs):
    """Accuracies are equal; R² to within rounding."""
    if isinstance(ours, MLPRegressor) and ours.validation_scores_:
        np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, rtol=1e-7)
    else:
        assert ours.validation_scores_ == theirs.validation_scores_


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel", "number", "three numbers"])
@pytest.mark.parametrize("options", SAME.values(), ids=SAME)
def test_the_network_is_that_of_scikit_learn(table, options, kind):
    X, y = table
    ours, theirs = both(options, X, targets(kind, y))
    assert_same_network(ours, theirs)
    for name in ("n_iter_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_", "t_"):
        assert getattr(ours, name) == getattr(theirs, name)
    if isinstance(ours, MLPRegressor):
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-9)
    else:
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-9)
        np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=1e-9)
    if ours.solver != "lbfgs":
        assert_same_scores(ours, theirs)
        assert ours.best_validation_score_ == (max(ours.validation_scores_) if ours.validation_scores_ else None)
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-9)


@pytest.mark.parametrize("kind", ["multiclass", "number", "three numbers"])
@pytest.mark.parametrize("options", [{"solver": "sgd"}, {}, {"solver": "lbfgs"}], ids=str)
def test_sample_weights_are_those_of_scikit_learn(table, options, kind):
    X, y = table[0], targets(kind, table[1])
    weights = np.random.default_rng(1).integers(0, 4, len(y))
    ours, theirs = both({"alpha": 0.0, "batch_size": 50, **options}, X, y, sample_weight=weights)
    assert_same_network(ours, theirs)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-9)


@pytest.mark.parametrize("scoring", [None, "accuracy"])
@pytest.mark.parametrize("form", ["coo_matrix", "bsr_matrix"])
def test_rows_are_held_out_of_a_sparse_matrix_that_has_no_rows_to_take(table, form, scoring):
    X, y = np.where(np.abs(table[0]) > 1, table[0], 0), table[1]
    make = MLPClassifier(4, max_iter=3, random_state=0, early_stopping=True, scoring=scoring)
    ours, dense = (clone(make).fit(samples, y) for samples in (getattr(scipy.sparse, form)(X), X))
    assert_same_network(ours, dense)
    assert ours.validation_scores_ == dense.validation_scores_


@pytest.mark.parametrize("kind", ["multiclass", "number"])
def test_a_sparse_matrix_gives_the_network_of_the_dense_one(table, kind):
    X, y = table[0], targets(kind, table[1])
    X = np.where(np.abs(X) > 1, X, 0)
    ours, theirs = both({"solver": "sgd", "alpha": 1.0}, scipy.sparse.csr_array(X), y)
    assert_same_network(ours, theirs)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    assert_same_network(ours, clone(ours).fit(X, y))
    assert_same_network(ours, clone(ours).fit(scipy.sparse.csc_matrix(X), y))


@pytest.mark.parametrize("kind", ["multiclass", "number"])
@pytest.mark.parametrize("options", [{"solver": "sgd"}, {}, SAME["invscaling"]], ids=str)
def test_partial_fit_and_warm_start_go_on_as_scikit_learns(table, options, kind):
    X, y = table[0], targets(kind, table[1])
    models = [make(hidden_layer_sizes=16, random_state=3, **options) for make in pair(y)]
    for first in (0, 100, 200):
        for model in models:
            model.partial_fit(X[first : first + 100], y[first : first + 100], **known_classes(model))
    assert_same_network(*models)
    assert models[0].t_ == models[1].t_
    for model in models:
        model.set_params(warm_start=True, max_iter=3).fit(X, y).fit(X, y)
    assert_same_network(*models)
    np.testing.assert_allclose(models[0].loss_curve_, models[1].loss_curve_, rtol=1e-9)


def drawn_data(rng):
    """Samples in one of the forms that are read, and a function that draws labels for so many."""
    inputs, form = int(rng.integers(1, 12)), str(rng.choice(["dense", "csr", "csc", "integers"]))
    kind = str(rng.choice(["multiclass", "binary", "multilabel", "number", "three numbers"]))

    def draw():
        n = int(rng.integers(12, 80))
        X = rng.standard_normal((n, inputs)) * (rng.random((n, inputs)) < (1 if form == "dense" else 0.4))
        X = {"csr": scipy.sparse.csr_array, "csc": scipy.sparse.csc_matrix}.get(form, np.asarray)(X)
        return (np.round(3 * X).astype(int) if form == "integers" else X), labels(n)

    def labels(n):
        if kind == "multilabel":
            return (rng.random((n, 3)) < 0.5).astype(int)
        if kind in ("number", "three numbers"):
            return rng.standard_normal((n, 2) if kind == "three numbers" else n)
        K = 3 if kind == "multiclass" else 2
        return LABELS[np.r_[np.arange(K), np.arange(K), rng.integers(0, K, n - 2 * K)]]

    return draw, np.arange(3) if kind == "multilabel" else LABELS[: 3 if kind == "multiclass" else 2]


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("block", range(10))
def test_any_sequence_of_calls_gives_scikit_learns_network(block):
    for seed in range(30 * block, 30 * block + 30):
        compare_a_sequence_of_calls(seed)


def both_or_neither(models, call):
    """The models after a call; none where it diverges, which it must do for both."""
    try:
        first = call(models[0])
    except ValueError:
        with pytest.raises(ValueError, match="non-finite"):
            call(models[1])
        return []
    return [first, call(models[1])]


def compare_a_sequence_of_calls(seed):
    rng = np.random.default_rng(seed)
    draw, classes = drawn_data(rng)
    choices = {
        "hidden_layer_sizes": [(), (5,), (6, 4)], "activation": ["relu", "tanh", "logistic", "identity"],
        "solver": ["sgd", "adam"], "alpha": [0.0, 1e-4, 5.0], "batch_size": ["auto", 7],
        "learning_rate_init": [0.001, 0.1], "learning_rate": ["constant", "invscaling", "adaptive"],
        "max_iter": [1, 6], "shuffle": [True, False],
        "tol": [1e-4, 0.05], "momentum": [0.9, 0.0], "n_iter_no_change": [1, 10], "warm_start": [False, True],
        "early_stopping": [False, False, True], "validation_fraction": [0.2],
    }  # fmt: skip
    options = {name: values[rng.integers(len(values))] for name, values in choices.items()}
    X, y = draw()
    models = [make(random_state=np.random.RandomState(seed), **options) for make in pair(y)]
    for _ in range(int(rng.integers(1, 7))):
        calls = ["fit", "partial_fit", "other data", "pickle", "refused", "alpha"]
        call = str(rng.choice(calls, p=[0.35, 0.3, 0.1, 0.1, 0.1, 0.05]))
        if call == "other data":
            X, y = draw()
            continue
        if call == "pickle":
            models = [pickle.loads(pickle.dumps(model)) for model in models]
        elif call == "alpha":
            models = [model.set_params(alpha=0.05) for model in models]
        elif call == "refused":
            with pytest.raises(ValueError, match="NaN"):
                models[0].fit(np.full((20, 3), np.nan), np.arange(20) % 2)
        elif call == "fit":
            if options["early_stopping"] and options["warm_start"] and hasattr(models[0], "coefs_"):
                return  # begins its count anew, as it should
            models = both_or_neither(models, lambda model: model.fit(X, y))  # noqa: B023 (called at once)
        elif not options["early_stopping"]:
            models = both_or_neither(
                models,
                lambda model: model.partial_fit(X, y, **known_classes(model, classes)),  # noqa: B023
            )
        if not models:
            return
        if hasattr(models[0], "coefs_"):
            assert_same_network(*models)
            assert models[0].t_ == models[1].t_
            np.testing.assert_allclose(models[0].loss_curve_, models[1].loss_curve_, rtol=1e-7)
            assert_same_scores(*models)
            if is_classifier(models[0]):
                np.testing.assert_array_equal(models[0].predict(X), models[1].predict(X))


# -- data ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("how", ["dense", "mostly zeros", "few values", "csr"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_numbers_that_are_not_finite_are_refused_before_anything_is_learnt(value, how, solver):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 20)).astype(np.float32), np.arange(60) % 3
    if how != "dense":
        X *= rng.random(X.shape) < 0.1
    if how == "few values":
        X = np.round(X)
    X[7, 9] = value
    messages = []
    for make in (MLPClassifier, Theirs):
        model = make(4, solver=solver, max_iter=2)
        with pytest.raises(ValueError, match="Input X contains") as refused:
            model.fit(scipy.sparse.csr_array(X) if how == "csr" else X, y)
        messages.append(str(refused.value))
        assert not hasattr(model, "classes_")
        assert not hasattr(model, "coefs_")
        assert not hasattr(model, "n_features_in_")
    assert messages[0] == messages[1]


def refusal(call, X):
    """What the ValueError of call(X) says."""
    try:
        call(X)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("make", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_is_checked_as_many_rows_are(make, dtype, rng):
    """A few plain floats are found to be sound at a glance: what is not gets scikit-learn's words."""
    X = rng.standard_normal((60, 5)).astype(dtype)
    model = make(max_iter=2, random_state=0).fit(X, X[:, 0] > 0)
    call = getattr(model, "predict_proba", model.predict)
    for k in range(3):
        assert call(X[k : k + 1]).tobytes() == call(np.tile(X[k : k + 1], (3000, 1)))[:1].tobytes()
    for given in (X[:1].tolist(), np.asfortranarray(X[:3])[:1], scipy.sparse.csr_array(X[:1]), X[:1].astype(">f8")):
        np.testing.assert_allclose(call(given), call(X[:1]), rtol=1e-6)
    wrong = [
        np.where(np.arange(5) == 2, value, X[:1]) for value in (np.nan, np.inf, -np.inf)
    ] + [X[0], X[:1, :4], X[:0], X[:1, None], X[:1] + 1j, np.array(1.0)]  # fmt: skip
    if dtype == "float32":
        wrong.append(np.full((1, 5), 1e300))
    theirs = (Theirs if make is MLPClassifier else TheirRegressor)(max_iter=2).fit(X, X[:, 0] > 0)
    for given in wrong:
        found = refusal(call, given)
        assert found
        if dtype == given.dtype:  # theirs takes what is beyond float32's range
            assert found == refusal(theirs.predict, given)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        make().predict(X[:1])
    model.feature_names_in_ = np.array(list("abcde"), object)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        call(X[:1])


@pytest.mark.parametrize("kind", ["multiclass", "number"])
@pytest.mark.parametrize(("given", "made"), [("float32", "float32"), ("float64", "float64"), ("int64", "float64")])
def test_the_network_has_the_dtype_of_X(table, given, made, kind):
    X, y = (10 * table[0]).astype(given), targets(kind, table[1])
    make, _ = pair(y)
    model = make(max_iter=2).fit(X, y)
    assert {array.dtype for array in model.coefs_ + model.intercepts_} == {np.dtype(made)}
    predict = model.predict if kind == "number" else model.predict_proba
    assert predict(X.astype("float64")).dtype == made
    model = make(max_iter=2, solver="lbfgs").fit(X, y)
    assert {array.dtype for array in model.coefs_ + model.intercepts_} == {np.dtype("float64")}


@pytest.mark.parametrize("make", [MLPClassifier, MLPRegressor])
def test_uint8_is_read_as_it_is(monkeypatch, digits, make):
    seen = []
    train = kernels.mlp_train_steps
    monkeypatch.setattr(
        kernels, "mlp_train_steps", lambda X, *args, **options: seen.append(X) or train(X, *args, **options)
    )
    X = np.maximum(digits.X[:300], 1)
    model = make(hidden_layer_sizes=8, max_iter=2, random_state=0).fit(X, digits.y[:300])
    assert {id(each) for each in seen} == {id(seen[0])}
    assert np.shares_memory(seen[0], X)
    same = clone(model).fit(X.astype(np.float32), digits.y[:300])
    assert model.coefs_[0].dtype == np.float32
    np.testing.assert_array_equal(model.coefs_[0], same.coefs_[0])
    np.testing.assert_array_equal(model.predict(X), same.predict(X.astype(np.float32)))


def test_sparse_matrices_are_never_made_dense(monkeypatch, rng):
    def refuse(*args, **options):
        raise AssertionError("made dense")

    X = scipy.sparse.random_array((300, 5000), density=0.002, format="csr", rng=rng)
    total = np.asarray(X.sum(axis=1)).ravel()
    for kind in ("toarray", "todense"):
        monkeypatch.setattr(scipy.sparse.csr_array, kind, refuse)
    for solver in ("adam", "sgd", "lbfgs"):
        for make, y in ((MLPClassifier, total > 5), (MLPRegressor, total)):
            model = make(hidden_layer_sizes=4, solver=solver, max_iter=3, early_stopping=solver == "adam").fit(X, y)
            assert model.predict(X).shape == (300,)


@pytest.mark.parametrize("kind", ["multiclass", "number"])
@pytest.mark.parametrize("batch_size", [40, 330])
def test_bits_do_not_depend_on_the_number_of_threads(table, batch_size, kind):
    options = {
        "hidden_layer_sizes": (64, 32),
        "max_iter": 3,
        "random_state": 0,
        "batch_size": batch_size,
        "dropout": 0.2,
    }
    X, y = np.tile(table[0], (1, 20)), targets(kind, table[1])
    first, *others = (pair(y)[0](n_threads=n, **options).fit(X, y) for n in (1, 2, 3))
    for other in others:
        assert [W.tobytes() for W in other.coefs_] == [W.tobytes() for W in first.coefs_]
        assert other.loss_curve_ == first.loss_curve_


def test_n_threads_reaches_the_kernels(monkeypatch, table):
    counts = []
    for name in ("mlp_train_steps", "mlp_forward"):
        op = getattr(kernels, name)
        monkeypatch.setattr(
            kernels, name, lambda *a, op=op, **o: counts.append(kernels.get_num_threads()) or op(*a, **o)
        )
    X = np.tile(table[0], (1, 20))
    MLPClassifier(200, max_iter=1, n_threads=3).fit(X, table[1]).predict(X)
    assert set(counts) == {3}


def test_texts_that_look_like_gaps_are_classes_as_for_scikit_learn():
    X, y = np.eye(8), np.array(["", "nan", "None", "a"] * 2)
    for labels in (y, y.astype(object)):
        ours, theirs = (make(max_iter=1).fit(X, labels).classes_.tolist() for make in (MLPClassifier, Theirs))
        assert ours == theirs == ["", "None", "a", "nan"]


def test_one_class_has_a_column_of_ones_and_a_score_of_one(table):
    X, y = table[0], np.full(len(table[1]), "ant")
    model = MLPClassifier(4, max_iter=3, early_stopping=True).fit(X, y)
    assert model.validation_scores_ == [1.0] * 3
    np.testing.assert_array_equal(model.predict_proba(X), np.ones((len(X), 1)))
    np.testing.assert_array_equal(model.predict(X), y)


def test_a_target_that_could_be_a_number_is_remarked(table):
    with pytest.warns(UserWarning, match="greater than 50% of the number of samples"):
        MLPClassifier(4, max_iter=1).fit(table[0][:60], np.arange(60) % 40)


def test_a_column_of_labels_to_validate_on_is_remarked_as_one_to_learn_is(table):
    X, y = table
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        MLPClassifier(4, max_iter=1).fit(X, y, X_val=X, y_val=y[:, np.newaxis])


# -- beyond scikit-learn's -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel", "number", "three numbers"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_validation_losses_are_those_of_the_network_after_each_epoch(table, kind, solver):
    X, y = table[0], targets(kind, table[1])
    seen = []

    def measure(model, epoch):
        truth = y[250:]
        if kind in ("number", "three numbers"):
            seen.append(0.5 * ((model.predict(X[250:]) - truth) ** 2).mean())
            return
        P = model.predict_proba(X[250:])
        if kind == "multilabel":
            seen.append(-np.log(np.where(truth, P, 1 - P)).sum(1).mean())
        else:
            seen.append(log_loss(truth, P, labels=model.classes_))

    model = pair(y)[0](hidden_layer_sizes=8, solver=solver, max_iter=5, callbacks=measure)
    model.fit(X[:250], y[:250], X_val=X[250:], y_val=y[250:])
    assert len(seen) == model.n_iter_ == 5
    np.testing.assert_allclose(model.validation_loss_curve_, seen, rtol=1e-9)
    assert model.fit(X, y).validation_loss_curve_ is None


@pytest.mark.parametrize("kind", ["multiclass", "number"])
def test_early_stopping_watches_the_validation_samples_given(table, kind):
    X, y = table[0], targets(kind, table[1])
    model = pair(y)[0](hidden_layer_sizes=64, early_stopping=True, learning_rate_init=0.02, random_state=0, tol=0)
    model.fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    assert model.t_ == 200 * model.n_iter_
    assert model.n_iter_ < model.max_iter
    assert max(model.validation_scores_) > model.validation_scores_[-1]
    assert model.score(X[200:], y[200:]) == model.best_validation_score_ == max(model.validation_scores_)


@pytest.mark.parametrize("kind", ["number", "three numbers"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_standardised_target_is_predicted_in_its_own_units(table, kind, solver):
    X, y = table[0], targets(kind, table[1])
    options = {"hidden_layer_sizes": 8, "solver": solver, "max_iter": 5, "random_state": 0}
    Y = y.reshape(len(y), -1)
    mean, deviation = Y.mean(0), Y.std(0)
    plain = MLPRegressor(**options).fit(X, ((Y - mean) / deviation).reshape(y.shape))
    model = MLPRegressor(standardize_target=True, **options).fit(X, 1000 * y + 5, X_val=X, y_val=1000 * y + 5)
    assert_same_network(model, plain)
    predicted = plain.predict(X).reshape(Y.shape) * deviation + mean
    np.testing.assert_allclose(model.predict(X), 1000 * predicted.reshape(y.shape) + 5, rtol=1e-9)
    np.testing.assert_allclose(model.loss_curve_, plain.loss_curve_, rtol=1e-9)
    assert model.set_params(standardize_target=False).score(X, 1000 * y + 5) == pytest.approx(
        r2_score(Y, predicted), rel=1e-9
    )
    if solver == "adam":
        measured = model.target_mean_.copy()
        np.testing.assert_array_equal(
            model.set_params(standardize_target=True).partial_fit(X, y).target_mean_, measured
        )
    assert MLPRegressor(max_iter=2, standardize_target=True).fit(X, np.full(len(y), 7.0)).target_scale_ == 1
    times = np.arange(len(y)) % 3
    for loss in ("squared_error", "poisson"):
        of = MLPRegressor(loss, max_iter=1, standardize_target=True)
        spoilt = np.where(times > 0, np.abs(y).T, 1e9).T  # where the weight is 0
        given = (X, spoilt, times), (X.repeat(times, 0), np.abs(y).repeat(times, 0))
        found = [(of.fit(*each).target_mean_.copy(), of.target_scale_) for each in given]
        np.testing.assert_allclose(*found, rtol=1e-12)


def best_constant(y, **options):
    """What a network without inputs that tell anything learns."""
    X = np.zeros((len(y), 1))
    model = MLPRegressor(
        hidden_layer_sizes=(), solver="lbfgs", alpha=0, tol=1e-10, max_iter=500, random_state=0, **options
    )
    return model.fit(X, y).predict(X[:1])[0]


def test_each_loss_has_the_best_constant_that_it_should():
    y = np.random.default_rng(0).gamma(2.0, 3.0, 2001)
    for loss in ("squared_error", "poisson", "gamma"):
        for standardize in (False, True):
            assert best_constant(y, loss=loss, standardize_target=standardize) == pytest.approx(y.mean(), rel=1e-4)
    # The next numbers in order beside a quantile: between them all constants are as good.
    near = lambda q: pytest.approx(  # noqa: E731
        np.quantile(y, q), abs=3 * np.ptp(np.quantile(y, [q - 0.002, q + 0.002]))
    )
    assert best_constant(y, loss="absolute_error") == near(0.5)
    assert best_constant(y, loss="quantile", quantiles=0.9) == near(0.9)
    low, high = best_constant(y, loss="quantile", quantiles=[0.1, 0.9])
    assert (low, high) == (near(0.1), near(0.9))
    huber = best_constant(y, loss="huber", delta=2.0)
    assert np.clip(huber - y, -2, 2).mean() == pytest.approx(0, abs=1e-4)


def test_several_quantiles_never_cross_and_are_scored_by_the_middle_one(table):
    X, y = table[0], targets("three numbers", table[1])
    quantiles = [0.2, 0.45, 0.7]
    model = MLPRegressor("quantile", 8, quantiles=quantiles, max_iter=3, random_state=0, standardize_target=True)
    model.set_params(early_stopping=True).fit(X, y, X_val=X, y_val=y)
    predicted = model.predict(X)
    assert predicted.shape == (len(y), 9)
    assert (np.diff(predicted.reshape(len(y), 3, 3), axis=2) >= 0).all()
    assert model.score(X, y) == model.best_validation_score_ == r2_score(y, predicted[:, 1::3])


def test_early_stopping_can_be_switched_on_in_a_warm_start(table):
    model = MLPClassifier(8, max_iter=2, warm_start=True).fit(*table)
    assert model.set_params(early_stopping=True).fit(*table).best_validation_score_ == max(model.validation_scores_)
    assert model.set_params(early_stopping=False).fit(*table).best_loss_ < np.inf


@pytest.mark.parametrize("given", [False, True], ids=["held out", "given"])
def test_each_fit_of_a_warm_start_keeps_the_best_of_its_own_epochs(table, given):
    X, y = table
    model = MLPClassifier(
        64, early_stopping=True, warm_start=True, max_iter=30, random_state=0, learning_rate_init=0.01
    )
    held_out = {"X_val": X[200:], "y_val": y[200:]} if given else {}
    model.fit(X, y, **held_out)
    first, best = len(model.validation_scores_), model.best_validation_score_
    turned = np.roll(LABELS, 1)[np.searchsorted(LABELS, y)]  # what was learnt is wrong now
    held_out = {"X_val": X[200:], "y_val": turned[200:]} if given else {}
    model.set_params(max_iter=60).fit(X, turned, **held_out)
    assert model.score(X, turned) > 0.6
    scores = model.validation_scores_[first:]
    assert scores[0] < best
    assert model.best_validation_score_ == max(scores)


@pytest.mark.parametrize(
    "scoring", ["neg_log_loss", "f1_macro", lambda model, X, y: -model.predict_proba(X)[:, 0].mean()]
)
def test_early_stopping_watches_any_score(table, scoring):
    X, y = table
    model = MLPClassifier(
        64, early_stopping=True, scoring=scoring, learning_rate_init=0.02, max_iter=40, tol=0, random_state=0
    )
    model.fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    assert get_scorer(scoring)(model, X[200:], y[200:]) == model.best_validation_score_ == max(model.validation_scores_)
    assert model.best_validation_score_ > model.validation_scores_[-1]


@pytest.mark.filterwarnings("ignore:R.2 score is not well-defined with less than two samples")
@pytest.mark.parametrize("kind", ["multiclass", "number"])
def test_where_no_score_is_a_number_the_last_weights_are_kept(table, kind):
    X, y = table[0], targets(kind, table[1])
    make, scoring = (MLPClassifier, lambda *_: np.nan) if kind == "multiclass" else (MLPRegressor, None)
    options = {"hidden_layer_sizes": 8, "max_iter": 5, "random_state": 0}
    model = make(**options, early_stopping=True, scoring=scoring)
    with pytest.warns(UserWarning, match="No score of the held-out samples was a number; the last weights are kept"):
        model.fit(X, y, X_val=X[:1], y_val=y[:1])  # R² of one number is none
    plain = make(**options).fit(X, y)
    assert all(map(np.array_equal, model.coefs_, plain.coefs_))


def test_a_score_of_held_out_samples_takes_what_was_given(table):
    pandas = pytest.importorskip("pandas")
    X, y = pandas.DataFrame(table[0], columns=[f"x{k}" for k in range(12)]), table[1]
    options = {"early_stopping": True, "scoring": "accuracy", "max_iter": 3, "random_state": 0}
    model = MLPClassifier(8, **options)
    weights = np.arange(len(y)) % 3
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y, weights)
    plain = MLPClassifier(8, **options).set_params(scoring=None).fit(table[0], y, weights)
    assert model.validation_scores_ == plain.validation_scores_


def test_groups_are_held_out_whole(table):
    X, y = table
    groups = np.arange(len(y)) // 10  # of ten samples
    kept = []
    model = MLPClassifier(4, early_stopping=True, max_iter=1, random_state=0)
    scorer = lambda model, X, y: kept.append(X) or 0.0  # noqa: E731
    model.set_params(scoring=scorer).fit(X, y, groups=groups)
    held_out = groups[[np.flatnonzero((row == X).all(1))[0] for row in kept[0]]]
    assert sorted(held_out) == sorted(list(np.unique(held_out)) * 10)
    assert len(np.unique(held_out)) == 4  # a tenth of 33, rounded up
    assert model.t_ == len(y) - len(held_out)


def test_held_out_samples_have_a_weight(table):
    X, y = table
    for seed in range(5):
        weights = np.zeros(len(y))
        weights[np.random.default_rng(seed).permutation(len(y))[:4]] = 1
        model = MLPClassifier(4, early_stopping=True, max_iter=2, random_state=seed).fit(X, y, weights)
        assert model.t_ in (2 * (len(y) - 33), 2 * (len(y) - 2))  # a tenth of all, or two of the four with a weight
        assert np.isfinite(model.validation_scores_).all()
    bagging = BaggingClassifier(MLPClassifier(4, early_stopping=True, max_iter=2), 5, random_state=0)
    assert bagging.fit(X[::20], np.arange(17) % 2).predict(X).shape == y.shape


def test_the_last_hidden_layer_is_a_transform(table):
    X, y = table
    functions = {"relu": lambda Z: np.maximum(Z, 0), "tanh": np.tanh}
    for activation in ("relu", "tanh", ["tanh", "relu"]):
        model = MLPClassifier((9, 5), activation=activation, max_iter=3, random_state=0).fit(X, y)
        first, last = (functions[name] for name in ([activation] * 2 if isinstance(activation, str) else activation))
        hidden = last(first(X @ model.coefs_[0] + model.intercepts_[0]) @ model.coefs_[1] + model.intercepts_[1])
        np.testing.assert_allclose(model.transform(X), hidden, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).transform(X), model.transform(X))
    with pytest.raises(ValueError, match="activation has 2 names; it must have 1"):
        MLPClassifier(9, activation=["tanh", "relu"]).fit(X, y)
    assert list(model.get_feature_names_out()) == [f"mlpclassifier{k}" for k in range(5)]
    head = make_pipeline(model, LogisticRegression()).fit(X, y)
    assert head[:-1].transform(X).shape == (len(X), 5)
    with pytest.raises(ValueError, match="there is no hidden layer"):
        MLPClassifier((), max_iter=1).fit(X, y).transform(X)


@pytest.mark.parametrize(
    "kind",
    [MLPClassifier, MLPRegressor, fastmlp.TableClassifier, fastmlp.TableRegressor],
    ids=lambda kind: kind.__name__,
)
def test_every_parameter_is_documented_with_its_default(kind):
    text = inspect.getdoc(kind).partition("Parameters\n----------\n")[2].partition("\n\nAttributes\n")[0]
    said = re.findall(r"^(\w+) : .*default=(\S+)$", text, re.MULTILINE)
    assert len(said) == len(re.findall(r"^\S.*$", text, re.MULTILINE))
    parameters = inspect.signature(kind).parameters
    assert {name: eval(default) for name, default in said} == {name: each.default for name, each in parameters.items()}


def test_class_weights_are_sample_weights(table):
    X, y = table
    options = {"hidden_layer_sizes": 8, "max_iter": 3, "random_state": 0}
    weights = np.where(y == "bee", 5.0, 1.0)
    double = np.arange(len(y)) % 2 + 1
    ours = MLPClassifier(class_weight={"bee": 5}, **options).fit(X, y, double)
    assert_same_network(ours, MLPClassifier(**options).fit(X, y, weights * double))
    share = {label: len(y) / 3 / (y == label).sum() for label in LABELS}
    balanced = MLPClassifier(class_weight="balanced", **options).fit(X, y)
    assert_same_network(balanced, MLPClassifier(**options).fit(X, y, [share[label] for label in y]))
    total = {label: double.sum() / 3 / double[y == label].sum() for label in LABELS}
    balanced = MLPClassifier(class_weight="balanced", **options).fit(X, y, double)
    assert_same_network(balanced, MLPClassifier(**options).fit(X, y, double * [total[label] for label in y]))
    some = MLPClassifier(class_weight={"bee": 5}, **options).partial_fit(X[y != "bee"], y[y != "bee"], classes=LABELS)
    assert_same_network(some, MLPClassifier(**options).partial_fit(X[y != "bee"], y[y != "bee"], classes=LABELS))
    Y = targets("multilabel", y).astype(int)
    many = MLPClassifier(class_weight=[{0: 1, 1: 3}, {0: 1, 1: 1}], **options).fit(X, Y)
    assert_same_network(many, MLPClassifier(**options).fit(X, Y, np.where(Y[:, 0], 3.0, 1.0)))


@pytest.mark.parametrize("kind", ["multiclass", "number"])
def test_dropout_trains_another_network_that_predicts_with_all_units(table, kind):
    X, y = table[0], targets(kind, table[1])
    make, _ = pair(y)
    options = {"hidden_layer_sizes": 32, "max_iter": 5}
    dropped = [make(dropout=0.5, random_state=seed, **options).fit(X, y) for seed in (0, 0, 1)]
    assert_same_network(*dropped[:2])
    plain = make(random_state=0, **options).fit(X, y)
    assert plain.loss_curve_[0] < dropped[0].loss_curve_[0]
    model = dropped[0]
    hidden = np.maximum(X @ model.coefs_[0] + model.intercepts_[0], 0)
    Z = hidden @ model.coefs_[1] + model.intercepts_[1]
    if kind == "number":
        np.testing.assert_allclose(model.predict(X), Z[:, 0], rtol=1e-9, atol=1e-12)
    else:
        np.testing.assert_allclose(model.predict_proba(X), np.exp(Z) / np.exp(Z).sum(1, keepdims=True), rtol=1e-9)


@pytest.mark.parametrize("kind", ["multiclass", "binary"])
def test_label_smoothing_moves_the_best_constant_to_the_smoothed_frequencies(table, kind):
    y = targets(kind, table[1])
    model = MLPClassifier((), solver="lbfgs", alpha=0, label_smoothing=0.3, tol=1e-8, random_state=0)
    P = model.fit(np.zeros((len(y), 1)), y).predict_proba(np.zeros((1, 1)))[0]
    frequency = np.array([(y == label).mean() for label in model.classes_])
    np.testing.assert_allclose(P, 0.7 * frequency + 0.3 / len(frequency), atol=1e-6)


@pytest.mark.parametrize("kind", ["multiclass", "number"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_sees_every_epoch_and_stops(table, solver, kind):
    X, y = table[0], targets(kind, table[1])
    seen = []

    def watch(model, epoch):
        seen.append((epoch, model.loss_, model.score(X, y)))

    callbacks = [watch, lambda model, epoch: epoch == 4]
    model = pair(y)[0](hidden_layer_sizes=8, solver=solver, max_iter=9, callbacks=callbacks)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model.fit(X, y)
    assert [epoch for epoch, _, _ in seen] == [1, 2, 3, 4]
    assert [loss for _, loss, _ in seen] == model.loss_curve_
    assert model.n_iter_ == 4
    assert model.score(X, y) == seen[-1][2]
    model.set_params(callbacks=watch).fit(X, y)
    assert seen[-1][0] == model.n_iter_ == 9


def test_a_warning_that_is_made_an_error_leaves_what_was_learnt(table):
    models = [make(8, max_iter=3, random_state=0) for make in (MLPClassifier, Theirs)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        for model in models:
            with pytest.raises(ConvergenceWarning):
                model.fit(*table)
    assert_same_network(*models)


def test_verbose_says_what_scikit_learn_says_and_draws_a_bar_on_a_terminal(table, capsys, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    options = {
        "solver": "sgd", "verbose": True, "early_stopping": True, "tol": 0.3, "n_iter_no_change": 1, "batch_size": 50,
    }  # fmt: skip
    ours, theirs = [], []
    for make, lines in ((MLPClassifier, ours), (Theirs, theirs)):
        make(8, random_state=0, **options).fit(*table)
        lines += capsys.readouterr().out.splitlines()
    assert [line for line in ours if not line.startswith("Validation loss")] == theirs
    losses, epochs = (sum(line.startswith(what) for line in ours) for what in ("Validation loss = ", "Iteration "))
    assert losses == epochs
    assert "epoch 1/200" in terminal.getvalue()


# -- the state of an estimator ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, copy.copy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deep", "shallow", "pickle"],
)
@pytest.mark.parametrize("kind", ["multiclass", "number"])
@pytest.mark.parametrize("options", [{}, {"solver": "sgd"}], ids=str)
def test_a_copy_predicts_and_goes_on_as_the_original(table, copied, options, kind):
    X, y = table[0], targets(kind, table[1])
    model = pair(y)[0](hidden_layer_sizes=8, random_state=0, **options)
    model.partial_fit(X, y, **known_classes(model)).partial_fit(X, y)
    other = copied(model)
    predict = "predict" if kind == "number" else "predict_proba"
    before = getattr(model, predict)(X)
    np.testing.assert_array_equal(getattr(other, predict)(X), before)
    other.partial_fit(X, y)
    np.testing.assert_array_equal(getattr(model, predict)(X), before)
    assert_same_network(other, model.partial_fit(X, y))


def test_joblib_loads_a_model_from_mapped_memory(table, tmp_path):
    X, y = table
    model = MLPClassifier(8, max_iter=3).fit(X, y)
    joblib.dump(model, tmp_path / "model")
    loaded = joblib.load(tmp_path / "model", mmap_mode="r")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    loaded.partial_fit(X, y)
    assert not hasattr(clone(loaded), "coefs_")


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"solver": "sgd"}, {"learning_rate_init": 0.05}),
        ({"solver": "sgd", "learning_rate": "invscaling"}, {"learning_rate_init": 0.05}),
        ({"solver": "sgd"}, {"momentum": 0.2}),
        ({"solver": "sgd"}, {"nesterovs_momentum": False}),
        ({}, {"learning_rate_init": 0.05}),
        ({}, {"beta_1": 0.3, "epsilon": 1e-3}),
        ({}, {"solver": "sgd"}),
        ({"solver": "sgd"}, {"solver": "adam"}),
        ({"solver": "sgd"}, {"momentum": 0.0}),
        ({}, {"alpha": 30.0}),
    ],
    ids=str,
)
def test_partial_fit_obeys_parameters_that_were_changed(table, first, then):
    X, y = table
    model, theirs = (make(8, random_state=0, **first) for make in (MLPClassifier, Theirs))
    for each in (model, theirs):
        each.partial_fit(X, y, classes=LABELS).set_params(**then)
    # scikit-learn's class takes its optimizer's parameters from where it keeps them, and another solver never.
    optimizer = theirs._optimizer
    if "solver" in then or ("momentum" in then and not then["momentum"]):
        del theirs._optimizer
    for name, value in then.items():
        setattr(optimizer, {"nesterovs_momentum": "nesterov"}.get(name, name), value)
    if "learning_rate_init" in then:
        optimizer.learning_rate = 0.05 / ((theirs.t_ + 1) ** 0.5 if "learning_rate" in first else 1)
    for each in (model, theirs):
        each.partial_fit(X, y).partial_fit(X, y)
    assert_same_network(model, theirs)


def test_partial_fit_checks_parameters_again_where_one_was_changed(table, monkeypatch):
    X, y = table
    model, checked = MLPClassifier(8).partial_fit(X, y, classes=LABELS), []
    monkeypatch.setattr(MLPClassifier, "_validate_params", lambda model: checked.append(model.alpha))
    for given in ({}, {}, {"alpha": 0.5}, {}, {"alpha": 0.25}):
        model.set_params(**given).partial_fit(X, y)
    assert checked == [0.5, 0.25]


def test_a_model_that_was_pickled_before_it_kept_its_activation_is_read(table):
    X, y = table
    model = MLPClassifier(8, activation="tanh", max_iter=2, random_state=0).fit(X, y)
    old = MLPClassifier.__new__(MLPClassifier)
    old.__setstate__({name: value for name, value in model.__getstate__().items() if name != "_activation"})
    assert np.array_equal(old.predict_proba(X), model.predict_proba(X))


AFTER_A_FIT = {
    "loss": ["poisson", "quantile"], "quantiles": [[0.1, 0.9], 0.3], "delta": [5.0], "standardize_target": [False],
    "activation": ["tanh", ["relu", "gelu"]], "hidden_layer_sizes": [()], "n_threads": [1], "label_smoothing": [0.5],
}  # fmt: skip


@pytest.mark.parametrize(
    "model",
    [
        MLPClassifier(8), MLPRegressor("huber", 8), MLPRegressor("gamma", [8, 8], activation=["relu", "tanh"]),
        MLPRegressor("quantile", 8, quantiles=[0.2, 0.5, 0.8], standardize_target=True),
    ],
    ids=str,
)  # fmt: skip
def test_a_fitted_model_answers_as_it_was_fitted_whatever_is_set_later(table, tmp_path, model):
    X, y = table if is_classifier(model) else (table[0], np.abs(targets("number", table[1])) + 1)

    def answers(model):
        made = model._as_model()
        return model.predict(X), model.transform(X), model.score(X, y), made.network.activations, made.contents()[0]

    given = model.get_params()
    model.set_params(max_iter=2, random_state=0).fit(X, y)
    told = state_of(answers(model))
    for name, values in AFTER_A_FIT.items():
        for value in values if name in given else ():
            model.set_params(**{name: value})
            assert state_of(answers(model)) == state_of(answers(pickle.loads(pickle.dumps(model)))) == told
            model.coefs_ = [W.copy() for W in model.coefs_]
            assert state_of(answers(model)) == told
            model.set_params(**{name: given[name]})
    for name in ("quantiles", "activation"):  # lists that their owner changes
        if isinstance(given.get(name), list):
            given[name].reverse()
    assert state_of(answers(model)) == told


def test_weights_that_are_set_are_used(table):
    X, y = table
    model = MLPClassifier(8, max_iter=3, random_state=0).fit(X, y)
    other = MLPClassifier(8, max_iter=3, random_state=1).fit(X, y)
    expected = other.predict_proba(X)
    for k in range(2):
        model.coefs_[k] = other.coefs_[k]
    model.intercepts_ = other.intercepts_
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), expected)
    model.coefs_[1][:] = 0
    model.intercepts_[1][:] = [0, 3, 0]
    assert set(model.predict(X)) == {"bee"}
    model.set_params(solver="sgd", momentum=0, learning_rate_init=1e-9)
    del model._optimizer
    model.partial_fit(X, y)
    assert set(model.predict(X)) == {"bee"}


def test_an_interrupt_ends_fit_with_what_was_learnt(rng):
    X, y = rng.standard_normal((3000, 40)), np.arange(3000) % 3  # noise, to be learnt by heart
    for solver in ("adam", "sgd", "lbfgs"):
        model = MLPClassifier(64, solver=solver, max_iter=10**6, max_fun=10**6, n_iter_no_change=np.inf, tol=0)
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        start = time.monotonic()
        timer.start()
        with pytest.warns(UserWarning, match="Training interrupted by user."):
            model.fit(X, y)
        assert 0.5 < time.monotonic() - start < 5
        assert model.n_iter_ > 0
        assert model.loss_curve_[-1] < model.loss_curve_[0]
        assert model.predict(X).shape == (3000,)
    penalty = model.alpha / 2 * sum((W**2).sum() for W in model.coefs_) / 3000
    assert log_loss(y, model.predict_proba(X)) + penalty == pytest.approx(model.loss_curve_[-1], rel=1e-9)  # of lbfgs


def test_the_examples_in_the_docstrings_are_true():
    for module in (fastmlp.estimator.classifier, fastmlp.estimator.regressor):
        assert doctest.testmod(module) == (0, 4)


# -- in other libraries ----------------------------------------------------------------------------------------------


KINDS = ["multiclass", "binary", "multilabel", "one class", "numbers"]


def kinds_with_activations():
    """Every kind of target with ReLU, every activation with classes, and, nightly, all pairs."""
    for kind, activation in itertools.product(KINDS, kernels.ACTIVATIONS):
        few = kind == "multiclass" or activation in ("relu", "identity")
        yield pytest.param(kind, activation, marks=() if few else pytest.mark.nightly)
    yield "multiclass", ("tanh", "relu")


@pytest.mark.parametrize(("kind", "activation"), list(kinds_with_activations()))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_onnx_runtime_predicts_what_the_estimator_predicts(table, tmp_path, kind, activation, dtype):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    X, y = table[0].astype(np.float32), targets(kind, table[1])
    if kind == "one class":
        y = np.full(len(y), "ant")
    elif kind == "numbers":
        y = np.searchsorted(LABELS, y) * 5 - 3
    hidden = () if kind == "numbers" and activation == "identity" else (9, 7)
    model = MLPClassifier(hidden, activation=activation, max_iter=5, random_state=0).fit(X.astype(dtype), y)
    fastmlp.export(model, tmp_path / "model.onnx")
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    label, P = session.run(["label", "probabilities"], {"X": X})
    np.testing.assert_array_equal(label, model.predict(X))
    assert P.dtype == dtype
    # Orders of summing at most 12 terms of size 10 differ by that many roundings.
    np.testing.assert_allclose(P, model.predict_proba(X), rtol=0, atol=100 * np.finfo(dtype).eps)


EXPORTED = {
    "number": ("number", {}),
    "numbers, standardised": ("three numbers", {"standardize_target": True}),
    "no hidden layer": ("number", {"hidden_layer_sizes": (), "standardize_target": True}),
    "counts": ("number", {"loss": "poisson"}),
    "sizes": ("three numbers", {"loss": "gamma", "standardize_target": True}),
    "quantiles": ("number", {"loss": "quantile", "quantiles": [0.1, 0.5, 0.9], "standardize_target": True}),
    "quantiles of three": ("three numbers", {"loss": "quantile", "quantiles": [0.25, 0.75]}),
    "huber": ("number", {"loss": "huber", "delta": 0.5}),
}


@pytest.mark.parametrize("how", EXPORTED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_other_libraries_predict_the_numbers_that_the_regressor_predicts(table, tmp_path, how, dtype):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    tensors = pytest.importorskip("safetensors.numpy")
    kind, options = EXPORTED[how]
    X, y = table[0].astype(np.float32), targets(kind, table[1])
    if options.get("loss") in ("poisson", "gamma"):
        y = y - y.min() + 0.1
    model = MLPRegressor(**{"hidden_layer_sizes": (9, 7), "max_iter": 5, "random_state": 0, **options})
    expected = model.fit(X.astype(dtype), y).predict(X.astype(dtype))
    fastmlp.export(model, tmp_path / "model.onnx")
    (predicted,) = runtime.InferenceSession(str(tmp_path / "model.onnx")).run(["prediction"], {"X": X})
    assert (predicted.dtype, predicted.shape) == (dtype, expected.shape)
    # Orders of summing up to 12 terms of size 10 differ by so many roundings; exp multiplies them by the number itself.
    bounds = {"rtol": 100 * np.finfo(dtype).eps, "atol": 100 * np.finfo(dtype).eps}
    np.testing.assert_allclose(predicted, expected, **bounds)
    usage = fastmlp.export(model, tmp_path / "model.safetensors")
    layers, Z = tensors.load_file(tmp_path / "model.safetensors"), X.astype(dtype)
    for k in range(0, len(layers), 2):
        Z = (np.maximum(Z, 0) if k else Z) @ layers[f"{k}.weight"].T + layers[f"{k}.bias"]
    T = 3 if kind == "three numbers" else 1
    outcome = {
        "identity": (Z, "; y = net(X)"),
        "exp": (np.exp(Z), "; y = net(X).exp()"),
        "quantile": (
            np.sort(Z.reshape(len(Z), T, -1)).reshape(Z.shape),
            f"; y = net(X).unflatten(1, ({T}, {Z.shape[1] // T})).sort(2).values.flatten(1)",
        ),
    }
    Y, sentence = outcome["quantile" if model.loss == "quantile" else model.out_activation_]
    np.testing.assert_allclose(Y.reshape(expected.shape), expected, **bounds)
    assert usage.endswith(sentence)
    if importlib.util.find_spec("torch"):
        import torch

        scope = {"torch": torch, "X": torch.from_numpy(X.astype(dtype))}
        exec(f"import safetensors.torch; {usage}", scope)
        np.testing.assert_allclose(scope["y"].detach().numpy().reshape(expected.shape), expected, **bounds)


def test_a_state_dict_names_the_activation(table, tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    model = MLPClassifier((9, 7), activation=["tanh", "relu"], max_iter=1, random_state=0).fit(*table)
    usage = fastmlp.export(model, tmp_path / "model.safetensors")
    assert "Linear(12, 9), torch.nn.Tanh(), torch.nn.Linear(9, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3)" in usage
    tensors = numpy.load_file(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(tensors["4.weight"].T, model.coefs_[2])
    np.testing.assert_array_equal(tensors["0.bias"], model.intercepts_[0])


def test_what_is_no_model_is_not_exported(table, tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(NotFittedError, match="not fitted yet"):
        fastmlp.export(MLPClassifier(), path)
    with pytest.raises(
        TypeError, match="model is a StandardScaler; it must be a fastmlp.Model or an estimator of fastmlp"
    ):
        fastmlp.export(StandardScaler(), path)
    with pytest.raises(fastmlp.InputError, match="unknown format"):
        fastmlp.export(MLPClassifier(4, max_iter=1).fit(*table), tmp_path / "model.h5")
    assert not list(tmp_path.iterdir())


def test_export_can_be_called_whoever_imported_its_module(python):
    code = (
        "import fastmlp, sys; first = fastmlp.export; assert 'numba' not in sys.modules\n"
        "import fastmlp.export\nfrom fastmlp import export\nassert first is export is fastmlp.export\n"
        "assert callable(export) and callable(export.main)"
    )
    python(code)


# -- refused calls ---------------------------------------------------------------------------------------------------


def state_of(value):
    """All that an object holds, arrays and random states and what it refers to, as what can be compared."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, np.random.RandomState):
        return state_of(value.get_state(legacy=False))
    if isinstance(value, dict):
        return {name: state_of(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [state_of(each) for each in value]
    return state_of(vars(value)) if hasattr(value, "__dict__") and not callable(value) else repr(value)


def failing_scorer(estimator, X, y):
    raise ValueError("no score")


def failing_callback(estimator, epoch):
    if epoch == 2:
        raise ValueError("no second epoch")


BAD = np.arange(60) % 3 == 0  # rows to spoil
NO = {"warm_start": False}

# What is refused: (method, parameters, changes of X, y and the other arguments, what the message says).
REFUSED = {
    "not finite": ("both", {}, {"X": lambda X: np.where(BAD[:, None], np.nan, X)}, "Input X contains NaN"),
    "gaps in y": ("fit", NO, {"y": lambda y: np.where(BAD, None, y)}, "20 gaps in 60 rows, the first in row 0"),
    "gaps in a list": (
        "fit", NO, {"y": lambda y: [np.nan if bad else str(label) for bad, label in zip(BAD, y)]}, "20 gaps in 60 rows",
    ),
    "masked": ("both", {}, {"X": lambda X: np.ma.masked_less(X, 0)}, "masked values cannot be read"),
    "masked weights": (
        "both", {}, {"sample_weight": np.ma.masked_less(np.arange(60), 9)}, "masked values cannot be read",
    ),
    "beyond float32": ("again", {}, {"X": lambda X: X.astype(float) * 1e300}, "a value too large for dtype"),
    "another width": ("again", {}, {"X": lambda X: X[:, 1:]}, "is expecting 5"),
    "rows missing": ("both", {}, {"X": lambda X: X[1:]}, "inconsistent numbers of samples"),
    "continuous y": ("both", {}, {"y": lambda y: y + 0.5}, "nknown label type|classes not in|same classes"),
    "labels 0 and 2": (
        "fit", NO, {"y": lambda y: 2 * np.eye(3, dtype=int)[y]}, "y has a column for each label and holds 2",
    ),
    "multilabel": ("again", {}, {"y": lambda y: np.eye(3, dtype=int)[y]}, "y has a column for each label"),
    "unknown class": ("again", {}, {"y": lambda y: y + 1}, "same classes as|`y` has classes not in `self.classes_`"),
    "negative weights": ("both", {}, {"sample_weight": -np.ones(60)}, "Negative values in data"),
    "no weights": ("both", {}, {"sample_weight": np.zeros(60)}, "Sample weights must contain"),
    "few weights": ("both", {}, {"sample_weight": np.ones(3)}, "sample_weight.shape"),
    "no class weight": ("fit", {"class_weight": {7: 1}}, {}, "not in class_weight"),
    "balanced blocks": ("partial_fit", {"class_weight": "balanced"}, {}, "class_weight 'balanced' is not supported"),
    "stopping in blocks": ("partial_fit", {"early_stopping": True}, {}, "partial_fit does not support early_stopping"),
    "other classes": ("partial_fit", {}, {"classes": [0, 1, 2, 3]}, "is not the same as on last call|classes"),
    "X_val alone": ("fit", {}, {"X_val": np.ones((2, 5))}, "y_val was not provided"),
    "y_val alone": ("fit", {}, {"y_val": [0, 1]}, "X_val was not provided"),
    "X_val without a row": ("fit", {}, {"X_val": np.ones((2, 5)), "y_val": [0]}, "inconsistent numbers of samples"),
    "X_val of another width": ("fit", {}, {"X_val": np.ones((2, 4)), "y_val": [0, 1]}, "X has 4 features"),
    "X_val not finite": ("fit", {}, {"X_val": np.full((2, 5), np.inf), "y_val": [0, 1]}, "contains infinity"),
    "X_val beyond float32": ("fit", {}, {"X_val": np.full((2, 5), 1e39), "y_val": [0, 1]}, "X_val contains infinity"),
    "y_val unknown": ("fit", {}, {"X_val": np.ones((2, 5)), "y_val": [0, 9]}, "`y_val` has classes not in"),
    "y_val multilabel": (
        "fit", {}, {"X_val": np.ones((2, 5)), "y_val": [[0, 1], [1, 0]]}, "y_val has a column for each",
    ),
    "other layers": ("again", {"hidden_layer_sizes": (4, 4)}, {}, r"hidden_layer_sizes is \[4, 4\]"),
    "no layers": ("both", {"hidden_layer_sizes": (0,)}, {}, "hidden_layer_sizes must be > 0"),
    "half a unit": ("both", {"hidden_layer_sizes": (2.5,)}, {}, "hidden_layer_sizes must be integers"),
    "no parameter": ("fit", {"alpha": -1.0}, {}, "The 'alpha' parameter"),
    "all dropped": ("fit", {"dropout": 1.0}, {}, "The 'dropout' parameter of MLP.* must be a float in the range"),
    "negative smoothing": (
        "fit", {"label_smoothing": -0.1}, {}, "The 'label_smoothing' parameter of MLPClassifier must be",
    ),
    "no threads": ("fit", {"n_threads": 0}, {}, "The 'n_threads' parameter of MLP.* must be an int in the range"),
    "a number to call back": ("fit", {"callbacks": 3}, {}, "The 'callbacks' parameter of MLP.* must be"),
    "class weights by a word": (
        "fit", {"class_weight": "even"}, {}, "The 'class_weight' parameter of MLPClassifier must be",
    ),
    "dropout in lbfgs": ("fit", {"dropout": 0.5, "solver": "lbfgs"}, {}, "dropout is only available"),
    "one held out": ("fit", {"early_stopping": True, "validation_fraction": 0.01}, {}, "validation set is too small"),
    "a class of one": (
        "fit", {"early_stopping": True, **NO}, {"y": lambda y: (np.arange(60) == 5).astype(int)},
        "least populated class",
    ),
    "two weights": (
        "fit", {"early_stopping": True}, {"sample_weight": np.arange(60) < 2}, "sample_weight is positive for 2",
    ),
    "one group": ("fit", {"early_stopping": True}, {"groups": np.zeros(60)}, "n_samples=1"),
    "groups missing": ("fit", {"early_stopping": True}, {"groups": np.zeros(5)}, "inconsistent numbers of samples"),
    "no score": ("fit", {"early_stopping": True, "scoring": failing_scorer}, {}, "no score"),
    "another score": ("fit", {"early_stopping": True, "scoring": "f1"}, {}, "average='binary'"),
    "integers as objects": ("fit", {}, {"y": lambda y: y.astype(object)}, r"holds int; it .*: y.astype\(int\)"),
    "numbers and text": (
        "fit", {}, {"y": lambda y: np.array([1, "a"] * 30, object)},
        r"dtype object and holds int, str; .*: y.astype\(str\)",
    ),
    "divergence": ("both", {"learning_rate_init": 1e300}, {}, "Solver produced non-finite"),
    "a changed rate": ("partial_fit", {"learning_rate_init": -1.0}, {}, "The 'learning_rate_init' parameter"),
    "a changed penalty": ("partial_fit", {"alpha": -1.0}, {}, "The 'alpha' parameter"),
    "no batch": ("both", {"batch_size": 0}, {}, "The 'batch_size' parameter"),
    "no epoch": ("both", {"max_iter": 0}, {}, "The 'max_iter' parameter"),
    "no dropout": ("both", {"dropout": np.nan}, {}, "The 'dropout' parameter"),
    "a callback that cannot be called": ("both", {"callbacks": [3]}, {}, "'int' object is not callable"),
    "a callback that fails": ("fit", {"callbacks": failing_callback}, {}, "no second epoch"),
}  # fmt: skip

# The same of numbers to predict, beside what is refused of any y.
OF_CLASSES = {"y", "classes", "y_val", "class_weight", "label_smoothing"}
REFUSED_NUMBERS = {
    **{
        name: case for name, case in REFUSED.items()
        if not OF_CLASSES & {*case[1], *case[2]} and name != "another score"
    },
    "text": ("both", {}, {"y": lambda y: y.astype(str)}, "could not convert string to float|y has dtype <U"),
    "y not finite": ("both", {}, {"y": lambda y: np.where(BAD, np.nan, y)}, "Input y contains NaN"),
    "y beyond float32": ("both", {}, {"y": lambda y: y * 1e300}, "y holds a number too large for dtype float32"),
    "y beyond float32, standardised": (
        "fit", {"standardize_target": True, **NO}, {"y": lambda y: y * 1e39},
        "y holds a number too large for dtype float32",
    ),
    "columns": (
        "again", {}, {"y": lambda y: np.stack([y, y], 1)}, "y has 2 columns; this model was fitted with 1 outputs",
    ),
    "sparse y": ("both", {}, {"y": lambda y: scipy.sparse.csr_array(y[:, None])}, "Sparse data was passed for y"),
    "y_val sparse": (
        "fit", {}, {"X_val": np.ones((2, 5)), "y_val": scipy.sparse.csr_array(np.eye(2))}, "y_val is sparse",
    ),
    "y_val of columns": ("fit", {}, {"X_val": np.ones((2, 5)), "y_val": np.ones((2, 3))}, "y_val has 3 columns"),
    "y_val not finite": ("fit", {}, {"X_val": np.ones((2, 5)), "y_val": [0, np.inf]}, "y_val contains infinity"),
    "y_val text": ("fit", {}, {"X_val": np.ones((2, 5)), "y_val": ["a", "b"]}, "y_val has dtype <U1"),
    "negative counts": (
        "fit", {"loss": "poisson", **NO}, {"y": lambda y: y - 2}, "y holds -1.5; the loss poisson takes",
    ),
    "sizes of nothing": ("fit", {"loss": "gamma", **NO}, {"y": lambda y: y - 0.5}, "y holds 0.0; the loss gamma takes"),
    "negative y_val": (
        "fit", {"loss": "poisson", **NO}, {"X_val": np.ones((2, 5)), "y_val": [0, -1.0]},
        "y_val holds -1.0; the loss poisson",
    ),
    "now standardised": (
        "again", {"standardize_target": True}, {}, "standardize_target is True, which the network to go on",
    ),
    "another output": ("again", {"loss": "poisson"}, {}, "loss is 'poisson', of which the output is exp"),
    "falling quantiles": ("fit", {"loss": "quantile", "quantiles": [0.9, 0.1]}, {}, r"quantiles is \[0.9, 0.1\]"),
    "more quantiles": (
        "again", {"loss": "quantile", "quantiles": [0.1, 0.9]}, {}, "y has 1 columns, and makes 2 of each",
    ),
    "no such loss": ("both", {"loss": "log_loss"}, {}, "The 'loss' parameter of MLPRegressor must be"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("before", ["nothing", "fit", "partial_fit"])
@pytest.mark.parametrize(
    ("make", "refused"),
    [
        pytest.param(make, case, id=f"{make.__name__[3:]} {name}")
        for make, cases in ((MLPClassifier, REFUSED), (MLPRegressor, REFUSED_NUMBERS))
        for name, case in cases.items()
    ],
)
def test_a_refused_call_changes_nothing(before, make, refused):
    method, parameters, changes, message = refused
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 5)).astype(np.float32), np.arange(60) % 3
    model = make(hidden_layer_sizes=4, max_iter=3, random_state=np.random.RandomState(0), warm_start=True)
    if make is MLPRegressor:
        y = y + 0.5
    if before == "fit":
        model.fit(X, y)
    elif before == "partial_fit":
        model.partial_fit(X, y, **known_classes(model, [0, 1, 2])).partial_fit(X, y)
    model.set_params(**parameters)
    arguments = {"X": X, "y": y}
    for name, change in changes.items():
        arguments[name] = change(arguments[name]) if callable(change) else change
    calls = {"both": ("fit", "partial_fit"), "again": ("fit", "partial_fit")}.get(method, (method,))
    if before == "nothing" and (method == "again" or "classes" in changes):
        pytest.skip("refused only where there is a network")
    for name in calls:
        first = known_classes(model, [0, 1, 2]) if name == "partial_fit" and before == "nothing" else {}
        state = state_of(model)
        with pytest.raises((ValueError, TypeError), match=message):
            getattr(model, name)(**first, **arguments)
        assert state_of(model) == state


def test_a_refused_prediction_changes_nothing(table):
    model = MLPClassifier(4, max_iter=2, random_state=0).fit(table[0].astype(np.float32), table[1])
    state = state_of(model)
    big = table[0] * 1e300
    for method in (model.predict, model.predict_proba, model.predict_log_proba, model.transform):
        for X, message in (
            (big, "a value too large for dtype"),
            (scipy.sparse.csr_array(big), "too large for dtype"),
            (big[:, 1:], "expecting 12"),
            (np.ma.masked_less(table[0], 1), "masked values cannot be read"),
        ):
            with pytest.raises(ValueError, match=message):
                method(X)
    assert state_of(model) == state


# -- in company ------------------------------------------------------------------------------------------------------


def test_grid_search_in_worker_processes(table):
    X, y = table
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=40, random_state=0))
    grid = {"mlpclassifier__alpha": [1e-4, 10.0], "mlpclassifier__hidden_layer_sizes": [(8,), (16, 8)]}
    searches = [GridSearchCV(pipeline, grid, n_jobs=n, cv=3).fit(X, y) for n in (2, None)]
    np.testing.assert_array_equal(*(search.cv_results_["mean_test_score"] for search in searches))
    assert searches[0].best_score_ > 0.4


def test_worker_processes_share_the_cores():
    counts = joblib.Parallel(n_jobs=2)(joblib.delayed(kernels.get_num_threads)() for _ in range(2))
    assert sum(counts) <= max(2, os.cpu_count())


def test_model_selection_calibration_and_feature_names(table):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(table[0], columns=[f"x{k}" for k in range(12)])
    model = MLPClassifier(16, max_iter=60, random_state=0)
    assert cross_val_score(model, X, table[1], cv=3).mean() > 0.4
    P = CalibratedClassifierCV(model, cv=3).fit(X, table[1]).predict_proba(X)
    np.testing.assert_allclose(P.sum(1), 1)
    pipeline = make_pipeline(StandardScaler(), model).set_output(transform="pandas").fit(X, table[1])
    assert list(pipeline[-1].feature_names_in_) == list(X.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        model.fit(X, table[1]).predict(X.rename(columns={"x0": "y0"}))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_grid_search_on_dask(table):
    distributed = pytest.importorskip("distributed")
    search = GridSearchCV(MLPClassifier(8, max_iter=5, random_state=0), {"alpha": [1e-4, 1.0]}, cv=3)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        there = clone(search).fit(*table)
    here = search.fit(*table)
    np.testing.assert_array_equal(there.cv_results_["mean_test_score"], here.cv_results_["mean_test_score"])


def test_importing_fastmlp_needs_no_scikit_learn(python):
    code = (
        "import sys; sys.modules['sklearn'] = None\nimport fastmlp\n"
        "try:\n    fastmlp.MLPClassifier\nexcept ImportError as error:\n    print(error)"
    )
    done = python(code)
    assert "needs scikit-learn" in done.stdout
    assert "[sklearn]'" in done.stdout


# -- bad input -------------------------------------------------------------------------------------------------------


def test_a_batch_larger_than_the_samples_is_clipped_with_a_warning(table):
    with pytest.warns(UserWarning, match="Got `batch_size` less than 1 or larger than sample size"):
        MLPClassifier(4, batch_size=1000, max_iter=1).fit(*table)
