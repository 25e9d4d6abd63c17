"""Boxes drawn into frames."""
# pyright: basic

import cv2
import numpy as np


def draw(image, found, names):
    """A copy of a frame ``[h, w, 3]`` uint8 BGR with its detections."""
    drawn = image.copy()
    thick = max(1, round(max(image.shape[:2]) / 400))
    size = 0.35 + 0.15 * thick
    for box, score, kind in zip(found.boxes_xyxy, found.scores, found.classes):
        left, top, right, bottom = (round(float(side)) for side in box)
        colour = colour_of(int(kind), len(names))
        cv2.rectangle(drawn, (left, top), (right, bottom), colour, thick)
        text = f"{names[int(kind)]} {float(score):.2f}"
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
        base = top - 3 if top > height + 6 else top + height + 4
        cv2.rectangle(drawn, (left, base - height - 3), (left + width + 2, base + 3), colour, -1)
        cv2.putText(drawn, text, (left + 1, base), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), thick, cv2.LINE_AA)
    return drawn


def colour_of(kind, count):
    """BGR; hues are evenly spread over the classes."""
    pixel = np.array([[[kind * 180 // max(count, 1), 200, 255]]], np.uint8)
    return tuple(int(level) for level in cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0])
