"""The search space: domains, drawing, replacing, comparing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.errors import UsageError
from edgehone.space import (
    Choice,
    Forbid,
    Prefer,
    SearchSpace,
    Span,
    diff,
    dimensions,
    fingerprint,
    flatten,
    in_force,
    load,
    parse_assignments,
    replace,
)
from edgehone.strategy import AUTHORS, DARKNET, PRESETS, Strategy

SPACE = SearchSpace(Strategy())
seeds = st.integers(0, 2**32 - 1)


@given(st.floats(1e-4, 1.0), st.floats(1.1, 100.0), st.booleans(), st.floats(0, 1))
def test_a_span_goes_there_and_back(low: float, ratio: float, log: bool, unit: float) -> None:
    span = Span(low, low * ratio, log=log)
    value = span.at(unit)
    assert span.low <= value <= span.high
    assert span.at(span.unit(value)) == pytest.approx(value, rel=2e-3)


@pytest.mark.parametrize(("low", "high", "log"), [(1.0, 1.0, False), (2.0, 1.0, False), (0.0, 1.0, True)])
def test_an_impossible_span_is_refused(low: float, high: float, log: bool) -> None:
    with pytest.raises(ValueError, match="need"):
        Span(low, high, log=log)


def test_a_choice_needs_two_values() -> None:
    with pytest.raises(ValueError, match="at least two"):
        Choice("only")


def test_a_fingerprint_does_not_change_between_versions() -> None:
    assert fingerprint(Forbid(path="a.b", values=(2,), because="c")) == "988adcbda971c4ab"
    assert fingerprint(DARKNET) != fingerprint(AUTHORS)


def inside(strategy: Strategy) -> None:
    flat = flatten(strategy)
    for dimension in SPACE.active(strategy):
        value = flat[dimension.path]
        if isinstance(dimension.domain, Choice):
            assert value in dimension.domain.values
        else:
            assert dimension.domain.low <= value <= dimension.domain.high


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_what_is_drawn_lies_in_the_space_and_survives_json(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = SPACE.sample(rng)
    assert isinstance(drawn, Strategy)
    inside(drawn)
    neighbour = SPACE.mutate(drawn, rng, 0.2)
    assert isinstance(neighbour, Strategy)
    inside(neighbour)
    assert load(Strategy, neighbour.model_dump(mode="json")) == neighbour
    assert fingerprint(load(Strategy, drawn.model_dump(mode="json"))) == fingerprint(drawn)


@settings(max_examples=30, deadline=None)
@given(seeds, seeds)
def test_a_diff_replaced_gives_the_other(first: int, second: int) -> None:
    a, b = (SPACE.sample(np.random.default_rng(seed)) for seed in (first, second))
    changed = diff(a, b)
    exchanged = tuple(path.removesuffix("kind") for path in changed if path.endswith(".kind"))
    # A part of another kind starts from its defaults, so all of its values are given.
    changes = {p: v for p, v in flatten(b).items() if p in changed or p.startswith(exchanged)}
    assert replace(a, changes) == b
    assert diff(a, a) == {}


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_what_is_forbidden_is_never_drawn(seed: int) -> None:
    space = SPACE.prefer([Forbid(path="projection.assigner.kind", values=("ratio_match", "best_anchor"), because="x")])
    rng = np.random.default_rng(seed)
    drawn = space.sample(rng)
    for strategy in (drawn, space.mutate(drawn, rng, 0.5), space.preferred()):
        assert flatten(strategy)["projection.assigner.kind"] not in ("ratio_match", "best_anchor")


def test_nothing_left_to_choose_is_said() -> None:
    (assigners,) = (d.domain for d in dimensions(Strategy) if d.path == "projection.assigner.kind")
    assert isinstance(assigners, Choice)
    everything = assigners.values
    space = SPACE.prefer([Forbid(path="projection.assigner.kind", values=everything, because="x")])
    with pytest.raises(UsageError, match=r"no value for projection\.assigner\.kind"):
        space.sample(np.random.default_rng(0))


def test_a_preference_is_followed_about_as_often_as_it_says() -> None:
    space = SPACE.prefer([Prefer(path="input.fit", value="letterbox", confidence=0.8, because="x")])
    rng = np.random.default_rng(0)
    drawn = [flatten(space.sample(rng))["input.fit"] for _ in range(300)]
    assert 0.83 < drawn.count("letterbox") / 300 < 0.96, "0.8, and half of the rest"


@pytest.mark.parametrize("value", [-1.0, 0.0, 2.3e-3, 7.6, 1e9])
def test_a_preference_beyond_the_span_ends_at_its_edge(value: float) -> None:
    paths = [d.path for d in SPACE.active(Strategy()) if isinstance(d.domain, Span)]
    assert len(paths) > 20
    space = SPACE.prefer([Prefer(path=path, value=value, confidence=0.9, because="x") for path in paths])
    inside(space.preferred())  # pyright: ignore[reportArgumentType]
    inside(space.sample(np.random.default_rng(0)))  # pyright: ignore[reportArgumentType]


def test_a_later_preference_replaces_an_earlier_one() -> None:
    wishes = [Prefer(path="input.size", value=v, confidence=0.9, because="x") for v in (160, 256)]
    preferred = SPACE.prefer(wishes[:1]).prefer(wishes[1:]).preferred()
    assert diff(Strategy(), preferred) == {"input.size": (416, 256)}


ADAMW = (("optimisation.optimizer.kind", "adamw"),)


def test_advice_for_one_kind_leaves_the_others_alone() -> None:
    rate = Prefer(path="optimisation.optimizer.lr", value=2e-3, confidence=0.9, because="x", when=ADAMW)
    kind = Prefer(path="optimisation.optimizer.kind", value="adamw", confidence=0.9, because="x")
    assert flatten(SPACE.prefer([rate]).preferred())["optimisation.optimizer.lr"] == 0.01, "SGD has its own"
    assert flatten(SPACE.prefer([rate, kind]).preferred())["optimisation.optimizer.lr"] == 2e-3
    general = rate.model_copy(update={"value": 5e-3, "when": ()})
    assert in_force([rate.model_copy(), general, rate]) == (general, rate)
    assert rate.applies(flatten(SPACE.prefer([kind]).preferred()))
    assert not rate.applies(flatten(Strategy()))
    rng = np.random.default_rng(0)
    drawn = [flatten(SPACE.prefer([rate]).sample(rng)) for _ in range(200)]
    near = [abs(np.log(flat["optimisation.optimizer.lr"] / 2e-3)) < 0.6 for flat in drawn
            if flat["optimisation.optimizer.kind"] == "adamw"]  # fmt: skip
    assert np.mean(near) > 0.6


def test_all_limits_are_in_force_and_the_last_preference_of_each_setting() -> None:
    limit = Forbid(path="input.size", values=(416,), because="slow")
    first, last = (Prefer(path="input.size", value=size, confidence=0.5, because="") for size in (320, 256))
    other = Prefer(path="optimisation.optimizer.kind", value="adamw", confidence=0.5, because="")
    assert in_force([first, limit, other, last, limit]) == (limit, other, last, limit)
    assert in_force([]) == ()


def test_fixed_dimensions_keep_their_value() -> None:
    space = SearchSpace(AUTHORS, fixed=frozenset({"input.size", "projection.assigner.kind"}))
    rng = np.random.default_rng(1)
    for _ in range(20):
        flat = flatten(space.sample(rng))
        assert (flat["input.size"], flat["projection.assigner.kind"]) == (416, "ratio_match")


def test_a_changed_kind_starts_from_its_own_defaults() -> None:
    changed = replace(DARKNET, {"projection.assigner.kind": "sim_ota", "projection.assigner.top": 7})
    assert changed.projection.assigner.model_dump() == {"kind": "sim_ota", "anchor_t": 4.0, "iou_cost": 3.0, "top": 7}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("projection.box_los.weight=0.1", "did you mean"),
        ("projection.box_loss.weight=heavy", "valid number"),
        ("projection.assigner.kind=magic", "magic"),
        ("input.size=17", "input.size"),
        ("nonsense", "path=value"),
    ],
)
def test_a_wrong_assignment_is_explained(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_assignments(AUTHORS, [text])


def test_presets_lie_in_the_space_that_is_searched() -> None:
    for preset in PRESETS.values():
        inside(preset)


def test_the_space_is_rich() -> None:
    paths = {d.path for d in dimensions(Strategy)}
    assert len(paths) >= 45
    wanted = {"input.size", "projection.anchors.kind", "projection.second_head_mask", "projection.assigner.kind"}
    wanted |= {"projection.coding.kind", "projection.box_loss.kind", "projection.box_loss.weight"}
    wanted |= {"projection.objectness.target", "projection.objectness.weight", "projection.classification.weight"}
    wanted |= {f"augmentation.{name}.probability" for name in ("mosaic", "mixup")}
    wanted |= {"augmentation.affine.scale", "augmentation.affine.translate", "augmentation.off_fraction"}
    wanted |= {"augmentation.hsv.kind", "augmentation.flip.horizontal", "optimisation.optimizer.kind"}
    wanted |= {"optimisation.optimizer.lr", "optimisation.average.kind"}
    assert wanted <= paths
