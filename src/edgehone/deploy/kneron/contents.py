"""What a Kneron KL720 gets: the graph, pictures for the vendor's calibration, and the script for its container."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from edgehone.deploy.contents import Contents, Source, Variant
from edgehone.deploy.kneron.analysis import Analysis, analysis_of
from edgehone.deploy.onnx_graph import GraphForm
from edgehone.errors import EdgehoneError, UsageError

GRAPH, NEF, COMPILE, ANALYSIS = "model_kl720.onnx", "model.nef", "compile_nef.py", "analysis.json"
OPSET = 11
"""Read by both environments of the vendor's container, and by its older releases."""
SCALE, OFFSET = 1 / 256, -0.5
"""KP_NORMALIZE_KNERON, the one normalisation of the chip that keeps 8 bits."""
RESTORE = (256 / 255, 128 / 255)
"""Makes x / 255 of x / 256 - 0.5."""
CALIBRATION = 128
ENOUGH = 100
"""Pictures for calibration that the vendor asks for."""
QUALITY = 95
FILES = Path(__file__).parent / "files"


def graph_form(classes: int, *, one_axis_resize: bool = True) -> GraphForm:
    """The graph that the toolchain takes, of a detector with so many classes."""
    return GraphForm(one_axis_resize=one_axis_resize, classes=classes, restore=RESTORE)


def kneron_contents(source: Source) -> Contents:
    """Of the bundle for ``kneron-kl720``; where it was judged in 8 bits, with what the gate decided.

    Maps are enlarged in two steps, as the vendor's table of operators says, unless the source is asked for one Resize
    that does both, which the vendor's evaluator must decide about.

    Raises:
        UsageError: an input width that the chip does not take.
    """
    if source.info.input_size[1] % 4:
        raise UsageError(f"the KL720 takes inputs whose width is a multiple of 4, got {source.info.input_size[1]}")
    form = graph_form(len(source.info.class_names), one_axis_resize=not source.asked.two_axis_resize)
    held = source.eight_bits
    repaired = held.network if held is not None and held.repaired else None  # the toolchain corrects biases itself
    graph = source.graph(OPSET, form, repaired)
    variant = Variant("int8", GRAPH, "kneron", "int8", "parts", NEF, repaired=repaired, scale=SCALE, offset=OFFSET)
    pictures = calibration_pictures(source)
    analysis = Analysis() if held is None else analysis_of(held)
    decided = json.dumps(analysis.model_dump(), indent=1).encode()
    files = {COMPILE: (FILES / COMPILE).read_bytes(), ANALYSIS: decided, **pictures}
    return Contents({GRAPH: graph}, (variant,), files, readme(len(pictures), analysis))


def calibration_pictures(source: Source) -> dict[str, bytes]:
    """Training pictures, spread over the set, as they enter the network; path in the bundle to JPEG.

    Raises:
        EdgehoneError: there are none.
    """
    samples = source.training
    if not samples:
        raise EdgehoneError("the vendor's calibration needs training pictures, and the data set has none")
    places = np.unique(np.linspace(0, len(samples) - 1, min(CALIBRATION, len(samples))).round().astype(int))
    found: dict[str, bytes] = {}
    for k, place in enumerate(places):
        pixels = cv2.cvtColor(source.prepared(samples[int(place)].read().image), cv2.COLOR_RGB2BGR)
        done, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        assert done
        found[f"calibration/{k:03d}.jpg"] = content.tobytes()
    return found


def readme(pictures: int, analysis: Analysis) -> str:
    """The steps to a NEF and on the host of the board."""
    few = "" if pictures >= ENOUGH else f" (the vendor asks for {ENOUGH}: give more with `--pictures`)"
    return (
        (FILES / "steps.md")
        .read_text(encoding="utf-8")
        .format(pictures=f"{pictures} training pictures{few}", ranges=_ranges(analysis), bits=_bits(analysis))
    )


def _ranges(analysis: Analysis) -> str:
    if analysis.datapath_range_method == "mmse":
        return "Ranges are those of the least squared error (`mmse`)"
    if analysis.percentage < 1:
        return f"Ranges hold {100 * analysis.percentage:g} % of all numbers (`percentage={analysis.percentage:g}`)"
    return "Ranges are not cut (`percentage=1.0`: a detector's largest numbers are its objects)"


def _bits(analysis: Analysis) -> str:
    results = "all" if analysis.datapath_bitwidth_mode == "int8" else "most"
    outputs = analysis.model_out_bitwidth_mode.removeprefix("int")
    return f"{results} results have 8 bits and outputs {outputs}"
