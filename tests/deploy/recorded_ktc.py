"""The interface of Kneron's toolchain as its manual (v0.33.1) describes it, recorded for a test: not the toolchain.

Graphs are run by ONNX Runtime; a "bie" and a "nef" are copies of the graph. Settings that the manual does not name are
refused, and what was asked for is kept.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime

ANALYSIS = {
    "output_dir", "threads", "datapath_range_method", "percentage", "percentage_16b", "percentile", "outlier_factor",
    "quantize_mode", "datapath_bitwidth_mode", "weight_bitwidth_mode", "flops_ratio", "model_in_bitwidth_mode",
    "model_out_bitwidth_mode", "cpu_node_bitwidth_mode", "compiler_tiling", "optimize", "mode",
}  # fmt: skip
BITS = {"int8", "int16", "mix light", "mix balance", "mixbw"}


class Toolchain:
    """What ``import ktc`` and ``import kneronnxopt`` give; ``fault`` makes the optimiser or the chip go wrong."""

    def __init__(self, folder: Path, fault: str = "") -> None:
        self.folder = folder
        self.fault = fault
        self.asked: dict[str, Any] = {}
        self.ktc = ModuleType("ktc")
        self.optimiser = ModuleType("kneronnxopt")
        vars(self.ktc).update(ModelConfig=self.model_config, compile=self.compile, kneron_inference=self.inference)
        vars(self.optimiser).update(optimize=self.optimise)

    def install(self, monkeypatch: Any) -> None:
        monkeypatch.setitem(sys.modules, "ktc", self.ktc)
        monkeypatch.setitem(sys.modules, "kneronnxopt", self.optimiser)

    def optimise(self, model: onnx.ModelProto) -> onnx.ModelProto:
        if self.fault == "folds":
            first = model.graph.node[0]
            model.graph.node.remove(first)
            for node in model.graph.node:
                node.input[:] = [first.input[0] if name == first.output[0] else name for name in node.input]
        return model

    def model_config(self, number: int, version: str, platform: str, onnx_model: onnx.ModelProto) -> Toolchain:
        assert isinstance(number, int)
        assert len(version) == 4
        assert platform == "720"
        onnx.save(onnx_model, str(self.folder / "graph.onnx"))
        return self

    def evaluate(self, output_dir: str) -> str:
        assert Path(output_dir).is_dir()
        return "npu only: 9.0 ms"

    def analysis(self, inputs: dict[str, list[Any]], **settings: Any) -> str:
        assert set(settings) <= ANALYSIS
        assert settings["percentage"] <= settings["percentage_16b"]
        assert {settings["datapath_bitwidth_mode"], settings["weight_bitwidth_mode"]} <= BITS
        self.asked = {"inputs": inputs, **settings}
        return shutil.copy(self.folder / "graph.onnx", self.folder / "model.bie")

    def compile(self, configs: list[Toolchain]) -> str:
        assert configs == [self]
        return shutil.copy(self.folder / "graph.onnx", self.folder / "models_720.nef")

    def inference(self, given: list[Any], *, input_names: list[str], platform: int, **file: str) -> list[Any]:
        assert platform == 720
        assert set(file) <= {"onnx_file", "bie_file", "nef_file"}
        session = onnxruntime.InferenceSession(next(iter(file.values())), providers=["CPUExecutionProvider"])
        said = session.run(None, dict(zip(input_names, given, strict=True)))
        if self.fault == "noisy" and "onnx_file" not in file:
            return [one + np.random.default_rng(0).normal(0, 2 * one.std(), one.shape) for one in said]
        return said
