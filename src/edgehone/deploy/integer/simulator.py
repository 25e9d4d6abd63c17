"""A folded network in integer arithmetic.

Sums of products are exact: whole numbers travel in floating point, in 32 bits only where no partial sum can leave the
24 bits of their mantissa, else in 64. What follows a sum is calculated in float32, number by number, in the order that
:meth:`Simulator._sums` and :func:`hold` show, as the boards' and ONNX Runtime's kernels do: half-way cases are common
(a leaky slope of 0.1 makes one of every tenth negative number), so the order counts. Additions, products, divisions
and roundings of IEEE 754 make the answer a function of weights, plan and picture; the means of ``avgpool`` and the
exponentials of mish, swish and logistic are as exact as torch's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from edgehone.deploy.integer.bias_correction import corrected
from edgehone.deploy.integer.kernels import Kernel, make_kernel, rounded
from edgehone.deploy.integer.plan import Format, Plan, passes_on
from edgehone.deploy.integer.scheme import LEVELS, Scheme
from edgehone.deploy.integer.tensors import before_activation, tensor_name
from edgehone.models import Convolutional, Head, Layer, Network
from edgehone.models.layers import both
from edgehone.models.network import activated

MANTISSA = {torch.float32: 2**24, torch.float64: 2**53}

Watch = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class Held:
    """A tensor as a board holds it: float32 numbers, whole where its format has steps."""

    values: Tensor
    format: Format

    def real(self) -> Tensor:
        """What the numbers stand for."""
        return self.values if self.format.step is None else self.values * self.format.step


def hold(real: Tensor, form: Format, scheme: Scheme) -> Held:
    """Real float32 numbers, rounded to a format and cut off at its ends."""
    if form.precision == "fp16":
        limit = torch.finfo(torch.float16).max
        return Held(real.clamp(-limit, limit).half().float(), form)
    if form.step is None:
        return Held(real, form)
    top = LEVELS[form.precision]
    return Held(rounded(real / form.step, scheme).clamp(-top - 1, top), form)


def exact_convolution(values: Tensor, weights: Tensor, layer: Convolutional, largest: int) -> Tensor:
    """Sums of products of whole numbers.

    Args:
        values: ``[b, i, h, w]`` of magnitude at most ``largest``.
        weights: ``[o, i / groups, k, k]``.
        layer: stride, border, dilation and groups.
        largest: see above.

    Raises:
        OverflowError: a sum may leave the 53 bits of float64.
    """
    reach = float(weights.abs().double().sum((1, 2, 3)).max()) * largest
    fitting = [kind for kind, bits in MANTISSA.items() if reach <= bits]
    if not fitting:
        raise OverflowError(f"sums must stay within 2^53, they may reach {reach:.3g}")
    kind = fitting[0]
    return F.conv2d(
        values.to(kind),
        weights.to(kind),
        stride=both(layer.stride),
        padding=layer.border,
        dilation=layer.dilation,
        groups=layer.groups,
    )


class Simulator:
    """A network, as a board's arithmetic runs it; a runtime of :class:`edgehone.inference.Detector`."""

    def __init__(self, folded: Network, plan: Plan) -> None:
        self.network = corrected(folded, plan).eval()
        self.graph = folded.graph
        self.plan = plan
        self.formats = plan.formats(self.graph)
        self.kernels = {i: self._kernel(i) for i, la in enumerate(self.graph.layers) if isinstance(la, Convolutional)}

    def _input_format(self, index: int) -> Format:
        source = self.network.nodes[index].inputs[0]
        return self.plan.read_format(tensor_name(self.graph, source), self.formats[source])

    def _kernel(self, index: int) -> Kernel:
        precision = self.plan.weight_precision(index)
        source = self._input_format(index) if precision in LEVELS else Format("fp32")
        return make_kernel(self.network.block(index)[0], precision, source, self.plan.scheme)

    @property
    def reaches(self) -> dict[str, float]:
        """Convolution to the largest magnitude that its accumulator can have, for any picture."""
        return {self.graph.name(i): kernel.reach for i, kernel in self.kernels.items()}

    @torch.inference_mode()
    def heads(self, pixels: Tensor) -> list[Tensor]:
        """See :class:`edgehone.inference.Runtime`."""
        return self.run(pixels)

    def run(self, pixels: Tensor, watch: Watch | None = None) -> list[Tensor]:
        """Raw heads, real; ``watch`` is told the real result of every layer."""
        kept = {-1: hold(pixels.float(), self.formats[-1], self.plan.scheme)}
        heads: dict[int, Tensor] = {}
        for index, layer in enumerate(self.graph.layers):
            sources = [kept[i] for i in self.network.nodes[index].inputs]
            if isinstance(layer, Head):
                heads[index - 1] = sources[0].real()
            kept[index] = self._run(index, layer, sources)
            if watch is not None:
                watch(index, kept[index].real())
            for i in [i for i in kept if self.network.last_use.get(i, -2) <= index]:
                del kept[i]
        return [heads[i] for i in self.graph.outputs]

    def _run(self, index: int, layer: Layer, sources: list[Held]) -> Held:
        form, scheme = self.formats[index], self.plan.scheme
        if passes_on(layer):
            return Held(self.network.run_layer(index, layer, [sources[0].values]), form)
        if not isinstance(layer, Convolutional):
            return hold(self.network.run_layer(index, layer, [source.real() for source in sources]), form, scheme)
        real = self._sums(index, layer, sources[0])
        if index not in self.graph.outputs:
            between = before_activation(self.graph, index)
            if not scheme.fuses_activation and form.precision == "int8":
                real = hold(real, self.plan.eight_bits(between), scheme).real()
            real = activated(real, layer.activation)
        return hold(real, form, scheme)

    def _sums(self, index: int, layer: Convolutional, source: Held) -> Tensor:
        """What the activation reads, real."""
        kernel = self.kernels[index]
        if kernel.steps is None:
            return F.conv2d(
                source.real(),
                kernel.weights,
                kernel.bias,
                both(layer.stride),
                layer.border,
                layer.dilation,
                layer.groups,
            )
        if source.format.step is None:
            source = hold(source.real(), self._input_format(index), self.plan.scheme)
        assert source.format.step is not None
        largest = LEVELS[source.format.precision] + 1
        sums = exact_convolution(source.values, kernel.weights, layer, largest)
        steps, bias = kernel.steps[:, None, None], kernel.bias[:, None, None]
        if self.plan.scheme.bias == "int32":
            return (sums + bias).float() * steps
        return sums.float() * steps + bias
