"""What holds for every op: its twin, its bits, its memory."""

import copy
import inspect
import itertools

import numpy as np
import pytest
from compiling import calls_of

import kernels
from kernels import CSR, Network
from kernels.tuning import BLOCK_COLUMNS, NARROW_COLUMNS

from op_cases import OPS, Op

SHAPES = [
    (1, 1, 1),
    (3, 5, 2),
    (8, 32, 16),
    (17, 33, 31),
    (37, 50, 45),
    (9, 530, BLOCK_COLUMNS + 14),  # in several blocks
    (300, 7, 20),  # a network that is taken in blocks of samples
    *((70, 69, outputs) for outputs in range(1, NARROW_COLUMNS + 1)),
]
LARGE = (300, 160, 70)  # above the thresholds below which one thread runs
SMALL_NETWORK = (1100, 20, 40)  # above them, too, and taken in blocks of samples; BYTE_ROWS rows a step, or fewer
DTYPES = ["float32", "float64"]
FLOAT64_UNIT = 2.0**-53

ops = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def clone(value):
    """A deep copy whose arrays are aligned and writable like the original's."""
    if isinstance(value, Network):
        functions = {"activation": value.activation, "output": value.output, "layer_rates": value.layer_rates}
        other = Network(value.sizes, bias=value.bias, dtype=value.dtype, slots=value.slots, **functions)
        other.params[...], other.state[...] = value.params, value.state
        return other
    return value if isinstance(value, CSR) else copy.deepcopy(value)


def arrays_of(value) -> list[np.ndarray]:
    """What can be compared in a result: arrays and numbers, flattened."""
    if isinstance(value, Network):
        return [np.array(value.params), np.array(value.state)]
    if isinstance(value, (tuple, list)):
        return [array for item in value for array in arrays_of(item)]
    return [] if value is None else [np.asarray(value)]


def call(function, op: Op, args, kwargs) -> list[np.ndarray]:
    """Results of a call on copies of its arguments: what it returns, then what it wrote to."""
    return called(function, op, [clone(a) for a in args], {name: clone(value) for name, value in kwargs.items()})


def called(function, op: Op, args, kwargs) -> list[np.ndarray]:
    """What the call returns, then the arguments that it updates in place."""
    result = arrays_of(function(*args, **kwargs))
    written = [args[k] for k in op.writes if k < len(args)]
    written += [kwargs[name] for name in ("state", "bias_state", "average") if name in kwargs]
    return result + arrays_of(written)


@ops
def test_twins_share_signatures(op):
    fast, twin = (list(inspect.signature(f).parameters.values()) for f in (op.fast, op.twin))
    assert [(p.name, p.kind, p.default) for p in fast] == [(p.name, p.kind, p.default) for p in twin]


@ops
def test_public_ops_have_a_docstring_and_are_exported(op):
    assert op.fast.__doc__
    assert op.twin.__doc__
    assert getattr(kernels, op.name) is op.fast


def test_every_public_op_is_registered():
    exported = {name for name in kernels.__all__ if inspect.isfunction(getattr(kernels, name))}
    not_ops = {"csr", "threads", "get_num_threads", "set_num_threads", "peak_gflops", "custom_loss", *kernels.RULES}
    not_ops |= {"cache_info", "kernel", "parallel", "warmup"}
    assert exported - not_ops == {op.name for op in OPS}
    assert {*kernels.RULES} <= exported


@pytest.mark.compiles(calls=lambda op, shape: calls_of(op, "float64") if shape == SHAPES[0] else ())
@ops
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_op_equals_its_twin_in_float64(op, shape, rng):
    """Within reassociation: K + 10 roundings of terms below 2^10 in size (a wrong term is 1e10 times larger)."""
    bound = (sum(shape) + 10) * FLOAT64_UNIT * 2.0**10
    for args, kwargs in op.cases(rng, shape, np.dtype("float64")):
        for fast, twin in zip(call(op.fast, op, args, kwargs), call(op.twin, op, args, kwargs), strict=True):
            assert fast.shape == twin.shape
            np.testing.assert_allclose(fast, twin, rtol=bound, atol=bound)


