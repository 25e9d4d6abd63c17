"""How long a network will take on a board that is not here: an interval, from published timings or from the board.

A machine (:mod:`edgehone.boards.machines`) is fitted in logarithms to the published timings. Each network is then left
out in turn, with all its rows; the errors of these predictions make the interval. What was measured on the board
itself replaces the estimate of that network and refits the model for all others.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edgehone.boards.board import Board, Precision
from edgehone.boards.cpu import CPU
from edgehone.boards.jetson_xavier_nx import JETSON_XAVIER_NX
from edgehone.boards.kneron_kl720 import KNERON_KL720
from edgehone.boards.machines import JetsonGpu, Kl720Npu, Machine
from edgehone.boards.measured import Measured, fingerprint_of
from edgehone.boards.published import TIMINGS, Timing, published_costs
from edgehone.errors import UsageError
from edgehone.space import Settings
from edgehone.types import LayerCost

Numbers = NDArray[np.float64]

COVERAGE = 0.8
"""Share of left-out predictions that the interval is made to hold; every network counts the same."""

WIDEST = 1.5
"""The interval is never wider than this factor either way: beyond it an estimate would say nothing."""

ROWS_A_NETWORK = 4
"""All rows of one network weigh as much as so many: one network with many sizes must not decide alone."""

PUBLISHED_SPREAD, MEASURED_SPREAD = 0.15, 0.03
"""Standard deviation, of the logarithm, of what a row may say beside the truth."""


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
class LeftOut:
    """A published timing, predicted without any row of its network.

    Attributes:
        timing: as published.
        predicted_ms: by the model that has not seen the network.
        factor: of the interval either way, likewise without the network.
    """

    timing: Timing
    predicted_ms: float
    factor: float

    @property
    def error(self) -> float:
        """Predicted over published, as a logarithm."""
        return float(np.log(self.predicted_ms / self.timing.ms))

    @property
    def inside(self) -> bool:
        """Whether the interval holds the published time."""
        return abs(self.error) <= np.log(self.factor)


class ModelError(Settings):
    """What leaving each network out in turn says about a model.

    Attributes:
        rows: published timings that were predicted, of ``networks`` networks.
        median_error: of predicted over published, 0.1 is 10 %.
        worst_factor: of the widest miss, either way.
        inside: rows whose interval holds the published time.
        factor: of the intervals, either way.
    """

    rows: int
    networks: int
    median_error: float
    worst_factor: float
    inside: int
    factor: float

    @staticmethod
    def of(left_out: Sequence[LeftOut]) -> ModelError:
        """From predictions."""
        errors = [abs(row.error) for row in left_out]
        return ModelError(
            rows=len(errors),
            networks=len({row.timing.network for row in left_out}),
            median_error=round(float(np.expm1(np.median(errors))), 4),
            worst_factor=round(float(np.exp(max(errors))), 3),
            inside=sum(row.inside for row in left_out),
            factor=round(max(row.factor for row in left_out), 3),
        )

    def __str__(self) -> str:
        return (
            f"leaving each of {self.networks} networks out, the median error over {self.rows} published timings was "
            f"{100 * self.median_error:.0f} %, {self.inside} lay within their interval of at most {self.factor:.2f} "
            f"times either way, and the widest miss was {self.worst_factor:.2f} times"
        )


@dataclass(frozen=True)
class _Row:
    network: str
    features: Numbers
    ms: float
    spread: float


@dataclass(frozen=True)
class LatencyModel:
    """A fitted machine.

    Attributes:
        machine: how times come about.
        logs: logarithms of its parameters.
        left_out: predictions of every published timing without its network.
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
        """How far off it was where the truth is published."""
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
            precision: None is the board's fastest with a model (INT8).
            power_mode: None is the board's default.

        Raises:
            UsageError: a precision or power mode without a model.
        """
        precision = precision or "int8"
        known = self._known(costs, precision, power_mode)
        if known is not None:
            return known
        clocks = self.machine.clocks(self.machine.board.name, power_mode)
        features = self.machine.features(costs, precision, clocks)
        mid = self.machine.milliseconds(np.array(self.logs), features) * self.machine.device_factor
        return LatencyEstimate(
            low_ms=mid / self.factor,
            mid_ms=mid,
            high_ms=mid * self.factor,
            measured=False,
            because=f"estimated, {self._basis}: {self.error}",
        )

    @property
    def _basis(self) -> str:
        if not self.measured:
            return self.machine.device_because
        return f"refitted to {sum(len(file.measurements) for file in self.measured)} measurements on the board"

    def _known(self, costs: Sequence[LayerCost], precision: str, power_mode: str | None) -> LatencyEstimate | None:
        mode = self.machine.board.power_mode(power_mode)
        name = fingerprint_of(costs)
        for file in reversed(self.measured):
            for row in file.measurements:
                same_mode = self.machine.board.power_mode(file.power_mode) == mode
                if row.fingerprint == name and row.precision == precision and same_mode:
                    because = f"measured with {file.runtime} over {row.runs} pictures; p50 and p90"
                    return LatencyEstimate(
                        low_ms=row.p50_ms, mid_ms=row.p50_ms, high_ms=row.p90_ms, measured=True, because=because
                    )
        return None

    def refit(self, measured: Sequence[Measured]) -> LatencyModel:
        """The model with what was measured on the board: exact for those networks, better for others.

        Raises:
            UsageError: a file of another board, or of a power mode that it does not have.
        """
        wrong = [file.board for file in measured if file.board != self.machine.board.name]
        if wrong:
            raise UsageError(f"this is the model of {self.machine.board.name}; got measurements of {', '.join(wrong)}")
        every = (*self.measured, *measured)
        for file in every:
            self.machine.board.power_mode(file.power_mode)
        logs = fit(self.machine, [*_rows(self.machine), *_measured_rows(self.machine, every)], start=self.logs)
        return LatencyModel(self.machine, logs, self.left_out, every)


def interval_factor(left_out: Sequence[LeftOut]) -> float:
    """The factor that holds :data:`COVERAGE` of left-out predictions, every network (and runtime) counting the same."""
    counts = Counter((row.timing.network, row.timing.runtime) for row in left_out)
    errors = np.array([abs(row.error) for row in left_out])
    weights = np.array([1 / counts[row.timing.network, row.timing.runtime] for row in left_out])
    order = np.argsort(errors)
    share = np.cumsum(weights[order]) / weights.sum()
    first = int(np.searchsorted(share, COVERAGE - 1e-9))
    return min(float(np.exp(errors[order][min(first, len(errors) - 1)])), WIDEST)


@functools.cache
def latency_model(board_name: str) -> LatencyModel:
    """The model of a board, fitted to the published timings.

    Raises:
        UsageError: the board is measured, not estimated, or unknown.
    """
    machines: dict[str, Machine] = {
        JETSON_XAVIER_NX.name: JetsonGpu(JETSON_XAVIER_NX),
        KNERON_KL720.name: Kl720Npu(KNERON_KL720),
    }
    if board_name not in machines:
        why = "is measured, not estimated" if board_name == CPU.name else "is not one of them"
        raise UsageError(f"latencies are estimated for {', '.join(machines)}; {board_name} {why}")
    machine = machines[board_name]
    return LatencyModel(machine, fit(machine, _rows(machine)), leave_one_out(machine))


def timings_of(board: Board) -> tuple[Timing, ...]:
    """Published timings that are evidence about a board."""
    return tuple(timing for timing in TIMINGS if timing.board == board.name)


def fit(machine: Machine, rows: Sequence[_Row], start: Sequence[float] | None = None) -> tuple[float, ...]:
    """Logarithms of the parameters that explain the rows best, under the machine's priors."""
    centre = np.log([p.value for p in machine.parameters])
    spread = np.array([p.spread for p in machine.parameters])
    counts = Counter(row.network for row in rows)
    truth = np.log([row.ms for row in rows])
    scale = np.array([row.spread * np.sqrt(max(counts[row.network] / ROWS_A_NETWORK, 1.0)) for row in rows])

    def residuals(logs: Numbers) -> Numbers:
        predicted = np.log([machine.milliseconds(logs, row.features) for row in rows])
        return np.concatenate([(predicted - truth) / scale, (logs - centre) / spread])

    # Imported here: it takes long, and few commands estimate.
    from scipy.optimize import least_squares as solve  # pyright: ignore[reportUnknownVariableType]

    least_squares = cast(Callable[..., Any], solve)
    found: Numbers = least_squares(residuals, centre if start is None else np.array(start)).x
    return tuple(float(value) for value in found)


