"""Pascal VOC: one XML file a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError, TreeBuilder, XMLParser

from edgehone.data.checks import Findings
from edgehone.data.dataset import RawBox, RawDataset, RawSample
from edgehone.data.folder import Folder, split_of, stem
from edgehone.data.loose import text
from edgehone.errors import EdgehoneError
from edgehone.types import Size

FORMAT = "Pascal VOC"
SETS = ("train", "val", "test")
LARGEST = 64 << 20
"""Bytes of one annotation; a hundred thousand boxes need less."""


def recognise(folder: Folder) -> str | None:
    """Why this folder is Pascal VOC; None if it is not."""
    files = folder.with_suffix(".xml")
    for path in files[:20]:
        with folder.absolute(path).open("rb") as file:
            if b"<annotation" in file.read(2000):
                return f"{len(files)} XML files, {path} holds an <annotation>"
    return None


def read(folder: Folder, findings: Findings) -> RawDataset:
    """Every annotation whose picture is found; classes in alphabetical order.

    Corners are taken as they stand: whether a tool counted pixels from 0 or from 1 cannot be seen.
    """
    return RawDataset(FORMAT, None, _samples(folder, findings))


def _samples(folder: Folder, findings: Findings) -> Iterator[RawSample]:
    splits = _image_sets(folder)
    for path in folder.with_suffix(".xml"):
        try:
            root = _root(folder.absolute(path))
        except EdgehoneError as error:
            findings.add("annotation-unreadable", path, str(error))
            continue
        if root.tag != "annotation":
            continue
        picture = _picture(folder, path, str(root.findtext("filename") or "").strip(), findings)
        if picture is None:
            continue
        boxes = list(_boxes(root, path, findings))
        # With image sets a picture that none of them lists is spare; without, folders may be splits.
        split = splits.get(stem(path)) if splits else split_of(picture)
        yield RawSample(picture, boxes, f"{path} object", _size(root), split)


def _picture(folder: Folder, path: str, name: str, findings: Findings) -> str | None:
    found = folder.picture_of(path, name)
    if found is None and name:
        found = folder.picture_in_other_case(name)
        if found is not None:
            findings.add("name-case", path, f"names {name}, the file is {found}", sample=found)
    if found is None:
        if name and folder.escapes(name, path.rpartition("/")[0]):
            findings.add("path-escape", path, f"names {name}")
        else:
            findings.add("label-without-image", path, "its picture was not found" + (f": {name}" if name else ""))
    return found


class _WithoutDocumentType(TreeBuilder):
    """Refuses a document type before anything that it declares can be expanded."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        del name, pubid, system
        raise ValueError("document types are not accepted")


def _root(path: Path) -> Any:
    """The parsed file. No annotation needs a document type, so none can expand without bound."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST >> 20} MiB")
        parser = XMLParser(target=_WithoutDocumentType())
        parser.feed(path.read_bytes())
        return parser.close()
    except ParseError as error:
        line, column = error.position
        reason = f"line {line} column {column} is not valid XML: {str(error).partition(':')[0]}"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except (ValueError, LookupError) as error:
        reason = f"is not accepted as XML: {error}"
    raise EdgehoneError(reason)


def _boxes(root: Any, where: str, findings: Findings) -> Iterator[RawBox]:
    for number, item in enumerate(root.iter("object"), start=1):
        place = f"{where} object {number}"
        name = (item.findtext("name") or "").strip()
        try:
            box = item.find("bndbox")
            x1, y1, x2, y2 = (float(box.findtext(key)) for key in ("xmin", "ymin", "xmax", "ymax"))
        except (AttributeError, TypeError, ValueError):
            findings.add("box-unreadable", place, "no bndbox of four numbers")
            continue
        if not name:
            findings.add("class-missing", place, "no name")
            continue
        yield RawBox(name, (x1, y1, x2, y2), number)


def _size(root: Any) -> Size | None:
    try:
        height, width = int(float(root.findtext("size/height"))), int(float(root.findtext("size/width")))
    except (TypeError, ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _image_sets(folder: Folder) -> dict[str, str]:
    """Stem to split from ImageSets/Main."""
    found: dict[str, str] = {}
    for split in SETS:
        for path in folder.files:
            if f"/{path}".endswith(f"/ImageSets/Main/{split}.txt"):
                for line in text(folder.absolute(path)).splitlines():
                    if line.strip():
                        found[line.split()[0]] = split
    return found
