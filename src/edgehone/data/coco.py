"""COCO JSON, and its common variants: other key names, ids that are texts, several files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgehone.data.dataset import Finding, RawBox, RawDataset, RawSample
from edgehone.data.folder import SPLIT_NAMES, Folder
from edgehone.data.loose import mapping, sequence, text
from edgehone.data.picture import FileImage
from edgehone.errors import EdgehoneError
from edgehone.types import Size

FORMAT = "COCO JSON"
MARKS = (b'"images"', b'"annotation', b'"categories"')
"""One of these stands in the first bytes of every COCO file; other JSON need not be parsed."""


def recognise(folder: Folder) -> str | None:
    """Why this folder is COCO; None if it is not."""
    files = annotation_files(folder)
    return f"{folder.relative(files[0])} holds images and annotations" if files else None


def annotation_files(folder: Folder) -> list[Path]:
    """JSON files that look like COCO annotations."""
    found: list[Path] = []
    for path in folder.with_suffix(".json"):
        with path.open("rb") as file:
            head = file.read(4000)
        if any(mark in head for mark in MARKS):
            content = mapping(_load(path))
            if "images" in content and _annotations(content) is not None:
                found.append(path)
    return found


def read(folder: Folder, files: Sequence[Path] | None = None) -> RawDataset:
    """All annotation files together; a file's name or folder may say its split.

    Raises:
        EdgehoneError: a file that is not JSON, lacks one of the three lists, or has two categories of one id.
    """
    findings: list[Finding] = []
    names: list[str] = []
    samples: list[RawSample] = []
    for path in files or annotation_files(folder):
        content = mapping(_load(path))
        images, annotations = sequence(content.get("images")), _annotations(content)
        if images is None or annotations is None:
            raise EdgehoneError(f"{path} must hold an object with the lists images, annotations and categories")
        categories = _categories(content, path)
        names += [name for name in categories.values() if name not in names]
        boxes: dict[str, list[RawBox]] = {}
        for key, box in _boxes(annotations, folder.relative(path), categories, findings):
            boxes.setdefault(key, []).append(box)
        for item in images:
            sample = _sample(folder, path, mapping(item), boxes, findings)
            if sample is not None:
                samples.append(sample)
        findings += _orphans(folder.relative(path), images, boxes)
    return RawDataset(FORMAT, tuple(dict.fromkeys(names)), samples, findings)


def _sample(
    folder: Folder, path: Path, item: dict[Any, Any], boxes: dict[str, list[RawBox]], findings: list[Finding]
) -> RawSample | None:
    name = str(item.get("file_name") or item.get("filename") or "")
    split = SPLIT_NAMES.get(path.stem.lower()) or _named_split(path.stem) or folder.split_of(path)
    # Pictures of equal name in train/ and test/ are told apart by the split of the file that lists them.
    hints = [f"{split}/{name}", name] if split else [name]
    found = [p for p in map(folder.picture_named, hints) if p is not None] if name else []
    if not found:
        findings.append(
            Finding(
                "label-without-image",
                "error",
                f"{folder.relative(path)} image {name!r}",
                "its picture was not found",
                "left out; put the picture below the folder",
            )
        )
        return None
    labels = boxes.get(str(item.get("id")), [])
    return RawSample(folder.relative(found[0]), FileImage(found[0]), labels, _size(item), split)


def _named_split(stem: str) -> str | None:
    """The split in names such as ``instances_train2017``."""
    for word in stem.lower().replace("-", "_").split("_"):
        if word.rstrip("0123456789") in SPLIT_NAMES:
            return SPLIT_NAMES[word.rstrip("0123456789")]
    return None


def _size(item: dict[Any, Any]) -> Size | None:
    try:
        return round(float(item["height"])), round(float(item["width"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _orphans(where: str, images: list[Any], boxes: dict[str, list[RawBox]]) -> Iterator[Finding]:
    known = {str(mapping(item).get("id")) for item in images}
    for key, lost in boxes.items():
        if key not in known:
            yield Finding(
                "annotation-without-image",
                "error",
                lost[0].where,
                f"{len(lost)} boxes of image id {key}, which {where} does not list",
                "left out; list the image",
            )


def _boxes(
    annotations: list[Any], where: str, categories: dict[str, str], findings: list[Finding]
) -> Iterator[tuple[str, RawBox]]:
    for number, entry in enumerate(annotations):
        item = mapping(entry)
        place = f"{where} annotation {item.get('id', f'number {number}')}"
        try:
            x, y, w, h = (float(v) for v in item["bbox"])
            key, category = str(item["image_id"]), str(item["category_id"])
        except (KeyError, TypeError, ValueError, OverflowError):
            findings.append(
                Finding(
                    "box-unreadable",
                    "warning",
                    place,
                    "needs image_id, category_id and a bbox of four numbers",
                    "left out",
                )
            )
            continue
        if item.get("iscrowd") in (1, True, "1"):
            findings.append(Finding("crowd-region", "note", place, "stands for a crowd", "left out"))
        elif category not in categories:
            findings.append(
                Finding(
                    "class-out-of-range",
                    "error",
                    place,
                    f"unknown category {category}",
                    "left out; add the category",
                )
            )
        elif not all(map(math.isfinite, (x, y, w, h))):
            findings.append(Finding("box-not-finite", "warning", place, f"bbox {item['bbox']}", "left out"))
        else:
            yield key, RawBox(categories[category], (x, y, x + w, y + h), place)


def _categories(content: dict[Any, Any], path: Path) -> dict[str, str]:
    """Id to name, in the order of the ids (numbers by value)."""
    items = sequence(content.get("categories"))
    if not items:
        raise EdgehoneError(f"{path} must name its classes in the list `categories`")
    try:
        found = {str(item["id"]): str(item["name"]) for item in items}
    except (KeyError, TypeError):
        raise EdgehoneError(f"{path}: each category needs an id and a name") from None
    if len(found) != len(items):
        raise EdgehoneError(f"{path}: two categories have the same id; give each its own")
    return dict(sorted(found.items(), key=lambda pair: (len(pair[0]), pair[0])))


def _annotations(content: dict[Any, Any]) -> list[Any] | None:
    return sequence(content.get("annotations", content.get("annotation")))


def _load(path: Path) -> Any:
    try:
        return json.loads(text(path))
    except json.JSONDecodeError as error:
        raise EdgehoneError(f"{path} line {error.lineno} is not valid JSON: {error.msg}; repair it") from None
    except (RecursionError, ValueError) as error:
        raise EdgehoneError(f"{path} cannot be read as JSON: {error}; repair it") from None
