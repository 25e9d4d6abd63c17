"""What a Jetson Xavier NX gets: graphs, ranges, and the files that build an engine there."""

from __future__ import annotations

from pathlib import Path

from edgehone.boards import BOARDS, Precision
from edgehone.deploy.contents import Contents, Source, Variant
from edgehone.deploy.jetson.calibration_cache import cache_text, calibrated_tensors
from edgehone.deploy.jetson.deepstream import deepstream_files
from edgehone.deploy.jetson.efficient_nms import with_efficient_nms
from edgehone.deploy.jetson.explicit import with_explicit_rounding
from edgehone.deploy.onnx_graph import GraphForm
from edgehone.deploy.reading import class_activation, head_readings

NMS, RAW, ROUNDED = "model_nms.onnx", "model_raw.onnx", "model_qdq.onnx"
CACHE = "calibration.cache"
BUILD = "build_engine.sh"
FILES = Path(__file__).parent / "files"


def jetson_contents(source: Source) -> Contents:
    """Of the bundle for ``jetson-xavier-nx``.

    ``model_nms.onnx`` is the master with decoding and suppression; ``model_raw.onnx`` ends in raw heads, which the
    runtime decodes on the CPU, and has no Slice, so that the DLA may take it. With ranges for 8 bits there is a
    calibration cache for both, and ``model_qdq.onnx``, raw heads with explicit rounding.
    """
    info = source.info
    master, raw = source.graph(), source.graph(form=GraphForm(slice_free=True))
    heads, classes = head_readings(info), len(info.class_names)
    graphs = {NMS: with_efficient_nms(master, heads, classes, class_activation(info), source.post), RAW: raw}
    variants = [_variant("fp16", "nms"), _variant("fp16", "raw"), _variant("fp32", "nms"), _variant("fp32", "raw")]
    files = {BUILD: (FILES / BUILD).read_bytes(), **deepstream_files(source)}
    if source.amax:
        graphs[ROUNDED] = with_explicit_rounding(master, source.amax)
        tensors = dict.fromkeys([*calibrated_tensors(master), *calibrated_tensors(raw)])
        files[CACHE] = cache_text(list(tensors), source.amax).encode()
        variants += [_variant("int8", "nms"), _variant("int8", "raw"), _variant("int8", "qdq")]
    return Contents(graphs, tuple(variants), files, readme(calibrated=bool(source.amax)))


def _variant(precision: Precision, kind: str) -> Variant:
    return Variant(
        name=f"{precision}-{kind}",
        graph={"nms": NMS, "raw": RAW, "qdq": ROUNDED}[kind],
        runtime="tensorrt",
        precision=precision,
        says="detections" if kind == "nms" else "raw",
        model=f"{precision}-{kind}.engine",
        rounded=kind == "qdq",
    )


def readme(calibrated: bool) -> str:
    """The steps on the board."""
    modes = "\n   ".join(
        f"| {mode.identity} | {mode.name} | {mode.cpus} x {mode.cpu_mhz} | {mode.gpu_mhz} | {mode.memory_mhz} |"
        for mode in BOARDS["jetson-xavier-nx"].power_modes
    )
    ranges = (
        "`int8-nms` and `int8-raw` take the ranges in `calibration.cache`; `int8-qdq` carries them in the graph itself."
        if calibrated
        else "This bundle was made without ranges for 8 bits, so it has no INT8 variant."
    )
    return (FILES / "steps.md").read_text(encoding="utf-8").format(modes=modes, ranges=ranges)
