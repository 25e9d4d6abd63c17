"""What a detector is worth in a board's arithmetic, on a data set: calibrated, judged, repaired, tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from edgehone.data import Dataset, Sample
from edgehone.deploy.integer.fine_tuning import FineTuning, fine_tune
from edgehone.deploy.integer.gate import (
    MAX_DROP,
    NOISE_PICTURES,
    Attempt,
    Candidate,
    Measured,
    Say,
    Subject,
    Verdict,
    describe_attempt,
    judge_as_delivered,
    judged_runtime,
    quiet,
    repair,
)
from edgehone.deploy.integer.noise import Noise, measure_noise
from edgehone.deploy.integer.openvino import OpenVinoRuntime, openvino_here
from edgehone.deploy.integer.plan import Plan, make_plan
from edgehone.deploy.integer.qdq import rounded_model
from edgehone.deploy.integer.scheme import Scheme, scheme_of
from edgehone.deploy.integer.simulator import Simulator
from edgehone.deploy.integer.tensors import collect, open_session
from edgehone.deploy.onnx_graph import INPUT
from edgehone.errors import EdgehoneError, UsageError
from edgehone.evaluation import evaluate_detections, match
from edgehone.evaluation.bootstrap import coco_ap, score_draws
from edgehone.inference import Detector, DetectorInfo, Runtime, TorchRuntime
from edgehone.models import Network, fold
from edgehone.space import Settings
from edgehone.types import Detections, Size, Truth

EXECUTED_HERE = "cpu"
"""The board whose integer kernels are ONNX Runtime's on this machine; of all others there is the simulator."""

DRAWS = 200
"""Of the judged pictures."""

HELD_OUT = 64
"""With fewer pictures of validation, those of the training split are judged, too, though 8 bits cost less on them: the
loss on a handful is mostly chance."""

QUICK_PICTURES = 64
"""From which ranges are taken where many detectors are compared."""


class Inquiry(Settings):
    """What is measured, and on how much.

    Attributes:
        max_drop: of AP that is allowed.
        calibration_pictures: of the training split, spread over it; vendors ask for a hundred or more.
        tested_on: split of the reported AP.
        judged_pictures: on which the gate decides: so many of validation at most; see :func:`judged_samples`.
        fine_tuning: under rounding; None: never.
        tested_pictures: most of the tested split, evenly spread over it; None: all.
        repair: what loses too much; else it is only judged, as a bundle that nobody repaired holds it.
    """

    max_drop: float = Field(default=MAX_DROP, ge=0, lt=1)
    calibration_pictures: int = Field(default=128, ge=1)
    tested_on: str = "test"
    judged_pictures: int = Field(default=256, ge=1)
    fine_tuning: FineTuning | None = FineTuning()
    tested_pictures: int | None = Field(default=None, ge=1)
    repair: bool = True


class IntegerAccuracy(Settings):
    """AP on the tested split, and how it came about.

    Attributes:
        board: whose arithmetic.
        split: that was tested.
        pictures: of it.
        ap_real: in fp32.
        ap_plain: in 8 bits, ranges by the largest number seen, unrepaired.
        ap: as the gate chose.
        ap_executed: the same, executed by ONNX Runtime's integer kernels; None for absent boards.
        verdict: of the gate.
        noise: of the chosen.
        largest_sum: largest magnitude that an accumulator of the chosen can have, whatever the picture.
        assumptions: what the board must confirm.
        by_openvino: the chosen graph, executed by OpenVINO's integer kernels and judged on the same pictures; None for
            absent boards, and where OpenVINO is not installed.
    """

    board: str
    split: str
    pictures: int
    ap_real: float
    ap_plain: float
    ap: float
    ap_executed: float | None
    verdict: Verdict
    noise: Noise
    largest_sum: float
    assumptions: tuple[str, ...]
    by_openvino: Attempt | None = None

    @property
    def delivered(self) -> float:
        """AP of what is delivered: executed where that is possible, else simulated."""
        return self.ap if self.ap_executed is None else self.ap_executed

    @property
    def openvino_passed(self) -> bool:
        """Whether OpenVINO likely loses no more than allowed, either."""
        return self.by_openvino is not None and self.by_openvino.drop_likely <= self.verdict.max_drop


