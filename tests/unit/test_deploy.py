"""What is handed over for a board: the graph is ours to the node, says what the network says, and is timed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgehone.boards import BOARDS, board, check_graph
from edgehone.data import Dataset, read_dataset
from edgehone.deploy import bundle
from edgehone.deploy import latency as latency_module
from edgehone.deploy.bundle import Deployment, deploy, deployable, latency_by_size
from edgehone.deploy.graph_nodes import describe_graph
from edgehone.deploy.latency import core_count, cpu_name, measure_latency
from edgehone.deploy.onnx_graph import export_onnx
from edgehone.deploy.parity import Parity, logit_parity
from edgehone.errors import EdgehoneError, UsageError
from edgehone.inference import CHECKPOINT, DetectorInfo, OnnxRuntime, open_detector, open_network, save_detector
from edgehone.models import Convolutional, Graph, Head, Network, Route, YoloV4Tiny
from edgehone.space import replace
from edgehone.strategy import DARKNET

SIZE = (64, 96)


def as_if_trained(classes: int) -> Network:
    """Batch norms with statistics of their own, and heads whose answers differ from zero."""
    torch.manual_seed(0)
    network = Network(YoloV4Tiny().graph(classes))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.running_mean = 0.3 * torch.randn(module.num_features)
            module.running_var = 0.5 + torch.rand(module.num_features)
    for index in network.graph.outputs:
        nn.init.normal_(network.head_convolution(index).weight, std=0.1)
    return network.eval()


@pytest.fixture(scope="module")
def network() -> Network:
    return as_if_trained(3)


@pytest.fixture(scope="module")
def exported(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx(network, SIZE, {"detector": {"b": 1, "a": "é"}}, tmp_path_factory.mktemp("onnx") / "model.onnx")


def test_the_export_says_what_the_network_says(network: Network, exported: Path) -> None:
    pixels = torch.rand(3, 3, *SIZE)
    parity = logit_parity(network, exported, pixels)
    assert parity.pictures == 3
    assert parity.mean_abs_difference <= parity.max_abs_difference <= 1e-3
    heads = OnnxRuntime(exported, threads=1).heads(pixels)
    assert [tuple(head.shape) for head in heads] == [(3, 24, 2, 3), (3, 24, 4, 6)]
    assert float(heads[0].std()) > 0.01, "heads that say nothing would prove nothing"


def test_parity_sees_a_changed_weight(exported: Path) -> None:
    changed = as_if_trained(3)
    with torch.no_grad():
        changed.head_biases()[1][4] += 0.25
    assert logit_parity(changed, exported, torch.rand(1, 3, *SIZE)).max_abs_difference == pytest.approx(0.25, abs=1e-3)


def test_the_graph_is_what_boards_can_run(exported: Path) -> None:
    model = onnx.load(str(exported))
    onnx.checker.check_model(model, full_check=True)
    assert check_graph(describe_graph(model), BOARDS["cpu"]) == []
    assert model.ir_version == 7
    assert [item.name for item in model.graph.input] == ["images"]
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3, *SIZE]
    assert [item.name for item in model.graph.output] == ["stride32", "stride16"]
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert "26_conv" in names


def test_metadata_is_one_json_entry(exported: Path) -> None:
    entries = {item.key: item.value for item in onnx.load(str(exported)).metadata_props}
    assert list(entries) == ["edgehone"]
    assert json.loads(entries["edgehone"]) == {"detector": {"a": "é", "b": 1}}


def test_two_exports_are_the_same_bytes(network: Network, exported: Path, tmp_path: Path) -> None:
    again = export_onnx(network, SIZE, {"detector": {"a": "é", "b": 1}}, tmp_path / "again.onnx")
    assert again.read_bytes() == exported.read_bytes()


def test_weights_and_classes_change_no_node(exported: Path, tmp_path: Path) -> None:
    other = export_onnx(Network(YoloV4Tiny().graph(80)), SIZE, {}, tmp_path / "other.onnx")

    def nodes(path: Path) -> list[onnx.NodeProto]:
        return list(onnx.load(str(path)).graph.node)

    assert nodes(other) == nodes(exported)


def test_latency_is_measured(exported: Path) -> None:
    latency = measure_latency(exported, threads=1, seconds=0.2)
    assert 0 < latency.p50_ms <= latency.p90_ms <= latency.p99_ms
    assert latency.mean_ms > 0
    assert latency.runs >= 1
    assert latency.threads == 1
    assert latency.runtime.startswith("ONNX Runtime ")
    assert latency.cpu == cpu_name()


def test_latency_counts_milliseconds_of_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 0.0, "runs": 0}

    class Session:
        def get_inputs(self) -> list[SimpleNamespace]:
            return [SimpleNamespace(shape=[1, 3, 4, 4])]

        def run(self, *_: object) -> None:
            """The warm-up is slow, then 1 ms, 2 ms, ... 100 ms."""
            clock["runs"] += 1
            timed = clock["runs"] - latency_module.WARM_UP_RUNS
            clock["now"] += timed / 1000 if timed > 0 else 10.0

    def runtime(*_: object) -> SimpleNamespace:
        return SimpleNamespace(session=Session())

    monkeypatch.setattr(latency_module, "OnnxRuntime", runtime)
    monkeypatch.setattr(latency_module, "time", SimpleNamespace(perf_counter=lambda: clock["now"]))
    latency = measure_latency(Path("none.onnx"), threads=1, seconds=5.0495)  # 1 + 2 + ... + 100 ms = 5.05 s
    assert latency.runs == 100
    assert (latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.mean_ms) == (50.5, 90.1, 99.01, 50.5)


def test_a_graph_that_is_not_valid_is_not_written(tmp_path: Path) -> None:
    head = (Convolutional(8, 1, batch_normalize=False, activation="linear"), Head())
    twice = Network(Graph((Convolutional(4, 3), *head, Route((0,)), *head)))  # two outputs of one name
    with pytest.raises(onnx.checker.ValidationError):
        export_onnx(twice, (8, 8), {}, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_larger_input_takes_longer() -> None:
    latencies = latency_by_size(YoloV4Tiny().graph(3), [64, 256])
    assert list(latencies) == [64, 256]
    assert latencies[64].p50_ms < latencies[256].p50_ms


def test_an_unknown_board_is_refused_with_the_known_ones() -> None:
    assert board("cpu") is BOARDS["cpu"]
    with pytest.raises(UsageError, match=r"the boards are cpu, jetson-xavier-nx, kneron-kl720; got 'toaster'"):
        board("toaster")


def test_a_bundle_is_written_for_every_board() -> None:
    assert {name: deployable(name) for name in BOARDS} == BOARDS


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset("builtin:digits?train=4&val=3&test=2&width=160&height=128&min_px=20&max_px=60&max_objects=2")


@pytest.fixture
def run(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a checkpoint; timing is cut short."""
    monkeypatch.setattr(bundle, "TIMING_SECONDS", 0.2)
    classes = len(dataset.class_names)
    anchors = tuple((float(8 * k), float(6 * k)) for k in range(1, 7))
    strategy = replace(DARKNET, {"input.size": 128})
    info = DetectorInfo(model="yolov4-tiny", class_names=dataset.class_names, anchors_px=anchors, strategy=strategy)
    save_detector(as_if_trained(classes), info, tmp_path / CHECKPOINT)
    return tmp_path


