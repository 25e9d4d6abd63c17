"""Workers that need no machine: what becomes of a search whose trainings are numbers, on a clock that jumps.

The loop of a pool (``edgehone.search.workers``) with the queue of trials that it uses; one search serves all workers,
one after another.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np

from edgehone.search.pool import TrialQueue

T = TypeVar("T")


class Decider(Protocol[T]):
    """What says which trial comes next."""

    def ask(self) -> tuple[T | None, float]:
        """The next one, and the seconds that it took to decide; none where others have to end first."""
        ...

    def tell(self, trial: T) -> float:
        """A trial has ended: the seconds that it took to learn from it."""
        ...

    def seconds(self, trial: T) -> float:
        """Of its training."""
        ...


@dataclass(frozen=True)
class Cluster:
    """What keeps workers from working.

    Attributes:
        workers: side by side.
        startup: seconds before one works, or works again.
        losses_an_hour: of each worker.
        seed: of the losses.
    """

    workers: int
    startup: float = 0.0
    losses_an_hour: float = 0.0
    seed: int = 0


@dataclass
class Found:
    """What became of a simulated search: trials, seconds of training in them, trials lost, seconds of deciding."""

    trials: int = 0
    work: float = 0.0
    lost: int = 0
    deciding: float = 0.0
    clock: float = 0.0

    def efficiency(self, workers: int) -> float:
        """All work divided by workers and time."""
        return self.work / workers / self.clock


@dataclass
class Simulation(Generic[T]):
    """The loop of a pool (``edgehone.search.workers``) without workers."""

    decider: Decider[T]
    cluster: Cluster
    found: Found = field(default_factory=Found)

    def __post_init__(self) -> None:
        self.queue: TrialQueue[T] = TrialQueue()
        self.rng = np.random.default_rng(self.cluster.seed)
        self.free = self.cluster.workers
        self.events: list[tuple[float, int, int]] = []
        """When, what (one of the three below), and the number of the trial."""

    BACK, LOST, DONE = range(3)

    def run(self) -> Found:
        """To the end of the search."""
        self.found.clock = self.cluster.startup
        while True:
            self.hand_out()
            if not self.events:
                return self.found
            self.found.clock = max(self.found.clock, self.events[0][0])
            while self.events and self.events[0][0] <= self.found.clock:
                self.end(*heapq.heappop(self.events))

    def hand_out(self) -> None:
        """Trials to all that are free: what was lost, then what is new."""
        while self.free:
            if not self.queue.waiting:
                fresh, took = self.decider.ask()
                self.decided(took)
                if fresh is not None:
                    self.queue.add(fresh)
            taken = self.queue.take()
            if taken is None:
                return
            number, trial = taken
            seconds, rate = self.decider.seconds(trial), self.cluster.losses_an_hour / 3600
            lives = float(self.rng.exponential(1 / rate)) if rate else np.inf
            what = self.LOST if lives < seconds else self.DONE
            heapq.heappush(self.events, (self.found.clock + min(seconds, lives), what, number))
            self.free -= 1

    def end(self, at: float, what: int, number: int) -> None:
        """Of a training, or of a worker's absence."""
        if what == self.LOST:
            self.queue.lose(number, "simulated")
            self.found.lost += 1
            heapq.heappush(self.events, (at + self.cluster.startup, self.BACK, number))
            return
        self.free += 1
        if what == self.DONE:
            trial = self.queue.items[number]
            self.queue.finish(number)
            self.found.trials += 1
            self.found.work += self.decider.seconds(trial)
            self.decided(self.decider.tell(trial))

    def decided(self, seconds: float) -> None:
        """Nobody is served meanwhile."""
        self.found.deciding += seconds
        self.found.clock += seconds
