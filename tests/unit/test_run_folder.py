"""A run's folder: going on, refusing, locking, counting time, writing whole files."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest

from edgehone import files
from edgehone.errors import EdgehoneError, UsageError
from edgehone.files import read_json, write_json
from edgehone.run_folder import Clock, open_run
from edgehone.space import Settings


class Wish(Settings):
    """A request."""

    data: str
    budget_s: float = 60.0


class Fact(Settings):
    """A stage's result."""

    value: int


def test_a_stage_is_done_once(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> Fact:
        made.append(1)
        return Fact(value=7)

    for _ in range(2):
        with open_run(tmp_path / "run", Wish(data="d")) as folder:
            assert folder.stage("fact", Fact, make) == Fact(value=7)
    assert made == [1]


def test_another_request_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", Wish(data="d")) as folder:
        write_json(folder.trials / "short-00" / "result.json", {})
    with (
        pytest.raises(UsageError, match=r"budget_s: there 60\.0, now 90\.0"),
        open_run(tmp_path / "run", Wish(data="d", budget_s=90.0)),
    ):
        pass


def test_a_run_that_trained_nothing_may_be_asked_for_differently(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", Wish(data="d")) as folder:
        folder.stage("fact", Fact, lambda: Fact(value=1))
    with open_run(tmp_path / "run", Wish(data="e")) as folder:
        assert folder.stage("fact", Fact, lambda: Fact(value=2)) == Fact(value=2)


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="holds files but no run"), open_run(tmp_path, Wish(data="d")):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="may write to"), open_run(tmp_path / "file" / "run", Wish(data="d")):
        pass


def test_a_start_that_was_killed_before_it_began_leaves_a_usable_folder(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with open_run(tmp_path, Wish(data="d")) as folder:
        assert read_json(folder.path / "request.json")["data"] == "d"


def _hold(path: Path, held: Any) -> None:
    with open_run(path, Wish(data="d")):
        held.set()
        time.sleep(30)


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "run", held))
    process.start()
    try:
        assert held.wait(30)
        for wish in (Wish(data="d"), Wish(data="e")):
            with pytest.raises(EdgehoneError, match="another process"), open_run(tmp_path / "run", wish):
                pass
        assert read_json(tmp_path / "run" / "request.json")["data"] == "d", "what another one wanted cost it nothing"
    finally:
        process.kill()
        process.join()
    with open_run(tmp_path / "run", Wish(data="d")):
        pass


def test_time_adds_up_over_restarts(tmp_path: Path) -> None:
    for _ in range(3):
        clock = Clock(tmp_path / "clock.json")
        time.sleep(0.05)
        clock.save()
    assert 0.14 < Clock(tmp_path / "clock.json").seconds() < 5


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def fail(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {"new": 2})
    assert read_json(path) == {"old": 1}


def test_json_refuses_what_json_has_no_word_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert os.listdir(tmp_path) == []
    assert json.loads("1") == 1
