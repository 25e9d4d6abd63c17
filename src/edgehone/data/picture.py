"""Reading image files: always RGB, 8 bits, EXIF orientation applied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehone.errors import EdgehoneError

Image = NDArray[np.uint8]

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""File names that are taken for pictures, lower case."""


class ImageSource(Protocol):
    """Something that gives the same picture every time, in any process."""

    def read(self) -> Image:
        """``[height, width, 3]`` uint8, RGB."""
        ...


@dataclass(frozen=True, slots=True)
class FileImage:
    """A picture in a file."""

    path: Path

    def read(self) -> Image:
        """See :class:`ImageSource`."""
        return read_image(self.path)


def read_image(path: Path) -> Image:
    """A picture file as ``[height, width, 3]`` uint8 RGB.

    Raises:
        EdgehoneError: the file cannot be read or decoded.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise EdgehoneError(f"cannot read the picture {path}: {error.strerror}") from None
    decoded = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    if decoded is None:
        raise EdgehoneError(f"{path} is not a picture that OpenCV can decode; convert or remove it")
    return np.ascontiguousarray(decoded[..., ::-1], dtype=np.uint8)
