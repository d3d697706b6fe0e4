"""From a photograph or drawing to digits as MNIST has them: light on black, of one size, centred by mass.

MNIST's digits were scanned, scaled to fit 20 x 20, and placed with their centre of mass in the middle of 28 x 28
(LeCun, Bottou, Bengio and Haffner 1998). Photographs also need their ink told from paper, shadows, ruled lines and dirt
(this file), and their digits separated and their strokes made as thick (``digits``). page.html has the same functions
in JavaScript, under the same names; a test holds the two within one grey level, so no library resamples here.

Legend: pictures are [h, w, 3] from 0 to 255, ``light`` one channel [h, w] of one, contrasts float64 [h, w] from 0 to 1.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import InputError
from .digits import FINE, INK, SMALLEST, busyness, frame, parts, pieces, refuse_blot, stroke_width
from .morphology import closing, components, dilated, edges, largest, local_mean, quantiles, running_max

Box = tuple[int, int, int, int]  # top, left, bottom, right

LOOK = 360  # pixels of the shorter side after shrinking: enough for strokes of a fiftieth of a digit's height
GLOW = 60  # grey levels added before light ink is inverted: without them, noise in the darkest areas would pass for ink
ISLAND = 0.3  # the least contrast between a sheet of paper and the table
FILLED = 0.68  # a sheet of paper, even at a slant, fills more of its box; the thickest digits fill two thirds
EVEN = 1.25  # an even area changes less than by this factor over two pixels; from paper to table it is 1.4 and more
NOISE = 5.5  # ink exceeds this many times the distance of the quantiles 0.05 and 0.25; normal noise reaches 4.5
LEAST = 0.08  # the least contrast of ink in the whole picture, where thin strokes fade
CLEAR = 0.25  # the least contrast of ink in a close-up: soft pencil has 0.35, most shadows have less
CLOSE = 60  # pixels across: smaller pictures are often cut close to the digit
SAME = 4  # grey levels: drawings made on a computer have backgrounds that vary by less
DUST = 10  # pixels: a digit has more pixels of full contrast, a hot pixel or a grain of dust fewer
FAINT = 0.04  # the least contrast of a ruled line
LEAN = 0.3  # rows a column: the steepest slant of ruled paper
EDGE = 0.25  # of the picture's width: the least length of a ruled line, as in a corner
PALE = 0.6  # of the ink's contrast: a single slanting line that is darker may be a digit
HAIR = 2.0  # pixels: strokes measured as thinner are bridged; a stroke of one pixel is measured as 1.3


def prepare(picture: np.ndarray, shape: tuple[int, int], box: float, busiest: float | None = None) -> np.ndarray:
    """The digits of ``picture`` [h, w, 3] in reading order: uint8 [digits, rows, columns], black 0.

    Each is scaled so that its longer side is ``box`` pixels. InputError says why there is none that can be read, or
    that one is busier than ``busiest``.
    """
    picture = with_margin(picture)
    light, turned = dark_ink(shrink(picture))
    if inside := sheet(light, turned):
        picture = cut(picture, inside)
        light, _ = dark_ink(shrink(picture))
    # The digits may be small in a large picture: the cut shows them at a higher resolution.
    picture = cut(picture, around(bridged(ink(light, LEAST))))
    light, _ = dark_ink(shrink(picture))
    sheet(light, False)  # refuses a blot that was too small before
    contrast = ink(light, CLEAR)
    times = max(1, LOOK // math.ceil(across(contrast)))
    contrast = bridged(enlarged(contrast, times))
    found = pieces(contrast, times * SMALLEST)
    seen = np.stack([frame(piece, shape, box) for piece in found])
    if busiest is not None and max(busyness(frame(piece, shape, box, FINE)) for piece in found) > busiest:
        raise InputError("holds a scribble, no digit: too many strokes cross it")
    return seen


def with_margin(picture: np.ndarray) -> np.ndarray:
    """``picture`` with a margin of the border's colour, if it is small and half of its border has one colour.

    In a picture cut close to a digit, strokes would be taken for ruled lines, which go from side to side, or for
    shadows, which come in from a side."""
    h, w, _ = picture.shape
    sides = np.concatenate(edges(picture)).astype(np.int64)
    colour = np.sort(sides, 0)[len(sides) // 2]
    if across(picture) >= CLOSE or 2 * (np.abs(sides - colour) <= SAME).all(1).sum() < len(sides):
        return picture
    whole = np.tile(colour, (h + 2 * SMALLEST, w + 2 * SMALLEST, 1))
    whole[SMALLEST:-SMALLEST, SMALLEST:-SMALLEST] = picture
    return whole


def sheet(light: np.ndarray, turned: bool) -> Box | None:
    """The inside of a sheet of paper that lies on something darker, if there is one.

    A sheet has sharp edges, unlike a shadow: it is an even area that reaches no side and has something written in it.
    InputError for a blot, which is an even area without writing.
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
    """``mask`` and all places between two of its places in a row, then also between two in a column."""
    for _ in range(2):
        before, behind = (np.logical_or.accumulate(mask[:, ::step], 1)[:, ::step] for step in (1, -1))
        mask = (before & behind).T
    return mask


def inside(mask: np.ndarray) -> Box:
    """A box whose sides ``mask`` fills, found by cutting off the least filled side again and again."""
    top, left, bottom, right = 0, 0, *mask.shape
    while top < bottom and left < right:
        filled = [side.mean() for side in edges(mask[top:bottom, left:right])]
        least = int(np.argmin(filled))
        if filled[least] == 1:
            break
        top, bottom, left, right = top + (least == 0), bottom - (least == 1), left + (least == 2), right - (least == 3)
    return top, left, bottom, right


