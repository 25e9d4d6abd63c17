"""Where a detector's weights come from, as far as can be told: whose rights in them a bundle must name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgehone.darknet_pair import split_pair
from edgehone.files import read_json
from edgehone.inference import DetectorInfo
from edgehone.run_folder import REQUEST
from edgehone.types import Json

DEPTH = 4
"""Folders above a model's file in which its run's request is looked for: of a trial it is three above."""

YOURS = "they are yours as far as the rights in that data reach"
THEIRS = "whose terms hold for what was kept of them; find them out before passing the bundle on"


def origin_of(model: str | Path, info: DetectorInfo) -> str:
    """A sentence about the weights of a model: a folder, a checkpoint, a graph or a Darknet pair."""
    if info.reading is not None:
        pair = split_pair(str(model))
        name = (Path(model) if pair is None else pair[1]).name
        return (
            f"The weights in the graphs are a Darknet detector's (`{name}`), not trained by edgehone: the terms of "
            "whoever trained them hold, and those of the data they were trained on. Find them out before passing the "
            "bundle on."
        )
    request = _request(Path(model))
    if request is None:
        return (
            "The weights in the graphs were learned from the data of their training. Which that was, and whether it "
            f"began from weights of others, the file does not say: if it was yours alone, {YOURS}."
        )
    learned = "The weights in the graphs were learned from your data"
    job = request.get("job", request)
    teacher, path = job.get("teacher"), _path(job.get("weights"))
    told = f" A teacher's answers were learned from, too: `{Path(str(teacher)).name}`; mind its terms." * bool(teacher)
    if path is not None:
        return f"{learned}, but began from `{Path(path).name}`, {THEIRS}.{told}"
    return f"{learned}, from random numbers; {YOURS}.{told}"


def _path(weights: Json) -> str | None:
    """Of the weights that a run's request names, or, with a digest, a training's."""
    if weights is None or isinstance(weights, str):
        return weights
    return weights["path"]


def _request(path: Path) -> dict[str, Any] | None:
    """What the run was asked for that a folder or file belongs to."""
    for folder in (path, *path.parents)[:DEPTH]:
        if (folder / REQUEST).is_file():
            return read_json(folder / REQUEST)
    return None
