"""What each input size costs on each board: latency measured here or an interval, memory counted, energy bounded."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgehone.analysis import Say, quiet
from edgehone.boards import (
    BOARDS,
    BoardMode,
    LatencyEstimate,
    Measured,
    board,
    bytes_needed,
    latency_model,
    size_limits,
)
from edgehone.deploy.bundle import latency_by_size
from edgehone.errors import UsageError
from edgehone.models import Graph
from edgehone.search.objective import Cost
from edgehone.space import Forbid, Settings


class LatencyLimit(Settings):
    """``cpu<=8ms``: the upper end of the latency on a board must not exceed this."""

    mode: BoardMode
    milliseconds: float

    @staticmethod
    def parse(text: str) -> LatencyLimit:
        """From its text.

        Raises:
            UsageError: not of the form ``BOARD<=NUMBERms``, or no such board, precision or power mode.
        """
        found = re.fullmatch(r"(.+?)\s*<=\s*(\d+(?:\.\d+)?)\s*ms", text.strip())
        if found is None:
            raise UsageError(f"a latency limit is given like cpu<=8ms, got {text!r}")
        return LatencyLimit(mode=BoardMode.parse(found[1]), milliseconds=float(found[2]))


def parse_limits(texts: Sequence[str]) -> tuple[LatencyLimit, ...]:
    """All limits of a search, which all hold.

    Raises:
        UsageError: see :meth:`LatencyLimit.parse`; or two for the same board in the same mode.
    """
    found = tuple(LatencyLimit.parse(text) for text in texts)
    names = [limit.mode.text for limit in found]
    if len(set(names)) < len(names):
        raise UsageError(f"each board in each mode has one latency limit, got {', '.join(texts)}")
    return found


class Latencies(Settings):
    """By the text of the board's mode, then by input size."""

    boards: dict[str, dict[int, LatencyEstimate]]

    def middle(self, mode: str) -> dict[int, float]:
        """The middle, for ranking: of a measurement the median."""
        return {size: found.mid_ms for size, found in self.boards[mode].items()}

    def too_slow(self, limit: LatencyLimit) -> Forbid | None:
        """The sizes whose interval ends above a limit; of a measurement the 90th percentile. None: all may do."""
        name = limit.mode.text
        slow = {s: found.high_ms for s, found in self.boards[name].items() if found.high_ms > limit.milliseconds}
        if not slow:
            return None
        return Forbid(
            path="input.size",
            values=tuple(slow),
            because=f"slower than {limit.milliseconds:g} ms on {name}, at the upper end of the interval",
            evidence={"upper_ms": {str(size): round(ms, 2) for size, ms in slow.items()}},
        )


def latencies(
    graph: Graph, modes: Sequence[BoardMode], sizes: Sequence[int], measured: Sequence[Measured] = ()
) -> Latencies:
    """Of an untrained graph: training does not change it, so once for each input size is enough.

    Args:
        graph: of the detector.
        modes: boards in a mode; each counts once.
        sizes: of square inputs, in pixels.
        measured: on boards; takes the place of estimates.
    """
    return Latencies(boards={mode.text: _in_mode(graph, mode, sizes, measured) for mode in dict.fromkeys(modes)})


def _in_mode(
    graph: Graph, mode: BoardMode, sizes: Sequence[int], measured: Sequence[Measured]
) -> dict[int, LatencyEstimate]:
    if BOARDS[mode.board].measured_here:
        return {
            size: LatencyEstimate(
                low_ms=found.p50_ms,
                mid_ms=found.p50_ms,
                high_ms=found.p90_ms,
                measured=True,
                because=f"measured with {found.runtime}, {found.threads} threads, over {found.runs} pictures",
            )
            for size, found in latency_by_size(graph, sizes).items()
        }
    model = latency_model(mode.board, measured)
    return {size: model.estimate(graph.layer_costs((size, size)), mode.precision, mode.power_mode) for size in sizes}


def cost_by_size(
    cost: Cost, graph: Graph, sizes: Sequence[int], found: Latencies, say: Say = quiet
) -> dict[int, float]:
    """An objective that depends on the input size alone, in its unit; of an interval the middle.

    Args:
        cost: the objective.
        graph: of the detector.
        sizes: of square inputs, in pixels.
        found: latencies of its board in its mode; memory needs none.
        say: told what it is at the smallest and the largest size, and where that comes from.
    """
    name = cost.mode.text
    if cost.kind == "memory":
        layers = {size: graph.layer_costs((size, size)) for size in sizes}
        values = {s: bytes_needed(layers[s], cost.mode.precision, maps=True) / 1e6 for s in sizes}
        ends = {size: f"{values[size]:.1f}" for size in (min(sizes), max(sizes))}
        why = f"weights and the largest map beside what it is made from, in {cost.mode.precision}; the runtime's not"
    else:
        factor = cost.mode.watts() if cost.kind == "energy" else 1.0
        rows = found.boards[name]
        values = {size: rows[size].mid_ms * factor for size in sizes}
        ends = {s: f"{rows[s].low_ms * factor:.3g} to {rows[s].high_ms * factor:.3g}" for s in (min(sizes), max(sizes))}
        why = f"at the {factor:g} W that the mode allows, so at most; " if cost.kind == "energy" else ""
        why += rows[max(sizes)].because
    say(f"{cost.text}: " + ", ".join(f"{text} {cost.unit} at {size} px" for size, text in ends.items()) + f"; {why}")
    return values


def board_limits(
    graph: Graph, boards: Sequence[str], sizes: Sequence[int], limits: Sequence[LatencyLimit], found: Latencies
) -> tuple[Forbid, ...]:
    """The sizes that boards rule out, or that limits find too slow, with the reasons.

    Raises:
        UsageError: no size is left.
    """
    slow = [found.too_slow(limit) for limit in limits]
    large = [
        forbid
        for name in dict.fromkeys([*boards, *(limit.mode.board for limit in limits)])
        for forbid in size_limits(board(name), sizes, lambda side: graph.layer_costs((side, side)))
    ]
    every = (*large, *(forbid for forbid in slow if forbid is not None))
    if not set(sizes) - {value for forbid in every for value in forbid.values}:
        reasons = "; ".join(f"not {', '.join(map(str, each.values))} px: {each.because}" for each in every)
        raise UsageError(
            f"an input size meets every limit, and here none does ({reasons}): allow more, or take another --model"
        )
    return every
