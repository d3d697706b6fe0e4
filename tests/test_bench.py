"""The benchmarks measure what they say: every peer does the same work, and what is recorded is what is shown."""

import json
import sys
from dataclasses import replace

import bfloat16
import cold_start
import counted
import numpy as np
import pytest
from lines import one_line

import kernels
from fastmlp import bench
from fastmlp.__main__ import main as dispatch
from fastmlp.data.synthetic import load_synthetic

import claims
import compare
import own_kernel
import peers
import products
import workloads
from interleave import Effort, interleave, spread
from peers.notebook import LR
from peers.numpy_mlp import Tuned
from peers.ours import Fused

pytestmark = pytest.mark.filterwarnings("default")  # what the peers warn of is not ours

BATCH, STEPS, SAMPLES = 8, 6, 200
TINY = Effort(1, 0, 0, 1, patient=False, tiny=True)


class Reference(Fused):
    """The definition of the kernels: what all are tested against."""

    label = "reference"

    def __init__(self, work, threads):
        super().__init__(work, threads)
        self.ops = kernels.reference


def tiny(kind, momentum=0.0):
    """Work of each kind, on odd widths."""
    rng = np.random.default_rng(0)
    X = np.where(rng.random((SAMPLES, 30)) < 0.3, rng.integers(1, 256, (SAMPLES, 30)), 0).astype(np.uint8)
    work = {
        "pixels": workloads.Work("pixels", X, rng.integers(0, 10, SAMPLES), (30, 17, 10), BATCH, 1 / 255),
        "table": replace(workloads.table(SAMPLES, 40), sizes=(40, 19, 13, 5)),
        "sparse": workloads.wide(SAMPLES, 300),
    }[kind]
    return replace(work, batch=BATCH, momentum=momentum)


def classes_of(family, slow_to_compile=False):
    found, skipped = peers.find([family])
    if skipped:
        pytest.skip(skipped[family])
    return [make for make in found if make.slow_to_compile == slow_to_compile]


def require_torch_compiles():
    torch = pytest.importorskip("torch")
    try:
        torch.compile(torch.sin)(torch.ones(9))
    except Exception as error:  # no C++ compiler, no such system, no such Python: each its own
        pytest.skip(f"torch.compile does not work here ({str(error).splitlines()[0]})")


def trained(make, work, rows, rates, before=STEPS):
    """The weights after these steps; what it learnt in those before must be forgotten."""
    peer = make(work, 2)
    peer.load(work.initial_layers(1))
    peer.steps(rows[: before * BATCH], rates[:before])
    peer.load(work.initial_layers(0))
    peer.steps(rows, rates)
    return peer.layers()


