"""Runs that stop and go on: the same bits as if they had not, wherever they stop and whatever became of the files."""

import json
import random
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from lines import one_line

import fastmlp
from fastmlp import evaluate, train
from fastmlp.config import configure
from fastmlp.errors import InputError, Interrupted
from fastmlp.models.tensor_file import read_tensors, write_tensors
from fastmlp.paths import CHECKPOINT as NAME
from fastmlp.training import loop
from fastmlp.training.checkpoint import read_checkpoint
from fastmlp.training.loop import Observer

PREVIOUS = "checkpoint-previous.npz"
RUNS = [
    {"epochs": 8, "hidden": (48,), "average": 0.9},
    {"epochs": 6, "hidden": (40, 24), "dropout": 0.2, "optimizer": "adamw", "batch_size": 100},
    # The second epoch is the best, and most stops come after it.
    {"epochs": 12, "hidden": (32,), "patience": 7, "lr": 1.0, "schedule": "constant", "augment": "affine"},
    {"steps": 90, "sampling": "draw", "optimizer": "sgd", "report_steps": 20, "evaluate_every": 2, "hidden": (32,)},
]


class Killed(Exception):
    """Stands for a process that ends with no chance to save."""


def outcome(result):
    """All of a run that must not depend on its stops."""
    timing = ("seconds", "samples_per_second")
    reports = [{key: value for key, value in asdict(report).items() if key not in timing} for report in result.history]
    kept = ("weights_sha256", "test_loss", "test_accuracy", "train_loss", "best_epoch", "steps", "samples")
    return reports, {key: result.summary[key] for key in kept}


def _stopping_observer(chunks, kind):
    """Stops a run after so many chunks."""

    def step(*_):
        nonlocal chunks
        chunks -= 1
        if kind is Killed and chunks < 0:
            raise Killed

    return Observer(progress=step, stop=lambda: kind is Interrupted and chunks < 0)


@pytest.mark.parametrize("options", RUNS, ids=str)
def test_twenty_random_stops_leave_no_trace(digits, options, tmp_path, monkeypatch):
    """Some by Ctrl-C, which saves, and some by death, which loses the steps since the last checkpoint."""
    whole = fastmlp.fit(digits, **options)
    assert whole.summary["steps"] > 20 * 4  # the farthest that the stops below can come
    expected = outcome(whole)
    monkeypatch.setattr(loop, "_CHUNK_SECONDS", 1e-9)  # a step at a time, and each a place to stop at
    draw, path = random.Random(1), tmp_path / NAME
    for _ in range(20):
        config = configure(**options, checkpoint_seconds=draw.choice([0.0, 0.01]))
        observer = _stopping_observer(draw.randrange(4), draw.choice([Interrupted, Killed]))
        with pytest.raises((Interrupted, Killed)):
            fastmlp.fit(digits, config, observer=observer, checkpoint=path, resume=True)
    assert outcome(fastmlp.fit(digits, checkpoint=path, resume=True, **options)) == expected


@pytest.fixture
def stopped(digits, tmp_path):
    """A checkpoint and the one before it."""
    path, asked = tmp_path / NAME, iter([False] * 6 + [True])
    with pytest.raises(Interrupted):
        fastmlp.fit(
            digits, epochs=50, checkpoint_seconds=0.0, checkpoint=path, observer=Observer(stop=lambda: next(asked))
        )
    assert (tmp_path / PREVIOUS).exists()
    return path


