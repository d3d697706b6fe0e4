"""The forward pass of single rows with prepared arguments: to pass two dozen takes longer than to compute a row.

784-256-10 on a Zen 5, us for a row of MNIST's density: ``mlp_forward`` 4.6, ``Predictor`` 2.5; 6-64-8-4 3.1 and 1.1.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from . import checks
from .forward import Blocks, Entries, forward
from .intrinsics import array_at
from .jit import from_python, kernel
from .losses import softmax
from .mlp import bound_to, forward_workspace
from .network import Network, Parameters
from .ops import mlp_forward
from .ops import softmax as softmax_op


@kernel
def forward_row(X, scale, activation, indices, table, probabilities, logits):
    """``forward`` of one row, with softmax if ``probabilities``; returns whether the row was finite.

    ``table`` has the addresses and sizes of all other arrays: see ``Predictor._prepare``.
    """
    wrong = 0
    for k in range(np.uintp(X.shape[1])):
        wrong |= X[0, k] - X[0, k] != 0
    if wrong:
        return False
    params, widest, biased = array_at(logits, table, 2), table[-2], table[-1] != 0
    network = Parameters(array_at(table, table, 0), array_at(table, table, 1), params, params, params, biased)
    values, pack_buffer, packed = array_at(logits, table, 3), array_at(logits, table, 6), array_at(logits, table, 7)
    blocks = Blocks(values, widest, array_at(table, table, 4), array_at(table, table, 5), pack_buffer, packed)
    entries = Entries(indices, array_at(X, table, 8), array_at(logits, table, 9))
    forward(0, 1, table, X, scale, activation, network, blocks, entries, logits)
    if probabilities:
        softmax(0, 1, logits, logits)
    return True


class _Prepared(threading.local):
    """Each thread's prepared arguments, by the dtype of its rows."""

    def __init__(self) -> None:
        self.rows: dict[np.dtype, tuple[Any, ...]] = {}

    def __reduce__(self) -> Any:
        """A copy, also in another process, begins with none: these hold addresses."""
        return _Prepared, ()


class Predictor:
    """``mlp_forward`` of a network, prepared for one row at a time: the same bits in a half to a third of the time.

    ``predictor(X)`` is mlp_forward(X, network, scale=scale), or its softmax with ``probabilities``. The fast path takes
    a finite row [1, inputs] in the network's dtype or uint8, C-contiguous and writable; any other X goes to
    ``mlp_forward``. Each call uses the network's current weights. Several threads may call it: each has its own scratch
    memory. Raises as ``mlp_forward`` does; ValueError for ``probabilities`` where the output is not softmax.
    """

    def __init__(self, network: Network, *, scale: float = 1.0, probabilities: bool = False) -> None:
        checks.require_network(network)
        self.network, self.scale = network, checks.finite_number("scale", scale)
        if probabilities and network.output != "softmax":
            raise ValueError(f"probabilities is True; it must be False where the network's output is {network.output}")
        self.probabilities = bool(probabilities)
        self._row_shape, self._result_shape = (1, network.sizes[0]), (1, network.sizes[-1])
        self._dtypes = network.dtype, checks.UINT8
        self._prepared = _Prepared()

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse changes: what is prepared would follow some of them, and only for some rows."""
        if name in self.__dict__:
            raise AttributeError(f"{name} of a predictor is fixed; make another kernels.Predictor")
        super().__setattr__(name, value)

    def __call__(self, X: Any) -> np.ndarray:
        """Logits, or probabilities, [B, classes] of X [B, inputs]."""
        result = self.row(X)
        if result is None:
            result = mlp_forward(X, self.network, scale=self.scale)
            if self.probabilities:
                result = softmax_op(result)
        return result

    def row(self, X: Any) -> np.ndarray | None:
        """The same by the fast path; None for an X that it does not take."""
        if type(X) is np.ndarray and X.shape == self._row_shape and X.dtype in self._dtypes and X.flags.carray:
            prepared = self._prepared.rows.get(X.dtype)
            if prepared is None or prepared[0] is not self.network.params:
                prepared = self._prepare(X.dtype)
            result = np.empty(self._result_shape, self._dtypes[0])
            if prepared[1](X, self.scale, prepared[2], prepared[3], self.probabilities, result):
                return result
        return None

    def _prepare(self, dtype: np.dtype) -> tuple[Any, ...]:
        """(params, the kernel's entry, indices, table, arrays to keep alive) for this thread's rows of ``dtype``."""
        network = self.network
        blocks, entries = forward_workspace(network, 1, dtype, self.scale)
        sizes, offsets, params, *_ = network.fields()
        arrays = (
            sizes, offsets, params, blocks.values, blocks.rows, blocks.ends, blocks.pack_buffer, blocks.packed,
            entries.values, entries.table,
        )  # fmt: skip
        pairs = [number for array in arrays for number in (array.ctypes.data, array.size)]
        table = np.array([*pairs, blocks.widest, network.bias])
        entry = from_python(bound_to(network.activation, forward_row))
        prepared = params, entry, entries.indices, table, arrays
        self._prepared.rows[dtype] = prepared
        return prepared
