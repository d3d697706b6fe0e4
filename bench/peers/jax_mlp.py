"""JAX: one jitted scan over the batches, data resident, parameters donated."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from . import Peer


def _logits(parameters, X):
    for W, b in parameters[:-1]:
        X = jax.nn.relu(X @ W + b)
    W, b = parameters[-1]
    return X @ W + b


def _loss(parameters, X, y):
    return -jnp.take_along_axis(jax.nn.log_softmax(_logits(parameters, X)), y[:, None], 1).mean()


@partial(jax.jit, donate_argnums=0, static_argnums=5)
def _steps(carry, X, y, rows, rates, momentum):
    def step(carry, batch):
        parameters, velocities = carry
        index, rate = batch
        gradient = jax.grad(_loss)(parameters, X[index], y[index])
        if momentum:
            velocities = jax.tree.map(lambda v, g: momentum * v + g, velocities, gradient)
            gradient = jax.tree.map(lambda v, g: g + momentum * v, velocities, gradient)
        return (jax.tree.map(lambda p, g: p - rate * g, parameters, gradient), velocities), None

    return jax.lax.scan(step, carry, (rows, rates))[0]


_predict = jax.jit(_logits)


class Scan(Peer):
    label = "JAX jit + scan"

    def __init__(self, work, threads):
        super().__init__(work, threads)
        self.X, self.y = jnp.asarray(work.floats), jnp.asarray(work.y, jnp.int32)

    def load(self, layers):
        parameters = [(jnp.array(W), jnp.array(b)) for W, b in layers]
        self.carry = parameters, jax.tree.map(jnp.zeros_like, parameters) if self.work.momentum else None

    def layers(self):
        return [(np.asarray(W), np.asarray(b)) for W, b in self.carry[0]]

    def steps(self, rows, rates):
        rows = jnp.asarray(rows.reshape(-1, self.work.batch), jnp.int32)
        rates = jnp.asarray(rates, jnp.float32)
        self.carry = jax.block_until_ready(_steps(self.carry, self.X, self.y, rows, rates, self.work.momentum))

    def predict(self, X):
        return np.asarray(_predict(self.carry[0], X))