def test_a_damaged_checkpoint_is_replaced_by_the_one_before(digits, stopped):
    lines, model = [], stopped.with_name("model.npz")
    fastmlp.load_model(stopped).save(model)
    for content in (b"", stopped.read_bytes()[:-200], b"\0" * 5000, model.read_bytes(), None):
        if content is None:
            stopped.unlink(missing_ok=True)
        else:
            stopped.write_bytes(content)
        config = configure(epochs=50)
        observer = Observer(say=lines.append, stop=lambda: True)
        with pytest.raises(Interrupted):
            fastmlp.fit(digits, config, checkpoint=stopped.parent / NAME, resume=True, observer=observer)
        previous = stopped.with_name(PREVIOUS)
        assert read_checkpoint(previous, print) is not None  # and no damaged one
        previous.write_bytes(stopped.read_bytes())
    assert len(lines) == 4  # a file that is not there is no damage
    assert all(line.endswith("; going on from checkpoint-previous.npz") for line in lines)


def test_a_checkpoint_beside_another_is_of_a_run_of_its_own(digits, stopped):
    expected = outcome(fastmlp.fit(digits, epochs=1))
    found = fastmlp.fit(digits, epochs=1, checkpoint=stopped.with_name("other.npz"), resume=True)
    assert outcome(found) == expected
    before = sorted(stopped.parent.iterdir())
    with pytest.raises(
        InputError, match="checkpoint is '.*', a directory; it must be a file, such as checkpoint.npz in it"
    ):
        fastmlp.fit(digits, epochs=1, checkpoint=stopped.parent)
    assert sorted(stopped.parent.iterdir()) == before


def test_checkpoints_that_cannot_be_used_are_one_line(digits, stopped):
    other = fastmlp.Dataset(
        "other", digits.X[::-1], digits.y[::-1], digits.X_test, digits.y_test, digits.classes, "other digits"
    )
    for data, options, message in (
        (other, {}, "is of a run on other data than other digits"),
        (
            digits,
            {"hidden": (3,)},
            "is of a run with hidden .256,., which cannot go on with .3,.; a new run takes another file",
        ),
        (digits, {"dtype": "float64"}, "is of a run with dtype float32, which cannot go on with float64"),
        (digits, {"bias": False}, "is of a run with bias True"),
        (digits, {"optimizer": "adam"}, "is of a run with optimizer momentum"),
        (digits, {"lr": 0.5}, "is of a run with lr 0.12, which cannot go on with 0.5"),
        (digits, {"class_weight": "balanced"}, "is of a run with class_weight None"),
        (digits, {"seed": 1}, "is of a run with seed 0"),
    ):
        with pytest.raises(InputError, match=message):
            fastmlp.fit(data, checkpoint=stopped, resume=True, **options)
    stopped.write_bytes(b"PK")
    stopped.with_name(PREVIOUS).write_bytes(b"PK")
    with pytest.raises(InputError, match=r"checkpoint.npz: not a valid .npz file"):
        fastmlp.fit(digits, checkpoint=stopped, resume=True)


def test_every_tensor_has_its_own_checksum(tmp_path, rng):
    tensors = {"a": rng.standard_normal((3, 4)).astype("float32"), "b": np.arange(5), "empty": np.empty(0)}
    write_tensors(tmp_path / "t.npz", {"note": "ü"}, tensors)
    meta, again = read_tensors(tmp_path / "t.npz")
    assert meta["note"] == "ü"
    assert set(meta["sha256"]) == set(again) == set(tensors)
    for name, array in tensors.items():
        assert (again[name].dtype, again[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(again[name], array)
    header = np.load(tmp_path / "t.npz")["meta"]
    for changed, message in (
        ({**tensors, "b": np.arange(5) + 1}, "tensor 'b' does not match its SHA-256"),
        ({**tensors, "b": np.arange(5, dtype=np.int32)}, "tensor 'b' does not match its SHA-256"),
        ({**tensors, "a": tensors["a"].reshape(4, 3)}, "tensor 'a' does not match its SHA-256"),
        ({name: tensors[name] for name in ("a", "b")}, "tensor 'empty' is missing or without a checksum"),
        ({**tensors, "more": np.ones(1)}, "tensor 'more' is missing or without a checksum"),
    ):
        np.savez(tmp_path / "u.npz", meta=header, **changed)
        with pytest.raises(InputError, match=message):
            read_tensors(tmp_path / "u.npz")
    np.savez(tmp_path / "u.npz", **tensors)
    with pytest.raises(InputError, match="not a fastmlp model or checkpoint"):
        read_tensors(tmp_path / "u.npz")
    newer = json.loads(header.tobytes()) | {"version": 99}
    np.savez(tmp_path / "u.npz", meta=np.frombuffer(json.dumps(newer).encode(), np.uint8), **tensors)
    with pytest.raises(InputError, match="model format 99; this version reads 2"):
        read_tensors(tmp_path / "u.npz")


def test_no_bit_of_a_model_can_change_unnoticed(digits, tmp_path):
    path = tmp_path / "model.npz"
    fastmlp.fit(digits, steps=1, hidden=(3,)).model.save(path)
    expected = fastmlp.load_model(path).weights_sha256()
    content, draw, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(300):
        place = draw.randrange(len(content))
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :])
        try:
            assert fastmlp.load_model(path).weights_sha256() == expected  # a bit that nothing reads: a date, a flag
        except InputError:
            refused += 1
    assert refused > 250


