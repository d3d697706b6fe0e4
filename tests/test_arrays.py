"""fastmlp.fit on arrays, data frames and sparse matrices."""

import datetime
import inspect
import logging
import re
import sys
import types
from dataclasses import fields
from decimal import Decimal
from functools import partial

import numpy as np
import pytest

import fastmlp
import kernels
from fastmlp.arrays import dataset_of
from fastmlp.config import TrainConfig, configure
from fastmlp.data import Frame
from fastmlp.errors import InputError
from fastmlp.frames import read_table
from fastmlp.tables.texts import texts_of

QUICK = {"hidden": (8,), "steps": 20}
X = np.random.default_rng(0).standard_normal((300, 6))
Y = {
    "text": np.where(X[:, 0] > 0, "yes", "no"),
    "objects": np.where(X[:, 0] > 0, "yes", "no").astype(object),
    "booleans": X[:, 0] > 0,
    "integers": np.where(X[:, 0] > 0, 7, -2),
    "ratings": np.where(X[:, 0] > 0, 2.5, 1.0),
    "objects that are booleans": (X[:, 0] > 0).astype(object),
    "objects that are integers": np.where(X[:, 0] > 0, 7, -2).astype(object),
    "bytes": np.where(X[:, 0] > 0, b"yes", b"no"),
    "numbers in text": np.where(X[:, 0] > 0, "1.0", "2.50"),
}
if hasattr(np.dtypes, "StringDType"):  # NumPy 2
    Y["text of any length"] = Y["text"].astype(np.dtypes.StringDType())


def fits(kind):
    """What most tests here fit, once for all of them."""
    if kind == "text":
        for given in (X, np.where(np.abs(X) > 1.5, X, 0)):
            yield partial(fastmlp.fit, given, Y[kind], **QUICK)
            yield partial(fastmlp.fit, given, Y[kind], input="sparse", **QUICK)
        yield partial(fastmlp.fit, X, X[:, 1], **QUICK)


@pytest.mark.compiles(calls=fits)
@pytest.mark.parametrize("kind", Y)
def test_the_model_predicts_labels_as_they_were_given_and_so_does_its_file(kind, tmp_path):
    y = Y[kind]
    model = fastmlp.fit(X, y, **QUICK).model
    model.save(tmp_path / "model.npz")
    for each in (model, fastmlp.load_model(tmp_path / "model.npz")):
        predicted = each.predict(X)
        assert predicted.dtype.kind == np.array(y.tolist()).dtype.kind
        assert (predicted == y).mean() > 0.8
        np.testing.assert_array_equal(each.labels[each.class_indices(X)], predicted)
        for given in (y, y.astype(object), y.tolist()):
            assert each.evaluate(X, given)[1] == (predicted == y).mean()
        with pytest.raises(InputError, match=r"y has shape \(300, 2\); it must be \(N,\)"):
            each.evaluate(X, np.stack([y, y], 1))
        for rows, given in ((0, 300), (50, 300), (300, 50)):
            with pytest.raises(InputError, match=f"X has {rows} rows, and y {given}; they must have as many"):
                each.evaluate(X[:rows], y[:given])
        with pytest.raises(InputError, match="y: label '3' is none of the training set's 2 classes "):
            each.evaluate(X, ["3"] * 300)


def test_numbers_are_predicted_and_it_is_said(caplog):
    y = 100 + 3 * X[:, 1]
    with caplog.at_level("INFO", "fastmlp"):
        result = fastmlp.fit(X, y, hidden=(16,), epochs=100)
    (_, level, first), *_, (_, last_level, last) = caplog.record_tuples
    assert first.startswith("y: the labels are 300 different numbers with decimals")
    assert (level, last_level) == (logging.WARNING, logging.INFO)
    assert re.fullmatch(r"epoch 100: train loss 0\.\d+, test RMSE .*, R² 0\.\d+", last)
    assert result.summary["test_r2"] > 0.9
    assert repr(result).startswith("Result(6-16-1, ")
    assert f"R² {result.summary['test_r2']:.3f}" in repr(result)
    assert np.corrcoef(result.model.predict(X), y)[0, 1] > 0.95
    told = result.model.evaluate(X, y)
    for given in (y.tolist(), y.astype(object), y[:, None], [f"${value!r}" for value in y.tolist()]):
        assert result.model.evaluate(X, given) == told
    for given, message in (
        (Y["text"], "y: the label of row 0 .* with task regression it must be a finite number"),
        (np.where(y > 100, y, np.nan), r"y, row \d+ .counted from 0.: holds a NaN"),
        ([None, *y[1:]], "y, row 0 .counted from 0.: is missing"),
        (np.stack([y, y], 1), r"y has shape \(300, 2\); it must be \(N,\)"),
        ([], "X has 300 rows, and y 0"),
    ):
        with pytest.raises(InputError, match=message):
            result.model.evaluate(X, given)
    assert fastmlp.fit(X, np.arange(300) % 5, task="regression", **QUICK).model.task == "regression"
    assert "accuracy" in repr(fastmlp.fit(X, Y["text"], **QUICK))


