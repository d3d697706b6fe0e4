"""Numbers to predict: from a table on the command line to the files that other libraries read."""

import html
import json
from pathlib import Path

import numpy as np
import pytest
from lines import one_line

import fastmlp
import kernels
from fastmlp import evaluate, export, predict, report, train
from fastmlp.config import LOSSES, loss_and_parameters
from fastmlp.errors import InputError
from fastmlp.models.loading import model_from
from fastmlp.models.target import kernel_of, number_scores, scored

QUICK = ("--hidden", 16, "--epochs", 3, "--batch-size", 32)


def house(n=400, seed=0):
    """X [N, 3] of unlike scales, and y about 200,000 +- 50,000."""
    rng = np.random.default_rng(seed)
    X = rng.random((n, 3)) * [1, 100, 5]
    return X, 200_000 + 1500 * (X[:, 1] - 50) + 20_000 * np.sin(X[:, 2]) + rng.standard_normal(n) * 3000


def write_csv(path, X, y, names="a,b,c,price"):
    rows = (",".join(f"{value:.10g}" for value in (*x, t)) for x, t in zip(X, y))
    path.write_text("\n".join([names, *rows]) + "\n")


@pytest.fixture
def place(here):
    """A working directory with a table of houses, and its numbers."""
    X, y = house()
    write_csv(here / "houses.csv", X, y)
    return X, y


def test_a_table_of_numbers_is_learnt_tested_and_predicted_in_its_own_units(place, as_json, succeeds):
    X, y = place
    out, err = succeeds(train, "--data", "houses.csv", "--out", "run", "--json")
    assert "predicted as numbers (--task classification makes classes of them)" in err
    measured = json.loads(out)
    assert {"test_rmse", "test_mae", "test_r2", "test_loss", "train_loss"} < set(measured)
    assert not any("accuracy" in key for key in measured)
    assert measured["test_r2"] > 0.97  # the noise alone leaves 0.995
    assert measured["test_rmse"] < 10_000
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert sorted(line["network"] for line in lines) == [1, 2, 3, 4, 5, 6, 7, 8]
    means = {
        key: np.mean([line[key] for line in lines]) for key in ("validation_rmse", "validation_loss", "train_loss")
    }
    assert means == {key: pytest.approx(measured[key]) for key in means}
    again = as_json(evaluate, "run")
    assert {key: again[key] for key in ("test_rmse", "test_mae", "test_r2")} == {
        key: pytest.approx(measured[key], rel=1e-6) for key in ("test_rmse", "test_mae", "test_r2")
    }
    out = succeeds(evaluate, "run").out
    assert out.startswith(f"test RMSE {measured['test_rmse']:.4g}, R² {measured['test_r2']:.3f}, MAE ")
    out, err = succeeds(predict, "run", "houses.csv")
    predicted = np.array(out.split(), float)
    assert predicted.shape == y.shape
    assert number_scores(y, predicted)["r2"] > 0.97
    model = fastmlp.load_model("run")
    # The file has float32.
    np.testing.assert_allclose(model.predict(X), predicted, rtol=100 * np.finfo(np.float32).eps)
    loss, r2 = model.evaluate(X, y)
    assert r2 == pytest.approx(number_scores(y, predicted)["r2"], rel=1e-6)
    assert loss == pytest.approx(0.5 * np.square((predicted - y) / model.target.std[0]).mean(), rel=1e-5)


def test_numbers_far_from_zero_are_printed_to_their_last_bits(here, as_json, succeeds):
    """1e9 and 3 apart: with nine digits half of the rows were 1e+09."""
    X, y = house(60)
    write_csv(here / "far.csv", X, 1e9 + (y - y.mean()) / y.std() * 3)
    succeeds(train, "--data", "far.csv", "--label-column", "price", *QUICK, "--out", "run")
    printed = np.array(succeeds(predict, "run", "far.csv").out.split(), float)
    (file,) = as_json(predict, "run", "far.csv")["files"]
    np.testing.assert_allclose(printed, file["predictions"], rtol=0, atol=1e-7)
    assert len({*printed.tolist()}) == 60


