"""A Darknet cfg with its weights, opened as Darknet would: its input size, its resize, its decoding of each head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgehone.augment.fit import content_size
from edgehone.errors import EdgehoneError, UsageError
from edgehone.models import Graph, Head, Network
from edgehone.models.darknet import cfg_text, parse_cfg, read_weights
from edgehone.projection import Coding, ExpCoding, SquaredSigmoidCoding
from edgehone.projection.lattice import flatten_heads
from edgehone.space import Settings
from edgehone.types import Lattice, Predictions, Size

Image = NDArray[np.uint8]
Fit = Literal["stretch", "letterbox"]
Masks = tuple[tuple[int, ...], ...]
AnchorsPx = tuple[tuple[float, float], ...]

GRAY = 127
"""Around a letterboxed picture (src/image.c, letterbox_image: one half)."""
NEW_COORDS_SCALE = 2.0
MAX_NAMES_BYTES = 1 << 20


class DarknetReading(Settings):
    """How a Darknet pair is read, which no strategy of ours decided.

    Attributes:
        input_size: ``(height, width)`` of the cfg.
        fit: ``stretch`` is Darknet's plain resize.
        codings: of each head, coarse stride first.
    """

    input_size: Size
    fit: Fit
    codings: tuple[Coding, ...]

    def prepare(self, image: Image) -> Image:
        """A picture ``[h, w, 3]`` in the network input, resized bilinearly as OpenCV's ``blobFromImage`` does."""
        height, width = content_size((image.shape[0], image.shape[1]), self.input_size, self.fit)
        content = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        if (height, width) == self.input_size:
            return content
        canvas = np.full((*self.input_size, 3), GRAY, dtype=np.uint8)
        top, left = (self.input_size[0] - height) // 2, (self.input_size[1] - width) // 2
        canvas[top : top + height, left : left + width] = content
        return canvas

    def predictions(self, heads: Sequence[Tensor], lattice: Lattice) -> Predictions:
        """Raw heads of a batch, each decoded its own way."""
        raw = flatten_heads(heads, lattice)
        boxes: list[Tensor] = []
        start = 0
        for coding, (anchors, rows, columns) in zip(self.codings, lattice.shapes, strict=True):
            level = slice(start, start + anchors * rows * columns)
            start = level.stop
            cells, strides, sides = lattice.cells_xy[level], lattice.strides[level], lattice.anchors_px[level]
            boxes.append(coding.decode(raw.boxes[:, level], cells, strides, sides))
        return Predictions(torch.cat(boxes, 1), raw.objectness, raw.classes)


@dataclass(frozen=True)
class Pair:
    """An opened cfg with its weights.

    Attributes:
        network: trained, in evaluation mode.
        name: the path of the cfg.
        text: of the cfg.
        class_names: from a ``.names`` file, else ``class 0``, ``class 1``, ...
        anchors_px: the list of all anchors.
        masks: which of them each head owns, coarse stride first.
        reading: how its heads are read.
    """

    network: Network
    name: str
    text: str
    class_names: tuple[str, ...]
    anchors_px: AnchorsPx
    masks: Masks
    reading: DarknetReading


def split_pair(source: str) -> tuple[Path, Path] | None:
    """``a.cfg+a.weights`` in two; None for anything else."""
    cfg, sign, weights = source.partition(".cfg+")
    return (Path(f"{cfg}.cfg"), Path(weights)) if sign and weights else None


def open_pair(cfg_path: Path, weights: Path, letterbox: bool | None = None, names: Path | None = None) -> Pair:
    """Read both files.

    Args:
        cfg_path: the graph.
        weights: whole; partial ones cannot detect.
        letterbox: keep the aspect of pictures; None: as the cfg says (``letter_box``), usually not.
        names: class names, one a line; None: the ``.names`` file beside the cfg or the weights, if there is one.

    Raises:
        UsageError: a file is missing.
        EdgehoneError: a file is damaged, the two do not belong together, or the cfg is no detector that can be read.
    """
    if not cfg_path.is_file():
        raise UsageError(f"there is no Darknet cfg at {cfg_path}")
    text = cfg_text(cfg_path)
    cfg = parse_cfg(text, cfg_path.name)
    graph = cfg.graph
    anchors_px, masks = head_anchors(graph, cfg_path.name)
    classes = {head.classes for head in graph.heads}
    if len(classes) != 1:
        raise EdgehoneError(f"the heads of a detector know the same classes, those of {cfg_path} {sorted(classes)}")
    class_names = _class_names(classes.pop(), names, (cfg_path, weights))
    letterboxed = cfg.letterbox if letterbox is None else letterbox
    reading = DarknetReading(
        input_size=cfg.input_size,
        fit="letterbox" if letterboxed else "stretch",
        codings=tuple(_coding(head, cfg_path) for head in graph.heads),
    )
    network = Network(graph)
    loaded = read_weights(network, weights)
    if not loaded.whole:
        raise EdgehoneError(
            f"{weights} holds the first {loaded.layers} of {len(graph.layers)} layers only: enough to start a training "
            "from, too little to detect"
        )
    return Pair(network.eval(), str(cfg_path), text, class_names, anchors_px, masks, reading)


def head_anchors(graph: Graph, name: str) -> tuple[AnchorsPx, Masks]:
    """One list of anchors for all heads, and which of them each owns, coarse stride first.

    Raises:
        EdgehoneError: there is no head, or one without anchors.
    """
    if not graph.heads or any(not head.mask for head in graph.heads):
        raise EdgehoneError(f"a detector ends in [yolo] layers with anchors, {name} does not")
    lists = [head.anchors_px for head in graph.heads]
    if len(set(lists)) == 1:
        return lists[0], tuple(head.mask for head in graph.heads)
    starts = np.cumsum([0, *(len(anchors) for anchors in lists)]).tolist()
    shifted = zip(graph.heads, starts, strict=False)
    return sum(lists, ()), tuple(tuple(start + k for k in head.mask) for head, start in shifted)


def _coding(head: Head, cfg_path: Path) -> Coding:
    if not head.new_coords:
        return ExpCoding(scale_x_y=head.scale_x_y)
    if head.scale_x_y != NEW_COORDS_SCALE:
        raise EdgehoneError(
            f"with new_coords=1 only scale_x_y={NEW_COORDS_SCALE} is read, as in Darknet's own cfgs; {cfg_path} has "
            f"{head.scale_x_y}"
        )
    return SquaredSigmoidCoding()


def _class_names(count: int, names: Path | None, beside: Sequence[Path]) -> tuple[str, ...]:
    found = [names] if names is not None else [p for path in beside if (p := path.with_suffix(".names")).is_file()]
    if not found:
        return tuple(f"class {k}" for k in range(count))
    if not found[0].is_file():
        raise UsageError(f"there are no class names at {found[0]}")
    with found[0].open("rb") as file:
        text = file.read(MAX_NAMES_BYTES).decode("utf-8", errors="replace")
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(lines) != count:
        raise EdgehoneError(f"the cfg has {count} classes, so its names are {count} lines; {found[0]} has {len(lines)}")
    return lines
