"""Every op with its twin and cases: tests and benchmarks enumerate ``OPS``, so a new line here is tested.

Legend: a shape is (B, I, O): batch rows, inputs, outputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels import ACTIVATIONS, CSR, LOSSES, Network, Rule, custom_loss, momentum, ops, reference, sgd
from kernels import RULES as MAKERS
from kernels.losses import CrossEntropy
from kernels.sparse import BYTE_ROWS

Shape = tuple[int, int, int]
Case = tuple[tuple[Any, ...], dict[str, Any]]
Cases = Callable[[np.random.Generator, Shape, np.dtype], Iterator[Case]]


@dataclass(frozen=True)
class Op:
    """``cases`` yields (args, kwargs) for a shape and dtype; ``flop`` the work of the first case.

    ``writes`` are the positions of arguments that are updated in place.
    """

    name: str
    cases: Cases
    flop: Callable[[Shape], int]
    writes: tuple[int, ...] = ()

    @property
    def fast(self) -> Callable[..., Any]:
        return getattr(ops, self.name)

    @property
    def twin(self) -> Callable[..., Any]:
        return getattr(reference, self.name)


RULES: tuple[Rule, ...] = (
    sgd(),
    momentum(),
    momentum(0.8, nesterov=True, weight_decay=0.01),
    *(make(weight_decay=0.01) for make in MAKERS.values()),
)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return rng.standard_normal(shape).astype(dtype)


def _inputs(rng: np.random.Generator, B: int, I: int, dtype: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """X as floats, as pixels, and as CSR, with the scale that goes with it."""
    yield _normal(rng, (B, I), dtype), {}
    pixels = rng.integers(0, 256, (B, I)).astype(np.uint8)
    yield pixels, {"scale": 1 / 255}
    mostly_zero = np.where(rng.random((B, I)) < 0.2, pixels, 0).astype(np.uint8)
    yield reference.csr(mostly_zero), {"scale": 1 / 255}
    yield reference.csr(np.where(mostly_zero, _normal(rng, (B, I), dtype), 0).astype(dtype)), {}


def _forward(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[Case]:
    B, I, O = shape
    W, b = _normal(rng, (I, O), dtype), _normal(rng, (O,), dtype)
    for X, scale in _inputs(rng, B, I, dtype):
        yield (X, W, b), scale
        yield (X, W), scale


def _backward_input(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[Case]:
    B, I, O = shape
    dY, W = _normal(rng, (B, O), dtype), _normal(rng, (I, O), dtype)
    yield (dY, W), {"relu_output": np.maximum(_normal(rng, (B, I), dtype), 0)}
    yield (dY, W), {}


def _backward_weight(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[Case]:
    B, I, O = shape
    dY = _normal(rng, (B, O), dtype)
    for X, scale in _inputs(rng, B, I, dtype):
        yield (X, dY), scale


def _backward_update(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[Case]:
    """sgd with every kind of X; each other rule with half of the kinds in one dtype, and with the rest in the other.

    Beyond BYTE_ROWS rows of sparse bytes, which have kernels of their own, there is sgd alone.
    """
    (all_rows, I, O), names = shape, list(dict.fromkeys(rule.name for rule in RULES))
    for rule in RULES:
        B = all_rows if rule.name == "sgd" else min(all_rows, BYTE_ROWS)
        inputs = list(_inputs(rng, B, I, dtype))
        if rule.name != "sgd":
            inputs = inputs[(names.index(rule.name) + (np.dtype(dtype) == np.float64)) % 2 :: 2]
        for X, scale in inputs:
            dY, W, b = _normal(rng, (B, O), dtype), _normal(rng, (I, O), dtype), _normal(rng, (O,), dtype)
            states = {
                name: abs(_normal(rng, (rule.slots, *a.shape), dtype)) for name, a in (("state", W), ("bias_state", b))
            }
            yield (X, dY, W, b), {"rule": rule, "lr": 0.1, "t": 3, **states, **scale}


def _logits(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[Case]:
    B, _, O = shape
    yield (10 * _normal(rng, (B, O), dtype),), {}


def _labelled(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[Case]:
    B, _, O = shape
    for options in ({}, {"epsilon": 1e-10}, {"label_smoothing": 0.1}, {"sample_weight": rng.random(B)}):
        yield (10 * _normal(rng, (B, O), dtype), rng.integers(0, O, B)), options


def _ordered(z: np.ndarray, y: np.ndarray, dz: np.ndarray) -> float:
    """A loss that couples the outputs: half the sum of (z[k] - z[k - 1] - y[0])^2."""
    loss = 0.0
    dz[:] = 0
    for k in range(1, z.size):
        d = z[k] - z[k - 1] - y[0]
        loss += 0.5 * d * d
        dz[k] += d
        dz[k - 1] -= d
    return loss


def _compared(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[Case]:
    B, _, O = shape
    made = (LOSSES["huber"](0.3), LOSSES["quantile"]((0.1, 0.5, 0.9)), LOSSES["focal"](0.5))
    custom = custom_loss(_ordered, width=1)
    yield (_normal(rng, (B, O), dtype), _normal(rng, (B,), dtype), custom), {"sample_weight": rng.random(B)}
    for loss in (*LOSSES, *made):
        name, each = (loss, 1) if isinstance(loss, str) else (loss.name, getattr(loss, "each", 1))
        for options in ({}, {"sample_weight": rng.random(B)}):
            yield (2 * _normal(rng, (B, each * O), dtype), targets(rng, name, B, O), loss), options


def _dropped(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[Case]:
    B, _, O = shape
    for p in (0.5, 0.0):
        yield (_normal(rng, (B, O), dtype), p), {"seed": int(rng.integers(2**32))}


def _distorted(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[Case]:
    B, h, w = (min(side, 40) for side in shape)
    images = rng.integers(0, 256, (B, h * w)).astype(np.uint8)
    affine = {"rotation": 0.3, "scale": 0.2, "shear": 0.1, "shift": 2.0}
    for options in ({**affine, "elastic": 34.0}, affine, {"elastic": 20.0, "sigma": 2.0, "fill": 200}, {}):
        yield (images, rng.integers(0, B, 2 * B), (h, w)), {"seed": int(rng.integers(2**32)), "epoch": 3, **options}


def _sgd(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[Case]:
    W, dW = _normal(rng, shape[1:], dtype), _normal(rng, shape[1:], dtype)
    yield (W, dW, 0.1), {}
    yield (W, dW, 0.1), {"weight_decay": 0.01}


def _momentum(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[Case]:
    for nesterov in (False, True):
        yield (*(_normal(rng, shape[1:], dtype) for _ in range(3)), 0.1), {"nesterov": nesterov}


def _adam(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[Case]:
    for decoupled in (False, True):
        W, dW, M, V = (_normal(rng, shape[1:], dtype) for _ in range(4))
        yield (W, dW, M, abs(V), 3, 0.1), {"weight_decay": 0.01, "decoupled": decoupled}


def _network(
    rng: np.random.Generator, sizes: tuple[int, ...], bias: bool, dtype: Any, slots: int, activation: str | list[str],
    output: str,
) -> Network:  # fmt: skip
    network = Network(sizes, bias=bias, dtype=dtype, slots=slots, activation=activation, output=output)
    network.layer_rates[...] = rng.choice([0.5, 1, 2], len(network.layers))
    for W, b in network.layers:
        W[...] = rng.standard_normal(W.shape) * (2 / len(W)) ** 0.5
        if b is not None:
            b[...] = 0.1 * rng.standard_normal(b.shape)
    return network


def _functions() -> list[tuple[Rule, str, str]]:
    """(rule, activation, loss): every rule with one activation and loss, then every activation and loss with one rule.

    These are as few triples as possible: kernels are compiled for each. Updates do not depend on activation and loss.
    """
    others = itertools.zip_longest(ACTIVATIONS, LOSSES)
    return [
        *((rule, "relu", "softmax_cross_entropy") for rule in RULES),
        *((sgd(), activation or "tanh", loss or "squared_error") for activation, loss in others),
    ]


def _networks(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[tuple[Any, Network, Rule, str]]:
    B, I, O = shape
    pixels = rng.integers(0, 256, (B, I)).astype(np.uint8)
    mostly_zero = np.where(rng.random((B, I)) < 0.2, pixels, 0).astype(np.uint8)
    sparse = reference.csr(mostly_zero)
    triples = _functions()
    for k, (rule, activation, loss) in enumerate(triples):  # the last one mixes two activations in the deepest network
        inputs: tuple[Any, ...] = (pixels, sparse)
        if k >= len(RULES):  # rules are tested in both dtypes, dense and sparse; activations and losses in one of each
            if np.dtype(dtype) != np.float64:
                continue
            inputs = inputs[k % 2 :][:1]
        for sizes in ((I, O, 10), (I, 3), (I, 17, O, 5)):
            for X in inputs:
                mixed = (
                    [next(iter(ACTIVATIONS)), activation] if k == len(triples) - 1 and len(sizes) == 4 else activation
                )
                network = _network(rng, sizes, k % 2 == 0, dtype, rule.slots, mixed, LOSSES[loss].output)
                yield X, network, rule, loss


def targets(rng: np.random.Generator, loss: str, samples: int, outputs: int) -> np.ndarray:
    """Random targets of the kind that the loss takes."""
    if LOSSES[loss].output == "softmax":
        return rng.integers(0, outputs, samples)
    if LOSSES[loss].output == "logistic":
        return rng.integers(0, 2, (samples, outputs))
    if LOSSES[loss].output == "exponential":
        return rng.integers(1, 9, (samples, outputs))
    return rng.standard_normal((samples, outputs))


def _mlp_forward(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[Case]:
    for X, network, *_ in _networks(rng, shape, dtype):
        yield (X, network), {"scale": 1 / 255}
    yield (_normal(rng, X.shape, dtype), network), {}


def _objectives(rng: np.random.Generator, samples: int) -> Iterator[dict[str, Any]]:
    """Options of a step's objective, in rotation."""
    while True:
        yield {}
        yield {"label_smoothing": 0.1, "dropout": 0.3, "seed": 7}
        yield {"sample_weight": rng.random(samples), "mean": False}


