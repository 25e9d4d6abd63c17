"""After a training: labels that look wrong, and objects that look forgotten.

A detector that learned from many labels contradicts the few that do not fit the others. How sure it must be is
measured on the labels themselves (:mod:`edgehone.analysis.confidence`). A contradiction is a reason to look, not
a proof: a weak detector contradicts good labels. The idea of judging labels by a model's own confidence is that
of Northcutt, Jiang and Chuang, "Confident Learning" (JAIR 2021).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgehone.analysis.confidence import (
    MEET_IOU,
    Answers,
    Peers,
    Standard,
    answers,
    areas,
    intersections,
    overlaps,
    peers,
    standard,
)
from edgehone.data import Sample
from edgehone.errors import EdgehoneError
from edgehone.space import Settings
from edgehone.types import Detections

Kind = Literal["missing", "unfound", "swapped", "misplaced"]
Box = tuple[float, float, float, float]

NEAR_IOU = 0.3
"""Below this overlap with every label, a detection speaks of an object of its own."""

TIGHT_IOU = 0.7
"""From this overlap on, a label's place is not in question."""

USUAL = 0.9
"""Share of a label's peers that must be met more tightly before its own place is in question."""

UNUSUAL = 5
"""Labels among :data:`~edgehone.analysis.confidence.PEERS` up to which it is unusual that none finds them."""


class Suspect(Settings):
    """A label, or the lack of one, that is worth a look.

    Attributes:
        kind: ``missing``: detectors see an object without a label; ``swapped``: an object of another class than
            the label says; ``misplaced``: an object of that class with a box elsewhere; ``unfound``: nothing.
        sample: id of the picture.
        box_xyxy: the label's box, or where one is missing; pixels of the picture.
        label: class that the label gives; None where one is missing.
        suggested: class that the detectors see; None where they see nothing.
        suggested_xyxy: their box, mean over those that agree; None where they see nothing.
        rank: 0 to 1. Where the detectors see something, the mean over them: of the labels they find, the share
            that they find with a lower score than this, times the share of their confident answers that meet a
            label; for ``misplaced``, times the share of labels of like size that they meet more tightly; for
            ``swapped``, times 1 minus the ratio of their scores for the label's class and for the other. For
            ``unfound``, among the labels of that class that are nearest in size: share that is found confidently,
            divided by the number that is not found at all.
        score: of the surest detector; None where they see nothing.
        confident_at: least score that counts as confident for that detector and class, chosen by the data.
        agreeing: number of detectors that say so, each confidently; ``models``: of those asked.
        learned: the detectors were trained on this picture. They may have learned its faults by heart: silence
            means nothing there, and a contradiction all the more.
    """

    kind: Kind
    sample: str
    box_xyxy: Box
    label: str | None
    suggested: str | None
    suggested_xyxy: Box | None
    rank: float
    score: float | None
    confident_at: float | None
    agreeing: int
    models: int
    learned: bool

    @property
    def sentence(self) -> str:
        """For people."""
        who = "the detector" if self.models == 1 else f"{self.agreeing} of {self.models} detectors"
        verb = "sees" if self.agreeing == 1 else "see"
        if self.kind == "unfound":
            return f"labelled {self.label}, where no detector sees one at any score, though they find its like"
        sure = f"(score {self.score:.2f}, confident from {self.confident_at:.2f})"
        if self.kind == "missing":
            return f"no label, where {who} confidently {verb} {self.suggested} {sure}"
        if self.kind == "swapped":
            return f"labelled {self.label}, where {who} confidently {verb} {self.suggested} {sure}"
        return f"labelled {self.label}, and {who} confidently {verb} it with another box {sure}"


class Review(Settings):
    """What detectors say of a data set's labels.

    Attributes:
        detectors: that were asked.
        splits: that were reviewed.
        suspects: most suspicious first.
        not_judged: classes of which the detectors know too little to contradict a label.
        note: what to know before believing it.
    """

    detectors: tuple[str, ...]
    splits: tuple[str, ...]
    suspects: tuple[Suspect, ...]
    not_judged: tuple[str, ...]
    note: str


def review_labels(
    samples: Sequence[Sample],
    detections_by_model: Sequence[Sequence[Detections]],
    class_names: Sequence[str],
    *,
    learned: Collection[str] = (),
    unseen_first: bool = False,
) -> list[Suspect]:
    """Labels that look wrong and objects that look forgotten, most suspicious first.

    Args:
        samples: labelled pictures.
        detections_by_model: for each detector its detections of every sample, down to low scores.
        class_names: in the order of the class numbers.
        learned: ids of the samples that the detectors were trained on. What counts as confident is measured on
            the others, where these hold enough labels.
        unseen_first: put the suspects in those others first.

    Raises:
        EdgehoneError: no detector, or not one :class:`~edgehone.types.Detections` a sample.
    """
    panel, cases = convene(samples, detections_by_model, class_names, learned)
    return panel.suspects(cases, unseen_first)


