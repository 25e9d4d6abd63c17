"""Do torch and ONNX Runtime find the same objects?

python benchmarks/detection_parity.py RUN DATA [--split test]

Compares the run's trained network with its exported graph on every picture of a split, after decoding and
suppression, for scores of at least 0.05: a detection is matched if the other runtime has one of the same class
with an IoU above 0.99 and a score within 0.005. One that is not matched is excused within 0.005 of the threshold.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from edgehone import read_dataset
from edgehone.files import read_json
from edgehone.inference import CHECKPOINT, EXPORT, open_detector
from edgehone.types import Detections

THRESHOLD, IOU, SCORE = 0.05, 0.99, 0.005


def main() -> None:
    """Print the counts; exit 1 if less than 99.9 % match or one is not excused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data")
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    winner = winning_checkpoint(options.run)
    torch_detector, onnx_detector = open_detector(winner), open_detector(options.run / EXPORT)
    samples = read_dataset(options.data).splits[options.split]
    total = matched = unexcused = 0
    for sample in samples:
        image = sample.read().image
        ours, theirs = (next(iter(d.detect([image]))) for d in (torch_detector, onnx_detector))
        for first, second in ((ours, theirs), (theirs, ours)):
            for row in np.flatnonzero(first.scores >= THRESHOLD):
                total += 1
                if has_twin(first, int(row), second):
                    matched += 1
                elif abs(float(first.scores[row]) - THRESHOLD) > SCORE:
                    unexcused += 1
    share = matched / max(total, 1)
    counts = f"{len(samples)} pictures, {total} detections, {100 * share:.3f} % matched"
    print(f"{counts}, {unexcused} unmatched and not excused")
    raise SystemExit(int(share < 0.999 or unexcused > 0))


def winning_checkpoint(run: Path) -> Path:
    """The checkpoint that model.onnx was made from: the finalist that did better on validation."""
    results = {p: read_json(p / "result.json")["ap"] for p in run.glob("trials/final-0*")}
    return max(sorted(results), key=lambda path: results[path]) / CHECKPOINT


def has_twin(first: Detections, row: int, second: Detections) -> bool:
    """Whether ``second`` has the detection of ``first``."""
    box = first.boxes_xyxy[row].astype(np.float64)
    others = second.boxes_xyxy.astype(np.float64)
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    inner = np.clip(sides, 0, None).prod(1)
    areas = np.prod(box[2:] - box[:2]) + (others[:, 2:] - others[:, :2]).prod(1)
    overlap = inner / np.maximum(areas - inner, 1e-9)
    near = np.abs(second.scores - first.scores[row]) <= SCORE
    return bool(((overlap > IOU) & near & (second.classes == first.classes[row])).any())


if __name__ == "__main__":
    main()
