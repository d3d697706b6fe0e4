"""The public ops: each checks its arguments (``checks``), then runs its kernel on the team.

Legend: ``B`` batch rows (samples), ``I`` inputs, ``O`` outputs; X [B, I], W [I, O], b [O]; a gradient is ``d`` and the
name of what it belongs to, in the same shape.

For all of them: arrays are float32 or float64 and the op runs in the dtype of its weights (or gradients, or logits);
inputs in another number type, strided or unaligned are converted once; inputs are never changed. ``out`` and whatever
is updated in place must be C-contiguous, of the exact dtype and shape, writable and apart from the inputs. TypeError
names an argument of the wrong type or dtype, ValueError one of the wrong shape, layout, range or memory. The twin of
the same name in ``kernels.reference`` is the definition; results do not depend on the number of threads. Non-finite
values propagate as in NumPy, but for CSR, where 0 * NaN is skipped with the other zeros; ``mlp_forward`` skips those of
a dense X, too, where most of it is zeros.

Subnormal numbers are flushed to zeros of their sign wherever an operation reads or computes one: in inputs, weights,
state, intermediate and final results. For this every call sets the floating-point control word (round to nearest, no
traps), and restores the caller's at its end. So the time of a step does not depend on how small the numbers have
become, and a sum of K terms may differ from the exact one by K + 2 smallest normal numbers more than rounding allows.
Values that a step does not touch (by ``sgd``, rows of weights without an entry in a CSR) keep their bits.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import checks, distortion, dropout_mask, gemm, losses, mlp, simd, sparse
from .activations import activation_of
from .csr_matrix import CSR
from .jit.numba_private import refuse_in_compiled_code
from .losses import LOSSES, CrossEntropy, Loss, Outcomes, SoftmaxCrossEntropy, Targets, loss_of
from .memory import scratch
from .network import Network
from .sparse import Columns, PanelLayer, PanelState, entry_arrays
from .step import Objective, Samples, Scaled
from .team import barrier_state, get_num_threads, parts_of_pass, run
from .tuning import PANEL_VECTORS, ROW_BLOCK, SERIAL_FLOP
from .update import RULES, Rule, Schedule, adam, adamw, clipped, sgd
from .update import momentum as _momentum
from .update import update as update_kernel

__all__ = [
    "adam_update", "csr", "distort", "dropout", "linear_backward_input", "linear_backward_update",
    "linear_backward_weight", "linear_forward", "linear_relu_forward", "loss_gradient", "mlp_forward", "mlp_gradient",
    "mlp_train_steps", "mlp_update", "momentum_update", "sgd_update", "softmax", "softmax_cross_entropy",
]  # fmt: skip

Array = np.ndarray
_STRONGEST = 1e6  # stronger distortions would overflow
_LAST_SEED = 2**32 - 1


def _parts_of_product(numbers: int, times: int) -> int:
    """Parts for a product that multiplies ``numbers`` numbers ``times`` times each; reading one costs two products."""
    return get_num_threads() if 2 * numbers * (times + 2) > SERIAL_FLOP else 1


def _parts_of_gradient(numbers: int, inputs: int, outputs: int) -> int:
    """Parts for a weight gradient; of few samples the time is that of writing it."""
    return max(parts_of_pass(inputs * outputs), _parts_of_product(numbers, outputs))


def _as_samples(X: Any, dtype: np.dtype, shape: tuple[int | None, int | None]) -> Any:
    """X [B, I] as a CSR, or as an array of uint8 or ``dtype``; None in ``shape`` stands for any length."""
    if type(X) is not np.ndarray:
        if isinstance(X, CSR) or hasattr(X, "indptr") or hasattr(X, "tocsr"):
            X = checks.as_csr("X", X)
            checks.require_shape("X", X, shape)
            return X
        X = checks.as_array("X", X)
    return checks.as_input("X", X, checks.UINT8 if X.dtype == checks.UINT8 else dtype, shape)


def _require_apart(network: Network, *others: Any) -> None:
    """Refuse arguments that share memory with the network, which the op changes."""
    checks.no_overlap("network.params", network.params, *others)
    checks.no_overlap("network.state", network.state, *others)


def csr(X: Any) -> CSR:
    """Compressed sparse rows of a dense matrix (uint8, float32 or float64) or of a SciPy CSR matrix.

    Every op that takes X takes the result. It is a copy, checked once, and read-only.
    Raises TypeError for another dtype or sparse format, ValueError where the CSR invariants do not hold.
    """
    return checks.as_csr("X", X)


def linear_forward(
    X: Any, W: ArrayLike, b: ArrayLike | None = None, *, scale: float = 1.0, out: Array | None = None
) -> Array:
    """Y = scale * X @ W + b.

    X [B, I] may also be uint8, which is read as it is (``scale`` 1/255 makes 0..1 of pixels), or CSR. Returns Y [B, O].
    """
    return _forward(X, W, b, scale, False, out)


def linear_relu_forward(
    X: Any, W: ArrayLike, b: ArrayLike | None = None, *, scale: float = 1.0, out: Array | None = None
) -> Array:
    """Y = max(scale * X @ W + b, 0), NaN staying NaN: ``linear_forward`` and ReLU in one pass."""
    return _forward(X, W, b, scale, True, out)


def _forward(X: Any, W: ArrayLike, b: ArrayLike | None, scale: float, relu: bool, out: Array | None) -> Array:
    W = checks.as_matrix("W", W)
    (I, O), dtype = W.shape, W.dtype
    none = np.empty(0, dtype)
    b = none if b is None else checks.as_input("b", b, dtype, (O,))
    factor = checks.finite_number("scale", scale)
    X = _as_samples(X, dtype, (None, I))
    Y = checks.output("out", out, dtype, (X.shape[0], O), X, W, b)
    if isinstance(X, CSR):
        parts, every, ends = _parts_of_product(X.indices.size, O), np.arange(X.shape[0]), np.empty(X.shape[0], np.int64)
        run(sparse.csr_forward, parts, X.bundle(factor, dtype), every, W, b, relu, Y, ends)
        return Y
    parts = _parts_of_product(X.size, O)
    rows = np.empty(parts * ROW_BLOCK * I, dtype) if X.itemsize == 1 else none
    run(gemm.linear_forward, parts, X, W, b, factor, relu, Y, rows, scratch(parts * gemm.PACK_SIZE, dtype))
    return Y


def linear_backward_input(
    dY: ArrayLike, W: ArrayLike, *, relu_output: ArrayLike | None = None, out: Array | None = None
) -> Array:
    """dX = dY @ W.T, zero where relu_output <= 0.

    From Y = X @ W + b: dY [B, O] gives dX [B, I]. Where X = relu(Z), pass X [B, I] as ``relu_output`` to get dZ.
    """
    W = checks.as_matrix("W", W)
    (I, O), dtype = W.shape, W.dtype
    dY = checks.as_input("dY", dY, dtype, (None, O))
    mask = np.empty((0, 0), dtype)
    if relu_output is not None:
        mask = checks.as_input("relu_output", relu_output, dtype, (len(dY), I))
    dX = checks.output("out", out, dtype, (len(dY), I), dY, W, mask)
    parts = _parts_of_product(dY.size, I)
    run(gemm.linear_backward_input, parts, dY, W, mask, dX, scratch(parts * gemm.PACK_SIZE, dtype))
    return dX


def linear_backward_weight(
    X: Any, dY: ArrayLike, *, scale: float = 1.0, out: Array | None = None, out_bias: Array | None = None
) -> tuple[Array, Array]:
    """dW = scale * X.T @ dY and db = dY.sum(0).

    From Y = scale * X @ W + b: X [B, I] (also uint8 or CSR) and dY [B, O] give dW [I, O] and db [O].
    """
    dY = checks.as_matrix("dY", dY)
    dtype = dY.dtype
    X = _as_samples(X, dtype, (len(dY), None))
    factor = checks.finite_number("scale", scale)
    shape = (X.shape[1], dY.shape[1])
    dW = checks.output("out", out, dtype, shape, dY, X)
    db = checks.output("out_bias", out_bias, dtype, shape[1:], dY, X, dW)
    if isinstance(X, CSR):
        dW[...], db[...] = 0, 0
        layer = PanelLayer(*shape, dW.reshape(-1), db, False)
        _run_csr_update(X, dY, layer, PanelState((), ()), Schedule(sgd(), -1.0, 1), factor)  # 0 - (-1) * dW
    else:
        parts = _parts_of_gradient(X.size, *shape)
        run(gemm.linear_backward_weight, parts, X, dY, factor, dW, db, scratch(parts * gemm.PACK_SIZE, dtype))
    return dW, db


def _run_csr_update(X: CSR, dY: Array, layer: PanelLayer, state: PanelState, schedule: Schedule, scale: float) -> None:
    (B, I), dtype, parts = X.shape, dY.dtype, _parts_of_product(X.indices.size, dY.shape[1])
    panel = PANEL_VECTORS * simd.REGISTER_BYTES // dtype.itemsize
    columns = Columns(B, np.empty((parts, I + 2), np.int32), *entry_arrays(X.values.shape, B, X.values.dtype))
    memory = np.arange(B), np.empty((parts, (B + 1) * panel), dtype), np.empty((parts, I), np.int32)
    samples = X.bundle(scale, dtype)
    run(sparse.csr_backward_update, parts, barrier_state(), samples, dY, layer, state, schedule, columns, memory)


def linear_backward_update(
    X: Any,
    dY: ArrayLike,
    W: Array,
    b: Array | None = None,
    *,
    rule: Rule,
    lr: float,
    t: int = 1,
    state: Array | None = None,
    bias_state: Array | None = None,
    scale: float = 1.0,
) -> None:
    """Step W by dW = scale * X.T @ dY and b by db = dY.sum(0), in place, without dW ever being stored.

    ``rule`` is ``sgd()``, ``momentum()``, ... of this package (``kernels.RULES``), ``lr`` its rate, ``t`` the step's
    number from 1. A rule with state keeps it in ``state`` [rule.slots, I, O] and ``bias_state`` [rule.slots, O], zeros
    before the first step. The weight decay of the rule applies to W, not to b.
    """
    dtype = checks.float_dtype("W", W)
    W = checks.in_place("W", W, dtype, (None, None))
    I, O = W.shape
    dY = checks.as_input("dY", dY, dtype, (None, O))
    X = _as_samples(X, dtype, (len(dY), I))
    scale = checks.finite_number("scale", scale)
    rule, lr, t = _checked_step(rule, lr, t)
    state = _checked_state("state", state, dtype, (rule.slots, I, O))
    bias, of_bias = np.empty(0, dtype), np.empty((rule.slots, 0), dtype)
    if b is not None:
        bias = checks.in_place("b", b, dtype, (O,))
        of_bias = _checked_state("bias_state", bias_state, dtype, (rule.slots, O))
    written = (W, state, bias, of_bias)
    if isinstance(X, CSR):
        checks.require_apart(written, dY)
        slots = (tuple(slot.reshape(-1) for slot in array) for array in (state, of_bias))
        layer, schedule = PanelLayer(I, O, W.reshape(-1), bias, False), Schedule(rule, lr, t)
        _run_csr_update(X, dY, layer, PanelState(*slots), schedule, scale)
        return
    checks.require_apart(written, dY, X)
    parts = _parts_of_gradient(X.size, I, O)
    memory = scratch(parts * (gemm.PACK_SIZE + gemm.gradient_size(O)), dtype)
    # Flat arguments: a layer and a schedule would be built here only to be taken apart again.
    run(gemm.linear_backward_update, parts, X, dY, scale, W, bias, state, of_bias, rule, lr, t, memory)


def _checked_step(rule: Any, lr: float, t: int) -> tuple[Rule, float, int]:
    """(the rule, its rate, the step's number), checked."""
    if not isinstance(rule, Rule) or type(rule) is Rule:
        raise TypeError(f"rule is {rule!r}; it must come from {', '.join(f'{name}()' for name in RULES)}")
    return rule, checks.finite_number("lr", lr), checks.integer("t", t, 1, 2**53)


def _checked_state(name: str, value: Array | None, dtype: np.dtype, shape: tuple[int, ...]) -> Array:
    if shape[0] == 0:
        return np.empty(shape, dtype)
    if value is None:
        raise ValueError(f"{name} is missing; this rule keeps its state in an array of shape {list(shape)}")
    return checks.in_place(name, value, dtype, shape)


def softmax(logits: ArrayLike, *, out: Array | None = None) -> Array:
    """P[i] = exp(Z[i] - max Z[i]) / sum(exp(Z[i] - max Z[i])) for each row of logits Z [B, O], O at least 1."""
    Z = checks.as_matrix("logits", logits)
    checks.require_columns("logits", Z)
    P = checks.output("out", out, Z.dtype, Z.shape, Z)
    run(losses.softmax, parts_of_pass(Z.size), Z, P)
    return P


def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    epsilon: float = 0.0,
    out: Array | None = None,
) -> tuple[float, int, Array]:
    """loss = -sum_ik w_i Q[i, k] log P[i, k] with P = softmax(logits); returns (loss, correct, dlogits).

    w is ``sample_weight`` [B], not negative, else 1; Q = (1 - s) onehot(labels) + s / O with s ``label_smoothing`` in
    [0, 1) (Szegedy et al. 2016). Sums over the batch: loss a float64, correct the count of rows whose first largest
    logit is the label's, dlogits = w (P - Q) [B, O]. By log-sum-exp, so that a probability too small for its dtype
    still has a finite loss; a NaN or +infinity among the logits gives a NaN loss. With ``epsilon`` > 0 the loss is -sum
    log(P + epsilon), as in the notebook that this project began with, and the gradient the same as without. ValueError
    for an empty batch, for labels outside 0 .. O-1, and for both smoothing and epsilon.
    """
    loss = SoftmaxCrossEntropy(label_smoothing, epsilon)
    return _loss_gradient(("logits", logits), ("labels", labels), loss, sample_weight, out)


