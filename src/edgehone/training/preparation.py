"""What a training needs of its data before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgehone.darknet_pair import Masks, head_anchors
from edgehone.data import Sample
from edgehone.data.decoded_cache import LIMIT_BYTES, DecodedCache
from edgehone.data.loader import PictureCache
from edgehone.errors import UsageError
from edgehone.inference import DetectorInfo
from edgehone.models import DarknetArchitecture, architecture
from edgehone.strategy import Strategy
from edgehone.teachers import open_teacher
from edgehone.training.job import Job
from edgehone.types import Detections

CACHE_BYTES = 2 << 30


def detector_info(model: str, strategy: Strategy, class_names: Sequence[str], train: Sequence[Sample]) -> DetectorInfo:
    """Resolve what depends on the data: the anchors, and the objects of each class.

    The official anchors of a Darknet cfg are its own.
    """
    chosen = architecture(model)
    masks: Masks = ()
    if isinstance(chosen, DarknetArchitecture) and strategy.projection.anchors.kind == "official":
        official, masks = head_anchors(chosen.cfg.graph, model)
        height, width = chosen.cfg.input_size
        anchors = np.array(official) * strategy.input.size / (width, height)
    else:
        truth = truth_sides_px(train, strategy)
        strides = chosen.graph(len(class_names)).strides
        anchors = strategy.projection.anchors.anchors_px(truth, strategy.input.shape, strides)
    labels = np.concatenate([np.zeros(0, np.int64), *(sample.classes for sample in train)])
    return DetectorInfo(
        model=model,
        class_names=tuple(class_names),
        anchors_px=tuple((float(w), float(h)) for w, h in anchors.round(2)),
        strategy=strategy,
        class_counts=tuple(int(n) for n in np.bincount(labels, minlength=len(class_names))),
        cfg=chosen.text,
        masks=masks,
    )


def truth_sides_px(samples: Sequence[Sample], strategy: Strategy) -> Any:
    """``[n, 2]`` float64: width and height of every box at the network input."""
    height, width = strategy.input.shape
    sides: list[Any] = [np.zeros((0, 2))]
    for sample in samples:
        scale = np.array([width / sample.size[1], height / sample.size[0]])
        if strategy.input.fit == "letterbox":
            scale = np.full(2, scale.min())
        sides.append((sample.boxes_xyxy[:, 2:] - sample.boxes_xyxy[:, :2]) * scale)
    return np.concatenate(sides).astype(np.float64)


def picture_cache(samples: Sequence[Sample], strategy: Strategy) -> PictureCache:
    """The training pictures, shrunk to a little more than the network sees of them."""
    largest = max(strategy.augmentation.multi_scale.largest(strategy.input.shape))
    side = round(1.25 * largest)
    # A cache on disk that cannot hold all would only be written, again and again.
    fits = len(samples) * 3 * side**2 <= LIMIT_BYTES // 2
    return PictureCache(samples, side, CACHE_BYTES, DecodedCache() if fits else None)


def teacher_answers(job: Job, class_names: Sequence[str], samples: Sequence[Sample]) -> list[Detections] | None:
    """What the teacher finds in every training picture; None where the strategy learns from no teacher."""
    projection = job.strategy.projection
    if projection.needs_teacher() and job.teacher is None:
        raise UsageError(
            f"{projection.needs_teacher()} learns from a teacher, and none is given; name one with --teacher, "
            "or choose average or off"
        )
    if job.teacher is None or not projection.asks_answers():
        return None
    return open_teacher(job.teacher, class_names, job.threads).answers(samples)
