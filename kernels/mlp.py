"""A whole network's training steps and forward pass in one compiled call: composition, no arithmetic of its own.

A step from a dense X has two phases with a barrier after each. In the first each part takes rows of the batch through
forward, loss and backward: rows need nothing from each other. In the second each part takes rows of every weight matrix
and computes its gradient and update from all rows of the batch. So every number is computed whole by one thread, in one
order.

A step from a sparse X splits the first layer by panels of hidden units instead: its weights, most of the network's, then
stay in the cache of the core that updates them. Each part transposes its rows of the batch to columns and computes its
panels of Y_0; barrier; its rows through the rest as above; barrier; its panels of W_0 and its rows of the other weights.
What the next step's first phase writes is kept twice, so that no barrier is needed after the last. Weights of a wide X stay in
no cache: there each part takes all panels, for its rows of the batch and then for its columns of X.

Legend: ``sizes`` layer widths [L+1], ``B`` batch rows, ``n`` rows in this batch; per layer l: ``Y_l`` its output, ``dZ_l`` the
gradient at its pre-activation, W_l from ``params[offsets[l]]`` on with b_l behind it. In ``work``, from ``at[...]`` on:
at[0] the dense batch (or the other copy of Y_0), at[2l+1] Y_l, at[2l+2] dZ_l. All functions here are raw.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np

from . import simd
from .activations import ACTIVATIONS, RELU, SOFTMAX, activate, activation_backward
from .dropout_mask import dropout_key, dropout_rows
from .gemm import (
    PACK_SIZE,
    bias_backward_update,
    finish_rows,
    gemm,
    gemm_transposed,
    linear_backward_update,
    mask,
    strip_size,
)
from .intrinsics import flat, prefetch
from .jit import kernel, overload, piece
from .memory import LINE_BYTES, aligned_zeros, scratch
from .network import Network
from .penalty import add_spans, span_count, span_squares
from .softmax_xent import logistic_cross_entropy, softmax_cross_entropy, totals
from .sparse import (
    COLUMNS_TOGETHER,
    CSR,
    catch_up,
    columns_to_step,
    count_rows,
    entry_arrays,
    fill_row,
    first_layer_forward,
    first_layer_update,
    index_dtype,
    pack,
    packed_size,
    panel_count,
    panel_start,
    to_columns,
    value_table,
)
from .team import barrier, barrier_state, get_num_threads, run, run_in_step, share, team_size
from .tuning import (
    BLOCK_ENTRIES,
    CACHED_BYTES,
    COLUMN_BLOCK,
    DOT_ROWS,
    IN_PLACE_BYTES,
    OWNED_BYTES,
    PACKED_BYTES,
    PACKED_ENTRIES,
    PACKED_ROWS,
    PACKED_VISITS,
    PANEL_VECTORS,
    ROW_BLOCK,
    SERIAL_ELEMENTS,
    SERIAL_FLOP,
    SPARSE_DENSITY,
    TRANSPOSE_VECTORS,
)
from .update import Rule, is_inert, rule_numbers, rule_slots, sgd, update_span

_LINE = 16  # workspace blocks start on cache lines


class Objective(NamedTuple):
    """What the steps minimise, and the network's functions: see ``ops.mlp_train_steps`` and ``Network``."""

    mean: bool
    epsilon: float
    label_smoothing: float
    dropout: float
    seed: int  # of the dropout, 32 bits
    first_row: int  # of the batch, where it is a part of another: its dropout counts rows from there
    activation: int
    output: int


