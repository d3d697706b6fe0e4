"""``kernels.raw``: every op without checks gives the bits of the public op, in any number of parts."""

import inspect
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from numba import njit, prange

import kernels
from kernels import CSR, raw
from kernels.activations import ACTIVATIONS
from kernels.losses import loss_of

from op_cases import OPS

SHAPE = (21, 37, 19)


def first_cases(op, dtype):
    """A case of each kind of input, each number of a rule's slots, and what may be absent: few, as each is compiled."""
    kinds, slots = set(), set()
    for args, kwargs in op.cases(np.random.default_rng(5), SHAPE, np.dtype(dtype)):
        arguments = inspect.signature(op.fast).bind(*args, **kwargs).arguments
        X, rule, loss = (arguments.get(name) for name in ("X", "rule", "loss"))
        kind = isinstance(X, CSR) or getattr(X, "dtype", None)
        if op.name[:3] != "mlp":
            absent = kind == dtype and arguments.get("b") is None
            kind = kind, absent, arguments.get("relu_output") is None, loss and loss_of("", loss).output
        elif op.name == "mlp_train_steps":
            more = len(arguments.keys() & {"average", "clip"})
            kind = more and kind, more
        if kind not in kinds and (X is None or rule is None or op.name[:3] == "mlp" or rule.slots not in slots):
            kinds.add(kind)
            slots.add(rule and rule.slots)
            yield arguments
            if op.name == "linear_relu_forward":
                return  # the others are the cases of ``linear_forward``, by the same code


def test_every_op_is_there_with_the_arguments_of_the_public_one():
    """But for what is checked, chosen or summed up in Python."""
    in_python = {"squares", "epsilon", "label_smoothing", "shape", "sigma", "fill"}
    for op in OPS:
        public, own = (inspect.signature(function).parameters for function in (op.fast, getattr(raw, op.name)))
        assert op.name in raw.__all__
        assert list(own)[:2] == ["part", "parts"]
        assert set(public) - set(own) <= in_python | ({"scale"} if op.name == "mlp_forward" else set()), op.name
        positional = [name for name, parameter in public.items() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
        assert [name for name in own if name in positional] == [name for name in positional if name in own], op.name


def of_network(arguments, parts):
    """(arguments of the raw op, network) of an op on a network."""
    network, X, rule = arguments["network"], arguments.get("X"), arguments.get("rule")
    given = dict(arguments) | {"network": raw.model(network)}
    scale = arguments.get("scale", 1.0)
    if "rows" in arguments:
        rows = arguments["rows"]
        given["scratch"] = raw.step_scratch(parts, X, rows, arguments.get("batch", len(rows)), network, rule)
        loss = loss_of(network.output, arguments["loss"], arguments.get("label_smoothing", 0.0))
        targets = loss.targets("labels", arguments["labels"], X.shape[0], network.sizes[-1], network.dtype)
        given |= {"loss": loss, "labels": targets, "rows": np.asarray(rows, np.int64)}
        given["sample_weight"] = arguments.get("sample_weight")
    elif X is not None:
        given["scratch"] = raw.forward_scratch(parts, X, network, scale)
    else:
        given["scratch"] = raw.step_scratch(parts, np.empty((1, 1)), np.arange(1), 1, network, rule)
    if isinstance(X, CSR):
        given["X"] = raw.sparse(X, network.dtype, scale)
    return given


def of_layer(arguments, parts):
    """The arguments of the raw op of one layer, a loss or an update."""
    given, X = dict(arguments), arguments.get("X")
    W = arguments.get("W", arguments.get("dY"))
    if X is not None and W is not None:
        W = np.empty((X.shape[1], W.shape[1]), W.dtype)
        given["scratch"] = raw.linear_scratch(parts, X, W)
    elif "dY" in arguments:
        given["scratch"] = raw.linear_scratch(parts, np.empty((1, W.shape[1])), W)
    if isinstance(X, CSR):
        given["X"] = raw.sparse(X, W.dtype, arguments.get("scale", 1.0))
    if "shape" in arguments:
        given["scratch"] = raw.distort_scratch(
            parts, arguments["shape"], arguments.get("sigma", 4.0), arguments.get("fill", 0)
        )
    if "loss" in arguments:
        Z = arguments["Z"]
        given["loss"] = loss = loss_of("", arguments["loss"])
        given["targets"] = loss.targets("targets", arguments["targets"], len(Z), Z.shape[1], Z.dtype)
    if "rule" in arguments and not arguments["rule"].slots:
        given["state"] = given["bias_state"] = None
    return given


def run_at_once(run, parts):
    """Each part on a thread of its own, but the only one on this: for other threads nothing is compiled ahead."""
    if parts == 1:
        run(0)
        return
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(run, range(parts)))


