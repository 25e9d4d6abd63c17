"""Losses of yes-or-no answers: logits against targets in 0..1, element by element."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from edgehone.space import Settings, Span


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy, element by element, of logits ``[...]`` with targets in 0..1."""
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none")


class Bce(Settings):
    """Binary cross-entropy."""

    kind: Literal["bce"] = "bce"

    def each(self, logits: Tensor, target: Tensor) -> Tensor:
        """``[...]`` logits and targets in 0..1 to losses of the same shape."""
        return cross_entropy(logits, target)


class Focal(Settings):
    """Focal loss (Lin et al., 2017): what is already answered well counts less.

    ``balance * (1 - p_t)^gamma * BCE`` with ``p_t`` the probability of the right answer; ``alpha`` is the balance of
    positives, ``1 - alpha`` that of negatives. Targets between 0 and 1 interpolate both factors.
    """

    kind: Literal["focal"] = "focal"
    gamma: Annotated[float, Span(0.5, 3.0)] = 2.0
    alpha: Annotated[float, Span(0.1, 0.9)] = 0.25

    def each(self, logits: Tensor, target: Tensor) -> Tensor:
        """``[...]`` logits and targets in 0..1 to losses of the same shape."""
        probability = logits.sigmoid()
        wrong = target * (1 - probability) + (1 - target) * probability
        balance = target * self.alpha + (1 - target) * (1 - self.alpha)
        return balance * _power(wrong, self.gamma) * cross_entropy(logits, target)


class QualityFocal(Settings):
    """Quality focal loss (Li et al., Generalized Focal Loss, 2020): ``|target - p|^beta * BCE``, for soft targets."""

    kind: Literal["quality_focal"] = "quality_focal"
    beta: Annotated[float, Span(1.0, 3.0)] = 2.0

    def each(self, logits: Tensor, target: Tensor) -> Tensor:
        """``[...]`` logits and targets in 0..1 to losses of the same shape."""
        return _power((target - logits.sigmoid()).abs(), self.beta) * cross_entropy(logits, target)


class Varifocal(Settings):
    """Varifocal loss (Zhang et al., VarifocalNet, 2021): only negatives are focused.

    ``target * BCE`` where the target is above 0, else ``alpha * p^gamma * BCE``.
    """

    kind: Literal["varifocal"] = "varifocal"
    alpha: Annotated[float, Span(0.25, 1.0)] = 0.75
    gamma: Annotated[float, Span(1.0, 3.0)] = 2.0

    def each(self, logits: Tensor, target: Tensor) -> Tensor:
        """``[...]`` logits and targets in 0..1 to losses of the same shape."""
        focus = torch.where(target > 0, target, self.alpha * _power(logits.sigmoid(), self.gamma))
        return focus * cross_entropy(logits, target)


def _power(base: Tensor, exponent: float) -> Tensor:
    """A power whose gradient stays finite at 0, also for exponents below 1."""
    return base.clamp(min=1e-6).pow(exponent)
