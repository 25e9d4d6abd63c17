"""Every value of a found strategy has an origin: default, rule, or the first trial that had it."""

from __future__ import annotations

from edgehone.search.origins import nearly, value_origins
from edgehone.search.trial import Outcome, Task
from edgehone.space import Prefer, flatten, replace
from edgehone.strategy import Strategy
from edgehone.training import Job


def trial(name: str, strategy: Strategy, origin: str) -> Outcome:
    job = Job(model="yolov4-tiny", strategy=strategy, steps=10, batch_size=4)
    task = Task(name=name, rung="short", job=job, gflops=1.0, origin=origin)
    return Outcome(task=task, status="done", ap=0.1, validation=None, curve=[], seconds=1.0)


def test_defaults_have_no_other_origin() -> None:
    origins = value_origins(Strategy(), [], [trial("short-00", Strategy(), "drawn")])
    assert set(origins) == set(flatten(Strategy()))
    assert {origin["from"] for origin in origins.values()} == {"default"}


def test_rule_then_first_trial_then_given() -> None:
    found = replace(
        Strategy(),
        {"input.size": 256, "optimisation.optimizer.lr": 0.0123, "augmentation.mosaic.probability": 0.77},
    )
    prior = Prefer(path="input.size", value=256, confidence=0.6, because="small fish", evidence={"px": 20})
    partly = replace(Strategy(), {"optimisation.optimizer.lr": 0.0123})
    trials = [
        trial("short-00", Strategy(), "first"),
        trial("short-01", partly, "drawn"),
        trial("short-02", partly, "x"),
    ]
    origins = value_origins(found, [prior], trials)
    assert origins["input.size"] == {"from": "rule", "because": "small fish", "evidence": {"px": 20}}
    assert origins["optimisation.optimizer.lr"] == {"from": "trial", "trial": "short-01", "because": "drawn"}
    assert origins["augmentation.mosaic.probability"] == {"from": "given"}


def test_values_of_another_kind_are_that_kinds_defaults() -> None:
    found = replace(Strategy(), {"projection.assigner.kind": "task_aligned"})
    origins = value_origins(found, [], [trial("short-00", found, "drawn")])
    changed = {path for path, origin in origins.items() if origin["from"] != "default"}
    assert changed == {"projection.assigner.kind"}


def test_nearly_compares_numbers_loosely_and_nothing_else() -> None:
    assert nearly(0.1005, 0.1)
    assert not nearly(0.105, 0.1)
    assert not nearly(True, 1.001)
    assert nearly("kmeans", "kmeans")
