"""What a run says of its own progress: it never falls, and at the end nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from edgehone.run_folder import RunFolder
from edgehone.search.objective import NOTHING, Objectives, RecallAtPrecision
from edgehone.search.plan import Calibration, make_plan
from edgehone.search.progress import Monitor, Status, describe
from edgehone.search.sufficiency import LEAST_AP, too_short
from edgehone.search.trial import Outcome, Task, save_outcome
from edgehone.strategy import AUTHORS
from edgehone.training import Job

CALIBRATION = Calibration(
    precision="fp32", seconds_per_gflop=0.02, seconds_per_gflop_by_precision={"fp32": 0.02}, workers=2, cpu="test"
)


def task(name: str, gflops: float) -> Task:
    job = Job(model="yolov4-tiny", strategy=AUTHORS, steps=10, batch_size=4)
    return Task(name=name, rung="short", job=job, gflops=gflops, origin="test")


class TwoAtOnce:
    """Trains two side by side; a training is told as complete before its detector has been judged."""

    count = 2

    def calibrate(self, job: Job) -> float:
        del job
        return 1.0

    def run(self, tasks: Iterable[Task | None], tick: Callable[[dict[str, float]], None]) -> Iterator[Outcome]:
        shares: dict[str, float] = {}
        first, second = (each for each in tasks if each is not None)
        for step in range(1, 11):
            shares |= {first.name: step / 10, second.name: step / 20}
            tick(shares)
        tick(shares)  # the first is being judged
        yield self.outcome(first)
        for step in range(11, 21):
            tick(shares | {second.name: step / 20})
        yield self.outcome(second)

    def outcome(self, each: Task) -> Outcome:
        return Outcome(task=each, status="done", ap=0.1, validation=None, curve=[], seconds=1.0)


def test_progress_never_falls_and_ends_with_nothing_left(tmp_path: Path) -> None:
    said: list[Status] = []
    monitor = Monitor(RunFolder(tmp_path), said.append)
    monitor.follow(make_plan(1800.0, 40.0, "full", CALIBRATION, 1.0), 300.0)
    outcomes = monitor.run(TwoAtOnce(), [task("a", 100.0), task("b", 200.0)])
    assert [outcome.task.name for outcome in outcomes] == ["a", "b"]
    shares = [status.share for status in said]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert any("a, b" in status.message and status.share > 0.6 for status in said), "what is judged still counts"
    monitor.finish("done: report.html")
    assert (said[-1].seconds_left, said[-1].share, said[-1].event) == (0.0, 1.0, True)


def test_of_a_batch_the_longest_begin_first_and_what_is_finished_is_not_run_again(tmp_path: Path) -> None:
    begun: list[str] = []

    class OneByOne(TwoAtOnce):
        def run(self, tasks: Iterable[Task | None], tick: Callable[[dict[str, float]], None]) -> Iterator[Outcome]:
            del tick
            for each in tasks:
                assert each is not None
                begun.append(each.name)
                yield self.outcome(each)

    folder = RunFolder(tmp_path)
    save_outcome(TwoAtOnce().outcome(task("done", 9.0)), folder.trials)
    batch = [task("a", 1.0), task("b", 3.0), task("done", 9.0), task("c", 1.0), task("d", 3.0)]
    outcomes = Monitor(folder, lambda status: None).run(OneByOne(), batch)
    assert begun == ["b", "d", "a", "c"]
    assert [outcome.task.name for outcome in outcomes] == ["a", "b", "done", "c", "d"]


def test_a_trial_is_told_by_what_is_asked_for(tmp_path: Path) -> None:
    aim = Objectives((RecallAtPrecision(0.9),), {})
    curve = {"cell": [1.0] * 51 + [0.0] * 50}
    found = NOTHING.model_copy(update={"ap": 0.31, "precision_recall": curve})
    outcome = TwoAtOnce().outcome(task("short-00", 1.0)).model_copy(update={"ap": 0.31, "validation": found})
    assert "short-00: AP 0.310 on validation" in describe(outcome)
    assert "short-00: recall@precision=0.9 0.500, AP 0.310 on validation" in describe(outcome, aim)


def short(number: int, ap: float) -> Outcome:
    each = task(f"short-{number:02d}", 1.0)
    return TwoAtOnce().outcome(each).model_copy(update={"ap": ap})


def test_short_trainings_that_find_nothing_are_told_once_and_early(tmp_path: Path) -> None:
    said: list[str] = []
    folder = RunFolder(tmp_path)
    monitor = Monitor(folder, lambda status: said.append(status.message))
    plan = make_plan(900.0, 40.0, "full", CALIBRATION, 1.0)
    monitor.follow(plan, 300.0)
    count = plan.rungs[0].trials

    class OneByOne(TwoAtOnce):
        def run(self, tasks: Iterable[Task | None], tick: Callable[[dict[str, float]], None]) -> Iterator[Outcome]:
            del tick
            for each in tasks:
                assert each is not None
                outcome = self.outcome(each).model_copy(update={"ap": 0.004})
                save_outcome(outcome, folder.trials)
                yield outcome

    def warnings() -> int:
        return sum(text.startswith("warning: the budget is too short") for text in said)

    monitor.run(OneByOne(), [task(f"short-{k:02d}", 1.0) for k in range(count - 1)])
    assert warnings() == 0, "the last one may still find something"
    monitor.run(OneByOne(), [task(f"short-{k:02d}", 1.0) for k in range(count - 1, count + 2)])
    assert warnings() == 1


def test_a_budget_is_too_short_only_where_trainings_ended_and_found_nothing() -> None:
    plan = make_plan(900.0, 40.0, "full", CALIBRATION, 1.0)
    nothing = [short(k, 0.001 * k) for k in range(plan.rungs[0].trials)]
    text = too_short(plan, nothing)
    assert text is not None
    assert f"of 10 steps reach AP {0.001 * (len(nothing) - 1):.3f} at most" in text
    assert "--weights" in text
    assert too_short(plan, nothing[1:]) is None, "the rung is not complete"
    assert too_short(plan, [*nothing, short(99, LEAST_AP)]) is None
    diverged = [each.model_copy(update={"status": "diverged"}) for each in nothing]
    assert too_short(plan, diverged) is None, "that is not for want of time"