def test_nothing_is_pickled(digits, tmp_path):
    fastmlp.fit(digits, steps=2, checkpoint=tmp_path / NAME)
    with zipfile.ZipFile(tmp_path / NAME) as archive:
        names = {member.filename for member in archive.infolist()}
    assert names == {f"{name}.npy" for name in ("meta", "W0", "b0", "W1", "b1", "ranges", "state", "losses")}
    with np.load(tmp_path / NAME, allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind in "fu" for name in arrays.files)


def test_a_checkpoint_is_a_model_too(digits, tmp_path):
    model = fastmlp.fit(digits, steps=3, checkpoint=tmp_path / NAME).model
    assert fastmlp.load_model(tmp_path / NAME).weights_sha256() == model.weights_sha256()


def test_the_config_file_of_a_run_reruns_it_from_anywhere(dataset, as_json, tmp_path, monkeypatch):
    options = ["--data", dataset, "--epochs", "2", "--hidden", "30,20", "--dropout", "0.1", "--optimizer", "adam"]
    first = as_json(train, *options, "--out", "first", "-q")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = as_json(train, "--config", "../first/config.toml", "--out", "again", "-q")
    assert again["weights_sha256"] == first["weights_sha256"]
    other = as_json(train, "--config", "../first/config.toml", "--out", "other", "--seed", "9", "-q")
    assert other["weights_sha256"] != first["weights_sha256"]


def test_a_finished_run_can_be_resumed_to_its_result(dataset, succeeds, as_json):
    first = as_json(train, "--data", dataset, "--epochs", "2", "--out", "run", "--patience", "1")
    out, err = succeeds(train, "--resume", "run", "--threads", "1", "--json")
    assert "the run is finished, after step 22; " in err
    for key in ("weights_sha256", "test_accuracy", "test_loss", "steps"):
        assert json.loads(out)[key] == first[key]


def test_a_run_that_never_wrote_a_checkpoint_begins_anew(dataset, succeeds, as_json):
    first = as_json(train, "--data", dataset, "--epochs", "2", "--out", "run")
    for name in (NAME, "model.npz", "metrics.jsonl"):
        Path("run", name).unlink()
    out, err = succeeds(train, "--resume", "run", "--json")
    assert "going on after step 0" in err
    assert json.loads(out)["weights_sha256"] == first["weights_sha256"]


