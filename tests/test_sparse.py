"""The sparse first layer: the dense one's bits, whatever the layout, the split and what was put off."""

import copy
import itertools
import pickle
from functools import partial

import numpy as np
import pytest
from numba import njit

import kernels
from kernels import reference, sparse, step, tuning
from kernels.tuning import COLUMN_BLOCK, PANEL_VECTORS

from op_cases import RULES

rules = pytest.mark.parametrize("rule", RULES, ids=str)


def every_two(*sizes):
    """(rule, dtype, sizes), of which every two meet; nightly all three."""
    triples = itertools.product(*map(enumerate, (RULES, ("float32", "float64"), sizes)))
    return pytest.mark.parametrize(
        ("rule", "dtype", "sizes"),
        [
            pytest.param(rule, dtype, each, marks=pytest.mark.nightly if (i + j + k) % 2 else ())
            for (i, rule), (j, dtype), (k, each) in triples
        ],
        ids=str,
    )


def sparse_samples(rng, rows, columns, density, dtype):
    X = np.where(rng.random((rows, columns)) < density, rng.integers(1, 256, (rows, columns)), 0)
    return X.astype(dtype) / 255 if dtype != "uint8" else X.astype(dtype)


def train(X, y, sizes, rule, *, dtype="float32", threads=2, batch=16):
    """Parameters, state and losses after one pass over X with a falling rate."""
    network = kernels.Network(sizes, slots=rule.slots, dtype=dtype)
    rng = np.random.default_rng(1)
    for W, _ in network.layers:
        W[...] = rng.standard_normal(W.shape) * 0.1
    rows = rng.permutation(X.shape[0])
    lr = np.linspace(0.1, 0.01, -(-X.shape[0] // batch))
    with kernels.threads(threads):
        losses, _ = kernels.mlp_train_steps(X, y, rows, batch, network, rule=rule, lr=lr, scale=1 / 255)
    return np.concatenate((network.params, network.state, losses))


def trainings(rule, dtype, sizes):
    """A training on uint8 by each kernel that ``train`` may call."""
    if len(sizes) == 2:
        X, y = np.zeros((20, 150), np.uint8), np.zeros(20, np.int64)
        yield from (partial(train, given, y, sizes, rule, dtype=dtype) for given in (X, kernels.csr(X)))


@pytest.mark.compiles(calls=trainings)
@every_two((150, 100, 5), (150, 96, 5), (150, 3), (2 * COLUMN_BLOCK + 9, 17, 20, 5))
def test_training_on_the_non_zeros_alone_gives_the_bits_of_training_on_all(rule, dtype, sizes, rng, monkeypatch):
    X, y = sparse_samples(rng, 90, sizes[0], 0.1, "uint8"), rng.integers(0, sizes[-1], 90)
    expected = train(X, y, sizes, rule, dtype=dtype)
    # Packed and unpacked, for one part and more parts than panels; unpacked, parts own panels of 96 columns only, and
    # most rules put steps off.
    monkeypatch.setattr(tuning, "SERIAL_FLOP", 0)
    monkeypatch.setattr(tuning, "PACKED_VISITS", 0)
    monkeypatch.setattr(tuning, "PACKED_ENTRIES", 0)
    for packed_bytes in (0, 2**30):
        monkeypatch.setattr(tuning, "PACKED_BYTES", packed_bytes)
        for threads in (1, 2, 3, 4):
            trained = train(kernels.csr(X), y, sizes, rule, dtype=dtype, threads=threads)
            np.testing.assert_array_equal(trained, expected)


@every_two((150, 100, 5), (150, 3), (2 * COLUMN_BLOCK + 9, 17, 20, 5))
def test_sums_of_squares_are_of_the_weights_before_each_step(rule, dtype, sizes, rng, monkeypatch):
    X, y = sparse_samples(rng, 90, sizes[0], 0.02, "uint8"), rng.integers(0, sizes[-1], 90)
    params = rng.standard_normal(kernels.Network(sizes).params.size * 2) * 0.1

    def squares(ops, X, threads, **options):
        network, total = kernels.Network(sizes, slots=rule.slots, dtype=dtype), np.full(1, np.nan)
        for (W, _), start in zip(network.layers, network.offsets):
            W[...] = params[start : start + W.size].reshape(W.shape)
        with kernels.threads(threads):
            ops.mlp_train_steps(
                X,
                y,
                np.arange(90),
                16,
                network,
                rule=rule,
                lr=np.full(6, 0.01),
                scale=1 / 255,
                squares=total,
                **options,
            )
        return total[0]

    monkeypatch.setattr(tuning, "SERIAL_FLOP", 0)
    monkeypatch.setattr(tuning, "PACKED_VISITS", 0)
    monkeypatch.setattr(tuning, "PACKED_ENTRIES", 0)
    expected = squares(reference, X, 1)
    # A lane adds up SPAN squares or fewer, or 64 of each step, each sum and each weight with its rounding.
    bound = 2 * 512 * np.finfo(dtype).eps * expected
    for packed_bytes in (0, 2**30):
        monkeypatch.setattr(tuning, "PACKED_BYTES", packed_bytes)
        for samples in (X, kernels.csr(X)):
            first, *others = (squares(kernels, samples, threads) for threads in (1, 2, 3, 4))
            assert others == [first] * 3
            assert abs(first - expected) <= bound
    assert abs(squares(kernels, X, 2, clip=1e9) - expected) <= bound


@pytest.mark.parametrize("rule", [kernels.momentum(), kernels.adam()], ids=str)
def test_momentum_that_fades_while_steps_are_put_off(rule, rng, monkeypatch):
    """A column with entries in the first row alone: its momentum is below the normal numbers some 830 steps later."""
    X, y = sparse_samples(rng, 1200, 20, 0.2, "uint8"), rng.integers(0, 3, 1200)
    X[:, 0] = 0
    X[0, 0] = 255
    monkeypatch.setattr(tuning, "PACKED_BYTES", 0)
    networks = []
    for given in (X, kernels.csr(X)):
        network = kernels.Network((20, 16, 3), slots=rule.slots)
        for W, _ in network.layers:
            W[...] = np.random.default_rng(1).standard_normal(W.shape) * 0.1
        lr = np.full(1200, 1e-3)
        kernels.mlp_train_steps(given, y, np.arange(1200), 1, network, rule=rule, lr=lr, scale=1 / 255)
        assert (network.states(0, rule)[0][0, 0] == 0).all()
        assert (network.states(0, rule)[0][0, 1] != 0).any()
        networks.append(network)
    assert networks[0].params.tobytes() == networks[1].params.tobytes()
    assert networks[0].state.tobytes() == networks[1].state.tobytes()


@pytest.mark.parametrize("batch", [256, 257])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_bytes_and_their_rows_in_one_number_and_in_two(batch, threads, rng):
    """Up to 256 rows in a batch, and more."""
    X, y = sparse_samples(rng, 2 * batch, 150, 0.1, "uint8"), rng.integers(0, 5, 2 * batch)
    expected = train(X, y, (150, 100, 5), kernels.sgd(), batch=batch)
    trained = train(kernels.csr(X), y, (150, 100, 5), kernels.sgd(), batch=batch, threads=threads)
    np.testing.assert_array_equal(trained, expected)


@rules
def test_a_column_without_entries_for_long_catches_up(rule, monkeypatch):
    """Column 0 is met in the first and last step alone, column 2 in the first: momentum and decay move them between."""
    X = np.zeros((40, 3), np.uint8)
    X[:, 1] = 1
    X[0, 0] = X[39, 0] = X[0, 2] = 1
    y = np.arange(40) % 3
    monkeypatch.setattr(tuning, "PACKED_BYTES", 0)
    lr = np.linspace(0.5, 0.1, 40)
    results = []
    for given in (X, kernels.csr(X)):
        network = kernels.Network((3, 70, 3), slots=rule.slots)
        network.params[...] = np.linspace(1, -1, network.params.size)  # so all units are on
        kernels.mlp_train_steps(given, y, np.arange(40), 1, network, rule=rule, lr=lr)
        results.append(np.concatenate((network.params, network.state)))
    np.testing.assert_array_equal(*results)


def test_a_part_waits_for_the_columns_that_another_catches_up(monkeypatch):
    """Two parts share a panel; only the second has columns that have put off 500 steps, which takes it long."""
    X, y = np.zeros((1002, 128), np.float32), np.arange(1002) % 3
    X[:, 0] = 1
    X[:2, 64:] = X[-2:, 64:] = 1
    monkeypatch.setattr(tuning, "PACKED_BYTES", 0)
    monkeypatch.setattr(tuning, "SERIAL_FLOP", 0)
    trained = [train(kernels.csr(X), y, (128, 16, 3), kernels.adam(), threads=n, batch=2) for n in (1, 2)]
    np.testing.assert_array_equal(*trained)


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_panels_hold_every_column_with_the_fewest_vectors(lanes):
    widest = PANEL_VECTORS * lanes
    for H in range(1, 6 * widest + 2):
        panels = sparse.panel_count(H, lanes)
        starts = [sparse.panel_start(p, H, lanes) for p in range(panels + 1)]
        assert starts[0] == 0
        assert starts[-2] < H <= starts[-1]
        assert set(np.diff(starts)) <= {widest - lanes, widest}
        idle = (starts[-1] - H) // lanes
        assert idle == 0 or widest not in np.diff(starts)  # where all are narrow, or one panel or two of few columns


@njit
def rows(part, parts, panels, splits, H, n):
    return step.rows_to_transpose(part, parts, panels, splits, H, 16, n)


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 7])
def test_each_row_is_transposed_once_and_by_who_has_least_to_compute(parts):
    for H in (1, 48, 64, 80, 100, 130, 256, 300, 1000):
        panels = sparse.panel_count(H, 16)
        for splits in {-(-parts // panels), parts}:
            for n in (1, 7, 200):
                of = [rows(part, parts, panels, splits, H, n) for part in range(parts)]
                assert [of[0][0], *(hi for _, hi in of)] == [*(lo for lo, _ in of), n]
    lo, hi = rows(0, 2, 2, 1, (2 * PANEL_VECTORS - 1) * 16, 200)  # the second panel has a vector less
    assert 0 < hi - lo < 100


# What a rule does with an entry is the same code, wherever its value was read.
@pytest.mark.parametrize(
    "rule",
    [rule if rule.name in ("sgd", "momentum") else pytest.param(rule, marks=pytest.mark.nightly) for rule in RULES],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_on_a_dictionary_gives_the_same_bits(rule, dtype, rng):
    X, y = sparse_samples(rng, 90, 150, 0.1, dtype), rng.integers(0, 5, 90)
    plain = kernels.csr(X)
    encoded = plain.dictionary_encode()
    assert encoded.values.dtype == np.uint8
    assert len(encoded.dictionary) == len(np.unique(plain.values))
    assert encoded.dtype == plain.dtype
    assert encoded.columns_rise
    np.testing.assert_array_equal(encoded.toarray(), X)
    for network_dtype in ("float32", "float64") if rule.name == "sgd" else (dtype,):
        results = [train(given, y, (150, 100, 5), rule, dtype=network_dtype) for given in (plain, encoded)]
        np.testing.assert_array_equal(*results)
    network = kernels.Network((150, 100, 5), dtype=dtype)
    network.params[...] = rng.standard_normal(network.params.size)
    W, dY = network.layers[0][0].copy(), rng.standard_normal((90, 100)).astype(dtype)
    for given in (lambda X: kernels.mlp_forward(X, network, scale=0.5),
                  lambda X: kernels.linear_forward(X, W, scale=0.5),
                  lambda X: kernels.linear_backward_weight(X, dY, scale=0.5)[0]):  # fmt: skip
        np.testing.assert_array_equal(given(encoded), given(plain))


def test_a_dictionary_holds_at_most_256_values_each_with_its_bits():
    def row(values):
        return kernels.CSR([0, len(values)], np.arange(len(values)), values, (1, len(values)))

    values = np.random.default_rng(0).standard_normal(256)
    encoded = row(np.tile(values, 3)).dictionary_encode()
    np.testing.assert_array_equal(encoded.dictionary, values)
    np.testing.assert_array_equal(encoded.values, np.tile(np.arange(256), 3))
    with pytest.raises(ValueError, match="read-only"):
        encoded.dictionary[0] = 1
    assert encoded.dictionary_encode() is encoded
    for same in (row(np.append(values, 0.5)), row(np.arange(5, dtype=np.uint8))):
        assert same.dictionary_encode() is same
    special = np.array([0.0, -0.0, np.nan, np.inf, 5e-324], "float64")
    np.testing.assert_array_equal(
        row(special).dictionary_encode().toarray().view(np.int64)[0], (special + 0).view(np.int64)
    )
    assert row(np.empty(0, "float32")).dictionary_encode().toarray().size == 0


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda X: pickle.loads(pickle.dumps(X))])
def test_a_copy_of_a_matrix_can_not_be_written_to_either(rng, copied):
    """Kernels trust what was checked once; and for arrays that can be written to they would be compiled anew."""
    X = kernels.csr(sparse_samples(rng, 9, 20, 0.3, "float32")).dictionary_encode()
    twin = copied(X)
    np.testing.assert_array_equal(twin.toarray(), X.toarray())
    assert not any(array.flags.writeable for array in (*twin.arrays, twin.dictionary))
    assert X in {X}  # two of them are not compared entry by entry
    assert twin != X


def test_columns_in_any_order_and_twice_give_the_same_product(rng):
    """What SciPy makes without sorting: the sum, though not the bits."""
    X = sparse_samples(rng, 40, 150, 0.3, "float64")
    ordered = kernels.csr(X)
    indices, values = ordered.indices.copy(), ordered.values.copy()
    for start, end in zip(ordered.indptr, ordered.indptr[1:]):
        order = rng.permutation(end - start) + start
        indices[start:end], values[start:end] = ordered.indices[order], ordered.values[order]
    shuffled = kernels.CSR(ordered.indptr, indices, values, X.shape)
    assert ordered.columns_rise
    assert not shuffled.columns_rise
    halves = kernels.CSR(2 * ordered.indptr, np.repeat(indices, 2), np.repeat(values, 2) / 2, X.shape)
    y = rng.integers(0, 5, 40)
    results = [train(given, y, (150, 70, 5), kernels.sgd(), dtype="float64") for given in (ordered, shuffled, halves)]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-12, atol=1e-14)


