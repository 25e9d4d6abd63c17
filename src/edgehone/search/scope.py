"""What a search is of: the space that is left of all strategies, and the study that goes through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgehone.errors import UsageError
from edgehone.search.journal import AnyJournal
from edgehone.search.ladder import TaskMaker
from edgehone.search.lengths import without_augmentation
from edgehone.search.rung_zero import Screen
from edgehone.search.searcher import Searcher
from edgehone.search.searchers import ADVISED, AS_AUTHORS, make_searcher
from edgehone.search.starts import Start, StartingSearcher
from edgehone.search.study import Study, Terms
from edgehone.space import Forbid, Prior, SearchSpace, Settings, dimensions, parse_assignments
from edgehone.strategy import Strategy

WARM_START = frozenset({"optimisation.warm_start.frozen", "optimisation.warm_start.rate"})
"""Searched only where trainings start from weights."""

TRUST = 0.7
"""Probability that a draw keeps the published value of what no rule speaks about: most of the space is off or odd."""

STUDY = "study.jsonl"


class Scope(Settings):
    """How the user narrows a search.

    Attributes:
        searcher: its name.
        blind: no advice from rules.
        fix: ``path=value``, not searched.
        only: dotted paths; nothing else is searched.
        leave_out: names of data sets; what rules and the store learnt on them does not count.
        deterministic: in batches, so that an interrupted search equals an undisturbed one.
    """

    searcher: str = "informed"
    blind: bool = False
    fix: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    deterministic: bool = False

    @property
    def advised(self) -> bool:
        """Whether rules and earlier searches have a say: all other searchers are yardsticks."""
        return self.searcher == ADVISED and not self.blind


@dataclass(frozen=True)
class Given:
    """What trainings are given beside their data.

    Attributes:
        weights: they start from some.
        teacher: they may learn from one.
        features: its inside can be read and compared with the network's.
    """

    weights: bool
    teacher: bool
    features: bool = False

    def limits(self) -> tuple[Forbid, ...]:
        """What cannot be searched where no teacher is given, or only one that answers."""
        none = "no teacher was given"
        closed = "the teacher's features cannot be read, or not be compared with the network's"
        reasons = {
            "distillation": "" if self.teacher else none,
            "features": "" if self.features else closed if self.teacher else none,
        }
        return tuple(
            Forbid(path=f"projection.{name}.kind", values=("teacher",), because=because)
            for name, because in reasons.items()
            if because
        )


def declared_space(scope: Scope, priors: Sequence[Prior], given: Given) -> SearchSpace:
    """Everything that strategies declare, with advice, without what was fixed.

    Raises:
        UsageError: a fix or a path that is not searched, or a value that a limit forbids.
    """
    if scope.searcher == AS_AUTHORS:
        refuse_narrowed((*_names(scope.fix), *scope.only))
    fixed = frozenset[str]() if given.weights else WARM_START
    space = SearchSpace(Strategy(), (*priors, *given.limits()), fixed, TRUST)
    if not scope.advised:
        space = space.blind()
    if scope.fix:
        space = space.fix(parse_assignments(Strategy(), scope.fix), _paths(scope.fix))
    return space.keep_only(scope.only) if scope.only else space


def refuse_narrowed(paths: Sequence[str]) -> None:
    """The authors' evolution takes its input from the space, and nothing else.

    Raises:
        UsageError: something else was fixed, or is to be searched alone.
    """
    others = [path for path in paths if path.partition(".")[0] != "input"]
    if others:
        raise UsageError(
            f"--searcher {AS_AUTHORS} moves the numbers of the authors' recipe as they did, so that --fix and --only "
            f"can name the input alone; got {', '.join(others)}"
        )


def _names(assignments: Sequence[str]) -> list[str]:
    return [text.partition("=")[0] for text in assignments]


def _paths(assignments: Sequence[str]) -> list[str]:
    """What is fixed; only what is searched can be."""
    known = {dimension.path for dimension in dimensions(Strategy)}
    paths = _names(assignments)
    strange = [path for path in paths if path not in known]
    if strange:
        raise UsageError(f"only what is searched can be fixed, and {', '.join(strange)} is not")
    return paths


def open_study(
    scope: Scope,
    space: SearchSpace,
    make: TaskMaker,
    journal: AnyJournal | None,
    begun: Sequence[Start] = (),
    screen: Screen | None = None,
) -> Study:
    """The study of a plan, begun or gone on with; one without advice knows nothing of earlier searches.

    The authors' evolution is left as they ran it: nothing screens it.
    """
    plan = make.plan
    searcher: Searcher = make_searcher(scope.searcher, space, make.seed, plan.rungs[0].trials)
    if begun and scope.advised:
        searcher = StartingSearcher(searcher, without_augmentation(space), begun)
    terms = Terms(
        seed=make.seed,
        searcher=scope.searcher,
        objectives=make.objectives.names,
        rungs=plan.levels(),
        repeats=plan.repeats,
    )
    return Study(terms, space, searcher, journal, None if scope.searcher == AS_AUTHORS else screen)
