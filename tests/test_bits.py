"""One SHA-256 of the weights after a run: any number of threads, threading layer beside, memory, chunks, company."""

import copy
import itertools
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from compiling import calls_of
from guarded import contents

import fastmlp
import kernels
from fastmlp.data.synthetic import load_synthetic
from fastmlp.training import loop
from kernels.intrinsics import atomic_load, atomic_store, yield_core
from kernels.jit import kernel
from kernels.team import run

from op_cases import OPS

THREADS = (1, 2, 3, 4)
INPUTS = ("dense", "sparse", "float", "svmlight")
OPTIONS = (
    {"optimizer": "sgd", "dropout": 0.3},
    {"optimizer": "momentum"},
    {"optimizer": "adamw", "weight_decay": 0.01},
    {"optimizer": "momentum", "clip_norm": 0.5},
)
DTYPES = ("float32", "float64")
# A few in which every input meets both dtypes, and every option an input that is dense and one that is not; or all.
FEW = [(INPUTS[k % 4], OPTIONS[(k + k // 4) % 4], DTYPES[k // 4]) for k in range(8)]
ALL = list(itertools.product(INPUTS, OPTIONS, DTYPES))


@cache
def samples(kind):
    """300 digits as pixels, as floats in which nothing is zero, or from an svmlight file; and the options."""
    digits = load_synthetic(seed=1, n=300, n_test=50)
    if kind == "svmlight":
        lines = (
            f"{label} {' '.join(f'{j + 1}:{x[j] / 7:.5f}' for j in np.flatnonzero(x))}\n"
            for x, label in zip(digits.X, digits.y)
        )
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "digits.svm")
            path.write_text("".join(lines))
            return fastmlp.load(str(path)), {"input": "sparse"}
    if kind == "float":
        return replace(digits, X=digits.X / 256 + 0.125, X_test=digits.X_test / 256 + 0.125, image_shape=None), {}
    return digits, {"input": kind}


def digests(cases, threads=THREADS, repeats=1):
    """For each case the different digests of its runs."""
    found = []
    for kind, options, dtype in cases:
        data, how = samples(kind)
        run = {"hidden": (70, 33), "batch_size": 64, "epochs": 3, "dtype": dtype, **how, **options}
        runs = (fastmlp.fit(data, threads=n, **run).summary for n in threads for _ in range(repeats))
        found.append(sorted({summary["weights_sha256"] for summary in runs}))
    return found


@pytest.mark.compiles(calls=lambda case: [partial(digests, [case], (1,))])
@pytest.mark.parametrize("case", FEW, ids=str)
def test_a_run_has_one_digest_on_any_number_of_threads(case):
    assert len(digests([case], repeats=2)[0]) == 1


@pytest.mark.nightly
@pytest.mark.parametrize("case", ALL, ids=str)
def test_every_run_has_one_digest_on_any_number_of_threads_ten_times(case):
    assert len(digests([case], repeats=10)[0]) == 1


# The user's own parallel code keeps the layer's threads at work in between.
BESIDE_A_LAYER = """
import sys, threading; sys.path.insert(0, {directory!r})
import numpy as np, numba, kernels
kernels.linear_forward(np.ones((1, 1)), np.ones((1, 1)))  # the cache's directory is that of the parent
numba.config.THREADING_LAYER = {layer!r}
@numba.njit(parallel=True)
def total(X):
    result = 0.0
    for i in numba.prange(X.size):
        result += X[i]
    return result
try:
    total(np.ones(10_000))
except ValueError:
    sys.exit("no such layer here")
from test_bits import FEW, ALL, digests
def work():
    while not done.is_set():
        assert total(np.ones(10_000)) == 10_000
done = threading.Event()
beside = threading.Thread(target=work)
beside.start()
try:
    found = digests({cases}, {threads}, {repeats})
finally:
    done.set(); beside.join()
assert numba.threading_layer() == {layer!r}
print(found)
"""


def beside_a_layer(python, layer, cases, threads=THREADS, repeats=1):
    code = BESIDE_A_LAYER.format(
        directory=str(Path(__file__).parent), layer=layer, cases=cases, threads=threads, repeats=repeats
    )
    result = python(code, code=None, timeout=3000)
    if result.stderr.strip() == "no such layer here":
        pytest.skip(f"Numba's threading layer {layer} is not on this machine")
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


layers = pytest.mark.parametrize("layer", ["workqueue", "omp", "tbb"])


@layers
def test_digests_are_the_same_beside_every_threading_layer(python, layer):
    assert beside_a_layer(python, layer, "FEW[1:6:4]", (2,)) == str(digests(FEW[1:6:4], (1,)))


@pytest.mark.nightly
@layers
def test_all_digests_are_the_same_beside_every_threading_layer(python, layer):
    assert beside_a_layer(python, layer, "ALL", repeats=10) == str(digests(ALL, (1,)))


@pytest.mark.parametrize("case", FEW, ids=str)
def test_digests_do_not_depend_on_how_steps_are_cut_into_calls(case, monkeypatch):
    """From one step a call to as many as there are."""
    found, lengths, train = [], [], kernels.mlp_train_steps
    monkeypatch.setattr(
        kernels, "mlp_train_steps", lambda *args, lr, **more: lengths.append(len(lr)) or train(*args, lr=lr, **more)
    )
    for seconds, longest in ((0.0, 1), (1e9, 5)):  # of the five of an epoch
        lengths.clear()
        monkeypatch.setattr(loop, "_CHUNK_SECONDS", seconds)
        found += digests([case], threads=(2,))
        assert max(lengths) == longest
    assert found[0] == found[1]


def shifted(array, elements):
    """The same numbers ``elements`` after a cache line's start."""
    raw = np.zeros(array.nbytes + 128, np.uint8)
    start = -raw.ctypes.data % 64 + elements * array.itemsize
    view = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


RULES = [kernels.momentum(nesterov=True), *(make(weight_decay=0.01) for make in kernels.RULES.values())]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.name))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
def test_bits_do_not_depend_on_where_arrays_lie_and_what_calls_take(rule, dtype, sparse, rng):
    """Five steps in one call, one and four, five calls; everything at every offset from a cache line.

    X of floats by the default rule: the code that reads it is the same for all.
    """
    X = rng.integers(0, 256, (90, 70)).astype(np.uint8) * (rng.random((90, 70)) < (0.2 if sparse else 1))
    scale = 1 / 255
    if rule.name == "momentum":
        X, scale = rng.standard_normal(X.shape).astype(dtype) * (X > 0), 0.5
    y, rows, rates = rng.integers(0, 10, 90), rng.permutation(90), np.full(5, 0.02)
    start = (rng.standard_normal(70 * 37 + 37 * 10 + 200) / 8).astype(dtype)
    found = set()
    for offset, cuts in itertools.product((0, 1, 3, 7), ((0, 5), (0, 1, 5), range(6))):
        network = kernels.Network((70, 37, 10), dtype=dtype, slots=rule.slots)
        network.params[...] = start[: network.params.size]
        network.params, network.state = shifted(network.params, offset), shifted(network.state, offset)
        given = kernels.csr(X) if sparse else shifted(X, offset)
        losses = []
        for first, last in itertools.pairwise(cuts):
            losses += kernels.mlp_train_steps(
                given, shifted(y, offset), shifted(rows[18 * first : 18 * last], offset), 18, network, rule=rule,
                lr=rates[first:last], t=first + 1, scale=scale, dropout=0.2, seed=5,
            )[0].tolist()  # fmt: skip
        found.add((network.params.tobytes(), network.state.tobytes(), tuple(losses)))
    assert len(found) == 1


@pytest.mark.parametrize("sizes", [(4, 32, 16, 4), (6, 64, 8, 1)], ids=str)
def test_bits_of_a_small_network_depend_on_no_thread_place_or_call(sizes, rng):
    """The batch sets the blocks of samples and the chunks that their gradients are added up in; the last is short."""
    X, rows = rng.standard_normal((2900, sizes[0])).astype(np.float32), rng.permutation(2900)
    output = "identity" if sizes[-1] == 1 else "softmax"
    y = X[:, :1] if sizes[-1] == 1 else rng.integers(0, sizes[-1], len(X))
    start, rates = rng.standard_normal(2000).astype(np.float32) / 4, np.full(3, 0.02)
    found = set()
    for threads, offset, cuts in ((1, 0, (0, 3)), (2, 1, (0, 1, 3)), (3, 3, (0, 2, 3)), (4, 0, (0, 1, 2, 3))):
        network = kernels.Network(sizes, slots=2, output=output)
        network.params[...] = start[: network.params.size]
        network.params = shifted(network.params, offset)
        losses = []
        with kernels.threads(threads):
            for first, last in itertools.pairwise(cuts):
                losses += kernels.mlp_train_steps(
                    shifted(X, offset), y, rows[1000 * first : 1000 * last], 1000, network, rule=kernels.adam(),
                    lr=rates[first:last], t=first + 1,
                )[0].tolist()  # fmt: skip
        found.add((network.params.tobytes(), network.state.tobytes(), tuple(losses)))
    assert len(found) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_logits_of_a_small_network_are_the_same_in_blocks_and_row_by_row(dtype, rng):
    network = kernels.Network((6, 33, 8, 4), dtype=dtype, activation="gelu")
    network.params[...] = rng.standard_normal(network.params.size) / 3
    X = rng.standard_normal((333, 6)).astype(dtype)
    expected = np.concatenate([kernels.mlp_forward(X[i : i + 1], network) for i in range(len(X))])
    for n, threads in ((333, 3), (129, 2), (128, 1), (17, 1)):
        with kernels.threads(threads):
            assert kernels.mlp_forward(X[:n], network).tobytes() == expected[:n].tobytes()


@kernel
def occupy(part, parts, flags):
    """Tell that the team is at work, and be it until told otherwise; the other parts are done at once."""
    atomic_store(flags, 0, 1)
    while part == 0 and atomic_load(flags, 1) == 0:
        yield_core()


@pytest.fixture
def busy_team():
    """The team at work for another Python thread for as long as the test runs."""
    flags = np.zeros(2, np.int64)

    def work():
        with kernels.threads(2):
            run(occupy, 2, flags)

    other = threading.Thread(target=work)
    other.start()
    while flags[0] == 0 and other.is_alive():
        other.join(0.001)
    assert flags[0]
    yield
    flags[1] = 1
    other.join()


def results(op, args, kwargs):
    """The bytes of what a call on copies of its arguments returns and changes."""
    args, kwargs = copy.deepcopy((args, kwargs))
    returned = op.fast(*args, **kwargs)
    return contents([returned, list(args), list(kwargs.values())])


@pytest.mark.compiles(calls=lambda op: calls_of(op, "float32", shapes=[(8, 32, 16)]))
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_an_op_that_finds_the_team_busy_computes_the_same_bits(op, rng, request):
    """By itself, on room that it made for four."""
    cases = list(op.cases(rng, (300, 160, 70), np.dtype("float32")))
    with kernels.threads(4):
        expected = [results(op, *case) for case in cases]
        request.getfixturevalue("busy_team")
        assert [results(op, *case) for case in cases] == expected


def test_digests_do_not_depend_on_what_else_the_machine_does(request):
    """Three runs at once in threads of one process, and as many other processes as cores."""
    alone = digests(FEW[4:6], (3,))
    request.getfixturevalue("busy_cores")
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda _: digests(FEW[4:6], (3,)), range(3))) == [alone] * 3
