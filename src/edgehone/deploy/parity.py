"""Do two runtimes say the same?"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from edgehone.inference import OnnxRuntime, TorchRuntime
from edgehone.models import Network
from edgehone.space import Settings


class Parity(Settings):
    """Difference of raw heads between torch and ONNX Runtime, over ``pictures``."""

    max_abs_difference: float
    mean_abs_difference: float
    pictures: int


def logit_parity(network: Network, path: Path, pixels: Tensor) -> Parity:
    """Compare the network (unfolded, fp32) with its export on pictures ``[k, 3, h, w]`` in 0..1."""
    ours, theirs = TorchRuntime(network).heads(pixels), OnnxRuntime(path).heads(pixels)
    differences = torch.cat([(a - b).abs().flatten() for a, b in zip(ours, theirs, strict=True)])
    return Parity(
        max_abs_difference=float(differences.max()), mean_abs_difference=float(differences.mean()), pictures=len(pixels)
    )
