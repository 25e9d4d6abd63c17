"""The constants of a convolution in whole numbers: weights with a step for each output channel, and biases."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgehone.boards import Precision
from edgehone.deploy.integer.plan import Format
from edgehone.deploy.integer.scheme import ACCUMULATOR, LEVELS, Scheme


@dataclass(frozen=True)
class Kernel:
    """A convolution's numbers.

    Attributes:
        weights: ``[o, i, k, k]``; whole where ``steps`` is given.
        steps: ``[o]``, of input times weight, float32.
        bias: ``[o]``, float64 and whole, in these steps, where the scheme says so; else real, float32.
        reach: largest magnitude that the sum of an output channel can have, bias included, in steps.
    """

    weights: Tensor
    steps: Tensor | None
    bias: Tensor
    reach: float = 0.0


def rounded(values: Tensor, scheme: Scheme) -> Tensor:
    """To whole numbers."""
    if scheme.rounding == "half_even":
        return values.round()
    return (values.sign() * (values.double().abs() + 0.5).floor()).to(values.dtype)


def weight_steps(weights: Tensor, bias: Tensor, source_step: float, scheme: Scheme) -> Tensor:
    """``[o]``: real size of a step of each output channel's 8-bit weights.

    That is its largest magnitude over 127; larger where its bias, in steps of input times weight, would need more than
    30 bits.
    """
    peaks = weights.abs().amax((1, 2, 3)).double()
    floors = bias.abs().double() / (source_step * (ACCUMULATOR // 2)) * LEVELS["int8"]
    return torch.tensor([scheme.step(float(reach)) for reach in torch.maximum(peaks, floors)])


def make_kernel(convolution: torch.nn.Conv2d, precision: Precision, source: Format, scheme: Scheme) -> Kernel:
    """Weights and bias for the format of the input that the convolution calculates with."""
    weights = convolution.weight.detach().float()
    bias = torch.zeros(len(weights)) if convolution.bias is None else convolution.bias.detach().float()
    if precision not in LEVELS:
        return Kernel(weights.half().float() if precision == "fp16" else weights, None, bias)
    assert source.step is not None
    steps = weight_steps(weights, bias, float(source.step), scheme)
    whole = whole_weights(weights, steps, scheme)
    products = source.step * steps
    reach = whole.double().abs().sum((1, 2, 3)) * (LEVELS[source.precision] + 1)
    if scheme.bias == "int32":
        bias = whole_bias(bias, products, scheme)
        reach = reach + bias.abs()
    return Kernel(whole, products, bias, float(reach.max()))


def whole_weights(weights: Tensor, steps: Tensor, scheme: Scheme) -> Tensor:
    """``[o, i, k, k]`` in steps of its output channel."""
    top = LEVELS["int8"]
    return rounded(weights / steps[:, None, None, None], scheme).clamp(-top - 1, top)


def held_weights(weights: Tensor, bias: Tensor, read: Format, scheme: Scheme) -> Tensor:
    """``[o, i, k, k]``: what the whole weights stand for, of a convolution that reads whole numbers."""
    assert read.step is not None
    steps = weight_steps(weights, bias, float(read.step), scheme)
    return whole_weights(weights, steps, scheme) * steps[:, None, None, None]


def whole_bias(bias: Tensor, steps: Tensor, scheme: Scheme) -> Tensor:
    """``[o]`` float64 in steps of input times weight: 32 bits do not fit in float32."""
    return rounded(bias.double() / steps.double(), scheme)
