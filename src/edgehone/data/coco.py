"""COCO JSON, and its common variants: other key names, ids that are texts, several files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgehone.data.dataset import Finding, RawBox, RawDataset, RawSample
from edgehone.data.folder import SPLIT_NAMES, Folder
from edgehone.data.picture import FileImage
from edgehone.errors import EdgehoneError

FORMAT = "COCO JSON"


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
        if b'"images"' in head or b'"annotation' in head or b'"categories"' in head:
            content = _load(path)
            if isinstance(content, dict) and "images" in content and _annotations(content) is not None:
                found.append(path)
    return found


def read(folder: Folder, files: list[Path] | None = None) -> RawDataset:
    """All annotation files together; a file's name or folder may say its split.

    Raises:
        EdgehoneError: a file without the three lists, or with two categories of one id.
    """
    findings: list[Finding] = []
    names: list[str] = []
    samples: dict[str, RawSample] = {}
    for path in files or annotation_files(folder):
        content = _load(path)
        if not isinstance(content, dict) or not isinstance(content.get("images"), list):
            raise EdgehoneError(
                f"{path} must hold an object with the lists images, annotations and categories"
            )
        categories = _categories(content, path)
        names += [name for name in categories.values() if name not in names]
        where = folder.relative(path)
        boxes: dict[str, list[RawBox]] = {}
        for key, box in _boxes(_annotations(content) or [], where, categories, findings):
            boxes.setdefault(key, []).append(box)
        for item in content["images"]:
            sample = _sample(folder, path, item, boxes, findings)
            if sample is not None:
                samples.setdefault(sample.id, sample)
    return RawDataset(FORMAT, tuple(names), list(samples.values()), findings)


def _sample(
    folder: Folder, path: Path, item: Any, boxes: dict[str, list[RawBox]], findings: list[Finding]
) -> RawSample | None:
    name = str(item.get("file_name") or item.get("filename") or "") if isinstance(item, dict) else ""
    split = SPLIT_NAMES.get(path.stem.lower()) or folder.split_of(path)
    hints = [f"{split}/{name}"] if split else []
    picture = (
        next((p for p in (folder.picture_named(hint) for hint in [*hints, name]) if p), None)
        if name
        else None
    )
    if picture is None:
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
    size = None
    try:
        size = (round(float(item["height"])), round(float(item["width"])))
    except (KeyError, TypeError, ValueError, OverflowError):
        pass
    return RawSample(
        folder.relative(picture), FileImage(picture), boxes.get(str(item.get("id")), []), size, split
    )


def _boxes(
    annotations: list[Any], where: str, categories: dict[str, str], findings: list[Finding]
) -> Iterator[tuple[str, RawBox]]:
    for number, item in enumerate(annotations):
        place = f"{where} annotation {item.get('id', number) if isinstance(item, dict) else number}"
        try:
            x, y, w, h = (float(v) for v in item["bbox"])
            key, category = str(item["image_id"]), str(item["category_id"])
        except (KeyError, TypeError, ValueError):
            findings.append(
                Finding("box-unreadable", "warning", place, "no bbox of four numbers", "left out")
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


def _categories(content: dict[str, Any], path: Path) -> dict[str, str]:
    items = content.get("categories")
    if not isinstance(items, list) or not items:
        raise EdgehoneError(f"{path} must name its classes in the list `categories`")
    try:
        found = {str(item["id"]): str(item["name"]) for item in items}
    except (KeyError, TypeError):
        raise EdgehoneError(f"{path}: each category needs an id and a name") from None
    if len(found) != len(items):
        raise EdgehoneError(f"{path}: two categories have the same id")
    return dict(sorted(found.items(), key=lambda pair: (len(pair[0]), pair[0])))


def _annotations(content: dict[str, Any]) -> list[Any] | None:
    found = content.get("annotations", content.get("annotation"))
    return found if isinstance(found, list) else None


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise EdgehoneError(f"{path} is not valid JSON: {error}") from None
