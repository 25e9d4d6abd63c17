"""Ranges for 8 bits: TensorRT's calibration cache, and the graph with explicit rounding."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
import struct
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
import small_detectors as small
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgehone.boards import CheckOptions, board, check_graph
from edgehone.data import read_dataset
from edgehone.deploy.bundle.proof import prove_graphs
from edgehone.deploy.contents import Source
from edgehone.deploy.graph_nodes import describe_graph
from edgehone.deploy.integer.eight_bits import EightBits, calibrated
from edgehone.deploy.jetson.calibration_cache import (
    cache_text,
    calibrated_tensors,
    range_of,
    read_cache,
    version_number,
)
from edgehone.deploy.jetson.contents import CACHE, ROUNDED, jetson_contents
from edgehone.deploy.onnx_graph import GraphForm, whole_name
from edgehone.errors import EdgehoneError
from edgehone.inference import Detector, TorchRuntime


def source_of(detector: Detector) -> Source:
    assert isinstance(detector.runtime, TorchRuntime)
    return Source(detector.runtime.network, detector.info, small.images())


def in_eight_bits(detector: Detector) -> Source:
    """Calibrated with the pictures that it is tried on."""
    source = source_of(detector)
    held = calibrated(source.network, source.info, read_dataset(small.DATA), "jetson-xavier-nx")
    return dataclasses.replace(source, eight_bits=held)


def magnitudes(
    model: onnx.ModelProto, detector: Detector, pictures: Sequence[NDArray[np.float32]] = ()
) -> dict[str, float]:
    """Largest magnitude of every tensor over pictures ``[3, h, w]``, or some of them."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    outputs = {item.name for item in opened.graph.output}
    more = [name for name in calibrated_tensors(opened)[1:] if name not in outputs]
    opened.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in more)
    found: dict[str, float] = {}
    for pixels in pictures or small.prepared(detector).numpy():
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
    model = in_eight_bits(detector).rounded_graph()
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
            assert source.op_type == "DequantizeLinear"
        if node.op_type in ("LeakyRelu", "Clip"):
            assert made[node.input[0]].op_type == "Conv"  # nothing between a convolution and its activation
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert not constants[node.input[2]].any()
            assert constants[node.input[2]].dtype == np.int8
    for item in model.graph.output:
        assert made[item.name].op_type == "Conv"  # raw heads leave as they are


def test_explicit_rounding_stays_near(detector: Detector) -> None:
    source = in_eight_bits(detector)
    master, model = source.graph(), source.rounded_graph()
    pixels = small.prepared(detector)[0].numpy()
    ours, theirs = small.run_graph(master, pixels), small.run_graph(model, pixels)
    for name in ours:
        noise = np.square(ours[name] - theirs[name]).sum()
        assert 20 < 10 * np.log10(np.square(ours[name]).sum() / noise) < 60


def test_calibration_reaches_the_cache_and_the_graph(usual: Detector) -> None:
    """Every tensor of both graphs has the range that training pictures show, and the rounded graph the same steps."""
    source = in_eight_bits(usual)
    contents = jetson_contents(source)
    steps = read_cache(contents.files[CACHE].decode())
    master = source.graph()
    for model in (master, contents.graphs["model_raw.onnx"]):
        assert {name for node in model.graph.node for name in node.output} | {"images"} <= set(steps)
    pixels = [usual.prepare(sample.read().image).numpy() for sample in read_dataset(small.DATA).train]
    for name, value in magnitudes(master, usual, pixels).items():
        assert steps[name] == pytest.approx(value / 127, rel=1e-6)
    constants = {item.name: numpy_helper.to_array(item) for item in contents.graphs[ROUNDED].graph.initializer}
    held = {name.removesuffix("_step"): value for name, value in constants.items() if name.endswith("_step")}
    assert {"images", "2_conv", "18_conv"} <= set(held)
    assert "2_conv_linear" not in held
    others = {name for name, value in held.items() if value != np.float32(steps[name])}
    assert all(re.search("maxpool|upsample|_of_", name) for name in others), "what moves numbers keeps their step"


def test_layers_that_stay_in_fp16_have_no_range(usual: Detector) -> None:
    source = in_eight_bits(usual)
    assert isinstance(source.eight_bits, EightBits)
    wide = dataclasses.replace(source.eight_bits, plan=source.eight_bits.plan.widened(2))
    contents = jetson_contents(dataclasses.replace(source, eight_bits=wide))
    steps = read_cache(contents.files[CACHE].decode())
    assert not {name for name in steps if whole_name(name).startswith("2_conv")}
    assert {"1_conv", "4_conv"} <= set(steps)
    assert "stay in FP16: 2_conv" in contents.readme
    constants = {item.name for item in contents.graphs[ROUNDED].graph.initializer}
    assert "1_conv_step" in constants
    assert not {"2_conv_step", "2_conv_weight_steps"} & constants


def test_a_repaired_network_has_graphs_of_its_own(usual: Detector) -> None:
    """Weights that were changed for 8 bits are not those of the variants in FP16."""
    source = in_eight_bits(usual)
    assert isinstance(source.eight_bits, EightBits)
    changed = copy.deepcopy(source.eight_bits.network)
    with torch.no_grad():
        changed.block(2)[0].weight *= 1.01
    held = dataclasses.replace(source.eight_bits, network=changed, repaired=True)
    contents = jetson_contents(dataclasses.replace(source, eight_bits=held))
    assert set(contents.graphs) == {
        "model_nms.onnx", "model_raw.onnx", "model_nms_int8.onnx", "model_raw_int8.onnx", ROUNDED
    }  # fmt: skip
    graphs = {variant.name: variant.graph for variant in contents.variants}
    assert graphs["fp16-nms"] == "model_nms.onnx"
    assert graphs["int8-nms"] == "model_nms_int8.onnx"
    assert {variant.golden for variant in contents.variants if variant.precision == "int8"} == {
        "detections_repaired", "raw_repaired"
    }  # fmt: skip
    assert b"model_nms_int8.onnx" in contents.files["deepstream/config_infer.txt"]
    prove_graphs("jetson-xavier-nx", source, contents)
    wrong = dataclasses.replace(contents.variants[0], repaired=changed)
    with pytest.raises(EdgehoneError, match="differed by"):
        prove_graphs("jetson-xavier-nx", source, dataclasses.replace(contents, variants=(wrong, *contents.variants)))
