"""Photographs and drawings as a model's inputs, made grey and of the model's size. Needs Pillow."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .cli import optional
from .data.files import require_file
from .errors import InputError

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
    paths: Sequence[Path], shape: tuple[int, int], *, invert: bool, say: Callable[[str], None]
) -> np.ndarray:
    """Pixels uint8 [N, rows * columns] of image files, black 0, for a model whose image_shape is ``shape``.

    ``invert`` makes 255 of black, for dark ink on light paper. ``say`` takes one line when images were changed to fit, and
    one when a light border suggests that ``invert`` is missing. InputError for files that are no images, or blank ones.
    """
    optional("PIL.ImageOps", _NEEDED)
    pil = optional("PIL", _NEEDED)
    rows, columns = shape
    X, changed, light = np.empty((len(paths), rows * columns), np.uint8), [], []
    for path, out in zip(paths, X):
        grey, (width, height, mode), transparent = _read(path, pil)
        if (width, height, mode) != (columns, rows, "L"):
            changed.append(f"{path} ({width} x {height} {mode})")
        if grey.size != (columns, rows):
            grey = grey.resize((columns, rows), pil.Image.Resampling.BILINEAR)
        pixels = np.asarray(grey)
        if pixels.min() == pixels.max():
            advice = "; what is transparent is taken for white paper" if transparent else ""
            raise InputError(f"{path}: is blank, all its pixels are {pixels.min()}{advice}")
        if not invert and _border_mean(pixels) > _LIGHT:
            light.append(path)
        out[...] = (255 - pixels if invert else pixels).reshape(-1)
    if changed:
        which = changed[0] if len(changed) == 1 else f"{len(changed)} images"
        say(f"{which} made grey and {columns} x {rows}")
    if light:
        which = f"{light[0]} has" if len(light) == 1 else f"{len(light)} images have"
        say(f"{which} a light border; for dark ink on light paper give --invert")
    return X


def _border_mean(pixels: np.ndarray) -> float:
    return float(np.concatenate((pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1])).mean())


def _read(path: Path, pil: Any) -> tuple[Any, tuple[int, int, str], bool]:
    """(the image in mode L; its width, height and mode in the file; whether parts of it may be transparent)."""
    require_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a size that is refused here
            with pil.Image.open(path, formats=_KINDS) as image:
                width, height = image.size
                if width * height > _MOST_PIXELS:
                    raise InputError(f"{path}: is {width} x {height} pixels; it must have at most {_MOST_PIXELS:,}")
                if (frames := getattr(image, "n_frames", 1)) > 1:
                    raise InputError(f"{path}: holds {frames} images; it must hold one")
                grey = _grey(pil.ImageOps.exif_transpose(image), pil, path)
                return grey, (width, height, image.mode), _is_transparent(image)
    except InputError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds for damaged files
        reason = str(error) or type(error).__name__
        raise InputError(f"{path}: not a readable image ({reason})") from None


def _is_transparent(image: Any) -> bool:
    return "A" in image.mode or "transparency" in image.info


def _grey(image: Any, pil: Any, path: Path) -> Any:
    """``image`` in mode L: what is transparent as on white paper, 16 bits cut to 8."""
    if image.mode.startswith(("I", "F")):  # Pillow's own conversion makes 255 of all that is above
        values = np.asarray(image)
        if values.dtype.kind == "f" or values.min() < 0 or values.max() > 0xFFFF:
            raise InputError(f"{path}: has pixels of 32 bits; they must have 8 or 16")
        return pil.Image.fromarray((values >> 8).astype(np.uint8))
    if _is_transparent(image):
        paper = pil.Image.new("RGBA", image.size, "white")
        image = pil.Image.alpha_composite(paper, image.convert("RGBA"))
    return image.convert("L")
