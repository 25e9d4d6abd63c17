"""The simulator against a plain slow integer reference, and against ONNX Runtime's integer kernels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgehone.deploy.integer.noise import signal_to_noise_db
from edgehone.deploy.integer.openvino import OpenVinoRuntime
from edgehone.deploy.integer.plan import Plan, make_plan
from edgehone.deploy.integer.qdq import rounded_model
from edgehone.deploy.integer.scheme import ACCUMULATOR, JETSON, KL720, ONNX_RUNTIME, SCHEMES, Scheme
from edgehone.deploy.integer.simulator import Simulator, exact_convolution
from edgehone.deploy.integer.tensors import collect, open_session, tensor_names
from edgehone.models import (
    Convolutional,
    Graph,
    Head,
    Layer,
    Maxpool,
    Network,
    Route,
    Shortcut,
    Upsample,
    YoloV4Tiny,
    architecture,
    fold,
)

CLASSES = 2
FIELDS = 5 + CLASSES


def mixed(activation: str) -> tuple[Layer, ...]:
    """Every layer of the family, and a sum."""
    return (
        Convolutional(8, 3, stride=2, activation=activation),
        Convolutional(8, 3, activation=activation),
        Route((1,), groups=2, group=1),
        Convolutional(4, 1, activation=activation),
        Route((3, 1)),
        Maxpool(),
        Convolutional(6, 3, activation=activation),
        Convolutional(6, 3, activation=activation, groups=2),
        Shortcut((6,)),
        Upsample(),
        Route((9, 4)),
        Convolutional(FIELDS, 1, batch_normalize=False, activation="linear"),
        Head(),
    )


def random_network(seed: int, activation: str = "leaky") -> Network:
    return randomised(Graph(mixed(activation)), seed)


def randomised(graph: Graph, seed: int) -> Network:
    torch.manual_seed(seed)
    network = Network(graph)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias)
            module.running_mean = 0.3 * torch.randn(module.num_features)
            module.running_var = 0.5 + torch.rand(module.num_features)
    for index in network.outputs:
        nn.init.normal_(network.head_convolution(index).weight)
    return fold(network)


def planned(network: Network, scheme: Scheme, size: tuple[int, int] = (16, 16)) -> tuple[Plan, torch.Tensor]:
    pixels = torch.rand(4, 3, *size)
    return make_plan(scheme, collect(network, size, pixels, FIELDS), FIELDS), pixels


# --- a plain slow reference: python's whole numbers and doubles, one output number at a time


def slow_round(value: float, scheme: Scheme) -> int:
    return round(value) if scheme.rounding == "half_even" else int(math.copysign(math.floor(abs(value) + 0.5), value))


def slow_cut(value: int) -> int:
    return max(-128, min(127, value))


def slow_activation(value: np.float32, activation: str) -> np.float32:
    rules = {
        "linear": lambda x: x,
        "leaky": lambda x: x if x > 0 else np.float32(0.1) * x,
        "relu": lambda x: max(x, np.float32(0)),
        "relu6": lambda x: min(max(x, np.float32(0)), np.float32(6)),
    }
    return rules[activation](value)


def slow_convolution(
    values: np.ndarray, step: np.float32, layer: Convolutional, convolution: nn.Conv2d, scheme: Scheme
) -> np.ndarray:
    """Real sums ``[o, h, w]`` of one whole map, number by number."""
    weights, bias = convolution.weight.detach().numpy(), convolution.bias.detach().numpy()
    padded = np.pad(values, ((0, 0), (layer.border,) * 2, (layer.border,) * 2))
    stride = layer.stride if isinstance(layer.stride, int) else layer.stride[0]
    rows, columns = ((n - layer.size) // stride + 1 for n in padded.shape[1:])
    out = np.zeros((layer.filters, rows, columns), np.float32)
    width = weights.shape[1]
    for o in range(layer.filters):
        weight_step = np.float32(scheme.step(float(np.abs(weights[o]).max())))
        whole = [[[slow_cut(slow_round(float(w / weight_step), scheme)) for w in r] for r in m] for m in weights[o]]
        first = o // (layer.filters // layer.groups) * width
        for y in range(rows):
            for x in range(columns):
                total = 0
                for i in range(width):
                    for ky in range(layer.size):
                        for kx in range(layer.size):
                            total += whole[i][ky][kx] * int(padded[first + i, y * stride + ky, x * stride + kx])
                product = step * weight_step
                if scheme.bias == "int32":
                    total += slow_round(float(bias[o]) / float(product), scheme)
                    assert abs(total) <= ACCUMULATOR
                    out[o, y, x] = np.float32(total) * product
                else:
                    out[o, y, x] = np.float32(total) * product + bias[o]
    return out


def slow_hold(real: np.ndarray, step: np.float32, scheme: Scheme) -> np.ndarray:
    return np.array([slow_cut(slow_round(float(v / step), scheme)) for v in real.ravel()], np.float32).reshape(
        real.shape
    )


def slow_heads(network: Network, plan: Plan, picture: np.ndarray) -> np.ndarray:
    """The head of :func:`mixed`, layer by layer."""
    scheme, names = plan.scheme, tensor_names(network.graph)
    step = {-1: np.float32(scheme.step(plan.amax["images"]))}
    held = {-1: slow_hold(picture, step[-1], scheme)}
    for index, layer in enumerate(network.graph.layers):
        reads = layer.reads(index)
        step[index] = np.float32(scheme.step(plan.amax[names[index]]))
        if isinstance(layer, Convolutional):
            source = reads[0]
            real = slow_convolution(held[source], step[source], layer, network.block(index)[0], scheme)
            if not scheme.fuses_activation and layer.activation != "linear":
                between = np.float32(scheme.step(plan.amax[f"{names[index]}_linear"]))
                real = slow_hold(real, between, scheme) * between
            active = np.array([slow_activation(v, layer.activation) for v in real.ravel()]).reshape(real.shape)
            if isinstance(network.graph.layers[index + 1], Head):
                return _slow_head(active, plan, names[index])
            held[index] = slow_hold(active, step[index], scheme)
        elif isinstance(layer, Route) and len(reads) == 1:
            half = len(held[reads[0]]) // layer.groups
            held[index], step[index] = held[reads[0]][half * layer.group : half * (layer.group + 1)], step[reads[0]]
        elif isinstance(layer, Route):
            parts = [slow_hold(held[i] * step[i], step[index], scheme) for i in reads]
            held[index] = np.concatenate(parts)
        elif isinstance(layer, Maxpool):
            source = held[reads[0]]
            c, h, w = source.shape
            held[index], step[index] = source.reshape(c, h // 2, 2, w // 2, 2).max((2, 4)), step[reads[0]]
        elif isinstance(layer, Upsample):
            held[index], step[index] = held[reads[0]].repeat(2, 1).repeat(2, 2), step[reads[0]]
        elif isinstance(layer, Shortcut):
            held[index] = slow_hold(sum(held[i] * step[i] for i in reads), step[index], scheme)
    raise AssertionError("no head")


def _slow_head(real: np.ndarray, plan: Plan, name: str) -> np.ndarray:
    scheme = plan.scheme
    if scheme.outputs == "fp32":
        return real
    out = np.zeros_like(real)
    for channel in range(len(real)):
        part = "box" if channel % FIELDS < 4 else "objectness" if channel % FIELDS == 4 else "class"
        step = np.float32(scheme.step(plan.amax[name if scheme.heads == "joint" else f"{name}_{part}"]))
        out[channel] = slow_hold(real[channel], step, scheme) * step
    return out


WHOLE = ONNX_RUNTIME.model_copy(update={"outputs": "int8"})
"""Every kernel of ONNX Runtime in whole numbers, heads included."""

VARIANTS = [*SCHEMES.values(), WHOLE, KL720.model_copy(update={"steps": "power_of_two", "heads": "joint"})]


@pytest.mark.parametrize("scheme", VARIANTS, ids=lambda s: f"{s.board}-{s.steps}-{s.outputs}")
@given(st.integers(0, 2**31), st.sampled_from(["leaky", "relu", "relu6"]))
@settings(max_examples=4, deadline=None)
def test_the_simulator_is_the_slow_reference_bit_by_bit(scheme: Scheme, seed: int, activation: str) -> None:
    network = random_network(seed, activation)
    plan, pixels = planned(network, scheme, (8, 8))
    got = Simulator(network, plan).heads(pixels[:1])[0][0].numpy()
    assert np.array_equal(got, slow_heads(network, plan, pixels[0].numpy()))


@given(st.integers(0, 2**31), st.integers(1, 64), st.sampled_from([1, 3]), st.booleans())
@settings(max_examples=25, deadline=None)
def test_sums_are_exact_whatever_their_size(seed: int, channels: int, size: int, extreme: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-128, 128, (2, channels, 6, 6), generator=generator)
    weights = torch.randint(-128, 128, (3, channels, size, size), generator=generator)
    if extreme:  # the largest sums there are: 32 bits of floating point cannot hold them
        values, weights = torch.full_like(values, -128), torch.full_like(weights, -128)
        weights[0, 0, 0, 0] = 127
    got = exact_convolution(values.float(), weights.float(), Convolutional(3, size), 128)
    columns = nn.functional.unfold(values.double(), size, padding=size // 2).long()
    wanted = torch.einsum("ok,bkn->bon", weights.flatten(1), columns).reshape(got.shape)
    assert torch.equal(got.long(), wanted)


def test_no_plan_of_real_numbers_changes_the_network() -> None:
    network = random_network(0)
    plan, pixels = planned(network, JETSON)
    free = Plan(JETSON, plan.amax, plan.peaks, FIELDS, usual="fp32")
    for ours, theirs in zip(Simulator(network, free).heads(pixels), network(pixels), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda s: s.board)
def test_accumulators_of_the_family_never_overflow(scheme: Scheme) -> None:
    """Bound: 128 * 127 a product, at most 9 * 512 products, and a bias of 30 bits: 1.15e9 < 2^31."""
    torch.manual_seed(0)
    network = fold(Network(YoloV4Tiny().graph(80)))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.fill_(1.0)  # every whole weight 127
                assert module.bias is not None
                module.bias.fill_(1e9)
    plan = Plan(scheme, dict.fromkeys(_all_names(network), 1.0), dict.fromkeys(_all_names(network), 1.0), 85)
    reaches = Simulator(network, plan).reaches
    assert len(reaches) == 21
    assert max(reaches.values()) <= 2**30 + 9 * 512 * 128 * 127 + 1 < ACCUMULATOR


def _all_names(network: Network) -> list[str]:
    names = list(tensor_names(network.graph).values())
    return [*names, *(f"{n}_{part}" for n in names for part in ("linear", "box", "objectness", "class"))]


# --- against kernels that we did not write


def assert_within_steps(network: Network, plan: Plan, pixels: torch.Tensor) -> None:
    """One step on 95 % and two on all values of every head, picture by picture."""
    session = open_session(rounded_model(network, (pixels.shape[2], pixels.shape[3]), {}, plan))
    names = [item.name for item in session.get_outputs()]
    for picture in pixels:
        theirs = session.run(names, {"images": picture[None].numpy()})
        heads = Simulator(network, plan).heads(picture[None])
        assert len(heads) == len(names)
        for name, ours, other in zip(names, heads, theirs, strict=True):
            apart = np.abs(np.round((ours.numpy() - other) / plan.scheme.step(plan.amax[name])))
            assert (apart <= 1).mean() >= 0.95
            assert apart.max() <= 2
            assert len(np.unique(ours)) > 20, "answers that say nothing would prove nothing"


@pytest.mark.parametrize("activation", ["leaky", "relu", "relu6", "linear"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_onnx_runtime_agrees_within_a_step(seed: int, activation: str) -> None:
    network = random_network(seed, activation)
    assert_within_steps(network, *planned(network, WHOLE, (32, 48)))


DETECTORS = (
    "yolov4-tiny",
    "yolov4-tiny@activation=relu6",
    "yolov4-tiny-3l@width=0.5",
    "yolov4-tiny-3l@width=0.5,activation=relu6",
)


@pytest.mark.parametrize("name", DETECTORS)
def test_onnx_runtime_agrees_within_a_step_on_the_whole_detector(name: str, tmp_path: Path) -> None:
    """All layers of YOLOv4-tiny in a row, every convolution of them in a whole-number kernel."""
    network = randomised(architecture(name).graph(CLASSES), 0)
    plan, pixels = planned(network, WHOLE, (96, 64))
    assert_within_steps(network, plan, pixels[:2])
    kinds = optimised_kinds(network, plan, (96, 64), tmp_path)
    assert kinds.count("QLinearConv") == sum(isinstance(layer, Convolutional) for layer in network.graph.layers)
    assert not {"Conv", "FusedConv"} & set(kinds)


@pytest.mark.parametrize("name", DETECTORS)
def test_openvino_agrees_where_numbers_are_unsigned(name: str) -> None:
    """Of signed ones OpenVINO 2026.4 makes noisier ones; about 128 they are the same numbers. Picture by picture."""
    pytest.importorskip("openvino")
    network = randomised(architecture(name).graph(CLASSES), 0)
    plan, pixels = planned(network, WHOLE, (96, 64))
    model = rounded_model(network, (96, 64), {}, plan, unsigned=True)
    kinds = {item.data_type for item in model.graph.initializer if item.name.endswith("_zero")}
    assert kinds == {onnx.TensorProto.UINT8}
    pixels = (255 * pixels[:3]).round() / 255
    theirs = OpenVinoRuntime(model).heads(pixels)
    for ours, got in zip(Simulator(network, plan).heads(pixels), theirs, strict=True):
        for one, other in zip(ours, got, strict=True):
            assert signal_to_noise_db(one, other) > 18


def optimised_kinds(network: Network, plan: Plan, size: tuple[int, int], folder: Path) -> list[str]:
    """Kernels that ONNX Runtime chooses for a plan's graph."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    model = rounded_model(network, size, {}, plan)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]


def test_onnx_runtime_really_calculates_in_whole_numbers(tmp_path: Path) -> None:
    network = random_network(0)
    plan, _ = planned(network, WHOLE)
    kinds = optimised_kinds(network, plan, (16, 16), tmp_path)
    assert kinds.count("QLinearConv") == 6
    assert "Conv" not in kinds
    assert "FusedConv" not in kinds


@pytest.mark.parametrize("wide", [(11,), (3,), (0, 11), (6, 7)])
def test_onnx_runtime_agrees_where_some_layers_stay_real(wide: tuple[int, ...]) -> None:
    network = random_network(5)
    plan, pixels = planned(network, WHOLE, (32, 32))
    narrow = Simulator(network, plan).heads(pixels)[0]
    for index in wide:
        plan = plan.widened(index)
    theirs = open_session(rounded_model(network, (32, 32), {}, plan)).run(None, {"images": pixels[:1].numpy()})[0]
    ours = Simulator(network, plan).heads(pixels)[0]
    step = plan.scheme.step(plan.amax["stride2"])
    apart = np.abs(ours[:1].numpy() - theirs) / step
    assert (apart <= 1.01).mean() >= 0.95
    assert apart.max() <= 2.01
    assert not torch.equal(narrow, ours)
