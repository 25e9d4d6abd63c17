"""From a :class:`Graph` to a Darknet cfg that reads back as the same graph."""

from __future__ import annotations

from dataclasses import fields

from edgehone.models.darknet.known_keys import YOLO_KEYS
from edgehone.models.darknet.reading import Cfg
from edgehone.models.layers import (
    KINDS,
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

Lines = dict[str, object]
SECTIONS = {**KINDS, Convolutional: "convolutional", Head: "yolo"}


def write_cfg(cfg: Cfg) -> str:
    """The text: ``parse_cfg(write_cfg(cfg)) == cfg``."""
    net: Lines = {"width": cfg.input_size[1], "height": cfg.input_size[0], "channels": cfg.graph.channels}
    if cfg.letterbox:
        net["letter_box"] = 1
    parts = [_section("net", {**net, **dict(cfg.training)})]
    for index, layer in enumerate(cfg.graph.layers):
        parts.append(f"# {index}\n" + _section(SECTIONS[type(layer)], _lines(layer)))
    return "\n".join(parts)


def _section(name: str, lines: Lines) -> str:
    return f"[{name}]\n" + "".join(f"{key}={_text(value)}\n" for key, value in lines.items())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e9 else repr(value)
    return str(value)


def _lines(layer: Layer) -> Lines:
    if isinstance(layer, Convolutional):
        return _convolutional(layer)
    if isinstance(layer, Route):
        groups: Lines = {"groups": layer.groups, "group_id": layer.group} if layer.groups > 1 else {}
        return {"layers": _joined(layer.layers), **groups}
    if isinstance(layer, Maxpool):
        padding: Lines = {} if layer.padding is None else {"padding": layer.padding}
        return {"size": layer.size, **_stride(layer.stride), **padding}
    if isinstance(layer, Upsample):
        return {"stride": layer.stride, **({} if layer.scale == 1 else {"scale": layer.scale})}
    if isinstance(layer, Shortcut):
        weighed: Lines = {"weights_type": layer.weights, "weights_normalization": layer.normalisation}
        return {"from": _joined(layer.layers), **({} if layer.weights == "none" else weighed), **_activation(layer)}
    if isinstance(layer, ScaleChannels):
        return {"from": layer.layer, **({"scale_wh": 1} if layer.scale_wh else {}), **_activation(layer)}
    if isinstance(layer, Sam):
        return {"from": layer.layer, **_activation(layer)}
    if isinstance(layer, Reorg):
        return {"stride": layer.stride}
    if isinstance(layer, Dropout):
        return {"probability": layer.probability}
    return _yolo(layer) if isinstance(layer, Head) else {}


def _convolutional(layer: Convolutional) -> Lines:
    lines: Lines = {"batch_normalize": 1} if layer.batch_normalize else {}
    lines |= {"filters": layer.filters, "size": layer.size, **_stride(layer.stride)}
    lines |= {"pad": 1} if layer.padding is None else {"padding": layer.padding}
    lines |= {key: n for key, n in (("groups", layer.groups), ("dilation", layer.dilation)) if n > 1}
    return lines | _activation(layer)


def _activation(layer: Convolutional | Shortcut | ScaleChannels | Sam) -> Lines:
    return {"activation": layer.activation}


def _stride(stride: Stride) -> Lines:
    return {"stride_y": stride[0], "stride_x": stride[1]} if isinstance(stride, tuple) else {"stride": stride}


def _yolo(head: Head) -> Lines:
    lines: Lines = {
        "mask": _joined(head.mask),
        "anchors": ", ".join(",".join(_text(side) for side in anchor) for anchor in head.anchors_px),
        "classes": head.classes,
        "num": len(head.anchors_px),
    }
    plain = {f.name: f.default for f in fields(Head) if f.name not in ("anchors_px", "mask", "classes", "max_boxes")}
    for key, default in plain.items():
        value = getattr(head, key)
        if value != default or key in YOLO_KEYS[:2]:
            lines[key] = value
    return lines | ({} if head.max_boxes == Head().max_boxes else {"max": head.max_boxes})


def _joined(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))
