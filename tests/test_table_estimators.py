"""TableClassifier and TableRegressor: tables with categories, dates and gaps, as scikit-learn's estimators."""

import enum
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastmlp
import kernels
from fastmlp import MLPClassifier, MLPRegressor, TableClassifier, TableRegressor
from fastmlp.data import Sparse
from fastmlp.data.values import GAPS
from fastmlp.errors import InputError
from fastmlp.frames import read_table
from fastmlp.tables.ensemble import outputs_of
from fastmlp.tables.recipe import recipe_for

QUICK = {"n_networks": 2, "epochs": 30, "random_state": 0}
FOLDS = "the folds are drawn by rows: a row that is there twice may be trained on and held out, one of weight 2 not"


@parametrize_with_checks(
    [TableClassifier(n_networks=2, epochs=30), TableRegressor(n_networks=2, epochs=60)],
    expected_failed_checks=lambda estimator: {"check_sample_weight_equivalence_on_dense_data": FOLDS},
)
@pytest.mark.filterwarnings("ignore:.*rows are too few:UserWarning")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def table(rows=400, seed=0):
    """(X, y): y is told by the category where the number is known, and by the gap else."""
    rng = np.random.default_rng(seed)
    x, colour = rng.standard_normal(rows), rng.choice(["red", "blue", "green"], rows)
    x[rng.random(rows) < 0.2] = np.nan
    day = np.datetime64("2024-01-01") + rng.integers(0, 700, rows)
    y = np.where(np.isnan(x), 3.0, np.where(colour == "red", x, -x))
    return {"x": x, "colour": colour, "day": day, "noise": rng.integers(0, 5, rows)}, y


def rows_of(X, rows):
    return {name: values[rows] for name, values in X.items()}


def test_a_regressor_learns_what_categories_and_gaps_say():
    X, y = table()
    X_test, y_test = table(seed=1)
    model = TableRegressor(random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > 0.9  # without the category, or without the gap, at most 0.7
    assert [column.kind for column in model.columns_.columns] == ["number", "category", "date", "number"]


def test_numbers_beyond_single_precision_are_predicted_in_their_unit():
    X, y = table(60)
    found, large = (TableRegressor(n_networks=1, epochs=2, random_state=0).fit(X, unit * y) for unit in (1, 2.0**400))
    assert np.array_equal(large.predict(X), 2.0**400 * found.predict(X))


def test_a_classifier_learns_what_categories_and_gaps_say():
    X, y = table()
    X_test, y_test = table(seed=1)
    model = TableClassifier(random_state=0).fit(X, np.where(y > 0, "up", "down"))
    assert model.score(X_test, np.where(y_test > 0, "up", "down")) > 0.93  # without the category at most 0.6
    np.testing.assert_allclose(model.predict_proba(X_test).sum(1), 1)


@pytest.mark.parametrize("make", [TableClassifier, TableRegressor])
def test_results_do_not_depend_on_the_number_of_threads_and_follow_the_seed(make):
    X, y = table()
    y = y > 0 if make is TableClassifier else y
    models = [make(**QUICK, n_threads=n).fit(X, y) for n in (1, 2, 5)]
    weights = [[network.params.tobytes() for network in model.networks_] for model in models]
    assert weights[0] == weights[1] == weights[2]
    many = rows_of(X, np.resize(np.arange(len(y)), 3000))  # of which each thread predicts a part
    for model in models:
        assert np.array_equal(model.predict(many), np.resize(models[0].predict(X), 3000))
    other = make(**{**QUICK, "random_state": 1}).fit(X, y)
    assert other.networks_[0].params.tobytes() != weights[0][0]


def test_a_row_without_weight_is_not_there():
    X, y = table()
    weights = np.ones(len(y))
    weights[::3] = 0
    kept = np.flatnonzero(weights)
    weighted = TableRegressor(**QUICK).fit(X, y, weights)
    without = TableRegressor(**QUICK).fit(rows_of(X, kept), y[kept])
    assert np.array_equal(weighted.predict(X), without.predict(X))
    tested = {"X_test": X, "y_test": y, "networks": 2, "epochs": 2}
    weighted = fastmlp.fit(X, y, sample_weight=weights, **tested).model
    without = fastmlp.fit(rows_of(X, kept), y[kept], **tested).model
    assert weighted.weights_sha256() == without.weights_sha256()


def test_weights_move_what_is_learnt():
    x = np.repeat(["a", "b"], 100)
    y = np.tile([0.0, 1.0], 100)
    model = TableRegressor(**QUICK).fit({"x": x}, y, np.where(y == 1, 3.0, 1.0))
    np.testing.assert_allclose(model.predict({"x": ["a", "b"]}), 0.75, atol=0.05)


def test_given_validation_rows_choose_the_epoch_and_all_rows_are_trained_on():
    X, y = table()
    labels = y > 0
    model = TableClassifier(**{**QUICK, "n_networks": 1}).fit(X, labels, X_val=X, y_val=labels)
    assert model.out_of_fold_ is None
    assert model.best_epochs_[0] == np.argmin(model.validation_losses_[0]) + 1
    loss = log_loss(labels, model.predict_proba(X))
    # The probabilities are in float32.
    np.testing.assert_allclose(min(model.validation_losses_[0]), loss, rtol=1e-5, atol=2**-23)


@pytest.mark.parametrize("make", [TableClassifier, TableRegressor])
def test_out_of_fold_predictions_are_those_of_the_network_that_has_not_seen_the_row(make):
    X, y = table()
    y = y > 0 if make is TableClassifier else y
    model = make(**{**QUICK, "n_networks": 5}).fit(X, y)
    found = model.out_of_fold_[:, 1] if make is TableClassifier else model.out_of_fold_
    same = []
    for network in model.networks_:
        alone = pickle.loads(pickle.dumps(model))
        alone.networks_ = [network]
        told = alone.predict_proba(X)[:, 1] if make is TableClassifier else alone.predict(X)
        same.append(abs(found - told) <= 1e-5 * np.ptp(found))  # predictions add up the first layer in another order
    assert np.any(same, axis=0).all()
    assert all(len(y) // 5 <= count for count in np.sum(same, axis=1))  # and more where two networks agree
    assert make(**QUICK).fit(X, y).out_of_fold_ is None  # two networks hold out two fifths


def test_rates_are_realmlps_and_training_stops_after_as_long_again_as_the_best_epoch_took():
    recipe = recipe_for(1000, classes=True, epochs=15, width=1, learning_rate=1.0)
    assert recipe.cycles == [1, 3, 7, 15]
    t = np.arange(150) / 150
    np.testing.assert_allclose(recipe.rates(10), 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * t))), atol=1e-12)
    rng = np.random.default_rng(0)
    model = TableClassifier(**QUICK).fit(rng.standard_normal((300, 5)), rng.integers(0, 2, 300))
    ran = [len(losses) for losses in model.validation_losses_]
    assert ran == [
        min(30, 2 * best + recipe_for(300, classes=True, epochs=30).cycles[0]) for best in model.best_epochs_
    ]
    assert min(ran) < 30  # there is nothing to learn


