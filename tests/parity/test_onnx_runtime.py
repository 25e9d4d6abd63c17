"""ONNX Runtime says what torch says, for every official cfg and for every kind of layer, at both opsets."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from edgehone.deploy.onnx_graph import build_model, export_onnx
from edgehone.errors import UsageError
from edgehone.inference import OnnxRuntime, TorchRuntime
from edgehone.models import (
    Avgpool,
    Convolutional,
    Dropout,
    Graph,
    Head,
    Layer,
    Maxpool,
    Network,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Upsample,
    YoloV4Tiny,
    fold,
)
from edgehone.models.darknet import read_cfg

DARKNET = Path(os.environ.get("EDGEHONE_DARKNET", Path(__file__).parents[2] / "../shared/darknet"))
CFGS = ("yolov4-tiny", "yolov4-tiny-custom", "yolov4-tiny-3l", "yolov3-tiny", "yolov7-tiny", "yolov4",
        "yolo-fastest-1.1", "yolo-fastest-1.1-xl")  # fmt: skip
HEAD = Convolutional(6, 1, batch_normalize=False, activation="linear")

EVERY_LAYER: tuple[Layer, ...] = (
    Convolutional(16, 3, stride=2, activation="mish"),  # 0
    Convolutional(16, 3, activation="swish", groups=4),
    Shortcut((0,), "leaky"),
    Convolutional(8, 3, activation="relu6", dilation=2),
    Shortcut((2,)),  # 4: fewer channels than what is added
    Convolutional(24, 1, activation="relu"),
    Shortcut((4, 2), "mish"),  # 6: more channels than what is added
    Avgpool(),
    Convolutional(24, 1, activation="logistic"),
    ScaleChannels(6),
    Convolutional(1, 1, activation="logistic"),
    ScaleChannels(9, scale_wh=True, activation="relu"),
    Convolutional(24, 1, activation="logistic"),
    Sam(11),
    Shortcut((11, 9), weights="per_channel", normalisation="softmax"),
    Shortcut((13,), "relu6", weights="per_feature", normalisation="relu"),
    Dropout(0.3),
    Maxpool(2, 1),
    Maxpool(3, 1),
    Route((18, 17), groups=2, group=1),
    HEAD,
    Head(),  # stride 2
    Route((19,)),
    Convolutional(16, 3, stride=2),
    Reorg(2),
    Convolutional(16, 3),
    Upsample(2, scale=0.5),
    Route((26, 23)),
    Maxpool(5, 2),  # 8
    Maxpool(2, (2, 2), padding=0),  # 16
    HEAD,
    Head(),
)


def as_if_trained(graph: Graph) -> Network:
    """Batch norms with statistics of their own, shortcuts with weights, heads that say something."""
    torch.manual_seed(0)
    network = Network(graph)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.3)
            module.running_mean = 0.3 * torch.randn(module.num_features)
            module.running_var = 0.5 + torch.rand(module.num_features)
    for weights in network.shortcuts.values():
        nn.init.normal_(weights)
    for index in graph.outputs:
        nn.init.normal_(network.head_convolution(index).weight, std=0.1)
    return network.eval()


def check_parity(network: Network, side: int, path: Path, opset: int) -> onnx.ModelProto:
    export_onnx(network, (side, side), {}, path, opset)
    pixels = torch.rand(1, network.graph.channels, side, side)
    ours, theirs = TorchRuntime(network).heads(pixels), OnnxRuntime(path, threads=1).heads(pixels)
    assert len(ours) == len(theirs) == len(network.graph.outputs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.shape == other.shape
        assert float(mine.max() - mine.min()) > 0.1, "heads that say nothing would prove nothing"
        assert float((mine - other).abs().max()) < 1e-4 * max(1.0, float(mine.abs().max()))
    return onnx.load(str(path))


@pytest.mark.parametrize("name", CFGS)
def test_every_official_cfg(name: str, tmp_path: Path) -> None:
    if not (DARKNET / f"{name}.cfg").is_file():
        pytest.skip(f"the official cfg is not in {DARKNET}; set EDGEHONE_DARKNET to the folder that holds it")
    network = as_if_trained(read_cfg(DARKNET / f"{name}.cfg").graph)
    check_parity(network, 64, tmp_path / "model.onnx", 13)


@pytest.mark.parametrize(("opset", "version"), [(13, 7), (11, 6)])
def test_every_kind_of_layer_at_both_opsets(opset: int, version: int, tmp_path: Path) -> None:
    model = check_parity(as_if_trained(Graph(EVERY_LAYER)), 64, tmp_path / "model.onnx", opset)
    assert model.opset_import[0].version == opset
    assert model.ir_version == version
    assert [output.name for output in model.graph.output] == ["stride16", "stride2"]
    assert not {node.op_type for node in model.graph.node} & {"Split", "Shape", "Gather", "Pad"}
    for value in (*model.graph.input, *model.graph.output):
        assert all(d.dim_value > 0 for d in value.type.tensor_type.shape.dim), "shapes are static"


def test_a_graph_that_trains_every_kind_of_layer() -> None:
    network = as_if_trained(Graph(EVERY_LAYER)).train()
    torch.stack([head.square().mean() for head in network(torch.rand(2, 3, 64, 64))]).sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.isfinite().all())]
    assert not without


def test_another_opset_is_refused() -> None:
    with pytest.raises(UsageError, match="opset 11, 12, 13, got 17"):
        build_model(fold(Network(YoloV4Tiny().graph(1))), (64, 64), {}, 17)
