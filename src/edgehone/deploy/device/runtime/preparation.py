"""From a frame to the network input and boxes back, pixel for pixel as in training."""
# pyright: basic

import cv2
import numpy as np


class Preparation:
    """Brings pictures of any size into the network input; its arrays are used again at the next picture.

    Args:
        input_size: ``(height, width)`` of the network input.
        fit: ``stretch`` each side on its own, or ``letterbox``: keep the aspect and pad.
        pad_value: gray level around a letterboxed picture.
        resize: ``area`` averages where a picture shrinks, ``linear`` never does.
        colour: order of the network's channels, ``rgb`` or ``bgr``.
        scale: the network sees ``pixel * scale + offset``.
        offset: see ``scale``.
    """

    def __init__(self, input_size, fit, pad_value, resize, colour, scale, offset):
        self.input_size = input_size
        self.fit = fit
        self.pad_value = pad_value
        self.resize = resize
        height, width = input_size
        levels = np.arange(256, dtype=np.float64) * scale + offset
        self._table = levels.astype(np.float32)
        self._canvas = np.empty((height, width, 3), np.uint8)
        self._planes = np.empty((1, 3, height, width), np.uint8)
        self._by_channel = list(self._planes[0, ::-1] if colour == "rgb" else self._planes[0])
        self._tensor = np.empty((1, 3, height, width), np.float32)
        self._content = None

    def picture(self, frame):
        """A frame ``[h, w, 3]`` uint8 BGR as ``[height, width, 3]`` uint8 BGR of the input."""
        size = frame.shape[:2]
        height, width = content_size(size, self.input_size, self.fit)
        top, left = (self.input_size[0] - height) // 2, (self.input_size[1] - width) // 2
        if self._content != (height, width):
            self._canvas.fill(self.pad_value)
            self._content = (height, width)
        inside = self._canvas[top : top + height, left : left + width]
        if size == (height, width):
            inside[...] = frame
            return self._canvas
        shrinks = height <= size[0] and width <= size[1]
        how = cv2.INTER_AREA if shrinks and self.resize == "area" else cv2.INTER_LINEAR
        made = cv2.resize(frame, (width, height), dst=inside, interpolation=how)
        if made is not inside and not np.may_share_memory(made, inside):
            inside[...] = made
        return self._canvas

    def planes(self, picture):
        """A prepared picture ``[1, 3, height, width]`` uint8, its channels as the network has them."""
        cv2.split(picture, self._by_channel)
        return self._planes

    def tensor(self, picture):
        """A prepared picture as the network's input ``[1, 3, height, width]`` float32."""
        height, width = self.input_size
        cv2.LUT(self.planes(picture).reshape(-1, width), self._table, self._tensor.reshape(3 * height, width))
        return self._tensor

    def restore(self, boxes_xyxy, size):
        """Boxes in the input ``[n, 4]`` in pixels of a frame of ``size`` = ``(height, width)``, clipped to it."""
        height, width = content_size(size, self.input_size, self.fit)
        top, left = (self.input_size[0] - height) // 2, (self.input_size[1] - width) // 2
        shift = np.array([left, top, left, top], np.float64)
        scale = np.array([size[1] / width, size[0] / height] * 2, np.float64)
        limits = np.array([size[1], size[0]] * 2, np.float64)
        return np.minimum(np.maximum((boxes_xyxy - shift) * scale, 0.0), limits).astype(np.float32)


def content_size(size, input_size, fit):
    """``(height, width)`` that a picture of ``size`` takes up in the input; whole pixels, at least 1."""
    if fit == "stretch":
        return input_size
    scale = min(input_size[0] / size[0], input_size[1] / size[1])
    height = max(1, min(input_size[0], round(size[0] * scale)))
    width = max(1, min(input_size[1], round(size[1] * scale)))
    return height, width
