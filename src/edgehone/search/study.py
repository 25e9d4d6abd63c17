"""A study: which strategies were tried at which length, what they were worth, and what is to be tried next.

What comes next is a function of the terms and of what was asked and told before, in that order: a study that is
opened again goes on exactly where it was. Promotion is that of asynchronous successive halving (ASHA, Li et al.,
2020), with three differences. Nothing is promoted before a rung has a handful of results, so that a small study
has plain rungs; how many are promoted follows the rank correlation between the rungs, believed and measured; and
with several objectives the order is by Pareto front.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as replaced
from typing import cast

import numpy as np

from edgehone.errors import UsageError
from edgehone.search.agreement import RungAgreement, agree
from edgehone.search.journal import AnyJournal, uncollected
from edgehone.search.lengths import AUGMENTATION
from edgehone.search.level import Kind, Level
from edgehone.search.pareto import best_first
from edgehone.search.plan import REPEATED, Rung, full_trainings, search_shares
from edgehone.search.rung_zero import Gate, Rejection, Screen
from edgehone.search.searcher import Result, Searcher, Suggestion, stable_seed
from edgehone.space import SearchSpace, Settings, diff, load
from edgehone.strategy import Strategy
from edgehone.types import Json

SETTLED = 16
"""Results that a rung must have, or all that are planned, before any of them is promoted."""

VARIED_RATE = 0.4
"""Share of the augmentation's dimensions that are drawn anew where a good strategy is varied."""

LATE_SHORTER, LATE = 64, 256
"""Of shorter trials one in so many, of all one in so many is not waited for by full trainings of new strategies, and by
finalists' second seeds: hundreds of workers would idle for a few."""

SLACK = 1e-6


class Trial(Settings):
    """One training that was decided on.

    Attributes:
        number: in the study, from 0.
        rung: 0 is the lowest.
        kind: how it came about.
        parent: the trial that was promoted, varied or repeated.
        seed: of the training.
        strategy: that is trained.
        origin: how it came about, for people.
    """

    number: int
    rung: int
    kind: Kind
    parent: int | None
    seed: int
    strategy: Strategy
    origin: str


class Worth(Settings):
    """One value an objective, larger is better; nothing if a trial diverged or failed; ``fitness`` for evolution.

    A trial that ``failed`` with its workers says nothing about its strategy; one that diverged by itself does.
    """

    number: int
    values: tuple[float, ...]
    diverged: bool = False
    failed: bool = False
    fitness: float | None = None


class Terms(Settings):
    """What a study was begun with.

    Attributes:
        seed: of everything random.
        searcher: its name.
        objectives: as they were given.
        rungs: from the shortest to full trainings.
        repeats: trainings of each of the best :data:`~edgehone.search.plan.REPEATED` finalists, with different seeds.
    """

    seed: int
    searcher: str
    objectives: tuple[str, ...] = ("ap",)
    rungs: tuple[Rung, ...]
    repeats: int = 1


