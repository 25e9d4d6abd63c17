"""What the gate decided, in the words of the vendor's fixed-point analysis (toolchain manual 4, v0.33.1)."""

from __future__ import annotations

from typing import Literal

from edgehone.deploy.integer.calibration import MeanSquare, Percentile
from edgehone.deploy.integer.eight_bits import EightBits
from edgehone.space import Settings


class Analysis(Settings):
    """Settings of the toolchain's ``analysis``, by its names; the defaults hold where nothing was judged.

    Attributes:
        datapath_range_method: how ranges are chosen; ``mmse`` is least squared error.
        percentage: of numbers that a range holds; the toolchain's own default cuts off the largest, which are objects.
        percentage_16b: the same of 16-bit results.
        datapath_bitwidth_mode: of results; ``mix light`` gives 16 bits to some layers, which the toolchain chooses.
        weight_bitwidth_mode: of weights.
        model_out_bitwidth_mode: of the outputs.
        optimize: 1: biases make good what rounded weights add ("bias adjust"), 0: they stay.
    """

    datapath_range_method: Literal["percentage", "mmse"] = "percentage"
    percentage: float = 1.0
    percentage_16b: float = 1.0
    datapath_bitwidth_mode: Literal["int8", "mix light"] = "int8"
    weight_bitwidth_mode: Literal["int8"] = "int8"
    model_out_bitwidth_mode: Literal["int8", "int16"] = "int16"
    optimize: Literal[0, 1] = 0


def analysis_of(held: EightBits) -> Analysis:
    """The nearest that the toolchain can do to a plan: it takes no list of layers, only a mode for all of them."""
    graph, plan = held.network.graph, held.plan
    outputs = {plan.result_precision(graph, index) for index in graph.outputs}
    inner = set(plan.results) - set(graph.outputs)
    calibrator = held.calibrator
    return Analysis(
        datapath_range_method="mmse" if isinstance(calibrator, MeanSquare) else "percentage",
        percentage=round(calibrator.percent / 100, 6) if isinstance(calibrator, Percentile) else 1.0,
        datapath_bitwidth_mode="mix light" if inner else "int8",
        model_out_bitwidth_mode="int16" if "int16" in outputs else "int8",
        optimize=1 if plan.means else 0,
    )
