"""What a training step should take: work counted as the kernels split it, over rates that were measured one by one.

``Rates`` are a machine's, each measured by itself. Of the steps measured, those of one curve on one thread give one number,
``Machine.whole``; all others are held out. float32, SGD. Each phase says what it counts: seconds by term, of the slowest part.

Legend: ``n`` rows in a batch, ``parts`` threads, ``I``, ``O`` a layer's inputs and outputs; a *panel* is 64 hidden units, 256
bytes of a row of the first layer's weights; an *entry* is a non-zero of the input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kernels import tuning

PANEL = 64
ROW_BYTES = 4 * PANEL  # of a panel
PRIVATE_BYTES = 1 << 20  # of L2, a core: what is smaller stays with its core, what is larger is shared


@dataclass(frozen=True)
class Step:
    """A step of a network of ``sizes`` on ``batch`` rows with ``entries`` non-zeros each; dense where that is None."""

    sizes: tuple[int, ...]
    batch: int
    entries: float | None = None
    per_call: int = 100  # steps a call, which packs the first layer's weights and back

    @property
    def layers(self) -> list[tuple[int, int]]:
        return list(zip(self.sizes, self.sizes[1:]))

    @property
    def dense_layers(self) -> list[tuple[int, int]]:
        return self.layers[self.entries is not None :]

    def parts(self, threads: int) -> int:
        """Threads that take part: one where the step is small (``run_train_steps``)."""
        flop = sum(6 * I * O for I, O in self.layers) - 2 * self.sizes[0] * self.sizes[1]
        return 1 if self.batch * flop <= tuning.SERIAL_FLOP else threads


Curve = tuple[tuple[float, float], ...]  # (bytes in use, rate)


@dataclass(frozen=True)
class Rates:
    """What a core does, and what cores cost each other."""

    tile_gflops: float  # products, operands in L2
    pack_ns: float  # an element of W, transposed and packed for a product
    gather_ns: Curve  # an entry times a panel: a row of 256 bytes from somewhere in so many
    far_ns: Curve  # the same where W lies unpacked and is asked for ahead
    visit_ns: float  # a row of the batch in a panel: loop, sums loaded and stored
    turn_ns: float  # a column of a panel: loop, weights read and written
    stream_gbs: Curve  # read and written in turn
    transpose_ns: float  # an entry, counted and sorted to its column
    column_ns: float  # a column, whatever it holds: counter cleared and summed
    scan_ns: float  # a column, looked at for entries of one part
    softmax_ns: float  # an element of the logits: softmax, loss, gradient
    meeting_us: float  # two threads wait for each other
    handover_gbs: float  # a core reads what another has just written
    memory_gbs: float  # all cores measured, together
    cores: int  # so many


@dataclass(frozen=True)
class Machine:
    """Cores like those measured. ``rates`` and ``whole`` are measured; the rest is assumed, for more cores than those.

    Hops are what a cache line takes from core to core: medians within a group of 8 that share an L3, across groups and across
    sockets of an EPYC 7R13 (github.com/nviennot/core-to-core-latency; AnandTech on Zen 4: 15 to 19 and 80 ns). All threads
    count themselves in on one line, so that a meeting takes a hop more with each (``meeting`` 1); less if arrivals overlapped
    (0: the logarithm), more if readers that spin take the line away in between (3).
    """

    rates: Rates
    whole: float = 1.0  # a step over the sum of its pieces, on one thread
    hops_ns: tuple[float, float, float] = (23.0, 107.0, 197.0)
    group: int = 8
    socket: int = 64
    socket_gbs: float = 0.75 * 460.8  # of 12 channels of DDR5-4800
    meeting: float = 1.0
    far_handover: float = 107 / 23  # times as slow from another group: as many lines under way, each as much later
    clock: float = 1.0  # of a core when all work

    def meeting_seconds(self, parts: int) -> float:
        first = 1e-6 * self.rates.meeting_us
        if parts == 1 or self.meeting == 0:
            return first * math.log2(parts)
        ends = 2, self.group, self.socket, max(parts, self.socket)
        hops = sum(max(min(parts, b) - a, 0) * hop for a, b, hop in zip(ends, ends[1:], self.hops_ns))
        return first + 1e-9 * self.meeting * hops

    def memory(self, parts: int) -> float:
        """GB/s of memory, for all parts together."""
        return self.rates.memory_gbs if parts <= self.rates.cores else self.socket_gbs * math.ceil(parts / self.socket)

    def stream(self, moved: float, size: float, parts: int) -> float:
        """Seconds for a part's ``moved`` bytes, read and written, out of ``size`` that all parts use together."""
        if size <= PRIVATE_BYTES * parts:
            return 1e-9 * moved / _at(self.rates.stream_gbs, size / parts)
        rate = _at(self.rates.stream_gbs, size / math.ceil(parts / self.group))
        if rate < 2 * self.rates.stream_gbs[-1][1]:  # from memory, which all share
            rate = min(rate, self.memory(parts) / parts)
        return 1e-9 * moved / rate

    def gather(self, size: float, packed: bool, parts: int) -> float:
        """Seconds for an entry times a panel whose rows are anywhere in ``size`` bytes."""
        shared = 0.0 if packed or parts <= self.rates.cores else ROW_BYTES * parts / self.memory(parts)
        return 1e-9 * max(_at(self.rates.gather_ns if packed else self.rates.far_ns, size), shared)

    def handover(self, own: float, common: float, parts: int) -> float:
        """Seconds for ``own`` bytes that one part reads, and ``common`` that all read; each part has written as many.

        From another group what is common comes once, and goes on from there.
        """
        near = min(parts, self.group) / parts
        far = (1 - near) * self.far_handover
        moved = own * (near - 1 / parts + far) + common * (1 - 1 / parts + far / self.group)
        return 1e-9 * moved / self.rates.handover_gbs


