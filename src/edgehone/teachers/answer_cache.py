"""Detections on disk, by the content of the picture that they are about."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from edgehone.files import write_bytes
from edgehone.types import Detections

_HEAD = struct.Struct("<8s2I")
_MAGIC = b"edgehone"


class AnswerCache:
    """Detections by the content of a picture, one small file each; processes may share a folder.

    Entries are written beside and renamed, and checked by a checksum: one that is damaged is not found, and written
    anew. Where nothing can be written a teacher is asked every time; :attr:`write_error` then says why.

    Args:
        folder: of one teacher's entries.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write_error = ""

    def load(self, digest: str) -> Detections | None:
        """The entry of a picture, if there is a sound one."""
        try:
            return _unpacked(self._place(digest).read_bytes())
        except OSError:
            return None

    def store(self, digest: str, said: Detections) -> None:
        """Keep what was said of a picture."""
        try:
            write_bytes(self._place(digest), _packed(said))
        except OSError as error:
            self.write_error = f"{self.folder}: {error.strerror}"

    def _place(self, digest: str) -> Path:
        return self.folder / digest[:2] / f"{digest}.answers"


def _packed(said: Detections) -> bytes:
    arrays = (said.boxes_xyxy.astype("<f4"), said.scores.astype("<f4"), said.classes.astype("<i8"))
    content = b"".join(array.tobytes() for array in arrays)
    return _HEAD.pack(_MAGIC, len(said), zlib.crc32(content)) + content


def _unpacked(entry: bytes) -> Detections | None:
    """Detections of an entry's bytes; nothing if they are not whole."""
    if len(entry) < _HEAD.size:
        return None
    magic, count, checksum = _HEAD.unpack_from(entry)
    content = entry[_HEAD.size :]
    if magic != _MAGIC or len(content) != 28 * count or zlib.crc32(content) != checksum:
        return None
    boxes = np.frombuffer(content, "<f4", 4 * count).reshape(count, 4)
    scores = np.frombuffer(content, "<f4", count, 16 * count)
    classes = np.frombuffer(content, "<i8", count, 20 * count)
    return Detections(boxes.astype(np.float32), scores.astype(np.float32), classes.astype(np.int64))
