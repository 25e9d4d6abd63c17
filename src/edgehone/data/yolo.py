"""YOLO / Ultralytics: one text file a picture, ``class x y w h`` or a polygon, in shares of the sides."""

from __future__ import annotations

import fnmatch
import math
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from edgehone.data.checks import Findings
from edgehone.data.dataset import RawBox, RawDataset, RawSample
from edgehone.data.folder import Folder, split_of
from edgehone.data.loose import lines, mapping, sequence, text
from edgehone.errors import EdgehoneError

FORMAT = "YOLO"
CLASS_LISTS = ("classes.txt", "obj.names", "_darknet.labels", "predefined_classes.txt")
NOT_LABELS = ("train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt", "requirements.txt")
"""Text files that hold no boxes, unless they lie in a folder named labels."""

MOST_CLASSES = 10_000


def recognise(folder: Folder) -> str | None:
    """Why this folder is YOLO; None if it is not."""
    for path in [*descriptions(folder), *class_lists(folder)]:
        return f"{path} names the classes"
    labels = label_files(folder)
    with_label = sum(_label_of(picture, labels) is not None for picture in folder.pictures[:50])
    if with_label and all(_looks_like_labels(folder.absolute(path)) for path in list(labels.values())[:20]):
        return f"pictures have text files of their name with a class and four numbers a line ({with_label} looked at)"
    return None


def descriptions(folder: Folder) -> list[str]:
    """YAML files with ``names``, nearest to the top first."""
    files = folder.with_suffix(".yaml", ".yml")
    # A YAML file about something else need not even be valid.
    speaking = (p for p in files if "names" in text(folder.absolute(p)))
    return sorted((p for p in speaking if "names" in mapping(load_yaml(folder.absolute(p)))), key=_depth)


def class_lists(folder: Folder) -> list[str]:
    """Text files with a class name a line, nearest to the top first."""
    return sorted((p for p in folder.files if posixpath.basename(p).lower() in CLASS_LISTS), key=_depth)


def _depth(path: str) -> tuple[int, str]:
    return path.count("/"), path


def read(folder: Folder, findings: Findings, description: Path | None = None) -> RawDataset:
    """Every picture below the folder with its label file; a picture without one has no objects.

    Raises:
        EdgehoneError: class names that are not distinct, or a YAML file that cannot be read.
    """
    found = [description] if description is not None else [folder.absolute(p) for p in descriptions(folder)]
    splits: dict[str, str] = {}
    if found:
        names = _names(found[0])
        splits = _splits(folder, found[0], findings)
    elif class_lists(folder):
        names = name_list(folder.absolute(class_lists(folder)[0]), findings)
    else:
        names = _numbered(folder, findings)
    return RawDataset(FORMAT, names, labelled_pictures(folder, names, splits, findings))


def labelled_pictures(
    folder: Folder, names: tuple[str, ...], splits: Mapping[str, str], findings: Findings
) -> Iterator[RawSample]:
    """Every picture with the boxes of its label file; at the end, label files that are left over."""
    labels = label_files(folder)
    used: set[str] = set()
    for picture in folder.pictures:
        label = _label_of(picture, labels)
        split = splits.get(picture) or split_of(picture)
        if label is None and split is None and "/" not in picture:
            continue  # a logo or a contact sheet beside the data
        if label is None:
            findings.add("image-without-label", picture, "no label file", sample=picture)
        else:
            used.add(label)
        boxes = [] if label is None else list(_boxes(folder.absolute(label), label, names, findings))
        yield RawSample(picture, boxes, f"{label} line" if label else "", split=split)
    for label in labels.values():
        inside = any(part.lower() == "labels" for part in label.split("/")[:-1])
        if inside and label not in used:
            findings.add("label-without-image", label, "its picture was not found")


def label_files(folder: Folder) -> dict[str, str]:
    """Path without suffix to label file."""
    found: dict[str, str] = {}
    for path in folder.with_suffix(".txt"):
        name = posixpath.basename(path).lower()
        inside = "labels" in path.lower().split("/")[:-1]
        if name not in CLASS_LISTS and (inside or name not in NOT_LABELS):
            found[path.removesuffix(".txt")] = path
    return found


def _label_of(picture: str, labels: Mapping[str, str]) -> str | None:
    """``images/a/b.jpg`` to ``labels/a/b.txt`` (the last folder named images), else the file beside it."""
    plain = posixpath.splitext(picture)[0]
    parts = plain.split("/")
    for i in range(len(parts) - 2, -1, -1):
        if parts[i].lower() == "images":
            parts[i] = "labels"
            break
    return labels.get("/".join(parts)) or labels.get(plain)


def _boxes(path: Path, where: str, names: tuple[str, ...], findings: Findings) -> Iterator[RawBox]:
    content, clean = lines(path)
    if not clean:
        findings.add("encoding", where, "bytes that are not UTF-8")
    for number, line in enumerate(content, start=1):
        place = f"{where} line {number}"
        if not line.strip():
            continue
        values = _numbers(line)
        if values is None:
            findings.add("label-line-unreadable", place, f"wants a class and four numbers or a polygon: {line[:60]!r}")
            continue
        index = int(values[0])
        if index != values[0] or not 0 <= index < len(names):
            findings.add("class-out-of-range", place, f"class {line.split()[0]} of {len(names)}")
            continue
        yield RawBox(names[index], _corners(values[1:]), number, relative=True)


