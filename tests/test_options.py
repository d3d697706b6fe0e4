"""What a training run can be asked for beyond rates and sizes: each option does what it says, on both backends."""

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest

import fastmlp
import kernels
from fastmlp import config
from fastmlp.config import configure, read_toml
from fastmlp.data import Sparse
from fastmlp.data.synthetic import load_synthetic
from fastmlp.errors import InputError, Interrupted, RunError
from fastmlp.training.augment import distortion
from fastmlp.training.find_lr import Trial, _smooth, find_lr
from fastmlp.training.loop import Observer
from fastmlp.training.parallel import World

OPTIONS = [
    {"dropout": 0.3, "hidden": (40, 30)},
    {"label_smoothing": 0.1},
    {"loss": "focal:2", "input": "dense"},
    {"class_weight": "balanced"},
    {"class_weight": "1,2,3,4,5,5,4,3,2,1"},
    {"clip_norm": 0.1},
    {"average": 0.8, "layer_rates": (0.5, 2)},
    {"average": 1.0, "clip_norm": 0.1},
    {"augment": "affine"},
    {"augment": "elastic", "augment_strength": 0.5},
    {"validation": 0.2, "standardize": "yes"},
    {"schedule": "step", "warmup": 0.2},
    {"activation": "relu,silu", "hidden": (40, 30), "lr": 0.01, "input": "dense"},
    {"activation": "gelu", "hidden": (40, 30), "lr": 0.01, "input": "dense"},
    # Of the others only the name is another here; test_ops compares every activation with its twin.
    *(
        pytest.param({"activation": name, "hidden": (40, 30), "lr": 0.01}, marks=pytest.mark.nightly)
        for name in kernels.ACTIVATIONS
        if name not in ("relu", "gelu")
    ),
]


def test_the_choices_are_those_of_the_kernels_tables():
    """The command line names them without loading Numba."""
    assert tuple(kernels.ACTIVATIONS) == config.ACTIVATIONS
    assert list(config.RULES) == list(kernels.RULES)


@pytest.mark.parametrize("activation", [*kernels.ACTIVATIONS, ("relu", "silu")], ids=str)
def test_a_saved_model_has_the_activation_that_it_was_trained_with(tmp_path, activation):
    hidden = (20,) if isinstance(activation, str) else (20, 10)
    data = few_digits()
    model = fastmlp.fit(data, steps=5, hidden=hidden, activation=activation, backend="reference").model
    model.save(tmp_path / "model.npz")
    loaded = fastmlp.load_model(tmp_path / "model.npz")
    assert loaded.network.activation == activation
    loaded.backend = "reference"  # for which nothing is compiled
    np.testing.assert_array_equal(loaded.predict_proba(data.X_test), model.predict_proba(data.X_test))


@cache
def few_digits():
    return load_synthetic(seed=1, n=400, n_test=100)


def twelve_steps(**options):
    """A run in float64, where 12 steps cannot amplify a rounding error to 1e-9."""
    return fastmlp.fit(few_digits(), **{"steps": 12, "report_steps": 4, "hidden": (40,), "dtype": "float64", **options})


@pytest.mark.compiles(calls=lambda options: [partial(twelve_steps, **options)])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_an_option_does_the_same_on_both_backends_and_any_number_of_threads_and_changes_the_weights(options):
    slow, *fast = (
        twelve_steps(**options, **how) for how in ({"backend": "reference"}, *({"threads": n} for n in (1, 2, 3)))
    )
    plain = {"hidden": options["hidden"]} if "hidden" in options else {}
    digests = {run.summary["weights_sha256"] for run in fast}
    assert len(digests) == 1
    assert digests != {twelve_steps(**plain).summary["weights_sha256"]}
    for ours, exact in zip(fast[0].history, slow.history, strict=True):
        for name in ("train_loss", "train_accuracy", "validation_loss", "test_loss", "lr"):
            if getattr(exact, name) is not None:
                assert getattr(ours, name) == pytest.approx(getattr(exact, name), rel=1e-9)


def test_sample_weights_of_zero_hide_their_samples(digits, rng):
    """Half the samples are labelled wrong; with weight 0 they do no harm."""
    wrong = rng.random(len(digits.y)) < 0.5
    y = np.where(wrong, rng.integers(0, 10, len(digits.y)), digits.y)
    spoilt = replace(digits, y=y)
    weighted = replace(spoilt, sample_weight=np.where(wrong, 0.0, 2.0))
    bad, good = (fastmlp.fit(data, epochs=12).summary["test_accuracy"] for data in (spoilt, weighted))
    assert good > 0.8 > bad + 0.05


