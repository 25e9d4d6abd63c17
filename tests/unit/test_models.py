"""YOLOv4-tiny's size and cost, the rules of a graph, the network that runs it, and the facts of capacity."""

from __future__ import annotations

import weakref
from dataclasses import replace

import pytest
import torch
from torch import nn

from edgehone.analysis.capacity import CapacityProfile, capacity_profile
from edgehone.models import (
    MODELS,
    Convolutional,
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
)

GRAPH = YoloV4Tiny().graph(80)


@pytest.mark.parametrize(("side", "bflops"), [(320, 4.088), (416, 6.908), (512, 10.464), (608, 14.756), (640, 16.350)])
def test_cost_is_the_published_one(side: int, bflops: float) -> None:
    costs = GRAPH.layer_costs((side, side))
    assert 2 * sum(cost.macs for cost in costs) / 1e9 == pytest.approx(bflops, abs=5e-4)
    assert sum(cost.parameters for cost in costs) == 6_056_606


def test_the_network_has_the_parameters_that_the_graph_counts() -> None:
    assert sum(parameter.numel() for parameter in Network(GRAPH).parameters()) == 6_056_606
    assert sum(isinstance(layer, Convolutional) for layer in GRAPH.layers) == 21


def test_only_the_heads_know_the_classes() -> None:
    few, many = YoloV4Tiny().graph(3), GRAPH
    differing = [i for i, (a, b) in enumerate(zip(few.layers, many.layers, strict=True)) if a != b]
    assert differing == [29, 30, 36, 37]  # each head and the convolution before it
    assert few.outputs == (29, 36)
    assert [few.nodes()[i].channels for i in few.outputs] == [3 * (5 + 3)] * 2


def test_heads_are_raw_and_coarse_first() -> None:
    network = Network(YoloV4Tiny().graph(3)).eval()
    with torch.inference_mode():
        heads = network(torch.rand(2, 3, 64, 96))
    assert network.graph.strides == (32, 16)
    assert [tuple(head.shape) for head in heads] == [(2, 24, 2, 3), (2, 24, 4, 6)]


def test_bf16_and_channels_last_give_nearly_the_same() -> None:
    torch.manual_seed(0)
    network = Network(YoloV4Tiny().graph(3)).eval()
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        exact = network(pixels)
        network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            quick = network(pixels.to(memory_format=torch.channels_last))
    for a, b in zip(exact, quick, strict=True):
        assert b.dtype == torch.bfloat16
        assert float((a - b.float()).abs().max()) < 0.05 * float(a.abs().max())


