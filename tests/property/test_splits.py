"""Split lists win, then the format's own split, then a seeded draw that keeps equal files together."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.data.checks import Findings
from edgehone.data.dataset import Finding
from edgehone.data.folder import Folder
from edgehone.data.samples import GrowingColumns, Samples
from edgehone.data.splits import SPLITS, split_pictures

Raw = list[tuple[str, str | None]]
"""Id and the format's own split of each picture."""


def samples(root: Path, contents: list[int], own: list[str | None] | None = None) -> Raw:
    """Files (never decoded here) of the given contents."""
    found: Raw = []
    for number, content in enumerate(contents):
        path = root / f"p{number:03}.png"
        path.write_bytes(bytes([content]))
        found.append((path.name, own[number] if own else None))
    return found


def split_samples(folder: Folder, raw: Raw, seed: int) -> tuple[dict[str, str], tuple[Finding, ...]]:
    """Picture to split, and what was found."""
    columns = GrowingColumns()
    for _ in raw:
        columns.add((10, 10), [], [], [])
    pictures = Samples(folder.root, [name for name, _ in raw], columns.columns(), [""] * len(raw))
    findings = Findings()
    places = split_pictures(folder, pictures, [own for _, own in raw], seed, None, findings)
    return {raw[k][0]: split for split in SPLITS for k in places[split]}, findings.all()


@settings(max_examples=25, deadline=None)
@given(contents=st.lists(st.integers(0, 20), min_size=20, max_size=60), seed=st.integers(0, 5))
def test_equal_files_never_straddle_a_drawn_split(contents: list[int], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        raw = samples(Path(folder), contents)
        chosen, findings = split_samples(Folder(Path(folder)), raw, seed)
        again, _ = split_samples(Folder(Path(folder)), raw[::-1], seed)
    assert chosen == again
    assert chosen.keys() == {name for name, _ in raw}
    places: dict[int, set[str]] = {}
    for number, content in enumerate(contents):
        places.setdefault(content, set()).add(chosen[f"p{number:03}.png"])
    assert all(len(splits) == 1 for splits in places.values())
    assert findings[0].code == "split-drawn"


@settings(max_examples=20, deadline=None)
@given(count=st.integers(10, 200), seed=st.integers(0, 5))
def test_a_drawn_split_keeps_its_shares(count: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        raw = samples(Path(folder), [0] * count)
        for number, (name, _) in enumerate(raw):
            (Path(folder) / name).write_text(str(number))
        chosen, _ = split_samples(Folder(Path(folder)), raw, seed)
    shares = Counter(chosen.values())
    for split, share in zip(SPLITS, (0.7, 0.15, 0.15), strict=True):
        assert abs(shares[split] - share * count) <= 1.5


def test_another_seed_draws_another_split(tmp_path: Path) -> None:
    raw = samples(tmp_path, list(range(60)))
    drawn = [split_samples(Folder(tmp_path), raw, seed)[0] for seed in range(3)]
    assert drawn[0] != drawn[1] != drawn[2]


def test_lists_win_over_the_formats_own_split(tmp_path: Path) -> None:
    raw = samples(tmp_path, list(range(6)), ["test"] * 6)
    (tmp_path / "train.txt").write_text("./p000.png\np001.png\n\n")
    (tmp_path / "val.txt").write_text("p002.jpg\np001.png\nabsent.png\n")
    (tmp_path / "test.txt").write_text("p003.png\n")
    chosen, findings = split_samples(Folder(tmp_path), raw, 0)
    assert chosen == {"p000.png": "train", "p001.png": "train", "p002.png": "val", "p003.png": "test"}
    assert [(f.code, f.where) for f in findings[:2]] == [
        ("split-overlap", "val.txt line 2"),
        ("split-entry-unknown", "val.txt line 3"),
    ]
    assert findings[2].code == "split-missing"
    assert "2 labelled pictures" in findings[2].message


@pytest.mark.parametrize("missing", ["val", "test"])
def test_a_missing_split_is_cut_from_training(tmp_path: Path, missing: str) -> None:
    other = "test" if missing == "val" else "val"
    raw = samples(tmp_path, list(range(50)), ["train"] * 40 + [other] * 10)
    chosen, findings = split_samples(Folder(tmp_path), raw, 0)
    assert Counter(chosen.values()) == {"train": 34, other: 10, missing: 6}
    assert [f.code for f in findings] == [f"split-{missing}-missing"]


def test_where_only_held_out_pictures_are_listed_the_rest_is_for_training(tmp_path: Path) -> None:
    raw = samples(tmp_path, list(range(10)))
    (tmp_path / "val.txt").write_text("p000.png\n")
    (tmp_path / "test.txt").write_text("p001.png\n")
    chosen, findings = split_samples(Folder(tmp_path), raw, 0)
    assert Counter(chosen.values()) == {"train": 8, "val": 1, "test": 1}
    assert findings == ()
