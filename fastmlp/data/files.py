"""Reading bytes that may be gzipped, and text, with errors that name the file."""

from __future__ import annotations

import atexit
import io
import os
import re
import shutil
import stat
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import InputError
from ..formats import is_text_name
from ..paths import as_path

GZIP_MAGIC, _ZIP_MAGIC = b"\x1f\x8b", b"PK\x03\x04"
DEFLATE_RATIO = 1032  # the most that deflate can expand
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_ENCODINGS = (  # by their marks, and UTF-16 without one by ASCII's zero bytes
    (re.compile(rb"\xff\xfe\0\0|\0\0\xfe\xff"), "utf-32"),
    (re.compile(rb"\xff\xfe|\xfe\xff"), "utf-16"),
    (re.compile(rb"([^\0]\0){2}"), "utf-16-le"),
    (re.compile(rb"(\0[^\0]){2}"), "utf-16-be"),
)
_PIPE = re.compile(r"-|/dev/(?:stdin|fd/[0-9]+)")  # the last is what shells call <(command)
_UNSEEN = (b"\xef\xbb\xbf", b"\xe2\x80\x8b")  # the byte order mark, the space of no width
_UNASKED = ("__macosx", "thumbs.db", "desktop.ini", "@eadir")
_PARTS = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": "val", "valid": "val", "validation": "val",
}  # fmt: skip
_BEGINNING = 1 << 14  # bytes
_LONGEST_LINE = 32 << 20  # bytes: a million columns; parsing one takes up to 70 times its size


def most_bytes() -> int:
    """The most bytes of a file that are read: half of the machine's memory, as every reader makes a copy."""
    if not hasattr(os, "sysconf"):  # pragma: no cover (Windows)
        return sys.maxsize
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def require_size(size: int, path: Path) -> None:
    """InputError for more bytes than ``most_bytes``."""
    if size > (most := most_bytes()):
        raise InputError(f"{path}: holds more than {most >> 20:,} MB, half of this machine's memory; it must hold less")


def readable(given: str | Path) -> Path:
    """The path of data that a user gave. What comes through a pipe, - for stdin or what shells call /dev/fd/63, is
    copied to a file, which goes when the process ends: readers look at data more than once.

    InputError for a pipe that is closed, and for one that holds more than fits into memory.
    """
    if not _PIPE.fullmatch(name := os.fspath(given)):
        return as_path(given)
    directory = tempfile.mkdtemp(prefix="fastmlp-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    path, size = Path(directory, "stdin" if name == "-" else Path(name).name), 0
    try:
        with sys.stdin.buffer if name == "-" else open(name, "rb") as pipe, open(path, "wb") as file:
            while block := pipe.read(1 << 20):
                size += file.write(block)
                require_size(size, Path(name))
    except (AttributeError, ValueError, OSError) as error:  # None, or closed: by its caller, or as it was read already
        raise InputError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or 'it is closed'})") from None
    return path


def require_file(path: Path, *, fits: bool = True) -> None:
    """InputError unless ``path`` is a regular file, which ``fits`` into memory: pipes and devices may never end."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if not stat.S_ISREG(status.st_mode):
        what = "directory" if stat.S_ISDIR(status.st_mode) else "pipe or device"
        raise InputError(f"{path}: is a {what}; it must be a file")
    if fits:
        require_size(status.st_size, path)


def is_hidden(name: str) -> bool:
    """Whether a file of that path, with / between its parts, is one that systems leave in directories unasked."""
    return any(part.startswith(".") or part.lower() in _UNASKED for part in name.split("/"))


def part_of(name: str) -> str | None:
    """The part, train, test or val, in a file or directory of that name: training_set, testSet, mnist_test.csv."""
    words = map(str.lower, re.findall("[A-Z]?[a-z]+|[A-Z]+", name))
    return next((_PARTS[word] for word in words if word in _PARTS), None)


def files_below(directory: Path) -> Iterator[tuple[str, Path]]:
    """(path within the directory with / between its parts, path) of each file below it that is not hidden.

    Links to directories are followed, but for one to a directory that was passed on the way to it.
    """
    for place, directories, files in os.walk(directory, followlinks=True):
        within = Path(place).relative_to(directory)
        passed = {os.path.realpath(directory / each) for each in (within, *within.parents)}
        directories[:] = [name for name in directories if os.path.realpath(Path(place, name)) not in passed]
        for name in files:
            if not is_hidden(inside := (within / name).as_posix()):
                yield inside, Path(place, name)


@contextmanager
def reading(path: Path, kind: str = "", *damage: type[Exception]) -> Iterator[None]:
    """InputError for a file that the system does not read, or that is too large, and where it is no valid ``kind`` of
    file, of which the errors ``damage`` tell."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except MemoryError:
        raise InputError(f"{path}: too large for this machine's memory") from None
    except damage as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise InputError(f"{path}: not a valid {kind} file ({reason})") from None