def test_a_notebook_has_one_display_of_the_last_report_and_the_bar(monkeypatch, capsys):
    """A notebook's Python has IPython with a kernel."""
    shown, displays = [], []

    class Handle:
        def update(self, data, raw):
            shown.append(data["text/plain"])

    def display(data, raw, display_id):
        displays.append(display_id)
        shown.append(data["text/plain"])
        return Handle()

    notebook = types.SimpleNamespace(
        get_ipython=lambda: types.SimpleNamespace(kernel=1), display=types.SimpleNamespace(display=display)
    )
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setattr("fastmlp.screen._SECONDS_BETWEEN", 0.0)
    fastmlp.fit(X, Y["text"], hidden=(8,), epochs=3)
    assert displays == [True]
    assert re.fullmatch(r"[━╌#-]+  step \d+/\d+ .*", shown[0])
    assert re.fullmatch(r"epoch   2  train .*\n[━╌#-]+  step \d+/\d+ .*", shown[-2])
    assert re.fullmatch(r"epoch   3  train .*", shown[-1])
    fastmlp.fit(X, Y["text"], hidden=(8,), epochs=3, progress=False)
    assert len(displays) == 1
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("stderr", [None, types.SimpleNamespace(write=len)], ids=["none", "writes only"])
def test_a_bar_is_left_out_where_no_stream_can_show_it(stderr, monkeypatch):
    """As in a program with a window of its own, or in a service that sends what is written to its log."""
    monkeypatch.setattr("sys.stderr", stderr)
    assert fastmlp.fit(np.eye(40), np.arange(40) % 2, hidden=2, epochs=1, progress=True).history


def test_columns_of_a_data_frame_go_by_name():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    model = fastmlp.fit(frame, pandas.Series(Y["text"]), **QUICK).model
    assert model.columns == tuple("abcdef")
    for same in (frame[list("fedcba")], dict(frame), frame.astype(object), frame.astype(str)):
        np.testing.assert_array_equal(model.predict(same), model.predict(frame))
    with pytest.raises(InputError, match=r"X: its columns have the shapes \[\(1,\), \(300,\)\]; all must have one"):
        model.predict({**frame, "b": [1]})
    turned = fastmlp.fit(
        frame[:200], Y["text"][:200], X_test=frame[200:][list("fedcba")], y_test=Y["text"][200:], **QUICK
    )
    straight = fastmlp.fit(X[:200], Y["text"][:200], X_test=X[200:], y_test=Y["text"][200:], **QUICK)
    assert turned.summary["test_loss"] == straight.summary["test_loss"]
    same = fastmlp.fit(X, Y["text"], **QUICK).model
    assert same.weights_sha256() == model.weights_sha256()
    with pytest.raises(
        InputError, match="^steps: goes with one network; X is a table that 8 networks learn: leave it out"
    ):
        fastmlp.fit(frame.assign(c=Y["objects"]), Y["text"], **QUICK)


def test_columns_whose_names_are_no_text_go_by_their_place():
    x = np.arange(40) % 7
    for names in ((0, 1), ("a", 1), (("a", "b"), ("a", "c"))):
        data = dataset_of(dict(zip(names, (x, ["p", "q"] * 20))), x % 2, None, None, None, configure(), print)
        assert (data.names, data.columns) == (("column 1", "column 2"), None)
        assert set(data.X.columns["column 2"]) == {"p", "q"}