def _padded(length: int) -> int:
    return -(-length // _LINE) * _LINE


def _blocks(lengths: list[int]) -> np.ndarray:
    """Where blocks of these lengths start in one buffer, and its length last."""
    return np.cumsum([0, *map(_padded, lengths)]).astype(np.int64)


@piece
def _read_row(X, row, scale, out, o):
    """out[o : o + I] = scale * X[row]."""
    factor, source = out.dtype.type(scale), flat(X)
    at, to = np.uintp(row * X.shape[1]), np.uintp(o)  # unsigned: see gemm._float_rows
    for k in range(np.uintp(X.shape[1])):
        out[to + k] = factor * source[at + k]


@piece
def _layer(rows, l, activation, sizes, offsets, params, biased, X, x, Y, y, P, p):
    """``rows`` rows of layer l's output, from X[x] to Y[y] on: W X + b, and the activation in all layers but the last."""
    I, O, w = sizes[l], sizes[l + 1], offsets[l]
    gemm(rows, O, I, X, x, I, 1, params, w, O, 1, Y, y, O, P, p)
    hidden = l < sizes.size - 2
    finish_rows(Y, y, rows, O, O, params, w + I * O, biased, 1.0, hidden and activation == RELU)
    if hidden:
        activate(activation, Y, y, rows * O)


@piece
def _input_at(l, y0, at):
    """Where layer l reads its input; ``y0`` is where the first layer's output is."""
    if l == 0:
        return at[0]
    return y0 if l == 1 else at[2 * l - 1]


@piece
def _rows_phase(
    part, parts, first, y0, labels, weights, rows, objective, t, sizes, offsets, params, biased, work, at, losses, hits, P
):  # fmt: skip
    """Forward from layer ``first``, loss, and backward to its input's layer, for this part's rows of a batch."""
    n = rows.size
    lo, hi = share(part, parts, n)
    depth, row = sizes.size - 1, objective.first_row + lo
    for l in range(first, depth):
        x, y = _input_at(l, y0, at) + lo * sizes[l], _input_at(l + 1, y0, at) + lo * sizes[l + 1]
        if l > 0 and l == first:  # from a sparse X: its panels have been computed by several parts
            activate(objective.activation, work, x, (hi - lo) * sizes[l])
        if l > 0 and objective.dropout > 0:
            dropout_rows(dropout_key(objective.seed, t, l), row, hi - lo, objective.dropout, work, x, sizes[l])
        _layer(hi - lo, l, objective.activation, sizes, offsets, params, biased, work, x, work, y, P, part * PACK_SIZE)
    weight = 1.0 / n if objective.mean else 1.0
    dz = at[2 * depth]
    logits = _input_at(depth, y0, at)
    if objective.output == SOFTMAX:
        softmax_cross_entropy(
            part, parts, n, sizes[depth], work, logits, labels, rows, weights, objective.label_smoothing,
            objective.epsilon, weight, losses, hits, work, dz,
        )  # fmt: skip
    else:
        logistic_cross_entropy(
            part, parts, n, sizes[depth], work, logits, labels, rows, weights, objective.label_smoothing, weight, losses,
            hits, work, dz,
        )  # fmt: skip
    for l in range(depth - 1, 0, -1):
        # Y_l-1 = f(Z_l-1), Z_l = Y_l-1 @ W_l + b_l  =>  dZ_l-1 = (dZ_l @ W_l.T) * f'(Z_l-1)
        I, O = sizes[l], sizes[l + 1]
        here = at[2 * l] + lo * I
        gemm_transposed(
            n < DOT_ROWS, hi - lo, I, O, work, dz + lo * O, O, params, offsets[l], O, work, here, I, P, part * PACK_SIZE
        )  # fmt: skip
        y, kept = _input_at(l, y0, at) + lo * I, 1 - objective.dropout
        if objective.activation == RELU:  # what dropout dropped is 0, too
            mask(work, y, work, here, hi - lo, I, I, 1 / kept)
        else:
            if objective.dropout > 0:
                dropout_rows(dropout_key(objective.seed, t, l), row, hi - lo, objective.dropout, work, here, I)
            activation_backward(objective.activation, work, y, work, here, (hi - lo) * I, kept)
        dz = at[2 * l]


@piece
def _weights_phase(part, parts, first, y0, n, rule, lr, t, sizes, offsets, updated, state, biased, work, at, strips, P):
    """Gradient and update for this part's rows of every weight matrix from layer ``first`` on, in ``updated``."""
    for l in range(first, sizes.size - 1):
        w = offsets[l]
        linear_backward_update(
            part, parts, n, sizes[l], sizes[l + 1], work, _input_at(l, y0, at), work, at[2 * l + 2], 1.0, rule, lr, t,
            updated, w, state, rule_slots(rule) * w, strips, P,
        )  # fmt: skip
        if biased:
            b = w + sizes[l] * sizes[l + 1]
            bias_backward_update(
                part, parts, n, sizes[l + 1], work, at[2 * l + 2], rule, lr, t, updated, b, state, rule_slots(rule) * b,
                strips,
            )  # fmt: skip


@piece
def _weight_squares(part, parts, first, sizes, offsets, params, squares, s):
    """The sums of squares of the spans of W from layer ``first`` on, from squares[s] on."""
    for l in range(first, sizes.size - 1):
        s = span_squares(part, parts, params, offsets[l], sizes[l] * sizes[l + 1], squares, s)


@kernel
def train_steps(
    part, parts, meeting, X, scale, labels, weights, rows, batch, objective, rule, lr, t,
    sizes, offsets, params, updated, state, biased, work, at, strips, row_losses, row_hits, losses, correct, P, squares,
):  # fmt: skip
    """Steps over ``rows`` of a dense X, ``batch`` at a time; see ``ops.mlp_train_steps``.

    ``squares``, not empty where they are wanted: [0] gets the sum over the steps of |W|^2, behind it is room for its spans.
    ``updated`` is ``params``, or zeros of its shape: with sgd at a rate of -1 they become the gradient.
    """
    for step in range(lr.size):
        batch_rows = rows[step * batch : min((step + 1) * batch, rows.size)]
        n = batch_rows.size
        lo, hi = share(part, parts, n)
        for i in range(lo, hi):
            _read_row(X, batch_rows[i], scale, work, at[0] + i * sizes[0])
        _rows_phase(
            part, parts, 0, at[1], labels, weights, batch_rows, objective, t + step, sizes, offsets, params, biased, work,
            at, row_losses, row_hits, P,
        )  # fmt: skip
        if squares.size:
            _weight_squares(part, parts, 0, sizes, offsets, params, squares, 1)
        barrier(meeting, 2 * step + 1, parts)
        if part == 0:
            losses[step], correct[step] = totals(row_losses, row_hits, n)
            add_spans(squares)
        _weights_phase(
            part, parts, 0, at[1], n, rule, lr[step], t + step, sizes, offsets, updated, state, biased, work, at,
            strips, P,
        )  # fmt: skip
        barrier(meeting, 2 * step + 2, parts)


@piece
def _prefetch_rows(rows, indptr, indices, values):
    """Ask for the entries of the next batch, from memory, while this one is computed."""
    for row in rows:
        for k in range(indptr[row], indptr[row + 1], LINE_BYTES // indices.itemsize):
            prefetch(indices, k)
        for k in range(indptr[row], indptr[row + 1], LINE_BYTES // values.itemsize):
            prefetch(values, k)


@piece
def _splits_of(first, last, panels):
    """Of the tasks first .. last - 1, split * panels + panel: the splits."""
    return range(first // panels, -(-last // panels))


@piece
def _panels_of(split, first, last, panels):
    """And the panels of one split."""
    return range(max(first - split * panels, 0), min(last - split * panels, panels))


@piece
def _pack_tasks(first, last, panels, splits, params, state, w, slots, I, H, packed, unpack):
    """W and its state, in this part's share, into ``packed`` or back."""
    size = packed.size // (1 + slots)
    for split in _splits_of(first, last, panels):
        lo, hi = share(split, splits, I)
        for p in _panels_of(split, first, last, panels):
            pack(p, lo, hi, params, w, I, H, packed, 0, unpack)
            for slot in range(slots):
                pack(p, lo, hi, state, slots * w + slot * I * H, I, H, packed, (1 + slot) * size, unpack)


@piece
def _vectors_of(part, parts, panels, splits, H, lanes):
    """Vectors of panels that a part computes, in ``splits``-ths."""
    first, last = share(part, parts, panels * splits)
    total = 0
    for task in range(first, last):
        total += (panel_start(task % panels + 1, H, lanes) - panel_start(task % panels, H, lanes)) // lanes
    return total


@piece
def _rows_to_transpose(part, parts, panels, splits, H, lanes, n):
    """The range of a batch's n rows that a part transposes: more where it has less of the panels to compute."""
    effort = TRANSPOSE_VECTORS * splits + splits * panel_start(panels, H, lanes) // lanes
    before = mine = total = 0
    for other in range(parts):
        share_of_it = max(0, effort - parts * _vectors_of(other, parts, panels, splits, H, lanes))
        before += share_of_it * (other < part)
        mine += share_of_it * (other == part)
        total += share_of_it
    return n * before // total, n * (before + mine) // total


@kernel
def train_steps_sparse(
    part, parts, meeting, indptr, indices, values, table, labels, weights, rows, batch, objective, rule, lr, t,
    sizes, offsets, params, updated, state, biased, work, at, strips, row_losses, row_hits, losses, correct, P, squares,
    block, packed, splits, starts, places, entries, columns, ends, D, seen, numbers,
    put_off_squares,
):  # fmt: skip
    """Steps over ``rows`` of a sparse X, ``batch`` at a time; see ``ops.mlp_train_steps``.

    ``splits`` parts share each panel of the first layer: rows of the batch in the forward, rows of W in the update (see
    ``columns_to_step``). With ``packed`` not empty the panels of W and its state are kept there meanwhile, packed,
    [1 + slots, ...]. starts [2, parts, I+2], places and entries by ``entry_arrays``, columns [parts, I],
    ends [parts, batch], D [parts, ...]. Where W is not packed and the rule moves rows without entries, such steps are put off
    (see ``catch_up``): seen [parts, I] zeros and numbers [parts, steps, 9]; else both are empty. Such a W's part of ``squares``
    is not in squares[0] but in ``put_off_squares``, zeros.
    """
    I, H = sizes[0], sizes[1]
    slots, size = rule_slots(rule), sizes[0] * sizes[1]
    panels = panel_count(H, simd.lanes(work))
    first, last = share(part, parts, panels * splits)
    V, W, S, w, q = updated, params, state, offsets[0], slots * offsets[0]
    if packed.size:  # and then ``updated`` is ``params``
        V, W, S, w, q = packed, packed, packed, 0, packed.size // (1 + slots)
        _pack_tasks(first, last, panels, splits, params, state, offsets[0], slots, I, H, packed, False)
    lazy = numbers.size > 0
    if lazy:
        for step in range(lr.size):
            constants = rule_numbers(rule, rule.weight_decay, lr[step], t + step)
            for k in range(len(constants)):
                numbers[part, step, k] = constants[k]
    meetings = 0
    for step in range(lr.size):
        if splits > 1:  # then others have updated this part's panels
            meetings += 1
            barrier(meeting, meetings, parts)
        batch_rows = rows[step * batch : min((step + 1) * batch, rows.size)]
        n, turn = batch_rows.size, step & 1
        y0 = at[turn]
        begun = starts[turn, :parts]  # fewer than there is room for, where the team was busy
        lo, hi = _rows_to_transpose(part, parts, panels, splits, H, simd.lanes(work), n)
        to_columns(part, lo, hi, batch_rows, indptr, indices, values, begun, places[turn], entries[turn], 0)
        _prefetch_rows(rows[(step + 1) * batch : min((step + 2) * batch, rows.size)], indptr, indices, values)
        if lazy:
            meetings += 1
            barrier(meeting, meetings, parts)
            for split in _splits_of(first, last, panels):
                chosen = columns[part, : columns_to_step(split, splits, False, begun, columns[part])]
                for p in _panels_of(split, first, last, panels):
                    catch_up(p, chosen, seen[part], step, rule, numbers[part], W, w, I, H, S, q, put_off_squares)
            if splits > 1:
                meetings += 1
                barrier(meeting, meetings, parts)
        b, o = (params, offsets[0] + size) if biased else (params[:0], 0)
        for split in _splits_of(first, last, panels):
            lo, hi = share(split, splits, n)
            for p in _panels_of(split, first, last, panels):
                first_layer_forward(
                    p, batch_rows[lo:hi], indptr, indices, values, table, block, W, w, packed.size > 0, I, H,
                    b, o, sizes.size > 2 and objective.activation == RELU, work, y0 + lo * H, D[part], 0, ends[part], 0,
                )  # fmt: skip
        meetings += 1
        barrier(meeting, meetings, parts)
        _rows_phase(
            part, parts, 1, y0, labels, weights, batch_rows, objective, t + step, sizes, offsets, params, biased, work, at,
            row_losses, row_hits, P,
        )  # fmt: skip
        if squares.size:
            s = 1 if lazy else span_squares(part, parts, W, w, q if packed.size else size, squares, 1)
            _weight_squares(part, parts, 1, sizes, offsets, params, squares, s)
        meetings += 1
        barrier(meeting, meetings, parts)
        if part == 0:
            losses[step], correct[step] = totals(row_losses, row_hits, n)
            add_spans(squares)
        every = not lazy and not is_inert(rule)
        for split in _splits_of(first, last, panels):
            chosen = columns[part, : columns_to_step(split, splits, every, begun, columns[part])]
            stepped = updated if biased and split == 0 else updated[:0]
            for p in _panels_of(split, first, last, panels):
                first_layer_update(
                    p, chosen, begun, places[turn], entries[turn], table, n, work, at[2], rule, lr[step], t + step,
                    V, w, packed.size > 0, I, H, S, q, D[part], 0, stepped, o, state, slots * o,
                )  # fmt: skip
            if lazy:
                for j in chosen:
                    seen[part, j] = step + 1
        _weights_phase(
            part, parts, 1, y0, n, rule, lr[step], t + step, sizes, offsets, updated, state, biased, work, at,
            strips, P,
        )  # fmt: skip
    if splits > 1:
        barrier(meeting, meetings + 1, parts)
    if packed.size:
        _pack_tasks(first, last, panels, splits, params, state, offsets[0], slots, I, H, packed, True)
    if lazy:
        for split in _splits_of(first, last, panels):
            chosen = columns[part, : columns_to_step(split, splits, True, starts[0], columns[part])]
            for p in _panels_of(split, first, last, panels):
                catch_up(p, chosen, seen[part], lr.size, rule, numbers[part], W, w, I, H, S, q, put_off_squares)


def run_train_steps(
    X: np.ndarray | CSR, scale: float, labels: np.ndarray, weights: np.ndarray, rows: np.ndarray, batch: int,
    objective: Objective, rule: Rule, lr: np.ndarray, t: int, network: Network, updated: np.ndarray | None = None,
    squares: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Allocate the workspace and run ``train_steps`` or ``train_steps_sparse`` on the team.

    ``squares`` [1] gets the sum over the steps of |W|^2.
    """
    sizes, dtype = network.sizes, network.dtype
    asked, batch = batch, min(batch, len(rows))
    lengths = [batch * (sizes[1] if isinstance(X, CSR) else sizes[0])]
    for outputs in sizes[1:]:
        lengths += [batch * outputs] * 2  # Y_l, dZ_l
    at = _blocks(lengths)
    parts = 1 if batch * network.flop_per_sample <= SERIAL_FLOP else team_size()
    losses, correct = np.empty(len(lr)), np.empty(len(lr), np.int64)
    lanes = simd.REGISTER_BYTES // dtype.itemsize
    spans = [span_count(packed_size(I, O, lanes)) for I, O in zip(sizes, sizes[1:])]  # or less
    sums = np.zeros(0 if squares is None else 1 + sum(spans))
    common = (
        *network.layout, network.params if updated is None else updated, network.state, network.bias,
        aligned_zeros(int(at[-1]), dtype), at, aligned_zeros(parts * strip_size(max(sizes[1:])), dtype),
        np.empty(batch), np.empty(batch, np.int64), losses, correct, scratch(parts * PACK_SIZE, dtype), sums,
    )  # fmt: skip
    if not isinstance(X, CSR):
        run_in_step(
            train_steps, parts, barrier_state(), X, scale, labels, weights, rows, batch, objective, rule, lr, t, *common
        )  # fmt: skip
        if squares is not None:
            squares[0] = sums[0]
        return losses, correct
    I, H = sizes[:2]
    lengths_of_rows = np.diff(X.indptr)[rows]
    most = int(np.add.reduceat(lengths_of_rows, np.arange(0, len(rows), batch)).max())
    if most > np.iinfo(np.int32).max:  # what counts the entries of a batch
        raise ValueError(f"a batch of X has {most} entries; it must have at most {2**31 - 1}: take a smaller batch")
    room = (1 + network.slots) * packed_size(I, H, lanes) * dtype.itemsize
    visits = int(lengths_of_rows.sum()) / I  # of a column
    pack_it = (
        updated is None and visits >= PACKED_VISITS and room <= PACKED_BYTES
        and (room <= CACHED_BYTES or visits >= PACKED_ENTRIES * len(lr))
    )  # fmt: skip
    in_blocks = pack_it and lengths_of_rows.mean() * COLUMN_BLOCK >= BLOCK_ENTRIES * I and X.columns_rise
    panel = PANEL_VECTORS * lanes
    lazy = not pack_it and not is_inert.py_func(rule)
    # In place a panel may end inside a cache line: parts that own panels would take that from each other.
    ends = [H, *(panel_start.py_func(p, H, lanes) for p in range(panel_count.py_func(H, lanes)))]
    whole_lines = all(end * dtype.itemsize % LINE_BYTES == 0 for end in ends)
    own_panels = pack_it or (whole_lines and I * H * dtype.itemsize <= OWNED_BYTES)
    splits = -(-parts // panel_count.py_func(H, lanes)) if own_panels else parts
    blocks = panel_count.py_func(H, lanes) * (I // COLUMNS_TOGETHER + 1) if lazy and squares is not None else 0
    put_off_squares = aligned_zeros(blocks * panel, dtype)
    run_in_step(
        train_steps_sparse, parts, barrier_state(), *X.arrays, X.table(scale, dtype), labels, weights,
        rows, batch, objective, rule, lr, t, *common,
        COLUMN_BLOCK if in_blocks else I, aligned_zeros(room // dtype.itemsize * pack_it, dtype),
        splits, np.empty((2, parts, I + 2), np.int32),
        *entry_arrays((2, most), asked, X.values.dtype),  # a last, short batch by the same machine code
        np.empty((parts, I), index_dtype(I)), np.empty((parts, batch), np.int64),
        aligned_zeros(parts * (batch + 1) * panel, dtype).reshape(parts, -1),
        np.zeros((parts, I * lazy), np.int32), np.empty((parts, len(lr) * lazy, 9), dtype),
        put_off_squares,
    )  # fmt: skip
    if squares is not None:
        squares[0] = sums[0] + put_off_squares.sum(dtype=np.float64)
    return losses, correct


def run_gradient(
    X: np.ndarray | CSR, scale: float, labels: np.ndarray, weights: np.ndarray, rows: np.ndarray, objective: Objective,
    t: int, network: Network, gradient: np.ndarray, squares: np.ndarray | None = None,
) -> tuple[float, int]:  # fmt: skip
    """One step that is not taken: (loss, correct), the gradient of all parameters in ``gradient``."""
    gradient[...] = 0
    losses, correct = run_train_steps(
        X, scale, labels, weights, rows, len(rows), objective, sgd(), np.array([-1.0]), t, network, gradient,
        squares,
    )  # fmt: skip
    return float(losses[0]), int(correct[0])


@kernel
def update_network(part, parts, rule, lr, t, factor, gradient, sizes, offsets, params, state, biased):
    """Step this part of every W and b by ``factor`` times its gradient."""
    slots = rule_slots(rule)
    for l in range(sizes.size - 1):
        at, decay = offsets[l], rule.weight_decay
        for size in (sizes[l] * sizes[l + 1], sizes[l + 1] * biased):
            lo, hi = share(part, parts, size)
            first, second = slots * at + lo, slots * at + size + lo
            update_span(
                rule, decay, lr, t, params, at + lo, gradient, at + lo, factor, state, first, state, second, hi - lo
            )  # fmt: skip
            at, decay = at + size, 0.0  # b, behind W, is not decayed


def run_update(network: Network, gradient: np.ndarray, rule: Rule, lr: float, t: int, factor: float) -> None:
    """Run ``update_network`` on the team."""
    parts = 1 if gradient.size <= SERIAL_ELEMENTS else get_num_threads()
    sizes, offsets, params = network.layout
    run(
        update_network, parts, rule, lr, t, factor, gradient, sizes, offsets, params, network.state, network.bias
    )  # fmt: skip


@piece
def _upper_layers(
    n, first, X, x, below, above, activation, sizes, offsets, params, biased, work, logits, out, P, p
):  # fmt: skip
    """n rows from X[x] on through the layers from ``first`` on, by turns to work[above] and work[below], and to the logits."""
    depth = sizes.size - 1
    for l in range(first, depth - 1):
        _layer(n, l, activation, sizes, offsets, params, biased, X, x, work, above, P, p)
        X, x = work, above
        below, above = above, below
    if first < depth:
        _layer(n, depth - 1, activation, sizes, offsets, params, biased, X, x, logits, out, P, p)


def _float_rows(X, row, last, most, scale, work, to):
    """(array, offset, n) of n rows of scale * X as floats: at most ``most`` where they lie, or ROW_BLOCK copied to work[to]."""


@overload(_float_rows)
def _float_rows_overload(X, row, last, most, scale, work, to):
    def copied(X, row, last, most, scale, work, to):
        n = min(ROW_BLOCK, last - row)
        for i in range(n):
            _read_row(X, row + i, scale, work, to + i * X.shape[1])
        return work, to, n

    def as_they_lie(X, row, last, most, scale, work, to):
        if scale == 1.0:
            return flat(X), row * X.shape[1], min(most, last - row)
        n = min(ROW_BLOCK, last - row)
        for i in range(n):
            _read_row(X, row + i, scale, work, to + i * X.shape[1])
        return work, to, n

    return as_they_lie if X.dtype == work.dtype else copied


@piece
def _rows_together(sizes, widest, work):
    """Rows whose outputs fit a block of ``work``, where W is not in L2 and is to be read, and packed, for as many as can be.

    300 rows of 200,000 x 100, one thread, ms: 64 rows at a time, copied 132, where they lie 115, all at once 74.
    """
    if sizes[0] * sizes[1] * work.itemsize <= IN_PLACE_BYTES:
        return ROW_BLOCK
    most = 1
    for size in sizes[1:]:
        most = max(most, size)
    return max(ROW_BLOCK, ROW_BLOCK * widest // most)


@piece
def _first_sparse(
    rows, indptr, indices, values, table, ends, e, activation, sizes, offsets, params, biased, packed, block, work, below,
    above, logits, out,
):  # fmt: skip
    """The first layer for ``rows`` of a sparse X, to work[below] or, where it is the only one, to the logits."""
    I, H = sizes[0], sizes[1]
    b, o = (params, offsets[0] + I * H) if biased else (params[:0], 0)
    Y, y = (work, below) if sizes.size > 2 else (logits, out)
    W, w = (packed, 0) if packed.size else (params, offsets[0])
    for p in range(panel_count(H, simd.lanes(params))):
        first_layer_forward(
            p, rows, indptr, indices, values, table, block, W, w, packed.size > 0, I, H, b, o,
            sizes.size > 2 and activation == RELU, Y, y, work, above, ends, e,
        )  # fmt: skip
    if sizes.size > 2:
        activate(activation, Y, y, rows.size * H)


@piece
def _pack_together(part, parts, meeting, sizes, offsets, params, packed):
    """The first layer's panels into ``packed``, where it is not empty, by all parts."""
    I, H = sizes[0], sizes[1]
    if packed.size:
        first, last = share(part, parts, panel_count(H, simd.lanes(params)))
        for p in range(first, last):
            pack(p, 0, I, params, offsets[0], I, H, packed, 0, False)
        barrier(meeting, 1, parts)


@kernel
def forward(
    part, parts, meeting, X, activation, sizes, offsets, params, biased, packed, block, scale, table, work, widest, rows,
    indices, values, logits, P,
):  # fmt: skip
    """Logits of this part's rows, ROW_BLOCK at a time or more, through two blocks of ``widest`` columns in flat ``work``.

    Where the next ROW_BLOCK rows have few non-zeros, their zeros are skipped: the bits are the same. ``rows`` are
    0 .. ROW_BLOCK, and behind them two times ROW_BLOCK + 1 numbers of scratch for each part; ``indices`` and ``values``
    ROW_BLOCK * inputs for each. With ``packed`` not empty the first layer is packed there, for ``block`` columns at a time.
    """
    _pack_together(part, parts, meeting, sizes, offsets, params, packed)
    first, last = share(part, parts, X.shape[0])
    I = X.shape[1]
    below = part * 2 * ROW_BLOCK * widest
    above = below + ROW_BLOCK * widest
    p = part * PACK_SIZE
    at = (1 + 2 * part) * (ROW_BLOCK + 1)
    starts, ends = rows[at : at + ROW_BLOCK + 1], rows[at + ROW_BLOCK + 1 : at + 2 * ROW_BLOCK + 2]
    together, row = _rows_together(sizes, widest, work), first
    while row < last:
        n = min(ROW_BLOCK, last - row)
        entries, out = count_rows(X, row, n, starts), row * sizes[-1]
        if entries <= SPARSE_DENSITY * (n * I) and sizes[1] > 1:  # one output is summed in another order: see gemm
            k = part * ROW_BLOCK * I
            for i in range(n):
                end = k + starts[i]
                starts[i] = k
                fill_row(X, row + i, k, end, indices, values)
                k = end
            starts[n] = k
            _first_sparse(
                rows[:n], starts, indices, values, table, ends, 0, activation, sizes, offsets, params, biased, packed,
                block, work, below, above, flat(logits), out,
            )  # fmt: skip
            samples, x, layer = work, below, 1
        else:
            samples, x, n = _float_rows(X, row, last, together, scale, work, below)
            layer = 0
        _upper_layers(
            n, layer, samples, x, below, above, activation, sizes, offsets, params, biased, work, flat(logits), out, P, p
        )  # fmt: skip
        row += n


@kernel
def forward_sparse(
    part, parts, meeting, indptr, indices, values, table, rows, ends, activation, sizes, offsets, params, biased, packed,
    block, work, widest, logits, P,
):  # fmt: skip
    """``forward`` from a sparse X: ``rows`` are 0 .. B-1, ``ends`` B elements of scratch."""
    _pack_together(part, parts, meeting, sizes, offsets, params, packed)
    lo, hi = share(part, parts, rows.size)
    below = part * 2 * ROW_BLOCK * widest
    above = below + ROW_BLOCK * widest
    for row in range(lo, hi, ROW_BLOCK):
        n, out = min(ROW_BLOCK, hi - row), row * sizes[-1]
        _first_sparse(
            rows[row : row + n], indptr, indices, values, table, ends, row, activation, sizes, offsets, params, biased,
            packed, block, work, below, above, flat(logits), out,
        )  # fmt: skip
        _upper_layers(
            n, 1, work, below, below, above, activation, sizes, offsets, params, biased, work, flat(logits), out, P,
            part * PACK_SIZE,
        )  # fmt: skip


def run_forward(X: np.ndarray | CSR, network: Network, scale: float, out: np.ndarray) -> None:
    """Run ``forward`` or ``forward_sparse`` on the team."""
    parts = 1 if 2 * X.shape[0] * network.params.size <= SERIAL_FLOP else get_num_threads()
    work, widest, rows, indices, values, P, table, packed = _forward_workspace(network, parts, X.dtype, scale)
    block, meeting, activation = network.sizes[0], _ALONE, ACTIVATIONS[network.activation]
    if X.shape[0] >= PACKED_ROWS and network.params.nbytes <= PACKED_BYTES:
        size = packed_size(network.sizes[0], network.sizes[1], simd.REGISTER_BYTES // network.dtype.itemsize)
        packed, meeting = scratch(size, network.dtype)[:size], barrier_state()
        block = COLUMN_BLOCK if not isinstance(X, CSR) or X.columns_rise else block
    if isinstance(X, CSR):
        rows, table = np.arange(X.shape[0]), X.table(scale, network.dtype)
        run(
            forward_sparse, parts, meeting, *X.arrays, table, rows, np.empty_like(rows), activation, *network.layout,
            network.bias, packed, block, work, widest, out, P,
        )  # fmt: skip
    else:
        run(
            forward, parts, meeting, X, activation, *network.layout, network.bias, packed, block, scale, table, work,
            widest, rows, indices, values, out, P,
        )  # fmt: skip


_kept = threading.local()
_ALONE = barrier_state()  # where nobody meets


def _forward_workspace(network: Network, parts: int, dtype: np.dtype, scale: float) -> Any:
    """What ``forward`` writes on, kept for this thread's next call like it: for one sample, making it took longer."""
    key = network.sizes, network.dtype, dtype, parts, scale
    if getattr(_kept, "key", None) != key:
        widest, room = _padded(max(network.sizes)), parts * ROW_BLOCK * network.sizes[0]
        rows = np.zeros((1 + 2 * parts) * (ROW_BLOCK + 1), np.int64)
        rows[:ROW_BLOCK] = np.arange(ROW_BLOCK)
        _kept.arrays = (
            aligned_zeros(parts * 2 * ROW_BLOCK * widest, network.dtype), widest, rows,
            np.empty(room, index_dtype(network.sizes[0])), np.empty(room, dtype),
            aligned_zeros(parts * PACK_SIZE, network.dtype), value_table(dtype, scale, network.dtype),
            np.empty(0, network.dtype),
        )  # fmt: skip
        _kept.key = key
    return _kept.arrays
