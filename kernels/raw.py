"""The ops without the checks of values, for use from your own ``@njit`` code: they raise nothing and allocate nothing.

Each op has the name and arguments of the public one (``kernels.linear_forward`` and so on, whose docstring says what it
computes), in the order ``(part, parts, inputs and updated arrays, out, scratch, options)``. It computes one part of the
outputs: pass ``(0, 1)`` for all, or ``(i, n)`` from n threads of your own (a ``prange`` or a pool: the GIL is
released); the bits are the public op's for any n. Optional arguments may be None. Arguments can be given by name.

    scratch = raw.linear_scratch(4, X, W)

    @njit(parallel=True)
    def forward(X, W, b, Y, scratch):
        for part in prange(4):
            raw.linear_relu_forward(part, 4, X, W, b, Y, scratch, scale=1 / 255)

Arrays have the public op's shapes and are C-contiguous; inputs may be read-only. All arrays of a call are float32 or
all are float64, except X of uint8, and counts, labels and row numbers, which are int64. An array of another type,
layout or number of dimensions is a TypeError of one line, raised when your function is compiled. Nothing else is
checked: **a wrong shape, index or label corrupts memory**. Only ``gemm`` takes strided and transposed views. A sparse X
is passed as ``sparse(X, dtype, scale)``.

Scratch memory comes from ``linear_scratch``, ``distort_scratch``, ``forward_scratch``, ``step_scratch``; in compiled
code, for a dense X, from ``np.empty(parts * raw.scratch_size(inputs, outputs), dtype)``.

Called from compiled code, the ops run under that code's floating-point control word. Called from Python, they set
CONTROL, as the public ops do: it flushes subnormal numbers to zero, which a CPU may take a hundred times as long for.
So set it in each of your threads, and restore the previous word:

    before = raw.exchange_control(raw.CONTROL)
    raw.linear_forward(...)
    raw.exchange_control(before)

Compiled kernels are kept on disk. A function of yours that calls one is compiled anew in each process, which is quick:
it calls by address, and Numba does not keep such code (``cache=True``).
"""

# Without ``from __future__ import annotations``: the kinds of arguments below are read from the functions.

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple, TypeVar, get_type_hints

import numpy as np
from numba import types

from . import checks, distortion, dropout_mask, forward, losses, mlp, simd, small, step, team
from . import gemm as _gemm
from . import sparse as _sparse
from . import update as _update
from .activations import Activation, activation_of
from .bundles import Matrix, after, from_element, from_row, views
from .csr_matrix import CSR, Sparse, to_read
from .gemm import PACK_SIZE, TILE_VECTORS, block_of, gradient_size
from .gemm import gemm as _product
from .intrinsics import bytes_of, flat, flat_or_empty, flat_to_read, from_first
from .jit import by_types, kernel, piece
from .jit.control import CONTROL, exchange_control
from .jit.numba_private import passed_only, place_of_typing
from .losses import Loss, Outcomes, SoftmaxCrossEntropy, Targets
from .memory import aligned_zeros
from .network import Network, Parameters
from .step import Objective, Results, Samples, Scaled
from .tuning import ROW_BLOCK
from .update import Adam, AdamW, Momentum, Nesterov, Rule, Schedule, Sgd, sgd

# -- what arguments are --------------------------------------------------------------------------------------------


class _Kind(NamedTuple):
    """What an array argument must be."""

    dimensions: int | None  # None: any number
    dtype: Any = None  # None: float32 or float64, the same in all arguments
    written: bool = False
    views: bool = False  # any layout is allowed
    also: tuple[Any, ...] = ()  # other allowed dtypes
    bundle: Any = None  # a named tuple that may take the array's place
    optional: bool = False  # None is allowed

    def __repr__(self) -> str:
        """As ``help`` shows it."""
        dimensions = "any shape" if self.dimensions is None else f"{self.dimensions}-D"
        others = [
            f"or {kind.__name__ if isinstance(kind, type) else kind}" for kind in (*self.also, self.bundle) if kind
        ]
        return " ".join([dimensions, str(self.dtype or "float32 or float64"), *others, *["written to"] * self.written])


