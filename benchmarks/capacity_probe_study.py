"""Does the capacity probe rank strengths of augmentation and widths of the network as full training does?

python benchmarks/capacity_probe_study.py DATA [DATA ...] [--seeds 0 1] [--steps 1000] [--minutes 60] [--plot FILE.svg]

For each data set, seed and width: one probe of four strengths, and a training of ``--steps`` steps with each of them,
judged by AP on the validation split. Trainings go into the shared table (``recorded/DATA.jsonl``), rungs of the probe
into ``recorded/probes``; the command prints the core-hours that are left, works for ``--minutes``, ends, and goes on
when it is given again (exit 3 while something is left). Prints Kendall's tau between the probe's F1 and the AP, with a
95 % interval over the groups that are ranked. One thread.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau
from trainings import RECORDED, SECONDS_PER_GFLOP, SliceOver, Table

from edgehone.analysis.capacity_ladder import probe_strategy
from edgehone.analysis.capacity_probe import LADDERS, ProbePlan, probe_pictures, run_probe
from edgehone.data import read_dataset
from edgehone.training import Job, image_flops

WIDTHS = (0.25, 0.5, 1.0)
STRENGTHS = LADDERS[0]
INPUT, BATCH = 160, 8
PROBE_STEPS, PROBE_BATCH = 200, 8
DRAWS = 2000
UNFINISHED = 3

Row = dict[str, Any]


def main() -> None:
    """Do what is left within the slice, then print what is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=RECORDED)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    deadline = time.monotonic() + 60 * given.minutes
    tables = [Table(read_dataset(source), given.out, deadline) for source in given.data]
    groups = list(itertools.product(given.seeds, WIDTHS, tables))
    print(f"planned: {sum(hours(t, s, w, given.steps) for s, w, t in groups):.1f} core-hours", flush=True)
    rows: list[Row] = []
    try:
        for seed, width, table in groups:
            rows += one_group(table, seed, width, given.steps, deadline)
    except SliceOver:
        print(f"left: {sum(hours(t, s, w, given.steps) for s, w, t in groups):.1f} core-hours")
    show(rows)
    if given.plot:
        plot(rows, given.plot)
    if len(rows) < len(groups) * len(STRENGTHS):
        sys.exit(UNFINISHED)


def model_of(width: float) -> str:
    """Name of the architecture."""
    return "yolov4-tiny" if width == 1 else f"yolov4-tiny@width={width}"


def probe_plan(table: Table, seed: int, width: float) -> ProbePlan:
    """The probe of a group."""
    pictures = len(probe_pictures(table.dataset.train, seed))
    return ProbePlan(
        model=model_of(width),
        strengths=STRENGTHS,
        steps=PROBE_STEPS,
        batch_size=min(PROBE_BATCH, pictures),
        pictures=pictures,
        input_size=INPUT,
        precision="bf16",
        seed=seed,
        seconds=0.0,
    )


def full_jobs(table: Table, seed: int, width: float, steps: int) -> list[Job]:
    """The same strategies as the probe's, trained long on all pictures."""
    classes = len(table.dataset.class_names)
    strategies = [probe_strategy(INPUT, classes, strength) for strength in STRENGTHS]
    return [
        Job(model=model_of(width), strategy=s, steps=steps, batch_size=BATCH, seed=seed, precision="bf16")
        for s in strategies
    ]


def hours(table: Table, seed: int, width: float, steps: int) -> float:
    """Core-hours that a group still needs; its probe counts until its trainings are done."""
    left = table.hours(full_jobs(table, seed, width, steps))
    cost = image_flops(model_of(width), len(table.dataset.class_names), INPUT) / 1e9
    probe = len(STRENGTHS) * PROBE_STEPS * PROBE_BATCH * cost * SECONDS_PER_GFLOP / 3600
    return left + (probe if left else 0.0)


def one_group(table: Table, seed: int, width: float, steps: int, deadline: float) -> list[Row]:
    """Probe and train one width with every strength."""
    dataset = table.dataset
    plan = probe_plan(table, seed, width)
    folder = table.path.parent / "probes"
    found = run_probe(plan, dataset.class_names, dataset.train, deadline=deadline, folder=folder)
    if len(found.rungs) < len(STRENGTHS):
        raise SliceOver
    rows: list[Row] = []
    for rung, job in zip(found.rungs, full_jobs(table, seed, width, steps), strict=True):
        full = table.trained(job, study="probe", width=width, strength=rung.strength)
        rows.append(
            {"data": dataset.name, "seed": seed, "width": width, "strength": rung.strength, "f1": rung.f1}
            | {"ap": full["ap"]}
        )
        print(f"{dataset.name} seed {seed} width {width} strength {rung.strength}: {rung.f1:.3f} {full['ap']:.3f}")
    return rows


def ranked(rows: Sequence[Row], along: str) -> Iterator[float]:
    """Kendall's tau of every group of rows that differ in ``along`` alone; of a whole data set and seed for ''."""
    fixed = [key for key in ("data", "seed", "width", "strength") if along and key != along] or ["data", "seed"]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in fixed), []).append(row)
    for group in groups.values():
        tau = float(kendalltau([row["f1"] for row in group], [row["ap"] for row in group])[0])
        if np.isfinite(tau):
            yield tau


def show(rows: Sequence[Row]) -> None:
    """The table and the rank correlations."""
    for seed, data in sorted({(row["seed"], row["data"]) for row in rows}):
        for width in WIDTHS:
            mine = [r for r in rows if (r["seed"], r["data"], r["width"]) == (seed, data, width)]
            shares, aps = (" ".join(f"{row[key]:.3f}" for row in mine) for key in ("f1", "ap"))
            print(f"| {data} | {seed} | {width} | {shares} | {aps} |")
    for along in ("strength", "width", ""):
        taus = np.array(list(ranked(rows, along)))
        if len(taus) > 1:
            rng = np.random.default_rng(0)
            means = taus[rng.integers(len(taus), size=(DRAWS, len(taus)))].mean(axis=1)
            low, high = np.quantile(means, [0.025, 0.975])
            name = along or "both"
            print(f"{name}: Kendall's tau {taus.mean():.2f} [{low:.2f}, {high:.2f}] over {len(taus)} rankings")


def plot(rows: Sequence[Row], path: Path) -> None:
    """F1 of the probe against AP of the full training."""
    import altair as alt
    import vl_convert

    values = [{**row, "group": f"{row['data']}, seed {row['seed']}", "width": str(row["width"])} for row in rows]
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_point(filled=True, size=60)
        .encode(
            x=alt.X("f1:Q", title="F1 of the probe"),
            y=alt.Y("ap:Q", title="AP of the full training, validation"),
            color=alt.Color("strength:O", title="augmentation"),
            shape=alt.Shape("width:N", title="width"),
            column=alt.Column("group:N", title=None),
        )
        .properties(width=180, height=180)
    )
    path.write_text(vl_convert.vegalite_to_svg(chart.to_dict()), encoding="utf-8")


if __name__ == "__main__":
    main()
