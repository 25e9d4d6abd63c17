"""Do all graphs of all boards find what the trained network finds?

python benchmarks/board_parity.py RUN DATA [RUN DATA ...] [--split test] [--pictures N]

Writes a run's bundles for every board into a temporary folder and runs each of their graphs on every picture of a
split, with the bundle's own runtime: pictures prepared, heads decoded and boxes suppressed as on the board. Of a graph
that ends in EfficientNMS_TRT everything up to the plug-in is run by ONNX Runtime. A detection of at least 0.05 is
matched if the other side has one of the same class with an IoU above 0.99 and a score within 0.005; one that is not is
excused within 0.005 of the threshold. A graph that rounds is counted for information: how far it may go from the
network is the matter of integer_accuracy.py. RUN is a run's or a training's folder, or a checkpoint. Exit 1 if
anywhere, on any run, less than 99.9 % are matched or one is not and is not excused.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgehone import read_dataset
from edgehone.boards import BOARDS
from edgehone.data.dataset import Sample
from edgehone.deploy.bundle import deploy
from edgehone.deploy.contents import USUAL
from edgehone.deploy.convert import open_trained
from edgehone.deploy.device.runtime.backends.on_onnxruntime import OnnxRuntimeBackend
from edgehone.deploy.device.runtime.detector import Detector as DeviceDetector
from edgehone.deploy.device.runtime.manifest import Manifest
from edgehone.deploy.plugin import PluginBackend
from edgehone.files import read_json
from edgehone.inference import CHECKPOINT, Detector, TorchRuntime
from edgehone.types import Detections

THRESHOLD, IOU, SCORE = 0.05, 0.99, 0.005
SAME_PX = 0.01
"""Boxes whose sides differ by less are the same, also where they were cut to nothing at the picture's edge."""
WANTED = 0.999


@dataclass
class Count:
    """Detections of both sides, and how many of them the other side has."""

    total: int = 0
    matched: int = 0
    unexcused: int = 0

    def add(self, ours: Detections, theirs: Detections) -> None:
        """Compare one picture, both ways."""
        for first, second in ((ours, theirs), (theirs, ours)):
            for row in np.flatnonzero(first.scores >= THRESHOLD):
                self.total += 1
                if has_twin(first, int(row), second):
                    self.matched += 1
                elif abs(float(first.scores[row]) - THRESHOLD) > SCORE:
                    self.unexcused += 1

    @property
    def share(self) -> float:
        """Matched."""
        return self.matched / max(self.total, 1)


def main() -> None:
    """Print a line a graph; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="RUN DATA")
    parser.add_argument("--split", default="test")
    parser.add_argument("--pictures", type=int, default=None, help="only the first so many")
    options = parser.parse_args()
    if len(options.pairs) % 2:
        parser.error("each run is followed by its data")
    pairs = zip(options.pairs[::2], options.pairs[1::2], strict=True)
    bad = [line for run, data in pairs for line in faults(Path(run), data, options.split, options.pictures)]
    print("\n".join(["not the same:", *bad]) if bad else "all the same")
    raise SystemExit(int(bool(bad)))


def faults(run: Path, data: str, split: str, pictures: int | None) -> list[str]:
    """Print a line for each graph of a run; those that find something else."""
    dataset = read_dataset(data)
    samples = dataset.splits[split][:pictures]
    checkpoint = winning_checkpoint(run)
    network, info = open_trained(checkpoint)
    truth = Detector(info, TorchRuntime(network))
    ours = [next(iter(truth.detect([sample.read().image], USUAL))) for sample in samples]
    print(f"{checkpoint}: {len(samples)} pictures, {sum(len(found) for found in ours)} detections by torch", flush=True)
    found: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in BOARDS:
            deploy(checkpoint, name, dataset, Path(folder) / name)
            for graph, (detector, rounds) in graphs_of(Path(folder) / name).items():
                count = compare(detector, samples, ours)
                counts = f"{count.total} detections of both, {100 * count.share:.3f} % matched"
                note = f"{count.unexcused} unmatched and not excused" if not rounds else "rounds"
                print(f"{name:18} {graph:18} {counts}, {note}", flush=True)
                if not rounds and (count.share < WANTED or count.unexcused):
                    found.append(f"{checkpoint}: {name} {graph}")
    return found


def graphs_of(bundle: Path) -> dict[str, tuple[Any, bool]]:
    """A detector of the device runtime for each graph of a bundle, and whether the graph rounds."""
    found: dict[str, tuple[Any, bool]] = {}
    for path in [bundle / "manifest.json", *sorted((bundle / "variants").glob("*.json"))]:
        manifest: Any = Manifest(str(bundle), read_json(path))
        graph = Path(manifest.graph_path).name
        if graph not in found:
            kind = PluginBackend if manifest.efficient_nms else OnnxRuntimeBackend
            detector = DeviceDetector(manifest, kind(manifest, 0, path=manifest.graph_path))
            found[graph] = detector, bool(manifest.content["rounded"])
    return found


def compare(detector: Any, samples: Sequence[Sample], ours: Sequence[Detections]) -> Count:
    """Over all pictures."""
    count = Count()
    for sample, found in zip(samples, ours, strict=True):
        said = detector.detect(np.ascontiguousarray(sample.read().image[..., ::-1]))
        count.add(found, Detections(said.boxes_xyxy, said.scores, said.classes))
    return count


def winning_checkpoint(run: Path) -> Path:
    """Of a whole run the one that model.onnx was made from: the finalist that did better on validation."""
    if run.is_file() or (run / CHECKPOINT).is_file():
        return run
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
    there = (overlap > IOU) | (np.abs(box - others).max(1) <= SAME_PX)
    return bool((there & near & (second.classes == first.classes[row])).any())


if __name__ == "__main__":
    main()