def test_every_parameter_learns() -> None:
    network = Network(YoloV4Tiny().graph(2))
    torch.stack([head.square().mean() for head in network(torch.rand(2, 3, 64, 64))]).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_an_input_that_the_strides_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        GRAPH.layer_costs((416, 400))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((Convolutional(4, 3), Route((1,))), "earlier layers"),
        ((Convolutional(4, 3), Route((-1,))), "earlier layers"),
        ((Convolutional(4, 3), Route(())), "earlier layers"),
        ((Convolutional(4, 3), Convolutional(4, 3, stride=2), Route((0, 1))), "different strides"),
        ((Convolutional(5, 3), Route((0,), groups=2, group=1)), "part 1 of 2"),
        ((Convolutional(4, 3), Route((0,), groups=2, group=2)), "part 2 of 2"),
        ((Convolutional(4, 3), Upsample()), "upsample"),
        ((Convolutional(4, 2), Head()), "cells that cover"),
        ((Convolutional(4, 3, padding=0), Route((0,)), Convolutional(4, 9, stride=2), Head()), "cells that cover"),
        ((Convolutional(4, 3, groups=2),), "2 groups divide neither 3"),
        ((Convolutional(4, 2, dilation=2),), "odd size"),
        ((Convolutional(4, 3), Convolutional(4, 3, stride=(1, 2), activation="linear"), Head()), "square cells"),
        ((Convolutional(4, 3), Shortcut(())), "names a layer"),
        ((Convolutional(4, 3), Convolutional(6, 3), Shortcut((0,), weights="per_feature")), "of one width"),
        ((Convolutional(4, 3), ScaleChannels(0)), "layer 1: the scales"),
        ((Convolutional(4, 3), Convolutional(6, 3), Sam(0)), "one shape"),
        ((Convolutional(4, 3), Reorg(4)), "layer 1"),
        ((Convolutional(4, 1, activation="linear"), Head(), Convolutional(4, 1)), "reads a head"),
        ((Convolutional(4, 1), Head(((1, 2),), (0,), 1)), "its activation is linear"),
        ((Convolutional(4, 1, activation="linear"), Head(((1, 2),), (1,), 1)), "names anchors 0 to 0"),
        ((Convolutional(4, 1, activation="linear"), Head(((1, 2),), (0,), 1)), "need filters=6"),
        ((Convolutional(0, 3),), "has filters"),
        ((Convolutional(4, 3, stride=0),), "stride is at least 1"),
        ((Convolutional(4, 3), Maxpool(2, 0)), "stride is at least 1"),
        ((Convolutional(4, 3), Maxpool(3, 1, padding=5)), "more than padding"),
        ((Head(),), "none before layer 0"),
        ((Convolutional(4, 3), Maxpool(), Head()), "none before layer 2"),
        ((Convolutional(4, 1), Head(), Head()), "none before layer 2"),
    ],
)
def test_an_impossible_graph_is_refused_by_layer(layers: tuple[Layer, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Graph(layers)


def test_fresh_weights_keep_the_signal_and_start_heads_quietly() -> None:
    torch.manual_seed(0)
    network = Network(GRAPH)
    for index, layer in enumerate(GRAPH.layers):
        if not isinstance(layer, Convolutional):
            continue
        weight = network.head_convolution(index).weight.detach()
        fan_in = weight[0].numel()
        expected = 0.01 if index in GRAPH.outputs else (2 / (1.01 * fan_in)) ** 0.5  # 1 + slope^2 = 1.01
        assert float(weight.std()) == pytest.approx(expected, rel=0.1), index
    assert all(not bias.any() for bias in network.head_biases())


def test_batch_norms_have_darknets_constants() -> None:
    norms = [module for module in Network(GRAPH).modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 19
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-5, 0.1)}


def test_maps_that_nobody_reads_again_are_let_go() -> None:
    network = Network(YoloV4Tiny().graph(2)).eval()
    maps: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def remember(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal most
        maps.append(weakref.ref(output))
        most = max(most, sum(each() is not None for each in maps))

    for block in network.convolutions.values():
        block.register_forward_hook(remember)
    with torch.inference_mode():
        network(torch.rand(1, 3, 64, 64))
    assert len(maps) == 21
    assert most <= 5, "of a block: its first map, the two of its half and the fused one; and the one being made"


def seen_rows(network: Network, output: int, rows: int) -> int:
    """How many rows of the picture reach the middle cell of an output: NaN travels wherever a pixel counts."""

    def reaches(start: int, end: int) -> bool:
        pixels = torch.zeros(1, 3, rows, 32)
        pixels[:, :, start:end] = torch.nan
        head = network(pixels)[output]
        return bool(head[0, 0, head.shape[2] // 2].isnan().any())

    def bisect(low: int, high: int, end_of_top: bool) -> int:
        """The smallest end of a band from the top that reaches, or the largest start of one to the bottom."""
        while high - low > 1:
            middle = (low + high) // 2
            hit = reaches(0, middle) if end_of_top else not reaches(middle, rows)
            low, high = (low, middle) if hit else (middle, high)
        return high

    top = bisect(0, rows, True) - 1
    bottom = bisect(top, rows, False)
    return bottom - top


@pytest.mark.parametrize("output", [0, 1])
def test_the_receptive_field_is_what_a_cell_really_sees(output: int) -> None:
    layers = (replace(la, filters=4) if isinstance(la, Convolutional) else la for la in GRAPH.layers)
    narrow = Graph(tuple(Head() if isinstance(la, Head) else la for la in layers))
    network = Network(narrow).eval()
    expected = GRAPH.nodes()[GRAPH.outputs[output]].receptive_field
    with torch.inference_mode():
        assert seen_rows(network, output, rows=1024) == expected


def test_capacity_states_the_facts_of_the_graph() -> None:
    profile = capacity_profile(GRAPH, [320, 416])
    assert profile.parameters == 6_056_606
    assert profile.bflops == pytest.approx({320: 4.088, 416: 6.908}, abs=5e-4)
    assert profile.largest_map_bytes[416] == 4 * 128 * 104 * 104
    assert [(head.stride, head.channels) for head in profile.heads] == [(32, 512), (16, 256)]
    assert [head.receptive_field_px for head in profile.heads] == [GRAPH.nodes()[i].receptive_field for i in (29, 36)]
    assert len(profile.layers) == 38
    assert profile.layers[0].output_shape == (32, 208, 208)
    folded_floats = sum(p.numel() for p in Network(GRAPH).parameters()) - sum(
        layer.filters for layer in GRAPH.layers if isinstance(layer, Convolutional) and layer.batch_normalize
    )
    assert profile.weight_bytes == 4 * folded_floats
    assert CapacityProfile.model_validate_json(profile.model_dump_json()) == profile


def test_models_are_found_by_name() -> None:
    assert {name: model.heads for name, model in MODELS.items()} == {"yolov4-tiny": 2, "yolov4-tiny-3l": 3}
