"""Ranges for 8 bits: TensorRT's calibration cache, and the graph with explicit rounding."""

from __future__ import annotations

import math
import re
import struct

import numpy as np
import onnx
import pytest
import small_detectors as small
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgehone.boards import CheckOptions, board, check_graph
from edgehone.deploy.contents import Source
from edgehone.deploy.graph_nodes import describe_graph
from edgehone.deploy.jetson.calibration_cache import (
    cache_text,
    calibrated_tensors,
    range_of,
    read_cache,
    version_number,
)
from edgehone.deploy.jetson.explicit import rounded_tensors, with_explicit_rounding
from edgehone.deploy.onnx_graph import GraphForm, whole_name
from edgehone.errors import EdgehoneError, UsageError
from edgehone.inference import Detector, TorchRuntime


def source_of(detector: Detector) -> Source:
    assert isinstance(detector.runtime, TorchRuntime)
    return Source(detector.runtime.network, detector.info, small.images())


def magnitudes(model: onnx.ModelProto, detector: Detector) -> dict[str, float]:
    """Largest magnitude of every tensor over some pictures."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    outputs = {item.name for item in opened.graph.output}
    more = [name for name in calibrated_tensors(opened)[1:] if name not in outputs]
    opened.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in more)
    found: dict[str, float] = {}
    for pixels in small.prepared(detector).numpy():
        for name, values in {**small.run_graph(opened, pixels), "images": pixels}.items():
            found[name] = max(found.get(name, 0.0), float(np.abs(values).max()))
    return found


GRAMMAR = re.compile(r"TRT-[0-9]{4,5}-EntropyCalibration2\n([^\n:]+: [0-9a-f]{8}\n)+")
"""As documented; written here again."""


def test_a_cache_covers_every_tensor_with_amax_over_127(detector: Detector) -> None:
    model = source_of(detector).graph()
    amax = magnitudes(model, detector)
    text = cache_text(calibrated_tensors(model), amax)
    assert GRAMMAR.fullmatch(text)
    names = {"images"} | {name for node in model.graph.node for name in node.output}
    steps = read_cache(text)
    assert set(steps) == names
    for line in text.splitlines()[1:]:
        name, _, digits = line.partition(": ")
        step = struct.unpack("!f", bytes(int(digits[k : k + 2], 16) for k in range(0, 8, 2)))[0]  # network order
        assert step == np.float32(amax[name] / 127)
        assert steps[name] == step


def test_the_published_line_is_read_and_written() -> None:
    """From a published cache of another tool: 3c010a14 stands for 0.0078759, an amax of 1.00024."""
    steps = read_cache("TRT-7103-EntropyCalibration2\n000_net: 3c010a14\n")
    assert steps["000_net"] == pytest.approx(0.0078759, abs=1e-7)
    assert 127 * steps["000_net"] == pytest.approx(1.00024, abs=1e-5)
    assert cache_text(["000_net"], {"000_net": 127 * steps["000_net"]}, "7.1.3").splitlines() == [
        "TRT-7103-EntropyCalibration2",
        "000_net: 3c010a14",
    ]


@given(st.dictionaries(st.from_regex(r"[0-9]{1,3}_[a-z]{1,9}", fullmatch=True), st.floats(1e-6, 1e6), min_size=1))
def test_a_cache_says_what_was_written(amax: dict[str, float]) -> None:
    steps = read_cache(cache_text(list(amax), amax))
    assert list(steps) == list(amax)
    for name, step in steps.items():
        assert step == np.float32(amax[name] / 127)


def test_versions_count_as_in_the_first_line() -> None:
    assert [version_number(v) for v in ("7.1.3", "8.0.1", "8.2.1", "8.4.1", "8.5.2.2")] == [
        "7103", "8001", "8201", "8401", "8502"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("amax", "message"),
    [
        ({}, "2_conv has none"),
        ({"2_conv": math.inf}, "finite"),
        ({"2_conv": math.nan}, "finite"),
        ({"2_conv": -1.0}, "finite"),
    ],
)
def test_a_tensor_without_a_range_is_refused(amax: dict[str, float], message: str) -> None:
    with pytest.raises(EdgehoneError, match=message):
        cache_text(["2_conv"], amax)


def test_a_tensor_that_is_always_zero_has_a_step() -> None:
    assert read_cache(cache_text(["a"], {"a": 0.0})) == {"a": np.float32(1 / 127)}


@pytest.mark.parametrize(
    "text", ["", "TRT-8001-Legacy\na: 3c010a14\n", "TRT-8001-EntropyCalibration2\na 3c010a14\n",
             "TRT-8001-EntropyCalibration2\na: 3c010a1\n", "TRT-8001-EntropyCalibration2\na: 3c010a14\na: 3c010a14\n"]
)  # fmt: skip
def test_damaged_caches_are_refused(text: str) -> None:
    with pytest.raises(EdgehoneError, match="calibration cache"):
        read_cache(text)


def test_parts_have_the_range_of_the_whole(usual: Detector) -> None:
    assert whole_name("2_conv_part1_linear") == "2_conv_linear"
    assert whole_name("10_conv_part0") == whole_name("10_conv_whole") == whole_name("10_conv") == "10_conv"
    assert range_of("2_conv_part1", {"2_conv": 3.0}) == 3.0
    source = source_of(usual)
    master, free = source.graph(), source.graph(form=GraphForm(slice_free=True))
    amax = magnitudes(master, usual)
    cache_text(calibrated_tensors(free), amax)
    for name, largest in magnitudes(free, usual).items():
        assert largest <= range_of(name, amax) + 1e-6


def test_explicit_rounding_is_placed_as_tensorrt_wants(detector: Detector) -> None:
    master = source_of(detector).graph()
    model = with_explicit_rounding(master, magnitudes(master, detector))
    onnx.checker.check_model(model, full_check=True)
    nx = board("jetson-xavier-nx")
    assert check_graph(describe_graph(model), nx) == []
    refused = {violation.operator for violation in check_graph(describe_graph(model), nx, CheckOptions(dla=True))}
    assert {"QuantizeLinear", "DequantizeLinear"} <= refused
    made = {node.output[0]: node for node in model.graph.node}
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Conv":
            weight = made[node.input[1]]
            assert weight.op_type == "DequantizeLinear"
            rounding = made[weight.input[0]]
            assert rounding.op_type == "QuantizeLinear"  # of real numbers: this parser reads no whole constants
            values, steps = constants[rounding.input[0]], constants[rounding.input[1]]
            assert values.dtype == np.float32
            assert steps.shape == (len(values),)
            np.testing.assert_allclose(steps, np.abs(values).reshape(len(values), -1).max(1) / 127, rtol=1e-6)
            assert node.input[2] in constants  # a real bias
            source = made[node.input[0]]
            while source.op_type in ("MaxPool", "Resize", "Slice"):  # these only move numbers
                source = made[source.input[0]]
            assert source.op_type == "DequantizeLinear"
        if node.op_type in ("LeakyRelu", "Clip"):
            assert made[node.input[0]].op_type == "Conv"  # nothing between a convolution and its activation
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert not constants[node.input[2]].any()
            assert constants[node.input[2]].dtype == np.int8
    for item in model.graph.output:
        assert made[item.name].op_type == "Conv"  # raw heads leave as they are


def test_explicit_rounding_stays_near(detector: Detector) -> None:
    master = source_of(detector).graph()
    model = with_explicit_rounding(master, magnitudes(master, detector))
    pixels = small.prepared(detector)[0].numpy()
    ours, theirs = small.run_graph(master, pixels), small.run_graph(model, pixels)
    for name in ours:
        noise = np.square(ours[name] - theirs[name]).sum()
        assert 20 < 10 * np.log10(np.square(ours[name]).sum() / noise) < 60


def test_explicit_rounding_needs_opset_13_and_every_range(usual: Detector) -> None:
    source = source_of(usual)
    with pytest.raises(UsageError, match="opset 13"):
        with_explicit_rounding(source.graph(11), {})
    with pytest.raises(EdgehoneError, match="images has none"):
        with_explicit_rounding(source.graph(), {})
    assert "2_conv" in rounded_tensors(source.graph())
    assert "2_conv_linear" not in rounded_tensors(source.graph())