def test_epoch_lines_and_the_result_say_rmse_and_r2(place, command):
    _, out, err = command(train, "--data", "houses.csv", "--out", "run", *QUICK)
    assert out.startswith("test RMSE ")
    assert ", R² " in out
    assert "MAE" in out
    assert err.count("test RMSE ") == 3
    assert "%" not in err.partition("epoch")[2]
    _, out, _ = command(train, "--data", "houses.csv", "--out", "seeds", "--seeds", 2, *QUICK)
    assert out.splitlines()[-1].startswith("test RMSE ")
    assert " ± " in out.splitlines()[-1]


def test_a_run_goes_on_to_the_bits_of_one_that_never_stopped(place, command, as_json):
    whole = as_json(train, "--data", "houses.csv", "--out", "whole", "--steps", 30, "--hidden", 16)
    command(train, "--data", "houses.csv", "--out", "part", "--steps", 30, "--hidden", 16)
    data = fastmlp.load("houses.csv", say=lambda line: None)
    config = fastmlp.TrainConfig(data="houses.csv", steps=30, hidden=(16,))
    again = fastmlp.fit(data, config, checkpoint="part/checkpoint.npz", resume=True)
    assert again.summary["weights_sha256"] == whole["weights_sha256"]
    assert type(again.history[0]).__name__ == "NumbersReport"


@pytest.mark.parametrize(("monitor", "best"), [("validation_r2", max), ("validation_rmse", min), ("train_loss", min)])
def test_early_stopping_watches_what_is_measured_of_numbers(place, monitor, best):
    X, y = place
    result = fastmlp.fit(X, y, epochs=60, patience=3, monitor=monitor, lr=0.05, schedule="constant", hidden=(16,))
    values = [getattr(report, monitor) for report in result.history]
    first = values.index(best(values))
    assert result.summary["best_epoch"] == result.history[first].epoch
    assert result.summary["test_r2"] == result.history[first].test_r2


def test_a_rate_is_found_for_numbers_too(place, succeeds):
    run = ("--data", "houses.csv", "--out", "run", "--find-lr", "--steps", 50, "--hidden", 16)
    assert succeeds(train, *run).out.startswith("suggested --lr ")
    out, err = succeeds(train, *run, "--json")
    found = json.loads(out)
    assert {*found} == {"suggestion", "rates", "losses", "trials"}
    assert len(found["rates"]) == len(found["losses"]) > 20
    assert found["suggestion"] in [trial["rate"] for trial in found["trials"]]
    assert ": held-out loss " in err
    assert "RMSE" in err


def test_a_report_draws_predictions_residuals_and_errors_by_decile(place, command, succeeds):
    pytest.importorskip("matplotlib")
    command(train, "--data", "houses.csv", "--out", "run", *QUICK)
    names = [line.rpartition("/")[2] for line in succeeds(report, "run").out.split()]
    assert names == [
        "learning-curves.png", "predicted.png", "residuals.png", "deciles.png", "importance.png", "report.html"
    ]  # fmt: skip
    page = Path("run/report/report.html").read_text()
    for words in (
        "Predicted against true",
        "Residuals",
        "nine of ten by",
        "Error by true number",
        "each of 4 parts",
        "R²",
    ):
        assert words in page
    assert html.escape("predicts 'price' of the 40 test samples") in page
    assert "confusion" not in page.lower()
    assert "classif" not in page.partition("Settings")[0]


