"""A whole network's training steps in one compiled call, composed of the kernels of other modules.

The twin of a step is ``reference.mlp_gradient`` followed by ``reference.mlp_update``, in the same order and words:
forward, loss, backward, update.

A step from a dense X has two phases with a barrier after each. In the first each part takes its rows of the batch
through forward, loss and backward: rows do not depend on each other. In the second each part takes its rows of every
weight matrix and computes their gradient and update from all rows of the batch. So each number is computed by one
thread, in one order.

A step from a sparse X splits the first layer by panels of hidden units instead: its weights, most of the network's,
then stay in the cache of the core that updates them. Each part transposes its rows of the batch to columns and computes
its panels of Y_1; barrier; takes its rows through the rest as above; barrier; updates its panels of W_0 and its rows of
the other weights. No barrier is needed at the end: what the next step writes before its first barrier is in memory of
its own, as steps take two sets of these arrays by turns. The weights of a wide X fit no cache: then each part takes all
panels, for its rows of the batch and later for its columns of X.

Legend: layer l makes Y_l+1 = f(Z_l+1), Z_l+1 = Y_l @ W_l + b_l, of Y_0 = scale * X, f the activation in all layers but
the last; ``dZ_l`` is the gradient at Z_l; ``n`` rows in this batch. All functions here are raw.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import simd
from .activations import Activation
from .bundles import Matrix, after, views
from .csr_matrix import to_read
from .dropout_mask import dropout_key, dropout_rows
from .gemm import Scratch, backward_update, finish_rows, gemm, gemm_transposed, mask, own_scratch, takes_dots
from .intrinsics import flat, flat_as, prefetch
from .jit import kernel, piece
from .layers import activate, activation_backward, is_fused, layer_of, weights_of
from .losses import Loss, Outcomes, Targets, totals
from .memory import LINE_BYTES
from .network import Parameters
from .penalty import add_spans, span_squares
from .sparse import (
    Columns,
    PanelLayer,
    PanelState,
    PutOff,
    catch_up,
    columns_to_step,
    first_layer_forward,
    first_layer_update,
    pack,
    panel_count,
    panel_start,
    to_columns,
)
from .team import barrier, share
from .tuning import TRANSPOSE_VECTORS
from .update import Schedule, average, is_inert, step_of, step_rows

# -- what a step works on ------------------------------------------------------------------------------------------


class Scaled(NamedTuple):
    """An X that is read as scale * values.

    For kernels a CSR becomes ``Sparse``, and an array becomes the bytes of its rows: then one compiled step serves an X
    of uint8 and one of the weights' dtype.
    """

    values: Any
    scale: float


class Samples(NamedTuple):
    """The samples to train on: the rows ``rows`` of X with their labels and weights, ``batch`` rows in each step."""

    X: Any  # Scaled or Sparse
    labels: np.ndarray
    weights: np.ndarray
    rows: np.ndarray
    batch: int


class Objective(NamedTuple):
    """The loss to minimise, and the options of the hidden layers: see ``ops.mlp_train_steps`` and ``Network``."""

    loss: Loss
    activation: Activation | tuple[Activation, ...]  # of all hidden layers, or of each: see ``layers``
    mean: bool
    dropout: float
    seed: int  # of the dropout, 32 bits
    first_row: int  # where the batch begins in a larger one: dropout counts rows from there


class Hidden(NamedTuple):
    """The fields of ``Objective`` that hidden layers need, so that their kernels are shared by all losses."""

    activation: Activation
    dropout: float
    seed: int
    first_row: int


class Workspace(NamedTuple):
    """Memory for the batch: values[offsets[3 * l]:] has Y_l, followed by dZ_l, and by f'(Z_l) where f is ``of_input``.

    Y_1 is at ``hidden`` instead: steps from a sparse X alternate between its own place and that of Y_0.
    """

    values: np.ndarray
    offsets: np.ndarray
    hidden: int
    outcomes: Outcomes
    scratch: Scratch


class Results(NamedTuple):
    """Each step's loss, summed over the batch, and hits; ``squares`` and ``average`` are empty unless they are wanted.

    squares[0] is the sum over the steps of |W|^2, with scratch for the spans behind it; the squares of a W_0 whose
    steps are put off are in ``PutOff``. ``average`` is moved towards the parameters after each step but the last, by
    ``average_rate`` of the way or, where that is 0, by 1 / t after step t.
    """

    losses: np.ndarray
    correct: np.ndarray
    squares: np.ndarray
    average: np.ndarray
    average_rate: float


class SparseWorkspace(NamedTuple):
    """Additional memory for steps from a sparse X.

    ``splits`` parts share each panel of the first layer: rows of the batch in the forward, columns of X in the update
    (see ``columns_to_step``). If ``packed`` is not empty, the panels of W_0 and its state are kept there during the
    call, [1 + slots, ...].
    """

    splits: int
    packed: np.ndarray
    starts: np.ndarray  # these three are those of ``Columns``, each twice
    places: np.ndarray
    entries: np.ndarray
    panels: np.ndarray  # [parts, ...]; this and the next two are scratch: see ``sparse``
    ends: np.ndarray  # [parts, batch]
    chosen: np.ndarray  # [parts, I]
    put_off: PutOff


@piece
def batch_range(samples, step):
    """The range of a step's batch in ``samples.rows``; empty after the last step."""
    size = samples.rows.size
    return min(step * samples.batch, size), min((step + 1) * samples.batch, size)


