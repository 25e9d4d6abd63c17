"""How much of ideal throughput many workers reach: the real queue of trials, under a virtual clock.

python benchmarks/worker_scaling.py benchmarks/recorded/bccd.jsonl [--trials 10000] [--workers 1,16,64,256]

Reads recorded trainings, one {"seconds": ..., "gflops": ...} a line (the planned cost is optional), and draws so many
trials from them. Ideal is all work divided by the workers. What is lost on the way: the search hands out one trial
after another, a worker takes time to start, the last trials leave others idle, workers are lost in mid-trial (their
trial is run again) and come back. Two ways of searching are shown: without pauses, and with rungs that wait for each
other. Writes ``recorded/scaling/NAME.json``. Exit 1 if the last row of the first way is below 0.9.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from evidence import RECORDED, Row, record, stamp

from edgehone.search.pool import TrialQueue

ENOUGH = 0.9
DISPATCH_MS = 230.0
"""Assumed of every trial: about what `informed` takes on one core to suggest a full training, its dearest (130), and
rung 0 to look at a drawn projection (100, see ``rung_zero.py``)."""

RUNGS = (0.5, 0.25, 0.125, 0.125)
"""Trials on rungs that wait for each other, as shares of all."""


@dataclass(frozen=True)
class Cluster:
    """What keeps workers from working.

    Attributes:
        dispatch: seconds that the search spends on a trial; it serves one worker after another.
        startup: seconds before a worker takes its first trial.
        losses_an_hour: of each worker; it is back after ``startup``.
        seed: of the losses.
    """

    dispatch: float = 0.0
    startup: float = 0.0
    losses_an_hour: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Found:
    """What became of a simulated search."""

    trials: int
    seconds: float
    efficiency: float
    lost: int


def simulate(trials: Sequence[tuple[float, float]], workers: int, cluster: Cluster) -> Found:
    """Run ``(seconds, expected cost)`` through the queue.

    Args:
        trials: as recorded, with what the search expects of each before it runs.
        workers: side by side.
        cluster: with its troubles.
    """
    rng = np.random.default_rng(cluster.seed)
    queue: TrialQueue[int] = TrialQueue([(k, cost) for k, (_, cost) in enumerate(trials)])
    free = [(cluster.startup, worker) for worker in range(workers)]
    busy: list[tuple[float, int, int, bool]] = []
    clock = served = 0.0
    done = lost = 0
    rate = cluster.losses_an_hour / 3600
    while queue:
        if free and queue.waiting and (not busy or free[0][0] <= busy[0][0]):
            at, worker = heapq.heappop(free)
            served = max(served, at) + cluster.dispatch
            taken = queue.take()
            assert taken is not None
            number, item = taken
            seconds = trials[item][0]
            dies = float(rng.exponential(1 / rate)) if rate else np.inf
            heapq.heappush(busy, (served + min(seconds, dies), worker, number, dies < seconds))
            continue
        clock, worker, number, failed = heapq.heappop(busy)
        if failed:
            queue.lose(number, "simulated")
            lost += 1
        else:
            queue.finish(number)
            done += 1
        heapq.heappush(free, (clock + (cluster.startup if failed else 0.0), worker))
    work = sum(seconds for seconds, _ in trials)
    return Found(done, clock, work / workers / clock, lost)


def with_rungs(trials: Sequence[tuple[float, float]], workers: int, cluster: Cluster) -> Found:
    """The same, where each rung waits for the one before."""
    ends = np.cumsum([round(share * len(trials)) for share in RUNGS])
    parts = [list(trials[a:b]) for a, b in zip([0, *ends], ends, strict=False)]
    begun = replace(cluster, startup=0.0)
    found = [simulate(part, workers, begun if k else cluster) for k, part in enumerate(parts) if part]
    seconds = sum(each.seconds for each in found)
    work = sum(duration for duration, _ in trials)
    return Found(
        sum(each.trials for each in found), seconds, work / workers / seconds, sum(each.lost for each in found)
    )


def recorded(path: Path) -> list[tuple[float, float]]:
    """Seconds of each training, and its planned cost where the file holds it: a search knows that beforehand."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [(float(row["seconds"]), float(row.get("gflops", 1.0))) for row in rows]


def main() -> None:
    """Draw, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("durations", type=Path)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", default="1,4,16,64,128,192,256")
    parser.add_argument("--dispatch-ms", type=float, default=DISPATCH_MS, help="of the search, for each trial")
    parser.add_argument("--startup-s", type=float, default=15.0, help="of a worker")
    parser.add_argument("--losses-an-hour", type=float, default=0.02, help="of each worker")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    options = parser.parse_args()
    known = recorded(options.durations)
    rng = np.random.default_rng(options.seed)
    drawn = [known[k] for k in rng.integers(len(known), size=options.trials)]
    cluster = Cluster(options.dispatch_ms / 1000, options.startup_s, options.losses_an_hour, options.seed)
    rows: list[Row] = []
    for count in (int(text) for text in options.workers.split(",")):
        found, stepped = simulate(drawn, count, cluster), with_rungs(drawn, count, cluster)
        rows.append(
            {
                "workers": count,
                "hours": round(found.seconds / 3600, 2),
                "of_ideal": round(found.efficiency, 3),
                "lost": found.lost,
                "with_rungs": round(stepped.efficiency, 3),
            }
        )
    content: Row = {
        "stamp": stamp(),
        "durations": options.durations.name,
        "recorded": len(known),
        "seconds_p5_p50_p95": [round(float(q), 1) for q in np.quantile([s for s, _ in known], [0.05, 0.5, 0.95])],
        "trials": options.trials,
        "dispatch_ms": options.dispatch_ms,
        "startup_s": options.startup_s,
        "losses_an_hour": options.losses_an_hour,
        "seed": options.seed,
        "rows": rows,
    }
    record(options.recorded / "scaling" / f"{options.durations.stem}.json", content)
    print("\n".join(scaling_table(content)))
    raise SystemExit(int(rows[-1]["of_ideal"] < ENOUGH))


def scaling_table(content: Row) -> list[str]:
    """What was simulated, and a row for each number of workers."""
    low, middle, high = content["seconds_p5_p50_p95"]
    lines = [
        f"{content['trials']} trials drawn from {content['recorded']} recorded trainings of {low:.0f} to {high:.0f} s "
        f"(median {middle:.0f}); {content['dispatch_ms']:g} ms to hand out a trial, {content['startup_s']:g} s until a "
        f"worker works, {content['losses_an_hour']:g} losses an hour of each.",
        "",
        "| workers | hours | of ideal | trials lost | of ideal, rungs that wait |",
        "|---|---|---|---|---|",
    ]
    for row in content["rows"]:
        cells = (row["workers"], row["hours"], f"{row['of_ideal']:.3f}", row["lost"], f"{row['with_rungs']:.3f}")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


if __name__ == "__main__":
    main()
