"""Numbers at the ends of their range, networks and data of odd shapes, and rounding over long runs."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from compiling import calls_of
from test_ops import arrays_of, dtypes

import fastmlp
import kernels
from fastmlp.data import Dataset
from fastmlp.errors import InputError, RunError

from op_cases import OPS

# -- long runs -------------------------------------------------------------------------------------------------------

OPTIMIZERS = {"sgd": {"lr": 0.02, "schedule": "constant"}, "momentum": {}, "adamw": {"lr": 1e-3}}


def curve(data, optimizer, seed, epochs, backend, dtype):
    """The training loss of every epoch, and the test loss at the end."""
    history = fastmlp.fit(
        data, optimizer=optimizer, seed=seed, epochs=epochs, hidden=(48,), backend=backend, dtype=dtype,
        evaluate_every=10**9, **OPTIMIZERS[optimizer],
    ).history  # fmt: skip
    return np.array([report.train_loss for report in history] + [history[-1].test_loss])


def check_curves(data, optimizer, seeds, epochs):
    """Deviations from the definition in float64, by seed: of float32 here, and of NumPy's.

    A rounding error may move a pre-activation over the kink of ReLU, and the runs part by far more than rounding; what
    it must not do is matter: the curve stays nearer to its twin's than a tenth of the way to another seed's. In
    float64, with roundings 2^-29 times as large, nearer than 2^-29 of that.
    """
    twins = [curve(data, optimizer, seed, epochs, "reference", "float64") for seed in seeds]
    for seed, twin, other in zip(seeds, twins, twins[1:] + twins[:1]):
        allowed = 0.1 * np.linalg.norm(twin - other)
        for dtype, unit in (("float32", 1.0), ("float64", 2.0**-29)):
            deviation = np.linalg.norm(curve(data, optimizer, seed, epochs, "numba", dtype) - twin)
            assert deviation < allowed * unit, f"{dtype}, seed {seed}: {deviation} of {allowed * unit}"
    return twins


def test_a_float32_run_follows_its_float64_twin(digits):
    check_curves(digits, "momentum", range(2), epochs=8)


@pytest.mark.nightly
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_long_float32_runs_follow_their_float64_twins(digits, optimizer):
    """And err, in the median of 20 seeds, at most four times as much as NumPy's float32, in another order of sums."""
    twins = check_curves(digits, optimizer, range(20), epochs=60)
    errors = {
        backend: np.median(
            [abs(curve(digits, optimizer, s, 60, backend, "float32") - twin).max() for s, twin in enumerate(twins)]
        )
        for backend in ("numba", "reference")
    }
    assert errors["numba"] <= 4 * errors["reference"], errors


# -- kernels ---------------------------------------------------------------------------------------------------------


@pytest.mark.compiles(calls=lambda op, dtype, bad: calls_of(op, dtype, shapes=[(5, 4, 3)]) if np.isnan(bad) else ())
@dtypes
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "op", [op for op in OPS if not op.name.startswith(("mlp_", "distort"))], ids=lambda op: op.name
)
def test_one_bad_number_goes_where_it_goes_in_numpy(op, bad, dtype, rng):
    """NaN to NaN, infinity to infinity. But for CSR, in which 0 * NaN is skipped."""
    for args, kwargs in op.cases(rng, (5, 4, 3), np.dtype(dtype)):
        if isinstance(args[0], kernels.CSR):
            continue
        for k, given in enumerate(args):
            if not isinstance(given, np.ndarray) or given.dtype != dtype:
                continue
            spoilt = given.copy()
            spoilt.reshape(-1)[rng.integers(given.size)] = bad
            results = []
            for function in (op.fast, op.twin):
                arguments, keywords = copy.deepcopy(((*args[:k], spoilt, *args[k + 1 :]), kwargs))
                with np.errstate(all="ignore"):
                    results.append(arrays_of([function(*arguments, **keywords), [arguments[i] for i in op.writes]]))
            for fast, twin in zip(*results, strict=True):
                np.testing.assert_array_equal(np.isnan(fast), np.isnan(twin))
                np.testing.assert_array_equal(np.where(np.isinf(fast), fast, 0), np.where(np.isinf(twin), twin, 0))


@dtypes
def test_logits_of_any_size_have_a_loss(dtype):
    for size in (1e30, float(np.finfo(dtype).max) / 2):
        Z = np.array([[size, -size, 0], [-size, -size, -size], [0, size, size]], dtype)
        np.testing.assert_array_equal(
            kernels.softmax(Z), np.array([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0.5, 0.5]], dtype)
        )
        loss, correct, dZ = kernels.softmax_cross_entropy(Z, [1, 0, 0])
        assert loss == pytest.approx(3 * float(Z[0, 0]), rel=1e-6)  # 2 size, log 3, size
        assert correct == 1
        np.testing.assert_allclose(dZ, [[1, -1, 0], [-2 / 3, 1 / 3, 1 / 3], [-1, 0.5, 0.5]], rtol=1e-6)


