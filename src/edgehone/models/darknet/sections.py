"""The text of a Darknet cfg file as sections of keys, read with bounds: a cfg is a stranger's file.

Darknet's rules (src/parser.c, read_cfg; src/option_list.c): white space counts nowhere, a line that starts with ``#``
or ``;`` is a comment, ``[name]`` begins a section, everything else is ``key=value``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from edgehone.errors import EdgehoneError

MAX_BYTES = 1 << 20
"""Of a cfg file; the largest in use are a hundredth of that."""
MAX_LINES = 50_000
MAX_SECTIONS = 1025
MAX_VALUES = 4096
"""Of one list."""
SHOWN = 60
"""Characters of a value that an error quotes."""


@dataclass(frozen=True)
class Value:
    """What stands behind a key, and on which line."""

    text: str
    line: int


@dataclass
class Section:
    """One section; values are taken out of it, so that at the end the unknown ones are left.

    Attributes:
        name: of the file, for errors.
        kind: ``convolutional``, ...
        line: of its bracket.
        values: by key, those not yet taken.
    """

    name: str
    kind: str
    line: int
    values: dict[str, Value] = field(default_factory=dict[str, Value])

    def error(self, message: str, line: int | None = None) -> EdgehoneError:
        """An error that names file, line and section."""
        return EdgehoneError(f"{self.name}, line {line or self.line}, [{self.kind}]: {message}")

    def take(self, key: str) -> Value | None:
        """The value of a key, if there is one."""
        return self.values.pop(key, None)

    def word(self, key: str, default: str, allowed: tuple[str, ...]) -> str:
        """One of a few words."""
        value = self.take(key)
        if value is None:
            return default
        if value.text not in allowed:
            raise self.error(f"{key} is one of {', '.join(allowed)}; got {shown(value.text)}", value.line)
        return value.text

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds."""
        value = self.take(key)
        return default if value is None else self._whole(key, value.text, value.line, (low, high))

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """A number within bounds."""
        value = self.take(key)
        return default if value is None else self._number(key, value.text, value.line, (low, high))

    def flag(self, key: str) -> bool:
        """0 or 1; 0 where it is missing."""
        return self.whole(key, 0, 0, 1) == 1

    def wholes(self, key: str, low: int, high: int) -> tuple[int, ...]:
        """Whole numbers between commas; empty where the key is missing."""
        value = self.take(key)
        return () if value is None else tuple(self._whole(key, t, value.line, (low, high)) for t in self._split(value))

    def numbers(self, key: str, low: float, high: float) -> tuple[float, ...]:
        """Numbers between commas; empty where the key is missing."""
        value = self.take(key)
        return () if value is None else tuple(self._number(key, t, value.line, (low, high)) for t in self._split(value))

    def finish(self) -> None:
        """Refuse what nobody took.

        Raises:
            EdgehoneError: naming the first such key with its line.
        """
        for key, value in self.values.items():
            raise self.error(f"unknown key {shown(key)}; correct it, or remove the line", value.line)

    def _split(self, value: Value) -> list[str]:
        parts = value.text.rstrip(",").split(",")
        if len(parts) > MAX_VALUES:
            raise self.error(f"a list has at most {MAX_VALUES} values, got {len(parts)}", value.line)
        return parts

    def _whole(self, key: str, text: str, line: int, bounds: tuple[int, int]) -> int:
        # Darknet reads 32-bit numbers; a limit on digits also keeps int() quick.
        if not re.fullmatch(r"[+-]?[0-9]{1,10}", text):
            raise self.error(f"{key} is a whole number, got {shown(text)}", line)
        if not bounds[0] <= int(text) <= bounds[1]:
            raise self.error(f"{key} is {bounds[0]} to {bounds[1]}, got {int(text)}", line)
        return int(text)

    def _number(self, key: str, text: str, line: int, bounds: tuple[float, float]) -> float:
        try:
            number = float(text) if len(text) <= 40 and text.isascii() and "_" not in text else math.nan
        except ValueError:
            number = math.nan
        if not bounds[0] <= number <= bounds[1]:
            raise self.error(f"{key} is a number from {bounds[0]:g} to {bounds[1]:g}, got {shown(text)}", line)
        return number


def read_sections(text: str, name: str) -> list[Section]:
    """All sections in order.

    Args:
        text: of the file.
        name: of the file, for errors.

    Raises:
        EdgehoneError: with the line, for what is neither a section, nor a key with a value, nor a comment; for a key
            that has two values, and for a text that is too long to be a cfg.
    """
    lines = text.splitlines()
    if len(text) > MAX_BYTES or len(lines) > MAX_LINES:
        raise EdgehoneError(f"{name}: a cfg has at most {MAX_BYTES} characters and {MAX_LINES} lines")
    sections: list[Section] = []
    for number, raw in enumerate(lines, start=1):
        line = re.sub(r"\s+", "", raw)
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            found = re.fullmatch(r"\[(\w{1,40})\](?:#.*)?", line)
            if found is None:
                raise EdgehoneError(f"{name}, line {number}: a section is [name], got {shown(line)}")
            sections.append(Section(name, found[1], number))
            if len(sections) > MAX_SECTIONS:
                raise EdgehoneError(f"{name}, line {number}: a cfg has at most {MAX_SECTIONS} sections")
            continue
        if not sections:
            raise EdgehoneError(f"{name}, line {number}: a cfg begins with [net], got {shown(line)}")
        _add(sections[-1], line, number)
    return sections


def _add(section: Section, line: str, number: int) -> None:
    key, sign, value = line.split("#")[0].partition("=")
    if not sign or not key or not value:
        raise section.error(f"a line is key=value, got {shown(line)}", number)
    before = section.values.get(key)
    if before is not None and before.text != value:
        raise section.error(f"{shown(key)} has another value already in line {before.line}; remove one", number)
    section.values[key] = Value(value, number)


def shown(text: str) -> str:
    """A part of a stranger's text that is fit to be printed."""
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "...")
