"""From a source to a data set that can be trusted: recognise, read, repair, split, decode, with a ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np

from edgehone.data import coco, csv_rows, darknet, voc, yolo
from edgehone.data.checks import Findings
from edgehone.data.dataset import Dataset, RawDataset
from edgehone.data.digits import digits_dataset
from edgehone.data.folder import UNSUPPORTED, Folder
from edgehone.data.intake import Intake
from edgehone.data.samples import Samples
from edgehone.data.selection import Selection
from edgehone.data.splits import SPLITS, split_pictures
from edgehone.data.survey import Survey, survey
from edgehone.errors import EdgehoneError, UsageError

READERS: dict[str, ModuleType] = {"coco": coco, "voc": voc, "darknet": darknet, "yolo": yolo, "csv": csv_rows}
"""Formats by the name that ``--format`` takes; the first that recognises a folder reads it."""

DESCRIPTIONS = {".json": "coco", ".yaml": "yolo", ".yml": "yolo", ".data": "darknet", ".csv": "csv"}
"""What a description file's suffix says."""

BUILTIN = "builtin:"

SURVEYED = 20_000
"""Up to this many pictures, all are decoded before anything is built on them; beyond, their headers must do."""

Watch = Callable[[int, int], None]
"""Told of progress: pictures done, pictures in all."""


@dataclass(frozen=True)
class Source:
    """What is read and how: see :func:`read_dataset`."""

    place: str
    format: str | None = None
    selection: Selection = field(default_factory=Selection)
    seed: int = 0


@dataclass(frozen=True)
class Reading:
    """Everything that was read.

    Attributes:
        dataset: in splits; its findings are all there are so far.
        findings: to be added to.
        folder: where the files are; None for a built-in set.
        pictures: all labelled pictures, before they were split; likewise what their decoding found, where they
            were decoded.
        survey: of ``pictures``.
        met: ids of the pictures that labels speak of, usable or not.
    """

    dataset: Dataset
    findings: Findings
    folder: Folder | None = None
    pictures: Samples | None = None
    survey: Survey | None = None
    met: frozenset[str] = frozenset()


def read_dataset(
    source: str | Path,
    *,
    format: str | None = None,
    selection: Selection | None = None,
    seed: int = 0,
    watch: Watch | None = None,
) -> Dataset:
    """A labelled data set from a folder, a description file or ``builtin:digits``.

    Every picture of a set of up to :data:`SURVEYED` is decoded; those that cannot be are left out.

    Args:
        source: where it is; a description file is COCO JSON, YOLO YAML, Darknet ``.data`` or CSV.
        format: one of :data:`READERS` where the recognised one is wrong.
        selection: classes to join, drop or ignore.
        seed: of a split that has to be drawn.
        watch: told of progress.

    Raises:
        UsageError: there is no such source, format or class.
        EdgehoneError: it is not readable as any format, or nothing in it is usable.
    """
    wanted = Source(str(source), format, selection or Selection(), seed)
    reading = open_source(wanted, decode=None, watch=watch)
    refuse_unusable(reading.dataset, reading.findings)
    return reading.dataset


def open_source(
    source: Source, *, decode: bool | None = None, watch: Watch | None = None, findings: Findings | None = None
) -> Reading:
    """Read a source without judging whether it is enough to learn from.

    Args:
        source: what to read.
        decode: whether to decode all pictures; None: up to :data:`SURVEYED` of them.
        watch: told of progress.
        findings: to be added to.
    """
    findings = findings or Findings()
    if source.place.startswith(BUILTIN):
        dataset = digits_dataset(source.place.removeprefix(BUILTIN))
        return Reading(_selected(dataset, source.selection), findings)
    folder, raw = _recognised(source, findings)
    intake = Intake(folder, source.selection, findings)
    intake.take(raw.samples)
    pictures, names = intake.samples(raw.class_names)
    splits = intake.splits
    for path in folder.files:
        if Path(path).suffix.lower() in UNSUPPORTED:
            findings.add("image-unsupported", path, f"{Path(path).suffix} files are not read")
    seen = None
    if folder.pictures and (decode or (decode is None and len(pictures) <= SURVEYED)):
        seen = survey([sample.source for sample in pictures], watch=watch)
        pictures, splits, seen = _decodable(pictures, splits, seen, (intake.truncated, findings))
    places = split_pictures(
        folder, pictures, splits, source.seed, seen if len(pictures) <= SURVEYED else None, findings
    )
    train, val, test = (pictures.take(places[name]) for name in SPLITS)
    name = folder.root.resolve().name
    sight = {} if seen is None else {split: seen.take(np.array(places[split], np.int64)) for split in SPLITS}
    dataset = Dataset(name, raw.format, names, train, val, test, findings.all(), source.place, sight)
    return Reading(dataset, findings, folder, pictures, seen, frozenset(intake.met))


