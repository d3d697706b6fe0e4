"""Recognises the format of a file by its name, else by the beginning of its content."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import InputError, about
from ..formats import CSV, FORMATS, NPZ, PARQUET, PICTURES, TEXTS, TRAINING, Format, plain_name, suffixes
from .files import beginning, require_file, zipped_text

# Files that are known and not read: (how they begin, what they are).
_FOREIGN = (
    (re.compile(rb"ARROW1|FEA1"), "an Arrow file"),
    (re.compile(rb"\x89HDF\r\n"), "an HDF5 file"),
    (re.compile(rb"MATLAB "), "a MATLAB file"),
    (re.compile(rb"\x80[\x02-\x05]"), "a Python pickle, which runs whatever is in it when it is read"),
    (
        re.compile(rb"PK\x03\x04.{26}(?:xl/|\[Content_Types)|\xd0\xcf\x11\xe0", re.DOTALL),
        "an Excel sheet (save it as .csv)",
    ),
    (re.compile(rb"PK\x03\x04"), "a zip archive"),
    (re.compile(rb".{4}ftyp(?:hei|hev|mif|msf|avi)", re.DOTALL), "a photograph in HEIC or AVIF (save it as .jpg)"),
    (re.compile(rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd"), "compressed, and not by gzip"),
    (re.compile(rb"SQLite format 3"), "a database"),
    (re.compile(rb"(?:[ \t\r]*(?:%[^\n]*)?\n)*[ \t]*@relation", re.IGNORECASE), "an ARFF file"),
    (re.compile(rb"\s*[\[{]\s*[\"\[{0-9]"), "JSON"),
    (re.compile(rb"\s*<[?!/A-Za-z]"), "XML or HTML"),
    (re.compile(rb"version https://git-lfs"), "a Git LFS pointer"),
)


def format_of(path: Path, formats: tuple[Format, ...] = FORMATS) -> Format:
    """The format of a file among ``formats``, by its name, else by its content. InputError where it is none of them.

    A directory is one of images.
    """
    if path.is_dir():
        return PICTURES
    found = next((each for each in FORMATS if each.has(path.name)), None)
    if found is PICTURES:
        require_file(path, fits=False)
        if (text := zipped_text(path)) is not None:
            by_name = next((each for each in FORMATS if each.has(text.filename)), None)
            found = by_name or _by_content(path, text.filename, beginning(path, text))
    other = found is PICTURES and any(each.begins.fullmatch(beginning(path)) for each in (NPZ, PARQUET))
    if found is None or other:
        found = _by_content(path, path.name, beginning(path))
    if found is None:
        kinds = f"a {suffixes(formats)} file, or .txt or .data"
        raise InputError(f"{path}: unknown format; it must be {'a directory or ' * (formats is TRAINING)}{kinds}")
    if found not in formats:
        raise InputError(f"{path}: an {found.name} file has no labels; give the directory of samples and labels")
    return found


def _by_content(path: Path, name: str, head: bytes) -> Format | None:
    """The format that a file of that name begins as. InputError for one that is known, and not read."""
    if not head:
        raise InputError(f"{path}: is empty")
    matching = [each for each in FORMATS if each.begins.fullmatch(head)]
    if matching and not matching[-1].is_text:
        return matching[-1]
    with about(path):
        refuse_foreign(head)
    suffix = Path(plain_name(name)).suffix.lower()
    named = suffix in TEXTS or "data" in suffix  # anything may be a table, and hardly anything svmlight
    return matching[-1] if matching and (named or matching[-1] is not CSV) else None


def refuse_foreign(head: bytes) -> None:
    """InputError for a file that begins as one that is known, and not read."""
    for pattern, what in _FOREIGN:
        if pattern.match(head):
            raise InputError(
                f"is {what}; it must be a table in text, an image, or an .npz as np.savez(path, X=X, y=y) writes it"
            )
