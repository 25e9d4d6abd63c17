"""Layers against plain loops over Darknet's definitions (AlexeyAB/darknet src/*_layer.c, src/blas.c)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehone.models import (
    Avgpool,
    Convolutional,
    Dropout,
    Graph,
    Layer,
    Maxpool,
    Network,
    Sam,
    ScaleChannels,
    Shortcut,
    Upsample,
)
from edgehone.models.network import activated, reorg

Map = NDArray[np.float32]


def noise(*shape: int, seed: int = 0) -> Map:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@given(
    size=st.integers(1, 5),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.none() | st.integers(0, 4),
    shape=st.tuples(st.integers(5, 9), st.integers(5, 9)),
)
@settings(max_examples=60, deadline=None)
def test_maxpool(size: int, stride: tuple[int, int], padding: int | None, shape: tuple[int, int]) -> None:
    if padding is not None:
        padding = min(padding, 2 * (size - 1))
    layer = Maxpool(size, stride, padding)
    maps = noise(2, *shape)
    whole = size - 1 if padding is None else padding
    rows, columns = ((side + whole - size) // step + 1 for side, step in zip(shape, stride, strict=True))
    expected = np.full((2, rows, columns), -np.inf, np.float32)
    for k, i, j, n, m in np.ndindex(2, rows, columns, size, size):
        y, x = i * stride[0] + n - whole // 2, j * stride[1] + m - whole // 2
        if 0 <= y < shape[0] and 0 <= x < shape[1]:
            expected[k, i, j] = max(expected[k, i, j], maps[k, y, x])
    got = Network(Graph((layer,), channels=2)).run_layer(0, layer, [torch.from_numpy(maps)[None]])[0].numpy()
    assert layer.shape([(2, *shape)]) == got.shape
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_reorg_moves_memory_as_darknet_does(stride: int) -> None:
    channels, height, width = 8, 4, 6
    maps = noise(channels, height, width)
    fewer = channels // stride**2
    source, target = maps.flatten(), np.zeros(maps.size, np.float32)
    for k in range(channels):
        for j in range(height):
            for i in range(width):
                c2, offset = k % fewer, k // fewer
                w2, h2 = i * stride + offset % stride, j * stride + offset // stride
                out = w2 + width * stride * (h2 + height * stride * c2)
                target[i + width * (j + height * k)] = source[out]
    expected = target.reshape(channels * stride**2, height // stride, width // stride)
    np.testing.assert_array_equal(reorg(torch.from_numpy(maps)[None], stride)[0].numpy(), expected)


def weight_of(weights: Map, i: int, channel: int, normalisation: str) -> float:
    column = weights[:, channel if weights.shape[1] > 1 else 0].astype(np.float64)
    if normalisation == "relu":
        return max(column[i], 0) / (1e-4 + sum(max(w, 0) for w in column))
    if normalisation == "softmax":
        return math.exp(column[i] - max(column)) / (1e-4 + sum(math.exp(w - max(column)) for w in column))
    return float(column[i])


@pytest.mark.parametrize("weights", ["none", "per_feature", "per_channel"])
@pytest.mark.parametrize("normalisation", ["none", "relu", "softmax"])
def test_shortcut_weighs_and_adds(weights: str, normalisation: str) -> None:
    layer = Shortcut((0, 1), "leaky", weights, normalisation)  # pyright: ignore[reportArgumentType]
    layers: tuple[Layer, ...] = (Convolutional(3, 1), Convolutional(3, 1), Convolutional(3, 1), layer)
    network = Network(Graph(layers))
    maps = [noise(3, 4, 5, seed=k) for k in range(3)]
    table = np.ones((3, 1), np.float32)
    if weights != "none":
        table = noise(3, 1 if weights == "per_feature" else 3, seed=7)
        with torch.no_grad():
            network.shortcuts["3"].copy_(torch.from_numpy(table))
    expected = np.zeros((3, 4, 5), np.float64)
    for k in range(3):
        for i, source in enumerate(maps):
            factor = 1.0 if weights == "none" else weight_of(table, i, k, normalisation)
            expected[k] += factor * source[k].astype(np.float64)
    expected = np.where(expected > 0, expected, 0.1 * expected)
    with torch.no_grad():
        got = network.run_layer(3, layer, [torch.from_numpy(m)[None] for m in maps])[0].numpy()
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("mine", "theirs"), [(2, 5), (5, 2)])
def test_shortcut_of_other_widths_adds_the_first_channels(mine: int, theirs: int) -> None:
    layers: tuple[Layer, ...] = (Convolutional(theirs, 1), Convolutional(mine, 1), Shortcut((0,)))
    first, second = noise(theirs, 3, 3), noise(mine, 3, 3, seed=1)
    network = Network(Graph(layers))
    got = network.run_layer(2, layers[2], [torch.from_numpy(second)[None], torch.from_numpy(first)[None]])[0].numpy()
    expected = second.copy()
    shared = min(mine, theirs)
    expected[:shared] += first[:shared]
    np.testing.assert_array_equal(got, expected)


def test_scale_channels_and_sam_multiply() -> None:
    maps, each, cells = noise(3, 4, 5), noise(3, 1, 1, seed=1), noise(1, 4, 5, seed=2)
    scale, spatial, sam = ScaleChannels(0), ScaleChannels(0, scale_wh=True), Sam(0, "logistic")
    network = Network(Graph((Convolutional(3, 1), Avgpool(), scale)))

    def of(layer: Layer, *sources: Map) -> Map:
        return network.run_layer(2, layer, [torch.from_numpy(s)[None] for s in sources])[0].numpy()

    np.testing.assert_allclose(of(scale, each, maps), maps * each)
    np.testing.assert_allclose(of(spatial, cells, maps), maps * cells)
    np.testing.assert_allclose(of(sam, maps, maps), 1 / (1 + np.exp(-maps * maps)), rtol=1e-5)
    assert spatial.shape([(1, 4, 5), (3, 4, 5)]) == (3, 4, 5)


@pytest.mark.parametrize(
    "layer",
    [
        Convolutional(4, 3, stride=(2, 1), activation="linear", batch_normalize=False),
        Convolutional(6, 3, dilation=2, activation="linear", batch_normalize=False),
        Convolutional(4, 3, groups=2, padding=0, activation="linear", batch_normalize=False),
        Convolutional(2, 2, stride=2, padding=0, activation="linear", batch_normalize=False),
        Convolutional(2, 5, padding=1, activation="linear", batch_normalize=False),
    ],
)
def test_convolution(layer: Convolutional) -> None:
    maps = noise(2, 8, 8)
    torch.manual_seed(0)
    network = Network(Graph((layer,), channels=2))
    kernel = network.block(0)[0].weight.detach().numpy()
    down, right = layer.stride if isinstance(layer.stride, tuple) else (layer.stride, layer.stride)
    _, rows, columns = shape = layer.shape([(2, 8, 8)])
    expected = np.zeros(shape, np.float64)
    per_group, filters = 2 // layer.groups, layer.filters // layer.groups
    for f, i, j in np.ndindex(*shape):
        for c, n, m in np.ndindex(per_group, layer.size, layer.size):
            y, x = i * down + n * layer.dilation - layer.border, j * right + m * layer.dilation - layer.border
            if 0 <= y < 8 and 0 <= x < 8:
                expected[f, i, j] += float(kernel[f, c, n, m]) * float(maps[f // filters * per_group + c, y, x])
    assert (rows, columns) == expected.shape[1:]
    bias = network.block(0)[0].bias
    assert bias is not None
    np.testing.assert_allclose(run_with(network, maps), expected + bias.detach().numpy()[:, None, None], atol=1e-5)


def run_with(network: Network, maps: Map) -> Map:
    with torch.inference_mode():
        return network.run_layer(0, network.graph.layers[0], [torch.from_numpy(maps)[None]])[0].numpy()


def mish(x: float) -> float:
    return x * math.tanh(math.log1p(math.exp(x)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linear", lambda x: x),
        ("leaky", lambda x: x if x > 0 else 0.1 * x),
        ("relu", lambda x: max(x, 0)),
        ("relu6", lambda x: min(max(x, 0), 6)),
        ("mish", mish),
        ("swish", lambda x: x / (1 + math.exp(-x))),
        ("logistic", lambda x: 1 / (1 + math.exp(-x))),
    ],
)
def test_activations(name: str, expected: Callable[[float], float]) -> None:
    values = [-9.0, -1.5, -0.2, 0.0, 0.3, 2.0, 7.5]
    got = activated(torch.tensor(values), name)  # pyright: ignore[reportArgumentType]
    assert got.tolist() == pytest.approx([expected(v) for v in values], abs=1e-6)


def test_dropout_is_for_training_only() -> None:
    network = Network(Graph((Convolutional(4, 1), Dropout(0.5))))
    ones = torch.ones(1, 4, 20, 20)
    layer = network.graph.layers[1]
    assert torch.equal(network.eval().run_layer(1, layer, [ones]), ones)
    assert set(network.train().run_layer(1, layer, [ones]).unique().tolist()) == {0.0, 2.0}


def test_upsample_repeats_and_scales() -> None:
    maps = noise(3, 2, 3)
    layer = Upsample(2, 0.5)
    network = Network(Graph((Maxpool(2, 2), layer)))
    with torch.no_grad():
        answer = network.run_layer(1, layer, [torch.from_numpy(maps)[None]])[0].numpy()
    np.testing.assert_array_equal(answer, maps.repeat(2, 1).repeat(2, 2) * np.float32(0.5))
