"""Rules: measured facts to priors on the search space, each with its reason and its evidence.

A rule prefers, with a confidence; only limits of the board or of the request forbid. Rules see training and
validation labels, never the test split. Where a rule leans on an earlier measurement it says which:
"study" is the feasibility study on BCCD (two seeds a strategy), summarised in docs/adr/0009; docs/adr/0036 changed one
thing at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from edgehone.analysis.projection import ProjectionFacts
from edgehone.search.advice import main_loss
from edgehone.search.capacity_rules import loss_balance, strength_of_augmentation
from edgehone.search.facts import Facts
from edgehone.search.size_rules import input_sizes, limits
from edgehone.space import Prefer, Prior
from edgehone.strategy import INPUT_SIZES
from edgehone.types import Json

SHORT_RUN_STEPS = 5000
"""Below this many steps a from-scratch run is short: Darknet itself asks for 2,000 per class, at least 6,000."""

MANY_EPOCHS = 100
"""From here on a small network has seen every picture often enough to want strong augmentation."""

CLUSTERED = ("kmeans", "by_level")
FIT_GAIN, LOST_MORE = 0.05, 0.01
"""Clustered anchors must fit so much better, and may lose so many objects more, to be preferred to the official; so
many more may task-aligned assignment lose than ratio match."""

LESS_THAN_INVERSE = 0.8
"""The exponent of the number of classes that gives 2.0 where six did best with that."""

SIZES_DIFFER = 2.0
"""From this ratio of median areas on, large classes have several times the positives of small ones."""

HEARD_PX = 12
"""Smaller objects are not found whatever teaches them: on bccd platelets of 10 px, but not of 16 (docs/adr/0036)."""

Rule = Callable[[Facts, int], Iterator[Prefer]]
"""From the facts and the preferred input size."""

STUDY = ("bccd",)
"""What the studies of docs/adr/0009 and 0010 were made on."""


def apply_rules(facts: Facts, leave_out: Collection[str] = ()) -> list[Prior]:
    """Every prior that the facts imply, limits first.

    Args:
        facts: to reason from.
        leave_out: names of data sets; what was learnt on them does not count.
    """
    forbidding = list(limits(facts))
    forbidden = {v for limit in forbidding for v in limit.values}
    allowed = [size for size in INPUT_SIZES if size not in forbidden] or [min(INPUT_SIZES)]
    sizes = input_sizes(facts, allowed, leave_out)
    advice = [prior for rule in RULES for prior in rule(facts, int(sizes[-1].value))]
    kept = [prior.leave_out(leave_out) for prior in advice]
    return [*forbidding, *sizes, *(prior for prior in kept if prior is not None)]


def taught_by(facts: Facts, name: str) -> list[Prior]:
    """Advice in which a data set had a part; none where no rule knows its name."""
    return [prior for prior in apply_rules(facts) if isinstance(prior, Prefer) and name in prior.learnt_on]


def describe_prior(prior: Prior) -> str:
    """A rule's advice in one line."""
    if prior.kind == "forbid":
        return f"rule: {prior.path} not {', '.join(map(str, prior.values))}: {prior.because}"
    return f"rule: {prior.path} = {prior.value} ({100 * prior.confidence:.0f} %): {prior.because}"


def _steps(facts: Facts, size: int) -> int:
    return facts.full_images[size] // 16


def _epochs(facts: Facts, size: int) -> float:
    return facts.full_images[size] / max(facts.train_images, 1)


def _candidate(facts: Facts, size: int, label: str) -> ProjectionFacts | None:
    found = [c for c in facts.candidates if c.label == label]
    return min(found, key=lambda c: abs(c.input_size - size)) if found else None


def _lost(candidate: ProjectionFacts) -> str:
    """How many objects a projection loses, and why most of them."""
    reason = main_loss(candidate)
    return f"{100 * candidate.lost_fraction:.1f} %" + (f" ({reason})" if reason else "")


def _anchors(facts: Facts, size: int) -> Iterator[Prefer]:
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
        f"{_lost(official)} of the objects, clustered ones ({best.label}) {best.anchor_fit:.2f} and {_lost(best)}"
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


def _short_run(facts: Facts, size: int) -> Iterator[Prefer]:
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
        path="optimisation.optimizer.lr",
        value=0.002,
        confidence=0.65,
        learnt_on=(*STUDY, "cards-640"),
        when=(("optimisation.optimizer.kind", "adamw"),),
        evidence=evidence,
        because=f"{short}; AdamW's usual 0.001 was 2.9 and 2.8 AP points worse on two sets (docs/adr/0036)",
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
    yield from _batch(evidence, short)


def _batch(evidence: dict[str, Json], short: str) -> Iterator[Prefer]:
    yield Prefer(
        path="optimisation.batch_size",
        value=16,
        confidence=0.6,
        evidence=evidence,
        because=f"{short}; smaller batches would make more steps but noisier statistics",
    )
    yield Prefer(
        path="optimisation.batch_size",
        value=8,
        confidence=0.6,
        learnt_on=("bccd", "aquarium-640"),
        evidence=evidence,
        because=f"{short}; twice as many steps of 8 were 0.8 and 1.8 AP points better at equal pictures on two sets, "
        "of 4 worse on one (docs/measurements.md)",
    )