def test_a_frame_goes_by_place_in_a_model_of_columns_without_names_and_numbers_name_as_text_does():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": X[:, 0], "b": np.where(X[:, 1] > 0, "p", "q")})
    options = {"networks": 1, "epochs": 1}
    model = fastmlp.fit(frame.to_numpy(), Y["text"], **options).model
    expected = model.predict_proba(frame.to_numpy())
    np.testing.assert_array_equal(model.predict_proba(frame), expected)
    named = fastmlp.fit(frame.set_axis(["0", "1"], axis=1), Y["text"], **options).model
    np.testing.assert_array_equal(named.predict_proba(frame.set_axis([0, 1], axis=1)[[1, 0]]), expected)
    with pytest.raises(InputError, match="the table lacks '0', '1', and the model does not know 'a', 'b'"):
        named.predict(frame)


@pytest.mark.parametrize(("start", "dtype"), [(0, np.float32), (10**9, np.float64)])
def test_integers_far_from_zero_keep_what_sets_them_apart(start, dtype):
    X = np.arange(start, start + 600, dtype=np.int32)[:, None]
    data = dataset_of(X, np.arange(600) % 2, None, None, None, configure(val_fraction=0.5), print)
    assert data.X.dtype == dtype
    assert len(np.unique(data.X)) == 300


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["low", "high"], ["high", "low"]),
        (["2011", "2010"], [2010, 2011]),
        (["007", "12"], ["007", "12"]),
        (["1", "-1"], [-1, 1]),
        (["1.5", "0.5"], ["0.5", "1.5"]),
    ],
)
def test_a_model_predicts_the_labels_that_stand_in_its_file(names, labels, table, tmp_path):
    kinds = [f",{'pq'[int(value > 0)]}" if table else "" for value in X[:, 1]]
    lines = (f"{row[0]:.3f}{kind},{names[int(row[0] > 0)]}\n" for row, kind in zip(X, kinds))
    (tmp_path / "a.csv").write_text(f"a{',b' * table},class\n" + "".join(lines))
    data = fastmlp.load(str(tmp_path / "a.csv"), say=lambda line: None)
    fastmlp.fit(data, epochs=4, lr=0.05).model.save(tmp_path / "model.npz")
    model = fastmlp.load_model(tmp_path / "model.npz")
    predicted = model.predict(data.X_test)
    assert model.labels.tolist() == labels
    assert predicted.tolist() == [labels[k] for k in model.class_indices(data.X_test)]
    right = [labels[k] for k in data.y_test]
    assert model.evaluate(data.X_test, right)[1] == np.mean(predicted == np.array(right)) > 0.8
    if isinstance(labels[0], str):
        assert model.evaluate(data.X_test, data.y_test) == model.evaluate(data.X_test, right)
    elif labels[0] > 0:
        with pytest.raises(InputError, match="y: label '0' is none .*; labels.y. are those of indices"):
            model.evaluate(data.X_test, data.y_test)
    if labels == ["0.5", "1.5"]:
        assert model.evaluate(data.X_test, [*map(float, right)]) == model.evaluate(data.X_test, right)


def test_one_hot_rows_are_classes_by_number_of_whatever_type_they_are():
    y, config = np.arange(40) % 3, configure(val_fraction=0.5)
    for kind in (bool, np.int64, np.float16):  # pandas.get_dummies makes booleans
        data = dataset_of(X[:40], np.eye(3)[y].astype(kind), None, None, None, config, lambda line: None)
        assert (data.classes, data.label_kind) == (("0", "1", "2"), "int")


def test_one_name_is_a_name_and_not_its_letters():
    table, config = {"a": [1.5, 2, 3, 4], "b": [3, 4, 5, 7], "ab": [5, 6, 7, 8]}, configure(drop="ab", val_fraction=0.5)
    assert dataset_of(table, [0, 1, 0, 1], None, None, None, config, print).columns == ("a", "b")
    assert configure(column="ab=category").column == ("ab=category",)


def test_an_array_of_objects_text_or_dates_is_a_table():
    objects = np.array([[1, "p"], [2.5, None], [3, "q"], [4, "p"]], object)
    data = dataset_of(objects, [0, 1, 0, 1], None, None, None, configure(val_fraction=0.5), print)
    assert {*data.X.columns["column 2"], *data.X_test.columns["column 2"]} == {"p", None, "q"}
    rows = [[1, "p"], [2.5, "q"], [3, "q"], [4, "p"]] * 9  # of which NumPy makes text
    model = fastmlp.fit(rows, [0, 1, 1, 0] * 9, networks=1, epochs=1).model
    assert [column.kind for column in model.columns.columns] == ["number", "category"]
    days = np.array([["2024-01-01"], ["2024-03-03"]] * 9, "datetime64[D]")
    data = dataset_of(days, [0, 1] * 9, None, None, None, configure(val_fraction=0.5), print)
    assert data.X.columns["column 1"].dtype.kind == "M"


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_columns_of_numpys_matrix_are_columns():
    assert [column.tolist() for column in read_table(np.matrix([[1, 2], [3, 4]])).columns.values()] == [[1, 3], [2, 4]]


