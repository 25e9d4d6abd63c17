"""What does more capacity in training cost? Processor time of a step in each form, beside what the plan counts.

    python benchmarks/training_forms.py [MODEL ...] [--size 160] [--precision bf16] [--rounds 8]

Takes one step of each form in turn, so that a busy machine slows all of them alike; prints the median over rounds of
time over that of the plain form, what `CapacityPlan.time_ratio` says, and the ratio of FLOPs. One thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import closing
from typing import Any

import torch

from edgehone.batches import BatchSource
from edgehone.data import read_dataset
from edgehone.space import replace
from edgehone.strategy import AUTHORS
from edgehone.training import Job, detector_info, picture_cache
from edgehone.training.state import State

DATA = "builtin:digits?train=16&val=2&test=2&width=256&height=256&min_px=30&max_px=90"
BRANCHED, HEADS = {"capacity.convolutions.kind": "branched"}, {"capacity.auxiliary.kind": "heads"}
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "branched": BRANCHED,
    "branched backbone": {**BRANCHED, "capacity.convolutions.layers": "backbone"},
    "implicit": {"capacity.implicit": True},
    "auxiliary heads": HEADS,
    "all": {**BRANCHED, **HEADS, "capacity.implicit": True},
}
WARMING = 2
BATCH = 8


def compare(model: str, asked: argparse.Namespace) -> None:
    """Print the table of one model."""
    dataset = read_dataset(DATA)
    prepared = {}
    for name, changes in FORMS.items():
        strategy = replace(AUTHORS, {"input.size": asked.size, "augmentation.mosaic.probability": 0.0, **changes})
        job = Job(model=model, strategy=strategy, steps=1000, batch_size=BATCH, precision=asked.precision)
        info = detector_info(model, strategy, dataset.class_names, dataset.train)
        source = BatchSource(strategy, picture_cache(dataset.train, strategy), 0, job.steps, BATCH)
        with closing(source.stream(0, 0)) as batches:
            prepared[name] = (job, State.fresh(job, info), next(batches), info)
    times: dict[str, list[float]] = {name: [] for name in FORMS}
    for _ in range(WARMING + asked.rounds):
        for name, (job, state, batch, info) in prepared.items():
            lattice = info.lattice((batch.pixels.shape[2], batch.pixels.shape[3]))
            begun = time.process_time()
            state.take_step(job, batch, lattice)
            times[name].append(time.process_time() - begun)
    print(f"{model}, {asked.size} px, {asked.precision}: {statistics.median(times['plain']):.4f} s a plain step")
    for name, (_, state, _, info) in prepared.items():
        pairs = zip(times[name][WARMING:], times["plain"][WARMING:], strict=True)
        ratio, graph = statistics.median(mine / plain for mine, plain in pairs), info.graph()
        counted = f"counted {state.plan.time_ratio(graph):.3f}, FLOPs {state.plan.flops_ratio(graph):.3f}"
        print(f"  {name:18} time {ratio:.3f}, {counted}", flush=True)


def main() -> None:
    """Every model in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["yolov4-tiny"])
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--rounds", type=int, default=8)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for model in asked.models:
        compare(model, asked)


if __name__ == "__main__":
    main()
