"""The store: nothing in it is lost, damage is told with its place, and searches start from like ones only."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.errors import EdgehoneError, UsageError
from edgehone.search.likeness import Identity, Likeness
from edgehone.search.remembering import ENTRY, keep
from edgehone.search.searcher import PriorSearcher, Result
from edgehone.search.starts import Asking, StartingSearcher, evidence, faster_starts, starts
from edgehone.search.store import (
    Provenance,
    Store,
    StoredStrategy,
    StoreEntry,
    known_searches,
    read_foreign,
    store_text,
)
from edgehone.space import Forbid, Prefer, SearchSpace, diff, fingerprint, replace
from edgehone.strategy import AUTHORS, Strategy

FISH = Likeness(
    side_p5=0.03,
    side_p50=0.1,
    side_p95=0.4,
    objects_a_picture=7.0,
    crowded=0.1,
    classes=7,
    imbalance=20.0,
    pictures=400,
    parameters=5_900_000,
)
HERE = Identity(name="here", class_names=("a",), labels="0" * 16, pictures="1" * 16)


def entry(
    name: str = "fish", likeness: Likeness = FISH, *, rate: float = 0.01, trials: int = 20, **changes: Any
) -> StoreEntry:
    strategy = replace(AUTHORS, {"optimisation.optimizer.lr": rate})
    stored = StoredStrategy(
        strategy=strategy.model_dump(mode="json"), found=True, origin="found", validation_ap=0.4, steps=900
    )
    fields: dict[str, Any] = {
        "data": Identity(name=name, class_names=("fish",), labels=f"labels-{name}", pictures=f"pictures-{name}"),
        "model": "yolov4-tiny",
        "likeness": likeness,
        "strategies": (stored,),
        "trials": trials,
        "gain": 0.05,
        "gain_interval95": (0.02, 0.08),
        "provenance": Provenance(edgehone="0.1.0", date="2025-01-31", hardware="Example", command="edgehone run"),
    }
    return StoreEntry(**{**fields, **changes})


def ask(likeness: Likeness = FISH, exclude: Identity | None = HERE, model: str = "yolov4-tiny") -> Asking:
    return Asking(likeness, model, exclude)


def test_what_is_added_is_found_again_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "deep" / "store.jsonl")
    assert store.entries() == []
    assert store.add([entry("a"), entry("b")]) == 2
    later = entry("a").provenance.model_copy(update={"date": "2026-02-01"})
    assert store.add([entry("a", provenance=later), entry("c")]) == 1, "the same search on another day is the same"
    assert [e.data.name for e in store.entries()] == ["a", "b", "c"]
    assert store.entries()[0] == entry("a")


def damages() -> dict[str, tuple[str, str]]:
    good = store_text([entry("a"), entry("b")])
    lines = good.splitlines()
    head = json.loads(lines[0])
    wrong = json.loads(lines[2])
    del wrong["likeness"]["crowded"]
    return {
        "cut short": (good[:-40], "line 3 of .* does not"),
        "a line cut in the middle": ("\n".join([lines[0], lines[1][:60], lines[2]]) + "\n", "line 2"),
        "another file": ("hello\nworld\n", "something else"),
        "another JSON": (json.dumps({"images": []}) + "\n", "something else"),
        "JSON that is no object": ("[1]\n", "something else"),
        "empty": ("", "something else"),
        "a newer schema": (json.dumps({**head, "schema": 2}) + "\n" + lines[1] + "\n", "schema 2"),
        "without a schema": (json.dumps({"format": head["format"]}) + "\n", "schema None"),
        "a field is missing": ("\n".join([*lines[:2], json.dumps(wrong)]) + "\n", "line 3 .*likeness.crowded"),
        "an empty line": (good + "\n", "line 4"),
    }


@pytest.mark.parametrize("name", damages())
def test_damage_is_told_and_the_file_is_left_as_it_is(name: str, tmp_path: Path) -> None:
    content, words = damages()[name]
    path = tmp_path / "store.jsonl"
    path.write_text(content)
    store = Store(path)
    with pytest.raises(EdgehoneError, match=words) as told:
        store.entries()
    assert "--store none" in str(told.value)
    assert str(path) in str(told.value)
    with pytest.raises(EdgehoneError):
        store.add([entry("new")])
    assert path.read_text() == content


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "store.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EdgehoneError, match="cannot be read"):
        Store(path).entries()


def test_a_run_is_not_broken_by_a_broken_store_and_its_entry_can_be_imported(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text("something else\n")
    said = keep(Store(broken), entry("mine"), tmp_path)
    assert "could not be kept" in said
    assert "store import" in said
    assert broken.read_text() == "something else\n"
    whole = Store(tmp_path / "whole.jsonl")
    assert whole.add(read_foreign(tmp_path / ENTRY)) == 1
    assert whole.entries() == [entry("mine")]


ADD_ONE_BY_ONE = """
import sys
from pathlib import Path
from edgehone.search.store import Store, read_foreign
for entry in read_foreign(Path(sys.argv[2])):
    Store(Path(sys.argv[1])).add([entry])
