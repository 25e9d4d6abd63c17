"""The table of a proof over data sets, and what its acceptance says, from what is recorded."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator, Sequence

from evidence import Row, level, over, points

ARMS = {
    "darknet": "preset darknet",
    "authors": "preset authors",
    "evolution": "evolution as the authors ran it",
    "random": "random search",
    "full-evolution": "evolution over the full space",
    "blind": "edgehone, blind",
    "found": "edgehone, informed",
}
FURTHER = ("random", "full-evolution", "blind")
"""Arms of searches beside the run."""

OWN = "own"
WANTED = (("default", "the better preset", 0.08), ("evolution", "the authors' evolution", 0.04))
WANTED_BEYOND = (*WANTED, ("full-evolution", "evolution over the full space", 0.01))
ENOUGH_SETS = 3
SEEDS = (0, 1, 2)
"""Of the final trainings that a verdict counts, chosen before any was made; further ones are shown and do not count."""

OWN_TRAINING = ("darknet", "authors", "evolution")
"""Arms whose search does not end with the training that counts; in the others a full training of the search is it."""


def length_name(size: int | None, epochs: int) -> str:
    """Of final trainings, as they are recorded."""
    return OWN if size is None else f"{size}px-{epochs}epochs"


def trainings(record: Row, arm: str, length: str) -> dict[int, Row]:
    """Seed to the final training of an arm."""
    row = record["arms"].get(arm)
    return {} if row is None else {each["seed"]: each for each in row["trainings"] if each["length"] == length}


def gains(record: Row, arm: str, length: str, seeds: Collection[int] | None = None) -> list[float]:
    """What the found strategy gains over an arm, for these seeds or all; ``default`` is the preset of validation."""
    found = trainings(record, "found", length)
    other = trainings(record, record["default"] if arm == "default" else arm, length)
    both = [seed for seed in sorted(found) if seed in other and (seeds is None or seed in seeds)]
    return [found[seed]["ap"] - other[seed]["ap"] for seed in both]


def delivered(record: Row, arm: str, length: str) -> list[float]:
    """The same for what the run delivered, which is the default where validation could not tell them apart."""
    found = gains(record, arm, length, SEEDS)
    if record["kept"] != "default":
        return found
    over_default = gains(record, "default", length, SEEDS)
    return [gain - more for gain, more in zip(found, over_default, strict=True)]


def proof_table(records: Sequence[Row], length: str = OWN) -> list[str]:
    """Rows for each set and arm, what the winners changed, and the verdict."""
    lines = [
        "| data | strategy | AP [95 %] | seeds | gain of informed over it [95 %] | over pictures, seed 0 [95 %] "
        "| core-hours of its search and first full training |",
        "|---|---|---|---|---|---|---|",
    ]
    for record in records:
        lines += rows(record, length)
    changes = [f"- {name_of(record)}: {changes_of(record)}" for record in records]
    said = verdicts([(record, length) for record in records])
    return [*lines, "", *said, "", "What the informed searches changed:", "", *changes]


def longest(records: Sequence[Row]) -> list[tuple[Row, str]]:
    """Each set with its longest final trainings of several seeds: where strategies have had most to learn in."""
    found: dict[str, tuple[float, Row, str]] = {}
    for record in records:
        for length in lengths(record):
            rows = trainings(record, "found", length)
            seconds = statistics.fmean(row["seconds"] for row in rows.values()) if len(rows) > 1 else 0.0
            if seconds > found.get(record["data"], (0.0,))[0]:
                found[record["data"]] = seconds, record, length
    return [(record, length) for _, (_, record, length) in sorted(found.items())]


def lengths(record: Row) -> list[str]:
    """Of final trainings, the search's own first."""
    found = {each["length"] for row in record["arms"].values() for each in row["trainings"]}
    return sorted(found, key=lambda length: (length != OWN, length))


def name_of(record: Row) -> str:
    """A set, and the seed of its search where that is not the first."""
    return record["data"] if record["seed"] == 0 else f"{record['data']}, search {record['seed']}"


def rows(record: Row, length: str) -> Iterator[str]:
    """A row for each arm of a set."""
    for arm, title in ARMS.items():
        found = trainings(record, arm, length)
        if not found:
            continue
        mean, ends = over([each["ap"] for each in found.values()])
        if ends is None:
            ends = next(iter(found.values()))["interval95"]
        each = gains(record, arm, length) if arm != "found" else []
        gain = points(*over(each)) if each else ""
        pictures = record["over_pictures"].get(arm) if length == OWN else None
        drawn = points(pictures["gain"], pictures["interval95"]) if pictures else ""
        mark = " (chosen by validation)" if arm == record["default"] else ""
        kept = "; validation kept the preset" if arm == "found" and record["kept"] == "default" else ""
        hours = spent(record, arm) / 3600
        cells = (name_of(record), title + mark + kept, level(mean, ends), str(len(found)), gain, drawn, f"{hours:.2f}")
        yield "| " + " | ".join(cells) + " |"


def spent(record: Row, arm: str) -> float:
    """Core-seconds of a search with its full training of the first seed."""
    row = record["arms"][arm]
    first = row["trainings"][0]["seconds"] if arm in OWN_TRAINING else 0.0
    return float(row["search_core_s"] + first)


def verdicts(chosen: Sequence[tuple[Row, str]]) -> Iterator[str]:
    """What was asked for, and what was reached, of records and the lengths of their final trainings."""
    for arm, title, wanted in WANTED_BEYOND:
        by_set, kept = of_sets(chosen, arm)
        if not by_set:
            yield f"- over {title}: not measured"
            continue
        mean, ends = over([statistics.fmean(each) for each in by_set.values()])
        outside = [name for name, each in by_set.items() if (one := over(each)[1]) is not None and one[0] > 0]
        text = f"- over {title}: {points(mean, ends)} points on average of {len(by_set)} sets"
        of_kept, kept_ends = over([statistics.fmean(each) for each in kept.values()])
        text += f", of what was delivered {points(of_kept, kept_ends)}"
        text += f" (asked for: {100 * wanted:+.0f}); outside the interval over seeds on {len(outside)}"
        if (arm, title, wanted) in WANTED:
            reached = mean >= wanted and len(outside) >= ENOUGH_SETS
            text += f" (asked for: {ENOUGH_SETS}): " + ("reached" if reached else "not reached")
        else:
            text += ": " + ("reached" if mean >= wanted else "not reached")
        yield text


def of_sets(chosen: Sequence[tuple[Row, str]], arm: str) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Name of a set to the gains over an arm, of what was found and of what was delivered, one for each seed."""
    found: dict[str, list[float]] = {}
    kept: dict[str, list[float]] = {}
    for record, length in chosen:
        if each := gains(record, arm, length, SEEDS):
            found.setdefault(record["data"], []).extend(each)
            kept.setdefault(record["data"], []).extend(delivered(record, arm, length))
    return found, kept


def changes_of(record: Row) -> str:
    """All that a winner changed against the defaults; what its kinds do not have is left out."""
    strategy = record["arms"]["found"]["strategy"]
    return ", ".join(f"`{path}={value}`" for path, value in strategy.items() if value is not None)
