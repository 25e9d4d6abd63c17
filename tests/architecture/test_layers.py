"""The layering contract of pyproject.toml holds (docs/ARCHITECTURE.md draws it, ADR 0001 says why)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_imports_keep_the_contract() -> None:
    # A process of its own: import-linter reads the configuration from the working directory.
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as c; c()",
        "--no-cache",
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_facts_of_a_data_set_are_read_without_torch() -> None:
    """Readers, transforms and metrics serve scripts that must start fast, so nothing loads torch for them."""
    code = "import sys, edgehone.data, edgehone.augment; sys.exit('torch' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, "importing edgehone.data and edgehone.augment loaded torch" + ended.stderr
