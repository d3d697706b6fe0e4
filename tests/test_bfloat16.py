"""Products in bfloat16 on AMX against float64 products of factors that were rounded to bfloat16 here."""

import pickle

import numpy as np
import pytest
from guarded import check_canaries_and_free, guarded

import fastmlp
import kernels
from fastmlp import doctor
from fastmlp.data.synthetic import load_synthetic
from fastmlp.train import main
from kernels import bfloat16
from kernels.bundles import Matrix
from kernels.gemm import PACK_SIZE, gemm
from kernels.intrinsics import flat
from kernels.jit import kernel
from kernels.memory import aligned_zeros

with_amx = pytest.mark.skipif(not bfloat16.is_available(), reason="this machine has no AMX")


@kernel
def product(M, N, K, A, row_A, column_A, B, row_B, column_B, C, pack_buffer, resume):
    left, right = Matrix(flat(A), row_A, column_A), Matrix(flat(B), row_B, column_B)
    gemm(M, N, K, left, right, Matrix(flat(C), N, 1), pack_buffer, resume)


def rounded(x):
    """The bfloat16 nearest to each float32, ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)


# Around the sizes of tiles, of two tiles, and of the blocks that are packed at a time.
SHAPES = [
    (1, 32, 32), (16, 33, 47), (17, 40, 32), (33, 65, 95), (bfloat16.ROWS + 1, 32, 64),
    (2, bfloat16.COLUMNS + 17, 33), (5, 48, bfloat16.DEPTH + 1), (40, 34, 2 * bfloat16.DEPTH + 33),
]  # fmt: skip


@with_amx
@pytest.mark.parametrize(("M", "N", "K"), SHAPES)
@pytest.mark.parametrize("layout", ["rows, rows", "rows, columns", "columns, rows"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_product_is_that_of_rounded_factors_summed_in_float32(M, N, K, layout, resume):
    """Forward, input gradient and weight gradient: X, or W, or neither transposed; nothing beyond is touched."""
    rng, at_end = np.random.default_rng(M * N + K), bool((M + K) % 2)
    A, B, C = (rng.normal(size=shape).astype(np.float32) for shape in ((M, K), (K, N), (M, N)))
    columns_A, columns_B = layout.split(", ")[0] == "columns", layout.split(", ")[1] == "columns"
    a, b, c = (guarded(x, at_end) for x in (A.T.copy() if columns_A else A, B.T.copy() if columns_B else B, C))
    pack_buffer = aligned_zeros(PACK_SIZE, np.dtype(np.int32))
    pack_buffer[...] = np.float32(np.nan).view(np.int32)
    steps_A, steps_B = (1, M) if columns_A else (K, 1), (1, K) if columns_B else (N, 1)
    product(M, N, K, a, *steps_A, b, *steps_B, c, pack_buffer, resume)
    exact = rounded(A).astype(float) @ rounded(B) + (C if resume else 0)
    # Each of K + 1 terms is rounded with the sum so far, which is at most the sum of magnitudes.
    bound = (K + 1) * 2.0**-24 * (np.abs(rounded(A)).astype(float) @ np.abs(rounded(B)) + np.abs(C))
    assert (np.abs(c - exact) <= bound).all()
    np.testing.assert_array_equal(a, A.T if columns_A else A)
    check_canaries_and_free(at_end)


@with_amx
def test_infinities_and_nan_stay_what_they_are():
    A = np.ones((40, 64), np.float32)
    A[3, 5], A[7, 9] = np.inf, np.nan
    A[9, 1] = np.uint32(0x7FFFFFFF).view(np.float32)  # a NaN that becomes -0 where its bits are rounded like a number's
    B, C = np.ones((64, 40), np.float32), np.zeros((40, 40), np.float32)
    product(40, 40, 64, A, 64, 1, B, 40, 1, C, aligned_zeros(PACK_SIZE, np.dtype(np.int32)), False)
    assert np.isposinf(C[3]).all()
    assert np.isnan(C[[7, 9]]).all()
    assert (np.delete(C, [3, 7, 9], 0) == 64).all()


def network_of(sizes, precision, **options):
    network = kernels.Network(sizes, precision=precision, **options)
    rng = np.random.default_rng(0)
    for W, _ in network.layers:
        W[...] = rng.normal(size=W.shape) * np.sqrt(2 / len(W))
    return network


def steps_on(network, samples, threads=2, batch=96):
    with kernels.threads(threads):
        return kernels.mlp_train_steps(
            *samples, np.arange(batch * 3) % len(samples[1]), batch, network, rule=kernels.sgd(), lr=[0.1] * 3,
            dropout=0.2,
        )[0]  # fmt: skip


@pytest.fixture
def samples():
    X = np.random.default_rng(1).normal(size=(200, 70)).astype(np.float32)
    return X, (X[:, 0] + X[:, 1] > 0).astype(int)


def gradient_of(samples, network, factor):
    """The gradient of the mean softmax cross-entropy in NumPy, for ReLU; ``factor`` rounds the factors of products."""
    y, layers, outputs, found = samples[1], network.layers, [samples[0]], []
    for l, (W, b) in enumerate(layers):
        Z = factor(outputs[-1], W) @ factor(W, W) + b
        outputs.append(np.maximum(Z, 0) if l < len(layers) - 1 else Z)
    P = np.exp(outputs.pop() - Z.max(1, keepdims=True))
    dZ = (P / P.sum(1, keepdims=True) - np.eye(Z.shape[1])[y]) / len(y)
    for (W, _), Y in zip(reversed(layers), reversed(outputs)):
        found += [dZ.sum(0), (factor(Y, W).T @ factor(dZ, W)).ravel()]
        dZ = factor(dZ, W) @ factor(W, W).T * (Y > 0)
    return np.concatenate(found[::-1])


def distance(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@with_amx
def test_a_gradient_is_that_of_rounded_factors(samples):
    """In all layers but the last, whose three columns are too few."""
    exact, network = (network_of((70, 130, 129, 3), precision) for precision in ("float32", "bfloat16"))
    gradient = kernels.Network(network.sizes)
    gradient.params = kernels.mlp_gradient(*samples, np.arange(200), network)[2]
    found = np.concatenate([np.concatenate([W.ravel(), b]) for W, b in gradient.layers])
    in_bfloat16 = gradient_of(samples, network, lambda x, W: x if W.shape[1] < 32 else rounded(x).astype(float))
    # A factor halfway between two bfloat16 may be rounded to the other one after float32's own rounding.
    assert distance(found, in_bfloat16) < 1e-4
    assert distance(found, gradient_of(samples, exact, lambda x, W: x.astype(float))) > 1e-3


@with_amx
def test_steps_have_the_same_bits_on_any_threads_and_predictions_are_in_float32(samples):
    networks = [network_of((70, 130, 129, 3), "bfloat16") for _ in range(3)]
    for threads, network in enumerate(networks, 1):
        steps_on(network, samples, threads)
        np.testing.assert_array_equal(network.params, networks[0].params)
    plain = kernels.Network((70, 130, 129, 3))
    plain.params[...] = networks[0].params
    np.testing.assert_array_equal(*(kernels.mlp_forward(samples[0], network) for network in (plain, networks[0])))


@with_amx
def test_narrow_layers_and_small_networks_stay_in_float32(samples):
    for sizes in ((70, 31, 3), (70, 20, 20, 3)):
        networks = [network_of(sizes, precision) for precision in ("float32", "bfloat16")]
        for network in networks:
            steps_on(network, samples)
        np.testing.assert_array_equal(networks[0].params, networks[1].params)


@with_amx
def test_a_network_says_its_precision_and_keeps_it():
    network = kernels.Network((40, 3), precision="bfloat16")
    assert repr(network) == "Network((40, 3), precision='bfloat16')"
    assert pickle.loads(pickle.dumps(network)).precision == "bfloat16"
    with pytest.raises(AttributeError, match="precision of a network is fixed"):
        network.precision = "float32"


def test_a_network_that_was_pickled_before_there_was_a_choice_trains_in_float32(samples):
    networks = [network_of((70, 40, 3), "float32") for _ in range(2)]
    del networks[0].__dict__["precision"]
    for network in networks:
        steps_on(network, samples)
    assert repr(networks[0]) == "Network((70, 40, 3))"
    np.testing.assert_array_equal(networks[0].params, networks[1].params)


def test_what_has_no_such_precision_is_refused(monkeypatch, samples):
    with pytest.raises(ValueError, match="precision is 'float16'; it must be one of float32, bfloat16"):
        kernels.Network((4, 3), precision="float16")
    with pytest.raises(ValueError, match="precision is 'bfloat16' and dtype float64; it goes with float32"):
        kernels.Network((4, 3), precision="bfloat16", dtype="float64")
    network = kernels.Network((70, 130, 3))
    network.__dict__["precision"] = "bfloat16"  # as of a pickle from another machine
    monkeypatch.setattr(bfloat16, "is_available", lambda: False)
    for call in (lambda: kernels.Network((4, 3), precision="bfloat16"), lambda: steps_on(network, samples)):
        with pytest.raises(ValueError, match="precision is 'bfloat16'; it must be 'float32' where .* cannot use AMX"):
            call()
    assert not network.params.any()


def test_the_command_refuses_it_where_it_cannot_be(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(bfloat16, "is_available", lambda: False)
    arguments = ["--data", "synthetic", "--precision", "bfloat16", "--out", str(tmp_path / "run")]
    for extra, line in [
        (
            [],
            "this process cannot use AMX, which Intel's Xeons have from Sapphire Rapids on, under Linux: "
            "give --precision float32",
        ),
        (["--dtype", "float64"], "--precision bfloat16: goes with --dtype float32"),
        (["--backend", "reference"], "--precision bfloat16: goes with --dtype float32 and --backend numba"),
    ]:
        assert main([*arguments, *extra]) == 2
        assert line in capsys.readouterr().err


@with_amx
def test_a_run_in_bfloat16_learns_what_one_in_float32_does():
    digits = load_synthetic(seed=1, n=2000, n_test=500)
    models = [
        fastmlp.fit(digits, hidden=(128, 128), epochs=20, precision=precision).model
        for precision in ("float32", "bfloat16")
    ]
    assert (models[0].network.params != models[1].network.params).any()
    for model in models:
        assert np.mean(model.predict(digits.X_test) == digits.y_test) > 0.92  # 0.945 over six seeds, by either


@with_amx
@pytest.mark.parametrize(
    ("inputs", "options"),
    [
        (40, {"hidden": (31,)}),
        (10, {"hidden": (128,), "batch_size": 16}),
        (10, {"hidden": (128,), "batch_size": 64}),
        (40, {"hidden": (64,)}),  # a small network
        (40, {"hidden": (64,), "dropout": 0.2}),
        (200, {"hidden": (128,), "input": "sparse"}),
        (200, {"hidden": (128, 64), "input": "sparse", "batch_size": 16}),
    ],
)
def test_that_it_changes_nothing_is_said_just_where_it_does_not(inputs, options, caplog):
    X, found = np.random.default_rng(0).normal(size=(300, inputs)), []
    for precision in ("float32", "bfloat16"):
        model = fastmlp.fit(X, np.arange(300) % 3, steps=4, networks=0, precision=precision, **options).model
        found.append(model.network.params)
    assert ("precision bfloat16 changes nothing" in caplog.text) == np.array_equal(*found)


@pytest.mark.parametrize("available", [True, False])
def test_the_doctor_says_whether_there_is_amx(monkeypatch, available):
    monkeypatch.setattr(bfloat16, "is_available", lambda: available)
    assert next(doctor._cpu(kernels)).text.endswith("amx-bf16") == available


@with_amx
def test_a_run_in_bfloat16_goes_on_in_float32_where_there_is_no_amx(monkeypatch, capsys, tmp_path):
    run = ["--out", str(tmp_path / "run")]
    options = ["--data", "synthetic", "--hidden", "128,128", "--precision", "bfloat16", "--steps", "20"]
    assert main([*run, *options]) == 0
    monkeypatch.setattr(bfloat16, "is_available", lambda: False)
    resumed = ["--resume", run[1], "--steps", "40"]
    assert main(resumed) == 2
    assert "give --precision float32" in capsys.readouterr().err
    assert main([*resumed, "--precision", "float32"]) == 0
    assert 'precision = "float32"' in (tmp_path / "run" / "config.toml").read_text()
