"""The outcome of the gate in words."""

from __future__ import annotations

from collections.abc import Iterator

from edgehone.deploy.integer.accuracy import IntegerAccuracy
from edgehone.deploy.integer.gate import describe_attempt
from edgehone.deploy.integer.noise import ENOUGH_DB, Noise
from edgehone.deploy.integer.scheme import ACCUMULATOR

WORST = 5


def describe(found: IntegerAccuracy) -> Iterator[str]:
    """Lines for a person: AP, what was needed, how loud the noise is, which layers make it."""
    verdict = found.verdict
    yield (
        f"{found.board}: AP {found.ap_real:.4f} in fp32, {found.ap_plain:.4f} in 8 bits, {found.ap:.4f} as repaired "
        f"({found.pictures} pictures of {found.split})"
    )
    if found.ap_executed is not None:
        yield f"  executed by ONNX Runtime: {found.ap_executed:.4f}"
    if found.by_openvino is not None:
        yield f"  executed by OpenVINO: {describe_attempt(found.by_openvino)}"
    for attempt in verdict.attempts:
        yield f"  tried: {describe_attempt(attempt)}"
    outcome = "passed with" if verdict.passed else "did not pass; the best was"
    yield f"  {outcome} {verdict.chosen.detail} (at most {100 * verdict.max_drop:.2f} points of {verdict.ap_real:.4f})"
    yield from _noise(found.noise)
    fits = "fits" if found.largest_sum <= ACCUMULATOR else "does not fit"
    yield f"  largest sum that any picture can make: {found.largest_sum:.4g}, which {fits} 32 bits"
    yield from (f"  assumed: {text}" for text in found.assumptions)


def _noise(noise: Noise) -> Iterator[str]:
    outputs = ", ".join(f"{name} {decibels:.1f}" for name, decibels in noise.outputs.items())
    yield f"  signal over noise in dB (at least {ENOUGH_DB:.0f} wanted): {outputs}"
    worst = ", ".join(f"{layer.name} {layer.alone_db:.1f}" for layer in noise.layers[:WORST])
    yield f"  loudest layers, each alone: {worst}"
