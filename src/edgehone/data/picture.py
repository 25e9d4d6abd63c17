"""Reading image files: always RGB, 8 bits, as they are meant to be seen."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehone.data.picture_header import PictureHeader, header_of, opened
from edgehone.errors import EdgehoneError, UsageError
from edgehone.files import write_bytes

Image = NDArray[np.uint8]

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
"""File names that are taken for pictures, lower case."""

MAX_PIXELS = 178_956_970
"""Pixels of the largest picture that is decoded (512 MiB at 3 bytes). A file of a few bytes can claim any size."""

MAX_FILE_BYTES = 16 * MAX_PIXELS
"""Bytes of the largest file that is read: four channels of 16 bits a pixel, and as much again."""

FLAGS = {
    1: cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
    2: cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION,
    4: cv2.IMREAD_REDUCED_COLOR_4 | cv2.IMREAD_IGNORE_ORIENTATION,
    8: cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION,
}
"""How OpenCV is asked to decode, by the divisor of the sides."""


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

    def stamp(self) -> tuple[int, int]:
        """Time of the last change (ns) and bytes: another stamp, another picture."""
        try:
            status = self.path.stat()
        except OSError:
            return 0, 0
        return status.st_mtime_ns, status.st_size


def read_image(path: Path) -> Image:
    """A picture file as ``[height, width, 3]`` uint8 RGB, turned as its Exif orientation says.

    One gray channel becomes three equal ones, CMYK becomes RGB, alpha is dropped whatever lies beneath it, 16 bits
    become 8 by the full range of the type (as OpenCV does: white stays white), and an animation is its first picture.
    A file that is cut short gives what it has.

    Raises:
        EdgehoneError: the file cannot be read or decoded, or has more than :data:`MAX_PIXELS`.
    """
    with opened(path) as file:
        return decode(*read_content(file))


def write_image(path: Path, image: Image) -> None:
    """Write ``[height, width, 3]`` uint8 RGB; the suffix says the kind. The file appears only when it is complete.

    Raises:
        UsageError: a suffix that OpenCV cannot write.
    """
    try:
        encoded = cv2.imencode(path.suffix, image[..., ::-1])[1]
    except cv2.error:
        raise UsageError(f"a picture is written as .jpg or .png, got {path}") from None
    write_bytes(path, encoded.tobytes())


def read_content(file: io.FileIO) -> tuple[bytes, PictureHeader]:
    """The bytes of an open picture file, and its header.

    Raises:
        EdgehoneError: it is no picture, or larger than its pixels could be. The message does not name the file.
    """
    header = header_of(file)
    if header.bytes > MAX_FILE_BYTES:
        raise EdgehoneError(
            f"a picture file has at most {MAX_FILE_BYTES:,} bytes, this one has {header.bytes:,}; "
            "save it again smaller, or remove it from the data"
        )
    file.seek(0)
    return file.read(), header


def decode(content: bytes, header: PictureHeader, divisor: int = 1) -> Image:
    """The picture in a file's bytes, see :func:`read_image`.

    Args:
        content: the bytes.
        header: what :func:`~edgehone.data.picture_header.header_of` made of them.
        divisor: 1, 2, 4 or 8: the sides are divided by it, rounded up, which decodes a JPEG faster.

    Raises:
        EdgehoneError: see :func:`read_image`; the message does not name the file.
    """
    height, width = header.stored_size
    if height * width > MAX_PIXELS:
        raise EdgehoneError(
            f"a picture has at most {MAX_PIXELS:,} pixels, this one claims {width:,} x {height:,} in "
            f"{header.bytes:,} bytes; shrink it or cut it into tiles, or remove it from the data"
        )
    if header.kind == "tiff" and header.orientation != 1:
        content = _upright_tiff(content, header)
    try:
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), FLAGS[divisor])
    except cv2.error:
        decoded = None
    if decoded is None:
        state = "is cut short" if header.truncated else "is damaged, or stored in a way it does not know"
        raise EdgehoneError(
            f"OpenCV {cv2.__version__} must be able to decode a picture; this {header.kind.upper()} file {state}; "
            "convert it to JPEG or PNG, or remove it from the data"
        )
    if divisor == 1 and decoded.shape[:2] != header.stored_size:
        raise EdgehoneError(
            f"a picture has the size that its header says, {width} x {height}; its pixels are "
            f"{decoded.shape[1]} x {decoded.shape[0]}; save it again or remove it from the data"
        )
    image = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, dst=decoded)
    return np.asarray(_turned(image, header.orientation), np.uint8)


def shrink_image(image: Image, longest_side: int) -> Image:
    """The picture, area-averaged where it is larger than ``longest_side`` pixels."""
    height, width = image.shape[:2]
    if max(height, width) <= longest_side:
        return image
    ratio = longest_side / max(height, width)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _upright_tiff(content: bytes, header: PictureHeader) -> bytes:
    """The file with orientation 1: OpenCV turns TIFF files even where it is told to leave that to us."""
    one = (1).to_bytes(2, "little" if content[:1] == b"I" else "big")
    return content[: header.orientation_at] + one + content[header.orientation_at + 2 :]


def _turned(image: cv2.typing.MatLike, orientation: int) -> cv2.typing.MatLike:
    """The picture as it is meant to be seen (Exif 2.3, tag 274: where the stored first row and column belong)."""
    if orientation == 2:
        return cv2.flip(image, 1)
    if orientation == 3:
        return cv2.rotate(image, cv2.ROTATE_180)
    if orientation == 4:
        return cv2.flip(image, 0)
    if orientation == 5:
        return cv2.transpose(image)
    if orientation == 6:
        return cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)
    if orientation == 7:
        return cv2.rotate(cv2.transpose(image), cv2.ROTATE_180)
    if orientation == 8:
        return cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE)
    return image
