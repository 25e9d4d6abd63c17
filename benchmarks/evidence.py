"""What the benchmarks leave behind: small files below ``recorded``, each written as soon as its piece is finished.

The folders of runs vanish with the machine they were made on; these files are committed, and what they hold is not
measured again. Whoever wants a piece anew deletes its file. Each says by which version, when and on what it was made.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

from scipy.stats import t as student

import edgehone
from edgehone.deploy.latency import cpu_name
from edgehone.files import read_json, write_json
from edgehone.search.processes import end_with
from edgehone.space import diff, replace
from edgehone.strategy import Strategy

RECORDED = Path(__file__).parent / "recorded"
DEFAULT_MODEL = "yolov4-tiny"
UNFINISHED = 3
"""Exit code while something is left for another slice."""

PATIENCE_S = 180
"""For an interrupted command to put down its work."""

Row = dict[str, Any]


def of_model(model: str) -> str:
    """Part of a file's name: nothing for the default model, else what tells another one from it."""
    return "" if model == DEFAULT_MODEL else f"-{Path(model).stem}"


class SliceOver(Exception):
    """The time of this slice is used up; what is finished is kept."""


class Slice:
    """The time in which a script works."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    def check(self, *anything: object) -> None:
        """Between two pieces of work, or told of progress in the midst of one.

        Raises:
            SliceOver: the time is used up.
        """
        if time.monotonic() > self.end:
            raise SliceOver

    def edgehone(self, words: Sequence[str]) -> None:
        """Run the command to its end, or interrupt it when the slice ends: given again, it goes on where it was.

        Raises:
            SliceOver: it was interrupted.
        """
        self.check()
        process = subprocess.Popen([str(Path(sys.executable).with_name("edgehone")), *words])
        try:
            code = process.wait(max(0.0, self.end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)
            raise SliceOver from None
        if code:
            sys.exit(f"edgehone {words[0]} ended with code {code}")


def pool(workers: int) -> ProcessPoolExecutor:
    """Processes that compute side by side, and end where this one is killed."""
    spawned = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, spawned, initializer=end_with, initargs=(os.getpid(),))


def stop(left: object = "") -> None:
    """Say that a slice is over, and end."""
    print(f"the slice is over; give the same command again {left}".rstrip())
    sys.exit(UNFINISHED)


def stamp() -> Row:
    """By which version, when, on what."""
    return {"edgehone": edgehone.__version__, "commit": commit(), "date": date.today().isoformat(), "cpu": cpu_name()}


def commit() -> str:
    """Of the source, with a mark where code was changed since; empty where it is not a checkout."""
    here = Path(__file__).parent
    asked = (["git", "rev-parse", "--short", "HEAD"], ["git", "diff", "--quiet", "HEAD", "--", "../src", "*.py"])
    try:
        head, changes = (subprocess.run(w, cwd=here, capture_output=True, text=True, check=False) for w in asked)
    except OSError:
        return ""
    return head.stdout.strip() + ("-changed" if changes.returncode == 1 else "")


def recorded(path: Path) -> Row | None:
    """What a file holds; None where there is none."""
    return read_json(path) if path.is_file() else None


def record(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file whole."""
    write_json(path, dict(content))


def changed(strategy: Strategy) -> Row:
    """A strategy as what differs from the defaults; None stands for a setting that its kind does not have."""
    changes: Row = {path: value for path, (_, value) in diff(Strategy(), strategy).items()}
    # A kind brings defaults of its own, which may hide that a value is the same as in the defaults of all.
    hidden = diff(restored(changes), strategy)
    return {**changes, **{path: value for path, (_, value) in hidden.items()}}


def restored(changes: Row) -> Strategy:
    """The strategy of :func:`changed`."""
    return replace(Strategy(), {path: value for path, value in changes.items() if value is not None})


def over(values: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """Mean and its 95 % interval (Student's t); no interval of a single value."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None
    half = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, (mean - half, mean + half)


def points(value: float, interval: Sequence[float] | None) -> str:
    """A difference in AP points, with its interval."""
    ends = "" if interval is None else f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"
    return f"{100 * value:+.1f}{ends}"


def level(value: float, interval: Sequence[float] | None) -> str:
    """An AP, with its interval."""
    ends = "" if interval is None else f" [{max(0.0, interval[0]):.3f}, {interval[1]:.3f}]"
    return f"{value:.3f}{ends}"


def made(content: Row) -> str:
    """Date, hardware and version, in words."""
    made_by = content["stamp"]
    on = content.get("hardware") or made_by["cpu"]
    return f"{made_by['date']}, {on}, edgehone {made_by['edgehone']} ({made_by['commit'] or 'no checkout'})"
