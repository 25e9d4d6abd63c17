"""A study: what comes next, that it survives any interruption, and that it scales."""

from __future__ import annotations

import heapq
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.errors import EdgehoneError, UsageError
from edgehone.search.agreement import agree, correlations, independent_pairs
from edgehone.search.finalists import SEED_NOISE, known_noise, seed_noise, standings
from edgehone.search.journal import Journal
from edgehone.search.plan import FINAL, REPEATED, Rung
from edgehone.search.searcher import stable_seed
from edgehone.search.searchers import make_searcher
from edgehone.search.study import Study, Terms, Trial, Worth
from edgehone.space import SearchSpace, fingerprint, replace
from edgehone.strategy import Strategy

SPACE = SearchSpace(Strategy(), trust=0.7)
RUNGS = (
    Rung(name="short", share=1 / 6, trials=8),
    Rung(name="middle", share=1 / 3, trials=4, varied=2),
    Rung(name=FINAL, share=1.0, trials=2),
)


def study(journal: Journal | None = None, space: SearchSpace = SPACE, **changes: object) -> Study:
    terms = Terms.model_validate({"seed": 5, "searcher": "informed", "rungs": RUNGS, **changes})
    return Study(terms, space, make_searcher(terms.searcher, space, terms.seed), journal)


def worth(trial: Trial) -> Worth:
    """A made-up training: good at a low learning rate, noisy, now and then diverged."""
    noise = stable_seed(trial.seed, "noise") % 1000 / 1e4
    rate = trial.strategy.optimisation.optimizer.lr
    if trial.seed % 13 == 0:
        return Worth(number=trial.number, values=(0.0,), diverged=True)
    return Worth(number=trial.number, values=(0.5 / (1 + abs(np.log(rate / 0.003))) + noise + 0.05 * trial.rung,))


class Killed(Exception):
    """The process is gone."""


def in_batches(one: Study, new: int = 3, lives: Iterator[int] | None = None) -> None:
    """As the pipeline does it; may be killed before or after anything that reaches the disk."""
    while batch := one.pending or one.ask_batch(new):
        breathe(lives)
        found = [worth(trial) for trial in batch]
        breathe(lives)
        one.tell(found)
        breathe(lives)


def breathe(lives: Iterator[int] | None) -> None:
    if lives is not None and next(lives) == 0:
        raise Killed


def record(one: Study) -> list[tuple[object, ...]]:
    return [
        (t.number, t.rung, t.kind, t.parent, t.seed, fingerprint(t.strategy), one.worth[t.number]) for t in one.trials
    ]


def test_every_rung_is_filled_and_the_compute_is_that_of_the_plan() -> None:
    one = study(repeats=2)
    in_batches(one)
    kinds = [(t.rung, t.kind) for t in one.trials]
    assert [kinds.count(key) for key in ((0, "suggested"), (1, "promoted"), (1, "varied"), (2, "promoted"))] == [
        8,
        4,
        2,
        2,
    ]
    finalists = [t for t in one.trials if (t.rung, t.kind) == (2, "promoted")]
    assert kinds.count((2, "repeated")) == sum(not one.worth[t.number].diverged for t in finalists)
    assert one.ask() is None
    assert {one.trials[t.parent].rung for t in one.trials if t.kind == "promoted" and t.parent is not None} == {0, 1}


@pytest.mark.parametrize("searcher", ["informed", "evolution"])
def test_killed_at_thirty_random_instants_it_equals_an_undisturbed_one(tmp_path: Path, searcher: str) -> None:
    calm = study(searcher=searcher, repeats=2)
    in_batches(calm)
    rng = random.Random(7)
    kills = 0
    while kills < 30:
        path = tmp_path / f"study-{kills}.jsonl"
        while True:
            breaths = iter(range(rng.randrange(12), -1, -1))
            with Journal(path) as journal:
                one = study(journal, searcher=searcher, repeats=2)
                try:
                    in_batches(one, lives=iter(breaths.__next__, None))
                except Killed:
                    kills += 1
                    torn(path, rng)
                    continue
                except StopIteration:
                    continue
            break
        assert record(one) == record(calm)