class Study:
    """Trials asked for and told about; see the module."""

    def __init__(
        self,
        terms: Terms,
        space: SearchSpace,
        searcher: Searcher,
        journal: AnyJournal | None = None,
        screen: Screen | None = None,
    ) -> None:
        """Begin, or go on where the journal ends.

        Args:
            terms: of the study.
            space: of whole strategies; the searcher may know a part of it.
            searcher: new, not yet told anything.
            journal: where everything is kept; None for a study in memory.
            screen: rung 0, what is not worth a training; None lets everything pass.

        Raises:
            UsageError: the journal is of a study with other terms.
        """
        self.terms = terms
        self.augmentations = space.keep_only((AUGMENTATION,))
        self.searcher = searcher
        self.journal = journal
        self.gate = Gate(screen)
        self.trials: list[Trial] = []
        self.worth: dict[int, Worth] = {}
        self._rungs = [Level() for _ in terms.rungs]
        self._open: set[int] = set()
        self._spent = 0.0
        self._exhausted: set[int] = set()
        """Rungs for which the searcher has nothing new left."""
        self._best: dict[int, list[Trial]] = {}
        self._agreement: dict[int, RungAgreement] = {}
        with uncollected():
            self._replay([] if journal is None else journal.events)

    def ask(self) -> Trial | None:
        """The next training; None while others have to finish first, or when all is done."""
        found = self._begin(1, 1)
        return found[0] if found else None

    def ask_batch(self, new: int) -> list[Trial]:
        """Trainings that are decided without each other's results: all that are due, and up to ``new`` new ones."""
        return self._begin(new, None)

    def tell(self, worth: Sequence[Worth]) -> None:
        """Results, in order; they are kept together or not at all.

        Raises:
            ValueError: a trial that was not asked for, or is told a second time.
        """
        strange = [each.number for each in worth if each.number not in self._open]
        if strange:
            raise ValueError(f"results are for trials that are open, {sorted(self._open)}; got {strange}")
        if self.journal is not None:
            self.journal.add({"told": [each.model_dump(mode="json") for each in worth]})
        self._note_told(worth)
        self.searcher.update([self._result(self.trials[each.number]) for each in worth])

    @property
    def pending(self) -> list[Trial]:
        """Asked for and not told about."""
        return [self.trials[number] for number in sorted(self._open)]

    def best(self, rung: int) -> list[Trial]:
        """The trials of a rung that have results and did not diverge, best first."""
        if rung not in self._best:
            found = [self.trials[n] for n in self._rungs[rung].told if not self.worth[n].diverged]
            order = best_first([self.worth[trial.number].values for trial in found])
            self._best[rung] = [found[k] for k in order]
        return self._best[rung]

    def agreement(self, lower: int) -> RungAgreement:
        """How far a rung and the next agree about the first objective."""
        if lower in self._agreement:
            return self._agreement[lower]
        pairs = [
            (self.worth[trial.parent].values[0], self.worth[number].values[0])
            for number in self._rungs[lower + 1].told
            if (trial := self.trials[number]).kind == "promoted" and trial.parent is not None
        ]
        found = agree(self.terms.rungs[lower].name, self.terms.rungs[lower + 1].name, pairs)
        return self._agreement.setdefault(lower, found)

    # What comes next.

    def _begin(self, new: int, most: int | None) -> list[Trial]:
        found: list[Trial] = []
        while (most is None or len(found) < most) and (trial := self._next(new)) is not None:
            new -= trial.kind == "suggested"
            self._note_asked(trial)
            self.searcher.update([self._result(trial)])
            found.append(trial)
        rejected = self.gate.unwritten()
        if (found or rejected) and self.journal is not None:
            event = {"asked": [trial.model_dump(mode="json") for trial in found]}
            self.journal.add(event | ({"rejected": [r.model_dump(mode="json") for r in rejected]} if rejected else {}))
        return found

    def _next(self, new: int) -> Trial | None:
        """What is due, from the longest trainings down; then a new strategy; at the end finalists once more."""
        for rung in range(len(self._rungs) - 1, -1, -1):
            trial = self._varied(rung) or self._promoted(rung, self._quota(rung))
            if trial is not None:
                return trial
        trial = (self._suggested() or self._fresh()) if new > 0 else None
        searching = sum(self.trials[n].kind != "repeated" for n in self._open)
        if trial is not None or searching > len(self.worth) // LATE:
            return trial
        # Nothing runs and nothing is new: where trials diverged or the space is small, rungs stay below their plan.
        for rung in range(0 if searching else len(self._rungs) - 1):
            trial = self._promoted(rung, self._target(rung + 1))
            if trial is not None:
                return trial
        return self._repeated()

    def _suggested(self) -> Trial | None:
        """A new strategy, while the compute of the plan buys it and what must follow."""
        return self._new(0) if self._affordable(0) else None

    def _fresh(self) -> Trial | None:
        """A new strategy for a full training, once shorter ones have told what they can."""
        top = len(self._rungs) - 1
        level, planned = self._rungs[top], self.terms.rungs[top]
        if len(level.suggested) >= planned.fresh or not self._settled(top) or not self._affordable(top):
            return None
        return self._new(top)

    def _settled(self, top: int) -> bool:
        """Whether all trials below a rung have told what they can, but for a few."""
        told = sum(len(level.told) for level in self._rungs[:top])
        return sum(len(level.asked) for level in self._rungs[:top]) - told <= told // LATE_SHORTER

    def _new(self, rung: int) -> Trial | None:
        """A strategy that the searcher suggests for a rung: the lowest, or that of full trainings."""
        if rung in self._exhausted:
            return None
        suggestion = self.gate.suggest(self.searcher, full=rung > 0)
        if suggestion is None:
            self._exhausted.add(rung)
            return None
        return self._trial(rung, "suggested", None, suggestion)

    def _promoted(self, rung: int, quota: int) -> Trial | None:
        """The best of a rung that has not been trained longer, if more may be."""
        level = self._rungs[rung]
        if rung + 1 == len(self._rungs) or len(level.promoted) >= quota or not self._affordable(rung + 1):
            return None
        for trial in self.best(rung):
            if trial.number not in level.promoted:
                origin = f"promoted from {self.name(trial)} ({self.worth[trial.number].values[0]:.3f}), trained anew"
                return self._trial(rung + 1, "promoted", trial.number, Suggestion(trial.strategy, origin))
        return None

    def _varied(self, rung: int) -> Trial | None:
        """One of the best of a rung with another augmentation, which shorter trainings could not decide."""
        level, planned = self._rungs[rung], self.terms.rungs[rung]
        if len(level.varied) >= planned.varied or len(level.told) < min(planned.trials, SETTLED):
            return None
        best = [trial for trial in self.best(rung) if trial.kind != "varied"][: planned.varied]
        if not best or not self.augmentations.active(best[0].strategy):
            return None
        parent = best[len(level.varied) % len(best)]
        rng = np.random.default_rng([self.terms.seed, len(self.trials)])
        if len(level.varied) % 2:  # short ones that ask the rules all had theirs: they may be wrong about it
            strategy = cast(Strategy, self.augmentations.unadvised().redraw(parent.strategy, rng))
            origin = f"an augmentation that asks no rule, for {self.name(parent)}"
        else:
            strategy = cast(Strategy, self.augmentations.mutate(parent.strategy, rng, VARIED_RATE))
            origin = f"another augmentation for {self.name(parent)}"
        return self._trial(rung, "varied", parent.number, Suggestion(strategy, origin))

    def _repeated(self) -> Trial | None:
        """A finalist with another seed."""
        top = len(self._rungs) - 1
        repeats = self._rungs[top].repeated
        finalists = [trial for trial in self.best(top) if trial.kind != "repeated"]
        for trial in finalists[:REPEATED]:
            seeds = 1 + sum(self.trials[n].parent == trial.number for n in repeats)
            if seeds < self.terms.repeats and self._affordable(top, repeat=True):
                origin = f"{self.name(trial)} with seed {seeds + 1} of {self.terms.repeats}"
                return self._trial(top, "repeated", trial.number, Suggestion(trial.strategy, origin))
        return None

    def _quota(self, rung: int) -> int:
        """How many of a rung may be promoted by now."""
        if rung + 1 == len(self._rungs):
            return 0
        done = len(self._rungs[rung].told)
        planned = (self._target(rung) if rung else self.terms.rungs[0].trials) + self.terms.rungs[rung].varied
        if not self._affordable(rung):  # little trust may want more than can be bought
            planned = min(planned, max(len(self._rungs[rung].asked), 1))
        if done < min(planned, SETTLED):
            return 0
        return int(self._target(rung + 1) * min(1.0, done / planned) + SLACK)

    def _target(self, rung: int) -> int:
        """Strategies for a rung: as planned, fewer or more as the rung below has earned trust.

        From the lowest rung at least as many as planned, whatever it is worth.
        """
        factor = self.agreement(rung - 1).promotion
        return max(1, round(self.terms.rungs[rung].trials * (max(factor, 1.0) if rung == 1 else factor)))

    def _affordable(self, rung: int, *, repeat: bool = False) -> bool:
        """Whether the plan's compute buys a training on this rung and everything that is still due after it."""
        due = sum(self._due(above) for above in range(rung + 1, len(self._rungs)))
        if not repeat:
            top = self.terms.rungs[-1]
            once = top.trials + top.fresh
            again = full_trainings(once, self.terms.repeats) - once
            due += max(again - len(self._rungs[-1].repeated), 0) * top.share
        return self._spent + self.terms.rungs[rung].share + due <= self._compute() + SLACK

    def _due(self, rung: int) -> float:
        level, planned = self._rungs[rung], self.terms.rungs[rung]
        left = max(self._target(rung) - level.arrived, 0) + max(planned.varied - len(level.varied), 0)
        return (left + max(planned.fresh - len(level.suggested), 0)) * planned.share

    def _compute(self) -> float:
        """Of the plan, in full trainings."""
        *rungs, top = self.terms.rungs
        return search_shares(rungs, top.trials, self.terms.repeats, top.fresh) + top.share * top.varied

    # What is known.

    def name(self, trial: Trial) -> str:
        """Unique in the study: ``short-03``."""
        return f"{self.terms.rungs[trial.rung].name}-{trial.number:02d}"

    def _trial(self, rung: int, kind: Kind, parent: int | None, suggestion: Suggestion) -> Trial:
        number = len(self.trials)
        return Trial(
            number=number,
            rung=rung,
            kind=kind,
            parent=parent,
            seed=stable_seed(self.terms.seed, number),
            strategy=suggestion.strategy,
            origin=suggestion.origin,
        )

    def _result(self, trial: Trial) -> Result:
        own = trial.kind == "suggested"
        asked = Result(trial.strategy, None, trial.rung, trial.seed, trial.number, own=own)
        known = self.worth.get(trial.number)
        if known is None:
            return asked
        return replaced(asked, values=known.values, fitness=known.fitness, diverged=known.diverged)

    def _note_asked(self, trial: Trial) -> None:
        self.trials.append(trial)
        self._open.add(trial.number)
        self._spent += self.terms.rungs[trial.rung].share
        self._rungs[trial.rung].begin(trial.number, trial.kind)
        if trial.kind == "promoted" and trial.parent is not None:
            self._rungs[trial.rung - 1].promoted.add(trial.parent)

    def _note_told(self, worth: Sequence[Worth]) -> None:
        self._best.clear()
        self._agreement.clear()
        for each in worth:
            self._open.discard(each.number)
            self.worth[each.number] = each
            self._rungs[self.trials[each.number].rung].told.append(each.number)

    def _replay(self, events: Sequence[Json]) -> None:
        """Everything that happened, in order."""
        head: dict[str, Json] = {"terms": self.terms.model_dump(mode="json")}
        if not events:
            if self.journal is not None:
                self.journal.add(head)
            return
        earlier = load(Terms, events[0]["terms"])
        changes = diff(earlier, self.terms)
        if changes:
            lines = [f"  {key}: there {old}, now {new}" for key, (old, new) in changes.items()]
            raise UsageError("a study goes on under the terms that it was begun with:\n" + "\n".join(lines))
        told: list[Result] = []
        for event in events[1:]:
            told += self.gate.replay([load(Rejection, content) for content in event.get("rejected", ())])
            for content in event.get("asked", ()):
                self._note_asked(load(Trial, content))
            worth = [load(Worth, content) for content in event.get("told", ())]
            self._note_told(worth)
            told += [self._result(self.trials[each.number]) for each in worth]
        self.searcher.update([*told, *(self._result(trial) for trial in self.pending)])
