"""Training: both backends alike, the bits alike on any number of threads, and networks that learn."""

import warnings
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numba import typeof

import fastmlp
import kernels
from fastmlp.config import configure
from fastmlp.data import Dataset
from fastmlp.errors import InputError, Interrupted, RunError
from fastmlp.training import loop
from fastmlp.training.batches import Batches
from fastmlp.training.loop import Observer
from fastmlp.training.optimizers import learning_rates
from fastmlp.training.scaling import input_scale


def losses(data, backend, steps=32, **options):
    """The loss of every step."""
    reports = []
    config = configure(backend=backend, steps=steps, evaluate_every=10**9, report_steps=1, **options)
    fastmlp.fit(data, config, observer=Observer(report=lambda report: reports.append(report.train_loss)))
    return np.array(reports)


@pytest.mark.parametrize(
    ("batch", "input", "inputs", "hidden"),
    [*((batch, "sparse", 64, 32) for batch in (1, 100, 128, 300)), (128, "dense", 10, 256), (128, "dense", 1, 32)],
)
def test_warming_up_loads_the_kernels_that_the_run_calls(batch, input, inputs, hidden, rng, monkeypatch):
    """Their types go by the numbers of bytes and of rows, the kernels by the widths; the last batches are short."""
    X = (rng.integers(0, 256, (750, inputs)) * (rng.random((750, inputs)) < 0.2)).astype(np.uint8)
    data = Dataset("", X, np.arange(750) % 5, X[:100], np.arange(100) % 5, tuple("abcde"), "")
    called = []

    def spy(kernel, parts, *args):
        called.append((kernel, *map(typeof, args)))
        return run(kernel, parts, *args)

    run = kernels.mlp.run_in_step
    monkeypatch.setattr(kernels.mlp, "run_in_step", spy)
    monkeypatch.setattr(loop, "_CHUNK_SECONDS", 1e-9)  # a step a call, the last batch of an epoch alone, too
    fastmlp.fit(data, configure(batch_size=batch, epochs=2, input=input, hidden=(hidden,)))
    assert len(called) > 1
    assert all(types == called[0] for types in called)


# At rates where the loss falls: where it climbs, a rounding error grows by a factor a step in any arithmetic.
OPTIMIZERS = [
    {"optimizer": "sgd", "lr": 0.02, "schedule": "constant"},
    {"optimizer": "momentum", "lr": 0.02},
    {"optimizer": "momentum", "lr": 0.005, "nesterov": False, "schedule": "cosine", "weight_decay": 1e-3},
    {"optimizer": "adam", "lr": 1e-3},
    {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.1, "bias": False},
]
OPTIMIZERS += [
    {"optimizer": name, "lr": 1e-3} for name in kernels.RULES if name not in {run["optimizer"] for run in OPTIMIZERS}
]


TOLERANCES = {"float32": 1e-5, "float64": 1e-10}
TRIPLES = [  # every two of an optimizer, layers and a dtype are together in one
    (options, hidden, list(TOLERANCES)[(i + j) % 2])
    for (i, options), (j, hidden) in product(enumerate(OPTIMIZERS), enumerate(((), (64,), (48, 33))))
]


@pytest.mark.parametrize(("options", "hidden", "dtype"), TRIPLES, ids=str)
def test_both_backends_have_the_same_losses(digits, options, hidden, dtype):
    if options["optimizer"] == "lion":
        dtype = "float64"  # a rounding error of float32 turns the sign of a momentum near zero, and its step
    options = {"hidden": hidden, "dtype": dtype, "seed": 3, **options}
    np.testing.assert_allclose(
        losses(digits, "numba", **options), losses(digits, "reference", **options), rtol=TOLERANCES[dtype]
    )


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES.items())
def test_both_backends_have_the_same_losses_on_mnist(mnist, dtype, tolerance):
    options = {"dtype": dtype, "hidden": (256,)}
    np.testing.assert_allclose(losses(mnist, "numba", **options), losses(mnist, "reference", **options), rtol=tolerance)


def test_the_presets_losses_agree_in_its_own_float64(digits):
    options = {"preset": "seed"}
    np.testing.assert_allclose(losses(digits, "numba", **options), losses(digits, "reference", **options), rtol=1e-10)