def torn(path: Path, rng: random.Random) -> None:
    """A line that the power cut left without its end, some of the time."""
    if rng.random() < 0.5:
        with path.open("ab") as file:
            file.write(b'{"told":[{"number":0,"val')


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_freely_and_interrupted_nothing_is_lost_or_doubled(seed: int) -> None:
    """Workers end in any order; the process that decides is killed now and then with trials under way."""
    rng = random.Random(seed)
    events: list[object] = []

    class Memory:
        def __init__(self) -> None:
            self.events = list(events)

        def add(self, event: object) -> None:
            events.append(json.loads(json.dumps(event)))

    one = study(cast(Journal, Memory()), searcher="random")
    told: list[int] = []
    while True:
        if rng.random() < 0.1:
            one = study(cast(Journal, Memory()), searcher="random")
        if len(one.pending) < 4 and one.ask() is not None:
            continue
        if not one.pending:
            break
        trial = rng.choice(one.pending)
        one.tell([worth(trial)])
        told.append(trial.number)
    assert sorted(told) == list(range(len(one.trials))), "each exactly once"
    assert len({t.seed for t in one.trials}) == len(one.trials)
    assert sum(t.kind == "suggested" for t in one.trials) == 8
    top = [t for t in one.trials if t.rung == 2]
    assert len(top) == 2
    with pytest.raises(ValueError, match="results are for trials that are open"):
        one.tell([worth(one.trials[0])])


def test_with_many_trials_promotion_does_not_wait_for_the_rung() -> None:
    rungs = (Rung(name="short", share=1 / 6, trials=200), *RUNGS[1:-1], Rung(name=FINAL, share=1.0, trials=20))
    rungs = (rungs[0], Rung(name="middle", share=1 / 3, trials=100), rungs[2])
    one = study(rungs=rungs, searcher="random")
    for _ in range(60):
        trial = one.ask()
        assert trial is not None
        one.tell([worth(trial)])
    rung_of = [t.rung for t in one.trials]
    assert 10 < rung_of.count(1) < 25, "about half of those that are finished"
    assert rung_of.index(1) == 16, "not before there is something to choose from"


def test_eight_workers_hardly_ever_wait() -> None:
    """Events of a simulated clock: trainings take what their rung says, give or take a fifth."""
    rungs = (
        Rung(name="short", share=1 / 6, trials=240),
        Rung(name="middle", share=1 / 3, trials=120, varied=20),
        Rung(name=FINAL, share=1.0, trials=15),
    )
    one = study(rungs=rungs, searcher="random")
    rng = np.random.default_rng(0)
    now, busy = 0.0, 0.0
    running: list[tuple[float, int]] = []
    while True:
        while len(running) < 8 and (trial := one.ask()) is not None:
            length = rungs[trial.rung].share * rng.lognormal(0, 0.2)
            busy += length
            heapq.heappush(running, (now + length, trial.number))
        if not running:
            break
        now, number = heapq.heappop(running)
        one.tell([worth(one.trials[number])])
    assert busy / (8 * now) > 0.9


def test_a_rung_that_ranks_badly_sends_more_up_and_one_that_ranks_well_fewer() -> None:
    assert agree("a", "b", [(k, k) for k in range(12)]).promotion == pytest.approx(2 / 3, abs=0.02)
    assert agree("a", "b", [(k, -k) for k in range(12)]).promotion == pytest.approx(4 / 3, abs=0.02)
    assert agree("a", "b", [(0.1, k) for k in range(8)]).rho is None


def test_a_few_pairs_are_added_to_what_earlier_searches_said() -> None:
    nothing, tied = agree("a", "b", [(1, 1), (2, 2)]), agree("a", "b", [(0.1, k) for k in range(8)])
    assert (nothing.tau, nothing.believed, nothing.promotion) == (None, 0.7, 1.0)
    assert (tied.believed, tied.interval95) == (nothing.believed, nothing.interval95)
    same, other = agree("a", "b", [(k, k) for k in range(3)]), agree("a", "b", [(k, -k) for k in range(3)])
    assert other.believed < nothing.believed < same.believed
    assert same.promotion < 1 < other.promotion, "three pairs count"
    assert other.promotion < agree("a", "b", [(k, -k) for k in range(9)]).promotion, "nine count more"
    for found in (nothing, same, other):
        assert found.interval95 is not None
        assert found.interval95[0] < found.believed < found.interval95[1]


@pytest.mark.parametrize("trials", [3, 6, 12])
def test_pairs_count_as_many_independent_ones_as_vary_alike(trials: int) -> None:
    rng = np.random.default_rng(0)
    taus = [correlations([(k, v) for k, v in enumerate(rng.permutation(trials).tolist())])[0] for _ in range(2000)]
    spread = float(np.var(np.array(taus, float)))
    assert spread == pytest.approx(1 / independent_pairs(trials), rel=0.1)


