"""The unchecked kernels, for use from your own ``@njit`` code.

Each that can be split takes ``(part, parts, ...)`` first and computes its share of the outputs: pass ``(0, 1)`` for all
of it, or ``(i, n)`` from n threads of your own (a ``prange``, a pool: they release the GIL). They allocate nothing,
raise nothing and **check nothing**: a wrong shape, index or label corrupts memory. Arrays are C-contiguous float32 or
float64, one type in a call; an absent bias, mask or state is an empty array of the right dimensions.

    @njit(parallel=True)
    def forward(X, W, b, Y, rows, P):
        for part in prange(4):
            raw.linear_forward(part, 4, X, W, b, 1.0, True, Y, rows, P)

They run under their caller's floating-point control word. The public ops, and these when Python calls them, set CONTROL,
under which subnormal numbers are zeros: without it a CPU may take a hundred times as long for them. So set it yourself, in
each of your threads, and give back what was there:

    before = raw.exchange_control(raw.CONTROL)
    raw.linear_forward(...)
    raw.exchange_control(before)

The kernels are kept on disk compiled; a function of yours that calls one is compiled anew in each process, which is
quick, as Numba does not keep (``cache=True``) what calls code by its address.
"""

from .gemm import (
    PACK_SIZE,
    bias_backward_update,
    column_sums,
    gemm,
    linear_backward_input,
    linear_backward_update,
    linear_backward_weight,
    linear_forward,
    strip_size,
)
from .jit.control import CONTROL, exchange_control
from .softmax_xent import softmax, softmax_cross_entropy
from .sparse import csr_backward_update, csr_forward
from .update import update, update_span

__all__ = [
    "CONTROL",
    "PACK_SIZE",
    "bias_backward_update",
    "column_sums",
    "csr_backward_update",
    "csr_forward",
    "exchange_control",
    "gemm",
    "linear_backward_input",
    "linear_backward_update",
    "linear_backward_weight",
    "linear_forward",
    "softmax",
    "softmax_cross_entropy",
    "strip_size",
    "update",
    "update_span",
]
