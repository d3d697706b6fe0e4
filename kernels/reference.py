"""The definition: every op in plain NumPy, any float dtype, with the names and signatures of the fast ops in ``ops``.

Nothing here is fast or clever; it is what the kernels must compute. Tests compare every kernel with its twin here, and
``--backend reference`` trains on these. The fast ops' docstrings tell what arguments mean, and the sources.

Legend: ``B`` batch rows (samples), ``I`` inputs, ``O`` outputs; X [B, I], W [I, O], b [O]. A gradient is ``d`` and the
name of what it belongs to, in the same shape. ``scale`` multiplies X: pixels 0..255 with scale 1/255 are 0..1.

Prediction imports no Numba, which takes longer than predicting a few samples; other functions import what they use.

Subnormal inputs and results are flushed to zeros of their sign (``normal``). Kernels flush intermediate results, too:
where numbers are that small, their sum of K terms may differ from this one by K + 2 smallest normal numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .activations import ACTIVATIONS
from .network import Network
from .subnormals import normal

if TYPE_CHECKING:
    from .csr_matrix import CSR


def _dense(X: Any, dtype: Any) -> np.ndarray:
    """X, which may be a CSR or a SciPy matrix, as a dense array of ``dtype``."""
    if hasattr(X, "toarray"):
        from .csr_matrix import CSR

        X = X.toarray(dtype) if isinstance(X, CSR) else X.toarray()
    return normal(np.asarray(X).astype(dtype))


def _into(out: np.ndarray | None, value: np.ndarray) -> np.ndarray:
    if out is None:
        return value
    out[...] = value
    return out


def csr(X: Any) -> CSR:
    """Compressed sparse rows of a dense matrix or of a SciPy CSR matrix: the non-zeros of each row, by column."""
    from .csr_matrix import CSR

    if hasattr(X, "indptr"):
        return CSR(X.indptr, X.indices, X.data, X.shape)
    X = np.asarray(X)
    rows, columns = np.nonzero(normal(X) if X.dtype.kind == "f" else X)
    indptr = np.searchsorted(rows, np.arange(len(X) + 1))
    return CSR(indptr, columns, X[rows, columns], X.shape)


def linear_forward(X, W, b=None, *, scale=1.0, out=None):
    """Y = scale * X @ W + b."""
    Y = _dense(X, W.dtype) @ normal(W) * W.dtype.type(scale)
    return _into(out, normal(Y if b is None else Y + normal(b)))


def linear_relu_forward(X, W, b=None, *, scale=1.0, out=None):
    """Y = max(scale * X @ W + b, 0); NaN stays NaN."""
    return _into(out, np.maximum(linear_forward(X, W, b, scale=scale), 0))


def linear_backward_input(dY, W, *, relu_output=None, out=None):
    """dX = dY @ W.T, zero where relu_output <= 0.

    Y = X @ W  =>  dX = dY @ W.T; and where X = relu(Z), dZ = dX * (X > 0), so pass X as ``relu_output``.
    """
    dX = normal(normal(dY) @ normal(W).T)
    if relu_output is not None:
        dX = np.where(normal(relu_output) <= 0, 0, dX).astype(W.dtype)
    return _into(out, dX)


def linear_backward_weight(X, dY, *, scale=1.0, out=None, out_bias=None):
    """dW = scale * X.T @ dY, db = dY.sum(0). From Y = scale * X @ W + b."""
    dY = normal(dY)
    dW = _dense(X, dY.dtype).T @ dY * dY.dtype.type(scale)
    return _into(out, normal(dW)), _into(out_bias, normal(dY.sum(0)))


def linear_backward_update(X, dY, W, b=None, *, rule, lr, t=1, state=None, bias_state=None, scale=1.0):
    """Step W by dW = scale * X.T @ dY and b by db = dY.sum(0), in place, by ``rule``; b is never decayed."""
    dW, db = linear_backward_weight(X, dY, scale=scale)
    rule.twin(lr, t, W, dW, () if state is None else state)
    if b is not None:
        rule._replace(weight_decay=0.0).twin(lr, t, b, db, () if bias_state is None else bias_state)


def softmax(logits, *, out=None):
    """P = exp(Z - max Z) / sum(exp(Z - max Z)) for each row Z of logits."""
    Z = normal(logits)
    E = normal(np.exp(Z - Z.max(1, keepdims=True)))
    return _into(out, normal(E / E.sum(1, keepdims=True)))


def softmax_cross_entropy(logits, labels, *, sample_weight=None, label_smoothing=0.0, epsilon=0.0, out=None):
    """(loss, correct, dZ) of ``losses.SoftmaxCrossEntropy``."""
    from .losses import SoftmaxCrossEntropy

    loss, correct, dlogits = SoftmaxCrossEntropy(label_smoothing, epsilon).twin(logits, labels, sample_weight)
    return loss, correct, _into(out, dlogits)


def loss_gradient(Z, targets, loss, *, sample_weight=None, out=None):
    """(loss, correct, dZ) of a loss of ``LOSSES``, by its name or made with parameters: sums over the batch."""
    from .losses import loss_of

    total, correct, dZ = loss_of("", loss).twin(Z, targets, sample_weight)
    return total, correct, _into(out, dZ)


def _hash32(x: np.ndarray) -> np.ndarray:
    """Wellons' lowbias32, a bijection of 32 bits (https://nullprogram.com/blog/2018/07/31/)."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def _dropout_key(seed: int, t: int, layer: int) -> np.ndarray:
    key = _hash32(np.array([seed], np.uint32))
    for number in (t, layer):
        key = _hash32(key + np.uint32(number % 2**32))
    return key


