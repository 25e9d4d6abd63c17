"""A bundle as a board runs it: programs of their own, numpy, OpenCV and ONNX Runtime alone."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import bundles
import cv2
import numpy as np
import pytest

from edgehone.boards import read_measured
from edgehone.data.picture import write_image
from edgehone.inference import Detector


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def frames_of(video: Path) -> list[Any]:
    capture = cv2.VideoCapture(str(video))
    found: list[Any] = []
    while True:
        there, frame = capture.read()
        if not there:
            return found
        found.append(frame)


def test_the_board_has_nothing_else(board: bundles.Board, bundle: Path, tmp_path: Path) -> None:
    """The tests below would prove nothing if edgehone or torch could be imported."""
    (tmp_path / "probe.py").write_text(
        "for name in ('edgehone', 'torch', 'pydantic', 'onnx', 'scipy', 'yaml'):\n"
        "    try:\n        __import__(name)\n    except ImportError:\n        print(name)\n"
    )
    code, out, _ = board.run(tmp_path, "probe.py")
    assert (code, out.split()) == (0, ["edgehone", "torch", "pydantic", "onnx", "scipy", "yaml"])


def test_a_video_end_to_end(board: bundles.Board, bundle: Path, reference: Detector, tmp_path: Path) -> None:
    video = bundles.write_video(tmp_path / "in.avi")
    written = {"--json": tmp_path / "out.jsonl", "--video": tmp_path / "out.mp4", "--times": tmp_path / "times.json"}
    options = [word for pair in written.items() for word in pair]
    code, out, err = board.run(bundle, "detect.py", video, *options)
    assert (code, out) == (0, ""), err
    found = lines(written["--json"].read_text())
    assert [line["frame"] for line in found] == list(range(12))
    assert {(line["height"], line["width"], line["path"]) for line in found} == {(112, 160, str(video))}
    assert all(line["latency_ms"] > 0 for line in found)
    for line, frame in zip(found, frames_of(video), strict=True):
        theirs = next(reference.detect([np.ascontiguousarray(frame[..., ::-1])], bundles.POST))
        assert len(line["detections"]) == len(theirs)
        first = line["detections"][0]
        assert first["score"] == pytest.approx(float(theirs.scores[0]), abs=0.005)
        assert first["class"] == bundles.CLASSES[int(theirs.classes[0])]
        np.testing.assert_allclose(first["box_xyxy"], theirs.boxes_xyxy[0], atol=0.05)
    drawn = frames_of(written["--video"])
    assert len(drawn) == 12
    assert drawn[0].shape == (112, 160, 3)
    times = json.loads(written["--times"].read_text())
    assert (times["frames"], times["dropped"]) == (12, 0)
    assert list(times["stages"]) == ["capture", "prepare", "infer", "decode", "draw", "encode", "write"]
    assert all(0 < row["p50_ms"] <= row["p90_ms"] for row in times["stages"].values())


def test_pictures_and_lines_on_standard_output(board: bundles.Board, bundle: Path, tmp_path: Path) -> None:
    for k, image in enumerate(bundles.pictures(2)):
        write_image(tmp_path / f"{k}.png", image)
    (tmp_path / "notes.txt").write_text("no picture")
    code, out, _ = board.run(bundle, "detect.py", tmp_path, "--json", "-", "--threshold", "0.2")
    assert code == 0
    assert [Path(line["path"]).name for line in lines(out)] == ["0.png", "1.png"]
    assert min(box["score"] for line in lines(out) for box in line["detections"]) > 0.2
    (tmp_path / "0.png").write_bytes(b"cut short")
    code, out, err = board.run(bundle, "detect.py", tmp_path)
    assert code == 1, "a picture was not looked at"
    assert [Path(line["path"]).name for line in lines(out)] == ["1.png"]
    assert "0.png is no picture" in err


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nowhere.mp4", "a source is a picture"),
        ("nowhere.jpg", "there is no picture"),
        (".", "a folder holds pictures"),
    ],
)
def test_a_wrong_source_is_told(board: bundles.Board, bundle: Path, tmp_path: Path, source: str, says: str) -> None:
    code, out, err = board.run(bundle, "detect.py", tmp_path / source)
    assert (code, out) == (1, "")
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("option", "name", "says"),
    [
        ("--json", "no/a.jsonl", "cannot be written to"),
        ("--video", "a.gif", "a video is written as"),
        ("--times", "no/t", "No such file"),
    ],
)
def test_an_output_that_cannot_be_is_told(
    board: bundles.Board, bundle: Path, tmp_path: Path, option: str, name: str, says: str
) -> None:
    picture = tmp_path / "a.png"
    write_image(picture, bundles.pictures(1)[0])
    code, _, err = board.run(bundle, "detect.py", picture, option, tmp_path / name)
    assert code == 1
    assert says in err
    assert "Traceback" not in err


def test_what_opencv_cannot_decode_is_told(board: bundles.Board, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.avi").write_bytes(bytes(2000))
    code, _, err = board.run(bundle, "detect.py", tmp_path / "bad.avi")
    assert code == 1
    assert "frames that OpenCV can decode" in err


def test_selftest_passes_and_fails_when_a_byte_of_the_model_is_changed(
    board: bundles.Board, copied: Path, tmp_path: Path
) -> None:
    code, out, err = board.run(copied, "selftest.py")
    assert code == 0, out + err
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["ok", "files:"],
        ["ok", "pictures:"],
        ["ok", "outputs:"],
        ["ok", "detections:"],
    ]
    content = bytearray((copied / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copied / "model.onnx").write_bytes(content)
    code, out, _ = board.run(copied, "selftest.py", "--json")
    told = json.loads(out)
    assert (code, told["passed"]) == (1, False)
    assert told["checks"][0]["found"] == "model.onnx was changed: its SHA-256 is not the one in manifest.json"


def test_measure_writes_what_edgehone_reads(board: bundles.Board, copied: Path) -> None:
    options = ["--runs", "12", "--warm-up", "2", "--threads", "1", "2", "--json"]
    code, out, err = board.run(copied, "measure.py", *options)
    assert code == 0, err
    told = json.loads(out)
    assert [row["threads"] for row in told["timings"]] == [1, 2]
    assert all(row["network"]["p50_ms"] <= row["network"]["p99_ms"] for row in told["timings"])
    assert all(20 < row["memory_mib"] < 1000 for row in told["timings"]), "beyond the interpreter alone"
    measured = read_measured(copied / "measured.json")
    assert measured.board == "cpu"
    assert measured.runtime.startswith("ONNX Runtime ")
    assert measured.runtime.endswith(" threads)")
    one = measured.measurements[0]
    assert (one.network, one.precision, one.input_size, one.runs) == ("yolov4-tiny", "fp32", (128, 128), 12)
    assert one.p50_ms == min(row["network"]["p50_ms"] for row in told["timings"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_time_with_whole_files(
    board: bundles.Board, bundle: Path, tmp_path: Path, number: signal.Signals
) -> None:
    video = bundles.write_video(tmp_path / "in.avi")
    out, drawn = tmp_path / "out.jsonl", tmp_path / "out.avi"
    running = board.start(bundle, "detect.py", video, "--live", "--json", out, "--video", drawn)
    try:
        deadline = time.monotonic() + 30
        while not (out.is_file() and out.read_text().count("\n") >= 5):
            assert running.poll() is None, running.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        start = time.monotonic()
        running.send_signal(number)
        running.communicate(timeout=20)
        assert time.monotonic() - start < 2
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 0
    found = lines(out.read_text())  # every line is whole
    assert len(found) >= 5
    assert len(frames_of(drawn)) >= len(found) - 1  # the signal may come between a line and its frame


def test_a_reader_that_leaves_is_no_error(board: bundles.Board, bundle: Path, tmp_path: Path) -> None:
    video = bundles.write_video(tmp_path / "in.avi", frames=40)
    running = board.start(bundle, "detect.py", video, "--live", "--json", "-")
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.readline()
    running.stdout.close()
    err = running.stderr.read()
    running.stderr.close()
    assert running.wait(timeout=20) == 0, err
    assert "Traceback" not in err
