"""Do edgehone and OpenCV's reader of Darknet files say the same on photographs?

python benchmarks/darknet_parity.py CFGS DATA [--pictures 20] [--only tiny]

For every .cfg in the folder CFGS, with the .weights beside it or else with weights that edgehone makes (batch norms
calibrated on training pictures) and writes: the largest difference of the raw heads as a share of their range over
pictures of the test split, as they are and with OpenCV's epsilon; and whether the ONNX graph made from the pair detects
what OpenCV detects (the same class, IoU above 0.99, score within 0.005; one that has no twin is excused within 0.005 of
the threshold, or where suppression was decided by an IoU within 0.01 of its limit, or by a detection without a twin).
Exit 1 if the raw heads differ by more than 1e-3 of their range, or if a detection is not excused.

The epsilon is what a batch norm adds to a variance: 1e-5 in Darknet and here, 1e-6 in OpenCV's reader. Where a channel
hardly varies (variances of 1e-4 are common in trained networks) that alone is more than a thousandth of the range, and
a random deep network amplifies it; so made convolutions are large, and so are the variances of their batch norms.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from board_parity import SCORE, has_twin
from numpy.typing import NDArray
from torch import nn

from edgehone import read_dataset
from edgehone.boxes import iou_matrix
from edgehone.deploy.convert import convert
from edgehone.inference import Detector, PostProcess, TorchRuntime, darknet_detector, open_detector
from edgehone.models import Convolutional, Network
from edgehone.models.darknet import read_cfg, write_weights
from edgehone.types import Detections

THRESHOLD, SUPPRESS, NEAR = 0.25, 0.45, 0.01
CLIPPED = 0.05
"""Boxes are clipped to the picture after suppression: the overlap that decided may have been larger."""
TOLERANCE = 1e-3
CALIBRATED_ON = 16
OPENCV_EPSILON = 1e-6
CANDIDATES = 100_000
LARGE = 32.0
"""Made convolutions are so many times as large as usual: a batch norm takes it out again, and beside its variance the
epsilons, which differ, say little."""
LEAST_VARIANCE = 1.0
HEADS_COMPARED = 20
"""Pictures whose raw heads are compared; detections are, of all."""
ANSWERS = 30
"""Of a made head for a calibration picture, before suppression."""


def main() -> None:
    """A row for each cfg."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cfgs", type=Path)
    parser.add_argument("data")
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--only", default="", help="names of cfgs that contain this")
    options = parser.parse_args()
    dataset = read_dataset(options.data)
    images = [sample.read().image for sample in dataset.splits["test"][: options.pictures]]
    calibration = [sample.read().image for sample in dataset.train[:CALIBRATED_ON]]
    failed = False
    print(f"{len(images)} pictures of {options.data}")
    print("| cfg | weights | difference / range | with OpenCV's epsilon | detections | not matched, not excused |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for cfg in sorted(path for path in options.cfgs.glob("*.cfg") if options.only in path.name):
            weights = cfg.with_suffix(".weights")
            kind = "real" if weights.is_file() else "made"
            if kind == "made":
                weights = made_weights(cfg, calibration, Path(folder) / weights.name)
            plain, same, total, unexcused = compare(cfg, weights, images, Path(folder))
            failed |= plain > TOLERANCE or unexcused > 0
            print(f"| {cfg.stem} | {kind} | {plain:.1e} | {same:.1e} | {total} | {unexcused} |", flush=True)
    raise SystemExit(int(failed))


def made_weights(cfg: Path, images: list[NDArray[np.uint8]], path: Path) -> Path:
    """A random network whose batch norms fit photographs, with heads that find something now and then."""
    torch.manual_seed(0)
    network = Network(read_cfg(cfg).graph)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain average over everything seen
            nn.init.normal_(module.bias, std=0.1)
    with torch.no_grad():
        for index, layer in enumerate(network.graph.layers):
            if isinstance(layer, Convolutional) and layer.batch_normalize:
                network.block(index)[0].weight.mul_(LARGE)
    fields = 5 + network.graph.heads[0].classes
    for index in network.graph.outputs:
        rows = network.head_convolution(index).weight.view(-1, fields, network.nodes[index].in_channels)
        for part, spread in ((rows[:, :4], 0.3), (rows[:, 4], 4.0), (rows[:, 5:], 2.0)):
            nn.init.normal_(part, std=spread / rows.shape[-1] ** 0.5)
    detector = darknet_detector(cfg, write_weights(network, path))
    pixels = torch.stack([detector.prepare(image) for image in images])
    with torch.no_grad():
        network.train()(pixels)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
                module.running_var.clamp_(min=LEAST_VARIANCE)
        for bias, logits in zip(network.head_biases(), network.eval()(pixels), strict=True):
            shift_to_few(bias.view(-1, fields), logits.unflatten(1, (-1, fields)).movedim(2, -1).flatten(0, -2))
    return write_weights(network, path)


def shift_to_few(bias: torch.Tensor, slots: torch.Tensor) -> None:
    """Shift a head's biases ``[A, 5+c]`` until its slots ``[n, 5+c]`` on calibration pictures give few answers."""
    shift = 2 - slots[:, 4].max()
    bias[:, 4] += shift
    sure = (slots[:, 4:5] + shift).sigmoid()
    for step in range(200):
        if (sure * (slots[:, 5:] - 0.1 * step).sigmoid() > THRESHOLD).sum() <= ANSWERS * CALIBRATED_ON:
            bias[:, 5:] -= 0.1 * step
            return


def compare(cfg: Path, weights: Path, images: list[NDArray[np.uint8]], folder: Path) -> tuple[float, float, int, int]:
    """Differences of raw heads as shares of their range (ours, OpenCV's epsilon), detections, those without excuse."""
    detector = darknet_detector(cfg, weights)
    reader = opencv_reader(cfg, weights, folder)
    assert isinstance(detector.runtime, TorchRuntime)
    same = with_epsilon(detector.runtime.network, OPENCV_EPSILON)
    networks = [detector.runtime, TorchRuntime(same)]
    path = convert(cfg, weights, folder / "model.onnx")
    exported = open_detector(path, threads=1)
    differences = np.zeros((2, len(detector.info.graph().outputs)))
    lowest, highest = np.full(differences.shape[1], np.inf), np.full(differences.shape[1], -np.inf)
    total = unexcused = 0
    post = PostProcess(score_threshold=THRESHOLD, iou_threshold=SUPPRESS, candidates=CANDIDATES, limit=CANDIDATES)
    for number, image in enumerate(images):
        theirs, found = opencv_answers(reader, detector, image)
        for row, runtime in enumerate(networks if number < HEADS_COMPARED else []):
            ours = [head[0].numpy() for head in runtime.heads(detector.prepare(image)[None])]
            gaps = [float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True)]
            differences[row] = np.maximum(differences[row], gaps)
        lowest = np.minimum(lowest, [head.min() for head in theirs])
        highest = np.maximum(highest, [head.max() for head in theirs])
        mine = next(iter(exported.detect([image], post)))
        total += len(mine) + len(found)
        unexcused += len(strangers(mine, found)) + len(strangers(found, mine))
    ours, theirs = (differences / (highest - lowest)).max(1)
    return float(ours), float(theirs), total, unexcused