def test_of_few_rows_batches_are_small_and_the_decay_is_larger(monkeypatch):
    seen = {}

    def noted(X, targets, rows, batch, network, *, rule, **options):
        seen[len(targets)] = batch, rule.weight_decay
        return np.zeros(8), np.zeros(8)

    monkeypatch.setattr(kernels, "mlp_train_steps", noted)
    for rows in (80, 200, 1000):
        x = np.arange(float(rows))
        TableRegressor(n_networks=1, epochs=1, random_state=0).fit({"x": x}, x)
    assert [batch for batch, _ in seen.values()] == [8, 20, 64]  # four fifths of the rows in eight steps, 64 at most
    np.testing.assert_allclose([batch * decay for batch, decay in seen.values()], 64 * 0.2)


@pytest.mark.parametrize("epochs", [1, 2, 3, 5])
def test_few_epochs_are_cycles_too(epochs):
    recipe = recipe_for(100, classes=False, epochs=epochs)
    assert recipe.cycles[-1] == epochs
    assert np.isfinite(recipe.rates(3)).all()
    X, y = table(100)
    assert len(TableRegressor(**{**QUICK, "epochs": epochs}).fit(X, y).validation_losses_[0]) <= epochs


def test_predictions_follow_a_network_that_is_changed_and_leave_nothing_in_the_pickle():
    x = np.random.default_rng(0).standard_normal(1000)
    X = {"x": x, "day": np.array([f"day {k % 50}" for k in range(1000)])}
    model = TableRegressor(**{**QUICK, "epochs": 2}).fit(X, x)
    before, found = len(pickle.dumps(model)), model.predict(X)
    assert model.columns_.between_edges is not None  # else nothing is kept from one prediction to the next
    assert len(pickle.dumps(model)) == before
    for network in model.networks_:
        network.layers[0][0][...] *= 2
    again = pickle.loads(pickle.dumps(model)).predict(X)
    assert (again != found).any()
    np.testing.assert_array_equal(model.predict(X), again)


@pytest.mark.parametrize(("rows", "sparse"), [(1000, False), (9000, True)])
def test_predictions_are_those_of_the_inputs_that_were_trained_on(rows, sparse):
    X = {"x": np.random.default_rng(0).standard_normal(rows), "y": np.arange(rows) % 7}
    model = TableRegressor(**{**QUICK, "epochs": 2}).fit(X, np.sin(3 * X["x"]))
    assert model.columns_.sparse == sparse
    outputs = outputs_of(model.networks_, model.columns_.encode(read_table(X)), model._input_scale)
    np.testing.assert_allclose(model.predict(X), model._averaged(outputs), atol=3e-6 * model.target_scale_)


