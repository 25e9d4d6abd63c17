"""Content of text, JSON and YAML files, whose shape nobody has promised, narrowed step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from edgehone.errors import EdgehoneError

LARGEST = 256 << 20
"""Bytes of a text file that is read whole."""


def mapping(content: Any) -> dict[Any, Any]:
    """The content if it is a mapping, else an empty one."""
    return cast("dict[Any, Any]", content) if isinstance(content, dict) else {}


def sequence(content: Any) -> list[Any] | None:
    """The content if it is a list, else None."""
    return cast("list[Any]", content) if isinstance(content, list) else None


def text(path: Path) -> str:
    """A text file's content; bytes that are not UTF-8 become replacement characters.

    Raises:
        EdgehoneError: the file cannot be read, or is too large to be what it should be.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise EdgehoneError(f"{path} is a text file of more than {LARGEST >> 20} MiB; is it what it should be?")
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise EdgehoneError(f"cannot read {path}: {error.strerror}; make it readable") from None


def lines(path: Path) -> tuple[list[str], bool]:
    """A text file's lines, and whether all of it is UTF-8."""
    content = text(path)
    return content.splitlines(), "\ufffd" not in content
