"""Adding a loss or an assigner is one class and one name in a union: everything else finds it there."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Annotated, Any, Literal, Union, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from edgehone.analysis.projection import Candidate, projection_facts
from edgehone.data import read_dataset
from edgehone.projection import Assigner, BoxLoss, Projection
from edgehone.projection.assigners.candidates import Matches, assign_by_image, own_cells
from edgehone.report.facts_sections import projection_section
from edgehone.space import SearchSpace, Settings, Span, diff, dimensions, load, parse_assignments, union_types
from edgehone.strategy import DARKNET, Strategy
from edgehone.types import Assignment, Lattice, Predictions, Targets


# What would be src/edgehone/projection/box_loss/corners.py
class Corners(Settings):
    """Mean absolute distance of the corners, in units of ``unit_px``."""

    kind: Literal["corners"] = "corners"
    weight: Annotated[float, Span(0.02, 0.2, log=True)] = 0.05
    unit_px: Annotated[float, Span(1.0, 50.0)] = 10.0

    def loss(self, predicted_xyxy: Tensor, truth_xyxy: Tensor) -> Tensor:
        return (predicted_xyxy - truth_xyxy).abs().mean(-1) / self.unit_px


# What would be src/edgehone/projection/assigners/own_cell.py
class OwnCell(Settings):
    """Every slot of the cells that hold the object's centre."""

    kind: Literal["own_cell"] = "own_cell"

    def assign(self, targets: Targets, lattice: Lattice, predictions: Predictions) -> Assignment:
        def match(image: int, boxes_xyxy: Tensor, classes: Tensor) -> Matches:
            return own_cells(boxes_xyxy, lattice).matches()

        return assign_by_image(targets, lattice, match)


# The one name in each union
WiderBoxLoss = Annotated[Union[(*union_types(BoxLoss), Corners)], Field(discriminator="kind")]
WiderAssigner = Annotated[Union[(*union_types(Assigner), OwnCell)], Field(discriminator="kind")]


class WiderProjection(Projection):
    box_loss: WiderBoxLoss = DARKNET.projection.box_loss  # pyright: ignore
    assigner: WiderAssigner = DARKNET.projection.assigner  # pyright: ignore


class WiderStrategy(Strategy):
    projection: WiderProjection = WiderProjection()


CHOSEN = ["projection.box_loss.kind=corners", "projection.assigner.kind=own_cell"]


def test_the_search_space_offers_it() -> None:
    found = {d.path + str(d.when): d for d in dimensions(WiderStrategy)}
    kinds = {d.path: d.domain.values for d in found.values() if d.path.endswith("kind")}  # pyright: ignore
    assert kinds["projection.box_loss.kind"][-1] == "corners"
    assert kinds["projection.assigner.kind"][-1] == "own_cell"
    own = [d for d in found.values() if d.path == "projection.box_loss.unit_px"]
    assert [d.when for d in own] == [(("projection.box_loss.kind", "corners"),)]
    rng = np.random.default_rng(0)
    drawn = [SearchSpace(WiderStrategy()).sample(rng) for _ in range(80)]
    assert any(s.projection.box_loss.kind == "corners" for s in drawn)  # pyright: ignore
    assert any(s.projection.assigner.kind == "own_cell" for s in drawn)  # pyright: ignore


def test_the_schema_the_command_line_and_files_know_it() -> None:
    schema = json.dumps(WiderStrategy.model_json_schema())
    assert '"corners"' in schema
    assert '"own_cell"' in schema
    chosen = parse_assignments(WiderStrategy(), [*CHOSEN, "projection.box_loss.unit_px=4"])
    assert isinstance(chosen.projection.box_loss, Corners)
    assert chosen.projection.box_loss.unit_px == 4
    assert load(WiderStrategy, json.loads(chosen.model_dump_json())) == chosen
    assert diff(WiderStrategy(), chosen)["projection.assigner.kind"] == ("best_anchor", "own_cell")


def test_it_is_measured_reported_and_learned_from() -> None:
    chosen = parse_assignments(WiderStrategy(), [*CHOSEN, "input.size=160"])
    data = read_dataset("builtin:digits?train=4&val=1&test=1")
    facts = projection_facts(Candidate("new", chosen), WiderStrategy(), "yolov4-tiny", data.class_names, data.train)
    assert facts.strategy_diff["projection.box_loss.kind"] == "corners"
    assert facts.positives_per_object == 6
    assert facts.start is not None
    assert facts.start.loss_by_term["box"] > 0
    story = cast(Any, SimpleNamespace(profile=SimpleNamespace(projection=(facts,), alignment=())))
    shown = repr(projection_section(story))
    assert "corners" in shown
    assert "own_cell" in shown
    grid = chosen.projection.lattice(np.full((6, 2), 20.0), (32, 16), (64, 64))
    heads = [torch.randn(1, 21, side, side, requires_grad=True) for side in (2, 4)]
    truth = Targets(torch.tensor([[5.0, 5.0, 30.0, 40.0]]), torch.tensor([0]), torch.tensor([0]), 1)
    terms = chosen.projection.loss(heads, truth, grid)
    terms.total.backward()
    assert terms.positives == 6
    assert all(h.grad is not None and h.grad.any() for h in heads)
