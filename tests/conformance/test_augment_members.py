"""What every transform promises, whatever it does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pydantic import ValidationError

from edgehone.augment import (
    NONE,
    Affine,
    Augmentation,
    Blur,
    Cutmix,
    Cutout,
    Erasing,
    Flip,
    Frame,
    Gray,
    GridMask,
    Hsv,
    Jpeg,
    Mixup,
    Mosaic,
    MultiScale,
    Noise,
    Paste,
    Perspective,
    Sampling,
    Turns,
)
from edgehone.augment.hsv import recolour
from edgehone.space import SearchSpace, Settings, Span, dimensions, flatten, load, replace, union_types
from edgehone.strategy import PRESETS, Strategy
from edgehone.types import Picture

FRAME = Frame((64, 96))
ON: list[tuple[str, Settings]] = [
    ("mosaic", Mosaic(probability=1.0)),
    ("mosaic", Mosaic(probability=1.0, zoom=0.5)),
    ("mosaic", Mosaic(probability=1.0, tiles=9)),
    ("mixup", Mixup(probability=1.0)),
    ("cutmix", Cutmix(probability=1.0)),
    ("paste", Paste(probability=1.0, overlap=1.0)),
    ("affine", Affine(scale=0.9, translate=0.5)),
    ("affine", Affine(scale=0.0, translate=0.0, crop_jitter=0.3)),
    ("affine", Affine(scale=0.0, translate=0.0, resize=1.5)),
    ("affine", Affine(scale=0.0, translate=0.0, degrees=30.0)),
    ("affine", Affine(scale=0.0, translate=0.0, shear=20.0)),
    ("perspective", Perspective(tilt=0.15)),
    ("flip", Flip(horizontal=1.0, vertical=1.0)),
    ("turns", Turns(probability=1.0)),
    *(("hsv", member()) for member in union_types(Hsv)),
    ("gray", Gray(probability=1.0)),
    ("blur", Blur(probability=1.0)),
    ("noise", Noise(probability=1.0)),
    ("jpeg", Jpeg(probability=1.0)),
    ("erasing", Cutout(probability=1.0)),
    ("erasing", GridMask(probability=1.0)),
]
BETWEEN_PICTURES = {"multi_scale", "sampling"}
"""They decide about batches, not about a picture; test_multi_scale.py and test_sampling.py hold them to it."""

PIXELS_ONLY = {"hsv", "gray", "blur", "noise", "jpeg"}


def alone(name: str, part: Settings) -> Augmentation:
    """Everything off but one part."""
    return NONE.model_copy(update={name: part})


def noise(index: int) -> Picture:
    rng = np.random.default_rng(index)
    low = rng.random((6, 2)) * (60, 30)
    boxes = np.concatenate([low, low + 1 + rng.random((6, 2)) * 30], axis=1).astype(np.float32)
    return Picture(rng.integers(0, 255, (64, 96, 3), dtype=np.uint8), boxes, rng.integers(0, 9, 6))


def empty(index: int) -> Picture:
    return Picture(noise(index).image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


def same(a: Picture, b: Picture) -> bool:
    pairs = ((a.image, b.image), (a.boxes_xyxy, b.boxes_xyxy), (a.classes, b.classes))
    return all(np.array_equal(x, y) for x, y in pairs)


def test_every_part_is_held_to_the_promises() -> None:
    parts = {name for name, field in Augmentation.model_fields.items() if isinstance(field.default, Settings)}
    assert {name for name, _ in ON} == parts - BETWEEN_PICTURES
    assert {type(part) for name, part in ON if name == "erasing"} == set(union_types(Erasing))


@pytest.mark.parametrize(("name", "part"), ON, ids=lambda item: repr(item))
class TestEveryMember:
    @pytest.mark.parametrize("read", [noise, empty])
    def test_output(self, name: str, part: Settings, read: Callable[[int], Picture]):
        for seed in range(20):
            drawn = alone(name, part).draw(read, 4, seed % 4, np.random.default_rng(seed), FRAME, 0.0)
            assert drawn.image.shape == (64, 96, 3)
            assert drawn.image.dtype == np.uint8
            assert drawn.boxes_xyxy.dtype == np.float32
            assert drawn.boxes_xyxy.shape == (len(drawn.classes), 4)
            assert drawn.classes.dtype == np.int64
            assert (drawn.boxes_xyxy >= 0).all()
            assert (drawn.boxes_xyxy <= (96, 64, 96, 64)).all()
            assert (drawn.boxes_xyxy[:, 2:] > drawn.boxes_xyxy[:, :2]).all()

    def test_changes_the_picture(self, name: str, part: Settings):
        drawn = alone(name, part).draw(noise, 4, 0, np.random.default_rng(1), FRAME, 0.0)
        assert not np.array_equal(drawn.image, noise(0).image)
        if name in PIXELS_ONLY:
            assert np.array_equal(drawn.boxes_xyxy, noise(0).boxes_xyxy)

    def test_off_is_the_identity(self, name: str, part: Settings):
        drawn = alone(name, getattr(NONE, name)).draw(noise, 4, 0, np.random.default_rng(1), FRAME, 0.0)
        assert same(drawn, noise(0))

    def test_same_seed_same_result(self, name: str, part: Settings):
        first, second, other = (
            alone(name, part).draw(noise, 4, 0, np.random.default_rng(seed), FRAME, 0.0) for seed in (3, 3, 4)
        )
        assert same(first, second)
        if name not in {"flip", "gray", "turns"}:  # these have few outcomes
            assert not same(first, other)

    def test_sources_stay_as_they_are(self, name: str, part: Settings):
        stored = [noise(i) for i in range(4)]
        for seed in range(5):
            drawn = alone(name, part).draw(stored.__getitem__, 4, 0, np.random.default_rng(seed), FRAME, 0.0)
            drawn.image[:] = 0
            drawn.boxes_xyxy[:] = 0
        assert all(same(stored[i], noise(i)) for i in range(4))

    def test_one_picture_is_enough(self, name: str, part: Settings):
        drawn = alone(name, part).draw(noise, 1, 0, np.random.default_rng(0), FRAME, 0.0)
        assert drawn.image.shape == (64, 96, 3)

    def test_rests_in_the_tail(self, name: str, part: Settings):
        late = alone(name, part).model_copy(update={"off_fraction": 0.2})
        drawn = late.draw(noise, 4, 0, np.random.default_rng(1), FRAME, 0.8)
        assert same(drawn, noise(0)) == (name not in {"flip", "turns", "hsv"})

    def test_is_frozen_closed_and_round_trips(self, name: str, part: Settings):
        with pytest.raises(ValidationError):
            part.nonsense = 1  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(ValidationError):
            type(part).model_validate({"nonsense": 1})
        assert load(type(part), part.model_dump(mode="json")) == part
        strategy = Strategy(augmentation=alone(name, part))
        assert load(Strategy, strategy.model_dump(mode="json")) == strategy


@pytest.mark.parametrize("member", union_types(Hsv))
class TestEveryColour:
    def test_neutral_settings_draw_no_table(self, member: type[Settings]):
        neutral = {d.path: max(d.domain.low, 0.0) for d in dimensions(member) if isinstance(d.domain, Span)}
        part = member.model_validate(neutral)
        table = part.table(np.random.default_rng(0))  # pyright: ignore
        assert table is None
        assert np.array_equal(recolour(noise(0).image, table), noise(0).image)

    def test_table_is_reproducible(self, member: type[Settings]):
        first, second = (member().table(np.random.default_rng(5)) for _ in range(2))  # pyright: ignore
        assert first.shape == (256, 3)
        assert first.dtype == np.uint8
        assert np.array_equal(first, second)


def test_every_member_of_the_space_can_be_drawn():
    space, rng = SearchSpace(Augmentation()), np.random.default_rng(0)
    for _ in range(60):
        sampled = space.sample(rng)
        assert isinstance(sampled, Augmentation)
        assert sampled.draw(noise, 4, 0, rng, FRAME, 0.5).image.shape == (64, 96, 3)


@pytest.mark.parametrize("augmentation", [Augmentation(), *(preset.augmentation for preset in PRESETS.values())])
def test_what_was_added_is_off_by_default(augmentation: Augmentation):
    older = {"mosaic", "mixup", "affine", "flip", "hsv", "off_fraction", "min_visible"}
    for name in set(Augmentation.model_fields) - older:
        assert getattr(augmentation, name) == getattr(NONE, name)
    assert (augmentation.mosaic.tiles, augmentation.affine.resize, augmentation.affine.shear) == (4, 1.0, 0.0)


def test_strengths_start_at_off():
    """The search can leave out whatever was added: its dimensions reach the value that changes nothing."""
    flat = flatten(NONE)
    for dimension in dimensions(Augmentation):
        if dimension.path.endswith(("probability", "tilt", "shear", "spread")):
            assert flat.get(dimension.path, 0.0) == 0.0
            lowest = dimension.domain.low if isinstance(dimension.domain, Span) else min(dimension.domain.values)
            assert lowest == 0.0


@pytest.mark.parametrize(
    "values",
    [
        {"flip": {"horizontal": 1.5}},
        {"mosaic": {"probability": -0.1}},
        {"mosaic": {"tiles": 5}},
        {"affine": {"scale": 1.0}},
        {"affine": {"crop_jitter": 0.45, "resize": 2.0}},
        {"hsv": {"kind": "darknet", "saturation_factor": 0.5}},
        {"erasing": {"kind": "grid_mask", "holes": 3}},
        {"multi_scale": {"spread": 0.9}},
        {"off_fraction": 2.0},
    ],
)
def test_nonsense_is_refused(values: dict[str, object]):
    with pytest.raises(ValidationError):
        Augmentation.model_validate(values)


@pytest.mark.parametrize("kind", [member.model_fields["kind"].default for member in union_types(Sampling)])
def test_sampling_is_chosen_by_its_kind(kind: str):
    chosen = replace(Augmentation(), {"sampling.kind": kind, "multi_scale": MultiScale().model_dump()})
    assert chosen.sampling.kind == kind
