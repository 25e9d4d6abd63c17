"""The lattice of slots that the heads span over the network input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgehone.types import Lattice, Size


@dataclass(frozen=True)
class RawHeads:
    """The head tensors of a batch, flattened onto the lattice.

    Attributes:
        boxes: ``[b, n, 4]`` float32, x, y, w, h logits.
        objectness: ``[b, n]`` float32 logits.
        classes: ``[b, n, c]`` float32 logits.
    """

    boxes: Tensor
    objectness: Tensor
    classes: Tensor


def build_lattice(anchors_px: Tensor, masks: Sequence[Sequence[int]], strides: Sequence[int], size: Size) -> Lattice:
    """The lattice of heads with these strides over an input of ``size``.

    Args:
        anchors_px: ``[a, 2]`` float32, the full list.
        masks: per head, the anchors it owns.
        strides: per head, pixels per cell; ``size`` must be a multiple of each.
        size: ``(height, width)``.
    """
    height, width = size
    cells: list[Tensor] = []
    stride_of: list[Tensor] = []
    anchor_of: list[Tensor] = []
    level_of: list[Tensor] = []
    shapes: list[tuple[int, int, int]] = []
    for level, (mask, stride) in enumerate(zip(masks, strides, strict=True)):
        if height % stride or width % stride:
            raise ValueError(f"need an input size that is a multiple of {stride=}, got {size=}")
        rows, columns = height // stride, width // stride
        shapes.append((len(mask), rows, columns))
        ids, ys, xs = torch.meshgrid(torch.tensor(list(mask)), torch.arange(rows), torch.arange(columns), indexing="ij")
        cells.append(torch.stack([xs, ys], -1).reshape(-1, 2).float())
        anchor_of.append(ids.reshape(-1))
        stride_of.append(torch.full((ids.numel(),), float(stride)))
        level_of.append(torch.full((ids.numel(),), level, dtype=torch.int64))
    anchor_ids = torch.cat(anchor_of)
    return Lattice(
        cells_xy=torch.cat(cells),
        strides=torch.cat(stride_of),
        anchors_px=anchors_px[anchor_ids].float(),
        anchor_ids=anchor_ids,
        levels=torch.cat(level_of),
        shapes=tuple(shapes),
        input_size=size,
        all_anchors_px=anchors_px.float(),
    )


def flatten_heads(heads: Sequence[Tensor], lattice: Lattice) -> RawHeads:
    """Head tensors ``[b, A*(5+c), rows, columns]`` onto the lattice, in float32."""
    flat: list[Tensor] = []
    for head, (anchors, rows, columns) in zip(heads, lattice.shapes, strict=True):
        batch = head.shape[0]
        logits = head.float().reshape(batch, anchors, -1, rows, columns)
        flat.append(logits.permute(0, 1, 3, 4, 2).reshape(batch, anchors * rows * columns, -1))
    logits = torch.cat(flat, dim=1)
    return RawHeads(logits[..., :4], logits[..., 4], logits[..., 5:])
