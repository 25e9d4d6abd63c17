"""Sources that go and come back, and frames that are dropped rather than late."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bundles
import cv2
import numpy as np
import pytest
from mjpeg import Camera
from rtsp import RtspCamera

from edgehone.deploy.device.runtime import backoff, detecting, outputs, sources
from edgehone.deploy.device.runtime.backoff import BackOff
from edgehone.deploy.device.runtime.faults import DeviceError
from edgehone.deploy.device.runtime.frame_queue import FrameQueue, Taking
from edgehone.deploy.device.runtime.sources import Frame, open_source


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


class Following:
    """Takes frames of a source on a thread, and lets a test look at them."""

    def __init__(self, text: str, live: bool = False) -> None:
        self.stop = threading.Event()
        self.queue: Any = FrameQueue(10_000, drop=True)
        self.taking: Any = Taking(open_source(text, live), self.queue, self.stop)
        self.frames: list[Any] = []
        self.taking.start()

    def more(self, count: int) -> None:
        """Wait for more frames."""
        wanted = len(self.frames) + count

        def enough() -> bool:
            frame = self.queue.get(0.1)
            self.frames += [] if frame is None else [frame]
            return len(self.frames) >= wanted

        wait_for(enough, f"{count} frames")

    def end(self) -> None:
        self.stop.set()
        self.queue.close()
        self.taking.join(8)
        assert not self.taking.is_alive()


@pytest.fixture
def camera() -> Iterator[Camera]:
    images = [np.full((48, 64, 3), 20 * k, np.uint8) for k in range(1, 10)]
    served = Camera(images)
    yield served
    served.switch_off()


def test_a_stream_that_is_switched_off_comes_back(camera: Camera, capfd: pytest.CaptureFixture[str]) -> None:
    following = Following(camera.address)
    following.more(5)
    for _ in range(2):
        camera.switch_off()
        time.sleep(0.5)
        assert following.taking.is_alive()
        camera.switch_on()
        while following.queue.get(0) is not None:
            pass
        following.more(5)
    following.end()
    indices = [frame.index for frame in following.frames]
    assert indices == sorted(set(indices)), "frames are counted on over a loss"
    told = capfd.readouterr().err
    assert told.count("was lost; trying again in") >= 2
    assert told.count("is back") >= 2


def test_a_stream_that_is_not_there_yet_is_waited_for(camera: Camera, capfd: pytest.CaptureFixture[str]) -> None:
    camera.switch_off()
    following = Following(camera.address)
    time.sleep(0.5)
    camera.switch_on()
    following.more(3)
    following.end()
    assert "gives no frames; trying again in" in capfd.readouterr().err


def test_a_file_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    source = bundles.write_video(tmp_path / "source.avi", frames=4)
    following = Following(str(source), live=True)
    following.more(6)
    source.unlink()
    time.sleep(0.5)
    bundles.write_video(tmp_path / "other.avi", frames=4, size=(320, 224)).replace(source)
    wait_for(lambda: bool(following.more(1)) or following.frames[-1].image.shape == (224, 320, 3), "the new file")
    following.end()


@pytest.fixture(params=["http", "rtsp", "file"])
def switched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Something with an ``address`` that can be switched off and on."""
    if request.param == "file":
        yield SwitchedFile(tmp_path / "camera.avi")
        return
    served = {"http": Camera, "rtsp": RtspCamera}[request.param](
        [np.roll(bundles.pictures(1)[0], 9 * k, 1) for k in range(5)]
    )
    yield served
    served.switch_off()


class SwitchedFile:
    """A video file that somebody takes away and puts back."""

    def __init__(self, path: Path) -> None:
        self.address = bundles.write_video(path)
        self._away = path.with_suffix(".away")

    def switch_off(self) -> None:
        self.address.rename(self._away)

    def switch_on(self) -> None:
        self._away.rename(self.address)


