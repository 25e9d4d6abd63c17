"""How long each stage takes."""
# pyright: basic

import time
from collections import deque

import numpy as np

STAGES = ("capture", "prepare", "infer", "decode", "draw", "encode", "write")
"""The last three are those of the outputs: boxes into the picture; JSON, JPEG or a video's frame; to file or stream.
OpenCV encodes and writes a video's frame in one call, which counts as ``encode``."""
KEPT = 2000


class Times:
    """The latest durations of each stage, in seconds."""

    def __init__(self):
        self._seconds = {stage: deque(maxlen=KEPT) for stage in STAGES}

    def add(self, stage, seconds):
        """One duration."""
        self._seconds[stage].append(seconds)

    def lap(self, stage, start):
        """The time since ``start`` belongs to ``stage``; returns the time now."""
        now = time.perf_counter()
        self.add(stage, now - start)
        return now

    def summary(self):
        """``{stage: {"p50_ms", "p90_ms", "count"}}`` of the stages that happened."""
        taken = {stage: list(seconds) for stage, seconds in self._seconds.items()}
        return {stage: percentiles(taken[stage]) for stage in STAGES if taken[stage]}

    def __str__(self):
        rows = ["{:<8} {p50_ms:8.2f} {p90_ms:8.2f}".format(stage, **row) for stage, row in self.summary().items()]
        return "\n".join(["stage      p50 ms   p90 ms", *rows])


def percentiles(seconds):
    """Median and 90th percentile in milliseconds, and how many there were."""
    p50, p90 = np.percentile(np.array(seconds) * 1000, [50, 90])
    return {"p50_ms": round(float(p50), 3), "p90_ms": round(float(p90), 3), "count": len(seconds)}
