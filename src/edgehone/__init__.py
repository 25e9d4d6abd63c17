"""edgehone: find the learning strategy that gets the most out of a small detector, prove it, deploy it.

The names below are the public interface. They are loaded when first used, so that reading data needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edgehone.analysis import Profile, analyse
    from edgehone.boards import Board
    from edgehone.data import Dataset, read_dataset
    from edgehone.deploy.bundle import deploy
    from edgehone.errors import EdgehoneError
    from edgehone.evaluation import Evaluation, evaluate_detections
    from edgehone.inference import Detector, open_detector
    from edgehone.pipeline import run
    from edgehone.request import Request
    from edgehone.results import Results
    from edgehone.space import diff
    from edgehone.strategy import AUTHORS, DARKNET, Strategy
    from edgehone.training import Job, train

_HOMES = {
    "edgehone.analysis": ("Profile", "analyse"),
    "edgehone.boards": ("Board",),
    "edgehone.data": ("Dataset", "read_dataset"),
    "edgehone.deploy.bundle": ("deploy",),
    "edgehone.errors": ("EdgehoneError",),
    "edgehone.evaluation": ("Evaluation", "evaluate_detections"),
    "edgehone.inference": ("Detector", "open_detector"),
    "edgehone.pipeline": ("run",),
    "edgehone.request": ("Request",),
    "edgehone.results": ("Results",),
    "edgehone.space": ("diff",),
    "edgehone.strategy": ("AUTHORS", "DARKNET", "Strategy"),
    "edgehone.training": ("Job", "train"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AUTHORS",
    "DARKNET",
    "Board",
    "Dataset",
    "Detector",
    "EdgehoneError",
    "Evaluation",
    "Job",
    "Profile",
    "Request",
    "Results",
    "Strategy",
    "__version__",
    "analyse",
    "deploy",
    "diff",
    "evaluate_detections",
    "open_detector",
    "read_dataset",
    "run",
    "train",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'edgehone' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)