def test_it_is_pickled_cloned_and_searched():
    X, y = table(200)
    model = TableRegressor(**QUICK).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict(X), model.predict(X))
    for learnt in (vars(again.columns_.columns[k].learnt) for k in (0, 1)):  # as a column was once pickled
        learnt["gaps"] = learnt.pop("missing") > 0
        learnt.pop("weight", None)
    assert np.array_equal(pickle.loads(pickle.dumps(again)).predict(X), model.predict(X))
    assert not hasattr(clone(model), "networks_")
    array = np.column_stack([np.asarray(values, object) for values in X.values()])
    search = GridSearchCV(TableRegressor(**QUICK), {"width": [8, 32]}, cv=2).fit(array, y)
    assert search.best_params_["width"] in (8, 32)
    assert make_pipeline(FunctionTransformer(), TableRegressor(**QUICK)).fit(array, y).predict(array).shape == y.shape


def test_data_frames_go_by_name_and_scikit_learns_inspection_takes_them():
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    X, y = table()
    frame = pandas.DataFrame(X)
    model = TableRegressor(**QUICK).fit(frame, y)
    assert [*model.feature_names_in_] == [*X]
    assert np.array_equal(model.predict(frame[["day", "noise", "colour", "x"]]), model.predict(frame))
    assert np.array_equal(TableRegressor(**QUICK).fit(X, y).predict(X), model.predict(frame))
    numbered = frame.set_axis(range(4), axis=1)  # by name, too; an array's go by their place
    by_number = TableRegressor(**QUICK).fit(numbered, y)
    for same in (numbered[[2, 3, 1, 0]], numbered, numbered.to_numpy()):
        assert np.array_equal(by_number.predict(same), model.predict(frame))
    texts = numbered.set_axis(list("0123"), axis=1)  # as a CSV file brings numbers back
    for fitted, same in (
        (by_number, texts[list("2310")]),
        (TableRegressor(**QUICK).fit(texts, y), numbered[[2, 0, 3, 1]]),
    ):
        assert np.array_equal(fitted.predict(same), model.predict(frame))
    with pytest.warns(UserWarning, match="the columns of X go by place, as the model was fitted without their names"):
        assert np.array_equal(by_number.predict(frame), model.predict(frame))
    assert [*model.set_output(transform="pandas").transform(frame).columns][:1] == ["tableregressor0"]
    found = permutation_importance(model, frame, y, n_repeats=2, random_state=0).importances_mean
    assert found.argmin() == 3
    found = partial_dependence(model, frame, ["colour"], categorical_features=["colour"])
    assert found["average"].shape == (1, 3)


@pytest.mark.parametrize("make", [TableClassifier, TableRegressor])
def test_importance_ranks_columns_by_name_and_one_that_is_dropped_has_none(make):
    X, y = table()
    y = y > 0 if make is TableClassifier else y
    model = make(**QUICK, columns={"noise": "drop"}).fit(X, y)
    found = model.importance(X, y)
    assert [*found.columns] == [*X]
    assert {*found.columns[np.argsort(-found.rise)[:2]]} == {"x", "colour"}
    assert found.rise[3] == found.deviation[3] == 0
    for rows in (0, 399):
        with pytest.raises(ValueError, match=f"X has 400 rows, and y {rows}; they must have as many"):
            model.importance(X, y[:rows])
    first, *lines = str(found).splitlines()
    assert first == f"rise of the loss, {found.loss:.4f}, when a column is shuffled"
    assert [line.split()[:2] for line in lines] == [
        [found.columns[k], f"{found.rise[k]:.4f}"] for k in np.argsort(-found.rise, kind="stable")
    ]
    if make is TableClassifier:
        np.testing.assert_allclose(found.loss, log_loss(y, model.predict_proba(X)), rtol=1e-6)
    else:
        np.testing.assert_allclose(found.loss, 1 - model.score(X, y), rtol=1e-3)  # targets are float32


def test_days_and_months_are_told_apart_by_all_rows_and_not_by_those_that_are_read_at_once():
    # The first half of the rows is of days to the 12th.
    days = np.arange("2024-04-01", "2024-04-25", dtype="datetime64[D]").repeat(46)
    X = {"day": days, "x": np.arange(1104) % 7}
    model = TableRegressor(**QUICK).fit(X, np.arange(1104.0))
    european = np.array([f"{day.day:02}/{day.month:02}/{day.year}" for day in days.tolist()], object)
    np.testing.assert_array_equal(model.predict({**X, "day": european}), model.predict(X))


@pytest.mark.parametrize("kind", [int, float, bool, str])
def test_labels_as_objects_are_scored_as_they_are_learnt(kind):
    X, y = table(80)
    labels = np.array([kind(value > 0) for value in y], object)
    model = TableClassifier(n_networks=1, epochs=1, random_state=0).fit(X, labels)
    assert model.score(X, labels) == np.mean([a == b for a, b in zip(model.predict(X).tolist(), labels)])