@piece
def targets_of(samples, step):
    """The targets of a step's batch; their ``rows`` are the batch's rows."""
    first, last = batch_range(samples, step)
    return Targets(samples.labels, samples.weights, samples.rows[first:last])


@piece
def _outputs(workspace, l, lo, n):
    """Y_l from row ``lo`` on; rows have n elements."""
    start = workspace.hidden if l == 1 else workspace.offsets[3 * l]
    return Matrix(after(workspace.values, start + lo * n), n, 1)


@piece
def _gradients(workspace, l, lo, n):
    """dZ_l from row ``lo`` on; rows have n elements."""
    return Matrix(after(workspace.values, workspace.offsets[3 * l + 1] + lo * n), n, 1)


@piece
def _slopes(workspace, l, lo, n):
    """f'(Z_l) from row ``lo`` on, for an f that is ``of_input``: the forward pass computes it, at little extra cost."""
    return Matrix(after(workspace.values, workspace.offsets[3 * l + 2] + lo * n), n, 1)


# -- forward, loss, backward: rows of a batch ----------------------------------------------------------------------


@piece
def read_row(source, scale, row, I, Y):
    """Y = scale * X[row], I numbers in the type of Y; ``source`` is X, flat."""
    factor, start = Y.dtype.type(scale), np.uintp(row * I)  # unsigned: see gemm._float_rows
    for k in range(np.uintp(I)):
        Y[k] = factor * source[start + k]


@kernel
def _read_rows(X, rows, I, Y):
    """Y = scale * X[rows], flat, with I numbers a row."""
    for i in range(rows.size):
        if X.values.shape[1] == I:
            read_row(flat(X.values), X.scale, rows[i], I, after(Y, i * I))
        else:
            read_row(flat_as(X.values, Y.dtype), X.scale, rows[i], I, after(Y, i * I))


@kernel
def layer_forward(rows, l, activation, network, X, Y, pack_buffer):
    """Y = X @ W_l + b_l for ``rows`` rows; applies ReLU, too, if that is the layer's activation."""
    W, b = weights_of(network, l)
    gemm(rows, Y.row, X.row, X, Matrix(W, Y.row, 1), Y, pack_buffer, False)
    finish_rows(rows, Y.row, Y, b, 1.0, l < network.sizes.size - 2 and is_fused(activation, l + 1))


@piece
def _drop(hidden, t, l, lo, rows, Y):
    """Apply dropout to rows of hidden layer l, from row ``lo`` of the batch on."""
    key = dropout_key(hidden.seed, t, l)
    dropout_rows(key, hidden.first_row + lo, rows, hidden.dropout, Y.values, Y.row)


