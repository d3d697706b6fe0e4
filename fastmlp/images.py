"""Photographs and drawings as a model's inputs: files that Pillow reads, prepared as the training images were."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .cli import optional
from .data.files import require_file
from .errors import InputError, RunError
from .ink import Framing, prepare
from .paths import atomic_write

if TYPE_CHECKING:
    from .model import Model

_NEEDED = "images need Pillow; pip install 'fastmlp[images]'"
_KINDS = (
    "PNG",
    "JPEG",
    "BMP",
    "GIF",
    "WEBP",
    "TIFF",
    "PPM",
)  # Pillow's others run further programs, or are not pictures
_MOST_PIXELS = 50_000_000  # of one image: no more is allocated, whatever its header says
_LIGHT = 127


def read_images(
    paths: Sequence[Path],
    shape: tuple[int, int],
    framing: Framing | None,
    *,
    invert: bool,
    as_is: bool,
    say: Callable[[str], None],
) -> list[np.ndarray]:
    """The pixels uint8 [digits, rows * columns], black 0, of each file, for a model whose image_shape is ``shape``.

    For a model of drawings, with a ``framing``, the digits are found, scaled and centred by ``ink.prepare``, several in
    reading order. What is framed so already is taken as it is; with ``as_is``, and for other models, all images are only made
    grey and resized. ``invert`` makes 255 of black. ``say`` takes a line for what was done. InputError for what is no image,
    or has no digit in it.
    """
    optional("PIL.ImageOps", _NEEDED)
    pil = optional("PIL", _NEEDED)
    found, resized, light, prepared = [], [], [], []
    for path in paths:
        image, kind, transparent = _read(path, pil)
        if invert:
            image = pil.ImageOps.invert(image)
        grey = np.asarray(image.convert("L"))
        if grey.min() == grey.max():
            advice = "; what is transparent is taken for white paper" if transparent else ""
            raise InputError(f"{path}: is blank, all its pixels are {grey.min()}{advice}")
        if framing is not None and not as_is and not (grey.shape == shape and framing.fits(grey)):
            digits = _prepared(path, np.asarray(image), shape, framing.box)
            prepared.append(f"{path}: {len(digits)} digit{'s' * (len(digits) > 1)}")
        else:
            if (*grey.shape, kind) != (*shape, "L"):
                resized.append(f"{path} ({image.width} x {image.height} {kind})")
            size = shape[::-1]
            digits = np.asarray(image.convert("L").resize(size, pil.Image.Resampling.BILINEAR)).reshape(1, *shape)
            if not invert and _border_mean(digits[0]) > _LIGHT:
                light.append(path)
        found.append(digits.reshape(len(digits), -1))
    if resized:
        which = resized[0] if len(resized) == 1 else f"{len(resized)} images"
        say(f"{which} made grey and {shape[1]} x {shape[0]}")
    if light:
        which = f"{light[0]} has" if len(light) == 1 else f"{len(light)} images have"
        say(f"{which} a light border; for dark ink on light paper give --invert")
    for line in prepared:
        say(
            f"{line} found, scaled and centred as in training (--as-is takes the whole image, --show writes what is seen)"
        )
    return found


def pixel_range(model: Model) -> tuple[float, float]:
    """What black and white are in the inputs that ``model`` was trained on: (0, 255), or for example (0, 1) or (-1, 1)."""
    if model.ranges is None:  # a model of an earlier version
        typical = 1 / model.scale  # the root mean square of the training inputs
        if model.mean is not None and model.std is not None:
            typical = float(np.sqrt(np.mean(np.square(model.mean) + np.square(model.std))))
        return 0.0, 1.0 if typical <= 1 else 255.0
    black, white = float(model.ranges[0].min()), float(model.ranges[3].max())
    return (black, white) if black < 0 else (0.0, 1.0 if white <= 1 else max(white, 255.0))


def _prepared(path: Path, picture: np.ndarray, shape: tuple[int, int], box: float) -> np.ndarray:
    try:
        return prepare(picture, shape, box)
    except InputError as error:
        raise InputError(f"{path}: {error} (--as-is takes the whole image)") from None


def write_seen(place: Path, paths: Sequence[Path], seen: Sequence[np.ndarray], shape: tuple[int, int]) -> None:
    """What the network sees of each file, its digits side by side: ``place``.png of all below one another, or else a
    directory of a PNG for each. RunError when it cannot be written."""
    pil = optional("PIL.Image", _NEEDED)
    strips = [np.hstack(list(digits.reshape(-1, *shape))) for digits in seen]
    try:
        if place.suffix.lower() == ".png":
            widest = max(strip.shape[1] for strip in strips)
            sheet = np.vstack([np.pad(strip, ((0, 0), (0, widest - strip.shape[1]))) for strip in strips])
            written = {place: sheet}
        else:
            place.mkdir(parents=True, exist_ok=True)
            written = {}
            for path, strip in zip(paths, strips):
                target, number = place / f"{path.stem}.png", 1
                while target in written:  # the same name in another directory
                    number += 1
                    target = place / f"{path.stem}-{number}.png"
                written[target] = strip
        for target, strip in written.items():
            with atomic_write(target) as file:
                pil.fromarray(strip).save(file, "PNG")
    except OSError as error:
        raise RunError(f"--show {place}: cannot be written ({error.strerror or error})") from None


def _border_mean(pixels: np.ndarray) -> float:
    return float(np.concatenate((pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1])).mean())


def _read(path: Path, pil: Any) -> tuple[Any, str, bool]:
    """(the image in mode RGB, upright; its mode in the file; whether parts of it may be transparent)."""
    require_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a size that is refused here
            with pil.Image.open(path, formats=_KINDS) as image:
                width, height = image.size
                if width * height > _MOST_PIXELS:
                    raise InputError(f"{path}: is {width} x {height} pixels; it must have at most {_MOST_PIXELS:,}")
                # The second image of a telephone's JPEG is a map for bright screens.
                if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
                    raise InputError(f"{path}: holds {frames} images; it must hold one")
                return _opaque(pil.ImageOps.exif_transpose(image), pil, path), image.mode, _is_transparent(image)
    except InputError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds for damaged files
        reason = str(error) or type(error).__name__
        raise InputError(f"{path}: not a readable image ({reason})") from None


def _is_transparent(image: Any) -> bool:
    return "A" in image.mode or "transparency" in image.info


def _opaque(image: Any, pil: Any, path: Path) -> Any:
    """``image`` in mode RGB: what is transparent as on white paper, 16 bits cut to 8."""
    if image.mode.startswith(("I", "F")):  # Pillow's own conversion makes 255 of all that is above
        values = np.asarray(image)
        if values.dtype.kind == "f" or values.min() < 0 or values.max() > 0xFFFF:
            raise InputError(f"{path}: has pixels of 32 bits; they must have 8 or 16")
        image = pil.Image.fromarray((values >> 8).astype(np.uint8))
    if _is_transparent(image):
        paper = pil.Image.new("RGBA", image.size, "white")
        image = pil.Image.alpha_composite(paper, image.convert("RGBA"))
    return image.convert("RGB")
