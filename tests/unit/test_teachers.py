"""Teachers: asked once about each picture, whatever happens to files and processes; heard through the augmentation."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest

from edgehone.data import Dataset, Sample, read_dataset
from edgehone.data.picture import FileImage, Image
from edgehone.errors import EdgehoneError
from edgehone.inference import Detector, PostProcess, save_detector
from edgehone.space import replace
from edgehone.strategy import AUTHORS
from edgehone.teachers import AnswerCache, Teacher, open_teacher
from edgehone.training import Job, Trained, train
from edgehone.types import Detections

DATA = "builtin:digits?train=8&val=2&test=2&width=96&height=96&min_px=30&max_px=60&max_objects=3"
FAST = {"input.size": 128, "optimisation.optimizer.kind": "adamw", "augmentation.mosaic.probability": 0.3}
SIZE = (40, 60)


class Eye:
    """A detector whose answers tell the picture; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def detect(self, images: Iterable[Image], post: PostProcess) -> Iterator[Detections]:
        for image in images:
            self.asked += 1
            level = float(image.mean())
            count = int(level) % 4
            boxes = np.arange(4 * count, dtype=np.float32).reshape(count, 4) + np.float32(level)
            scores = np.linspace(0.9, post.score_threshold, count, dtype=np.float32)
            yield Detections(boxes, scores, np.arange(count) % 3)


def teacher(folder: Path, numbers: tuple[int, ...] = (0, 1, 2)) -> tuple[Teacher, Eye]:
    eye = Eye()
    return Teacher(cast(Detector, eye), numbers, AnswerCache(folder)), eye


def picture(path: Path, level: int) -> Sample:
    image = np.random.default_rng(level).integers(0, 20, (*SIZE, 3), dtype=np.uint8) + np.uint8(level)
    assert cv2.imwrite(str(path), image)
    return Sample(path.name, SIZE, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), FileImage(path))


def pictures(folder: Path, count: int = 5) -> list[Sample]:
    return [picture(folder / f"{k}.png", 20 + 7 * k) for k in range(count)]


def same(a: list[Detections], b: list[Detections]) -> bool:
    names = ("boxes_xyxy", "scores", "classes")
    return len(a) == len(b) and all(
        np.array_equal(getattr(x, n), getattr(y, n)) and getattr(x, n).dtype == getattr(y, n).dtype
        for x, y in zip(a, b, strict=True)
        for n in names
    )


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_kept_equals_what_was_said(tmp_path: Path) -> None:
    samples = pictures(tmp_path)
    first, eye = teacher(tmp_path / "cache")
    said = first.answers(samples)
    assert eye.asked == 5
    assert any(len(one) for one in said)
    again, other = teacher(tmp_path / "cache")
    assert same(again.answers(samples), said)
    assert other.asked == 0
    assert same(again.answers(samples[::-1]), said[::-1])


def test_a_picture_that_changed_is_asked_about_again(tmp_path: Path) -> None:
    samples = pictures(tmp_path)
    asked, eye = teacher(tmp_path / "cache")
    before = asked.answers(samples)
    samples[2] = picture(tmp_path / "2.png", 111)
    after = asked.answers(samples)
    assert eye.asked == 6
    fresh, _ = teacher(tmp_path / "other")
    assert same(after, fresh.answers(samples))
    assert not same(after, before)


def test_a_damaged_entry_is_made_anew(tmp_path: Path) -> None:
    samples = pictures(tmp_path, 2)
    asked, eye = teacher(tmp_path / "cache")
    said = asked.answers(samples)
    place = max(entries(tmp_path / "cache"), key=lambda path: path.stat().st_size)
    whole = place.read_bytes()
    flipped = [whole[:k] + bytes([whole[k] ^ 1]) + whole[k + 1 :] for k in range(len(whole))]
    for damaged in [b"", whole[:-1], whole + b"\0", *flipped]:
        place.write_bytes(damaged)
        eye.asked = 0
        assert same(asked.answers(samples), said)
        assert eye.asked == 1
        assert place.read_bytes() == whole


def test_built_in_pictures_are_kept_too(tmp_path: Path) -> None:
    samples = read_dataset(DATA).train
    asked, eye = teacher(tmp_path / "cache")
    said = asked.answers(samples)
    assert same(asked.answers(samples), said)
    assert eye.asked == len(samples)


