"""Published timings, and what the layers of the timed networks cost.

The costs are in ``networks.json``, written by ``benchmarks/published_networks.py`` from Darknet's cfg files and from
the papers of the other networks. They hold for one input size and scale with the area: every stride divides the sides.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources

from edgehone.boards.board import BYTES, Precision, Sure
from edgehone.errors import UsageError
from edgehone.space import Settings
from edgehone.types import LayerCost


class Timing(Settings):
    """A published time of one picture, batch 1, without pre- and post-processing.

    Attributes:
        board: it is evidence about.
        hardware: that was timed; a sister board of ``board`` where it has another name.
        network: in ``networks.json``.
        side: of the square input in pixels.
        precision: of the arithmetic.
        ms: milliseconds.
        runtime: that ran it, or the simulator.
        source: document and version.
        fitted: the model is fitted to it; else it only tests the model.
        sure: how well it is established.
    """

    board: str
    hardware: str
    network: str
    side: int
    precision: Precision
    ms: float
    runtime: str
    source: str
    fitted: bool = True
    sure: Sure = "read"


@functools.cache
def _tables() -> dict[str, tuple[int, tuple[LayerCost, ...]]]:
    text = resources.files("edgehone.boards").joinpath("networks.json").read_text(encoding="utf-8")
    found: dict[str, tuple[int, tuple[LayerCost, ...]]] = {}
    for name, table in json.loads(text)["networks"].items():
        found[name] = (int(table["side"]), tuple(_layer(k, row) for k, row in enumerate(table["layers"])))
    return found


def _layer(index: int, row: list[str | int]) -> LayerCost:
    kind = str(row[0])
    channels, height, width, kernel, stride, macs, weights = (int(v) for v in row[1:])
    return LayerCost(
        name=f"{index}_{kind}",
        kind=kind,
        output_shape=(channels, height, width),
        kernel=kernel,
        stride=stride,
        macs=macs,
        parameters=weights,
        weight_bytes=weights * BYTES["fp32"],
        activation_bytes=channels * height * width * BYTES["fp32"],
    )


def published_costs(network: str, side: int) -> tuple[LayerCost, ...]:
    """Layer costs of a network with published timings, for a square input.

    Raises:
        UsageError: no such network, or a side for which a map would not be whole.
    """
    tables = _tables()
    if network not in tables:
        raise UsageError(f"the networks with published timings are {', '.join(tables)}; got {network!r}")
    known, layers = tables[network]
    if side == known:
        return layers
    if known % 32 or side % 32:
        raise UsageError(f"{network} is known at {known} px; only multiples of 32 scale to others, got {side}")
    return tuple(_scaled(layer, side, known) for layer in layers)


def _scaled(layer: LayerCost, side: int, known: int) -> LayerCost:
    channels, height, width = layer.output_shape
    if (height, width) == (1, 1) and layer.kind != "conv":
        return layer
    return replace(
        layer,
        output_shape=(channels, height * side // known, width * side // known),
        macs=layer.macs * side**2 // known**2,
        activation_bytes=layer.activation_bytes * side**2 // known**2,
    )


def _tkdnn() -> Iterator[Timing]:
    source = "ceccocats/tkDNN README, FPS results (commit 0292e21)"
    boards = {"jetson-xavier-nx": "JetPack 4.4, TensorRT 7.1.0", "jetson-agx-xavier": "JetPack 4.3, TensorRT 6.0.1"}
    fps: dict[str, dict[int, tuple[float, float, float]]] = {
        "jetson-xavier-nx": {
            320: (14.56, 30.14, 42.13),
            416: (10.02, 22.43, 29.08),
            512: (8.10, 15.78, 20.51),
            608: (5.26, 11.54, 15.09),
        },
        "jetson-agx-xavier": {
            320: (26.78, 57.14, 73.15),
            416: (19.96, 41.01, 50.81),
            512: (16.58, 31.12, 37.82),
            608: (9.45, 21.92, 27.05),
        },
    }
    for hardware, sides in fps.items():
        for side, rates in sides.items():
            times = (1000 / rates[0], 1000 / rates[1], 1000 / rates[2])
            yield from _jetson(hardware, "yolov4", side, times, f"tkDNN, {boards[hardware]}", source)
    yield from _jetson(
        "jetson-agx-xavier",
        "yolov4-tiny",
        416,
        (6.36684, 3.48334, 3.13312),
        "tkDNN, JetPack 4.3, TensorRT 6.0.1",
        "ceccocats/tkDNN issue 170",
    )


def _others() -> Iterator[Timing]:
    """Of other wrappers, other settings, or rounded: they test the model and do not make it."""
    source = "enazoe/yolo-tensorrt README, Jetson NX with JetPack 4.4.1 (commit b84b9a1), inference, whole milliseconds"
    times = {"yolov3": (105, 30, 20), "yolov3-tiny": (14, 8, 12), "yolov4": (111, 55, 47), "yolov4-tiny": (13, 7, 7)}
    for network, three in times.items():
        for row in _jetson("jetson-xavier-nx", network, 416, three, "yolo-tensorrt, TensorRT 7.1.3", source):
            yield row.model_copy(update={"fitted": False})
    single = {"board": "jetson-xavier-nx", "network": "yolov4-tiny", "precision": "fp16", "fitted": False}
    agx = {"hardware": "jetson-agx-xavier", "side": 416}
    yield Timing.model_validate(
        single
        | agx
        | {"ms": 1000 / 335, "runtime": "tkDNN, TensorRT 7.1.3, MAXN", "source": "ceccocats/tkDNN issue 248"}
    )
    yield Timing.model_validate(
        single | agx | {"ms": 1000 / 420, "runtime": "trtexec", "source": "Megvii-BaseDetection/YOLOX issue 720 (~420)"}
    )
    yield Timing.model_validate(
        single
        | {"hardware": "jetson-xavier-nx", "side": 640, "ms": 10.0, "runtime": "tkDNN"}
        | {"source": "WongKinYiu/yolor issue 24 (~100 FPS)"}
    )


def _jetson(
    hardware: str, network: str, side: int, times: tuple[float, float, float], runtime: str, source: str
) -> Iterator[Timing]:
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    for precision, ms in zip(precisions, times, strict=True):
        yield Timing(
            board="jetson-xavier-nx",
            hardware=hardware,
            network=network,
            side=side,
            precision=precision,
            ms=ms,
            runtime=runtime,
            source=source,
        )


def _kl720() -> Iterator[Timing]:
    docs = "kneron/document_center toolchain/appendix/performance.md, NPU only"
    v27: dict[str, tuple[int, float]] = {
        "inception-v3": (224, 11.76),
        "inception-v4": (299, 47.36),
        "mobilenet-v1": (224, 2.311),
        "mobilenet-v2": (224, 1.463),
        "mobilenet-v2-ssdlite": (300, 3.175),
        "resnet-50": (224, 18.21),
        "yolov3-tiny": (416, 6.441),
        "yolov3": (416, 97.72),
        "yolov5s": (640, 39.41),
    }
    v12 = dict(zip(list(v27)[:8], (12.4, 50.2, 2.48, 1.60, 3.54, 19.1, 6.75, 95.3), strict=True))
    zoo = {"mobilenet-v2": 1000 / 620.7, "resnet-18": 1000 / 141.4, "resnet-50": 1000 / 49.1, "yolov5s": 1000 / 24.41}
    sides = {name: side for name, (side, _) in v27.items()} | {"resnet-18": 224}
    tables = {
        ("IP evaluator v0.27", docs): {name: ms for name, (_, ms) in v27.items()},
        ("IP evaluator v0.12", "doc.kneron.com toolchain/manual_720, v0.12"): v12,
        ("Model_Zoo", "kneron/Model_Zoo README"): zoo,
    }
    for (runtime, source), times in tables.items():
        for network, ms in times.items():
            yield Timing(
                board="kneron-kl720",
                hardware="kneron-kl720",
                network=network,
                side=sides[network],
                precision="int8",
                ms=ms,
                runtime=runtime,
                source=source,
            )


TIMINGS: tuple[Timing, ...] = (*_tkdnn(), *_others(), *_kl720())
"""Every published timing of a network whose layers are known."""

LEFT_ASIDE = {
    "tensorrt_demos (NX)": "end to end with capture and drawing: not the engine's time",
    "NVIDIA jetson_benchmarks (NX)": "throughput of GPU and both DLA together: not the time of a picture",
    "yolo-tensorrt, YOLOv5 (NX)": "YOLOv5 changed between releases, and 33 ms at FP16 are mostly not its layers",
    "OpenPose, SRCNN, CenterNet, Lite-HRNet, UNet, FCOS, FP_classifier (KL720)": "the tables do not say which graph",
    "SashaAlderson/Kneron_YOLOv4 (KL720 device)": "8.7 FPS for YOLOv3 at an unstated size: used as the ratio of device "
    "to simulation, taken to be at 416 px",
}
"""Published figures that are not used, and why."""
