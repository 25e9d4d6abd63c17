"""Bundles whose 8 bits were judged: executed on this machine, decided for the KL720's toolchain, repaired."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import small_detectors as small
from onnx import numpy_helper
from recorded_ktc import Toolchain
from test_bundles import compile_nef
from typer.testing import CliRunner

from edgehone.cli import app
from edgehone.data import Dataset, read_dataset
from edgehone.deploy import bundle as bundles
from edgehone.deploy.bundle import Deployment, Inquiry, Source, Wishes, deploy, hold_in_eight_bits, notes_on
from edgehone.deploy.device.runtime.manifest import sha256_of
from edgehone.deploy.device.runtime.testing import main as selftest
from edgehone.deploy.integer import accuracy
from edgehone.deploy.integer.calibration import MeanSquare, Percentile
from edgehone.deploy.integer.eight_bits import EightBits, calibrated
from edgehone.deploy.integer.fine_tuning import FineTuning
from edgehone.deploy.integer.gate import Measured
from edgehone.deploy.kneron.analysis import Analysis, analysis_of
from edgehone.deploy.latency import core_count
from edgehone.deploy.verify import verify_bundle
from edgehone.errors import EdgehoneError
from edgehone.files import read_json, write_json
from edgehone.inference import CHECKPOINT, Detector, TorchRuntime, save_detector

KL720 = "kneron-kl720"
DATA = f"{small.DATA}&classes=10"
FEW = Inquiry(calibration_pictures=4, judged_pictures=3, fine_tuning=FineTuning(epochs=0.3))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset(DATA)


@pytest.fixture(scope="module")
def usual() -> Detector:
    """Narrow: the gate runs it often."""
    return small.make_detector(width=0.25)


@pytest.fixture(scope="module")
def run(usual: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert isinstance(usual.runtime, TorchRuntime)
    save_detector(usual.runtime.network, usual.info, folder / CHECKPOINT)
    return folder


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "TIMING_SECONDS", 0.05)
    monkeypatch.setattr("edgehone.deploy.bundle.measured.needed_mib", lambda *_: 50.0)


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """AP as told instead of measured, the last one for ever: untrained detectors have none to lose."""

    def script(*values: float) -> None:
        given: Iterator[float] = iter([*values[:-1], *[values[-1]] * 50])
        monkeypatch.setattr(accuracy, "average_precision_of", lambda *_: next(given))
        monkeypatch.setattr(accuracy, "judge", lambda *_: Measured(ap := next(given), np.full(2, ap)))

    return script


@pytest.fixture(scope="module")
def cpu(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """By the command; not to be changed."""
    out = tmp_path_factory.mktemp("cpu") / "bundle"
    seconds, bundles.TIMING_SECONDS = bundles.TIMING_SECONDS, 0.1
    arguments = ["deploy", str(run), "--board", "cpu", "--data", DATA, "--out", str(out), "--int8", "--json"]
    said = CliRunner().invoke(app, arguments, catch_exceptions=False)
    bundles.TIMING_SECONDS = seconds
    return json.loads(said.stdout), out


def test_8_bits_that_passed_come_first_and_are_executed(cpu: tuple[dict[str, Any], Path]) -> None:
    said, folder = cpu
    assert said["path"] == "bundle/model_int8.onnx"
    assert said["integer"]["split"] == "test", "it was judged on the others"
    assert said["integer"]["verdict"]["max_drop"] == 0.005
    manifest = read_json(folder / "manifest.json")
    assert manifest["variant"] == "onnxruntime-int8"
    assert manifest["integer"]["accuracy"] == said["integer"]
    assert manifest["integer"]["accuracy"]["ap_executed"] is not None
    variants = {path.stem: read_json(path) for path in (folder / "variants").glob("*.json")}
    assert set(variants) >= {"onnxruntime-int8", "onnxruntime-fp32", "openvino-fp32"}
    assert variants["onnxruntime-fp32"]["golden"]["path"] == "golden_raw.npz"
    assert verify_bundle(folder).passed
    kinds = {node.op_type for node in onnx.load(str(folder / "model_int8.onnx")).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert "## In 8 bits" in (folder / "README.md").read_text()


def test_the_self_test_holds_8_bits_to_what_they_said(
    cpu: tuple[dict[str, Any], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A weight of another sign is no rounding, even where its checksum was adapted."""
    folder = shutil.copytree(cpu[1], tmp_path / "bundle")
    assert selftest(str(folder), []) == 0
    model = onnx.load(str(folder / "model_int8.onnx"))
    weight = next(item for item in model.graph.initializer if item.name == "20_conv_weight_whole")
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    onnx.save(model, str(folder / "model_int8.onnx"))
    manifest = read_json(folder / "manifest.json")
    manifest["files"]["model_int8.onnx"] = sha256_of(str(folder / "model_int8.onnx"))
    write_json(folder / "manifest.json", manifest)
    assert selftest(str(folder), []) == 1
    assert "needs 25" in capsys.readouterr().out


