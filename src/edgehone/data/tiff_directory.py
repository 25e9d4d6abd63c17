"""Bounded reading of bytes, and of the tag directories that TIFF files and Exif blocks share (TIFF 6.0, BigTIFF)."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

FIRST_BLOCK, BLOCK = 4096, 512
MAX_ENTRIES = 1 << 16
"""Tags of a directory, and values of a tag, that are read."""

ORIENTATION, STRIPS, STRIP_BYTES, TILES, TILE_BYTES = 274, 273, 279, 324, 325
FORMATS = {1: "B", 3: "H", 4: "I", 16: "Q"}
"""Struct codes of the unsigned types; others count as absent."""


class ByteReader:
    """The bytes of an open file, read in small blocks where they are asked for."""

    def __init__(self, file: BinaryIO | io.FileIO) -> None:
        self.file = file
        self.size = file.seek(0, io.SEEK_END)
        self._start = 0
        file.seek(0)
        self._block = file.read(FIRST_BLOCK) or b""

    def at(self, offset: int, count: int) -> bytes:
        """``count`` bytes from ``offset``; fewer, or none, past the end of the file."""
        start = offset - self._start
        if start < 0 or start + count > len(self._block):
            if offset >= self.size:
                return b""
            self.file.seek(offset)
            self._start, start = offset, 0
            self._block = self.file.read(max(count, BLOCK)) or b""
        return self._block[start : start + count]


class TiffDirectory:
    """The first directory of a TIFF file.

    Attributes:
        following: where the next directory is said to be; 0 for the last one.
        orientation_at: where the orientation's value is stored; 0 where there is none.

    Raises:
        struct.error: the file ends before the directory does.
    """

    def __init__(self, data: ByteReader) -> None:
        start = data.at(0, 16)
        self.data, self.order, big = data, "<" if start[:1] == b"I" else ">", b"+" in start[2:4]
        offset: int = self._unpack("Q", start[8:16]) if big else self._unpack("I", start[4:8])
        count_code, entry_bytes = ("Q", 20) if big else ("H", 12)
        counted: int = self._unpack(count_code, data.at(offset, struct.calcsize("<" + count_code)))
        offset += struct.calcsize("<" + count_code)
        count = min(counted, MAX_ENTRIES)
        table = data.at(offset, count * entry_bytes)
        if len(table) < count * entry_bytes:
            raise struct.error("the directory is cut short")
        layout = struct.Struct(self.order + ("HHQ8s" if big else "HHI4s"))
        value_at = offset + (12 if big else 8)
        self._entries = {
            tag: (code, number, value, value_at + place * entry_bytes)
            for place, (tag, code, number, value) in enumerate(layout.iter_unpack(table))
        }
        following = data.at(offset + counted * entry_bytes, 8 if big else 4)
        self.following = int.from_bytes(following, "little" if self.order == "<" else "big")
        self.orientation_at = self._entries.get(ORIENTATION, (0, 0, b"", 0))[3]

    def _unpack(self, code: str, content: bytes) -> int:
        return struct.unpack(self.order + code, content)[0]

    def numbers(self, tag: int) -> tuple[int, ...]:
        """The first values of a tag of unsigned whole numbers; none where there is no such tag."""
        code, count, value, _ = self._entries.get(tag, (0, 0, b"", 0))
        if code not in FORMATS:
            return ()
        count = min(count, MAX_ENTRIES)
        form = f"{self.order}{count}{FORMATS[code]}"
        length = struct.calcsize(form)
        content = value if length <= len(value) else self.data.at(self._unpack("IQ"[len(value) // 8], value), length)
        return struct.unpack(form, content[:length]) if len(content) >= length else ()

    def number(self, tag: int) -> int:
        """The first value of a tag; 0 where there is none."""
        return next(iter(self.numbers(tag)), 0)

    @property
    def orientation(self) -> int:
        """Exif's 1..8; 1 where nothing or nonsense is said."""
        value = self.number(ORIENTATION)
        return value if 1 <= value <= 8 else 1

    def last_pixel_byte(self) -> int:
        """Where the last strip or tile ends."""
        starts = self.numbers(STRIPS) + self.numbers(TILES)
        lengths = self.numbers(STRIP_BYTES) + self.numbers(TILE_BYTES)
        return max((start + length for start, length in zip(starts, lengths, strict=False)), default=0)


def exif_orientation(block: bytes) -> int:
    """The orientation that an Exif block states, with or without its ``Exif`` prefix; 1 where it states none."""
    block = block.removeprefix(b"Exif\0\0")
    if not block.startswith((b"II*\0", b"MM\0*")):
        return 1
    try:
        return TiffDirectory(ByteReader(io.BytesIO(block))).orientation
    except struct.error:
        return 1
