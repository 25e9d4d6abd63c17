"""The scripts for a Jetson, run here with a trtexec that only notes what it was asked for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgehone.deploy.jetson import contents

TRTEXEC = """#!/bin/sh
printf '%s\\n' "$@" > asked.txt
for option in "$@"; do
  case "$option" in --saveEngine=*) echo engine > "${option#--saveEngine=}";; esac
done
echo '[W] Missing scale and zero-point for tensor boxes, expect fall back to non-int8 implementation'
exit ${TRTEXEC_FAILS:-0}
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    shutil.copy(contents.FILES / contents.BUILD, tmp_path)
    (tmp_path / "calibration.cache").write_text("TRT-8001-EntropyCalibration2\nimages: 3c010a14\n")
    (tmp_path / "variants").mkdir()
    for name in ("fp16-nms", "fp16-raw", "fp32-nms", "int8-nms", "int8-raw", "int8-qdq"):
        precision, _, kind = name.partition("-")
        model = {"graph": f"model_{kind}.onnx", "path": f"{name}.engine", "precision": precision}
        (tmp_path / "variants" / f"{name}.json").write_text(json.dumps({"variant": name, "model": model}))
    shutil.copy(tmp_path / "variants" / "fp16-nms.json", tmp_path / "manifest.json")
    trtexec = tmp_path / "trtexec"
    trtexec.write_text(TRTEXEC)
    trtexec.chmod(0o755)
    return tmp_path


