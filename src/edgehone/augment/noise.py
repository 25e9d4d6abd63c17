"""Sensor noise that every applier makes alike: its pattern is a hash of place and seed."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgehone.augment.geometry import Image
from edgehone.space import Settings, Span
from edgehone.types import Size

GOLDEN = 0x1E3779B9
MIX = 0x2C1B3C6D
"""Odd numbers below 2^31 with no pattern in their bits: their products with 32 bits fit into 63."""

SEEDS = 1 << 31
BYTES_MEAN = 510.0
BYTES_DEVIATION = (4 * (256**2 - 1) / 12) ** 0.5
"""Mean and standard deviation of the sum of four bytes, each uniform: close to a normal distribution."""


class Noise(Settings):
    """Noise of a sensor: half of its variance at middle gray from reading out, half from counting photons.

    Source: the Poissonian-Gaussian model of Foi et al. 2008, variance ``a * value + b``, per pixel and channel.

    Attributes:
        probability: that a picture gets noise.
        levels: the standard deviation at middle gray is drawn uniformly from a quarter of this to all of it, of
            255.
    """

    probability: Annotated[float, Span(0.0, 0.1), Field(ge=0.0, le=1.0)] = 0.0
    levels: Annotated[float, Field(gt=0.0, le=100.0)] = 12.0

    def draw(self, rng: np.random.Generator) -> tuple[float, int]:
        """Standard deviation at middle gray and seed of the pattern; 0 for no noise."""
        if not self.probability or rng.random() >= self.probability:
            return 0.0, 0
        return self.levels * float(rng.uniform(0.25, 1.0)), int(rng.integers(SEEDS))


def grain(size: Size, seed: int) -> NDArray[np.float32]:
    """``[h, w, 3]`` of mean 0 and standard deviation 1, independent from value to value."""
    bits = np.arange(size[0] * size[1] * 3, dtype=np.uint32)
    bits *= np.uint32(GOLDEN)
    bits ^= np.uint32(seed)
    for shift in (16, 15):
        bits ^= bits >> np.uint32(shift)
        bits *= np.uint32(MIX)
    bits ^= bits >> np.uint32(16)
    pairs = (bits & np.uint32(0xFF00FF)) + ((bits >> np.uint32(8)) & np.uint32(0xFF00FF))
    total = ((pairs & np.uint32(0xFFFF)) + (pairs >> np.uint32(16))).astype(np.float32)
    total -= np.float32(BYTES_MEAN)
    total /= np.float32(BYTES_DEVIATION)
    return total.reshape(*size, 3)


def noised(image: Image, levels: float, seed: int) -> Image:
    """``[h, w, 3]``, a new array; see :class:`Noise`."""
    noise = grain((image.shape[0], image.shape[1]), seed)
    noise *= deviations(levels)[image]
    noise += image
    np.rint(noise, out=noise)
    return np.clip(noise, 0, 255, out=noise).astype(np.uint8)


def deviations(levels: float) -> NDArray[np.float32]:
    """``[256]``, the standard deviation of the noise for each level of the picture."""
    return np.asarray(levels * np.sqrt(0.5 + np.arange(256) / 255), dtype=np.float32)
