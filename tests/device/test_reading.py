"""A picture file gives the same pixels on a board as in training, whatever it stores."""

from __future__ import annotations

import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgehone.data.picture import read_image
from edgehone.deploy.device.runtime.sources import PICTURES, PictureFiles
from edgehone.errors import EdgehoneError


def noise(channels: int = 3, dtype: type = np.uint8) -> NDArray[Any]:
    shape = (20, 31) if channels == 1 else (20, 31, channels)
    return np.random.default_rng(channels).integers(0, np.iinfo(dtype).max, shape, dtype)


def encoded(suffix: str, image: NDArray[Any], *parameters: int) -> bytes:
    done, content = cv2.imencode(suffix, image, list(parameters))
    assert done
    return content.tobytes()


def exif(orientation: int) -> bytes:
    return b"II" + struct.pack("<HIHHHIII", 42, 8, 1, 0x112, 3, 1, orientation, 0)


def turned(suffix: str, orientation: int) -> bytes:
    """A file that says how it is to be turned: an Exif block in JPEG and PNG, a tag of its own in TIFF."""
    if suffix == ".jpg":
        content, block = encoded(suffix, noise()), b"Exif\0\0" + exif(orientation)
        return content[:2] + struct.pack(">HH", 0xFFE1, len(block) + 2) + block + content[2:]
    if suffix == ".png":
        content, chunk = encoded(suffix, noise()), b"eXIf" + exif(orientation)
        written = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return content[:-12] + written + content[-12:]
    changed = bytearray(encoded(suffix, noise(), cv2.IMWRITE_TIFF_COMPRESSION, 1))
    (start,) = struct.unpack("<I", changed[4:8])
    place = next(p for p in range(start + 2, len(changed), 12) if changed[p : p + 2] == struct.pack("<H", 284))
    changed[place : place + 12] = struct.pack(
        "<HHII", 274, 3, 1, orientation
    )  # in the place of a tag that says nothing
    return bytes(changed)


FILES = {
    **{f"orientation {o}{suffix}": turned(suffix, o) for suffix in (".jpg", ".png", ".tif") for o in range(1, 9)},
    **{f"gray{suffix}": encoded(suffix, noise(1)) for suffix in PICTURES},
    **{f"alpha{suffix}": encoded(suffix, noise(4)) for suffix in (".png", ".bmp", ".webp", ".tif")},
    **{
        f"16 bits, {channels} channels{suffix}": encoded(suffix, noise(channels, np.uint16))
        for suffix in (".png", ".tif")
        for channels in (1, 3, 4)
    },
    "cmyk.jpg": (Path(__file__).parents[1] / "conformance" / "pictures" / "cmyk.jpg").read_bytes(),
}


def device_picture(path: Path) -> Any:
    source: Any = PictureFiles([str(path)])
    frames = list(source.frames(threading.Event()))
    assert source.unreadable == 1 - len(frames)
    return frames[0].image[..., ::-1] if frames else None


@pytest.mark.parametrize("name", FILES)
def test_the_pixels_of_a_file_are_those_of_training(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    wanted = read_image(path)
    assert wanted.shape == ((31, 20, 3) if name[:13] in {f"orientation {o}" for o in range(5, 9)} else wanted.shape)
    np.testing.assert_array_equal(device_picture(path), wanted)


REFUSED = {"empty": b"", "text": b"no picture", "cut": encoded(".jpg", np.tile(noise(), (3, 2, 1)))[:2500]}


@pytest.mark.parametrize("name", REFUSED)
def test_what_training_refuses_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(REFUSED[name])
    with pytest.raises(EdgehoneError):
        read_image(path)
    assert device_picture(path) is None
