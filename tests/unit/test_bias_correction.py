"""Rounded weights shift all sums of a channel; corrected biases take the shift away, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.deploy.integer.accuracy import RoundedOnnxRuntime
from edgehone.deploy.integer.bias_correction import corrected, mean_sums
from edgehone.deploy.integer.fine_tuning import RoundedNetwork
from edgehone.deploy.integer.histogram import Histogram
from edgehone.deploy.integer.noise import least_db, measure_noise
from edgehone.deploy.integer.plan import Plan, make_plan
from edgehone.deploy.integer.scheme import JETSON, KL720, ONNX_RUNTIME, SCHEMES, Scheme
from edgehone.deploy.integer.simulator import Simulator
from edgehone.deploy.integer.tensors import collect
from edgehone.models import Convolutional, Graph, Head, Network, Route, fold

FIELDS = 7
SIZE = (48, 48)
PARALLEL = st.sampled_from([(1, 3, 4), (2, 4, 6), (3, 6, 3), (4, 4, 8)])


def network() -> Network:
    """Filters that look for differences in bright pictures: their sums are small, those of their errors are not."""
    torch.manual_seed(5)
    made = fold(
        Network(
            Graph(
                (
                    Convolutional(8, 3, stride=2),
                    Convolutional(8, 3, activation="relu"),
                    Convolutional(8, 3, activation="relu", groups=2),
                    Route((2, 1)),
                    Convolutional(2 * FIELDS, 1, batch_normalize=False, activation="linear"),
                    Head(),
                )
            )
        )
    )
    with torch.no_grad():
        first = made.block(0)[0].weight
        first -= first.mean((1, 2, 3), keepdim=True)
        torch.nn.init.normal_(made.head_convolution(4).weight)
    return made


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.8 + 0.2 * torch.rand(count, 3, *SIZE, generator=generator)


def planned(scheme: Scheme, made: Network) -> tuple[Plan, Plan]:
    """Without and with corrected biases."""
    seen = collect(made, SIZE, list(pictures(8)), FIELDS)
    plan = make_plan(scheme, seen, FIELDS)
    return plan, replace(plan, means=seen.means)


@given(PARALLEL, st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_mean_sums_are_those_of_constant_pictures(shape: tuple[int, int, int], seed: int) -> None:
    groups, channels, out = shape
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(out, channels // groups, 3, 3, generator=generator)
    means = torch.randn(channels, generator=generator)
    constant = means[None, :, None, None].expand(1, channels, 3, 3)
    wanted = F.conv2d(constant, weights, groups=groups)[0, :, 0, 0]
    assert torch.allclose(mean_sums(weights, means.double().numpy()), wanted, atol=1e-4)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda scheme: scheme.board)
def test_heads_are_quieter_on_pictures_that_gave_no_means(scheme: Scheme) -> None:
    made, pixels = network(), pictures(6, seed=9)
    plain, right = planned(scheme, made)
    with torch.inference_mode():
        wanted = made(pixels)
    assert least_db(made, right, pixels, wanted) > least_db(made, plain, pixels, wanted) + 3


def test_the_shift_of_every_channel_goes() -> None:
    made, pixels = network(), pictures(16, seed=9)
    plain, right = planned(KL720, made)
    with torch.inference_mode():
        wanted = made(pixels)[0]
    before, after = (
        (Simulator(made, plan).heads(pixels)[0] - wanted).mean((0, 2, 3)).square().mean().sqrt()
        for plan in (plain, right)
    )
    assert after < 0.4 * before


def test_nothing_else_changes() -> None:
    made = network()
    plain, right = planned(JETSON, made)
    assert corrected(made, plain) is made
    state = {name: value.clone() for name, value in made.state_dict().items()}
    after = corrected(made, right).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in made.state_dict().items())
    changed = {name.rsplit(".", 1)[1] for name, value in after.items() if not torch.equal(value, state[name])}
    assert changed == {"bias"}


def test_layers_with_real_weights_keep_their_biases() -> None:
    made = network()
    _, right = planned(JETSON, made)
    after = corrected(made, right.widened(0))
    assert torch.equal(after.block(0)[0].bias, made.block(0)[0].bias)
    assert not torch.equal(after.block(1)[0].bias, made.block(1)[0].bias)
    only = right.only(made.graph, 1)
    assert torch.equal(corrected(made, only).block(0)[0].bias, made.block(0)[0].bias)


def test_the_graph_and_the_network_that_trains_have_them_too() -> None:
    made, pixels = network(), pictures(4, seed=3)
    _, right = planned(ONNX_RUNTIME, made)
    wanted = Simulator(made, right).heads(pixels)[0]
    executed = RoundedOnnxRuntime.of(made, SIZE, right).heads(pixels)[0]
    with torch.inference_mode():
        trained = RoundedNetwork(made, right)(pixels)[0]
    for got in (executed, trained):
        assert ((got - wanted).abs() <= 1e-4 * wanted.abs().max()).float().mean() > 0.9
        assert (got - wanted).abs().max() < 0.1 * wanted.abs().max(), "a half-way case may fall otherwise"


def test_noise_is_that_of_what_should_have_been_said() -> None:
    made, pixels = network(), pictures(4)
    _, right = planned(JETSON, made)
    baked, bare = corrected(made, right), replace(right, means={})
    with torch.inference_mode():
        wanted = made(pixels)
    apart = measure_noise(baked, bare, pixels, wanted).outputs
    assert apart == pytest.approx(measure_noise(made, right, pixels).outputs, abs=0.1)
    assert min(apart.values()) > min(measure_noise(baked, bare, pixels).outputs.values()) + 3, "its own are shifted"


def test_means_of_channels_are_counted_picture_by_picture() -> None:
    values = np.random.default_rng(0).normal(size=(6, 3, 5, 4)).astype(np.float32)
    seen = Histogram()
    for value in values:
        seen.add(value[None])
    assert seen.channel_means == pytest.approx(values.mean((0, 2, 3)), abs=1e-6)
