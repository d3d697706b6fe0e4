"""Sums of the squares of all weights before every step, for an L2 penalty in the loss.

Weights are summed in spans of a fixed length, each by one part: the bits do not depend on the number of parts.
"""

from . import simd
from .jit import piece
from .team import share

SPAN = 8192
"""Elements in a span: 32 or 64 KiB; a lane then sums at most 1,024 squares: in float32 to 6 parts in 10^5 at worst."""


def span_count(size: int) -> int:
    """The number of spans in ``size`` elements."""
    return -(-size // SPAN)


@piece
def span_squares(part, parts, W, size, sums, s):
    """sums[s + k] = sum of squares of span k of flat W, for this part's spans; returns s plus the number of spans."""
    spans, wide = -(-size // SPAN), simd.lanes(W)
    first, last = share(part, parts, spans)
    for k in range(first, last):
        total, other = simd.zeros(W), simd.zeros(W)
        end = min(size, (k + 1) * SPAN)
        for i in range(k * SPAN, end - end % (2 * wide), 2 * wide):
            x, y = simd.load(W, i), simd.load(W, i + wide)
            total, other = simd.fma(x, x, total), simd.fma(y, y, other)
        for i in range(end - end % (2 * wide), end, wide):
            x = simd.load_masked(W, i, min(wide, end - i))
            total = simd.fma(x, x, total)
        sums[s + k] = simd.reduce_add(total + other)
    return s + spans


@piece
def add_spans(sums):
    """Add the sums of the spans, sums[1:], to sums[0]."""
    for k in range(1, sums.size):
        sums[0] += sums[k]
