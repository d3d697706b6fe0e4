"""MNIST by name: from ``$FASTMLP_DATA``, the cache, or the network."""

from __future__ import annotations

import gzip
import hashlib
import os
import time
from pathlib import Path

from ..errors import InputError
from ..formats import Query
from ..log import Say, warn
from ..paths import as_path, atomic_write, cache_dir
from .dataset import Dataset
from .directory import load_directory
from .files import unzip
from .idx import find_idx
from .synthetic import load_synthetic

# SHA-256 of the uncompressed files: mirrors differ in their gzip headers.
_FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
_TIMEOUT_SECONDS = 5.0
_SLOWEST = 10_000  # bytes a second, after the first _TIMEOUT_SECONDS
_LARGEST = 64 << 20  # bytes: no file of MNIST is larger, packed or not


def local_mnist(val_fraction: float | None = 0.1, seed: int = 0, say: Say = warn) -> Dataset | None:
    """MNIST from the disk, if it is there."""
    for directory in _places():
        if directory.is_dir() and len(find_idx(directory)) == len(_FILES):
            return load_directory(directory, "mnist", val_fraction, seed, Query(say=say))
    return None


def load_mnist(offline: bool, val_fraction: float | None, seed: int, say: Say) -> Dataset:
    """MNIST from the disk or the network; if neither has it, ``say`` so in one line and return synthetic digits."""
    if (found := local_mnist(val_fraction, seed, say)) is not None:
        return found
    if offline:
        say("MNIST is not on this machine and --offline forbids the download; using built-in synthetic digits")
        return load_synthetic(seed=0)
    target = cache_dir("mnist")
    say("downloading MNIST (11 MB, once)")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, digest in _FILES.items():
            _download(name, digest, target)
    except OSError as error:
        from urllib.error import URLError

        reason = str(error.reason if type(error) is URLError else error)
        reason = "".join(filter(str.isprintable, " ".join(reason.split())))[:400]  # a mirror's own words may be in it
        say(
            f"MNIST cannot be downloaded ({reason}); using built-in synthetic digits. "
            "For the real ones set FASTMLP_DATA"
        )
        return load_synthetic(seed=0)
    return load_directory(target, "mnist", val_fraction, seed, Query(say=say))


def _places() -> list[Path]:
    places = [cache_dir("mnist")]
    if explicit := os.environ.get("FASTMLP_DATA"):
        root = as_path(explicit)
        if not root.is_dir():
            raise InputError(f"FASTMLP_DATA is {explicit!r}; it must be a directory")
        places = [root, root / "mnist", *places]
    return places


def _download(name: str, digest: str, target: Path) -> None:
    """One file from the first mirror that has it whole. OSError when none has."""
    path, failure = target / f"{name}.gz", OSError("no mirror")
    if path.exists():
        return
    for mirror in MIRRORS:
        try:
            raw = _fetch(f"{mirror}{name}.gz", digest)
        except OSError as error:  # URLError, time-outs and TLS failures among them
            failure = error
            continue
        with atomic_write(path) as file:
            file.write(gzip.compress(raw, 6, mtime=0))
        return
    raise failure


def _fetch(url: str, digest: str) -> bytes:
    """The uncompressed file at ``url``, of SHA-256 ``digest``. OSError if it is not there, or too slow to wait for."""
    import http.client  # here, as most runs have the files: 20 ms
    import urllib.error
    import urllib.request

    start, content = time.monotonic(), bytearray()
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
            while len(content) < _LARGEST and (piece := response.read1(1 << 16)):
                content += piece
                seconds = time.monotonic() - start - _TIMEOUT_SECONDS
                if seconds > 0 and len(content) < _SLOWEST * seconds:
                    raise TimeoutError(f"{url} comes at less than {_SLOWEST // 1000} kB/s")
        raw = unzip(bytes(content), Path(url), _LARGEST)
    except urllib.error.HTTPError as error:
        error.close()
        raise OSError(f"{url}: {error}") from None
    except (InputError, http.client.HTTPException, ValueError) as error:  # ValueError: sent to an impossible address
        raise OSError(f"{url} is damaged ({error})") from None
    if hashlib.sha256(raw).hexdigest() != digest:
        raise OSError(f"{url} is not the file expected (SHA-256 differs)")
    return raw
