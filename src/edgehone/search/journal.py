"""A study on disk: one line of JSON for each thing that happened, only ever added to.

A line is written in one piece and flushed to disk before anything is done about it. A process that is killed leaves
at most one line without its end, which is dropped when the file is opened again: the thing has not happened.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol

from edgehone.errors import EdgehoneError
from edgehone.types import Json


class AnyJournal(Protocol):
    """Everything that happened in a study, wherever it is kept; one process at a time.

    Attributes:
        events: what was there when it was opened, in order.
    """

    events: list[Json]

    def add(self, event: Json) -> None:
        """Write an event; when this returns it has happened."""
        ...


class Journal:
    """A file of events; one process at a time."""

    def __init__(self, path: Path) -> None:
        """Open, or begin; read :attr:`events` once.

        Raises:
            EdgehoneError: another process has it open, or a line in the middle is damaged.
        """
        import fcntl

        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise EdgehoneError(f"another process writes to {path}; wait for it or choose another --out") from None
        self.events = self._read()

    def _read(self) -> list[Json]:
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(self._file, whole)
        events: list[Json] = []
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                events.append(json.loads(line))
            except ValueError:
                raise EdgehoneError(
                    f"every line of a study is JSON, but line {number} of {self.path} is not: the file was changed or "
                    "the disk is damaged; restore it, or begin again in another folder"
                ) from None
        return events

    def add(self, event: Json) -> None:
        """Write an event; when this returns it has happened."""
        line = json.dumps(event, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        written = 0
        while written < len(line):
            written += os.write(self._file, line[written:])
        os.fsync(self._file)

    def close(self) -> None:
        """Let others write."""
        os.close(self._file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@contextmanager
def uncollected() -> Generator[None]:
    """Everything that a journal says is kept: to look for garbage meanwhile takes three times as long as to read it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
