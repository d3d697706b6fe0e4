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

They run under their caller's floating-point control word. The public ops, and these when Python calls them, set CONTROL,
under which subnormal numbers are zeros: without it a CPU may take a hundred times as long for them. So set it yourself, in
each of your threads, and give back what was there:

    before = raw.exchange_control(raw.CONTROL)
    raw.linear_forward(...)
    raw.exchange_control(before)

The kernels are kept on disk compiled; a function of yours that calls one is compiled anew in each process, which is
quick, as Numba does not keep (``cache=True``) what calls code by its address.
"""

from .bundles import Matrix
from .gemm import (
    PACK_SIZE,
    Layer,
    Scratch,
    column_sums,
    gemm,
    gradient_size,
    linear_backward_input,
    linear_backward_update,
    linear_backward_weight,
    linear_forward,
)
from .jit.control import CONTROL, exchange_control
from .losses import Outcomes, SoftmaxCrossEntropy, Targets, loss_gradient, softmax
from .sparse import csr_backward_update, csr_forward
from .update import Schedule, update

__all__ = [
    "CONTROL",
    "PACK_SIZE",
    "Layer",
    "Matrix",
    "Outcomes",
    "Schedule",
    "Scratch",
    "SoftmaxCrossEntropy",
    "Targets",
    "column_sums",
    "csr_backward_update",
    "csr_forward",
    "exchange_control",
    "gemm",
    "gradient_size",
    "linear_backward_input",
    "linear_backward_update",
    "linear_backward_weight",
    "linear_forward",
    "loss_gradient",
    "softmax",
    "update",
]
