"""A detector that loses too much in 8 bits is repaired, with the mildest means that suffices.

What is judged is a loss of AP on some hundred pictures, which other pictures would make larger or smaller: it has to be
small enough on nineteen of twenty draws of them, or half of what just passes would lose too much on others.

In this order: corrected biases, which stay from then on, as they cost nothing; another calibrator; equalised channels;
more bits for the heads, then for the layers that do the damage; training under rounding. What passes and is still noisy
gets corrected biases and more bits for what stands out: AP on a few pictures is luck to half a point, decibels are not.
Every attempt leaves a record.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgehone.deploy.integer.calibration import Calibrator
from edgehone.deploy.integer.equalisation import equalised
from edgehone.deploy.integer.noise import QUIET_DB, least_db, measure_noise
from edgehone.deploy.integer.plan import Plan, make_plan
from edgehone.deploy.integer.scheme import Scheme
from edgehone.deploy.integer.simulator import Simulator
from edgehone.deploy.integer.tensors import Seen, collect, tensor_name
from edgehone.inference import Runtime, TorchRuntime
from edgehone.models import Graph, Network
from edgehone.space import Settings
from edgehone.types import Size

MAX_DROP = 0.005
"""Of AP: half a point."""
SURE = 0.95
"""Share of the draws of the judged pictures on which the loss has to be small enough."""
NOISE_PICTURES = 4
WIDE_SHARE = 0.25
"""Of the layers that calculate, beside the heads, may get more bits: with more, 8 bits gain little speed."""

CHANCE = 0.001
"""Calibrators whose AP differs by less are equal: then the plainest stays, which clips nothing."""

WORTH_DB = 2.0
"""More bits for the heads or a layer of what passes must make the worst part of the heads so much quieter."""

Repair = Literal["none", "bias_correction", "calibration", "equalisation", "mixed_precision", "fine_tuning"]


class Attempt(Settings):
    """One way of running the detector, and what it is worth.

    Attributes:
        repair: kind of what was changed last.
        detail: calibrator, layers, epochs: for a person.
        ap: measured.
        drop: from fp32; negative where it gained.
        drop_likely: no more than this on :data:`SURE` of the draws of the judged pictures.
    """

    repair: Repair
    detail: str
    ap: float
    drop: float
    drop_likely: float


@dataclass(frozen=True)
class Measured:
    """AP, and AP on draws of the pictures, ``[draws]``, the same draws each time."""

    ap: float
    draws: NDArray[np.float64]

    def loss(self, after: Measured) -> tuple[float, float]:
        """What is lost, and what at most on :data:`SURE` of the draws."""
        return self.ap - after.ap, float(np.quantile(self.draws - after.draws, SURE))


Say = Callable[[str], None]


def quiet(_: str) -> None:
    """For nobody to hear."""


def describe_attempt(attempt: Attempt) -> str:
    """In one line."""
    return (
        f"{attempt.detail}: AP {attempt.ap:.4f}, {100 * attempt.drop:+.2f} points lost, likely at most "
        f"{100 * attempt.drop_likely:+.2f}"
    )


UNTRIED = Attempt(repair="none", detail="", ap=0.0, drop=1.0, drop_likely=1.0)


class Verdict(Settings):
    """What it took.

    Attributes:
        board: whose arithmetic.
        max_drop: of AP that was allowed.
        ap_real: in fp32, on the same pictures.
        attempts: in order.
        chosen: the first that likely loses no more than allowed, or its quieter form; else the best of all.
        calibrator: of the chosen.
        corrected: whether its biases make good what rounded weights add on average.
        equalised: whether its channels are.
        wide: tensors of its layers that are calculated in more than 8 bits.
    """

    board: str
    max_drop: float
    ap_real: float
    attempts: tuple[Attempt, ...]
    chosen: Attempt
    calibrator: Calibrator
    corrected: bool = False
    equalised: bool
    wide: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the chosen one likely loses no more than allowed."""
        return self.chosen.drop_likely <= self.max_drop


@dataclass(frozen=True)
class Subject:
    """A detector before the gate.

    Attributes:
        network: folded.
        input_size: of its pictures.
        fields: numbers of an anchor in a head: 5 + classes.
        scheme: arithmetic of the board.
        pictures: for calibration, ``[3, h, w]`` in 0..1, of the training split.
        measure: AP of a runtime and its draws; on pictures that chose nothing else.
        run: a network in a plan's arithmetic: simulated, or executed where the board is this machine.
        fine_tune: trains a folded network under a plan's rounding; None where there is nothing to learn from.
    """

    network: Network
    input_size: Size
    fields: int
    scheme: Scheme
    pictures: Sequence[Tensor]
    measure: Callable[[Runtime], Measured]
    run: Callable[[Network, Plan], Runtime] = Simulator
    fine_tune: Callable[[Network, Plan], Network] | None = None

    @functools.cached_property
    def real(self) -> Measured:
        """What it is worth in fp32."""
        return self.measure(TorchRuntime(self.network))

    @functools.cached_property
    def seen(self) -> Seen:
        """What the calibration pictures sent through the network."""
        return collect(self.network, self.input_size, self.pictures, self.fields)

    @property
    def plain(self) -> Plan:
        """Everything in 8 bits, ranges by the first calibrator: the detector as it is."""
        return make_plan(self.scheme, self.seen, self.fields, self.scheme.calibrators[0])


