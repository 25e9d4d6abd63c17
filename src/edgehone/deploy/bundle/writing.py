"""A bundle's folder, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from edgehone.deploy.bundle.found import Found
from edgehone.deploy.bundle.manifest import golden_name, manifest_of
from edgehone.deploy.bundle.proof import expected
from edgehone.deploy.contents import Contents, Source, Variant
from edgehone.deploy.device import device_files
from edgehone.deploy.golden import GoldenPicture, golden_bytes
from edgehone.deploy.integer.accuracy import RoundedOnnxRuntime
from edgehone.deploy.integer.openvino import OpenVinoRuntime
from edgehone.deploy.integer.tensors import open_session
from edgehone.deploy.verify import VARIANTS, verify_bundle
from edgehone.errors import EdgehoneError, UsageError
from edgehone.files import write_bytes, write_json
from edgehone.inference import Detector, Runtime, TorchRuntime

MANIFEST = "manifest.json"


def require_writable(out: Path) -> None:
    """Refuse a place that holds something else than a bundle.

    Raises:
        UsageError: a file, or a folder with files and no manifest.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"a bundle is a folder, but {out} is a file; choose another --out")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise UsageError(f"{out} holds files but no bundle; choose an empty or new folder for --out")


def write_bundle(
    out: Path, board: str, source: Source, contents: Contents, found: Found, texts: Mapping[str, str]
) -> None:
    """Write, verify by the bundle's own runtime, and put in the place of an earlier bundle.

    Args:
        out: the folder; a bundle that is there goes, with everything in it.
        board: name.
        source: the detector.
        contents: what the board needs.
        found: what was found about it on the host.
        texts: more files for people, by name.

    Raises:
        UsageError: see :func:`require_writable`.
        EdgehoneError: the written bundle does not verify.
    """
    require_writable(out)
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        _write_files(beside, source, contents, texts)
        _write_manifests(beside, board, source, contents, found)
        _verify(beside)
        shutil.rmtree(out, ignore_errors=True)
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_files(folder: Path, source: Source, contents: Contents, texts: Mapping[str, str]) -> None:
    files = {name: model.SerializeToString() for name, model in contents.graphs.items()}
    for runtime in dict.fromkeys(variant.runtime for variant in contents.variants):
        files |= device_files(runtime)
    files |= contents.files
    files |= {name: text.encode() for name, text in texts.items()}
    default = contents.variants[0].golden
    for kind, variant in {variant.golden: variant for variant in contents.variants}.items():
        golden = golden_pictures(source, variant, contents.graphs[variant.graph])
        files[golden_name(kind, default)] = golden_bytes(golden)
    for name, content in files.items():
        write_bytes(folder / name, content)


def golden_pictures(source: Source, variant: Variant, graph: onnx.ModelProto) -> list[GoldenPicture]:
    """What should come of the golden pictures, in the form of a graph's outputs.

    That is what the network says whose weights the graph has; of a graph whose rounding runs here what it says itself.
    """
    detector, says = Detector(source.info, _truth(source, variant, graph)), variant.says
    found: list[GoldenPicture] = []
    for image, detections in zip(source.golden, detector.detect(source.golden, source.post, 1), strict=True):
        outputs = {}
        if says != "detections":
            outputs = expected(source, detector.runtime.heads(detector.prepare(image)[None]), says)
        found.append(GoldenPicture(np.ascontiguousarray(image), source.prepared(image), outputs, detections))
    return found


def _truth(source: Source, variant: Variant, graph: onnx.ModelProto) -> Runtime:
    if variant.executed and variant.runtime == "openvino":
        return OpenVinoRuntime(graph)
    if variant.executed:
        return RoundedOnnxRuntime(open_session(graph))
    return TorchRuntime(source.network if variant.repaired is None else variant.repaired)


def _write_manifests(folder: Path, board: str, source: Source, contents: Contents, found: Found) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}
    default = contents.variants[0].golden
    for k, variant in enumerate(contents.variants):
        graph, golden = contents.graphs[variant.graph], golden_name(variant.golden, default)
        about = {"checked": found.checked, **found.of_variant(variant.name)}
        content = {**manifest_of(board, source, variant, graph, golden), **about, "files": files}
        if len(contents.variants) > 1:
            write_json(folder / VARIANTS / f"{variant.name}.json", content)
        if k == 0:
            write_json(folder / MANIFEST, content)


def _verify(folder: Path) -> None:
    """Every manifest is one that the runtime in the bundle reads, and holds here."""
    found = verify_bundle(folder)
    failed = [f"{check.name}: {check.found}" for check in found.checks if not check.passed]
    if failed:
        raise EdgehoneError(
            "the bundle does not verify: " + "; ".join(failed) + "; a defect of edgehone, please report it"
        )
