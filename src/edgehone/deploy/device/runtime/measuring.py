"""The command ``measure.py``: latency on this board, for people and as ``measured.json`` for the search."""
# pyright: basic

import argparse
import json
import os
import re
import subprocess
import sys
import time

import numpy as np

from .backends import cores, open_backend
from .detector import Detector
from .faults import DeviceError, log
from .golden import read_golden
from .manifest import read_manifest
from .memory import needed_mib
from .timing import Times, percentiles

SCHEMA = 1
CPU_RUNTIMES = ("onnxruntime", "openvino")


class Timing:
    """How long one setting took.

    Attributes:
        threads: of a CPU runtime, else None.
        runtime: name and version.
        includes: what ``seconds`` hold beside the network.
        seconds: of each run of the network alone.
        stages: durations of preparing and decoding, too.
        npu_ms: of an accelerator alone, as it says itself; None where it does not.
    """

    def __init__(self, threads, backend, seconds, stages, npu_ms):
        self.threads = threads
        self.runtime = backend.name
        self.includes = backend.includes
        self.seconds = seconds
        self.stages = stages
        self.npu_ms = npu_ms

    def row(self):
        """As plain values."""
        p99 = round(float(np.percentile(self.seconds, 99)) * 1000, 3)
        network = dict(percentiles(self.seconds), p99_ms=p99, mean_ms=round(1000 * float(np.mean(self.seconds)), 3))
        found = {"runtime": self.runtime, "threads": self.threads, "network": network, "stages": self.stages}
        return dict(found, npu_ms=self.npu_ms) if self.npu_ms is not None else found


def main(folder, arguments=None):
    """Run; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        manifest = read_manifest(folder)
        picture = golden_or_noise(manifest)
        counts = (options.threads or [cores()]) if manifest.runtime in CPU_RUNTIMES else [None]
        timings = [timed(manifest, picture, threads, options) for threads in counts]
        best = min(timings, key=lambda timing: float(np.median(timing.seconds)))
        path = options.out or os.path.join(folder, "measured.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(measured(manifest, best), file, indent=2)
            file.write("\n")
    except (DeviceError, OSError) as error:
        log(f"error: {error}")
        return 1
    rows = [dict(timing.row(), **memory(manifest, timing.threads)) for timing in timings]
    if options.json:
        sys.stdout.write(json.dumps({"timings": rows, "written": path}, indent=1) + "\n")
    else:
        sys.stdout.write("\n".join(_line(row) for row in rows) + f"\nwritten: {path}\n")
    return 0


def memory(manifest, threads):
    """``{"memory_mib": ...}`` of a CPU runtime, where the system tells."""
    needed = None if threads is None else needed_mib(manifest, threads)
    return {} if needed is None else {"memory_mib": needed}


def golden_or_noise(manifest):
    """A picture to work on, BGR."""
    if manifest.golden_path and os.path.isfile(manifest.golden_path):
        goldens = read_golden(manifest.golden_path)
        if goldens:
            return goldens[0].picture
    height, width = manifest.input_size
    return np.random.RandomState(0).randint(0, 256, (height, width, 3)).astype(np.uint8)


def timed(manifest, picture, threads, options):
    """One setting, timed."""
    backend = open_backend(manifest, threads or 0)
    times = Times()
    detector = Detector(manifest, backend, times)
    try:
        prepared = detector.input_of(detector.preparation.picture(picture))
        for _ in range(options.warm_up):
            backend.run(prepared)
        seconds = []
        for _ in range(options.runs):
            start = time.perf_counter()
            backend.run(prepared)
            seconds.append(time.perf_counter() - start)
        for _ in range(min(options.runs, 50)):
            detector.detect(picture)
        npu_ms = backend.npu_ms(prepared, 20) if hasattr(backend, "npu_ms") else None
    finally:
        backend.close()
    return Timing(threads, backend, seconds, times.summary(), npu_ms)


def measured(manifest, timing):
    """The content of ``measured.json``, in the shape that edgehone reads."""
    spread = percentiles(timing.seconds)
    threads = "" if timing.threads is None else f" ({timing.threads} threads)"
    one = {
        "network": manifest.network.get("name", os.path.basename(manifest.model_path)),
        "fingerprint": manifest.network.get("fingerprint", ""),
        "precision": manifest.precision,
        "input_size": list(manifest.input_size),
        "p50_ms": spread["p50_ms"],
        "p90_ms": spread["p90_ms"],
        "includes": timing.includes,
        "runs": spread["count"],
        "layers": manifest.network.get("layers", []),
    }
    if timing.npu_ms is not None:
        one["npu_ms"] = round(timing.npu_ms, 3)
    return {
        "schema": SCHEMA,
        "board": manifest.board,
        "runtime": timing.runtime + threads,
        "power_mode": power_mode(),
        "measurements": [one],
    }


def power_mode():
    """The clocks that a Jetson is set to, as ``15W_2CORE``; "" elsewhere, and where ``nvpmodel`` does not say."""
    try:
        told = subprocess.Popen(["nvpmodel", "-q"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        text = told.communicate(timeout=10)[0].decode("utf-8", "replace")
    except OSError:
        return ""
    except subprocess.TimeoutExpired:
        told.kill()
        return ""
    found = re.search(r"NV Power Mode:\s*(?:MODE_)?(\S+)", text)
    return found.group(1) if found else ""


def _line(row):
    threads = "" if row["threads"] is None else " {} threads".format(row["threads"])
    spread = "p50 {p50_ms:.2f} ms, p90 {p90_ms:.2f}, p99 {p99_ms:.2f}, mean {mean_ms:.2f}".format(**row["network"])
    stages = ", ".join("{} {:.2f}".format(name, stage["p50_ms"]) for name, stage in row["stages"].items())
    npu = "; NPU alone {:.2f} ms".format(row["npu_ms"]) if "npu_ms" in row else ""
    npu += "; {:.0f} MiB".format(row["memory_mib"]) if "memory_mib" in row else ""
    return "{}{}: {} (network alone, batch 1){}; stages p50 ms: {}".format(row["runtime"], threads, spread, npu, stages)


def _count(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"at least 1, got {text}")
    return value


def _parser():
    parser = argparse.ArgumentParser(prog="measure.py", description="Time the detector on this board.")
    parser.add_argument("--runs", type=_count, default=200, help="timed (default: 200)")
    parser.add_argument("--warm-up", type=_count, default=20, help="before them (default: 20)")
    parser.add_argument("--threads", type=_count, nargs="+", metavar="N", help="of a CPU runtime, several to compare")
    parser.add_argument("--out", metavar="FILE", help="default: measured.json in the bundle")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser
