"""Rows one at a time, prepared: the bits and the errors of the calls that they stand for."""

import copy
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

import fastmlp
import kernels
from fastmlp.errors import InputError
from fastmlp.models.model import Model
from kernels import mlp


def network(sizes, rng, dtype="float32", **options):
    made = kernels.Network(sizes, dtype=dtype, **options)
    made.params[...] = rng.standard_normal(made.params.size) / 4
    return made


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("sizes", "options"),
    [((6, 64, 8, 4), {"activation": "tanh"}), ((300, 70, 10), {}), ((5, 3, 1), {"bias": False}), ((7, 2), {})],
    ids=str,
)
def test_a_predictor_gives_the_bits_of_mlp_forward_from_any_input_that_it_takes(sizes, options, dtype, rng):
    of = network(sizes, rng, dtype, **options)
    predictor, sure = kernels.Predictor(of, scale=0.5), kernels.Predictor(of, scale=0.5, probabilities=True)
    dense, pixels = rng.standard_normal((3, sizes[0])), rng.integers(0, 256, (3, sizes[0]))
    few = dense * (rng.random(dense.shape) < 0.2)
    infinite = np.where(few == 0, np.inf, few)
    bytes_first = [x.astype(np.uint8) for x in (pixels, pixels * (few != 0))]
    for X in (*bytes_first, *(x.astype(dtype) for x in (dense, few, infinite))):
        expected = kernels.mlp_forward(X, of, scale=0.5)
        assert (predictor.row(X[:1]) is None) == np.isinf(X[0]).any()
        assert sure(X).tobytes() == kernels.softmax(expected).tobytes()
        frozen = X[:1].copy()
        frozen.flags.writeable = False
        for given in (X[:1], X[1:2], X, X[:0], frozen, X[:, ::-1][:1, ::-1], X[:1].tolist(), kernels.csr(X[:1])):
            assert predictor(given).tobytes() == kernels.mlp_forward(given, of, scale=0.5).tobytes()
        assert predictor(X[2:]).tobytes() == expected[2:].tobytes()


def test_a_predictor_follows_the_weights_in_place_and_replaced(rng):
    of = network((6, 64, 8, 4), rng)
    predictor, X = kernels.Predictor(of), rng.standard_normal((1, 6)).astype(np.float32)
    found = [predictor(X)]
    of.params *= 2
    found.append(predictor(X))
    of.params = of.params * np.float32(2)
    found.append(predictor(X))
    assert (found[2] == kernels.mlp_forward(X, of)).all()
    assert len({logits.tobytes() for logits in found}) == 3


def test_threads_share_a_predictor_and_each_gets_its_own_rows(rng):
    of = network((30, 64, 10), rng)
    predictor, X = kernels.Predictor(of, probabilities=True), rng.standard_normal((40, 30)).astype(np.float32)
    expected = kernels.softmax(kernels.mlp_forward(X, of))

    def work(first):
        for k in range(3000):
            i = (first + k) % len(X)
            assert predictor(X[i : i + 1]).tobytes() == expected[i : i + 1].tobytes()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(0, 28, 7)))


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))], ids=["deep", "pickle"]
)
def test_a_copy_of_a_predictor_has_a_network_of_its_own(copied, rng):
    predictor, X = kernels.Predictor(network((6, 64, 8, 4), rng)), rng.standard_normal((1, 6)).astype(np.float32)
    before = predictor(X)
    other = copied(predictor)
    assert other(X).tobytes() == before.tobytes()
    predictor.network.params[...] = 0
    assert other(X).tobytes() == before.tobytes()


@pytest.mark.parametrize(
    "change", [{"scale": 0.5}, {"network": kernels.Network((9, 4))}, {"probabilities": True}], ids=str
)
def test_what_a_predictor_was_prepared_for_is_fixed(change, rng):
    """Another scale would hold for dense rows only, a larger network be read past the end of a row."""
    predictor = kernels.Predictor(network((6, 4), rng))
    ((name, value),) = change.items()
    with pytest.raises(AttributeError, match=f"{name} of a predictor is fixed"):
        setattr(predictor, name, value)


