"""The command line without a process of its own, which takes seconds to start."""

from __future__ import annotations

import io
import signal
import subprocess
from contextlib import redirect_stderr, redirect_stdout

import pytest

from edgehone.cli import main


def edgehone(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What a command prints, and its exit code; a traceback is raised."""
    said, told = io.StringIO(), io.StringIO()
    heard = signal.getsignal(signal.SIGINT)
    try:
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(told):
            patch.setattr("sys.argv", ["edgehone", *arguments])
            with pytest.raises(SystemExit) as end:
                main()
    finally:
        signal.signal(signal.SIGINT, heard)
    code = end.value.code
    assert isinstance(code, int), f"a command exits with a code, not with {code!r}"
    return subprocess.CompletedProcess(arguments, code, said.getvalue(), told.getvalue())