def test_objects_that_are_all_numbers_are_numbers():
    def learnt(given, X_test=None):
        y_test = None if X_test is None else [0, 1]
        return dataset_of(given, [0, 1, 0, 1], X_test, y_test, None, configure(val_fraction=0.5), print)

    given = np.array([[1, 2.5], [Decimal("2.5"), 3.0], [3, True], [4, 1.0]], object)
    by_name = [{"a": rows[:, 0], "b": rows[:, 1]} for rows in (given, given[:2])]
    for both, columns in (((given, given[:2]), None), (by_name, ("a", "b"))):
        data = learnt(*both)
        assert data.columns == columns
        np.testing.assert_array_equal(data.X, [[1, 2.5], [2.5, 3], [3, 1], [4, 1]])
        np.testing.assert_array_equal(data.X_test, [[1, 2.5], [2.5, 3]])
    for other in ("02139", None, datetime.date(2024, 1, 31)):
        given[1, 0] = other
        assert isinstance(learnt(given).X, Frame)
    pandas = pytest.importorskip("pandas")
    assert isinstance(learnt(pandas.DataFrame({"a": pandas.Categorical([7, 9, 7, 9]), "b": 1.5})).X, Frame)


def test_rows_of_x_and_y_in_two_orders_are_said():
    pandas = pytest.importorskip("pandas")
    frame, y, said = pandas.DataFrame(X), pandas.Series(Y["text"]), []
    for labels in (y, y.set_axis(y.index + 1), y[::-1]):
        dataset_of(frame, labels, None, None, None, configure(), said.append)
    dataset_of(frame, y, frame, y[::-1], pandas.Series(np.ones(300))[::-1], configure(), said.append)
    what = "have one index in two orders; their rows are taken as they stand:"
    assert said == [
        f"X and y {what} y.loc[X.index] has the order of X",
        f"X and sample_weight {what} sample_weight.loc[X.index] has the order of X",
        f"X_test and y_test {what} y_test.loc[X_test.index] has the order of X_test",
    ]


def test_copies_of_rows_with_gaps_are_said_whatever_a_gap_is(rng):
    """Beside pandas.NA nothing is equal, nor to NaN, not even itself; no value is equal to a Period, but an array."""
    pandas = pytest.importorskip("pandas")
    days = pandas.period_range("2024-01-01", periods=400, freq="D")
    gaps = {"x": rng.standard_normal(400), "nan": np.where(rng.random(400) < 0.5, np.nan, 1.0), "day": days}
    gaps["na"] = np.array([pandas.NA if k % 3 else k for k in range(400)], object)
    X, y = pandas.DataFrame(gaps), rng.choice(["u", "v"], 400)
    for copies, share in ((1, []), (3, [r"about 100% are copies"])):
        said = []
        table = pandas.concat([X] * copies, ignore_index=True)
        dataset_of(table, np.tile(y, copies), None, None, None, configure(), said.append)
        assert len(said) == len(share)
        assert all(re.search(*pair) for pair in zip(share, said))


def test_samples_to_test_on_go_by_place_where_either_has_no_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": X[:, 0].round(2), "b": np.where(X[:, 1] > 0, "p", "q")})
    table, config = frame.to_numpy(), configure()
    for given, test in ((frame, table), (frame, frame.set_axis([0, 1], axis=1)), (table, frame), (table, table)):
        data = dataset_of(given, Y["text"], test[:60], Y["text"][:60], None, config, lambda line: None)
        assert list(data.X_test.columns) == list(data.X.columns)
        assert [*data.X_test.columns.values()][1].tolist() == frame["b"][:60].tolist()
    for other in (table[:60, 1:], np.zeros((60, 3))):
        with pytest.raises(InputError, match="^X_test has [13] columns; X has 2$"):
            dataset_of(frame, Y["text"], other, Y["text"][:60], None, config, print)


