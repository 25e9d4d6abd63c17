"""How a board calculates with whole numbers, as settings; what is assumed is said with its source."""

from __future__ import annotations

import math
from typing import Literal

from edgehone.boards import BOARDS, Fact, Precision
from edgehone.deploy.integer.calibration import CALIBRATORS, Calibrator, Max, MeanSquare, Percentile
from edgehone.errors import UsageError
from edgehone.space import Settings

REFERENCE = "document_center 655441c (toolchain v0.33.1)"

LEVELS: dict[Precision, int] = {"int8": 127, "int16": 32767}
"""Largest whole number of a symmetric format; the smallest is one further from zero."""

ACCUMULATOR = 2**31 - 1
"""Largest sum of products that 32 bits hold."""


class Scheme(Settings):
    """The arithmetic of one board. Every format is symmetric: zero is the number 0.

    Attributes:
        board: whose arithmetic it is.
        rounding: of a result to whole numbers, where it lies half way between two.
        steps: ``free``: any real number is a step; ``power_of_two``: only those.
        fuses_activation: the activation is applied to the accumulator, and only then is the result rounded; else
            the sum is rounded to a tensor of its own first.
        bias: added to the accumulator as a whole number, or to its real value.
        heads: ``joint``: one step for all channels of a head; ``parts``: one for its boxes, one for objectness and
            one for classes, as where they are outputs of their own.
        outputs: how raw heads leave.
        wide: what a layer is calculated in that does not bear 8 bits: ``int16``: results of 16 bits from weights
            of 8; ``fp16`` and ``fp32``: weights and results.
        pair_per_reader: its runtime finds integer kernels only where every reader of a tensor has a pair of
            QuantizeLinear and DequantizeLinear of its own.
        graph_weights: in a graph with explicit rounding: ``whole`` numbers behind a DequantizeLinear, or ``real`` ones
            behind a QuantizeLinear, too, where its parser reads no others.
        calibrators: that ranges may be chosen by, in the order in which they are tried.
        assumptions: what a board must confirm.
    """

    board: str
    rounding: Literal["half_even", "half_away"] = "half_even"
    steps: Literal["free", "power_of_two"] = "free"
    fuses_activation: bool = True
    bias: Literal["int32", "float"] = "int32"
    heads: Literal["joint", "parts"] = "joint"
    outputs: Precision = "int8"
    wide: Literal["int16", "fp16", "fp32"] = "fp32"
    pair_per_reader: bool = False
    graph_weights: Literal["whole", "real"] = "whole"
    calibrators: tuple[Calibrator, ...] = CALIBRATORS
    assumptions: tuple[Fact, ...] = ()

    def step(self, amax: float, precision: Precision = "int8") -> float:
        """Real size of one step of a format that must hold numbers up to ``amax``; 1 where all of them are zero."""
        exact = amax / LEVELS[precision]
        if exact == 0:
            return 1.0
        return exact if self.steps == "free" else 2.0 ** math.ceil(math.log2(exact))


KL720 = Scheme(
    board="kneron-kl720",
    rounding="half_away",
    heads="parts",
    wide="int16",
    calibrators=(Max(), Percentile(), MeanSquare()),
    assumptions=(
        Fact(text="ranges by percentage or by least squared error (`mmse`), no others", source=REFERENCE),
        Fact(text="float = fixed / scale / 2^radix, symmetric, -128 to 127: any real step", source=REFERENCE),
        Fact(text="int8 and int16 results; 16-bit outputs with KneronPLUS 2.1 and later", source=REFERENCE),
        Fact(text="weights have one step for each output channel (toolchain v0.24 and later)", source=REFERENCE),
        Fact(
            text="biases that are adjusted (`optimize=1`) make good the mean error of weights",
            source=REFERENCE,
            sure="open",
        ),
        Fact(
            text="rounding, width of the accumulator, leaky's slope and how concatenated maps are rescaled are not "
            "published: half away from zero, 32 bits (more for 16-bit results that are read again), the slope exactly, "
            "and each map rounded to the step of the whole are assumed",
            source=REFERENCE,
            sure="open",
        ),
    ),
)

JETSON = Scheme(
    board="jetson-xavier-nx",
    bias="float",
    outputs="fp32",
    wide="fp16",
    graph_weights="real",
    assumptions=(
        Fact(
            text="symmetric int8, one step a tensor for activations and one a channel for weights",
            source="TensorRT developer guide",
            sure="known",
        ),
        Fact(
            text="convolution and activation are one kernel that rounds once; for leaky in int8 that is guaranteed on "
            "Turing and later only, and a Xavier may round in between",
            source="NVIDIA/TensorRT issue 2134",
        ),
        Fact(text="biases stay real; raw heads are written in fp32 from the accumulator", source="", sure="known"),
        Fact(text="engines of different cards give different answers from one cache", source="issue 2036"),
    ),
)

ONNX_RUNTIME = Scheme(
    board="cpu",
    fuses_activation=False,
    outputs="fp32",
    wide="fp32",
    pair_per_reader=True,
    assumptions=(
        Fact(
            text="QLinearConv rounds its sum before an activation reads it; raw heads stay real, as the convolutions "
            "before them cost little and what follows them is real",
            source="ONNX Runtime, mlas and contrib_ops",
            sure="known",
        ),
        Fact(
            text="x86 without VNNI saturates sums of two products of unsigned by signed numbers",
            source="ONNX Runtime, quantization guide",
            sure="known",
        ),
    ),
)

SCHEMES: dict[str, Scheme] = {scheme.board: scheme for scheme in (ONNX_RUNTIME, JETSON, KL720)}
"""By the board's name."""

assert set(SCHEMES) <= set(BOARDS)


def scheme_of(board: str) -> Scheme:
    """The arithmetic of a board.

    Raises:
        UsageError: none is known.
    """
    if board not in SCHEMES:
        raise UsageError(f"integer arithmetic is known of {', '.join(SCHEMES)}; got {board!r}")
    return SCHEMES[board]
