"""Which of many candidate boxes are told: the best of each heap, class by class."""
# pyright: basic

import numpy as np

from .decoding import Candidates

EPS = np.float32(1e-7)


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
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), 1)
    alive = np.ones(len(boxes), bool)
    kept = []
    for k in range(len(boxes)):
        if not alive[k]:
            continue
        kept.append(k)
        if len(kept) == max_detections:
            break
        low = np.maximum(boxes[k, :2], boxes[k + 1 :, :2])
        high = np.minimum(boxes[k, 2:], boxes[k + 1 :, 2:])
        inner = np.prod(np.maximum(high - low, 0), 1)
        gone = inner / (areas[k] + areas[k + 1 :] - inner + EPS) > iou
        if per_class:
            gone &= classes[k + 1 :] == classes[k]
        alive[k + 1 :] &= ~gone
    return Candidates(boxes[kept], scores[kept], classes[kept])
