"""Hostile files: whatever the bytes, a reader gives a sound object or one line that names the file, soon and in little memory.

``python tests/test_hostile.py SEED COUNT KIND ...`` replays mutants; ``FASTMLP_FUZZ_SEED`` makes the tests draw others.
"""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import os
import pickle
import random
import re
import signal
import struct
import subprocess
import sys
import tempfile
import traceback
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fastmlp.checkpoint import read_checkpoint
from fastmlp.config import TrainConfig, configure, read_toml
from fastmlp.data import Sparse, load
from fastmlp.data import files as files_reader
from fastmlp.data.idx import read_idx
from fastmlp.data.npz import read_npz
from fastmlp.errors import InputError
from fastmlp.images import read_images
from fastmlp.model import load_model, model_from
from fastmlp.predict import _samples
from fastmlp.tensor_file import _digest

ROOT = Path(__file__).resolve().parent.parent
FIRST = int(os.environ.get("FASTMLP_FUZZ_SEED", "0"))
HANG_SECONDS = 120  # a mutant takes a millisecond; a busy machine pauses for seconds
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


# -- seeds -----------------------------------------------------------------------------------------------------------


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def zipped(members, method=zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


PIXELS = np.arange(96, dtype=np.uint8).reshape(8, 4, 3)
IDX = {
    f"{prefix}-{kind}-ubyte": idx(array)
    for prefix in ("train", "t10k")
    for kind, array in (("images-idx3", PIXELS), ("labels-idx1", np.arange(8) % 3))
}
CSV = [
    b"label,a,b\n0,1,2\n1,3,255\n0,4,5\n1,6,7\n",
    b"a,b,label\n1.5,-2e3,cat\n0.25,3,dog\n7,8,cat\n1,2,dog\n",
    b'"x y";"label"\r\n"1";"a;b"\r\n 2 ;"c ""d"""\r\n3;"a;b"\r\n4;z\r\n',
    b"\xef\xbb\xbflabel\tp\tq\n-1\t1\t2\n+1\t.5\t3.\n-1\t3\t4\n1\t5\t6\n",
    b"T,2,8\nI,3,7\nT,1,1\nI,0,0\n",
]
SVM = [
    b"1 1:0.5 3:-2 # one\n-1 2:1e-3 4:7\n1\n-1 1:3 2:.25 4:1\n",
    b"cat 0:1 5:2\r\ndog 3:-1\r\ncat 5:1 2:7\r\ndog\t1:1\r\n",
    b"1 1:1.7976931348623157e308\n2 7:123456789012345678\n3 2:.5\n3 1:5.\n",
]
NPZ = [
    [("X.npy", npy(PIXELS)), ("y.npy", npy(np.array(["a", "b"] * 4))), ("sample_weight.npy", npy(np.ones(8)))],
    [("x_train.npy", npy(np.ones((4, 3), ">f8"))), ("y_train.npy", npy(np.array([0, 1, -5, 70_000])))],
    [("X.npy", npy(np.ones((4, 3), "f2", "F"))), ("y.npy", npy(np.array([b"x", b"\xff"] * 2)))],
]
TOML = [
    TrainConfig(data="d.csv", label_column="ö\x7f\t", class_weight="1,2.5").to_toml().encode(),
    b'data = "mnist"\nhidden = [512, 256]\nlr = 1e-3\nbias = false\nseed = 0x10\nmomentum = 0.5 # x\n',
    b"hidden = []\nout = '''a\nb'''\nepochs = 3\n[train]\ndropout = 0.5\n",
]
# A network of 12-2-3 and what a checkpoint has beside it.
TENSORS = {
    "W0": np.ones((12, 2), "f4"),
    "b0": np.zeros(2, "f4"),
    "W1": np.ones((2, 3), "f4"),
    "b1": np.zeros(3, "f4"),
    "mean": np.zeros(12),
    "std": np.ones(12),
}
META = {
    "scale": 1.0,
    "classes": ["a", "b", "c"],
    "image_shape": [4, 3],
    "columns": None,
    "format": "fastmlp",
    "version": 2,
}
RUN = {"step": 3, "samples": 24, "seconds": 0.5, "history": [], "best": [None, 0, 0], "batches": {"state": [1, 2]}}


def tensor_file(meta, tensors) -> bytes:
    sums = {name: _digest(array) for name, array in tensors.items()}
    header = np.frombuffer(json.dumps({"sha256": sums, **meta}).encode(), np.uint8)
    return zipped((f"{name}.npy", npy(array)) for name, array in {"meta": header, **tensors}.items())


# -- mutations -------------------------------------------------------------------------------------------------------

EXTREMES = (
    0,
    1,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    2**31 - 1,
    2**31,
    2**32 - 2,
    2**32 - 1,
    2**40,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
VALUES = [
    None, True, -1, 0, 1, 0.5, 10**5, 2**31, 2**63, 10**400, -(10**400), float("nan"), float("inf"), "", "a\nb", "\x1b[3m",
    "\ud800", "x" * 5000, [], {}, [[]], [1, 2, 3], ["a", "a", "a"], {"a": 1}, [[[[[1]]]]], [[1, "x"]], [-4, -3], [4.5, 3],
]  # fmt: skip
NAMES = [
    "../../X.npy",
    "/tmp/X.npy",
    "C:\\X.npy",
    "X",
    ".npy",
    "/",
    "a\nb.npy",
    "\x1b[2J.npy",
    "meta.npy",
    "X.npy/",
    "ü" * 9000,
]


def damaged(content: bytes, draw: random.Random, seeds: list[bytes]) -> bytes:
    """A few bytes, words, lines or ends changed."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        at = draw.randrange(len(data) + 1)
        until = min(len(data), at + draw.choice((1, 1, 4, 30, 10**6)))
        lines = data.split(b"\n")
        line = draw.randrange(len(lines))
        way = draw.randrange(10)
        if way == 0 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif way == 1:
            data[at : at + 1] = bytes([draw.choice([draw.randrange(256), *b',;\t\n\r" .-+e:#_09axn[]=\0\xef\xff'])])
        elif way == 2:
            del data[at:]
        elif way == 3:
            del data[at:until]
        elif way == 4:
            data[at:at] = data[at:until][:100] * draw.choice((1, 2, 50))
        elif way == 5:
            other = draw.choice(seeds)
            start = draw.randrange(len(other) + 1)
            data[at:until] = other[start : start + draw.choice((1, 8, 100, 10**6))]
        elif way == 6:
            size = draw.choice((1, 2, 4, 8))
            word = (draw.choice(EXTREMES) & ((1 << 8 * size) - 1)).to_bytes(size, draw.choice(("big", "little")))
            data[at : at + size] = word
        elif way == 7:
            number = draw.choice((*map(str, EXTREMES), "-1", "9" * 50, "9" * 5000, "1e999", "nan", "1_0", "0x1p3"))
            if digits := [*re.finditer(rb"[0-9]+", data)]:
                found = draw.choice(digits)
                data[found.start() : found.end()] = number.encode()
        elif way == 8:
            lines[line : line + 1] = [lines[line]] * draw.choice((0, 2, 3))
            data = bytearray(b"\n".join(lines))
        else:
            data[at:at] = draw.choice(
                (b"\xff\xfe", b"\xef\xbb\xbf", b"\0" * 16, b'"', b"\r\n", b"9" * 400, b"[" * 3000)
            )
    return bytes(data)


def wrong_field(content: bytes, draw: random.Random) -> bytes:
    """A zip with an extreme number in one of its records."""
    data = bytearray(content)
    records = [found.start() for found in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06)", content)]
    at, size = draw.choice(records) + draw.randrange(4, 42, 2), draw.choice((2, 4))
    data[at : at + size] = (draw.choice(EXTREMES) & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    return bytes(data)


def hostile_zip(members, draw: random.Random, seeds: list[bytes]) -> bytes:
    """Members damaged within whole zips, under odd names, twice, packed otherwise; or the zip itself damaged."""
    members = list(members)
    k, way = draw.randrange(len(members)), draw.randrange(6)
    name, content = members[k]
    if way < 2:
        edge = draw.choice((len(content), 128))  # the header alone
        members[k] = name, damaged(content[:edge], draw, seeds) + content[edge:]
    elif way == 2:
        members.insert(draw.randrange(len(members) + 1), (draw.choice([*NAMES, name]), content))
    elif way == 3:
        members[k] = draw.choice(NAMES), content
    method = draw.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    packed = zipped(members, method)
    return damaged(packed, draw, seeds) if way == 4 else wrong_field(packed, draw) if way == 5 else packed


def wrong_value(tree, draw: random.Random):
    """A JSON tree with one of its nodes replaced, or missing."""
    tree = json.loads(json.dumps(tree))
    nodes = [(tree, key) for key in tree]
    for parent, key in nodes:
        child = parent[key]
        if isinstance(child, (dict, list)):
            nodes += [(child, key) for key in (child if isinstance(child, dict) else range(len(child)))]
    parent, key = draw.choice(nodes)
    if draw.random() < 0.2:
        del parent[key]
    else:
        parent[key] = draw.choice(VALUES)
    return tree


def hostile_tensors(meta, tensors, draw: random.Random) -> bytes:
    """A model's file of wrong values under right checksums, or damaged as any other zip."""
    tensors, way = dict(tensors), draw.randrange(5)
    name = draw.choice([*tensors])
    if way == 0:
        other = (
            draw.choice([*tensors.values()]),
            np.empty((0, 3), "f4"),
            np.array(1.0),
            np.full((12, 2), np.nan, "f4"),
        )
        tensors[name] = draw.choice((*other, tensors[name].astype("f8"), tensors[name].astype(">f4"), -tensors[name]))
    elif way == 1:
        tensors.pop(name)
    elif way == 2:
        with np.errstate(all="ignore"):
            flat = tensors[name].reshape(-1).copy()
            flat[draw.randrange(flat.size)] = draw.choice((np.nan, np.inf, 1e38, -1, 0))
        tensors[name] = flat.reshape(tensors[name].shape)
    elif way == 3:
        meta = wrong_value({"sha256": {name: _digest(array) for name, array in tensors.items()}, **meta}, draw)
    if way < 4:
        return tensor_file(meta, tensors)
    whole = tensor_file(meta, tensors)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = [(member, archive.read(member)) for member in archive.namelist()]
    return hostile_zip(members, draw, [whole])


def hostile_png(content: bytes, draw: random.Random, seeds: list[bytes]) -> bytes:
    """A chunk damaged, twice or missing, its checksum right."""
    chunks, at = [], 8
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += size + 12
    k = draw.randrange(len(chunks))
    kind, body = chunks[k]
    way = draw.randrange(4)
    if way < 2:
        chunks[k] = kind, damaged(body, draw, seeds)
    else:
        chunks[k : k + 1] = [chunks[k]] * (0 if way == 2 else 2)
    parts = (struct.pack(">I", len(b)) + a + b + struct.pack(">I", zlib.crc32(a + b)) for a, b in chunks)
    return content[:8] + b"".join(parts)


def picture_seeds() -> list[bytes]:
    image = pytest.importorskip("PIL.Image")
    grey = image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28) // 4)
    seeds = []
    for mode, form in (
        ("L", "PNG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("I;16", "PNG"),
        ("L", "JPEG"),
        ("RGB", "JPEG"),
    ):
        stream = io.BytesIO()
        made = (
            image.fromarray(np.arange(784, dtype=np.uint16).reshape(28, 28)) if mode == "I;16" else grey.convert(mode)
        )
        made.save(stream, form, **({"transparency": 3} if mode == "P" else {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}))
        seeds.append(stream.getvalue())
    return seeds


# -- readers ---------------------------------------------------------------------------------------------------------


def require_samples(X, y=None, classes=()):
    """What every reader promises of samples, and of their labels."""
    assert len(X.shape) == 2
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


def for_predict(path: str) -> None:
    require_samples(_samples(Path(path), model_from(META, TENSORS, "model"), None))


def read_picture(path: str) -> None:
    X = read_images([Path(path)], (28, 28), invert=False, say=lambda line: None)
    assert (X.shape, X.dtype) == ((1, 784), np.uint8)


def one_of(seeds: list[bytes]) -> Callable[[random.Random], bytes]:
    return lambda draw: damaged(draw.choice(seeds), draw, seeds)


def gzipped(seeds: list[bytes]) -> Callable[[random.Random], bytes]:
    """Damaged inside, or outside."""

    def make(draw):
        inside, plain = draw.random() < 0.3, draw.choice(seeds)
        packed = gzip.compress(damaged(plain, draw, seeds) if inside else plain, mtime=0)
        return packed if inside else damaged(packed, draw, [packed, *seeds])

    return make


def a_zip(draw: random.Random) -> bytes:
    return hostile_zip(draw.choice(NPZ), draw, [content for members in NPZ for _, content in members])


def a_picture(draw: random.Random) -> bytes:
    content = draw.choice(PICTURES)
    png = content.startswith(b"\x89PNG") and draw.random() < 0.5
    return (hostile_png if png else damaged)(content, draw, PICTURES)


PICTURES: list[bytes] = []

# kind: (the file's name, a mutant of it, what reads it); a directory of IDX files has the others beside it
KINDS: dict[str, tuple[str, Callable[[random.Random], bytes], Callable[[str], None]]] = {
    "idx": ("idx/train-images-idx3-ubyte", one_of([*IDX.values()]), read_data),
    "idx.gz": ("idx-gz/t10k-labels-idx1-ubyte.gz", gzipped([*IDX.values()]), read_data),
    "csv": ("a.csv", one_of(CSV), read_data),
    "csv.gz": ("a.csv.gz", gzipped(CSV), read_data),
    "svm": ("a.svm", one_of(SVM), read_data),
    "svm.gz": ("a.svm.gz", gzipped(SVM), read_data),
    "npz": ("a.npz", a_zip, read_data),
    "model": (
        "model.npz",
        lambda draw: hostile_tensors(META, TENSORS, draw),
        lambda path: require_model(load_model(path)),
    ),
    "checkpoint": (
        "checkpoint.npz",
        lambda draw: hostile_tensors(
            {**META, "config": {"lr": 1.0}, "run": RUN}, {**TENSORS, "state": np.ones(9)}, draw
        ),
        read_run,
    ),
    "toml": ("config.toml", one_of(TOML), read_options),
    "predict.csv": ("p.csv", one_of([b"%d," * 11 % (*range(11),) + b"1\n" + b"0," * 11 + b"3\n"]), for_predict),
    "predict.npz": ("p.npz", a_zip, for_predict),
    "predict.svm": ("p.svm", one_of(SVM), for_predict),
    "predict.idx": ("p-idx3-ubyte.gz", gzipped([idx(PIXELS)]), for_predict),
    "picture": ("p.png", a_picture, read_picture),
}


def mutant(kind: str, seed: int) -> bytes:
    if kind == "picture" and not PICTURES:
        PICTURES.extend(picture_seeds())
    return KINDS[kind][1](random.Random(f"{kind} {seed}"))


def place(kind: str, directory: Path) -> tuple[Path, str]:
    """(the file to write mutants to, what to read: it, or the directory of IDX files that it lies in)."""
    path = directory / KINDS[kind][0]
    if path.parent == directory:
        return path, str(path)
    path.parent.mkdir(exist_ok=True)
    for name, content in IDX.items():
        if name != path.name.removesuffix(".gz"):
            (path.parent / name).write_bytes(content)
    return path, str(path.parent)


def attack(kind: str, seed: int, count: int, directory: Path) -> int:
    """Read mutants; the number that were refused."""
    path, source = place(kind, directory)
    refused = 0
    for k in range(seed, seed + count):
        try:
            path.write_bytes(mutant(kind, k))
            with no_hang():
                KINDS[kind][2](source)
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
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTMLP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FASTMLP_DATA", raising=False)


@pytest.fixture(autouse=True)
def guard():
    with no_hang():
        yield


def readable_kinds() -> list[str]:
    return [kind for kind in KINDS if kind != "picture" or find_spec("PIL")]


def fuzz(count: int, kinds: list[str]) -> dict[str, int]:
    """How many of each kind's mutants were refused, in a process of its own."""
    command = [sys.executable, __file__, str(FIRST), str(count), *kinds]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=3600)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout)


