"""``builtin:digits``: scenes composed from real handwritten digits, with a data space of known properties.

The glyphs are scikit-learn's copy of the UCI handwritten digits (1,797 pictures of 8 x 8). No glyph serves in
two splits. A scene is a function of its seed: nothing is stored.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from urllib.parse import parse_qsl

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgehone.data.dataset import Dataset, Sample
from edgehone.errors import UsageError
from edgehone.space import Settings, load
from edgehone.types import Size

SPLIT_SEEDS = {"train": 0, "val": 1, "test": 2}
ATTEMPTS = 30
INK_FLOOR = 0.25
"""Share of the ink's peak below which a pixel of a glyph does not count towards its box."""

SENSOR_NOISE = 4
"""Standard deviation of the noise over everything, of 255."""


class Scenes(Settings):
    """The knobs of the data space.

    Attributes:
        width: of a scene in pixels; likewise ``height``.
        min_px: smallest longer side of a digit, pixels; sizes are drawn log-uniformly up to ``max_px``.
        min_objects: fewest digits in a scene; up to ``max_objects``.
        classes: number of digits in use, 0 and up.
        imbalance: how much more often the commonest class is drawn than the rarest.
        overlap: largest IoU of two boxes in a scene.
        label_noise: share of the training boxes that are missing, shifted or of a wrong class.
        train: number of scenes; likewise ``val`` and ``test``.
        seed: of everything.
    """

    width: int = Field(default=240, ge=32, le=2048)
    height: int = Field(default=240, ge=32, le=2048)
    min_px: float = Field(default=40, ge=6)
    max_px: float = Field(default=120, le=1024)
    min_objects: int = Field(default=2, ge=1)
    max_objects: int = Field(default=6, le=500)
    classes: int = Field(default=4, ge=2, le=10)
    imbalance: float = Field(default=3.0, ge=1)
    overlap: float = Field(default=0.1, ge=0, le=1)
    label_noise: float = Field(default=0.0, ge=0, le=1)
    train: int = Field(default=320, ge=1)
    val: int = Field(default=80, ge=1)
    test: int = Field(default=160, ge=1)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Glyph:
    """A digit in a scene: which glyph, where (left, top of its picture), how large, how turned."""

    index: int
    left: float
    top: float
    side: float
    degrees: float


@dataclass(frozen=True, slots=True)
class SceneImage:
    """The pixels of a scene, drawn when asked for."""

    size: Size
    glyphs: tuple[Glyph, ...]
    seed: tuple[int, ...]

    def read(self) -> NDArray[np.uint8]:
        """``[height, width, 3]`` uint8 RGB, the same every time."""
        rng = np.random.default_rng(self.seed)
        canvas = background(self.size, rng)
        luminance = float(canvas.mean())
        for glyph in self.glyphs:
            _draw(canvas, glyph, luminance, rng)
        canvas += SENSOR_NOISE * rng.standard_normal(canvas.shape, np.float32)
        return canvas.clip(0, 255, out=canvas).astype(np.uint8)


def digits_dataset(text: str) -> Dataset:
    """The data set that ``digits`` or ``digits?knob=value&...`` names.

    Raises:
        UsageError: another name, or a knob that does not exist or is out of range.
    """
    name, _, query = text.partition("?")
    if name != "digits":
        raise UsageError(f"the built-in data set is builtin:digits, got builtin:{name}")
    scenes = load(Scenes, dict(parse_qsl(query, keep_blank_values=True)))
    if scenes.min_px > scenes.max_px or scenes.min_objects > scenes.max_objects:
        raise UsageError(
            f"need min_px <= max_px and min_objects <= max_objects, got {scenes.min_px=}, {scenes.max_px=}, "
            f"{scenes.min_objects=}, {scenes.max_objects=}"
        )
    if scenes.max_px > min(scenes.width, scenes.height):
        raise UsageError(f"need max_px <= the scene's sides, got {scenes.max_px=}, {scenes.width=}, {scenes.height=}")
    splits = {
        split: tuple(_scene(scenes, split, number) for number in range(getattr(scenes, split))) for split in SPLIT_SEEDS
    }
    names = tuple(str(digit) for digit in range(scenes.classes))
    source = f"builtin:{text}"
    train, val, test = (splits[split] for split in SPLIT_SEEDS)
    return Dataset(source, "built-in", names, train, val, test, source=source)


