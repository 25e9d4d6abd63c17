"""The layers of a detector, in Darknet's terms: what each reads, and the shape of what it gives.

Layers are plain values. How they run is in :mod:`edgehone.models.network`, how Darknet writes them down in
:mod:`edgehone.models.darknet`. Shapes are ``(channels, height, width)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, int, int]
Pair = tuple[int, int]

Activation = Literal["linear", "leaky", "relu", "relu6", "mish", "swish", "logistic"]
"""Darknet's src/activations.c; leaky has a slope of 0.1, logistic is the sigmoid."""

Stride = int | Pair
"""Of both axes, or ``(down, right)`` where they differ."""


def both(stride: Stride) -> Pair:
    """``(down, right)``."""
    return stride if isinstance(stride, tuple) else (stride, stride)


@dataclass(frozen=True)
class Convolutional:
    """A convolution of ``filters`` kernels of side ``size``; ``padding`` None is half of it (Darknet's ``pad=1``)."""

    filters: int
    size: int
    stride: Stride = 1
    batch_normalize: bool = True
    activation: Activation = "leaky"
    groups: int = 1
    dilation: int = 1
    padding: int | None = None

    @property
    def border(self) -> int:
        """Zeros on each side of the map; Darknet spreads them as it spreads the kernel (src/convolutional_layer.c)."""
        return (self.size // 2 if self.padding is None else self.padding) * self.dilation

    @property
    def reach(self) -> int:
        """Side of the spread kernel."""
        return (self.size - 1) * self.dilation + 1

    def reads(self, index: int) -> tuple[int, ...]:
        """The layer before."""
        return (index - 1,)

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        """Of the result.

        Raises:
            ValueError: impossible settings, or a map smaller than the kernel.
        """
        channels, height, width = inputs[0]
        if self.filters < 1 or self.size < 1:
            raise ValueError(f"a convolution has filters and a size, it is {self}")
        if min(both(self.stride)) < 1 or self.dilation < 1 or self.border < 0:
            raise ValueError(f"a stride is at least 1, likewise a dilation, and padding is not negative; it is {self}")
        if self.groups < 1 or channels % self.groups or self.filters % self.groups:
            raise ValueError(f"{self.groups} groups divide neither {channels} channels nor {self.filters} filters")
        if self.dilation > 1 and 2 * self.border != self.reach - 1:
            raise ValueError("Darknet dilates only kernels of odd size that are padded by half of it")
        down, right = both(self.stride)
        return (
            self.filters,
            _steps(height + 2 * self.border - self.reach, down),
            _steps(width + 2 * self.border - self.reach, right),
        )


@dataclass(frozen=True)
class Route:
    """Channels of earlier layers, concatenated in the order given; of each only part ``group`` of ``groups``."""

    layers: tuple[int, ...]
    groups: int = 1
    group: int = 0

    def reads(self, index: int) -> tuple[int, ...]:
        """The layers that it names."""
        del index
        return self.layers

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        """Of the result.

        Raises:
            ValueError: maps of different sizes, or channels that the groups do not divide.
        """
        if len({shape[1:] for shape in inputs}) != 1:
            raise ValueError(f"a route joins maps of one size, not {[shape[1:] for shape in inputs]}")
        if not 0 <= self.group < self.groups or any(shape[0] % self.groups for shape in inputs):
            raise ValueError(f"it cannot take part {self.group} of {self.groups} of {[s[0] for s in inputs]} channels")
        return (sum(shape[0] for shape in inputs) // self.groups, *inputs[0][1:])


@dataclass(frozen=True)
class Maxpool:
    """The largest value of each window; of the ``padding`` (None: ``size - 1``) half, rounded down, is above and left.

    The rest is below and right, as far as the windows reach (src/maxpool_layer.c).
    """

    size: int = 2
    stride: Stride = 2
    padding: int | None = None

    @property
    def whole_padding(self) -> int:
        """Of both sides together."""
        return self.size - 1 if self.padding is None else self.padding

    def reads(self, index: int) -> tuple[int, ...]:
        """The layer before."""
        return (index - 1,)

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        """Of the result.

        Raises:
            ValueError: impossible settings.
        """
        channels, height, width = inputs[0]
        if self.size < 1 or min(both(self.stride)) < 1:
            raise ValueError(f"a maxpool has a size, and a stride is at least 1; it is {self}")
        if not 0 <= self.whole_padding <= 2 * (self.size - 1):
            raise ValueError(f"a window must hold more than padding: need 0 to {2 * (self.size - 1)}; it is {self}")
        down, right = both(self.stride)
        spare = self.whole_padding - self.size
        return channels, _steps(height + spare, down), _steps(width + spare, right)

    def borders(self, shape: Shape) -> tuple[int, int, int, int]:
        """Padding ``(left, right, above, below)`` of an input of this shape, as much as its windows use."""
        before = self.whole_padding // 2
        after: list[int] = []
        for side, out, step in zip(shape[1:], self.shape([shape])[1:], both(self.stride), strict=True):
            after.append(max(0, (out - 1) * step + self.size - before - side))
        return before, after[1], before, after[0]


@dataclass(frozen=True)
class Avgpool:
    """The mean of each channel over the whole map: one cell."""

    def reads(self, index: int) -> tuple[int, ...]:
        """The layer before."""
        return (index - 1,)

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        """``(channels, 1, 1)``."""
        return inputs[0][0], 1, 1


@dataclass(frozen=True)
class Upsample:
    """Nearest-neighbour enlargement, times ``scale``."""

    stride: int = 2
    scale: float = 1.0

    def reads(self, index: int) -> tuple[int, ...]:
        """The layer before."""
        return (index - 1,)

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        """Of the result.

        Raises:
            ValueError: impossible settings.
        """
        if self.stride < 1:
            raise ValueError(f"a stride is at least 1; it is {self}")
        channels, height, width = inputs[0]
        return channels, height * self.stride, width * self.stride


@dataclass(frozen=True)
class Shortcut:
    """The layer before plus earlier ``layers``, each weighed by learnt numbers where ``weights`` says so.

    Of a layer with more channels the first are added, one with fewer is added to the first channels.
    ``weights``: one number for each map (``per_feature``) or for each channel; ``normalisation`` makes those of a
    channel non-negative and sum to about one (src/blas.c, shortcut_multilayer_cpu).
    """

    layers: tuple[int, ...]
    activation: Activation = "linear"
    weights: Literal["none", "per_feature", "per_channel"] = "none"
    normalisation: Literal["none", "relu", "softmax"] = "none"

    def reads(self, index: int) -> tuple[int, ...]:
        """The layer before, then the layers that it names."""
        return (index - 1, *self.layers)

    def weight_shape(self, channels: int) -> Pair | None:
        """``(maps, 1 or channels)`` of the learnt numbers, None without any."""
        if self.weights == "none":
            return None
        return len(self.layers) + 1, channels if self.weights == "per_channel" else 1

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        """That of the layer before.

        Raises:
            ValueError: maps of different sizes, or different channels with weights for each.
        """
        if not self.layers:
            raise ValueError("a shortcut names a layer to add")
        if len({shape[1:] for shape in inputs}) != 1:
            raise ValueError(f"a shortcut adds maps of one size, not {[shape[1:] for shape in inputs]}")
        if self.weights != "none" and len({shape[0] for shape in inputs}) != 1:
            raise ValueError(f"a weighed shortcut adds maps of one width, not {[shape[0] for shape in inputs]}")
        return inputs[0]


@dataclass(frozen=True)
class ScaleChannels:
    """An earlier ``layer``, multiplied by the layer before: one number a channel, or with ``scale_wh`` one a cell."""

    layer: int
    scale_wh: bool = False
    activation: Activation = "linear"

    def reads(self, index: int) -> tuple[int, ...]:
        """The layer before, then the scaled one."""
        return (index - 1, self.layer)

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        """That of the scaled layer.

        Raises:
            ValueError: scales of another shape.
        """
        scales, scaled = inputs
        wanted = (1, *scaled[1:]) if self.scale_wh else (scaled[0], 1, 1)
        if scales != wanted:
            raise ValueError(f"the scales of a map of shape {scaled} have shape {wanted}, not {scales}")
        return scaled


@dataclass(frozen=True)
class Sam:
    """The layer before times an earlier ``layer`` of the same shape: YOLOv4's spatial attention."""

    layer: int
    activation: Activation = "linear"

    def reads(self, index: int) -> tuple[int, ...]:
        """The layer before, then the other factor."""
        return (index - 1, self.layer)

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        """That of both.

        Raises:
            ValueError: they differ.
        """
        if inputs[0] != inputs[1]:
            raise ValueError(f"both factors have one shape, not {inputs[0]} and {inputs[1]}")
        return inputs[0]


@dataclass(frozen=True)
class Reorg:
    """Cells of ``stride`` x ``stride`` become channels, in Darknet's own order (src/blas.c, reorg_cpu)."""

    stride: int = 2

    def reads(self, index: int) -> tuple[int, ...]:
        """The layer before."""
        return (index - 1,)

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        """Of the result.

        Raises:
            ValueError: a stride that does not divide the map, or its square the channels.
        """
        channels, height, width = inputs[0]
        if self.stride < 1:
            raise ValueError(f"a stride is at least 1; it is {self}")
        if height % self.stride or width % self.stride or channels % self.stride**2:
            raise ValueError(f"{self.stride=} must divide the map, and its square the channels, of {inputs[0]}")
        return channels * self.stride**2, height // self.stride, width // self.stride


@dataclass(frozen=True)
class Dropout:
    """In training, cells set to zero with this probability and the others scaled up; otherwise nothing."""

    probability: float = 0.5

    def reads(self, index: int) -> tuple[int, ...]:
        """The layer before."""
        return (index - 1,)

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        """Unchanged.

        Raises:
            ValueError: no probability.
        """
        if not 0 <= self.probability < 1:
            raise ValueError(f"a dropout's probability is 0 to less than 1, not {self.probability}")
        return inputs[0]


@dataclass(frozen=True)
class Head:
    """The place of a ``[yolo]`` layer: the layer before it is an output of the graph, as logits.

    What Darknet keeps there is kept here, with Darknet's defaults (src/parser.c, parse_yolo): how to read the
    logits, and how Darknet trains and suppresses.

    Attributes:
        anchors_px: the full list, (width, height) at the network input.
        mask: which of them this head owns; empty where something else decides that.
        classes: 0 where something else decides that.
        scale_x_y: how far centres reach beyond their cell.
        new_coords: sides as the squared sigmoid; the convolution before then has activation ``logistic``.
    """

    anchors_px: tuple[tuple[float, float], ...] = ()
    mask: tuple[int, ...] = ()
    classes: int = 0
    scale_x_y: float = 1.0
    new_coords: bool = False
    iou_loss: Literal["mse", "iou", "giou", "diou", "ciou"] = "mse"
    iou_thresh: float = 1.0
    ignore_thresh: float = 0.5
    truth_thresh: float = 1.0
    iou_normalizer: float = 0.75
    obj_normalizer: float = 1.0
    cls_normalizer: float = 1.0
    delta_normalizer: float = 1.0
    max_delta: float | None = None
    label_smooth_eps: float = 0.0
    objectness_smooth: bool = False
    focal_loss: bool = False
    nms_kind: Literal["default", "greedynms", "diounms"] = "default"
    beta_nms: float = 0.6
    jitter: float = 0.2
    resize: float = 1.0
    random: float = 0.0
    max_boxes: int = 200

    def reads(self, index: int) -> tuple[int, ...]:
        """The layer before."""
        return (index - 1,)

    def shape(self, inputs: Sequence[Shape]) -> Shape:
        """That of the logits.

        Raises:
            ValueError: anchors that are not there, or another number of logits than anchors and classes need.
        """
        if any(not 0 <= k < len(self.anchors_px) for k in self.mask):
            raise ValueError(f"mask {self.mask} names anchors 0 to {len(self.anchors_px) - 1} only")
        wanted = len(self.mask) * (5 + self.classes)
        if self.mask and inputs[0][0] != wanted:
            raise ValueError(
                f"{len(self.mask)} anchors of 5 + {self.classes} logits need filters={wanted} in the convolution "
                f"before, it has {inputs[0][0]}"
            )
        return inputs[0]


Layer = Convolutional | Route | Maxpool | Avgpool | Upsample | Shortcut | ScaleChannels | Sam | Reorg | Dropout | Head

KINDS: dict[type, str] = {
    Convolutional: "conv",
    Route: "route",
    Maxpool: "maxpool",
    Avgpool: "avgpool",
    Upsample: "upsample",
    Shortcut: "shortcut",
    ScaleChannels: "scale_channels",
    Sam: "sam",
    Reorg: "reorg",
    Dropout: "dropout",
    Head: "head",
}


def _steps(length: int, stride: int) -> int:
    if length < 0:
        raise ValueError("its window is larger than the map that it reads")
    return length // stride + 1