def test_the_seeds_are_read(tmp_path):
    """What the mutants are made of is sound: the readers refuse the damage, not the seed."""
    for kind, seeds in {
        "idx": [IDX["train-images-idx3-ubyte"]],
        "idx.gz": [gzip.compress(IDX["t10k-labels-idx1-ubyte"])],
        "csv": CSV,
        "csv.gz": map(gzip.compress, CSV),
        "svm": SVM,
        "svm.gz": map(gzip.compress, SVM),
        "npz": map(zipped, NPZ),
        "model": [tensor_file(META, TENSORS)],
        "checkpoint": [tensor_file({**META, "config": {}, "run": RUN}, {**TENSORS, "state": np.ones(9)})],
        "toml": TOML[:2],
        "predict.npz": map(zipped, [NPZ[0], NPZ[2]]),
        "predict.idx": [gzip.compress(idx(PIXELS))],
        "picture": picture_seeds() if find_spec("PIL") else [],
    }.items():
        (tmp_path / kind).mkdir()
        path, source = place(kind, tmp_path / kind)
        for content in seeds:
            path.write_bytes(content)
            KINDS[kind][2](source)


@pytest.mark.slow
def test_mutants_are_read_soundly_or_refused_in_one_line():
    refused = fuzz(100, readable_kinds())
    assert all(20 <= count < 100 for count in refused.values()), refused  # neither all nor none: the damage varies


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_mutants_of_each_kind(kind):
    if kind not in readable_kinds():
        pytest.skip("needs Pillow")
    refused = fuzz(10_000, [kind])
    assert 2_000 < refused[kind] < 10_000


