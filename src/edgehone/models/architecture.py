"""One door to every architecture: a built-in name or the path of a Darknet cfg."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgehone.errors import EdgehoneError, UsageError
from edgehone.models.darknet import Cfg, cfg_text, parse_cfg
from edgehone.models.graph import Graph
from edgehone.models.yolov4_tiny import YoloV4Tiny
from edgehone.space import load

MODELS: dict[str, YoloV4Tiny] = {"yolov4-tiny": YoloV4Tiny(), "yolov4-tiny-3l": YoloV4Tiny(heads=3)}
"""Built-in architectures by name."""


class Architecture(Protocol):
    """A detector for any number of classes."""

    @property
    def name(self) -> str:
        """As it is named on the command line."""
        ...

    @property
    def text(self) -> str | None:
        """The cfg that it was read from, None for a built-in one."""
        ...

    def graph(self, classes: int, anchors_per_head: int | None = None) -> Graph:
        """The graph for a number of classes and of anchors per head (None: its own number)."""
        ...


@dataclass(frozen=True)
class DarknetArchitecture:
    """An architecture that a Darknet cfg describes.

    Attributes:
        name: the path that was given.
        text: of the cfg.
        cfg: what it says.
    """

    name: str
    text: str
    cfg: Cfg

    def graph(self, classes: int, anchors_per_head: int | None = None) -> Graph:
        """The cfg's graph with its heads made for these classes.

        Raises:
            EdgehoneError: the cfg has no ``[yolo]``.
        """
        if not self.cfg.graph.outputs:
            raise EdgehoneError(f"a detector ends in [yolo] layers, {self.name} has none")
        return self.cfg.graph.with_classes(classes, anchors_per_head)


def architecture(model: str, text: str | None = None) -> Architecture:
    """Find an architecture.

    Args:
        model: a built-in name, also with settings (``yolov4-tiny@width=0.5,activation=relu6``), or the path of a cfg.
        text: of the cfg, where it is known already: the file is then not needed.

    Raises:
        UsageError: there is none of that name, or a setting is out of its bounds.
        EdgehoneError: the cfg cannot be read.
    """
    if text is not None or model.endswith(".cfg"):
        return _darknet(model, text)
    base, sign, changes = model.partition("@")
    if base not in MODELS:
        raise UsageError(
            f"the models are {', '.join(MODELS)}, also with settings like {YoloV4Tiny(width=0.5).name}, and Darknet "
            f"cfgs by their path; got {model!r}"
        )
    built_in = MODELS[base]
    return _changed(built_in, changes, model) if sign else built_in


def _darknet(model: str, text: str | None) -> DarknetArchitecture:
    if text is None:
        path = Path(model)
        if not path.is_file():
            raise UsageError(f"there is no Darknet cfg at {path}")
        text = cfg_text(path)
    return DarknetArchitecture(model, text, parse_cfg(text, Path(model).name))


def _changed(built_in: YoloV4Tiny, changes: str, model: str) -> YoloV4Tiny:
    values = built_in.model_dump()
    allowed = ("width", "activation")
    for part in changes.split(","):
        key, sign, value = part.partition("=")
        if not sign or key not in allowed:
            raise UsageError(f"a model's settings are {' and '.join(allowed)}, as width=0.5; got {part!r} in {model!r}")
        values[key] = value
    return load(YoloV4Tiny, values)
