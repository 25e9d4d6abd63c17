"""A bundle is verified on the host by the code that it carries."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import bundles
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgehone.cli import main
from edgehone.deploy.golden import GoldenPicture, golden_bytes
from edgehone.deploy.verify import verify_bundle
from edgehone.errors import UsageError
from edgehone.inference import Detector


def outcome(folder: Path) -> dict[str, bool]:
    return {check.name: check.passed for check in verify_bundle(folder).checks}


def found(folder: Path, name: str) -> str:
    return next(check.found for check in verify_bundle(folder).checks if check.name == name)


def changed(folder: Path, **changes: Any) -> None:
    """Deliver the bundle with another manifest; the checksums are right."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for path, value in changes.items():
        place = manifest
        *parts, last = path.split("__")
        for part in parts:
            place = place[int(part) if part.isdigit() else part]
        place[last] = value
    bundles.write_manifest(folder, manifest)


def test_a_good_bundle_passes(bundle: Path) -> None:
    checks = ("manifest", "files", "graph", "pictures", "outputs", "detections", "variants")
    assert outcome(bundle) == dict.fromkeys(checks, True)


def test_files(copied: Path) -> None:
    (copied / "detect.py").write_text("print('hello')\n")
    (copied / "golden.npz").unlink()
    assert outcome(copied) == {"manifest": True, "files": False}
    assert "detect.py was changed" in found(copied, "files")
    assert "golden.npz is missing" in found(copied, "files")


def test_no_manifest(tmp_path: Path) -> None:
    assert outcome(tmp_path) == {"manifest": False}
    (tmp_path / "manifest.json").write_text("{")
    assert "must be JSON" in found(tmp_path, "manifest")
    with pytest.raises(UsageError, match="a bundle is a folder"):
        verify_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("schema", 2, "schema must be 1, got 2"),
        ("board", None, "board must be a str"),
        ("model__runtime", "caffe", "model.runtime must be onnxruntime or"),
        ("model__precision", "fp8", "model.precision must be fp32 or"),
        ("model__path", "../model.onnx", "a path inside the bundle"),
        ("model__path", "other.onnx", "checksum of other.onnx"),
        ("input__shape", [1, 3, None, 128], "input.shape must be [1, 3, height, width]"),
        ("input__shape", [1, 3, 100, 128], "a divisor of the input's sides (100, 128)"),
        ("input__fit", "crop", "input.fit must be stretch or letterbox"),
        ("input__pad_value", 300, "input.pad_value must be a gray level"),
        ("input__scale", "1/255", "input.scale must be a number"),
        ("heads", [], "heads must be a list of heads"),
        ("heads__1__coding", {"kind": "spline"}, "heads[1].coding.kind must be exp or squared_sigmoid"),
        ("scores", {"classes": "relu"}, "scores.classes must be sigmoid or softmax or none"),
        ("suppression__kind", "soft", "suppression.kind must be greedy"),
        ("suppression__max_detections", 0, "a whole number of at least 1"),
    ],
)
def test_a_manifest_of_another_shape_is_told(copied: Path, path: str, value: Any, says: str) -> None:
    changed(copied, **{path: value})
    assert outcome(copied) == {"manifest": False}
    assert says in found(copied, "manifest")


def test_names_stay_inside_the_bundle(copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    for name in ("../outside", "/etc/passwd", "a/../../b"):
        manifest["files"][name] = "0" * 64
        manifest["golden"]["path"] = name
        (copied / "manifest.json").write_text(json.dumps(manifest))
        assert "a path inside the bundle" in found(copied, "manifest")


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("model__opset", 11, "the manifest says opset 11, the graph 13"),
        ("input__name", "pixels", "the manifest says the input is {'pixels'"),
        ("board", "abacus", "there is no board abacus"),
        ("heads", [{"stride": 32, "outputs": {"raw": "stride8"}, "anchors_px": [[1, 1]] * 3}], "lacks the outputs"),
    ],
)
def test_a_graph_that_is_not_the_manifest_s_is_told(copied: Path, path: str, value: Any, says: str) -> None:
    changed(copied, **{path: value})
    assert outcome(copied) == {"manifest": True, "files": True, "graph": False}
    assert says in found(copied, "graph")


def test_what_a_board_does_not_run_is_told(copied: Path) -> None:
    changed(copied, board="kneron-kl720")
    assert "33_upsample (Resize)" in found(copied, "graph")


def test_a_damaged_graph_is_told(copied: Path) -> None:
    (copied / "model.onnx").write_bytes(b"no graph")
    changed(copied)
    assert "is no valid ONNX graph" in found(copied, "graph")


