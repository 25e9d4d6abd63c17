"""Latency models: what they miss is known, their intervals hold, and what was measured replaces them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.boards import (
    BOARDS,
    Measured,
    Measurement,
    fingerprint_of,
    latency_model,
    read_measured,
    read_measurements,
)
from edgehone.boards.fitting import COVERAGE, WIDEST, LeftOut, ModelError, interval_factor, leave_one_out
from edgehone.boards.machines import NX_GMAC_PER_S
from edgehone.boards.published import LEFT_ASIDE, TIMINGS, Timing, published_costs
from edgehone.errors import UsageError
from edgehone.models import YoloV4Tiny
from edgehone.types import LayerCost

KL720, NX = "kneron-kl720", "jetson-xavier-nx"
both_boards = pytest.mark.parametrize("name", [KL720, NX])


def tiny(side: int = 416) -> list[LayerCost]:
    return YoloV4Tiny().graph(80).layer_costs((side, side))


def measurement(costs: list[LayerCost], p50: float, precision: str = "int8", **more: Any) -> Measurement:
    return Measurement.model_validate(
        {
            "network": "mine",
            "fingerprint": fingerprint_of(costs),
            "precision": precision,
            "input_size": (416, 416),
            "p50_ms": p50,
            "p90_ms": p50 * 1.1,
            "runs": 100,
            "layers": tuple(costs),
            "npu_ms": p50,
            **more,
        }
    )


def measured(name: str, *rows: Measurement) -> Measured:
    mode = BOARDS[name].default_power_mode
    return Measured.model_validate(
        {"schema": 1, "board": name, "runtime": "recorded 1.0", "power_mode": mode, "measurements": rows}
    )


@both_boards
def test_networks_left_out_are_predicted(name: str) -> None:
    rows = latency_model(name).left_out
    errors = np.array([abs(row.error) for row in rows])
    assert np.expm1(np.median(errors)) <= 0.20
    assert max(row.factor for row in rows) <= WIDEST
    assert np.mean([row.inside for row in rows]) >= COVERAGE


@both_boards
def test_the_error_does_not_hang_on_the_priors(name: str) -> None:
    machine = latency_model(name).machine
    for factor in (1 / 1.5, 1.5):
        for k, parameter in enumerate(machine.parameters):
            moved = list(machine.parameters)
            moved[k] = replace(parameter, value=parameter.value * factor)
            error = ModelError.of(leave_one_out(replace(machine, parameters=tuple(moved))))
            assert error.median_error <= 0.20
            assert error.inside >= COVERAGE * error.rows


def test_the_sister_board_is_predicted_without_the_network() -> None:
    rows = [r for r in latency_model(NX).left_out if r.timing.hardware == "jetson-agx-xavier" and r.timing.fitted]
    tiny_rows = [row for row in rows if row.timing.network == "yolov4-tiny"]
    assert len(tiny_rows) == 3
    assert np.expm1(np.median([abs(row.error) for row in tiny_rows])) <= 0.20
    assert all(row.inside for row in tiny_rows)


def test_every_timing_names_source_and_a_known_network() -> None:
    for timing in TIMINGS:
        assert timing.board in BOARDS
        assert len(timing.source) > 3
        assert timing.ms > 0
        assert published_costs(timing.network, timing.side)
    assert all(len(reason) > 10 for reason in LEFT_ASIDE.values())


def test_published_layers_are_those_of_our_graph() -> None:
    ours = [(c.kind, c.output_shape, c.macs, c.weight_bytes) for c in tiny(320) if c.kind != "head"]
    theirs = [(c.kind, c.output_shape, c.macs, c.weight_bytes) for c in published_costs("yolov4-tiny", 320)]
    assert theirs == ours


def test_only_whole_maps_scale() -> None:
    assert sum(c.macs for c in published_costs("yolov3", 608)) == pytest.approx(70.35e9, rel=1e-3)
    with pytest.raises(UsageError, match="multiples of 32"):
        published_costs("yolov3", 500)
    with pytest.raises(UsageError, match="got 'yolov9'"):
        published_costs("yolov9", 416)


@both_boards
def test_a_larger_input_takes_longer(name: str) -> None:
    model = latency_model(name)
    middles = [model.estimate(tiny(side)).mid_ms for side in (160, 320, 416, 608)]
    assert middles == sorted(middles)


@both_boards
def test_an_estimate_is_an_interval_with_its_reason(name: str) -> None:
    found = latency_model(name).estimate(tiny())
    assert not found.measured
    assert found.low_ms < found.mid_ms < found.high_ms <= found.mid_ms * WIDEST * (1 + 1e-9)
    assert found.mid_ms / found.low_ms == pytest.approx(found.high_ms / found.mid_ms)
    assert "leaving each of" in found.because


def test_no_estimate_is_faster_than_the_arithmetic() -> None:
    macs = sum(c.macs for c in tiny())
    assert latency_model(KL720).estimate(tiny()).low_ms > macs / 716.8e6
    for side in (160, 416, 608):
        macs = sum(c.macs for c in tiny(side))
        for precision in ("fp32", "fp16", "int8"):
            peak = NX_GMAC_PER_S[precision]
            assert latency_model(NX).estimate(tiny(side), precision).low_ms >= macs / peak / 1e6
    heavy = [replace(cost, macs=cost.macs * 50) for cost in tiny()]  # next to nothing but arithmetic
    low = latency_model(NX).estimate(heavy, "fp32").low_ms
    assert low == pytest.approx(sum(c.macs for c in heavy) / NX_GMAC_PER_S["fp32"] / 1e6)


@both_boards
def test_shares_are_at_most_1(name: str) -> None:
    for parameter, value in latency_model(name).parameters.items():
        assert "share" not in parameter or value <= 1 + 1e-9


def test_jetson_precisions_and_power_modes_order_as_they_must() -> None:
    model = latency_model(NX)
    fp32, fp16, int8 = (model.estimate(tiny(), precision).mid_ms for precision in ("fp32", "fp16", "int8"))
    assert fp32 > fp16 > int8
    slow, usual, fast = (model.estimate(tiny(), "fp16", mode).mid_ms for mode in ("10W_DESKTOP", None, "20W_2CORE"))
    assert slow > 1.5 * usual
    assert usual > fast
    with pytest.raises(UsageError, match="power modes"):
        model.estimate(tiny(), "fp16", "MAXN")
    with pytest.raises(UsageError, match="int16"):
        model.estimate(tiny(), "int16")


def test_boards_without_a_model_say_why() -> None:
    with pytest.raises(UsageError, match="cpu is measured here, not estimated"):
        latency_model("cpu")
    with pytest.raises(UsageError, match="toaster is not one of them"):
        latency_model("toaster")


@both_boards
def test_what_was_measured_replaces_the_estimate(name: str) -> None:
    before = latency_model(name)
    costs = tiny()
    estimated = before.estimate(costs, "int8").mid_ms
    after = before.refit([measured(name, measurement(costs, 2 * estimated))])
    found = after.estimate(costs, "int8")
    assert found.measured
    assert (found.low_ms, found.mid_ms, found.high_ms) == (2 * estimated, 2 * estimated, 2.2 * estimated)
    assert "recorded 1.0" in found.because
    assert before.estimate(costs, "int8").mid_ms == estimated, "a model is not changed by being refitted"


@both_boards
def test_what_was_measured_moves_other_estimates(name: str) -> None:
    model = latency_model(name)
    for factor in (0.7, 1.4):
        rows = [measurement(tiny(s), factor * model.estimate(tiny(s), "int8").mid_ms) for s in (320, 416)]
        moved = model.refit([measured(name, *rows)]).estimate(tiny(352), "int8")
        assert not moved.measured
        assert moved.mid_ms / model.estimate(tiny(352), "int8").mid_ms == pytest.approx(factor, rel=0.15)


def test_another_mode_or_precision_is_not_replaced() -> None:
    model = latency_model(NX)
    after = model.refit([measured(NX, measurement(tiny(), 5.0, "fp16"))])
    assert after.estimate(tiny(), "fp16", "0").measured
    assert not after.estimate(tiny(), "fp16", "10W_DESKTOP").measured
    assert not after.estimate(tiny(), "int8").measured
    with pytest.raises(UsageError, match=f"model of {KL720}"):
        latency_model(KL720).refit([measured(NX)])


@both_boards
def test_a_refit_is_left_out_in_turn_again(name: str) -> None:
    """What was measured counts in the error and the interval, as every other timing does."""
    model = latency_model(name)
    true = model.estimate(tiny(), "int8").mid_ms
    near = model.refit([measured(name, measurement(tiny(), true))])
    far = model.refit([measured(name, measurement(tiny(), 1.35 * true))])
    for after in (near, far):
        assert after.error.rows == model.error.rows + 1
        assert after.left_out != model.left_out
        assert max(row.factor for row in after.left_out) <= WIDEST
    last = far.left_out[-1]
    assert last.timing.source == "measured.json"
    assert abs(last.error) > 0.1, "the network is predicted without its measurement"
    assert str(far.error) in far.estimate(tiny(352), "int8").because
    assert far.error != near.error


def test_without_a_power_mode_a_network_is_replaced_and_nothing_is_refitted() -> None:
    model = latency_model(NX)
    file = measured(NX, measurement(tiny(), 7.0, "fp16")).model_copy(update={"power_mode": ""})
    after = model.refit([file])
    found = after.estimate(tiny(), "fp16")
    assert (found.measured, found.mid_ms) == (True, 7.0)
    assert "power mode unknown, taken for 15W_2CORE" in found.because
    assert not after.estimate(tiny(), "fp16", "10W_DESKTOP").measured
    assert after.estimate(tiny(320), "fp16") == model.estimate(tiny(320), "fp16")
    assert "clocks are not known" in str(after.fits_nothing(file, file.measurements[0]))


def test_transfer_to_the_npu_is_not_taken_for_its_arithmetic() -> None:
    model = latency_model(KL720)
    npu = model.estimate(tiny()).mid_ms
    whole = measured(KL720, measurement(tiny(), npu + 6.0, npu_ms=npu, includes="transfer over USB"))
    after = model.refit([whole])
    assert after.estimate(tiny()).mid_ms == npu + 6.0, "a picture takes the whole round trip"
    assert "transfer over USB" in after.estimate(tiny()).because
    other, before = after.estimate(tiny(320)), model.estimate(tiny(320))
    area = (320 / 416) ** 2
    assert other.mid_ms - before.mid_ms == pytest.approx(6.0 * (1 + area) / 2, rel=0.05)
    assert other.low_ms < other.mid_ms < other.high_ms
    blind = measured(KL720, measurement(tiny(), npu + 6.0, npu_ms=None))
    assert model.refit([blind]).estimate(tiny(320)) == before
    assert "how long the NPU alone" in str(model.fits_nothing(blind, blind.measurements[0]))


def test_files_are_read_with_their_names_in_every_complaint(tmp_path: Path) -> None:
    good, other = tmp_path / "nx.json", tmp_path / "other.json"
    good.write_text(measured(NX, measurement(tiny(), 6.5, "fp16")).model_dump_json(by_alias=True))
    assert latency_model(NX, read_measurements([good])).estimate(tiny()).measured
    for change, words in (({"board": "cpu"}, "cpu is measured here"), ({"power_mode": "MAXN"}, "power modes")):
        content = json.loads(good.read_text()) | change
        other.write_text(json.dumps(content))
        with pytest.raises(UsageError, match=rf"other\.json: .*{words}"):
            read_measurements([good, other])


def test_fingerprints_see_costs_and_no_names() -> None:
    costs = tiny()
    renamed = [replace(c, name=f"x{k}") for k, c in enumerate(costs)]
    assert fingerprint_of(renamed) == fingerprint_of(costs)
    assert fingerprint_of(tiny(320)) != fingerprint_of(costs)


def test_a_measured_file_survives_the_disk(tmp_path: Path) -> None:
    content = measured(NX, measurement(tiny(), 6.5))
    path = tmp_path / "measured.json"
    path.write_text(content.model_dump_json(by_alias=True))
    assert read_measured(path) == content


def _without(key: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        del content[key]

    return change


def _row(**values: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content["measurements"][0].update(values)

    return change


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (_without("board"), "board"),
        (lambda c: c.update(schema=2), "schema"),
        (_row(p50_ms=-1), "p50_ms"),
        (_row(p90_ms=0.1), "p90_ms is at least p50_ms"),
        (_row(fingerprint="0" * 16), "the layers have the fingerprint"),
        (_row(extra=1), "extra"),
    ],
    ids=["no board", "schema 2", "negative", "p90 below p50", "other layers", "unknown key"],
)
def test_a_damaged_file_is_refused_with_the_place(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], place: str
) -> None:
    content = json.loads(measured(NX, measurement(tiny(), 6.5)).model_dump_json(by_alias=True))
    change(content)
    path = tmp_path / "measured.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=place):
        read_measured(path)


def test_no_file_and_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        read_measured(tmp_path / "measured.json")
    (tmp_path / "measured.json").write_text("{")
    with pytest.raises(UsageError, match="read from JSON"):
        read_measured(tmp_path / "measured.json")


def _left_out(errors: list[float], names: list[str]) -> list[LeftOut]:
    def row(error: float, name: str) -> LeftOut:
        timing = Timing(
            board=KL720, hardware=KL720, network=name, side=32, precision="int8", ms=1.0, runtime="r", source="test"
        )
        return LeftOut(timing, float(np.exp(error)), WIDEST)

    return [row(error, name) for error, name in zip(errors, names, strict=True)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-0.4, 0.4), min_size=1, max_size=30))
def test_the_interval_holds_what_it_promises(errors: list[float]) -> None:
    factor = interval_factor(_left_out(errors, [str(k) for k in range(len(errors))]))
    inside = np.mean([abs(error) <= np.log(factor) + 1e-12 for error in errors])
    assert inside >= COVERAGE
    assert 1 <= factor <= WIDEST


def test_a_network_with_many_rows_counts_once() -> None:
    many = _left_out([0.01] * 90 + [0.3, 0.35], ["a"] * 90 + ["b", "c"])
    assert interval_factor(many) == pytest.approx(np.exp(0.35))
