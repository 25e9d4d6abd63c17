"""On which device a run trains, and how many trainings its memory holds side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgehone.errors import UsageError
from edgehone.space import Settings, replace
from edgehone.strategy import AUTHORS
from edgehone.training import Job
from edgehone.training.device import CPU, Accelerator, choose_device

STEPS = 4
LARGER = 1.5
"""What a strategy may take beyond the one that is measured: wider layers, an average, a denser assigner."""

WORKERS = 2
"""Side by side on the processor, unless it is said."""

MOST = 8
"""Side by side on a CUDA device, unless it is said: each also needs a core that makes its pictures."""

USABLE = 0.95
"""Of the memory that is free; a little goes to fragments."""


class Placement(Settings):
    """Where a run trains, decided once.

    Attributes:
        device: as torch names it.
        name: of the product; empty for the processor.
        workers: trainings side by side.
        training_bytes: device memory that one training was measured to take; 0 where that decides nothing.
    """

    device: str = CPU
    name: str = ""
    workers: int
    training_bytes: int = 0


def check_placement(device: str, *, deterministic: bool, cluster: bool) -> None:
    """What cannot be promised, or is not there.

    Raises:
        UsageError: another device than the processor where results must repeat to the bit, or on a cluster.
    """
    if not device.startswith("cuda"):
        return
    if deterministic:
        raise UsageError(f"--deterministic repeats to the bit, which only the processor does; got --device {device}")
    if cluster:
        raise UsageError(
            "--ray trains on the processors of a cluster, since the memory of GPUs is measured on this machine alone; "
            f"got --device {device}: leave out one of the two"
        )


def heaviest_job(model: str, max_input: int, device: str) -> Job:
    """A few steps of the largest training that is common."""
    changes = {"input.size": max_input, "augmentation.mosaic.probability": 0.0}
    strategy = replace(AUTHORS, changes)
    return Job(model=model, strategy=strategy, steps=STEPS, batch_size=strategy.optimisation.batch_size, device=device)


def fitting(free_bytes: int, training_bytes: int) -> int:
    """Trainings that the free memory holds; at least one is tried."""
    return max(1, int(USABLE * free_bytes / (LARGER * training_bytes)))


def on_processor(workers: int | None) -> int:
    """Trainings side by side on the processor, of so many as were asked for; 0 is one, in the process itself."""
    return WORKERS if workers is None else max(workers, 1)


def place(
    wanted: str, workers: int | None, found: Sequence[Accelerator], measure: Callable[[Accelerator], int]
) -> Placement:
    """Choose the device; on a CUDA device, measure one training and place as many as its memory holds.

    Args:
        wanted: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        workers: side by side, at most; None for :data:`WORKERS` on the processor, :data:`MOST` on a CUDA device.
        found: CUDA devices of this machine.
        measure: bytes of device memory of one training.

    Raises:
        UsageError: a device that is not here.
    """
    chosen = choose_device(wanted, found)
    if chosen is None:
        return Placement(workers=on_processor(workers))
    most = MOST if workers is None else max(workers, 1)
    if most == 1:  # it is tried, whatever fits
        return Placement(device=chosen.device, name=chosen.name, workers=1)
    taken = max(measure(chosen), 1)
    fits = fitting(chosen.free_bytes, taken)
    return Placement(device=chosen.device, name=chosen.name, workers=min(most, fits), training_bytes=taken)


def still_here(placement: Placement, found: Sequence[Accelerator]) -> Placement:
    """The placement of a run that goes on.

    Raises:
        UsageError: its device is not here.
    """
    choose_device(placement.device, found)
    return placement