def build(bundle: Path, *arguments: str, version: str = "8.2.1", **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TRTEXEC": str(bundle / "trtexec"), "TENSORRT_VERSION": version, **more}
    command = ["bash", str(bundle / contents.BUILD), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


def asked(bundle: Path) -> list[str]:
    return (bundle / "asked.txt").read_text().splitlines()


@pytest.mark.parametrize(
    ("version", "expected", "refused"),
    [
        ("8.0.1", "--workspace=2048", "--exportLayerInfo=fp16-nms.engine.layers.json"),
        ("8.2.1", "--workspace=2048", "--memPoolSize=workspace:2048"),
        ("8.4.1", "--memPoolSize=workspace:2048", "--workspace=2048"),
        ("8.5.2.2", "--memPoolSize=workspace:2048", "--workspace=2048"),
    ],
)
def test_options_are_those_of_the_version(bundle: Path, version: str, expected: str, refused: str) -> None:
    ended = build(bundle, version=version)
    assert ended.returncode == 0, ended.stderr
    options = asked(bundle)
    assert options[:2] == ["--onnx=model_nms.onnx", "--saveEngine=fp16-nms.engine"]
    assert expected in options
    assert refused not in options
    assert ("--exportLayerInfo=fp16-nms.engine.layers.json" in options) == (version != "8.0.1")
    assert "--fp16" in options
    assert "--int8" not in options
    assert json.loads((bundle / "manifest.json").read_text())["variant"] == "fp16-nms"


@pytest.mark.parametrize(("version", "number"), [("8.0.1", "8001"), ("8.5.2", "8502")])
def test_a_cache_is_given_the_version_of_the_board(bundle: Path, version: str, number: str) -> None:
    ended = build(bundle, "int8-raw", version=version)
    assert ended.returncode == 0, ended.stderr
    assert {"--int8", "--fp16", "--calib=int8-raw.engine.cache", "--onnx=model_raw.onnx"} <= set(asked(bundle))
    written = (bundle / "int8-raw.engine.cache").read_text().splitlines()
    assert written == [f"TRT-{number}-EntropyCalibration2", "images: 3c010a14"]
    assert (bundle / "calibration.cache").read_text().startswith("TRT-8001-"), "what has a checksum stays as it is"
    assert "tensors without a range, by TensorRT's own warnings: 1" in ended.stdout


def test_explicit_rounding_takes_no_cache(bundle: Path) -> None:
    assert build(bundle, "int8-qdq").returncode == 0
    assert "--int8" in asked(bundle)
    assert build(bundle).returncode == 0
    assert "--onnx=model_qdq.onnx" in asked(bundle), "without a name the bundle's own is built, or what was last"
    assert not [option for option in asked(bundle) if option.startswith("--calib")]


def test_full_precision_asks_for_no_other(bundle: Path) -> None:
    assert build(bundle, "fp32-nms").returncode == 0
    assert not {"--fp16", "--int8"} & set(asked(bundle))


def test_the_dla_is_experimental_and_reads_no_explicit_rounding(bundle: Path) -> None:
    ended = build(bundle, "fp16-raw", "--dla", "1", "--workspace", "512")
    assert ended.returncode == 0
    assert "experimental" in ended.stderr
    assert {"--useDLACore=1", "--allowGPUFallback", "--workspace=512"} <= set(asked(bundle))
    assert "reads no explicit rounding" in build(bundle, "int8-qdq", "--dla", "0").stderr
    assert "FP16 and INT8" in build(bundle, "fp32-nms", "--dla", "0").stderr


@pytest.mark.parametrize(
    ("arguments", "version", "more", "message"),
    [
        (["fp64"], "8.2.1", {}, "the variants are fp16-nms fp16-raw"),
        (["--fast"], "8.2.1", {}, "the options are"),
        (["--dla"], "8.2.1", {}, "needs a core"),
        ([], "7.1.3", {}, "8.0 or later"),
        ([], "eight", {}, "was not found"),
        ([], "8.2.1", {"TRTEXEC": "nowhere"}, "comes with JetPack"),
        ([], "8.2.1", {"TRTEXEC_FAILS": "1"}, "trtexec failed"),
    ],
)
def test_what_cannot_be_built_is_said(
    bundle: Path, arguments: list[str], version: str, more: dict[str, str], message: str
) -> None:
    ended = build(bundle, *arguments, version=version, **more)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert json.loads((bundle / "manifest.json").read_text())["variant"] == "fp16-nms"


RECORDED_HEADER = """
// The part of DeepStream's published interface that a parser of boxes needs, for a test that compiles it.
#pragma once
#include <vector>
struct NvDsInferLayerInfo { const char *layerName; void *buffer; };
struct NvDsInferNetworkInfo { unsigned int width, height, channels; };
struct NvDsInferParseDetectionParams {
  unsigned int numClassesConfigured; std::vector<float> perClassPreclusterThreshold;
};
struct NvDsInferObjectDetectionInfo {
  unsigned int classId; float left, top, width, height, detectionConfidence;
};
#define CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(f) static_assert(f != nullptr, "");
"""

MAIN = """
#include <cstdint>
#include <cstdio>
#include "nvdsinfer_custom_impl.h"
using Found = std::vector<NvDsInferObjectDetectionInfo>;
extern "C" bool NvDsInferParseEdgehone(std::vector<NvDsInferLayerInfo> const &, NvDsInferNetworkInfo const &,
                                       NvDsInferParseDetectionParams const &, Found &);
int main() {
  std::int32_t count[] = {4}, classes[] = {1, 0, 7, 1};
  float boxes[] = {10, 20, 30, 50, -5, -5, 200, 40, 0, 0, 9, 9, 0, 0, 9, 9}, scores[] = {.9f, .8f, .7f, .05f};
  std::vector<NvDsInferLayerInfo> layers = {
    {"detection_classes", classes}, {"detection_scores", scores}, {"detection_boxes", boxes},
    {"num_detections", count}};
  NvDsInferParseDetectionParams asked{2, {.1f, .1f}};
  Found found;
  if (!NvDsInferParseEdgehone(layers, {128, 64, 3}, asked, found)) return 1;
  for (auto const &o : found)
    std::printf("%u %g %g %g %g %g\\n", o.classId, o.left, o.top, o.width, o.height, o.detectionConfidence);
  layers.pop_back();
  return NvDsInferParseEdgehone(layers, {128, 64, 3}, asked, found) ? 1 : 0;
}
"""


def test_the_deepstream_parser_compiles_and_hands_boxes_over(tmp_path: Path) -> None:
    """Against a recording of DeepStream's interface, not the real one."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ here")
    (tmp_path / "nvdsinfer_custom_impl.h").write_text(RECORDED_HEADER)
    (tmp_path / "main.cpp").write_text(MAIN)
    parser = str(contents.FILES / "nvdsinfer_edgehone.cpp")
    command = [compiler, "-std=c++14", "-Wall", "-Werror", f"-I{tmp_path}", parser, "main.cpp", "-o", "parse"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert made.returncode == 0, made.stderr
    ended = subprocess.run([str(tmp_path / "parse")], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (0, "1 10 20 20 30 0.9\n0 0 0 128 40 0.8\n")
