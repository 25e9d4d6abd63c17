"""From a Darknet cfg to a :class:`Graph`.

Keys and defaults are those of AlexeyAB/darknet src/parser.c. A cfg is untrusted: every number is bounded, and the
network as a whole is, before anything is allocated for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from edgehone.errors import EdgehoneError, UsageError
from edgehone.models.darknet.known_keys import NET_KEYS, REFUSED, TRAINING_KEYS, YOLO_KEYS
from edgehone.models.darknet.sections import MAX_BYTES, Section, read_sections, shown
from edgehone.models.graph import FLOAT_BYTES, Graph, LayerError
from edgehone.models.layers import (
    Activation,
    Avgpool,
    Convolutional,
    Dropout,
    Head,
    Layer,
    Maxpool,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Stride,
    Upsample,
)
from edgehone.types import Size

MAX_SIDE = 4096
MAX_FILTERS = 1 << 16
MAX_KERNEL = 31
MAX_STRIDE = 64
MAX_CLASSES = 10_000
MAX_WEIGHTS = 1 << 27
"""Numbers in a network: twice YOLOv4's."""
MAX_MAP = 1 << 26
"""Numbers in one map at the cfg's input size: 256 MiB."""
MAX_MAPS = 1 << 28
"""Numbers in all of them together; YOLOv4 at 608 px has 2/3 of that."""
MAX_WORKSPACE = 1 << 27
"""Numbers that a convolution reads, each as often as it is read for one filter: what a slow implementation unrolls."""
MAX_MACS = 1 << 38
"""Multiplications for one picture: four times YOLOv4's."""
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
PLAIN_ACTIVATIONS = tuple(a for a in ACTIVATIONS if a not in ("mish", "swish"))
"""Darknet's scale_channels and sam have no others."""


@dataclass(frozen=True)
class Cfg:
    """What a Darknet cfg file says.

    Attributes:
        graph: the layers.
        input_size: ``(height, width)`` that it asks for.
        letterbox: whether pictures keep their aspect (``letter_box=1``).
        training: keys of ``[net]`` that only concern Darknet's own training, as they stand there.
    """

    graph: Graph
    input_size: Size
    letterbox: bool = False
    training: tuple[tuple[str, str], ...] = ()


def read_cfg(path: Path) -> Cfg:
    """A cfg file.

    Raises:
        UsageError: there is no such file.
        EdgehoneError: see :func:`parse_cfg`.
    """
    if not path.is_file():
        raise UsageError(f"there is no Darknet cfg at {path}")
    return parse_cfg(cfg_text(path), path.name)


