"""Ratio match with neighbour cells."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from edgehone.projection.assigners.candidates import Matches, assign_by_image, near_cells, within_ratio
from edgehone.space import Settings, Span
from edgehone.types import Assignment, Lattice, Predictions, Targets


class RatioMatch(Settings):
    """Every anchor whose sides are within ``anchor_t`` times the object's, in its cell and two neighbours.

    A slot may learn several objects at once. Source: YOLOv5 ``build_targets``, used by the authors'
    PyTorch_YOLOv4 (utils/loss.py).
    """

    kind: Literal["ratio_match"] = "ratio_match"
    anchor_t: Annotated[float, Span(2.0, 8.0, log=True)] = 4.0

    @torch.no_grad()
    def assign(self, targets: Targets, lattice: Lattice, predictions: Predictions) -> Assignment:
        """See the module's docstring for the shapes."""
        del predictions

        def match(image: int, boxes_xyxy: Tensor, classes: Tensor) -> Matches:
            del image, classes
            pairs = near_cells(boxes_xyxy, lattice)
            return pairs[within_ratio(boxes_xyxy, pairs, lattice, self.anchor_t)].matches()

        return assign_by_image(targets, lattice, match)
