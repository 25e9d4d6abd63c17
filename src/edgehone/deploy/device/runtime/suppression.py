"""Which of many candidate boxes are told: the best of each heap, class by class."""
# pyright: basic

import numpy as np

from .decoding import Candidates

EPS = np.float32(1e-7)

BLOCK = 64
"""Boxes that are compared with all others at once: one at a time, numpy is called more than it calculates."""


def suppress(found, iou, max_detections, candidates, per_class):
    """The detections among candidates, best first.

    Args:
        found: :class:`~.decoding.Candidates`.
        iou: a box that overlaps a better one by more goes.
        max_detections: at most so many stay.
        candidates: at most so many of the best take part.
        per_class: only a box of the same class suppresses.
    """
    order = np.argsort(-found.scores, kind="mergesort")[:candidates]
    boxes, scores, classes = found.boxes_xyxy[order], found.scores[order], found.classes[order]
    kept = _kept(boxes, classes if per_class else np.zeros_like(classes), iou, max_detections)
    return Candidates(boxes[kept], scores[kept], classes[kept])


def _kept(boxes, classes, iou, most):
    """Numbers of boxes, best first, that no better one of the same class suppresses."""
    left, top, right, bottom = np.ascontiguousarray(boxes.T)
    areas = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    alive = np.ones(len(boxes), bool)
    kept = []
    for start in range(0, len(boxes), BLOCK):
        rows = start + np.flatnonzero(alive[start : start + BLOCK])
        wide = np.minimum(right[rows, None], right[start:]) - np.maximum(left[rows, None], left[start:])
        high = np.minimum(bottom[rows, None], bottom[start:]) - np.maximum(top[rows, None], top[start:])
        inner = np.maximum(wide, 0) * np.maximum(high, 0)
        gone = inner / (areas[rows, None] + areas[start:] - inner + EPS) > iou
        gone &= classes[rows, None] == classes[start:]
        visible = ~gone
        for row, others in zip(rows.tolist(), visible):
            if not alive[row]:
                continue
            kept.append(row)
            if len(kept) == most:
                return kept
            alive[row + 1 :] &= others[row + 1 - start :]
    return kept
