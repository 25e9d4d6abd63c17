"""Whatever a layer is while it learns, the plain layer that it is folded into computes the same."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgehone.models import Convolutional, Graph, Head, Layer, Network, Upsample, fold, plain, widen
from edgehone.models.free_capacity import BranchedConvolutions, FreeCapacity, backbone_end
from edgehone.models.training_forms import Branched, ImplicitConvolution

EVERYTHING = FreeCapacity(convolutions=BranchedConvolutions(), implicit=True)


def stir(network: nn.Module) -> None:
    """Norms, vectors and heads as after a training, and not as they begin."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
            module.running_mean = torch.randn_like(module.running_mean)
            module.running_var = 0.2 + torch.rand_like(module.running_var)
        elif isinstance(module, ImplicitConvolution):
            nn.init.normal_(module.added)
            nn.init.normal_(module.multiplied)


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    """A 3x3 convolution of any kind that can have branches."""
    groups = draw(st.sampled_from([1, 2, 4]))
    return Convolutional(
        filters=groups * draw(st.sampled_from([1, 2, 4])),
        size=3,
        stride=draw(st.sampled_from([1, 1, 2, (1, 2)])),
        groups=groups,
        dilation=draw(st.sampled_from([1, 2])),
        activation=draw(st.sampled_from(["linear", "leaky", "mish"])),
    )


@given(layers(), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_branches_fold_exactly(layer: Convolutional, seed: int) -> None:
    torch.manual_seed(seed)
    network = Network(Graph((layer,), channels=4))
    plan = EVERYTHING.plan(network.graph)
    assert plan.branched == (0,)
    widen(network, plan)
    network.double().eval()
    stir(network)
    branched = next(m for m in network.modules() if isinstance(m, Branched))
    assert (branched.same_norm is not None) == (layer.filters == 4 and layer.stride == 1)
    pixels = torch.randn(2, 4, 7, 8, dtype=torch.float64)
    with torch.no_grad():
        wanted = network.convolutions["0"](pixels)
        got = plain(network).convolutions["0"](pixels)
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


@given(st.sampled_from([1, 3, 5]), st.booleans(), st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_vectors_around_a_head_fold_exactly(groups: int, logistic: bool, seed: int) -> None:
    torch.manual_seed(seed)
    activation = "logistic" if logistic else "linear"
    end = Convolutional(15, 1, batch_normalize=False, activation=activation, groups=groups)
    network = Network(Graph((Convolutional(15, 3), end, Head(new_coords=logistic))))
    plan = FreeCapacity(implicit=True).plan(network.graph)
    assert (plan.implicit, plan.branched, plan.left) == ((1,), (), ())
    widen(network, plan)
    network.double().eval()
    stir(network)
    pixels = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    with torch.no_grad():
        wanted, got = network(pixels)[0], plain(network)(pixels)[0]
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


def branched(channels: int = 6) -> tuple[Network, Tensor]:
    """A layer with branches whose norms have seen exactly the pictures that come with it."""
    torch.manual_seed(0)
    network = Network(Graph((Convolutional(channels, 3),), channels=channels))
    widen(network, EVERYTHING.plan(network.graph))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    pixels = 3 * torch.rand(8, channels, 20, 20)
    with torch.no_grad():
        network.train().convolutions["0"](pixels)
    return network.eval(), pixels


def test_the_folded_norm_fits_its_layer_so_that_it_can_learn_on() -> None:
    network, pixels = branched()
    folded = plain(network)
    with torch.no_grad():
        answer = folded.convolutions["0"](pixels)
        learning = folded.train().convolutions["0"](pixels)
    assert float((learning - answer).abs().max()) < 0.01 * float(answer.std())  # variances of n and of n - 1


def test_a_plain_network_is_itself_and_a_folded_one_a_copy() -> None:
    network, pixels = branched()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    folded = plain(network)
    assert plain(folded) is folded
    assert not any(isinstance(module, Branched) for module in folded.modules())
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    folded_twice = fold(plain(network))
    with torch.no_grad():
        wanted, got = (one.convolutions["0"](pixels) for one in (network, folded_twice))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_what_is_quiet_begins_as_the_plain_layer() -> None:
    torch.manual_seed(0)
    network = Network(Graph((Convolutional(3, 3), Convolutional(6, 1, batch_normalize=False), Head())))
    pixels = torch.rand(2, 3, 8, 8)
    stir(network.eval())
    with torch.no_grad():
        wanted = network(pixels)[0]
        widen(network, EVERYTHING.plan(network.graph), carried=(0, 1))
        got = network.eval()(pixels)[0]
        again = plain(network)(pixels)[0]
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)
    torch.testing.assert_close(again, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Convolutional(4, 3, batch_normalize=False), "no batch norm"),
        (Convolutional(4, 3, padding=0), "not centred: padding 0"),
        (Convolutional(4, 3, padding=2), "not centred: padding 2"),
    ],
)
def test_a_convolution_that_would_not_fold_stays_plain(layer: Convolutional, reason: str) -> None:
    graph = Graph((layer, Convolutional(4, 1), Convolutional(4, 5)))
    plan = EVERYTHING.plan(graph)
    assert (plan.branched, [index for index, _ in plan.left]) == ((), [0])
    assert reason in plan.left[0][1]
    network = Network(graph)
    keys = set(network.state_dict())
    assert widen(network, plan) is None
    assert set(network.state_dict()) == keys


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (Convolutional(6, 1, activation="linear"), "a batch norm"),
        (Convolutional(6, 3, batch_normalize=False, activation="linear"), "size 3, padding 1"),
        (Convolutional(6, 1, batch_normalize=False, activation="linear", padding=1, stride=1), "size 1, padding 1"),
    ],
)
def test_a_head_that_would_not_fold_stays_plain(end: Convolutional, reason: str) -> None:
    layers: tuple[Layer, ...] = (Convolutional(4, 1), end, Head())
    if end.size == 1 and end.padding:
        layers = (Convolutional(4, 3, padding=0), end, Head())
    plan = EVERYTHING.plan(Graph(layers))
    assert plan.implicit == ()
    assert reason in dict(plan.left)[1]