def loss_gradient(
    Z: ArrayLike,
    targets: ArrayLike,
    loss: Loss | str,
    *,
    sample_weight: ArrayLike | None = None,
    out: Array | None = None,
) -> tuple[float, int, Array]:
    """(loss, correct, dZ) of a loss of ``kernels.LOSSES``, by its name or made with parameters: sums over the batch.

    Z [B, O] are the last layer's outputs; ``targets`` are what the loss compares them with: numbers [B, O] (or [B]
    where O is 1), class numbers [B] for softmax, zeros and ones [B, O] for logistic outputs. ``sample_weight`` [B], not
    negative, multiplies each row's loss and gradient. The loss is a float64; ``correct`` counts the rows that are
    right, 0 where targets are numbers; dZ [B, O] is the derivative. The class of the loss has its equation and source.
    """
    if not isinstance(loss, Loss) and loss not in LOSSES:
        raise ValueError(f"loss is {loss!r}; it must be one of {', '.join(LOSSES)}")
    return _loss_gradient(("Z", Z), ("targets", targets), loss_of("", loss), sample_weight, out)


def _loss_gradient(
    outputs: tuple[str, ArrayLike],
    targets: tuple[str, ArrayLike],
    loss: Loss,
    sample_weight: ArrayLike | None,
    out: Array | None,
) -> tuple[float, int, Array]:
    Z = checks.as_matrix(*outputs)
    checks.require_columns(outputs[0], Z)
    if not len(Z):
        raise ValueError(f"{outputs[0]} has no rows; the batch must not be empty")
    y = loss.targets(*targets, len(Z), Z.shape[1], Z.dtype)
    weights = _checked_weights(sample_weight, len(Z))
    dZ = checks.output("out", out, Z.dtype, Z.shape, Z, y, weights)
    compared = Targets(y.reshape(-1), weights, np.arange(len(Z)))
    outcomes = Outcomes(np.empty(len(Z)), np.empty(len(Z), np.int64))
    run(losses.loss_gradient, parts_of_pass(Z.size), Z, compared, loss, outcomes, dZ)
    return *losses.totals(*outcomes, len(Z)), dZ


