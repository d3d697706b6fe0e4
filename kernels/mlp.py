"""Runs the compiled training steps and forward pass: chooses the kernel, and allocates what it works on."""

from __future__ import annotations

import threading
from functools import cache, partial
from typing import Any

import numpy as np

from . import bfloat16, simd, step, tuning
from .activations import ACTIVATIONS, activation_of
from .csr_matrix import CSR, index_dtype, value_table
from .forward import Blocks, Entries, forward, forward_sparse
from .gemm import PACK_SIZE, Scratch, gradient_size
from .losses import Outcomes
from .memory import LINE_BYTES, aligned_zeros, scratch
from .network import Network, Parameters
from .penalty import span_count
from .small import BlockWorkspace, ForwardBlocks, block_offsets, chunk_count, forward_in_blocks, train_steps_in_blocks
from .small import takes_blocks as _takes_blocks
from .sparse import COLUMNS_TOGETHER, PutOff, entry_arrays, packed_size, panel_count, panel_start
from .team import barrier_state, get_num_threads, pace_of, parts_of_pass, run, run_in_step, team_size
from .update import Schedule, is_inert, sgd
from .update import average as average_kernel

_BYTE = np.dtype(np.uint8)
_LINE = 16  # elements: workspace blocks start on cache lines


def _padded(length: int) -> int:
    return -(-length // _LINE) * _LINE


def workspace_of(network: Network, batch: int, parts: int, allocate: Any, *, sparse: bool) -> step.Workspace:
    """The ``step.Workspace`` for ``batch`` rows and ``parts`` parts; ``allocate`` makes its pack buffers."""
    sizes, dtype = network.sizes, network.dtype
    lengths = [batch * sizes[1 if sparse else 0], 0, 0]  # Y_0, or the other Y_1
    of_input = [ACTIVATIONS[name].of_input for name in network.activations]
    for outputs, kept in zip(sizes[1:], [*of_input, False]):
        lengths += [batch * outputs, batch * outputs, batch * outputs * kept]
    offsets = np.cumsum([0, *map(_padded, lengths)])
    gradients = aligned_zeros(parts * gradient_size(max(sizes[1:])), dtype)
    return step.Workspace(
        aligned_zeros(int(offsets[-1]), dtype),
        offsets.astype(np.int64),
        int(offsets[3]),
        Outcomes(np.empty(batch), np.empty(batch, np.int64)),
        Scratch(allocate(parts * PACK_SIZE, _pack_dtype(network)), gradients),
    )


def _pack_dtype(network: Network) -> np.dtype:
    """The dtype of pack buffers; int32 has wide products computed in bfloat16: see ``gemm.gemm``."""
    if network.precision == "float32":
        return network.dtype
    bfloat16.require()  # again: a pickled network may come from another machine
    return np.dtype(np.int32)


def rounds(network: Network, batch: int, *, sparse: bool, dropout: bool) -> bool:
    """Whether a step in bfloat16 has a product of as many terms and columns as are rounded: see ``gemm.gemm``."""
    layers = [*zip(network.sizes, network.sizes[1:])][sparse:]
    wide = any(min(outputs, max(inputs, batch)) >= bfloat16.TERMS for inputs, outputs in layers)
    return wide and (sparse or dropout or not takes_blocks(network, batch))


def takes_blocks(network: Network, rows: int) -> bool:
    """Whether batches of ``rows`` rows are computed in blocks of samples: see ``small``."""
    return bool(_takes_blocks(network.params, network.sizes, rows))


def block_workspace(network: Network, batch: int, parts: int) -> BlockWorkspace:
    """The ``small.BlockWorkspace`` for ``batch`` rows and ``parts`` parts; empty for a batch of 0."""
    size, dtype, rows = network.params.size, network.dtype, tuning.BLOCK_ROWS * (batch > 0)
    *offsets, room = (block_offsets(network) * (batch > 0)).tolist()
    return BlockWorkspace(
        aligned_zeros(parts * room, dtype),
        room,
        np.array(offsets),
        aligned_zeros(chunk_count(batch) * size, dtype),
        aligned_zeros(parts * size * (batch > 0), dtype),
        Outcomes(np.empty(3 * parts * rows), np.empty(parts * rows, np.int64)),
        Outcomes(np.empty(tuning.BLOCK_CHUNKS), np.empty(tuning.BLOCK_CHUNKS, np.int64)),
    )


def run_train_steps(
    samples: step.Samples, objective: step.Objective, schedule: Schedule, network: Network,
    updated: np.ndarray | None = None, squares: np.ndarray | None = None, average: np.ndarray | None = None,
    average_rate: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Run steps over samples, whose X is ``Scaled``, on the team; they change ``updated``, or the network's parameters.

    Returns for each step the loss, summed over its batch, and the hits. squares[0] becomes the sum over the steps of
    |W|^2; ``average`` is moved towards the parameters after each step: see ``move_average``.
    """
    X, scale = samples.X
    batch, steps = min(samples.batch, len(samples.rows)), len(schedule.lr)
    flop, pace = batch * network.flop_per_sample, None
    threads = 1 if flop <= tuning.SERIAL_FLOP else team_size()
    if tuning.SERIAL_FLOP < flop <= tuning.PACED_FLOP:
        pace = pace_of(network.sizes, network.dtype, batch, isinstance(X, CSR))
        threads = pace.threads(threads)
    parts = threads
    results = _results(steps, network, squares, average, average_rate)
    late_squares = np.empty(0)  # of weights whose steps are put off
    kernel: Any
    memory: tuple[Any, ...]
    if isinstance(X, CSR):
        block, sparse = sparse_workspace(
            X, samples.rows, samples.batch, parts, schedule, network, in_params=updated is None,
            squares=squares is not None, averaged=average is not None,
        )  # fmt: skip
        X, late_squares = X.bundle(scale, network.dtype, block), sparse.put_off.squares
        kernel, memory = step.train_steps_sparse, (*workspace_of(network, batch, parts, scratch, sparse=True), *sparse)
    else:
        X = step.Scaled(X.view(_BYTE), scale)
        if objective.dropout == 0 and takes_blocks(network, samples.batch):
            parts = min(parts, chunk_count(batch))
            kernel, memory = train_steps_in_blocks, block_workspace(network, batch, parts)
        else:
            kernel, memory = step.train_steps, workspace_of(network, batch, parts, scratch, sparse=False)
    samples, parameters = samples._replace(X=X, batch=batch), network.fields(updated)
    seconds = run_in_step(
        kernel, parts, barrier_state(), *samples, *objective, *schedule, *parameters, *memory, *results
    )
    if pace is not None and seconds is not None:
        pace.note(threads, steps, seconds)
    if average is not None:
        move_average(network, average, average_rate, schedule.t + steps - 1)
    if squares is not None:
        squares[0] = results.squares[0] + late_squares.sum(dtype=np.float64)
    return results.losses, results.correct


def _results(
    steps: int, network: Network, squares: np.ndarray | None, average: np.ndarray | None, average_rate: float
) -> step.Results:
    """The ``step.Results`` for ``steps`` steps to fill."""
    lanes = simd.REGISTER_BYTES // network.dtype.itemsize
    spans = sum(span_count(packed_size(I, O, lanes)) for I, O in zip(network.sizes, network.sizes[1:]))  # at most
    return step.Results(
        np.empty(steps),
        np.empty(steps, np.int64),
        np.zeros(0 if squares is None else 1 + spans),
        np.empty(0, network.dtype) if average is None else average,
        average_rate,
    )


def sparse_workspace(
    X: CSR, rows: np.ndarray, batch: int, parts: int, schedule: Schedule, network: Network, *, in_params: bool,
    squares: bool, averaged: bool,
) -> tuple[int, step.SparseWorkspace]:  # fmt: skip
    """(columns of X in a block, ``step.SparseWorkspace``).

    The first layer is packed where that pays, and only if the steps change the parameters (``in_params``), not a
    gradient. Averages read all parameters after every step: with them nothing is packed and no step put off.
    """
    (I, H), dtype, rule = network.sizes[:2], network.dtype, schedule.rule
    lanes, steps = simd.REGISTER_BYTES // dtype.itemsize, len(schedule.lr)
    rooms, lengths = min(batch, len(rows)), np.diff(X.indptr)[rows]
    most = int(np.add.reduceat(lengths, np.arange(0, len(rows), rooms)).max())
    room = (1 + network.slots) * packed_size(I, H, lanes) * dtype.itemsize
    visits = int(lengths.sum()) / I  # entries of a column
    packed = (
        in_params and not averaged and visits >= tuning.PACKED_VISITS and room <= tuning.PACKED_BYTES
        and (room <= tuning.CACHED_BYTES or visits >= tuning.PACKED_ENTRIES * steps)
    )  # fmt: skip
    in_blocks = packed and lengths.mean() * tuning.COLUMN_BLOCK >= tuning.BLOCK_ENTRIES * I and X.columns_rise
    put_off = not packed and not averaged and not is_inert(rule)
    # In place a panel may end inside a cache line, over which parts that own panels would contend.
    ends = [H, *(panel_start(p, H, lanes) for p in range(panel_count(H, lanes)))]
    whole_lines = all(end * dtype.itemsize % LINE_BYTES == 0 for end in ends)
    own_panels = packed or (whole_lines and I * H * dtype.itemsize <= tuning.OWNED_BYTES)
    count = len(rule.coefficients(rule, 0.0, 0.0, 1)) if put_off else 0
    blocks = panel_count(H, lanes) * (I // COLUMNS_TOGETHER + 1) if put_off and squares else 0
    panels = aligned_zeros(parts * (rooms + 1) * tuning.PANEL_VECTORS * lanes, dtype).reshape(parts, -1)
    return tuning.COLUMN_BLOCK if in_blocks else I, step.SparseWorkspace(
        -(-parts // panel_count(H, lanes)) if own_panels else parts,
        aligned_zeros(room // dtype.itemsize * packed, dtype),
        np.empty((2, parts, I + 2), np.int32),
        *entry_arrays((2, most), batch, X.values.dtype),  # of types that a short last batch shares
        panels,
        np.empty((parts, rooms), np.int64),
        np.empty((parts, I), np.int32),
        PutOff(
            np.zeros((parts, I * put_off), np.int32),
            np.empty((parts, steps * put_off, count), dtype),
            aligned_zeros(blocks * tuning.PANEL_VECTORS * lanes, dtype),
        ),
    )


def run_gradient(
    samples: step.Samples, objective: step.Objective, t: int, network: Network, gradient: np.ndarray,
    squares: np.ndarray | None = None,
) -> tuple[float, int]:  # fmt: skip
    """(loss, hits) of all samples as one batch; ``gradient`` becomes that of all parameters, which do not change."""
    gradient[...] = 0
    descent = Schedule(sgd(), np.full((1, len(network.layers)), -1.0), t)  # 0 - (-1) * dW
    whole = samples._replace(batch=len(samples.rows))
    losses, correct = run_train_steps(whole, objective, descent, network, gradient, squares)
    return float(losses[0]), int(correct[0])


def run_update(network: Network, gradient: np.ndarray, schedule: Schedule, factor: float) -> None:
    """Run ``step.update_network`` on the team."""
    run(step.update_network, parts_of_pass(gradient.size), schedule, factor, gradient, Parameters(*network.fields()))


def move_average(network: Network, mean: np.ndarray, rate: float, t: int) -> None:
    """mean += rate * (params - mean); a rate of 0 stands for 1 / t, which makes it the mean over the steps 1 to t."""
    run(average_kernel, parts_of_pass(mean.size), network.params, mean, rate or 1 / t)


def run_forward(X: np.ndarray | CSR, network: Network, scale: float, out: np.ndarray) -> None:
    """Logits of X, in ``out``, on the team."""
    parts = 1 if 2 * X.shape[0] * network.params.size <= tuning.SERIAL_FLOP else get_num_threads()
    # A single output is summed in another order (see gemm), which blocks do not keep.
    if not isinstance(X, CSR) and takes_blocks(network, len(X)) and min(network.sizes[1:]) > 1:
        in_blocks = _kept_for(_forward_blocks, network, parts)
        run(bound_to(network.activation, forward_in_blocks), parts, X, scale, *network.fields(), *in_blocks, out)
        return
    blocks, entries = _kept_for(forward_workspace, network, parts, X.dtype, scale)
    arrivals, block = _ALONE, 0
    if X.shape[0] >= tuning.PACKED_ROWS and network.params.nbytes <= tuning.PACKED_BYTES:
        size = packed_size(network.sizes[0], network.sizes[1], simd.REGISTER_BYTES // network.dtype.itemsize)
        blocks, arrivals = blocks._replace(packed=scratch(size, network.dtype)[:size]), barrier_state()
        block = tuning.COLUMN_BLOCK if isinstance(X, CSR) and X.columns_rise else 0
    if isinstance(X, CSR):
        rows = np.arange(X.shape[0])
        blocks = blocks._replace(rows=rows, ends=np.empty_like(rows))
        samples = X.bundle(scale, network.dtype, block)
        run(bound_to(network.activation, forward_sparse), parts, arrivals, *samples, *network.fields(), *blocks, out)
    else:
        run(bound_to(network.activation, forward), parts, arrivals, X, scale, *network.fields(), *blocks, *entries, out)


@cache
def bound_to(activation: str | tuple[str, ...], kernel: Any) -> Any:
    """The kernel for one activation, no argument: Numba would type a tuple anew at each call. It has its own entry."""
    return partial(kernel, activation=activation_of(activation))


_kept = threading.local()
_ALONE = barrier_state()  # for kernels that pass no barrier


def _kept_for(make: Any, network: Network, *args: Any) -> Any:
    """make(network, *args), kept for this thread's next such call: making it takes longer than to predict a sample."""
    key = network.sizes, network.dtype, network.activation, *args
    found = getattr(_kept, make.__name__, (None, None))
    if found[0] != key:
        found = key, make(network, *args)
        setattr(_kept, make.__name__, found)
    return found[1]


def _forward_blocks(network: Network, parts: int) -> ForwardBlocks:
    *offsets, room = block_offsets(network).tolist()
    values = aligned_zeros(parts * room, network.dtype)
    return ForwardBlocks(values, room, np.array(offsets), np.arange(tuning.BLOCK_ROWS))


def forward_workspace(network: Network, parts: int, dtype: np.dtype, scale: float) -> tuple[Blocks, Entries]:
    """The scratch memory of ``forward``."""
    widest, room = _padded(max(network.sizes)), parts * tuning.ROW_BLOCK * network.sizes[0]
    blocks = Blocks(
        aligned_zeros(parts * 2 * tuning.ROW_BLOCK * widest, network.dtype),
        widest,
        np.arange(tuning.ROW_BLOCK),
        np.empty(2 * parts * (tuning.ROW_BLOCK + 1), np.int64),
        aligned_zeros(parts * PACK_SIZE, network.dtype),
        np.empty(0, network.dtype),
    )
    indices, values = np.empty(room, index_dtype(network.sizes[0])), np.empty(room, dtype)
    return blocks, Entries(indices, values, value_table(dtype, scale, network.dtype))
