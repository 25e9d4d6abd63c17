"""The main job on tiny scenes, killed on the way, to the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgehone.deploy.verify import verify_bundle

DATA = "builtin:digits?train=24&val=8&test=8&width=128&height=128&min_px=30&max_px=80&max_objects=3"


@pytest.fixture
def small_plans(tmp_path: Path) -> Path:
    """A start script that lowers the floor of a full training: the machinery is tested, not the detector.

    No detector can have learnt enough there, so the run has to say that this one has not.
    """
    script = tmp_path / "start.py"
    script.write_text(
        "import edgehone.search.calibration as calibration\n"
        "import edgehone.search.plan as plan\n"
        "import edgehone.search.sufficiency as sufficiency\n"
        "plan.MIN_STEPS, plan.TRIAL_OVERHEAD_S = 8, 1.0\n"
        "sufficiency.LEAST_AP = 2.0\n"
        "calibration.SIZE, calibration.STEPS = 160, 4\n"
        "from edgehone.cli import main\n"
        "if __name__ == '__main__':\n"
        "    main()\n"
    )
    return script


def command(script: Path, out: Path) -> list[str]:
    return [sys.executable, str(script), "run", DATA, "--budget", "150s", "--max-input", "160", "--out", str(out)]


def test_killed_twice_it_ends_complete_and_repeats_nothing(small_plans: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for wanted in (2, 5):
        process = subprocess.Popen(command(small_plans, out), stderr=subprocess.DEVNULL, start_new_session=True)
        _wait_for_trials(out, wanted, process)
        children = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive, "workers end by themselves when their parent is gone"
    before = {path: path.stat().st_mtime_ns for path in out.glob("trials/*/result.json")}
    finished = subprocess.run(command(small_plans, out), capture_output=True, text=True, check=False, timeout=400)
    assert finished.returncode == 0, finished.stderr[-3000:]
    for path, stamp in before.items():
        assert path.stat().st_mtime_ns == stamp, f"{path.parent.name} was trained again"
    _check_folder(out)
    again = subprocess.run([*command(small_plans, out), "--json"], capture_output=True, text=True, check=False)
    assert json.loads(again.stdout)["found"] == json.loads((out / "results.json").read_text())["found"]
    assert before.items() <= {p: p.stat().st_mtime_ns for p in out.glob("trials/*/result.json")}.items()


def test_ctrl_c_ends_with_a_word_and_keeps_what_is_finished(small_plans: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(small_plans, out),
        stderr=subprocess.PIPE,
        text=True,
        # Interrupted in its own callbacks, a measure of coverage prints a traceback that is not ours.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")},
        # A shell that starts tests in the background lets its children ignore interruptions.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    _wait_for_trials(out, 1, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "give the same command again to go on" in " ".join(said.split())
    assert "Traceback" not in said
    assert list(out.glob("trials/*/result.json"))


def _wait_for_trials(out: Path, count: int, process: subprocess.Popen[Any]) -> None:
    end = time.monotonic() + 200
    while time.monotonic() < end and process.poll() is None:
        if len(list(out.glob("trials/*/result.json"))) >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"no {count} trials: the run ended with {process.poll()}")


def _check_folder(out: Path) -> None:
    names = {p.name for p in out.iterdir()}
    assert {"results.json", "strategy.json", "report.html", "model.onnx", "plan.json", "profile.json"} <= names
    assert not list(out.rglob("*.tmp"))
    results = json.loads((out / "results.json").read_text())
    for entry in (results["found"], results["default"], *results["presets"].values()):
        assert {"strategy", "preset", "test", "validation", "interval95"} <= set(entry)
        low, high = entry["interval95"]["ap"]
        assert 0 <= low <= high <= 1
    assert set(results["presets"]) == {"darknet", "authors"}
    assert {"total", "search", "train"} <= set(results["seconds"])
    assert results["boards"]["cpu"]["parity"]["max_abs_difference"] <= 1e-3
    assert verify_bundle(out / "cpu").passed
    sizes = {entry["strategy"]["input"]["size"] for entry in (results["found"], *results["presets"].values())}
    assert len(sizes) == 1, "presets are trained at the winner's input"
    gflops = [entry["gflops"] for entry in (results["found"], *results["presets"].values())]
    assert max(gflops) <= 1.15 * min(gflops), "equal compute"
    report = (out / "report.html").read_text()
    [warning] = results["warnings"]
    assert "--budget" in warning
    assert warning in report
    assert 'src="http' not in report
    assert "<svg" in report
