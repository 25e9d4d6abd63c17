"""Writing a data set as COCO JSON or YOLO, with its pictures: what is read back is equal, box by box."""

from __future__ import annotations

import json
import posixpath
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import yaml

from edgehone.data.dataset import Dataset, Sample
from edgehone.data.picture import FileImage, write_image
from edgehone.errors import EdgehoneError, UsageError

DIGITS = 4
"""Decimals of pixels that are written."""


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        description: the file that names the rest (``data.yaml``), or the folder where there is none.
        names: id to the picture's new path.
        lost: what the format cannot say, in words; empty if nothing.
    """

    description: Path
    names: dict[str, str]
    lost: tuple[str, ...]


def write_dataset(dataset: Dataset, format: str, out: Path) -> Written:
    """Write labels, splits and pictures into a new folder; it appears only when it is complete.

    Args:
        dataset: what to write.
        format: one of :data:`WRITERS`.
        out: the folder; it must not exist, or be empty.

    Raises:
        UsageError: no such format, or a folder that holds something.
    """
    if format not in WRITERS:
        raise UsageError(f"data is written as {' or '.join(WRITERS)}; got {format!r}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"data is written into a new or empty folder, but {out} holds something; name another")
    beside = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        names = {key: name for split in dataset.splits for key, name in _place(dataset, split, beside)}
        description, lost = WRITERS[format](dataset, names, beside)
        if out.is_dir():
            out.rmdir()
        beside.rename(out)
    except OSError as error:
        raise EdgehoneError(f"cannot write {out}: {error.strerror}; nothing was written") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Written(out / description, names, lost)


def _place(dataset: Dataset, split: str, out: Path) -> Iterator[tuple[str, str]]:
    """Copy the pictures of a split; id to new path."""
    taken: set[str] = set()
    for sample in dataset.splits[split]:
        base, kind = posixpath.splitext(posixpath.basename(sample.id))
        if base.casefold() in taken:
            base = posixpath.splitext(sample.id)[0].replace("/", "__")
        while base.casefold() in taken:
            base += "_"
        taken.add(base.casefold())
        name = f"images/{split}/{base}{kind if isinstance(sample.source, FileImage) else '.png'}"
        _copy(sample, out / name)
        yield sample.id, name


def _copy(sample: Sample, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(sample.source, FileImage):
        shutil.copyfile(sample.source.path, path)
        return
    write_image(path, sample.source.read())


def _write_coco(dataset: Dataset, names: dict[str, str], out: Path) -> tuple[str, tuple[str, ...]]:
    """``annotations/SPLIT.json``; regions to ignore become crowds."""
    (out / "annotations").mkdir()
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(dataset.class_names)]
    for split, samples in dataset.splits.items():
        with (out / "annotations" / f"{split}.json").open("w", encoding="utf-8") as file:
            file.write('{"info": {"description": ' + json.dumps(dataset.name) + '},\n"categories": ')
            file.write(json.dumps(categories) + ',\n"images": [')
            _list(file, (_image(number, sample, names) for number, sample in enumerate(samples)))
            file.write('],\n"annotations": [')
            _list(file, _annotations(samples))
            file.write("]}\n")
    return ".", ()


def _list(file: TextIO, items: Iterator[dict[str, Any]]) -> None:
    for number, item in enumerate(items):
        file.write((",\n" if number else "\n") + json.dumps(item, allow_nan=False))


def _image(number: int, sample: Sample, names: dict[str, str]) -> dict[str, Any]:
    return {"id": number, "file_name": names[sample.id], "height": sample.size[0], "width": sample.size[1]}


def _annotations(samples: Sequence[Sample]) -> Iterator[dict[str, Any]]:
    number = 0
    for image, sample in enumerate(samples):
        crowds = [0] * len(sample.classes) + [1] * len(sample.ignored_xyxy)
        classes = [*sample.classes.tolist(), *[0] * len(sample.ignored_xyxy)]
        boxes = np.concatenate([sample.boxes_xyxy, sample.ignored_xyxy]).astype(np.float64)
        for (x1, y1, x2, y2), label, crowd in zip(boxes.tolist(), classes, crowds, strict=True):
            x, y, w, h = (round(v, DIGITS) for v in (x1, y1, x2 - x1, y2 - y1))
            yield {
                "id": number,
                "image_id": image,
                "category_id": label + 1,
                "bbox": [x, y, w, h],
                "area": round(w * h, DIGITS),
                "iscrowd": crowd,
            }
            number += 1


def _write_yolo(dataset: Dataset, names: dict[str, str], out: Path) -> tuple[str, tuple[str, ...]]:
    """``data.yaml`` and ``labels/SPLIT/NAME.txt``; regions to ignore have no place in the format."""
    ignored = 0
    for split, samples in dataset.splits.items():
        (out / "labels" / split).mkdir(parents=True)
        for sample in samples:
            ignored += len(sample.ignored_xyxy)
            stem = posixpath.splitext(posixpath.basename(names[sample.id]))[0]
            (out / "labels" / split / f"{stem}.txt").write_text("".join(_lines(sample)), encoding="utf-8")
    content = {
        "path": ".",
        **{split: f"images/{split}" for split in dataset.splits},
        "names": dict(enumerate(dataset.class_names)),
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (out / "data.yaml").write_text(text, encoding="utf-8")
    lost = (f"{ignored} regions to ignore have no place in YOLO labels; COCO keeps them",) if ignored else ()
    return "data.yaml", lost


def _lines(sample: Sample) -> Iterator[str]:
    height, width = sample.size
    for (x1, y1, x2, y2), label in zip(sample.boxes_xyxy.astype(np.float64), sample.classes.tolist(), strict=True):
        x, y, w, h = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height
        yield f"{label} {x:.9f} {y:.9f} {w:.9f} {h:.9f}\n"


Writer = Callable[[Dataset, dict[str, str], Path], tuple[str, tuple[str, ...]]]

WRITERS: dict[str, Writer] = {"coco": _write_coco, "yolo": _write_yolo}
"""Formats that can be written, by the name that ``--to`` takes."""
