"""The parts of the page about the proof: headline, test table, curves, precision and recall, examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgehone.deploy.integer.accuracy import IntegerAccuracy
from edgehone.deploy.latency import latency_text
from edgehone.report import charts
from edgehone.report.content import Block, Fact, Figure, Gallery, Headline, Photo, Section, Table, Text
from edgehone.report.examples import draw_example
from edgehone.report.story import Story, duration, number, with_interval
from edgehone.results import Entry, Reached, Results

EXAMPLES = 8
EXAMPLE_THRESHOLD = 0.3
NOT_TERMS = {"step", "lr", "positives"}


def headline(story: Story) -> Headline:
    """Did it help?"""
    results = story.results
    found = results.found
    entries = {story.label(name): entry for name, entry in _entries(story).items()}
    facts = [fact for name, entry in entries.items() for fact in _reached_facts(name, entry)]
    facts += [
        Fact(f"{name}, AP on the test split", number(entry.test.ap), _interval_note(entry.interval95.get("ap")))
        for name, entry in entries.items()
    ]
    facts += _cost_facts(story)
    notes = [
        "AP is COCO's: the mean over classes and over overlaps (IoU) from 0.50 to 0.95; 1 is perfect. "
        f"Square brackets are 95 % intervals: what other samples of {found.test.images} test pictures "
        "would give. They do not cover the luck of the random seed in training."
    ]
    if found.reached is not None:
        notes.append(_objective_note(found.reached))
    notes += [f"Warning: {text}." for text in results.warnings]
    verdict = "unproven" if results.gain is None else results.gain.verdict
    return Headline(verdict, _answer(story), tuple(facts), tuple(notes))


def _interval_note(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"95 % interval {interval[0]:.3f} to {interval[1]:.3f}"


def _reached_facts(name: str, entry: Entry) -> list[Fact]:
    """The objective that was asked for on the test split, where it is not AP."""
    reached = entry.reached
    if reached is None:
        return []
    return [Fact(f"{name}, {reached.objective}", number(reached.test), _interval_note(reached.interval95))]


def _objective_note(reached: Reached) -> str:
    if reached.test is None:
        return (
            f"The objective was {reached.objective}. The test split has no object to measure it on, so that the "
            "comparison here is of AP."
        )
    return f"The objective was {reached.objective}: it decides whether a difference is one; AP stands beside it."


def _answer(story: Story) -> str:
    results = story.results
    name, gain = results.default_preset, results.gain
    if gain is None or name is None:
        return (
            f"The found strategy reaches AP {results.found.test.ap:.3f} on the test split. It was not "
            "compared with a preset: the run was asked for no proof."
        )
    measured = f"{gain.words()} against the default ({name}, the preset that did better on validation)"
    if gain.verdict == "better":
        answer = f"The found strategy is better: {measured}, at the same input size and for the same training compute."
        return answer + _kept(results)
    if gain.verdict == "worse":
        answer = f"The search did not help, the found strategy is worse: {measured}."
        return answer + (_kept(results) or " Use the preset.")
    return (
        f"No difference could be shown: {measured}. The interval includes zero, so the test pictures "
        "cannot tell them apart."
    ) + _kept(results)


def _kept(results: Results) -> str:
    """What model and bundles hold, where that is not the found strategy."""
    if results.kept == "found":
        return ""
    return " Validation could not tell the two apart, so the default was kept: model and bundles hold its detector."


def _cost_facts(story: Story) -> list[Fact]:
    results = story.results
    facts = [Fact("network input", f"{story.input_px} x {story.input_px} px")]
    deployments = list(results.boards.values())
    if deployments:
        first = deployments[0]
        facts.append(Fact("parameters", f"{first.parameters / 1e6:.2f} million"))
        facts.append(Fact("compute a picture", f"{first.bflops:.2f} BFLOPs", "two operations a multiply-add"))
    for name, deployed in results.boards.items():
        facts.append(Fact(f"latency, {name}", *latency_text(deployed.latency)))
        if deployed.integer is not None:
            facts.append(_eight_bits(name, deployed.integer, deployed.notes))
    total = results.seconds.get("total")
    if total is not None:
        facts.append(Fact("wall-clock of the run", duration(total), f"{results.trials} trials in the search"))
    return facts


def _eight_bits(name: str, found: IntegerAccuracy, notes: Sequence[str]) -> Fact:
    value = f"AP {found.ap_real:.3f}, in 8 bits {found.delivered:.3f}"
    return Fact(f"8 bits, {name}", value, "; ".join([f"{found.split} split, {found.verdict.chosen.detail}", *notes]))


def results_section(story: Story) -> Section:
    """The table of everything that was fully trained."""
    tested = _entries(story)
    names = story.dataset.class_names
    rows = tuple(_row(story, name, entry, names) for name, entry in tested.items())
    asked = story.results.found.reached
    first = () if asked is None else (f"{asked.objective} [95 %]",)
    columns = ("strategy", *first, "AP [95 %]", "AP50 [95 %]", "AP75", "small", "medium", "large", *names)
    drawn = [
        (story.label(name), entry.test.ap, *entry.interval95["ap"])
        for name, entry in tested.items()
        if "ap" in entry.interval95
    ]
    blocks: list[Block] = [
        Table(
            columns,
            rows,
            caption="AP on the test split. Small: under 32 x 32 px in the original picture; large: over "
            "96 x 96. The last columns are AP by class.",
            marked=frozenset({0}),
        )
    ]
    if len(drawn) > 1:
        blocks.append(
            Figure(
                charts.intervals(drawn, "AP on the test split"),
                "Each interval stands alone; whether two strategies differ is told by the paired "
                "comparison below, which draws the same pictures for both and is sharper.",
            )
        )
    blocks += _comparisons(story)
    return Section("test", "Results on the test split", tuple(blocks))


def _entries(story: Story) -> dict[str, Entry]:
    found = {"found": story.results.found, **story.results.presets}
    if story.results.evolution is not None:
        found["evolution"] = story.results.evolution
    return found


def _row(story: Story, name: str, entry: Entry, classes: tuple[str, ...]) -> tuple[str, ...]:
    test = entry.test
    reached = entry.reached
    first = () if reached is None else (with_interval(reached.test, reached.interval95),)
    return (
        story.label(name),
        *first,
        with_interval(test.ap, entry.interval95.get("ap")),
        with_interval(test.ap50, entry.interval95.get("ap50")),
        *(number(value) for value in (test.ap75, test.ap_small, test.ap_medium, test.ap_large)),
        *(number(test.per_class.get(name)) for name in classes),
    )


def _comparisons(story: Story) -> list[Block]:
    results = story.results
    said: list[Block] = []
    for other, gain in (("the default", results.gain), ("genetic evolution", results.gain_over_evolution)):
        if gain is not None:
            said.append(Text(f"Found against {other}, paired: {gain.words()}: {gain.verdict}."))
    return said


def curves_section(story: Story) -> Section:
    """Loss terms and learning rate of the full trainings."""
    runs = {"found": story.ladder.finalists[0].curve}
    runs |= {story.label(name): outcome.curve for name, outcome in story.presets.finals.items()}
    runs = {name: curve for name, curve in runs.items() if curve}
    terms = list(dict.fromkeys(key for curve in runs.values() for point in curve for key in point))
    shown = [term for term in terms if term not in NOT_TERMS]
    blocks: list[Block] = [
        Figure(charts.curves(runs, term, f"{term} loss", log=True), f"Training loss: {term}.")
        for term in shown
        if any(point.get(term, 0) > 0 for curve in runs.values() for point in curve)
    ]
    if "lr" in terms:
        blocks.append(Figure(charts.curves(runs, "lr", "learning rate"), "Learning rate."))
    if shown:
        blocks.insert(
            0,
            Text(
                "How the full trainings went. Losses of different strategies are weighted and normalised "
                "differently: compare their shapes, not their heights."
            ),
        )
    return Section("curves", "How training went", tuple(blocks))


def precision_recall_section(story: Story) -> Section:
    """Found against default, class by class."""
    found = story.results.found.test.precision_recall
    default = story.results.default
    if not found:
        return Section("precision-recall", "Precision and recall", ())
    name = "default" if default is None else f"default ({story.results.default_preset})"
    other = {} if default is None else default.test.precision_recall
    figure = Figure(
        charts.precision_recall(found, other, name),
        "On the test split at IoU 0.5. Recall: share of the objects that are found; precision: share of "
        "the detections that are right. A curve that ends early says that the rest of the objects is "
        "never found.",
    )
    return Section("precision-recall", "Precision and recall", (figure,))


def examples_section(story: Story) -> Section:
    """Some test pictures, evenly spread over the split, with what the found detector says."""
    samples, detections = story.dataset.test, story.tested["found"].answers.detections
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(EXAMPLES, len(samples))).round().astype(int))
    photos: list[Photo] = []
    for index in (int(i) for i in chosen):
        said = detections[index]
        shown = int((said.scores >= EXAMPLE_THRESHOLD).sum())
        caption = f"{samples[index].id}: {len(samples[index].classes)} labelled, {shown} detected"
        jpeg = draw_example(samples[index].read(), said, story.dataset.class_names, EXAMPLE_THRESHOLD)
        photos.append(Photo(jpeg, caption, f"test picture {samples[index].id} with boxes"))
    legend = Text(
        "Test pictures spread evenly over the split, not picked. Labels: thin dashed white. Detections "
        f"with a score of at least {EXAMPLE_THRESHOLD}: in colour, with class and score."
    )
    return Section("examples", "Example detections", (legend, Gallery(tuple(photos))) if photos else ())
