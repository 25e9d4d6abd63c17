"""TensorRT's calibration cache, written on the host.

The text: a line ``TRT-8001-EntropyCalibration2`` (version 8.0.1), then for every tensor ``name: 3c010a14``, the
big-endian IEEE 754 single of its step, amax / 127. A tensor with a line may be calculated in 8 bits, one without may
not (before TensorRT 8.4 there is no other way to say so): what decodes boxes behind the raw heads has none.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence

import onnx

from edgehone.deploy.onnx_graph import whole_name
from edgehone.errors import EdgehoneError

LEVELS = 127
HEADER = re.compile(r"TRT-(\d{4,5})-EntropyCalibration2")
LINE = re.compile(r"(.+): ([0-9a-f]{8})")


def calibrated_tensors(model: onnx.ModelProto) -> list[str]:
    """Every tensor of a raw-head graph that holds what was calculated, the input first."""
    constants = {item.name for item in model.graph.initializer}
    inputs = [item.name for item in model.graph.input if item.name not in constants]
    return inputs + [name for node in model.graph.node for name in node.output if name]


def range_of(tensor: str, amax: Mapping[str, float]) -> float:
    """Largest magnitude that 8 bits must hold in a tensor; parts of one have that of the whole.

    A tensor that is always zero has the range 1: a step of zero is none.

    Raises:
        EdgehoneError: there is none, or it is no magnitude.
    """
    found = amax.get(tensor, amax.get(whole_name(tensor)))
    if found is None:
        raise EdgehoneError(f"every tensor needs a range for 8 bits, {tensor} has none among {len(amax)}; calibrate it")
    if not 0 <= found < float("inf"):
        raise EdgehoneError(f"a range is a finite magnitude, that of {tensor} is {found}; calibrate again")
    return found or 1.0


def cache_text(tensors: Sequence[str], amax: Mapping[str, float], version: str = "8.0.1") -> str:
    """The content of a cache.

    Args:
        tensors: that it covers.
        amax: tensor name to its largest magnitude.
        version: of TensorRT; the board's own goes into the first line there, by the build script.

    Raises:
        EdgehoneError: a tensor without a range.
    """
    lines = [f"TRT-{version_number(version)}-EntropyCalibration2"]
    lines += [f"{name}: {struct.pack('>f', range_of(name, amax) / LEVELS).hex()}" for name in tensors]
    return "\n".join(lines) + "\n"


def read_cache(text: str) -> dict[str, float]:
    """Tensor name to step.

    Raises:
        EdgehoneError: not of the documented form, with the line.
    """
    lines = text.splitlines()
    if not lines or HEADER.fullmatch(lines[0]) is None:
        raise EdgehoneError(f"a calibration cache begins like TRT-8001-EntropyCalibration2, got {lines[:1]}")
    steps: dict[str, float] = {}
    for number, line in enumerate(lines[1:], 2):
        found = LINE.fullmatch(line)
        if found is None or found[1] in steps:
            raise EdgehoneError(
                f"line {number} of a calibration cache is `tensor: 8 hex digits`, once each; got {line!r}"
            )
        steps[found[1]] = struct.unpack(">f", bytes.fromhex(found[2]))[0]
    return steps


def version_number(version: str) -> str:
    """As the first line counts: 7103 for 7.1.3, 8502 for 8.5.2."""
    major, minor, patch = (int(part) for part in version.split(".")[:3])
    return str(1000 * major + 100 * minor + patch)
