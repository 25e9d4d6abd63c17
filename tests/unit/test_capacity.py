"""Capacity measured: receptive fields against gradients, zero-cost scores, feature rank, sensitivity, and the table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.analysis.capacity import capacity_profile, object_sides
from edgehone.analysis.capacity_features import effective_rank, head_ranks, layer_sensitivity
from edgehone.analysis.capacity_measures import affordable_side, measure_capacity, measure_network, with_statistics
from edgehone.analysis.capacity_reach import effective_fields
from edgehone.analysis.capacity_scores import naswot, synflow
from edgehone.data import read_dataset
from edgehone.models import MODELS, Convolutional, Graph, Head, Maxpool, Network, Route, Upsample

DATA = read_dataset("builtin:digits?train=12&val=4&test=2&width=96&height=96&min_px=8&max_px=90&seed=3")
HEAD = Convolutional(4, 1, batch_normalize=False, activation="linear")


def chain(*layers: Convolutional | Maxpool | Upsample) -> Graph:
    return Graph((*layers, HEAD, Head()))


@st.composite
def chains(draw: st.DrawFn) -> Graph:
    """A few convolutions and pools, perhaps enlarged again, perhaps joined with an earlier map."""
    layers: list[Convolutional | Maxpool] = []
    for _ in range(draw(st.integers(1, 4))):
        kernel = Convolutional(3, draw(st.sampled_from([1, 3, 5])), draw(st.sampled_from([1, 2])), activation="linear")
        layers.append(draw(st.sampled_from([kernel, Maxpool()])))
    if draw(st.booleans()):
        depth = len(layers)
        joined = (*layers, Maxpool(), Convolutional(3, 3), Upsample(), Route((depth + 2, depth - 1)))
        return Graph((*joined, Convolutional(3, 3), HEAD, Head()))
    return chain(*layers)


def brute_force_side(graph: Graph, rows: int = 256) -> int:
    """The widest run of picture rows that moves any of the middle rows of cells, by gradients.

    All weights are positive, so that nothing cancels; a maximum passes the gradient of one pixel only, so that
    several pictures and a whole row of cells are looked at.
    """
    pixels = torch.rand(4, 3, rows, 64, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    network = Network(graph).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_().add_(0.1)
    head = network(pixels)[0]
    widest = 0
    for row in range(head.shape[2] // 2 - 2, head.shape[2] // 2 + 2):
        (slope,) = torch.autograd.grad(head[:, :, row].sum(), pixels, retain_graph=True)
        seen = slope.abs().sum((0, 1, 3)).nonzero()[:, 0]
        widest = max(widest, int(seen[-1] - seen[0]) + 1)
    return widest


def network_of(graph: Graph, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return Network(graph).eval()


def pictures(count: int, side: int) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(chains())
def test_the_theoretical_field_is_the_support_of_the_gradient(graph: Graph) -> None:
    assert capacity_profile(graph, [256]).heads[0].receptive_field_px == brute_force_side(graph)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(chains())
def test_the_effective_field_lies_inside_the_theoretical_one(graph: Graph) -> None:
    network = with_statistics(network_of(graph), pictures(2, 128))
    (found,) = effective_fields(network, pictures(2, 128))
    assert 1 <= found.holds_68_px <= found.holds_95_px <= found.reaches_px
    assert found.reaches_px <= graph.nodes()[graph.outputs[0]].receptive_field
    assert found.stride == graph.strides[0]


def test_the_effective_field_of_one_kernel_is_known() -> None:
    network = network_of(Graph((Convolutional(1, 5, batch_normalize=False, activation="linear"), HEAD, Head())))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1.0)
    (found,) = effective_fields(network, pictures(1, 32))
    # 25 pixels of equal mass: 3 x 3 hold 36 %, 5 x 5 all.
    assert (found.holds_68_px, found.holds_95_px, found.reaches_px, found.clipped) == (5, 5, 5, False)
    with torch.no_grad():
        weight = network.convolutions["0"][0].weight  # pyright: ignore
        weight.mul_(0.01)[:, :, 2, 2] = 1.0
    (peaked,) = effective_fields(network, pictures(1, 32))
    assert (peaked.holds_68_px, peaked.holds_95_px, peaked.reaches_px) == (1, 1, 5)


def test_effective_fields_need_fixed_statistics_and_say_where_the_picture_ends() -> None:
    graph = MODELS["yolov4-tiny"].graph(2)
    with pytest.raises(ValueError, match="evaluation mode"):
        effective_fields(Network(graph), pictures(1, 64))
    found = effective_fields(with_statistics(network_of(graph), pictures(2, 64)), pictures(1, 64))
    assert [field.clipped for field in found] == [True, True]
    assert [field.reaches_px for field in found] == [64, 64]


def wide(filters: int) -> Graph:
    return chain(Convolutional(filters, 3, 2), Convolutional(filters, 3, 2), Convolutional(filters, 3))


def test_scores_are_functions_of_the_network_and_grow_with_its_width() -> None:
    widths = [4, 16, 64]
    flows = [synflow(network_of(wide(width))) for width in widths]
    patterns = [naswot(network_of(wide(width)), pictures(6, 32)) for width in widths]
    assert flows == sorted(flows)
    assert None not in patterns
    assert patterns == sorted(p for p in patterns if p is not None)
    assert flows == [synflow(network_of(wide(width))) for width in widths]
    assert patterns == [naswot(network_of(wide(width)), pictures(6, 32)) for width in widths]


def test_synflow_is_the_flow_of_a_linear_chain_and_ignores_signs_and_statistics() -> None:
    graph = Graph((Convolutional(1, 1), Convolutional(1, 1, batch_normalize=False, activation="linear"), Head()))
    network = network_of(graph)
    with torch.no_grad():
        for convolution in (network.convolutions[k][0] for k in "01"):  # pyright: ignore
            convolution.weight.fill_(-10.0)
    # Two by two cells, each 3 channels x 10 x 10, counted once for each of the two layers.
    assert synflow(network) == pytest.approx(np.log10(4 * 300 * 2))
    seen = with_statistics(network, pictures(4, 16))
    assert synflow(seen) == pytest.approx(synflow(network))


def test_pictures_that_switch_alike_have_no_pattern_score() -> None:
    assert naswot(network_of(wide(4)), pictures(1, 32).expand(3, -1, -1, -1)) is None


def test_effective_rank_counts_directions() -> None:
    assert effective_rank(torch.full((50, 8), 3.0)) == pytest.approx(1.0, abs=1e-3)
    assert effective_rank(torch.eye(8).repeat(5, 1)) == pytest.approx(8.0)
    assert effective_rank(torch.zeros(10, 4)) == 0.0
    axis = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    # Roy and Vetterli: shares 3/4 and 1/4.
    assert effective_rank(axis) == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))
    noise = torch.randn(500, 12, generator=torch.Generator().manual_seed(0))
    assert effective_rank(noise) == pytest.approx(effective_rank(7 * noise), rel=1e-6)
    assert 11 < effective_rank(noise) <= 12
    graph = wide(6)
    assert head_ranks(with_statistics(network_of(graph), pictures(4, 32)), pictures(4, 32), 0)[0][0] == 6


def test_a_layer_that_does_not_matter_is_not_sensitive() -> None:
    network = network_of(wide(8))
    said = network(pictures(2, 32))[0]
    found = layer_sensitivity(network, pictures(2, 32), 0)
    assert list(found) == ["0_conv", "1_conv", "2_conv", "3_conv"]
    assert all(0.1 < value < 10 for value in found.values())
    assert torch.equal(said, network(pictures(2, 32))[0]), "the network is left as it was"
    assert found == layer_sensitivity(network, pictures(2, 32), 0)
    graph = Graph((Convolutional(4, 3), Convolutional(6, 3), Route((0,)), HEAD, Head()))
    assert layer_sensitivity(network_of(graph), pictures(2, 32), 0)["1_conv"] == 0.0


def test_measures_are_a_function_of_graph_data_and_seed() -> None:
    graph, state = MODELS["yolov4-tiny"].graph(4), torch.get_rng_state()
    found = measure_capacity(graph, DATA.train, 128)
    assert torch.equal(state, torch.get_rng_state())
    assert found == measure_capacity(graph, DATA.train, 128)
    assert (found.pictures, found.input_size) == (8, 128)
    assert [rank.channels for rank in found.feature_ranks] == [512, 256]
    assert all(1 <= rank.effective_rank <= rank.channels for rank in found.feature_ranks)
    assert len(found.sensitivity) == 21
    network = network_of(graph)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    measure_network(network, pictures(2, 64))
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_a_costly_network_is_measured_at_a_smaller_input() -> None:
    graph = MODELS["yolov4-tiny"].graph(80)
    assert affordable_side(graph, 416, 8.0) == 416
    assert affordable_side(graph, 608, 8.0) == 416
    assert affordable_side(graph, 416, 1e-6) == 64


def test_heads_are_held_against_the_objects() -> None:
    graph = MODELS["yolov4-tiny"].graph(4)
    measured = measure_capacity(graph, DATA.train, 96)
    samples = [*DATA.train, *DATA.val]
    profile = capacity_profile(graph, [96, 416], samples, measured)
    assert [(row.input_size, row.stride) for row in profile.coverage] == [(96, 32), (96, 16), (416, 32), (416, 16)]
    sides = object_sides(samples) * 416
    coarse = profile.coverage[2]
    assert coarse.smaller_than_cell == pytest.approx((np.sqrt(sides.prod(1)) < 32).mean(), abs=1e-4)
    assert coarse.larger_than_field == pytest.approx((sides.max(1) > 331).mean(), abs=1e-4)
    assert coarse.larger_than_field > 0, "a digit of 90 px of 96 is 390 px at an input of 416"
    reach = measured.effective_fields[0].holds_95_px
    assert coarse.within_effective == pytest.approx((sides.max(1) <= reach).mean(), abs=1e-4)
    assert capacity_profile(graph, [96]).coverage == ()


def test_int8_weights_keep_biases_of_32_bits() -> None:
    profile = capacity_profile(chain(Convolutional(8, 3)), [32])
    assert profile.layers[0].weight_bytes == 4 * (8 * 27 + 8)
    assert profile.layers[0].weight_bytes_int8 == 8 * 27 + 4 * 8
    assert profile.layers[0].activation_bytes == 4 * profile.layers[0].activation_bytes_int8 == 4 * 8 * 32 * 32
    assert profile.layers[0].macs == 8 * 27 * 32 * 32
    assert profile.weight_bytes_int8 == sum(layer.weight_bytes_int8 for layer in profile.layers)
