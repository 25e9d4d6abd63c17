"""Each check of the doctor: a clean set is clean; one planted fault gives exactly its code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import planted
import planted_faults

from edgehone.data.checks import CHECKS
from edgehone.data.doctor import examine
from edgehone.data.reading import Source


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A clean set in a format, written once."""
    home = tmp_path_factory.mktemp("clean")

    def base(name: str) -> Path:
        if not (home / name).is_dir():
            planted.FORMATS[name](home / name)
        return home / name

    return base


@pytest.mark.parametrize("name", planted.FORMATS)
def test_a_clean_set_is_clean(name: str, clean: Callable[[str], Path]) -> None:
    checkup = examine(Source(str(clean(name))))
    assert checkup.counts == {"format": 1}, checkup.findings
    assert {split: len(samples) for split, samples in checkup.dataset.splits.items()} == planted.SPLITS
    assert checkup.dataset.class_names == planted.NAMES


def test_every_check_has_its_fault() -> None:
    assert set(planted_faults.FAULTS) == set(CHECKS) - {"format"}
    assert len(planted_faults.FAULTS) >= 40


@pytest.mark.parametrize("code", planted_faults.FAULTS)
def test_a_planted_fault_gives_exactly_its_code(code: str, clean: Callable[[str], Path], tmp_path: Path) -> None:
    name, plant = planted_faults.FAULTS[code]
    root = planted.copy(clean(name), tmp_path / "data")
    plant(root)
    checkup = examine(Source(str(root)))
    assert set(checkup.counts) - {"format"} - planted_faults.IMPLIED.get(code, set()) == {code}, checkup.findings
    finding = next(f for f in checkup.findings if f.code == code)
    assert (finding.severity, finding.remedy) == (CHECKS[code].severity, CHECKS[code].remedy)
    assert finding.message
    assert checkup.clean == (CHECKS[code].severity != "error")
