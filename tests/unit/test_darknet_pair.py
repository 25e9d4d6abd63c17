"""A Darknet cfg with its weights: read as Darknet reads it, converted both ways, and trained from."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgehone.data import read_dataset
from edgehone.deploy.bundle import export_master
from edgehone.deploy.convert import Conversion, convert, convert_files, open_trained, to_darknet
from edgehone.errors import EdgehoneError, UsageError
from edgehone.inference import CHECKPOINT, EXPORT, DetectorInfo, PostProcess, open_detector, open_network, save_detector
from edgehone.models import Convolutional, Graph, Head, Network, Route, Upsample, architecture
from edgehone.models.darknet import Cfg, Header, read_cfg, write_cfg, write_weights
from edgehone.space import replace as changed
from edgehone.strategy import AUTHORS, DARKNET
from edgehone.training import Job, StartWeights, detector_info, train

OFFICIAL = Path(os.environ.get("EDGEHONE_DARKNET", Path(__file__).parents[2] / "../shared/darknet"))
ANCHORS_PX = ((10.0, 14.0), (23.0, 27.0), (60.0, 40.0), (90.0, 70.0))
CLASSES = 3


def graph(new_coords: bool = False) -> Graph:
    """Two heads, the fine one first, each with its own scale."""
    last = Convolutional(2 * (5 + CLASSES), 1, 1, False, "logistic" if new_coords else "linear")
    head = Head(ANCHORS_PX, (0, 1), CLASSES, 2.0 if new_coords else 1.2, new_coords)
    other = replace(head, mask=(2, 3), scale_x_y=2.0 if new_coords else 1.05)
    return Graph((Convolutional(8, 3, 2), Convolutional(8, 3, 2), last, head, Route((1,)),
                  Convolutional(8, 3, 2), last, other))  # fmt: skip


def trained(of: Graph) -> Network:
    torch.manual_seed(3)
    network = Network(of)
    for index in of.outputs:
        torch.nn.init.normal_(network.head_convolution(index).weight, std=0.7)
    return network.eval()


def pair(folder: Path, of: Graph | None = None, size: tuple[int, int] = (64, 96)) -> str:
    of = of or graph()
    cfg, weights = folder / "a.cfg", folder / "a.weights"
    cfg.write_text(write_cfg(Cfg(of, size)), encoding="utf-8")
    write_weights(trained(of), weights)
    return f"{cfg}+{weights}"


def picture(height: int = 50, width: int = 90) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def darknet_boxes(of: Graph, heads: list[NDArray[np.float32]], size: tuple[int, int]) -> list[list[float]]:
    """Every box and its scores as src/yolo_layer.c has them (get_yolo_box, get_yolo_detections), in input pixels."""
    found: list[list[float]] = []
    for head, logits in zip(of.heads, heads, strict=True):
        rows, columns = logits.shape[1:]
        for n, (i, j) in ((n, cell) for n in range(len(head.mask)) for cell in np.ndindex(rows, columns)):
            v = [float(x) for x in logits[n * (5 + CLASSES) : (n + 1) * (5 + CLASSES), i, j]]
            s, (w, h) = head.scale_x_y, head.anchors_px[head.mask[n]]
            x = (j + sigmoid(v[0]) * s - 0.5 * (s - 1)) / columns * size[1]
            y = (i + sigmoid(v[1]) * s - 0.5 * (s - 1)) / rows * size[0]
            if head.new_coords:
                w, h = w * (2 * sigmoid(v[2])) ** 2, h * (2 * sigmoid(v[3])) ** 2
            else:
                w, h = w * math.exp(v[2]), h * math.exp(v[3])
            found.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2, *(sigmoid(v[4]) * sigmoid(c) for c in v[5:])])
    return found


@pytest.mark.parametrize("new_coords", [False, True])
def test_each_head_is_decoded_by_its_own_scale(new_coords: bool, tmp_path: Path) -> None:
    of, size = graph(new_coords), (64, 96)
    detector = open_detector(pair(tmp_path, of, size))
    assert detector.info.graph().strides == (8, 4), "coarse first, whatever the cfg's order"
    pixels = torch.rand(1, 3, *size)
    heads = detector.runtime.heads(pixels)
    got = detector.info.predictions(heads, detector.info.lattice())
    expected = np.array(darknet_boxes(of, [head[0].numpy() for head in heads], size))
    np.testing.assert_allclose(got.boxes_xyxy[0].numpy(), expected[:, :4], rtol=1e-4, atol=1e-3)
    joint = got.objectness_logits.sigmoid()[..., None] * got.class_logits.sigmoid()
    np.testing.assert_allclose(joint[0].numpy(), expected[:, 4:], atol=1e-5)


def test_pictures_are_resized_as_opencv_does(tmp_path: Path) -> None:
    detector = open_detector(pair(tmp_path))
    image = picture()
    expected = cv2.dnn.blobFromImage(image, 1 / 255, (96, 64))
    np.testing.assert_allclose(detector.prepare(image).numpy()[None], expected, atol=1e-6)


def test_a_letterbox_keeps_the_aspect_and_the_boxes(tmp_path: Path) -> None:
    source = pair(tmp_path)
    tall = picture(96, 48)
    boxed, stretched = open_detector(source, letterbox=True), open_detector(source)
    pixels = boxed.prepare(tall)
    assert pixels.shape == (3, 64, 96)
    assert float(pixels[:, :, :32].std()) == float(pixels[:, :, 64:].std()) == 0.0
    assert float(stretched.prepare(tall)[:, :, :32].std()) > 0
    found = next(iter(boxed.detect([tall], PostProcess(score_threshold=0.01))))
    assert len(found) > 0
    assert found.boxes_xyxy.min() >= 0
    assert found.boxes_xyxy[:, 2].max() <= 48
    (tmp_path / "a.cfg").write_text(write_cfg(Cfg(graph(), (64, 96), letterbox=True)), encoding="utf-8")
    assert open_detector(source).info.fit == "letterbox"
    assert open_detector(source, letterbox=False).info.fit == "stretch"


def test_names_come_from_beside_the_cfg(tmp_path: Path) -> None:
    source = pair(tmp_path)
    assert open_detector(source).info.class_names == ("class 0", "class 1", "class 2")
    (tmp_path / "a.names").write_text("cat\nsea horse\n\nowl\n", encoding="utf-8")
    assert open_detector(source).info.class_names == ("cat", "sea horse", "owl")
    (tmp_path / "a.names").write_text("cat\n", encoding="utf-8")
    with pytest.raises(EdgehoneError, match=r"has 3 classes, so its names are 3 lines; .* has 1"):
        open_detector(source)


def test_what_cannot_be_a_detector_is_refused(tmp_path: Path) -> None:
    source = pair(tmp_path)
    write_weights(trained(graph()), tmp_path / "a.conv.2", layers=2)
    with pytest.raises(EdgehoneError, match="first 2 of 8 layers only"):
        open_detector(f"{tmp_path / 'a.cfg'}+{tmp_path / 'a.conv.2'}")
    with pytest.raises(UsageError, match="no Darknet cfg"):
        open_detector(f"{tmp_path / 'b.cfg'}+{tmp_path / 'a.weights'}")
    with pytest.raises(UsageError, match="only for a Darknet pair"):
        open_detector(tmp_path / "a.onnx", letterbox=True)
    (tmp_path / "a.cfg").write_text("[net]\nwidth=32\nheight=32\n[avgpool]\n", encoding="utf-8")
    with pytest.raises(EdgehoneError, match=r"ends in \[yolo\] layers"):
        open_detector(source)


@pytest.mark.parametrize("new_coords", [False, True])
def test_the_export_of_a_pair_detects_the_same_and_comes_back(new_coords: bool, tmp_path: Path) -> None:
    source = pair(tmp_path, graph(new_coords))
    path = convert(tmp_path / "a.cfg", tmp_path / "a.weights", tmp_path / "a.onnx", Conversion(opset=11))
    files = convert_files([str(path), str(tmp_path / "b.cfg"), str(tmp_path / "b.weights")])
    assert [file.name for file in files] == ["b.cfg", "b.weights", "b.names"]
    (tmp_path / "a.cfg").unlink()
    image, post = picture(), PostProcess(score_threshold=0.05)
    first = next(iter(open_detector(path).detect([image], post)))
    again = next(iter(open_detector(f"{files[0]}+{files[1]}").detect([image], post)))
    assert len(first) > 3
    np.testing.assert_allclose(again.boxes_xyxy, first.boxes_xyxy, atol=1e-2)
    np.testing.assert_allclose(again.scores, first.scores, atol=1e-4)
    with pytest.raises(UsageError):
        open_detector(source)


def test_a_folder_is_opened_by_its_checkpoint_or_else_by_its_graph(tmp_path: Path) -> None:
    torch.manual_seed(0)
    info = detector_info("yolov4-tiny@width=0.25", changed(AUTHORS, {"input.size": 128}), ("a", "b"), ())
    network = info.network().eval()
    export_master(network, info, tmp_path / EXPORT)
    again, said = open_trained(tmp_path)
    assert said == info
    pixels = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        for one, other in zip(network(pixels), again(pixels), strict=True):
            assert torch.allclose(one, other, atol=1e-4)
    save_detector(network, info, tmp_path / CHECKPOINT)
    (tmp_path / EXPORT).unlink()
    assert open_trained(tmp_path)[1] == info
    (tmp_path / CHECKPOINT).unlink()
    with pytest.raises(UsageError, match="a run folder holds"):
        open_trained(tmp_path)


def test_a_pair_converted_to_a_pair_has_the_same_weights(tmp_path: Path) -> None:
    source = pair(tmp_path)
    write_weights(trained(graph()), tmp_path / "a.weights", Header(0, 2, 5, 32_000_064))
    convert_files([source, str(tmp_path / "b.cfg"), str(tmp_path / "b.weights")])
    assert (tmp_path / "b.weights").read_bytes() == (tmp_path / "a.weights").read_bytes()
    assert read_cfg(tmp_path / "b.cfg") == read_cfg(tmp_path / "a.cfg")


@pytest.mark.parametrize("preset", [DARKNET, AUTHORS], ids=["exp", "squared_sigmoid"])
def test_a_checkpoint_of_the_family_becomes_a_darknet_pair(preset: object, tmp_path: Path) -> None:
    strategy = changed(preset, {"input.size": 128})  # pyright: ignore[reportArgumentType]
    model = "yolov4-tiny@width=0.125,activation=relu6"
    anchors = tuple((float(8 * k), float(6 * k)) for k in range(1, 7))
    info = DetectorInfo(model=model, class_names=("a", "b"), anchors_px=anchors, strategy=strategy)
    network = trained(info.graph())
    save_detector(network, info, tmp_path / "detector.pt")
    files = to_darknet(network, info, tmp_path / "a.cfg", tmp_path / "a.weights")
    theirs, ours = open_detector(f"{files[0]}+{files[1]}"), open_detector(tmp_path / "detector.pt")
    assert theirs.info.class_names == ("a", "b")
    assert theirs.info.input_size == (128, 128)
    pixels = torch.rand(1, 3, 128, 128)
    a, b = (d.info.predictions(d.runtime.heads(pixels), d.info.lattice()) for d in (theirs, ours))
    np.testing.assert_allclose(a.boxes_xyxy, b.boxes_xyxy, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(a.class_logits, b.class_logits, rtol=1e-4, atol=1e-4)


def test_files_that_are_no_conversion_are_refused(tmp_path: Path) -> None:
    for files in ([], ["a.onnx"], ["a.onnx", "b.onnx"], ["a.cfg", "a.onnx", "a.weights"]):
        with pytest.raises(UsageError, match="files are converted as"):
            convert_files(files)
    with pytest.raises(UsageError, match="no model at"):
        convert_files([str(tmp_path / "a.pt"), str(tmp_path / "a.onnx")])


def test_a_cfg_is_trained_and_opened_when_its_file_is_gone(tmp_path: Path) -> None:
    layers = (*graph().layers[:6], graph().layers[6], graph().layers[7])
    path = tmp_path / "mine.cfg"
    path.write_text(write_cfg(Cfg(Graph(layers), (64, 64))), encoding="utf-8")
    dataset = read_dataset("builtin:digits?train=4&val=2&test=2&width=128&height=128&max_objects=2")
    strategy = changed(DARKNET, {"input.size": 128})
    write_weights(trained(Graph(layers)), tmp_path / "mine.conv.2", layers=2)
    rates = {"optimisation.optimizer.lr": 1e-12, "optimisation.optimizer.weight_decay": 0.0}
    weights = StartWeights.of(str(tmp_path / "mine.conv.2"))
    job = Job(model=str(path), strategy=changed(strategy, rates), steps=2, batch_size=2, weights=weights)
    result = train(job, dataset.class_names, dataset.train)
    carried, kept = trained(Graph(layers)).block(1)[0].weight, result.network.block(1)[0].weight
    assert float((carried - kept).abs().max().detach()) < 1e-6, "training starts from the weights that were given"
    assert result.info.masks == ((2, 3), (0, 1))
    assert result.info.anchors_px[0] == (20.0, 28.0), "the cfg's own anchors, at the training's input size"
    save_detector(result.network, result.info, tmp_path / "detector.pt")
    path.unlink()
    network, info = open_network(tmp_path / "detector.pt")
    assert network.graph == result.network.graph
    assert info.class_names == dataset.class_names
    assert next(iter(open_detector(tmp_path / "detector.pt").detect([picture()]))) is not None


def test_clustered_anchors_replace_those_of_the_cfg(tmp_path: Path) -> None:
    path = tmp_path / "mine.cfg"
    path.write_text(write_cfg(Cfg(architecture("yolov4-tiny@width=0.125").graph(2), (416, 416))), encoding="utf-8")
    dataset = read_dataset("builtin:digits?train=6&val=2&test=2&width=128&height=128&max_objects=3")
    strategy = changed(DARKNET, {"projection.anchors.kind": "kmeans"})
    info = detector_info(str(path), strategy, dataset.class_names, dataset.train)
    assert info.masks == ()
    assert info.cfg == path.read_text(encoding="utf-8")
    official = detector_info(str(path), DARKNET, dataset.class_names, dataset.train)
    assert official.masks == ((3, 4, 5), (1, 2, 3))
    assert official.anchors_px[5] == (344.0, 319.0)


def test_the_official_cfgs_open_as_detectors(tmp_path: Path) -> None:
    for name in ("yolov7-tiny", "yolov4-tiny-3l"):
        if not (OFFICIAL / f"{name}.cfg").is_file():
            pytest.skip(f"the official cfg is not in {OFFICIAL}; set EDGEHONE_DARKNET to the folder that holds it")
        weights = write_weights(Network(read_cfg(OFFICIAL / f"{name}.cfg").graph), tmp_path / f"{name}.weights")
        detector = open_detector(f"{OFFICIAL / name}.cfg+{weights}")
        assert detector.info.graph().strides == (32, 16, 8)
        assert detector.info.masks == ((6, 7, 8), (3, 4, 5), (0, 1, 2))
        reading = detector.info.reading
        assert reading is not None
        assert {coding.kind for coding in reading.codings} == {"squared_sigmoid" if "7" in name else "exp"}


def test_upsampled_heads_fit(tmp_path: Path) -> None:
    of = graph()
    layers = (*of.layers[:5], Convolutional(8, 3, 2), Upsample(2), of.layers[2], of.layers[3])
    assert open_detector(pair(tmp_path, Graph(layers))).info.graph().strides == (4, 4)