def _scene(scenes: Scenes, split: str, number: int) -> Sample:
    seed = (scenes.seed, SPLIT_SEEDS[split], number)
    rng = np.random.default_rng(seed)
    pools = glyph_pools()[split]
    frequencies = np.geomspace(scenes.imbalance, 1.0, scenes.classes)
    glyphs: list[Glyph] = []
    boxes: list[tuple[float, float, float, float]] = []
    classes: list[int] = []
    for _ in range(int(rng.integers(scenes.min_objects, scenes.max_objects + 1))):
        digit = int(rng.choice(scenes.classes, p=frequencies / frequencies.sum()))
        for _ in range(ATTEMPTS):
            glyph, box = _place(scenes, int(rng.choice(pools[digit])), rng)
            if all(_iou(box, other) <= scenes.overlap for other in boxes):
                glyphs.append(glyph)
                boxes.append(box)
                classes.append(digit)
                break
    source = SceneImage((scenes.height, scenes.width), tuple(glyphs), (*seed, 1))
    if split == "train" and scenes.label_noise > 0:
        boxes, classes = _spoil(boxes, classes, scenes, rng)
    return Sample(
        f"digits:{split}:{number}",
        (scenes.height, scenes.width),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int64),
        source,
    )


def _place(scenes: Scenes, index: int, rng: np.random.Generator) -> tuple[Glyph, tuple[float, float, float, float]]:
    """A glyph whose ink is as high as drawn, somewhere inside the scene, and the box of its ink."""
    wanted = math.exp(rng.uniform(math.log(scenes.min_px), math.log(scenes.max_px)))
    degrees = float(rng.uniform(-12, 12))
    left, top, right, bottom = ink_box(index, round(degrees))
    side = wanted / max(bottom - top, right - left)
    width, height = (right - left) * side, (bottom - top) * side
    x = float(rng.uniform(0, scenes.width - width))
    y = float(rng.uniform(0, scenes.height - height))
    glyph = Glyph(index, x - left * side, y - top * side, side, round(degrees))
    return glyph, (x, y, x + width, y + height)


def _spoil(
    boxes: list[tuple[float, float, float, float]],
    classes: list[int],
    scenes: Scenes,
    rng: np.random.Generator,
) -> tuple[list[tuple[float, float, float, float]], list[int]]:
    """Label noise: a third of the spoiled boxes vanish, a third move, a third change class."""
    kept: list[tuple[float, float, float, float]] = []
    labels: list[int] = []
    for box, label in zip(boxes, classes, strict=True):
        kind = int(rng.integers(3)) if rng.random() < scenes.label_noise else -1
        if kind == 0:
            continue
        x1, y1, x2, y2 = box
        if kind == 1:
            dx, dy = rng.uniform(-0.3, 0.3, 2) * (x2 - x1, y2 - y1)
            dx, dy = np.clip(dx, -x1, scenes.width - x2), np.clip(dy, -y1, scenes.height - y2)
            x1, y1, x2, y2 = x1 + dx, y1 + dy, x2 + dx, y2 + dy
        kept.append((float(x1), float(y1), float(x2), float(y2)))
        labels.append(int((label + rng.integers(1, scenes.classes)) % scenes.classes) if kind == 2 else label)
    return kept, labels


@functools.cache
def glyph_images() -> NDArray[np.float32]:
    """``[1797, 8, 8]`` float32, ink in 0..1."""
    return (_handwritten()[0].reshape(-1, 8, 8) / 16).astype(np.float32)


@functools.cache
def _handwritten() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """``[1797, 64]`` ink in 0..16, and ``[1797]`` digits."""
    from sklearn.datasets import load_digits  # takes a second: only for those who use the digits

    # scikit-learn's own annotation does not say what the arrays hold.
    return load_digits(return_X_y=True)  # pyright: ignore[reportUnknownVariableType, reportReturnType]


