"""Assigners: which slots of the lattice learn which objects.

Every member has ``assign(targets, lattice, predictions) -> Assignment``, without gradients, image by image,
so that memory is bounded by the most crowded image (objects x slots).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgehone.projection.assigners.best_anchor import BestAnchor
from edgehone.projection.assigners.ratio_match import RatioMatch
from edgehone.projection.assigners.sim_ota import SimOta
from edgehone.projection.assigners.task_aligned import TaskAligned

Assigner = Annotated[BestAnchor | RatioMatch | SimOta | TaskAligned, Field(discriminator="kind")]

__all__ = ["Assigner", "BestAnchor", "RatioMatch", "SimOta", "TaskAligned"]
