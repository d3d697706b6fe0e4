"""The numbers: exact on integers, within the derived bound on floats, NaN and infinity as in NumPy."""

import itertools
import pickle
import tracemalloc

import numpy as np
import pytest
from numba import njit

import kernels
from kernels import LOSSES, gemm, simd
from kernels.gemm import GEMM_SIZE
from kernels.memory import aligned_zeros
from kernels.step import train_steps
from kernels.tuning import (
    BLOCK_COLUMNS,
    BLOCK_DEPTH,
    CONVERTED_ROWS,
    GROUP_ROWS,
    IN_PLACE_BLOCK_BYTES,
    IN_PLACE_BYTES,
    NARROW_COLUMNS,
    NARROW_DEPTH,
    NARROW_VECTORS,
    PACK_ROWS,
    PACK_ROWS_ON_LINES,
    READ_IN_PLACE_BYTES,
    ROW_BLOCK,
    STRIP_ROWS,
    SWAPPED_DEPTH,
    TILE_ROWS,
    TILE_VECTORS,
)

DTYPES = ["float32", "float64"]
dtypes = pytest.mark.parametrize("dtype", DTYPES)
UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}


def panel(dtype):
    """Columns in a full panel of the matrix products."""
    return TILE_VECTORS * simd.REGISTER_BYTES // np.dtype(dtype).itemsize


def small_integers(rng, shape, dtype):
    """Integers so small that every sum of products is exact in float32 (below 2^24 for up to 4,096 terms)."""
    return rng.integers(-8, 9, shape).astype(dtype)


def row_counts():
    """Every remainder of the row tile, and both sides of a row block."""
    return [*range(1, 2 * TILE_ROWS + 2), ROW_BLOCK - 1, ROW_BLOCK, ROW_BLOCK + 1]


def column_counts(dtype):
    """Every remainder of a panel, beyond none and one full panel."""
    return [*range(1, panel(dtype) + 2), 2 * panel(dtype) + 3]


@dtypes
def test_products_of_integers_are_exact_for_every_remainder_of_rows_and_columns(dtype, rng):
    for B in row_counts():
        for O in column_counts(dtype) if B <= TILE_ROWS + 1 else (1, panel(dtype) + 3):
            I = int(rng.integers(1, 40))
            X, W, b = (small_integers(rng, shape, dtype) for shape in ((B, I), (I, O), (O,)))
            exact = X.astype(np.int64) @ W.astype(np.int64) + b.astype(np.int64)
            np.testing.assert_array_equal(kernels.linear_forward(X, W, b), exact)
            np.testing.assert_array_equal(kernels.linear_relu_forward(X, W, b), np.maximum(exact, 0))


@dtypes
def test_gradients_of_integers_are_exact_for_every_remainder(dtype, rng):
    for I in [*range(1, 2 * TILE_ROWS + 2), panel(dtype) + 1]:
        for O in column_counts(dtype) if I <= TILE_ROWS + 1 else (1, panel(dtype) + 3):
            B = int(rng.integers(1, 40))
            X, dY, W = (small_integers(rng, shape, dtype) for shape in ((B, I), (B, O), (I, O)))
            exact = X.astype(np.int64), dY.astype(np.int64), W.astype(np.int64)
            dW, db = kernels.linear_backward_weight(X, dY)
            np.testing.assert_array_equal(dW, exact[0].T @ exact[1])
            np.testing.assert_array_equal(db, exact[1].sum(0))
            dX = exact[1] @ exact[2].T
            np.testing.assert_array_equal(kernels.linear_backward_input(dY, W), dX)
            masked = kernels.linear_backward_input(dY, W, relu_output=X)
            np.testing.assert_array_equal(masked, np.where(X <= 0, 0, dX))


