"""The search space that settings models declare, with what rules prefer and forbid in it."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union

import numpy as np
from pydantic import Field

from edgehone.errors import UsageError
from edgehone.space.settings import Choice, Dimension, Settings, Span, dimensions, flatten, replace
from edgehone.types import Json


class Prefer(Settings):
    """A rule's advice on one dimension: draw ``value`` (or near it) with probability ``confidence``.

    Attributes:
        path: of the dimension.
        value: what is preferred.
        confidence: probability of drawing it.
        because: for people.
        evidence: the facts behind it.
        learnt_on: names of the data sets whose trainings say so, each by itself; empty for what is published or
            calculated.
        when: ``(path, kind)`` pairs that must hold for the advice to count, as for a dimension to exist: one path may
            mean different settings.
    """

    kind: Literal["prefer"] = "prefer"
    path: str
    value: float | int | bool | str
    confidence: float = Field(gt=0, lt=1)
    because: str
    evidence: dict[str, Json] = Field(default_factory=dict)
    learnt_on: tuple[str, ...] = ()
    when: tuple[tuple[str, str], ...] = ()

    @property
    def subject(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """What it is about: of several preferences for that the last counts."""
        return self.path, self.when

    def about(self, dimension: Dimension) -> bool:
        """Whether it speaks of a dimension."""
        return dimension.path == self.path and set(self.when) <= set(dimension.when)

    def applies(self, flat: Mapping[str, Any]) -> bool:
        """Whether it speaks about these settings, by dotted path."""
        return self.path in flat and all(flat.get(path) == kind for path, kind in self.when)

    def leave_out(self, names: Collection[str]) -> Prefer | None:
        """What is left of it without some of the data sets that it was learnt on; None where nothing is.

        Each of them stands for an equal share of its log odds.
        """
        left = tuple(name for name in self.learnt_on if name not in names)
        if len(left) == len(self.learnt_on):
            return self
        if not left:
            return None
        odds = (self.confidence / (1 - self.confidence)) ** (len(left) / len(self.learnt_on))
        gone = ", ".join(name for name in self.learnt_on if name in names)
        because = f"{self.because} (believed less, without what {gone} taught)"
        return self.model_copy(
            update={"learnt_on": left, "confidence": round(odds / (1 + odds), 3), "because": because}
        )


class Forbid(Settings):
    """Values that a limit of the board or of the request rules out."""

    kind: Literal["forbid"] = "forbid"
    path: str
    values: tuple[float | int | bool | str, ...]
    because: str
    evidence: dict[str, Json] = Field(default_factory=dict)


Prior = Union[Prefer, Forbid]  # noqa: UP007 - isinstance and pydantic both take it


def in_force(priors: Sequence[Prior]) -> tuple[Prior, ...]:
    """Those that count, in their order: all limits, and of several preferences for one dimension the last."""
    last = {prior.subject: prior for prior in priors if isinstance(prior, Prefer)}
    return tuple(prior for prior in priors if isinstance(prior, Forbid) or prior is last[prior.subject])


Conditions = tuple[tuple[str, str], ...]
"""Under which a dimension exists: path and kind of each."""

NEAR = 0.12
"""Standard deviation, in units of a span, of a draw near a preferred or current value."""


@dataclass(frozen=True)
class SearchSpace:
    """The declared dimensions of ``base``'s type, with priors.

    Attributes:
        base: values of everything that is not searched.
        priors: preferences and prohibitions; a later preference for a path replaces an earlier one.
        fixed: dimensions (by path) that keep their value in ``base``.
        trust: probability that a draw leaves a dimension without a preference at its default.
    """

    base: Settings
    priors: tuple[Prior, ...] = ()
    fixed: frozenset[str] = frozenset()
    trust: float = 0.0

    def prefer(self, priors: Sequence[Prior]) -> SearchSpace:
        """This space with more priors."""
        return dataclasses.replace(self, priors=(*self.priors, *priors))

    def blind(self) -> SearchSpace:
        """This space without advice: what is forbidden stays forbidden."""
        return dataclasses.replace(self.unadvised(), trust=0.0)

    def unadvised(self) -> SearchSpace:
        """This space without its preferences; defaults are trusted as they were."""
        return dataclasses.replace(self, priors=tuple(prior for prior in self.priors if isinstance(prior, Forbid)))

    def fix(self, base: Settings, paths: Iterable[str]) -> SearchSpace:
        """This space around another base, with dimensions that keep their value in it.

        A dimension that exists for one kind only fixes that kind, too.

        Raises:
            UsageError: a limit forbids such a value.
        """
        flat = flatten(base)
        wanted = set(paths)
        for d in declared(type(base)):
            if d.path in wanted and all(flat.get(path) == kind for path, kind in d.when):
                wanted |= {path for path, _ in d.when}
        for rule in self.priors:
            if isinstance(rule, Forbid) and rule.path in wanted and flat.get(rule.path) in rule.values:
                raise UsageError(f"{rule.path} cannot be {flat[rule.path]}: {rule.because}; choose another value")
        return dataclasses.replace(self, base=base, fixed=self.fixed | wanted)

    def keep_only(self, prefixes: Sequence[str]) -> SearchSpace:
        """This space with nothing searched but these dimensions and those below them; the rest as preferred.

        Raises:
            UsageError: a prefix without a dimension.
        """
        every = list(dict.fromkeys(d.path for d in declared(type(self.base))))
        for prefix in prefixes:
            if not any(_below(path, prefix) for path in every):
                close = difflib.get_close_matches(prefix, every, n=3)
                raise UsageError(
                    f"nothing that is searched is called {prefix!r}"
                    + (f"; did you mean {', '.join(close)}?" if close else "")
                )
        rest = [path for path in every if not any(_below(path, prefix) for prefix in prefixes)]
        base = self.preferred()
        return dataclasses.replace(self, base=base, fixed=self.fixed | frozenset(rest))

    def active(self, settings: Settings) -> list[Dimension]:
        """The searched dimensions that exist for these settings."""
        return self._existing(flatten(settings))

    def _existing(self, flat: Mapping[str, Any]) -> list[Dimension]:
        parts = (part for when, part in self._searched if all(flat.get(path) == kind for path, kind in when))
        return [d for part in parts for d in part if d.path in flat]

    @functools.cached_property
    def _searched(self) -> tuple[tuple[Conditions, tuple[Dimension, ...]], ...]:
        """In their order; neighbours that exist under the same conditions together."""
        searched = (d for d in declared(type(self.base)) if d.path not in self.fixed)
        return tuple((when, tuple(part)) for when, part in itertools.groupby(searched, lambda d: d.when))

    # A search draws a hundred strategies for each that it suggests: what is asked of every dimension is kept.

    @functools.cached_property
    def _allowed(self) -> dict[tuple[str, Conditions], tuple[Any, ...]]:
        return {}

    @functools.cached_property
    def _preferences(self) -> dict[tuple[str, Conditions], Prefer | None]:
        return {}

    @functools.cached_property
    def _base(self) -> dict[str, Any]:
        return flatten(self.base)

    def allowed(self, dimension: Dimension) -> tuple[Any, ...]:
        """The values of a choice that no prior forbids.

        Raises:
            UsageError: when nothing is left.
        """
        name = dimension.path, dimension.when
        if name not in self._allowed:
            self._allowed[name] = self._left(dimension)
        return self._allowed[name]

    def _left(self, dimension: Dimension) -> tuple[Any, ...]:
        assert isinstance(dimension.domain, Choice)
        rules = [p for p in self.priors if isinstance(p, Forbid) and p.path == dimension.path]
        banned = {value for rule in rules for value in rule.values}
        left = tuple(v for v in dimension.domain.values if v not in banned)
        if not left:
            values = dimension.domain.values
            raise UsageError(f"the limits leave no value for {dimension.path}: all of {values} are ruled out")
        return left

    def preference(self, dimension: Dimension) -> Prefer | None:
        """The preference that counts for a dimension, if any."""
        name = dimension.path, dimension.when
        if name not in self._preferences:
            about = (p for p in reversed(self.priors) if isinstance(p, Prefer) and p.about(dimension))
            self._preferences[name] = next(about, None)
        return self._preferences[name]

    def draw(self, dimension: Dimension, rng: np.random.Generator) -> Any:
        """One value: by the prior with its confidence, without a prior the default with the trust, else uniformly."""
        prior = self.preference(dimension)
        if prior is None and self.trust and rng.random() < self.trust:
            return self._by_default(dimension, rng)
        trusted = prior is not None and rng.random() < prior.confidence
        if isinstance(dimension.domain, Choice):
            values = self.allowed(dimension)
            if trusted and prior is not None and prior.value in values:
                return prior.value
            return values[int(rng.integers(len(values)))]
        if trusted and prior is not None:
            return self._near(dimension, float(prior.value), rng)
        return dimension.at(rng.random())

    def sample(self, rng: np.random.Generator) -> Settings:
        """A random member of the space."""
        return self.redraw(self.base, rng)

    def redraw(self, settings: Settings, rng: np.random.Generator) -> Settings:
        """Settings with every dimension of this space drawn anew."""
        return self.fill(settings, lambda dimension, value: self.draw(dimension, rng))

    def preferred(self) -> Settings:
        """The member that takes every preference and leaves the rest at its default."""

        def choose(dimension: Dimension, value: Any) -> Any:
            prior = self.preference(dimension)
            wanted = value if prior is None else prior.value
            if isinstance(dimension.domain, Choice):
                allowed = self.allowed(dimension)
                return wanted if wanted in allowed else allowed[-1]
            if prior is not None:  # a rule may ask for more than the span offers
                domain = dimension.domain
                wanted = min(max(float(prior.value), domain.low), domain.high)
                return round(wanted) if isinstance(dimension.default, int) else wanted
            return wanted

        return self.fill(self.base, choose)

    def mutate(self, settings: Settings, rng: np.random.Generator, rate: float) -> Settings:
        """A neighbour: each dimension drawn again with probability ``rate``, at least one."""
        active = self.active(settings)
        if not active:
            return settings
        chosen = set(np.flatnonzero(rng.random(len(active)) < rate).tolist()) or {int(rng.integers(len(active)))}
        paths = {active[i].path for i in chosen}

        def change(dimension: Dimension, value: Any) -> Any:
            if dimension.path not in paths:
                return value
            # What is off is not nudged a little, but drawn: it stays off, or is really tried.
            if isinstance(dimension.domain, Span) and not value == dimension.default == dimension.domain.low:
                return self._near(dimension, float(value), rng)
            return self.draw(dimension, rng)

        return self.fill(settings, change)

    def within(self, settings: Settings) -> Settings:
        """The member nearest to settings: what may not change is the base's, what is forbidden as preferred."""
        base = self._base
        seen: set[str] = set()
        while True:
            flat = flatten(settings)
            wrong = [d for d in declared(type(self.base)) if d.path not in seen and self._misplaced(d, flat, base)]
            if not wrong:
                return settings
            # One kind at a time: a changed kind resets its part.
            kinds = [d for d in wrong if d.path.endswith(".kind")]
            changes = {d.path: self._proper(d, base) for d in kinds[:1] or wrong}
            seen |= set(changes)
            settings = replace(settings, changes)

    def _misplaced(self, dimension: Dimension, flat: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
        if dimension.path not in flat or not all(flat.get(path) == kind for path, kind in dimension.when):
            return False
        value = flat[dimension.path]
        if dimension.path in self.fixed and dimension.path in base:
            return bool(value != base[dimension.path])
        return isinstance(dimension.domain, Choice) and value not in self.allowed(dimension)

    def _proper(self, dimension: Dimension, base: Mapping[str, Any]) -> Any:
        if dimension.path in self.fixed and dimension.path in base:
            return base[dimension.path]
        allowed = self.allowed(dimension)
        return flatten(self.preferred()).get(dimension.path, allowed[-1])

    def fill(self, settings: Settings, choose: Callable[[Dimension, Any], Any]) -> Settings:
        """Settings with every dimension passed through ``choose(dimension, value)``, parents first."""
        flat, seen = flatten(settings), set[str]()
        while pending := [d for d in self._existing(flat) if d.path not in seen]:
            # Kinds first: a changed kind resets its part, so its members are drawn in the next pass.
            kinds = [d for d in pending if d.path.endswith(".kind")]
            chosen = {d.path: choose(d, flat[d.path]) for d in kinds or pending}
            seen |= set(chosen)
            if changes := {path: value for path, value in chosen.items() if value != flat[path]}:
                settings = replace(settings, changes)
            if not kinds:
                break  # nothing else brings further dimensions into being
            flat = flatten(settings) if changes else flat
        return settings

    def _by_default(self, dimension: Dimension, rng: np.random.Generator) -> Any:
        """The default of a choice, and of a span that begins with it (off); else a value near it."""
        if isinstance(dimension.domain, Choice):
            values = self.allowed(dimension)
            return dimension.default if dimension.default in values else values[int(rng.integers(len(values)))]
        if dimension.default == dimension.domain.low:
            return dimension.default
        return self._near(dimension, float(dimension.default), rng)

    def _near(self, dimension: Dimension, value: float, rng: np.random.Generator) -> float | int:
        assert isinstance(dimension.domain, Span)
        return dimension.at(dimension.domain.unit(value) + NEAR * float(rng.standard_normal()))


@functools.cache
def declared(root: type[Settings]) -> tuple[Dimension, ...]:
    """Every dimension that a model declares, walked once."""
    return tuple(dimensions(root))


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}.")
