"""Kill a run at random instants, start it again each time, and check what it leaves.

python benchmarks/kill_and_resume.py DATA --budget 6m [--kills 30] [--seed 0] [--minutes 60] [-- RUN OPTIONS]
python benchmarks/kill_and_resume.py DATA --budget 6m --deterministic --tiny [--kills 30] -- --max-input 160

What is killed is the main process or, as often, one of its workers. Studies follow one another until there were so many
kills; no finished trial may be trained again, no trial may be lost or doubled, and every study must end. With
``--deterministic`` an undisturbed search runs first, in OUT/calm, and each killed one must equal it trial by trial:
strategy, seed, length, metrics. ``--tiny`` lowers the floor of a full training to a few steps, and has a search of a
minute plan what one of hours does, full trainings of new strategies and further seeds of the best: the machinery is
tested, not the detector. The gaps between kills are drawn between the start-up of a search and what an undisturbed one
took. A run's budget counts the time that was killed, so it must be a multiple of what analysing takes.

Each study is recorded when it ends, in ``recorded/kills/MODE-DATA-BUDGET.json``, and its kills count: given again, the
command goes on until there are enough. No new study is begun after ``--minutes`` (exit 3 while kills are left); exit 1
if anything differs.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from evidence import RECORDED, Row, Slice, SliceOver, record, recorded, stamp, stop

from edgehone.cli import parse_duration
from edgehone.files import read_json
from edgehone.search.journal import Journal
from edgehone.search.placement import WORKERS

MOST = 8
"""Kills of one study, so that it ends; more studies follow until there were enough."""

TINY = (
    "import edgehone.search.calibration as calibration, edgehone.search.plan as plan, edgehone.training as training;"
    "plan.MIN_STEPS, plan.TRIAL_OVERHEAD_S, calibration.NOMINAL_SECONDS = 8, 0.1, 0.35;"
    "plan._population, plan.MOST_SHORT, plan.SHORT_EACH, plan.REPEAT_FROM_S = lambda budget_s: 10, 2, 1, (0.0,);"
    "calibration.SIZE, calibration.STEPS, training.CHECKPOINT_SECONDS = 160, 4, 0.2;"
)


def main() -> None:
    """Run, kill, run again, judge, until there were enough kills."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--budget", default="6m")
    parser.add_argument("--out", type=Path, default=Path("runs/kills"), help="folders of studies; may be lost")
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--deterministic", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--minutes", type=float, default=60.0)
    own, more = divided(sys.argv[1:])
    options = parser.parse_args(own, argparse.Namespace(more=more))
    time_left = Slice(options.minutes)
    mode = ("deterministic" if options.deterministic else "asynchronous") + ("-tiny" if options.tiny else "")
    name = options.data.partition("?")[0].rstrip("/").rpartition("/")[2].replace(":", "-")
    path = options.recorded / "kills" / f"{mode}-{name}-{options.budget}.json"
    content = recorded(path) or {"mode": mode, "data": name, "budget": options.budget, "studies": []}
    left = math.ceil(max(options.kills - kills_of(content), 0) / MOST)
    hours = 2 * left * parse_duration(options.budget) * WORKERS / 3600
    print(
        f"planned: {options.kills} kills, {kills_of(content)} of them recorded, some {MOST} a study; {left} studies, "
        f"at most {hours:.1f} core-hours with what is trained again",
        flush=True,
    )
    try:
        if kills_of(content) < options.kills:
            seconds = undisturbed(options) if options.deterministic else parse_duration(options.budget)
        while kills_of(content) < options.kills:
            time_left.check()
            content["studies"].append(
                study(options, len(content["studies"]), options.kills - kills_of(content), seconds)
            )
            record(path, content)
            print(f"{kills_of(content)} kills so far; faults: {faults_of(content) or 'none'}", flush=True)
    except SliceOver:
        stop()
    print("\n".join(kills_table(content)))
    raise SystemExit(int(bool(faults_of(content))))


def kills_of(content: Row) -> int:
    """Kills of all recorded studies."""
    return sum(each["kills"] for each in content["studies"])


def faults_of(content: Row) -> list[str]:
    """What is wrong with any of them."""
    return [fault for each in content["studies"] for fault in each["faults"]]


def kills_table(content: Row) -> list[str]:
    """One row."""
    studies = content["studies"]
    trials = sum(each["trials"] for each in studies)
    what = (
        "equals the undisturbed search trial by trial"
        if "deterministic" in content["mode"]
        else "nothing lost or doubled"
    )
    verdict = "; ".join(faults_of(content)) or f"no fault: {what}"
    return [
        "| mode | data | budget | studies | kills | trials | found |",
        "|---|---|---|---|---|---|---|",
        f"| {content['mode']} | {content['data']} | {content['budget']} | {len(studies)} | {kills_of(content)} "
        f"| {trials} | {verdict} |",
    ]


def undisturbed(options: argparse.Namespace) -> float:
    """Run the search that killed ones are to equal, on this machine; its seconds."""
    began = time.monotonic()
    code = subprocess.run(command(options, "search", options.out / "calm"), check=False).returncode
    seconds = time.monotonic() - began
    print(f"undisturbed: code {code} after {seconds:.0f} s", flush=True)
    if code:
        raise SystemExit(code)
    took = float(read_json(options.out / "calm" / "clock.json")["seconds"])
    return max(seconds, took)  # one that was finished before is only opened