# -- training --------------------------------------------------------------------------------------------------------


@pytest.fixture
def pixels(rng):
    """Forty samples of six pixels, in three classes."""
    X, y = rng.integers(0, 256, (40, 6)).astype(np.uint8), np.arange(40) % 3
    return Dataset("pixels", X, y, X, y, ("a", "b", "c"), "memory")


def weights(data, **options):
    return fastmlp.fit(data, **options).summary["weights_sha256"]


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_one_class_is_learnt_at_once(pixels, kind):
    data = replace(pixels, y=0 * pixels.y, y_test=0 * pixels.y, classes=("a",))
    summary = fastmlp.fit(data, epochs=2, input=kind).summary
    assert [summary[name] for name in ("train_loss", "test_loss", "test_accuracy")] == [0, 0, 1]


@pytest.mark.parametrize("hidden", [(1,), (1, 1, 1), (8,) * 30], ids=["1", "1-1-1", "30 layers"])
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_narrow_and_deep_networks_train_like_their_twins(pixels, hidden, kind):
    """In float64, where so few steps cannot amplify a rounding error to 1e-9."""
    options = {"hidden": hidden, "epochs": 3, "batch_size": 16, "dtype": "float64"}
    fast = fastmlp.fit(pixels, input=kind, **options).history
    slow = fastmlp.fit(pixels, backend="reference", **options).history
    np.testing.assert_allclose([r.train_loss for r in fast], [r.train_loss for r in slow], rtol=1e-9)


def test_a_batch_larger_than_the_data_is_all_of_it(pixels):
    assert weights(pixels, batch_size=40, epochs=3) == weights(pixels, batch_size=10**12, epochs=3)


@dtypes
@pytest.mark.parametrize("optimizer", list(kernels.RULES))
def test_rates_at_the_ends_of_their_range(pixels, dtype, optimizer):
    """None is an error, the least moves no weight (a bias of zero it would), and the greatest diverges in one line."""
    options = {"optimizer": optimizer, "dtype": dtype, "epochs": 2, "bias": False}
    with pytest.raises(InputError, match=r"^lr is 0.0; it must be positive and finite$"):
        fastmlp.fit(pixels, lr=0.0, **options)
    still = [weights(pixels, lr=lr, **options) for lr in (5e-324, 1e-310, 1e-200)]
    assert still == still[:1] * 3
    with pytest.raises(
        RunError, match=r"^diverged (at|after) step \d+: the (\S+ )?loss is not finite; try .* than 1e\+308$"
    ):
        fastmlp.fit(pixels, lr=1e308, **options)


@pytest.mark.parametrize(
    ("options", "finite"),
    [
        ({"dropout": 1 - 2.0**-53}, True),
        ({"label_smoothing": 1 - 2.0**-53}, True),
        ({"momentum": 1 - 2.0**-53}, True),
        ({"clip_norm": 5e-324}, True),
        ({"clip_norm": 1e308}, True),
        ({"class_weight": "5e-324,0,0"}, True),
        ({"class_weight": "1e308,1e308,1e308"}, True),
        ({"weight_decay": 1e300}, False),
    ],
    ids=str,
)
def test_options_at_the_ends_of_their_range_train_or_diverge_in_one_line(pixels, options, finite):
    if finite:
        assert np.isfinite(fastmlp.fit(pixels, epochs=3, **options).model.network.params).all()
    else:
        with pytest.raises(
            RunError, match=r"^diverged (at|after) step \d+: the (\S+ )?loss is not finite; try a lower lr than"
        ):
            fastmlp.fit(pixels, epochs=3, **options)


@pytest.mark.parametrize("changes", [{"X_test": 0}, {"X": 0}], ids=["test", "training"])
def test_an_empty_part_is_refused(pixels, changes):
    (name,) = changes
    with pytest.raises(InputError, match=f"memory: the {'test' if name == 'X_test' else 'training'} set is empty"):
        replace(pixels, **{name: pixels.X[:0], name.replace("X", "y"): pixels.y[:0]})


@pytest.mark.parametrize("size", [1e-41, 1e-38, 1e38])
def test_a_table_of_numbers_at_the_ends_of_float32_trains(size, rng):
    """Standardised, subnormal or near the overflow, and with a feature that never varies."""
    y = rng.integers(0, 2, 300)
    X = np.c_[rng.standard_normal(300) / 8 + y, np.ones(300)].astype(np.float32) * np.float32(size)
    data = Dataset("table", X[:200], y[:200], X[200:], y[200:], ("a", "b"), "memory")
    assert fastmlp.fit(data, epochs=20, batch_size=32, hidden=(8,)).summary["test_accuracy"] > 0.95
