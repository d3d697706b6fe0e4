"""Hostile files: readers of any bytes give a sound object or one line that names the file, soon and in little memory.

``python tests/test_hostile.py SEED COUNT KIND ...`` replays mutants; ``FASTMLP_FUZZ_SEED`` makes the tests draw others.
"""

import bz2
import contextlib
import gzip
import io
import itertools
import json
import os
import pickle
import signal
import struct
import sys
import tempfile
import traceback
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from damage import CSV, KINDS, META, NPZ, PIXELS, SVM, TENSORS, VALUES, mutant, npy, place, tensor_file, zipped
from lines import one_line

from fastmlp.config import configure, read_toml
from fastmlp.data import Sparse, format_of, load
from fastmlp.data import files as files_reader
from fastmlp.data.frame import Frame
from fastmlp.data.idx import read_idx
from fastmlp.data.npz import as_labels, read_npz
from fastmlp.data.pictures import found
from fastmlp.errors import InputError
from fastmlp.formats import IMAGE, PICTURES, Query
from fastmlp.images.framing import Framing
from fastmlp.images.prepare import picture, read_images
from fastmlp.models.loading import load_model, model_from
from fastmlp.models.tensor_file import _digest
from fastmlp.training.checkpoint import read_checkpoint

FIRST = int(os.environ.get("FASTMLP_FUZZ_SEED", "0"))
PICTURE, ARCHIVE = f"predict {IMAGE.name}", f"predict {PICTURES.name}"
OF_PILLOW = (PICTURE, ARCHIVE, "zip")
HANG_SECONDS = 600  # 1,500 mutants took 98 s on a busy machine
SPARE_BYTES = 1 << 30  # of address space beside what the imports take: a thousand times what a mutant needs
LONGEST_LINE = 600  # of a message, beside the file's name


class Hang(BaseException):
    """Passes every `except Exception`."""