@dataclass(frozen=True)
class Candidate:
    """A network and its plan, whose biases are corrected as the plan says; ``attempt`` says what it is worth."""

    network: Network
    plan: Plan
    calibrator: Calibrator
    equalised: bool = False
    tuned: bool = False
    attempt: Attempt = UNTRIED

    @property
    def detail(self) -> str:
        """What is not as it was trained, and what holds its numbers: for a person."""
        graph, plan = self.network.graph, self.plan
        wide = ", ".join(tensor_name(graph, index) for index in widened_layers(plan))
        said = [f"ranges by {self.calibrator.kind}"]
        said += ["biases corrected"] * bool(plan.means)
        said += ["channels equalised"] * self.equalised
        said += [f"{plan.scheme.wide} for {wide}"] * bool(wide)
        said += ["trained under rounding"] * self.tuned
        return ", ".join(said)


def repair(subject: Subject, max_drop: float = MAX_DROP, say: Say = quiet) -> tuple[Candidate, Verdict]:
    """The mildest change after which a board's arithmetic likely loses no more AP than allowed, or the best there is.

    Args:
        subject: the detector.
        max_drop: of AP, 0..1; half a point is 0.005.
        say: told of every attempt: most take a minute or more.
    """
    attempts: list[Attempt] = []
    best: Candidate | None = None
    gate = _Repairs(subject)

    def judged(kind: Repair, candidate: Candidate) -> Candidate:
        attempt = attempted(subject, candidate, kind)
        attempts.append(attempt)
        say(describe_attempt(attempt))
        return replace(candidate, attempt=attempt)

    for stage in (gate.as_trained, gate.calibrations, gate.equalisation, gate.mixtures, gate.fine_tuning):
        for kind, proposed in stage(best):
            candidate = judged(kind, proposed)
            if candidate.attempt.drop_likely <= max_drop:
                quieter = gate.quieter(candidate)
                also = candidate if quieter is None else judged(*quieter)
                chosen = also if also.attempt.drop_likely <= max_drop else candidate
                return chosen, _verdict(subject, max_drop, attempts, chosen)
            margin = CHANCE if kind == "calibration" else 0.0
            best = candidate if best is None or candidate.attempt.ap > best.attempt.ap + margin else best
    assert best is not None
    return best, _verdict(subject, max_drop, attempts, best)


def judge_as_delivered(subject: Subject, max_drop: float = MAX_DROP, say: Say = quiet) -> tuple[Candidate, Verdict]:
    """No repair: what a bundle holds that nobody put through the gate, judged as the gate judges.

    That is ranges by the first calibrator, and for raw heads that the board rounds what it has beside 8 bits.

    Args:
        subject: the detector.
        max_drop: see :func:`repair`.
        say: told of the outcome.
    """
    candidate = Candidate(subject.network, subject.plain, subject.scheme.calibrators[0])
    candidate = _widened(candidate, rounded_heads(subject.network.graph, subject.plain))
    candidate = replace(candidate, attempt=attempted(subject, candidate, "none"))
    say(describe_attempt(candidate.attempt))
    return candidate, _verdict(subject, max_drop, [candidate.attempt], candidate)


def attempted(subject: Subject, candidate: Candidate, kind: Repair) -> Attempt:
    """A candidate, judged in its board's arithmetic."""
    return judged_runtime(subject, subject.run(candidate.network, candidate.plan), kind, candidate.detail)


def judged_runtime(subject: Subject, runtime: Runtime, kind: Repair, detail: str) -> Attempt:
    """A runtime, judged."""
    real, after = subject.real, subject.measure(runtime)
    drop, likely = (round(loss, 5) for loss in real.loss(after))
    return Attempt(repair=kind, detail=detail, ap=round(after.ap, 5), drop=drop, drop_likely=likely)


def rounded_heads(graph: Graph, plan: Plan) -> list[int]:
    """Raw heads that a plan holds in 8 bits."""
    return [index for index in graph.outputs if plan.result_precision(graph, index) == "int8"]


def widened_layers(plan: Plan) -> list[int]:
    """Layers that are calculated in more than the usual bits."""
    return sorted({*plan.results, *plan.weights})


Proposal = tuple[Repair, Candidate]
Change = Callable[[Candidate], Candidate]