def test_another_model_says_other_things(copied: Path) -> None:
    """The checksums are right, so the golden tensors must tell: one head bias is moved."""
    model = onnx.load(copied / "model.onnx")
    bias = next(item for item in model.graph.initializer if item.name.endswith("36_conv_bias"))
    values = onnx.numpy_helper.to_array(bias).copy()
    values[4] += 1.0
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(model, copied / "model.onnx")
    changed(copied)
    assert outcome(copied)["outputs"] is False
    assert "picture 0: output stride16 differs by 1, allowed 0.001" in found(copied, "outputs")
    assert outcome(copied)["detections"] is False


@pytest.mark.parametrize("coding", [{"kind": "exp"}, {"kind": "squared_sigmoid", "ignored": 1}])
def test_another_coding_moves_the_detections(copied: Path, coding: dict[str, Any]) -> None:
    changed(copied, heads__0__coding=coding, heads__1__coding=coding)
    assert outcome(copied)["detections"] is (coding["kind"] == "squared_sigmoid")


def test_another_fit_is_seen_in_the_pixels(copied: Path) -> None:
    changed(copied, input__fit="letterbox")
    assert outcome(copied)["pictures"] is False


def test_equal_pictures_are_equal_bytes(reference: Detector) -> None:
    images = bundles.pictures(1)
    content = bundles.golden_of(reference, images)
    assert content == bundles.golden_of(reference, images)
    with np.load(io.BytesIO(content)) as arrays:
        assert set(arrays.files) >= {"picture_0", "input_0", "output_0_stride32", "boxes_0", "scores_0", "classes_0"}
        np.testing.assert_array_equal(arrays["picture_0"], images[0])


def with_plugin(folder: Path, threshold: float) -> Path:
    """Make its graph end in EfficientNMS_TRT: fixed boxes, whose scores grow with the mean of the pixels."""
    boxes = np.array([[[0, 0, 64, 64], [1, 1, 64, 64], [64, 64, 96, 128]]], np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["mean", "one"], ["level"]),
        helper.make_node("Mul", ["level", "gains"], ["scores"]),
        helper.make_node("Identity", ["fixed"], ["boxes"]),
        helper.make_node(
            "EfficientNMS_TRT",
            ["boxes", "scores"],
            ["num_detections", "detection_boxes", "detection_scores", "detection_classes"],
            domain="TRT",
            plugin_version="1",
            score_threshold=threshold,
            iou_threshold=0.5,
            max_output_boxes=5,
            background_class=-1,
            score_activation=0,
            box_coding=0,
        ),
    ]
    gains = np.array([[[0.9, 0.1], [0.8, 0.0], [0.1, 0.7]]], np.float32)
    constants = {"one": np.array([1, 1, 1], np.int64), "gains": gains, "fixed": boxes}
    outputs = {"num_detections": [1, 1], "detection_boxes": [1, 5, 4], "detection_scores": [1, 5]}
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    kinds[0] = helper.make_tensor_value_info("num_detections", TensorProto.INT32, [1, 1])
    kinds.append(helper.make_tensor_value_info("detection_classes", TensorProto.INT32, [1, 5]))
    given = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 128, 128])]
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "suppressed", given, kinds, weights)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("TRT", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 7
    onnx.save(model, folder / "model.onnx")
    return folder


def test_a_graph_with_the_plugin_is_run_up_to_it(copied: Path) -> None:
    picture = np.full((256, 128, 3), 255, np.uint8)
    expected: Any = bundles_detections()
    golden = GoldenPicture(picture, np.full((128, 128, 3), 255, np.uint8), {}, expected)
    (copied / "golden.npz").write_bytes(golden_bytes([golden]))
    with_plugin(copied, threshold=0.05)
    shutil.rmtree(copied / "variants")  # of the board that it was made for
    model = {"path": "model.engine", "graph": "model.onnx", "runtime": "tensorrt", "opset": 13, "precision": "fp32"}
    changed(copied, board="jetson-xavier-nx", model=model, heads=[], outputs="efficient_nms")
    checks = verify_bundle(copied)
    assert checks.passed, checks


def bundles_detections() -> Any:
    from edgehone.types import Detections

    boxes = np.array([[0, 0, 64, 128], [64, 128, 96, 256], [0, 0, 64, 128], [64, 128, 96, 256]], np.float32)
    return Detections(boxes, np.array([0.9, 0.7, 0.1, 0.1], np.float32), np.array([0, 1, 1, 0]))


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["edgehone", *words])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_the_command(
    bundle: Path, copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "verify", str(bundle)) == 0
    assert "ok      graph: 54 nodes at opset 13" in capsys.readouterr().out
    (copied / "model.onnx").write_bytes(b"")
    assert run(monkeypatch, "verify", str(copied), "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["passed"], told["board"]) == (False, "cpu")
    assert [check["name"] for check in told["checks"]] == ["manifest", "files"]
    assert run(monkeypatch, "verify", str(copied / "nowhere")) == 2
