"""How long each input size takes on each board: measured here, or an interval from the board's model."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgehone.boards import BOARDS, LatencyEstimate, board, latency_model
from edgehone.deploy.bundle import latency_by_size
from edgehone.errors import UsageError
from edgehone.models import Graph
from edgehone.space import Settings


class LatencyLimit(Settings):
    """``cpu<=8ms``: the upper end of the latency on a board must not exceed this."""

    board: str
    milliseconds: float

    @staticmethod
    def parse(text: str) -> LatencyLimit:
        """From its text.

        Raises:
            UsageError: not of the form ``BOARD<=NUMBERms``, or no such board.
        """
        found = re.fullmatch(r"([\w-]+)\s*<=\s*([0-9.]+)\s*ms", text.strip())
        if found is None:
            raise UsageError(f"a latency limit is given like cpu<=8ms, got {text!r}")
        return LatencyLimit(board=board(found[1]).name, milliseconds=float(found[2]))


class Latencies(Settings):
    """By board, then by input size."""

    boards: dict[str, dict[int, LatencyEstimate]]

    def upper(self, name: str) -> dict[int, float]:
        """The upper end of the interval: of a measurement the 90th percentile."""
        return {size: found.high_ms for size, found in self.boards[name].items()}

    def middle(self) -> dict[str, dict[int, float]]:
        """The middle, for ranking: of a measurement the median."""
        return {name: {size: found.mid_ms for size, found in sizes.items()} for name, sizes in self.boards.items()}


def latencies(graph: Graph, boards: Sequence[str], sizes: Sequence[int]) -> Latencies:
    """Of an untrained graph: training does not change it, so once for each input size is enough."""
    return Latencies(boards={name: _on_board(graph, name, sizes) for name in dict.fromkeys(boards)})


def _on_board(graph: Graph, name: str, sizes: Sequence[int]) -> dict[int, LatencyEstimate]:
    if BOARDS[name].measured_here:
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
    model = latency_model(name)
    return {size: model.estimate(graph.layer_costs((size, size))) for size in sizes}
