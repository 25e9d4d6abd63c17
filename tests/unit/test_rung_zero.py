"""Rung 0: what a projection loses, what is rejected for it, and that a journal replays it."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from tests.unit.test_search import make

from edgehone.analysis.projection import Candidate, projection_facts
from edgehone.analysis.survival import Survival, few_pictures, projected, survival
from edgehone.data import Dataset, read_dataset
from edgehone.search.journal import Journal
from edgehone.search.plan import FINAL, Rung
from edgehone.search.rung_zero import REDRAWS, CeilingScreen, Rejection, judged
from edgehone.search.scope import Scope, open_study
from edgehone.search.searchers import make_searcher
from edgehone.search.study import Study, Terms, Trial, Worth
from edgehone.space import SearchSpace, fingerprint, replace
from edgehone.strategy import AUTHORS, DARKNET, Strategy

SPACE = SearchSpace(Strategy())
RUNGS = (
    Rung(name="short", share=1 / 6, trials=10),
    Rung(name="middle", share=1 / 3, trials=4, varied=1),
    Rung(name=FINAL, share=1.0, trials=2),
)
STRIDES = (32, 16)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset("builtin:digits?train=24&val=2&test=2&min_px=12&max_px=40&max_objects=30")


def no_ratio_match(strategy: Strategy) -> Rejection | None:
    """Rejects about a quarter of what is drawn blindly."""
    if strategy.projection.assigner.kind != "ratio_match":
        return None
    return Rejection(strategy=strategy, reason="ceiling", because="a test says so")


def study(searcher: str, journal: Any = None, screen: Any = no_ratio_match) -> Study:
    terms = Terms(seed=3, searcher=searcher, rungs=RUNGS)
    return Study(terms, SPACE, make_searcher(searcher, SPACE, 3), journal, screen)


def worth(trial: Trial) -> Worth:
    return Worth(number=trial.number, values=(trial.seed % 997 / 997,))


def record(one: Study) -> list[object]:
    trials = [(t.number, t.kind, t.parent, t.seed, fingerprint(t.strategy)) for t in one.trials]
    return [*trials, *(fingerprint(each.strategy) for each in one.gate.rejected)]


class Memory:
    """A journal that outlives the study."""

    def __init__(self, events: list[Any]) -> None:
        self.events, self.all = list(events), events

    def add(self, event: object) -> None:
        self.all.append(json.loads(json.dumps(event)))


@pytest.mark.parametrize("searcher", ["informed", "random", "evolution", "tpe", "gp"])
def test_what_is_rejected_is_not_trained_and_the_journal_replays_it(searcher: str) -> None:
    if searcher in ("tpe", "gp"):
        pytest.importorskip("optuna")
    calm, events, rng = study(searcher), list[Any](), random.Random(1)
    while batch := calm.ask_batch(3):
        calm.tell([worth(trial) for trial in batch])
    killed = study(searcher, cast(Journal, Memory(events)))
    while True:
        if rng.random() < 0.5:
            killed = study(searcher, cast(Journal, Memory(events)))
        batch = killed.pending or killed.ask_batch(3)
        if rng.random() < 0.3:
            continue
        if not batch:
            break
        killed.tell([worth(trial) for trial in batch])
    assert record(killed) == record(calm)
    assert calm.gate.rejected
    suggested = [t for t in calm.trials if t.kind == "suggested"]
    assert len(suggested) == 10, "a rejected one is drawn again: it is no trial and costs nothing"
    assert all(no_ratio_match(t.strategy) is None for t in suggested[1:])
    said = calm.gate.summary(len(suggested))
    assert (said.drawn, said.rejected) == (10 + len(calm.gate.rejected), len(calm.gate.rejected))
    assert said.words().startswith(f"rung 0: {said.rejected} of {said.drawn} drawn strategies rejected: ")


def test_the_preferred_strategy_and_the_authors_evolution_are_never_rejected() -> None:
    def nothing_passes(strategy: Strategy) -> Rejection:
        return Rejection(strategy=strategy, reason="ceiling", because="nothing passes")

    one = study("informed", screen=nothing_passes)
    first, second = one.ask_batch(2)
    assert first.strategy == SPACE.preferred()
    assert second.origin
    assert len(one.gate.rejected) == REDRAWS, "a screen that nothing passes does not stop a search"
    authors = open_study(Scope(searcher="authors"), SPACE, make(), None, (), nothing_passes)
    authors.ask_batch(6)
    assert not authors.gate.rejected


def test_a_ceiling_is_that_of_the_profile(dataset: Dataset) -> None:
    for preset in (AUTHORS, DARKNET, replace(Strategy(), {"projection.assigner.kind": "task_aligned"})):
        strategy = replace(preset, {"input.size": 192})
        facts = projection_facts(Candidate("it", strategy), DARKNET, "yolov4-tiny", dataset.class_names, dataset.train)
        found = survival(strategy, STRIDES, dataset.class_names, dataset.train)
        assert found.ceiling == pytest.approx(facts.ceiling_ap, abs=0.02)
        assert sum(found.lost.values()) / sum(found.objects.values()) == pytest.approx(facts.lost_fraction, abs=1e-4)


def test_a_ceiling_depends_on_nothing_that_is_left_out(dataset: Dataset) -> None:
    rng, pictures = np.random.default_rng(0), few_pictures(dataset.train)
    for _ in range(8):
        strategy = cast(Strategy, SPACE.sample(rng))
        both = [survival(s, STRIDES, dataset.class_names, pictures) for s in (strategy, projected(strategy))]
        assert both[0] == both[1]


def test_a_projection_that_loses_what_another_keeps_is_rejected(dataset: Dataset) -> None:
    """Small objects: the official anchors fit none of them, and the best anchor alone teaches few cells."""
    small = replace(Strategy(), {"input.size": 160, "projection.assigner.kind": "task_aligned"})
    screen = CeilingScreen(small, "yolov4-tiny", dataset)
    assert screen(small) is None
    darknet = replace(DARKNET, {"input.size": 160})
    found = screen(darknet)
    assert found is not None
    assert "160 px" in found.because
    lenient = CeilingScreen(darknet, "yolov4-tiny", dataset)
    assert lenient(darknet) is None, "what the space prefers is good enough"


def said(ceiling: float, lost: Sequence[int] = (0, 0)) -> Survival:
    return Survival(ceiling=ceiling, lost=dict(zip("ab", lost, strict=True)), objects={"a": 100, "b": 10})


def test_the_floor_follows_what_can_be_reached() -> None:
    good, poor = said(0.99), said(0.80)
    assert judged(Strategy(), said(0.95), good, good) is None
    below = judged(Strategy(), said(0.93), good, good)
    assert below is not None
    assert below.reason == "ceiling"
    assert "AP 0.93" in below.because
    assert judged(Strategy(), said(0.62), poor, poor) is None, "where nobody does well the floor is lower"
    assert judged(Strategy(), said(0.55), poor, poor) is not None
    assert judged(Strategy(), said(0.90), good, said(0.90)) is None, "no worse than what is preferred"


def test_a_class_that_is_lost_is_a_reason_of_its_own() -> None:
    best = said(0.99)
    assert judged(Strategy(), said(0.99, (5, 2)), best, best) is None, "two objects are chance"
    assert (found := judged(Strategy(), said(0.99, (6, 0)), best, best)) is not None
    assert found.reason == "a"
    assert judged(Strategy(), said(0.99, (0, 3)), best, best) is not None
    assert judged(Strategy(), said(0.99, (0, 3)), said(0.99, (0, 2)), best) is None