# -- peers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "momentum"), [("pixels", 0.0), ("pixels", 0.9), ("table", 0.0), ("sparse", 0.0)])
@pytest.mark.parametrize("family", [*peers.MODULES, pytest.param("torch compiled", marks=pytest.mark.nightly)])
def test_a_peer_trains_to_the_same_weights(family, kind, momentum):
    """A library may round a weight once for every row of the batch that it adds to it, each time by half a unit."""
    work = tiny(kind, momentum)
    family, _, compiled = family.partition(" ")
    if compiled:
        require_torch_compiles()
    makes = [make for make in classes_of(family, bool(compiled)) if make.can_train(work) and make.same_steps]
    if not makes:
        pytest.skip(f"{family} has nothing that does this work step by step")
    rows, rates = np.random.default_rng(1).integers(0, SAMPLES, STEPS * BATCH), np.repeat([0.05, 0.02], STEPS // 2)
    initial = work.initial_layers()
    if momentum and family in ("sklearn", "keras"):  # their velocity holds the rate, which counts where it changes
        rates[:] = 0.05
    expected = trained(Reference, work, rows, rates, before=0)
    start = [(0 * W, 0 * b) for W, b in initial]
    roundings = 2.0**-24 * STEPS * BATCH / peers.distance(expected, initial, start)
    assert roundings < 1e-3  # a wrong rate, batch or bias moves the weights by a hundredth and more
    for make in makes:
        assert peers.distance(trained(make, work, rows, rates), expected, initial) < roundings, make.label


def test_the_notebooks_step_is_the_reference_on_the_rows_that_it_draws():
    work = tiny("pixels")
    (notebook,) = classes_of("notebook")
    peer = notebook(work, 2)
    peer.load(work.initial_layers())
    peer.steps(np.zeros(0, int), np.zeros(STEPS))
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.choice(SAMPLES, BATCH, replace=False) for _ in range(STEPS)])
    network = kernels.Network(work.sizes, bias=False, dtype="float64")
    for (W, _), (W0, _) in zip(network.layers, work.initial_layers()):
        W[...] = W0
    kernels.reference.mlp_train_steps(
        work.X, work.y, rows, BATCH, network, rule=kernels.sgd(), lr=np.full(STEPS, LR), scale=1 / 255, mean=False,
        epsilon=1e-10,
    )  # fmt: skip
    for (W, _), (expected, _) in zip(peer.layers(), network.layers):
        np.testing.assert_allclose(W, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("family", peers.MODULES)
def test_a_peer_predicts_the_same_probabilities(family):
    work = tiny("pixels")
    X, layers = work.X[:7], work.initial_layers()

    def probabilities(make):
        peer = make(work, 2)
        peer.load(layers)
        return kernels.reference.softmax(np.asarray(peer.predict(peer.inputs(X)), np.float64))

    for make in classes_of(family):
        if make.predicts:
            np.testing.assert_allclose(probabilities(make), probabilities(Reference), rtol=1e-5)


def test_an_epoch_visits_every_row_once_but_the_last_short_batch():
    seen = []

    class Recorder(peers.Peer):
        def steps(self, rows, rates):
            seen.extend(rows)

    work = replace(tiny("pixels"), batch=16)
    Recorder(work, 1).epoch(np.random.default_rng(0), np.zeros(12))
    assert len(seen) == len(set(seen)) == 192
    rows = workloads.shuffled_rows(work, 3)
    first, second = (np.concatenate([next(rows) for _ in range(4)]) for _ in range(2))
    assert len(set(first)) == len(set(second)) == len(first) == 192
    assert (first != second).any()


def test_a_peer_that_is_not_installed_is_skipped_with_the_reason(monkeypatch):
    monkeypatch.setitem(peers.MODULES, "nothing", "nothing_mlp")
    found, skipped = peers.find(["numpy", "nothing"])
    assert found == [Tuned]
    assert skipped == {"nothing": "not installed (No module named 'peers.nothing_mlp')"}


# -- what is measured
# ----------------------------------------------------------------------------------------------------


@pytest.fixture
def session(monkeypatch):
    """Ours and NumPy on synthetic digits; tiny."""
    data = replace(load_synthetic(n=500, n_test=100), name="synthetic digits")
    monkeypatch.setattr(workloads, "images", lambda: data)
    return claims.Session(claims.ALWAYS, TINY)


class WrongRate(Tuned):
    label = "wrong rate"

    def step(self, index, rate):
        super().step(index, rate * np.float32(1.01))


class Broken(Tuned):
    label = "broken"

    def predict(self, X):
        raise ValueError("two\nlines")


def test_a_peer_that_does_other_work_or_fails_is_left_out_and_named(session):
    session.makes += [WrongRate, Broken]
    work, steps = claims.training_work(session, "small")
    assert "wrong rate" not in claims.training_calls(session, work, steps)
    assert "broken" not in claims.prediction_calls(session, 3)
    ours = {"fastmlp", "NumPy float32"}
    assert ours <= set(claims.training_calls(session, work, steps)) & set(claims.prediction_calls(session, 3))
    assert session.skipped[f"wrong rate, {work}"].startswith("does other work than fastmlp")
    assert session.skipped["broken, prediction"] == "ValueError: two lines"


def test_the_work_is_counted_without_the_zeros():
    X = np.zeros((4, 6), np.uint8)
    X[:, :3] = 1
    work = workloads.Work("half", X, np.zeros(4, int), (6, 5, 2), 4)
    # Forward and weight gradient on 3 inputs; forward and both gradients of 5 x 2.
    assert work.flop == 4 * (2 * 2 * 3 * 5 + 3 * 2 * 5 * 2)


def test_the_recipe_rises_to_the_peak_and_falls_to_nothing_in_pieces():
    rates = workloads.one_cycle(replace(tiny("pixels"), batch=1), 4)
    flat = rates.ravel()
    assert rates.shape == (4, SAMPLES)
    assert flat.max() == pytest.approx(workloads.PEAK_RATE, rel=0.05)
    assert 0.14 < flat.argmax() / flat.size < 0.16
    assert 0 < flat[-1] < 0.01 * workloads.PEAK_RATE
    assert len(np.unique(flat)) <= 4 * 34


def test_calls_take_turns_and_their_quartiles_are_told():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = interleave(calls, Effort(rounds=3, block_seconds=0, pause_seconds=0))
    assert order == list("aabb" * 3)  # one untimed, one timed
    assert [len(values) for values in seconds.values()] == [3, 3]
    assert spread([5.0, 1.0, 2.0, 4.0, 3.0]) == {"median": 3.0, "q1": 2.0, "q3": 4.0, "rounds": 5}
    assert spread([7.0]) == {"median": 7.0, "q1": 7.0, "q3": 7.0, "rounds": 1}


def test_in_no_time_only_ours_is_measured_once_and_the_others_are_told(monkeypatch, session):
    lines = []
    hurried = claims.Session(claims.ALWAYS, TINY._replace(minutes=0, rounds=3), say=lines.append)
    samples = claims.measure(hurried, "fastmlp bench")["samples"]
    assert {(s["peer"], s["rounds"]) for s in samples if s["claim"] in ("training", "prediction")} == {("fastmlp", 1)}
    assert hurried.skipped["NumPy float32, prediction"] == "no time was left for it; --against names fewer libraries"
    assert lines[1].startswith("[1/10, at most 0.00 s left] training steps: ")
    assert lines[-1].startswith("[10/10, at most 0.00 s left] kernels on a layer of")


@pytest.fixture
def result(session):
    return claims.measure(session, "fastmlp bench")


def test_the_result_is_complete_and_its_table_says_so(result):
    again = json.loads(json.dumps(result, allow_nan=False))
    assert again == result
    assert set(result) == {"machine", "versions", "date", "command", "effort", "samples", "skipped"}
    for sample in result["samples"]:
        assert 0 < sample["q1"] <= sample["median"] <= sample["q3"]
    assert result["machine"]["peak_gflops"] > 0
    assert result["machine"]["bandwidth_gbs"] > 0
    assert result["versions"]["numpy"] == np.__version__
    labels = {(sample["claim"], sample["peer"]) for sample in result["samples"]}
    assert {
        ("training", "NumPy float32"),
        ("training", "the notebook (NumPy float64)"),
        ("prediction", "fastmlp"),
    } <= labels
    text = "\n".join(claims.table(result))
    for sample in result["samples"]:
        assert sample["peer"] in text
        assert sample["work"] in text
    assert "left out: time to accuracy: MNIST is not on this machine" in text
    assert "left out: whole process: MNIST is not on this machine" in text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(2.5, "s", "2.5 s"), (0.0123, "s", "12.3 ms"), (9.99e-7, "s", "0.999 us"), (1.2e9, "bytes", "1200 MB")],
)
def test_numbers_are_printed_in_a_unit_that_can_be_read(value, unit, text):
    assert claims.in_unit(value, unit) == text


