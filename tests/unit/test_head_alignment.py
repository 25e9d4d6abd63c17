"""Alignment as analyse shows it: the measure itself, head by head, at an input that is affordable, within a budget."""

from __future__ import annotations

import time

import pytest
import torch

from edgehone.analysis import head_alignment as module
from edgehone.analysis import projection_candidates
from edgehone.analysis.alignment import alignment
from edgehone.analysis.capacity_measures import with_statistics
from edgehone.analysis.head_alignment import AlignmentFacts, alignment_facts, alignment_side
from edgehone.analysis.projection import Candidate, candidate_lattice, teach
from edgehone.augment import fit_picture
from edgehone.data import Dataset, read_dataset
from edgehone.models import Network, architecture
from edgehone.space import replace
from edgehone.training import truth_sides_px

MODEL = "yolov4-tiny@width=0.25"


@pytest.fixture(scope="module")
def data() -> Dataset:
    return read_dataset("builtin:digits?train=12&val=1&test=1")


def test_the_input_is_the_largest_that_is_affordable() -> None:
    sizes = (128, 160, 224, 416, 608)
    small, usual = (architecture(model).graph(3) for model in (MODEL, "yolov4-tiny"))
    assert alignment_side(usual, sizes) == 224
    assert alignment_side(small, sizes) > 224
    assert alignment_side(usual, (608, 512)) == 512


def test_heads_together_are_the_measure_and_it_is_a_function_of_its_arguments(data: Dataset) -> None:
    candidates = projection_candidates(160)[::4]
    found = alignment_facts(candidates, MODEL, data)
    assert found == alignment_facts(candidates, MODEL, data)
    assert [facts.label for facts in found] == [candidate.label for candidate in candidates]
    torch.manual_seed(0)
    network = Network(architecture(MODEL).graph(len(data.class_names)))
    for candidate, facts in zip(candidates, found, strict=True):
        strategy = candidate.strategy
        images = [fit_picture(sample.source.read(), (160, 160), strategy.input.fit) for sample in data.train]
        pixels = torch.stack([torch.from_numpy(image).permute(2, 0, 1).float() / 255 for image in images])
        lattice = candidate_lattice(strategy, (32, 16), truth_sides_px(data.train, strategy))
        taught = teach(strategy, lattice, data.train, len(data.class_names))
        whole = alignment(with_statistics(network, pixels), taught, pixels, len(data.class_names))
        heads = [head for head in facts.heads if head.before is not None]
        mean = sum(head.cells * (head.before or 0.0) for head in heads) / sum(head.cells for head in heads)
        assert mean == pytest.approx(whole, abs=2e-3)
        assert facts.steps == 0
        assert all(head.after is None for head in facts.heads)


def test_steps_are_those_that_the_time_pays_for(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_STEPS", 1)
    monkeypatch.setattr(module, "MOST_STEPS", 6)
    fast = {"optimisation.optimizer.lr": 0.02}
    candidates = [
        Candidate(one.label, replace(one.strategy, fast)) for one in projection_candidates(128)[:2]
    ]  # fmt: skip
    said: list[str] = []
    later = alignment_facts(candidates, MODEL, data, deadline=time.monotonic() + 600, say=said.append)
    assert [facts.steps for facts in later] == [6, 6]
    assert said == ["alignment: 2 trainings of 6 steps of 8 pictures with what is left of the budget"]
    assert any(head.after is not None and head.after != head.before for facts in later for head in facts.heads)
    late = alignment_facts(candidates, MODEL, data, deadline=time.monotonic(), say=said.append)
    assert late == tuple(without_steps(facts) for facts in later)
    assert "does not pay" in said[-1]


def without_steps(facts: AlignmentFacts) -> AlignmentFacts:
    heads = tuple(head.model_copy(update={"after": None}) for head in facts.heads)
    return facts.model_copy(update={"steps": 0, "heads": heads})


def test_a_head_without_objects_has_no_alignment() -> None:
    data = read_dataset("builtin:digits?train=2&val=1&test=1&min_objects=1&max_objects=1")
    found = alignment_facts(projection_candidates(128)[:1], MODEL, data)
    assert any(head.before is None and head.cells < 4 for head in found[0].heads)
