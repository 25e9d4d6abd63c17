"""The trials of one rung of a study."""

from __future__ import annotations

from typing import Literal

Kind = Literal["suggested", "promoted", "varied", "repeated"]
"""How a trial came about."""


class Level:
    """By number: those asked for and told about, in order; those that went up; and how those came that did not."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.told: list[int] = []
        self.promoted: set[int] = set()
        self.varied: set[int] = set()
        self.repeated: set[int] = set()
        self.suggested: set[int] = set()

    def begin(self, number: int, kind: Kind) -> None:
        """A trial of this rung."""
        self.asked.append(number)
        if kind != "promoted":
            {"varied": self.varied, "repeated": self.repeated, "suggested": self.suggested}[kind].add(number)

    @property
    def arrived(self) -> int:
        """How many came from the rung below."""
        return len(self.asked) - len(self.varied) - len(self.repeated) - len(self.suggested)
