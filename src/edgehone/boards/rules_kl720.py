"""What the NPU of a KL720 runs: the vendor's table, row by row. An operator without a row does not run."""

from __future__ import annotations

from typing import Any

from edgehone.boards.conditions import (
    Cells,
    Condition,
    Constant,
    InputShape,
    OneOf,
    Rank,
    Scaling,
    SpatialPads,
    Window,
    Within,
)
from edgehone.boards.rule import OperatorRule, rows

_SOURCE = "kneron/document_center 655441c (toolchain v0.33.1), toolchain/appendix/operators.md"

_RANK = Rank(at_most=4)
_NO_CEIL = OneOf(attribute="ceil_mode", values=(0,), default=0)
_NO_DILATION = Within(attribute="dilations", low=1, high=1)
_NO_PADS_COUNTED = OneOf(attribute="count_include_pad", values=(0,), default=0)
_KEEP = OneOf(attribute="keepdims", values=(1,), default=1)


def _runs(operator: str, *conditions: Condition, way_round: str = "keep to maps of four axes") -> OperatorRule:
    return OperatorRule(
        operator=operator, board="kneron-kl720", conditions=conditions, way_round=way_round, source=_SOURCE
    )


def _never(operator: str, way_round: str, **details: Any) -> OperatorRule:
    return OperatorRule(
        operator=operator, board="kneron-kl720", supported=False, way_round=way_round, source=_SOURCE, **details
    )


_POOL = "pools of 2 or 3 with a stride up to that, or of more than 3 with ceil_mode=0"
_RESIZE = "two nearest Resize one after the other, rows first: exactly equal"
_HOST = "end the graph before it and leave it to the host"
_FOLD = "fold constants before export"
_LEAKY = "train with LeakyReLU or ReLU6; x * sigmoid(x) runs as Sigmoid and Mul"

_CONVOLUTIONS = (
    _runs(
        "Conv",
        _RANK,
        Within(attribute="strides", low=1, high=4, default=(1, 1), at=0),
        Within(attribute="strides", low=1, high=16, default=(1, 1), at=1),
        Constant(index=1, what="the weight", needed=True),
        way_round="strides of at most 4 down and 16 right, constant weights, maps of four axes",
    ),
    _runs(
        "ConvTranspose",
        Within(attribute="strides", low=2, high=2, default=(1, 1)),
        way_round="a stride of 2, or a nearest Resize and a convolution",
    ),
    _runs("BatchNormalization", _RANK),
    _runs("Gemm"),
    _runs("MatMul", Constant(index=1, what="the second factor", needed=True), _RANK),
    _runs("MatMul", Rank(at_least=4, at_most=4)),
)

_ACTIVATIONS = (
    *rows(_runs(""), ("LeakyRelu", "PRelu", "Relu", "Sigmoid", "Tanh", "Exp")),
    _runs(
        "Clip",
        Constant(index=1, what="the minimum", low=0, high=0, needed=True),
        Constant(index=2, what="the maximum", low=0),
        way_round="clip from 0: ReLU or ReLU6",
    ),
    _runs("Pow", Constant(index=1, what="the exponent", low=2, high=2, needed=True), way_round="multiply"),
)

_POOLS = (
    _runs("MaxPool", Window(smallest=2, largest=3, strides="up_to_kernel"), _NO_DILATION, way_round=_POOL),
    _runs("MaxPool", Window(smallest=4), _NO_CEIL, way_round=_POOL),
    _runs("MaxPool", Window(smallest=1, largest=1, strides="more_than_1"), _NO_CEIL, _NO_DILATION, way_round=_POOL),
    _runs("AveragePool", Window(smallest=1, largest=3, strides="up_to_3"), _NO_DILATION, way_round=_POOL),
    _runs(
        "AveragePool",
        Window(smallest=4, power_of_two=True, strides="equal"),
        _NO_CEIL,
        _NO_PADS_COUNTED,
        way_round=_POOL,
    ),
    _runs("AveragePool", Window(smallest=1, strides="more_than_3"), _NO_CEIL, _NO_PADS_COUNTED, way_round=_POOL),
    _runs("GlobalAveragePool", _RANK, Cells(at_most=16384), way_round="pool in two steps"),
    _runs("GlobalMaxPool"),
    _runs("MaxRoiPool"),
)