@pytest.mark.skipif(sys.platform == "win32", reason="wait4")
def test_the_peak_memory_of_a_process_is_its_own():
    """Linux tells of a child at least what its parent had when it was forked."""
    held = np.ones(300_000_000, np.uint8)
    _, peak, accuracy = claims.run_process([sys.executable, "-c", "print(0.5)"], {})
    assert accuracy == 0.5
    assert 1e6 < peak < held.nbytes / 3


def test_a_process_that_fails_is_told_in_one_line():
    with pytest.raises(claims.RunError, match=r"-c raise ValueError\(3\) ended with exit code 1: ValueError: 3"):
        claims.run_process([sys.executable, "-c", "raise ValueError(3)"], {})


@pytest.mark.slow
def test_whole_processes_reach_the_same_accuracy(mnist, mnist_dir, monkeypatch):
    monkeypatch.setattr(workloads, "images", lambda: replace(mnist, name="MNIST", source=str(mnist_dir)))
    session = claims.Session(("fastmlp", "numpy"), TINY)
    samples = list(claims.processes(session))
    assert [(s["claim"], s["peer"]) for s in samples] == [
        (claim, peer) for claim in ("whole process", "peak memory") for peer in ("fastmlp", "NumPy float32")
    ]
    assert all(sample["accuracy"] > 0.96 for sample in samples)
    assert session.skipped == {}