def test_the_unit_of_weights_does_not_change_the_training(digits, rng):
    """Shares of all rows, or numbers of people, say the same; by powers of two the bits are the same, too."""
    weights = rng.uniform(0.5, 1.5, len(digits.y))
    runs = [
        fastmlp.fit(replace(digits, sample_weight=weights * unit), epochs=2).summary for unit in (1, 2.0**-17, 2.0**17)
    ]
    assert len({run["weights_sha256"] for run in runs}) == 1
    assert len({run["train_loss"] for run in runs}) == 1
    of_classes = [
        fastmlp.fit(digits, epochs=2, class_weight=",".join([weight] * 10)).summary["weights_sha256"]
        for weight in ("1", "0.0625", "64")
    ]
    assert {*of_classes} == {fastmlp.fit(digits, epochs=2).summary["weights_sha256"]}


def test_balanced_classes_weigh_as_much_together(digits):
    """Of two classes 20 : 1, the rare one is found more often."""
    rows = np.concatenate([np.flatnonzero(digits.y == 3), np.flatnonzero(digits.y == 8)[:7]])
    data = replace(digits, X=digits.X[rows], y=digits.y[rows])
    keep = np.isin(digits.y_test, [3, 8])
    eights = digits.X_test[keep & (digits.y_test == 8)]
    found = [
        (fastmlp.fit(data, epochs=3, batch_size=16, lr=0.01, class_weight=weight).model.predict(eights) == 8).mean()
        for weight in (None, "balanced")
    ]
    assert found[1] > found[0]


def test_a_list_of_class_weights_and_a_width_of_zero_are_those_of_the_command_line():
    given = configure(hidden=0, class_weight=[1, 2.5])
    assert (given.hidden, given.class_weight) == ((), "1,2.5")


def test_label_smoothing_keeps_the_probabilities_off_the_ends(digits):
    sure, unsure = (
        fastmlp.fit(digits, epochs=20, label_smoothing=s).model.predict_proba(digits.X).max(1).mean() for s in (0, 0.2)
    )
    assert sure > 0.95
    assert unsure == pytest.approx(0.82, abs=0.04)  # 1 - 0.2 + 0.2 / 10


def test_early_stopping_keeps_the_best_weights(digits):
    options = {"epochs": 60, "patience": 3, "lr": 0.2, "schedule": "constant", "hidden": (64,)}
    for monitor, best in (("validation_loss", min), ("validation_accuracy", max), ("train_loss", min)):
        result = fastmlp.fit(digits, monitor=monitor, **options)
        values = [getattr(report, monitor) for report in result.history]
        assert len(values) < 60
        first = values.index(best(values))
        assert result.summary["best_epoch"] == result.history[first].epoch == len(values) - 3
        if monitor != "train_loss":
            assert result.summary[monitor] == best(values)
        assert result.summary["test_loss"] == result.history[first].test_loss
        assert result.model.evaluate(digits.X_test, digits.y_test)[0] == result.history[first].test_loss


def test_a_loss_of_classes_is_measured_and_remembered(digits, tmp_path):
    result = fastmlp.fit(digits, loss="focal:3", steps=40, input="dense")
    result.model.save(tmp_path / "model.npz")
    again = fastmlp.load_model(tmp_path / "model.npz")
    Z = kernels.mlp_forward(digits.X_test, again.network, scale=again.scale)
    expected = kernels.loss_gradient(Z, digits.y_test, kernels.LOSSES["focal"](3.0))[0] / len(Z)
    assert again.evaluate(digits.X_test, digits.y_test)[0] == result.summary["test_loss"] == pytest.approx(expected)
    assert expected < 0.9 * kernels.softmax_cross_entropy(Z, digits.y_test)[0] / len(Z)
    assert (
        fastmlp.fit(digits, loss="softmax_cross_entropy", steps=2).summary["weights_sha256"]
        == (fastmlp.fit(digits, steps=2).summary["weights_sha256"])
    )