@contextmanager
def no_hang():
    """Whoever is still at it after HANG_SECONDS is stuck."""

    def ring(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def require_one_line(refusal: str, path: str) -> None:
    assert refusal.startswith(path)
    assert len(refusal.splitlines()) == 1
    assert len(refusal) < len(path) + LONGEST_LINE
    # An allocation that failed, for a file of a few kilobytes; what is too large by its header is told before.
    assert "too large for this machine's memory" not in refusal


def require_refusal(read: Callable, path: Path, message: str | None = None, most: int | None = None) -> None:
    """``read`` says ``message`` of the file in one line, and has allocated no more than ``most`` bytes at a time."""
    with nullcontext() if most is None else bounded(most), pytest.raises(InputError, match=message) as error:
        read(str(path))
    require_one_line(str(error.value), str(path))


@contextmanager
def bounded(most: int):
    """The block allocates no more than ``most`` bytes at a time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


# -- readers ---------------------------------------------------------------------------------------------------------


def require_samples(X, y=None, classes=()):
    """What every reader promises of samples, and of their labels."""
    assert len(X.shape) == 2
    if isinstance(X, Frame):
        assert all(len(column) == len(X) for column in X.columns.values())
    else:
        values = X.data if isinstance(X, Sparse) else X
        assert values.dtype in (np.uint8, np.float32, np.float64)
        assert values.dtype.isnative
        assert np.isfinite(values).all()
    if isinstance(X, Sparse):
        assert X.indptr[0] == 0
        assert X.indptr[-1] == len(X.indices) == len(values)
        assert len(X.indptr) == X.shape[0] + 1
        for a, b in zip(X.indptr, X.indptr[1:]):
            assert (np.diff(X.indices[a:b]) > 0).all()
        assert not len(values) or (X.indices.min() >= 0 and X.indices.max() < X.shape[1])
    if y is not None:
        assert y.shape == X.shape[:1]
    if y is not None and y.dtype == np.float64:  # numbers to learn
        assert np.isfinite(y).all()
        assert not len(classes)
    elif y is not None:
        assert y.dtype == np.int64
        assert ((y >= 0) & (y < len(classes))).all()
        assert len(set(classes)) == len(classes) >= 2


def read_data(path: str) -> None:
    data = load(path, val_fraction=0.5, offline=True)
    require_samples(data.X, data.y, data.classes)
    require_samples(data.X_test, data.y_test, data.classes)
    assert data.X.shape[1] == data.X_test.shape[1] >= 1
    assert data.columns is None or len(data.columns) == data.X.shape[1]
    if data.sample_weight is not None:
        assert data.sample_weight.shape == data.y.shape
        assert np.isfinite(data.sample_weight).all()


def require_model(model) -> None:
    sizes = model.network.sizes
    assert [W.shape for W, _ in model.network.layers] == [*zip(sizes, sizes[1:])]
    assert np.isfinite(model.network.params).all()
    assert len(model.classes) == sizes[-1]
    assert 0 < model.scale < np.inf
    assert model.image_shape is None or (min(model.image_shape) > 0 and np.prod(model.image_shape) == sizes[0])
    assert model.columns is None or len(model.columns) == sizes[0]
    assert model.index_base in (None, 0, 1)
    assert model.trained_on is None or (model.trained_on["seed"] >= 0 and 0 < model.trained_on["val_fraction"] < 1)
    assert model.ranges is None or (len(model.ranges) == 4 and np.isfinite(model.ranges).all())
    assert model.mean is None or (model.mean.shape == model.std.shape == sizes[:1] and (model.std > 0).all())


def read_run(path: str) -> None:
    checkpoint = read_checkpoint(Path(path), say=lambda line: None)
    require_model(checkpoint.model)
    assert isinstance(checkpoint.config, dict)
    assert isinstance(checkpoint.run, dict)


def read_options(path: str) -> None:
    """Options that are accepted are written so that they are read as the same."""
    options = read_toml(path)
    try:
        config = configure(**options)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None  # which names the option instead
    again = Path(path).with_name("again.toml")
    again.write_text(config.to_toml(), encoding="utf-8")
    absolute = {name: str(Path(value).resolve()) for name in ("data", "test") if (value := getattr(config, name))}
    if config.data in ("mnist", "synthetic"):
        del absolute["data"]
    assert configure(**read_toml(again)) == replace(config, lr=config.peak_lr, out=None, **absolute)


def read_idx_at(path: str) -> None:
    read_idx(Path(path))


def for_predict(path: str) -> None:
    form = format_of(Path(path))
    if form is PICTURES:
        with found(Path(path)):
            return
    require_samples(form.reader.features(Path(path), Query(known=model_from(META, TENSORS, "model").features)))


FRAMING = Framing(box=20, most=20, off_centre=1)


def read_picture(path: str) -> None:
    def read(framing):
        (seen,) = read_images([picture(Path(path))], (28, 28), framing, say=lambda line: None)
        assert (seen.digits.shape[1:], seen.digits.dtype) == ((784,), np.uint8)

    read(None)
    with contextlib.suppress(InputError):  # a sound picture of nothing
        read(FRAMING)


def read_archive(path: str) -> None:
    with found(Path(path)) as pictures:
        for seen in read_images(pictures, (28, 28), say=lambda line: None):
            assert (seen.digits.shape[1:], seen.digits.dtype) == ((784,), np.uint8)


def read_weighted(path: str) -> None:
    data = load(path, val_fraction=0.5, weight_column="w")
    require_samples(data.X, data.y, data.classes)
    assert (data.sample_weight >= 0).all()


READERS: dict[str, Callable[[str], None]] = {
    **{kind: for_predict if kind.startswith("predict ") else read_data for kind in KINDS},
    "weights.csv": read_weighted,
    "model": lambda path: require_model(load_model(path)),
    "checkpoint": read_run,
    "toml": read_options,
    PICTURE: read_picture,
    ARCHIVE: read_archive,
}


def attack(kind: str, seed: int, count: int, directory: Path) -> int:
    """Read mutants; the number that were refused."""
    path, source = place(kind, directory)
    refused = 0
    for k in range(seed, seed + count):
        try:
            path.write_bytes(mutant(kind, k))
            with no_hang():
                READERS[kind](source)
        except InputError as error:
            refused += 1
            try:
                require_one_line(str(error), source)
            except AssertionError:
                sys.exit(f"python tests/test_hostile.py {k} 1 {kind}: {str(error)[:1000]!r}")
        except BaseException:
            traceback.print_exc()
            sys.exit(f"python tests/test_hostile.py {k} 1 {kind}")
    return refused


def main(seed: int, count: int, kinds: list[str]) -> None:
    """``count`` mutants of each kind under a limit of memory, warnings as errors; prints how many were refused."""
    os.environ["FASTMLP_CACHE"] = os.devnull + "/none"  # nothing is cached
    warnings.simplefilter("error")
    if sys.platform == "linux":
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + SPARE_BYTES,) * 2)
    with tempfile.TemporaryDirectory() as directory:
        print(json.dumps({kind: attack(kind, seed, count, Path(directory)) for kind in kinds}))


@pytest.fixture(autouse=True)
def guard(own_cache):
    with no_hang():
        yield


needs_pillow = pytest.mark.skipif(find_spec("PIL") is None, reason="needs Pillow")
each_kind = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=needs_pillow if kind in OF_PILLOW else ()) for kind in READERS]
)


def readable() -> list[str]:
    return [kind for kind in READERS if kind not in OF_PILLOW or find_spec("PIL")]


def fuzz(python, count: int, kinds: list[str]) -> dict[str, int]:
    """How many of each kind's mutants were refused, in a process of its own."""
    return json.loads(python(__file__, str(FIRST), str(count), *kinds, timeout=3600).stdout)


@each_kind
def test_the_seeds_are_read(kind, tmp_path):
    """What the mutants are made of is sound: the readers refuse the damage, not the seed."""
    path, source = place(kind, tmp_path)
    assert KINDS[kind].sound
    for content in KINDS[kind].sound:
        path.write_bytes(content)
        READERS[kind](source)


@pytest.mark.slow
def test_mutants_are_read_soundly_or_refused_in_one_line(python, at_once):
    kinds = readable()
    for refused in at_once(lambda some: fuzz(python, 500, some), (kinds[::2], kinds[1::2])):
        assert all(100 <= count < 500 for count in refused.values()), refused  # neither all nor none: the damage varies


@pytest.mark.nightly
@each_kind
def test_ten_thousand_mutants_of_each_kind(python, kind):
    refused = fuzz(python, 10_000, [kind])
    assert 2_000 < refused[kind] < 10_000


# -- through the command line ----------------------------------------------------------------------------------------


# kind: the command; FILE is what is read
TRAIN = "--out run --offline --val-fraction 0.5"
COMMANDS = {
    **{
        kind: "predict good.npz FILE" if kind.startswith("predict ") else f"train {TRAIN} --data FILE" for kind in KINDS
    },
    "weights.csv": f"train {TRAIN} --data FILE --weight-column w",
    "model": "evaluate FILE --data p.csv",
    "checkpoint": "export FILE out.safetensors",
    "toml": f"train {TRAIN} --data p.csv --config FILE",
}


@each_kind
def test_a_refused_file_ends_a_command_with_exit_code_2_and_one_line(kind, here, command):
    Path("good.npz").write_bytes(tensor_file(META, TENSORS))
    path, source = place(kind, here)
    verb, *arguments = [source if word == "FILE" else word for word in COMMANDS[kind].split()]

    def is_refused(seed):  # else it would be trained on
        path.write_bytes(mutant(kind, seed))
        try:
            READERS[kind](source)
        except InputError:
            return True
        return False

    refused = filter(is_refused, range(FIRST, FIRST + 10_000))
    for seed in itertools.islice(refused, 4):
        result = command(import_module(f"fastmlp.{verb}"), *arguments)
        one_line(result, 2, f"fastmlp {verb}: ")
        assert result[2].strip().isprintable(), seed
    assert next(refused)  # there were four
    assert not Path("run").exists()


@pytest.mark.parametrize("words", ["predict good.npz FILE", "evaluate good.npz --data FILE", "report . --data FILE"])
def test_values_too_large_for_a_model_are_one_line(words, here, command):
    if words.startswith("report"):
        pytest.importorskip("matplotlib")
    for name in ("good.npz", "model.npz"):
        Path(name).write_bytes(tensor_file(META, TENSORS))
    Path("metrics.jsonl").touch()
    verb, *arguments = words.replace("FILE", "big.csv").split()
    for value, code, message in (
        ("1e300", 2, "big.csv: X holds values beyond the range of float32, in which this model computes\n"),
        ("1e38", 1, "not finite; its values are too large for this model\n"),
    ):
        Path("big.csv").write_text("".join(f"{label},{','.join([value] * 12)}\n" for label in "aabbcc"))
        one_line(command(import_module(f"fastmlp.{verb}"), *arguments), code, message)


ATTACKS = {  # name: (command, files, exit code, what the line says)
    "a table": ("train --data a.csv", {"a.csv": b"label,a\n1,\x1b[31mx\n2,3\n"}, 2, r"'\x1b[31mx' is no"),
    "a name": ("predict good.npz \x1b[2J\n\udce9.csv", {}, 2, r"\x1b[2J \udce9.csv: no such file"),
    "a network": (
        "train --data a.csv --out run --config c.toml",
        {"a.csv": CSV[0], "c.toml": b"hidden = [10000000, 10000000]\nval-fraction = 0.5\n"}, 1, "out of memory",
    ),
    "features": (
        "train --data a.svm --out run --val-fraction 0.5",
        {"a.svm": b"1 2147483646:1\n0 1:1\n" * 4}, 2, "a.svm: has 2147483646 features; at most",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_on_a_command_in_a_process_of_its_own(name, tmp_path, python):
    command, contents, code, message = ATTACKS[name]
    verb, *arguments = command.split(" ")
    for file, content in {"good.npz": tensor_file(META, TENSORS), **contents}.items():
        (tmp_path / file).write_bytes(content)
    result = python("-m", f"fastmlp.{verb}", *arguments, code=code)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    last = result.stderr.splitlines()[-1]
    assert message in last
    assert last.startswith(f"fastmlp {verb}: ")


# -- promises and bombs ----------------------------------------------------------------------------------------------

LITTLE = 4 << 20  # bytes: the memory of a machine, as far as the readers know
BOMB = 32 << 20  # bytes that the bombs hold
SMALL = 1 << 20  # and that some of them promise


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(files_reader, "most_bytes", lambda: LITTLE)


def gzip_bomb(text: bytes = b"") -> bytes:
    """A little text, and a second member of zeros."""
    return gzip.compress(text) + gzip.compress(bytes(BOMB))


TOO_MUCH = "holds more than 4 MB, half of this machine's memory"
GZIP_BOMBS = {
    "a.csv": (gzip_bomb(b"label,a\n1,2\n0,3\n"), TOO_MUCH),
    "a.svm": (gzip_bomb(b"1 1:2\n0 1:3\n"), TOO_MUCH),
    "many.csv": (gzip.compress(bytes(1 << 20)) * (BOMB >> 20), TOO_MUCH),
    "a-ubyte": (gzip_bomb(struct.pack(">BBBBI", 0, 0, 8, 1, BOMB)), TOO_MUCH),
    "little-ubyte": (gzip_bomb(struct.pack(">BBBBI", 0, 0, 8, 1, 1000)), "promises 1000 = 1000 bytes, there are more"),
}


@pytest.mark.parametrize("name", GZIP_BOMBS)
def test_a_gzip_bomb_is_inflated_no_further_than_it_promises_or_half_of_the_memory(tmp_path, little_memory, name):
    content, message = GZIP_BOMBS[name]
    assert len(content) < BOMB / 500
    path = tmp_path / name
    path.write_bytes(content)
    require_refusal(read_idx_at if name.endswith("ubyte") else load, path, message, 3 * LITTLE)


def npy_head(size: int) -> bytes:
    """The head of a .npy of so many bytes."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": (size,), "fortran_order": False, "descr": "|u1"})
    return stream.getvalue()


def member(head: bytes, zeros: int, said: int | None = None) -> tuple[bytes, bytes, int, int]:
    """(name, packed bytes, CRC, size) of ``head`` and zeros; CRC and size as if they were ``said`` zeros."""
    stream, said = zlib.compressobj(wbits=-15), zeros if said is None else said
    packed = stream.compress(head) + stream.compress(bytes(zeros)) + stream.flush()
    return b"X.npy", packed, zlib.crc32(head + bytes(said)), len(head) + said


def raw_zip(members, method=zipfile.ZIP_DEFLATED, times=1) -> bytes:
    """A zip whose records say of each member what they are told to; its directory lists each so many times."""
    body, directory = b"", b""
    for name, packed, crc, size in members:
        shared = struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 0, crc, len(packed), size, len(name), 0)
        place = len(body)
        body += b"PK\3\4" + shared + name + packed
        record = b"PK\1\2" + struct.pack("<H", 20) + shared + struct.pack("<HHHII", 0, 0, 0, 0, place) + name
        directory += record * times
    n = len(members) * times
    return body + directory + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, n, n, len(directory), len(body), 0)


def npz_bombs() -> dict[str, tuple[bytes, str]]:
    head, many = npy_head(SMALL), [(b"%d.npy" % k, *member(npy_head(SMALL), SMALL)[1:]) for k in range(32)]
    squeezed = b"X.npy", bz2.compress(head + bytes(BOMB)), 0, len(head) + SMALL
    return {
        "one array": (raw_zip([member(npy_head(BOMB), BOMB)]), TOO_MUCH),
        "many arrays": (raw_zip(many), TOO_MUCH),
        "one array, found many times": (raw_zip(many[:1], times=500), TOO_MUCH),
        "a long header": (raw_zip([member(b"\x93NUMPY\2\0" + struct.pack("<I", BOMB), BOMB)]), TOO_MUCH),
        "more than promised": (raw_zip([member(head, BOMB, SMALL)]), ""),
        "less than promised": (raw_zip([member(head, 0, SMALL)]), "not a valid .npz file"),
        "bzip2": (raw_zip([squeezed], zipfile.ZIP_BZIP2), "array 'X' is neither stored nor deflated"),
        "xz": (zipped([("X.npy", head + bytes(SMALL))], zipfile.ZIP_LZMA), "array 'X' is neither stored nor deflated"),
    }


def test_npz_bombs_are_refused_or_read_as_far_as_they_promise(tmp_path, little_memory):
    path = tmp_path / "a.npz"
    for name, (content, message) in npz_bombs().items():
        path.write_bytes(content)
        if message:
            require_refusal(lambda path: read_npz(Path(path)), path, message, 3 * LITTLE)
            continue
        with bounded(3 * LITTLE):
            assert read_npz(path)["X"].nbytes == SMALL, name


def test_an_array_there_twice_is_refused(tmp_path):
    """Else a small file could have the same megabytes inflated again and again."""
    path = tmp_path / "a.npz"
    path.write_bytes(zipped([("X.npy", npy(np.ones(3))), ("X", npy(np.ones(3)))]))
    require_refusal(load, path, "array 'X' is there twice")


def test_headers_that_numpy_warns_of_are_read_in_silence(tmp_path):
    path, plain = tmp_path / "a.npz", npy(np.arange(12, dtype=np.uint8).reshape(4, 3))
    python2 = plain.replace(b"(4, 3), }  ", b"(4L, 3L), }")
    assert python2 != plain
    path.write_bytes(zipped([("X.npy", python2)]))
    np.testing.assert_array_equal(read_npz(path)["X"], np.arange(12).reshape(4, 3))


def test_sample_weights_beyond_float64_are_refused(tmp_path):
    weight = np.array(["1e400"] * 8, np.longdouble)
    np.savez(tmp_path / "a.npz", X=PIXELS, y=np.arange(8) % 2, sample_weight=weight)
    require_refusal(
        load, tmp_path / "a.npz", "the sample weights are float|the weight of row 0 .counted from 0. is inf"
    )


def test_every_value_of_a_models_description_may_be_wrong(tmp_path):
    """Each node of the JSON, replaced by each value; the checksums are right."""
    path, refused = tmp_path / "model.npz", 0
    sums = {name: _digest(array) for name, array in TENSORS.items()}
    meta = {"sha256": sums, **META, "columns": [f"c{k}" for k in range(12)]}
    for key, value in itertools.product(meta, VALUES):
        for changed in ({**meta, key: value}, {**meta, key: [value, value]}, {**meta, key: {"W0": value}}):
            path.write_bytes(tensor_file(changed, TENSORS))
            try:
                require_model(load_model(path))
            except InputError as error:
                require_one_line(str(error), str(path))
                refused += 1
    assert refused > 2 * len(meta) * len(VALUES)


# -- what else files can do ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../escaped.npy", "/escaped.npy", "..\\escaped.npy", "X.npy/../../escaped"])
def test_names_in_archives_are_no_paths(tmp_path, name):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "a.npz").write_bytes(zipped([(name, npy(np.ones(3)))]))
    before = sorted(tmp_path.rglob("*"))
    require_refusal(load, inner / "a.npz", "escaped")
    require_refusal(load_model, inner / "a.npz", "not a fastmlp model")
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/escaped.npy").exists()


class Bomb:
    """Unpickled, it makes a directory."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_is_refused_and_not_executed(tmp_path):
    went_off, path = tmp_path / "went off", tmp_path / "a.npz"
    array = np.empty(1, object)
    array[0] = Bomb(went_off)
    files = {
        "in the array": zipped([("X.npy", npy(array)), ("y.npy", npy(np.zeros(1, int)))]),
        "in the model": zipped([("meta.npy", npy(array))]),
        "as the member": zipped([("X.npy", pickle.dumps(Bomb(went_off))), ("y.npy", npy(np.zeros(1, int)))]),
        "as the file": pickle.dumps(Bomb(went_off)),
    }
    for content in files.values():
        path.write_bytes(content)
        for read in (load, load_model, read_run):
            require_refusal(read, path)
    assert not went_off.exists()
    path.write_bytes(files["in the array"])
    with np.load(path, allow_pickle=True) as arrays:
        assert arrays["X"].shape == (1,)
    assert went_off.is_dir()  # so it would have been


def unreadable(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path.touch(mode=0)


SPECIAL: dict[str, tuple[Callable[[Path], None], str]] = {  # kind: (how it is made, what is said of it)
    "directory": (
        Path.mkdir,
        "directory; it must be a file|it must hold images|holds no train-images|holds neither model.npz",
    ),
    "pipe": (lambda path: os.mkfifo(path), "is a pipe or device.*; it must be a file"),
    "endless device": (lambda path: path.symlink_to("/dev/zero"), "is a pipe or device.*; it must be a file"),
    "empty device": (lambda path: path.symlink_to("/dev/null"), "is a pipe or device.*; it must be a file"),
    "loop": (lambda path: path.symlink_to(path), "no such file|cannot be read"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "(?i)no such file"),
    "unreadable": (unreadable, "cannot be read"),
    "terabytes": (
        lambda path: path.touch() or os.truncate(path, 1 << 40),
        "half of this machine's|do not take as many|not a valid .(npy|zip) file",
    ),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_ordinary_file_is_refused_by_every_reader(tmp_path, kind):
    make, message = SPECIAL[kind]
    for name in readable():
        if name.startswith("idx"):
            continue
        path = tmp_path / name / KINDS[name].file
        path.parent.mkdir()
        try:
            make(path)
        except OSError as error:
            pytest.skip(f"this file system cannot have it ({error})")
        if name == "checkpoint" and not path.exists():
            assert read_checkpoint(path, print) is None
            continue
        require_refusal(READERS[name], path, message)


SHRINKING = {"a.csv": CSV[0] * 1000, "a.svm": SVM[0] * 1000, "a.npz": zipped(NPZ[0], zipfile.ZIP_STORED)}


@pytest.mark.parametrize("name", SHRINKING)
@pytest.mark.parametrize("way", ["vanishes", "shrinks"])
def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch, name, way):
    path, looked = tmp_path / name, files_reader.require_size
    path.write_bytes(SHRINKING[name])

    def change(size, of):
        looked(size, of)
        if path.exists():  # it has been looked at, and is now opened
            path.unlink() if way == "vanishes" else os.truncate(path, len(SHRINKING[name]) // 2)

    monkeypatch.setattr(files_reader, "require_size", change)
    try:
        read_data(str(path))  # half of a table may be a table
        assert way == "shrinks"
    except InputError as error:
        require_one_line(str(error), str(path))


@pytest.mark.parametrize("suffix", [".csv", ".svm", ".npz", ".toml", ".txt"])
@pytest.mark.parametrize(
    "content", [b"\xff\xfe1\x002\x00", b"\0" * 500, b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf1,2\n", b"\xe9" * 90]
)
def test_text_of_other_encodings_marks_alone_and_nothing_but_nul(tmp_path, suffix, content):
    path = tmp_path / f"caf\udce9{suffix}"  # a name that is not UTF-8
    try:
        path.write_bytes(content)
    except OSError as error:
        pytest.skip(f"this file system has no such names ({error})")
    require_refusal({".toml": read_toml, ".txt": read_idx_at}.get(suffix, load), path)


# -- large -----------------------------------------------------------------------------------------------------------


def test_a_header_longer_than_the_csv_modules_fields(tmp_path):
    """To the delimiters that it does not hold, it is one field of more than 128 kB."""
    columns, path = [f"gene{k:05d}" for k in range(20_000)], tmp_path / "a.csv"
    rows = (f"{k}" + ",1.5" * 20_000 for k in range(4))
    path.write_text("\n".join([",".join(["label", *columns]), *rows]))
    data = load(str(path), val_fraction=0.5)
    assert data.columns == tuple(columns)
    assert data.X.shape == (2, 20_000)
    assert (data.X == 1.5).all()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".csv", ".svm"])
def test_hundreds_of_thousands_of_columns(tmp_path, suffix):
    N, path = 400_000, tmp_path / f"a{suffix}"
    row = b",1" * N if suffix == ".csv" else b"".join(b" %d:1" % k for k in range(1, N + 1))
    path.write_bytes(b"0" + row + b"\n1" + row)
    data = load(str(path), val_fraction=0.5)
    assert data.X.shape == data.X_test.shape == (1, N)
    require_samples(data.X, data.y, data.classes)


@pytest.mark.parametrize("suffix", [".csv", ".svm", ".csv.gz"])
@pytest.mark.parametrize("line", [b"1" * 500, b"1," * 250, b":" * 500, b"0 1:2 " * 80, b'"' * 500, b"\0" * 500])
def test_a_line_too_long_for_a_row_is_refused_before_it_is_taken_apart(tmp_path, monkeypatch, suffix, line):
    monkeypatch.setattr(files_reader, "_LONGEST_LINE", 400_000)
    path = tmp_path / f"a{suffix}"
    text = b"label,a\n0,1\n" + line * 1000 + b"\n1,2\n"
    path.write_bytes(gzip.compress(text, 1) if suffix.endswith(".gz") else text)
    require_refusal(load, path, "has a line of more than 0 MB; rows must be shorter", 10 * len(text))


@pytest.mark.nightly
@pytest.mark.parametrize("suffix", [".csv", ".svm"])
@pytest.mark.parametrize("line", [b"1", b"1,", b":", b"1 1:2 ", b'"', b"\0"])
def test_a_hundred_megabytes_in_one_line(tmp_path, suffix, line):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(line * (100_000_000 // len(line)))
    require_refusal(load, path, "has a line of more than 32 MB", 4 * 100_000_000)


# -- config.toml -----------------------------------------------------------------------------------------------------

HOSTILE_TOML = {
    "a deep key": b".".join([b"a"] * 30_000) + b" = 1\n",
    "a deep quoted key": b"x" + b'."a b"' * 30_000 + b" = 1\n",
    "deep tables": b"[" + b".".join([b"a"] * 30_000) + b"]\n",
    "deep arrays": b"hidden = " + b"[" * 100_000,
    "deep objects": b"hidden = " + b"{a=" * 100_000,
    "a hexadecimal number of a million digits": b"lr = 0x" + b"f" * 1_000_000,
    "a number of a million digits": b"seed = " + b"9" * 1_000_000,
    "a wide network": b"hidden = [" + b"9" * 4000 + b"]",
    "megabytes": b"# \n" * 1_000_000,
    "control characters": b'data = "a\x7f"',
    "not an option": b'"\\u001b[2J\\n" = 1',
}


@pytest.mark.parametrize("name", HOSTILE_TOML)
def test_hostile_options_are_refused_in_one_line(tmp_path, name):
    path = tmp_path / "config.toml"
    path.write_bytes(HOSTILE_TOML[name])
    with bounded(200 << 20), pytest.raises(InputError) as error:
        configure(**read_toml(path))
    assert len(str(error.value).splitlines()) == 1
    assert str(error.value).startswith((str(path), "--hidden is"))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
    sys.exit()


def test_labels_that_are_not_in_utf8_stay_different():
    labels = as_labels(np.array([b"\xe9", b"\xe8", "\u00e9".encode()]), "y")
    assert sorted(labels.values) == ["\\xe8", "\\xe9", "\u00e9"]
