"""What a positive slot should say about its object's class."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from edgehone.projection.binary import Bce, Focal, Varifocal
from edgehone.space import Choice, Settings, Span

MOST_LOG_ODDS = 30.0
"""Log-odds of a class that has no rival, or none that counts."""


class Softmax(Settings):
    """Cross-entropy over classes that exclude each other.

    It works on log-odds, ``z_c - logsumexp(z_other)``, whose sigmoid is the softmax probability of class c: so
    assigners and decoding read every classification alike.
    """

    kind: Literal["softmax"] = "softmax"

    def each(self, logits: Tensor, target: Tensor) -> Tensor:
        """``[p, c]`` log-odds and targets that sum to 1 over the classes, to ``[p, c]``."""
        return -target * F.logsigmoid(logits)


ClassLoss = Annotated[Bce | Focal | Varifocal | Softmax, Field(discriminator="kind")]


class Classification(Settings):
    """The loss per class on positives. ``weight`` is the term's share, for 80 classes.

    ``label_smoothing`` moves this share of a target's certainty to the other answer (softmax: to all classes
    alike). Varifocal targets are the positive's present IoU and are not smoothed. ``balance`` is the base of the
    effective number of samples (Cui et al., 2019): an object of a class with n objects in training counts
    ``(1 - balance) / (1 - balance^n)``, scaled to 1 on average over classes; 0 counts all alike.
    """

    weight: Annotated[float, Span(0.1, 10.0, log=True)] = 0.5
    loss: ClassLoss = Bce()
    label_smoothing: Annotated[float, Span(0.0, 0.1)] = 0.0
    balance: Annotated[float, Choice(0.0, 0.9, 0.99, 0.999, 0.9999), Field(ge=0, lt=1)] = 0.0

    def logits(self, raw: Tensor) -> Tensor:
        """``[..., c]`` raw class outputs to logits whose sigmoid is the class's probability."""
        return exclusive_log_odds(raw) if isinstance(self.loss, Softmax) else raw

    def each(self, logits: Tensor, classes: Tensor, overlap: Tensor) -> Tensor:
        """``[p]`` losses of positives.

        Args:
            logits: ``[p, c]``, from :meth:`logits`.
            classes: ``[p]`` int64, of their objects.
            overlap: ``[p]``, present IoU with their objects, without gradient.
        """
        truth = F.one_hot(classes, logits.shape[-1]).to(logits.dtype)
        if isinstance(self.loss, Varifocal):
            truth = truth * overlap[:, None]
        else:
            answers = logits.shape[-1] if isinstance(self.loss, Softmax) else 2
            truth = truth * (1 - self.label_smoothing) + self.label_smoothing / answers
        return self.loss.each(logits, truth).sum(-1)

    def class_weights(self, counts: Tensor) -> Tensor:
        """``[c]``: how much an object of each class counts, from the objects ``[c]`` in training."""
        number = counts.double().clamp(min=1)
        weights = (1 - self.balance) / (1 - self.balance**number)
        return (weights / weights.mean()).float()


def exclusive_log_odds(logits: Tensor) -> Tensor:
    """``[..., c]`` logits of a softmax to the log-odds of each class: ``sigmoid(result) == softmax(logits)``."""
    if logits.shape[-1] == 1:
        return logits * 0 + MOST_LOG_ODDS
    top = logits.argmax(-1, keepdim=True)
    total = logits.logsumexp(-1, keepdim=True)
    # 1 - p loses all digits for the top class; its rivals are summed without it instead.
    rivals = logits.scatter(-1, top, -torch.inf).logsumexp(-1, keepdim=True)
    share = (logits - total).exp().clamp(max=0.5)
    others = (total + torch.log1p(-share)).scatter(-1, top, rivals)
    return (logits - others).clamp(max=MOST_LOG_ODDS)
