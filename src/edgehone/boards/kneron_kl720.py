"""Kneron KL720, programmed through KneronPLUS."""

from __future__ import annotations

from edgehone.boards.board import Board, Fact, ImageFormat, Memory, Runtime

_DOCS = "kneron/document_center 655441c (toolchain v0.33.1)"
_PLUS = "KneronPLUS 3.2.0 documentation"
_PREPROCESS = f"{_DOCS}, hardware_image_preprocessing.md"

MB = 1024**2
PEAK_GMAC_PER_S = 716.8
"""1024 multiply-accumulates a cycle at 700 MHz: half of 1.434 TOPS."""

RUNTIMES = (
    Runtime(
        version="base",
        name="toolchain container, environment base (legacy)",
        opsets=(8, 12),
        max_ir=7,
        python="3.5 to 3.9 (x86-64 host)",
        source=f"{_DOCS}, kneronnxopt.md, history.md (ONNX 1.7); {_PLUS}",
    ),
    Runtime(
        version="onnx1.13",
        name="toolchain container, environment onnx1.13 (default since v0.25)",
        opsets=(8, 13),
        max_ir=7,
        python="3.5 to 3.9 (x86-64 host)",
        source=f"{_DOCS}, kneronnxopt.md (it reads up to 18, verified since v0.32.0 only: edgehone stays at 13, and at "
        f"the file format that both environments read); {_PLUS}",
        sure="derived",
    ),
)

IMAGE_FORMATS = (
    ImageFormat(name="KP_IMAGE_FORMAT_RGBA8888", bits_per_channel=8, exact=True),
    ImageFormat(name="KP_IMAGE_FORMAT_RGB565", bits_per_channel=5, exact=False),
    ImageFormat(name="KP_IMAGE_FORMAT_YUYV", bits_per_channel=8, exact=False),
    ImageFormat(name="KP_IMAGE_FORMAT_RAW8", bits_per_channel=8, exact=False),
)

LIMITS = (
    Fact(text="one NEF per boot: another model needs a restart of the board", source=f"{_PLUS}, error 40"),
    Fact(text="at most 16 models in a NEF; static shapes, batch 1", source=f"{_PLUS}, kp/const.md"),
    Fact(text="padding after scaling is at most 255 px a side", source=_PREPROCESS),
    Fact(text="the firmware is KDP2 (USB 3231:0720); legacy 3231:0200 must be upgraded", source=f"{_PLUS}"),
    Fact(
        text="model and buffers share the memory: 15 MB of the system + model + queues of pictures and results",
        source=f"{_DOCS}, device_ddr_management.md",
    ),
    Fact(text="weights of 4 bits are not supported, nor explicit Q/DQ graphs", source=f"{_DOCS}, manual_4_bie.md"),
    Fact(text="16-bit outputs need KneronPLUS 2.1 or later", source="KneronPLUS 2.1 release note"),
    Fact(
        text="whether one Resize may enlarge both axes is open: the rule says one axis, the tables show YOLOv3 without "
        "a CPU node; two Resize of one axis each satisfy both",
        source=f"{_DOCS}, operators.md notes 35 and 45, performance.md",
        sure="open",
    ),
    Fact(text="optimising, evaluating and compiling need the vendor's container", source=f"{_DOCS}, manual_1"),
)

NOTES = (
    Fact(
        text="one 8-bit tensor of boxes, objectness and classes ruins boxes (AP 0.431 to 0.15 with YOLOv4-CSP): "
        "separate outputs, or 16-bit outputs",
        source="SashaAlderson/Kneron_YOLOv4 README",
    ),
    Fact(text="analyse with percentage=1.0 for detectors; the default of 0.999 clips", source=f"{_DOCS}, manual_4"),
    Fact(text="calibrate with at least 100 pictures", source=f"{_DOCS}, quantization/1.2"),
    Fact(
        text="normalisation KP_NORMALIZE_KNERON (x / 256 - 0.5) keeps 8 bits; the YOLO mode (x / 256) loses one",
        source=_PREPROCESS,
    ),
    Fact(text="peak 1.434 TOPS INT8: 1024 multiply-accumulates at 700 MHz", source=_DOCS, sure="derived"),
    Fact(text="no measured power is published", source=_DOCS, sure="open"),
)

KNERON_KL720 = Board(
    name="kneron-kl720",
    hardware="NPU of 1024 multiply-accumulates at 700 MHz, DSP at 500 MHz, DDR",
    runtime="KneronPLUS, NEF",
    runtimes=RUNTIMES,
    default_runtime="onnx1.13",
    precisions=("int8", "int16"),
    delivered="int8",
    memory=Memory(
        total_bytes=None,
        model_bytes=70 * MB,
        source=f"{_DOCS}, write_model_to_flash.md (70 MB in flash, 75 MB over USB)",
    ),
    input_limits=(2046, 1022),
    max_inputs=5,
    image_formats=IMAGE_FORMATS,
    limits=LIMITS,
    notes=NOTES,
    sources={
        "hardware": f"{_DOCS}, 720_2.2.0/sdk/soc_peripheral_drivers.md",
        "precisions": f"{_DOCS}, manual_4_bie.md",
        "input_limits": _PREPROCESS,
        "max_inputs": f"{_PLUS}, kp/const.md (5 up to 2.3, 50 in 3.0, 100 later)",
        "image_formats": f"{_PLUS}, kp/enum.md",
    },
)