def test_trust_moves_compute_between_rungs_and_spends_no_more() -> None:
    rungs = (
        Rung(name="short", share=1 / 6, trials=60),
        Rung(name="middle", share=1 / 3, trials=30),
        Rung(name=FINAL, share=1.0, trials=6),
    )
    plan = sum(rung.share * rung.trials for rung in rungs)
    counts: dict[str, list[int]] = {}
    for name, value in (("good", _rate), ("bad", _disagreeing)):
        one = study(rungs=rungs, searcher="random")
        while batch := one.ask_batch(4):
            one.tell([Worth(number=t.number, values=(value(t),)) for t in batch])
        counts[name] = [sum(t.rung == rung for t in one.trials) for rung in range(3)]
        spent = sum(rung.share * count for rung, count in zip(rungs, counts[name], strict=True))
        assert 0.95 * plan <= spent <= plan + 1e-6
    assert counts["bad"][1] / counts["bad"][0] > counts["good"][1] / counts["good"][0]


def _rate(trial: Trial) -> float:
    return float(trial.strategy.optimisation.optimizer.lr)


def _disagreeing(trial: Trial) -> float:
    return (1 if trial.rung % 2 == 0 else -1) * _rate(trial)


def test_where_all_diverge_the_study_ends_without_finalists() -> None:
    one = study()
    while batch := one.ask_batch(4):
        one.tell([Worth(number=t.number, values=(0.0,), diverged=True) for t in batch])
    assert standings(one, SEED_NOISE) == []
    assert len(one.trials) == 8


def test_a_small_space_is_tried_once_and_promoted_all_the_same() -> None:
    narrow = SPACE.keep_only(("projection.box_loss.kind",))
    one = study(space=narrow)
    in_batches(one)
    suggested = [t for t in one.trials if t.kind == "suggested"]
    assert len({fingerprint(t.strategy) for t in suggested}) == len(suggested)
    assert [t for t in one.trials if t.rung == 2]


def test_several_objectives_promote_the_front() -> None:
    one = study(objectives=("ap", "latency[cpu]"))
    while batch := one.ask_batch(8):
        one.tell([Worth(number=t.number, values=(t.number % 8 / 8, -float(t.number % 8))) for t in batch])
    promoted = [t for t in one.trials if t.rung == 1 and t.kind == "promoted"]
    assert {0, 7} <= {t.parent for t in promoted}, "the ends of the front"


def test_finalists_are_ordered_by_the_lower_end_over_their_seeds() -> None:
    one = study(repeats=3, rungs=(Rung(name=FINAL, share=1.0, trials=3),))
    trials = one.ask_batch(3)
    one.tell([Worth(number=t.number, values=(value,)) for t, value in zip(trials, (0.50, 0.49, 0.30), strict=True)])
    again = one.ask_batch(9)
    scores = {trials[0].number: 0.40, trials[1].number: 0.48, trials[2].number: 0.31}
    one.tell([Worth(number=t.number, values=(scores[cast(int, t.parent)],)) for t in again])
    order = standings(one, seed_noise(one))
    assert order[0].trial == trials[1].number, "steadily good beats once lucky"
    assert order[0].low < order[0].values[0] < order[0].high
    assert 0.01 < seed_noise(one) < 0.06


def test_a_study_refuses_other_terms_and_a_second_writer(tmp_path: Path) -> None:
    path = tmp_path / "study.jsonl"
    with Journal(path) as journal:
        study(journal).ask_batch(2)
        with pytest.raises(EdgehoneError, match="another process writes"):
            Journal(path)
    with Journal(path) as journal, pytest.raises(UsageError, match="seed: there 5, now 6"):
        study(journal, seed=6)
    path.write_text(path.read_text().replace('"asked"', "asked", 1))
    with pytest.raises(EdgehoneError, match="line 2 of"):
        Journal(path)


def test_seeds_are_the_same_everywhere() -> None:
    assert stable_seed(0, 1) == 4205859385213114
    assert stable_seed(0, "final-darknet", 0) != stable_seed(0, "final-authors", 0)


MANY = (
    Rung(name="short", share=1 / 6, trials=20_000),
    Rung(name="middle", share=1 / 3, trials=7_500, varied=1_250),
    Rung(name=FINAL, share=1.0, trials=1_250),
)
OF_SIXTEEN = (
    *((0, "suggested", None) for _ in range(10)),
    *((1, "promoted", place) for place in range(4)),
    (1, "varied", 10),
    (2, "promoted", 10),
)
"""Rung, kind and parent (its place) of sixteen trials in a row."""