@kernel
def forward_rows(lo, hi, first, t, hidden, network, workspace):
    """Y_l of the rows ``lo`` .. ``hi`` - 1 of the batch, from layer ``first`` on, and the logits."""
    sizes, rows = network.sizes, hi - lo
    depth = sizes.size - 1
    for l in range(first, depth):
        X = _outputs(workspace, l, lo, sizes[l])
        if l > 0:
            slopes = _slopes(workspace, l, lo, sizes[l])
            activate(hidden.activation, l, X.values, slopes.values, rows * sizes[l])
            if hidden.dropout > 0:
                _drop(hidden, t, l, lo, rows, X)
        Y = _outputs(workspace, l + 1, lo, sizes[l + 1])
        layer_forward(rows, l, hidden.activation, network, X, Y, workspace.scratch.pack_buffer)


@kernel
def loss_rows(lo, hi, n, loss, mean, targets, network, workspace):
    """Losses and hits of the rows ``lo`` .. ``hi`` - 1 of the batch's n, and dZ at the logits."""
    depth = network.sizes.size - 1
    scale, O = 1.0 / n if mean else 1.0, network.sizes[depth]
    logits, dZ = _outputs(workspace, depth, 0, O), _gradients(workspace, depth, 0, O)
    loss.gradient(loss, lo, hi, O, logits.values, targets, scale, workspace.outcomes, dZ.values)


@kernel
def backward_rows(lo, hi, n, t, hidden, network, workspace):
    """dZ_l of the rows ``lo`` .. ``hi`` - 1 of the batch's n, from the last hidden layer to the first."""
    sizes, rows, kept = network.sizes, hi - lo, 1 - hidden.dropout
    for l in range(sizes.size - 2, 0, -1):
        # Y_l = f(Z_l), Z_l+1 = Y_l @ W_l + b_l  =>  dZ_l = (dZ_l+1 @ W_l.T) * f'(Z_l)
        I, O = sizes[l], sizes[l + 1]
        above, dZ = _gradients(workspace, l + 1, lo, O), _gradients(workspace, l, lo, I)
        Y, slopes = _outputs(workspace, l, lo, I), _slopes(workspace, l, lo, I)
        W_transposed = Matrix(weights_of(network, l)[0], 1, O)
        gemm_transposed(takes_dots(n, O), rows, I, O, above, W_transposed, dZ, workspace.scratch.pack_buffer)
        if is_fused(hidden.activation, l):  # ReLU; elements that dropout dropped are 0, too
            mask(rows, I, Y, dZ, 1 / kept)
        else:
            if hidden.dropout > 0:
                _drop(hidden, t, l, lo, rows, dZ)
            activation_backward(hidden.activation, l, Y.values, slopes.values, dZ.values, rows * I, kept)


@kernel
def pass_rows(part, parts, first, t, objective, targets, network, workspace):
    """Forward from layer ``first`` on, loss and backward for this part's rows of the batch with these targets."""
    n, hidden = targets.rows.size, Hidden(objective.activation, objective.dropout, objective.seed, objective.first_row)
    lo, hi = share(part, parts, n)
    forward_rows(lo, hi, first, t, hidden, network, workspace)
    loss_rows(lo, hi, n, objective.loss, objective.mean, targets, network, workspace)
    backward_rows(lo, hi, n, t, hidden, network, workspace)


# -- update: rows of weights ---------------------------------------------------------------------------------------


@kernel
def update_layers(part, parts, first, n, rule, rates, t, network, workspace):
    """Step t of this part's rows of every W, and of b, from layer ``first`` on, each layer by its own rate."""
    sizes = network.sizes
    for l in range(first, sizes.size - 1):
        X, dY = _outputs(workspace, l, 0, sizes[l]), _gradients(workspace, l + 1, 0, sizes[l + 1])
        layer, step = layer_of(network, l, rule), step_of(rule, rates[l], t)
        backward_update(part, parts, n, X, dY, 1.0, layer, step, workspace.scratch)


