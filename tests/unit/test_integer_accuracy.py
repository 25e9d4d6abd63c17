"""From a checkpoint and a data set to what a board's arithmetic costs; and the tensors that are calibrated."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import onnx
import pytest
import torch
from typer.testing import CliRunner

from edgehone.cli import app
from edgehone.data import Dataset, read_dataset
from edgehone.deploy.convert import open_trained
from edgehone.deploy.integer.accuracy import (
    HELD_OUT,
    Inquiry,
    RoundedOnnxRuntime,
    calibration_pictures,
    integer_accuracy,
    judged_samples,
)
from edgehone.deploy.integer.calibration import Entropy, Max
from edgehone.deploy.integer.fine_tuning import FineTuning, fine_tune, unlikeness
from edgehone.deploy.integer.plan import Plan, make_plan
from edgehone.deploy.integer.qdq import Rounding, insert_rounding, rounded_model
from edgehone.deploy.integer.scheme import JETSON, KL720, ONNX_RUNTIME, scheme_of
from edgehone.deploy.integer.simulator import Simulator
from edgehone.deploy.integer.summary import describe
from edgehone.deploy.integer.tensors import Seen, collect, open_session
from edgehone.deploy.onnx_graph import build_model
from edgehone.errors import UsageError
from edgehone.inference import CHECKPOINT, DetectorInfo, save_detector
from edgehone.models import Network, fold
from edgehone.space import replace
from edgehone.strategy import DARKNET
from edgehone.training import detector_info

MODEL = "yolov4-tiny@width=0.25"
DATA = "builtin:digits?train=12&val=4&test=4"


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset(DATA)


@pytest.fixture(scope="module")
def detector(dataset: Dataset) -> tuple[Network, DetectorInfo]:
    """Untrained, but not silent."""
    torch.manual_seed(0)
    info = detector_info(MODEL, replace(DARKNET, {"input.size": 128}), dataset.class_names, dataset.train)
    network = info.network().eval()
    with torch.no_grad():
        for index in network.outputs:
            torch.nn.init.normal_(network.head_convolution(index).weight, std=0.1)
    return network, info


@pytest.fixture(scope="module")
def seen(detector: tuple[Network, DetectorInfo], dataset: Dataset) -> Seen:
    network, info = detector
    return collect(fold(network), info.input_size, calibration_pictures(network, info, dataset, 4), 9)


def test_ranges_cover_every_tensor_of_the_graph(detector: tuple[Network, DetectorInfo], seen: Seen) -> None:
    network, info = detector
    model = build_model(fold(network), info.input_size, {})
    tensors = {item.name for item in model.graph.input} | {name for node in model.graph.node for name in node.output}
    amax, largest = seen.amax(Entropy()), seen.amax(Max())
    assert set(amax) == tensors
    assert all(0 < value <= largest[name] for name, value in amax.items())
    assert amax["images"] <= 1.0
    parts = seen.part_amax(Max())
    assert set(parts) == {f"stride{s}_{p}" for s in (32, 16) for p in ("box", "objectness", "class")}
    assert max(value for name, value in parts.items() if name.startswith("stride32")) == largest["stride32"]


def test_the_cpu_is_executed_and_agrees_with_its_simulation(
    detector: tuple[Network, DetectorInfo], dataset: Dataset
) -> None:
    network, info = detector
    inquiry = Inquiry(calibration_pictures=4, judged_pictures=4, max_drop=0.9)
    found, chosen = integer_accuracy(network, info, dataset, "cpu", inquiry)
    assert found.ap_executed == pytest.approx(found.ap, abs=0.02)
    assert found.pictures == 4
    assert found.verdict.passed
    pixels = torch.stack(calibration_pictures(network, info, dataset, 2))
    theirs = RoundedOnnxRuntime.of(chosen.network, info.input_size, chosen.plan).heads(pixels)
    for a, b in zip(theirs, Simulator(chosen.network, chosen.plan).heads(pixels), strict=True):
        assert float((a - b).square().mean()) < 1e-4 * float(b.square().mean())
    text = "\n".join(describe(found))
    assert "executed by ONNX Runtime" in text
    assert "dB" in text


def test_the_command_answers_in_json(
    detector: tuple[Network, DetectorInfo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, info = detector
    save_detector(network, info, tmp_path / CHECKPOINT)
    said = CliRunner().invoke(
        app,
        ["evaluate", str(tmp_path), DATA, "--integer", "kneron-kl720", "--max-drop", "90", "--json"],
        catch_exceptions=False,
    )
    found = json.loads(said.stdout)
    assert found["board"] == "kneron-kl720"
    assert found["ap_executed"] is None
    assert found["verdict"]["attempts"][0]["repair"] == "none"
    assert set(found["noise"]["outputs"]) >= {"stride32", "stride16_box"}


def test_fine_tuning_makes_rounding_quieter(
    detector: tuple[Network, DetectorInfo], dataset: Dataset, seen: Seen
) -> None:
    network, info = detector
    folded = fold(network)
    before = {name: value.clone() for name, value in folded.state_dict().items()}
    plan = make_plan(KL720.model_copy(update={"steps": "power_of_two", "heads": "joint"}), seen, 9)
    pixels = torch.stack(calibration_pictures(network, info, dataset, 4))
    with torch.inference_mode():
        wanted = folded(pixels)
    tuned = fine_tune(folded, info.strategy, plan, dataset.train, FineTuning(epochs=2.5, batch_size=3))
    loud, quiet = (float(unlikeness(Simulator(n, plan).heads(pixels), wanted, 9)) for n in (folded, tuned))
    assert quiet < loud
    assert all(torch.equal(value, before[name]) for name, value in folded.state_dict().items())
    short = FineTuning(epochs=0.25, batch_size=3)
    one, two = (fine_tune(folded, info.strategy, plan, dataset.train, short) for _ in range(2))
    assert torch.equal(one.block(0)[0].weight, two.block(0)[0].weight), "a function of its arguments"


def test_unlikeness_is_noise_over_signal_of_each_part() -> None:
    head = torch.zeros(1, 9, 1, 1)
    head[0, :4], head[0, 4], head[0, 5:] = 2.0, 0.0, 10.0
    moved = head.clone()
    moved[0, 0] += 2.0  # one of four box numbers by its own size: a quarter, of three parts
    assert float(unlikeness([head], [head], 9)) == 0.0
    head[0, 4] = moved[0, 4] = 1.0
    assert float(unlikeness([moved], [head], 9)) == pytest.approx(0.25 / 3)


def test_the_gate_judges_validation_first(dataset: Dataset) -> None:
    assert judged_samples(dataset, 2) == [dataset.val[0], dataset.val[2]]
    assert judged_samples(dataset, 10)[:4] == list(dataset.val)
    assert len(judged_samples(dataset, 10)) == 10
    assert len(judged_samples(dataset, 1000)) == min(HELD_OUT, len(dataset.val) + len(dataset.train))


def test_learnt_pictures_are_judged_only_where_too_few_are_held_out(dataset: Dataset) -> None:
    many = dataclasses.replace(dataset, val=[*dataset.train] * HELD_OUT)
    assert judged_samples(many, 1000) == list(many.val)


def test_what_cannot_be_is_refused_with_its_reason(
    detector: tuple[Network, DetectorInfo], dataset: Dataset, seen: Seen, tmp_path: Path
) -> None:
    network, info = detector
    folded = fold(network)
    with pytest.raises(UsageError, match="integer arithmetic is known of cpu, jetson-xavier-nx, kneron-kl720"):
        scheme_of("abacus")
    with pytest.raises(UsageError, match="one step"):
        rounded_model(folded, info.input_size, {}, make_plan(KL720, seen, 9))
    with pytest.raises(UsageError, match="opset 13"):
        insert_rounding(build_model(folded, info.input_size, {}, opset=11), Rounding(ONNX_RUNTIME, {}))
    with pytest.raises(UsageError, match="no tensors nonsense"):
        insert_rounding(build_model(folded, info.input_size, {}), Rounding(ONNX_RUNTIME, {"nonsense": 1.0}))
    with pytest.raises(UsageError, match="the splits are"):
        integer_accuracy(network, info, dataset, "cpu", Inquiry(tested_on="nowhere"))
    path = tmp_path / "model.onnx"
    with pytest.raises(UsageError, match="there is no model"):
        open_trained(str(path))


def test_a_graph_for_fused_kernels_has_pairs_only_around_them(
    detector: tuple[Network, DetectorInfo], seen: Seen
) -> None:
    """Real biases, no pair between convolution and activation, none at real outputs; and it says what is simulated."""
    network, info = detector
    folded = fold(network)
    plan = make_plan(JETSON, seen, 9)
    model = rounded_model(folded, info.input_size, {"a": 1}, plan)
    onnx.checker.check_model(model, full_check=True)
    made = {name: node for node in model.graph.node for name in node.output}
    constants = {item.name for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert [made[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
            assert node.input[2] in constants
        if node.op_type == "LeakyRelu":
            assert made[node.input[0]].op_type == "Conv"
    assert all(made[item.name].op_type == "Conv" for item in model.graph.output)
    pixels = torch.rand(1, 3, *info.input_size)
    theirs = open_session(model).run(None, {"images": pixels.numpy()})
    for a, b in zip(theirs, Simulator(folded, plan).heads(pixels), strict=True):
        assert float((torch.from_numpy(a) - b).square().mean()) < 1e-3 * float(b.square().mean())


def test_a_plan_of_exceptions_is_kept(seen: Seen, detector: tuple[Network, DetectorInfo]) -> None:
    graph = fold(detector[0]).graph
    plan = make_plan(KL720, seen, 9).widened(0)
    assert plan.formats(graph)[0].precision == "int16"
    assert plan.weight_precision(0) == "int8"
    assert make_plan(JETSON, seen, 9).widened(0).weight_precision(0) == "fp16"
    alone = plan.only(graph, 0)
    assert isinstance(alone, Plan)
    held = {i: form.precision for i, form in alone.formats(graph).items()}
    assert held[0] == "int16"
    assert {p for i, p in held.items() if i > 0} == {"fp32"}
