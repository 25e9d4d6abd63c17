"""From what a file says to what can be trusted: each picture's header read, each box clipped, odd things named."""

from __future__ import annotations

import math
from collections.abc import Iterable

from edgehone.data.checks import Findings
from edgehone.data.dataset import RawBox, RawSample
from edgehone.data.folder import Folder, suffix
from edgehone.data.picture import MAX_PIXELS
from edgehone.data.picture_header import PictureHeader, read_header
from edgehone.data.samples import GrowingColumns, Samples
from edgehone.data.selection import Selection
from edgehone.errors import EdgehoneError
from edgehone.types import IGNORED, Size

Box = tuple[float, float, float, float]

MIN_SIDE_PX = 1.0
MIN_PICTURE_PX = 32
KINDS = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".png": "png",
    ".bmp": "bmp",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".gif": "gif",
}


class Intake:
    """Takes in labelled pictures one by one."""

    def __init__(self, folder: Folder, selection: Selection, findings: Findings) -> None:
        self.folder = folder
        self.selection = selection
        self.findings = findings
        self.labels: dict[str, int] = {}
        self.ids: dict[str, int] = {}
        self.met: set[str] = set()
        self.units: list[str] = []
        self.truncated: set[str] = set()
        self.splits: list[str | None] = []
        self.rows = GrowingColumns()

    def take(self, samples: Iterable[RawSample]) -> None:
        """Every picture once: where several annotations describe one, the first counts."""
        for raw in samples:
            self.met.add(raw.id)
            if raw.id in self.ids:
                before = self.rows.lengths[self.ids[raw.id]]
                self.findings.add(
                    "image-labelled-twice", raw.id, f"annotated with {before} boxes, then with {len(raw.boxes)}"
                )
                continue
            size = self._size(raw)
            if size is None:
                continue
            boxes: list[Box] = []
            classes: list[int] = []
            numbers: list[int] = []
            for box in raw.boxes:
                clipped = clip(box, size, (raw.id, raw.unit), self.findings)
                if clipped is not None:
                    boxes.append(clipped)
                    classes.append(self._label(box))
                    numbers.append(box.number)
            self.ids[raw.id] = len(self.ids)
            self.splits.append(raw.split)
            self.units.append(raw.unit)
            self.rows.add(size, boxes, classes, numbers)

    def samples(self, names: tuple[str, ...] | None) -> tuple[Samples, tuple[str, ...]]:
        """Everything taken in, with the final class numbers, and the names of the classes.

        Args:
            names: in order; None for the labels that were met, in alphabetical order.
        """
        known = tuple(sorted(self.labels)) if names is None else names
        self.selection.check(known)
        final = self.selection.remaining(known)
        numbers = {
            met: IGNORED if name in self.selection.ignore else final.index(self.selection.renamed(name))
            for name, met in self.labels.items()
            if name not in self.selection.drop
        }
        return Samples(self.folder.root, tuple(self.ids), self.rows.columns().renumbered(numbers), self.units), final

    def _label(self, box: RawBox) -> int:
        """The provisional number of a class: in the order of their first boxes."""
        if box.ignored:
            return IGNORED
        return self.labels.setdefault(box.label, len(self.labels))

    def _size(self, raw: RawSample) -> Size | None:
        """The size of the picture after turning; None if there is none to be had."""
        path = self.folder.absolute(raw.id)
        if not self.folder.pictures and raw.size is not None:
            return raw.size  # labels alone, without any picture: enough for a profile
        try:
            if path.stat().st_size == 0:
                self.findings.add("image-empty-file", raw.id, "the file has no bytes", sample=raw.id)
                return None
            header = read_header(path)
        except (EdgehoneError, OSError) as error:
            self.findings.add("image-unreadable", raw.id, str(error))
            return None
        height, width = header.stored_size
        if height * width > MAX_PIXELS:
            self.findings.add("image-bomb", raw.id, f"{width} x {height} pixels in {header.bytes:,} bytes")
            return None
        self._odd_header(raw.id, header)
        if raw.size is not None and raw.size != header.size:
            self._odd_size(raw.id, raw.size, header)
        return header.size

    def _odd_header(self, key: str, header: PictureHeader) -> None:
        add = self.findings.add
        if header.truncated:
            self.truncated.add(key)
            add("image-truncated", key, f"the {header.kind.upper()} file ends early", sample=key)
        if header.kind != KINDS.get(suffix(key), header.kind):
            add("image-kind", key, f"the content is {header.kind.upper()}", sample=key)
        if header.frames > 1:
            add("image-animated", key, f"{header.frames} frames", sample=key)
        if header.bits > 8:
            add("image-deep", key, f"{header.bits} bits a channel", sample=key)
        if header.colour in ("cmyk", "ycck"):
            add("image-cmyk", key, header.colour.upper(), sample=key)
        if header.alpha:
            add("image-alpha", key, "has an alpha channel", sample=key)
        if header.orientation != 1:
            add("image-turned", key, f"EXIF orientation {header.orientation}", sample=key)
        if min(header.size) < MIN_PICTURE_PX:
            add("image-tiny", key, f"{header.size[1]} x {header.size[0]} (width x height)", sample=key)

    def _odd_size(self, key: str, stated: Size, header: PictureHeader) -> None:
        turned = stated == header.stored_size or stated == header.size[::-1]
        self.findings.add(
            "size-turned" if turned else "size-disagrees",
            key,
            f"stated {stated[1]} x {stated[0]}, the picture is {header.size[1]} x {header.size[0]} (width x height)",
            sample=key,
        )


