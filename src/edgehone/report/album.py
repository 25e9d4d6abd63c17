"""Pictures of findings and of suspicious labels, in a space that is limited."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgehone.data import Finding, Sample
from edgehone.data.doctor.view import SPLITS, View
from edgehone.errors import EdgehoneError
from edgehone.report.content import Photo
from edgehone.report.crops import Mark, draw_crop, draw_row
from edgehone.report.drawing import Image
from edgehone.report.palette import class_colour, series_colour

if TYPE_CHECKING:  # analysis imports torch, which a check without detectors does without
    from edgehone.analysis.label_review import Suspect

SPACE_BYTES = 3_400_000
"""Of all JPEG files of a page; text makes a third more of them."""

FOUND, LABEL, SEEN = 1, 1, 0
"""Places in the palette of what a finding marks, of a suspicious label, and of what detectors see."""

BESIDE = 2
"""Further pictures that are shown beside one."""


class Album:
    """Draws photos until the space is used up."""

    def __init__(self, view: View, space: int = SPACE_BYTES) -> None:
        self.view = view
        self.left = space
        self.places = {view.id(place): place for place in range(len(view.splits))}

    def sample(self, key: str) -> Sample | None:
        """A picture of the data by its id; None where it was left out."""
        return self.view.samples[self.places[key]] if key in self.places else None

    def split(self, key: str) -> str:
        """Name of a picture's split."""
        return SPLITS[int(self.view.splits[self.places[key]])]

    def of_findings(self, findings: Iterable[Finding], most: int) -> tuple[Photo, ...]:
        """Photos of the first findings that have a picture, each picture once."""
        photos: list[Photo] = []
        shown: set[str] = set()
        for finding in findings:
            if len(photos) == most:
                break
            if finding.sample in self.places and finding.sample not in shown:
                shown.add(finding.sample)
                photos += self._kept(self._of_finding(finding))
        return tuple(photos)

    def of_suspects(self, suspects: Sequence[Suspect]) -> tuple[Photo, ...]:
        """A photo of each suspect, in their order."""
        return tuple(
            photo for k, suspect in enumerate(suspects, 1) for photo in self._kept(self._of_suspect(k, suspect))
        )

    def _kept(self, photo: Photo | None) -> list[Photo]:
        if photo is None or len(photo.jpeg) > self.left:
            return []
        self.left -= len(photo.jpeg)
        return [photo]

    def _of_finding(self, finding: Finding) -> Photo | None:
        keys = [finding.sample, *(key for key in finding.related if key in self.places)][: 1 + BESIDE]
        samples = [self.view.samples[self.places[key]] for key in keys]
        read = [(image, sample) for sample in samples if (image := _read(sample)) is not None]
        if len(read) < len(keys):
            return None
        if len(read) > 1 and not finding.boxes_xyxy:
            row = draw_row([(image, sample.boxes_xyxy) for image, sample in read])
            names = " | ".join(f"{_short(key)} ({self.split(key)})" for key in keys)
            return Photo(row, names, f"{finding.message}: side by side, {names}", wide=True)
        marks = [Mark(box, class_colour(FOUND)) for box in finding.boxes_xyxy]
        drawn = draw_crop(read[0][0], samples[0].boxes_xyxy, marks)
        name = f"{_short(keys[0])} ({self.split(keys[0])})"
        return Photo(drawn, f"{name}: {finding.message}", f"{finding.code} in {name}")

    def _of_suspect(self, number: int, suspect: Suspect) -> Photo | None:
        sample = self.sample(suspect.sample)
        image = None if sample is None else _read(sample)
        if sample is None or image is None:
            return None
        own = np.asarray(suspect.box_xyxy, np.float32)
        others = sample.boxes_xyxy[np.abs(sample.boxes_xyxy - own).max(axis=1, initial=0) > 0.02]
        marks = [] if suspect.label is None else [Mark(suspect.box_xyxy, class_colour(LABEL))]
        if suspect.suggested_xyxy is not None:
            marks.append(Mark(suspect.suggested_xyxy, class_colour(SEEN)))
        text = suspect.sentence[:1].upper() + suspect.sentence[1:]
        place = f"{_short(suspect.sample)} ({self.split(suspect.sample)})"
        caption = f"{number}. {text}. {place}, rank {suspect.rank:.2f}"
        return Photo(draw_crop(image, others, marks), caption, f"{suspect.kind} in {suspect.sample}")


def _short(key: str) -> str:
    """A picture's name without its folders."""
    return key.rpartition("/")[2]


def _read(sample: Sample) -> Image | None:
    try:
        return sample.source.read()
    except EdgehoneError:
        return None  # the finding about it is on the page


def finding_legend(marked: bool) -> tuple[tuple[str, str], ...]:
    """What the colours of :meth:`Album.of_findings` mean; without ``marked`` only labels are drawn."""
    labels = ("#9a9a9a", "labels (dashed)")
    return ((series_colour(FOUND), "what the finding speaks of"), labels) if marked else (labels,)


def suspect_legend() -> tuple[tuple[str, str], ...]:
    """What the colours of :meth:`Album.of_suspects` mean."""
    return (
        (series_colour(LABEL), "the label"),
        (series_colour(SEEN), "what the detectors see"),
        ("#9a9a9a", "other labels (dashed)"),
    )