def with_epsilon(network: Network, epsilon: float) -> Network:
    """A copy whose batch norms add this to a variance."""
    changed = copy.deepcopy(network)
    for module in changed.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = epsilon
    return changed


def opencv_reader(cfg: Path, weights: Path, folder: Path) -> cv2.dnn.Net:
    """OpenCV's network, which neither thresholds nor suppresses by itself."""
    quiet = folder / "opencv.cfg"
    text = cfg.read_text(encoding="utf-8").replace("[yolo]", "[yolo]\nthresh=0.001\nnms_threshold=0")
    quiet.write_text(text, encoding="utf-8")
    reader = cv2.dnn.readNetFromDarknet(str(quiet), str(weights))
    reader.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    reader.enableWinograd(False)
    return reader


def opencv_answers(
    reader: cv2.dnn.Net, detector: Detector, image: NDArray[np.uint8]
) -> tuple[list[NDArray[np.float32]], Detections]:
    """Raw heads and detections of a picture: OpenCV's resize, graph, decoding and suppression."""
    height, width = detector.input_size
    reader.setInput(cv2.dnn.blobFromImage(image, 1 / 255, (width, height)))
    ends = detector.info.graph().outputs
    answers = reader.forward([*(f"conv_{i}" for i in ends), *(f"yolo_{i + 1}" for i in ends)])
    rows = np.concatenate([a.reshape(-1, a.shape[-1]) for a in answers[len(ends) :]])
    scores = rows[:, 5:]
    slots, classes = np.nonzero(scores > THRESHOLD)
    sides = np.array([image.shape[1], image.shape[0]])
    low, high = (rows[slots, :2] + sign * rows[slots, 2:4] / 2 for sign in (-1, 1))
    boxes = np.concatenate([low * sides, high * sides], 1)
    values = scores[slots, classes].astype(np.float32)
    corners = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    kept = cv2.dnn.NMSBoxesBatched(corners.tolist(), values.tolist(), classes.tolist(), THRESHOLD, SUPPRESS)
    kept = np.array(kept, np.int64)
    boxes = np.clip(boxes[kept], 0, np.tile(sides, 2)).astype(np.float32)
    return [a[0] for a in answers[: len(ends)]], Detections(boxes, values[kept], classes[kept])


def strangers(first: Detections, second: Detections) -> list[int]:
    """Detections without a twin in ``second`` and without an excuse."""
    found: list[int] = []
    for row in range(len(first)):
        near_limit = abs(float(first.scores[row]) - THRESHOLD) <= SCORE
        if near_limit or has_twin(first, row, second):
            continue
        boxes = [torch.from_numpy(b) for b in (first.boxes_xyxy[row : row + 1], second.boxes_xyxy)]
        overlaps = iou_matrix(boxes[0], boxes[1])[0].numpy()
        same = second.classes == first.classes[row]
        decided_closely = (same & (np.abs(overlaps - SUPPRESS) < NEAR)).any()
        rivals = np.flatnonzero(same & (overlaps > SUPPRESS - CLIPPED))
        if not decided_closely and all(has_twin(second, int(rival), first) for rival in rivals):
            found.append(row)
    return found


if __name__ == "__main__":
    main()