def _dropped(Y: np.ndarray, p: float, key: np.ndarray) -> np.ndarray:
    """Y [B, n] where hash(hash(key + i) + j) >= p * 2^32, divided by 1 - p; else 0."""
    B, n = Y.shape
    row = _hash32(key + np.arange(B, dtype=np.uint32))
    kept = _hash32(row[:, None] + np.arange(n, dtype=np.uint32)) >= np.uint32(p * 2.0**32)
    return normal(np.where(kept, normal(Y) * Y.dtype.type(1 / (1 - p)), 0).astype(Y.dtype))


def dropout(Y, p, *, seed, out=None):
    """Y [B, n] where hash(hash(hash(seed) + i) + j) >= p * 2^32, divided by 1 - p; else 0."""
    return _into(out, _dropped(Y, p, _hash32(np.array([seed], np.uint32))))


def distort(
    X, rows, shape, *, seed, epoch=0, rotation=0.0, scale=0.0, shear=0.0, shift=0.0, elastic=0.0, sigma=4.0, fill=0,
    out=None,
):  # fmt: skip
    """out[i](p) = X[rows[i]](M p + d + u(p)), bilinear, ``fill`` outside, p from the image's centre, rounded to uint8.

    Image r draws e_k = hash(hash(hash(hash(seed) + epoch) + r) + k) * 2^-31 - 1, k = 0, 1, ...: M = R(rotation e_0)
    [[1 + scale e_1, shear e_3], [0, 1 + scale e_2]] in (y, x), d = shift (e_4, e_5), u_y = elastic A Z_y B^T and u_x
    likewise with Z_y, Z_x the e_k that follow and A, B the leading waves of Gaussian smoothing (``distortion.waves``).
    """
    from .distortion import waves

    h, w = shape
    A, B = waves(h, sigma), waves(w, sigma)
    stream = _hash32(_hash32(np.array([seed], np.uint32)) + np.uint32(epoch))
    y, x = np.meshgrid(np.arange(h) - 0.5 * (h - 1), np.arange(w) - 0.5 * (w - 1), indexing="ij")
    result = np.empty((len(rows), h * w), np.uint8)
    for i, row in enumerate(rows):
        key = _hash32(stream + np.uint32(row))
        e = _hash32(key + np.arange(6 + 2 * A.shape[1] * B.shape[1], dtype=np.uint32)) * 2.0**-31 - 1
        c, s = np.cos(rotation * e[0]), np.sin(rotation * e[0])
        M = np.array([[c, -s], [s, c]]) @ np.array([[1 + scale * e[1], shear * e[3]], [0, 1 + scale * e[2]]])
        Z = e[6:].reshape(2, A.shape[1], B.shape[1])
        at_y = M[0, 0] * y + M[0, 1] * x + shift * e[4] + elastic * (A @ Z[0] @ B.T) + 0.5 * (h - 1)
        at_x = M[1, 0] * y + M[1, 1] * x + shift * e[5] + elastic * (A @ Z[1] @ B.T) + 0.5 * (w - 1)
        image = np.pad(X[row].reshape(h, w).astype(float), 1, constant_values=fill)
        at_y, at_x = at_y.clip(-1, h), at_x.clip(-1, w)
        top, left = np.minimum(np.floor(at_y), h - 1).astype(int), np.minimum(np.floor(at_x), w - 1).astype(int)
        dy, dx = at_y - top, at_x - left
        above = image[top + 1, left + 1] * (1 - dx) + image[top + 1, left + 2] * dx
        below = image[top + 2, left + 1] * (1 - dx) + image[top + 2, left + 2] * dx
        result[i] = (above * (1 - dy) + below * dy + 0.5).astype(np.uint8).ravel()
    return _into(out, result)


