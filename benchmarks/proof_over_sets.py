"""The whole job on several data sets, against the presets and the authors' evolution; and its table.

python benchmarks/proof_over_sets.py DATA [DATA ...] [--budget 30m] [--seeds 0] [--final-seeds 0 1 2] [--minutes 60]
    [--arms random full-evolution blind] [--final-size 416 --final-epochs 300]
    [--model CFG --weights FILE] [further options of `edgehone run`]

1. ``edgehone run DATA --compare evolution --leave-out NAME`` for every data set and seed, so that nothing that was
   learnt on the very set counts there; whether that is so is read from the run's advice.
2. ``--arms``: further searches under that run's very plan, by random draws, by evolution over the full space, or blind.
   Where it trains new strategies in full at once, from four hours on, so do they.
3. ``--final-seeds``: the final strategy of every arm trained again from scratch with further seeds, for the same steps
   and batch; 0 is the run's own training. With ``--final-size`` and ``--final-epochs`` all of them are trained, at that
   input and for so many passes over the training split, whatever a search bought; in batches of the strategy's own
   size, or smaller ones where a run of that length would take them.

With ``--weights`` all trainings start from them: those of the presets, of every search and the final ones.

Everything is judged on the test split and recorded piece by piece in ``recorded/proof/NAME-BUDGET-SEED.json``, of
another model in ``NAME-MODEL-BUDGET-SEED.json`` (see ``proof_record.py``); what is recorded is not made again, even
where the run's folder in OUT is gone. Prints the core-hours that are planned, works for ``--minutes`` and goes on where
it was when it is given again; exit 3 while something is left. Searches are interrupted in the midst and resume; so do
final trainings. The table is in ``docs/results.md`` as well (``results_page.py``).
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evidence import DEFAULT_MODEL, RECORDED, Row, Slice, SliceOver, of_model, record, recorded, stamp, stop
from final_trainings import Final, side_by_side
from proof_record import OWN, final_job, run_record, search_row
from proof_table import ARMS, FURTHER, length_name, proof_table

from edgehone.cli import parse_duration
from edgehone.data import Dataset, read_dataset
from edgehone.files import read_json, write_json
from edgehone.pipeline import FOUND, search
from edgehone.request import Request
from edgehone.search.likeness import Identity
from edgehone.search.placement import WORKERS
from edgehone.search.plan import Plan
from edgehone.search.progress import Status
from edgehone.space import load, replace
from edgehone.training import Job, StartWeights
from edgehone.training.device import device_here

NOT_IN_FINALS = ("--teacher", "--merge", "--drop", "--ignore", "--format")
"""Options of `edgehone run` that change what is trained, and that a proof does not pass on."""

CHANGES = {
    "random": {"scope.searcher": "random"},
    "full-evolution": {"scope.searcher": "evolution"},
    "blind": {"scope.blind": True},
}
"""What a further search asks for, other than the run."""


@dataclass(frozen=True)
class Proof:
    """One data set with one seed.

    Attributes:
        given: the options.
        more: options of the run.
        source: of the data.
        dataset: it.
        seed: of the search.
        time: of this slice.
    """

    given: argparse.Namespace
    more: Sequence[str]
    source: str
    dataset: Dataset
    seed: int
    time: Slice

    @property
    def name(self) -> str:
        """Of the data set, as advice knows it."""
        return Identity.of(self.dataset).name

    @property
    def stem(self) -> str:
        """Of folder and file."""
        return f"{self.name}{of_model(self.given.model)}-{self.given.budget}-{self.seed}"

    @property
    def path(self) -> Path:
        """Of what is recorded."""
        return self.given.recorded / "proof" / f"{self.stem}.json"

    @property
    def record(self) -> Row | None:
        """What is recorded, if anything is; ends the script where that began with other weights."""
        known = recorded(self.path)
        if known is not None and known["request"].get("weights") != self.began:
            raise SystemExit(f"{self.path}: began with {known['request'].get('weights')}, not {self.began}")
        return known

    @property
    def began(self) -> str | None:
        """Name of the file of the weights that all trainings start from."""
        return None if self.given.weights is None else Path(self.given.weights).name

    def run(self) -> None:
        """The whole job, unless it is recorded."""
        if self.record is not None:
            return
        folder = self.given.out / self.stem
        refuse_another(folder, self.name, self.began)
        if not (folder / "results.json").is_file():
            print(f"{self.stem}: the run", flush=True)
            words = ["run", self.source, "--model", self.given.model, "--budget", self.given.budget]
            words += ["--seed", str(self.seed), "--compare", "evolution", "--store", "none"]
            words += ["--leave-out", self.name, "--device", self.given.device]
            words += ["--weights", self.given.weights] if self.given.weights is not None else []
            self.time.edgehone([*words, *self.more, "--out", str(folder)])
        record(self.path, run_record(folder, self.name, self.dataset))

    def further(self, arm: str) -> None:
        """A further search under the run's plan, unless it is recorded."""
        known = self.record
        if known is None or arm in known["arms"]:
            return
        self.time.check()
        print(f"{self.stem}: {arm}", flush=True)
        folder = self.given.out / f"{self.stem}-{arm}"
        request = self.request_of(known, arm)
        if not (folder / "request.json").is_file():
            plan = load(Plan, known["plan"]).model_copy(update={"proof": "off"})
            write_json(folder / "plan.json", plan.model_dump(mode="json"))
            write_json(folder / "request.json", request.model_dump(mode="json"))
        if not (folder / FOUND).is_file():
            search(request, folder, self.show)
        known["arms"][arm] = search_row(folder, self.dataset)
        record(self.path, known)

    def request_of(self, known: Row, arm: str) -> Request:
        """The request of a further search: the run's, found another way, and without a proof."""
        here = {"data": self.source, "model": self.given.model, "weights": self.given.weights}
        here |= {"proof": "off", "compare": None, "store": "none"}
        changes = {path: value for path, value in known["request"].items() if path not in here}
        plain = Request(data=self.source, budget_s=known["budget_s"])
        return replace(plain, {**changes, **here, **CHANGES[arm]})

    def show(self, status: Status) -> None:
        """Told of every step of a further search."""
        self.time.check()
        if status.event:
            print(f"  {status.message}", flush=True)

    def length(self) -> tuple[int, int, int] | None:
        """Of the final trainings: size, epochs and pictures of an epoch; None as the search's budget bought."""
        size, epochs = self.given.final_size, self.given.final_epochs
        return None if size is None else (size, epochs, len(self.dataset.train))

    def left(self) -> Iterator[tuple[str, int]]:
        """Arms and seeds whose final training is not recorded."""
        known = self.record
        label = length_name(self.given.final_size, self.given.final_epochs)
        for seed, arm in itertools.product(self.given.final_seeds, ARMS if known is not None else ()):
            row = known and known["arms"].get(arm)
            if row and (label, seed) not in {(each["length"], each["seed"]) for each in row["trainings"]}:
                yield arm, seed

    def final(self, arm: str, seed: int) -> Final:
        """A final training."""
        known = self.record
        assert known is not None
        job = final_job(known, arm, seed, self.length(), self.given.model)
        weights = None if self.given.weights is None else StartWeights.of(self.given.weights)
        job = job.model_copy(update={"device": device_here(self.given.device), "weights": weights})
        return Final(self.source, job, self.given.out / "finals", self.time.end)

    def add(self, arm: str, seed: int, final: Final, row: Row) -> None:
        """Record a final training."""
        known = self.record
        assert known is not None
        label = length_name(self.given.final_size, self.given.final_epochs)
        job = final.job
        made = {"length": label, "seed": seed, **row, "stamp": stamp()}
        if label != OWN:
            made |= {"steps": job.steps, "batch": job.batch_size, "device": job.device}
        trainings = [*known["arms"][arm]["trainings"], made]
        known["arms"][arm]["trainings"] = sorted(trainings, key=lambda each: (each["length"] != OWN, each["seed"]))
        record(self.path, known)

    def hours(self) -> float:
        """Core-hours that are left, at most; final trainings of what is not found yet are not counted."""
        known = self.record
        if known is None:
            return 2 * parse_duration(self.given.budget) * WORKERS / 3600  # the evolution is outside the budget
        found = known["arms"]["found"]
        searches = sum(found["search_core_s"] for arm in self.given.arms if arm not in known["arms"])
        finals = 0.0
        for arm, seed in self.left():
            row = known["arms"][arm]
            longer, own = (final_job(known, arm, seed, length, self.given.model) for length in (self.length(), None))
            finals += row["trainings"][0]["seconds"] * shown(longer) / shown(own)
        return (searches + finals) / 3600


