"""Explaining a finished run on tiny scenes, killed on the way, to the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgehone.data import read_dataset
from edgehone.errors import EdgehoneError, UsageError
from edgehone.evaluation import Evaluation
from edgehone.explain import FinishedRun, explain, within_budget
from edgehone.files import write_json
from edgehone.pipeline import FOUND, RESULTS, Found, Priors, task_maker
from edgehone.report.content import Headline, ReportContent, Section, Text
from edgehone.report.explanation_sections import explanation_section
from edgehone.report.page import write_report
from edgehone.request import Request
from edgehone.results import Entry, Results
from edgehone.run_folder import only_process
from edgehone.search.explanation import explain_trials
from edgehone.search.plan import Calibration, Plan, Rung
from edgehone.search.searcher import Suggestion
from edgehone.search.workers import run_task
from edgehone.space import Prefer, replace
from edgehone.strategy import AUTHORS

DATA = "builtin:digits?train=12&val=6&test=4&width=128&height=128&min_px=30&max_px=80&max_objects=3"
EXPLAIN = "import sys; sys.argv[0] = 'edgehone'; from edgehone.cli import main; main()"
BASE = replace(AUTHORS, {"input.size": 128, "optimisation.batch_size": 4})
WINNER = replace(
    BASE,
    {
        "projection.assigner.kind": "task_aligned",
        "optimisation.optimizer.kind": "adamw",
        "augmentation.mosaic.probability": 0.0,
        "optimisation.optimizer.lr": 0.002,
    },
)


def evaluation(ap: float) -> Evaluation:
    nothing: dict[str, Any] = {"ap75": ap, "ap_small": None, "ap_medium": None, "ap_large": None}
    tables: dict[str, Any] = {"per_class": {}, "per_class_ap50": {}, "precision_recall": {}}
    return Evaluation(ap=ap, ap50=ap, images=4, **nothing, **tables)


def entry(strategy: Any, preset: str | None) -> Entry:
    same = evaluation(0.1)
    return Entry(strategy=strategy, preset=preset, test=same, validation=same, interval95={}, steps=8, gflops=1.0)


def run_folder(path: Path, trained: bool) -> Path:
    """A run as the pipeline leaves it, with both ends of the path trained or not."""
    calibration = Calibration(
        precision="fp32", seconds_per_gflop=0.001, seconds_per_gflop_by_precision={}, workers=1, cpu="test"
    )
    rungs = (Rung(name="short", share=1 / 6, trials=2),)
    plan = Plan(
        budget_s=60, proof="quick", calibration=calibration, full_gflops=22, rungs=rungs, finalists=1, reserve_s=1
    )
    request = Request(data=DATA, budget_s=60, workers=1)
    rules = (Prefer(path="projection.assigner.kind", value="task_aligned", confidence=0.7, because="test"),)
    results = Results(
        edgehone="0.1.0",
        date="2025-01-31",
        hardware="test",
        model="yolov4-tiny",
        data=DATA,
        found=entry(WINNER, None),
        default=entry(BASE, "authors"),
        default_preset="authors",
        presets={"authors": entry(BASE, "authors")},
        seconds={"total": 1.0},
        trials=1,
        boards={},
    )
    path.mkdir()
    for name, content in (("request", request), ("plan", plan), ("rules", Priors(rules=rules)), ("results", results)):
        write_json(path / f"{name}.json", content.model_dump(mode="json"))
    if trained:
        dataset = read_dataset(DATA)
        make = task_maker(request, plan, dataset, None)
        for name, strategy in (("final-00", WINNER), ("final-authors", BASE)):
            run_task(make.task(name, "final", 1.0, Suggestion(strategy, "test")), dataset, path / "trials")
    other = Section("other", "Another section", (Text("that stays"),))
    sections = (explanation_section(explain_trials([], rules)), other)
    write_report(ReportContent("run", "", Headline("tie", "", ()), sections, ""), path / "report.html")
    return path


def search_folder(path: Path) -> Path:
    """A search as the pipeline leaves it: nothing proven, the test split unread, no report."""
    run_folder(path, trained=False)
    for name in (RESULTS, "report.html"):
        (path / name).unlink()
    strategy = replace(AUTHORS, {"input.size": 128, "optimisation.batch_size": 4, "optimisation.optimizer.lr": 0.002})
    found = Found(
        strategy=strategy,
        validation=evaluation(0.1),
        standings=(),
        front=(),
        agreement=(),
        trials=1,
        seconds=1.0,
    )
    write_json(path / FOUND, found.model_dump(mode="json"))
    return path


@pytest.mark.slow
def test_killed_it_goes_on_and_trains_nothing_twice(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", trained=True)
    command = [sys.executable, "-c", EXPLAIN, "explain", str(run), "--budget", "10m"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    end = time.monotonic() + 120
    while not list(run.glob("explain/trials/*/result.json")) and time.monotonic() < end and process.poll() is None:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in run.glob("explain/trials/*/result.json")}
    assert before
    assert not (run / "explanation.json").exists()
    ended = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    told = json.loads(ended.stdout)
    assert told == json.loads((run / "explanation.json").read_text())
    for path, stamp in before.items():
        assert path.stat().st_mtime_ns == stamp, f"{path.parent.name} was trained again"
    ablation = told["ablation"]
    changes = [change["path"] for step in ablation["steps"] for change in step["changes"]]
    assert changes[0] == "projection.assigner", "no trials: the rule goes first"
    assert set(changes) == {"projection.assigner", "optimisation.optimizer", "augmentation.mosaic.probability"}
    assert ablation["trainings"] == 2, "default and winner were trained by the run"
    assert ablation["share"] == 1.0
    gains = sum(step["gain"] for step in ablation["steps"])
    assert ablation["base_ap"] + gains == pytest.approx(ablation["steps"][-1]["ap"], abs=1e-3)
    page = (run / "report.html").read_text()
    assert "From default to winner." in page
    assert "that stays" in page
    assert page.count('<section id="explanation">') == 1
    kept = explain(run, 0.0, lambda status: None)
    assert kept.model_dump(mode="json") == told, "without a budget the earlier ablation is kept"


def test_what_cannot_be_explained_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"finished run or search; .* neither results.json nor found.json"):
        explain(tmp_path, 0.0, lambda status: None)
    run = run_folder(tmp_path / "run", trained=False)
    with only_process(run), pytest.raises(EdgehoneError, match="another process works on"):
        explain(run, 0.0, lambda status: None)
    with pytest.raises(UsageError, match="give at least"):
        explain(run, 1.0, lambda status: None)
    alone = explain(run, 0.0, lambda status: None)
    assert alone.ablation is None
    assert alone.rules[0].verdict == "not tested"


def test_ends_that_are_there_are_not_trained_again(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", trained=True)
    only = json.loads((run / "results.json").read_text())
    only["found"]["strategy"] = replace(BASE, {"optimisation.optimizer.lr": 0.002}).model_dump(mode="json")
    write_json(run / "results.json", only)
    dataset = read_dataset(DATA)
    request = Request(data=DATA, budget_s=60, workers=1)
    make = task_maker(request, FinishedRun.open(run).plan, dataset, None)
    near = replace(BASE, {"optimisation.optimizer.lr": 0.002})
    run_task(make.task("final-01", "final", 1.0, Suggestion(near, "test")), dataset, run / "trials")
    found = explain(run, 60.0, lambda status: None).ablation
    assert found is not None
    assert (found.trainings, len(found.steps), found.share) == (0, 1, 1.0)
    assert not list(run.glob("explain/trials/*"))


def test_a_search_without_a_proof_is_held_against_the_authors_preset_at_its_input(tmp_path: Path) -> None:
    search = search_folder(tmp_path / "search")
    found = explain(search, 60.0, lambda status: None).ablation
    assert found is not None
    assert found.base == "preset authors"
    changes = [change.path for step in found.steps for change in step.changes]
    assert set(changes) == {"optimisation.optimizer.lr", "optimisation.batch_size"}, "the input is no change"
    assert found.trainings == len(found.steps) + 1, "the search trained neither end here"
    assert json.loads((search / "explanation.json").read_text())["ablation"]["base"] == "preset authors"
    assert not (search / "report.html").exists()


def test_the_budget_is_a_share_of_the_runs_own(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", trained=False)
    assert within_budget(run, 0.2) == pytest.approx(12.0)
    command = [sys.executable, "-c", EXPLAIN, "explain", str(run)]
    short = subprocess.run(
        [*command, "--budget", "1%"], capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "300"}
    )
    assert short.returncode == 2
    assert "a budget of 0.0 min buys fewer" in short.stderr
