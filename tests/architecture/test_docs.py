"""The documents do not promise what is not there: links lead somewhere, commands and options exist."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from edgehone.data.checks import CHECKS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(?:sh|console|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def shell_commands() -> list[tuple[str, list[str]]]:
    """``(document, words)`` of every command line in a shell block."""
    found: list[tuple[str, list[str]]] = []
    for document in DOCUMENTS:
        for block in FENCE.findall(document.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if words:
                    found.append((name_of(document), words))
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue  # the tests use no network
        place, _, anchor = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        assert target.exists(), f"{name_of(document)} links to {link}, which is not there"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), (
                f"{name_of(document)} links to {link}, which is no heading of {name_of(target)}"
            )


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for document, words in shell_commands():
        if words[0] == "make":
            wanted = {word for word in words[1:] if "=" not in word}
            assert wanted <= targets, f"{document}: make {wanted - targets} does not exist; there are {sorted(targets)}"


def test_commands_and_their_options_exist() -> None:
    if importlib.util.find_spec("edgehone.cli") is None:
        pytest.skip("edgehone.cli is not there yet")
    import typer.main

    from edgehone import cli

    group: Any = typer.main.get_command(cli.app)
    commands = group.commands
    for document, words in shell_commands():
        if not words[0].endswith("edgehone"):
            continue
        named = [word for word in words[1:] if not word.startswith("-")]
        if not named:
            continue  # edgehone --help, edgehone --version
        assert named[0] in commands, f"{document}: edgehone {named[0]} does not exist; there are {sorted(commands)}"
        command = commands[named[0]]
        if hasattr(command, "commands"):
            assert named[1] in command.commands, f"{document}: edgehone {named[0]} {named[1]} does not exist"
            command = command.commands[named[1]]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        given = {word.split("=")[0] for word in words[1:] if word.startswith("--")}
        assert given <= known, f"{document}: edgehone {named[0]} has no {sorted(given - known)}; it has {sorted(known)}"


def test_every_check_is_in_the_guide() -> None:
    text = (ROOT / "docs/data.md").read_text()
    for code, check in CHECKS.items():
        row = f"| `{code}` | {check.severity} | {check.means} | {check.remedy} | {check.action} |"
        assert row in text, f"docs/data.md lacks the row {row}"
