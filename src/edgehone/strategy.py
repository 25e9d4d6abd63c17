"""A strategy: every decision about how a detector learns, as one typed value; and the presets.

Sources of the presets' constants: darknet cfg/yolov4-tiny.cfg and src/data.c; WongKinYiu/PyTorch_YOLOv4
data/hyp.scratch.s.yaml and utils/loss.py. Lengths (warm-up, schedule, average) are shares of the run, so that
a run of any length is a small copy of the published one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from edgehone.augment import Affine, Augmentation, DarknetHsv, Flip, Mixup, Mosaic, UniformHsv
from edgehone.errors import UsageError
from edgehone.files import read_json, write_json
from edgehone.models import FreeCapacity
from edgehone.optimisation import Cosine, Ema, NoAverage, Optimisation, Sgd, Steps, WarmUp
from edgehone.projection import (
    BestAnchor,
    Ciou,
    Classification,
    ExpCoding,
    Objectness,
    OfficialAnchors,
    Projection,
    RatioMatch,
    SquaredSigmoidCoding,
)
from edgehone.space import SCHEMA, Choice, Settings, load
from edgehone.types import Size

InputSize = Literal[128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448, 480, 512, 544, 576, 608, 640]
INPUT_SIZES = (160, 192, 224, 256, 288, 320, 352, 384, 416)
"""The input sizes that are searched: multiples of the coarsest stride up to the official one."""


class Input(Settings):
    """How a picture becomes a network input: a square of ``size`` pixels, stretched or letterboxed."""

    size: Annotated[InputSize, Choice(*INPUT_SIZES)] = 416
    fit: Annotated[Literal["stretch", "letterbox"], Choice("stretch", "letterbox")] = "stretch"

    @property
    def shape(self) -> Size:
        """``(height, width)``."""
        return (self.size, self.size)


class Strategy(Settings):
    """The sum of all decisions: what is searched, saved, compared and explained."""

    input: Input = Input()
    projection: Projection = Projection()
    augmentation: Augmentation = Augmentation()
    optimisation: Optimisation = Optimisation()
    capacity: FreeCapacity = FreeCapacity()


DARKNET = Strategy(
    projection=Projection(
        anchors=OfficialAnchors(),
        second_head_mask="1,2,3",
        coding=ExpCoding(scale_x_y=1.05),
        assigner=BestAnchor(iou_thresh=1.0, ignore_threshold=0.7),
        box_loss=Ciou(weight=0.07),
        objectness=Objectness(target="one", weight=1.0, fine_weight=1.0, prior=0.0),
        classification=Classification(weight=1.0),
        normalisation="image",
    ),
    augmentation=Augmentation(
        mosaic=Mosaic(probability=0.0),
        mixup=Mixup(probability=0.0),
        # resize=1.5 zooms between 1/1.5 and 1.5; a third either way is the symmetric form of it
        affine=Affine(scale=0.33, translate=0.0, crop_jitter=0.3),
        hsv=DarknetHsv(hue_shift=0.1, saturation_factor=1.5, value_factor=1.5),
        flip=Flip(horizontal=0.5, vertical=0.0),
        off_fraction=0.0,
    ),
    optimisation=Optimisation(
        optimizer=Sgd(lr=0.00261, momentum=0.9, nesterov=False, weight_decay=5e-4),
        schedule=Steps(first=0.8, second=0.9),
        warm_up=WarmUp(fraction=0.05, power=4.0),
        average=NoAverage(),
        batch_size=64,
    ),
)
"""The official Darknet recipe, quirks kept."""

AUTHORS = Strategy(
    projection=Projection(
        anchors=OfficialAnchors(),
        second_head_mask="1,2,3",
        coding=SquaredSigmoidCoding(),
        assigner=RatioMatch(anchor_t=4.0),
        box_loss=Ciou(weight=0.05),
        objectness=Objectness(target="iou", weight=1.0, fine_weight=4.0, prior=0.01),
        classification=Classification(weight=0.5),
        normalisation="mean",
    ),
    augmentation=Augmentation(
        mosaic=Mosaic(probability=1.0),
        mixup=Mixup(probability=0.0),
        affine=Affine(scale=0.5, translate=0.0, crop_jitter=0.0),
        hsv=UniformHsv(hue=0.015, saturation=0.7, value=0.4),
        flip=Flip(horizontal=0.5, vertical=0.0),
        off_fraction=0.0,
    ),
    optimisation=Optimisation(
        optimizer=Sgd(lr=0.01, momentum=0.937, nesterov=True, weight_decay=5e-4),
        schedule=Cosine(final=0.2),
        warm_up=WarmUp(fraction=0.05, power=1.0),
        average=Ema(horizon=0.05),
        batch_size=64,
    ),
)
"""The small-model recipe of the authors' later PyTorch code."""

PRESETS: dict[str, Strategy] = {"darknet": DARKNET, "authors": AUTHORS}


def save_strategy(strategy: Strategy, path: Path, origins: dict[str, Any] | None = None) -> None:
    """Write a strategy with its schema number and, where known, the origin of every value."""
    content: dict[str, Any] = {"schema": SCHEMA, "strategy": strategy.model_dump(mode="json")}
    if origins is not None:
        content["origins"] = origins
    write_json(path, content)


def load_strategy(source: str) -> Strategy:
    """A preset by name or a strategy file.

    Raises:
        UsageError: neither, or a file that is not a valid strategy of this schema.
    """
    if source in PRESETS:
        return PRESETS[source]
    path = Path(source)
    if not path.is_file():
        raise UsageError(f"a strategy is a preset ({', '.join(PRESETS)}) or a JSON file, got {source!r}")
    try:
        content = read_json(path)
    except ValueError as error:
        raise UsageError(f"a strategy file is JSON, but {path} is not: {error}") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or "strategy" not in content:
        raise UsageError(f"a strategy file holds schema {SCHEMA} and a strategy; {path} does not")
    return load(Strategy, content["strategy"])
