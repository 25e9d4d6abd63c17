"""The page of a run, from a made-up run with hostile names: complete, self-contained, escaped, error-free."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edgehone.analysis import analyse
from edgehone.console_view import print_results
from edgehone.data import Dataset, Finding, Sample
from edgehone.deploy.bundle import Deployment
from edgehone.deploy.latency import Latency
from edgehone.deploy.parity import Parity
from edgehone.evaluation import evaluate_detections, match
from edgehone.report.content import Table
from edgehone.report.run_page import Story, run_content, write_run_report
from edgehone.results import Difference, Entry, FrontPoint, Gain, Reached, Results, judge
from edgehone.search import verdict
from edgehone.search.agreement import agree
from edgehone.search.finalists import Standing
from edgehone.search.ladder import Ladder
from edgehone.search.plan import Calibration, Plan, Rung
from edgehone.search.proof import PresetRuns
from edgehone.search.trial import Outcome, Task
from edgehone.space import Forbid, Prefer, Settings
from edgehone.space import replace as changed
from edgehone.strategy import AUTHORS, DARKNET, Strategy
from edgehone.training import Job
from edgehone.types import Detections, Truth

HOSTILE = "<script>alert(1)</script>"
OBJECTIVE = f"ap['{HOSTILE}']"
NAMES = ("fish", HOSTILE, "a\"b'c & d")
SIDE = 200
HEADLINES = (
    (judge(0.01, (-0.01, 0.03)), "found", "No difference could be shown.*apart[.]$"),
    (judge(-0.04, (-0.06, -0.01)), "found", "did not help.*Use the preset[.]$"),
    (judge(-0.04, (-0.06, -0.01)), "default", "did not help.*hold its detector[.]$"),
    (judge(0.04, (0.01, 0.06)), "default", "is better.*hold its detector[.]$"),
)


@dataclass(frozen=True)
class Gray:
    """A picture of noise with the objects as brighter blocks."""

    seed: int
    boxes: np.ndarray

    def read(self) -> np.ndarray:
        image = np.random.default_rng(self.seed).integers(40, 90, (SIDE, SIDE + 60, 3)).astype(np.uint8)
        for left, top, right, bottom in self.boxes.astype(int):
            image[top:bottom, left:right] += 120
        return image


def sample(seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 140, (5, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(12, 55, (5, 2))], 1).astype(np.float32)
    identity = f"pictures/{HOSTILE}-{seed}.jpg"
    return Sample(identity, (SIDE, SIDE + 60), boxes, rng.integers(0, 3, 5), Gray(seed, boxes))


def dataset() -> Dataset:
    samples = tuple(sample(k) for k in range(18))
    finding = Finding("box-outside", "warning", f"labels/{HOSTILE}.xml", "a box leaves the picture", "clipped")
    return Dataset(f"aquarium {HOSTILE}", "yolo", NAMES, samples[:6], samples[6:9], samples[9:], (finding,))


def answers_of(data: Dataset, strategy: Strategy, preset: str | None, noise: float) -> verdict.Tested:
    rng = np.random.default_rng(7)
    truths = [Truth(s.boxes_xyxy, s.classes, s.size) for s in data.test]
    detections: list[Detections] = []
    for truth in truths:
        boxes = truth.boxes_xyxy + rng.normal(0, noise, truth.boxes_xyxy.shape)
        scores = np.sort(rng.uniform(0.1, 1, len(boxes)))[::-1]
        detections.append(Detections(boxes.astype(np.float32), scores.astype(np.float32), truth.classes))
    evaluation = evaluate_detections(truths, detections, NAMES, samples=100)
    intervals = dict(evaluation.interval95 or {})
    entry = Entry(
        strategy=strategy,
        preset=preset,
        test=evaluation,
        validation=evaluation,
        interval95=intervals,
        steps=1500,
        gflops=9000.0,
    )
    matches = match(truths, detections, 3)
    return verdict.Tested(entry, verdict.Answers(detections, matches, matches))


def outcome(name: str, rung: str, strategy: Strategy, ap: float, origin: str) -> Outcome:
    job = Job(model="yolov4-tiny", strategy=strategy, steps=250, batch_size=16)
    task = Task(name=name, rung=rung, job=job, gflops=100.0, origin=origin)
    curve = [
        {"step": s, "lr": 0.01 * (1 - s / 260), "box": 3 / s, "objectness": 9 / s, "class": 1 / s, "positives": 20}
        for s in range(1, 251, 5)
    ]
    status = "done" if ap else "diverged"
    return Outcome(task=task, status=status, ap=ap, validation=None, curve=curve, seconds=61.0)


def search(winner: Strategy) -> Ladder:
    ranks = [0.21, 0.18, 0.25, 0.12, 0.0, 0.2, 0.16, 0.23]
    strategies = [
        winner if k == 2 else changed(AUTHORS, {"optimisation.optimizer.lr": 0.01 + 0.001 * k}) for k in range(8)
    ]
    short = [
        outcome(f"short-{k:02d}", "short", s, ap, "drawn by the rules' priors")
        for k, (s, ap) in enumerate(zip(strategies, ranks, strict=True))
    ]
    kept = sorted(short, key=lambda o: -o.ap)
    middle = [
        outcome(f"middle-{k:02d}", "middle", o.task.job.strategy, o.ap + 0.08, f"promoted from {o.task.name}")
        for k, o in enumerate(kept[:4])
    ]
    final = [
        outcome(f"final-{k:02d}", "final", o.task.job.strategy, o.ap + 0.07, f"promoted from {o.task.name}")
        for k, o in enumerate(middle[:2])
    ]
    agreement = [agree("short", "middle", [(0.1 * k, 0.2 * k) for k in range(6)])]
    standings = tuple(
        Standing(
            name=o.task.name,
            trial=k,
            seeds=2,
            values=(o.ap, -ms),
            shown={OBJECTIVE: o.ap, "latency[cpu]": ms},
            low=o.ap - 0.02,
            high=o.ap + 0.02,
        )
        for k, (o, ms) in enumerate(zip(final, (9.0, 6.5), strict=True))
    )
    return Ladder([*short, *middle, *final], final, agreement, standings)


def plan() -> Plan:
    calibration = Calibration(
        precision="bf16",
        seconds_per_gflop=0.011,
        seconds_per_gflop_by_precision={"bf16": 0.011, "fp32": 0.02},
        workers=2,
        cpu="Example CPU at 2.0 GHz",
    )
    rungs = (Rung(name="short", share=1 / 6, trials=8), Rung(name="middle", share=1 / 3, trials=4))
    return Plan(
        budget_s=1800.0,
        proof="full",
        calibration=calibration,
        full_gflops=9000.0,
        rungs=rungs,
        finalists=2,
        reserve_s=94.0,
    )


class Request(Settings):
    """What a user asks for, as the pipeline has it."""

    data: str = "data/my fish"
    model: str = "yolov4-tiny"
    boards: tuple[str, ...] = ("cpu",)
    budget_s: float = 1800.0
    latency: tuple[str, ...] = ("cpu<=8ms",)
    seed: int = 0


def deployment() -> Deployment:
    latency = Latency(
        p50_ms=12.31,
        p90_ms=13.9,
        p99_ms=18.0,
        mean_ms=12.6,
        runs=300,
        threads=2,
        runtime="onnxruntime 1.30",
        cpu="Example",
    )
    parity = Parity(max_abs_difference=1e-5, mean_abs_difference=1e-6, pictures=16)
    return Deployment(
        board="cpu",
        path="model.onnx",
        input_size=(256, 256),
        opset=13,
        parameters=5_889_000,
        bflops=2.58,
        parity=parity,
        latency=latency,
    )


@pytest.fixture(scope="module")
def story() -> Story:
    data = dataset()
    winner = changed(
        Strategy(),
        {"input.size": 256, "projection.assigner.kind": "task_aligned", "optimisation.optimizer.lr": 0.0123},
    )
    answers = {
        "found": answers_of(data, winner, None, 2.0),
        "darknet": answers_of(data, DARKNET, "darknet", 5.0),
        "authors": answers_of(data, AUTHORS, "authors", 3.0),
    }
    results = Results(
        edgehone="0.1.0",
        date="2025-01-31",
        hardware="Example CPU, 2 workers of one thread, bf16",
        model="yolov4-tiny",
        data="data/my fish",
        found=answers["found"].entry,
        default=answers["authors"].entry,
        default_preset="authors",
        presets={name: answers[name].entry for name in ("darknet", "authors")},
        evolution=None,
        gain=judge(0.034, (0.011, 0.055)),
        gain_over_evolution=None,
        margin=judge(0.02, (-0.01, 0.05)),
        kept="default",
        objectives=(OBJECTIVE, "latency"),
        front=(FrontPoint(trial="final-00", strategy=winner, values={OBJECTIVE: 0.4, "latency[cpu]": 9.0}),),
        seconds={"total": 1731.0, "search": 1100.5, "train": 1580.0},
        trials=14,
        boards={"cpu": deployment()},
    )
    finals = {
        name: outcome(f"final-{name}", "final", answers[name].entry.strategy, ap, "preset")
        for name, ap in (("darknet", 0.31), ("authors", 0.36))
    }
    rates = [outcome("rate-authors-0", "rate", AUTHORS, 0.2, "preset authors, learning rate x 1")]
    priors = (
        Prefer(path="input.size", value=256, confidence=0.6, because="small fish", evidence={"median_px": 21.5}),
        Forbid(path="input.size", values=(416,), because=f"too slow {HOSTILE}", evidence={"ms": {"416": 19.2}}),
    )
    presets = PresetRuns(rates, finals)
    profile = analyse(data, "yolov4-tiny", (192, 256, 320))
    return Story(Request(), data, profile, plan(), priors, search(winner), presets, answers, results)


@pytest.fixture(scope="module")
def page(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run_report(story, folder)
    return folder / "report.html"


class Reader(HTMLParser):
    """Every tag with its attributes, the tags that are open, and the text."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader


