"""What a crowd costs: memory and time of every assigner, alone and as part of a training step.

python benchmarks/crowded_assignment.py [--size 416] [--batch 16] [--objects 2000] [--device cpu] [--no-step]

Three batches: sparse (8 objects a picture), one crowded picture among sparse ones, and all pictures crowded. Each
assigner and batch runs in a process of its own. Prints the memory that assignment needed beyond what was there
before (on the CPU the process's high-water mark, on a GPU torch's), its time, and the time of a whole training step
(forward, assignment, loss, backward) with it. Exit 1 if one crowded picture needs more than 2 GiB or makes a step
take twice as long.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

SPARSE = 8
CLASSES = 80
LIMIT_BYTES = 2 << 30


def main() -> None:
    """Measure every member in a process of its own, print a table, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--objects", type=int, default=2000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-step", action="store_true", help="measure the assignment alone")
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options, *options.measure)))
        return
    from edgehone.projection import Assigner
    from edgehone.space import union_types

    bad = False
    print(f"{'assigner':14} {'batch':12} {'objects':>8} {'MiB':>7} {'assign ms':>10} {'step ms':>9}")
    for member in union_types(Assigner):
        kind = str(member.model_fields["kind"].default)
        rows = {case: in_process(kind, case) for case in ("sparse", "one crowd", "all crowds")}
        for case, row in rows.items():
            step = f"{row['step_ms']:9.0f}" if row["step_ms"] else f"{'':>9}"
            memory = row["bytes"] / 2**20
            print(f"{kind:14} {case:12} {row['objects']:8} {memory:7.0f} {row['assign_ms']:10.1f} {step}", flush=True)
        sparse, crowded = rows["sparse"], rows["one crowd"]
        bad |= crowded["bytes"] > LIMIT_BYTES
        bad |= bool(sparse["step_ms"]) and crowded["step_ms"] > 2 * sparse["step_ms"]
    sys.exit(bad)


def in_process(kind: str, case: str) -> dict[str, Any]:
    """One measurement by a fresh interpreter, so that high-water marks do not mix."""
    command = [sys.executable, __file__, *sys.argv[1:], "--measure", kind, case]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(options: argparse.Namespace, kind: str, case: str) -> dict[str, Any]:
    """Memory and times of one assigner on one batch."""
    import torch

    from edgehone.models import MODELS, Network
    from edgehone.space import replace
    from edgehone.strategy import AUTHORS

    torch.manual_seed(0)
    device = torch.device(options.device)
    size = (options.size, options.size)
    projection = replace(AUTHORS.projection, {"assigner.kind": kind})
    graph = MODELS["yolov4-tiny"].graph(CLASSES)
    anchors = projection.anchors.anchors_px(torch.ones(1, 2).double().numpy(), size)
    grid = on(projection.lattice(anchors, graph.strides, size), device)
    targets = on(scene(options, case), device)
    heads = [torch.randn(options.batch, shape[0] * (5 + CLASSES), *shape[1:], device=device) for shape in grid.shapes]
    predictions = projection.predictions(heads, grid)

    def assign() -> None:
        projection.assigner.assign(targets, grid, predictions)

    before = memory_bytes(device)
    first = timed(assign, device, 1)
    used = memory_bytes(device) - before
    step_ms = 0.0
    if not options.no_step:
        network = Network(graph).to(device)
        pixels = torch.rand(options.batch, 3, *size, device=device)

        def step() -> None:
            network.zero_grad()
            projection.loss(network(pixels), targets, grid).total.backward()

        step_ms = timed(step, device, 3)
    again = timed(assign, device, 5)
    return {"objects": len(targets.classes), "bytes": used, "assign_ms": min(first, again), "step_ms": step_ms}


def scene(options: argparse.Namespace, case: str) -> Any:
    """A batch with that many objects; in a crowd they are small, as they have to be."""
    import torch

    from edgehone.types import Targets

    counts = torch.full((options.batch,), SPARSE)
    counts[: {"sparse": 0, "one crowd": 1, "all crowds": options.batch}[case]] = options.objects
    images = torch.arange(options.batch).repeat_interleave(counts)
    sides = 4 + torch.rand(len(images), 2) ** 4 * options.size * 0.7
    corner = torch.rand(len(images), 2) * (options.size - sides)
    return Targets(
        torch.cat([corner, corner + sides], 1), torch.randint(0, CLASSES, (len(images),)), images, options.batch
    )


def on(value: Any, device: Any) -> Any:
    """A frozen value of tensors on a device."""
    import dataclasses

    moved = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return dataclasses.replace(value, **{k: v.to(device) for k, v in moved.items() if hasattr(v, "to")})


def memory_bytes(device: Any) -> int:
    """The high-water mark so far."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def timed(action: Any, device: Any, rounds: int) -> float:
    """Median milliseconds."""
    import torch

    found: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(1000 * (time.perf_counter() - start))
    return statistics.median(found)


if __name__ == "__main__":
    main()
