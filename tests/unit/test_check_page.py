"""The page of a check, from made-up findings with hostile names: complete, bounded, self-contained, escaped."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehone.analysis.label_review import Review, Suspect
from edgehone.data import Dataset, Finding, Sample
from edgehone.data.checks import CHECKS
from edgehone.data.doctor import Checkup
from edgehone.data.doctor.view import View
from edgehone.errors import EdgehoneError
from edgehone.report.album import Album
from edgehone.report.check_page import FOLDED_PLACES, PHOTOS, PLACES, check_content, write_check_page
from edgehone.report.content import Gallery
from edgehone.report.crops import HEIGHT_PX, LEAST_PX, WIDTH_PX, Mark, draw_crop, draw_row

HOSTILE = "<script>alert(1)</script>"
NAMES = ("fish", HOSTILE, "a\"b'c & d")
SIZE = (300, 400)
BOX = (50.0, 60.0, 90.0, 110.0)
RED = (255, 0, 0)


@dataclass(frozen=True)
class Noise:
    """A picture of blurred noise; the one without a seed cannot be read."""

    seed: int

    def read(self) -> np.ndarray:
        if self.seed < 0:
            raise EdgehoneError("broken")
        coarse = np.random.default_rng(self.seed).integers(0, 255, (6, 8, 3)).astype(np.uint8)
        return np.asarray(cv2.resize(coarse, SIZE[::-1]), np.uint8)


def sample(seed: int) -> Sample:
    boxes = np.array([BOX, (200, 100, 300, 250)], np.float32)
    return Sample(f"pictures/{HOSTILE}-{seed}.jpg", SIZE, boxes, np.array([seed % 3, 1]), Noise(seed))


SAMPLES = [sample(k) for k in range(-1, 11)]
DATA = Dataset(f"fish {HOSTILE}", "yolo", NAMES, SAMPLES[:6], SAMPLES[6:9], SAMPLES[9:], source=f"data/{HOSTILE}")


def finding(
    code: str, key: str = "", *, boxes: tuple[tuple[float, ...], ...] = (), related: tuple[str, ...] = ()
) -> Finding:
    check = CHECKS[code]
    where = f"labels/{HOSTILE}.txt line 3"
    return Finding(code, check.severity, where, f"{HOSTILE} and more", check.remedy, key, boxes, related)


FINDINGS = (
    finding("format"),
    *(finding("box-near-duplicate", SAMPLES[k % 12].id, boxes=(BOX, BOX)) for k in range(FOLDED_PLACES + 50)),
    finding("split-leak", SAMPLES[1].id, related=(SAMPLES[7].id, SAMPLES[10].id, SAMPLES[3].id)),
    finding("image-unreadable", "not/among/the.samples"),
    finding("image-blank", SAMPLES[0].id),
    finding("image-not-listed"),
)


def suspect(kind: str, k: int) -> Suspect:
    return Suspect(
        kind=kind,
        sample=SAMPLES[k].id,
        box_xyxy=BOX,
        label=None if kind == "missing" else HOSTILE,
        suggested=None if kind == "unfound" else NAMES[2],
        suggested_xyxy=None if kind == "unfound" else (48.0, 55.0, 99.0, 120.0),
        rank=0.9 - 0.01 * k,
        score=None if kind == "unfound" else 0.8,
        confident_at=None if kind == "unfound" else 0.6,
        agreeing=2,
        models=3,
        learned=k < 6,
    )


SUSPECTS = tuple(suspect(kind, k) for k, kind in enumerate(("missing", "swapped", "misplaced", "unfound") * 3))
REVIEW = Review(
    detectors=("final-00", HOSTILE),
    splits=("train", "val", "test"),
    suspects=SUSPECTS,
    not_judged=(HOSTILE,),
    note="Look.",
)


def checkup(findings: tuple[Finding, ...] = FINDINGS) -> Checkup:
    worst_first = sorted(findings, key=lambda f: ("error", "warning", "note").index(f.severity))
    counts = dict(Counter(f.code for f in findings))
    return Checkup(DATA, tuple(worst_first), counts, View.of(DATA, None, None))


class Page(HTMLParser):
    """Tags with their attributes, and the visible text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, key: str) -> list[str]:
        return [attributes[key] or "" for name, attributes in self.tags if name == tag and key in attributes]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "check.html"
    write_check_page(checkup(), path, REVIEW)
    return path


@pytest.fixture(scope="module")
def page(path: Path) -> Page:
    return Page(path)


def test_everything_is_on_the_page(page: Page) -> None:
    assert page.all("section", "id") == ["read", "findings", "labels"]
    for found in FINDINGS[1:]:
        assert f"finding-{found.code}" in page.all("h3", "id")
        assert f"#finding-{found.code}" in page.all("a", "href")
        assert CHECKS[found.code].means in page.text.lower() or CHECKS[found.code].means in page.text
        assert CHECKS[found.code].remedy[1:] in page.text
    assert "Errors: repair these first" in page.text
    for one in SUSPECTS:
        assert one.sentence[1:] in page.text
    assert "the detectors find too little" in page.text


