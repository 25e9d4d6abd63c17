"""What is handed over for a board: a folder with graphs, proven equal to the network, and all that runs them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import Tensor

from edgehone.boards import Board, LatencyEstimate, Measured, board, latency_model
from edgehone.data import Dataset
from edgehone.deploy.bundle.cpu import cpu_contents
from edgehone.deploy.bundle.proof import MAX_DIFFERENCE, prove_graphs
from edgehone.deploy.bundle.texts import licences, readme
from edgehone.deploy.bundle.writing import require_writable, write_bundle
from edgehone.deploy.contents import USUAL, Contents, Maker, Source, Variant
from edgehone.deploy.convert import open_trained
from edgehone.deploy.integer.accuracy import Inquiry, IntegerAccuracy
from edgehone.deploy.integer.eight_bits import EightBits, calibrated, judged
from edgehone.deploy.integer.gate import Say, quiet
from edgehone.deploy.jetson.contents import jetson_contents
from edgehone.deploy.kneron.contents import kneron_contents
from edgehone.deploy.latency import Latency, core_count, measure_latency
from edgehone.deploy.onnx_graph import export_onnx
from edgehone.deploy.parity import Parity, logit_parity
from edgehone.errors import EdgehoneError, UsageError
from edgehone.files import write_bytes
from edgehone.inference import EXPORT, DetectorInfo, PostProcess
from edgehone.models import Graph, Network
from edgehone.space import Settings
from edgehone.types import Json, Size

PARITY_PICTURES = 16
GOLDEN_PICTURES = 3
TIMING_SECONDS = 4.0

MAKERS: dict[str, Maker] = {
    "cpu": cpu_contents,
    "jetson-xavier-nx": jetson_contents,
    "kneron-kl720": kneron_contents,
}
"""What each board puts into its bundle. More is added by :attr:`Wishes.additions`."""

CALIBRATED = ("jetson-xavier-nx",)
"""Boards that get ranges for 8 bits unasked: they take seconds. What 8 bits cost is judged where asked."""


class Deployment(Settings):
    """A deployed detector.

    Attributes:
        board: name.
        path: of the graph: the bundle's folder and the file in it.
        input_size: ``(height, width)``.
        opset: of ONNX.
        parameters: weights, scales and biases of the trained network.
        bflops: 2 x MAC of one picture, in thousands of millions.
        parity: of the master graph against the trained network.
        latency: on this machine, or an interval for a board that is not here.
        integer: what 8 bits cost, and what was needed; None where nobody asked.
        notes: what its owner should know.
    """

    board: str
    path: str
    input_size: Size
    opset: int
    parameters: int
    bflops: float
    parity: Parity
    latency: Latency | LatencyEstimate
    integer: IntegerAccuracy | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wishes:
    """How a bundle is made.

    Attributes:
        post: its thresholds.
        integer: how 8 bits are judged and repaired, on whose validation split (``tested_on``); None: they are not, and
            a board gets of them what takes no time.
        additions: what adds more graphs, variants and files, of whatever board; each is given the source.
        say: told of every attempt at a repair.
        measured: on boards; takes the place of estimates.
    """

    post: PostProcess = USUAL
    integer: Inquiry | None = None
    additions: tuple[Maker, ...] = ()
    say: Say = quiet
    measured: tuple[Measured, ...] = ()


def deploy(model: str | Path, board_name: str, dataset: Dataset, out: Path, wishes: Wishes | None = None) -> Deployment:
    """Write the bundle of a trained detector for a board, proven equal, verified, and timed or estimated.

    Args:
        model: a training's or run's folder, a checkpoint, a graph of edgehone's, or ``A.cfg+A.weights``.
        board_name: of the board.
        dataset: its validation pictures become golden ones, its training pictures calibrate.
        out: folder of the bundle; an earlier bundle there is replaced.
        wishes: thresholds, 8 bits, additions.

    Raises:
        UsageError: no such board or model, or ``out`` holds something else.
        EdgehoneError: a graph does not say what the network says, or does not run on the board.
    """
    deployable(board_name)
    require_writable(out)
    network, info = open_trained(model)
    wishes = wishes or Wishes()
    samples = dataset.val or dataset.test or dataset.train
    if not samples:
        raise EdgehoneError(f"golden pictures come from the data set, and {dataset.name} has none")
    golden = [sample.read().image for sample in samples[:GOLDEN_PICTURES]]
    eight_bits = hold_in_eight_bits(network, info, dataset, board_name, wishes)
    source = Source(network, info, golden, dataset.train, wishes.post, eight_bits)
    pixels = torch.stack([source.detector.prepare(s.read().image) for s in samples[:PARITY_PICTURES]])
    return write_deployment(source, board_name, pixels, out, wishes)


def hold_in_eight_bits(
    network: Network, info: DetectorInfo, dataset: Dataset, board_name: str, wishes: Wishes
) -> EightBits | None:
    """As wished; unasked, ranges alone for the boards that take them. None: no 8 bits.

    Raises:
        EdgehoneError: 8 bits are wished for and cannot be judged on this data.
    """
    if wishes.integer is not None:
        return judged(network, info, dataset, board_name, wishes.integer, wishes.say)
    if board_name in CALIBRATED and dataset.train:
        return calibrated(network, info, dataset, board_name)
    return None


def notes_on(source: Source, board_name: str) -> tuple[str, ...]:
    """What the owner of a bundle should know about its 8 bits."""
    eight_bits = source.eight_bits
    if eight_bits is None and board_name in CALIBRATED:
        return (
            "no INT8 variant, FP16 is the least: ranges for 8 bits come from training pictures, and there are none",
        )
    if eight_bits is None or eight_bits.accuracy is None:
        here = board(board_name).measured_here
        return () if here else ("what 8 bits cost was not judged: `edgehone deploy --int8` does, and repairs",)
    if eight_bits.passed:
        return ()
    verdict = eight_bits.accuracy.verdict
    return (
        f"8 bits did not pass: {100 * verdict.chosen.drop:.2f} AP points lost at best, {100 * verdict.max_drop:g} "
        "were allowed",
    )


def write_deployment(
    source: Source, board_name: str, pixels: Tensor, out: Path, wishes: Wishes | None = None
) -> Deployment:
    """Write the bundle of what a source says; ``pixels`` ``[k, 3, h, w]`` in 0..1 prove the master graph.

    Raises:
        UsageError: see :func:`deploy`.
        EdgehoneError: see :func:`deploy`.
    """
    wishes = wishes or Wishes()
    makers = (MAKERS[deployable(board_name).name], *wishes.additions)
    contents = sum((make(source) for make in makers), Contents())
    variant = contents.variants[0]
    checked: Mapping[str, Json] = prove_graphs(board_name, source, contents)
    with tempfile.TemporaryDirectory() as folder:
        master = export_master(source.network, source.info, Path(folder) / EXPORT)
        parity = prove(source.network, master, pixels)
    latency: Latency | LatencyEstimate
    if board(board_name).measured_here:
        timed = time_graphs(contents.graphs)
        latency = timed[variant.graph]
        checked = {name: {**row, "p50_ms": timed[name].p50_ms} for name, row in checked.items()}
    else:
        latency = latency_model(board_name, wishes.measured).estimate(source.costs, variant.precision)
    notes = notes_on(source, board_name)
    texts = {
        "README.md": readme(board_name, source, contents, checked, latency, notes),
        "LICENCES.md": licences(source, board_name),
    }
    write_bundle(out, board_name, source, contents, checked, texts)
    return Deployment(
        board=board_name,
        path=f"{out.name}/{variant.graph}",
        input_size=source.info.input_size,
        opset=checked[variant.graph]["opset"],
        parameters=sum(cost.parameters for cost in source.costs),
        bflops=round(2 * sum(cost.macs for cost in source.costs) / 1e9, 4),
        parity=parity,
        latency=latency,
        integer=None if source.eight_bits is None else source.eight_bits.accuracy,
        notes=notes,
    )


def time_graphs(graphs: Mapping[str, onnx.ModelProto]) -> dict[str, Latency]:
    """How long each of them takes on this machine."""
    found: dict[str, Latency] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in graphs.items():
            write_bytes(Path(folder) / name, model.SerializeToString())
            found[name] = measure_latency(Path(folder) / name, threads=core_count(), seconds=TIMING_SECONDS)
    return found


def export_master(network: Network, info: DetectorInfo, path: Path) -> Path:
    """Write the master graph, which says itself how it is read."""
    metadata: dict[str, Json] = {"detector": info.model_dump(mode="json"), "normalisation": "RGB / 255"}
    return export_onnx(network, info.input_size, metadata, path)


def deployable(name: str) -> Board:
    """A board that a bundle is written for.

    Raises:
        UsageError: no such board, or one without a bundle.
    """
    wanted = board(name)
    if wanted.name not in MAKERS:
        raise UsageError(f"bundles are written for {', '.join(MAKERS)}; {name} is described and has no bundle")
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


__all__ = [
    "MAKERS",
    "MAX_DIFFERENCE",
    "Contents",
    "Deployment",
    "Inquiry",
    "Maker",
    "Source",
    "Variant",
    "Wishes",
    "deploy",
    "deployable",
    "export_master",
    "latency_by_size",
    "write_deployment",
]
