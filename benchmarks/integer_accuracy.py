"""What a trained detector loses in each board's integer arithmetic, and what it takes to win it back.

    .venv/bin/python benchmarks/integer_accuracy.py RUN DATA [--boards cpu kneron-kl720] [--split test] [--pictures N]

RUN is a run's or a training's folder, a checkpoint, or A.cfg+A.weights. For each board: AP on the split in fp32
and in 8 bits with every calibrator; then the gate, which decides on validation and training pictures; then its choice
on the split. On the cpu the integer kernels are ONNX Runtime's, and are executed.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import torch

from edgehone.data import read_dataset
from edgehone.deploy.convert import open_trained
from edgehone.deploy.integer.accuracy import (
    Inquiry,
    average_precision_of,
    calibration_pictures,
    integer_accuracy,
)
from edgehone.deploy.integer.calibration import CALIBRATORS
from edgehone.deploy.integer.fine_tuning import FineTuning
from edgehone.deploy.integer.plan import make_plan
from edgehone.deploy.integer.scheme import KL720, SCHEMES, Scheme
from edgehone.deploy.integer.simulator import Simulator
from edgehone.deploy.integer.summary import describe
from edgehone.deploy.integer.tensors import collect
from edgehone.inference import TorchRuntime
from edgehone.models import fold

VARIANTS: dict[str, Scheme] = {
    **SCHEMES,
    "kneron-kl720:mixed-head": KL720.model_copy(update={"heads": "joint"}),
    "kneron-kl720:power-of-two": KL720.model_copy(update={"steps": "power_of_two"}),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("data")
    parser.add_argument("--boards", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--split", default="test")
    parser.add_argument("--pictures", type=int, help="of the split, only the first so many")
    parser.add_argument("--max-drop", type=float, default=0.5, help="AP points")
    parser.add_argument("--calibration-pictures", type=int, default=128)
    parser.add_argument("--judged-pictures", type=int, default=256, help="of validation, then training")
    parser.add_argument(
        "--epochs", type=float, default=3.0, help="of training under rounding, if nothing else helps; 0: none"
    )
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    network, info = open_trained(asked.run)
    dataset = read_dataset(asked.data)
    samples = dataset.splits[asked.split][: asked.pictures]
    dataset = replace(dataset, **{asked.split: samples})
    inquiry = Inquiry(
        max_drop=asked.max_drop / 100,
        calibration_pictures=asked.calibration_pictures,
        judged_pictures=asked.judged_pictures,
        tested_on=asked.split,
        fine_tuning=FineTuning(epochs=asked.epochs) if asked.epochs else None,
    )
    folded, fields = fold(network), 5 + len(info.class_names)
    seen = collect(
        folded, info.input_size, calibration_pictures(network, info, dataset, asked.calibration_pictures), fields
    )
    print(f"{info.model} on {dataset.name}, {info.input_size} px, {len(samples)} pictures of {asked.split}")
    print(f"fp32: AP {average_precision_of(TorchRuntime(folded), info, samples):.4f}", flush=True)
    for name in asked.boards:
        started, scheme = time.monotonic(), VARIANTS[name]
        print(f"\n== {name}")
        for calibrator in CALIBRATORS:
            plan = make_plan(scheme, seen, fields, calibrator)
            ap = average_precision_of(Simulator(folded, plan), info, samples)
            print(f"ranges by {calibrator.kind}: AP {ap:.4f}", flush=True)
        found, _ = integer_accuracy(network, info, dataset, scheme, inquiry)
        print("\n".join(describe(found)))
        print(f"  took {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
