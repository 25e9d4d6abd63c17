"""``manifest.json``: the contract with the device runtime, described in docs/device.md."""

from __future__ import annotations

from dataclasses import asdict

import onnx

from edgehone.augment.geometry import BORDER
from edgehone.boards import fingerprint_of
from edgehone.darknet_pair import GRAY
from edgehone.deploy.contents import VERSION, Said, Source, Variant
from edgehone.deploy.onnx_graph import INPUT, PARTS, output_name
from edgehone.deploy.reading import class_activation, head_readings
from edgehone.types import Json

SCHEMA = 1


EXECUTED = {"snr_db": 25.0, "iou": 0.9, "score": 0.05, "matched": 0.95}
"""Tolerance of whole numbers that were executed where the bundle was made: other machines may round the real numbers
between them by a step, but not lose what they hold."""


def golden_name(kind: str, default: str) -> str:
    """Of the golden tensors of this kind."""
    return "golden.npz" if kind == default else f"golden_{kind}.npz"


def outputs_of(stride: int, says: Said) -> dict[str, str]:
    """Names of a head's outputs, as the manifest has them."""
    return {"raw": output_name(stride)} if says == "raw" else {part: output_name(stride, part) for part in PARTS}


def manifest_of(board: str, source: Source, variant: Variant, graph: onnx.ModelProto, golden: str) -> dict[str, Json]:
    """A manifest without its files' checksums, and without what was found on this machine.

    Args:
        board: name.
        source: the detector.
        variant: how it is run.
        graph: that the variant names.
        golden: file name of its golden tensors.
    """
    return {
        "schema": SCHEMA,
        "edgehone": VERSION,
        "board": board,
        "variant": variant.name,
        "rounded": variant.rounded,
        "files": {},
        "model": {**_model(variant, graph), **({"two_axis_resize": True} if source.asked.two_axis_resize else {})},
        "input": {
            "name": INPUT,
            "shape": [1, source.info.graph().channels, *source.info.input_size],
            **_fit(source),
            "colour": "rgb",
            "scale": variant.scale,
            "offset": variant.offset,
        },
        "classes": list(source.info.class_names),
        **_reading(source, variant.says),
        "golden": {"path": golden, "tolerance": _tolerance(variant)},
        "network": {
            "name": source.info.model,
            "fingerprint": fingerprint_of(source.costs),
            "layers": [asdict(cost) for cost in source.costs],
        },
        **_integer(source, variant),
    }


def _tolerance(variant: Variant) -> dict[str, float]:
    """What differs from that of the precision."""
    if variant.executed:
        return EXECUTED
    return {"max_abs": 1e-3} if variant.precision == "fp32" else {}


def _integer(source: Source, variant: Variant) -> dict[str, Json]:
    """How a variant in 8 bits came about, and what it is worth."""
    if variant.precision != "int8" or source.eight_bits is None:
        return {}
    return {"integer": source.eight_bits.record()}


def _model(variant: Variant, graph: onnx.ModelProto) -> dict[str, Json]:
    opset = next(item.version for item in graph.opset_import if item.domain == "")
    model: dict[str, Json] = {
        "path": variant.model or variant.graph,
        "runtime": variant.runtime,
        "opset": opset,
        "precision": variant.precision,
    }
    return model if variant.model is None else {**model, "graph": variant.graph}


def _reading(source: Source, says: Said) -> dict[str, Json]:
    """How outputs become detections."""
    readings, post = head_readings(source.info), source.post
    heads: list[Json] = [
        {
            "stride": head.stride,
            "outputs": outputs_of(head.stride, says),
            "anchors_px": [list(sides) for sides in head.anchors_px],
            "coding": head.coding.model_dump(mode="json"),
        }
        for head in readings
    ]
    return {
        "outputs": "efficient_nms" if says == "detections" else "heads",
        "heads": [] if says == "detections" else heads,
        "coding": readings[0].coding.model_dump(mode="json"),
        "scores": {"objectness": "sigmoid", "classes": class_activation(source.info)},
        "suppression": {
            "threshold": post.score_threshold,
            "iou": post.iou_threshold,
            "max_detections": post.limit,
            "candidates": post.candidates,
            "per_class": True,
            "kind": "greedy",
        },
    }


def _fit(source: Source) -> dict[str, Json]:
    """How a picture is brought into the input: as in training, or as Darknet does."""
    darknet = source.info.reading is not None
    return {
        "fit": source.info.fit,
        "pad_value": GRAY if darknet else BORDER,
        "resize": "linear" if darknet else "area",
    }
