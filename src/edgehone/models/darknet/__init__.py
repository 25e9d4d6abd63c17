"""Darknet's own files: the graph (``.cfg``) and the weights (``.weights``), both ways."""

from __future__ import annotations

from edgehone.models.darknet.reading import Cfg, cfg_text, parse_cfg, read_cfg
from edgehone.models.darknet.writing import write_cfg

__all__ = ["Cfg", "cfg_text", "parse_cfg", "read_cfg", "write_cfg"]
