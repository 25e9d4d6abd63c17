"""What a trained detector loses in each board's integer arithmetic, and what it takes to win it back.

    .venv/bin/python benchmarks/integer_accuracy.py RUN DATA [--boards cpu kneron-kl720] [--split test] [--pictures N]
    .venv/bin/python benchmarks/integer_accuracy.py RUN DATA --boards kneron-kl720:mixed-head --largest-logit 27

RUN is a run's or a training's folder, a checkpoint, or A.cfg+A.weights. For each board: AP and AP75 on the split in
fp32, in 8 bits with every calibrator, and with corrected biases; then the gate, which decides on validation; then its
choice on the split. On the cpu the integer kernels are ONNX Runtime's, and are executed. Exit 1 if what the gate
delivers loses more than --max-drop on the split; on few pictures that happens by chance, too.

--largest-logit makes the detector surer than it is: objectness and classes of each head are multiplied so that the
largest of them is this number, and boxes stay. That detector in fp32 is then the measure. Trained for long on many
classes heads reach 25 to 27 (NVIDIA's published ranges of YOLOv4-tiny); one step for all channels of such a head is a
fifth, by which exp makes boxes a fifth larger or smaller.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from edgehone.data import Sample, read_dataset
from edgehone.deploy.convert import open_trained
from edgehone.deploy.integer.accuracy import (
    Inquiry,
    IntegerAccuracy,
    calibration_pictures,
    integer_accuracy,
    runtime_of,
)
from edgehone.deploy.integer.calibration import CALIBRATORS
from edgehone.deploy.integer.fine_tuning import FineTuning
from edgehone.deploy.integer.gate import NOISE_PICTURES
from edgehone.deploy.integer.noise import least_db
from edgehone.deploy.integer.plan import Plan, make_plan
from edgehone.deploy.integer.scheme import KL720, SCHEMES, Scheme
from edgehone.deploy.integer.simulator import Simulator
from edgehone.deploy.integer.summary import describe
from edgehone.deploy.integer.tensors import Seen, collect, part_channels, tensor_name
from edgehone.evaluation import evaluate_detections
from edgehone.inference import Detector, DetectorInfo, Runtime, TorchRuntime
from edgehone.models import Network, fold

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
        "--largest-logit", type=float, metavar="X", help="of objectness and classes, to which they are multiplied"
    )
    parser.add_argument(
        "--epochs", type=float, default=3.0, help="of training under rounding, if nothing else helps; 0: none"
    )
    return parser.parse_args()


def shown(runtime: Runtime, info: DetectorInfo, samples: Sequence[Sample]) -> str:
    """AP and AP75 of a runtime."""
    found = Detector(info, runtime).detect(sample.read().image for sample in samples)
    metrics = evaluate_detections([sample.truth() for sample in samples], list(found), info.class_names, samples=0)
    return f"AP {metrics.ap:.4f}  AP75 {metrics.ap75:.4f}"


def sharpened(network: Network, seen: Seen, fields: int, largest: float) -> Network:
    """A folded network whose objectness and classes reach ``largest`` on the pictures that were seen."""
    reached = seen.part_amax(CALIBRATORS[0])
    surer = fold(network)
    for index in network.graph.outputs:
        name, head = tensor_name(network.graph, index), surer.head_convolution(index)
        parts = part_channels(head.out_channels, fields)
        gain = largest / max(reached[f"{name}_objectness"], reached[f"{name}_class"])
        with torch.no_grad():
            for channels in (parts["objectness"], parts["class"]):
                head.weight[channels] *= gain
                head.bias[channels] *= gain
    return surer


def ranges(seen: Seen) -> str:
    """Largest magnitude of each part of a head."""
    return "  ".join(f"{name} {value:.1f}" for name, value in seen.part_amax(CALIBRATORS[0]).items())


def unrepaired(scheme: Scheme, seen: Seen, fields: int) -> dict[str, Plan]:
    """Everything in 8 bits, by every calibrator; by the first with corrected biases, too."""
    plans = {calibrator.kind: make_plan(scheme, seen, fields, calibrator) for calibrator in CALIBRATORS}
    first = CALIBRATORS[0].kind
    return {**plans, f"{first}, biases corrected": replace(plans[first], means=seen.means)}


def lost_points(found: IntegerAccuracy) -> float:
    """Of AP on the tested split by what is delivered; executed where it is."""
    return 100 * (found.ap_real - (found.ap if found.ap_executed is None else found.ap_executed))


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
    pictures = calibration_pictures(network, info, dataset, asked.calibration_pictures)
    seen = collect(folded, info.input_size, pictures, fields)
    if asked.largest_logit:
        folded = sharpened(folded, seen, fields, asked.largest_logit)
        seen = collect(folded, info.input_size, pictures, fields)
    print(f"{info.model} on {dataset.name}, {info.input_size} px, {len(samples)} pictures of {asked.split}")
    print(f"largest numbers: {ranges(seen)}")
    print(f"fp32: {shown(TorchRuntime(folded), info, samples)}", flush=True)
    pixels = torch.stack(pictures[:NOISE_PICTURES])
    wanted = TorchRuntime(folded).heads(pixels)
    lost: dict[str, float] = {}
    for name in asked.boards:
        started, scheme = time.monotonic(), VARIANTS[name]
        print(f"\n== {name}")
        for ranges_by, plan in unrepaired(scheme, seen, fields).items():
            worst = f"worst part of the heads {least_db(folded, plan, pixels, wanted):.1f} dB"
            print(f"ranges by {ranges_by}: {shown(Simulator(folded, plan), info, samples)}  {worst}", flush=True)
        found, chosen = integer_accuracy(folded, info, dataset, scheme, inquiry)
        lost[name] = lost_points(found)
        print("\n".join(describe(found)))
        print(f"  delivered: {shown(runtime_of(chosen.network, info.input_size, chosen.plan), info, samples)}")
        print(f"  took {time.monotonic() - started:.0f} s", flush=True)
    print()
    for name, points in lost.items():
        verdict = "ok" if points <= asked.max_drop else f"FAILED, at most {asked.max_drop:g} are allowed"
        print(f"{name:28} {points:+.2f} AP points lost on {asked.split}: {verdict}")
    raise SystemExit(int(any(points > asked.max_drop for points in lost.values())))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
