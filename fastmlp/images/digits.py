"""From a picture's contrast of ink, float64 [h, w] from 0 to 1, to one image for each digit, framed as in MNIST.

page.html has the same functions in JavaScript (see ``ink``).
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import InputError
from .morphology import components, dilated, edges, largest

INK = 0.45  # the least contrast of ink. Ruled lines reach 0.35 of a pen's contrast; pencil varies by a half.
SMALLEST = 8  # pixels: the least height of a digit; noise leaves smaller marks
SIDE = 0.8  # a part that fills this share of a side of the picture may be a shadow
# A shadow has FULL contrast in less than SHARP of its area: at most 0.38; digits in 0.42 and more.
FULL, SHARP = 0.8, 0.4
THIN, THICK = 0.115, 0.17  # stroke widths, as parts of a digit's longer side: six of ten in MNIST are between them
FINE = 0.085  # one of ten strokes in MNIST is thinner; a scribble's strokes, made no wider than this, stay apart
BLOT = 0.45  # of the longer side: a square as large fits into a blot (0.7 in a disc), not into MNIST's strokes (0.37)
FLAT = 3  # a line is wider than this many times its height; MNIST's widest digits are 2.1 times
ENTRIES = 4  # times that a part may meet the border: a tightly cut digit meets it twice, tilted squared paper 5 times
MOST = 20  # digits in a picture; a page of writing or a face has more parts
ALONG = 0.7  # a frame follows this share of each side of its box, even with round corners; MNIST's 0 follows 0.6
RIGHT = 0.11  # columns a row: the slant to the right of most hands, and of MNIST's digits on average


def pieces(contrast: np.ndarray, smallest: int) -> list[np.ndarray]:
    """The contrast of each digit, cut out with nothing else in it, in reading order."""
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
    """``components`` of the ink, without dirt, shadows and frames. InputError where none is left."""
    labels, boxes = components(contrast >= INK)
    frames = [is_frame(labels[t:b, l:r] == k + 1) for k, (t, l, b, r) in enumerate(boxes.tolist())]
    labels, boxes = selected(labels, boxes, ~(shadows(labels, boxes, contrast) | np.array(frames, bool)))
    longer = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    if not len(boxes):
        raise InputError("holds no ink: nothing stands out from the background but a frame, or at its sides")
    return selected(labels, boxes, 5 * longer >= longer.max())


def shadows(labels: np.ndarray, boxes: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """Which parts reach a side of the picture but are no strokes: soft parts, blots, and parts that fill that side but
    not the opposite one. InputError for a part that meets the border at many places, as squared paper does."""
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


def is_blot(mask: np.ndarray) -> bool:
    """Whether a square of BLOT times the longer side fits into the mask."""
    side = 2 * math.ceil((BLOT * max(mask.shape) - 1) / 2) + 1
    return bool(dilated(-np.pad(mask.astype(np.float64), side), side).min() < 0)


def is_frame(mask: np.ndarray) -> bool:
    """Whether the mask is the outline of a box, perhaps with round corners, at least as wide as a digit."""
    h, w = mask.shape
    deep = math.ceil(max(h, w) / 16)
    along = mask[:deep].any(0), mask[-deep:].any(0), mask[:, :deep].any(1), mask[:, -deep:].any(1)
    hollow = not mask[h // 4 : h - h // 4, w // 4 : w - w // 4].any()
    return hollow and 4 * w >= 3 * h >= 6 * SMALLEST and min(side.mean() for side in along) >= ALONG


def selected(labels: np.ndarray, boxes: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The parts that are ``kept``, numbered anew."""
    number = np.concatenate(([0], np.cumsum(kept) * kept))
    return number[labels], boxes[kept]


