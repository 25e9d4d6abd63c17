"""Example pictures: boxes where they belong, scores below the threshold left out, odd names survive."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgehone.report.examples import draw_example
from edgehone.report.palette import class_colour
from edgehone.types import Detections, Picture


def picture(height: int, width: int, boxes: list[list[float]]) -> Picture:
    truth = np.array(boxes, np.float32).reshape(-1, 4)
    return Picture(np.full((height, width, 3), 100, np.uint8), truth, np.zeros(len(truth), np.int64))


def detections(boxes: list[list[float]], scores: list[float]) -> Detections:
    found = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(found, np.array(scores, np.float32), np.zeros(len(found), np.int64))


def decoded(jpeg: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image[..., ::-1].astype(int)


@pytest.mark.parametrize(("size", "shown"), [((960, 480), (480, 240)), ((100, 300), (100, 300)), ((1, 2000), (1, 480))])
def test_longest_side_shrinks_and_never_grows(size: tuple[int, int], shown: tuple[int, int]) -> None:
    assert decoded(draw_example(picture(*size, []), detections([], []), ("a",), 0.3)).shape[:2] == shown


def test_detection_is_drawn_in_the_colour_of_its_class_at_its_scaled_place() -> None:
    said = detections([[200, 400, 600, 800]], [0.9])
    image = decoded(draw_example(picture(960, 960, []), said, ("a",), 0.3))
    edge = image[250:350, 100]  # left edge, at half the scale
    assert np.abs(edge - class_colour(0)).mean() < 40
    assert np.abs(image[300, 200] - 100).max() < 10


def test_scores_below_the_threshold_are_left_out() -> None:
    blank = draw_example(picture(100, 100, []), detections([], []), ("a",), 0.5)
    assert draw_example(picture(100, 100, []), detections([[10, 30, 60, 90]], [0.49]), ("a",), 0.5) == blank


def test_truth_is_dashed_light_on_dark() -> None:
    image = decoded(draw_example(picture(100, 100, [[20, 20, 80, 80]]), detections([], []), ("a",), 0.5))
    edge = image[20:80, 20].mean(-1)
    assert edge.max() > 180
    assert edge.min() < 80


def test_names_and_boxes_may_be_odd() -> None:
    said = detections([[-50, -50, 900, 900], [95, 95, 100, 100]], [1.0, 0.5])
    image = decoded(draw_example(picture(100, 100, []), said, ("сорт <b> 魚",), 0.3))
    assert image.shape == (100, 100, 3)
