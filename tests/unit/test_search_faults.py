"""Faults that a reading of the search has found: what misleads it, and what is lost on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace as replaced
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from edgehone import equipment
from edgehone.data import Dataset, read_dataset
from edgehone.errors import UsageError
from edgehone.preparation import same_data
from edgehone.run_folder import RunFolder
from edgehone.search.finalists import SEED_NOISE, seed_noise, standings
from edgehone.search.lengths import without_augmentation
from edgehone.search.plan import FINAL, Rung
from edgehone.search.pool import Pool
from edgehone.search.progress import Monitor
from edgehone.search.searcher import PriorSearcher, Result, neighbour
from edgehone.search.searchers import make_searcher
from edgehone.search.starts import Start, StartingSearcher
from edgehone.search.study import Study, Terms, Worth
from edgehone.search.trial import Outcome, Task
from edgehone.space import Prefer, SearchSpace, flatten, replace
from edgehone.strategy import AUTHORS, Strategy
from edgehone.training import Job

WISHES = {
    "projection.assigner.kind": "task_aligned",
    "projection.objectness.target": "quality",
    "projection.vote": "object",
    "optimisation.optimizer.kind": "adamw",
}
RULES = tuple(Prefer(path=path, value=value, confidence=0.9, because="a test") for path, value in WISHES.items())
SPACE = SearchSpace(Strategy(), RULES, trust=0.7)
TINY = "builtin:digits?train=8&val=4&test=4&width=96&height=96&max_px=60"


def favourite() -> Strategy:
    return cast(Strategy, SPACE.preferred())


def advised(searcher: PriorSearcher) -> bool:
    return any(isinstance(prior, Prefer) for prior in searcher.taught.priors)


def test_rules_are_not_judged_by_the_fast_end_of_a_front() -> None:
    searcher = PriorSearcher(SPACE, 0)
    fast = replace(Strategy(), {"input.size": 160})
    searcher.update([Result(fast, (0.02, -1.0), trial=0), Result(favourite(), (0.30, -9.0), trial=1)])
    assert searcher.ranked()[0].strategy == fast, "an end of the front, told first"
    assert advised(searcher)


def test_who_diverged_is_no_parent_and_no_witness() -> None:
    searcher = PriorSearcher(SPACE, 0)
    gone = Result(Strategy(), (0.0, -1.0), trial=0, diverged=True)
    searcher.update([gone, Result(favourite(), (0.0, -1.0), trial=1)])
    assert [result.diverged for result in searcher.ranked()] == [False, True]
    assert advised(searcher)


@pytest.mark.parametrize("name", ["informed", "random", "evolution"])
def test_starts_from_the_store_take_nothing_of_the_searchers_own(name: str) -> None:
    """What it suggests first is as if there were no starts, though it is told of them."""
    starts = [Start(strategy=replace(AUTHORS, {"input.size": size}), weight=1.0, because="x") for size in (160, 192)]
    searcher = StartingSearcher(make_searcher(name, SPACE, 3), SPACE, starts)
    found: list[tuple[str, Strategy]] = []
    for number in range(6):
        (suggestion,) = searcher.suggest(1)
        searcher.update([Result(suggestion.strategy, None, trial=number)])
        searcher.update([Result(suggestion.strategy, (0.1,), trial=number)])
        found.append((suggestion.origin, suggestion.strategy))
    own = [(origin, strategy) for origin, strategy in found if not origin.startswith("from the store")]
    assert len(own) == 4
    (first,) = make_searcher(name, SPACE, 3).suggest(1)
    if name != "random":  # whose draws hang on how much is known
        assert own[0] == (first.origin, first.strategy)
    if name == "informed":
        assert "without the rules" in own[1][0]


def test_variations_of_the_augmentation_are_not_handed_on() -> None:
    narrow = without_augmentation(SPACE)
    varied = replace(favourite(), {"augmentation.mosaic.probability": 0.9, "augmentation.affine.scale": 0.8})
    rng = np.random.default_rng(0)
    kept = {path: value for path, value in flatten(favourite()).items() if path.startswith("augmentation.")}
    for searcher in (make_searcher("informed", narrow, 1), make_searcher("evolution", narrow, 1)):
        searcher.update([Result(varied, (0.9,), 1, trial=0)])
        for suggestion in searcher.suggest(6):
            assert {path: flatten(suggestion.strategy).get(path) for path in kept} == kept
    assert flatten(neighbour(narrow, varied, rng))["augmentation.mosaic.probability"] != 0.9


def test_a_lost_seed_does_not_make_every_comparison_a_tie() -> None:
    terms = Terms(seed=5, searcher="random", rungs=(Rung(name=FINAL, share=1.0, trials=2),), repeats=3)
    study = Study(terms, SPACE, make_searcher("random", SPACE, 5))
    first = study.ask_batch(2)
    study.tell([Worth(number=trial.number, values=(0.5,)) for trial in first])
    again = study.ask_batch(9)
    lost = Worth(number=again[0].number, values=(0.0,), diverged=True, failed=True)
    study.tell([lost, *(Worth(number=trial.number, values=(0.5,)) for trial in again[1:])])
    assert seed_noise(study) < SEED_NOISE
    assert [standing.values for standing in standings(study, SEED_NOISE)] == [(0.5,), (0.5,)]
    assert sorted(standing.seeds for standing in standings(study, SEED_NOISE)) == [2, 3]


def test_a_seed_that_diverged_counts_against_its_strategy_and_is_not_noise() -> None:
    terms = Terms(seed=5, searcher="random", rungs=(Rung(name=FINAL, share=1.0, trials=1),), repeats=2)
    study = Study(terms, SPACE, make_searcher("random", SPACE, 5))
    study.tell([Worth(number=study.ask_batch(1)[0].number, values=(0.5,))])
    study.tell([Worth(number=study.ask_batch(1)[0].number, values=(0.0,), diverged=True)])
    assert standings(study, SEED_NOISE)[0].values == (0.25,)
    assert seed_noise(study) <= SEED_NOISE + 1e-9


def test_of_several_tasks_the_longest_is_handed_out_first(tmp_path: Path) -> None:
    tasks = [
        Task(name=f"t{k}", rung="r", job=Job(model="m", strategy=AUTHORS, steps=1, batch_size=1), gflops=g, origin="")
        for k, g in enumerate((1.0, 3.0, 2.0, 3.0))
    ]
    taken: list[str] = []

    class Line:
        def run(self, tasks: Iterable[Task | None], tick: object) -> Iterator[Outcome]:
            for task in tasks:
                assert task is not None
                taken.append(task.name)
                yield Outcome(task=task, status="done", ap=0.0, validation=None, curve=[], seconds=0.0)

    outcomes = Monitor(RunFolder(tmp_path), lambda status: None).run(cast(Pool, Line()), tasks)
    assert taken == ["t1", "t3", "t2", "t0"]
    assert [outcome.task.name for outcome in outcomes] == ["t0", "t1", "t2", "t3"]


def test_what_was_trained_on_a_device_is_explained_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equipment, "accelerators", list)
    equipment.check_trains_here("cpu", cluster=True)
    with pytest.raises(UsageError, match=r"trained on cuda:0, which is not here: .* --budget 0%"):
        equipment.check_trains_here("cuda:0", cluster=False)
    with pytest.raises(UsageError, match="processors of a cluster"):
        equipment.check_trains_here("cuda:0", cluster=True)


def test_a_run_goes_on_with_the_data_that_it_began_with(tmp_path: Path) -> None:
    dataset = read_dataset(TINY)
    for _ in range(2):
        same_data(RunFolder(tmp_path), dataset)
    fewer: Dataset = replaced(dataset, train=dataset.train[1:])
    with pytest.raises(UsageError, match=r"labels, pictures of .* changed since it began"):
        same_data(RunFolder(tmp_path), fewer)
