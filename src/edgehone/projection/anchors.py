"""Anchors: the box shapes that a head's answers are relative to.

Whole lists have six entries, smallest first, in pixels of the network input. The official list is
Darknet's for a 416 px input; at other input sizes it scales along, so that an anchor keeps covering
the same share of the picture.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgehone.space import Settings
from edgehone.types import Size

OFFICIAL_416_PX = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))
"""``anchors`` of yolov4-tiny.cfg: (width, height) at a 416 px input."""

HEAD_32 = (3, 4, 5)
"""Anchor indices of the stride-32 head (Darknet's first ``mask``)."""

SECOND_HEAD = {"1,2,3": (1, 2, 3), "0,1,2": (0, 1, 2)}
"""Anchor indices of the stride-16 head: the official quirk, which leaves anchor 0 to nobody, or -custom's."""


class OfficialAnchors(Settings):
    """The anchors of yolov4-tiny.cfg, clustered on COCO."""

    kind: Literal["official"] = "official"

    def anchors_px(self, truth_wh_px: NDArray[np.float64], input_size: Size) -> NDArray[np.float64]:
        """``[6, 2]`` for this input size; the data does not matter."""
        del truth_wh_px
        height, width = input_size
        return np.array(OFFICIAL_416_PX, np.float64) * (width / 416, height / 416)


class KmeansAnchors(Settings):
    """Anchors clustered on the training boxes, with 1 - shape IoU as distance.

    Source: Redmon and Farhadi, YOLOv2, 2017; Darknet's ``calc_anchors``.
    """

    kind: Literal["kmeans"] = "kmeans"

    def anchors_px(self, truth_wh_px: NDArray[np.float64], input_size: Size) -> NDArray[np.float64]:
        """``[6, 2]`` sorted by area. Fewer than six different shapes fall back on the official list.

        Args:
            truth_wh_px: ``[n, 2]`` sides of the training boxes at the network input.
            input_size: of the network.
        """
        if len(np.unique(truth_wh_px.round(2), axis=0)) < len(OFFICIAL_416_PX):
            return OfficialAnchors().anchors_px(truth_wh_px, input_size)
        return shape_kmeans(truth_wh_px, len(OFFICIAL_416_PX))


Anchors = Annotated[OfficialAnchors | KmeansAnchors, Field(discriminator="kind")]


def shape_kmeans(wh: NDArray[np.float64], count: int, seed: int = 0, rounds: int = 50) -> NDArray[np.float64]:
    """Cluster box shapes: ``[n, 2]`` to ``[count, 2]`` sorted by area. Best of five seeded starts."""
    rng = np.random.default_rng(seed)
    best, best_fit = wh[:count], -1.0
    for _ in range(5):
        centres = wh[rng.choice(len(wh), count, replace=False)]
        for _ in range(rounds):
            nearest = shape_iou(wh, centres).argmax(1)
            moved = np.array(
                [np.median(wh[nearest == k], axis=0) if (nearest == k).any() else centres[k] for k in range(count)]
            )
            if np.allclose(moved, centres):
                break
            centres = moved
        fit = float(shape_iou(wh, centres).max(1).mean())
        if fit > best_fit:
            best, best_fit = centres, fit
    return np.maximum(best[best.prod(1).argsort()], 1.0)


def shape_iou(wh: NDArray[np.float64], anchors: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of ``[n, 2]`` and ``[m, 2]`` shapes on one centre: ``[n, m]``."""
    inner = np.minimum(wh[:, None], anchors[None]).prod(-1)
    return inner / np.maximum(wh.prod(-1)[:, None] + anchors.prod(-1)[None] - inner, 1e-9)