def test_frozen_layers_stay_plain() -> None:
    graph = Graph((Convolutional(4, 3), Convolutional(4, 3)))
    plan = EVERYTHING.plan(graph, frozen=(0,))
    assert (plan.branched, plan.left) == ((1,), ((0, "it is frozen"),))


def test_flops_are_counted_by_hand() -> None:
    end = Convolutional(6, 1, batch_normalize=False, activation="linear")
    graph = Graph((Convolutional(8, 3, stride=2), Convolutional(8, 3), Convolutional(4, 1), end, Head()))
    plan = FreeCapacity.model_validate({"convolutions": {"kind": "branched"}, "auxiliary": {"kind": "heads"}}).plan(
        graph
    )
    assert (plan.branched, plan.taps) == ((0, 1), (1,))
    macs_a_cell = 3 * 8 * 9 + 8 * 8 * 9 + 8 * 4 + 4 * 6
    more = 3 * 8 + 8 * 8 + 8 * 6
    assert plan.flops_ratio(graph) == pytest.approx(1 + more / macs_a_cell)
    assert FreeCapacity().plan(graph).flops_ratio(graph) == 1.0


def test_an_auxiliary_head_reads_an_earlier_map_or_else_the_same() -> None:
    end = Convolutional(6, 1, batch_normalize=False, activation="linear")
    aux = FreeCapacity.model_validate({"auxiliary": {"kind": "heads", "reads": "all"}})
    lone = Graph((Convolutional(4, 3, stride=2), end, Head()))
    assert aux.plan(lone).taps == (0,)
    first = Graph((end, Head()))
    assert aux.plan(first).taps == (-1,)
    pixels = torch.rand(1, 3, 4, 4)
    for graph in (lone, first):
        network = Network(graph)
        heads = widen(network, aux.plan(graph))
        assert heads is not None
        own, maps = network.heads_and_maps(pixels, heads.taps)
        assert [h.shape for h in heads(maps)] == [h.shape for h in own]


def test_the_backbone_ends_before_the_first_head_or_upsampling() -> None:
    end = (Convolutional(6, 1, batch_normalize=False, activation="linear"), Head())
    assert backbone_end(Graph((Convolutional(4, 3, stride=2), Convolutional(4, 3), *end))) == 2
    assert backbone_end(Graph((Convolutional(4, 3, stride=2), Upsample(), *end))) == 1
    assert backbone_end(Graph((Convolutional(4, 3, stride=2),))) == 1
