"""scikit-learn's MLPClassifier, plain SGD, an epoch at a time (its own shuffle and batches)."""

from __future__ import annotations

import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)


class Classifier:
    def __init__(self, X, y, layers, batch, lr):
        self.X, self.y = X, y
        self.model = MLPClassifier(
            tuple(W.shape[1] for W, _ in layers[:-1]), solver="sgd", alpha=0.0, batch_size=batch, momentum=0.0,
            learning_rate_init=lr, max_iter=1, warm_start=True, random_state=0,
        )  # fmt: skip

    def __call__(self, rows):
        self.model.fit(self.X[rows], self.y[rows])
