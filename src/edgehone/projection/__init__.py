"""The knowledge projection space: how labels become learning targets on a detector's lattice."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgehone.projection.anchors import (
    Anchors,
    EvolvedAnchors,
    KmeansAnchors,
    LevelAnchors,
    OfficialAnchors,
    anchor_masks,
)
from edgehone.projection.assigners import Assigner, Atss, BestAnchor, RatioMatch, SimOta, TaskAligned
from edgehone.projection.binary import Bce, Focal, QualityFocal, Varifocal
from edgehone.projection.box_loss import AlphaIou, BoxLoss, Ciou, Diou, Eiou, Giou, Iou, Mse, Siou, Wasserstein
from edgehone.projection.classification import Classification, ClassLoss, Softmax
from edgehone.projection.coding import Coding, DistanceCoding, ExpCoding, SquaredSigmoidCoding
from edgehone.projection.distillation import (
    AverageDistillation,
    Distillation,
    Knowledge,
    NoDistillation,
    TeacherDistillation,
    distillation_loss,
)
from edgehone.projection.features import AverageFeatures, Features, NoFeatures, TeacherFeatures
from edgehone.projection.ignored import excuse_regions, objects_only
from edgehone.projection.lattice import build_lattice, flatten_heads
from edgehone.projection.loss import LossParts, LossTerms, Normalisation, Vote, detection_loss
from edgehone.projection.missing import Excuse, Missing, PseudoLabel, Punish, mend
from edgehone.projection.objectness import Objectness, ObjectnessLoss
from edgehone.space import Choice, Settings
from edgehone.types import Lattice, Predictions, Size, Targets


class Projection(Settings):
    """Everything between a label and the number that a slot should say."""

    anchors: Anchors = OfficialAnchors()
    second_head_mask: Annotated[Literal["1,2,3", "0,1,2"], Choice("1,2,3", "0,1,2")] = "0,1,2"
    coding: Coding = ExpCoding()
    assigner: Assigner = RatioMatch()
    box_loss: BoxLoss = Ciou()
    objectness: Objectness = Objectness()
    classification: Classification = Classification()
    normalisation: Annotated[Normalisation, Choice("image", "mean", "batch")] = "mean"
    vote: Annotated[Vote, Choice("positive", "object")] = "positive"
    distillation: Distillation = NoDistillation()
    features: Features = NoFeatures()
    missing: Missing = Punish()

    def anchor_masks(self, heads: int) -> tuple[tuple[int, ...], ...]:
        """Per level, coarse head first, the anchors of the whole list that it owns: ``len`` is its anchors a cell."""
        return anchor_masks(heads, self.anchors.per_head, self.second_head_mask)

    def lattice(self, anchors_px: NDArray[np.float64], strides: Sequence[int], input_size: Size) -> Lattice:
        """The lattice of a detector with heads of these strides (coarse first) and this whole list of anchors."""
        masks = self.anchor_masks(len(strides))
        return build_lattice(torch.as_tensor(anchors_px, dtype=torch.float32), masks, strides, input_size)

    def predictions(self, heads: Sequence[Tensor], lattice: Lattice) -> Predictions:
        """Raw heads of a batch, flattened and decoded."""
        raw = flatten_heads(heads, lattice)
        boxes = self.coding.decode(raw.boxes, lattice.cells_xy, lattice.strides, lattice.anchors_px)
        return Predictions(boxes, raw.objectness, self.classification.logits(raw.classes))

    def loss_parts(self, class_counts: Sequence[int] = ()) -> LossParts:
        """What the loss is made of; ``class_counts``, objects of each class in training, serve the class balance."""
        counts = torch.tensor(class_counts) if class_counts else None
        return LossParts(self.box_loss, self.objectness, self.classification, self.normalisation, self.vote, counts)

    def loss(
        self,
        heads: Sequence[Tensor],
        targets: Targets,
        lattice: Lattice,
        class_counts: Sequence[int] = (),
        knowledge: Knowledge | None = None,
    ) -> LossTerms:
        """Project the truth onto the lattice and compare: the loss of a batch.

        Args:
            heads: raw, of the network.
            targets: the labels.
            lattice: of the input.
            class_counts: objects of each class in training.
            knowledge: what is known beside the labels.

        Raises:
            ValueError: a class balance without ``class_counts``.
        """
        predictions = self.predictions(heads, lattice)
        objects = objects_only(targets)
        assignment = self.assigner.assign(objects, lattice, predictions)
        assignment = excuse_regions(assignment, targets, lattice, predictions)
        parts = self.loss_parts(class_counts)
        if knowledge is None:
            return detection_loss(parts, predictions, objects, assignment, lattice)
        unlabelled = 0
        if knowledge.answers is not None:
            assign = partial(self.assigner.assign, lattice=lattice, predictions=predictions)
            mended = mend(self.missing, knowledge.answers, targets, assignment, lattice, predictions, assign)
            objects, assignment, unlabelled = mended.objects, mended.assignment, mended.unlabelled
        terms = detection_loss(parts, predictions, objects, assignment, lattice)
        more = distillation_loss(self.distillation, knowledge, parts, predictions, lattice, self.assigner)
        return terms.with_knowledge(more, unlabelled)

    def feature_loss(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], targets: Targets, lattice: Lattice
    ) -> Tensor | None:
        """The term of features that are alike; None where none are asked for.

        Normalised like the labels' terms: a mean, which ``normalisation="mean"`` multiplies by the number of images.
        """
        if isinstance(self.features, NoFeatures):
            return None
        term = self.features.loss(student, teacher, targets, lattice.input_size)
        return term * targets.batch_size if self.normalisation == "mean" else term

    def asks_answers(self) -> bool:
        """Whether a teacher's answers would be heard, if there is one."""
        return self.distillation.kind == "teacher" or self.missing.kind != "punish"

    def asks_teacher(self) -> bool:
        """Whether a teacher would be heard, if there is one."""
        return self.features.kind == "teacher" or self.asks_answers()

    def needs_teacher(self) -> str:
        """The setting that cannot be had without a teacher; empty where there is none."""
        kinds = {"distillation": self.distillation.kind, "features": self.features.kind}
        return next((f"projection.{name}.kind=teacher" for name, kind in kinds.items() if kind == "teacher"), "")

    def asks_average(self, has_teacher: bool) -> bool:
        """Whether the moving average is asked at some time of the run; a teacher takes its place for missing labels."""
        always = self.distillation.asks_average(1.0) or self.features.asks_average(1.0)
        return always or (not has_teacher and self.missing.asks_average(1.0))


__all__ = [
    "AlphaIou",
    "Anchors",
    "Assigner",
    "Atss",
    "AverageDistillation",
    "AverageFeatures",
    "Bce",
    "BestAnchor",
    "BoxLoss",
    "Ciou",
    "Classification",
    "ClassLoss",
    "Coding",
    "Diou",
    "DistanceCoding",
    "Distillation",
    "Eiou",
    "EvolvedAnchors",
    "Excuse",
    "ExpCoding",
    "Features",
    "Focal",
    "Giou",
    "Iou",
    "KmeansAnchors",
    "Knowledge",
    "LevelAnchors",
    "LossTerms",
    "Missing",
    "Mse",
    "NoDistillation",
    "NoFeatures",
    "Objectness",
    "ObjectnessLoss",
    "OfficialAnchors",
    "Projection",
    "PseudoLabel",
    "Punish",
    "QualityFocal",
    "RatioMatch",
    "SimOta",
    "Siou",
    "Softmax",
    "SquaredSigmoidCoding",
    "TaskAligned",
    "TeacherDistillation",
    "TeacherFeatures",
    "Varifocal",
    "Wasserstein",
]