def test_a_predictor_refuses_what_mlp_forward_refuses(rng):
    of = network((6, 4), rng, output="logistic")
    predictor = kernels.Predictor(of)
    for X in (np.ones(6, np.float32), np.ones((1, 5), np.float32), np.array([["a"] * 6])):
        with pytest.raises((ValueError, TypeError)) as expected:
            kernels.mlp_forward(X, of)
        with pytest.raises(expected.type) as found:
            predictor(X)
        assert str(found.value) == str(expected.value)
    with pytest.raises(ValueError, match="output is logistic"):
        kernels.Predictor(of, probabilities=True)
    with pytest.raises(TypeError, match="network is a str"):
        kernels.Predictor("model")
    with pytest.raises(ValueError, match="scale"):
        kernels.Predictor(of, scale=float("nan"))


@pytest.mark.parametrize("standardised", [False, True])
@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_a_models_predictor_gives_what_predict_proba_gives(standardised, backend, rng):
    standard = {"mean": rng.standard_normal(6), "std": rng.random(6) + 0.5} if standardised else {}
    model = Model(network((6, 64, 8, 4), rng), 1.0 if standardised else 0.5, tuple("abcd"), backend, **standard)
    predict, X = model.predictor(), rng.standard_normal((5, 6)).astype(np.float32)
    huge = np.full((1, 6), 1e30, np.float32)
    for rows in (X[:1], X, X[:1].astype(np.float64), (100 * abs(X[:1])).astype(np.uint8), huge):
        assert predict(rows).tobytes() == model.predict_proba(rows).tobytes()
    for bad in (np.nan, np.inf):
        X[0, 2] = bad
        with pytest.raises(InputError, match="row"):
            predict(X[:1])
    with pytest.raises(InputError, match="shape"):
        predict(X[:1, :5])


def test_the_predictor_of_a_model_of_numbers_gives_what_predict_gives(rng):
    X = rng.standard_normal((60, 4)).astype(np.float32)
    model = fastmlp.fit(X, X[:, :1] * 3 + 1, epochs=1, hidden=(8,)).model
    row = X[:1].astype(model.network.dtype)
    assert model.predictor()(row).tobytes() == model.predict(row).tobytes()


def test_a_signal_handler_that_predicts_leaves_the_scratch_of_the_prediction_that_it_interrupts():
    """The interrupted one would write past the end of another network's scratch."""
    one, other = kernels.Network((40, 30, 2)), kernels.Network((4, 3, 2))
    for prepare in (
        partial(mlp._kept_for, mlp._forward_blocks),
        lambda network, parts: mlp._kept_for(mlp.forward_workspace, network, parts, one.dtype, 1.0)[0],
    ):

        def at_line(k, prepare=prepare):
            """(elements of the scratch, whether the other network's was made before, at the k-th line of ``mlp``)"""
            left = k

            def trace(frame, event, _):
                nonlocal left
                if frame.f_code.co_filename == mlp.__file__ and event == "line":
                    left -= 1
                    if not left:
                        prepare(other, 1)
                return trace

            prepare(other, 2)
            before = sys.gettrace()
            sys.settrace(trace)
            try:
                return prepare(one, 1).values.size, left <= 0
            finally:
                sys.settrace(before)

        right, _ = at_line(0)
        sizes = []
        while not sizes or sizes[-1][1]:
            sizes.append(at_line(len(sizes) + 1))
        assert len(sizes) > 4
        assert {size for size, _ in sizes} == {right}


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_predictor_of_a_table_asks_all_networks_though_they_take_as_many_inputs_as_there_are_columns(task, rng):
    X = rng.normal(10, 5, (100, 5)).astype(np.float32)  # so few rows have one input a column
    y = (X[:, 0] > X[:, 1]) if task == "classification" else X[:, 0] + X[:, 1]
    model = fastmlp.fit(X, y, task=task, networks=2, epochs=2).model
    assert model.network.sizes[0] == 5
    expected = model.predict_proba(X[:1]) if task == "classification" else model.predict(X[:1])
    np.testing.assert_array_equal(model.predictor()(X[:1]), expected)
