"""Images in directories, one for each class: below a directory or in a .zip, of any sizes, as grey images of one size.

What is read is kept in the cache under the names, sizes and times of the files, or the checksums in the archive.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..formats import IMAGE, Query
from ..images.prepare import Picture, picture, pillow, read_images, size_of
from .cached import cached
from .dataset import Samples
from .files import files_below, is_hidden, part_of, require_file, require_size
from .labels import distinct, listed

_VERSION = 2
_LONGEST = 64  # pixels of a side: larger images are made smaller, as every pixel is an input
_SIZES = 1000  # images whose sizes are looked at
_LONGEST_NAME = 200
_LARGEST = 1 << 28  # bytes of an image in an archive


class _File(NamedTuple):
    """A file of the tree. ``name`` is its path there, with / between the parts; ``path`` is the part of it that is
    below the directory looked at. ``state`` is another where the content is another, which ``content()`` reads.
    """

    name: str
    path: str
    state: tuple[int, int]
    content: Callable[[], bytes]


_Part = dict[str, list[_File]]
"""The training or the test set: the images of each class, by the class's name."""


def read(path: Path, query: Query) -> tuple[Samples, Samples | None]:
    """The images of each class, and those below test/ where there is a train/: grey, uint8 [N, rows * columns].

    All are made as large as the model's that ``query.known`` describes; else as most of them are, but of 64 pixels a
    side at most. A model of drawings is given them as ``predict`` prepares them. InputError for unreadable images.
    """
    lines: list[str] = []  # said when nothing is refused
    said, query = query.say, replace(query, say=lines.append)
    with _tree(path) as tree:
        train, test = _parts(path, tree, query)
        if query.testing:
            train, test = test or train, None
        shape = query.known.image_shape or _common_size(path, train)
        both = [_samples(path, part, shape, query) for part in (train, test) if part is not None]
    for line in lines:
        said(line)
    return both[0], both[1] if len(both) > 1 else None


@contextmanager
def found(path: Path) -> Iterator[list[Picture]]:
    """All images below a directory or in a .zip, in the order of their names. InputError for none."""
    with _tree(path) as tree:
        images = [_picture(path, file) for file in tree if IMAGE.has(file.name)]
        if not images:
            raise InputError(f"{path}: {_lacking(tree)}; it must hold images ({', '.join(IMAGE.suffixes[:3])}, ...)")
        yield images


# -- files ----------------------------------------------------------------------------------------------------------


@contextmanager
def _tree(path: Path) -> Iterator[list[_File]]:
    """The files below a directory or in a .zip, by name, without those that systems leave there."""
    if path.is_dir():
        yield sorted(_below(path), key=lambda file: file.name)
        return
    require_file(path, fits=False)
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(path) as archive:
            warnings.simplefilter("ignore")
            yield sorted(_inside(archive, path), key=lambda file: file.name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a valid .zip file ({error})") from None


def _below(directory: Path) -> Iterator[_File]:
    for inside, file in files_below(directory):
        state = (0, 0)  # of a link to nothing, which is said if it is to be read
        with suppress(OSError):
            state = (status := file.stat()).st_size, status.st_mtime_ns
        yield _File(inside, inside, state, picture(file).content)


def _inside(archive: zipfile.ZipFile, path: Path) -> Iterator[_File]:
    for member in archive.infolist():
        name = member.filename.replace("\\", "/").removeprefix("./")
        if not member.is_dir() and not is_hidden(name):
            yield _File(name, name, (member.file_size, member.CRC), partial(_member, archive, member, path))


def _picture(path: Path, file: _File) -> Picture:
    return Picture(_shown(path, file.name), file.content)


def _shown(path: Path, name: str) -> str:
    return f"{path / _printable(name)}"


def _printable(name: str) -> str:
    """A file's name for messages: on one line and of a length that can be read, whatever an archive says."""
    name = name if len(name) <= _LONGEST_NAME else f"{name[:80]}...{name[-80:]}"
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> bytes:
    """The content of a file in an archive. InputError where it is damaged, or larger than an image is."""
    try:
        if member.file_size > _LARGEST or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"it is larger than {_LARGEST >> 20} MB, encrypted, or packed in an unusual way")
        with archive.open(member) as file:
            return file.read(member.file_size)
    except Exception as error:  # zipfile and zlib raise a dozen kinds for damaged files
        raise InputError(f"{_shown(path, member.filename)}: cannot be read ({str(error)[:200]})") from None


# -- classes --------------------------------------------------------------------------------------------------------


