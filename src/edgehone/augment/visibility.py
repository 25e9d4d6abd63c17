"""What is seen of objects that were moved, cut and covered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehone.augment.geometry import Matrix, is_upright, map_boxes, map_corners
from edgehone.types import IGNORED

Window = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

MIN_SIDE_PX = 2.0
"""Least side of what is left of an object that was cut."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Objects cut by a window.

    Attributes:
        boxes_xyxy: ``[n, 4]``, around what is left; anything where nothing is.
        area: ``[n]``, of what is left, px^2.
        whole: ``[n]``, area of the whole objects, px^2; not a number behind the viewer.
    """

    boxes_xyxy: NDArray[np.float64]
    area: NDArray[np.float64]
    whole: NDArray[np.float64]


def visible_boxes(
    boxes_xyxy: NDArray[np.float32],
    classes: NDArray[np.int64],
    matrix: Matrix,
    window_xyxy: Window,
    min_visible: float,
    seen: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes around what is seen of objects, and which of them are still worth learning.

    An object that was cut or covered counts if at least ``min_visible`` of its area is left and both
    sides of that are at least :data:`MIN_SIDE_PX`. An object that was neither always counts, however
    small: dropping it would hide truth from training that evaluation asks for. A region to ignore counts
    as long as anything of it is seen.

    Args:
        boxes_xyxy: ``[n, 4]``, pixels of the source.
        classes: ``[n]``, of which only :data:`~edgehone.types.IGNORED` matters.
        matrix: source to canvas.
        window_xyxy: the part of the canvas where something can be seen.
        min_visible: fraction of the area, 0..1.
        seen: ``[height, width]``, pixels of the canvas that are not covered; None where all are seen.

    Returns:
        The boxes kept ``[k, 4]``, pixels of the canvas, and the mask ``[n]`` of those kept.
    """
    if is_upright(matrix):
        cut = cut_boxes(map_boxes(boxes_xyxy, matrix), window_xyxy)
    else:
        cut = cut_quads(map_corners(boxes_xyxy, matrix), window_xyxy)
    left, area = cut.boxes_xyxy, cut.area
    if seen is not None:
        for row in np.flatnonzero(area > 0).tolist():
            left[row], uncovered = _uncovered(left[row], seen)
            area[row] *= uncovered
    sides = left[:, 2:] - left[:, :2]
    # A thousandth of a pixel lost to rounding at the edge is not a cut.
    uncut = cut.whole - area <= 1e-3 * sides.sum(axis=1)
    enough = (area >= min_visible * cut.whole) & (sides >= MIN_SIDE_PX).all(axis=1)
    keep = (area > 0) & (uncut | enough | (classes == IGNORED))
    return left[keep].astype(np.float32), keep


def cut_boxes(boxes_xyxy: NDArray[np.float64], window_xyxy: Window) -> Cut:
    """Upright boxes ``[n, 4]`` cut by a window."""
    low = np.maximum(boxes_xyxy[:, :2], window_xyxy[:2])
    high = np.minimum(boxes_xyxy[:, 2:], window_xyxy[2:])
    whole = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1)
    return Cut(np.concatenate([low, high], axis=1), np.maximum(high - low, 0.0).prod(axis=1), whole)


