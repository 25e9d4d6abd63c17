"""A head of mixed ranges is damaged by 8 bits, and the gate repairs it with the mildest means that suffices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgehone.deploy.integer.calibration import CALIBRATORS
from edgehone.deploy.integer.fine_tuning import RoundedNetwork
from edgehone.deploy.integer.gate import WORTH_DB, Measured, Subject, repair
from edgehone.deploy.integer.noise import least_db
from edgehone.deploy.integer.plan import make_plan
from edgehone.deploy.integer.scheme import JETSON, KL720, ONNX_RUNTIME, SCHEMES, Scheme
from edgehone.deploy.integer.simulator import Simulator
from edgehone.inference import Runtime, TorchRuntime
from edgehone.models import Convolutional, Graph, Head, Maxpool, Network, Route, fold

CLASSES = 3
FIELDS = 5 + CLASSES
SIZE = (32, 32)
LAYERS = (
    Convolutional(8, 3, stride=2),
    Convolutional(16, 3),
    Route((1,), groups=2, group=1),
    Convolutional(8, 3),
    Route((3, 1)),
    Maxpool(),
    Convolutional(16, 3),
    Convolutional(2 * FIELDS, 1, batch_normalize=False, activation="linear"),
    Head(),
)
JOINT = KL720.model_copy(update={"heads": "joint"})


def planted(spread: float = 40.0) -> Network:
    """Class logits ``spread`` times as large as those of boxes: as trained heads have it, only more so."""
    torch.manual_seed(3)
    network = fold(Network(Graph(LAYERS)))
    with torch.no_grad():
        head = network.head_convolution(7)
        nn.init.normal_(head.weight, std=0.5)
        head.weight.view(2, FIELDS, -1)[:, 5:] *= spread
    return network


def pictures(count: int = 8) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return list(torch.rand(count, 3, *SIZE, generator=generator))


def certain(ap: float) -> Measured:
    """The same on every draw of the pictures."""
    return Measured(ap, np.full(10, ap))


def box_agreement(network: Network) -> Callable[[Runtime], Measured]:
    """Stands for AP: the share of box numbers that stay within 0.05, which moves a side by five per cent."""
    pixels = torch.stack(pictures(4))
    with torch.inference_mode():
        wanted = network(pixels)[0].unflatten(1, (2, FIELDS))[:, :, :4]

    def measure(runtime: Runtime) -> Measured:
        got = runtime.heads(pixels)[0].unflatten(1, (2, FIELDS))[:, :, :4]
        return certain(float(((got - wanted).abs() < 0.05).float().mean()))

    return measure


def subject(scheme: Scheme, network: Network, measure: Callable[[Runtime], Measured] | None = None) -> Subject:
    return Subject(network, SIZE, FIELDS, scheme, pictures(), measure or box_agreement(network))


def test_a_mixed_head_is_damaged_and_16_bits_repair_it() -> None:
    network = planted()
    chosen, verdict = repair(subject(JOINT, network), max_drop=0.02)
    assert verdict.ap_real == 1.0
    assert verdict.attempts[0].drop > 0.4, "one step for boxes and classes must spoil the boxes"
    kinds = [a.repair for a in verdict.attempts]
    assert kinds[:4] == ["none", "bias_correction", *["calibration"] * 2], "the toolchain knows no entropy"
    assert verdict.passed
    assert verdict.chosen.repair == "mixed_precision"
    assert verdict.wide == ("stride4",), "outputs come first: they cost least"
    assert chosen.attempt == verdict.chosen == verdict.attempts[-1]


def test_outputs_of_their_own_repair_it_as_well() -> None:
    network = planted()
    measure = box_agreement(network)
    joint, parts = (measure(Simulator(network, subject(scheme, network).plain)).ap for scheme in (JOINT, KL720))
    assert parts > joint + 0.3


@pytest.mark.parametrize("scheme", [JETSON, ONNX_RUNTIME], ids=lambda s: s.board)
def test_a_board_uses_what_it_has(scheme: Scheme) -> None:
    network = planted()
    _, verdict = repair(subject(scheme, network), max_drop=0.02)
    assert verdict.attempts[0].drop < 0.4, "heads leave in fp32"
    _, whole = repair(subject(scheme.model_copy(update={"outputs": "int8"}), network), max_drop=0.02)
    assert whole.attempts[0].drop > 0.4
    assert whole.chosen.drop <= min(attempt.drop for attempt in whole.attempts)
    assert whole.chosen.repair == "mixed_precision"


@pytest.fixture
def all_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that passes is made any quieter."""
    monkeypatch.setattr("edgehone.deploy.integer.gate.QUIET_DB", -1000.0)