def cfg_text(path: Path) -> str:
    """The text of a cfg file, with any bytes in its comments.

    Raises:
        EdgehoneError: a file that is too large to be one.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise EdgehoneError(f"a Darknet cfg has at most {MAX_BYTES} bytes, {path} has more")
    return content.decode("utf-8", errors="replace")


def parse_cfg(text: str, name: str = "cfg") -> Cfg:
    """The detector that a cfg's text describes.

    Args:
        text: of the file.
        name: of the file, for errors.

    Raises:
        EdgehoneError: naming the line, for unknown layers and keys, values out of bounds, layers that do not fit
            together, and a network too large to be a detector.
    """
    sections = read_sections(text, name)
    if not sections or sections[0].kind not in ("net", "network"):
        raise EdgehoneError(f"{name}: a cfg begins with [net], this one with {shown(text.strip()[:20])}")
    net, *rest = sections
    if not rest:
        raise net.error("a cfg has layers, this one has none")
    size = (_side(net, "height"), _side(net, "width"))
    channels = net.whole("channels", 3, 1, 64)
    letterbox = net.flag("letter_box")
    training = tuple((key, value.text) for key in NET_KEYS if (value := net.take(key)) is not None)
    net.finish()
    layers = [_layer(section, index) for index, section in enumerate(rest)]
    return Cfg(_bounded(layers, channels, size, sections), size, letterbox, training)


def _side(net: Section, key: str) -> int:
    if key not in net.values:
        raise net.error("width and height say how large the network's input is; one is missing")
    return net.whole(key, 0, 1, MAX_SIDE)


def _layer(section: Section, index: int) -> Layer:
    kind = SHORT.get(section.kind, section.kind)
    reader = READERS.get(kind)
    if reader is None:
        raise section.error(f"unknown layer; the known ones are {', '.join(READERS)}")
    for key, harmless in REFUSED.get(kind, {}).items():
        value = section.take(key)
        if value is not None and value.text != harmless:
            raise section.error(f"{key}={shown(value.text)} is not supported, only {key}={harmless}", value.line)
    for key in TRAINING_KEYS:
        section.take(key)
    layer = reader(section, index)
    section.finish()
    return layer


def _bounded(layers: list[Layer], channels: int, size: Size, sections: list[Section]) -> Graph:
    """The graph of the layers, if it is possible and no larger than a detector."""
    try:
        graph = Graph(tuple(layers), channels)
        for index, node in enumerate(graph.nodes()):
            if sum(graph.weights(index, node)) > MAX_WEIGHTS:
                raise LayerError(index, f"a layer has at most {MAX_WEIGHTS} weights")
        costs = graph.layer_costs(size)
    except LayerError as error:
        raise sections[error.index + 1].error(str(error)) from None
    except ValueError as error:
        raise sections[0].error(str(error)) from None
    for section, layer, cost in zip(sections[1:], layers, costs, strict=True):
        if cost.activation_bytes > MAX_MAP * FLOAT_BYTES:
            raise section.error(f"a map has at most {MAX_MAP} numbers, this one {cost.output_shape}")
        if isinstance(layer, Convolutional) and cost.macs // layer.filters > MAX_WORKSPACE:
            raise section.error(f"one filter reads at most {MAX_WORKSPACE} numbers, here {cost.macs // layer.filters}")
    _refuse_above(sections[0], "parameters", sum(cost.parameters for cost in costs), MAX_WEIGHTS)
    _refuse_above(sections[0], "numbers in all maps", sum(c.activation_bytes for c in costs) // FLOAT_BYTES, MAX_MAPS)
    _refuse_above(sections[0], "multiplications", sum(cost.macs for cost in costs), MAX_MACS)
    return graph


def _refuse_above(net: Section, what: str, count: int, limit: int) -> None:
    if count > limit:
        raise net.error(f"a detector has at most {limit} {what}, this one {count}")


def _convolutional(s: Section, index: int) -> Convolutional:
    del index
    size = s.whole("size", 1, 1, MAX_KERNEL)
    dilation = s.whole("dilation", 1, 1, 64)
    padded = s.whole("pad", 0, 0, 1)
    padding = s.whole("padding", 0, 0, MAX_KERNEL)
    return Convolutional(
        filters=s.whole("filters", 1, 1, MAX_FILTERS),
        size=size,
        stride=_stride(s, 1),
        batch_normalize=s.flag("batch_normalize"),
        activation=_activation(s, "logistic"),
        groups=s.whole("groups", 1, 1, MAX_FILTERS),
        dilation=1 if size == 1 else dilation,
        padding=None if padded else padding,
    )


def _stride(s: Section, default: int) -> Stride:
    stride = s.whole("stride", default, 1, MAX_STRIDE)
    down = s.whole("stride_y", stride, 1, MAX_STRIDE)
    right = s.whole("stride_x", stride, 1, MAX_STRIDE)
    return down if down == right else (down, right)


def _activation(s: Section, default: Activation, allowed: tuple[str, ...] = ACTIVATIONS) -> Activation:
    return cast(Activation, s.word("activation", default, allowed))


def _references(s: Section, key: str, index: int) -> tuple[int, ...]:
    """Layers by number, those below zero counted back from this one."""
    line = s.line if key not in s.values else s.values[key].line
    given = s.wholes(key, -index, index - 1)
    if not given:
        raise s.error(f"{key} names the layers that it reads; it is missing")
    if len(given) > 64:
        raise s.error(f"{key} names at most 64 layers, got {len(given)}", line)
    return tuple(i if i >= 0 else index + i for i in given)


def _route(s: Section, index: int) -> Route:
    layers = _references(s, "layers", index)
    groups = s.whole("groups", 1, 1, MAX_FILTERS)
    return Route(layers, groups, s.whole("group_id", 0, 0, groups - 1))


def _maxpool(s: Section, index: int) -> Maxpool:
    del index
    stride = _stride(s, 1)
    # Darknet's default for the size is what `stride` says.
    size = s.whole("size", stride if isinstance(stride, int) else max(stride), 1, MAX_KERNEL)
    padding = s.whole("padding", size - 1, 0, 2 * (size - 1))
    return Maxpool(size, stride, None if padding == size - 1 else padding)


def _avgpool(s: Section, index: int) -> Avgpool:
    del s, index
    return Avgpool()


def _upsample(s: Section, index: int) -> Upsample:
    del index
    return Upsample(s.whole("stride", 2, 1, MAX_STRIDE), s.number("scale", 1.0, -1e4, 1e4))


def _shortcut(s: Section, index: int) -> Shortcut:
    layers = _references(s, "from", index)
    weights = s.word("weights_type", "none", ("none", "per_feature", "per_layer", "per_channel"))
    normalisation = s.word("weights_normalization", "none", ("none", "relu", "avg_relu", "softmax"))
    activation = _activation(s, "linear")
    if weights == "none":
        return Shortcut(layers, activation)
    return Shortcut(
        layers,
        activation,
        "per_channel" if weights == "per_channel" else "per_feature",
        cast(Any, "relu" if normalisation == "avg_relu" else normalisation),
    )


def _one(s: Section, index: int) -> int:
    layers = _references(s, "from", index)
    if len(layers) != 1:
        raise s.error(f"from names one layer, got {len(layers)}")
    return layers[0]


def _scale_channels(s: Section, index: int) -> ScaleChannels:
    return ScaleChannels(_one(s, index), s.flag("scale_wh"), _activation(s, "linear", PLAIN_ACTIVATIONS))


def _sam(s: Section, index: int) -> Sam:
    return Sam(_one(s, index), _activation(s, "linear", PLAIN_ACTIVATIONS))


def _reorg(s: Section, index: int) -> Reorg:
    del index
    return Reorg(s.whole("stride", 1, 1, MAX_STRIDE))


def _dropout(s: Section, index: int) -> Dropout:
    del index
    return Dropout(s.number("probability", 0.2, 0.0, 0.99))


def _yolo(s: Section, index: int) -> Head:
    del index
    total = s.whole("num", 1, 1, 256)
    anchors = s.numbers("anchors", 1e-3, 1e5)
    if len(anchors) != 2 * total:
        raise s.error(f"num={total} anchors are {2 * total} numbers, got {len(anchors)}")
    values: dict[str, Any] = {
        "anchors_px": tuple(zip(anchors[::2], anchors[1::2], strict=True)),
        "mask": s.wholes("mask", 0, total - 1) or tuple(range(total)),
        "classes": s.whole("classes", 20, 1, MAX_CLASSES),
        "new_coords": s.flag("new_coords"),
        "objectness_smooth": s.flag("objectness_smooth"),
        "focal_loss": s.flag("focal_loss"),
        "iou_loss": s.word("iou_loss", "mse", ("mse", "iou", "giou", "diou", "ciou")),
        "nms_kind": s.word("nms_kind", "default", ("default", "greedynms", "diounms")),
        "max_boxes": s.whole("max", 200, 1, 100_000),
        "max_delta": s.number("max_delta", 0.0, 0.0, 1e30) or None,
    }
    defaults = Head()
    for key in YOLO_KEYS:
        values[key] = s.number(key, getattr(defaults, key), -1e6, 1e6)
    return Head(**values)


SHORT = {"conv": "convolutional", "max": "maxpool", "avg": "avgpool"}
"""Darknet's other names for sections."""

READERS: dict[str, Callable[[Section, int], Layer]] = {
    "convolutional": _convolutional,
    "route": _route,
    "shortcut": _shortcut,
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "upsample": _upsample,
    "scale_channels": _scale_channels,
    "sam": _sam,
    "reorg": _reorg,
    "dropout": _dropout,
    "yolo": _yolo,
}
