"""Boxes: doubled, contradicting, of odd shape, and more than a detector can tell apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehone.data.checks import Findings
from edgehone.data.doctor.view import View

SAME_PX = 0.5
NEAR_IOU = 0.9
TINY_PX = 4.0
HUGE_SHARE = 0.95
LONG_ASPECT = 20.0
MOST_DETECTIONS = 100
"""That COCO's protocol counts in a picture."""

USUAL_INPUT_PX = 416
SMALL_PX = 8.0
SMALL_SHARE = 0.1
CELL_PX = 16
COLLIDING_SHARE = 0.1
LARGEST_PICTURE = 4000
"""Boxes of a picture that are compared with each other; beyond, only with the next ones by position."""


def check_boxes(view: View, findings: Findings) -> None:
    """Every check of boxes."""
    _shapes(view, findings)
    for picture in np.flatnonzero(np.diff(view.labels.starts) > 1).tolist():
        _pairs(view, picture, findings)
    for picture in np.flatnonzero(np.diff(view.labels.starts) > MOST_DETECTIONS).tolist():
        count = int(view.labels.starts[picture + 1] - view.labels.starts[picture])
        findings.add("crowded-picture", view.id(picture), f"{count} objects", sample=view.id(picture))
    _at_the_input(view, findings)


def _shapes(view: View, findings: Findings) -> None:
    labels = view.labels
    sides = labels.boxes_xyxy[:, 2:] - labels.boxes_xyxy[:, :2]
    images = labels.images()
    limits = labels.sizes[images][:, ::-1]
    short, long = sides.min(1, initial=np.inf), sides.max(1, initial=0)
    odd = {
        "box-tiny": short < TINY_PX,
        "box-huge": (sides >= HUGE_SHARE * limits).all(1),
        "box-aspect": long > LONG_ASPECT * np.maximum(short, 1e-9),
    }
    for code, mask in odd.items():
        for row in np.flatnonzero(mask).tolist():
            picture = int(images[row])
            width, height = sides[row].tolist()
            message = f"{view.class_names[labels.classes[row]]}: {width:.1f} x {height:.1f} px"
            findings.add(code, view.where(picture, row), message, sample=view.id(picture), boxes=(view.box(row),))


def _pairs(view: View, picture: int, findings: Findings) -> None:
    """Boxes of one picture that say the same, or contradict each other."""
    labels = view.labels
    first = int(labels.starts[picture])
    last = min(int(labels.starts[picture + 1]), first + LARGEST_PICTURE)
    boxes, classes = labels.boxes_xyxy[first:last].astype(np.float64), labels.classes[first:last]
    near = np.argwhere(np.triu(overlaps(boxes) >= NEAR_IOU, 1))
    for a, b in near.tolist():
        code = "box-duplicate" if np.abs(boxes[a] - boxes[b]).max() <= SAME_PX else "box-near-duplicate"
        if classes[a] != classes[b]:
            code = "box-two-classes"
        mine, other = (view.class_names[int(classes[k])] for k in (a, b))
        message = f"{mine} at {view.box(first + b)}, like {other} of {view.where(picture, first + a)}"
        pair = (view.box(first + a), view.box(first + b))
        findings.add(code, view.where(picture, first + b), message, sample=view.id(picture), boxes=pair)


def overlaps(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[n, n]`` IoU of ``[n, 4]`` boxes with each other."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    inner = np.clip(high - low, 0, None).prod(-1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    return inner / np.maximum(area[:, None] + area[None] - inner, 1e-9)


def _at_the_input(view: View, findings: Findings) -> None:
    """What is too small, or too close together, once pictures are stretched to the usual input."""
    labels = view.labels
    if not len(labels.classes):
        return
    images = labels.images()
    scale = USUAL_INPUT_PX / labels.sizes[images][:, ::-1]
    boxes = labels.boxes_xyxy.reshape(-1, 2, 2) * scale[:, None]
    sides = np.sqrt((boxes[:, 1] - boxes[:, 0]).prod(1))
    small = sides < SMALL_PX
    if small.mean() > SMALL_SHARE:
        message = f"{100 * small.mean():.0f} % of {len(small):,} objects are below {SMALL_PX:g} px at {USUAL_INPUT_PX}"
        findings.add("objects-small", "", message, sample=view.id(int(images[np.argmin(sides)])))
    cells = (boxes.mean(1) // CELL_PX).astype(np.int64)
    octaves = np.floor(np.log2(np.maximum(sides, 1e-3))).astype(np.int64)
    keys = np.stack([images, cells[:, 0], cells[:, 1], octaves], 1)
    _, inverse, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    colliding = counts[inverse.reshape(-1)] > 1
    if colliding.mean() > COLLIDING_SHARE:
        message = (
            f"{100 * colliding.mean():.0f} % of {len(colliding):,} objects share a cell of {CELL_PX} px at "
            f"{USUAL_INPUT_PX} with another of their size"
        )
        most = int(np.bincount(images[colliding]).argmax())
        findings.add("objects-collide", "", message, sample=view.id(most))
