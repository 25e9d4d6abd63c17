"""The four real sets: what their stats.json counts is what is read."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edgehone.data import read_dataset

DATA = Path(os.environ.get("EDGEHONE_DATA", Path(__file__).parents[2] / "../shared/data"))

SETS = {
    # name: format, pictures a split, dirt
    "bccd": ("Pascal VOC", (205, 87, 72), {"box-degenerate": 2}),
    # One fish is a sliver half a pixel wide: upstream's count calls it a box, nothing can be learnt from it.
    "aquarium-640": ("YOLO", (444, 66, 128), {"box-degenerate": 2, "box-outside": 1}),
    "cards-640": ("Pascal VOC", (248, 36, 79), {}),
    "hituav-820": ("COCO JSON", (471, 141, 200), {}),
}


@pytest.mark.parametrize("name", SETS)
def test_a_real_set_is_read_whole(name: str) -> None:
    root = DATA / name
    if not root.is_dir():
        pytest.skip(f"the data set {name} is not at {DATA}; set EDGEHONE_DATA to its folder")
    stats = json.loads((root / "stats.json").read_text())
    recognised, amounts, dirt = SETS[name]
    dataset = read_dataset(root)
    assert dataset.format == recognised
    assert tuple(len(part) for part in dataset.splits.values()) == amounts
    assert sum(amounts) == stats["images"]
    found = Counter(f.code for f in dataset.findings if f.severity != "note")
    assert found == dirt
    samples = [s for part in dataset.splits.values() for s in part]
    labels = Counter(dataset.class_names[k] for s in samples for k in s.classes)
    assert sum(labels.values()) == stats["boxes"] - sum(dirt.values())
    lost = Counter(f.message.split(":")[0] for f in dataset.findings if f.code in dirt)
    assert labels + lost == stats["classes"]
    assert Counter(f"{w}x{h}" for h, w in (s.size for s in samples)) == dict(stats["sizes"])
    assert sum(len(s.classes) == 0 for s in samples) == stats["issues"].get("no_boxes", 0)
    for sample in samples:
        height, width = sample.size
        assert sample.boxes_xyxy.dtype == np.float32
        assert (sample.boxes_xyxy[:, :2] >= 0).all()
        assert (sample.boxes_xyxy[:, 2:] <= (width, height)).all()
        assert (sample.boxes_xyxy[:, 2:] > sample.boxes_xyxy[:, :2]).all()
    listed = {line for split in ("train", "val", "test") for line in (root / f"{split}.txt").read_text().split()}
    assert {s.id for s in samples} == listed