def options_of(loss: str, objective: dict[str, Any]) -> dict[str, Any]:
    """The options of a step on pixels, with smoothing only for a loss of labels."""
    options = {"scale": 1 / 255, "loss": loss, **objective}
    if not issubclass(LOSSES[loss], CrossEntropy):
        options.pop("label_smoothing", None)
    return options


def _mlp_train_steps(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[Case]:
    objectives = _objectives(rng, shape[0])
    for k, (X, network, rule, loss) in enumerate(_networks(rng, shape, dtype)):
        samples = X.shape[0]
        labels = targets(rng, loss, samples, network.sizes[-1])
        rows = rng.permutation(samples)
        batch = -(-2 * samples // 9)  # up to five steps, the last one short
        options = options_of(loss, next(objectives)) | ({"clip": 0.5} if k % 5 == 4 else {})
        rate = 0.001 if network.output == "exponential" else 0.01  # such outputs would soon overflow
        rate /= 1 if options.get("mean", True) else batch
        lr = np.full(-(-samples // batch), rate)
        if k % 3:
            options |= {"average": network.params.copy(), "average_decay": (None, 0.9)[k % 3 - 1], "t": 3}
        yield (X, labels, rows, batch, network), {"rule": rule, "lr": lr, **options}


def _mlp_gradient(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[Case]:
    """Of sparse bytes, which have kernels of their own beyond BYTE_ROWS rows, all rows with one loss alone."""
    for (X, network, _, loss), objective in zip(_networks(rng, shape, dtype), _objectives(rng, shape[0])):
        labels, rows = targets(rng, loss, shape[0], network.sizes[-1]), rng.permutation(shape[0])
        if isinstance(X, CSR) and loss != "softmax_cross_entropy":
            rows = rows[:BYTE_ROWS]
        yield (X, labels, rows, network), options_of(loss, objective) | {"first_row": 2**32 - 3}


def _mlp_update(rng: np.random.Generator, shape: Shape, dtype: Any) -> Iterator[Case]:
    for k, (_, network, rule, _) in enumerate(_networks(rng, shape, dtype)):
        network.state[...] = abs(_normal(rng, network.state.shape, dtype))
        gradient = _normal(rng, network.params.shape, dtype)
        yield (network, gradient), {"rule": rule, "lr": 0.1, "t": 3, "factor": 0.5, "clip": 0.5 if k % 2 else None}


def _product(shape: Shape) -> int:
    return 2 * shape[0] * shape[1] * shape[2]


OPS: tuple[Op, ...] = (
    Op("linear_forward", _forward, _product),
    Op("linear_relu_forward", _forward, _product),
    Op("linear_backward_input", _backward_input, _product),
    Op("linear_backward_weight", _backward_weight, _product),
    Op("linear_backward_update", _backward_update, _product, writes=(2, 3)),
    Op("softmax", _logits, lambda shape: 5 * shape[0] * shape[2]),
    Op("softmax_cross_entropy", _labelled, lambda shape: 6 * shape[0] * shape[2]),
    Op("loss_gradient", _compared, lambda shape: 6 * shape[0] * shape[2]),
    Op("dropout", _dropped, lambda shape: 10 * shape[0] * shape[2]),
    Op("distort", _distorted, lambda shape: 100 * shape[0] * shape[1] * shape[2]),
    Op("sgd_update", _sgd, lambda shape: 2 * shape[1] * shape[2], writes=(0,)),
    Op("momentum_update", _momentum, lambda shape: 4 * shape[1] * shape[2], writes=(0, 2)),
    Op("adam_update", _adam, lambda shape: 12 * shape[1] * shape[2], writes=(0, 2, 3)),
    Op("mlp_forward", _mlp_forward, lambda shape: 2 * shape[0] * (shape[1] * shape[2] + 10 * shape[2])),
    Op("mlp_train_steps", _mlp_train_steps, lambda shape: 2 * shape[0] * (2 * shape[1] + 30) * shape[2], writes=(4,)),
    Op("mlp_gradient", _mlp_gradient, lambda shape: 2 * shape[0] * (2 * shape[1] + 30) * shape[2]),
    Op("mlp_update", _mlp_update, lambda shape: 2 * (shape[1] + 10) * shape[2], writes=(0,)),
)
