"""YOLO / Ultralytics: one text file a picture, ``class x y w h`` in shares of the sides."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from edgehone.data.dataset import Finding, RawBox, RawDataset, RawSample
from edgehone.data.folder import Folder
from edgehone.data.picture import FileImage
from edgehone.errors import EdgehoneError

FORMAT = "YOLO"
LISTS = {"train.txt", "val.txt", "valid.txt", "test.txt", "classes.txt", "readme.txt"}


def recognise(folder: Folder) -> str | None:
    """Why this folder is YOLO; None if it is not."""
    for path in descriptions(folder):
        return f"{folder.relative(path)} names the classes"
    names = folder.root / "classes.txt"
    if names.is_file():
        return "classes.txt names the classes"
    return None


def descriptions(folder: Folder) -> list[Path]:
    """YAML files with ``names``, nearest to the top first."""
    files = sorted([*folder.with_suffix(".yaml"), *folder.with_suffix(".yml")], key=lambda p: len(p.parts))
    return [path for path in files if isinstance(_load(path), dict) and "names" in _load(path)]


def read(folder: Folder, description: Path | None = None) -> RawDataset:
    """Every picture below the folder with its label file; a picture without one has no objects."""
    found = [description] if description is not None else descriptions(folder)
    names = _names(_load(found[0]), found[0]) if found else _class_list(folder.root / "classes.txt")
    splits = _splits(folder, _load(found[0]), found[0]) if found else {}
    labels = {
        path.with_suffix(""): path for path in folder.with_suffix(".txt") if path.name.lower() not in LISTS
    }
    findings: list[Finding] = []
    samples: list[RawSample] = []
    for picture in folder.pictures:
        label = labels.get(_label_place(picture)) or labels.get(picture.with_suffix(""))
        if label is None:
            findings.append(
                Finding(
                    "image-without-label",
                    "note",
                    folder.relative(picture),
                    "no label file",
                    "counts as a picture without objects",
                )
            )
        boxes = [] if label is None else list(_boxes(label, folder.relative(label), names, findings))
        split = splits.get(picture) or folder.split_of(picture)
        samples.append(RawSample(folder.relative(picture), FileImage(picture), boxes, split=split))
    return RawDataset(FORMAT, names, samples, findings)


def _label_place(picture: Path) -> Path:
    """``.../images/a/b.jpg`` to ``.../labels/a/b`` (the last folder named images)."""
    parts = list(picture.with_suffix("").parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i].lower() == "images":
            parts[i] = "labels"
            break
    return Path(*parts)


def _boxes(path: Path, where: str, names: tuple[str, ...], findings: list[Finding]) -> Iterator[RawBox]:
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        place = f"{where} line {number}"
        if not line.strip():
            continue
        try:
            values = [float(word) for word in line.split()]
        except ValueError:
            values = []
        if len(values) < 5 or not all(map(math.isfinite, values)):
            findings.append(
                Finding(
                    "label-line-unreadable",
                    "warning",
                    place,
                    f"wants a class and four numbers, got {line[:60]!r}",
                    "left out",
                )
            )
            continue
        index = int(values[0])
        if index != values[0] or not 0 <= index < len(names):
            findings.append(
                Finding(
                    "class-out-of-range",
                    "error",
                    place,
                    f"class {line.split()[0]} of {len(names)}",
                    "left out; correct the class",
                )
            )
            continue
        yield RawBox(names[index], _corners(values[1:]), place, relative=True)


def _corners(values: list[float]) -> tuple[float, float, float, float]:
    """Centre and sides, or the hull of a polygon."""
    if len(values) < 6:
        x, y, w, h = values[:4]
        return x - w / 2, y - h / 2, x + w / 2, y + h / 2
    xs, ys = values[0::2], values[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _names(content: Any, path: Path) -> tuple[str, ...]:
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names)]
    if not isinstance(names, list) or not names:
        raise EdgehoneError(f"{path} must name the classes as a list or a map under `names`")
    return tuple(str(name) for name in names)


def _class_list(path: Path) -> tuple[str, ...]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise EdgehoneError(
            f"YOLO labels need class names: a YAML file with `names`, or {path.name}, beside them"
        )
    return names


def _splits(folder: Folder, content: Any, path: Path) -> dict[Path, str]:
    """Picture to split, from the entries train, val and test: folders, list files, or lists of them."""
    base = path.parent
    stated = content.get("path")
    if isinstance(stated, str) and (base / stated).is_dir():
        base = base / stated
    found: dict[Path, str] = {}
    for split in ("train", "val", "test"):
        entries = content.get(split) or []
        for entry in [entries] if isinstance(entries, str) else entries:
            for picture in _listed(base, path.parent, str(entry), folder):
                found[picture] = split
    return found


def _listed(base: Path, beside: Path, entry: str, folder: Folder) -> list[Path]:
    for place in (base / entry, beside / entry, beside / entry.removeprefix("../")):
        target = Path(place).resolve()
        if target.is_dir():
            return [p for p in folder.pictures if target in p.resolve().parents]
        if target.is_file() and target.suffix == ".txt":
            lines = target.read_text(encoding="utf-8").split()
            return [p for p in (folder.picture_named(line) for line in lines) if p is not None]
    return []


def _load(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8", errors="replace"))
    except yaml.YAMLError as error:
        raise EdgehoneError(f"{path} is not valid YAML: {error}") from None
