"""A strategy goes up a rung: is it better trained anew, or on from what it has learnt, at equal total compute?

python benchmarks/continue_or_restart.py DATA [DATA ...] [--steps 180] [--minutes 60]

Three strategies that the recorded trainings would promote (:data:`TRIALS`), some seeds each, at 160 px, bf16, one
thread. All arms spend the same: a sixth, a third and a whole training, one after another.

    anew       each stage starts afresh; what counts is the last (as searches do)
    continued  each stage, with its whole schedule, starts from the weights that the stage before left
    at once    one training as long as the three together: what a trial would reach that is only ever paused

Prints the core-hours that are planned, works for ``--minutes`` and goes on where it was when it is given again; exit 3
while trainings are left. AP is on validation. Each training is a line of ``recorded/continue/DATA.jsonl`` and is not
repeated; the weights that a stage goes on from lie in ``--weights``, and where they are lost with that folder, stages
are trained again only if the next one is not recorded.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evidence import RECORDED, Row, Slice, SliceOver, over, points, stamp, stop
from recorded_trainings import BATCH, MODEL, drawn
from trainings import Table, read_rows

from edgehone.data import read_dataset
from edgehone.search.plan import MIDDLE, SHORT
from edgehone.training import Job, StartWeights
from edgehone.training.device import device_here

TRIALS = (2, 3, 17)
"""The best of the recorded short trainings of bccd; trials 2 and 17 are among the best five of cards-640 as well."""

STAGES = (SHORT, MIDDLE, 1.0)
ARMS = ("anew", "continued", "at once")


STUDY = "continue"


@dataclass(frozen=True)
class Cell:
    """One strategy with one seed on one data set."""

    table: Table
    trial: int
    seed: int
    steps: int
    weights: Path
    device: str = "cpu"

    def job(self, share: float, start: Path | None = None) -> Job:
        """A training of a share of the full length."""
        weights = None if start is None else StartWeights.of(str(start))
        steps = round(self.steps * share)
        return Job(
            model=MODEL, strategy=drawn(self.trial), steps=steps, batch_size=BATCH, seed=self.seed, precision="bf16",
            weights=weights, device=self.device,
        )  # fmt: skip

    def train(self) -> dict[str, float]:
        """AP of each arm at the end of its last training."""
        labels = {"study": STUDY, "trial": self.trial, "stamp": stamp()}
        found = {"continued": self.continued(labels)}
        found["anew"] = self.table.trained(self.job(1.0), arm="anew", **labels)["ap"]
        found["at once"] = self.table.trained(self.job(sum(STAGES)), arm="at once", **labels)["ap"]
        return found

    def continued(self, labels: Row) -> float:
        """AP after the last stage; the stages before it are wanted only where it is not recorded."""
        last = self.stage(len(STAGES) - 1)
        start: Path | None = None
        for stage, share in enumerate(STAGES if last is None else ()):
            kept = self.weights / f"{self.table.dataset.name}-{self.trial}-{self.seed}-{stage}.pt"
            last = self.table.trained(self.job(share, start), keep=kept, arm="continued", stage=stage, **labels)
            start = kept
        assert last is not None
        return float(last["ap"])

    def stage(self, stage: int) -> Row | None:
        """The recorded row of a stage, whatever weights it started from."""
        wanted = ("continued", stage, self.trial, self.seed, round(self.steps * STAGES[stage]))
        rows = [row for row in self.table.rows.values() if row.get("study") == STUDY]
        return next(
            (
                row
                for row in rows
                if tuple(row.get(key) for key in ("arm", "stage", "trial", "seed", "steps")) == wanted
            ),
            None,
        )

    def planned(self) -> Iterator[Job]:
        """What is left; stages that continue are planned as if they did not, which costs the same."""
        if self.stage(len(STAGES) - 1) is None:
            yield from (self.job(share) for share in STAGES[:-1])
        yield from (job for job in (self.job(1.0), self.job(sum(STAGES))) if not self.table.has(job))


def continue_table(folder: Path) -> list[str]:
    """Mean AP of each arm over complete cells, and what it gains over training anew; for each set and for all."""
    cells = {path.stem: cells_of(read_rows(path)) for path in sorted(folder.glob("*.jsonl"))}
    every = [cell for found in cells.values() for cell in found]
    if not every:
        return []
    lines = ["| data | cells | " + " | ".join(f"{arm}" for arm in ARMS) + " |", "|---" * (len(ARMS) + 2) + "|"]
    for name, found in (*cells.items(), ("all", every)):
        if found:
            lines.append(f"| {name} | {len(found)} | " + " | ".join(cell_text(found, arm) for arm in ARMS) + " |")
    return lines


def cells_of(rows: Sequence[Row]) -> list[dict[str, float]]:
    """AP of each arm, of cells whose arms are all recorded."""
    found: dict[tuple[int, int, int], dict[str, float]] = {}
    for row in rows:
        ended = row["arm"] != "continued" or row["stage"] == len(STAGES) - 1
        full = round(row["steps"] / sum(STAGES)) if row["arm"] == "at once" else row["steps"]
        if ended:
            found.setdefault((row["trial"], row["seed"], full), {})[row["arm"]] = row["ap"]
    return [cell for cell in found.values() if set(cell) == set(ARMS)]


def cell_text(cells: Sequence[dict[str, float]], arm: str) -> str:
    """Mean AP; against training anew, with its interval over cells (Student's t)."""
    mean = statistics.fmean(cell[arm] for cell in cells)
    if arm == ARMS[0]:
        return f"{mean:.3f}"
    gains = [cell[arm] - cell[ARMS[0]] for cell in cells]
    return f"{mean:.3f}, {points(*over(gains))}, better in {sum(gain > 0 for gain in gains)} of {len(gains)}"


def main() -> None:
    """Do what is left within the slice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    parser.add_argument("--weights", type=Path, default=Path("runs/continue"), help="of stages; may be lost")
    parser.add_argument("--steps", type=int, default=180, help="of a full training")
    parser.add_argument("--trials", type=int, nargs="+", default=list(TRIALS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--minutes", type=float, default=60.0)
    given = parser.parse_args()
    folder, end, device = given.recorded / "continue", Slice(given.minutes).end, device_here(given.device)
    tables = [Table(read_dataset(source), folder, end) for source in given.data]
    cells = [
        Cell(table, trial, seed, given.steps, given.weights, device)
        for seed in range(given.seeds)
        for trial in given.trials
        for table in tables
    ]
    left = sum(cell.table.hours(list(cell.planned())) for cell in cells)
    print(f"planned: {left:.2f} core-hours", flush=True)
    try:
        for cell in cells:
            print(f"{cell.table.dataset.name} trial {cell.trial} seed {cell.seed}: {cell.train()}", flush=True)
    except SliceOver:
        stop()
    print("\n".join(continue_table(folder)))


if __name__ == "__main__":
    main()
