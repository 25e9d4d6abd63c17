"""A board in one of its modes: what a latency, a memory or an energy is of."""

from __future__ import annotations

import re

from edgehone.boards.board import Board, Precision
from edgehone.boards.catalogue import BOARDS, board
from edgehone.boards.latency import MACHINES
from edgehone.errors import UsageError
from edgehone.space import Settings

FORM = r"([\w-]+)(?::(\w+))?(?:@([\w.-]+))?"
"""``BOARD``, ``BOARD:PRECISION``, ``BOARD@POWERMODE`` or ``BOARD:PRECISION@POWERMODE``."""


class BoardMode(Settings):
    """A board with the precision of its arithmetic and its clocks.

    Attributes:
        board: name.
        precision: of the arithmetic.
        power_mode: name; "" on a board that has one.
    """

    board: str
    precision: Precision
    power_mode: str = ""

    @property
    def text(self) -> str:
        """As on the command line, with everything in it that could be otherwise."""
        precision = f":{self.precision}" if len(timed(board(self.board))) > 1 else ""
        return self.board + precision + (f"@{self.power_mode}" if self.power_mode else "")

    def watts(self) -> float:
        """What the board is allowed to draw.

        Raises:
            UsageError: nobody has published it.
        """
        found = board(self.board).power_mode(self.power_mode)
        if found is None:
            known = ", ".join(name for name, each in BOARDS.items() if each.power_modes)
            raise UsageError(
                f"energy is latency times the power that a board's mode allows, known of {known}; no power of "
                f"{self.board} is published: take latency[{self.board}], or a meter"
            )
        return found.watts

    @staticmethod
    def parse(text: str) -> BoardMode:
        """From its text; what is left out is what a bundle delivers, in the board's default power mode.

        Raises:
            UsageError: not of this form, no such board, or one that has no such precision or power mode.
        """
        found = re.fullmatch(FORM, text.strip())
        if found is None:
            raise UsageError(f"a board is named like cpu or jetson-xavier-nx:fp16@15W_2CORE, got {text!r}")
        wanted = board(found[1])
        known, asked = timed(wanted), str(found[2] or wanted.delivered)
        precision: Precision | None = next((each for each in known if each == asked), None)
        if precision is None:
            raise UsageError(f"times of {wanted.name} are known in {', '.join(known)}; got {text!r}")
        mode = wanted.power_mode(found[3])
        return BoardMode(board=wanted.name, precision=precision, power_mode="" if mode is None else mode.name)


def timed(wanted: Board) -> tuple[Precision, ...]:
    """Precisions of which times are known before anything is trained."""
    return (wanted.delivered,) if wanted.measured_here else MACHINES[wanted.name].precisions
