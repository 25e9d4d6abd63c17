"""Box losses: how far a predicted box is from its truth, pair by pair.

Every member maps ``[p, 4]`` and ``[p, 4]`` xyxy boxes in pixels of the network input to a loss ``[p]``, zero for
equal boxes, finite with finite gradients for degenerate and far ones. ``weight`` is the term's share in the
total. A new one is one class with ``kind``, ``weight`` and ``loss`` in a file, and its name in the union here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgehone.projection.box_loss.iou_family import AlphaIou, Ciou, Diou, Eiou, Giou, Iou
from edgehone.projection.box_loss.mse import Mse
from edgehone.projection.box_loss.siou import Siou
from edgehone.projection.box_loss.wasserstein import Wasserstein

BoxLoss = Annotated[Ciou | Giou | Diou | Siou | Iou | Eiou | AlphaIou | Mse | Wasserstein, Field(discriminator="kind")]

__all__ = ["AlphaIou", "BoxLoss", "Ciou", "Diou", "Eiou", "Giou", "Iou", "Mse", "Siou", "Wasserstein"]
