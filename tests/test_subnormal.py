"""Subnormal numbers are zeros to every op, on every thread; the caller's floating-point control word stays the same."""

import threading

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError
from test_ops import LARGE, call, clone, dtypes, ops

import kernels
from kernels import CSR, Network, raw
from kernels.reference import normal

UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}


def changed(value, change):
    """A copy of an op's argument in which ``change`` has been made to every array of floats."""
    if isinstance(value, Network):
        other = clone(value)
        other.params[...], other.state[...] = change(value.params), change(value.state)
        return other
    if isinstance(value, CSR):
        return CSR(value.indptr, value.indices, changed(value.values, change), value.shape)
    if isinstance(value, dict):
        return {name: changed(item, change) for name, item in value.items()}
    if isinstance(value, tuple) and not hasattr(value, "_fields"):  # a rule stays as it is
        return tuple(changed(item, change) for item in value)
    return change(value) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def with_some(small, seed):
    """A change that puts small(dtype), positive or negative, into a third of the elements."""
    rng = np.random.default_rng(seed)

    def put(array):
        chosen, sign = rng.random(array.shape) < 1 / 3, np.where(rng.random(array.shape) < 0.5, -1, 1)
        value = small(array.dtype) * rng.integers(1, 100, array.shape)
        # Second moments and weights of samples have no sign.
        return np.where(chosen, np.copysign(value, np.where((array < 0).any(), sign, 1)), array).astype(array.dtype)

    return put


def smallest(dtype):
    return np.finfo(dtype).smallest_subnormal


def numbers(results):
    """Results as the numbers that they stand for: an op may leave a subnormal one as it was (see ``ops``)."""
    return [normal(result) if result.dtype.kind == "f" else result for result in results]


def bits(results):
    return [result.tobytes() for result in numbers(results)]


@ops
@dtypes
def test_subnormal_operands_count_as_zeros_of_their_sign_on_any_number_of_threads(op, dtype, rng):
    for shape, counts in (((6, 7, 5), (1,)), ((9, 33, 2), (1,)), (LARGE, (1, 2, 3, 4))):
        for args, kwargs in op.cases(rng, shape, np.dtype(dtype)):
            args, kwargs = changed((args, kwargs), with_some(smallest, 1))
            expected = bits(call(op.fast, op, *changed((args, kwargs), normal)))
            for threads in counts:
                with kernels.threads(threads):
                    assert bits(call(op.fast, op, args, kwargs)) == expected
            if shape is not LARGE:  # equal, not in bits: the sign of a zero is up to NumPy's sums
                both = (
                    call(op.twin, op, *arguments) for arguments in ((args, kwargs), changed((args, kwargs), normal))
                )
                for found, result in zip(*both, strict=True):
                    np.testing.assert_array_equal(*numbers((found, result)))


@ops
@dtypes
def test_results_are_never_subnormal(op, dtype, rng):
    """From operands that are not, of which many have products and quotients that would be."""
    sizes = [2.0**-e for e in range(0, -int(np.log2(np.finfo(dtype).tiny)), 9)]
    for args, kwargs in op.cases(rng, (12, 33, 20), np.dtype(dtype)):
        args, kwargs = changed((args, kwargs), lambda a: normal((a * rng.choice(sizes, a.shape)).astype(a.dtype)))
        for function in (op.fast, op.twin):
            for result in call(function, op, args, kwargs):
                if result.dtype.kind == "f":
                    np.testing.assert_array_equal(result, normal(result))


@dtypes
@pytest.mark.parametrize("threads", [1, 3])
def test_products_err_by_rounding_and_one_smallest_number_a_term(dtype, threads, rng):
    """A lost product or sum is below the smallest normal number; there are K of them, and two of the epilogue."""
    tiny, (B, I, O) = float(np.finfo(dtype).tiny), LARGE
    size = tiny**0.5
    gamma = (max(LARGE) + 2) * UNIT[dtype] / (1 - (max(LARGE) + 2) * UNIT[dtype])
    X, W, dY = ((size * rng.standard_normal(shape)).astype(dtype) for shape in ((B, I), (I, O), (B, O)))
    b = (tiny * rng.standard_normal(O)).astype(dtype)
    results = 0
    with kernels.threads(threads):
        for left, right, more, found in (
            (X, W, b, kernels.linear_forward(X, W, b)),
            (X, W, b, kernels.linear_forward(kernels.csr(X), W, b)),
            (dY, W.T, 0, kernels.linear_backward_input(dY, W)),
            (X.T, dY, 0, kernels.linear_backward_weight(X, dY)[0]),
        ):
            # In units of the smallest normal number, so that nothing is lost here.
            left, right = (left / size).astype(np.longdouble), (right / size).astype(np.longdouble)
            exact = left @ right + more / np.longdouble(tiny)
            bound = gamma * (abs(left) @ abs(right) + abs(more / np.longdouble(tiny))) + left.shape[1] + 2
            assert (abs(found / np.longdouble(tiny) - exact) <= bound).all()
            results += np.count_nonzero(found)
    assert results  # sums of so many terms have reached the normal numbers


