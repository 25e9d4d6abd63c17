"""Every board's graph says what torch says, is valid, and is accepted by the rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import small_detectors as small
import torch
from numpy.typing import NDArray
from onnx import helper
from torch import Tensor

from edgehone.boards import CheckOptions, board, check_graph
from edgehone.deploy.graph_nodes import describe_graph
from edgehone.deploy.jetson.efficient_nms import OUTPUTS, with_efficient_nms
from edgehone.deploy.onnx_graph import IR_VERSIONS, MASTER, GraphForm, build_model
from edgehone.deploy.plugin import PLUGIN, before_plugin
from edgehone.deploy.reading import class_activation, head_readings
from edgehone.errors import UsageError
from edgehone.inference import Detector, TorchRuntime
from edgehone.models import Convolutional, Graph, Head, Network, Route, fold

KL720 = GraphForm(one_axis_resize=True, classes=len(small.CLASSES), restore=(256 / 255, 128 / 255))
SLICE_FREE = GraphForm(slice_free=True)


def graph_of(detector: Detector, opset: int = 13, form: GraphForm = MASTER) -> onnx.ModelProto:
    assert isinstance(detector.runtime, TorchRuntime)
    return build_model(fold(detector.runtime.network), detector.input_size, {}, opset, form)


def raw_of(outputs: dict[str, NDArray[Any]], strides: tuple[int, ...]) -> list[Tensor]:
    """Raw heads again, anchor by anchor, from box, objectness and class outputs."""
    heads: list[Tensor] = []
    for stride in strides:
        box, objectness, classes = (outputs[f"stride{stride}_{part}"] for part in ("box", "objectness", "classes"))
        count = len(small.CLASSES)
        anchors = [
            np.concatenate(
                [box[:, 4 * k : 4 * k + 4], objectness[:, k : k + 1], classes[:, count * k : count * (k + 1)]], 1
            )
            for k in range(3)
        ]
        heads.append(torch.from_numpy(np.concatenate(anchors, 1)))
    return heads


def said_by(detector: Detector, model: onnx.ModelProto, form: GraphForm, pixels: Tensor) -> list[Tensor]:
    fed = pixels.numpy()
    if form.restore is not None:
        fed = np.float32(np.rint(fed * 255) / 256 - 0.5)  # what the board makes of 8 bits
    outputs = small.run_graph(model, fed)
    strides = detector.info.graph().strides
    if form.classes is not None:
        assert list(outputs) == [f"stride{s}_{part}" for s in strides for part in ("box", "objectness", "classes")]
        return raw_of(outputs, strides)
    assert list(outputs) == [f"stride{s}" for s in strides]
    return [torch.from_numpy(outputs[f"stride{s}"]) for s in strides]


FORMS = [
    ("cpu", 13, MASTER),
    ("cpu", 13, SLICE_FREE),
    ("jetson-xavier-nx", 13, MASTER),
    ("jetson-xavier-nx", 11, SLICE_FREE),
    ("kneron-kl720", 11, KL720),
    ("kneron-kl720", 12, KL720.model_copy(update={"slice_free": True})),
]


@pytest.mark.parametrize(("name", "opset", "form"), FORMS)
def test_a_boards_graph_says_what_torch_says(detector: Detector, name: str, opset: int, form: GraphForm) -> None:
    model = graph_of(detector, opset, form)
    onnx.checker.check_model(model, full_check=True)
    assert (model.opset_import[0].version, model.ir_version) == (opset, IR_VERSIONS[opset])
    assert model.ir_version <= 7
    described = describe_graph(model)
    assert check_graph(described, board(name)) == []
    if opset < 13:
        older = {"jetson-xavier-nx": "7.1", "kneron-kl720": "base"}[name]
        assert check_graph(described, board(name), CheckOptions(runtime=older)) == []
    for pixels in small.prepared(detector):
        ours = detector.runtime.heads(pixels[None])
        theirs = said_by(detector, model, form, pixels)
        for one, other in zip(ours, theirs, strict=True):
            assert float(one.std()) > 0.1
            torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
        small.assert_same(small.told(detector, ours), small.told(detector, theirs))


def test_without_a_slice_nothing_changes_to_the_last_bit(detector: Detector) -> None:
    master, free = graph_of(detector), graph_of(detector, form=SLICE_FREE)
    assert sum(node.op_type == "Slice" for node in master.graph.node) == 3
    assert not {"Slice", "Split"} & {node.op_type for node in free.graph.node}
    pixels = small.prepared(detector)[0].numpy()
    ours, theirs = small.run_graph(master, pixels), small.run_graph(free, pixels)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    weights = {item.name: np.prod(item.dims) for item in free.graph.initializer if item.name.endswith("_weight")}
    assert sum(weights.values()) == sum(np.prod(i.dims) for i in master.graph.initializer if i.name.endswith("_weight"))


def test_channels_of_what_is_no_convolution_are_chosen_by_zeros_and_ones() -> None:
    end = (Convolutional(6, 1, batch_normalize=False, activation="linear"), Head())
    layers = (Convolutional(4, 3), Convolutional(4, 3, groups=2), Route((0, 1)), Route((2,), groups=4, group=2), *end)
    more = (Route((1, 0), groups=2, group=1), Convolutional(8, 3, 2), Route((0,)), Convolutional(8, 3, 2), *end)
    network = fold(Network(Graph((*layers, *more))))
    pixels = np.random.default_rng(0).random((3, 8, 8), np.float32)
    models = [build_model(network, (8, 8), {}, 13, form) for form in (MASTER, SLICE_FREE)]
    ours, theirs = (small.run_graph(model, pixels) for model in models)
    assert len(ours) == 2
    assert not {"Slice", "Split"} & {node.op_type for node in models[1].graph.node}
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_the_picture_is_restored_by_a_node_of_its_own(usual: Detector) -> None:
    model = graph_of(usual, 11, KL720)
    first, second = model.graph.node[:2]
    assert (first.op_type, list(first.input)[:1]) == ("BatchNormalization", ["images"])
    assert (second.op_type, second.input[0]) == ("Conv", first.output[0])
    numbers = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    np.testing.assert_allclose(numbers[first.input[1]], 256 / 255, rtol=1e-7)
    np.testing.assert_allclose(numbers[first.input[2]], 128 / 255, rtol=1e-7)
    master = {i.name: onnx.numpy_helper.to_array(i) for i in graph_of(usual).graph.initializer}
    for name in ("0_conv_weight", "0_conv_bias"):
        np.testing.assert_array_equal(numbers[name], master[name])  # nothing was folded into it
    levels = np.arange(256)
    restored = (levels / 256 - 0.5) * numbers[first.input[1]][0] + numbers[first.input[2]][0]
    np.testing.assert_allclose(restored, levels / 255, atol=1e-6)


def test_maps_are_enlarged_along_one_axis_at_a_time(usual: Detector) -> None:
    model = graph_of(usual, 11, KL720)
    numbers = {i.name: onnx.numpy_helper.to_array(i).tolist() for i in model.graph.initializer}
    scales = [numbers[node.input[2]] for node in model.graph.node if node.op_type == "Resize"]
    assert scales == [[1, 1, 2, 1], [1, 1, 1, 2]]


CODINGS: dict[str, dict[str, Any]] = {
    "darknet": {"projection.coding.kind": "exp", "projection.coding.scale_x_y": 1.05},
    "plain": {"projection.coding.kind": "exp", "projection.coding.scale_x_y": 1.0},
    "squared": {"projection.coding.kind": "squared_sigmoid"},
    "distances": {"projection.coding.kind": "distances"},
    "exponential distances": {"projection.coding.kind": "distances", "projection.coding.growth": "exp"},
    "softmax": {"projection.classification.loss.kind": "softmax"},
}


def suppressing(detector: Detector, opset: int = 13) -> onnx.ModelProto:
    info = detector.info
    heads = head_readings(info)
    return with_efficient_nms(
        graph_of(detector, opset), heads, len(info.class_names), class_activation(info), small.POST
    )


@pytest.mark.parametrize("name", list(CODINGS))
def test_up_to_the_plug_in_every_coding_is_ours(name: str) -> None:
    detector = small.make_detector(2, "leaky", CODINGS[name])
    before = before_plugin(suppressing(detector))
    lattice = detector.info.lattice()
    for pixels in small.prepared(detector):
        found = small.run_graph(before, pixels.numpy())
        said = detector.info.predictions(detector.runtime.heads(pixels[None]), lattice)
        joint = said.objectness_logits.sigmoid()[..., None] * said.class_logits.sigmoid()
        assert found["boxes"].shape == (1, lattice.slots, 4)
        np.testing.assert_allclose(found["boxes"], said.boxes_xyxy.numpy(), rtol=1e-4, atol=2e-3)
        np.testing.assert_allclose(found["scores"], joint.numpy(), atol=1e-5)


def test_the_plug_in_is_used_as_its_table_says(detector: Detector) -> None:
    model = suppressing(detector)
    onnx.checker.check_model(model, full_check=True)
    node = model.graph.node[-1]
    assert (node.op_type, node.domain, list(node.input)) == (PLUGIN, "TRT", ["boxes", "scores"])
    given = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    assert given == {
        "plugin_version": b"1",
        "score_threshold": pytest.approx(0.05),
        "iou_threshold": pytest.approx(0.45),
        "max_output_boxes": 100,
        "background_class": -1,
        "score_activation": 0,
        "box_coding": 0,
    }
    whole, real = onnx.TensorProto.INT32, onnx.TensorProto.FLOAT
    kinds = [item.type.tensor_type for item in model.graph.output]
    assert [item.name for item in model.graph.output] == list(OUTPUTS) == list(node.output)
    assert [kind.elem_type for kind in kinds] == [whole, real, real, whole]
    shapes = [[side.dim_value for side in kind.shape.dim] for kind in kinds]
    assert shapes == [[1, 1], [1, 100, 4], [1, 100], [1, 100]]
    assert check_graph(describe_graph(model), board("jetson-xavier-nx")) == []
    assert {v.operator for v in check_graph(describe_graph(model), board("cpu"))} == {PLUGIN}


def test_a_head_that_another_layer_reads_cannot_be_parted() -> None:
    head = Convolutional(6, 1, batch_normalize=False, activation="linear")
    network = fold(
        Network(Graph((Convolutional(4, 3), head, Head(), Route((1,)), Convolutional(4, 3, 2), head, Head())))
    )
    with pytest.raises(UsageError, match="layer 1 is read by another layer"):
        build_model(network, (8, 8), {}, 13, GraphForm(classes=1))
    with pytest.raises(UsageError, match="6 are no multiple of 7"):
        build_model(network, (8, 8), {}, 13, GraphForm(classes=2))


FEW = np.array([1.0], np.float32)
PLANTED: list[tuple[str, dict[str, Any], list[NDArray[Any] | None], int]] = [
    ("Split", {"axis": 1}, [], 2),
    ("Mish", {}, [], 1),
    ("HardSwish", {}, [], 1),
    ("Softplus", {}, [], 1),
    ("Softmax", {"axis": 1}, [], 1),
    ("Div", {}, [FEW], 1),
    ("Sqrt", {}, [], 1),
    ("Identity", {}, [], 1),
    ("Cast", {"to": onnx.TensorProto.INT32}, [], 1),
    ("Resize", {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
     [None, np.array([1, 1, 2, 2], np.float32)], 1),
    ("Transpose", {"perm": [0, 2, 3, 1]}, [], 1),
    ("QuantizeLinear", {}, [FEW, np.array([0], np.int8)], 1),
    ("Clip", {}, [np.array(-1, np.float32), np.array(1, np.float32)], 1),
    ("Slice", {}, [np.array([0]), np.array([8]), np.array([1]), np.array([2])], 1),
    ("MaxPool", {"kernel_shape": [2, 2], "strides": [3, 3]}, [], 1),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "attributes", "constants", "outputs"), PLANTED, ids=[case[0] for case in PLANTED])
def test_a_violation_planted_in_our_graph_is_refused_by_name(
    usual: Detector, operator: str, attributes: dict[str, Any], constants: list[NDArray[Any] | None], outputs: int
) -> None:
    model = graph_of(usual, 12, KL720)
    model.opset_import[0].version = 13
    names = ["2_conv"]
    for k, values in enumerate(constants):
        names.append("" if values is None else f"planted_{k}")
        if values is not None:
            model.graph.initializer.append(onnx.numpy_helper.from_array(values, names[-1]))
    made = [f"planted_out{k}" for k in range(outputs)]
    model.graph.node.append(helper.make_node(operator, names, made, name="culprit", **attributes))
    found = check_graph(describe_graph(model), board("kneron-kl720"))
    assert [(violation.node, violation.operator) for violation in found] == [("culprit", operator)]
    assert found[0].way_round