@pytest.mark.parametrize("loss", ["squared_error", "gamma", "quantile:0.1,0.5,0.9", "huber:0.5"])
def test_what_is_exported_predicts_what_the_command_predicts(place, command, loss):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    tensors = pytest.importorskip("safetensors.numpy")
    X, _ = place
    assert command(train, "--data", "houses.csv", "--out", "run", "--loss", loss, *QUICK)[0] == 0
    _, out, _ = command(predict, "run", "houses.csv")
    expected = np.array([line.split(",") for line in out.split()], float)
    assert expected.shape == (400, 3 if "quantile" in loss else 1)
    for suffix in ("onnx", "safetensors"):
        _, out, _ = command(export, "run", f"model.{suffix}")
        assert f"model.{suffix}: 3 inputs, numbers ({loss}); use it with " in out
    (predicted,) = runtime.InferenceSession("model.onnx").run(["prediction"], {"X": X.astype(np.float32)})
    # Inputs are rounded to float32 here, and sums of 16 terms have another order: some dozens of roundings.
    np.testing.assert_allclose(predicted.reshape(expected.shape), expected, rtol=100 * np.finfo(np.float32).eps)
    layers, Z = tensors.load_file("model.safetensors"), X
    Z = np.maximum(Z @ layers["0.weight"].T + layers["0.bias"], 0) @ layers["2.weight"].T + layers["2.bias"]
    Y = np.exp(Z) if loss == "gamma" else np.sort(Z, axis=1)
    np.testing.assert_allclose(Y, expected, rtol=100 * np.finfo(np.float32).eps)


def test_quantiles_hold_their_shares(place, command):
    _, y = place
    command(train, "--data", "houses.csv", "--out", "run", "--loss", "quantile:0.1,0.9")
    head = command(predict, "run", "houses.csv", "--keep", "2")[1].splitlines()[0]
    assert head.endswith(",quantile 0.1,quantile 0.9")
    low, high = np.array([line.split(",") for line in command(predict, "run", "houses.csv")[1].split()], float).T
    assert (low <= high).all()
    assert 0.7 < ((low <= y) & (y <= high)).mean() < 0.95  # 0.8, of few samples learnt with 5 % dropout


def test_samples_on_disk_give_the_bits_of_those_in_memory(here, as_json):
    X, y = house(2000)
    X = np.tile(X, (1, 30)).astype(np.float32)
    (here / "data").mkdir()
    np.save("data/X.npy", X)
    np.save("data/y.npy", y)
    found = []
    for where in ((), ("--memory", 1)):
        options = ("--data", "data", "--out", "run", "--hidden", 8, "--epochs", 2, *where)
        found.append(as_json(train, *options))
    assert found[0]["test_r2"] > 0.5
    assert found[1]["test_r2"] == pytest.approx(found[0]["test_r2"], abs=0.05)  # other batches, the same samples


