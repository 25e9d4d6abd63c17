"""What every searcher must do, whatever its idea: a class that each one inherits."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from edgehone.search.pareto import best_first
from edgehone.search.searcher import Result, Searcher, Suggestion
from edgehone.search.searchers import SEARCHERS, make_searcher
from edgehone.space import Choice, Forbid, Prefer, SearchSpace, Span, dimensions, fingerprint, flatten
from edgehone.strategy import INPUT_SIZES, Strategy

SPACE = SearchSpace(
    Strategy(),
    (
        Prefer(path="projection.assigner.kind", value="task_aligned", confidence=0.7, because="test"),
        Prefer(path="input.size", value=256, confidence=0.7, because="test"),
        Forbid(path="input.size", values=(320, 352, 384, 416), because="test"),
    ),
    trust=0.7,
)
MANY = 10_000


def score(strategy: Strategy) -> float:
    """A landscape: near a learning rate of 0.002, task-aligned is best."""
    rate = strategy.optimisation.optimizer.lr
    good = {"task_aligned": 0.4, "sim_ota": 0.3}.get(strategy.projection.assigner.kind, 0.2)
    return good / (1 + abs(np.log(rate / 0.002)))


def results_of(suggestions: Sequence[Suggestion], start: int = 0, rung: int = 0) -> list[Result]:
    return [Result(s.strategy, (score(s.strategy),), rung, trial=start + k) for k, s in enumerate(suggestions)]


def explored(searcher: Searcher, waves: int, count: int = 4) -> list[Suggestion]:
    found: list[Suggestion] = []
    for _ in range(waves):
        wave = searcher.suggest(count)
        searcher.update(results_of(wave, len(found)))
        found += wave
    return found


def strategies(suggestions: Sequence[Suggestion]) -> list[Strategy]:
    return [s.strategy for s in suggestions]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """What a computation takes is counted over all threads, and those that wait for others count as well."""
    with threadpool_limits(1):
        yield


class SearcherConformance:
    """Inherited by the tests of each searcher."""

    name: str

    def make(self, seed: int = 3) -> Searcher:
        return make_searcher(self.name, SPACE, seed)

    def test_it_suggests_different_valid_strategies(self) -> None:
        found = explored(self.make(), waves=4)
        assert len({fingerprint(s.strategy) for s in found}) == 16
        domains = {(d.path, d.when): d.domain for d in dimensions(Strategy)}
        for suggestion in found:
            flat = flatten(Strategy.model_validate(suggestion.strategy.model_dump(mode="json")))
            assert flat["input.size"] < 320, "what is forbidden is not suggested"
            assert suggestion.origin
            for (path, when), domain in domains.items():
                if path not in flat or any(flat.get(where) != kind for where, kind in when):
                    continue
                if isinstance(domain, Choice):
                    assert flat[path] in domain.values
                elif self.name != "authors":  # the authors' own constants lie where they lie
                    assert isinstance(domain, Span)
                    assert domain.low <= flat[path] <= domain.high

    def test_the_seed_decides(self) -> None:
        first, again, other = (strategies(explored(self.make(seed), waves=3)) for seed in (1, 1, 2))
        assert first == again
        assert first != other

    def test_one_made_anew_and_told_the_same_goes_on_alike(self) -> None:
        searcher, anew = self.make(), self.make()
        known = explored(searcher, waves=4)
        anew.update(results_of(known))
        assert strategies(anew.suggest(3)) == strategies(searcher.suggest(3))

    def test_what_is_still_trained_is_not_suggested_again(self) -> None:
        searcher, anew = self.make(), self.make()
        known = explored(searcher, waves=3)
        running = searcher.suggest(2)
        anew.update(results_of(known))
        anew.update([Result(s.strategy, None, trial=12 + k) for k, s in enumerate(running)])
        following = anew.suggest(3)
        assert strategies(following) == strategies(searcher.suggest(3))
        assert not {fingerprint(s.strategy) for s in following} & {fingerprint(s.strategy) for s in running}

    def test_results_of_several_rungs_and_objectives_are_understood(self) -> None:
        searcher = self.make()
        first = searcher.suggest(12)
        searcher.update(
            [
                Result(s.strategy, (score(s.strategy), -float(s.strategy.input.size)), rung, trial=k)
                for k, s in enumerate(first)
                for rung in range(1 + (k < 4))
            ]
        )
        assert len({fingerprint(s.strategy) for s in searcher.suggest(4)}) == 4

    def test_a_space_of_six_strategies_is_exhausted_after_six(self) -> None:
        if self.name == "authors":
            pytest.skip("it searches the numbers of the authors' recipe, whatever the space")
        searcher = make_searcher(self.name, SPACE.keep_only(("projection.normalisation", "projection.vote")), 3)
        assert len(searcher.suggest(9)) == 6
        assert searcher.suggest(2) == []

    def test_ten_thousand_results_do_not_slow_it_down(self, many: list[Result], one_thread: None) -> None:
        searcher = self.make()
        searcher.update(many)
        searcher.suggest(1)  # imports and caches

        def seconds() -> float:
            started = time.process_time()
            searcher.suggest(1)
            return time.process_time() - started

        assert any(seconds() < 1.0 for _ in range(3)), "three in a row: another process can slow down one"


@pytest.fixture(scope="module")
def many() -> list[Result]:
    """Ten thousand different strategies with scores."""
    rng = np.random.default_rng(0)
    seeds = [cast(Strategy, SPACE.sample(rng)) for _ in range(40)]
    found: list[Result] = []
    for k in range(MANY):
        strategy = seeds[k % len(seeds)]
        optimizer = strategy.optimisation.optimizer
        changed = optimizer.model_copy(update={"lr": optimizer.lr * (1 + 1e-4 * k)})
        optimisation = strategy.optimisation.model_copy(update={"optimizer": changed})
        strategy = strategy.model_copy(update={"optimisation": optimisation})
        found.append(Result(strategy, (score(strategy), -float(strategy.input.size)), trial=k))
    return found


class TestInformed(SearcherConformance):
    name = "informed"

    def test_it_begins_with_what_the_rules_prefer_and_follows_them_mostly(self) -> None:
        suggestions = self.make().suggest(40)
        assert suggestions[0].strategy == SPACE.preferred()
        assert sum(s.strategy.projection.assigner.kind == "task_aligned" for s in suggestions) > 20

    def test_after_results_neighbours_of_the_best_are_tried(self) -> None:
        searcher = self.make()
        explored(searcher, waves=1)
        assert sum("neighbour of the best so far" in s.origin for s in searcher.suggest(8)) == 4

    def test_after_a_handful_of_results_it_chooses_among_many(self) -> None:
        searcher = self.make()
        explored(searcher, waves=4)
        found = searcher.suggest(8)
        assert all("may be worth most" in s.origin for s in found)
        assert sum("without the rules" in s.origin for s in found) == 1, "one in eight asks no rule"
        assert len({fingerprint(s.strategy) for s in found}) == 8

    def test_who_was_promoted_counts_more_than_a_lucky_short_training(self) -> None:
        searcher = self.make()
        first = searcher.suggest(4)
        searcher.update([Result(s.strategy, (0.9 - k / 10,), trial=k) for k, s in enumerate(first)])
        searcher.update([Result(first[3].strategy, (0.2,), 1, trial=4)])
        neighbours = [s.origin for s in searcher.suggest(8) if "neighbour" in s.origin]
        assert all("trial 4" in origin for origin in neighbours)


class TestRandom(SearcherConformance):
    name = "random"

    def test_it_does_not_listen_to_rules(self) -> None:
        kinds = [s.strategy.projection.assigner.kind for s in self.make().suggest(60)]
        assert kinds.count("task_aligned") < 30


class TestEvolution(SearcherConformance):
    name = "evolution"

    def test_it_changes_choices_too_and_improves(self) -> None:
        searcher = self.make()
        found = explored(searcher, waves=15)
        assert len({s.strategy.projection.assigner.kind for s in found}) > 1
        assert best_first([(score(s.strategy),) for s in found])[0] > 0, "something better than where it began"


class TestAuthors(SearcherConformance):
    name = "authors"


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="Optuna is not installed: the extra [optuna]")
class TestTpe(SearcherConformance):
    name = "tpe"


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="Optuna is not installed: the extra [optuna]")
@pytest.mark.parametrize(("trials", "startup"), [(4, 2), (8, 2), (16, 4), (200, 10)])
def test_a_quarter_of_a_short_search_begins_at_random(trials: int, startup: int) -> None:
    pytest.importorskip("optuna")
    searcher = make_searcher("tpe", SPACE, 3, trials)
    origins: list[str] = []
    for number in range(startup + 2):
        (found,) = searcher.suggest(1)
        searcher.update(results_of([found], number))
        origins.append(found.origin)
    assert origins[1:] == ["drawn at random"] * (startup - 1) + ["Optuna's tpe"] * 2


class TestGp(SearcherConformance):
    name = "gp"


def test_every_searcher_is_held_to_this() -> None:
    tested = {each.name for each in SearcherConformance.__subclasses__()}
    assert tested == set(SEARCHERS)
    assert max(INPUT_SIZES) >= 320
