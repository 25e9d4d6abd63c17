"""The dataset doctor: everything that reading found, and what only a look at the whole shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from edgehone.data.checks import LIMIT, Findings
from edgehone.data.dataset import Dataset, Finding
from edgehone.data.doctor.boxes import check_boxes
from edgehone.data.doctor.classes import check_classes
from edgehone.data.doctor.files import check_files
from edgehone.data.doctor.pictures import check_pictures
from edgehone.data.doctor.shares import check_splits
from edgehone.data.doctor.view import View
from edgehone.data.reading import Source, Watch, open_source
from edgehone.data.survey import Survey, survey

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Checkup:
    """What the doctor says.

    Attributes:
        dataset: as it was read; its findings are only those of reading.
        findings: all of them, worst first, then by code.
        counts: code to how often it was found, also where not all are listed.
        view: the data as the checks saw it.
    """

    dataset: Dataset
    findings: tuple[Finding, ...]
    counts: dict[str, int]
    view: View

    @property
    def clean(self) -> bool:
        """Whether there is no error."""
        return all(finding.severity != "error" for finding in self.findings)


def examine(source: Source, *, watch: Watch | None = None, limit: int = LIMIT) -> Checkup:
    """Read, decode and check a data set.

    Args:
        source: what to read.
        watch: told of progress: pictures done, pictures in all.
        limit: how many findings of a kind are listed one by one.

    Raises:
        UsageError: there is no such source, format or class.
        EdgehoneError: it is not readable as any format.
    """
    reading = open_source(source, decode=True, watch=watch, findings=Findings(limit))
    seen: Survey | None = reading.survey
    if seen is None and reading.folder is None:
        seen = survey([s.source for part in reading.dataset.splits.values() for s in part], watch=watch)
    view = View.of(reading.dataset, reading.pictures, seen)
    findings = reading.findings
    check_files(reading.folder, reading.met, findings)
    for check in (check_pictures, check_boxes, check_classes, check_splits):
        check(view, findings)
    ordered = sorted(findings.all(), key=lambda f: (SEVERITIES.index(f.severity), f.code))
    return Checkup(reading.dataset, tuple(ordered), dict(Counter(findings.counts)), view)
