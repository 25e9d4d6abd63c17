"""The batches of a run: each a function of the data, the strategy, the seed and the step's number alone."""

from __future__ import annotations

import functools
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgehone.augment import Frame, Recipe, paint
from edgehone.augment.recipe import Read
from edgehone.batches.torch_painting import paint_batch
from edgehone.data.loader import PictureCache, epochs, prefetch, rounded
from edgehone.strategy import Strategy
from edgehone.types import Answers, Detections, Targets

Painter = Literal["auto", "opencv", "torch"]
"""What paints: ``auto`` is OpenCV for the CPU and torch for any other device."""

SIZE_STREAM = 2**32 - 1
"""Stands where a picture's place in its batch stands in other seeds."""

POOL_RESOLUTION = 8
"""Partners are drawn as often as sampling says, to this part of a picture."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from.

    Attributes:
        pixels: ``[b, 3, h, w]`` float32 in 0..1, channels last in memory.
        targets: the truth, on the same device.
        answers: what a teacher found, likewise; None without a teacher.
    """

    pixels: Tensor
    targets: Targets
    answers: Answers | None = None


@dataclass(frozen=True)
class BatchSource:
    """Everything that the batches of a run depend on, and where they are made.

    Attributes:
        strategy: its augmentation and input.
        pictures: the training split.
        seed: of order, sizes and augmentation.
        steps: of the whole run, of which the augmentation's tail is a share.
        batch_size: pictures a step.
        painter: what paints.
        device: where the tensors are, as torch names it.
        said: what a teacher found in each original picture, in its pixels; None without a teacher.
    """

    strategy: Strategy
    pictures: PictureCache
    seed: int
    steps: int
    batch_size: int
    painter: Painter = "auto"
    device: str = "cpu"
    said: Sequence[Detections] | None = None

    def stream(self, start: int = 0, workers: int = 0) -> Generator[Batch, None, None]:
        """The batches of the steps from ``start`` on, endless, made ahead by ``workers`` threads.

        The same batches for any number of workers, and the same as if none before had been left out.
        """
        order = epochs(self._partners_and_repeats[1], self.batch_size, self.seed, start)
        return prefetch(lambda item: self.make(*item), zip(count(start), order, strict=False), workers)

    def make(self, step: int, indices: Sequence[int]) -> Batch:
        """The batch of a step from pictures of these indices."""
        # A picture is read once a batch, also where the cache does not keep it.
        read = functools.cache(self.pictures.__getitem__)
        recipes, min_visible = self.recipes(step, indices, read), self.strategy.augmentation.min_visible
        truths = [recipe.truth(read, min_visible) for recipe in recipes]
        device = torch.device(self.device)
        if self.painter == "torch" or (self.painter == "auto" and device.type != "cpu"):
            pixels = paint_batch(recipes, lambda index: read(index).image, device)
        else:
            images = np.stack([paint(recipe, read) for recipe in recipes])
            pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)
        batch = collate(pixels, truths)
        if self.said is None:
            return batch
        found = [recipe.carried(lambda index: self._said_of(index, read), min_visible) for recipe in recipes]
        targets = collate_boxes([(one.boxes_xyxy, one.classes) for one in found], device)
        scores = torch.from_numpy(np.concatenate([one.scores for one in found])).to(device)
        return replace(batch, answers=Answers(targets, scores))

    def _said_of(self, index: int, read: Read) -> Detections:
        """What a teacher found in a picture, in the pixels of what is kept of it."""
        assert self.said is not None
        found, (height, width) = self.said[index], self.pictures.samples[index].size
        kept = read(index).image.shape
        scale = np.array([kept[1] / width, kept[0] / height] * 2)
        return Detections((found.boxes_xyxy * scale).astype(np.float32), found.scores, found.classes)

    def recipes(self, step: int, indices: Sequence[int], read: Read) -> list[Recipe]:
        """What the pictures of a batch are made of."""
        augmentation, progress = self.strategy.augmentation, step / self.steps
        frame, partners = self.frame(step), self._partners_and_repeats[0]
        return [
            augmentation.recipe(read, partners, index, np.random.default_rng((self.seed, step, k)), frame, progress)
            for k, index in enumerate(indices)
        ]

    def frame(self, step: int) -> Frame:
        """The network input of a step, which multi-scale training varies."""
        shape, rng = self.strategy.input.shape, np.random.default_rng((self.seed, step, SIZE_STREAM))
        size = self.strategy.augmentation.input_size(shape, rng, step / self.steps)
        return Frame(size, self.strategy.input.fit)

    @functools.cached_property
    def _partners_and_repeats(self) -> tuple[int | NDArray[np.int64], int | NDArray[np.float64]]:
        repeats = self.strategy.augmentation.sampling.repeats([s.classes for s in self.pictures.samples])
        if (repeats == 1).all():
            return len(repeats), len(repeats)
        return rounded(repeats * POOL_RESOLUTION, 0.5), repeats


def collate(pixels: Tensor, truths: Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]]) -> Batch:
    """Pictures ``[b, 3, h, w]`` uint8 and the boxes ``[n, 4]`` and classes ``[n]`` of each as one batch."""
    targets = collate_boxes(truths, pixels.device)
    return Batch(pixels.float().div_(255).contiguous(memory_format=torch.channels_last), targets)


def collate_boxes(pictures: Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]], device: torch.device) -> Targets:
    """The boxes ``[n, 4]`` and classes ``[n]`` of each picture of a batch."""
    counts = torch.tensor([len(classes) for _, classes in pictures])
    return Targets(
        boxes_xyxy=torch.from_numpy(np.concatenate([boxes for boxes, _ in pictures])).float().to(device),
        classes=torch.from_numpy(np.concatenate([classes for _, classes in pictures])).long().to(device),
        images=torch.repeat_interleave(torch.arange(len(pictures)), counts).to(device),
        batch_size=len(pictures),
    )