# -- through the command line ----------------------------------------------------------------------------------------


def commands(directory: Path) -> dict[str, tuple[str, list[str]]]:
    """kind: (verb, arguments before the file)."""
    (directory / "good.npz").write_bytes(tensor_file(META, TENSORS))
    train, given = ["--out", str(directory / "run"), "--offline", "--val-fraction", "0.5"], str(directory / "good.npz")
    return {
        **{kind: ("train", [*train, "--data"]) for kind in ("idx", "idx.gz", "csv", "csv.gz", "svm", "svm.gz", "npz")},
        "model": ("evaluate", ["--data", str(directory / "p.csv")]),
        "checkpoint": ("export", [str(directory / "out.safetensors")]),
        "toml": ("train", [*train, "--data", str(directory / "p.csv"), "--config"]),
        **{kind: ("predict", [given]) for kind in ("predict.csv", "predict.npz", "predict.svm", "predict.idx")},
        "picture": ("predict", [given]),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_file_ends_a_command_with_exit_code_2_and_one_line(kind, tmp_path, capsys):
    if kind not in readable_kinds():
        pytest.skip("needs Pillow")
    verb, arguments = commands(tmp_path)[kind]
    main = import_module(f"fastmlp.{verb}").main
    path, source = place(kind, tmp_path)
    ended = 0
    for seed in range(10_000):
        path.write_bytes(mutant(kind, FIRST + seed))
        try:
            KINDS[kind][2](source)
            continue  # it would be trained on
        except InputError:
            pass
        order = [source, *arguments] if kind in ("model", "checkpoint") else [*arguments, source]
        capsys.readouterr()
        code, (out, err) = main(order), capsys.readouterr()
        assert (code, out, err.count("\n")) == (2, "", 1), (FIRST + seed, err)
        assert err.startswith(f"fastmlp {verb}: ")
        assert err.strip().isprintable()
        ended += 1
        if ended == 4:
            break
    assert ended == 4
    assert not (tmp_path / "run").exists()


ATTACKS = {
    "a table": ("train", ["--data", "a.csv"], {"a.csv": b"label,a\n1,\x1b[31mx\n2,3\n"}, 2, r"'\x1b[31mx' is no"),
    "a name": ("predict", ["good.npz", "\x1b[2J\n\udce9.csv"], {}, 2, r"\x1b[2J \udce9.csv: no such file"),
    "a network": (
        "train",
        ["--data", "a.csv", "--out", "run", "--config", "c.toml"],
        {"a.csv": CSV[0], "c.toml": b"hidden = [10000000, 10000000]\nval-fraction = 0.5\n"},
        1,
        "out of memory",
    ),
    "features": (
        "train",
        ["--data", "a.svm", "--out", "run", "--val-fraction", "0.5"],
        {"a.svm": b"1 2147483646:1\n0 1:1\n" * 4},
        2,
        "a.svm: has 2147483646 features; at most",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_on_a_command_in_a_process_of_its_own(name, tmp_path, python):
    verb, arguments, contents, code, message = ATTACKS[name]
    for file, content in {"good.npz": tensor_file(META, TENSORS), **contents}.items():
        (tmp_path / file).write_bytes(content)
    result = python("-m", f"fastmlp.{verb}", *arguments)
    assert (result.returncode, result.stdout) == (code, "")
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


@contextmanager
def bounded(most: int):
    """The block allocates no more than ``most`` bytes at a time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


ZEROS = zlib.compressobj(wbits=-15)
ZEROS_DEFLATED = ZEROS.compress(bytes(BOMB)) + ZEROS.flush()
GZIP_HEADER = b"\x1f\x8b\x08" + bytes(7)


def gzip_bomb(text: bytes = b"") -> bytes:
    """A little text, and a second member of zeros."""
    trailer = struct.pack("<II", zlib.crc32(bytes(BOMB)), BOMB)
    return gzip.compress(text) + GZIP_HEADER + ZEROS_DEFLATED + trailer


GZIP_BOMBS = {
    "a.csv": (gzip_bomb(b"label,a\n1,2\n0,3\n"), load),
    "a.svm": (gzip_bomb(b"1 1:2\n0 1:3\n"), load),
    "many.csv": (gzip.compress(bytes(1 << 20)) * (BOMB >> 20), load),
    "a-ubyte": (gzip_bomb(struct.pack(">BBBBI", 0, 0, 8, 1, BOMB)), lambda path: read_idx(Path(path))),
}


@pytest.mark.parametrize("name", GZIP_BOMBS)
def test_a_gzip_bomb_is_inflated_no_further_than_half_of_the_memory(tmp_path, little_memory, name):
    content, read = GZIP_BOMBS[name]
    assert len(content) < BOMB / 500
    path = tmp_path / name
    path.write_bytes(content)
    with bounded(3 * LITTLE), pytest.raises(InputError, match="holds more than 4 MB, half of this machine's memory"):
        read(str(path))


def test_an_idx_bomb_that_promises_little_is_inflated_no_further(tmp_path):
    path = tmp_path / "a-ubyte"
    path.write_bytes(gzip_bomb(struct.pack(">BBBBI", 0, 0, 8, 1, 1000)))
    with bounded(LITTLE), pytest.raises(InputError, match="promises 1000 = 1000 bytes, there are more"):
        read_idx(path)


def bomb_npy(size: int) -> bytes:
    """The head of a .npy of so many zeros."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": (size,), "fortran_order": False, "descr": "|u1"})
    return stream.getvalue()


def raw_zip(members, method=zipfile.ZIP_DEFLATED) -> bytes:
    """A zip whose records say of each (name, packed bytes, CRC, size) what they are told to."""
    body, directory = b"", b""
    for name, packed, crc, size in members:
        shared = struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 0, crc, len(packed), size, len(name), 0)
        place = len(body)
        body += b"PK\3\4" + shared + name + packed
        directory += b"PK\1\2" + struct.pack("<H", 20) + shared + struct.pack("<HHHII", 0, 0, 0, 0, place) + name
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return body + directory + b"PK\5\6" + end


