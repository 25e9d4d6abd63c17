"""What an ordinary computer gets: the master graph, for ONNX Runtime and OpenVINO."""

from __future__ import annotations

from edgehone.deploy.contents import Contents, Source, Variant

GRAPH = "model.onnx"

README = """\
1. `pip install numpy opencv-python-headless onnxruntime`
2. `python3 selftest.py`: is everything as it was made?
3. `python3 measure.py`: how long does it take here? `--threads 1 2 4` compares.
4. `python3 detect.py photo.jpg` or a folder, a film, a camera number, an RTSP address.

For OpenVINO instead, which is often faster: `pip install openvino`, then
`cp variants/openvino-fp32.json manifest.json`, and the same three programs.
"""


def cpu_contents(source: Source) -> Contents:
    """Of the bundle for ``cpu``."""
    variants = (
        Variant("onnxruntime-fp32", GRAPH, "onnxruntime", "fp32"),
        Variant("openvino-fp32", GRAPH, "openvino", "fp32"),
    )
    return Contents({GRAPH: source.graph()}, variants, readme=README)