BAD = {
    "text": ("a,b,label\n1,2,x\n2,3,y\n3,4,x\n", ("--task", "regression"),
        "'x'; with --task regression it must be a finite"),
    "constant": ("a,b,label\n" + "1,2,7\n2,3,7\n3,5,7\n" * 9, ("--task", "regression"),
        "is 7 in all training rows; it must"),
    "a gap": ("a,b,label\n1,2,1.5\n2,3,\n3,4,2.5\n", ("--task", "regression"), "the label is missing; every row must"),
    "NaN": ("a,b,label\n1,2,1.5\n2,3,nan\n3,4,2.5\n", ("--task", "regression"), "the label is missing; every row must"),
    "NA": ("a,b,label\n1,2,1.5\n2,3,NA\n3,4,2.5\n", ("--task", "regression"), "the others are numbers; it is missing"),
    "an infinity": ("a,b,label\n1,2,1.5\n2,3,inf\n3,4,2.5\n", ("--task", "regression"),
        "the label of line 3 is 'inf', the others are numbers; it is no number"),
    "negative counts": ("a,b,label\n" + "1,2,-3\n2,3,1\n3,5,2\n" * 9, ("--task", "regression", "--loss", "poisson"),
        "the number to predict is -3 in a row; --loss poisson takes numbers of at least 0"),
    "sizes of 0": ("a,b,label\n" + "1,2,0\n2,3,1\n3,5,2\n" * 9, ("--task", "regression", "--loss", "gamma"),
        "the number to predict is 0 in a row; --loss gamma takes numbers above 0"),
    "a loss of classes": (None, ("--loss", "log_loss"),
        "--loss is 'log_loss'; it must be one of softmax_cross_entropy, focal"),
    "a loss with too much": (None, ("--loss", "squared_error:1"),
        "--loss is 'squared_error:1'; parameters are such as"),
    "falling quantiles": (None, ("--loss", "quantile:0.9,0.1"), "quantile:0.1,0.5,0.9, rising from above 0 to below 1"),
    "a loss for classes, of numbers": (None, ("--loss", "focal:2"),
        "--loss focal:2: is of classes; houses.csv has numbers"),
    "a smoothed loss for classes": ("a,b,label\n" + "1,2,x\n2,3,y\n" * 9,
        ("--loss", "focal", "--label-smoothing", "0.1"),
        "--label-smoothing 0.1: goes with --loss softmax_cross_entropy, not with focal"),
    "watched R²": ("a,b,label\n" + "1,2,x\n2,3,y\n" * 9, ("--patience", "3", "--monitor", "validation_r2"),
        "--monitor validation_r2: goes with numbers to predict; of classes it is one of validation_loss, "
        "validation_accuracy"),
    "several columns": (None, ("--label-column", "price,a"),
        "'price,a' is more than one column; a run learns one (fastmlp.M"),
    "a loss for classes": ("a,b,label\n" + "1,2,x\n2,3,y\n" * 9, ("--loss", "huber"),
        "--loss huber: is of numbers to predict"),
    "smoothed": (None, ("--label-smoothing", "0.1"),
        "--label-smoothing 0.1: goes with classes; houses.csv has numbers"),
    "weighted classes": (None, ("--class-weight", "balanced"), "--class-weight balanced: goes with classes"),
    "watched accuracy": (None, ("--patience", "3", "--monitor", "validation_accuracy"),
        "--monitor validation_accuracy: goes"),
    "digits": ("", ("--data", "synthetic", "--task", "regression"),
        "the labels of synthetic are digits, which are classes"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_learnt_is_one_line(place, command, tmp_path, name):
    text, options, message = BAD[name]
    if text:
        (tmp_path / "houses.csv").write_text(text)
    code, out, err = command(train, "--data", "houses.csv", "--out", "run", *QUICK[:2], *options)
    assert (code, out) == (2, "")
    line = err.splitlines()[-1]
    assert line.startswith("fastmlp train: ")
    assert message in line


def test_what_a_model_of_numbers_cannot_do_is_one_line(place, command, tmp_path):
    _, _, err = command(train, "--data", "houses.csv", "--out", "run", *QUICK)
    assert "next: python -m fastmlp.predict run FILE" in err
    message = "--proba: run predicts numbers, which have no probabilities; leave it out (fastmlp train --loss quantile:"
    one_line(command(predict, "run", "houses.csv", "--proba"), 2, message)
    one_line(command(export, "run", "page.html"), 2, "a page to draw on needs a model that was trained on images")
    with pytest.raises(InputError, match="this model predicts numbers; it has no probabilities"):
        fastmlp.load_model("run").predict_proba(np.zeros((1, 3)))
    (tmp_path / "text.csv").write_text("a,b,c,price\n1,2,3,cheap\n1,2,3,dear\n")
    one_line(command(evaluate, "run", "--data", "text.csv"), 2, "the label of row 0 (counted from 0) is 'cheap'")


def test_the_scores_are_those_of_scikit_learn(rng):
    metrics = pytest.importorskip("sklearn.metrics")
    for y in (rng.standard_normal(50), rng.standard_normal((50, 3))):
        p = y + rng.standard_normal(y.shape)
        found = number_scores(y, p)
        assert found["r2"] == pytest.approx(metrics.r2_score(y, p), rel=1e-12)
        assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, p), rel=1e-12)
        assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, p), rel=1e-12)
        counts = rng.integers(0, 4, 50)
        repeated = number_scores(np.repeat(y, counts, axis=0), np.repeat(p, counts, axis=0))
        assert number_scores(y, p, counts.astype(float)) == pytest.approx(repeated, rel=1e-12)
    for same in (np.ones(4), np.full(3, 0.1)):  # the mean of three 0.1 is more
        assert [number_scores(same, p)["r2"] for p in (same, 2 * same)] == [1.0, 0.0]
    assert np.isnan(number_scores(np.where(y == y.max(), np.nan, y), p)["r2"])


