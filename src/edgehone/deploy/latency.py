"""How long a graph takes on this machine, really measured."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edgehone.boards import LatencyEstimate
from edgehone.inference import OnnxRuntime
from edgehone.space import Settings

WARM_UP_RUNS = 5


class Latency(Settings):
    """Milliseconds of one picture, batch 1, without pre- and post-processing.

    Attributes:
        p50_ms: median; likewise the 90th and 99th percentile and the mean.
        runs: timed.
        threads: used.
        runtime: name and version.
        cpu: its name.
        memory_mib: most memory of a process that does nothing else, beyond the bare interpreter; None: not measured.
    """

    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    runs: int
    threads: int
    runtime: str
    cpu: str
    memory_mib: float | None = None


def latency_text(latency: Latency | LatencyEstimate) -> tuple[str, str]:
    """A latency for people, and where it comes from: an interval, never a number, where it was not measured."""
    if isinstance(latency, LatencyEstimate):
        return f"{latency.low_ms:.1f} to {latency.high_ms:.1f} ms", latency.because
    note = f"90th percentile {latency.p90_ms:.1f} ms; batch 1, {latency.threads} threads, {latency.runtime}"
    note += "" if latency.memory_mib is None else f"; {latency.memory_mib:.0f} MiB"
    return f"{latency.p50_ms:.1f} ms", note


def measure_latency(path: Path, *, threads: int, seconds: float) -> Latency:
    """Run a graph on noise for ``seconds`` with ``threads`` threads of ONNX Runtime."""
    session = OnnxRuntime(path, threads).session
    shape = session.get_inputs()[0].shape
    feed: dict[str, Any] = {"images": np.random.default_rng(0).random(shape, np.float32)}
    runtime = f"ONNX Runtime {onnxruntime.__version__}"
    return latency_of(lambda: session.run(None, feed), runtime, threads=threads, seconds=seconds)


def latency_of(run: Callable[[], object], runtime: str, *, threads: int, seconds: float) -> Latency:
    """Of a call that looks at one picture, repeated for ``seconds``; ``runtime``: name and version of what it calls."""
    for _ in range(WARM_UP_RUNS):
        run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not times:
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    p50, p90, p99 = (round(float(v), 3) for v in np.percentile(times, [50, 90, 99]))
    return Latency(
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        mean_ms=round(float(np.mean(times)), 3),
        runs=len(times),
        threads=threads,
        runtime=runtime,
        cpu=cpu_name(),
    )


def cpu_name() -> str:
    """The processor's name."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
