"""What a detector said where its bundle was made: the file ``golden.npz``, for the self-test on the board."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehone.types import Detections

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every entry, so that equal arrays are equal bytes."""


@dataclass(frozen=True)
class GoldenPicture:
    """One picture and all that should come of it.

    Attributes:
        picture: ``[h, w, 3]`` uint8 RGB.
        prepared: ``[height, width, 3]`` uint8 RGB, in the network input.
        outputs: the graph's raw outputs by name, float32; none where a graph suppresses by itself.
        detections: in the picture's pixels, with the manifest's thresholds.
    """

    picture: NDArray[np.uint8]
    prepared: NDArray[np.uint8]
    outputs: Mapping[str, NDArray[np.float32]]
    detections: Detections


def golden_bytes(pictures: Sequence[GoldenPicture]) -> bytes:
    """The content of ``golden.npz``; its layout is described in the device runtime's module ``golden``."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for k, golden in enumerate(pictures):
        arrays[f"picture_{k}"] = golden.picture
        arrays[f"input_{k}"] = golden.prepared
        arrays |= {f"output_{k}_{name}": values for name, values in golden.outputs.items()}
        arrays[f"boxes_{k}"] = golden.detections.boxes_xyxy
        arrays[f"scores_{k}"] = golden.detections.scores
        arrays[f"classes_{k}"] = golden.detections.classes
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", EPOCH), content.getvalue(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