def _assigner(facts: Facts, size: int) -> Iterator[Prefer]:
    ratio, aligned = _candidate(facts, size, "authors"), _candidate(facts, size, "task_aligned")
    evidence = {
        "positives_per_object": {c.label: c.positives_per_object for c in (ratio, aligned) if c is not None},
        "lost_fraction": {c.label: c.lost_fraction for c in (ratio, aligned) if c is not None},
    }
    if ratio is None or aligned is None or aligned.lost_fraction > ratio.lost_fraction + LOST_MORE:
        return
    yield Prefer(
        path="projection.assigner.kind",
        value="task_aligned",
        confidence=0.75,
        learnt_on=(*STUDY, "cards-640"),
        evidence=evidence,
        because="it teaches the cells that already answer best instead of a fixed pattern, and loses "
        f"{_lost(aligned)} of the objects, ratio match {_lost(ratio)} (3.5 and 8.3 AP points above ratio match on two "
        "sets, docs/adr/0036)",
    )
    yield Prefer(
        path="projection.objectness.target",
        value="quality",
        confidence=0.7,
        learnt_on=STUDY,
        evidence=evidence,
        because="with a quality from the assigner, the score of a cell says how well it locates its object",
    )
    coding = Prefer(
        path="projection.coding.kind",
        value="squared_sigmoid",
        confidence=0.7,
        evidence=evidence,
        because="cells beside the centre's own can reach the object only if offsets may leave the cell",
    )
    yield coding
    believed_less = f"{coding.because}; but exp was as good on two sets (docs/adr/0036)"
    yield coding.model_copy(update={"confidence": 0.55, "learnt_on": (*STUDY, "cards-640"), "because": believed_less})


def _vote(facts: Facts, size: int) -> Iterator[Prefer]:
    if not facts.class_sides:
        return
    small, large = min(facts.class_sides), max(facts.class_sides)
    ratio = (large / max(small, 1e-6)) ** 2
    if ratio < SIZES_DIFFER or small * size < HEARD_PX:
        return
    names = [facts.class_names[facts.class_sides.index(side)] for side in (small, large)]
    yield Prefer(
        path="projection.vote",
        value="object",
        confidence=0.8,
        learnt_on=STUDY,
        because=f"the median {names[1]} covers {ratio:.0f} times as many cells as the median {names[0]}; with one "
        f"vote per object instead of one per positive cell the {names[0]} is heard (docs/adr/0010)",
        evidence={
            "area_ratio": round(ratio, 1),
            "sizes_differ_from": SIZES_DIFFER,
            "median_px": round(small * size, 1),
            "heard_from_px": HEARD_PX,
        },
    )


def _box_weight(facts: Facts, size: int) -> Iterator[Prefer]:
    if _steps(facts, size) < SHORT_RUN_STEPS:
        yield Prefer(
            path="projection.box_loss.weight",
            value=0.12,
            confidence=0.6,
            learnt_on=(*STUDY, "cards-640"),
            because="boxes are the hardest to get right in a short run: the published 0.05 cost 1.7 and 2.4 AP points "
            "(docs/adr/0036)",
            evidence={"input": size},
        )


def _class_weight(facts: Facts, size: int) -> Iterator[Prefer]:
    del size
    classes, value = len(facts.class_names), _weight_of_classes(facts)
    published = f"the published weight is for 80 classes; with {classes} a loss per class of the same strength "
    yield Prefer(
        path="projection.classification.weight",
        value=round(value, 2),
        confidence=0.7,
        because=f"{published}needs {value:.1f}",
        evidence={"classes": classes},
    )
    less = _weight_of_classes(facts, LESS_THAN_INVERSE)
    yield Prefer(
        path="projection.classification.weight",
        value=round(less, 2),
        confidence=0.7,
        learnt_on=("cards-640",),
        because=f"{published}would need {value:.1f}, which is too much: six did better with 2.0 than with 3.3 "
        "(5.6 AP points, docs/adr/0036), three as well with 2.0 as with 6.7",
        evidence={"classes": classes, "exponent": LESS_THAN_INVERSE},
    )


def _weight_of_classes(facts: Facts, exponent: float = 1.0) -> float:
    return min(10.0, 0.25 * (80 / max(len(facts.class_names), 1)) ** exponent)


def _augmentation(facts: Facts, size: int) -> Iterator[Prefer]:
    epochs = _epochs(facts, size)
    strong = epochs >= MANY_EPOCHS
    evidence = {"epochs": round(epochs, 1), "many": MANY_EPOCHS}
    reason = (
        f"{epochs:.0f} passes over {facts.train_images} pictures invite overfitting"
        if strong
        else f"in {epochs:.0f} passes over {facts.train_images} pictures a small network does not get to fit "
        "strongly varied ones (study: mosaic with scale cost 0.02 to 0.10 AP, more in shorter runs; 2 points on two "
        "sets, docs/adr/0036)"
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
            learnt_on=(*learnt, "cards-640") if learnt and path.startswith("mosaic") else learnt,
        )
    yield Prefer(
        path="augmentation.hsv.kind",
        value="uniform",
        confidence=0.8,
        learnt_on=learnt,
        because="mild and sufficient: " + reason,
        evidence=evidence,
    )


def _fit(facts: Facts, size: int) -> Iterator[Prefer]:
    del facts, size
    yield Prefer(
        path="input.fit",
        value="stretch",
        confidence=0.7,
        because="stretching gives objects more of the input's pixels than letterboxing does",
    )


def _capacity(facts: Facts, size: int) -> Iterator[Prefer]:
    if facts.capacity is not None:
        yield from strength_of_augmentation(facts.capacity, _epochs(facts, size), MANY_EPOCHS)
        yield from loss_balance(facts.capacity, _weight_of_classes(facts))


RULES: Sequence[Rule] = (
    _anchors,
    _short_run,
    _assigner,
    _vote,
    _box_weight,
    _class_weight,
    _augmentation,
    _fit,
    _capacity,
)