def test_where_nothing_can_be_written_it_is_asked_every_time(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    samples = pictures(tmp_path, 2)
    asked, eye = teacher(tmp_path / "cache")
    assert same(asked.answers(samples), asked.answers(samples))
    assert eye.asked == 4
    assert str(tmp_path / "cache") in asked.cache.write_error


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    samples = pictures(tmp_path, 2)
    (tmp_path / "1.png").write_bytes(b"no picture")
    with pytest.raises(EdgehoneError, match=r"1\.png"):
        teacher(tmp_path / "cache")[0].answers(samples)


def _ask(folder: Path, count: int, results: Any) -> None:
    samples = [
        Sample(p.name, SIZE, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), FileImage(p))
        for p in sorted(folder.glob("*.png"))
    ]
    for _ in range(count):
        for entry in entries(folder / "cache")[::3]:
            entry.unlink(missing_ok=True)
        results.put(teacher(folder / "cache")[0].answers(samples))


def test_processes_may_share_a_cache(tmp_path: Path) -> None:
    said = teacher(tmp_path / "alone")[0].answers(pictures(tmp_path))
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_ask, args=(tmp_path, 20, results)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in range(40)]
    for process in processes:
        process.join()
    assert all(same(one, said) for one in found)
    assert not [path for path in entries(tmp_path / "cache") if path.suffix == ".tmp"]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset(DATA)


def job(steps: int = 3, named: str | None = None, **changes: Any) -> Job:
    strategy = replace(AUTHORS, {**FAST, **changes})
    return Job(model="yolov4-tiny", strategy=strategy, steps=steps, batch_size=4, teacher=named)


@pytest.fixture(scope="module")
def trained(dataset: Dataset) -> Trained:
    return train(job(2), dataset.class_names, dataset.train)


@pytest.fixture(scope="module")
def taught(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint of a network that answers, if not well."""
    path = tmp_path_factory.mktemp("teacher") / "detector.pt"
    for bias in trained.network.head_biases():
        bias.detach().view(-1, 5 + len(trained.info.class_names))[:, 4] = 0.5
    save_detector(trained.network, trained.info, path)
    return str(path)


@pytest.mark.parametrize(
    ("known", "classes"),
    [
        (tuple("210"), {"0": 0, "1": 1, "2": 2}),
        (tuple("012"), {"0": 0, "1": 1, "2": 2}),
        (("2",), {"2": 2}),
        (("x", "2", "0", "1", "y"), {"0": 0, "1": 1, "2": 2}),
    ],
)
def test_classes_are_found_by_name(
    known: tuple[str, ...], classes: dict[str, int], trained: Trained, tmp_path: Path
) -> None:
    info = trained.info.model_copy(update={"class_names": known, "class_counts": ()})
    save_detector(info.network(), info, tmp_path / "detector.pt")
    numbers = open_teacher(str(tmp_path / "detector.pt"), ("0", "1", "2")).numbers
    assert {name: number for name, number in zip(known, numbers, strict=True) if number >= 0} == classes


def test_a_teacher_of_other_classes_is_refused_with_their_names(taught: str) -> None:
    with pytest.raises(EdgehoneError, match=r"knows .*2, 3, which the data lacks, and not cat, dog; rename"):
        open_teacher(taught, ("0", "cat", "1", "dog"))


def test_classes_that_the_data_lacks_are_left_out(tmp_path: Path) -> None:
    samples = pictures(tmp_path)
    plain = teacher(tmp_path / "cache")[0].answers(samples)
    mapped = teacher(tmp_path / "cache", (2, -1, 0))[0].answers(samples)
    for one, other in zip(plain, mapped, strict=True):
        keep = one.classes != 1
        assert np.array_equal(other.boxes_xyxy, one.boxes_xyxy[keep])
        assert other.classes.tolist() == [{0: 2, 2: 0}[c] for c in one.classes[keep].tolist()]


def test_another_teacher_has_a_cache_of_its_own(taught: str, trained: Trained, tmp_path: Path) -> None:
    names = trained.info.class_names
    folders = {open_teacher(taught, names).cache.folder, open_teacher(str(Path(taught)), names).cache.folder}
    for bias in (network := trained.info.network()).head_biases():
        bias.detach().add_(0.25)
    save_detector(network, trained.info, tmp_path / "detector.pt")
    folders.add(open_teacher(str(tmp_path), names).cache.folder)
    assert len(folders) == 2