class _Repairs:
    """Proposals of each stage, from the best candidate so far."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.pixels = torch.stack(list(subject.pictures[:NOISE_PICTURES]))
        self.wanted = TorchRuntime(subject.network).heads(self.pixels)

    def as_trained(self, best: Candidate | None) -> Iterator[Proposal]:
        """The detector as it is, ranges by the plainest calibrator."""
        del best
        yield "none", Candidate(self.subject.network, self.subject.plain, self.subject.scheme.calibrators[0])

    def calibrations(self, best: Candidate | None) -> Iterator[Proposal]:
        """Every calibrator, the plainest first, with corrected biases."""
        del best
        subject = self.subject
        for calibrator in subject.scheme.calibrators:
            plan = make_plan(subject.scheme, subject.seen, subject.fields, calibrator)
            kind: Repair = "bias_correction" if calibrator == subject.scheme.calibrators[0] else "calibration"
            yield kind, Candidate(subject.network, replace(plan, means=subject.seen.means), calibrator)

    def equalisation(self, best: Candidate | None) -> Iterator[Proposal]:
        """Like ranges in the channels of a tensor, where activations allow it."""
        assert best is not None
        subject, network = self.subject, equalised(best.network, self.subject.seen)
        if network is not None:
            seen = replace(subject, network=network).seen
            plan = make_plan(subject.scheme, seen, subject.fields, best.calibrator)
            yield "equalisation", Candidate(network, replace(plan, means=seen.means), best.calibrator, True)

    def mixtures(self, best: Candidate | None) -> Iterator[Proposal]:
        """More bits: for the heads where they are rounded, then for the worst layers, one, two, four and so on."""
        assert best is not None
        heads = rounded_heads(best.network.graph, best.plan)
        if heads:
            yield "mixed_precision", _widened(best, heads)
        worst = self._loudest(best, heads)
        count = 1
        while True:
            yield "mixed_precision", _widened(best, [*heads, *worst[:count]])
            if count >= len(worst):
                return
            count *= 2

    def _loudest(self, candidate: Candidate, heads: Collection[int]) -> list[int]:
        """The quarter of the layers, beside the heads, that do most damage alone."""
        noise = measure_noise(candidate.network, candidate.plan, self.pixels)
        layers = [layer.index for layer in noise.layers if layer.index >= 0 and layer.index not in heads]
        return layers[: max(1, round(WIDE_SHARE * len(layers)))]

    def quieter(self, passed: Candidate) -> Proposal | None:
        """What passes, with corrected biases and more bits for what is loudest, each where that helps.

        None where nothing is needed, or nothing helps.
        """
        kind: Repair = "none"
        found, now = passed, self._least_db(passed)
        for ways in (self._correction, self._more_bits):
            for kind_of_it, change in ways(found) if now < QUIET_DB else ():
                if now >= QUIET_DB:
                    break
                proposed = change(found)
                then = self._least_db(proposed)
                if then >= now + WORTH_DB:
                    kind, found, now = kind_of_it, proposed, then
        return None if found is passed else (kind, found)

    def _least_db(self, candidate: Candidate) -> float:
        return least_db(candidate.network, candidate.plan, self.pixels, self.wanted)

    def _correction(self, found: Candidate) -> Iterator[tuple[Repair, Change]]:
        if not found.plan.means and not found.tuned:
            yield "bias_correction", self._corrected

    def _corrected(self, found: Candidate) -> Candidate:
        return replace(found, plan=replace(found.plan, means=self.subject.seen.means))

    def _more_bits(self, found: Candidate) -> Iterator[tuple[Repair, Change]]:
        heads = rounded_heads(found.network.graph, found.plan)
        for group in [*([heads] if heads else []), *([index] for index in self._loudest(found, heads))]:
            yield "mixed_precision", functools.partial(_widened, layers=group)  # heads first: they cost least

    def fine_tuning(self, best: Candidate | None) -> Iterator[Proposal]:
        """Training under the best candidate's rounding, from its corrected biases, which then are the network's own."""
        assert best is not None
        if self.subject.fine_tune is not None:
            network = self.subject.fine_tune(best.network, best.plan)
            yield "fine_tuning", replace(best, network=network, plan=replace(best.plan, means={}), tuned=True)


def _widened(best: Candidate, layers: Sequence[int]) -> Candidate:
    return replace(best, plan=functools.reduce(Plan.widened, layers, best.plan))


def _verdict(subject: Subject, max_drop: float, attempts: Sequence[Attempt], chosen: Candidate) -> Verdict:
    graph = subject.network.graph
    return Verdict(
        board=subject.scheme.board,
        max_drop=max_drop,
        ap_real=round(subject.real.ap, 5),
        attempts=tuple(attempts),
        chosen=chosen.attempt,
        calibrator=chosen.calibrator,
        corrected=bool(chosen.plan.means),
        equalised=chosen.equalised,
        wide=tuple(tensor_name(graph, index) for index in widened_layers(chosen.plan)),
    )
