"""Training on data that stay on disk: the same bits as in memory in the same order, in memory that a flag bounds."""

import gzip
import json
import os
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from damage import idx
from lines import one_line
from reading import dense

import fastmlp
from fastmlp import evaluate, train
from fastmlp.data import OnDisk, Sparse, load
from fastmlp.data import directory as directories
from fastmlp.data.ondisk import DataFile
from fastmlp.errors import InputError, Interrupted, RunError
from fastmlp.paths import keep_newest
from fastmlp.training import loop, plan
from fastmlp.training.batches import Batches
from fastmlp.training.find_lr import find_lr
from fastmlp.training.loop import Observer
from fastmlp.training.plan import Plan

FEATURES = 64


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Of conversions; compiled kernels stay where they are."""
    monkeypatch.setattr(directories, "cache_dir", lambda kind: tmp_path / "cache" / kind)


@pytest.fixture(autouse=True)
def no_thread_is_left_behind():
    yield
    for thread in readers():
        thread.join(10)  # find_lr lets it go
        assert not thread.is_alive()


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("fastmlp-reader")]


def samples(n=24_000, dtype=np.uint8, seed=0, zeros=0.0):
    """Three classes by the largest of three sums of pixels."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 256, (n, FEATURES)).astype(np.uint8)
    X[rng.random(X.shape) < zeros] = 0
    y = X[:, :60].reshape(n, 3, 20).sum(2, dtype=int).argmax(1)
    return (X if dtype == np.uint8 else X.astype(dtype) * rng.random(FEATURES).astype(dtype)), y


def write_npy(directory, X, y, X_test=None, y_test=None, **more):
    directory.mkdir(exist_ok=True)
    named = {"X": X, "y": y, "X_test": X_test, "y_test": y_test, **more}
    for name, array in named.items():
        if array is not None:
            np.save(directory / f"{name}.npy", array)
    return directory


def dataset(directory, dtype=np.uint8, n=24_000, **options):
    X, y = samples(n + 1000, dtype, **options)
    return write_npy(directory, X[:n], y[:n], X[n:], y[n:])


# -- the order -----------------------------------------------------------------------------------------------------


def epoch_of(batches, epoch):
    first, steps = epoch * batches.steps_per_epoch, batches.steps_per_epoch
    return [batches.rows(step, 1) for step in range(first, first + steps)]


