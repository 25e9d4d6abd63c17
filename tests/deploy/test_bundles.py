"""Bundles of all boards: written whole, verified, run by their own programs."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import small_detectors as small
from recorded_ktc import Toolchain

from edgehone.boards import BOARDS, LatencyEstimate
from edgehone.cli import main
from edgehone.darknet_pair import DarknetReading
from edgehone.data import Dataset, read_dataset
from edgehone.deploy import bundle as bundles
from edgehone.deploy.bundle import Contents, Deployment, Source, Variant, Wishes, deploy
from edgehone.deploy.bundle.origin import origin_of
from edgehone.deploy.latency import Latency, core_count, latency_text
from edgehone.deploy.verify import verify_bundle
from edgehone.errors import EdgehoneError, UsageError
from edgehone.files import read_json, write_json
from edgehone.inference import CHECKPOINT, Detector, TorchRuntime, save_detector
from edgehone.results import Results
from edgehone.run_folder import REQUEST

NX, KL720 = "jetson-xavier-nx", "kneron-kl720"


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset(small.DATA)


@pytest.fixture(scope="module")
def run(usual: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert isinstance(usual.runtime, TorchRuntime)
    save_detector(usual.runtime.network, usual.info, folder / CHECKPOINT)
    return folder


@pytest.fixture(scope="module")
def made(run: Path, dataset: Dataset) -> dict[str, tuple[Deployment, Path]]:
    """A bundle for each board; not to be changed."""
    seconds, bundles.TIMING_SECONDS = bundles.TIMING_SECONDS, 0.1
    try:
        return {name: (deploy(run, name, dataset, run / name), run / name) for name in BOARDS}
    finally:
        bundles.TIMING_SECONDS = seconds


@pytest.mark.parametrize("name", list(BOARDS))
def test_a_bundle_verifies_and_says_what_it_holds(made: dict[str, tuple[Deployment, Path]], name: str) -> None:
    deployment, folder = made[name]
    found = verify_bundle(folder)
    assert found.passed, found
    manifest = read_json(folder / "manifest.json")
    held = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    manifests = {"manifest.json"} | {path for path in held if path.startswith("variants/")}
    assert set(manifest["files"]) == held - manifests
    assert {"README.md", "LICENCES.md", "selftest.py", "measure.py", "detect.py", "golden.npz"} <= held
    assert deployment.path == f"{name}/{manifest['model'].get('graph', manifest['model']['path'])}"
    assert Deployment.model_validate_json(deployment.model_dump_json()) == deployment
    for graph, checked in manifest["checked"].items():
        assert (folder / graph).is_file()
        if graph != "model_qdq.onnx":
            assert max(checked["max_abs_difference"].values()) < 1e-4
    page = (folder / "README.md").read_text()
    assert len(page.splitlines()) < 90
    assert "{" not in page.replace('ATTRS{idVendor}=="3231", ATTRS{idProduct}=="0720"', "")
    assert not list(folder.parent.glob("*.part"))


def test_latency_is_measured_here_and_an_interval_elsewhere(made: dict[str, tuple[Deployment, Path]]) -> None:
    assert isinstance(made["cpu"][0].latency, Latency)
    for name in (NX, KL720):
        latency = made[name][0].latency
        assert isinstance(latency, LatencyEstimate)
        assert not latency.measured
        manifest = json.loads((made[name][1] / "manifest.json").read_text())
        assert manifest["model"]["precision"] == BOARDS[name].delivered, (
            "limits and objectives are about what is delivered"
        )
        text, _ = latency_text(latency)
        assert text == f"{latency.low_ms:.1f} to {latency.high_ms:.1f} ms"
        assert text in (made[name][1] / "README.md").read_text()


def test_every_cpu_runtime_is_proven_timed_and_weighed(made: dict[str, tuple[Deployment, Path]]) -> None:
    deployment, folder = made["cpu"]
    page = (folder / "README.md").read_text()
    assert [row.variant for row in deployment.measured] == ["onnxruntime-fp32", "openvino-fp32"]
    for row in deployment.measured:
        assert f"| {row.variant} |" in page
        assert read_json(folder / "variants" / f"{row.variant}.json")["measured"] == row.model_dump(mode="json")
        if row.not_measured is None:
            assert max(row.max_abs_difference.values()) < 1e-3
            assert [latency.threads for latency in row.latencies] == sorted({1, core_count()})
            for latency in row.latencies:
                assert latency.memory_mib is not None
                assert 20 < latency.memory_mib < 1000, "numpy, OpenCV and a runtime, and no torch"
    assert deployment.latency == deployment.measured[0].latencies[-1]
    assert made[NX][0].measured == ()


def test_a_runtime_that_is_not_installed_is_named(
    run: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "TIMING_SECONDS", 0.1)
    for module in ("edgehone.deploy.bundle.measured", "edgehone.deploy.verify"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: None if name == "openvino" else find_spec(name))
    deployment = deploy(run, "cpu", dataset, tmp_path / "cpu")
    assert deployment.measured[1].not_measured == "openvino is not installed"
    assert "| openvino-fp32 | not measured: openvino is not installed |" in (tmp_path / "cpu" / "README.md").read_text()
    assert "not run: openvino is not installed" in verify_bundle(tmp_path / "cpu").checks[-1].found


def test_verify_runs_openvino_too(made: dict[str, tuple[Deployment, Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    backend = pytest.importorskip("edgehone.deploy.device.runtime.backends.on_openvino").OpenVinoBackend
    assert "model.onnx by OpenVINO" in verify_bundle(made["cpu"][1]).checks[-1].found
    run = backend.run
    monkeypatch.setattr(backend, "run", lambda self, planes: {k: v + 1 for k, v in run(self, planes).items()})
    assert "openvino-fp32: outputs" in verify_bundle(made["cpu"][1]).checks[-1].found


def test_every_variant_is_a_manifest_for_the_same_files(made: dict[str, tuple[Deployment, Path]]) -> None:
    folder = made[NX][1]
    variants = {path.stem: read_json(path) for path in (folder / "variants").glob("*.json")}
    assert set(variants) == {
        f"{precision}-{kind}" for precision in ("fp16", "fp32", "int8") for kind in ("nms", "raw")
    } | {"int8-qdq"}
    manifest = read_json(folder / "manifest.json")
    assert manifest == variants["fp16-nms"]
    assert manifest["outputs"] == "efficient_nms"
    for name, content in variants.items():
        assert content["files"] == manifest["files"]
        assert content["model"]["path"] == f"{name}.engine"
        assert bool(content["heads"]) == (not name.endswith("nms"))
    assert variants["int8-raw"]["integer"]["calibrator"] == {"kind": "max"}
    assert variants["int8-raw"]["integer"]["accuracy"] is None
    assert "integer" not in variants["fp16-raw"]
    assert "was not judged" in (folder / "README.md").read_text()


def test_without_training_pictures_there_is_fp16_and_a_word(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    deployment = deploy(run, NX, dataclasses.replace(dataset, train=()), tmp_path / "plain")
    held = [path.name for path in (tmp_path / "plain").rglob("*")]
    assert not [name for name in held if "int8" in name or name == "calibration.cache"]
    assert "no INT8 variant" in deployment.notes[0]
    assert "has no INT8 variant" in (tmp_path / "plain" / "README.md").read_text()


def test_a_changed_graph_does_not_verify(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    deploy(run, KL720, dataset, tmp_path / "bundle")
    manifest = read_json(tmp_path / "bundle" / "manifest.json")
    assert (manifest["input"]["scale"], manifest["input"]["offset"]) == (1 / 256, -0.5)
    assert [sorted(head["outputs"]) for head in manifest["heads"]] == 2 * [["box", "classes", "objectness"]]
    path = tmp_path / "bundle" / "model_kl720.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert not verify_bundle(tmp_path / "bundle").passed


def test_a_bundle_takes_the_place_of_a_bundle_only(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    deploy(run, KL720, dataset, tmp_path / "bundle")
    (tmp_path / "bundle" / "old.txt").write_text("of an earlier one")
    deploy(run, KL720, dataset, tmp_path / "bundle")
    assert not (tmp_path / "bundle" / "old.txt").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds files but no bundle"):
        deploy(run, KL720, dataset, tmp_path / "mine")
    with pytest.raises(UsageError, match="is a file"):
        deploy(run, KL720, dataset, tmp_path / "mine" / "thesis.txt")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def wrong_bias(source: Source) -> Contents:
    model = source.graph()
    bias = next(item for item in model.graph.initializer if item.name == "20_conv_bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 0.5, bias.name))
    return Contents({"wrong.onnx": model}, (Variant("wrong", "wrong.onnx", "onnxruntime", "fp32"),))


def sliced(source: Source) -> Contents:
    return Contents({"two.onnx": source.graph()}, (Variant("two", "two.onnx", "kneron", "int8", model="two.nef"),))


@pytest.mark.parametrize(
    ("name", "addition", "message"),
    [("cpu", wrong_bias, "wrong.onnx differed by"), (KL720, sliced, "one axis is enlarged at a time")],
)
def test_a_graph_that_is_not_equal_or_does_not_run_is_not_written(
    run: Path, dataset: Dataset, tmp_path: Path, name: str, addition: Any, message: str
) -> None:
    with pytest.raises(EdgehoneError, match=message):
        deploy(run, name, dataset, tmp_path / "bundle", Wishes(additions=(addition,)))
    assert not list(tmp_path.iterdir())


def test_what_is_added_is_delivered_and_verified(
    run: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "TIMING_SECONDS", 0.1)

    def addition(source: Source) -> Contents:
        variant = Variant("again-fp32", "again.onnx", "onnxruntime", "fp32")
        return Contents({"again.onnx": source.graph(11)}, (variant,), {"notes.txt": b"hello"}, "Say hello.")

    with pytest.raises(EdgehoneError, match="Resize"):
        deploy(run, KL720, dataset, tmp_path / "bundle", Wishes(additions=(addition,)))
    deploy(run, "cpu", dataset, tmp_path / "bundle", Wishes(additions=(addition,)))
    assert (tmp_path / "bundle" / "notes.txt").read_bytes() == b"hello"
    assert "Say hello." in (tmp_path / "bundle" / "README.md").read_text()
    assert read_json(tmp_path / "bundle" / "variants" / "again-fp32.json")["model"]["opset"] == 11
    assert "again.onnx" in verify_bundle(tmp_path / "bundle").checks[-1].found


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["edgehone", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_command(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pictures are those of the run's data; without a run they must be given."""
    out = tmp_path / "bundle"
    assert command(monkeypatch, "deploy", run, "--board", KL720, "--out", out) == 2
    assert "give --data" in capsys.readouterr().err
    assert command(monkeypatch, "deploy", run, "--board", "toaster", "--out", out) == 2
    assert not out.exists()
    trial = tmp_path / "run" / "trials" / "final-00"
    trial.mkdir(parents=True)
    (trial / CHECKPOINT).write_bytes((run / CHECKPOINT).read_bytes())
    (tmp_path / "run" / REQUEST).write_text(json.dumps({"data": small.DATA, "format": None}))
    assert command(monkeypatch, "deploy", trial, "--board", KL720, "--out", out, "--threshold", "0.2", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["board"] == KL720
    assert said["latency"]["low_ms"] < said["latency"]["high_ms"]
    assert read_json(out / "manifest.json")["suppression"]["threshold"] == 0.2
    assert command(monkeypatch, "deploy", trial / CHECKPOINT, "--board", NX, "--out", tmp_path / "nx") == 0
    assert " to " in capsys.readouterr().out
    assert command(monkeypatch, "verify", tmp_path / "nx") == 0


def test_results_hold_measured_and_estimated_latencies(made: dict[str, tuple[Deployment, Path]]) -> None:
    field = Results.model_fields["boards"]
    assert field.annotation == dict[str, Deployment]
    for deployment, _ in made.values():
        again = Deployment.model_validate(json.loads(json.dumps(deployment.model_dump(mode="json"))))
        assert type(again.latency) is type(deployment.latency)


def test_the_page_on_rights_says_where_the_weights_come_from(
    run: Path, usual: Detector, dataset: Dataset, tmp_path: Path
) -> None:
    """A Darknet pair, a file alone, a run's own training, one that began from others' weights."""
    assert isinstance(usual.runtime, TorchRuntime)
    pair = usual.info.model_copy(update={"reading": DarknetReading(input_size=(128, 128), fit="stretch", codings=())})
    assert "a Darknet detector's (`coco.weights`), not trained by edgehone" in origin_of("a.cfg+coco.weights", pair)
    assert "the file does not say" in origin_of(run, usual.info)
    trial = tmp_path / "run" / "trials" / "final-00"
    trial.mkdir(parents=True)
    for request, words in (
        ({"weights": None}, "from random numbers; they are yours"),
        ({"weights": "w/coco.conv.29"}, "began from `coco.conv.29`, whose terms hold"),
        ({"job": {"weights": {"path": "w/coco.pt", "digest": "0"}}}, "began from `coco.pt`, whose terms hold"),
        ({"teacher": "big.onnx"}, "learned from, too: `big.onnx`"),
    ):
        (tmp_path / "run" / REQUEST).write_text(json.dumps(request))
        assert words in origin_of(trial, usual.info)
        assert words in origin_of(trial / CHECKPOINT, usual.info)
    (trial / CHECKPOINT).write_bytes((run / CHECKPOINT).read_bytes())
    deploy(trial, KL720, dataset, tmp_path / "bundle")
    assert "learned from, too: `big.onnx`" in (tmp_path / "bundle" / "LICENCES.md").read_text()


def compile_nef(folder: Path) -> Any:
    """The script of a bundle, as a module."""
    found = importlib.util.spec_from_file_location("compile_nef", folder / "compile_nef.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture
def kl720(run: Path, dataset: Dataset, tmp_path: Path) -> Path:
    deploy(run, KL720, dataset, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_the_script_for_the_container_makes_and_proves_a_nef(
    kl720: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against a recording of the toolchain's interface, not the toolchain."""
    toolchain = Toolchain(tmp_path)
    toolchain.install(monkeypatch)
    assert compile_nef(kl720).main(["--work", str(tmp_path / "work"), "--bits", "mix light"]) == 0
    said = capsys.readouterr().out
    assert said.count(": ok") == 3 * 6  # three steps, six outputs
    assert (kl720 / "model.nef").is_file()
    assert toolchain.asked["percentage"] == toolchain.asked["percentage_16b"] == 1.0
    assert toolchain.asked["datapath_range_method"] == "percentage"
    assert toolchain.asked["model_out_bitwidth_mode"] == "int16"
    assert toolchain.asked["weight_bitwidth_mode"] == toolchain.asked["datapath_bitwidth_mode"] == "mix light"
    fed = toolchain.asked["inputs"]["images"]
    assert len(fed) == 6
    for one, path in zip(fed, sorted((kl720 / "calibration").iterdir()), strict=True):
        assert one.shape == (1, 3, small.SIZE, small.SIZE)  # channels first, since v0.21
        picture = cv2.imread(str(path))
        assert picture is not None
        np.testing.assert_allclose(one[0].transpose(1, 2, 0), picture[..., ::-1] / 256 - 0.5, atol=0.5 / 256)


def test_a_toolchain_that_folds_the_picture_is_refused(
    kl720: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Toolchain(tmp_path, "folds").install(monkeypatch)
    with pytest.raises(SystemExit, match="must stay the BatchNormalization"):
        compile_nef(kl720).main(["--work", str(tmp_path / "work")])


def test_a_nef_that_says_something_else_is_told(
    kl720: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Toolchain(tmp_path, "noisy").install(monkeypatch)
    assert compile_nef(kl720).main(["--work", str(tmp_path / "work")]) == 1
    assert "try --bits 'mix light'" in capsys.readouterr().err


def test_other_forms_of_the_graphs_are_proven_and_verified_too(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundles, "TIMING_SECONDS", 0.1)

    def nodes(file: Path) -> list[str]:
        return [node.op_type for node in onnx.load(str(file)).graph.node]

    asked = ["deploy", run, "--data", small.DATA, "--board"]
    one, other = tmp_path / "one", tmp_path / "other"
    assert command(monkeypatch, *asked, KL720, "--out", one) == 0
    assert (nodes(one / "model_kl720.onnx").count("Resize"), nodes(one / "model_kl720.onnx").count("Slice")) == (2, 3)
    options = ["--two-axis-resize", "--slice-free", "--opset", "12", "--json", "--out", other]
    capsys.readouterr()
    assert command(monkeypatch, *asked, KL720, *options) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["opset"] == 12
    assert "one Resize enlarges both axes" in said["notes"][0]
    found = nodes(other / "model_kl720.onnx")
    assert (found.count("Resize"), found.count("Slice")) == (1, 0)
    assert verify_bundle(other).passed
    manifest = read_json(other / "manifest.json")
    del manifest["model"]["two_axis_resize"]
    write_json(other / "manifest.json", manifest)
    assert "one axis is enlarged at a time" in verify_bundle(other).checks[-1].found
    out = tmp_path / "cpu"
    assert command(monkeypatch, *asked, "cpu", "--opset", "11", "--slice-free", "--out", out) == 0
    assert "Slice" not in nodes(out / "model.onnx")
    assert read_json(out / "manifest.json")["model"]["opset"] == 11
    capsys.readouterr()
    assert command(monkeypatch, *asked, "cpu", "--two-axis-resize", "--out", out) == 2
    assert "for cpu have one Resize for both axes anyway" in " ".join(capsys.readouterr().err.split())
    assert command(monkeypatch, *asked, "cpu", "--opset", "18", "--out", out) == 2
