"""Does a bundle run where there is nothing but Python, numpy, OpenCV and ONNX Runtime?

    .venv/bin/python benchmarks/bare_bundle.py [RUN [DATA]] [--constraints constraints.txt] [--keep DIR]

Makes a virtual environment of its own, without any of this one's packages; makes the bundle of RUN for ``cpu`` by
``edgehone deploy``; and runs the bundle's programs there, as programs. RUN is whatever ``deploy`` takes; without it
a small detector is trained for a few steps. DATA is needed where RUN does not say its own. Prints a line for each
check; exit 1 if one fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgehone.data import read_dataset

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime")
ABSENT = ("edgehone", "torch", "onnx", "pydantic", "scipy", "yaml", "pytest", "openvino")
DATA = "builtin:digits?train=32&val=8&test=8&width=160&height=112&min_px=20&max_px=60"
TRAINING = ("--steps", "20", "--set", "input.size=160", "--precision", "fp32")
FRAMES = 20
SIZE = (320, 224)
"""Of the film, ``(width, height)``."""
WAIT_SECONDS = 60.0


class Bare:
    """A virtual environment that holds :data:`PACKAGES` and what they need, and runs programs of a bundle."""

    def __init__(self, folder: Path, constraints: Path) -> None:
        self.python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        finished([sys.executable, "-m", "venv", folder])
        pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        finished([*pip, "--constraint", constraints, *PACKAGES])
        unwanted = ("PYTHONPATH", "PYTHONHOME")
        self.environment = {name: value for name, value in os.environ.items() if name not in unwanted}
        self.environment.update(PYTHONNOUSERSITE="1", PYTHONDONTWRITEBYTECODE="1", PYTHONUNBUFFERED="1")

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Python with these arguments, from a folder that is not the project's."""
        command, folder = [str(self.python), *map(str, words)], self.python.parent
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=self.environment, cwd=folder, **pipes)

    def run(self, *words: str | Path) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        started = self.start(*words)
        out, err = started.communicate(timeout=10 * WAIT_SECONDS)
        return started.returncode, out, err


def finished(command: list[Any]) -> None:
    """Run a command that must succeed; it says itself why it does not."""
    code = subprocess.run([str(word) for word in command], check=False, stdout=sys.stderr).returncode
    if code:
        raise SystemExit(f"{' '.join(str(word) for word in command)} ended with {code}")


def edgehone(*words: str | Path) -> None:
    """A command of the edgehone that this script belongs to."""
    finished([sys.executable, "-c", "from edgehone.cli import main; main()", *words])


def film(path: Path, data: str, frames: int = FRAMES) -> Path:
    """A picture of the data set that moves."""
    dataset = read_dataset(data)
    samples = dataset.test or dataset.val or dataset.train
    image = cv2.resize(samples[0].read().image[..., ::-1], SIZE)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, SIZE)
    for k in range(frames):
        writer.write(np.ascontiguousarray(np.roll(image, 3 * k, axis=1)))
    writer.release()
    return path


def check_environment(bare: Bare, bundle: Path, film: Path) -> str:
    """Nothing of edgehone's world can be imported."""
    del bundle, film
    probe = (
        f"import importlib.util as u; print(*[n for n in {ABSENT} if u.find_spec(n)]);"
        "import numpy, cv2, onnxruntime as o; print('numpy', numpy.__version__, 'OpenCV', cv2.__version__,"
        "'ONNX Runtime', o.__version__)"
    )
    code, out, err = bare.run("-c", probe)
    assert code == 0, err
    there, versions = out.split("\n")[:2]
    assert not there, f"{there} can be imported, and must not be there"
    return versions


def check_selftest(bare: Bare, bundle: Path, film: Path) -> str:
    """The self-test passes."""
    del film
    code, out, err = bare.run(bundle / "selftest.py", "--json")
    assert code == 0, out + err
    checks = json.loads(out)["checks"]
    assert all(check["passed"] for check in checks)
    return f"{len(checks)} checks; {checks[-1]['found']}"


