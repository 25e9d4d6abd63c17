"""How long a network will take on a board that is not here: an interval, from published timings or from the board.

A machine (:mod:`edgehone.boards.machines`) is fitted in logarithms to the published timings. Each network is then left
out in turn, with all its rows; the errors of these predictions make the interval (:mod:`edgehone.boards.fitting`). What
was measured on the board itself replaces the estimate of that network and refits the model for all others.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgehone.boards.board import Precision
from edgehone.boards.cpu import CPU
from edgehone.boards.fitting import LeftOut, ModelError, Row, fit, interval_factor, leave_one_out, published_rows
from edgehone.boards.jetson_xavier_nx import JETSON_XAVIER_NX
from edgehone.boards.kneron_kl720 import KNERON_KL720
from edgehone.boards.machines import JetsonGpu, Kl720Npu, Machine
from edgehone.boards.measured import Measured, Measurement, fingerprint_of, read_measured
from edgehone.boards.published import Timing
from edgehone.errors import UsageError
from edgehone.space import Settings
from edgehone.types import LayerCost

MEASURED_SPREAD = 0.03
"""Standard deviation, of the logarithm, of what a time measured on the board may say beside the truth."""


class LatencyEstimate(Settings):
    """Milliseconds of one picture, batch 1, without pre- and post-processing.

    Attributes:
        low_ms: and ``high_ms``: the interval; of a measurement p50 and p90.
        mid_ms: its middle, for ranking; of a measurement p50.
        measured: it was measured on the board.
        because: where it comes from and how far it was off elsewhere.
    """

    low_ms: float
    mid_ms: float
    high_ms: float
    measured: bool
    because: str


@dataclass(frozen=True)
class LatencyModel:
    """A fitted machine.

    Attributes:
        machine: how times come about.
        logs: logarithms of its parameters.
        left_out: predictions of every timing, published or measured, without its network.
        measured: what was measured on the board.
    """

    machine: Machine
    logs: tuple[float, ...]
    left_out: tuple[LeftOut, ...]
    measured: tuple[Measured, ...] = ()

    @property
    def factor(self) -> float:
        """Of the interval, either way."""
        return interval_factor(self.left_out)

    @property
    def error(self) -> ModelError:
        """How far off it was where the truth is known."""
        return ModelError.of(self.left_out)

    @property
    def parameters(self) -> dict[str, float]:
        """By name."""
        return {p.name: float(np.exp(v)) for p, v in zip(self.machine.parameters, self.logs, strict=True)}

    def estimate(
        self, costs: Sequence[LayerCost], precision: Precision | None = None, power_mode: str | None = None
    ) -> LatencyEstimate:
        """The time of a network.

        Args:
            costs: of every layer, at the input size in question.
            precision: None is what a bundle delivers.
            power_mode: None is the board's default.

        Raises:
            UsageError: a precision or power mode without a model.
        """
        precision = precision or self.machine.board.delivered
        known = self._known(costs, precision, power_mode)
        if known is not None:
            return known
        clocks = self.machine.clocks(self.machine.board.name, power_mode)
        features = self.machine.features(costs, precision, clocks)
        mid = self.machine.milliseconds(np.array(self.logs), features) * self.machine.device_factor
        least, most = self._transfer(costs)
        return LatencyEstimate(
            low_ms=max(mid / self.factor, self.machine.arithmetic_ms(features)) + least,
            mid_ms=mid + (least + most) / 2,
            high_ms=mid * self.factor + most,
            measured=False,
            because=f"estimated for {precision}{self._clocked(power_mode)}, {self._basis}: {self.error}",
        )

    def _clocked(self, power_mode: str | None) -> str:
        mode = self.machine.board.power_mode(power_mode)
        return "" if mode is None else f" at {mode.name}"

    @property
    def _basis(self) -> str:
        fitted = sum(1 for _ in self._fitting())
        if not fitted:
            return self.machine.device_because
        beside = ", with the transfer to the NPU as measured" if self.machine.needs_npu_ms else ""
        return f"refitted to {fitted} measurements on the board{beside}"

    def _known(self, costs: Sequence[LayerCost], precision: str, power_mode: str | None) -> LatencyEstimate | None:
        board = self.machine.board
        mode, name = board.power_mode(power_mode), fingerprint_of(costs)
        for file in reversed(self.measured):
            for row in file.measurements:
                same_mode = board.power_mode(file.power_mode or None) == mode
                if row.fingerprint == name and row.precision == precision and same_mode:
                    words = [f"measured with {file.runtime} over {row.runs} pictures; p50 and p90"]
                    words += [row.includes] if row.includes else []
                    words += [f"power mode unknown, taken for {mode.name}"] if mode and not file.power_mode else []
                    because, p50, p90 = "; ".join(words), row.p50_ms, row.p90_ms
                    return LatencyEstimate(low_ms=p50, mid_ms=p50, high_ms=p90, measured=True, because=because)
        return None

    def _transfer(self, costs: Sequence[LayerCost]) -> tuple[float, float]:
        """Milliseconds beside the accelerator, where both were timed: between as many and as many for each pixel."""
        rows = [(row, row.npu_ms) for _, row in self._fitting() if row.npu_ms is not None]
        if not rows or not costs:
            return 0.0, 0.0
        _, height, width = costs[0].output_shape
        pixels = height * width * costs[0].stride ** 2
        row, npu_ms = min(rows, key=lambda one: abs(math.log(pixels / math.prod(one[0].input_size))))
        beside = max(row.p50_ms - npu_ms, 0.0)
        ends = beside, beside * pixels / math.prod(row.input_size)
        return min(ends), max(ends)

    def _fitting(self) -> Iterator[tuple[Measured, Measurement]]:
        """Measurements that the model is fitted to."""
        for file in self.measured:
            for row in file.measurements:
                if self.fits_nothing(file, row) is None:
                    yield file, row

    def fits_nothing(self, file: Measured, row: Measurement) -> str | None:
        """Why a measurement replaces the estimate of its own network only; None where the model is fitted to it."""
        if not row.layers:
            return "the file does not say what the layers cost"
        if row.precision not in self.machine.precisions:
            return f"times are modelled for {', '.join(self.machine.precisions)} only"
        if self.machine.needs_npu_ms and row.npu_ms is None:
            return "the file does not say how long the NPU alone took"
        if self.machine.board.power_modes and not file.power_mode:
            return "the file does not say the power mode, so its clocks are not known"
        return None

    def refit(self, measured: Sequence[Measured]) -> LatencyModel:
        """The model with what was measured on the board: exact for those networks, better for others.

        Raises:
            UsageError: a file of another board, or of a power mode that it does not have.
        """
        board = self.machine.board
        wrong = [file.board for file in measured if file.board != board.name]
        if wrong:
            raise UsageError(f"this is the model of {board.name}; got measurements of {', '.join(wrong)}")
        for file in measured:
            board.power_mode(file.power_mode or None)
        known = LatencyModel(self.machine, self.logs, self.left_out, (*self.measured, *measured))
        rows = [known._row(file, row) for file, row in known._fitting()]
        if not rows:
            return known
        published = [row for row in published_rows(self.machine) if row.timing.fitted]
        logs = fit(self.machine, [*published, *rows], start=self.logs)
        return LatencyModel(self.machine, logs, leave_one_out(self.machine, rows), known.measured)

    def _row(self, file: Measured, row: Measurement) -> Row:
        machine = self.machine
        timing = Timing(
            board=file.board,
            hardware=file.board,
            network=row.network,
            side=max(row.input_size),
            precision=row.precision,
            ms=(row.npu_ms if machine.needs_npu_ms and row.npu_ms is not None else row.p50_ms) / machine.device_factor,
            runtime=f"measured, {file.runtime}",
            source="measured.json",
        )
        clocks = machine.clocks(file.board, file.power_mode)
        return Row(timing, machine.features(row.layers, row.precision, clocks), MEASURED_SPREAD)


MACHINES: dict[str, Machine] = {
    JETSON_XAVIER_NX.name: JetsonGpu(JETSON_XAVIER_NX),
    KNERON_KL720.name: Kl720Npu(KNERON_KL720),
}
"""By the board's name."""


