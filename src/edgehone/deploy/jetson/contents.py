"""What a Jetson Xavier NX gets: graphs, ranges, and the files that build an engine there."""

from __future__ import annotations

from pathlib import Path

import onnx

from edgehone.boards import BOARDS, Precision
from edgehone.deploy.contents import Contents, Source, Variant
from edgehone.deploy.integer.eight_bits import EightBits
from edgehone.deploy.integer.tensors import tensor_name
from edgehone.deploy.jetson.calibration_cache import cache_text, calibrated_tensors
from edgehone.deploy.jetson.deepstream import deepstream_files
from edgehone.deploy.jetson.efficient_nms import with_efficient_nms
from edgehone.deploy.onnx_graph import GraphForm, whole_name
from edgehone.deploy.reading import class_activation, head_readings

ROUNDED = "model_qdq.onnx"
CACHE = "calibration.cache"
BUILD = "build_engine.sh"
FILES = Path(__file__).parent / "files"


def jetson_contents(source: Source) -> Contents:
    """Of the bundle for ``jetson-xavier-nx``.

    ``model_nms.onnx`` is the master with decoding and suppression; ``model_raw.onnx`` ends in raw heads, which the
    runtime decodes on the CPU, and has no Slice, so that the DLA may take it. Held in 8 bits there is a calibration
    cache for both, and ``model_qdq.onnx``, raw heads with explicit rounding; where weights or biases were changed for 8
    bits, ``model_nms_int8.onnx`` and ``model_raw_int8.onnx`` have them. 8 bits come first if they passed the gate.
    """
    graphs = _graphs(source)
    variants = tuple(_variant(precision, kind) for precision in ("fp16", "fp32") for kind in ("nms", "raw"))
    files = {BUILD: (FILES / BUILD).read_bytes(), **deepstream_files(source)}
    real = Contents(graphs, variants, files)
    held = source.eight_bits
    if held is None:
        return real + Contents(readme=readme(RANGELESS))
    whole = _in_eight_bits(source, held, graphs)
    return (whole + real if held.passed else real + whole) + Contents(readme=readme(RANGES + _kept_out(held)))


def _graphs(source: Source, mark: str = "") -> dict[str, onnx.ModelProto]:
    """Suppressed and raw; with a mark, of the repaired network."""
    folded = source.repaired if mark else None
    master = source.graph(folded=folded)
    heads, classes = head_readings(source.info), len(source.info.class_names)
    suppressed = with_efficient_nms(master, heads, classes, class_activation(source.info), source.post)
    raw = source.graph(form=GraphForm(slice_free=True), folded=folded)
    return {f"model_nms{mark}.onnx": suppressed, f"model_raw{mark}.onnx": raw}


def _in_eight_bits(source: Source, held: EightBits, graphs: dict[str, onnx.ModelProto]) -> Contents:
    mark = "_int8" if held.changed_network is not None else ""
    own = _graphs(source, mark) if mark else graphs
    kept = set(wide_tensors(held))
    master = source.graph(folded=held.network)
    tensors = dict.fromkeys([*calibrated_tensors(master), *calibrated_tensors(own[f"model_raw{mark}.onnx"])])
    covered = [name for name in tensors if whole_name(name).removesuffix("_linear") not in kept]
    variants = [_variant("int8", kind, mark, held) for kind in ("nms", "raw", "qdq")]
    rounded = {ROUNDED: source.rounded_graph()}
    cache = {CACHE: cache_text(covered, held.plan.amax).encode()}
    return Contents({**(own if mark else {}), **rounded}, tuple(variants), cache)


def wide_tensors(held: EightBits) -> list[str]:
    """Results of the layers that stay in FP16: without a range, TensorRT calculates them so."""
    return [tensor_name(held.network.graph, index) for index in held.plan.results]


def _variant(precision: Precision, kind: str, mark: str = "", held: EightBits | None = None) -> Variant:
    return Variant(
        name=f"{precision}-{kind}",
        graph=ROUNDED if kind == "qdq" else f"model_{kind}{mark}.onnx",
        runtime="tensorrt",
        precision=precision,
        says="detections" if kind == "nms" else "raw",
        model=f"{precision}-{kind}.engine",
        rounded=kind == "qdq",
        repaired=None if held is None else held.changed_network,
    )


RANGELESS = "This bundle was made without ranges for 8 bits, so it has no INT8 variant."
RANGES = (
    "`int8-nms` and `int8-raw` take the ranges in `calibration.cache`; `int8-qdq` carries them in the graph itself."
)


def _kept_out(held: EightBits) -> str:
    wide = wide_tensors(held)
    return f" Without a range on purpose, so that they stay in FP16: {', '.join(wide)}." if wide else ""


def readme(ranges: str) -> str:
    """The steps on the board."""
    modes = "\n   ".join(
        f"| {mode.identity} | {mode.name} | {mode.cpus} x {mode.cpu_mhz} | {mode.gpu_mhz} | {mode.memory_mhz} |"
        for mode in BOARDS["jetson-xavier-nx"].power_modes
    )
    return (FILES / "steps.md").read_text(encoding="utf-8").format(modes=modes, ranges=ranges)
