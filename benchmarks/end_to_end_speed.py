"""From a picture's file to its boxes, against the network alone: a bundle on OpenVINO and bare OpenVINO, in turns.

Both run the same graph with the same threads and the same arithmetic. What counts is the ratio of their medians
(``end to end / bare``); 1.2 at 416 pixels is what edgehone promises for ``cpu``.

.venv/bin/python benchmarks/end_to_end_speed.py [--size 416] [--classes 3] [--rounds 100] [--threads 2] [--bf16]
.venv/bin/python benchmarks/end_to_end_speed.py --bundle DIR [--picture FILE]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch

from edgehone.data import read_dataset
from edgehone.data.picture import write_image
from edgehone.deploy.device.runtime.backends import cores
from edgehone.deploy.device.runtime.backends.on_openvino import OpenVinoBackend
from edgehone.deploy.device.runtime.detector import Detector
from edgehone.deploy.device.runtime.manifest import Manifest
from edgehone.deploy.device.runtime.sources import read_picture
from edgehone.deploy.device.runtime.timing import Times
from edgehone.deploy.onnx_graph import export_onnx
from edgehone.models import Network, YoloV4Tiny
from edgehone.projection.anchors import official_px

PICTURE = "builtin:digits?train=1&val=1&test=1&width=640&height=480"
LIMIT = 1.2
WARM_UP = 10


def untrained(folder: Path, size: int, classes: int) -> dict[str, Any]:
    """A YOLOv4-tiny with random weights, of which nearly all slots are sure to be empty, and its manifest."""
    torch.manual_seed(0)
    network = Network(YoloV4Tiny().graph(classes)).eval()
    with torch.no_grad():
        heads = network(torch.rand(1, 3, size, size))
        for index, bias, head in zip(network.graph.outputs, network.head_biases(), heads, strict=True):
            channels = head.transpose(0, 1).flatten(1)
            gain = 2 / channels.std(1)
            network.head_convolution(index).weight *= gain[:, None, None, None]
            bias[:] = -channels.mean(1) * gain
            bias.view(3, -1)[:, 4] -= 5
    export_onnx(network, (size, size), {}, folder / "model.onnx")
    anchors = official_px(3, 2, (size, size)).tolist()
    halves = ((32, anchors[3:]), (16, anchors[:3]))
    return {
        "schema": 1,
        "board": "cpu",
        "files": {"model.onnx": ""},
        "model": {"path": "model.onnx", "runtime": "openvino", "opset": 13, "precision": "fp32"},
        "input": {
            "name": "images",
            "shape": [1, 3, size, size],
            "fit": "stretch",
            "pad_value": 114,
            "colour": "rgb",
            "scale": 1 / 255,
            "offset": 0.0,
        },
        "classes": [str(k) for k in range(classes)],
        "heads": [{"stride": s, "outputs": {"raw": f"stride{s}"}, "anchors_px": a} for s, a in halves],
        "coding": {"kind": "exp", "scale_x_y": 1.05},
        "suppression": {"threshold": 0.25, "iou": 0.45, "max_detections": 100},
    }


def measure(manifest: Any, picture: Path, threads: int, rounds: int) -> dict[str, Any]:
    """Seconds of both, taken in turns, so that whatever else the machine does hits them alike."""
    times = Times()
    board: Any = Detector(manifest, OpenVinoBackend(manifest, threads), times)
    core = openvino.Core()
    how = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    bare = core.compile_model(core.read_model(manifest.model_path), "CPU", {**how, **manifest.options})
    request: Any = bare.create_infer_request()
    tensor = board.preparation.tensor(board.preparation.picture(read_picture(str(picture))))
    request.set_input_tensor(openvino.Tensor(tensor, shared_memory=True))
    seconds: dict[str, list[float]] = {"end to end": [], "bare": []}
    boxes = 0
    for k in range(WARM_UP + rounds):
        start = time.perf_counter()
        image = read_picture(str(picture))
        read = time.perf_counter()
        boxes = len(board.detect(image).scores)
        middle = time.perf_counter()
        request.infer()
        end = time.perf_counter()
        if k >= WARM_UP:
            times.add("capture", read - start)
            seconds["end to end"].append(middle - start)
            seconds["bare"].append(end - middle)
    found = {
        name: {f"p{p}_ms": round(float(np.percentile(taken, p)) * 1e3, 2) for p in (50, 90)}
        for name, taken in seconds.items()
    }
    ratio = round(float(np.median(seconds["end to end"]) / np.median(seconds["bare"])), 3)
    paired = np.array(seconds["end to end"]) / np.array(seconds["bare"])
    return {
        **found,
        "ratio": ratio,
        "median of paired ratios": round(float(np.median(paired)), 3),
        "boxes": boxes,
        "stages": times.summary(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--bf16", action="store_true", help="let both use bfloat16, OpenVINO's own choice where it can")
    parser.add_argument("--bundle", type=Path, help="of the openvino runtime; default: random weights")
    parser.add_argument("--picture", type=Path, help="default: a JPEG of digits, 640 x 480")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = given.bundle or Path(name)
        content = untrained(folder, given.size, given.classes) if given.bundle is None else None
        content = content or json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if given.bf16:
            content["model"]["options"] = {"INFERENCE_PRECISION_HINT": "bf16"}
        picture = given.picture or Path(name) / "picture.jpg"
        if given.picture is None:
            write_image(picture, read_dataset(PICTURE).train[0].read().image)
        found = measure(Manifest(str(folder), content), picture, given.threads, given.rounds)
    print(json.dumps({"openvino": openvino.__version__, "threads": given.threads, **found}, indent=1))
    print(f"end to end / bare = {found['ratio']} (at most {LIMIT}: {'yes' if found['ratio'] <= LIMIT else 'NO'})")


if __name__ == "__main__":
    main()
