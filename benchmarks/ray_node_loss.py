"""Two Ray nodes on this machine, one killed in mid-trial: does the search end complete?

python benchmarks/ray_node_loss.py [--out runs/ray-loss] [--budget 4m] [--trials-only] [--recorded FOLDER]

Starts a head node and a second node (one processor each, real ray processes), runs a search on small scenes over
both, kills the second node (SIGKILL, all its processes) while a trial is running on it, and looks at what is left.
With --trials-only some trainings alone are run instead of a whole search. What was found is recorded in
recorded/ray/search.json (or trials.json), and is not made again while that is there. Exit 1 if anything is missing.
Needs the extra [ray] and psutil.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from evidence import RECORDED, Row, record, recorded, stamp

from edgehone.cli import parse_duration
from edgehone.data import read_dataset
from edgehone.pipeline import run
from edgehone.request import Request
from edgehone.search import calibration, plan
from edgehone.search.placement import WORKERS
from edgehone.search.ray_workers import AGAIN, start_ray_workers
from edgehone.search.trial import Task, finished
from edgehone.space import replace
from edgehone.strategy import AUTHORS
from edgehone.training import Job

DATA = "builtin:digits?train=24&val=8&test=8&width=128&height=128&min_px=30&max_px=80&max_objects=3"
START = [sys.executable, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats", "--block"]
QUICK = {"period_ms": 500, "timeout_ms": 2000, "failure_threshold": 4, "initial_delay_ms": 500}
"""How soon a head notices that a node is gone: Ray's own patience is longer."""


def kill(process: subprocess.Popen[bytes]) -> None:
    """A node with all its processes, without a word."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def two_nodes() -> Iterator[tuple[str, Callable[[], None]]]:
    """The address of a cluster, and what kills its second node."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # short: sockets have short names
    quick = {f"RAY_health_check_{name}": str(value) for name, value in QUICK.items()}
    environment = {**os.environ, **quick, "OMP_NUM_THREADS": "1"}
    address = f"127.0.0.1:{free_port()}"
    sizes = ["--num-cpus=1", "--object-store-memory=100000000"]
    head = [*START, "--head", f"--port={address.split(':')[1]}", "--include-dashboard=false", f"--temp-dir={folder}"]
    nodes: list[subprocess.Popen[bytes]] = []
    try:
        for command in (head, [*START, f"--address={address}"]):
            nodes.append(subprocess.Popen([*command, *sizes], env=environment, stdout=subprocess.DEVNULL))
            time.sleep(8)
        yield address, lambda: kill(nodes[1])
    finally:
        for node in nodes:
            if node.poll() is None:
                kill(node)
        shutil.rmtree(folder, ignore_errors=True)


def kill_in_mid_trial(folder: Path, kill_node: Callable[[], None], wait_for: int) -> threading.Thread:
    """Kill when so many trials have ended and the others have had time to begin."""

    def watch() -> None:
        while len(list(folder.glob("*/result.json"))) < wait_for:
            time.sleep(0.2)
        time.sleep(1.5)
        kill_node()
        print(f"killed a node with {len(list(folder.glob('*/result.json')))} trials finished", flush=True)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def trials_only(address: str, folder: Path) -> set[str]:
    """Four trainings; names of those that should have ended."""
    strategy = replace(AUTHORS, {"input.size": 128})
    tasks = [
        Task(
            name=f"short-{k:02d}",
            rung="short",
            job=Job(model="yolov4-tiny", strategy=strategy, steps=60, batch_size=4, seed=k),
            gflops=60.0,
            origin="test",
        )
        for k in range(4)
    ]
    with start_ray_workers(address, read_dataset(DATA), folder) as workers:
        for outcome in workers.run(tasks, lambda shares: None):
            print(f"{outcome.task.name}: {outcome.status} {outcome.message}", flush=True)
    return {task.name for task in tasks}


def whole_search(address: str, out: Path, budget_s: float) -> None:
    """A run of the pipeline over the cluster, with the floors lowered: the machinery is tested, not the detector."""
    plan.MIN_STEPS, plan.TRIAL_OVERHEAD_S = 8, 1.0
    calibration.SIZE, calibration.STEPS = 160, 4
    request = Request(data=DATA, budget_s=budget_s, max_input=160, proof="quick", ray=address, store="none")
    run(request, out, lambda status: print(status.message, flush=True) if status.event else None)


def main() -> None:
    """Start, kill, look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/ray-loss"))
    parser.add_argument("--budget", default="4m")
    parser.add_argument("--trials-only", action="store_true")
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    options = parser.parse_args()
    path = options.recorded / "ray" / ("trials.json" if options.trials_only else "search.json")
    if (known := recorded(path)) is not None:
        print("\n".join(ray_table(known)))
        return
    folder = options.out / "trials"
    if folder.exists():
        parser.error(f"{options.out} holds a run; choose another --out")
    print(f"planned: at most {WORKERS * parse_duration(options.budget) / 3600:.1f} core-hours", flush=True)
    with two_nodes() as (address, kill_node):
        killer = kill_in_mid_trial(folder, kill_node, 1 if options.trials_only else 2)
        if options.trials_only:
            wanted = trials_only(address, folder)
            complete = set(finished(folder)) == wanted
        else:
            whole_search(address, options.out, parse_duration(options.budget))
            complete = (options.out / "results.json").is_file() and (options.out / "report.html").is_file()
        killer.join(1.0)
    outcomes = finished(folder)
    again = [name for name, outcome in outcomes.items() if AGAIN in outcome.message]
    what = "four trainings" if options.trials_only else f"a search of {options.budget}"
    content: Row = {"stamp": stamp(), "what": what, "trials": len(outcomes), "complete": complete, "again": again}
    if complete and again:  # a node that was killed between trials proves nothing: to be done again
        record(path, content)
    print("\n".join(ray_table(content)))
    raise SystemExit(int(not complete or not again))


def ray_table(content: Row) -> list[str]:
    """One row."""
    again = ", ".join(content["again"]) or "none: the node was killed between trials"
    return [
        "| on two nodes, one killed | trials | complete | trained again |",
        "|---|---|---|---|",
        f"| {content['what']} | {content['trials']} | {'yes' if content['complete'] else 'no'} | {again} |",
    ]


if __name__ == "__main__":
    main()
