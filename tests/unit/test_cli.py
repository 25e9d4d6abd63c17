"""The command line as a person uses it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.command_line import edgehone

from edgehone.cli_options import ORDER

COMMANDS = ("run", "check", "analyse", "train", "evaluate", "detect", "diff", "boards")
TINY = "builtin:digits?train=8&val=4&test=4&width=96&height=96&max_px=60"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    result = edgehone(command, "--help")
    assert result.returncode == 0
    assert f"Example: edgehone {command}" in " ".join(result.stdout.split())


def test_help_lists_the_commands_as_a_user_meets_them() -> None:
    result = edgehone("--help")
    listed = re.findall(r"^\W* ([a-z]+)  ", result.stdout, re.MULTILINE)
    assert tuple(listed) == ORDER


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("check", "nowhere"), 2, "there is no data set"),
        (("check", "builtin:letters"), 2, "builtin:digits"),
        (("check", "builtin:digits?max_px=9999"), 2, "max_px"),
        (("run", TINY, "--out", "x", "--budget", "soon"), 2, "a duration is given like"),
        (("run", TINY, "--out", "x", "--board", "toaster"), 2, "the boards are cpu"),
        (("run", TINY, "--out", "x", "--model", "resnet"), 2, "the models are yolov4-tiny"),
        (("run", TINY, "--out", "x", "--proof", "maybe"), 2, "proof"),
        (("run", TINY, "--out", "x", "--latency", "fast"), 2, "cpu<=8ms"),
        (("diff", "darknet", "nobody"), 2, "preset"),
        (("train", TINY, "--out", "x", "--set", "optimisation.optimizer.speed=1"), 2, "unknown key"),
        (("train", TINY, "--out", "x", "--set", "lr"), 2, "path=value"),
        (("evaluate", "nowhere.onnx", TINY), 2, "there is no model"),
        (("detect", "nowhere.onnx", "a.jpg"), 2, "there is no model"),
        (("analyse", TINY, "--probe-budget", "soon"), 2, "a duration is given like"),
        (("explain", "x", "--budget", "soon"), 2, "a duration is given like"),
        (("explain", "x", "--budget", "120%"), 2, "from 0% to 100%"),
        (("explain", "x", "--budget", "-1%"), 2, "from 0% to 100%"),
        (("analyse", TINY, "--probe-budget", "1s"), 2, "a capacity probe has at least 40 steps"),
        (("fly",), 2, "fly"),
    ],
)
def test_bad_input_gets_a_clear_error(arguments: tuple[str, ...], code: int, words: str, tmp_path: Path) -> None:
    arguments = tuple(str(tmp_path / "x") if a == "x" else a for a in arguments)
    result = edgehone(*arguments)
    assert result.returncode == code, result.stderr
    assert words in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "x").exists(), "nothing is left behind"


def test_a_process_ends_with_a_message_and_a_code() -> None:
    command = [sys.executable, "-c", "from edgehone.cli import main; main()", "check", "nowhere"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 2
    assert "there is no data set" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_check_prints_one_document_and_fails_on_errors(tmp_path: Path) -> None:
    result = edgehone("check", TINY, "--json")
    assert result.returncode == 0
    summary = json.loads(result.stdout)
    assert summary["splits"] == {"train": 8, "val": 4, "test": 4}
    assert set(summary) >= {"format", "images", "boxes", "classes", "splits", "findings"}
    (tmp_path / "notes.md").write_text("no data here")
    refused = edgehone("check", str(tmp_path))
    assert refused.returncode == 1
    assert "is not recognised" in " ".join(refused.stderr.split())


def test_check_fails_on_a_finding_that_is_an_error(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    (tmp_path / "data.yaml").write_text("names: [cell]\n")
    for split in ("train", "val", "test"):
        for number in range(2):
            picture = tmp_path / split / "images" / f"{number}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            seed = 2 * ("train", "val", "test").index(split) + number
            coarse = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), np.uint8)
            cv2.imwrite(str(picture), cv2.resize(coarse, (40, 40)))
            label = tmp_path / split / "labels" / f"{number}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("0 0.5 0.5 0.5 0.5\n")
    assert edgehone("check", str(tmp_path)).returncode == 0
    (tmp_path / "train" / "labels" / "0.txt").write_text("0 0.5 0.5 0.5 0.5\n7 0.5 0.5 0.5 0.5\n")
    result = edgehone("check", str(tmp_path), "--json")
    assert result.returncode == 1
    assert "class-out-of-range" in {f["code"] for f in json.loads(result.stdout)["findings"]}


def test_diff_and_boards_as_json() -> None:
    changes = json.loads(edgehone("diff", "darknet", "authors", "--json").stdout)
    assert changes["projection.assigner.kind"] == ["best_anchor", "ratio_match"]
    assert "cpu" in json.loads(edgehone("boards", "--json").stdout)


def test_train_evaluate_detect(tmp_path: Path) -> None:
    out = tmp_path / "one"
    trained = edgehone(
        "train",
        TINY,
        "--out",
        str(out),
        "--steps",
        "2",
        "--set",
        "input.size=128",
        "--set",
        "optimisation.batch_size=8",
        "--precision",
        "fp32",
        "--json",
    )
    assert trained.returncode == 0, trained.stderr
    assert {"detector.pt", "model.onnx", "strategy.json", "curve.json"} <= {p.name for p in out.iterdir()}
    stamp = (out / "detector.pt").stat().st_mtime_ns
    assert edgehone("train", *trained.args[1:]).stdout == trained.stdout
    assert (out / "detector.pt").stat().st_mtime_ns == stamp, "a complete training is not repeated"
    evaluated = edgehone("evaluate", str(out), TINY, "--split", "test", "--json")
    keys = {"ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "images", "per_class"}
    assert keys <= set(json.loads(evaluated.stdout))
    same = edgehone("evaluate", str(out / "detector.pt"), TINY, "--json")
    assert json.loads(same.stdout)["ap"] == pytest.approx(json.loads(evaluated.stdout)["ap"], abs=1e-3)
    picture = tmp_path / "a.png"
    _write_picture(picture)
    found = json.loads(edgehone("detect", str(out), str(picture), "--threshold", "0.0", "--json").stdout)["images"]
    assert (found[0]["height"], found[0]["width"]) == (50, 70)
    for item in found[0]["detections"]:
        x1, y1, x2, y2 = item["box_xyxy"]
        assert 0 <= x1 <= x2 <= 70
        assert 0 <= y1 <= y2 <= 50


def _write_picture(path: Path) -> None:
    import cv2
    import numpy as np

    cv2.imwrite(str(path), np.full((50, 70, 3), 120, np.uint8))