def shown(job: Job) -> float:
    """Pixels that a training shows."""
    return float(job.steps) * job.batch_size * job.strategy.input.size**2


def refuse_another(folder: Path, name: str, began: str | None) -> None:
    """End where a folder holds a run that did not leave its data set out, or that began with other weights."""
    if not (folder / "request.json").is_file():
        return
    request = read_json(folder / "request.json")
    left_out, weights = request.get("scope", {}).get("leave_out", []), request.get("weights")
    if (weights and Path(weights).name) != began:
        raise SystemExit(f"{folder} holds a run that began with {weights}, not {began}; give another --out")
    if left_out != [name]:
        raise SystemExit(
            f"{folder} holds a run that left out {left_out or 'nothing'} instead of {name}; give another --out"
        )


def work(proofs: Sequence[Proof], given: argparse.Namespace) -> None:
    """Everything that is left, the runs first.

    Raises:
        SliceOver: the time is used up.
    """
    for proof in proofs:
        proof.run()
    for arm, proof in itertools.product(given.arms, proofs):
        proof.further(arm)
    finals: dict[Final, list[tuple[Proof, str, int]]] = {}  # two arms may have come to the same strategy
    for proof in proofs:
        for arm, seed in proof.left():
            finals.setdefault(proof.final(arm, seed), []).append((proof, arm, seed))
    by_seed = sorted(finals, key=lambda final: finals[final][0][2])
    for final, row in side_by_side(by_seed, given.workers):
        for proof, arm, seed in finals[final]:
            proof.add(arm, seed, final, row)
            print(f"{proof.stem}: {arm}, seed {seed}: AP {row['ap']:.3f} ({row['seconds']:.0f} s)", flush=True)