def latency_model(board_name: str, measured: Sequence[Measured] = ()) -> LatencyModel:
    """The model of a board, fitted to the published timings and to what was measured on it.

    Args:
        board_name: of the board.
        measured: of whatever boards; those of this one count.

    Raises:
        UsageError: the board is measured here, not estimated, or unknown; or see :meth:`LatencyModel.refit`.
    """
    return _model(board_name, tuple(file for file in measured if file.board == board_name))


@functools.cache
def _model(board_name: str, measured: tuple[Measured, ...]) -> LatencyModel:
    if measured:
        return _model(board_name, ()).refit(measured)
    if board_name not in MACHINES:
        why = "is measured here, not estimated" if board_name == CPU.name else "is not one of them"
        raise UsageError(f"latencies are estimated for {', '.join(MACHINES)}; {board_name} {why}")
    machine = MACHINES[board_name]
    rows = [row for row in published_rows(machine) if row.timing.fitted]
    return LatencyModel(machine, fit(machine, rows), leave_one_out(machine))


def read_measurements(paths: Iterable[str | Path]) -> tuple[Measured, ...]:
    """Files ``measured.json`` that boards handed back, each of a board and a power mode that there is.

    Raises:
        UsageError: see :func:`~edgehone.boards.measured.read_measured`; or no such board or mode, with the file's name.
    """
    found: list[Measured] = []
    for path in paths:
        file = read_measured(Path(path))
        try:
            latency_model(file.board, [file])
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
        found.append(file)
    return tuple(found)
