"""Headers against OpenCV's decoder, orientation against Exif's own words, and bytes that mean harm."""

from __future__ import annotations

import io
import itertools
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.data import picture
from edgehone.data.picture import MAX_PIXELS, read_image
from edgehone.data.picture_header import header_of, read_header
from edgehone.errors import EdgehoneError

SIZES = ((1, 1), (1, 7), (8, 8), (17, 3), (33, 64), (100, 41), (2, 300))
KINDS = {".jpg": "jpeg", ".png": "png", ".bmp": "bmp", ".webp": "webp", ".tif": "tiff", ".gif": "gif"}


def noise(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(height * 1000 + width).integers(0, np.iinfo(dtype).max, shape, dtype)


def encoded(suffix: str, image: np.ndarray, *parameters: int) -> bytes:
    done, content = cv2.imencode(suffix, image, list(parameters))
    assert done
    return content.tobytes()


def header(content: bytes):
    return header_of(io.BytesIO(content))


def decode(content: bytes) -> np.ndarray:
    return picture.decode(content, header(content))


def exif(orientation: int, order: str = "<", code: str = "H") -> bytes:
    """A block with another tag before and after the orientation."""
    value = struct.pack(order + code, orientation).ljust(4, b"\0")
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    entries = struct.pack(order + "HHI4s", 0x100, 3, 1, b"\1\0\0\0")
    entries += struct.pack(order + "HHI4s", 0x112, 3 if code == "H" else 4, 1, value)
    entries += struct.pack(order + "HHI4s", 0x128, 3, 1, b"\2\0\0\0")
    return start + struct.pack(order + "H", 3) + entries + bytes(4)


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def riff_chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def oriented(suffix: str, image: np.ndarray, block: bytes) -> bytes:
    """A file that stores ``image`` and the Exif block."""
    if suffix == ".jpg":
        content = encoded(suffix, image, cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111)
        return content[:2] + jpeg_segment(0xE1, b"Exif\0\0" + block) + content[2:]
    if suffix == ".png":
        content = encoded(suffix, image)
        return content[:-12] + png_chunk(b"eXIf", block) + content[-12:]
    if suffix == ".webp":
        plain = encoded(suffix, image, cv2.IMWRITE_WEBP_QUALITY, 101)
        height, width = image.shape[:2]
        canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        body = b"WEBP" + riff_chunk(b"VP8X", bytes([8, 0, 0, 0]) + canvas) + plain[12:] + riff_chunk(b"EXIF", block)
        return riff_chunk(b"RIFF", body)
    content = bytearray(encoded(suffix, image, cv2.IMWRITE_TIFF_COMPRESSION, 1))
    (start,) = struct.unpack("<I", content[4:8])
    (count,) = struct.unpack("<H", content[start : start + 2])
    for place in range(start + 2, start + 2 + 12 * count, 12):
        if content[place : place + 2] == struct.pack("<H", 284):  # the layout of planes, whose default is what it says
            content[place : place + 12] = struct.pack("<HHII", 274, 3, 1, header_of(io.BytesIO(block)).orientation)
    return bytes(content)


def turned(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Exif's own words: which sides of the picture the stored first row and first column are."""
    row, column = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    seen = stored if row in ("top", "bottom") else stored.swapaxes(0, 1)
    vertical, horizontal = (row, column) if row in ("top", "bottom") else (column, row)
    seen = seen[::-1] if vertical == "bottom" else seen
    return seen[:, ::-1] if horizontal == "right" else seen


@pytest.mark.parametrize("suffix", KINDS)
def test_sizes_are_those_that_opencv_decodes(suffix: str, tmp_path: Path) -> None:
    for (height, width), channels in itertools.product(SIZES, (1, 3, 4)):
        path = tmp_path / f"{height}x{width}x{channels}{suffix}"
        if not cv2.imwrite(str(path), noise(height, width, channels)):
            assert suffix == ".gif"  # writes no gray in some versions
            continue
        decoded = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if decoded is None:
            pytest.skip(f"OpenCV {cv2.__version__} does not read {suffix}")
        found = read_header(path)
        assert (found.kind, found.size, found.bytes) == (KINDS[suffix], decoded.shape[:2], path.stat().st_size)
        assert not found.truncated
        assert found.frames == 1
        assert found.orientation == 1
        if suffix not in (".gif", ".webp"):
            stored = 1 if decoded.ndim == 2 else decoded.shape[2]
            assert found.channels == stored, (suffix, channels)
            assert found.colour == ("gray" if stored == 1 else "rgb")
            assert found.alpha == (stored == 4)
        image = read_image(path)
        reference = cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert reference is not None
        assert (image == reference[..., ::-1]).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_become_eight_by_the_full_range(suffix: str) -> None:
    stored = np.linspace(0, 65535, 40 * 30).astype(np.uint16).reshape(40, 30)
    for image in (stored, np.dstack([stored] * 3), np.dstack([stored] * 4)):
        content = encoded(suffix, image)
        assert header(content).bits == 16
        seen = decode(content)
        assert seen.shape == (40, 30, 3)
        assert seen.dtype == np.uint8
        assert np.abs(seen - stored[..., None] / 257).max() <= 1
        assert (seen.min(), seen.max()) == (0, 255)


@pytest.mark.parametrize("quality", [1, 50, 100])
@pytest.mark.parametrize("progressive", [0, 1])
def test_jpeg_variants(quality: int, progressive: int) -> None:
    options = (cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    content = encoded(".jpg", noise(70, 33), *options, cv2.IMWRITE_JPEG_RST_INTERVAL, 3)
    assert header(content).size == (70, 33)
    for cut in range(2, len(content), max(1, len(content) // 60)):
        try:
            assert header(content[:cut]).truncated
        except EdgehoneError:
            assert cut < 700
    padded = content + b"\0" * 3000 + b"a film" * 1000
    assert not header(padded).truncated
    assert (decode(padded) == decode(content)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_orientation_is_applied_once(suffix: str, orientation: int, tmp_path: Path) -> None:
    stored = cv2.resize(noise(3, 4), (40, 24), interpolation=cv2.INTER_NEAREST)
    for dtype in (np.uint8, np.uint16) if suffix in (".png", ".tif") else (np.uint8,):
        path = tmp_path / f"picture{suffix}"
        scaled = stored.astype(dtype) * (257 if dtype == np.uint16 else 1)
        block = tiny_tiff(orientation) if suffix == ".tif" else exif(orientation, "<>"[orientation % 2])
        path.write_bytes(oriented(suffix, scaled, block))
        assert read_header(path).orientation == orientation
        expected = turned(stored[..., ::-1], orientation)
        assert read_header(path).size == expected.shape[:2]
        seen = read_image(path)
        assert seen.shape == expected.shape
        assert seen.flags.c_contiguous
        assert np.abs(seen.astype(int) - expected).max() <= (12 if suffix == ".jpg" else 0)


def tiny_tiff(orientation: int) -> bytes:
    """An Exif block that is a whole TIFF header: with a width and a height."""
    entries = b"".join(
        struct.pack("<HHII", tag, 3, 1, value) for tag, value in ((256, 1), (257, 1), (274, orientation))
    )
    return b"II*\0" + struct.pack("<IH", 8, 3) + entries + bytes(4)


def test_jpeg_orientation_is_the_one_that_opencv_applies(tmp_path: Path) -> None:
    for orientation, order, code in itertools.product(range(1, 9), "<>", "H"):
        path = tmp_path / "picture.jpg"
        path.write_bytes(oriented(".jpg", noise(20, 31), exif(orientation, order, code)))
        reference = cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert reference is not None
        assert (read_image(path) == reference[..., ::-1]).all()


@pytest.mark.parametrize("value", [0, 9, 77])
def test_an_orientation_that_is_none_is_left(value: int) -> None:
    assert header(oriented(".jpg", noise(5, 9), exif(value))).orientation == 1


def test_only_the_first_exif_block_counts() -> None:
    content = oriented(".jpg", noise(5, 9), exif(6))
    second = content[:2] + jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>") + content[2:]
    assert header(second).orientation == 6
    assert header(content[:2] + jpeg_segment(0xE1, b"Exif\0\0" + exif(3)) + content[2:]).orientation == 3


def cmyk_jpeg(planes: list[int]) -> bytes:
    """Four gray pictures as the four components of one, each in a scan of its own."""
    singles = [encoded(".jpg", np.full((16, 24), plane, np.uint8)) for plane in planes]
    start = singles[0].index(b"\xff\xc0")
    tables = singles[0].index(b"\xff\xc4")
    scan = singles[0].index(b"\xff\xda")
    components = b"".join(bytes([number, 0x11, 0]) for number in range(1, 5))
    content = singles[0][:start] + jpeg_segment(0xEE, b"Adobe" + bytes([0, 100, 0, 0, 0, 0, 0]))
    content += jpeg_segment(0xC0, struct.pack(">BHHB", 8, 16, 24, 4) + components) + singles[0][tables:scan]
    for number, single in enumerate(singles, start=1):
        assert single[tables:scan] == singles[0][tables:scan]
        content += jpeg_segment(0xDA, bytes([1, number, 0, 0, 63, 0])) + single[scan + 10 : -2]
    return content + b"\xff\xd9"


def test_cmyk_becomes_rgb() -> None:
    content = cmyk_jpeg([200, 100, 50, 128])
    assert (header(content).colour, header(content).channels, header(content).size) == ("cmyk", 4, (16, 24))
    assert not header(content).truncated
    # Adobe stores the ink's absence: each colour's light times the black's.
    expected = np.array([200, 100, 50]) * 128 / 255
    assert np.abs(decode(content).reshape(-1, 3) - expected).max() <= 2


def test_ycck_is_told_from_cmyk() -> None:
    content = cmyk_jpeg([200, 100, 50, 128])
    place = content.index(b"Adobe") + 11
    assert header(content[:place] + b"\2" + content[place + 1 :]).colour == "ycck"


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif"])
def test_animations_give_their_first_picture(suffix: str, tmp_path: Path) -> None:
    if not hasattr(cv2, "Animation"):
        pytest.skip(f"OpenCV {cv2.__version__} writes no animation")
    path, frames = tmp_path / f"film{suffix}", [np.full((30, 50, 3), gray, np.uint8) for gray in (40, 200, 90)]
    film = cv2.Animation()
    film.frames, film.durations = frames, [100] * 3
    assert cv2.imwriteanimation(str(path), film)
    found = read_header(path)
    assert found.size == (30, 50)
    assert not found.truncated
    assert found.frames == (2 if suffix == ".gif" else 3)
    assert abs(read_image(path).mean() - 40) < 20  # GIF has 256 colours and dithers
    assert header(path.read_bytes()[:-40]).truncated


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".gif"])
def test_cut_files_are_known_by_their_header(suffix: str) -> None:
    content = encoded(suffix, noise(60, 80))
    assert not header(content).truncated
    assert not header(content + b"\0\n").truncated
    for cut in range(1200, len(content) - 12, max(1, len(content) // 50)):
        assert header(content[:cut]).truncated, cut


def test_a_cut_tiff_is_known_by_its_strips() -> None:
    content = oriented(".tif", noise(20, 30), tiny_tiff(1))
    place = struct.unpack("<I", content[4:8])[0]
    # The directory first, as most writers do.
    moved = content[:4] + struct.pack("<I", 8) + content[place : place + 2 + 12 * 11 + 4]
    shift = len(moved) - 8
    moved = bytearray(moved + content[8:place])
    for entry in range(10, 10 + 12 * 11, 12):
        if moved[entry : entry + 2] == struct.pack("<H", 273):
            (offset,) = struct.unpack("<I", moved[entry + 8 : entry + 12])
            count = struct.unpack("<I", moved[entry + 4 : entry + 8])[0]
            assert count == 1
            moved[entry + 8 : entry + 12] = struct.pack("<I", offset + shift)
    assert not header(bytes(moved)).truncated
    assert header(bytes(moved[:-5])).truncated


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    start = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    path.write_bytes(start + png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b""))
    assert read_header(path).size == (60_000, 60_000)
    with pytest.raises(EdgehoneError, match=rf"bomb.png: .*at most {MAX_PIXELS:,} pixels.*60,000 x 60,000"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b"\0\0\0\x1cftypheic", "HEIC"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"<!doctype html>", "web page"),
        (b"hello, world", "68 65 6c 6c"),
        (b"\xff\xd8\xff", "size before its pixels"),
        (b"\x89PNG\r\n\x1a\n", "within its header"),
        (encoded(".jpg", noise(9, 9))[:-30].replace(b"\0\x09\0\x09", b"\0\0\0\x09"), "claims 9 x 0"),
        (encoded(".png", noise(9, 9))[:60], "cut short"),
    ],
)
def test_what_is_no_picture_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "thing.jpg"
    path.write_bytes(content)
    with pytest.raises(EdgehoneError, match=words) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.jpg", tmp_path, tmp_path / "a\0b.jpg"):
        with pytest.raises(EdgehoneError):
            read_image(path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
        with pytest.raises(EdgehoneError, match="regular file"):
            read_header(tmp_path / "pipe.jpg")


SEEDS = [encoded(suffix, noise(23, 18)) for suffix in KINDS] + [
    *(oriented(suffix, noise(23, 18), exif(6)) for suffix in (".jpg", ".png", ".webp")),
    oriented(".tif", noise(23, 18), tiny_tiff(6)),
    cmyk_jpeg([1, 2, 3, 4]),
]


@given(st.data())
@settings(max_examples=1500, deadline=None)
def test_mutated_files_give_a_header_or_an_error_for_people(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    place = st.one_of(st.integers(0, min(400, len(content) - 1)), st.integers(0, len(content) - 1))
    for at in data.draw(st.lists(place, max_size=6)):
        content[at] = data.draw(st.one_of(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]), st.integers(0, 255)))
    content = bytes(content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])
    try:
        found = header(content)
    except EdgehoneError:
        return
    assert min(found.size) > 0
    assert 1 <= found.orientation <= 8
    assert found.frames >= 1
    if found.size[0] * found.size[1] > 10_000:
        return
    try:
        assert decode(content).shape == (*found.size, 3)
    except EdgehoneError:
        return


@given(st.binary(max_size=600), st.sampled_from([content[:14] for content in SEEDS]))
@settings(max_examples=500, deadline=None)
def test_noise_behind_a_signature_gives_a_header_or_an_error_for_people(content: bytes, start: bytes) -> None:
    try:
        assert min(header(start + content).size) > 0
    except EdgehoneError:
        return


def test_a_file_of_nothing_but_steps_is_refused_in_time() -> None:
    for content in (
        b"\xff\xd8" + b"\xff\x01" * 300_000,
        SEEDS[1][:33] + png_chunk(b"teXt", b"") * 300_000,
        SEEDS[5][:13] + b"\x21\xfe\0" * 900_000,
    ):
        with pytest.raises(EdgehoneError, match="at most"):
            header(content)
