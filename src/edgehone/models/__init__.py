"""Detectors: graphs in Darknet's terms, and the torch network that runs them."""

from __future__ import annotations

from edgehone.models.architecture import MODELS, Architecture, DarknetArchitecture, architecture
from edgehone.models.free_capacity import AuxiliaryLoss, CapacityPlan, FreeCapacity, widen
from edgehone.models.graph import Graph
from edgehone.models.layers import (
    Avgpool,
    Convolutional,
    Dropout,
    Head,
    Layer,
    Maxpool,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Upsample,
)
from edgehone.models.network import LEAKY_SLOPE, Network, fold
from edgehone.models.training_forms import AuxiliaryHeads, plain
from edgehone.models.transfer import Transferred, transfer
from edgehone.models.yolov4_tiny import YoloV4Tiny

__all__ = [
    "LEAKY_SLOPE",
    "MODELS",
    "Architecture",
    "AuxiliaryHeads",
    "AuxiliaryLoss",
    "Avgpool",
    "CapacityPlan",
    "Convolutional",
    "DarknetArchitecture",
    "Dropout",
    "FreeCapacity",
    "Graph",
    "Head",
    "Layer",
    "Maxpool",
    "Network",
    "Reorg",
    "Route",
    "Sam",
    "ScaleChannels",
    "Shortcut",
    "Transferred",
    "Upsample",
    "YoloV4Tiny",
    "architecture",
    "fold",
    "plain",
    "transfer",
    "widen",
]
