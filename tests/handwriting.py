"""Digits as people have them: pictures in many styles, drawn from MNIST's test digits or from strokes of a pen.

``python tests/handwriting.py runs/mnist data/mnist --seed 777`` prints a table of styles: what a model reads of each.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from fastmlp.data.synthetic import _STROKES, _template

Rng = np.random.Generator


# -- glyphs: how much ink there is, float [h, w] from 0 to 1, cropped
# ----------------------------------------------------


def cropped(alpha: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero((alpha > 0.1).any(1)), np.flatnonzero((alpha > 0.1).any(0))
    return alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def from_pixels(pixels: np.ndarray, height: int) -> np.ndarray:
    """A small picture of a digit, light on black, as smooth strokes ``height`` high."""
    k = max(1, round(4 * height / 20))
    large = Image.fromarray(np.pad(pixels, 2)).resize([(side + 4) * k for side in pixels.shape[::-1]], Image.BICUBIC)
    large = large.filter(ImageFilter.GaussianBlur(k / 3))
    sharp = cropped(np.clip((np.asarray(large) / 255.0 - 0.5) * 4 + 0.5, 0, 1))
    scale = height / max(sharp.shape)
    size = [max(2, round(side * scale)) for side in sharp.shape[::-1]]
    return np.asarray(Image.fromarray(np.uint8(255 * sharp)).resize(size, Image.LANCZOS)) / 255.0


def from_strokes(digit: int, height: int, stroke: float, slant: float, rng: Rng) -> np.ndarray:
    """A digit written with a round pen: ``stroke`` wide as a share of the height."""
    ways = _STROKES[digit]
    control, weights = _template(ways[rng.integers(len(ways))])
    dots = weights @ (control + rng.normal(0, 0.018, control.shape)) - 0.5
    dots = np.stack((dots[:, 0] * rng.uniform(0.75, 1.05) - slant * dots[:, 1], dots[:, 1]), 1)
    fine = 3  # times as large, made smaller for smooth edges
    side = int(height * fine * 2.4)
    picture = Image.new("L", (side, side))
    draw = ImageDraw.Draw(picture)
    points = [tuple(p) for p in dots * height * fine * 1.2 + side / 2]
    radius = max(0.7 * fine, stroke * height * fine / 2)
    for a, b in zip(points, points[1:]):
        if np.hypot(b[0] - a[0], b[1] - a[1]) < 0.2 * height * fine:  # else the pen was lifted
            draw.line((*a, *b), 255, round(2 * radius))
    for x, y in points:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
    glyph = cropped(np.asarray(picture.resize((side // fine, side // fine), Image.BOX)) / 255.0)
    return glyph


def with_stroke(glyph: np.ndarray, change: float) -> np.ndarray:
    """``glyph`` with strokes wider (or narrower) by that share of its height."""
    pixels = round(abs(change) * max(glyph.shape))
    padded = Image.fromarray(np.uint8(255 * np.pad(glyph, pixels + 2)))
    for _ in range(pixels // 2):
        changed = padded.filter((ImageFilter.MaxFilter if change > 0 else ImageFilter.MinFilter)(3))
        if (
            change < 0
            and (np.asarray(changed.resize((28, 28), Image.BOX)) > 20).sum()
            < 0.8 * (np.asarray(padded.resize((28, 28), Image.BOX)) > 20).sum()
        ):
            break  # a stroke would be broken
        padded = changed
    changed = np.asarray(padded.filter(ImageFilter.GaussianBlur(0.6))) / 255.0
    return cropped(changed) if (changed > 0.5).sum() > 20 else glyph


def slanted(glyph: np.ndarray, slant: float) -> np.ndarray:
    h = len(glyph)
    room = int(abs(slant) * h) + 1
    source = Image.fromarray(np.uint8(255 * np.pad(glyph, ((0, 0), (room, room)))))
    moved = source.transform(source.size, Image.AFFINE, (1, slant, -slant * h / 2, 0, 1, 0), Image.BICUBIC)
    return cropped(np.asarray(moved) / 255.0)


@dataclass(frozen=True)
class Look:
    """How a picture is made. Sizes in pixels, shares of the glyph's height."""

    glyph: tuple[int, int] = (90, 160)
    stroke: tuple[float, float] = (0.07, 0.12)  # of strokes
    change: tuple[float, float] = (0.0, 0.0)  # of MNIST's strokes
    slant: tuple[float, float] = (-0.08, 0.2)
    margin: tuple[float, float] = (0.25, 0.7)
    ink: tuple[int, int] = (10, 60)
    paper: tuple[int, int] = (225, 255)
    finish: Callable[[np.ndarray, Rng], np.ndarray] = lambda picture, rng: picture
    before: Callable[[np.ndarray, Rng], np.ndarray] = lambda picture, rng: picture
    colour: Callable[[Rng], tuple[np.ndarray, np.ndarray]] | None = None
    save: Callable[[np.ndarray, np.ndarray, Path, Rng], Path] | None = None


