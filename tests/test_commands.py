"""evaluate, predict, export, doctor and warmup as a user meets them."""

import csv
import io
import itertools
import json
import os
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lines import one_line

import fastmlp
from fastmlp import doctor, evaluate, export, predict, report, train, warmup
from fastmlp.backend import Network, kernels
from fastmlp.data import Sparse
from fastmlp.errors import InputError
from fastmlp.exporting.network import onnx_model
from fastmlp.formats import IMAGE
from fastmlp.images.framing import Framing
from fastmlp.models.model import Model
from fastmlp.models.ranges import difference, input_ranges
from fastmlp.training.loop import Observer
from kernels.cores import available_cores

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def trained(digits):
    """A model of synthetic digits that knows its inputs' shape."""
    model = fastmlp.fit(digits, epochs=2).model
    model.image_shape = (28, 28)
    return model


@pytest.fixture
def place(dataset, tmp_path, trained):
    """A working directory with model.npz and digits.npz."""
    trained.save("model.npz")
    return tmp_path


def random_model(sizes, classes=None, *, dtype="float32", bias=True, scale=1.0, **known):
    """A network of He weights, and biases of their size."""
    rng = np.random.default_rng(0)
    network = Network(sizes, bias=bias, dtype=dtype)
    for W, b in network.layers:
        W[...] = rng.standard_normal(W.shape) * (2 / len(W)) ** 0.5
        if b is not None:
            b[...] = rng.standard_normal(b.shape)
    return Model(network, scale, classes or tuple(map(str, range(sizes[-1]))), **known)


# -- evaluate --------------------------------------------------------------------------------------------------------


def test_evaluate_scores_each_class_by_the_definitions(place, as_json, digits, trained):
    result = as_json(evaluate, "model.npz", "--data", "digits.npz")
    predicted, y = trained.predict(digits.X_test), digits.y_test
    assert (result["samples"], result["data"]) == (500, "digits")
    assert result["test_accuracy"] == (predicted == y).mean()
    assert result["test_loss"] == trained.evaluate(digits.X_test, y)[0]
    assert [score["class"] for score in result["classes"]] == list("0123456789")
    for k, score in enumerate(result["classes"]):
        precision, recall = (y[predicted == k] == k).mean(), (predicted[y == k] == k).mean()
        assert score["samples"] == (y == k).sum()
        assert score["precision"] == pytest.approx(precision, rel=1e-15)
        assert score["recall"] == pytest.approx(recall, rel=1e-15)
        assert score["f1"] == pytest.approx(2 * precision * recall / (precision + recall), rel=1e-15)
        assert result["confusion"][k] == [int(((y == k) & (predicted == j)).sum()) for j in range(10)]


