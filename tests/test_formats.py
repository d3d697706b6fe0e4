"""The table of file formats: every format in every place that takes files, under its own names or none."""

import gzip
import io
import pickle
import struct
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from reading import dense

from fastmlp import predict, train
from fastmlp.data import OnDisk, format_of, load
from fastmlp.errors import InputError
from fastmlp.evaluate import model_inputs
from fastmlp.formats import CSV, FORMATS, TRAINING, Features, Query

from written import WRITTEN, write

pytestmark = pytest.mark.usefixtures("own_cache")

COLUMNS = ["a", "b", "c"]
each_format = pytest.mark.parametrize("form", WRITTEN, ids=lambda form: form.name)


@pytest.fixture
def samples(rng):
    """Quarters, many of them zero, and three classes; all columns and both ends occur."""
    X = rng.integers(-2, 3, (24, 3)).astype(np.float32) / 4
    X[0] = 1
    return X, np.arange(24) % 3


def require(data, samples, rows=slice(None)):
    np.testing.assert_array_equal(dense(data.X), samples[0][rows])
    np.testing.assert_array_equal(data.y, samples[1][rows])


def endings(form):
    return [f"{suffix}{gz}" for suffix in form.suffixes for gz in (("", ".gz") if form.zipped else ("",))]


@each_format
def test_a_file_is_trained_on_under_each_of_its_names(form, tmp_path, samples):
    for ending in endings(form):
        for name in (f"my.data{ending}", f"MY{ending.upper()}"):
            data = load(str(write(form, tmp_path / name, *samples, COLUMNS)), val_fraction=None, say=lambda line: None)
            require(data, samples)
            assert data.name == name[: -len(ending)]


PAIRS = [(a, b) for a in WRITTEN for b in WRITTEN if (a.name == "svmlight") == (b.name == "svmlight")]  # sparse or not


@pytest.mark.parametrize(("form", "other"), PAIRS, ids=lambda form: form.name)
def test_a_held_out_file_may_be_of_any_format(form, other, tmp_path, samples):
    train = write(form, tmp_path / f"train{form.suffixes[0]}", *samples, COLUMNS)
    test = write(other, tmp_path / f"test{other.suffixes[0]}", *samples, COLUMNS)
    data = load(str(train), test=str(test), say=lambda line: None)
    require(data, samples)
    np.testing.assert_array_equal(dense(data.X_test), samples[0])


@each_format
@pytest.mark.parametrize("memory", [None, 1])
def test_shards_are_the_rows_in_the_order_of_their_names(form, tmp_path, samples, memory):
    (tmp_path / "shards").mkdir()
    for name, rows in {"a": slice(0, 9), "b": slice(9, 16), "test": slice(16, 24)}.items():
        write(form, tmp_path / "shards" / f"{name}{endings(form)[-1]}", *(part[rows] for part in samples), COLUMNS)
    data = load(str(tmp_path / "shards"), memory=memory, say=lambda line: None)
    require(data, samples, slice(0, 16))
    np.testing.assert_array_equal(dense(data.X_test), samples[0][16:])
    assert isinstance(data.X, OnDisk) == (memory is not None)


@pytest.mark.parametrize(
    ("tested", "left_out", "said"),
    [
        ("mnist_test", None, None), ("emnist-Testing.1", None, None), ("val", None, "taken for the test set"),
        ("test", "a_validation", "not used"),
    ],
)  # fmt: skip
def test_a_shards_name_says_what_part_it_is(tmp_path, samples, tested, left_out, said):
    shards = {"latest_train": slice(0, 9), "mnist": slice(9, 16), tested: slice(16, 24)}
    for name, rows in (shards | ({left_out: slice(0, 9)} if left_out else {})).items():
        write(CSV, tmp_path / f"{name}.csv", *(part[rows] for part in samples), COLUMNS)
    data = load(str(tmp_path), say=(lines := []).append)
    require(data, samples, slice(0, 16))
    np.testing.assert_array_equal(dense(data.X_test), samples[0][16:])
    assert [line for line in lines if "val" in line] == [f"{tmp_path}: {left_out or tested}.csv {said}"] * (
        said is not None
    )


@pytest.mark.parametrize("form", [form for form in WRITTEN if form.has_columns], ids=lambda form: form.name)
def test_columns_of_shards_go_by_name_to_a_model(form, tmp_path, samples):
    (tmp_path / "shards").mkdir()
    write(form, tmp_path / "shards" / f"a{form.suffixes[0]}", *samples, COLUMNS)
    data = load(str(tmp_path / "shards"), val_fraction=None, say=lambda line: None)
    model = SimpleNamespace(features=Features(2, ("c", "a")))
    np.testing.assert_array_equal(model_inputs(data, model, "m"), samples[0][:, [2, 0]])
    model.features = Features(2, ("a", "d"))
    with pytest.raises(InputError, match="shards: has no column 'd', which m takes"):
        model_inputs(data, model, "m")


@each_format
def test_a_model_predicts_samples_of_a_file_with_labels(form, tmp_path, samples):
    path = write(form, tmp_path / f"new{endings(form)[-1]}", *samples, COLUMNS)
    query = Query(known=Features(3, tuple(COLUMNS), 1))
    np.testing.assert_array_equal(dense(format_of(path).reader.features(path, query)), samples[0])


@each_format
def test_columns_are_named_where_there_are_some_and_nowhere_else(form, tmp_path, samples):
    path = str(write(form, tmp_path / f"a{form.suffixes[0]}", *samples, COLUMNS))
    if form.has_columns:
        assert load(path, label_column="label").columns == tuple(COLUMNS)
        return
    with pytest.raises(InputError, match="--label-column label: names a column of a table"):
        load(path, label_column="label")