def plain_png(picture: np.ndarray, alpha: np.ndarray, path: Path, rng: Rng) -> Path:
    Image.fromarray(np.uint8(np.clip(picture, 0, 255))).save(path.with_suffix(".png"))
    return path.with_suffix(".png")


def jpeg(low: int, high: int) -> Any:
    def save(picture: np.ndarray, alpha: np.ndarray, path: Path, rng: Rng) -> Path:
        image = Image.fromarray(np.uint8(np.clip(picture, 0, 255)))
        image.save(path.with_suffix(".jpg"), quality=int(rng.integers(low, high)))
        return path.with_suffix(".jpg")

    return save


def transparent(picture: np.ndarray, alpha: np.ndarray, path: Path, rng: Rng) -> Path:
    ink = rng.integers(0, 110, 3)
    rgba = np.concatenate((np.broadcast_to(ink, (*alpha.shape, 3)), 255 * alpha[..., None]), 2)
    Image.fromarray(np.uint8(rgba)).save(path.with_suffix(".png"))
    return path.with_suffix(".png")


def exif(picture: np.ndarray, alpha: np.ndarray, path: Path, rng: Rng) -> Path:
    orientation = int(rng.choice([3, 6, 8]))
    image = Image.fromarray(np.uint8(np.clip(picture, 0, 255)))
    turned = image.transpose({3: Image.ROTATE_180, 6: Image.ROTATE_90, 8: Image.ROTATE_270}[orientation])
    tag = Image.Exif()
    tag[0x0112] = orientation
    turned.save(path.with_suffix(".jpg"), exif=tag, quality=90)
    return path.with_suffix(".jpg")


def black_28(picture: np.ndarray, alpha: np.ndarray, path: Path, rng: Rng) -> Path:
    """28 x 28, light on black, the digit anywhere."""
    side = rng.integers(14, 22)
    small = Image.fromarray(np.uint8(255 * cropped(alpha)))
    scale = side / max(small.size)
    small = np.asarray(small.resize([max(1, round(s * scale)) for s in small.size], Image.BOX))
    out = np.zeros((28, 28), np.uint8)
    y, x = (rng.choice([0, 28 - s]) for s in small.shape)
    out[y : y + small.shape[0], x : x + small.shape[1]] = small
    Image.fromarray(out).save(path.with_suffix(".png"))
    return path.with_suffix(".png")


def noisy(low: float, high: float) -> Any:
    return lambda picture, rng: picture + rng.normal(0, rng.uniform(low, high), picture.shape)


def lines(squares: bool, dark: tuple[int, int] = (150, 215)) -> Any:
    def rule(picture: np.ndarray, rng: Rng) -> np.ndarray:
        h, w, _ = picture.shape
        image = Image.fromarray(np.uint8(picture))
        draw = ImageDraw.Draw(image)
        level = int(rng.integers(*dark))
        colour = (level - 20, level, 235) if rng.random() < 0.7 else (level, level, level)
        step = int(rng.uniform(0.15, 0.7) * h) if not squares else int(rng.uniform(0.08, 0.3) * h)
        step = max(8, step)
        wide = max(1, round(h / rng.uniform(120, 250)))
        for y in range(int(rng.integers(step)), h, step):
            draw.line((0, y, w, y), colour, wide)
        for x in range(int(rng.integers(step)), w, step) if squares else ():
            draw.line((x, 0, x, h), colour, wide)
        return np.asarray(image).astype(float)

    return rule


