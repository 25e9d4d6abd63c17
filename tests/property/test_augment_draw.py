"""Drawing: reproducible, honest about what is visible, harmless when switched off."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.augment import (
    NONE,
    Affine,
    Augmentation,
    DarknetHsv,
    Fit,
    Flip,
    Frame,
    Mixup,
    Mosaic,
    plain,
)
from edgehone.augment.geometry import BORDER
from edgehone.augment.hsv import HUES, colour_table, recolour
from edgehone.space import replace
from edgehone.types import Picture

STRONG = Augmentation(
    mosaic=Mosaic(probability=0.5, zoom=0.7),
    mixup=Mixup(probability=0.5),
    affine=Affine(scale=0.5, translate=0.2, crop_jitter=0.2, degrees=15.0),
    hsv=DarknetHsv(),
    flip=Flip(horizontal=0.5, vertical=0.5),
)
SEEDS = st.integers(0, 2**32 - 1)


def scene(seed: int) -> Picture:
    """A dark picture of random shape with one bright rectangle for each box."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(60, 160, 2)
    image = np.full((height, width, 3), 20, np.uint8)
    count = int(rng.integers(0, 5))
    low = rng.integers(0, (width - 25, height - 25), (count, 2))
    high = low + rng.integers(8, 25, (count, 2))
    for (x1, y1), (x2, y2) in zip(low, high, strict=True):
        image[y1:y2, x1:x2] = 255
    boxes = np.concatenate([low, high], axis=1).astype(np.float32)
    return Picture(image, boxes, rng.integers(0, 3, count))


def same(a: Picture, b: Picture) -> bool:
    return (
        np.array_equal(a.image, b.image)
        and np.array_equal(a.boxes_xyxy, b.boxes_xyxy)
        and np.array_equal(a.classes, b.classes)
    )


@given(SEEDS, st.sampled_from(["stretch", "letterbox"]), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_drawn_picture_keeps_its_promises(seed, fit: Fit, progress):
    frame = Frame((96, 128), fit)
    drawn = STRONG.draw(scene, 8, seed % 8, np.random.default_rng(seed), frame, progress)
    assert drawn.image.shape == (96, 128, 3)
    assert drawn.image.dtype == np.uint8
    assert drawn.boxes_xyxy.dtype == np.float32
    assert drawn.boxes_xyxy.shape == (len(drawn.classes), 4)
    assert drawn.classes.dtype == np.int64
    assert (drawn.boxes_xyxy >= 0).all()
    assert (drawn.boxes_xyxy <= (128, 96, 128, 96)).all()
    assert (drawn.boxes_xyxy[:, 2:] > drawn.boxes_xyxy[:, :2]).all()
    again = STRONG.draw(scene, 8, seed % 8, np.random.default_rng(seed), frame, progress)
    assert same(drawn, again)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_mosaic_boxes_lie_on_their_objects(seed):
    parts = {
        "mosaic.probability": 1.0,
        "mosaic.zoom": 0.8,
        "affine.scale": 0.3,
        "flip.horizontal": 0.5,
    }
    mosaic = replace(NONE, {**parts, "min_visible": 0.0})
    drawn = mosaic.draw(scene, 8, 0, np.random.default_rng(seed), Frame((128, 128)), 0.0)
    bright, boxed = drawn.image[..., 0] > 200, np.zeros((128, 128), bool)
    for x1, y1, x2, y2 in drawn.boxes_xyxy:
        # Away from its blended edge the object is all white, so that the box has no room to spare.
        assert bright[int(y1 + 1.5) : int(y2 - 0.5), int(x1 + 1.5) : int(x2 - 0.5)].all()
        boxed[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = True
    # What is bright but in no box can only be slivers below the least side of a cut object (2 px); two
    # of them may meet where tiles meet.
    stray = (bright & ~boxed).astype(np.uint8)
    kernel = np.ones((5, 5), np.uint8)
    assert not cv2.erode(stray, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0).any()


def test_none_is_the_identity_at_equal_size():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)
    boxes = np.array([[0, 0, 1, 1], [3.5, 4.25, 96, 64]], np.float32)
    picture = Picture(image, boxes, np.array([0, 1]))
    for fit in ("stretch", "letterbox"):
        frame = Frame((64, 96), fit)
        assert same(NONE.draw(lambda _: picture, 1, 0, rng, frame, 0.0), picture)
        assert same(plain(picture, frame), picture)


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_none_sees_what_inference_sees(fit: Fit):
    frame = Frame((96, 128), fit)
    for i in range(6):
        assert same(
            NONE.draw(scene, 6, i, np.random.default_rng(i), frame, 0.3),
            plain(scene(i), frame),
        )


@pytest.mark.parametrize("flip", [Flip(horizontal=1.0), Flip(horizontal=0.0, vertical=1.0)])
def test_flipping_twice_gives_the_picture_back(flip: Flip):
    frame, rng = Frame((64, 96)), np.random.default_rng(0)
    flipping = Augmentation.model_validate({**NONE.model_dump(), "flip": flip.model_dump()})
    image = rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)
    picture = Picture(image, np.array([[3, 4, 30, 20]], np.float32), np.array([2]))
    once = flipping.draw(lambda _: picture, 1, 0, rng, frame, 0.0)
    assert not same(once, picture)
    assert same(flipping.draw(lambda _: once, 1, 0, rng, frame, 0.0), picture)


