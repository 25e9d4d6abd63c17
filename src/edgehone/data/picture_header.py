"""What a picture file says about itself, read from the few bytes that say it; no pixel is decoded.

Formats: ITU-T T.81 (JPEG), Exif 2.3 (orientation), PNG third edition, RFC 9649 (WebP), TIFF 6.0, GIF89a and Microsoft's
bitmap headers. The bytes come from anywhere, so every read and every walk is bounded.
"""

from __future__ import annotations

import io
import os
import stat
import struct
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from edgehone.data.tiff_directory import ByteReader, TiffDirectory, exif_orientation
from edgehone.errors import EdgehoneError
from edgehone.types import Size

Kind = Literal["jpeg", "png", "bmp", "webp", "tiff", "gif"]
Colour = Literal["gray", "rgb", "cmyk", "ycck", "palette"]

MAX_STEPS = 200_000
"""Segments, chunks or blocks that are walked over before a file is refused."""

MAX_TRAILER_BYTES = 1 << 24
"""How far before its end a JPEG's end marker is looked for: phones append whole films."""

FOREIGN = (
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftypavis", "an AVIF picture"),
    (4, b"ftypheic", "a HEIC picture"),
    (4, b"ftypheix", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIF picture"),
    (4, b"ftypmsf1", "a HEIF picture"),
    (4, b"ftyp", "an MP4 film or one of its relatives"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (0, b"version https://git-lfs", "a Git LFS pointer, the picture itself was not fetched"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<", "a web page or other markup"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
)
"""Offset, signature and name of things that are found under a picture's name."""


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """What a picture file says about itself.

    Attributes:
        kind: of file, by its first bytes; the name's suffix plays no part.
        stored_size: ``(height, width)`` as stored, before the orientation is applied.
        orientation: Exif's 1..8; 1 where the file says nothing or nonsense.
        bits: of one channel as stored; of the index where colours come from a palette.
        channels: stored for a pixel, alpha included; 1 for a palette.
        colour: how the channels are meant.
        alpha: whether some transparency is stored.
        frames: pictures in the file, of an animation or of several pages. Of GIF and TIFF 2 means "2 or more".
        truncated: the file ends before its picture does. Bytes after the picture do no harm.
        bytes: of the file.
        orientation_at: where a TIFF file stores the orientation; 0 for others.
    """

    kind: Kind
    stored_size: Size
    orientation: int
    bits: int
    channels: int
    colour: Colour
    alpha: bool
    frames: int
    truncated: bool
    bytes: int
    orientation_at: int = 0

    @property
    def size(self) -> Size:
        """``(height, width)`` of the picture as it is meant to be seen."""
        height, width = self.stored_size
        return (width, height) if self.orientation >= 5 else (height, width)


def read_header(path: Path | str) -> PictureHeader:
    """The header of a picture file, from a few small reads.

    Raises:
        EdgehoneError: the file cannot be read, or its first bytes are not those of a picture.
    """
    with opened(path) as file:
        return header_of(file)


@contextmanager
def opened(path: Path | str) -> Generator[io.FileIO, None, None]:
    """A picture file, open for reading; errors within come out with the file's name before them.

    Raises:
        EdgehoneError: the file cannot be read.
    """
    try:
        # Opening a named pipe would wait for a writer.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise EdgehoneError("a picture is a regular file, this is a folder or a device; remove it from the data")
        with io.FileIO(os.fspath(path)) as file:
            yield file
    except EdgehoneError as error:
        raise EdgehoneError(f"{path}: {error}") from None
    except OSError as error:
        raise EdgehoneError(
            f"{path}: the file cannot be read: {error.strerror}; correct its name or rights, or remove it"
        ) from None
    except ValueError as error:  # a null character in the name
        raise EdgehoneError(
            f"{str(path)!r}: the file cannot be read: {error}; correct its name, or remove it"
        ) from None


def header_of(file: BinaryIO | io.FileIO) -> PictureHeader:
    """The header of an open picture file.

    Raises:
        EdgehoneError: these are not the first bytes of a picture. The message does not name the file.
    """
    data = ByteReader(file)
    start = data.at(0, 32)
    try:
        header = _read(data, start)
    except (struct.error, IndexError, OverflowError):
        raise EdgehoneError(
            f"the file ends or breaks within its header ({data.size} bytes); replace it or remove it from the data"
        ) from None
    if header is None:
        raise EdgehoneError(
            "pictures are JPEG, PNG, BMP, WebP, TIFF or GIF files; this is "
            f"{_foreign(start)}; convert it to JPEG or PNG, or remove it from the data"
        )
    if min(header.stored_size) < 1:
        height, width = header.stored_size
        raise EdgehoneError(f"a picture has pixels, this one claims {width} x {height}; replace it or remove it")
    return header


def _read(data: ByteReader, start: bytes) -> PictureHeader | None:
    if start.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return _webp(data)
    if start.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return _tiff(data)
    if start.startswith((b"GIF87a", b"GIF89a")):
        return _gif(data)
    # Two letters are a weak signature; the header's own length confirms it.
    if start.startswith(b"BM") and start[14:18] in {struct.pack("<I", n) for n in (12, 16, 40, 52, 56, 64, 108, 124)}:
        return _bmp(data)
    return None


def _foreign(start: bytes) -> str:
    if not start:
        return "empty"
    for offset, signature, name in FOREIGN:
        if start[offset:].startswith(signature):
            return name
    return f"something else (it begins with the bytes {start[:8].hex(' ')})"


def _too_many(what: str) -> EdgehoneError:
    return EdgehoneError(f"a picture has at most {MAX_STEPS} {what}, this one has more; save it again or remove it")


def _jpeg(data: ByteReader) -> PictureHeader:
    frame: tuple[int, int, int, int] | None = None
    orientation, transform, scan = 0, 0, data.size
    for marker, offset, length in _segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = struct.unpack(">BHHB", data.at(offset, 6))
        elif marker == 0xE1 and not orientation and data.at(offset, 6) == b"Exif\0\0":
            orientation = exif_orientation(data.at(offset, length))
        elif marker == 0xEE and data.at(offset, 5) == b"Adobe" and length >= 12:
            transform = data.at(offset, 12)[11]
        elif marker == 0xDA:
            scan = offset + length
    if frame is None:
        raise EdgehoneError("a JPEG file says its size before its pixels, this one does not; replace it or remove it")
    bits, height, width, channels = frame
    colour: Colour = "gray" if channels == 1 else "rgb"
    if channels == 4:
        colour = "ycck" if transform == 2 else "cmyk"
    truncated = not _has_end_marker(data, scan)
    return PictureHeader(
        "jpeg", (height, width), orientation or 1, bits, channels, colour, False, 1, truncated, data.size
    )


def _segments(data: ByteReader) -> Iterator[tuple[int, int, int]]:
    """Marker, start and length of the content of each of a JPEG's segments up to its first scan."""
    offset = 2
    for _ in range(MAX_STEPS):
        start = data.at(offset, 4)
        if len(start) < 4 or start[:2] == b"\xff\xd9":
            return
        marker = start[1]
        if start[0] != 0xFF or marker == 0xFF:
            offset += 1  # fill bytes, or rubbish that decoders step over too
            continue
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            offset += 2  # markers without content
            continue
        length = max(2, start[2] << 8 | start[3])
        yield marker, offset + 4, length - 2
        if marker == 0xDA:
            return
        offset += 2 + length
    raise _too_many("segments")


def _has_end_marker(data: ByteReader, scan: int) -> bool:
    """Whether the end marker comes after the start of the scan: within pixels its two bytes never follow each other."""
    block, end = 1 << 11, data.size
    stop = max(scan, data.size - MAX_TRAILER_BYTES)
    while end > stop:
        start = max(stop, end - block)
        # One byte more, so that a marker on the border is seen.
        if b"\xff\xd9" in data.at(start, end - start + 1):
            return True
        end, block = start, 1 << 20
    return False


def _png(data: ByteReader) -> PictureHeader:
    name, width, height, bits, code = struct.unpack(">4sIIBB", data.at(12, 14))
    if name != b"IHDR" or code not in (0, 2, 3, 4, 6):
        raise EdgehoneError("a PNG file begins with a valid IHDR chunk, this one does not; save it again as plain PNG")
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[code]
    colour: Colour = "palette" if code == 3 else "rgb" if code & 2 else "gray"
    orientation, frames, alpha, truncated, offset = 1, 1, bool(code & 4), True, 33
    for _ in range(MAX_STEPS):
        start = data.at(offset, 8)
        if len(start) < 8:
            break
        length, name = struct.unpack(">I4s", start)
        if name == b"IEND":
            truncated = False
            break
        if name == b"tRNS":
            alpha = True
        elif name == b"acTL":
            frames = max(1, struct.unpack(">I", data.at(offset + 8, 4))[0])
        elif name == b"eXIf":
            orientation = exif_orientation(data.at(offset + 8, min(length, 1 << 16)))
        offset += 12 + length
    else:
        raise _too_many("chunks")
    return PictureHeader(
        "png", (height, width), orientation, bits, channels, colour, alpha, frames, truncated, data.size
    )


def _webp(data: ByteReader) -> PictureHeader:
    (riff_bytes,) = struct.unpack("<I", data.at(4, 4))
    first, body = data.at(12, 4), data.at(20, 10)
    orientation, frames = 1, 1
    if first == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", body[6:10]))
        alpha = False
    elif first == b"VP8L" and body[:1] == b"\x2f":
        (packed,) = struct.unpack("<I", body[1:5])
        width, height, alpha = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1, bool(packed >> 28 & 1)
    elif first == b"VP8X":
        width, height = (int.from_bytes(body[at : at + 3], "little") + 1 for at in (4, 7))
        alpha = bool(body[9:] and body[0] & 0x10)
        orientation, frames = _webp_chunks(data)
    else:
        raise EdgehoneError(f"a WebP file begins with VP8, VP8L or VP8X, this one with {first!r}; save it again")
    truncated = riff_bytes + 8 > data.size
    channels = 4 if alpha else 3
    return PictureHeader("webp", (height, width), orientation, 8, channels, "rgb", alpha, frames, truncated, data.size)


def _webp_chunks(data: ByteReader) -> tuple[int, int]:
    """Orientation and number of frames of an extended WebP file."""
    orientation, frames, offset = 1, 0, 30
    for _ in range(MAX_STEPS):
        start = data.at(offset, 8)
        if len(start) < 8:
            return orientation, max(1, frames)
        name, length = struct.unpack("<4sI", start)
        frames += name == b"ANMF"
        if name == b"EXIF":
            orientation = exif_orientation(data.at(offset + 8, min(length, 1 << 16)))
        offset += 8 + length + length % 2
    raise _too_many("chunks")


def _tiff(data: ByteReader) -> PictureHeader:
    directory = TiffDirectory(data)
    width, height = directory.number(256), directory.number(257)
    if not width or not height:
        raise EdgehoneError("a TIFF file says its size, this one does not or is cut short; replace it or remove it")
    colours: dict[int, Colour] = {0: "gray", 1: "gray", 3: "palette", 5: "cmyk"}
    colour, channels = colours.get(directory.number(262), "rgb"), directory.number(277) or 1
    return PictureHeader(
        kind="tiff",
        stored_size=(height, width),
        orientation=directory.orientation,
        bits=directory.number(258) or 1,
        channels=channels,
        colour=colour,
        alpha=channels > {"rgb": 3, "cmyk": 4}.get(colour, 1),
        frames=2 if directory.following else 1,
        truncated=directory.last_pixel_byte() > data.size,
        bytes=data.size,
        orientation_at=directory.orientation_at,
    )


def _bmp(data: ByteReader) -> PictureHeader:
    pixels_at, length = struct.unpack("<II", data.at(10, 8))
    compression, stored = 0, 0
    if length < 40:
        width, height, _, depth = struct.unpack("<HHHH", data.at(18, 8))
    else:
        width, height, _, depth, compression, stored = struct.unpack("<iiHHII", data.at(18, 20))
    width, height = abs(width), abs(height)  # a negative height: rows from top to bottom
    if depth not in (1, 4, 8, 16, 24, 32):
        raise EdgehoneError(f"a BMP file has 1, 4, 8, 16, 24 or 32 bits a pixel, this one says {depth}; save it again")
    if compression in (0, 3, 6):
        stored = (width * depth + 31) // 32 * 4 * height
    alpha = depth == 32 and length >= 56 and any(data.at(66, 4))
    colour: Colour = "rgb"
    if depth <= 8:
        entry = 3 if length == 12 else 4
        table = data.at(14 + length, max(0, min(entry << depth, pixels_at - 14 - length)))
        colour = "gray" if table[0::entry] == table[1::entry] == table[2::entry] else "palette"
    channels, bits = (1, depth) if depth <= 8 else (4 if alpha else 3, 5 if depth == 16 else 8)
    truncated = pixels_at + stored > data.size
    return PictureHeader("bmp", (height, width), 1, bits, channels, colour, alpha, 1, truncated, data.size)


def _gif(data: ByteReader) -> PictureHeader:
    width, height, flags = struct.unpack("<HHB", data.at(6, 5))
    offset = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    frames, alpha, whole = 0, False, False
    for _ in range(MAX_STEPS):
        start = data.at(offset, 10)
        if start[:1] == b"\x3b":
            whole = True
        if start[:1] == b"\x2c":
            frames += 1
        if whole or frames == 2 or start[:1] not in (b"\x21", b"\x2c"):
            break
        if start[0] == 0x2C:
            offset += 11 + (3 << (start[9] & 7) + 1 if start[9] & 0x80 else 0)
        else:
            alpha |= start[1] == 0xF9 and frames == 0 and bool(start[3] & 1)
            offset += 2
        offset = _after_blocks(data, offset)
    else:
        raise _too_many("blocks")
    truncated = not (whole or (frames == 2 and data.at(max(0, data.size - 64), 64).rstrip(b"\0\n\r ")[-1:] == b"\x3b"))
    bits = (flags & 7) + 1
    return PictureHeader("gif", (height, width), 1, bits, 1, "palette", alpha, max(1, frames), truncated, data.size)


def _after_blocks(data: ByteReader, offset: int) -> int:
    """Where a GIF's chain of blocks, each with its length before it, has ended."""
    for _ in range(MAX_STEPS):
        length = data.at(offset, 1)
        offset += 1 + (length[0] if length else 0)
        if not length or not length[0]:
            return offset
    raise _too_many("blocks")
