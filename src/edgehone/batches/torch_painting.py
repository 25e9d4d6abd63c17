"""The torch applier: recipes of a whole batch to pixels on any device.

It samples as :mod:`edgehone.augment.resampling` says, so that OpenCV and torch show the same up to OpenCV's
rounding of coordinates (1/32 px) and of intermediate results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edgehone.augment.geometry import BORDER, Image, Matrix, inverse
from edgehone.augment.recipe import Layer, Recipe
from edgehone.augment.resampling import after_resampling, resampled_size
from edgehone.batches.torch_pixels import blur, compress, erase, gray, noise, recolour
from edgehone.types import Size


def paint_batch(recipes: Sequence[Recipe], image: Callable[[int], Image], device: torch.device) -> Tensor:
    """Recipes of one size to ``[b, 3, h, w]`` uint8 on ``device``.

    Args:
        recipes: at least one.
        image: the pixels of a source by index, ``[h, w, 3]`` uint8.
        device: where to paint; only JPEG artefacts are made on the host, by the same codec as OpenCV's.
    """
    sources = _Sources(image, device)
    canvas = torch.full((len(recipes), 3, *recipes[0].size), float(BORDER), device=device)
    for depth in range(max(len(recipe.layers) for recipe in recipes)):
        rows = [row for row, recipe in enumerate(recipes) if depth < len(recipe.layers)]
        layers = [recipes[row].layers[depth] for row in rows]
        _lay(canvas, rows, layers, sources)
    canvas = recolour(canvas, [recipe.table for recipe in recipes])
    canvas = gray(canvas, [recipe.effects.gray for recipe in recipes])
    canvas = blur(canvas, [recipe.effects.blur_px for recipe in recipes])
    canvas = noise(canvas, [(recipe.effects.noise_levels, recipe.effects.noise_seed) for recipe in recipes])
    painted = compress(canvas.to(torch.uint8), [recipe.effects.jpeg_quality for recipe in recipes])
    return erase(painted, [recipe.erased for recipe in recipes])


class _Sources:
    """Pictures on the device, each brought there once a batch."""

    def __init__(self, image: Callable[[int], Image], device: torch.device) -> None:
        self.image = image
        self.device = device
        self.kept: dict[int, Tensor] = {}

    def __call__(self, index: int, resampled: Callable[[Size], Size]) -> tuple[Tensor, Size, Size]:
        """``[3, h, w]`` float32, resampled to the size asked for; its old and its new size."""
        if index not in self.kept:
            pixels = torch.from_numpy(np.ascontiguousarray(self.image(index)))
            self.kept[index] = pixels.to(self.device).permute(2, 0, 1).float()
        picture = self.kept[index]
        before: Size = (picture.shape[1], picture.shape[2])
        after = resampled(before)
        if after != before:
            picture = _resample(picture, after)
        return picture, before, after


def _lay(canvas: Tensor, rows: Sequence[int], layers: Sequence[Layer], sources: _Sources) -> None:
    """Put one layer on each of the given rows of ``canvas``, in place."""
    size: Size = (canvas.shape[2], canvas.shape[3])
    pictures: list[Tensor] = []
    matrices: list[Matrix] = []
    for layer in layers:
        picture, before, after = sources(layer.source, lambda size, layer=layer: resampled_size(layer.matrix, size))
        pictures.append(picture - BORDER)
        matrices.append(after_resampling(layer.matrix, before, after))
    # Smaller pictures are padded with what is beyond a picture anyway: the border, here zero.
    height, width = (max(p.shape[axis] for p in pictures) for axis in (1, 2))
    stack = torch.stack([F.pad(p, (0, width - p.shape[2], 0, height - p.shape[1])) for p in pictures])
    grid = _grid(matrices, size, (height, width), canvas.device)
    shown = F.grid_sample(stack, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    shown = (shown + BORDER).round_()
    share = _shares(layers, size, canvas.device)
    chosen = torch.tensor(list(rows), device=canvas.device)
    below = canvas[chosen]
    canvas[chosen] = (below + (shown - below) * share).round_()


def _grid(matrices: Sequence[Matrix], size: Size, source: Size, device: torch.device) -> Tensor:
    """``[g, h, w, 2]``: where in sources of one size each canvas pixel's centre lies, in -1..1 as torch counts."""
    undo = torch.from_numpy(np.stack([inverse(matrix) for matrix in matrices])).float().to(device)
    ys = torch.arange(size[0], device=device) + 0.5
    xs = torch.arange(size[1], device=device) + 0.5
    x, y, depth = (
        undo[:, k, 0, None, None] * xs + undo[:, k, 1, None, None] * ys[:, None] + undo[:, k, 2, None, None]
        for k in range(3)
    )
    # torch's -1 and 1 are the outer edges of the outermost pixels: continuous coordinates, scaled.
    return torch.stack([x / depth * (2 / source[1]) - 1, y / depth * (2 / source[0]) - 1], dim=-1)


def _shares(layers: Sequence[Layer], size: Size, device: torch.device) -> Tensor:
    """``[g, 1, h, w]``: how much each layer contributes to each pixel."""
    left, top, right, bottom = torch.tensor([layer.window for layer in layers], device=device).T[..., None]
    opacity = torch.tensor([layer.opacity for layer in layers], device=device)
    xs, ys = torch.arange(size[1], device=device), torch.arange(size[0], device=device)
    across, down = (xs >= left) & (xs < right), (ys >= top) & (ys < bottom)
    return (down[:, :, None] & across[:, None, :])[:, None] * opacity[:, None, None, None]


def _resample(picture: Tensor, size: Size) -> Tensor:
    """``[3, h, w]`` to ``[3, *size]``: area averaging when it shrinks, else bilinear, rounded as OpenCV does."""
    height, width = picture.shape[1:]
    weights = _area_weights if size[0] <= height and size[1] <= width else _linear_weights
    rows, columns = (
        torch.from_numpy(weights(new, old)).to(picture.device) for new, old in ((size[0], height), (size[1], width))
    )
    return (rows @ picture @ columns.T).round_()


def _area_weights(new: int, old: int) -> NDArray[np.float32]:
    """``[new, old]``: the share of each old pixel in each new one, which covers ``old / new`` of them."""
    edges = np.arange(new + 1) * (old / new)
    pixels = np.arange(old)
    covered = np.minimum(pixels + 1, edges[1:, None]) - np.maximum(pixels, edges[:-1, None])
    return (np.clip(covered, 0, None) * (new / old)).astype(np.float32)


def _linear_weights(new: int, old: int) -> NDArray[np.float32]:
    """``[new, old]``: bilinear between pixel centres, the outermost pixels repeated beyond the edges."""
    places = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    return np.clip(1 - np.abs(places[:, None] - np.arange(old)), 0, None).astype(np.float32)
