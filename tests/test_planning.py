"""What becomes of the data before a run: scales of columns, images and tables, defaults by the size of a table."""

from dataclasses import asdict, replace

import numpy as np
import pytest

import fastmlp
import kernels
from fastmlp.config import TrainConfig, configure
from fastmlp.data import Sparse
from fastmlp.data.synthetic import load_synthetic
from fastmlp.errors import InputError
from fastmlp.training import loop
from fastmlp.training.plan import is_table, plan


def dataset(X, y, test=1000):
    classes = tuple(map(str, range(int(y.max()) + 1)))
    return fastmlp.Dataset("table", X[test:], y[test:], X[:test], y[:test], classes, "memory")


def sparse(X):
    csr = kernels.csr(X)
    return Sparse(csr.indptr, csr.indices.astype(np.int32), csr.values.copy(), csr.shape)


LARGE = {
    "from 0 to 99,999": lambda rng, n: rng.integers(0, 100_000, n).astype(float),
    "years": lambda rng, n: rng.integers(1950, 2020, n).astype(float),
    "far from zero": lambda rng, n: 1e6 + rng.random(n),
    "tiny": lambda rng, n: 1e-6 * rng.standard_normal(n),
    "mostly zero": lambda rng, n: 1e5 * rng.random(n) * (rng.random(n) < 0.3),
}


