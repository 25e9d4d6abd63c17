"""The vendors' backends: OpenVINO for real; TensorRT and KneronPLUS against recorded contracts, not on a board."""

from __future__ import annotations

import ctypes
import importlib
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bundles
import cv2
import numpy as np
import pytest
from recorded_kneron import Dongle, NormalizeMode
from recorded_tensorrt import BindingEngine, Gpu, NamedEngine, tensorrt_module

from edgehone.boards import Measured
from edgehone.deploy.device.runtime import detecting
from edgehone.deploy.device.runtime.backends import open_backend
from edgehone.deploy.device.runtime.detector import Detector as BoardDetector
from edgehone.deploy.device.runtime.faults import DeviceError, LostError
from edgehone.deploy.device.runtime.manifest import Manifest, read_manifest
from edgehone.inference import Detector, TorchRuntime

BACKENDS = "edgehone.deploy.device.runtime.backends."
HEADS = ("stride32", "stride16")


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Puts a recorded library where the backend imports it, and takes it away again."""

    def install(name: str, module: Any) -> None:
        monkeypatch.setitem(sys.modules, name, module)

    names = ("on_kneron", "on_tensorrt")
    for name in names:
        monkeypatch.delitem(sys.modules, BACKENDS + name, raising=False)
    yield install
    for name in names:
        sys.modules.pop(BACKENDS + name, None)


def manifest_for(bundle: Path, runtime: str, **changes: Any) -> Any:
    content = json.loads((bundle / "manifest.json").read_text())
    content["model"] = {**content["model"], "runtime": runtime}
    return Manifest(str(bundle), {**content, **changes})


def prepared(manifest: Any) -> tuple[Any, Any]:
    """A prepared picture and its tensor."""
    board: Any = BoardDetector(manifest, None)
    picture = board.preparation.picture(np.ascontiguousarray(bundles.pictures(1)[0][..., ::-1]))
    return picture, board.preparation.tensor(picture)


def heads_of(reference: Detector, tensor: Any) -> dict[str, Any]:
    import torch

    assert isinstance(reference.runtime, TorchRuntime)
    heads = reference.runtime.heads(torch.from_numpy(tensor.copy()))
    return {name: np.ascontiguousarray(head.numpy()) for name, head in zip(HEADS, heads, strict=True)}


@pytest.mark.parametrize("levels", [{}, {"colour": "bgr", "scale": 1 / 256, "offset": -0.5}], ids=["usual", "shifted"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_cpu_runtimes_say_what_the_network_says(
    bundle: Path, reference: Detector, runtime: str, levels: dict[str, Any]
) -> None:
    pytest.importorskip(runtime)
    manifest = manifest_for(bundle, runtime)
    manifest.picture.update(levels)
    picture, tensor = prepared(manifest)
    backend: Any = open_backend(manifest, 1)
    board: Any = BoardDetector(manifest, backend)
    first = {name: values.copy() for name, values in backend.run(board.input_of(picture)).items()}
    for name, head in heads_of(reference, tensor).items():
        np.testing.assert_allclose(first[name], head, atol=2e-3)
    picture[:] = 0
    second = backend.run(board.input_of(picture))  # the same array with the next frame in it
    assert np.abs(second["stride32"] - first["stride32"]).max() > 0.01
    backend.close()


def test_openvino_takes_options_of_the_manifest(bundle: Path) -> None:
    pytest.importorskip("openvino")
    content = json.loads((bundle / "manifest.json").read_text())
    model = {**content["model"], "runtime": "openvino", "options": {"NO_SUCH_OPTION": "1"}}
    with pytest.raises(DeviceError, match="NO_SUCH_OPTION"):
        open_backend(manifest_for(bundle, "openvino", model=model))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_model_that_is_not_there_or_not_read_is_told(copied: Path, runtime: str) -> None:
    pytest.importorskip(runtime)
    manifest = manifest_for(copied, runtime)
    (copied / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(DeviceError, match="cannot read"):
        open_backend(manifest, 1)
    (copied / "model.onnx").unlink()
    with pytest.raises(DeviceError, match="there is no model at"):
        open_backend(manifest, 1)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_another_input_is_told(bundle: Path, runtime: str) -> None:
    pytest.importorskip(runtime)
    manifest = manifest_for(bundle, runtime)
    manifest.input_name = "pixels"
    with pytest.raises(DeviceError, match="input must be 'pixels'"):
        open_backend(manifest, 1)


def test_a_library_that_is_missing_is_told(bundle: Path) -> None:
    for runtime, library in (("tensorrt", "tensorrt"), ("kneron", "kp")):
        if importlib.util.find_spec(library) is None:
            with pytest.raises(DeviceError, match=f"runs on {runtime}: No module named"):
                open_backend(manifest_for(bundle, runtime))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    recorded = Gpu()

    def open_library(name: str) -> Any:
        if "cudart" not in name:
            raise OSError(name)
        return recorded

    monkeypatch.setattr(ctypes, "CDLL", open_library)
    return recorded


@pytest.mark.parametrize(("kind", "version"), [(BindingEngine, "8.2.1.8"), (NamedEngine, "8.5.2.2")])
def test_tensorrt_is_called_as_published(
    vendor: Any, gpu: Gpu, bundle: Path, reference: Detector, kind: Any, version: str
) -> None:
    manifest = manifest_for(bundle, "tensorrt")
    _, tensor = prepared(manifest)
    example = heads_of(reference, tensor)
    engine = kind(gpu, tensor.shape, example, lambda given: heads_of(reference, given))
    vendor("tensorrt", tensorrt_module(engine, version))
    backend: Any = open_backend(manifest)
    assert backend.name == f"TensorRT {version}"
    for scale in (1.0, 0.5):
        outputs = backend.run(tensor * np.float32(scale))
        for name, head in heads_of(reference, tensor * np.float32(scale)).items():
            np.testing.assert_array_equal(outputs[name], head)
    assert engine.runs == 2
    assert len(gpu.memory) == len(gpu.pinned) == 3
    backend.close()
    assert (gpu.memory, gpu.pinned, gpu.streams) == ({}, {}, 0), "all that was taken is given back"


def test_tensorrt_suppression_on_the_board(vendor: Any, gpu: Gpu, bundle: Path) -> None:
    """An engine that ends in EfficientNMS_TRT, from the picture to the boxes."""
    manifest = manifest_for(bundle, "tensorrt", heads=[], outputs="efficient_nms")
    answer: dict[str, Any] = {
        "num_detections": np.array([[1]], np.int32),
        "detection_boxes": np.array([[[0, 32, 64, 96], [0, 0, 0, 0]]], np.float32),
        "detection_scores": np.array([[0.75, 0]], np.float32),
        "detection_classes": np.array([[3, 0]], np.int32),
    }
    engine = NamedEngine(gpu, (1, 3, 128, 128), answer, lambda given: answer)
    vendor("tensorrt", tensorrt_module(engine, "8.5.2.2"))
    found: Any = BoardDetector(manifest, open_backend(manifest)).detect(np.zeros((256, 128, 3), np.uint8))
    np.testing.assert_array_equal(found.boxes_xyxy, [[0, 64, 64, 192]])
    assert (found.scores.tolist(), found.classes.tolist()) == ([0.75], [3])


def test_tensorrt_s_refusals_are_told(vendor: Any, gpu: Gpu, bundle: Path) -> None:
    manifest = manifest_for(bundle, "tensorrt")
    vendor("tensorrt", tensorrt_module(None, "8.2.1.8"))
    with pytest.raises(DeviceError, match="build it here"):
        open_backend(manifest)
    engine = BindingEngine(gpu, (1, 3, 128, 128), {"stride32": np.zeros((1, 2), np.float32)}, None)
    vendor("tensorrt", tensorrt_module(engine, "8.2.1.8"))
    sys.modules.pop(BACKENDS + "on_tensorrt", None)
    gpu.fails = "cudaMalloc"
    with pytest.raises(DeviceError, match=r"CUDA's cudaMalloc failed: out of memory \(2\)"):
        open_backend(manifest)


def test_without_cuda_the_names_that_were_tried_are_told(
    vendor: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str) -> Any:
        raise OSError(name)

    engine = BindingEngine(Gpu(), (1, 3, 128, 128), {}, None)
    vendor("tensorrt", tensorrt_module(engine, "8.2.1.8"))
    monkeypatch.setattr(ctypes, "CDLL", nothing)
    with pytest.raises(DeviceError, match=r"none of libcudart.so, libcudart.so.10.2"):
        open_backend(manifest_for(bundle, "tensorrt"))


KL720_INPUT = {"scale": 1 / 256, "offset": -0.5}


def kneron_manifest(bundle: Path, **changes: Any) -> Any:
    content = json.loads((bundle / "manifest.json").read_text())
    return manifest_for(bundle, "kneron", **{"input": {**content["input"], **KL720_INPUT}, **changes})


@pytest.fixture
def dongle(vendor: Any, bundle: Path, reference: Detector) -> Dongle:
    _, tensor = prepared(manifest_for(bundle, "kneron"))
    plugged = Dongle(heads_of(reference, tensor))
    vendor("kp", plugged.module())
    return plugged


def test_the_kl720_says_what_its_times_hold(bundle: Path, dongle: Dongle) -> None:
    """The NPU alone and the whole round trip are two numbers: only the first says how fast the NPU is."""
    assert dongle.plugged
    measuring: Any = importlib.import_module(BACKENDS.partition("backends")[0] + "measuring")
    manifest = kneron_manifest(bundle)
    picture, _ = prepared(manifest)
    timing = measuring.timed(manifest, picture, None, SimpleNamespace(runs=3, warm_up=1))
    row = Measured.model_validate(measuring.measured(manifest, timing)).measurements[0]
    assert row.npu_ms == 9.5
    assert row.includes == "transfer over USB to the NPU and back"


def test_the_kl720_is_called_as_published(bundle: Path, dongle: Dongle) -> None:
    manifest = kneron_manifest(bundle)
    picture, _ = prepared(manifest)
    backend: Any = open_backend(manifest)
    assert backend.name == "KneronPLUS 3.2.0"
    outputs = backend.run(picture)
    assert set(outputs) == set(HEADS)
    start = ["scan_devices", "connect_devices", "set_timeout", "load_model_from_file"]
    pair = ["generic_image_inference_send", "generic_image_inference_receive"]
    assert dongle.calls == start + pair
    sent = dongle.sent[0]
    assert (sent.resize_mode, sent.padding_mode) == (1, 1), "frames come prepared: the chip's scaler is off"
    assert sent.normalize_mode is NormalizeMode.KP_NORMALIZE_KNERON
    np.testing.assert_array_equal(sent.image[..., :3], cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    assert backend.npu_ms(picture, 3) == 9.5
    backend.close()
    backend.close()
    assert dongle.calls[-1] == "disconnect_devices"
    assert "load_firmware_from_file" not in dongle.calls


def test_outputs_without_names_are_told_by_their_size(bundle: Path, dongle: Dongle) -> None:
    dongle.named = False
    manifest = kneron_manifest(bundle)
    backend: Any = open_backend(manifest)
    outputs = backend.run(prepared(manifest)[0])
    assert {name: values.shape for name, values in outputs.items()} == {
        "stride32": (1, 45, 4, 4),
        "stride16": (1, 45, 8, 8),
    }
    dongle.outputs.pop("stride16")
    with pytest.raises(DeviceError, match="an output stride16 of 2880 numbers"):
        open_backend_again(manifest, dongle).run(prepared(manifest)[0])


def open_backend_again(manifest: Any, dongle: Dongle) -> Any:
    dongle.loaded = None
    return open_backend(manifest)


def test_equally_large_outputs_keep_the_order_of_the_graph(dongle: Dongle) -> None:
    """With one class, objectness and classes of a head are equally large."""
    kneron: Any = importlib.import_module(BACKENDS + "on_kneron")
    wanted = [("box", 192), ("objectness", 48), ("classes", 48)]
    shapes = [(1, 3, 4, 4), (1, 12, 4, 4), (1, 3, 4, 4)]
    assert kneron.matched(["", "", ""], shapes, wanted) == {"box": 1, "objectness": 0, "classes": 2}
    assert kneron.matched(["classes", "box", "objectness"], shapes, wanted) == {"box": 1, "objectness": 2, "classes": 0}


def test_a_model_of_before_is_rebooted_away(bundle: Path, dongle: Dongle, monkeypatch: pytest.MonkeyPatch) -> None:
    """One NEF a boot: the second load fails with code 40. USB takes a while to see the device again."""
    monkeypatch.setattr(importlib.import_module(BACKENDS + "on_kneron").time, "sleep", lambda seconds: None)
    dongle.loaded = "another.nef"
    open_backend(kneron_manifest(bundle))
    again = ["reset_device", *["scan_devices"] * 3, "connect_devices", "set_timeout", "load_model_from_file"]
    assert dongle.calls[-7:] == again
    assert dongle.loaded is not None
    assert dongle.loaded.endswith("model.onnx")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"product_id": 0x200}, "upgrade it to KDP2"),
        ({"plugged": False}, "no KL720 is on USB"),
        ({"connectable": False}, "taken by another program"),
        ({"refuses": {"load_model_from_file": -7}}, "does not answer"),
    ],
)
def test_a_dongle_that_cannot_be_used_is_told(bundle: Path, dongle: Dongle, change: Any, says: str) -> None:
    for name, value in change.items():
        setattr(dongle, name, value)
    with pytest.raises(DeviceError, match=says):
        open_backend(kneron_manifest(bundle))


def test_arithmetic_that_the_kl720_has_not_is_refused(bundle: Path, dongle: Dongle) -> None:
    with pytest.raises(DeviceError, match="pixel / 256"):
        open_backend(manifest_for(bundle, "kneron"))


def test_pulling_the_plug_is_a_loss(bundle: Path, dongle: Dongle) -> None:
    manifest = kneron_manifest(bundle)
    backend: Any = open_backend(manifest)
    dongle.unplug()
    with pytest.raises(LostError, match="stopped answering"):
        backend.run(prepared(manifest)[0])
    backend.close()


def test_the_command_reconnects_when_a_dongle_returns(
    bundle: Path, dongle: Dongle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Pulled out in the middle of a video and put in again later: no frame of a file is lost."""
    video, out = bundles.write_video(tmp_path / "in.avi", frames=6), tmp_path / "out.jsonl"
    manifest = kneron_manifest(bundle)
    monkeypatch.setattr(detecting, "read_manifest", lambda folder: manifest)
    monkeypatch.setattr(detecting.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(dongle, "sent", Unplugging(dongle, after=3))
    assert detecting.main(str(bundle), [str(video), "--json", str(out)]) == 0
    assert [json.loads(line)["frame"] for line in out.read_text().splitlines()] == list(range(6))
    told = capfd.readouterr().err
    assert "stopped answering" in told
    assert "no KL720 is on USB" in told
    assert "the accelerator is back" in told


class Unplugging(list[Any]):
    """A record of pictures that pulls the plug after some, and puts it in again half a second later."""

    def __init__(self, dongle: Dongle, after: int) -> None:
        super().__init__()
        self.dongle = dongle
        self.after = after

    def __iadd__(self, images: Any) -> Unplugging:
        self.extend(images)
        if len(self) == self.after:
            self.dongle.unplug()
            threading.Timer(0.5, lambda: setattr(self.dongle, "plugged", True)).start()
        return self


def test_a_manifest_is_read_from_its_bundle(bundle: Path) -> None:
    manifest: Any = read_manifest(str(bundle))
    assert (manifest.board, manifest.runtime, manifest.input_size) == ("cpu", "onnxruntime", (128, 128))