def check_video(bare: Bare, bundle: Path, film: Path) -> str:
    """Every frame of a video file becomes a line and a drawn frame."""
    lines, drawn = film.parent / "video.jsonl", film.parent / "drawn.avi"
    code, _, err = bare.run(bundle / "detect.py", film, "--json", lines, "--video", drawn)
    assert code == 0, err
    found = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert [row["frame"] for row in found] == list(range(FRAMES)), "a line for each frame, in order"
    capture = cv2.VideoCapture(str(drawn))
    frames = sum(1 for _ in iter(lambda: capture.read()[0], False))
    assert frames == FRAMES, f"{frames} frames were drawn"
    return f"{len(found)} frames in, {frames} drawn, {sum(len(row['detections']) for row in found)} detections"


def check_loss(bare: Bare, bundle: Path, film: Path) -> str:
    """A source that disappears while the program runs, and returns, twice."""
    source, lines = film.parent / "camera.avi", film.parent / "live.jsonl"
    source.write_bytes(film.read_bytes())
    lines.touch()
    running = bare.start(bundle / "detect.py", source, "--live", "--json", lines)
    counts: list[int] = []

    def lines_now() -> int:
        return lines.read_text(encoding="utf-8").count("\n")

    try:
        wait_for(lambda: lines_now() >= 3, running, "the first frames")
        for _ in range(2):
            source.rename(film.parent / "away.avi")
            wait_for(lambda: quiet(lines_now), running, "silence")
            counts.append(lines_now())
            (film.parent / "away.avi").rename(source)
            wait_for(lambda: lines_now() >= counts[-1] + 3, running, "frames after the return")
        running.terminate()
        _, err = running.communicate(timeout=WAIT_SECONDS)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 0, err
    assert "gives no frames; trying again" in err, err
    assert err.count("is back") >= 2, err
    return f"frames went on from {counts[0]} and from {counts[1]} to {lines_now()}; exit 0"


def check_changed_byte(bare: Bare, bundle: Path, film: Path) -> str:
    """A byte of the model is changed: the self-test fails, and says which file."""
    del film
    model = bundle / json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["model"]["path"]
    whole = model.read_bytes()
    middle = len(whole) // 2
    model.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    code, out, err = bare.run(bundle / "selftest.py")
    model.write_bytes(whole)
    assert code == 1, f"exit {code}: {out}{err}"
    assert f"{model.name} was changed" in out, out
    assert bare.run(bundle / "selftest.py")[0] == 0, "with the byte put right it must pass again"
    return f"exit 1: {model.name} was changed"


CHECKS: dict[str, Callable[[Bare, Path, Path], str]] = {
    "nothing else is there": check_environment,
    "selftest": check_selftest,
    "a video, end to end": check_video,
    "a source goes and returns": check_loss,
    "a changed byte of the model": check_changed_byte,
}


def wait_for(condition: Callable[[], bool], running: subprocess.Popen[str], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert running.poll() is None, f"it ended while waiting for {what}: {running.communicate()[1]}"
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def quiet(count: Callable[[], int]) -> bool:
    """Nothing is added for a second."""
    before = count()
    time.sleep(1.0)
    return count() == before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?")
    parser.add_argument("data", nargs="?")
    parser.add_argument("--constraints", type=Path, default=ROOT / "constraints.txt")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="an empty folder to work in; default: a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = (given.keep or Path(name)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        run, data, options = given.run, given.data, []
        if run is None:
            run, data = str(folder / "run"), DATA
            edgehone("train", data, "--out", run, *TRAINING)
        if data is not None:
            options = ["--data", data]
        edgehone("deploy", run, "--board", "cpu", "--out", folder / "bundle", *options)
        bare = Bare(folder / "venv", given.constraints)
        moving = film(folder / "film.avi", data or DATA)
        good = [report(title, check, bare, folder / "bundle", moving) for title, check in CHECKS.items()]
    raise SystemExit(0 if all(good) else 1)


def report(title: str, check: Callable[[Bare, Path, Path], str], *given: Any) -> bool:
    """Make a check and print its line."""
    try:
        passed, found = True, check(*given)
    except (AssertionError, OSError, ValueError, subprocess.TimeoutExpired) as error:
        passed, found = False, str(error)
    print(f"{'ok' if passed else 'FAILED':7} {title:28} {found}", flush=True)
    return passed


if __name__ == "__main__":
    main()