def test_columns_that_go_by_place_though_they_have_names_are_said():
    pandas, said = pytest.importorskip("pandas"), []
    for names in (None, ["a", 2019, 2020], [("g", "a"), ("g", "b"), ("h", "b")], range(1, 4), list("abc")):
        frame = pandas.DataFrame(X[:, :3], columns=names)
        dataset_of(frame, Y["text"], None, None, None, configure(), said.append)
    assert said == ["X: columns go by place, as their names are not all text; X.columns.map(str) makes names"] * 2


def test_a_column_of_x_that_is_y_is_said():
    pandas, said = pytest.importorskip("pandas"), []
    frame = pandas.DataFrame(X).add_prefix("x").assign(answer=Y["text"])
    dataset_of(frame, frame["answer"], None, None, None, configure(), said.append)
    line = "X: from answer follows what the label is in every row; leave out what new rows will not have"
    assert said == [line]
    frame = frame.sort_values("answer")  # the first hundred rows have one class
    dataset_of(frame, frame["answer"], None, None, None, configure(), said.append)
    assert said == [line, line]
    dataset_of(frame.drop(columns="answer"), frame["answer"], None, None, None, configure(), said.append)
    assert len(said) == 2
    price = X[:, 1] ** 2
    for column in (price, 2.54 * price + 3, price.astype(str), price + X[:, 0] / 1e3):  # the last is close to it only
        dataset_of(frame.assign(answer=column), price, None, None, None, configure(), said.append)
    for unit in (1e200, 1e-200):
        dataset_of(frame.assign(answer=price), price * unit, None, None, None, configure(), said.append)
    assert [text for text in said if "follows" in text] == [line] * 7


@pytest.mark.parametrize("kind", ["Int64", "Float64", "boolean", "string"])
def test_gaps_in_arrays_of_pandas_are_gaps_though_numpy_takes_them_for_masked(kind):
    pandas = pytest.importorskip("pandas")
    values = pandas.array(["a", "b", None] * 100 if kind == "string" else [1, 0, None] * 100, kind)
    with pytest.raises(InputError, match=r"y, row 2 \(counted from 0\): (is missing|holds a NaN)"):
        dataset_of(X, values, None, None, None, configure(), print)
    column = read_table({"a": values}).columns["a"]
    assert texts_of(column)[0].count(None) == 1


def test_what_a_masked_array_masks_is_a_gap():
    masked = np.ma.masked_array(X, mask=np.arange(1800).reshape(300, 6) % 7 == 0)
    data = dataset_of(masked, Y["text"], None, None, None, configure(val_fraction=0.01), print)
    assert [value == "" for value in read_table(masked).columns[0].tolist()] == masked.mask[:, 0].tolist()
    assert "" in data.X.columns["column 1"].tolist()
    with pytest.raises(InputError, match="X has masked values; this model was trained on numbers without gaps"):
        fastmlp.fit(X, Y["text"], **QUICK).model.predict(masked)


@pytest.mark.parametrize("form", ["csr_array", "csc_matrix", "coo_array"])
def test_a_sparse_matrix_trains_the_network_of_its_entries(form):
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.where(np.abs(X) > 1.5, X, 0)
    model = fastmlp.fit(getattr(sparse, form)(dense), Y["text"], **QUICK).model
    same = fastmlp.fit(dense, Y["text"], input="sparse", **QUICK).model
    for (W, _), (V, _) in zip(model.network.layers, same.network.layers):
        np.testing.assert_allclose(W, V, rtol=1e-5, atol=1e-6)
    integers = np.round(dense).astype(np.int32)
    for given in (dense, integers, dense.astype(object)):  # what fit takes
        held = given if given.dtype == object else getattr(sparse, form)(given)
        np.testing.assert_array_equal(model.predict(held), model.predict(given.astype(float)))
    twice = sparse.csr_array((np.ones(2), [0, 0], [0, 2]), shape=(1, 6))  # two entries of one place
    once = sparse.csr_array(([2.0], [0], [0, 1]), shape=(1, 6))
    stacked = [sparse.vstack([each, sparse.csr_array(dense[1:])]).tocsr() for each in (twice, once)]
    first, second = (fastmlp.fit(each, Y["text"], **QUICK).model.weights_sha256() for each in stacked)
    assert first == second


