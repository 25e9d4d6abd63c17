"""Is a bundle what it says? Checked on the host by the runtime that the bundle itself carries."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx

from edgehone.boards import BOARDS, CheckOptions, check_graph
from edgehone.deploy.device.runtime.backends import (
    cores,
    open_backend,  # pyright: ignore[reportUnknownVariableType]
)
from edgehone.deploy.device.runtime.backends.on_onnxruntime import OnnxRuntimeBackend
from edgehone.deploy.device.runtime.faults import DeviceError
from edgehone.deploy.device.runtime.manifest import (
    DELIVERED,
    Manifest,
    read_manifest,  # pyright: ignore[reportUnknownVariableType]
)
from edgehone.deploy.device.runtime.testing import (
    check_detector,  # pyright: ignore[reportUnknownVariableType]
    check_files,  # pyright: ignore[reportUnknownVariableType]
)
from edgehone.deploy.graph_nodes import describe_graph
from edgehone.deploy.plugin import PluginBackend, has_plugin
from edgehone.errors import UsageError
from edgehone.files import read_json
from edgehone.space import Settings

VARIANTS = "variants"
"""Folder of the manifests that may take the place of a bundle's own."""


class BundleCheck(Settings):
    """One thing that was looked at.

    Attributes:
        name: ``manifest``, ``files``, ``graph``, ``pictures``, ``outputs``, ``detections`` or ``variants``.
        passed: whether it is as it should be.
        found: what was found, for people.
    """

    name: str
    passed: bool
    found: str


class Verification(Settings):
    """What became of all checks of a bundle; those after a failed one that they need are not made."""

    board: str
    checks: tuple[BundleCheck, ...]

    @property
    def passed(self) -> bool:
        """All did."""
        return all(check.passed for check in self.checks)


def verify_bundle(folder: Path) -> Verification:
    """Check manifest, checksums, graph and golden tensors; graphs are run by ONNX Runtime or OpenVINO.

    What only a board can run (an engine, a NEF) is represented by the ONNX graph that it is made from. Of a graph
    that ends in EfficientNMS_TRT everything up to the plug-in is run, and the suppression is the runtime's own.

    Raises:
        UsageError: there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"a bundle is a folder; there is none at {folder}")
    try:
        manifest: Any = read_manifest(str(folder))
    except DeviceError as error:
        return Verification(board="", checks=(_check("manifest", str(error), passed=False),))
    checks = [_check("manifest", f"schema {manifest.content['schema']}"), _as_check(check_files(manifest))]
    if checks[-1].passed:
        checks.append(_graph(manifest))
    if checks[-1].passed:
        checks += _golden(manifest)
    if all(check.passed for check in checks):
        checks += _variants(folder, manifest)
    return Verification(board=str(manifest.board), checks=tuple(checks))


def _variants(folder: Path, own: Any) -> list[BundleCheck]:
    """The other manifests of a bundle that may take the place of its own, as far as graph or runtime is another."""
    seen = {(own.graph_path, own.runtime == "openvino")}
    found: list[str] = []
    for path in sorted((folder / VARIANTS).glob("*.json")):
        try:
            manifest: Any = Manifest(str(folder), read_json(path))
        except (DeviceError, ValueError) as error:
            return [_check("variants", f"{path.name}: {error}", passed=False)]
        way = (manifest.graph_path, manifest.runtime == "openvino")
        if way in seen:
            continue
        seen.add(way)
        checks = [_graph(manifest)]
        reason = _not_held(manifest)
        if checks[0].passed and not reason:
            checks += _golden(manifest)
        failed = [f"{path.stem}: {check.name}: {check.found}" for check in checks if not check.passed]
        if failed:
            return [_check("variants", "; ".join(failed), passed=False)]
        by = " by OpenVINO" if way[1] else ""
        found.append(f"{Path(manifest.graph_path).name}{by}{reason}")
    return [_check("variants", f"as described and as golden, too: {', '.join(found)}")] if found else []


def _not_held(manifest: Any) -> str:
    """Why a variant is not held against golden tensors, in brackets; "" where it is."""
    if manifest.content.get("rounded") and manifest.runtime not in DELIVERED:
        return " (rounds, and so is not held against golden)"  # how far a board's rounding goes is no fault
    if manifest.runtime == "openvino" and find_spec("openvino") is None:
        return " (not run: openvino is not installed)"
    return ""


def _graph(manifest: Any) -> BundleCheck:
    """The graph is valid ONNX, is the one that the manifest describes, and runs on its board."""
    try:
        model = onnx.load(manifest.graph_path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and the checker have many types
        return _check("graph", f"{Path(manifest.graph_path).name} is no valid ONNX graph: {error}", passed=False)
    faults = [*_disagreements(model, manifest), *_violations(model, manifest)]
    if faults:
        return _check("graph", "; ".join(faults), passed=False)
    return _check("graph", f"{len(model.graph.node)} nodes at opset {model.opset_import[0].version} are as described")


def _disagreements(model: onnx.ModelProto, manifest: Any) -> list[str]:
    content: Any = manifest.content
    found: list[str] = []
    opsets = {item.domain: item.version for item in model.opset_import}
    if opsets.get("") != content["model"].get("opset"):
        found.append(f"the manifest says opset {content['model'].get('opset')}, the graph {opsets.get('')}")
    inputs = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input}
    weights = {item.name for item in model.graph.initializer}
    inputs = {name: shape for name, shape in inputs.items() if name not in weights}
    wanted = {manifest.input_name: [1, 3, *manifest.input_size]}
    if inputs != wanted:
        found.append(f"the manifest says the input is {wanted}, the graph {inputs}")
    outputs = {item.name for item in model.graph.output}
    missing = sorted({str(name) for head in manifest.heads for name in head.outputs.values()} - outputs)
    if missing:
        found.append(f"the graph lacks the outputs {', '.join(missing)}")
    if bool(manifest.efficient_nms) != has_plugin(model):
        found.append("the manifest and the graph disagree on whether it ends in EfficientNMS_TRT")
    return found


def _violations(model: onnx.ModelProto, manifest: Any) -> list[str]:
    if manifest.board not in BOARDS:
        return [f"there is no board {manifest.board}; the boards are {', '.join(BOARDS)}"]
    options = CheckOptions(two_axis_resize=bool(manifest.content["model"].get("two_axis_resize")))
    return [str(violation) for violation in check_graph(describe_graph(model), BOARDS[manifest.board], options)]


def _golden(manifest: Any) -> list[BundleCheck]:
    try:
        if manifest.runtime == "openvino" and find_spec("openvino") is not None:
            backend = open_backend(manifest)
        else:
            kind = PluginBackend if manifest.efficient_nms else OnnxRuntimeBackend
            backend = kind(manifest, cores(), path=manifest.graph_path)
        return [_as_check(check) for check in check_detector(manifest, backend)]
    except DeviceError as error:
        return [_check("outputs", str(error), passed=False)]


def _check(name: str, found: str, *, passed: bool = True) -> BundleCheck:
    return BundleCheck(name=name, passed=passed, found=found)


def _as_check(check: Any) -> BundleCheck:
    return BundleCheck(name=check.name, passed=check.passed, found=check.text)
