"""How much of ideal throughput do many workers reach? The study of a search under a virtual clock.

python benchmarks/worker_scaling.py DATA [DATA ...] [--workers 16 64 256] [--rounds 40 120] [--dearer 1] [--minutes 60]

First measures what an informed search takes to decide, with its rules, its searcher, rung 0 and its journal on disk: of
a study of :data:`MEASURED` trials, processor time of one thread by kind of trial, of new full trainings in the last
quarter, since they take longer and longer (``--dearer`` shows what comes of that). Then simulates studies as they are
planned for so many workers, with so many trials for each (``--rounds``): the study and the queue of trials are the real
ones; one search serves all workers, one after another, and takes as long as was measured; strategies are drawn at
random; a training takes as long as one drawn from the recorded ones of its length (``recorded/DATA.jsonl``), and scores
what the stand-in of ``surrogate.py`` says. A worker takes time to start; some are lost in mid-trial, which is then run
again, and come back.

Ideal is all work divided by the workers. Not counted: what the network between machines takes. Each piece is recorded
as it ends, in ``recorded/scaling/DATA.json``. Prints how many trials are planned, works for ``--minutes`` and goes on
where it was when it is given again; exit 3 while some are left, 1 if the most workers and rounds that were asked for
reach less than 0.9 on any data set.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from evidence import RECORDED, Row, Slice, SliceOver, record, recorded, stamp, stop
from recorded_trainings import MODEL, RUNGS, STEPS
from replay import root
from surrogate import Surrogate
from trainings import SECONDS_PER_GFLOP, Table
from virtual_cluster import Cluster, Simulation

from edgehone.data import Dataset, read_dataset
from edgehone.preparation import analyse_only
from edgehone.search.journal import Journal
from edgehone.search.plan import Calibration, Plan, make_plan
from edgehone.search.rung_zero import CeilingScreen
from edgehone.search.scope import Given, Scope, declared_space
from edgehone.search.searchers import ADVISED, make_searcher
from edgehone.search.study import Study, Terms, Trial, Worth
from edgehone.space import SearchSpace
from edgehone.strategy import INPUT_SIZES, Strategy

ENOUGH = 0.9
SMALLEST = 1.0
"""GFLOPs of the cheapest picture: so small that every plan is possible."""

MEASURED = (64, 40)
"""Workers and trials for each of them."""

DECISION_S, SIMULATED_S = 0.2, 0.01
"""Of a trial that is decided, and of one that is simulated, on one core of 2026."""

LENGTHS = ("short", "middle", "full")
FRESH = "suggested, full"
LONG_MS = 10.0
"""What takes less is not told one by one."""

TOLD, WAITED = "told", "nothing yet"
"""What a search spends time on beside the kinds of trials."""


@dataclass(frozen=True)
class Stand:
    """One data set: what is drawn from, what rejects, and what answers for trainings."""

    dataset: Dataset
    space: SearchSpace
    surrogate: Surrogate
    durations: dict[float, list[float]]

    @staticmethod
    def of(source: str) -> Stand:
        """With the rules for it."""
        dataset = read_dataset(source)
        table = Table(dataset)
        _, rules = analyse_only(dataset, MODEL, max(INPUT_SIZES))
        durations: dict[float, list[float]] = {share: [] for share in RUNGS}
        for row in table.rows.values():
            durations.get(row["steps"] / STEPS, []).append(float(row["seconds"]))
        space = declared_space(Scope(), rules, Given(weights=False, teacher=False))
        return Stand(dataset, space, Surrogate.of(table), durations)


class SimulatedStudy:
    """A study whose trainings are drawn from recorded ones, and whose decisions take what they took elsewhere."""

    def __init__(self, stand: Stand, study: Study, costs: Mapping[str, float]) -> None:
        self.stand = stand
        self.study = study
        self.costs = costs
        """Milliseconds of each kind."""

    def ask(self) -> tuple[Trial | None, float]:
        """See :class:`virtual_cluster.Decider`."""
        trial = self.study.ask()
        return trial, self.costs[kind_of(trial)] / 1000

    def tell(self, trial: Trial) -> float:
        """See :class:`virtual_cluster.Decider`."""
        self.study.tell([self.worth(trial)])
        return self.costs[TOLD] / 1000

    def worth(self, trial: Trial) -> Worth:
        """What the stand-in says."""
        share, first = RUNGS[trial.rung], root(self.study, trial)
        score = self.stand.surrogate.answers([trial.strategy], share, [first], self.study.terms.seed)[0]
        return Worth(number=trial.number, values=(score,))

    def seconds(self, trial: Trial) -> float:
        """See :class:`virtual_cluster.Decider`."""
        drawn = self.stand.durations[RUNGS[trial.rung]]
        return drawn[int(np.random.default_rng([self.study.terms.seed, trial.number]).integers(len(drawn)))]


class MeasuredStudy(SimulatedStudy):
    """The same with decisions that take what they take here."""

    def __init__(self, stand: Stand, study: Study) -> None:
        super().__init__(stand, study, {})
        self.took: dict[str, list[float]] = {}

    def ask(self) -> tuple[Trial | None, float]:
        """See :class:`virtual_cluster.Decider`."""
        started = time.process_time()
        trial = self.study.ask()
        if len(self.study.trials) % 250 == 0 and trial is not None:
            print(f"  {len(self.study.trials)} trials decided", flush=True)
        return trial, self._note(kind_of(trial), started)

    def tell(self, trial: Trial) -> float:
        """See :class:`virtual_cluster.Decider`."""
        worth = self.worth(trial)
        started = time.process_time()
        self.study.tell([worth])
        return self._note(TOLD, started)

    def _note(self, kind: str, started: float) -> float:
        seconds = time.process_time() - started
        self.took.setdefault(kind, []).append(seconds)
        return seconds

    def means(self) -> dict[str, float]:
        """Milliseconds of each kind; of new full trainings in the last quarter, as those take longer and longer."""
        late = {kind: took[-len(took) // 4 :] if kind == FRESH else took for kind, took in self.took.items()}
        return {kind: round(1000 * float(np.mean(took)), 1) for kind, took in late.items()}


def kind_of(trial: Trial | None) -> str:
    """How it came about and how long it is, for people."""
    return WAITED if trial is None else f"{trial.kind}, {LENGTHS[trial.rung]}"


def plan_of(workers: int, trials: int) -> Plan:
    """The shortest plan, in quarters of an hour, of at least so many trials."""
    calibration = Calibration(
        precision="fp32",
        seconds_per_gflop=SECONDS_PER_GFLOP,
        seconds_per_gflop_by_precision={},
        workers=workers,
        cpu="",
    )
    plans = (make_plan(900.0 * k, 0.0, "off", calibration, SMALLEST) for k in itertools.count(4))
    return next(plan for plan in plans if sum(r.trials + r.varied + r.fresh for r in plan.levels()) >= trials)


def terms_of(searcher: str, cluster: Cluster, rounds: int) -> Terms:
    """Of a study for so many workers."""
    plan = plan_of(cluster.workers, rounds * cluster.workers)
    return Terms(seed=cluster.seed, searcher=searcher, rungs=plan.levels(), repeats=plan.repeats)


def measured(stand: Stand, cluster: Cluster) -> Row:
    """What decisions take."""
    workers, rounds = MEASURED
    terms = terms_of(ADVISED, replace(cluster, workers=workers), rounds)
    screen = CeilingScreen(cast(Strategy, stand.space.preferred()), MODEL, stand.dataset)
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "study.jsonl") as journal:
        study = Study(terms, stand.space, make_searcher(ADVISED, stand.space, terms.seed), journal, screen)
        decider = MeasuredStudy(stand, study)
        found = Simulation(decider, replace(cluster, workers=workers)).run()
        size = journal.path.stat().st_size
    return {
        "stamp": stamp(),
        "trials": found.trials,
        "rejected": len(study.gate.rejected),
        "ms": decider.means(),
        "journal_kb_a_trial": round(size / 1e3 / found.trials, 1),
        "of_ideal": round(found.efficiency(workers), 3),
    }


def simulated(stand: Stand, cluster: Cluster, rounds: int, costs: Mapping[str, float]) -> Row:
    """A search by so many workers, whose decisions take so many milliseconds of each kind."""
    terms = terms_of("random", cluster, rounds)
    study = Study(terms, stand.space, make_searcher("random", stand.space, terms.seed))
    found = Simulation(SimulatedStudy(stand, study, costs), cluster).run()
    return {
        "stamp": stamp(),
        "trials": found.trials,
        "lost": found.lost,
        "hours": round(found.clock / 3600, 2),
        "deciding": round(found.deciding / found.clock, 3),
        "of_ideal": round(found.efficiency(cluster.workers), 3),
    }


def head_of(stand: Stand, given: argparse.Namespace) -> Row:
    """What is the same whatever the workers."""
    full = stand.durations[RUNGS[-1]]
    return {
        "data": stand.dataset.name,
        "recorded": sum(len(each) for each in stand.durations.values()),
        "full_p5_p50_p95_max": [round(float(q), 1) for q in np.quantile(full, [0.05, 0.5, 0.95, 1.0])],
        "startup_s": given.startup_s,
        "losses_an_hour": given.losses_an_hour,
        "seed": given.seed,
    }


def scaling_table(content: Row) -> list[str]:
    """What was measured and simulated, and a row for each number of workers and trials for each."""
    low, middle, high, most = content["full_p5_p50_p95_max"]
    known = content["measured"]
    long = {kind: ms for kind, ms in known["ms"].items() if ms >= LONG_MS}
    costs = ", ".join(f"{ms:.0f} ({kind})" for kind, ms in long.items())
    rest = max(ms for kind, ms in known["ms"].items() if kind not in long)
    lines = [
        f"{content['data']}: durations drawn from {content['recorded']} recorded trainings, full ones of {low:.0f} to "
        f"{high:.0f} s (median {middle:.0f}, longest {most:.0f}); {content['startup_s']:g} s until a worker works, "
        f"{content['losses_an_hour']:g} losses an hour of each. Milliseconds to decide, mean over {known['trials']} "
        f"trials ({known['rejected']} strategies rejected by rung 0): {costs}, else at most {rest:g}; the journal "
        f"grows by {known['journal_kb_a_trial']:g} KB a trial.",
        "",
        "| workers | trials | lost | hours | ms for a new full training | share of the time | of ideal |",
        "|---" * 7 + "|",
    ]
    named = {tuple(float(part) for part in name.split(" x ")): row for name, row in content["rows"].items()}
    for (workers, _, *dearer), row in sorted(named.items()):
        dearest = math.prod(dearer) * known["ms"][FRESH]
        cells = (f"{workers:.0f}", row["trials"], row["lost"], row["hours"], f"{dearest:.0f} | {row['deciding']:.2f}")
        lines.append("| " + " | ".join(map(str, cells)) + f" | {row['of_ideal']:.3f} |")
    return lines


def options() -> argparse.ArgumentParser:
    """Of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--workers", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--rounds", type=int, nargs="+", default=[40, 120], help="trials for each worker")
    parser.add_argument("--dearer", type=float, default=1.0, help="decisions take so many times what was measured")
    parser.add_argument("--startup-s", type=float, default=15.0, help="of a worker")
    parser.add_argument("--losses-an-hour", type=float, default=0.02, help="of each worker")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    parser.add_argument("--minutes", type=float, default=60.0)
    return parser


