"""A folded network says what the network says, whatever its batch norms have seen."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgehone.models import Convolutional, Graph, Head, Layer, Maxpool, Network, Route, Upsample, fold

LAYERS: tuple[Layer, ...] = (
    Convolutional(8, 3, stride=2),
    Convolutional(8, 3),
    Route((1,), groups=2, group=1),
    Convolutional(4, 1, activation="linear"),
    Route((3, 1)),
    Maxpool(),
    Convolutional(6, 3),
    Upsample(),
    Route((7, 4)),
    Convolutional(7, 1, batch_normalize=False, activation="linear"),
    Head(),
)


def random_network(seed: int, smallest_variance: float) -> Network:
    torch.manual_seed(seed)
    network = Network(Graph(LAYERS))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            module.running_mean = torch.randn(module.num_features)
            module.running_var = smallest_variance + torch.rand(module.num_features)
    return network


@given(st.integers(0, 2**31), st.floats(0.05, 10))
@settings(max_examples=30, deadline=None)
def test_folding_changes_no_answer(seed: int, smallest_variance: float) -> None:
    network = random_network(seed, smallest_variance)
    pixels = torch.rand(2, 3, 16, 32)
    folded = fold(network)
    with torch.inference_mode():
        before, after = network.eval()(pixels), folded(pixels)
    for a, b in zip(before, after, strict=True):
        scale = max(1.0, float(a.abs().max()))
        assert float((a - b).abs().max()) <= 1e-4 * scale


@given(st.integers(0, 2**31))
@settings(max_examples=5, deadline=None)
def test_folding_leaves_its_source_alone(seed: int) -> None:
    network = random_network(seed, 0.5).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold(network)
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_folded_network_has_no_batch_norm_and_can_be_folded_again() -> None:
    folded = fold(random_network(0, 0.5))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert not any(layer.batch_normalize for layer in folded.graph.layers if isinstance(layer, Convolutional))
    pixels = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(folded(pixels)[0], fold(folded)(pixels)[0])
