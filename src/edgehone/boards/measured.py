"""What was measured on a board: the file ``measured.json`` that a bundle's ``measure`` writes there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator

from edgehone.boards.board import Precision
from edgehone.errors import UsageError
from edgehone.files import read_json
from edgehone.space import Settings
from edgehone.types import LayerCost, Size


class Measurement(Settings):
    """One network, timed.

    Attributes:
        network: name, for people.
        fingerprint: of its layer costs (:func:`fingerprint_of`): says which estimate it replaces.
        precision: of the arithmetic.
        input_size: ``(height, width)``.
        p50_ms: median of one picture, batch 1, without pre- and post-processing; ``p90_ms`` its 90th percentile.
        includes: what these times hold beside the network, in words; "" where the file does not say.
        npu_ms: mean of the accelerator alone, without transfer to it; None where it does not tell.
        runs: timed.
        layers: costs of its layers; without them it replaces an estimate and refits nothing.
    """

    network: str
    fingerprint: str
    precision: Precision
    input_size: Size
    p50_ms: float = Field(gt=0)
    p90_ms: float = Field(gt=0)
    includes: str = ""
    npu_ms: float | None = Field(default=None, gt=0)
    runs: int = Field(ge=1)
    layers: tuple[LayerCost, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Measurement:
        if self.p90_ms < self.p50_ms:
            raise ValueError(f"p90_ms is at least p50_ms, got {self.p90_ms} and {self.p50_ms}")
        if self.layers and fingerprint_of(self.layers) != self.fingerprint:
            raise ValueError(f"the layers have the fingerprint {fingerprint_of(self.layers)}, not {self.fingerprint}")
        return self


class Measured(Settings):
    """The content of ``measured.json``.

    Attributes:
        schema_version: 1; ``schema`` in the file.
        board: name.
        runtime: and its version, as the board reports it.
        power_mode: name or number; "" on a board that has one, or where it was not known.
        measurements: one a network and precision.
    """

    model_config = ConfigDict(populate_by_name=True)

    schema_version: Literal[1] = Field(alias="schema")
    board: str
    runtime: str
    power_mode: str = ""
    measurements: tuple[Measurement, ...]


def read_measured(path: Path) -> Measured:
    """A ``measured.json``.

    Raises:
        UsageError: no such file, no JSON, or another schema, with the place of the first fault.
    """
    try:
        return Measured.model_validate(read_json(path))
    except FileNotFoundError:
        raise UsageError(f"measurements are read from a measured.json; there is no file {path}") from None
    except json.JSONDecodeError as error:
        raise UsageError(f"measurements are read from JSON; {path}: {error}") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise UsageError(f"{path} is no measured.json of schema 1: {place}: {fault['msg']}") from None


def fingerprint_of(costs: Sequence[LayerCost]) -> str:
    """Sixteen hex digits that name what a network costs, whatever its layers are called."""
    rows = [{key: value for key, value in asdict(cost).items() if key != "name"} for cost in costs]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]