def run_raw(name, given, expected, parts):
    """Run the raw op in so many parts at once; returns what the public op returns."""
    op = getattr(raw, name)
    of_rows = [each for each in ("row_losses", "step_losses") if each in inspect.signature(op).parameters]
    if of_rows:
        count = len(expected[0]) if name == "mlp_train_steps" else len(expected[-1]) if name[:3] != "mlp" else 1
        hits = "hits" if "hits" in inspect.signature(op).parameters else "correct"
        given |= {of_rows[0]: np.full(count, np.nan), hits: np.full(count, -1)}
    results = [
        each for each in (expected if isinstance(expected, tuple) else (expected,)) if isinstance(each, np.ndarray)
    ]
    if name != "mlp_train_steps":
        for out, result in zip(("out", "out_bias"), results[-1:] if of_rows else results):
            given[out] = np.full_like(result, 7)
    names = [each for each in inspect.signature(op).parameters if each not in ("part", "parts")]
    kept = {each: given.get(each) for each in names if each in given or each in ("b", "relu_output", "sample_weight")}

    def run(part):
        for _ in range(3 if name == "mlp_gradient" else 1):  # with one scratch: parts meet anew in each call
            op(part=part, parts=parts, **kept)

    run_at_once(run, parts)
    if name == "mlp_train_steps":
        return given["step_losses"], given["correct"]
    if of_rows:
        loss = 0.0
        for each in given[of_rows[0]]:
            loss += each
        return loss, given[hits].sum(), given["out"]
    return given["out"] if len(results) == 1 else (given["out"], given["out_bias"]) if results else None


def written(op, arguments):
    found = []
    for value in (list(arguments.values())[place] for place in op.writes):
        found += [value.params, value.state] if isinstance(value, kernels.Network) else [value]
    return [*found, *(arguments[each] for each in ("state", "bias_state", "average") if each in arguments)]


def has_the_bits_of_the_public_one(op, *counts):
    for arguments in first_cases(op, "float32"):
        for parts in counts:
            places = written(op, arguments)
            before = [array.copy() for array in places]
            expected = op.fast(**arguments)
            after = [array.copy() for array in places]
            for array, old in zip(places, before):
                array[...] = old
            made = of_network if op.name.startswith("mlp") else of_layer
            found = run_raw(op.name, made(arguments, parts), expected, parts)
            for a, b in zip(*((each if isinstance(each, tuple) else (each,)) for each in (found, expected))):
                assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), arguments.keys()
            for array, new in zip(places, after):
                assert array.tobytes() == new.tobytes()
            for array, old in zip(places, before):
                array[...] = old


@pytest.mark.compiles(calls=lambda op: [partial(has_the_bits_of_the_public_one, op, 1)])
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_a_raw_op_has_the_bits_of_the_public_one(op):
    has_the_bits_of_the_public_one(op, 1, 3)