def test_html_is_well_formed_and_names_are_escaped(page: Path) -> None:
    reader = read(page)
    assert reader.open == []
    assert not [tag for tag, _ in reader.tags if tag == "script"]
    assert HOSTILE in reader.text
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on")]


def test_page_needs_no_other_file_and_ids_are_unique(page: Path) -> None:
    reader = read(page)
    addresses = [
        value or ""
        for _, attributes in reader.tags
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "xlink:href", "data", "action", "poster"}
    ]
    assert addresses
    assert not [address for address in addresses if not address.startswith(("#", "data:"))]
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"url\((?!#)|@import|@font-face", text)
    identities = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(identities) == len(set(identities))
    for target in re.findall(r'(?:href="|url\()#([^")]+)', text):
        assert target in identities


def test_page_tells_the_story(page: Path) -> None:
    text = read(page).text
    for words in (
        "+3.4 AP points [+1.1, +5.5]",
        "preset authors (default)",
        "256 x 256 px",
        "2.58 BFLOPs",
        "90th percentile 13.9 ms",
        "28 min 51 s",
        "stride 16",
        "rule: small fish",
        "trial short-02: drawn by the rules' priors",
        "Kendall's tau",
        "edgehone run 'data/my fish' --board cpu --budget 1800s --model yolov4-tiny --latency 'cpu<=8ms'",
        "edgehone 0.1.0",
        "Example CPU",
        "box-outside",
    ):
        assert words in text, words