def _row(machine: Machine, timing: Timing) -> _Row:
    costs = published_costs(timing.network, timing.side)
    features = machine.features(costs, timing.precision, machine.clocks(timing.hardware, None))
    return _Row(timing.network, features, timing.ms, PUBLISHED_SPREAD)


def _rows(machine: Machine) -> list[_Row]:
    return [_row(machine, timing) for timing in timings_of(machine.board) if timing.fitted]


def _measured_rows(machine: Machine, files: Sequence[Measured]) -> list[_Row]:
    found: list[_Row] = []
    for file in files:
        clocks = machine.clocks(file.board, file.power_mode)
        for row in file.measurements:
            if row.layers:
                features = machine.features(row.layers, row.precision, clocks)
                found.append(
                    _Row(f"measured {row.network}", features, row.p50_ms / machine.device_factor, MEASURED_SPREAD)
                )
    return found


def leave_one_out(machine: Machine) -> tuple[LeftOut, ...]:
    """Every published timing, predicted by a fit without any row of its network."""
    rows, timings = _rows(machine), timings_of(machine.board)
    fits = {
        network: np.array(fit(machine, [row for row in rows if row.network != network]))
        for network in {timing.network for timing in timings}
    }
    predicted = [machine.milliseconds(fits[timing.network], _row(machine, timing).features) for timing in timings]
    blind = [LeftOut(timing, ms, WIDEST) for timing, ms in zip(timings, predicted, strict=True)]
    factors = {network: interval_factor([row for row in blind if row.timing.network != network]) for network in fits}
    return tuple(LeftOut(row.timing, row.predicted_ms, factors[row.timing.network]) for row in blind)
