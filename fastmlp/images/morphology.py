"""Operations on grey images [h, w]: means and maxima over squares, connected components, quantiles."""

from __future__ import annotations

import numpy as np


def edges(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The first row, last row, first column and last column."""
    return picture[0], picture[-1], picture[:, 0], picture[:, -1]


def local_mean(light: np.ndarray, reach: int) -> np.ndarray:
    """The mean over squares that reach ``reach`` pixels to each side, cut off at the picture's border."""
    for _ in range(2):  # rows, then columns
        n = light.shape[1]
        sums = np.concatenate((np.zeros((len(light), 1)), np.cumsum(light, 1)), 1)
        first, end = np.maximum(np.arange(n) - reach, 0), np.minimum(np.arange(n) + reach + 1, n)
        light = ((sums[:, end] - sums[:, first]) / (end - first)).T
    return light


def closing(light: np.ndarray, reach: int) -> np.ndarray:
    """``light`` without dark details narrower than ``reach``: the minimum over squares of the maximum over squares."""
    return -dilated(-dilated(light, reach), reach)


def dilated(light: np.ndarray, reach: int) -> np.ndarray:
    """The maximum over squares of side ``reach``, an odd number."""
    return running_max(running_max(light, reach).T, reach).T


def running_max(rows: np.ndarray, reach: int) -> np.ndarray:
    """The maximum over ``reach`` // 2 columns to each side, cut off at the picture's border."""
    h, w = rows.shape
    side = reach // 2
    padded = np.full((h, w + 2 * side), -np.inf)
    padded[:, side : side + w] = rows
    span, window = 1, 2 * side + 1
    while span < window:  # doubles the span, up to the window
        step = min(span, window - span)
        padded = np.maximum(padded[:, :-step], padded[:, step:])
        span += step
    return padded


def components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(labels [h, w], boxes [n, 4]) of the mask's connected components, by 8 neighbours.

    A label is the component's index + 1, and 0 outside; a box is top, left, bottom, right. Runs of each row are joined
    with those that they touch in the row above (union-find).
    """
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


def quantiles(values: np.ndarray, *shares: float) -> list[float]:
    """The quantiles of the values at each of ``shares``, rounded down to a value that occurs."""
    ordered = np.sort(values, axis=None)
    return [float(ordered[int(share * (values.size - 1))]) for share in shares]


def largest(values: np.ndarray, rank: int) -> float:
    """The ``rank``-th largest value, or the least where there are fewer."""
    return float(np.sort(values, axis=None)[max(values.size - rank, 0)])