# -- the command
# ---------------------------------------------------------------------------------------------------------


def test_the_command_prints_what_was_measured(session, monkeypatch, capsys):
    monkeypatch.setattr(claims, "Session", lambda families, *rest: replace(session, parts=list(claims.PARTS)))
    monkeypatch.setattr(claims, "CLAIMS", (claims.prediction,))
    assert dispatch(["bench", "--against", "torch", "--quick", "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out)["command"] == "fastmlp bench --against torch --quick --json"
    assert dispatch(["bench"]) == 0
    assert "logits, from Python: 784-256-10, 1 sample a call\n  fastmlp " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "torch,theano"], "--against theano: must be of torch, jax, "),
        (["--plot", "nowhere/x.png"], "--plot nowhere/x.png: "),
        (["--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_bad_options_are_one_line(arguments, message, command):
    result = command(bench, *arguments)
    one_line(result, 2, "needs Matplotlib" if "needs Matplotlib" in result[2] else message)


def test_outside_a_clone_the_command_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "_BENCH", tmp_path)
    monkeypatch.delattr(claims, "measure")
    assert bench.main([]) == 2
    assert "runs in a clone of the repository only" in capsys.readouterr().err


def test_the_command_knows_every_peer():
    assert {*claims.ALWAYS, *bench.FAMILIES} == set(peers.MODULES)


# -- pictures
# ------------------------------------------------------------------------------------------------------------


def test_bars_start_at_zero_and_end_at_the_median(result):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    import pictures

    works = pictures.by_work(result, "training")
    figure = Figure()
    pictures.PICTURES["training"](result, figure)
    assert len(figure.axes) == len(works) == 4
    for ax, samples in zip(figure.axes, works.values()):
        assert ax.get_xlim()[0] == 0
        assert ax.get_xscale() == "linear"
        assert [bar.get_x() for bar in ax.patches] == [0] * len(samples)
        assert [bar.get_width() for bar in ax.patches] == [sample["median"] for sample in samples]
        assert [label.get_text() for label in ax.get_yticklabels()] == [sample["peer"] for sample in samples]
        blue = [bar.get_facecolor()[2] > bar.get_facecolor()[0] for bar in ax.patches]
        assert blue == [sample["peer"] == "fastmlp" for sample in samples]


def test_the_roofline_shows_every_kernel_and_the_measured_limits(result):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    import pictures

    figure = Figure()
    pictures.roofline(result, figure)
    (ax,) = figure.axes
    roof, *points = ax.lines
    kernels_run = [sample for sample in result["samples"] if sample["claim"] == "roofline"]
    drawn = sorted((float(x), float(y)) for line in points for x, y in zip(*line.get_data()))
    assert drawn == sorted((sample["flop_per_byte"], sample["gflops"]) for sample in kernels_run)
    x, y = roof.get_data()
    assert y.max() == result["machine"]["peak_gflops"]
    assert y[0] / x[0] == pytest.approx(result["machine"]["bandwidth_gbs"])


def test_pictures_are_1200_wide_and_small(result, tmp_path):
    pytest.importorskip("matplotlib")
    import pictures

    pictures.save(result, tmp_path / "all.png")
    png = (tmp_path / "all.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(png[16:20], "big") == 1200
    assert len(png) < 100_000


# -- the baseline
# ----------------------------------------------------------------------------------------------------------


def measured(ratio, instructions, where="here"):
    return {
        "ratios": {"where": where, "values": {"a step": ratio, "logits": 2.0}},
        "instructions": {"where": where, "values": {"softmax": instructions}},
    }


@pytest.mark.parametrize(
    ("new", "worse"),
    [
        (measured(4.0, 1000), []),
        (measured(2.81, 1019), []),
        (measured(9.0, 100), []),
        (measured(2.79, 1000), ["a step"]),
        (measured(4.0, 1021), ["softmax"]),
        (measured(1.0, 2000), ["a step", "softmax"]),
        (measured(1.0, 2000, "elsewhere"), []),
    ],
)
def test_slower_is_told_from_as_fast(new, worse):
    lines, found = compare.verdict(measured(4.0, 1000), new)
    assert found == worse
    assert sum(line.endswith("WORSE") for line in lines) == len(worse)
    assert any("not judged: recorded here, now elsewhere" in line for line in lines) == (
        new["ratios"]["where"] != "here"
    )


def test_a_measurement_that_has_gone_is_worse_and_a_new_one_is_not():
    old, new = measured(4.0, 1000), measured(4.0, 1000)
    del new["ratios"]["values"]["logits"]
    new["ratios"]["values"]["new"] = 0.1
    assert compare.verdict(old, new)[1] == ["logits"]


def test_the_baseline_is_recorded_and_then_held_to(tmp_path, monkeypatch, capsys):
    path = tmp_path / "baseline.json"
    monkeypatch.setattr(compare, "BASELINE", path)
    for ratio, options, code in (
        (4.0, (), 2),
        (4.0, ("--record",), 0),
        (3.9, (), 0),
        (2.0, (), 1),
        (2.0, ("--quick",), 0),
        (2.0, ("--record",), 0),
    ):
        monkeypatch.setattr(compare, "ratios", lambda effort, ratio=ratio: measured(ratio, 0)["ratios"])
        monkeypatch.setattr(compare, "instructions", lambda ratio=ratio: None)
        assert compare.main(options) == code
    assert "slower than the baseline: a step" in capsys.readouterr().err
    assert json.loads(path.read_text())["ratios"]["values"]["a step"] == 2.0


def test_instructions_a_call_are_those_between_markers(monkeypatch):
    monkeypatch.setattr(counted, "names", lambda: ["one", "two"])
    start, setup, n = 999, 50, counted.CALLS
    totals = [start, n * 7 + 1, 2 * n * 7 + 1, setup, n * 90 + 2, 2 * n * 90 + 2]
    assert compare.per_call(totals) == {"one": 7, "two": 90}


def test_what_is_counted_can_be_called():
    for _, call in counted.hot_kernels():
        call()


@pytest.mark.nightly
def test_callgrind_counts_the_kernels_instructions():
    counts = compare.instructions()
    if counts is None:
        pytest.skip("valgrind is not installed")
    multiply_adds = 32 * 784 * 256 / 8  # a vector has eight lanes
    for name in ("linear_relu_forward 32x784x256", "linear_backward_weight 32x784x256"):
        assert multiply_adds < counts["values"][name] < 4 * multiply_adds


def test_the_steps_to_a_kernel_are_the_pages_and_are_all_timed():
    found = own_kernel.record(TINY)["seconds"]
    assert list(found) == list(json.loads((own_kernel.RESULTS / "own_kernel.json").read_text())["seconds"])
    assert all(each["median"] > 0 for each in found.values())


def test_products_are_recorded_for_every_op_and_peer():
    found = products.record(TINY, [(2, 9, 3)])["products"]
    assert [row["op"] for row in found] == ["linear_forward", "linear_backward_input", "linear_backward_weight"]
    assert all({"fastmlp", "NumPy"} <= set(row["seconds"]) for row in found)


@pytest.mark.skipif(not kernels.bfloat16.is_available(), reason="this machine has no AMX")
def test_steps_in_bfloat16_are_recorded_beside_those_in_float32():
    [found] = bfloat16.record(TINY, [replace(tiny("table"), sizes=(40, 48, 5))])["steps"]
    assert {"fastmlp", "fastmlp, bfloat16"} <= set(found["seconds"])
    assert all(each["median"] > 0 for each in found["seconds"].values())


@pytest.mark.parametrize(
    ("free", "end"),
    [
        ([0], 6),  # the large one, what it has asked for, and the small one
        ([0, 0], 4),  # one is asked for at 1, when the second worker has done the small one, and takes 3
        ([0, 2], 5),
    ],
)
def test_a_cold_start_is_played_through_with_a_core_for_each_worker(free, end):
    compiled = {
        "large": cold_start.Compiled(9, 2, [(1, "asked"), (1, "small")]),
        "asked": cold_start.Compiled(5, 3, []),
        "small": cold_start.Compiled(1, 1, []),
    }
    assert cold_start.finished(["large", "small"], compiled, free, 0) == end
