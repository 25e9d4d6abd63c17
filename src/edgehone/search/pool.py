"""What trains trials, wherever it does: the seam between a search and processes on one or on many machines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from edgehone.errors import EdgehoneError
from edgehone.search.trial import STATE, Outcome, Task, save_outcome
from edgehone.training import Job

LOSSES = 3
"""Workers lost under one trial after which it is blamed itself: it may need more memory than they have."""

AGAIN = "its worker was lost; trained on another"
"""Said of a trial in its outcome."""

T = TypeVar("T")


class LostTooOften(EdgehoneError):
    """A trial has taken too many workers with it."""


class Pool(Protocol):
    """Workers side by side."""

    @property
    def count(self) -> int:
        """Of them."""
        ...

    def calibrate(self, job: Job) -> float:
        """Seconds per step while all workers do the same."""
        ...

    def run(self, tasks: Iterable[Task | None], tick: Callable[[dict[str, float]], None]) -> Iterator[Outcome]:
        """Outcomes as they come.

        Args:
            tasks: taken one at a time, whenever a worker is free, so that each may depend on the outcomes so far;
                None says that nothing can be done before the next outcome.
            tick: called about twice a second with each running task's share done.

        Raises:
            EdgehoneError: the workers are gone; what is finished is kept.
        """
        ...


class TrialQueue(Generic[T]):
    """Which trial is given out next, and what becomes of those whose worker is lost. Knows no clock and no process.

    Trials go in their order; a lost one goes before all others: it has waited longest.
    """

    def __init__(self, items: Sequence[T] = ()) -> None:
        self.waiting = deque(enumerate(items))
        self.running: dict[int, T] = {}
        self.losses: dict[int, int] = {}
        self.items = list(items)

    def lost(self, item: T) -> bool:
        """Whether a trial has lost a worker."""
        return any(self.items[number] == item for number in self.losses)

    def __bool__(self) -> bool:
        """Whether anything is left to wait for."""
        return bool(self.waiting or self.running)

    def add(self, item: T) -> None:
        """Another trial, after those that wait."""
        self.waiting.append((len(self.items), item))
        self.items.append(item)

    def take(self) -> tuple[int, T] | None:
        """The next trial with its number; None where none waits."""
        if not self.waiting:
            return None
        number, item = self.waiting.popleft()
        self.running[number] = item
        return number, item

    def finish(self, number: int) -> None:
        """A trial is done."""
        del self.running[number]

    def lose(self, number: int, reason: str) -> None:
        """The worker of a trial is gone; the trial waits again, first of all.

        Raises:
            LostTooOften: it has taken too many workers with it; it waits no more.
        """
        item = self.running.pop(number)
        self.losses[number] = self.losses.get(number, 0) + 1
        if self.losses[number] >= LOSSES:
            raise LostTooOften(
                f"a trial may lose its worker {LOSSES - 1} times, but this one has lost {LOSSES} (the last one: "
                f"{reason}); it may need more memory than a worker has: give fewer --workers or smaller inputs"
            )
        self.waiting.appendleft((number, item))


def give_up(task: Task, folder: Path, error: EdgehoneError) -> Outcome:
    """The outcome, kept, of a trial that cannot be trained; the others go on.

    Raises:
        EdgehoneError: the run needs the trial.
    """
    if not task.expendable:
        raise EdgehoneError(
            f"{task.name}: {error}; finished trials are kept: give the same command again to go on"
        ) from error
    outcome = Outcome(task=task, status="failed", ap=0.0, validation=None, curve=[], seconds=0.0, message=str(error))
    save_outcome(outcome, folder)
    (folder / task.name / STATE).unlink(missing_ok=True)
    return outcome