def test_deployment_is_proven_timed_and_opens_again(run: Path, dataset: Dataset) -> None:
    deployment = deploy(run, "cpu", dataset, run / "cpu")
    graph = YoloV4Tiny().graph(len(dataset.class_names))
    costs = graph.layer_costs((128, 128))
    assert (deployment.board, deployment.path, deployment.input_size) == ("cpu", "cpu/model.onnx", (128, 128))
    assert deployment.parameters == sum(cost.parameters for cost in costs)
    assert deployment.bflops == pytest.approx(2 * sum(cost.macs for cost in costs) / 1e9, abs=1e-4)
    assert deployment.parity.pictures == 3
    assert deployment.parity.max_abs_difference <= bundle.MAX_DIFFERENCE
    assert isinstance(deployment.latency, latency_module.Latency)
    assert deployment.latency.threads == core_count()
    assert Deployment.model_validate_json(deployment.model_dump_json()) == deployment


def test_graph_and_checkpoint_detect_the_same(run: Path, dataset: Dataset) -> None:
    deploy(run, "cpu", dataset, run / "cpu")
    images = [sample.read().image for sample in dataset.val[:2]]
    exported, trained = open_detector(run / "cpu" / "model.onnx", threads=1), open_detector(run / CHECKPOINT)
    assert exported.info == trained.info
    for theirs, ours in zip(exported.detect(images), trained.detect(images), strict=True):
        assert len(ours) > 0
        assert len(theirs) == len(ours)
        np.testing.assert_allclose(theirs.scores, ours.scores, atol=1e-3)


def test_an_unknown_board_writes_nothing(run: Path, dataset: Dataset) -> None:
    with pytest.raises(UsageError):
        deploy(run, "toaster", dataset, run / "toaster")
    assert [path.name for path in run.iterdir()] == [CHECKPOINT]


def test_an_export_that_differs_is_refused_and_removed(
    run: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def differs(*_: object) -> Parity:
        return Parity(max_abs_difference=0.5, mean_abs_difference=0.1, pictures=1)

    monkeypatch.setattr(bundle, "logit_parity", differs)
    with pytest.raises(EdgehoneError, match=r"may differ by 0\.001 .* differed by 0\.5"):
        deploy(run, "cpu", dataset, run / "cpu")
    assert [path.name for path in run.iterdir()] == [CHECKPOINT]


def test_a_network_that_diverged_is_refused_and_leaves_no_export(run: Path, dataset: Dataset) -> None:
    network, info = open_network(run / CHECKPOINT)
    with torch.no_grad():
        network.head_biases()[0][0] = torch.nan
    save_detector(network, info, run / CHECKPOINT)
    with pytest.raises(EdgehoneError, match="heads must be finite, those of the network are not"):
        deploy(run, "cpu", dataset, run / "cpu")
    assert [path.name for path in run.iterdir()] == [CHECKPOINT]


def test_the_master_graph_stays_in_the_checkpoints_terms(run: Path) -> None:
    network, info = open_network(run / CHECKPOINT)
    assert info.strategy.input.shape == (128, 128)
    assert sum(layer.batch_normalize for layer in network.graph.layers if isinstance(layer, Convolutional)) == 19
