"""NVIDIA Jetson Xavier NX with TensorRT."""

from __future__ import annotations

from edgehone.boards.board import Board, Fact, ImageFormat, Memory, PowerMode, Runtime

_MODES = "nvpmodel table for module P3668, L4T r35.4.1"
_JETPACK = "JetPack release table (gist by Tiryoh)"
_OPERATORS = "onnx/onnx-tensorrt docs/operators.md"
_NOTES = "TensorRT 8.x developer guide, DLA chapter"

_GB_PER_S = {1600: 51.2, 1866: 59.7}


def _mode(identity: int, name: str, clocks: tuple[int, int, int, int, int]) -> PowerMode:
    cpus, cpu, gpu, memory, accelerator = clocks
    return PowerMode(
        name=name,
        identity=identity,
        cpus=cpus,
        cpu_mhz=cpu,
        gpu_mhz=gpu,
        memory_mhz=memory,
        accelerator_mhz=accelerator,
        gb_per_s=_GB_PER_S[memory],
        watts=float(name.partition("W")[0]),
    )


POWER_MODES = (
    _mode(0, "15W_2CORE", (2, 1900, 1100, 1600, 1100)),
    _mode(1, "15W_4CORE", (4, 1400, 1100, 1600, 1100)),
    _mode(2, "15W_6CORE", (6, 1400, 1100, 1600, 1100)),
    _mode(3, "10W_2CORE", (2, 1500, 800, 1600, 900)),
    _mode(4, "10W_4CORE", (4, 1200, 800, 1600, 900)),
    _mode(5, "10W_DESKTOP", (4, 1900, 510, 1600, 900)),
    _mode(6, "20W_2CORE", (2, 1900, 1100, 1866, 1100)),
    _mode(7, "20W_4CORE", (4, 1400, 1100, 1866, 1100)),
    _mode(8, "20W_6CORE", (6, 1400, 1100, 1866, 1100)),
)

RUNTIMES = (
    Runtime(
        version="7.1",
        name="TensorRT 7.1.3 (JetPack 4.4 to 4.5.1)",
        opsets=(7, 11),
        max_ir=6,
        python="3.6",
        source=f"{_OPERATORS}, 7.2; {_JETPACK}; format version of ONNX 1.6",
        sure="derived",
    ),
    Runtime(
        version="8.0",
        name="TensorRT 8.0.1 (JetPack 4.6)",
        opsets=(7, 13),
        max_ir=7,
        python="3.6",
        source=f"{_JETPACK}; opset from common knowledge; format version of ONNX 1.8",
        sure="known",
    ),
    Runtime(
        version="8.2",
        name="TensorRT 8.2.1 (JetPack 4.6.1 and 4.6.2)",
        opsets=(7, 13),
        max_ir=7,
        python="3.6",
        source=f"{_OPERATORS}, 8.2; {_JETPACK}; format version of ONNX 1.8",
        sure="derived",
    ),
    Runtime(
        version="8.4",
        name="TensorRT 8.4 (JetPack 5.0)",
        opsets=(7, 13),
        max_ir=7,
        python="3.8",
        source=f"{_OPERATORS}, 8.4 (commit 009d654); {_JETPACK}; format version of ONNX 1.8",
        sure="derived",
    ),
    Runtime(
        version="8.5",
        name="TensorRT 8.5.2 (JetPack 5.1)",
        opsets=(7, 17),
        max_ir=8,
        python="3.8",
        source=f"{_OPERATORS}, 8.5; NVIDIA/TensorRT issue 3847; format version of ONNX 1.12",
        sure="derived",
    ),
)

LIMITS = (
    Fact(
        text="an engine runs only with the kind of board and the TensorRT that built it: build it on the board",
        source="TensorRT 8.x developer guide",
    ),
    Fact(
        text="EfficientNMS_TRT needs TensorRT 8.0; its attribute class_agnostic came later and is left out",
        source="TensorRT plugin/efficientNMSPlugin/README.md",
        sure="known",
    ),
    Fact(text="NonMaxSuppression is read by TensorRT 8.5 and later only", source=f"{_OPERATORS}, 8.5"),
    Fact(
        text="the accelerators (DLA) take FP16 and INT8 and static shapes, and no explicit Q/DQ graph",
        source=_NOTES,
    ),
    Fact(
        text="building YOLOv4-tiny for DLA fails in TensorRT 7.1.3; use of DLA is experimental",
        source="NVIDIA/TensorRT issue 828; tensorrt_demos README",
    ),
    Fact(text="JetPack 6 does not support Xavier", source="NVIDIA JetPack 6 release notes", sure="known"),
    Fact(text="a calibration cache is bound to a TensorRT version by its first line", source="NVIDIA/TensorRT 1378"),
)

NOTES = (
    Fact(
        text="set the power mode before measuring: the factory default of JetPack 5 is 10W_DESKTOP with the GPU at "
        "510 MHz; fastest is 20W_2CORE (since JetPack 4.6) or 15W_2CORE, each with jetson_clocks",
        source=f"{_MODES}; enazoe/yolo-tensorrt issue 164",
    ),
    Fact(
        text="fusion of convolution and LeakyReLU in INT8 is not guaranteed on Volta; ReLU and ReLU6 are safe",
        source="NVIDIA/TensorRT issue 2134",
    ),
    Fact(text="peaks at 1100 MHz: FP32 0.845, FP16 6.76 TFLOPS, INT8 13.5 TOPS", source=_MODES, sure="derived"),
)

JETSON_XAVIER_NX = Board(
    name="jetson-xavier-nx",
    hardware="384-core Volta GPU with 48 tensor cores, 6 Carmel cores, 2 NVDLA, 8 or 16 GB LPDDR4x",
    runtime="TensorRT",
    runtimes=RUNTIMES,
    default_runtime="8.0",
    precisions=("fp32", "fp16", "int8"),
    delivered="fp16",
    memory=Memory(
        total_bytes=8 * 1024**3, model_bytes=None, source="Jetson Xavier NX data sheet (8 GB module)", sure="known"
    ),
    image_formats=(ImageFormat(name="RGB float32", bits_per_channel=8, exact=True),),
    power_modes=POWER_MODES,
    default_power_mode="15W_2CORE",
    limits=LIMITS,
    notes=NOTES,
    sources={
        "hardware": "Jetson Xavier NX data sheet",
        "precisions": "TensorRT 8.x developer guide, support matrix for compute capability 7.2",
        "image_formats": "edgehone: the graph takes RGB / 255",
        "power_modes": _MODES,
    },
)
