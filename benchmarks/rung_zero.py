"""Does rung 0 reject strategies that would have trained well? Its verdict on recorded trainings.

python benchmarks/rung_zero.py DATA [DATA ...]

Holds every recorded full training (``recorded/DATA.jsonl``) against the screen that a search has, and prints how many
it rejects, why, the AP of the kept and of the rejected, and how long a verdict takes. One thread.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np
from recorded_trainings import BASE, MODEL
from trainings import Table, strategy_of

from edgehone.data import read_dataset
from edgehone.search.rung_zero import CeilingScreen

STUDIES = ("random", "informed")
"""Other studies recorded variations of one strategy."""


def main() -> None:
    """Print a row for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    for source in parser.parse_args().data:
        table = Table(read_dataset(source))
        screen = CeilingScreen(BASE, MODEL, table.dataset)
        rows = [row for row in table.rows.values() if row["study"] in STUDIES and row["share"] == 1]
        started = time.process_time()
        verdicts = [screen(strategy_of(row)) for row in rows]
        seconds = (time.process_time() - started) / len(rows)
        ap = np.array([row["ap"] for row in rows])
        gone = np.array([verdict is not None for verdict in verdicts])
        reasons = Counter(verdict.reason for verdict in verdicts if verdict is not None)
        print(f"{table.dataset.name}: {gone.sum()} of {len(rows)} rejected {dict(reasons)}, {seconds:.2f} s each")
        for name, some in (("kept", ap[~gone]), ("rejected", ap[gone])):
            if len(some):
                print(f"  {name}: median AP {np.median(some):.3f}, best {some.max():.3f}")


if __name__ == "__main__":
    main()
