"""The unchecked kernels, for use from your own ``@njit`` code.

Each that can be split takes ``(part, parts, ...)`` first and computes its share of the outputs: pass ``(0, 1)`` for all
of it, or ``(i, n)`` from n threads of your own (a ``prange``, a pool: they release the GIL). They allocate nothing,
raise nothing and **check nothing**: a wrong shape, index or label corrupts memory. Arrays are C-contiguous float32 or
float64, one type in a call; an absent bias, mask or state is an empty array of the right dimensions.

    @njit(parallel=True)
    def forward(X, W, b, Y, converted, pack_buffers):
        for part in prange(4):
            raw.linear_forward(part, 4, X, W, b, 1.0, True, Y, converted, pack_buffers)

What belongs together comes in a named tuple, which Python and compiled code make alike: ``Matrix(values, row,
column)``.

The kernels are kept on disk compiled; a function of yours that calls one is compiled anew in each process, which is
quick, as Numba does not keep (``cache=True``) what calls code by its address.
"""

from .gemm import (
    PACK_SIZE,
    Layer,
    Matrix,
    Scratch,
    column_sums,
    gemm,
    gradient_size,
    linear_backward_input,
    linear_backward_update,
    linear_backward_weight,
    linear_forward,
)
from .losses import Outcomes, SoftmaxCrossEntropy, Targets, cross_entropy, softmax
from .sparse import csr_backward_update, csr_forward
from .update import Schedule, update

__all__ = [
    "PACK_SIZE",
    "Layer",
    "Matrix",
    "Outcomes",
    "Schedule",
    "Scratch",
    "SoftmaxCrossEntropy",
    "Targets",
    "column_sums",
    "cross_entropy",
    "csr_backward_update",
    "csr_forward",
    "gemm",
    "gradient_size",
    "linear_backward_input",
    "linear_backward_update",
    "linear_backward_weight",
    "linear_forward",
    "softmax",
    "update",
]