def test_validation_samples_are_not_trained_on(digits):
    """Samples with labels at random can be learnt by heart, and only those that are seen are."""
    data = replace(digits, y=np.random.default_rng(0).integers(0, 10, len(digits.y)))
    result = fastmlp.fit(data, validation=0.3, epochs=60, hidden=(256,))
    assert result.history[-1].train_accuracy > 0.9
    assert result.history[-1].validation_accuracy < 0.2
    assert result.summary["samples"] == 60 * round(0.7 * len(digits.X))


def test_tables_are_standardised_by_the_training_set_and_models_know_it(rng, tmp_path):
    """Features of sizes 1e-3 to 1e6, far from zero, one a constant whose mean is rounded, one a time in seconds."""
    y = rng.integers(0, 3, 600)
    X = rng.standard_normal((600, 6)) + np.eye(3, 6)[y] * 3
    X = X * 10.0 ** np.arange(-3, 3) * 1000 + 5000
    X[:, 4], X[:, 5] = 1.7e9 + X[:, 4] / 1e4, 0.3
    data = fastmlp.Dataset("table", X[:400], y[:400], X[400:], y[400:], ("a", "b", "c"), "memory")
    result = fastmlp.fit(data, epochs=20, hidden=(16,), batch_size=32)
    assert result.summary["test_accuracy"] > 0.9
    np.testing.assert_allclose(result.model.mean, X[:400].mean(0))
    np.testing.assert_allclose(result.model.std[:5], X[:400].std(0)[:5])
    standardised = result.model.standardise(X[:400])
    np.testing.assert_allclose(standardised[:, :5].std(0, dtype=float), 1, rtol=1e-6)  # float32
    assert standardised.dtype == np.float32
    assert (standardised[:, 5] == 0).all()
    assert result.model.evaluate(X[400:], y[400:])[1] == result.summary["test_accuracy"]
    result.model.save(tmp_path / "table.npz")
    again = fastmlp.load_model(tmp_path / "table.npz")
    assert again.predict_proba(X[400:]).tobytes() == result.model.predict_proba(X[400:]).tobytes()
    W, b = again.folded_layers()[0]
    Z = np.maximum(X[400:] @ W + b, 0) @ again.folded_layers()[1][0] + again.folded_layers()[1][1]
    assert (Z.argmax(1) == again.class_indices(X[400:])).mean() > 0.99  # but for ties within rounding
    unscaled = fastmlp.fit(data, epochs=20, hidden=(16,), batch_size=32, standardize="no")
    assert unscaled.model.mean is None
    assert unscaled.summary["test_accuracy"] < 0.8


def test_distorted_images_depend_on_seed_epoch_and_row_alone(digits):
    distort = distortion(configure(augment="elastic", seed=4), digits)
    rows = np.array([5, 9, 5])
    first, epoch = distort(digits.X, rows, epoch=0), distort(digits.X, rows, epoch=1)
    assert (first[0] == first[2]).all()
    assert (first[0] != epoch[0]).any()
    np.testing.assert_array_equal(distort(digits.X, np.array([9]), epoch=0)[0], first[1])
    assert (distortion(configure(augment="elastic", seed=5), digits)(digits.X, rows) != first).any()
    still = distortion(configure(augment="affine", augment_strength=0.0), digits)
    assert (still(digits.X, rows) == digits.X[rows]).all()
    ink = digits.X[:200].astype(float).sum()
    assert distort(digits.X, np.arange(200)).sum() == pytest.approx(ink, rel=0.1)  # moved, not made
    paper = replace(digits, X=255 - digits.X)  # dark on light: paper comes in from outside, not ink
    turned = distortion(configure(augment="elastic", seed=4), paper)(paper.X, rows)
    assert np.abs(255 - turned.astype(int) - first).max() <= 1  # a half is rounded up in both


def test_images_are_distorted_as_far_as_the_help_says(digits, monkeypatch):
    """Half as far as 15 degrees, 15 %, 7 % of 28 pixels and, elastic, as in Simard, Steinkraus and Platt (2003)."""
    asked = {}
    monkeypatch.setattr(kernels, "distort", lambda *images, **strengths: asked.update(strengths))
    distortion(configure(augment="elastic", augment_strength=0.5, seed=4), digits)(digits.X, np.array([0]), epoch=3)
    told = {"rotation": np.radians(7.5), "scale": 0.075, "shear": 0.075, "shift": 0.98, "elastic": 17, "sigma": 4}
    assert {name: asked[name] for name in told} == pytest.approx(told)
    assert (asked["seed"], asked["epoch"]) == (4, 3)