@dataclass
class RoundedOnnxRuntime:
    """A plan executed by ONNX Runtime on this machine; a runtime of :class:`edgehone.inference.Detector`."""

    session: Any

    @staticmethod
    def of(folded: Network, input_size: Size, plan: Plan) -> RoundedOnnxRuntime:
        """From the graph with the plan's rounding in it.

        Raises:
            UsageError: the graph cannot say the plan.
        """
        return RoundedOnnxRuntime(open_session(rounded_model(folded, input_size, {}, plan)))

    def heads(self, pixels: Tensor) -> list[Tensor]:
        """See :class:`edgehone.inference.Runtime`."""
        each = [self.session.run(None, {INPUT: one[None].numpy()}) for one in pixels.contiguous()]
        return [torch.cat([torch.from_numpy(part) for part in parts]) for parts in zip(*each, strict=True)]


def judge(runtime: Runtime, info: DetectorInfo, samples: Sequence[Sample]) -> Measured:
    """AP of a runtime on labelled pictures, and on draws of them."""
    matches = match(*_answered(runtime, info, samples), len(info.class_names))
    return Measured(coco_ap(matches), score_draws(matches, DRAWS))


def average_precision_of(runtime: Runtime, info: DetectorInfo, samples: Sequence[Sample]) -> float:
    """AP of a runtime on labelled pictures, as ``edgehone evaluate`` measures it."""
    return evaluate_detections(*_answered(runtime, info, samples), info.class_names, samples=0).ap


def _answered(runtime: Runtime, info: DetectorInfo, samples: Sequence[Sample]) -> tuple[list[Truth], list[Detections]]:
    found = Detector(info, runtime).detect(sample.read().image for sample in samples)
    return [sample.truth() for sample in samples], list(found)


def calibration_pictures(network: Network, info: DetectorInfo, dataset: Dataset, count: int) -> list[Tensor]:
    """Pictures ``[3, h, w]`` of the training split as the network gets them, evenly spread over it."""
    detector = Detector(info, TorchRuntime(network))
    return [detector.prepare(sample.read().image) for sample in _spread(dataset.train, count)]


def as_trained(network: Network, info: DetectorInfo, dataset: Dataset, board: str | Scheme) -> Runtime:
    """A detector in a board's arithmetic before any repair: all in 8 bits, ranges by the largest number seen.

    The same network and data give the same runtime.

    Args:
        network: trained.
        info: how to read its heads.
        dataset: whose training split gives :data:`QUICK_PICTURES` for the ranges.
        board: name, or an arithmetic of one's own; ``cpu`` is executed, all others are simulated.

    Raises:
        UsageError: no arithmetic is known of the board.
        ValueError: a tensor holds NaN or infinity.
    """
    scheme = scheme_of(board) if isinstance(board, str) else board
    folded, fields = fold(network), 5 + len(info.class_names)
    seen = collect(folded, info.input_size, calibration_pictures(network, info, dataset, QUICK_PICTURES), fields)
    return runtime_of(folded, info.input_size, make_plan(scheme, seen, fields, scheme.calibrators[0]))


def runtime_of(folded: Network, input_size: Size, plan: Plan) -> Runtime:
    """A folded network in a plan's arithmetic: executed where its board is this machine, else simulated."""
    if plan.scheme.board == EXECUTED_HERE:
        return RoundedOnnxRuntime.of(folded, input_size, plan)
    return Simulator(folded, plan)


