"""OpenCV and torch paint the same recipe alike: at most half a level apart in the mean, two for 99 in 100."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from edgehone.augment import (
    NONE,
    Affine,
    Augmentation,
    Blur,
    Cutmix,
    Cutout,
    DarknetHsv,
    Flip,
    Frame,
    Gray,
    GridMask,
    Jpeg,
    Mixup,
    Mosaic,
    Noise,
    Paste,
    Perspective,
    Turns,
    UniformHsv,
    fit_picture,
    paint,
)
from edgehone.augment.noise import grain
from edgehone.batches import paint_batch, torch_pixels
from edgehone.types import Picture

MEAN_LEVELS = 0.5
LEVELS_99 = 2
CPU = torch.device("cpu")
PARTS = {
    "none": {},
    "flip and turn": {"flip": Flip(horizontal=0.5, vertical=0.5), "turns": Turns(probability=0.75)},
    "affine": {"affine": Affine(scale=0.5, translate=0.1, crop_jitter=0.1, degrees=20, shear=5)},
    "far away": {"affine": Affine(scale=0.9, translate=0.1)},
    "perspective": {"perspective": Perspective(tilt=0.1)},
    "mosaic": {"mosaic": Mosaic(probability=1.0, zoom=0.7)},
    "mosaic of nine": {"mosaic": Mosaic(probability=1.0, tiles=9)},
    "mixup": {"mixup": Mixup(probability=1.0)},
    "cutmix": {"cutmix": Cutmix(probability=1.0)},
    "paste": {"paste": Paste(probability=1.0)},
    "uniform hsv": {"hsv": UniformHsv()},
    "darknet hsv": {"hsv": DarknetHsv()},
    "gray": {"gray": Gray(probability=0.5)},
    "blur": {"blur": Blur(probability=0.7)},
    "noise": {"noise": Noise(probability=0.7, levels=40.0)},
    "jpeg": {"jpeg": Jpeg(probability=0.7)},
    "cutout": {"erasing": Cutout(probability=0.7)},
    "grid mask": {"erasing": GridMask(probability=0.7)},
}
ALL = {name: part for parts in PARTS.values() for name, part in parts.items()} | {"jpeg": NONE.jpeg}
"""JPEG amplifies the last bit of its input, so that all the others are compared without it."""


def photo(seed: int) -> Picture:
    """Smooth, as photographs are, of random size."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(60, 230, 2).tolist()
    small = rng.integers(0, 256, (height // 12, width // 12, 3), dtype=np.uint8)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    low = rng.random((4, 2)) * (width - 30, height - 30)
    boxes = np.concatenate([low, low + 5 + rng.random((4, 2)) * 25], axis=1).astype(np.float32)
    return Picture(np.asarray(image, np.uint8), boxes, rng.integers(0, 3, 4))


def difference(augmentation: Augmentation, frame: Frame) -> np.ndarray:
    recipes = [augmentation.recipe(photo, 12, k, np.random.default_rng(k), frame, 0.0) for k in range(6)]
    expected = np.stack([paint(recipe, photo) for recipe in recipes])
    painted = paint_batch(recipes, lambda index: photo(index).image, CPU)
    assert painted.dtype == torch.uint8
    assert painted.shape == (6, 3, *frame.input_size)
    return np.abs(painted.permute(0, 2, 3, 1).numpy().astype(int) - expected)


@pytest.mark.parametrize("frame", [Frame((96, 128)), Frame((160, 128), "letterbox")], ids=str)
@pytest.mark.parametrize("parts", [*PARTS.values(), ALL], ids=[*PARTS, "all"])
def test_painters_agree(parts: dict[str, object], frame: Frame) -> None:
    levels = difference(NONE.model_copy(update=parts), frame)
    assert levels.mean() <= MEAN_LEVELS
    assert np.percentile(levels, 99) <= LEVELS_99


@pytest.mark.parametrize("frame", [Frame((96, 128)), Frame((256, 256), "letterbox")], ids=str)
def test_training_without_motion_sees_what_inference_sees(frame: Frame) -> None:
    assert difference(NONE, frame).max() <= 1
    recipe = NONE.recipe(photo, 12, 3, np.random.default_rng(0), frame, 0.0)
    assert np.array_equal(paint(recipe, photo), fit_picture(photo(3).image, frame.input_size, frame.fit))


def test_the_grain_is_the_same_bit_for_bit() -> None:
    seeds = [0, 7, 2**31 - 1]
    both = torch_pixels.grain((33, 20), torch.tensor(seeds)).permute(0, 2, 3, 1).numpy()
    for seed, other in zip(seeds, both, strict=True):
        assert np.array_equal(grain((33, 20), seed), other)


def test_the_grain_is_noise() -> None:
    """Mean, deviation, tails and independence of a normal distribution, within five standard errors."""
    values = grain((200, 200), 5)
    error = 5 / np.sqrt(values.size)
    assert abs(values.mean()) < error
    assert abs(values.std() - 1) < error
    assert abs((np.abs(values) > 2).mean() - 0.046) < 0.006
    flat, other = values.ravel(), grain((200, 200), 6).ravel()
    for shifted in (np.roll(flat, 1), np.roll(flat, 3), np.roll(flat, 600), other):
        assert abs(float(np.corrcoef(flat, shifted)[0, 1])) < error


def test_hsv_is_opencvs() -> None:
    """Every hue, and all of RGB in steps of 17."""
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    rgb = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    expected = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    found = torch_pixels.to_hsv(torch.from_numpy(rgb).permute(0, 2, 1)[..., None].float())
    off = np.abs(found[..., 0].permute(0, 2, 1).numpy() - expected)
    assert np.minimum(off[..., 0], 180 - off[..., 0]).max() <= 1
    assert off[..., 1:].max() <= 1
    hues = np.stack(np.meshgrid(np.arange(180), steps, steps), axis=-1).reshape(1, -1, 3).astype(np.uint8)
    back = torch_pixels.to_rgb(torch.from_numpy(hues).permute(0, 2, 1)[..., None].long())
    off = np.abs(back[..., 0].permute(0, 2, 1).numpy() - cv2.cvtColor(hues, cv2.COLOR_HSV2RGB))
    assert off.max() <= 1
