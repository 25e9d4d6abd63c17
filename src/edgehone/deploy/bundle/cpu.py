"""What an ordinary computer gets: the master graph, for ONNX Runtime and OpenVINO; in 8 bits, too, where asked."""

from __future__ import annotations

from edgehone.deploy.contents import Contents, Source, Variant

GRAPH, ROUNDED = "model.onnx", "model_int8.onnx"

README = """\
1. `pip install numpy opencv-python-headless onnxruntime`
2. `python3 selftest.py`: is everything as it was made?
3. `python3 measure.py`: how long does it take here? `--threads 1 2 4` compares.
4. `python3 detect.py photo.jpg` or a folder, a film, a camera number, an RTSP address.

For OpenVINO instead, which is often faster: `pip install openvino`, then
`cp variants/openvino-fp32.json manifest.json`, and the same three programs.
"""
EIGHT_BITS = """\

The same for `onnxruntime-int8` and `onnxruntime-fp32`. In 8 bits it is faster only where the processor multiplies them
(on x86: VNNI), and without that its sums saturate: `selftest.py` tells.
"""


def cpu_contents(source: Source) -> Contents:
    """Of the bundle for ``cpu``: where it was judged in 8 bits, that graph, too; first if it passed."""
    real = (
        Variant("onnxruntime-fp32", GRAPH, "onnxruntime", "fp32"),
        Variant("openvino-fp32", GRAPH, "openvino", "fp32"),
    )
    graphs = {GRAPH: source.graph()}
    if source.eight_bits is None:
        return Contents(graphs, real, readme=README)
    whole = (Variant("onnxruntime-int8", ROUNDED, "onnxruntime", "int8", rounded=True, repaired=source.repaired),)
    variants = (*whole, *real) if source.eight_bits.passed else (*real, *whole)
    return Contents({**graphs, ROUNDED: source.rounded_graph()}, variants, readme=README + EIGHT_BITS)
