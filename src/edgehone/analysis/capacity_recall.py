"""What a trained network finds again of the pictures that it learned from, by size and class."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehone.analysis.confidence import Answers, answers
from edgehone.data import Sample
from edgehone.inference import Detector, Precision, TorchRuntime
from edgehone.space import Settings
from edgehone.training import Trained

SIZE_EDGES_PX = (16, 32, 64, 128)
"""Sizes are told apart in octaves of sqrt(area) at the input."""


class Recall(Settings):
    """Share of the objects that are found at IoU 0.5 with their class; sizes in pixels at the input."""

    overall: float
    by_size: dict[str, float]
    by_class: dict[str, float]


@dataclass(frozen=True)
class Objects:
    """Pictures and what is known of their objects, picture after picture.

    Attributes:
        pictures: with labels.
        class_names: of the data.
        sizes: ``[n]`` octave of each object, see :func:`size_names`.
        classes: ``[n]``.
    """

    pictures: Sequence[Sample]
    class_names: Sequence[str]
    sizes: NDArray[np.int64]
    classes: NDArray[np.int64]

    @staticmethod
    def of(pictures: Sequence[Sample], class_names: Sequence[str], input_size: int) -> Objects:
        """The objects of pictures at a (stretched) input size."""
        roots = np.concatenate([root_shares(sample) for sample in pictures]) * input_size
        sizes = np.searchsorted(SIZE_EDGES_PX, roots, side="right").astype(np.int64)
        return Objects(pictures, class_names, sizes, np.concatenate([sample.classes for sample in pictures]))

    def counts(self) -> dict[str, int]:
        """Objects by size, from small to large; sizes without any are left out."""
        return {name: int((self.sizes == k).sum()) for k, name in enumerate(size_names()) if (self.sizes == k).any()}

    def recall(self, found: NDArray[np.bool_]) -> Recall:
        """From ``[n]``, whether each object is found."""
        sizes, classes = enumerate(size_names()), enumerate(self.class_names)
        return Recall(
            overall=_share(found),
            by_size={name: _share(found[self.sizes == k]) for k, name in sizes if (self.sizes == k).any()},
            by_class={name: _share(found[self.classes == k]) for k, name in classes if (self.classes == k).any()},
        )

    def fingerprint(self) -> str:
        """Names pictures and labels."""
        digest = hashlib.sha256("\0".join(self.class_names).encode())
        for sample in self.pictures:
            digest.update(f"\0{sample.id}\0{sample.size}".encode())
            digest.update(sample.boxes_xyxy.tobytes() + sample.classes.tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Remembered:
    """What a network finds of the pictures that it was asked about.

    Attributes:
        f1: the best balance of precision and recall, over all classes and scores.
        fitted: what is found from the score on at which that balance is reached.
        ceiling: what is found among the 100 best answers of a picture, whatever their score.
    """

    f1: float
    fitted: Recall
    ceiling: Recall


def remembered(trained: Trained, objects: Objects, precision: Precision) -> Remembered:
    """Ask a trained network about pictures, as they are."""
    detector = Detector(trained.info, TorchRuntime(trained.network, precision))
    images = (sample.source.read() for sample in objects.pictures)
    said = [answers(s, d) for s, d in zip(objects.pictures, detector.detect(images), strict=True)]
    found = np.concatenate([found_at(picture) for picture in said])
    f1, score = best_balance(said)
    return Remembered(round(f1, 4), objects.recall(found >= score), objects.recall(found > 0))


def found_at(picture: Answers) -> NDArray[np.float64]:
    """``[n]``: the score at which each label is found; 0 where it is not."""
    found = np.zeros(len(picture.labels))
    hits = picture.met >= 0
    found[picture.met[hits]] = picture.scores[hits]
    return found


def best_balance(said: Sequence[Answers]) -> tuple[float, float]:
    """The best F1 over all answers, and the least score that then counts; 0 and infinite where none is right."""
    scores = np.concatenate([picture.scores for picture in said])
    hits = np.concatenate([picture.met >= 0 for picture in said])
    if not hits.any():
        return 0.0, float("inf")
    order = np.argsort(-scores, kind="stable")
    right, count = np.cumsum(hits[order]), np.arange(1, len(hits) + 1)
    labels = sum(len(picture.labels) for picture in said)
    balance = 2 * right / (count + labels)
    best = int(balance.argmax())
    return float(balance[best]), float(scores[order][best])


def size_names() -> tuple[str, ...]:
    """``below 16 px``, ``16 to 32 px``, ..., from small to large."""
    between = [f"{low} to {high} px" for low, high in itertools.pairwise(SIZE_EDGES_PX)]
    return (f"below {SIZE_EDGES_PX[0]} px", *between, f"from {SIZE_EDGES_PX[-1]} px")


def root_shares(sample: Sample) -> NDArray[np.float64]:
    """``[n]``: sqrt(area) of each object as a share of a stretched input's side."""
    sides = (sample.boxes_xyxy[:, 2:] - sample.boxes_xyxy[:, :2]) / (sample.size[1], sample.size[0])
    return np.sqrt(sides.prod(1).astype(np.float64))


def _share(found: NDArray[np.bool_]) -> float:
    return round(float(found.mean()), 4) if len(found) else 0.0