def test_a_matrix_without_columns_gives_the_bias():
    X, b, Y = kernels.csr(np.empty((3, 0), np.float32)), np.array([1, -2], np.float32), np.empty((3, 2), np.float32)
    np.testing.assert_array_equal(kernels.linear_forward(X, np.empty((0, 2), np.float32), b, out=Y), [[1, -2]] * 3)


def test_a_batch_with_more_entries_than_an_int32_counts_is_refused():
    with pytest.raises(
        ValueError, match="a batch of X has 2147483648 entries; .* at most 2147483647: take a smaller batch"
    ):
        sparse.entry_arrays((1, 2**31), 300, np.dtype(np.uint8))


@pytest.mark.parametrize("density", [0.0, 0.1, 0.9, 1.0])
@pytest.mark.parametrize("sizes", [(50, 100, 5), (50, 5)], ids=str)
def test_logits_have_the_same_bits_from_dense_and_sparse_rows_in_any_batch(density, sizes, rng):
    X = sparse_samples(rng, 200, 50, density, "uint8")
    network = kernels.Network(sizes)
    network.params[...] = rng.standard_normal(network.params.size)
    together = kernels.mlp_forward(X, network, scale=1 / 255)
    np.testing.assert_array_equal(kernels.mlp_forward(kernels.csr(X), network, scale=1 / 255), together)
    mixed = np.concatenate((X[:30], np.full((34, 50), 255, np.uint8)))  # another density in the block
    np.testing.assert_array_equal(kernels.mlp_forward(mixed, network, scale=1 / 255)[:30], together[:30])
    for row in (0, 63, 64, 199):
        np.testing.assert_array_equal(kernels.mlp_forward(X[row : row + 1], network, scale=1 / 255)[0], together[row])


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-3), ("float64", 1e-3 * 2.0**-29)])
@pytest.mark.parametrize("sizes", [(9000, 60, 5), (9000, 40), (9000, 60, 200, 5)], ids=str)
def test_wide_rows_have_the_same_bits_one_by_one_and_together(sizes, dtype, bound, rng):
    """W is larger than L2: floats are read where they lie, many rows at once, whatever the density of those behind."""
    X = np.where(
        rng.random((200, 9000)) < np.where(np.arange(200) < 150, 0.9, 0.1)[:, None], rng.random((200, 9000)), 0
    )
    X = X.astype(dtype)
    network = kernels.Network(sizes, activation="tanh", dtype=dtype)
    network.params[...] = rng.standard_normal(network.params.size) / 100
    together = kernels.mlp_forward(X, network)
    np.testing.assert_allclose(together, reference.mlp_forward(X, network), rtol=0, atol=bound)
    np.testing.assert_array_equal(kernels.mlp_forward(kernels.csr(X), network), together)
    for rows in (slice(0, 1), slice(149, 151), slice(100, 190), slice(150, 200)):
        for threads in (1, 3):
            with kernels.threads(threads):
                np.testing.assert_array_equal(kernels.mlp_forward(X[rows], network), together[rows])


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("columns", [1, 65_536, 65_537])
def test_csr_of_a_dense_matrix_is_its_twin(dtype, columns, rng):
    X = sparse_samples(rng, 7, columns, 0.2, dtype)
    X[3] = 0
    if dtype != "uint8":
        X[2, columns // 2] = np.nan  # which is not zero
    ours, twin = kernels.csr(X), reference.csr(X)
    assert ours.indices.dtype == (np.uint16 if columns <= 65_536 else np.int32)
    for name in ("indptr", "indices", "values"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(twin, name))
