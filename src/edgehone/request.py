"""What is asked of a run, and what can be refused before it begins."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from edgehone.boards import Measured, read_measurements
from edgehone.data.selection import Selection
from edgehone.deploy.bundle import Inquiry, Wishes, deployable
from edgehone.deploy.integer.gate import MAX_DROP, Say
from edgehone.deploy.runnable import require_board_runs
from edgehone.errors import UsageError
from edgehone.models import architecture
from edgehone.search.board_costs import parse_limits
from edgehone.search.objective import parse_cost
from edgehone.search.placement import check_placement, on_processor
from edgehone.search.plan import Proof
from edgehone.search.postgres_journal import check_study, pg8000
from edgehone.search.ray_workers import ray_library
from edgehone.search.scope import Given, Scope, declared_space
from edgehone.search.searchers import SEARCHERS
from edgehone.space import Settings
from edgehone.strategy import INPUT_SIZES
from edgehone.training import imitable
from edgehone.training.device import check_device


class Request(Settings):
    """What the user asked for; the same request in the same folder goes on where it was.

    ``workers`` of 0 trains in the process itself; None is what suits the device.
    ``int8``: bundles go through the gate, which those of a board in an objective ``ap@BOARD`` do anyway; ``max_drop``:
    AP points that 8 bits may cost.
    """

    data: str
    format: str | None = None
    selection: Selection = Selection()
    model: str = "yolov4-tiny"
    boards: tuple[str, ...] = ("cpu",)
    int8: bool = False
    max_drop: float = Field(default=100 * MAX_DROP, ge=0, le=100)
    budget_s: float = Field(gt=0)
    proof: Proof = "full"
    max_input: int = 416
    latency: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()
    weights: str | None = None
    compare: Literal["evolution"] | None = None
    workers: int | None = Field(default=None, ge=0, le=64)
    seed: int = 0
    teacher: str | None = None
    objectives: tuple[str, ...] = ("ap",)
    scope: Scope = Scope()
    store: str | None = None
    same_data: bool = False
    ray: str | None = None
    device: str = "auto"
    study: str | None = None

    @property
    def batch(self) -> int:
        """Trainings that a search in batches begins together."""
        return on_processor(self.workers)

    @field_validator("latency", mode="before")
    @classmethod
    def _one_or_none(cls, value: Any) -> Any:
        """Requests of earlier versions had one limit or none."""
        return [] if value is None else [value] if isinstance(value, str) else value


def check(request: Request) -> None:
    """Refuse early what could only fail late."""
    architecture(request.model)
    if request.ray is not None:
        ray_library()
        if request.workers == 0:
            raise UsageError("--ray trains on a cluster, --workers 0 in this process; leave out one of the two")
    if request.study is not None:
        check_study(request.study)
        pg8000()
    check_device(request.device)
    check_placement(request.device, deterministic=request.scope.deterministic, cluster=request.ray is not None)
    limits = parse_limits(request.latency)
    for text in request.objectives:
        parse_cost(text, request.boards)
    for name in request.boards:
        deployable(name)
    for name in dict.fromkeys([*request.boards, *(limit.mode.board for limit in limits)]):
        require_board_runs(request.model, name)
    if request.max_input < INPUT_SIZES[0]:
        raise UsageError(f"inputs are at least {INPUT_SIZES[0]} px, got --max-input {request.max_input}")
    read_measurements(request.measured)
    if request.scope.searcher not in SEARCHERS:
        raise UsageError(f"the searchers are {', '.join(SEARCHERS)}; got {request.scope.searcher!r}")
    declared_space(request.scope, (), given(request))


def bundle_wishes(request: Request, searched: bool, measured: tuple[Measured, ...], say: Say) -> Wishes:
    """How the winner's bundle for a board is made: what was ``searched`` for in 8 bits goes through the gate, too."""
    max_drop = request.max_drop / 100
    integer = Inquiry(max_drop=max_drop) if request.int8 or searched else None
    return Wishes(integer=integer, max_drop=max_drop, say=say, measured=measured)


def given(request: Request) -> Given:
    """What trainings are given beside their data."""
    features = imitable(request.model, request.teacher) is not None
    return Given(weights=request.weights is not None, teacher=request.teacher is not None, features=features)
