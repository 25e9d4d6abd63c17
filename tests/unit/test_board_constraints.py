"""A board rules out what it cannot run, by name, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgehone.boards import BOARDS, CheckOptions, board, forbidden, latency_model, too_slow
from edgehone.boards.constraints import OPERATORS
from edgehone.models import YoloV4Tiny
from edgehone.models.layers import Activation
from edgehone.space import dimensions
from edgehone.strategy import INPUT_SIZES, Strategy
from edgehone.types import LayerCost

KL720, NX = "kneron-kl720", "jetson-xavier-nx"
ACTIVATIONS = tuple(OPERATORS["activation"])


def costs(side: int) -> list[LayerCost]:
    return YoloV4Tiny().graph(80).layer_costs((side, side))


def heavy(side: int) -> list[LayerCost]:
    return [replace(cost, weight_bytes=cost.weight_bytes * 20) for cost in costs(side)]


def test_every_activation_of_a_graph_is_judged() -> None:
    assert {*ACTIVATIONS, "linear"} == set(Activation.__args__)


def test_every_coding_of_a_strategy_is_judged() -> None:
    found = {d.path: set(d.domain.values) for d in dimensions(Strategy) if d.path.startswith("projection.coding.")
             and hasattr(d.domain, "values")}  # fmt: skip
    for path, values in found.items():
        assert values == set(OPERATORS[path.removeprefix("projection.")])


def test_mish_is_ruled_out_on_kl720_only() -> None:
    for name in BOARDS:
        found = forbidden(board(name), {"model.activation": ACTIVATIONS})
        assert [rule.values for rule in found] == ([("mish",)] if name == KL720 else [])
    rule = forbidden(board(KL720), {"model.activation": ACTIVATIONS})[0]
    assert "does not run Softplus, which mish needs" in rule.because
    assert "operators.md" in rule.evidence["source"]


def test_the_accelerators_of_the_jetson_rule_out_leaky() -> None:
    found = forbidden(board(NX), {"model.activation": ACTIVATIONS}, options=CheckOptions(dla=True))
    assert {value for rule in found for value in rule.values} == {"leaky", "mish"}


def test_codings_count_only_where_boxes_are_decoded_on_the_board() -> None:
    values = {
        "projection.coding.kind": ("exp", "squared_sigmoid", "distances"),
        "projection.coding.growth": ("exp", "softplus"),
    }
    assert forbidden(board(KL720), values) == []
    found = forbidden(board(KL720), values, decode_on_board=True)
    assert [(rule.path, rule.values) for rule in found] == [("projection.coding.growth", ("softplus",))]
    assert forbidden(board(NX), values, decode_on_board=True) == []


def test_searched_sizes_fit_everywhere_and_huge_ones_do_not() -> None:
    for name in BOARDS:
        assert forbidden(board(name), {"input.size": INPUT_SIZES}, costs) == []
    found = forbidden(board(KL720), {"input.size": (416, 1024, 2048)}, costs)
    assert [rule.values for rule in found] == [(1024, 2048)]
    assert "at most 1022 px" in found[0].because


def test_a_model_that_does_not_fit_is_ruled_out_by_precision() -> None:
    sizes = {"input.size": (320, 416)}
    assert [r.values for r in forbidden(board(KL720), sizes, heavy)] == [(320, 416)]
    assert forbidden(board(KL720), sizes, costs, CheckOptions(precision="int16")) == []
    found = forbidden(board(NX), {"input.size": (416, 32 * 700)}, costs, CheckOptions(precision="fp32"))
    assert [rule.values for rule in found] == [(32 * 700,)]
    assert "8590 MB" in found[0].because


def test_other_paths_are_free() -> None:
    assert forbidden(board(KL720), {"optimisation.batch_size": (1, 2), "input.fit": ("stretch",)}, costs) == []


@pytest.mark.parametrize("name", [KL720, NX])
def test_only_sizes_that_are_surely_too_slow_are_ruled_out(name: str) -> None:
    model = latency_model(name)
    limit = model.estimate(costs(320)).mid_ms
    rule = too_slow(model, INPUT_SIZES, costs, limit)
    banned = set(rule.values) if rule else set()
    assert banned == {side for side in INPUT_SIZES if model.estimate(costs(side)).low_ms > limit}
    assert 320 not in banned
    assert too_slow(model, INPUT_SIZES, costs, 1e6) is None
    everything = too_slow(model, INPUT_SIZES, costs, 1e-3)
    assert everything is not None
    assert everything.values == INPUT_SIZES