_Matrix = Annotated[np.ndarray, _Kind(2)]
_Row = Annotated[np.ndarray, _Kind(1)]
_View = Annotated[np.ndarray, _Kind(2, views=True)]
_WrittenView = Annotated[np.ndarray, _Kind(2, views=True, written=True)]
_Samples = Annotated[Any, _Kind(2, also=(types.uint8,), bundle=Sparse)]
_Pixels = Annotated[np.ndarray, _Kind(2, types.uint8)]
_WrittenPixels = Annotated[np.ndarray, _Kind(2, types.uint8, written=True)]
_Written = Annotated[np.ndarray, _Kind(2, written=True)]
_WrittenRow = Annotated[np.ndarray, _Kind(1, written=True)]
_Array = Annotated[np.ndarray, _Kind(None)]
_WrittenArray = Annotated[np.ndarray, _Kind(None, written=True)]
_Integers = Annotated[np.ndarray, _Kind(1, types.int64)]
_Numbers = Annotated[np.ndarray, _Kind(1, types.float64)]
_Losses = Annotated[np.ndarray, _Kind(1, types.float64, written=True)]
_Hits = Annotated[np.ndarray, _Kind(1, types.int64, written=True)]
_Labels = Annotated[np.ndarray, _Kind(None, also=(types.int64,))]

_F = TypeVar("_F", bound=Callable[..., Any])


def _op(function: _F) -> _F:
    """A kernel that checks the types of its arguments against their annotations: a ``_Kind``, or a class."""
    kinds: dict[str, Any] = {}
    for name, hint in get_type_hints(function, include_extras=True).items():
        if isinstance(hint, type) and hint is not Any:
            kinds[name] = hint
        optional = not hasattr(hint, "__metadata__")  # a union of None and an annotated type
        for each in getattr(hint, "__args__", ()) if optional else (hint,):
            for kind in getattr(each, "__metadata__", ()):
                kinds[name] = kind._replace(optional=optional)
    made: Any = kernel(function)
    made.check = partial(_check, made, kinds)
    return made


def _check(function: Any, kinds: dict[str, Any], args: tuple[Any, ...]) -> None:
    """Raise TypeError, in one line, for the first argument that is not of its kind."""
    networks = [given for given in args if getattr(given, "instance_class", None) is Model]
    real = networks[0].types[0].types[2].dtype if networks else None  # of its params
    here = f"{place_of_typing()}raw.{function.py_func.__name__}"
    named = dict(zip(function.py_func.__code__.co_varnames, args))
    for name, given in named.items():
        kind, bundle = kinds.get(name), given.instance_class if isinstance(given, types.BaseNamedTuple) else object
        told = f"{here}: {name} is "
        if isinstance(kind, type):
            numbers, words = _WANTED[kind]
            if not (isinstance(given, numbers) or issubclass(bundle, kind)):
                raise TypeError(f"{told}{given}; it must be {words}")
            continue
        absent = isinstance(given, types.NoneType) and kind is not None and kind.optional
        if kind is None or absent or bundle is kind.bundle:
            continue
        if not isinstance(given, types.Array):
            raise TypeError(f"{told}{given}; it must be an array")
        wanted = (kind.dtype,) if kind.dtype else (real,) if real else (types.float32, types.float64)
        if given.dtype not in (*wanted, *kind.also):
            raise TypeError(f"{told}of {given.dtype}; it must be of {' or '.join(map(str, (*wanted, *kind.also)))}")
        if kind.dtype is None and given.dtype not in kind.also:
            real = given.dtype
        if kind.dimensions not in (None, given.ndim):
            raise TypeError(f"{told}{given.ndim}-dimensional; it must be {kind.dimensions}-dimensional")
        if given.layout != "C" and not kind.views:
            raise TypeError(
                f"{told}strided or of another order; it must be C-contiguous (np.ascontiguousarray copies it)"
            )
        if kind.written and not given.mutable:
            raise TypeError(f"{told}read-only; it is written to")
    _check_pairs(here, named, real)


def _check_pairs(here: str, named: dict[str, Any], real: Any) -> None:
    """Raise TypeError for a rule without its state, and for an X of another kind than its scratch or its weights."""
    slots = named["rule"].instance_class.slots if "rule" in named else 0
    for state, of in (("state", "W"), ("bias_state", "b")):
        if slots and isinstance(named.get(state), types.NoneType) and isinstance(named[of], types.Array):
            raise TypeError(
                f"{here}: {state} is none; the rule has {slots} numbers for each of {of}: [{slots}, *{of}.shape]"
            )
    both = {_is_of_sparse(given) for name, given in named.items() if name in ("X", "scratch")}
    if {True, False} <= both:
        raise TypeError(f"{here}: X is sparse, or scratch is for a sparse X, and not both; make the scratch of this X")
    X: Any = named.get("X")
    if _is_of_sparse(X) and (made := X.types[Sparse._fields.index("table")].dtype) != real:
        raise TypeError(f"{here}: X is for weights of {made}; they are of {real}: raw.sparse(X, np.{real})")