def test_a_gap_in_labels_that_are_an_arrow_dictionary_is_one():
    arrow = pytest.importorskip("pyarrow")
    y = arrow.chunked_array([arrow.array(["a", None, "b", "b"] * 10).dictionary_encode()])  # as a Parquet file's column
    with pytest.raises(ValueError, match="10 gaps in 40 rows, the first in row 1"):
        TableClassifier(n_networks=1, epochs=1).fit(table(40)[0], y)


def test_bytes_are_text():
    X, y = table(80)
    X = {**X, "colour": np.where(X["noise"] > 3, "?", X["colour"])}  # as scipy.io.arff reads a gap
    model = TableRegressor(n_networks=1, epochs=1, random_state=0).fit(X, y)
    S = {**X, "x": X["x"].astype("S"), "colour": [text.encode() for text in X["colour"].tolist()]}
    assert np.array_equal(model.predict(S), model.predict(X))
    again = TableRegressor(n_networks=1, epochs=1, random_state=0).fit(S, y)
    assert np.array_equal(again.predict(X), model.predict(X))


class Town(str, enum.Enum):  # noqa: UP042 (str() knows the members of a StrEnum)
    BERN = "bern"
    ZUG = "zug"


@pytest.mark.parametrize("made", [list, lambda values: np.array(values, object)], ids=["list", "objects"])
def test_members_of_an_enum_that_are_text_are_that_text(made):
    """NumPy makes Tow of both, with which every row had one class, and a column one value."""
    rng = np.random.default_rng(0)
    numbers, members = rng.standard_normal((100, 2)), list(Town) * 50
    y, texts = made(members), [town.value for town in members]
    few = {"n_networks": 1, "epochs": 1}
    for model in (MLPClassifier(tol=1).fit(numbers, y), TableClassifier(**few).fit(numbers, y)):
        assert model.classes_.tolist() == ["bern", "zug"]
        assert model.score(numbers, y) == model.score(numbers, texts)
    assert MLPClassifier().partial_fit(numbers, y, classes=list(Town)).classes_.tolist() == ["bern", "zug"]
    assert fastmlp.fit(numbers, y, epochs=1).model.classes == ("bern", "zug")
    for X in ({"town": made(members)}, [[town, "x"] for town in members]):
        assert "2 values: bern, zug" in str(TableRegressor(**few).fit(X, rng.standard_normal(100)).columns_)


def test_dates_that_are_categories_are_those_in_other_units_and_in_text():
    X, y = table(80)
    X["day"] = X["day"].astype("datetime64[M]").astype("datetime64[ns]")
    model = TableRegressor(n_networks=1, epochs=1, random_state=0, columns={"day": "category"}).fit(X, y)
    expected = model.predict(X)
    assert not np.array_equal(model.predict({**X, "day": X["day"][::-1]}), expected)
    for unit, made in (("s", None), ("us", None), ("D", None), ("D", str), ("s", object), ("D", object), ("ms", str)):
        day = X["day"].astype(f"datetime64[{unit}]")
        T = {**X, "day": day if made is None else day.astype(made)}
        assert np.array_equal(model.predict(T), expected), (unit, made)


def test_columns_are_what_they_are_said_to_be():
    X, y = table()
    model = TableRegressor(**QUICK, columns={"noise": "category", "day": "drop"}).fit(X, y)
    assert [column.kind for column in model.columns_.columns][2:] == ["drop", "category"]


def test_many_categories_are_learnt_from_sparse_rows():
    rng = np.random.default_rng(0)
    key, x = rng.integers(0, 1000, 20_000), rng.standard_normal(20_000)
    y = np.where(key % 2, x, -x)
    model = TableRegressor(n_networks=2, epochs=10, width=32, columns={"key": "category"}, random_state=0)
    model.fit({"key": key, "x": x}, y)
    assert model.columns_.inputs > 1000
    assert isinstance(model.columns_.encode(read_table({"key": key, "x": x})), Sparse)
    assert model.score({"key": key, "x": x}, y) > 0.9  # of twenty rows a category


def test_ten_rows_are_learnt_from_with_a_warning():
    for make, y in ((TableClassifier, np.arange(10) % 2), (TableRegressor, np.arange(10.0))):
        with pytest.warns(UserWarning, match="10 rows are too few"):
            model = make(epochs=5, random_state=0).fit({"x": np.arange(10.0)}, y)
        assert len(model.networks_) == 8


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("make", [TableClassifier, TableRegressor, MLPClassifier, MLPRegressor])
def test_score_reads_nothing_that_a_mask_hides(make):
    few = {"n_networks": 1, "epochs": 1} if "Table" in make.__name__ else {"max_iter": 1}
    X, y = np.random.default_rng(0).standard_normal((60, 2)), np.arange(60) % 2
    model = make(**few, random_state=0).fit(X, y)
    hidden = np.arange(60) < 9
    for labels, weights in ((np.ma.masked_array(y, hidden), None), (y, np.ma.masked_array(y + 1, hidden))):
        with pytest.raises(ValueError, match="masked values cannot be read|9 gaps in 60 rows, the first in row 0"):
            model.score(X, labels, weights)
    if make is TableRegressor:
        assert model.score(X, [*map(str, y)], y + 1) == model.score(X, y, y + 1)


