"""One network and one bundle for all tests of the device runtime."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import bundles

from edgehone.inference import Detector
from edgehone.models import Network


@pytest.fixture(scope="session")
def network() -> Network:
    return bundles.as_if_trained()


@pytest.fixture(scope="session")
def reference(network: Network) -> Detector:
    return bundles.detector_of(network)


@pytest.fixture(scope="session")
def bundle(reference: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by deploy; not to be changed."""
    return bundles.deployed(tmp_path_factory.mktemp("delivered"), reference)


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> bundles.Board:
    return bundles.Board(tmp_path_factory.mktemp("board") / "site")


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    """A bundle that may be changed; the large model is a link until somebody writes another."""
    import shutil

    return Path(shutil.copytree(bundle, tmp_path / "copied"))