@pytest.mark.parametrize(
    ("samples", "batch", "most"),
    [(1000, 8, 104), (1000, 8, 8), (1003, 10, 250), (1001, 1000, 1000), (5, 2, 2), (70_001, 16, 16_000),
     (3000, 7, 2100)],
)  # fmt: skip
def test_every_epoch_is_a_permutation_in_windows_of_whole_batches(samples, batch, most):
    batches = Batches(samples, batch, "epoch", np.random.default_rng(0), most)
    epochs = []
    for epoch in range(2):
        rows = epoch_of(batches, epoch)
        assert {len(each) for each in rows[:-1]} <= {batch}
        assert len(rows[-1]) == samples - batch * (len(rows) - 1)
        epochs.append(np.concatenate(rows))
        np.testing.assert_array_equal(np.sort(epochs[-1]), np.arange(samples))
    assert (epochs[0] != epochs[1]).any()
    assert batches.window_rows % batch == 0
    assert 0 < samples - (-(-samples // batches.window_rows) - 1) * batches.window_rows <= most


def test_a_window_is_runs_of_consecutive_rows():
    """At least 1,024 of them, each as long as that allows; they are what is read at once."""
    batches = Batches(200_000, 64, "epoch", np.random.default_rng(0), 40_960)
    rows = np.sort(np.concatenate(epoch_of(batches, 0)[: batches.window_rows // 64]))
    runs = 1 + np.count_nonzero(np.diff(rows) != 1)
    assert 0.7 * 1024 < runs <= 1024 + 40  # neighbours among them make one
    assert (np.diff(epoch_of(batches, 1)[0]) != 1).sum() > 55  # but not the order


def test_a_window_of_a_file_sorted_by_class_has_the_classes_in_the_shares_that_are_derived():
    """Every run is of one class: the variance is p (1 - p)/n (M - n)/(M - 1); 400 of them tell it to 5 sqrt(2/400)."""
    samples, most, p = 40_960, 4096, 0.3
    y = np.arange(samples) < p * samples
    batches, shares = Batches(samples, 64, "epoch", np.random.default_rng(1), most), []
    for epoch in range(40):
        shares += y[np.concatenate(epoch_of(batches, epoch))].reshape(-1, most).mean(1).tolist()
    n, M = 1024, samples // 4
    variance = p * (1 - p) / n * (M - n) / (M - 1)
    assert np.mean(np.square(np.array(shares) - p)) == pytest.approx(variance, rel=5 * (2 / len(shares)) ** 0.5)
    assert variance**0.5 < 1 / (2 * 1024**0.5)


@pytest.mark.parametrize("most", [None, 200])
@pytest.mark.parametrize("step", [0, 3, 12, 13, 31, 32, 50, 63, 64])
def test_the_order_goes_on_from_its_state(step, most):
    def batches():
        return Batches(1000, 32, "epoch", np.random.default_rng(5), most)

    whole, first = batches(), batches()
    expected = [(whole.rows(k, 1), whole.window(k).number) for k in range(100)]
    for k in range(step):
        first.rows(k, 1)
    state, second = json.loads(json.dumps(first.state(step))), batches()
    second.resume(state)
    for k in range(step, 100):
        np.testing.assert_array_equal(second.rows(k, 1), expected[k][0])
        assert second.window(k).number == expected[k][1]


# -- the same bits -------------------------------------------------------------------------------------------------


RUNS = {
    "a table of bytes": (np.uint8, {}),
    "bytes of one scale, mostly zeros": (np.uint8, {"zeros": 0.8}),
    "a table": (np.float32, {}),
    "a table in float64": (np.float64, {}),
}
OPTIONS = {
    "plain": {},
    "weights": {"class_weight": "1,2,0.5", "dropout": 0.2, "clip_norm": 1.0},
    "validation": {"validation": 0.05, "patience": 3},
}


def bits(data, **options):
    return fastmlp.fit(data, **{"hidden": (16,), "epochs": 2, "batch_size": 100, **options})


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", RUNS)
def test_a_run_from_disk_is_the_run_in_memory_in_that_order(tmp_path, name, options):
    dtype, more = RUNS[name]
    path = str(dataset(tmp_path / "data", dtype, **more))
    on_disk, in_memory = load(path, memory=1), load(path)
    assert isinstance(on_disk.X, OnDisk)
    streamed, whole = bits(on_disk, **OPTIONS[options]), bits(in_memory, memory=1, **OPTIONS[options])
    assert streamed.summary["weights_sha256"] == whole.summary["weights_sha256"]
    assert streamed.summary["test_accuracy"] == whole.summary["test_accuracy"] > 1 / 3 + 5 * 0.015
    assert streamed.summary["input"] == ("sparse" if more else "dense")
    assert (streamed.model.mean is None) == bool(more)
    assert bits(in_memory, **OPTIONS[options]).summary["weights_sha256"] != whole.summary["weights_sha256"]


def svmlight(X, y, first=1):
    lines = []
    for row, label in zip(X.tolist(), y.tolist()):
        lines.append(" ".join([str(label), *(f"{k + first}:{x}" for k, x in enumerate(row) if x)]))
    return "\n".join(lines) + "\n"


def write_svmlight(directory, X, y, shards, first=1):
    directory.mkdir()
    for k, rows in enumerate(np.array_split(np.arange(len(X)), shards)):
        (directory / f"part-{k:02d}.svm").write_text(svmlight(X[rows], y[rows], first))
    return directory


@pytest.mark.parametrize("zeros", [0.9, 0.3])
def test_a_sparse_run_from_disk_is_the_run_in_memory_in_that_order(tmp_path, zeros):
    X, y = samples(9000, zeros=zeros)
    directory = write_svmlight(tmp_path / "shards", X, y, 3)
    (directory / "test.svm").write_text(svmlight(X[:500], y[:500]))
    on_disk, in_memory = load(str(directory), memory=1), load(str(directory))
    assert isinstance(in_memory.X, Sparse)
    streamed = bits(on_disk, memory=1)
    assert streamed.summary["weights_sha256"] == bits(in_memory, memory=1).summary["weights_sha256"]
    assert streamed.summary["input"] == ("sparse" if zeros == 0.9 else "dense")


def test_samples_weigh_what_their_file_says(tmp_path):
    X, y = samples()
    weight = np.random.default_rng(1).random(len(y))
    path = str(write_npy(tmp_path / "data", X, y, X[:500], y[:500], sample_weight=weight))
    digests = {
        bits(data, memory=1).summary["weights_sha256"]
        for data in (load(path, memory=1), load(path, memory=1), load(path))
    }
    assert len(digests) == 1
    np.save(tmp_path / "data" / "sample_weight.npy", np.ones(len(y)))
    assert bits(load(path, memory=1)).summary["weights_sha256"] not in digests


def test_data_that_fit_are_read_whole(tmp_path):
    path = str(dataset(tmp_path / "data", np.float32, n=2000))
    assert bits(load(path, memory=50)).summary["weights_sha256"] == bits(load(path)).summary["weights_sha256"]


def test_the_reference_backend_reads_from_disk_too(tmp_path):
    path = str(dataset(tmp_path / "data", np.float32, n=3000))
    options = {"backend": "reference", "steps": 10, "epochs": None, "dtype": "float64"}
    digests = {bits(load(path, memory=memory), **options, memory=1).summary["weights_sha256"] for memory in (1, None)}
    assert len(digests) == 1


def test_windows_of_images_are_distorted_each_in_its_own_way(tmp_path, monkeypatch):
    X, y = samples()
    path = str(write_npy(tmp_path / "data", X.reshape(-1, 8, 8), y))
    options = {"augment": "affine", "augment_strength": 0.2}
    first, again = (bits(load(path, memory=1), **options).summary["weights_sha256"] for _ in range(2))
    assert first == again != bits(load(path, memory=1)).summary["weights_sha256"]
    numbers = []

    def distortion(config, data):
        return lambda X, rows, epoch=0: numbers.append(epoch) or X[rows]

    monkeypatch.setattr(plan, "distortion", distortion)
    bits(load(path, memory=1), **options)
    assert sorted(set(numbers)) == list(range(2 * 4))  # four windows in each of two epochs


def test_distorted_images_are_scaled_as_others_are(digits):
    """Ink on white paper, which is centred; as distorted it would be read between 0 and 255, and tell nothing."""
    X, X_test = 255 - digits.X, 255 - digits.X_test
    paper = fastmlp.Dataset("paper", X, digits.y, X_test, digits.y_test, digits.classes, "paper", (28, 28))
    result = fastmlp.fit(paper, augment="affine", augment_strength=0.2, epochs=8)
    assert result.model.mean is not None
    assert result.summary["test_accuracy"] > 0.8


def test_a_learning_rate_is_found_from_disk(tmp_path, monkeypatch):
    """The same, however many steps a chunk has, which is a matter of time."""
    path, config = str(dataset(tmp_path / "data", np.float32)), fastmlp.TrainConfig(memory=1, hidden=(8,), epochs=2)
    found = find_lr(load(path, memory=1), config)
    monkeypatch.setattr(loop, "_CHUNK_SECONDS", 0)
    expected = find_lr(load(path), config)
    np.testing.assert_array_equal(found.losses, expected.losses)
    assert found.trials == expected.trials


def test_a_file_sorted_by_class_is_learnt_as_well_as_a_shuffled_one(tmp_path):
    """Of 4,000 test samples each; the difference of two accuracies has a standard deviation below 1.1 %."""
    X, y = samples(30_000)
    order, test = np.argsort(y[:26_000], kind="stable"), slice(26_000, None)
    accuracy = []
    for name, rows in (("sorted", order), ("shuffled", np.arange(26_000))):
        path = write_npy(tmp_path / name, X[:26_000][rows], y[:26_000][rows], X[test], y[test])
        accuracy.append(bits(load(str(path), memory=1), epochs=4).summary["test_accuracy"])
    assert abs(accuracy[0] - accuracy[1]) < 3 * 0.011
    assert min(accuracy) > 0.8


# -- stopping and going on -----------------------------------------------------------------------------------------


def stopping_after(steps):
    """An observer that asks to stop once so many steps are done."""
    done = []
    return Observer(progress=lambda progress: done.append(progress.step), stop=lambda: bool(done) and done[-1] >= steps)


@pytest.mark.parametrize("steps", [1, 37, 130])
def test_a_run_goes_on_in_the_middle_of_a_window(tmp_path, steps):
    path, checkpoint = str(dataset(tmp_path / "data", np.float32)), tmp_path / "checkpoint.npz"
    expected = bits(load(path, memory=1)).summary["weights_sha256"]
    with pytest.raises(Interrupted):
        bits(load(path, memory=1), checkpoint=checkpoint, observer=stopping_after(steps))
    resumed = bits(load(path, memory=1), checkpoint=checkpoint, resume=True)
    assert resumed.summary["weights_sha256"] == expected


@pytest.mark.parametrize("end", [Interrupted, KeyboardInterrupt, RunError])
def test_the_reader_ends_with_the_run_even_where_it_was_slow(tmp_path, monkeypatch, end):
    data, reading, read = load(str(dataset(tmp_path / "data")), memory=1), threading.Event(), Plan.load

    def slow(self, window):
        if window.number:
            reading.set()
            threading.Event().wait(0.2)  # a disk
        return read(self, window)

    def stop():
        reading.wait()
        raise end("the end")

    monkeypatch.setattr(Plan, "load", slow)
    with pytest.raises(end, match="the end"):
        bits(data, observer=Observer(stop=stop))
    assert not readers()


def after_a_step(act):
    """An observer that acts once a step is done."""
    waiting = [act]
    return Observer(progress=lambda progress: waiting and waiting.pop()())


def test_a_file_that_is_deleted_is_trained_on_to_the_end(tmp_path):
    directory = dataset(tmp_path / "data")
    expected = bits(load(str(directory), memory=1)).summary["weights_sha256"]
    data = load(str(directory), memory=1)
    run = bits(data, observer=after_a_step((directory / "X.npy").unlink))
    assert run.summary["weights_sha256"] == expected


def test_threads_that_read_one_file_read_their_own_rows_where_it_has_one_place(tmp_path, monkeypatch):
    """Windows cannot read at an offset."""
    np.arange(16).tofile(tmp_path / "rows")
    file, seek = DataFile(tmp_path / "rows"), os.lseek
    monkeypatch.delattr(os, "preadv")
    monkeypatch.setattr(os, "lseek", lambda *place: (seek(*place), threading.Event().wait(0.001)))
    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(lambda k: int(file.read(8 * k, 1, np.int64)[0]), range(16))] == [*range(16)]


def test_a_file_that_is_cut_short_ends_the_run_in_one_line(tmp_path):
    directory = dataset(tmp_path / "data")
    path, data = directory / "X.npy", load(str(directory), memory=1)
    with pytest.raises(RunError, match=r"X\.npy: ends before byte [\d,]+; it has been cut short meanwhile") as error:
        bits(data, observer=after_a_step(lambda: os.truncate(path, 200_000)))
    assert "\n" not in str(error.value)


def test_a_value_that_becomes_nan_ends_the_run_in_one_line(tmp_path):
    directory = dataset(tmp_path / "data", np.float32)
    data = load(str(directory), memory=1)
    X = np.load(directory / "X.npy", mmap_mode="r+")
    with pytest.raises(InputError, match="holds values beyond the range of float32"):
        bits(data, observer=after_a_step(lambda: X.__setitem__(slice(None), np.nan)))


# -- the forms -----------------------------------------------------------------------------------------------------


def csv(X, y, names=tuple(f"p{k}" for k in range(FEATURES))):
    rows = [",".join(["label", *names])] + [",".join(map(str, [label, *row])) for row, label in zip(X.tolist(), y)]
    return ("\n".join(rows) + "\n").encode()


def write_form(directory, form, X, y):
    """The samples in four shards, or as one array; the last quarter is the test set."""
    directory.mkdir()
    parts = np.array_split(np.arange(len(X)), 4)
    names = ["a", "b", "c", "test"]
    if form == "npy":
        return write_npy(directory, X[: parts[3][0]], y[: parts[3][0]], X[parts[3]], y[parts[3]])
    for name, rows in zip(names, parts):
        if form == "npz":
            np.savez(directory / f"{name}.npz", X=X[rows], y=y[rows])
        elif form == "svm":
            (directory / f"{name}.svm").write_text(svmlight(X[rows], y[rows]))
        elif form.startswith("csv"):
            (directory / f"{name}.{form}").write_bytes(
                (gzip.compress if form == "csv.gz" else bytes)(csv(X[rows], y[rows]))
            )
    if form.startswith("idx"):
        for prefix, rows in (("train", slice(0, parts[3][0])), ("t10k", parts[3])):
            for kind, array in (("images-idx3", X[rows].reshape(-1, 8, 8)), ("labels-idx1", y[rows])):
                content = idx(array)
                suffix, content = (".gz", gzip.compress(content)) if form == "idx.gz" else ("", content)
                (directory / f"{prefix}-{kind}-ubyte{suffix}").write_bytes(content)
    return directory


@pytest.mark.parametrize("form", ["npy", "npz", "svm", "csv", "csv.gz", "idx", "idx.gz"])
def test_every_form_has_the_samples_in_memory_and_on_disk(tmp_path, form, monkeypatch):
    X, y = samples(2000)
    path, lines = str(write_form(tmp_path / form, form, X, y)), []
    for memory in (None, 1, 1):  # converted once
        data = load(path, memory=memory, say=lines.append)
        np.testing.assert_array_equal(dense(data.X[:]), X[:1500])
        np.testing.assert_array_equal(dense(data.X_test), X[1500:])
        np.testing.assert_array_equal(data.y, y[:1500])
        np.testing.assert_array_equal(data.y_test, y[1500:])
        assert (data.name, data.source, data.image_shape is not None) == (form, path, form[:3] == "idx")
        assert isinstance(data.X, OnDisk) == (memory is not None)
        some = np.array([0, 3, 499, 500, 501, 1200, 1499])
        np.testing.assert_array_equal(dense(data.X[some]), X[some])
    assert len(lines) == {"npy": 0, "idx": 0, "idx.gz": 2, "svm": 4}.get(form, 1)  # svm: the index base, too


@pytest.mark.parametrize("form", ["npy", "svm"])
def test_a_split_holds_out_the_same_rows_in_memory_and_on_disk(tmp_path, form):
    X, y = samples(3000, zeros=0.5)
    path = tmp_path / "data"
    path = str(write_npy(path, X, y) if form == "npy" else write_svmlight(path, X, y, 3))
    whole, on_disk = load(path, seed=4), load(path, seed=4, memory=1)
    np.testing.assert_array_equal(dense(whole.X_test), dense(on_disk.X_test))
    np.testing.assert_array_equal(dense(whole.X), dense(on_disk.X[:]))
    rows = np.sort(np.random.default_rng(0).choice(2700, 300, replace=False))
    kept = np.setdiff1d(np.arange(2700), rows)
    np.testing.assert_array_equal(dense(on_disk.X.without(rows)[:]), dense(whole.X[kept]))


def test_shards_differ_in_dtype_and_classes_but_not_in_columns(tmp_path):
    X, y = samples(400)
    (tmp_path / "a.csv").write_bytes(csv(X[:200], np.full(200, "b")))
    (tmp_path / "b.csv").write_bytes(csv(X[200:] / 2, np.full(200, "a")))
    for memory in (None, 1):
        data = load(str(tmp_path), memory=memory)
        assert (data.X.dtype, data.classes, data.columns[0]) == (np.float32, ("a", "b"), "p0")
        assert sorted(dense(data.X[:])[:, 0].tolist() + data.X_test[:, 0].tolist()) == sorted(
            [*X[:200, 0].tolist(), *(X[200:, 0] / 2).tolist()]
        )
    (tmp_path / "c.csv").write_bytes(csv(X, y, names=tuple(f"q{k}" for k in range(FEATURES))))
    with pytest.raises(InputError, match=r"c\.csv: its columns are not those of a\.csv"):
        load(str(tmp_path))
    for name in "abc":
        (tmp_path / f"{name}.csv").unlink()
    (tmp_path / "test.csv").write_text("a,b\n1,2\n")  # the others say what it must have
    (tmp_path / "train.csv").write_text("label,a,b\nx,1,2\ny,3,4\n")
    with pytest.raises(InputError, match=r"test\.csv: all its columns are features; .*\(it is read as train\.csv"):
        load(str(tmp_path))


@pytest.mark.parametrize("first", [0, 1])
def test_svmlight_shards_agree_on_the_first_index(tmp_path, first):
    X, y = samples(90, zeros=0.5)
    X[:60, 0] = 0
    X[60:, 0] = 1
    X[0, -1] = 7
    data = load(str(write_svmlight(tmp_path / "shards", X, y, 3, first)), memory=1)
    rows = np.setdiff1d(np.arange(90), np.sort(np.random.default_rng([0, 0x5EED]).permutation(90)[:9]))
    np.testing.assert_array_equal(dense(data.X[:]), X[rows])


def test_the_label_and_weight_columns_of_csv_shards(tmp_path):
    for k in range(3):
        rows = [f"{i},{i % 2},{k + 1},{i}" for i in range(40)]
        (tmp_path / f"{k}.csv").write_text("\n".join(["p,kind,w,q", *rows]))
    (tmp_path / "test.csv").write_text("p,kind,w,q\n1,1,1,1\n")
    for memory in (None, 1):
        data = load(str(tmp_path), label_column="kind", weight_column="w", memory=memory)
        assert (data.columns, data.y.tolist()) == (("p", "q"), [0, 1] * 60)
        assert data.sample_weight.tolist() == [1.0] * 40 + [2.0] * 40 + [3.0] * 40


# -- conversions ---------------------------------------------------------------------------------------------------

KILLED = """
import os, sys
from fastmlp.data import directory, load
add = directory._Part.add
def killed(part, file, samples):
    add(part, file, samples)
    file.flush()
    os.kill(os.getpid(), 9)
directory._Part.add = killed
load(sys.argv[1], memory=1)
"""


def blocks(tmp_path, pattern):
    return sorted((tmp_path / "cache" / "blocks").glob(pattern))


def test_a_conversion_that_was_killed_is_made_again(tmp_path, python):
    X, y = samples(600)
    directory = write_form(tmp_path / "shards", "npz", X, y)
    python("-c", KILLED, str(directory), code=-9, env={"FASTMLP_CACHE": str(tmp_path / "cache")})
    assert [len(blocks(tmp_path, pattern)) for pattern in ("*.bin", ".*.tmp")] == [0, 1]
    data = load(str(directory), memory=1)
    np.testing.assert_array_equal(data.X[:], X[:450])
    assert [len(blocks(tmp_path, pattern)) for pattern in ("*.bin", ".*.tmp")] == [1, 0]


@pytest.mark.parametrize("damage", ["cut", "no end", "empty", "other bytes"])
def test_a_damaged_conversion_is_made_again(tmp_path, damage):
    X, y = samples(600)
    directory = write_form(tmp_path / "shards", "npz", X, y)
    load(str(directory), memory=1)
    (cached,) = blocks(tmp_path, "*.bin")
    content = cached.read_bytes()
    end = {
        "cut": content[:-1],
        "no end": content[: len(X) * 10],
        "empty": b"",
        "other bytes": content[:-20] + bytes(20),
    }
    cached.write_bytes(end[damage])
    np.testing.assert_array_equal(load(str(directory), memory=1).X[:], X[:450])


def test_a_changed_shard_is_read_again_and_the_oldest_conversions_go(tmp_path):
    X, y = samples(600)
    directory = write_form(tmp_path / "shards", "npz", X, y)
    for k in range(6):
        X[:] = k
        np.savez(directory / "a.npz", X=X[:150], y=y[:150])
        os.utime(directory / "a.npz", (k, k))
        assert (load(str(directory), memory=1).X[:10] == k).all()
    assert len(blocks(tmp_path, "*.bin")) == 4


def test_the_oldest_files_go_though_one_has_gone_and_one_cannot(tmp_path):
    (tmp_path / "1 cannot").mkdir()
    for number, name in enumerate(("1 cannot", "2 goes", "3 stays"), 1):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (number, number))
    keep_newest([tmp_path / "gone", *tmp_path.iterdir()], 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1 cannot", "3 stays"]


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    X, y = samples(600)
    directory = write_form(tmp_path / "shards", "csv", X, y)
    (tmp_path / "file").touch()
    monkeypatch.setattr(directories, "cache_dir", lambda kind: tmp_path / "file" / kind)
    with pytest.raises(RunError, match="blocks: cannot be written to .*; set FASTMLP_CACHE to a directory with room"):
        load(str(directory), memory=1)


# -- one line ------------------------------------------------------------------------------------------------------


BAD = {
    "other labels": ({"y": np.zeros(9, int)}, r"X.npy: has shape \(2000, 64\), y.npy \(9,\); they must be"),
    "complex labels": ({"y": np.zeros(2000, complex)}, "y.npy: has dtype complex128; it must be numbers or text"),
    "one label": ({"y": np.zeros(2000)}, "all labels are '0'; there must be at least two classes"),
    "integers": ({"X": np.zeros((2000, 64), int)}, "X.npy: has dtype int64; it must be uint8, float32 or float64"),
    "big-endian": ({"X": np.zeros((2000, 64), ">f4")}, "X.npy: has dtype >f4; it must be"),
    "columns first": ({"X": np.zeros((64, 2000), "f4").T}, "X.npy: is in Fortran order; it must be in C order"),
    "a vector": ({"X": np.zeros(2000, "f4")}, r"X.npy: has shape \(2000,\)"),
    "a NaN": (
        {"X": np.where(np.arange(2000 * 64) == 64 * 1700, np.nan, 1).reshape(2000, 64)},
        "X.npy, row 1700 .counted from 0.: holds a NaN",
    ),
    "objects": ({"X": np.array([[None]])}, "X.npy: has dtype object; it must be numbers or text"),
    "a narrower test set": ({"X_test": np.zeros((500, 3), "u1")}, "test set has 3 features, the training set 64"),
    "weights": ({"sample_weight": -np.ones(2000)}, "the weight of row 0 .counted from 0. is -1"),
}


@pytest.mark.parametrize("memory", [None, 1])
@pytest.mark.parametrize("name", BAD)
def test_a_directory_of_npy_that_is_wrong_is_one_line(tmp_path, name, memory):
    X, y = samples(2500)
    directory = write_npy(tmp_path / "data", X[:2000], y[:2000], X[2000:], y[2000:])
    arrays, message = BAD[name]
    for array in arrays:
        np.save(directory / f"{array}.npy", arrays[array], allow_pickle=True)
    with pytest.raises(InputError, match=message) as error:
        load(str(directory), memory=memory)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda npy: npy[:-1], "X.npy: promises 128,000 bytes, there are 127,999"),
        (lambda npy: npy + b"x", "X.npy: promises 128,000 bytes, there are 128,001"),
        (lambda npy: b"", "X.npy: not a valid .npy file"),
        (lambda npy: npy[:50], "X.npy: not a valid .npy file"),
        (lambda npy: npy.replace(b"(2000, 64)", b"(2**9, 64)"), "X.npy: not a valid .npy file"),
        (lambda npy: npy[:6] + b"\x02" + npy[7:], "X.npy: is in .npy format 2.0; it must be 1.0"),
    ],
)
def test_a_damaged_npy_file_is_one_line(tmp_path, content, message):
    X, y = samples(2000)
    path = write_npy(tmp_path / "data", X, y) / "X.npy"
    path.write_bytes(content(path.read_bytes()))
    with pytest.raises(InputError, match=message):
        load(str(tmp_path / "data"), memory=1)


def test_shards_that_do_not_go_together_are_one_line(tmp_path):
    X, y = samples(40)
    write_svmlight(tmp_path / "mixed", X, y, 2)
    (tmp_path / "mixed" / "a.csv").write_bytes(csv(X, y))
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test-1.csv").write_bytes(csv(X, y))
    (tmp_path / "uneven").mkdir()
    np.savez(tmp_path / "uneven" / "a.npz", X=X, y=y)
    np.savez(tmp_path / "uneven" / "b.npz", X=X[:, 1:], y=y)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.csv").write_text("town,size,label\nBern,2,x\nBasel,3,y\n")
    (tmp_path / "gap").mkdir()
    (tmp_path / "gap" / "a.csv").write_text("town,size,label\n1,2,x\n1,3,\n")
    (tmp_path / "weights").mkdir()
    np.savez(tmp_path / "weights" / "a.npz", X=X, y=y, sample_weight=y + 1.0)
    np.savez(tmp_path / "weights" / "b.npz", X=X, y=y)
    for name, message in {
        "mixed": "holds CSV and svmlight files; shards must be of one format",
        "tests": "all its files have test or val in their names; there must be others to train on",
        "gap": r"column 3 \(label\): the label is missing; every row must have one: leave such rows out$",
        "text": "'Bern' is not a number; files of a directory hold numbers only: a table of others is one file",
        "uneven": r"b\.npz: has 63 features; a\.npz has 64",
        "weights": r"b\.npz: some files have sample weights and some have none",
    }.items():
        with pytest.raises(InputError, match=message):
            load(str(tmp_path / name))
    with pytest.raises(InputError, match="--label-column p: names a column of a table"):
        load(str(tmp_path / "uneven"), label_column="p")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"batch_size": 20_000},
            r"^memory 1: is too little for two batches of 20,000 samples of .*; it must be at least 13",
        ),
        ({"preset": "seed"}, r"^memory 1: batches drawn from all samples \(preset seed\) need them in memory"),
        ({"validation": 0.9}, r"21,600 samples take 2 MB, more than memory 1; hold out fewer"),
        ({"augment": "affine"}, "holds no images of 8-bit pixels"),
    ],
)
def test_what_cannot_be_trained_from_disk_is_one_line(tmp_path, options, message):
    data = load(str(dataset(tmp_path / "data")), memory=1)
    with pytest.raises(InputError, match=message):
        fastmlp.fit(data, **options)


