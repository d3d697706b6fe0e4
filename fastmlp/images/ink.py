"""From a photograph or drawing to digits as MNIST has them: light on black, of one size, the centre of mass in the middle.

The steps are those of MNIST (LeCun, Bottou, Bengio, Haffner 1998: scaled to fit 20 x 20 with their aspect kept, anti-aliased,
the centre of mass in the middle of 28 x 28) behind those that a scanner made needless there: which way round ink and paper
are, shadows, ruled lines, dirt, how thick the pen was, where one digit ends. page.html has the same steps in JavaScript,
function by function under the same names, and a test holds the two within one grey level: hence no library's resampling.

h, w: rows and columns of a picture. Pictures are [h, w, 3] from 0 to 255, contrasts float64 [h, w] from 0 to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError

Box = tuple[int, int, int, int]  # top, left, bottom, right

LOOK = 360  # pixels of the shorter side: strokes as thin as a fiftieth of a digit's height are whole there
GLOW = 60  # grey levels: of what is much darker the noise would pass for ink
INK = 0.45  # of the full contrast: what is less is paper. Ruled lines have up to 0.35 of a pen's, pencil varies by a half.
ISLAND = 0.3  # contrast of a sheet of paper with the table
FILLED = 0.68  # of the box around a sheet of paper, at a slant, is paper; of that around the thickest digits two thirds
EVEN = 1.25  # times as light two pixels further: paper to table has 1.4 and more, soft shadows have less
NOISE = 5.5  # times the distance of the quantiles 0.05 and 0.25; the tenth largest of 100,000 normal numbers is at 4.5
LEAST = 0.08  # contrast of ink in the whole picture, where thin strokes fade
CLEAR = 0.25  # and close by: soft pencil has 0.35, most shadows have less
SMALLEST = 8  # pixels: the height of a digit; what noise leaves is smaller
CLOSE = 60  # pixels across: larger pictures cut as close are few, and their sides tell patterns and shadows from digits
SAME = 4  # grey levels: what is drawn on a computer, not photographed, differs by less
DUST = 10  # pixels: a digit 10 pixels high has more of full contrast, a hot pixel or a grain of dust has fewer
SIDE = 0.8  # of a side of the picture
FULL, SHARP = (
    0.8,
    0.4,
)  # of the contrast; of a part: of digits that touch a side 0.42 and more has it, of shadows up to 0.38
FAINT = 0.04  # a row of that contrast is ruled
LEAN = 0.3  # rows a column: ruled paper lies straighter than that
EDGE = 0.25  # of a picture's width: what remains of a ruled line in a corner is that short
PALE = 0.6  # of the ink's contrast; a lone line that is darker, at a slant, may be a digit
MANY = 0.5  # of a digit's longer side: so busy may any drawing be
THIN, THICK = 0.115, 0.17  # of a digit's longer side: of MNIST's strokes six of ten are within these
FINE = 0.085  # one of ten is less: strokes of a scribble that are no wider stay apart
BLOT = 0.45  # of a digit's longer side: the square in a disc has 0.7; MNIST's thickest strokes, 1 in 10,000, have 0.37
FLAT = 3  # times as wide as high; of MNIST's digits the widest are 2.1 times
HAIR = 2.0  # pixels: of a stroke that is one pixel wide 1.3 are measured
ENTRIES = 4  # places of the border: digits cut out tightly touch it at 2, squared paper at a slant at 5 and more
MOST = 20  # digits in a picture; a page of writing or a face has more parts
ALONG = 0.7  # of each side of its box a frame follows, with corners as round as a third of it; MNIST's 0 follows 0.6
RIGHT = 0.11  # columns a row: so far to the right most hands lean, as MNIST's digits do on average


# -- how the images of a training set are framed --------------------------------------------------------------------


@dataclass(frozen=True)
class Framing:
    """Images of light ink on black, scaled to a longer side of ``box`` pixels, ``most`` at the most, whose centre of mass is
    at most ``off_centre`` pixels from the middle, which is at index rows / 2, columns / 2: of MNIST 20, 20 and 1. What is
    ``busier`` (see there) than ``busiest`` is a scribble, if that is known: of MNIST 18."""

    box: float
    most: float
    off_centre: float
    busiest: float | None = None

    def checked(self, shape: tuple[int, int]) -> Framing:
        """As it is. ValueError where it cannot be that of images of ``shape``."""
        values = (float(self.box), float(self.most), float(self.off_centre))
        busiest = None if self.busiest is None else float(self.busiest)
        if not (0 < values[0] <= values[1] <= max(shape) and 0 <= values[2] <= max(shape)) or not (
            busiest is None or busiest > 0
        ):
            raise ValueError("framing")
        return Framing(*values, busiest)

    def fits(self, image: np.ndarray) -> bool:
        """Whether ``image`` [rows, columns] is framed so already."""
        found = placed(image[None])
        return bool(len(found) and found[0, 0] <= self.most and found[0, 1] <= self.off_centre)


def placed(images: np.ndarray) -> np.ndarray:
    """(longer side of the ink, distance of its centre of mass from the middle) of each of ``images`` that is not black."""
    images = images[images.max((1, 2)) > 0].astype(np.float64)
    ink = images / images.max((1, 2), keepdims=True) >= FAINT
    sides, distances = [], []
    for axis in (1, 2):
        mass, there = images.sum(axis), ink.any(axis)
        sides.append(there.shape[1] - there.argmax(1) - there[:, ::-1].argmax(1))
        distances.append(np.abs(mass @ np.arange(mass.shape[1]) / mass.sum(1) - mass.shape[1] // 2))
    return np.stack([np.max(sides, 0), np.max(distances, 0)], 1)


def framing_of(X: Any, shape: tuple[int, int] | None) -> Framing | None:
    """How the images X [N, rows * columns] are framed: None unless all are drawings on black, away from the border, with the
    centre of mass in the middle. A thousand of them are looked at."""
    if shape is None or hasattr(X, "indptr") or min(shape) < 8:
        return None
    images = np.asarray(X[:: -(-len(X) // 1000)]).reshape(-1, *shape)
    found = placed(images) if images.min() == 0 else np.empty((0, 2))
    if not len(found):
        return None
    box, (most, off_centre) = float(np.median(found[:, 0])), found.max(0).tolist()
    if box > 0.9 * max(shape) or off_centre > 0.2 * min(shape):
        return None
    scale = 255 / images.max()
    return Framing(box, most, off_centre + 0.5, max(1.5 * int(busyness(scale * images).max()), MANY * box))


def busyness(seen: np.ndarray) -> np.ndarray:
    """How often the rows of images [..., rows, columns], from 0 to 255, are crossed by strokes beyond twice, and the columns
    beyond thrice: integers [...].

    A digit's are so now and then: of 30,000 of MNIST's the most is 14, 12 of a thousand. A zigzag has 25, a grid 45.
    """
    mask = seen >= 128
    rows = (mask[..., 1:] & ~mask[..., :-1]).sum(-1) + mask[..., 0]
    columns = (mask[..., 1:, :] & ~mask[..., :-1, :]).sum(-2) + mask[..., 0, :]
    return np.maximum(rows - 2, 0).sum(-1) + np.maximum(columns - 3, 0).sum(-1)


def has_light_border(X: Any, shape: tuple[int, int] | None) -> bool:
    """Whether most of the images X [N, rows * columns] have a border above the middle of their values. A thousand of them
    are looked at."""
    if shape is None or hasattr(X, "indptr"):
        return False
    images = np.asarray(X[:: -(-len(X) // 1000)]).reshape(-1, *shape)
    middle = (float(images.min()) + float(images.max())) / 2
    return bool(np.median(border_means(images)) > middle)


def border_value(X: Any, shape: tuple[int, int]) -> int:
    """The median pixel at the sides of the images X [N, rows * columns], of a thousand of them: the ground that they are on."""
    images = np.asarray(X[:: -(-len(X) // 1000)]).reshape(-1, *shape)
    return int(np.median(images[:, ~_inside(shape)]))


def _inside(shape: tuple[int, ...]) -> np.ndarray:
    """Where an image's pixels are not at its sides."""
    inside = np.zeros(shape, bool)
    inside[1:-1, 1:-1] = True
    return inside


