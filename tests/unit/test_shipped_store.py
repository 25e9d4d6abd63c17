"""What comes with the package: proven searches only, each with its provenance, each search once."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgehone.evaluation import Evaluation
from edgehone.files import write_json, write_text
from edgehone.pipeline import Priors
from edgehone.request import Request
from edgehone.results import Entry, Results, judge
from edgehone.search import store
from edgehone.search.likeness import Identity, Likeness
from edgehone.search.remembering import ENTRY
from edgehone.search.scope import Scope
from edgehone.search.starts import Asking, Start, Starts, evidence, starts
from edgehone.search.store import (
    NONE,
    SHIPPED,
    Provenance,
    Store,
    StoredStrategy,
    StoreEntry,
    known_searches,
    shipped_entries,
    store_text,
)
from edgehone.space import Forbid, Prefer, load
from edgehone.strategy import AUTHORS, Strategy

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "ship_store.py"
LIKE: dict[str, Any] = {"side_p5": 0.1, "side_p50": 0.2, "side_p95": 0.4, "objects_a_picture": 7.0, "crowded": 0.1}
FACTS = Likeness(**LIKE, classes=3, imbalance=4.0, pictures=200, parameters=5_900_000)


@pytest.fixture(scope="module")
def ship() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ship_store", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entry(name: str, date: str = "2026-01-02", **provenance: Any) -> StoreEntry:
    strategy = AUTHORS.model_dump(mode="json")
    stored = StoredStrategy(strategy=strategy, found=True, origin="found", validation_ap=0.4, steps=900)
    whence = {"edgehone": "0.1.0", "hardware": "Example", "command": f"edgehone run {name} --seed 0", **provenance}
    return StoreEntry(
        data=Identity(name=name, class_names=("a",), labels=f"labels-{name}", pictures=f"pictures-{name}"),
        model="yolov4-tiny",
        likeness=FACTS,
        strategies=(stored,),
        trials=12,
        gain=0.05,
        gain_interval95=(0.02, 0.08),
        provenance=Provenance(date=date, **whence),
    )


def run_folder(path: Path, found: StoreEntry, *, proven: bool = True, blind: bool = False) -> Path:
    """What a finished run leaves of what is shipped."""
    nothing: dict[str, Any] = {"ap75": 0.4, "ap_small": None, "ap_medium": None, "ap_large": None}
    tables: dict[str, Any] = {"per_class": {}, "per_class_ap50": {}, "precision_recall": {}}
    same = Evaluation(ap=0.4, ap50=0.4, images=4, **nothing, **tables)
    trained = Entry(strategy=AUTHORS, preset=None, test=same, validation=same, interval95={}, steps=8, gflops=1.0)
    results = Results(
        edgehone="0.1.0",
        date=found.provenance.date,
        hardware="Example",
        model="yolov4-tiny",
        data=found.data.name,
        found=trained,
        default_preset=None,
        presets={},
        gain=judge(0.05, (0.02, 0.08)) if proven else None,
        seconds={"total": 1.0},
        trials=12,
        boards={},
    )
    taught = Prefer(
        path="optimisation.optimizer.kind", value="adamw", confidence=0.9, because="t", learnt_on=("bccd", "mine")
    )
    limit = Forbid(path="input.size", values=(416,), because="t")
    start = Start(strategy=AUTHORS, weight=0.4, because="reefs, south, similarity 0.83, AP 0.400 on validation there")
    path.mkdir()
    contents = {
        "request": Request(data=found.data.name, budget_s=60, scope=Scope(blind=blind)),
        "rules": Priors(rules=(taught, limit)),
        "starts": Starts(starts=() if blind else (start,)),
        "results": results,
    }
    for name, content in contents.items():
        write_json(path / f"{name}.json", content.model_dump(mode="json"))
    if not proven:
        found = found.model_copy(update={"gain": None, "gain_interval95": None})
    write_text(path / ENTRY, store_text([found]))
    return path


def shipped(into: Path, *runs: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, runs), "--into", str(into)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_runs_are_shipped_with_what_had_a_part_in_them(tmp_path: Path, ship: ModuleType) -> None:
    into = tmp_path / "shipped.jsonl"
    runs = [run_folder(tmp_path / "a", entry("mine")), run_folder(tmp_path / "b", entry("other"), blind=True)]
    done = shipped(into, *runs)
    assert done.returncode == 0, done.stderr
    mine, other = Store(into).entries()
    assert mine.provenance.learnt_on == ("bccd", "reefs, south"), "rules and starts, but for its own name"
    assert other.provenance.learnt_on == (), "a blind search is told nothing"
    assert "gain +0.050 [+0.020, +0.080], learnt on bccd, reefs, south" in done.stdout
    before = into.read_text()
    assert shipped(into, *runs).returncode == 0
    assert into.read_text() == before, "shipped again it is the same file"


@pytest.mark.parametrize(
    ("name", "words"),
    [("unproven", "proved nothing"), ("unfinished", "only finished runs"), ("placed", "names no place of a machine")],
)
def test_what_is_not_proven_or_names_a_place_is_refused_and_nothing_is_written(
    name: str, words: str, tmp_path: Path
) -> None:
    good = run_folder(tmp_path / "good", entry("mine"))
    placed = entry("mine", command="edgehone run '/data/of/mine'") if name == "placed" else entry("mine")
    bad = run_folder(tmp_path / name, placed, proven=name != "unproven")
    if name == "unfinished":
        (bad / "results.json").unlink()
    done = shipped(tmp_path / "shipped.jsonl", good, bad)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert not (tmp_path / "shipped.jsonl").exists()


def test_the_newer_of_the_same_search_stays(ship: ModuleType) -> None:
    old, new = entry("mine", "2026-01-02"), entry("mine", "2026-01-03").model_copy(update={"trials": 30})
    seed = entry("mine", command="edgehone run mine --seed 1")
    assert ship.merged([old], [new, seed]) == ship.merged([new], [seed, old])
    assert {e.trials for e in ship.merged([old], [new, seed])} == {30, 12}
    again = old.model_copy(update={"trials": 7})
    assert ship.merged([old], [again]) == [again], "of one day the one that is added"


def test_what_a_left_out_set_had_a_part_in_does_not_count() -> None:
    taught = entry("mine", learnt_on=("bccd",))
    alone = Asking(FACTS, "yolov4-tiny", None, ("bccd",))
    assert starts([taught], alone) == []
    (start,) = starts([taught, entry("other")], Asking(FACTS, "yolov4-tiny", None))
    assert start.learnt_on == ("mine", "bccd", "other")
    assert [found.learnt_on for found in starts([taught, entry("other")], alone)] == [("other",)]


def test_entries_from_before_provenance_named_what_taught_them_are_read(tmp_path: Path) -> None:
    content = json.loads(entry("mine").model_dump_json())
    del content["provenance"]["learnt_on"]
    assert load(StoreEntry, content) == entry("mine")


def test_every_shipped_search_is_proven_and_can_be_started_from() -> None:
    for found in shipped_entries():
        provenance = found.provenance
        assert provenance.command.startswith("edgehone run ")
        assert "/" not in provenance.command.replace("runs/again", "")
        assert all((provenance.edgehone, provenance.date, provenance.hardware)), found.data.name
        assert evidence(found) > 0
        assert found.gain is not None
        low, high = found.gain_interval95 or (1.0, -1.0)
        assert low <= found.gain <= high
        best = next(stored for stored in found.strategies if stored.found)
        assert best.test_ap is not None
        load(Strategy, best.strategy)
        alike = starts([found], Asking(found.likeness, found.model, None))
        assert alike, f"{found.data.name}: nothing is more alike than itself"
        assert f"{found.data.name}, similarity 1.00" in {start.because[: len(found.data.name) + 17] for start in alike}
        assert starts([found], Asking(found.likeness, found.model, found.data)) == []
        assert starts([found], Asking(found.likeness, found.model, None, (found.data.name,))) == []


def test_each_shipped_search_is_there_once_and_is_found_beside_any_store_but_none(
    ship: ModuleType, tmp_path: Path
) -> None:
    entries = shipped_entries()
    assert ship.merged(entries, entries) == entries, f"{SHIPPED} is written by benchmarks/ship_store.py"
    assert known_searches(Store(tmp_path / "mine.jsonl")) == entries
    assert known_searches(Store.at(NONE)) == []


def test_a_search_that_is_in_the_users_store_and_shipped_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = entry("mine", learnt_on=("bccd",))
    monkeypatch.setattr(store, "shipped_entries", lambda: [taught])
    users = Store(tmp_path / "mine.jsonl")
    users.add([entry("mine"), entry("other")])
    assert known_searches(users) == [entry("other"), taught], "the shipped one knows who taught it"
