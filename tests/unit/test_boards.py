"""The facts about boards: complete, each with its source, and consistent with each other."""

from __future__ import annotations

import json

import pytest

from edgehone.boards import BOARDS, Board, board
from edgehone.errors import UsageError

WITH_OWN_SOURCE = {"runtimes", "memory", "limits", "notes"}
CHOSEN_HERE = {"name", "delivered", "default_runtime", "default_power_mode", "measured_here", "runtime", "sources"}

every_board = pytest.mark.parametrize("known", list(BOARDS.values()), ids=list(BOARDS))


@every_board
def test_every_fact_names_its_source(known: Board) -> None:
    given = {name for name in Board.model_fields if getattr(known, name) not in (None, (), "", False)}
    assert given - WITH_OWN_SOURCE - CHOSEN_HERE == set(known.sources)
    for fact in (*known.runtimes, known.memory, *known.limits, *known.notes):
        assert len(fact.source) > 3
    assert all(len(source) > 3 for source in known.sources.values())


@every_board
def test_a_graph_for_the_default_runtime_runs_on_later_ones(known: Board) -> None:
    versions = [runtime.version for runtime in known.runtimes]
    default = known.runtime_version()
    for runtime in known.runtimes[versions.index(default.version) :]:
        assert runtime.opsets[0] <= default.opsets[1] <= runtime.opsets[1]
        assert default.max_ir <= runtime.max_ir


@every_board
def test_boards_survive_json(known: Board) -> None:
    assert Board.model_validate(json.loads(known.model_dump_json())) == known


def test_jetson_modes_by_name_and_number() -> None:
    nx = board("jetson-xavier-nx")
    slow = nx.power_mode("10W_DESKTOP")
    assert slow is not None
    assert slow == nx.power_mode("5")
    assert slow.gpu_mhz == 510
    default = nx.power_mode()
    assert default is not None
    assert (default.name, default.gpu_mhz, default.gb_per_s) == ("15W_2CORE", 1100, 51.2)
    with pytest.raises(UsageError, match="15W_2CORE"):
        nx.power_mode("MAXN")
    assert board("cpu").power_mode() is None
    with pytest.raises(UsageError, match="none to choose from"):
        board("cpu").power_mode("fast")


def test_an_unknown_runtime_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"7\.1, 8\.0, 8\.2, 8\.4, 8\.5 \(TensorRT\); got '10'"):
        board("jetson-xavier-nx").runtime_version("10")


def test_the_formats_for_photographs_are_exact() -> None:
    for known in BOARDS.values():
        exact = [item.name for item in known.image_formats if item.exact]
        assert exact
        assert all(item.bits_per_channel == 8 for item in known.image_formats if item.exact)
    assert [f.name for f in board("kneron-kl720").image_formats if f.exact] == ["KP_IMAGE_FORMAT_RGBA8888"]
