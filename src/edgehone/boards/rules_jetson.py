"""What TensorRT runs on a Jetson Xavier NX: its parser's table for the GPU, and field reports for the DLA."""

from __future__ import annotations

from typing import Any

from edgehone.boards.conditions import Condition, Constant, OneOf, Outputs, Rank, Scaling, Without
from edgehone.boards.rule import OperatorRule, names, rows

_PARSER = "onnx/onnx-tensorrt docs/operators.md, 8.4 (commit 009d654)"
_PLUGIN = "TensorRT plugin/efficientNMSPlugin/README.md"
_DLA = "TensorRT 8.x developer guide, DLA chapter"
_FIELD = "lewes6369/TensorRT-Yolov3 issue 86; tkDNN issue 118"

_MAPS = Rank(at_least=4, at_most=5)
_KEEP_TO_MAPS = "keep to maps of four axes"


def _runs(operator: str, *conditions: Condition, **details: Any) -> OperatorRule:
    given: dict[str, Any] = {"source": _PARSER, "way_round": _KEEP_TO_MAPS, **details}
    return OperatorRule(operator=operator, board="jetson-xavier-nx", conditions=conditions, **given)


def _never(operator: str, way_round: str, **details: Any) -> OperatorRule:
    given: dict[str, Any] = {"source": _PARSER, "way_round": way_round, **details}
    return OperatorRule(operator=operator, board="jetson-xavier-nx", supported=False, **given)


_PLAIN = names(
    "Abs Add And ArgMax ArgMin BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape DepthToSpace Div "
    "Dropout Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gemm GlobalAveragePool "
    "GlobalMaxPool Greater GreaterOrEqual HardSigmoid Identity LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max "
    "Mean Min Mul Neg Not Or PRelu Pad Pow ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "ReduceSumSquare Relu Reshape Round ScatterElements ScatterND Selu Shape Sigmoid Sign Size Softmax Softplus "
    "Softsign SpaceToDepth Split Sqrt Sub Sum Tanh ThresholdedRelu Tile Transpose Upsample Where Xor"
)

_NOT_READ = names(
    "BitShift Compress ConvInteger Det DynamicQuantizeLinear Hardmax IsInf MatMulInteger MaxRoiPool MaxUnpool Mod "
    "Multinomial NonZero OneHot QLinearConv QLinearMatMul Reciprocal RoiAlign Shrink Unique"
)

_TRANSFORMATIONS = ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners")
_ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")

_GPU = (
    *rows(_runs(""), _PLAIN),
    *rows(
        _runs(
            "", _MAPS, Constant(index=1, what="the weight", needed=True), way_round="constant weights, maps of 4 axes"
        ),
        ("Conv", "ConvTranspose"),
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
        OneOf(attribute="mode", values=("nearest",), default="nearest"),
        OneOf(attribute="coordinate_transformation_mode", values=("asymmetric",), default="half_pixel"),
        way_round="nearest, asymmetric, floor",
        source="onnx/onnx-tensorrt Changelog, 8.0 (all modes since then)",
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
            source="onnx/onnx-tensorrt Changelog, 8.0",
            before="8.0",
        ),
        ("QuantizeLinear", "DequantizeLinear"),
    ),
    _runs(
        "EfficientNMS_TRT",
        Without(attribute="class_agnostic"),
        way_round="leave out class_agnostic, which came after 8.5",
        source=_PLUGIN,
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
        because="its result has no static shape, and TensorRT reads it since 8.5 only",
        source="onnx/onnx-tensorrt docs/operators.md, 8.5",
    ),
    _never("Mish", "write it as x * tanh(softplus(x)): Softplus, Tanh and Mul run"),
    _never("HardSwish", "write it as x * hardsigmoid(x)"),
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
        source="NVIDIA/TensorRT issue 828",
    ),
    *rows(
        _never("", "a calibration cache instead", because="DLA reads no explicit quantisation", **_ON_DLA),
        ("QuantizeLinear", "DequantizeLinear"),
    ),
)

JETSON_RULES = (*_GPU, *_DLA_ROWS)
