"""Forms that a network takes while it learns, and that are folded away or dropped when it has learnt.

A layer in such a form computes what a plain convolution with batch norm can compute: :func:`plain` writes that
convolution down, in double precision.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from edgehone.models.network import BATCH_NORM_EPS, LEAKY_SLOPE, Network


class Branched(nn.Module):
    """A 3x3 convolution with parallel branches, each with a batch norm, summed before the activation.

    Ding et al., RepVGG: Making VGG-style ConvNets Great Again (2021): beside the 3x3 a 1x1 convolution, and where
    input and output have one shape the input itself. The branches read the same map, so that their sum is one 3x3
    convolution with a bias.

    Attributes:
        outcome: statistics of the sum, so that the folded layer has a batch norm that fits it and can learn on.
    """

    def __init__(self, square: nn.Conv2d, norm: nn.BatchNorm2d, quiet: bool) -> None:
        """From a plain layer's convolution and norm, which become the 3x3 branch.

        Args:
            square: 3x3, padded by its dilation, without a bias.
            norm: that follows it.
            quiet: the other branches begin at zero, so that the layer begins as the plain one.
        """
        super().__init__()
        self.square, self.square_norm = square, norm
        self.point = nn.Conv2d(square.in_channels, square.out_channels, 1, groups=square.groups, bias=False)
        nn.init.kaiming_normal_(self.point.weight, a=LEAKY_SLOPE, nonlinearity="leaky_relu")
        self.point_norm = _norm(square.out_channels, quiet)
        same = square.in_channels == square.out_channels and square.stride == (1, 1)
        self.same_norm = _norm(square.out_channels, quiet) if same else None
        self.outcome = nn.BatchNorm2d(square.out_channels, eps=BATCH_NORM_EPS, affine=False)
        _fill_statistics(self.outcome, norm.bias.detach(), norm.weight.detach().square())

    def forward(self, current: Tensor) -> Tensor:
        """``[b, c, h, w]`` to the sum of the branches."""
        down, right = self.square.stride
        # Backward, a strided 1x1 convolution of few channels writes past its memory (oneDNN issue 6035): stride first.
        centres = current[..., ::down, ::right]
        total = self.square_norm(self.square(current)) + self.point_norm(self.point(centres))
        if self.same_norm is not None:
            total = total + self.same_norm(current)
        if self.outcome.training:
            with torch.no_grad():
                self.outcome(total)
        return total

    def folded(self) -> list[nn.Module]:
        """One convolution and its batch norm that compute the same in evaluation mode."""
        square = self.square.weight.detach().double()
        kernel, bias = _scaled(square, self.square_norm)
        branches = [_scaled(self._centred(self.point.weight), self.point_norm)]
        if self.same_norm is not None:
            branches.append(_scaled(self._centred(self._identity()), self.same_norm))
        for more, shift in branches:
            kernel, bias = kernel + more, bias + shift
        convolution, norm = copy.deepcopy(self.square), copy.deepcopy(self.square_norm)
        mean, variance = _statistics(self.outcome)
        convolution.weight.copy_(kernel)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean)
        _fill_statistics(norm, mean - bias, variance)
        return [convolution, norm]

    def _centred(self, point: Tensor) -> Tensor:
        """A 1x1 kernel as the middle of a 3x3 one."""
        return nn.functional.pad(point.detach().double(), (1, 1, 1, 1))

    def _identity(self) -> Tensor:
        """The 1x1 kernel that gives each channel to itself."""
        channels, inner = self.square.out_channels, self.square.in_channels // self.square.groups
        kernel = self.square.weight.new_zeros(channels, inner, 1, 1)
        kernel[torch.arange(channels), torch.arange(channels) % inner] = 1.0
        return kernel


class ImplicitConvolution(nn.Module):
    """A head's 1x1 convolution between two learnt vectors: one added to what it reads, one times what it says.

    Wang, Yeh, Liao, You Only Learn One Representation (2021). The vectors begin at zero and one, so that the head
    begins as the plain one; there they are drawn around these.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        """Around a 1x1 convolution without padding."""
        super().__init__()
        self.convolution = convolution
        self.added = nn.Parameter(torch.zeros(convolution.in_channels))
        self.multiplied = nn.Parameter(torch.ones(convolution.out_channels))

    def forward(self, current: Tensor) -> Tensor:
        """``[b, c, h, w]`` to logits."""
        return self.convolution(current + self.added[:, None, None]) * self.multiplied[:, None, None]

    def folded(self) -> list[nn.Module]:
        """One convolution that computes the same."""
        plain_one = copy.deepcopy(self.convolution)
        factor = self.multiplied.detach().double()
        kernel = self.convolution.weight.detach().double()
        bias = copy.deepcopy(self.convolution).double()(self.added.detach().double()[None, :, None, None])[0, :, 0, 0]
        plain_one.weight.copy_(kernel * factor[:, None, None, None])
        assert plain_one.bias is not None
        plain_one.bias.copy_(bias * factor)
        return [plain_one]


class AuxiliaryHeads(nn.Module):
    """A second head for each head of a network, on an earlier map of the same stride; for training only.

    Deeply-supervised nets (Lee et al. 2015) learn from losses in between; YOLOv7 (Wang, Bochkovskiy, Liao 2022) gives
    a detector auxiliary heads.
    """

    def __init__(self, network: Network, taps: Sequence[int]) -> None:
        """For a network, with the layer (-1: the picture) that each head's second one reads, coarse stride first."""
        super().__init__()
        self.taps = tuple(taps)
        widths = [network.nodes[tap].channels if tap >= 0 else network.graph.channels for tap in taps]
        said = [network.nodes[index].channels for index in network.outputs]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(widths, said, strict=True))
        for module in self.convolutions:
            convolution = cast(nn.Conv2d, module)
            nn.init.normal_(convolution.weight, std=0.01)
            nn.init.zeros_(self._bias(convolution))

    def forward(self, maps: Mapping[int, Tensor]) -> list[Tensor]:
        """From the maps that they read to raw heads, as the network's own."""
        return [convolution(maps[tap]) for convolution, tap in zip(self.convolutions, self.taps, strict=True)]

    def biases(self) -> list[Tensor]:
        """Of each, ``[A*(5+c)]``."""
        return [self._bias(cast(nn.Conv2d, convolution)) for convolution in self.convolutions]

    @staticmethod
    def _bias(convolution: nn.Conv2d) -> Tensor:
        assert convolution.bias is not None
        return convolution.bias


@torch.no_grad()
def plain(network: Network) -> Network:
    """The network with every layer in its plain form: itself if all are, else a copy that computes the same."""
    forms = (Branched, ImplicitConvolution)
    if not any(isinstance(module, forms) for module in network.modules()):
        return network
    result = copy.deepcopy(network)
    for key, block in result.convolutions.items():
        first, *after = block.children()
        if isinstance(first, forms):
            result.convolutions[key] = nn.Sequential(*first.folded(), *after)
    return result.train(network.training)


def _norm(channels: int, quiet: bool) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)
    if quiet:
        nn.init.zeros_(norm.weight)
    return norm


def _scaled(kernel: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """A kernel ``[o, i, k, k]`` and a bias ``[o]`` that compute what it does before a batch norm."""
    mean, variance = _statistics(norm)
    factor = norm.weight.detach().double() / (variance + norm.eps).sqrt()
    return kernel * factor[:, None, None, None], norm.bias.detach().double() - mean * factor


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean.double(), norm.running_var.double()


def _fill_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
