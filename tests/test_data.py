"""Readers: what they read, and one clear line for what they cannot."""

import gzip
import re
import struct
import urllib.request
import zipfile
from pathlib import Path

import damage
import numpy as np
import pytest
from damage import idx, npy
from reading import read_csv, read_features

from fastmlp.data import csv, load
from fastmlp.data import mnist as mnist_reader
from fastmlp.data import npz as npz_reader
from fastmlp.data.idx import read_idx
from fastmlp.data.labels import class_indices, distinct, quantity
from fastmlp.data.synthetic import load_synthetic, synthetic_digits
from fastmlp.errors import InputError
from fastmlp.formats import TRAINING, Features, LabelColumn, Query, suffixes

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (40, 4, 3)).astype(np.uint8), rng.integers(0, 10, 40).astype(np.uint8)


def write_idx(directory, images, prefixes=("train", "t10k"), suffix=".gz"):
    directory.mkdir(parents=True, exist_ok=True)
    pack = gzip.compress if suffix == ".gz" else bytes
    X, y = images
    for prefix in prefixes:
        (directory / f"{prefix}-images-idx3-ubyte{suffix}").write_bytes(pack(idx(X)))
        (directory / f"{prefix}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx(y)))
    return directory


# -- IDX -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_directories_are_read_gzipped_or_not(tmp_path, images, suffix):
    data = load(str(write_idx(tmp_path / "idx", images, suffix=suffix)))
    np.testing.assert_array_equal(data.X, images[0].reshape(40, 12))
    np.testing.assert_array_equal(data.y_test, images[1])
    assert data.X.dtype == np.uint8
    assert (data.name, data.image_shape, data.classes) == ("idx", (4, 3), tuple("0123456789"))


NAMES = {  # what the names of the four files are made of
    "MNIST": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    "dots": ("train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"),
    "test": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "test-images-idx3-ubyte", "test-labels-idx1-ubyte"),
    "EMNIST": tuple(
        f"emnist-balanced-{part}-{kind}-ubyte"
        for part in ("train", "test")
        for kind in ("images-idx3", "labels-idx1")
    ),
    "capitals": (
        "Train-Images.IDX3-UBYTE", "Train-Labels.IDX1-UBYTE", "Test-Images.IDX3-UBYTE", "Test-Labels.IDX1-UBYTE"
    ),
}  # fmt: skip


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("memory", [None, 1])
def test_idx_files_go_by_all_their_usual_names(tmp_path, images, names, memory):
    X, y = images
    for name, array in zip(NAMES[names], (X[:30], y[:30], X[30:], y[30:])):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    data = load(str(tmp_path), memory=memory, say=lambda line: None)
    np.testing.assert_array_equal(data.X[:], X[:30].reshape(30, 12))
    np.testing.assert_array_equal(data.X_test, X[30:].reshape(10, 12))
    np.testing.assert_array_equal(data.y_test, y[30:])


def test_a_data_set_may_lie_in_directories_that_hold_nothing_else(tmp_path, images):
    write_idx(tmp_path / "data/MNIST/raw", images)  # as torchvision's
    (tmp_path / "data/.cache").mkdir()
    data = load(str(tmp_path / "data"))
    np.testing.assert_array_equal(data.X, images[0].reshape(40, 12))
    assert data.name == "data"
    (tmp_path / "data/FashionMNIST").mkdir()
    with pytest.raises(InputError, match="data: holds no train-images-idx3-ubyte"):
        load(str(tmp_path / "data"))


def test_idx_files_of_two_data_sets_and_those_that_are_not_used_are_named(tmp_path, images):
    write_idx(tmp_path, images)
    for name in ("validation-images-idx3-ubyte", ".train-images-idx3-ubyte-half", "._train-images-idx3-ubyte"):
        (tmp_path / name).write_bytes(idx(images[0]))  # hidden files are another process's, or the system's
    lines = []
    load(str(tmp_path), say=lines.append)
    names = "names are train-images-idx3-ubyte or t10k-labels-idx1-ubyte"
    assert lines == [f"{tmp_path}: validation-images-idx3-ubyte is not used; {names}"]
    (tmp_path / "emnist-digits-train-images-idx3-ubyte.gz").write_bytes(idx(images[0]))
    with pytest.raises(
        InputError, match="holds emnist-digits-train-images-idx3-ubyte.gz and train-images-idx3-ubyte.gz; it"
    ):
        load(str(tmp_path))


