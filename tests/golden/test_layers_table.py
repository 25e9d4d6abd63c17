"""YOLOv4-tiny layer by layer, against the table worked out from the official cfg file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from edgehone.models import Convolutional, Graph, Head, Maxpool, Route, Upsample, YoloV4Tiny

TABLE = json.loads((Path(__file__).parent / "yolov4_tiny_layers.json").read_text(encoding="utf-8"))["layers"]
GRAPH = YoloV4Tiny().graph(80)


def described(graph: Graph, index: int) -> str:
    """A layer in the words of the table; the anchors of a yolo layer are no part of the graph."""
    layer, node = graph.layers[index], graph.nodes()[index]
    if isinstance(layer, Convolutional):
        kind = "BN+leaky" if layer.batch_normalize else f"bias, {layer.activation}"
        return f"conv {layer.size}x{layer.size}/{layer.stride} {node.in_channels}->{layer.filters} {kind}"
    if isinstance(layer, Route):
        part = f" groups={layer.groups} group_id={layer.group}" if layer.groups > 1 else ""
        return f"route {list(layer.layers)}{part}"
    if isinstance(layer, Maxpool):
        return f"maxpool {layer.size}x{layer.size}/{layer.stride}"
    if isinstance(layer, Upsample):
        return f"upsample nearest x{layer.stride}"
    assert isinstance(layer, Head)
    return "yolo"


def test_there_are_as_many_layers_as_in_the_table() -> None:
    assert len(GRAPH.layers) == len(TABLE) == 38


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(row["index"]))
def test_each_layer_is_the_tables(row: dict[str, Any]) -> None:
    cost = GRAPH.layer_costs((416, 416))[row["index"]]
    assert described(GRAPH, row["index"]) == re.sub(r"^yolo mask=.*", "yolo", row["op"])
    assert list(cost.output_shape) == row["output"]
    assert cost.parameters == row["parameters"]
    assert 2 * cost.macs / 1e9 == pytest.approx(row["bflops"], abs=5e-5)