_JOINS = (
    *rows(_runs("", _RANK), ("Add", "Mul", "Concat")),
    *rows(_runs(""), ("Sub", "Neg", "Reshape")),
    _runs(
        "Slice",
        _RANK,
        Constant(index=1, what="the start", needed=True),
        Constant(index=4, what="the step", low=1, high=1),
        way_round="constant limits and steps of 1; or two convolutions in place of one that is sliced",
    ),
    _runs(
        "Gather",
        Constant(index=1, what="the index", count=1, needed=True),
        way_round="one constant index, or a Slice with a step of 1",
    ),
    _runs(
        "Expand",
        Constant(index=1, what="the shape", needed=True),
        Scaling(one_axis=True, up_only=True),
        way_round="enlarge rows or columns, one after the other",
    ),
    _runs("Flatten", OneOf(attribute="axis", values=(1,), default=1), way_round="flatten from axis 1"),
    _runs(
        "Transpose",
        OneOf(attribute="perm", values=((0, 1, 2, 3), (0, 1, 3, 2), (0, 2, 1, 3))),
        way_round="exchange rows with columns or channels with rows, in one step each, or leave it to the host",
    ),
    _runs(
        "Pad",
        SpatialPads(below=32),
        OneOf(attribute="mode", values=("constant",), default="constant"),
        Constant(index=2, what="the padding value", low=0, high=0),
        way_round="pad rows and columns with fewer than 32 zeros, or in the convolution",
    ),
    _runs(
        "DepthToSpace",
        InputShape(starts=(1, 4)),
        OneOf(attribute="blocksize", values=(2,)),
        OneOf(attribute="mode", values=("CRD",), default="DCR"),
        way_round="4 channels to 1 with mode CRD, or a nearest Resize",
    ),
    *rows(_runs("", _KEEP, way_round="keep the reduced axes"), ("ReduceMax", "ReduceMean", "ReduceSum")),
)

_ENLARGES = (
    _runs(
        "Resize",
        Rank(at_least=4, at_most=4),
        Scaling(one_axis=True, up_only=True),
        OneOf(attribute="mode", values=("nearest",), default="nearest"),
        OneOf(attribute="coordinate_transformation_mode", values=("asymmetric",), default="half_pixel"),
        OneOf(attribute="nearest_mode", values=("floor",), default="round_prefer_floor"),
        Within(attribute="extrapolation_value", low=0, high=0),
        way_round=_RESIZE,
    ),
    _runs(
        "Resize",
        Rank(at_least=4, at_most=4),
        Scaling(one_axis=True, up_only=True),
        OneOf(attribute="mode", values=("linear",), default="nearest"),
        Within(attribute="extrapolation_value", low=0, high=0),
        way_round=_RESIZE,
    ),
    _runs(
        "Upsample",
        Rank(at_least=4, at_most=4),
        Scaling(one_axis=True),
        OneOf(attribute="mode", values=("nearest", "linear"), default="nearest"),
        way_round=_RESIZE,
    ),
)

_NEVER = (
    _never("Split", "two Slice with steps of 1, or two convolutions in place of the one before it"),
    _never("Mish", _LEAKY, because="its Softplus does not run"),
    *rows(_never("", _LEAKY), ("HardSwish", "HardSigmoid", "Softplus", "Elu", "Erf")),
    *rows(_never("", _HOST), ("Softmax", "NonMaxSuppression", "TopK", "Where", "EfficientNMS_TRT")),
    _never("Div", "multiply by the reciprocal, as a constant"),
    *rows(_never("", "compute it on the host"), ("Sqrt", "Reciprocal")),
    _never("SpaceToDepth", "a convolution of stride 2 in its place"),
    *rows(
        _never("", "calibrate with the vendor's own analysis", because="explicit quantisation is not read"),
        ("QuantizeLinear", "DequantizeLinear", "QLinearConv"),
    ),
    *rows(_never("", _FOLD), ("Constant", "Dropout", "Identity", "Cast", "Squeeze", "Unsqueeze", "Shape")),
)

KL720_RULES = (*_CONVOLUTIONS, *_ACTIVATIONS, *_POOLS, *_JOINS, *_ENLARGES, *_NEVER)
