"""Files of every kind that fastmlp reads, sound (the seeds) and damaged (the mutants): a function of a number each."""

import gzip
import io
import json
import random
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastmlp.config import TrainConfig
from fastmlp.formats import FORMATS, IMAGE, PICTURES, Format
from fastmlp.models.tensor_file import _digest

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
WEIGHTED = [b"a,b,label,w\n1.5,-2e3,cat,1\n0.25,3,dog,2.5\n7,8,cat,0\n1,2,dog,1\n"]
NPY = [npy(array) for array in (PIXELS, np.ones((3, 12), ">f8"), np.ones((4, 12), "f2"), np.full((2, 4, 3), -7))]
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
    "W0": np.ones((12, 2), "f4"), "b0": np.zeros(2, "f4"), "W1": np.ones((2, 3), "f4"), "b1": np.zeros(3, "f4"),
    "mean": np.zeros(12), "std": np.ones(12), "ranges": np.arange(4.0)[:, None] * 100,
}  # fmt: skip
META = {
    "scale": 1.0, "classes": ["a", "b", "c"], "image_shape": [4, 3], "columns": None, "index_base": None,
    "trained_on": {"digest": 7, "seed": 0, "val_fraction": 0.1}, "format": "fastmlp", "version": 2,
}  # fmt: skip
RUN = {"step": 3, "samples": 24, "seconds": 0.5, "history": [], "batches": {"state": [1, 2]}}
OF_RUN = {**META, "config": {"lr": 1.0}, "run": RUN}, {**TENSORS, "state": np.ones(9)}


def tensor_file(meta, tensors) -> bytes:
    sums = {name: _digest(array) for name, array in tensors.items()}
    header = np.frombuffer(json.dumps({"sha256": sums, **meta}).encode(), np.uint8)
    return zipped((f"{name}.npy", npy(array)) for name, array in {"meta": header, **tensors}.items())


# -- mutations -------------------------------------------------------------------------------------------------------