def test_every_activation_and_its_derivative_in_float32_are_the_twins_in_float64(rng):
    """In one network, which is compiled once: 13 layers, there and back, of sums of 8 terms and some 8 roundings more.

    With dropout no network is taken in blocks of samples, which fill whole vectors: 287 units leave a part of one.
    """
    names, found = list(kernels.ACTIVATIONS), []
    X, y = rng.standard_normal((41, 7)).astype(np.float32), rng.integers(0, 3, 41)
    weights = rng.standard_normal((len(names) + 1, 8, 7)).astype(np.float32) / 2
    for gradient_of, dtype in ((kernels.mlp_gradient, "float32"), (kernels.reference.mlp_gradient, "float64")):
        network = Network((7, *(7 for _ in names), 3), activation=names, dtype=dtype)
        for (W, b), each in zip(network.layers, weights):
            W[...], b[...] = each[:7, : W.shape[1]], each[7, : len(b)]
        gradient = gradient_of(X.astype(dtype), y, np.arange(41), network, dropout=0.1, seed=1)[2]
        found.append([gradient[start : start + W.size] for start, (W, _) in zip(network.offsets, network.layers)])
    for fast, twin in zip(*found, strict=True):
        assert abs(fast - twin).max() <= 2 * 13 * 16 * 2.0**-24 * abs(twin).max()


@ops
@pytest.mark.parametrize(
    ("shape", "dtype"), [(LARGE, "float32"), (LARGE, "float64"), (SMALL_NETWORK, "float64")], ids=str
)
def test_bits_do_not_depend_on_the_number_of_threads(op, shape, dtype, rng):
    for args, kwargs in op.cases(rng, shape, np.dtype(dtype)):
        results = []
        for count in (1, 2, 3, 4):
            with kernels.threads(count):
                results.append([array.tobytes() for array in call(op.fast, op, args, kwargs)])
        assert all(result == results[0] for result in results[1:])


# The dtypes of an op's first results where they are not the weights': losses, counts, images.
FIRST_DTYPES = {
    "softmax_cross_entropy": ("float64", "int64"),
    "loss_gradient": ("float64", "int64"),
    "mlp_train_steps": ("float64", "int64"),
    "mlp_gradient": ("float64", "int64"),
    "distort": ("uint8",),
}


@ops
@dtypes
def test_results_have_the_dtype_of_the_weights(op, dtype, rng):
    for args, kwargs in op.cases(rng, (4, 3, 5), np.dtype(dtype)):
        found = [array.dtype for array in call(op.fast, op, args, kwargs)]
        first = FIRST_DTYPES.get(op.name, ())
        assert found == [*first, *[dtype] * (len(found) - len(first))]
        assert found


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def every_second(array):
    spread = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    spread[..., ::2] = array
    return spread[..., ::2]


def outputs(op: Op) -> list[str]:
    return [name for name in inspect.signature(op.fast).parameters if name.startswith("out")]


with_out = pytest.mark.parametrize("op", [op for op in OPS if outputs(op)], ids=lambda op: op.name)


def shaped_like_results(op, args, kwargs):
    """An array for each ``out`` of the op."""
    result = op.fast(*args, **kwargs)
    arrays = [a for a in (result if isinstance(result, tuple) else (result,)) if isinstance(a, np.ndarray)]
    return dict(zip(outputs(op), map(np.zeros_like, arrays)))


@with_out
def test_unusable_outputs_are_refused_by_name(op, rng):
    args, kwargs = next(op.cases(rng, (9, 7, 6), np.dtype("float32")))
    for name, good in shaped_like_results(op, args, kwargs).items():
        bad = {
            "dtype": good.astype(np.float64),
            "shape": np.empty((*good.shape[:-1], good.shape[-1] + 1), good.dtype),
            "read-only": read_only(good),
            "strides": every_second(good),
        }
        for complaint, array in bad.items():
            with pytest.raises((ValueError, TypeError), match=f"^{name} .*{complaint}"):
                op.fast(*args, **kwargs, **{name: array})
        with pytest.raises(TypeError, match=f"^{name} is a list"):
            op.fast(*args, **kwargs, **{name: good.tolist()})


