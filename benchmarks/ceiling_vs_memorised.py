"""Does a network that has learnt a set by heart find what the ceiling says it can?

python benchmarks/ceiling_vs_memorised.py [--only NAME] [--steps 1200] [--out OUT]

Three sets of sixteen scenes of digits, each made to break a projection: tiny objects that share cells, dense ones of
one size, elongated ones that no anchor fits. Trains on the scenes as they are, without augmentation, asks for the same
scenes, and prints recall at IoU 0.5 (100 answers a picture) beside the ceiling's, the share of the objects that the
ceiling calls lost and the network finds all the same, and of those that it can find and the network did not. With
``--out`` a training goes on where it was interrupted. Exit 1 if a recall differs by more than two points. One thread.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgehone.analysis.capacity_ladder import probe_strategy
from edgehone.analysis.capacity_recall import found_at
from edgehone.analysis.ceiling import lost_objects, perfect_network
from edgehone.analysis.confidence import answers
from edgehone.analysis.projection import candidate_lattice, teach
from edgehone.data import Dataset, read_dataset
from edgehone.inference import Detector, PostProcess, TorchRuntime
from edgehone.models import architecture
from edgehone.space import replace
from edgehone.strategy import Strategy
from edgehone.training import Job, train, truth_sides_px

MODEL, INPUT, BATCH = "yolov4-tiny", 160, 8
SCENES = "builtin:digits?train=16&val=1&test=1&classes=2&imbalance=1&label_noise=0"
TOLERANCE = 0.02
COMMON: dict[str, Any] = {
    "projection.anchors.kind": "official",
    "projection.vote": "positive",
    "projection.objectness.target": "one",
    "projection.box_loss.weight": 0.2,
    "projection.second_head_mask": "0,1,2",
}
SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "tiny": (
        f"{SCENES}&width=160&height=160&min_px=7&max_px=12&min_objects=16&max_objects=24&overlap=0.05",
        {"projection.assigner.kind": "best_anchor"},
    ),
    "dense": (
        f"{SCENES}&width=160&height=160&min_px=14&max_px=18&min_objects=30&max_objects=40&overlap=0.15",
        {"projection.assigner.kind": "best_anchor"},
    ),
    "elongated": (
        f"{SCENES}&width=360&height=120&min_px=30&max_px=90&min_objects=4&max_objects=8&overlap=0.05",
        {"projection.assigner.kind": "ratio_match", "projection.assigner.anchor_t": 2.5},
    ),
}


def strategy_of(changes: dict[str, Any]) -> Strategy:
    """How a set is learnt."""
    strategy = replace(probe_strategy(INPUT, 2, 0.0), {**COMMON, **changes})
    return replace(strategy, {"projection.objectness.fine_weight": 1.0})


def ceiling(strategy: Strategy, dataset: Dataset) -> tuple[np.ndarray[Any, Any], dict[str, int]]:
    """Which objects a perfect network finds, and the reasons of the lost ones."""
    strides = architecture(MODEL).graph(len(dataset.class_names)).strides
    lattice = candidate_lattice(strategy, strides, truth_sides_px(dataset.train, strategy))
    taught = teach(strategy, lattice, dataset.train, len(dataset.class_names))
    perfect = perfect_network(taught, dataset.train)
    reasons = list(lost_objects(taught, perfect).values())
    return perfect.found.numpy(), {reason: reasons.count(reason) for reason in sorted(set(reasons))}


def memorised(strategy: Strategy, dataset: Dataset, steps: int, state: Path | None) -> np.ndarray[Any, Any]:
    """Which objects a trained network finds."""
    job = Job(model=MODEL, strategy=strategy, steps=steps, batch_size=BATCH, precision="bf16")
    trained = train(job, dataset.class_names, dataset.train, checkpoint=state)
    detector = Detector(trained.info, TorchRuntime(trained.network))
    said = detector.detect((s.source.read() for s in dataset.train), PostProcess(candidates=5000, limit=100))
    pairs = zip(dataset.train, said, strict=True)
    return np.concatenate([found_at(answers(sample, detections)) > 0 for sample, detections in pairs])


def main() -> None:
    """Compare both on every set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SETS)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    failed = False
    print("| set | objects | lost, by reason | ceiling | network | lost but found | findable but missed |")
    print("|---|---|---|---|---|---|---|")
    for name, (source, changes) in SETS.items():
        if given.only not in (None, name):
            continue
        dataset, strategy = read_dataset(source), strategy_of(changes)
        can, reasons = ceiling(strategy, dataset)
        state = None if given.out is None else given.out / f"{name}.state"
        did = memorised(strategy, dataset, given.steps, state)
        extra, missed = (~can & did).mean(), (can & ~did).mean()
        failed |= abs(can.mean() - did.mean()) > TOLERANCE
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"
        cells = [f"{value:.3f}" for value in (can.mean(), did.mean(), extra, missed)]
        print(f"| {name} | {len(can)} | {why} | {' | '.join(cells)} |", flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
