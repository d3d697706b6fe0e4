"""Reading bytes that may be gzipped, and text, with errors that name the file."""

from __future__ import annotations

import zlib
from pathlib import Path

from ..errors import InputError

_GZIP_MAGIC = b"\x1f\x8b"
DEFLATE_RATIO = 1032  # the most that deflate can expand
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


def read_file(path: Path) -> bytes:
    """The bytes of a file as they are. InputError when there are none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a directory; it must be a file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except MemoryError:
        raise InputError(f"{path}: too large for this machine's memory") from None


def unzip(content: bytes, path: Path, limit: int | None = None) -> bytes:
    """``content`` decompressed if it is gzip (by its first bytes, not its name), and no more than ``limit`` bytes of it.

    InputError when the stream is damaged or ends early; not looked for past ``limit``.
    """
    if not content.startswith(_GZIP_MAGIC):
        return content if limit is None else content[:limit]
    limit = None if limit is None else min(limit, DEFLATE_RATIO * len(content))  # there cannot be more
    pieces, size = [], 0
    try:
        while content and (limit is None or size < limit):
            stream = zlib.decompressobj(_GZIP_WINDOW)
            piece = stream.decompress(content, 0 if limit is None else limit - size)
            pieces.append(piece)
            size += len(piece)
            if not stream.eof:
                if limit is not None and size >= limit:
                    break
                raise InputError(f"{path}: the gzip stream ends early; the file is truncated")
            content = stream.unused_data.lstrip(b"\0")  # further members, or padding
    except zlib.error as error:
        raise InputError(f"{path}: not a valid gzip file ({error})") from None
    except MemoryError:
        raise InputError(f"{path}: too large for this machine's memory") from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def unzip_text(content: bytes, path: Path) -> bytes:
    """``content`` decompressed, without a byte order mark. InputError for UTF-16."""
    text = unzip(content, path)
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{path}: is UTF-16; it must be UTF-8")
    return text.removeprefix(b"\xef\xbb\xbf")
