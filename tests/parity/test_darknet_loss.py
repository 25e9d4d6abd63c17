"""The Darknet preset's gradients at the heads, against the rules of yolo_layer.c worked out slot by slot.

The rules: the cell of an object's centre at the anchor of best shape IoU over all anchors, if a head owns it; other
slots are silent, but for those whose box overlaps an object by more than 0.7 and that are sure of some class; CIoU
times 0.07 on boxes; binary cross-entropy on objectness and classes; sums, divided by the number of pictures. The
box's gradient is that of the CIoU through the decoding; Darknet's own code leaves out factors of the chain rule
(sigmoid', the grid's size, the anchor), which this project does not imitate.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edgehone.projection.anchors import OFFICIAL_416_PX
from edgehone.strategy import DARKNET
from edgehone.types import Targets

SIDE, CLASSES, IMAGES = 128, 3, 2
ANCHORS = [(w * SIDE / 416, h * SIDE / 416) for w, h in OFFICIAL_416_PX]
MASKS = {32: (3, 4, 5), 16: (1, 2, 3)}
Box = tuple[float, float, float, float]


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def decode(logits: list[float], column: int, row: int, stride: int, anchor: tuple[float, float]) -> Box:
    """Centre and sides (yolo_layer.c, get_yolo_box, scale_x_y 1.05)."""
    x, y = ((cell + 1.05 * sigmoid(z) - 0.025) * stride for cell, z in zip((column, row), logits[:2], strict=True))
    return x, y, anchor[0] * math.exp(logits[2]), anchor[1] * math.exp(logits[3])


def overlap(a: Box, b: Box) -> float:
    inner = math.prod(
        max(0.0, min(a[k] + a[k + 2] / 2, b[k] + b[k + 2] / 2) - max(a[k] - a[k + 2] / 2, b[k] - b[k + 2] / 2))
        for k in (0, 1)
    )
    return inner / (a[2] * a[3] + b[2] * b[3] - inner)


def ciou_loss(a: Box, b: Box, alpha: float | None = None) -> tuple[float, float]:
    """1 - CIoU (Zheng et al., 2020), and the aspect weight, which may be given."""
    hull = [
        max(a[k] + a[k + 2] / 2, b[k] + b[k + 2] / 2) - min(a[k] - a[k + 2] / 2, b[k] - b[k + 2] / 2) for k in (0, 1)
    ]
    distance = ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / (hull[0] ** 2 + hull[1] ** 2)
    aspect = 4 / math.pi**2 * (math.atan(b[2] / b[3]) - math.atan(a[2] / a[3])) ** 2
    weight = aspect / (1 - overlap(a, b) + aspect) if alpha is None else alpha
    return 1 - overlap(a, b) + distance + weight * aspect, weight


def shape_overlap(w: float, h: float, anchor: tuple[float, float]) -> float:
    inner = min(w, anchor[0]) * min(h, anchor[1])
    return inner / (w * h + anchor[0] * anchor[1] - inner)


def box_slope(logits: list[float], truth: Box, where: tuple[int, int, int, tuple[float, float]]) -> list[float]:
    """Central differences of 0.07 x the CIoU loss, its aspect weight held."""
    _, alpha = ciou_loss(decode(logits, *where), truth)
    slopes: list[float] = []
    for k in range(4):
        ends: list[float] = []
        for step in (1e-5, -1e-5):
            moved = [z + step * (i == k) for i, z in enumerate(logits)]
            ends.append(ciou_loss(decode(moved, *where), truth, alpha)[0])
        slopes.append(0.07 * (ends[0] - ends[1]) / 2e-5)
    return slopes


def slow_gradients(heads: list[np.ndarray], truths: list[list[tuple[Box, int]]]) -> tuple[list[np.ndarray], int]:
    """Of every head ``[image, anchor, 5 + classes, row, column]``, and how many slots were ignored."""
    found = [np.zeros_like(head) for head in heads]
    ignored = 0
    for head, slope, (stride, mask) in zip(heads, found, MASKS.items(), strict=True):
        for image, a, row, column in np.ndindex(IMAGES, len(mask), SIDE // stride, SIDE // stride):
            logits = head[image, a, :, row, column].tolist()
            anchor = ANCHORS[mask[a]]
            said = decode(logits[:4], column, row, stride, anchor)
            owner: tuple[Box, int] | None = None
            for box, label in truths[image]:
                best = max(range(6), key=lambda k: shape_overlap(box[2], box[3], ANCHORS[k]))
                if best == mask[a] and (int(box[0] / stride), int(box[1] / stride)) == (column, row):
                    owner = (box, label)
            out = slope[image, a, :, row, column]
            if owner is None:
                near = any(overlap(said, box) > 0.7 for box, _ in truths[image])
                sure = max(map(sigmoid, logits[5:])) > 0.25
                ignored += near and sure
                out[4] = 0.0 if near and sure else sigmoid(logits[4])
                continue
            out[:4] = box_slope(logits[:4], owner[0], (column, row, stride, anchor))
            out[4] = sigmoid(logits[4]) - 1
            out[5:] = [sigmoid(z) - (k == owner[1]) for k, z in enumerate(logits[5:])]
    return [slope / IMAGES for slope in found], ignored


def draw_objects(image: int, heads: list[np.ndarray], rng: np.random.Generator) -> list[tuple[Box, int]]:
    """Some anywhere, and some near what a slot says, whether or not it is the slot that learns them."""
    found: list[tuple[Box, int]] = []
    for number in range(8):
        w, h = np.array(ANCHORS[int(rng.integers(6))]) * rng.uniform(0.85, 1.2, 2)
        x, y = rng.uniform(1, SIDE - 1, 2)
        if number % 2:
            level = int(rng.integers(2))
            stride, mask = list(MASKS.items())[level]
            a, row, column = int(rng.integers(3)), *(int(v) for v in rng.integers(0, SIDE // stride, 2))
            x, y, w, h = decode(heads[level][image, a, :4, row, column].tolist(), column, row, stride, ANCHORS[mask[a]])
            x, y = np.clip((x + 0.04 * w, y + 0.04 * h), 1, SIDE - 1)
        found.append(((float(x), float(y), float(w), float(h)), int(rng.integers(CLASSES))))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_gradients_follow_the_rules_of_yolo_layer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heads = [rng.normal(0, 0.5, (IMAGES, 3, 5 + CLASSES, SIDE // s, SIDE // s)) for s in MASKS]
    truths = [draw_objects(image, heads, rng) for image in range(IMAGES)]
    flat = [(image, box, label) for image, boxes in enumerate(truths) for box, label in boxes]
    targets = Targets(
        torch.tensor([[b[0] - b[2] / 2, b[1] - b[3] / 2, b[0] + b[2] / 2, b[1] + b[3] / 2] for _, b, _ in flat]),
        torch.tensor([label for *_, label in flat]),
        torch.tensor([image for image, *_ in flat]),
        IMAGES,
    )
    projection = DARKNET.projection
    grid = projection.lattice(np.array(ANCHORS), tuple(MASKS), (SIDE, SIDE))
    ours = [torch.from_numpy(head).float().requires_grad_() for head in heads]
    terms = projection.loss([head.flatten(1, 2) for head in ours], targets, grid)
    terms.total.backward()
    expected, ignored = slow_gradients(heads, truths)
    assert terms.positives > 3
    assert ignored > 0
    for head, slope in zip(ours, expected, strict=True):
        assert head.grad is not None
        assert np.abs(head.grad.numpy() - slope).max() < 1e-4
