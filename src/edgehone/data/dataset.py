"""What a data set is, whatever format it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from edgehone.data.picture import ImageSource
from edgehone.types import IGNORED, Picture, Size, Truth, no_boxes

if TYPE_CHECKING:
    from edgehone.data.survey import Survey

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the data that its owner should know.

    Attributes:
        code: stable name of the kind of finding.
        severity: ``error``: lost or unusable; ``warning``: repaired or suspicious; ``note``: information.
        where: file, with line or object number where there is one.
        message: what was found.
        remedy: what was done, or what to do.
        sample: id of the picture that shows it, where one does; likewise the boxes, in its pixels.
        related: ids of further pictures that belong to it.
    """

    code: str
    severity: Severity
    where: str
    message: str
    remedy: str
    sample: str = ""
    boxes_xyxy: tuple[tuple[float, float, float, float], ...] = ()
    related: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled picture.

    Attributes:
        id: stable name: the path relative to the data set's folder.
        size: ``(height, width)`` of the decoded picture.
        boxes_xyxy: ``[n, 4]`` float32, pixels, inside the picture, of positive area.
        classes: ``[n]`` int64.
        source: gives the pixels.
        ignored_xyxy: ``[k, 4]`` float32, regions that neither teach nor count as errors.
    """

    id: str
    size: Size
    boxes_xyxy: NDArray[np.float32]
    classes: NDArray[np.int64]
    source: ImageSource
    ignored_xyxy: NDArray[np.float32] = field(default_factory=no_boxes)

    def read(self) -> Picture:
        """The picture with its truth, see :meth:`labels`."""
        return Picture(self.source.read(), *self.labels())

    def labels(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Boxes and classes; regions to ignore come last, as class :data:`~edgehone.types.IGNORED`."""
        if not len(self.ignored_xyxy):
            return self.boxes_xyxy, self.classes
        nothing = np.full(len(self.ignored_xyxy), IGNORED, np.int64)
        return np.concatenate([self.boxes_xyxy, self.ignored_xyxy]), np.concatenate([self.classes, nothing])

    def truth(self) -> Truth:
        """The truth without pixels."""
        return Truth(self.boxes_xyxy, self.classes, self.size, self.ignored_xyxy)


@dataclass(frozen=True)
class Dataset:
    """Labelled pictures in three splits.

    Attributes:
        name: for people.
        format: that was recognised.
        class_names: in the order of the class numbers.
        train: to learn from; likewise ``val`` to choose by and ``test`` to prove with.
        findings: everything that was repaired, left out or worth knowing.
        source: what :func:`read_dataset` takes to open it again; empty for a set made in memory.
        seen: split to what decoding its pictures showed, where they were all decoded on reading.
    """

    name: str
    format: str
    class_names: tuple[str, ...]
    train: Sequence[Sample]
    val: Sequence[Sample]
    test: Sequence[Sample]
    findings: tuple[Finding, ...] = ()
    source: str = ""
    seen: Mapping[str, Survey] = field(default_factory=dict[str, "Survey"])

    @property
    def splits(self) -> dict[str, Sequence[Sample]]:
        """By name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def fingerprint(self) -> str:
        """Sixteen hex digits that name these labels: equal labels and splits, equal fingerprint."""
        digest = hashlib.sha256("\0".join(self.class_names).encode())
        for name, samples in self.splits.items():
            digest.update(name.encode())
            for sample in samples:
                digest.update(f"\0{sample.id}\0{sample.size}".encode())
                digest.update(sample.boxes_xyxy.tobytes() + sample.classes.tobytes())
                digest.update(sample.ignored_xyxy.tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class RawBox:
    """A box as a file gives it, before it is trusted.

    Attributes:
        label: name of its class.
        xyxy: left, top, right, bottom; pixels, or shares of the picture's sides where ``relative``.
        number: of its line, its object or its annotation, for findings.
        relative: the unit of ``xyxy``.
        ignored: a region rather than an object.
    """

    label: str
    xyxy: tuple[float, float, float, float]
    number: int
    relative: bool = False
    ignored: bool = False


@dataclass(frozen=True, slots=True)
class RawSample:
    """A labelled picture as a format gives it.

    Attributes:
        id: the picture's path in the data's folder.
        boxes: its labels.
        unit: what their numbers count, for findings: ``labels/a.txt line``.
        size: what the annotation claims, if it does.
        split: likewise.
    """

    id: str
    boxes: Sequence[RawBox]
    unit: str
    size: Size | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class RawDataset:
    """What a format's reader returns.

    Attributes:
        format: its name.
        class_names: in order; None where the labels themselves name the classes.
        samples: read once, one at a time.
    """

    format: str
    class_names: tuple[str, ...] | None
    samples: Iterable[RawSample]
