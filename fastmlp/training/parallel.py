"""Data-parallel training on MPI. A ``World`` is one process alone, ``Ranks`` are several.

Each rank holds all parameters, draws the same batches from the same seed, and computes on its rows of each: of a batch
of n rows, rank r of N takes n // N, and one more where r < n % N, in the batch's order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InputError, Interrupted, RunError
from ..extras import to_install

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

_LAUNCHERS = (  # the variables in which each tells its processes how many there are, and which one it is
    ("PMI_SIZE", "PMI_RANK"),  # MPICH and its kin, srun with PMI 1 and 2
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),  # Open MPI
    ("SLURM_STEP_NUM_TASKS", "PMIX_RANK"),  # srun with PMIx
)
_GRACE = 3.0  # seconds that a rank with an error waits for the others to meet the same error
_FORWARD = 0.5  # seconds for the launcher to print a rank's last line: MPICH's drops unread output when it ends the job


class World:
    """One process alone."""

    rank, size = 0, 1
    threads: int | None = None  # by default, of each rank's kernels; None: as in one process

    def gather(self, value: T) -> list[T]:
        """Every rank's ``value``, on all ranks."""
        return [value]

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Raise an InputError or RunError of any rank on all ranks, so that none waits for one that has gone."""
        error = None
        try:
            yield
        except (InputError, RunError) as raised:
            error = raised
        for each in self.gather(error):
            if each is not None:
                raise each

    def share(self, rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """This rank's part of ``rows``, which are batches of ``lengths`` one after another."""
        return rows

    def train_steps(
        self, ops: ModuleType, X: Any, labels: np.ndarray, rows: np.ndarray, lengths: np.ndarray, network: Any, *,
        size: int, sync_every: int, **options: Any,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """``ops.mlp_train_steps`` for this rank's ``rows`` of batches with ``lengths`` [steps] rows.

        ``size`` is the batch size; an epoch's last batch may be smaller: taken for its own size, it would compile anew.
        """
        losses, correct = ops.mlp_train_steps(X, labels, rows, size, network, **options)
        return losses, correct


class Ranks(World):
    """The processes that mpiexec started."""

    def __init__(self, MPI: Any) -> None:
        self._comm, self._in_place = MPI.COMM_WORLD, MPI.IN_PLACE
        self.rank, self.size = self._comm.rank, self._comm.size
        self.threads = None if os.environ.get("FASTMLP_NUM_THREADS") else 1

    def gather(self, value: T) -> list[T]:
        return list(self._comm.allgather(value))

    def _add(self, array: np.ndarray) -> None:
        """Sum over the ranks, in place, to the same bits on all."""
        self._comm.Allreduce(self._in_place, array)

    def _own(self, lengths: np.ndarray) -> np.ndarray:
        return lengths // self.size + (self.rank < lengths % self.size)

    def _first(self, lengths: np.ndarray) -> np.ndarray:
        """The place in each batch where this rank's rows begin."""
        return self.rank * (lengths // self.size) + (lengths % self.size).clip(max=self.rank)

    def share(self, rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        import numpy as np  # here: not for --help

        starts = np.cumsum(lengths) - lengths + self._first(lengths)
        return np.concatenate([rows[a : a + n] for a, n in zip(starts, self._own(lengths))])

    def train_steps(
        self, ops: ModuleType, X: Any, labels: np.ndarray, rows: np.ndarray, lengths: np.ndarray, network: Any, *,
        size: int, sync_every: int, **options: Any,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """With ``sync_every`` 1, the steps of one process but for rounding: each step adds up the ranks' gradients.

        With ``sync_every`` K > 1 (local SGD, Stich 2019) each rank takes K steps on its own rows, with its own dropout
        masks; then parameters and optimizer state are averaged, weighted by rows. The state is averaged so that any
        number of ranks can go on from a checkpoint.
        """
        import numpy as np

        rule, lr, t, clip, mean, seed = map(options.pop, ("rule", "lr", "t", "clip", "mean", "seed"))
        sums = losses, correct = np.zeros((2, len(lr)))
        own, first = self._own(lengths), self._first(lengths)
        ends = np.concatenate([[0], np.cumsum(own)])
        gradient = np.empty_like(network.params)
        for step in range(0, len(lr), sync_every):
            stop = min(step + sync_every, len(lr))
            mine, n = rows[ends[step] : ends[stop]], int(lengths[step:stop].sum())
            taken = step + np.count_nonzero(own[step:stop])  # only an epoch's last batch is shorter than the others
            if sync_every > 1:
                if len(mine):
                    losses[step:taken], correct[step:taken] = ops.mlp_train_steps(
                        X, labels, mine, int(self._own(np.array(size))), network, rule=rule, lr=lr[step:taken],
                        t=t + step, clip=clip, mean=mean, seed=(seed + self.rank) % 2**32, **options,
                    )  # fmt: skip
                for array in (network.params, network.state):
                    array *= array.dtype.type(len(mine) / n)
                    self._add(array)
                continue
            if len(mine):
                losses[step], correct[step], _ = ops.mlp_gradient(
                    X, labels, mine, network, t=t + step, mean=False, seed=seed, first_row=int(first[step]),
                    out=gradient, **options,
                )  # fmt: skip
            else:
                gradient[...] = 0
            self._add(gradient)
            factor = 1 / n if mean else 1.0
            ops.mlp_update(network, gradient, rule=rule, lr=float(lr[step]), t=t + step, factor=factor, clip=clip)
        self._add(sums)
        return losses, correct


def _start_mpi(size: int) -> Any:
    """mpi4py.MPI. InputError unless it sees the ``size`` ranks that the launcher announced."""
    # Ctrl-C ends the process at once here: MPI waits for all ranks to start.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        MPI = import_module("mpi4py.MPI")
    except (ImportError, RuntimeError) as error:  # of mpi4py, or of the MPI library behind it
        raise InputError(f"{size} ranks need mpi4py; {to_install('mpi')} ({error})") from None
    finally:
        signal.signal(signal.SIGINT, before)
    if (seen := MPI.COMM_WORLD.size) != size:
        library = MPI.Get_library_version().partition(",")[0].splitlines()[0]
        raise InputError(f"{size} ranks were started, mpi4py sees {seen}; it needs the mpiexec of {library}")
    return MPI


def launched() -> tuple[int, int]:
    """(number of processes that a launcher started, number of this one)."""
    started = [(os.environ.get(size, ""), os.environ.get(rank, "")) for size, rank in _LAUNCHERS]
    return next(((int(a), int(b)) for a, b in started if a.isdigit() and b.isdigit()), (1, 0))


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """The world of this process; if a launcher started several, only rank 0 has a stdout and a stderr.

    An error common to all ranks passes through. An error of a single rank is printed and ends them all.
    """
    size, rank = launched()
    if size == 1:
        yield World()
        return
    stderr = sys.stderr
    if rank:
        # Open for as long as the process lives.
        sys.stdout = sys.stderr = open(os.devnull, "w", errors="backslashreplace")  # noqa: SIM115
    MPI = _start_mpi(size)
    leaving = MPI.COMM_WORLD.Dup()  # on which ranks with an error meet, whatever the others are waiting for
    try:
        yield Ranks(MPI)
    except BaseException as error:
        met, deadline = leaving.Ibarrier(), time.monotonic() + _GRACE
        while not met.Test():
            if time.monotonic() > deadline:
                print(f"fastmlp: rank {rank} of {size}: {error!r}", file=stderr, flush=True)
                time.sleep(_FORWARD)
                interrupted = isinstance(error, (KeyboardInterrupt, Interrupted))
                status = 130 if interrupted else 2 if isinstance(error, InputError) else 1
                MPI.COMM_WORLD.Abort(status)  # only asks the launcher to, under MPICH, and returns
                time.sleep(_GRACE)
                os._exit(status)
            time.sleep(0.01)
        raise
