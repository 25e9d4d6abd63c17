"""What was found out about a bundle's contents where it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from edgehone.boards import LatencyEstimate
from edgehone.deploy.latency import Latency
from edgehone.space import Settings
from edgehone.types import Json


class MeasuredVariant(Settings):
    """A variant on this machine.

    Attributes:
        variant: name.
        latencies: of the network alone, with one thread and with one for each core.
        max_abs_difference: by output, from the network whose weights the graph has; empty where the graph rounds.
        signal_to_noise_db: by output, of the trained network's answers over the differences from them.
        not_measured: why there is nothing of that; None where there is.
    """

    variant: str
    latencies: tuple[Latency, ...] = ()
    max_abs_difference: Mapping[str, float] = Field(default_factory=dict[str, float])
    signal_to_noise_db: Mapping[str, float] = Field(default_factory=dict[str, float])
    not_measured: str | None = None


@dataclass(frozen=True)
class Found:
    """What a bundle says about itself.

    Attributes:
        checked: what the proof of each graph found, by file name.
        latency: of the first variant: measured, or an interval.
        measured: every variant on this machine, where that is the board.
        notes: what the owner should know.
    """

    checked: Mapping[str, Mapping[str, Json]]
    latency: Latency | LatencyEstimate
    measured: tuple[MeasuredVariant, ...] = ()
    notes: tuple[str, ...] = ()

    def of_variant(self, name: str) -> dict[str, Json]:
        """What was measured of a variant, for its manifest; empty where nothing could be."""
        rows = [row.model_dump(mode="json") for row in self.measured if row.variant == name]
        return {"measured": rows[0]} if rows else {}
