"""The YOLOv4-tiny family: AlexeyAB/darknet cfg/yolov4-tiny.cfg and -3l.cfg layer by layer, and its neighbours."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgehone.models.graph import Graph
from edgehone.models.layers import Convolutional, Head, Layer, Maxpool, Route, Upsample
from edgehone.space import Choice, Settings, Span

ANCHORS_PER_HEAD = 3
MULTIPLE = 8
"""Channels come in multiples of this: what vector units like."""

OFFICIAL_416_PX = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))
OFFICIAL_608_PX = ((12, 16), (19, 36), (40, 28), (36, 75), (76, 55), (72, 146), (142, 110), (192, 243), (459, 401))
OFFICIAL = {
    2: (416, OFFICIAL_416_PX, ((3, 4, 5), (1, 2, 3))),
    3: (608, OFFICIAL_608_PX, ((6, 7, 8), (3, 4, 5), (0, 1, 2))),
}
"""Heads to what the cfgs say: input size, anchors, and which of them each head owns, coarse head first."""


class YoloV4Tiny(Settings):
    """A backbone of three cross-stage-partial blocks, and heads at strides 32, 16 and, of three, 8.

    Attributes:
        width: multiplies the channels of every layer but the heads, which are then rounded to :data:`MULTIPLE`.
        heads: two, or three for small objects (the -3l cfg).
        activation: leaky as published; ReLU6 is what integer arithmetic likes best.
    """

    kind: Literal["yolov4-tiny"] = "yolov4-tiny"
    width: Annotated[float, Span(0.25, 1.5)] = Field(default=1.0, ge=0.125, le=4.0)
    heads: Annotated[Literal[2, 3], Choice(2, 3)] = 2
    activation: Annotated[Literal["leaky", "relu6"], Choice("leaky", "relu6")] = "leaky"

    @property
    def name(self) -> str:
        """By which :func:`~edgehone.models.architecture` finds it: ``yolov4-tiny@width=0.5,activation=relu6``."""
        base = "yolov4-tiny-3l" if self.heads == 3 else "yolov4-tiny"
        given = {"width": f"{self.width:g}", "activation": self.activation}
        defaults = {"width": "1", "activation": "leaky"}
        changed = ",".join(f"{key}={value}" for key, value in given.items() if value != defaults[key])
        return f"{base}@{changed}" if changed else base

    @property
    def text(self) -> None:
        """A built-in architecture is not written down in a cfg."""
        return None

    def graph(self, classes: int, anchors_per_head: int | None = None) -> Graph:
        """The layers (38, or 45 with three heads) for a number of classes."""
        layers: list[Layer] = [
            self._convolutional(32, 3, stride=2),  # 0: 1/2
            self._convolutional(64, 3, stride=2),  # 1: 1/4
            *self._block(64, start=2),  # 2-8
            Maxpool(),  # 9: 1/8
            *self._block(128, start=10),  # 10-16; 15 is the lateral of the third head
            Maxpool(),  # 17: 1/16
            *self._block(256, start=18),  # 18-24; 23 is the lateral of the second head
            Maxpool(),  # 25: 1/32
            self._convolutional(512, 3),  # 26
            self._convolutional(256, 1),  # 27
            self._convolutional(512, 3),  # 28
            *self._head(0, classes),  # 29, 30: stride 32
            Route((27,)),  # 31
            self._convolutional(128, 1),  # 32
            Upsample(),  # 33
            Route((33, 23)),  # 34
            self._convolutional(256, 3),  # 35
            *self._head(1, classes),  # 36, 37: stride 16
        ]
        if self.heads == 3:
            layers += [
                Route((35,)),  # 38
                self._convolutional(64, 1),  # 39
                Upsample(),  # 40
                Route((40, 15)),  # 41
                self._convolutional(128, 3),  # 42
                *self._head(2, classes),  # 43, 44: stride 8
            ]
        graph = Graph(tuple(layers))
        return graph if anchors_per_head is None else graph.with_classes(classes, anchors_per_head)

    def _convolutional(self, channels: int, size: int, stride: int = 1) -> Convolutional:
        return Convolutional(rounded(channels * self.width), size, stride, activation=self.activation)

    def _block(self, channels: int, start: int) -> list[Layer]:
        """Seven layers, the first at index ``start``: half of the channels pass two convolutions, all are joined."""
        half = self._convolutional(channels // 2, 3)
        whole = 2 * half.filters
        return [
            Convolutional(whole, 3, activation=self.activation),
            Route((start,), groups=2, group=1),
            half,
            half,
            Route((start + 3, start + 2)),
            Convolutional(whole, 1, activation=self.activation),
            Route((start, start + 5)),
        ]

    def _head(self, level: int, classes: int) -> tuple[Convolutional, Head]:
        _, anchors_px, masks = OFFICIAL[self.heads]
        head = Head(
            anchors_px=anchors_px,
            mask=masks[level],
            classes=classes,
            scale_x_y=1.05,
            iou_loss="ciou",
            ignore_thresh=0.7,
            iou_normalizer=0.07,
            nms_kind="greedynms",
            jitter=0.3,
            resize=1.5,
        )
        filters = ANCHORS_PER_HEAD * (5 + classes)
        return Convolutional(filters, 1, batch_normalize=False, activation="linear"), head


def rounded(channels: float) -> int:
    """The nearest multiple of :data:`MULTIPLE`, at least one of it."""
    return max(MULTIPLE, MULTIPLE * round(channels / MULTIPLE))