def exact_products(X, dY, W):
    """What of (forward, gradients of weights, biases and inputs, step of W by sgd) differs from the exact integers."""
    x, dy, w = (array.astype(np.int64) for array in (X, dY, W))
    stepped = W.copy()
    kernels.linear_backward_update(X, dY, stepped, rule=kernels.sgd(), lr=1.0)
    found = (kernels.linear_forward(X, W), *kernels.linear_backward_weight(X, dY), kernels.linear_backward_input(dY, W))
    for array, exact in zip((*found, stepped), (x @ w, x.T @ dy, dy.sum(0), dy @ w.T, w - x.T @ dy), strict=True):
        np.testing.assert_array_equal(array, exact)


@dtypes
def test_layers_with_few_outputs_or_inputs_are_exact_for_every_remainder(dtype, rng):
    """Rows up to more than two tiles, samples and inputs to more than two blocks of terms."""
    lanes = simd.REGISTER_BYTES // np.dtype(dtype).itemsize
    tall = [lanes - 1, lanes, NARROW_VECTORS * lanes - 1, NARROW_VECTORS * lanes, 2 * NARROW_VECTORS * lanes + 3]
    deep = [1, NARROW_DEPTH - 1, NARROW_DEPTH, NARROW_DEPTH + 1, 2 * NARROW_DEPTH + 3]
    for N in (*range(1, NARROW_COLUMNS + 2), panel(dtype) - 1, panel(dtype) + NARROW_COLUMNS + 1):
        for B, I in itertools.chain(zip(tall, deep), zip(deep, tall), ((tall[-1], deep[-1]),)):
            for O, K in ((N, I), (I, N)):
                X, dY, W = (small_integers(rng, shape, dtype) for shape in ((B, K), (B, O), (K, O)))
                exact_products(X, dY, W)
                exact_products(abs(X).astype(np.uint8), dY, W)
    K = GEMM_SIZE // NARROW_COLUMNS + 1  # the fewest inputs for which a forward product does not transpose W
    exact_products(*(small_integers(rng, shape, dtype) for shape in ((6, K), (6, 2), (K, 2))))


@dtypes
def test_weight_gradients_of_pixels_are_exact_in_every_block(dtype, rng):
    """Of samples that are converted together, and of inputs."""
    for O in (1, 3, panel(dtype) + 1):
        shapes = (2 * CONVERTED_ROWS + 3, STRIP_ROWS + 5), (2 * CONVERTED_ROWS + 3, O), (STRIP_ROWS + 5, O)
        X, dY, W = (small_integers(rng, shape, dtype) for shape in shapes)
        for threads in (1, 3):
            with kernels.threads(threads):
                exact_products(abs(X).astype(np.uint8), dY, W)


