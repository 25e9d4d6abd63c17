"""Do two runtimes say the same?"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from edgehone.errors import EdgehoneError
from edgehone.inference import OnnxRuntime, TorchRuntime
from edgehone.models import Network
from edgehone.space import Settings


class Parity(Settings):
    """Difference of raw heads between torch and ONNX Runtime, over ``pictures``."""

    max_abs_difference: float
    mean_abs_difference: float
    pictures: int


def logit_parity(network: Network, path: Path, pixels: Tensor) -> Parity:
    """Compare the network (unfolded, fp32) with its export on pictures ``[k, 3, h, w]`` in 0..1.

    Raises:
        EdgehoneError: a head holds NaN or infinity, in either runtime.
    """
    ours, theirs = TorchRuntime(network).heads(pixels), OnnxRuntime(path).heads(pixels)
    differences = torch.cat([(a - b).abs().flatten() for a, b in zip(ours, theirs, strict=True)])
    if not bool(differences.isfinite().all()):
        where = "network" if not all(bool(head.isfinite().all()) for head in ours) else "export"
        raise EdgehoneError(
            f"raw heads must be finite, those of the {where} are not ({path}): its training diverged, or a weight is "
            "damaged; train again"
        )
    return Parity(
        max_abs_difference=float(differences.max()), mean_abs_difference=float(differences.mean()), pictures=len(pixels)
    )
