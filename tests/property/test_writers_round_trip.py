"""What is written as COCO or YOLO is read back equal, box by box; a copy never replaces what is there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.data import Dataset, Sample, Selection, read_dataset
from edgehone.data.writing import WRITERS, write_dataset
from edgehone.errors import UsageError

DATA = Path(os.environ.get("EDGEHONE_DATA", Path(__file__).parents[2] / "../shared/data"))
TOLERANCE_PX = 1e-3


class Noise:
    """A picture in memory."""

    def __init__(self, seed: int, size: tuple[int, int]) -> None:
        self.seed, self.size = seed, size

    def read(self) -> np.ndarray:
        return np.random.default_rng(self.seed).integers(0, 255, (*self.size, 3), np.uint8)


def same(dataset: Dataset, again: Dataset, names: dict[str, str]) -> None:
    assert again.class_names == dataset.class_names
    for split, samples in dataset.splits.items():
        found = {sample.id: sample for sample in again.splits[split]}
        assert len(found) == len(samples)
        for sample in samples:
            other = found[names[sample.id]]
            assert other.size == sample.size
            np.testing.assert_array_equal(other.classes, sample.classes)
            np.testing.assert_allclose(other.boxes_xyxy, sample.boxes_xyxy, atol=TOLERANCE_PX)


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Three splits of one to three pictures, equal file names among them, some regions to ignore."""

    def sample(split: str, number: int) -> Sample:
        height, width = draw(st.integers(33, 60)), draw(st.integers(33, 90))
        count, ignored = draw(st.integers(0 if number else 1, 4)), draw(st.integers(0, 2))
        rng = np.random.default_rng(draw(st.integers(0, 1000)))
        low = rng.uniform(0, (width - 8, height - 8), (count + ignored, 2))
        boxes = np.concatenate([low, low + rng.uniform(2, 8, low.shape)], 1).astype(np.float32)
        name = f"{split}/{'abc'[number % 2]}/{number // 2}.png"
        seed = 100 * ("train", "val", "test").index(split) + number
        classes = rng.integers(0, 3, count)
        return Sample(name, (height, width), boxes[:count], classes, Noise(seed, (height, width)), boxes[count:])

    parts = {s: tuple(sample(s, k) for k in range(draw(st.integers(1, 3)))) for s in ("train", "val", "test")}
    return Dataset("made", "memory", ("ant", "bee: 2", "größer"), **parts)


@pytest.mark.parametrize("format", WRITERS)
@settings(max_examples=25, deadline=None)
@given(dataset=datasets())
def test_what_is_written_is_read_back(format: str, dataset: Dataset) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = write_dataset(dataset, format, Path(folder) / "copy")
        again = read_dataset(Path(folder) / "copy")
        same(dataset, again, written.names)
        ignored = [sum(len(s.ignored_xyxy) for part in d.splits.values() for s in part) for d in (dataset, again)]
        assert bool(written.lost) == (format == "yolo" and ignored[0] > 0)
        if format == "coco":
            assert ignored[0] == ignored[1]
        assert not list(Path(folder).glob(".*"))


@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize("name", ["bccd", "aquarium-640", "cards-640", "hituav-820"])
def test_a_real_set_is_read_back(format: str, name: str, tmp_path: Path) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"the data set {name} is not at {DATA}; set EDGEHONE_DATA to its folder")
    dataset = read_dataset(DATA / name)
    written = write_dataset(dataset, format, tmp_path / "copy")
    same(dataset, read_dataset(written.description), written.names)


def test_ignored_classes_become_crowds_and_come_back(tmp_path: Path) -> None:
    source = DATA / "hituav-820"
    if not source.is_dir():
        pytest.skip(f"the data set hituav-820 is not at {DATA}; set EDGEHONE_DATA to its folder")
    dataset = read_dataset(source, selection=Selection(ignore=("DontCare",)))
    assert len(dataset.class_names) == 4
    assert sum(len(s.classes) for part in dataset.splits.values() for s in part) == 6623
    written = write_dataset(dataset, "coco", tmp_path / "copy")
    again = read_dataset(tmp_path / "copy")
    same(dataset, again, written.names)
    assert sum(len(s.ignored_xyxy) for part in again.splits.values() for s in part) == 20


def test_nothing_is_written_over(tmp_path: Path) -> None:
    dataset = read_dataset("builtin:digits?train=2&val=1&test=1")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something"):
        write_dataset(dataset, "coco", tmp_path)
    with pytest.raises(UsageError, match="coco or yolo"):
        write_dataset(dataset, "tfrecord", tmp_path / "new")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
