"""scikit-learn's MLPClassifier by SGD: ``partial_fit`` on many batches at a time, taken in order and not copied."""

from itertools import groupby

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.neural_network import MLPClassifier

from . import Peer


class Classifier(Peer):
    label = "scikit-learn"
    trains = ("dense", "sparse")

    def __init__(self, work, threads):
        super().__init__(work, threads)
        X = work.X
        self.X = (
            csr_matrix((X.values, X.indices.astype(np.int32), X.indptr), X.shape) if work.is_sparse else work.floats
        )
        self.model = MLPClassifier(
            work.sizes[1:-1], solver="sgd", alpha=0.0, batch_size=work.batch, momentum=work.momentum,
            learning_rate_init=1.0, shuffle=False,
        )  # fmt: skip
        self.model.partial_fit(self.X[: work.batch], work.y[: work.batch], classes=np.arange(work.sizes[-1]))

    def load(self, layers):
        model = self.model
        for array, value in zip(model.coefs_ + model.intercepts_, [W for W, _ in layers] + [b for _, b in layers]):
            array[...] = value
        for velocity in model._optimizer.velocities:
            velocity[...] = 0

    def layers(self):
        return [(W.copy(), b.copy()) for W, b in zip(self.model.coefs_, self.model.intercepts_)]

    def steps(self, rows, rates):
        """The rate has no public setter; a pass of ``partial_fit`` is made for each run of equal ones."""
        start = 0
        for rate, run in groupby(rates):
            self.model._optimizer.learning_rate = rate
            index = rows[start : (start := start + sum(1 for _ in run) * self.work.batch)]
            self.model.partial_fit(self.X[index], self.work.y[index])

    def predict(self, X):
        return self.model.predict_log_proba(X)
