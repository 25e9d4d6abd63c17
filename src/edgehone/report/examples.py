"""Pictures with their boxes as JPEG: truth thin and dashed, detections in the colour of their class."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edgehone.report.drawing import corners_of, draw_dashed, draw_label, jpeg, printable, scaled
from edgehone.report.palette import class_colour
from edgehone.types import Detections, Picture


def draw_example(
    picture: Picture,
    detections: Detections,
    class_names: Sequence[str],
    threshold: float,
    longest_side: int = 480,
) -> bytes:
    """One picture with its truth and what a detector says of it.

    Args:
        picture: the original picture, RGB; its boxes are drawn thin, white and dashed.
        detections: in pixels of the original picture; drawn in the colour of the class, with name and score.
        class_names: in the order of the class numbers.
        threshold: least score that is drawn.
        longest_side: of the JPEG in pixels; smaller pictures are not enlarged.

    Returns:
        A JPEG file.
    """
    scale = min(1.0, longest_side / max(picture.image.shape[:2]))
    canvas = scaled(picture.image, scale)
    for box in picture.boxes_xyxy:
        draw_dashed(canvas, *corners_of(box, scale))
    kept = np.flatnonzero(detections.scores >= threshold)
    # Best last, so that it lies on top.
    for index in kept[np.argsort(detections.scores[kept], kind="stable")]:
        name = class_names[int(detections.classes[index])]
        colour = class_colour(int(detections.classes[index]))
        corners = corners_of(detections.boxes_xyxy[index], scale)
        cv2.rectangle(canvas, *corners, colour, 2, cv2.LINE_AA)
        draw_label(canvas, f"{printable(name)} {detections.scores[index]:.2f}", corners[0], colour)
    return jpeg(canvas)
