"""Networks trained at once, each on its own thread and without the part of the rows that chooses its best epoch.

Legend: ``N`` rows, ``I`` inputs, ``H`` units of a hidden layer, ``O`` outputs, ``E`` epochs, ``S`` steps in each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..backend import Network, kernels
from ..data import Frame, Sparse
from ..threads import mapped
from .columns import Columns
from .recipe import Recipe

_FEWEST_A_TIME, _MOST_A_TIME = 512, 8192  # rows of a prediction in the hands of a thread
_FEWEST_FOLDS = 5  # of fewer networks not every fold is held out


@dataclass(frozen=True)
class Rows:
    """Samples X [N, I], dense, sparse or as kernels read them, targets as these take them, weights of mean 1 if any."""

    X: Any
    targets: np.ndarray
    weights: np.ndarray | None

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: np.ndarray) -> Rows:
        return Rows(self.X[rows], self.targets[rows], None if self.weights is None else self.weights[rows])


@dataclass(frozen=True)
class Member:
    """A trained network: its loss on the held-out rows after each epoch, and its outputs for them after the best."""

    network: Network
    losses: list[float]
    best_epoch: int  # from 1; 0: there was none with a finite loss
    held_out: np.ndarray
    train_losses: list[float]  # means over each epoch, while the weights were changing


def folds(targets: np.ndarray, networks: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows to train on, rows held out) of each fold, for so many networks; every row is held out in one fold.

    Folds have equally many rows, and of class indices equally many rows of each class, give or take one.
    """
    rows = len(targets)
    count = min(max(_FEWEST_FOLDS, networks), rows)
    order = np.random.default_rng(seed).permutation(rows)
    if targets.dtype.kind in "iu":
        order = order[np.argsort(targets[order], kind="stable")]
    fold = np.empty(rows, np.int64)
    fold[order] = np.arange(rows) % count
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(count)]


def mean_probabilities(Z: Sequence[np.ndarray]) -> np.ndarray:
    """The mean probabilities, float64 [N, classes], for the networks' outputs Z [N, classes]."""
    total = np.sum([kernels.softmax(each) for each in Z], axis=0, dtype=np.float64)
    return np.asarray(total / total.sum(1, keepdims=True))


def input_scale(X: np.ndarray | Sparse, width: int) -> float:
    """The factor for which the squares of a row of X sum to ``width`` on average."""
    numbers = X.data if isinstance(X, Sparse) else X
    return float((width / max(np.square(numbers, dtype=np.float64).sum() / len(X), 1e-6)) ** 0.5)


def outputs_of(networks: Sequence[Network], X: np.ndarray | Sparse, scale: float) -> list[np.ndarray]:
    """The outputs of each network for scale * X."""
    read = kernels.csr(X) if isinstance(X, Sparse) else X
    return [kernels.mlp_forward(read, network, scale=scale) for network in networks]


_between: WeakKeyDictionary[Network, tuple[np.ndarray, Network]] = WeakKeyDictionary()
"""For each network its parameters, to notice changes, and the network that ``_between_edges`` made of it."""


def _between_edges(columns: Columns, networks: Sequence[Network]) -> tuple[Columns, Sequence[Network]]:
    """(columns with fewer entries a row, networks with first layers for them): see ``Columns.between_edges``."""
    if columns.between_edges is None:
        return columns, networks
    columns, inputs = columns.between_edges
    known = (network in _between and np.array_equal(_between[network][0], network.params) for network in networks)
    if new := [network for network, is_known in zip(networks, known) if not is_known]:
        sizes, activation, output = new[0].sizes, new[0].activation, new[0].output
        read = kernels.csr(inputs)
        first = Network(sizes[:2], bias=False, activation=activation)  # of kernels that are compiled anyway
        for network in new:
            made = Network((len(inputs), *sizes[1:]), activation=activation, output=output)
            (_, b), (sums, biases) = network.layers[0], made.layers[0]
            first.params = network.params[: first.params.size]
            kernels.mlp_forward(read, first, out=sums)
            biases[...] = b  # type: ignore[index]
            made.params[made.offsets[1] :] = network.params[network.offsets[1] :]
            _between[network] = network.params.copy(), made
    return columns, [_between[network][1] for network in networks]


