"""The commands that look at data, as a person uses them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from tests.unit.command_line import edgehone

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))
import planted
import planted_faults

TINY = "builtin:digits?train=8&val=4&test=4&width=96&height=96&max_px=60"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with one doubled box and a third class."""
    root = tmp_path_factory.mktemp("cli") / "data"
    planted.write_yolo(root)
    planted_faults.third_class({"train": 25, "val": 4, "test": 4})(root)
    planted_faults.add_boxes(planted_faults.A)(root)
    return root


def test_check_works_without_torch(data: Path) -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'onnx', 'onnxruntime'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from edgehone.cli import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code, "check", str(data), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["counts"] == {"format": 1, "box-duplicate": 1}


def test_check_says_places_meaning_and_remedy(data: Path) -> None:
    result = edgehone("check", str(data))
    assert result.returncode == 0
    text = " ".join(result.stdout.split())
    for words in ("YOLO, 300 images", "box-duplicate", "labels/train/train000.txt line 4", "remove one", "0 errors"):
        assert words in text


def test_check_repairs_into_a_new_folder_only(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "clean"
    result = edgehone("check", str(data), "--repair", str(out), "--to", "yolo", "--json")
    assert json.loads(result.stdout)["repair"] == {"description": str(out / "data.yaml"), "changes": 1}
    assert json.loads(edgehone("check", str(out), "--json").stdout)["counts"] == {"format": 1}
    again = edgehone("check", str(data), "--repair", str(out))
    assert again.returncode == 2
    assert "holds something" in " ".join(again.stderr.split())


def test_classes_are_joined_dropped_and_ignored(data: Path) -> None:
    for options, classes, ignored in (
        (["--merge", "insect=ant,bee"], ["insect", "cat"], 0),
        (["--drop", "cat"], ["ant", "bee"], 0),
        (["--ignore", "cat"], ["ant", "bee"], 33),
    ):
        summary = json.loads(edgehone("check", str(data), "--json", *options).stdout)
        assert (summary["classes"], summary["ignored"]) == (classes, ignored)
    for options, words in (
        (["--drop", "dog"], "classes of the data (ant, bee, cat); got dog"),
        (["--merge", "ant"], "joined like --merge vehicle=car,van"),
        (["--drop", "ant", "--ignore", "ant"], "only once"),
    ):
        refused = edgehone("check", str(data), *options)
        assert refused.returncode == 2
        assert words in " ".join(refused.stderr.split())


def test_convert_writes_what_check_reads(data: Path, tmp_path: Path) -> None:
    result = edgehone("data", "convert", str(data), str(tmp_path / "copy"), "--to", "coco")
    assert result.returncode == 0, result.stderr
    summary = json.loads(edgehone("check", str(tmp_path / "copy"), "--json").stdout)
    assert (summary["format"], summary["images"]) == ("COCO JSON", 300)
    refused = edgehone("data", "convert", str(data), str(tmp_path / "copy"))
    assert refused.returncode == 2


def test_profile_and_show(tmp_path: Path) -> None:
    profile = json.loads(edgehone("data", "profile", TINY, "--json").stdout)
    assert profile["splits"]["train"]["images"] == 8
    assert "median" in edgehone("data", "profile", TINY).stdout
    sheet = tmp_path / "sheet.png"
    shown = edgehone(
        "data", "show", TINY, "--out", str(sheet), "--rows", "2", "--columns", "3", "--set", "input.size=128"
    )
    assert shown.returncode == 0, shown.stderr
    assert cv2.imread(str(sheet)).shape[1] > 3 * 128
    refused = edgehone("data", "show", TINY, "--out", str(tmp_path / "sheet.mp4"))
    assert refused.returncode == 2
    assert "written as .jpg or .png" in " ".join(refused.stderr.split())