def _checked_weights(sample_weight: ArrayLike | None, n: int) -> Array:
    if sample_weight is None:
        return np.empty(0)
    weights = checks.as_input("sample_weight", sample_weight, np.dtype(np.float64), (n,))
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError("sample_weight holds a number that is negative or not finite; it must be at least 0")
    return weights


def dropout(Y: ArrayLike, p: float, *, seed: int, out: Array | None = None) -> Array:
    """Y [B, n] with elements at random zero, with probability p in [0, 1), and the others divided by 1 - p.

    The mask is a function of ``seed`` (32 bits) and the element's place. Srivastava et al. 2014.
    """
    Y = checks.as_matrix("Y", Y)
    p, seed = checks.fraction("p", p), checks.integer("seed", seed, 0, _LAST_SEED)
    result = checks.output("out", out, Y.dtype, Y.shape, Y)
    result[...] = Y
    run(dropout_mask.dropout, parts_of_pass(Y.size), seed, p, result)
    return result


def distort(
    X: Array,
    rows: ArrayLike,
    shape: tuple[int, int],
    *,
    seed: int,
    epoch: int = 0,
    rotation: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
    shift: float = 0.0,
    elastic: float = 0.0,
    sigma: float = 4.0,
    fill: int = 0,
    out: Array | None = None,
) -> Array:
    """Distorted copies [R, h * w] of the uint8 images X[rows], X [N, h * w] with ``shape`` = (h, w), for augmentation.

    out(p) = image(M p + d + u(p)), bilinear, ``fill`` outside, p from the centre. With e uniform in [-1, 1), anew for
    each: M = R(rotation e) [[1 + scale e, shear e], [0, 1 + scale e]] in (y, x), rotation in radians; d = shift e in
    pixels, both axes; u = ``elastic`` * (noise e smoothed by a Gaussian of ``sigma`` pixels), both axes (Simard,
    Steinkraus and Platt 2003: elastic 34, sigma 4 at 28 x 28; u is then 1.4 pixels RMS), drawn from the leading waves
    of that field. A function of ``seed`` (32 bits), ``epoch`` and the row's number only.
    """
    X = checks.as_array("X", X)
    if X.dtype != np.uint8:
        raise TypeError(f"X has dtype {X.dtype}; it must be uint8")
    h, w = _image_shape(shape)
    X = checks.as_input("X", X, X.dtype, (None, h * w))
    rows = checks.as_rows("rows", rows, len(X))
    given = {"rotation": rotation, "scale": scale, "shear": shear, "shift": shift, "elastic": elastic, "sigma": sigma}
    for name, value in given.items():
        if checks.finite_number(name, value, least=0.1 if name == "sigma" else 0.0) > _STRONGEST:
            raise ValueError(f"{name} is {value!r}; it must be at most {_STRONGEST:g}")
    fill, seed = checks.integer("fill", fill, 0, 255), checks.integer("seed", seed, 0, _LAST_SEED)
    epoch = checks.integer("epoch", epoch, 0, _LAST_SEED)
    strengths = distortion.Strengths(*(float(value) for value in list(given.values())[:5]))
    result = checks.output("out", out, X.dtype, (len(rows), h * w), X, rows)
    parts = parts_of_pass(20 * result.size)
    field, canvas = distortion.field_and_canvas(h, w, float(sigma), fill, parts)
    run(distortion.distort, parts, X, rows, seed, epoch, strengths, field, canvas, result)
    return result