def shadow(picture: np.ndarray, rng: Rng, deep: tuple[float, float] = (0.45, 0.8)) -> np.ndarray:
    """A gradient of light, and a shadow with a soft edge across the picture."""
    h, w, _ = picture.shape
    y, x = np.mgrid[:h, :w]
    angle, turn = rng.uniform(0, 2 * np.pi, 2)
    along = (np.cos(angle) * (x / w - 0.5) + np.sin(angle) * (y / h - 0.5)) * 1.4
    light = 1 - rng.uniform(0.1, 0.45) * (along + 0.5).clip(0, 1)
    edge = np.cos(turn) * (x - w / 2) + np.sin(turn) * (y - h / 2) + rng.uniform(-0.3, 0.3) * min(h, w)
    soft = rng.uniform(0.01, 0.12) * max(h, w)
    light = light * (1 - (1 - rng.uniform(*deep)) / (1 + np.exp(np.clip(-edge / soft, -50, 50))))
    return picture * light[..., None]


def perspective(picture: np.ndarray, rng: Rng) -> np.ndarray:
    h, w, _ = picture.shape
    fill = tuple(int(v) for v in np.median(picture, (0, 1)))
    corners = np.array([(0, 0), (w, 0), (w, h), (0, h)]) + rng.uniform(-0.07, 0.07, (4, 2)) * (w, h)
    rows = []
    for (x, y), (u, v) in zip([(0, 0), (w, 0), (w, h), (0, h)], corners):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    coefficients = np.linalg.lstsq(np.array(rows), corners.ravel(), rcond=None)[0]
    image = Image.fromarray(np.uint8(np.clip(picture, 0, 255)))
    return np.asarray(image.transform((w, h), Image.PERSPECTIVE, coefficients, Image.BICUBIC, fillcolor=fill)).astype(
        float
    )


def photograph(picture: np.ndarray, rng: Rng) -> np.ndarray:
    picture = shadow(perspective(picture, rng), rng)
    image = Image.fromarray(np.uint8(np.clip(picture, 0, 255))).filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.5)))
    tint = np.array([1, rng.uniform(0.92, 1), rng.uniform(0.8, 1)])
    return np.asarray(image) * tint + rng.normal(0, rng.uniform(3, 11), picture.shape)


def on_a_table(picture: np.ndarray, rng: Rng) -> np.ndarray:
    """A sheet of paper photographed with the dark table around it."""
    h, w, _ = picture.shape
    around = [int(rng.uniform(0.2, 0.5) * max(h, w)) for _ in range(4)]
    table = np.ones((h + around[0] + around[1], w + around[2] + around[3], 3)) * rng.uniform(30, 130, 3)
    table[around[0] : around[0] + h, around[2] : around[2] + w] = picture
    return photograph(table, rng)


def pencil(picture: np.ndarray, rng: Rng) -> np.ndarray:
    grain = rng.normal(1, 0.2, picture.shape[:2])[..., None].clip(0.5, 1.5)
    paper = np.median(picture, (0, 1))
    return paper + (picture - paper) * grain


def dirty(picture: np.ndarray, rng: Rng) -> np.ndarray:
    image = Image.fromarray(np.uint8(picture))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(5, 25))):
        x, y, r = rng.integers(image.width), rng.integers(image.height), rng.uniform(0.5, 2.2)
        level = int(rng.integers(30, 160))
        draw.ellipse((x - r, y - r, x + r, y + r), (level, level, level))
    return np.asarray(image).astype(float)


