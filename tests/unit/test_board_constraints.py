"""A board rules out what it cannot hold or scale, and a network that it cannot run, before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgehone.boards import BOARDS, BoardMode, board, size_limits
from edgehone.boards.mode import timed
from edgehone.deploy.runnable import require_board_runs
from edgehone.errors import UsageError
from edgehone.models import YoloV4Tiny
from edgehone.request import Request, check
from edgehone.search.board_costs import board_limits, latencies, parse_limits
from edgehone.strategy import INPUT_SIZES
from edgehone.types import LayerCost

KL720, NX = "kneron-kl720", "jetson-xavier-nx"

CFG = """\
[net]
width=64
height=64
channels=3

[convolutional]
batch_normalize=1
filters=8
size=3
stride=4
pad=1
activation={activation}

[convolutional]
size=1
stride=1
pad=1
filters=21
activation=linear

[yolo]
mask=0,1,2
anchors=10,14,23,27,37,58
classes=2
num=3
"""


def costs(side: int) -> list[LayerCost]:
    return YoloV4Tiny().graph(80).layer_costs((side, side))


def heavy(side: int) -> list[LayerCost]:
    return [replace(cost, weight_bytes=cost.weight_bytes * 20) for cost in costs(side)]


def test_searched_sizes_fit_everywhere_and_huge_ones_do_not() -> None:
    for name in BOARDS:
        assert size_limits(board(name), INPUT_SIZES, costs) == []
    found = size_limits(board(KL720), (416, 1024, 2048), costs)
    assert [rule.values for rule in found] == [(1024, 2048)]
    assert "at most 1022 px" in found[0].because


def test_a_model_that_does_not_fit_is_ruled_out_by_precision() -> None:
    assert [r.values for r in size_limits(board(KL720), (320, 416), heavy)] == [(320, 416)]
    assert size_limits(board(KL720), (320, 416), costs, "int16") == []
    found = size_limits(board(NX), (416, 32 * 700), costs, "fp32")
    assert [rule.values for rule in found] == [(32 * 700,)]
    assert "8590 MB" in found[0].because


def written(tmp_path: Path, activation: str) -> str:
    path = tmp_path / f"{activation}.cfg"
    path.write_text(CFG.format(activation=activation))
    return str(path)


def test_a_network_that_a_board_does_not_run_is_refused_at_once(tmp_path: Path) -> None:
    mish, leaky = written(tmp_path, "mish"), written(tmp_path, "leaky")
    with pytest.raises(
        UsageError, match=r"0_conv_soft \(Softplus\): Softplus does not run. Way round: train with Leaky"
    ):
        check(Request(data="builtin:digits", budget_s=60, model=mish, boards=("cpu", KL720)))
    with pytest.raises(UsageError, match=f"leave out --board {KL720}"):
        check(Request(data="builtin:digits", budget_s=60, model=mish, latency=(f"{KL720}<=9ms",)))
    for name in BOARDS:
        require_board_runs(leaky, name)
        if name != KL720:
            require_board_runs(mish, name)


def test_limits_of_several_boards_hold_together_and_say_why() -> None:
    graph, sizes = YoloV4Tiny().graph(3), (160, 320, 416)
    found = latencies(graph, [BoardMode.parse(name) for name in (KL720, NX)], sizes)
    upper = {name: {s: row.high_ms for s, row in rows.items()} for name, rows in found.boards.items()}
    mode = BoardMode.parse(NX).text
    texts = (f"{KL720}<={upper[KL720][320] + 0.01:.4f}ms", f"{NX}<={upper[mode][160] + 0.01:.4f}ms")
    limits = board_limits(graph, (KL720,), sizes, parse_limits(texts), found)
    assert [limit.values for limit in limits] == [(416,), (320, 416)]
    assert f"on {mode}, at the upper end of the interval" in limits[1].because
    with pytest.raises(UsageError, match="here none does"):
        board_limits(graph, (), sizes, parse_limits([f"{NX}<=0.1ms"]), found)
    with pytest.raises(UsageError, match="one latency limit"):
        parse_limits([f"{NX}<=8ms", f"{NX}:fp16@0<=9ms"])


def test_a_mode_says_all_that_could_be_otherwise() -> None:
    assert BoardMode.parse("cpu").text == "cpu"
    assert BoardMode.parse(KL720).text == KL720
    assert BoardMode.parse(NX).text == f"{NX}:fp16@15W_2CORE"
    assert BoardMode.parse(f"{NX}:int8@5").text == f"{NX}:int8@10W_DESKTOP"
    for name in BOARDS:
        assert board(name).delivered in timed(board(name))
    for text, words in (
        (f"{NX}:int16", "known in fp32, fp16, int8"),
        ("cpu:int8", "known in fp32"),
        (f"{NX}@MAXN", "power modes"),
        ("a b", "named like"),
    ):
        with pytest.raises(UsageError, match=words):
            BoardMode.parse(text)
