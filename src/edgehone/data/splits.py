"""Which picture learns, chooses or proves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgehone.data.dataset import Finding, RawSample
from edgehone.data.folder import Folder
from edgehone.data.loose import text
from edgehone.data.picture import FileImage

SPLITS = ("train", "val", "test")
SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}


def split_samples(folder: Folder, samples: Sequence[RawSample], seed: int) -> tuple[dict[str, str], list[Finding]]:
    """Sample id to split: list files beside the data, else the format's own split, else a seeded draw.

    Pictures that the lists or the format's own split leave out have no entry.
    """
    findings: list[Finding] = []
    chosen = _lists(folder, samples, findings) or {s.id: s.split for s in samples if s.split is not None}
    if chosen and "train" not in chosen.values():
        # Only held-out pictures are named: whatever is left is there to learn from.
        chosen = {**{s.id: "train" for s in samples}, **chosen}
    if "train" not in chosen.values():
        chosen = _drawn(samples, SHARES, seed)
        findings.append(
            Finding(
                "split-drawn",
                "note",
                folder.root.name,
                "the data has no training split",
                f"drawn with seed {seed}: 70 % train, 15 % val, 15 % test; equal files together",
            )
        )
    left = [s.id for s in samples if s.id not in chosen]
    if left:
        findings.append(
            Finding(
                "split-missing",
                "warning",
                folder.root.name,
                f"{len(left)} labelled pictures belong to no split, the first is {left[0]}",
                "left out; name them in train.txt, val.txt or test.txt",
            )
        )
    return _complete(samples, chosen, seed, findings, folder.root.name), findings


def _complete(
    samples: Sequence[RawSample], chosen: dict[str, str], seed: int, findings: list[Finding], where: str
) -> dict[str, str]:
    """Cut a missing validation or test split from the training split."""
    for missing in ("test", "val"):
        if missing in chosen.values():
            continue
        pool = [s for s in samples if chosen.get(s.id) == "train"]
        drawn = _drawn(pool, {"train": 0.85, missing: 0.15}, seed)
        chosen = {**chosen, **drawn}
        findings.append(
            Finding(
                f"split-{missing}-missing",
                "warning",
                where,
                f"there is no {missing} split",
                f"15 % of the training pictures serve as {missing}, drawn with seed {seed}",
            )
        )
    return chosen


def _lists(folder: Folder, samples: Sequence[RawSample], findings: list[Finding]) -> dict[str, str]:
    """From train.txt, val.txt and test.txt beside the data."""
    ids = {s.id for s in samples}
    by_stem: dict[str, list[str]] = {}
    for key in ids:
        by_stem.setdefault(Path(key).stem, []).append(key)
    found: dict[str, str] = {}
    for split in SPLITS:
        path = folder.root / f"{split}.txt"
        if not path.is_file():
            continue
        for number, line in enumerate(text(path).splitlines(), start=1):
            name = line.strip().removeprefix("./")
            if not name:
                continue
            matches = [name] if name in ids else by_stem.get(Path(name).stem, [])
            if len(matches) != 1:
                findings.append(
                    Finding(
                        "split-entry-unknown",
                        "warning",
                        f"{path.name} line {number}",
                        f"{name} is no labelled picture",
                        "left out",
                    )
                )
                continue
            if found.get(matches[0], split) != split:
                findings.append(
                    Finding(
                        "split-overlap",
                        "error",
                        f"{path.name} line {number}",
                        f"{name} is also in {found[matches[0]]}.txt",
                        "kept in the first list",
                    )
                )
                continue
            found[matches[0]] = split
    return found


def _drawn(samples: Sequence[RawSample], shares: dict[str, float], seed: int) -> dict[str, str]:
    """A seeded draw in which pictures with equal files stay together."""
    groups: dict[str, list[str]] = {}
    for sample in samples:
        groups.setdefault(_content(sample), []).append(sample.id)
    keys = sorted(groups, key=lambda key: min(groups[key]))
    order = np.random.default_rng(seed).permutation(len(keys))
    names = list(shares)
    limits = np.cumsum([shares[name] for name in names]) * len(samples)
    chosen: dict[str, str] = {}
    for place in order:
        # The split whose share of the pictures is not full yet.
        split = names[min(int(np.searchsorted(limits, len(chosen), side="right")), len(names) - 1)]
        chosen.update(dict.fromkeys(groups[keys[int(place)]], split))
    return chosen


def _content(sample: RawSample) -> str:
    if isinstance(sample.source, FileImage) and sample.source.path.is_file():
        return hashlib.sha256(sample.source.path.read_bytes()).hexdigest()
    return sample.id