def test_the_same_seed_gives_the_same_weights_and_another_others(digits):
    first, again, other = (fastmlp.fit(digits, steps=5, seed=seed).summary["weights_sha256"] for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.slow
def test_the_built_in_digits_need_a_hidden_layer():
    data = fastmlp.load("synthetic")
    assert fastmlp.fit(data).summary["test_accuracy"] > 0.97
    linear = [fastmlp.fit(data, hidden=(), epochs=20, lr=lr).summary["test_accuracy"] for lr in (0.003, 0.01, 0.03)]
    assert max(linear) < 0.95


@pytest.mark.slow
def test_the_default_run_passes_98_percent_on_mnist(mnist):
    assert fastmlp.fit(mnist).summary["test_accuracy"] >= 0.98


@pytest.mark.parametrize("optimizer", list(kernels.RULES))
def test_every_optimizer_learns_with_its_default_rate(digits, optimizer):
    assert fastmlp.fit(digits, optimizer=optimizer, epochs=15).summary["test_accuracy"] > 0.85  # of 500; chance is 0.1


def test_a_run_that_diverges_says_so(digits):
    with pytest.raises(RunError, match=r"diverged at step \d+: the loss is not finite; try a lower lr than 1e\+30"):
        fastmlp.fit(digits, lr=1e30)
    with warnings.catch_warnings(action="error"), pytest.raises(RunError, match="diverged at step"):
        fastmlp.fit(digits, lr=1e30, backend="reference")


def test_a_last_step_that_leaves_the_finite_is_seen_too(digits):
    with pytest.raises(
        RunError, match=r"diverged after step 1: the test loss is not finite; try a lower lr than 1e\+38"
    ):
        fastmlp.fit(digits, steps=1, lr=1e38, optimizer="sgd", schedule="constant")
    with pytest.raises(RunError, match="or a lower weight_decay than 1e"):
        fastmlp.fit(digits, weight_decay=1e37, lr=1.0)


@pytest.mark.parametrize("size", [1e-150, 1e-30, 1e30, 1e150])
def test_inputs_of_any_size_train_in_float64(digits, size):
    X, X_test = digits.X * size, digits.X_test * size
    data = Dataset("scaled", X, digits.y, X_test, digits.y_test, digits.classes, "scaled")
    assert fastmlp.fit(data, dtype="float64", epochs=2).summary["test_accuracy"] > 0.5


def test_inputs_too_large_for_float32_or_not_finite_are_refused(digits):
    X = digits.X * 1e40
    data = Dataset("large", X, digits.y, X, digits.y, digits.classes, "large")
    with pytest.raises(InputError, match="large: holds values beyond the range of float32"):
        fastmlp.fit(data)
    with pytest.raises(InputError, match="large: test set: holds values beyond the range of float32"):
        fastmlp.fit(replace(data, X=digits.X))
    X[3, 5] = np.nan
    with pytest.raises(InputError, match="large: training set, row 3 .counted from 0.: holds a NaN"):
        Dataset("large", X, digits.y, X, digits.y, digits.classes, "large")
    with pytest.raises(InputError, match="X, row 3 .counted from 0.: holds a NaN"):
        fastmlp.fit(digits, steps=1).model.predict(X)


def test_stopping_keeps_the_model_and_whole_steps(digits):
    asked = iter([False, True])
    with pytest.raises(Interrupted) as stopped:
        fastmlp.fit(digits, epochs=50, observer=Observer(stop=lambda: next(asked)))
    model = stopped.value.result.model
    assert np.isfinite(model.network.params).all()
    assert 0 < model.evaluate(digits.X_test, digits.y_test)[1] <= 1


def test_the_summary_adds_up(digits):
    result = fastmlp.fit(digits, epochs=2, batch_size=128, threads=1, input="dense")
    summary = result.summary
    assert summary["samples"] == 2 * len(digits.X)
    assert summary["steps"] == 2 * 12  # 11 batches of 128 and one of 92
    assert summary["epochs"] == 2
    assert summary["samples_per_second"] == pytest.approx(summary["samples"] / summary["train_seconds"])
    flop = 6 * (784 * 256 + 256 * 10) - 2 * 784 * 256
    assert summary["gflops"] == pytest.approx(flop * summary["samples_per_second"] / 1e9)
    assert [report.epoch for report in result.history] == [1, 2]


def test_reading_the_non_zeros_alone_gives_the_same_bits(digits):
    dense, sparse, auto = (fastmlp.fit(digits, epochs=2, input=kind).summary for kind in ("dense", "sparse", "auto"))
    assert (dense["input"], sparse["input"], auto["input"]) == ("dense", "sparse", "sparse")
    assert dense["weights_sha256"] == sparse["weights_sha256"] == auto["weights_sha256"]
    assert [dense[key] == sparse[key] for key in ("test_loss", "train_loss", "test_accuracy")] == [True] * 3
    skipped = 4 * 256 * 784 * (1 - np.count_nonzero(digits.X) / digits.X.size)
    flop = 6 * (784 * 256 + 256 * 10) - 2 * 784 * 256 - skipped
    assert sparse["gflops"] == pytest.approx(flop * sparse["samples_per_second"] / 1e9)


def test_dense_inputs_are_read_as_they_are(rng):
    X = rng.standard_normal((100, 5))
    data = fastmlp.Dataset("dense", X, np.arange(100) % 2, X, np.arange(100) % 2, ("0", "1"), "memory")
    assert fastmlp.fit(data, epochs=1).summary["input"] == "dense"


def test_tiny_and_odd_data_train():
    """One sample, one feature, a batch larger than the data, constant and all-zero columns."""
    for X in (
        np.zeros((1, 1), np.uint8),
        np.array([[7], [7], [8]], np.uint8),
        np.eye(5, 4),
        np.diag(np.float32([1, 1, 0, 0])),
    ):
        y = np.arange(len(X)) % 2
        data = Dataset("tiny", X, y, X, y, ("a", "b"), "tiny")
        result = fastmlp.fit(data, hidden=(3,), epochs=3)
        assert np.isfinite(result.summary["test_loss"])


def test_the_models_predictions_agree_with_each_other(digits):
    model = fastmlp.fit(digits, epochs=1).model
    P = model.predict_proba(digits.X_test)
    np.testing.assert_array_equal(P.argmax(1), model.predict(digits.X_test))
    np.testing.assert_allclose(P.sum(1), 1, rtol=1e-5)
    assert model.evaluate(digits.X_test, digits.y_test)[1] == (model.predict(digits.X_test) == digits.y_test).mean()
    assert model.predict_proba(digits.X_test[:0]).shape == (0, 10)
    assert model.predict_proba(digits.X_test[3:4]).tobytes() == P[3:4].tobytes()
    with pytest.raises(InputError, match=r"X has shape \(2, 3\); this model takes \(N, 784\): grey images of 28 x 28"):
        model.predict(np.zeros((2, 3)))


@pytest.mark.parametrize(
    "options", [{}, {"bias": False, "hidden": (9, 8)}, {"dtype": "float64", "hidden": ()}], ids=str
)
def test_a_saved_model_predicts_the_same_bits(digits, options, tmp_path):
    model = fastmlp.fit(digits, steps=3, **options).model
    model.save(tmp_path / "model.npz")
    loaded = fastmlp.load_model(tmp_path / "model.npz")
    assert loaded.classes == model.classes
    assert loaded.weights_sha256() == model.weights_sha256()
    assert loaded.predict_proba(digits.X_test).tobytes() == model.predict_proba(digits.X_test).tobytes()
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


def test_batches_are_permutations_cut_up():
    batches = Batches(10, 4, "epoch", np.random.default_rng(0))
    epochs = [np.concatenate([batches.rows(3 * e, 2), batches.rows(3 * e + 2, 1)]) for e in range(2)]
    for rows in epochs:
        np.testing.assert_array_equal(np.sort(rows), np.arange(10))
    assert (epochs[0] != epochs[1]).any()
    drawn = Batches(10, 4, "draw", np.random.default_rng(0)).rows(0, 50).reshape(50, 4)
    assert all(len(set(rows)) == 4 for rows in drawn)
    assert set(drawn.ravel()) == set(range(10))


def test_schedules_start_and_end_where_they_should():
    def rates(schedule, total=200, **options):
        return learning_rates(configure(lr=0.5, schedule=schedule, **options), 0, total, total, 20)

    assert (rates("constant") == 0.5).all()
    cosine = rates("cosine")
    assert cosine[0] == 0.5
    assert cosine[100] == pytest.approx(0.25)
    assert (np.diff(cosine) < 0).all()
    cycle = rates("onecycle")
    assert cycle.argmax() == 29  # the end of the first 15 % of 200 steps
    assert cycle.max() == 0.5
    assert (np.diff(cycle[:30]) > 0).all()
    assert (np.diff(cycle[29:]) < 0).all()
    assert 0 < cycle[-1] < 0.01
    for total in (1, 2, 3, 7):
        assert (rates("onecycle", total) > 0).all()
        assert rates("onecycle", total).max() <= 0.5
    config = configure(lr=0.5)
    np.testing.assert_array_equal(learning_rates(config, 20, 60, 200, 20), cycle[20:60])
    falls = rates("step")
    np.testing.assert_allclose(falls[[0, 66, 67, 133, 134, 199]], [0.5, 0.5, 0.05, 0.05, 0.005, 0.005])
    np.testing.assert_allclose(rates("step", step_epochs=2, step_factor=0.5)[[39, 40, 80]], [0.5, 0.25, 0.125])
    for schedule in ("constant", "cosine", "step"):
        warm = rates(schedule, warmup=0.1)
        np.testing.assert_allclose(warm[:20], 0.5 * np.arange(1, 21) / 20)
        assert warm.max() == 0.5


def test_the_input_scale_is_one_over_the_rms(rng):
    X = rng.integers(0, 256, (100, 30)).astype(np.uint8)
    X[:, ::2] = 0
    scale, density = input_scale(X)
    assert np.sqrt(np.mean((scale * X.astype(float)) ** 2)) == pytest.approx(1)
    assert density == np.count_nonzero(X) / X.size
    assert input_scale(np.zeros((3, 3)))[0] == 1


def test_inputs_whose_scale_is_beyond_the_dtype_are_refused(rng):
    X, y = rng.standard_normal((50, 4)) * 1e-41, np.arange(50) % 2
    data = Dataset("tiny", X, y, X, y, ("a", "b"), "tiny.csv")
    options = {"standardize": "no", "steps": 2, "hidden": (4,)}
    with pytest.raises(
        InputError, match=r"tiny.csv: is multiplied by 1e\+41, which must be within the range of float32"
    ):
        fastmlp.fit(data, **options)
    fastmlp.fit(data, dtype="float64", **options)


def test_reference_and_fast_train_with_user_threads_setting(digits):
    with kernels.threads(2):
        fastmlp.fit(digits, steps=2, threads=1)
        assert kernels.get_num_threads() == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": (0, 5)}, "--hidden"),
        ({"hidden": (2.5,)}, "--hidden is .2.5,.; it must be widths such as"),
        ({"hidden": "32,16"}, "--hidden is .'32,16',.; it must be widths such as"),
        ({"hidden": None}, "--hidden is"),
        ({"seed": 1.5}, "--seed is 1.5; it must be an integer"),
        ({"lr": "0.1"}, "--lr is '0.1'; it must be a number"),
        ({"bias": "no"}, "--bias is 'no'; it must be True or False"),
        ({"threads": float("nan")}, "--threads is nan"),
        ({"batch_size": 1.5}, "--batch-size is 1.5"),
        ({"lr": -1.0}, "--lr is -1.0; it must be positive"),
        ({"momentum": 1.0}, "--momentum is 1.0"),
        ({"val_fraction": 1.0}, "--val-fraction is 1.0"),
        ({"weight_decay": -0.1}, "--weight-decay"),
        ({"preset": "best"}, "--preset is 'best'"),
        (
            {"learning_rate": 1},
            r"unknown option 'learning_rate'; did you mean lr\? the options are activation, augment, "
            r"augment_strength, average",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_impossible_options_are_one_line(options, message):
    with pytest.raises(InputError, match=message):
        configure(**options)
