"""Real Darknet detectors on real photographs: what OpenCV finds, edgehone and its export find."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgehone.boxes import iou_matrix
from edgehone.data import read_dataset
from edgehone.deploy.convert import convert
from edgehone.inference import PostProcess, darknet_detector, open_detector

ROOT = Path(__file__).parents[2]
DARKNET = Path(os.environ.get("EDGEHONE_DARKNET", ROOT / "../shared/darknet"))
DATA = Path(os.environ.get("EDGEHONE_DATA", ROOT / "../shared/data"))
PICTURES = 20
POST = PostProcess(score_threshold=0.25, iou_threshold=0.45)


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    if not (DATA / "aquarium-640").is_dir():
        pytest.skip(f"the photographs are not in {DATA}; set EDGEHONE_DATA to the folder that holds aquarium-640")
    return [sample.read().image for sample in read_dataset(str(DATA / "aquarium-640")).splits["test"][:PICTURES]]


@pytest.mark.parametrize("name", ["yolo-fastest-1.1", "yolo-fastest-1.1-xl"])
def test_real_weights_on_photographs(name: str, images: list[np.ndarray], tmp_path: Path) -> None:
    cfg, weights = DARKNET / f"{name}.cfg", DARKNET / f"{name}.weights"
    if not weights.is_file():
        pytest.skip(f"the official weights are not in {DARKNET}; set EDGEHONE_DARKNET to the folder that holds them")
    detector = darknet_detector(cfg, weights)
    exported = open_detector(convert(cfg, weights, tmp_path / "model.onnx"), threads=1)
    quiet = tmp_path / "opencv.cfg"  # one that neither thresholds nor suppresses by itself
    quiet.write_text(cfg.read_text(encoding="utf-8").replace("[yolo]", "[yolo]\nthresh=0.001\nnms_threshold=0"))
    reader = cv2.dnn.readNetFromDarknet(str(quiet), str(weights))
    reader.enableWinograd(False)
    ends = detector.info.graph().outputs
    gaps, low, high, objects = np.zeros(2), np.full(2, np.inf), np.full(2, -np.inf), 0
    for image in images:
        pixels = detector.prepare(image)[None]
        reader.setInput(pixels.numpy())
        answers = reader.forward([*(f"conv_{i}" for i in ends), *(f"yolo_{i + 1}" for i in ends)])
        for k, (mine, theirs) in enumerate(zip(detector.runtime.heads(pixels), answers[:2], strict=True)):
            gaps[k] = max(gaps[k], np.abs(mine.numpy() - theirs).max())
            low[k], high[k] = min(low[k], theirs.min()), max(high[k], theirs.max())
        rows = torch.from_numpy(np.concatenate([a.reshape(-1, 85) for a in answers[2:]]))
        sides = torch.tensor([image.shape[1], image.shape[0]])
        boxes = torch.cat([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], 1) * sides.repeat(2)
        for found in exported.detect([image], POST):
            objects += len(found)
            overlaps = iou_matrix(torch.from_numpy(found.boxes_xyxy), boxes.clamp(min=0).minimum(sides.repeat(2)))
            for row in range(len(found)):
                near = (rows[:, 5 + int(found.classes[row])] - float(found.scores[row])).abs() < 0.005
                assert bool(((overlaps[row] > 0.99) & near).any())
            # Nothing that OpenCV is surer of than of the threshold is left without a detection over it.
            for slot, label in (rows[:, 5:] > POST.score_threshold + 0.005).nonzero().tolist():
                same = torch.from_numpy(found.classes == label)
                assert float(overlaps[same, slot].max()) > POST.iou_threshold - 0.01
    assert objects > 10
    # OpenCV adds 1e-6 to variances, Darknet and edgehone 1e-5; with one epsilon the difference is a few millionths.
    assert (gaps / (high - low)).max() < 1e-3