def test_idx_without_a_test_set_is_split_by_seed(tmp_path, images):
    directory = str(write_idx(tmp_path / "idx", images, prefixes=("train",)))
    first, again, other = (load(directory, val_fraction=0.25, seed=seed) for seed in (0, 0, 1))
    assert (len(first.X), len(first.X_test)) == (30, 10)
    np.testing.assert_array_equal(first.X, again.X)
    assert not np.array_equal(first.X, other.X)
    together = np.concatenate([first.X, first.X_test])
    assert {row.tobytes() for row in together} == {image.tobytes() for image in images[0]}


def test_real_mnist_is_whole(mnist):
    assert (mnist.X.shape, mnist.X_test.shape) == ((60_000, 784), (10_000, 784))
    assert np.bincount(mnist.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


TINY = np.arange(24).reshape(2, 3, 4)

BAD_IDX = {
    "empty": (b"", "not an IDX file"),
    "text": (b"hello world", "not an IDX file"),
    "floats": (b"\0\0\x0d\x01" + bytes(8), "IDX of type 0x0d"),
    "no dimensions": (b"\0\0\x08\0", "with 0 dimensions"),
    "half a header": (idx(TINY)[:9], "header ends after 9 of 16 bytes"),
    "too short": (idx(TINY)[:-1], "promises 2x3x4 = 24 bytes, there are 23"),
    "too long": (idx(TINY) + b"x", "promises 2x3x4 = 24 bytes, there are more"),
    "terabytes": (struct.pack(">BBBB3I", 0, 0, 8, 3, *[2**32 - 1] * 3) + bytes(9), "there are 9"),
    "gzip of it": (gzip.compress(struct.pack(">BBBB3I", 0, 0, 8, 3, *[2**32 - 1] * 3)), "there are 0"),
    "a hundred dimensions": (bytes([0, 0, 8, 100]) + bytes(400), "IDX of 100 dimensions"),
    "truncated gzip": (gzip.compress(idx(TINY))[:-9], "gzip stream ends early"),
    "gzip with a wrong checksum": (gzip.compress(idx(TINY))[:-8] + bytes(8), "not a valid gzip file"),
    "corrupt gzip": (gzip.compress(idx(TINY))[:12] + b"\xff" * 9, "not a valid gzip file|ends early|not an IDX file"),
}


@pytest.mark.parametrize("shape", [(0, 4, 3), (5, 0, 3)])
def test_idx_without_images_or_pixels(tmp_path, shape):
    empty = np.zeros(shape, np.uint8), np.arange(shape[0])
    with pytest.raises(InputError, match="empty; it must hold|no features; they must have"):
        load(str(write_idx(tmp_path / "idx", empty)))


def test_idx_counts_and_dimensions_that_differ(tmp_path, images):
    directory = write_idx(tmp_path / "idx", images)
    (directory / "train-labels-idx1-ubyte.gz").write_bytes(idx(images[1][:-1]))
    for memory in (None, 8):
        with pytest.raises(InputError, match=r"40 images, but train-labels-idx1-ubyte.gz has 39 labels"):
            load(str(directory), memory=memory)
    (directory / "train-labels-idx1-ubyte.gz").write_bytes(idx(images[0]))
    for memory in (None, 8):
        with pytest.raises(InputError, match="train-labels-idx1-ubyte.gz: IDX of 3 dimensions; it must have 1"):
            load(str(directory), memory=memory)
    (directory / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match=r"holds no train-labels-idx1-ubyte\[.gz\]"):
        load(str(directory))
    write_idx(directory, images)
    (directory / "t10k-images-idx3-ubyte.gz").rename(directory / "t10k.gz")
    with pytest.raises(InputError, match=r"holds no t10k-images-idx3-ubyte\[.gz\]"):
        load(str(directory))


def test_a_test_set_of_another_width_or_with_unknown_labels(tmp_path, images):
    X, y = images
    directory = write_idx(tmp_path / "idx", images)
    write_idx(directory, (X[:, :, :2], y), prefixes=("t10k",))
    with pytest.raises(InputError, match=r"its images are \(4, 2\); the training set's are \(4, 3\)"):
        load(str(directory))
    write_idx(directory, (X, y + 50), prefixes=("t10k",))
    with pytest.raises(
        InputError, match=r"label '5.' is none of the training set's 10 classes \(0, 1, 2, 3, 4, \.\.\.\)"
    ):
        load(str(directory))


# -- CSV -----------------------------------------------------------------------------------------------------------


KAGGLE = "label," + ",".join(f"pixel{k}" for k in range(12))


def csv_text(X, y, header=KAGGLE, label_at=0):
    rows = [",".join(map(str, np.insert(row, label_at, label))) for row, label in zip(X.astype(int), y)]
    return "\n".join(([header] if header else []) + rows) + "\n"


FORMS = {
    "header": lambda X, y: csv_text(X, y).encode(),
    "no header": lambda X, y: csv_text(X, y, header=None).encode(),
    "no newline at the end": lambda X, y: csv_text(X, y).rstrip("\n").encode(),
    "windows lines": lambda X, y: csv_text(X, y).replace("\n", "\r\n").encode(),
    "spaces": lambda X, y: csv_text(X, y).replace(",", ", ").encode(),
    "floats": lambda X, y: csv_text(X, y).replace("\n", ".0\n", 3).replace(".0\n", "\n", 1).encode(),
    "data frame": lambda X, y: csv_text(X, y, "label," + ",".join(map(str, range(12)))).encode(),
    "label last": lambda X, y: csv_text(X, y, "a,b,c,d,e,f,g,h,i,j,k,l,label", 12).encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_csv_in_its_forms(tmp_path, images, form):
    X, y = images[0].reshape(40, 12), images[1]
    path = tmp_path / "digits.csv"
    path.write_bytes(FORMS[form](X, y))
    for _ in range(2):  # parsed, then from the cache
        got_X, got_y = read_csv(path)
        np.testing.assert_array_equal(got_X, X)
        np.testing.assert_array_equal(got_y, y)
        assert got_X.dtype == np.uint8


def test_the_label_column_by_name(tmp_path, images):
    X, y = images[0].reshape(40, 12), images[1]
    path = tmp_path / "digits.csv"
    path.write_text(csv_text(X, y, "a,b,c,digit,d,e,f,g,h,i,j,k,l", 3))
    np.testing.assert_array_equal(read_csv(path, "digit")[1], y)
    np.testing.assert_array_equal(read_csv(path, "digit")[0], X)
    with pytest.raises(InputError, match=r"no column 'class'; the columns are a, b, c, digit, d, \.\.\."):
        read_csv(path, "class")
    path.write_text("1,2\n")
    with pytest.raises(InputError, match="no column 'class'; the columns are not named"):
        read_csv(path, "class")


def test_pixels_without_labels_are_for_predicting(tmp_path, images):
    X, y = images[0].reshape(40, 12), images[1]
    path = tmp_path / "digits.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in X))
    np.testing.assert_array_equal(read_features(path, 12), X)
    path.write_text(csv_text(X, y))
    np.testing.assert_array_equal(read_features(path, 12), X)
    path.write_text(csv_text(X, y, "a,b,c,digit,d,e,f,g,h,i,j,k,l", 3))
    np.testing.assert_array_equal(read_features(path, 12, label_column="digit"), X)
    with pytest.raises(
        InputError, match="13 columns for 12 features, and none is known to hold labels; --label-column"
    ):
        read_features(path, 12)
    with pytest.raises(InputError, match="has 12 columns for 11 features"):
        read_features(path, 11, label_column="digit")


def test_integers_of_four_digits_are_numbers_but_for_codes(tmp_path):
    path = tmp_path / "short.csv"
    path.write_text("a,b,label\n1234,7,0\n9999,10,1\n1000,255,0\n")
    assert load(str(path), val_fraction=None).X.tolist() == [[1234, 7], [9999, 10], [1000, 255]]
    path.write_text("zip,b,label\n0042,1,x\n0139,2,y\n")
    assert load(str(path), val_fraction=None).X.columns["zip"].tolist() == ["0042", "0139"]


def test_labels_to_test_a_model_on_are_found_where_the_option_or_the_values_say(tmp_path):
    path = tmp_path / "test.csv"
    path.write_text("1.5,2,x\n2,3,y\n3.5,4,x\n4,5,y\n")
    samples, _ = csv.read(path, Query(known=Features(2)))
    assert (samples.X.tolist(), samples.labels.values) == ([[1.5, 2], [2, 3], [3.5, 4], [4, 5]], ["x", "y"])
    path.write_text("a,b,c,label\n1,2,3,x\n4,5,6,y\n")
    samples, _ = csv.read(path, Query("c", known=Features(2, ("a", "b"), label=LabelColumn("label", 2))))
    assert (samples.X.tolist(), samples.labels.values) == ([[1, 2], [4, 5]], ["3", "6"])


def test_labels_that_are_no_classes_for_their_number_or_kind():
    with pytest.raises(InputError, match="the label of row 30 .* is 'x', where most are numbers; it must be a finite"):
        class_indices(distinct([*map(str, range(30)), "x"]), "y")
    assert quantity(distinct(np.arange(10_001))) == "10,001 different numbers"


def test_chunks_of_a_long_file_fit_together(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("fastmlp.data.csv.CHUNK_BYTES", 100)
    X, y = rng.integers(0, 256, (500, 12)).astype(np.uint8), rng.integers(0, 10, 500)
    path = tmp_path / "digits.csv"
    path.write_text(csv_text(X, y))
    np.testing.assert_array_equal(read_csv(path)[0], X)


def test_an_edited_csv_is_read_again_and_a_damaged_cache_is_ignored(tmp_path, images):
    X, y = images[0].reshape(40, 12), images[1]
    path = tmp_path / "digits.csv"
    path.write_text(csv_text(X, y))
    read_csv(path)
    path.write_text(csv_text(X[:20], y[:20]))
    assert len(read_csv(path)[0]) == 20
    cached = list((tmp_path / "cache" / "csv").glob("*.npz"))
    assert len(cached) == 2
    for file in cached:
        file.write_bytes(file.read_bytes()[:-50])
    np.testing.assert_array_equal(read_csv(path)[0], X[:20])


_LONG = f'"{"1" * 200_000}"'  # behind the lines that are looked at for the dialect
BAD_CSV = {
    "a bad first row": ("x,2,3\n1,2,3\n", "line 1, column 1: 'x' is not a number, and the line is no header"),
    "a stray carriage return": ("0,1.5\n1,2.5\r3\n0,4.5\n", "line 3 has 1 fields"),
    "blank lines only": ("\n\n\n", "no rows"),
    "a field without end": ('"' + "1" * 200_000, "line 1: field larger than field limit"),
    "a long field in the last line": (
        "a,label\n" + "1.5,x\n2.5,y\n" * 6000 + _LONG + ",y\n",
        "field larger than field limit",
    ),
    "a long field in the first column": (
        "id,a,label\n" + "".join(f"{k},1.5,x\n" for k in range(9000)) + _LONG + ",1,y\n1,1,y\n",
        "field larger than",
    ),
    "empty": ("", "no rows"),
    "only a header": ("label,a,b\n", "no rows"),
    "not a number": ("label,a,b\n1,2,3\n1,x,3\n", r"line 3, column 2 \(a\): 'x' is not a number"),
}


# -- npz -----------------------------------------------------------------------------------------------------------


def test_npz_under_its_usual_names(tmp_path, images):
    X, y = images
    np.savez(tmp_path / "keras.npz", x_train=X, y_train=y, x_test=X[:5], y_test=y[:5])
    data = load(str(tmp_path / "keras.npz"))
    np.testing.assert_array_equal(data.X, X.reshape(40, 12))
    assert len(data.X_test) == 5
    said = []
    assert len(npz_reader.features(tmp_path / "keras.npz", Query(say=said.append))) == 5
    assert said == [f"{tmp_path / 'keras.npz'}: x_test is predicted from, x_train is not"]
    np.savez_compressed(tmp_path / "plain.npz", X=X.reshape(40, 12).astype(np.float32), y=y.astype(np.int16))
    data = load(str(tmp_path / "plain.npz"), test=str(tmp_path / "keras.npz"))
    assert data.X.dtype == np.float32
    assert len(data.X_test) == 5
    assert len(load(str(tmp_path / "plain.npz")).X_test) == 4
    np.savez(tmp_path / "narrow.npz", X=X.reshape(40, 12)[:, :8], y=y)
    with pytest.raises(InputError, match="the test set has 8 features, the training set 12"):
        load(str(tmp_path / "plain.npz"), test=str(tmp_path / "narrow.npz"))


def test_npz_of_images_text_labels_and_weights(tmp_path, images):
    X, y = images
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])[y]
    weight = np.arange(40.0)
    np.savez(tmp_path / "images.npz", X=X, y=names, sample_weight=weight)
    data = load(str(tmp_path / "images.npz"), val_fraction=0.25)
    assert data.image_shape == (4, 3)
    assert data.classes == tuple(sorted(set(names)))
    assert data.sample_weight.dtype == np.float64
    rows = data.sample_weight.astype(int)  # the weights say which rows the split kept
    np.testing.assert_array_equal(data.X, X.reshape(40, 12)[rows])
    np.testing.assert_array_equal(np.array(data.classes)[data.y], names[rows])
    np.savez(tmp_path / "test.npz", X=X[:7].reshape(7, 12), y=names[:7].astype("S"))
    data = load(str(tmp_path / "images.npz"), test=str(tmp_path / "test.npz"))
    np.testing.assert_array_equal(np.array(data.classes)[data.y_test], names[:7])


@pytest.mark.parametrize(
    ("dtype", "read_as"),
    [("u1", "u1"), ("f4", "f4"), ("f8", "f8"), (">f8", "f8"), ("f2", "f4"), (">f4", "f4"), ("i8", "f4"), ("u2", "f4")],
)
def test_npz_numbers_become_those_that_can_be_trained_on(tmp_path, dtype, read_as):
    X = np.arange(60).reshape(20, 3).astype(dtype)
    np.savez(tmp_path / "a.npz", X=X, y=np.array([70_000, -3] * 10, np.int32), X_test=X[:2], y_test=[-3, 70_000])
    data = load(str(tmp_path / "a.npz"))
    assert data.X.dtype == np.dtype(read_as)
    assert data.X.dtype.isnative
    np.testing.assert_array_equal(data.X, X)
    assert (data.classes, data.y_test.tolist()) == (("-3", "70000"), [0, 1])


Y, SMALL = np.arange(12) % 3, np.arange(144, dtype=np.uint8).reshape(12, 3, 4)
ODD_NPZ = {  # what np.savez was given: (image_shape, classes, what is said)
    "labels in a column": ({"X": SMALL, "y": Y[:, None]}, (3, 4), "012", ""),
    "labels in a row": ({"X": SMALL, "y": Y[None]}, (3, 4), "012", ""),
    "labels one-hot": (
        {"X": SMALL, "y": np.eye(3)[Y]}, (3, 4), "012", "rows of 3 with a single 1 are taken for the classes"
    ),
    "labels true or false": ({"X": SMALL, "y": Y == 1}, (3, 4), ["False", "True"], ""),
    "a channel last": ({"X": SMALL[..., None], "y": Y}, (3, 4), "012", ""),
    "a channel first": ({"X": SMALL[:, None], "y": Y}, (3, 4), "012", ""),
    "colours": ({"X": SMALL[..., None].repeat(3, 3), "y": Y}, None, "012", ""),
    "black and white": ({"X": SMALL > 9, "y": Y}, (3, 4), "012", ""),
    "images and labels": ({"images": SMALL, "labels": Y}, (3, 4), "012", ""),
    "data and target": ({"data": SMALL, "target": Y}, (3, 4), "012", ""),
    "no names": ((SMALL, Y), (3, 4), "012", "arr_0 and arr_1 are taken for samples and labels"),
    "a capital Y": ({"X_train": SMALL, "Y_train": Y}, (3, 4), "012", ""),
    "capitals between": ({"trainX": SMALL, "trainY": Y, "testX": SMALL, "testY": Y}, (3, 4), "012", ""),
    "inputs and targets": ({"Inputs": SMALL, "Targets": Y}, (3, 4), "012", ""),
    "parts in front": (
        {"train_images": SMALL, "train_labels": Y, "test_images": SMALL, "test_labels": Y, "val_images": SMALL}, (3, 4),
        "012", "val_images not used",
    ),
    "a test set without labels": ({"X": SMALL, "y": Y, "X_test": SMALL}, (3, 4), "012", "X_test not used"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_NPZ)
def test_npz_as_other_libraries_write_it(tmp_path, name):
    arrays, shape, classes, said = ODD_NPZ[name]
    lines = []
    np.savez(tmp_path / "a.npz", *arrays) if isinstance(arrays, tuple) else np.savez(tmp_path / "a.npz", **arrays)
    data = load(str(tmp_path / "a.npz"), val_fraction=None, say=lines.append)
    X = arrays[0] if isinstance(arrays, tuple) else next(iter(arrays.values()))
    np.testing.assert_array_equal(data.X, X.reshape(12, -1))
    assert (data.image_shape, data.classes) == (shape, tuple(classes))
    assert data.y.tolist() == (Y == 1 if len(classes) == 2 else Y).tolist()
    assert said in "".join(lines)
    assert len(lines) == bool(said)


def test_an_npz_within_gzip_and_text_gzipped_twice_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", X=SMALL, y=Y)
    for name in ("b.npz", "b.npz.gz"):
        (tmp_path / name).write_bytes(gzip.compress((tmp_path / "a.npz").read_bytes()))
        with pytest.raises(InputError, match="is gzipped; an .npz is compressed by itself"):
            load(str(tmp_path / name))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(gzip.compress(b"label,a\n0,1\n1,2\n")))
    with pytest.raises(InputError, match="is gzipped twice; it must be once"):
        load(str(tmp_path / "a.csv.gz"))


def zipped(pack=zipfile.ZIP_DEFLATED, **members):
    return damage.zipped([(f"{name}.npy", content) for name, content in members.items()], pack)


HUGE = npy(np.zeros(8, np.uint8)).replace(b"(8,)", b"(8000000000000,)").replace(b" " * 12, b"", 1)
GOOD = npy(np.zeros((4, 3), np.uint8))
FLIPPED = npy(np.zeros((4, 3), np.uint8))[:-1] + b"\1"
LABELS = npy(np.array([0, 1, 0, 1]))
BAD_NPZ = {
    "not a zip": (b"PK nothing", "not a valid .npz file"),
    "empty file": (b"", "not a valid .npz file"),
    "truncated": (zipped(X=GOOD, y=LABELS)[:-30], "not a valid .npz file"),
    "a flipped bit": (
        zipped(pack=zipfile.ZIP_STORED, X=GOOD, y=LABELS).replace(GOOD, FLIPPED), "not a valid .npz file"
    ),
    "no arrays": (zipped(), "holds nothing; it must hold X and y"),
    "other names": (zipped(a=GOOD, b=GOOD), "holds a, b; it must hold X and y"),
    "terabytes": (zipped(X=HUGE, y=LABELS), "promises 8000000000000 bytes"),
    "objects": (zipped(X=npy(np.zeros(3)).replace(b"'<f8'", b"'|O' "), y=GOOD), "dtype object"),
    "counts that differ": (zipped(X=GOOD, y=npy(np.zeros(5, int))), r"X has shape \(4, 3\) and y \(5,\)"),
    "complex labels": (
        zipped(X=GOOD, y=npy(np.zeros(4, complex))), "'y' has dtype complex128; it must be numbers or text"
    ),
    "a NaN as label": (zipped(X=GOOD, y=npy(np.array([0, 1, np.nan, 1]))), "y, row 2 .counted from 0.: holds a NaN"),
    "one label": (zipped(X=GOOD, y=npy(np.zeros(4))), "all labels are '0'; there must be at least two classes"),
    "one text label": (zipped(X=GOOD, y=npy(np.array(["a"] * 4))), "all labels are 'a'; there must be at least two"),
    "an empty label": (
        zipped(X=GOOD, y=npy(np.array(["a", "b", "", "a"]))), "the label of row 2 .counted from 0. is empty"
    ),
    "labels not of Unicode": (
        zipped(X=GOOD, y=npy(np.array([1, 2, 0x110000, 1], "<u4")).replace(b"<u4", b"<U1")),
        "y holds characters that Unicode does not have",
    ),
    "half a surrogate pair": (zipped(X=GOOD, y=npy(np.array(["a", "b", "\ud800", "a"]))), "Unicode does not have"),
    "text": (zipped(X=npy(np.array([["a"]] * 4)), y=LABELS), "X has dtype <U1; it must be an integer type or a float"),
    "few weights": (
        zipped(X=GOOD, y=LABELS, sample_weight=npy(np.ones(3))), r"of shape \(3,\); they must be numbers of"
    ),
    "negative weight": (
        zipped(X=GOOD, y=LABELS, sample_weight=npy(np.array([1, 1, -2, 1]))),
        "the weight of row 2 .counted from 0. is -2; it must be finite and at least 0",
    ),
    "no weight": (zipped(X=GOOD, y=LABELS, sample_weight=npy(np.zeros(4))), "all sample weights are 0"),
    "no features": (zipped(X=npy(np.zeros((40, 0))), y=npy(np.arange(40) % 2)), "no features"),
    "a shape of booleans": (zipped(X=GOOD.replace(b"(4, 3)", b"(True,4)"), y=LABELS), "not a valid .npz file|promises"),
    "NaN": (
        zipped(X=npy(np.array([[0.0], [np.nan]] * 2)), y=LABELS),
        "X, row 1 .counted from 0.: holds a NaN or an infinity",
    ),
}  # fmt: skip


BAD = {
    **{f"idx: {name}": (read_idx, *case) for name, case in BAD_IDX.items()},
    **{f"csv: {name}": (read_csv, *case) for name, case in BAD_CSV.items()},
    **{f"npz: {name}": (load, *case) for name, case in BAD_NPZ.items()},
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line_that_names_it(tmp_path, name):
    read, content, message = BAD[name]
    path = tmp_path / f"bad.{name[:3]}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as error:
        read(str(path) if read is load else path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


# -- by name -------------------------------------------------------------------------------------------------------


def test_mnist_is_looked_for_in_fastmlp_data_then_the_cache(tmp_path, images, monkeypatch):
    write_idx(tmp_path / "elsewhere", images)
    monkeypatch.setenv("FASTMLP_DATA", str(tmp_path / "elsewhere"))
    assert len(load("mnist").X) == 40
    monkeypatch.delenv("FASTMLP_DATA")
    (tmp_path / "cache").mkdir()
    write_idx(tmp_path / "cache" / "mnist", images)
    assert len(load("mnist").X) == 40
    monkeypatch.setenv("FASTMLP_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="FASTMLP_DATA is .*; it must be a directory"):
        load("mnist")


@pytest.fixture
def few_digits(monkeypatch):
    monkeypatch.setattr(mnist_reader, "load_synthetic", lambda seed: load_synthetic(0, 50, 10))


def test_without_mnist_or_network_the_synthetic_digits_stand_in(few_digits, monkeypatch):
    lines = []
    assert load("mnist", offline=True, say=lines.append).name == "synthetic"
    assert lines == ["MNIST is not on this machine and --offline forbids the download; using built-in synthetic digits"]

    def unreachable(*args, **kwargs):
        raise OSError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    lines.clear()
    assert load("mnist", say=lines.append).name == "synthetic"
    assert len(lines) == 2
    assert lines[1].startswith(
        "MNIST cannot be downloaded (Name or service not known); using built-in synthetic digits"
    )


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("nowhere.csv", {}, "nowhere.csv: no such file or directory"),
        (
            "pyproject.toml",
            {},
            rf"unknown format; it must be a directory or a {re.escape(suffixes(TRAINING))} file, or .txt or .data",
        ),
        ("synthetic", {"test": "x"}, "synthetic has a test set of its own"),
        ("synthetic", {"label_column": "x"}, "--label-column x: names a column of a table; synthetic is none"),
        (
            "tests",
            {},
            rf"tests: holds no train-images-idx3-ubyte\[.gz\], X.npy or {re.escape(suffixes(TRAINING))} files",
        ),
        ("tests", {"test": "x"}, "--test x: a directory has a test set of its own, if any"),
        ("synthetic", {"memory": 1}, "--memory 1: goes with --data DIRECTORY"),
        ("pyproject.toml", {"memory": 1}, "pyproject.toml is one file, which is read whole"),
    ],
)
def test_specs_that_name_no_data(spec, options, message, monkeypatch):
    root = Path(__file__).resolve().parent.parent

    monkeypatch.chdir(root)
    with pytest.raises(InputError, match=message):
        load(spec, **options)


def test_the_home_directory_may_be_written_as_a_tilde(tmp_path, images, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    X, y = images
    write_idx(tmp_path / "digits", images)
    np.savez(tmp_path / "a.npz", X=X, y=y)
    assert len(load("~/digits").X) == 40
    assert len(load("~/a.npz", test="~/a.npz").X_test) == 40
    monkeypatch.setenv("FASTMLP_DATA", "~/digits")
    assert len(load("mnist").X) == 40
    monkeypatch.setenv("FASTMLP_CACHE", "~/kept")
    (tmp_path / "a.csv").write_text("label,p\n" + "1,2\n0,3\n" * 9)
    load("~/a.csv")
    assert (tmp_path / "kept").is_dir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~nobody.csv").write_text("label,p\n" + "1,2\n0,3\n" * 9)
    assert len(load("~nobody.csv", val_fraction=None).X) == 18  # no such user: a file of that name


def test_part_of_mnist_is_not_mnist(tmp_path, images, few_digits, monkeypatch):
    """A download cut short is taken up again, and never trained on."""
    write_idx(tmp_path / "cache", images, prefixes=())
    (tmp_path / "cache" / "mnist").mkdir()
    write_idx(tmp_path / "cache" / "mnist", images, prefixes=("train",))
    assert load("mnist", offline=True, say=lambda line: None).name == "synthetic"


def test_synthetic_digits_are_seeded_and_look_like_mnist():
    X, y = synthetic_digits(300, seed=5)
    again, _ = synthetic_digits(300, seed=5)
    other, _ = synthetic_digits(300, seed=6)
    np.testing.assert_array_equal(X, again)
    assert (other != X).any()
    assert (X.shape, X.dtype) == ((300, 784), np.uint8)
    assert 0.12 < (X > 0).mean() < 0.25  # MNIST: 0.19
    assert (X.max(1) > 150).all()
    assert set(y) == set(range(10))
    assert len(np.unique(X, axis=0)) == 300


def test_synthetic_digits_are_drawn_once_and_a_damaged_cache_is_mended(tmp_path, monkeypatch):
    drawn = []

    def draw(n, seed):
        drawn.append(n)
        return np.full((n, 784), n, np.uint8), np.arange(n) % 10

    monkeypatch.setattr("fastmlp.data.synthetic.synthetic_digits", draw)
    first, again = load_synthetic(n=20, n_test=5), load_synthetic(n=20, n_test=5)
    assert drawn == [25]
    for data in (first, again):
        assert (data.X == 25).all()
        np.testing.assert_array_equal(data.y_test, np.arange(20, 25) % 10)
    (kept,) = (tmp_path / "cache" / "synthetic").glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:-100])
    assert (load_synthetic(n=20, n_test=5).X_test == 25).all()
    assert drawn == [25, 25]
    load_synthetic(n=20, n_test=4)
    assert drawn == [25, 25, 24]


def test_synthetic_digits_do_without_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("FASTMLP_CACHE", str(tmp_path / "file"))
    assert len(load_synthetic(n=20, n_test=5).X) == 20
