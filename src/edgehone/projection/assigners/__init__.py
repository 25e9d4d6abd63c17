"""Assigners: which slots of the lattice learn which objects.

Every member has ``assign(targets, lattice, predictions) -> Assignment``, without gradients, image by image and
in portions of objects, so that memory is bounded however crowded an image is. A new one is one class with
``kind`` and ``assign`` in a file, and its name in the union here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgehone.projection.assigners.atss import Atss
from edgehone.projection.assigners.best_anchor import BestAnchor
from edgehone.projection.assigners.ratio_match import RatioMatch
from edgehone.projection.assigners.sim_ota import SimOta
from edgehone.projection.assigners.task_aligned import TaskAligned

Assigner = Annotated[BestAnchor | RatioMatch | SimOta | TaskAligned | Atss, Field(discriminator="kind")]

__all__ = ["Assigner", "Atss", "BestAnchor", "RatioMatch", "SimOta", "TaskAligned"]
