"""Are strategies specific? Those found for data sets and models, each trained in the place of every other.

python benchmarks/cross_table.py DATA [DATA ...] --models yolov4-tiny yolo-fastest-1.1-xl.cfg --out OUT [--size 160]
    [--budget 20m] [--steps 400] [--batch 8] [--seeds 0 1 2] [--minutes 60] [further options of `edgehone run`]

A place is a data set and a model. Finds a strategy for each (``edgehone run --proof off`` at one input size, no store)
and trains every found strategy in every place, alike in steps, batch and seeds; anchors are always those of the place.
Prints AP on the test split, and how often the native strategy wins its place, with a 95 % bootstrap interval over
places and seeds. Everything finished is kept in OUT; no new piece is begun after ``--minutes`` (exit 3 while some are
left). One thread for trainings.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from arms import trained

from edgehone.data import read_dataset
from edgehone.files import read_json, write_json
from edgehone.single import evaluate_model
from edgehone.strategy import Strategy, load_strategy
from edgehone.training import Job

UNFINISHED = 3
DRAWS = 4000
Place = tuple[str, str]


def main() -> None:
    """Find, train across, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--budget", default="20m")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=60.0)
    given, options = parser.parse_known_args()
    deadline = time.monotonic() + 60 * given.minutes
    places = [(data, model) for data in given.data for model in given.models]
    pairs = [(found, place, seed) for seed in given.seeds for place in places for found in places]
    print(f"planned: {len(places)} searches of {given.budget} and {len(pairs)} trainings of {given.steps} steps")
    strategies: dict[Place, Strategy] = {}
    for place in places:
        folder = given.out / "found" / name_of(place)
        if not (folder / "results.json").is_file():
            stop_after(deadline)
            search(place, folder, given, options)
        strategies[place] = load_strategy(str(folder / "strategy.json"))
    scores: dict[str, float] = {}
    for found, place, seed in pairs:
        folder = given.out / f"{name_of(found)}-in-{name_of(place)}-{seed}"
        if not (folder / "test.json").is_file():
            stop_after(deadline)
            job = Job(
                model=place[1],
                strategy=strategies[found],
                steps=given.steps,
                batch_size=given.batch,
                seed=seed,
                precision="bf16",
            )
            ap = evaluate_model(trained(place[0], job, folder), read_dataset(place[0]), "test").ap
            write_json(folder / "test.json", {"ap": ap})
        scores[folder.name] = float(read_json(folder / "test.json")["ap"])
    show(places, given.seeds, scores)


def name_of(place: Place) -> str:
    """Of its folders, and in the table."""
    return "+".join(Path(part).name.removesuffix(".cfg") for part in place)


def stop_after(deadline: float) -> None:
    """End the slice between two pieces."""
    if time.monotonic() > deadline:
        print("the slice is over; the same command goes on")
        sys.exit(UNFINISHED)


def search(place: Place, folder: Path, given: argparse.Namespace, options: Sequence[str]) -> None:
    """Find the strategy of a place."""
    edgehone = str(Path(sys.executable).with_name("edgehone"))
    command = [edgehone, "run", place[0], "--model", place[1], "--budget", given.budget, "--proof", "off"]
    fixed = ["--fix", f"input.size={given.size}", "--store", "none", *options, "--out", str(folder)]
    subprocess.run([*command, *fixed], check=True)


def show(places: Sequence[Place], seeds: Sequence[int], scores: Mapping[str, float]) -> None:
    """The table, a row for each place and a column for each strategy, and how often the native one wins."""
    shape = (len(places), len(places), len(seeds))
    table = np.array(
        [[[scores[f"{name_of(f)}-in-{name_of(p)}-{s}"] for s in seeds] for f in places] for p in places]
    ).reshape(shape)
    print("| trained in / found for | " + " | ".join(name_of(place) for place in places) + " |")
    print("|---" * (len(places) + 1) + "|")
    for row, place in enumerate(places):
        print(f"| {name_of(place)} | " + " | ".join(f"{ap:.3f}" for ap in table[row].mean(1)) + " |")
    native = table[np.arange(len(places)), np.arange(len(places))]
    others = ~np.eye(len(places), dtype=bool)
    wins = np.array([native[row] > table[row, others[row]] for row in range(len(places))])  # [places, others, seeds]
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(DRAWS):
        rows, columns = rng.integers(len(places), size=len(places)), rng.integers(len(seeds), size=len(seeds))
        draws.append(wins[rows][:, :, columns].mean())
    low, high = np.quantile(draws, [0.025, 0.975])
    print(f"the native strategy wins {100 * wins.mean():.0f} % of its comparisons [{100 * low:.0f}, {100 * high:.0f}]")


if __name__ == "__main__":
    main()
