"""Dropout whose mask is a hash of a key and the element's place: no mask is stored, and thread order does not matter.

Element (i, j) of Y [B, n] is kept if hash(hash(key + i) + j) >= p * 2^32; ``key`` has 32 bits. Row i of a key's mask is
row 0 of that of key + i, so keys are hashes, too: near ones would share rows. The hash is Wellons' ``lowbias32``, a
bijection of 32 bits in two multiplications (https://nullprogram.com/blog/2018/07/31/). All functions here are raw.
"""

import numpy as np

from .bundles import after
from .intrinsics import flat
from .jit import kernel, piece
from .team import share


@piece
def hash32(x):
    """A bijection of 32 bits that leaves no visible pattern."""
    u = np.uint32
    x = u(x)
    x = u(u(x ^ (x >> u(16))) * u(0x7FEB352D))
    x = u(u(x ^ (x >> u(15))) * u(0x846CA68B))
    return u(x ^ (x >> u(16)))


@piece
def dropout_key(seed, t, layer):
    """The key of a layer's mask at step t."""
    u = np.uint32
    return hash32(u(hash32(u(hash32(u(seed)) + u(t))) + u(layer)))


@kernel
def dropout_rows(key, first, rows, p, Y, n):
    """Drop elements of flat Y, which holds a layer's rows from ``first`` on: 0 with probability p, else / (1 - p)."""
    u = np.uint32
    limit = u(p * 2.0**32)
    factor = Y.dtype.type(1 / (1 - p))
    for i in range(rows):
        row = hash32(u(u(key) + u(first + i)))
        start = np.uintp(i * n)  # unsigned: see gemm._float_rows
        for j in range(np.uintp(n)):
            kept = hash32(u(row + u(j))) >= limit
            Y[start + j] = Y[start + j] * factor if kept else Y.dtype.type(0)


@kernel
def dropout(part, parts, seed, p, Y):
    """Apply ``dropout_rows`` to this part's rows, with the hash of ``seed`` for a key."""
    lo, hi = share(part, parts, Y.shape[0])
    dropout_rows(hash32(seed), lo, hi - lo, p, after(flat(Y), lo * Y.shape[1]), Y.shape[1])
