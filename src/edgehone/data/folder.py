"""The files below a data set's folder, listed once, as paths relative to it with forward slashes."""

from __future__ import annotations

import functools
import os
import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path

from edgehone.data.checks import Findings
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

UNSUPPORTED = (".heic", ".heif", ".avif", ".jp2", ".psd", ".svg", ".raw", ".cr2", ".nef", ".dng")
"""Pictures that people have and that are not read."""


class Folder:
    """A folder's files, without hidden ones. Links to folders are followed, but never in a circle.

    Attributes:
        root: the folder.
        files: relative paths, in a fixed order.
        pictures: those that are taken for pictures.
    """

    def __init__(self, root: Path, findings: Findings | None = None) -> None:
        if not root.is_dir():
            raise UsageError(f"there is no folder {root}")
        self.root = root
        self.files = list(_walk(root, findings or Findings()))
        self.pictures = [path for path in self.files if suffix(path) in SUFFIXES]

    def with_suffix(self, *suffixes: str) -> list[str]:
        """Files with one of these suffixes (lower case)."""
        return [path for path in self.files if suffix(path) in suffixes]

    def absolute(self, path: str) -> Path:
        """Where a file of the folder is."""
        return self.root / path

    def relative(self, path: Path) -> str:
        """A path as seen from the folder, with forward slashes."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def picture_of(self, label: str, name: str = "") -> str | None:
        """The picture that a label file belongs to: of the same stem, or of the name that it gives.

        Among several, the one nearest to the label file.
        """
        given = posixpath.basename(name.replace("\\", "/"))
        candidates = (
            self._by_stem.get(stem(label))
            or self._by_name.get(given)
            or (self._by_stem.get(stem(given)) if given else None)
            or []
        )
        return min(candidates, key=lambda p: (_distance(p, label), p)) if candidates else None

    def picture_named(self, name: str) -> str | None:
        """The picture with this path, else the one whose path ends so, else the only one with this file name."""
        wanted = posixpath.normpath(name.replace("\\", "/"))
        same = self._by_name.get(posixpath.basename(wanted), [])
        if wanted in same:
            return wanted
        ending = "/" + wanted.lstrip("./")
        found = [path for path in same if f"/{path}".endswith(ending)] or same
        return found[0] if len(found) == 1 else None

    def picture_in_other_case(self, name: str) -> str | None:
        """The only picture whose file name differs from this one's only in case."""
        found = self._by_folded_name.get(posixpath.basename(name.replace("\\", "/")).casefold(), [])
        return found[0] if len(found) == 1 else None

    def escapes(self, name: str, beside: str = "") -> bool:
        """Whether a path that a label file gives, read from the root and from beside it, leaves the folder."""
        path = name.replace("\\", "/")
        if posixpath.isabs(path) or path[1:3] == ":/":
            return True
        places = (posixpath.normpath(path), posixpath.normpath(posixpath.join(beside, path)))
        return all(place == ".." or place.startswith("../") for place in places)

    @functools.cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return _index(self.pictures, posixpath.basename)

    @functools.cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return _index(self.pictures, stem)

    @functools.cached_property
    def _by_folded_name(self) -> dict[str, list[str]]:
        return _index(self.pictures, lambda p: posixpath.basename(p).casefold())


def suffix(path: str) -> str:
    """``.jpg`` of ``a/b.JPG``."""
    return posixpath.splitext(path)[1].lower()


def stem(path: str) -> str:
    """``b`` of ``a/b.JPG``."""
    return posixpath.splitext(posixpath.basename(path))[0]


def split_of(path: str) -> str | None:
    """The split that the nearest folder on the way to the file is named after."""
    for part in reversed(posixpath.dirname(path).split("/")):
        if part.lower() in SPLIT_NAMES:
            return SPLIT_NAMES[part.lower()]
    return None


def _walk(root: Path, findings: Findings) -> Iterator[str]:
    """Depth first, files before folders; each real folder at most once on any way down."""
    pending: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(root),))]
    while pending:
        place, above = pending.pop()
        entries = sorted(os.scandir(root / place), key=lambda entry: entry.name)
        inside: list[tuple[str, tuple[str, ...]]] = []
        for entry in entries:
            path = f"{place}/{entry.name}" if place else entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                real = os.path.realpath(entry.path) if entry.is_symlink() else f"{above[-1]}/{entry.name}"
                if real in above:
                    findings.add("symlink-loop", path, f"leads back to {real}")
                else:
                    inside.append((path, (*above, real)))
            elif entry.is_file():
                yield path
            elif entry.is_symlink():
                findings.add("symlink-broken", path, f"leads to {os.readlink(entry.path)}, which is not there")
        pending += reversed(inside)


def _index(paths: list[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(key(path), []).append(path)
    return found


def _distance(a: str, b: str) -> int:
    """Steps between two files' folders."""
    first, second = posixpath.dirname(a).split("/"), posixpath.dirname(b).split("/")
    common = 0
    for x, y in zip(first, second, strict=False):
        if x != y:
            break
        common += 1
    return len(first) + len(second) - 2 * common
