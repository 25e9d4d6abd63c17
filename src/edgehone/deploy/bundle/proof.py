"""Does every graph of a bundle say what the trained network says? Checked on the host, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgehone.boards import BOARDS, CheckOptions, require_runnable
from edgehone.deploy.contents import Contents, Said, Source, Variant
from edgehone.deploy.graph_nodes import describe_graph
from edgehone.deploy.jetson.efficient_nms import BOXES, SCORES
from edgehone.deploy.onnx_graph import INPUT, PARTS, output_name, part_channels
from edgehone.deploy.plugin import before_plugin, has_plugin
from edgehone.errors import EdgehoneError
from edgehone.inference import TorchRuntime
from edgehone.types import Json

MAX_DIFFERENCE = 1e-3
"""Of raw heads and scores; of boxes in parts of the input's longer side."""

Outputs = dict[str, NDArray[np.float32]]

Run = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[Any]]]
"""A picture in the network input, ``[height, width, 3]`` uint8 RGB, to a graph's outputs by name."""


def expected(source: Source, heads: list[Tensor], says: Said) -> Outputs:
    """What a graph should say of one picture, from the network's raw heads."""
    strides = source.info.graph().strides
    if says == "raw":
        return {output_name(stride): head.numpy() for stride, head in zip(strides, heads, strict=True)}
    if says == "parts":
        found: Outputs = {}
        for stride, head in zip(strides, heads, strict=True):
            channels = part_channels(head.shape[1], len(source.info.class_names))
            found |= {output_name(stride, part): head.numpy()[:, channels[part]] for part in PARTS}
        return found
    said = source.info.predictions(heads, source.info.lattice())
    joint = said.objectness_logits.sigmoid()[..., None] * said.class_logits.sigmoid()
    return {BOXES: said.boxes_xyxy.numpy(), SCORES: joint.numpy()}


def prove_graphs(board_name: str, source: Source, contents: Contents) -> dict[str, dict[str, Json]]:
    """Check every graph of a bundle; what was found, by file name.

    Raises:
        EdgehoneError: one is not valid, does not run on the board, or does not say what the network says.
    """
    says = {variant.graph: variant for variant in reversed(contents.variants)}
    return {name: _prove(board_name, source, model, says[name]) for name, model in contents.graphs.items()}


def _prove(board_name: str, source: Source, model: onnx.ModelProto, variant: Variant) -> dict[str, Json]:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise EdgehoneError(
            f"{variant.graph} is no valid graph: a defect of edgehone, please report it: {error}"
        ) from None
    options = CheckOptions(two_axis_resize=source.asked.two_axis_resize)
    require_runnable(describe_graph(model), BOARDS[board_name], options)
    differences, noise = compare(source, variant, _runner(model, variant))
    found: dict[str, Json] = {
        "opset": next(item.version for item in model.opset_import if item.domain == ""),
        "ir_version": model.ir_version,
        "checked": "onnx.checker, shape inference, operator rules",
        "pictures": len(source.golden),
    }
    if variant.rounded:
        return {**found, "signal_to_noise_db": noise}
    if variant.repaired is not None:
        found |= {"signal_to_noise_db": noise}
    require_equal(variant.graph, differences)
    return {**found, "max_abs_difference": differences}


def require_equal(name: str, differences: Mapping[str, float]) -> None:
    """Refuse what does not say what its network says.

    Raises:
        EdgehoneError: an output differs by more than :data:`MAX_DIFFERENCE`.
    """
    worst = max(differences.values(), default=0.0)
    if not worst <= MAX_DIFFERENCE:
        raise EdgehoneError(
            f"a graph may differ by {MAX_DIFFERENCE} from its network, {name} differed by {worst:.2g}: a "
            "defect of edgehone, please report it"
        )


def compare(source: Source, variant: Variant, run: Run) -> tuple[dict[str, float], dict[str, float]]:
    """By output, the largest difference and the signal-to-noise ratio in dB, over the golden pictures.

    Of a graph with changed weights the difference is from the network of these; the noise is always from the trained.
    """
    trained = source.detector.runtime
    held = trained if variant.repaired is None else TorchRuntime(variant.repaired)
    worst, signal, error = (dict[str, float]() for _ in range(3))
    for image in source.golden:
        content = source.prepared(image)
        pixels = torch.from_numpy(content).permute(2, 0, 1)[None].float() / 255
        wanted = same = expected(source, trained.heads(pixels), variant.says)
        if held is not trained:
            same = expected(source, held.heads(pixels), variant.says)
        for name, got in run(content).items():
            difference = np.asarray(got, np.float64) - wanted[name]
            whole = max(source.info.input_size) if name == BOXES else 1
            worst[name] = max(worst.get(name, 0.0), float(np.abs(got - same[name]).max()) / whole)
            signal[name] = signal.get(name, 0.0) + float(np.square(wanted[name], dtype=np.float64).sum())
            error[name] = error.get(name, 0.0) + float(np.square(difference).sum())
    return worst, _decibels(signal, error)


def _runner(model: onnx.ModelProto, variant: Variant) -> Run:
    """ONNX Runtime, up to the plug-in where there is one."""
    session = _session((before_plugin(model) if has_plugin(model) else model).SerializeToString())
    names = [item.name for item in session.get_outputs()]

    def run(content: NDArray[np.uint8]) -> Outputs:
        fed = content.transpose(2, 0, 1)[None].astype(np.float32) * np.float32(variant.scale) + variant.offset
        return dict(zip(names, session.run(names, {INPUT: fed.astype(np.float32)}), strict=True))

    return run


def _session(content: bytes) -> Any:
    options = cast(Any, onnxruntime).SessionOptions()
    options.log_severity_level = 3
    return cast(Any, onnxruntime).InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _decibels(signal: Mapping[str, float], error: Mapping[str, float]) -> dict[str, float]:
    return {k: round(10 * float(np.log10((signal[k] + 1e-12) / (error[k] + 1e-12))), 1) for k in signal}
