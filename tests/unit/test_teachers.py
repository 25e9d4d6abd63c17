"""Teachers: asked once about each picture, whatever happens to files and processes; heard through the augmentation."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch

from edgehone.augment.recipe import Recipe
from edgehone.batches import Batch, BatchSource
from edgehone.data import Dataset, Sample, read_dataset
from edgehone.data.picture import FileImage, Image
from edgehone.errors import EdgehoneError, UsageError
from edgehone.inference import Detector, PostProcess, save_detector
from edgehone.single import TrainRequest, train_one, with_teacher
from edgehone.space import replace
from edgehone.strategy import AUTHORS, Strategy
from edgehone.teachers import AnswerCache, Teacher, open_teacher
from edgehone.training import Job, Progress, Trained, picture_cache, train
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


BUSY = {
    "augmentation.mosaic.probability": 0.5,
    "augmentation.mixup.probability": 0.4,
    "augmentation.cutmix.probability": 0.4,
    "augmentation.paste.probability": 0.5,
    "augmentation.affine.degrees": 20.0,
    "augmentation.perspective.tilt": 0.05,
    "augmentation.turns.probability": 0.5,
    "augmentation.erasing.probability": 0.5,
    "augmentation.multi_scale.spread": 0.3,
}


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_answers_travel_like_labels(fit: str) -> None:
    """A teacher that answers with the labels themselves is heard to say what the labels become."""
    dataset = read_dataset("builtin:digits?train=10&val=2&test=2&width=400&height=300&max_objects=6")
    strategy = replace(AUTHORS, {"input.size": 128, "input.fit": fit, **BUSY})
    said = [
        Detections(s.boxes_xyxy, np.linspace(0.2, 0.9, len(s.classes), dtype=np.float32), s.classes)
        for s in dataset.train
    ]
    cache = picture_cache(dataset.train, strategy)
    assert cache[0].image.shape[1] < 400, "the pictures are shrunk, so that boxes must be"
    source = BatchSource(strategy, cache, 0, 20, 4, said=said)
    plain = BatchSource(strategy, cache, 0, 20, 4)
    seen = 0
    for step, indices in enumerate([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]):
        batch = source.make(step, indices)
        assert batch.answers is not None
        for name in ("classes", "images"):
            assert torch.equal(getattr(batch.answers.targets, name), getattr(batch.targets, name))
        torch.testing.assert_close(batch.answers.targets.boxes_xyxy, batch.targets.boxes_xyxy, rtol=0, atol=1e-3)
        scores = {round(float(v), 5) for one in said for v in one.scores}
        assert {round(float(v), 5) for v in batch.answers.scores} <= scores
        without: Batch = plain.make(step, indices)
        assert without.answers is None
        assert torch.equal(without.pixels, batch.pixels)
        seen += len(batch.answers.scores)
    assert seen > 10


def test_scores_stay_with_their_boxes() -> None:
    recipe = Recipe((64, 64), ())
    assert len(recipe.carried(lambda _: Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0)), 0.2)) == 0  # pyright: ignore


LEARNING = {
    "teacher": {"projection.distillation.kind": "teacher", "projection.missing.kind": "pseudo_label"},
    "average": {
        "projection.distillation.kind": "average",
        "projection.distillation.start": 0.0,
        "projection.missing.kind": "excuse",
        "projection.missing.start": 0.5,
        "projection.missing.threshold": 0.2,
        "projection.objectness.prior": 0.0,
        "optimisation.average.kind": "none",
    },
}


class Stop(Exception):
    """Raised by a watcher in the place of a person."""


@pytest.mark.parametrize("kind", LEARNING)
def test_an_interrupted_run_ends_the_same(
    kind: str, dataset: Dataset, taught: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgehone.training.CHECKPOINT_SECONDS", 0.0)
    work = job(4, taught if kind == "teacher" else None, **LEARNING[kind])
    whole = train(work, dataset.class_names, dataset.train)
    assert all(point["distillation"] > 0 for point in whole.curve[1:])
    state = tmp_path / "state.pt"

    def interrupt(progress: Progress) -> None:
        if progress.step == 2:
            raise Stop

    with pytest.raises(Stop):
        train(work, dataset.class_names, dataset.train, checkpoint=state, watch=interrupt)
    resumed = train(work, dataset.class_names, dataset.train, checkpoint=state)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert resumed.curve == whole.curve


def test_an_average_that_is_only_asked_is_not_what_is_kept(dataset: Dataset) -> None:
    late = {"projection.distillation.kind": "average", "projection.distillation.start": 1.0}
    plain = {"optimisation.average.kind": "none"}
    first = train(job(2, **plain), dataset.class_names, dataset.train)
    second = train(job(2, **plain, **late), dataset.class_names, dataset.train)
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name


def test_a_strategy_that_asks_for_a_teacher_must_have_one(dataset: Dataset, taught: str) -> None:
    with pytest.raises(UsageError, match=r"none is given; name one with --teacher"):
        train(job(1, **{"projection.distillation.kind": "teacher"}), dataset.class_names, dataset.train)
    with pytest.raises(EdgehoneError, match="which the data lacks"):
        train(job(1, taught, **{"projection.missing.kind": "excuse"}), ("a", "b"), dataset.train)


def test_a_teacher_that_is_given_is_heard() -> None:
    assert with_teacher(AUTHORS, None) is AUTHORS
    assert with_teacher(AUTHORS, "x.pt").projection.distillation.kind == "teacher"
    mends: Strategy = replace(AUTHORS, {"projection.missing.kind": "excuse"})
    assert with_teacher(mends, "x.pt") is mends


def test_from_one_run_to_the_next(tmp_path: Path, taught: str) -> None:
    """A run taught by the folder of another, whose exported graph answers."""
    first = TrainRequest(data=DATA, job=job(2))
    train_one(first, tmp_path / "first", lambda progress: None)
    work = job(3, str(tmp_path / "first"), **{"projection.distillation.kind": "teacher"})
    work = work.model_copy(update={"strategy": replace(work.strategy, {"projection.distillation.threshold": 0.0})})
    seen: list[Progress] = []
    evaluation = train_one(TrainRequest(data=DATA, job=work), tmp_path / "second", seen.append)
    assert all("distillation" in progress.loss for progress in seen)
    assert 0 <= evaluation.ap <= 1


def foreign(path: Path, answer: np.ndarray[Any, Any], names: str | None, side: int | str = 64) -> str:
    """An ONNX detector that always answers the same, in another project's form."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    picture_in = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, side, side])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, list(answer.shape))
    nodes = [
        # The brightest pixel counts, so that what is wrongly scaled is found out.
        helper.make_node("ReduceMax", ["pixels"], ["top"], keepdims=0),
        helper.make_node("Mul", ["answer", "top"], ["out"]),
    ]
    values = [numpy_helper.from_array(answer.astype(np.float32), "answer")]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [picture_in], [out], values),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    if names is not None:
        helper.set_model_props(model, {"names": names})
    onnx.save(model, str(path))
    return str(path)


