"""Distillation: nothing is lost by agreeing, everything stays finite, and what is off changes no bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgehone.projection import (
    Assigner,
    BoxLoss,
    Coding,
    Distillation,
    Knowledge,
    Missing,
    Projection,
)
from edgehone.projection.distillation import divergence, joint_logits
from edgehone.space import replace, union_types
from edgehone.types import Answers, Lattice, Predictions, Targets

CLASSES, IMAGES, SIZE, STRIDES = 3, 3, (64, 96), (32, 16)
TAUGHT = ("teacher", "average")
NORMALISATIONS = ("image", "mean", "batch")


def kinds(alias: Any) -> list[str]:
    return [str(member.model_fields["kind"].default) for member in union_types(alias)]


def projection(**changes: Any) -> Projection:
    return replace(Projection(), {path.replace("__", "."): value for path, value in changes.items()})


def lattice_of(parts: Projection) -> Lattice:
    return parts.lattice(parts.anchors.anchors_px(np.full((4, 2), 30.0), SIZE, STRIDES), STRIDES, SIZE)


def heads_of(grid: Lattice, seed: int = 0, scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(IMAGES, a * (5 + CLASSES), h, w) for a, h, w in grid.shapes]
    return [(scale * torch.randn(shape, generator=generator)).requires_grad_() for shape in shapes]


def boxes_of(seed: int, count: int) -> Targets:
    rng = np.random.default_rng(seed)
    sides = np.exp(rng.uniform(np.log(4), np.log(50), (count, 2)))
    corner = rng.uniform(0, 1, (count, 2)) * (np.array(SIZE[::-1]) - sides)
    boxes = torch.from_numpy(np.concatenate([corner, corner + sides], 1)).float()
    images = torch.from_numpy(rng.integers(0, IMAGES - 1, count))  # the last picture stays empty
    return Targets(boxes, torch.from_numpy(rng.integers(0, CLASSES, count)), images, IMAGES)


def answers_of(seed: int, count: int = 6) -> Answers:
    return Answers(boxes_of(seed, count), torch.from_numpy(np.random.default_rng(seed).random(count)).float())


def nothing() -> Targets:
    return Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long), IMAGES)


def knowledge_of(parts: Projection, grid: Lattice, seed: int, scale: float = 1.0) -> Knowledge:
    said = parts.predictions([head.detach() for head in heads_of(grid, seed, scale)], grid)
    return Knowledge(average=said, answers=answers_of(seed))


@given(st.floats(-14, 14), st.floats(-14, 14))
def test_joint_log_odds_are_those_of_the_product(objectness: float, label: float) -> None:
    said = joint_logits(torch.tensor([objectness], dtype=torch.float64), torch.tensor([[label]], dtype=torch.float64))
    chance = 1 / (1 + math.exp(-objectness)) / (1 + math.exp(-label))
    assert float(said) == pytest.approx(math.log(chance / (1 - chance)), rel=1e-6, abs=1e-6)


def test_joint_log_odds_stay_finite_far_out() -> None:
    far = torch.tensor([-500.0, 0.0, 500.0])
    said = joint_logits(far[:, None].expand(3, 3), far.expand(3, 3, 3))
    assert torch.isfinite(said).all()
    assert said.max() > 400


@given(st.floats(-30, 30), st.floats(-30, 30))
def test_the_divergence_is_kullback_and_leiblers(student: float, teacher: float) -> None:
    found = float(divergence(torch.tensor(student, dtype=torch.float64), torch.tensor(teacher, dtype=torch.float64)))
    p = 1 / (1 + math.exp(-teacher))
    softplus = [math.log1p(math.exp(-abs(z))) + max(z, 0) for z in (student, -student, teacher, -teacher)]
    expected = p * (softplus[1] - softplus[3]) + (1 - p) * (softplus[0] - softplus[2])
    assert found == pytest.approx(expected, abs=1e-9)
    assert found >= -1e-9
    assert float(divergence(torch.tensor(student), torch.tensor(student))) == 0


@pytest.mark.parametrize("box_loss", kinds(BoxLoss))
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_a_student_that_equals_the_average_loses_nothing(box_loss: str, normalisation: str) -> None:
    changes = {"box_loss.kind": box_loss, "normalisation": normalisation, "distillation.kind": "average"}
    parts = replace(Projection(), {**changes, "distillation.temperature": 2.0})
    grid = lattice_of(parts)
    heads = heads_of(grid, 1, 2.0)
    plain = parts.loss(heads, boxes_of(2, 5), grid)
    same = parts.loss(heads, boxes_of(2, 5), grid, knowledge=knowledge_of(parts, grid, 1, 2.0))
    assert same.distillation is not None
    assert abs(float(same.distillation)) < 1e-5
    other = parts.loss(heads, boxes_of(2, 5), grid, knowledge=knowledge_of(parts, grid, 7, 2.0))
    assert other.distillation is not None
    assert float(other.distillation) > 1e-3
    assert float(other.total.detach()) == pytest.approx(float(plain.total.detach()) + float(other.distillation))


@pytest.mark.parametrize("assigner", kinds(Assigner))
@pytest.mark.parametrize("coding", kinds(Coding))
def test_a_student_that_says_what_the_teacher_said_loses_nothing(assigner: str, coding: str) -> None:
    parts = projection(assigner__kind=assigner, coding__kind=coding, distillation__kind="teacher")
    grid = lattice_of(parts)
    boxes = torch.tensor([[10.0, 8, 38, 45], [50, 20, 80, 60]])
    answers = Answers(Targets(boxes, torch.tensor([1, 2]), torch.tensor([0, 1]), IMAGES), torch.tensor([0.8, 0.35]))
    slots = (torch.arange(grid.slots), grid.cells_xy, grid.strides, grid.anchors_px)
    # The first picture's slots all say the first answer, as near as they can, the others the second.
    said = [parts.coding.encode(boxes[k].expand(grid.slots, 4), *slots[1:]) for k in (0, 1, 1)]
    exact = torch.stack([parts.coding.reach(boxes[k].expand(grid.slots, 4), *slots[1:]) for k in (0, 1, 1)])
    logits = torch.full((IMAGES, grid.slots, CLASSES), -30.0)
    for image, (label, score) in enumerate([(1, 0.8), (2, 0.35), (2, 0.35)]):
        logits[image, :, label] = math.log(score / (1 - score))
    decoded = torch.stack([parts.coding.decode(one, *slots[1:]) for one in said])
    student = Predictions(decoded, torch.full((IMAGES, grid.slots), 40.0), logits)
    lesson = parts.distillation.lesson(Knowledge(answers=answers), grid, student, parts.assigner)
    assert lesson is not None
    assert len(lesson.slots)
    assert not (lesson.images == 2).any()
    assert {round(float(s), 3) for s in lesson.logits[lesson.heard].sigmoid()} == {0.8, 0.35}
    said_exactly = exact[lesson.images, lesson.slots]
    assert said_exactly.any()
    loss = parts.distillation.loss(lesson, parts.loss_parts(), student, grid)  # pyright: ignore
    assert float(loss) < (1e-4 if said_exactly.all() else 0.1)


@pytest.mark.parametrize("kind", TAUGHT)
@pytest.mark.parametrize("missing", kinds(Missing))
@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_gradients_are_finite(kind: str, missing: str, scale: float) -> None:
    for seed, normalisation in enumerate(NORMALISATIONS):
        parts = projection(distillation__kind=kind, missing__kind=missing, normalisation=normalisation)
        grid = lattice_of(parts)
        heads = heads_of(grid, seed, scale)
        terms = parts.loss(heads, boxes_of(seed, 8), grid, knowledge=knowledge_of(parts, grid, seed + 9, scale))
        terms.total.backward()
        assert all(math.isfinite(value) for value in terms.values().values())
        assert all(head.grad is not None and torch.isfinite(head.grad).all() for head in heads)


@pytest.mark.parametrize("kind", kinds(Distillation))
@pytest.mark.parametrize("missing", kinds(Missing))
def test_without_answers_and_without_labels_there_is_still_a_loss(kind: str, missing: str) -> None:
    parts = projection(distillation__kind=kind, missing__kind=missing)
    grid = lattice_of(parts)
    heads = heads_of(grid)
    plain = parts.loss(heads, nothing(), grid)
    none = parts.loss(heads, nothing(), grid, knowledge=Knowledge(answers=Answers(nothing(), torch.zeros(0))))
    assert float(plain.total.detach()) == float(none.total.detach()) > 0


def test_what_is_off_changes_no_bit() -> None:
    parts = projection()
    grid = lattice_of(parts)
    grads: list[list[Tensor]] = []
    for knowledge in (None, Knowledge(), knowledge_of(parts, grid, 3)):
        heads = heads_of(grid)
        terms = parts.loss(heads, boxes_of(2, 8), grid, knowledge=knowledge)
        assert set(terms.values()) == {"total", "box", "objectness", "classification"}
        grads.append(list(torch.autograd.grad(terms.total, heads)))
    assert all(torch.equal(a, b) for other in grads[1:] for a, b in zip(grads[0], other, strict=True))


def test_weights_scale_their_terms() -> None:
    def term(scores: float, boxes: float) -> float:
        parts = projection(distillation__kind="average", distillation__scores=scores, distillation__boxes=boxes)
        grid = lattice_of(parts)
        found = parts.loss(heads_of(grid), nothing(), grid, knowledge=knowledge_of(parts, grid, 4)).distillation
        assert found is not None
        return float(found)

    assert term(0, 0) == 0
    assert term(2, 0) == pytest.approx(2 * term(1, 0), rel=1e-5)
    assert term(0, 2) == pytest.approx(2 * term(0, 1), rel=1e-5)
    assert term(1, 1) == pytest.approx(term(1, 0) + term(0, 1), rel=1e-5)


def test_the_temperature_leaves_small_differences_as_they_are() -> None:
    def term(temperature: float) -> float:
        parts = projection(distillation__kind="average", distillation__temperature=temperature, distillation__boxes=0.0)
        grid = lattice_of(parts)
        boxes, sure = torch.ones(IMAGES, grid.slots, 4), torch.full((IMAGES, grid.slots), 60.0)
        said = (Predictions(boxes, sure, torch.full((IMAGES, grid.slots, CLASSES), z)) for z in (0.1, 0.0))
        student, average = said
        lesson = parts.distillation.lesson(Knowledge(average=average), grid, student, parts.assigner)
        assert lesson is not None
        return float(parts.distillation.loss(lesson, parts.loss_parts(), student, grid))  # pyright: ignore

    assert term(1.0) > 0
    assert term(3.0) == pytest.approx(term(1.0), rel=0.01)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.floats(0.05, 0.9))
def test_only_answers_above_the_threshold_are_heard(seed: int, threshold: float) -> None:
    parts = projection(distillation__kind="teacher", distillation__threshold=threshold)
    grid = lattice_of(parts)
    answers = answers_of(seed)
    student = parts.predictions(heads_of(grid), grid)
    heard = parts.distillation.lesson(Knowledge(answers=answers), grid, student, parts.assigner)
    sure = Answers(answers.targets.where(answers.scores >= threshold), answers.scores[answers.scores >= threshold])
    alone = parts.distillation.lesson(Knowledge(answers=sure), grid, student, parts.assigner)
    assert heard is not None
    assert alone is not None
    assert torch.equal(heard.logits, alone.logits)
    assert torch.equal(heard.slots, alone.slots)
    assert bool((heard.logits[heard.heard].sigmoid() >= threshold - 2e-4).all())


def test_the_average_is_asked_from_its_start_on() -> None:
    parts = projection(distillation__kind="average", distillation__start=0.5)
    assert [parts.distillation.asks_average(share) for share in (0, 0.49, 0.5, 1)] == [False, False, True, True]
    assert parts.asks_average(has_teacher=True)
    excused = projection(missing__kind="excuse")
    assert (excused.asks_average(has_teacher=False), excused.asks_average(has_teacher=True)) == (True, False)
    assert excused.asks_teacher()
    assert not projection().asks_average(has_teacher=False)
    assert not projection().asks_teacher()
