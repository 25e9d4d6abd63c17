"""Schedules, warm-up, averages and parameter groups against their closed forms."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from edgehone.optimisation import (
    AdamW,
    Average,
    Cosine,
    Ema,
    NoAverage,
    Optimisation,
    Optimizer,
    Schedule,
    Sgd,
    Steps,
    TailAverage,
    WarmUp,
    WeightAverage,
)
from edgehone.optimisation.optimizers import parameter_groups
from edgehone.space import union_types


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def test_schedules_and_warm_up() -> None:
    cosine = Cosine(final=0.1)
    assert [cosine.factor(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.55, 0.1])
    steps = Steps(first=0.8, second=0.9)
    assert [steps.factor(p) for p in (0.0, 0.79, 0.8, 0.9, 1.0)] == pytest.approx([1, 1, 0.1, 0.01, 0.01])
    assert [WarmUp(fraction=0.1, power=4).factor(p) for p in (0.0, 0.05, 0.1, 0.5)] == pytest.approx([0, 1 / 16, 1, 1])


@pytest.mark.parametrize("member", union_types(Schedule))
def test_a_schedule_starts_full_and_never_rises(member: type) -> None:
    factors = [member().factor(k / 50) for k in range(51)]
    assert factors[0] == 1.0
    assert all(0 < b <= a for a, b in pairwise(factors))


def test_the_rate_is_warm_up_times_schedule() -> None:
    plan = Optimisation(schedule=Steps(first=0.5, second=0.9), warm_up=WarmUp(fraction=0.1, power=2.0))
    assert [plan.rate(p) for p in (0.05, 0.1, 0.6, 0.95)] == pytest.approx([0.25, 1.0, 0.1, 0.01])


def test_the_average_follows_in_closed_form() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(0.0)
    average = WeightAverage(layer, decay=0.5)
    expected = 0.0
    for step in range(1, 20):
        layer.weight.data.fill_(float(step))
        average.update(layer)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert float(average.network.state_dict()["weight"]) == pytest.approx(expected, rel=1e-5)


def test_the_average_keeps_statistics_and_a_life_of_its_own() -> None:
    source = network().train()
    average = WeightAverage(source, decay=0.9)
    before = source[0].weight.detach().clone()
    source(torch.rand(2, 3, 8, 8))
    source[0].weight.data.add_(1.0)
    assert torch.equal(average.network.state_dict()["0.weight"], before), "a copy, not a view"
    average.update(source)
    share = 1 - 2 / 11
    kept = average.network.state_dict()
    assert torch.allclose(kept["0.weight"], before + share, atol=1e-6)
    assert torch.allclose(kept["1.running_mean"], share * source.state_dict()["1.running_mean"], atol=1e-6)
    assert int(kept["1.num_batches_tracked"]) == 1
    assert not average.network.training
    assert not any(p.requires_grad for p in average.network.parameters())


def test_the_tail_is_a_plain_mean() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(5.0)
    average = TailAverage(start=0.6).build(layer, 10)
    before = Ema().build(layer, 10)
    for step in range(1, 11):
        layer.weight.data.fill_(float(step))
        average.update(layer)
        before.update(layer)
        value = float(average.network.state_dict()["weight"])
        if step <= 6:
            assert value == float(before.network.state_dict()["weight"]), "before the tail there is one to be asked"
        else:
            assert value == pytest.approx(sum(range(7, step + 1)) / (step - 6), rel=1e-6)


def test_a_tail_has_at_least_the_last_step() -> None:
    layer = nn.Linear(1, 1, bias=False)
    average = TailAverage(start=0.9).build(layer, 1)
    layer.weight.data.fill_(3.0)
    average.update(layer)
    assert float(average.network.state_dict()["weight"]) == 3.0


def test_statistics_counted_anew_are_those_of_the_average() -> None:
    source = network().train()
    average = TailAverage().build(source, 4)
    batches = [torch.rand(2, 3, 8, 8) + k for k in range(3)]
    average.recount(source, iter(batches))
    kept = average.network
    maps = [kept[0](batch) for batch in batches]
    mean = torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0)
    variance = torch.stack([m.var((0, 2, 3)) for m in maps]).mean(0)
    assert torch.allclose(kept[1].running_mean, mean, atol=1e-6)
    assert torch.allclose(kept[1].running_var, variance, atol=1e-6)
    assert (kept[1].momentum, kept[1].training) == (0.1, False)
    assert int(source[1].num_batches_tracked) == 0, "the network that learns is left alone"


def test_frozen_statistics_are_not_counted_anew() -> None:
    source = network().train()
    source[1].eval()
    average = TailAverage().build(source, 4)
    average.recount(source, [torch.rand(2, 3, 8, 8)])
    assert torch.equal(average.network[1].running_mean, torch.zeros(4))


@pytest.mark.parametrize("member", union_types(Average))
def test_every_average_but_none_follows_and_only_the_tail_recounts(member: type) -> None:
    settings = member()
    built = settings.build(network(), 10)
    assert (built is None) == (settings.kind == "none")
    assert settings.recounts == (settings.kind == "tail")


def test_the_horizon_is_a_share_of_the_run() -> None:
    assert NoAverage().build(network(), 10) is None
    assert Ema(horizon=0.1).build(network(), 100).decay == pytest.approx(0.9)
    assert Ema(horizon=0.01).build(network(), 3).decay == pytest.approx(0.5), "a tiny run still averages something"


def test_decay_spares_norms_and_biases() -> None:
    source = network()
    source[2].weight.requires_grad_(False)
    decayed, spared = parameter_groups(source, 0.01)
    assert [id(p) for p in decayed["params"]] == [id(source[0].weight)]  # pyright: ignore[reportGeneralTypeIssues]
    wanted = {id(source[1].weight), id(source[1].bias), id(source[2].bias)}
    assert {id(p) for p in spared["params"]} == wanted  # pyright: ignore[reportGeneralTypeIssues]
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.01, 0.0)


@pytest.mark.parametrize("member", union_types(Optimizer))
def test_every_optimizer_moves_every_parameter_once(member: type) -> None:
    source = network()
    settings = member(weight_decay=0.01)
    built = settings.build(source)
    held = [id(p) for group in built.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in source.parameters())
    assert [g["lr"] for g in built.param_groups] == [settings.lr] * 2
    assert [g["weight_decay"] for g in built.param_groups] == [0.01, 0.0]


def test_settings_reach_torch() -> None:
    sgd = Sgd(momentum=0.85, nesterov=False).build(network()).param_groups[0]
    assert (sgd["momentum"], sgd["nesterov"]) == (0.85, False)
    assert AdamW(beta1=0.87).build(network()).param_groups[0]["betas"] == (0.87, 0.999)


def test_one_step_of_momentum_by_hand() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    optimizer = Sgd(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.5).build(layer)
    value, velocity = 1.0, 0.0
    for _ in range(3):
        optimizer.zero_grad()
        (3 * layer.weight).sum().backward()
        optimizer.step()
        slope = 3 + 0.5 * value
        velocity = 0.9 * velocity + slope
        value -= 0.1 * (slope + 0.9 * velocity)
    assert float(layer.weight.detach()) == pytest.approx(value, rel=1e-5)