def convene(
    samples: Sequence[Sample],
    detections_by_model: Sequence[Sequence[Detections]],
    class_names: Sequence[str],
    learned: Collection[str] = (),
) -> tuple[Panel, list[Case]]:
    """The two halves of :func:`review_labels`: what the detectors are worth, and what there is to judge."""
    counts = [len(each) for each in detections_by_model]
    if not counts or any(count != len(samples) for count in counts):
        raise EdgehoneError(
            f"a review needs at least one detector, and its detections of each of the {len(samples)} pictures; "
            f"got {len(counts)} detectors with {counts} pictures"
        )
    by_model = [[answers(s, d) for s, d in zip(samples, each, strict=True)] for each in detections_by_model]
    trained = frozenset(learned)
    known = [sample.id in trained for sample in samples]
    unseen = [i for i, seen in enumerate(known) if not seen] or list(range(len(samples)))
    classes = len(class_names)
    rules = [standard(each, known, classes) for each in by_model]
    pool = peers([samples[i] for i in unseen], [[each[i] for i in unseen] for each in by_model], rules, classes)
    panel = Panel(tuple(class_names), rules, pool)
    return panel, [Case(s, [each[i] for each in by_model], known[i]) for i, s in enumerate(samples)]


@dataclass(frozen=True)
class Case:
    """One picture with what each detector says of it."""

    sample: Sample
    said: Sequence[Answers]
    learned: bool


@dataclass(frozen=True)
class Vote:
    """The answer by which one detector supports a suggestion."""

    box_xyxy: NDArray[np.float32]
    score: float
    sureness: float
    confident_at: float

    @property
    def confident(self) -> bool:
        """Whether it counts towards the majority."""
        return self.score >= self.confident_at


