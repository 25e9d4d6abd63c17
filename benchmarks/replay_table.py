"""Tables of replays and what their acceptance says, from what is recorded.

Distances are from the best of the space, which many noiseless questions to the stand-in come upon: half invention, as
nobody has trained it. What the acceptance asks is held against that, and against the best of the recorded strategies,
each at its noiseless score.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from evidence import Row
from numpy.typing import ArrayLike, NDArray

WITHIN = 0.01
"""So near the best is found."""

ASKED = (("evolution", 1 / 5), ("informed, blind", 1 / 2))
"""Informed searches are to be there at such a share of the others' compute."""

DRAWS = 4000


def packed(distances: ArrayLike) -> str:
    """Distances in ten-thousandths of AP, in one line."""
    return " ".join(str(round(1e4 * float(each))) for each in np.asarray(distances))


def distances(row: Row) -> NDArray[np.float64]:
    """Of each replay."""
    return np.array([int(each) for each in row["distances_e4"].split()]) / 1e4


def by_cost(studies: Mapping[str, Row]) -> list[Row]:
    """The studies of a searcher, the cheapest first."""
    return sorted(studies.values(), key=lambda row: row["cost"])


def replay_table(content: Row) -> list[str]:
    """A row for each searcher, a column for each study: median distance with quartiles, in AP points."""
    studies = sorted({study for rows in content["rows"].values() for study in rows}, key=lambda s: int(s.split(",")[0]))
    ends = references(content)
    near = " | ".join(f"within 1 point of {name} at, full trainings" for name in ends)
    lines = [f"| {content['data']} | " + " | ".join(studies) + f" | {near} |"]
    lines.append("|---" * (len(studies) + 1 + len(ends)) + "|")
    usual = usual_replays(content)
    for searcher, rows in content["rows"].items():
        cells = [cell(rows.get(study), usual) for study in studies]
        cells += [reached_text(rows, lower) for lower in ends.values()]
        lines.append(f"| {searcher} | " + " | ".join(cells) + " |")
    return lines


def usual_replays(content: Row) -> int:
    """Of a study, where its cell says no other number."""
    return max(row["replays"] for rows in content["rows"].values() for row in rows.values())


def cell(row: Row | None, usual: int) -> str:
    """Median and quartiles of a study, and its replays where they are not as many as usual."""
    if row is None:
        return "not replayed"
    low, middle, high = (100 * float(end) for end in np.quantile(distances(row), [0.25, 0.5, 0.75]))
    few = f" ({row['replays']} replays)" if row["replays"] != usual else ""
    return f"{middle:.1f} [{low:.1f}, {high:.1f}]{few}"


def reached(costs: Sequence[float], medians: Sequence[float]) -> float:
    """Where medians fall within :data:`WITHIN`, between two studies along the logarithm of the cost; else infinity."""
    before: tuple[float, float] | None = None
    for cost, median in zip(costs, medians, strict=True):
        if median <= WITHIN:
            if before is None or before[1] <= median:
                return cost
            way = (before[1] - WITHIN) / (before[1] - median)
            return math.exp(math.log(before[0]) + way * (math.log(cost) - math.log(before[0])))
        before = cost, median
    return math.inf


def references(content: Row) -> dict[str, float]:
    """What is to be come near, and how far it is below the best of the space, in AP."""
    return {"the best recorded": content["best"] - content["best_recorded"], "the best of the space": 0.0}


def reached_by(studies: Mapping[str, Row], lower: float) -> float:
    """Cost at which the median of a searcher is near what lies so far below the best of the space."""
    rows = by_cost(studies)
    return reached([row["cost"] for row in rows], [float(np.median(distances(row))) - lower for row in rows])


def reached_text(studies: Mapping[str, Row], lower: float) -> str:
    """The same in words."""
    found = reached_by(studies, lower)
    return f"{found:.1f}" if math.isfinite(found) else f"not within {max(row['cost'] for row in studies.values()):.0f}"


