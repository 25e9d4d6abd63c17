"""A sum over validation metrics as a person writes it: ``0.7*ap + 0.3*ap[Platelets]``.

Nothing is executed: the text is parsed, every node is held against a short list, and the tree is walked.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from edgehone.errors import UsageError
from edgehone.evaluation import Metrics

METRICS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar100")
BY_CLASS = ("ap", "ap50")
FUNCTIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "max": max,
    "mean": lambda values: sum(values) / len(values),
}
OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}
LONGEST = 500


@dataclass(frozen=True)
class Expression:
    """A checked expression; larger is better.

    Attributes:
        text: as it was given.
        tree: its syntax tree.
    """

    text: str
    tree: ast.expr

    @staticmethod
    def parse(text: str, class_names: Sequence[str]) -> Expression:
        """From its text.

        Raises:
            UsageError: not an expression over the metrics, or a class that there is not.
        """
        try:
            tree = ast.parse(text.strip(), mode="eval").body if len(text) <= LONGEST else None
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            tree = None
        if tree is None:
            raise UsageError(f"an objective is an expression of at most {LONGEST} characters, got {text[:80]!r}")
        _check(tree, text, class_names)
        return Expression(text.strip(), tree)

    def value(self, found: Metrics) -> float:
        """Of the metrics on a split.

        Raises:
            UsageError: a metric that the split does not have: no object of that size or class.
        """
        return _value(self.tree, found)


def _check(node: ast.expr, text: str, class_names: Sequence[str]) -> None:
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return
        case ast.Name(id=name):
            if name in METRICS:
                return
            raise UsageError(f"the metrics are {', '.join(METRICS)}; got {_place(name, text)}")
        case ast.Subscript(value=ast.Name(id=name)) if name in BY_CLASS:
            if _class_name(node) in class_names:
                return
            raise UsageError(f"the classes are {', '.join(class_names)}; got {_place(ast.unparse(node), text)}")
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            if isinstance(op, ast.Div) and not (isinstance(right, ast.Constant) and right.value):
                raise UsageError(f"an objective divides by numbers other than 0 only, got {ast.unparse(node)}")
            _check(left, text, class_names)
            _check(right, text, class_names)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            _check(operand, text, class_names)
        case ast.Call(func=ast.Name(id=name), args=[_, *_], keywords=[]) if name in FUNCTIONS:
            for argument in node.args:
                _check(argument, text, class_names)
        case _:
            raise UsageError(
                f"an objective is made of {', '.join(METRICS)}, ap[CLASS], ap50[CLASS], numbers, + - * / and "
                f"{', '.join(FUNCTIONS)}; got {_place(ast.unparse(node), text)}"
            )


def _place(part: str, text: str) -> str:
    """What is wrong, and in what, if it is not all of it."""
    return repr(part) if part == text else f"{part!r} in {text!r}"


def _class_name(node: ast.Subscript) -> str:
    """``ap[RBC]`` or ``ap["red cell"]``."""
    inside = node.slice
    if isinstance(inside, ast.Constant):
        return str(inside.value)
    return inside.id if isinstance(inside, ast.Name) else ""


def _value(node: ast.expr, found: Metrics) -> float:
    match node:
        case ast.Constant():
            return float(cast(float, node.value))
        case ast.Name(id=name):
            return _present(getattr(found, name), name)
        case ast.Subscript(value=ast.Name(id=name)):
            by_class = found.per_class if name == "ap" else found.per_class_ap50
            # The class was checked, so it is missing only where nothing at all was found.
            return _present(by_class.get(_class_name(node), 0.0), ast.unparse(node))
        case ast.BinOp():
            return OPERATORS[type(node.op)](_value(node.left, found), _value(node.right, found))
        case ast.UnaryOp():
            return -_value(node.operand, found)
        case ast.Call(func=ast.Name(id=name)):
            return FUNCTIONS[name]([_value(argument, found) for argument in node.args])
        case _:
            raise AssertionError(f"not checked: {ast.dump(node)}")


def _present(value: float | None, name: str) -> float:
    if value is None:
        raise UsageError(
            f"an objective needs objects to measure on, but validation has none for {name}; choose another objective"
        )
    return value
