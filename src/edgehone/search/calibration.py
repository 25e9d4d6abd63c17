"""Timing a few steps, with all workers busy, before anything is planned."""

from __future__ import annotations

from edgehone.deploy.latency import cpu_name
from edgehone.inference import Precision
from edgehone.search.placement import Placement
from edgehone.search.plan import Calibration
from edgehone.search.pool import Pool
from edgehone.space import replace
from edgehone.strategy import AUTHORS
from edgehone.training import Job, image_flops
from edgehone.training.device import CPU

SIZE = 224
BATCH = 8
DEVICE_BATCH = 32
"""A GPU is not busy with less; trainings there show more at once."""

STEPS = 7

NOMINAL_SECONDS = 0.03
"""A GFLOP of training in fp32 on one core of a common server."""


def calibrate(workers: Pool, model: str, classes: int, placement: Placement) -> Calibration:
    """Seconds of training per image-GFLOP for one worker on the run's device, in the precision that is faster there."""
    device = placement.device
    batch = BATCH if device == CPU else DEVICE_BATCH
    gflops = image_flops(model, classes, SIZE) / 1e9 * batch
    speeds: dict[Precision, float] = {}
    for precision in _precisions():
        strategy = replace(AUTHORS, {"input.size": SIZE, "augmentation.mosaic.probability": 0.0})
        job = Job(model=model, strategy=strategy, steps=STEPS, batch_size=batch, precision=precision, device=device)
        speeds[precision] = workers.calibrate(job) / gflops
    precision = min(speeds, key=lambda p: speeds[p])
    return Calibration(
        precision=precision,
        seconds_per_gflop=speeds[precision],
        seconds_per_gflop_by_precision={str(p): round(s, 5) for p, s in speeds.items()},
        workers=workers.count,
        cpu=cpu_name(),
        device=device,
        accelerator=placement.name,
    )


def nominal(workers: int) -> Calibration:
    """A machine that is the same everywhere: what a plan is made for that must not depend on this one."""
    return Calibration(
        precision="fp32",
        seconds_per_gflop=NOMINAL_SECONDS,
        seconds_per_gflop_by_precision={},
        workers=workers,
        cpu=f"nominal, {1 / NOMINAL_SECONDS:.0f} GFLOPs of training a second; run on {cpu_name()}",
    )


def _precisions() -> tuple[Precision, ...]:
    """What is timed: where a processor has no bf16 it is emulated, slowly, and the timing says so."""
    return ("bf16", "fp32")
