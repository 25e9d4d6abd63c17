"""ONNX detectors that edgehone did not make, run in ONNX Runtime.

What is understood: one input ``[1, 3, h, w]`` (RGB in 0..1, letterboxed on gray) and a first output with a row or a
column for each box: centre and sides in pixels of the input, then objectness and a score for each class, or the scores
alone; probabilities, before suppression. So do the common exports of the YOLO family answer. Class names are in the
graph's metadata (``names``) or, one a line, in a file beside it (``model.names``).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from edgehone.augment import fit_picture, unfit_boxes
from edgehone.boxes import cxcywh_to_xyxy
from edgehone.data.picture import Image
from edgehone.errors import EdgehoneError
from edgehone.inference import OnnxRuntime, PostProcess, select
from edgehone.types import Detections, Size

USUAL_SIZE = (640, 640)
"""Input of a graph that takes any."""


@dataclass(frozen=True)
class ForeignDetector:
    """A detector from elsewhere.

    Attributes:
        class_names: in its own order.
        session: of ONNX Runtime.
        input_size: ``(height, width)``.
        name: for messages.
    """

    class_names: tuple[str, ...]
    session: Any
    input_size: Size
    name: str

    def detect(self, images: Iterable[Image], post: PostProcess) -> Iterator[Detections]:
        """Detections of each picture in turn, in its own pixels, best first."""
        for image in images:
            boxes, scores = self._rows(self._run(image))
            found = select(cxcywh_to_xyxy(torch.from_numpy(boxes)), torch.from_numpy(scores), post)
            size = (image.shape[0], image.shape[1])
            placed = unfit_boxes(found.boxes_xyxy, size, self.input_size, "letterbox")
            yield Detections(placed, found.scores, found.classes)

    def _run(self, image: Image) -> NDArray[np.float32]:
        """The first output of one picture."""
        wanted = self.session.get_inputs()[0]
        pixels = fit_picture(image, self.input_size, "letterbox").transpose(2, 0, 1)[None] / np.float32(255)
        kind = np.float16 if "float16" in wanted.type else np.float32
        return np.asarray(self.session.run(None, {wanted.name: pixels.astype(kind)})[0], np.float32)

    def _rows(self, answer: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """``[n, 4]`` boxes (centre and sides) and ``[n, c]`` scores.

        Raises:
            EdgehoneError: the output has another form.
        """
        classes = len(self.class_names)
        plain, with_objectness = 4 + classes, 5 + classes
        if answer.ndim == 3 and answer.shape[0] == 1:
            for rows in (answer[0], answer[0].T):
                if rows.shape[1] == with_objectness:
                    return rows[:, :4].copy(), rows[:, 4:5] * rows[:, 5:]
                if rows.shape[1] == plain:
                    return rows[:, :4].copy(), rows[:, 4:].copy()
        raise EdgehoneError(
            f"a detector from elsewhere gives 1 x n x {with_objectness} or 1 x n x {plain} numbers (or turned) for its "
            f"{classes} classes; {self.name} gives {' x '.join(map(str, answer.shape))}; export it without suppression"
        )


def is_foreign(path: Path) -> bool:
    """Whether this is an ONNX graph that edgehone did not export.

    Raises:
        EdgehoneError: it cannot be read.
    """
    return path.suffix == ".onnx" and path.is_file() and "edgehone" not in _metadata(OnnxRuntime(path).session)


def open_foreign(path: Path, threads: int = 0) -> ForeignDetector:
    """A detector from an ONNX graph made elsewhere.

    Raises:
        EdgehoneError: its classes have no names, or input or output are of another form.
    """
    session: Any = OnnxRuntime(path, threads).session
    shape: list[Any] = session.get_inputs()[0].shape
    if len(shape) != 4 or (shape[1] not in (3, None) and not isinstance(shape[1], str)):
        raise EdgehoneError(f"a detector from elsewhere takes 1 x 3 x height x width numbers; {path} takes {shape}")
    height, width = (
        side if isinstance(side, int) and side > 0 else usual for side, usual in zip(shape[2:], USUAL_SIZE, strict=True)
    )
    detector = ForeignDetector(_class_names(path, session), session, (height, width), path.name)
    gray = np.full((height, width, 3), 114, np.uint8)
    next(detector.detect([gray], PostProcess()))  # a form that is not understood is better known now
    return detector


def _metadata(session: Any) -> dict[str, str]:
    return session.get_modelmeta().custom_metadata_map


def _class_names(path: Path, session: Any) -> tuple[str, ...]:
    beside = path.with_suffix(".names")
    if beside.is_file():
        return tuple(line.strip() for line in beside.read_text(encoding="utf-8").splitlines() if line.strip())
    try:
        found = ast.literal_eval(_metadata(session)["names"])
    except (KeyError, ValueError, SyntaxError):
        raise EdgehoneError(
            f"a detector's classes must have names, and {path} holds none; write them, one a line, to {beside}"
        ) from None
    if isinstance(found, dict):
        numbered = cast("dict[int, str]", found)
        return tuple(str(numbered[number]) for number in sorted(numbered))
    return tuple(str(name) for name in found)
