"""What the page shows: sections made of a few kinds of blocks. All texts are plain, the page escapes them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import ClassVar, Literal

Verdict = Literal["better", "tie", "worse", "unproven"]
Grade = Literal["error", "warning", "note"]

WORDS: dict[Verdict, str] = {
    "better": "Better",
    "tie": "Tie: within noise",
    "worse": "Worse",
    "unproven": "Not compared",
}


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
    """A paragraph; ``lead`` says first what it is about."""

    text: str
    lead: str = ""
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
    """A JPEG with a caption; ``alt`` says what it shows to those who cannot see it; a ``wide`` one takes two places."""

    jpeg: bytes
    caption: str
    alt: str
    wide: bool = False

    @property
    def uri(self) -> str:
        """The picture itself as an address, so that the page needs no other file."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode("ascii")


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side."""

    photos: tuple[Photo, ...]
    kind: ClassVar[str] = "gallery"


@dataclass(frozen=True)
class Heading:
    """Begins a part of a section; ``anchor`` names it within the page, ``aside`` follows in small print."""

    anchor: str
    title: str
    grade: Grade | None = None
    aside: str = ""
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class IndexEntry:
    """A line of an index: where it leads, how often it occurs, what it is."""

    anchor: str
    title: str
    grade: Grade
    count: int
    text: str


@dataclass(frozen=True)
class Index:
    """Headings further down, with what they are about."""

    entries: tuple[IndexEntry, ...]
    kind: ClassVar[str] = "index"


@dataclass(frozen=True)
class Legend:
    """What the colours in pictures mean: ``(#rrggbb, text)``."""

    marks: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "legend"


Block = Facts | Text | Table | Figure | Code | Gallery | Heading | Index | Legend


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
        word: the verdict in a word or two, where the usual one does not fit.
    """

    verdict: Verdict
    sentence: str
    facts: tuple[Fact, ...]
    notes: tuple[str, ...] = ()
    word: str = ""

    @property
    def title(self) -> str:
        """The verdict in a word or two."""
        return self.word or WORDS[self.verdict]


@dataclass(frozen=True)
class ReportContent:
    """A whole page. Sections without blocks are left out."""

    title: str
    subtitle: str
    headline: Headline
    sections: tuple[Section, ...]
    colophon: str