def test_training_on_distorted_images_generalises_better(digits):
    plain, distorted = (
        fastmlp.fit(digits, epochs=40, hidden=(128,), augment=kind, augment_strength=0.5).summary["test_accuracy"]
        for kind in ("none", "elastic")
    )
    assert distorted > plain


def test_the_range_test_suggests_a_rate_that_trains(digits):
    test = find_lr(digits, configure())
    assert 0.001 < test.suggestion < 1
    assert test.losses.min() < 0.5 * test.losses[0]
    assert fastmlp.fit(digits, lr=test.suggestion, epochs=12).summary["test_accuracy"] > 0.9


SMALL = {"hidden": (16,), "threads": 1}


def test_the_average_of_equal_losses_is_their_value_and_ends_at_three_times_its_least():
    np.testing.assert_allclose(_smooth(np.full(9, 2.0)), 2.0)
    assert len(_smooth(np.array([2.0, 1e-9, *[80.0] * 9]))) == 3


@pytest.mark.parametrize("sampling", ["epoch", "draw"])
def test_the_range_test_knows_the_sizes_of_its_batches(digits, sampling):
    """Of 1,350 samples a permutation leaves the last batch of an epoch three, and draws leave it whole."""
    losses = find_lr(digits, configure(sampling=sampling, batch_size=449, steps=20, **SMALL)).losses
    assert losses.max() < 20
    assert losses[:4].min() > 0.85 * losses[0]  # at rates as low as these it hardly falls


@pytest.mark.parametrize(("length", "steps"), [({"epochs": 2}, 20), ({"epochs": 1000}, 2000)])
def test_the_trials_are_at_fractions_of_the_best_rate_and_at_the_default(digits, length, steps, monkeypatch):
    prepared, rates, tried = [], [], []
    planned, trained = find_lr.__globals__["plan"], World.train_steps

    def plan(*given):
        prepared.append((*given, kernels.get_num_threads()))
        return planned(*given)

    def train_steps(*given, lr, **options):
        rates.extend(lr)
        return trained(*given, lr=lr, **options)

    def trial(planned, observer):
        tried.append(planned.config)
        if (loss := next(losses)) is None:
            raise RunError("diverged")
        return Trial(planned.config.peak_lr, loss, None)

    monkeypatch.setattr(World, "train_steps", train_steps)
    monkeypatch.setitem(find_lr.__globals__, "plan", plan)
    monkeypatch.setitem(find_lr.__globals__, "_trial", trial)
    options, observer = configure(**length, validation=0.2, patience=1, **SMALL), Observer(chosen=lambda *_: None)
    losses = iter([3.0, None, 1.0, 2.0, 4.0])
    test = find_lr(digits, options, observer)
    assert prepared == [(digits, replace(options, patience=None), observer.chosen, 1)]  # once for all trials
    assert rates[: len(test.rates)] == test.rates.tolist()
    best = test.rates[test.losses.argmin()]
    expected = sorted([options.peak_lr, *(best / np.array([6, 3, 2, 1.4]))])
    assert [each.peak_lr for each in tried] == pytest.approx(expected)
    assert {(each.epochs, each.steps) for each in tried} == {(None, steps)}
    assert [trial.rate for trial in test.trials] == [tried[k].peak_lr for k in (0, 2, 3, 4)]
    assert test.suggestion == tried[2].peak_lr
    losses = iter([None] * 5)
    with pytest.raises(RunError, match=f"diverges at every rate from {expected[0]:.2g} to {expected[-1]:.2g}"):
        find_lr(digits, options)
    with pytest.raises(Interrupted):
        find_lr(digits, options, Observer(stop=lambda: True))
    assert len(tried) == 10  # none of the last


@pytest.mark.parametrize("weight_decay", [1e6, 1e40])
def test_the_range_test_ends_where_the_loss_does_not_fall(digits, weight_decay):
    """It rises, or is no number after the first step."""
    with pytest.raises(RunError, match="the loss does not fall at any rate from 1e-05 to 10"):
        find_lr(digits, configure(weight_decay=weight_decay, **SMALL))


