"""Detectors: graphs in Darknet's terms, and the torch network that runs them."""

from __future__ import annotations

from edgehone.models.graph import Convolutional, Graph, Head, Layer, Maxpool, Route, Upsample
from edgehone.models.network import LEAKY_SLOPE, Network, fold
from edgehone.models.yolov4_tiny import YoloV4Tiny

MODELS: dict[str, YoloV4Tiny] = {"yolov4-tiny": YoloV4Tiny()}
"""Architectures by name."""

__all__ = [
    "LEAKY_SLOPE",
    "MODELS",
    "Convolutional",
    "Graph",
    "Head",
    "Layer",
    "Maxpool",
    "Network",
    "Route",
    "Upsample",
    "YoloV4Tiny",
    "fold",
]
