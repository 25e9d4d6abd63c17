"""What is known of a board: typed facts, each with its source."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from edgehone.errors import UsageError
from edgehone.space import Settings

Precision = Literal["fp32", "fp16", "int8", "int16"]

BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int16": 2, "int8": 1}
"""Of one number."""

Sure = Literal["read", "derived", "known", "open"]
"""Read in the source; computed from what was read; common knowledge that was not looked up; sources disagree."""


class Fact(Settings):
    """One statement about a board, for people.

    Attributes:
        text: the statement.
        source: document and version.
        sure: how well it is established.
    """

    text: str
    source: str
    sure: Sure = "read"


class Runtime(Settings):
    """One version of the software that runs a graph, and which graphs it reads.

    Attributes:
        version: as its maker counts; ``"8.0"``.
        name: in full.
        opsets: oldest and newest ONNX opset.
        max_ir: newest version of ONNX's file format.
        python: versions that its Python interface needs on the board.
        source: document and version.
        sure: how well it is established.
    """

    version: str
    name: str
    opsets: tuple[int, int]
    max_ir: int
    python: str
    source: str
    sure: Sure = "read"


class PowerMode(Settings):
    """Clocks that a board may be set to.

    Attributes:
        name: as the board's own tool shows it.
        identity: the number that the tool takes.
        cpus: cores in use.
        cpu_mhz: their highest clock; likewise of the GPU, of memory and of the accelerators.
        gb_per_s: of memory at that clock.
        watts: budget of the whole module, which its maker names the mode by: it draws no more for long.
    """

    name: str
    identity: int
    cpus: int
    cpu_mhz: int
    gpu_mhz: int
    memory_mhz: int
    accelerator_mhz: int
    gb_per_s: float
    watts: float


class Memory(Settings):
    """Bytes that a detector may use.

    Attributes:
        total_bytes: of the board; None where no primary source says it.
        model_bytes: largest compiled model; None where only the total limits it.
        source: document and version.
        sure: how well it is established.
    """

    total_bytes: int | None
    model_bytes: int | None
    source: str
    sure: Sure = "read"


class ImageFormat(Settings):
    """A form in which the board takes pictures.

    Attributes:
        name: as the board's library calls it.
        bits_per_channel: that reach the network.
        exact: every value of an 8-bit RGB picture arrives.
    """

    name: str
    bits_per_channel: int
    exact: bool


class Board(Settings):
    """Hardware and its runtime.

    Attributes:
        name: as on the command line.
        hardware: in a line.
        runtime: that runs the graph.
        runtimes: its versions, oldest first; graphs are made for ``default_runtime`` unless said otherwise.
        default_runtime: a graph for it runs on every later version that is listed.
        precisions: of arithmetic.
        delivered: the precision of a bundle's first variant, where 8 bits were not judged: what is meant where nobody
            names one.
        memory: limits.
        input_limits: largest (height, width) that the board's own scaler makes; None without such a limit.
        max_inputs: input tensors of a graph; None without a documented limit.
        image_formats: pictures that it takes.
        power_modes: clocks that it may be set to; empty where it has one.
        default_power_mode: that latencies are estimated for; "" where there is one.
        measured_here: edgehone runs and times it on the machine that it runs on itself.
        limits: of the toolchain and the runtime, that shape a graph or a bundle.
        notes: advice.
        sources: field to document and version, for the typed fields that carry none of their own.
    """

    name: str
    hardware: str
    runtime: str
    runtimes: tuple[Runtime, ...] = Field(min_length=1)
    default_runtime: str
    precisions: tuple[Precision, ...]
    delivered: Precision
    memory: Memory
    input_limits: tuple[int, int] | None = None
    max_inputs: int | None = None
    image_formats: tuple[ImageFormat, ...]
    power_modes: tuple[PowerMode, ...] = ()
    default_power_mode: str = ""
    measured_here: bool = False
    limits: tuple[Fact, ...] = ()
    notes: tuple[Fact, ...] = ()
    sources: dict[str, str]

    @model_validator(mode="after")
    def _defaults_exist(self) -> Board:
        self.runtime_version(self.default_runtime)
        self.power_mode(self.default_power_mode)
        return self

    @property
    def max_opset(self) -> int:
        """Newest ONNX opset that the default runtime reads."""
        return self.runtime_version().opsets[1]

    def runtime_version(self, version: str | None = None) -> Runtime:
        """A runtime by its version, the default one for None.

        Raises:
            UsageError: there is none.
        """
        wanted = self.default_runtime if version is None else version
        for runtime in self.runtimes:
            if runtime.version == wanted:
                return runtime
        known = ", ".join(runtime.version for runtime in self.runtimes)
        raise UsageError(f"{self.name} has the runtimes {known} ({self.runtime}); got {wanted!r}")

    def power_mode(self, name: str | None = None) -> PowerMode | None:
        """A power mode by name or number, the default one for None; None on a board that has one only.

        Raises:
            UsageError: there is none.
        """
        wanted = self.default_power_mode if name is None else name
        for mode in self.power_modes:
            if wanted in (mode.name, str(mode.identity)):
                return mode
        if not self.power_modes and not wanted:
            return None
        known = ", ".join(f"{mode.name} ({mode.identity})" for mode in self.power_modes) or "none to choose from"
        raise UsageError(f"the power modes of {self.name} are {known}; got {wanted!r}")