"""


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.jsonl"
    names = [[f"{w}-{k}" for k in range(6)] for w in range(4)]
    writers: list[subprocess.Popen[str]] = []
    for number, mine in enumerate(names):
        handed = tmp_path / f"{number}.jsonl"
        handed.write_text(store_text([entry(name) for name in mine]))
        command = [sys.executable, "-c", ADD_ONE_BY_ONE, str(path), str(handed)]
        writers.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    for writer in writers:
        _, said = writer.communicate(timeout=120)
        assert writer.returncode == 0, said
    assert sorted(e.data.name for e in Store(path).entries()) == sorted(n for mine in names for n in mine)
    assert not list(tmp_path.glob("*.tmp"))


def test_no_store_holds_and_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.at("none")
    assert (store.entries(), store.add([entry()]), known_searches(store)) == ([], 0, [])
    monkeypatch.setenv("EDGEHONE_STORE", str(tmp_path / "a.jsonl"))
    assert Store.at(None).path == tmp_path / "a.jsonl"
    assert Store.at(str(tmp_path / "b.jsonl")).path == tmp_path / "b.jsonl"
    monkeypatch.delenv("EDGEHONE_STORE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert Store.at(None).path == tmp_path / "edgehone" / "store.jsonl"
    with pytest.raises(UsageError, match="no store at"):
        read_foreign(tmp_path / "nowhere.jsonl")


def test_who_imports_something_else_is_told_what_may_be_imported(tmp_path: Path) -> None:
    other = tmp_path / "results.json"
    other.write_text("{}\n")
    with pytest.raises(EdgehoneError, match=r"name an export, or store\.jsonl of a run's folder") as refused:
        read_foreign(other)
    assert "--store" not in str(refused.value)
    with pytest.raises(EdgehoneError, match="--store none"):
        Store(other).entries()


def test_the_very_same_data_is_left_out_by_any_sign() -> None:
    signs = (
        entry("here").data.model_copy(update={"name": "here", "class_names": ("a", "b")}),
        entry().data.model_copy(update={"labels": HERE.labels}),
        entry().data.model_copy(update={"pictures": HERE.pictures}),
    )
    for identity in signs:
        assert starts([entry(data=identity)], ask()) == []
        assert len(starts([entry(data=identity)], ask(exclude=None))) == 1
        named = dataclasses.replace(ask(exclude=None), leave_out=(identity.name,))
        assert not starts([entry(data=identity)], named)
    alike = entry().data.model_copy(update={"name": "here"})
    assert starts([entry(data=alike)], ask()), "many folders are named alike: without a class in common it is another"


def test_the_nearest_and_best_proven_searches_come_first() -> None:
    far = FISH.model_copy(update={"side_p50": 0.2, "side_p5": 0.1})
    other = FISH.model_copy(update={"side_p50": 0.9, "side_p5": 0.8, "classes": 300, "objects_a_picture": 200.0})
    entries = [
        entry("tie", rate=0.02, gain_interval95=(-0.01, 0.09)),
        entry("far", far, rate=0.03),
        entry("alien", other, rate=0.04),
        entry("near", rate=0.05),
        entry("few", rate=0.06, trials=2),
    ]
    found = starts(entries, ask(), count=9)
    names = [start.because.split(",")[0] for start in found]
    assert names[0] == "near"
    assert "alien" not in names
    assert found == sorted(found, key=lambda start: -start.weight)
    assert evidence(entries[0]) < evidence(entries[3]) > evidence(entries[4])
    assert len(starts(entries, ask(), count=2)) == 2


def test_the_same_strategy_from_two_searches_counts_once_and_more() -> None:
    single, both = starts([entry("a")], ask())[0], starts([entry("a"), entry("b")], ask())
    assert len(both) == 1
    assert both[0].weight > single.weight


def test_strategies_of_other_settings_are_kept_but_not_used(tmp_path: Path) -> None:
    strange = entry().strategies[0].model_copy(update={"strategy": {"input": {"size": 7}, "gone": 1}})
    store = Store(tmp_path / "s.jsonl")
    store.add([entry("old", strategies=(strange,))])
    assert starts(store.entries(), ask()) == []
    assert store.entries()[0].strategies[0].strategy == {"input": {"size": 7}, "gone": 1}


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        Likeness,
        side_p5=st.floats(0, 1),
        side_p50=st.floats(0, 1),
        side_p95=st.floats(0, 1),
        objects_a_picture=st.floats(0, 300),
        crowded=st.floats(0, 1),
        classes=st.integers(1, 1000),
        imbalance=st.floats(1, 1e4),
        pictures=st.integers(1, 10**6),
        parameters=st.integers(1, 10**9),
    )
)
def test_similarity_is_symmetric_and_one_only_for_the_same(other: Likeness) -> None:
    assert FISH.similarity(other, True) == pytest.approx(other.similarity(FISH, True))
    assert 0 <= FISH.similarity(other, False) <= FISH.similarity(other, True) <= 1
    assert other.similarity(other, True) == 1


def test_starts_keep_to_limits_and_to_half_of_the_first_trials() -> None:
    limit = Forbid(path="input.size", values=(352, 384, 416), because="test")
    teacher = Forbid(path="projection.distillation.kind", values=("teacher",), because="test")
    frozen = frozenset({"optimisation.warm_start.frozen", "optimisation.warm_start.rate"})
    space = SearchSpace(Strategy(), (limit, teacher), frozen)
    rng = np.random.default_rng(0)
    wild = SearchSpace(Strategy())
    for _ in range(30):
        drawn = wild.sample(rng)
        assert isinstance(drawn, Strategy)
        kept = space.within(drawn)
        assert isinstance(kept, Strategy)
        assert kept.input.size <= 320
        assert kept.projection.distillation.kind != "teacher"
        assert kept.optimisation.warm_start == Strategy().optimisation.warm_start
        assert wild.within(drawn) == drawn
    given_ = starts([entry("a", rate=0.02), entry("b", rate=0.03), entry("c", rate=0.04)], ask())
    searcher = StartingSearcher(PriorSearcher(space, 0), space, given_)
    first, second = searcher.suggest(4), searcher.suggest(4)
    origins = [[s.origin.startswith("from the store: ") for s in wave] for wave in (first, second)]
    assert origins == [[True, False, True, False], [True, False, False, False]]
    searcher.update([Result(s.strategy, (0.1,)) for s in (*first, *second)])
    assert len({fingerprint(s.strategy) for s in (*first, *second)}) == 8


@pytest.mark.parametrize(("preferred", "sizes"), [(416, {160, 288}), (224, {160, 192}), (192, {160}), (160, set())])
def test_a_front_begins_at_smaller_inputs_too(preferred: int, sizes: set[int]) -> None:
    rule = Prefer(path="input.size", value=preferred, confidence=0.9, because="test")
    space = SearchSpace(Strategy(), (rule,))

    def preferred_at(size: int) -> Strategy:
        weight = Prefer(path="projection.box_loss.weight", value=size / 2000, confidence=0.9, because="test")
        return cast(Strategy, space.prefer([weight]).preferred())

    begun = faster_starts(space, preferred_at)
    assert {start.strategy.input.size for start in begun} == sizes
    for start in begun:
        assert diff(space.preferred(), start.strategy).keys() == {"input.size", "projection.box_loss.weight"}
        assert start.strategy.projection.box_loss.weight == start.strategy.input.size / 2000, "what suits that size"
    tried = StartingSearcher(PriorSearcher(space, 0), space, begun).suggest(4)
    assert {s.strategy.input.size for s in tried} >= sizes | {preferred}


def test_a_front_of_one_size_has_no_smaller_starts() -> None:
    assert faster_starts(SearchSpace(Strategy()).keep_only(["projection"]), lambda size: Strategy()) == []


def test_what_the_rules_prefer_is_not_tried_twice_where_it_is_a_start_already() -> None:
    space = SearchSpace(Strategy())
    preferred = entry().strategies[0].model_copy(update={"strategy": space.preferred().model_dump(mode="json")})
    searcher = StartingSearcher(PriorSearcher(space, 0), space, starts([entry(strategies=(preferred,))], ask()))
    tried = [s for _ in range(3) for s in searcher.suggest(6)]
    assert tried[0].strategy == space.preferred()
    assert len({fingerprint(s.strategy) for s in tried}) == 18


def test_without_starts_a_search_is_what_it_was() -> None:
    space = SearchSpace(Strategy())
    plain, started = PriorSearcher(space, 3), StartingSearcher(PriorSearcher(space, 3), space, [])
    assert plain.suggest(6) == started.suggest(6)
