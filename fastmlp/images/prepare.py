"""Photographs and drawings as a model's inputs: files that Pillow reads, prepared as the training images were."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..data.files import read_file
from ..errors import InputError, RunError
from ..extras import optional, to_install
from ..log import Say
from ..paths import atomic_write
from ..threads import mapped
from .digits import straightened
from .framing import Framing, border_means
from .ink import prepare

if TYPE_CHECKING:
    from ..models.model import Model

# Pillow's other formats run further programs, or are not pictures.
_KINDS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_MOST_PIXELS = 50_000_000  # of one image: no more is allocated, whatever its header says
_LIGHT = 127
_ORIENTATION = 0x0112  # the EXIF tag; above 4 a photograph lies on its side
_THREADS = min(8, os.cpu_count() or 1)
_LINES = 5  # images with a line each on what was found; more share one line
_BLOCK = 64  # images that a thread reads in one task


class Picture(NamedTuple):
    """An image: its name, for messages, and a function that reads its file."""

    name: str
    content: Callable[[], bytes]


def pillow() -> Any:
    """The package PIL. InputError where it is missing."""
    needed = f"images need Pillow; {to_install('images')}"
    optional("PIL.ImageOps", needed)
    return optional("PIL", needed)


def picture(path: Path) -> Picture:
    """The image in the file ``path``."""
    return Picture(str(path), partial(read_file, path))


class Seen(NamedTuple):
    """An image as a network gets it."""

    digits: np.ndarray  # uint8 [digits, rows * columns]
    resized: str = ""  # what it was before, for a line to the user
    prepared: bool = False  # by ``ink.prepare``


def read_images(
    pictures: Sequence[Picture], shape: tuple[int, int], framing: Framing | None = None, *, invert: bool = False,
    light_border: bool | None = False, blank: bool = False, advised: bool = False, say: Say,
) -> list[Seen]:  # fmt: skip
    """The pictures as inputs of a model whose image_shape is ``shape``; several are read at the same time.

    For a model of drawings, with a ``framing``, ``ink.prepare`` finds, scales and centres the digits, in reading order,
    unless the image is framed so already. Without, images are only made grey and resized. ``invert`` exchanges black
    and white. ``light_border`` says whether the model's images have one (None: not known), ``blank`` whether an image
    may have one colour only. ``say`` is told what was done; if ``advised``, with the options of ``predict`` that help.
    InputError for the first file that is no image, or has no digit in it, with the number and names of the others.
    """
    pil = pillow()

    def seen(picture: Picture) -> Seen | InputError:
        try:
            return _seen(picture, shape, framing, pil, invert=invert, blank=blank, advised=advised)
        except InputError as error:
            return error

    with ThreadPoolExecutor(_THREADS) as team:  # Pillow and NumPy let go of Python's lock
        blocks = [pictures[start : start + _BLOCK] for start in range(0, len(pictures), _BLOCK)]
        results = [result for block in mapped(team, lambda block: list(map(seen, block)), blocks) for result in block]
    refused = [(one.name, result) for one, result in zip(pictures, results) if isinstance(result, InputError)]
    if refused:
        names = [name for name, _ in refused[1:]]
        which = ", ".join(names[:_LINES]) + ", ..." * (len(names) > _LINES)
        raise InputError(f"{refused[0][1]}" + (f"; {len(names):,} more cannot be read: {which}" if names else ""))
    found = [result for result in results if isinstance(result, Seen)]
    for line in _changes(pictures, found, shape, None if invert else light_border, advised):
        say(line)
    return found


def _seen(
    picture: Picture, shape: tuple[int, int], framing: Framing | None, pil: Any, *,
    invert: bool, blank: bool, advised: bool
) -> Seen:  # fmt: skip
    image, kind, transparent = _read(picture, pil)
    if invert:
        image = pil.ImageOps.invert(image)
    grey = image.convert("L")
    pixels = np.asarray(grey)
    if not blank and pixels.min() == pixels.max():
        advice = "; what is transparent is taken for paper" if transparent else ""
        raise InputError(f"{picture.name}: is blank, all its pixels are {pixels.min()}{advice}")
    if framing is not None and not (pixels.shape == shape and framing.fits(pixels)):
        try:
            digits = prepare(np.asarray(image), shape, framing.box, framing.busiest)
        except InputError as error:
            advice = " (--as-is takes the whole image)" if advised else ""
            raise InputError(f"{picture.name}: {error}{advice}") from None
        return Seen(digits.reshape(len(digits), -1), prepared=True)
    resized = "" if (*pixels.shape, kind) == (*shape, "L") else f"{image.width} x {image.height} {kind}"
    if pixels.shape != shape:
        pixels = np.asarray(grey.resize(shape[::-1], pil.Image.Resampling.BILINEAR))
    return Seen(pixels.reshape(1, -1), resized)


def _changes(
    pictures: Sequence[Picture], found: list[Seen], shape: tuple[int, int], light_border: bool | None, advised: bool
) -> Iterator[str]:
    """What was done to the images, and which have another border than the model's, in a line each."""
    names = [one.name for one in pictures]
    resized = [f"{name} ({result.resized})" for name, result in zip(names, found) if result.resized]
    if resized:
        which = resized[0] if len(resized) == 1 else f"{len(resized):,} images, such as {resized[0]},"
        yield f"{which} made grey and {shape[1]} x {shape[0]}"
    whole = [(name, result.digits.reshape(1, *shape)) for name, result in zip(names, found) if not result.prepared]
    lightness = [] if light_border is None else [(name, border_means(image)[0] > _LIGHT) for name, image in whole]
    if unlike := [name for name, light in lightness if light != light_border]:
        which = f"{unlike[0]} has" if len(unlike) == 1 else f"{len(unlike):,} images have"
        now, then = ("dark", "light ink on dark paper") if light_border else ("light", "dark ink on light paper")
        cure = f"; for {then} give --invert" if advised else ", unlike the images that the model was trained on"
        yield f"{which} a {now} border{cure}"
    prepared = [(name, len(result.digits)) for name, result in zip(names, found) if result.prepared]
    if len(prepared) > _LINES:
        prepared = [(f"{len(prepared):,} images", sum(count for _, count in prepared))]
    for name, count in prepared:
        options = " (--as-is takes the whole image, --show writes what is seen)" if advised else ""
        yield f"{name}: {count:,} digit{'s' * (count > 1)} found, scaled and centred as in training{options}"


