"""How large the input should be: limits of the board and of the request, then steps against the size of objects."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from edgehone.search.capacity_rules import cells_and_fields
from edgehone.search.facts import Facts
from edgehone.space import Forbid, Prefer
from edgehone.strategy import INPUT_SIZES

CLAIM_PX = 20
"""An object of this many pixels covers a cell of stride 16 with some margin."""


@dataclass(frozen=True)
class Patience:
    """A full training should show at least so many ``pictures``, and each picture so many ``times``."""

    pictures: int
    times: int
    learnt_on: tuple[str, ...] = ()


GUESSED = Patience(4000, 15)
LEARNT = Patience(2000, 5, ("bccd",))
"""Fewer pictures: small objects gained more from resolution than from steps."""


def limits(facts: Facts) -> Iterator[Forbid]:
    """Sizes that are larger than asked for, or that boards rule out; each for one reason."""
    large = tuple[float | int | bool | str, ...](size for size in INPUT_SIZES if size > facts.max_input)
    if large:
        yield Forbid(
            path="input.size",
            values=large,
            because=f"the largest input asked for is {facts.max_input} px",
            evidence={"max_input": facts.max_input},
        )
    told = set(large)
    for limit in facts.board_limits:
        left = tuple(size for size in limit.values if size not in told)
        if left:
            yield limit.model_copy(update={"values": left})
        told.update(left)


def input_sizes(facts: Facts, allowed: Sequence[int], leave_out: Collection[str]) -> list[Prefer]:
    """By the smallest class, then by the network's cells, if they know better; the last one counts.

    Args:
        facts: to reason from.
        allowed: sizes within the limits, ascending.
        leave_out: names of data sets; without what they taught, the first guess stands.
    """
    patience = GUESSED if set(LEARNT.learnt_on) & set(leave_out) else LEARNT
    affordable = _affordable(facts, allowed, patience)
    first = _input_size(facts, allowed, affordable).model_copy(update={"learnt_on": patience.learnt_on})
    better = [] if facts.capacity is None else cells_and_fields(facts.capacity, int(first.value), affordable)
    return [first, *better]


def _input_size(facts: Facts, sizes: Sequence[int], affordable: Sequence[int]) -> Prefer:
    smallest = min(facts.class_sides, default=0.1)
    name = facts.class_names[facts.class_sides.index(smallest)] if facts.class_sides else "object"
    claimed = next((size for size in sizes if smallest * size >= CLAIM_PX), sizes[-1])
    value = min(claimed, affordable[-1])
    because = f"the median {name}, the smallest class, is {smallest * value:.0f} px at {value}"
    if value < sizes[-1]:
        because += (
            f"; larger inputs cost steps: a full training shows {facts.full_images[value]} pictures at {value}, "
            f"{facts.full_images[sizes[-1]]} at {sizes[-1]}"
        )
    else:
        because += ", the largest input"
    return Prefer(
        path="input.size",
        value=value,
        confidence=0.75,
        because=because,
        evidence={
            "class": name,
            "median_px": round(smallest * value, 1),
            "wanted_px": CLAIM_PX,
            "images": {str(s): facts.full_images[s] for s in sizes},
        },
    )


def _affordable(facts: Facts, sizes: Sequence[int], patience: Patience) -> Sequence[int]:
    """The sizes at which a full training shows enough pictures; the smallest in any case."""
    wanted = max(patience.pictures, patience.times * facts.train_images)
    return [size for size in sizes if facts.full_images[size] >= wanted] or sizes[:1]
