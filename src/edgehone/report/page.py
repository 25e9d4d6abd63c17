"""One self-contained HTML file: no network, no other file, no script."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from edgehone.files import write_text
from edgehone.report.content import Figure, ReportContent, Section

TEMPLATE = "template.html.j2"
IDENTIFIER = re.compile(r'\bid="([^"]+)"')


def write_report(content: ReportContent, path: Path) -> None:
    """Write the page atomically to ``path``."""
    write_text(path, render_report(content))


def render_report(content: ReportContent) -> str:
    """The page as HTML; every text is escaped, only the charts' SVG is taken as it is."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("edgehone.report").joinpath(TEMPLATE).read_text(encoding="utf-8"))
    sections = tuple(section for section in content.sections if section.blocks)
    drawn: dict[str, Markup] = {}
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Figure):
                drawn[block.svg] = Markup(_with_own_ids(block.svg, f"{section.anchor}-figure{len(drawn)}-"))
    return template.render(content=content, sections=sections, drawn=drawn)


def exchange_section(page: str, section: Section, blank: ReportContent) -> str | None:
    """A page with one of its sections written anew; None where the page has no section of that anchor.

    Args:
        page: as :func:`render_report` wrote it.
        section: what is to stand there.
        blank: a page without sections, for everything around it.
    """
    pattern = re.compile(rf'<section id="{re.escape(section.anchor)}">.*?</section>', re.DOTALL)
    anew = pattern.search(render_report(replace(blank, sections=(section,))))
    if anew is None or pattern.search(page) is None:
        return None
    return pattern.sub(lambda _: anew.group(), page, count=1)


def _with_own_ids(svg: str, prefix: str) -> str:
    """Every chart names its clips ``clip0``, ``clip1``: within one page they would take each other's."""
    for name in set(IDENTIFIER.findall(svg)):
        svg = svg.replace(f'id="{name}"', f'id="{prefix}{name}"').replace(f"url(#{name})", f"url(#{prefix}{name})")
    return svg
