"""What TensorRT runs on a Jetson Xavier NX: its parser's table for the GPU, and field reports for the DLA."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from edgehone.boards.conditions import Condition, Constant, OneOf, Outputs, Rank, Scaling, SpatialPads, Without
from edgehone.boards.rule import OperatorRule, names, rows

_TABLE = "onnx/onnx-tensorrt docs/operators.md"
_CHANGES = "onnx/onnx-tensorrt docs/Changelog.md"
_PARSER = f"{_TABLE}, 7.2, 8.0, 8.4 (commit 009d654) and 8.5"
_PLUGIN = "TensorRT plugin/efficientNMSPlugin/README.md, 8.5"
_AGNOSTIC = "NVIDIA/TensorRT pull request 2593 (2023-01, after 8.5); microsoft/onnxruntime issue 16121 (not in 8.6)"
_DLA = "TensorRT 8.x developer guide, DLA chapter"
_FIELD = "ceccocats/tkDNN issue 118 (2020-08, so TensorRT 7 or older); lewes6369/TensorRT-Yolov3 issue 86"

_MAPS = Rank(at_least=4, at_most=5)
_KEEP_TO_MAPS = "keep to maps of four axes"


def _runs(operator: str, *conditions: Condition, **details: Any) -> OperatorRule:
    given: dict[str, Any] = {"source": _PARSER, "way_round": _KEEP_TO_MAPS, **details}
    return OperatorRule(operator=operator, board="jetson-xavier-nx", conditions=conditions, **given)


def _never(operator: str, way_round: str, **details: Any) -> OperatorRule:
    given: dict[str, Any] = {"source": _PARSER, "way_round": way_round, **details}
    return OperatorRule(operator=operator, board="jetson-xavier-nx", supported=False, **given)


_PLAIN = names(
    "Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh BatchNormalization Cast Ceil Concat Constant "
    "ConstantOfShape Cos Cosh DepthToSpace Div Elu Equal Erf Exp Expand Flatten Floor GRU Gather Gemm "
    "GlobalAveragePool GlobalMaxPool Greater HardSigmoid Identity LRN LSTM LeakyRelu Less Log LogSoftmax Loop MatMul "
    "Max Mean Min Mul Neg Not Or PRelu Pow RNN RandomUniform RandomUniformLike Range ReduceL1 ReduceL2 ReduceLogSum "
    "ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Scan Selu Shape "
    "Sigmoid Sin Sinh Size Softmax Softplus Softsign SpaceToDepth Split Sqrt Sub Sum Tan Tanh ThresholdedRelu Tile "
    "Transpose Upsample Where"
)
"""Read by every version."""

_NEWER: dict[str, tuple[str, tuple[str, ...]]] = {
    "8.0": (
        f"{_TABLE}, 7.2 (not yet) and 8.0; {_CHANGES}, containers 21.02 and 21.03",
        names(
            "Celu EyeLike GatherElements GlobalLpPool GreaterOrEqual LessOrEqual LpNormalization LpPool ReverseSequence"
        ),
    ),
    "8.2": (
        f"{_TABLE}, 8.0 (not yet); {_CHANGES}, 8.2 EA",
        names("Einsum GatherND If IsNaN Round Scatter ScatterElements ScatterND Sign"),
    ),
    "8.4": (f"{_TABLE}, 8.0 (not yet) and 8.5; {_CHANGES}, 8.4 GA", names("Dropout Shrink Xor")),
    "8.5": (
        f"{_TABLE}, 8.4 (not yet) and 8.5; {_CHANGES}, 8.5 GA",
        names(
            "GridSample HardSwish MeanVarianceNormalization Mod NonZero OneHot RandomNormal RandomNormalLike "
            "Reciprocal RoiAlign Trilu"
        ),
    ),
}
"""Version to source and the operators that it was the first to read."""

_PARTS = {
    "HardSwish": "write it as x * hardsigmoid(x)",
    "Reciprocal": "divide 1 by it",
    "Dropout": "leave it out of a graph that is not trained",
}

_NOT_READ = names(
    "Bernoulli BitShift Compress ConvInteger Det DynamicQuantizeLinear Hardmax IsInf LayerNormalization MatMulInteger "
    "MaxRoiPool MaxUnpool Multinomial QLinearConv QLinearMatMul Unique"
)

_TRANSFORMATIONS = ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners")
_ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


def _newer(version: str, source: str, operators: Iterable[str]) -> Iterator[OperatorRule]:
    """Rows of operators that were not read before a version."""
    for operator in operators:
        way_round = _PARTS.get(operator, "compute it before export, or leave it to the host")
        because = f"it is read since TensorRT {version}"
        yield _never(operator, way_round, because=because, source=source, before=version)
        yield _runs(operator, source=source, since=version)


_GPU = (
    *rows(_runs(""), _PLAIN),
    *(row for version, (source, operators) in _NEWER.items() for row in _newer(version, source, operators)),
    *rows(
        _runs(
            "",
            _MAPS,
            Constant(index=1, what="the weight", needed=True),
            way_round="constant weights, maps of 4 axes",
            source=f"{_TABLE}, 8.4 (commit 009d654)",
            before="8.5",
        ),
        ("Conv", "ConvTranspose"),
    ),
    *rows(_runs("", _MAPS, source=f"{_TABLE}, 8.5", since="8.5"), ("Conv", "ConvTranspose")),
    _runs(
        "Clip",
        Constant(index=1, what="the minimum"),
        Constant(index=2, what="the maximum"),
        way_round="constant limits",
        source=f"{_TABLE}, 7.2 and 8.0 (8.2 was not read)",
        before="8.4",
    ),
    _runs("Clip", source=f"{_TABLE}, 8.4 (commit 009d654)", since="8.4"),
    _runs(
        "Pad",
        SpatialPads(),
        OneOf(attribute="mode", values=("constant",), default="constant"),
        Constant(index=2, what="the padding value", low=0, high=0),
        way_round="pad rows and columns with zeros, or in the convolution",
        source=f"{_TABLE}, 7.2 and 8.0",
        before="8.2",
    ),
    _runs("Pad", source=f"{_CHANGES}, 8.2 EA", since="8.2"),
    _runs(
        "CumSum",
        Constant(index=1, what="the axis", needed=True),
        way_round="a constant axis",
        source=f"{_TABLE}, 8.0",
        since="8.0",
    ),
    _never(
        "CumSum", "leave it to the host", because="it is read since TensorRT 8.0", source=f"{_TABLE}, 7.2", before="8.0"
    ),
    _runs("MaxPool", _MAPS, Outputs(at_most=1), way_round="leave out the second output, Indices"),
    _runs("AveragePool", _MAPS),
    _runs("InstanceNormalization", Rank(at_least=3, at_most=5)),
    _runs("Slice", Constant(index=3, what="the axis"), way_round="constant axes"),
    *rows(_runs("", Constant(index=1, what="the axis"), way_round="constant axes"), ("Squeeze", "Unsqueeze")),
    _runs("TopK", Constant(index=1, what="k", needed=True), way_round="a constant k"),
    _runs(
        "Resize",
        OneOf(attribute="mode", values=("nearest", "linear"), default="nearest"),
        OneOf(attribute="coordinate_transformation_mode", values=_TRANSFORMATIONS, default="half_pixel"),
        OneOf(attribute="nearest_mode", values=_ROUNDINGS, default="round_prefer_floor"),
        way_round="nearest, asymmetric, floor",
        since="8.0",
    ),
    _runs(
        "Resize",
        OneOf(attribute="mode", values=("nearest", "linear"), default="nearest"),
        OneOf(attribute="coordinate_transformation_mode", values=("asymmetric",), default="half_pixel"),
        way_round="nearest, asymmetric, floor",
        source=f"{_TABLE}, 7.2; {_CHANGES}, 8.0 (all modes since then)",
        before="8.0",
    ),
    *rows(
        _runs(
            "",
            Constant(index=2, what="the zero point", low=0, high=0),
            way_round="symmetric quantisation: zero points of 0",
            since="8.0",
        ),
        ("QuantizeLinear", "DequantizeLinear"),
    ),
    *rows(
        _never(
            "",
            "a calibration cache instead, or TensorRT 8.0",
            because="explicit quantisation is read since 8.0",
            source=f"{_CHANGES}, 8.0",
            before="8.0",
        ),
        ("QuantizeLinear", "DequantizeLinear"),
    ),
    _runs(
        "EfficientNMS_TRT",
        Without(attribute="class_agnostic"),
        way_round="leave out class_agnostic, which came after 8.5",
        source=f"{_PLUGIN}; {_AGNOSTIC}",
        since="8.0",
    ),
    _never(
        "EfficientNMS_TRT",
        "use the graph with raw heads and suppress on the host",
        because="the plug-in came with 8.0",
        source=_PLUGIN,
        before="8.0",
    ),
    _never(
        "NonMaxSuppression",
        "EfficientNMS_TRT, or suppress on the host",
        because="its result has no static shape; before 8.5 it is not read, or experimental",
        source=f"{_TABLE}, 8.0, 8.4 (commit 009d654) and 8.5",
    ),
    _never("Mish", "write it as x * tanh(softplus(x)): Softplus, Tanh and Mul run"),
    *rows(_never("", "compute it before export, or leave it to the host"), _NOT_READ),
)

_ON_DLA: dict[str, Any] = {"dla": True, "source": _DLA}

_DLA_ROWS = (
    *rows(_runs("", Rank(at_most=4), **_ON_DLA), ("Add", "Mul", "Relu", "Sigmoid", "Tanh", "Clip", "AveragePool")),
    *rows(_runs("", Rank(at_most=4), Constant(index=1, what="the weight", needed=True), **_ON_DLA), ("Conv",)),
    _runs("MaxPool", Rank(at_most=4), Outputs(at_most=1), **_ON_DLA),
    _runs("Concat", OneOf(attribute="axis", values=(1,)), dla=True, source=_DLA, way_round="join channels"),
    _runs(
        "Resize",
        Scaling(whole=True, up_only=True, at_most=32),
        OneOf(attribute="mode", values=("nearest",), default="nearest"),
        dla=True,
        source="TensorRT 8.2 developer guide, quoted in NVIDIA forum thread 219158",
        way_round="nearest, whole factors up to 32",
    ),
    _never("LeakyRelu", "train with ReLU or ReLU6, or run on the GPU", dla=True, source=_FIELD),
    _never(
        "Slice",
        "export the slice-free form: two convolutions in place of one that is sliced",
        because="the suspect of failed builds of YOLOv4-tiny",
        dla=True,
        source="NVIDIA/TensorRT issue 828 (TensorRT 7.1.3)",
    ),
    *rows(
        _never("", "a calibration cache instead", because="DLA reads no explicit quantisation", **_ON_DLA),
        ("QuantizeLinear", "DequantizeLinear"),
    ),
)

JETSON_RULES = (*_GPU, *_DLA_ROWS)