def sgd_update(W, dW, lr, *, weight_decay=0.0):
    """W -= lr * (dW + weight_decay * W), in place."""
    from .update import sgd

    sgd(weight_decay=weight_decay).twin(lr, 1, W, dW, ())


def momentum_update(W, dW, V, lr, *, momentum=0.9, nesterov=False, weight_decay=0.0):
    """A step of ``update.momentum``, in place."""
    from .update import momentum as rule

    rule(momentum, nesterov=nesterov, weight_decay=weight_decay).twin(lr, 1, W, dW, (V,))


def adam_update(W, dW, M, V, t, lr, *, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0, decoupled=False):
    """A step of ``update.adam`` or, ``decoupled``, of ``update.adamw``, in place."""
    from .update import adam, adamw

    rule = (adamw if decoupled else adam)(beta1, beta2, epsilon=epsilon, weight_decay=weight_decay)
    rule.twin(lr, t, W, dW, (M, V))


def mlp_forward(X, network, *, scale=1.0, out=None):
    """Logits of a ``kernels.Network``: f(X @ W + b), layer by layer; f its activation, in hidden layers."""
    Y = _dense(X, network.dtype) * network.dtype.type(scale)
    for (W, b), activation in zip(network.layers, network.activations):
        Y = ACTIVATIONS[activation].twin(linear_forward(Y, W, b))
    return linear_forward(Y, *network.layers[-1], out=out)