@dataclass(frozen=True)
class Panel:
    """All detectors with what their scores are worth: each picture is put before them."""

    class_names: tuple[str, ...]
    standards: Sequence[Standard]
    peers: Peers

    @cached_property
    def judged(self) -> NDArray[np.bool_]:
        """``[classes]``: whether most of the detectors know enough of a class to contradict its labels."""
        asked = np.sum([np.isfinite(rule.confident_at) for rule in self.standards], axis=0)
        return 2 * asked > len(self.standards)

    def suspects(self, cases: Sequence[Case], unseen_first: bool) -> list[Suspect]:
        """Of all pictures, most suspicious first."""
        found = [suspect for case in cases for suspect in self._review(case)]
        return sorted(found, key=lambda s: (unseen_first and s.learned, -s.rank))

    def _review(self, case: Case) -> list[Suspect]:
        """The suspects of one picture; at most one a label."""
        found = self._missing(case)
        for label in range(len(case.sample.classes)):
            one = self._swapped(case, label) or self._misplaced(case, label) or self._unfound(case, label)
            found += [one] if one else []
        return found

    def _missing(self, case: Case) -> list[Suspect]:
        """Confident answers far from every label, surest first, each object once."""
        alone = [_alone(case.sample, answer) for answer in case.said]
        leads = [
            (self._vote(model, answer, int(row)), int(answer.classes[row]))
            for model, answer in enumerate(case.said)
            for row in np.flatnonzero(alone[model] & self._confident(model, answer))
        ]
        found: list[Suspect] = []
        taken = np.zeros((0, 4), np.float32)
        for lead, suggested in sorted(leads, key=lambda item: -item[0].sureness):
            box = lead.box_xyxy[None]
            if (overlaps(box, taken) >= MEET_IOU).any():
                continue
            there = [alone[m] & (overlaps(a.boxes_xyxy, box)[:, 0] >= MEET_IOU) for m, a in enumerate(case.said)]
            votes = self._votes(case, suggested, there)
            if self._agreed(votes):
                taken = np.concatenate([taken, box])
                found.append(self._suspect("missing", case, None, suggested, votes))
        return found

    def _swapped(self, case: Case, label: int) -> Suspect | None:
        """Confident answers of another class on a label that none confirms."""
        there = [a.iou[:, label] >= MEET_IOU for a in case.said]
        given = int(case.sample.classes[label])
        own = self._votes(case, given, there)
        if not self.judged[given] or any(vote is not None and vote.confident for vote in own):
            return None
        free = [mask & (a.met < 0) for mask, a in zip(there, case.said, strict=True)]
        best: Suspect | None = None
        for other in range(len(self.class_names)):
            votes = self._votes(case, other, free)
            if other != given and self._agreed(votes):
                suspect = self._suspect("swapped", case, label, other, votes, _silence(own, votes))
                best = suspect if best is None or suspect.rank > best.rank else best
        return best

    def _misplaced(self, case: Case, label: int) -> Suspect | None:
        """Confident answers of the label's class that meet it loosely, and each other more tightly."""
        given = int(case.sample.classes[label])
        loose: list[NDArray[np.bool_]] = []
        for answer in case.said:
            overlap = answer.iou[:, label]
            nearest = np.where(answer.same, answer.iou, 0).argmax(axis=1) == label
            near = answer.same[:, label] & nearest & (overlap >= NEAR_IOU)
            if (near & self._confident(len(loose), answer) & (overlap >= TIGHT_IOU)).any():
                return None
            loose.append(near & (overlap < TIGHT_IOU))
        votes = self._votes(case, given, loose)
        if not self._agreed(votes):
            return None
        boxes = np.stack([vote.box_xyxy for vote in votes if vote is not None and vote.confident])
        met = overlaps(boxes, case.sample.boxes_xyxy[label][None])
        if (overlaps(boxes, boxes) < met).any():
            return None
        tighter = float((self.peers.iou[given][:, self._like(case, label)] > met.mean()).mean())
        return self._suspect("misplaced", case, label, given, votes, tighter) if tighter >= USUAL else None

    def _unfound(self, case: Case, label: int) -> Suspect | None:
        """No answer of the label's class, at any score."""
        if any((answer.same[:, label] & (answer.iou[:, label] >= MEET_IOU)).any() for answer in case.said):
            return None
        given, like = int(case.sample.classes[label]), self._like(case, label)
        if not self.judged[given]:
            return None
        lost = max(1, int((self.peers.iou[given][:, like] < MEET_IOU).all(axis=0).sum()))
        rank = float(self.peers.sure[given][:, like].mean()) / lost
        return self._suspect("unfound", case, label, None, [], rank) if lost <= UNUSUAL and rank else None

    def _like(self, case: Case, label: int) -> NDArray[np.int64]:
        """Labels of this class and of like size, as places in :attr:`peers`."""
        area = float(areas(case.sample.boxes_xyxy[label][None])[0])
        return self.peers.nearest(int(case.sample.classes[label]), area)

    def _confident(self, model: int, answer: Answers) -> NDArray[np.bool_]:
        return answer.scores >= self.standards[model].confident_at[answer.classes]

    def _vote(self, model: int, answer: Answers, row: int) -> Vote:
        rule, label, score = self.standards[model], int(answer.classes[row]), float(answer.scores[row])
        return Vote(answer.boxes_xyxy[row], score, rule.sureness(score, label), float(rule.confident_at[label]))

    def _votes(self, case: Case, suggested: int, masks: Sequence[NDArray[np.bool_]]) -> list[Vote | None]:
        """Of each detector its best answer of a class among those allowed."""
        rows = [np.flatnonzero(m & (a.classes == suggested)) for m, a in zip(masks, case.said, strict=True)]
        return [
            self._vote(model, case.said[model], int(each[0])) if len(each) else None for model, each in enumerate(rows)
        ]

    def _agreed(self, votes: Sequence[Vote | None]) -> bool:
        """Whether most of the detectors are confident."""
        return 2 * sum(vote is not None and vote.confident for vote in votes) > len(self.standards)

    def _suspect(
        self,
        kind: Kind,
        case: Case,
        label: int | None,
        suggested: int | None,
        votes: Sequence[Vote | None],
        share: float = 1.0,
    ) -> Suspect:
        """``share`` is what the detectors' mean sureness is multiplied with, or stands alone where they see nothing."""
        cast = [vote for vote in votes if vote is not None]
        sure = [vote for vote in cast if vote.confident]
        box = _box(np.mean([vote.box_xyxy for vote in sure], axis=0)) if sure else None
        own = box if label is None else _box(case.sample.boxes_xyxy[label])
        assert own is not None
        surest = max(sure, key=lambda vote: vote.sureness, default=None)
        sureness = sum(vote.sureness for vote in cast) / len(self.standards) if votes else 1.0
        return Suspect(
            kind=kind,
            sample=case.sample.id,
            box_xyxy=own,
            label=None if label is None else self.class_names[int(case.sample.classes[label])],
            suggested=None if suggested is None else self.class_names[suggested],
            suggested_xyxy=box,
            rank=round(share * sureness, 4),
            score=None if surest is None else round(surest.score, 4),
            confident_at=None if surest is None else round(surest.confident_at, 4),
            agreeing=len(sure) if votes else len(self.standards),
            models=len(self.standards),
            learned=case.learned,
        )


def _silence(own: Sequence[Vote | None], other: Sequence[Vote | None]) -> float:
    """How little of a label's own class the detectors see beside another: 1 minus the ratio of the scores, mean."""
    pairs = [(mine, theirs) for mine, theirs in zip(own, other, strict=True) if theirs is not None]
    return float(np.mean([1 - min(1.0, mine.score / theirs.score) if mine else 1.0 for mine, theirs in pairs]))


def _alone(sample: Sample, answer: Answers) -> NDArray[np.bool_]:
    """Answers that speak of no label: far from each, and neither part nor whole of one of their own class."""
    boxes = answer.boxes_xyxy
    smaller = np.minimum(areas(boxes)[:, None], areas(sample.boxes_xyxy)[None])
    held = intersections(boxes, sample.boxes_xyxy) >= MEET_IOU * smaller
    near = (answer.iou >= NEAR_IOU) | (answer.same & held)
    return np.logical_not(near.any(axis=1))


def _box(box_xyxy: NDArray[np.float32]) -> Box:
    left, top, right, bottom = (round(float(v), 2) for v in box_xyxy)
    return left, top, right, bottom
