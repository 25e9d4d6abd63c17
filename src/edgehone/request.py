"""What is asked of a run, and what can be refused before it begins."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgehone.data.selection import Selection
from edgehone.deploy.bundle import Inquiry, Wishes, deployable
from edgehone.deploy.integer.gate import MAX_DROP, Say
from edgehone.errors import UsageError
from edgehone.models import architecture
from edgehone.search.latency import LatencyLimit
from edgehone.search.placement import check_placement
from edgehone.search.plan import Proof
from edgehone.search.postgres_journal import check_study, pg8000
from edgehone.search.ray_workers import ray_library
from edgehone.search.scope import Given, Scope, declared_space
from edgehone.search.searchers import SEARCHERS
from edgehone.space import Settings
from edgehone.strategy import INPUT_SIZES
from edgehone.training import imitable
from edgehone.training.device import check_device

WORKERS = 2


class Request(Settings):
    """What the user asked for; the same request in the same folder goes on where it was.

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
    latency: str | None = None
    weights: str | None = None
    compare: Literal["evolution"] | None = None
    workers: int = Field(default=WORKERS, ge=1, le=64)
    seed: int = 0
    teacher: str | None = None
    objectives: tuple[str, ...] = ("ap",)
    scope: Scope = Scope()
    store: str | None = None
    same_data: bool = False
    ray: str | None = None
    device: str = "auto"
    study: str | None = None


def check(request: Request) -> None:
    """Refuse early what could only fail late."""
    architecture(request.model)
    if request.ray is not None:
        ray_library()
    if request.study is not None:
        check_study(request.study)
        pg8000()
    check_device(request.device)
    check_placement(request.device, deterministic=request.scope.deterministic, cluster=request.ray is not None)
    for name in request.boards:
        deployable(name)
    if request.max_input < INPUT_SIZES[0]:
        raise UsageError(f"inputs are at least {INPUT_SIZES[0]} px, got --max-input {request.max_input}")
    if request.latency is not None:
        LatencyLimit.parse(request.latency)
    if request.scope.searcher not in SEARCHERS:
        raise UsageError(f"the searchers are {', '.join(SEARCHERS)}; got {request.scope.searcher!r}")
    declared_space(request.scope, (), given(request))


def bundle_wishes(request: Request, searched: bool, say: Say) -> Wishes:
    """How the winner's bundle for a board is made: what was ``searched`` for in 8 bits goes through the gate, too."""
    max_drop = request.max_drop / 100
    integer = Inquiry(max_drop=max_drop) if request.int8 or searched else None
    return Wishes(integer=integer, max_drop=max_drop, say=say)


def given(request: Request) -> Given:
    """What trainings are given beside their data."""
    features = imitable(request.model, request.teacher) is not None
    return Given(weights=request.weights is not None, teacher=request.teacher is not None, features=features)
