"""Are strategies specific? Those found for data sets and models, each trained in the place of every other.

python benchmarks/cross_table.py DATA [DATA ...] --models yolov4-tiny yolo-fastest-1.1-xl.cfg
    [--weights none yolo-fastest-1.1-xl.weights] [--size 160] [--budget 20m] [--steps 400] [--batch 8] [--seeds 0 1 2]
    [--minutes 60] [further options of `edgehone run`]

A place is a data set and a model. Finds a strategy for each (``edgehone run --proof off`` at one input size, no store,
without what was learnt on any data set of the table: else foreign strategies would know what native ones may not) and
trains every found strategy in every place, alike in steps, batch and seeds; anchors are always those of the place.
Scores are AP on the test split. How often the native strategy wins its place, and by how much, is
said with 95 % intervals; a win by less than the noise between seeds is counted apart (``cross_wins.py``). A model may
start from weights, in searches and trainings alike: a network of many thin layers learns too little afresh in so few
steps to tell strategies apart.

Strategies and scores are recorded one by one in ``recorded/cross/SIZEpx-BUDGET-STEPSxBATCH.json``, to which later
places and seeds are added; what is there is not made again. Prints the core-hours that are planned, works for
``--minutes``, interrupts searches in the midst, which resume, and goes on where it was when it is given again; exit 3
while something is left. Trainings have one thread.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cross_wins import cross_table
from evidence import RECORDED, Row, Slice, SliceOver, changed, record, recorded, restored, stamp, stop
from final_trainings import Final, side_by_side
from proof_record import provenance

from edgehone.cli import parse_duration
from edgehone.data import read_dataset
from edgehone.files import read_json
from edgehone.results import Results
from edgehone.search.likeness import Identity
from edgehone.search.placement import WORKERS
from edgehone.space import load
from edgehone.training import Job, StartWeights
from edgehone.training.device import device_here


@dataclass(frozen=True)
class Place:
    """A data set and a model, and the weights that it starts from, if any."""

    source: str
    data: str
    model: str
    weights: str | None

    @property
    def name(self) -> str:
        """In the table."""
        return f"{self.data}+{Path(self.model).name.removesuffix('.cfg')}"

    @property
    def began(self) -> str | None:
        """Name of the weights' file."""
        return None if self.weights is None else Path(self.weights).name


