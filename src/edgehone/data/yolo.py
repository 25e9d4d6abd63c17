"""YOLO / Ultralytics: one text file a picture, ``class x y w h`` in shares of the sides."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from edgehone.data.dataset import Finding, RawBox, RawDataset, RawSample
from edgehone.data.folder import Folder
from edgehone.data.loose import mapping, sequence, text
from edgehone.data.picture import FileImage
from edgehone.errors import EdgehoneError

FORMAT = "YOLO"
CLASS_LISTS = ("classes.txt", "obj.names")
NOT_LABELS = {"train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt", *CLASS_LISTS}
"""Text files in the top folder, or beside class lists, that hold no boxes."""


def recognise(folder: Folder) -> str | None:
    """Why this folder is YOLO; None if it is not."""
    for path in [*descriptions(folder), *class_lists(folder)]:
        return f"{folder.relative(path)} names the classes"
    return None


def descriptions(folder: Folder) -> list[Path]:
    """YAML files with ``names``, nearest to the top first."""
    files = [*folder.with_suffix(".yaml"), *folder.with_suffix(".yml")]
    return sorted((p for p in files if "names" in mapping(_load(p))), key=lambda p: len(p.parts))


def class_lists(folder: Folder) -> list[Path]:
    """Text files with a class name a line, nearest to the top first."""
    return sorted((p for p in folder.files if p.name.lower() in CLASS_LISTS), key=lambda p: len(p.parts))


def read(folder: Folder, description: Path | None = None) -> RawDataset:
    """Every picture below the folder with its label file; a picture without one has no objects.

    Raises:
        EdgehoneError: no class names, or a YAML file that cannot be read.
    """
    found = [description] if description is not None else descriptions(folder)
    names = _names(found[0]) if found else _class_list(folder)
    splits = _splits(folder, found[0]) if found else {}
    labels = {path.with_suffix(""): path for path in folder.with_suffix(".txt")}
    for name in NOT_LABELS:
        labels.pop((folder.root / name).with_suffix(""), None)
    findings: list[Finding] = []
    samples: list[RawSample] = []
    used: set[Path] = set()
    for picture in folder.pictures:
        label = labels.get(_label_place(picture)) or labels.get(picture.with_suffix(""))
        split = splits.get(picture) or folder.split_of(picture)
        if label is None and split is None and picture.parent == folder.root:
            continue  # a logo or a contact sheet beside the data
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
        else:
            used.add(label)
        boxes = [] if label is None else list(_boxes(label, folder.relative(label), names, findings))
        samples.append(RawSample(folder.relative(picture), FileImage(picture), boxes, split=split))
    findings += _orphans(folder, used)
    return RawDataset(FORMAT, names, samples, findings)


def _label_place(picture: Path) -> Path:
    """``.../images/a/b.jpg`` to ``.../labels/a/b`` (the last folder named images)."""
    parts = list(picture.with_suffix("").parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i].lower() == "images":
            parts[i] = "labels"
            break
    return Path(*parts)


def _orphans(folder: Folder, used: set[Path]) -> Iterator[Finding]:
    """Label files in folders named labels that belong to no picture."""
    for path in folder.with_suffix(".txt"):
        inside = any(part.lower() == "labels" for part in path.relative_to(folder.root).parent.parts)
        if inside and path not in used and path.name.lower() not in NOT_LABELS:
            yield Finding(
                "label-without-image",
                "error",
                folder.relative(path),
                "its picture was not found",
                "left out; put the picture into the images folder",
            )


def _boxes(path: Path, where: str, names: tuple[str, ...], findings: list[Finding]) -> Iterator[RawBox]:
    for number, line in enumerate(text(path).splitlines(), start=1):
        place = f"{where} line {number}"
        if not line.strip():
            continue
        try:
            values = [float(word) for word in line.split()]
        except ValueError:
            values = []
        # 5 values are a box, 6 a box with a score, an odd number from 7 on a polygon of 3 points or more.
        count = len(values)
        if not (count in (5, 6) or (count >= 7 and count % 2)) or not all(map(math.isfinite, values)):
            findings.append(
                Finding(
                    "label-line-unreadable",
                    "warning",
                    place,
                    f"wants a class and four numbers or a polygon, got {line[:60]!r}",
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


def _names(path: Path) -> tuple[str, ...]:
    """From ``names``: a list, or a map whose keys count from 0."""
    stated: Any = mapping(_load(path)).get("names")
    if isinstance(stated, dict):
        by_key = {str(key): name for key, name in mapping(stated).items()}
        stated = [by_key.get(str(number)) for number in range(len(by_key))]
    names = [str(name).strip() for name in sequence(stated) or [] if name is not None]
    if not names or len(names) != len(stated):
        raise EdgehoneError(
            f"{path} must name the classes under `names`, as a list or as a map with the keys 0, 1, 2, ..."
        )
    return _distinct(names, path)


def _class_list(folder: Folder) -> tuple[str, ...]:
    files = class_lists(folder)
    names = [line.strip() for line in text(files[0]).splitlines() if line.strip()] if files else []
    if not names:
        raise EdgehoneError(
            f"YOLO labels need class names: put a YAML file with `names`, or classes.txt, into {folder.root}"
        )
    return _distinct(names, files[0])


def _distinct(names: list[str], path: Path) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise EdgehoneError(f"{path} names a class twice: {', '.join(twice)}; give each its own name")
    return tuple(names)


def stated_root(path: Path) -> Path:
    """The folder that a YAML file's ``path`` points to where that exists, else the file's own."""
    stated = mapping(_load(path)).get("path")
    root = path.parent / stated if isinstance(stated, str) else path.parent
    return root if root.is_dir() else path.parent


def _splits(folder: Folder, path: Path) -> dict[Path, str]:
    """Picture to split, from the entries train, val and test: folders, list files, or lists of them."""
    content = mapping(_load(path))
    base = stated_root(path)
    found: dict[Path, str] = {}
    for split, keys in {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}.items():
        stated: Any = next((content[key] for key in keys if content.get(key)), None)
        for entry in [stated] if isinstance(stated, str) else sequence(stated) or []:
            for picture in _listed(base, path.parent, str(entry), folder):
                found.setdefault(picture, split)
    return found


def _listed(base: Path, beside: Path, entry: str, folder: Folder) -> list[Path]:
    for place in (base / entry, beside / entry, beside / entry.removeprefix("../")):
        target = place.resolve()
        if target.is_dir():
            return [p for p in folder.pictures if target in p.resolve().parents]
        if target.is_file() and target.suffix == ".txt":
            lines = [line.strip() for line in text(target).splitlines() if line.strip()]
            return [p for p in (folder.picture_named(line) for line in lines) if p is not None]
    return []


def _load(path: Path) -> Any:
    try:
        return yaml.safe_load(text(path))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        detail = " ".join(str(error).split())
        raise EdgehoneError(f"{path} is not valid YAML: {detail}; repair it") from None