def refuse_unusable(dataset: Dataset, findings: Findings) -> None:
    """Every split needs objects.

    Raises:
        EdgehoneError: with the first errors that were found.
    """
    empty = [name for name, samples in dataset.splits.items() if not any(len(s.classes) for s in samples)]
    if not empty:
        return
    lost = [f"{f.where}: {f.message}" for f in findings.all() if f.severity == "error"]
    raise EdgehoneError(
        f"every split needs labelled objects, but {', '.join(empty)} of {dataset.name} has none: read "
        f"{sum(map(len, dataset.splits.values()))} labelled pictures and {len(dataset.class_names)} classes"
        + "".join(f"; {text}" for text in lost[:3])
        + (f"; and {len(lost) - 3} more such errors" if len(lost) > 3 else "")
        + "; add labels or pictures"
    )


def _recognised(source: Source, findings: Findings) -> tuple[Folder, RawDataset]:
    """The folder, and a reader at work on it."""
    if source.format is not None and source.format not in READERS:
        raise UsageError(f"the formats are {', '.join(READERS)}; got {source.format!r}")
    path = Path(source.place)
    if not path.exists():
        raise UsageError(f"there is no data set at {path}")
    if path.is_dir():
        folder = Folder(path, findings)
        return folder, _read_folder(folder, source.format, findings)
    kind = source.format or DESCRIPTIONS.get(path.suffix.lower())
    if kind is None or kind == "voc":
        raise UsageError(
            f"a description file is COCO JSON (.json), YOLO YAML (.yaml), Darknet (.data) or CSV (.csv), got {path}"
        )
    folder = _folder_of(path, kind, findings)
    findings.add("format", path.name, f"read as {READERS[kind].FORMAT}: a {path.suffix} file was given")
    return folder, READERS[kind].read(folder, findings, path.resolve())


def _folder_of(description: Path, kind: str, findings: Findings) -> Folder:
    """The folder that holds the pictures which a description file speaks of.

    Annotations often lie in a folder of their own, beside that of the pictures: then it is the one above.
    """
    place = description.resolve()
    stated = yolo.stated_root(place) if kind == "yolo" else place.parent
    folder = Folder(stated, findings)
    if folder.pictures:
        return folder
    above = Folder(stated.resolve().parent)
    return above if above.pictures else folder


def _read_folder(folder: Folder, format: str | None, findings: Findings) -> RawDataset:
    reasons = {name: reader.recognise(folder) for name, reader in READERS.items() if format in (None, name)}
    matching = [name for name, reason in reasons.items() if reason is not None]
    name = format or next(iter(matching), None)
    if name is None:
        kinds = ", ".join(sorted({Path(p).suffix.lower() for p in folder.files})) or "no files"
        raise EdgehoneError(
            f"{folder.root} is not recognised as labelled data: looked for COCO JSON (an object with images and "
            "annotations), Pascal VOC (<annotation> XML files), Darknet (a .data file), YOLO (a YAML file with names, "
            "classes.txt, or text files of numbers beside the pictures) and CSV (columns filename, class, xmin, ymin, "
            f"xmax, ymax); it holds {kinds} and {len(folder.pictures)} pictures"
        )
    others = [f"{READERS[other].FORMAT} ({reasons[other]})" for other in matching if other != name]
    also = f"; it could also be read as {', '.join(others)}" if others else ""
    findings.add("format", folder.root.name, f"read as {READERS[name].FORMAT}: {reasons[name] or 'as asked'}{also}")
    found: RawDataset = READERS[name].read(folder, findings)
    return found


def _decodable(
    pictures: Samples, splits: list[str | None], seen: Survey, notes: tuple[set[str], Findings]
) -> tuple[Samples, list[str | None], Survey]:
    """Without the pictures that cannot be decoded; of truncated ones that has been said."""
    truncated, findings = notes
    keep = [place for place, problem in enumerate(seen.problem) if not problem]
    for place, problem in enumerate(seen.problem):
        if problem and pictures.ids[place] not in truncated:
            findings.add("image-unreadable", pictures.ids[place], problem)
    if len(keep) == len(pictures):
        return pictures, splits, seen
    return pictures.take(keep), [splits[place] for place in keep], seen.take(np.array(keep, np.int64))


def _selected(dataset: Dataset, selection: Selection) -> Dataset:
    """A built-in set with other classes."""
    if not selection.named():
        return dataset
    raise UsageError("--merge, --drop and --ignore are for your own data; built-in sets have knobs of their own")
