"""The files below a data set's folder, listed once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edgehone.data.picture import SUFFIXES
from edgehone.errors import UsageError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Folder and file names that stand for a split."""


class Folder:
    """A folder's files, without hidden ones; symbolic links to folders are not followed."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UsageError(f"there is no folder {root}")
        self.root = root
        self.files: list[Path] = []
        for parent, folders, names in os.walk(root):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            self.files += [Path(parent) / name for name in sorted(names) if not name.startswith(".")]
        self.pictures = [path for path in self.files if path.suffix.lower() in SUFFIXES]
        self._by_name = _index(self.pictures, lambda p: p.name)
        self._by_stem = _index(self.pictures, lambda p: p.stem)

    def with_suffix(self, suffix: str) -> list[Path]:
        """Files with this suffix (lower case)."""
        return [path for path in self.files if path.suffix.lower() == suffix]

    def relative(self, path: Path) -> str:
        """The path as seen from the folder, with forward slashes."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def picture(self, label: Path, name: str = "") -> Path | None:
        """The picture that a label file belongs to: of the same stem, or of the name that it gives.

        Among several, the one nearest to the label file.
        """
        candidates = self._by_stem.get(label.stem) or self._by_name.get(Path(name).name) or []
        if not candidates:
            candidates = self._by_stem.get(Path(name).stem, []) if name else []
        return min(candidates, key=lambda p: _distance(p, label)) if candidates else None

    def picture_named(self, name: str) -> Path | None:
        """The picture with this relative path, else the only one with this file name."""
        direct = self.root / name
        same = self._by_name.get(direct.name, [])
        if direct in same:
            return direct
        ending = "/" + name.replace("\\", "/").lstrip("./")
        found = [path for path in same if path.as_posix().endswith(ending)] or same
        return found[0] if len(found) == 1 else None

    def split_of(self, path: Path) -> str | None:
        """The split that the nearest folder on the way to the file is named after."""
        for part in reversed(Path(self.relative(path)).parent.parts):
            if part.lower() in SPLIT_NAMES:
                return SPLIT_NAMES[part.lower()]
        return None


def _index(paths: list[Path], key: Callable[[Path], str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(key(path), []).append(path)
    return found


def _distance(a: Path, b: Path) -> int:
    """Steps between two files' folders."""
    common = len(os.path.commonpath([a, b]).split(os.sep))
    return len(a.parts) + len(b.parts) - 2 * common