def bright(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    inks = [
        (220, 30, 30), (20, 120, 40), (30, 60, 220), (240, 130, 0), (240, 210, 0), (200, 0, 200),
        (0, 160, 200), (255, 120, 160),
    ]  # fmt: skip
    papers = [(255, 255, 255), (250, 245, 225), (225, 240, 250)]
    return np.array(inks[rng.integers(len(inks))], float), np.array(papers[rng.integers(len(papers))], float)


def blue_pen(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    return rng.uniform((0, 10, 90), (50, 70, 190)), np.full(3, rng.uniform(235, 255))


def light_on_dark(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    return np.full(3, rng.uniform(200, 255)), rng.uniform(0, 80, 3)


def faint(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    return np.full(3, rng.uniform(110, 170)), np.full(3, rng.uniform(225, 255))


def dim(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    return np.full(3, rng.uniform(20, 40)), np.full(3, rng.uniform(80, 120))


STYLES: dict[str, Look] = {
    "pen": Look(colour=blue_pen),
    "felt tip": Look(stroke=(0.14, 0.2), change=(0.03, 0.07)),
    "thick": Look(stroke=(0.19, 0.25), change=(0.07, 0.11)),
    "thin": Look(stroke=(0.015, 0.03), change=(-0.06, -0.03), glyph=(120, 300)),
    "slanted": Look(slant=(-0.3, 0.45)),
    "off-centre": Look(margin=(0.02, 3.0)),
    "huge canvas": Look(margin=(3, 9), glyph=(100, 220)),
    "tiny": Look(glyph=(10, 18), stroke=(0.1, 0.13), margin=(0.1, 0.5)),
    "coloured": Look(colour=bright),
    "lined": Look(before=lines(False), colour=blue_pen),
    "squared": Look(before=lines(True)),
    "photo": Look(finish=photograph, save=jpeg(60, 92), glyph=(100, 300)),
    "photo of lines": Look(
        before=lines(False), finish=photograph, save=jpeg(60, 92), glyph=(100, 300), margin=(0.5, 1.5)
    ),
    "photo of squares": Look(
        before=lines(True), finish=photograph, save=jpeg(60, 92), glyph=(100, 300), margin=(0.5, 1.5)
    ),
    "table": Look(finish=on_a_table, save=jpeg(60, 92), glyph=(100, 300), margin=(1, 2)),
    "shadow": Look(finish=shadow, save=jpeg(70, 95)),
    "noise": Look(finish=noisy(10, 30)),
    "jpeg": Look(save=jpeg(3, 15)),
    "transparent": Look(save=transparent),
    "exif": Look(save=exif),
    "light on dark": Look(colour=light_on_dark),
    "chalk": Look(colour=light_on_dark, finish=lambda p, rng: photograph(pencil(p, rng), rng), save=jpeg(60, 90)),
    "pencil": Look(colour=faint, finish=pencil, stroke=(0.03, 0.05), change=(-0.06, -0.02)),
    "dim": Look(colour=dim, finish=noisy(3, 8)),
    "dirty": Look(finish=dirty),
    "tight": Look(margin=(0.0, 0.001)),
    "black 28": Look(save=black_28),
}  # fmt: skip


def glyph_of(digit: int, pixels: np.ndarray | None, look: Look, rng: Rng) -> np.ndarray:
    height, slant = int(rng.integers(*look.glyph)), rng.uniform(*look.slant)
    if pixels is None:
        return from_strokes(digit, height, rng.uniform(*look.stroke), slant, rng)
    glyph = with_stroke(from_pixels(pixels, height), rng.uniform(*look.change))
    return slanted(glyph, slant) if look.slant != Look.slant else glyph


def compose(
    glyphs: list[np.ndarray], look: Look, rng: Rng, gap: tuple[float, float] = (0.08, 0.35)
) -> tuple[np.ndarray, np.ndarray]:
    """(picture [h, w, 3], alpha [h, w]) of glyphs in a row."""
    tall = max(glyph.shape[0] for glyph in glyphs)
    steps = [round(rng.uniform(*gap) * tall) for _ in glyphs[1:]]
    wide = sum(glyph.shape[1] for glyph in glyphs) + sum(steps)
    top, bottom, left, right = (int(rng.uniform(*look.margin) * tall) for _ in range(4))
    drift = round(0.12 * tall) if len(glyphs) > 1 else 0
    alpha = np.zeros((tall + 2 * drift + top + bottom, wide + left + right))
    x = left
    for glyph, step in zip(glyphs, [*steps, 0]):
        y = top + drift + (tall - glyph.shape[0]) // 2 + int(rng.integers(-drift, drift + 1))
        part = alpha[y : y + glyph.shape[0], x : x + glyph.shape[1]]
        np.maximum(part, glyph, out=part)
        x += glyph.shape[1] + step
    ink, paper = (
        look.colour or (lambda rng: (np.full(3, rng.uniform(*look.ink)), np.full(3, rng.uniform(*look.paper))))
    )(rng)
    ground = look.before(np.broadcast_to(paper, (*alpha.shape, 3)).copy(), rng)
    return look.finish(ground * (1 - alpha[..., None]) + ink * alpha[..., None], rng), alpha


def write(path: Path, digits: list[int], pixels: list[np.ndarray | None], style: str, rng: Rng, **how: Any) -> Path:
    look = STYLES[style]
    glyphs = [glyph_of(d, p, look, rng) for d, p in zip(digits, pixels)]
    if len(glyphs) > 1:  # one hand writes digits of about one size
        tall = int(rng.integers(*look.glyph))
        look = replace(look, glyph=(int(0.85 * tall), int(1.1 * tall) + 1))
        glyphs = [glyph_of(d, p, look, rng) for d, p in zip(digits, pixels)]
    picture, alpha = compose(glyphs, look, rng, **how)
    return (look.save or plain_png)(picture, alpha, path, rng)


def reading(model: Any, path: Path) -> Any:
    """The classes that ``model`` reads from an image, or why it reads none."""
    from fastmlp.errors import InputError
    from fastmlp.images.prepare import picture, probabilities, read_images

    try:
        (seen,) = read_images([picture(path)], model.image_shape, model.framing, say=lambda line: None)
    except InputError as error:
        return str(error)
    return probabilities(model, seen).argmax(1).tolist()


def styled(
    model: Any, mnist: Any, folder: Path, style: str, count: int, source: str, digits: tuple[int, int] = (1, 1),
    seed: int = 7, **how: Any,
) -> tuple[float, float, list[Any]]:  # fmt: skip
    """The share of ``count`` pictures of so many digits that is read right, the share of which the model reads MNIST's
    own images right, and the wrong ones. ``source`` says of what they are drawn: "mnist" or "strokes"."""
    rng = np.random.default_rng([seed, list(STYLES).index(style)])
    own, wrong = 0, []
    for k in range(count):
        rows = rng.integers(len(mnist.X_test), size=int(rng.integers(digits[0], digits[1] + 1)))
        wanted = mnist.y_test[rows].tolist()
        own += model.predict(mnist.X_test[rows]).tolist() == wanted
        pixels = [mnist.X_test[row].reshape(28, 28) if source == "mnist" else None for row in rows]
        found = reading(model, write(folder / f"{k}", wanted, pixels, style, rng, **how))
        if found != wanted:
            wrong.append((k, wanted, found))
    return 1 - len(wrong) / count, own / count, wrong


def on_paper(digits: list[int], rng: Rng) -> np.ndarray:
    """A picture uint8 [h, w, 3] of digits in a row, written with a round pen, black on white."""
    look = Look(ink=(0, 1), paper=(255, 256))
    picture, _ = compose([from_strokes(digit, 120, 0.09, 0.05, rng) for digit in digits], look, rng)
    return np.uint8(np.clip(picture, 0, 255))


def pen_strokes(digit: int, rng: Rng) -> list[np.ndarray]:
    """The strokes [points, 2] in the unit square that write a digit."""
    ways = _STROKES[digit]
    found = []
    for stroke in ways[rng.integers(len(ways))]:
        control, weights = _template([stroke])
        dots = weights @ (control + rng.normal(0, 0.012, control.shape))
        found.append(dots[np.linspace(0, len(dots) - 1, max(2, len(dots) // 10)).astype(int)])
    return found


def main() -> None:
    made = argparse.ArgumentParser(description="A table of what a model reads of each style, in percent.")
    made.add_argument("model")
    made.add_argument("data", help="MNIST's directory")
    made.add_argument("--seed", type=int, default=777)
    made.add_argument("--count", type=int, default=20, help="pictures of each kind and style")
    made.add_argument("--style", choices=STYLES, action="append")
    options = made.parse_args()
    import fastmlp

    model, mnist = fastmlp.load_model(options.model), fastmlp.load(options.data)
    kinds = [(digits, source) for digits in ((1, 1), (2, 6)) for source in ("strokes", "mnist")]
    print("percent read right, one digit and 2 to 6 in a row; (of the same digits in MNIST's own images)")
    print(f"{'':18s} strokes          mnist  strokes, row     mnist, row")
    with tempfile.TemporaryDirectory() as folder:
        for style in options.style or STYLES:
            line = f"{style:18s}"
            for digits, source in kinds:
                if style == "black 28" and digits[1] > 1:
                    continue  # no row fits in 28 x 28
                share, own, _ = styled(model, mnist, Path(folder), style, options.count, source, digits, options.seed)
                line += f"{100 * share:8.1f}" if source == "strokes" else f"{100 * share:7.1f} ({100 * own:5.1f})"
            print(line, flush=True)


if __name__ == "__main__":
    main()