def deflated(head: bytes, zeros: int) -> tuple[bytes, int]:
    """(deflate stream, CRC) of ``head`` and zeros."""
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(head) + stream.compress(bytes(zeros)) + stream.flush(), zlib.crc32(head + bytes(zeros))


def npz_bombs() -> dict[str, tuple[bytes, str]]:
    head = bomb_npy(BOMB)
    packed, crc = deflated(head, BOMB)
    small = bomb_npy(SMALL)
    secret, _ = deflated(small, BOMB)  # more than its record says
    many = bomb_npy(1 << 20)
    each, each_crc = deflated(many, 1 << 20)
    long_header = b"\x93NUMPY\2\0" + struct.pack("<I", BOMB)
    text, text_crc = deflated(long_header, BOMB)
    overlap = raw_zip([(b"X.npy", each, each_crc, len(many) + (1 << 20))])
    end = overlap.index(b"PK\1\2")
    record = overlap[end : overlap.index(b"PK\5\6")]
    twice = (
        overlap[:end] + record * 500 + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 500, 500, 500 * len(record), end, 0)
    )
    too_much = "holds more than 4 MB, half of this machine's memory"
    return {
        "one array": (raw_zip([(b"X.npy", packed, crc, len(head) + BOMB)]), too_much),
        "many arrays": (
            raw_zip([(b"%d.npy" % k, each, each_crc, len(many) + (1 << 20)) for k in range(32)]),
            too_much,
        ),
        "one array, found many times": (twice, too_much),
        "a long header": (raw_zip([(b"X.npy", text, text_crc, len(long_header) + BOMB)]), too_much),
        "more than promised": (raw_zip([(b"X.npy", secret, zlib.crc32(small + bytes(SMALL)), len(small) + SMALL)]), ""),
        "less than promised": (
            raw_zip([(b"X.npy", deflated(small, 0)[0], 0, len(small) + SMALL)]),
            "not a valid .npz file",
        ),
        "bzip2": (
            raw_zip([(b"X.npy", bz2.compress(small + bytes(BOMB)), 0, len(small) + SMALL)], zipfile.ZIP_BZIP2),
            "array 'X' is neither stored nor deflated",
        ),
        "xz": (
            zipped([("X.npy", small + bytes(SMALL))], zipfile.ZIP_LZMA),
            "array 'X' is neither stored nor deflated",
        ),
    }


