"""A whole network's training steps and forward pass in one compiled call: composition, no arithmetic of its own.

A step has two phases with a barrier after each. In the first each part takes rows of the batch through forward, loss
and backward: rows need nothing from each other. In the second each part takes rows of every weight matrix and computes
its gradient and update from all rows of the batch. So every number is computed whole by one thread, in one order.

Legend: ``sizes`` layer widths [L+1], ``B`` batch rows, ``n`` rows in this batch; per layer l: ``Y_l`` its output, ``dZ_l`` the
gradient at its pre-activation. All functions here are raw: nothing is checked.
"""

from __future__ import annotations

import numpy as np

from .gemm import PACK_SIZE, bias_backward_update, finish_rows, gemm, linear_backward_update, mask
from .intrinsics import flat
from .jit import kernel, piece
from .memory import aligned_zeros, scratch
from .network import Network
from .softmax_xent import softmax_cross_entropy, totals
from .threads import barrier, barrier_state, get_num_threads, run, share
from .tuning import ROW_BLOCK, STRIP_ROWS
from .update import Rule, rule_slots

_LINE = 16  # workspace blocks start on cache lines


def _blocks(lengths: list[int]) -> np.ndarray:
    """Where blocks of these lengths start in one buffer, and its length last."""
    return np.cumsum([0] + [-(-length // _LINE) * _LINE for length in lengths]).astype(np.int64)


@piece
def _read_row(X, row, scale, out, o):
    """out[o : o + I] = scale * X[row]."""
    factor = out.dtype.type(scale)
    for k in range(X.shape[1]):
        out[o + k] = factor * X[row, k]


@piece
def _layer(rows, l, sizes, offsets, params, biased, X, x, Y, y, P, p):
    """``rows`` rows of layer l's output, from X[x] to Y[y] on: W X + b, and ReLU in all layers but the last."""
    I, O, w = sizes[l], sizes[l + 1], offsets[l]
    gemm(rows, O, I, X, x, I, 1, params, w, O, 1, Y, y, O, P, p)
    finish_rows(Y, y, rows, O, O, params, w + I * O, biased, 1.0, l < sizes.size - 2)


@piece
def _rows_phase(
    part, parts, X, labels, rows, scale, mean, epsilon, sizes, offsets, params, biased, work, at, losses, hits, P
):  # fmt: skip
    """Forward, loss and backward for this part's rows of a batch."""
    n = rows.size
    lo, hi = share(part, parts, n)
    for i in range(lo, hi):
        _read_row(X, rows[i], scale, work, at[0] + i * sizes[0])
    depth = sizes.size - 1
    below = at[0]
    for l in range(depth):
        above = at[2 * l + 1]
        x, y = below + lo * sizes[l], above + lo * sizes[l + 1]
        _layer(hi - lo, l, sizes, offsets, params, biased, work, x, work, y, P, part * PACK_SIZE)
        below = above
    weight = 1.0 / n if mean else 1.0
    dz = at[2 * depth]
    softmax_cross_entropy(
        part, parts, n, sizes[depth], work, below, labels, rows, epsilon, weight, losses, hits, work, dz
    )
    for l in range(depth - 1, 0, -1):
        # Y_l-1 = relu(Z_l-1), Z_l = Y_l-1 @ W_l + b_l  =>  dZ_l-1 = (dZ_l @ W_l.T) * (Y_l-1 > 0)
        I, O = sizes[l], sizes[l + 1]
        below = at[2 * l]
        here = below + lo * I
        gemm(hi - lo, I, O, work, dz + lo * O, O, 1, params, offsets[l], 1, O, work, here, I, P, part * PACK_SIZE)
        mask(work, at[2 * l - 1] + lo * I, work, here, hi - lo, I, I)
        dz = below


@piece
def _weights_phase(part, parts, n, rule, lr, t, sizes, offsets, params, state, biased, work, at, strips, P):
    """Gradient and update for this part's rows of every weight matrix."""
    slots = rule_slots(rule)
    x = at[0]
    for l in range(sizes.size - 1):
        I, O, dz = sizes[l], sizes[l + 1], at[2 * l + 2]
        w, b = offsets[l], offsets[l] + I * O
        linear_backward_update(
            part, parts, n, I, O, work, x, work, dz, 1.0, rule, lr, t, params, w, state, slots * w, strips, P
        )  # fmt: skip
        if biased:
            bias_backward_update(part, parts, n, O, work, dz, rule, lr, t, params, b, state, slots * b, strips)
        x = at[2 * l + 1]


@kernel
def train_steps(
    part, parts, meeting, X, labels, rows, batch, scale, mean, epsilon, rule, lr, t,
    sizes, offsets, params, state, biased, work, at, strips, row_losses, row_hits, losses, correct, P,
):  # fmt: skip
    """Steps over ``rows``, ``batch`` at a time; see ``ops.mlp_train_steps``."""
    for step in range(lr.size):
        batch_rows = rows[step * batch : min((step + 1) * batch, rows.size)]
        n = batch_rows.size
        _rows_phase(
            part, parts, X, labels, batch_rows, scale, mean, epsilon, sizes, offsets, params, biased, work, at,
            row_losses, row_hits, P,
        )  # fmt: skip
        barrier(meeting, 2 * step + 1, parts)
        if part == 0:
            losses[step], correct[step] = totals(row_losses, row_hits, n)
        _weights_phase(
            part, parts, n, rule, lr[step], t + step, sizes, offsets, params, state, biased, work, at, strips, P
        )  # fmt: skip
        barrier(meeting, 2 * step + 2, parts)


def run_train_steps(
    X: np.ndarray, labels: np.ndarray, rows: np.ndarray, batch: int, network: Network, rule: Rule,
    lr: np.ndarray, t: int, scale: float, mean: bool, epsilon: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Allocate the workspace and run ``train_steps`` on the team."""
    sizes = network.sizes
    batch = min(batch, len(rows))
    lengths = [batch * sizes[0]]
    for outputs in sizes[1:]:
        lengths += [batch * outputs] * 2  # Y_l, dZ_l
    at = _blocks(lengths)
    work = aligned_zeros(int(at[-1]), network.dtype)
    parts = get_num_threads()
    strips = aligned_zeros(parts * STRIP_ROWS * max(sizes[1:]), network.dtype)
    losses, correct = np.empty(len(lr)), np.empty(len(lr), np.int64)
    meeting = barrier_state()
    run(
        train_steps, parts, meeting, X, labels, rows, batch, scale, mean, epsilon, rule, lr, t,
        np.array(sizes), np.array(network.offsets), network.params, network.state, network.bias,
        work, at, strips, np.empty(batch), np.empty(batch, np.int64), losses, correct,
        scratch(parts * PACK_SIZE, network.dtype),
    )  # fmt: skip
    return losses, correct


@kernel
def forward(part, parts, X, sizes, offsets, params, biased, scale, work, widest, logits, P):
    """Logits of this part's rows, ROW_BLOCK at a time, through two blocks of ``widest`` columns in flat ``work``."""
    first, last = share(part, parts, X.shape[0])
    depth = sizes.size - 1
    for lo in range(first, last, ROW_BLOCK):
        n = min(ROW_BLOCK, last - lo)
        below = part * 2 * ROW_BLOCK * widest
        above = below + ROW_BLOCK * widest
        for i in range(n):
            _read_row(X, lo + i, scale, work, below + i * sizes[0])
        for l in range(depth - 1):
            _layer(n, l, sizes, offsets, params, biased, work, below, work, above, P, part * PACK_SIZE)
            below, above = above, below
        out, p = lo * sizes[depth], part * PACK_SIZE
        _layer(n, depth - 1, sizes, offsets, params, biased, work, below, flat(logits), out, P, p)


def run_forward(X: np.ndarray, network: Network, scale: float, out: np.ndarray) -> None:
    """Run ``forward`` on the team."""
    parts = get_num_threads()
    widest = -(-max(network.sizes) // _LINE) * _LINE
    work = aligned_zeros(parts * 2 * ROW_BLOCK * widest, network.dtype)
    run(
        forward, parts, X, np.array(network.sizes), np.array(network.offsets), network.params, network.bias, scale,
        work, widest, out, scratch(parts * PACK_SIZE, network.dtype),
    )  # fmt: skip