@with_out
def test_an_output_that_overlaps_any_argument_is_refused(op, rng):
    cases = {frozenset(kwargs): (args, kwargs) for args, kwargs in op.cases(rng, (6, 6, 6), np.dtype("float64"))}
    for args, kwargs in cases.values():
        given = {
            k: value for k, value in (*enumerate(args), *kwargs.items()) if isinstance(value, (np.ndarray, Network))
        }
        for (name, good), (k, value) in itertools.product(shaped_like_results(op, args, kwargs).items(), given.items()):
            array = value.params if isinstance(value, Network) else value
            memory = np.zeros(max(array.nbytes, good.nbytes), np.uint8)
            shared = memory[: array.nbytes].view(array.dtype).reshape(array.shape)
            shared[...] = array
            if isinstance(value, Network):
                shared = clone(value)
                shared.params = memory[: array.nbytes].view(array.dtype)
            changed = [shared if position == k else each for position, each in enumerate(args)]
            options = {**kwargs, **({k: shared} if k in kwargs else {})}
            with pytest.raises(ValueError, match=f"^{name} overlaps"):
                op.fast(*changed, **options, **{name: memory[: good.nbytes].view(good.dtype).reshape(good.shape)})


updating = pytest.mark.parametrize(
    "op", [op for op in OPS if op.writes and not op.name.startswith("mlp_")], ids=lambda op: op.name
)


@updating
def test_arguments_updated_in_place_are_refused_when_read_only_or_overlapping(op, rng):
    cases = [case for case in op.cases(rng, (6, 6, 6), np.dtype("float32")) if not isinstance(case[0][0], CSR)]
    args, kwargs = cases[-1]
    for position in op.writes:
        changed = list(args)
        changed[position] = read_only(args[position])
        with pytest.raises(ValueError, match="read-only"):
            op.fast(*changed, **kwargs)
    source = next(k for k, a in enumerate(args) if isinstance(a, np.ndarray) and k not in op.writes)
    target = op.writes[0]
    changed = list(args)
    changed[source] = changed[target] if changed[source].dtype == changed[target].dtype else changed[source]
    changed[1] = changed[target]
    with pytest.raises(ValueError, match="overlaps"):
        op.fast(*changed, **kwargs)


@pytest.mark.parametrize(
    "text",
    [
        "Network((3, 2))",
        "Network((3, 4, 2), bias=False, dtype='float64', slots=2, activation='gelu', output='identity')",
        "Network((3, 4, 2), layer_rates=[0.0, 1.0])",
    ],
)
def test_a_network_shows_as_it_was_made(text):
    assert repr(eval(text, {"Network": Network})) == text


@pytest.mark.parametrize("library", [kernels, kernels.reference], ids=["kernels", "reference"])
def test_one_rate_is_that_of_every_step(library, rng):
    X, y, rows = rng.standard_normal((8, 3)).astype(np.float32), rng.integers(0, 2, 8), np.arange(8)
    trained = []
    for lr in (0.25, [0.25, 0.25]):
        network = kernels.Network((3, 4, 2))
        network.params[:] = np.linspace(-1, 1, network.params.size)
        library.mlp_train_steps(X, y, rows, 4, network, rule=kernels.sgd(), lr=lr)
        trained.append(network.params.tobytes())
    assert trained[0] == trained[1]


def test_the_operations_of_a_step_are_counted():
    """Two a multiply-add: forward, the gradient of the weights and, but in the first layer, that of the inputs."""
    assert Network((5, 4, 3)).flop_per_sample == 2 * (3 * 5 * 4 + 3 * 4 * 3 - 5 * 4)
