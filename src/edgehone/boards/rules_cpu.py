"""What ONNX Runtime runs on a processor: ONNX's own operators, without exception."""

from __future__ import annotations

from edgehone.boards.rule import ANY, OperatorRule

CPU_RULES = (
    OperatorRule(
        operator=ANY,
        board="cpu",
        way_round="leave out plug-ins of other runtimes",
        source="onnxruntime.ai, reference/compatibility, as of 1.18",
    ),
    OperatorRule(
        operator="EfficientNMS_TRT",
        board="cpu",
        supported=False,
        because="it is a plug-in of TensorRT",
        way_round="use the graph with raw heads and suppress on the host",
        source="TensorRT plugin/efficientNMSPlugin/README.md, 8.5",
    ),
)