def study(options: argparse.Namespace, number: int, most: int, seconds: float) -> Row:
    """One study, killed at most so often and let end: how often it was killed, and what is wrong with what it left."""
    verb, final = ("search", "found.json") if options.deterministic else ("run", "results.json")
    out = options.out / f"killed-{number:02d}"
    if out.exists():
        shutil.rmtree(out)  # of a slice that was stopped: its kills were not counted
    rng = random.Random(f"{options.seed} {number}")
    kills, repeated = disturb(command(options, verb, out), out, seconds, min(most, MOST), rng)
    faults = [f"{name} was trained again" for name in repeated] + journal_faults(out)
    if not (out / final).is_file():
        faults.append(f"{out.name} is not complete")
    if options.deterministic:
        faults += differences(trials(options.out / "calm"), trials(out))
    return {"stamp": stamp(), "kills": kills, "trials": len(trials(out)), "faults": faults}


def divided(words: list[str]) -> tuple[list[str], list[str]]:
    """Options before and after ``--``: of this script and of the run."""
    place = words.index("--") if "--" in words else len(words)
    return words[:place], words[place + 1 :]


def command(options: argparse.Namespace, verb: str, out: Path) -> list[str]:
    """The command's own start, in this interpreter: no shell and no wrapper between the signal and the run."""
    start = "import sys; sys.argv[0] = 'edgehone'; " + (TINY if options.tiny else "")
    start += "from edgehone.cli import main; main()"
    words = [sys.executable, "-c", start, verb, options.data, "--budget", options.budget, "--out", str(out)]
    return [*words, *(["--deterministic"] if options.deterministic else []), *options.more]


def disturb(words: Sequence[str], out: Path, seconds: float, most: int, rng: random.Random) -> tuple[int, list[str]]:
    """Start and kill, over and over, then let it end: the kills, and the trials that were trained again."""
    stamps: dict[Path, int] = {}
    repeated: list[str] = []
    kills = code = 0
    log = out.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    while code or not stamps:  # until it ends well
        with log.open("w", encoding="utf-8") as said:
            process = subprocess.Popen(words, stderr=said, stdout=subprocess.DEVNULL)
        what: list[str] = []
        while process.poll() is None:  # who loses a worker goes on, until it is killed itself or ends
            gap = rng.uniform(0.05, 0.3) * seconds if kills < most else None
            victim = "main process" if rng.random() < 0.5 else "worker"
            try:
                process.wait(gap)
            except subprocess.TimeoutExpired:
                kill(process.pid, victim, rng)
                kills += 1
                what.append(f"{victim} killed after {gap:.1f} s")
        code = process.returncode
        repeated += [path.parent.name for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp]
        stamps = {path: path.stat().st_mtime_ns for path in out.glob("trials/*/result.json")}
        print(f"{out.name}: {', '.join(what) or 'ran to its end'}, code {code}, {len(stamps)} finished", flush=True)
        if code and not what:
            print(f"{out.name}: it fails by itself: {' '.join(log.read_text(encoding='utf-8').split())[-300:]}")
            break
    return kills, repeated


def kill(main: int, victim: str, rng: random.Random) -> None:
    """SIGKILL to the main process or to one of the processes that train."""
    children = psutil.Process(main).children(recursive=True)
    workers = [child.pid for child in children if trains(child)]
    os.kill(rng.choice(workers) if victim == "worker" and workers else main, signal.SIGKILL)
    if victim != "worker":
        psutil.wait_procs(children, timeout=30)


def trains(process: psutil.Process) -> bool:
    """Whether it is one of those that train, and has not ended meanwhile."""
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def journal_faults(out: Path) -> list[str]:
    """Trials of a study that were lost or doubled."""
    with Journal(out / "study.jsonl") as journal:
        asked = [trial["number"] for event in journal.events for trial in event.get("asked", ())]
        told = [each["number"] for event in journal.events for each in event.get("told", ())]
    found: list[str] = []
    if asked != list(range(len(asked))):
        found.append("trials are not numbered one after the other")
    if sorted(told) != asked:
        found.append(f"asked for {len(asked)}, told about {len(told)} ({len(set(told))} different)")
    return found


def trials(out: Path) -> dict[str, dict[str, Any]]:
    """What each trial was and what it was worth, without what the clock says."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(out.glob("trials/*/result.json")):
        content = read_json(path)
        found[path.parent.name] = {key: content[key] for key in ("task", "status", "ap", "validation", "curve")}
    return found


def differences(calm: dict[str, dict[str, Any]], killed: dict[str, dict[str, Any]]) -> list[str]:
    """Trials that are not the same in both."""
    print(f"{len(calm)} trials undisturbed, {len(killed)} killed; APs {[round(t['ap'], 4) for t in calm.values()]}")
    names = sorted(set(calm) | set(killed))
    return [name for name in names if calm.get(name) != killed.get(name)]


if __name__ == "__main__":
    main()
