"""Advice for people: a finer head where objects share cells, classes that nothing learns; silence else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from edgehone.analysis import Profile
from edgehone.analysis.projection import Candidate, ProjectionFacts, projection_facts
from edgehone.data import read_dataset
from edgehone.search.advice import REASONS, advice, main_loss
from edgehone.space import replace
from edgehone.strategy import AUTHORS, DARKNET

SCENES = "builtin:digits?train=8&val=1&test=1&width=160&height=160&label_noise=0"


def facts(source: str, **changes: Any) -> ProjectionFacts:
    data = read_dataset(source)
    strategy = replace(AUTHORS, {"input.size": 160, **changes})
    return projection_facts(Candidate("it", strategy), DARKNET, "yolov4-tiny", data.class_names, data.train)


def profile(*projections: ProjectionFacts) -> Profile:
    return cast(Profile, SimpleNamespace(projection=projections))


def test_crowded_cells_ask_for_a_third_head_with_the_numbers() -> None:
    crowded = facts(f"{SCENES}&min_px=8&max_px=12&min_objects=40&max_objects=50&overlap=0.1")
    shared, left = crowded.occupied_by_stride[16], crowded.occupied_by_stride[8]
    said = [text for text in advice(profile(crowded)) if "yolov4-tiny-3l" in text]
    assert len(said) == 1
    assert f"{100 * shared:.0f} %" in said[0]
    assert f"leave {100 * left:.0f} %" in said[0]


def test_a_network_that_has_the_finer_head_is_not_told_to_get_it() -> None:
    crowded = facts(f"{SCENES}&min_px=8&max_px=12&min_objects=40&max_objects=50&overlap=0.1")
    three = crowded.model_copy(update={"strides": (32, 16, 8)})
    assert not any("third head" in text for text in advice(profile(three)))


def test_a_class_that_no_cell_learns_is_named_with_the_least_bad_projection() -> None:
    easy = facts(f"{SCENES}&min_px=40&max_px=60&min_objects=2&max_objects=3")
    name = next(iter(easy.unclaimed_by_class))
    worse, bad = (
        easy.model_copy(update={"label": label, "unclaimed_by_class": {**easy.unclaimed_by_class, name: share}})
        for label, share in (("worse", 0.5), ("bad", 0.3))
    )
    assert [
        text for text in advice(profile(worse, bad)) if f"class {name}" in text and "30 %" in text and "bad" in text
    ]
    assert not any(f"class {name}" in text for text in advice(profile(worse, bad, easy)))


def test_where_nothing_is_wrong_nothing_is_said() -> None:
    assert advice(profile(facts(f"{SCENES}&min_px=40&max_px=60&min_objects=2&max_objects=3"))) == ()
    assert advice(profile()) == ()


def test_every_reason_has_words() -> None:
    easy = facts(f"{SCENES}&min_px=40&max_px=60&min_objects=2&max_objects=3")
    for reason, words in REASONS.items():
        assert main_loss(easy.model_copy(update={"lost_by_reason": {reason: 0.1}})) == words
    assert main_loss(easy.model_copy(update={"lost_by_reason": {}})) == ""
