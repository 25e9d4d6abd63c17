"""The errors that edgehone means to show to a person: no traceback, exit code 1 or 2."""

from __future__ import annotations


class EdgehoneError(Exception):
    """The job found a problem. The message states the rule, the values, and what to do."""

    exit_code = 1


class UsageError(EdgehoneError):
    """The request itself cannot be met: an unknown name, a value out of range, a missing file."""

    exit_code = 2