def test_the_range_test_says_every_trial_and_stops_when_asked(digits):
    said, options = [], configure(steps=20, report_steps=1, **SMALL)
    test = find_lr(digits, options, Observer(say=said.append, progress=lambda _: pytest.fail("of a trial")))
    for line, trial in zip(said, test.trials, strict=True):
        assert line == f"lr {trial.rate:.2g}: held-out loss {trial.loss:.4f}, accuracy {trial.accuracy:.2%}"
    said.clear()
    with pytest.raises(Interrupted):
        find_lr(digits, options, Observer(say=said.append, stop=lambda: bool(said)))
    assert len(said) == 1


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_the_suggested_rate_is_the_best_of_the_trials_and_the_default_is_one(digits, optimizer):
    test = find_lr(digits, configure(optimizer=optimizer, epochs=2))
    losses = {trial.rate: trial.loss for trial in test.trials}
    assert losses[test.suggestion] == min(losses.values()) <= losses[configure(optimizer=optimizer).peak_lr]
    assert len(losses) >= 4


def test_a_run_begins_with_the_weights_and_the_units_of_another_model(digits, tmp_path):
    path = tmp_path / "first.npz"
    first = fastmlp.fit(digits, epochs=2, hidden=(32,)).model
    first.save(path)
    brighter = replace(digits, X=digits.X // 2, X_test=digits.X_test // 2)  # of another scale, did the run measure it
    begun = fastmlp.fit(brighter, steps=1, lr=1e-30, hidden=(32,), init_from=str(path)).model
    assert begun.weights_sha256() == first.weights_sha256()
    assert begun.scale == first.scale
    longer = fastmlp.fit(digits, epochs=2, hidden=(32,), init_from=str(path))
    assert longer.history[0].train_loss < fastmlp.fit(digits, epochs=2, hidden=(32,)).history[0].train_loss / 2
    for others, message in (
        ({"hidden": (16,)}, "layers are .784, 32, 10., .*hidden"),
        ({"activation": "tanh"}, "activation"),
    ):
        with pytest.raises(InputError, match=f"^init_from {path}: .*{message}"):
            fastmlp.fit(digits, init_from=str(path), **{"hidden": (32,)} | others)


def test_a_run_on_numbers_begins_in_the_units_of_another_model(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3)).astype(np.float32)
    first = fastmlp.fit(X, X.sum(1) * 100, epochs=30, hidden=(16,)).model
    first.save(tmp_path / "first.npz")
    again = fastmlp.fit(2 * X, X.sum(1), epochs=1, lr=1e-30, hidden=(16,), init_from=str(tmp_path / "first.npz")).model
    np.testing.assert_array_equal(again.predict(X), first.predict(X))
    lines = []
    options = {"epochs": 1, "hidden": (16,), "init_from": str(tmp_path / "first.npz")}
    fastmlp.fit(60 * X, X.sum(1), **options, observer=fastmlp.Observer(say=lines.append))
    assert any(
        line.startswith(f"{tmp_path / 'first.npz'}: 3 of 3 columns are in another range than in") for line in lines
    )


def test_a_run_does_not_begin_with_the_networks_of_a_table(tmp_path):
    path = tmp_path / "table.npz"
    X = np.random.default_rng(0).normal(size=(100, 3))
    fastmlp.fit(X, X[:, 0] > 0, networks=2, epochs=1).model.save(path)
    with pytest.raises(InputError) as refused:  # though the layers are alike
        fastmlp.fit(X, X[:, 0] > 0, networks=0, hidden=(128, 128), activation="gelu", init_from=str(path))
    several = "is of several networks of a table; it must be of one network (networks 0)"
    assert str(refused.value) == f"init_from {path}: {several}"


def test_a_configuration_survives_toml(tmp_path):
    config = configure(
        data="mnist",
        hidden=(300, 100),
        activation=("gelu", "tanh"),
        lr=1e-05,
        label_column='a "quoted"\tname\\é',
        patience=3,
        bias=False,
        threads=2,
        out=str(tmp_path),
    )
    (tmp_path / "config.toml").write_text(config.to_toml(), encoding="utf-8")
    assert config.to_toml().startswith(f"# fastmlp {fastmlp.__version__}\n")
    assert configure(**read_toml(tmp_path / "config.toml"), out=str(tmp_path)) == config
    for text, message in (
        ("epochs = 'many'", "--epochs is 'many'; it must be an integer"),
        ("epoch = 3", r"config.toml: 'epoch' is no option of train \(did you mean epochs\? --help"),
        ("epochs = ", "config.toml: not valid TOML"),
        ("hidden = [1, 'a']", "--hidden is"),
        ("[epochs]\na = 1", "--epochs is"),
    ):
        (tmp_path / "config.toml").write_text(text)
        with pytest.raises(InputError, match=message):
            configure(**read_toml(tmp_path / "config.toml"))