def _numbers(line: str) -> list[float] | None:
    """A class and four numbers, those and a confidence, or a class and the points of a polygon."""
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return None
    if not values or not math.isfinite(values[0]):
        return None
    return values if len(values) in (5, 6) or (len(values) >= 7 and len(values) % 2 == 1) else None


def _corners(values: list[float]) -> tuple[float, float, float, float]:
    """Centre and sides, or the hull of a polygon."""
    if len(values) < 6:
        x, y, w, h = values[:4]
        return x - w / 2, y - h / 2, x + w / 2, y + h / 2
    if not all(map(math.isfinite, values)):
        return math.nan, math.nan, math.nan, math.nan
    xs, ys = values[0::2], values[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _looks_like_labels(path: Path) -> bool:
    rows = [line for line in lines(path)[0][:20] if line.strip()]
    return all(_numbers(row) is not None for row in rows)


def _numbered(folder: Folder, findings: Findings) -> tuple[str, ...]:
    """Names for classes that nobody has named: up to the largest number in any label file."""
    largest = -1
    for path in label_files(folder).values():
        for line in lines(folder.absolute(path))[0]:
            values = _numbers(line)
            if values is not None and values[0] < MOST_CLASSES:
                largest = max(largest, int(values[0]))
    if largest < 0:
        raise EdgehoneError(
            f"YOLO labels need class names: put a YAML file with `names`, or classes.txt, into {folder.root}"
        )
    findings.add("class-names-missing", folder.root.name, f"{largest + 1} classes are called class 0, class 1, ...")
    return tuple(f"class {number}" for number in range(largest + 1))


def _names(path: Path) -> tuple[str, ...]:
    """From ``names``: a list, or a map whose keys count from 0."""
    stated: Any = mapping(load_yaml(path)).get("names")
    if isinstance(stated, dict):
        by_key = {str(key): name for key, name in mapping(stated).items() if isinstance(key, str | int)}
        stated = [by_key.get(str(number)) for number in range(len(by_key))]
    # Only scalars: a list of lists that refer to each other would become a very long text.
    names = [str(name).strip() for name in sequence(stated) or [] if isinstance(name, str | int | float)]
    if not names or len(names) != len(stated):
        raise EdgehoneError(
            f"{path} must name the classes under `names`, as a list or as a map with the keys 0, 1, 2, ..."
        )
    return distinct(names, path)


def name_list(path: Path, findings: Findings) -> tuple[str, ...]:
    """A class name a line.

    Raises:
        EdgehoneError: no name, or one twice.
    """
    content, clean = lines(path)
    if not clean:
        findings.add("encoding", path.name, "bytes that are not UTF-8")
    names = [line.strip() for line in content if line.strip()]
    if not names:
        raise EdgehoneError(f"YOLO labels need class names, but {path} has none: write one a line")
    return distinct(names, path)


def distinct(names: list[str], path: Path) -> tuple[str, ...]:
    """The names, if none comes twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise EdgehoneError(f"{path} names a class twice: {', '.join(twice)}; give each its own name")
    return tuple(names)


def stated_root(path: Path) -> Path:
    """The folder that a YAML file's ``path`` points to where that exists, else the file's own."""
    stated = mapping(load_yaml(path)).get("path")
    if not isinstance(stated, str):
        return path.parent
    try:
        return path.parent / stated if (path.parent / stated).is_dir() else path.parent
    except (OSError, ValueError):  # more than a name can hold, or a zero byte
        return path.parent


def _splits(folder: Folder, path: Path, findings: Findings) -> dict[str, str]:
    """Picture to split, from the entries train, val and test: folders, list files, globs, or lists of them."""
    content = mapping(load_yaml(path))
    places = [folder.relative(stated_root(path)), folder.relative(path.parent)]
    found: dict[str, str] = {}
    for split, keys in {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}.items():
        stated: Any = next((content[key] for key in keys if content.get(key)), None)
        listed = [stated] if isinstance(stated, str) else sequence(stated) or []
        for entry in (item for item in listed if isinstance(item, str)):
            for picture in _listed(folder, places, entry):
                if found.setdefault(picture, split) != split:
                    findings.add("split-overlap", f"{path.name} {split}", f"{picture} is also in {found[picture]}")
    return found


def _listed(folder: Folder, places: list[str], entry: str) -> list[str]:
    """The pictures that an entry stands for: below a folder, in a list file, or of a pattern."""
    wanted = entry.replace("\\", "/")
    tries = [wanted, wanted.removeprefix("../")]
    for place in [posixpath.normpath(posixpath.join(base, t)) for t in tries for base in places]:
        inside = "" if place == "." else place + "/"
        below = [picture for picture in folder.pictures if picture.startswith(inside)]
        if below:
            return below
        if place in folder.files:
            return listed_pictures(folder, lines(folder.absolute(place))[0])
        if "*" in place:
            return [picture for picture in folder.pictures if fnmatch.fnmatch(picture, place)]
    return []


def listed_pictures(folder: Folder, names: Iterable[str]) -> list[str]:
    """The pictures that a list names and that are there."""
    found = (folder.picture_named(line.strip()) for line in names if line.strip())
    return [picture for picture in found if picture is not None]


def load_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        EdgehoneError: it is not YAML.
    """
    try:
        return yaml.safe_load(text(path))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        detail = " ".join(str(error).split())
        raise EdgehoneError(f"{path} is not valid YAML: {detail}; repair it") from None
