"""Networks say what OpenCV's reader of Darknet files says, for the official cfgs and the same weights.

OpenCV adds 1e-6 to a batch norm's variance (modules/dnn/src/darknet/darknet_io.cpp), Darknet and edgehone 1e-5. With
one epsilon only rounding is left, 2e-5 of the output's range. Each with its own, networks whose variances are not
tiny stay within a thousandth of the range.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from edgehone.models import Network, YoloV4Tiny
from edgehone.models.darknet import Cfg, parse_cfg, read_cfg, read_weights, write_cfg, write_weights

DARKNET = Path(os.environ.get("EDGEHONE_DARKNET", Path(__file__).parents[2] / "../shared/darknet"))
OFFICIAL_BYTES = 24_251_276
"""Of yolov4-tiny.weights: 20 bytes of header and 6,062,814 floats."""
OPENCV_EPSILON = 1e-6

CFGS = {
    "yolov4-tiny": 416,
    "yolov4-tiny-custom": 160,
    "yolov4-tiny-3l": 160,
    "yolov3-tiny": 160,
    "yolov7-tiny": 160,
    "yolov4": 96,
    "yolo-fastest-1.1": 320,
    "yolo-fastest-1.1-xl": 320,
}
"""Cfg to the input side at which it is compared: small where the network is large."""


@dataclass(frozen=True)
class Files:
    """A cfg at some input size, and weights of it."""

    cfg: Path
    weights: Path
    read: Cfg


def official(name: str, suffix: str = ".cfg") -> Path:
    path = DARKNET / f"{name}{suffix}"
    if not path.is_file():
        pytest.skip(f"the official file is not at {path}; set EDGEHONE_DARKNET to the folder that holds it")
    return path


def with_statistics(network: Network, smallest_variance: float = 0.5) -> Network:
    """As if trained: batch norms with statistics and scales of their own, larger heads."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            width = module.num_features
            nn.init.normal_(module.bias, std=0.3, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.0, generator=generator)
            module.running_mean = 0.3 * torch.randn(width, generator=generator)
            module.running_var = smallest_variance * (1 + torch.rand(width, generator=generator))
    for index in network.graph.outputs:
        nn.init.normal_(network.head_convolution(index).weight, std=0.1, generator=generator)
        bias = network.head_convolution(index).bias
        assert bias is not None
        nn.init.normal_(bias, std=1.0, generator=generator)
    return network.eval()


def prepared(name: str, folder: Path, smallest_variance: float = 0.5) -> tuple[Network, Files]:
    """A network of an official cfg, and the files that OpenCV reads: the real weights where there are some."""
    read = read_cfg(official(name))
    side = CFGS[name]
    cfg = folder / f"{name}.cfg"
    text = official(name).read_text(encoding="utf-8")
    lines = [f"{key.strip()}={side}" if (key := line.split("=")[0]).strip() in ("width", "height") else line
             for line in text.splitlines()]  # fmt: skip
    cfg.write_text("\n".join(lines), encoding="utf-8")
    torch.manual_seed(0)
    network = Network(read.graph)
    weights = DARKNET / f"{name}.weights"
    if weights.is_file():
        assert read_weights(network, weights).whole
    else:
        weights = write_weights(with_statistics(network, smallest_variance), folder / f"{name}.weights")
    return network.eval(), Files(cfg, weights, read)


def heads_of_both(network: Network, files: Files, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per head what the network and what OpenCV says of one noise picture, at the convolutions."""
    reader = cv2.dnn.readNetFromDarknet(str(files.cfg), str(files.weights))
    reader.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    reader.enableWinograd(False)  # it rounds otherwise, and by more than what is compared here
    pixels = np.random.default_rng(2).random((1, 3, CFGS[name], CFGS[name]), np.float32)
    reader.setInput(pixels)
    theirs = reader.forward([f"conv_{index}" for index in network.graph.outputs])
    with torch.inference_mode():
        ours = [head.numpy() for head in network(torch.from_numpy(pixels))]
    return list(zip(ours, theirs, strict=True))


def use_epsilon(network: Network, epsilon: float) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = epsilon


@pytest.mark.parametrize("name", CFGS)
def test_raw_heads_equal_those_of_opencv(name: str, tmp_path: Path) -> None:
    network, files = prepared(name, tmp_path)
    for epsilon, tolerance in ((1e-5, 1e-3), (OPENCV_EPSILON, 2e-5)):
        use_epsilon(network, epsilon)
        for mine, other in heads_of_both(network, files, name):
            assert mine.shape == other.shape
            assert np.ptp(mine) > 1, "heads that say nothing would prove nothing"
            assert np.abs(mine - other).max() < tolerance * np.ptp(mine), epsilon


def test_where_variances_are_small_only_the_epsilon_differs(tmp_path: Path) -> None:
    network, files = prepared("yolov4-tiny", tmp_path, smallest_variance=0.005)
    use_epsilon(network, OPENCV_EPSILON)
    for mine, other in heads_of_both(network, files, "yolov4-tiny"):
        assert np.abs(mine - other).max() < 2e-5 * np.ptp(mine)


def test_there_are_as_many_weights_as_in_the_official_file(tmp_path: Path) -> None:
    path = write_weights(Network(YoloV4Tiny().graph(80)), tmp_path / "yolov4-tiny.weights")
    assert path.stat().st_size == OFFICIAL_BYTES


@pytest.mark.parametrize("name", ["yolo-fastest-1.1", "yolo-fastest-1.1-xl"])
def test_real_weights_are_written_as_they_were_read(name: str, tmp_path: Path) -> None:
    source = official(name, ".weights")
    network = Network(read_cfg(official(name)).graph)
    loaded = read_weights(network, source)
    written = write_weights(network, tmp_path / "again.weights", loaded.header)
    assert written.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("name", CFGS)
def test_a_cfg_is_written_as_it_was_read(name: str) -> None:
    cfg = read_cfg(official(name))
    assert parse_cfg(write_cfg(cfg)) == cfg
