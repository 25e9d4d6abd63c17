"""Pictures reach the network on a board pixel for pixel as in training, and boxes come back the same way."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehone.augment import fit_picture, unfit_boxes
from edgehone.darknet_pair import GRAY, DarknetReading
from edgehone.deploy.device.runtime.preparation import Preparation
from edgehone.inference import Detector
from edgehone.projection import ExpCoding

Fit = Literal["stretch", "letterbox"]
SIDES = st.integers(1, 200)
INPUT_SIDES = st.sampled_from([32, 64, 96, 160])


def preparation(size: tuple[int, int], fit: Fit, **changes: Any) -> Any:
    usual = {"pad_value": 114, "resize": "area", "colour": "rgb", "scale": 1 / 255, "offset": 0.0}
    return Preparation(size, fit, **{**usual, **changes})


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=150, deadline=None)
@given(SIDES, SIDES, INPUT_SIDES, INPUT_SIDES, st.sampled_from(["stretch", "letterbox"]))
@example(64, 64, 64, 64, "stretch")
@example(1, 200, 32, 160, "letterbox")
@example(199, 1, 160, 96, "letterbox")
def test_pixels_are_those_of_training(height: int, width: int, rows: int, columns: int, fit: Fit) -> None:
    image = noise(height, width)
    ours = preparation((rows, columns), fit).picture(np.ascontiguousarray(image[..., ::-1]))
    np.testing.assert_array_equal(ours[..., ::-1], fit_picture(image, (rows, columns), fit))


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_the_arrays_are_used_again_without_a_trace(fit: Fit) -> None:
    """A letterboxed picture after a wider one: nothing of the first may be left at the sides."""
    ours = preparation((64, 96), fit)
    for height, width in [(30, 200), (200, 30), (64, 96), (40, 40), (10, 13)]:
        image = noise(height, width, seed=height)
        prepared = ours.picture(np.ascontiguousarray(image[..., ::-1]))
        np.testing.assert_array_equal(prepared[..., ::-1], fit_picture(image, (64, 96), fit))


def test_the_tensor_is_that_of_inference(reference: Detector) -> None:
    """Bit for bit: ``pixel / 255`` in float32."""
    image = noise(90, 130)
    image[0, :, 0] = np.arange(130)
    image[1, :126, 1] = np.arange(130, 256)
    ours = preparation(reference.input_size, "stretch")
    tensor = ours.tensor(ours.picture(np.ascontiguousarray(image[..., ::-1])))
    np.testing.assert_array_equal(tensor[0], reference.prepare(image).numpy())


def test_every_level_is_divided_as_torch_divides() -> None:
    levels = np.arange(256, dtype=np.uint8)
    image = np.repeat(levels[:, None, None], 3, 2)
    ours = preparation((256, 1), "stretch")
    np.testing.assert_array_equal(ours.tensor(ours.picture(image))[0, 0, :, 0], levels.astype(np.float32) / 255)


def test_channels_and_their_arithmetic_are_the_manifests() -> None:
    image = noise(32, 32)
    kneron = preparation((32, 32), "stretch", scale=1 / 256, offset=-0.5, colour="bgr")
    expected = image.astype(np.float32).transpose(2, 0, 1) / 256 - 0.5
    np.testing.assert_array_equal(kneron.tensor(kneron.picture(image))[0], expected)


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", [(150, 220), (40, 300), (20, 30)])
def test_darknet_pairs_are_read_as_darknet_reads(fit: Fit, size: tuple[int, int]) -> None:
    image = noise(*size)
    reading = DarknetReading(input_size=(64, 96), fit=fit, codings=(ExpCoding(),))
    ours = preparation((64, 96), fit, resize="linear", pad_value=GRAY)
    np.testing.assert_array_equal(
        ours.picture(np.ascontiguousarray(image[..., ::-1]))[..., ::-1], reading.prepare(image)
    )


@settings(max_examples=100, deadline=None)
@given(SIDES, SIDES, INPUT_SIDES, INPUT_SIDES, st.sampled_from(["stretch", "letterbox"]), st.integers(0, 99))
def test_boxes_come_back_as_in_inference(h: int, w: int, rows: int, columns: int, fit: Fit, seed: int) -> None:
    boxes = np.random.default_rng(seed).uniform(-20, 200, (5, 4)).astype(np.float32)
    boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + np.abs(boxes[:, 2:])], 1)
    ours = preparation((rows, columns), fit).restore(boxes, (h, w))
    np.testing.assert_allclose(ours, unfit_boxes(boxes, (h, w), (rows, columns), fit), atol=1e-3)


def test_four_channels_are_not_taken_for_three() -> None:
    """OpenCV's captures give three; anything else is a defect that must not pass silently."""
    with pytest.raises((ValueError, cv2.error)):
        preparation((32, 32), "stretch").picture(np.zeros((16, 16, 4), np.uint8))
