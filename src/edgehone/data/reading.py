"""From a source to a data set that can be trusted: recognise, read, decode, repair, split, with a ledger."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np

from edgehone.data import coco, voc, yolo
from edgehone.data.dataset import Dataset, Finding, RawBox, RawDataset, RawSample, Sample
from edgehone.data.digits import digits_dataset
from edgehone.data.folder import Folder
from edgehone.data.splits import SPLITS, split_samples
from edgehone.data.yolo import stated_root
from edgehone.errors import EdgehoneError, UsageError
from edgehone.types import Size

READERS: dict[str, ModuleType] = {"coco": coco, "voc": voc, "yolo": yolo}
"""Formats by the name that ``--format`` takes; the first that recognises a folder reads it."""

YAML = (".yaml", ".yml")
BUILTIN = "builtin:"
MIN_SIDE_PX = 1.0


def read_dataset(source: str | Path, *, format: str | None = None, seed: int = 0) -> Dataset:
    """A labelled data set from a folder, a description file (COCO JSON, YOLO YAML) or ``builtin:digits``.

    Args:
        source: where it is.
        format: one of :data:`READERS` where the recognised one is wrong.
        seed: of a split that has to be drawn.

    Raises:
        UsageError: there is no such source or format.
        EdgehoneError: it is not readable as any format, or nothing in it is usable.
    """
    text = str(source)
    if text.startswith(BUILTIN):
        return digits_dataset(text.removeprefix(BUILTIN))
    if format is not None and format not in READERS:
        raise UsageError(f"the formats are {', '.join(READERS)}; got {format!r}")
    path = Path(source)
    if not path.exists():
        raise UsageError(f"there is no data set at {path}")
    if path.is_dir():
        folder = Folder(path)
        return _trusted(folder, _read_folder(folder, format), text, seed)
    folder = _folder_of(path)
    return _trusted(folder, _read_file(folder, path), text, seed)


def _folder_of(description: Path) -> Folder:
    """The folder that holds the pictures which a description file speaks of.

    Annotations often lie in a folder of their own, beside that of the pictures: then it is the one above.
    """
    stated = stated_root(description) if description.suffix.lower() in YAML else description.parent
    folder = Folder(stated)
    return folder if folder.pictures else Folder(stated.resolve().parent)


def _read_folder(folder: Folder, format: str | None) -> RawDataset:
    for name, reader in READERS.items():
        reason = reader.recognise(folder) if format in (None, name) else None
        if reason is not None or format == name:
            raw: RawDataset = reader.read(folder)
            note = Finding(
                "format",
                "note",
                folder.root.name,
                f"read as {raw.format}: {reason or 'as asked'}",
                "override with --format if this is wrong",
            )
            return RawDataset(raw.format, raw.class_names, raw.samples, [note, *raw.findings])
    kinds = ", ".join(sorted({p.suffix.lower() for p in folder.files})) or "no files"
    raise EdgehoneError(
        f"{folder.root} is not recognised as labelled data: looked for COCO JSON (an object with images "
        f"and annotations), Pascal VOC (<annotation> XML files) and YOLO (a YAML file with names, or "
        f"classes.txt); "
        f"it holds {kinds} and {len(folder.pictures)} pictures"
    )


def _read_file(folder: Folder, path: Path) -> RawDataset:
    if path.suffix.lower() == ".json":
        return coco.read(folder, [path])
    if path.suffix.lower() in YAML:
        return yolo.read(folder, path)
    raise UsageError(f"a description file is COCO JSON (.json) or YOLO YAML (.yaml), got {path}")


def _trusted(folder: Folder, raw: RawDataset, source: str, seed: int) -> Dataset:
    findings = list(raw.findings)
    samples = _once(raw.samples, findings)
    chosen, notes = split_samples(folder, samples, seed)
    findings += notes
    used = [sample for sample in samples if sample.id in chosen]
    splits: dict[str, list[Sample]] = {name: [] for name in SPLITS}
    for sample, size in zip(used, _decode_all(used), strict=True):
        if isinstance(size, str):
            findings.append(Finding("image-unreadable", "error", sample.id, size, "left out; repair or remove it"))
            continue
        splits[chosen[sample.id]].append(_sample(sample, size, raw.class_names, findings))
    empty = [name for name in SPLITS if not any(len(s.classes) for s in splits[name])]
    if empty:
        lost = [f"{f.where}: {f.message}" for f in findings if f.severity == "error"]
        raise EdgehoneError(
            f"every split needs labelled objects, but {', '.join(empty)} of {folder.root} has none: read "
            f"{len(raw.samples)} labelled pictures and {len(raw.class_names)} classes"
            + "".join(f"; {text}" for text in lost[:3])
            + (f"; and {len(lost) - 3} more such errors" if len(lost) > 3 else "")
            + "; add labels or pictures"
        )
    train, val, test = (tuple(splits[name]) for name in SPLITS)
    name = folder.root.resolve().name
    return Dataset(name, raw.format, raw.class_names, train, val, test, tuple(findings), source)


def _once(samples: Sequence[RawSample], findings: list[Finding]) -> list[RawSample]:
    """Each picture once: where several annotations describe one, the first counts."""
    found: dict[str, RawSample] = {}
    for sample in samples:
        if sample.id in found:
            findings.append(
                Finding(
                    "image-labelled-twice",
                    "warning",
                    sample.id,
                    f"annotated twice: {len(found[sample.id].boxes)} boxes, then {len(sample.boxes)}",
                    "the first annotation counts; remove the other",
                )
            )
        found.setdefault(sample.id, sample)
    return list(found.values())


def _decode_all(samples: Sequence[RawSample]) -> list[Size | str]:
    """The size of every decoded picture, or why it cannot be decoded."""

    def decode(sample: RawSample) -> Size | str:
        try:
            height, width = sample.source.read().shape[:2]
        except EdgehoneError as error:
            return str(error)
        return height, width

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(decode, samples))


def _sample(raw: RawSample, size: Size, names: tuple[str, ...], findings: list[Finding]) -> Sample:
    if raw.size is not None and raw.size != size:
        turned = raw.size == (size[1], size[0])
        findings.append(
            Finding(
                "size-turned" if turned else "size-disagrees",
                "warning",
                raw.id,
                f"the annotation says {raw.size[1]} x {raw.size[0]}, the picture is "
                f"{size[1]} x {size[0]} (width x height)"
                + (": labelled before its EXIF orientation was applied?" if turned else ""),
                "the picture counts; look at its boxes",
            )
        )
    boxes: list[tuple[float, float, float, float]] = []
    classes: list[int] = []
    for box in raw.boxes:
        clipped = _clip(box, size, findings)
        if clipped is not None:
            boxes.append(clipped)
            classes.append(names.index(box.label))
    return Sample(raw.id, size, np.array(boxes, np.float32).reshape(-1, 4), np.array(classes, np.int64), raw.source)


def _clip(box: RawBox, size: Size, findings: list[Finding]) -> tuple[float, float, float, float] | None:
    """The box in pixels inside the picture; None where nothing of it is left."""
    height, width = size
    scale = (width, height, width, height) if box.relative else (1, 1, 1, 1)
    pixels = tuple(v * s for v, s in zip(box.xyxy, scale, strict=True))
    if not all(np.isfinite(pixels)):
        findings.append(Finding("box-not-finite", "warning", box.where, f"{box.xyxy}", "left out"))
        return None
    x1, y1, x2, y2 = pixels
    if x2 <= x1 or y2 <= y1:
        findings.append(
            Finding(
                "box-degenerate",
                "warning",
                box.where,
                f"{box.label}: no area between ({x1:g}, {y1:g}) and ({x2:g}, {y2:g})",
                "left out",
            )
        )
        return None
    inside = (
        min(max(x1, 0), width),
        min(max(y1, 0), height),
        min(max(x2, 0), width),
        min(max(y2, 0), height),
    )
    if inside[2] - inside[0] < MIN_SIDE_PX or inside[3] - inside[1] < MIN_SIDE_PX:
        findings.append(
            Finding(
                "box-outside",
                "warning",
                box.where,
                f"{box.label}: less than a pixel wide or high inside the picture",
                "left out",
            )
        )
        return None
    # Up to a pixel over the edge is how tools that count from 1 write a box that ends at the edge.
    over = max(abs(a - b) for a, b in zip(pixels, inside, strict=True))
    if over > 1.0:
        findings.append(
            Finding(
                "box-clipped",
                "note",
                box.where,
                f"{box.label}: reaches {over:.0f} px over the edge",
                "clipped to the picture",
            )
        )
    return inside
