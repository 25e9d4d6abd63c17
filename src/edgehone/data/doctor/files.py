"""Files: names that collide, pictures that nobody speaks of."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from edgehone.data.checks import Findings
from edgehone.data.folder import Folder

SHOWN = 3


def check_files(folder: Folder | None, met: AbstractSet[str], findings: Findings) -> None:
    """Every check of file names.

    Args:
        folder: of the data; None for a built-in set.
        met: pictures that labels speak of.
        findings: to be added to.
    """
    if folder is None:
        return
    folded: dict[str, str] = {}
    for path in folder.files:
        other = folded.setdefault(path.casefold(), path)
        if other != path:
            findings.add("name-collision", path, f"differs from {other} only in case")
    spare = [path for path in folder.pictures if path not in met]
    if spare and met:
        more = f" and {len(spare) - SHOWN} more" if len(spare) > SHOWN else ""
        findings.add("image-not-listed", spare[0], f"{len(spare)} pictures: {', '.join(spare[:SHOWN])}{more}")
