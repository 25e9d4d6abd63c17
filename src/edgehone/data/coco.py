"""COCO JSON and its common variants: other key names, ids that are texts, polygons only, several files.

Files are streamed (ijson), so that a hundred thousand images take little memory.
"""

from __future__ import annotations

import functools
import json
import math
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ijson

from edgehone.data.checks import Findings
from edgehone.data.dataset import RawBox, RawDataset, RawSample
from edgehone.data.folder import Folder, split_of, stem
from edgehone.data.grouped import Corners, Grouped, named_split, place_picture
from edgehone.data.loose import mapping, sequence, text
from edgehone.errors import EdgehoneError
from edgehone.types import Size

FORMAT = "COCO JSON"
MARKS = (b'"images"', b'"annotation', b'"categories"')
"""One of these stands in the first bytes of every COCO file; other JSON need not be parsed."""
ANNOTATIONS = ("annotations", "annotation")
FILE_NAMES = ("file_name", "filename", "path", "name")


def recognise(folder: Folder) -> str | None:
    """Why this folder is COCO; None if it is not."""
    files = annotation_files(folder)
    return f"{files[0]} holds images and annotations" if files else None


def annotation_files(folder: Folder) -> list[str]:
    """JSON files that look like COCO annotations."""
    found: list[str] = []
    for path in folder.with_suffix(".json"):
        place = folder.absolute(path)
        with place.open("rb") as file:
            head = file.read(4000)
        if any(mark in head for mark in MARKS):
            keys = lists_in(place)
            if "images" in keys and any(key in keys for key in ANNOTATIONS):
                found.append(path)
    return found


def read(folder: Folder, findings: Findings, description: Path | None = None) -> RawDataset:
    """All annotation files together; a file's name or folder may say its split.

    Raises:
        EdgehoneError: a file that is not JSON, lacks one of the three lists, or has two categories of one id.
    """
    files = [folder.relative(description)] if description is not None else annotation_files(folder)
    if not files:
        raise EdgehoneError(
            f"COCO data has a JSON file with images, annotations and categories; {folder.root} has none"
        )
    names: list[str] = []
    for path in files:
        _annotation_key(folder.absolute(path))
        names += _categories(folder.absolute(path)).values()
    samples = (sample for path in files for sample in _samples(folder, path, findings))
    return RawDataset(FORMAT, tuple(dict.fromkeys(names)), samples)


def _samples(folder: Folder, path: str, findings: Findings) -> Iterator[RawSample]:
    place = folder.absolute(path)
    split = named_split(stem(path)) or split_of(path)
    images = _images(place, path, findings)
    boxes = _boxes(place, path, findings)
    for key in boxes.pictures:
        if key not in images:
            lost = boxes.of(key)
            message = f"{len(lost)} boxes of image id {key}, which the file does not list"
            findings.add("annotation-without-image", f"{path} annotation {lost[0].number}", message)
    for key, (name, size) in images.items():
        picture = place_picture(folder, name, split, path, findings)
        if picture is not None:
            yield RawSample(picture, boxes.of(key), f"{path} annotation", size, split or split_of(picture))


def _images(place: Path, where: str, findings: Findings) -> dict[str, tuple[str, Size | None]]:
    """Id to file name and stated size."""
    found: dict[str, tuple[str, Size | None]] = {}
    for number, entry in enumerate(_items(place, "images")):
        item = mapping(entry)
        name = next((str(item[key]) for key in FILE_NAMES if item.get(key)), "")
        key = str(item.get("id", name))
        if key in found:
            findings.add("id-twice", f"{where} image number {number}", f"id {key} is that of {found[key][0]}")
            continue
        found[key] = (name, _size(item))
    return found