def test_a_run_whose_data_have_moved_goes_on_where_they_are_now(dataset, command, as_json):
    whole = as_json(train, "--data", dataset, "--epochs", "4", "--out", "whole")
    as_json(train, "--data", dataset, "--epochs", "2", "--out", "run")
    Path(dataset).rename("moved.npz")
    lost = command(train, "--resume", "run", "--epochs", "4")
    one_line(lost, 2, "; --data says where the data of the run are now\n")
    with np.load("moved.npz") as arrays:
        np.savez("other.npz", **{name: array[::-1] for name, array in arrays.items()})
    before = Path("run/config.toml").read_text()
    code, _, err = command(train, "--resume", "run", "--epochs", "4", "--data", "other.npz")
    assert (code, "is of a run on other data than other.npz" in err) == (2, True)
    assert Path("run/config.toml").read_text() == before
    assert as_json(train, "--resume", "run", "--epochs", "4", "--data", "moved.npz")["steps"] == whole["steps"]
    assert "moved.npz" in Path("run/config.toml").read_text()
    as_json(train, "--resume", "run")  # it is remembered


BAD = {
    "nothing there": (["--resume", "nowhere"], "--resume nowhere: no run to go on with (it has no config.toml)"),
    "other options": (["--resume", "run", "--lr", "1"], "--lr cannot be changed by --resume"),
    "a preset": (["--resume", "run", "--preset", "seed"], "--resume takes the options of the run"),
    "with seeds": (["--resume", "run", "--seeds", "2"], "--resume and --seeds exclude each other"),
    "no seeds": (["--seeds", "0"], "--seeds is 0; it must be an integer from 1 to 1000"),
    "no such file": (["--config", "none.toml"], "none.toml: cannot be read (No such file or directory)"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_resumed_is_one_line(dataset, command, name):
    arguments, message = BAD[name]
    one_line(command(train, *arguments), 2, message)


def test_several_seeds_have_a_mean_and_a_deviation(dataset, succeeds):
    options = ["--epochs", "1", "--seeds", "3", "--seed", "5", "--out", "runs"]
    out, err = succeeds(train, "--data", dataset, *options, "--json")
    summary, lines = json.loads(out), [line for line in err.splitlines() if line.startswith("test accuracy")]
    values = [one["test_accuracy"] for one in summary["runs"]]
    assert [one["seed"] for one in summary["runs"]] == [5, 6, 7]
    assert summary["test_accuracy"] == pytest.approx(np.mean(values))
    assert summary["test_accuracy_std"] == pytest.approx(np.std(values, ddof=1))
    assert len(lines) == 4
    assert "(mean and standard deviation of 3 seeds)" in lines[-1]
    assert sorted(path.name for path in Path("runs").iterdir()) == ["seed-5", "seed-6", "seed-7"]
    assert "of its own" not in err
    succeeds(train, "--data", dataset, "--epochs", "1", "--out", "runs")
    said = "runs holds a run of its own, which evaluate and predict take; name runs/seed-5 for one of these"
    assert said in succeeds(train, "--data", dataset, *options).err


def test_each_of_several_seeds_is_a_run_of_its_own_that_can_be_tested_and_resumed(dataset, as_json):
    """Also where the seed splits the data: tested on another split, it would have seen most of the samples."""
    with np.load(dataset) as arrays:
        np.savez("split.npz", X=arrays["X"], y=arrays["y"])
    for one in as_json(train, "--data", "split.npz", "--epochs", "1", "--seeds", "2", "--out", "runs")["runs"]:
        directory = f"runs/seed-{one['seed']}"
        assert as_json(evaluate, f"{directory}/model.npz")["test_loss"] == one["test_loss"]
        assert as_json(train, "--resume", directory)["weights_sha256"] == one["weights_sha256"]


def test_a_run_that_diverges_keeps_its_last_finite_state(dataset, capsys):
    options = ["--data", dataset, "--epochs", "60", "--lr", "1e36", "--schedule", "onecycle", "--warmup", "0.9"]
    code = train.main([*options, "--checkpoint-seconds", "0", "--out", "run"])
    err = capsys.readouterr().err.splitlines()[-1]
    assert code == 1
    assert "diverged" in err
    if Path("run", NAME).exists():
        assert "; the last finite state is in run/checkpoint.npz" in err
        assert np.isfinite(fastmlp.load_model(Path("run", NAME)).network.params).all()
