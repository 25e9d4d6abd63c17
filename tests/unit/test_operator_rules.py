"""The rule table accepts our graphs where the sources say that they run, and refuses planted violations by name."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgehone.boards import (
    BOARDS,
    RULES,
    CheckOptions,
    GraphDescription,
    GraphNode,
    Violation,
    board,
    check_graph,
    require_runnable,
    rules_for,
)
from edgehone.deploy.graph_nodes import describe_graph
from edgehone.deploy.onnx_graph import build_model
from edgehone.errors import EdgehoneError, UsageError
from edgehone.models import Network, YoloV4Tiny, fold
from edgehone.models.darknet import read_cfg

ROOT = Path(__file__).parents[2]
DARKNET = Path(os.environ.get("EDGEHONE_DARKNET", ROOT / "../shared/darknet"))
SIZE = (64, 96)
KL720, NX, CPU = "kneron-kl720", "jetson-xavier-nx", "cpu"
USUAL = CheckOptions()
ONE_RESIZE = CheckOptions(two_axis_resize=True)
TRT7 = CheckOptions(runtime="7.1")
DLA = CheckOptions(dla=True)


@pytest.fixture(scope="module", params=[(11, 2, "leaky"), (13, 2, "leaky"), (13, 2, "relu6"), (11, 3, "relu6")])
def exported(request: pytest.FixtureRequest) -> GraphDescription:
    """Our graph at an opset, with two or three heads and either activation; at half width, to save time."""
    opset, heads, activation = request.param
    network = Network(YoloV4Tiny(heads=heads, activation=activation, width=0.5).graph(3))
    return describe_graph(build_model(fold(network), SIZE, {}, opset))


def planted(
    op: str,
    inputs: dict[str, Any] | None = None,
    shape: tuple[int | str, ...] = (1, 8, 16, 16),
    outputs: int = 1,
    opset: int = 13,
    ir: int = 7,
    **attributes: Any,
) -> GraphDescription:
    """A graph of a sigmoid and the node ``culprit`` behind it; ``inputs`` are arrays, None is left out."""
    constants = inputs or {}
    weights = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items() if v is not None]
    names = ["before", *(name if value is not None else "" for name, value in constants.items())]
    nodes = [
        helper.make_node("Sigmoid", ["images"], ["before"], name="innocent"),
        helper.make_node(op, names, [f"out{k}" for k in range(outputs)], name="culprit", **attributes),
    ]
    result = helper.make_empty_tensor_value_info("out0")
    graph = helper.make_graph(
        nodes, "planted", [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)], [result], weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = ir
    return describe_graph(model)


def scales(*factors: float) -> dict[str, Any]:
    return {"roi": None, "scales": np.array(factors, np.float32)}


NEAREST: dict[str, Any] = {
    "mode": "nearest",
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}
FLOAT = np.float32
AXES = (np.array([0]), np.array([4]), np.array([1]))

OF_NODES: list[tuple[str, str, GraphDescription, CheckOptions, str]] = [
    ("split", KL720, planted("Split", outputs=2, axis=1), USUAL, "two Slice"),
    ("mish", KL720, planted("Mish"), ONE_RESIZE, "LeakyReLU"),
    ("softplus", KL720, planted("Softplus"), ONE_RESIZE, "LeakyReLU"),
    ("hardswish", KL720, planted("HardSwish", opset=14), ONE_RESIZE, "LeakyReLU"),
    ("two axes", KL720, planted("Resize", scales(1, 1, 2, 2), **NEAREST), USUAL, "two nearest Resize"),
    ("shrinking", KL720, planted("Resize", scales(1, 1, 1, 0.5), **NEAREST), ONE_RESIZE, "two nearest Resize"),
    ("half pixel", KL720, planted("Resize", scales(1, 1, 1, 2), mode="nearest"), ONE_RESIZE, "two nearest Resize"),
    ("cubic", KL720, planted("Resize", scales(1, 1, 1, 2), mode="cubic"), ONE_RESIZE, "two nearest Resize"),
    ("softmax", KL720, planted("Softmax", axis=1), USUAL, "leave it to the host"),
    ("div", KL720, planted("Div", {"by": FLOAT(2)}), USUAL, "reciprocal"),
    ("identity", KL720, planted("Identity"), USUAL, "fold constants"),
    ("cast", KL720, planted("Cast", to=TensorProto.INT32), USUAL, "fold constants"),
    (
        "slice of step 2",
        KL720,
        planted("Slice", dict(zip(("starts", "ends", "axes", "steps"), (*AXES, np.array([2])), strict=True))),
        USUAL,
        "steps of 1",
    ),
    ("clip from -1", KL720, planted("Clip", {"low": FLOAT(-1), "high": FLOAT(1)}), USUAL, "ReLU6"),
    ("clip without limits", KL720, planted("Clip"), USUAL, "ReLU6"),
    ("cube", KL720, planted("Pow", {"by": FLOAT(3)}), USUAL, "multiply"),
    ("five axes", KL720, planted("Concat", {"more": np.ones((1, 1, 2, 4, 4), FLOAT)}, (1, 1, 2, 4, 4), axis=1),
     USUAL, "four axes"),
    ("channels last", KL720, planted("Transpose", perm=[0, 2, 3, 1]), USUAL, "exchange rows"),
    ("wide stride", KL720, planted("Conv", {"w": np.ones((4, 8, 8, 8), FLOAT)}, strides=[8, 8]), USUAL, "4 down"),
    ("odd pool", KL720, planted("MaxPool", kernel_shape=[2, 3], strides=[1, 1]), USUAL, "pools of 2 or 3"),
    ("pool that skips", KL720, planted("MaxPool", kernel_shape=[2, 2], strides=[3, 3]), USUAL, "pools of 2"),
    ("pool that rounds up", KL720,
     planted("MaxPool", kernel_shape=[5, 5], strides=[1, 1], ceil_mode=1), USUAL, "pools of 2"),
    ("large mean", KL720, planted("GlobalAveragePool", shape=(1, 8, 256, 256)), USUAL, "two steps"),
    ("wide pad", KL720, planted("Pad", {"pads": np.array([0, 0, 40, 0, 0, 0, 0, 0])}), USUAL, "fewer than 32"),
    ("pad of channels", KL720, planted("Pad", {"pads": np.array([0, 1, 0, 0, 0, 0, 0, 0])}), USUAL, "rows and"),
    ("lost axis", KL720, planted("ReduceMean", axes=[1], keepdims=0), USUAL, "keep the reduced axes"),
    ("q/dq", KL720, planted("QuantizeLinear", {"scale": FLOAT(1), "zero": np.int8(0)}), USUAL, "vendor"),
    ("unknown", KL720, planted("CumSum", {"axis": np.array(1)}), USUAL, "operators of the table"),
    ("mish", NX, planted("Mish"), USUAL, "softplus"),
    ("cubic", NX, planted("Resize", scales(1, 1, 2, 2), mode="cubic"), USUAL, "nearest"),
    ("half pixel before 8", NX, planted("Resize", scales(1, 1, 2, 2), mode="nearest"), TRT7, "flo"),
    ("second output", NX, planted("MaxPool", outputs=2, kernel_shape=[2, 2]), USUAL, "Indices"),
    ("one hot", NX, planted("OneHot", {"depth": np.array(2), "values": np.array([0, 1])}), USUAL, "host"),
    ("class agnostic", NX, planted("EfficientNMS_TRT", class_agnostic=1), USUAL, "class_agnostic"),
    ("plug-in too early", NX, planted("EfficientNMS_TRT"), TRT7, "raw heads"),
    ("nms", NX, planted("NonMaxSuppression"), CheckOptions(runtime="8.5"), "EfficientNMS_TRT"),
    ("zero point", NX, planted("QuantizeLinear", {"scale": FLOAT(1), "zero": np.int8(3)}), USUAL, "symmetric"),
    ("q/dq before 8", NX, planted("QuantizeLinear", {"scale": FLOAT(1)}), TRT7, "calibration"),
    ("two indices", KL720, planted("Gather", {"i": np.array([0, 1])}, axis=1), USUAL, "one constant index"),
    ("more channels", KL720, planted("Expand", {"to": np.array([1, 8, 4, 4])}, (1, 1, 4, 4)), USUAL, "rows or columns"),
    ("both axes", KL720, planted("Expand", {"to": np.array([1, 8, 4, 4])}, (1, 8, 1, 1)), USUAL, "one after the other"),
    ("pad of channels", NX, planted("Pad", {"pads": np.array([0, 1, 0, 0, 0, 0, 0, 0])}), USUAL, "rows and columns"),
    ("leaky on dla", NX, planted("LeakyRelu", alpha=0.1), DLA, "ReLU6"),
    ("slice on dla", NX, planted("Slice", dict(zip(("s", "e", "a"), AXES, strict=True))), DLA, "slice-free"),
    ("2.5 times on dla", NX, planted("Resize", scales(1, 1, 2.5, 2.5), **NEAREST), DLA, "whole"),
    ("q/dq on dla", NX, planted("QuantizeLinear", {"scale": FLOAT(1)}), DLA, "calibration"),
    ("plug-in", CPU, planted("EfficientNMS_TRT"), USUAL, "raw heads"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "graph", "options", "way_round"), [c[1:] for c in OF_NODES], ids=[
    f"{c[1]}-{c[0]}" for c in OF_NODES
])  # fmt: skip
def test_a_planted_node_is_refused_by_name(
    name: str, graph: GraphDescription, options: CheckOptions, way_round: str
) -> None:
    found = [violation for violation in check_graph(graph, board(name), options) if violation.node]
    assert [violation.node for violation in found] == ["culprit"], found
    assert found[0].operator == graph.nodes[1].op
    assert way_round in found[0].way_round
    assert found[0].source


OF_GRAPHS: list[tuple[str, tuple[str, ...], GraphDescription, str]] = [
    ("opset 18", (KL720, NX), planted("Relu", opset=18), "the graph has opset 18"),
    ("opset 22", (CPU,), planted("Relu", opset=22), "the graph has opset 22"),
    ("opset 7", (KL720,), planted("Relu", opset=7), "the graph has opset 7"),
    ("IR 8", (KL720, NX), planted("Relu", ir=8), "the file has IR version 8"),
    ("IR 9", (KL720, NX), planted("Relu", ir=9), "the file has IR version 9"),
    ("free height", (KL720, NX, CPU), planted("Relu", shape=(1, 8, "height", 16)), "1 x 8 x height x 16"),
    ("free batch", (KL720, NX, CPU), planted("Relu", shape=("n", 8, 16, 16)), "shapes are static"),
    ("batch 2", (KL720, NX, CPU), planted("Relu", shape=(2, 8, 16, 16)), "the batch is 1"),
]


@pytest.mark.parametrize(
    ("name", "graph", "rule"),
    [(name, graph, rule) for _, names, graph, rule in OF_GRAPHS for name in names],
    ids=[f"{name}-{case}" for case, names, _, _ in OF_GRAPHS for name in names],
)
def test_a_planted_graph_is_refused(name: str, graph: GraphDescription, rule: str) -> None:
    found = check_graph(graph, board(name))
    assert [violation.node for violation in found] == [""]
    assert rule in found[0].rule


def test_too_many_inputs_and_too_large_models(exported: GraphDescription) -> None:
    crowd = replace(exported, inputs={f"image{k}": (1, 3, *SIZE) for k in range(6)})
    assert any("at most 5 inputs" in v.rule for v in check_graph(crowd, board(KL720)))
    heavy = replace(exported, parameter_bytes=4 * 60 * 1024**2)
    fits = check_graph(heavy, board(KL720), ONE_RESIZE)
    too_wide = check_graph(heavy, board(KL720), CheckOptions(two_axis_resize=True, precision="int16"))
    assert not fits
    assert ["at most 73.4 MB" in violation.rule for violation in too_wide] == [True]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (CPU, USUAL),
        (NX, USUAL),
        (NX, CheckOptions(runtime="8.5")),
        (KL720, ONE_RESIZE),
    ],
)
def test_our_graph_is_accepted(exported: GraphDescription, name: str, options: CheckOptions) -> None:
    assert check_graph(exported, board(name), options) == []
    require_runnable(exported, board(name), options)


@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov4-tiny-3l", "yolov7-tiny", "yolo-fastest-1.1"])
def test_graphs_of_the_official_files_are_accepted(name: str) -> None:
    """The vendor's tables show YOLOv3-tiny without a node on the KL720's CPU."""
    path = DARKNET / f"{name}.cfg"
    if not path.is_file():
        pytest.skip(f"{path} is not there: set EDGEHONE_DARKNET to the folder of Darknet's files")
    graph = describe_graph(build_model(fold(Network(read_cfg(path).graph)), (96, 96), {}))
    assert check_graph(graph, board(NX)) == []
    assert check_graph(graph, board(KL720), ONE_RESIZE) == []
    assert {violation.operator for violation in check_graph(graph, board(KL720))} == {"Resize"}


def test_older_runtimes_take_the_older_export(exported: GraphDescription) -> None:
    for name, version in ((NX, "7.1"), (KL720, "base")):
        options = CheckOptions(runtime=version, two_axis_resize=True)
        found = check_graph(exported, board(name), options)
        assert bool(found) == (exported.opset == 13), found


def test_our_graph_on_kl720_needs_one_resize_per_axis(exported: GraphDescription) -> None:
    found = check_graph(exported, board(KL720))
    enlarging = [("33_upsample", "Resize"), ("40_upsample", "Resize")]
    assert [(v.node, v.operator) for v in found] in (enlarging[:1], enlarging)
    with pytest.raises(
        EdgehoneError, match=r"33_upsample \(Resize\): one axis is enlarged at a time.*two nearest Resize"
    ):
        require_runnable(exported, board(KL720))


def test_our_graph_on_dla_names_what_stays_on_the_gpu(exported: GraphDescription) -> None:
    found = check_graph(exported, board(NX), DLA)
    leaky = any(node.op == "LeakyRelu" for node in exported.nodes)
    assert {v.operator for v in found} == ({"LeakyRelu", "Slice"} if leaky else {"Slice"})


def test_relu6_and_two_resizes_run_everywhere() -> None:
    pair = planted("Resize", scales(1, 1, 1, 2), **NEAREST)
    clipped = planted("Clip", {"low": FLOAT(0), "high": FLOAT(6)})
    for name in BOARDS:
        assert check_graph(pair, board(name)) == []
        assert check_graph(clipped, board(name)) == []


def test_factors_come_from_the_shapes_where_scales_are_left_out() -> None:
    sizes = {"roi": None, "scales": None, "sizes": np.array([1, 8, 32, 32])}
    found = check_graph(planted("Resize", sizes, **NEAREST), board(KL720))
    assert "rows by 2 and columns by 2" in found[0].rule


def test_a_computed_weight_is_refused() -> None:
    nodes = [
        helper.make_node("Sigmoid", ["w"], ["soft"], name="innocent"),
        helper.make_node("Conv", ["images", "soft"], ["out"], kernel_shape=[1, 1]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("images", [1, 4, 8, 8]), ("w", [1, 4, 1, 1]))
    ]
    result = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 1, 8, 8])
    model = helper.make_model(
        helper.make_graph(nodes, "g", values, [result]), opset_imports=[helper.make_opsetid("", 13)]
    )
    model.ir_version = 7
    graph = describe_graph(model)
    assert graph.nodes[1].name == "out", "a node without a name is called after its output"
    for name in (KL720, NX):
        assert [v.node for v in check_graph(graph, board(name))] == ["out"]


def test_a_shape_that_is_computed_is_refused() -> None:
    nodes = [
        helper.make_node("Sigmoid", ["images"], ["before"], name="innocent"),
        helper.make_node("Reshape", ["before", "shape"], ["out"], name="culprit"),
    ]
    values = [
        helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 4, 8, 8]),
        helper.make_tensor_value_info("shape", TensorProto.INT64, [2]),
    ]
    inner = helper.make_graph(nodes, "computed", values, [helper.make_empty_tensor_value_info("out")])
    model = helper.make_model(inner, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 7
    graph = describe_graph(model)
    found = [v for v in check_graph(graph, board(NX)) if v.node]
    assert [v.node for v in found] == ["culprit"]
    assert "shapes are static" in found[0].rule


FIRST_READ = {
    "8.0": ("GatherElements", "GreaterOrEqual", "LessOrEqual"),
    "8.2": ("GatherND", "ScatterElements", "ScatterND", "Sign", "Round"),
    "8.4": ("Xor", "Shrink"),
    "8.5": ("RoiAlign", "Mod", "NonZero", "HardSwish", "OneHot", "Reciprocal"),
}
"""onnx-tensorrt's changelog and tables."""