@pytest.mark.parametrize("name", ["relu", "identity", "tanh", "gelu"])
def test_raw_activations_are_those_of_the_table(name, rng):
    """One that is fused into products, none at all, one by its output and one by its input."""
    activation = ACTIVATIONS[name]
    Z, dY = (rng.standard_normal((7, 13)) for _ in range(2))
    Z[0, :3] = 0.0, -0.0, np.nan
    Y, dZ = np.empty_like(Z), np.empty_like(Z)
    for part in range(2):
        raw.activation_forward(part, 2, Z, activation, Y)
        raw.activation_backward(part, 2, dY, Z if activation.of_input else Y, activation, dZ)
    tolerance = 8 * np.finfo(Z.dtype).eps  # two units of 1, and those of the twin and of the products
    np.testing.assert_allclose(Y, activation.twin(Z), tolerance, tolerance)
    np.testing.assert_allclose(dZ, dY * activation.twin_slope(Z if activation.of_input else Y), tolerance, tolerance)


def test_raw_products_take_views_of_any_strides(rng):
    """And memory that the user's own function has made, of the size that it can ask for."""

    @njit
    def multiply(A, B, C):
        scratch = np.empty(2 * raw.scratch_size(A.shape[1], C.shape[1]), C.dtype)
        for part in range(2):
            raw.gemm(part=part, parts=2, A=A, B=B, out=C, scratch=scratch)

    whole = rng.integers(-4, 5, (3, 90, 100)).astype(np.float32)
    for A, B in ((whole[0, :40, ::2], whole[1, 5:55, 3:33]), (whole[0, ::-1, 7:57].T[:, :50], whole[1, 9:39, :50].T)):
        C = np.full((2 + len(A), 37), 7, np.float32)
        multiply(A, B, C[1:-1, 4:34])
        np.testing.assert_array_equal(C[1:-1, 4:34], A @ B)
        assert (np.delete(C[1:-1], range(4, 34), 1) == 7).all()
        assert (C[[0, -1]] == 7).all()


def test_the_example_of_the_documentation_runs_under_prange(rng):
    source = raw.__doc__.split("Arguments can be given by name.\n\n")[1].split("\nArrays have")[0]
    X = rng.integers(0, 256, (90, 70)).astype(np.uint8)
    W, b = rng.standard_normal((70, 50)).astype(np.float32), np.zeros(50, np.float32)
    namespace = {"njit": njit, "prange": prange, "raw": raw, "X": X, "W": W}
    exec("\n".join(line[4:] for line in source.splitlines()), namespace)
    expected = kernels.linear_relu_forward(X, W, b, scale=1 / 255)
    for array in (X, W, b):
        array.flags.writeable = False
    Y = np.full_like(expected, np.nan)
    namespace["forward"](X, W, b, Y, namespace["scratch"])
    assert Y.tobytes() == expected.tobytes()


def test_a_rate_may_be_of_any_type_of_number(rng):
    W, dW = rng.standard_normal((2, 5, 7)).astype(np.float32)
    expected = W.copy()
    kernels.sgd_update(expected, dW, 0.5)
    raw.sgd_update(0, 1, W, dW, np.float32(0.5), weight_decay=0)
    assert W.tobytes() == expected.tobytes()


def changed(**arguments):
    good = {"X": np.ones((3, 4)), "W": np.ones((4, 2)), "b": np.ones(2), "out": np.ones((3, 2)), "scratch": np.ones(10)}
    return good | arguments


def read_only(array):
    array.flags.writeable = False
    return array


