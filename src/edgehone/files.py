"""Writing files so that nobody ever sees a half-written one."""

from __future__ import annotations

import json
import os
from pathlib import Path

from edgehone.types import Json


def write_bytes(path: Path, content: bytes) -> None:
    """Write beside ``path``, flush to disk, then rename over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def write_text(path: Path, content: str) -> None:
    """:func:`write_bytes` for UTF-8 text."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Json) -> None:
    """:func:`write_text` for JSON: indented, keys in given order, no NaN or infinity."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Json:
    """The content of a UTF-8 JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
