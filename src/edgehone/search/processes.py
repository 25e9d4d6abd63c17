"""Processes side by side that call functions; one that dies costs what it was doing, and another takes its place.

Each process has a pipe of its own: nothing is shared that one of them could leave locked or half written.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal

import torch

from edgehone.errors import EdgehoneError
from edgehone.interruption import stop_if_asked

WATCH_SECONDS = 1.0
PATIENCE_SECONDS = 10.0
"""How long an idle process may take to end."""

ORPHANED = 70
"""Exit code of a process whose parent is gone."""

STILLBORN = 3
"""Processes in a row that may end before they can do anything: it is not the work then."""

Setup = Callable[..., None]
Note = Callable[[Any], None]
Word = Literal["ready", "note", "result", "raised", "lost"]


@dataclass(frozen=True)
class Said:
    """What was heard of a call.

    Attributes:
        number: of the call, as it was begun.
        kind: what was heard.
        value: the note, the result, or why the process is lost.
    """

    number: int
    kind: Word
    value: Any


@dataclass
class _Hand:
    """A process as its crew sees it; ``number`` is that of the call that it is busy with."""

    process: BaseProcess
    pipe: Connection
    ready: bool = False
    number: int | None = None


class Crew:
    """At most ``count`` processes, started when there is something to do.

    Attributes:
        count: of processes; may be changed while nothing runs.
    """

    def __init__(self, count: int, setup: Setup, arguments: tuple[Any, ...]) -> None:
        """Nothing is started yet.

        Args:
            count: of processes.
            setup: a function of a module, called first in each process.
            arguments: of it.
        """
        self.count = count
        self.setup, self.arguments = setup, arguments
        self.hands: list[_Hand] = []
        self.stillborn = 0

    @property
    def free(self) -> bool:
        """Whether another call can begin now."""
        return sum(hand.number is not None for hand in self.hands) < self.count

    def begin(self, number: int, call: Callable[..., Any], *arguments: Any) -> None:
        """Call a function of a module in a free process, as ``call(note, *arguments)``; ``note`` tells on the way."""
        hand = next((hand for hand in self.hands if hand.number is None), None) or self._hire()
        hand.number = number
        with suppress(OSError):  # it may be dead, which is heard next
            hand.pipe.send((call, arguments))

    def listen(self, seconds: float) -> list[Said]:
        """What is heard until a call has ended, or for so long.

        Raises:
            EdgehoneError: processes end as soon as they are started.
            Exception: what a call raised.
        """
        heard: list[Said] = []
        until = time.monotonic() + seconds
        while all(said.kind == "note" for said in heard) and (left := until - time.monotonic()) > 0:
            stop_if_asked()
            by_pipe = {hand.pipe: hand for hand in self.hands}
            for pipe in wait(list(by_pipe), left):
                heard += self._hear(by_pipe[pipe])  # pyright: ignore[reportArgumentType]
        return heard

    def end(self, *, at_once: bool) -> None:
        """End all processes; busy ones too if ``at_once``."""
        for hand in self.hands:
            if at_once:
                hand.process.terminate()
            with suppress(OSError):
                hand.pipe.send(None)
            hand.pipe.close()
        for hand in self.hands:
            hand.process.join(PATIENCE_SECONDS)
            if hand.process.is_alive():
                hand.process.kill()
                hand.process.join()
        self.hands.clear()

    def _hire(self) -> _Hand:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, os.getpid(), self.setup, self.arguments), daemon=True)
        process.start()
        theirs.close()  # so that the pipe ends with the process
        hand = _Hand(process, ours)
        self.hands.append(hand)
        return hand

    def _hear(self, hand: _Hand) -> list[Said]:
        try:
            kind, value = hand.pipe.recv()
        except (EOFError, OSError):
            return self._bury(hand)
        number = hand.number
        if kind == "ready":
            hand.ready, self.stillborn = True, 0
            return []
        if kind == "lost":
            return self._bury(hand, value)
        if kind != "note":
            hand.number = None
        if kind == "raised":
            raise value
        return [] if number is None else [Said(number, kind, value)]

    def _bury(self, hand: _Hand, reason: str = "") -> list[Said]:
        self.hands.remove(hand)
        hand.pipe.close()
        hand.process.join()
        reason = reason or fate(hand.process.exitcode)
        if not hand.ready:
            self.stillborn += 1
            if self.stillborn >= STILLBORN:
                raise EdgehoneError(
                    f"worker processes must be able to start, but {self.stillborn} in a row ended before they could do "
                    f"anything (the last one: {reason}); free memory or give fewer --workers, then give the same "
                    "command again to go on"
                )
        return [] if hand.number is None else [Said(hand.number, "lost", reason)]


def fate(code: int | None) -> str:
    """How a process ended, for people."""
    if code is None or code >= 0:
        return f"ended with exit status {code}"
    killed = signal.Signals(-code)
    return f"killed by {killed.name}" + (", as where memory runs out" if killed is signal.SIGKILL else "")


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, of the machine or of a device."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _serve(pipe: Connection, parent: int, setup: Setup, arguments: tuple[Any, ...]) -> None:
    """What a process does: calls as they come, until it is told to end or nobody is there any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)
    setup(*arguments)

    def note(value: Any) -> None:
        pipe.send(("note", value))

    try:
        pipe.send(("ready", None))
        while True:
            order = pipe.recv()
            if order is None:
                return
            call, given = order
            try:
                said = ("result", call(note, *given))
            except Exception as error:
                if out_of_memory(error):
                    pipe.send(("lost", f"out of memory: {error}".splitlines()[0]))
                    return  # what it holds is free only when it is gone
                said = ("raised", _portable(error))
            pipe.send(said)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(ORPHANED)


def end_with(parent: int) -> None:
    """From now on this process ends, busy or idle, soon after the one that started it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(ORPHANED)

    threading.Thread(target=watch, daemon=True).start()


def _portable(error: Exception) -> Exception:
    """An error as it can be sent, with where it happened."""
    where = traceback.format_exc()
    error.add_note(where)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(where)
    return error