def test_invisible_objects_are_dropped_with_their_classes():
    moving = replace(NONE, {"affine.translate": 0.5})
    picture = Picture(
        np.zeros((100, 100, 3), np.uint8),
        np.array([[0, 0, 10, 10], [45, 45, 55, 55], [90, 90, 100, 100]], np.float32),
        np.array([7, 8, 9]),
    )
    lost = 0
    for seed in range(50):
        drawn = moving.draw(lambda _: picture, 1, 0, np.random.default_rng(seed), Frame((100, 100)), 0.0)
        assert 8 in drawn.classes
        lost += 3 - len(drawn.classes)
        sides = drawn.boxes_xyxy[:, 2:] - drawn.boxes_xyxy[:, :2]
        assert (sides.prod(1) >= 0.2 * 100 - 1e-3).all()
    assert lost > 20


def test_the_tail_of_a_run_rests_all_but_flip_and_colour():
    resting = STRONG.model_copy(update={"hsv": NONE.hsv, "off_fraction": 0.25})
    frame = Frame((96, 96))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        late = resting.draw(scene, 8, seed % 8, rng, frame, 0.75)
        assert len(late.boxes_xyxy) == len(scene(seed % 8).boxes_xyxy)
        assert not (late.image == BORDER).all(-1).any()
        assert np.allclose(
            np.sort((late.boxes_xyxy[:, 2:] - late.boxes_xyxy[:, :2]).prod(1)),
            np.sort(sides_area(plain(scene(seed % 8), frame))),
            atol=0.01,
        )


def sides_area(picture: Picture):
    return (picture.boxes_xyxy[:, 2:] - picture.boxes_xyxy[:, :2]).prod(1)


def test_without_a_tail_nothing_rests_to_the_very_end():
    always = replace(NONE, {"affine.translate": 0.5})
    drawn = always.draw(scene, 8, 1, np.random.default_rng(0), Frame((96, 96)), 1.0)
    assert not same(drawn, plain(scene(1), Frame((96, 96))))


def test_mixup_joins_the_truth_of_both():
    mixing = replace(NONE, {"mixup.probability": 1.0})
    frame, index = Frame((96, 96)), 3
    others = [plain(scene(i), frame) for i in range(8) if i != index]
    for seed in range(10):
        drawn = mixing.draw(scene, 8, index, np.random.default_rng(seed), frame, 0.0)
        first = plain(scene(index), frame)
        assert np.array_equal(drawn.boxes_xyxy[: len(first.classes)], first.boxes_xyxy)
        rest = drawn.boxes_xyxy[len(first.classes) :]
        assert any(np.array_equal(rest, other.boxes_xyxy) for other in others)
    alone = mixing.draw(scene, 1, 0, np.random.default_rng(0), frame, 0.0)
    assert same(alone, plain(scene(0), frame))


def test_pictures_that_are_read_are_not_changed():
    stored = {i: scene(i) for i in range(8)}
    before = {i: (p.image.copy(), p.boxes_xyxy.copy()) for i, p in stored.items()}
    for augmentation in (NONE, STRONG):
        for seed in range(20):
            rng = np.random.default_rng(seed)
            drawn = augmentation.draw(stored.__getitem__, 8, seed % 8, rng, Frame((96, 96)), 0.0)
            drawn.image[:] = 0
            drawn.boxes_xyxy[:] = 0
    assert all(np.array_equal(stored[i].image, before[i][0]) for i in stored)
    assert all(np.array_equal(stored[i].boxes_xyxy, before[i][1]) for i in stored)


@given(st.floats(-0.5, 0.5))
def test_hue_wraps(shift):
    table = colour_table(1.0, shift, 1.0, 1.0)
    hues = table[:HUES, 0].astype(int)
    assert sorted(hues.tolist()) == list(range(HUES))
    assert len({int((new - old) % HUES) for old, new in enumerate(hues)}) == 1
    assert (table[:, 1] == np.arange(256)).all()


def test_half_a_turn_of_hue_turns_red_to_cyan_and_full_gains_saturate():
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    cyan = recolour(red, colour_table(1.0, 0.5, 1.0, 1.0))
    assert cyan[0, 0].tolist() == [0, 255, 255]
    bright = colour_table(1.0, 0.0, 2.0, 3.0)
    assert bright[200].tolist()[1:] == [255, 255]
    assert bright[50].tolist() == [50, 100, 150]


def test_opencv_agrees_on_the_hue_scale():
    hsv = cv2.cvtColor(np.array([[[0, 0, 255]]], np.uint8), cv2.COLOR_RGB2HSV)
    assert hsv[0, 0].tolist() == [120, 255, 255]
