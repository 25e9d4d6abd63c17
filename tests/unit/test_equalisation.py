"""Channels of unlike ranges: equalised without changing what the network says, and better in 8 bits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgehone.deploy.integer.equalisation import equalised, trace
from edgehone.deploy.integer.noise import CLEAN_DB, measure_noise, signal_to_noise_db
from edgehone.deploy.integer.plan import Plan, make_plan
from edgehone.deploy.integer.scheme import JETSON, KL720
from edgehone.deploy.integer.tensors import Seen, collect
from edgehone.models import Convolutional, Graph, Head, Layer, Maxpool, Network, Route, Shortcut, Upsample, fold

FIELDS = 7
SIZE = (16, 16)


def layers(activation: str) -> tuple[Layer, ...]:
    return (
        Convolutional(8, 3, activation=activation),
        Convolutional(8, 3, stride=2, activation=activation),
        Route((1,), groups=2, group=1),
        Convolutional(4, 1, activation=activation),
        Route((3, 1)),
        Convolutional(12, 3, activation=activation, groups=3),
        Maxpool(),
        Upsample(),
        Convolutional(8, 1, activation=activation),
        Convolutional(FIELDS, 1, batch_normalize=False, activation="linear"),
        Head(),
    )


def unlike(activation: str = "leaky", spread: float = 300.0) -> Network:
    """A network whose channels differ in range, each by a factor up to ``spread``, undone by what reads them."""
    torch.manual_seed(1)
    network = fold(Network(Graph(layers(activation))))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.bias += 0.1 * torch.randn_like(module.bias)
        nn.init.normal_(network.head_convolution(9).weight)
        factors = spread ** torch.rand(8)
        network.block(1)[0].weight *= factors[:, None, None, None]
        network.block(1)[0].bias *= factors
        network.block(3)[0].weight /= factors[4:, None, None]
        grouped = network.block(5)[0].weight.view(3, 4, 4, 3, 3)
        grouped[1] /= factors[:4, None, None]
        grouped[2] /= factors[4:, None, None]
    return network


def counted(network: Network) -> tuple[Seen, torch.Tensor]:
    torch.manual_seed(0)
    pixels = torch.rand(6, 3, *SIZE)
    return collect(network, SIZE, pixels, FIELDS), pixels


@pytest.mark.parametrize("activation", ["leaky", "relu", "linear"])
def test_the_network_says_the_same_and_bears_8_bits_better(activation: str) -> None:
    network = unlike(activation)
    seen, pixels = counted(network)
    even = equalised(network, seen)
    assert even is not None
    with torch.inference_mode():
        before, after = network(pixels)[0], even(pixels)[0]
    assert torch.allclose(before, after, atol=1e-4 * float(before.abs().max()))
    worst = min(measure_noise(network, make_plan(JETSON, seen, FIELDS), pixels).outputs.values())
    better = min(measure_noise(even, make_plan(JETSON, counted(even)[0], FIELDS), pixels).outputs.values())
    assert better > worst + 3


def test_what_may_not_be_scaled_is_left_alone() -> None:
    network = unlike("relu6")
    assert trace(network.graph).made == {}
    assert equalised(network, counted(network)[0]) is None
    added = (
        Convolutional(4, 3, activation="relu"),
        Convolutional(4, 3, activation="relu"),
        Shortcut((0,)),
        Convolutional(4, 1, activation="relu"),
        Convolutional(FIELDS, 1, batch_normalize=False, activation="linear"),
        Head(),
    )
    assert set(trace(Graph(added)).made) == {3}


def test_the_original_is_not_changed() -> None:
    network = unlike()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    equalised(network, counted(network)[0])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_decibels() -> None:
    signal = torch.ones(1000)
    assert signal_to_noise_db(signal, signal) == CLEAN_DB
    assert signal_to_noise_db(signal, signal + 0.1) == pytest.approx(20, abs=1e-3)
    assert signal_to_noise_db(torch.zeros(3), torch.ones(3)) == -CLEAN_DB


def test_the_layer_that_spoils_the_answer_is_found() -> None:
    torch.manual_seed(0)
    network = fold(Network(Graph(layers("leaky"))))
    with torch.no_grad():
        nn.init.normal_(network.head_convolution(9).weight)
        network.block(3)[0].weight[0] *= 100  # one loud channel, which nobody hears:
        network.block(5)[0].weight[:4, 0] = 0
    seen, pixels = counted(network)
    noise = measure_noise(network, make_plan(JETSON, seen, FIELDS), pixels)
    assert noise.layers[0].name in {"3_conv", "4_route", "5_conv"}
    assert noise.layers[0].alone_db < noise.layers[-1].alone_db - 10
    assert set(noise.weak) <= set(noise.outputs)


def test_16_bits_are_quieter_than_8_by_48_decibels() -> None:
    network = unlike()
    seen, pixels = counted(network)
    plan = make_plan(KL720.model_copy(update={"heads": "joint"}), seen, FIELDS)
    real = Plan(plan.scheme, plan.amax, plan.peaks, FIELDS, usual="fp32")
    narrow, wide = (
        measure_noise(network, Plan(**{**vars(real), "results": {9: bits}}), pixels).outputs["stride2"]
        for bits in ("int8", "int16")
    )
    assert wide - narrow == pytest.approx(48.2, abs=1.5)
