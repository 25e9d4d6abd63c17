"""The command ``detect.py``: frames of a source to boxes, until it ends or is told to stop."""
# pyright: basic

import argparse
import json
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack

from .backends import open_backend
from .backoff import BackOff
from .detector import Detector
from .faults import DeviceError, LostError, log
from .frame_queue import FrameQueue, Taking
from .manifest import read_manifest
from .outputs import JsonLines, VideoFile
from .page import Page
from .sources import open_source
from .timing import Times

POLL_SECONDS = 0.1
JOIN_SECONDS = 0.5
FILE_FRAMES = 4


def main(folder, arguments=None):
    """Run; the exit status: 0, or 1 after an error that is told."""
    options = _parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, frame: _asked_to_stop(stop, signum))
    try:
        run = _Run(folder, options, stop)
        status = run.go()
    except BrokenPipeError:  # whoever read the lines has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (DeviceError, OSError) as error:  # OSError: a disk that is full, a folder that is not there
        log(f"error: {error}")
        return 1
    if run.taking.is_alive():  # a driver hangs in a read; it must not hold up the exit
        sys.stdout.flush()
        os._exit(status)
    return status


class _Run:
    """One run of the command: the parts and how they end."""

    def __init__(self, folder, options, stop):
        self.stop = stop
        self.options = options
        self.times = Times()
        self.manifest = read_manifest(folder)
        self.source = open_source(options.source, options.live)
        live = self.source.live
        self.queue = FrameQueue(1 if live else FILE_FRAMES, drop=live)
        self.taking = Taking(self.source, self.queue, stop)
        self.outputs = []
        self.detector = Detector(self.manifest, self._backend(), self.times, options.threshold)
        self.looked_at = 0

    def _backend(self):
        return open_backend(self.manifest, self.options.threads)

    def go(self):
        """Everything from the first frame to the last; the exit status."""
        try:
            self._open_outputs()
            self.taking.start()
            while not self.stop.is_set():
                frame = self.queue.get(POLL_SECONDS)
                if frame is not None:
                    self._look_at(frame)
                elif self.queue.ended:
                    break
        finally:
            self._close()
        if self.taking.error is not None:
            raise self.taking.error
        return 1 if self.source.unreadable else 0

    def _open_outputs(self):
        names, options = self.manifest.classes, self.options
        if options.json:
            self.outputs.append(JsonLines(options.json, names, self.times))
        if options.video:
            self.outputs.append(VideoFile(options.video, names, self.source, self.times))
        if options.show_port is not None:
            self.outputs.append(Page(options.show_port, names, self.summary, self.times))
        if not self.outputs:
            self.outputs.append(JsonLines("-", names, self.times))

    def _look_at(self, frame):
        """A frame through the detector; a lost accelerator is opened again, the frame of a file waits for it."""
        self.times.add("capture", frame.capture_seconds)
        while not self.stop.is_set():
            try:
                found = self.detector.detect(frame.image)
            except LostError as error:
                log(str(error))
                self._reconnect()
                if self.source.live:
                    return
                continue
            self.looked_at += 1
            for output in self.outputs:
                output.write(frame, found, time.perf_counter() - frame.taken)
            return

    def _reconnect(self):
        self.detector.backend.close()
        self.detector.backend = None
        back_off = BackOff()
        while not self.stop.is_set():
            back_off.wait(self.stop)
            try:
                self.detector.backend = self._backend()
                log("the accelerator is back")
                return
            except LostError as error:
                log(f"{error}; trying again in {back_off.seconds:g} s")

    def _close(self):
        """Outputs first, so that they are whole whatever a driver does then."""
        self.stop.set()
        self.queue.close()
        with ExitStack() as closing:  # a full disk under one must not leave the others unfinished
            for output in self.outputs:
                closing.callback(output.close)
        if self.detector.backend is not None:
            self.detector.backend.close()
        if self.taking.is_alive():
            self.taking.join(JOIN_SECONDS)
        if self.options.times:
            with open(self.options.times, "w", encoding="utf-8") as file:
                json.dump(self.summary(), file, indent=1)
        log(f"{self.looked_at} frames, {self.queue.dropped} dropped\n{self.times}")

    def summary(self):
        """Frames and the durations of the stages."""
        return {"frames": self.looked_at, "dropped": self.queue.dropped, "stages": self.times.summary()}


def _asked_to_stop(stop, signum):
    stop.set()
    signal.signal(signum, signal.SIG_DFL)  # a second time ends it at once


def _share(text):
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"a score is in 0..1, got {text}")
    return value


def _parser():
    parser = argparse.ArgumentParser(prog="detect.py", description="Find objects in frames of a source.")
    parser.add_argument("source", help="picture, folder, video, camera's number, rtsp://..., csi, or a pipeline with !")
    parser.add_argument("--json", metavar="FILE", help="a line of JSON for each frame; - is standard output")
    parser.add_argument("--video", metavar="FILE", help="frames with boxes, .avi or .mp4")
    parser.add_argument("--show-port", type=int, metavar="N", help="a page on http://127.0.0.1:N/; 0 takes a free port")
    parser.add_argument("--threshold", type=_share, metavar="T", help="least score (default: the manifest's)")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="of a CPU runtime (default: all cores)")
    parser.add_argument("--live", action="store_true", help="open a video file again when it ends, and drop frames")
    parser.add_argument("--times", metavar="FILE", help="durations of the stages as JSON, when it ends")
    return parser
