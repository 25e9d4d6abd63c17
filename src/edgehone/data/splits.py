"""Which picture learns, chooses or proves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from edgehone.data.checks import Findings
from edgehone.data.folder import Folder, stem
from edgehone.data.loose import lines
from edgehone.data.near_duplicates import near_duplicates
from edgehone.data.samples import Samples
from edgehone.data.survey import Survey

SPLITS = ("train", "val", "test")
SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}


def split_pictures(
    folder: Folder,
    pictures: Samples,
    stated: Sequence[str | None],
    seed: int,
    survey: Survey | None,
    findings: Findings,
) -> dict[str, list[int]]:
    """Split to places in ``pictures``: list files beside the data, else the format's own split, else a seeded draw.

    Pictures that the lists or the format's own split leave out have no place. In a draw, pictures of equal
    content stay together; where a survey is given, near duplicates do, too.
    """
    ids = pictures.ids
    chosen = _lists(folder, ids, findings) or {i: s for i, s in zip(ids, stated, strict=True) if s is not None}
    if chosen and "train" not in chosen.values():
        # Only held-out pictures are named: whatever is left is there to learn from.
        chosen = {**dict.fromkeys(ids, "train"), **chosen}
    draw = _Draw(folder, ids, survey, seed)
    if "train" not in chosen.values():
        chosen = draw.split(ids, SHARES)
        message = f"drawn with seed {seed}: 70 % train, 15 % val, 15 % test; {draw.together} together"
        findings.add("split-drawn", folder.root.name, message)
    left = [key for key in ids if key not in chosen]
    if left:
        message = f"{len(left)} labelled pictures belong to no split, the first is {left[0]}"
        findings.add("split-missing", folder.root.name, message)
    for missing in ("test", "val"):
        if missing not in chosen.values():
            pool = [key for key in ids if chosen.get(key) == "train"]
            chosen = {**chosen, **draw.split(pool, {"train": 0.85, missing: 0.15})}
            message = f"15 % of the training pictures serve as {missing}, drawn with seed {seed}"
            findings.add(f"split-{missing}-missing", folder.root.name, message)
    found: dict[str, list[int]] = {name: [] for name in SPLITS}
    for place, key in enumerate(ids):
        if key in chosen:
            found[chosen[key]].append(place)
    return found


def _lists(folder: Folder, ids: Sequence[str], findings: Findings) -> dict[str, str]:
    """From train.txt, val.txt and test.txt beside the data."""
    known = set(ids)
    by_stem: dict[str, list[str]] = {}
    found: dict[str, str] = {}
    for split in SPLITS:
        name = f"{split}.txt"
        if name not in folder.files:
            continue
        if not by_stem:
            for key in ids:
                by_stem.setdefault(stem(key), []).append(key)
        for number, line in enumerate(lines(folder.absolute(name))[0], start=1):
            entry = line.strip().removeprefix("./")
            if not entry:
                continue
            matches = [entry] if entry in known else by_stem.get(stem(entry.replace("\\", "/")), [])
            where = f"{name} line {number}"
            if len(matches) != 1:
                findings.add("split-entry-unknown", where, f"{entry} is no labelled picture")
            elif found.setdefault(matches[0], split) != split:
                findings.add("split-overlap", where, f"{entry} is also in {found[matches[0]]}.txt", sample=matches[0])
    return found


class _Draw:
    """Seeded draws in which pictures that belong together stay together."""

    def __init__(self, folder: Folder, ids: Sequence[str], survey: Survey | None, seed: int) -> None:
        self.folder = folder
        self.ids = ids
        self.survey = survey
        self.seed = seed
        self.together = "equal files" if survey is None else "near duplicates"

    def split(self, pool: Sequence[str], shares: dict[str, float]) -> dict[str, str]:
        """Picture to split, by shares of the pool."""
        inside = set(pool)
        groups = [members for group in self._groups() if (members := [key for key in group if key in inside])]
        order = np.random.default_rng(self.seed).permutation(len(groups))
        names = list(shares)
        limits = np.cumsum([shares[name] for name in names]) * len(pool)
        chosen: dict[str, str] = {}
        for place in order:
            # The split whose share of the pictures is not full yet.
            split = names[min(int(np.searchsorted(limits, len(chosen), side="right")), len(names) - 1)]
            chosen.update(dict.fromkeys(groups[int(place)], split))
        return chosen

    def _groups(self) -> list[list[str]]:
        """All pictures, each in one group, in the order of the first of each."""
        if self.survey is not None:
            joined = [[self.ids[place] for place in group] for group in near_duplicates(self.survey)]
        else:
            joined = _equal_files(self.folder, self.ids)
        grouped = {key for group in joined for key in group}
        groups = [*joined, *([key] for key in self.ids if key not in grouped)]
        return sorted(groups, key=lambda group: min(group))


def _equal_files(folder: Folder, ids: Sequence[str]) -> list[list[str]]:
    """Groups of pictures with equal bytes; only files of equal size are read."""
    by_size: dict[int, list[str]] = {}
    for key in ids:
        path = folder.absolute(key)
        if path.is_file():
            by_size.setdefault(path.stat().st_size, []).append(key)
    found: dict[str, list[str]] = {}
    for keys in by_size.values():
        for key in keys if len(keys) > 1 else []:
            found.setdefault(hashlib.sha256(folder.absolute(key).read_bytes()).hexdigest(), []).append(key)
    return [group for group in found.values() if len(group) > 1]
