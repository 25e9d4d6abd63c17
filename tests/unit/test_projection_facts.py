"""What the analysis says of a projection: which objects are lost and why, and who is heard at the start."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from edgehone.analysis.ceiling import Perfect, Taught, lost_objects, perfect_network
from edgehone.analysis.projection import (
    Candidate,
    ProjectionFacts,
    candidate_lattice,
    lost_object,
    occupied_cells,
    projection_facts,
    teach,
)
from edgehone.data import Sample, read_dataset
from edgehone.space import replace
from edgehone.strategy import AUTHORS, DARKNET, Strategy
from edgehone.training import truth_sides_px
from edgehone.types import Lattice

NAMES = ("0", "1", "2", "3")


def samples_of(**knobs: Any) -> list[Sample]:
    query = "&".join(f"{k}={v}" for k, v in {"val": 1, "test": 1, "train": 6, **knobs}.items())
    return list(read_dataset(f"builtin:digits?{query}").train)


def measured(strategy: Strategy, samples: list[Sample]) -> tuple[Taught, Perfect, dict[int, str]]:
    lattice = candidate_lattice(strategy, (32, 16), truth_sides_px(samples, strategy))
    taught = teach(strategy, lattice, samples, len(NAMES))
    perfect = perfect_network(taught, samples)
    return taught, perfect, dict(lost_objects(taught, perfect))


def at(strategy: Strategy, size: int, **changes: Any) -> Strategy:
    wanted = {"input.size": size, "projection.second_head_mask": "0,1,2"}
    return replace(strategy, {**wanted, **{f"projection.{k.replace('__', '.')}": v for k, v in changes.items()}})


def boxes_at(samples: list[Sample], size: int) -> list[tuple[int, float, float, float, float, int]]:
    """Image, centre, sides at a stretched input and class of every object."""
    found: list[tuple[int, float, float, float, float, int]] = []
    for image, sample in enumerate(samples):
        sx, sy = size / sample.size[1], size / sample.size[0]
        for (x1, y1, x2, y2), label in zip(sample.boxes_xyxy.tolist(), sample.classes.tolist(), strict=True):
            found.append((image, (x1 + x2) / 2 * sx, (y1 + y2) / 2 * sy, (x2 - x1) * sx, (y2 - y1) * sy, label))
    return found


def best_anchor(w: float, h: float, lattice: Lattice) -> int:
    def overlap(k: int) -> float:
        a, b = lattice.all_anchors_px[k].tolist()
        inner = min(w, a) * min(h, b)
        return inner / (w * h + a * b - inner)

    return max(range(len(lattice.all_anchors_px)), key=overlap)


def test_dense_scenes_lose_exactly_the_objects_on_a_taken_slot() -> None:
    samples = samples_of(width=320, height=320, min_px=10, max_px=30, min_objects=60, max_objects=90)
    strategy = at(DARKNET, 160)
    taught, perfect, lost = measured(strategy, samples)
    owner: dict[tuple[int, int, int, int], int] = {}
    keys: list[tuple[int, int, int, int]] = []
    for row, (image, x, y, w, h, _) in enumerate(boxes_at(samples, 160)):
        anchor = best_anchor(w, h, taught.lattice)
        stride = 16 if anchor < 3 else 32
        keys.append((image, anchor, int(x / stride), int(y / stride)))
        owner[keys[-1]] = row  # Darknet: the later object keeps the slot
    expected = {row for row, key in enumerate(keys) if owner[key] != row}
    assert len(expected) > 20
    assert lost == dict.fromkeys(expected, "collision")
    assert {int(r) for r in (~perfect.found).nonzero()} == expected


def test_elongated_objects_fit_no_anchor() -> None:
    samples = samples_of(width=1600, height=200, min_px=20, max_px=180, min_objects=3, max_objects=6, train=10)
    strategy = at(AUTHORS, 416, assigner__anchor_t=3.0)
    taught, _, lost = measured(strategy, samples)
    expected: set[int] = set()
    for row, (_, _, _, w, h, _) in enumerate(boxes_at(samples, 416)):
        ratios = [max(w / a, a / w, h / b, b / h) for a, b in taught.lattice.all_anchors_px.tolist()]
        if min(ratios) >= 3.0:
            expected.add(row)
    assert 3 < len(expected) < len(taught.targets.classes)
    assert {row for row, reason in lost.items() if reason == "no_anchor"} == expected
    assert set(lost.values()) <= {"no_anchor", "collision", "suppressed"}


def test_the_official_mask_loses_what_fits_the_unowned_anchor() -> None:
    samples = samples_of(width=416, height=416, min_px=10, max_px=60, train=8)
    strategy = replace(DARKNET, {"input.size": 416})
    taught, _, lost = measured(strategy, samples)
    shapes = [(w, h) for _, _, _, w, h, _ in boxes_at(samples, 416)]
    expected = {row for row, (w, h) in enumerate(shapes) if best_anchor(w, h, taught.lattice) == 0}
    assert expected
    assert {row for row, reason in lost.items() if reason == "no_anchor"} == expected


def test_tiny_objects_that_hold_no_cells_middle_are_too_small_for_distances() -> None:
    samples = samples_of(width=416, height=416, min_px=6, max_px=9, min_objects=8, max_objects=15, train=8)
    strategy = at(DARKNET, 416, coding__kind="distances", anchors__kind="kmeans")
    taught, _, lost = measured(strategy, samples)
    places = boxes_at(samples, 416)
    expected: set[int] = set()
    for slot, row in zip(taught.assignment.slots.tolist(), taught.assignment.truths.tolist(), strict=True):
        _, x, y, w, h, _ = places[row]
        stride = float(taught.lattice.strides[slot])
        mx, my = ((float(v) + 0.5) * stride for v in taught.lattice.cells_xy[slot])
        # What distances from the middle can say at best: an edge on the wrong side is drawn to the middle.
        x1, x2 = min(x - w / 2, mx), max(x + w / 2, mx)
        y1, y2 = min(y - h / 2, my), max(y + h / 2, my)
        if w * h / ((x2 - x1) * (y2 - y1)) < 0.5:
            expected.add(row)
    assert len(expected) > 5
    assert {row for row, reason in lost.items() if reason == "too_small"} == expected
    assert set(lost.values()) <= {"too_small", "collision"}


def test_objects_larger_than_four_anchors_are_out_of_a_bounded_codings_reach() -> None:
    samples = samples_of(width=416, height=416, min_px=300, max_px=410, min_objects=1, max_objects=1, train=4)
    strategy = at(AUTHORS, 416, assigner__kind="best_anchor")
    lattice = strategy.projection.lattice(
        np.array([[4, 4], [8, 8], [12, 12], [16, 16], [20, 20], [24, 24]]), (32, 16), (416, 416)
    )
    taught = teach(strategy, lattice, samples, len(NAMES))
    lost = lost_objects(taught, perfect_network(taught, samples))
    assert lost == dict.fromkeys(range(4), "out_of_reach")


def test_suppression_and_the_limit_lose_objects_too() -> None:
    twins = samples_of(
        width=300, height=300, min_px=100, max_px=110, overlap=1, min_objects=60, max_objects=60, train=1
    )
    assert "suppressed" in measured(at(AUTHORS, 416), twins)[2].values()
    crowd = samples_of(width=1200, height=1200, min_px=30, max_px=34, min_objects=160, max_objects=160, train=1)
    taught, perfect, lost = measured(at(AUTHORS, 416, anchors__kind="kmeans"), crowd)
    assert len(perfect.detections[0]) == 100
    assert list(lost.values()).count("over_limit") == int((perfect.free & ~perfect.found).sum()) > 20
    assert len(taught.targets.classes) - len(lost) <= 100


def test_facts_add_up() -> None:
    samples = samples_of(width=320, height=320, min_px=8, max_px=90, min_objects=10, max_objects=50, train=10)
    facts = projection_facts(Candidate("it", at(AUTHORS, 160)), DARKNET, "yolov4-tiny", NAMES, samples)
    assert facts.images == 10
    assert facts.objects == sum(len(s.classes) for s in samples)
    assert sum(facts.lost_by_reason.values()) == pytest.approx(facts.lost_fraction, abs=1e-3)
    assert facts.lost_fraction >= facts.unclaimed_fraction
    assert sum(facts.positives_by_level.values()) == pytest.approx(facts.positives_per_object, abs=2e-3)
    assert set(facts.positives_by_level) == {32, 16}
    assert set(facts.ceiling_by_class) == set(NAMES)
    assert len(facts.lost_examples) == min(12, round(facts.lost_fraction * facts.objects))
    assert facts.start is not None
    for shares in (facts.start.loss, facts.start.gradient):
        for division in (shares.by_size, shares.by_class, shares.by_level):
            assert sum(division.values()) == pytest.approx(1, abs=1e-3)
            assert min(division.values()) >= 0
        background = shares.by_size["background"]
        assert background == shares.by_class["background"] > 0
    assert sum(facts.start.loss_by_term.values()) == pytest.approx(1, abs=1e-3)
    assert ProjectionFacts.model_validate_json(facts.model_dump_json()) == facts


@pytest.mark.parametrize("preset", [DARKNET, AUTHORS], ids=["darknet", "authors"])
def test_shares_are_those_of_the_loss_on_silent_heads(preset: Strategy) -> None:
    samples = samples_of(width=320, height=320, min_px=20, max_px=90, train=4)
    strategy = at(preset, 160)
    facts = projection_facts(Candidate("it", strategy), DARKNET, "yolov4-tiny", NAMES, samples)
    taught, _, _ = measured(strategy, samples)
    prior = strategy.projection.objectness.prior
    heads = [torch.zeros(4, 3, 9, side, side) for side in (5, 10)]
    for head in heads:
        head[:, :, 4] = math.log(prior / (1 - prior)) if prior else 0.0
        head.requires_grad_()
    terms = strategy.projection.loss([h.flatten(1, 2) for h in heads], taught.targets, taught.lattice)
    terms.total.backward()
    assert facts.start is not None
    values = terms.values()
    for name, share in facts.start.loss_by_term.items():
        assert share == pytest.approx(values[name] / values["total"], abs=1e-3)
    slopes = [float(h.grad.abs().sum()) for h in heads if h.grad is not None]
    assert facts.start.gradient.by_level[32] == pytest.approx(slopes[0] / sum(slopes), abs=1e-3)


def test_neighbour_cells_need_a_coding_that_reaches_over_the_edge() -> None:
    samples = samples_of(width=320, height=320, min_px=20, max_px=90, train=4)
    reached = {
        coding: projection_facts(
            Candidate(coding, at(AUTHORS, 160, coding__kind=coding)), DARKNET, "yolov4-tiny", NAMES, samples
        ).reached_positives
        for coding in ("exp", "squared_sigmoid", "distances")
    }
    assert reached["squared_sigmoid"] > 0.999, "its four anchors are the ratio that matches"
    assert 0.33 < reached["exp"] < 0.45, "one of three cells, and what lies on an edge"
    assert reached["distances"] < 1


def test_a_third_head_can_be_supposed() -> None:
    samples = samples_of(width=320, height=320, min_px=10, max_px=60, min_objects=40, max_objects=60)
    two, three = (
        projection_facts(
            Candidate("it", at(AUTHORS, 160, anchors__kind="by_level", assigner__kind="best_anchor"), strides),
            DARKNET, "yolov4-tiny", NAMES, samples,
        )
        for strides in (None, (32, 16, 8))
    )  # fmt: skip
    assert (two.strides, three.strides) == ((32, 16), (32, 16, 8))
    assert set(three.positives_by_level) == {32, 16, 8}
    assert three.start is not None
    assert set(three.start.loss.by_level) == {32, 16, 8}
    assert three.lost_fraction < 0.7 * two.lost_fraction
    assert three.ceiling_ap > two.ceiling_ap


def test_a_sampled_reason_stands_for_all() -> None:
    samples = samples_of(width=320, height=320, min_px=10, max_px=30, min_objects=60, max_objects=90)
    taught, perfect, everything = measured(at(DARKNET, 160), samples)
    some = lost_objects(taught, perfect, 10)
    assert len(some) == 10
    assert some.items() <= everything.items()


def test_a_lost_object_is_named() -> None:
    samples = samples_of(train=3)
    row = len(samples[0].classes) + 1
    found = lost_object(samples, NAMES, row, "collision")
    assert (found.sample, found.object) == (samples[1].id, 1)
    assert found.class_name == NAMES[samples[1].classes[1]]
    assert found.box_xyxy == pytest.approx(samples[1].boxes_xyxy[1].tolist(), abs=0.06)


def test_finer_strides_have_fewer_occupied_cells() -> None:
    samples = samples_of(width=320, height=320, min_px=8, max_px=20, min_objects=40, max_objects=60)
    taught, _, _ = measured(at(DARKNET, 160), samples)
    found = occupied_cells(taught.targets, taught.lattice)
    assert list(found) == [32, 16, 8]
    places = boxes_at(samples, 160)
    for stride, share in found.items():
        cells = [(image, int(x / stride), int(y / stride)) for image, x, y, *_ in places]
        assert share == pytest.approx(np.mean([cells.count(cell) > 1 for cell in cells]), abs=1e-3)
    assert found[32] > found[16] > found[8]