def test_the_whole_program_survives_a_loss(board: bundles.Board, bundle: Path, switched: Any, tmp_path: Path) -> None:
    out, told = tmp_path / "out.jsonl", tmp_path / "told.txt"
    out.touch()
    running = board.start(bundle, "detect.py", switched.address, "--live", "--json", out, told=told)
    count = lambda: out.read_text().count("\n")  # noqa: E731
    lost = lambda: told.read_text().count("trying again in")  # noqa: E731
    try:
        wait_for(lambda: count() >= 3, "frames")
        for _ in range(2):
            switched.switch_off()
            gone = lost()
            wait_for(lambda: lost() >= gone + 2, "attempts that fail")  # noqa: B023
            before = count()
            time.sleep(0.3)
            assert count() == before, "nothing comes of what is not there"
            switched.switch_on()
            wait_for(lambda: count() >= before + 3, "frames after the loss")  # noqa: B023
            assert running.poll() is None
        start = time.monotonic()
        running.terminate()
        running.communicate(timeout=20)
        assert time.monotonic() - start < 2
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 0, told.read_text()
    assert told.read_text().count("gives no frames; trying again in") >= 2
    assert told.read_text().count("is back") >= 2
    frames = [json.loads(line) for line in out.read_text().splitlines()]
    indices = [frame["frame"] for frame in frames]
    assert indices == sorted(set(indices)), "frames are counted on over a loss"
    assert {(frame["height"], frame["width"]) for frame in frames} == {(112, 160)}
    assert all(frame["detections"] for frame in frames)


def test_a_stream_that_falls_silent_is_opened_again(
    camera: Camera, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sources, "READ_MS", 400)
    following = Following(camera.address)
    following.more(3)
    camera.stalled = True
    wait_for(lambda: "was lost" in capfd.readouterr().err, "the loss")
    camera.stalled = False
    following.more(3)
    following.end()