CENTRES = np.array([[32, 32, 16, 8], [10, 40, 4, 4]], np.float32)
OBJECTNESS = np.array([[0.8], [0.5]], np.float32)
SCORES = np.array([[0.0, 1.0, 0.0], [0.9, 0.0, 0.0]], np.float32)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("objectness", [False, True])
@pytest.mark.parametrize("side", [64, "side"])
def test_a_detector_from_elsewhere_may_teach(turned: bool, objectness: bool, side: int | str, tmp_path: Path) -> None:
    parts = [CENTRES, OBJECTNESS, SCORES] if objectness else [CENTRES, OBJECTNESS * SCORES]
    answer = np.concatenate(parts, axis=1)[None]
    answer = answer.transpose(0, 2, 1) if turned else answer
    path = foreign(tmp_path / "x.onnx", answer, "{0: 'cat', 1: 'dog', 2: 'cow'}", side)
    image = np.full((64, 128, 3), 255, np.uint8)
    assert cv2.imwrite(str(tmp_path / "white.png"), image)
    sample = Sample(
        "w", (64, 128), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), FileImage(tmp_path / "white.png")
    )
    said = open_teacher(path, ("dog", "cow", "cat")).answers([sample])[0]
    assert said.classes.tolist() == [0, 2]
    assert said.scores.tolist() == pytest.approx([0.8, 0.45])
    # 128 x 64 px in a letterbox of 64: half the size, 16 px down; or in one of 640: five times, 160 px down.
    scale, down = (0.5, 16) if side == 64 else (5.0, 160)
    corners = np.array([[24, 28, 40, 36], [8, 38, 12, 42]]) - [0, down, 0, down]
    expected = np.clip(corners / scale, 0, [128, 64, 128, 64])
    np.testing.assert_allclose(said.boxes_xyxy, expected, atol=1e-4)


def test_what_is_not_understood_of_a_foreign_graph_is_said(tmp_path: Path) -> None:
    answer = np.concatenate([CENTRES, OBJECTNESS, SCORES], axis=1)[None]
    with pytest.raises(EdgehoneError, match=r"must have names.*x\.names"):
        open_teacher(foreign(tmp_path / "x.onnx", answer, None), ("a",))
    (tmp_path / "x.names").write_text("a\nb\n\nc\n")
    assert open_teacher(str(tmp_path / "x.onnx"), ("a", "b", "c")).numbers == (0, 1, 2)
    with pytest.raises(EdgehoneError, match=r"1 x n x 7 or 1 x n x 6 .* gives 1 x 2 x 8"):
        open_teacher(foreign(tmp_path / "y.onnx", answer, "['a', 'b']"), ("a", "b"))
    (tmp_path / "z.onnx").write_bytes(b"no graph")
    with pytest.raises(EdgehoneError, match=r"z\.onnx"):
        open_teacher(str(tmp_path / "z.onnx"), ("a",))
