"""Settings models and the search space that they declare.

A part of a strategy is a frozen :class:`Settings` model. A field that may be searched carries its
dimension in its annotation; a discriminated union of settings is a conditional choice. There is no
second list of hyper-parameters: :func:`dimensions` reads them off the models.

>>> class Sgd(Settings):
...     kind: Literal["sgd"] = "sgd"
...     lr: Annotated[float, Span(1e-3, 1e-1, log=True)] = 1e-2
>>> [d.path for d in dimensions(Sgd)]
['lr']
"""

from __future__ import annotations

from edgehone.space.search_space import Forbid, Prefer, Prior, SearchSpace, in_force
from edgehone.space.settings import (
    SCHEMA,
    Choice,
    Dimension,
    Settings,
    Span,
    diff,
    dimensions,
    fingerprint,
    flatten,
    load,
    parse_assignments,
    replace,
    union_members,
    union_types,
)

__all__ = [
    "Choice",
    "Dimension",
    "Forbid",
    "Prefer",
    "Prior",
    "SCHEMA",
    "SearchSpace",
    "Settings",
    "Span",
    "diff",
    "dimensions",
    "fingerprint",
    "flatten",
    "in_force",
    "load",
    "parse_assignments",
    "replace",
    "union_members",
    "union_types",
]