def ten_thousand(path: Path, searcher: str) -> None:
    """Written as a study writes them: every rung, and a strategy that was rejected for every ten that were not."""
    rng = np.random.default_rng(0)
    drawn = [cast(Strategy, SPACE.sample(rng)).model_dump(mode="json") for _ in range(20)]
    lines: list[object] = [{"terms": Terms(seed=5, searcher=searcher, rungs=MANY).model_dump(mode="json")}]
    block: list[dict[str, Any]] = []
    for number in range(10_000):
        rung, kind, place = OF_SIXTEEN[number % 16]
        block = [] if number % 16 == 0 else block
        strategy = drawn[number % 20] if place is None or kind == "varied" else block[place]["strategy"]
        strategy = json.loads(json.dumps(strategy))
        if kind != "promoted":
            strategy["optimisation"]["optimizer"]["lr"] *= 1 + 1e-5 * number
        parent = None if place is None else block[place]["number"]
        trial = {"number": number, "rung": rung, "kind": kind, "parent": parent, "seed": number, "strategy": strategy}
        block.append({**trial, "origin": "drawn at random"})
        event: dict[str, object] = {"asked": [block[-1]]}
        if number % 16 == 0:
            strategy = {**strategy, "input": {**strategy["input"], "size": 160 + 32 * (number // 16 % 8)}}
            event["rejected"] = [{"strategy": strategy, "reason": "ceiling", "because": "a test says so"}]
        lines += [event, {"told": [{"number": number, "values": [float(rng.random())], "diverged": False}]}]
    path.write_text("\n".join(json.dumps(line, separators=(",", ":")) for line in lines) + "\n")


@pytest.mark.parametrize("searcher", ["informed", "evolution"])
def test_ten_thousand_trials(tmp_path: Path, searcher: str) -> None:
    """On all rungs; opened and gone on with: 50 MB, five seconds, and one for each decision.

    By the wall's clock; by that of this process alone where others want more than the machine has.
    """
    clock = time.process_time if os.getloadavg()[0] > (os.cpu_count() or 1) else time.perf_counter
    path = tmp_path / "study.jsonl"
    ten_thousand(path, searcher)
    assert path.stat().st_size < 50e6
    started = clock()
    with Journal(path) as journal:
        one = study(journal, rungs=MANY, searcher=searcher)
        assert clock() - started < 5.0, "resume"
        assert len(one.trials) == 10_000
        assert {trial.rung for trial in one.trials} == {0, 1, 2}
        took: list[float] = []
        for _ in range(5):
            started = clock()
            trial = one.ask()
            assert trial is not None
            one.tell([worth(trial)])
            assert one.searcher.suggest(1), "asked outright, for what is due may be no new strategy"
            assert one.searcher.suggest(1, full=True), "for a full training, which is the dearest"
            took.append(clock() - started)
        assert float(np.median(took)) < 1.0, "suggest"


def test_only_the_best_three_finalists_are_trained_again() -> None:
    one = study(repeats=2, rungs=(Rung(name=FINAL, share=1.0, trials=6),))
    while batch := one.ask_batch(6):
        one.tell([worth(trial) for trial in batch])
    finalists = [trial.number for trial in one.best(0) if trial.kind == "suggested"]
    repeated = [trial.parent for trial in one.trials if trial.kind == "repeated"]
    assert len(finalists) > REPEATED
    assert sorted(repeated, key=str) == sorted(finalists[:REPEATED], key=str)


def test_an_objective_is_as_noisy_as_it_spreads() -> None:
    aps = [0.1, 0.2, 0.3, 0.4]
    assert known_noise(aps, aps) == pytest.approx(SEED_NOISE)
    assert known_noise([2 * ap for ap in aps], aps) == pytest.approx(2 * SEED_NOISE)
    assert known_noise([0.9] * 4, [0.2] * 4) == SEED_NOISE
    assert known_noise([0.1, 0.9], [0.2, 0.3]) == SEED_NOISE, "two trainings say nothing"


def test_what_is_fixed_stays(tmp_path: Path) -> None:
    base = replace(Strategy(), {"projection.assigner.kind": "sim_ota"})
    space = SPACE.fix(base, ["projection.assigner.top"]).keep_only(("projection",))
    one = study(space=space, searcher="random")
    for trial in one.ask_batch(6):
        assert trial.strategy.projection.assigner.kind == "sim_ota", "what it belongs to is fixed, too"
        assert trial.strategy.projection.assigner.top == 10
        assert trial.strategy.optimisation == Strategy().optimisation
    with pytest.raises(UsageError, match="did you mean projection"):
        SPACE.keep_only(("projektion",))