def pixel_range(model: Model) -> tuple[float, float]:
    """(black, white) in the inputs that ``model`` was trained on: (0, 255), (0, 1), (-1, 1) or the like."""
    if model.ranges is None:  # a model of an earlier version
        typical = 1 / model.scale  # the root mean square of the training inputs
        if model.mean is not None and model.std is not None:
            typical = float(np.sqrt(np.mean(np.square(model.mean) + np.square(model.std))))
        return 0.0, 1.0 if typical <= 1 else 255.0
    black, white = float(model.ranges[0].min()), float(model.ranges[3].max())
    return (black, white) if black < 0 else (0.0, 1.0 if white <= 1 else max(white, 255.0))


def in_range(pixels: np.ndarray, model: Model) -> np.ndarray:
    """Pixels of 0 to 255, scaled to ``pixel_range`` of the model."""
    black, white = pixel_range(model)
    if (black, white) == (0, 255):
        return pixels
    return np.float32((white - black) / 255) * pixels + np.float32(black)


def probabilities(model: Model, seen: Seen) -> np.ndarray:
    """The probabilities [digits, classes] of an image. A prepared digit is read twice, as it is and ``straightened``:
    the mean makes a seventh fewer errors if the network knows MNIST's digits only."""
    P = model.predict_proba(in_range(seen.digits, model))
    if not seen.prepared:
        return P
    assert model.image_shape is not None
    again = straightened(seen.digits.reshape(-1, *model.image_shape)).reshape(seen.digits.shape)
    return (P + model.predict_proba(in_range(again, model))) / 2


