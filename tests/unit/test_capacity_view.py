"""What people and scripts see of the capacity analysis."""

from __future__ import annotations

import io
import json

from rich.console import Console

from edgehone.analysis import analyse
from edgehone.analysis.capacity_probe import ProbeFacts, ProbePlan, Rung
from edgehone.analysis.capacity_recall import Recall
from edgehone.console_analysis import analysis_summary, print_analysis
from edgehone.data import read_dataset

DATA = read_dataset("builtin:digits?train=6&val=2&test=2&classes=2&width=96&height=96&min_px=20&max_px=60")


def probe_facts() -> ProbeFacts:
    plan = ProbePlan(
        model="yolov4-tiny", strengths=(0.0,), steps=40, batch_size=8, pictures=6, input_size=160, precision="fp32",
        seed=0, seconds=1.0,
    )  # fmt: skip
    recall = Recall(overall=0.5, by_size={"32 to 64 px": 0.25}, by_class={"0": 0.5, "1": 0.5})
    rung = Rung(strength=0.0, loss=1.0, f1=0.625, fitted=recall, ceiling=recall)
    return ProbeFacts(plan=plan, objects={"32 to 64 px": 8}, rungs=(rung,), fits_up_to=0.0, seconds=1.0)


def test_the_analysis_shows_heads_and_probe_and_is_one_document() -> None:
    profile = analyse(DATA, "yolov4-tiny", (128, 160))
    assert profile.capacity.probe is None, "nothing is trained without a budget"
    capacity = profile.capacity.model_copy(update={"probe": probe_facts()})
    profile = profile.model_copy(update={"capacity": capacity})
    output = io.StringIO()
    print_analysis(Console(file=output, width=160), profile, ())
    text = " ".join(output.getvalue().split())
    assert "heads at 160 px" in text
    assert "6 pictures learned in 40 steps at 160 px" in text
    assert "0.625" in text
    assert (
        "alignment of the heads' features with their targets at 160 px, 6 pictures (and positive cells); it describes"
        in text
    )
    assert "32 px, untrained" in text
    document = json.loads(json.dumps(analysis_summary(profile, ()), allow_nan=False))
    assert [row["label"] for row in document["projection"]["alignment"]] == [
        "darknet", "authors", "kmeans", "by_level", "task_aligned"
    ]  # fmt: skip
    summary = document["capacity"]
    assert summary["probe"]["rungs"][0]["fitted"]["by_size"] == {"32 to 64 px": 0.25}
    assert [field["stride"] for field in summary["measured"]["effective_fields"]] == [32, 16]
    assert len(summary["layers"]) == 38
    assert {row["input_size"] for row in summary["coverage"]} == {128, 160}
    assert type(profile).model_validate_json(profile.model_dump_json()) == profile