def fading(dtype):
    """Rules under which what is not fed any more halves with each step, or fades faster; and the steps that it lasts.

    AdamW's weights halve on from when its moments are gone, the first of them having been divided by epsilon, 2^-27.
    """
    info = np.finfo(dtype)  # not the logarithm of its smallest number, which a control word left behind makes zero
    steps = 32 + info.nmant - info.minexp
    halving = {"weight_decay": 5.0}  # at a rate of 0.1
    return steps, (
        kernels.sgd(**halving),
        kernels.momentum(0.5),
        kernels.momentum(0.5, nesterov=True),
        kernels.adam(0.5, 0.5),
        kernels.adamw(0.5, 0.5, **halving),
    )


@dtypes
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_weights_and_state_that_fade_end_at_zero(dtype, sparse, rng):
    """Else they would stay subnormal for good and slow every step: half the smallest number rounds to it or to zero."""
    steps, rules = fading(dtype)
    X = rng.integers(1, 256, (4, 9)).astype(np.uint8)
    X[1:, :4] = 0  # four inputs that only the first of the samples has
    for rule in rules:
        network = Network((9, 5, 3), dtype=dtype, slots=rule.slots)
        for W, _ in network.layers:
            W[...] = abs(rng.standard_normal(W.shape))  # so all units are on
        rows = np.array([0, *rng.integers(1, 4, steps)])
        given, lr = kernels.csr(X) if sparse else X, np.full(len(rows), 0.1)
        kernels.mlp_train_steps(given, [0, 1, 2, 0], rows, 1, network, rule=rule, lr=lr, scale=1 / 255)
        state = [slot[:4] for slot in network.states(0, rule)[0]]
        for faded in state + ([network.layers[0][0][:4]] if rule.weight_decay else []):
            np.testing.assert_array_equal(faded, 0)
        for array in (network.params, network.state):
            assert np.isfinite(array).all()
            np.testing.assert_array_equal(array, normal(array))


# -- the caller's floating-point control word ------------------------------------------------------------------------

FLAGS = 0x3F if raw.CONTROL & 0x1F80 else 0  # of x86: what has happened on this thread, by NumPy too


@njit
def set_control(word):
    return raw.exchange_control(word)


def control():
    """This thread's control word."""
    word = set_control(raw.CONTROL)
    set_control(word)
    return word & ~FLAGS


# Rounds to zero; on x86 keeps small results.
UNUSUAL = raw.CONTROL ^ (3 << 13 | 1 << 15) if FLAGS else raw.CONTROL | 3 << 22


@pytest.fixture(params=["usual", "unusual"])
def word(request):
    """A control word that this thread has for the test."""
    before = set_control(raw.CONTROL)
    here = set_control(UNUSUAL if request.param == "unusual" else before)
    try:
        assert here == raw.CONTROL
        yield control()
    finally:
        set_control(before)


needs_a_word = pytest.mark.skipif(raw.CONTROL == 0, reason="kernels set no control word on this machine")


@needs_a_word
@ops
def test_every_call_has_its_own_control_word_and_gives_back_the_callers(op, word):
    """Also on another Python thread; and the bits are those of a caller that has changed nothing."""
    args, kwargs = next(op.cases(np.random.default_rng(3), LARGE, np.dtype("float32")))
    results, words = [], []

    def work():
        set_control(word)
        for threads in (1, 3):
            with kernels.threads(threads):
                results.append(bits(call(op.fast, op, args, kwargs)))
            words.append(control())

    before = set_control(0x1F80 if FLAGS else 0)
    expected = bits(call(op.fast, op, args, kwargs))
    set_control(before)
    work()
    other = threading.Thread(target=work)
    other.start()
    other.join()
    assert words == [word] * 4
    assert results == [expected] * 4
    assert control() == word


@needs_a_word
def test_numpy_computes_with_subnormal_numbers_after_a_call():
    """Seen by their effect: ``control`` reads the word as the kernels do, and would be as wrong."""
    small = np.full(100, smallest("float64"))
    kernels.softmax(np.ones((3, 4)))
    kernels.linear_forward(np.ones(LARGE[:2]), np.ones(LARGE[1:]))
    np.testing.assert_array_equal((3 * small).view(np.int64), 3)


@needs_a_word
def test_a_refused_call_leaves_the_control_word(word):
    X = np.ones((3, 2), np.float32)
    for refused in (
        lambda: kernels.linear_forward(X, X),
        lambda: kernels.linear_forward(X, X.T, out=X),
        lambda: raw.linear_forward(0, 1, "X", X, None, X, X),
        lambda: kernels.set_num_threads(0),
    ):
        with pytest.raises((TypeError, ValueError, TypingError)):
            refused()
        assert control() == word


@needs_a_word
def test_kernels_in_compiled_code_run_under_its_control_word():
    """As ``raw`` says: the caller's, which it can exchange for that of the ops."""

    @njit
    def step(rule, W, g, word):
        before = raw.exchange_control(word)
        raw.update(0, 1, W, g, None, rule, 0.5)
        raw.exchange_control(before)

    rule, small = kernels.sgd(), np.float32(smallest("float32"))
    for word, expected in ((0x1F80 if FLAGS else 0, 37 * small), (raw.CONTROL, 0)):
        W = np.full(20, 40 * small, np.float32)
        step(rule, W, np.full(20, 6 * small, np.float32), word)
        np.testing.assert_array_equal(W, np.full(20, expected, np.float32))