def write_seen(place: Path, names: Sequence[str], seen: Sequence[Seen], shape: tuple[int, int]) -> None:
    """Write what the network sees: one image of all files if ``place`` ends in .png, else a directory with a PNG for
    each file. RunError when it cannot be written."""
    pil = pillow().Image
    strips = [np.hstack(list(one.digits.reshape(-1, *shape))) for one in seen]
    try:
        if place.suffix.lower() == ".png":
            widest = max(strip.shape[1] for strip in strips)
            sheet = np.vstack([np.pad(strip, ((0, 0), (0, widest - strip.shape[1]))) for strip in strips])
            written = {place: sheet}
        else:
            place.mkdir(parents=True, exist_ok=True)
            written = {}
            for stem, strip in zip((Path(name).stem for name in names), strips):
                target, number = place / f"{stem}.png", 1
                while target in written:  # files of one name in several directories
                    number += 1
                    target = place / f"{stem}-{number}.png"
                written[target] = strip
        for target, strip in written.items():
            with atomic_write(target) as file:
                pil.fromarray(strip).save(file, "PNG")
    except OSError as error:
        raise RunError(f"--show {place}: cannot be written ({error.strerror or error})") from None


def size_of(picture: Picture) -> tuple[int, int]:
    """(rows, columns) of an upright image by its header. InputError for a file that is no image."""
    pil = pillow()
    with _opened(picture, pil) as image:
        has_tag = image.format in ("JPEG", "MPO", "TIFF")  # of others Pillow decodes the pixels to look for it
        turned = has_tag and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return image.size if turned else image.size[::-1]


@contextlib.contextmanager
def _opened(picture: Picture, pil: Any) -> Iterator[Any]:
    """The image, decoded when its pixels are asked for. InputError for whatever goes wrong meanwhile."""
    content = io.BytesIO(picture.content())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are refused here
            with pil.Image.open(content, formats=_KINDS) as image:
                width, height = image.size
                if width * height > _MOST_PIXELS:
                    raise InputError(f"is {width} x {height} pixels; it must have at most {_MOST_PIXELS:,}")
                # The second image in a telephone's JPEG (MPO) is a brightness map.
                if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
                    raise InputError(f"holds {frames} images; it must hold one")
                yield image
    except InputError as error:
        raise InputError(f"{picture.name}: {error}") from None
    except Exception as error:  # Pillow raises a dozen kinds for damaged files
        reason = str(error).replace(repr(content), "").strip() or type(error).__name__
        raise InputError(f"{picture.name}: not a readable image ({reason})") from None


def _read(picture: Picture, pil: Any) -> tuple[Any, str, bool]:
    """(the image in mode RGB, upright; its mode in the file; whether parts of it may be transparent)."""
    with _opened(picture, pil) as image:
        return _opaque(pil.ImageOps.exif_transpose(image), pil), image.mode, _is_transparent(image)


def _is_transparent(image: Any) -> bool:
    return "A" in image.mode or "transparency" in image.info


def _opaque(image: Any, pil: Any) -> Any:
    """``image`` in mode RGB: on white, or on black where nothing could be seen on white; 16 bits cut to 8,
    of those that are used: 8, 12 or all."""
    if image.mode.startswith(("I", "F")):  # Pillow would clip at 255
        values = np.asarray(image)
        if values.dtype.kind == "f" or values.min() < 0 or values.max() > 0xFFFF:
            raise InputError("has pixels of 32 bits; they must have 8 or 16")
        unused = next(bits for bits in (8, 4, 0) if values.max() <= 0xFFFF >> bits)
        image = pil.Image.fromarray((values >> 8 - unused).astype(np.uint8))
    if _is_transparent(image):
        drawn = image.convert("RGBA")
        for paper in ("white", "black"):
            image = pil.Image.alpha_composite(pil.Image.new("RGBA", drawn.size, paper), drawn).convert("RGB")
            if any(low < high for low, high in image.getextrema()):
                break
    return image.convert("RGB")
