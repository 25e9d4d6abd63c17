"""Which of several results are better, when "better" has more than one side. Larger is better on every side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Values = Sequence[Sequence[float]]


def best_first(values: Values) -> list[int]:
    """Indices, best first: by Pareto front, within a front by crowding; of equals the earlier one.

    With one objective this is its order. With several it is the order of NSGA-II (Deb et al., 2002): the ends of a
    front and the members of its empty stretches come first.
    """
    if not values:
        return []
    table = np.array(values, float)
    if table.shape[1] == 1:
        return np.argsort(-table[:, 0], kind="stable").tolist()
    ranks = front_ranks(values)
    distances = np.zeros(len(table))
    for rank in np.unique(ranks):
        members = np.flatnonzero(ranks == rank)
        distances[members] = crowding(table[members])
    return np.lexsort((np.arange(len(table)), -distances, ranks)).tolist()


def front(values: Values) -> list[int]:
    """Indices of the results that no other one dominates, in the given order."""
    return [index for index, rank in enumerate(front_ranks(values)) if rank == 0] if values else []


def front_ranks(values: Values) -> NDArray[np.int64]:
    """``[n]`` number of the front of each result: 0 is dominated by none, 1 by members of front 0 only, and so on.

    One result dominates another if it is nowhere worse and somewhere better.
    """
    rows = [tuple(float(value) for value in row) for row in values]
    ranks = np.zeros(len(rows), np.int64)
    fronts: list[list[tuple[float, ...]]] = []
    # In this order nothing is dominated by what comes after it.
    for index in sorted(range(len(rows)), key=lambda k: rows[k], reverse=True):
        low, high = 0, len(fronts)
        while low < high:  # what a front dominates every earlier front dominates, so the place is found by halving
            middle = (low + high) // 2
            if _dominated(rows[index], fronts[middle]):
                low = middle + 1
            else:
                high = middle
        if low == len(fronts):
            fronts.append([])
        fronts[low].append(rows[index])
        ranks[index] = low
    return ranks


def _dominated(one: tuple[float, ...], members: list[tuple[float, ...]]) -> bool:
    """Whether a member, all of which come first in falling order, dominates one: it is no worse, and not the same."""
    if len(one) == 2:  # of two objectives, the last member of a front has the best second value
        return members[-1][1] >= one[1] and members[-1] != one
    return any(other != one and all(a >= b for a, b in zip(other, one, strict=True)) for other in members)


def crowding(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[n]`` room around each member of a front, infinite at its ends.

    It is the sum over objectives of the gap between a member's two neighbours, as a share of the front's extent.
    """
    count, objectives = table.shape
    room = np.zeros(count)
    for k in range(objectives):
        order = np.argsort(table[:, k], kind="stable")
        column = table[order, k]
        extent = column[-1] - column[0]
        room[order[[0, -1]]] = np.inf
        if extent > 0 and count > 2:
            room[order[1:-1]] += (column[2:] - column[:-2]) / extent
    return room


def hypervolume(values: Values, reference: Sequence[float]) -> float:
    """Volume between a front and a reference point that is worse on every side; what does not beat it counts nothing.

    Exact, by slices along the last objective (Zitzler's measure, by the simplest algorithm): meant for fronts of tens.
    """
    table = np.array([row for row in values if all(v > r for v, r in zip(row, reference, strict=True))], float)
    if not len(table):
        return 0.0
    if table.shape[1] == 1:
        return float(table.max() - reference[0])
    volume, upper = 0.0, np.unique(table[:, -1])[::-1]
    for level, below in zip(upper, [*upper[1:], reference[-1]], strict=True):
        slice_values = table[table[:, -1] >= level, :-1].tolist()
        volume += float(level - below) * hypervolume(slice_values, reference[:-1])
    return volume