def test_given_test_samples_are_tested_and_weights_count():
    result = fastmlp.fit(X[:200], Y["text"][:200], X_test=X[200:], y_test=Y["text"][200:], **QUICK)
    right = (result.model.predict(X[200:]) == Y["text"][200:]).mean()
    assert result.summary["test_accuracy"] == pytest.approx(right)
    weights = np.where(np.arange(300) < 150, 0.0, 1.0)
    spoilt = np.where(weights > 0, Y["text"], "no")
    model = fastmlp.fit(X, spoilt, sample_weight=weights, hidden=(8,), steps=100).model
    assert (model.predict(X) == Y["text"]).mean() > 0.8


@pytest.mark.parametrize("options", [{}, {"loss": "quantile:0.2,0.6"}, {"class_weight": "balanced"}])
def test_weights_say_how_often_a_row_is_there(options):
    """Rows of weight 0 count for nothing in scaling, splits and test; a factor on all weights changes nothing."""
    y = X[:, 0] if "loss" in options else Y["text"]
    spoilt = (
        np.concatenate((X, 1e6 * X[:60] + 1)),
        np.concatenate((y, 50 + y[:60] if "loss" in options else y[:60][::-1])),
    )
    weights = 1.0 + (np.arange(300) % 3)
    fit = partial(fastmlp.fit, **QUICK, networks=0, validation=0.3, **options)
    wanted, without = fit(X, y, sample_weight=weights), fit(*spoilt, sample_weight=np.append(5 * weights, np.zeros(60)))
    names = [name for name in wanted.summary if name.startswith(("test", "validation", "train_loss"))]
    for name in names:
        assert without.summary[name] == pytest.approx(wanted.summary[name], rel=1e-5)  # float32


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "focal:2", "huber:0.5", "quantile:0.2,0.6"])
def test_measures_of_weighted_samples_are_those_of_repeated_ones(loss, rng):
    numbers = not loss.startswith(("soft", "focal"))
    given = X[:, 0] if numbers else Y["integers"]
    model = fastmlp.fit(X, given, loss=loss, networks=0, backend="reference", **QUICK).model
    model.backend = "numba"  # which is to measure; no step is compiled for it
    y = X[:, 1] if numbers else rng.integers(0, 2, 300)
    times = rng.integers(0, 3, 300)
    repeated = model.measure(np.repeat(X, times, axis=0), np.repeat(y, times))
    assert model.measure(X, y, times.astype(float)) == pytest.approx(repeated, rel=1e-5)  # sums of float32


def test_images_of_more_dimensions_are_images(digits):
    images = digits.X[:200].reshape(-1, 28, 28)
    model = fastmlp.fit(images, digits.y[:200], **QUICK).model
    assert (model.image_shape, model.network.sizes[0]) == ((28, 28), 784)
    for same in (images, images[..., None]):
        np.testing.assert_array_equal(model.predict_proba(same), model.predict_proba(digits.X[:200]))
    assert len(model.predict(images[:0])) == 0


def test_a_data_set_with_options_or_a_config_is_taken_as_before(digits):
    one = fastmlp.fit(digits, **QUICK)
    two = fastmlp.fit(digits, TrainConfig(**QUICK))
    three = fastmlp.fit(digits, config=TrainConfig(hidden=(8,), steps=7), steps=20)
    assert len({each.summary["weights_sha256"] for each in (one, two, three)}) == 1
    seed = fastmlp.fit(digits, preset="seed", steps=3, dtype="float32")
    assert (seed.config.optimizer, seed.config.dtype, seed.config.bias) == ("sgd", "float32", False)


def test_the_documentation_speaks_of_parameters_and_says_what_true_means():
    lines = [line.strip() for line in fastmlp.fit.__doc__.partition("Options:")[2].splitlines()]
    assert {"bias: give the layers biases", "val_fraction: part of data held out where there is no test set"} <= {
        *lines
    }
    assert not any("--" in line for line in lines)


def test_the_signature_has_every_option_that_arrays_leave_open_as_it_is():
    parameters = inspect.signature(fastmlp.fit).parameters
    elsewhere = {"data", "test", "label_column", "weight_column", "offline", "out", "given"}  # of files, and no option
    for item in fields(TrainConfig):
        if item.name in elsewhere - {"data"}:
            assert item.name not in parameters
        elif item.name != "data":
            assert item.name in parameters
            assert parameters[item.name].default == item.default
            assert parameters[item.name].kind is inspect.Parameter.KEYWORD_ONLY
    assert not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())


class NA:
    """As pandas' own: whether it is equal to anything is unknown."""

    def __eq__(self, other):
        return self

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")

    def __str__(self):
        return "<NA>"

    __hash__ = __ne__ = None