@pytest.mark.parametrize(("first", "op"), [(first, op) for first, ops in FIRST_READ.items() for op in ops])
def test_tensorrt_reads_an_operator_since_its_version(first: str, op: str) -> None:
    versions = [runtime.version for runtime in board(NX).runtimes]
    node = GraphNode("culprit", op, ("x",), ("y",), output_shapes=((1, 2),))
    graph = GraphDescription((node,), 11, 6, {"x": (1, 2)})
    for version in versions:
        found = check_graph(graph, board(NX), CheckOptions(runtime=version))
        early = versions.index(version) < versions.index(first)
        assert [violation.node for violation in found] == (["culprit"] if early else [])
        assert all(f"since TensorRT {first}" in violation.rule for violation in found)


def test_kl720_takes_one_index_and_one_longer_side() -> None:
    assert check_graph(planted("Gather", {"i": np.array([3])}, axis=1), board(KL720)) == []
    assert check_graph(planted("Expand", {"to": np.array([1, 8, 16, 16])}, (1, 8, 1, 16)), board(KL720)) == []


def test_every_source_of_the_jetson_says_which_version() -> None:
    for rule in RULES:
        if rule.board == NX:
            assert any(character.isdigit() for character in rule.source), rule.source


def test_a_runtime_that_does_not_exist_is_refused(exported: GraphDescription) -> None:
    with pytest.raises(UsageError, match=r"got '6\.0'"):
        check_graph(exported, board(NX), CheckOptions(runtime="6.0"))


def test_the_table_is_data() -> None:
    assert {rule.board for rule in RULES} == set(BOARDS)
    for rule in RULES:
        assert type(rule).model_validate_json(rule.model_dump_json()) == rule
        assert len(rule.source) > 3
        assert rule.way_round
        versions = [runtime.version for runtime in board(rule.board).runtimes]
        assert {rule.since, rule.before} <= {None, *versions}


def test_every_operator_of_the_table_exists() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()} | {"*", "EfficientNMS_TRT"}
    assert {rule.operator for rule in RULES} <= known


@pytest.mark.parametrize("name", list(BOARDS))
def test_an_operator_is_either_supported_or_not(name: str) -> None:
    rules = rules_for(board(name))
    yes = {rule.operator for rule in rules if rule.supported}
    no = {rule.operator for rule in rules if not rule.supported}
    assert not yes & no


def test_violations_are_data(exported: GraphDescription) -> None:
    found = check_graph(exported, board(KL720))
    assert Violation.model_validate_json(found[0].model_dump_json()) == found[0]
