"""From a picture's file to its boxes, against the network alone: a bundle and its bare runtime, in turns.

Both run the same graph with the same threads and the same arithmetic. What counts is the ratio of their medians
(``end to end / bare``): on OpenVINO at most 1.2 at 416 pixels is what edgehone promises for ``cpu``; exit 1 if it is
more. ONNX Runtime is measured likewise and not judged, as nothing was promised of it.

.venv/bin/python benchmarks/end_to_end_speed.py --bundle DIR [--picture FILE] [--rounds 100] [--threads 2]
.venv/bin/python benchmarks/end_to_end_speed.py [--size 416] [--classes 3] [--bf16]

DIR is what ``edgehone deploy RUN --board cpu`` wrote: its fp32 variants are measured with its own thresholds, on its
first golden picture as a JPEG unless a picture is given. Without it there are random weights and few boxes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import torch

from edgehone.data import read_dataset
from edgehone.data.picture import write_image
from edgehone.deploy.contents import USUAL
from edgehone.deploy.device.runtime.backends import cores, open_backend
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
        "suppression": {"threshold": USUAL.score_threshold, "iou": USUAL.iou_threshold, "max_detections": USUAL.limit},
    }


Infer = Callable[[], object]


def bare_openvino(manifest: Any, threads: int, tensor: Any) -> Infer:
    """The graph of a bundle on OpenVINO and nothing else."""
    core = openvino.Core()
    how = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    bare = core.compile_model(core.read_model(manifest.model_path), "CPU", {**how, **manifest.options})
    request: Any = bare.create_infer_request()
    request.set_input_tensor(openvino.Tensor(tensor, shared_memory=True))
    return request.infer


def bare_onnxruntime(manifest: Any, threads: int, tensor: Any) -> Infer:
    """The graph of a bundle on ONNX Runtime and nothing else."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(manifest.model_path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {manifest.input_name: tensor})


BARE: dict[str, Callable[[Any, int, Any], Infer]] = {"openvino": bare_openvino, "onnxruntime": bare_onnxruntime}


def measure(manifest: Any, picture: Path, threads: int, rounds: int) -> dict[str, Any]:
    """Seconds of both, taken in turns, so that whatever else the machine does hits them alike."""
    times = Times()
    board: Any = Detector(manifest, open_backend(manifest, threads), times)
    tensor = board.preparation.tensor(board.preparation.picture(read_picture(str(picture)))).copy()
    infer = BARE[manifest.runtime](manifest, threads, tensor)
    seconds: dict[str, list[float]] = {"end to end": [], "bare": []}
    boxes = 0
    for k in range(WARM_UP + rounds):
        start = time.perf_counter()
        image = read_picture(str(picture))
        read = time.perf_counter()
        boxes = len(board.detect(image).scores)
        middle = time.perf_counter()
        infer()
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
    parser.add_argument("--bundle", type=Path, help="for cpu; default: random weights")
    parser.add_argument("--picture", type=Path, help="default: the bundle's first golden picture, or digits 640 x 480")
    given = parser.parse_args()
    slow: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = given.bundle or Path(name)
        contents = variants(folder) if given.bundle else [untrained(folder, given.size, given.classes)]
        picture = given.picture or write_picture(given.bundle, Path(name) / "picture.jpg")
        for content in contents:
            if given.bf16 and content["model"]["runtime"] == "openvino":
                content["model"]["options"] = {"INFERENCE_PRECISION_HINT": "bf16"}
            manifest: Any = Manifest(str(folder), content)
            found = measure(manifest, picture, given.threads, given.rounds)
            said = {"runtime": manifest.runtime, "input": manifest.input_size, "threads": given.threads}
            print(json.dumps({**said, "threshold": manifest.suppression["threshold"], **found}, indent=1))
            good = found["ratio"] <= LIMIT
            judged = manifest.runtime == "openvino"
            slow += [manifest.runtime] if judged and not good else []
            verdict = f" (at most {LIMIT}: {'yes' if good else 'NO'})" if judged else ""
            print(f"{manifest.runtime}: end to end / bare = {found['ratio']}{verdict}", flush=True)
    raise SystemExit(int(bool(slow)))


def variants(bundle: Path) -> list[dict[str, Any]]:
    """Manifests of a bundle's fp32 variants, OpenVINO first."""
    every = [json.loads(path.read_text(encoding="utf-8")) for path in (bundle / "variants").glob("*.json")]
    found = {c["model"]["runtime"]: c for c in every if c["model"]["precision"] == "fp32"}
    if "openvino" not in found:
        raise SystemExit(f"a bundle for cpu has a variant on OpenVINO in fp32; {bundle} has none")
    return [found[name] for name in BARE if name in found]


def write_picture(bundle: Path | None, path: Path) -> Path:
    """The first golden picture of a bundle, or digits, as a JPEG file."""
    if bundle is None:
        write_image(path, read_dataset(PICTURE).train[0].read().image)
    else:
        with np.load(bundle / "golden.npz") as golden:
            write_image(path, golden["picture_0"])
    return path


if __name__ == "__main__":
    main()
