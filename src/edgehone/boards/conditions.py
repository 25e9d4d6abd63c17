"""The vocabulary of the rule table: conditions on one node, as data.

``broken(node)`` says in words what a node does against the condition, None where it holds. A shape that is not known
breaks no condition: a result whose shape is open or not known is refused for that alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from edgehone.boards.graph import GraphNode, Numbers
from edgehone.space import Settings


def shown(numbers: Numbers) -> str:
    """``2 x 2``."""
    return " x ".join(f"{number:g}" for number in numbers)


class Rank(Settings):
    """Axes of the first input, and at most so many of every other tensor."""

    kind: Literal["rank"] = "rank"
    at_least: int = 0
    at_most: int

    def broken(self, node: GraphNode) -> str | None:
        """What is wrong with a node."""
        ranks = [len(shape) for shape in (*node.input_shapes, *node.output_shapes) if shape is not None]
        if ranks and max(ranks) > self.at_most:
            return f"tensors have at most {self.at_most} axes, here {max(ranks)}"
        first = node.shape()
        if first is not None and len(first) < self.at_least:
            return f"the input has at least {self.at_least} axes, here {len(first)}"
        return None


class Within(Settings):
    """Numbers of an attribute, all of them or only one ``at`` an index."""

    kind: Literal["within"] = "within"
    attribute: str
    low: float
    high: float
    default: tuple[float, ...] = ()
    at: int | None = None

    def broken(self, node: GraphNode) -> str | None:
        """What is wrong with a node."""
        numbers = node.numbers(self.attribute) or self.default
        asked = numbers if self.at is None else numbers[self.at : self.at + 1]
        if all(self.low <= number <= self.high for number in asked):
            return None
        span = f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"
        return f"{self.attribute} is {span}, here {shown(numbers)}"


class OneOf(Settings):
    """Values that an attribute may have."""

    kind: Literal["one_of"] = "one_of"
    attribute: str
    values: tuple[str | int | tuple[int, ...], ...]
    default: str | int | None = None

    def broken(self, node: GraphNode) -> str | None:
        """What is wrong with a node."""
        value = node.attributes.get(self.attribute, self.default)
        if value in self.values:
            return None
        return f"{self.attribute} is {' or '.join(map(str, self.values))}, here {value}"


class Without(Settings):
    """An attribute that must not be given."""

    kind: Literal["without"] = "without"
    attribute: str

    def broken(self, node: GraphNode) -> str | None:
        """What is wrong with a node."""
        return f"{self.attribute} is not given" if self.attribute in node.attributes else None


class Constant(Settings):
    """An input that is constant where it is given, with its numbers within ``low`` and ``high``, ``count`` of them.

    ``needed``: leaving the input out breaks the condition.
    """

    kind: Literal["constant"] = "constant"
    index: int
    what: str
    low: float | None = None
    high: float | None = None
    count: int | None = None
    needed: bool = False

    def broken(self, node: GraphNode) -> str | None:
        """What is wrong with a node."""
        if not node.given(self.index):
            return f"{self.what} is given" if self.needed else None
        if self.index not in node.constants:
            return f"{self.what} is a constant, here it is computed"
        numbers = node.constants[self.index] or ()
        if self.count is not None and len(numbers) != self.count:
            return f"{self.what} is {self.count} number, here {len(numbers) or 'many'}"
        if self.low is not None and any(number < self.low for number in numbers):
            return f"{self.what} is {self.low:g} or more, here {shown(numbers)}"
        if self.high is not None and any(number > self.high for number in numbers):
            return f"{self.what} is {self.high:g} or less, here {shown(numbers)}"
        return None


class Outputs(Settings):
    """Outputs that may be asked for."""

    kind: Literal["outputs"] = "outputs"
    at_most: int

    def broken(self, node: GraphNode) -> str | None:
        """What is wrong with a node."""
        count = sum(1 for name in node.outputs if name)
        return None if count <= self.at_most else f"it has at most {self.at_most} outputs, here {count}"


class Window(Settings):
    """Kernel and stride of a pool: both square; ``strides`` relates the stride to the kernel."""

    kind: Literal["window"] = "window"
    smallest: int
    largest: int | None = None
    power_of_two: bool = False
    strides: Literal["any", "up_to_kernel", "equal", "more_than_1", "more_than_3", "up_to_3"] = "any"

    def broken(self, node: GraphNode) -> str | None:
        """What is wrong with a node."""
        kernel = node.numbers("kernel_shape") or ()
        strides = node.numbers("strides") or (1.0,) * len(kernel)
        if len(kernel) != 2 or len(set(kernel)) != 1 or len(set(strides)) != 1:
            return f"kernel and stride are square, here {shown(kernel)} by {shown(strides)}"
        side, step = int(kernel[0]), int(strides[0])
        if side < self.smallest or (self.largest is not None and side > self.largest):
            most = "more" if self.largest is None else str(self.largest)
            return f"the kernel is {self.smallest} to {most}, here {side}"
        if self.power_of_two and side & (side - 1):
            return f"the kernel is a power of two, here {side}"
        right = {
            "any": True,
            "up_to_kernel": step <= side,
            "equal": step == side,
            "more_than_1": step > 1,
            "more_than_3": step > 3,
            "up_to_3": step <= 3,
        }
        if not right[self.strides]:
            return f"the stride is {self.strides.replace('_', ' ')} with a kernel of {side}, here {step}"
        return None


class Scaling(Settings):
    """What a Resize or Upsample may do to the axes.

    Attributes:
        one_axis: it enlarges rows or columns, not both (unless the options of the check allow it).
        up_only: it makes nothing smaller.
        whole: factors are whole numbers, at most ``at_most``.
    """

    kind: Literal["scaling"] = "scaling"
    one_axis: bool = False
    up_only: bool = False
    whole: bool = False
    at_most: int | None = None

    def broken(self, node: GraphNode) -> str | None:
        """What is wrong with a node."""
        scales = self.factors(node)
        if scales is None:
            return "the scales are constant, here they are not known"
        if len(scales) != 4 or scales[0] != 1 or scales[1] != 1:
            return f"only rows and columns of a map are scaled, here by {shown(scales)}"
        if self.one_axis and scales[2] != 1 and scales[3] != 1:
            return f"one axis is enlarged at a time, here rows by {scales[2]:g} and columns by {scales[3]:g}"
        if self.up_only and min(scales) < 1:
            return f"maps are enlarged only, here by {shown(scales)}"
        if self.whole and any(scale != int(scale) for scale in scales):
            return f"factors are whole, here {shown(scales)}"
        if self.at_most is not None and max(scales) > self.at_most:
            return f"factors are at most {self.at_most}, here {shown(scales)}"
        return None

    @staticmethod
    def factors(node: GraphNode) -> Numbers | None:
        """Output over input of every axis, from the constants or from the shapes."""
        index = 1 if node.op == "Upsample" else 2
        constant = node.constants.get(index)
        if constant:
            return constant
        before, after = node.shape(), node.output_shapes[0] if node.output_shapes else None
        if before is None or after is None:
            return None
        pairs = list(zip(before, after, strict=False))
        if not all(isinstance(a, int) and isinstance(b, int) and a > 0 for a, b in pairs):
            return None
        return tuple(float(b) / float(a) for a, b in pairs if isinstance(a, int) and isinstance(b, int))


class SpatialPads(Settings):
    """Padding of rows and columns only, by constants, ``below`` a limit."""

    kind: Literal["spatial_pads"] = "spatial_pads"
    below: int | None = None

    def broken(self, node: GraphNode) -> str | None:
        """What is wrong with a node."""
        pads = node.constants.get(1) or node.numbers("pads")
        if not pads:
            return "the padding is constant, here it is computed"
        half = len(pads) // 2
        elsewhere = [pads[i] for i in range(len(pads)) if i % half < half - 2]
        if any(elsewhere):
            return f"only rows and columns are padded, here {shown(pads)}"
        if self.below is not None and max(pads) >= self.below:
            return f"padding is below {self.below}, here {max(pads):g}"
        return None


class Cells(Settings):
    """Rows times columns of the input."""

    kind: Literal["cells"] = "cells"
    at_most: int

    def broken(self, node: GraphNode) -> str | None:
        """What is wrong with a node."""
        shape = node.shape()
        sides = [side for side in (shape or ())[-2:] if isinstance(side, int)]
        if len(sides) == 2 and sides[0] * sides[1] > self.at_most:
            return f"the map has at most {self.at_most} cells, here {sides[0]} x {sides[1]}"
        return None


class InputShape(Settings):
    """Lengths of the first axes of an input."""

    kind: Literal["input_shape"] = "input_shape"
    starts: tuple[int, ...]
    index: int = 0

    def broken(self, node: GraphNode) -> str | None:
        """What is wrong with a node."""
        shape = node.shape(self.index)
        if shape is None or shape[: len(self.starts)] == self.starts:
            return None
        return f"the input begins with {' x '.join(map(str, self.starts))}, here it is {' x '.join(map(str, shape))}"


Condition = Annotated[
    Rank | Within | OneOf | Without | Constant | Outputs | Window | Scaling | SpatialPads | Cells | InputShape,
    Field(discriminator="kind"),
]
"""The union is the vocabulary."""


def faults(conditions: tuple[Condition, ...], node: GraphNode) -> Iterator[str]:
    """What a node does against the conditions."""
    for condition in conditions:
        fault = condition.broken(node)
        if fault is not None:
            yield fault
