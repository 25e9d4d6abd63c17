"""Box formats, overlaps and suppression: pure tensor functions.

Boxes are ``xyxy`` (left, top, right, bottom) or ``cxcywh`` (centre, width, height), in any one
unit. Functions broadcast over leading dimensions unless they say otherwise, and are finite for
degenerate boxes (zero or negative sides count as area zero).
"""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-7


def xyxy_to_cxcywh(boxes_xyxy: Tensor) -> Tensor:
    """``[..., 4]`` corners to centre and sides."""
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def cxcywh_to_xyxy(boxes_cxcywh: Tensor) -> Tensor:
    """``[..., 4]`` centre and sides to corners."""
    centre, half = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def area(boxes_xyxy: Tensor) -> Tensor:
    """``[..., 4]`` to ``[...]``; zero for degenerate boxes."""
    sides = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def intersection(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """Area of overlap of boxes taken pair by pair (broadcasting): ``[..., 4]`` to ``[...]``."""
    low = torch.maximum(a_xyxy[..., :2], b_xyxy[..., :2])
    high = torch.minimum(a_xyxy[..., 2:], b_xyxy[..., 2:])
    sides = (high - low).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def iou(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """Intersection over union, pair by pair (broadcasting), in 0..1."""
    inner = intersection(a_xyxy, b_xyxy)
    return inner / (area(a_xyxy) + area(b_xyxy) - inner + EPS)


def iou_matrix(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """``[n, 4]`` and ``[m, 4]`` to ``[n, m]``."""
    return iou(a_xyxy[:, None], b_xyxy[None])


def shape_iou_matrix(a_wh: Tensor, b_wh: Tensor) -> Tensor:
    """IoU of ``[n, 2]`` and ``[m, 2]`` boxes laid on one centre: ``[n, m]``."""
    inner = torch.minimum(a_wh[:, None], b_wh[None]).clamp(min=0).prod(-1)
    return inner / (a_wh.prod(-1)[:, None] + b_wh.prod(-1)[None] - inner + EPS)


def nms(boxes_xyxy: Tensor, scores: Tensor, iou_threshold: float, classes: Tensor | None = None) -> Tensor:
    """Greedy suppression of boxes that overlap a better one by more than ``iou_threshold``.

    Args:
        boxes_xyxy: ``[k, 4]``.
        scores: ``[k]``.
        iou_threshold: in 0..1.
        classes: ``[k]``; where given, only a box of the same class suppresses.

    Returns:
        Indices that survive, best first, ``[s]`` int64.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes = boxes_xyxy[order]
    suppresses = iou_matrix(boxes, boxes) > iou_threshold
    if classes is not None:
        suppresses &= classes[order][:, None] == classes[order][None]
    overlaps = suppresses.cpu().numpy()
    alive = [True] * len(boxes)
    kept: list[int] = []
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        kept.append(i)
        for j in overlaps[i, i + 1 :].nonzero()[0]:
            alive[i + 1 + int(j)] = False
    return order[torch.tensor(kept, dtype=torch.int64, device=order.device)]