def pieces(source: str, given: argparse.Namespace, time_left: Slice) -> Row:
    """What is recorded of a data set, and what is left within the slice.

    Raises:
        SliceOver: some is left.
    """
    path = given.recorded / "scaling" / f"{read_dataset(source).name}.json"
    content = recorded(path) or {"rows": {}}
    wanted = {name_of(w, r, given.dearer): (w, r) for w in given.workers for r in given.rounds}
    left = {name: wanted[name] for name in wanted if name not in content["rows"]}
    seconds = sum(w * r for w, r in left.values()) * SIMULATED_S + math.prod(MEASURED) * DECISION_S * (
        "measured" not in content
    )
    print(f"{source}: planned {seconds / 3600:.1f} core-hours", flush=True)
    if not left:
        return content
    stand = Stand.of(source)
    cluster = Cluster(0, given.startup_s, given.losses_an_hour, given.seed)
    content = {**content, **head_of(stand, given)}
    if "measured" not in content:
        time_left.check()
        content["measured"] = measured(stand, cluster)
        record(path, {**content, "stamp": stamp()})
    costs = {kind: given.dearer * ms for kind, ms in content["measured"]["ms"].items()}
    for name, (workers, rounds) in left.items():
        time_left.check()
        content["rows"][name] = simulated(stand, replace(cluster, workers=workers), rounds, costs)
        record(path, {**content, "stamp": stamp()})
        print(f"  {name}: {content['rows'][name]['of_ideal']:.3f} of ideal", flush=True)
    return content


def name_of(workers: int, rounds: int, dearer: float) -> str:
    """Of a row."""
    return f"{workers} x {rounds}" if dearer == 1 else f"{workers} x {rounds} x {dearer:g}"


def main() -> None:
    """Measure, simulate, print."""
    given = options().parse_args()
    torch.set_num_threads(1)
    time_left = Slice(given.minutes)
    try:
        contents = [pieces(source, given, time_left) for source in given.data]
    except SliceOver:
        stop()
    else:
        print("\n\n".join("\n".join(scaling_table(content)) for content in contents))
        most = name_of(max(given.workers), max(given.rounds), given.dearer)
        sys.exit(int(any(content["rows"][most]["of_ideal"] < ENOUGH for content in contents)))


if __name__ == "__main__":
    main()
