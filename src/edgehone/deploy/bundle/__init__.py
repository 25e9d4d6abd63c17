"""What is handed over for a board: a folder with graphs, proven equal to the network, and all that runs them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from edgehone.boards import Board, LatencyEstimate, Measured, board, latency_model
from edgehone.data import Dataset
from edgehone.deploy.bundle.cpu import cpu_contents
from edgehone.deploy.bundle.found import Found, MeasuredVariant
from edgehone.deploy.bundle.measured import measure_variants
from edgehone.deploy.bundle.origin import origin_of
from edgehone.deploy.bundle.proof import MAX_DIFFERENCE, prove_graphs
from edgehone.deploy.bundle.texts import licences, readme
from edgehone.deploy.bundle.writing import require_writable, write_bundle
from edgehone.deploy.contents import AS_USUAL, USUAL, Asked, Contents, Maker, Source, Variant
from edgehone.deploy.convert import open_trained
from edgehone.deploy.integer.accuracy import EXECUTED_HERE, Inquiry, IntegerAccuracy
from edgehone.deploy.integer.eight_bits import EightBits, calibrated, judged
from edgehone.deploy.integer.gate import MAX_DROP, Attempt, Say, Verdict, quiet
from edgehone.deploy.jetson.contents import jetson_contents
from edgehone.deploy.kneron.contents import kneron_contents
from edgehone.deploy.latency import Latency, core_count, measure_latency
from edgehone.deploy.onnx_graph import IR_VERSIONS, export_onnx
from edgehone.deploy.parity import Parity, logit_parity
from edgehone.errors import EdgehoneError, UsageError
from edgehone.inference import EXPORT, DetectorInfo, PostProcess
from edgehone.models import Graph, Network
from edgehone.space import Settings
from edgehone.types import Json, Size

PARITY_PICTURES = 16
GOLDEN_PICTURES = 3
TIMING_SECONDS = 2.0
"""For each variant that runs here, with one thread and with all."""

MAKERS: dict[str, Maker] = {
    "cpu": cpu_contents,
    "jetson-xavier-nx": jetson_contents,
    "kneron-kl720": kneron_contents,
}
"""What each board puts into its bundle. More is added by :attr:`Wishes.additions`."""

CALIBRATED = ("jetson-xavier-nx",)
"""Boards that get ranges for 8 bits unasked: they take seconds. What 8 bits cost is judged where asked."""

JUDGED = ("kneron-kl720",)
"""Boards that have nothing but 8 bits: what these cost is always judged, repaired where asked."""

ONE_AXIS = ("kneron-kl720",)
"""Boards whose graphs enlarge one axis at a time, unless asked."""

JUDGED_PICTURES = 64
"""On which it is judged unasked, and of the test split: simulating one takes seconds at 416 px."""


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
        latency: of the first variant on this machine with all threads, or an interval for a board that is not here.
        measured: every variant on this machine, where the board is this machine.
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
    measured: tuple[MeasuredVariant, ...] = ()
    integer: IntegerAccuracy | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wishes:
    """How a bundle is made.

    Attributes:
        post: its thresholds.
        integer: how 8 bits are judged and repaired; None: they are not repaired, and a board gets of them what takes
            little time.
        max_drop: of AP, that 8 bits may cost where they are judged and not repaired.
        asked: how graphs are written.
        additions: what adds more graphs, variants and files, of whatever board; each is given the source.
        say: told of every attempt at a repair.
        measured: on boards; takes the place of estimates.
    """

    post: PostProcess = USUAL
    integer: Inquiry | None = None
    max_drop: float = MAX_DROP
    asked: Asked = AS_USUAL
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
    wishes = wishes or Wishes()
    require_askable(wishes.asked, board_name)
    network, info = open_trained(model)
    samples = dataset.val or dataset.test or dataset.train
    if not samples:
        raise EdgehoneError(f"golden pictures come from the data set, and {dataset.name} has none")
    golden = [sample.read().image for sample in samples[:GOLDEN_PICTURES]]
    eight_bits = hold_in_eight_bits(network, info, dataset, board_name, wishes)
    source = Source(network, info, golden, dataset.train, wishes.post, eight_bits, wishes.asked, origin_of(model, info))
    pixels = torch.stack([source.detector.prepare(s.read().image) for s in samples[:PARITY_PICTURES]])
    return write_deployment(source, board_name, pixels, out, wishes)


def require_askable(asked: Asked, board_name: str) -> None:
    """Refuse a form of graphs that is not written.

    Raises:
        UsageError: another opset, or a way of resizing that makes no difference on this board.
    """
    if asked.opset is not None and asked.opset not in IR_VERSIONS:
        raise UsageError(f"graphs are written at opset {', '.join(map(str, IR_VERSIONS))}, got {asked.opset}")
    if asked.two_axis_resize and board_name not in ONE_AXIS:
        raise UsageError(
            f"--two-axis-resize is for {', '.join(ONE_AXIS)}: the graphs for {board_name} have one Resize for both "
            "axes anyway; leave it out"
        )


def hold_in_eight_bits(
    network: Network, info: DetectorInfo, dataset: Dataset, board_name: str, wishes: Wishes
) -> EightBits | None:
    """As wished; unasked, ranges alone or what they cost, for the boards that take them. None: no 8 bits.

    Raises:
        EdgehoneError: 8 bits are wished for and cannot be judged on this data.
    """
    inquiry, say = wishes.integer, wishes.say
    if inquiry is None and board_name in JUDGED and dataset.train and dataset.class_names == info.class_names:
        few = JUDGED_PICTURES
        inquiry = Inquiry(max_drop=wishes.max_drop, judged_pictures=few, tested_pictures=few, repair=False)
    if inquiry is not None:
        inquiry = inquiry.model_copy(update={"tested_on": _with_pictures(dataset, inquiry.tested_on)})
        return judged(network, info, dataset, board_name, inquiry, say)
    if board_name in CALIBRATED and dataset.train:
        return calibrated(network, info, dataset, board_name)
    return None


def _with_pictures(dataset: Dataset, split: str) -> str:
    """The split that AP is reported of; another where it has no pictures."""
    return next((name for name in (split, "test", "val") if dataset.splits.get(name)), "train")


def notes_on(source: Source, board_name: str) -> tuple[str, ...]:
    """What the owner of a bundle should know about its 8 bits."""
    held, notes = source.eight_bits, list[str]()
    if source.asked.two_axis_resize:
        notes.append("one Resize enlarges both axes, about which the vendor's sources disagree: its evaluator decides")
    if held is None and board_name in CALIBRATED:
        notes.append(
            "no INT8 variant, FP16 is the least: ranges for 8 bits come from training pictures, and there are none"
        )
        return tuple(notes)
    if held is None or held.accuracy is None:
        if not board(board_name).measured_here:
            notes.append("what 8 bits cost was not judged: `edgehone deploy --int8` does, and repairs")
        return tuple(notes)
    verdict = held.accuracy.verdict
    if not held.passed:
        cure = "" if held.gated else ": `edgehone deploy --int8` repairs it"
        notes.append(f"8 bits did not pass: {_lost(verdict.chosen, verdict)}{cure}")
    by_openvino = held.accuracy.by_openvino
    if board_name == EXECUTED_HERE and by_openvino is None:
        notes.append("OpenVINO was not judged in 8 bits, so it gets fp32 only: openvino is not installed")
    elif by_openvino is not None and not held.accuracy.openvino_passed:
        notes.append(f"OpenVINO did not pass in 8 bits, so it gets fp32 only: {_lost(by_openvino, verdict)}")
    return tuple(notes)


def _lost(attempt: Attempt, verdict: Verdict) -> str:
    lost = f"{100 * attempt.drop:.2f} AP points lost, likely at most {100 * attempt.drop_likely:.2f}"
    return f"{lost}; {100 * verdict.max_drop:g} were allowed"


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
    checked = prove_graphs(board_name, source, contents)
    with tempfile.TemporaryDirectory() as folder:
        master = export_master(source.network, source.info, Path(folder) / EXPORT)
        parity = prove(source.network, master, pixels)
    if board(board_name).measured_here:
        measured = measure_variants(board_name, source, contents, TIMING_SECONDS)
        found = Found(checked, measured[0].latencies[-1], measured, notes_on(source, board_name))
    else:
        interval = latency_model(board_name, wishes.measured).estimate(source.costs, variant.precision)
        found = Found(checked, interval, (), notes_on(source, board_name))
    texts = {"README.md": readme(board_name, source, contents, found), "LICENCES.md": licences(source, board_name)}
    write_bundle(out, board_name, source, contents, found, texts)
    return Deployment(
        board=board_name,
        path=f"{out.name}/{variant.graph}",
        input_size=source.info.input_size,
        opset=checked[variant.graph]["opset"],
        parameters=sum(cost.parameters for cost in source.costs),
        bflops=round(2 * sum(cost.macs for cost in source.costs) / 1e9, 4),
        parity=parity,
        latency=found.latency,
        measured=found.measured,
        integer=None if source.eight_bits is None else source.eight_bits.accuracy,
        notes=found.notes,
    )


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
    "Asked",
    "Contents",
    "Deployment",
    "Inquiry",
    "Maker",
    "MeasuredVariant",
    "Source",
    "Variant",
    "Wishes",
    "deploy",
    "deployable",
    "export_master",
    "latency_by_size",
    "write_deployment",
]