def test_8_bits_that_did_not_pass_do_not_come_first(
    run: Path, dataset: Dataset, tmp_path: Path, scored: Callable[..., None]
) -> None:
    scored(0.5, 0.3)
    heard: list[str] = []
    deployment = deploy(run, "cpu", dataset, tmp_path / "bundle", Wishes(integer=FEW, say=heard.append))
    assert deployment.path == "bundle/model.onnx"
    assert "did not pass: 20.00 AP points lost, likely at most 20.00; 0.5 were allowed" in deployment.notes[0]
    assert "repairs it" not in deployment.notes[0], "everything was tried"
    assert read_json(tmp_path / "bundle" / "manifest.json")["variant"] == "onnxruntime-fp32"
    assert read_json(tmp_path / "bundle" / "variants" / "onnxruntime-int8.json")["rounded"]
    assert deployment.integer is not None
    kinds = [attempt.repair for attempt in deployment.integer.verdict.attempts]
    assert kinds[0] == "none"
    assert kinds[-1] == "fine_tuning"
    assert len([line for line in heard if "OpenVINO" not in line]) == len(kinds)


def test_openvino_gets_8_bits_where_its_own_answers_pass(
    run: Path,
    usual: Detector,
    dataset: Dataset,
    tmp_path: Path,
    scored: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It executes the same graph in another way, so that it is judged, proven and timed by itself."""
    pytest.importorskip("openvino")
    scored(0.5, 0.499)
    deployment = deploy(run, "cpu", dataset, tmp_path / "kept", Wishes(integer=FEW))
    assert deployment.notes == ()
    names = ["onnxruntime-int8", "openvino-int8", "onnxruntime-fp32", "openvino-fp32"]
    assert [row.variant for row in deployment.measured] == names
    for row in deployment.measured:
        assert len(row.latencies) == len({1, core_count()})
        assert bool(row.max_abs_difference) == row.variant.endswith("fp32")
        assert min(row.signal_to_noise_db.values()) > (90 if row.variant.endswith("fp32") else 0)
    manifest = read_json(tmp_path / "kept" / "variants" / "openvino-int8.json")
    assert manifest["golden"]["path"] == "golden_raw_rounded_openvino.npz"
    assert manifest["measured"]["latencies"][0]["runtime"].startswith("OpenVINO")
    assert verify_bundle(tmp_path / "kept").passed
    scored(0.5, 0.499, 0.3)
    deployment = deploy(run, "cpu", dataset, tmp_path / "lost", Wishes(integer=FEW))
    assert "OpenVINO did not pass in 8 bits, so it gets fp32 only: 20.00 AP points lost" in deployment.notes[0]
    assert not (tmp_path / "lost" / "variants" / "openvino-int8.json").exists()
    assert "OpenVINO did not pass" in (tmp_path / "lost" / "README.md").read_text()
    monkeypatch.setattr(accuracy, "openvino_here", lambda: False)
    assert isinstance(usual.runtime, TorchRuntime)
    held = hold_in_eight_bits(usual.runtime.network, usual.info, dataset, "cpu", Wishes(integer=FEW))
    source = Source(usual.runtime.network, usual.info, small.images(), eight_bits=held)
    assert "openvino is not installed" in notes_on(source, "cpu")[-1]


def test_a_board_that_has_nothing_but_8_bits_is_always_judged(
    run: Path, dataset: Dataset, tmp_path: Path, scored: Callable[..., None]
) -> None:
    """As its bundle holds it: uncut ranges and outputs of 16 bits; repairing is left to --int8."""
    scored(0.5, 0.4)
    deployment = deploy(run, KL720, dataset, tmp_path / "bundle")
    note = "8 bits did not pass: 10.00 AP points lost, likely at most 10.00; 0.5 were allowed: `edgehone deploy --int8`"
    assert deployment.notes[0].startswith(note)
    assert note in (tmp_path / "bundle" / "README.md").read_text()
    assert deployment.integer is not None
    assert [attempt.detail for attempt in deployment.integer.verdict.attempts] == [
        "ranges by max, int16 for stride32, stride16"
    ]
    assert deployment.integer.split == "test"
    assert read_json(tmp_path / "bundle" / "analysis.json") == Analysis().model_dump()
    assert read_json(tmp_path / "bundle" / "manifest.json")["integer"]["gated"] is False
    scored(0.5, 0.4)
    assert deploy(run, KL720, dataset, tmp_path / "bundle", Wishes(max_drop=0.2)).notes == ()


def test_ap_is_that_of_validation_where_nothing_is_left_for_a_test(
    run: Path,
    dataset: Dataset,
    tmp_path: Path,
    scored: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scored(0.5)
    monkeypatch.setattr(bundles, "JUDGED_PICTURES", 1)
    deployment = deploy(run, KL720, dataclasses.replace(dataset, test=()), tmp_path / "bundle")
    assert deployment.integer is not None
    assert (deployment.integer.split, deployment.integer.pictures) == ("val", 1), "unasked it may not take long"


def test_what_the_gate_decided_reaches_the_toolchain(
    run: Path,
    dataset: Dataset,
    tmp_path: Path,
    scored: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ranges by percentile are the best, and with outputs of 16 bits they suffice."""
    monkeypatch.setattr("edgehone.deploy.integer.gate._Repairs.equalisation", lambda *_: iter(()))
    scored(0.5, 0.3, 0.3, 0.4, 0.35, 0.499)
    out = tmp_path / "bundle"
    deployment = deploy(run, KL720, dataset, out, Wishes(integer=FEW))
    assert deployment.integer is not None
    assert deployment.integer.verdict.wide == ("stride32", "stride16")
    assert read_json(out / "analysis.json") == Analysis(percentage=0.9999, optimize=1).model_dump()
    manifest = read_json(out / "manifest.json")
    assert manifest["integer"]["repaired"] is False, "the toolchain corrects biases itself"
    assert "signal_to_noise_db" not in manifest["checked"]["model_kl720.onnx"], "its graph is as it was trained"
    page = (out / "README.md").read_text()
    assert "**0.4990** as delivered (simulated; the board is the proof)" in page
    assert "`percentage=0.9999`" in page
    assert "outputs 16" in page
    assert manifest["integer"]["accuracy"]["ap"] == 0.499
    toolchain = Toolchain(tmp_path)
    toolchain.install(monkeypatch)
    assert compile_nef(out).main(["--work", str(tmp_path / "work")]) == 0
    assert toolchain.asked["percentage"] == 0.9999
    assert toolchain.asked["optimize"] == 1
    assert toolchain.asked["model_out_bitwidth_mode"] == "int16"
    assert toolchain.asked["datapath_bitwidth_mode"] == toolchain.asked["weight_bitwidth_mode"] == "int8"


def test_a_network_trained_under_rounding_is_the_one_that_is_delivered_and_held_to(
    run: Path,
    dataset: Dataset,
    tmp_path: Path,
    scored: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgehone.deploy.integer.gate._Repairs.mixtures", lambda *_: iter(()))
    scored(0.5, 0.4, 0.3, 0.3, 0.3, 0.3, 0.5)
    out = tmp_path / "bundle"
    deployment = deploy(run, KL720, dataset, out, Wishes(integer=FEW))
    assert deployment.integer is not None
    assert deployment.integer.verdict.chosen.repair == "fine_tuning"
    manifest = read_json(out / "manifest.json")
    assert manifest["integer"]["repaired"] is True
    assert manifest["golden"]["path"] == "golden.npz"
    checked = manifest["checked"]["model_kl720.onnx"]
    assert max(checked["max_abs_difference"].values()) < 1e-4
    assert 10 < min(checked["signal_to_noise_db"].values()) < 80, "near the trained network, and not it"
    Toolchain(tmp_path).install(monkeypatch)
    assert compile_nef(out).main(["--work", str(tmp_path / "work")]) == 0


def test_8_bits_on_the_jetson_are_judged_too(
    run: Path, dataset: Dataset, tmp_path: Path, scored: Callable[..., None]
) -> None:
    scored(0.5, 0.3, 0.3, 0.499)
    deployment: Deployment = deploy(run, "jetson-xavier-nx", dataset, tmp_path / "nx", Wishes(integer=FEW))
    manifest = read_json(tmp_path / "nx" / "manifest.json")
    assert manifest["variant"] == "int8-nms"
    assert manifest["integer"]["calibrator"]["kind"] == "percentile"
    assert manifest["model"]["graph"] == "model_nms_int8.onnx", "with biases of its own; FP16 has the trained ones"
    real = read_json(tmp_path / "nx" / "variants" / "fp16-nms.json")
    assert real["model"]["graph"] == "model_nms.onnx"
    checked = manifest["checked"]["model_raw_int8.onnx"]
    assert max(checked["max_abs_difference"].values()) < 1e-4
    assert 10 < min(checked["signal_to_noise_db"].values()) < 80
    assert deployment.notes == ()
    assert verify_bundle(tmp_path / "nx").passed


def test_8_bits_need_training_pictures(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    without = dataclasses.replace(dataset, train=())
    with pytest.raises(EdgehoneError, match=r"the train split of .* is empty"):
        deploy(run, "cpu", without, tmp_path / "bundle", Wishes(integer=FEW))
    assert not list(tmp_path.iterdir())


def test_the_toolchain_is_asked_for_the_nearest_to_a_plan(usual: Detector, dataset: Dataset) -> None:
    assert isinstance(usual.runtime, TorchRuntime)
    held = calibrated(usual.runtime.network, usual.info, dataset, KL720, FEW)
    assert isinstance(held, EightBits)
    assert analysis_of(held) == Analysis(model_out_bitwidth_mode="int8")
    graph = held.network.graph

    def changed(calibrator: Any = held.calibrator, *wide: int) -> Analysis:
        plan = held.plan
        for index in wide:
            plan = plan.widened(index)
        return analysis_of(dataclasses.replace(held, plan=plan, calibrator=calibrator))

    assert changed(held.calibrator, *graph.outputs) == Analysis()
    assert changed(held.calibrator, 2).datapath_bitwidth_mode == "mix light"
    assert changed(held.calibrator, 2).weight_bitwidth_mode == "int8"
    assert changed(Percentile(percent=99.9)).percentage == pytest.approx(0.999)
    assert changed(Percentile(percent=99.9)).percentage_16b == 1.0
    assert changed(MeanSquare()).datapath_range_method == "mmse"


def test_a_detector_unrepaired_is_what_the_gate_lets_pass(usual: Detector, dataset: Dataset) -> None:
    assert isinstance(usual.runtime, TorchRuntime)
    network, info = usual.runtime.network, usual.info
    easy = FEW.model_copy(update={"max_drop": 0.99, "calibration_pictures": accuracy.QUICK_PICTURES})
    for board in ("cpu", KL720):
        found, _ = accuracy.integer_accuracy(network, info, dataset, board, easy)
        ap = accuracy.average_precision_of(accuracy.as_trained(network, info, dataset, board), info, dataset.val)
        assert ap == pytest.approx(found.ap if found.ap_executed is None else found.ap_executed, abs=1e-9)
        assert np.isfinite(ap)