def test_labels_find_the_models_classes_by_name(place, as_json, trained):
    """A model with its outputs in another order is as good, and its confusion matrix is in that order."""
    order = np.array([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    (W0, b0), (W1, b1) = trained.network.layers
    network = Network(trained.network.sizes)
    for (W, b), (W_old, b_old) in zip(network.layers, ((W0, b0), (W1[:, order], b1[order]))):
        W[...], b[...] = W_old, b_old
    Model(network, trained.scale, tuple(map(str, order))).save("other.npz")
    results = [as_json(evaluate, m, "--data", "digits.npz") for m in ("model.npz", "other.npz")]
    assert results[1]["test_accuracy"] == results[0]["test_accuracy"]
    np.testing.assert_array_equal(results[1]["confusion"], np.array(results[0]["confusion"])[order][:, order])


def test_a_class_that_the_model_does_not_know_is_named(place, command, digits):
    X = digits.X[:4]
    np.savez("more.npz", X=X, y=np.arange(4), X_test=X, y_test=np.array([0, 1, 2, 11]))
    one_line(command(evaluate, "model.npz", "--data", "more.npz"), 2, "more.npz: label '11' is none of")


def test_a_table_of_ten_classes_and_of_forty_the_worst_ten(place, command, succeeds, as_json):
    first, head, *rows = succeeds(evaluate, "model.npz", "--data", "digits.npz").out.splitlines()
    assert first.startswith("test accuracy ")
    assert first.endswith(" on 500 test samples of digits")
    assert head.split() == ["class", "samples", "precision", "recall", "F1"]
    assert [row.split()[0] for row in rows] == list("0123456789")
    assert len({len(line) for line in (head, *rows)}) == 1  # aligned

    model = random_model((6, 40))
    model.save("forty.npz")
    X = np.random.default_rng(1).standard_normal((400, 6)).astype("f4")
    y = np.arange(400) % 40
    np.savez("forty-data.npz", X=X, y=y, X_test=X, y_test=y)
    arguments = ("forty.npz", "--data", "forty-data.npz")
    scores = as_json(evaluate, *arguments)["classes"]
    worst = sorted(score["f1"] for score in scores)[:10]
    _, title, _, *rows = command(evaluate, *arguments)[1].splitlines()
    assert title == "the 10 classes of the lowest F1:"
    assert [row.split()[-1] for row in rows] == [f"{f1:.2%}" for f1 in worst]


def test_a_class_without_samples_or_predictions_has_no_score(place, command, as_json):
    model = random_model((3, 3))
    model.network.params[...] = 0
    model.network.layers[0][1][...] = [1, 0, 0]  # always class 0
    model.save("biased.npz")
    X, y = np.ones((4, 3), "f4"), np.array([0, 0, 1, 1])
    np.savez("two.npz", X=X, y=y, X_test=X, y_test=y)
    arguments = ("biased.npz", "--data", "two.npz")
    scores = as_json(evaluate, *arguments)["classes"]
    assert [list(score.values())[1:] for score in scores] == [
        [2, 0.5, 1.0, pytest.approx(2 / 3)],
        [2, None, 0.0, 0.0],
        [0, None, None, None],
    ]
    *_, last = command(evaluate, *arguments)[1].splitlines()
    assert last.split() == ["2", "0", "-", "-", "-"]


def test_without_data_the_runs_own_data_is_used(place, command, as_json, trained, digits):
    np.savez("whole.npz", X=digits.X, y=digits.y)
    Path("run").mkdir()
    trained.save("run/model.npz")
    Path("run/config.toml").write_text('data = "whole.npz"\nval-fraction = 0.2\nseed = 7\nhidden = [256]\n')
    code, out, _ = command(evaluate, "run/model.npz", "--json")
    assert (code, json.loads(out)["data"], json.loads(out)["samples"]) == (0, "whole", 300)
    given = command(evaluate, "model.npz", "--data", "whole.npz", "--val-fraction", 0.2, "--seed", 7, "--json")
    assert given[1] == out
    assert command(evaluate, "run/model.npz", "--json", "--seed", 8)[1] != out
    assert command(evaluate, "run", "--json")[1] == out
    assert as_json(evaluate, "run/model.npz", "--data", "digits.npz")["samples"] == 500
    Path("run/config.toml").write_text("data = \n")
    one_line(command(evaluate, "run/model.npz"), 2, "config.toml: not valid TOML (Invalid value (at line 1")
    Path("run/config.toml").write_text("data = 3\n")
    one_line(command(evaluate, "run/model.npz"), 2, "--data is 3; it must be a name")


def test_data_of_a_run_that_have_changed_or_moved_are_said(place, command, digits):
    np.savez("own.npz", X=digits.X[:100], y=digits.y[:100])
    assert command(train, "--data", "own.npz", "--epochs", 1, "--hidden", 8, "--out", "run", "-q")[0] == 0
    assert command(evaluate, "run")[2] == ""
    changed = (
        "own.npz: is not what the model was trained on, or has changed since; it may be tested on learnt samples\n"
    )
    for split in (("--seed", 8), ("--val-fraction", 0.5)):
        assert command(evaluate, "run", *split)[::2] == (0, f"{place / changed}")
    np.savez("own.npz", X=digits.X[1:101], y=digits.y[1:101])
    assert command(evaluate, "run")[::2] == (0, f"{place / changed}")
    assert command(evaluate, "run", "--data", "own.npz")[::2] == (0, "")
    Path("own.npz").unlink()
    one_line(command(evaluate, "run"), 2, "; --data says where else the data is")
    assert "--data says" not in command(evaluate, "run", "--data", "own.npz")[2]


def test_a_runs_directory_stands_for_its_newer_model(place, command, digits):
    for name, age in (("model.npz", 2), ("checkpoint.npz", 1)):
        Path("run").mkdir(exist_ok=True)
        random_model([784, 10], scale=age).save(f"run/{name}")
        os.utime(f"run/{name}", (0, 1000 - age))
    assert fastmlp.load_model("run").scale == 1
    Path("run/checkpoint.npz").unlink()
    assert fastmlp.load_model("run").scale == 2
    assert command(predict, "run", "digits.npz")[1] == command(predict, "run/model.npz", "digits.npz")[1] != ""
    Path("run/model.npz").unlink()
    for verb, more in ((predict, ["digits.npz"]), (evaluate, []), (export, ["a.safetensors"])):
        one_line(
            command(verb, "run", *more), 2, "run: holds neither model.npz nor checkpoint.npz; it must be the --out"
        )


def test_other_data_are_tested_whole_and_the_runs_own_by_its_split(place, succeeds, digits):
    X, y = digits.X[:200], digits.y[:200]
    np.savez("own.npz", X=X, y=y)
    np.savez("other.npz", X=digits.X_test[:7], y=digits.y_test[:7])
    np.savez("one.npz", X=digits.X_test[:1], y=digits.y_test[:1])
    data = fastmlp.load("own.npz", val_fraction=0.25, seed=3)
    model = fastmlp.fit(data, epochs=1, hidden=(8,), val_fraction=0.25, seed=3).model
    model.save("own-model.npz")

    def samples(*arguments):
        out, err = succeeds(evaluate, "own-model.npz", "--json", *arguments)
        return json.loads(out)["samples"], json.loads(out)["test_accuracy"], err

    own = model.evaluate(data.X_test, data.y_test)[1]
    said = ": is what the model was trained on; it is tested on the 50 samples held out then\n"
    assert samples("--data", "own.npz") == (50, own, "own.npz" + said)
    Path("own.npz").rename("moved.npz")  # the samples tell, not the name
    assert samples("--data", "moved.npz") == (50, own, "moved.npz" + said)
    whole = model.evaluate(digits.X_test[:7], digits.y_test[:7])[1]
    assert samples("--data", "other.npz") == (7, whole, "")
    assert samples("--data", "one.npz")[0] == 1
    assert samples("--data", "digits.npz") == (500, model.evaluate(digits.X_test, digits.y_test)[1], "")
    assert samples("--data", "other.npz", "--val-fraction", 0.3)[::2] == (2, "")
    np.savez("kept.npz", X=data.X, y=data.y)
    assert samples("--data", "kept.npz")[::2] == (
        150, "kept.npz: is all that the model was trained on; new samples may be harder\n",
    )  # fmt: skip


def test_the_label_column_of_the_run_is_remembered(place, command, as_json):
    rows = "".join(f"{k % 7},{'ab'[k % 2]},{k % 5}\n" for k in range(60))
    Path("a.csv").write_text("x,kind,z\n" + rows)
    assert command(train, "--data", "a.csv", "--label-column", "kind", "--out", "run", "--epochs", 1, "-q")[0] == 0
    Path("b.csv").write_text("z,x,kind\n1,2,a\n3,4,b\n")
    assert as_json(evaluate, "run/model.npz", "--data", "b.csv")["samples"] == 2


def test_a_file_without_labels_is_named_as_such(table, command):
    np.savetxt("bare.csv", table[0], "%g", ",", header="a,b,c", comments="")
    result = command(evaluate, "table.npz", "--data", "bare.csv")
    one_line(result, 2, "bare.csv: all its columns are features; it must have a column of labels, too")


@pytest.fixture
def table(place):
    """A model of the columns a, b and c, and rows for it with classes as text."""
    rng = np.random.default_rng(0)
    model = random_model((3, 3), ("low", "mid", "high"), columns=("a", "b", "c"))
    model.save("table.npz")
    X = rng.integers(-50, 50, (200, 3)) / 8
    return X, model.predict(X).tolist()


def test_a_class_is_a_line_whatever_is_in_its_name(table, command):
    random_model((3, 3), ("lo\nw", "mid", "high"), columns=("a", "b", "c")).save("broken.npz")
    write_csv("rows.csv", ["a", "b", "c"], table[0].T)
    expected = [{"low": "lo w"}.get(label, label) for label in table[1]]
    assert command(predict, "broken.npz", "rows.csv")[1].splitlines() == expected


def write_csv(path, names, columns):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([names, *zip(*columns)])


@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_model_remembers_where_its_table_had_the_labels(place, command, column, as_json):
    """Labels 10, 20 and 30 in a table without a header; then files with and without them."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    X = np.round(rng.normal(size=(300, 2)) + 6 * y[:, None], 3)

    def write(name, table):
        Path(name).write_text("\n".join(",".join(f"{value:g}" for value in row) for row in table))

    write("train.csv", np.insert(X, column, 10 * y + 10, axis=1))
    write("bare.csv", X)
    write("asked.csv", np.insert(X, column, 0, axis=1))
    write("numbered.csv", np.insert(X, 0, np.arange(300), axis=1))
    said = []
    data = fastmlp.load("train.csv", label_column=None if column != 1 else 2, say=said.append)
    assert f"train.csv: the labels are column {column + 1} (3 classes)" in said[0]
    assert data.classes == ("10", "20", "30")
    fastmlp.fit(data, epochs=30, batch_size=32, lr=0.01).model.save("model.npz")
    labelled = command(predict, "model.npz", "train.csv")
    right = np.mean([int(line) == 10 * k + 10 for line, k in zip(labelled[1].split(), y)])
    assert right > 0.95
    assert labelled == command(predict, "model.npz", "bare.csv")
    where = f"column {column + 1}, where the training file had its labels,"
    assert command(predict, "model.npz", "asked.csv") == (*labelled[:2], f"asked.csv: {where} is left out\n")
    more = np.where(np.arange(300) % 5, 10 * y + 10, 40 + np.arange(300) % 7)  # a few are of classes that are new
    write("more.csv", np.insert(X, column, more, axis=1))
    assert command(predict, "model.npz", "more.csv") == (*labelled[:2], f"more.csv: {where} is left out\n")
    numbered = command(predict, "model.npz", "numbered.csv")
    if column == 0:  # just where the labels were
        assert numbered == (*labelled[:2], f"numbered.csv: {where} is left out\n")
    else:
        one_line(numbered, 2, f"numbered.csv: has one column more than the model takes, and {where} holds ")
    write("new.csv", np.insert(X, column, 10 * y + 10, axis=1)[:100])
    code, out, err = command(evaluate, "model.npz", "--data", "new.csv", "--json")
    assert (code, json.loads(out)["samples"], err) == (0, 100, "")
    write("alike.csv", np.insert(X[y == 1], column, 20, axis=1))
    code, out, err = command(evaluate, "model.npz", "--data", "alike.csv", "--json")
    assert (code, err) == (0, f"alike.csv: {where} holds '20' in every row\n")
    write("one.csv", np.insert(X, column, 10 * y + 10, axis=1)[y == 1][:1])
    assert as_json(evaluate, "model.npz", "--data", "one.csv")["samples"] == 1
    unlabelled = command(evaluate, "model.npz", "--data", "bare.csv")
    one_line(unlabelled, 2, "bare.csv: all its columns are features; it must have a column of labels, too")
    write("wide.csv", np.hstack([X, X]))
    one_line(command(predict, "model.npz", "wide.csv"), 2, "wide.csv: has 4 columns for 2 features")


def test_a_model_of_arrays_does_not_guess_a_column(table, command):
    """One column more than features, of numbers: any may be the labels."""
    X, labels = table
    np.savetxt("rows.csv", np.column_stack([np.arange(200), X]), delimiter=",")
    refused = command(predict, "table.npz", "rows.csv")
    one_line(
        refused, 2, "rows.csv: has 4 columns for 3 features, and none is known to hold labels; --label-column takes"
    )
    code, out, _ = command(predict, "table.npz", "rows.csv", "--label-column", "1")
    assert (code, out.split()) == (0, labels)
    assert command(predict, "table.npz", "rows.csv", "--label-column", "-4")[1] == out


def test_columns_are_found_by_name(table, command, as_json, succeeds):
    (a, b, c), labels = table[0].T, table[1]
    write_csv("other.csv", ["c", "kind", "b", "a"], [c, labels, b, a])
    assert as_json(evaluate, "table.npz", "--data", "other.csv", "--label-column", "kind")["test_accuracy"] == 1.0
    assert succeeds(predict, "table.npz", "other.csv").out.split() == labels
    write_csv("lacks.csv", ["c", "kind", "b", "x"], [c, labels, b, a])
    lacking = command(evaluate, "table.npz", "--data", "lacks.csv", "--label-column", "kind")
    one_line(lacking, 2, "lacks.csv: no column 'a'; the columns are c, kind, b, x")
    one_line(command(predict, "table.npz", "lacks.csv"), 2, "lacks.csv: no column 'a'")


def test_sparse_samples_may_lack_the_last_features(place, command, as_json, succeeds):
    model = random_model((9, 4), index_base=1)
    model.save("wide.npz")
    replace(model, index_base=None).save("of-arrays.npz")
    X = np.zeros((60, 9), "f4")
    X[np.arange(60), np.arange(60) % 7] = 1 + np.arange(60) / 8
    y = model.predict(X)
    with open("rows.svm", "w") as file:
        for row, k in zip(X, y):
            file.write(f"{k} " + " ".join(f"{j + 1}:{row[j]}" for j in np.flatnonzero(row)) + "\n")
    for name in ("wide.npz", "of-arrays.npz"):
        assert as_json(evaluate, name, "--data", "rows.svm")["test_accuracy"] == 1.0
    assert succeeds(predict, "wide.npz", "rows.svm").out.split() == [str(k) for k in y]
    random_model((5, 4), index_base=1).save("narrow.npz")
    for verb, arguments in ((evaluate, ["--data", "rows.svm"]), (predict, ["rows.svm"])):
        result = command(verb, "narrow.npz", *arguments)
        one_line(result, 2, "rows.svm: line 6: '6:1.625' has an index beyond 5, the largest there can be")


def test_a_model_reads_later_svmlight_files_by_the_base_and_width_of_its_own(place, command, as_json):
    """A file by itself does not tell: without an index 0 it looks as if it counted from 1."""
    X = np.eye(4, dtype="f4") * [1, 2, 3, 4]
    for base in (0, 1):
        Path("train.svm").write_text("".join(f"{k} {k + base}:{X[k, k]}\n" for k in range(4)) * 4)
        model = fastmlp.fit(fastmlp.load("train.svm", say=lambda line: None), hidden=(), epochs=1).model
        model.save("base.npz")
        assert (model.index_base, fastmlp.load_model("base.npz").index_base) == (base, base)
        expected = model.predict(X).astype(str).tolist()
        Path("last.svm").write_text(f"0 {1 + base}:2\n1 {2 + base}:3\n")  # neither the first column nor the last
        assert command(predict, "base.npz", "last.svm") == (0, "\n".join(expected[1:3]) + "\n", "")
        Path("shards").mkdir(exist_ok=True)
        Path("shards/a.svm").write_text(f"{expected[1]} {1 + base}:2\n{expected[2]} {2 + base}:3\n" * 2)
        Path("shards/test.svm").write_text(f"{expected[2]} {2 + base}:3\n")
        assert as_json(evaluate, "base.npz", "--data", "shards")["test_accuracy"] == 1.0
    Path("zero.svm").write_text("0 1:1\n1 0:1\n")
    result = command(predict, "base.npz", "zero.svm")
    one_line(result, 2, "zero.svm: line 2: '0:1' has the index 0; what the model was trained on counts from 1")
    Path("shards/test.svm").write_text("0 0:3\n")
    result = command(evaluate, "base.npz", "--data", "shards")
    assert (result[0], "has the index 0; what the model was trained on counts from 1" in result[2]) == (2, True)
    Path("shards/test.svm").write_text("0 5:3\n")
    result = command(evaluate, "base.npz", "--data", "shards")
    assert (result[0], "has an index beyond 4, the largest that the model knows" in result[2]) == (2, True)


def test_a_test_file_that_seems_to_count_from_another_index_is_said(place):
    Path("zero.svm").write_text("0 0:1 2:1\n1 1:1\n" * 5)
    Path("one.svm").write_text("0 1:1 3:1\n1 2:1\n")
    Path("same.svm").write_text("0 1:1 2:1\n")
    said = []
    fastmlp.load("zero.svm", test="one.svm", say=said.append)
    assert len(said) == 1
    assert said[0].startswith("one.svm: no index is 0, and the largest is one beyond that of zero.svm")
    fastmlp.load("zero.svm", test="same.svm", say=said.append)
    fastmlp.load("zero.svm", test="zero.svm", say=said.append)
    assert len(said) == 1


def test_a_guess_of_the_index_base_is_said(place, command):
    Path("ones.svm").write_text("0 1:1\n1 2:1\n" * 4)
    Path("zeros.svm").write_text("0 0:1\n1 1:1\n" * 4)
    lines = []
    for name in ("ones.svm", "zeros.svm"):
        fastmlp.load(name, say=lines.append)
    random_model((2, 2)).save("dense.npz")  # of other files than svmlight
    assert command(predict, "dense.npz", "ones.svm")[2].splitlines() == lines
    assert lines == ["ones.svm: no index is 0, so indices are taken to count from 1"]
    assert command(predict, "dense.npz", "zeros.svm")[2] == ""


# -- inputs by name and by range --------------------------------------------------------------------------------------


def test_a_data_frames_columns_go_by_name(place):
    pandas = pytest.importorskip("pandas")
    model = random_model((3, 3), columns=("a", "b", "c"))
    X = np.random.default_rng(0).standard_normal((50, 3))
    y = model.predict(X)
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    for given in (frame, frame[["c", "a", "b"]], frame[["b", "c"]].assign(id=7, a=frame["a"])):
        np.testing.assert_array_equal(model.predict(given), y)
        np.testing.assert_array_equal(model.predict_proba(given), model.predict_proba(X))
        assert model.evaluate(given, y) == model.evaluate(X, y)
    np.testing.assert_array_equal(model.predict(pandas.DataFrame(X)), y)  # without names, by position
    np.testing.assert_array_equal(random_model((3, 3)).predict(frame[["a", "b", "c"]]), y)
    for given, message in [
        (frame.rename(columns={"b": "B"}), "column 'b' is missing; the model does not know B"),
        (frame[["a", "c"]], "column 'b' is missing$"),
        (frame[["a", "b", "c", "c"]], "X has more than one column 'c'; each must"),
        (frame.assign(b="x"), "column 'b' has dtype .*; this model takes numbers"),
    ]:
        with pytest.raises(InputError, match=message):
            model.predict(given)


def test_an_arrow_tables_columns_go_by_name_and_a_gap_in_them_is_none_of_their_values():
    arrow = pytest.importorskip("pyarrow")
    model = random_model((2, 2), columns=("a", "b"))
    table = arrow.table({"b": [0.0, 5.0], "a": [1.0, 2.0]})
    np.testing.assert_array_equal(model.predict_proba(table), model.predict_proba([[1.0, 0.0], [2.0, 5.0]]))
    coded = arrow.array([7.0, None]).dictionary_encode()  # NumPy's own view of it has 7 in the gap
    with pytest.raises(InputError, match="X, row 1 .counted from 0.: holds a NaN"):
        model.predict(arrow.table({"b": coded, "a": [1.0, 2.0]}))


SCALES = {"unit": 1 / 255, "bytes": 1, "standardised": None}


def scaled(X, scale):
    return ((X / np.float32(255) - 0.1307) / 0.3081 if scale is None else X * np.float32(scale)).astype("f4")


@pytest.mark.parametrize(
    ("trained_on", "tested_on", "shape"),  # of which every two meet, and both shapes no difference; nightly all
    [
        pytest.param(one, other, shape, marks=pytest.mark.nightly if (i + j) // 2 % 2 != k else ())
        for (i, one), (j, other), (k, shape) in itertools.product(*map(enumerate, (SCALES, SCALES, [(28, 28), None])))
    ],
)
def test_a_warning_says_both_ranges_where_they_differ(place, command, digits, trained_on, tested_on, shape):
    X, X_test = scaled(digits.X, SCALES[trained_on]), scaled(digits.X_test, SCALES[tested_on])
    lines = []
    data = fastmlp.Dataset("d", X, digits.y, X_test, digits.y_test, digits.classes, "d", shape)
    fitted = fastmlp.fit(data, observer=Observer(say=lines.append), hidden=(), epochs=1).model
    fitted.save("scaled.npz")
    np.savez("new.npz", X=X_test[:30], y=digits.y_test[:30])
    outputs = [command(predict, "scaled.npz", "new.npz")[2], command(evaluate, "scaled.npz", "--data", "new.npz")[2]]
    model = fastmlp.load_model("scaled.npz")
    if trained_on == tested_on:
        model.predict(X_test)
        for k in range(100):  # not a single sample, either
            assert model.unlike_training(X_test[k : k + 1]) is None
        assert (lines, outputs) == ([], ["", ""])
        return
    for each in (fitted, model):
        with pytest.warns(UserWarning, match="from .* to .*in training from .* to .*") as warned:
            each.predict(X_test)
        each.predict_proba(X_test)  # once: warnings are errors
        assert len(warned) == 1
        assert lines == [f"test set: {warned[0].message}"]
    for output in outputs:
        assert (output.startswith("new.npz: "), output.count("\n")) == (True, 1)


def test_ink_on_paper_is_told_from_light_ink_on_black(place, command, digits):
    model = fastmlp.fit(digits, hidden=(), epochs=1).model
    model.save("digits.npz")
    for k in range(100):
        assert model.unlike_training(digits.X_test[k : k + 1]) is None
        assert "dark on light; in training" in model.unlike_training(255 - digits.X_test[k : k + 1])
    assert model.unlike_training(digits.X_test[:0]) is None
    with pytest.warns(UserWarning, match="dark on light") as warned:
        fastmlp.load_model("digits.npz").predict(255 - digits.X_test)
    np.savez("paper.npz", X=255 - digits.X_test, y=digits.y_test)
    for verb, data in ((predict, ["paper.npz"]), (evaluate, ["--data", "paper.npz"])):
        assert command(verb, "digits.npz", *data)[2] == f"paper.npz: {warned[0].message}\n"
    white = fastmlp.Dataset("d", 255 - digits.X, digits.y, digits.X_test, digits.y_test, digits.classes, "d", (28, 28))
    lines = []
    inverted = fastmlp.fit(white, hidden=(), epochs=1, observer=Observer(say=lines.append)).model
    assert inverted.unlike_training(255 - digits.X_test) is None
    line = "the images are light on dark; in training they were dark on light (subtract them from white)"
    assert (inverted.unlike_training(digits.X_test), lines) == (line, [f"test set: {line}"])
    assert inverted.unlike_training(digits.X_test[:1]) is None  # it might be the photograph of a night


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_tables_are_told_from_standardised_ones_and_no_part_of_them_from_the_rest(name):
    table = getattr(pytest.importorskip("sklearn.datasets"), f"load_{name}")()
    X, rng = table.data, np.random.default_rng(0)
    order = rng.permutation(len(X))
    train, test = order[: len(X) // 2], order[len(X) // 2 :]
    Z = (X - X[train].mean(0)) / X[train].std(0)
    raw, standardised = (input_ranges(A[train], is_image=False) for A in (X, Z))
    for count in [1] * 200 + [2, 5, 10, 20, 30] * 20:
        rows = rng.choice(test, count, replace=False)
        assert difference(X[rows], raw, is_image=False) is None
        assert difference(Z[rows], standardised, is_image=False) is None
    for label in np.unique(table.target)[:3]:
        rows = test[table.target[test] == label]
        assert len(rows) == 0 or difference(X[rows], raw, is_image=False) is None
    assert "columns are in another range" in difference(Z[test], raw, is_image=False, columns=None)
    one_moved = X[test] + 3 * np.ptp(X, axis=0) * (np.arange(X.shape[1]) == 0)
    assert "1 of " in difference(one_moved, raw, is_image=False)
    first = table.feature_names[0]
    assert f"column '{first}' is" in difference(
        X[test], standardised, is_image=False, columns=tuple(table.feature_names)
    )


def test_one_column_in_another_unit_is_noticed_within_the_range_too(rng):
    far, around_zero = rng.normal(5, 1, (99, 3)) ** 4, rng.normal(0, 1, (99, 3))
    far[0] = 0
    for X in (far, around_zero):
        ranges = input_ranges(X, is_image=False)
        for times, noticed in ((1 / 60, True), (60, True), (1 / 10, False), (1, False)):
            assert (difference(X[1:] * [1, times, 1], ranges, is_image=False) is not None) == noticed


def test_a_number_that_stands_for_none_in_new_rows_only_is_noticed(rng):
    X = rng.normal(50, 9, (200, 3))
    ranges = input_ranges(X, is_image=False)
    for none in (-999, -99.9):
        new = X.copy()
        new[:10, 1] = none
        line = difference(new, ranges, is_image=False, columns=("a", "b", "c"))
        assert line.startswith(
            f"column 'b' is {none} in 5.0% of rows, as if it said that there is none; in training from "
        )
        assert difference(new, input_ranges(new, is_image=False), is_image=False) is None
    assert difference(new[7:], ranges, is_image=False) is None  # three may be outliers


def test_numbers_without_a_range_and_sparse_ones_are_compared_as_far_as_they_can_be(rng):
    constant = input_ranges(np.ones((50, 3)), is_image=False)
    assert difference(np.full((9, 3), 7.0), constant, is_image=False) is None
    assert input_ranges(Sparse(np.zeros(3, int), np.zeros(0, int), np.zeros(0), (2, 4)), is_image=False) is None
    huge = input_ranges(np.array([[-1.7e308], [1.7e308], [0.0]]), is_image=False)
    assert difference(np.array([[1.0]]), huge, is_image=False) is None
    values = rng.random(600)
    sparse = Sparse(np.arange(0, 601, 6), np.tile(np.arange(6), 100), values, (100, 9))
    ranges = input_ranges(sparse, is_image=False)
    assert ranges.shape == (4, 1)
    assert difference(sparse, ranges, is_image=False) is None
    assert "in training from" in difference(replace(sparse, data=values * 255), ranges, is_image=False)
    dense = np.zeros((100, 9))
    dense[:, :6] = values.reshape(100, 6)
    assert difference(dense, ranges, is_image=False) is None  # zeros that are spelt out
    assert "in training from" in difference(255 * dense, ranges, is_image=False)


def test_the_home_directory_may_be_written_as_a_tilde(place, succeeds, monkeypatch, digits):
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("HOME", str(place))
    Path("options.toml").write_text('data = "~/digits.npz"\nepochs = 1\nhidden = [8]\n')
    for verb, arguments, made in [
        (train, ["--config", "~/options.toml", "--out", "~/run"], "run/model.npz"),
        (train, ["--resume", "~/run", "--data", "~/digits.npz"], "run/model.npz"),
        (evaluate, ["~/run/model.npz"], None),
        (evaluate, ["~/run/model.npz", "--data", "~/digits.npz"], None),
        (predict, ["~/run/model.npz", "~/digits.npz"], None),
        (report, ["~/run", "--data", "~/digits.npz", "--out", "~/drawn"], "drawn/report.html"),
    ]:
        succeeds(verb, *arguments)
        assert made is None or Path(made).exists()
    assert tomllib.loads(Path("run/config.toml").read_text())["data"] == str(place / "digits.npz")
    fastmlp.load_model("~/model.npz").save("~/copy.npz")
    assert Path("copy.npz").exists()
    fastmlp.fit(digits, hidden=(), steps=1, checkpoint="~/state.npz")
    assert Path("state.npz").exists()
    assert not Path("~").exists()


# -- predict ---------------------------------------------------------------------------------------------------------


def test_probabilities_in_the_csv_are_the_models_to_the_last_bit(place, command, digits, trained, succeeds):
    for dtype in ("float32", "float64"):
        model = trained if dtype == "float32" else random_model((784, 10), dtype=dtype, scale=1 / 255)
        model.save("any.npz")
        np.savez("new.npz", X=digits.X_test)
        header, *rows = csv.reader(io.StringIO(succeeds(predict, "any.npz", "new.npz", "--proba").out))
        assert header == ["class", *"0123456789"]
        P = np.array([row[1:] for row in rows], dtype)
        np.testing.assert_array_equal(P, model.predict_proba(digits.X_test))
        assert [row[0] for row in rows] == command(predict, "any.npz", "new.npz")[1].split()


def test_several_files_are_told_apart_and_stay_in_order(place, command, digits):
    np.savez("a.npz", X=digits.X_test[:3])
    np.savez("b,b.npz", X=digits.X_test[3:5])
    both = command(predict, "model.npz", "b,b.npz", "a.npz")[1]
    alone = [command(predict, "model.npz", name)[1].split() for name in ("b,b.npz", "a.npz")]
    assert both == "".join(f"{name}\t{k}\n" for name, part in zip(("b,b.npz", "a.npz"), alone) for k in part)
    header, *rows = csv.reader(io.StringIO(command(predict, "model.npz", "b,b.npz", "a.npz", "--proba")[1]))
    assert header[:2] == ["file", "class"]
    assert [row[0] for row in rows] == ["b,b.npz"] * 2 + ["a.npz"] * 3


def test_class_names_with_commas_and_quotes_are_quoted_and_all_columns_have_names_of_their_own(place, command):
    names = ("class", "a,b", 'say "x"')
    model = random_model((3, 3), names)
    model.network.layers[0][0][...] = np.eye(3)
    model.network.layers[0][1][...] = 0
    model.save("named.npz")
    np.savez("new.npz", X=np.eye(3))
    header, *rows = csv.reader(io.StringIO(command(predict, "named.npz", "new.npz", "--proba")[1]))
    assert header == ["class", "class.1", *names[1:]]
    assert [row[0] for row in rows] == list(names)
    assert {len(row) for row in rows} == {4}


def test_names_that_the_terminal_cannot_show_are_escaped(place, python):
    random_model((2, 2), ("é", "ü")).save("named.npz")
    np.savez("new.npz", X=np.eye(2))
    result = python("-m", "fastmlp.predict", "named.npz", "new.npz", env={"PYTHONIOENCODING": "ascii"}, cwd=place)
    assert result.stderr.startswith("stdout is in ascii, which lacks some characters; they are escaped")
    assert result.stderr.count("\n") == 1
    classes = fastmlp.load_model("named.npz").predict(np.eye(2))
    assert result.stdout.split() == [{"é": r"\xe9", "ü": r"\xfc"}[name] for name in classes]


def test_a_closed_stderr_takes_any_name(python):
    narrow = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    run = "import sys; sys.stderr = None; from fastmlp import train; sys.exit(train.main(['--data', '\\xe9.csv']))"
    assert python(run, env=narrow, code=2).stdout == ""


@pytest.fixture
def images(place, digits):
    """Pillow, in a directory with digit.png, a test digit."""
    image = pytest.importorskip("PIL.Image")
    image.fromarray(digits.X_test[0].reshape(28, 28)).save("digit.png")
    return image


def proba(command, *arguments):
    """(probabilities [N, 10], stderr) of the command's CSV."""
    code, out, err = command(predict, *arguments, "--proba")
    assert code == 0, err
    return np.array([row[-10:] for row in csv.reader(io.StringIO(out))][1:], "f4"), err


def test_an_image_of_the_models_shape_is_its_pixels(images, command, digits, trained):
    P, err = proba(command, "model.npz", "digit.png")
    np.testing.assert_array_equal(P, trained.predict_proba(digits.X_test[:1]))
    assert err == ""


def test_pictures_of_any_kind_are_made_grey_and_of_the_models_size(images, command, digits, trained):
    pixels = digits.X_test[0].reshape(28, 28)
    large = images.fromarray(pixels.repeat(10, 0).repeat(10, 1))
    large.save("large.png")
    large.convert("RGB").save("colour.PNG")
    large.convert("P").save("palette.png")
    images.fromarray(pixels.astype(np.uint16) * 256 + 7).save("deep.png")
    images.fromarray(pixels.astype(np.uint16)).save("eight_of_sixteen.png")  # bits
    images.fromarray(pixels.astype(np.uint16) * 16 + 7).save("twelve_of_sixteen.png")
    large.convert("RGB").save("photo.jpg", quality=95)
    expected = trained.predict_proba(digits.X_test[:1])
    unsampled = "deep.png", "eight_of_sixteen.png", "twelve_of_sixteen.png"
    for name in ("large.png", "colour.PNG", "palette.png", *unsampled):
        P, err = proba(command, "model.npz", name, "--as-is")
        assert err.startswith(f"{name} (")
        assert err.endswith(") made grey and 28 x 28\n")
        assert P.argmax() == expected.argmax()
        if name in unsampled:
            np.testing.assert_array_equal(P, expected)
    code, out, err = command(predict, "model.npz", "photo.jpg", "digit.png", "large.png", "--as-is")
    assert (code, err) == (0, "2 images, such as photo.jpg (280 x 280 RGB), made grey and 28 x 28\n")
    assert out.split() == [
        f for name in ("photo.jpg", "digit.png", "large.png") for f in (name, str(expected.argmax()))
    ]


def test_dark_ink_on_light_paper_is_noticed_and_inverted(images, command, digits, trained):
    pixels = digits.X_test[0].reshape(28, 28)
    images.fromarray(255 - pixels).save("paper.png")
    ink = np.zeros((28, 28, 4), np.uint8)
    ink[..., 3] = pixels  # black ink on nothing
    images.fromarray(ink).save("clear.png")
    expected = trained.predict_proba(digits.X_test[:1])
    P, err = proba(command, "model.npz", "paper.png", "--invert")
    np.testing.assert_array_equal(P, expected)
    assert err == ""
    P, err = proba(command, "model.npz", "paper.png", "--as-is")
    assert err.startswith("paper.png has a light border; for dark ink on light paper give --invert\n")
    assert not np.array_equal(P, expected)
    P, err = proba(command, "model.npz", "clear.png", "--invert")
    np.testing.assert_array_equal(P, expected)
    assert err == "clear.png (28 x 28 RGBA) made grey and 28 x 28\n"


@pytest.mark.parametrize("kind", ["scaled", "standardised"])
def test_a_model_of_inputs_up_to_1_is_given_pixels_in_that_range(images, command, digits, kind):
    unit = digits.X_test[:1] / np.float32(255)
    known = {"mean": np.full(784, 0.13), "std": np.full(784, 0.31)} if kind == "standardised" else {}
    model = random_model((784, 10), scale=1.0 if known else 3.0, image_shape=(28, 28), **known)
    model.save("unit.npz")
    P, err = proba(command, "unit.npz", "digit.png")
    np.testing.assert_allclose(P, model.predict_proba(unit), atol=1e-5)
    assert err.startswith("pixels of 0 to 255 are put between 0 and 1, which the model was trained on\n")


@pytest.mark.parametrize(("black", "white"), [(0, 1), (-1, 1), (-0.42, 2.82), (0, 65535)])
def test_pixels_are_put_in_the_range_of_the_training_images(images, command, digits, black, white):
    X = (digits.X / np.float32(255) * (white - black) + black).astype("f4")
    data = fastmlp.Dataset("unit", X, digits.y, X[:1], digits.y[:1], digits.classes, "unit", (28, 28))
    model = fastmlp.fit(data, hidden=(), steps=1).model
    model.save("unit.npz")
    P, err = proba(command, "unit.npz", "digit.png")
    expected = model.predict_proba((digits.X_test[:1] / np.float32(255) * (white - black) + black).astype("f4"))
    np.testing.assert_allclose(P, expected, atol=1e-4)
    assert err == f"pixels of 0 to 255 are put between {black:.5g} and {white:.5g}, which the model was trained on\n"


@pytest.mark.parametrize("suffix", IMAGE.suffixes)
def test_images_of_every_kind_are_read(images, command, digits, trained, suffix):
    images.fromarray(digits.X_test[0].reshape(28, 28)).convert("1" if suffix == ".pbm" else "L").save(f"d{suffix}")
    P, _ = proba(command, "model.npz", f"d{suffix}")
    assert P.argmax() == trained.predict(digits.X_test[:1])[0]
    Path(f"d{suffix}").rename("nameless")
    np.testing.assert_array_equal(proba(command, "model.npz", "nameless")[0], P)  # known by its content


def test_blank_images_several_in_a_file_and_numbers_of_32_bits_are_refused(images, command, digits):
    images.new("RGBA", (28, 28)).save("clear.png")
    images.new("L", (28, 28), 200).save("page.png")
    grey = images.fromarray(digits.X_test[0].reshape(28, 28))
    grey.save("two.tif", save_all=True, append_images=[grey])
    images.fromarray(digits.X_test[0].reshape(28, 28) / np.float32(255)).save("real.tif")
    for name, message in {
        "clear.png": "is blank, all its pixels are 0; what is transparent is taken for paper",
        "page.png": "is blank, all its pixels are 200\n",
        "two.tif": "holds 2 images; it must hold one",
        "real.tif": "has pixels of 32 bits; they must have 8 or 16",
    }.items():
        one_line(command(predict, "model.npz", name), 2, f"{name}: {message}")


def test_bad_pictures_are_one_line(images, command):
    Path("text.png").write_text("no picture")
    Path("half.png").write_bytes(Path("digit.png").read_bytes()[:150])
    random_model((784, 10)).save("table.npz")
    header = bytearray(Path("digit.png").read_bytes())
    header[16:24] = (60_000).to_bytes(4, "big") * 2  # a width and height that nothing bears out
    import zlib

    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    Path("vast.png").write_bytes(header)
    images.new("L", (9000, 6000)).save("large.png")
    for arguments, message in [
        (["model.npz", "nowhere.png"], "nowhere.png: no such file"),
        (["model.npz", "digit.png", "text.png"], "text.png: not a readable image"),
        (["model.npz", "half.png"], "half.png: not a readable image"),
        (["model.npz", "vast.png"], "vast.png: "),
        (["model.npz", "large.png"], "large.png: is 9000 x 6000 pixels; it must have at most 50,000,000"),
        (["table.npz", "digit.png"], "digit.png: is an image; the inputs of this model are not known to be one"),
    ]:
        one_line(command(predict, *arguments), 2, message)


def test_without_pillow_images_say_what_to_install(images, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.ImageOps", None)
    one_line(command(predict, "model.npz", "digit.png"), 2, "[images]'")


# -- export ----------------------------------------------------------------------------------------------------------

SAMPLES = np.random.default_rng(5).normal(2000, 10, (300, 12)).astype("f4")
STANDARD = {"mean": SAMPLES.mean(0, "float64"), "std": SAMPLES.std(0, "float64")}
MODELS = {
    "scaled": lambda: random_model((12, 20, 5), scale=1 / 2000),
    "without biases": lambda: random_model((12, 20, 5), scale=1 / 2000, bias=False),
    "standardised": lambda: random_model((12, 20, 5), **STANDARD),
    "standardised without biases": lambda: random_model((12, 20, 5), bias=False, **STANDARD),
    "one layer": lambda: random_model((12, 3), ("a", "b,", 'c"'), scale=1 / 2000),
    "deep": lambda: random_model((12, 9, 8, 7, 6), **STANDARD),
    "float64": lambda: random_model((12, 20, 5), dtype="float64", scale=1 / 2000),
    "float64 standardised": lambda: random_model((12, 20, 5), dtype="float64", **STANDARD),
}


UNITS = {"float32": 1, "float64": 2.0**-29}  # of a rounding, in those of float32


def rounding_bound(model, X):
    """The most that two orders of computing X's logits in float32 can differ: K terms err by K u sum |x w| each."""
    u, Y, error = 2.0**-24, X.astype("float64"), 0.0
    for W, b in model.folded_layers():
        error = error @ abs(W) if np.ndim(error) else 0.0
        error = error + (len(W) + 3) * u * (abs(Y) @ abs(W) + abs(b))
        Y = np.maximum(Y @ W + b, 0)
    return 2 * error


def exact_logits(model, X):
    """Logits in float64 by the definition."""
    Y = X.astype("float64")
    Y = Y * model.scale if model.mean is None else (Y - model.mean) / model.std
    for k, (W, b) in enumerate(model.network.layers):
        Y = (np.maximum(Y, 0) if k else Y) @ W.astype("float64") + (0 if b is None else b)
    return Y


@pytest.mark.parametrize("name", MODELS)
def test_onnx_runtime_gives_the_models_classes_and_probabilities(name):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model = MODELS[name]()
    session = runtime.InferenceSession(onnx_model(model).SerializeToString())
    classes, P = session.run(["class", "probabilities"], {"X": SAMPLES})
    np.testing.assert_array_equal(classes, model.class_indices(SAMPLES))
    assert P.dtype == model.network.dtype
    # A probability moves less than the logits; exp, the sum and the quotient have a rounding a class and some more.
    bound = rounding_bound(model, SAMPLES).max() + (len(model.classes) + 8) * 2.0**-24
    np.testing.assert_allclose(P, model.predict_proba(SAMPLES), rtol=0, atol=bound * UNITS[model.network.dtype.name])


@pytest.mark.parametrize("form", ["dense", "sparse", "standardised"])
def test_values_beyond_the_models_range_are_refused(form):
    """Of -1e300 the first layer would make zeros, and of these a class with a finite probability."""
    options = {"mean": np.zeros(12), "std": np.ones(12)} if form == "standardised" else {}
    model = random_model((12, 20, 5), **options)
    X = np.where(np.arange(12) == 3, -1e300, 1.0)[None]
    X = kernels.csr(X) if form == "sparse" else X
    for method in (model.predict, model.predict_proba):
        with pytest.raises(InputError, match="beyond the range of float32"):
            method(X)


def test_an_onnx_file_says_what_it_is():
    onnx = pytest.importorskip("onnx")
    model = random_model((6, 3), ("a", "b,", 'c"'), image_shape=(2, 3), columns=tuple("uvwxyz"))
    made = onnx.load_from_string(onnx_model(model).SerializeToString())
    assert (made.opset_import[0].version, made.ir_version) == (17, 8)
    assert (made.producer_name, made.producer_version) == ("fastmlp", fastmlp.__version__)
    known = {prop.key: json.loads(prop.value) for prop in made.metadata_props}
    assert known == {
        "classes": ["a", "b,", 'c"'], "image_shape": [2, 3], "columns": list("uvwxyz"), "range": [0, 1],
        "polarity": "light on dark",
    }  # fmt: skip


def test_an_onnx_file_says_what_it_eats(digits, rng):
    onnx = pytest.importorskip("onnx")

    def said(model, **options):
        made = onnx.load_from_string(onnx_model(model, **options).SerializeToString())
        assert made.graph.doc_string == made.doc_string
        return made.doc_string, {prop.key: json.loads(prop.value) for prop in made.metadata_props}

    model = fastmlp.fit(digits, hidden=(), steps=1).model
    words, known = said(model)
    assert words == (
        "X are grey images of 28 x 28 pixels: float32 [N, 784], row by row, black 0, white 255, light on a dark "
        f"ground. The ink's longer side is {model.framing.box:g} pixels, its centre of mass in the middle. Classes: 0, "
        "1, 2, 3, 4, 5, 6, 7, 8, 9."
    )
    assert (known["range"], known["polarity"]) == ([0, 255], "light on dark")
    assert "uint8 [N, 28, 28], black 0, white 255, light" in said(model, uint8=True)[0]
    X = (1 - digits.X / np.float32(255)) * 2 - 1
    paper = fastmlp.Dataset("paper", X, digits.y, X[:9], digits.y[:9], digits.classes, "paper", (28, 28))
    words, known = said(fastmlp.fit(paper, hidden=(), steps=1).model)
    assert "black -1, white 1, dark on a light ground. Classes" in words
    assert (known["range"], known["polarity"]) == ([-1, 1], "dark on light")
    table = rng.normal(size=(50, 3)) * (1, 10, 1000)
    columns, y = ("width", "height", "weight"), np.arange(50) % 2
    data = fastmlp.Dataset("table", table, y, table, y, ("no", "yes"), "table", columns=columns)
    words, known = said(fastmlp.fit(data, hidden=(), steps=1).model)
    assert words.startswith(
        "X are the 3 features of a table as they come: float32 [N, 3], in the order width, height, weight."
    )
    assert words.endswith("Classes: no, yes.")
    np.testing.assert_array_equal(known["range"], np.stack((table.min(0), table.max(0)), 1))
    assert "polarity" not in known


@pytest.mark.parametrize(("black", "white"), [(0, 255), (0, 1), (-1, 1), (255, 0)])
def test_onnx_runtime_takes_pixels_and_gives_names(black, white, digits, tmp_path, succeeds):
    """Of images of any range; where most pixels are far from 0, mean and deviation are nodes, too."""
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    X = (digits.X / np.float32(255) * (white - black) + black).astype("u1" if abs(white - black) == 255 else "f4")
    data = fastmlp.Dataset("x", X, digits.y, X[:9], digits.y[:9], names, "x", (28, 28))
    model = fastmlp.fit(data, epochs=3).model
    assert (model.mean is not None) == (black in (-1, 255))
    model.save(tmp_path / "model.npz")
    out = succeeds(export, tmp_path / "model.npz", tmp_path / "model.onnx", "--uint8").out
    assert out.count("\n") == 1
    pixels = (digits.X_test if white > black else 255 - digits.X_test).reshape(-1, 28, 28)
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    label, P = session.run(["label", "probabilities"], {"X": pixels})
    rows = pixels.reshape(len(pixels), -1) / np.float32(255)
    wanted = model.predict_proba(rows * (abs(white - black)) + min(black, white))
    # 784 terms of at most 10 in all are added in another order: some 784 roundings of 2^-24.
    np.testing.assert_allclose(P, wanted, rtol=0, atol=1e-4)
    sure = np.sort(wanted)[:, -1] > np.sort(wanted)[:, -2] + 2e-4
    assert label[sure].tolist() == [names[k] for k in wanted[sure].argmax(1)]
    assert sure.mean() > 0.95
    from_usage = eval(out.partition("use it with ")[2], {"onnxruntime": runtime, "X": pixels})
    np.testing.assert_array_equal(from_usage[0], label)


@pytest.mark.parametrize(
    ("out", "message"), [("m.onnx", "are not known to be images"), ("m.pt", "only an .onnx file can")]
)
def test_pixels_go_into_onnx_files_of_models_of_images(out, message, here, command):
    random_model((4, 3)).save("model.npz")
    one_line(command(export, "model.npz", out, "--uint8"), 2, message)
    assert not Path(out).exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("name", MODELS)
def test_the_line_that_export_prints_makes_the_network_in_torch(name, suffix, tmp_path, command):
    torch = pytest.importorskip("torch")
    names = {"torch": torch}
    if suffix == ".safetensors":
        names["safetensors"] = pytest.importorskip("safetensors")
        pytest.importorskip("safetensors.torch")
    model = MODELS[name]()
    model.save(tmp_path / "model.npz")
    code, out, err = command(export, tmp_path / "model.npz", tmp_path / f"model{suffix}")
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert f"model{suffix}: 12 inputs, {len(model.classes)} classes; " in out
    exec(out.partition("use it with ")[2], names)
    parameters = names["net"].state_dict()
    double = model.network.dtype == "float64" or model.mean is not None
    dtype = torch.float64 if double else torch.float32
    assert {tensor.dtype for tensor in parameters.values()} == {dtype}
    with torch.no_grad():
        logits = names["net"](torch.from_numpy(SAMPLES).to(dtype)).numpy()
    bound = rounding_bound(model, SAMPLES) * (2.0**-29 if double else 1)
    assert (abs(logits - exact_logits(model, SAMPLES)) <= bound).all()


def test_safetensors_holds_torchs_names_layout_and_the_classes(tmp_path, command):
    library = pytest.importorskip("safetensors")
    model = random_model((4, 3, 2), ("yes", "no"))
    model.save(tmp_path / "model.npz")
    assert command(export, tmp_path / "model.npz", tmp_path / "model.safetensors")[0] == 0
    with library.safe_open(tmp_path / "model.safetensors", "numpy") as file:
        assert sorted(file.keys()) == ["0.bias", "0.weight", "2.bias", "2.weight"]
        np.testing.assert_array_equal(file.get_tensor("0.weight"), model.network.layers[0][0].T)
        assert json.loads(file.metadata()["classes"]) == ["yes", "no"]


def test_what_cannot_be_exported_is_one_line_and_leaves_the_file_that_was_there(place, command, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("safetensors")
    Path("old.onnx").write_text("old")
    Path("directory.onnx").mkdir()
    one_line(
        command(export, "model.npz", "model.h5"), 2, "model.h5: unknown format; it must end in .onnx, .safetensors, .pt"
    )
    one_line(command(export, "nowhere.npz", "old.onnx"), 2, "nowhere.npz: no such file")
    one_line(command(export, "model.npz", "lost/model.onnx"), 1, "lost/model.onnx: cannot be written (No such file or")
    one_line(command(export, "model.npz", "directory.onnx"), 1, "directory.onnx: cannot be written (Is a directory)")
    for package, suffix, remedy in [
        ("onnx", "onnx", "[export]'"),
        ("safetensors.numpy", "safetensors", "[export]'"),
        ("torch", "pt", "pip install torch"),
    ]:
        monkeypatch.setitem(sys.modules, package, None)
        one_line(command(export, "model.npz", f"old.{suffix}"), 2, remedy)
    assert Path("old.onnx").read_text() == "old"
    assert sorted(path.name for path in Path().iterdir()) == ["digits.npz", "directory.onnx", "model.npz", "old.onnx"]


# -- doctor ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def examine(python, tmp_path):
    """Run the doctor in a process and cache of its own; returns (exit code, findings by topic, stderr)."""

    def run(*arguments, path=(), **env):
        where = os.pathsep.join([*map(str, path), str(ROOT)])
        env = {"FASTMLP_CACHE": str(tmp_path / "cache"), "FASTMLP_DATA": "", **env, "PYTHONPATH": where}
        result = python("-m", "fastmlp.doctor", "--json", *arguments, code=None, env=env)
        findings = {}
        for finding in json.loads(result.stdout)["findings"]:
            findings.setdefault(finding["topic"], []).append(finding)
        return result.returncode, findings, result.stderr

    return run


def test_a_sound_machine_has_no_problem(command, as_json):
    code, out, err = command(doctor)
    levels = {line.split()[0] for line in out.splitlines()}
    assert (code, err) == (0, ""), out
    assert "ok" in levels <= {"ok", "note"}
    result = as_json(doctor)
    topics = {finding["topic"]: finding for finding in result["findings"]}
    assert result["problems"] == 0
    assert topics["numpy"]["text"] == np.__version__
    assert topics["simd"]["text"].startswith(f"{fastmlp.backend.kernels.simd.REGISTERS} registers of ")
    threads = str(fastmlp.backend.kernels.get_num_threads())
    assert set(topics["peak"]["values"]) == {"float32", "float64"}
    assert topics["peak"]["values"]["float32"].keys() == {"1", threads}
    assert topics["peak"]["values"]["float32"]["1"] > 1


@pytest.mark.parametrize(
    ("affinity", "available", "count", "levels", "cores", "threads"),
    [
        (4, 4, 4, ["ok", "ok"], "4, all for this process", "neither OpenMP nor TBB"),
        (2, 2, 1, ["note", "ok"], "2 of 4 for this process, by its affinity mask", "neither OpenMP nor TBB"),
        (4, 2, 3, ["note", "note"], "2 of 4 for this process, by its control group's quota", "the cores there are"),
    ],
    ids=["all", "affinity", "quota"],
)
def test_what_limits_the_cores_is_said(monkeypatch, affinity, available, count, levels, cores, threads):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(affinity)), raising=False)
    monkeypatch.setattr("kernels.cores.available_cores", lambda: available)
    with fastmlp.backend.kernels.threads(count):
        found = list(doctor._threads(fastmlp.backend.kernels))
    assert [each.level for each in found] == levels
    assert found[0].text == cores
    assert found[1].text.startswith(f"{count}, set by ")
    assert found[1].text.endswith(threads)


def test_another_kernels_package_is_diagnosed(examine, tmp_path):
    foreign = tmp_path / "foreign" / "kernels"
    foreign.mkdir(parents=True)
    for source in ("def get_kernel(name): ...\n", "import nowhere\n"):
        (foreign / "__init__.py").write_text(source)
        code, found, err = examine(path=[foreign.parent])
        assert (code, err) == (1, "")
        assert found["kernels"][0]["level"] == "problem"
        assert found["numba"][0]["level"] == "ok"
        if "nowhere" in source:
            assert "No module named 'nowhere'" in found["kernels"][0]["text"]
        else:
            assert f"another package at {foreign}" in found["kernels"][0]["text"]
            assert "pip uninstall kernels" in found["kernels"][0]["remedy"]


@pytest.mark.parametrize(
    ("variables", "topic", "level", "texts"),
    [
        ({"NUMBA_DISABLE_JIT": "1"}, "kernels", "problem", ["NUMBA_DISABLE_JIT is set"]),
        ({"FASTMLP_NUM_THREADS": "abc"}, "kernels", "problem", ["must be an integer from 1 to 1024, not 'abc'"]),
        ({"FASTMLP_DATA": "/nowhere"}, "mnist", "problem", ["it must be a directory"]),
        (
            {"OMP_NUM_THREADS": "1"},
            "threads",
            "ok",
            [f"1, set by {'OMP_NUM_THREADS' if available_cores() > 1 else 'the cores'}"],
        ),
        (
            {"FASTMLP_THREADS": "2", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "NUMBA_CPU_NAME": "generic"},
            "variable",
            "note",
            [
                "FASTMLP_THREADS=2 is not known",
                "OMP_NUM_THREADS=2 limits the kernels' threads",
                "does not concern the kernels",
                "may change the compiled code",
            ],
        ),
    ],
    ids=["no JIT", "threads", "data", "one thread", "of others"],
)
def test_variables_that_stand_in_the_way(examine, variables, topic, level, texts):
    code, found, err = examine(**variables)
    assert (code, err) == (level == "problem", "")
    assert level != "problem" or sum(each["level"] == level for findings in found.values() for each in findings) == 1
    for text in texts:
        assert any(finding["level"] == level and text in finding["text"] for finding in found[topic]), text


def test_a_cache_that_cannot_be_used_is_a_problem(empty_cache, monkeypatch, command, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTMLP_CACHE", str(tmp_path / "file"))
    code, out, err = command(doctor, "--json")
    found = [finding for finding in json.loads(out)["findings"] if finding["topic"] == "cache"]
    assert (code, err) == (1, "")
    assert found[0]["level"] == "problem"
    assert "set FASTMLP_CACHE" in found[0]["remedy"]


def test_clean_deletes_other_versions_and_nothing_else(examine, tmp_path):
    kernels = tmp_path / "cache" / "kernels"
    stale, foreign = kernels / ("0123456789ab" * 2), kernels / "linux-6.1"
    for directory in (stale, foreign):
        directory.mkdir(parents=True)
        (directory / "x.kernel").write_bytes(bytes(1000))
    code, found, _ = examine()
    assert (code, found["stale"][0]["level"]) == (0, "note")
    assert found["stale"][0]["values"] == {"directories": 1, "bytes": 1000}
    assert stale.exists()
    code, found, _ = examine("--clean")
    assert (code, found["stale"][0]["level"]) == (0, "ok")
    own = Path(found["cache"][0]["values"]["directory"])
    assert found["cache"][0]["values"]["entries"] == len(list(own.glob("*.kernel"))) > 0
    assert not stale.exists()
    assert foreign.exists()


def test_a_check_that_fails_is_a_finding(command, monkeypatch):
    def broken():
        raise RuntimeError("two\nlines")
        yield

    monkeypatch.setattr(doctor, "_mnist", broken)
    code, out, err = command(doctor)
    assert (code, err) == (1, "")
    assert out.splitlines()[-1] == "problem mnist    the check failed (RuntimeError: two lines); report this"


def test_the_doctor_knows_the_extras_of_the_project():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in ("test", "peers", "table_peers", "dev"):  # for those who develop it
        del declared[extra]
    assert {name: tuple(p.partition(">")[0] for p in packages) for name, packages in declared.items()} == doctor.EXTRAS


def test_with_json_stdout_is_one_object_that_says_what_the_lines_say(place, command, trained, digits, as_json):
    np.savetxt("new.csv", digits.X_test[:3], "%d", ",")
    predicted = command(predict, "model.npz", "new.csv")[1].split()
    first, second = as_json(predict, "model.npz", "new.csv", "digits.npz", "--proba")["files"]
    assert (first["file"], first["predictions"]) == ("new.csv", predicted)
    assert first["probabilities"] == trained.predict_proba(digits.X_test[:3]).tolist()
    assert len(second["predictions"]) == len(digits.X)
    random_model((784, 5, 10), image_shape=(28, 28), framing=Framing(20, 20, 1)).save("images.npz")
    code, out, err = command(export, "images.npz", "page.html", "--json")
    assert (code, err) == (0, "")
    assert (json.loads(out)["file"], json.loads(out)["inputs"]) == ("page.html", 784)


# -- warmup, and all ---------------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_after_warmup_no_command_compiles(python, place, digits):
    rng = np.random.default_rng(0)
    np.savez("table.npz", X=rng.standard_normal((900, 30)).astype("f4"), y=np.arange(900) % 3)
    np.savez("numbers.npz", X=rng.standard_normal((200, 30)).astype("f4"), y=rng.standard_normal(200))
    np.savez("images.npz", X=digits.X.reshape(-1, 28, 28), y=digits.y)
    Path("wide.svm").write_text("".join(f"{k % 3} {k + 1}:1.5 {70_000 + k}:0.1\n" for k in range(900)))
    env = {"FASTMLP_CACHE": str(place / "cache"), "FASTMLP_DATA": ""}

    def kept():
        return {path.name for path in (place / "cache" / "kernels").glob("*/*.kernel")}

    def run(*arguments):
        result = python("-m", "fastmlp", *arguments, env=env)
        return result.stdout

    out = run("warmup")
    compiled = kept()
    assert out.startswith(f"{len(compiled)} functions compiled in ")
    run("warmup", "--optimizer", "adam")
    compiled = kept()
    augmented = ("--augment", "affine", "--clip-norm", "1", "--dropout", "0.1", "--label-smoothing", "0.1")
    for data, options in [
        ("images.npz", ()),
        ("images.npz", ("--input", "dense", *augmented)),
        ("table.npz", ()),
        ("numbers.npz", ()),
        ("table.npz", ("--input", "sparse", "--standardize", "no", "--optimizer", "adam", "--validation", "0.1")),
        ("wide.svm", ("--patience", "2")),
    ]:
        out = run("train", "--data", data, *options, "--epochs", "2", "--out", "run", "--json")
        assert json.loads(out)["compile_seconds"] < 0.5
        run("evaluate", "run/model.npz", "--data", data)
        run("predict", "run/model.npz", data)
    assert kept() == compiled
    assert json.loads(run("warmup", "--json"))["compiled"] == 0


def test_the_cache_is_counted_and_without_one_warmup_is_refused(command, monkeypatch, tmp_path):
    for name in ("losses.softmax-1.kernel", "losses.softmax-2.kernel", "losses.launch-1.kernel", "lock"):
        (tmp_path / name).write_bytes(b"code")
    monkeypatch.setattr(kernels.jit.store(), "directory", tmp_path)
    assert kernels.cache_info() == (tmp_path, 3, 12, 2)
    monkeypatch.setattr(kernels.jit.store(), "directory", None)
    assert kernels.cache_info() == (None, 0, 0, 0)
    one_line(command(warmup), 1, "there is no cache directory to keep compiled kernels in; set FASTMLP_CACHE to one")


@pytest.mark.parametrize("verb", ["train", "evaluate", "predict", "report", "export", "doctor", "warmup", "bench"])
def test_help_needs_neither_numba_nor_numpy(python, verb):
    code = (
        f"import sys; sys.argv = ['x', '--help']\nimport fastmlp.{verb} as verb\n"
        "try: verb.main()\nexcept SystemExit as end: code = end.code\n"
        "assert code == 0 and not {'numba', 'numpy', 'matplotlib'} & {*sys.modules}, sorted(sys.modules)"
    )
    result = python(code)
    assert "example:" in result.stdout
    assert result.stderr == ""