def clip(box: RawBox, size: Size, place: tuple[str, str], findings: Findings) -> Box | None:
    """The box in pixels inside the picture; None where nothing of it is left.

    Args:
        box: as the file gives it.
        size: of the picture.
        place: id of the picture and what the numbers of its boxes count.
        findings: to be added to.
    """
    sample, where = place[0], f"{place[1]} {box.number}"
    height, width = size
    x1, y1, x2, y2 = box.xyxy
    if not all(map(math.isfinite, box.xyxy)):
        findings.add("box-not-finite", where, f"{box.label}: {box.xyxy}", sample=sample)
        return None
    if box.relative:
        if max(abs(v) for v in box.xyxy) > 2:
            findings.add("box-not-relative", where, f"{box.label}: {_short(box.xyxy)}", sample=sample)
            return None
        x1, y1, x2, y2 = x1 * width, y1 * height, x2 * width, y2 * height
    if (x2 < x1 or y2 < y1) and abs(x2 - x1) >= MIN_SIDE_PX and abs(y2 - y1) >= MIN_SIDE_PX and not box.relative:
        findings.add("box-swapped", where, f"{box.label}: {_short((x1, y1, x2, y2))}", sample=sample)
        x1, y1, x2, y2 = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
    if x2 <= x1 or y2 <= y1:
        message = f"{box.label}: no area between ({x1:g}, {y1:g}) and ({x2:g}, {y2:g})"
        findings.add("box-degenerate", where, message, sample=sample)
        return None
    left, top, right, bottom = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    if right - left < MIN_SIDE_PX or bottom - top < MIN_SIDE_PX:
        message = f"{box.label}: {_short((x1, y1, x2, y2))} in a picture of {width} x {height}"
        findings.add("box-outside", where, message, sample=sample)
        return None
    # Up to a pixel over the edge is how tools that count from 1 write a box that ends at the edge.
    over = max(left - x1, top - y1, x2 - right, y2 - bottom)
    inside = (left, top, right, bottom)
    if over > 1.0:
        message = f"{box.label}: reaches {over:.0f} px over the edge"
        findings.add("box-clipped", where, message, sample=sample, boxes=(inside,))
    return inside


def _short(values: Box) -> str:
    return "(" + ", ".join(f"{v:g}" for v in values) + ")"
