"""Where a run stands: stages, work done against the plan, time left; and running tasks under that watch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from edgehone.run_folder import RunFolder
from edgehone.search.objective import AP, Objectives
from edgehone.search.plan import Plan
from edgehone.search.pool import Pool
from edgehone.search.sufficiency import LEAST_AP, too_short
from edgehone.search.trial import Outcome, Task, finished, load_outcome


@dataclass(frozen=True)
class Status:
    """One line of progress.

    Attributes:
        message: what is going on.
        event: something happened that is worth a line of its own.
        seconds: spent on the whole run, over restarts.
        seconds_left: by the plan; None before there is one.
        share: of the planned work, 0..1.
    """

    message: str
    event: bool
    seconds: float
    seconds_left: float | None = None
    share: float = 0.0


Show = Callable[[Status], None]


class Monitor:
    """Runs tasks that are not finished yet and tells how far the run is."""

    def __init__(self, folder: RunFolder, show: Show) -> None:
        self.folder = folder
        self.show = show
        self.plan: Plan | None = None
        self.objectives = AP
        self.total_gflops = 1.0
        self.done_gflops = 0.0
        self.running_gflops: dict[str, float] = {}
        self.settled = False

    def follow(self, plan: Plan, total_gflops: float, objectives: Objectives = AP) -> None:
        """Measure progress against this plan from now on; tell what trainings are worth by the first objective."""
        self.plan, self.total_gflops, self.objectives = plan, total_gflops, objectives
        self.done_gflops = sum(o.task.gflops for o in finished(self.folder.trials).values())

    def say(self, message: str) -> None:
        """Something happened."""
        self.folder.clock.tick()
        self._report(message, event=True)

    def finish(self, message: str) -> None:
        """The last word: nothing is left to do."""
        self.folder.clock.tick()
        self.show(Status(message, True, self.folder.clock.seconds(), 0.0, 1.0))

    def run(self, workers: Pool, tasks: Sequence[Task]) -> list[Outcome]:
        """The outcomes of the tasks, in their order; finished ones are taken from disk, not run again.

        The longest are handed out first, so that none of them begins when the others have ended.
        """
        outcomes = {task.name: known for task in tasks if (known := self.stored(task.name)) is not None}
        missing = sorted((task for task in tasks if task.name not in outcomes), key=lambda task: -task.gflops)
        outcomes |= {outcome.task.name: outcome for outcome in self.flow(workers, missing)}
        return [outcomes[task.name] for task in tasks]

    def flow(self, workers: Pool, tasks: Iterable[Task | None]) -> Iterator[Outcome]:
        """Outcomes as they come, of tasks that are taken one by one; see :meth:`Pool.run`."""
        costs: dict[str, float] = {}  # of what is given out and has no outcome yet

        def noted() -> Iterator[Task | None]:
            for task in tasks:
                if task is not None:
                    costs[task.name] = task.gflops
                yield task

        def tick(shares: dict[str, float]) -> None:
            self.folder.clock.tick()
            self.running_gflops = {name: costs[name] * share for name, share in shares.items() if name in costs}
            self._report("training " + ", ".join(sorted(self.running_gflops)), event=False)

        for outcome in workers.run(noted(), tick):
            self.done_gflops += outcome.task.gflops
            costs.pop(outcome.task.name, None)
            self.running_gflops.pop(outcome.task.name, None)
            self.say(describe(outcome, self.objectives))
            self._warn(outcome)
            yield outcome

    def stored(self, name: str) -> Outcome | None:
        """A trial that is finished."""
        return load_outcome(self.folder.trials, name)

    def _warn(self, latest: Outcome) -> None:
        """Tell early, and once, that the short trainings say nothing."""
        if self.plan is None or self.settled or latest.task.rung != self.plan.rungs[0].name:
            return
        doubt = None if latest.ap >= LEAST_AP else too_short(self.plan, finished(self.folder.trials).values())
        self.settled = latest.ap >= LEAST_AP or doubt is not None
        if doubt is not None:
            self.say(f"warning: {doubt}")

    def _report(self, message: str, *, event: bool) -> None:
        seconds = self.folder.clock.seconds()
        if self.plan is None:
            self.show(Status(message, event, seconds))
            return
        done = self.done_gflops + sum(self.running_gflops.values())
        speed = self.plan.calibration.seconds_per_gflop / self.plan.calibration.workers
        left = max(self.total_gflops - done, 0.0) * speed + self.plan.reserve_s
        self.show(Status(message, event, seconds, left, min(done / self.total_gflops, 1.0)))


@dataclass(frozen=True)
class Bench:
    """Workers under a monitor: what runs trials.

    Attributes:
        monitor: tells how far the run is.
        workers: processes that train.
    """

    monitor: Monitor
    workers: Pool

    def run(self, tasks: Sequence[Task]) -> list[Outcome]:
        """See :meth:`Monitor.run`."""
        return self.monitor.run(self.workers, tasks)

    def flow(self, tasks: Iterable[Task | None]) -> Iterator[Outcome]:
        """See :meth:`Monitor.flow`."""
        return self.monitor.flow(self.workers, tasks)

    def stored(self, name: str) -> Outcome | None:
        """See :meth:`Monitor.stored`."""
        return self.monitor.stored(name)


def describe(outcome: Outcome, objectives: Objectives = AP) -> str:
    """A finished trial in one line."""
    job = outcome.task.job
    if outcome.status != "done":
        return f"{outcome.task.name}: {outcome.status} ({outcome.message.split(';')[0]})"
    parts = job.strategy.projection
    asked = "" if objectives.is_ap else f"{objectives.first.text} {objectives.score(outcome):.3f}, "
    return (
        f"{outcome.task.name}: {asked}AP {outcome.ap:.3f} on validation, {job.strategy.input.size} px, "
        f"{job.steps} steps, {parts.assigner.kind}, {parts.box_loss.kind}, {job.strategy.optimisation.optimizer.kind}, "
        f"{outcome.seconds:.0f} s"
    )
