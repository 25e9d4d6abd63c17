"""Settings models and the search space that they declare.

A part of a strategy is a frozen :class:`Settings` model. A field that may be searched carries its
dimension in its annotation; a discriminated union of settings is a conditional choice. There is no
second list of hyper-parameters: :func:`dimensions` reads them off the models.

>>> class Sgd(Settings):
...     kind: Literal["sgd"] = "sgd"
...     lr: Annotated[float, Span(1e-3, 1e-1, log=True)] = 1e-2
>>> [d.path for d in dimensions(Sgd)]
['lr']
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from edgehone.errors import UsageError
from edgehone.types import Json

SCHEMA = 1
"""Version of the JSON form of settings."""

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Base of every settings model: frozen, validated, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Span:
    """A numeric dimension: ``low`` to ``high``, both included, on a linear or logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"need low < high for a span, got {self.low=}, {self.high=}")
        if self.log and self.low <= 0:
            raise ValueError(f"need 0 < low for a logarithmic span, got {self.low=}")

    def at(self, unit: float) -> float:
        """The value at ``unit`` in 0..1 of the way (clipped), to four significant digits."""
        unit = min(max(unit, 0.0), 1.0)
        if self.log:
            value = math.exp(math.log(self.low) + unit * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + unit * (self.high - self.low)
        return min(max(float(f"{value:.4g}"), self.low), self.high)

    def unit(self, value: float) -> float:
        """How far along ``value`` lies, 0..1 (clipped): the inverse of :meth:`at`."""
        if self.log:
            value = max(value, self.low)
            along = (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        else:
            along = (value - self.low) / (self.high - self.low)
        return min(max(along, 0.0), 1.0)


@dataclass(frozen=True)
class Choice:
    """A dimension of named values."""

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        if len(values) < 2:
            raise ValueError(f"need at least two values to choose from, got {values=}")
        object.__setattr__(self, "values", values)


@dataclass(frozen=True)
class Dimension:
    """One searchable value of a strategy.

    Attributes:
        path: dotted, as in JSON, ``--set``, logs and reports.
        domain: what it may be.
        default: its value in the defaults of the models.
        when: ``(path, kind)`` pairs that must hold for the dimension to exist.
    """

    path: str
    domain: Span | Choice
    default: Any
    when: tuple[tuple[str, str], ...] = ()

    def at(self, unit: float) -> float | int:
        """The value ``unit`` of the way along a span; whole where the setting is a whole number."""
        assert isinstance(self.domain, Span)
        value = self.domain.at(unit)
        return round(value) if isinstance(self.default, int) else value


def dimensions(root: type[Settings], prefix: str = "", when: tuple[tuple[str, str], ...] = ()) -> Iterator[Dimension]:
    """Every dimension that ``root`` declares, parents before the dimensions that depend on them."""
    for name, field in root.model_fields.items():
        path = f"{prefix}{name}"
        members = union_members(field)
        if members:
            kind_path = f"{path}.kind"
            default = getattr(field.default, "kind", None)
            if len(members) > 1:
                yield Dimension(kind_path, Choice(*members), default, when)
            for kind, member in members.items():
                yield from dimensions(member, f"{path}.", (*when, (kind_path, kind)))
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield from dimensions(field.annotation, f"{path}.", when)
        else:
            domains = [item for item in field.metadata if isinstance(item, Span | Choice)]
            if domains:
                yield Dimension(path, domains[0], field.default, when)


def union_members(field: FieldInfo) -> dict[str, type[Settings]]:
    """Kind to model of a discriminated union of settings; empty for any other field."""
    if field.discriminator != "kind":
        return {}
    options: tuple[type[Settings], ...] = get_args(field.annotation) or cast(Any, (field.annotation,))
    return {str(member.model_fields["kind"].default): member for member in options}


def union_types(alias: Any) -> tuple[type[Settings], ...]:
    """The members of an ``Annotated[A | B, Field(discriminator="kind")]`` alias, for conformance tests."""
    inner = get_args(alias)[0]
    return tuple(get_args(inner)) if get_origin(inner) else (inner,)


def flatten(settings: Settings) -> dict[str, Any]:
    """Dotted path to leaf value, in the order of declaration."""
    flat: dict[str, Any] = {}

    def visit(node: Json, prefix: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():  # pyright: ignore[reportUnknownVariableType]
                visit(value, f"{prefix}.{key}" if prefix else str(key))  # pyright: ignore[reportUnknownArgumentType]
        else:
            flat[prefix] = node

    visit(settings.model_dump(mode="json"), "")
    return flat


def replace(settings: S, changes: Mapping[str, Any]) -> S:
    """A copy with the values at dotted paths changed; a changed ``kind`` resets its part to defaults.

    Raises:
        UsageError: unknown path or a value that the settings refuse.
    """
    root: dict[str, Any] = settings.model_dump(mode="json")
    ordered = sorted(changes.items(), key=lambda item: (not item[0].endswith(".kind"), item[0].count(".")))
    for path, value in ordered:
        *parents, leaf = path.split(".")
        node = root
        for name in parents:
            if not isinstance(node.get(name), dict):
                raise UsageError(_unknown_path(settings, path))
            node = cast("dict[str, Any]", node[name])
        if leaf == "kind":
            if node.get("kind") != value:
                node.clear()
            node["kind"] = value
        else:
            node[leaf] = value
    return load(type(settings), root)


def load(root: type[S], values: Json) -> S:
    """Validated settings from their JSON form.

    Raises:
        UsageError: each fault with its dotted path, the rule and the value.
    """
    try:
        return root.model_validate(values)
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors(include_url=False)]
        known = sorted({d.path for d in dimensions(root)})
        close = difflib.get_close_matches(str(lines[0].split(":")[0]), known, n=3)
        hint = f" (near: {', '.join(close)})" if close else ""
        raise UsageError("the settings are not valid" + hint + ":\n  " + "\n  ".join(lines)) from None


def _explain(item: Any) -> str:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{path}: unknown key"
    return f"{path}: {item['msg']}, got {item.get('input')!r}"


def _unknown_path(settings: Settings, path: str) -> str:
    close = difflib.get_close_matches(path, list(flatten(settings)), n=3)
    return f"there is no setting {path!r}" + (f"; did you mean {', '.join(close)}?" if close else "")


def parse_assignments(settings: S, assignments: Sequence[str]) -> S:
    """Apply ``path=value`` texts as given on a command line; values are JSON, else plain strings."""
    changes: dict[str, Any] = {}
    for text in assignments:
        path, sign, raw = text.partition("=")
        if not sign or not path:
            raise UsageError(f"a setting is given as path=value, got {text!r}")
        try:
            changes[path] = json.loads(raw)
        except json.JSONDecodeError:
            changes[path] = raw
    return replace(settings, changes)


def diff(base: Settings, other: Settings) -> dict[str, tuple[Any, Any]]:
    """Path to ``(value in base, value in other)`` wherever they differ; None where a path is absent."""
    left, right = flatten(base), flatten(other)
    paths = [*left, *(path for path in right if path not in left)]
    return {p: (left.get(p), right.get(p)) for p in paths if left.get(p) != right.get(p)}


def fingerprint(settings: Settings) -> str:
    """Sixteen hex digits that name these settings: equal settings, equal fingerprint."""
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Prefer(Settings):
    """A rule's advice on one dimension: draw ``value`` (or near it) with probability ``confidence``."""

    kind: Literal["prefer"] = "prefer"
    path: str
    value: float | int | bool | str
    confidence: float = Field(gt=0, lt=1)
    because: str
    evidence: dict[str, Json] = {}


class Forbid(Settings):
    """Values that a limit of the board or of the request rules out."""

    kind: Literal["forbid"] = "forbid"
    path: str
    values: tuple[float | int | bool | str, ...]
    because: str
    evidence: dict[str, Json] = {}


Prior = Union[Prefer, Forbid]  # noqa: UP007 - isinstance and pydantic both take it

NEAR = 0.12
"""Standard deviation, in units of a span, of a draw near a preferred or current value."""


@dataclass(frozen=True)
class SearchSpace:
    """The declared dimensions of ``base``'s type, with priors.

    Attributes:
        base: values of everything that is not searched.
        priors: preferences and prohibitions; a later preference for a path replaces an earlier one.
        fixed: dimensions (by path) that keep their value in ``base``.
    """

    base: Settings
    priors: tuple[Prior, ...] = ()
    fixed: frozenset[str] = frozenset()

    def prefer(self, priors: Sequence[Prior]) -> SearchSpace:
        """This space with more priors."""
        return SearchSpace(self.base, (*self.priors, *priors), self.fixed)

    def active(self, settings: Settings) -> list[Dimension]:
        """The searched dimensions that exist for these settings."""
        flat = flatten(settings)
        return [
            d
            for d in dimensions(type(self.base))
            if d.path not in self.fixed and all(flat.get(path) == kind for path, kind in d.when)
        ]

    def allowed(self, dimension: Dimension) -> tuple[Any, ...]:
        """The values of a choice that no prior forbids.

        Raises:
            UsageError: when nothing is left.
        """
        assert isinstance(dimension.domain, Choice)
        rules = [p for p in self.priors if isinstance(p, Forbid) and p.path == dimension.path]
        banned = {value for rule in rules for value in rule.values}
        left = tuple(v for v in dimension.domain.values if v not in banned)
        if not left:
            values = dimension.domain.values
            raise UsageError(f"the limits leave no value for {dimension.path}: all of {values} are ruled out")
        return left

    def preference(self, path: str) -> Prefer | None:
        """The preference that counts for a dimension, if any."""
        found = [p for p in self.priors if isinstance(p, Prefer) and p.path == path]
        return found[-1] if found else None

    def draw(self, dimension: Dimension, rng: np.random.Generator) -> Any:
        """One value: by the prior with its confidence, else uniformly."""
        prior = self.preference(dimension.path)
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

        def choose(dimension: Dimension, value: Any) -> Any:
            del value
            return self.draw(dimension, rng)

        return self._redraw(self.base, choose)

    def preferred(self) -> Settings:
        """The member that takes every preference and leaves the rest at its default."""

        def choose(dimension: Dimension, value: Any) -> Any:
            prior = self.preference(dimension.path)
            wanted = value if prior is None else prior.value
            if isinstance(dimension.domain, Choice):
                allowed = self.allowed(dimension)
                return wanted if wanted in allowed else allowed[-1]
            if prior is not None:  # a rule may ask for more than the span offers
                domain = dimension.domain
                wanted = min(max(float(prior.value), domain.low), domain.high)
                return round(wanted) if isinstance(dimension.default, int) else wanted
            return wanted

        return self._redraw(self.base, choose)

    def mutate(self, settings: Settings, rng: np.random.Generator, rate: float) -> Settings:
        """A neighbour: each dimension drawn again with probability ``rate``, at least one."""
        count = len(self.active(settings))
        if count == 0:
            return settings
        chosen = set(np.flatnonzero(rng.random(count) < rate).tolist()) or {int(rng.integers(count))}
        paths = {d.path for i, d in enumerate(self.active(settings)) if i in chosen}

        def change(dimension: Dimension, value: Any) -> Any:
            if dimension.path not in paths:
                return value
            if isinstance(dimension.domain, Span):
                return self._near(dimension, float(value), rng)
            return self.draw(dimension, rng)

        return self._redraw(settings, change)

    def _near(self, dimension: Dimension, value: float, rng: np.random.Generator) -> float | int:
        assert isinstance(dimension.domain, Span)
        return dimension.at(dimension.domain.unit(value) + NEAR * float(rng.standard_normal()))

    def _redraw(self, settings: Settings, choose: Callable[[Dimension, Any], Any]) -> Settings:
        """Pass every dimension through ``choose(dimension, value)``, parents first."""
        seen: set[str] = set()
        while True:
            pending = [d for d in self.active(settings) if d.path not in seen]
            if not pending:
                return settings
            flat = flatten(settings)
            changes: dict[str, Any] = {}
            # Kinds first: a changed kind resets its part, so its members are drawn in the next pass.
            kinds = [d for d in pending if d.path.endswith(".kind")]
            for d in kinds or pending:
                seen.add(d.path)
                changes[d.path] = choose(d, flat[d.path])
            settings = replace(settings, changes)
