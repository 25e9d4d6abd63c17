"""Regions to ignore: nothing in them is an error, nothing outside of them changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.evaluation import evaluate_detections
from edgehone.types import Detections, Truth, no_boxes

NAMES = ("cell", "plate", "dust")
REGION = np.array([[300, 0, 500, 400]], np.float32)
"""Beside the objects, which lie further to the left."""


def scene(seed: int) -> tuple[list[Truth], list[Detections]]:
    rng = np.random.default_rng(seed)
    truths: list[Truth] = []
    found: list[Detections] = []
    for _ in range(3):
        corner = rng.uniform(0, 200, (5, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(20, 80, (5, 2))], 1).astype(np.float32)
        truth = Truth(boxes, rng.integers(0, 2, 5), (400, 500), REGION)
        blurred = (boxes + rng.normal(0, 6, boxes.shape)).astype(np.float32)
        truths.append(truth)
        found.append(Detections(blurred, rng.uniform(0.1, 1, 5).astype(np.float32), truth.classes))
    return truths, found


def box_in(shares: tuple[float, float, float, float]) -> list[float]:
    """A box of at least a pixel, inside the region, from four numbers in 0 to 1."""
    left, top, right, bottom = REGION[0].tolist()
    x, width, y, height = shares
    low = left + x * (right - left - 2), top + y * (bottom - top - 2)
    return [*low, low[0] + 1 + width * (right - low[0] - 1), low[1] + 1 + height * (bottom - low[1] - 1)]


share = st.floats(0, 1, width=32)
answers = st.lists(
    st.tuples(st.tuples(share, share, share, share), st.sampled_from(range(3)), share),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 3), added=answers)
def test_answers_inside_a_region_change_nothing(
    seed: int, added: list[tuple[tuple[float, float, float, float], int, float]]
) -> None:
    truths, found = scene(seed)
    boxes = np.array([box_in(shares) for shares, _, _ in added], np.float32).reshape(-1, 4)
    first = Detections(
        np.concatenate([found[0].boxes_xyxy, boxes]),
        np.concatenate([found[0].scores, np.array([score for _, _, score in added], np.float32)]),
        np.concatenate([found[0].classes, np.array([k for _, k, _ in added], np.int64)]),
    )
    before = evaluate_detections(truths, found, NAMES, samples=5)
    assert evaluate_detections(truths, [first, *found[1:]], NAMES, samples=5) == before
    bare = [replace(truth, ignored_xyxy=no_boxes()) for truth in truths]
    assert evaluate_detections(bare, found, NAMES, samples=5) == before, "a region is neither missed nor found"


def test_the_same_answers_without_the_region_cost_precision() -> None:
    truths, found = scene(0)
    loud = Detections(
        np.concatenate([found[0].boxes_xyxy, REGION]),
        np.append(found[0].scores, np.float32(2)),
        np.append(found[0].classes, 0),
    )
    bare = [replace(truth, ignored_xyxy=no_boxes()) for truth in truths]
    clean = evaluate_detections(bare, found, NAMES, samples=0)
    assert evaluate_detections(truths, [loud, *found[1:]], NAMES, samples=0).ap == clean.ap
    assert evaluate_detections(bare, [loud, *found[1:]], NAMES, samples=0).ap < clean.ap
