"""How the time of a layer comes about on each board: arithmetic, memory traffic, a start-up.

A machine turns layer costs into milliseconds with a few parameters, given as logarithms. Each parameter has a prior
that says what is physically plausible, so that little data cannot drive it anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehone.boards.board import BYTES, Board, Precision
from edgehone.boards.kneron_kl720 import PEAK_GMAC_PER_S
from edgehone.errors import UsageError
from edgehone.types import LayerCost

Numbers = NDArray[np.float64]

JETSON_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
FLOAT_BYTES = BYTES["fp32"]


@dataclass(frozen=True)
class Parameter:
    """A fitted number.

    Attributes:
        name: with its unit.
        value: the prior's centre.
        spread: the prior's standard deviation, of the logarithm.
        most: what it cannot exceed: a share is at most 1.
    """

    name: str
    value: float
    spread: float
    most: float = float("inf")


@dataclass(frozen=True)
class Clocks:
    """Of a Jetson: what changes between power modes and sister boards.

    Attributes:
        gmac_per_s: peak by precision.
        gb_per_s: of memory.
        gpu_mhz: of the GPU; start-up times are counted in its cycles.
    """

    gmac_per_s: dict[str, float]
    gb_per_s: float
    gpu_mhz: float


NX_MHZ = 1100
NX_GMAC_PER_S = {"fp32": 422.4, "fp16": 3380.0, "int8": 6760.0}
"""384 lanes, 48 tensor cores of 64 multiply-accumulates a cycle (twice that in INT8), at 1100 MHz."""

AGX = Clocks({"fp32": 705.0, "fp16": 5640.0, "int8": 11280.0}, 136.5, 1377)
"""Jetson AGX Xavier: 512 lanes, 64 tensor cores at 1377 MHz, in MAXN."""


def _conv_inputs(layer: LayerCost) -> float:
    """Numbers that a layer reads: for a convolution from its weights, taken as dense."""
    channels, height, width = layer.output_shape
    if layer.kind != "conv":
        return channels * height * width * layer.stride**2
    weights = layer.weight_bytes / FLOAT_BYTES - channels
    read = max(weights / (channels * layer.kernel**2), 1.0)
    read = channels if _depthwise(layer) else read
    return read * height * width * layer.stride**2


def _depthwise(layer: LayerCost) -> bool:
    channels, height, width = layer.output_shape
    return layer.kind == "conv" and layer.kernel > 1 and layer.macs == layer.kernel**2 * channels * height * width


def _elements(layer: LayerCost) -> int:
    return layer.activation_bytes // FLOAT_BYTES


@dataclass(frozen=True)
class JetsonGpu:
    """One kernel after the other: arithmetic, then traffic, then the start of the next.

    A convolution with its activation is one kernel and reads and writes its maps; a shortcut is part of the
    convolution before it and reads one more; a route copies.

    Attributes:
        precisions: of which it knows times.
        needs_npu_ms: what was measured on the board says something of the machine only if the accelerator was timed
            alone: all else is transfer.
        device_factor: from the times that are published to the board's; ``device_because`` says why.
    """

    board: Board
    parameters: tuple[Parameter, ...] = (
        Parameter("fp32_share_of_peak", 1.0, 0.3, 1.0),
        Parameter("fp16_share_of_peak", 0.35, 0.4, 1.0),
        Parameter("int8_share_of_peak", 0.25, 0.4, 1.0),
        Parameter("share_of_bandwidth", 0.6, 0.3, 1.0),
        Parameter("start_us_at_1100_mhz", 20.0, 0.7),
    )
    precisions: tuple[Precision, ...] = JETSON_PRECISIONS
    needs_npu_ms: bool = False
    device_factor: float = 1.0
    device_because: str = "engine only, without pre- and post-processing"

    def clocks(self, hardware: str, power_mode: str | None) -> Clocks:
        """Of the board in a power mode, or of its sister board."""
        if hardware == "jetson-agx-xavier":
            return AGX
        mode = self.board.power_mode(power_mode)
        assert mode is not None
        peaks = {precision: peak * mode.gpu_mhz / NX_MHZ for precision, peak in NX_GMAC_PER_S.items()}
        return Clocks(peaks, mode.gb_per_s, mode.gpu_mhz)

    def features(self, costs: Sequence[LayerCost], precision: Precision, clocks: Clocks) -> Numbers:
        """Columns: ms of arithmetic for each precision and of traffic at their peaks, us of start-up."""
        if precision not in JETSON_PRECISIONS:
            raise UsageError(
                f"latencies of {self.board.name} are known for {', '.join(JETSON_PRECISIONS)}; got {precision}"
            )
        table = np.zeros((len(costs), 5))
        column = JETSON_PRECISIONS.index(precision)
        for row, layer in zip(table, costs, strict=True):
            if layer.kind == "head":
                continue
            row[column] = layer.macs / clocks.gmac_per_s[precision] / 1e6
            moved = _elements(layer) + (0 if layer.kind == "shortcut" else _conv_inputs(layer))
            moved += layer.weight_bytes / FLOAT_BYTES
            row[3] = moved * BYTES[precision] / clocks.gb_per_s / 1e6
            row[4] = 1e-3 * NX_MHZ / clocks.gpu_mhz
        return table

    def arithmetic_ms(self, features: Numbers) -> float:
        """Of the multiply-accumulates at the peak: no network is faster."""
        return float(features[:, :3].sum())

    def milliseconds(self, logs: Numbers, features: Numbers) -> float:
        """Sum over layers of arithmetic, traffic and start-up."""
        values = np.exp(logs)
        return float((features[:, :4] / values[:4]).sum() + features[:, 4].sum() * values[4])


@dataclass(frozen=True)
class Kl720Npu:
    """Arithmetic, weights and maps move at the same time: a layer takes the longest of the three, plus a start-up.

    Rows are computed in blocks of 16 columns, so that narrow maps waste arithmetic; each result is written once.
    """

    board: Board
    parameters: tuple[Parameter, ...] = (
        Parameter("share_of_peak_3x3", 0.6, 0.3, 1.0),
        Parameter("share_of_peak_1x1", 0.5, 0.3, 1.0),
        Parameter("share_of_peak_depthwise", 0.15, 0.7, 1.0),
        Parameter("weights_gb_per_s", 4.0, 0.5),
        Parameter("maps_gb_per_s", 8.0, 0.7),
        Parameter("start_us", 3.0, 1.0),
    )
    precisions: tuple[Precision, ...] = ("int8",)
    needs_npu_ms: bool = True
    device_factor: float = 1 / 0.85
    device_because: str = (
        "the vendor's simulation of the NPU times 1.18, the one published pair of device and simulation (YOLOv3, "
        "the device's input size taken to be 416); operators on the CPU and transfer over USB come on top"
    )
    block: int = 16
    gmac_per_s: float = PEAK_GMAC_PER_S

    def clocks(self, hardware: str, power_mode: str | None) -> Clocks:
        """The NPU has one clock."""
        self.board.power_mode(power_mode)
        return Clocks({"int8": self.gmac_per_s}, 1.0, 700)

    def features(self, costs: Sequence[LayerCost], precision: Precision, clocks: Clocks) -> Numbers:
        """Columns: ms of 3x3, 1x1 and depthwise arithmetic at the peak, MB of weights and of maps, us of start-up."""
        if precision != "int8":
            raise UsageError(f"latencies of {self.board.name} are known for int8 only; got {precision}")
        table = np.zeros((len(costs), 6))
        for row, layer in zip(table, costs, strict=True):
            if layer.kind == "head":
                continue
            width = layer.output_shape[2]
            wasted = -(-width // self.block) * self.block / width if width > 1 else 1.0
            column = 2 if _depthwise(layer) else (1 if layer.kernel == 1 else 0)
            row[column] = layer.macs * wasted / clocks.gmac_per_s["int8"] / 1e6
            row[3] = layer.weight_bytes / FLOAT_BYTES / 1e6
            row[4] = _elements(layer) / 1e6
            row[5] = 0.0 if layer.kind == "route" else 1e-3
        return table

    def arithmetic_ms(self, features: Numbers) -> float:
        """Of the multiply-accumulates at the peak, in whole blocks of columns: no network is faster."""
        return float(features[:, :3].sum())

    def milliseconds(self, logs: Numbers, features: Numbers) -> float:
        """Sum over layers of the longest of arithmetic, weights and maps, plus start-up."""
        values = np.exp(logs)
        arithmetic = (features[:, :3] / values[:3]).sum(axis=1)
        longest = np.maximum(np.maximum(arithmetic, features[:, 3] / values[3]), features[:, 4] / values[4])
        return float(longest.sum() + features[:, 5].sum() * values[5])


Machine = JetsonGpu | Kl720Npu
