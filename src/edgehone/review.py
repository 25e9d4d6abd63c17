"""A trained run held against the labels that it learned from: which of them deserve a second look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgehone.analysis.label_review import Review, convene
from edgehone.data import Dataset
from edgehone.data.reading import Watch
from edgehone.errors import UsageError
from edgehone.inference import CHECKPOINT, Detector, TorchRuntime, open_detector, open_network
from edgehone.search.ladder import FINAL
from edgehone.search.trial import finished
from edgehone.types import Detections

SPLITS = ("train", "val", "test")
TRIALS = "trials"
CAPABLE = 0.8
"""Share of the best detector's AP on validation that a finalist needs to be asked."""

BATCH = 8


def review_run(
    model: str,
    dataset: Dataset,
    splits: Sequence[str] = SPLITS,
    *,
    unseen_first: bool = True,
    watch: Watch | None = None,
) -> Review:
    """Labels of a data set that look wrong to the detectors of a run that was trained on it.

    Args:
        model: a run folder (all its capable finalists are asked), a checkpoint or an exported graph.
        dataset: the data that the run was trained on.
        splits: to review.
        unseen_first: rank validation and test before the training split, whose labels the detectors know.
        watch: told of progress: pictures done, pictures in all.

    Raises:
        UsageError: no such model or split.
        EdgehoneError: a model whose classes are not the data's.
    """
    unknown = [split for split in splits if split not in dataset.splits]
    if unknown:
        raise UsageError(f"the splits are {', '.join(dataset.splits)}; got {', '.join(unknown)}")
    detectors = open_run_detectors(model)
    for detector in detectors.values():
        detector.info.require_classes(dataset.class_names)
    samples = [sample for split in splits for sample in dataset.splits[split]]
    found: list[list[Detections]] = [[] for _ in detectors]
    for start in range(0, len(samples), BATCH):
        images = [sample.read().image for sample in samples[start : start + BATCH]]
        for said, detector in zip(found, detectors.values(), strict=True):
            said.extend(detector.detect(images, batch_size=BATCH))
        if watch is not None:
            watch(min(start + BATCH, len(samples)), len(samples))
    panel, cases = convene(samples, found, dataset.class_names, {sample.id for sample in dataset.train})
    return Review(
        detectors=tuple(detectors),
        splits=tuple(splits),
        suspects=tuple(panel.suspects(cases, unseen_first)),
        not_judged=tuple(n for n, known in zip(dataset.class_names, panel.judged, strict=True) if not known),
        note=_note(splits),
    )


def open_run_detectors(model: str) -> dict[str, Detector]:
    """The detectors to ask, by name: the capable finalists of a run folder, else the one model there is.

    The found detector is one of a run's finalists. A finalist is capable if it reaches :data:`CAPABLE` of the
    best one's AP on validation: weaker ones would outvote those that see more.
    """
    folder = Path(model) / TRIALS
    finals = [o for o in finished(folder).values() if o.task.rung == FINAL] if folder.is_dir() else []
    least = CAPABLE * max((outcome.ap for outcome in finals), default=0.0)
    paths = {
        outcome.task.name: folder / outcome.task.name / CHECKPOINT
        for outcome in sorted(finals, key=lambda outcome: -outcome.ap)
        if outcome.ap >= least and (folder / outcome.task.name / CHECKPOINT).is_file()
    }
    if not paths:
        return {Path(model).name: open_detector(model)}
    opened: dict[str, Detector] = {}
    for name, path in paths.items():
        network, info = open_network(path)
        opened[name] = Detector(info, TorchRuntime(network))
    return opened


def _note(splits: Sequence[str]) -> str:
    text = "Detectors contradict these labels; a weak detector contradicts good ones: look before you change a label."
    if "train" not in splits:
        return text
    return (
        f"{text} The detectors were trained on the training split and have learned its labels, faults included, "
        "more or less by heart: there they find fewer of the faults than on validation and test."
    )
