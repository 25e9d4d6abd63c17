"""One row of the table of rules about operators."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edgehone.boards.conditions import Condition
from edgehone.space import Settings

ANY = "*"
"""As an operator: every operator of ONNX itself that has no row of its own."""


class OperatorRule(Settings):
    """Whether an operator runs on a board. Several rows of one operator are alternatives: one that holds is enough.

    Attributes:
        operator: ONNX's name, or ``*`` for all that have no row.
        board: its name.
        supported: False where it never runs.
        conditions: that a node must meet, all of them.
        because: why it does not run, or what else there is to know.
        way_round: what to do about a node that does not run.
        source: document and version.
        since: version of the runtime from which the row holds; None is the first.
        before: version of the runtime before which the row holds; None is no end.
        dla: the row is about the Jetson's accelerators, not its GPU.
    """

    operator: str
    board: str
    supported: bool = True
    conditions: tuple[Condition, ...] = ()
    because: str = ""
    way_round: str
    source: str
    since: str | None = None
    before: str | None = None
    dla: bool = False


def rows(template: OperatorRule, operators: Iterable[str]) -> Iterator[OperatorRule]:
    """The same row for several operators."""
    for operator in operators:
        yield template.model_copy(update={"operator": operator})


def names(text: str) -> tuple[str, ...]:
    """Words of a text."""
    return tuple(text.split())
