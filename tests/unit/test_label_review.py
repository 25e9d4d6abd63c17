"""Label review on built-in scenes: spoil known labels, let imperfect detectors answer, and find exactly these."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest

from edgehone.analysis.confidence import answers, overlaps, standard
from edgehone.analysis.label_review import Suspect, review_labels
from edgehone.data import Sample, read_dataset
from edgehone.errors import EdgehoneError
from edgehone.types import Detections

SOURCE = "builtin:digits?train=60&val=30&test=30&min_objects=3"
DATA = read_dataset(SOURCE)
NAMES = DATA.class_names
TRUE = [*DATA.train, *DATA.val, *DATA.test]
LEARNED = [sample.id for sample in DATA.train]


@dataclass(frozen=True)
class Model:
    """A detector made of the truth: blurred boxes, junk at low scores, some objects overlooked."""

    seed: int
    overlooked: float = 0.03
    junk: int = 4

    def detect(self, sample: Sample) -> Detections:
        rng = np.random.default_rng((self.seed, *map(ord, sample.id)))
        boxes, classes = sample.boxes_xyxy, sample.classes
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        blurred = boxes + rng.normal(0, 0.03, boxes.shape) * sides
        corner = rng.uniform(0, 180, (self.junk, 2))
        junk = np.concatenate([corner, corner + rng.uniform(15, 60, (self.junk, 2))], 1)
        scores = rng.beta(8, 2, len(boxes)) * (rng.random(len(boxes)) >= self.overlooked)
        # The other classes of each object, as class-wise suppression leaves them.
        others = (classes + rng.integers(1, len(NAMES), len(boxes))) % len(NAMES)
        return Detections(
            np.concatenate([blurred, blurred, junk]).astype(np.float32),
            np.concatenate([scores, 0.1 * rng.random(len(boxes)), 0.1 * rng.random(self.junk)]).astype(np.float32),
            np.concatenate([classes, others, rng.integers(0, len(NAMES), self.junk)]),
        )


ONE = [[Model(1, overlooked=0).detect(sample) for sample in TRUE]]
PANEL = [[Model(seed).detect(sample) for sample in TRUE] for seed in range(3)]


def with_labels(sample: Sample, boxes: np.ndarray, classes: np.ndarray) -> Sample:
    return replace(sample, boxes_xyxy=boxes.astype(np.float32), classes=classes)


def without(sample: Sample, label: int) -> Sample:
    return with_labels(sample, np.delete(sample.boxes_xyxy, label, 0), np.delete(sample.classes, label))


def swapped(sample: Sample, label: int) -> Sample:
    classes = sample.classes.copy()
    classes[label] = (classes[label] + 1) % len(NAMES)
    return with_labels(sample, sample.boxes_xyxy, classes)


def shifted(sample: Sample, label: int) -> Sample:
    boxes = sample.boxes_xyxy.copy()
    width = boxes[label, 2] - boxes[label, 0]
    boxes[label, [0, 2]] += 0.3 * width * (1 if boxes[label, 0] < 120 else -1)
    return with_labels(sample, boxes, sample.classes)


def invented(sample: Sample, label: int) -> Sample:
    """A label in the largest gap, of the size of another."""
    side = sample.boxes_xyxy[label, 2:] - sample.boxes_xyxy[label, :2]
    corners = np.stack(np.meshgrid(np.arange(0, 230 - side[0], 10), np.arange(0, 230 - side[1], 10)), -1).reshape(-1, 2)
    places = np.concatenate([corners, corners + side], 1).astype(np.float32)
    free = places[overlaps(places, sample.boxes_xyxy).max(axis=1).argmin()]
    return with_labels(
        sample, np.concatenate([sample.boxes_xyxy, free[None]]), np.append(sample.classes, sample.classes[label])
    )


SPOIL = {"missing": without, "swapped": swapped, "misplaced": shifted, "unfound": invented}
PLACES = [5, 40, 65, 80, 95, 110]


def spoiled(kind: str) -> list[Sample]:
    return [SPOIL[kind](sample, i % 3) if i in PLACES else sample for i, sample in enumerate(TRUE)]


@pytest.mark.parametrize("kind", SPOIL)
@pytest.mark.parametrize("panel", [ONE, PANEL], ids=["one", "three"])
def test_exactly_the_spoiled_labels_come_first(kind: str, panel: list[list[Detections]]) -> None:
    suspects = review_labels(spoiled(kind), panel, NAMES, learned=LEARNED)
    first = suspects[: len(PLACES)]
    assert {s.kind for s in first} == {kind}, suspects[:8]
    assert {s.sample for s in first} == {TRUE[i].id for i in PLACES}
    assert all(s.rank >= suspects[len(PLACES)].rank for s in first) if len(suspects) > len(PLACES) else True
    assert len(suspects) <= len(PLACES) + 3, "clean labels are left alone"


def test_a_suspect_says_what_to_do_about_it() -> None:
    missing, swap, moved = (review_labels(spoiled(k), PANEL, NAMES)[0] for k in ("missing", "swapped", "misplaced"))
    truth = {sample.id: sample for sample in TRUE}
    for suspect in (missing, swap, moved):
        assert suspect.suggested_xyxy is not None
        good = overlaps(np.array([suspect.suggested_xyxy], np.float32), truth[suspect.sample].boxes_xyxy)[0]
        assert good.max() > 0.8
        assert suspect.suggested == NAMES[truth[suspect.sample].classes[good.argmax()]]
        assert suspect.score is not None
        assert suspect.confident_at is not None
        assert suspect.score >= suspect.confident_at
        assert suspect.agreeing > suspect.models / 2
        assert str(suspect.suggested) in suspect.sentence
        assert Suspect.model_validate_json(suspect.model_dump_json()) == suspect
    assert missing.label is None
    assert missing.box_xyxy == missing.suggested_xyxy
    assert swap.label not in (None, swap.suggested)
    assert moved.label == moved.suggested
    assert moved.box_xyxy != moved.suggested_xyxy


def test_clean_labels_and_sound_detectors_give_hardly_a_suspect() -> None:
    assert len(review_labels(TRUE, PANEL, NAMES)) <= 3


def test_many_missing_labels_do_not_hide_themselves() -> None:
    """A third of all labels gone: precision on what is left never reaches nine tenths."""
    rng = np.random.default_rng(3)
    kept = [rng.random(len(sample.classes)) > 0.33 for sample in TRUE]
    spoilt = [with_labels(s, s.boxes_xyxy[k], s.classes[k]) for s, k in zip(TRUE, kept, strict=True)]
    found = Counter(s.kind for s in review_labels(spoilt, PANEL, NAMES))
    lost = sum((~k).sum() for k in kept)
    assert found["missing"] > 0.45 * lost
    assert found.total() - found["missing"] <= 3


def test_confidence_is_chosen_from_the_data() -> None:
    """The same answers with halved scores: half the threshold, the same suspects."""
    halved = [[replace(d, scores=d.scores / 2) for d in model] for model in PANEL]
    for kind in SPOIL:
        before, after = (review_labels(spoiled(kind), panel, NAMES) for panel in (PANEL, halved))
        for a, b in zip(before, after, strict=True):
            assert a.model_copy(update={"score": None, "confident_at": None}) == b.model_copy(
                update={"score": None, "confident_at": None}
            )
            if a.confident_at is not None:
                assert b.confident_at == pytest.approx(a.confident_at / 2, abs=2e-4)


def test_a_class_that_is_never_found_makes_nobody_confident() -> None:
    blind = [replace(d, classes=np.where(d.classes == 3, 2, d.classes)) for d in PANEL[0]]
    rule = standard([answers(s, d) for s, d in zip(TRUE, blind, strict=True)], [False] * len(TRUE), len(NAMES))
    assert np.isfinite(rule.confident_at[:3]).all()
    assert np.isinf(rule.confident_at[3])
    assert rule.sureness(1.0, 3) == 0
    assert rule.sureness(1.0, 2) < rule.sureness(1.0, 1), "a detector that is often wrong is believed less"


def test_a_detector_that_is_mostly_wrong_about_a_class_is_not_asked() -> None:
    wrong = [replace(d, classes=d.classes * 0) for d in PANEL[0]]
    assert not [s for s in review_labels(TRUE, [wrong], NAMES) if s.kind != "unfound"]


def test_a_detector_alone_against_two_is_not_followed() -> None:
    corner = np.array([[0, 0, 30, 30]], np.float32)
    free = [i for i, s in enumerate(TRUE) if overlaps(2 * corner, s.boxes_xyxy).max() == 0][:10]
    loud = list(PANEL[0])
    for i in free:
        d = loud[i]
        loud[i] = Detections(
            np.concatenate([corner, d.boxes_xyxy]), np.append(np.float32(1), d.scores), np.append(0, d.classes)
        )
    alone = {s.sample for s in review_labels(TRUE, [loud], NAMES) if s.kind == "missing"}
    assert {TRUE[i].id for i in free} <= alone
    assert len(review_labels(TRUE, [loud, *PANEL[1:]], NAMES)) <= 3


def test_regions_to_ignore_are_not_reviewed() -> None:
    whole = np.array([[0, 0, 240, 240]], np.float32)
    hidden = [
        replace(sample, ignored_xyxy=whole) if i in PLACES else sample for i, sample in enumerate(spoiled("missing"))
    ]
    assert not {TRUE[i].id for i in PLACES} & {
        s.sample for s in review_labels(hidden, PANEL, NAMES) if s.kind == "missing"
    }


def test_pictures_that_were_not_learned_from_come_first_where_asked() -> None:
    suspects = review_labels(spoiled("missing"), PANEL, NAMES, learned=LEARNED, unseen_first=True)
    learned = [s.learned for s in suspects]
    assert learned == sorted(learned)
    assert {s.sample for s in suspects if s.learned} <= set(LEARNED)
    ranked = review_labels(spoiled("missing"), PANEL, NAMES, learned=LEARNED)
    assert sorted(ranked, key=lambda s: s.learned) == suspects


def test_empty_pictures_and_silent_detectors_are_fine() -> None:
    empty = with_labels(TRUE[0], np.zeros((0, 4)), np.zeros(0, np.int64))
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert review_labels([empty, TRUE[1]], [[nothing, nothing]], NAMES) == []
    assert review_labels([], [[]], NAMES) == []
    with pytest.raises(EdgehoneError, match="at least one detector"):
        review_labels(TRUE, [], NAMES)
    with pytest.raises(EdgehoneError, match="each of the 120 pictures"):
        review_labels(TRUE, [PANEL[0][:5]], NAMES)
