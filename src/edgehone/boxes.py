"""Box formats, overlaps and suppression: pure tensor functions.

Boxes are ``xyxy`` (left, top, right, bottom) or ``cxcywh`` (centre, width, height), in any one
unit. Functions broadcast over leading dimensions unless they say otherwise, and are finite for
degenerate boxes (zero or negative sides count as area zero).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

EPS = 1e-7
NMS_BLOCK = 512
"""Boxes that are held against all others at once: what suppression needs of memory grows with the boxes alone."""


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
    boxes, named = boxes_xyxy[order], None if classes is None else classes[order]
    alive = np.ones(len(boxes), np.bool_)
    kept: list[int] = []
    for start in range(0, len(boxes), NMS_BLOCK):
        block = start + alive[start : start + NMS_BLOCK].nonzero()[0]
        rest = start + alive[start:].nonzero()[0]
        suppresses = iou_matrix(boxes[block], boxes[rest]) > iou_threshold
        if named is not None:
            suppresses &= named[block][:, None] == named[rest][None]
        for i, loses in zip(block.tolist(), suppresses.cpu().numpy(), strict=True):
            if alive[i]:
                kept.append(i)
                alive[rest[loses & (rest > i)]] = False
    return order[torch.tensor(kept, dtype=torch.int64, device=order.device)]
