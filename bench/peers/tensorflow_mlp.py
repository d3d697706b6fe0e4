"""TensorFlow: one XLA-compiled loop over the batches, data resident in tensors."""

import contextlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

from . import Peer


class Loop(Peer):
    label = "TensorFlow XLA"

    def __init__(self, work, threads):
        super().__init__(work, threads)
        with contextlib.suppress(RuntimeError):  # TensorFlow has started already, with this setting
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        self.X, self.y = tf.constant(work.floats), tf.constant(work.y, tf.int32)
        self.parameters = []
        self.run, self.logits = (tf.function(f, jit_compile=True) for f in (self._run, self._logits))

    def load(self, layers):
        arrays = [a for pair in layers for a in pair]
        if not self.parameters:
            self.parameters = [tf.Variable(a) for a in arrays]
            self.velocities = [tf.Variable(tf.zeros_like(a)) for a in arrays] if self.work.momentum else []
        for variable, a in zip(self.parameters, arrays):
            variable.assign(a)
        for velocity in self.velocities:
            velocity.assign(tf.zeros_like(velocity))

    def layers(self):
        return [(W.numpy(), b.numpy()) for W, b in zip(self.parameters[::2], self.parameters[1::2])]

    def _logits(self, X):
        depth = len(self.parameters) // 2
        for l in range(depth):
            X = X @ self.parameters[2 * l] + self.parameters[2 * l + 1]
            if l < depth - 1:
                X = tf.nn.relu(X)
        return X

    def _run(self, rows, rates):
        momentum = self.work.momentum
        for k in tf.range(tf.shape(rates)[0]):
            with tf.GradientTape() as tape:
                logits = self._logits(tf.gather(self.X, rows[k]))
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.gather(self.y, rows[k]), logits)
                loss = tf.reduce_mean(losses)
            gradients = tape.gradient(loss, self.parameters)
            for i, (p, g) in enumerate(zip(self.parameters, gradients)):
                if momentum:
                    g += momentum * self.velocities[i].assign(momentum * self.velocities[i] + g)
                p.assign_sub(rates[k] * g)

    def steps(self, rows, rates):
        self.run(tf.constant(rows.reshape(-1, self.work.batch), tf.int32), tf.constant(rates, tf.float32))
        self.parameters[0].numpy()  # waits until it is done

    def predict(self, X):
        return self.logits(X).numpy()
