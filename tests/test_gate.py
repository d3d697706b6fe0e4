"""Bad arguments to the public ops: an error that names the argument, before any kernel runs."""

from types import SimpleNamespace

import numpy as np
import pytest

import kernels
from kernels import LOSSES

X, W, B = np.zeros((4, 3), np.float32), np.zeros((3, 2), np.float32), np.zeros(2, np.float32)
Y = np.zeros((4, 2), np.float32)
LABELS = np.zeros(4, int)
NETWORK = kernels.Network((3, 2))


PIXELS = np.zeros((3, 4), np.uint8)
STRINGS = np.dtypes.StringDType() if np.__version__ >= "2" else "U1"


def multilabel(labels):
    network = kernels.Network((2, 2), output="logistic")
    return kernels.mlp_gradient(np.zeros((2, 2), np.uint8), labels, [0, 1], network)


def csr(**changes):
    parts = {
        "indptr": np.array([0, 1, 2]),
        "indices": np.array([0, 2]),
        "values": np.ones(2),
        "shape": (2, 3),
    }
    return kernels.CSR(**{**parts, **changes})


def train(**changes):
    arguments = {"X": X, "labels": LABELS, "rows": [0, 1], "batch": 2, "network": NETWORK}
    options = {"rule": kernels.sgd(), "lr": [0.1]}
    for name, value in changes.items():
        (arguments if name in arguments else options)[name] = value
    return kernels.mlp_train_steps(*arguments.values(), **options)


def numbers(targets, **options):
    network = kernels.Network((3, 2), output="identity")
    return train(labels=targets, network=network, **options)


def rates_inside():
    network = kernels.Network((3, 2), dtype="float64")
    return kernels.mlp_train_steps(X, LABELS, [0, 1], 2, network, rule=kernels.sgd(), lr=network.params[:1])


