"""A clean data set in every format."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT = 240, 200
SPLITS = {"train": 220, "val": 40, "test": 40}
NAMES = ("ant", "bee")
FIXTURES = Path(__file__).parent / "pictures"

Box = tuple[int, float, float, float, float]
"""Class, left, top, right, bottom."""


def pixels(seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """Coarse noise: no two seeds look alike."""
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 9, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC))


def put(path: Path, content: bytes | str) -> Path:
    """Write a file without touching what it may be linked to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def picture(path: Path, image: np.ndarray) -> Path:
    return put(path, cv2.imencode(path.suffix, image)[1].tobytes())


def boxes_of(seed: int) -> list[Box]:
    """One box of each class, apart from each other."""
    rng = np.random.default_rng(seed)
    found: list[Box] = []
    for label in range(2):
        w, h = rng.uniform(30, 60, 2)
        x, y = 120 * label + rng.uniform(2, 50), rng.uniform(2, 130)
        found.append((label, round(x, 2), round(y, 2), round(x + w, 2), round(y + h, 2)))
    return found


def line(box: Box) -> str:
    k, x1, y1, x2, y2 = box
    centre = f"{(x1 + x2) / 2 / WIDTH:.6f} {(y1 + y2) / 2 / HEIGHT:.6f}"
    return f"{k} {centre} {(x2 - x1) / WIDTH:.6f} {(y2 - y1) / HEIGHT:.6f}\n"


def entries() -> list[tuple[str, str, int]]:
    """Split, name and seed of every picture."""
    names = [(split, f"{split}{k:03}") for split, count in SPLITS.items() for k in range(count)]
    return [(split, name, seed) for seed, (split, name) in enumerate(names)]


def write_yolo(root: Path) -> None:
    for split, name, seed in entries():
        picture(root / f"images/{split}/{name}.png", pixels(seed))
        put(root / f"labels/{split}/{name}.txt", "".join(map(line, boxes_of(seed))))
    put(root / "data.yaml", yaml(NAMES))


def yaml(names: tuple[str, ...]) -> str:
    splits = "".join(f"{split}: images/{split}\n" for split in SPLITS)
    return f"path: .\n{splits}names: {json.dumps(list(names))}\n"


def write_coco(root: Path) -> None:
    for split in SPLITS:
        content: dict = {
            "images": [],
            "annotations": [],
            "categories": [{"id": k, "name": n} for k, n in enumerate(NAMES)],
        }
        for part, name, seed in entries():
            if part != split:
                continue
            picture(root / f"images/{split}/{name}.png", pixels(seed))
            content["images"].append({"id": seed, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT})
            for k, x1, y1, x2, y2 in boxes_of(seed):
                box = [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]
                content["annotations"].append({"id": 2 * seed + k, "image_id": seed, "category_id": k, "bbox": box})
        put(root / f"annotations/{split}.json", json.dumps(content))


def xml(name: str, boxes: list[Box], size: tuple[int, int] = (HEIGHT, WIDTH)) -> str:
    objects = "".join(
        f"<object><name>{NAMES[k]}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        "</bndbox></object>"
        for k, x1, y1, x2, y2 in boxes
    )
    stated = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>"
    return f"<annotation><filename>{name}.png</filename>{stated}{objects}</annotation>"


def write_voc(root: Path) -> None:
    for split, name, seed in entries():
        picture(root / f"{split}/{name}.png", pixels(seed))
        put(root / f"{split}/{name}.xml", xml(name, boxes_of(seed)))


def write_csv(root: Path) -> None:
    for split in SPLITS:
        (root / split).mkdir(parents=True, exist_ok=True)
        with (root / f"{split}_labels.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"])
            for part, name, seed in entries():
                if part == split:
                    picture(root / f"{split}/{name}.png", pixels(seed))
                    for k, *box in boxes_of(seed):
                        rows.writerow([f"{name}.png", WIDTH, HEIGHT, NAMES[k], *box])


def write_darknet(root: Path) -> None:
    for _, name, seed in entries():
        picture(root / f"obj/{name}.png", pixels(seed))
        put(root / f"obj/{name}.txt", "".join(map(line, boxes_of(seed))))
    for split in SPLITS:
        names = [name for part, name, _ in entries() if part == split]
        put(root / f"lists/{split}.list", "".join(f"C:/Users/somebody/obj/{name}.png\n" for name in names))
    put(root / "obj.names", "\n".join(NAMES))
    lists = "train = lists/train.list\nvalid = lists/val.list\ntest = lists/test.list\n"
    put(root / "obj.data", f"classes = 2\n{lists}names = obj.names\nbackup = backup/\n")


FORMATS: dict[str, Callable[[Path], None]] = {
    "yolo": write_yolo,
    "coco": write_coco,
    "voc": write_voc,
    "csv": write_csv,
    "darknet": write_darknet,
}


def copy(base: Path, root: Path) -> Path:
    """A copy by links: faults are planted with :func:`put`, which breaks the link first."""
    shutil.copytree(base, root, copy_function=os.link)
    return root
