"""What is published speaks about edgehone only, not about the machine on which it was written."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Assembled, so that this file does not find itself.
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:" + "|".join(["work", "farm", "home", "root", "opt"]) + r")/\w")
PACKAGE_INDEX = re.compile(
    r"--(?:extra-)?index[-]url|--find[-]links|[+]cpu\b|//[\w.:]+/simple\b|" + r"\b(?:pypi|pythonhosted)[.]org\b"
)
TEXT = {".py", ".md", ".toml", ".txt", ".json", ".yaml", ".yml", ".cfg", ".html", ".j2", ".css", ".js", ""}


def tracked() -> list[Path]:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return []
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in files if path.suffix in TEXT and path.is_file()]


def test_no_path_or_package_index_of_one_machine() -> None:
    files = tracked()
    if not files:
        pytest.skip("not a git checkout: the list of published files is git's")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if MACHINE_PATHS.search(line) or PACKAGE_INDEX.search(line)
    ]
    assert not found, "published files name places of one machine:\n" + "\n".join(found)


def test_constraints_pin_every_package() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    loose = [
        line for line in lines if line and not line.startswith("#") and not re.fullmatch(r"[\w.\-]+==[\w.]+", line)
    ]
    assert not loose, f"constraints are name==version, one a line, without a build of one machine: {loose}"
