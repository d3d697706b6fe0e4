"""The table of file formats: their names, how their files are recognised, and their readers.

``load``, the shards of a directory, ``predict``, messages and --help derive from ``FORMATS``. A format is added by an
entry there, with samples for the tests in ``bench/written.py`` and ``tests/damage.py``; its reader is a module of
``fastmlp.data`` with these functions, the second alone where it has no labels:

    read(path, query) -> (Samples, Samples or None)     what there is to train on, and what the file itself holds out
    features(path, query) -> X                          the samples alone, as a model with ``query.known`` takes them
    lines(path, rows, query) -> numbers                 of text: of the lines that rows, counted from 0, stand in
    fields(path, columns, query) -> {name: texts}       of tables: what stands in those columns

Nothing here imports NumPy, so that --help can name the formats.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from .errors import InputError
from .log import Say, warn


class LabelColumn(NamedTuple):
    """The label column of a table: its name, if it has one, and the number of features before it."""

    name: str | None
    place: int


@dataclass(frozen=True)
class Features:
    """What a model knows of its inputs: how many there are, their names, what an svmlight index counts from (0 or 1),
    where the table that it was trained on had its labels, and, of images, their (rows, columns), how drawings are
    placed in them (see ``ink``) and whether their border is light, if that is known. A model of a table's columns has a
    ``frame``: they "must" stay as they are where some are text or dates, and "may" where all are numbers. It was
    trained without the ``unused`` columns. ``classes`` are those that a model knows, none where it predicts numbers.
    """

    width: Any = None  # an int; None where nothing is known, of a file to train on
    columns: tuple[str, ...] | None = None
    index_base: int | None = None
    label: LabelColumn | None = None
    image_shape: tuple[int, int] | None = None
    framing: Any = None
    light_border: bool | None = None
    frame: str | None = None
    unused: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Query:
    """The request to a reader of files.

    ``known`` is what the model, or the training file, knows of the features. ``testing`` says that the file is one to
    test on; ``cached`` that what has been parsed may be kept on disk. ``task`` is auto, classification or regression.
    ``say`` takes lines for the user. Unless rows are to be ``labelled``, only their features are asked for. The columns
    in ``drop`` are left out. Where the user has ``said`` what some columns are, all are kept as text, even numbers.
    ``headed`` says that the first line of a text is its header, whatever it looks like.
    """

    label_column: str | None = None
    weight_column: str | None = None
    known: Features = Features()
    testing: bool = False
    cached: bool = True
    task: str = "auto"
    drop: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    labelled: bool = True
    headed: bool = False
    say: Say = field(default=warn, repr=False)  # a query is shown by what changes the answer


@dataclass(frozen=True)
class Format:
    """One kind of file. Its name says so by ``suffixes`` (``.gz`` may follow where it is ``zipped``); under other names
    it is known by how it ``begins``.

    ``trains``: its files hold labels, and may be the shards of a directory. ``is_text``: its reader has ``lines``, it
    may lie alone in a .zip, and other content may begin as it does. ``has_columns``: labels and weights are columns.
    ``package`` is what its reader needs.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str
    begins: re.Pattern[bytes]
    trains: bool = True
    is_text: bool = False
    has_columns: bool = False
    zipped: bool = True
    package: str | None = None

    @property
    def reader(self) -> Any:
        """The module of functions that read such files: see above."""
        return import_module(f".data.{self.module}", __package__)

    def has(self, name: str) -> bool:
        """Whether a file of that name is of this format."""
        name = name.lower()
        return name.endswith(self.suffixes) or (self.zipped and name.removesuffix(".gz").endswith(self.suffixes))


# The mark of UTF-16, or no odd bytes.
_TEXT = re.compile(rb"(?:\xff\xfe|\xfe\xff)(?s:.*)|[^\0-\x08\x0e-\x1f\x7f]*\x1a?")
_SVMLIGHT = re.compile(
    rb"(?:[ \t\r]*(?:[^\s:#,;]+[ \t\r]*)?(?:#[^\n]*)?\n)*"  # comments, and rows of nothing but a label
    rb"[ \t]*[^\s:#]+(?:[ \t]+(?:[0-9]+|qid):[^\s:]+)+[ \t\r]*(?:[#\n].*|[0-9]+:?)?",
    re.DOTALL,
)