def test_npz_bombs_are_refused_or_read_as_far_as_they_promise(tmp_path, little_memory):
    path = tmp_path / "a.npz"
    for name, (content, message) in npz_bombs().items():
        path.write_bytes(content)
        with bounded(3 * LITTLE):
            if message:
                with pytest.raises(InputError, match=message):
                    read_npz(path)
            else:
                assert read_npz(path)["X"].nbytes == SMALL, name


def test_an_array_there_twice_is_refused(tmp_path):
    """Else a small file could have the same megabytes inflated again and again."""
    path = tmp_path / "a.npz"
    path.write_bytes(zipped([("X.npy", npy(np.ones(3))), ("X", npy(np.ones(3)))]))
    with pytest.raises(InputError, match=r"array 'X' is there twice"):
        read_npz(path)


def test_headers_that_numpy_warns_of_are_read_in_silence(tmp_path):
    path, plain = tmp_path / "a.npz", npy(np.arange(12, dtype=np.uint8).reshape(4, 3))
    python2 = plain.replace(b"(4, 3), }  ", b"(4L, 3L), }")
    assert python2 != plain
    path.write_bytes(zipped([("X.npy", python2), ("t.npy", npy(np.array([b"x"])).replace(b"'|S1'", b"'|a1'"))]))
    arrays = read_npz(path)
    np.testing.assert_array_equal(arrays["X"], np.arange(12).reshape(4, 3))
    assert arrays["t"].tolist() == [b"x"]


