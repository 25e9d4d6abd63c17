"""Rules: measured facts to priors on the search space, each with its reason and its evidence.

A rule prefers, with a confidence; only limits of the board or of the request forbid. Rules see training and
validation labels, never the test split. Where a rule leans on an earlier measurement it says which:
"study" is the feasibility study on BCCD (two seeds a strategy), summarised in docs/adr/0009.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from edgehone.analysis.capacity import CapacityProfile
from edgehone.analysis.projection import ProjectionFacts
from edgehone.search.capacity_rules import cells_and_fields, loss_balance, strength_of_augmentation
from edgehone.space import Forbid, Prefer, Prior
from edgehone.strategy import INPUT_SIZES

SHORT_RUN_STEPS = 5000
"""Below this many steps a from-scratch run is short: Darknet itself asks for 2,000 per class, at least 6,000."""

MANY_EPOCHS = 100
"""From here on a small network has seen every picture often enough to want strong augmentation."""

CLAIM_PX = 20
"""An object of this many pixels covers a cell of stride 16 with some margin."""

CLUSTERED = ("kmeans", "by_level")
FIT_GAIN, LOST_MORE = 0.05, 0.01
"""Clustered anchors must fit so much better, and may lose so many objects more, to be preferred to the official."""

SIZES_DIFFER = 2.0
"""From this ratio of median areas on, large classes have several times the positives of small ones."""

LEARNING_PICTURES = 2000
LEARNING_EPOCHS = 5
"""A full training should show at least this many pictures, and each picture this many times.

