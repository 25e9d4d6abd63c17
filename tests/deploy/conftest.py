"""Detectors that many tests look at; none changes them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # small_detectors is a module of these tests alone

import pytest
import small_detectors

from edgehone.inference import Detector

DETECTORS = {f"{heads} heads, {act}": (heads, act) for heads in (2, 3) for act in ("leaky", "relu6")}


@pytest.fixture(scope="session", params=list(DETECTORS))
def detector(request: pytest.FixtureRequest) -> Detector:
    """Every combination of heads and activation that the boards are promised."""
    return small_detectors.make_detector(*DETECTORS[request.param])


@pytest.fixture(scope="session")
def usual() -> Detector:
    """The first of them."""
    return small_detectors.make_detector()