@each_format
def test_a_file_under_a_name_that_says_nothing_goes_by_its_content(form, tmp_path, samples):
    of_libsvm = ["x.t", "x.scale"] * (form.name == "svmlight")
    texts = ["x.txt", "x.data", "x.all-data", "x.dat", "x.tra", "x", *of_libsvm]
    for name in texts if form.is_text else ["x.txt", "x", "x.bin", "x.zip"]:
        path = write(form, tmp_path / f"a{form.suffixes[0]}", *samples, COLUMNS).rename(tmp_path / name)
        assert format_of(path) == form
        require(load(str(path), val_fraction=None, say=lambda line: None), samples)
        if form.zipped:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            assert format_of(tmp_path / f"{name}.gz") == form


def test_rows_of_nothing_but_a_label_and_lines_longer_than_are_looked_at_are_svmlight(tmp_path):
    for content in (b"1\n\n-1 # x\n1 3:2\n", b"1 " + b"".join(b"%d:1 " % k for k in range(1, 9000)) + b"\n-1 1:2\n"):
        (tmp_path / "x.txt").write_bytes(content)
        assert format_of(tmp_path / "x.txt").name == "svmlight"


def test_a_file_with_query_ids_is_svmlight_and_told_to_leave_them_out(tmp_path):
    (tmp_path / "x.txt").write_text("2 qid:10 1:0.5 # a document\n1 qid:10 2:1\n")
    with pytest.raises(InputError, match=r"line 1: 'qid:10' is a query id, for ranking; it must be left out"):
        load(str(tmp_path / "x.txt"))


def test_a_tab_separated_field_may_hold_more_commas_than_there_are_tabs(tmp_path):
    (tmp_path / "a.tsv").write_text("label\ta, b, and c\nx, y\t1\nz\t2\n")
    data = load(str(tmp_path / "a.tsv"), val_fraction=None)
    assert (data.columns, data.classes, data.X.tolist()) == (("a, b, and c",), ("x, y", "z"), [[1], [2]])


def member(name, content=b"x"):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


FOREIGN = {
    "an Arrow file": b"ARROW1\0\0",
    "an HDF5 file": b"\x89HDF\r\n\x1a\n",
    "a MATLAB file": b"MATLAB 5.0 MAT-file, Platform: GLNXA64",
    "a Python pickle, which runs whatever is in it": pickle.dumps({"X": 1}),
    "an Excel sheet (save it as .csv)": member("xl/workbook.xml"),
    "a photograph in HEIC or AVIF (save it as .jpg)": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "a zip archive": member("a/b.csv"),
    "compressed, and not by gzip": b"BZh91AY&SY",
    "a database": b"SQLite format 3\0",
    "an ARFF file": b"% iris\n%\n@RELATION iris\n",
    "JSON": b'[\n {"a": 1}',
    "XML or HTML": b"<!DOCTYPE html>\n",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\n",
}


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("name", ["x", "x.txt", "x.other"])
def test_files_that_are_known_and_not_read_are_called_what_they_are(what, name, tmp_path):
    (tmp_path / name).write_bytes(FOREIGN[what])
    with pytest.raises(InputError) as error:
        load(str(tmp_path / name))
    assert str(error.value).startswith(f"{tmp_path / name}: is {what}")
    assert str(error.value).endswith(
        "it must be a table in text, an image, or an .npz as np.savez(path, X=X, y=y) writes it"
    )


@pytest.mark.parametrize("content", [b"\0\1\2\3", bytes(range(256))])
def test_what_is_no_format_is_told_which_there_are(content, tmp_path):
    for name in ("x", "x.txt", "x.other"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            InputError, match=r"unknown format; it must be a directory or a \.csv, .* or \.txt or \.data"
        ):
            load(str(tmp_path / name))


@pytest.mark.parametrize("content", [b"", gzip.compress(b"")])
def test_an_empty_file_is_called_so(content, tmp_path):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match="x: is empty"):
        load(str(tmp_path / "x"))


def test_images_of_idx_alone_are_no_data_to_train_on(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(struct.pack(">BBBB3I", 0, 0, 8, 3, 1, 1, 1) + b"x")
    with pytest.raises(InputError, match="an IDX file has no labels; give the directory of samples and labels"):
        load(str(tmp_path / "train-images-idx3-ubyte"))


def test_one_array_is_predicted_and_not_trained_on(tmp_path, samples):
    np.save(tmp_path / "X.npy", samples[0])
    np.save(tmp_path / "columns.npy", np.asfortranarray(samples[0]))
    np.save(tmp_path / "row.npy", samples[0][0])
    query = Query(known=Features(3))
    for name in ("X.npy", "columns.npy"):
        np.testing.assert_array_equal(format_of(tmp_path / name).reader.features(tmp_path / name, query), samples[0])
    with pytest.raises(InputError, match=r"row.npy has shape \(3,\); it must be \(N, ...\)"):
        format_of(tmp_path / "row.npy").reader.features(tmp_path / "row.npy", query)
    with pytest.raises(InputError, match="an .npy file has no labels; give the directory of samples and labels"):
        load(str(tmp_path / "X.npy"))


def test_help_names_the_suffixes_of_the_table():
    for verb, formats in ((train, TRAINING), (predict, FORMATS)):
        shown = verb.parser().format_help()
        for form in formats:
            assert all(suffix in shown for suffix in form.suffixes), form
