"""A clean copy of a data set, and a ledger of every change. The original is never touched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgehone.data.checks import CHECKS
from edgehone.data.dataset import Dataset, Finding, Sample
from edgehone.data.doctor import Checkup
from edgehone.data.doctor.boxes import SAME_PX
from edgehone.data.doctor.view import SPLITS
from edgehone.data.writing import Written, write_dataset
from edgehone.files import write_json
from edgehone.types import Json

LEDGER = "ledger.json"


@dataclass(frozen=True)
class Repair:
    """What was done.

    Attributes:
        written: the copy.
        ledger: every finding, with what became of it.
    """

    written: Written
    ledger: list[dict[str, str]]

    @property
    def changes(self) -> int:
        """Findings that changed something."""
        return sum(entry["action"] != "kept" for entry in self.ledger)


def repair(checkup: Checkup, format: str, out: Path) -> Repair:
    """Write a clean copy with its ledger.

    What reading left out or put right stays so; doubled boxes and pictures lose all but one, a picture in two
    splits stays in the one that is held out most. What needs a person's judgement is kept, and named.

    Args:
        checkup: of the data, with every finding listed.
        format: one of :data:`edgehone.data.writing.WRITERS`.
        out: a new folder.

    Raises:
        UsageError: no such format, or a folder that holds something.
    """
    dataset = cleaned(checkup.dataset, checkup.findings)
    written = write_dataset(dataset, format, out)
    ledger = [_entry(finding) for finding in checkup.findings if finding.code != "format"]
    ledger += [
        {"code": "format", "severity": "warning", "where": format, "message": text, "action": "left out"}
        for text in written.lost
    ]
    content: Json = {"source": dataset.source, "format": format, "changes": ledger, "pictures": written.names}
    write_json(out / LEDGER, content)
    return Repair(written, ledger)


def _entry(finding: Finding) -> dict[str, str]:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "where": finding.where,
        "message": finding.message,
        "action": CHECKS[finding.code].action,
    }


def cleaned(dataset: Dataset, findings: Iterable[Finding]) -> Dataset:
    """Without doubled boxes and pictures."""
    split_of = {sample.id: SPLITS.index(name) for name in SPLITS for sample in dataset.splits[name]}
    unwanted: set[str] = set()
    doubled: set[str] = set()
    for finding in findings:
        if finding.code in ("image-duplicate", "split-leak"):
            group = [key for key in (finding.sample, *finding.related) if key not in unwanted]
            kept = max(group, key=lambda key: split_of.get(key, -1), default="")
            unwanted.update(key for key in group if key != kept)
        elif finding.code == "box-duplicate":
            doubled.add(finding.sample)

    def rest(samples: Sequence[Sample]) -> tuple[Sample, ...]:
        left = (sample for sample in samples if sample.id not in unwanted)
        return tuple(_without_doubles(sample) if sample.id in doubled else sample for sample in left)

    return replace(dataset, train=rest(dataset.train), val=rest(dataset.val), test=rest(dataset.test))


def _without_doubles(sample: Sample) -> Sample:
    """Of boxes of one class that agree to half a pixel, only the first."""
    kept: list[int] = []
    for k, (box, label) in enumerate(zip(sample.boxes_xyxy, sample.classes, strict=True)):
        same = [j for j in kept if sample.classes[j] == label and np.abs(sample.boxes_xyxy[j] - box).max() <= SAME_PX]
        if not same:
            kept.append(k)
    return replace(sample, boxes_xyxy=sample.boxes_xyxy[kept], classes=sample.classes[kept])
