"""What the page shows: sections made of a few kinds of blocks. All texts are plain, the page escapes them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import ClassVar, Literal

Verdict = Literal["better", "tie", "worse", "unproven"]


@dataclass(frozen=True)
class Fact:
    """A number that deserves to stand alone, with what it is and, where needed, a note below."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """Several facts side by side."""

    facts: tuple[Fact, ...]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Table:
    """Rows of texts.

    Attributes:
        columns: titles, with units.
        rows: as many cells as there are columns.
        words: indices of the columns that hold words; the others hold numbers and are aligned to the right.
        caption: what it says.
        marked: indices of rows that stand out.
        folded: show only the caption until it is opened.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[int] = frozenset({0})
    caption: str = ""
    marked: frozenset[int] = frozenset()
    folded: bool = False
    kind: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"need {len(self.columns)} cells in a row of {self.columns}, got {row}")


@dataclass(frozen=True)
class Figure:
    """A chart: SVG made by :mod:`edgehone.report.charts`, with what to see in it."""

    svg: str
    caption: str
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Code:
    """Text to be copied."""

    text: str
    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class Photo:
    """A JPEG with a caption; ``alt`` says what it shows to those who cannot see it."""

    jpeg: bytes
    caption: str
    alt: str

    @property
    def uri(self) -> str:
        """The picture itself as an address, so that the page needs no other file."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode("ascii")


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side."""

    photos: tuple[Photo, ...]
    kind: ClassVar[str] = "gallery"


Block = Facts | Text | Table | Figure | Code | Gallery


@dataclass(frozen=True)
class Section:
    """A part of the story; ``anchor`` names it within the page."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Headline:
    """The answer: did it help?

    Attributes:
        verdict: better or worse only where the interval leaves out zero.
        sentence: the answer in words.
        facts: the numbers behind it.
        notes: what to know before believing it.
    """

    verdict: Verdict
    sentence: str
    facts: tuple[Fact, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportContent:
    """A whole page. Sections without blocks are left out."""

    title: str
    subtitle: str
    headline: Headline
    sections: tuple[Section, ...]
    colophon: str
