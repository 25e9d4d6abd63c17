"""A frame to detections: prepare, infer, decode, suppress."""
# pyright: basic

import time

import numpy as np

from .decoding import Candidates, Reader
from .faults import DeviceError
from .preparation import Preparation
from .suppression import suppress

PLUGIN_OUTPUTS = ("num_detections", "detection_boxes", "detection_scores", "detection_classes")
"""Of EfficientNMS_TRT; its boxes are corners in the input's pixels."""


class Detector:
    """A backend with what is needed to feed it and to read it.

    Args:
        manifest: of the bundle.
        backend: see :mod:`.backends`.
        times: the durations of the stages go there, or None.
        threshold: least score; None: the manifest's.
    """

    def __init__(self, manifest, backend, times=None, threshold=None):
        self.backend = backend
        self.preparation = Preparation(manifest.input_size, **manifest.picture)
        self._times = times
        self._efficient_nms = manifest.efficient_nms
        self._suppression = dict(manifest.suppression)
        asked = self._suppression.pop("threshold")
        self._threshold = asked if threshold is None else threshold
        classes = len(manifest.classes)
        self._reader = Reader(manifest.heads, manifest.scores, classes, manifest.input_size)

    def detect(self, frame):
        """Detections of a frame ``[h, w, 3]`` uint8 BGR in its own pixels, best first."""
        start = time.perf_counter()
        network_input = self.input_of(self.preparation.picture(frame))
        start = self._lap("prepare", start)
        outputs = self.backend.run(network_input)
        start = self._lap("infer", start)
        found = self.read(outputs)
        found.boxes_xyxy = self.preparation.restore(found.boxes_xyxy, frame.shape[:2])
        self._lap("decode", start)
        return found

    def input_of(self, picture):
        """What the backend takes of a prepared picture."""
        takes = self.backend.takes
        return picture if takes == "picture" else getattr(self.preparation, takes)(picture)

    def read(self, outputs):
        """Detections in the input's pixels from a network's outputs."""
        if self._efficient_nms:
            return self._suppressed(outputs)
        return suppress(self._reader.candidates(outputs, self._threshold), **self._suppression)

    def _suppressed(self, outputs):
        missing = [name for name in PLUGIN_OUTPUTS if name not in outputs]
        if missing:
            raise DeviceError("an engine with EfficientNMS_TRT must have the output {}".format(", ".join(missing)))
        count, boxes, scores, classes = (np.asarray(outputs[name]) for name in PLUGIN_OUTPUTS)
        number = int(count.reshape(-1)[0])
        boxes, scores = boxes.reshape(-1, 4)[:number], scores.reshape(-1)[:number]
        order = np.argsort(-scores, kind="mergesort")
        order = order[scores[order] > self._threshold]
        classes = classes.reshape(-1)[:number]
        return Candidates(boxes[order].astype(np.float32), scores[order].astype(np.float32), classes[order])

    def _lap(self, stage, start):
        return time.perf_counter() if self._times is None else self._times.lap(stage, start)
