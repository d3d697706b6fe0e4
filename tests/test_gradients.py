"""The definition itself: the twins' gradients against central differences in float64, and the notebook's formulas."""

import itertools

import numpy as np
import pytest

import kernels
from kernels import Network, momentum, reference, sgd

from op_cases import RULES, options_of, targets

STEP = 1e-5  # central differences err by O(STEP^2) and u / STEP: about 1e-10 of quantities of size one


def central_difference(f, x):
    """df/dx of a scalar function, element by element, in place on x."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        kept = x[index]
        x[index] = kept + STEP
        above = f()
        x[index] = kept - STEP
        gradient[index] = (above - f()) / (2 * STEP)
        x[index] = kept
    return gradient


@pytest.mark.parametrize("sizes", [(6, 4), (6, 5, 3), (6, 5, 4, 3)])
@pytest.mark.parametrize("mean", [True, False])
def test_a_training_step_descends_the_derivative_of_its_loss(sizes, mean, rng):
    """With sgd at rate 1 a step subtracts the gradient."""
    network = Network(sizes, dtype="float64")
    network.params[:] = rng.standard_normal(network.params.size)
    X, y = rng.standard_normal((8, 6)), rng.integers(0, sizes[-1], 8)

    def loss():
        total = reference.softmax_cross_entropy(reference.mlp_forward(X, network), y)[0]
        return total / 8 if mean else total

    before = network.params.copy()
    numeric = central_difference(loss, network.params)
    reference.mlp_train_steps(X, y, np.arange(8), 8, network, rule=sgd(), lr=np.ones(1), mean=mean)
    used = np.concatenate([np.arange(o, o + (i + 1) * n) for o, i, n in zip(network.offsets, sizes, sizes[1:])])
    np.testing.assert_allclose((before - network.params)[used], numeric[used], rtol=1e-6, atol=1e-8)


# Neither an activation's derivative nor a loss's knows of the other, and without a hidden layer there is no activation.
@pytest.mark.parametrize(
    ("sizes", "activation", "loss"),
    [
        *(((6, 4), "relu", loss) for loss in kernels.LOSSES),
        *(((6, 5, 4, 3), ("gelu", "tanh"), loss) for loss in kernels.LOSSES),
        *(((6, 5, 4, 3), each, loss) for each, loss in zip(kernels.ACTIVATIONS, itertools.cycle(kernels.LOSSES))),
    ],
    ids=str,
)
def test_the_gradient_is_the_derivative_with_everything_on(sizes, activation, loss, rng):
    """Sample weights, dropout with the same mask at every evaluation, and smoothed labels where there are labels."""
    network = Network(sizes, dtype="float64", activation=activation, output=kernels.LOSSES[loss].output)
    network.params[:] = 0.5 * rng.standard_normal(network.params.size)
    X, rows = rng.standard_normal((8, 6)), np.array([5, 1, 7, 2, 0])
    y = targets(rng, loss, 8, sizes[-1])
    options = options_of(loss, {"label_smoothing": 0.2, "sample_weight": rng.random(8), "dropout": 0.4})
    options |= {"scale": 0.5, "seed": 3, "t": 9}
    numeric = central_difference(
        lambda: reference.mlp_gradient(X, y, rows, network, **options)[0] / len(rows), network.params
    )
    total, _, gradient = reference.mlp_gradient(X, y, rows, network, **options)
    used = np.concatenate([np.arange(o, o + (i + 1) * n) for o, i, n in zip(network.offsets, sizes, sizes[1:])])
    np.testing.assert_allclose(gradient[used], numeric[used], rtol=1e-6, atol=1e-8)
    plain = reference.mlp_gradient(X, y, rows, network, loss=loss)[0]
    assert total != pytest.approx(plain, rel=1e-3)


def test_a_weight_of_two_is_the_sample_twice(rng):
    Z, labels = rng.standard_normal((4, 3)), np.array([0, 2, 1, 1])
    twice = [0, 0, 1, 3]
    loss, correct, dZ = reference.softmax_cross_entropy(Z, labels, sample_weight=[2, 1, 0, 1])
    expected, _, rows = reference.softmax_cross_entropy(Z[twice], labels[twice])
    assert loss == pytest.approx(expected)
    np.testing.assert_allclose(dZ, [rows[0] + rows[1], rows[2], np.zeros(3), rows[3]])
    assert correct == reference.softmax_cross_entropy(Z, labels)[1]


@pytest.mark.parametrize("ops", [kernels, reference], ids=["kernels", "reference"])
def test_parts_of_a_batch_have_the_dropout_of_the_whole(ops, rng):
    network = Network((6, 50, 40, 3), dtype="float64")
    network.params[:] = rng.standard_normal(network.params.size)
    X, y, rows = rng.standard_normal((30, 6)), rng.integers(0, 3, 30), rng.permutation(30)
    options = {"dropout": 0.4, "seed": 3, "t": 9, "mean": False}
    parts = [ops.mlp_gradient(X, y, rows[a:b], network, first_row=a, **options) for a, b in ((0, 7), (7, 20), (20, 30))]
    loss, correct, gradient = ops.mlp_gradient(X, y, rows, network, **options)
    assert sum(part[0] for part in parts) == pytest.approx(loss)
    assert sum(part[1] for part in parts) == correct
    np.testing.assert_allclose(sum(part[2] for part in parts), gradient, rtol=1e-9, atol=1e-9)
    elsewhere = ops.mlp_gradient(X, y, rows, network, first_row=1, **options)[0]
    assert elsewhere != pytest.approx(loss, rel=1e-3)


def test_dropout_leaves_the_mean_and_the_part_that_it_should():
    kept = reference.dropout(np.ones((300, 400)), 0.3, seed=5)
    assert set(np.unique(kept)) == {0, 1 / (1 - 0.3)}
    share = (kept == 0).mean()
    assert abs(share - 0.3) < 5 * (0.3 * 0.7 / kept.size) ** 0.5  # five standard deviations
    for axis in (0, 1):  # rows and columns are no copies of each other
        assert np.unique(kept, axis=axis).shape == kept.shape
    other = reference.dropout(np.ones((300, 400)), 0.3, seed=6)
    for row in range(4):  # nor those of the next seed, some rows apart
        assert abs((kept[row:] == other[: 300 - row]).mean() - (0.3**2 + 0.7**2)) < 0.01


def test_clipping_scales_the_whole_gradient_to_its_norm(rng):
    network = Network((6, 5, 3), dtype="float64")
    network.params[:] = rng.standard_normal(network.params.size)
    X, y, rows = rng.standard_normal((8, 6)), rng.integers(0, 3, 8), np.arange(8)
    before, gradient = network.params.copy(), reference.mlp_gradient(X, y, rows, network)[2]
    reference.mlp_train_steps(X, y, rows, 8, network, rule=sgd(), lr=np.ones(1), clip=0.01)
    step = before - network.params
    assert np.linalg.norm(step) == pytest.approx(0.01)
    np.testing.assert_allclose(step, gradient * 0.01 / np.linalg.norm(gradient), atol=1e-12)
    before = network.params.copy()
    gradient = reference.mlp_gradient(X, y, rows, network)[2]
    reference.mlp_train_steps(X, y, rows, 8, network, rule=sgd(), lr=np.ones(1), clip=1e9)
    np.testing.assert_allclose(before - network.params, gradient, atol=1e-12)


def test_the_step_of_the_notebook(rng):
    """Its own formulas, written out: sum loss with 1e-10 inside the log, no biases, P - Y at the logits."""
    network = Network((9, 5, 4), bias=False, dtype="float64")
    (W1, _), (W2, _) = network.layers
    W1[...], W2[...] = rng.uniform(-0.5, 0.5, W1.shape), rng.uniform(-0.5, 0.5, W2.shape)
    pixels, labels = rng.integers(0, 256, (12, 9)).astype(np.uint8), rng.integers(0, 4, 12)
    X, Y = pixels / 255.0, np.eye(4)[labels]
    A1 = X @ W1
    Z1 = np.maximum(A1, 0)
    A2 = Z1 @ W2
    E = np.exp(A2 - A2.max(1, keepdims=True))
    P = E / E.sum(1, keepdims=True)
    expected_loss = -(Y * np.log(P + 1e-10)).sum()
    dA2 = P - Y
    dW2 = Z1.T @ dA2
    dW1 = X.T @ ((dA2 @ W2.T) * (A1 > 0))
    expected = W1 - 1e-3 * dW1, W2 - 1e-3 * dW2
    losses, _ = reference.mlp_train_steps(
        pixels, labels, np.arange(12), 12, network, rule=sgd(), lr=[1e-3], scale=1 / 255, mean=False, epsilon=1e-10
    )
    assert losses[0] == pytest.approx(expected_loss, rel=1e-12)
    np.testing.assert_allclose(W1, expected[0], rtol=1e-12)
    np.testing.assert_allclose(W2, expected[1], rtol=1e-12)


def test_momentum_by_hand():
    W, V = np.array([1.0]), np.array([0.0])
    reference.momentum_update(W, np.array([2.0]), V, 0.1)
    assert (W[0], V[0]) == (pytest.approx(0.8), 2.0)
    reference.momentum_update(W, np.array([1.0]), V, 0.1)
    assert (W[0], V[0]) == (pytest.approx(0.8 - 0.1 * 2.8), pytest.approx(2.8))
    reference.momentum_update(W, np.array([0.0]), V, 0.1, nesterov=True)
    assert V[0] == pytest.approx(2.52)
    assert W[0] == pytest.approx(0.52 - 0.1 * 0.9 * 2.52)


def test_the_first_step_of_adam_has_the_size_of_the_rate():
    W, M, V = np.ones(3), np.zeros(3), np.zeros(3)
    reference.adam_update(W, np.array([5.0, -0.01, 200.0]), M, V, 1, 0.1)
    np.testing.assert_allclose(W, [0.9, 1.1, 0.9], rtol=1e-5)


def test_decoupled_decay_does_not_enter_the_moments():
    coupled, decoupled = (np.array([10.0]) for _ in range(2))
    states = [np.zeros(1) for _ in range(4)]
    reference.adam_update(coupled, np.zeros(1), *states[:2], 1, 0.1, weight_decay=0.5)
    reference.adam_update(decoupled, np.zeros(1), *states[2:], 1, 0.1, weight_decay=0.5, decoupled=True)
    assert coupled[0] == pytest.approx(9.9)  # a full Adam step of the rate's size
    assert decoupled[0] == pytest.approx(9.5)
    assert states[2][0] == 0


@pytest.mark.parametrize("ops", [kernels, reference], ids=["kernels", "reference"])
@pytest.mark.parametrize("clip", [None, 1e9])
@pytest.mark.parametrize("convert", [np.asarray, reference.csr], ids=["dense", "sparse"])
def test_a_layer_steps_by_its_own_rate_and_one_of_rate_zero_stays(ops, clip, convert, rng):
    """A step of sgd is linear in the rate; the weights that others have stepped do not enter it."""
    X, y, moved = rng.standard_normal((8, 6)), rng.integers(0, 3, 8), []
    for rates in (None, (0, 2, 0.5)):
        network = Network((6, 5, 4, 3), dtype="float64", layer_rates=rates)
        network.params[:] = np.random.default_rng(1).standard_normal(network.params.size)
        before = [W.copy() for W, _ in network.layers]
        ops.mlp_train_steps(convert(X), y, np.arange(8), 8, network, rule=sgd(), lr=np.ones(1), clip=clip)
        moved.append([W - old for (W, _), old in zip(network.layers, before)])
    for plain, scaled, rate in zip(*moved, (0, 2, 0.5)):
        np.testing.assert_allclose(scaled, rate * plain, atol=1e-12)
        assert abs(plain).max() > 1e-3


@pytest.mark.parametrize("rule", [sgd(), momentum(weight_decay=0.01)], ids=["sgd", "put off"])
@pytest.mark.parametrize("convert", [np.asarray, reference.csr], ids=["dense", "sparse"])
@pytest.mark.parametrize("decay", [0.9, None])
def test_an_average_is_that_of_the_parameters_after_every_step_however_they_are_called(rule, convert, decay, rng):
    X, y = (
        np.where(rng.random((40, 300)) < 0.05, rng.integers(1, 256, (40, 300)), 0).astype(np.uint8),
        rng.integers(0, 3, 40),
    )
    X, rows, found = convert(X), np.arange(40), []
    for chunk in (40, 12, 4):
        network = Network((300, 20, 3), slots=rule.slots)
        network.params[:] = 0.1 * np.random.default_rng(1).standard_normal(network.params.size)
        average, after = network.params.copy(), []
        for start in range(0, 40, chunk):
            some = rows[start : start + chunk]
            options = {"rule": rule, "lr": np.full(len(some) // 4, 0.1), "t": 1 + start // 4, "scale": 1 / 255}
            kernels.mlp_train_steps(X, y, some, 4, network, **options, average=average, average_decay=decay)
            after.append(network.params.astype(np.float64))
        found.append((average, network.params))
    assert all(a.tobytes() == b.tobytes() for pair in found[1:] for a, b in zip(pair, found[0]))
    expected = np.mean(after, axis=0)
    if decay:
        expected = 0.1 * np.random.default_rng(1).standard_normal(network.params.size).astype(np.float32).astype(
            np.float64
        )
        for params in after:
            expected += (1 - decay) * (params - expected)
    used = slice(0, 300 * 20 + 20)
    np.testing.assert_allclose(average[used], expected[used], atol=40 * 2.0**-24)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_descends_a_bowl(rule):
    W = np.array([[3.0, -2.0]])
    state = np.zeros((rule.slots, 1, 2))
    for t in range(1, 400):
        # X = 1, dY = W: the gradient of |W|^2 / 2
        reference.linear_backward_update(np.ones((1, 1)), W.copy(), W, rule=rule, lr=0.02, t=t, state=state)
    assert abs(W).max() < 0.05