Few, since small objects gain more from resolution than from steps."""


@dataclass(frozen=True)
class Facts:
    """What the rules reason from.

    Attributes:
        train_images: pictures in the training split.
        class_names: of the data.
        class_sides: per class, the median of sqrt(area) as a share of the input's side.
        full_images: pictures that a full training shows, by input size.
        candidates: measured projections.
        max_input: the largest input size that may be searched.
        latency_ms: upper end of the graph's latency by input size, where a limit was asked for.
        latency_limit_ms: that limit.
        capacity: of the network, where it was measured.
    """

    train_images: int
    class_names: tuple[str, ...]
    class_sides: tuple[float, ...]
    full_images: dict[int, int]
    candidates: tuple[ProjectionFacts, ...]
    max_input: int
    latency_ms: dict[int, float]
    latency_limit_ms: float | None
    capacity: CapacityProfile | None = None


Rule = Callable[[Facts, int], Iterator[Prior]]
"""From the facts and the preferred input size."""


STUDY = ("bccd",)
"""What the studies of docs/adr/0009 and 0010 were made on."""


def apply_rules(facts: Facts, leave_out: Collection[str] = ()) -> list[Prior]:
    """Every prior that the facts imply, limits first.

    Args:
        facts: to reason from.
        leave_out: names of data sets; what was learnt on them does not count.
    """
    known = (prior if isinstance(prior, Forbid) else prior.leave_out(leave_out) for prior in _every_prior(facts))
    return [prior for prior in known if prior is not None]


def _every_prior(facts: Facts) -> list[Prior]:
    limits = list(_limits(facts))
    forbidden: set[object] = {v for limit in limits for v in limit.values}
    sizes = [_input_size(facts, forbidden)]
    if facts.capacity is not None:
        affordable = _affordable(facts, [size for size in INPUT_SIZES if size not in forbidden])
        sizes += cells_and_fields(facts.capacity, int(sizes[0].value), affordable)
    found: list[Prior] = [*limits, *sizes]
    for rule in RULES:
        found.extend(rule(facts, int(sizes[-1].value)))
    return found


def _limits(facts: Facts) -> Iterator[Forbid]:
    large = tuple(size for size in INPUT_SIZES if size > facts.max_input)
    if large:
        yield Forbid(
            path="input.size",
            values=large,
            because=f"the largest input asked for is {facts.max_input} px",
            evidence={"max_input": facts.max_input},
        )
    if facts.latency_limit_ms is not None:
        slow = tuple(s for s, ms in facts.latency_ms.items() if ms > facts.latency_limit_ms and s not in large)
        if slow:
            yield Forbid(
                path="input.size",
                values=slow,
                because=f"slower than {facts.latency_limit_ms:g} ms on this board",
                evidence={"upper_ms": {str(s): round(facts.latency_ms[s], 2) for s in slow}},
            )


def _input_size(facts: Facts, forbidden: set[object]) -> Prefer:
    sizes = [size for size in INPUT_SIZES if size not in forbidden] or [min(INPUT_SIZES)]
    smallest = min(facts.class_sides, default=0.1)
    name = facts.class_names[facts.class_sides.index(smallest)] if facts.class_sides else "object"
    claimed = next((size for size in sizes if smallest * size >= CLAIM_PX), sizes[-1])
    value = min(claimed, _affordable(facts, sizes)[-1])
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
        learnt_on=("aquarium-640",),
        because=because,
        evidence={
            "class": name,
            "median_px": round(smallest * value, 1),
            "wanted_px": CLAIM_PX,
            "images": {str(s): facts.full_images[s] for s in sizes},
        },
    )


def _affordable(facts: Facts, sizes: Sequence[int]) -> Sequence[int]:
    """The sizes at which a full training shows enough pictures; the smallest in any case."""
    wanted = max(LEARNING_PICTURES, LEARNING_EPOCHS * facts.train_images)
    return [size for size in sizes if facts.full_images[size] >= wanted] or sizes[:1]


def _steps(facts: Facts, size: int) -> int:
    return facts.full_images[size] // 16


def _epochs(facts: Facts, size: int) -> float:
    return facts.full_images[size] / max(facts.train_images, 1)


def _candidate(facts: Facts, size: int, label: str) -> ProjectionFacts | None:
    found = [c for c in facts.candidates if c.label == label]
    return min(found, key=lambda c: abs(c.input_size - size)) if found else None


def _anchors(facts: Facts, size: int) -> Iterator[Prior]:
    official = _candidate(facts, size, "darknet")
    clustered = [c for c in (_candidate(facts, size, label) for label in CLUSTERED) if c is not None]
    if official is None or not clustered:
        return
    # Shapes that fit better can still crowd objects of one size into the cells of one head.
    best = min(clustered, key=lambda c: (round(c.lost_fraction, 2), -c.anchor_fit))
    fits, loses = best.anchor_fit - official.anchor_fit, best.lost_fraction - official.lost_fraction
    better = fits > FIT_GAIN and loses <= LOST_MORE
    yield Prefer(
        path="projection.anchors.kind",
        value=best.label if better else "official",
        confidence=0.65,
        evidence={c.label: {"anchor_fit": c.anchor_fit, "lost": c.lost_fraction} for c in (official, *clustered)},
        because=f"the official anchors cover an object with shape IoU {official.anchor_fit:.2f} and lose "
        f"{100 * official.lost_fraction:.1f} % of the objects to cells that are taken, clustered ones ({best.label}) "
        f"{best.anchor_fit:.2f} and {100 * best.lost_fraction:.1f} %"
        + ("" if better else ": not enough to give up shapes that proved themselves"),
    )
    yield Prefer(
        path="projection.second_head_mask",
        value="0,1,2",
        confidence=0.9,
        because=f"with the official mask 1,2,3 {100 * official.unowned_fraction:.1f} % of the objects fit best "
        "an anchor that no head owns, and one anchor is owned twice",
        evidence={"unowned_fraction": official.unowned_fraction},
    )


def _short_run(facts: Facts, size: int) -> Iterator[Prior]:
    steps = _steps(facts, size)
    if steps >= SHORT_RUN_STEPS:
        return
    evidence = {"steps": steps, "batch": 16, "short_below": SHORT_RUN_STEPS}
    short = f"a full training has about {steps} steps of 16 pictures, which is short"
    yield Prefer(
        path="optimisation.optimizer.kind",
        value="adamw",
        confidence=0.85,
        learnt_on=(*STUDY, "cards-640"),
        evidence=evidence,
        because=f"{short}; AdamW starts faster than SGD (study: +0.03 to +0.07 AP)",
    )
    yield Prefer(
        path="projection.normalisation",
        value="mean",
        confidence=0.95,
        learnt_on=STUDY,
        evidence=evidence,
        because=f"{short}; Darknet's sum over all cells is spent on silencing the background first "
        "(study: 0.10 AP against 0.29 or more)",
    )
    yield Prefer(
        path="projection.objectness.prior",
        value=0.01,
        confidence=0.9,
        evidence=evidence,
        because=f"{short}; starting at the share of cells that hold objects saves the first of them",
    )
    yield Prefer(
        path="optimisation.schedule.kind",
        value="cosine",
        confidence=0.85,
        evidence=evidence,
        because=f"{short}; a cosine settles the weights over the whole run",
    )
    yield Prefer(
        path="optimisation.batch_size",
        value=16,
        confidence=0.6,
        evidence=evidence,
        because=f"{short}; smaller batches would make more steps but noisier statistics",
    )


def _assigner(facts: Facts, size: int) -> Iterator[Prior]:
    ratio, aligned = _candidate(facts, size, "authors"), _candidate(facts, size, "task_aligned")
    evidence = {
        "positives_per_object": {c.label: c.positives_per_object for c in (ratio, aligned) if c is not None},
        "unclaimed_fraction": {c.label: c.unclaimed_fraction for c in (ratio, aligned) if c is not None},
    }
    lost = aligned.unclaimed_fraction if aligned is not None else 0.0
    if lost > 0.02:
        return
    yield Prefer(
        path="projection.assigner.kind",
        value="task_aligned",
        confidence=0.7,
        learnt_on=STUDY,
        evidence=evidence,
        because="it teaches the cells that already answer best instead of a fixed pattern, and leaves "
        f"{100 * lost:.1f} % of the objects without a cell (study: 0.38 AP against 0.29 for ratio match)",
    )
    yield Prefer(
        path="projection.objectness.target",
        value="quality",
        confidence=0.7,
        learnt_on=STUDY,
        evidence=evidence,
        because="with a quality from the assigner, the score of a cell says how well it locates its object",
    )
    yield Prefer(
        path="projection.coding.kind",
        value="squared_sigmoid",
        confidence=0.7,
        evidence=evidence,
        because="cells beside the centre's own can reach the object only if offsets may leave the cell",
    )


def _vote(facts: Facts, size: int) -> Iterator[Prior]:
    if not facts.class_sides:
        return
    small, large = min(facts.class_sides), max(facts.class_sides)
    ratio = (large / max(small, 1e-6)) ** 2
    if ratio < SIZES_DIFFER:
        return
    names = [facts.class_names[facts.class_sides.index(side)] for side in (small, large)]
    yield Prefer(
        path="projection.vote",
        value="object",
        confidence=0.8,
        learnt_on=STUDY,
        because=f"the median {names[1]} covers {ratio:.0f} times as many cells as the median {names[0]}; with one "
        f"vote per object instead of one per positive cell the {names[0]} is heard (docs/adr/0010)",
        evidence={"area_ratio": round(ratio, 1), "sizes_differ_from": SIZES_DIFFER},
    )
    yield Prefer(
        path="projection.box_loss.weight",
        value=0.12,
        confidence=0.6,
        learnt_on=STUDY,
        because="boxes are the hardest to get right in a short run (docs/adr/0010)",
        evidence={"input": size},
    )


def _class_weight(facts: Facts, size: int) -> Iterator[Prior]:
    del size
    classes, value = len(facts.class_names), _weight_of_classes(facts)
    yield Prefer(
        path="projection.classification.weight",
        value=round(value, 2),
        confidence=0.7,
        because=f"the published weight is for 80 classes; with {classes} a loss per class of the same strength "
        f"needs {value:.1f}",
        evidence={"classes": classes},
    )


def _weight_of_classes(facts: Facts) -> float:
    return min(10.0, 0.25 * 80 / max(len(facts.class_names), 1))


def _augmentation(facts: Facts, size: int) -> Iterator[Prior]:
    epochs = _epochs(facts, size)
    strong = epochs >= MANY_EPOCHS
    evidence = {"epochs": round(epochs, 1), "many": MANY_EPOCHS}
    reason = (
        f"{epochs:.0f} passes over {facts.train_images} pictures invite overfitting"
        if strong
        else f"in {epochs:.0f} passes over {facts.train_images} pictures a small network does not get to fit "
        "strongly varied ones (study: mosaic with scale cost 0.02 to 0.10 AP, more in shorter runs)"
    )
    values = (
        {"mosaic.probability": 0.5, "mixup.probability": 0.05, "affine.scale": 0.5}
        if strong
        else {"mosaic.probability": 0.0, "mixup.probability": 0.0, "affine.scale": 0.15}
    )
    learnt = () if strong else STUDY
    for path, value in values.items():
        yield Prefer(
            path=f"augmentation.{path}",
            value=value,
            confidence=0.8,
            because=reason,
            evidence=evidence,
            learnt_on=learnt,
        )
    yield Prefer(
        path="augmentation.hsv.kind",
        value="uniform",
        confidence=0.8,
        learnt_on=learnt,
        because="mild and sufficient: " + reason,
        evidence=evidence,
    )


def _fit(facts: Facts, size: int) -> Iterator[Prior]:
    del facts, size
    yield Prefer(
        path="input.fit",
        value="stretch",
        confidence=0.7,
        because="stretching gives objects more of the input's pixels than letterboxing does",
    )


def _capacity(facts: Facts, size: int) -> Iterator[Prior]:
    if facts.capacity is not None:
        yield from strength_of_augmentation(facts.capacity, _epochs(facts, size), MANY_EPOCHS)
        yield from loss_balance(facts.capacity, _weight_of_classes(facts))


RULES: Sequence[Rule] = (_anchors, _short_run, _assigner, _vote, _class_weight, _augmentation, _fit, _capacity)
