"""Rung 0: what can be told of a drawn strategy before it is trained.

The ceiling filters and finds bugs, it does not rank (ADR 0041): a strategy is rejected if its projection loses clearly
more of the training labels than another one does at the same input. Whether a larger input is worth its cost is no
question of the ceiling: the rules and the search decide that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from edgehone.analysis import projection_candidates
from edgehone.analysis.survival import Survival, few_pictures, projected, survival
from edgehone.data import Dataset
from edgehone.models import architecture
from edgehone.results import RungZero
from edgehone.search.searcher import Result, Searcher, Suggestion
from edgehone.space import Settings, fingerprint
from edgehone.strategy import Strategy

LOST_CEILING, LOST_OF_CLASS = 0.05, 0.05
"""A sound projection loses less of the AP, and of the objects of any class, where it can: stricter floors reject
strategies that train well (ADR 0041)."""

TIMES_THE_BEST = 2.0
"""Where none can, as with tiny objects: so many times what the best measured one loses."""

FEW = 2
"""So many objects of a class are lost by chance."""

REFERENCES = ("authors", "task_aligned")
"""Candidates of the profile that lose the least at every size of input: many slots an object, and the nearest cell."""

REDRAWS = 20
"""Rejections in a row after which a strategy is taken as it is."""

CEILING = "ceiling"


class Rejection(Settings):
    """A strategy that is not trained.

    Attributes:
        strategy: that was drawn.
        reason: ``ceiling``, or the class whose objects are lost: what rejections are counted by.
        because: for people, with the figures.
    """

    strategy: Strategy
    reason: str
    because: str


Screen = Callable[[Strategy], Rejection | None]
"""Why a strategy is not worth a training; None where it may be."""


class CeilingScreen:
    """The ceiling of each projection that is drawn, held against the best of a few at its input; measured once."""

    def __init__(self, preferred: Strategy, model: str, dataset: Dataset) -> None:
        """Measure nothing yet.

        Args:
            preferred: what the space prefers; no strategy whose projection loses as little is rejected.
            model: name of the architecture.
            dataset: whose training labels are projected.
        """
        self.preferred = preferred
        self.class_names = dataset.class_names
        self.strides = architecture(model).graph(len(dataset.class_names)).strides
        self.pictures = few_pictures(dataset.train)
        self._measured: dict[str, Survival] = {}

    def __call__(self, strategy: Strategy) -> Rejection | None:
        """See :data:`Screen`."""
        at = {"input": strategy.input}
        own = self.measure(strategy)
        named = {candidate.label: candidate.strategy for candidate in projection_candidates(strategy.input.size)}
        best = max((self.measure(named[name].model_copy(update=at)) for name in REFERENCES), key=lambda s: s.ceiling)
        usual = self.measure(self.preferred.model_copy(update=at))
        return judged(strategy, own, best, usual)

    def measure(self, strategy: Strategy) -> Survival:
        """What is left of the labels."""
        plain = projected(strategy)
        key = fingerprint(plain)
        if key not in self._measured:
            self._measured[key] = survival(plain, self.strides, self.class_names, self.pictures)
        return self._measured[key]


def judged(strategy: Strategy, own: Survival, best: Survival, usual: Survival) -> Rejection | None:
    """A strategy by what it, the best reference and the preferred projection leave of the labels at the same input."""
    where = f"at {strategy.input.size} px"
    floor = min(1 - max(LOST_CEILING, TIMES_THE_BEST * (1 - best.ceiling)), usual.ceiling)
    if own.ceiling < floor:
        because = (
            f"a perfect network would reach AP {own.ceiling:.2f} with this projection {where}, with another one "
            f"{best.ceiling:.2f}; the floor is {floor:.2f}"
        )
        return Rejection(strategy=strategy, reason=CEILING, because=because)
    for name, objects in own.objects.items():
        share = max(LOST_OF_CLASS, TIMES_THE_BEST * best.lost[name] / objects)
        if own.lost[name] > max(share * objects, usual.lost[name], best.lost[name] + FEW):
            because = (
                f"this projection loses {own.lost[name]} of {objects} objects of class {name} {where}, "
                f"another one {best.lost[name]}"
            )
            return Rejection(strategy=strategy, reason=name, because=because)
    return None


class Gate:
    """Asks a searcher until it suggests what may be trained, and keeps count."""

    def __init__(self, screen: Screen | None) -> None:
        self.screen = screen
        self.rejected: list[Rejection] = []
        self._written = 0

    def suggest(self, searcher: Searcher, *, full: bool = False) -> Suggestion | None:
        """The searcher's next suggestion (for a full training) that the screen lets pass; None where none is left."""
        for attempt in range(REDRAWS + 1):
            found = searcher.suggest(1, full=full)
            if not found or found[0].trusted or self.screen is None or attempt == REDRAWS:
                return found[0] if found else None
            rejection = self.screen(found[0].strategy)
            if rejection is None:
                return found[0]
            self.rejected.append(rejection)
            searcher.update([turned_away(rejection)])
        return None

    def unwritten(self) -> list[Rejection]:
        """Rejections since this was last asked."""
        fresh = self.rejected[self._written :]
        self._written = len(self.rejected)
        return fresh

    def replay(self, rejections: Sequence[Rejection]) -> list[Result]:
        """Rejections that a journal holds, for the searcher."""
        self.rejected += rejections
        self._written = len(self.rejected)
        return [turned_away(rejection) for rejection in rejections]

    def summary(self, suggested: int) -> RungZero:
        """What became of everything that was drawn."""
        reasons = Counter(rejection.reason for rejection in self.rejected)
        return RungZero(
            drawn=suggested + len(self.rejected),
            rejected=len(self.rejected),
            reasons=dict(reasons.most_common()),
            examples=tuple(dict.fromkeys(rejection.because for rejection in self.rejected))[:3],
        )


def turned_away(rejection: Rejection) -> Result:
    """What a searcher is told: not to suggest it again."""
    return Result(rejection.strategy, None, rejected=True)
