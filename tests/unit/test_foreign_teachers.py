"""ONNX detectors made elsewhere, as teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgehone.data import Sample
from edgehone.data.picture import FileImage
from edgehone.errors import EdgehoneError
from edgehone.teachers import open_teacher


def foreign(path: Path, answer: np.ndarray[Any, Any], names: str | None, side: int | str = 64) -> str:
    """An ONNX detector that always answers the same, in another project's form."""
    picture_in = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, side, side])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, list(answer.shape))
    nodes = [
        # The brightest pixel counts, so that what is wrongly scaled is found out.
        helper.make_node("ReduceMax", ["pixels"], ["top"], keepdims=0),
        helper.make_node("Mul", ["answer", "top"], ["out"]),
    ]
    values = [numpy_helper.from_array(answer.astype(np.float32), "answer")]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [picture_in], [out], values),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    if names is not None:
        helper.set_model_props(model, {"names": names})
    onnx.save(model, str(path))
    return str(path)


CENTRES = np.array([[32, 32, 16, 8], [10, 40, 4, 4]], np.float32)
OBJECTNESS = np.array([[0.8], [0.5]], np.float32)
SCORES = np.array([[0.0, 1.0, 0.0], [0.9, 0.0, 0.0]], np.float32)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("objectness", [False, True])
@pytest.mark.parametrize("side", [64, "side"])
def test_a_detector_from_elsewhere_may_teach(turned: bool, objectness: bool, side: int | str, tmp_path: Path) -> None:
    parts = [CENTRES, OBJECTNESS, SCORES] if objectness else [CENTRES, OBJECTNESS * SCORES]
    answer = np.concatenate(parts, axis=1)[None]
    answer = answer.transpose(0, 2, 1) if turned else answer
    path = foreign(tmp_path / "x.onnx", answer, "{0: 'cat', 1: 'dog', 2: 'cow'}", side)
    image = np.full((64, 128, 3), 255, np.uint8)
    assert cv2.imwrite(str(tmp_path / "white.png"), image)
    sample = Sample(
        "w", (64, 128), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), FileImage(tmp_path / "white.png")
    )
    said = open_teacher(path, ("dog", "cow", "cat")).answers([sample])[0]
    assert said.classes.tolist() == [0, 2]
    assert said.scores.tolist() == pytest.approx([0.8, 0.45])
    # 128 x 64 px in a letterbox of 64: half the size, 16 px down; or in one of 640: five times, 160 px down.
    scale, down = (0.5, 16) if side == 64 else (5.0, 160)
    corners = np.array([[24, 28, 40, 36], [8, 38, 12, 42]]) - [0, down, 0, down]
    expected = np.clip(corners / scale, 0, [128, 64, 128, 64])
    np.testing.assert_allclose(said.boxes_xyxy, expected, atol=1e-4)


def test_what_is_not_understood_of_a_foreign_graph_is_said(tmp_path: Path) -> None:
    answer = np.concatenate([CENTRES, OBJECTNESS, SCORES], axis=1)[None]
    with pytest.raises(EdgehoneError, match=r"must have names.*x\.names"):
        open_teacher(foreign(tmp_path / "x.onnx", answer, None), ("a",))
    (tmp_path / "x.names").write_text("a\nb\n\nc\n")
    assert open_teacher(str(tmp_path / "x.onnx"), ("a", "b", "c")).numbers == (0, 1, 2)
    with pytest.raises(EdgehoneError, match=r"1 x n x 7 or 1 x n x 6 .* gives 1 x 2 x 8"):
        open_teacher(foreign(tmp_path / "y.onnx", answer, "['a', 'b']"), ("a", "b"))
    (tmp_path / "z.onnx").write_bytes(b"no graph")
    with pytest.raises(EdgehoneError, match=r"z\.onnx"):
        open_teacher(str(tmp_path / "z.onnx"), ("a",))