@dataclass(frozen=True)
class Cross:
    """All places.

    Attributes:
        given: the options.
        more: options of the searches.
        places: of the table.
        time: of this slice.
    """

    given: argparse.Namespace
    more: Sequence[str]
    places: Sequence[Place]
    time: Slice

    @property
    def path(self) -> Path:
        """Of what is recorded."""
        given = self.given
        return given.recorded / "cross" / f"{given.size}px-{given.budget}-{given.steps}x{given.batch}.json"

    def known(self) -> Row:
        """What is recorded."""
        return recorded(self.path) or {
            "size": self.given.size,
            "budget_s": parse_duration(self.given.budget),
            "steps": self.given.steps,
            "batch": self.given.batch,
            "found": {},
            "scores": {},
        }

    def add(self, kind: str, name: str, row: Row) -> None:
        """Record a strategy or a score."""
        known = self.known()
        known[kind][name] = row
        record(self.path, {**known, "stamp": stamp()})

    @property
    def data(self) -> list[str]:
        """Every data set of the table, once."""
        return list(dict.fromkeys(place.data for place in self.places))

    def find(self, place: Place) -> None:
        """The strategy of a place, unless it is recorded; ends the script where that began with other weights."""
        known = self.known()["found"].get(place.name)
        if known is not None:
            if known["weights"] != place.began:
                sys.exit(f"{self.path}: {place.name} began with {known['weights']}, not {place.began}")
            return
        folder = self.given.out / "found" / place.name
        print(place.name, flush=True)
        words = ["run", place.source, "--model", place.model, "--budget", self.given.budget, "--proof", "off"]
        words += ["--weights", place.weights] if place.weights is not None else []
        words += ["--fix", f"input.size={self.given.size}", "--store", "none"]
        words += [word for name in self.data for word in ("--leave-out", name)]
        self.time.edgehone([*words, "--device", self.given.device, *self.more, "--out", str(folder)])
        results = load(Results, read_json(folder / "results.json"))
        row = {
            "strategy": changed(results.found.strategy),
            "weights": place.began,
            "options": " ".join(self.more),
            "seconds": results.seconds,
            "hardware": results.hardware,
            "advice": provenance(folder, *self.data),
        }
        self.add("found", place.name, {**row, "stamp": stamp()})

    def left(self) -> Iterator[tuple[str, Place, int]]:
        """Strategies, places and seeds whose score is not recorded."""
        scores = self.known()["scores"]
        for seed in self.given.seeds:
            for place in self.places:
                for found in self.places:
                    if f"{found.name} in {place.name}, {seed}" not in scores:
                        yield found.name, place, seed

    def final(self, found: str, place: Place, seed: int) -> Final:
        """A training of a strategy in a place."""
        given = self.given
        job = Job(
            model=place.model,
            strategy=restored(self.known()["found"][found]["strategy"]),
            steps=given.steps,
            batch_size=given.batch,
            seed=seed,
            precision="bf16",
            device=device_here(given.device),
            weights=None if place.weights is None else StartWeights.of(place.weights),
        )
        return Final(place.source, job, given.out / "states", self.time.end)

    def train(self) -> None:
        """Every strategy in every place.

        Raises:
            SliceOver: some are left.
        """
        names = {self.final(*each): each for each in self.left()}
        for final, row in side_by_side(names, self.given.workers):
            found, place, seed = names[final]
            self.add("scores", f"{found} in {place.name}, {seed}", {**row, "stamp": stamp()})
            print(f"{found} in {place.name}, seed {seed}: AP {row['ap']:.3f} ({row['seconds']:.0f} s)", flush=True)

    def hours(self) -> float:
        """Core-hours that are left: searches by their budget, trainings as long as those that are recorded."""
        known = self.known()
        searches = sum(place.name not in known["found"] for place in self.places) * WORKERS * known["budget_s"]
        took = [row["seconds"] for row in known["scores"].values()] or [self.given.steps * USUAL_STEP_S]
        return (searches + len(list(self.left())) * sum(took) / len(took)) / 3600


USUAL_STEP_S = 0.15
"""Of a step of 8 pictures at 160 px on one core, until a training is recorded."""


def options() -> argparse.ArgumentParser:
    """Of this script; all others are those of the searches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--weights", nargs="+", metavar="FILE", help="of each model, or none")
    parser.add_argument("--out", type=Path, default=Path("runs/cross"), help="folders of searches; may be lost")
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--budget", default="20m")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=WORKERS, help="trainings side by side")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--minutes", type=float, default=60.0)
    return parser


def main() -> None:
    """Find, train across, and print the table."""
    given, more = options().parse_known_args()
    begun = [None if each == "none" else each for each in given.weights or ["none"] * len(given.models)]
    if len(begun) != len(given.models):
        raise SystemExit(f"--weights names one file a model, or none; got {len(begun)} for {len(given.models)} models")
    names = {source: Identity.of(read_dataset(source)).name for source in given.data}
    models = list(zip(given.models, begun, strict=True))
    places = [Place(source, names[source], *model) for source in given.data for model in models]
    cross = Cross(given, more, places, Slice(given.minutes))
    print(f"planned: {cross.hours():.1f} core-hours", flush=True)
    try:
        for place in places:
            cross.find(place)
        cross.train()
    except SliceOver:
        stop(f"(left: {cross.hours():.1f} core-hours)")
    print("\n".join(cross_table(cross.known())))


if __name__ == "__main__":
    main()