@pytest.mark.parametrize("form", [np.asarray, sparse], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", LARGE)
def test_no_column_of_a_one_hot_table_drowns_the_others(rng, name, form, tmp_path):
    """The class goes by the one column of another scale and, for a fifth of the rows, by an indicator alone."""
    x, groups = LARGE[name](rng, 4000), rng.integers(0, 3, (4000, 3))
    X = np.column_stack([x, *(np.eye(3)[groups[:, k]] for k in range(3))])
    y = np.where(groups[:, 0] == 1, groups[:, 1] == 0, x > np.median(x)).astype(np.int64)
    data = dataset(X, y)
    data = replace(data, X=form(data.X), X_test=form(data.X_test))
    result = fastmlp.fit(data, hidden=(64,), epochs=20)
    assert (result.summary["input"], result.summary["test_accuracy"] > 0.97) == ("sparse", True)
    assert fastmlp.fit(data, hidden=(64,), epochs=20, standardize="no").summary["test_accuracy"] < 0.95
    result.model.save(tmp_path / "model.npz")
    again = fastmlp.load_model(tmp_path / "model.npz")
    P = again.predict_proba(data.X_test)
    assert P.tobytes() == result.model.predict_proba(data.X_test).tobytes()
    other = again.predict_proba(sparse(X[:1000]) if form is np.asarray else X[:1000])
    np.testing.assert_allclose(other, P, atol=1e-5)  # the same numbers, summed up in another order
    assert again.evaluate(data.X_test, data.y_test)[1] == result.summary["test_accuracy"]


@pytest.mark.parametrize("factor", [1e300, 5e-324])
def test_a_column_that_cannot_be_standardised_is_named(rng, factor):
    X = rng.integers(1, 9, (2000, 3)) * np.array([1.0, factor, 1.0])
    with pytest.raises(
        InputError, match="memory: feature 2, from .* to .*, is too large or too small to standardise; sca"
    ):
        plan(dataset(X, rng.integers(0, 2, 2000)), TrainConfig())


@pytest.mark.parametrize("form", [np.asarray, sparse], ids=["dense", "sparse"])
def test_zeros_stay_zeros_and_full_columns_are_centred(rng, form):
    X = (rng.random((3000, 12)) < np.linspace(0.05, 0.3, 12)) * 1.0
    X[:, 0] *= rng.uniform(100, 200, 3000)
    X[:, 1] = rng.normal(1000, 3, 3000)
    X[:, 2:4] = 0
    X[:3, 3] = 7  # in one row of a thousand: as if it were in one of a hundred
    data = dataset(np.concatenate((X[:5], X)), np.arange(3005) % 2, 5)
    planned = plan(replace(data, X=form(data.X), X_test=form(data.X_test)), configure())
    mean, std = planned.scaling.mean, planned.scaling.std
    assert np.flatnonzero(mean).tolist() == [1]
    np.testing.assert_allclose((mean[1], std[1]), (X[:, 1].mean(), X[:, 1].std()))
    others = [0, *range(4, 12)]
    np.testing.assert_allclose(std[others], np.sqrt(np.square(X[:, others]).mean(0)))
    assert (std[2], std[3]) == (1, pytest.approx(0.7))
    assert planned.scaling.density == pytest.approx((X != 0).mean())
    assert planned.X.indices.size == np.count_nonzero(X)
    np.testing.assert_allclose(planned.X.toarray(), (X - mean) / std, rtol=1e-6)


def test_what_shares_a_scale_keeps_it(rng):
    """Pixels and word weights, dense or sparse: no column has a mean or a std, and the defaults are those of images."""
    pixels = load_synthetic(1, 300, 50)
    words = rng.lognormal(0, 0.5, (400, 300)) * (rng.random((400, 300)) < rng.uniform(0.02, 0.2, 300))
    for data in (
        pixels,
        replace(pixels, image_shape=None),
        replace(pixels, X=sparse(pixels.X), X_test=sparse(pixels.X_test), image_shape=None),
        dataset(words, np.arange(400) % 2, 50),
    ):
        planned = plan(data, configure())
        assert (planned.scaling.mean, planned.input) == (None, "sparse")
        assert (planned.config.dropout, planned.config.batch_size) == (0, 128)


@pytest.mark.parametrize("form", [np.asarray, sparse], ids=["dense", "sparse"])
def test_a_rare_column_of_large_numbers_does_not_drown_word_weights(rng, form):
    """In a row of two hundred, where the others share a scale."""
    words = rng.lognormal(0, 0.5, (2000, 100)) * (rng.random((2000, 100)) < 0.1)
    rare = np.where(np.arange(2000) % 200 == 0, 1e5, 0)
    y = (words[:, 0] > 0).astype(np.int64)
    for large, mean in ((rare, np.zeros(101)), (rare / 1e5, None)):
        data = dataset(np.column_stack([words, large]), y)
        np.testing.assert_array_equal(
            plan(replace(data, X=form(data.X), X_test=form(data.X_test)), configure()).scaling.mean, mean
        )
        if mean is not None:
            assert fastmlp.fit(data, hidden=(16,), epochs=20).summary["test_accuracy"] > 0.97


def test_integers_are_a_table_unless_they_are_an_image(rng):
    """Bytes and small counts are standardised; with ``--standardize no`` they are not."""
    X = rng.poisson(rng.uniform(1, 40, 256), (300, 256)).astype(np.uint8)
    data = dataset(X, np.arange(300) % 2, 50)
    assert is_table(data)
    np.testing.assert_allclose(plan(data, configure()).scaling.mean, X[50:].mean(0))
    assert plan(data, configure(standardize="no")).scaling.mean is None
    assert not is_table(replace(data, image_shape=(16, 16)))


def test_sparse_data_are_standardised_where_asked_to():
    pixels = load_synthetic(1, 300, 50)
    data = replace(pixels, X=sparse(pixels.X), X_test=sparse(pixels.X_test), image_shape=None)
    planned = plan(data, configure(standardize="yes"))
    often = np.count_nonzero(pixels.X, 0) > 0.01 * len(pixels.X)
    scaled = planned.X.toarray()
    full = planned.scaling.mean != 0
    np.testing.assert_allclose(np.square(scaled[:, often], dtype=float).mean(0), 1, rtol=1e-5)
    np.testing.assert_array_equal(scaled[:, ~full] != 0, pixels.X[:, ~full] != 0)


def test_defaults_are_enough_steps_by_the_size_and_what_is_given_stays():
    for samples, table, epochs, batch in (
        (60_000, False, 4, 128),
        (54_000, False, 4, 128),
        (1437, False, 84, 128),
        (120, True, 250, 16),
        (1999, True, 32, 32),
        (2000, True, 188, 64),
        (500_000, True, 4, 64),
    ):
        config = TrainConfig().completed(samples, table=table)
        assert (config.epochs, config.batch_size) == (epochs, batch)
        assert (config.dropout > 0) == (config.weight_decay > 0) == table
        assert config.completed(samples, table=table) == config
    for given in ({"epochs": 3}, {"steps": 30}):
        config = configure(**given).completed(120, table=True)
        assert (config.batch_size, config.dropout, config.weight_decay, config.lr) == (128, 0, 0, None)
    given = {"batch_size": 7, "dropout": 0.0, "weight_decay": 0.5, "lr": 0.3, "report_steps": 11}
    config = asdict(configure(**given).completed(120, table=True))
    assert {name: config[name] for name in given} == given
    assert configure(optimizer="adam").completed(120, table=True).peak_lr == configure(optimizer="adam").peak_lr


def test_warming_up_changes_no_data(digits):
    run = loop.Run(plan(digits, configure(input="sparse")), loop.Observer())
    before = run.plan, run.plan.X, run.plan.test[0]
    run.warm_up()
    assert all(a is b for a, b in zip(before, (run.plan, run.plan.X, run.plan.test[0])))


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_defaults_hold_the_bar_on_small_tables(name):
    """The mean of five splits, at most 1.5 points below the better of scikit-learn's two behind a StandardScaler."""
    datasets = pytest.importorskip("sklearn.datasets")
    better = {"iris": 95.33, "wine": 99.44, "breast_cancer": 97.72, "digits": 97.83}[name]  # bench/small_tables.py
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    accuracy = []
    for seed in range(5):
        order, cut = np.random.RandomState(seed).permutation(len(y)), int(0.8 * len(y))
        data = dataset(X[np.roll(order, len(y) - cut)], y[np.roll(order, len(y) - cut)], len(y) - cut)
        accuracy.append(100 * fastmlp.fit(data, seed=seed).summary["test_accuracy"])
    assert np.mean(accuracy) > better - 1.5