X, Y = table(60)
BAD = [
    (TableRegressor, X, np.full(60, 2.0), "y: the number to predict is 2 in all training rows; it must differ"),
    (TableClassifier, X, np.full(60, "a"), "y has one class only, 'a'; it must have two or more"),
    (TableClassifier, X, np.arange(60), "y has 60 classes in 60 rows, one row each"),
    (TableRegressor, X, np.where(np.arange(60) < 3, np.nan, Y), "3 gaps in 60 rows, the first in row 0"),
    (TableClassifier, X, np.array(["a", None] * 30, object), "30 gaps in 60 rows, the first in row 1"),
    (TableClassifier, X, np.array(["a", np.nan] * 30), "30 gaps in 60 rows, the first in row 1"),
    (TableClassifier, X, np.where(np.arange(60) < 3, " ", "a"), "3 gaps in 60 rows, the first in row 0"),
    (TableRegressor, X, X["day"], "y holds dates or durations; it must hold numbers"),
    (TableRegressor, X, X["day"].astype(object), "y holds values of another type (date); they must be all"),
    (TableClassifier, X, np.array(["a", 1] * 30, object), "y holds values of several types (int, str)"),
    (TableClassifier, X, ["a", 1] * 30, "y holds values of several types (int, str)"),
    (TableClassifier, X, ["a", float("nan")] * 30, "30 gaps in 60 rows, the first in row 1"),  # NumPy's 'nan'
    (TableRegressor, X, np.ma.masked_array(Y, np.arange(60) < 3), "3 gaps in 60 rows, the first in row 0"),
    (TableClassifier, X, {*"ab"}, "y is set; it must be a list or an array of shape (n_samples,)"),
    (TableRegressor, X, np.where(np.arange(60) < 3, np.inf, Y), "Input y contains infinity"),
    (TableRegressor, X, Y * 1e300, "are too large or too small to standardise; scale them by a power of ten"),
    (TableRegressor, X, Y * 1e-300, "are too large or too small to standardise; scale them by a power of ten"),
    (TableRegressor, X, np.full(60, "a"), "y holds no numbers"),
    (TableRegressor, X, None, "the target y is None"),
    (TableRegressor, X, "x", "y is 'x'; it must be the column itself"),
    (TableRegressor, X, Y[:50], "X has 60 rows, and y 50; they must have as many"),
    (TableRegressor, {**X, "z": [None] * 60}, Y, "column 'z' is all gaps; leave it out"),
    (TableRegressor, rows_of(X, [0]), Y[:1], "1 sample"),
]


@pytest.mark.parametrize(("make", "X", "y", "message"), BAD, ids=[message[:30] for *_, message in BAD])
def test_what_cannot_be_learnt_is_refused_in_one_line_and_changes_nothing(make, X, y, message):
    good, target = table(60)
    model = make(n_networks=1, epochs=1, random_state=0).fit(good, np.where(target > 0, 1, 2))
    before = model.predict(good)
    with pytest.raises(ValueError, match="^[^\n]*$") as error:
        model.fit(X, y)
    assert message in str(error.value)
    assert np.array_equal(model.predict(good), before)


def test_a_rate_that_is_too_high_is_said_to_be_so():
    X, y = table(100)
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match=r"diverged with learning_rate=1e\+30; it must be lower"),
    ):
        TableRegressor(**QUICK, learning_rate=1e30).fit(X, y)


@pytest.mark.filterwarnings("ignore")
def test_a_refused_fit_draws_nothing_from_a_shared_random_state():
    X, y = table(60)
    shared = np.random.RandomState(0)
    model = TableRegressor(n_networks=1, epochs=1, random_state=shared)
    for rate, X_val in ((None, {"x": X["x"][:5]}), (1e30, None)):
        with pytest.raises(ValueError, match="the table lacks|diverged"):
            model.set_params(learning_rate=rate).fit(X, y, X_val=X_val, y_val=None if X_val is None else y[:5])
    assert shared.randint(1000) == np.random.RandomState(0).randint(1000)
    shared.seed(0)
    model.set_params(learning_rate=None).fit(X, y)  # which draws
    assert shared.randint(1000) != np.random.RandomState(0).randint(1000)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [TableClassifier, MLPClassifier])