def _size(item: dict[Any, Any]) -> Size | None:
    try:
        height, width = round(float(item["height"])), round(float(item["width"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return (height, width) if 0 < height < 1 << 20 and 0 < width < 1 << 20 else None


def _boxes(place: Path, where: str, findings: Findings) -> Grouped:
    categories = _categories(place)
    found = Grouped()
    for number, entry in enumerate(_items(place, _annotation_key(place))):
        item = mapping(entry)
        own = item.get("id")
        at = own if isinstance(own, int) and abs(own) < 1 << 62 else number
        spot = f"{where} annotation {at}"
        corners = _corners(item)
        key, category = item.get("image_id"), item.get("category_id")
        if corners is None or key is None or category is None:
            findings.add("box-unreadable", spot, "needs image_id, category_id and a bbox of four numbers or a polygon")
            continue
        crowd = item.get("iscrowd") in (1, True, "1") or item.get("ignore") in (1, True, "1")
        if str(category) not in categories:
            findings.add("class-out-of-range", spot, f"unknown category {category}")
            continue
        if crowd:
            findings.add("crowd-region", spot, "stands for a crowd or is marked to be ignored")
        found.add(str(key), RawBox(categories[str(category)], corners, at, ignored=crowd))
    for at in found.repeated_numbers():
        findings.add("annotation-id-twice", f"{where} annotation {at}", "several annotations have this id")
    return found


def _corners(item: dict[Any, Any]) -> Corners | None:
    """From ``bbox`` (x, y, width, height), else the hull of the polygons in ``segmentation``."""
    try:
        if item.get("bbox"):
            x, y, w, h = (float(v) for v in item["bbox"])
            return x, y, x + w, y + h
        points = [float(v) for part in sequence(item.get("segmentation")) or [] for v in part]
    except (TypeError, ValueError, OverflowError):
        return None
    if len(points) < 6 or not all(map(math.isfinite, points)):
        return None
    return min(points[0::2]), min(points[1::2]), max(points[0::2]), max(points[1::2])


@functools.lru_cache(maxsize=8)
def _categories_at(place: Path, changed_ns: int) -> dict[str, str]:
    del changed_ns
    items = [mapping(entry) for entry in _items(place, "categories")]
    if not items:
        raise EdgehoneError(f"{place} must name its classes in the list `categories`")
    try:
        found = {str(item["id"]): str(item["name"]).strip() for item in items}
    except KeyError:
        raise EdgehoneError(f"{place}: each category needs an id and a name") from None
    if len(found) != len(items):
        raise EdgehoneError(f"{place}: two categories have the same id; give each its own")
    return dict(sorted(found.items(), key=lambda pair: (len(pair[0]), pair[0])))


def _categories(place: Path) -> dict[str, str]:
    """Id to name, in the order of the ids (numbers by value)."""
    return _categories_at(place, place.stat().st_mtime_ns)


def _annotation_key(place: Path) -> str:
    keys = lists_in(place)
    found = next((key for key in ANNOTATIONS if key in keys), None)
    if found is None or "images" not in keys:
        raise EdgehoneError(f"{place} must hold an object with the lists images, annotations and categories")
    return found


def lists_in(place: Path) -> set[str]:
    """Which of COCO's lists the file has, looked for without parsing it."""
    if place.stat().st_size == 0:
        return set()
    with place.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        keys = ("images", *ANNOTATIONS, "categories")
        return {key for key in keys if re.search(rb'"%s"\s*:\s*\[' % key.encode(), content)}


def _items(place: Path, key: str) -> Iterator[Any]:
    """The elements of a list of the top object, one at a time.

    Raises:
        EdgehoneError: the file is not JSON, with the line.
    """
    count = 0
    try:
        with place.open("rb") as file:
            for item in ijson.items(file, f"{key}.item", use_float=True):
                count += 1
                yield item
    except (ijson.JSONError, UnicodeDecodeError):
        # NaN, a byte order mark or odd bytes are more than the streaming parser takes; whole files may have them.
        yield from (sequence(mapping(_load(place)).get(key)) or [])[count:]
    except OSError as error:
        raise EdgehoneError(f"cannot read {place}: {error.strerror}; make it readable") from None


def _load(place: Path) -> Any:
    try:
        return json.loads(text(place))
    except json.JSONDecodeError as error:
        raise EdgehoneError(f"{place} line {error.lineno} is not valid JSON: {error.msg}; repair it") from None
    except (RecursionError, ValueError) as error:
        raise EdgehoneError(f"{place} cannot be read as JSON: {error}; repair it") from None
