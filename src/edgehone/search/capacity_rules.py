"""Rules of capacity: what a network can express, to priors. They read training and validation facts only.

The authors of YOLOv4-tiny keep milder recipes for small networks, in two generations of their code: PyTorch_YOLOv4's
and YOLOR's ``hyp.scratch.s`` against ``hyp.scratch.640``, YOLOv7's ``hyp.scratch.tiny`` against ``hyp.scratch.p5``.
Small networks get scale 0.5, translation 0 to 0.1, mixup 0 to 0.05, class gain 0.5 and objectness gain 1.0; large ones
scale 0.9, translation 0.1 to 0.2, mixup 0 to 0.15, class gain 0.3 and objectness gain 0.7. See docs/adr/0018.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from edgehone.analysis.capacity import CapacityProfile, Coverage
from edgehone.analysis.capacity_ladder import ladder_augmentation
from edgehone.analysis.capacity_probe import ProbeFacts
from edgehone.space import Prefer
from edgehone.types import Json

SMALL_PARAMETERS = 6.2e6
LARGE_PARAMETERS = 36.9e6
"""Of YOLOv7-tiny and YOLOv7 (Wang et al., 2022, Table 2), whose recipes are the ends of the scale."""

LEAST_CAPACITY = -0.5
"""Below the small end the line is drawn on, but not far: no recipe was published there."""

AUGMENTATION = {"affine.scale": (0.5, 0.9), "affine.translate": (0.1, 0.2), "mixup.probability": (0.05, 0.15)}
"""Values of the recipes for small and for large networks; likewise the two gains."""

OBJECTNESS, CLASSES = (1.0, 0.7), (0.5, 0.3)

PASSES_COMPARED = 2.0
"""A probe speaks of runs that show each picture at most this many times as often as it did."""

TOO_SMALL, TOO_LARGE = 0.1, 0.05
"""Shares of objects smaller than every cell, and larger than every receptive field, that an input size should allow."""

WORTH = 0.7
"""A larger input is worth its cost only if it leaves at most this part of the objects below a cell."""


def capacity_of(profile: CapacityProfile) -> float:
    """Where a network stands between the small (0) and the large (1) of the published recipes, by its parameters.

    On a logarithmic scale, no further than 1 and :data:`LEAST_CAPACITY`, to one decimal: two recipes tell no more.
    """
    along = math.log(max(profile.parameters, 1) / SMALL_PARAMETERS) / math.log(LARGE_PARAMETERS / SMALL_PARAMETERS)
    return round(min(1.0, max(LEAST_CAPACITY, along)), 1) + 0.0  # not -0.0


def strength_of_augmentation(profile: CapacityProfile, epochs: float, many_epochs: float) -> Iterator[Prefer]:
    """A large network fits stronger variation than a small one, where the run is long enough to learn it at all.

    Args:
        profile: of the network; with a probe of a comparable length, that decides how much is fitted.
        epochs: passes over the training pictures.
        many_epochs: from which on the published recipes apply.
    """
    probe, capacity = profile.probe, capacity_of(profile)
    if probe is not None and probe.fits_up_to is not None and epochs <= PASSES_COMPARED * probe.plan.passes:
        yield from _as_probed(profile, probe)
    elif epochs >= many_epochs:
        for path, ends in AUGMENTATION.items():
            yield Prefer(
                path=f"augmentation.{path}",
                value=round(_between(ends, capacity), 3),
                confidence=0.6,
                because=f"augmentation goes with capacity: {_standing(profile, capacity)}",
                evidence=_evidence(profile, capacity, ends),
            )


def _as_probed(profile: CapacityProfile, probe: ProbeFacts) -> Iterator[Prefer]:
    """What the probe still fitted, but no more than the published recipe for a network of this size."""
    fits, capacity = probe.fits_up_to, capacity_of(profile)
    if not fits:  # the values for short runs stand
        return
    fitted = ladder_augmentation(fits)
    f1 = {rung.strength: rung.f1 for rung in probe.rungs}
    because = (
        f"in {probe.plan.passes:.0f} passes over {probe.plan.pictures} pictures the probe fitted these with an F1 "
        f"of {f1[0]:.2f} without augmentation and still {f1[fits]:.2f} at a strength of {fits:.2f}"
    )
    values = {
        "affine.scale": fitted.affine.scale,
        "affine.translate": fitted.affine.translate,
        "mixup.probability": fitted.mixup.probability,
        "mosaic.probability": fitted.mosaic.probability,
    }
    for path, value in values.items():
        most = _between(AUGMENTATION[path], capacity) if path in AUGMENTATION else 1.0
        probed = Prefer(
            path=f"augmentation.{path}",
            value=round(min(value, most), 3),
            confidence=0.5,
            because=because,
            evidence={"f1": {f"{strength:.2f}": value for strength, value in f1.items()}, "published": round(most, 3)},
        )
        yield probed
        # Weak, as two sets taught: docs/measurements.md, "Does the capacity probe predict?"
        yield probed.model_copy(update={"confidence": 0.35, "learnt_on": ("bccd", "cards-640")})


def loss_balance(profile: CapacityProfile, class_weight: float) -> Iterator[Prefer]:
    """A small network gets larger gains for objectness and classes against the box term.

    Args:
        profile: of the network.
        class_weight: that suits the number of classes, for a small network.
    """
    capacity = capacity_of(profile)
    reason = f"the balance of the loss goes with capacity: {_standing(profile, capacity)}"
    yield Prefer(
        path="projection.objectness.weight",
        value=round(_between(OBJECTNESS, capacity), 3),
        confidence=0.55,
        because=reason,
        evidence=_evidence(profile, capacity, OBJECTNESS),
    )
    if capacity == 0:  # the weight for the number of classes is said already
        return
    yield Prefer(
        path="projection.classification.weight",
        value=round(class_weight * _between(CLASSES, capacity) / CLASSES[0], 2),
        confidence=0.7,
        because=f"{reason}; a small network's weight for this number of classes is {class_weight:.2f}",
        evidence=_evidence(profile, capacity, CLASSES),
    )


def cells_and_fields(profile: CapacityProfile, size: int, sizes: Sequence[int]) -> list[Prefer]:
    """Another input size, where at ``size`` too many objects are smaller than a cell or larger than what a cell sees.

    Args:
        profile: with its coverage of the data.
        size: that other rules prefer.
        sizes: that may be preferred instead, ascending.

    Returns:
        One preference or none; small objects come first.
    """
    small, large = _smaller_than_cells(profile), _larger_than_fields(profile)
    if size not in small:
        return []
    finest = min(head.stride for head in profile.heads)
    widest = max(head.receptive_field_px for head in profile.heads)
    if small[size] > TOO_SMALL:
        better = [s for s in sizes if s > size and small.get(s, 1.0) <= WORTH * small[size]]
        value = next((s for s in better if small[s] <= TOO_SMALL), better[-1] if better else size)
        reason = f"{{:.0f}} % of the objects are smaller than the finest cell ({finest} px) at {{}}"
        shares = small
    elif large[size] > TOO_LARGE:
        better = [s for s in sizes if s < size and large.get(s, 1.0) <= TOO_LARGE and small[s] <= TOO_SMALL]
        value = better[-1] if better else size
        reason = f"{{:.0f}} % of the objects are larger than what any cell sees ({widest} px) at {{}}"
        shares = large
    else:
        return []
    if value == size:
        return []
    because = ", ".join(reason.format(100 * shares[s], f"{s} px") for s in (size, value))
    evidence: dict[str, Json] = {"share": {str(s): shares[s] for s in (size, value)}, "finest_cell_px": finest}
    return [Prefer(path="input.size", value=value, confidence=0.7, because=because, evidence=evidence)]


def _smaller_than_cells(profile: CapacityProfile) -> dict[int, float]:
    """Input size to the share of objects that are smaller than a cell of every head."""
    return {size: min(row.smaller_than_cell for row in rows) for size, rows in _by_size(profile).items()}


def _larger_than_fields(profile: CapacityProfile) -> dict[int, float]:
    return {size: min(row.larger_than_field for row in rows) for size, rows in _by_size(profile).items()}


def _by_size(profile: CapacityProfile) -> dict[int, list[Coverage]]:
    found: dict[int, list[Coverage]] = {}
    for row in profile.coverage:
        found.setdefault(row.input_size, []).append(row)
    return found


def _between(ends: tuple[float, float], capacity: float) -> float:
    return ends[0] + capacity * (ends[1] - ends[0])


def _standing(profile: CapacityProfile, capacity: float) -> str:
    where = {0.0: "like the small network", 1.0: "like the large network"}.get(
        capacity, f"{100 * capacity:.0f} % of the way from the small to the large network"
    )
    return f"{profile.parameters / 1e6:.1f} million parameters are {where} of the published recipes (docs/adr/0018)"


def _evidence(profile: CapacityProfile, capacity: float, ends: tuple[float, float]) -> dict[str, Json]:
    return {
        "parameters": profile.parameters,
        "capacity": capacity,
        "published_small_large": list(ends),
    }
