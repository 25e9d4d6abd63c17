"""Where a training calculates: on the processor, or on a CUDA device."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from edgehone.errors import UsageError

CPU = "cpu"


@dataclass(frozen=True)
class Accelerator:
    """A CUDA device of this machine.

    Attributes:
        device: as torch names it, ``cuda:0``.
        name: of the product.
        free_bytes: of its memory, now.
    """

    device: str
    name: str
    free_bytes: int


def accelerators() -> list[Accelerator]:
    """Every CUDA device that torch can use here."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [
        Accelerator(f"cuda:{k}", torch.cuda.get_device_name(k), int(torch.cuda.mem_get_info(k)[0]))
        for k in range(count)
    ]


def check_device(wanted: str) -> None:
    """Whether this names a device, on whatever machine.

    Raises:
        UsageError: it does not.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", wanted):
        raise UsageError(f"--device is auto, cpu, cuda or cuda:NUMBER; got {wanted!r}")


def device_here(wanted: str) -> str:
    """The device of this machine that is asked for, as torch names it; see :func:`choose_device`."""
    chosen = choose_device(wanted, accelerators())
    return CPU if chosen is None else chosen.device


def choose_device(wanted: str, found: Sequence[Accelerator]) -> Accelerator | None:
    """The device that is asked for, None for the processor; ``auto`` is the first CUDA device, if there is one.

    Raises:
        UsageError: not a device, or one that is not here.
    """
    check_device(wanted)
    if wanted == CPU or (wanted == "auto" and not found):
        return None
    device = "cuda:0" if wanted in ("auto", "cuda") else wanted
    for each in found:
        if each.device == device:
            return each
    here = ", ".join(each.device for each in found) or "none that torch can use"
    raise UsageError(f"--device {wanted} needs that CUDA device, and here there is {here}; give --device cpu")
