"""A detector held in 8 bits, ready to be handed over: calibrated, or judged and repaired as well."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import onnx

from edgehone.data import Dataset
from edgehone.deploy.integer.accuracy import Inquiry, IntegerAccuracy, calibration_pictures, integer_accuracy
from edgehone.deploy.integer.bias_correction import corrected
from edgehone.deploy.integer.calibration import Calibrator
from edgehone.deploy.integer.gate import Say, quiet
from edgehone.deploy.integer.plan import Plan, make_plan
from edgehone.deploy.integer.qdq import rounded_model
from edgehone.deploy.integer.scheme import scheme_of
from edgehone.deploy.integer.tensors import collect
from edgehone.inference import DetectorInfo
from edgehone.models import Network, fold
from edgehone.types import Json, Size


@dataclass(frozen=True)
class EightBits:
    """How a detector is held in 8 bits.

    Attributes:
        network: folded; with other weights than the trained one where ``repaired``, before biases are corrected.
        plan: formats and ranges of all its tensors.
        calibrator: that chose the ranges.
        pictures: that they were seen on.
        repaired: whether weights were changed: channels equalised, or trained under rounding.
        accuracy: what it is worth; None where nobody judged it.
        gated: whether it would have been repaired.
    """

    network: Network
    plan: Plan
    calibrator: Calibrator
    pictures: int
    repaired: bool = False
    accuracy: IntegerAccuracy | None = None
    gated: bool = False

    @property
    def passed(self) -> bool:
        """Whether it was judged, and loses no more than was allowed."""
        return self.accuracy is not None and self.accuracy.verdict.passed

    @cached_property
    def changed_network(self) -> Network | None:
        """The network with corrected biases, for a runtime that does not correct them; None where nothing changed."""
        return corrected(self.network, self.plan) if self.repaired or self.plan.means else None

    def graph(self, input_size: Size, metadata: dict[str, Json], *, unsigned: bool = False) -> onnx.ModelProto:
        """With its rounding written into it; ``unsigned``: see :class:`~edgehone.deploy.integer.qdq.Rounding`.

        Raises:
            UsageError: a plan that no graph can say; see :func:`~edgehone.deploy.integer.qdq.rounding_of`.
        """
        return rounded_model(self.network, input_size, metadata, self.plan, unsigned=unsigned)

    def record(self) -> dict[str, Json]:
        """For a manifest."""
        accuracy = None if self.accuracy is None else self.accuracy.model_dump(mode="json")
        calibrator = self.calibrator.model_dump(mode="json")
        return {
            "calibrator": calibrator,
            "pictures": self.pictures,
            "repaired": self.repaired,
            "accuracy": accuracy,
            "gated": self.gated,
        }


def calibrated(
    network: Network, info: DetectorInfo, dataset: Dataset, board: str, inquiry: Inquiry | None = None
) -> EightBits:
    """Everything in 8 bits, ranges by the largest number that training pictures show; not judged.

    Args:
        network: trained.
        info: how its pictures are prepared.
        dataset: with training pictures.
        board: name.
        inquiry: its number of pictures counts.

    Raises:
        UsageError: no arithmetic is known of the board.
    """
    scheme = scheme_of(board)
    pictures = calibration_pictures(network, info, dataset, (inquiry or Inquiry()).calibration_pictures)
    folded, fields = fold(network), 5 + len(info.class_names)
    plan = make_plan(scheme, collect(folded, info.input_size, pictures, fields), fields, scheme.calibrators[0])
    return EightBits(folded, plan, scheme.calibrators[0], len(pictures))


def judged(
    network: Network, info: DetectorInfo, dataset: Dataset, board: str, inquiry: Inquiry, say: Say = quiet
) -> EightBits:
    """Through the gate of a board: repaired where it loses too much, or only judged where that is all that is asked.

    Args:
        network: trained.
        info: how to read its heads, and how it learned.
        dataset: of its classes.
        board: name.
        inquiry: what is measured.
        say: told of every attempt.

    Raises:
        UsageError: no arithmetic is known of the board.
        EdgehoneError: other classes, or a split without pictures.
    """
    accuracy, chosen = integer_accuracy(network, info, dataset, board, inquiry, say)
    pictures = min(inquiry.calibration_pictures, len(dataset.train))
    repaired = chosen.equalised or chosen.tuned
    return EightBits(chosen.network, chosen.plan, chosen.calibrator, pictures, repaired, accuracy, inquiry.repair)