def test_threads_that_share_a_random_state_draw_other_numbers(make):
    """With NumPy's own, too, which is that of random_state=None: ensembles trained on threads had one network twice."""
    rng = np.random.default_rng(0)
    values, y = rng.standard_normal((60, 3)), np.arange(60) % 2
    together, shared = threading.Barrier(2, timeout=60), np.random.RandomState(0)

    class Awaited:  # so that both threads are in their checks before either draws
        def __array__(self, dtype=None, copy=None):
            together.wait()
            return values.astype(dtype or float)

    few = {"max_iter": 1} if make is MLPClassifier else {"n_networks": 1, "epochs": 1}
    with ThreadPoolExecutor(2) as threads:
        models = [threads.submit(make(random_state=shared, **few).fit, Awaited(), y) for _ in range(2)]
    first, second = (model.result().predict_proba(values) for model in models)
    assert (first != second).any()


@pytest.mark.parametrize("left", [0, 1])
def test_without_more_threads_the_networks_are_the_same(allow_threads, left):
    X, y = table(2000)
    expected = TableRegressor(**QUICK).fit(X, y).predict(X)
    allow_threads(left)
    np.testing.assert_array_equal(TableRegressor(**QUICK).fit(X, y).predict(X), expected)


def test_what_a_subclass_has_learnt_before_the_fit_stays():
    class Counting(TableRegressor):
        def fit(self, X, y):
            self.rows_ = len(y)
            return super().fit(X, y)

    X, y = np.random.default_rng(0).standard_normal((2, 100, 1))
    model = Counting(n_networks=1, epochs=1).fit({"x": X[:, 0]}, y[:, 0])
    assert model.rows_ == 100
    assert model.feature_names_in_ == ["x"]
    assert not hasattr(model.fit(X, y[:, 0]), "feature_names_in_")


def test_other_columns_than_in_training_are_refused_by_name():
    X, y = table(60)
    model = TableRegressor(n_networks=1, epochs=1, random_state=0).fit(X, y)
    for bad, message in (
        ({"x": X["x"]}, "the table lacks 'colour', 'day', 'noise'"),
        (np.zeros((5, 3)), "X has 3 features, but TableRegressor is expecting 4 features as input"),
        ({**X, "x": ["much"] * 60}, "column 'x' holds 'much', which is no number"),
    ):
        with pytest.raises(ValueError, match=message):
            model.predict(bad)
    with pytest.raises(ValueError, match="the table lacks 'colour', 'day', 'noise'"):
        model.importance({"x": X["x"]}, y)
    with pytest.warns(UserWarning, match="column 'colour' has unknown values in 60 of 60 rows, such as 'RED'"):
        model.predict({**X, "colour": ["RED"] * 60})
    expected = model.predict(X)
    # One that the model does not use need not be there.
    dropping = TableRegressor(n_networks=1, epochs=1, random_state=0, columns={"id": "drop"})
    assert np.array_equal(dropping.fit({"id": X["noise"], **X}, y).predict(X), expected)
    # As a notebook puts predictions beside the rest.
    assert np.array_equal(model.predict({"predicted": expected, "note": 1j, **X}), expected)


def test_a_warning_is_about_the_line_that_called():
    X, y = table(80)
    labels = np.where(y > 0, "much", "little")
    model = TableClassifier(n_networks=1, epochs=1, random_state=0).fit(X, labels)
    T = {**X, "colour": ["RED"] * 80}
    for call in (model.predict, model.predict_proba, model.transform, lambda T: model.score(T, labels)):
        with pytest.warns(UserWarning, match="has unknown values") as seen:
            call(T)
        assert [each.filename for each in seen] == [__file__]
    with pytest.warns(UserWarning, match="rows are too few") as seen:
        model.fit(rows_of(X, slice(40)), labels[:40])
    assert [each.filename for each in seen] == [__file__]


def test_an_interrupted_fit_ends_its_threads_and_leaves_the_model_as_it_was(monkeypatch):
    X, y = table()
    model = TableRegressor(**QUICK).fit(X, y)
    before = model.predict(X)
    train_steps, calls = kernels.mlp_train_steps, []

    def interrupted(*args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train_steps(*args, **options)

    monkeypatch.setattr(kernels, "mlp_train_steps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.set_params(epochs=1000).fit(X, y)
    assert len(calls) < 1000  # the other network's epochs end, too
    assert np.array_equal(model.predict(X), before)


def exported(X, model, path):
    """What ONNX Runtime makes of the columns X, each as its file says."""
    fastmlp.export(model, path)
    session = pytest.importorskip("onnxruntime").InferenceSession(str(path))
    feed = {}
    for column in session.get_inputs():
        values = X[column.name]
        if values.dtype.kind == "M":
            values = np.where(np.isnat(values), np.nan, (values - np.datetime64(0, "s")) / np.timedelta64(1, "D"))
        feed[column.name] = values.astype(object if column.type == "tensor(string)" else float)
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, feed)))