def _is_of_sparse(given: Any) -> bool | None:
    """Whether it is a sparse X, or scratch for one; None for what serves both."""
    bundle = getattr(given, "instance_class", None)
    if bundle is StepScratch:
        return len(given.types[StepScratch._fields.index("for_sparse")]) > 0
    return bundle in (Sparse, SparseScratch) if bundle in (None, Sparse, SparseScratch) else None


# -- scratch -------------------------------------------------------------------------------------------------------


@passed_only
class SparseScratch(NamedTuple):
    """Scratch of linear ops on a sparse X [B, I]: ``sparse.Columns``, and for each part a panel and chosen columns."""

    rows: np.ndarray  # 0 .. B - 1
    ends: np.ndarray  # [B]
    starts: np.ndarray  # this and what follows: [parts, ...]
    places: np.ndarray
    entries: np.ndarray
    panels: np.ndarray
    chosen: np.ndarray


_Scratch = Annotated[Any, _Kind(1, written=True, bundle=SparseScratch)]


@piece
def scratch_size(inputs: int, outputs: int) -> int:
    """Elements of scratch memory that each part of a linear op of a dense X, or of ``gemm``, needs."""
    return PACK_SIZE + max(ROW_BLOCK * inputs, gradient_size(outputs))


def linear_scratch(parts: int, X: Any, W: np.ndarray) -> Any:
    """Scratch of linear ops on X [B, I] (an array or a result of ``kernels.csr``) and W [I, O], for ``parts`` parts."""
    if not isinstance(X, CSR):
        return aligned_zeros(parts * scratch_size(*W.shape), W.dtype)
    B, I = X.shape
    panel = _sparse.PANEL_VECTORS * simd.REGISTER_BYTES // W.dtype.itemsize
    return SparseScratch(
        np.arange(B),
        np.empty(B, np.int64),
        np.empty((parts, 1, I + 2), np.int32),
        *_sparse.entry_arrays((parts, X.values.size), B, X.values.dtype),
        np.empty((parts, (B + 1) * panel), W.dtype),
        np.empty((parts, I), np.int32),
    )


def sparse(X: CSR, dtype: Any, scale: float = 1.0) -> Sparse:
    """``scale`` * X, X a result of ``kernels.csr``, for ops with ``dtype`` weights; they ignore their own ``scale``."""
    return checks.as_csr("X", X).bundle(float(scale), np.dtype(dtype), X.shape[1])


# -- linear layers -------------------------------------------------------------------------------------------------


def _by_input(dense: Any, of_sparse: Any) -> Any:
    """A function of (part, parts, X, ...) in compiled code: the piece ``dense`` for an array X, else ``of_sparse``."""

    @by_types
    def chosen(part, parts, X, *args):
        work = dense if isinstance(X, types.Array) else of_sparse

        def call(part, parts, X, *args):
            return work(part, parts, X, *args)

        call.__qualname__ = f"call({work.py_func.__qualname__})"  # as symbols must differ: see ``jit.piece``
        return call

    return chosen


