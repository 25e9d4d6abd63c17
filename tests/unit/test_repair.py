"""A repaired copy is clean, says all that it changed, and leaves the original alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))
import planted
import planted_faults

from edgehone.data.checks import CHECKS
from edgehone.data.doctor import examine
from edgehone.data.doctor.repair import repair
from edgehone.data.reading import Source
from edgehone.errors import UsageError

MENDED = ["box-degenerate", "box-duplicate", "image-duplicate", "split-leak", "image-bomb", "class-out-of-range"]


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with several faults at once."""
    home = tmp_path_factory.mktemp("repair")
    planted.write_yolo(home / "data")
    planted_faults.add_boxes(planted_faults.A)(home / "data")
    planted_faults.add_line("0 0.5 0.5 0 0.1\n7 0.5 0.5 0.1 0.1\n0 0.95 0.9 0.2 0.1\n")(home / "data")
    again = home / "data/images/train/again"
    for split, name in (("train", "again"), ("test", "leak")):
        source = "train001" if name == "again" else "train002"
        for kind, suffix in (("images", "png"), ("labels", "txt")):
            original = home / f"data/{kind}/train/{source}.{suffix}"
            planted.put(home / f"data/{kind}/{split}/{name}.{suffix}", original.read_bytes())
    planted.put(home / "data/images/train/train003.png", planted_faults.bomb(again))
    return home / "data"


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("format", ["coco", "yolo"])
def test_a_repaired_copy_is_clean_and_accounted_for(format: str, dirty: Path, tmp_path: Path) -> None:
    before = contents(dirty)
    checkup = examine(Source(str(dirty)))
    assert set(MENDED) <= set(checkup.counts)
    done = repair(checkup, format, tmp_path / "clean")
    assert contents(dirty) == before
    again = examine(Source(str(tmp_path / "clean")))
    assert set(again.counts) == {"format"}
    assert again.clean
    ledger = json.loads((tmp_path / "clean/ledger.json").read_text())
    assert [entry["code"] for entry in ledger["changes"]] == [f.code for f in checkup.findings if f.code != "format"]
    assert {entry["action"] for entry in ledger["changes"] if entry["code"] in MENDED} == {"left out"}
    assert done.changes == sum(entry["action"] != "kept" for entry in ledger["changes"])
    splits = {name: {s.id for s in part} for name, part in again.dataset.splits.items()}
    # The copy in the test split stays, its double in training goes; likewise the later of two in training.
    assert ledger["pictures"]["images/test/leak.png"] in splits["test"]
    assert "images/train/train002.png" not in ledger["pictures"]
    assert sum(map(len, splits.values())) == sum(planted.SPLITS.values()) - 1
    boxes = sum(len(s.classes) for part in again.dataset.splits.values() for s in part)
    assert boxes == 2 * (sum(planted.SPLITS.values()) - 1) + 1


def test_what_needs_judgement_is_kept_and_named(dirty: Path, tmp_path: Path) -> None:
    root = planted.copy(dirty, tmp_path / "data")
    planted_faults.duplicate("val", planted.line((1, 5, 5, 60, 70)))(root)
    done = repair(examine(Source(str(root))), "coco", tmp_path / "clean")
    conflicts = [entry for entry in done.ledger if entry["code"] == "label-conflict"]
    assert [entry["action"] for entry in conflicts] == ["kept"]


def test_a_repair_is_not_written_over_anything(dirty: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UsageError, match="holds something"):
        repair(examine(Source(str(dirty))), "coco", tmp_path)


def test_every_action_is_said_in_the_remedy() -> None:
    for code, check in CHECKS.items():
        assert check.action in ("left out", "changed", "kept"), code
        assert check.means
        assert check.remedy
