"""The tables of a report's sections."""

from __future__ import annotations

from edgehone.report.content import Table
from edgehone.report.search_sections import advice_tables
from edgehone.space import Forbid, Prefer

LIMIT = Forbid(path="input.size", values=(416,), because="too slow")
USUAL, BETTER = (Prefer(path="input.size", value=v, confidence=0.6, because=f"{v} px") for v in (320, 256))


def test_advice_that_was_overruled_stands_apart_and_folded() -> None:
    counting, overruled = advice_tables((LIMIT, USUAL, BETTER))
    assert isinstance(counting, Table)
    assert isinstance(overruled, Table)
    assert [row[1:3] for row in counting.rows] == [("forbid", "416"), ("prefer", "256")]
    assert [row[2] for row in overruled.rows] == ["320"]
    assert (counting.folded, overruled.folded) == (False, True)
    assert overruled.caption.endswith("(1)")


def test_advice_that_nobody_contradicts_is_one_table() -> None:
    assert len(advice_tables((LIMIT, BETTER))) == 1