def test_a_layer_of_rate_zero_stays_as_it_is(digits):
    run = partial(fastmlp.fit, digits, hidden=(20,), backend="reference")
    first, second = (run(steps=n, layer_rates=(0, 1)).model.network.layers for n in (1, 5))
    np.testing.assert_array_equal(first[0][0], second[0][0])
    assert (first[1][0] != second[1][0]).all()


def test_the_average_of_all_steps_is_kept(digits):
    run = partial(fastmlp.fit, digits, hidden=(20,), schedule="constant", warmup=0.0, backend="reference")
    steps = [run(steps=n).model.network.params for n in (1, 2, 3)]
    kept = run(steps=3, average=1.0).model.network.params
    np.testing.assert_allclose(kept, np.mean(steps, 0, np.float64), rtol=0, atol=4 * np.spacing(abs(kept).max()))
    moving = run(steps=1, lr=1e-30).model.network.params.astype(np.float64)  # it begins with the first weights
    for params in steps:
        moving += (params - moving) * (1 - 0.75)
    kept = run(steps=3, average=0.75).model.network.params
    np.testing.assert_allclose(kept, moving, rtol=0, atol=4 * np.spacing(abs(kept).max()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weight": "1,2"}, "class_weight has 2 numbers; there are 10 classes"),
        ({"class_weight": "heavy"}, "class_weight is 'heavy'; it must be balanced or numbers"),
        ({"class_weight": "0,0"}, "class_weight is '0,0'"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be at least 0 and below 1"),
        ({"label_smoothing": -0.1}, "label_smoothing is -0.1"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0; it must be positive"),
        ({"layer_rates": (1,)}, "layer_rates is 1; it must be 2 numbers of at least 0, one for each layer"),
        ({"layer_rates": "a"}, "layer_rates is 'a'; it must be numbers such as"),
        ({"average": 0.0}, "average is 0.0; it must be above 0 and at most 1"),
        ({"patience": 0}, "patience is 0"),
        ({"patience": 2, "validation": 0.0}, "patience watches validation_loss; validation must be above 0"),
        ({"monitor": "test_accuracy"}, r"monitor is 'test_accuracy'; did you mean train_accuracy\? it must be one of"),
        ({"warmup": 1.0}, "warmup is 1.0"),
        ({"validation": 0.9999}, "cannot be split with validation"),
    ],
    ids=str,
)
def test_impossible_options_are_one_line(digits, options, message):
    with pytest.raises(InputError, match=message):
        fastmlp.fit(digits, **options)


def test_only_images_can_be_distorted(digits):
    table = replace(digits, image_shape=None)
    with pytest.raises(InputError, match="^augment affine: synthetic digits holds no images of 8-bit pixels"):
        fastmlp.fit(table, augment="affine")


def test_sparse_files_of_dense_tables_are_tables(rng):
    """Spelt out and standardised, like the same numbers from a CSV; mostly zero ones stay sparse."""
    X = (rng.standard_normal((300, 5)) * 100 + 50).astype(np.float32)
    y = (X[:, 0] + X[:, 1] > 100).astype(np.int64)
    table = fastmlp.Dataset("table", X[:200], y[:200], X[200:], y[200:], ("0", "1"), "memory")
    as_sparse = [
        Sparse(c.indptr, c.indices.astype(np.int32), c.values, c.shape) for c in map(kernels.csr, (X[:200], X[200:]))
    ]
    sparse = replace(table, X=as_sparse[0], X_test=as_sparse[1])
    options = {"epochs": 3, "hidden": (8,)}
    one, two = (fastmlp.fit(data, **options) for data in (table, sparse))
    assert one.summary["weights_sha256"] == two.summary["weights_sha256"]
    assert (two.summary["input"], two.model.mean is None) == ("dense", False)
    assert two.model.predict_proba(sparse.X_test).tobytes() == one.model.predict_proba(table.X_test).tobytes()
    kept = fastmlp.fit(sparse, input="sparse", **options)
    assert kept.summary["input"] == "sparse"
    np.testing.assert_allclose(kept.model.mean, one.model.mean)
    np.testing.assert_allclose(kept.model.std, one.model.std)
    assert kept.summary["test_loss"] == pytest.approx(one.summary["test_loss"], rel=1e-5)  # the same numbers in float32
