"""A few epochs in which the network feels its rounding, and learns to say what it said without.

Results and weights are rounded on the way forward as the simulator rounds them; on the way back a rounded number passes
the gradient on as if it had not been rounded, and one that was cut off passes none (the straight-through estimator of
Y. Bengio et al., 2013). What is taught are the network's own answers in fp32: a few epochs of labels undo the end of a
long training, and what it learned is not in question. Batch norms stay folded and ranges stay as calibrated, so the
plan still holds afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from edgehone.batches import BatchSource
from edgehone.data import Sample
from edgehone.deploy.integer.bias_correction import corrected
from edgehone.deploy.integer.kernels import held_weights
from edgehone.deploy.integer.plan import Format, Plan, passes_on
from edgehone.deploy.integer.scheme import LEVELS
from edgehone.deploy.integer.simulator import hold
from edgehone.deploy.integer.tensors import PARTS, before_activation, tensor_name
from edgehone.models import Convolutional, Layer, Network
from edgehone.models.layers import both
from edgehone.models.network import activated
from edgehone.optimisation import Cosine, WarmUp
from edgehone.space import Settings
from edgehone.strategy import Strategy
from edgehone.training import picture_cache

CLIP_NORM = 10.0
BACKGROUND = 0.1
"""How much an anchor counts that is sure of nothing, where one that is sure counts one more."""


class FineTuning(Settings):
    """How long, and how carefully. Adam's steps do not depend on the scale that folding gave a layer's weights."""

    epochs: float = Field(default=3.0, gt=0)
    rate: float = Field(default=3e-5, gt=0)
    batch_size: int = Field(default=8, ge=1)
    seed: int = 0


class RoundedNetwork(Network):
    """A folded network that rounds as planned and can be trained."""

    def __init__(self, folded: Network, plan: Plan) -> None:
        super().__init__(folded.graph)
        self.load_state_dict(corrected(folded, plan).state_dict())
        self.plan = plan
        self.formats = plan.formats(folded.graph)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """See :class:`~edgehone.models.Network`."""
        return super().forward(self._rounded(pixels, self.formats[-1]))

    def run_layer(self, index: int, layer: Layer, sources: list[Tensor]) -> Tensor:
        """The layer, its result rounded."""
        if passes_on(layer):
            return super().run_layer(index, layer, sources)
        if not isinstance(layer, Convolutional):
            return self._rounded(super().run_layer(index, layer, sources), self.formats[index])
        real = self._sums(index, layer, sources[0])
        if index not in self.outputs:
            between = before_activation(self.graph, index)
            if not self.plan.scheme.fuses_activation and self.formats[index].precision == "int8":
                real = self._rounded(real, self.plan.eight_bits(between))
            real = activated(real.clone(), layer.activation)
        return self._rounded(real, self.formats[index])

    def _sums(self, index: int, layer: Convolutional, source: Tensor) -> Tensor:
        convolution = self.block(index)[0]
        weight, bias = convolution.weight, convolution.bias
        assert bias is not None
        if self.plan.weight_precision(index) in LEVELS:
            before = self.nodes[index].inputs[0]
            form = self.plan.read_format(tensor_name(self.graph, before), self.formats[before])
            if self.formats[before].step is None:
                source = self._rounded(source, form)
            held = held_weights(weight.detach(), bias.detach(), form, self.plan.scheme)
            weight = weight + (held - weight).detach()
        return F.conv2d(source, weight, bias, both(layer.stride), layer.border, layer.dilation, layer.groups)

    def _rounded(self, real: Tensor, form: Format) -> Tensor:
        """Rounded forward; backward as if only cut off."""
        held = hold(real.detach(), form, self.plan.scheme).real()
        if form.step is not None:
            top = LEVELS[form.precision]
            real = real.clamp(-(top + 1) * form.step, top * form.step)
        return real + (held - real).detach()


def fine_tune(
    folded: Network, strategy: Strategy, plan: Plan, samples: Sequence[Sample], settings: FineTuning
) -> Network:
    """A copy of a folded network, trained for a few epochs under a plan's rounding.

    Args:
        folded: the network, batch norms folded.
        strategy: how it learned: its pictures and their augmentation are those.
        plan: formats, kept.
        samples: the training split; labels are not read.
        settings: of the steps.
    """
    steps = max(1, round(settings.epochs * len(samples) / settings.batch_size))
    torch.manual_seed(settings.seed)
    network = RoundedNetwork(folded, plan)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.rate)
    source = BatchSource(strategy, picture_cache(samples, strategy), settings.seed, steps, settings.batch_size)
    warm_up, schedule = WarmUp(fraction=0.1, power=1.0), Cosine()
    with closing(source.stream()) as batches:
        for step in range(steps):
            progress = (step + 1) / steps
            optimizer.param_groups[0]["lr"] = settings.rate * warm_up.factor(progress) * schedule.factor(progress)
            pixels = next(batches).pixels
            with torch.no_grad():
                wanted = folded(pixels)
            loss = unlikeness(network(pixels), wanted, plan.fields)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
            optimizer.step()
    tuned = Network(folded.graph)
    tuned.load_state_dict(network.state_dict())
    return tuned.eval()


def unlikeness(said: Sequence[Tensor], wanted: Sequence[Tensor], fields: int) -> Tensor:
    """Noise over signal of heads, mean of their parts; anchors count as much as they are sure of an object.

    Args:
        said: heads ``[b, A * fields, h, w]``.
        wanted: likewise.
        fields: numbers of an anchor.
    """
    ratios: list[Tensor] = []
    for one, other in zip(said, wanted, strict=True):
        shape = (len(one), -1, fields, *one.shape[2:])
        got, true = one.reshape(shape), other.reshape(shape)
        weight = BACKGROUND + true[:, :, PARTS["objectness"]].sigmoid()
        for columns in PARTS.values():
            signal = true[:, :, columns]
            noise = weight * (got[:, :, columns] - signal).square()
            ratios.append(noise.sum() / (weight * signal.square()).sum().clamp(min=1e-12))
    return torch.stack(ratios).mean()
