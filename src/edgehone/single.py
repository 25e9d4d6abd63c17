"""One step at a time: train one strategy, evaluate one model, detect in pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from edgehone.data import Dataset, Selection, read_dataset
from edgehone.data.picture import SUFFIXES, read_image
from edgehone.deploy.bundle import Deployment, Wishes, deploy, deployable
from edgehone.deploy.bundle.origin import DEPTH
from edgehone.deploy.bundle.writing import require_writable
from edgehone.deploy.convert import open_trained
from edgehone.deploy.integer.accuracy import Inquiry, integer_accuracy
from edgehone.deploy.integer.summary import describe
from edgehone.deploy.onnx_graph import export_onnx
from edgehone.errors import EdgehoneError, UsageError
from edgehone.evaluation import Evaluation, evaluate_detections
from edgehone.files import read_json, write_bytes, write_json
from edgehone.inference import (
    CHECKPOINT,
    EXPORT,
    Detector,
    PostProcess,
    TorchRuntime,
    open_detector,
    open_network,
    save_detector,
)
from edgehone.models import FreeCapacity
from edgehone.report.examples import draw_example
from edgehone.run_folder import REQUEST, open_run
from edgehone.space import Settings, load, replace
from edgehone.strategy import Strategy, save_strategy
from edgehone.training import Job, Progress, train
from edgehone.types import Json, Picture


class TrainRequest(Settings):
    """What a training's folder holds: another request for it is refused."""

    data: str
    format: str | None = None
    selection: Selection = Selection()
    job: Job


def with_teacher(strategy: Strategy, teacher: str | None) -> Strategy:
    """The strategy that a teacher is given for: if nothing in it asks for a teacher, it distils."""
    if teacher is None or strategy.projection.asks_teacher():
        return strategy
    return replace(strategy, {"projection.distillation.kind": "teacher"})


def train_one(request: TrainRequest, out: Path, watch: Callable[[Progress], None]) -> Evaluation:
    """Train, keep detector, graph, strategy and curve in ``out``, and evaluate on validation.

    A training that is complete in ``out`` is not repeated, only evaluated.
    """
    with open_run(out, request):
        dataset = read_dataset(request.data, format=request.format, selection=request.selection)
        if not (out / CHECKPOINT).is_file():
            _train_into(request.job, dataset, out, watch)
        network, info = open_network(out / CHECKPOINT)
        return _evaluate(Detector(info, TorchRuntime(network)), dataset, "val")


def _train_into(job: Job, dataset: Dataset, out: Path, watch: Callable[[Progress], None]) -> None:
    """Train; the checkpoint is written last, so that where it is, everything is."""
    state = out / "state.pt"
    trained = train(job, dataset.class_names, dataset.train, checkpoint=state, watch=watch)
    metadata = {"detector": trained.info.model_dump(mode="json")}
    export_onnx(trained.network, trained.info.input_size, metadata, out / EXPORT)
    save_strategy(job.strategy, out / "strategy.json")
    if job.weights is not None:
        write_json(out / "transferred.json", asdict(job.weights.carry_into(trained.info.network())))
    if job.strategy.capacity != FreeCapacity():
        write_json(out / "capacity.json", trained.plan.describe(trained.info.graph()))
    write_json(out / "curve.json", trained.curve)
    save_detector(trained.network, trained.info, out / CHECKPOINT)
    state.unlink(missing_ok=True)


def _evaluate(detector: Detector, dataset: Dataset, split: str) -> Evaluation:
    samples = dataset.splits[split]
    detections = list(detector.detect(s.read().image for s in samples))
    return evaluate_detections([s.truth() for s in samples], detections, dataset.class_names)


def evaluate_model(model: str, dataset: Dataset, split: str) -> Evaluation:
    """COCO metrics of any model on a split.

    Raises:
        UsageError: no such split.
        EdgehoneError: the model's classes are not the data's.
    """
    detector = open_detector(model)
    if split not in dataset.splits:
        raise UsageError(f"the splits are {', '.join(dataset.splits)}; got {split!r}")
    if not dataset.splits[split]:
        raise EdgehoneError(f"the {split} split of {dataset.name} is empty")
    detector.info.require_classes(dataset.class_names)
    return _evaluate(detector, dataset, split)


def evaluate_integer(
    model: str, dataset: Dataset, split: str, board: str, max_drop: float
) -> tuple[dict[str, Json], list[str]]:
    """A trained model in a board's integer arithmetic: as JSON, and in words.

    Raises:
        UsageError: no arithmetic is known of the board, no such split, or a model without weights to round.
        EdgehoneError: the model's classes are not the data's, or the split is empty.
    """
    network, info = open_trained(model)
    found, _ = integer_accuracy(network, info, dataset, board, Inquiry(max_drop=max_drop, tested_on=split))
    return found.model_dump(mode="json"), list(describe(found))


def deploy_model(model: str, board_name: str, out: Path, data: str | None, wishes: Wishes) -> Deployment:
    """The bundle of a trained model; pictures come from ``data``, or from the data that it was trained on.

    Raises:
        UsageError: no such board or model, or nobody knows its data.
        EdgehoneError: a graph does not say what the network says, or does not run on the board.
    """
    deployable(board_name)
    require_writable(out)
    dataset = _data_of(model) if data is None else read_dataset(data)
    return deploy(model, board_name, dataset, out, wishes)


def _data_of(model: str) -> Dataset:
    """What a run's folder, or the folder that a run's file is in, was made from."""
    path = Path(model)
    for folder in (path, *path.parents)[:DEPTH] if path.exists() else ():
        if (folder / REQUEST).is_file():
            request = read_json(folder / REQUEST)
            selection = load(Selection, request.get("selection", {}))
            try:
                return read_dataset(request["data"], format=request.get("format"), selection=selection)
            except UsageError as error:
                raise UsageError(f"pictures come from the data of the run, and {error}: give --data") from None
    raise UsageError(f"golden pictures come from the data of the run, and {model} is of no run: give --data")


def detect_in(
    model: str, pictures: Sequence[Path], threshold: float, out: Path | None, letterbox: bool | None = None
) -> list[dict[str, Json]]:
    """Detections of picture files, as ``detect --json`` prints them; drawn into ``out`` where given."""
    detector = open_detector(model, letterbox=letterbox)
    names = detector.info.class_names
    found: list[dict[str, Json]] = []
    for path in picture_files(pictures):
        image = read_image(path)
        detections = next(iter(detector.detect([image], PostProcess(score_threshold=threshold, iou_threshold=0.45))))
        rows = zip(detections.boxes_xyxy, detections.scores, detections.classes, strict=True)
        found.append(
            {
                "path": str(path),
                "height": image.shape[0],
                "width": image.shape[1],
                "detections": [
                    {
                        "box_xyxy": [round(float(v), 2) for v in box],
                        "score": round(float(score), 5),
                        "class": names[int(k)],
                    }
                    for box, score, k in rows
                ],
            }
        )
        if out is not None:
            empty = Picture(image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
            write_bytes(out / f"{path.stem}.jpg", draw_example(empty, detections, names, threshold))
    return found


def picture_files(sources: Sequence[Path]) -> list[Path]:
    """The given files, and the pictures in given folders.

    Raises:
        UsageError: one that does not exist, or a folder without pictures.
    """
    files: list[Path] = []
    for source in sources:
        if source.is_dir():
            inside = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise UsageError(f"there are no pictures in {source}")
            files.extend(inside)
        elif source.is_file():
            files.append(source)
        else:
            raise UsageError(f"there is no picture {source}")
    return files