def _parts(path: Path, tree: list[_File], query: Query) -> tuple[_Part, _Part | None]:
    """(the training set, the test set or None) among the files; what is left out is said."""
    images = [file for file in tree if IMAGE.has(file.name)]
    while (top := _only_top(images)) and not (part_of(top) and top.isalpha()) and _depth(images) > 2:
        images = _without_top(images)  # as archives have it: digits-test around all is no part, but test is
    tops = _by_class(images)
    if not tops:
        table = "" if path.is_dir() else ", or one table as text"
        raise InputError(f"{path}: {_lacking(tree)}; it must hold a directory of images for each class{table}")
    larger_last = sorted(tops, key=lambda top: len(tops[top]))  # trainingSample is not the trainingSet
    parts = {part: top for top in larger_last if (part := part_of(top)) and _depth(tops[top]) > 2}
    below = {part: _classes_below(tops[top]) for part, top in parts.items()}
    train, test = parts.get("train"), next((parts[part] for part in ("test", "val") if below.get(part)), None)
    if train is None and len(parts) < len(tops):  # classes, whatever they are called
        train = test = None
    if train is not None and not below["train"]:
        raise InputError(f"{path}: {train} holds no directories of images; it must hold one for each class")
    used = [_classes_below(tops[top]) for top in (train, test) if top] or [tops]
    where = " in " + " or ".join(_printable(top) for top in (train, test) if top) if train or test else ""
    taken = {file.name for part in used for files in part.values() for file in files}
    for files, what in (
        ([file for file in tree if not IMAGE.has(file.name)], "no image such as .jpg or .png"),
        ([file for file in images if file.name not in taken], f"in no directory of a class{where}"),
    ):
        if files:
            which = f"{files[0].name} is" if len(files) == 1 else f"{len(files):,} files ({_listed(files)}) are"
            query.say(f"{path}: {which} {what} and not used")
    for found in used if path.is_dir() else ():
        first = next(iter(found.values()))[0]
        directories = [each.name for each in (path / first.name.removesuffix(first.path)).iterdir() if each.is_dir()]
        if empty := sorted(name for name in directories if not (name in found or is_hidden(name))):
            query.say(f"{path}: directories without images{where} make no classes: {listed([*map(_printable, empty)])}")
    if deeper := [file for files in used[0].values() for file in files if file.path.count("/") > 1]:
        classes, folder = listed([*map(_printable, used[0])]), _printable(deeper[0].path.rpartition("/")[0])
        query.say(f"{path}: the classes are {classes}; directories below them, such as {folder}, are not told apart")
    if test and part_of(test) == "val":
        query.say(f"{path}: {test} is taken for the test set")
    if train is None and test is not None:
        if query.known.width is None:
            raise InputError(f"{path}: holds {test}, and no train directory to train on")
        return used[0], None
    return used[0], used[1] if len(used) > 1 else None


def _classes_below(files: list[_File]) -> _Part:
    """The classes of a part, perhaps in another directory below it, as Kaggle has it: training_set/training_set."""
    files = _without_top(files)
    while (top := _only_top(files)) and (_depth(files) > 2 or part_of(top)):
        files = _without_top(files)
    return _by_class(files)


def _without_top(files: list[_File]) -> list[_File]:
    """The files as they stand in the directory that the first part of their paths names."""
    return [file._replace(path=file.path.partition("/")[2]) for file in files]


def _only_top(files: list[_File]) -> str | None:
    """The directory that all are in, if there is one."""
    tops = {file.path.partition("/")[0] for file in files}
    return tops.pop() if len(tops) == 1 else None


def _depth(files: list[_File]) -> int:
    """The most common number of parts of their paths."""
    depths = sorted(file.path.count("/") + 1 for file in files)
    return depths[len(depths) // 2] if depths else 0


def _by_class(files: list[_File]) -> _Part:
    """The files in directories, by these."""
    classes: _Part = {}
    for file in files:
        directory, mark, _ = file.path.partition("/")
        if mark:
            classes.setdefault(directory, []).append(file)
    return classes


def _listed(files: list[_File]) -> str:
    return listed([_printable(file.name) for file in files])


def _lacking(tree: list[_File]) -> str:
    images = [file for file in tree if IMAGE.has(file.name)]
    if images:
        return f"its images ({_listed(images)}) are in no directories"
    return f"holds no images, but {_listed(tree)}" if tree else "holds no files"


# -- pixels ---------------------------------------------------------------------------------------------------------


def _common_size(path: Path, part: _Part) -> tuple[int, int]:
    """(rows, columns) that most of the images have, or else their medians; made smaller to 64 pixels a side at most."""
    files = [file for of_class in part.values() for file in of_class]
    looked_at = files[:: -(-len(files) // _SIZES)]
    sizes: Counter[tuple[int, int]] = Counter()
    for file in looked_at:
        with suppress(InputError):  # said of all such images, when they are read
            sizes[size_of(_picture(path, file))] += 1
    (rows, columns), times = sizes.most_common(1)[0] if sizes else ((1, 1), 1)
    if sizes and 2 * times < len(looked_at):
        rows, columns = (int(np.median([size[axis] for size in sizes.elements()])) for axis in (0, 1))
    shrunk = min(1.0, _LONGEST / max(rows, columns))
    return max(1, round(rows * shrunk)), max(1, round(columns * shrunk))


def _samples(path: Path, part: _Part, shape: tuple[int, int], query: Query) -> Samples:
    files = [file for of_class in part.values() for file in of_class]
    require_size(len(files) * shape[0] * shape[1], path)
    framing, light = query.known.framing, query.known.light_border

    def arrays() -> dict[str, np.ndarray]:
        said: list[str] = []
        pictures = [_picture(path, file) for file in files]
        found = read_images(pictures, shape, framing, light_border=light, blank=framing is None, say=said.append)
        seen = [one.digits for one in found]
        many = next((k for k, digits in enumerate(seen) if len(digits) > 1), None)
        if many is not None:
            raise InputError(
                f"{pictures[many].name}: holds {len(seen[many])} digits; in a directory of a class it must hold one"
            )
        return {"X": np.concatenate(seen), "said": np.frombuffer(json.dumps(said).encode(), np.uint8)}

    state = [(file.name, *file.state) for file in files]
    key = repr((_VERSION, pillow().__version__, str(path.resolve()), state, shape, framing, light)).encode()
    kept = cached("images", key, arrays) if query.cached else arrays()
    for line in json.loads(kept["said"].tobytes()):
        query.say(line)
    names = (name for name, of_class in part.items() for _ in of_class)
    return Samples(kept["X"], distinct(names), str(path), shape, files=tuple(file.name for file in files))
