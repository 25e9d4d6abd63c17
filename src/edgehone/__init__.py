"""Hone a small detector to its edge: find, prove and export the learning strategy that suits it."""

from __future__ import annotations

__version__ = "0.1.0"