def outputs_by_rows(
    columns: Columns, networks: Sequence[Network], table: Frame, scale: float
) -> Iterator[list[np.ndarray]]:
    """The outputs of each network for blocks of the table's rows, in order; threads share the blocks."""
    table = columns.with_dates(table)
    columns, networks = _between_edges(columns, networks)
    rows, threads = len(table), kernels.get_num_threads()
    each = min(max(-(-rows // threads), _FEWEST_A_TIME), _MOST_A_TIME)
    parts = [slice(start, start + each) for start in range(0, max(rows, 1), each)]

    def of_rows(rows: slice) -> list[np.ndarray]:
        with kernels.threads(threads if len(parts) == 1 else 1):
            part = table[rows]
            return outputs_of(networks, columns.matrix(columns.entries(part), len(part)), scale)

    if len(parts) == 1:
        yield of_rows(parts[0])
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from mapped(pool, of_rows, parts)


def train(
    recipe: Recipe, scale: float, data: Rows, parts: list[tuple[np.ndarray, Rows]], seeds: list[int], *,
    epoch_ended: Callable[[int, int, float], None] = lambda network, epoch, loss: None,
    network_ended: Callable[[int, Member], None] = lambda network, member: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[Member]:  # fmt: skip
    """Train a network on scale * X for each part: (numbers of the rows of ``data`` to train on, rows held out).

    One thread trains a network, or several if there are fewer networks than threads; the bits do not depend on it. Each
    thread calls ``epoch_ended`` (network, epoch, loss) and asks ``stop`` after an epoch, and calls ``network_ended`` at
    the end; networks count from 0. Ctrl-C and ``stop`` end all networks, unfinished ones without ``network_ended``.
    """
    if isinstance(data.X, Sparse):
        data = replace(data, X=kernels.csr(data.X).dictionary_encode())
    stopped, cores = threading.Event(), kernels.get_num_threads()

    def stops() -> bool:
        if stop():
            stopped.set()
        return stopped.is_set()

    def member(k: int) -> Member:
        try:
            with kernels.threads(max(1, cores // len(parts))):
                made = _train_one(recipe, scale, data, *parts[k], seeds[k], stops, partial(epoch_ended, k))
            if not stopped.is_set():
                network_ended(k, made)
            return made
        except BaseException:
            stopped.set()
            raise

    with ThreadPoolExecutor(min(cores, len(parts))) as pool:
        try:
            return list(pool.map(member, range(len(parts))))
        except BaseException as error:  # Ctrl-C
            stopped.set()
            if not (isinstance(error, RuntimeError) and "start new thread" in str(error)):
                raise
    stopped.clear()  # no more threads are allowed: what few have begun has ended, and all is done on this one
    return [*map(member, range(len(parts)))]


def _train_one(
    recipe: Recipe, scale: float, data: Rows, rows: np.ndarray, held_out: Rows, seed: int,
    stopped: Callable[[], bool], epoch_ended: Callable[[int, float], None],
) -> Member:  # fmt: skip
    """Train until the epochs since the best one outnumber the epochs up to it by a first cycle.

    A mean of the weights after each epoch, in which the last weigh half, is tested and kept (Izmailov and others 2018
    average such weights): it is best while the rate is high, before rows are learnt by heart.
    """
    rng = np.random.default_rng(seed)
    batch, steps = recipe.batch(len(rows)), recipe.steps(len(rows))
    rule, rates = recipe.rule(batch), recipe.rates(steps)
    network, mean, best = (recipe.network(data.X.shape[1], slots) for slots in (rule.slots, 0, 0))
    recipe.draw_weights(network, rng)
    tested = kernels.csr(held_out.X) if isinstance(held_out.X, Sparse) else held_out.X
    losses: list[float] = []
    train_losses: list[float] = []
    best_epoch, best_loss, outputs_then = 0, np.inf, np.empty((0, recipe.outputs))
    for epoch in range(recipe.epochs):
        step_losses, _ = kernels.mlp_train_steps(
            data.X, data.targets, rows[rng.permutation(len(rows))], batch, network, rule=rule,
            lr=rates[epoch * steps : (epoch + 1) * steps], t=1 + epoch * steps, scale=scale, loss=recipe.loss,
            sample_weight=data.weights, dropout=recipe.dropout, seed=seed,
        )  # fmt: skip
        mean.params[...] = (mean.params + network.params) / 2 if epoch else network.params
        Z = kernels.mlp_forward(tested, mean, scale=scale)
        total, _, _ = kernels.loss_gradient(Z, held_out.targets, recipe.loss, sample_weight=held_out.weights)
        losses.append(float(total / (len(held_out) if held_out.weights is None else held_out.weights.sum())))
        train_losses.append(float(step_losses.sum() / len(rows)))
        if losses[-1] < best_loss:
            best.params[...], best_epoch, best_loss, outputs_then = mean.params, epoch + 1, losses[-1], Z
        epoch_ended(epoch + 1, losses[-1])
        if stopped() or not np.isfinite(losses[-1]) or epoch + 1 >= 2 * best_epoch + recipe.cycles[0]:
            break
    return Member(best, losses, best_epoch, outputs_then, train_losses)