def test_sample_weights_beyond_float64_are_refused(tmp_path):
    weight = np.array(["1e400"] * 8, np.longdouble)
    np.savez(tmp_path / "a.npz", X=PIXELS, y=np.arange(8) % 2, sample_weight=weight)
    with pytest.raises(InputError, match="the sample weights are float|the weight of row 0 is inf"):
        load(str(tmp_path / "a.npz"))


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
    with pytest.raises(InputError, match="escaped"):
        load(str(inner / "a.npz"))
    with pytest.raises(InputError, match="not a fastmlp model"):
        load_model(inner / "a.npz")
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
            with pytest.raises(InputError) as error:
                read(str(path))
            require_one_line(str(error.value), str(path))
    assert not went_off.exists()
    path.write_bytes(files["in the array"])
    with np.load(path, allow_pickle=True) as arrays:
        assert arrays["X"].shape == (1,)
    assert went_off.is_dir()  # so it would have been


def special_files() -> dict[str, tuple[Callable[[Path], None], str]]:
    """kind: (how it is made, what is said of it)."""

    def unreadable(path):
        if os.geteuid() == 0:
            pytest.skip("root may read everything")
        path.touch(mode=0)

    return {
        "directory": (Path.mkdir, "directory; it must be a file|holds no train-images"),
        "pipe": (os.mkfifo, "is a pipe or device.*; it must be a file"),
        "endless device": (lambda path: path.symlink_to("/dev/zero"), "is a pipe or device.*; it must be a file"),
        "empty device": (lambda path: path.symlink_to("/dev/null"), "is a pipe or device.*; it must be a file"),
        "loop": (lambda path: path.symlink_to(path), "no such file|cannot be read"),
        "dangling link": (lambda path: path.symlink_to("nowhere"), "(?i)no such file"),
        "unreadable": (unreadable, "cannot be read"),
        "terabytes": (
            lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40),
            "half of this machine's|do not take as many",
        ),
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
@pytest.mark.parametrize("kind", special_files())
def test_what_is_no_ordinary_file_is_refused_by_every_reader(tmp_path, kind):
    make, message = special_files()[kind]
    for name, (file, _, read) in KINDS.items():
        if name not in readable_kinds() or name.startswith("idx"):
            continue
        path = tmp_path / name / file
        path.parent.mkdir()
        try:
            make(path)
        except OSError as error:
            pytest.skip(f"this file system cannot have it ({error})")
        if name == "checkpoint" and not path.exists():
            assert read_checkpoint(path, print) is None
            continue
        with pytest.raises(InputError, match=message) as error:
            read(str(path))
        require_one_line(str(error.value), str(path))


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
    read = {".toml": read_toml, ".txt": lambda path: read_idx(Path(path))}.get(suffix, load)
    with pytest.raises(InputError) as error:
        read(str(path))
    require_one_line(str(error.value), str(path))


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
def test_a_million_columns(tmp_path, suffix):
    N, path = 1_000_000, tmp_path / f"a{suffix}"
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
    with bounded(10 * len(text)), pytest.raises(InputError, match="has a line of more than 0 MB; rows must be shorter"):
        load(str(path))


@pytest.mark.nightly
@pytest.mark.parametrize("suffix", [".csv", ".svm"])
@pytest.mark.parametrize("line", [b"1", b"1,", b":", b"1 1:2 ", b'"', b"\0"])
def test_a_hundred_megabytes_in_one_line(tmp_path, suffix, line):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(line * (100_000_000 // len(line)))
    with bounded(4 * 100_000_000), pytest.raises(InputError, match="has a line of more than 32 MB"):
        load(str(path))


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