def test_a_driver_that_hangs_does_not_hold_up_the_exit(
    board: bundles.Board, bundle: Path, camera: Camera, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    out.touch()
    running = board.start(bundle, "detect.py", camera.address, "--json", out)
    try:
        wait_for(lambda: out.read_text().count("\n") >= 2, "frames")
        camera.stalled = True
        time.sleep(0.3)
        start = time.monotonic()
        running.terminate()
        _, err = running.communicate(timeout=20)
        assert time.monotonic() - start < 2
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 0, err


def test_a_live_file_is_a_camera_of_its_own_rate(tmp_path: Path) -> None:
    following = Following(str(bundles.write_video(tmp_path / "ten.avi", frames=9)), live=True)
    following.more(8)
    following.end()
    gaps = np.diff([frame.taken for frame in following.frames[:8]])
    assert 0.08 < float(np.median(gaps)) < 0.2, "ten frames a second"


def test_waits_double_up_to_a_limit_and_start_again() -> None:
    waits: list[float] = []
    stop: Any = SimpleNamespace(wait=waits.append)
    back_off: Any = BackOff()
    for _ in range(8):
        back_off.wait(stop)
    assert waits == [min(backoff.FIRST_SECONDS * 2**k, backoff.MOST_SECONDS) for k in range(8)]
    back_off.succeeded()
    back_off.wait(stop)
    assert waits[-1] == backoff.FIRST_SECONDS


class Fast:
    """A camera of 500 frames a second."""

    live = True
    fps = 500.0
    unreadable = 0

    def __init__(self, count: int = 10_000) -> None:
        self.count = count

    def frames(self, stop: threading.Event) -> Iterator[Any]:
        for index in range(self.count):
            if stop.wait(0.002):
                return
            yield Frame(np.zeros((48, 64, 3), np.uint8), index, "fast", time.perf_counter())


class Slow:
    """A network that takes 40 ms and sees nothing."""

    takes = "tensor"

    def run(self, tensor: Any) -> dict[str, Any]:
        time.sleep(0.04)
        return {f"stride{s}": np.full((1, 45, 128 // s, 128 // s), -9, np.float32) for s in (32, 16)}

    def close(self) -> None:
        pass


def test_the_command_is_never_late_either(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 frames a second into a detector of 25: the age of a result is one frame's work, to the end."""
    monkeypatch.setattr(detecting, "open_source", lambda text, live: Fast(400))
    monkeypatch.setattr(detecting, "open_backend", lambda manifest, threads: Slow())
    monkeypatch.setattr(detecting.signal, "signal", lambda number, handler: None)
    out, drawn, times = tmp_path / "out.jsonl", tmp_path / "out.avi", tmp_path / "times.json"
    given = ["0", "--json", str(out), "--video", str(drawn), "--times", str(times)]
    assert detecting.main(str(bundle), given) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    ages = [line["latency_ms"] for line in lines]
    assert float(np.median(ages[len(ages) // 2 :])) < 80
    told = json.loads(times.read_text())
    assert told["frames"] == len(lines) >= 5
    assert told["dropped"] + told["frames"] == 400


def test_a_live_video_plays_as_fast_as_it_happened(tmp_path: Path) -> None:
    """Frames of a camera of 20 a second, of which some were dropped, and which then was away for a minute."""
    source: Any = SimpleNamespace(live=True, fps=20.0)
    video: Any = outputs.VideoFile(str(tmp_path / "out.avi"), ["a"], source)
    nothing = SimpleNamespace(boxes_xyxy=[], scores=[], classes=[])
    counts: list[int] = []
    for taken in (0.0, 0.05, 0.2, 0.21, 60.0, 60.05):
        before = video._written
        video.write(SimpleNamespace(image=np.zeros((48, 64, 3), np.uint8), taken=taken), nothing, 0.0)
        counts.append(video._written - before)
    video.close()
    assert counts == [1, 1, 3, 0, 20, 1]


def test_a_slow_detector_drops_frames_and_is_never_late() -> None:
    stop, work = threading.Event(), 0.04
    queue: Any = FrameQueue(1, drop=True)
    taking: Any = Taking(Fast(), queue, stop)
    taking.start()
    ages: list[float] = []
    indices: list[int] = []
    for _ in range(20):
        frame = queue.get(1)
        ages.append(time.perf_counter() - frame.taken)
        indices.append(frame.index)
        time.sleep(work)
    stop.set()
    taking.join(5)
    assert indices == sorted(set(indices))
    assert queue.dropped > 100
    assert float(np.median(ages)) < work / 2, "the latest frame is looked at, not one that waited"
    assert sum(ages[-5:]) < sum(ages[:5]) + 5 * work, "nothing piles up"


def test_nothing_of_a_file_is_dropped() -> None:
    queue: Any = FrameQueue(4, drop=False)
    source: Any = SimpleNamespace(frames=lambda stop: iter(range(200)))
    taking: Any = Taking(source, queue, threading.Event())
    taking.start()
    found: list[int] = []
    while not queue.ended:
        frame = queue.get(0.1)
        found += [] if frame is None else [frame]
    assert found == list(range(200))
    assert queue.dropped == 0


def test_a_full_queue_that_is_closed_lets_the_source_go() -> None:
    queue: Any = FrameQueue(1, drop=False)
    source: Any = SimpleNamespace(frames=lambda stop: iter(range(5)))
    taking: Any = Taking(source, queue, threading.Event())
    taking.start()
    time.sleep(0.05)
    queue.close()
    taking.join(2)
    assert not taking.is_alive()


def test_what_fails_in_the_source_is_kept_for_the_reader() -> None:
    def broken(stop: threading.Event) -> Iterator[Any]:
        raise DeviceError("no frames")
        yield

    queue: Any = FrameQueue(1, drop=True)
    taking: Any = Taking(SimpleNamespace(frames=broken), queue, threading.Event())
    taking.start()
    taking.join(2)
    assert queue.ended
    assert str(taking.error) == "no frames"


def test_words_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[Any, ...]] = []

    def capture(*arguments: Any) -> Any:
        opened.append(arguments)
        return SimpleNamespace(isOpened=lambda: False, release=lambda: None)

    monkeypatch.setattr(sources.cv2, "VideoCapture", capture)
    stop: Any = SimpleNamespace(is_set=lambda: len(opened) % 2 == 1, wait=lambda seconds: None)
    pipeline = "videotestsrc ! videoconvert ! video/x-raw, format=BGR ! appsink"
    for text in ("0", "rtsp://user:secret@10.0.0.9/1", "csi:1", pipeline):
        source: Any = open_source(text)
        assert source.live
        assert "secret" not in source.name
        assert list(source.frames(stop)) == []
        opened.append(())
    assert opened[0] == (0,)
    assert opened[2][:2] == ("rtsp://user:secret@10.0.0.9/1", cv2.CAP_FFMPEG)
    assert "nvarguscamerasrc sensor-id=1 !" in opened[4][0]
    assert opened[4][1] == cv2.CAP_GSTREAMER
    assert opened[6] == (pipeline, cv2.CAP_GSTREAMER)
    shutil.copy(bundles.write_video(tmp_path / "a.avi"), tmp_path / "b.avi")
    assert not open_source(str(tmp_path / "b.avi")).live
