"""Pictures: blank, doubled, almost doubled, and in more than one split."""

from __future__ import annotations

import numpy as np

from edgehone.data.checks import Findings
from edgehone.data.doctor.view import SPLITS, View
from edgehone.data.near_duplicates import equal_content, near_duplicates

SHOWN = 3


def check_pictures(view: View, findings: Findings) -> None:
    """Every check of pixels."""
    if view.survey is None:
        return
    for picture in np.flatnonzero(view.survey.blank).tolist():
        message = f"one colour, brightness {view.survey.brightness[picture]:.0f} of 255"
        findings.add("image-blank", view.id(picture), message, sample=view.id(picture))
    equal = equal_content(view.survey)
    representative = np.arange(len(view.samples))
    for group in equal:
        representative[group] = group[0]
        _equal(view, group, findings)
    for group in near_duplicates(view.survey):
        # One of each set of equal files is enough: the others have been named.
        distinct = sorted({int(representative[k]) for k in group})
        if len(distinct) > 1:
            _near(view, distinct, findings)


def _equal(view: View, group: list[int], findings: Findings) -> None:
    splits = sorted({int(view.splits[k]) for k in group})
    conflict = any(not _same_labels(view, group[0], other) for other in group[1:])
    if len(splits) > 1:
        _add("split-leak", view, group, f"equal pictures in {_named(splits)}", findings)
    if conflict:
        counts = sorted({int(view.labels.starts[k + 1] - view.labels.starts[k]) for k in group})
        boxes = " or ".join(map(str, counts))
        _add("label-conflict", view, group, f"equal pictures, labelled differently ({boxes} boxes)", findings)
    elif len(splits) == 1:
        _add("image-duplicate", view, group, f"equal pictures in {_named(splits)}", findings)


def _near(view: View, group: list[int], findings: Findings) -> None:
    splits = sorted({int(view.splits[k]) for k in group})
    code = "split-near-leak" if len(splits) > 1 else "image-near-duplicate"
    _add(code, view, group, f"almost equal pictures in {_named(splits)}", findings)


def _add(code: str, view: View, group: list[int], message: str, findings: Findings) -> None:
    # One of each split first: that is what a leak is about.
    _, firsts = np.unique(view.splits[group], return_index=True)
    leading = [group[int(k)] for k in firsts]
    names = [view.id(k) for k in [*leading, *(k for k in group if k not in leading)]]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    text = f"{len(names)} {message}: {', '.join(names[:SHOWN])}{more}"
    findings.add(code, names[0], text, sample=names[0], related=tuple(names[1:]))


def _named(splits: list[int]) -> str:
    return " and ".join(SPLITS[k] for k in splits)


def _same_labels(view: View, a: int, b: int) -> bool:
    starts, boxes, classes = view.labels.starts, view.labels.boxes_xyxy, view.labels.classes
    first, second = slice(starts[a], starts[a + 1]), slice(starts[b], starts[b + 1])
    if starts[a + 1] - starts[a] != starts[b + 1] - starts[b]:
        return False
    one = np.column_stack([classes[first], boxes[first]])
    two = np.column_stack([classes[second], boxes[second]])
    return bool(np.allclose(one[np.lexsort(one.T)], two[np.lexsort(two.T)], atol=0.5))