@kernel
def update_network(part, parts, schedule, factor, gradient, network):
    """Step this part of every W and b by ``factor`` * gradient, which is laid out as the parameters."""
    rule = schedule.rule
    for l in range(network.sizes.size - 1):
        layer, w, step = layer_of(network, l, rule), network.offsets[l], step_of(rule, schedule.lr[0, l], schedule.t)
        size = layer.inputs * layer.outputs
        lo, hi = share(part, parts, size)
        W_state, b_state = after(network.state, rule.slots * w + lo), after(network.state, rule.slots * (w + size))
        step_rows(
            rule, step.of_weights, after(layer.W, lo), views(W_state, size, rule.slots), after(gradient, w + lo),
            factor, 1, hi - lo, 0,
        )  # fmt: skip
        if network.biased:
            lo, hi = share(part, parts, layer.outputs)
            state, db = views(after(b_state, lo), layer.outputs, rule.slots), after(gradient, w + size + lo)
            step_rows(rule, step.of_biases, after(layer.b, lo), state, db, factor, 1, hi - lo, 0)


# -- the step from a dense X ---------------------------------------------------------------------------------------


@kernel
def train_steps(
    part, parts, arrivals, samples: Samples, objective: Objective, schedule: Schedule, network: Parameters,
    workspace: Workspace, results: Results,
):  # fmt: skip
    """Steps over the samples, from a dense X; see ``ops.mlp_train_steps``."""
    workspace = _own_workspace(workspace, part, parts)
    for step in range(schedule.lr.shape[0]):
        targets, t, I = targets_of(samples, step), schedule.t + step, network.sizes[0]
        lo, hi = share(part, parts, targets.rows.size)
        _read_rows(samples.X, targets.rows[lo:hi], I, _outputs(workspace, 0, lo, I).values)
        pass_rows(part, parts, 0, t, objective, targets, network, workspace)
        note_weights(part, parts, step, t, network.params[: I * network.sizes[1]], network, results)
        barrier(arrivals, parts)
        if part == 0:
            sum_up(step, targets.rows.size, workspace.outcomes, results)
        rule, rates = schedule.rule, schedule.lr[step]
        update_layers(part, parts, 0, targets.rows.size, rule, rates, t, network, workspace)
        barrier(arrivals, parts)


@piece
def _own_workspace(workspace, part, parts):
    """The workspace with this part's own scratch."""
    scratch = own_scratch(workspace.scratch, part, parts)
    return Workspace(workspace.values, workspace.offsets, workspace.hidden, workspace.outcomes, scratch)


@kernel
def note_weights(part, parts, step, t, first_W, network, results):
    """Before a step, where they are wanted: add up the squares of all W, and move the average towards the parameters.

    ``first_W`` is W_0, flat. Parameters are those after step t - 1; after the last step the caller moves the average.
    """
    if results.squares.size:
        s = span_squares(part, parts, first_W, first_W.size, results.squares, 1)
        for l in range(1, network.sizes.size - 1):
            W, size = weights_of(network, l)[0], network.sizes[l] * network.sizes[l + 1]
            s = span_squares(part, parts, W, size, results.squares, s)
    if results.average.size and step > 0:
        rate = results.average_rate if results.average_rate > 0 else 1 / (t - 1)
        average(part, parts, network.params, results.average, rate)


@kernel
def sum_up(step, n, outcomes, results):
    """Add up a step's results: the losses and hits of n rows, and the spans of the squares."""
    results.losses[step], results.correct[step] = totals(outcomes.losses, outcomes.hits, n)
    add_spans(results.squares)


# -- the step from a sparse X --------------------------------------------------------------------------------------


class Tasks(NamedTuple):
    """A part's tasks, ``first`` .. ``last`` - 1 of panels * splits: task s * panels + p is split s of panel p."""

    first: int
    last: int
    panels: int
    splits: int


@piece
def _tasks_of(part, parts, panels, splits):
    first, last = share(part, parts, panels * splits)
    return Tasks(first, last, panels, splits)


