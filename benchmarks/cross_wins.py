"""The table of strategies in each other's places, and how often the native one wins, from what is recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from evidence import Row, level, over, points
from numpy.typing import NDArray

from edgehone.search.finalists import SEED_NOISE

DRAWS = 4000
MARGIN = 1.96 * math.sqrt(2) * SEED_NOISE
"""Two trainings of one strategy differ by less than this in 95 of 100 cases."""


def cross_table(content: Row) -> list[str]:
    """A row for each place and a column for each strategy; then the wins of the natives."""
    places = list(content["found"])
    seeds = complete_seeds(content, places)
    if not seeds or len(places) < 2:
        return [
            f"{len(content['found'])} strategies found, {len(content['scores'])} trainings; no seed is complete yet."
        ]
    scores = content["scores"]
    table = np.array([[[scores[f"{f} in {p}, {s}"]["ap"] for s in seeds] for f in places] for p in places])
    lines = ["| trained in / found for | " + " | ".join(places) + " | native over the others, points |"]
    lines += ["|---" * (len(places) + 2) + "|"]
    for row, place in enumerate(places):
        cells = [level(*over(list(each))) for each in table[row]]
        lines.append(
            f"| {place} | " + " | ".join(cells) + f" | {points(*over(margins(table, row).mean(0).tolist()))} |"
        )
    return [*lines, "", *wins(table, places)]


def complete_seeds(content: Row, places: Sequence[str]) -> list[int]:
    """Seeds with which every strategy was trained in every place."""
    seeds = {int(name.rpartition(", ")[2]) for name in content["scores"]}
    wanted = [(f, p) for f in places for p in places]
    return sorted(s for s in seeds if all(f"{f} in {p}, {s}" in content["scores"] for f, p in wanted))


def margins(table: NDArray[np.float64], row: int) -> NDArray[np.float64]:
    """``[others, seeds]``: how far the native strategy of a place is ahead of each other one."""
    others = [column for column in range(len(table)) if column != row]
    return table[row, row] - table[row, others]


def wins(table: NDArray[np.float64], places: Sequence[str]) -> list[str]:
    """How often natives win: in each place, over all, and beyond noise; bootstrap over seeds, and over places for all.

    The others of a place are compared with one native: they are drawn with it, never one by one.
    """
    ahead = np.stack([margins(table, row) for row in range(len(table))])  # [places, others, seeds]
    rng = np.random.default_rng(0)
    seeds = rng.integers(ahead.shape[2], size=(DRAWS, ahead.shape[2]))
    lines: list[str] = []
    for row, place in enumerate(places):
        drawn = [(ahead[row][:, each] > 0).mean() for each in seeds]
        lines.append(f"- {place}: " + share(float((ahead[row] > 0).mean()), drawn) + " of its comparisons")
    rows = rng.integers(len(ahead), size=(DRAWS, len(ahead)))
    for title, limit in (
        ("over all", 0.0),
        (f"by more than {100 * MARGIN:.1f} points (noise of two trainings)", MARGIN),
    ):
        won = ahead > limit
        drawn = [won[r][:, :, s].mean() for r, s in zip(rows, seeds, strict=True)]
        lines.append(f"- {title}: " + share(float(won.mean()), drawn))
    lost = float((ahead < -MARGIN).mean())
    lines.append(f"- loses by more than that: {100 * lost:.0f} %; the rest cannot be told apart")
    return lines


def share(value: float, drawn: Sequence[float]) -> str:
    """A share of wins with its interval."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"the native strategy wins {100 * value:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