def test_a_test_set_larger_than_memory_is_one_line(tmp_path):
    X, y = samples(40_000)
    directory = write_npy(tmp_path / "data", X, y)
    with pytest.raises(InputError, match=r"20,000 samples take 2 MB, more than --memory 1; hold out fewer to test"):
        load(str(directory), val_fraction=0.5, memory=1)


# -- the memory ----------------------------------------------------------------------------------------------------

# RLIMIT_DATA counts what a process may write to and shares with nobody, touched or not, the honest part of what Numba
# and LLVM take: they map gigabytes of address space (RLIMIT_AS). The first run loads the code and starts the threads.
LIMITED = """
import json, resource, sys
from fastmlp import train

def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) << 10

few, data, out, room, *options = sys.argv[1:]
common = ["--hidden", "16", "--epochs", "1", "--threads", "2", "--checkpoint-seconds", "1000", "-q", "--json"]
assert train.main(["--data", few, "--memory", "1", "--out", out, *common]) == 0
before, peak = status("VmData"), status("VmHWM")
if int(room):
    resource.setrlimit(resource.RLIMIT_DATA, (before + int(room), resource.RLIM_INFINITY))
code = train.main(["--data", data, "--out", out, *options, *common])
print(json.dumps({"code": code, "grown": status("VmHWM") - peak}))
"""


