"""Darknet's own files: the graph (``.cfg``) and the weights (``.weights``), both ways."""

from __future__ import annotations

from edgehone.models.darknet.reading import Cfg, cfg_text, parse_cfg, read_cfg
from edgehone.models.darknet.weights import Header, Loaded, read_weights, write_weights
from edgehone.models.darknet.writing import write_cfg

__all__ = ["Cfg", "Header", "Loaded", "cfg_text", "parse_cfg", "read_cfg", "read_weights", "write_cfg", "write_weights"]
