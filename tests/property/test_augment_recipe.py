"""Recipes: points go where each step says, boxes lie around what is seen, what is hidden is not taught."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.augment import (
    NONE,
    Affine,
    Cutmix,
    Cutout,
    Flip,
    Frame,
    GridMask,
    Layer,
    Mixup,
    Mosaic,
    Paste,
    Perspective,
    Recipe,
    Turns,
    paint,
)
from edgehone.augment.geometry import BORDER, inverse, map_boxes, map_corners, map_points
from edgehone.augment.paste import hidden
from edgehone.augment.perspective import UNIT
from edgehone.augment.pose import Moves, Pose
from edgehone.augment.visibility import MIN_SIDE_PX, cut_boxes, cut_quads
from edgehone.types import IGNORED, Picture, Size

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.tuples(st.integers(20, 300), st.integers(20, 300))
INPUTS = st.sampled_from([(96, 96), (128, 160), (320, 320)])
UPRIGHT = Affine(scale=0.4, translate=0.2, crop_jitter=0.15, resize=1.3)
TILTED = Affine(scale=0.3, translate=0.2, crop_jitter=0.1, degrees=30.0, shear=15.0)
MIRROR = Flip(horizontal=0.5, vertical=0.5)
FINE = 4
"""Samples along each side of a pixel."""


def scene(seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(60, 160, 2).tolist()
    count = int(rng.integers(1, 6))
    low = rng.random((count, 2)) * (width - 30, height - 30)
    boxes = np.concatenate([low, low + 6 + rng.random((count, 2)) * 24], axis=1).astype(np.float32)
    image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Picture(image, boxes, np.arange(count))


def by_hand(point: tuple[float, float], size: Size, frame: Frame, pose: Pose) -> tuple[float, float]:
    """The way of one point, each step written out."""
    x, y = point
    motion = pose.motion
    left, top = motion.crop_xyxy[0] * size[1], motion.crop_xyxy[1] * size[0]
    wide, high = motion.crop_xyxy[2] * size[1] - left, motion.crop_xyxy[3] * size[0] - top
    x, y = x - left, y - top
    x = wide - x if pose.mirror[0] else x
    y = high - y if pose.mirror[1] else y
    for _ in range(pose.quarters):  # what was at the bottom comes to the left
        x, y, wide, high = high - y, x, high, wide
    rows, columns = frame.input_size
    x, y = x / wide * columns - columns / 2, y / high * rows - rows / 2
    across, down = (math.tan(math.radians(angle)) for angle in motion.shear_degrees)
    x, y = x + across * y, y + down * x
    moved = complex(x, y) * np.exp(1j * math.radians(motion.degrees)) * motion.gain
    x = moved.real + columns / 2 + motion.shift_yx[1] * columns
    y = moved.imag + rows / 2 + motion.shift_yx[0] * rows
    if pose.corners:
        frame_corners = (UNIT * (columns, rows)).astype(np.float32)
        shifted = ((UNIT + pose.corners) * (columns, rows)).astype(np.float32)
        u, v, w = cv2.getPerspectiveTransform(frame_corners, shifted) @ (x, y, 1)
        return u / w, v / w
    return x, y


@given(SIZES, INPUTS, SEEDS, st.sampled_from([0.0, 0.1]))
@settings(max_examples=100, deadline=None)
def test_corner_points_are_right_to_a_hundredth_pixel(size: Size, input_size: Size, seed: int, tilt: float) -> None:
    frame = Frame(input_size, "stretch")
    moves = Moves(TILTED, Perspective(tilt=tilt), MIRROR, Turns(probability=0.75))
    pose = moves.draw(np.random.default_rng(seed))
    matrix = pose.single_matrix(size, frame)
    height, width = size
    corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
    expected = np.array([by_hand(corner, size, frame, pose) for corner in corners])
    assert np.abs(map_points(np.array(corners), matrix) - expected).max() < 0.01
    assert np.abs(map_points(expected, inverse(matrix)) - corners).max() < 0.01


@given(SEEDS, INPUTS, st.sampled_from([4, 9]), st.sampled_from([0.5, 0.75, 1.0]))
@settings(max_examples=60, deadline=None)
def test_tiles_meet_at_their_lines(seed: int, input_size: Size, tiles: int, zoom: float) -> None:
    mosaic = NONE.model_copy(update={"mosaic": Mosaic(probability=1.0, tiles=tiles, zoom=zoom)})
    recipe = mosaic.recipe(scene, 20, 0, np.random.default_rng(seed), Frame(input_size), 0.0)
    height, width = input_size
    covered = np.zeros(input_size, int)
    side = zoom * 2 / math.isqrt(tiles)
    for layer in recipe.layers:
        left, top, right, bottom = layer.window
        covered[top:bottom, left:right] += 1
        source = scene(layer.source).image.shape
        whole = np.array([[0, 0, source[1], source[0]]], np.float32)
        low_x, low_y, high_x, high_y = map_boxes(whole, layer.matrix)[0]
        assert (high_x - low_x, high_y - low_y) == pytest.approx((side * width, side * height))
        for low, high, first, last, end in ((low_x, high_x, left, right, width), (low_y, high_y, top, bottom, height)):
            if first > 0 and last < end:  # a tile in the middle is centred
                assert low + high == pytest.approx(first + last)
            elif first > 0 and tiles == 4:
                assert low == pytest.approx(first)
            elif last < end and tiles == 4:
                assert high == pytest.approx(last)
    assert (covered == 1).all()


def seen_by_hand(recipe: Recipe, layer_number: int, box: np.ndarray, min_visible: float) -> np.ndarray:
    """``[h * FINE, w * FINE]``: where a rectangle of a source is seen, sample by sample."""
    rows, columns = recipe.size
    xs, ys = (np.arange(columns * FINE) + 0.5) / FINE, (np.arange(rows * FINE) + 0.5) / FINE
    points = np.stack(np.meshgrid(xs, ys), axis=-1)
    share = np.zeros((rows * FINE, columns * FINE))
    for number, layer in enumerate(recipe.layers[layer_number:]):
        left, top, right, bottom = (v * FINE for v in layer.window)
        if number == 0:
            inside = map_points(points, inverse(layer.matrix))
            share[top:bottom, left:right] = layer.opacity
            share *= ((inside >= box[:2]) & (inside < box[2:])).all(-1)
        else:
            share[top:bottom, left:right] *= 1 - layer.opacity
    for left, top, right, bottom in recipe.erased * FINE:
        share[top:bottom, left:right] = 0
    return (share > 0) & (share >= min_visible)


COMPOSITIONS = {
    "single": {"turns": Turns(probability=0.75)},
    "mosaic": {"mosaic": Mosaic(probability=1.0, zoom=0.7)},
    "nine": {"mosaic": Mosaic(probability=1.0, zoom=0.9, tiles=9)},
    "mixup": {"mosaic": Mosaic(probability=0.5, zoom=0.7), "mixup": Mixup(probability=1.0, alpha=1.0)},
    "cutmix": {"cutmix": Cutmix(probability=1.0)},
    "paste": {"paste": Paste(probability=1.0, objects=5, overlap=0.5)},
    "erased": {"erasing": Cutout(probability=1.0, side=0.5)},
    "grid": {"erasing": GridMask(probability=1.0)},
    "all": {
        "mosaic": Mosaic(probability=0.5),
        "mixup": Mixup(probability=0.5),
        "cutmix": Cutmix(probability=0.5),
        "paste": Paste(probability=0.5),
        "erasing": Cutout(probability=0.5, side=0.4),
    },
}


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_boxes_lie_around_what_is_seen_of_each_object(name: str) -> None:
    """Against supersampled masks of solid objects: within half a pixel, and kept if and only if enough is seen."""
    moves = {"affine": UPRIGHT, "flip": MIRROR, "min_visible": 0.3}
    augmentation = NONE.model_copy(update={**moves, **COMPOSITIONS[name]})
    dropped = compared = 0
    for seed in range(6):
        recipe = augmentation.recipe(scene, 20, seed, np.random.default_rng(seed), Frame((96, 128)), 0.0)
        boxes, classes = recipe.truth(scene, augmentation.min_visible)
        kept = iter(zip(boxes, classes.tolist(), strict=True))
        upcoming = next(kept, None)
        for number, layer in enumerate(recipe.layers):
            picture = scene(layer.source)
            for box, label in zip(picture.boxes_xyxy, picture.classes.tolist(), strict=True):
                mask = seen_by_hand(recipe, number, box, augmentation.min_visible)
                rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                whole = map_boxes(box[None], layer.matrix)[0]
                area = (whole[2:] - whole[:2]).prod()
                seen = mask.sum() / FINE**2 / area
                sides = (len(columns) and columns[-1] + 1 - columns[0], len(rows) and rows[-1] + 1 - rows[0])
                least = min(sides) / FINE
                near = abs(seen - 0.3) < 0.03 or abs(least - MIN_SIDE_PX) < 0.5 or seen > 0.97
                expected = seen >= 0.3 and least >= MIN_SIDE_PX
                measured = np.zeros(4)
                if len(rows):
                    measured = np.array((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)) / FINE
                fits = upcoming is not None and upcoming[1] == label and np.abs(upcoming[0] - measured).max() <= 0.5
                assert near or fits == expected, (seed, number, label, seen, measured, upcoming)
                dropped += not fits
                compared += fits
                if fits:
                    upcoming = next(kept, None)
        assert upcoming is None  # every box that was given lies around something seen
    assert dropped
    assert compared > 5


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_turned_and_tilted_objects_are_cut_where_their_masks_are(seed: int) -> None:
    """Any matrix, cut by a window: half a pixel from a mask eight times as fine, and a hundredth of the area."""
    rng = np.random.default_rng(seed)
    moves = Moves(TILTED, Perspective(tilt=0.1), MIRROR, Turns(probability=0.5))
    matrix = moves.draw(rng).single_matrix((120, 150), Frame((128, 128)))
    low = rng.random(2) * (110, 80)
    box = np.concatenate([low, low + 10 + rng.random(2) * 40])[None].astype(np.float32)
    corners = map_corners(box, matrix)
    left, top = rng.integers(0, 60, 2).tolist()
    right, bottom = rng.integers(70, 129, 2).tolist()
    cut = cut_quads(corners, (left, top, right, bottom))
    mask = np.zeros((128 * 8, 128 * 8), np.uint8)
    # OpenCV counts in pixel centres, here in sixteenths of them.
    fine = np.rint((corners[0] * 8 - 0.5) * 16).clip(-(2**20), 2**20).astype(np.int32)
    cv2.fillConvexPoly(mask, fine, 1, shift=4)
    outside = np.ones_like(mask)
    outside[top * 8 : bottom * 8, left * 8 : right * 8] = 0
    mask[outside > 0] = 0
    assert cut.area[0] == pytest.approx(mask.sum() / 64, abs=0.01 * cut.whole[0] + 6)
    if cut.area[0] > 20:
        x, y, width, height = cv2.boundingRect(mask)
        assert np.abs(cut.boxes_xyxy[0] * 8 - (x, y, x + width, y + height)).max() <= 0.5 * 8


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_upright_objects_are_cut_the_same_either_way(seed: int) -> None:
    rng = np.random.default_rng(seed)
    moves = Moves(UPRIGHT, Perspective(), MIRROR, Turns(probability=0.5))
    matrix = moves.draw(rng).single_matrix((120, 150), Frame((128, 128)))
    low = rng.random((9, 2)) * (110, 80)
    boxes = np.concatenate([low, low + rng.random((9, 2)) * 40], axis=1).astype(np.float32)
    window = (20, 30, 100, 120)
    plain = cut_boxes(map_boxes(boxes, matrix), window)
    quads = cut_quads(map_corners(boxes, matrix), window)
    np.testing.assert_allclose(quads.whole, plain.whole, atol=1e-6)
    np.testing.assert_allclose(quads.area, plain.area, atol=1e-6)
    seen = plain.area > 1e-6
    np.testing.assert_allclose(quads.boxes_xyxy[seen], plain.boxes_xyxy[seen], atol=1e-6)


def test_what_is_partly_behind_the_viewer_is_dropped() -> None:
    """A box over the whole picture, whose far end lies beyond the horizon of a strong perspective."""
    matrix = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -0.02, 1.0]])
    boxes = np.array([[0, 0, 100, 100], [10, 5, 30, 20]], np.float32)
    picture = Picture(np.zeros((100, 100, 3), np.uint8), boxes, np.array([0, 1]))
    recipe = Recipe((100, 100), (Layer(0, matrix, (0, 0, 100, 100)),))
    assert recipe.truth(lambda _: picture, 0.0)[1].tolist() == [1]


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_no_part_of_a_picture_is_behind_the_viewer(seed: int) -> None:
    """However far it reaches beyond its frame, so that no object can be seen without its box."""
    wild = {"affine": Affine(scale=0.9, crop_jitter=0.45), "perspective": Perspective(tilt=0.15)}
    augmentation = NONE.model_copy(update={**wild, "mosaic": Mosaic(probability=0.5)})
    recipe = augmentation.recipe(scene, 20, 0, np.random.default_rng(seed), Frame((96, 128)), 0.0)
    for layer in recipe.layers:
        height, width = scene(layer.source).image.shape[:2]
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
        assert np.isfinite(map_points(corners, layer.matrix)).all()


def test_a_share_below_the_visibility_is_not_taught() -> None:
    full = (0, 0, 50, 50)
    pictures = [
        Picture(np.zeros((50, 50, 3), np.uint8), np.array([[10, 10, 30, 30]], np.float32), np.array([k]))
        for k in range(2)
    ]
    for opacity, expected in ((0.1, [0]), (0.5, [0, 1]), (0.9, [1])):
        recipe = Recipe((50, 50), (Layer(0, np.eye(3), full), Layer(1, np.eye(3), full, opacity)))
        assert recipe.truth(pictures.__getitem__, 0.2)[1].tolist() == expected


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_pasted_objects_hide_no_more_than_allowed(seed: int) -> None:
    augmentation = NONE.model_copy(update={"paste": Paste(probability=1.0, objects=6, overlap=0.2)})
    recipe = augmentation.recipe(scene, 20, seed % 20, np.random.default_rng(seed), Frame((96, 128)), 0.0)
    for number in range(1, len(recipe.layers)):
        below = Recipe(recipe.size, recipe.layers[:number]).truth(scene, 0.2)[0]
        assert (hidden(below, recipe.layers[number].window) <= 0.2 + 1e-6).all()
        added = Recipe(recipe.size, (recipe.layers[number],)).truth(scene, 0.2)[0]
        assert len(added) > 0  # the object that was chosen is seen


def test_regions_to_ignore_are_carried_but_never_pasted() -> None:
    crowded = Picture(scene(0).image, scene(0).boxes_xyxy, np.full(len(scene(0).classes), IGNORED))
    augmentation = NONE.model_copy(update={"paste": Paste(probability=1.0, overlap=1.0)})
    recipe = augmentation.recipe(lambda _: crowded, 5, 0, np.random.default_rng(0), Frame((96, 128)), 0.0)
    assert len(recipe.layers) == 1
    assert recipe.truth(lambda _: crowded, 0.2)[1].tolist() == crowded.classes.tolist()


def test_erased_pixels_are_gray_and_the_rest_is_not() -> None:
    augmentation = NONE.model_copy(update={"erasing": GridMask(probability=1.0)})
    bright = Picture(np.full((96, 128, 3), 250, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    recipe = augmentation.recipe(lambda _: bright, 1, 0, np.random.default_rng(0), Frame((96, 128)), 0.0)
    gray = (paint(recipe, lambda _: bright) == BORDER).all(-1)
    assert gray.mean() == pytest.approx(0.16, abs=0.06)  # the square of the squares' side
    assert gray.sum() == sum((r - x) * (b - y) for x, y, r, b in recipe.erased.tolist())
