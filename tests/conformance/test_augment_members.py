"""What every transform promises, whatever it does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pydantic import ValidationError

from edgehone.augment import NONE, Affine, Augmentation, Flip, Frame, Hsv, Mixup, Mosaic
from edgehone.augment.hsv import recolour
from edgehone.space import SearchSpace, Settings, Span, dimensions, load, union_types
from edgehone.types import Picture

FRAME = Frame((64, 96))
OFF: dict[str, Settings] = {name: getattr(NONE, name) for name in ("mosaic", "mixup", "affine", "hsv", "flip")}
ON: list[tuple[str, Settings]] = [
    ("mosaic", Mosaic(probability=1.0)),
    ("mosaic", Mosaic(probability=1.0, zoom=0.5)),
    ("mixup", Mixup(probability=1.0)),
    ("affine", Affine(scale=0.9, translate=0.5)),
    ("affine", Affine(scale=0.0, translate=0.0, crop_jitter=0.3)),
    ("affine", Affine(scale=0.0, translate=0.0, degrees=30.0)),
    ("flip", Flip(horizontal=1.0, vertical=1.0)),
    *(("hsv", member()) for member in union_types(Hsv)),
]


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

    def test_changes_the_picture(self, name: str, part: Settings):
        drawn = alone(name, part).draw(noise, 4, 0, np.random.default_rng(1), FRAME, 0.0)
        assert not np.array_equal(drawn.image, noise(0).image)

    def test_off_is_the_identity(self, name: str, part: Settings):
        drawn = alone(name, OFF[name]).draw(noise, 4, 0, np.random.default_rng(1), FRAME, 0.0)
        assert np.array_equal(drawn.image, noise(0).image)
        assert np.array_equal(drawn.boxes_xyxy, noise(0).boxes_xyxy)

    def test_is_frozen_closed_and_round_trips(self, name: str, part: Settings):
        with pytest.raises(ValidationError):
            part.nonsense = 1  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(ValidationError):
            type(part).model_validate({"nonsense": 1})
        assert load(type(part), part.model_dump(mode="json")) == part


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
    for _ in range(40):
        sampled = space.sample(rng)
        assert isinstance(sampled, Augmentation)
        assert sampled.draw(noise, 4, 0, rng, FRAME, 0.5).image.shape == (64, 96, 3)


@pytest.mark.parametrize(
    "values",
    [
        {"flip": {"horizontal": 1.5}},
        {"mosaic": {"probability": -0.1}},
        {"affine": {"scale": 1.0}},
        {"hsv": {"kind": "darknet", "saturation_factor": 0.5}},
        {"off_fraction": 2.0},
    ],
)
def test_nonsense_is_refused(values: dict[str, object]):
    with pytest.raises(ValidationError):
        Augmentation.model_validate(values)