def border_means(images: np.ndarray) -> np.ndarray:
    """The mean of the pixels at the sides of each of ``images`` [N, rows, columns]."""
    return images[:, ~_inside(images.shape[1:])].mean(1, dtype=np.float64)


# -- the preparation -----------------------------------------------------------------------------------------------


def prepare(picture: np.ndarray, shape: tuple[int, int], box: float, busiest: float | None = None) -> np.ndarray:
    """The digits of ``picture`` [h, w, 3] in reading order: uint8 [digits, rows, columns], black 0.

    Each is scaled so that its longer side is ``box`` pixels. InputError says why there is none that can be read, or that one
    is busier than ``busiest``.
    """
    picture = with_margin(picture)
    light, turned = dark_ink(shrink(picture))
    if inside := sheet(light, turned):
        picture = cut(picture, inside)
        light, _ = dark_ink(shrink(picture))
    # The digits may be small in a large picture: closer by is more to see.
    picture = cut(picture, around(bridged(ink(light, LEAST))))
    light, _ = dark_ink(shrink(picture))
    sheet(light, False)  # a small blot is refused only here
    contrast = ink(light, CLEAR)
    times = max(1, LOOK // math.ceil(across(contrast)))
    contrast = bridged(enlarged(contrast, times))
    found = pieces(contrast, times * SMALLEST)
    seen = np.stack([frame(piece, shape, box) for piece in found])
    if busiest is not None and max(busyness(frame(piece, shape, box, FINE)) for piece in found) > busiest:
        raise InputError("holds a scribble, no digit: too many strokes cross it")
    return seen


def with_margin(picture: np.ndarray) -> np.ndarray:
    """``picture``, if it is small and half of its sides or more are of one colour, with a margin of that as wide as a small
    digit. Without one, what is cut close to a digit has strokes from side to side, as ruled lines are, and that come in, as
    shadows do."""
    h, w, _ = picture.shape
    sides = np.concatenate(edges(picture)).astype(np.int64)
    colour = np.sort(sides, 0)[len(sides) // 2]
    if across(picture) >= CLOSE or 2 * (np.abs(sides - colour) <= SAME).all(1).sum() < len(sides):
        return picture
    whole = np.tile(colour, (h + 2 * SMALLEST, w + 2 * SMALLEST, 1))
    whole[SMALLEST:-SMALLEST, SMALLEST:-SMALLEST] = picture
    return whole


def sheet(light: np.ndarray, turned: bool) -> Box | None:
    """The inside of a sheet of paper that lies on something darker; None where there is none.

    Shadows have soft edges, a sheet has sharp ones: it is an even area that reaches no side, with something written in it.
    InputError for a blot, which is an even area, too.
    """
    h, w = light.shape
    smooth = local_mean(light, 1)
    even = dilated(smooth, 5) < EVEN * -dilated(-smooth, 5)
    labels, boxes = components(even)
    shore = (1 - ISLAND) * quantiles(np.concatenate(edges(smooth)), 0.5)[0]
    for k, (top, left, bottom, right) in enumerate(boxes.tolist()):
        height, width = bottom - top, right - left
        if top == 0 or left == 0 or bottom == h or right == w or height * width * 10 < h * w:
            continue
        own = labels[top:bottom, left:right] == k + 1
        if light[top:bottom, left:right][own].mean() >= shore:
            continue
        if turned and own.mean() > FILLED:
            y, x, below, beyond = inside(spanned(own))
            if not own[y:below, x:beyond].all():
                return top + y, left + x, top + below, left + beyond
        refuse_blot(own)
    return None


def spanned(mask: np.ndarray) -> np.ndarray:
    """``mask`` with what has some of it on both sides in its row, and then in its column."""
    for _ in range(2):
        before, behind = (np.logical_or.accumulate(mask[:, ::step], 1)[:, ::step] for step in (1, -1))
        mask = (before & behind).T
    return mask


def inside(mask: np.ndarray) -> Box:
    """A box that ``mask`` fills the sides of, found by leaving out whichever side it fills least of."""
    top, left, bottom, right = 0, 0, *mask.shape
    while top < bottom and left < right:
        filled = [side.mean() for side in edges(mask[top:bottom, left:right])]
        least = int(np.argmin(filled))
        if filled[least] == 1:
            break
        top, bottom, left, right = top + (least == 0), bottom - (least == 1), left + (least == 2), right - (least == 3)
    return top, left, bottom, right


def around(contrast: np.ndarray) -> Box:
    """What holds ink, with a margin of a quarter of its height: a row's length would leave most of the picture empty."""
    _, boxes = parts(contrast)
    top, left, bottom, right = boxes[:, :2].min(0).tolist() + boxes[:, 2:].max(0).tolist()
    margin = (bottom - top) // 4 + 4
    return max(top - margin, 0), max(left - margin, 0), bottom + margin, right + margin


def cut(picture: np.ndarray, box: Box) -> np.ndarray:
    """The part of ``picture`` that ``box`` is in the shrunken picture."""
    k = shrinking(picture)
    top, left, bottom, right = box
    return picture[top * k : bottom * k, left * k : right * k]


# -- ink and paper -------------------------------------------------------------------------------------------------


def ink(light: np.ndarray, least: float) -> np.ndarray:
    """How much of the light of the paper each place of ``light`` lacks: 0 paper, 1 full ink.

    InputError where what stands out most has less than ``least`` of it: a shadow, or what is on the page's other side.
    """
    paper = closing(light, max(3, len(light) // 3))  # no stroke is as wide as a third of the digit's height
    lacking = 1 - light / np.maximum(paper, 1)  # in the shade ink and paper are darker by the same factor
    noise, usual = quantiles(lacking, 0.05, 0.25)  # paper, whether the digit fills the picture or not
    lacking = unruled(np.maximum(lacking - usual, 0))
    full = largest(lacking, DUST)
    if full < least or full < NOISE * (usual - noise):
        raise InputError("holds no ink: nothing stands out from the background")
    return np.minimum(lacking / full, 1)


def bridged(contrast: np.ndarray) -> np.ndarray:
    """``contrast`` with strokes of a hair's width, which are broken where they go from one row to the next, made whole.

    The mean over three pixels across a stroke is the same wherever it lies between them.
    """
    if stroke_width(contrast >= INK) >= HAIR:
        return contrast
    mean = local_mean(contrast, 1)
    full = quantiles(mean[mean >= INK * largest(mean, DUST)], 0.5)[0]
    return np.minimum(mean / full, 1)


def enlarged(contrast: np.ndarray, times: int) -> np.ndarray:
    """``contrast`` with ``times`` as many rows and columns, interpolated: strokes a pixel apart do not touch in it."""
    for _ in range(2):
        source = np.clip((np.arange(times * len(contrast)) + 0.5) / times - 0.5, 0, len(contrast) - 1)
        above = np.floor(source).astype(np.intp)
        below, share = np.minimum(above + 1, len(contrast) - 1), (source - above)[:, None]
        contrast = ((1 - share) * contrast[above] + share * contrast[below]).T
    return contrast


def across(picture: np.ndarray) -> float:
    """The shorter side of ``picture``; where the other is more than four times as long, that of one of such a shape."""
    h, w = picture.shape[:2]
    return max(min(h, w), math.sqrt(h * w) / 2)


def shrinking(picture: np.ndarray) -> int:
    """The least k for which ``picture`` is at most LOOK squares of k x k pixels across."""
    return math.ceil(across(picture) / LOOK)


def shrink(picture: np.ndarray) -> np.ndarray:
    """The means over squares of k x k pixels, with the k of ``shrinking``."""
    h, w, _ = picture.shape
    k = shrinking(picture)
    high, wide = min(k, h), min(k, w)
    rows, columns = h // high, w // wide
    kept = picture[: rows * high, : columns * wide]
    sums = kept.reshape(rows, high, columns * wide * 3).sum(1, dtype=np.uint32)
    return sums.reshape(rows, columns, wide, 3).sum(2) / (high * wide)


def dark_ink(picture: np.ndarray) -> tuple[np.ndarray, bool]:
    """[h, w] of ``picture`` [h, w, 3]: the colour in which the ink stands out most, turned so that ink is the darker. And
    whether it was turned.

    Ink is the lesser part of any neighbourhood, so that the third moment of the differences from the neighbourhoods' means
    has its sign, and is the larger the more it stands out. Grey has less noise than one colour, so it comes first.
    """
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    colours = [(0.299 * red + 0.587 * green + 0.114 * blue, 2.0)]
    if (red != green).any() or (green != blue).any():
        colours += [(red, 1.0), (green, 1.0), (blue, 1.0)]
    best, most = red, 0.0
    for colour, favour in colours:
        reach = max(colour.shape) // 4
        beyond = np.pad(colour, reach, mode="edge")  # for a digit that fills the picture: half of that may be ink
        apart = beyond - local_mean(beyond, reach)
        moment = favour * float((apart * apart * apart).sum())
        if abs(moment) > abs(most):
            best, most = colour, moment
    # In the shade ink and ground are darker by the same factor, so light ink is turned by a quotient.
    return (255 * GLOW / (GLOW + best), True) if most > 0 else (best, False)


def local_mean(light: np.ndarray, reach: int) -> np.ndarray:
    """The mean over the square of ``reach`` pixels to each side, as far as it is in the picture."""
    for _ in range(2):  # rows, then columns
        n = light.shape[1]
        sums = np.concatenate((np.zeros((len(light), 1)), np.cumsum(light, 1)), 1)
        first, end = np.maximum(np.arange(n) - reach, 0), np.minimum(np.arange(n) + reach + 1, n)
        light = ((sums[:, end] - sums[:, first]) / (end - first)).T
    return light


def closing(light: np.ndarray, reach: int) -> np.ndarray:
    """``light`` without what is dark and narrower than ``reach``: the minimum over squares of the maximum over squares."""
    return -dilated(-dilated(light, reach), reach)


def dilated(light: np.ndarray, reach: int) -> np.ndarray:
    """The maximum over squares of ``reach``."""
    return running_max(running_max(light, reach).T, reach).T


def running_max(rows: np.ndarray, reach: int) -> np.ndarray:
    """The maximum over ``reach`` // 2 columns to each side, as far as they are in the picture."""
    h, w = rows.shape
    side = reach // 2
    padded = np.full((h, w + 2 * side), -np.inf)
    padded[:, side : side + w] = rows
    span, window = 1, 2 * side + 1
    while span < window:  # the maximum over twice as many, but for the last
        step = min(span, window - span)
        padded = np.maximum(padded[:, :-step], padded[:, step:])
        span += step
    return padded


def unruled(lacking: np.ndarray) -> np.ndarray:
    """``lacking`` without the lines of ruled and squared paper, straight or at a slant, which leave what crosses them."""
    for _ in range(2):
        lacking = without_lines(without_leaning_lines(lacking)).T
    return lacking


def without_lines(lacking: np.ndarray) -> np.ndarray:
    """``lacking`` without rows that are lines: most of their length is dark, and few are half dark side by side. The stroke of
    a digit that reaches as far, in a picture cut close to it, is thicker."""
    h, w = lacking.shape
    ordered = np.sort(lacking, 1)
    level, middle = ordered[:, w // 5], ordered[:, w // 2]
    ruled = np.zeros(h)
    for first, end in thin_runs(middle, max(3, h // 40)):
        ruled[first:end] = level[first:end]
    return np.maximum(lacking - ruled[:, None], 0)


def thin_runs(values: np.ndarray, most: int) -> list[tuple[int, int]]:
    """(first, end) of each run of values above FAINT that has at most so many of them."""
    found, row = [], 0
    while row < len(values):
        end = row
        while end < len(values) and values[end] > FAINT:
            end += 1
        if row < end <= row + most:
            found.append((row, end))
        row = end + 1
    return found


def without_leaning_lines(lacking: np.ndarray) -> np.ndarray:
    """``lacking`` without lines that go from side to side, at a slant or straight.

    One that is alone must be pale: it may be a digit. What is twice as dark as a line crosses it and stays.
    """
    shifts = slant(lacking)
    h, w = lacking.shape
    reach = int(np.abs(shifts).max())
    rows = np.arange(h + 2 * reach)[:, None] - reach + shifts
    upright = np.where((rows >= 0) & (rows < h), np.take_along_axis(lacking, rows.clip(0, h - 1), 0), -1)
    grown = running_max(upright.T, 3).T  # a line at a slant is in one row and the next
    length = (grown >= 0).sum(1)
    level = np.sort(grown, 1)[np.arange(len(grown)), np.minimum(w - length + length // 5, w - 1)]
    lines = thin_runs(np.where(length >= EDGE * w, level, 0), max(3, h // 40) + 2)
    ruled = np.zeros(len(upright))
    for first, end in lines:
        line = level[first:end].max()
        if len(lines) > 1 or line < PALE * largest(lacking, DUST):
            ruled[first:end] = line
    upright = np.where(upright < 2 * ruled[:, None], 0, upright)
    return np.take_along_axis(upright, np.arange(h)[:, None] + reach - shifts, 0)


def slant(lacking: np.ndarray) -> np.ndarray:
    """By how many rows each column stands too low, for what is dark to stand in rows; all zeros where it does so best."""
    w = lacking.shape[1]
    y, x = np.nonzero(lacking > FAINT)

    def shifts(rows: int) -> np.ndarray:
        """``rows`` from side to side."""
        return np.floor(rows / w * (np.arange(w) - w // 2) + 0.5).astype(np.intp)

    def sharpness(rows: int) -> int:
        counts = np.bincount(y - shifts(rows)[x] + w)
        return int((counts * counts).sum())

    steps = int(LEAN * w / 2)
    best = max(sorted(range(-2 * steps, 2 * steps + 1, 2), key=abs), key=sharpness)  # of equals the straightest
    return shifts(max((best, best - 1, best + 1), key=sharpness))


def quantiles(values: np.ndarray, *shares: float) -> list[float]:
    """For each of ``shares`` the value that this share of the values are below."""
    ordered = np.sort(values, axis=None)
    return [float(ordered[int(share * (values.size - 1))]) for share in shares]


def largest(values: np.ndarray, rank: int) -> float:
    """The ``rank``-th largest value, or the least where there are fewer."""
    return float(np.sort(values, axis=None)[max(values.size - rank, 0)])


# -- from ink to digits --------------------------------------------------------------------------------------------


def pieces(contrast: np.ndarray, smallest: int) -> list[np.ndarray]:
    """The contrast of each digit alone, [h, w] as large as it is, in reading order."""
    labels, boxes = parts(contrast)
    if (boxes[:, 2:] - boxes[:, :2]).max() < smallest:
        raise InputError(f"holds no digit: all marks are smaller than {SMALLEST} pixels")
    labels, boxes = joined(labels, boxes)
    labels, boxes = divided(labels, boxes, contrast)
    if len(boxes) > MOST:
        raise InputError(f"holds {len(boxes)} marks, more than the {MOST} digits that are read from one picture")
    grown = dilated(labels.astype(np.float64), 5)  # soft edges belong to their strokes
    grown = np.where(labels > 0, labels, grown)
    found = []
    for k in reading_order(boxes):
        top, left, bottom, right = boxes[k]
        around = slice(max(top - 2, 0), bottom + 2), slice(max(left - 2, 0), right + 2)
        found.append(np.where(grown[around] == k + 1, contrast[around], 0))
    return found


def parts(contrast: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(labels [h, w], boxes [parts, 4]): ink that hangs together, corners included, without dirt and shadows.

    A label is one more than the part's index, and 0 outside; a box is top, left, bottom, right.
    """
    labels, boxes = components(contrast >= INK)
    frames = [is_frame(labels[t:b, l:r] == k + 1) for k, (t, l, b, r) in enumerate(boxes.tolist())]
    labels, boxes = selected(labels, boxes, ~(shadows(labels, boxes, contrast) | np.array(frames, bool)))
    longer = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    if not len(boxes):
        raise InputError("holds no ink: nothing stands out from the background but a frame, or at its sides")
    return selected(labels, boxes, 5 * longer >= longer.max())


def shadows(labels: np.ndarray, boxes: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """Which parts come in from a side of the picture and are no strokes: they are soft, blots, or fill that side and not the
    one across. InputError for one that comes in at many places, as squared paper does."""
    top, bottom, left, right = edges(labels)
    ring = np.concatenate((top, right, bottom[::-1], left[::-1]))
    if max(np.bincount(ring[ring != np.roll(ring, 1)], minlength=2)[1:]) > ENTRIES:
        raise InputError("holds no digit: a pattern goes from side to side")
    sides = [np.bincount(side, minlength=len(boxes) + 1)[1:] / len(side) for side in (top, bottom, left, right)]
    top, bottom, left, right = (share >= SIDE for share in sides)
    found = (top != bottom) | (left != right)
    for k in np.flatnonzero(np.max(sides, 0)).tolist():
        t, l, b, r = boxes[k]
        own = labels[t:b, l:r] == k + 1
        found[k] |= is_blot(own) or (contrast[t:b, l:r][own] >= FULL).mean() < SHARP
    return found


def refuse_blot(mask: np.ndarray) -> None:
    if is_blot(mask):
        raise InputError("holds a blot, not a digit: it is filled, no stroke of a pen")


def edges(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Its first and last row, its first and last column."""
    return picture[0], picture[-1], picture[:, 0], picture[:, -1]


def is_blot(mask: np.ndarray) -> bool:
    """Whether a square of BLOT times the longer side fits in."""
    side = 2 * math.ceil((BLOT * max(mask.shape) - 1) / 2) + 1
    return bool(dilated(-np.pad(mask.astype(np.float64), side), side).min() < 0)


def is_frame(mask: np.ndarray) -> bool:
    """Whether it is the outline of a box, as wide as a digit or wider, whose corners may be round."""
    h, w = mask.shape
    deep = math.ceil(max(h, w) / 16)
    along = mask[:deep].any(0), mask[-deep:].any(0), mask[:, :deep].any(1), mask[:, -deep:].any(1)
    hollow = not mask[h // 4 : h - h // 4, w // 4 : w - w // 4].any()
    return hollow and 4 * w >= 3 * h >= 6 * SMALLEST and min(side.mean() for side in along) >= ALONG


def selected(labels: np.ndarray, boxes: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The parts that are ``kept``, numbered anew."""
    number = np.concatenate(([0], np.cumsum(kept) * kept))
    return number[labels], boxes[kept]


def components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As ``parts``, but all of them: runs of each row, joined with those that they touch in the row above."""
    h, w = mask.shape
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    first_of_row = np.searchsorted(rows, np.arange(h + 1)).tolist()
    start, end = starts.tolist(), ends.tolist()
    for row in range(1, h):
        above, stop = first_of_row[row - 1], first_of_row[row]
        for run in range(first_of_row[row], first_of_row[row + 1]):
            while above < stop and end[above] < start[run]:
                above += 1
            other = above
            while other < stop and start[other] <= end[run]:
                parent[root(other)] = root(run)
                other += 1
    roots, part = np.unique([root(run) for run in range(len(rows))], return_inverse=True)
    labels = np.zeros((h, w), np.intp)
    for row, left, right, k in zip(rows.tolist(), start, end, part.tolist()):
        labels[row, left:right] = k + 1
    boxes = np.tile((h, w, 0, 0), (len(roots), 1))
    np.minimum.at(boxes[:, :2], part, np.stack((rows, starts), 1))
    np.maximum.at(boxes[:, 2:], part, np.stack((rows + 1, ends), 1))
    return labels, boxes


def joined(labels: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The parts of one digit made one, and what is too low for a digit left out: a comma, a smear.

    Two belong together when they are close above one another. Tall ones must share half of the narrower's columns; of a low
    one, the bar of a 5, any shared column will do, and they may be further apart if they are no higher than the tallest.
    """
    tops, lefts, bottoms, rights = boxes.T
    height, width = bottoms - tops, rights - lefts
    number = np.arange(len(boxes))
    for a in range(len(boxes)):
        for b in range(a):
            low = 2 * min(height[a], height[b]) < height.max()
            shared = min(rights[a], rights[b]) - max(lefts[a], lefts[b])
            gap = max(tops[a], tops[b]) - min(bottoms[a], bottoms[b])
            wanted = 1 if low else min(width[a], width[b]) / 2
            whole = max(bottoms[a], bottoms[b]) - min(tops[a], tops[b])
            near = gap * (4 if low else 6) < height.max() or (low and whole <= height.max())
            if shared >= wanted and near:
                number[number == number[a]] = number[b]
    one = np.unique(number)
    merged = np.array([[*boxes[number == k, :2].min(0), *boxes[number == k, 2:].max(0)] for k in one])
    labels = np.concatenate(([0], np.searchsorted(one, number) + 1))[labels]
    height = merged[:, 2] - merged[:, 0]
    return selected(labels, merged, 5 * height >= 2 * height.max())


def divided(labels: np.ndarray, boxes: np.ndarray, contrast: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Digits that touch cut apart: what is too wide for one digit of the tallest's height, at the column with the least ink in
    its middle part.

    A wide digit stays whole: a cut through it crosses two strokes, or one that is thick, or leaves a part that is flat.
    """
    labels, found, k = labels.copy(), boxes.tolist(), 0
    tallest = int((boxes[:, 2] - boxes[:, 0]).max())
    while k < len(found):
        top, left, bottom, right = found[k]
        height, width = bottom - top, right - left
        here = labels[top:bottom, left:right]
        own = here == k + 1
        side = max(1, 2 * height // 5)
        if 5 * width > 7 * tallest and width > 2 * side:
            profile = np.where(own, contrast[top:bottom, left:right], 0).sum(0)
            cut = side + int(np.argmin(profile[side : width - side]))
            tall = min(int(half.any(1).sum()) for half in (own[:, :cut], own[:, cut:]))
            crossed = int((np.diff(own[:, cut].astype(np.int8), prepend=0) == 1).sum())
            if crossed <= 1 and 2 * int(own[:, cut].sum()) < height < 2 * tall:
                found.append([top, left + cut, bottom, right])
                found[k] = [top, left, bottom, left + cut]
                here[:, cut:][own[:, cut:]] = len(found)
                continue
        k += 1
    return labels, np.array(found)


def reading_order(boxes: np.ndarray) -> list[int]:
    """Lines from top to bottom, each from left to right. A box begins a line when its middle is below all before it."""
    order: list[int] = []
    line: list[int] = []
    bottom = -1.0
    for k in sorted(range(len(boxes)), key=lambda k: boxes[k][0] + boxes[k][2]):
        middle = (boxes[k][0] + boxes[k][2]) / 2
        if middle > bottom:
            order += sorted(line, key=lambda k: boxes[k][1])
            line = []
        line.append(k)
        bottom = max(bottom, boxes[k][2])
    return order + sorted(line, key=lambda k: boxes[k][1])


def frame(piece: np.ndarray, shape: tuple[int, int], box: float, thin: float = THIN) -> np.ndarray:
    """The digit ``piece`` [h, w] scaled to fit ``box``, its centre of mass in the middle: uint8 [rows, columns]. Strokes that
    are less than ``thin`` of its longer side are made that wide."""
    height, width = extent(piece)
    stroke, size = stroke_width(piece >= INK), max(height, width)
    refuse_blot(piece >= INK)
    if width > FLAT * height:
        raise InputError("holds a line, no digit")
    widened = math.floor((max(thin * size, min(stroke, THICK * size)) - stroke) / 2 + 0.5)
    piece = thickened(np.pad(piece, abs(widened)), widened)
    if not (piece >= INK).any():
        raise InputError("holds a mark that is no stroke of a pen")
    scale = max(extent(piece)) / box
    out = resampled(resampled(piece, shape[0], scale).T, shape[1], scale).T
    full = largest(out, 5)
    return np.floor(255 * np.minimum(out / full, 1) + 0.5).astype(np.uint8)


def straightened(digits: np.ndarray) -> np.ndarray:
    """Framed ``digits`` uint8 [N, rows, columns], each sheared about its middle row until it leans as most do."""
    _, rows, columns = digits.shape
    y, x = np.arange(rows)[:, None] - rows // 2, np.arange(columns) - columns // 2
    lean = (digits * (x * y)).sum((1, 2)) / np.maximum((digits * (y * y)).sum((1, 2)), 1)
    source = np.arange(columns) + (lean + RIGHT)[:, None, None] * y
    left = np.floor(source).astype(np.intp)
    padded = np.pad(digits, ((0, 0), (0, 0), (1, 1)))
    before, behind = (np.take_along_axis(padded, column.clip(0, columns + 1), 2) for column in (left + 1, left + 2))
    return np.floor(before + (source - left) * (behind.astype(np.float64) - before) + 0.5).astype(np.uint8)


def extent(piece: np.ndarray, least: float = INK) -> tuple[int, int]:
    """Height and width of the box around the ink."""
    rows, columns = (np.flatnonzero((piece >= least).any(axis)) for axis in (1, 0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def stroke_width(mask: np.ndarray) -> float:
    """The width of the pen: twice the area by the length of the outline, which on a grid is 4 / pi too long on average."""
    padded = np.pad(mask, 1)
    outline = int((padded[1:] != padded[:-1]).sum() + (padded[:, 1:] != padded[:, :-1]).sum())
    return 8 / np.pi * int(mask.sum()) / outline


def thickened(piece: np.ndarray, by: int) -> np.ndarray:
    """``piece`` with strokes wider by that many pixels on each side; narrower where it is negative."""
    return dilated(piece, 2 * by + 1) if by > 0 else -dilated(-piece, 1 - 2 * by)


def resampled(piece: np.ndarray, n: int, scale: float) -> np.ndarray:
    """[n, w] rows of ``piece`` [h, w], ``scale`` apart, the centre of mass in the middle: at index n / 2, as in MNIST.

    Each is a mean weighted by a triangle that reaches the next row's middle, and at least one of ``piece``'s rows.
    """
    h = len(piece)
    row = np.arange(h)
    mass = piece.sum(1)
    middle = float((mass * row).sum() / mass.sum())
    wanted = middle + (np.arange(n) - n // 2) * scale
    weights = np.maximum(1 - np.abs(wanted[:, None] - row) / max(scale, 1), 0)
    return np.einsum("nh,hw->nw", weights, piece) / max(scale, 1)  # so small a product is slower on threads
