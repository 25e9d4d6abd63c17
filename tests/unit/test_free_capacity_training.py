"""Training with more capacity than the graph has: it learns, goes on bit for bit, and leaves a plain detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgehone.batches import BatchSource
from edgehone.data import Dataset, read_dataset
from edgehone.inference import TorchRuntime, open_network, save_detector
from edgehone.models import architecture
from edgehone.models.training_forms import Branched
from edgehone.optimisation import RATE
from edgehone.search.ladder import TaskMaker
from edgehone.search.plan import Calibration, Plan, Rung
from edgehone.search.searcher import Suggestion
from edgehone.single import TrainRequest, train_one
from edgehone.space import SearchSpace, replace
from edgehone.strategy import AUTHORS, Strategy
from edgehone.training import (
    Job,
    Progress,
    StartWeights,
    Trained,
    detector_info,
    image_flops,
    picture_cache,
    train,
    training_flops,
)
from edgehone.training.state import State, rate_at

DATA = "builtin:digits?train=8&val=2&test=2&width=96&height=96&min_px=30&max_px=60&max_objects=3"
MODEL = "yolov4-tiny@width=0.5"
FAST = {"input.size": 128, "optimisation.optimizer.kind": "adamw", "augmentation.mosaic.probability": 0.3}
BRANCHED = {"capacity.convolutions.kind": "branched"}
AUXILIARY = {"capacity.auxiliary.kind": "heads"}
OPTIONS: dict[str, dict[str, Any]] = {
    "branched": {**BRANCHED, "optimisation.average.kind": "none"},
    "implicit": {"capacity.implicit": True},
    "auxiliary": AUXILIARY,
    "tail": {"optimisation.average.kind": "tail", "optimisation.average.start": 0.5},
    "all": {
        **BRANCHED,
        **AUXILIARY,
        "capacity.implicit": True,
        "capacity.auxiliary.reads": "all",
        "optimisation.average.kind": "tail",
        "projection.distillation.kind": "average",
        "projection.distillation.start": 0.0,
        "augmentation.multi_scale.spread": 0.3,
    },
}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset(DATA)


def job(steps: int = 4, weights: Path | None = None, **changes: Any) -> Job:
    start = None if weights is None else StartWeights.of(str(weights))
    strategy = replace(AUTHORS, {**FAST, **changes})
    return Job(model=MODEL, strategy=strategy, steps=steps, batch_size=2, weights=start)


def run(dataset: Dataset, work: Job, **options: Any) -> Trained:
    return train(work, dataset.class_names, dataset.train, **options)


class Stop(Exception):
    """Raised by a watcher in the place of a person."""


@pytest.mark.parametrize("option", OPTIONS)
def test_an_interrupted_run_ends_the_same_in_a_plain_detector(
    option: str, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgehone.training.CHECKPOINT_SECONDS", 0.0)
    work = job(**OPTIONS[option])
    whole = run(dataset, work)
    state = tmp_path / "state.pt"

    def interrupt(progress: Progress) -> None:
        if progress.step == 2:
            raise Stop

    with pytest.raises(Stop):
        run(dataset, work, checkpoint=state, watch=interrupt)
    resumed = run(dataset, work, checkpoint=state)
    repeated = run(dataset, work, checkpoint=state)  # stopped after the last step, and before the end
    assert repeated.curve == resumed.curve == whole.curve
    assert all(("auxiliary" in point) == (work.strategy.capacity.auxiliary.kind == "heads") for point in whole.curve)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
        assert torch.equal(value, repeated.network.state_dict()[name]), name
    save_detector(whole.network, whole.info, tmp_path / "detector.pt")
    network, info = open_network(tmp_path / "detector.pt")
    assert set(network.state_dict()) == set(info.network().state_dict())
    pixels = torch.rand(2, 3, 128, 128)
    for a, b in zip(TorchRuntime(whole.network).heads(pixels), TorchRuntime(network).heads(pixels), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def plain_losses(dataset: Dataset, work: Job) -> list[Tensor]:
    """Three steps written out: a network, an optimizer, an average and nothing else."""
    torch.manual_seed(work.seed)
    info = detector_info(work.model, work.strategy, dataset.class_names, dataset.train)
    network: Any = info.network().to(memory_format=torch.channels_last)  # pyright: ignore
    optimisation, projection = work.strategy.optimisation, work.strategy.projection
    optimizer = optimisation.optimizer.build(network)
    source = BatchSource(work.strategy, picture_cache(dataset.train, work.strategy), work.seed, work.steps, 2)
    losses: list[Tensor] = []
    for step, batch in zip(range(work.steps), source.stream(), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(work, step) * group[RATE]
        terms = projection.loss(network.train()(batch.pixels), batch.targets, info.lattice(), info.class_counts)
        optimizer.zero_grad()
        terms.total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), optimisation.clip_norm)
        optimizer.step()
        losses.append(terms.total.detach())
    return losses


def test_off_is_the_plain_training_bit_for_bit(dataset: Dataset) -> None:
    work = job(3, **{"projection.objectness.prior": 0.0})
    seen: list[float] = []
    run(dataset, work, watch=lambda progress: seen.append(progress.loss["total"]))
    assert seen == [float(loss) for loss in plain_losses(dataset, work)]


def test_each_option_changes_the_training(dataset: Dataset) -> None:
    base = run(dataset, job(2))
    for name in ("branched", "implicit", "auxiliary"):
        other = run(dataset, job(2, **OPTIONS[name]))
        assert other.curve[-1]["total"] != base.curve[-1]["total"], name
        assert other.plan != base.plan, name


def test_it_trains_in_half_precision(dataset: Dataset) -> None:
    trained = run(dataset, job(3, **OPTIONS["all"]).model_copy(update={"precision": "bf16"}))
    assert all(torch.isfinite(value).all() for value in trained.network.state_dict().values())
    assert all(value.dtype in (torch.float32, torch.int64) for value in trained.network.state_dict().values())


def test_auxiliary_heads_weigh_what_they_should(dataset: Dataset) -> None:
    """At the first step they say as little as the heads: what differs is the weight."""
    first: dict[float, dict[str, float]] = {}
    for weight in (0.1, 0.4):
        first[weight] = run(dataset, job(1, **{**AUXILIARY, "capacity.auxiliary.weight": weight})).curve[0]
    assert first[0.4]["auxiliary"] == pytest.approx(4 * first[0.1]["auxiliary"], rel=1e-3)
    for weight, point in first.items():
        own = point["box"] + point["objectness"] + point["classification"]
        assert point["total"] == pytest.approx(own + point["auxiliary"], rel=1e-3)
        assert point["auxiliary"] / weight == pytest.approx(own, rel=0.2)


@pytest.fixture(scope="module")
def learnt(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    trained = run(dataset, job(2, **BRANCHED, **{"capacity.implicit": True}))
    path = tmp_path_factory.mktemp("learnt") / "detector.pt"
    save_detector(trained.network, trained.info, path)
    return path


def test_what_starts_from_weights_begins_as_it_was(dataset: Dataset, learnt: Path) -> None:
    work = job(2, learnt, **OPTIONS["all"])
    info = detector_info(MODEL, work.strategy, dataset.class_names, dataset.train)
    state = State.fresh(work, info)
    assert len(state.plan.branched) == 14
    pixels = torch.rand(1, 3, 128, 128)
    source, _ = open_network(learnt)
    with torch.no_grad():
        for network in (state.network.eval(), state.result(work)):
            for a, b in zip(source(pixels), network.eval()(pixels), strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=1e-4)
    blocks = [m for m in state.network.modules() if isinstance(m, Branched)]
    assert all(float(block.point_norm.weight.detach().abs().max()) == 0 for block in blocks)


def test_frozen_layers_stay_as_they_were(dataset: Dataset, learnt: Path) -> None:
    work = job(2, learnt, **{**OPTIONS["all"], "optimisation.warm_start.frozen": 0.5})
    trained = run(dataset, work)
    before, after = open_network(learnt)[0].state_dict(), trained.network.state_dict()
    changed = {key for key in after if not torch.equal(before[key], after[key])}
    changed = {int(key.split(".")[1]) for key in changed if not key.endswith("num_batches_tracked")}
    frozen = {int(key.split(".")[1]) for key in after} - changed
    assert len(frozen) == 10, "half of 21 convolutions, rounded to even"
    assert all(reason == "it is frozen" for _, reason in trained.plan.left)
    assert {index for index, _ in trained.plan.left} <= frozen
    assert not frozen & set(trained.plan.branched)


def test_a_folder_says_what_was_applied(tmp_path: Path) -> None:
    train_one(TrainRequest(data=DATA, job=job(1, **OPTIONS["all"])), tmp_path / "a", lambda progress: None)
    told = json.loads((tmp_path / "a" / "capacity.json").read_text())
    assert told["implicit"] == ["29_conv", "36_conv"]
    assert told["auxiliary"] == {"29_conv": "27_conv", "36_conv": "34_route"}
    assert len(told["branched"]) == 14
    assert 1.05 < told["flops_ratio"] < 1.15
    train_one(TrainRequest(data=DATA, job=job(1)), tmp_path / "b", lambda progress: None)
    assert not (tmp_path / "b" / "capacity.json").exists()
    nodes = [(tmp_path / name / "model.onnx").stat().st_size for name in "ab"]
    assert abs(nodes[0] - nodes[1]) < 2000, "only the strategy in the metadata differs in length"


def test_the_tail_is_averaged_with_statistics_of_its_own(dataset: Dataset) -> None:
    trained = run(dataset, job(**OPTIONS["tail"]))
    last = run(dataset, job(**{"optimisation.average.kind": "none"}))
    theirs, ours = last.network.state_dict(), trained.network.state_dict()
    assert not torch.equal(theirs["convolutions.0.0.weight"], ours["convolutions.0.0.weight"])
    # The first layer's statistics by hand, from the pictures of all four steps.
    work = job(**OPTIONS["tail"])
    source = BatchSource(work.strategy, picture_cache(dataset.train, work.strategy), work.seed, work.steps, 2)
    means: list[Tensor] = []
    for _, batch in zip(range(work.steps), source.stream(), strict=False):
        with torch.no_grad():
            means.append(trained.network.block(0)[0](batch.pixels).mean((0, 2, 3)))
    torch.testing.assert_close(ours["convolutions.0.1.running_mean"], torch.stack(means).mean(0), rtol=1e-4, atol=1e-5)
    assert int(ours["convolutions.0.1.num_batches_tracked"]) == work.steps


def test_compute_is_counted_where_trials_are_compared() -> None:
    calibration = Calibration(
        precision="fp32", seconds_per_gflop=0.01, seconds_per_gflop_by_precision={}, workers=1, cpu="test"
    )
    rung = Rung(name="short", share=0.5, trials=2)
    plan = Plan(
        budget_s=60, proof="off", calibration=calibration, full_gflops=9000, rungs=(rung,), finalists=1, reserve_s=1
    )

    def cost(strategy: Strategy) -> float:
        return training_flops(MODEL, 3, strategy) / 1e9

    make = TaskMaker(plan, MODEL, cost, 0)
    tasks = [make.task("a", "final", 1.0, Suggestion(s.strategy, "")) for s in (job(), job(**OPTIONS["all"]))]
    pictures = [task.job.steps * task.job.batch_size for task in tasks]
    assert pictures[1] < pictures[0]
    assert tasks[1].gflops == pytest.approx(tasks[0].gflops, rel=0.05)
    graph = architecture(MODEL).graph(3)
    graph = architecture(MODEL).graph(3)
    plain, branched = image_flops(MODEL, 3, 128) / 1e9, replace(job().strategy, BRANCHED)
    assert cost(job().strategy) == plain
    form = branched.capacity.plan(graph)
    assert cost(branched) == pytest.approx(plain * form.time_ratio(graph))
    assert form.time_ratio(graph) > form.flops_ratio(graph) > 1.0, "norms and sums take time, too"
    assert 2 * sum(c.macs for c in graph.layer_costs((128, 128))) == image_flops(MODEL, 3, 128)


def test_a_search_draws_it_now_and_then() -> None:
    space = SearchSpace(Strategy(), trust=0.7)
    drawn = [space.sample(np.random.default_rng(seed)) for seed in range(60)]
    capacities = [s.capacity for s in drawn if isinstance(s, Strategy)]
    share = sum(c.convolutions.kind == "branched" for c in capacities) / len(capacities)
    assert 0.03 < share < 0.35
    assert {c.auxiliary.kind for c in capacities} == {"off", "heads"}
    assert {c.implicit for c in capacities} == {False, True}
    graph = architecture(MODEL).graph(3)
    assert all(c.plan(graph).left == () for c in capacities)
