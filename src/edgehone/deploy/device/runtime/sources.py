"""Where frames come from: a picture, a folder, a video file, a camera, a stream or a GStreamer pipeline."""
# pyright: basic

import os
import re
import time

import cv2
import numpy as np

from .backoff import BackOff
from .faults import DeviceError, log

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
OPEN_MS = READ_MS = 5000
"""A stream that is silent for longer is taken for lost."""

CSI = (
    "nvarguscamerasrc sensor-id={} ! video/x-raw(memory:NVMM), width=(int)1280, height=(int)720, "
    "framerate=(fraction)30/1 ! nvvidconv ! video/x-raw, format=(string)BGRx ! videoconvert ! "
    "video/x-raw, format=(string)BGR ! appsink drop=true max-buffers=1 sync=false"
)
"""The camera connector of a Jetson."""


class Frame:
    """One picture.

    Attributes:
        image: ``[h, w, 3]`` uint8 BGR.
        index: counts from 0.
        time: seconds since 1970 when it was there.
        taken: the same moment on the clock of :func:`time.perf_counter`.
        name: of its file or source.
        capture_seconds: reading and decoding it took.
    """

    def __init__(self, image, index, name, started):
        self.image = image
        self.index = index
        self.name = name
        self.time = time.time()
        self.taken = time.perf_counter()
        self.capture_seconds = self.taken - started


class PictureFiles:
    """Picture files, each once; one that cannot be read is told and counted in ``unreadable``."""

    live = False
    fps = 1.0

    def __init__(self, paths):
        self._paths = paths
        self.unreadable = 0

    def frames(self, stop):
        """The pictures, turned upright as their Exif orientation says."""
        for index, path in enumerate(self._paths):
            if stop.is_set():
                return
            start = time.perf_counter()
            image = read_picture(path)
            if image is None:
                self.unreadable += 1
                log(f"{path} is no picture that OpenCV can read")
                continue
            yield Frame(image, index, path, start)


def read_picture(path):
    """A picture file as ``[h, w, 3]`` uint8 BGR, turned upright; None if OpenCV cannot decode it.

    From memory, as training reads: from a file OpenCV refuses some turned TIFF pictures, and makes up what is missing
    of a JPEG that is cut short.
    """
    try:
        content = np.fromfile(path, np.uint8)
        return cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except (OSError, cv2.error):
        return None


class Capture:
    """Whatever OpenCV's VideoCapture opens.

    Args:
        name: for people.
        arguments: of VideoCapture.
        live: it has no end: when it stops it is opened again, with longer and longer waits.
        paced: it would give frames as fast as they are read, and is slowed down to its own rate.
    """

    def __init__(self, name, arguments, live, paced=False):
        self.name = name
        self.live = live
        self._paced = paced
        self.fps = 25.0
        self.unreadable = 0
        self._arguments = arguments

    def frames(self, stop):
        """The frames, until the end of a file, or of all that is live until ``stop`` is set.

        Raises:
            DeviceError: a file cannot be opened or holds no frame.
        """
        index, back_off = 0, BackOff()
        while not stop.is_set():
            capture = self._opened()
            before = index
            while capture is not None and not stop.is_set():
                start = time.perf_counter()
                there, image = capture.read()
                if not there or image is None:
                    break
                if index == before and before:
                    log(f"{self.name} is back")
                back_off.succeeded()
                yield Frame(image, index, self.name, start)
                index += 1
                if self._paced:
                    stop.wait(max(0.0, 1 / self.fps - (time.perf_counter() - start)))
            if capture is not None:
                capture.release()
            if not self.live:
                if index == before and not stop.is_set():
                    raise DeviceError(f"{self.name} must hold frames that OpenCV can decode; there are none")
                return
            if not stop.is_set():
                state = "gives no frames" if index == before else "ended" if self._paced else "was lost"
                log(f"{self.name} {state}; trying again in {back_off.seconds:g} s")
                back_off.wait(stop)

    def _opened(self):
        capture = cv2.VideoCapture(*self._arguments)
        if not capture.isOpened():
            capture.release()
            return None
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 1 <= fps <= 240 else self.fps
        return capture


def open_source(text, live=False):
    """The source that a word of the command line names.

    Args:
        text: a path, a camera's number, an address like ``rtsp://...``, ``csi`` or ``csi:1``, or a GStreamer
            pipeline (it has ``!``) that ends in an appsink with BGR frames.
        live: treat a video file as a camera: open it again when it ends or disappears, and drop frames.

    Raises:
        DeviceError: there is no such file, or a folder without pictures.
    """
    if re.match(r"^\d+$", text):
        return Capture("camera " + text, (int(text),), True)
    if re.match(r"^csi(:\d+)?$", text):
        return Capture(text, (CSI.format(text[4:] or 0), cv2.CAP_GSTREAMER), True)
    if re.match(r"^[a-z]+://", text):
        return Capture(text.split("@")[-1], _stream(text), True)
    if "!" in text:
        return Capture("pipeline", (text, cv2.CAP_GSTREAMER), True)
    if os.path.isdir(text):
        names = sorted(name for name in os.listdir(text) if name.lower().endswith(PICTURES))
        if not names:
            raise DeviceError("a folder holds pictures ({}); {} holds none".format(" ".join(PICTURES), text))
        return PictureFiles([os.path.join(text, name) for name in names])
    if text.lower().endswith(PICTURES):
        if not os.path.isfile(text):
            raise DeviceError(f"there is no picture at {text}")
        return PictureFiles([text])
    if not live and not os.path.isfile(text):
        raise DeviceError("a source is a picture, a folder, a video, a camera's number or an address; got " + text)
    return Capture(text, (text,), live, paced=live)


def _stream(address):
    """Arguments of VideoCapture for an address, with limits on waiting where this OpenCV has them (4.5.2, FFmpeg)."""
    if not hasattr(cv2, "CAP_PROP_READ_TIMEOUT_MSEC") or cv2.CAP_FFMPEG not in cv2.videoio_registry.getStreamBackends():
        return (address,)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_MS]
    return (address, cv2.CAP_FFMPEG, limits)
