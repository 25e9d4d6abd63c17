"""What separates two strategies, divided into changes that each mean something by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgehone.errors import UsageError
from edgehone.space import Settings, diff, flatten, load
from edgehone.strategy import Strategy
from edgehone.types import Json


class Change(Settings):
    """One decision: a part exchanged for another kind with all its fields, or one value.

    Attributes:
        path: of the part or of the value.
        old: what the first strategy has there, a part in its JSON form; likewise ``new`` for the second.
    """

    path: str
    old: Json
    new: Json

    @property
    def text(self) -> str:
        """``projection.assigner: ratio_match to task_aligned``."""
        return f"{self.path}: {_word(self.old)} to {_word(self.new)}"


def changes_between(base: Strategy, other: Strategy) -> list[Change]:
    """Every change that turns ``base`` into ``other``, in the order of declaration.

    A part whose kind differs is one change, with everything below it; else each value is one of its own.
    """
    left, right = flatten(base), flatten(other)
    differing = diff(base, other)
    exchanged = [path.removesuffix(".kind") for path in differing if path.endswith(".kind")]
    outermost = [part for part in exchanged if not any(part.startswith(f"{other}.") for other in exchanged)]
    paths = [next((part for part in outermost if path.startswith(f"{part}.")), path) for path in differing]
    parts = frozenset(outermost)
    first, second = base.model_dump(mode="json"), other.model_dump(mode="json")
    return [
        Change(
            path=path,
            old=_node(first, path) if path in parts else left.get(path),
            new=_node(second, path) if path in parts else right.get(path),
        )
        for path in dict.fromkeys(paths)
    ]


def apply_changes(base: Strategy, changes: Sequence[Change]) -> Strategy:
    """``base`` with the changes made.

    Raises:
        UsageError: the settings refuse this combination; more changes may make it whole.
    """
    root: dict[str, Any] = base.model_dump(mode="json")
    for change in changes:
        *parents, leaf = change.path.split(".")
        node = root
        for name in parents:
            node = node[name]
        node[leaf] = change.new
    return load(Strategy, root)


def possible(base: Strategy, changes: Sequence[Change]) -> Strategy | None:
    """Like :func:`apply_changes`; None where the settings refuse."""
    try:
        return apply_changes(base, changes)
    except UsageError:
        return None


def _node(root: Any, path: str) -> Json:
    for name in path.split("."):
        root = root[name]
    return root


def _word(value: Json) -> str:
    """A part by its kind, a number in four digits."""
    if isinstance(value, dict):
        return str(value.get("kind", value))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