@pytest.fixture
def limited(python, tmp_path):
    """Train in a process that may take ``room`` bytes more than the code does: (its end, summary, stderr)."""
    few = dataset(tmp_path / "few", n=40_000)

    def run(directory, *options, room=0):
        result = python("-c", LIMITED, str(few), str(directory), str(tmp_path / "run"), str(room), *options)
        *_, summary, last = map(json.loads, filter(lambda line: line.startswith("{"), result.stdout.splitlines()))
        return last, summary, result.stderr

    return run


def repeated(directory, times):
    """20,972 samples again and again: 1.28 MB each time."""
    X, y = samples(20_972)
    return write_npy(directory, np.tile(X, (times, 1)), np.tile(y.astype(np.uint8), times), X[:1000], y[:1000])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux")
def test_data_several_times_what_memory_has_room_for_train_to_the_same_bits(limited, tmp_path):
    """67 MB of samples where there is room for 16; in memory they are refused in one line."""
    directory, room = repeated(tmp_path / "data", 52), 16 << 20
    assert (directory / "X.npy").stat().st_size >= 4 * room
    end, streamed, _ = limited(directory, "--memory", "3", room=room)
    assert end["code"] == 0
    whole = fastmlp.fit(load(str(directory)), hidden=(16,), epochs=1, memory=3)
    assert streamed["weights_sha256"] == whole.summary["weights_sha256"]
    shuffled = fastmlp.fit(load(str(directory)), hidden=(16,), epochs=1).summary["test_accuracy"]
    assert streamed["test_accuracy"] == pytest.approx(shuffled, abs=3 * (2 * 0.25 / 1000) ** 0.5)
    end, _, stderr = limited(directory, room=room)
    assert end["code"] == 2
    assert "too large for this machine's memory; --memory trains on data that stay on disk" in stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_memory_does_not_grow_with_the_data(limited, tmp_path):
    """32 MB more samples, of which the labels stay, in a byte each, and take 5 while read; 8 MB are the heap's."""
    grown = []
    for times in (5, 30):
        end, _, _ = limited(repeated(tmp_path / f"{times}", times), "--memory", "8")
        assert end["code"] == 0
        grown.append(end["grown"])
    assert grown[1] - grown[0] < 3 * (1 << 20) + (8 << 20), grown


