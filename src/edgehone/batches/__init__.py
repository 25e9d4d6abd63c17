"""Batches: augmented pictures and their truth as tensors, painted with OpenCV or with torch on any device."""

from __future__ import annotations

from edgehone.batches.source import Batch, BatchSource, Painter, collate
from edgehone.batches.torch_painting import paint_batch

__all__ = ["Batch", "BatchSource", "Painter", "collate", "paint_batch"]
