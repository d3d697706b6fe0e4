"""Training steps, shuffle and gather included, and predictions, against peers that do the same work."""

import numpy as np
import pytest

import kernels

import claims

pytestmark = pytest.mark.filterwarnings("default")  # peers' warnings are no errors here


@pytest.mark.parametrize("which", claims.TRAINING)
def test_training_step(compare, session, which):
    """Plain SGD, biases, batches in turn."""
    work, steps = claims.training_work(session, which)
    calls = claims.training_calls(session, work, steps)
    compare("training", f"{work}, {steps} steps", calls.pop(claims.OURS), calls, work.flop * steps, each=steps)


@pytest.mark.parametrize("rule", [make() for make in kernels.RULES.values()], ids=str)
def test_training_step_of_each_rule(compare, images, rule):
    """The time of each rule on the non-zeros, on all threads and on one."""
    name, X, y = images
    sparse, rows = kernels.csr(X), np.arange(64 * 16)
    networks = [kernels.Network((X.shape[1], 256, 10), slots=rule.slots) for _ in range(2)]

    def steps(network):
        kernels.mlp_train_steps(sparse, y, rows, 16, network, rule=rule, lr=np.full(64, 1e-4), scale=1 / 255)

    def one_thread():
        with kernels.threads(1):
            steps(networks[1])

    compare(
        "rules", f"{name}, 64 steps of 16 rows, rule {rule.kind}", lambda: steps(networks[0]), {"1 thread": one_thread}
    )


@pytest.mark.parametrize("activation", kernels.ACTIVATIONS)
def test_training_step_of_each_activation(compare, images, activation):
    """The time of each activation beside ReLU, with dense input."""
    name, X, y = images
    rows, networks = np.arange(64 * 16), {}
    for each in (activation, "relu"):
        networks[each] = kernels.Network((X.shape[1], 256, 10), activation=each)

    def steps(network):
        kernels.mlp_train_steps(X, y, rows, 16, network, rule=kernels.sgd(), lr=np.full(64, 1e-4), scale=1 / 255)

    peers = {"relu": lambda: steps(networks["relu"])}
    compare("activations", f"{name}, 64 steps of 16 rows, {activation}", lambda: steps(networks[activation]), peers)


@pytest.mark.parametrize("samples", [1, 128, 10_000])
def test_logits(compare, session, samples):
    """Logits from Python: of pixels for us, of ready-made floats for peers."""
    calls = claims.prediction_calls(session, samples)
    compare("logits", f"784-256-10, {samples} samples", calls.pop(claims.OURS), calls)
