"""Compilation ahead of time (``warmup``), and what the cache of compiled kernels holds (``cache_info``)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import jit, reference, registry
from . import ops as public
from .activations import ACTIVATIONS
from .csr_matrix import CSR
from .losses import LOSSES
from .network import Network
from .sparse import BYTE_ROWS
from .update import Rule, sgd

_SHAPE = (64, 40, 24)  # samples, inputs, outputs
_SAMPLES, _CLASSES = 1024, 10
_WIDE = 2**16 + 1  # features: their indices take 32 bits
_STATES = ("state", "bias_state")
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
    known = {op.name: op for op in registry.OPS}
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
            calls += _op_calls(known[name], dtype, sparse, losses=[loss for _, loss, _ in networks], rules=rules)
    jit.compile_for(calls)


def _names(argument: str, given: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if name not in known:
            raise ValueError(f"{argument} has {name!r}; each must be one of {', '.join(known)}")
    return names


def _op_calls(
    op: Any, dtype: np.dtype, sparse: bool, losses: list[str], rules: tuple[Rule, ...]
) -> Iterator[Callable[[], Any]]:
    """Calls of an op with the arguments that it is tested with."""
    for args, options in op.cases(np.random.default_rng(0), _SHAPE, dtype):
        if isinstance(args[0], CSR) and not sparse:
            continue
        if op.name == "loss_gradient" and args[2] not in losses:
            continue
        if "rule" not in options:
            yield partial(op.fast, *args, **options)
        elif options["rule"] == sgd():
            for rule in rules:
                states = {name: np.zeros((rule.slots, *a.shape), dtype) for name, a in zip(_STATES, args[2:])}
                yield partial(op.fast, *args, **options | {"rule": rule, **states})


def _inputs(dtype: np.dtype, sparse: bool) -> Iterator[Any]:
    """Samples of each kind for which the first layer has separate code."""
    numbers = _numbers(dtype)
    yield from (numbers, numbers.astype(np.uint8))
    if sparse:
        wide = np.arange(0, _WIDE, _WIDE // _EVERY)
        yield from (reference.csr(numbers.astype(kind)) for kind in _kinds(dtype))
        for kind in _kinds(dtype):  # uint8 is also the type of dictionary-encoded floats
            yield CSR(
                np.arange(_SAMPLES + 1) * len(wide), np.tile(wide, _SAMPLES), np.ones(_SAMPLES * len(wide), kind),
                (_SAMPLES, _WIDE),
            )  # fmt: skip


def _numbers(dtype: np.dtype) -> np.ndarray:
    numbers = np.zeros((_SAMPLES, _SHAPE[1]), dtype)
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
    sizes = (X.shape[1], _SHAPE[2], _CLASSES)
    network = Network(sizes, dtype=dtype, slots=rule.slots, activation=activation, output=LOSSES[loss].output)
    y = registry.targets(np.random.default_rng(0), loss, X.shape[0], _CLASSES)
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
