"""How a machine is fitted to timings, and how far off it is about networks that it has not seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edgehone.boards.board import Board
from edgehone.boards.machines import Machine
from edgehone.boards.published import TIMINGS, Timing, published_costs
from edgehone.space import Settings

Numbers = NDArray[np.float64]

COVERAGE = 0.8
"""Share of left-out predictions that the interval is made to hold; every network counts the same."""

WIDEST = 1.5
"""The interval is never wider than this factor either way: beyond it an estimate would say nothing."""

ROWS_A_NETWORK = 4
"""All rows of one network weigh as much as so many: one network with many sizes must not decide alone."""

PUBLISHED_SPREAD, MEASURED_SPREAD = 0.15, 0.03
"""Standard deviation, of the logarithm, of what a row may say beside the truth."""


@dataclass(frozen=True)
class LeftOut:
    """A timing, predicted without any row of its network.

    Attributes:
        timing: as published, or measured on the board.
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
        """Whether the interval holds the time."""
        return abs(self.error) <= np.log(self.factor)


class ModelError(Settings):
    """What leaving each network out in turn says about a model.

    Attributes:
        rows: timings that were predicted, of ``networks`` networks.
        median_error: of predicted over true, 0.1 is 10 %.
        worst_factor: of the widest miss, either way.
        inside: rows whose interval holds the time.
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
            f"leaving each of {self.networks} networks out, the median error over {self.rows} timings was "
            f"{100 * self.median_error:.0f} %, {self.inside} lay within their interval of at most {self.factor:.2f} "
            f"times either way, and the widest miss was {self.worst_factor:.2f} times"
        )


@dataclass(frozen=True)
class Row:
    """A timing as the fit sees it.

    Attributes:
        timing: published, or measured on the board; milliseconds in the scale of the published ones.
        features: see :meth:`~edgehone.boards.machines.JetsonGpu.features`.
        spread: standard deviation, of the logarithm, of what it may say beside the truth.
    """

    timing: Timing
    features: Numbers
    spread: float = PUBLISHED_SPREAD


def interval_factor(left_out: Sequence[LeftOut]) -> float:
    """The factor that holds :data:`COVERAGE` of left-out predictions, every network (and runtime) counting the same."""
    counts = Counter((row.timing.network, row.timing.runtime) for row in left_out)
    errors = np.array([abs(row.error) for row in left_out])
    weights = np.array([1 / counts[row.timing.network, row.timing.runtime] for row in left_out])
    order = np.argsort(errors)
    share = np.cumsum(weights[order]) / weights.sum()
    first = int(np.searchsorted(share, COVERAGE - 1e-9))
    return min(float(np.exp(errors[order][min(first, len(errors) - 1)])), WIDEST)


def timings_of(board: Board) -> tuple[Timing, ...]:
    """Published timings that are evidence about a board."""
    return tuple(timing for timing in TIMINGS if timing.board == board.name)


def published_rows(machine: Machine) -> list[Row]:
    """All of them, also those that the model is not fitted to."""
    return [_row(machine, timing) for timing in timings_of(machine.board)]


def _row(machine: Machine, timing: Timing) -> Row:
    costs = published_costs(timing.network, timing.side)
    return Row(timing, machine.features(costs, timing.precision, machine.clocks(timing.hardware, None)))


def fit(machine: Machine, rows: Sequence[Row], start: Sequence[float] | None = None) -> tuple[float, ...]:
    """Logarithms of the parameters that explain the rows best, under the machine's priors and within its bounds."""
    centre = np.log([p.value for p in machine.parameters])
    spread = np.array([p.spread for p in machine.parameters])
    most = np.log([p.most for p in machine.parameters])
    groups = [(row.timing.network, row.spread) for row in rows]  # what was measured weighs by itself
    counts = Counter(groups)
    truth = np.log([row.timing.ms for row in rows])
    crowd = [np.sqrt(max(counts[group] / ROWS_A_NETWORK, 1.0)) for group in groups]
    scale = np.array([row.spread for row in rows]) * crowd

    def residuals(logs: Numbers) -> Numbers:
        predicted = np.log([machine.milliseconds(logs, row.features) for row in rows])
        return np.concatenate([(predicted - truth) / scale, (logs - centre) / spread])

    # Imported here: it takes long, and few commands estimate.
    from scipy.optimize import least_squares as solve  # pyright: ignore[reportUnknownVariableType]

    least_squares = cast(Callable[..., Any], solve)
    begin = np.minimum(centre if start is None else np.array(start), most - 1e-6)
    found: Numbers = least_squares(residuals, begin, bounds=(-np.inf, most)).x
    return tuple(float(value) for value in found)


def leave_one_out(machine: Machine, measured: Sequence[Row] = ()) -> tuple[LeftOut, ...]:
    """Every timing, published or measured, predicted by a fit without any row of its network."""
    rows = [*published_rows(machine), *measured]
    fits = {
        network: np.array(fit(machine, [r for r in rows if r.timing.fitted and r.timing.network != network]))
        for network in {row.timing.network for row in rows}
    }
    blind = [LeftOut(row.timing, machine.milliseconds(fits[row.timing.network], row.features), WIDEST) for row in rows]
    factors = {network: interval_factor([row for row in blind if row.timing.network != network]) for network in fits}
    return tuple(LeftOut(row.timing, row.predicted_ms, factors[row.timing.network]) for row in blind)
