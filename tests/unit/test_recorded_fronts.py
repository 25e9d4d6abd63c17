"""A front against searches for its places: what is kept of both, and which is better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evidence import recorded
from multi_objective import load_matches, save_matches, verdicts

from edgehone.data import read_dataset
from edgehone.evaluation import match, mean_ap
from edgehone.types import Detections


def a_match(limit: int, gain: float | None) -> dict[str, Any]:
    """A front against a search for AP alone: two points to either side by pictures."""
    if gain is None:
        return {"limit": limit, "front": None}
    return {"limit": limit, "front": {}, "gain": {"ap": gain, "interval95": [gain - 0.02, gain + 0.02]}}


@pytest.mark.parametrize(
    ("gains", "equal", "text"),
    [
        ([-0.01], True, "-1.0 [-3.0, +1.0] over pictures: equal"),
        ([-0.03], False, "-3.0 [-5.0, -1.0] over pictures: worse"),
        ([0.03], True, "+3.0 [+1.0, +5.0] over pictures: better"),
        ([-0.04, 0.0, 0.01], True, "-1.0 [-7.6, +5.6] over 3 seeds: equal"),
        ([-0.04, -0.05, -0.045], False, "-4.5 [-5.7, -3.3] over 3 seeds: worse"),
        ([0.01, None], False, "nothing as fast"),
    ],
)
def test_a_front_is_judged_by_seeds_where_there_are_several(gains: list[Any], equal: bool, text: str) -> None:
    rows = [a_match(256, 0.0), *(a_match(160, gain) for gain in gains)]
    other, mine = verdicts(rows)
    assert other == (True, "up to 256 px: +0.0 [-2.0, +2.0] over pictures: equal")
    assert mine[0] == equal
    assert text in mine[1]


def test_matches_are_kept_whole(tmp_path: Path) -> None:
    samples = read_dataset("builtin:digits?train=4&val=2&test=6").test
    truths = [sample.truth() for sample in samples]
    found = [
        Detections(t.boxes_xyxy + 2, np.linspace(0.9, 0.5, len(t.classes), dtype=np.float32), t.classes) for t in truths
    ]
    both = [match(truths, found, 10), match(truths, found[::-1], 10)]
    save_matches(tmp_path / "new" / "m.npz", both)
    again = load_matches(tmp_path / "new" / "m.npz")
    assert [mean_ap(each) for each in again] == [mean_ap(each) for each in both]
    assert recorded(tmp_path / "none.json") is None
