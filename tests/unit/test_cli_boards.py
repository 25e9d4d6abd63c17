"""Commands about boards: what a board makes of a graph, and of what it measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from edgehone.boards import fingerprint_of
from edgehone.cli import app
from edgehone.errors import EdgehoneError, UsageError
from edgehone.models import YoloV4Tiny


def graph_file(folder: Path, op: str, **attributes: Any) -> Path:
    shape = [1, 8, 16, 16]
    nodes = [helper.make_node("Sigmoid", ["images"], ["s"], name="innocent")]
    nodes.append(helper.make_node(op, ["s"], ["out"], name="culprit", **attributes))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("images", "out")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 7
    onnx.save(model, str(folder / f"{op}.onnx"))
    return folder / f"{op}.onnx"


def told(*words: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["boards", *map(str, words)])
    if isinstance(result.exception, EdgehoneError):
        raise result.exception
    return result.exit_code, result.stdout


def test_nodes_that_a_board_does_not_run_are_named(tmp_path: Path) -> None:
    path = graph_file(tmp_path, "Softplus")
    code, text = told("kneron-kl720", "--check", path)
    assert code == 1
    assert "culprit (Softplus): Softplus does not run" in text
    code, text = told("kneron-kl720", "--check", path, "--json")
    assert code == 1
    content = json.loads(text)
    assert (content["runs"], [row["node"] for row in content["violations"]]) == (False, ["culprit"])


def test_what_falls_off_the_dla_runs_all_the_same(tmp_path: Path) -> None:
    code, text = told("jetson-xavier-nx", "--check", graph_file(tmp_path, "LeakyRelu", alpha=0.1), "--json")
    content = json.loads(text)
    assert (code, content["violations"], [row["node"] for row in content["off_dla"]]) == (0, [], ["culprit"])


def test_another_runtime_may_run_more(tmp_path: Path) -> None:
    path = graph_file(tmp_path, "Reciprocal")
    assert told("jetson-xavier-nx", "--check", path)[0] == 1
    assert told("jetson-xavier-nx", "--check", path, "--runtime", "8.5")[0] == 0


def test_what_is_no_graph_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(EdgehoneError, match="is no ONNX graph"):
        told("cpu", "--check", tmp_path / "broken.onnx")
    with pytest.raises(UsageError, match="there is no file"):
        told("cpu", "--check", tmp_path / "nowhere.onnx")
    with pytest.raises(UsageError, match="edgehone boards BOARD --check"):
        told("--check", tmp_path / "broken.onnx")


def test_what_was_measured_is_told(tmp_path: Path) -> None:
    costs = YoloV4Tiny().graph(3).layer_costs((320, 320))
    row = {"network": "mine", "fingerprint": fingerprint_of(costs), "precision": "fp16", "input_size": [320, 320]}
    content = {"schema": 1, "board": "jetson-xavier-nx", "runtime": "TensorRT 8.5.2", "power_mode": ""}
    times = {"p50_ms": 6.0, "p90_ms": 6.5, "runs": 100}
    path = tmp_path / "measured.json"
    path.write_text(json.dumps({**content, "measurements": [row | times]}))
    code, text = told("jetson-xavier-nx", "--measured", path)
    assert code == 0
    assert "measured: mine, 320 x 320 px, fp16: p50 6.00 ms, p90 6.50 ms; replaces its estimate, others do not" in text
    assert "the file does not say what the layers cost" in text
