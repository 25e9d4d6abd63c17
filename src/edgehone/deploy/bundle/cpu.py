"""What an ordinary computer gets: the master graph, for ONNX Runtime and OpenVINO; in 8 bits, too, where asked."""

from __future__ import annotations

from typing import Literal

from edgehone.deploy.contents import Contents, Source, Variant

GRAPH, ROUNDED, UNSIGNED = "model.onnx", "model_int8.onnx", "model_uint8.onnx"
"""OpenVINO 2026.4 makes noisier ones of signed numbers (ADR 0038); ONNX Runtime's kernels want signed ones."""

README = """\
1. `pip install numpy opencv-python-headless onnxruntime`
2. `python3 selftest.py`: is everything as it was made?
3. `python3 measure.py`: how long does it take here? `--threads 1 2 4` compares.
4. `python3 detect.py photo.jpg` or a folder, a film, a camera number, an RTSP address.

For OpenVINO instead, which is often faster: `pip install openvino`, then
`cp variants/openvino-fp32.json manifest.json`, and the same three programs.
"""
EIGHT_BITS = """\

The same for `onnxruntime-int8`, `onnxruntime-fp32` and, if it is in `variants`, `openvino-int8`. In 8 bits it is faster
only where the processor multiplies them (on x86: VNNI), and without that sums saturate: `selftest.py` tells.
"""


def cpu_contents(source: Source) -> Contents:
    """Of the bundle for ``cpu``: where it was judged in 8 bits, that graph, too; first if it passed.

    OpenVINO runs it in 8 bits only if its own answers were judged and passed.
    """
    real = (
        Variant("onnxruntime-fp32", GRAPH, "onnxruntime", "fp32"),
        Variant("openvino-fp32", GRAPH, "openvino", "fp32"),
    )
    graphs = {GRAPH: source.graph()}
    if source.eight_bits is None:
        return Contents(graphs, real, readme=README)
    held = source.eight_bits
    whole, graphs[ROUNDED] = (_rounded(source, "onnxruntime", ROUNDED),), source.rounded_graph()
    if held.accuracy is not None and held.accuracy.openvino_passed:
        whole += (_rounded(source, "openvino", UNSIGNED),)
        graphs[UNSIGNED] = source.rounded_graph(unsigned=True)
    variants = (*whole, *real) if held.passed else (*real, *whole)
    return Contents(graphs, variants, readme=README + EIGHT_BITS)


def _rounded(source: Source, runtime: Literal["onnxruntime", "openvino"], graph: str) -> Variant:
    return Variant(f"{runtime}-int8", graph, runtime, "int8", rounded=True, repaired=source.repaired)
