"""A graph with explicit rounding, executed by OpenVINO on this machine as a bundle's runtime does it."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgehone.deploy.device.runtime.backends import cores
from edgehone.deploy.onnx_graph import INPUT
from edgehone.files import write_bytes


def openvino_here() -> bool:
    """Whether OpenVINO is installed."""
    return find_spec("openvino") is not None


class OpenVinoRuntime:
    """A raw-head graph that takes RGB in 0..1; a runtime of :class:`edgehone.inference.Detector`."""

    def __init__(self, model: onnx.ModelProto) -> None:
        from edgehone.deploy.device.runtime.backends.on_openvino import OpenVinoBackend

        picture = {"scale": 1 / 255, "offset": 0.0}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            write_bytes(path, model.SerializeToString())
            manifest = SimpleNamespace(options={}, model_path=str(path), input_name=INPUT, picture=picture)
            self._backend: Any = OpenVinoBackend(manifest, cores())

    def heads(self, pixels: Tensor) -> list[Tensor]:
        """See :class:`edgehone.inference.Runtime`; the pixels are whole steps of 1/255, as those of pictures are."""
        planes = (pixels * 255).round().to(torch.uint8).contiguous()
        each = [self._answers(np.ascontiguousarray(one[None].numpy())) for one in planes]
        return [torch.cat(parts) for parts in zip(*each, strict=True)]

    def _answers(self, planes: NDArray[np.uint8]) -> list[Tensor]:
        """Of one picture, copied: the backend writes the next ones into the same arrays."""
        return [torch.from_numpy(np.array(values)) for values in self._backend.run(planes).values()]
