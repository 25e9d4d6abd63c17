"""Where detections go: JSON lines and a video. Both are whole whenever the program ends."""
# pyright: basic

import json
import os
import sys
import time

import cv2
import numpy as np

from .drawing import draw
from .faults import DeviceError
from .timing import Times

STILL_SECONDS = 1.0
CODECS = {".avi": "MJPG", ".mp4": "mp4v", ".mkv": "MJPG"}


def record(frame, found, names):
    """One frame's line; the detections are as ``edgehone detect --json`` gives them."""
    height, width = frame.image.shape[:2]
    detections = [
        {
            "box_xyxy": [round(float(side), 2) for side in box],
            "score": round(float(score), 5),
            "class": names[int(kind)],
        }
        for box, score, kind in zip(found.boxes_xyxy, found.scores, found.classes)
    ]
    return {
        "frame": frame.index,
        "time": round(frame.time, 3),
        "path": frame.name,
        "height": height,
        "width": width,
        "detections": detections,
    }


class JsonLines:
    """One line a frame, to a file or, as ``-``, to standard output; durations go to ``times``."""

    def __init__(self, path, names, times=None):
        self._names = names
        self._times = times or Times()
        self._file = sys.stdout if path == "-" else _opened(path)

    def write(self, frame, found, seconds):
        """Add a frame; ``seconds`` passed since it was taken. The line is written at once and whole."""
        start = time.perf_counter()
        line = record(frame, found, self._names)
        line["latency_ms"] = round(1000 * seconds, 2)
        text = json.dumps(line) + "\n"
        start = self._times.lap("encode", start)
        self._file.write(text)
        self._file.flush()
        self._times.lap("write", start)

    def close(self):
        """Nothing is written any more."""
        if self._file is not sys.stdout:
            self._file.close()


class VideoFile:
    """Frames with boxes drawn; the size is the first frame's, others are fitted into it.

    A live source drops frames and pauses: there a frame is repeated until the next one, so that the video plays as
    fast as it happened, but for at most :data:`STILL_SECONDS`.

    Args:
        path: ``.avi``, ``.mkv`` or ``.mp4``.
        names: of the classes.
        source: its ``fps`` are the video's; see ``live``.
        times: durations go there.
    """

    def __init__(self, path, names, source, times=None):
        suffix = os.path.splitext(path)[1].lower()
        if suffix not in CODECS:
            raise DeviceError("a video is written as {}; got {}".format(", ".join(sorted(CODECS)), path))
        self._path = path
        self._codec = cv2.VideoWriter_fourcc(*CODECS[suffix])  # pyright: ignore[reportAttributeAccessIssue]
        self._names = names
        self._source = source
        self._laps = times or Times()
        self._size = None
        self._writer = None
        self._start = 0.0
        self._written = 0

    def write(self, frame, found, seconds):
        """Add a frame."""
        del seconds
        start = time.perf_counter()
        image = draw(frame.image, found, self._names)
        start = self._laps.lap("draw", start)
        if self._writer is None:
            self._size = (image.shape[1], image.shape[0])
            self._start, self._fps = frame.taken, self._source.fps
            self._writer = cv2.VideoWriter(self._path, self._codec, self._fps, self._size)
            if not self._writer.isOpened():
                raise DeviceError(f"OpenCV cannot write a video to {self._path}; is the folder there?")
        for _ in range(self._times(frame)):
            self._writer.write(_within(image, self._size))
            self._written += 1
        self._laps.lap("encode", start)

    def _times(self, frame):
        """How often a frame is written."""
        if not self._source.live:
            return 1
        due = int((frame.taken - self._start) * self._fps) + 1
        most = max(1, int(STILL_SECONDS * self._fps))
        if due - self._written > most:  # the source was away: the video does not wait for it
            self._start += (due - self._written - most) / self._fps
            return most
        return max(0, due - self._written)

    def close(self):
        """Finish the file, so that it plays."""
        if self._writer is not None:
            self._writer.release()


def _within(image, size):
    """An image in the middle of a black one of ``size`` = ``(width, height)``, smaller where it must be."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    width, height = max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale))
    whole = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    whole[top : top + height, left : left + width] = cv2.resize(image, (width, height))
    return whole


def _opened(path):
    try:
        return open(path, "w", encoding="utf-8")
    except OSError as error:
        raise DeviceError(f"JSON lines cannot be written to {path}: {error.strerror}") from None