_OF_IMAGES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm", ".pnm",
)  # fmt: skip
IMAGE = Format(
    "image",
    _OF_IMAGES,
    "",  # predict reads all its images together
    re.compile(rb"(?:\x89PNG|\xff\xd8\xff|GIF8|BM.{4}\0{4}|RIFF.{4}WEBP|II\*\0|MM\0\*|P[1-6]\s).*", re.DOTALL),
    trains=False,
    zipped=False,
)

PARQUET = Format(
    "Parquet",
    (".parquet", ".pq"),
    "parquet",
    re.compile(rb"PAR1.*", re.DOTALL),
    has_columns=True,
    zipped=False,
    package="pyarrow",
)
NPZ = Format(".npz", (".npz",), "npz", re.compile(rb"PK\x03\x04.{26}[^\0/]{1,200}\.npy.*", re.DOTALL), zipped=False)
_FIRST_MEMBER = b"|".join([rb"[^\0]{1,200}" + re.escape(suffix.encode()) for suffix in IMAGE.suffixes])
PICTURES = Format(
    "zip of images",
    (".zip",),
    "pictures",  # which reads a directory of images, too; predict reads all images together
    re.compile(rb"PK\x03\x04(?:.{10}\0{12}.{4}[^\0]{0,200}/|.{26}(?:%s)).*" % _FIRST_MEMBER, re.DOTALL | re.IGNORECASE),
    zipped=False,
)

CSV = Format("CSV", (".csv", ".tsv", ".tab"), "csv", _TEXT, is_text=True, has_columns=True)

# From the most general content to the most special: a file that begins as several of them do is of the last.
FORMATS = (
    CSV,
    Format("svmlight", (".svm", ".libsvm", ".svmlight"), "svmlight", _SVMLIGHT, is_text=True),
    PICTURES,
    NPZ,
    Format(".npy", (".npy",), "npy", re.compile(rb"\x93NUMPY.*", re.DOTALL), trains=False, zipped=False),
    IMAGE,
    PARQUET,
    Format("IDX", ("ubyte", ".idx"), "idx", re.compile(rb"\0\0[\x08-\x0e][\x01-\xff].*", re.DOTALL), trains=False),
)
TRAINING = tuple(each for each in FORMATS if each.trains)
# Suffixes of text of any format, UCI's among them.
TEXTS = (".txt", ".data", ".dat", ".test", ".train", ".tra", ".tes", ".trn", ".tst", "")

COLUMN_KINDS = NUMBER, CATEGORY, DATE, DROP = "number", "category", "date", "drop"


def kinds_of(said: Sequence[str]) -> dict[str, str]:
    """{column: kind} of texts such as "zip=category". InputError for others."""
    kinds: dict[str, str] = {}
    for text in said:
        name, mark, kind = text.rpartition("=")
        if not (name and mark) or kind not in COLUMN_KINDS:
            raise InputError(f"--column {text!r:.60}: must be NAME=KIND; kinds are {', '.join(COLUMN_KINDS)}")
        if kinds.setdefault(name, kind) != kind:
            raise InputError(f"--column {text!r:.60}: is said to be {kinds[name]}, too; give one of the two")
    return kinds


def suffixes(formats: tuple[Format, ...]) -> str:
    """Their suffixes, for messages and --help."""
    return ", ".join(suffix for each in formats for suffix in each.suffixes)


def is_text_name(name: str) -> bool:
    """Whether a file of that name is of text."""
    known = any(each.is_text and each.has(name) for each in FORMATS)
    return known or Path(plain_name(name)).suffix.lower() in TEXTS[:-1]


def plain_name(name: str) -> str:
    """A file's name without .gz, or the .zip of a text."""
    if name.lower().endswith(".zip") and is_text_name(name[:-4]):
        return name[:-4]
    return name[:-3] if name.lower().endswith(".gz") else name


def stem(path: Path) -> str:
    """The file's name without its suffix."""
    return plain_name(path.name).rpartition(".")[0] or path.name
