"""Geometry: the matrix moves points, boxes and pixels to the same place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.augment import (
    Affine,
    Fit,
    Frame,
    fit_matrix,
    fit_picture,
    plain,
    unfit_boxes,
)
from edgehone.augment.affine import Motion
from edgehone.augment.flip import flip_matrix
from edgehone.augment.geometry import (
    BORDER,
    compose,
    inverse,
    map_boxes,
    map_points,
    scaling,
    shifting,
    turning,
)
from edgehone.augment.resampling import warp
from edgehone.augment.turns import quarter_matrix, turned_sides
from edgehone.augment.visibility import visible_boxes
from edgehone.types import IGNORED, Picture, Size

SIZES = st.tuples(st.integers(20, 300), st.integers(20, 300))
INPUTS = st.sampled_from([(96, 96), (128, 160), (64, 64), (320, 320)])
FITS = st.sampled_from(["stretch", "letterbox"])
SEEDS = st.integers(0, 2**32 - 1)


def motion_matrix(size: Size, frame: Frame, motion: Motion, mirror: tuple[bool, bool]):
    sides = motion.crop_sides(size)
    return compose(
        motion.crop_matrix(size),
        flip_matrix(sides, *mirror),
        fit_matrix(sides, frame.input_size, frame.fit),
        motion.input_matrix(frame.input_size),
    )


def by_hand(point, size: Size, frame: Frame, motion: Motion, mirror: tuple[bool, bool]):
    """The same motion of one point, each step written out."""
    x, y = point
    left, top = motion.crop_xyxy[0] * size[1], motion.crop_xyxy[1] * size[0]
    wide = motion.crop_xyxy[2] * size[1] - left
    high = motion.crop_xyxy[3] * size[0] - top
    x, y = x - left, y - top
    x = wide - x if mirror[0] else x
    y = high - y if mirror[1] else y
    rows, columns = frame.input_size
    x, y = x / wide * columns, y / high * rows
    turn = np.exp(1j * np.radians(motion.degrees)) * motion.gain
    moved = complex(x - columns / 2, y - rows / 2) * turn
    return (
        moved.real + columns / 2 + motion.shift_yx[1] * columns,
        moved.imag + rows / 2 + motion.shift_yx[0] * rows,
    )


@given(SIZES, INPUTS, SEEDS, st.booleans(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_corner_points_are_right_to_a_hundredth_pixel(size, input_size, seed, across, down):
    frame = Frame(input_size, "stretch")
    rng = np.random.default_rng(seed)
    motion = Affine(scale=0.5, translate=0.2, crop_jitter=0.3, degrees=30.0).draw(rng)
    assert motion is not None
    matrix = motion_matrix(size, frame, motion, (across, down))
    height, width = size
    corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
    expected = [by_hand(corner, size, frame, motion, (across, down)) for corner in corners]
    assert np.abs(map_points(np.array(corners), matrix) - np.array(expected)).max() < 0.01


@given(SEEDS, st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_box_of_a_solid_rectangle_matches_its_pixels_to_half_a_pixel(seed, across, down):
    rng = np.random.default_rng(seed)
    size, frame = (200, 260), Frame((256, 256), "letterbox")
    x1, y1 = rng.integers(50, 120), rng.integers(50, 90)
    x2, y2 = x1 + rng.integers(30, 80), y1 + rng.integers(30, 60)
    image = np.zeros((*size, 3), np.uint8)
    image[y1:y2, x1:x2] = 255
    motion = Affine(scale=0.3, translate=0.05, crop_jitter=0.1).draw(rng)
    assert motion is not None
    matrix = motion_matrix(size, frame, motion, (across, down))
    box = map_boxes(np.array([[x1, y1, x2, y2]], np.float32), matrix)[0]
    # Supersampled four times. The border (114) is darker than half of white, so only the object counts.
    finer = compose(matrix, scaling(4.0, 4.0))
    inside = warp(image, finer, (1024, 1024))[..., 0] > 127
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    measured = np.array((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)) / 4
    assert np.abs(np.clip(box, 0, 256) - measured).max() <= 0.5


@given(st.integers(0, 20))
@settings(max_examples=10, deadline=None)
def test_turned_rectangle_stays_in_its_box(degrees):
    image = np.zeros((128, 128, 3), np.uint8)
    image[40:80, 30:100] = 255
    matrix = turning(degrees, 1.0, (64.0, 64.0))
    box = map_boxes(np.array([[30, 40, 100, 80]], np.float32), matrix)[0]
    # Supersampled four times, so that the sharp corners of the turned rectangle are resolved.
    big = warp(image, compose(matrix, scaling(4.0, 4.0)), (512, 512))[..., 0] > 127
    rows, columns = np.flatnonzero(big.any(1)), np.flatnonzero(big.any(0))
    measured = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / 4
    assert np.abs(box - measured).max() <= 0.5


@pytest.mark.parametrize("size", [(100, 140), (64, 64), (50, 30)])
def test_stretch_matrix_has_the_geometry_of_resize(size):
    smooth = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    image = cv2.resize(smooth, size[::-1], interpolation=cv2.INTER_CUBIC)
    resized = cv2.resize(image, (160, 128), interpolation=cv2.INTER_LINEAR).astype(int)
    warped = warp(image, fit_matrix(size, (128, 160), "stretch"), (128, 160)).astype(int)
    # The outermost pixels differ: a resize repeats the edge, a warp blends it with the border.
    assert np.abs(resized - warped)[4:-4, 6:-6].max() <= 6


@given(SIZES, INPUTS, FITS, SEEDS)
@settings(max_examples=100, deadline=None)
def test_fit_and_unfit_are_inverse(size, input_size, fit: Fit, seed):
    points = np.random.default_rng(seed).random((5, 2, 2)) * (size[1], size[0])
    boxes = np.concatenate([points.min(1), points.max(1)], axis=1).astype(np.float32)
    inside = map_boxes(boxes, fit_matrix(size, input_size, fit)).astype(np.float32)
    assert inside.min() >= -1e-3
    assert (inside[:, 2:] <= np.array(input_size[::-1]) + 1e-3).all()
    assert np.abs(unfit_boxes(inside, size, input_size, fit) - boxes).max() < 0.02


def test_unfit_clips_to_the_picture():
    wild = np.array([[-50.0, -50.0, 900.0, 900.0]], np.float32)
    assert unfit_boxes(wild, (40, 80), (64, 64), "letterbox").tolist() == [[0.0, 0.0, 80.0, 40.0]]


@given(SIZES, INPUTS, FITS)
@settings(max_examples=40, deadline=None)
def test_fit_picture_fills_exactly_what_the_matrix_says(size, input_size, fit: Fit):
    image = np.full((*size, 3), 250, np.uint8)
    fitted = fit_picture(image, input_size, fit)
    assert fitted.shape == (*input_size, 3)
    whole = np.array([[0, 0, size[1], size[0]]], np.float32)
    left, top, right, bottom = np.rint(map_boxes(whole, fit_matrix(size, input_size, fit))[0]).astype(int)
    assert (fitted[top:bottom, left:right] == 250).all()
    assert (fitted == BORDER).all(-1).sum() == fitted.shape[0] * fitted.shape[1] - (right - left) * (bottom - top)


@given(SIZES, INPUTS, FITS, SEEDS)
@settings(max_examples=40, deadline=None)
def test_fit_picture_is_a_plain_resize(size, input_size, fit: Fit, seed):
    image = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    left, top, right, bottom = 0, 0, input_size[1], input_size[0]
    if fit == "letterbox":
        scale = min(input_size[0] / size[0], input_size[1] / size[1])
        height, width = (min(limit, round(side * scale)) for side, limit in zip(size, input_size, strict=True))
        left, top = (input_size[1] - width) // 2, (input_size[0] - height) // 2
        right, bottom = left + width, top + height
    shrinks = right - left <= size[1] and bottom - top <= size[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    expected = np.full((*input_size, 3), BORDER, np.uint8)
    expected[top:bottom, left:right] = cv2.resize(image, (right - left, bottom - top), interpolation=how)
    assert np.array_equal(fit_picture(image, input_size, fit), expected)


@given(SIZES, st.booleans(), st.booleans(), SEEDS)
@settings(max_examples=40, deadline=None)
def test_flips_are_involutions(size, across, down, seed):
    matrix = flip_matrix(size, across, down)
    assert np.allclose(compose(matrix, matrix), np.eye(3))
    image = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    once = warp(image, matrix, size)
    expected = image[:: -1 if down else 1, :: -1 if across else 1]
    assert np.array_equal(once, expected)
    assert np.array_equal(warp(once, matrix, size), image)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_inverse_undoes(seed):
    motion = Affine(scale=0.8, translate=0.5, degrees=30.0).draw(np.random.default_rng(seed))
    assert motion is not None
    matrix = motion.input_matrix((96, 128))
    assert np.allclose(compose(matrix, inverse(matrix)), np.eye(3), atol=1e-9)


def test_strong_shrinking_averages_instead_of_skipping():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    small = warp(stripes, fit_matrix((512, 512), (64, 64), "stretch"), (64, 64))
    assert np.abs(small.astype(int) - 127).max() <= 1


@given(SIZES, st.integers(0, 3), SEEDS)
@settings(max_examples=40, deadline=None)
def test_turns_are_numpys(size, quarters, seed):
    image = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    sides = turned_sides(size, quarters)
    assert np.array_equal(warp(image, quarter_matrix(size, quarters), sides), np.rot90(image, -quarters))


@pytest.mark.parametrize("shift", [(-500, 0), (500, 0), (0, 500), (7, -9), (-300, -300)])
def test_whole_pixel_shifts_move_pixels_or_leave_only_border(shift):
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    expected = np.full((60, 70, 3), BORDER, np.uint8)
    for y in range(60):
        for x in range(70):
            if 0 <= y - shift[1] < 40 and 0 <= x - shift[0] < 50:
                expected[y, x] = image[y - shift[1], x - shift[0]]
    assert np.array_equal(warp(image, shifting(*shift), (60, 70)), expected)


def test_clip_drops_the_invisible_and_keeps_the_small_but_whole():
    boxes = np.array(
        [
            [10, 10, 10.5, 10.5],  # tiny, whole: kept
            [-30, 10, 5, 20],  # 14 % left: dropped
            [-10, 10, 10, 20],  # half left: kept
            [-1, 10, 1.5, 30],  # 60 % left but a sliver: dropped
            [200, 200, 220, 220],  # outside: dropped
            [50, 50, 50, 60],  # no width: dropped
        ],
        np.float32,
    )
    kept, keep = visible_boxes(boxes, np.zeros(6, np.int64), np.eye(3), (0, 0, 100, 100), 0.2)
    assert keep.tolist() == [True, False, True, False, False, False]
    assert kept.tolist() == [[10, 10, 10.5, 10.5], [0, 10, 10, 20]]
    assert kept.dtype == np.float32


def test_regions_to_ignore_count_as_long_as_they_are_seen():
    boxes = np.array([[-30, 10, 5, 20], [-1, 10, 0.5, 30], [-9, 10, 0, 20], [200, 0, 210, 9]], np.float32)
    classes = np.array([IGNORED, IGNORED, IGNORED, IGNORED])
    for degrees in (0.0, 1e-4):  # upright and not
        kept, keep = visible_boxes(boxes, classes, turning(degrees, 1.0, (0.0, 0.0)), (0, 0, 100, 100), 0.5)
        assert keep[:2].tolist() == [True, True]
        assert not keep[3]
        assert np.allclose(kept[:2], [[0, 10, 5, 20], [0, 10, 0.5, 30]], atol=0.01)


def test_plain_keeps_every_box():
    boxes = np.array([[0, 0, 0.5, 0.5], [10, 10, 40, 30]], np.float32)
    picture = Picture(np.zeros((50, 100, 3), np.uint8), boxes, np.array([3, 1]))
    fitted = plain(picture, Frame((50, 50), "stretch"))
    assert fitted.image.shape == (50, 50, 3)
    assert fitted.boxes_xyxy.tolist() == [[0, 0, 0.25, 0.5], [5, 10, 20, 30]]
    assert fitted.classes.tolist() == [3, 1]
