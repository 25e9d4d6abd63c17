"""Puts searches that the project made into the store that comes with the package.

python benchmarks/ship_store.py RUN [RUN ...] [--into FILE]

RUN is the folder of a finished ``edgehone run`` with a proof: a search that proved nothing is refused, and so is one
whose command names a place of this machine. All are looked at before anything is written. Each entry says by which
command it came about, when, on what, and which data sets had a part in it. The same search (data, model, command) done
again takes the place of the older one; entries are kept in order of data and date. Prints what became of each run.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable
from pathlib import Path

from edgehone.errors import EdgehoneError, UsageError
from edgehone.files import read_json, write_text
from edgehone.pipeline import RESULTS, Priors
from edgehone.request import Request
from edgehone.results import Results
from edgehone.search import store
from edgehone.search.remembering import ENTRY, learnt_on
from edgehone.search.starts import Start, Starts
from edgehone.search.store import Store, StoreEntry, read_foreign, store_text
from edgehone.space import load

SHIPPED = Path(store.__file__).with_name(store.SHIPPED)
ABOUT = "searches that the project itself has made"


def shippable(run: Path) -> StoreEntry:
    """The entry of a run, with its whole provenance.

    Raises:
        UsageError: the run is not finished, proved nothing, or names a place of this machine.
    """
    if not (run / RESULTS).is_file() or not (run / ENTRY).is_file():
        raise UsageError(f"only finished runs are shipped, but {run} holds no {RESULTS} with a {ENTRY}")
    (entry,) = read_foreign(run / ENTRY)
    results = load(Results, read_json(run / RESULTS))
    if results.gain is None or entry.gain is None or entry.gain_interval95 is None:
        raise UsageError(f"only proven searches are shipped, but {run} proved nothing: it ran with --proof off")
    words = shlex.split(entry.provenance.command)
    if str(Path.home()) in entry.model_dump_json() or any(word.startswith(("/", "~", "file:")) for word in words):
        raise UsageError(f"what is shipped names no place of a machine, but the entry of {run} does")
    request, priors = load(Request, read_json(run / "request.json")), load(Priors, read_json(run / "rules.json"))
    begun = load(Starts, read_json(run / "starts.json")).starts if (run / "starts.json").is_file() else ()
    learnt = learnt_on(request.scope, priors.rules, [whole(start) for start in begun])
    others = tuple(name for name in learnt if name != entry.data.name)
    return entry.model_copy(update={"provenance": entry.provenance.model_copy(update={"learnt_on": others})})


def whole(start: Start) -> Start:
    """A start of a run from before starts named what they were learnt on: its reason begins with that."""
    name = start.because.rpartition(", similarity ")[0]
    return start if start.learnt_on else start.model_copy(update={"learnt_on": (name,)})


def merged(there: Iterable[StoreEntry], new: Iterable[StoreEntry]) -> list[StoreEntry]:
    """One entry a search, the newest; of one day the one that is added."""
    kept: dict[tuple[str, str, str], StoreEntry] = {}
    for entry in (*there, *new):
        same = entry.data.labels, entry.model, entry.provenance.command
        if same not in kept or entry.provenance.date >= kept[same].provenance.date:
            kept[same] = entry
    return sorted(kept.values(), key=lambda e: (e.data.name, e.model, e.provenance.date, e.provenance.command))


def main() -> None:
    """Look at all, then write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--into", type=Path, default=SHIPPED, metavar="FILE")
    given = parser.parse_args()
    try:
        there, new = Store(given.into).entries(), [shippable(run) for run in given.runs]
    except EdgehoneError as error:
        parser.error(str(error))
    entries = merged(there, new)
    write_text(given.into, store_text(entries, ABOUT))
    for run, entry in zip(given.runs, new, strict=True):
        low, high = entry.gain_interval95 or (0.0, 0.0)
        fate = "shipped" if entry in entries else "passed over: a newer one is there"
        learnt = ", ".join(entry.provenance.learnt_on) or "no other data"
        print(f"{run}: {fate}; {entry.data.name}, gain {entry.gain:+.3f} [{low:+.3f}, {high:+.3f}], learnt on {learnt}")
    print(f"{len(entries)} searches in {given.into.name}, {given.into.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