def mlp_gradient(
    X, labels, rows, network, *, t=1, scale=1.0, sample_weight=None, loss=None, mean=True, epsilon=0.0,
    label_smoothing=0.0, dropout=0.0, seed=0, first_row=0, out=None,
):  # fmt: skip
    """(loss, correct, gradient) of the batch X[rows]; the gradient is flat, in the layout of ``network.params``.

    Forward, dZ of the loss, as in ``loss_gradient`` (divided by the rows where ``mean``), backward through the layers.
    ``dropout`` drops outputs of hidden layer l at step t as the op does, with hash(hash(hash(seed) + t) + l) +
    first_row in the place of hash(seed).
    """
    from .losses import loss_of

    real = network.dtype.type
    activations = [_dense(X[rows] if isinstance(X, np.ndarray) else _dense(X, network.dtype)[rows], real) * real(scale)]
    slopes: list[Any] = [1]
    for l, ((W, b), name) in enumerate(zip(network.layers, network.activations), 1):
        activation = ACTIVATIONS[name]
        Z = linear_forward(activations[-1], W, b)
        Y = activation.twin(Z)
        key = _dropout_key(seed, t, l) + np.uint32(first_row)
        kept = np.ones_like(Y) if dropout == 0 else _dropped(np.ones_like(Y), dropout, key)
        activations.append(Y * kept)
        slopes.append(kept * activation.twin_slope(Z if activation.of_input else Y))
    logits = linear_forward(activations[-1], *network.layers[-1])
    weights = None if sample_weight is None else np.asarray(sample_weight)[rows]
    minimised = loss_of(network.output, loss, label_smoothing, epsilon)
    total, correct, dZ = minimised.twin(logits, labels[rows], weights)
    if mean:
        dZ *= real(1 / len(rows))
    gradient = Network(network.sizes, bias=network.bias, dtype=network.dtype)
    for l in reversed(range(len(network.layers))):
        W, b = network.layers[l]
        dW, db = gradient.layers[l]
        linear_backward_weight(activations[l], dZ, out=dW, out_bias=db)
        if l:  # Y = f(Z) * kept, next Z = Y @ W + b  =>  dZ = (next dZ @ W.T) * kept * f'(Z)
            dZ = linear_backward_input(dZ, W) * slopes[l]
    return total, correct, _into(out, gradient.params)


def mlp_update(network, gradient, *, rule, lr, t=1, factor=1.0, clip=None):
    """Step every W and b of the network by ``factor`` * gradient, flat as ``network.params``; W alone is decayed."""
    norm = abs(factor) * float(np.square(gradient, dtype=np.float64).sum()) ** 0.5
    if clip is not None and norm > clip:
        factor *= clip / norm
    scaled = Network(network.sizes, bias=network.bias, dtype=network.dtype)
    scaled.params[...] = network.dtype.type(factor) * gradient
    for l, ((W, b), (dW, db)) in enumerate(zip(network.layers, scaled.layers)):
        state, bias_state = network.states(l, rule)
        rate = lr * network.layer_rates[l]
        rule.twin(rate, t, W, dW, state)
        if b is not None and db is not None:
            rule._replace(weight_decay=0.0).twin(rate, t, b, db, bias_state)


def mlp_train_steps(
    X, labels, rows, batch, network, *, rule, lr, t=1, clip=None, scale=1.0, sample_weight=None, loss=None, mean=True,
    epsilon=0.0, label_smoothing=0.0, dropout=0.0, seed=0, squares=None, average=None,
    average_decay=0.999,
):  # fmt: skip
    """Train on X[rows], ``batch`` rows a step, in place; returns (losses [S], correct [S]), each step's sums.

    A step is ``mlp_gradient`` and ``mlp_update``, with the step number t + step.
    """
    if squares is not None:
        squares[0] = 0
    X = _dense(X, network.dtype) if hasattr(X, "toarray") else X
    starts = range(0, len(rows), batch)
    losses, correct, lr = np.empty(len(starts)), np.empty(len(starts), np.int64), np.broadcast_to(lr, len(starts))
    for step, start in enumerate(starts):
        if squares is not None:
            squares[0] += sum(np.square(W, dtype=np.float64).sum() for W, _ in network.layers)
        losses[step], correct[step], gradient = mlp_gradient(
            X, labels, rows[start : start + batch], network, t=t + step, scale=scale, sample_weight=sample_weight,
            loss=loss, mean=mean, epsilon=epsilon, label_smoothing=label_smoothing, dropout=dropout, seed=seed,
        )  # fmt: skip
        mlp_update(network, gradient, rule=rule, lr=lr[step], t=t + step, clip=clip)
        if average is not None:
            rate = 1 / (t + step) if average_decay is None else 1 - average_decay
            average += network.dtype.type(rate) * (network.params - average)
    return losses, correct
