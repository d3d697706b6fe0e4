"""Compilation ahead of time (``warmup``), and what the cache of compiled kernels holds (``cache_info``)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import jit, reference
from . import ops as public
from .activations import ACTIVATIONS
from .csr_matrix import CSR
from .losses import LOSSES
from .network import Network
from .sparse import BYTE_ROWS
from .update import Rule, sgd

_INPUTS, _HIDDEN, _OUTPUTS = 40, 24, 10
_FEW, _MANY = 64, 1024  # samples
_WIDE = 2**16 + 1  # features: their indices take 32 bits
_EVERY = 8  # every eighth feature of a sparse sample is not zero


def warmup(
    ops: str | Iterable[str] | None = None,
    *,
    dtypes: str | Iterable[npt.DTypeLike] = ("float32",),
    sparse: bool = True,
    large_batches: bool = False,
    activations: Iterable[str] = ("relu",),
    losses: Iterable[str] = ("softmax_cross_entropy",),
    rules: Iterable[Rule] = (sgd(),),
) -> None:
    """Compile the kernels that these ops need into the cache, or load them: with as many processes as there are cores.

    ``ops`` are names of public functions (default: all). Each is compiled for weights of each of ``dtypes`` and for X
    of that dtype, of uint8 and, if ``sparse``, CSR of both. Ops on networks are compiled for CSR of more than 65,536
    columns, too, and for every combination of ``activations``, ``losses`` (names in ``kernels.ACTIVATIONS`` and
    ``kernels.LOSSES``) and ``rules`` (as ``kernels.adam()``; its constants do not matter); ``large_batches`` adds steps
    of more than 256 rows, which have kernels of their own for CSR. Call it where a container image is built, or before
    a server forks. Raises ValueError for unknown names, TypeError for dtypes other than float32 and float64 and for an
    object that is not a rule.
    """
    known = [name for name in public.__all__ if name != "csr"]
    chosen = tuple(known) if ops is None else _names("ops", ops, known)
    reals = [np.dtype(each) for each in (dtypes if np.iterable(dtypes) and not isinstance(dtypes, str) else (dtypes,))]
    for each in reals:
        if each not in (np.float32, np.float64):
            raise TypeError(f"dtypes has {each}; each must be float32 or float64")
    steps = (BYTE_ROWS, BYTE_ROWS + 1)[: 1 + large_batches]
    rules = (rules,) if isinstance(rules, Rule) else tuple(rules)
    for rule in rules:
        if not isinstance(rule, Rule):
            raise TypeError(f"rules has {rule!r}; each must be a rule, as kernels.adam()")
    networks = tuple(
        itertools.product(_names("activations", activations, ACTIVATIONS), _names("losses", losses, LOSSES), rules)
    )
    calls: list[Callable[[], Any]] = []
    if sparse and any(name.startswith("mlp_") for name in chosen):
        calls += [call for dtype in reals for call in _sparse_conversions(dtype)]
    for name, dtype in itertools.product(chosen, reals):
        if name.startswith("mlp_"):
            for X, kind in itertools.product(_inputs(dtype, sparse), networks):
                calls += _network_calls(name, X, dtype, steps, *kind)
        else:
            calls += _calls_on_arrays(dtype, sparse, {loss for _, loss, _ in networks}, rules)[name]
    jit.compile_for(calls)


def _names(argument: str, given: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if name not in known:
            raise ValueError(f"{argument} has {name!r}; each must be one of {', '.join(known)}")
    return names


def _calls_on_arrays(
    dtype: np.dtype, sparse: bool, losses: Iterable[str], rules: tuple[Rule, ...]
) -> dict[str, list[Callable[[], Any]]]:
    """For each op that takes no network, a call with each combination of types for which it has kernels."""
    numbers, kinds = _numbers(dtype)[:_FEW], ("uint8", dtype)
    samples: list[Any] = [numbers.astype(kind) for kind in kinds]
    samples += [reference.csr(numbers.astype(kind)) for kind in kinds if sparse]
    Z, b, images = np.zeros((_FEW, _OUTPUTS), dtype), np.zeros(_OUTPUTS, dtype), np.zeros((4, 28 * 28), np.uint8)
    W, dW, M, V = np.zeros((4, _INPUTS, _OUTPUTS), dtype)

    def update(X: Any, rule: Rule) -> Callable[[], Any]:
        state, bias_state = (np.zeros((rule.slots, *each.shape), dtype) for each in (W, b))
        options: dict[str, Any] = {"rule": rule, "lr": 0.0, "state": state, "bias_state": bias_state}
        return partial(public.linear_backward_update, X, Z, W, b, **options)

    return {
        "linear_forward": [partial(public.linear_forward, X, W, b) for X in samples],
        "linear_relu_forward": [partial(public.linear_relu_forward, X, W, b) for X in samples],
        "linear_backward_input": [partial(public.linear_backward_input, Z, W)],
        "linear_backward_weight": [partial(public.linear_backward_weight, X, Z) for X in samples],
        "linear_backward_update": [update(X, rule) for X, rule in itertools.product(samples, rules)],
        "softmax": [partial(public.softmax, Z)],
        "softmax_cross_entropy": [partial(public.softmax_cross_entropy, Z, np.zeros(_FEW, int))],
        "loss_gradient": [partial(public.loss_gradient, Z, _targets(loss, _FEW), loss) for loss in losses],
        "dropout": [partial(public.dropout, Z, 0.5, seed=0)],
        "distort": [partial(public.distort, images, range(4), (28, 28), seed=0)],
        "sgd_update": [partial(public.sgd_update, W, dW, 0.0)],
        "momentum_update": [partial(public.momentum_update, W, dW, V, 0.0, nesterov=each) for each in (False, True)],
        "adam_update": [partial(public.adam_update, W, dW, M, V, 1, 0.0, decoupled=each) for each in (False, True)],
    }


def _targets(loss: str, samples: int) -> np.ndarray:
    """Targets that the loss takes: classes, or ones, which are labels, numbers and positive numbers."""
    return np.zeros(samples, int) if LOSSES[loss].output == "softmax" else np.ones((samples, _OUTPUTS), int)


def _inputs(dtype: np.dtype, sparse: bool) -> Iterator[Any]:
    """Samples of each kind for which the first layer has separate code."""
    numbers = _numbers(dtype)
    yield from (numbers, numbers.astype(np.uint8))
    if sparse:
        wide = np.arange(0, _WIDE, _WIDE // _EVERY)
        yield from (reference.csr(numbers.astype(kind)) for kind in _kinds(dtype))
        for kind in _kinds(dtype):  # uint8 is also the type of dictionary-encoded floats
            yield CSR(
                np.arange(_MANY + 1) * len(wide), np.tile(wide, _MANY), np.ones(_MANY * len(wide), kind),
                (_MANY, _WIDE),
            )  # fmt: skip


def _numbers(dtype: np.dtype) -> np.ndarray:
    numbers = np.zeros((_MANY, _INPUTS), dtype)
    numbers[:, ::_EVERY] = 1
    return numbers


def _kinds(dtype: np.dtype) -> list[str]:
    """The dtypes that the values of sparse samples may have for a network of this dtype."""
    return list(dict.fromkeys(("uint8", "float32", dtype.name)))


def _sparse_conversions(dtype: np.dtype) -> Iterator[Callable[[], Any]]:
    """Calls that make sparse samples."""
    for kind in _kinds(dtype):
        numbers = _numbers(dtype).astype(kind)
        yield partial(public.csr, numbers)
        yield reference.csr(numbers).dictionary_encode


def _network_calls(
    name: str, X: Any, dtype: np.dtype, batches: tuple[int, ...], activation: str, loss: str, rule: Rule
) -> Iterator[Callable[[], Any]]:
    """Calls of an op on networks with X."""
    sizes = (X.shape[1], _HIDDEN, _OUTPUTS)
    network = Network(sizes, dtype=dtype, slots=rule.slots, activation=activation, output=LOSSES[loss].output)
    y = _targets(loss, X.shape[0])
    # So small a network is computed in blocks of samples, but not with dropout, nor for a single row, nor from CSR.
    dense = isinstance(X, np.ndarray)
    if name == "mlp_forward":
        yield partial(public.mlp_forward, X, network)
        if dense:
            yield partial(public.mlp_forward, X[:1], network)
        return
    if name == "mlp_update":
        yield partial(public.mlp_update, network, np.zeros_like(network.params), rule=rule, lr=0.0, clip=1.0)
        return
    for batch, dropout in itertools.product(batches, (0.0, 0.5) if dense else (0.0,)):
        rows = np.arange(batch)
        if name == "mlp_gradient":
            yield partial(public.mlp_gradient, X, y, rows, network, loss=loss, dropout=dropout)
        else:
            average = network.params.copy()
            options: dict[str, Any] = {"rule": rule, "lr": np.zeros(1), "loss": loss, "dropout": dropout}
            yield partial(public.mlp_train_steps, X, y, rows, batch, network, average=average, **options)


class CacheInfo(NamedTuple):
    """The cache of compiled kernels: its folder (None: no cache), and how many files, bytes and kernels it holds.

    A kernel has one file for each combination of argument types that it was called with.
    """

    folder: Path | None
    files: int
    bytes: int
    kernels: int


def cache_info() -> CacheInfo:
    """The cached kernels of this version, CPU and settings: see ``CacheInfo``. ``$FASTMLP_CACHE`` sets the folder."""
    folder = jit.store().directory
    files = [] if folder is None else list(folder.glob("*.kernel"))
    names = {path.stem.rpartition("-")[0] for path in files}
    return CacheInfo(folder, len(files), sum(path.stat().st_size for path in files), len(names))
