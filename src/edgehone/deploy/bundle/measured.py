"""The variants of a bundle that run on this machine: by the bundle's own runtime compared, timed and weighed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehone.deploy.bundle.found import MeasuredVariant
from edgehone.deploy.bundle.manifest import manifest_of
from edgehone.deploy.bundle.proof import compare, require_equal
from edgehone.deploy.contents import Contents, Source, Variant
from edgehone.deploy.device.runtime.backends import open_backend  # pyright: ignore[reportUnknownVariableType]
from edgehone.deploy.device.runtime.detector import Detector
from edgehone.deploy.device.runtime.faults import DeviceError
from edgehone.deploy.device.runtime.manifest import Manifest
from edgehone.deploy.device.runtime.measuring import CPU_RUNTIMES
from edgehone.deploy.device.runtime.memory import needed_mib  # pyright: ignore[reportUnknownVariableType]
from edgehone.deploy.latency import Latency, core_count, latency_of
from edgehone.errors import EdgehoneError
from edgehone.files import write_bytes


def installed(runtime: str) -> bool:
    """Whether a runtime of ordinary computers is here."""
    return runtime in CPU_RUNTIMES and find_spec(runtime) is not None


def measure_variants(board: str, source: Source, contents: Contents, seconds: float) -> tuple[MeasuredVariant, ...]:
    """All variants of a bundle, in their order; ``seconds`` each for one thread and for all.

    Raises:
        EdgehoneError: a runtime that is installed does not read a graph, or does not say what the network says.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, model in contents.graphs.items():
            write_bytes(Path(folder) / name, model.SerializeToString())
        try:
            return tuple(
                _measured(source, variant, manifest, seconds)
                if installed(variant.runtime)
                else MeasuredVariant(variant=variant.name, not_measured=f"{variant.runtime} is not installed")
                for variant, manifest in _manifests(board, source, contents, folder)
            )
        except DeviceError as error:
            raise EdgehoneError(str(error)) from None


def _manifests(board: str, source: Source, contents: Contents, folder: str) -> Iterator[tuple[Variant, Any]]:
    for variant in contents.variants:
        content = manifest_of(board, source, variant, contents.graphs[variant.graph], "")
        yield variant, Manifest(folder, {**content, "files": {variant.graph: ""}, "golden": {}})


def _measured(source: Source, variant: Variant, manifest: Any, seconds: float) -> MeasuredVariant:
    counts = sorted({1, core_count()})
    latencies = [_latency(manifest, source, threads, seconds) for threads in counts]
    backend: Any = open_backend(manifest, counts[-1])
    detector: Any = Detector(manifest, backend)
    differences, noise = compare(source, variant, lambda rgb: backend.run(detector.input_of(_bgr(rgb))))
    backend.close()
    if not variant.rounded:
        require_equal(f"{variant.graph} by {variant.runtime}", differences)
    return MeasuredVariant(
        variant=variant.name,
        latencies=tuple(latencies),
        max_abs_difference={} if variant.rounded else differences,
        signal_to_noise_db=noise,
    )


def _latency(manifest: Any, source: Source, threads: int, seconds: float) -> Latency:
    backend: Any = open_backend(manifest, threads)
    detector: Any = Detector(manifest, backend)
    prepared = detector.input_of(_bgr(source.prepared(source.golden[0])))
    found = latency_of(lambda: backend.run(prepared), backend.name, threads=threads, seconds=seconds)
    backend.close()
    return found.model_copy(update={"memory_mib": needed_mib(manifest, threads)})


def _bgr(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As the device runtime has pictures."""
    return np.ascontiguousarray(rgb[..., ::-1])