def joined(labels: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge the parts of each digit, and leave out what is too low for one: a comma, a smear.

    Two parts belong together when one is close above the other. Two tall parts must share half of the narrower one's
    columns. For a low part, such as the bar of a 5, one shared column is enough, and the gap may be larger as long as
    both together are no higher than the tallest part.
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
    """Cut touching digits apart: a part too wide for its height, at the column with the least ink in its middle.

    A single wide digit stays whole, since a cut through it crosses two strokes or a thick one, or leaves a flat part.
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
    """The boxes by line, each from left to right. A box whose middle is below all boxes before it begins a new line."""
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


# -- framing ---------------------------------------------------------------------------------------------------------


def frame(piece: np.ndarray, shape: tuple[int, int], box: float, thin: float = THIN) -> np.ndarray:
    """The digit ``piece`` [h, w] scaled to fit ``box``, its centre of mass in the middle: uint8 [rows, columns].
    Strokes thinner than ``thin`` times its longer side become that wide."""
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
    """Framed ``digits`` uint8 [N, rows, columns], each sheared about its middle row to the average slant."""
    _, rows, columns = digits.shape
    y, x = np.arange(rows)[:, None] - rows // 2, np.arange(columns) - columns // 2
    lean = (digits * (x * y)).sum((1, 2)) / np.maximum((digits * (y * y)).sum((1, 2)), 1)
    source = np.arange(columns) + (lean + RIGHT)[:, None, None] * y
    left = np.floor(source).astype(np.intp)
    padded = np.pad(digits, ((0, 0), (0, 0), (1, 1)))
    before, behind = (np.take_along_axis(padded, column.clip(0, columns + 1), 2) for column in (left + 1, left + 2))
    return np.floor(before + (source - left) * (behind.astype(np.float64) - before) + 0.5).astype(np.uint8)


def extent(piece: np.ndarray) -> tuple[int, int]:
    """Height and width of the box around the ink."""
    rows, columns = (np.flatnonzero((piece >= INK).any(axis)) for axis in (1, 0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def stroke_width(mask: np.ndarray) -> float:
    """The pen's width: twice the area over the outline, which a grid makes 4 / pi times too long on average."""
    padded = np.pad(mask, 1)
    outline = int((padded[1:] != padded[:-1]).sum() + (padded[:, 1:] != padded[:, :-1]).sum())
    return 8 / np.pi * int(mask.sum()) / outline


def thickened(piece: np.ndarray, by: int) -> np.ndarray:
    """``piece`` with its strokes wider by ``by`` pixels on each side; narrower where that is negative."""
    return dilated(piece, 2 * by + 1) if by > 0 else -dilated(-piece, 1 - 2 * by)


def resampled(piece: np.ndarray, n: int, scale: float) -> np.ndarray:
    """n rows of ``piece`` [h, w], ``scale`` apart, with the centre of mass at index n / 2, as in MNIST: [n, w].

    Each is a mean weighted by a triangle that reaches to the next row's middle, and at least over one row of ``piece``.
    """
    h = len(piece)
    row = np.arange(h)
    mass = piece.sum(1)
    middle = float((mass * row).sum() / mass.sum())
    wanted = middle + (np.arange(n) - n // 2) * scale
    weights = np.maximum(1 - np.abs(wanted[:, None] - row) / max(scale, 1), 0)
    return np.einsum("nh,hw->nw", weights, piece) / max(scale, 1)  # so small a product is slower on threads


def busyness(seen: np.ndarray) -> np.ndarray:
    """How many strokes cross the rows of images [..., rows, columns], 0 to 255, beyond two in a row, and the columns
    beyond three in a column: integers [...].

    The largest of 30,000 MNIST digits is 14 (12 of a thousand); a zigzag has 25, a grid 45.
    """
    mask = seen >= 128
    rows = (mask[..., 1:] & ~mask[..., :-1]).sum(-1) + mask[..., 0]
    columns = (mask[..., 1:, :] & ~mask[..., :-1, :]).sum(-2) + mask[..., 0, :]
    return np.maximum(rows - 2, 0).sum(-1) + np.maximum(columns - 3, 0).sum(-1)
