"""Teachers: detectors that answer once about each original picture, and their answers on disk.

An answer belongs to the content of a picture's file and to the bytes of the teacher's files, so that it is never out of
date: a picture or a teacher that changes is another one.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from edgehone.batches.source import collate_boxes
from edgehone.data import Sample
from edgehone.data.decoded_cache import default_folder
from edgehone.data.picture import FileImage, Image, ImageSource, decode, read_content
from edgehone.data.picture_header import opened
from edgehone.errors import EdgehoneError
from edgehone.inference import CHECKPOINT, EXPORT, PostProcess, open_detector, select
from edgehone.projection.distillation import joint_logits
from edgehone.teachers.answer_cache import AnswerCache
from edgehone.teachers.foreign_onnx import is_foreign, open_foreign
from edgehone.teachers.inside import open_inside as open_inside
from edgehone.types import Answers, Detections, Predictions

FORMAT = 1
"""Raised when what an entry holds, or how a teacher is asked, changes: older entries are then not found."""

ASKED = PostProcess(score_threshold=0.05, iou_threshold=0.5)
"""What counts as an answer; strategies choose among them by thresholds of their own."""


class Answering(Protocol):
    """Something that finds objects in pictures: a :class:`~edgehone.inference.Detector`, or what stands for one."""

    def detect(self, images: Iterable[Image], post: PostProcess) -> Iterator[Detections]:
        """Detections of each picture in turn, in its own pixels, best first; pictures are read lazily."""
        ...


@dataclass(frozen=True)
class Teacher:
    """A detector that is asked about the pictures of a data set.

    Attributes:
        detector: any.
        numbers: ``[c]`` int64, the data's number of each of its classes; -1 for a class that the data lacks.
        cache: of its answers.
    """

    detector: Answering
    numbers: tuple[int, ...]
    cache: AnswerCache

    def answers(self, samples: Sequence[Sample]) -> list[Detections]:
        """What it finds in each picture, in the picture's pixels, best first, in the data's classes."""
        said: dict[int, Detections] = {}
        asked: deque[tuple[int, str]] = deque()

        def unknown() -> Iterator[Image]:
            for place, sample in enumerate(samples):
                digest, read = _content(sample.source)
                found = self.cache.load(digest)
                if found is not None:
                    said[place] = found
                else:
                    asked.append((place, digest))
                    yield read()

        for found in self.detector.detect(unknown(), ASKED):
            place, digest = asked.popleft()
            self.cache.store(digest, found)
            said[place] = found
        return [self._in_our_classes(said[place]) for place in range(len(samples))]

    def _in_our_classes(self, said: Detections) -> Detections:
        classes = np.array(self.numbers, np.int64)[said.classes]
        keep = classes >= 0
        return Detections(said.boxes_xyxy[keep], said.scores[keep], classes[keep])


def open_teacher(source: str, class_names: Sequence[str], threads: int = 0) -> Teacher:
    """A teacher from whatever :func:`~edgehone.inference.open_detector` opens, or from an ONNX detector made elsewhere.

    Its classes are found by name. It may know fewer than the data, or more.

    Raises:
        UsageError: there is no such detector.
        EdgehoneError: it cannot be read, or neither its classes nor the data's hold all of the other's.
    """
    if is_foreign(Path(source)):
        detector = open_foreign(Path(source), threads)
        theirs = detector.class_names
    else:
        detector = open_detector(source, threads)
        theirs = detector.info.class_names
    ours = tuple(class_names)
    lacking, foreign = (", ".join(n for n in a if n not in b) for a, b in ((ours, theirs), (theirs, ours)))
    if lacking and foreign:
        raise EdgehoneError(
            "a teacher knows all classes of the data, or none but classes of the data; "
            f"{source} knows {foreign}, which the data lacks, and not {lacking}; rename or merge classes"
        )
    numbers = tuple(ours.index(name) if name in ours else -1 for name in theirs)
    return Teacher(detector, numbers, AnswerCache(default_folder().with_name("answers") / _fingerprint(source)))


def answers_of(predictions: Predictions) -> Answers:
    """What a network found in a batch, after suppression, in pixels of the network input."""
    scores = joint_logits(predictions.objectness_logits, predictions.class_logits).sigmoid()
    each = [select(boxes, one, ASKED) for boxes, one in zip(predictions.boxes_xyxy, scores, strict=True)]
    targets = collate_boxes([(one.boxes_xyxy, one.classes) for one in each], predictions.boxes_xyxy.device)
    return Answers(targets, torch.from_numpy(np.concatenate([one.scores for one in each])).to(scores.device))


def _fingerprint(source: str) -> str:
    """Names a teacher: the bytes of its files and how it is asked."""
    path = Path(source)
    files = [path] if path.exists() else [Path(part) for part in source.split("+")]
    if path.is_dir():
        files = [path / name for name in (EXPORT, CHECKPOINT) if (path / name).is_file()][:1]
    digest = hashlib.blake2b(f"{FORMAT} {ASKED.model_dump_json()}".encode(), digest_size=16)
    for file in files:
        digest.update(hashlib.blake2b(file.read_bytes()).digest())
    return digest.hexdigest()


def _content(source: ImageSource) -> tuple[str, Callable[[], Image]]:
    """What names a picture's content, and how to get the pixels of just that content."""
    if not isinstance(source, FileImage):
        image = source.read()
        return _digest(str(image.shape).encode() + image.tobytes()), lambda: image
    with opened(source.path) as file:
        content, header = read_content(file)

    def pixels() -> Image:
        with opened(source.path):  # names the file in what is raised
            return decode(content, header)

    return _digest(content), pixels


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
