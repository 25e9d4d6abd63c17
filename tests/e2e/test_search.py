"""A search without a proof: what it leaves, also to later searches, and how a store changes hands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgehone.cli import app
from edgehone.search import calibration, plan

DATA = "builtin:digits?train=24&val=8&test=8&width=128&height=128&min_px=30&max_px=80&max_objects=3"


def said(*words: str) -> dict[str, object]:
    found = CliRunner().invoke(app, [*words, "--json"])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_a_search_is_kept_as_unproven_and_its_store_changes_hands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "MIN_STEPS", 8)
    monkeypatch.setattr(plan, "TRIAL_OVERHEAD_S", 0.1)
    monkeypatch.setattr(calibration, "NOMINAL_SECONDS", 0.35)
    out, store, other = tmp_path / "search", tmp_path / "store.jsonl", tmp_path / "other.jsonl"
    words = ["search", DATA, "--out", str(out), "--budget", "90s", "--max-input", "160", "--deterministic"]
    found = said(*words, "--workers", "0", "--store", str(store))
    assert not (out / "results.json").exists()
    assert not (out / "report.html").exists()

    listed = said("store", "list", "--store", str(store))["searches"]
    assert isinstance(listed, list)
    entry = next(each for each in listed if each["data"]["name"] == "builtin:digits")
    assert entry["trials"] == found["trials"]
    assert entry["gain"] is None
    assert entry["strategies"][0]["strategy"] == found["strategy"]
    assert all(each["found"] and each["test_ap"] is None for each in entry["strategies"]), "the test split is not read"
    assert "--proof off" in entry["provenance"]["command"]
    assert str(tmp_path) not in json.dumps(entry)

    exported = tmp_path / "exported.jsonl"
    assert said("store", "export", str(exported), "--store", str(store))["searches"] == 1
    assert said("store", "import", str(exported), "--store", str(other))["new"] == 1
    assert said("store", "import", str(out / "store.jsonl"), "--store", str(other))["new"] == 0, "the same search"
    assert other.read_text() == store.read_text()
    assert said(*words, "--workers", "0", "--store", str(store)) == found, "finished, it is only opened"