def damaged():
    matrix = pytest.importorskip("scipy.sparse").csr_array(X)
    matrix.indices[3] = 6
    return matrix


TEXT = Y["text"].tolist()
BAD = {  # what is given in the place of X and y, or beside them
    "a column that is not there": (
        {"data": {"a": X[:, 0], "b": X[:, 1]}, "y": TEXT, "column": ("c=number",)},
        "^X: column names no column 'c'; the columns are a, b$",
    ),
    "a path": ({"data": "flats.csv"}, "data is 'flats.csv'; read what is there with fastmlp.load"),
    "out": ({"out": "run"}, "out is of the commands; in Python checkpoint= keeps the run, and result.model.save"),
    "a name for y": (
        {"data": {"a": TEXT, "b": TEXT}, "y": "b"}, "y is 'b'; it must be the column itself, and X the others"
    ),
    "no y": ({"y": None}, "y is missing; fit takes samples X and their y, or a Dataset"),
    "no rows": ({"data": X[:0], "y": []}, "X is empty; it must hold at least one sample"),
    "a column of an array": ({"y": TEXT, "drop": "a"}, "^drop names columns of a data frame or a dict of arrays; X"),
    "an unknown column": (
        {"data": {"area": X[:, 0], "b": X[:, 1]}, "drop": "aera"},
        r"^drop names 'aera'; did you mean area\? X has area, b",
    ),
    "numbers too small": ({"y": X[:, 0] * 1e-200}, "to predict, from .* are too large or too small to standardise"),
    "sparse": (
        {"data": pytest.importorskip("scipy.sparse").csr_array(X > 2).astype(float), "input": "dense"},
        "^X: is sparse; input must be auto or sparse, and backend numba",
    ),
    "counts": ({"y": TEXT[1:]}, r"X has shape \(300, 6\) and y \(299,\); they must be"),
    "half a test set": ({"X_test": X}, "X_test and y_test go together"),
    "a test set without a column": (
        {"data": {"a": X[:, 0], "b": X[:, 1]}, "X_test": {"a": X[:, 0]}, "y_test": TEXT},
        "^X_test: column 'b' is missing",
    ),
    "NaN": (
        {"data": np.where(X > 2, np.nan, X)},
        r"X, row \d+ .*: holds a NaN .* as a data frame or a dict of arrays it may have gaps .NaN.$",
    ),
    "infinity": ({"data": np.where(X > 2, np.inf, X)}, "holds a NaN or an infinity; all values must be finite$"),
    "the kernels' CSR": (
        {"data": kernels.csr(X)}, "^X is a CSR; fit takes arrays, data frames and SciPy's sparse matrices$"
    ),
    "NaN in y": (
        {"y": np.where(X[:, 0] > 2, np.nan, X[:, 0])}, r"y, row \d+ .counted from 0.: holds a NaN or an infinity"
    ),
    "masked y": (
        {"y": np.ma.masked_equal(Y["integers"], 7)},
        r"y, row \d+ .counted from 0.: is masked; every sample must have one",
    ),
    "None in y": ({"y": [None, *TEXT[1:]]}, "y, row 0 .counted from 0.: is missing; every sample must have one"),
    "pandas.NA in y": (
        {"y": np.array([NA(), *TEXT[1:]], object)}, "y, row 0 .counted from 0.: is missing; every sample must have one"
    ),
    "a gap among numbers": (
        {"y": ["?", *map(str, X[1:, 0])]},
        r"y: the label of row 0 .counted from 0. is '\?', the others are numbers; it is missing",
    ),
    "NaN in text among numbers": (
        {"y": ["nan", *map(str, X[1:, 0])]},
        r"y: the label of row 0 .counted from 0. is 'nan', the others are numbers; it is missing",
    ),
    "a word among numbers": (
        {"y": ["sold", *map(str, X[1:, 0])]},
        "y: the label of row 0 .counted from 0. is 'sold', the others are numbers; it is no number",
    ),
    "huge integers": ({"y": [10**20, *range(299)]}, "y holds integers of more than 64 bits; give them as text"),
    "dates in y": ({"y": [datetime.date(2024, 1, 1)] * 300}, r"y holds values of another type \(date\)"),
    "mixed y": ({"y": np.array([3, *TEXT[1:]], object)}, "y holds values of several types"),
    "mixed y in a list": ({"y": [3, *TEXT[1:]]}, "y holds values of several types"),
    "a gap in a list": ({"y": [*TEXT[:-1], float("nan")]}, "y, row 299 .counted from 0.: is missing"),
    "ragged": ({"data": [[1, 2], [3]], "y": ["a", "b"]}, "X cannot be made an array"),
    "bytes of no type": ({"data": X.view("V8")}, "X has dtype .V8; it must be an integer type or a float"),
    "a damaged sparse matrix": ({"data": damaged()}, "X is no valid sparse matrix .indices must be < 6"),
    **{
        f"columns that never vary, {kind}": (
            {"data": same}, "X: every column has one value only; there is nothing to learn"
        )
        for kind, same in (
            ("ones", np.ones((300, 6))),
            ("zeros", np.zeros((300, 6))),
            ("pixels", np.full((300, 4, 4), 7, np.uint8)),
            ("sparse", pytest.importorskip("scipy.sparse").csr_array((300, 6))),
        )
    },
    "two rows alike": (
        {"data": np.ones((2, 6)), "y": ["a", "b"], "X_test": X[:2], "y_test": ["a", "b"]},
        "every column has one value only",
    ),
    "one class": ({"y": np.full(300, "a")}, "^y: all labels are 'a'; there must be at least two classes"),
    "a class that is no text": ({"y": ["a", "b\ud800"] * 150}, r"^y: the label of row 1 .*'b\\ud800', which is not"),
    "text to predict": ({"task": "regression"}, "^y: the label .* with task regression it must be a finite number"),
    "unknown option": (  # none that only the commands have, such as label_column
        {"layers": 3},
        r"unknown option 'layers'; did you mean hidden\? the options are X_test, .* input, label_smoothing,",
    ),
    # The command's: --clip-norm.
    "an option": ({"clip_norm": -1}, "^clip_norm is -1.0; it must be positive"),
    "a choice": ({"augment": True}, "^augment is True; it must be a name"),
    "a weight of no class": ({"class_weight": {"maybe": 2}}, "^class_weight names 'maybe'; the classes are"),
    "a weight of a number": (
        {"class_weight": {0: 2}, "task": "regression", "y": X[:, 0]}, "^class_weight goes with classes; y has numbers",
    ),
    "a loss": ({"loss": "absolute_error"}, r"classes \(loss softmax_cross_entropy, focal; or task regression\)"),
    "an unknown class": (
        {"X_test": X[:1], "y_test": ["maybe"]}, "^y_test: label 'maybe' is none of the training set's"
    ),
    "dictionaries": (
        {"data": {"a": X[:, 0], "b": np.array([{}] * 300, object)}},
        "^X: column 'b' holds values of the type dict; each must be a number, a text or a date",
    ),
    "masked weights": (
        {"sample_weight": np.ma.masked_less(X[:, 0], 0)},
        "sample_weight has masked values; fill them, or leave their rows out",
    ),
    "no configuration": ({"config": {}}, "^config is of the type dict; it must be a fastmlp.TrainConfig"),
    "no observer": ({"observer": print}, "^observer is of the type builtin_.*; it must be a fastmlp.Observer"),
    "no path": ({"checkpoint": b"c.npz"}, "^a path is of the type bytes; it must be text or a pathlib.Path"),
    "weights": ({"sample_weight": -np.ones(300)}, "the weight of row 0 .counted from 0. is -1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_one_line(name):
    given, message = BAD[name]
    with pytest.raises(InputError, match=message):
        fastmlp.fit(**{"data": X, "y": Y["text"], **given})


def test_a_data_set_has_its_own_labels(digits):
    with pytest.raises(InputError, match="y goes with arrays; a Dataset has its own"):
        fastmlp.fit(digits, digits.y)


def test_weights_of_classes_by_their_labels_are_those_in_order():
    y = np.array([0, 7])[(X[:, 0] > 0).astype(int)]
    options = {"networks": 0, "epochs": 1, "seed": 1}
    in_order = fastmlp.fit(X, y, class_weight="1,5", **options).model.network.params
    np.testing.assert_array_equal(fastmlp.fit(X, y, class_weight={7: 5}, **options).model.network.params, in_order)
    floats = fastmlp.fit(X, y.astype(float), class_weight={7.0: 5}, **options).model
    np.testing.assert_array_equal(floats.network.params, in_order)
    assert (fastmlp.fit(X, y, **options).model.network.params != in_order).any()
