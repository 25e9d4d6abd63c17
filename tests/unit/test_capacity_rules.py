"""Rules of capacity: advice goes with the size of the network, with what a probe fitted, with cells and fields."""

from __future__ import annotations

import pytest

from edgehone.analysis.capacity import CapacityProfile, Coverage, HeadFacts, capacity_profile
from edgehone.analysis.capacity_probe import ProbeFacts, ProbePlan, Rung, fits_up_to
from edgehone.analysis.capacity_recall import Recall
from edgehone.models import MODELS
from edgehone.search.capacity_rules import capacity_of, cells_and_fields, loss_balance, strength_of_augmentation
from edgehone.search.facts import Facts
from edgehone.search.rules import MANY_EPOCHS, apply_rules
from edgehone.space import Prefer, SearchSpace, dimensions, flatten
from edgehone.strategy import INPUT_SIZES, Strategy

TINY = capacity_profile(MODELS["yolov4-tiny"].graph(3), INPUT_SIZES)
SIZES = (160, 224, 288, 416)


def of_size(parameters: float) -> CapacityProfile:
    return TINY.model_copy(update={"parameters": round(parameters)})


def probed(*shares: float, steps: int = 100) -> CapacityProfile:
    plan = ProbePlan(
        model="yolov4-tiny", strengths=(0.0, 0.5, 1.0), steps=steps, batch_size=8, pictures=32, input_size=160,
        precision="fp32", seed=0, seconds=1.0,
    )  # fmt: skip
    recalls = [Recall(overall=share, by_size={}, by_class={}) for share in shares]
    pairs = zip(plan.strengths, recalls, strict=True)
    rungs = tuple(Rung(strength=s, loss=1.0, f1=r.overall, fitted=r, ceiling=r) for s, r in pairs)
    facts = ProbeFacts(plan=plan, objects={}, rungs=rungs, fits_up_to=fits_up_to(rungs), seconds=1.0)
    return TINY.model_copy(update={"probe": facts})


def covered(below: dict[int, float], beyond: dict[int, float]) -> CapacityProfile:
    rows = [
        Coverage(input_size=size, stride=stride, smaller_than_cell=min(1.0, below[size] * stride / 16),
                 larger_than_field=beyond[size] + (0.0 if stride == 32 else 0.1))
        for size in SIZES for stride in (32, 16)
    ]  # fmt: skip
    heads = tuple(HeadFacts(stride=s, channels=64, receptive_field_px=10 * s) for s in (32, 16))
    return TINY.model_copy(update={"coverage": tuple(rows), "heads": heads})


def by_path(priors: list[Prefer]) -> dict[str, float]:
    return {prior.path: float(prior.value) for prior in priors}


def test_capacity_is_read_between_the_published_networks() -> None:
    assert capacity_of(TINY) == 0.0
    assert capacity_of(of_size(36.9e6)) == 1.0
    assert capacity_of(of_size(500e6)) == 1.0
    assert 0.4 <= capacity_of(of_size(15e6)) <= 0.6
    assert capacity_of(of_size(0.3e6)) == -0.5


def test_published_recipes_come_out_at_their_networks() -> None:
    small = by_path(list(strength_of_augmentation(TINY, 300, MANY_EPOCHS)))
    large = by_path(list(strength_of_augmentation(of_size(36.9e6), 300, MANY_EPOCHS)))
    names = ("affine.scale", "affine.translate", "mixup.probability")
    assert [small[f"augmentation.{name}"] for name in names] == [0.5, 0.1, 0.05]
    assert [large[f"augmentation.{name}"] for name in names] == [0.9, 0.2, 0.15]
    least = by_path(list(strength_of_augmentation(of_size(1), 300, MANY_EPOCHS)))
    assert all(0 <= least[path] < small[path] for path in small)
    assert list(strength_of_augmentation(TINY, 20, MANY_EPOCHS)) == []


def test_gains_shrink_as_networks_grow() -> None:
    small, large = by_path(list(loss_balance(TINY, 2.0))), by_path(list(loss_balance(of_size(36.9e6), 2.0)))
    assert small == {"projection.objectness.weight": 1.0}
    assert large == {"projection.objectness.weight": 0.7, "projection.classification.weight": pytest.approx(1.2)}


