"""The forms in which one detector's graph can be written; all of them say the same."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgehone.errors import UsageError
from edgehone.space import Settings

OPSET = 13
IR_VERSIONS = {11: 6, 12: 7, 13: 7}
"""Opset to the version of the file format that came with it; later ones are refused by older runtimes."""
INPUT = "images"
METADATA = "edgehone"


class GraphForm(Settings):
    """How a graph is written. The default is the master.

    Attributes:
        slice_free: a part of a layer's channels is a convolution of its own instead of a Slice: of the weights before
            it where a convolution is before it, else of zeros and ones. Nothing else changes, to the last bit.
        one_axis_resize: maps are enlarged in two steps, rows first.
        classes: give each head as box, objectness and class outputs (``stride32_box``, ...), convolutions of their
            own, instead of one raw output; so many classes. None: raw.
        restore: the graph begins with a BatchNormalization ``input * scale + shift`` that makes RGB in 0..1 of what
            the board gives. It stays a node of its own: folded into the first convolution the shift would be missing
            in the zeros around the picture. None: the input is RGB in 0..1.
    """

    slice_free: bool = False
    one_axis_resize: bool = False
    classes: int | None = Field(default=None, ge=1)
    restore: tuple[float, float] | None = None


MASTER = GraphForm()

PARTS = ("box", "objectness", "classes")
"""What a head says, in the order of its channels: 4, 1 and as many as there are classes, for each anchor."""


def output_name(stride: int, part: str | None = None) -> str:
    """``stride32``, or ``stride32_box`` for a part of a head."""
    return f"stride{stride}" if part is None else f"stride{stride}_{part}"


def whole_name(name: str) -> str:
    """The tensor of the master graph that a tensor of another form holds a part of, or is: ``2_conv_part1`` of 2_conv.

    What belongs to one of its channels, like a range for 8 bits, belongs to the part, too.
    """
    base, mark, rest = name.removesuffix("_whole").partition("_part")
    number, underscore, tail = rest.partition("_")
    return f"{base}{underscore}{tail}" if mark and number.isdigit() else name.removesuffix("_whole")


def part_channels(channels: int, classes: int) -> dict[str, NDArray[np.int64]]:
    """Which channels of a raw head belong to each of its parts: anchor after anchor.

    Raises:
        UsageError: it has not 5 and so many classes for each anchor.
    """
    each = 5 + classes
    if channels % each:
        raise UsageError(f"a head has 5 + {classes} channels for each anchor; {channels} are no multiple of {each}")
    of_channel = np.arange(channels) % each
    spans = zip(PARTS, pairwise((0, 4, 5, each)), strict=True)
    return {part: np.flatnonzero((low <= of_channel) & (of_channel < high)) for part, (low, high) in spans}
