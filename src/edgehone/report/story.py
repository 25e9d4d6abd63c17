"""Everything that happened in a run, as the page tells it; and how its numbers are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgehone.analysis import Profile
from edgehone.data import Dataset
from edgehone.results import Results
from edgehone.search.ladder import Ladder
from edgehone.search.plan import Plan
from edgehone.search.proof import PresetRuns
from edgehone.search.verdict import Tested
from edgehone.space import Prior, Settings


@dataclass(frozen=True)
class Story:
    """A finished run.

    Attributes:
        request: what the user asked for; it is only printed.
        dataset: the data.
        profile: what was measured.
        plan: how the budget was spent.
        priors: what the rules said.
        ladder: the search.
        presets: trainings of the proof.
        tested: what was fully trained, on the test split: ``found``, the presets' names, ``evolution``.
        results: the outcome.
    """

    request: Settings
    dataset: Dataset
    profile: Profile
    plan: Plan
    priors: tuple[Prior, ...]
    ladder: Ladder
    presets: PresetRuns
    tested: dict[str, Tested]
    results: Results

    @property
    def input_px(self) -> int:
        """Side of the found strategy's input."""
        return self.results.found.strategy.input.size

    def label(self, name: str) -> str:
        """A tested strategy's name for people."""
        if name == self.results.default_preset:
            return f"preset {name} (default)"
        return f"preset {name}" if name in self.results.presets else name


def number(value: float | None, digits: int = 3) -> str:
    """``0.423``; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """``0.423 [0.391, 0.455]``."""
    return number(value) if interval is None else f"{number(value)} [{interval[0]:.3f}, {interval[1]:.3f}]"


def percent(share: float) -> str:
    """``12.3 %``."""
    return f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """``42 s``, ``12 min 05 s`` or ``1 h 02 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def plain(value: Any) -> str:
    """A setting or a piece of evidence as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {plain(item)}" for key, item in value.items())  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)  # pyright: ignore[reportUnknownVariableType]
    return str(value)
