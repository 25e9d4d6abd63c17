"""Bundles for the tests of the device runtime: a digits network, deployed, and a board that has little else."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgehone.augment import fit_picture
from edgehone.data import read_dataset
from edgehone.deploy import bundle as deploying
from edgehone.deploy.golden import GoldenPicture, golden_bytes
from edgehone.inference import CHECKPOINT, Detector, DetectorInfo, PostProcess, TorchRuntime, save_detector
from edgehone.models import Network, YoloV4Tiny
from edgehone.projection.anchors import official_px
from edgehone.space import replace
from edgehone.strategy import AUTHORS

SIZE = 128
DATA = "builtin:digits?train=6&val=2&test=2&width=160&height=112&min_px=20&max_px=60&max_objects=4"
CLASSES = tuple(str(digit) for digit in range(10))
POST = PostProcess(score_threshold=0.05, iou_threshold=0.45, candidates=1000, limit=100)

BLOCKER = """
import sys

ALLOWED = set(sys.stdlib_module_names) | {"numpy", "cv2", "onnxruntime", "runtime", "detect", "selftest", "measure"}


class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in ALLOWED:
            raise ImportError(name + " is not on the board")


sys.meta_path.insert(0, Refuse())
"""
"""A sitecustomize that lets only numpy, OpenCV, ONNX Runtime and the bundle be imported beside Python's own."""


def as_if_trained() -> Network:
    """Few slots of it see anything, and those that do see it clearly."""
    torch.manual_seed(1)
    network = Network(YoloV4Tiny().graph(len(CLASSES)))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 1.6)
            module.running_mean = 0.2 * torch.randn(module.num_features)
            module.running_var = 0.3 + torch.rand(module.num_features)
    network.eval()
    pixels = torch.stack(
        [torch.from_numpy(fit_picture(i, (SIZE, SIZE), "stretch")).permute(2, 0, 1) for i in pictures()]
    )
    with torch.no_grad():
        heads = network(pixels.float() / 255)
        for index, bias, head in zip(network.graph.outputs, network.head_biases(), heads, strict=True):
            channels = head.transpose(0, 1).flatten(1)
            spread = torch.tensor([1.0, 1, 0.5, 0.5, 2, *(2.0 for _ in CLASSES)]).repeat(3) / channels.std(1)
            network.head_convolution(index).weight *= spread[:, None, None, None]
            bias[:] = -channels.mean(1) * spread
            bias.view(3, -1)[:, 4:] -= 4
    return network


def detector_of(network: Network, changes: Mapping[str, Any] | None = None) -> Detector:
    """The reference: edgehone's own inference."""
    strategy = replace(AUTHORS, {"input.size": SIZE, **(changes or {})})
    anchors = tuple((float(w), float(h)) for w, h in official_px(3, 2, (SIZE, SIZE)))
    info = DetectorInfo(model="yolov4-tiny", class_names=CLASSES, anchors_px=anchors, strategy=strategy)
    return Detector(info, TorchRuntime(network))


def pictures(count: int = 2) -> list[NDArray[np.uint8]]:
    """Of digits, RGB."""
    return [sample.read().image for sample in read_dataset(DATA).train[:count]]


def heads_of(detector: Detector) -> list[dict[str, Any]]:
    """The manifest's heads."""
    info, lattice = detector.info, detector.info.lattice()
    found: list[dict[str, Any]] = []
    start = 0
    for stride, (anchors, rows, columns) in zip(info.graph().strides, lattice.shapes, strict=True):
        sides = [lattice.anchors_px[start + k * rows * columns].tolist() for k in range(anchors)]
        start += anchors * rows * columns
        found.append({"stride": stride, "outputs": {"raw": f"stride{stride}"}, "anchors_px": sides})
    return found


def manifest_of(detector: Detector, runtime: str = "onnxruntime") -> dict[str, Any]:
    """A manifest without files."""
    projection = detector.info.strategy.projection
    soft = projection.classification.loss.kind == "softmax"
    return {
        "schema": 1,
        "board": "cpu",
        "network": {"name": "yolov4-tiny", "fingerprint": "0" * 16},
        "files": {},
        "model": {"path": "model.onnx", "runtime": runtime, "opset": 13, "precision": "fp32"},
        "input": {
            "name": "images",
            "shape": [1, 3, SIZE, SIZE],
            "fit": detector.info.fit,
            "pad_value": 114,
            "colour": "rgb",
            "scale": 1 / 255,
            "offset": 0.0,
        },
        "classes": list(CLASSES),
        "heads": heads_of(detector),
        "coding": projection.coding.model_dump(mode="json"),
        "scores": {"objectness": "sigmoid", "classes": "softmax" if soft else "sigmoid"},
        "suppression": {
            "threshold": POST.score_threshold,
            "iou": POST.iou_threshold,
            "max_detections": POST.limit,
            "per_class": True,
            "kind": "greedy",
        },
        "golden": {"path": "golden.npz", "tolerance": {"max_abs": 1e-3}},
        "checked": {},
    }


def golden_of(detector: Detector, images: Sequence[NDArray[np.uint8]]) -> bytes:
    """What the reference says of pictures."""
    golden: list[GoldenPicture] = []
    for image in images:
        prepared = fit_picture(image, detector.input_size, detector.info.fit)
        heads = detector.runtime.heads(detector.prepare(image)[None])
        strides = detector.info.graph().strides
        outputs = {f"stride{stride}": head.numpy() for stride, head in zip(strides, heads, strict=True)}
        golden.append(GoldenPicture(image, prepared, outputs, next(detector.detect([image], POST))))
    return golden_bytes(golden)


def deployed(folder: Path, detector: Detector) -> Path:
    """The bundle of a detector as a person receives it."""
    assert isinstance(detector.runtime, TorchRuntime)
    save_detector(detector.runtime.network, detector.info, folder / CHECKPOINT)
    seconds, deploying.TIMING_SECONDS = deploying.TIMING_SECONDS, 0.1
    try:
        deploying.deploy(folder / CHECKPOINT, "cpu", read_dataset(DATA), folder / "bundle")
    finally:
        deploying.TIMING_SECONDS = seconds
    return folder / "bundle"


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """With the checksums of all files in the folder."""
    manifests = {folder / "manifest.json", *(folder / "variants").glob("*.json")}
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in manifests]
    manifest["files"] = {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


def write_video(path: Path, frames: int = 12, size: tuple[int, int] = (160, 112)) -> Path:
    """A digit that moves over noise."""
    image = pictures(1)[0][..., ::-1]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, size)
    for k in range(frames):
        writer.write(np.ascontiguousarray(np.roll(cv2.resize(image, size), 3 * k, axis=1)))
    writer.release()
    return path


class Board:
    """Runs the programs of a bundle where only what a board has can be imported."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(BLOCKER)
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment = {
            **keep,
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
        }

    def start(
        self, bundle: Path, program: str, *arguments: str | Path, told: Path | None = None
    ) -> subprocess.Popen[str]:
        """A program of the bundle, started; what it tells a person goes to a pipe or a file."""
        command = [sys.executable, str(bundle / program), *map(str, arguments)]
        with told.open("w") if told is not None else nullcontext(subprocess.PIPE) as err:
            pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": err, "text": True}
            return subprocess.Popen(command, env=self.environment, cwd=bundle.parent, **pipes)

    def run(self, bundle: Path, program: str, *arguments: str | Path) -> tuple[int, str, str]:
        """Exit status, standard output and standard error of a program that ends by itself."""
        started = self.start(bundle, program, *arguments)
        out, err = started.communicate(timeout=60)
        return started.returncode, out, err