@_op
def gemm(part: int, parts: int, A: _View, B: _View, out: _WrittenView, scratch: _WrittenRow) -> None:
    """out [M, N] = A [M, K] @ B [K, N]; of any strides, but rows or columns of B and the rows of ``out`` contiguous."""
    (M, K), N = A.shape, B.shape[1]
    first, last, left, right = block_of(part, parts, M, N, TILE_VECTORS * simd.lanes(out))
    size = out.itemsize
    rows = Matrix(from_first(A), A.strides[0] // size, A.strides[1] // size)
    columns = Matrix(from_first(B), B.strides[0] // size, B.strides[1] // size)
    product = from_element(Matrix(from_first(out), out.strides[0] // size, 1), first, left)
    rows, columns, buffer = from_row(rows, first), from_element(columns, 0, left), after(scratch, part * PACK_SIZE)
    _product(last - first, right - left, K, rows, columns, product, buffer, False)


@piece
def _dense_forward(part, parts, X, W, b, scale, relu, out, scratch):
    converted = after(scratch, parts * PACK_SIZE)
    _gemm.linear_forward(part, parts, X, W, b, scale, relu, out, converted, scratch)


@piece
def _sparse_forward(part, parts, X, W, b, scale, relu, out, scratch):
    _sparse.csr_forward(part, parts, X, scratch.rows, W, b, relu, out, scratch.ends)


_forward = _by_input(_dense_forward, _sparse_forward)


@_op
def linear_forward(
    part: int, parts: int, X: _Samples, W: _Matrix, b: _Row | None, out: _Written, scratch: _Scratch, scale: float = 1.0
) -> None:
    """out = scale * X @ W + b; ``scratch`` is ``linear_scratch(parts, X, W)``."""
    _forward(part, parts, X, W, flat_or_empty(b, W), scale, False, out, scratch)


@_op
def linear_relu_forward(
    part: int, parts: int, X: _Samples, W: _Matrix, b: _Row | None, out: _Written, scratch: _Scratch, scale: float = 1.0
) -> None:
    """out = max(scale * X @ W + b, 0); ``scratch`` is ``linear_scratch(parts, X, W)``."""
    _forward(part, parts, X, W, flat_or_empty(b, W), scale, True, out, scratch)


@_op
def linear_backward_input(
    part: int, parts: int, dY: _Matrix, W: _Matrix, relu_output: _Matrix | None, out: _Written, scratch: _WrittenRow
) -> None:
    """out = dY @ W.T, zero where relu_output <= 0."""
    _gemm.linear_backward_input(part, parts, dY, W, flat_or_empty(relu_output, W), out, scratch)


@piece
def _step_sparse(part, parts, X, dY, layer, state, schedule, scratch):
    """``sparse.step_panels`` with a transposition of X of this part's own, so that no barrier is needed."""
    columns = _sparse.Columns(dY.shape[0], scratch.starts[part], scratch.places[part], scratch.entries[part])
    _sparse.to_columns(0, 0, dY.shape[0], scratch.rows, to_read(X), columns)
    _sparse.step_panels(part, parts, X, dY, layer, state, schedule, columns, scratch.chosen[part], scratch.panels[part])


_DESCENT = sgd()


@piece
def _sparse_gradient(part, parts, X, dY, scale, out, out_bias, scratch):
    layer = _sparse.PanelLayer(out.shape[0], out.shape[1], flat(out), out_bias, False)
    _sparse.clear_panels(part, parts, layer)
    state = _sparse.PanelState(views(flat(out), 0, 0), views(flat(out), 0, 0))
    _step_sparse(part, parts, X, dY, layer, state, Schedule(_DESCENT, -1.0, 1), scratch)  # 0 - (-1) * dW


_weight_gradient = _by_input(_gemm.linear_backward_weight, _sparse_gradient)


@_op
def linear_backward_weight(
    part: int,
    parts: int,
    X: _Samples,
    dY: _Matrix,
    out: _Written,
    out_bias: _WrittenRow | None,
    scratch: _Scratch,
    scale: float = 1.0,
) -> None:
    """out = scale * X.T @ dY and out_bias = dY.sum(0)."""
    _weight_gradient(part, parts, X, dY, scale, out, flat_or_empty(out_bias, out), scratch)


@piece
def _sparse_step(part, parts, X, dY, scale, stepped, schedule, scratch):
    layer = _gemm.layer_to_step(stepped, schedule.rule)
    panels = _sparse.PanelLayer(layer.inputs, layer.outputs, layer.W, layer.b, False)
    _step_sparse(part, parts, X, dY, panels, _sparse.PanelState(layer.W_state, layer.b_state), schedule, scratch)


_weight_step = _by_input(_gemm.linear_backward_update, _sparse_step)


@_op
def linear_backward_update(
    part: int,
    parts: int,
    X: _Samples,
    dY: _Matrix,
    W: _Written,
    b: _WrittenRow | None,
    rule: Rule,
    lr: float,
    t: int,
    state: _WrittenArray | None,
    bias_state: _WrittenArray | None,
    scratch: _Scratch,
    scale: float = 1.0,
) -> None:
    """Step W by scale * X.T @ dY, b by dY.sum(0); states [rule.slots, I, O] and [rule.slots, O], None for 0 slots."""
    stepped = _gemm.Stepped(W, flat_or_empty(b, W), flat_or_empty(state, W), flat_or_empty(bias_state, W))
    _weight_step(part, parts, X, dY, scale, stepped, Schedule(rule, lr, t), scratch)


# -- losses, activations, dropout, distortions ---------------------------------------------------------------------


@_op
def softmax(part: int, parts: int, logits: _Matrix, out: _Written) -> None:
    """out = softmax of each row of logits; ``out`` may be ``logits``."""
    losses.softmax(part, parts, logits, out)


@_op
def loss_gradient(
    part: int,
    parts: int,
    Z: _Matrix,
    targets: _Labels,
    loss: Loss,
    sample_weight: _Numbers | None,
    out: _Written,
    row_losses: _Losses,
    hits: _Hits,
) -> None:
    """out = dZ; ``row_losses``, float64 [B], and ``hits``, int64 [B], are each row's. ``loss`` is made, not a name.

    Targets are class numbers, int64 [B], or zeros and ones or numbers in the type of Z, [B, O] or flat. The public op's
    loss and count are the sums in order of the rows.
    """
    lo, hi = team.share(part, parts, Z.shape[0])
    for i in range(lo, hi):
        hits[i] = i  # the row of its target, until its outcome is written here
    compared = Targets(flat_to_read(targets), flat_or_empty(sample_weight, row_losses), hits)
    losses.loss_gradient(part, parts, Z, compared, loss, Outcomes(row_losses, hits), out)


@_op
def softmax_cross_entropy(
    part: int,
    parts: int,
    logits: _Matrix,
    labels: _Integers,
    sample_weight: _Numbers | None,
    out: _Written,
    row_losses: _Losses,
    hits: _Hits,
    label_smoothing: float = 0.0,
    epsilon: float = 0.0,
) -> None:
    """``loss_gradient`` of softmax and cross-entropy."""
    loss = SoftmaxCrossEntropy(label_smoothing, epsilon)
    loss_gradient(part, parts, logits, labels, loss, sample_weight, out, row_losses, hits)


@_op
def activation_forward(part: int, parts: int, Z: _Array, activation: Activation, out: _WrittenArray) -> None:
    """out = f(Z), f a ``kernels.ACTIVATIONS[name]``; ``out`` may be Z."""
    z, y = flat_to_read(Z), flat(out)
    lo, hi = team.share(part, parts, y.size)
    lanes = simd.lanes(y)
    for i in range(lo, hi, lanes):
        rest = min(lanes, hi - i)
        x = simd.load_masked(z, i, rest)
        if activation.fused:
            simd.store_masked(y, i, simd.maximum(x, 0), rest)
        else:
            simd.store_masked(y, i, activation.function(x), rest)


@_op
def activation_backward(
    part: int, parts: int, dY: _Array, A: _Array, activation: Activation, out: _WrittenArray
) -> None:
    """out = dZ = dY * f'(Z), from A = f(Z), or from A = Z where ``activation.of_input``; ``out`` may be dY."""
    dy, a, dz = flat_to_read(dY), flat_to_read(A), flat(out)
    lo, hi = team.share(part, parts, dz.size)
    lanes = simd.lanes(dz)
    for i in range(lo, hi, lanes):
        rest = min(lanes, hi - i)
        d, x = simd.load_masked(dy, i, rest), simd.load_masked(a, i, rest)
        if activation.fused:
            d = simd.select(x <= 0, 0, d)
        elif not activation.linear:
            d = activation.slope(x) * d
        simd.store_masked(dz, i, d, rest)


@_op
def dropout(part: int, parts: int, Y: _Matrix, p: float, seed: int, out: _Written) -> None:
    """out = Y with elements zero with probability p and the others divided by 1 - p; ``out`` may be Y."""
    n = Y.shape[1]
    lo, hi = team.share(part, parts, Y.shape[0])
    source, target = flat_to_read(Y), flat(out)
    for k in range(np.uintp(lo * n), np.uintp(hi * n)):
        target[k] = source[k]
    dropout_mask.dropout(part, parts, seed, p, out)


@passed_only
class DistortScratch(NamedTuple):
    """Waves and scratch of ``distort`` for images of one shape: see ``distortion``."""

    field: distortion.Field
    canvas: distortion.Canvas


def distort_scratch(parts: int, shape: tuple[int, int], sigma: float = 4.0, fill: int = 0) -> DistortScratch:
    """Scratch of ``distort`` for images of this shape, ``fill`` outside and displacements smoothed by ``sigma``."""
    return DistortScratch(*distortion.field_and_canvas(*shape, float(sigma), fill, parts))


@_op
def distort(
    part: int,
    parts: int,
    X: _Pixels,
    rows: _Integers,
    out: _WrittenPixels,
    scratch: DistortScratch,
    seed: int,
    epoch: int = 0,
    rotation: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
    shift: float = 0.0,
    elastic: float = 0.0,
) -> None:
    """Distorted copies of X[rows], of the shape and the sigma of the scratch."""
    strengths = distortion.Strengths(rotation, scale, shear, shift, elastic)
    distortion.distort(part, parts, X, rows, seed, epoch, strengths, scratch.field, scratch.canvas, out)


# -- updates -------------------------------------------------------------------------------------------------------


@_op
def update(
    part: int, parts: int, W: _WrittenArray, dW: _Array, state: _WrittenArray | None, rule: Rule, lr: float, t: int = 1
) -> None:
    """Step W by dW of any shape by a rule of ``kernels.RULES``; ``state`` [rule.slots, *W.shape], None for 0 slots."""
    slots = views(flat_or_empty(state, W), W.size, rule.slots)
    _update.update(part, parts, Schedule(rule, lr, t), flat(W), slots, flat_to_read(dW))


@_op
def sgd_update(part: int, parts: int, W: _WrittenArray, dW: _Array, lr: float, weight_decay: float = 0.0) -> None:
    """W -= lr * (dW + weight_decay * W)."""
    schedule = Schedule(Sgd(0.0, 0.0, 0.0, weight_decay), lr, 1)
    _update.update(part, parts, schedule, flat(W), views(flat(W), 0, 0), flat_to_read(dW))


@_op
def momentum_update(
    part: int,
    parts: int,
    W: _WrittenArray,
    dW: _Array,
    V: _WrittenArray,
    lr: float,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:
    """V = momentum * V + g, W -= lr * V, g = dW + weight_decay * W."""
    w, g, state = flat(W), flat_to_read(dW), (flat(V),)
    if nesterov:
        _update.update(part, parts, Schedule(Nesterov(momentum, 0.0, 0.0, weight_decay), lr, 1), w, state, g)
    else:
        _update.update(part, parts, Schedule(Momentum(momentum, 0.0, 0.0, weight_decay), lr, 1), w, state, g)


@_op
def adam_update(
    part: int,
    parts: int,
    W: _WrittenArray,
    dW: _Array,
    M: _WrittenArray,
    V: _WrittenArray,
    t: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """M and V follow g and its square, W -= lr M' / (sqrt(V') + epsilon)."""
    w, g, state = flat(W), flat_to_read(dW), (flat(M), flat(V))
    if decoupled:
        _update.update(part, parts, Schedule(AdamW(beta1, beta2, epsilon, weight_decay), lr, t), w, state, g)
    else:
        _update.update(part, parts, Schedule(Adam(beta1, beta2, epsilon, weight_decay), lr, t), w, state, g)


# -- whole networks ------------------------------------------------------------------------------------------------


@passed_only
class Model(NamedTuple):
    """A network as the ops take it: ``model(network)``."""

    parameters: Parameters
    activation: Activation | tuple[Activation, ...]
    layer_rates: np.ndarray


def model(network: Network) -> Model:
    """The network for compiled code, which shares its parameters, state and rates."""
    return Model(Parameters(*network.fields()), activation_of(network.activation), network.layer_rates)


@passed_only
class ForwardScratch(NamedTuple):
    """Scratch of ``mlp_forward``, and the scale by which it multiplies X."""

    arrivals: np.ndarray
    scale: float
    blocks: forward.Blocks
    entries: forward.Entries


def forward_scratch(parts: int, X: Any, network: Network, scale: float = 1.0) -> ForwardScratch:
    """The scratch of ``mlp_forward`` on scale * X, an array, or a CSR with at most as many rows as this one."""
    blocks, entries = mlp.forward_workspace(network, parts, X.dtype, float(scale))
    if isinstance(X, CSR):
        rows = np.arange(X.shape[0])
        blocks = blocks._replace(rows=rows, ends=np.empty_like(rows))
    return ForwardScratch(team.barrier_state(), float(scale), blocks, entries)


@piece
def _dense_outputs(part, parts, X, network, out, scratch):
    forward.forward(
        part, parts, scratch.arrivals, X, scratch.scale, network.activation, network.parameters, scratch.blocks,
        scratch.entries, out,
    )  # fmt: skip


@piece
def _sparse_outputs(part, parts, X, network, out, scratch):
    arrivals, blocks = scratch.arrivals, scratch.blocks
    forward.forward_sparse(part, parts, arrivals, X, network.activation, network.parameters, blocks, out)


_outputs = _by_input(_dense_outputs, _sparse_outputs)


@_op
def mlp_forward(part: int, parts: int, X: _Samples, network: Model, out: _Written, scratch: ForwardScratch) -> None:
    """out = the network's logits for X times the scale of the scratch."""
    _outputs(part, parts, X, network, out, scratch)


@passed_only
class StepScratch(NamedTuple):
    """Scratch of a network's steps. Parts of a call wait for each other: run all at once, each on its own thread."""

    arrivals: np.ndarray
    workspace: step.Workspace
    blocks: small.BlockWorkspace  # its ``room`` is 0 where rows are not computed in blocks of samples
    for_sparse: Any  # step.SparseWorkspace, or empty
    rates: np.ndarray  # [parts, steps, layers]
    gradient: np.ndarray  # flat as the parameters, where gradients are clipped


def step_scratch(
    parts: int, X: Any, rows: np.ndarray, batch: int, network: Network, rule: Rule | None = None
) -> StepScratch:
    """Scratch of ``mlp_train_steps`` by this rule, ``mlp_gradient`` and ``mlp_update`` on these rows, ``batch`` a step.

    X is an array or a CSR. It also serves other rows of a CSR, as long as no batch has more entries.
    """
    if rule is not None:
        checks.require_slots(network, rule.slots)
    batch = checks.integer("batch", batch, 1)
    steps, is_sparse = -(-len(rows) // batch), isinstance(X, CSR)
    rates = np.empty((parts, steps, len(network.layers)))
    room: Any = ()
    if is_sparse:
        schedule = Schedule(rule or sgd(), rates[0], 1)
        _, room = mlp.sparse_workspace(
            X, rows, batch, parts, schedule, network, in_params=False, squares=False, averaged=True
        )
    return StepScratch(
        team.barrier_state(),
        mlp.workspace_of(network, batch, parts, aligned_zeros, sparse=is_sparse),
        mlp.block_workspace(network, batch if mlp.takes_blocks(network, batch) and not is_sparse else 0, parts),
        room,
        rates,
        np.empty_like(network.params),
    )


@piece
def _dense_steps(part, parts, X, scale, samples, objective, schedule, parameters, scratch, results):
    """The steps from a dense X, in blocks of samples or not; ``samples`` have X as it is given."""
    arrivals, scaled = scratch.arrivals, Scaled(bytes_of(X), scale)
    scaled_samples = Samples(scaled, samples.labels, samples.weights, samples.rows, samples.batch)
    in_blocks = small.takes_blocks(parameters.params, parameters.sizes, samples.batch)
    if scratch.blocks.room > 0 and objective.dropout == 0 and in_blocks:
        small.train_steps_in_blocks(
            part, parts, arrivals, scaled_samples, objective, schedule, parameters, scratch.blocks, results
        )
    else:
        step.train_steps(
            part, parts, arrivals, scaled_samples, objective, schedule, parameters, scratch.workspace, results
        )


@piece
def _sparse_steps(part, parts, X, scale, samples, objective, schedule, parameters, scratch, results):
    arrivals, workspace, of_sparse = scratch.arrivals, scratch.workspace, scratch.for_sparse
    step.train_steps_sparse(
        part, parts, arrivals, samples, objective, schedule, parameters, workspace, of_sparse, results
    )


_steps = _by_input(_dense_steps, _sparse_steps)


@_op
def mlp_train_steps(
    part: int,
    parts: int,
    X: _Samples,
    labels: _Labels,
    rows: _Integers,
    batch: int,
    network: Model,
    rule: Rule,
    lr: _Numbers,
    loss: Loss,
    sample_weight: _Numbers | None,
    step_losses: _Losses,
    correct: _Hits,
    scratch: StepScratch,
    t: int = 1,
    mean: bool = True,
    dropout: float = 0.0,
    seed: int = 0,
    scale: float = 1.0,
    clip: float | None = None,
    average: _WrittenRow | None = None,
    average_decay: float | None = 0.999,
) -> None:
    """Train in place on X[rows]; ``step_losses``, float64 [S], and ``correct``, int64 [S], are each step's sums.

    ``lr`` [S]; labels as in ``loss_gradient``. See ``StepScratch``.
    """
    steps, averaged = lr.size, flat_or_empty(average, scratch.gradient)
    weight = 0.0 if average_decay is None else 1.0 - average_decay
    if clip is None:
        rates = scratch.rates[part]
        for s in range(steps):
            for l in range(network.layer_rates.size):
                rates[s, l] = lr[s] * network.layer_rates[l]
        objective = Objective(loss, network.activation, mean, dropout, seed, 0)
        results = Results(step_losses, correct, step_losses[:0], averaged, weight)
        weights = flat_or_empty(sample_weight, step_losses)
        samples, schedule = Samples(X, flat_to_read(labels), weights, rows, batch), Schedule(rule, rates[:steps], t)
        _steps(part, parts, X, scale, samples, objective, schedule, network.parameters, scratch, results)
        team.last_barrier(scratch.arrivals, parts)
        _follow(part, parts, network, averaged, weight, t + steps - 1)
    else:
        for s in range(steps):
            few = rows[s * batch : min((s + 1) * batch, rows.size)]
            mlp_gradient(
                part, parts, X, labels, few, network, loss, sample_weight, scratch.gradient, step_losses[s : s + 1],
                correct[s : s + 1], scratch, t + s, mean, dropout, seed, 0, scale,
            )  # fmt: skip
            mlp_update(part, parts, network, scratch.gradient, rule, lr[s], scratch, t + s, 1.0, clip)
            team.last_barrier(scratch.arrivals, parts)
            _follow(part, parts, network, averaged, weight, t + s)


@piece
def _follow(part, parts, network, average, weight, t):
    """Move the average, if there is one, towards the parameters, once all parts have taken step t."""
    if average.size > 0:
        _update.average(part, parts, network.parameters.params, average, weight if weight > 0 else 1 / t)


@_op
def mlp_gradient(
    part: int,
    parts: int,
    X: _Samples,
    labels: _Labels,
    rows: _Integers,
    network: Model,
    loss: Loss,
    sample_weight: _Numbers | None,
    out: _WrittenRow,
    step_losses: _Losses,
    correct: _Hits,
    scratch: StepScratch,
    t: int = 1,
    mean: bool = True,
    dropout: float = 0.0,
    seed: int = 0,
    first_row: int = 0,
    scale: float = 1.0,
) -> None:
    """out = gradient of a batch X[rows], flat as ``network.params``; its loss, float64 [1], and how many are right."""
    lo, hi = team.share(part, parts, out.size)
    for k in range(lo, hi):
        out[k] = 0  # before the first barrier; parts add to it only after that
    rates = scratch.rates[part]
    for l in range(network.layer_rates.size):
        rates[0, l] = -1.0  # 0 - (-1) * dW
    p = network.parameters
    objective = Objective(loss, network.activation, mean, dropout, seed, first_row)
    results = Results(step_losses, correct, step_losses[:0], scratch.gradient[:0], 0.0)
    weights = flat_or_empty(sample_weight, step_losses)
    samples = Samples(X, flat_to_read(labels), weights, rows, rows.size)
    parameters = Parameters(p.sizes, p.offsets, p.params, out, p.state, p.biased)
    descent = Schedule(_DESCENT, rates[:1], t)
    _steps(part, parts, X, scale, samples, objective, descent, parameters, scratch, results)
    team.last_barrier(scratch.arrivals, parts)


@_op
def mlp_update(
    part: int,
    parts: int,
    network: Model,
    gradient: _Row,
    rule: Rule,
    lr: float,
    scratch: StepScratch,
    t: int = 1,
    factor: float = 1.0,
    clip: float | None = None,
) -> None:
    """Step every W and b by ``factor`` * gradient, flat as ``network.params``."""
    rates = scratch.rates[part]
    for l in range(network.layer_rates.size):
        rates[0, l] = lr * network.layer_rates[l]
    g = flat_to_read(gradient)
    if clip is not None:
        factor = _update.clipped(factor, g, clip)
    step.update_network(part, parts, Schedule(rule, rates[:1], t), factor, g, network.parameters)


_WHOLE = (types.Integer, types.Boolean)
# What arguments that are annotated with a class must be: Numba's types of them if they are numbers, and the words.
_WANTED: dict[type, tuple[tuple[type, ...], str]] = {
    int: (_WHOLE, "an integer"),
    bool: (_WHOLE, "True or False"),
    float: ((*_WHOLE, types.Float), "a number"),
    Model: ((), "raw.model(network)"),
    ForwardScratch: ((), "raw.forward_scratch(...)"),
    StepScratch: ((), "raw.step_scratch(...)"),
    DistortScratch: ((), "raw.distort_scratch(...)"),
    Rule: ((), "a rule, as kernels.adam()"),
    Loss: ((), 'a loss that is made, as kernels.LOSSES["focal"]()'),
    Activation: ((), 'an activation, as kernels.ACTIVATIONS["relu"]'),
}

__all__ = [
    "CONTROL", "DistortScratch", "ForwardScratch", "Model", "SparseScratch", "StepScratch", "activation_backward",
    "activation_forward", "adam_update", "distort", "distort_scratch", "dropout", "exchange_control", "forward_scratch",
    "gemm", "linear_backward_input", "linear_backward_update", "linear_backward_weight", "linear_forward",
    "linear_relu_forward", "linear_scratch", "loss_gradient", "mlp_forward", "mlp_gradient", "mlp_train_steps",
    "mlp_update", "model", "momentum_update", "scratch_size", "sgd_update", "softmax", "softmax_cross_entropy",
    "sparse", "step_scratch", "update",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__
