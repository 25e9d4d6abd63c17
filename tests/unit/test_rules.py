"""Rules: facts in, advice with reasons out."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from edgehone.analysis import ProjectionFacts
from edgehone.boards import BoardMode
from edgehone.errors import UsageError
from edgehone.search.board_costs import LatencyLimit
from edgehone.search.facts import Facts
from edgehone.search.rules import HEARD_PX, apply_rules
from edgehone.search.size_rules import CLAIM_PX
from edgehone.space import Forbid, Prefer, SearchSpace, dimensions, flatten
from edgehone.strategy import INPUT_SIZES, Strategy


def projection(label: str, **changes: Any) -> ProjectionFacts:
    facts = {
        "label": label, "input_size": 288, "strategy_diff": {}, "ceiling_ap": 0.99, "ceiling_ap50": 0.99,
        "unclaimed_fraction": 0.0, "unclaimed_by_class": {}, "positives_per_object": 9.0, "anchor_fit": 0.6,
        "unowned_fraction": 0.14, "objects": 100,
    }  # fmt: skip
    return ProjectionFacts(**{**facts, **changes})


CANDIDATES = (
    projection("darknet"),
    projection("authors"),
    projection("kmeans", anchor_fit=0.8),
    projection("task_aligned"),
)
FACTS = Facts(
    train_images=200,
    class_names=("platelet", "cell"),
    class_sides=(0.07, 0.2),
    full_images={size: round(8000 * (256 / size) ** 2) for size in INPUT_SIZES},
    candidates=CANDIDATES,
    max_input=416,
)


def advice(**changes: Any) -> dict[str, Prefer]:
    found = apply_rules(dataclasses.replace(FACTS, **changes))
    return {prior.path: prior for prior in found if isinstance(prior, Prefer)}


def test_every_rule_speaks_of_a_dimension_that_exists_and_says_why() -> None:
    paths = {d.path: d for d in dimensions(Strategy)}
    for prior in apply_rules(FACTS):
        assert prior.path in paths
        assert len(prior.because) > 20
    preferred = SearchSpace(Strategy(), tuple(apply_rules(FACTS))).preferred()
    assert isinstance(preferred, Strategy)
    flat = flatten(preferred)
    assert flat["projection.assigner.kind"] == "task_aligned"
    assert flat["optimisation.optimizer.kind"] == "adamw"


def test_the_input_is_large_enough_for_the_smallest_class_and_no_larger() -> None:
    size = int(advice()["input.size"].value)
    assert 0.07 * size >= CLAIM_PX
    assert 0.07 * (size - 32) < CLAIM_PX
    assert int(advice(class_sides=(0.3, 0.4))["input.size"].value) == INPUT_SIZES[0]


def test_an_input_that_leaves_too_few_pictures_is_not_preferred() -> None:
    poor = {size: images // 8 for size, images in FACTS.full_images.items()}
    assert int(advice(full_images=poor)["input.size"].value) < int(advice()["input.size"].value)


def test_a_long_run_needs_no_crutches() -> None:
    long = {size: images * 50 for size, images in FACTS.full_images.items()}
    found = advice(full_images=long)
    assert "optimisation.optimizer.kind" not in found
    assert "projection.normalisation" not in found
    assert float(found["augmentation.mosaic.probability"].value) > 0
    assert float(advice()["augmentation.mosaic.probability"].value) == 0


def test_anchors_are_clustered_only_where_that_fits_better() -> None:
    assert advice()["projection.anchors.kind"].value == "kmeans"
    alike = (*CANDIDATES[:2], projection("kmeans", anchor_fit=0.62), CANDIDATES[3])
    assert advice(candidates=alike)["projection.anchors.kind"].value == "official"


def test_anchors_that_lose_more_objects_are_not_preferred() -> None:
    crowding = projection("kmeans", anchor_fit=0.8, lost_fraction=0.18)
    losing = (*CANDIDATES[:2], crowding, CANDIDATES[3])
    assert advice(candidates=losing)["projection.anchors.kind"].value == "official"
    by_level = (*losing, projection("by_level", anchor_fit=0.75, lost_fraction=0.0))
    chosen = advice(candidates=by_level)["projection.anchors.kind"]
    assert chosen.value == "by_level"
    assert "(by_level) 0.75 and 0.0 %" in chosen.because
    assert "14.0 %" in advice()["projection.second_head_mask"].because


def test_an_assigner_that_loses_objects_is_not_advised() -> None:
    losing = (*CANDIDATES[:3], projection("task_aligned", lost_fraction=0.1))
    assert "projection.assigner.kind" not in advice(candidates=losing)
    both = (CANDIDATES[0], projection("authors", lost_fraction=0.1), *losing[2:])
    found = advice(candidates=both)["projection.assigner.kind"]
    assert found.value == "task_aligned", "crowded objects are lost by any assigner"
    assert "loses 10.0 % of the objects, ratio match 10.0 %" in found.because


def test_objects_vote_where_sizes_differ() -> None:
    assert advice()["projection.vote"].value == "object"
    assert "projection.vote" not in advice(class_sides=(0.2, 0.21))


def test_limits_forbid() -> None:
    slow = Forbid(path="input.size", values=tuple(size for size in INPUT_SIZES if size > 240), because="slow")
    heavy = Forbid(path="input.size", values=(416,), because="heavy")
    found = apply_rules(dataclasses.replace(FACTS, max_input=320, board_limits=(slow, heavy)))
    told = [value for prior in found if isinstance(prior, Forbid) for value in prior.values]
    assert len(set(told)) == len(told), "one reason for each size is enough"
    banned = {value for prior in found if isinstance(prior, Forbid) for value in prior.values}
    assert banned == {size for size in INPUT_SIZES if size > 240}
    size = next(prior.value for prior in found if prior.path == "input.size" and isinstance(prior, Prefer))
    assert size not in banned


@pytest.mark.parametrize("text", ["fast", "cpu<8ms", "cpu<=8", "<=8ms"])
def test_a_latency_limit_has_one_form(text: str) -> None:
    assert LatencyLimit.parse("cpu<=7.5ms") == LatencyLimit(mode=BoardMode.parse("cpu"), milliseconds=7.5)
    with pytest.raises(UsageError, match="cpu<=8ms"):
        LatencyLimit.parse(text)


def test_what_was_learnt_on_a_data_set_can_be_left_out() -> None:
    """Advice that one set alone taught goes; what two taught is half as sure; what is published stays."""
    told = {prior.path: prior for prior in apply_rules(FACTS) if isinstance(prior, Prefer)}
    left = {prior.path: prior for prior in apply_rules(FACTS, ("bccd",)) if isinstance(prior, Prefer)}
    gone = {path for path, prior in told.items() if prior.learnt_on == ("bccd",)} - {"input.size"}
    assert gone >= {"projection.normalisation", "projection.objectness.target", "augmentation.affine.scale"}
    assert set(left) == set(told) - gone
    optimizer = left["optimisation.optimizer.kind"]
    assert optimizer.learnt_on == ("cards-640",)
    assert "without what bccd taught" in optimizer.because
    odds = [p.confidence / (1 - p.confidence) for p in (optimizer, told["optimisation.optimizer.kind"])]
    assert odds[0] ** 2 == pytest.approx(odds[1], rel=0.02)
    assert left["projection.second_head_mask"] == told["projection.second_head_mask"]


def test_what_was_believed_before_two_sets_weakened_it_is_believed_without_them() -> None:
    said = [
        next(p for p in reversed(apply_rules(FACTS, names)) if p.path == "projection.coding.kind")
        for names in ((), ("bccd", "cards-640"))
    ]
    learnt, published = (prior for prior in said if isinstance(prior, Prefer))
    assert (learnt.confidence, learnt.learnt_on) == (0.55, ("bccd", "cards-640"))
    assert (published.confidence, published.learnt_on) == (0.7, ())


def test_limits_stay_whatever_is_left_out() -> None:
    facts = dataclasses.replace(FACTS, max_input=320)
    limits = [prior for prior in apply_rules(facts) if isinstance(prior, Forbid)]
    assert limits
    assert limits == [prior for prior in apply_rules(facts, ("bccd", "cards-640")) if isinstance(prior, Forbid)]


def test_without_what_it_learnt_the_input_size_is_guessed_not_dropped() -> None:
    """The published 416 px would stand in its place: the dearest of all."""
    facts = dataclasses.replace(FACTS, full_images={size: n // 2 for size, n in FACTS.full_images.items()})
    learnt, guessed = (
        next(p for p in apply_rules(facts, names) if isinstance(p, Prefer) and p.path == "input.size")
        for names in ((), ("bccd",))
    )
    assert (learnt.learnt_on, guessed.learnt_on) == (("bccd",), ())
    assert int(guessed.value) < int(learnt.value)


def test_the_last_word_on_the_class_weight_grows_slower_than_the_number_of_classes_falls() -> None:
    names = tuple("abcdef")
    said = [
        [p for p in apply_rules(dataclasses.replace(FACTS, class_names=names, class_sides=(0.2,) * 6), out)
         if isinstance(p, Prefer) and p.path == "projection.classification.weight"]
        for out in ((), ("cards-640",))
    ]  # fmt: skip
    assert [p.value for p in said[0]] == [3.33, pytest.approx(2.0, abs=0.02)]
    assert [p.value for p in said[1]] == [3.33]


def test_objects_too_small_to_be_found_get_no_vote_of_their_own() -> None:
    small, large = HEARD_PX / 288 * 1.01, 0.3
    assert advice(class_sides=(small, large), max_input=288)["input.size"].value == 288
    assert advice(class_sides=(small, large), max_input=288)["projection.vote"].value == "object"
    assert "projection.vote" not in advice(class_sides=(0.98 * small, large), max_input=288)
