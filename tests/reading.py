"""Samples of files as plain arrays."""

import numpy as np

from fastmlp.data import Sparse, csv
from fastmlp.data.labels import class_indices
from fastmlp.formats import Features, Query


def read_csv(path, label_column=None):
    """(X, class indices) of a file of numbers."""
    samples, _ = csv.read(path, Query(label_column, say=[].append))
    return np.asarray(samples.X), class_indices(samples.labels, str(path))[0]


def read_features(path, width, columns=None, label_column=None, label=None):
    """X as a model of that many inputs takes it, which may know their names and where the labels were."""
    known = Features(width, columns, label=label)
    return csv.features(path, Query(label_column, known=known, say=[].append))


def dense(X):
    """All rows of samples in memory, on disk or sparse."""
    X = X[:]
    if not isinstance(X, Sparse):
        return X
    assert (X.indptr.dtype, X.indices.dtype) == (np.int64, np.int32)
    return X.toarray()
