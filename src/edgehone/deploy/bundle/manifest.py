"""``manifest.json``: the contract with the device runtime, described in docs/device.md."""

from __future__ import annotations

from collections.abc import Mapping
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


def golden_name(says: Said, default: Said) -> str:
    """Of the golden tensors for these outputs."""
    return "golden.npz" if says == default else f"golden_{says}.npz"


def outputs_of(stride: int, says: Said) -> dict[str, str]:
    """Names of a head's outputs, as the manifest has them."""
    return {"raw": output_name(stride)} if says == "raw" else {part: output_name(stride, part) for part in PARTS}


def manifest_of(
    board: str, source: Source, variant: Variant, graph: onnx.ModelProto, golden: str, checked: Mapping[str, Json]
) -> dict[str, Json]:
    """A manifest without its files' checksums.

    Args:
        board: name.
        source: the detector.
        variant: how it is run.
        graph: that the variant names.
        golden: file name of its golden tensors.
        checked: what was found on the host, by graph.
    """
    info, post = source.info, source.post
    readings = head_readings(info)
    model: dict[str, Json] = {"path": variant.model or variant.graph, "runtime": variant.runtime}
    if variant.model is not None:
        model["graph"] = variant.graph
    opset = next(item.version for item in graph.opset_import if item.domain == "")
    content: dict[str, Json] = {
        "schema": SCHEMA,
        "edgehone": VERSION,
        "board": board,
        "variant": variant.name,
        "rounded": variant.rounded,
        "files": {},
        "model": {**model, "opset": opset, "precision": variant.precision},
        "input": {
            "name": INPUT,
            "shape": [1, info.graph().channels, *info.input_size],
            **_fit(source),
            "colour": "rgb",
            **variant.picture(),
        },
        "outputs": "efficient_nms" if variant.says == "detections" else "heads",
        "classes": list(info.class_names),
        "heads": []
        if variant.says == "detections"
        else [
            {
                "stride": head.stride,
                "outputs": outputs_of(head.stride, variant.says),
                "anchors_px": [list(sides) for sides in head.anchors_px],
                "coding": head.coding.model_dump(mode="json"),
            }
            for head in readings
        ],
        "coding": readings[0].coding.model_dump(mode="json"),
        "scores": {"objectness": "sigmoid", "classes": class_activation(info)},
        "suppression": {
            "threshold": post.score_threshold,
            "iou": post.iou_threshold,
            "max_detections": post.limit,
            "candidates": post.candidates,
            "per_class": True,
            "kind": "greedy",
        },
        "golden": {"path": golden, "tolerance": {"max_abs": 1e-3} if variant.precision == "fp32" else {}},
        "network": {
            "name": info.model,
            "fingerprint": fingerprint_of(source.costs),
            "layers": [asdict(cost) for cost in source.costs],
        },
        "checked": dict(checked),
    }
    return content


def _fit(source: Source) -> dict[str, Json]:
    """How a picture is brought into the input: as in training, or as Darknet does."""
    darknet = source.info.reading is not None
    return {
        "fit": source.info.fit,
        "pad_value": GRAY if darknet else BORDER,
        "resize": "linear" if darknet else "area",
    }