def cut_quads(corners_xy: NDArray[np.float64], window_xyxy: Window) -> Cut:
    """Convex quadrilaterals ``[n, 4, 2]`` cut by a window.

    What is left of one is the convex hull of what is left of its edges and of the window's corners inside it.
    """
    start, along = corners_xy, np.roll(corners_xy, -1, axis=1) - corners_xy
    ends, alive = _cut_edges(start, along, window_xyxy)
    left, top, right, bottom = window_xyxy
    frame = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    to_frame = frame[None, :, None] - start[:, None]  # [n, corner of the window, edge, 2]
    side = along[:, None, :, 0] * to_frame[..., 1] - along[:, None, :, 1] * to_frame[..., 0]
    within = np.all(side >= 0, axis=2) | np.all(side <= 0, axis=2)
    points = np.concatenate([ends, np.broadcast_to(frame, (len(start), 4, 2))], axis=1)
    valid = np.concatenate([np.repeat(alive, 2, axis=1), within], axis=1)[..., None]
    low = np.where(valid, points, np.inf).min(axis=1)
    high = np.where(valid, points, -np.inf).max(axis=1)
    boxes = np.clip(np.concatenate([low, high], axis=1), [left, top, left, top], [right, bottom, right, bottom])
    ahead = np.asarray(np.isfinite(start[..., 0]), dtype=np.bool_)
    whole = np.where(np.all(ahead, axis=1), _hull_area(start, ahead), np.nan)
    return Cut(boxes, _hull_area(points, valid[..., 0]), whole)


def _cut_edges(
    start: NDArray[np.float64], along: NDArray[np.float64], window: Window
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Both ends ``[n, 8, 2]`` of the part of each edge inside a window, and whether there is one ``[n, 4]``.

    Source: the parametric line clipping of Liang and Barsky 1984.
    """
    first, last = np.zeros(start.shape[:2]), np.ones(start.shape[:2])
    alive = np.isfinite(start).all(axis=2) & np.isfinite(along).all(axis=2)
    for axis, sign, limit in ((0, -1, -window[0]), (1, -1, -window[1]), (0, 1, window[2]), (1, 1, window[3])):
        speed, room = sign * along[..., axis], limit - sign * start[..., axis]
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = room / speed
        first = np.where(speed < 0, np.fmax(first, crossing), first)
        last = np.where(speed > 0, np.fmin(last, crossing), last)
        alive &= (speed != 0) | (room >= 0)
    alive &= first <= last
    ends = np.stack([start + along * first[..., None], start + along * last[..., None]], axis=2)
    return ends.reshape(len(start), -1, 2), alive


def _hull_area(points: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``[n]``, area of convex polygons whose corners are the valid ones of ``[n, k, 2]`` in any order."""
    count = np.maximum(np.sum(valid, axis=1), 1)[:, None]
    centre = np.where(valid[..., None], points, 0.0).sum(axis=1) / count
    spokes = np.where(valid[..., None], points - centre[:, None], 0.0)
    order: NDArray[np.int64] = np.argsort(np.where(valid, np.arctan2(spokes[..., 1], spokes[..., 0]), np.inf), axis=1)
    # Points that are not valid come last; as repetitions of the first one they enclose nothing.
    extra = np.asarray(np.arange(points.shape[1]) >= count, dtype=np.bool_)
    order = np.where(extra, order[:, :1], order)
    around = np.take_along_axis(spokes, order[..., None], axis=1)
    following = np.roll(around, -1, axis=1)
    return np.abs((around[..., 0] * following[..., 1] - around[..., 1] * following[..., 0]).sum(axis=1)) / 2


def _uncovered(box: NDArray[np.float64], seen: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """The box around what is seen inside ``box`` and the share of its area that is."""
    first = np.floor(box[:2]).astype(int)
    last = np.ceil(box[2:]).astype(int)
    inside = seen[first[1] : last[1], first[0] : last[0]]
    columns = _shares(box[0], box[2], first[0], last[0])
    rows = _shares(box[1], box[3], first[1], last[1])
    share = float(rows @ inside @ columns) / float(rows.sum() * columns.sum())
    if share == 0:
        return np.array([*box[:2], *box[:2]]), 0.0
    across, down = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    low = np.maximum(box[:2], np.array([across[0], down[0]]) + first)
    high = np.minimum(box[2:], np.array([across[-1], down[-1]]) + first + 1)
    return np.concatenate([low, high]), share


def _shares(low: float, high: float, first: int, last: int) -> NDArray[np.float64]:
    """How much of each pixel from ``first`` to ``last`` lies between ``low`` and ``high``."""
    edges = np.arange(first, last)
    return np.minimum(edges + 1.0, high) - np.maximum(edges, low)
