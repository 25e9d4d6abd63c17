"""What the detector said where the bundle was made, and how far from it this machine is.

``golden.npz`` holds for each picture ``k``: ``picture_k`` ``[h, w, 3]`` uint8 RGB; ``input_k``, the same in the
network input, uint8 RGB; ``output_k_NAME``, the raw outputs, float32; and the detections in the picture's pixels,
``boxes_k`` ``[n, 4]``, ``scores_k`` ``[n]`` and ``classes_k`` ``[n]``.
"""
# pyright: basic

import numpy as np

from .decoding import Candidates

TOLERANCES = {
    "fp32": {"pixels": 1, "max_abs": 0.001, "iou": 0.99, "score": 0.005, "matched": 1.0},
    "fp16": {"pixels": 1, "snr_db": 30.0, "iou": 0.95, "score": 0.02, "matched": 0.98},
    "int16": {"pixels": 1, "snr_db": 30.0, "iou": 0.95, "score": 0.02, "matched": 0.98},
    "int8": {"pixels": 1, "snr_db": 15.0, "iou": 0.75, "score": 0.15, "matched": 0.9},
}
"""By precision, where the manifest does not say: largest difference of a prepared pixel (another OpenCV may round
another way); largest difference of an output, or least signal-to-noise ratio; overlap and difference in score of
detections that are taken for the same; share that must have a partner."""

LEAST_SCORE = 0.05
"""Detections below are not compared: nobody acts on them."""

SAME_PX = 0.01
"""Boxes whose sides differ by less are the same, also where they were cut to nothing at the picture's edge."""

EPS = 1e-7


class Golden:
    """One golden picture.

    Attributes:
        picture: ``[h, w, 3]`` uint8 BGR.
        prepared: ``[height, width, 3]`` uint8 BGR in the network input.
        outputs: name to array.
        found: its detections.
    """

    def __init__(self, arrays, index):
        self.picture = np.ascontiguousarray(arrays[f"picture_{index}"][..., ::-1])
        self.prepared = np.ascontiguousarray(arrays[f"input_{index}"][..., ::-1])
        start = f"output_{index}_"
        self.outputs = {name[len(start) :]: arrays[name] for name in arrays.files if name.startswith(start)}
        self.found = Candidates(*(arrays[f"{part}_{index}"] for part in ("boxes", "scores", "classes")))


def read_golden(path):
    """The golden pictures of a bundle; no code in the file is run."""
    with np.load(path, allow_pickle=False) as arrays:
        count = sum(name.startswith("picture_") for name in arrays.files)
        return [Golden(arrays, k) for k in range(count)]


def pixel_difference(ours, golden):
    """Largest difference of two prepared pictures, in gray levels."""
    return int(np.abs(ours.astype(np.int16) - golden.astype(np.int16)).max())


def output_faults(outputs, golden, tolerance):
    """What is wrong with raw outputs: a line for each that is too far from the golden one."""
    found = []
    for name, expected in sorted(golden.items()):
        if name not in outputs or outputs[name].size != expected.size:
            found.append(f"there is no output {name} of {expected.size} numbers")
            continue
        got = np.asarray(outputs[name], np.float64).reshape(expected.shape)
        error = got - expected
        if not np.isfinite(got).all():
            found.append(f"output {name} holds NaN or infinity")
        elif "max_abs" in tolerance and np.abs(error).max() > tolerance["max_abs"]:
            found.append(
                "output {} differs by {:.3g}, allowed {:g}".format(name, np.abs(error).max(), tolerance["max_abs"])
            )
        elif "snr_db" in tolerance and decibels(expected, error) < tolerance["snr_db"]:
            found.append(
                "output {} has {:.1f} dB, needs {:g}".format(name, decibels(expected, error), tolerance["snr_db"])
            )
    return found


def decibels(signal, error):
    """Signal-to-noise ratio."""
    noise = float(np.square(error, dtype=np.float64).sum())
    return 10 * float(np.log10((np.square(signal, dtype=np.float64).sum() + EPS) / (noise + EPS * EPS)))


def partners(ours, golden, tolerance, suppression):
    """``(with a partner, compared)``: detections of either side that the other side has, too.

    A detection whose score is within the tolerance of the least one that is told may be missing on the other side.
    """
    full = [side.scores[-1] for side in (ours, golden) if len(side.scores) >= suppression["max_detections"]]
    least = max([suppression["threshold"], LEAST_SCORE, *full]) + tolerance["score"]
    matched = compared = 0
    for one, other in ((ours, golden), (golden, ours)):
        sure = np.flatnonzero(one.scores >= least)
        compared += len(sure)
        matched += sum(_has_partner(one, k, other, tolerance) for k in sure)
    return matched, compared


def _has_partner(one, k, other, tolerance):
    same = other.classes == one.classes[k]
    near = np.abs(other.scores - one.scores[k]) <= tolerance["score"]
    box, boxes = one.boxes_xyxy[k], other.boxes_xyxy
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    inner = np.prod(np.maximum(high - low, 0), 1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], 1) + np.prod(box[2:] - box[:2])
    there = inner / (areas - inner + EPS) >= tolerance["iou"]
    there |= np.abs(boxes - box).max(1) <= SAME_PX
    return bool((same & near & there).any())