def read_file(path: Path) -> bytes:
    """The bytes of a file as they are. InputError when there are none."""
    require_file(path)
    with reading(path):
        return path.read_bytes()


def beginning(path: Path, member: zipfile.ZipInfo | None = None, *, unzipped: bool = True) -> bytes:
    """The first bytes of a file, or of a ``member`` of a .zip, by which its format is told; with ``unzipped``
    decompressed if it is gzip."""
    require_file(path, fits=False)
    if member is not None:
        with reading(path, ".zip", Exception), zipfile.ZipFile(path) as archive, archive.open(member) as text:
            return text.read(_BEGINNING)
    with reading(path, "gzip", zlib.error), open(path, "rb") as file:
        head = file.read(_BEGINNING)
        if unzipped and head.startswith(GZIP_MAGIC):
            return zlib.decompressobj(_GZIP_WINDOW).decompress(head, _BEGINNING)
        return head


def zipped_text(file: str | Path | IO[bytes]) -> zipfile.ZipInfo | None:
    """The file of text in a .zip that holds no other; None for anything else."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = [each for each in archive.infolist() if not (each.is_dir() or is_hidden(each.filename))]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return None
    return members[0] if len(members) == 1 and is_text_name(members[0].filename) else None


def _of_archive(content: bytes, path: Path) -> bytes:
    """The text in a .zip of one file; other content as it is. InputError for a damaged or encrypted one."""
    if not content.startswith(_ZIP_MAGIC) or (member := zipped_text(io.BytesIO(content))) is None:
        return content
    require_size(member.file_size, path)  # and no more is read
    with (
        reading(path, ".zip", Exception),
        zipfile.ZipFile(io.BytesIO(content)) as archive,
    ):  # it raises half a dozen kinds
        return archive.read(member)


def unzip(content: bytes, path: Path, limit: int | None = None) -> bytes:
    """``content`` decompressed if it is gzip (by its first bytes, not its name), and at most ``limit`` bytes of it.

    InputError when it holds too much, or when what was read of it is damaged or ends early.
    """
    if not content.startswith(GZIP_MAGIC):
        return content[:limit]
    enough = min(most_bytes(), DEFLATE_RATIO * len(content)) + 1  # nothing is allocated on a caller's word
    enough = enough if limit is None else min(limit, enough)
    pieces, size = [], 0
    with reading(path, "gzip", zlib.error):
        while content and size < enough:
            stream = zlib.decompressobj(_GZIP_WINDOW)
            piece = stream.decompress(content, enough - size)
            pieces.append(piece)
            size += len(piece)
            require_size(size, path)
            if not stream.eof:
                if size >= enough:
                    break
                raise InputError(f"{path}: the gzip stream ends early; the file is truncated")
            content = stream.unused_data.lstrip(b"\0")  # further members, or padding
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def unzip_text(content: bytes, path: Path) -> bytes:
    """``content`` decompressed, or the one file in it if it is a .zip, its lines ended by newlines, in UTF-8 without
    byte order marks if it is UTF-16 or -32.

    InputError for a line that is no row, and for what begins as UTF-16 but is not.
    """
    text = unzip(_of_archive(content, path), path)
    if text.startswith(GZIP_MAGIC):
        raise InputError(f"{path}: is gzipped twice; it must be once")
    encoding = next((name for begins, name in _ENCODINGS if begins.match(text)), None)
    if encoding is not None:
        try:
            text = text.decode(encoding).encode()
        except UnicodeError:
            raise InputError(f"{path}: begins as {encoding.upper()} but is not valid; it must be UTF-8") from None
    for unseen in _UNSEEN:  # joined files have marks in the middle
        text = text.replace(unseen, b"")
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    start = 0
    while len(text) - start > _LONGEST_LINE:
        if (end := text.rfind(b"\n", start, start + _LONGEST_LINE)) < 0:
            raise InputError(f"{path}: has a line of more than {_LONGEST_LINE >> 20} MB; rows must be shorter")
        start = end + 1
    return text