@pytest.mark.parametrize("zeros", [0.0, 0.9])
def test_partial_fit_over_blocks_of_a_memory_map_takes_the_memory_of_a_block(tmp_path, zeros):
    """Eight times the blocks, and no more than a few kB more at the peak: what is mapped is not the process's own."""
    pytest.importorskip("sklearn")
    sparse = pytest.importorskip("scipy.sparse")
    directory, rows = dataset(tmp_path / "data", zeros=zeros), 1500
    X, y = (np.load(directory / f"{name}.npy", mmap_mode="r") for name in ("X", "y"))
    model, peaks = fastmlp.MLPClassifier((8,), random_state=0), []
    for blocks in (2, 2, 16):  # the first two load the code
        tracemalloc.start()
        for start in range(0, blocks * rows, rows):
            block = X[start : start + rows]
            block = sparse.csr_matrix(block) if zeros else block / np.float32(255)
            model.partial_fit(block, y[start : start + rows], classes=[0, 1, 2])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    stock = 2_000 * 56  # Python's own, of tuples that are not in use
    assert peaks[2] < peaks[1] + stock + 20_000 < 14 * rows * FEATURES  # bytes, of the blocks that are not kept
    X_test, y_test = (np.load(directory / f"{name}_test.npy") for name in ("X", "y"))
    assert model.score(X_test if zeros else X_test / np.float32(255), y_test) > 1 / 3 + 5 * 0.015


# -- the commands --------------------------------------------------------------------------------------------------


def test_the_command_trains_resumes_and_tests_from_disk(tmp_path, command, as_json):
    path, out = dataset(tmp_path / "data", np.float32), tmp_path / "run"
    options = ["--data", str(path), "--hidden", "8", "--epochs", "2", "-q"]
    summary = as_json(train, *options, "--memory", "1", "--out", out)
    assert "memory = 1\n" in (out / "config.toml").read_text()
    again = as_json(train, "--resume", out, "-q")
    assert again["weights_sha256"] == summary["weights_sha256"]
    tested = as_json(evaluate, out / "model.npz")
    assert tested["test_accuracy"] == pytest.approx(summary["test_accuracy"])
    refused = command(train, *options, "--memory", "0", "--out", out)
    one_line(refused, 2, "--memory is 0; it must be an integer of at least 1")