ORDER = "strided or of another order; it must be C-contiguous (np.ascontiguousarray copies it)"
REFUSED = {
    "integers": (changed(W=np.ones((4, 2), int)), "W is of int64; it must be of float64"),
    "another float": (changed(b=np.ones(2, "f")), "b is of float32; it must be of float64"),
    "samples": (changed(X=np.ones((3, 4), np.int8)), "X is of int8; it must be of float32 or float64 or uint8"),
    "dimensions": (changed(X=np.ones(4)), "X is 1-dimensional; it must be 2-dimensional"),
    "order": (changed(W=np.ones((2, 4)).T), f"W is {ORDER}"),
    "strides": (changed(X=np.ones((6, 4))[::2]), f"X is {ORDER}"),
    "read-only": (changed(out=read_only(np.ones((3, 2)))), "out is read-only; it is written to"),
    "a number": (changed(W=3.0), "W is float64; it must be an array"),
    "nothing": (changed(out=None), "out is none; it must be an array"),
    "scratch of another float": (changed(scratch=np.ones(10, "f")), "scratch is of float32; it must be of float64"),
    "scratch of a sparse X": (
        changed(scratch=raw.linear_scratch(1, kernels.csr(np.eye(4)), np.ones((4, 2)))),
        "X is sparse, or scratch is for a sparse X, and not both; make the scratch of this X",
    ),
    "a matrix for Python": (changed(X=kernels.csr(np.eye(4))), "X is a CSR; compiled code takes raw.sparse(X, dtype)"),
    "a part that is no integer": (changed(part=0.0), "part is float64; it must be an integer"),
    "a scale that is no number": (changed(scale="1"), "scale is unicode_type; it must be a number"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_array_of_another_kind_is_an_error_of_one_line_that_names_it(name):
    arguments, message = REFUSED[name]
    with pytest.raises(TypeError) as error:
        raw.linear_forward(**{"part": 0, "parts": 1} | arguments)
    assert str(error.value).removeprefix("raw.linear_forward: ") == message


NETWORK, ROWS, Z = kernels.Network((4, 3)), np.arange(3), np.ones((3, 3), "f")
SAMPLES, LOSS = np.ones((3, 4), "f"), kernels.LOSSES["focal"]
SCRATCH, MODEL = raw.forward_scratch(1, SAMPLES, NETWORK), raw.model(NETWORK)
COUNTED = np.zeros(3), np.zeros(3, np.int64)
MATRIX, WEIGHTS = kernels.csr(SAMPLES), np.ones((4, 3))
OF_MATRIX, OF_SPARSE = raw.linear_scratch(1, MATRIX, WEIGHTS), raw.step_scratch(1, MATRIX, ROWS, 3, NETWORK)
OTHERS = {
    "a sparse X for other weights": (
        lambda: raw.linear_forward(0, 1, raw.sparse(MATRIX, "f"), WEIGHTS, None, np.ones((3, 3)), OF_MATRIX),
        r"X is for weights of float32; they are of float64: raw.sparse\(X, np.float64\)$",
    ),
    "a network for Python": (
        lambda: raw.mlp_forward(0, 1, SAMPLES, NETWORK, Z, SCRATCH),
        "^network is a Network; .* takes raw.model",
    ),
    "a scratch for a network": (
        lambda: raw.mlp_forward(0, 1, SAMPLES, SCRATCH, Z, SCRATCH),
        "network is .*; it must be raw.model",
    ),
    "no scratch": (
        lambda: raw.mlp_forward(0, 1, SAMPLES, MODEL, Z, None),
        r"scratch is none; it must be raw.forward_scratch\(...\)",
    ),
    "a model as a constant": (
        lambda: njit(lambda Z, scratch: raw.mlp_forward(0, 1, SAMPLES, MODEL, Z, scratch))(Z, SCRATCH),
        "a Model is a constant of a compiled function, .*; pass it as an argument",
    ),
    "scratch as a constant": (
        lambda: njit(lambda Z, model: raw.mlp_forward(0, 1, Z, model, Z, SCRATCH))(Z, MODEL),
        "a ForwardScratch is a constant",
    ),
    "a step's scratch of a sparse X": (
        lambda: raw.mlp_gradient(0, 1, SAMPLES, ROWS, ROWS, MODEL, LOSS(), None, Z[0], *COUNTED, OF_SPARSE),
        "X is sparse, or scratch",
    ),
    "a loss by its name": (
        lambda: raw.loss_gradient(0, 1, Z, ROWS, "focal", None, Z, *COUNTED),
        "loss is unicode_type; .* loss that is made",
    ),
    "a loss that is not made": (
        lambda: raw.loss_gradient(0, 1, Z, ROWS, LOSS, None, Z, *COUNTED),
        "loss is class.*; .* loss that is made",
    ),
    "a rule by its name": (
        lambda: raw.update(0, 1, Z, Z, None, "sgd", 0.1),
        r"rule is unicode_type; it must be a rule, as kernels.adam\(\)",
    ),
    "no state": (
        lambda: raw.update(0, 1, Z, Z, None, kernels.adam(), 0.1),
        r"state is none; .* 2 numbers for each of W: \[2, ",
    ),
    "an activation by its name": (
        lambda: raw.activation_forward(0, 1, Z, "relu", Z),
        "activation is .*; it must be an activation",
    ),
    "an op for Python": (
        lambda: njit(lambda Z: kernels.softmax(Z))(Z),
        "line [0-9]+: kernels.softmax is for Python; .* call kernels.raw.softmax$",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_would_read_or_write_other_memory_is_an_error_of_one_line(name):
    call, message = OTHERS[name]
    with pytest.raises(TypeError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_in_compiled_code_the_error_begins_with_its_place():
    @njit
    def run(X, W, out, scratch):
        raw.linear_forward(0, 1, X, W, b=None, out=out, scratch=scratch)

    @njit
    def forget(X, W, out):
        raw.linear_forward(0, 1, X, W, b=None, out=out)

    place = r"^[^\n]*test_raw.py, line [0-9]+: raw.linear_forward"
    with pytest.raises(TypeError, match=f"{place}: W is of int64; it must be of float64$"):
        run(np.ones((3, 4)), np.ones((4, 2), int), np.ones((3, 2)), np.ones(10))
    arguments = r"\(part, parts, X, W, b, out, scratch, scale=1.0\)"
    with pytest.raises(TypeError, match=f"{place}{arguments}: missing a required argument: 'scratch'$"):
        forget(np.ones((3, 4)), np.ones((4, 2)), np.ones((3, 2)))


def test_scratch_is_made_for_a_network_with_the_state_of_the_rule():
    """Else a step would write past its end."""
    for rule, batch, message in (
        (kernels.adam(), 3, "network has 0 slots of state; this rule needs 2"),
        (kernels.sgd(), 0, "batch is 0; it must be"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            raw.step_scratch(1, SAMPLES, ROWS, batch, NETWORK, rule)


def test_scratches_of_steps_made_in_one_thread_may_be_used_in_two():
    """They shared the memory that this thread keeps for the public ops: both networks got wrong weights."""
    first, second = (raw.step_scratch(1, SAMPLES, ROWS, 3, NETWORK).workspace for _ in range(2))
    for one, other in zip((first.values, *first.scratch), (second.values, *second.scratch)):
        assert not np.shares_memory(one, other)


def test_scratch_for_more_rows_serves_fewer(rng):
    """Else a forward pass would read and write past their end."""
    X, network = kernels.csr((rng.random((9, 6)) < 0.5).astype("f")), kernels.Network((6, 4, 2))
    network.params[:] = rng.standard_normal(network.params.size)
    few = kernels.csr(X.toarray()[:5])
    out, scratch = np.full((9, 2), 7, "f"), raw.forward_scratch(1, X, network)
    raw.mlp_forward(0, 1, raw.sparse(few, "f"), raw.model(network), out, scratch)
    np.testing.assert_array_equal(out, np.concatenate([kernels.mlp_forward(few, network), np.full((4, 2), 7)]))


def test_samples_of_another_float_than_the_network_s_are_refused():
    X, network = np.ones((2, 4)), kernels.Network((4, 3), dtype="f")
    with pytest.raises(TypeError, match="mlp_forward: X is of float64; it must be of float32 or uint8$"):
        raw.mlp_forward(0, 1, X, raw.model(network), np.ones((2, 3), "f"), raw.forward_scratch(1, X, network))


def test_the_module_shows_its_own_names_and_no_others():
    assert dir(raw) == sorted(raw.__all__)
    assert all(getattr(raw, name).__doc__ for name in raw.__all__ if name.islower())
