"""What facts imply for people: choices that are theirs, not the search's."""

from __future__ import annotations

from collections.abc import Iterator

from edgehone.analysis import Profile
from edgehone.analysis.projection import ProjectionFacts

WORTH = 0.03
"""A finer head is spoken of where it frees at least this share of the objects from sharing a cell."""

RARE = 0.02
"""A class is spoken of where at least this share of its objects is lost in every projection."""

REASONS = {
    "collision": "taken slots",
    "no_anchor": "no anchor",
    "too_small": "cells too large",
    "out_of_reach": "coding's reach",
    "suppressed": "suppression",
    "over_limit": "detection limit",
}


def advice(profile: Profile) -> tuple[str, ...]:
    """Sentences, the most important first; none where nothing is wrong."""
    return (*_heads(profile), *_lost_classes(profile))


def main_loss(facts: ProjectionFacts) -> str:
    """The commonest reason why objects are lost; empty where none is."""
    reasons = facts.lost_by_reason
    return REASONS[max(reasons, key=lambda reason: reasons[reason])] if reasons else ""


def _heads(profile: Profile) -> Iterator[str]:
    """Whether one more head would give crowded objects cells of their own, at the largest input."""
    if not profile.projection:
        return
    facts = max(profile.projection, key=lambda candidate: candidate.input_size)
    finest = min(facts.strides)
    shared, left = (facts.occupied_by_stride.get(stride, 0.0) for stride in (finest, finest // 2))
    if finest > 8 and shared - left >= WORTH:
        yield (
            f"{100 * shared:.0f} % of the objects share a cell of {finest} px with another at {facts.input_size} px; "
            f"cells of {finest // 2} px leave {100 * left:.0f} %: try a third head (--model yolov4-tiny-3l)"
        )


def _lost_classes(profile: Profile) -> Iterator[str]:
    """Classes that no measured projection reaches in full, at any input."""
    if not profile.projection:
        return
    for name in profile.projection[0].unclaimed_by_class:
        least = min(profile.projection, key=lambda facts: facts.unclaimed_by_class[name])
        share = least.unclaimed_by_class[name]
        if share >= RARE:
            yield (
                f"{100 * share:.0f} % of the objects of class {name} are learned by no cell in any projection measured "
                f"({least.label} at {least.input_size} px loses the fewest): they are too small or too close for "
                "these heads"
            )
