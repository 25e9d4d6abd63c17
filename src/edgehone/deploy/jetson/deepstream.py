"""Files for NVIDIA DeepStream: nvinfer's configuration and the parser of the plug-in's outputs.

Keys: DeepStream developer guide, Gst-nvinfer. Written from it, not run against it.
"""

from __future__ import annotations

from pathlib import Path

from edgehone.deploy.contents import Source
from edgehone.errors import EdgehoneError

FOLDER = "deepstream"
FILES = Path(__file__).parent / "files"
PARSER = "nvdsinfer_edgehone.cpp"
FP16, INT8 = 2, 1


def deepstream_files(source: Source) -> dict[str, bytes]:
    """Path in the bundle to content."""
    files = {name: (FILES / name).read_bytes() for name in (PARSER, "build_parser.sh")}
    files["config_infer.txt"] = config(source).encode()
    files["labels.txt"] = ("\n".join(labels(source)) + "\n").encode()
    return {f"{FOLDER}/{name}": content for name, content in files.items()}


def labels(source: Source) -> list[str]:
    """A class a line.

    Raises:
        EdgehoneError: a name of several lines, which DeepStream would take for several classes.
    """
    broken = [name for name in source.info.class_names if len(name.splitlines()) != 1]
    if broken:
        raise EdgehoneError(f"class names have one line each, got {broken[0]!r}; rename it in the data")
    return list(source.info.class_names)


def config(source: Source) -> str:
    """The configuration of nvinfer, with paths from its own folder."""
    height, width = source.info.input_size
    letterbox = int(source.info.fit == "letterbox")
    calibrated = source.eight_bits is not None
    graph = "" if source.repaired is None else ", onnx-file: ../model_nms_int8.onnx"
    # Version by version the first line of the cache must be the board's own; build_engine.sh writes such a file.
    hint = f"first: bash ../build_engine.sh int8-nms{graph}" if calibrated else "this bundle is not calibrated"
    ranges = "int8-calib-file=../int8-nms.engine.cache\n" if calibrated else ""
    return f"""\
# nvinfer: the detector of this bundle, suppressed by EfficientNMS_TRT inside its engine.
# network-mode: 0 FP32, 1 INT8 ({hint}), 2 FP16
[property]
gpu-id=0
gie-unique-id=1
process-mode=1
network-type=0
batch-size=1
network-mode={FP16}
onnx-file=../model_nms.onnx
model-engine-file=../model_nms.onnx_b1_gpu0_fp16.engine
{ranges}infer-dims=3;{height};{width}
model-color-format=0
net-scale-factor={1 / 255:.10f}
offsets=0;0;0
maintain-aspect-ratio={letterbox}
symmetric-padding={letterbox}
num-detected-classes={len(source.info.class_names)}
labelfile-path=labels.txt
output-blob-names=num_detections;detection_boxes;detection_scores;detection_classes
parse-bbox-func-name=NvDsInferParseEdgehone
custom-lib-path=libnvdsinfer_edgehone.so
# The graph has suppressed already.
cluster-mode=4

[class-attrs-all]
pre-cluster-threshold={source.post.score_threshold}
topk={source.post.limit}
"""
