"""NumPy, tuned, for the ops: in the arrays' own dtype, products by BLAS, results into arrays made once.

Those that work in place return nothing.
"""

from collections.abc import Callable
from typing import Any

import numpy as np


def call(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Callable[[], Any] | None:
    """A call that does what the op of this name does; None where there is none here."""
    make = globals().get(name)  # the function of the op's name below
    if make is None or not all(isinstance(arg, (np.ndarray, int, float)) for arg in args):
        return None
    return make(*args, **options)


def linear_forward(X: Any, W: Any, b: Any) -> Callable[[], Any]:
    Y = np.empty((len(X), W.shape[1]), W.dtype)

    def step() -> Any:
        np.matmul(X, W, out=Y)
        return np.add(Y, b, out=Y)

    return step


def linear_relu_forward(X: Any, W: Any, b: Any) -> Callable[[], Any]:
    linear = linear_forward(X, W, b)

    def step() -> Any:
        Y = linear()
        return np.maximum(Y, 0, out=Y)

    return step


def linear_backward_input(dY: Any, W: Any, relu_output: Any = None) -> Callable[[], Any]:
    dX = np.empty((len(dY), len(W)), W.dtype)

    def step() -> Any:
        np.matmul(dY, W.T, out=dX)
        return dX if relu_output is None else np.multiply(dX, relu_output > 0, out=dX)

    return step


def linear_backward_weight(X: Any, dY: Any) -> Callable[[], Any]:
    dW, db = np.empty((X.shape[1], dY.shape[1]), dY.dtype), np.empty(dY.shape[1], dY.dtype)
    if len(X) == 1:  # by BLAS it takes twenty times as long
        return lambda: (np.multiply(X.T, dY, out=dW), np.copyto(db, dY[0]), db)[::2]
    return lambda: (np.matmul(X.T, dY, out=dW), np.sum(dY, axis=0, out=db))


def linear_backward_update(X: Any, dY: Any, W: Any, b: Any, lr: float, **_: Any) -> Callable[[], Any]:
    gradients, lr = linear_backward_weight(X, dY), W.dtype.type(lr)

    def step() -> None:
        for parameter, gradient in zip((W, b), gradients()):
            np.multiply(gradient, lr, out=gradient)
            np.subtract(parameter, gradient, out=parameter)

    return step


def softmax(Z: Any) -> Callable[[], Any]:
    P = np.empty_like(Z)

    def step() -> Any:
        np.subtract(Z, Z.max(1, keepdims=True), out=P)
        np.exp(P, out=P)
        return np.divide(P, P.sum(1, keepdims=True), out=P)

    return step


def softmax_cross_entropy(Z: Any, y: Any) -> Callable[[], Any]:
    probabilities, rows = softmax(Z), np.arange(len(y))

    def step() -> Any:
        dZ = probabilities()
        loss = -np.log(np.maximum(dZ[rows, y], np.finfo(Z.dtype).tiny), dtype=np.float64).sum()
        correct = (Z.argmax(1) == y).sum()
        dZ[rows, y] -= 1
        return loss, correct, dZ

    return step


def dropout(Z: Any, p: float, seed: int) -> Callable[[], Any]:
    random, U, kept = np.random.default_rng(seed), np.empty_like(Z), Z.dtype.type(1 / (1 - p))

    def step() -> Any:
        random.random(out=U, dtype=U.dtype)
        return Z * ((p <= U) * kept)

    return step


def sgd_update(W: Any, dW: Any, lr: float) -> Callable[[], Any]:
    scaled, lr = np.empty_like(W), W.dtype.type(lr)

    def step() -> None:
        np.multiply(dW, lr, out=scaled)
        np.subtract(W, scaled, out=W)

    return step


def momentum_update(
    W: Any, dW: Any, V: Any, lr: float, momentum: float = 0.9, nesterov: bool = False
) -> Callable[[], Any]:
    update, m = sgd_update(W, V, lr), W.dtype.type(momentum)

    def step() -> None:
        np.multiply(V, m, out=V)
        np.add(V, dW, out=V)
        update()

    return step


def adam_update(
    W: Any, dW: Any, M: Any, V: Any, t: int, lr: float, weight_decay: float = 0.0, decoupled: bool = False
) -> Callable[[], Any]:
    number = W.dtype.type
    b1, b2, eps, decay = number(0.9), number(0.999), number(1e-8), number(weight_decay)
    rate, root = number(lr / (1 - 0.9**t)), number((1 - 0.999**t) ** -0.5)
    g, s = np.empty_like(W), np.empty_like(W)

    def step() -> None:
        np.multiply(W, decay, out=g)
        np.add(g, dW, out=g)
        np.multiply(M, b1, out=M)
        np.add(M, np.multiply(g, 1 - b1, out=s), out=M)
        np.multiply(V, b2, out=V)
        np.multiply(g, g, out=s)
        np.add(V, np.multiply(s, 1 - b2, out=s), out=V)
        np.add(np.multiply(np.sqrt(V, out=s), root, out=s), eps, out=s)
        np.subtract(W, np.multiply(np.divide(M, s, out=s), rate, out=s), out=W)

    return step
