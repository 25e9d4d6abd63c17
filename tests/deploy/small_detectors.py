"""Small detectors that see something, for the tests of graphs and bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgehone.boxes import iou
from edgehone.data import read_dataset
from edgehone.inference import Detector, DetectorInfo, PostProcess, TorchRuntime, select
from edgehone.models import Network, architecture
from edgehone.projection.anchors import official_px
from edgehone.space import replace
from edgehone.strategy import AUTHORS, Strategy
from edgehone.types import Detections

SIZE = 128
DATA = "builtin:digits?train=6&val=3&test=2&width=160&height=112&min_px=20&max_px=60&max_objects=4"
CLASSES = tuple(str(digit) for digit in range(10))
POST = PostProcess(score_threshold=0.05, iou_threshold=0.45)


def strategy_of(changes: Mapping[str, Any] | None = None) -> Strategy:
    return replace(AUTHORS, {"input.size": SIZE, **(changes or {})})


def see_something(network: Network, pixels: Tensor) -> None:
    """Make heads of spread logits, of which few slots are sure: as if it were trained."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 1.6)
            module.running_mean = 0.2 * torch.randn(module.num_features)
            module.running_var = 0.3 + torch.rand(module.num_features)
    network.eval()
    with torch.no_grad():
        heads = network(pixels)
        for index, bias, head in zip(network.graph.outputs, network.head_biases(), heads, strict=True):
            channels = head.transpose(0, 1).flatten(1)
            spread = torch.tensor([1.0, 1, 0.5, 0.5, 2, *(2.0 for _ in CLASSES)]).repeat(3) / channels.std(1)
            network.head_convolution(index).weight *= spread[:, None, None, None]
            bias[:] = -channels.mean(1) * spread
            bias.view(3, -1)[:, 4:] -= 4


def make_detector(
    heads: int = 2, activation: str = "leaky", changes: Mapping[str, Any] | None = None, width: float = 0.5
) -> Detector:
    """An untrained YOLOv4-tiny of half the width whose heads are spread as if it were trained."""
    model = {2: "yolov4-tiny", 3: "yolov4-tiny-3l"}[heads]
    name = f"{model}@width={width},activation={activation}"
    anchors = tuple((float(w), float(h)) for w, h in official_px(3, heads, (SIZE, SIZE)))
    info = DetectorInfo(model=name, class_names=CLASSES, anchors_px=anchors, strategy=strategy_of(changes))
    torch.manual_seed(0)
    network = Network(architecture(name).graph(len(CLASSES)))
    detector = Detector(info, TorchRuntime(network))
    see_something(network, prepared(detector))
    return detector


def images(count: int = 3) -> list[NDArray[np.uint8]]:
    return [sample.read().image for sample in read_dataset(DATA).train[:count]]


def prepared(detector: Detector) -> Tensor:
    return torch.stack([detector.prepare(image) for image in images()])


def run_graph(model: onnx.ModelProto, pixels: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Outputs by name of one picture ``[3, h, w]``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": pixels[None]}), strict=True))


def told(detector: Detector, heads: Sequence[Tensor]) -> Detections:
    """Detections of raw heads of one picture, in the input's pixels."""
    said = detector.info.predictions(heads, detector.info.lattice())
    joint = said.objectness_logits.sigmoid()[..., None] * said.class_logits.sigmoid()
    return select(said.boxes_xyxy[0], joint[0], POST)


def assert_same(ours: Detections, theirs: Detections) -> None:
    """IoU above 0.99 and scores within 0.005, one for one; near the threshold either side may miss one."""
    for one, other in ((ours, theirs), (theirs, ours)):
        sure = one.scores >= POST.score_threshold + 0.005
        assert sure.any(), "detectors that see nothing would prove nothing"
        overlaps = iou(torch.from_numpy(one.boxes_xyxy)[:, None], torch.from_numpy(other.boxes_xyxy)[None]).numpy()
        near = np.abs(one.scores[:, None] - other.scores[None]) <= 0.005
        same = one.classes[:, None] == other.classes[None]
        assert ((overlaps > 0.99) & near & same).any(1)[sure].all()