@pytest.mark.filterwarnings("ignore:column 'colour' has unknown values")
@pytest.mark.parametrize("make", [TableClassifier, TableRegressor])
def test_onnx_runtime_predicts_what_the_estimator_predicts(make, tmp_path):
    pytest.importorskip("onnx")
    rng = np.random.default_rng(0)

    def columns(rows, colours, zips, days):
        x = np.where(rng.random(rows) < 0.2, np.nan, 1e6 + 1e3 * rng.standard_normal(rows))
        day = np.datetime64("1950-01-01T00:00:00") + rng.integers(*days, rows) * np.timedelta64(1, "s")
        return {
            "x": x, "Add_3": rng.integers(0, 5, rows), "colour": rng.choice(np.array(colours, object), rows),
            "zip": rng.choice(zips, rows), "day": np.where(np.arange(rows) % 50 == 7, np.datetime64("NaT", "s"), day),
            "same": np.full(rows, "same", object), "label or so": rng.standard_normal(rows),
            "closed": np.where(rng.random(rows) < 0.3, np.datetime64("NaT", "s"), np.datetime64("2020-02-02", "s")),
        }  # fmt: skip

    X = columns(600, ["red", "blue", ""], [8001.0, 8002], (0, 3 * 10**9))
    y = 1e4 * np.nan_to_num(X["x"], nan=9e5) + 1e6 * (X["colour"] == "red") + 1e6 * (X["zip"] == 8001)
    labels = np.digitize(y, np.quantile(y, [0.3, 0.6])) + 7
    model = make(**QUICK, columns={"zip": "category"}).fit(X, labels if make is TableClassifier else y)
    assert [column.kind for column in model.columns_.columns] == [
        "number", "number", "category", "category", "date", "drop", "number", "date",
    ]  # fmt: skip
    T = columns(900, ["red", "blue", "green", "", "n/A", "NAN"], [8001.0, 8002, 8003, np.nan], (-(10**10), 10**10))
    T["x"][:2] = 1e300, -1e300
    T["zip"] = T["zip"].astype(str)  # 8001.0
    found = exported(T, model, tmp_path / "model.onnx")
    read = {**T, "zip": T["zip"].astype(float)}
    # Orders of summing 128 terms of about 1 differ by at most that many roundings.
    eps = 128 * np.finfo(np.float32).eps
    if make is TableClassifier:
        P = model.predict_proba(read)
        np.testing.assert_allclose(found["probabilities"], P, rtol=0, atol=eps)
        assert P.std(0).min() > 0.05
        assert np.array_equal(found["label"], model.predict(read))
    else:
        np.testing.assert_allclose(found["prediction"], model.predict(read), rtol=eps, atol=eps * y.std())


def test_a_column_of_the_table_that_is_the_target_or_the_weights_is_remarked():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.arange(60.0) % 7, "y": np.arange(60.0) % 5})
    said = "leave it out of X if new rows will not have it"
    model = TableRegressor(n_networks=1, epochs=1, random_state=0)
    with pytest.warns(UserWarning, match=f"X has y's column 'y'; {said}"):
        model.fit(frame, frame["y"])
    with pytest.warns(UserWarning, match=f"X has sample_weight's column 'a'; {said}"):
        model.fit(frame, frame["y"].to_numpy(), frame["a"])


def test_an_onnx_file_knows_codes_that_lost_their_zeros(tmp_path):
    pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    X = {"x": rng.standard_normal(200), "zip": rng.choice(["02139", "10001", "0000", "007", "07"], 200)}
    model = TableRegressor(**QUICK).fit(X, X["x"] + 2 * (X["zip"] == "02139") + (X["zip"] == "0000"))
    T = {"x": np.zeros(7), "zip": np.array(["02139", "2139", "2139.0", "0", "10001", "7", "999"], object)}
    with pytest.warns(UserWarning, match="unknown values in 2 of 7 rows, such as '7'"):  # of 007 and 07 neither
        expected = model.predict(T)
    assert expected[0] == expected[1] == expected[2]
    np.testing.assert_allclose(exported(T, model, tmp_path / "model.onnx")["prediction"], expected, atol=1e-4)


def test_an_onnx_file_is_the_same_in_each_process(tmp_path):
    """Sets of texts have another order in each."""
    onnx = pytest.importorskip("onnx")
    X = {"x": np.arange(200.0), "colour": np.array(["red", "blue", "", "?"] * 50)}
    fastmlp.export(TableRegressor(**QUICK).fit(X, X["x"]), tmp_path / "model.onnx")
    (encoder,) = (node for node in onnx.load(tmp_path / "model.onnx").graph.node if node.op_type == "LabelEncoder")
    keys = [key.decode() for each in encoder.attribute if each.name == "keys_strings" for key in each.strings]
    assert [key for key in keys if key in GAPS] == sorted(GAPS)


