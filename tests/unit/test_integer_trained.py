"""A trained detector whose head has one step for boxes and scores: 8 bits ruin its boxes, and the gate repairs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch

from edgehone.analysis.capacity_probe import probe_strategy
from edgehone.data import Dataset, read_dataset
from edgehone.deploy.integer.accuracy import Inquiry, calibration_pictures, integer_accuracy
from edgehone.deploy.integer.calibration import Max
from edgehone.deploy.integer.plan import make_plan
from edgehone.deploy.integer.scheme import KL720, Scheme
from edgehone.deploy.integer.simulator import Simulator
from edgehone.deploy.integer.tensors import collect, part_channels, tensor_name
from edgehone.evaluation import Evaluation, evaluate_detections
from edgehone.inference import Detector, DetectorInfo, Runtime, TorchRuntime
from edgehone.models import Network, fold
from edgehone.space import replace
from edgehone.training import Job, detector_info, train

DATA = "builtin:digits?train=12&val=2&test=2&width=128&height=128&min_px=30&max_px=90&max_objects=3&classes=2"
MIXED = KL720.model_copy(update={"heads": "joint"})
PUBLISHED = {"stride32": 27.1, "stride16": 24.7}
"""Largest numbers of the heads of YOLOv4-tiny trained on COCO, as NVIDIA calibrated them."""
MAX_DROP = 0.005

STRATEGY = replace(
    probe_strategy(128, 2, 0.0),
    {"projection.coding": {"kind": "exp", "scale_x_y": 1.05}, "projection.box_loss.weight": 0.2},
)
"""Learns pictures by heart, boxes coded as Darknet does."""

pytestmark = pytest.mark.slow

Trained = tuple[Network, DetectorInfo]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Without validation: boxes are tight on what was learnt by heart, and there the gate judges."""
    return dataclasses.replace(read_dataset(DATA), val=())


@pytest.fixture(scope="module")
def trained(dataset: Dataset) -> Trained:
    """It knows its training pictures by heart, so that its boxes are tight; scores reach as far as published ones."""
    job = Job(model="yolov4-tiny@width=0.25", strategy=STRATEGY, steps=300, batch_size=6)
    network = fold(train(job, dataset.class_names, dataset.train).network)
    info = detector_info(job.model, job.strategy, dataset.class_names, dataset.train)
    fields = 5 + len(info.class_names)
    reached = collect(network, info.input_size, pictures(network, info, dataset), fields).part_amax(Max())
    for index in network.graph.outputs:
        name, head = tensor_name(network.graph, index), network.head_convolution(index)
        parts = part_channels(head.out_channels, fields)
        gain = PUBLISHED[name] / max(reached[f"{name}_objectness"], reached[f"{name}_class"])
        assert head.bias is not None
        with torch.no_grad():
            for channels in (parts["objectness"], parts["class"]):
                head.weight[channels] *= gain
                head.bias[channels] *= gain
    return network, info


def pictures(network: Network, info: DetectorInfo, dataset: Dataset) -> Sequence[torch.Tensor]:
    return calibration_pictures(network, info, dataset, 12)


def metrics(runtime: Runtime, info: DetectorInfo, dataset: Dataset) -> Evaluation:
    found = Detector(info, runtime).detect(sample.read().image for sample in dataset.train)
    return evaluate_detections([s.truth() for s in dataset.train], list(found), info.class_names, samples=0)


def simulated(trained: Trained, dataset: Dataset, scheme: Scheme) -> Evaluation:
    network, info = trained
    fields = 5 + len(info.class_names)
    seen = collect(network, info.input_size, pictures(network, info, dataset), fields)
    return metrics(Simulator(network, make_plan(scheme, seen, fields, Max())), info, dataset)


def test_one_step_for_a_whole_head_ruins_the_boxes(trained: Trained, dataset: Dataset) -> None:
    network, info = trained
    real = metrics(TorchRuntime(network), info, dataset)
    mixed, parts = simulated(trained, dataset, MIXED), simulated(trained, dataset, KL720)
    assert real.ap > 0.5, "a detector that sees nothing would prove nothing"
    assert real.ap - mixed.ap > 0.03
    assert real.ap50 - mixed.ap50 < real.ap - mixed.ap, "objects are found, their boxes are not tight"
    assert abs(real.ap - parts.ap) < (real.ap - mixed.ap) / 3


def test_the_gate_repairs_it(trained: Trained, dataset: Dataset) -> None:
    network, info = trained
    inquiry = Inquiry(max_drop=MAX_DROP, calibration_pictures=12, tested_on="train", fine_tuning=None)
    found, _ = integer_accuracy(network, info, dataset, MIXED, inquiry)
    first = found.verdict.attempts[0]
    assert first.drop > 4 * MAX_DROP
    assert found.verdict.passed
    assert found.verdict.chosen.repair == "mixed_precision"
    assert set(found.verdict.wide) >= set(PUBLISHED)
    assert found.ap_real - found.ap <= MAX_DROP < found.ap_real - found.ap_plain
