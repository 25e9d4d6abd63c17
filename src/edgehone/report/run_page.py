"""The page of a run: its sections in the order of the story."""

from __future__ import annotations

from pathlib import Path

from edgehone.report.content import ReportContent, Section
from edgehone.report.explanation_sections import explanation_section
from edgehone.report.facts_sections import capacity_section, data_section, projection_section
from edgehone.report.page import write_report
from edgehone.report.proof_sections import (
    curves_section,
    examples_section,
    headline,
    precision_recall_section,
    results_section,
)
from edgehone.report.search_sections import decisions_section, reproduce_section, trials_section
from edgehone.report.story import Story
from edgehone.search.explanation import explain_trials

REPORT = "report.html"


def write_run_report(story: Story, folder: Path) -> None:
    """Write ``folder/report.html``."""
    write_report(run_content(story), folder / REPORT)


def run_content(story: Story) -> ReportContent:
    """Everything that the page of a run shows."""
    results = story.results
    sections = (
        results_section(story),
        data_section(story),
        capacity_section(story),
        projection_section(story),
        decisions_section(story),
        trials_section(story),
        *why(story),
        curves_section(story),
        precision_recall_section(story),
        examples_section(story),
        reproduce_section(story),
    )
    graphs = ", ".join(dict.fromkeys(deployed.path for deployed in results.boards.values()))
    subtitle = f"{results.date} · edgehone {results.edgehone} · {results.hardware}"
    return ReportContent(
        title=f"{results.model} on {story.dataset.name}",
        subtitle=subtitle + (f" · model: {graphs}, beside this page" if graphs else ""),
        headline=headline(story),
        sections=sections,
        colophon=(f"Written by edgehone {results.edgehone} on {results.date}. The same results as data: results.json."),
    )


def why(story: Story) -> tuple[Section, ...]:
    """What the trials tell about the reasons; ``edgehone explain`` trains more and writes the section anew."""
    outcomes = story.ladder.outcomes
    return (explanation_section(explain_trials(outcomes, story.priors, story.presets.objectives)),) if outcomes else ()


__all__ = ["Story", "run_content", "write_run_report"]
