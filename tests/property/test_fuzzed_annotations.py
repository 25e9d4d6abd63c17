"""Annotation files come from anywhere: whatever they hold, reading ends soon, with data or a clear error.

``EDGEHONE_FUZZ=5000`` sets the number of files for each format; the default keeps the suite short.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehone.data.dataset import Dataset
from edgehone.data.reading import Source, open_source
from edgehone.errors import EdgehoneError

FILES = int(os.environ.get("EDGEHONE_FUZZ", "120"))
SECONDS = 10
LIMIT_KIB = 600 << 10
"""By how much the process may grow over all files of a format."""

ODD = [
    b"nan", b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"99999999999999999999999", b"null", b"true", b'""', b"[]",
    b"{}", b"[[[[", b"]", b"}", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"../../../etc/passwd", b"&a;", b"<!DOCTYPE x>",
    b"*a", b"&a [*a]", b"!!python/object:os.system", b"%s%n", b"\n", b"\t", b",", b'"', b"'", b"\xc3\x28", b"0x10",
    b"1_0", b"\xe2\x80\xa8", b"[" * 3000, b"<a>" * 3000, b"9" * 5000, b"{\"a\":" * 2000,
]  # fmt: skip


def mutated(content: bytes, rng: random.Random) -> bytes:
    """A few random changes: bytes, tokens, pieces doubled, moved or cut off."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        end = min(end, at + rng.choice((1, 3, 10, 80)))
        kind = rng.randrange(7)
        if kind == 0:
            data[at:end] = rng.choice(ODD)
        elif kind == 1:
            data[at:end] = rng.randbytes(end - at)
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = data[at:end] * rng.choice((1, 2, 50))
        elif kind == 4:
            del data[rng.randrange(len(data) + 1) :]
        elif kind == 5:
            data[at:at] = rng.choice(ODD)
        else:
            other = rng.randrange(len(data) + 1)
            data[other:other] = data[at:end]
    return bytes(data)


COCO = {
    "images": [{"id": k, "file_name": f"p{k}.png", "width": 60, "height": 40.0} for k in range(3)],
    "annotations": [
        {"id": 1, "image_id": 0, "category_id": 1, "bbox": [3, 4, 20, 20], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 2, "segmentation": [[1, 2, 30, 4, 5, 36]]},
        {"id": "x", "image_id": "2", "category_id": "2", "bbox": [3, 4, 20.5, 20], "iscrowd": 1},
    ],
    "categories": [{"id": 1, "name": "ant"}, {"id": 2, "name": "bee"}],
}
OBJECT = "<object><name>ant</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>31</ymax></bndbox></object>"
SIZE = "<size><width>60</width><height>40</height></size>"
VOC = f"<?xml version='1.0'?><annotation><filename>p0.png</filename>{SIZE}{OBJECT}</annotation>"
CSV = "filename,width,height,class,xmin,ymin,xmax,ymax\n" + "".join(
    f"p{k}.png,60,40,ant,1,2,30,3{k}\n" for k in range(3)
)
YAML = "path: .\ntrain: [p0.png, 'p*.png']\nval: p1.png\nnames: {0: ant, 1: bee}\nnested: &a [1, 2]\nagain: *a\n"
FILES_OF: dict[str, dict[str, str]] = {
    "coco": {"all.json": json.dumps(COCO)},
    "voc": {"p0.xml": VOC},
    "csv": {"rows.csv": CSV},
    "yolo": {"data.yaml": YAML, "p0.txt": "0 0.5 0.5 0.25 0.25\n1 0.1 0.1 0.2 0.1 0.2 0.2\n"},
    "darknet": {
        "obj.data": "train = train.list\nnames = obj.names\n",
        "obj.names": "ant\nbee\n",
        "train.list": "p0.png\np1.png\n",
    },
}


@pytest.fixture
def in_time() -> Callable[[], None]:
    """Stops a reading that hangs."""

    def late(*_: object) -> None:
        raise TimeoutError(f"reading took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    yield lambda: signal.alarm(SECONDS)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", FILES_OF)
def test_fuzzed_files_give_data_or_a_clear_error(name: str, tmp_path: Path, in_time: Callable[[], None]) -> None:
    rng = random.Random(name)
    for k in range(3):
        pixels = np.random.default_rng(k).integers(0, 255, (40, 60, 3), np.uint8)
        assert cv2.imwrite(str(tmp_path / f"p{k}.png"), pixels)
    originals = {file: text.encode() for file, text in FILES_OF[name].items()}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = {"data": 0, "error": 0, "silent": 0}
    for _ in range(FILES):
        victim = rng.choice(list(originals))
        for file, content in originals.items():
            (tmp_path / file).write_bytes(mutated(content, rng) if file == victim else content)
        in_time()
        try:
            dataset = open_source(Source(str(tmp_path), rng.choice((None, name))), decode=False).dataset
        except EdgehoneError as error:
            outcomes["error" if str(error).strip() else "silent"] += 1
        else:
            trusted(dataset)
            outcomes["data"] += 1
    assert outcomes["data"] > 0
    assert outcomes["silent"] == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < LIMIT_KIB


def trusted(dataset: Dataset) -> None:
    """Whatever was read is sound."""
    for samples in dataset.splits.values():
        for sample in samples:
            height, width = sample.size
            boxes = sample.boxes_xyxy
            assert np.isfinite(boxes).all()
            assert ((boxes >= 0) & (boxes <= (width, height, width, height))).all()
            assert (boxes[:, 2:] > boxes[:, :2]).all()
            assert ((sample.classes >= 0) & (sample.classes < len(dataset.class_names))).all()
