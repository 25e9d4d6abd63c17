"""Random colour: hue, saturation and value, one look-up table for each picture.

OpenCV holds hue in 0..179 (two degrees each), saturation and value in 0..255.
"""

from __future__ import annotations

from typing import Annotated, Literal

import cv2
import numpy as np
from pydantic import Field

from edgehone.augment.geometry import Image
from edgehone.augment.recipe import Table
from edgehone.space import Settings, Span

HUES = 180
LEVELS = np.arange(256, dtype=np.float64)


def colour_table(hue_gain: float, hue_shift: float, saturation_gain: float, value_gain: float) -> Table:
    """A table from gains (without unit) and a hue shift (in turns); hue wraps, the others saturate."""
    hue = np.floor(LEVELS * hue_gain + hue_shift * HUES + 0.5) % HUES
    rest = (np.clip(np.rint(LEVELS * gain), 0, 255) for gain in (saturation_gain, value_gain))
    return np.stack([hue, *rest], axis=1).astype(np.uint8)


def recolour(image: Image, table: Table | None) -> Image:
    """``[h, w, 3]`` RGB through a table (a new array); None leaves the picture as it is."""
    if table is None:
        return image
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table[None])
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.uint8)


class UniformHsv(Settings):
    """Each channel times ``1 + gain * U(-1, 1)``, as in the authors' PyTorch recipes.

    Attributes:
        hue: gain of hue (times the hue, which wraps).
        saturation: gain of saturation.
        value: gain of value.
    """

    kind: Literal["uniform"] = "uniform"
    hue: Annotated[float, Span(0.0, 0.1), Field(ge=0.0, le=1.0)] = 0.015
    saturation: Annotated[float, Span(0.0, 0.9), Field(ge=0.0, le=1.0)] = 0.7
    value: Annotated[float, Span(0.0, 0.9), Field(ge=0.0, le=1.0)] = 0.4

    def table(self, rng: np.random.Generator) -> Table | None:
        """One draw; None if the settings leave every colour as it is."""
        if not (self.hue or self.saturation or self.value):
            return None
        hue, saturation, value = rng.uniform(-1.0, 1.0, 3).tolist()
        return colour_table(
            1 + hue * self.hue,
            0.0,
            1 + saturation * self.saturation,
            1 + value * self.value,
        )


class DarknetHsv(Settings):
    """Darknet's colour jitter (``src/data.c``): hue is shifted, the others multiplied or divided.

    Darknet names the value exposure. Its hue saturates at the ends of OpenCV's scale; here it wraps,
    which is what a hue does. The fields have names of their own because a preference for
    :class:`UniformHsv`, which counts in other units, must not reach them.

    Attributes:
        hue_shift: the shift is drawn uniformly from plus or minus this fraction of a turn.
        saturation_factor: the gain is drawn uniformly from one to this, and inverted half of the time.
        value_factor: likewise for the value.
    """

    kind: Literal["darknet"] = "darknet"
    hue_shift: Annotated[float, Span(0.0, 0.2), Field(ge=0.0, le=0.5)] = 0.1
    saturation_factor: Annotated[float, Span(1.0, 2.0), Field(ge=1.0, le=10.0)] = 1.5
    value_factor: Annotated[float, Span(1.0, 2.0), Field(ge=1.0, le=10.0)] = 1.5

    def table(self, rng: np.random.Generator) -> Table | None:
        """One draw; None if the settings leave every colour as it is."""
        if self.hue_shift == 0 and self.saturation_factor == 1 and self.value_factor == 1:
            return None
        hue, saturation, value, invert_saturation, invert_value = rng.random(5).tolist()
        saturation_gain = 1 + saturation * (self.saturation_factor - 1)
        value_gain = 1 + value * (self.value_factor - 1)
        return colour_table(
            1.0,
            (2 * hue - 1) * self.hue_shift,
            1 / saturation_gain if invert_saturation < 0.5 else saturation_gain,
            1 / value_gain if invert_value < 0.5 else value_gain,
        )


Hsv = Annotated[UniformHsv | DarknetHsv, Field(discriminator="kind")]
"""Every way to change colours."""
