"""Narrowing a search, latencies of boards, and how a request says it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from typer.main import get_command

from edgehone.boards import BoardMode, Measured, fingerprint_of, latency_model
from edgehone.cli import app
from edgehone.cli_search import asked
from edgehone.data import Selection
from edgehone.equipment import measurements
from edgehone.errors import UsageError
from edgehone.models import architecture
from edgehone.report.search_sections import command
from edgehone.request import Request, check
from edgehone.run_folder import RunFolder
from edgehone.search.board_costs import Latencies, LatencyLimit, cost_by_size, latencies
from edgehone.search.lengths import without_augmentation
from edgehone.search.objective import Cost, parse_objective, unit_of
from edgehone.search.scope import Given, Scope, declared_space
from edgehone.search.searchers import SEARCHERS, make_searcher
from edgehone.space import Forbid, Prefer, Prior, SearchSpace, dimensions, flatten, load
from edgehone.strategy import Strategy

PRIORS: tuple[Prior, ...] = (
    Prefer(path="projection.assigner.kind", value="sim_ota", confidence=0.9, because="test"),
    Forbid(path="input.size", values=(384, 416), because="too slow"),
)
GIVEN = Given(weights=False, teacher=False)


def space(**changes: object) -> SearchSpace:
    return declared_space(Scope.model_validate(changes), PRIORS, GIVEN)


def preferred(found: SearchSpace, path: str) -> Prefer | None:
    return found.preference(next(d for d in dimensions(Strategy) if d.path == path))


def drawn(found: SearchSpace, count: int = 8) -> list[Strategy]:
    rng = np.random.default_rng(0)
    return [cast(Strategy, found.sample(rng)) for _ in range(count)]


def test_blind_and_other_searchers_hear_limits_but_no_advice() -> None:
    assert preferred(space(), "projection.assigner.kind") is not None
    for changes in ({"blind": True}, {"searcher": "random"}):
        found = space(**changes)
        assert preferred(found, "projection.assigner.kind") is None
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
        ({"searcher": "authors", "fix": ("optimisation.optimizer.lr=0.1",)}, "can name the input alone"),
        ({"searcher": "authors", "only": ("projection",)}, "can name the input alone"),
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
        ({"latency": ("gameboy<=3ms",)}, "the boards are"),
        ({"latency": ("cpu<=3..5ms",)}, "given like cpu<=8ms"),
        ({"measured": ("nowhere.json",)}, "there is no file nowhere.json"),
        ({"scope": Scope(only=("nothing",))}, "nothing that is searched"),
        ({"objectives": ("ap", "latency@cpu")}, r"a cost names its board in brackets: latency\[cpu\]"),
        ({"objectives": ("ap, latency",)}, "objectives are given one by one: --objective ap --objective latency"),
        ({"objectives": ("ap", "latency[kneron-kl720]")}, "latency is of one of the boards cpu"),
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
        latency=("cpu<=8ms", "kneron-kl720<=30ms"),
        measured=("kl 720.json", "nx.json"),
        scope=scope,
    )
    words = shlex.split(command(request.model_dump(mode="json")))
    asked_for = get_command(app).commands["run"].make_context("run", words[2:])  # pyright: ignore
    assert asked(asked_for) == request


def test_a_board_that_is_not_here_answers_with_the_upper_end_of_its_interval() -> None:
    graph = architecture("yolov4-tiny").graph(3)
    mode = BoardMode.parse("kneron-kl720")
    found = latencies(graph, [mode, mode], [160, 416])
    model = latency_model("kneron-kl720").estimate(graph.layer_costs((416, 416)))
    assert found.boards == {"kneron-kl720": {160: found.boards["kneron-kl720"][160], 416: model}}
    between = LatencyLimit.parse(f"kneron-kl720<={(model.mid_ms + model.high_ms) / 2:.3f}ms")
    forbidden = found.too_slow(between)
    assert forbidden is not None
    assert forbidden.values == (416,), "the middle would do, the upper end does not"
    assert found.too_slow(LatencyLimit.parse("kneron-kl720<=300ms")) is None
    assert Latencies.model_validate_json(found.model_dump_json()) == found


def test_this_machine_answers_with_the_90th_percentile_and_ranks_by_the_median() -> None:
    graph = architecture("yolov4-tiny").graph(3)
    mode = BoardMode.parse("cpu")
    found = latencies(graph, [mode], [160, 416])
    slow = found.boards["cpu"][416]
    assert found.boards["cpu"][160].mid_ms < slow.mid_ms == found.middle("cpu")[416] <= slow.high_ms
    assert slow.measured
    wide = slow.model_copy(update={"high_ms": 2 * slow.mid_ms})
    found = Latencies(boards={"cpu": {**found.boards["cpu"], 416: wide}})
    forbidden = found.too_slow(LatencyLimit.parse(f"cpu<={1.5 * slow.mid_ms:.3f}ms"))
    assert forbidden is not None
    assert forbidden.values == (416,), "nine in ten are to be in time, not every second one"
    assert "at the upper end of the interval" in forbidden.because


def test_what_is_delivered_is_what_a_limit_is_about() -> None:
    graph = architecture("yolov4-tiny").graph(3)
    modes = [BoardMode.parse(text) for text in ("jetson-xavier-nx", "jetson-xavier-nx:int8@20W_2CORE")]
    found = latencies(graph, modes, [416])
    usual, fast = (found.boards[mode.text][416] for mode in modes)
    assert usual == latency_model("jetson-xavier-nx").estimate(graph.layer_costs((416, 416)), "fp16", "15W_2CORE")
    assert fast.mid_ms < usual.mid_ms
    assert "estimated for int8 at 20W_2CORE" in fast.because


def test_memory_is_counted_and_energy_is_bounded_by_the_mode() -> None:
    graph = architecture("yolov4-tiny").graph(3)
    nx = "jetson-xavier-nx"
    each = [parse_objective(text, ("a",), (nx, "kneron-kl720")) for text in (f"memory[{nx}]", f"energy[{nx}@3]")]
    memory, energy = (objective for objective in each if isinstance(objective, Cost))
    assert (memory.text, energy.text) == (f"memory[{nx}:fp16@15W_2CORE]", f"energy[{nx}:fp16@10W_2CORE]")
    assert (unit_of(memory.text), unit_of(energy.text), unit_of("ap")) == ("MB", "mJ", None)
    said: list[str] = []
    found = latencies(graph, [energy.mode], [160, 416])
    layers = graph.layer_costs((416, 416))
    largest = 2 * max(layer.activation_bytes for layer in layers)
    expected = (sum(layer.weight_bytes for layer in layers) + largest) / 2 / 1e6
    assert cost_by_size(memory, graph, [160, 416], found, said.append)[416] == pytest.approx(expected)
    middle = found.boards[energy.mode.text][416].mid_ms
    assert cost_by_size(energy, graph, [160, 416], found, said.append)[416] == pytest.approx(10 * middle)
    assert "the runtime's not" in said[0]
    assert "at the 10 W that the mode allows, so at most" in said[1]
    for text in ("energy[kneron-kl720]", "energy[cpu]"):
        with pytest.raises(UsageError, match=r"no power of .* is published"):
            parse_objective(text, ("a",), ("cpu", "kneron-kl720"))
    with pytest.raises(UsageError, match="memory is of one of the boards cpu"):
        parse_objective(f"memory[{nx}]", ("a",), ("cpu",))


def test_requests_of_earlier_versions_are_read() -> None:
    for old, new in ((None, ()), ("cpu<=8ms", ("cpu<=8ms",))):
        assert load(Request, {"data": "d", "budget_s": 60, "latency": old}).latency == new


def test_measurements_are_frozen_with_the_run(tmp_path: Path) -> None:
    costs = architecture("yolov4-tiny").graph(3).layer_costs((416, 416))
    row: dict[str, Any] = {
        "network": "yolov4-tiny", "fingerprint": fingerprint_of(costs), "precision": "fp16", "input_size": (416, 416),
        "p50_ms": 9.0, "p90_ms": 9.5, "runs": 100, "layers": costs,
    }  # fmt: skip
    content = {"schema": 1, "board": "jetson-xavier-nx", "runtime": "TensorRT 8.5.2", "power_mode": "15W_2CORE"}
    path = tmp_path / "measured.json"
    path.write_text(Measured.model_validate({**content, "measurements": [row]}).model_dump_json(by_alias=True))
    request = Request(data="d", budget_s=60, measured=(str(path),))
    folder = RunFolder(tmp_path)
    found = measurements(request, RunFolder(folder.path / "run"))
    mode = BoardMode.parse("jetson-xavier-nx")
    known = latencies(architecture("yolov4-tiny").graph(3), [mode], [320, 416], found).boards[mode.text]
    assert (known[416].low_ms, known[416].high_ms, known[416].measured) == (9.0, 9.5, True)
    plain = latencies(architecture("yolov4-tiny").graph(3), [mode], [320], ()).boards[mode.text]
    assert known[320].mid_ms > 1.2 * plain[320].mid_ms, "others follow what was measured"
    row["p50_ms"] = 8.0
    path.write_text(Measured.model_validate({**content, "measurements": [row]}).model_dump_json(by_alias=True))
    with pytest.raises(UsageError, match="has changed since"):
        measurements(request, RunFolder(folder.path / "run"))
    path.unlink()
    assert measurements(request, RunFolder(folder.path / "run")) == found