EXTREMES = (
    0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
VALUES = [
    None, True, -1, 0, 1, 0.5, 10**5, 2**31, 2**63, 10**400, -(10**400), float("nan"), float("inf"), "", "a\nb",
    "\x1b[3m", "\ud800", "x" * 5000, [], {}, [[]], [1, 2, 3], ["a", "a", "a"], {"a": 1}, [[[[[1]]]]], [[1, "x"]],
    [-4, -3], [4.5, 3],
]  # fmt: skip
NAMES = [
    "../../X.npy", "/tmp/X.npy", "C:\\X.npy", "X", ".npy", "/", "a\nb.npy", "\x1b[2J.npy", "meta.npy", "X.npy/",
    "ü" * 9000,
]  # fmt: skip
JUNK = (b"\xff\xfe", b"\xef\xbb\xbf", b"\0" * 16, b'"', b"\r\n", b"9" * 400, b"[" * 3000)
NUMBERS = (*map(str, EXTREMES), "-1", "9" * 50, "9" * 5000, "1e999", "nan", "1_0", "0x1p3")
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def extreme(draw: random.Random, size: int) -> int:
    """A number of ``size`` bytes at which readers go wrong."""
    return draw.choice(EXTREMES) & ((1 << 8 * size) - 1)


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
            data[at : at + size] = extreme(draw, size).to_bytes(size, draw.choice(("big", "little")))
        elif way == 7:
            number = draw.choice(NUMBERS)
            if digits := [*re.finditer(rb"[0-9]+", data)]:
                found = draw.choice(digits)
                data[found.start() : found.end()] = number.encode()
        elif way == 8:
            lines[line : line + 1] = [lines[line]] * draw.choice((0, 2, 3))
            data = bytearray(b"\n".join(lines))
        else:
            data[at:at] = draw.choice(JUNK)
    return bytes(data)


def wrong_field(content: bytes, draw: random.Random) -> bytes:
    """A zip with an extreme number in one of its records."""
    data = bytearray(content)
    records = [found.start() for found in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06)", content)]
    at, size = draw.choice(records) + draw.randrange(4, 42, 2), draw.choice((2, 4))
    data[at : at + size] = extreme(draw, size).to_bytes(size, "little")
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
    packed = zipped(members, draw.choice(PACKINGS))
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
        other = draw.choice([*tensors.values()]), np.empty((0, 3), "f4"), np.array(1.0), np.full((12, 2), np.nan, "f4")
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


@cache
def picture_seeds() -> list[bytes]:
    from PIL import Image

    pixels = np.arange(784, dtype=np.uint16).reshape(28, 28)
    grey, deep, seeds = Image.fromarray((pixels % 256).astype(np.uint8) // 4), Image.fromarray(pixels), []
    for form, modes in ("PNG", ["L", "RGBA", "P", "1", "I;16"]), ("JPEG", ["L", "RGB"]):
        for mode in modes:
            stream, made = io.BytesIO(), deep if mode == "I;16" else grey.convert(mode)
            made.save(
                stream, form, **({"transparency": 3} if mode == "P" else {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"})
            )
            seeds.append(stream.getvalue())
    return seeds


@cache
def picture_members() -> list[tuple[str, bytes]]:
    """A zip of images as a Macintosh makes it."""
    images = [(f"set/{'ab'[k % 2]}/{k}.png", content) for k, content in enumerate(picture_seeds())]
    return [
        ("set/", b""),
        *images,
        ("set/read me.txt", b"x"),
        ("__MACOSX/set/a/._0.png", b"x"),
        ("set/.DS_Store", b"x"),
    ]


# -- kinds -----------------------------------------------------------------------------------------------------------


def one_of(seeds: list[bytes]) -> Callable[[random.Random], bytes]:
    return lambda draw: damaged(draw.choice(seeds), draw, seeds)


def gzipped(seeds: list[bytes]) -> Callable[[random.Random], bytes]:
    """Damaged inside, or outside."""

    def make(draw):
        inside, plain = draw.random() < 0.3, draw.choice(seeds)
        packed = gzip.compress(damaged(plain, draw, seeds) if inside else plain, mtime=0)
        return packed if inside else damaged(packed, draw, [packed, *seeds])

    return make


def a_picture(draw: random.Random) -> bytes:
    seeds = picture_seeds()
    content = draw.choice(seeds)
    png = content.startswith(b"\x89PNG") and draw.random() < 0.5
    return (hostile_png if png else damaged)(content, draw, seeds)


class Kind(NamedTuple):
    """Files of one kind: the name of a file, sound contents of it, and a function that makes a mutant."""

    file: str
    sound: list[bytes]
    mutant: Callable[[random.Random], bytes]


def of_format(form: Format, file: str, seeds: list[bytes] | None = None) -> Kind:
    """Files of a format of the table under a name of its."""
    if form is IMAGE:
        return Kind(file, picture_seeds() if find_spec("PIL") else [], a_picture)
    if form is PICTURES:
        sound = [zipped(picture_members())] if find_spec("PIL") else []
        return Kind(file, sound, lambda draw: hostile_zip(picture_members(), draw, picture_seeds()))
    if form.name == ".npz":
        contents = [content for members in NPZ for _, content in members]
        sound = seeds or [zipped(members) for members in NPZ]
        return Kind(file, sound, lambda draw: hostile_zip(draw.choice(NPZ), draw, contents))
    seeds = SEEDS[form.name] if seeds is None else seeds
    if file.endswith(".gz"):
        return Kind(file, [gzip.compress(seed, mtime=0) for seed in seeds], gzipped(seeds))
    return Kind(file, seeds, one_of(seeds))


SEEDS = {"CSV": CSV, "svmlight": SVM, ".npy": NPY, "IDX": [idx(PIXELS)]}
_IDX = [*IDX.values()]
TO_PREDICT = {  # of the features that the model has; an .npz to train on has no samples for it
    "CSV": [b"%d," * 11 % (*range(11),) + b"1\n" + b"0," * 11 + b"3\n"],
    ".npz": [zipped(NPZ[0]), zipped(NPZ[2])],
}

OURS = [form for form in FORMATS if form.package is None]  # what others' packages read is theirs to test

# Whatever is in the table of formats is here under each of its suffixes, to train on and to predict. A directory of IDX
# files has the other files beside the mutant.
KINDS = {
    "idx": Kind("idx/train-images-idx3-ubyte", [IDX["train-images-idx3-ubyte"]], one_of(_IDX)),
    "idx.gz": Kind("idx-gz/t10k-labels-idx1-ubyte.gz", [gzip.compress(IDX["t10k-labels-idx1-ubyte"])], gzipped(_IDX)),
    **{suffix[1:]: of_format(form, f"a{suffix}") for form in OURS for suffix in form.suffixes if form.trains},
    **{
        f"{form.suffixes[0][1:]}.gz": of_format(form, f"a{form.suffixes[0]}.gz")
        for form in OURS
        if form.zipped and form.trains
    },
    "weights.csv": Kind("w.csv", WEIGHTED, one_of(WEIGHTED)),
    "model": Kind("model.npz", [tensor_file(META, TENSORS)], lambda draw: hostile_tensors(META, TENSORS, draw)),
    "checkpoint": Kind("checkpoint.npz", [tensor_file(*OF_RUN)], lambda draw: hostile_tensors(*OF_RUN, draw)),
    "toml": Kind("config.toml", TOML[:2], one_of(TOML)),
    **{f"predict {form.name}": of_format(form, f"p{form.suffixes[0]}", TO_PREDICT.get(form.name)) for form in OURS},
}


def mutant(kind: str, seed: int) -> bytes:
    return KINDS[kind].mutant(random.Random(f"{kind} {seed}"))


def place(kind: str, directory: Path) -> tuple[Path, str]:
    """(the file to write mutants to, what to read: it, or the directory of IDX files that it lies in)."""
    path = directory / KINDS[kind].file
    if path.parent == directory:
        return path, str(path)
    path.parent.mkdir(exist_ok=True)
    for name, content in IDX.items():
        if name != path.name.removesuffix(".gz"):
            (path.parent / name).write_bytes(content)
    return path, str(path.parent)
