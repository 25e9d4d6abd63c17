"""Darknet: a ``.data`` file that names the lists of pictures and the file of class names; labels as in YOLO."""

from __future__ import annotations

from pathlib import Path

from edgehone.data.checks import Findings
from edgehone.data.dataset import RawDataset
from edgehone.data.folder import Folder
from edgehone.data.loose import lines
from edgehone.data.yolo import labelled_pictures, listed_pictures, name_list
from edgehone.errors import EdgehoneError

FORMAT = "Darknet"
LISTS = {"train": "train", "valid": "val", "val": "val", "test": "test"}


def recognise(folder: Folder) -> str | None:
    """Why this folder is Darknet's; None if it is not."""
    for path in folder.with_suffix(".data"):
        entries = _entries(folder.absolute(path))
        if "names" in entries and "train" in entries:
            return f"{path} names the lists and the classes"
    return None


def read(folder: Folder, findings: Findings, description: Path | None = None) -> RawDataset:
    """Every picture below the folder with its label file; the lists give the splits.

    Raises:
        EdgehoneError: no class names, or a list that is not there.
    """
    if description is None:
        found = [folder.absolute(p) for p in folder.with_suffix(".data") if "names" in _entries(folder.absolute(p))]
        if not found:
            raise EdgehoneError(f"Darknet data has a .data file with `train` and `names`; {folder.root} has none")
        description = found[0]
    entries = _entries(description)
    if "names" not in entries:
        raise EdgehoneError(f"{description} must say `names = FILE` with a class name a line")
    names = name_list(_file(folder, description, entries["names"]), findings)
    splits: dict[str, str] = {}
    for key, split in LISTS.items():
        if key not in entries:
            continue
        path = _file(folder, description, entries[key])
        for picture in listed_pictures(folder, lines(path)[0]):
            if splits.setdefault(picture, split) != split:
                findings.add("split-overlap", path.name, f"{picture} is also in {splits[picture]}")
    return RawDataset(FORMAT, names, labelled_pictures(folder, names, splits, findings))


def _entries(path: Path) -> dict[str, str]:
    """``key = value`` lines."""
    pairs = (line.partition("=") for line in lines(path)[0] if not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, sign, value in pairs if sign and value.strip()}


def _file(folder: Folder, description: Path, name: str) -> Path:
    """A file that the description names: as it stands, or the only one of its name in the folder.

    Paths are usually those of the machine that Darknet ran on.
    """
    base = name.replace("\\", "/").rpartition("/")[2]
    same = [path for path in folder.files if path.rpartition("/")[2] == base]
    inside = folder.relative(description.parent / name)
    if inside in folder.files:
        return folder.absolute(inside)
    if len(same) == 1:
        return folder.absolute(same[0])
    raise EdgehoneError(f"{description} names {name}, which is not in {folder.root}; put it there")
