"""YOLOv4-tiny, layer by layer as in AlexeyAB/darknet cfg/yolov4-tiny.cfg."""

from __future__ import annotations

from typing import Literal

from edgehone.models.graph import Convolutional, Graph, Head, Layer, Maxpool, Route, Upsample
from edgehone.space import Settings

ANCHORS_PER_HEAD = 3


class YoloV4Tiny(Settings):
    """Two heads, at strides 32 and 16, over a backbone of three cross-stage-partial blocks."""

    kind: Literal["yolov4-tiny"] = "yolov4-tiny"

    def graph(self, classes: int, anchors: int = ANCHORS_PER_HEAD) -> Graph:
        """The 38 layers for a number of classes and of anchors a head."""
        head = Convolutional(anchors * (5 + classes), 1, batch_normalize=False, activation="linear")
        layers: list[Layer] = [
            Convolutional(32, 3, stride=2),  # 0: 1/2
            Convolutional(64, 3, stride=2),  # 1: 1/4
            *csp_block(64, start=2),  # 2-8
            Maxpool(),  # 9: 1/8
            *csp_block(128, start=10),  # 10-16
            Maxpool(),  # 17: 1/16
            *csp_block(256, start=18),  # 18-24; 23 is the lateral of the second head
            Maxpool(),  # 25: 1/32
            Convolutional(512, 3),  # 26
            Convolutional(256, 1),  # 27
            Convolutional(512, 3),  # 28
            head,  # 29
            Head(),  # 30: stride 32
            Route((27,)),  # 31
            Convolutional(128, 1),  # 32
            Upsample(),  # 33
            Route((33, 23)),  # 34
            Convolutional(256, 3),  # 35
            head,  # 36
            Head(),  # 37: stride 16
        ]
        return Graph(tuple(layers))


def csp_block(channels: int, start: int) -> list[Layer]:
    """Seven layers, the first at index ``start``: half of the channels pass two convolutions, all are joined."""
    return [
        Convolutional(channels, 3),
        Route((start,), groups=2, group=1),
        Convolutional(channels // 2, 3),
        Convolutional(channels // 2, 3),
        Route((start + 3, start + 2)),
        Convolutional(channels, 1),
        Route((start, start + 5)),
    ]
