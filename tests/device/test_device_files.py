"""What is copied into bundles runs under Python 3.6 with numpy, OpenCV and the vendor's library."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgehone.deploy.device import FOLDER, device_files
from edgehone.deploy.device.runtime.backends import MODULES
from edgehone.deploy.kneron.contents import COMPILE
from edgehone.deploy.kneron.contents import FILES as KNERON_FILES
from edgehone.errors import UsageError

COMPILE_NEF = KNERON_FILES / COMPILE
FILES = {name: content.decode() for runtime in MODULES for name, content in device_files(runtime).items()}
VENDORS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "tensorrt": "tensorrt", "kneron": "kp"}


def imported(text: str) -> set[str]:
    """Top-level names of the absolute imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def vermin(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import vermin; vermin.main()", "--no-tips", "--target=3.6-", "--processes=1"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_vermin_finds_nothing_newer_than_3_6() -> None:
    """Of the script for Kneron's container, too: which Python that has is not said, so the oldest of all must do."""
    paths = [*(str(FOLDER / name) for name in FILES), str(COMPILE_NEF)]
    ended = vermin("--violations", *paths)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_vermin_would_find_something(tmp_path: Path) -> None:
    """The tool looks at syntax and at the standard library."""
    for number, text in enumerate(("if (a := 3): pass\n", "import dataclasses\n", "f'{1=}'\n")):
        path = tmp_path / f"{number}.py"
        path.write_text(text)
        assert vermin(str(path)).returncode == 1, text


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_grammar_of_3_6_reads_it(name: str) -> None:
    ast.parse(FILES[name], feature_version=(3, 6))


@pytest.mark.parametrize("release", ["3.6", "3.8"])
def test_a_real_python_compiles_it(release: str, tmp_path: Path) -> None:
    python = shutil.which(f"python{release}") or ""
    environment = {**os.environ, "PYENV_VERSION": release}  # where pyenv chooses, it must be told
    if not python or subprocess.run([python, "-c", ""], env=environment, capture_output=True, check=False).returncode:
        pytest.skip(f"no python{release} runs here; vermin and the grammar alone have judged")
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    command = [python, "-m", "compileall", "-q", str(tmp_path)]
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("runtime", sorted(MODULES))
def test_only_numpy_opencv_and_the_vendor_are_imported(runtime: str) -> None:
    names = set[str]().union(*(imported(content.decode()) for content in device_files(runtime).values()))
    beyond = names - set(sys.stdlib_module_names) - {"runtime"}
    assert beyond == {"numpy", "cv2", VENDORS[runtime]}


def test_a_bundle_gets_one_backend() -> None:
    for runtime, (module, _) in MODULES.items():
        names = device_files(runtime)
        backends = {name for name in names if name.startswith("runtime/backends/on_")}
        assert backends == {f"runtime/backends/{module}.py"}
        assert {"detect.py", "selftest.py", "measure.py", "runtime/__init__.py"} <= set(names)


def test_another_runtime_is_refused() -> None:
    with pytest.raises(UsageError, match="onnxruntime, openvino, tensorrt, kneron"):
        device_files("tflite")
