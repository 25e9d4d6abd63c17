"""Shared by the tests of pages."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def console_messages(tmp_path: Path) -> Callable[[Path], list[str]]:
    """Opens a page in a browser and returns what its console says; the test is skipped without a browser."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("neither chromium nor google-chrome is on PATH: the page was not opened in a browser")
    quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    quiet += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [browser, "--headless", "--no-sandbox", *quiet, "--enable-logging=stderr", "--dump-dom"]

    def shown(page: Path) -> list[str]:
        done = subprocess.run(
            [*command, page.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        assert "</html>" in done.stdout, done.stderr[-2000:]
        return [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return shown