BAD = {
    "X of the wrong width": (
        lambda: kernels.linear_forward(X[:, :2], W), ValueError, r"X has shape \[4, 2\].*\[any, 3\]",
    ),
    "X of one dimension": (lambda: kernels.linear_forward(X[0], W), ValueError, "X has shape"),
    "complex X": (lambda: kernels.linear_forward(X.astype(complex), W), TypeError, "X has dtype complex128"),
    "text X": (lambda: kernels.linear_forward([["a"]], W), TypeError, "X has dtype"),
    "integer W": (lambda: kernels.linear_forward(X, W.astype(int)), TypeError, "W has dtype int64"),
    "half W": (lambda: kernels.linear_forward(X, W.astype(np.float16)), TypeError, "W has dtype float16"),
    "long b": (lambda: kernels.linear_forward(X, W, np.zeros(3)), ValueError, r"b has shape \[3\].*\[2\]"),
    "infinite scale": (lambda: kernels.linear_forward(X, W, scale=np.inf), ValueError, "scale is inf"),
    "text scale": (lambda: kernels.linear_forward(X, W, scale="big"), TypeError, "scale is 'big'"),
    "dY of the wrong width": (lambda: kernels.linear_backward_input(X, W), ValueError, "dY has shape"),
    "mask of the wrong shape": (
        lambda: kernels.linear_backward_input(Y, W, relu_output=Y), ValueError, "relu_output has shape",
    ),
    "batches that differ": (lambda: kernels.linear_backward_weight(X[:3], Y), ValueError, "X has shape"),
    "integer logits": (lambda: kernels.softmax(np.zeros((2, 2), int)), TypeError, "logits has dtype int64"),
    "no classes": (lambda: kernels.softmax(np.zeros((2, 0))), ValueError, "logits.*at least one column"),
    "empty batch": (
        lambda: kernels.softmax_cross_entropy(np.zeros((0, 2)), []), (ValueError, TypeError), "logits has no rows",
    ),
    "label too large": (lambda: kernels.softmax_cross_entropy(Y, [0, 1, 2, 0]), ValueError, "labels holds 2.*0 to 1"),
    "label -1": (lambda: kernels.softmax_cross_entropy(Y, [0, 1, -1, 0]), ValueError, "labels holds -1"),
    "float labels": (lambda: kernels.softmax_cross_entropy(Y, [0.0] * 4), TypeError, "labels has dtype float64"),
    "too few labels": (lambda: kernels.softmax_cross_entropy(Y, [0]), ValueError, "labels has shape"),
    "huge unsigned label": (
        lambda: kernels.softmax_cross_entropy(Y, np.full(4, 2**64 - 1, np.uint64)), ValueError,
        "labels holds 18446744073709551615",
    ),
    "too strong a distortion": (
        lambda: kernels.distort(PIXELS, [0], (2, 2), seed=0, elastic=1e300), ValueError,
        "elastic is 1e.300; it must be at most 1e.06",
    ),
    "distortion that is no number": (
        lambda: kernels.distort(PIXELS, [0], (2, 2), seed=0, shift=np.nan), ValueError, "shift is nan",
    ),
    "no pixel to fill with": (
        lambda: kernels.distort(PIXELS, [0], (2, 2), seed=0, fill=256), ValueError,
        "fill is 256; it must be an integer from 0",
    ),
    "no smoothing": (lambda: kernels.distort(PIXELS, [0], (2, 2), seed=0, sigma=0), ValueError, "sigma is 0"),
    "not its images": (
        lambda: kernels.distort(PIXELS, [0], (2, 3), seed=0), ValueError,
        r"X has shape \[3, 4\]; it must be \[any, 6\]",
    ),
    "images that are no pixels": (
        lambda: kernels.distort(np.zeros((3, 4)), [0], (2, 2), seed=0), TypeError,
        "X has dtype float64; it must be uint8",
    ),
    "an image that is not there": (
        lambda: kernels.distort(PIXELS, [3], (2, 2), seed=0), ValueError, "rows holds 3; it must be from 0 to 2",
    ),
    "all dropped": (lambda: kernels.dropout(Y, 1.0, seed=0), ValueError, "p is 1.0; it must be at least 0 and below 1"),
    "a seed too large": (
        lambda: kernels.dropout(Y, 0.5, seed=2**32), ValueError, "seed is 4294967296; it must be an integer from 0",
    ),
    "an epoch too large": (
        lambda: kernels.distort(PIXELS, [0], (2, 2), seed=0, epoch=2**32), ValueError, "epoch is 4294967296; it must",
    ),
    "negative sample weight": (
        lambda: kernels.softmax_cross_entropy(Y, LABELS, sample_weight=[1, -1, 1, 1]), ValueError,
        "sample_weight holds a number that is negative",
    ),
    "smoothing and epsilon": (
        lambda: kernels.softmax_cross_entropy(Y, LABELS, label_smoothing=0.1, epsilon=1e-9), ValueError,
        "one of them must be 0",
    ),
    "targets that are no zeros and ones": (
        lambda: multilabel(2 * np.ones((2, 2), int)), ValueError, "labels holds 2; it must be from 0 to 1",
    ),
    "class indices for a logistic output": (
        lambda: multilabel([0, 1]), ValueError, r"labels has shape \[2\]; it must be \[2, 2\]",
    ),
    "gradient of another network": (
        lambda: kernels.mlp_update(kernels.Network((2, 2)), np.zeros(3, np.float32), rule=kernels.sgd(), lr=1),
        ValueError, "gradient has shape",
    ),
    "one activation for two layers": (
        lambda: kernels.Network((2, 2, 2, 2), activation=["relu"]), ValueError,
        "activation has 1 names; it must have 2, one for each",
    ),
    "no such activation": (
        lambda: kernels.Network((2, 2), activation="step"), ValueError,
        "activation is 'step'; it must be one of relu, identity",
    ),
    "negative epsilon": (lambda: kernels.softmax_cross_entropy(Y, LABELS, epsilon=-1), ValueError, "epsilon is -1"),
    "list to update": (lambda: kernels.sgd_update([1.0], [1.0], 0.1), TypeError, "W is a list"),
    "gradient of another shape": (lambda: kernels.sgd_update(W.copy(), B, 0.1), ValueError, "dW has shape"),
    "NaN rate": (lambda: kernels.sgd_update(W.copy(), W, np.nan), ValueError, "lr is nan"),
    "state of another dtype": (
        lambda: kernels.momentum_update(W.copy(), W, W.astype(float), 1), TypeError, "V has dtype",
    ),
    "step zero": (lambda: kernels.adam_update(W.copy(), W, W.copy(), W.copy(), 0, 1), ValueError, "t is 0"),
    "missing state": (
        lambda: kernels.linear_backward_update(X, Y, W.copy(), rule=kernels.adam(), lr=0.1), ValueError,
        "state is missing",
    ),
    "a rule that is none": (
        lambda: kernels.linear_backward_update(X, Y, W.copy(), rule="adam", lr=0.1), TypeError, "rule is 'adam'",
    ),
    "an unknown loss": (
        lambda: train(loss="hinge"), ValueError, "loss is 'hinge'; it must be one of softmax_cross_entropy",
    ),
    "a loss for another output": (
        lambda: train(loss="squared_error"), ValueError,
        "loss is 'squared_error', for a network whose output is identity; .* softmax,",
    ),
    "smoothed numbers": (
        lambda: numbers(Y, label_smoothing=0.1), ValueError,
        "label_smoothing or epsilon .* with the loss squared_error",
    ),
    "too few numbers": (lambda: numbers(Y[:3]), ValueError, r"labels has shape \[3, 2\]; it must be \[4, 2\]"),
    "numbers in one column for two outputs": (
        lambda: numbers(Y[:, 0]), ValueError, r"labels has shape \[4\]; it must be \[4, 2\]",
    ),
    "text for numbers": (lambda: numbers([["a", "b"]] * 4), TypeError, "labels has dtype"),
    "the loss of nothing": (lambda: kernels.loss_gradient(Y[:0], Y[:0], "squared_error"), ValueError, "Z has no rows"),
    "a delta of zero": (lambda: numbers(Y, loss=LOSSES["huber"](0)), ValueError, "delta is 0; it must be positive"),
    "a delta of minus one in place of another": (
        lambda: LOSSES["huber"]()._replace(delta=-1), ValueError, "delta is -1; it must be positive",
    ),
    "a text delta": (lambda: numbers(Y, loss=LOSSES["huber"]("x")), TypeError, "delta is 'x'; it must be a number"),
    "a negative gamma": (
        lambda: train(loss=LOSSES["focal"](-1)), ValueError, "gamma is -1; it must be finite and at least 0",
    ),
    "quantiles that fall": (
        lambda: numbers(Y, loss=LOSSES["quantile"]((0.9, 0.1))), ValueError, r"quantiles is \(0.9, 0.1\); .* rising",
    ),
    "a quantile of one": (
        lambda: numbers(Y, loss=LOSSES["quantile"](1.0)), ValueError, r"quantiles is 1.0; .* below 1",
    ),
    "no quantiles": (lambda: numbers(Y, loss=LOSSES["quantile"](())), ValueError, r"quantiles is \(\);"),
    "three quantiles for two outputs": (
        lambda: numbers(Y, loss=LOSSES["quantile"]((0.1, 0.5, 0.9))), ValueError,
        "has 2 outputs; the loss quantile needs 3",
    ),
    "negative counts": (
        lambda: kernels.loss_gradient(Y, Y - 1, "poisson"), ValueError, "targets holds -1.0; .* at least 0",
    ),
    "sizes of zero": (
        lambda: kernels.loss_gradient(Y, Y, "gamma"), ValueError, "targets holds 0.0; .* positive numbers",
    ),
    "a loss of two arrays": (
        lambda: kernels.custom_loss(lambda z, y: 0.0), TypeError, "function is .*; it must be a function of three",
    ),
    "a loss for no output": (
        lambda: kernels.custom_loss(lambda z, y, dz: 0.0, output="linear"), ValueError,
        "output is 'linear'; it must be one of",
    ),
    "a loss of minus one target": (
        lambda: kernels.custom_loss(lambda z, y, dz: 0.0, width=-1), ValueError, "width is -1; it must be",
    ),
    "a smoothing of one": (
        lambda: train(loss=LOSSES["softmax_cross_entropy"](1.0)), ValueError, "label_smoothing is 1.0; .* below 1",
    ),
    "smoothing beside a loss that is made": (
        lambda: train(loss=LOSSES["softmax_cross_entropy"](0.1), label_smoothing=0.1), ValueError,
        "label_smoothing or epsilon is given",
    ),
    "row out of range": (lambda: train(rows=[0, 4]), ValueError, "rows holds 4.*0 to 3"),
    "no rows": (lambda: train(rows=np.array([], int)), ValueError, "rows is empty"),
    "an empty list of rows": (
        lambda: train(rows=[]), ValueError, "rows is empty; it must hold at least one row number",
    ),
    "a rate of NaN in a step": (lambda: train(lr=[np.nan]), ValueError, "lr holds a number that is not finite"),
    "moments that never move": (
        lambda: kernels.adam_update(W.copy(), W, W.copy(), W.copy(), 1, 0.1, beta2=1), ValueError,
        "beta2 is 1; .* below 1",
    ),
    "a negative epsilon of Adam": (
        lambda: kernels.adam_update(W.copy(), W, W.copy(), W.copy(), 1, 0.1, epsilon=-1), ValueError,
        "epsilon is -1; .* at least 0",
    ),
    "parameters of another size": (
        lambda: setattr(NETWORK, "params", B), ValueError, r"params is float32 \[2\]; it must be float32 \[16\]",
    ),
    "state of another size": (
        lambda: setattr(NETWORK, "state", B), ValueError, r"state is float32 \[2\]; it must be float32 \[0\]",
    ),
    "parameters in a list": (
        lambda: setattr(NETWORK, "params", [0.0]), ValueError, "params is list; it must be float32",
    ),
    "parameters of another float": (lambda: setattr(NETWORK, "params", np.zeros(16)), ValueError, "params is float64"),
    "parameters that are strided": (
        lambda: setattr(NETWORK, "params", np.zeros(32, np.float32)[::2]), ValueError,
        "params is strided, unaligned or read-only",
    ),
    "parameters at an odd address": (
        lambda: setattr(NETWORK, "params", np.frombuffer(bytearray(65), np.float32, 16, 1)), ValueError,
        "params is .*unaligned",
    ),
    "slots that its state lacks": (lambda: setattr(NETWORK, "slots", 2), AttributeError, "slots of a network is fixed"),
    "an activation of later": (
        lambda: setattr(NETWORK, "activation", "tanh"), AttributeError, "activation of a network is fixed",
    ),
    "rates for more layers than there are": (
        lambda: setattr(NETWORK, "layer_rates", np.ones(9)), ValueError, "layer_rates is float64",
    ),
    "batch of zero": (lambda: train(batch=0), ValueError, "batch is 0"),
    "rates for another number of steps": (lambda: train(lr=[0.1, 0.1]), ValueError, r"lr has shape \[2\].*\[1\]"),
    "a network without the rule's state": (
        lambda: train(rule=kernels.adam()), ValueError, r"network has 0 slots of state; this rule needs 2 \(Network",
    ),
    "one-hot rows for labels": (
        lambda: kernels.softmax_cross_entropy(Y, np.eye(2)[LABELS]), ValueError,
        r"labels has shape \[4, 2\]; .* \[4\]: .*argmax",
    ),
    "a function for a loss": (lambda: train(loss=abs), ValueError, r"loss is .*abs.*or a custom_loss\(function\)"),
    "samples of another width": (lambda: train(X=Y), ValueError, "X has shape"),
    "threads zero": (lambda: kernels.set_num_threads(0), ValueError, "number of threads"),
    "threads a float": (lambda: kernels.set_num_threads(1.5), ValueError, "number of threads"),
    "network of one layer": (lambda: kernels.Network((3,)), ValueError, "sizes is"),
    "network of a broken width": (
        lambda: kernels.Network((3.7, 2)), ValueError, r"sizes is \(3.7, 2\); it must be two or more positive integers",
    ),
    "rates for another number of layers": (
        lambda: kernels.Network((3, 2), layer_rates=[1, 2]), ValueError, r"layer_rates is \[1, 2\]; .* 1 numbers",
    ),
    "a negative rate of a layer": (
        lambda: kernels.Network((3, 2), layer_rates=[-1]), ValueError, "layer_rates is .* at least 0",
    ),
    "an average of another size": (lambda: train(average=np.zeros(3, np.float32)), ValueError, "average has shape"),
    "an average that is the parameters": (lambda: train(average=NETWORK.params), ValueError, "average overlaps"),
    "an average that stays": (
        lambda: train(average=NETWORK.params.copy(), average_decay=1), ValueError, "average_decay is 1; .* below 1",
    ),
    "network of width zero": (lambda: kernels.Network((3, 0, 2)), ValueError, "sizes is"),
    "network of half floats": (lambda: kernels.Network((3, 2), dtype="float16"), TypeError, "dtype is float16"),
    "CSR column too large": (lambda: csr(indices=np.array([0, 3])), ValueError, "indices must be from 0 to 2"),
    "CSR with a value too few": (
        lambda: kernels.CSR([0, 2], [0, 1], np.ones(1), (1, 2)), ValueError,
        "CSR stores 2 indices and 1 values, but indptr ends at 2",
    ),
    "CSR of more columns than indices count": (
        lambda: kernels.CSR([0, 1], [2**31], np.ones(1), (1, 2**31 + 1)), ValueError,
        "must have at most 2147483647 columns",
    ),
    "CSR of matrices": (
        lambda: kernels.CSR([0, 2], np.eye(2, dtype=int), np.eye(2), (1, 2)), ValueError, "CSR stores 4 indices and 4",
    ),
    "CSR column negative": (lambda: csr(indices=np.array([0, -1])), ValueError, "indices must be from 0 to 2"),
    "CSR indptr whose differences wrap": (
        lambda: csr(indptr=np.array([0, 2**63 - 1, -(2**63), -1, 0]), shape=(4, 3)), ValueError, "never fall",
    ),
    "CSR of no second dimension": (lambda: csr(shape=(2,)), ValueError, "CSR shape is"),
    "CSR of negative size": (lambda: csr(shape=(-1, 3)), ValueError, "CSR shape is"),
    "rows of two lengths": (
        lambda: kernels.linear_forward([[1.0, 2.0, 3.0], [4.0]], W), ValueError, "X is no array; .* rows of one length",
    ),
    "weights of two lengths": (
        lambda: kernels.linear_forward(X, [[1.0, 2.0], [4.0], [5.0]]), ValueError, "W is no array",
    ),
    "labels of two lengths": (
        lambda: kernels.softmax_cross_entropy(Y, [[0], [1, 2], [0], [1]]), ValueError, "labels is no array",
    ),
    "numbers of two lengths": (lambda: numbers([[0], [1, 2], [0], [1]]), ValueError, "labels is no array"),
    "rates of two lengths": (lambda: train(lr=[[0.1], [0.1, 0.2]]), ValueError, "lr is no array"),
    "strings for a CSR": (
        lambda: kernels.csr(np.full((2, 2), "1", STRINGS)), TypeError, "X has dtype .*; it must be uint8, float32",
    ),
    "strings for weights": (
        lambda: kernels.linear_forward(X, np.full((3, 2), "1", STRINGS)), TypeError,
        "W has dtype .*; it must be float32",
    ),
    "masked samples": (
        lambda: kernels.linear_forward(np.ma.masked_less(X, 2), W), TypeError, "X has masked values; it must",
    ),
    "masked samples to compress": (
        lambda: kernels.csr(np.ma.masked_less(X, 2)), TypeError, "X has masked values; it must",
    ),
    "masked images": (
        lambda: kernels.distort(np.ma.masked_equal(np.ones((2, 4), np.uint8), 1), [0], (2, 2), seed=1), TypeError,
        "X has masked",
    ),
    "masked labels": (
        lambda: kernels.softmax_cross_entropy(Y, np.ma.masked_less(LABELS, 2)), TypeError, "labels has masked values",
    ),
    "masked array to update": (lambda: kernels.sgd_update(np.ma.array(W), W, 0.1), TypeError, "W is a MaskedArray"),
    "scale past every float": (lambda: kernels.linear_forward(X, W, scale=10**400), ValueError, "scale is 1000"),
    "step past every float": (
        lambda: kernels.adam_update(W.copy(), W, W.copy(), W.copy(), 10**30, 1), ValueError, "t is 1000",
    ),
    "a rule made by hand": (
        lambda: kernels.linear_backward_update(X, Y, W.copy(), rule=kernels.sgd()._replace(beta1="a"), lr=1), TypeError,
        "beta1 is 'a'",
    ),
    "a rule of no kind": (
        lambda: kernels.linear_backward_update(X, Y, W.copy(), rule=kernels.Rule(0, 0, 0, 0), lr=1), TypeError,
        "rule is",
    ),
    "no network": (lambda: kernels.mlp_forward(X, None), TypeError, "network is a NoneType"),
    "rates inside the parameters": (lambda: rates_inside(), ValueError, "network.params overlaps"),
    "network of a word for its biases": (
        lambda: kernels.Network((3, 2), bias="no"), ValueError, "bias is 'no'; it must be True or False",
    ),
    "network of no activation": (
        lambda: kernels.Network((3, 2), activation=None), ValueError, "activation is None; it must be one of",
    ),
    "a word for a mean": (lambda: train(mean="no"), ValueError, "mean is 'no'; it must be True or False"),
    "a loss of no function": (
        lambda: kernels.custom_loss("huber"), TypeError, "function is 'huber'; it must be a function of three",
    ),
    "network of True slots": (
        lambda: kernels.Network((3, 2), slots=True), ValueError, "slots is True; it must be an integer",
    ),
    "network of a float of slots": (
        lambda: kernels.Network((3, 2), slots=1.0), ValueError, "slots is 1.0; it must be an integer",
    ),
    "network of a number": (lambda: kernels.Network(3), ValueError, "sizes is 3; it must be two or more"),
    "network of negative slots": (lambda: kernels.Network((3, 2), slots=-1), ValueError, "slots is -1"),
    "network of more slots than a rule has": (
        lambda: kernels.Network((3, 2), slots=3), ValueError, "slots is 3; .* from 0 to 2",
    ),
    "network of True outputs": (lambda: kernels.Network((3, True)), ValueError, r"sizes is \(3, True\)"),
    "network of no outputs": (
        lambda: kernels.Network((3, 2), output="sigmoid"), ValueError, "output is 'sigmoid'; .* softmax, logistic",
    ),
    "a rate of a layer that is infinite": (
        lambda: kernels.Network((3, 2), layer_rates=[np.inf]), ValueError, "layer_rates is",
    ),
    "CSR indptr falls": (lambda: csr(indptr=np.array([0, 2, 1])), ValueError, "never fall"),
    "CSR indptr starts late": (lambda: csr(indptr=np.array([1, 1, 2])), ValueError, "start at 0"),
    "CSR indptr too long": (lambda: csr(indptr=np.array([0, 1, 2, 2])), ValueError, "indptr has shape"),
    "CSR indptr past the end": (lambda: csr(indptr=np.array([0, 1, 9])), ValueError, "indptr ends at 9"),
    "CSR of integers": (lambda: csr(values=np.ones(2, int)), TypeError, "CSR values have dtype int64"),
    "CSR of float indices": (lambda: csr(indices=np.array([0.0, 1.0])), TypeError, "CSR indices has dtype"),
    "CSR of the wrong width": (lambda: kernels.linear_forward(csr(), np.zeros((4, 2))), ValueError, "X has shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused_by_name(name):
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call()


def test_scipy_csr_with_either_index_type_is_taken_as_it_is():
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.array([[0, 2, 0], [1, 0, 3]], np.float32)
    for index in (np.int32, np.int64):
        X = sparse.csr_array(dense)
        X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
        np.testing.assert_array_equal(kernels.linear_forward(X, np.eye(3, dtype=np.float32)), dense)


def test_other_sparse_matrices_and_values_get_the_call_that_helps():
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.array([[0, 2, 0], [1, 0, 3]], np.float32)
    for kind in ("csc_array", "coo_array", "coo_matrix", "lil_array", "dok_array", "dia_matrix", "bsr_array"):
        other, name = getattr(sparse, kind)(dense), kind[:3]
        for call in (kernels.csr, lambda X: kernels.linear_forward(X, np.ones((dense.shape[1], 2)))):
            with pytest.raises(TypeError, match=rf"X is in {name} format; it must be CSR \(call .tocsr\(\)\)"):
                call(other)
        with pytest.raises(TypeError, match=rf"W is a {kind}; it must be a dense array \(call .toarray\(\)\)"):
            kernels.linear_forward(dense, other)
    with pytest.raises(TypeError, match=r"X has dtype int64; .* \(call .astype\(np.float32\)\)"):
        kernels.csr(sparse.csr_array(dense.astype(np.int64)))
    assert kernels.csr(sparse.csr_array(dense > 0)).dtype == np.uint8
    # SciPy has such from 1.15 on.
    with pytest.raises(ValueError, match=r"X has shape \[3\]; it must be \[any, any\]"):
        kernels.csr(SimpleNamespace(indptr=[0, 1], indices=[1], data=dense[0, 1:2], shape=(3,)))


def test_a_matrix_is_a_copy_of_the_arrays_that_it_is_made_of():
    values = np.ones(2, ">f8")
    X = kernels.CSR([0, 2], [0, 1], values, (1, 2))
    values[:] = 7
    assert X.toarray().tolist() == [[1, 1]]


def test_entries_stored_twice_add_up_and_spare_room_is_ignored():
    twice = csr(indptr=[0, 2, 2], indices=[1, 1, 0], values=np.array([200, 100, 9], np.uint8))
    for ops in (kernels, kernels.reference):
        np.testing.assert_array_equal(ops.linear_forward(twice, np.eye(3)), [[0, 300, 0], [0, 0, 0]])


def test_empty_products_have_no_rows_or_are_zero():
    assert kernels.linear_forward(X[:0], W).shape == (0, 2)
    assert kernels.linear_backward_input(Y[:0], W).shape == (0, 3)
    np.testing.assert_array_equal(kernels.linear_forward(X[:, :0], W[:0], np.ones(2)), np.ones((4, 2)))
    assert kernels.linear_relu_forward(X, W[:, :0]).shape == (4, 0)
    assert kernels.linear_backward_weight(X, Y[:, :0])[0].shape == (3, 0)
    dW, db = kernels.linear_backward_weight(X[:0], Y[:0])
    assert not dW.any()
    assert not db.any()


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f4"])
def test_byte_order_is_no_dtype_of_its_own(dtype):
    """What is only read is converted; what is written to in place must be as the machine has it."""
    native = np.dtype(dtype).newbyteorder("=")
    x, w = X.astype(dtype), W.astype(dtype)
    expected = kernels.linear_forward(X.astype(native), W.astype(native))
    for result in (kernels.linear_forward(x, w), kernels.linear_forward(kernels.csr(x), w)):
        assert result.dtype == native
        assert result.tobytes() == expected.tobytes()
    assert kernels.softmax(w).tobytes() == kernels.softmax(W.astype(native)).tobytes()
    assert kernels.Network((3, 2), dtype=dtype).dtype == native
    if np.dtype(dtype) != native:
        with pytest.raises(TypeError, match=f"W has dtype {dtype}; it must be {native}"):
            kernels.sgd_update(w, np.zeros_like(w, native), 0.1)