def test_a_probe_decides_for_runs_of_its_length() -> None:
    fits = by_path(list(strength_of_augmentation(probed(0.9, 0.8, 0.3), 40, MANY_EPOCHS)))
    assert fits == {
        "augmentation.affine.scale": 0.45,
        "augmentation.affine.translate": 0.1,
        "augmentation.mixup.probability": 0.05,
        "augmentation.mosaic.probability": 0.5,
    }
    both = list(strength_of_augmentation(probed(0.9, 0.8, 0.3), 40, MANY_EPOCHS))
    assert {(p.confidence, p.learnt_on) for p in both} == {(0.5, ()), (0.35, ("bccd", "cards-640"))}, "weak by two sets"
    strong = by_path(list(strength_of_augmentation(probed(0.9, 0.9, 0.9), 40, MANY_EPOCHS)))
    assert strong["augmentation.affine.scale"] == 0.5, "no more than was published for a network of this size"
    assert list(strength_of_augmentation(probed(0.9, 0.2, 0.1), 40, MANY_EPOCHS)) == []
    assert list(strength_of_augmentation(probed(0.0, 0.0, 0.0), 40, MANY_EPOCHS)) == []
    long = by_path(list(strength_of_augmentation(probed(0.9, 0.2, 0.1), 400, MANY_EPOCHS)))
    assert long["augmentation.affine.scale"] == 0.5, "in 25 passes nobody can say what 400 fit"


def test_objects_below_a_cell_ask_for_a_larger_input() -> None:
    nothing = dict.fromkeys(SIZES, 0.0)
    profile = covered({160: 0.6, 224: 0.3, 288: 0.08, 416: 0.0}, nothing)
    (found,) = cells_and_fields(profile, 160, SIZES)
    assert (found.path, found.value) == ("input.size", 288)
    assert "60 % of the objects are smaller than the finest cell (16 px) at 160 px" in found.because
    assert cells_and_fields(profile, 288, SIZES) == []
    (limited,) = cells_and_fields(profile, 160, (160, 224))
    assert limited.value == 224, "the largest that may be had"
    assert cells_and_fields(profile, 160, (160,)) == []
    assert cells_and_fields(covered(dict.fromkeys(SIZES, 0.5), nothing), 160, SIZES) == [], "no size helps"
    little = covered({160: 0.5, 224: 0.45, 288: 0.42, 416: 0.4}, nothing)
    assert cells_and_fields(little, 160, SIZES) == [], "a little help is not worth a larger input"


def test_objects_beyond_every_field_ask_for_a_smaller_input() -> None:
    beyond = {160: 0.0, 224: 0.02, 288: 0.1, 416: 0.4}
    (found,) = cells_and_fields(covered(dict.fromkeys(SIZES, 0.0), beyond), 416, SIZES)
    assert found.value == 224
    assert "larger than what any cell sees (320 px)" in found.because
    small = {160: 0.6, 224: 0.3, 288: 0.08, 416: 0.0}
    assert cells_and_fields(covered(small, beyond), 416, SIZES) == [], "small objects come first"
    assert cells_and_fields(TINY, 416, SIZES) == [], "nothing is known of the objects"


def test_the_rules_together_agree_on_one_input_and_stay_in_the_space() -> None:
    profile = covered({160: 0.6, 224: 0.3, 288: 0.08, 416: 0.0}, dict.fromkeys(SIZES, 0.0))
    facts = Facts(
        train_images=200, class_names=("a", "b"), class_sides=(0.2, 0.3),
        full_images=dict.fromkeys(INPUT_SIZES, 400_000), candidates=(), max_input=416, capacity=profile,
    )  # fmt: skip
    priors = apply_rules(facts)
    sizes = [prior.value for prior in priors if isinstance(prior, Prefer) and prior.path == "input.size"]
    assert sizes == [160, 288]
    assert flatten(SearchSpace(Strategy(), tuple(priors)).preferred())["input.size"] == 288
    paths = {dimension.path for dimension in dimensions(Strategy)}
    assert {prior.path for prior in priors} <= paths
    poor = {size: 400_000 if size <= 224 else 100 for size in INPUT_SIZES}
    limited = apply_rules(facts.__class__(**{**facts.__dict__, "full_images": poor}))
    assert [p.value for p in limited if isinstance(p, Prefer) and p.path == "input.size"] == [160, 224]
