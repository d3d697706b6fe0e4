"""PyTorch's own calls for the ops, on tensors that share the arrays' memory; it allocates its outputs.

Those that work in place return nothing.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import kernels


def call(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Callable[[], Any] | None:
    """A call that does what the op of this name does, on as many threads as ours; None where PyTorch has none."""
    torch.set_grad_enabled(False)
    torch.set_num_threads(kernels.get_num_threads())
    make = globals().get(name)  # the function of the op's name below
    if make is None or not all(isinstance(arg, (np.ndarray, int, float)) for arg in args):
        return None
    return make(*(torch.from_numpy(arg) if isinstance(arg, np.ndarray) else arg for arg in args), **options)


def linear_forward(X: Any, W: Any, b: Any) -> Callable[[], Any]:
    transposed = W.T.contiguous()  # the layout of torch.nn.Linear
    return lambda: F.linear(X, transposed, b)


def linear_relu_forward(X: Any, W: Any, b: Any) -> Callable[[], Any]:
    linear = linear_forward(X, W, b)
    return lambda: F.relu_(linear())


def linear_backward_input(dY: Any, W: Any, relu_output: Any = None) -> Callable[[], Any]:
    transposed = W.T.contiguous()
    if relu_output is None:
        return lambda: dY @ transposed
    relu_output = torch.from_numpy(relu_output)
    return lambda: torch.ops.aten.threshold_backward(dY @ transposed, relu_output, 0)


def linear_backward_weight(X: Any, dY: Any) -> Callable[[], Any]:
    return lambda: ((dY.T @ X).T, dY.sum(0))


def linear_backward_update(X: Any, dY: Any, W: Any, b: Any, lr: float, **_: Any) -> Callable[[], Any]:
    transposed = W.T.contiguous()

    def step() -> None:
        transposed.addmm_(dY.T, X, alpha=-lr)
        b.sub_(dY.sum(0), alpha=lr)

    return step


def softmax(Z: Any) -> Callable[[], Any]:
    return lambda: torch.softmax(Z, 1)


def softmax_cross_entropy(Z: Any, y: Any) -> Callable[[], Any]:
    rows = torch.arange(len(y))

    def step() -> Any:
        dZ = torch.log_softmax(Z, 1)
        loss = F.nll_loss(dZ, y, reduction="sum")
        dZ = dZ.exp_()
        dZ[rows, y] -= 1
        return loss, (Z.argmax(1) == y).sum(), dZ

    return step


def dropout(Z: Any, p: float, **_: Any) -> Callable[[], Any]:
    return lambda: F.dropout(Z, p)


def sgd_update(W: Any, dW: Any, lr: float) -> Callable[[], Any]:
    def step() -> None:
        W.sub_(dW, alpha=lr)

    return step


def momentum_update(W: Any, dW: Any, V: Any, lr: float, momentum: float = 0.9, **_: Any) -> Callable[[], Any]:
    def step() -> None:
        W.sub_(V.mul_(momentum).add_(dW), alpha=lr)

    return step


def adam_update(
    W: Any, dW: Any, M: Any, V: Any, t: int, lr: float, weight_decay: float = 0.0, decoupled: bool = False
) -> Callable[[], Any]:
    W = torch.nn.Parameter(W)
    W.grad = dW
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    optimizer = kind([W], lr=lr, weight_decay=weight_decay, fused=True)
    return lambda: optimizer.step()