def test_sections_without_content_are_left_out(story: Story, tmp_path: Path) -> None:
    found = story.results.found
    bare = replace(
        story,
        priors=(),
        presets=PresetRuns([], {}),
        results=story.results.model_copy(
            update={"presets": {}, "default": None, "default_preset": None, "gain": None, "boards": {}}
        ),
        tested={"found": replace(story.tested["found"], entry=found)},
        profile=story.profile.model_copy(update={"projection": ()}),
    )
    write_run_report(bare, tmp_path)
    reader = read(tmp_path / "report.html")
    assert "The projection, measured" not in reader.text
    assert "not compared with a preset" in reader.text
    assert "None" not in reader.text


@pytest.mark.parametrize(("gain", "kept", "words"), HEADLINES)
def test_headline_is_honest(story: Story, gain: Gain, kept: str, words: str) -> None:
    told = replace(story, results=story.results.model_copy(update={"gain": gain, "kept": kept}))
    headline = run_content(told).headline
    assert re.search(words, headline.sentence)
    assert headline.verdict == gain.verdict


def test_an_objective_that_is_not_ap_stands_before_it(story: Story) -> None:
    asked = "recall@precision=0.9"
    reached = Reached(objective=asked, validation=0.61, test=0.58, interval95=(0.5, 0.66))
    other = reached.model_copy(update={"test": 0.41, "interval95": (0.3, 0.5)})
    gain = judge(-0.01, (-0.03, 0.01), Difference(objective=asked, value=0.17, interval95=(0.05, 0.28)))
    results = story.results.model_copy(
        update={
            "found": story.results.found.model_copy(update={"reached": reached}),
            "presets": {k: e.model_copy(update={"reached": other}) for k, e in story.results.presets.items()},
            "gain": gain,
        }
    )
    content = run_content(replace(story, results=results))
    assert content.headline.verdict == "better"
    assert f"+17.0 points of {asked} [+5.0, +28.0], -1.0 AP points [-3.0, +1.0]" in content.headline.sentence
    assert content.headline.facts[0].label == f"found, {asked}"
    assert any(asked in note for note in content.headline.notes)
    tables = [b for s in content.sections for b in s.blocks if isinstance(b, Table) and f"{asked} [95 %]" in b.columns]
    assert [row[1] for row in tables[0].rows] == ["0.580 [0.500, 0.660]", *["0.410 [0.300, 0.500]"] * 2]
    console = Console(record=True, width=200, file=io.StringIO())
    print_results(console, results, Path("runs/mine"))
    printed = " ".join(console.export_text().split())
    assert f"objective: {asked}" in printed
    assert printed.count("0.410 [0.300, 0.500]") == 2
    assert f"+17.0 points of {asked} [+5.0, +28.0], -1.0 AP points [-3.0, +1.0]: better" in printed


def test_pictures_are_jpegs_and_the_page_is_small(page: Path) -> None:
    sources = [attributes["src"] or "" for tag, attributes in read(page).tags if tag == "img"]
    assert len(sources) == 8
    for source in sources:
        assert base64.b64decode(source.partition("base64,")[2])[:2] == b"\xff\xd8"
    assert page.stat().st_size < 3_000_000


def test_browser_shows_the_page_without_errors(page: Path, console_messages: Callable[[Path], list[str]]) -> None:
    assert not console_messages(page)
