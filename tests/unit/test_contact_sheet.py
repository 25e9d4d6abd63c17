"""Sheets of augmented pictures: every transform is on it, the same seed gives the same sheet."""

from __future__ import annotations

import numpy as np
import pytest

from edgehone.augment import NONE, Augmentation, Frame, Mosaic, contact_sheet, plain, transform_sheet
from edgehone.augment.contact_sheet import ALONE, GAP_PX, STRIP_PX, class_colour, drawn
from edgehone.space import Settings, diff, replace
from edgehone.types import IGNORED, Picture

FRAME = Frame((64, 96))
NAMES = ("cat", "dög")


def picture(seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    boxes = np.array([[5, 6, 50, 40], [60, 10, 90, 60]], np.float32)
    return Picture(rng.integers(0, 255, (70, 100, 3), dtype=np.uint8), boxes, np.array([0, 1]))


PICTURES = [picture(k) for k in range(5)]


def test_a_sheet_shows_the_plain_picture_first() -> None:
    sheet = contact_sheet(PICTURES, Augmentation(), FRAME, 1, NAMES, grid=(3, 4))
    assert sheet.shape == (3 * 64 + 2 * GAP_PX, 4 * 96 + 3 * GAP_PX, 3)
    assert sheet.dtype == np.uint8
    firsts = [drawn(plain(one, FRAME), NAMES) for one in PICTURES]
    assert any(np.array_equal(sheet[:64, :96], first) for first in firsts)
    assert np.array_equal(sheet, contact_sheet(PICTURES, Augmentation(), FRAME, 1, NAMES, grid=(3, 4)))
    assert not np.array_equal(sheet, contact_sheet(PICTURES, Augmentation(), FRAME, 2, NAMES, grid=(3, 4)))


def test_a_sheet_without_augmentation_repeats_the_picture() -> None:
    sheet = contact_sheet(PICTURES, NONE, FRAME, 0, NAMES, grid=(1, 3))
    assert np.array_equal(sheet[:, :96], sheet[:, 96 + GAP_PX : 192 + GAP_PX])


@pytest.mark.parametrize("spread", [0.25, 0.5])
def test_other_sizes_are_brought_into_their_cell(spread: float) -> None:
    varied = replace(NONE, {"multi_scale.spread": spread, "mosaic": Mosaic(probability=0.5).model_dump()})
    assert contact_sheet(PICTURES, varied, Frame((128, 128)), 0, NAMES, grid=(2, 5)).shape[:2] == (260, 656)


def test_boxes_are_drawn_in_the_colours_of_their_classes() -> None:
    black = Picture(np.zeros((64, 96, 3), np.uint8), PICTURES[0].boxes_xyxy, PICTURES[0].classes)
    shown = drawn(black, NAMES)
    assert tuple(shown[20, 5]) == class_colour(0) != class_colour(1) == tuple(shown[30, 60])
    assert not black.image.any()
    crowd = drawn(Picture(black.image, black.boxes_xyxy[:1], np.array([IGNORED])), NAMES)
    assert tuple(crowd[20, 5]) == (255, 255, 255)


def test_every_transform_is_on_the_sheet_alone() -> None:
    sheet = transform_sheet(PICTURES, FRAME, 0, NAMES, samples=2)
    rows = (len(ALONE) + 1) // 2
    assert sheet.shape == (rows * (64 + STRIP_PX) + (rows - 1) * GAP_PX, 4 * 96 + 3 * GAP_PX, 3)
    parts = {name for name, field in Augmentation.model_fields.items() if isinstance(field.default, Settings)}
    touched = [{path.split(".")[0] for path in diff(NONE, replace(NONE, changes))} for changes in ALONE.values()]
    assert all(len(names) == 1 for names in touched)
    assert set.union(*touched) == parts - {"sampling"}  # it changes which pictures are shown, not how
    changed = {path for changes in ALONE.values() for path in changes}
    assert {f"affine.{name}" for name in type(NONE.affine).model_fields} <= changed
