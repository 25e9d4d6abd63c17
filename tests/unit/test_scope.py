"""Narrowing a search, latencies of boards, and how a request says it."""

from __future__ import annotations

import shlex
from typing import cast

import numpy as np
import pytest
from typer.main import get_command

from edgehone.boards import latency_model
from edgehone.cli import app
from edgehone.cli_search import asked
from edgehone.data import Selection
from edgehone.errors import UsageError
from edgehone.models import architecture
from edgehone.report.search_sections import command
from edgehone.request import Request, check
from edgehone.search.latency import Latencies, LatencyLimit, latencies
from edgehone.search.scope import Given, Scope, declared_space
from edgehone.search.searchers import SEARCHERS, make_searcher
from edgehone.search.study import without_augmentation
from edgehone.space import Forbid, Prefer, Prior, SearchSpace, flatten
from edgehone.strategy import Strategy

PRIORS: tuple[Prior, ...] = (
    Prefer(path="projection.assigner.kind", value="sim_ota", confidence=0.9, because="test"),
    Forbid(path="input.size", values=(384, 416), because="too slow"),
)
GIVEN = Given(weights=False, teacher=False)


def space(**changes: object) -> SearchSpace:
    return declared_space(Scope.model_validate(changes), PRIORS, GIVEN)


def drawn(found: SearchSpace, count: int = 8) -> list[Strategy]:
    rng = np.random.default_rng(0)
    return [cast(Strategy, found.sample(rng)) for _ in range(count)]


def test_blind_and_other_searchers_hear_limits_but_no_advice() -> None:
    assert space().preference("projection.assigner.kind") is not None
    for changes in ({"blind": True}, {"searcher": "random"}):
        found = space(**changes)
        assert found.preference("projection.assigner.kind") is None
        assert found.trust == 0
        assert all(strategy.input.size < 384 for strategy in drawn(found))


def test_what_is_fixed_is_not_searched_nor_is_what_it_belongs_to() -> None:
    found = space(fix=("optimisation.optimizer.lr=0.02", "input.size=192"))
    for strategy in drawn(found):
        assert strategy.optimisation.optimizer.lr == 0.02
        assert strategy.optimisation.optimizer.kind == Strategy().optimisation.optimizer.kind
        assert strategy.input.size == 192


def test_only_keeps_the_rest_at_what_is_preferred() -> None:
    found = space(only=("augmentation.mosaic", "optimisation.batch_size"))
    kept = flatten(found.preferred())
    for strategy in drawn(found):
        changed = {path for path, value in flatten(strategy).items() if kept.get(path) != value}
        assert all(path.startswith(("augmentation.mosaic", "optimisation.batch_size")) for path in changed)
        assert strategy.projection.assigner.kind == "sim_ota"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fix": ("input.size=416",)}, "input.size cannot be 416: too slow"),
        ({"fix": ("input.size",)}, "path=value"),
        ({"fix": ("optimisation.clip_norm=3",)}, "only what is searched can be fixed"),
        ({"fix": ("projection.nothing=3",)}, "projection.nothing: unknown key"),
        ({"only": ("augmentaton",)}, "did you mean augmentation"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        space(**changes)


def test_short_trainings_do_not_decide_augmentation_unless_nothing_else_is_searched() -> None:
    narrow = without_augmentation(space())
    assert not [d for d in narrow.active(narrow.base) if d.path.startswith("augmentation.")]
    wanted = space(only=("augmentation",))
    assert without_augmentation(wanted) == wanted


def test_a_request_is_checked_before_anything_is_read() -> None:
    for changes, words in (
        ({"scope": Scope(searcher="magic")}, f"the searchers are {', '.join(SEARCHERS)}"),
        ({"latency": "gameboy<=3ms"}, "the boards are"),
        ({"scope": Scope(only=("nothing",))}, "nothing that is searched"),
    ):
        with pytest.raises(UsageError, match=words):
            check(Request.model_validate({"data": "builtin:digits", "budget_s": 60, **changes}))
    with pytest.raises(UsageError, match="the searchers are"):
        make_searcher("magic", space(), 0)


def test_the_command_can_be_given_again() -> None:
    scope = Scope(
        searcher="tpe",
        blind=True,
        fix=("input.size=224",),
        only=("projection", "input"),
        leave_out=("bccd", "two words"),
        deterministic=True,
    )
    request = Request(
        data="d",
        format="coco",
        budget_s=60,
        model="yolov4-tiny-3l",
        weights="begin here.pt",
        teacher="t.pt",
        boards=("cpu", "kneron-kl720"),
        int8=True,
        max_drop=0.25,
        objectives=("ap", "latency"),
        selection=Selection(merge={"vehicle": ("car", "van")}, drop=("sky",), ignore=("DontCare", "crowd")),
        same_data=True,
        scope=scope,
    )
    words = shlex.split(command(request.model_dump(mode="json")))
    asked_for = get_command(app).commands["run"].make_context("run", words[2:])  # pyright: ignore
    assert asked(asked_for) == request


def test_a_board_that_is_not_here_answers_with_the_upper_end_of_its_interval() -> None:
    graph = architecture("yolov4-tiny").graph(3)
    found = latencies(graph, ["kneron-kl720", "kneron-kl720"], [160, 416])
    model = latency_model("kneron-kl720").estimate(graph.layer_costs((416, 416)))
    assert found.upper("kneron-kl720") == {160: found.boards["kneron-kl720"][160].high_ms, 416: model.high_ms}
    assert found.middle()["kneron-kl720"][416] < found.upper("kneron-kl720")[416]
    assert Latencies.model_validate_json(found.model_dump_json()) == found
    assert LatencyLimit.parse("kneron-kl720<=30ms").board == "kneron-kl720"
