"""The one door to architectures, and the YOLOv4-tiny family behind it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from edgehone.errors import EdgehoneError, UsageError
from edgehone.models import Convolutional, Graph, Head, YoloV4Tiny, architecture
from edgehone.models.darknet import Cfg, read_cfg, write_cfg

DARKNET = Path(os.environ.get("EDGEHONE_DARKNET", Path(__file__).parents[2] / "../shared/darknet"))


@pytest.mark.parametrize("name", ["yolov4-tiny", "yolov4-tiny-3l"])
def test_the_family_is_the_official_cfg_layer_by_layer(name: str) -> None:
    if not (DARKNET / f"{name}.cfg").is_file():
        pytest.skip(f"the official cfg is not in {DARKNET}; set EDGEHONE_DARKNET to the folder that holds it")
    official = read_cfg(DARKNET / f"{name}.cfg").graph
    ours = architecture(name).graph(80)
    for index, (mine, theirs) in enumerate(zip(ours.layers, official.layers, strict=True)):
        assert mine == theirs, index
    assert ours == official


def test_the_custom_cfg_differs_in_a_mask_only() -> None:
    if not (DARKNET / "yolov4-tiny-custom.cfg").is_file():
        pytest.skip(f"the official cfg is not in {DARKNET}; set EDGEHONE_DARKNET to the folder that holds it")
    custom = read_cfg(DARKNET / "yolov4-tiny-custom.cfg").graph
    ours = list(architecture("yolov4-tiny").graph(80).layers)
    head = ours[37]
    assert isinstance(head, Head)
    ours[37] = replace(head, mask=(0, 1, 2))
    assert Graph(tuple(ours)) == custom


@pytest.mark.parametrize(("side", "bflops"), [(416, 8.303), (608, 17.735)])
def test_three_heads_cost_what_is_published(side: int, bflops: float) -> None:
    costs = architecture("yolov4-tiny-3l").graph(80).layer_costs((side, side))
    assert sum(cost.parameters for cost in costs) == 6_327_453
    assert 2 * sum(cost.macs for cost in costs) / 1e9 == pytest.approx(bflops, abs=5e-4)


@pytest.mark.parametrize("width", [0.125, 0.25, 0.375, 0.5, 0.7, 1.0, 1.25])
@pytest.mark.parametrize("heads", [2, 3])
def test_widths_keep_the_graph_and_round_the_channels(width: float, heads: int) -> None:
    model = YoloV4Tiny.model_validate({"width": width, "heads": heads})
    graph, official = model.graph(3), YoloV4Tiny.model_validate({"heads": heads}).graph(3)
    assert [type(layer) for layer in graph.layers] == [type(layer) for layer in official.layers]
    assert graph.strides == official.strides
    for index, (mine, theirs) in enumerate(zip(graph.layers, official.layers, strict=True)):
        if isinstance(mine, Convolutional) and isinstance(theirs, Convolutional):
            assert replace(mine, filters=0) == replace(theirs, filters=0)
            if index not in graph.outputs:
                assert mine.filters % 8 == 0
                assert abs(mine.filters - width * theirs.filters) <= 8
    assert (graph == official) == (width == 1.0)


def test_names_and_settings_say_the_same() -> None:
    half = architecture("yolov4-tiny@width=0.5,activation=relu6")
    assert half == YoloV4Tiny(width=0.5, activation="relu6")
    for model in (half, YoloV4Tiny(), YoloV4Tiny(heads=3), YoloV4Tiny(heads=3, width=0.3)):
        assert architecture(model.name) == model
    activations = {la.activation for la in half.graph(3).layers if isinstance(la, Convolutional)}
    assert activations == {"relu6", "linear"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet", "the models are yolov4-tiny, yolov4-tiny-3l, .* Darknet cfgs by their path; got 'resnet'"),
        ("yolov4-tiny@wide=2", "settings are width and activation"),
        ("yolov4-tiny@width=9", "width: "),
        ("yolov4-tiny@activation=mish", "activation: "),
        ("none.cfg", "no Darknet cfg at none.cfg"),
    ],
)
def test_what_there_is_not_is_refused(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        architecture(name)


def test_a_cfg_is_an_architecture_for_any_classes(tmp_path: Path) -> None:
    path = tmp_path / "mine.cfg"
    graph = YoloV4Tiny().graph(80)
    path.write_text(write_cfg(Cfg(graph, (416, 416))), encoding="utf-8")
    found = architecture(str(path))
    assert found.graph(80) == graph
    assert found.graph(3) == YoloV4Tiny().graph(3)
    assert found.graph(3, 3) == YoloV4Tiny().graph(3)
    five = found.graph(3, 5)
    assert [five.nodes()[i].channels for i in five.outputs] == [40, 40]
    assert five == YoloV4Tiny().graph(3, 5)
    path.unlink()
    assert architecture(str(path), found.text).graph(3) == YoloV4Tiny().graph(3)


def test_a_cfg_without_heads_is_no_detector() -> None:
    text = "[net]\nwidth=32\nheight=32\n[convolutional]\nfilters=4\n"
    with pytest.raises(EdgehoneError, match=r"ends in \[yolo\] layers"):
        architecture("mine.cfg", text).graph(3)


def test_heads_that_leave_their_anchors_open_need_a_number() -> None:
    graph = Graph((Convolutional(6, 1, batch_normalize=False, activation="linear"), Head()))
    with pytest.raises(ValueError, match="layer 1: this head does not say how many anchors"):
        graph.with_classes(4)
    assert graph.with_classes(4, 2).nodes()[0].channels == 18
