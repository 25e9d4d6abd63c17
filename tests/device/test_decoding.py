"""The numpy decoding and suppression of a board say what edgehone's own inference says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import bundles
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone import boxes
from edgehone.deploy.device.runtime.decoding import Candidates, Reader, decode
from edgehone.deploy.device.runtime.detector import Detector as BoardDetector
from edgehone.deploy.device.runtime.faults import DeviceError
from edgehone.deploy.device.runtime.manifest import Manifest
from edgehone.deploy.device.runtime.suppression import suppress
from edgehone.inference import Detector, PostProcess, TorchRuntime
from edgehone.models import Network
from edgehone.projection import DistanceCoding, ExpCoding, SquaredSigmoidCoding
from edgehone.types import Detections

CODINGS = [
    ExpCoding(),
    ExpCoding(scale_x_y=1.2),
    SquaredSigmoidCoding(),
    DistanceCoding(growth="softplus"),
    DistanceCoding(growth="exp"),
]
STRATEGIES: list[dict[str, Any]] = [
    {},
    {"input.fit": "letterbox"},
    {"projection.coding.kind": "exp"},
    {"projection.coding.kind": "distances", "input.fit": "letterbox"},
    {"projection.classification.loss.kind": "softmax", "projection.second_head_mask": "1,2,3"},
]


class TorchBackend:
    """Stands for the board's library."""

    takes = "tensor"

    def __init__(self, network: Network, split: bool = False) -> None:
        self.runtime = TorchRuntime(network)
        self.split = split

    def run(self, tensor: Any) -> dict[str, Any]:
        heads = dict(zip(("stride32", "stride16"), self.runtime.heads(torch.from_numpy(tensor)), strict=True))
        if not self.split:
            return {name: head.numpy() for name, head in heads.items()}
        found: dict[str, Any] = {}
        for name, head in heads.items():
            slots = head.view(1, 3, -1, *head.shape[2:])
            for part, channels in (("box", slice(0, 4)), ("objectness", slice(4, 5)), ("classes", slice(5, None))):
                found[f"{name}_{part}"] = slots[:, :, channels].flatten(1, 2).numpy()
        return found


def manifest_like(detector: Detector, **changes: Any) -> Any:
    content = {**bundles.manifest_of(detector), **changes}
    content["files"] = {"model.onnx": "", "golden.npz": ""}
    return Manifest("", content)


def assert_same(ours: Any, theirs: Detections, threshold: float) -> None:
    """Every detection has its equal on the other side: IoU above 0.99, scores within 0.005."""
    found = Detections(ours.boxes_xyxy, ours.scores, ours.classes)
    assert len(found)
    for one, other in ((found, theirs), (theirs, found)):
        for box, score, kind in zip(one.boxes_xyxy, one.scores, one.classes, strict=True):
            if score < threshold + 0.005:
                continue
            alike = (other.classes == kind) & (np.abs(other.scores - score) < 0.005)
            overlap = boxes.iou(torch.from_numpy(box), torch.from_numpy(other.boxes_xyxy)).numpy()
            same = np.abs(other.boxes_xyxy - box).max(1) < 1e-2  # cut to nothing at the edge
            assert (alike & ((overlap > 0.99) | same)).any(), (box, score, kind)


@pytest.mark.parametrize("changes", STRATEGIES, ids=lambda c: "-".join(map(str, c.values())) or "default")
@pytest.mark.parametrize("split", [False, True], ids=["raw", "split"])
def test_detections_are_those_of_inference(network: Network, changes: dict[str, Any], split: bool) -> None:
    reference = bundles.detector_of(network, changes)
    manifest = manifest_like(reference)
    if split:
        parts = ("box", "objectness", "classes")
        for head in manifest.heads:
            head.outputs = {part: f"{head.outputs['raw']}_{part}" for part in parts}
    ours: Any = BoardDetector(manifest, TorchBackend(network, split))
    for image in bundles.pictures(3):
        theirs = next(reference.detect([image], bundles.POST))
        assert_same(ours.detect(np.ascontiguousarray(image[..., ::-1])), theirs, bundles.POST.score_threshold)


def test_evaluation_thresholds_agree_too(network: Network, reference: Detector) -> None:
    """As COCO evaluation asks: thousands of candidates, of which the best thousand count."""
    post = PostProcess(score_threshold=0.001, iou_threshold=0.65, candidates=300, limit=100)
    suppression = {"threshold": 0.001, "iou": 0.65, "max_detections": 100, "candidates": 300}
    ours: Any = BoardDetector(manifest_like(reference, suppression=suppression), TorchBackend(network))
    image = bundles.pictures(1)[0]
    theirs = next(reference.detect([image], post))
    assert len(theirs) == 100
    assert_same(ours.detect(np.ascontiguousarray(image[..., ::-1])), theirs, float(theirs.scores[-1]))


def test_a_head_may_have_a_coding_of_its_own(reference: Detector) -> None:
    """Darknet pairs: each [yolo] layer has its scale_x_y."""
    heads = bundles.heads_of(reference)
    heads[1]["coding"] = {"kind": "exp", "scale_x_y": 1.2}
    manifest = manifest_like(reference, heads=heads)
    assert [head.coding["kind"] for head in manifest.heads] == ["squared_sigmoid", "exp"]


