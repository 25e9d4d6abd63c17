"""Kill a run at random instants, start it again each time, and check what it leaves.

python benchmarks/kill_and_resume.py DATA --budget 6m --out runs/killed [--kills 5] [--seed 0]

Prints the instants, and for the finished run whether any finished trial was trained again, how long it took over
all restarts by its own clock and by the wall, and whether the report is there. Exit 1 if something is missing.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from edgehone.cli import parse_duration
from edgehone.files import read_json


def main() -> None:
    """Run, kill, run again, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--budget", default="6m")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # The command's own start, in this interpreter: no shell and no wrapper between the signal and the run.
    start = "import sys; sys.argv[0] = 'edgehone'; from edgehone.cli import main; main()"
    command = [sys.executable, "-c", start, "run", options.data, "--budget", options.budget, "--out", str(options.out)]
    seconds = parse_duration(options.budget)
    rng = random.Random(options.seed)
    gaps = [rng.uniform(0.05, 0.95) * seconds / options.kills for _ in range(options.kills)]
    stamps: dict[Path, int] = {}
    repeated: list[str] = []
    began = time.monotonic()
    for number, gap in enumerate([*gaps, None]):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            code = process.wait(gap)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            code = process.wait()
        repeated += [path.parent.name for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp]
        stamps = {path: path.stat().st_mtime_ns for path in options.out.glob("trials/*/result.json")}
        what = "ran to its end" if gap is None else f"killed after {gap:.0f} s"
        print(f"start {number + 1}: {what}, code {code}, {len(stamps)} trials finished", flush=True)
    results = options.out / "results.json"
    complete = results.is_file() and (options.out / "report.html").is_file()
    total = read_json(results)["seconds"]["total"] if results.is_file() else None
    print(
        f"complete: {complete}; trained again: {repeated or 'none'}; seconds by its clock {total}, by the wall "
        f"{time.monotonic() - began:.0f} of {seconds:.0f}"
    )
    raise SystemExit(int(not complete or bool(repeated)))


if __name__ == "__main__":
    main()