def savings(content: Row) -> Iterator[str]:
    """What the acceptance asks: compute of informed searches against others', and what wrong rules cost."""
    rows, name = content["rows"], content["data"]
    if "informed" not in rows:
        return
    for (end, lower), (other, asked) in itertools.product(references(content).items(), ASKED):
        if other not in rows:
            yield f"- {name}: informed against {other}: not replayed"
            continue
        mine, theirs = (reached_by(rows[searcher], lower) for searcher in ("informed", other))
        found = share_text(mine, theirs, rows[other], other, asked)
        low, high = share_ends(rows["informed"], rows[other], lower)
        end_text = f"{high:.2f}" if math.isfinite(high) else "not within what was replayed"
        drawn = f" (95 % over replays: {low:.2f} to {end_text})" if math.isfinite(mine) else ""
        yield f"- {name}: informed is within 1 point of {end} at {found}{drawn}"
    yield from equal_ends(content)
    yield from wrong_rules(content)


def share_text(mine: float, theirs: float, rows: Mapping[str, Row], other: str, asked: float) -> str:
    """The share of another searcher's compute, or what is known of it."""
    longest = max(row["cost"] for row in rows.values())
    if not math.isfinite(mine):
        return f"no cost that was replayed, so that its share of that of {other} is unknown: not reached"
    known = theirs if math.isfinite(theirs) else longest
    sign = "" if math.isfinite(theirs) else "at most "
    verdict = "reached" if mine / known <= asked else "not reached" if math.isfinite(theirs) else "not shown"
    return f"{mine:.1f} full trainings, {sign}{mine / known:.2f} of {other} (asked for: {asked:.2f}): {verdict}"


def share_ends(mine: Mapping[str, Row], theirs: Mapping[str, Row], lower: float) -> tuple[float, float]:
    """95 % interval of the share of another searcher's compute, each study over draws of its replays.

    Who is nowhere near counts with its longest study, so that the share is at most that.
    """
    rng = np.random.default_rng(0)
    longest = max(row["cost"] for row in theirs.values())
    shares = np.array(drawn_costs(mine, lower, rng)) / np.minimum(drawn_costs(theirs, lower, rng), longest)
    low, high = np.quantile(shares, [0.025, 0.975], method="nearest")
    return float(low), float(high)


def drawn_costs(studies: Mapping[str, Row], lower: float, rng: np.random.Generator) -> list[float]:
    """What :func:`reached_by` finds in each of many draws."""
    rows = by_cost(studies)
    sides = [distances(row) for row in rows]
    medians = np.stack([np.median(rng.choice(side, (DRAWS // 4, len(side))), axis=1) for side in sides], axis=1)
    return [reached([row["cost"] for row in rows], (each - lower).tolist()) for each in medians]


def equal_ends(content: Row) -> Iterator[str]:
    """Where nobody comes near the best: what it costs informed searches to be where another's longest ends."""
    rows = content["rows"]
    for other, _ in ASKED:
        if other in rows:
            longest = by_cost(rows[other])[-1]
            end = float(np.median(distances(longest)))
            enough = [row["cost"] for row in by_cost(rows["informed"]) if float(np.median(distances(row))) <= end]
            text = f"{min(enough) / longest['cost']:.2f} of it" if enough else "more than was replayed"
            yield f"- {content['data']}: to be where {other} is after {longest['cost']:.0f}, informed takes {text}"


def wrong_rules(content: Row) -> Iterator[str]:
    """Wrong rules against none, at each study: difference of the medians, bootstrap over replays."""
    rows = content["rows"]
    wrong, blind = rows.get("informed, wrong rules", {}), rows.get("informed, blind", {})
    shared = [study for study in blind if study in wrong]
    found: list[str] = []
    worse = 0
    for study in sorted(shared, key=lambda each: blind[each]["cost"]):
        sides = distances(wrong[study]), distances(blind[study])
        low, high = interval_of_medians(*sides)
        worse += low > 0
        middle = float(np.median(sides[0]) - np.median(sides[1]))
        found.append(f"{100 * middle:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] at {blind[study]['cost']:.0f}")
    if found:
        verdict = "not worse beyond noise: reached" if not worse else f"worse at {worse} of {len(found)}: not reached"
        lost = "; ".join(found)
        yield f"- {content['data']}: wrong rules lose to blind, in points at so many full trainings: {lost}; {verdict}"


def interval_of_medians(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the difference of two medians, each over draws of its replays."""
    rng = np.random.default_rng(0)
    drawn = [np.median(rng.choice(side, (DRAWS, len(side))), axis=1) for side in (first, second)]
    low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
    return float(low), float(high)