def test_weight_gradients_of_pixels_need_no_copy_of_them_as_floats():
    X, dY = np.ones((20_000, 1_000), np.uint8), np.ones((20_000, 2), np.float32)
    W = np.zeros((1_000, 2), np.float32)
    tracemalloc.start()
    kernels.linear_backward_weight(X, dY)
    kernels.linear_backward_update(X, dY, W, rule=kernels.sgd(), lr=0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes  # what else there is are some MB of scratch; a copy would be four times X


@dtypes
@pytest.mark.parametrize("outputs", [*range(1, NARROW_COLUMNS + 1), 45])
def test_a_row_has_its_bits_in_any_company(dtype, outputs, rng):
    """Alone and among others, on any number of threads, and where others, but not it, are mostly zeros."""
    X, W = rng.standard_normal((700, 800)).astype(dtype), rng.standard_normal((800, outputs)).astype(dtype)
    X[ROW_BLOCK:] *= rng.random((len(X) - ROW_BLOCK, 1)) < 0.2
    network = kernels.Network((800, outputs, 3), dtype=dtype)
    network.params[...] = rng.standard_normal(network.params.shape)
    for forward in (lambda X: kernels.linear_forward(X, W), lambda X: kernels.mlp_forward(X, network)):
        together = []
        for threads in (1, 2, 3, 4):
            with kernels.threads(threads):
                together.append(forward(X))
        assert all(result.tobytes() == together[0].tobytes() for result in together)
        for rows in (slice(0, 1), slice(3, 20), slice(60, 61), slice(63, 190), slice(699, 700)):
            assert forward(X[rows]).tobytes() == together[0][rows].tobytes()


@dtypes
def test_packed_products_of_integers_are_exact_for_every_remainder_of_rows(dtype, rng):
    """As many rows as are packed, up to two groups of them; a second block of terms, and of columns."""
    K, size = BLOCK_DEPTH + 3, np.dtype(dtype).itemsize
    N = max(BLOCK_COLUMNS, READ_IN_PLACE_BYTES // (K * size)) + panel(dtype) + 3
    A, B = small_integers(rng, (PACK_ROWS + GROUP_ROWS, K), dtype), small_integers(rng, (K, N), dtype)
    across, exact = A.T.copy(), A.astype(np.float64) @ B.astype(np.float64)
    with kernels.threads(1):
        for M in range(PACK_ROWS - 1, len(A) + 1):
            np.testing.assert_array_equal(kernels.linear_forward(A[:M], B), exact[:M])
            np.testing.assert_array_equal(kernels.linear_backward_input(A[:M], B.T.copy()), exact[:M])
            np.testing.assert_array_equal(kernels.linear_backward_weight(across[:, :M].copy(), B)[0], exact[:M])


@dtypes
def test_input_gradients_of_integers_are_exact_where_their_operands_are_swapped(dtype, rng):
    """All rows and fewer of the last panel, all remainders of the strip; a second block of terms, and of rows."""
    wide = panel(dtype)
    most = GEMM_SIZE // (SWAPPED_DEPTH + TILE_ROWS + GROUP_ROWS) // wide * wide
    fewest = 2 * (most + wide)
    columns = range(fewest, fewest + GROUP_ROWS + 1)
    dY = small_integers(rng, (most + wide, SWAPPED_DEPTH + 3), dtype)
    W = small_integers(rng, (columns[-1], SWAPPED_DEPTH + 3), dtype)
    exact = dY.astype(np.float64) @ W.T.astype(np.float64)
    with kernels.threads(1):
        for rows in (wide, wide - 1, wide - 5, most + wide - 1):
            for N in columns[:: 1 if rows == wide else 7]:
                assert gemm._packs_less_swapped(rows, N, dY.shape[1], wide)
                dX = kernels.linear_backward_input(dY[:rows], W[:N])
                np.testing.assert_array_equal(dX, exact[:rows, :N])


@dtypes
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_sparse_and_pixel_inputs_are_exact_too(dtype, density, rng):
    for B, I, O in ((1, 1, 1), (5, 9, panel(dtype) + 3), (ROW_BLOCK + 2, 33, 10), (3, 4, 2 * panel(dtype))):
        X = np.where(rng.random((B, I)) < density, rng.integers(0, 256, (B, I)), 0).astype(np.uint8)
        W, dY = small_integers(rng, (I, O), dtype), small_integers(rng, (B, O), dtype)
        exact = X.astype(np.int64) @ W.astype(np.int64)
        for given in (X, kernels.csr(X)):
            np.testing.assert_array_equal(kernels.linear_forward(given, W, scale=0.5), exact / 2)
            dW, _ = kernels.linear_backward_weight(given, dY, scale=2)
            np.testing.assert_array_equal(dW, 2 * (X.T.astype(np.int64) @ dY.astype(np.int64)))


@dtypes
def test_few_rows_times_several_blocks_that_are_read_in_place_are_exact(dtype, rng):
    side = int((4 * IN_PLACE_BLOCK_BYTES / np.dtype(dtype).itemsize) ** 0.5) + 3
    X, W = small_integers(rng, (9, side), dtype), small_integers(rng, (side, side), dtype)
    exact = X.astype(np.float64) @ W.astype(np.float64)
    with kernels.threads(1):
        for rows in (1, 9):
            np.testing.assert_array_equal(kernels.linear_forward(X[:rows], W), exact[:rows])


@dtypes
@pytest.mark.parametrize("offset", [0, 1])
def test_products_with_a_matrix_on_cache_lines_and_off_them_are_exact(dtype, offset, rng):
    """The most rows for which it is read in place, and one more; small enough for its cache, and not."""
    N = 256
    most = IN_PLACE_BYTES // (N * np.dtype(dtype).itemsize)
    A = small_integers(rng, (PACK_ROWS_ON_LINES, most + 1), dtype)
    B = aligned_zeros((most + 1) * N + offset, np.dtype(dtype))[offset:].reshape(most + 1, N)
    B[...] = small_integers(rng, B.shape, dtype)
    exact = [A[:, :K].astype(np.float64) @ B[:K].astype(np.float64) for K in (most, most + 1)]
    with kernels.threads(1):
        for K, rows in itertools.product((most, most + 1), (PACK_ROWS - 1, PACK_ROWS, len(A) - 1, len(A))):
            np.testing.assert_array_equal(kernels.linear_forward(A[:rows, :K], B[:K]), exact[K - most][:rows])


@dtypes
def test_threads_and_misaligned_memory_keep_integers_exact(dtype, rng):
    raw = np.zeros(200 * 190 + 64, dtype)
    for offset in (0, 1, 3, 7):
        X = raw[offset : offset + 200 * 190].reshape(200, 190)
        X[...] = small_integers(rng, X.shape, dtype)
        W = small_integers(rng, (190, 67), dtype)
        exact = X.astype(np.int64) @ W.astype(np.int64)
        for count in (1, 2, 3, 4):
            with kernels.threads(count):
                np.testing.assert_array_equal(kernels.linear_forward(X, W), exact)


def bound(terms, unit):
    """gamma_n of Higham, Accuracy and Stability of Numerical Algorithms, section 3.1."""
    n = terms + 2
    return n * unit / (1 - n * unit)


PRODUCT_SHAPES = [(7, 784, 33), (128, 784, 256), (33, 4096, 17), (64, 10, 784), (5, 1, 5)]


@dtypes
@pytest.mark.parametrize("shape", PRODUCT_SHAPES, ids=str)
def test_products_err_less_than_gamma_and_than_a_dropped_term(dtype, shape, rng, record_property):
    """|error| <= gamma_(K+2) (|X||W| + |b|), and 4 sqrt(K) u of that: gamma alone misses a dropped term at large K."""
    B, K, O = shape
    X, W, b = (rng.standard_normal(s).astype(dtype) for s in ((B, K), (K, O), (O,)))
    wide = np.longdouble if dtype == "float64" else np.float64
    cases = {
        "forward": (kernels.linear_forward(X, W, b), (X, W), b),
        "input": (kernels.linear_backward_input(X, W.T.copy()), (X, W), None),
        "weight": (kernels.linear_backward_weight(X.T.copy(), W)[0], (X, W), None),
    }
    for name, (fast, factors, bias) in cases.items():
        left, right = (factor.astype(wide) for factor in factors)
        extra = 0 if bias is None else bias.astype(wide)
        error = abs(fast - (left @ right + extra))
        magnitude = abs(left) @ abs(right) + abs(extra)
        ratio = float((error / magnitude).max())
        record_property(f"{name} error / gamma", ratio / bound(K, UNIT[dtype]))
        assert ratio <= bound(K, UNIT[dtype])
        assert ratio <= 4 * max(1, K) ** 0.5 * UNIT[dtype] + 2 * UNIT[dtype]


@dtypes
def test_relu_passes_nan_in_every_lane_and_tail(dtype):
    for O in column_counts(dtype):
        for column in range(O):
            W = np.zeros((2, O), dtype)
            W[1, column] = np.nan
            Y = kernels.linear_relu_forward(np.array([[0, 1], [1, 0]], dtype), W)
            assert np.isnan(Y[0, column])
            expected = np.maximum(np.array([[0, 1], [1, 0]], dtype) @ W, 0)
            np.testing.assert_array_equal(Y, expected)


@dtypes
def test_the_relu_mask_passes_nan_and_stops_zero(dtype):
    dY, W = np.ones((1, 1), dtype), np.ones((4, 1), dtype)
    output = np.array([[0.0, -0.0, 1e-30, np.nan]], dtype)
    np.testing.assert_array_equal(kernels.linear_backward_input(dY, W, relu_output=output), [[0, 0, 1, 1]])


@dtypes
@pytest.mark.parametrize("classes", [1, 2, 10, 17, 1000])
def test_softmax_rows_sum_to_one(dtype, classes, rng):
    """Each of N terms has its rounding, the sum N - 1, the quotient one: (N + 2) u and room for exp itself."""
    P = kernels.softmax((30 * rng.standard_normal((50, classes))).astype(dtype))
    assert abs(P.sum(1, dtype=np.float64) - 1).max() <= (classes + 4) * UNIT[dtype]
    assert P.min() >= 0


@dtypes
def test_cross_entropy_equals_its_twin_in_the_wider_type(dtype, rng):
    """exp of an argument d away from the maximum carries d u from the subtraction; the loss sums log and d."""
    Z = (20 * rng.standard_normal((200, 10))).astype(dtype)
    y = rng.integers(0, 10, 200)
    loss, correct, dZ = kernels.softmax_cross_entropy(Z, y)
    wide = kernels.reference.softmax_cross_entropy(Z.astype(np.longdouble), y)
    spread = float(np.ptp(Z, axis=1).max())
    assert correct == wide[1]
    assert loss == pytest.approx(float(wide[0]), rel=(10 + spread) * UNIT[dtype])
    assert abs(dZ - wide[2]).max() <= (10 + spread) * UNIT[dtype]


# Of d = z - y what it costs and how that rises, where both are exact in binary.
COSTS = {
    "squared": ("squared_error", lambda d: (d * d / 2, d)),
    "absolute": ("absolute_error", lambda d: (abs(d), np.sign(d))),
    "huber": (LOSSES["huber"](3), lambda d: (np.where(abs(d) <= 3, d * d / 2, 3 * abs(d) - 4.5), d.clip(-3, 3))),
    "quantile": (LOSSES["quantile"]([0.25]), lambda d: (np.where(d > 0, 0.75, -0.25) * d, (d > 0) - 0.25 * (d != 0))),
}


@dtypes
@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("outputs", [1, 2, 7, 33])
def test_errors_of_integers_cost_what_they_should_exactly(dtype, cost, outputs, rng):
    """As a sum over rows and outputs, each row by its weight."""
    loss, exact = COSTS[cost]
    Z, Y = (small_integers(rng, (19, outputs), dtype) for _ in range(2))
    for w in (np.ones(19, int), rng.integers(0, 5, 19)):
        costs, slopes = exact(Z.astype(int) - Y.astype(int))
        total, correct, dZ = kernels.loss_gradient(Z, Y, loss, sample_weight=w)
        assert (total, correct) == ((w[:, None] * costs).sum(), 0)
        np.testing.assert_array_equal(dZ, w[:, None] * slopes)


@pytest.mark.parametrize(
    ("loss", "other", "options", "spread"),
    [
        ("squared_error", "HalfSquaredError", {}, 0),
        ("absolute_error", "AbsoluteError", {}, 0),
        (LOSSES["huber"](1.5), "HuberLoss", {"delta": 1.5}, 0),
        (LOSSES["quantile"](0.3), "PinballLoss", {"quantile": 0.3}, 0),
        ("poisson", "HalfPoissonLoss", {}, 1),
        ("gamma", "HalfGammaLoss", {}, 1),
    ],
    ids=str,
)
def test_losses_of_numbers_are_scikit_learns(loss, other, options, spread, rng):
    """Whose deviances lack what depends on the target alone."""
    others = getattr(pytest.importorskip("sklearn._loss.loss"), other)(**options)
    if other == "HuberLoss":
        others.closs.delta = 1.5
    z, y = rng.standard_normal(500), rng.gamma(2, size=500)
    total, _, dZ = kernels.loss_gradient(z[:, None], y, loss)
    expected = others.loss(y_true=y, raw_prediction=z) + spread * others.constant_to_optimal_zero(y)
    assert total == pytest.approx(expected.sum(), rel=1e-12)
    np.testing.assert_allclose(dZ[:, 0], others.gradient(y_true=y, raw_prediction=z), rtol=1e-12, atol=1e-15)


def test_quantiles_lie_side_by_side_and_never_cross_in_a_prediction(rng):
    loss = LOSSES["quantile"]((0.1, 0.5, 0.9))
    Z, Y = rng.standard_normal((50, 6)), rng.standard_normal((50, 2))
    each = [kernels.loss_gradient(Z[:, [k]], Y[:, k // 3], LOSSES["quantile"](loss.quantiles[k % 3])) for k in range(6)]
    total, _, dZ = kernels.loss_gradient(Z, Y, loss)
    assert total == pytest.approx(sum(one[0] for one in each))
    np.testing.assert_array_equal(dZ, np.hstack([one[2] for one in each]))
    predicted = loss.predict(Z).reshape(50, 2, 3)
    assert (np.diff(predicted) >= 0).all()
    np.testing.assert_array_equal(np.sort(predicted.ravel()), np.sort(Z.ravel()))
    assert kernels.loss_gradient(predicted.reshape(50, 6), Y, loss)[0] < total


def test_what_a_deviance_predicts_is_the_exponential_of_the_output():
    for name in ("poisson", "gamma"):
        loss, _, dZ = kernels.loss_gradient(np.log([[3.0, 5.0]]), [[3, 5]], name)
        assert loss == pytest.approx(0, abs=1e-14)
        np.testing.assert_allclose(dZ, 0, atol=1e-14)
        np.testing.assert_allclose(LOSSES[name]().predict(np.log([[3.0, 5.0]])), [[3, 5]])


@dtypes
def test_a_focal_loss_of_zero_gamma_is_cross_entropy_and_certainty_costs_nothing(dtype, rng):
    Z, labels = (5 * rng.standard_normal((60, 7))).astype(dtype), rng.integers(0, 7, 60)
    loss, correct, dZ = kernels.loss_gradient(Z, labels, LOSSES["focal"](0))
    expected = kernels.softmax_cross_entropy(Z, labels)
    assert (loss, correct) == (pytest.approx(expected[0], rel=40 * UNIT[dtype]), expected[1])
    np.testing.assert_allclose(dZ, expected[2], atol=4 * UNIT[dtype])
    for gamma in (0.5, 2):
        loss, _, dZ = kernels.loss_gradient(np.array([[2000.0, 0]], dtype), [0], LOSSES["focal"](gamma))
        assert (loss, abs(dZ).max()) == (0, 0)


def test_a_loss_of_ones_own_trains_as_the_same_one_of_the_table(rng):
    """On one and two threads, by weights; within the rounding of a sum of three squares."""

    @njit
    def half_squares(z, y, dz):
        dz[:] = z - y
        return 0.5 * (dz * dz).sum()

    X, Y = kernels.csr(rng.integers(0, 9, (300, 50)).astype(np.uint8)), rng.standard_normal((300, 3))
    network = kernels.Network((50, 70, 3), output="identity", dtype="float64")
    network.params[:] = 0.1 * rng.standard_normal(network.params.size)
    options = {"sample_weight": rng.random(300)}
    expected = kernels.mlp_gradient(X, Y, np.arange(300), network, loss="squared_error", **options)
    loss = kernels.custom_loss(half_squares)
    for threads in (1, 2):
        with kernels.threads(threads):
            found = kernels.mlp_gradient(X, Y, np.arange(300), network, loss=loss, **options)
        assert found[0] == pytest.approx(expected[0], rel=4 * UNIT["float64"])
        np.testing.assert_allclose(found[2], expected[2], rtol=0, atol=300 * UNIT["float64"] * abs(expected[2]).max())


def test_a_loss_is_the_function_that_it_was_made_of_though_another_has_its_name():
    scope = {"np": np}
    for factor in (2.0, 3.0):
        exec(f"def scaled(z, y, dz):\n    dz[:] = {factor}\n    return {factor} * (z - y).sum()", scope)
        loss = kernels.custom_loss(scope["scaled"])
        for ops in (kernels, kernels.reference):
            total, correct, dZ = ops.loss_gradient(np.ones((4, 2)), np.zeros((4, 2)), loss)
            assert (total, correct) == (8 * factor, 0)
            np.testing.assert_array_equal(dZ, factor)


def half_square(z, y, dz):
    dz[:] = z - y
    return 0.5 * (dz[0] * dz[0])


def test_a_loss_of_ones_own_is_pickled_by_its_function():
    """As joblib's processes need it: its class cannot be imported."""
    loss = kernels.custom_loss(half_square, width=1)
    assert pickle.loads(pickle.dumps(loss)) is loss


def test_a_step_goes_back_from_any_array_that_is_given_for_targets(rng):
    def given(z, y, dz):
        dz[:] = y
        return 0.0

    X, dY, W = rng.standard_normal((20, 6)), rng.standard_normal((20, 3)), rng.standard_normal((6, 3))
    network = kernels.Network((6, 3), output="identity", dtype="float64", bias=False)
    network.layers[0][0][...] = W
    gradient = kernels.mlp_gradient(X, dY, np.arange(20), network, mean=False, loss=kernels.custom_loss(given))[2]
    np.testing.assert_allclose(gradient[:18].reshape(6, 3), X.T @ dY, rtol=1e-12)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_for_which_a_loss_raises_costs_nan_on_any_number_of_threads(threads):
    def inverse(z, y, dz):
        if y[0] < 0:
            raise ValueError("negative")
        dz[:] = 1 / y[0]
        return 1 / y[0]

    Z, loss = np.ones((60_000, 1)), kernels.custom_loss(inverse)
    with kernels.threads(threads):
        for bad in (-1, 0):
            Y = np.ones(len(Z))
            Y[1] = bad
            total, _, dZ = kernels.loss_gradient(Z, Y, loss)
            assert np.isnan(total)
            np.testing.assert_array_equal(np.isnan(dZ[:, 0]), bad == Y)


def test_parameters_of_a_loss_are_compiled_once():
    """Whatever they are, and however many quantiles there are."""
    network = kernels.Network((3, 6), output="identity")
    X, Y, compiled = np.ones((4, 3)), np.ones((4, 6)), []
    for made in (
        [LOSSES["huber"](1), LOSSES["huber"](2.5)],
        [LOSSES["quantile"](0.5), LOSSES["quantile"]([0.2, 0.4, 0.7])],
    ):
        for loss in made:
            kernels.mlp_gradient(X, Y[:, :: getattr(loss, "each", 1)], [0, 1], network, loss=loss)
            compiled.append(len(train_steps.overloads))
        assert compiled[-1] == compiled[-2]


@dtypes
def test_cross_entropy_is_finite_where_the_probability_underflows(dtype):
    Z = np.array([[0.0, -2000.0]], dtype)
    loss, correct, dZ = kernels.softmax_cross_entropy(Z, [1])
    assert (loss, correct) == (2000.0, 0)
    np.testing.assert_array_equal(dZ, [[1, -1]])


@dtypes
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", range(5))
def test_non_finite_logits_give_a_nan_loss(dtype, bad, place):
    Z = np.zeros((3, 5), dtype)
    Z[1, place] = bad
    for label in range(5):
        assert np.isnan(kernels.softmax_cross_entropy(Z, [0, label, 0])[0])


@dtypes
@pytest.mark.parametrize(("logits", "first"), [([1, np.nan, np.nan], 1), ([1, 3, 3, 0], 1)], ids=["NaN", "ties"])
def test_the_first_largest_logit_is_the_argmax_as_in_numpy(logits, first, dtype):
    Z = np.array([logits], dtype)
    for label in range(len(logits)):
        for ops in (kernels, kernels.reference):
            assert ops.softmax_cross_entropy(Z, np.array([label]))[1] == (label == first)
