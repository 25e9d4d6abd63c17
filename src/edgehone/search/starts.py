"""Where a new search starts: the best strategies of the searches most like it; for a front, at smaller inputs, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

from edgehone.errors import UsageError
from edgehone.search.likeness import Identity, Likeness
from edgehone.search.searcher import Result, Searcher, Suggestion
from edgehone.search.store import StoredStrategy, StoreEntry
from edgehone.space import SearchSpace, Settings, fingerprint, load
from edgehone.space import replace as change
from edgehone.strategy import Strategy

STARTS = 3
LEAST_SIMILARITY = 0.1
"""Searches less like this one have nothing to say."""

FAITH = {"better": 1.0, "unproven": 0.6, "tie": 0.5, "worse": 0.2}
"""Evidence of a search by what its proof said of the found strategy."""

HALF_TRIALS = 8
"""A search of so many trials counts half of one that tried everything."""

ATTEMPTS = 50
"""To be told something else than a start."""


class Start(Settings):
    """A strategy to begin with.

    Attributes:
        strategy: from the store, or what the rules prefer at another input size.
        weight: similarity times evidence, 0..1; summed where several searches found the same.
        because: which data, how like, what it was worth there.
        learnt_on: names of the data sets that had a part in it.
        origin: where it comes from, for people.
    """

    strategy: Strategy
    weight: float
    because: str
    learnt_on: tuple[str, ...] = ()
    origin: str = "from the store"


class Starts(Settings):
    """Frozen with the run, since a store grows: a search that goes on starts from the same."""

    starts: tuple[Start, ...]


@dataclass(frozen=True)
class Asking:
    """A search that asks the store.

    Attributes:
        likeness: of its data and model.
        model: name of the architecture.
        exclude: entries of this data set do not count; None takes them too.
        leave_out: nor do entries of data sets of these names, nor those in which such a set had a part.
    """

    likeness: Likeness
    model: str
    exclude: Identity | None
    leave_out: tuple[str, ...] = ()


def starts(entries: Sequence[StoreEntry], asking: Asking, count: int = STARTS) -> list[Start]:
    """The best strategies of the nearest searches, weighted by similarity and evidence, the weightiest first.

    Strategies that these settings no longer know are passed over; presets are not starts, the proof trains them anyway.
    """
    found: dict[str, Start] = {}
    for entry in entries:
        if asking.exclude is not None and asking.exclude.same_data(entry.data):
            continue
        if not set(asking.leave_out).isdisjoint(taught_by(entry)):
            continue
        similarity = asking.likeness.similarity(entry.likeness, same_model=asking.model == entry.model)
        if similarity < LEAST_SIMILARITY:
            continue
        for place, stored in enumerate(s for s in entry.strategies if s.found):
            start = _start(entry, stored, similarity, evidence(entry) / (1 + place))
            if start is None:
                continue
            key = fingerprint(start.strategy)
            earlier = found.get(key)
            found[key] = start if earlier is None else _together(earlier, start)
    return sorted(found.values(), key=lambda start: -start.weight)[:count]


def evidence(entry: StoreEntry) -> float:
    """How far a search is to be believed, 0..1: by its proof, and by how much it tried."""
    if entry.gain is None or entry.gain_interval95 is None:
        verdict = "unproven"
    else:
        low, high = entry.gain_interval95
        verdict = "better" if low > 0 else "worse" if high < 0 else "tie"
    return FAITH[verdict] * entry.trials / (entry.trials + HALF_TRIALS)


def taught_by(entry: StoreEntry) -> tuple[str, ...]:
    """Names of the data sets that had a part in what a search found, its own first."""
    return tuple(dict.fromkeys((entry.data.name, *entry.provenance.learnt_on)))


def _start(entry: StoreEntry, stored: StoredStrategy, similarity: float, weight: float) -> Start | None:
    try:
        strategy = load(Strategy, stored.strategy)
    except UsageError:
        return None
    because = f"{entry.data.name}, similarity {similarity:.2f}, AP {stored.validation_ap:.3f} on validation there"
    weight = round(min(similarity * weight, 1.0), 4)
    return Start(strategy=strategy, weight=weight, because=because, learnt_on=taught_by(entry))


def _together(first: Start, second: Start) -> Start:
    heavier = first if first.weight >= second.weight else second
    names = tuple(dict.fromkeys((*first.learnt_on, *second.learnt_on)))
    weight = round(min(first.weight + second.weight, 1.0), 4)
    return heavier.model_copy(update={"weight": weight, "learnt_on": names})


def faster_starts(space: SearchSpace, preferred_at: Callable[[int], Strategy]) -> list[Start]:
    """What the rules prefer at the smallest input, and half-way to the one that they prefer.

    A search for a front needs them: few trials may all have one size, and so has the whole front then.

    Args:
        space: that is searched.
        preferred_at: what the rules prefer where no input is larger: what suits a large one may harm a small one.
    """
    favourite = cast(Strategy, space.preferred())
    dimension = next((d for d in space.active(favourite) if d.path == "input.size"), None)
    smaller = sorted(s for s in space.allowed(dimension) if s < favourite.input.size) if dimension is not None else []
    sizes = dict.fromkeys((smaller[0], smaller[len(smaller) // 2])) if smaller else ()
    origin = "what the rules prefer, faster"
    return [
        Start(strategy=change(preferred_at(s), {"input.size": s}), weight=1.0, because=f"at {s} px", origin=origin)
        for s in sizes
    ]


class StartingSearcher:
    """Any searcher, and the starts beside it: every second suggestion, and what becomes of them teaches it as well."""

    def __init__(self, searcher: Searcher, space: SearchSpace, starts: Sequence[Start]) -> None:
        self.searcher = searcher
        kept = [(cast(Strategy, space.within(start.strategy)), f"{start.origin}: {start.because}") for start in starts]
        self.starts: dict[str, Suggestion] = {}
        for strategy, origin in kept:
            self.starts.setdefault(fingerprint(strategy), Suggestion(strategy, origin, trusted=True))
        self.seen: set[str] = set()

    def suggest(self, count: int, *, full: bool = False) -> list[Suggestion]:
        """A start, then the searcher's own, in turn; nothing that was tried before; fewer where nothing new is left."""
        found: list[Suggestion] = []
        while len(found) < count and (suggestion := self._next(full=full)) is not None:
            self.seen.add(fingerprint(suggestion.strategy))
            found.append(suggestion)
        return found

    def _next(self, *, full: bool) -> Suggestion | None:
        left = [suggestion for key, suggestion in self.starts.items() if key not in self.seen]
        if left and len(self.seen) % 2 == 0:
            return left[0]
        for _ in range(ATTEMPTS):
            fresh = self.searcher.suggest(1, full=full)
            if not fresh or fingerprint(fresh[0].strategy) not in self.seen:
                return fresh[0] if fresh else None
        return None

    def update(self, results: Sequence[Result]) -> None:
        """Learn from all; the starts are not the searcher's own suggestions."""
        keys = [fingerprint(result.strategy) for result in results]
        self.seen |= set(keys)
        self.searcher.update(
            [replace(r, own=False) if key in self.starts else r for key, r in zip(keys, results, strict=True)]
        )
