"""A run's folder: what is in it, the time it has taken, and who may write to it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from edgehone.errors import EdgehoneError, UsageError
from edgehone.files import read_json, write_json
from edgehone.space import Settings, diff, load

S = TypeVar("S", bound=Settings)

CLOCK_SECONDS = 3.0
LOCK, REQUEST = "lock", "request.json"
"""Whose folder it is now, and what it was asked for."""


class Clock:
    """Wall-clock seconds that a run has taken, added up over restarts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before = float(read_json(path)["seconds"]) if path.is_file() else 0.0
        self.started = self.saved = time.monotonic()

    def seconds(self) -> float:
        """Spent so far, over all restarts."""
        return self.before + time.monotonic() - self.started

    def tick(self) -> None:
        """Note the time on disk, every few seconds."""
        if time.monotonic() - self.saved >= CLOCK_SECONDS:
            self.save()

    def save(self) -> None:
        """Note the time on disk now."""
        self.saved = time.monotonic()
        write_json(self.path, {"seconds": round(self.seconds(), 2)})


class RunFolder:
    """Frozen results of stages, by name; a stage whose result is there is not done again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trials = path / "trials"
        self.clock = Clock(path / "clock.json")

    def stage(self, name: str, kind: type[S], make: Callable[[], S]) -> S:
        """The saved result of a stage, or what ``make`` returns, saved."""
        path = self.path / f"{name}.json"
        if path.is_file():
            return load(kind, read_json(path))
        result = make()
        write_json(path, result.model_dump(mode="json"))
        self.clock.save()
        return result


@contextmanager
def open_run(path: Path, request: Settings) -> Generator[RunFolder]:
    """The folder of a run, new or gone on with; one process at a time.

    Raises:
        UsageError: the folder holds something else, or a run of another request, or cannot be written to.
        EdgehoneError: another process works on it.
    """
    stored = path / REQUEST
    if path.exists() and not path.is_dir():
        raise UsageError(f"a run needs a folder, but {path} is a file; choose another --out")
    if path.is_dir() and not stored.is_file() and any(file.name != LOCK for file in path.iterdir()):
        raise UsageError(f"{path} holds files but no run; choose an empty or new folder for --out")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"a run needs a folder that it may write to, and {path}: {error.strerror}") from None
    with only_process(path):
        if stored.is_file():
            take_request(path, request)
        if not stored.is_file():
            write_json(stored, request.model_dump(mode="json"))
        folder = RunFolder(path)
        try:
            yield folder
        finally:
            folder.clock.save()


def take_request(path: Path, request: Settings) -> None:
    """Hold a request against that of a run's folder; another one begins anew where nothing was trained.

    Raises:
        UsageError: it is another one, and something was trained.
    """
    changes = diff(load(type(request), read_json(path / REQUEST)), request)
    if changes and nothing_trained(path):
        for stale in path.glob("*.json"):
            stale.unlink()
    elif changes:
        lines = [f"  {key}: there {old}, now {new}" for key, (old, new) in changes.items()]
        raise UsageError(
            f"{path} holds a run of another request; repeat its command to go on, or choose another --out:\n"
            + "\n".join(lines)
        )


def nothing_trained(path: Path) -> bool:
    """Whether a run's folder holds nothing that took long: only facts and plans, no weights and no results."""
    return all(file.suffix == ".json" or file.name == LOCK for file in path.rglob("*") if file.is_file()) and not any(
        path.glob("trials/*/*.json")
    )


@contextmanager
def only_process(folder: Path) -> Generator[None]:
    """Keep other processes off a run's folder; the operating system lets go when this one ends, however it ends.

    Raises:
        UsageError: the folder cannot be written to.
        EdgehoneError: another process works on it.
    """
    import fcntl

    try:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UsageError(f"a run needs a folder that it may write to, and {folder}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise EdgehoneError(f"another process works on {folder}; wait for it or choose another --out") from None
        yield
    finally:
        os.close(handle)
