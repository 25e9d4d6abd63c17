"""Pascal VOC: one XML file a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError, TreeBuilder, XMLParser

from edgehone.data.dataset import Finding, RawBox, RawDataset, RawSample
from edgehone.data.folder import Folder
from edgehone.data.loose import text
from edgehone.data.picture import FileImage
from edgehone.errors import EdgehoneError

FORMAT = "Pascal VOC"
SETS = {"train": "train", "val": "val", "test": "test"}


def recognise(folder: Folder) -> str | None:
    """Why this folder is Pascal VOC; None if it is not."""
    files = folder.with_suffix(".xml")
    for path in files[:20]:
        if b"<annotation" in path.read_bytes()[:2000]:
            return f"{len(files)} XML files, {path.name} holds an <annotation>"
    return None


def read(folder: Folder) -> RawDataset:
    """Every annotation whose picture is found; classes in alphabetical order.

    Corners are taken as they stand: whether a tool counted pixels from 0 or from 1 cannot be seen.

    Raises:
        EdgehoneError: a file that is not XML.
    """
    findings: list[Finding] = []
    splits = _image_sets(folder)
    samples: list[RawSample] = []
    for path in folder.with_suffix(".xml"):
        where = folder.relative(path)
        root = _root(path)
        if root.tag != "annotation":
            continue
        picture = folder.picture(path, str(root.findtext("filename") or ""))
        if picture is None:
            findings.append(
                Finding(
                    "label-without-image",
                    "error",
                    where,
                    "its picture was not found",
                    "left out; put the picture beside it or in JPEGImages",
                )
            )
            continue
        boxes = list(_boxes(root, where, findings))
        # With image sets a picture that none of them lists is spare; without, folders may be splits.
        split = splits.get(path.stem) if splits else folder.split_of(picture)
        samples.append(RawSample(folder.relative(picture), FileImage(picture), boxes, _size(root), split))
    names = tuple(sorted({box.label for sample in samples for box in sample.boxes}))
    return RawDataset(FORMAT, names, samples, findings)


class _WithoutDocumentType(TreeBuilder):
    """Refuses a document type before anything that it declares can be expanded."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        del name, pubid, system
        raise ValueError("document types are not accepted")


def _root(path: Path) -> Any:
    """The parsed file. No annotation needs a document type, so none can expand without bound."""
    try:
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
    raise EdgehoneError(f"{path} {reason}; repair the file or remove it with its picture")


def _boxes(root: Any, where: str, findings: list[Finding]) -> Iterator[RawBox]:
    for number, item in enumerate(root.iter("object"), start=1):
        place = f"{where} object {number}"
        name = (item.findtext("name") or "").strip()
        try:
            box = item.find("bndbox")
            x1, y1, x2, y2 = (float(box.findtext(key)) for key in ("xmin", "ymin", "xmax", "ymax"))
        except (AttributeError, TypeError, ValueError):
            findings.append(Finding("box-unreadable", "warning", place, "no bndbox of four numbers", "left out"))
            continue
        if not name:
            findings.append(Finding("class-missing", "warning", place, "no name", "left out"))
            continue
        yield RawBox(name, (x1, y1, x2, y2), place)


def _size(root: Any) -> tuple[int, int] | None:
    try:
        height, width = int(float(root.findtext("size/height"))), int(float(root.findtext("size/width")))
    except (TypeError, ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _image_sets(folder: Folder) -> dict[str, str]:
    """Stem to split from ImageSets/Main."""
    found: dict[str, str] = {}
    for name, split in SETS.items():
        for path in folder.root.glob(f"**/ImageSets/Main/{name}.txt"):
            for line in text(path).splitlines():
                if line.strip():
                    found[line.split()[0]] = split
    return found
