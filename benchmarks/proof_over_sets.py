"""The whole job on several data sets and seeds, against the presets and the authors' evolution; and its table.

python benchmarks/proof_over_sets.py DATA [DATA ...] --out OUT [--budget 30m] [--seeds 0 1 2] [--minutes 60]
    [--table FILE.md]

Runs ``edgehone run DATA --compare evolution --leave-out NAME`` for every data set and seed, into ``OUT/NAME-SEED``, so
that no rule says what it learnt on the very set that is to prove it; a run that was interrupted goes on, a finished one
is not repeated, and one that left out something else is refused. No new run is begun after ``--minutes`` (exit 3 while
some are left). Then writes the table from the runs' ``results.json``: mean AP on the test split, the gains with 95 %
intervals over seeds (Student's t; over pictures where there is one seed), compute of the search, and what the winning
strategies changed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arms import over_seeds

from edgehone.data import read_dataset
from edgehone.files import read_json, write_text
from edgehone.search.likeness import Identity
from edgehone.space import diff
from edgehone.strategy import Strategy

ARMS = {
    "darknet": "preset darknet",
    "authors": "preset authors",
    "default": "better preset on validation",
    "evolution": "evolution as the authors ran it",
    "found": "found",
}
UNFINISHED = 3


def main() -> None:
    """Run what is left within the slice, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", default="30m")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--table", type=Path)
    given, options = parser.parse_known_args()
    deadline = time.monotonic() + 60 * given.minutes
    runs = [(source, seed) for seed in given.seeds for source in given.data]
    names = {source: Identity.of(read_dataset(source)).name for source in given.data}
    folders = {(source, seed): given.out / f"{names[source]}-{seed}" for source, seed in runs}
    for (source, _), folder in folders.items():
        refuse_another(folder, names[source])
    left = [run for run in runs if not (folders[run] / "results.json").is_file()]
    print(f"planned: {len(left)} runs of {given.budget} each, on all cores", flush=True)
    for source, seed in left:
        if time.monotonic() > deadline:
            break
        command = [str(Path(sys.executable).with_name("edgehone")), "run", source, "--budget", given.budget]
        command += ["--seed", str(seed), "--compare", "evolution", "--store", "none"]
        command += ["--leave-out", names[source]]
        subprocess.run([*command, *options, "--out", str(folders[source, seed])], check=True)
    lines = ["| data | strategy | AP | gain of found over it | core-hours of search |", "|---|---|---|---|---|"]
    changes: list[str] = []
    for source in given.data:
        results = [read_json(folders[source, s] / "results.json") for s in given.seeds if done(folders[source, s])]
        if results:
            lines += rows(names[source], results)
            changes.append(f"- {names[source]}: {changed(results)}")
    text = "\n".join(
        [*lines, "", "What the found strategies changed against the defaults, in how many runs:", *changes]
    )
    print(text)
    if given.table:
        write_text(given.table, text + "\n")
    if not all(done(folder) for folder in folders.values()):
        sys.exit(UNFINISHED)


def refuse_another(folder: Path, name: str) -> None:
    """End where a folder holds a run that did not leave its data set out."""
    request = read_json(folder / "request.json") if (folder / "request.json").is_file() else None
    left_out = [name] if request is None else request.get("scope", {}).get("leave_out", [])
    if left_out != [name]:
        sys.exit(f"{folder} holds a run that left out {left_out or 'nothing'} instead of {name}; give another --out")


def done(folder: Path) -> bool:
    """Whether a run is finished."""
    return (folder / "results.json").is_file()


def rows(name: str, results: Sequence[Mapping[str, Any]]) -> list[str]:
    """One row for each arm of a data set."""
    found: list[str] = []
    for arm, title in ARMS.items():
        aps = [entry["test"]["ap"] for result in results if (entry := entry_of(result, arm)) is not None]
        if not aps:
            continue
        gain = gain_of(results, arm) if arm != "found" else ""
        seconds = statistics.fmean(result["seconds"].get("search", 0.0) for result in results)
        hours = f"{seconds * 2 / 3600:.2f}" if arm == "found" else ""
        found.append(f"| {name} | {title} | {statistics.fmean(aps):.3f} | {gain} | {hours} |")
    return found


def entry_of(result: Mapping[str, Any], arm: str) -> Mapping[str, Any] | None:
    """What a run says of an arm: a preset, or one of its other strategies."""
    return {**result["presets"], **result}.get(arm)


def gain_of(results: Sequence[Mapping[str, Any]], arm: str) -> str:
    """What the found strategies gain over an arm: over seeds, or by the only run's own interval over pictures."""
    compared = {"default": "gain", "evolution": "gain_over_evolution"}.get(arm)
    if len(results) == 1 and compared is not None:
        only = results[0][compared]
        return points({"gain": only["ap"], "interval95": only["interval95"], "seeds": 1})
    others = [(result["found"], entry_of(result, arm)) for result in results]
    pairs = [{"arm": {"gain": f["test"]["ap"] - o["test"]["ap"]}} for f, o in others if o is not None]
    return points(over_seeds(pairs, "arm"))


def points(gain: Mapping[str, Any]) -> str:
    """A gain in AP points with its interval over seeds; over pictures where there is one seed."""
    text = f"{100 * gain['gain']:+.1f}"
    if "interval95" in gain:
        low, high = gain["interval95"]
        text += f" [{100 * low:+.1f}, {100 * high:+.1f}]"
    return f"{text} (1 seed)" if gain["seeds"] == 1 else f"{text} ({gain['seeds']} seeds)"


def changed(results: Sequence[Mapping[str, Any]]) -> str:
    """The choices that the found strategies changed, most frequent first."""
    counts: Counter[str] = Counter()
    for result in results:
        found = Strategy.model_validate(result["found"]["strategy"])
        changes = diff(Strategy(), found).items()
        counts.update(f"{path}={new}" for path, (_, new) in changes if isinstance(new, str))
    return ", ".join(f"{text} ({count})" for text, count in counts.most_common(12))


if __name__ == "__main__":
    main()
