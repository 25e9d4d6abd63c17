"""Whatever a network had in training, what is left is the plain network: every member, every combination."""

from __future__ import annotations

import copy
import functools
import itertools
import os
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from edgehone.deploy.onnx_graph import build_model
from edgehone.models import Graph, Network, architecture, fold, plain, widen
from edgehone.models.darknet import read_cfg, read_weights, write_weights
from edgehone.models.free_capacity import (
    Auxiliary,
    AuxiliaryLoss,
    BranchedConvolutions,
    CapacityPlan,
    Convolutions,
    FreeCapacity,
    NoAuxiliary,
    PlainConvolutions,
    backbone_end,
)
from edgehone.models.training_forms import AuxiliaryHeads, Branched, ImplicitConvolution
from edgehone.space import dimensions, union_types
from edgehone.strategy import Strategy

DARKNET = Path(os.environ.get("EDGEHONE_DARKNET", Path(__file__).parents[2] / "../shared/darknet"))
FAMILY = ("yolov4-tiny", "yolov4-tiny-3l", "yolov4-tiny@width=0.25", "yolov4-tiny-3l@width=0.5,activation=relu6")
COMBINATIONS = [
    FreeCapacity(convolutions=convolutions, implicit=implicit, auxiliary=auxiliary)
    for convolutions, implicit, auxiliary in itertools.product(
        (PlainConvolutions(), BranchedConvolutions(layers="backbone"), BranchedConvolutions(layers="all")),
        (False, True),
        (NoAuxiliary(), AuxiliaryLoss(reads="backbone"), AuxiliaryLoss(reads="all")),
    )
]
EVERYTHING = COMBINATIONS[-1]
PIXELS = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@functools.cache
def fresh(model: str) -> Network:
    torch.manual_seed(0)
    return Network(architecture(model).graph(3))


def widened(model: str, capacity: FreeCapacity) -> tuple[Network, CapacityPlan, AuxiliaryHeads | None]:
    network = copy.deepcopy(fresh(model))
    plan = capacity.plan(network.graph)
    return network, plan, widen(network, plan)


