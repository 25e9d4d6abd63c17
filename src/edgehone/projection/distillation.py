"""Distillation: what another detector says of the same pictures, learned beside the labels.

The student's scores are drawn towards the teacher's by the Kullback-Leibler divergence of yes-or-no answers at a
temperature (Hinton et al., Distilling the Knowledge in a Neural Network, 2015), its boxes by the strategy's own box
loss, each by as much as the teacher is sure (objectness-scaled distillation: Mehta and Ozturk, Object detection at
200 Frames Per Second, 2018). Both terms are summed and normalised like the label's, so that a weight of 1 means that
the teacher speaks as loudly as the labels. Nothing here runs a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from edgehone.projection.assigners import Assigner
from edgehone.projection.binary import cross_entropy
from edgehone.projection.loss import LossParts, divisor, per_slot
from edgehone.space import Settings, Span
from edgehone.types import Answers, Lattice, Predictions

SUREST = 1e-4
"""How far from 0 and 1 a teacher's score is kept: its log-odds must be finite."""


@dataclass(frozen=True)
class Knowledge:
    """What is known of a batch beside its labels.

    Attributes:
        average: what the run's moving average says on the student's lattice, where it is to be distilled.
        answers: what a teacher of any architecture, or else the average, found in the pictures.
        features: ``[b, c, h, w]`` each, what heads of a teacher or of the average read, where that is imitated.
    """

    average: Predictions | None = None
    answers: Answers | None = None
    features: Sequence[Tensor] = ()


@dataclass(frozen=True)
class Lesson:
    """A teacher's word on the student's lattice.

    Attributes:
        logits: ``[b, n, c]`` log-odds of "an object of this class is here".
        heard: ``[b, n, c]`` (or broadcast) bool, where it has a word at all.
        images: ``[p]`` int64, image of each box.
        slots: ``[p]`` int64, the slot that should say it.
        boxes_xyxy: ``[p, 4]``, pixels of the network input.
        votes: ``[p]`` in 0..1, how sure the teacher is of each.
    """

    logits: Tensor
    heard: Tensor
    images: Tensor
    slots: Tensor
    boxes_xyxy: Tensor
    votes: Tensor


class NoDistillation(Settings):
    """The labels alone."""

    kind: Literal["off"] = "off"

    def asks_average(self, progress: float) -> bool:
        """Never."""
        del progress
        return False

    def lesson(
        self, knowledge: Knowledge, lattice: Lattice, predictions: Predictions, assigner: Assigner
    ) -> Lesson | None:
        """None."""
        del knowledge, lattice, predictions, assigner


class _Weights(Settings):
    """How a lesson counts.

    ``scores`` and ``boxes`` are weights beside the labels' terms. ``temperature`` softens both sides' log-odds; its
    square keeps the gradient's size.
    """

    scores: Annotated[float, Span(0.0, 2.0), Field(ge=0)] = 1.0
    boxes: Annotated[float, Span(0.0, 2.0), Field(ge=0)] = 1.0
    temperature: Annotated[float, Span(1.0, 4.0), Field(gt=0)] = 1.0

    def loss(self, lesson: Lesson, parts: LossParts, predictions: Predictions, lattice: Lattice) -> Tensor:
        """How far a batch is from the lesson: a scalar with gradient, 0 where the student says the same."""
        said = joint_logits(predictions.objectness_logits, predictions.class_logits) / self.temperature
        apart = divergence(said, lesson.logits / self.temperature) * lesson.heard
        slots = per_slot(parts, self.temperature**2 * apart.sum(-1), lattice, len(lesson.slots))
        predicted = predictions.boxes_xyxy[lesson.images, lesson.slots]
        boxes = (parts.box_loss.loss(predicted, lesson.boxes_xyxy) * lesson.votes).sum()
        images = len(predictions.boxes_xyxy)
        if parts.normalisation == "mean":
            boxes = boxes / lesson.votes.sum().clamp(min=1e-3) * images
        else:
            boxes = boxes / divisor(parts, images, len(lesson.slots))
        return self.scores * parts.objectness.weight * slots.sum() + self.boxes * parts.box_loss.weight * boxes


