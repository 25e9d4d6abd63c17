"""An ordinary computer: everything is measured, little is forbidden."""

from __future__ import annotations

from edgehone.boards.board import Board, Fact, ImageFormat, Memory, Runtime

_COMPATIBILITY = "onnxruntime.ai, reference/compatibility, as of 1.18"

CPU = Board(
    name="cpu",
    hardware="the processor of this machine",
    runtime="ONNX Runtime",
    runtimes=(
        Runtime(
            version="1.18",
            name="ONNX Runtime 1.18 or later",
            opsets=(7, 21),
            max_ir=10,
            python="3.11 or later",
            source=_COMPATIBILITY,
            sure="known",
        ),
    ),
    default_runtime="1.18",
    precisions=("fp32", "int8"),
    delivered="fp32",
    memory=Memory(total_bytes=None, model_bytes=None, source="the machine's own", sure="known"),
    image_formats=(ImageFormat(name="RGB float32", bits_per_channel=8, exact=True),),
    measured_here=True,
    limits=(
        Fact(
            text="EfficientNMS_TRT is TensorRT's own plug-in and does not run here",
            source="TensorRT plugin/efficientNMSPlugin/README.md, 8.5",
        ),
    ),
    notes=(
        Fact(text="latency is really measured, never estimated", source="edgehone.deploy.latency"),
        Fact(
            text="without VNNI, unsigned by signed 8-bit products may saturate: both are signed here",
            source="ONNX Runtime, quantization guide",
            sure="known",
        ),
    ),
    sources={
        "hardware": "the machine itself",
        "precisions": "ONNX Runtime, quantization guide",
        "image_formats": "edgehone: the graph takes RGB / 255",
    },
)
