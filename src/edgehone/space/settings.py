"""Settings models: frozen, typed, with the dimensions of the search in their annotations."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
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

    def visit(node: dict[str, Any], prefix: str) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                visit(cast("dict[str, Any]", value), f"{prefix}{key}.")
            else:
                flat[prefix + key] = value

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