class TeacherDistillation(_Weights):
    """From a trained detector of any architecture, which answered once about each original picture.

    An answer of at least ``threshold`` is projected by the strategy's own assigner: its positives should say the
    answer's score for its class (a score is objectness times class, and so is what is compared) and its box.
    """

    kind: Literal["teacher"] = "teacher"
    threshold: Annotated[float, Span(0.05, 0.6), Field(ge=0, lt=1)] = 0.2

    def asks_average(self, progress: float) -> bool:
        """Never."""
        del progress
        return False

    def lesson(
        self, knowledge: Knowledge, lattice: Lattice, predictions: Predictions, assigner: Assigner
    ) -> Lesson | None:
        """From the teacher's answers, where there are any."""
        if knowledge.answers is None:
            return None
        answers = knowledge.answers.at_least(self.threshold)
        found = assigner.assign(answers.targets, lattice, predictions)
        scores, classes = answers.scores[found.truths], answers.targets.classes[found.truths]
        # Where two answers meet in a slot, the surer one is heard.
        sure = torch.zeros_like(predictions.class_logits, requires_grad=False)
        place = (found.images * sure.shape[1] + found.slots) * sure.shape[2] + classes
        sure.view(-1).scatter_reduce_(0, place, scores.to(sure.dtype), "amax")
        return Lesson(
            logits=sure.clamp(SUREST, 1 - SUREST).logit(),
            heard=sure > 0,
            images=found.images,
            slots=found.slots,
            boxes_xyxy=answers.targets.boxes_xyxy[found.truths],
            votes=scores * found.quality,
        )


class AverageDistillation(_Weights):
    """From the moving average of the student's own weights, which answers about the very batch.

    As in Tarvainen and Valpola, Mean teachers are better role models, 2017, but on labelled pictures. All scores are
    compared; boxes where the average's best score is at least ``threshold``. It is heard after the share ``start`` of
    the run, when it has something to say.
    """

    kind: Literal["average"] = "average"
    threshold: Annotated[float, Span(0.05, 0.6), Field(ge=0, lt=1)] = 0.2
    start: Annotated[float, Span(0.1, 0.8), Field(ge=0, le=1)] = 0.3

    def asks_average(self, progress: float) -> bool:
        """Whether the average must run at this share of the run."""
        return progress >= self.start

    def lesson(
        self, knowledge: Knowledge, lattice: Lattice, predictions: Predictions, assigner: Assigner
    ) -> Lesson | None:
        """From the average's predictions, where it was asked."""
        del lattice, assigner
        if knowledge.average is None:
            return None
        logits = joint_logits(knowledge.average.objectness_logits, knowledge.average.class_logits).detach()
        sure = logits.amax(-1).sigmoid()
        images, slots = (sure >= self.threshold).nonzero().unbind(1)
        boxes = knowledge.average.boxes_xyxy.detach()[images, slots]
        heard = torch.ones((), dtype=torch.bool, device=logits.device)
        return Lesson(logits, heard, images, slots, boxes, sure[images, slots])


Distillation = Annotated[NoDistillation | TeacherDistillation | AverageDistillation, Field(discriminator="kind")]


def distillation_loss(
    settings: Distillation,
    knowledge: Knowledge,
    parts: LossParts,
    predictions: Predictions,
    lattice: Lattice,
    assigner: Assigner,
) -> Tensor | None:
    """The term that is added to the loss of a batch; None where there is nothing to learn from."""
    with torch.no_grad():
        lesson = settings.lesson(knowledge, lattice, predictions, assigner)
    if lesson is None or isinstance(settings, NoDistillation):
        return None
    return settings.loss(lesson, parts, predictions, lattice)


def joint_logits(objectness: Tensor, classes: Tensor) -> Tensor:
    """``[..., n]`` and ``[..., n, c]`` logits to the log-odds ``[..., n, c]`` of objectness times class.

    ``logit(sigmoid(o) * sigmoid(k)) = -log(e^-o + e^-k + e^-(o + k))``, without loss of digits.
    """
    no, not_this = -objectness[..., None], -classes
    return -torch.logaddexp(torch.logaddexp(no, not_this), no + not_this)


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """``[...]``: Kullback-Leibler divergence of yes-or-no answers with these log-odds; 0 where they are the same."""
    wanted = teacher.sigmoid()
    return cross_entropy(student, wanted) - cross_entropy(teacher, wanted)
