"""The boards, by name."""

from __future__ import annotations

from edgehone.boards.board import Board
from edgehone.boards.cpu import CPU
from edgehone.boards.jetson_xavier_nx import JETSON_XAVIER_NX
from edgehone.boards.kneron_kl720 import KNERON_KL720
from edgehone.errors import UsageError

BOARDS: dict[str, Board] = {board.name: board for board in (CPU, JETSON_XAVIER_NX, KNERON_KL720)}
"""Boards by name."""


def board(name: str) -> Board:
    """The board of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in BOARDS:
        raise UsageError(f"the boards are {', '.join(BOARDS)}; got {name!r}")
    return BOARDS[name]