def judged_samples(dataset: Dataset, count: int) -> list[Sample]:
    """All of validation, or ``count`` of it; filled up to :data:`HELD_OUT` from the training split, evenly spread."""
    first = _spread(dataset.val, count)
    return [*first, *_spread(dataset.train, max(0, min(count, HELD_OUT) - len(first)))]


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    count = min(count, len(samples))
    return [samples[k * len(samples) // count] for k in range(count)]


def integer_accuracy(
    network: Network,
    info: DetectorInfo,
    dataset: Dataset,
    board: str | Scheme,
    inquiry: Inquiry | None = None,
    say: Say = quiet,
) -> tuple[IntegerAccuracy, Candidate]:
    """Put a detector through the gate of a board, and test what comes out.

    Args:
        network: trained.
        info: how to read its heads, and how it learned.
        dataset: of its classes.
        board: name, or an arithmetic of one's own.
        inquiry: what is measured.
        say: told of every attempt at a repair.

    Returns:
        The result; and the network and plan that it is about.

    Raises:
        UsageError: no arithmetic is known of the board, or no such split.
        EdgehoneError: other classes, or an empty split; the training split must have pictures, too.
    """
    inquiry = inquiry or Inquiry()
    scheme = scheme_of(board) if isinstance(board, str) else board
    info.require_classes(dataset.class_names)
    judged = judged_samples(dataset, inquiry.judged_pictures)
    tested, _ = _split(dataset, inquiry.tested_on), _split(dataset, "train")
    folded, tuning = fold(network), inquiry.fine_tuning

    def tune(net: Network, plan: Plan) -> Network:
        assert tuning is not None
        return fine_tune(net, info.strategy, plan, dataset.train, tuning)

    subject = Subject(
        network=folded,
        input_size=info.input_size,
        fields=5 + len(info.class_names),
        scheme=scheme,
        pictures=calibration_pictures(network, info, dataset, inquiry.calibration_pictures),
        measure=lambda runtime: judge(runtime, info, judged),
        run=lambda net, plan: runtime_of(net, info.input_size, plan),
        fine_tune=tune if tuning is not None and info.reading is None else None,
    )
    chosen, verdict = (repair if inquiry.repair else judge_as_delivered)(subject, inquiry.max_drop, say)
    tested = _spread(tested, inquiry.tested_pictures or len(tested))
    found = _test(subject, info, chosen, verdict, (inquiry.tested_on, tested))
    if scheme.board == EXECUTED_HERE and openvino_here():
        found = found.model_copy(update={"by_openvino": _by_openvino(subject, chosen, say)})
    return found, chosen


def _by_openvino(subject: Subject, chosen: Candidate, say: Say) -> Attempt:
    """OpenVINO's kernels calculate in another way than ONNX Runtime's: what is judged is not the other's AP."""
    runtime = OpenVinoRuntime(rounded_model(chosen.network, subject.input_size, {}, chosen.plan, unsigned=True))
    attempt = judged_runtime(subject, runtime, chosen.attempt.repair, f"by OpenVINO, {chosen.attempt.detail}")
    say(describe_attempt(attempt))
    return attempt


def _test(
    subject: Subject, info: DetectorInfo, chosen: Candidate, verdict: Verdict, tested: tuple[str, Sequence[Sample]]
) -> IntegerAccuracy:
    split, samples = tested
    pixels = torch.stack(list(subject.pictures[:NOISE_PICTURES]))
    wanted = TorchRuntime(subject.network).heads(pixels)
    simulator = Simulator(chosen.network, chosen.plan)
    ap = plain = average_precision_of(simulator, info, samples)
    if verdict.chosen.repair != "none":
        plain = average_precision_of(Simulator(subject.network, subject.plain), info, samples)
    executed = None
    if subject.scheme.board == EXECUTED_HERE:
        executed = average_precision_of(subject.run(chosen.network, chosen.plan), info, samples)
    return IntegerAccuracy(
        board=subject.scheme.board,
        split=split,
        pictures=len(samples),
        ap_real=average_precision_of(TorchRuntime(subject.network), info, samples),
        ap_plain=plain,
        ap=ap,
        ap_executed=executed,
        verdict=verdict,
        noise=measure_noise(chosen.network, chosen.plan, pixels, wanted),
        largest_sum=max(simulator.reaches.values()),
        assumptions=tuple(fact.text for fact in subject.scheme.assumptions),
    )


def _split(dataset: Dataset, name: str) -> Sequence[Sample]:
    if name not in dataset.splits:
        raise UsageError(f"the splits are {', '.join(dataset.splits)}; got {name!r}")
    if not dataset.splits[name]:
        raise EdgehoneError(f"the {name} split of {dataset.name} is empty")
    return dataset.splits[name]
