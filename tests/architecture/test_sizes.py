"""Code stays small enough to read in one sitting, and modules are named after what they hold."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py")) + sorted((ROOT / "benchmarks").rglob("*.py"))

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_PARAMETERS = 7
UNNAMED = {"utils", "util", "helper", "helpers", "manager", "managers", "misc", "common", "cfg"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> list[Function]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def length(function: Function) -> int:
    """Lines of signature and body; a docstring explains and is not counted."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        assert first.end_lineno is not None
        lines -= first.end_lineno - first.lineno + 1
    return lines


def parameters(function: Function) -> int:
    """Every parameter that a caller fills in: not ``self`` or ``cls``."""
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in names if name not in {"self", "cls"}])


def is_command(function: Function) -> bool:
    """A command declares its options as parameters: there the count is the command line's, not the code's."""
    return any("command" in ast.unparse(decorator) for decorator in function.decorator_list)


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=name_of)
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines < MAX_FILE_LINES, f"need fewer than {MAX_FILE_LINES} lines, {name_of(path)} has {lines}: split it"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_functions_are_short(path: Path) -> None:
    long = {f"{f.name} (line {f.lineno})": length(f) for f in functions(path) if length(f) >= MAX_FUNCTION_LINES}
    assert not long, f"need fewer than {MAX_FUNCTION_LINES} lines in a function of {name_of(path)}: {long}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_functions_take_few_parameters(path: Path) -> None:
    wide = {
        f"{f.name} (line {f.lineno})": parameters(f)
        for f in functions(path)
        if parameters(f) > MAX_PARAMETERS and not is_command(f)
    }
    assert not wide, f"need at most {MAX_PARAMETERS} parameters in {name_of(path)}: {wide}"


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=name_of)
def test_modules_are_named_after_what_they_hold(path: Path) -> None:
    parts = {part.strip("_") for part in path.relative_to(ROOT).with_suffix("").parts}
    words = parts | {word for part in parts for word in part.split("_")}
    assert not words & UNNAMED, f"{name_of(path)} says nothing about what is in it"
