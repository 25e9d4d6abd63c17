"""Colours and effects on batches ``[b, 3, h, w]`` of whole levels 0..255, one setting for each picture.

Each function leaves pictures whose setting is off as they are and agrees with its OpenCV counterpart in
:mod:`edgehone.augment` up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edgehone.augment.blur import gauss_kernel
from edgehone.augment.geometry import BORDER
from edgehone.augment.gray import LUMA
from edgehone.augment.hsv import HUES
from edgehone.augment.jpeg import compressed
from edgehone.augment.noise import BYTES_DEVIATION, BYTES_MEAN, GOLDEN, MIX, deviations
from edgehone.augment.recipe import Table

WORD = 0xFFFFFFFF


def recolour(pixels: Tensor, tables: Sequence[Table | None]) -> Tensor:
    """Float levels through the colour table of each picture."""
    rows = [row for row, table in enumerate(tables) if table is not None]
    if not rows:
        return pixels
    chosen = torch.tensor(rows, device=pixels.device)
    stacked = torch.from_numpy(np.stack([table for table in tables if table is not None]))
    lookup = stacked.to(pixels.device).permute(0, 2, 1).long()
    hsv = to_hsv(pixels[chosen])
    new = lookup.gather(2, hsv.flatten(2)).view_as(hsv)
    return pixels.index_copy(0, chosen, to_rgb(new))


def to_hsv(rgb: Tensor) -> Tensor:
    """Float levels ``[b, 3, h, w]`` to int64 hue (0..179), saturation and value (0..255), as OpenCV rounds."""
    red, green, blue = rgb.unbind(1)
    value, low = rgb.amax(1), rgb.amin(1)
    spread = value - low
    saturation = (255 * spread / value.clamp(min=1) + 0.5).floor()
    among = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = (HUES / 6 * among / spread.clamp(min=1) + 0.5).floor()
    hue = torch.where(hue < 0, hue + HUES, hue)
    return torch.stack([hue, saturation, value], 1).long()


def to_rgb(hsv: Tensor) -> Tensor:
    """Whole hue (0..179), saturation and value (0..255) ``[b, 3, h, w]`` to float levels."""
    hue, saturation, value = hsv.float().unbind(1)
    # A channel falls off with its distance from the hue at which it is fullest: red 0, green 2, blue 4 sixths.
    channels: list[Tensor] = []
    for offset in (5.0, 3.0, 1.0):
        place = torch.remainder(hue * (6 / HUES) + offset, 6.0)
        lacking = torch.minimum(place, 4.0 - place).clamp(0.0, 1.0)
        channels.append(value * (1 - saturation / 255 * lacking))
    return torch.stack(channels, 1).round_()


def gray(pixels: Tensor, chosen: Sequence[bool]) -> Tensor:
    """The brightness alone of the pictures that are chosen."""
    rows = [row for row, takes in enumerate(chosen) if takes]
    if not rows:
        return pixels
    index = torch.tensor(rows, device=pixels.device)
    weights = torch.tensor(LUMA, device=pixels.device)[:, None, None]
    brightness = (pixels[index] * weights).sum(1, keepdim=True).round_()
    return pixels.index_copy(0, index, brightness.expand(-1, 3, -1, -1))


def blur(pixels: Tensor, sigmas_px: Sequence[float]) -> Tensor:
    """Gaussian blur of each picture by its standard deviation; 0 is off."""
    rows = [row for row, sigma in enumerate(sigmas_px) if sigma > 0]
    if not rows:
        return pixels
    kernels = [gauss_kernel(sigmas_px[row]) for row in rows]
    radius = max(len(kernel) for kernel in kernels) // 2
    even = np.stack([np.pad(kernel, radius - len(kernel) // 2) for kernel in kernels])
    weights = torch.from_numpy(even).to(pixels.device, torch.float32).repeat_interleave(3, 0)
    chosen = torch.tensor(rows, device=pixels.device)
    height, width = pixels.shape[2:]
    down, across = (_mirrored(length, radius, pixels.device) for length in (height, width))
    planes = pixels[chosen].reshape(1, -1, height, width)
    planes = F.conv2d(planes[:, :, down], weights[:, None, :, None], groups=len(weights))
    planes = F.conv2d(planes[:, :, :, across], weights[:, None, None, :], groups=len(weights))
    return pixels.index_copy(0, chosen, planes.reshape(-1, 3, height, width).round_())


def _mirrored(length: int, margin: int, device: torch.device) -> Tensor:
    """Indices of an axis with a margin mirrored about its outermost pixels, however small the axis."""
    period = max(1, 2 * (length - 1))
    place = torch.arange(-margin, length + margin, device=device).remainder(period)
    return torch.minimum(place, period - place)


def noise(pixels: Tensor, draws: Sequence[tuple[float, int]]) -> Tensor:
    """Sensor noise of each picture by its levels and seed; 0 levels are off."""
    rows = [row for row, (levels, _) in enumerate(draws) if levels > 0]
    if not rows:
        return pixels
    chosen = torch.tensor(rows, device=pixels.device)
    clean = pixels[chosen]
    seeds = torch.tensor([draws[row][1] for row in rows], device=pixels.device)
    lookup = torch.from_numpy(np.stack([deviations(draws[row][0]) for row in rows])).to(pixels.device)
    deviation = lookup.gather(1, clean.long().flatten(1)).view_as(clean)
    noisy = clean + deviation * grain(clean.shape[2:], seeds)
    return pixels.index_copy(0, chosen, noisy.round_().clamp_(0, 255))


def grain(size: Sequence[int], seeds: Tensor) -> Tensor:
    """``[len(seeds), 3, h, w]``: :func:`edgehone.augment.noise.grain`, bit for bit."""
    height, width = size
    bits = torch.arange(height * width * 3, device=seeds.device)
    bits = ((bits * GOLDEN) & WORD) ^ seeds[:, None]
    for shift in (16, 15):
        bits = bits ^ (bits >> shift)
        bits = (bits * MIX) & WORD
    bits = bits ^ (bits >> 16)
    total = sum((bits >> shift) & 255 for shift in (0, 8, 16, 24))
    normal = (torch.as_tensor(total).float() - BYTES_MEAN) / BYTES_DEVIATION
    return normal.view(-1, height, width, 3).permute(0, 3, 1, 2)


def compress(pixels: Tensor, qualities: Sequence[int]) -> Tensor:
    """JPEG artefacts on uint8 pictures, made on the host; quality 0 is off. Changes ``pixels``."""
    for row, quality in enumerate(qualities):
        if quality:
            image = pixels[row].permute(1, 2, 0).contiguous().cpu().numpy()
            pixels[row] = torch.from_numpy(compressed(image, quality)).permute(2, 0, 1).to(pixels.device)
    return pixels


def erase(pixels: Tensor, rectangles_xyxy: Sequence[NDArray[np.int32]]) -> Tensor:
    """Gray rectangles on each picture. Changes ``pixels``."""
    rows = [row for row, rectangles in enumerate(rectangles_xyxy) if len(rectangles)]
    hidden = np.zeros((len(rows), *pixels.shape[2:]), dtype=np.bool_)  # one transfer, however many rectangles
    for mask, row in zip(hidden, rows, strict=True):
        for left, top, right, bottom in rectangles_xyxy[row].tolist():
            mask[top:bottom, left:right] = True
    for mask, row in zip(torch.from_numpy(hidden).to(pixels.device), rows, strict=True):
        pixels[row].masked_fill_(mask, BORDER)
    return pixels