def test_an_onnx_file_leaves_out_parts_of_seconds(tmp_path):
    """Half a second before midnight it is no other day."""
    pytest.importorskip("onnx")
    X = {"day": np.datetime64("2024-01-01T00:00:00") + 8 * np.arange(200) * np.timedelta64(3600, "s")}
    model = TableRegressor(**QUICK).fit(X, (X["day"].astype("datetime64[D]").astype(int) + 3) % 7.0)
    days = np.datetime64("2024-01-05T00:00:00.000") + np.arange(20) * np.timedelta64(86_400_000, "ms")
    T = {"day": np.concatenate([days, days - np.timedelta64(1, "ms"), days + np.timedelta64(1, "ms")])}
    found = exported(T, model, tmp_path / "model.onnx")["prediction"]
    np.testing.assert_allclose(found, model.predict(T), atol=1e-4)


def test_an_onnx_file_knows_the_other_words_for_yes_and_no(tmp_path):
    pytest.importorskip("onnx")
    words = ["True", "False", "true", "FALSE", "yes", "No", "1", "0", "1.0", "t", "OFF", "", "perhaps"]
    rng = np.random.default_rng(0)
    X = {"x": rng.standard_normal(200), "yes": rng.random(200) < 0.5}
    model = TableRegressor(**QUICK).fit(X, X["x"] + 2 * X["yes"])
    T = {"x": np.zeros(len(words)), "yes": np.array(words, object)}
    with pytest.warns(UserWarning, match="unknown values in 1 of 13 rows, such as 'perhaps'"):
        expected = model.predict(T)
    assert len({*expected.round(4)}) == 3
    np.testing.assert_allclose(exported(T, model, tmp_path / "model.onnx")["prediction"], expected, atol=1e-4)


@pytest.mark.parametrize("labels", [["2024-01-01", "2024-01-02"], [1, 2**63 + 1]], ids=["dates", "integers"])
def test_classes_that_onnx_cannot_hold_are_refused_in_one_line(labels, tmp_path):
    pytest.importorskip("onnx")
    y = np.array(labels, "datetime64[D]" if isinstance(labels[0], str) else np.uint64)[np.arange(60) % 2]
    model = TableClassifier(n_networks=1, epochs=1, random_state=0).fit(table(60)[0], y)
    with pytest.raises(InputError, match="^the classes are [^\n]*; .onnx takes text, booleans, floats or int64$"):
        fastmlp.export(model, tmp_path / "model.onnx")


def test_a_table_that_cannot_be_an_onnx_graph_is_refused_in_one_line(tmp_path):
    pytest.importorskip("onnx")
    X = {"label": np.arange(60.0), 1: np.arange(60) % 7, "1": np.arange(60) % 5}
    for dropped, path, message in (
        ("1", "m.onnx", "column 'label' cannot be an input of an .onnx file: an output has this name; rename it"),
        ("label", "m.onnx", "column '1' cannot be an input of an .onnx file: another has this name; rename it"),
        ("1", "m.pt", "a model of tables goes to .onnx only"),
    ):
        model = TableClassifier(n_networks=1, epochs=1, random_state=0, columns={dropped: "drop"})
        model.fit(X, np.arange(60) % 2)
        with pytest.raises(InputError, match="^[^\n]*$") as error:
            fastmlp.export(model, tmp_path / path)
        assert message in str(error.value)
    with pytest.raises(NotFittedError):
        fastmlp.export(TableRegressor(), tmp_path / "m.onnx")


def test_class_weights_of_a_table_are_sample_weights():
    X, numbers = table()
    y, double = np.where(numbers > 1, "high", "low"), np.arange(400) % 2 + 1
    weighed = TableClassifier(class_weight={"high": 5, "low": 1}, **QUICK).fit(X, y, double)
    again = TableClassifier(**QUICK).fit(X, y, np.where(y == "high", 5.0, 1.0) * double)
    assert weighed.predict_proba(X).tobytes() == again.predict_proba(X).tobytes()
    weighed = TableClassifier(**QUICK).fit(X, y, double * 2.0**1022)  # whose sum is infinite
    again = TableClassifier(**QUICK).fit(X, y, double)
    assert weighed.predict_proba(X).tobytes() == again.predict_proba(X).tobytes()
    share = {label: 200 / (y == label).sum() for label in ("high", "low")}
    balanced = TableClassifier(class_weight="balanced", **QUICK).fit(X, y)
    again = TableClassifier(**QUICK).fit(X, y, [share[label] for label in y])
    assert balanced.predict_proba(X).tobytes() == again.predict_proba(X).tobytes()
    share = {label: double.sum() / 2 / double[y == label].sum() for label in ("high", "low")}
    balanced = TableClassifier(class_weight="balanced", **QUICK).fit(X, y, double)
    again = TableClassifier(class_weight=share, **QUICK).fit(X, y, double)
    assert balanced.predict_proba(X).tobytes() == again.predict_proba(X).tobytes()
    del again.__dict__["class_weight"]
    assert "class_weight" not in repr(pickle.loads(pickle.dumps(again)))
    with pytest.raises(ValueError, match="not in class_weight"):
        TableClassifier(class_weight={"hihg": 5}, **QUICK).fit(X, y)
