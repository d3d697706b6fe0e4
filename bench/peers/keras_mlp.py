"""Keras: a compiled Sequential's ``fit`` on rows in order, many steps an execution, XLA where its backend has it."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from . import Peer

_STEPS_PER_EXECUTION = 16


class Sequential(Peer):
    label = "Keras fit"

    def __init__(self, work, threads):
        super().__init__(work, threads)
        self.X = work.floats
        self.model = keras.Sequential([keras.Input(work.sizes[:1])])
        for l, width in enumerate(work.sizes[1:], 2):
            self.model.add(keras.layers.Dense(width, "relu" if l < len(work.sizes) else None))
        self.model.compile(
            keras.optimizers.SGD(1.0, momentum=work.momentum, nesterov=work.momentum > 0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=True, steps_per_execution=_STEPS_PER_EXECUTION,
        )  # fmt: skip

    def load(self, layers):
        self.model.set_weights([a for pair in layers for a in pair])
        for variable in self.model.optimizer.variables:
            if "momentum" in variable.path:
                variable.assign(np.zeros(variable.shape, np.float32))

    def layers(self):
        arrays = self.model.get_weights()
        return list(zip(arrays[::2], arrays[1::2]))

    def steps(self, rows, rates):
        """A ``fit`` for each run of equal rates."""
        changes = np.flatnonzero(np.diff(rates)) + 1
        for start, stop in zip([0, *changes], [*changes, len(rates)]):
            self.model.optimizer.learning_rate = float(rates[start])
            index = rows[start * self.work.batch : stop * self.work.batch]
            self.model.fit(
                self.X[index], self.work.y[index], batch_size=self.work.batch, shuffle=False, verbose=0
            )  # fmt: skip

    def predict(self, X):
        return np.asarray(self.model.predict_on_batch(X))
