"""One fault for each check of the doctor, to be planted into a clean set."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from planted import (
    FIXTURES,
    HEIGHT,
    NAMES,
    SPLITS,
    WIDTH,
    Box,
    boxes_of,
    entries,
    line,
    picture,
    pixels,
    put,
    xml,
    yaml,
)

FIRST = "images/train/train000.png"
LABEL = "labels/train/train000.txt"


def add_line(text: str) -> Callable[[Path], None]:
    """One more label line on the first picture."""

    def plant(root: Path) -> None:
        put(root / LABEL, (root / LABEL).read_text() + text)

    return plant


def add_boxes(*boxes: Box) -> Callable[[Path], None]:
    return add_line("".join(map(line, boxes)))


def replace_picture(content: bytes | Callable[[Path], bytes], suffix: str = ".png") -> Callable[[Path], None]:
    """Other bytes in place of the first picture."""

    def plant(root: Path) -> None:
        made = content(root) if callable(content) else content
        (root / FIRST).unlink()
        put((root / FIRST).with_suffix(suffix), made)

    return plant


def encoded(image: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def deep(_: Path) -> bytes:
    return encoded(pixels(9007).astype(np.uint16) * 257, ".png")


def alpha(_: Path) -> bytes:
    return encoded(np.dstack([pixels(9007), pixels(9008)[..., 0]]), ".png")


def turned(_: Path) -> bytes:
    jpeg = encoded(pixels(9007), ".jpg")
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def bomb(_: Path) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def pages(root: Path) -> bytes:
    path = root / "pages.tiff"
    assert cv2.imwritemulti(str(path), [pixels(9007), pixels(9008)])
    content = path.read_bytes()
    path.unlink()
    return content


def duplicate(split: str, labels: str | None = None, near: bool = False) -> Callable[[Path], None]:
    """The first picture once more, in some split, with its labels or others."""

    def plant(root: Path) -> None:
        image = cv2.imread(str(root / FIRST))
        again = root / f"images/{split}/again.png"
        if near:
            picture(again, np.clip(image.astype(np.int16) + 2, 0, 255).astype(np.uint8))
        else:
            put(again, (root / FIRST).read_bytes())
        put(root / f"labels/{split}/again.txt", (root / LABEL).read_text() if labels is None else labels)

    return plant


def lists(change: Callable[[dict[str, list[str]]], None]) -> Callable[[Path], None]:
    """train.txt, val.txt and test.txt beside the data, changed a little."""

    def plant(root: Path) -> None:
        names = {split: [f"images/{split}/{n}.png" for s, n, _ in entries() if s == split] for split in SPLITS}
        change(names)
        for split, items in names.items():
            put(root / f"{split}.txt", "\n".join(items))

    return plant


def relabel(
    change: Callable[[str, int, list[Box]], list[Box]], names: tuple[str, ...] = NAMES
) -> Callable[[Path], None]:
    """Every label file anew: from split, place within it, and boxes."""

    def plant(root: Path) -> None:
        for split, name, seed in entries():
            put(root / f"labels/{split}/{name}.txt", "".join(map(line, change(split, int(name[-3:]), boxes_of(seed)))))
        put(root / "data.yaml", yaml(names))

    return plant


def third_class(amounts: dict[str, int], extra: int = 0) -> Callable[[Path], None]:
    """A third class on the first pictures of each split, and ``extra`` more boxes of the first class everywhere."""

    def change(split: str, place: int, boxes: list[Box]) -> list[Box]:
        more: list[Box] = [(0, 4 + 24 * k, 182, 22 + 24 * k, 198) for k in range(extra)]
        third: list[Box] = [(2, 200, 182, 230, 198)] if place < amounts[split] else []
        return [*boxes, *more, *third]

    return relabel(change, (*NAMES, "cat"))


def flat(root: Path) -> None:
    """No split anywhere."""
    for split, name, _ in entries():
        for kind, suffix in (("images", "png"), ("labels", "txt")):
            (root / kind / split / f"{name}.{suffix}").rename(root / kind / f"{name}.{suffix}")
    for kind in ("images", "labels"):
        for split in SPLITS:
            (root / kind / split).rmdir()
    put(root / "data.yaml", f"names: {json.dumps(list(NAMES))}\n")


def without(split: str, keep: int = 0) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        for part, name, _ in entries():
            if part == split and int(name[-3:]) >= keep:
                (root / f"images/{split}/{name}.png").unlink()
                (root / f"labels/{split}/{name}.txt").unlink()

    return plant


def coco(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        path = root / "annotations/train.json"
        content = json.loads(path.read_text())
        change(content)
        put(path, json.dumps(content))

    return plant


def annotation(**fields: object) -> Callable[[Path], None]:
    """One more annotation of the first image."""
    fresh = {"id": 10_000, "image_id": 0, "category_id": 0, "bbox": [10, 185, 40, 12]}
    return coco(lambda content: content["annotations"].append({**fresh, **fields}))


def voc(objects: str = "", size: tuple[int, int] = (HEIGHT, WIDTH)) -> Callable[[Path], None]:
    """One more object in the first annotation, or another stated size."""

    def plant(root: Path) -> None:
        text = xml("train000", boxes_of(0), size)
        put(root / "train/train000.xml", text.replace("</annotation>", objects + "</annotation>"))

    return plant


def crowd(_: Path) -> str:
    return "".join(
        line((k % 2, 3 + 21 * (k % 11), 2 + 19 * (k // 11), 18 + 21 * (k % 11), 17 + 19 * (k // 11)))
        for k in range(110)
    )


A = boxes_of(0)[0]
"""The first box of the first picture."""

Fault = tuple[str, Callable[[Path], None]]

FAULTS: dict[str, Fault] = {
    "annotation-unreadable": ("voc", lambda root: put(root / "extra.xml", "<annotation><object>")),
    "encoding": ("darknet", lambda root: put(root / "obj.names", b"ant\nb\xe9e\n")),
    "path-escape": ("coco", coco(lambda c: c["images"].append({"id": 999, "file_name": "../../secret.png"}))),
    "symlink-loop": ("yolo", lambda root: (root / "images/around").symlink_to(root)),
    "symlink-broken": ("yolo", lambda root: (root / "images/gone.png").symlink_to(root / "nowhere.png")),
    "name-collision": ("yolo", lambda root: (put(root / "Notes.md", "a"), put(root / "notes.md", "b"))),
    "name-case": ("coco", coco(lambda c: c["images"][0].update(file_name="TRAIN000.PNG"))),
    "image-unsupported": ("yolo", lambda root: put(root / "images/train/phone.heic", b"ftypheic")),
    "image-not-listed": ("coco", lambda root: picture(root / "images/train/spare.png", pixels(5000))),
    "image-empty-file": ("yolo", replace_picture(b"")),
    "image-unreadable": ("yolo", replace_picture(b"this is no picture at all" * 10)),
    "image-truncated": ("yolo", replace_picture(lambda _: encoded(pixels(0), ".jpg")[:-600], ".jpg")),
    "image-bomb": ("yolo", replace_picture(bomb)),
    "image-kind": ("yolo", replace_picture(lambda root: (root / FIRST).read_bytes(), ".jpg")),
    "image-animated": ("yolo", replace_picture(pages, ".tiff")),
    "image-deep": ("yolo", replace_picture(deep)),
    "image-cmyk": ("yolo", replace_picture(lambda _: (FIXTURES / "cmyk.jpg").read_bytes(), ".jpg")),
    "image-alpha": ("yolo", replace_picture(alpha)),
    "image-turned": ("yolo", replace_picture(turned, ".jpg")),
    "image-tiny": ("yolo", replace_picture(lambda _: encoded(pixels(0, (25, 30)), ".png"))),
    "image-blank": ("yolo", replace_picture(encoded(np.full((HEIGHT, WIDTH, 3), 90, np.uint8), ".png"))),
    "image-duplicate": ("yolo", duplicate("train")),
    "image-near-duplicate": ("yolo", duplicate("train", near=True)),
    "label-conflict": ("yolo", duplicate("train", line((1, 5, 5, 60, 70)))),
    "size-disagrees": ("voc", voc(size=(333, 444))),
    "size-turned": ("voc", voc(size=(WIDTH, HEIGHT))),
    "label-without-image": ("yolo", lambda root: put(root / "labels/train/lonely.txt", line(A))),
    "image-without-label": ("yolo", lambda root: (root / LABEL).unlink()),
    "image-labelled-twice": ("voc", lambda root: put(root / "train/copy.xml", xml("train000", boxes_of(0)))),
    "annotation-without-image": ("coco", annotation(image_id=12_345)),
    "id-twice": ("coco", coco(lambda c: c["images"].append(dict(c["images"][0])))),
    "annotation-id-twice": ("coco", annotation(id=0)),
    "image-without-objects": ("yolo", lambda root: put(root / LABEL, "")),
    "mostly-empty": ("yolo", relabel(lambda s, k, b: [] if s == "train" and k < 140 else b)),
    "label-line-unreadable": ("yolo", add_line("0 0.5 0.5\n")),
    "box-unreadable": ("coco", annotation(bbox=["a", 1, 2, 3])),
    "box-not-finite": ("yolo", add_line("0 0.5 nan 0.1 0.1\n")),
    "box-not-relative": ("yolo", add_line("0 120 100 30 30\n")),
    "box-degenerate": ("yolo", add_line("0 0.5 0.5 0 0.1\n")),
    "box-swapped": ("coco", annotation(bbox=[50, 197, -40, -12])),
    "box-outside": ("coco", annotation(bbox=[300, 10, 20, 20])),
    "box-clipped": ("coco", annotation(bbox=[200, 185, 60, 12])),
    "box-duplicate": ("yolo", add_boxes(A)),
    "box-near-duplicate": ("yolo", add_boxes((A[0], A[1] + 1, A[2] + 0.5, A[3] + 1, A[4]))),
    "box-two-classes": ("yolo", add_boxes((1 - A[0], *A[1:]))),
    "box-tiny": ("yolo", add_boxes((0, 10, 185, 13, 197))),
    "box-huge": ("yolo", add_boxes((0, 1, 1, 239, 199))),
    "box-aspect": ("yolo", add_boxes((0, 10, 190, 230, 196))),
    "crowd-region": ("coco", annotation(iscrowd=1)),
    "class-out-of-range": ("yolo", add_line("7 0.5 0.5 0.1 0.1\n")),
    "class-missing": (
        "voc",
        voc("<object><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>30</xmax><ymax>30</ymax></bndbox></object>"),
    ),
    "class-names-missing": ("yolo", lambda root: (root / "data.yaml").unlink()),
    "class-names-alike": ("yolo", lambda root: put(root / "data.yaml", yaml(("ant lion", "Ant-Lion")))),
    "class-unused": ("yolo", lambda root: put(root / "data.yaml", yaml((*NAMES, "cat")))),
    "class-rare": ("yolo", third_class({"train": 7, "val": 2, "test": 2})),
    "class-absent": ("yolo", third_class({"train": 25, "val": 0, "test": 4})),
    "class-imbalance": ("yolo", third_class({"train": 22, "val": 4, "test": 4}, extra=6)),
    "split-drawn": ("yolo", flat),
    "split-missing": ("yolo", lists(lambda names: names["train"].pop())),
    "split-val-missing": ("yolo", without("val")),
    "split-test-missing": ("yolo", without("test")),
    "split-entry-unknown": ("yolo", lists(lambda names: names["train"].append("images/train/nobody.png"))),
    "split-overlap": ("yolo", lists(lambda names: names["test"].append("images/train/train000.png"))),
    "split-leak": ("yolo", duplicate("test")),
    "split-near-leak": ("yolo", duplicate("test", near=True)),
    "split-small": ("yolo", without("val", keep=10)),
    "split-skew": ("yolo", relabel(lambda s, k, b: [(0 if s == "val" and k > 3 else box[0], *box[1:]) for box in b])),
    "crowded-picture": ("yolo", lambda root: put(root / LABEL, crowd(root))),
    "objects-collide": (
        "yolo",
        relabel(lambda _s, k, b: [*b, *[(x[0], x[1] + 2, x[2] + 2, x[3] + 2, x[4] + 2) for x in b[: k % 2]]]),
    ),
    "objects-small": ("yolo", relabel(lambda _s, k, b: [*b, (k % 2, 100, 190, 104.1, 194.1)])),
}
"""Code to the format it is planted in and how."""

IMPLIED = {"mostly-empty": {"image-without-objects"}}
"""What a fault cannot be without."""
