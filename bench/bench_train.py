"""Training steps, shuffle and gather included, and predictions, against peers that do the same work."""

from functools import partial

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
        "rules", f"{name}, 64 steps of 16 rows, rule {rule.name}", lambda: steps(networks[0]), {"1 thread": one_thread}
    )


def test_training_step_of_each_activation(compare, images, benchmark):
    """Time of each activation beside ReLU, on dense input; one as a test: each is compiled and runs the same lines."""
    name, X, y = images
    rows, calls = np.arange(64 * 16), {}
    for activation in ["relu", "tanh"] if benchmark.disabled else kernels.ACTIVATIONS:
        network = kernels.Network((X.shape[1], 256, 10), activation=activation)
        options = {"rule": kernels.sgd(), "lr": np.full(64, 1e-4), "scale": 1 / 255}
        calls[activation] = partial(kernels.mlp_train_steps, X, y, rows, 16, network, **options)
    compare("activations", f"{name}, 64 steps of 16 rows, relu", calls.pop("relu"), calls)


@pytest.mark.parametrize("samples", [1, 128, 10_000])
def test_logits(compare, session, samples):
    """Logits from Python: of pixels for us, of ready-made floats for peers."""
    calls = claims.prediction_calls(session, samples)
    compare("logits", f"784-256-10, {samples} samples", calls.pop(claims.OURS), calls)