@pytest.mark.usefixtures("all_is_quiet")
def test_the_gate_stops_at_the_first_that_suffices() -> None:
    network = planted()
    _, verdict = repair(subject(JOINT, network), max_drop=0.999)
    assert [a.repair for a in verdict.attempts] == ["none"]
    assert not verdict.wide
    scores = iter([0.8, 0.5, 0.795])
    _, verdict = repair(subject(JOINT, network, lambda _: certain(next(scores))))
    assert [a.repair for a in verdict.attempts] == ["none", "bias_correction"]
    assert verdict.passed
    assert verdict.corrected
    assert verdict.calibrator == CALIBRATORS[0]


def test_what_passes_is_made_quieter_where_a_layer_stands_out() -> None:
    """AP on a few pictures is luck; noise is not."""
    network = planted()
    chosen, verdict = repair(subject(JOINT, network), max_drop=0.999)
    assert [a.repair for a in verdict.attempts] == ["none", "mixed_precision"]
    assert verdict.wide
    pixels = torch.stack(pictures(4))
    plain, wanted = subject(JOINT, network).plain, TorchRuntime(network).heads(pixels)
    assert least_db(network, chosen.plan, pixels, wanted) > least_db(network, plain, pixels, wanted) + WORTH_DB
    scores = iter([0.8, 0.8, 0.5])
    _, verdict = repair(subject(JOINT, network, lambda _: certain(next(scores))))
    assert verdict.passed
    assert verdict.chosen == verdict.attempts[0], "what made it worse is not taken"


@pytest.mark.usefixtures("all_is_quiet")
def test_what_lost_little_on_these_pictures_alone_does_not_pass() -> None:
    real, lucky = Measured(0.8, np.full(10, 0.8)), Measured(0.797, np.linspace(0.8, 0.78, 10))
    answers = iter([real, lucky, certain(0.796)])
    _, verdict = repair(subject(JOINT, planted(), lambda _: next(answers)), max_drop=0.005)
    first, second = verdict.attempts
    assert first.drop < 0.005 < first.drop_likely == pytest.approx(0.8 - 0.784, abs=3e-3)
    assert verdict.passed
    assert verdict.chosen == second


def test_when_nothing_suffices_the_best_is_chosen_and_said_not_to_pass() -> None:
    network = planted()
    worth = iter([0.9, 0.5, 0.3, 0.6, *[0.3] * 20])
    tuned: list[str] = []

    def tune(net: Network, _: object) -> Network:
        tuned.append("yes")
        return net

    base = subject(JOINT, network, lambda _: certain(next(worth)))
    chosen, verdict = repair(Subject(**{**vars(base), "fine_tune": tune}))
    assert tuned == ["yes"]
    order = ["none", "bias_correction", "calibration", "equalisation", "mixed_precision", "fine_tuning"]
    kinds = [a.repair for a in verdict.attempts]
    assert kinds == sorted(kinds, key=order.index)
    assert set(kinds) == set(order)
    assert not verdict.passed
    assert verdict.chosen.ap == 0.6
    assert chosen.calibrator == CALIBRATORS[1]


# --- training under rounding


@pytest.mark.parametrize("scheme", [*SCHEMES.values(), JOINT], ids=lambda s: f"{s.board}-{s.heads}")
def test_the_network_that_trains_says_what_the_simulator_says(scheme: Scheme) -> None:
    network = planted()
    plan = subject(scheme, network).plain
    pixels = torch.stack(pictures(2))
    with torch.inference_mode():
        ours, theirs = RoundedNetwork(network, plan)(pixels)[0], Simulator(network, plan).heads(pixels)[0]
    assert ((ours - theirs).abs() <= 1e-4 + 1e-4 * theirs.abs()).float().mean() > 0.97
    assert float((ours - theirs).abs().max()) <= 0.05 * plan.amax["stride4"], "a half-way case may fall otherwise"


def test_training_under_rounding_wins_back_what_rounding_lost() -> None:
    network = planted(spread=4.0)
    scheme = JOINT.model_copy(update={"steps": "power_of_two"})
    plan = make_plan(scheme, subject(scheme, network).seen, FIELDS, CALIBRATORS[0])
    pixels = torch.stack(pictures())
    with torch.inference_mode():
        wanted = network(pixels)[0]
    student = RoundedNetwork(network, plan)
    before = float((Simulator(network, plan).heads(pixels)[0] - wanted).square().mean())
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-4)
    for _ in range(60):
        optimizer.zero_grad()
        (student(pixels)[0] - wanted).square().mean().backward()
        optimizer.step()
    tuned = Network(network.graph)
    tuned.load_state_dict(student.state_dict())
    after = float((Simulator(tuned, plan).heads(pixels)[0] - wanted).square().mean())
    assert after < 0.8 * before


def test_a_number_that_is_cut_off_passes_no_gradient() -> None:
    network = planted()
    student = RoundedNetwork(network, subject(JOINT, network).plain)
    form = student.formats[0]
    assert form.step is not None
    edge = float(form.step) * 127
    real = torch.tensor([0.3 * edge, 2 * edge, -2 * edge], requires_grad=True)
    student._rounded(real, form).sum().backward()
    assert real.grad is not None
    assert real.grad.tolist() == [1.0, 0.0, 0.0]