@piece
def _splits_of(tasks):
    """The splits that occur in a part's tasks."""
    return range(tasks.first // tasks.panels, -(-tasks.last // tasks.panels))


@piece
def _panels_of(tasks, split):
    """The panels of one split in a part's tasks."""
    before = split * tasks.panels
    return range(max(tasks.first - before, 0), min(tasks.last - before, tasks.panels))


@piece
def _vectors_of(part, parts, panels, splits, H, lanes):
    """The vectors of panels that a part computes, in units of 1 / ``splits`` of a vector."""
    tasks = _tasks_of(part, parts, panels, splits)
    total = 0
    for task in range(tasks.first, tasks.last):
        total += (panel_start(task % panels + 1, H, lanes) - panel_start(task % panels, H, lanes)) // lanes
    return total


@kernel
def rows_to_transpose(part, parts, panels, splits, H, lanes, n):
    """The range of a batch's n rows that a part transposes: more if it has fewer vectors of panels to compute."""
    effort = TRANSPOSE_VECTORS * splits + splits * panel_start(panels, H, lanes) // lanes
    before = mine = total = 0
    for other in range(parts):
        room = max(0, effort - parts * _vectors_of(other, parts, panels, splits, H, lanes))
        before += room * (other < part)
        mine += room * (other == part)
        total += room
    return n * before // total, n * (before + mine) // total


@piece
def _prefetch_rows(rows, X):
    """Prefetch the entries of the next batch while this one is computed."""
    for row in rows:
        for k in range(X.indptr[row], X.indptr[row + 1], LINE_BYTES // X.indices.itemsize):
            prefetch(X.indices, k)
        for k in range(X.indptr[row], X.indptr[row + 1], LINE_BYTES // X.values.itemsize):
            prefetch(X.values, k)


@piece
def panel_layer(network, params, packed):
    """The first layer with these parameters, or with its W in ``packed`` unless that is empty."""
    I, H, w = network.sizes[0], network.sizes[1], network.offsets[0]
    b = w + I * H if network.biased else params.size
    return PanelLayer(I, H, packed if packed.size else after(params, w), after(params, b), packed.size > 0)


@piece
def _panel_state(network, rule, packed):
    """The state of the first layer, in place, or with that of W in ``packed`` unless that is empty."""
    layer = layer_of(network, 0, rule)
    if packed.size:
        size = packed.size // (1 + rule.slots)
        return PanelState(views(after(packed, size), size, rule.slots), layer.b_state)
    return PanelState(layer.W_state, layer.b_state)


@kernel
def _pack_tasks(tasks, network, packed, slots, unpack):
    """Copy this part's share of W_0 and its state into ``packed``, or back if ``unpack``."""
    I, H, size = network.sizes[0], network.sizes[1], packed.size // (1 + slots)
    W, state = weights_of(network, 0)[0], after(network.state, slots * network.offsets[0])
    for split in _splits_of(tasks):
        lo, hi = share(split, tasks.splits, I)
        for p in _panels_of(tasks, split):
            pack(p, lo, hi, I, H, W, packed, unpack)
            for slot in range(slots):
                pack(p, lo, hi, I, H, after(state, slot * I * H), after(packed, (1 + slot) * size), unpack)


@kernel
def _fill_coefficients(schedule, coefficients):
    """coefficients[step] = the rule's coefficients for W_0 in that step."""
    rule = schedule.rule
    for step in range(schedule.lr.shape[0]):
        of_step = rule.coefficients(rule, rule.weight_decay, schedule.lr[step, 0], schedule.t + step)
        for k in range(len(of_step)):
            coefficients[step, k] = of_step[k]


@kernel
def _catch_up(tasks, every, starts, last, rule, put_off, layer, state, chosen):
    """Bring rows of this part's panels of W_0 to step ``last``: those whose columns have entries, or ``every`` one."""
    for split in _splits_of(tasks):
        rows = chosen[: columns_to_step(split, tasks.splits, every, starts, chosen)]
        for p in _panels_of(tasks, split):
            catch_up(p, rows, last, rule, put_off, layer, state)


@kernel
def _forward_panels(tasks, X, rows, layer, relu, Y, sums, ends):
    """This part's panels of Z_1, or of Y_1 if the activation is ReLU."""
    for split in _splits_of(tasks):
        lo, hi = share(split, tasks.splits, rows.size)
        for p in _panels_of(tasks, split):
            first_layer_forward(p, X, rows[lo:hi], layer, relu, after(Y, lo * layer.outputs), sums, ends)


@kernel
def _update_panels(tasks, every, columns, table, dY, step, layer, state, chosen, dY_panel):
    """Step this part's panels of W_0, and of b_0, by their gradient."""
    for split in _splits_of(tasks):
        rows = chosen[: columns_to_step(split, tasks.splits, every, columns.starts, chosen)]
        for p in _panels_of(tasks, split):
            first_layer_update(p, rows, columns, table, dY, step, layer, state, split == 0, dY_panel)


@kernel
def _count_steps(tasks, starts, done, put_off, chosen):
    """Record that the rows of this part's tasks whose columns have entries have had ``done`` steps."""
    for split in _splits_of(tasks):
        for j in chosen[: columns_to_step(split, tasks.splits, False, starts, chosen)]:
            put_off.steps_done[j] = done


@kernel
def train_steps_sparse(
    part, parts, arrivals, samples: Samples, objective: Objective, schedule: Schedule, network: Parameters,
    workspace: Workspace, sparse: SparseWorkspace, results: Results,
):  # fmt: skip
    """Steps over the samples, from a sparse X; see ``ops.mlp_train_steps``."""
    X, rule, H, lanes = to_read(samples.X), schedule.rule, network.sizes[1], simd.lanes(network.params)
    tasks = _tasks_of(part, parts, panel_count(H, lanes), sparse.splits)
    layer = panel_layer(network, network.params, sparse.packed)
    updated = panel_layer(network, network.updated, sparse.packed)
    state, own = _panel_state(network, rule, sparse.packed), _own_workspace(workspace, part, parts)
    panel, ends, chosen = sparse.panels[part], sparse.ends[part], sparse.chosen[part]
    put_off = PutOff(sparse.put_off.steps_done[part], sparse.put_off.coefficients[part], sparse.put_off.squares)
    lazy, sharing = put_off.coefficients.size > 0, parts if tasks.splits > 1 else 1  # the parts that share a panel
    relu, size = network.sizes.size > 2 and is_fused(objective.activation, 1), X.columns * H
    if layer.packed:
        _pack_tasks(tasks, network, sparse.packed, rule.slots, False)
        size = sparse.packed.size // (1 + rule.slots)
    if lazy:
        _fill_coefficients(schedule, put_off.coefficients)
        size = 0  # the squares are in ``PutOff``
    for step in range(schedule.lr.shape[0]):
        barrier(arrivals, sharing)  # others have updated this part's panels
        targets, t, parity = targets_of(samples, step), schedule.t + step, step & 1
        rows, n = targets.rows, targets.rows.size
        # Y_1 is in its own place in odd steps, and in that of Y_0 in even ones.
        own = Workspace(own.values, own.offsets, own.offsets[3 * parity], own.outcomes, own.scratch)
        columns = Columns(n, sparse.starts[parity, :parts], sparse.places[parity], sparse.entries[parity])
        lo, hi = rows_to_transpose(part, parts, tasks.panels, tasks.splits, H, lanes, n)
        to_columns(part, lo, hi, rows, X, columns)
        _prefetch_rows(targets_of(samples, step + 1).rows, X)
        if lazy:
            barrier(arrivals, parts)
            _catch_up(tasks, False, columns.starts, step, rule, put_off, layer, state, chosen)
            barrier(arrivals, sharing)
        _forward_panels(tasks, X, rows, layer, relu, _outputs(own, 1, 0, H).values, panel, ends)
        barrier(arrivals, parts)
        pass_rows(part, parts, 1, t, objective, targets, network, own)
        note_weights(part, parts, step, t, layer.W[:size], network, results)
        barrier(arrivals, parts)
        if part == 0:
            sum_up(step, n, own.outcomes, results)
        now, dY = step_of(rule, schedule.lr[step, 0], t), _gradients(own, 1, 0, H)
        every = not lazy and not is_inert(rule)
        _update_panels(tasks, every, columns, X.table, dY.values, now, updated, state, chosen, panel)
        if lazy:
            _count_steps(tasks, columns.starts, step + 1, put_off, chosen)
        update_layers(part, parts, 1, n, rule, schedule.lr[step], t, network, own)
    barrier(arrivals, sharing)
    if lazy:
        _catch_up(tasks, True, sparse.starts[0], schedule.lr.shape[0], rule, put_off, layer, state, chosen)
    if layer.packed:
        _pack_tasks(tasks, network, sparse.packed, rule.slots, True)