@torch.no_grad()
def stir(network: Network) -> None:
    """As after a training: scales and statistics of their own that fit what the layers compute, heads that answer."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        if norm.affine:
            nn.init.uniform_(norm.weight, 0.3, 1.0)
            nn.init.normal_(norm.bias, std=0.3)
    for module in network.modules():
        if isinstance(module, ImplicitConvolution):
            nn.init.normal_(module.added, std=0.3)
            nn.init.normal_(module.multiplied, mean=1.0, std=0.3)
    for index in network.outputs:
        head = next(m for m in network.convolutions[str(index)].modules() if isinstance(m, nn.Conv2d))
        nn.init.normal_(head.weight, std=0.05)
    network.train()(torch.rand(4, 3, 96, 96))
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean += 0.2 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt()
        norm.running_var *= 0.7 + 0.6 * torch.rand_like(norm.running_var)
    network.eval()


@pytest.mark.parametrize("model", FAMILY)
@torch.no_grad()
def test_every_combination_folds_into_the_plain_network(model: str) -> None:
    for capacity in COMBINATIONS:
        network, plan, auxiliary = widened(model, capacity)
        assert plan.left == ()
        assert bool(plan.branched) == (capacity.convolutions.kind == "branched")
        assert plan.implicit == (network.outputs if capacity.implicit else ())
        assert (auxiliary is not None) == (capacity.auxiliary.kind == "heads")
        stir(network)
        folded = plain(network)
        theirs = fresh(model).state_dict()
        assert {k: v.shape for k, v in folded.state_dict().items()} == {k: v.shape for k, v in theirs.items()}
        wanted, got, exported = network(PIXELS), folded(PIXELS), fold(folded)(PIXELS)
        for a, b, c in zip(wanted, got, exported, strict=True):
            assert float(a.std()) > 0.05, "heads that say nothing would prove nothing"
            assert float((a - b).abs().max()) <= 1e-4, capacity
            assert float((a - c).abs().max()) <= 1e-4, capacity


@pytest.mark.parametrize(
    ("model", "backbone", "everywhere"),
    [("yolov4-tiny", (27, 24), (27, 34)), ("yolov4-tiny-3l", (27, 24, 16), (27, 34, 41))],
)
def test_where_the_parts_of_the_family_sit(model: str, backbone: tuple[int, ...], everywhere: tuple[int, ...]) -> None:
    graph = fresh(model).graph
    assert backbone_end(graph) == 29, "as many layers as yolov4-tiny.conv.29 holds"
    for reads, taps in (("backbone", backbone), ("all", everywhere)):
        capacity = FreeCapacity.model_validate({"auxiliary": {"kind": "heads", "reads": reads}})
        assert capacity.plan(graph).taps == taps
    squares = tuple(i for i, layer in enumerate(graph.layers) if getattr(layer, "size", 0) == 3)
    assert EVERYTHING.plan(graph).branched == squares
    few = FreeCapacity(convolutions=BranchedConvolutions(layers="backbone")).plan(graph)
    assert few.branched == tuple(i for i in squares if i < 29)
    described = EVERYTHING.plan(graph).describe(graph)
    assert described["implicit"] == [graph.name(i) for i in graph.outputs]
    assert described["auxiliary"] == {
        graph.name(h): graph.name(t) for h, t in zip(graph.outputs, everywhere, strict=True)
    }


def skeleton(model: onnx.ModelProto) -> list[object]:
    """Everything of a graph but the values of its weights."""
    graph = model.graph
    return [
        [node.SerializeToString() for node in graph.node],
        [(item.name, tuple(item.dims), item.data_type) for item in graph.initializer],
        [value.SerializeToString() for value in (*graph.input, *graph.output, *graph.value_info)],
        [(entry.domain, entry.version) for entry in model.opset_import],
        model.ir_version,
    ]


@pytest.mark.parametrize("model", FAMILY[2:])
@pytest.mark.parametrize("opset", [11, 13])
def test_the_exported_graph_is_the_plain_one(model: str, opset: int) -> None:
    network, _, _ = widened(model, EVERYTHING)
    stir(network)
    ours = build_model(fold(plain(network)), (64, 96), {}, opset)
    theirs = build_model(fold(fresh(model)), (64, 96), {}, opset)
    assert skeleton(ours) == skeleton(theirs)
    assert [a.raw_data for a in ours.graph.initializer] != [b.raw_data for b in theirs.graph.initializer]


@torch.no_grad()
def test_a_weights_file_holds_the_plain_network(tmp_path: Path) -> None:
    network, _, _ = widened("yolov4-tiny@width=0.25", EVERYTHING)
    stir(network)
    sizes = [
        write_weights(one, tmp_path / name).stat().st_size
        for name, one in (("a.weights", plain(network)), ("b.weights", fresh("yolov4-tiny@width=0.25")))
    ]
    assert sizes[0] == sizes[1]
    read = Network(network.graph)
    read_weights(read, tmp_path / "a.weights")
    for a, b in zip(read.eval()(PIXELS), network(PIXELS), strict=True):
        assert float((a - b).abs().max()) <= 1e-4


def cfg_graph(name: str) -> Graph:
    path = DARKNET / f"{name}.cfg"
    if not path.is_file():
        pytest.skip(f"{name}.cfg is not in {DARKNET}; set EDGEHONE_DARKNET to the folder that holds it")
    return read_cfg(path).graph


@pytest.mark.parametrize("name", ["yolo-fastest-1.1", "yolov7-tiny"])
@torch.no_grad()
def test_any_darknet_network_folds(name: str) -> None:
    torch.manual_seed(0)
    network = Network(cfg_graph(name))
    plan = EVERYTHING.plan(network.graph)
    auxiliary = widen(network, plan)
    assert len(plan.branched) > 10
    assert auxiliary is not None
    branches = [module for module in network.modules() if isinstance(module, Branched)]
    assert any(branch.same_norm is not None for branch in branches)
    stir(network)
    heads, maps = network.heads_and_maps(PIXELS, plan.taps)
    assert [h.shape for h in auxiliary(maps)] == [h.shape for h in heads]
    for a, b in zip(heads, plain(network)(PIXELS), strict=True):
        assert float((a - b).abs().max()) <= 1e-4 * max(1.0, float(a.abs().max()))


@pytest.mark.parametrize("name", ["yolov4", "yolov3-tiny", "yolov4-tiny-custom", "yolo-fastest-1.1-xl"])
def test_every_darknet_graph_has_a_plan(name: str) -> None:
    graph = cfg_graph(name)
    plan = EVERYTHING.plan(graph)
    nodes = graph.nodes()
    assert len(plan.taps) == len(graph.outputs)
    for head, tap in zip(graph.outputs, plan.taps, strict=True):
        assert nodes[tap].strides == nodes[head].strides
        assert tap < head - 1
    assert 1.0 < plan.flops_ratio(graph) < 1.2


def test_it_is_searched_and_off_by_default() -> None:
    found = {d.path: d for d in dimensions(Strategy) if d.path.startswith("capacity.")}
    assert list(found) == [
        "capacity.convolutions.kind",
        "capacity.convolutions.layers",
        "capacity.implicit",
        "capacity.auxiliary.kind",
        "capacity.auxiliary.reads",
        "capacity.auxiliary.weight",
    ]
    defaults = [found[f"capacity.{path}"].default for path in ("convolutions.kind", "implicit", "auxiliary.kind")]
    assert defaults == ["plain", False, "off"]
    assert found["capacity.auxiliary.weight"].when == (("capacity.auxiliary.kind", "heads"),)
    assert found["capacity.convolutions.layers"].when == (("capacity.convolutions.kind", "branched"),)
    graph = fresh("yolov4-tiny").graph
    assert FreeCapacity().plan(graph) == CapacityPlan()
    for alias, part in ((Convolutions, "convolutions"), (Auxiliary, "auxiliary")):
        assert {type(getattr(c, part)) for c in COMBINATIONS} == set(union_types(alias)), "each member is tried above"
