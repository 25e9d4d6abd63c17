"""What is handed over for a board: the graph, proven equal and timed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from edgehone.boards import BOARDS, Board, board
from edgehone.data import Dataset
from edgehone.deploy.latency import Latency, core_count, measure_latency
from edgehone.deploy.onnx_graph import OPSET, export_onnx
from edgehone.deploy.parity import Parity, logit_parity
from edgehone.errors import EdgehoneError, UsageError
from edgehone.inference import CHECKPOINT, Detector, TorchRuntime, open_network
from edgehone.models import Graph, Network
from edgehone.space import Settings
from edgehone.types import Size

MAX_DIFFERENCE = 1e-3
PARITY_PICTURES = 16
TIMING_SECONDS = 4.0


class Deployment(Settings):
    """A deployed detector.

    Attributes:
        board: name.
        path: file name of the graph in the run's folder.
        input_size: ``(height, width)``.
        opset: of ONNX.
        parameters: weights, scales and biases of the trained network.
        bflops: 2 x MAC of one picture, in thousands of millions.
        parity: against the trained network.
        latency: on this machine.
    """

    board: str
    path: str
    input_size: Size
    opset: int
    parameters: int
    bflops: float
    parity: Parity
    latency: Latency


def deploy(checkpoint_folder: Path, board_name: str, dataset: Dataset, path: Path) -> Deployment:
    """Export a trained detector for a board, prove it equal on validation pictures, time it.

    Raises:
        UsageError: no such board, or one without a bundle.
        EdgehoneError: the export does not say what the network says.
    """
    target = deployable(board_name)
    network, info = open_network(checkpoint_folder / CHECKPOINT)
    size = info.input_size
    metadata = {"detector": info.model_dump(mode="json"), "normalisation": "RGB / 255", "board": target.name}
    export_onnx(network, size, metadata, path)
    detector = Detector(info, TorchRuntime(network))
    pixels = torch.stack([detector.prepare(s.read().image) for s in dataset.val[:PARITY_PICTURES]])
    parity = prove(network, path, pixels)
    costs = network.graph.layer_costs(size)
    return Deployment(
        board=target.name,
        path=path.name,
        input_size=size,
        opset=OPSET,
        parameters=sum(cost.parameters for cost in costs),
        bflops=round(2 * sum(cost.macs for cost in costs) / 1e9, 4),
        parity=parity,
        latency=measure_latency(path, threads=core_count(), seconds=TIMING_SECONDS),
    )


def deployable(name: str) -> Board:
    """A board that a bundle is written for.

    Raises:
        UsageError: no such board, or one without a bundle.
    """
    wanted = board(name)
    if not wanted.measured_here:
        able = ", ".join(b.name for b in BOARDS.values() if b.measured_here)
        raise UsageError(
            f"bundles are written for {able}; {name} is described (edgehone boards) and has no bundle: export for "
            f"{able} and compile the graph with the board's own tools"
        )
    return wanted


def prove(network: Network, path: Path, pixels: Tensor) -> Parity:
    """Parity of an export; one that is refused is removed, so that nobody opens it.

    Raises:
        EdgehoneError: it does not say what the network says.
    """
    try:
        parity = logit_parity(network, path, pixels)
        if parity.max_abs_difference > MAX_DIFFERENCE:
            raise EdgehoneError(
                f"an exported graph may differ by {MAX_DIFFERENCE} from its network, {path} differed by "
                f"{parity.max_abs_difference:.2g} and was removed: a defect of edgehone, please report it"
            )
    except EdgehoneError:
        path.unlink(missing_ok=True)
        raise
    return parity


def latency_by_size(graph: Graph, sizes: Sequence[int]) -> dict[int, Latency]:
    """Milliseconds of the untrained graph at square inputs, on this machine."""
    found: dict[int, Latency] = {}
    network = Network(graph)
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            path = export_onnx(network, (size, size), {}, Path(folder) / f"{size}.onnx")
            found[size] = measure_latency(path, threads=core_count(), seconds=1.0)
    return found
