"""How the capacity probe learns, and under how much augmentation."""

from __future__ import annotations

from edgehone.augment import NONE, Affine, Augmentation, Flip, Mixup, Mosaic, UniformHsv
from edgehone.optimisation import AdamW, Cosine, NoAverage, Optimisation
from edgehone.projection import (
    Ciou,
    Classification,
    KmeansAnchors,
    Objectness,
    Projection,
    SquaredSigmoidCoding,
    TaskAligned,
)
from edgehone.strategy import Input, Strategy


def ladder_augmentation(strength: float) -> Augmentation:
    """Augmentation between none (0) and that of the authors' recipes for large networks (1).

    At 1: mosaic always, mixup 0.15, scale 0.9, translation 0.2, colours 0.015 / 0.7 / 0.4 (hyp.scratch.p5 of YOLOv7);
    everything in proportion below. The recipe for tiny networks (scale 0.5, mixup 0.05) lies near the middle.
    """
    if strength == 0:
        return NONE
    return NONE.model_copy(
        update={
            "mosaic": Mosaic(probability=strength),
            "mixup": Mixup(probability=0.15 * strength),
            "affine": Affine(scale=0.9 * strength, translate=0.2 * strength),
            "hsv": UniformHsv(hue=0.015 * strength, saturation=0.7 * strength, value=0.4 * strength),
            "flip": Flip(horizontal=0.5, vertical=0.0),
        }
    )


def probe_strategy(input_size: int, classes: int, strength: float) -> Strategy:
    """How the probe learns: what works in short runs (docs/adr/0009), so that capacity is what limits it."""
    return Strategy(
        input=Input.model_validate({"size": input_size}),
        projection=Projection(
            anchors=KmeansAnchors(),
            coding=SquaredSigmoidCoding(),
            assigner=TaskAligned(),
            box_loss=Ciou(weight=0.12),
            objectness=Objectness(target="quality", fine_weight=1.0),
            classification=Classification(weight=min(4.0, 0.25 * 80 / classes)),
            vote="object",
        ),
        augmentation=ladder_augmentation(strength),
        optimisation=Optimisation(optimizer=AdamW(lr=1e-3), schedule=Cosine(), average=NoAverage()),
    )