def around(contrast: np.ndarray) -> Box:
    """The box of all ink with a margin of a quarter of its height: the width of a row of digits would be too large."""
    _, boxes = parts(contrast)
    top, left, bottom, right = boxes[:, :2].min(0).tolist() + boxes[:, 2:].max(0).tolist()
    margin = (bottom - top) // 4 + 4
    return max(top - margin, 0), max(left - margin, 0), bottom + margin, right + margin


def cut(picture: np.ndarray, box: Box) -> np.ndarray:
    """The part of ``picture`` that ``box`` marks in the shrunken picture."""
    k = shrinking(picture)
    top, left, bottom, right = box
    return picture[top * k : bottom * k, left * k : right * k]


# -- ink and paper -------------------------------------------------------------------------------------------------


def ink(light: np.ndarray, least: float) -> np.ndarray:
    """The contrast: the share of the paper's light that each place lacks, scaled from 0 for paper to 1 for full ink.

    InputError where the darkest marks lack less than ``least``: shadows, or writing on the back of the page.
    """
    paper = closing(light, max(3, len(light) // 3))  # strokes are thinner than a third of the digit's height
    lacking = 1 - light / np.maximum(paper, 1)  # a quotient, since shade darkens ink and paper by the same factor
    noise, usual = quantiles(lacking, 0.05, 0.25)  # of paper, even where a digit fills the picture
    lacking = unruled(np.maximum(lacking - usual, 0))
    full = largest(lacking, DUST)
    if full < least or full < NOISE * (usual - noise):
        raise InputError("holds no ink: nothing stands out from the background")
    return np.minimum(lacking / full, 1)


def bridged(contrast: np.ndarray) -> np.ndarray:
    """``contrast`` with hair-thin strokes made whole, which break where they go from one row to the next.

    The mean over three pixels across a stroke does not depend on where between them it lies.
    """
    if stroke_width(contrast >= INK) >= HAIR:
        return contrast
    mean = local_mean(contrast, 1)
    full = quantiles(mean[mean >= INK * largest(mean, DUST)], 0.5)[0]
    return np.minimum(mean / full, 1)


def enlarged(contrast: np.ndarray, times: int) -> np.ndarray:
    """``contrast`` with ``times`` as many rows and columns, interpolated, so that close strokes do not touch."""
    for _ in range(2):
        source = np.clip((np.arange(times * len(contrast)) + 0.5) / times - 0.5, 0, len(contrast) - 1)
        above = np.floor(source).astype(np.intp)
        below, share = np.minimum(above + 1, len(contrast) - 1), (source - above)[:, None]
        contrast = ((1 - share) * contrast[above] + share * contrast[below]).T
    return contrast


def across(picture: np.ndarray) -> float:
    """The shorter side of ``picture``, or of one with the same area and sides of 1 to 4 if it is narrower."""
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
    """(the channel of ``picture`` in which ink stands out most, inverted if ink is lighter than paper; whether it is).

    Ink is the minority in any neighbourhood. So the differences from local means have a third moment with the sign of
    the ink, which grows with its contrast. Grey is favoured, since a single colour has more noise.
    """
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    colours = [(0.299 * red + 0.587 * green + 0.114 * blue, 2.0)]
    if (red != green).any() or (green != blue).any():
        colours += [(red, 1.0), (green, 1.0), (blue, 1.0)]
    best, most = red, 0.0
    for colour, favour in colours:
        reach = max(colour.shape) // 4
        beyond = np.pad(colour, reach, mode="edge")  # of a digit that fills the picture, half may be ink
        apart = beyond - local_mean(beyond, reach)
        moment = favour * float((apart * apart * apart).sum())
        if abs(moment) > abs(most):
            best, most = colour, moment
    # Inverted by a quotient, since shade darkens ink and paper by the same factor.
    return (255 * GLOW / (GLOW + best), True) if most > 0 else (best, False)


# -- ruled lines ---------------------------------------------------------------------------------------------------


def unruled(lacking: np.ndarray) -> np.ndarray:
    """``lacking`` without lines of ruled and squared paper, straight or at a slant; strokes that cross them stay."""
    for _ in range(2):
        lacking = without_lines(without_leaning_lines(lacking)).T
    return lacking


def without_lines(lacking: np.ndarray) -> np.ndarray:
    """``lacking`` without rows that are lines: dark along most of their length, in runs of few rows. A digit's stroke
    that reaches as far, in a picture cut close, is thicker."""
    h, w = lacking.shape
    ordered = np.sort(lacking, 1)
    level, middle = ordered[:, w // 5], ordered[:, w // 2]
    ruled = np.zeros(h)
    for first, end in thin_runs(middle, max(3, h // 40)):
        ruled[first:end] = level[first:end]
    return np.maximum(lacking - ruled[:, None], 0)


def thin_runs(values: np.ndarray, most: int) -> list[tuple[int, int]]:
    """(first, end) of each run of at most ``most`` values above FAINT."""
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

    A single dark line stays: it may be a digit. Places twice as dark as a line belong to a stroke across it, and stay.
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
    """How many rows each column must move up for slanting lines to become rows; all zeros where lines are level."""
    w = lacking.shape[1]
    y, x = np.nonzero(lacking > FAINT)

    def shifts(rows: int) -> np.ndarray:
        """Of a slant of ``rows`` rows from side to side."""
        return np.floor(rows / w * (np.arange(w) - w // 2) + 0.5).astype(np.intp)

    def sharpness(rows: int) -> int:
        counts = np.bincount(y - shifts(rows)[x] + w)
        return int((counts * counts).sum())

    steps = int(LEAN * w / 2)
    best = max(sorted(range(-2 * steps, 2 * steps + 1, 2), key=abs), key=sharpness)  # of equals the straightest
    return shifts(max((best, best - 1, best + 1), key=sharpness))
