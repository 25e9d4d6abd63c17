"""The network says what OpenCV's reader of Darknet files says, for the official cfg and the same weights."""

from __future__ import annotations

import copy
import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from edgehone.models import Network, YoloV4Tiny

DARKNET = Path(os.environ.get("EDGEHONE_DARKNET", Path(__file__).parents[2] / "../shared/darknet"))
CFG = DARKNET / "yolov4-tiny.cfg"
OFFICIAL_BYTES = 24_251_276
"""Of yolov4-tiny.weights: 20 bytes of header and 6,062,814 floats."""
OPENCV_EPSILON = 1e-6
"""That OpenCV's reader of Darknet files adds to a variance (modules/dnn/src/darknet/darknet_io.cpp)."""


def with_statistics(network: Network) -> Network:
    """As if trained: batch norms with statistics and scales of their own, larger heads."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            width = module.num_features
            nn.init.normal_(module.bias, std=0.3, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            module.running_mean = 0.3 * torch.randn(width, generator=generator)
            module.running_var = 0.5 + torch.rand(width, generator=generator)
    for index in network.graph.outputs:
        nn.init.normal_(network.head_convolution(index).weight, std=0.1, generator=generator)
        bias = network.head_convolution(index).bias
        assert bias is not None
        nn.init.normal_(bias, std=1.0, generator=generator)
    return network.eval()


def darknet_weights(network: Network) -> bytes:
    """The network as Darknet stores it (src/parser.c, load_convolutional_weights)."""
    parts = [struct.pack("<iiiQ", 0, 2, 5, 0)]
    for block in network.convolutions.values():
        assert isinstance(block, nn.Sequential)
        convolution, norm = block[0], block[1] if len(block) > 1 else None
        assert isinstance(convolution, nn.Conv2d)
        if isinstance(norm, nn.BatchNorm2d):
            stored = [norm.bias, norm.weight, norm.running_mean, norm.running_var, convolution.weight]
        else:
            stored = [convolution.bias, convolution.weight]
        for tensor in stored:
            assert tensor is not None
            parts.append(tensor.detach().numpy().astype("<f4").tobytes())
    return b"".join(parts)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return with_statistics(Network(YoloV4Tiny().graph(80)))


def test_there_are_as_many_weights_as_in_the_official_file(network: Network) -> None:
    assert len(darknet_weights(network)) == OFFICIAL_BYTES


def heads_of_both(network: Network, folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per head what the network and what OpenCV says of one noise picture; skips without the official cfg."""
    if not CFG.is_file():
        pytest.skip(f"the official cfg is not at {CFG}; set EDGEHONE_DARKNET to the folder that holds it")
    weights = folder / "yolov4-tiny.weights"
    weights.write_bytes(darknet_weights(network))
    reader = cv2.dnn.readNetFromDarknet(str(CFG), str(weights))
    reader.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    reader.enableWinograd(False)  # it rounds otherwise, and by more than what is compared here
    pixels = np.random.default_rng(2).random((1, 3, 416, 416), np.float32)
    reader.setInput(pixels)
    theirs = reader.forward(["conv_29", "conv_36"])
    with torch.inference_mode():
        ours = [head.numpy() for head in network(torch.from_numpy(pixels))]
    return list(zip(ours, theirs, strict=True))


def test_raw_heads_equal_those_of_opencv(network: Network, tmp_path: Path) -> None:
    for mine, other in heads_of_both(network, tmp_path):
        assert mine.shape == other.shape
        assert np.ptp(mine) > 1, "heads that say nothing would prove nothing"
        assert np.abs(mine - other).max() < 1e-3 * np.ptp(mine)


def test_with_opencvs_epsilon_nothing_else_differs(network: Network, tmp_path: Path) -> None:
    # OpenCV adds 1e-6 to a variance, Darknet 1e-5: where variances are small, as on photographs, that alone is
    # more than a thousandth of the range. With one epsilon only rounding is left.
    same = copy.deepcopy(network)
    for module in same.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None
            module.running_var *= 0.01
            module.eps = OPENCV_EPSILON
    for mine, other in heads_of_both(same, tmp_path):
        assert np.abs(mine - other).max() < 2e-5 * np.ptp(mine)