@pytest.mark.parametrize(
    "second", [{"kind": "exp", "scale_x_y": 1.2}, {"kind": "squared_sigmoid"}], ids=["own", "same"]
)
@pytest.mark.parametrize("threshold", [0.0, 0.25])
def test_heads_read_together_are_heads_read_alone(
    reference: Detector, second: dict[str, Any], threshold: float
) -> None:
    """Each is decoded by its own coding, in the order of the heads."""
    described = bundles.heads_of(reference)
    described[0]["coding"] = {"kind": "squared_sigmoid"}
    described[1]["coding"] = second
    manifest = manifest_like(reference, heads=described)
    random = np.random.default_rng(0)
    size = manifest.input_size
    outputs = {
        head.outputs["raw"]: random.normal(0, 2, (1, 45, size[0] // head.stride, size[1] // head.stride))
        for head in manifest.heads
    }

    def candidates(heads: list[Any]) -> Any:
        return Reader(heads, manifest.scores, len(manifest.classes), size).candidates(outputs, threshold)

    together, alone = candidates(manifest.heads), [candidates([head]) for head in manifest.heads]
    assert all(len(found.scores) for found in alone)
    for ours, theirs in zip(together, (np.concatenate(each) for each in zip(*alone, strict=True)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("coding", CODINGS, ids=lambda c: "-".join(map(str, c.model_dump().values())))
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 40))
def test_every_coding_decodes_alike(coding: Any, seed: int, spread: float) -> None:
    """Also logits far beyond what training gives: sides are cut, nothing overflows."""
    random = np.random.default_rng(seed)
    logits = (spread * random.standard_normal((20, 4))).astype(np.float32)
    cells = random.integers(0, 26, (20, 2)).astype(np.float32)
    anchors = random.uniform(5, 300, (20, 2)).astype(np.float32)
    tensors = (torch.from_numpy(array) for array in (logits, cells))
    expected = coding.decode(*tensors, torch.full((20,), 16.0), torch.from_numpy(anchors)).numpy()
    ours: Any = decode(coding.model_dump(mode="json"), logits, cells, 16, anchors)
    np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=2e-3)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 60), st.sampled_from([0.3, 0.45, 0.65, 1.0]), st.booleans())
def test_suppression_is_that_of_inference(seed: int, count: int, iou: float, per_class: bool) -> None:
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 60, (count, 2))
    found = np.concatenate([corner, corner + random.uniform(0, 40, (count, 2))], 1).astype(np.float32)
    scores = random.choice(np.linspace(0.1, 0.9, 20), count).astype(np.float32)  # with ties
    classes = random.integers(0, 3, count)
    kept: Any = suppress(Candidates(found, scores, classes), iou, 100, 1000, per_class)
    labels = torch.from_numpy(classes) if per_class else None
    expected = boxes.nms(torch.from_numpy(found), torch.from_numpy(scores), iou, labels).numpy()
    np.testing.assert_array_equal(kept.boxes_xyxy, found[expected])
    np.testing.assert_array_equal(kept.classes, classes[expected])


def test_the_limit_keeps_the_best() -> None:
    found = np.array([[10 * k, 0, 10 * k + 5, 5] for k in range(8)], np.float32)
    scores = np.linspace(0.1, 0.8, 8, dtype=np.float32)
    kept: Any = suppress(Candidates(found, scores, np.zeros(8, int)), 0.5, 3, 1000, True)
    np.testing.assert_array_equal(kept.scores, scores[::-1][:3])


def test_the_plugin_s_outputs_are_read(reference: Detector) -> None:
    """EfficientNMS_TRT: the first ``num_detections`` rows count, whatever stands behind them."""
    outputs = {
        "num_detections": np.array([[3]], np.int32),
        "detection_boxes": np.array([[[0, 0, 64, 64], [8, 8, 16, 16], [1, 1, 2, 2], [9, 9, 9, 9]]], np.float32),
        "detection_scores": np.array([[0.9, 0.5, 0.02, 0.99]], np.float32),
        "detection_classes": np.array([[2, 7, 1, 1]], np.int32),
    }
    manifest = manifest_like(reference, heads=[], outputs="efficient_nms")
    backend = SimpleNamespace(takes="tensor", run=lambda tensor: outputs)
    found: Any = BoardDetector(manifest, backend).detect(np.zeros((256, 128, 3), np.uint8))
    np.testing.assert_array_equal(found.boxes_xyxy, [[0, 0, 64, 128], [8, 16, 16, 32]])
    assert found.classes.tolist() == [2, 7]
    del outputs["detection_classes"]
    with pytest.raises(DeviceError, match="detection_classes"):
        BoardDetector(manifest, backend).detect(np.zeros((256, 128, 3), np.uint8))


def test_outputs_of_another_model_are_refused(reference: Detector) -> None:
    backend = SimpleNamespace(takes="tensor", run=lambda tensor: {"stride32": np.zeros((1, 24, 4, 4), np.float32)})
    with pytest.raises(DeviceError, match=r"output 'stride32' of shape \[1, 45, 4, 4\]"):
        BoardDetector(manifest_like(reference), backend).detect(np.zeros((20, 20, 3), np.uint8))
