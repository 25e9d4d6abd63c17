"""Decoded, shrunk pictures on disk, shared by the processes of this user."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgehone.data.picture import FileImage, Image, ImageSource, decode, read_content, shrink_image
from edgehone.data.picture_header import PictureHeader, opened
from edgehone.types import Size

FORMAT = 1
"""Raised when what an entry holds, or how pictures are decoded or shrunk, changes: older entries are then not found."""

LIMIT_BYTES = 8 << 30
"""Of a cache, where no other limit is given."""

SCANS_PER_LIMIT = 16
"""After a share of the limit that a process has written itself it counts again what others have written."""

KEEP = 0.9
"""Share of the limit that is left after least recently used entries have been removed."""

ABANDONED_SECONDS = 3600
"""Age of a half-written file after which its writer is taken for dead."""

SETTLED_NS = 2_000_000_000
"""Time after its last change from which a file's time stamps tell any further change."""

_HEAD = struct.Struct("<8s5I")
_MAGIC = b"edgehone"
_NAME = re.compile(r"[0-9a-f]{32}-\d+-\d+\.rgb(\w*\.tmp)?")

Signature = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file of the cache."""

    path: str
    bytes: int
    used_ns: int


def default_folder() -> Path:
    """``decoded`` in ``$EDGEHONE_CACHE``, else in ``edgehone`` in the user's cache folder (XDG)."""
    own = os.environ.get("EDGEHONE_CACHE")
    if own:
        return Path(own) / "decoded"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgehone" / "decoded"


class DecodedCache:
    """Pictures shrunk to a longest side, kept by the content of their files.

    A file that changes has other content, so an entry is never out of date. Entries are written beside and renamed:
    a reader sees a whole one or none, and one that is damaged is removed and made anew. Where nothing can be written
    (no permission, disk full) pictures are decoded every time; :attr:`write_error` then says why.

    Args:
        folder: of the entries; :func:`default_folder` where not given.
        limit_bytes: kept at most. The least recently used go first. While several processes write, each may go
            beyond by a :data:`SCANS_PER_LIMIT`-th of the limit before it sees what the others wrote.
    """

    def __init__(self, folder: Path | None = None, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = folder or default_folder()
        self.limit_bytes = limit_bytes
        self.write_error = ""
        self._digests: dict[Path, tuple[Signature, str]] = {}
        self._total: int | None = None
        self._unseen = 0

    def read(self, source: ImageSource, longest_side: int) -> tuple[Image, Size]:
        """The picture with its longest side at most ``longest_side``, and its ``(height, width)`` before.

        A source that is no file makes its pixels every time.

        Raises:
            EdgehoneError: the picture cannot be read.
        """
        if not isinstance(source, FileImage):
            image = source.read()
            return shrink_image(image, longest_side), _size(image)
        known = self._known_digest(source.path)
        found = self._load(self._place(known, longest_side)) if known else None
        if found:
            return found
        with opened(source.path) as file:
            signature = _signature(os.fstat(file.fileno()))
            content, header = read_content(file)
            digest = hashlib.blake2b(content, digest_size=16).hexdigest()
            if time.time_ns() - max(signature[1:3]) > SETTLED_NS:
                self._digests[source.path] = signature, digest
            place = self._place(digest, longest_side)
            return (None if digest == known else self._load(place)) or self._make(place, content, header, longest_side)

    def _known_digest(self, path: Path) -> str:
        """The digest of a file that has not changed since it was taken; else empty."""
        signature, digest = self._digests.get(path, ((0, 0, 0, 0), ""))
        try:
            return digest if digest and _signature(path.stat()) == signature else ""
        except OSError:
            return ""

    def _place(self, digest: str, longest_side: int) -> Path:
        return self.folder / digest[:2] / f"{digest}-{longest_side}-{FORMAT}.rgb"

    def _load(self, place: Path) -> tuple[Image, Size] | None:
        """An entry, if there is a sound one."""
        try:
            with place.open("rb", buffering=0) as file:
                content = np.empty(os.fstat(file.fileno()).st_size, np.uint8)
                complete = file.readinto(content.data) == len(content)
            found = _unpacked(content) if complete else None
            if found is None:
                place.unlink(missing_ok=True)
            else:
                os.utime(place)
        except OSError:
            return None
        return found

    def _make(self, place: Path, content: bytes, header: PictureHeader, longest_side: int) -> tuple[Image, Size]:
        image = decode(content, header)
        size, small = _size(image), shrink_image(image, longest_side)
        pixels = np.ascontiguousarray(small).data
        head = _HEAD.pack(_MAGIC, *small.shape[:2], *size, zlib.crc32(pixels))
        try:
            self._store(place, head, pixels)
        except OSError as error:
            self.write_error = f"{place.parent}: {error.strerror}"
        return small, size

    def _store(self, place: Path, head: bytes, pixels: memoryview) -> None:
        length = len(head) + pixels.nbytes
        if length > self.limit_bytes or not self._make_room(length):
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        # Not flushed to disk: after a power cut the checksum tells, and a cache may lose what it held.
        handle, beside = tempfile.mkstemp(".tmp", place.name, place.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(head)
                file.write(pixels)
            os.replace(beside, place)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise

    def _make_room(self, length: int) -> bool:
        """Count the bytes to come, removing the least recently used entries where they would not fit."""
        if self._total is None or self._unseen > self.limit_bytes // SCANS_PER_LIMIT:
            self._total, self._unseen = sum(entry.bytes for entry in self._entries()), 0
        if self._total + length > self.limit_bytes:
            self._total = self._shrink_to(min(int(KEEP * self.limit_bytes), self.limit_bytes - length))
        if self._total + length > self.limit_bytes:
            return False
        self._total += length
        self._unseen += length
        return True

    def _shrink_to(self, allowed: int) -> int:
        """Remove entries until at most ``allowed`` bytes are left; the bytes that are left."""
        entries = sorted(self._entries(), key=lambda entry: entry.used_ns)
        total = sum(entry.bytes for entry in entries)
        for entry in entries:
            if total <= allowed:
                break
            if not entry.path.endswith(".tmp") and _removed(entry):
                total -= entry.bytes
        return total

    def _entries(self) -> Iterator[_Entry]:
        """The cache's own files; those of writers that have died are removed instead."""
        dead = time.time_ns() - ABANDONED_SECONDS * 1_000_000_000
        for parent, _, names in os.walk(self.folder):
            for name in filter(_NAME.fullmatch, names):
                path = os.path.join(parent, name)
                try:
                    status = os.stat(path)
                except FileNotFoundError:
                    continue  # another process removed or renamed it
                entry = _Entry(path, status.st_size, status.st_mtime_ns)
                if not (name.endswith(".tmp") and entry.used_ns < dead and _removed(entry)):
                    yield entry


def _removed(entry: _Entry) -> bool:
    try:
        os.unlink(entry.path)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # in use, where the system forbids that
    return True


def _signature(status: os.stat_result) -> Signature:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _size(image: Image) -> Size:
    return image.shape[0], image.shape[1]


def _unpacked(content: Image) -> tuple[Image, Size] | None:
    """Picture and original size of an entry's bytes; nothing if they are not whole."""
    if len(content) < _HEAD.size:
        return None
    magic, rows, columns, height, width, checksum = _HEAD.unpack_from(content.data)
    pixels = content[_HEAD.size :]
    if magic != _MAGIC or len(pixels) != rows * columns * 3 or zlib.crc32(pixels.data) != checksum:
        return None
    return pixels.reshape(rows, columns, 3), (height, width)
