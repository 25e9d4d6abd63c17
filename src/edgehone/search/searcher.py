"""Where the next strategies come from.

The seam is two methods:

    suggestions = searcher.suggest(count)
    ... train them ...
    searcher.update(results)

What is suggested is a function of the space, the seed and what was suggested and told before, in that order. A
searcher that is made anew and told the same therefore goes on where another one ended: nothing of it is saved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast

import numpy as np

from edgehone.search.expectation import Expectation, Training
from edgehone.search.experience import Experience, Following
from edgehone.search.lengths import AUGMENTATION, without_augmentation
from edgehone.search.pareto import best_first
from edgehone.space import SearchSpace, fingerprint
from edgehone.strategy import Strategy

MUTATIONS = 8
"""From 1 to so many dimensions change, on average, between an incumbent and its neighbour."""

MOST_CHANGED = 1 / 3
"""But at most this share of them: in a space that was narrowed to a few it would be another place altogether."""

BLIND_EVERY = 8
"""One suggestion in so many asks no rule, and the second does not: rules that mislead are to be found out soon."""

CANDIDATES, CANDIDATES_FULL = 32, 128
"""Drawn for one suggestion where trials have taught enough to choose among them: a full training is worth more."""

ATTEMPTS, PATIENCE = 80, 10
"""Draws for one suggestion before the space counts as exhausted, and before another way of drawing is tried."""


@dataclass(frozen=True)
class Suggestion:
    """A strategy to try and how it came about; a trusted one is tried whatever its ceiling."""

    strategy: Strategy
    origin: str
    trusted: bool = False


@dataclass(frozen=True)
class Result:
    """What a strategy was worth in one training.

    Attributes:
        strategy: that was trained.
        values: one an objective, larger is better; None while it is still being trained, so that it is not
            suggested again.
        rung: 0 is the lowest; values of different rungs are not compared.
        seed: of the training.
        trial: its number in the study.
        rejected: before any training, by rung 0: not to be suggested again.
        fitness: 0.1 AP50 + 0.9 AP, where it is known: for the authors' evolution alone.
        own: the searcher suggested it; not so what came from the store, or is another's variation.
        diverged: it has values that say no more than that.
    """

    strategy: Strategy
    values: tuple[float, ...] | None
    rung: int = 0
    seed: int = 0
    trial: int = 0
    rejected: bool = False
    fitness: float | None = None
    own: bool = True
    diverged: bool = False

    @property
    def score(self) -> float:
        """The first objective."""
        if self.values is None:
            raise ValueError(f"trial {self.trial} has no values yet")
        return self.values[0]


class Searcher(Protocol):
    """Anything that proposes strategies."""

    def suggest(self, count: int, *, full: bool = False) -> list[Suggestion]:
        """The next strategies, all different from each other and from earlier ones; fewer where nothing new is left.

        For short trainings, or for ``full`` ones, which can decide more; a searcher may see no difference.
        """
        ...

    def update(self, results: Sequence[Result]) -> None:
        """Learn from trials, finished or begun."""
        ...


def stable_seed(*parts: int | str) -> int:
    """A seed of 52 bits, which JSON keeps, from numbers and names: the same in every process and on every machine."""
    text = ":".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 12


class History:
    """What a searcher knows: the base of all of them, which only say how one strategy is drawn."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space = space
        self.seed = seed
        self.seen: set[str] = set()
        self.rejected: set[str] = set()
        self.foreign: set[str] = set()
        """Strategies that it did not suggest."""
        self.best: dict[str, Result] = {}
        """By strategy, its result on the highest rung that it has reached; of several seeds the last."""
        self._order: list[Result] | None = []

    def suggest(self, count: int, *, full: bool = False) -> list[Suggestion]:
        """See :class:`Searcher`."""
        found: list[Suggestion] = []
        while len(found) < count and (suggestion := self._next(full=full)) is not None:
            found.append(suggestion)
        return found

    def update(self, results: Sequence[Result]) -> None:
        """See :class:`Searcher`."""
        for result in results:
            key = fingerprint(result.strategy)
            if key not in self.seen and not result.own:
                self.foreign.add(key)
            self.seen.add(key)
            if result.rejected:
                self.rejected.add(key)
            known = self.best.get(key)
            if result.values is not None and (known is None or result.rung >= known.rung):
                self.best[key] = result
                self._order = None
            self.learn(key, result)

    def learn(self, key: str, result: Result) -> None:
        """One result, of the strategy with this fingerprint, after it was noted."""

    def ranked(self) -> list[Result]:
        """A result a strategy, best first: whoever was promoted is better than who was not, then by values.

        Who diverged comes last.
        """
        if self._order is None:
            found = [result for result in self.best.values() if not result.diverged]
            self._order = []
            for rung in sorted({result.rung for result in found}, reverse=True):
                level = [result for result in found if result.rung == rung]
                values = [result.values for result in level if result.values is not None]
                self._order += [level[index] for index in best_first(values)]
            self._order += [result for result in self.best.values() if result.diverged]
        return self._order

    def draw(self, number: int, rng: np.random.Generator) -> Suggestion:
        """The suggestion of this number (0 is the first); may be one that was made before."""
        raise NotImplementedError

    def draw_full(self, number: int, rng: np.random.Generator) -> Suggestion:
        """The same for a full training."""
        return self.draw(number, rng)

    def _next(self, *, full: bool) -> Suggestion | None:
        # What takes a rejected one's place is drawn in the same way.
        number = len(self.seen) - len(self.rejected) - len(self.foreign)
        rng = np.random.default_rng([self.seed, len(self.seen)])
        draw = self.draw_full if full else self.draw
        for attempt in range(ATTEMPTS):
            if attempt < ATTEMPTS // 2:
                # After some attempts as a later suggestion would be drawn: one way may be exhausted before another.
                suggestion = draw(number + attempt // PATIENCE, rng)
            else:
                suggestion = Suggestion(cast(Strategy, self.space.blind().sample(rng)), "one of the last untried")
            key = fingerprint(suggestion.strategy)
            if key not in self.seen:
                self.seen.add(key)
                return suggestion
        return None


class PriorSearcher(History):
    """Draws from the priors, and near the best results so far (the mixture of PriorBand, Mallik et al., 2023).

    The first suggestion is the priors' own favourite, the second asks no rule, nor does one in eight: without trials
    that depart from a rule nobody would learn that it is wrong. Half of the others are drawn by the priors, half are
    neighbours of the best, or of the favourite before any result. Rules are believed as trials bear
    them out (:mod:`~edgehone.search.experience`). Once there is a handful of results, many are drawn for one
    suggestion, and the one is taken that may be worth most (:mod:`~edgehone.search.expectation`).

    Short trainings have the rules' augmentation; those that ask no rule have the default one, and so do their
    neighbours, lest wrong rules spoil them, too. Full trainings search augmentation as everything else.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        super().__init__(without_augmentation(space), seed)
        self._plain = without_augmentation(space.blind())
        self._experience = Experience(space)
        self._expectation = Expectation(space)
        self._following: dict[str, Following] = {}
        self._taught: SearchSpace | None = None

    def learn(self, key: str, result: Result) -> None:
        """See :class:`History`."""
        self._taught = None
        if result.values is not None:
            values = None if result.diverged else result.values
            self._expectation.learn(Training(key, result.strategy, result.rung, values))

    def draw(self, number: int, rng: np.random.Generator) -> Suggestion:
        """See :class:`History`."""
        if number == 0:
            return Suggestion(cast(Strategy, self.space.preferred()), "what the rules prefer", trusted=True)
        if number == 1 or number % BLIND_EVERY == BLIND_EVERY // 2:
            return self._chosen(lambda: self._unruled(rng), CANDIDATES, rng)
        space = without_augmentation(self.taught)
        return self._chosen(lambda: self._candidate(number, space, rng), CANDIDATES, rng)

    def draw_full(self, number: int, rng: np.random.Generator) -> Suggestion:
        """See :class:`History`."""
        return self._chosen(lambda: self._candidate(number, self.taught, rng), CANDIDATES_FULL, rng)

    def _chosen(self, draw: Callable[[], Suggestion], count: int, rng: np.random.Generator) -> Suggestion:
        """Of so many candidates the one that may be worth most; the only one before there are results enough."""
        if not self._expectation.ready:
            return draw()
        drawn = [draw() for _ in range(count)]
        fresh = [each for each in drawn if fingerprint(each.strategy) not in self.seen] or drawn
        worth = self._expectation.draw([each.strategy for each in fresh], rng)
        chosen = fresh[int(np.argmax(worth))]
        return replace(chosen, origin=f"{chosen.origin}; of {len(fresh)} the one that may be worth most")

    def _unruled(self, rng: np.random.Generator) -> Suggestion:
        return Suggestion(cast(Strategy, self._plain.sample(rng)), "drawn without the rules, to try them")

    def _candidate(self, number: int, space: SearchSpace, rng: np.random.Generator) -> Suggestion:
        """By the priors where the number is even, else near the best."""
        if number % 2 == 0:
            return Suggestion(cast(Strategy, space.sample(rng)), "drawn by the rules' priors")
        ranked = self.ranked()
        if not ranked:
            favourite = cast(Strategy, space.preferred())
            return Suggestion(neighbour(space, favourite, rng), "a neighbour of what the rules prefer")
        best = ranked[: max(1, len(ranked) // 4)]
        chosen = best[int(len(best) * rng.random() ** 2)]  # the very best more often
        origin = f"a neighbour of the best so far (trial {chosen.trial}, {chosen.score:.3f})"
        return Suggestion(neighbour(self._around(space, chosen.strategy), chosen.strategy, rng), origin)

    def _around(self, space: SearchSpace, strategy: Strategy) -> SearchSpace:
        """The space with the default augmentation where the strategy has it: it may owe that what it is worth."""
        plain = cast(Strategy, self._plain.base).augmentation
        if strategy.augmentation != plain:
            return space
        return replace(space, base=cast(Strategy, space.base).model_copy(update={AUGMENTATION: plain}))

    @property
    def taught(self) -> SearchSpace:
        """The whole space, its rules as sure as the trials so far allow."""
        if self._taught is None:
            for key, result in self.best.items():
                if key not in self._following:
                    self._following[key] = self._experience.following(result.strategy)
            # By the first objective alone: an end of a front may be worth nothing but its speed.
            order = sorted(self.best.items(), key=lambda item: (item[1].diverged, -item[1].rung, -item[1].score))
            self._taught = self._experience.taught([self._following[key] for key, _ in order])
        return self._taught


class RandomSearcher(History):
    """Uniform over the whole space: the yardstick of every other searcher."""

    def draw(self, number: int, rng: np.random.Generator) -> Suggestion:
        """See :class:`History`."""
        del number
        return Suggestion(cast(Strategy, self.space.sample(rng)), "drawn at random")


def neighbour(space: SearchSpace, strategy: Strategy, rng: np.random.Generator) -> Strategy:
    """A strategy that differs in some dimensions; what the space does not search is as the space has it.

    One to :data:`MUTATIONS` differ, each order of magnitude as likely (heavy-tailed rates: Doerr et al., 2017): a wide
    step finds another place, a narrow one the best of this one.
    """
    strategy = cast(Strategy, space.within(strategy))
    active = max(len(space.active(strategy)), 1)
    changed = max(1.0, min(MUTATIONS, MOST_CHANGED * active)) ** rng.random()
    return cast(Strategy, space.mutate(strategy, rng, changed / active))
