"""What a training is, and what it leaves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from edgehone.batches import Painter
from edgehone.errors import EdgehoneError, UsageError
from edgehone.inference import CHECKPOINT, DetectorInfo, Precision
from edgehone.models import CapacityPlan, Graph, Network, Transferred, architecture, transfer
from edgehone.space import Settings
from edgehone.strategy import Strategy
from edgehone.training.device import CPU
from edgehone.types import LayerCost


class StartWeights(Settings):
    """A file of weights, by place and content: a training that goes on must find the same.

    Attributes:
        path: a ``.pt`` checkpoint, a whole or a partial ``.weights`` file.
        digest: of its bytes.
    """

    path: str
    digest: str

    @staticmethod
    def of(source: str) -> StartWeights:
        """From a file, or a run's folder.

        Raises:
            UsageError: there is no such file.
        """
        path = Path(source) / CHECKPOINT if Path(source).is_dir() else Path(source)
        if not path.is_file():
            raise UsageError(
                f"--weights names a checkpoint, a .weights file or a run's folder; there is none at {path}"
            )
        with path.open("rb") as file:
            return StartWeights(path=str(path), digest=hashlib.file_digest(file, "sha256").hexdigest()[:16])

    def carry_into(self, network: Network) -> Transferred:
        """Fill what fits.

        Raises:
            EdgehoneError: the file has changed, cannot be read, or nothing of it fits.
        """
        if StartWeights.of(self.path) != self:
            raise EdgehoneError(
                f"the weights of a training must stay the same, but {self.path} has changed; start anew"
            )
        return transfer(network, Path(self.path))


class Job(Settings):
    """One training, completely described.

    Attributes:
        model: the architecture: a built-in name or the path of a Darknet cfg.
        strategy: how it learns.
        steps: optimizer steps.
        batch_size: pictures a step.
        seed: of weights, batches and augmentation.
        precision: of the convolutions; everything else is fp32.
        threads: of torch.
        device: where the network learns, as torch names it: ``cpu`` or ``cuda:N``. Only the CPU repeats to the bit.
        loader_workers: threads that make batches ahead; 0 makes them between the steps. No number of them
            changes the result.
        painter: what paints augmented pictures.
        weights: what the network starts from, where it does not start afresh.
        teacher: a detector that the strategy may learn from, as :func:`~edgehone.inference.open_detector` takes it.
    """

    model: str
    strategy: Strategy
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    seed: int = 0
    precision: Precision = "fp32"
    threads: int = Field(default=1, ge=1)
    device: str = CPU
    loader_workers: int = Field(default=0, ge=0)
    painter: Painter = "auto"
    weights: StartWeights | None = None
    teacher: str | None = None


@dataclass(frozen=True)
class Progress:
    """Where a run stands: ``step`` of ``steps`` done, the last loss terms, seconds spent in this process."""

    step: int
    steps: int
    loss: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Trained:
    """What a run leaves.

    Attributes:
        network: on the CPU, in evaluation mode and of the plain graph; the average where the strategy keeps one.
        info: how to read its heads.
        curve: at most about 200 points: step, learning rate, loss terms, positives per image, and unlabelled objects
            per image where they are not punished.
        seconds: of training, added up over restarts.
        plan: where the network had more capacity in training than its graph has.
    """

    network: Network
    info: DetectorInfo
    curve: list[dict[str, float]]
    seconds: float
    plan: CapacityPlan


class Diverged(EdgehoneError):
    """The loss stopped being finite."""


def image_flops(model: str, classes: int, size: int) -> float:
    """FLOPs (2 x MAC) of one picture through the untrained graph at a square input of ``size``."""
    return graph_flops(architecture(model).graph(classes), size)


def training_flops(model: str, classes: int, strategy: Strategy) -> float:
    """The same at a strategy's input, more where its network trains in a form that takes longer."""
    graph = architecture(model).graph(classes)
    return graph_flops(graph, strategy.input.size) * strategy.capacity.plan(graph).time_ratio(graph)


def graph_flops(graph: Graph, size: int) -> float:
    """FLOPs (2 x MAC) of one picture through a graph at a square input of ``size``."""
    costs: list[LayerCost] = graph.layer_costs((size, size))
    return 2.0 * sum(cost.macs for cost in costs)