def test_the_names_of_the_losses_are_those_of_the_kernels():
    losses = fastmlp.models.target.kernels.LOSSES
    outputs = {"classification": ("softmax",), "regression": ("identity", "exponential")}
    for task, named in LOSSES.items():
        assert set(named) == {name for name, loss in losses.items() if loss.output in outputs[task]}
        assert next(iter(named)) == kernels.losses.loss_of(outputs[task][0], None).name  # the default
        for name in named:
            assert kernel_of(name).name == name
    assert loss_and_parameters("quantile:0.1,0.9") == ("quantile", (0.1, 0.9))


DAMAGED = {
    "no units": (lambda meta, tensors: tensors.pop("target_mean"), "target_mean is missing"),
    "units of another width": (lambda meta, tensors: tensors.update(target_std=np.ones(2)),
        "target_std is missing or not"),
    "no deviation": (lambda meta, tensors: tensors.update(target_std=np.zeros(1)),
        "target_std is not positive everywhere"),
    "another loss": (lambda meta, tensors: meta.update(loss="softmax_cross_entropy"),
        "the loss is 'softmax_cross_entropy'"),
    "no loss": (lambda meta, tensors: meta.update(loss=[1]), r"the loss is '\[1\]', which is none for numbers"),
    "more outputs": (lambda meta, tensors: meta.update(loss="quantile:0.1,0.9"), "do not lead to 2 numbers"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_model_of_numbers_is_refused(name):
    X, y = house(60)
    data = fastmlp.Dataset("houses", X, y, X, y, (), "memory")
    meta, tensors = fastmlp.fit(data, steps=1, hidden=(4,)).model.contents()
    damage, message = DAMAGED[name]
    damage(meta, tensors)
    with pytest.raises(InputError, match=message):
        model_from(meta, tensors, "model.npz")


def test_the_definition_trains_the_same_network_of_numbers():
    X, y = house(200)
    data = fastmlp.Dataset("houses", X, y, X, y, (), "memory")
    fast, slow = (
        fastmlp.fit(data, steps=20, hidden=(8,), backend=backend, dtype="float64") for backend in ("numba", "reference")
    )
    for a, b in zip(fast.model.network.layers, slow.model.network.layers):
        np.testing.assert_allclose(a[0], b[0], rtol=1e-9, atol=1e-12)
    assert fast.summary["test_rmse"] == pytest.approx(slow.summary["test_rmse"], rel=1e-9)


def test_sparse_samples_and_weights_are_for_numbers_too(as_json, here):
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(300):
        columns = np.sort(rng.choice(50, 4, replace=False))
        values = rng.random(4)
        rows.append(f"{10 * values.sum():.4f} " + " ".join(f"{c + 1}:{v:.4f}" for c, v in zip(columns, values)))
    (here / "houses.svm").write_text("\n".join(rows) + "\n")
    measured = as_json(train, "--data", "houses.svm", "--out", "run", "--epochs", 60)
    assert measured["input"] == "sparse"
    assert measured["test_r2"] > 0.5
    X, y = house(100)
    weights = np.where(np.arange(100) < 50, 0.0, 1.0)  # the first fifty count for nothing
    far = np.where(weights > 0, y, y * 100)
    options = {"steps": 5, "hidden": (4,), "standardize": "no", "scale": 0.01}
    data = fastmlp.Dataset("houses", X, far, X, y, (), "memory", sample_weight=weights)
    model = fastmlp.fit(data, **options).model
    assert model.target.mean[0] == pytest.approx(y[50:].mean())
    assert model.target.std[0] == pytest.approx(y[50:].std())
    target = fastmlp.fit(data, loss="gamma", backend="reference", **options).model.target
    assert (target.mean[0], target.std[0]) == (0, pytest.approx(y[50:].mean()))  # the logarithm of y / mean is learnt


def test_a_result_says_that_always_the_mean_would_have_been_better():
    assert scored(2, -0.25, 1) == "RMSE 2, R² -0.250 (always the mean: 0), MAE 1"
    assert scored(2, 0.25, 1) == "RMSE 2, R² 0.250, MAE 1"
