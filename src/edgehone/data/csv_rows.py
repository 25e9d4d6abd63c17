"""CSV: a box a row, as the TensorFlow object detection tutorials write it, or under plain names.

The header names the columns, in any order: the picture (``filename``, ``image``, ``path``), the class (``class``,
``label``, ``name``), the corners in pixels (``xmin ymin xmax ymax`` or ``x1 y1 x2 y2``), and optionally ``width``,
``height`` and ``split``. A row without class and corners is a picture without objects.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgehone.data.checks import Findings
from edgehone.data.dataset import RawBox, RawDataset, RawSample
from edgehone.data.folder import SPLIT_NAMES, Folder, split_of, stem
from edgehone.data.grouped import Grouped, named_split, place_picture
from edgehone.data.loose import text
from edgehone.errors import EdgehoneError
from edgehone.types import Size

FORMAT = "CSV"
COLUMNS = {
    "picture": ("filename", "file_name", "image", "image_path", "path", "file", "image_id", "imageid"),
    "class": ("class", "label", "name", "class_name", "category", "labelname"),
    "x1": ("xmin", "x1", "left", "x_min"),
    "y1": ("ymin", "y1", "top", "y_min"),
    "x2": ("xmax", "x2", "right", "x_max"),
    "y2": ("ymax", "y2", "bottom", "y_max"),
    "width": ("width", "image_width"),
    "height": ("height", "image_height"),
    "split": ("split", "set", "subset"),
}
"""What a column is called, first match counts; lower case."""

NEEDED = ("picture", "class", "x1", "y1", "x2", "y2")


def recognise(folder: Folder) -> str | None:
    """Why this folder is CSV; None if it is not."""
    files = tables(folder)
    return f"{files[0]} has the columns of a picture, a class and four corners" if files else None


def tables(folder: Folder) -> list[str]:
    """CSV files with the needed columns."""
    found: list[str] = []
    for path in folder.with_suffix(".csv"):
        with folder.absolute(path).open(encoding="utf-8-sig", errors="replace") as file:
            head = file.readline(4000)
        if all(key in columns(next(csv.reader([head]), list[str]())) for key in NEEDED):
            found.append(path)
    return found


def columns(header: list[str]) -> dict[str, int]:
    """What each needed column is to its place."""
    names = [name.strip().lower() for name in header]
    found = {key: [names.index(alias) for alias in aliases if alias in names] for key, aliases in COLUMNS.items()}
    return {key: places[0] for key, places in found.items() if places}


def read(folder: Folder, findings: Findings, description: Path | None = None) -> RawDataset:
    """All tables together; a table's name or folder may say its split. Classes in alphabetical order.

    Raises:
        EdgehoneError: no table, or one without the needed columns.
    """
    files = [folder.relative(description)] if description is not None else tables(folder)
    if not files:
        raise EdgehoneError(f"a table has the columns filename, class, xmin, ymin, xmax, ymax; {folder.root} has none")
    return RawDataset(FORMAT, None, (sample for path in files for sample in _samples(folder, path, findings)))


def _samples(folder: Folder, path: str, findings: Findings) -> Iterator[RawSample]:
    rows = csv.reader(text(folder.absolute(path)).splitlines())
    place = columns(_next(rows, path, findings) or [])
    missing = [key for key in NEEDED if key not in place]
    if missing:
        raise EdgehoneError(f"{path} needs the columns {', '.join(COLUMNS[key][0] for key in missing)}")
    split = named_split(stem(path)) or split_of(path)
    found = Grouped()
    sizes: dict[str, Size] = {}
    splits: dict[str, str] = {}
    while (row := _next(rows, path, findings)) is not None:
        if not any(cell.strip() for cell in row):
            continue
        where = f"{path} line {rows.line_num}"
        cells = {key: row[at].strip() if at < len(row) else "" for key, at in place.items()}
        name = cells["picture"]
        if not name:
            findings.add("label-line-unreadable", where, "names no picture")
            continue
        found.picture(name)
        size = _size(cells)
        if size is not None:
            sizes.setdefault(name, size)
        if cells.get("split", "").lower() in SPLIT_NAMES:
            splits[name] = SPLIT_NAMES[cells["split"].lower()]
        box = _box(cells, where, rows.line_num, findings)
        if box is not None:
            found.add(name, box)
    for name in found.pictures:
        picture = place_picture(folder, name, split, path, findings)
        if picture is not None:
            own = splits.get(name) or split or split_of(picture)
            yield RawSample(picture, found.of(name), f"{path} line", sizes.get(name), own)


def _next(rows: Iterator[list[str]], path: str, findings: Findings) -> list[str] | None:
    """The next row; one that cannot be parsed is named and taken for empty."""
    try:
        return next(rows, None)
    except csv.Error as error:
        findings.add("label-line-unreadable", path, f"is no CSV: {error}")
        return []


def _box(cells: Mapping[str, str], where: str, number: int, findings: Findings) -> RawBox | None:
    corners = [cells[key] for key in ("x1", "y1", "x2", "y2")]
    if not cells["class"] and not any(corners):
        return None  # a picture without objects
    try:
        x1, y1, x2, y2 = (float(v) for v in corners)
    except ValueError:
        findings.add("box-unreadable", where, f"wants four numbers, got {', '.join(corners)[:60]}")
        return None
    if not cells["class"]:
        findings.add("class-missing", where, "no class")
        return None
    return RawBox(cells["class"], (x1, y1, x2, y2), number)


def _size(cells: Mapping[str, str]) -> Size | None:
    try:
        height, width = round(float(cells["height"])), round(float(cells["width"]))
    except (KeyError, ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None