def options() -> argparse.ArgumentParser:
    """Of this script; all others are those of the run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--out", type=Path, default=Path("runs/proof"), help="folders of runs; may be lost")
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--weights", help="to start from; default: none")
    parser.add_argument("--budget", default="30m")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of searches")
    parser.add_argument("--final-seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--final-size", type=int, help="input of the final trainings; default: the strategy's own")
    parser.add_argument("--final-epochs", type=int, default=300, help="with --final-size")
    parser.add_argument("--arms", nargs="+", default=[], choices=FURTHER)
    parser.add_argument("--workers", type=int, default=WORKERS, help="final trainings side by side")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--minutes", type=float, default=60.0)
    return parser


def main() -> None:
    """Do what is left within the slice, then print the table."""
    given, more = options().parse_known_args()
    if refused := [word for word in more if word.partition("=")[0] in NOT_IN_FINALS]:
        options().error(f"final trainings would not know of {', '.join(refused)}: prepare the data or model beforehand")
    time, datasets = Slice(given.minutes), {source: read_dataset(source) for source in given.data}
    proofs = [Proof(given, more, source, datasets[source], seed, time) for seed in given.seeds for source in given.data]
    runs = sum(proof.record is None for proof in proofs)
    print(f"planned: at most {sum(proof.hours() for proof in proofs):.1f} core-hours, {runs} runs to begin or end")
    try:
        work(proofs, given)
    except SliceOver:
        stop(f"(left: at most {sum(proof.hours() for proof in proofs):.1f} core-hours)")
    records = [found for proof in proofs if (found := proof.record) is not None]
    print("\n".join(proof_table(records, length_name(given.final_size, given.final_epochs))))


if __name__ == "__main__":
    main()