def _image_shape(shape: tuple[int, int]) -> tuple[int, int]:
    try:
        h, w = (operator.index(side) for side in shape)
    except (TypeError, ValueError):
        h = w = 0
    if not (1 <= h <= 4096 and 1 <= w <= 4096):
        raise ValueError(f"shape is {shape!r}; it must be (rows, columns), each from 1 to 4096")
    return h, w


def sgd_update(W: Array, dW: ArrayLike, lr: float, *, weight_decay: float = 0.0) -> None:
    """W -= lr * (dW + weight_decay * W), in place; W of any shape."""
    _update(sgd(weight_decay=weight_decay), lr, 1, W, dW)


def momentum_update(
    W: Array,
    dW: ArrayLike,
    V: Array,
    lr: float,
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:
    """V = momentum * V + g, W -= lr * V (Nesterov: lr * (g + momentum * V)), g = dW + weight_decay * W, in place.

    W, dW and V have one shape; V is zeros before the first step. Sutskever, Martens, Dahl and Hinton 2013.
    """
    _update(_momentum(momentum, nesterov=nesterov, weight_decay=weight_decay), lr, 1, W, dW, V)


def adam_update(
    W: Array,
    dW: ArrayLike,
    M: Array,
    V: Array,
    t: int,
    lr: float,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """M = beta1 M + (1-beta1) g, V = beta2 V + (1-beta2) g², W -= lr M' / (sqrt(V') + epsilon), in place.

    M' = M / (1 - beta1^t), V' = V / (1 - beta2^t); t = 1, 2, ... counts the steps; M and V have the shape of W and are
    zeros before the first. The decay is part of g = dW + weight_decay * W (Kingma and Ba 2015) or, ``decoupled``, taken
    off the weight: W *= 1 - lr * weight_decay (Loshchilov and Hutter 2019).
    """
    rule = (adamw if decoupled else adam)(beta1, beta2, epsilon=epsilon, weight_decay=weight_decay)
    _update(rule, lr, t, W, dW, M, V)


def _update(rule: Rule, lr: float, t: int, W: Array, dW: ArrayLike, *state: Array) -> None:
    dtype = checks.float_dtype("W", W)
    W = checks.in_place("W", W, dtype, np.shape(W))
    dW = checks.as_input("dW", dW, dtype, W.shape)
    rule, lr, t = _checked_step(rule, lr, t)
    names = ("V",) if len(state) == 1 else ("M", "V")
    checks.no_overlap("W", W, dW)
    for k, (name, array) in enumerate(zip(names, state)):
        checks.in_place(name, array, dtype, W.shape)
        checks.no_overlap(name, array, W, dW, *state[:k])
    state = tuple(array.reshape(-1) for array in state)
    parts = parts_of_pass(W.size)
    run(update_kernel, parts, Schedule(rule, lr, t), W.reshape(-1), state, dW.reshape(-1))


def mlp_forward(X: Any, network: Network, *, scale: float = 1.0, out: Array | None = None) -> Array:
    """Logits [B, classes] of a network: f(X @ W + b) layer by layer from scale * X [B, inputs], the last without f.

    X may be uint8 or CSR. A row's logits do not depend on the other rows, as long as the first W is finite.
    """
    checks.require_network(network)
    X = _as_samples(X, network.dtype, (None, network.sizes[0]))
    logits = checks.output("out", out, network.dtype, (X.shape[0], network.sizes[-1]), X, network.params)
    mlp.run_forward(X, network, checks.finite_number("scale", scale), logits)
    return logits


def mlp_train_steps(
    X: Any,
    labels: ArrayLike,
    rows: ArrayLike,
    batch: int,
    network: Network,
    *,
    rule: Rule,
    lr: ArrayLike,
    t: int = 1,
    clip: float | None = None,
    scale: float = 1.0,
    sample_weight: ArrayLike | None = None,
    loss: Loss | str | None = None,
    mean: bool = True,
    epsilon: float = 0.0,
    label_smoothing: float = 0.0,
    dropout: float = 0.0,
    seed: int = 0,
    squares: Array | None = None,
    average: Array | None = None,
    average_decay: float | None = 0.999,
) -> tuple[Array, Array]:
    """Train a network in place on X[rows], ``batch`` rows a step; returns (losses [S], correct [S]), sums over a batch.

    A step: forward from scale * X, dZ as in ``softmax_cross_entropy`` (``sample_weight`` [N], ``label_smoothing``,
    ``epsilon``), divided by the batch's rows where ``mean``, backward, then every W and b by ``rule`` with its rate
    ``lr[step]``, or ``lr`` if it is one number, and step number t + step. Where the network's output is logistic,
    labels are [N, O] zeros and ones, and the loss is -sum_k (q_k log p_k + (1 - q_k) log(1 - p_k)), p = 1 / (1 +
    exp(-Z)), q = (1 - s) label + s / 2; ``correct`` counts rows with every output right. ``loss`` selects another loss
    in ``kernels.LOSSES`` for the network's output, by its name or made with parameters; labels are then what it
    compares the outputs with: numbers [N, O] where the output is identity, whose default is squared error. ``rows`` [R]
    are indices into X [N, inputs] (uint8, float or CSR) and labels [N]; the last batch may be short, S = ceil(R /
    batch). The network must have been made with ``slots=rule.slots``.

    ``dropout`` p in [0, 1) drops outputs of hidden layers as the op ``dropout`` does, by ``seed``, step number, layer
    and place in the batch. With ``clip`` > 0, a gradient with a larger norm, over all parameters, is scaled down to
    this norm; the gradient is then stored, which takes about twice the time. ``squares``, float64 [1], becomes the sum
    over the steps of |W|^2 before the step, over all W: half the weight decay times it is the L2 penalty.

    ``average``, laid out as ``network.params``, at first a copy of it, follows the parameters in one more pass: after
    every step average += (1 - average_decay) (params - average), an exponential moving average (Izmailov et al. 2018);
    with average_decay None it is the mean of the parameters after each step from 1 on (Polyak and Juditsky 1992).
    """
    minimised = _checked_loss(network, loss, epsilon, label_smoothing)
    samples = _checked_samples(X, scale, labels, sample_weight, rows, batch, network, minimised)
    objective = _checked_objective(network, minimised, mean, dropout, seed)
    schedule = _checked_schedule(rule, lr, t, -(-len(samples.rows) // samples.batch), network)
    _require_apart(network, lr)
    others = (samples.X.values, *samples, network.params, network.state, lr)
    if squares is not None:
        checks.output("squares", squares, np.dtype(np.float64), (1,), *others)
    average_rate = 0.0 if average_decay is None else 1 - checks.fraction("average_decay", average_decay)
    if average is not None:
        checks.output("average", average, network.dtype, network.params.shape, *others, squares)
    if clip is None:
        return mlp.run_train_steps(
            samples, objective, schedule, network, squares=squares, average=average, average_rate=average_rate
        )
    return _clipped_steps(samples, objective, schedule, network, _checked_clip(clip), squares, average, average_rate)


def _checked_schedule(rule: Rule, lr: ArrayLike, t: int, steps: int, network: Network) -> Schedule:
    """The rule, the rates [steps, layers] and the first step's number of ``steps`` steps of the network."""
    lr = checks.as_array("lr", lr)
    rates = checks.as_input("lr", lr if lr.ndim else np.full(steps, lr), np.dtype(np.float64), (steps,))
    if not np.isfinite(rates).all():
        raise ValueError("lr holds a number that is not finite; it must be finite")
    rule, _, t = _checked_step(rule, 0.0, t)
    checks.require_slots(network, rule.slots)
    return Schedule(rule, np.multiply.outer(rates, network.layer_rates), t)


def _clipped_steps(
    samples: Samples, objective: Objective, schedule: Schedule, network: Network, clip: float, squares: Array | None,
    average: Array | None, average_rate: float,
) -> tuple[Array, Array]:  # fmt: skip
    """``mlp_train_steps`` with the gradient of each step stored, as its norm is known only when it is whole."""
    steps, gradient = len(schedule.lr), np.empty_like(network.params)
    losses, correct, sums = np.empty(steps), np.empty(steps, np.int64), np.zeros((steps, 1))
    for step in range(steps):
        few = samples._replace(rows=samples.rows[step * samples.batch : (step + 1) * samples.batch])
        t, wanted = schedule.t + step, None if squares is None else sums[step]
        losses[step], correct[step] = mlp.run_gradient(few, objective, t, network, gradient, wanted)
        now = Schedule(schedule.rule, schedule.lr[step : step + 1], t)
        mlp.run_update(network, gradient, now, clipped(1.0, gradient, clip))
        if average is not None:
            mlp.move_average(network, average, average_rate, t)
    if squares is not None:
        squares[0] = sums.sum()
    return losses, correct


def _checked_clip(clip: Any) -> float:
    if (norm := checks.finite_number("clip", clip)) <= 0:
        raise ValueError(f"clip is {clip!r}; it must be positive")
    return norm


def _checked_samples(
    X: Any, scale: float, labels: ArrayLike, sample_weight: ArrayLike | None, rows: ArrayLike, batch: int | None,
    network: Network, loss: Loss,
) -> Samples:  # fmt: skip
    """X, scale, labels, weights, rows and batch as the kernels take them; a batch of None is all rows."""
    X = _as_samples(X, network.dtype, (None, network.sizes[0]))
    y = loss.targets("labels", labels, X.shape[0], network.sizes[-1], network.dtype).reshape(-1)
    rows = checks.as_rows("rows", rows, X.shape[0])
    weights = _checked_weights(sample_weight, X.shape[0])
    _require_apart(network, X, y, weights, rows)
    if batch is None:
        batch = len(rows)
    batch = checks.integer("batch", batch, 1)
    return Samples(Scaled(X, checks.finite_number("scale", scale)), y, weights, rows, batch)


def _checked_loss(network: Network, loss: Loss | str | None, epsilon: float, label_smoothing: float) -> Loss:
    """The loss to minimise, which must be one for the network's output."""
    checks.require_network(network)
    fitting = [name for name, kind in LOSSES.items() if kind.output == network.output]
    if not isinstance(loss, Loss) and loss is not None and loss not in LOSSES:
        raise ValueError(f"loss is {loss!r}; it must be one of {', '.join(fitting)}, or a custom_loss(function)")
    chosen = loss_of(network.output, loss, label_smoothing, epsilon)
    if chosen.output != network.output:
        raise ValueError(
            f"loss is {chosen.name!r}, for a network whose output is {chosen.output}; where it is {network.output}, as "
            f"here, it must be one of {', '.join(fitting)}"
        )
    if (label_smoothing or epsilon) and (isinstance(loss, Loss) or not isinstance(chosen, CrossEntropy)):
        raise ValueError(f"label_smoothing or epsilon is given; both must be 0 with the loss {chosen.name}")
    return chosen


def _checked_objective(
    network: Network, loss: Loss, mean: bool, dropout: float, seed: int, first_row: int = 0
) -> Objective:
    dropout, seed = checks.fraction("dropout", dropout), checks.integer("seed", seed, 0, _LAST_SEED)
    if mean not in (True, False):
        raise ValueError(f"mean is {mean!r}; it must be True or False")
    return Objective(loss, activation_of(network.activation), bool(mean), dropout, seed, first_row)


def mlp_gradient(
    X: Any,
    labels: ArrayLike,
    rows: ArrayLike,
    network: Network,
    *,
    t: int = 1,
    scale: float = 1.0,
    sample_weight: ArrayLike | None = None,
    loss: Loss | str | None = None,
    mean: bool = True,
    epsilon: float = 0.0,
    label_smoothing: float = 0.0,
    dropout: float = 0.0,
    seed: int = 0,
    first_row: int = 0,
    out: Array | None = None,
) -> tuple[float, int, Array]:
    """(loss, correct, gradient) of a batch X[rows], as a step of ``mlp_train_steps`` computes them; the loss is summed.

    The gradient of the loss (of its mean over the rows where ``mean``) is flat, in the layout of ``network.params``.
    Rows that are a part of a larger batch, from its ``first_row`` on, have the same dropout masks as in the whole.
    """
    minimised = _checked_loss(network, loss, epsilon, label_smoothing)
    samples = _checked_samples(X, scale, labels, sample_weight, rows, None, network, minimised)
    first_row = checks.integer("first_row", first_row, 0, _LAST_SEED)
    objective = _checked_objective(network, minimised, mean, dropout, seed, first_row)
    _, _, t = _checked_step(sgd(), 0.0, t)
    inputs = samples.X.values, *samples, network.params
    gradient = checks.output("out", out, network.dtype, network.params.shape, *inputs)
    return *mlp.run_gradient(samples, objective, t, network, gradient), gradient


def mlp_update(
    network: Network,
    gradient: ArrayLike,
    *,
    rule: Rule,
    lr: float,
    t: int = 1,
    factor: float = 1.0,
    clip: float | None = None,
) -> None:
    """Step every W and b of the network by ``factor`` * gradient, flat as ``network.params``; W alone is decayed.

    Where the norm of factor * gradient, over all parameters, is above ``clip`` > 0, it is scaled down to that norm.
    """
    checks.require_network(network)
    rule, lr, t = _checked_step(rule, lr, t)
    checks.require_slots(network, rule.slots)
    gradient = checks.as_input("gradient", gradient, network.dtype, network.params.shape)
    _require_apart(network, gradient)
    factor = checks.finite_number("factor", factor)
    if clip is not None:
        factor = clipped(factor, gradient, _checked_clip(clip))
    rates = lr * network.layer_rates[None]
    mlp.run_update(network, gradient, Schedule(rule, rates, t), factor)


for _name in __all__:
    if _name != "csr":
        refuse_in_compiled_code(globals()[_name], f"kernels.raw.{_name}")