def _at(curve: Curve, size: float) -> float:
    """Between the sizes measured: on straight lines over the logarithm of the size."""
    x, y = zip(*curve)
    return float(np.interp(math.log(max(size, 1)), np.log(x), y))


def product(r: Rates, M: int, N: int, K: int, transposed: bool = False, apart: int | None = None) -> float:
    """Seconds for C[M, N] = A[M, K] @ B[K, N] by one thread, in tiles of 8 rows and vectors of 16; B packed, where it is.

    ``apart``: elements from one row of B to the next, where they are more than N.
    """
    rows, columns = -(-M // 8) * 8, -(-N // 16) * 16
    packs = transposed or (M >= tuning.PACK_ROWS and 4 * K * (apart or N) > tuning.READ_IN_PLACE_BYTES)
    return 1e-9 * (2 * rows * columns * K / r.tile_gflops + packs * r.pack_ns * K * N)


Terms = dict[str, float]


def rows_phase(m: Machine, s: Step, parts: int) -> Terms:
    """Forward, loss and backward to the first layer's output, for ceil(n / parts) rows."""
    r, rows = m.rates, -(-s.batch // parts)
    products = sum(product(r, rows, O, I) for I, O in s.dense_layers)
    products += sum(product(r, rows, I, O, transposed=True) for I, O in s.layers[1:])
    passes = sum(7 * 4 * rows * O for O in s.sizes[1:-1])  # bias and ReLU, mask: read, written, and read again
    softmax = 1e-9 * rows * r.softmax_ns * s.sizes[-1]
    return {"products": products, "traffic": m.stream(passes, passes * parts, parts) + softmax}


def weights_phase(m: Machine, s: Step, parts: int) -> Terms:
    """Gradient and update of ceil(I / parts) rows of each dense weight matrix, in strips of rows and columns."""
    products = traffic = 0.0
    for I, O in s.dense_layers:
        rows = -(-I // parts)
        for first in range(0, rows, tuning.STRIP_ROWS):
            for left in range(0, O, tuning.BLOCK_COLUMNS):
                strip = min(tuning.STRIP_ROWS, rows - first), min(tuning.BLOCK_COLUMNS, O - left)
                products += product(m.rates, *strip, s.batch, apart=O)
        traffic += m.stream(16 * rows * O, 4 * I * O, parts)  # the strip written and read, W read and written
    return {"products": products, "traffic": traffic}


def panels_phase(m: Machine, s: Step, parts: int) -> Terms:
    """A sparse first layer: panels, or where there are fewer of them than parts, splits of them, rounded up.

    Of a large W in place, all panels of a split.
    """
    r, (I, H), n, entries = m.rates, s.sizes[:2], s.batch, s.entries or 0.0
    panels = -(-H // PANEL)
    W_bytes = ROW_BYTES * I * panels
    met = entries * n / I  # of a column
    packed = met * s.per_call >= tuning.PACKED_VISITS and W_bytes <= tuning.PACKED_BYTES
    packed &= W_bytes <= tuning.CACHED_BYTES or met >= tuning.PACKED_ENTRIES
    owned = packed or (H % 16 == 0 and 4 * I * H <= tuning.OWNED_BYTES)
    splits = -(-parts // panels) if owned else parts
    mine = -(-panels * splits // parts) / splits  # panels, of the part that has most
    blocked = packed and entries * tuning.COLUMN_BLOCK >= tuning.BLOCK_ENTRIES * I
    in_use = ROW_BYTES * tuning.COLUMN_BLOCK if blocked else ROW_BYTES * I if packed else W_bytes
    visits = n * (-(-I // tuning.COLUMN_BLOCK) if blocked else 1)
    touched = -I * math.expm1(
        n * math.log1p(-min(entries / I, 1 - 1e-9))
    )  # columns with entries, if these are independent
    forward = n * entries * m.gather(in_use, packed, parts) + 1e-9 * r.visit_ns * visits
    update = n * entries * m.gather(ROW_BYTES * n, True, parts) + 1e-9 * r.turn_ns * touched
    if not packed:  # out of what the forward has just read
        update += touched * m.gather(ROW_BYTES * panels * touched, packed, parts)
    elif W_bytes > PRIVATE_BYTES * parts:
        update += m.stream(3 * ROW_BYTES * touched, W_bytes, parts)
    copies = mine * splits * m.stream(2 * ROW_BYTES * n, ROW_BYTES * n, 1)  # dY's panel, by each that has a part of it
    packing = packed * m.stream(4 * ROW_BYTES * I * mine, W_bytes, parts) / s.per_call  # there and back
    return {
        "products": mine * (forward + update),
        "traffic": copies + packing + 1e-9 * r.transpose_ns * entries * -(-n // parts),
        # Each part clears and sums a counter a column, and scans those of all parts for its split's columns.
        "not divided": 1e-9 * I * (r.column_ns + r.scan_ns * parts / splits),
        "meetings": m.meeting_seconds(parts) * (splits > 1),
    }


def exchange_phase(m: Machine, s: Step, parts: int) -> Terms:
    """Two meetings; and what parts write and others read: of each layer its input, output gradient and last weights."""
    own = sum(s.batch * I / parts for I, _ in s.dense_layers)
    common = sum(s.batch * O + I * O for I, O in s.dense_layers)
    if s.entries is not None:  # from panels to rows, and back
        own += 2 * s.batch * s.sizes[1] / parts
    return {"meetings": 2 * m.meeting_seconds(parts), "handover": m.handover(4 * own, 4 * common, parts)}


SHARED = ("meetings", "handover")  # what one thread has nothing of
TERMS = ("products", "traffic", "not divided", *SHARED)


def predict(m: Machine, s: Step, threads: int) -> Terms:
    """Seconds of a step, by term; their sum is the prediction."""
    parts = s.parts(threads)
    chosen = [rows_phase, weights_phase, exchange_phase] + [panels_phase] * (s.entries is not None)
    phases = [phase(m, s, parts) for phase in chosen]
    slower = m.whole / (m.clock if parts > m.rates.cores else 1.0)
    return {t: sum(phase.get(t, 0.0) for phase in phases) * (1 if t in SHARED else slower) for t in TERMS}


def seconds(m: Machine, s: Step, threads: int) -> float:
    return sum(predict(m, s, threads).values())