@functools.cache
def glyph_pools() -> dict[str, list[list[int]]]:
    """Split to, for each digit, the glyphs that it may use: 70, 15 and 15 % of them."""
    labels = _handwritten()[1]
    pools: dict[str, list[list[int]]] = {split: [] for split in SPLIT_SEEDS}
    for digit in range(10):
        found = np.flatnonzero(labels == digit)
        found = np.random.default_rng(digit).permutation(found)
        first, second = int(0.7 * len(found)), int(0.85 * len(found))
        for split, part in zip(SPLIT_SEEDS, (found[:first], found[first:second], found[second:]), strict=True):
            pools[split].append(part.tolist())
    return pools


@functools.cache
def ink_box(index: int, degrees: int) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the turned glyph's ink, as shares of its picture's side."""
    scale = 64
    ink = _turned(index, degrees, scale)
    rows, columns = np.flatnonzero((ink > INK_FLOOR).any(1)), np.flatnonzero((ink > INK_FLOOR).any(0))
    return columns[0] / scale, rows[0] / scale, (columns[-1] + 1) / scale, (rows[-1] + 1) / scale


def _turned(index: int, degrees: float, side: int) -> NDArray[np.float32]:
    """The glyph drawn ``side`` pixels wide (two more are empty), turned about its middle."""
    scale = side / 8
    matrix = cv2.getRotationMatrix2D((4.0, 4.0), degrees, 1.0) * scale
    # Pixel centres are at half integers in these coordinates, at integers in OpenCV's.
    matrix[:, 2] += matrix[:, :2].sum(1) * 0.5 - 0.5
    size = side + 2
    return np.asarray(cv2.warpAffine(glyph_images()[index], matrix, (size, size), flags=cv2.INTER_CUBIC), np.float32)


def background(size: Size, rng: np.random.Generator) -> NDArray[np.float32]:
    """A gradient between two colours with stripes, blobs or plain noise over it: ``[h, w, 3]`` in 0..255."""
    height, width = size
    ys, xs = np.ogrid[0:height, 0:width]
    angle = rng.uniform(0, 2 * math.pi)
    along = (math.cos(angle) * xs / width + math.sin(angle) * ys / height).astype(np.float32)
    along = (along - along.min()) / (np.ptp(along) + 1e-9)
    first, second = rng.uniform(30, 225, (2, 3))
    second = first + 0.5 * (second - first)
    canvas = first.astype(np.float32) + along[..., None] * (second - first).astype(np.float32)
    kind = int(rng.integers(3))
    if kind == 0:
        canvas += 14 * np.sin(along * np.float32(rng.uniform(10, 60)))[..., None]
    elif kind == 1:
        coarse = rng.normal(0, 22, (6, 6)).astype(np.float32)
        canvas += np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))[..., None]
    else:
        canvas += 9 * rng.standard_normal((height, width, 1), np.float32)
    return canvas


def _draw(canvas: NDArray[np.float32], glyph: Glyph, luminance: float, rng: np.random.Generator) -> None:
    """Blend a glyph's ink into the canvas, in a colour that stands off from the background."""
    side = max(4, math.ceil(glyph.side))
    left, top = math.floor(glyph.left), math.floor(glyph.top)
    scale = glyph.side / side
    ink = _turned(glyph.index, glyph.degrees, side)
    matrix = np.array(
        [[scale, 0, glyph.left - left + 0.5 * scale - 0.5], [0, scale, glyph.top - top + 0.5 * scale - 0.5]]
    )
    ink = np.clip(np.asarray(cv2.warpAffine(ink, matrix, (side + 2, side + 2)), np.float32), 0, 1)
    colour = (rng.uniform(0, 70, 3) if luminance > 127 else rng.uniform(185, 255, 3)).astype(np.float32)
    height, width = canvas.shape[:2]
    y1, x1, y2, x2 = max(top, 0), max(left, 0), min(top + side + 2, height), min(left + side + 2, width)
    if y2 <= y1 or x2 <= x1:
        return
    alpha = ink[y1 - top : y2 - top, x1 - left : x2 - left, None]
    canvas[y1:y2, x1:x2] += alpha * (colour - canvas[y1:y2, x1:x2])


def _iou(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return w * h / (areas - w * h)
