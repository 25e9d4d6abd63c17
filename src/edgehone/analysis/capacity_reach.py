"""The effective receptive field: which part of the picture really moves a head's answer.

Luo, Li, Urtasun, Zemel, "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks" (2016):
the gradient of one central unit is near a Gaussian that fills only a part of the theoretical receptive field.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgehone.models import Network
from edgehone.space import Settings


class EffectiveField(Settings):
    """One head's effective receptive field.

    The mass of a pixel is the squared gradient of the central cell's logits (their sum), each picture counting the
    same. The squares are centred on the pixels that have any.

    Attributes:
        stride: of the head.
        holds_68_px: side of the square that holds 68 % of the mass (one standard deviation, were it a Gaussian line);
            likewise ``holds_95_px``.
        reaches_px: side of the square of all pixels with any influence: at most the theoretical receptive field.
        clipped: whether that square ends at the picture's border.
    """

    stride: int
    holds_68_px: int
    holds_95_px: int
    reaches_px: int
    clipped: bool


def effective_fields(network: Network, pixels: Tensor) -> tuple[EffectiveField, ...]:
    """The effective receptive field of every head, in the order of the heads.

    Args:
        network: in evaluation mode, as a batch's statistics would tie its pictures together.
        pixels: ``[b, 3, h, w]``, the pictures that it is measured on.

    Raises:
        ValueError: a network in training mode.
    """
    if network.training:
        raise ValueError("need a network in evaluation mode: batch statistics let every pixel see every other")
    pictures = pixels.detach().clone().requires_grad_()
    heads = network(pictures)
    found: list[EffectiveField] = []
    for head in heads:
        rows, columns = head.shape[2:]
        said = head[:, :, rows // 2, columns // 2].sum()
        (slope,) = torch.autograd.grad(said, pictures, retain_graph=head is not heads[-1])
        found.append(_field(slope, pixels.shape[2] // rows))
    return tuple(found)


def _field(slope: Tensor, stride: int) -> EffectiveField:
    """From the gradient ``[b, 3, h, w]``."""
    mass = slope.double().square().sum(1)
    mass = (mass / mass.sum((1, 2), keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)).mean(0)
    rows, columns = (axis.nonzero()[:, 0] for axis in (mass.sum(1), mass.sum(0)))
    if not len(rows):
        return EffectiveField(stride=stride, holds_68_px=0, holds_95_px=0, reaches_px=0, clipped=False)
    ends = [(int(line[0]), int(line[-1])) for line in (rows, columns)]
    # Doubled, so that the middle between two pixels is a whole number.
    away_y = (2 * torch.arange(mass.shape[0]) - sum(ends[0])).abs()
    away_x = (2 * torch.arange(mass.shape[1]) - sum(ends[1])).abs()
    sides = torch.maximum(away_y[:, None], away_x[None]) + 1
    held = torch.bincount(sides.flatten(), mass.flatten()).cumsum(0) / mass.sum()
    return EffectiveField(
        stride=stride,
        holds_68_px=int((held < 0.68).sum()),
        holds_95_px=int((held < 0.95).sum()),
        reaches_px=max(high - low + 1 for low, high in ends),
        clipped=any(low == 0 or high == side - 1 for (low, high), side in zip(ends, mass.shape, strict=True)),
    )
