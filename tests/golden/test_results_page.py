"""docs/results.md says what is recorded, and nothing else."""

from __future__ import annotations

from pathlib import Path

from evidence import record
from results_page import PAGE, SECTIONS, page
from trainings import RECORDED


def test_the_committed_page_is_what_the_command_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(RECORDED), "run: python benchmarks/results_page.py"


def test_what_was_not_measured_is_said_to_be_so(tmp_path: Path) -> None:
    assert page(tmp_path).count("Not measured yet.") == len(SECTIONS)


def test_a_section_says_when_on_what_and_by_which_version(tmp_path: Path) -> None:
    stamp = {"edgehone": "0.1.0", "commit": "abc1234", "date": "2026-11-30", "cpu": "a processor"}
    content = {"stamp": stamp, "what": "a search of 4m", "trials": 9, "complete": True, "again": ["short-01"]}
    record(tmp_path / "ray" / "search.json", content)
    text = page(tmp_path)
    assert "2026-11-30, a processor, edgehone 0.1.0 (abc1234)." in text
    assert "| a search of 4m | 9 | yes | short-01 |" in text
