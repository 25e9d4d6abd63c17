"""Augmented pictures with their boxes on one sheet, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np

from edgehone.augment.augmentation import NONE, Augmentation
from edgehone.augment.fit import Frame, plain
from edgehone.augment.geometry import BORDER, Image
from edgehone.space import replace
from edgehone.types import IGNORED, Picture

GAP_PX = 4
STRIP_PX = 18
FONT = cv2.FONT_HERSHEY_SIMPLEX
GROUND = 255
GOLDEN_TURN = 0.381966
"""Neighbouring classes get hues that far apart, so that they never come close."""

ALONE: dict[str, dict[str, Any]] = {
    "mosaic, 4 tiles": {"mosaic.probability": 1.0, "mosaic.zoom": 0.6},
    "mosaic, 9 tiles": {"mosaic.probability": 1.0, "mosaic.tiles": 9, "mosaic.zoom": 0.6},
    "mixup": {"mixup.probability": 1.0},
    "cutmix": {"cutmix.probability": 1.0},
    "paste": {"paste.probability": 1.0},
    "affine: scale, translate": {"affine.scale": 0.4, "affine.translate": 0.1},
    "affine: crop_jitter, resize": {"affine.crop_jitter": 0.2, "affine.resize": 1.4},
    "affine: degrees": {"affine.degrees": 20.0},
    "affine: shear": {"affine.shear": 12.0},
    "perspective": {"perspective.tilt": 0.1},
    "flip": {"flip.horizontal": 0.5, "flip.vertical": 0.5},
    "turns": {"turns.probability": 1.0},
    "hsv, uniform": {"hsv.hue": 0.1, "hsv.saturation": 0.9, "hsv.value": 0.5},
    "hsv, darknet": {"hsv.kind": "darknet"},
    "gray": {"gray.probability": 1.0},
    "blur": {"blur.probability": 1.0, "blur.sigma_px": 3.0},
    "noise": {"noise.probability": 1.0, "noise.levels": 30.0},
    "jpeg": {"jpeg.probability": 1.0, "jpeg.quality": 5},
    "erasing, cutout": {"erasing.probability": 1.0},
    "erasing, grid mask": {"erasing.kind": "grid_mask", "erasing.probability": 1.0},
    "multi_scale": {"multi_scale.spread": 0.5},
}
"""Every transform by name, alone and strong enough to be seen."""


class Pictures(Protocol):
    """Pictures by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Picture: ...


def contact_sheet(
    pictures: Pictures,
    augmentation: Augmentation,
    frame: Frame,
    seed: int,
    class_names: Sequence[str],
    grid: tuple[int, int] = (4, 6),
) -> Image:
    """What training sees: one row for each of some pictures, first as inference sees it, then augmented.

    Args:
        pictures: at least one.
        augmentation: how they are varied, as at the start of a run.
        frame: the network input.
        seed: of which pictures are shown and of their augmentation; equal seeds, equal sheets.
        class_names: in the order of the class numbers.
        grid: ``(rows, columns)``.

    Returns:
        ``[height, width, 3]`` uint8 RGB, with the boxes in the colours of their classes.
    """
    rows, columns = grid
    chosen = np.random.default_rng(seed).permutation(len(pictures))[:rows].tolist()
    sheet: list[Image] = []
    for row, index in enumerate(chosen):
        cells = [drawn(plain(pictures[index], frame), class_names)]
        for column in range(1, columns):
            cells.append(_sample(pictures, augmentation, index, (seed, row, column), frame, class_names))
        sheet.append(_beside(cells))
    return _below(sheet)


def transform_sheet(pictures: Pictures, frame: Frame, seed: int, class_names: Sequence[str], samples: int = 3) -> Image:
    """Every transform of :data:`ALONE` under its name, ``samples`` times; arguments as :func:`contact_sheet`."""
    blocks: list[Image] = []
    for k, (name, changes) in enumerate(ALONE.items()):
        augmentation = replace(NONE, changes)
        cells = [
            _sample(pictures, augmentation, (seed + k + column) % len(pictures), (seed, k, column), frame, class_names)
            for column in range(samples)
        ]
        row = _beside(cells)
        strip = np.full((STRIP_PX, row.shape[1], 3), GROUND, dtype=np.uint8)
        cv2.putText(strip, name, (GAP_PX, STRIP_PX - 5), FONT, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        blocks.append(np.concatenate([strip, row]))
    if len(blocks) % 2:
        blocks.append(np.full_like(blocks[0], GROUND))
    return _below([_beside(blocks[k : k + 2]) for k in range(0, len(blocks), 2)])


def drawn(picture: Picture, class_names: Sequence[str]) -> Image:
    """A copy of the image with its boxes and the names of their classes."""
    canvas = picture.image.copy()
    for box, number in zip(picture.boxes_xyxy, picture.classes.tolist(), strict=True):
        left, top, right, bottom = np.rint(box).astype(int).tolist()
        colour = class_colour(number)
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), colour, 1)
        title = "ignored" if number == IGNORED else class_names[number]
        name = "".join(c if 32 <= ord(c) < 127 else "?" for c in title)  # OpenCV's fonts are ASCII
        cv2.putText(canvas, name, (left + 2, min(top + 11, canvas.shape[0] - 2)), FONT, 0.35, colour, 1, cv2.LINE_AA)
    return canvas


def class_colour(number: int) -> tuple[int, int, int]:
    """A bright colour as ``(red, green, blue)``; white for regions to ignore."""
    if number == IGNORED:
        return 255, 255, 255
    hue = round(180 * (number * GOLDEN_TURN % 1.0)) % 180
    red, green, blue = cv2.cvtColor(np.array([[[hue, 230, 255]]], dtype=np.uint8), cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def _sample(
    pictures: Pictures,
    augmentation: Augmentation,
    index: int,
    seed: tuple[int, int, int],
    frame: Frame,
    class_names: Sequence[str],
) -> Image:
    """One augmented picture; a smaller or larger one (multi-scale) in the middle of the cell, or cut to it."""
    rng = np.random.default_rng(seed)
    varied = Frame(augmentation.input_size(frame.input_size, rng, 0.0), frame.fit)
    picture = augmentation.draw(pictures.__getitem__, len(pictures), index, rng, varied, 0.0)
    image = drawn(picture, class_names)
    if varied == frame:
        return image
    height, width = (max(a, b) for a, b in zip(varied.input_size, frame.input_size, strict=True))
    top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    cell = np.full((height, width, 3), BORDER, dtype=np.uint8)
    cell[top : top + image.shape[0], left : left + image.shape[1]] = image
    top, left = (height - frame.input_size[0]) // 2, (width - frame.input_size[1]) // 2
    return cell[top : top + frame.input_size[0], left : left + frame.input_size[1]]


def _beside(cells: Sequence[Image]) -> Image:
    gap = np.full((cells[0].shape[0], GAP_PX, 3), GROUND, dtype=np.uint8)
    return np.concatenate([part for cell in cells for part in (cell, gap)][:-1], axis=1)


def _below(rows: Sequence[Image]) -> Image:
    gap = np.full((GAP_PX, rows[0].shape[1], 3), GROUND, dtype=np.uint8)
    return np.concatenate([part for row in rows for part in (row, gap)][:-1])