def test_worst_comes_first(page: Page) -> None:
    grades = [str(a["class"]) for tag, a in page.tags if tag == "span" and str(a.get("class")).startswith("grade ")]
    index = grades[: len(grades) // 2]
    assert index == grades[len(grades) // 2 :]
    assert index == sorted(index, key=["grade error", "grade warning", "grade note"].index)


def test_names_are_escaped_and_nothing_is_loaded(page: Page) -> None:
    assert "script" not in {tag for tag, _ in page.tags}
    assert HOSTILE in page.text
    loaded = page.all("img", "src") + page.all("link", "href")
    assert all(address.startswith("data:") for address in loaded)
    assert not re.search(r"url\(|@import|https?://", page.source)


def test_anchors_are_there_once(page: Page) -> None:
    ids = [str(a["id"]) for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {href[1:] for href in page.all("a", "href")} <= set(ids)


def test_pictures_are_jpegs_bounded_in_number_and_size(page: Page, path: Path) -> None:
    sources = page.all("img", "src")
    # Near duplicates, one leak, suspects but for the one whose picture cannot be read.
    assert len(sources) == PHOTOS + 1 + len(SUSPECTS) - 1
    for source in sources:
        content = np.frombuffer(base64.b64decode(source.partition("base64,")[2]), np.uint8)
        height, width = cv2.imdecode(content, cv2.IMREAD_COLOR).shape[:2]
        assert height <= HEIGHT_PX + 1
        assert width <= 2 * WIDTH_PX + 20
    assert path.stat().st_size < 2_000_000
    assert all(page.all("img", "alt"))
    assert [str(a["class"]) for tag, a in page.tags if tag == "figure" and "class" in a] == ["wide"]


def test_long_lists_are_folded_and_cut(page: Page) -> None:
    summary = re.search(r"<summary>(\d+) more; (\d+) others", page.source)
    assert summary is not None
    assert int(summary[1]) == FOLDED_PLACES
    assert int(summary[2]) == 50 - PLACES


def test_space_is_kept() -> None:
    album = Album(checkup().view, space=50_000)
    photos = album.of_suspects(SUSPECTS)
    assert 0 < len(photos) < len(SUSPECTS)
    assert sum(len(photo.jpeg) for photo in photos) == 50_000 - album.left


@pytest.mark.parametrize(
    ("findings", "verdict", "words"),
    [
        ((finding("format"),), "better", "Clean"),
        ((finding("format"), finding("image-turned")), "better", "Clean"),
        ((finding("box-degenerate"),), "tie", "some warnings"),
    ],
)
def test_headline_is_that_of_the_worst(findings: tuple[Finding, ...], verdict: str, words: str) -> None:
    content = check_content(checkup(findings), None)
    assert content.headline.verdict == verdict
    assert words in content.headline.title
    assert not content.sections[2].blocks, "nothing is said of detectors where none was asked"


def test_no_suspects_is_said() -> None:
    blocks = check_content(checkup(()), REVIEW.model_copy(update={"suspects": ()})).sections[2].blocks
    assert not any(isinstance(block, Gallery) for block in blocks)
    assert "contradict no label" in str(blocks)


def test_a_crop_shows_its_marks_enlarged_in_place() -> None:
    image = np.full((300, 400, 3), 90, np.uint8)
    shown = cv2.imdecode(
        np.frombuffer(draw_crop(image, np.zeros((0, 4), np.float32), [Mark((200, 100, 220, 115), RED)]), np.uint8), 1
    )
    assert shown.shape[:2] == (HEIGHT_PX, WIDTH_PX)
    red = np.argwhere(shown[..., 2] > 180)
    scale = WIDTH_PX / LEAST_PX
    assert red.min(axis=0) == pytest.approx([HEIGHT_PX / 2 - 7.5 * scale, WIDTH_PX / 2 - 10 * scale], abs=6)
    assert red.max(axis=0) == pytest.approx([HEIGHT_PX / 2 + 7.5 * scale, WIDTH_PX / 2 + 10 * scale], abs=6)


@pytest.mark.parametrize("box", [(0, 0, 400, 300), (-20, -20, 5, 5), (395, 299, 400, 300), (0, 100, 400, 101)])
def test_crops_stay_inside_odd_pictures(box: tuple[float, float, float, float]) -> None:
    for size in ((300, 400), (30, 400), (500, 20)):
        image = np.zeros((*size, 3), np.uint8)
        labels = np.array([box], np.float32)
        assert draw_crop(image, labels, [Mark(box, RED)])[:2] == b"\xff\xd8"
        assert draw_row([(image, labels)] * 3)[:2] == b"\xff\xd8"


def test_browser_shows_the_page_without_errors(path: Path, console_messages: Callable[[Path], list[str]]) -> None:
    assert not console_messages(path)


def test_a_set_made_in_memory_has_a_page(tmp_path: Path) -> None:
    bare = replace(DATA, source="", val=SAMPLES[:0], test=SAMPLES[:0])
    write_check_page(Checkup(bare, (), {}, View.of(bare, None, None)), tmp_path / "check.html")
    assert "made in memory" in (tmp_path / "check.html").read_text(encoding="utf-8")
